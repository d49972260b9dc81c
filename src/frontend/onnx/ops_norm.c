/* ops_norm.c: normalisations. BatchNormalization over weights of the model is batch_norm with params and states, so
 * that it trains; the others are means over axes. Statistics are those of the population everywhere. */
#include "frontend/onnx/import.h"

/* 1 / √(v + eps), as what x is divided by */
static lt_value deviation(lt_onnx *c, lt_value variance, double eps) {
  lt_value e = lt_ox_number(c, variance, eps);
  return lt_unary(c->g, LT_OP_sqrt, lt_ox_binary(c, LT_OP_add, variance, e));
}

static lt_value mean(lt_onnx *c, lt_value x, const lt_ints *axes) { return lt_ox_reduce(c, LT_OP_mean, x, axes, true); }

/* (x - mean) / √(var + eps) over axes; *m and *d get the mean and the deviation. */
static lt_value normal(lt_onnx *c, lt_value x, const lt_ints *axes, double eps, lt_value *m, lt_value *d) {
  *m = mean(c, x, axes);
  lt_value centred = lt_ox_binary(c, LT_OP_sub, x, *m), square = lt_ox_binary(c, LT_OP_mul, centred, centred);
  *d = deviation(c, mean(c, square, axes), eps);
  return lt_ox_binary(c, LT_OP_div, centred, *d);
}

static lt_ints from_axis(int64_t first, unsigned rank) {
  lt_ints axes = {0};
  for (int64_t i = first; i < rank; i++) axes.v[axes.n++] = i;
  return axes;
}

/* ---- by channel -------------------------------------------------------------------------------------------------- */

/* The batch's own statistics; what runs is mixed with them. */
static void train(lt_onnx *c, lt_value x, lt_value scale, lt_value bias, double eps, double momentum) {
  lt_batch_norm_train_attrs a = {.eps = eps};
  lt_value y = lt_emit(c->g, LT_OP_batch_norm_train, &a, (lt_value[]){x, scale, bias}, 3);
  lt_ox_result(c, 0, y);
  for (unsigned i = 1; i <= 2; i++) {
    if (!lt_ox_wants(c, i)) continue;
    lt_value old = lt_ox_in(c, 2 + i), keep = lt_ox_number(c, old, momentum), take = lt_ox_number(c, old, 1 - momentum);
    lt_value kept = lt_ox_binary(c, LT_OP_mul, old, keep), taken = lt_ox_binary(c, LT_OP_mul, y + i, take);
    lt_ox_result(c, i, lt_ox_binary(c, LT_OP_add, kept, taken));
  }
}

static bool are_weights(lt_onnx *c) {
  for (unsigned i = 1; i < 5; i++) {
    const lt_onnx_slot *s = lt_onnx_slot_find(c, c->n->in.at[i]);
    if (!s->tensor || s->constant || s->empty) return false;
  }
  return true;
}

void lt_onnx_batch_norm(lt_onnx *c) {
  double eps = lt_ox_float(c, "epsilon", 1e-5), momentum = lt_ox_float(c, "momentum", 0.9);
  bool training = lt_ox_int(c, "training_mode", 0);
  lt_value x = lt_ox_in(c, 0), in[5] = {x};
  if (c->opset < 9 && !lt_ox_int(c, "spatial", 1)) lt_ox_refuse(c, "spatial=0 is not read");
  for (unsigned i = 1; i < 5; i++)
    if (!lt_ox_has(c, i)) lt_ox_refuse(c, "operand %u is missing", i + 1);
  if (c->opset < 7) lt_ox_int(c, "is_test", 0);
  if (c->opset < 14 && lt_ox_wants(c, 1))
    lt_ox_refuse(c, "a node of a training graph is not read: export the model for inference");
  in[1] = lt_ox_weight(c, 1);
  in[2] = lt_ox_weight(c, 2);
  if (training) {
    train(c, x, in[1], in[2], eps, momentum);
    return;
  }
  if (are_weights(c)) {
    in[3] = lt_ox_state(c, 3);
    in[4] = lt_ox_state(c, 4);
    lt_batch_norm_attrs a = {.eps = eps, .momentum = momentum};
    lt_ox_result(c, 0, lt_emit(c->g, LT_OP_batch_norm, &a, in, 5));
    return;
  }
  unsigned rank = lt_type_of(c->g, x)->rank;
  lt_value m = lt_ox_per_channel(c, lt_ox_in(c, 3), rank),
           d = deviation(c, lt_ox_per_channel(c, lt_ox_in(c, 4), rank), eps);
  lt_value y = lt_ox_binary(c, LT_OP_div, lt_ox_binary(c, LT_OP_sub, x, m), d);
  lt_value scale = lt_ox_per_channel(c, in[1], rank), bias = lt_ox_per_channel(c, in[2], rank);
  lt_ox_result(c, 0, lt_ox_binary(c, LT_OP_add, lt_ox_binary(c, LT_OP_mul, y, scale), bias));
}

void lt_onnx_instance_norm(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), m, d;
  unsigned rank = lt_type_of(c->g, x)->rank;
  lt_ints axes = from_axis(2, rank);
  lt_value y = normal(c, x, &axes, lt_ox_float(c, "epsilon", 1e-5), &m, &d);
  lt_value scale = lt_ox_per_channel(c, lt_ox_weight(c, 1), rank),
           bias = lt_ox_per_channel(c, lt_ox_weight(c, 2), rank);
  lt_ox_result(c, 0, lt_ox_binary(c, LT_OP_add, lt_ox_binary(c, LT_OP_mul, y, scale), bias));
}

/* Channels in groups: [N, G, rest]. Before version 21 scale and bias were by group. */
void lt_onnx_group_norm(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), m, d;
  lt_type t = lt_ox_of(c, x);
  int64_t groups = lt_ox_int(c, "num_groups", 0);
  lt_ox_int(c, "stash_type", 1);
  if (t.rank < 2 || groups < 1 || t.dim[1] % groups)
    lt_ox_refuse(c, "num_groups=%lld does not divide the channels of x %s", (long long)groups,
                 lt_type_text(c->arena, &t));
  int64_t dim[3] = {t.dim[0], groups, lt_type_count(&t) / t.dim[0] / groups};
  lt_ints axes = from_axis(2, 3);
  lt_value y = normal(c, lt_ox_reshape(c, x, 3, dim), &axes, lt_ox_float(c, "epsilon", 1e-5), &m, &d);
  bool by_group = c->opset < 21;
  unsigned rank = by_group ? 3 : t.rank;
  if (!by_group) y = lt_ox_reshape(c, y, t.rank, t.dim);
  lt_value scale = lt_ox_per_channel(c, lt_ox_weight(c, 1), rank),
           bias = lt_ox_per_channel(c, lt_ox_weight(c, 2), rank);
  y = lt_ox_binary(c, LT_OP_add, lt_ox_binary(c, LT_OP_mul, y, scale), bias);
  lt_ox_result(c, 0, lt_ox_reshape(c, y, t.rank, t.dim));
}

/* ---- by row ------------------------------------------------------------------------------------------------------ */

void lt_onnx_layer_norm(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), m, d;
  lt_type t = lt_ox_of(c, x);
  lt_ints axes = from_axis(lt_ox_axis(c, lt_ox_int(c, "axis", -1), t.rank), t.rank);
  lt_ox_int(c, "stash_type", 1);
  lt_value y = normal(c, x, &axes, lt_ox_float(c, "epsilon", 1e-5), &m, &d);
  y = lt_ox_binary(c, LT_OP_mul, y, lt_ox_weight(c, 1));
  if (lt_ox_has(c, 2)) y = lt_ox_binary(c, LT_OP_add, y, lt_ox_weight(c, 2));
  lt_ox_result(c, 0, y);
  lt_ox_result(c, 1, m);
  if (lt_ox_wants(c, 2)) lt_ox_result(c, 2, lt_ox_binary(c, LT_OP_div, lt_ox_number(c, d, 1), d));
}

void lt_onnx_rms_norm(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), square = lt_ox_binary(c, LT_OP_mul, x, x);
  lt_type t = lt_ox_of(c, x);
  lt_ints axes = from_axis(lt_ox_axis(c, lt_ox_int(c, "axis", -1), t.rank), t.rank);
  lt_ox_int(c, "stash_type", 1);
  lt_value d = deviation(c, mean(c, square, &axes), lt_ox_float(c, "epsilon", 1e-5)),
           y = lt_ox_binary(c, LT_OP_div, x, d);
  lt_ox_result(c, 0, lt_ox_binary(c, LT_OP_mul, y, lt_ox_weight(c, 1)));
}

/* Axes [0, 2, 3] unless others are given; the small number keeps a constant from being divided by 0. */
void lt_onnx_mean_variance_norm(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), m;
  lt_ox_ints given = {3, (const int64_t[]){0, 2, 3}};
  lt_ints axes = {0};
  lt_ox_list(c, "axes", &given);
  for (int64_t i = 0; i < given.n && i < LT_MAX_RANK; i++)
    axes.v[axes.n++] = lt_ox_axis(c, given.v[i], lt_type_of(c->g, x)->rank);
  m = mean(c, x, &axes);
  lt_value centred = lt_ox_binary(c, LT_OP_sub, x, m), square = lt_ox_binary(c, LT_OP_mul, centred, centred);
  lt_value d = lt_unary(c->g, LT_OP_sqrt, mean(c, square, &axes)), small = lt_ox_number(c, d, 1e-9);
  lt_ox_result(c, 0, lt_ox_binary(c, LT_OP_div, centred, lt_ox_binary(c, LT_OP_add, d, small)));
}

void lt_onnx_lp_norm(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), n;
  lt_ints axes = {1, {lt_ox_axis(c, lt_ox_int(c, "axis", -1), lt_type_of(c->g, x)->rank)}};
  int64_t p = lt_ox_int(c, "p", 2);
  if (p != 1 && p != 2) lt_ox_refuse(c, "p=%lld, should be 1 or 2", (long long)p);
  if (p == 1) n = lt_ox_reduce(c, LT_OP_sum, lt_unary(c->g, LT_OP_abs, x), &axes, true);
  else n = lt_unary(c->g, LT_OP_sqrt, lt_ox_reduce(c, LT_OP_sum, lt_ox_binary(c, LT_OP_mul, x, x), &axes, true));
  lt_value zero = lt_ox_number(c, n, 0), one = lt_ox_number(c, n, 1), none = lt_ox_binary(c, LT_OP_equal, n, zero);
  n = lt_emit(c->g, LT_OP_select, NULL, (lt_value[]){none, one, n}, 3); /* a row of zeros stays one */
  lt_ox_result(c, 0, lt_ox_binary(c, LT_OP_div, x, n));
}

/* x / (bias + alpha/size · sum of squares over `size` channels)^beta: channels seen as an image's height. */
void lt_onnx_lrn(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), square = lt_ox_binary(c, LT_OP_mul, x, x);
  lt_type t = lt_ox_of(c, x);
  int64_t size = lt_ox_int(c, "size", 0);
  double alpha = lt_ox_float(c, "alpha", 1e-4), beta = lt_ox_float(c, "beta", 0.75), bias = lt_ox_float(c, "bias", 1);
  if (t.rank < 2 || size < 1) lt_ox_refuse(c, "x is %s, size %lld", lt_type_text(c->arena, &t), (long long)size);
  lt_value rows =
    lt_ox_reshape(c, square, 4, (int64_t[]){t.dim[0], 1, t.dim[1], lt_type_count(&t) / t.dim[0] / t.dim[1]});
  lt_avg_pool_attrs a = {.kernel = {{size, 1}},
                         .stride = {{1, 1}},
                         .dilation = {{1, 1}},
                         .count_include_pad = true,
                         .pad = {{(size - 1) / 2, 0, size - 1 - (size - 1) / 2, 0}}};
  lt_value around = lt_ox_reshape(c, lt_emit(c->g, LT_OP_avg_pool, &a, &rows, 1), t.rank, t.dim);
  lt_value weighed = lt_ox_binary(c, LT_OP_mul, around, lt_ox_number(c, around, alpha));
  lt_value under = lt_ox_binary(c, LT_OP_add, weighed, lt_ox_number(c, weighed, bias));
  lt_value d = lt_ox_binary(c, LT_OP_pow, under, lt_ox_number(c, under, beta));
  lt_ox_result(c, 0, lt_ox_binary(c, LT_OP_div, x, d));
}
