/* ops_attention.c: attention and what stands around it in language models: softmax(Q·Kᵀ·scale + bias)·V with a cache of
 * earlier keys and values, and positions as rotations.
 *
 * Who may look where is a truth value (causal, window, lengths, masks of truth values) or a mask that is added. A row
 * that may look nowhere gives zeros: its logits are replaced before the softmax, so that no NaN meets a gradient. */
#include <math.h>

#include "frontend/onnx/forms.h"

typedef struct attention {
  lt_value q, k, v;                              /* [B, H, S, D] each */
  int64_t batch, heads, kv_heads, rows, columns; /* rows look at columns */
  int64_t past;                                  /* columns from the cache */
  int64_t left, right;                           /* of the window; -1: no limit */
  bool flat;                                     /* operands are [B, S, H·D] */
  bool causal;
  lt_value valid; /* columns that count in each batch, [B]; 0: all */
} attention;

/* ---- operands ---------------------------------------------------------------------------------------------------- */

/* [B, S, H·D] → [B, H, S, D] */
static lt_value split_heads(lt_onnx *c, lt_value x, int64_t heads) {
  lt_type t = lt_ox_of(c, x);
  if (heads < 1 || t.dim[2] % heads)
    lt_ox_refuse(c, "%s does not have %lld heads", lt_type_text(c->arena, &t), (long long)heads);
  x = lt_ox_reshape(c, x, 4, (int64_t[]){t.dim[0], t.dim[1], heads, t.dim[2] / heads});
  return lt_transpose(c->g, x, (const int64_t[]){0, 2, 1, 3});
}

static lt_value join_heads(lt_onnx *c, lt_value x) {
  lt_type t = lt_ox_of(c, x);
  x = lt_transpose(c->g, x, (const int64_t[]){0, 2, 1, 3});
  return lt_ox_reshape(c, x, 3, (int64_t[]){t.dim[0], t.dim[2], t.dim[1] * t.dim[3]});
}

/* Earlier keys or values stand before the new ones. */
static lt_value after_past(lt_onnx *c, unsigned operand, lt_value x) {
  if (!lt_ox_has(c, operand)) return x;
  lt_value past = lt_ox_in(c, operand);
  return lt_ox_concat(c, (lt_value[]){past, x}, 2, 2);
}

LT_NORETURN static void refuse_shapes(lt_onnx *c, const attention *a) {
  lt_type q = lt_ox_of(c, a->q), k = lt_ox_of(c, a->k), v = lt_ox_of(c, a->v);
  lt_ox_refuse(c, "its queries, keys and values are %s, %s and %s, which do not go together",
               lt_type_text(c->arena, &q), lt_type_text(c->arena, &k), lt_type_text(c->arena, &v));
}

static void check_shapes(lt_onnx *c, const attention *a) {
  lt_type q = lt_ox_of(c, a->q), k = lt_ox_of(c, a->k), v = lt_ox_of(c, a->v);
  bool ok = q.rank == 4 && k.rank == 4 && v.rank == 4 && q.dim[0] == k.dim[0] && k.dim[0] == v.dim[0];
  ok = ok && q.dim[3] == k.dim[3] && k.dim[2] == v.dim[2] && k.dim[1] == v.dim[1] && q.dim[1] % k.dim[1] == 0;
  if (!ok) refuse_shapes(c, a);
}

static attention read_attention(lt_onnx *c) {
  attention a = {.q = lt_ox_in(c, 0), .k = lt_ox_in(c, 1), .v = lt_ox_in(c, 2)};
  int64_t heads = lt_ox_int(c, "q_num_heads", 0), kv = lt_ox_int(c, "kv_num_heads", 0);
  a.flat = lt_ox_of(c, a.q).rank == 3;
  a.causal = lt_ox_int(c, "is_causal", 0);
  a.left = lt_ox_int(c, "left_window_size", -1), a.right = lt_ox_int(c, "right_window_size", -1);
  if (a.left < -1 || a.right < -1) lt_ox_refuse(c, "a window size is below -1");
  if (a.flat != (lt_ox_of(c, a.k).rank == 3) || a.flat != (lt_ox_of(c, a.v).rank == 3)) refuse_shapes(c, &a);
  if (a.flat) a.q = split_heads(c, a.q, heads), a.k = split_heads(c, a.k, kv), a.v = split_heads(c, a.v, kv);
  if (lt_ox_has(c, 4) != lt_ox_has(c, 5)) lt_ox_refuse(c, "past_key and past_value should come together");
  if (lt_ox_has(c, 4) && lt_ox_has(c, 6)) lt_ox_refuse(c, "it has a past and nonpad_kv_seqlen, which exclude another");
  check_shapes(c, &a);
  int64_t now = lt_ox_of(c, a.k).dim[2];
  a.k = after_past(c, 4, a.k), a.v = after_past(c, 5, a.v);
  check_shapes(c, &a);
  lt_type q = lt_ox_of(c, a.q), k = lt_ox_of(c, a.k);
  a.batch = q.dim[0], a.heads = q.dim[1], a.kv_heads = k.dim[1], a.rows = q.dim[2], a.columns = k.dim[2];
  a.past = a.columns - now;
  if (lt_ox_has(c, 6))
    a.valid = lt_ox_reshape(c, lt_cast(c->g, lt_ox_in(c, 6), LT_I64), 4, (int64_t[]){a.batch, 1, 1, 1});
  return a;
}

/* ---- who may look where ------------------------------------------------------------------------------------------ */

/* The column that row i stands at: i + what comes before the rows. */
static lt_value places(lt_onnx *c, const attention *a) {
  lt_value i = iota(c, LT_I64, a->rows, 4, 2);
  return a->valid ? lt_ox_binary(c, LT_OP_add, i, with(c, LT_OP_sub, a->valid, (double)a->rows))
                  : with(c, LT_OP_add, i, (double)a->past);
}

static lt_value allowed(lt_onnx *c, const attention *a) {
  lt_value j = iota(c, LT_I64, a->columns, 4, 3), ok = 0;
  if (a->valid) ok = lt_ox_binary(c, LT_OP_less, j, a->valid);
  if (!a->causal && a->left < 0 && a->right < 0) return ok;
  lt_value at = places(c, a);
  if (a->causal) ok = both(c, ok, lt_ox_binary(c, LT_OP_less_equal, j, at));
  if (a->left >= 0) ok = both(c, ok, lt_ox_binary(c, LT_OP_less_equal, with(c, LT_OP_sub, at, (double)a->left), j));
  if (a->right >= 0) ok = both(c, ok, lt_ox_binary(c, LT_OP_less_equal, j, with(c, LT_OP_add, at, (double)a->right)));
  return ok;
}

/* The mask in four axes; columns that it lacks are out. */
static lt_value read_mask(lt_onnx *c, const attention *a) {
  lt_value mask = lt_ox_in(c, 3);
  lt_type t = lt_ox_of(c, mask), all = lt_make_type(t.dtype, 4, (int64_t[]){a->batch, a->heads, a->rows, a->columns});
  int64_t dim[4] = {1, 1, 1, 1};
  bool logical = t.dtype == LT_BOOL;
  if (t.rank < 1 || t.rank > 4 || (!logical && t.dtype != lt_ox_of(c, a->q).dtype))
    lt_ox_refuse(c, "its mask is %s", lt_type_text(c->arena, &t));
  for (unsigned i = 0; i < t.rank; i++) dim[4 - t.rank + i] = t.dim[i];
  mask = lt_ox_reshape(c, mask, 4, dim);
  if (dim[3] < a->columns) {
    lt_value x = logical ? lt_cast(c->g, mask, LT_I32) : mask;
    lt_pad_attrs p = {.pads = {8, {0}}, .value = logical ? 0 : -INFINITY};
    p.pads.v[7] = a->columns - dim[3];
    mask = lt_cast(c->g, lt_emit(c->g, LT_OP_pad, &p, &x, 1), t.dtype);
  }
  lt_type now = lt_ox_of(c, mask), sum;
  if (!lt_broadcast(&sum, &now, &all) || !lt_type_eq(&sum, &all))
    lt_ox_refuse(c, "its mask is %s, which does not broadcast to %s", lt_type_text(c->arena, &t),
                 lt_type_text(c->arena, &all));
  return mask;
}

/* What is added to the logits: 0, -inf, or a mask; 0: nothing. */
static lt_value bias_of(lt_onnx *c, const attention *a) {
  lt_value ok = allowed(c, a), mask = lt_ox_has(c, 3) ? read_mask(c, a) : 0;
  lt_value zero = lt_ox_number(c, a->q, 0), never = lt_ox_number(c, a->q, -INFINITY);
  if (mask && lt_ox_of(c, mask).dtype == LT_BOOL) ok = both(c, ok, mask), mask = 0;
  if (!ok) return mask;
  return choose(c, ok, mask ? mask : zero, never);
}

/* Rows [B, H, S, 1] that may look nowhere; 0: there are none, as where only a window that begins before the last column
 * decides. */
static lt_value blind_rows(lt_onnx *c, const attention *a, lt_value bias) {
  bool reach = a->left < 0 || a->rows - 1 + a->past - a->left < a->columns;
  if (!bias || (!a->valid && !lt_ox_has(c, 3) && reach)) return 0;
  lt_value top = lt_ox_reduce(c, LT_OP_reduce_max, bias, &(lt_ints){1, {3}}, true);
  lt_value blind = with(c, LT_OP_equal, top, -INFINITY);
  const lt_tensor *known = lt_onnx_known(c, blind);
  for (int64_t i = 0; known && i < lt_type_count(&known->type); i++)
    if (known->i[i]) return blind;
  return known ? 0 : blind;
}

/* ---- the op ------------------------------------------------------------------------------------------------------ */

/* a·b of matrices by head, where several heads of a share one of b: their rows are rows of one matrix. */
static lt_value by_head(lt_onnx *c, lt_value a, lt_value b, bool turn) {
  lt_type t = lt_ox_of(c, a), u = lt_ox_of(c, b);
  lt_matmul_attrs m = {.transpose_b = turn};
  int64_t shared[4] = {t.dim[0], u.dim[1], t.dim[1] / u.dim[1] * t.dim[2], t.dim[3]};
  lt_value y = lt_emit(c->g, LT_OP_matmul, &m, (lt_value[]){lt_ox_reshape(c, a, 4, shared), b}, 2);
  t.dim[3] = turn ? u.dim[2] : u.dim[3];
  return lt_ox_reshape(c, y, 4, t.dim);
}

static lt_dtype softmax_type(lt_onnx *c, lt_value x) {
  int64_t type = lt_ox_int(c, "softmax_precision", 0);
  lt_dtype t = lt_ox_of(c, x).dtype;
  if (type && (type < 0 || type >= LT_ONNX_TYPES || !lt_onnx_dtype((lt_onnx_type)type, &t) || !lt_is_float(t)))
    lt_ox_refuse(c, "softmax_precision=%s, which is no type of floats here", lt_onnx_type_name(type));
  return t;
}

/* The softmax of each row; zeros in blind ones. */
static lt_value weights_of(lt_onnx *c, lt_value logits, lt_value blind) {
  lt_dtype t = lt_ox_of(c, logits).dtype, in = softmax_type(c, logits);
  lt_softmax_attrs s = {.axis = 3};
  if (blind) logits = choose(c, blind, lt_ox_number(c, logits, 0), logits);
  logits = lt_cast(c->g, logits, in);
  lt_value p = lt_cast(c->g, lt_emit(c->g, LT_OP_softmax, &s, &logits, 1), t);
  return blind ? choose(c, blind, lt_ox_number(c, p, 0), p) : p;
}

void lt_onnx_attention(lt_onnx *c) {
  attention a = read_attention(c);
  double size = (double)lt_ox_of(c, a.q).dim[3], cap = lt_ox_float(c, "softcap", 0);
  int64_t mode = lt_ox_int(c, "qk_matmul_output_mode", 0);
  if (mode < 0 || mode > 3) lt_ox_refuse(c, "qk_matmul_output_mode=%lld is unknown", (long long)mode);
  lt_value stage[4], bias = bias_of(c, &a), scaled = with(c, LT_OP_mul, a.q, lt_ox_float(c, "scale", 1 / sqrt(size)));
  stage[0] = stage[1] = by_head(c, scaled, a.k, true);
  if (cap > 0) {
    lt_value bent = un(c, LT_OP_tanh, with(c, LT_OP_div, stage[0], cap));
    stage[1] = with(c, LT_OP_mul, bent, cap);
  }
  stage[2] = bias ? lt_ox_binary(c, LT_OP_add, stage[1], bias) : stage[1];
  stage[3] = weights_of(c, stage[2], blind_rows(c, &a, bias));
  lt_value y = by_head(c, stage[3], a.v, false);
  lt_ox_result(c, 0, a.flat ? join_heads(c, y) : y);
  lt_ox_result(c, 1, a.k);
  lt_ox_result(c, 2, a.v);
  lt_ox_result(c, 3, stage[mode]);
}

/* ---- FlexAttention ----------------------------------------------------------------------------------------------- */

/* What stands between is told by graphs of the node's own. */
void lt_onnx_flex_attention(lt_onnx *c) {
  attention a = {.q = lt_ox_in(c, 0), .k = lt_ox_in(c, 1), .v = lt_ox_in(c, 2)};
  lt_softmax_attrs s = {.axis = 3};
  check_shapes(c, &a);
  lt_type t = lt_ox_of(c, a.q);
  lt_dtype in = softmax_type(c, a.q);
  a.q = with(c, LT_OP_mul, a.q, lt_ox_float(c, "scale", 1 / sqrt((double)t.dim[3])));
  lt_value scores = lt_onnx_apply_body(c, "score_mod", lt_cast(c->g, by_head(c, a.q, a.k, true), in));
  lt_value weights = lt_onnx_apply_body(c, "prob_mod", lt_emit(c->g, LT_OP_softmax, &s, &scores, 1));
  lt_ox_result(c, 0, lt_cast(c->g, by_head(c, weights, lt_cast(c->g, a.v, in), false), t.dtype));
}

/* ---- positions --------------------------------------------------------------------------------------------------- */

/* The rows of a cache that position_ids name, or the cache as it is: [B, S, 1, R]. */
static lt_value angles(lt_onnx *c, unsigned operand, const lt_type *x, int64_t half) {
  lt_value v = lt_ox_in(c, operand);
  lt_take_attrs take = {.axis = 0};
  if (lt_ox_has(c, 3)) {
    lt_value at = lt_ox_in(c, 3);
    lt_type t = lt_ox_of(c, at), cache = lt_ox_of(c, v);
    if (t.rank != 2 || cache.rank != 2)
      lt_ox_refuse(c, "its positions are %s, its cache %s", lt_type_text(c->arena, &t), lt_type_text(c->arena, &cache));
    v = lt_emit(c->g, LT_OP_take, &take, (lt_value[]){v, lt_ox_from_start(c, at, cache.dim[0])}, 2);
  }
  lt_type t = lt_ox_of(c, v);
  if (t.rank != 3 || t.dim[0] != x->dim[0] || t.dim[1] != x->dim[1] || t.dim[2] != half)
    lt_ox_refuse(c, "its angles are %s, should be [%lld, %lld, %lld]", lt_type_text(c->arena, &t), (long long)x->dim[0],
                 (long long)x->dim[1], (long long)half);
  return lt_ox_reshape(c, v, 4, (int64_t[]){t.dim[0], t.dim[1], 1, t.dim[2]});
}

/* Pairs of elements, x[i] and x[i + half] or neighbours, turned by an angle: axes [B, S, H, D]. */
static lt_value rotated(lt_onnx *c, lt_value x, lt_value cosine, lt_value sine, bool neighbours) {
  lt_type t = lt_ox_of(c, x);
  int64_t half = t.dim[3] / 2, dim[5] = {t.dim[0], t.dim[1], t.dim[2], neighbours ? half : 2, neighbours ? 2 : half};
  int64_t axis = neighbours ? 4 : 3, one[4] = {t.dim[0], t.dim[1], t.dim[2], half}, put[5] = {0};
  lt_value pairs = lt_ox_reshape(c, x, 5, dim), part[2];
  for (int i = 0; i < 2; i++) part[i] = lt_ox_reshape(c, lt_ox_slice(c, pairs, axis, i, i + 1), 4, one);
  lt_value real =
    lt_ox_binary(c, LT_OP_sub, lt_ox_binary(c, LT_OP_mul, cosine, part[0]), lt_ox_binary(c, LT_OP_mul, sine, part[1]));
  lt_value imaginary =
    lt_ox_binary(c, LT_OP_add, lt_ox_binary(c, LT_OP_mul, sine, part[0]), lt_ox_binary(c, LT_OP_mul, cosine, part[1]));
  memcpy(put, dim, sizeof dim);
  put[axis] = 1;
  lt_value both_parts[2] = {lt_ox_reshape(c, real, 5, put), lt_ox_reshape(c, imaginary, 5, put)};
  return lt_ox_reshape(c, lt_ox_concat(c, both_parts, 2, axis), 4, t.dim);
}

void lt_onnx_rotary_embedding(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  int64_t heads = lt_ox_int(c, "num_heads", 0), turned = lt_ox_int(c, "rotary_embedding_dim", 0);
  bool neighbours = lt_ox_int(c, "interleaved", 0), flat = t.rank == 3;
  if (t.rank != 3 && t.rank != 4) lt_ox_refuse(c, "x is %s", lt_type_text(c->arena, &t));
  if (flat && (heads < 1 || t.dim[2] % heads)) lt_ox_refuse(c, "num_heads=%lld does not divide x", (long long)heads);
  if (flat) x = lt_ox_reshape(c, x, 4, (int64_t[]){t.dim[0], t.dim[1], heads, t.dim[2] / heads});
  else x = lt_transpose(c->g, x, (const int64_t[]){0, 2, 1, 3});
  lt_type u = lt_ox_of(c, x);
  if (!turned) turned = u.dim[3];
  if (turned < 2 || turned % 2 || turned > u.dim[3])
    lt_ox_refuse(c, "it turns %lld of %lld elements", (long long)turned, (long long)u.dim[3]);
  lt_value cosine = angles(c, 1, &u, turned / 2), sine = angles(c, 2, &u, turned / 2);
  lt_value part[2] = {rotated(c, lt_ox_slice(c, x, 3, 0, turned), cosine, sine, neighbours)};
  if (turned < u.dim[3]) part[1] = lt_ox_slice(c, x, 3, turned, u.dim[3]);
  lt_value y = lt_ox_concat(c, part, part[1] ? 2 : 1, 3);
  lt_ox_result(c, 0, flat ? lt_ox_reshape(c, y, 3, t.dim) : lt_transpose(c->g, y, (const int64_t[]){0, 2, 1, 3}));
}
