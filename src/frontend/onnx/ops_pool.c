/* ops_pool.c: poolings with windows and over whole images. Sizes rounded up (ceil_mode) leave out windows that begin
 * behind the image, as ours do. */
#include <math.h>

#include "frontend/onnx/forms.h"
#include "frontend/onnx/window.h"

/* Index `at` in images of the axes of x from the third on, counted the other way: their first axis is the fastest. */
static lt_value in_columns(lt_onnx *c, const lt_type *x, lt_value at) {
  lt_value sum = 0;
  int64_t step = 1;
  for (unsigned a = 2; a < x->rank; a++) step *= x->dim[a];
  for (unsigned a = x->rank; a-- > 2;) {
    lt_value n = lt_ox_number(c, at, (double)x->dim[a]), over = lt_binary(c->g, LT_OP_div, at, n);
    lt_value rest = lt_binary(c->g, LT_OP_sub, at, lt_binary(c->g, LT_OP_mul, over, n));
    rest = lt_binary(c->g, LT_OP_mul, rest, lt_ox_number(c, at, (double)(step /= x->dim[a])));
    sum = sum ? lt_binary(c->g, LT_OP_add, sum, rest) : rest, at = over;
  }
  return sum;
}

/* Ours count within an image, ONNX over all of x; in columns with storage_order=1. */
static lt_value whole_index(lt_onnx *c, const lt_type *x, lt_value at) {
  lt_type t = lt_ox_of(c, at);
  int64_t images = t.dim[0] * t.dim[1], *first = LT_NEW_ARRAY(c->arena, int64_t, (size_t)images);
  int64_t dim[LT_MAX_RANK] = {t.dim[0], t.dim[1], 1, 1, 1};
  for (int64_t i = 0; i < images; i++) first[i] = i * (lt_type_count(x) / images);
  at = lt_cast(c->g, at, LT_I64);
  if (lt_ox_int(c, "storage_order", 0)) at = in_columns(c, x, at);
  return lt_binary(c->g, LT_OP_add, at, lt_ox_ints_const(c, LT_I64, t.rank, dim, first));
}

static lt_value maximum_of_windows(lt_onnx *c, const lt_ox_window *w, lt_value x, void *ctx) {
  lt_max_pool_attrs a;
  (void)ctx;
  lt_attrs_default(LT_OP_max_pool, &a);
  a.kernel = w->kernel, a.stride = w->stride, a.pad = w->pad, a.dilation = w->dilation, a.ceil = w->ceil;
  return lt_emit(c->g, LT_OP_max_pool, &a, &x, 1);
}

static lt_value index_of_windows(lt_onnx *c, const lt_ox_window *w, lt_value x, void *ctx) {
  lt_max_pool_index_attrs a = {
    .kernel = w->kernel, .stride = w->stride, .pad = w->pad, .dilation = w->dilation, .ceil = w->ceil};
  (void)ctx;
  return lt_emit(c->g, LT_OP_max_pool_index, &a, &x, 1);
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
  if (!w.solid) x = lt_ox_to_image(c, &w, x);
  lt_type image = lt_ox_of(c, x);
  lt_value at =
    w.solid ? lt_ox_index_volume(c, &w, x, maximum_of_windows, index_of_windows) : index_of_windows(c, &w, x, NULL);
  lt_ox_result(c, 1, lt_ox_from_image(c, &w, whole_index(c, &image, at)));
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

/* ceil adds a window that reaches beyond the border: a border that it fills, where zeros add nothing. */
static int64_t filled(const lt_ox_axis_window *a, int64_t size, bool ceil) {
  int64_t reach, room, over;
  bool ok = a->kernel >= 1 && a->stride >= 1 && a->dilation >= 1 && lt_mul_ok(&reach, a->kernel - 1, a->dilation);
  ok =
    ok && lt_add_ok(&room, size, a->before) && lt_add_ok(&room, room, a->behind) && lt_add_ok(&room, room, -reach - 1);
  if (!ceil || !ok || room < 0) return a->behind; /* what makes no sense is told by the op itself */
  over = room % a->stride;
  bool begins_inside = room - over < size + a->before - a->stride;
  return over && begins_inside ? a->behind + a->stride - over : a->behind;
}

static void fill_windows(lt_onnx *c, lt_ox_window *w, const lt_type *x) {
  bool ceil = lt_ox_int(c, "ceil_mode", 0);
  for (unsigned i = 0; i < 2; i++) {
    int64_t size = x->rank == 3 && !i ? 1 : x->dim[x->rank - 2 + i];
    lt_ox_axis_window a = {w->kernel.v[i], w->stride.v[i], w->dilation.v[i], w->pad.v[i], w->pad.v[2 + i]};
    w->pad.v[2 + i] = filled(&a, size, ceil);
  }
  if (w->solid) w->depth.behind = filled(&w->depth, x->dim[2], ceil);
}

void lt_onnx_lp_pool(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  lt_ox_window w = lt_ox_window_of(c, x, NULL);
  double p = (double)lt_ox_int(c, "p", 2),
         taps = (double)w.kernel.v[0] * (double)w.kernel.v[1] * (double)w.depth.kernel;
  fill_windows(c, &w, &t);
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

/* ---- regions ----------------------------------------------------------------------------------------------------- */

/* Whole numbers, halves away from 0. */
static lt_value to_whole(lt_onnx *c, lt_value x) {
  lt_value size = un(c, LT_OP_abs, x), low = un(c, LT_OP_floor, size), one = lt_ox_number(c, x, 1);
  lt_value half = from(c, LT_OP_less_equal, 0.5, lt_ox_binary(c, LT_OP_sub, size, low));
  lt_value y = choose(c, half, lt_ox_binary(c, LT_OP_add, low, one), low);
  return lt_ox_binary(c, LT_OP_mul, y, un(c, LT_OP_sign, x));
}

/* Which of `size` places along an axis are in bin i of each region, [R, bins, size]; which bins have none, [R, bins].
 */
typedef struct bins { lt_value in, empty; } bins;

static bins bins_of(lt_onnx *c, lt_value rois, int64_t first, double scale, int64_t n, int64_t size) {
  lt_value edge[2], end[2];
  lt_dtype t = lt_ox_of(c, rois).dtype;
  int64_t regions = lt_ox_of(c, rois).dim[0], dim[3] = {regions, n, 1};
  for (int i = 0; i < 2; i++)
    edge[i] = to_whole(c, with(c, LT_OP_mul, lt_ox_slice(c, rois, 1, first + 2 * i, first + 2 * i + 1), scale));
  lt_value length = with(c, LT_OP_max, with(c, LT_OP_add, lt_ox_binary(c, LT_OP_sub, edge[1], edge[0]), 1), 1);
  lt_value each = with(c, LT_OP_div, length, (double)n), i = lt_cast(c->g, iota(c, LT_I32, n, 2, 1), t);
  end[0] = un(c, LT_OP_floor, lt_ox_binary(c, LT_OP_mul, i, each));
  lt_value behind = lt_ox_binary(c, LT_OP_mul, with(c, LT_OP_add, i, 1), each);
  end[1] = un(c, LT_OP_neg, un(c, LT_OP_floor, un(c, LT_OP_neg, behind)));
  for (int k = 0; k < 2; k++) end[k] = limited(c, lt_ox_binary(c, LT_OP_add, end[k], edge[0]), 0, (double)size);
  bins b = {.empty = lt_ox_binary(c, LT_OP_less_equal, end[1], end[0])};
  lt_value at = lt_cast(c->g, iota(c, LT_I32, size, 3, 2), t);
  lt_value from_on = lt_ox_binary(c, LT_OP_less_equal, lt_ox_reshape(c, end[0], 3, dim), at);
  b.in = both(c, from_on, lt_ox_binary(c, LT_OP_less, at, lt_ox_reshape(c, end[1], 3, dim)));
  return b;
}

/* The largest along `axis` of what a region's bins show of x, -inf where they show none. */
static lt_value largest_in(lt_onnx *c, lt_value in, lt_value x, int64_t axis) {
  lt_value y = choose(c, in, x, lt_ox_number(c, x, -INFINITY));
  return lt_ox_reduce(c, LT_OP_reduce_max, y, &(lt_ints){1, {axis}}, false);
}

/* Along the rows of each region's image, then along its columns. */
void lt_onnx_max_roi_pool(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), rois = lt_ox_in(c, 1);
  lt_type t = lt_ox_of(c, x), k = lt_ox_of(c, rois);
  double scale = lt_ox_float(c, "spatial_scale", 1);
  lt_ox_ints to = {0};
  bool given = lt_ox_list(c, "pooled_shape", &to) && to.n == 2;
  if (!given || t.rank != 4 || k.rank != 2 || k.dim[1] != 5 || to.v[0] < 1 || to.v[1] < 1 || to.v[0] > 1 << 15 ||
      to.v[1] > 1 << 15)
    lt_ox_refuse(c, "x is %s, its regions %s, its pooled_shape %lld numbers", lt_type_text(c->arena, &t),
                 lt_type_text(c->arena, &k), (long long)to.n);
  int64_t n = k.dim[0], ch = t.dim[1], high = t.dim[2], wide = t.dim[3], h = to.v[0], w = to.v[1];
  lt_value of = lt_cast(c->g, lt_ox_reshape(c, lt_ox_slice(c, rois, 1, 0, 1), 1, &n), LT_I32);
  bins rows = bins_of(c, rois, 2, scale, h, high), columns = bins_of(c, rois, 1, scale, w, wide);
  x = lt_ox_reshape(c, lt_ox_pick(c, LT_OP_take, x, 0, of), 5, (int64_t[]){n, ch, high, 1, wide});
  x = largest_in(c, lt_ox_reshape(c, columns.in, 5, (int64_t[]){n, 1, 1, w, wide}), x, 4);
  x = lt_ox_reshape(c, x, 5, (int64_t[]){n, ch, 1, high, w});
  x = largest_in(c, lt_ox_reshape(c, rows.in, 5, (int64_t[]){n, 1, h, high, 1}), x, 3);
  lt_value none = lt_ox_reshape(c, rows.empty, 4, (int64_t[]){n, 1, h, 1}), zero = lt_ox_number(c, x, 0);
  lt_value nothing = lt_ox_reshape(c, columns.empty, 4, (int64_t[]){n, 1, 1, w});
  lt_ox_result(c, 0, choose(c, none, zero, choose(c, nothing, zero, x)));
}
