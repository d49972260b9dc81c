/* ops_reduce.c: sums, products and maxima over axes, and what is made of them: norms, softmax, indices of maxima. Axes
 * are an attribute or, in later versions, an operand that must be known. */
#include "frontend/onnx/import.h"

#include <stdlib.h>

static int rising(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* All axes where none are given; none of them with noop_with_empty_axes. */
static lt_ints axes_of(lt_onnx *c, unsigned rank) {
  lt_ox_ints given = {0};
  lt_ints axes = {0};
  bool none = lt_ox_int(c, "noop_with_empty_axes", 0);
  lt_ox_axes(c, "axes", 1, &given);
  if (given.n > LT_MAX_RANK) lt_ox_refuse(c, "it has %lld axes", (long long)given.n);
  for (int64_t i = 0; i < given.n; i++) axes.v[axes.n++] = lt_ox_axis(c, given.v[i], rank);
  qsort(axes.v, (size_t)axes.n, sizeof *axes.v, rising);
  for (int64_t i = 1; i < axes.n; i++)
    if (axes.v[i] == axes.v[i - 1]) lt_ox_refuse(c, "axis %lld is given twice", (long long)axes.v[i]);
  if (!given.n && !none)
    for (axes.n = 0; axes.n < rank; axes.n++) axes.v[axes.n] = axes.n;
  return axes;
}

typedef struct reduction { lt_value x; lt_ints axes; bool keep; } reduction;

static reduction reduction_of(lt_onnx *c) {
  reduction r = {.x = lt_ox_in(c, 0)};
  r.axes = axes_of(c, lt_type_of(c->g, r.x)->rank);
  r.keep = lt_ox_int(c, "keepdims", 1);
  return r;
}

static lt_value reduce(lt_onnx *c, lt_op op, const reduction *r, lt_value x) {
  return lt_ox_reduce(c, op, x, &r->axes, r->keep);
}

void lt_onnx_reduce(lt_onnx *c) {
  reduction r = reduction_of(c);
  lt_dtype t = lt_type_of(c->g, r.x)->dtype;
  lt_value y = reduce(c, c->row->op, &r, t == LT_BOOL ? lt_cast(c->g, r.x, LT_I32) : r.x);
  lt_ox_result(c, 0, lt_cast(c->g, y, t));
}

/* The least is the greatest of the others' negatives; of whole numbers their complements, which never overflow. */
void lt_onnx_reduce_min(lt_onnx *c) {
  reduction r = reduction_of(c);
  lt_dtype t = lt_type_of(c->g, r.x)->dtype;
  lt_value x = t == LT_BOOL ? lt_cast(c->g, r.x, LT_I32) : r.x, y;
  if (lt_is_float(t)) y = lt_unary(c->g, LT_OP_neg, reduce(c, LT_OP_reduce_max, &r, lt_unary(c->g, LT_OP_neg, x)));
  else {
    lt_value k = lt_ox_number(c, x, -1);
    y = lt_binary(c->g, LT_OP_sub, k, reduce(c, LT_OP_reduce_max, &r, lt_binary(c->g, LT_OP_sub, k, x)));
  }
  lt_ox_result(c, 0, lt_cast(c->g, y, t));
}

/* Halves of an axis are multiplied until one element is left. */
lt_value lt_ox_product_along(lt_onnx *c, lt_value x, int64_t axis) {
  for (int64_t n; (n = lt_type_of(c->g, x)->dim[axis]) > 1;) {
    lt_value low = lt_ox_slice(c, x, axis, 0, n / 2), high = lt_ox_slice(c, x, axis, n / 2, n / 2 * 2);
    lt_value part[2] = {lt_binary(c->g, LT_OP_mul, low, high)};
    if (n % 2) part[1] = lt_ox_slice(c, x, axis, n - 1, n);
    x = lt_ox_concat(c, part, n % 2 ? 2 : 1, axis);
  }
  return x;
}

/* x without axes that are 1 by now. */
static lt_value without(lt_onnx *c, const reduction *r, lt_value x) {
  lt_type t = lt_ox_of(c, x);
  int64_t dim[LT_MAX_RANK], k = 0;
  unsigned rank = 0;
  for (unsigned i = 0; i < t.rank; i++) {
    if (k < r->axes.n && r->axes.v[k] == (int64_t)i) k++;
    else dim[rank++] = t.dim[i];
  }
  return r->keep ? x : lt_ox_reshape(c, x, rank, dim);
}

void lt_onnx_reduce_prod(lt_onnx *c) {
  reduction r = reduction_of(c);
  lt_value x = r.x;
  for (int64_t i = 0; i < r.axes.n; i++) x = lt_ox_product_along(c, x, r.axes.v[i]);
  lt_ox_result(c, 0, without(c, &r, x));
}

static lt_value square(lt_onnx *c, lt_value x) { return lt_binary(c->g, LT_OP_mul, x, x); }

void lt_onnx_reduce_l1(lt_onnx *c) {
  reduction r = reduction_of(c);
  lt_ox_result(c, 0, reduce(c, LT_OP_sum, &r, lt_unary(c->g, LT_OP_abs, r.x)));
}

void lt_onnx_reduce_l2(lt_onnx *c) {
  reduction r = reduction_of(c);
  lt_ox_result(c, 0, lt_unary(c->g, LT_OP_sqrt, reduce(c, LT_OP_sum, &r, square(c, r.x))));
}

void lt_onnx_reduce_sum_square(lt_onnx *c) {
  reduction r = reduction_of(c);
  lt_ox_result(c, 0, reduce(c, LT_OP_sum, &r, square(c, r.x)));
}

void lt_onnx_reduce_log_sum(lt_onnx *c) {
  reduction r = reduction_of(c);
  lt_ox_result(c, 0, lt_unary(c->g, LT_OP_log, reduce(c, LT_OP_sum, &r, r.x)));
}

/* log(sum(e^(x - m))) + m with m the greatest, which no gradient needs to see. */
void lt_onnx_reduce_log_sum_exp(lt_onnx *c) {
  reduction r = reduction_of(c);
  lt_value m = lt_unary(c->g, LT_OP_stop_grad, lt_ox_reduce(c, LT_OP_reduce_max, r.x, &r.axes, true));
  lt_value e = lt_unary(c->g, LT_OP_exp, lt_binary(c->g, LT_OP_sub, r.x, m));
  lt_value s = lt_unary(c->g, LT_OP_log, reduce(c, LT_OP_sum, &r, e)), top = without(c, &r, m);
  lt_ox_result(c, 0, lt_binary(c->g, LT_OP_add, s, top));
}

/* ---- indices of maxima ------------------------------------------------------------------------------------------- */

static lt_value argmax(lt_onnx *c, lt_value x, int64_t axis) {
  lt_argmax_attrs a = {.axis = axis};
  return lt_emit(c->g, LT_OP_argmax, &a, &x, 1);
}

/* The last of equal maxima is the first from behind. */
static lt_value last_argmax(lt_onnx *c, lt_value x, int64_t axis) {
  int64_t n = lt_type_of(c->g, x)->dim[axis], *back = LT_NEW_ARRAY(c->arena, int64_t, (size_t)n);
  for (int64_t i = 0; i < n; i++) back[i] = n - 1 - i;
  lt_value at = argmax(c, lt_ox_take(c, x, axis, back, n), axis), last = lt_ox_number(c, at, (double)(n - 1));
  return lt_binary(c->g, LT_OP_sub, last, at);
}

void lt_onnx_argmax(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  reduction r = {.x = x, .axes = {1, {lt_ox_axis(c, lt_ox_int(c, "axis", 0), lt_type_of(c->g, x)->rank)}}};
  r.keep = lt_ox_int(c, "keepdims", 1);
  if (c->row->op == LT_OP_neg) x = lt_unary(c->g, LT_OP_neg, x); /* ArgMin */
  bool last = lt_ox_int(c, "select_last_index", 0);
  lt_value at = last ? last_argmax(c, x, r.axes.v[0]) : argmax(c, x, r.axes.v[0]);
  lt_ox_result(c, 0, lt_cast(c->g, without(c, &r, at), LT_I64));
}

/* ---- softmax ----------------------------------------------------------------------------------------------------- */

static lt_value hardmax(lt_onnx *c, lt_value x, int64_t axis) {
  lt_type t = lt_ox_of(c, x);
  int64_t dim[LT_MAX_RANK], *i = LT_NEW_ARRAY(c->arena, int64_t, (size_t)t.dim[axis]);
  for (unsigned k = 0; k < t.rank; k++) dim[k] = k == (unsigned)axis ? t.dim[k] : 1;
  for (int64_t k = 0; k < t.dim[axis]; k++) i[k] = k;
  lt_value all = lt_ox_ints_const(c, LT_I32, t.rank, dim, i), at = argmax(c, x, axis);
  return lt_cast(c->g, lt_binary(c->g, LT_OP_equal, all, at), t.dtype);
}

static lt_value along(lt_onnx *c, lt_value x, int64_t axis) {
  lt_softmax_attrs a = {.axis = axis}; /* log_softmax's begin alike */
  return c->row->op == LT_OP_argmax ? hardmax(c, x, axis) : lt_emit(c->g, c->row->op, &a, &x, 1);
}

/* Before version 13 the axes from `axis` on were one. */
void lt_onnx_softmax(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  int64_t axis = lt_ox_axis(c, lt_ox_int(c, "axis", c->opset < 13 ? 1 : -1), t.rank), dim[2] = {1, 1};
  if (c->opset >= 13 || axis + 1 == t.rank) {
    lt_ox_result(c, 0, along(c, x, axis));
    return;
  }
  for (unsigned i = 0; i < t.rank; i++) dim[i >= axis] *= t.dim[i];
  lt_value y = along(c, lt_ox_reshape(c, x, 2, dim), 1);
  lt_ox_result(c, 0, lt_ox_reshape(c, y, t.rank, t.dim));
}

/* ---- running sums ------------------------------------------------------------------------------------------------ */

/* Steps of 1, 2, 4 …: each adds (or multiplies by) what stands so many places before. */
void lt_onnx_running(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  int64_t axis = lt_ox_axis(c, lt_ox_known_int(c, 1, "axis"), t.rank), n = t.dim[axis];
  bool exclusive = lt_ox_int(c, "exclusive", 0), reverse = lt_ox_int(c, "reverse", 0);
  double none = c->row->op == LT_OP_mul;
  for (int64_t step = exclusive ? 0 : 1; step < n || step == 0; step = step ? step * 2 : 1) {
    int64_t by = step ? step : 1;
    lt_pad_attrs p = {.pads = {2 * t.rank, {0}}, .value = none};
    p.pads.v[reverse ? t.rank + axis : axis] = LT_MIN(by, n);
    lt_value rest = by < n ? lt_ox_slice(c, x, axis, reverse ? by : 0, reverse ? n : n - by) : 0;
    lt_type all = lt_ox_of(c, x);
    lt_value moved =
      rest ? lt_emit(c->g, LT_OP_pad, &p, &rest, 1) : lt_broadcast_to(c->g, lt_ox_number(c, x, none), &all);
    x = step ? lt_binary(c->g, c->row->op, x, moved) : moved;
  }
  lt_ox_result(c, 0, x);
}
