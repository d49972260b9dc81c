/* ops_pool.c: poolings with windows and over whole images. Sizes rounded up (ceil_mode) leave out windows that begin
 * behind the image, as ours do. */
#include "frontend/onnx/window.h"

/* max_pool_index counts within a plane, ONNX over all of x; in columns with storage_order=1. */
static lt_value whole_index(lt_onnx *c, const lt_type *x, lt_value at) {
  lt_type t = lt_ox_of(c, at);
  int64_t planes = t.dim[0] * t.dim[1], *first = LT_NEW_ARRAY(c->arena, int64_t, (size_t)planes);
  for (int64_t i = 0; i < planes; i++) first[i] = i * x->dim[2] * x->dim[3];
  at = lt_cast(c->g, at, LT_I64);
  if (lt_ox_int(c, "storage_order", 0)) {
    lt_value w = lt_ox_number(c, at, (double)x->dim[3]), h = lt_ox_number(c, at, (double)x->dim[2]);
    lt_value row = lt_binary(c->g, LT_OP_div, at, w);
    lt_value column = lt_binary(c->g, LT_OP_sub, at, lt_binary(c->g, LT_OP_mul, row, w));
    at = lt_binary(c->g, LT_OP_add, lt_binary(c->g, LT_OP_mul, column, h), row);
  }
  lt_value base = lt_ox_ints_const(c, LT_I64, 4, (int64_t[]){t.dim[0], t.dim[1], 1, 1}, first);
  return lt_binary(c->g, LT_OP_add, at, base);
}

static lt_value maximum_of_windows(lt_onnx *c, const lt_ox_window *w, lt_value x, void *ctx) {
  lt_max_pool_attrs a;
  (void)ctx;
  lt_attrs_default(LT_OP_max_pool, &a);
  a.kernel = w->kernel, a.stride = w->stride, a.pad = w->pad, a.dilation = w->dilation, a.ceil = w->ceil;
  return lt_emit(c->g, LT_OP_max_pool, &a, &x, 1);
}

static lt_value mean_of_windows(lt_onnx *c, const lt_ox_window *w, lt_value x, void *border) {
  lt_avg_pool_attrs a = {.kernel = w->kernel,
                         .stride = w->stride,
                         .pad = w->pad,
                         .dilation = w->dilation,
                         .ceil = w->ceil,
                         .count_include_pad = border != NULL};
  return lt_emit(c->g, LT_OP_avg_pool, &a, &x, 1);
}

static lt_value pooled(lt_onnx *c, const lt_ox_window *w, lt_value x, lt_ox_pooling *pool, void *ctx) {
  if (w->solid) return lt_ox_pool_volume(c, w, x, pool, ctx);
  return lt_ox_from_image(c, w, pool(c, w, lt_ox_to_image(c, w, x), ctx));
}

void lt_onnx_max_pool(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_ox_window w = lt_ox_window_of(c, x, NULL);
  w.ceil = lt_ox_int(c, "ceil_mode", 0);
  lt_ox_int(c, "storage_order", 0);
  lt_ox_result(c, 0, pooled(c, &w, x, maximum_of_windows, NULL));
  if (!lt_ox_wants(c, 1)) return;
  if (w.solid) lt_ox_refuse(c, "its indices in three axes are not read");
  x = lt_ox_to_image(c, &w, x);
  lt_type image = lt_ox_of(c, x);
  lt_max_pool_index_attrs i = {
    .kernel = w.kernel, .stride = w.stride, .pad = w.pad, .dilation = w.dilation, .ceil = w.ceil};
  lt_value at = whole_index(c, &image, lt_emit(c->g, LT_OP_max_pool_index, &i, &x, 1));
  lt_ox_result(c, 1, lt_ox_from_image(c, &w, at));
}

void lt_onnx_average_pool(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_ox_window w = lt_ox_window_of(c, x, NULL);
  w.ceil = lt_ox_int(c, "ceil_mode", 0);
  bool border = lt_ox_int(c, "count_include_pad", 0);
  lt_ox_result(c, 0, pooled(c, &w, x, mean_of_windows, border ? &border : NULL));
}

/* |x|^p, and what undoes it */
static lt_value power(lt_onnx *c, lt_value x, double p) {
  if (p == 1) return x;
  if (p == 2) return lt_binary(c->g, LT_OP_mul, x, x);
  return lt_binary(c->g, LT_OP_pow, x, lt_ox_number(c, x, p));
}

static lt_value root(lt_onnx *c, lt_value x, double p) {
  if (p == 1) return x;
  if (p == 2) return lt_unary(c->g, LT_OP_sqrt, x);
  return lt_binary(c->g, LT_OP_pow, x, lt_ox_number(c, x, 1 / p));
}

void lt_onnx_lp_pool(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_ox_window w = lt_ox_window_of(c, x, NULL);
  double p = (double)lt_ox_int(c, "p", 2),
         taps = (double)w.kernel.v[0] * (double)w.kernel.v[1] * (double)w.depth.kernel;
  w.ceil = lt_ox_int(c, "ceil_mode", 0);
  if (w.ceil) lt_ox_refuse(c, "ceil_mode=1 is not read");
  lt_value y = pooled(c, &w, power(c, lt_unary(c->g, LT_OP_abs, x), p), mean_of_windows, &w);
  lt_value all = lt_ox_number(c, y, taps);
  lt_ox_result(c, 0, root(c, lt_binary(c->g, LT_OP_mul, y, all), p));
}

/* ---- whole images ------------------------------------------------------------------------------------------------ */

static lt_ints axes_of_image(lt_onnx *c, const lt_type *t) {
  lt_ints axes = {0};
  if (t->rank < 3) lt_ox_refuse(c, "x is %s, should be [N, C, …]", lt_type_text(c->arena, t));
  for (unsigned i = 2; i < t->rank; i++) axes.v[axes.n++] = i;
  return axes;
}

void lt_onnx_global_pool(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  lt_ints axes = axes_of_image(c, &t);
  bool image = t.rank == 4 && c->row->op == LT_OP_mean;
  lt_ox_result(c, 0, image ? lt_unary(c->g, LT_OP_global_avg_pool, x) : lt_ox_reduce(c, c->row->op, x, &axes, true));
}

void lt_onnx_global_lp_pool(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  lt_ints axes = axes_of_image(c, &t);
  double p = (double)lt_ox_int(c, "p", 2);
  lt_value m = power(c, lt_unary(c->g, LT_OP_abs, x), p);
  lt_ox_result(c, 0, root(c, lt_ox_reduce(c, LT_OP_sum, m, &axes, true), p));
}
