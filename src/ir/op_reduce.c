/* op_reduce.c: reductions over axes, softmax and the losses. Sums and maxima are what code generation knows; the others
 * are SUGAR and say what they mean in terms of these (LT_EXPAND). */
#include <math.h>

#include "ir/op_util.h"

/* ---- sum, mean, reduce_max --------------------------------------------------------------------------------------- */

static void infer_reduce(lt_graph *g, lt_op op, lt_value x, lt_ints *axes, bool keepdims, bool any_number,
                         lt_type *out) {
  if (!any_number) lt_need_float(g, op, "x", x);
  if (lt_type_of(g, x)->dtype == LT_BOOL)
    lt_node_fail(g, op, "x %s must be of a number type\nhelp: cast(…, dtype=i32) converts it", lt_text_of(g, x));
  lt_need_axes(g, op, x, axes);
  const lt_type t = *lt_type_of(g, x);
  int64_t dim[LT_MAX_RANK], k = 0;
  unsigned rank = 0;
  for (unsigned i = 0; i < t.rank; i++) {
    bool reduced = k < axes->n && axes->v[k] == (int64_t)i;
    if (reduced) k++;
    if (!reduced || keepdims) dim[rank++] = reduced ? 1 : t.dim[i];
  }
  *out = lt_make_type(t.dtype, rank, dim);
}

/* A walk over x whose array 0 is the result: stride 0 along reduced axes. */
static lt_walk reduce_walk(const lt_type *x, const lt_ints *axes) {
  int64_t stride[LT_MAX_RANK] = {0}, step = 1, k = axes->n;
  for (unsigned i = x->rank; i-- > 0;) {
    if (k > 0 && axes->v[k - 1] == (int64_t)i) k--;
    else stride[i] = step, step *= x->dim[i];
  }
  lt_walk w;
  lt_walk_init(&w, x);
  lt_walk_add_strides(&w, stride);
  return w;
}

static void eval_sum(const lt_tensor *x, const lt_ints *axes, lt_tensor *y) {
  lt_walk w = reduce_walk(&x->type, axes);
  int64_t count = lt_type_count(&x->type);
  bool floats = lt_is_float(x->type.dtype);
  memset(y->f, 0, (size_t)lt_type_count(&y->type) * sizeof(double));
  for (int64_t i = 0; i < count; i++, lt_walk_next(&w)) {
    if (floats) y->f[w.off[0]] += x->f[i];
    else y->i[w.off[0]] = (int64_t)((uint64_t)y->i[w.off[0]] + (uint64_t)x->i[i]);
  }
  for (int64_t i = 0, n = lt_type_count(&y->type); !floats && i < n; i++)
    y->i[i] = lt_dtype_wrap(y->type.dtype, y->i[i]);
}

static int64_t reduced_count(const lt_type *x, const lt_ints *axes) {
  int64_t n = 1;
  for (int64_t i = 0; i < axes->n; i++) n *= x->dim[axes->v[i]];
  return n;
}

/* g of a reduction's result, with the reduced axes as 1 again. */
static lt_value keep_axes(lt_graph *g, lt_value gy, lt_value x, const lt_ints *axes) {
  lt_type t = *lt_type_of(g, x);
  for (int64_t i = 0; i < axes->n; i++) t.dim[axes->v[i]] = 1;
  return lt_reshape_like(g, gy, &t);
}

LT_INFER(sum) {
  lt_sum_attrs *a = attrs;
  infer_reduce(g, LT_OP_sum, in[0], &a->axes, a->keepdims, true, out_type);
}
LT_EVAL(sum) { eval_sum(in[0], &((const lt_sum_attrs *)n->attrs)->axes, out[0]); }
LT_AXES(sum) {
  const lt_sum_attrs *a = n->attrs;
  return (lt_reduced){a->axes, a->keepdims};
}
LT_TERMS(sum) { return LT_MAX(1, lt_count_of(g, n->in[0]) / lt_count_of(g, n->out)); }
LT_VJP(sum) {
  const lt_sum_attrs *a = n->attrs;
  const lt_type x = *lt_type_of(v->g, in[0]);
  gin[0] = lt_broadcast_to(v->g, keep_axes(v->g, gout[0], in[0], &a->axes), &x);
}

LT_INFER(mean) {
  lt_mean_attrs *a = attrs;
  infer_reduce(g, LT_OP_mean, in[0], &a->axes, a->keepdims, false, out_type);
}
LT_EVAL(mean) {
  const lt_mean_attrs *a = n->attrs;
  eval_sum(in[0], &a->axes, out[0]);
  double count = (double)reduced_count(&in[0]->type, &a->axes);
  for (int64_t i = 0, total = lt_type_count(&out[0]->type); i < total; i++) out[0]->f[i] /= count;
}
LT_EXPAND(mean) {
  const lt_mean_attrs *a = n->attrs;
  const lt_type x = *lt_type_of(g, in[0]);
  lt_value sum = lt_reduce(g, LT_OP_sum, in[0], &a->axes, a->keepdims);
  out[0] = lt_binary(g, LT_OP_div, sum, lt_number(g, sum, (double)reduced_count(&x, &a->axes)));
}
LT_VJP(mean) { lt_vjp_by_expansion(v, n, in, gout, gin); }

LT_INFER(reduce_max) {
  lt_reduce_max_attrs *a = attrs;
  infer_reduce(g, LT_OP_reduce_max, in[0], &a->axes, a->keepdims, true, out_type);
}
LT_EVAL(reduce_max) {
  const lt_reduce_max_attrs *a = n->attrs;
  lt_walk w = reduce_walk(&in[0]->type, &a->axes);
  const lt_tensor *x = in[0];
  int64_t count = lt_type_count(&x->type), results = lt_type_count(&out[0]->type);
  bool floats = lt_is_float(x->type.dtype);
  for (int64_t i = 0; i < results; i++) {
    if (floats) out[0]->f[i] = -HUGE_VAL;
    else out[0]->i[i] = INT64_MIN;
  }
  for (int64_t i = 0; i < count; i++, lt_walk_next(&w)) {
    double *f = out[0]->f + w.off[0];
    if (floats) *f = lt_map_eval(LT_OP_max, NULL, *f, x->f[i], 0);
    else out[0]->i[w.off[0]] = LT_MAX(out[0]->i[w.off[0]], x->i[i]);
  }
}
LT_AXES(reduce_max) {
  const lt_reduce_max_attrs *a = n->attrs;
  return (lt_reduced){a->axes, a->keepdims};
}
/* The result's own shape with the reduced axes kept as 1. */
static lt_type kept_shape(const lt_type *x, const lt_ints *axes) {
  lt_type t = *x;
  for (int64_t i = 0; i < axes->n; i++) t.dim[axes->v[i]] = 1;
  return t;
}
/* Every maximum gets the gradient. */
static lt_value to_all_maxima(lt_graph *g, lt_value x, lt_value y, lt_value gy, const lt_ints *axes) {
  const lt_type kept = kept_shape(lt_type_of(g, x), axes);
  lt_value is_top = lt_is_maximum(g, x, lt_reshape_like(g, y, &kept));
  lt_value each = lt_reshape_like(g, gy, &kept);
  return lt_emit(g, LT_OP_select, NULL, (lt_value[]){is_top, each, lt_number(g, gy, 0)}, 3);
}
/* The reduced axes go last and become one, along which the first maximum is found: the gradient is scattered there. */
LT_VJP(reduce_max) {
  const lt_reduce_max_attrs *a = n->attrs;
  lt_graph *g = v->g;
  if (a->all_ties) {
    gin[0] = to_all_maxima(g, in[0], out[0], gout[0], &a->axes);
    return;
  }
  const lt_type x = *lt_type_of(g, in[0]);
  int64_t perm[LT_MAX_RANK], back[LT_MAX_RANK] = {0}, flat[LT_MAX_RANK + 1], kept = 0, k = 0, size = 1;
  for (unsigned i = 0; i < x.rank; i++) {
    if (k < a->axes.n && a->axes.v[k] == (int64_t)i) k++;
    else flat[kept] = x.dim[i], perm[kept++] = i;
  }
  for (k = 0; k < a->axes.n; k++) perm[kept + k] = a->axes.v[k], size *= x.dim[a->axes.v[k]];
  for (unsigned i = 0; i < x.rank; i++) back[perm[i]] = i;
  flat[kept] = size;
  lt_value t = x.rank ? lt_transpose(g, in[0], perm) : in[0];
  const lt_type turned = *lt_type_of(g, t);
  lt_argmax_attrs am = {.axis = -1};
  t = lt_reshape(g, t, (unsigned)kept + 1, flat);
  lt_value index = lt_emit(g, LT_OP_argmax, &am, &t, 1);
  const lt_type one = *lt_type_of(g, index);
  lt_scatter_add_attrs sa = {.axis = -1, .size = size};
  lt_value s = lt_emit(g, LT_OP_scatter_add, &sa, (lt_value[]){lt_reshape_like(g, gout[0], &one), index}, 2);
  s = lt_reshape_like(g, s, &turned);
  gin[0] = x.rank ? lt_transpose(g, s, back) : s;
}

/* ---- argmax ------------------------------------------------------------------------------------------------------ */

LT_INFER(argmax) {
  lt_argmax_attrs *a = attrs;
  const lt_op op = LT_OP_argmax;
  a->axis = lt_need_axis(g, op, in[0], a->axis);
  *out_type = *lt_type_of(g, in[0]);
  if (out_type->dtype == LT_BOOL) lt_node_fail(g, op, "x %s must be of a number type", lt_text_of(g, in[0]));
  if (out_type->dim[a->axis] > INT32_MAX)
    lt_node_fail(g, op, "axis %lld of x %s is longer than 2147483647", (long long)a->axis, lt_text_of(g, in[0]));
  out_type->dtype = LT_I32;
  out_type->dim[a->axis] = 1;
}
/* Rows along one axis: `outer` × `inner` of them, each `len` elements `inner` apart. */
typedef struct axis_rows {
  int64_t outer, len, inner;
} axis_rows;
static axis_rows rows_of(const lt_type *t, int64_t axis) {
  axis_rows r = {1, t->dim[axis], 1};
  for (int64_t i = 0; i < t->rank; i++) {
    if (i < axis) r.outer *= t->dim[i];
    if (i > axis) r.inner *= t->dim[i];
  }
  return r;
}
LT_AXES(argmax) { return (lt_reduced){{1, {((const lt_argmax_attrs *)n->attrs)->axis}}, true}; }
LT_EVAL(argmax) {
  const lt_tensor *x = in[0];
  axis_rows r = rows_of(&x->type, ((const lt_argmax_attrs *)n->attrs)->axis);
  for (int64_t o = 0; o < r.outer; o++)
    for (int64_t i = 0; i < r.inner; i++) {
      int64_t first = o * r.len * r.inner + i, best = 0;
      for (int64_t k = 1; k < r.len; k++) {
        int64_t at = first + k * r.inner, top = first + best * r.inner;
        bool wins = lt_is_float(x->type.dtype) ? x->f[at] > x->f[top] || (isnan(x->f[at]) && !isnan(x->f[top]))
                                               : x->i[at] > x->i[top];
        if (wins) best = k;
      }
      out[0]->i[o * r.inner + i] = best;
    }
}

/* ---- softmax, log_softmax ---------------------------------------------------------------------------------------- */

static void infer_softmax(lt_graph *g, lt_op op, lt_value x, int64_t *axis, lt_type *out) {
  lt_need_float(g, op, "x", x);
  *axis = lt_need_axis(g, op, x, *axis);
  *out = *lt_type_of(g, x);
}

static void eval_softmax(const lt_tensor *x, int64_t axis, bool logs, lt_tensor *y) {
  axis_rows r = rows_of(&x->type, axis);
  for (int64_t o = 0; o < r.outer; o++)
    for (int64_t i = 0; i < r.inner; i++) {
      const double *a = x->f + o * r.len * r.inner + i;
      double *b = y->f + o * r.len * r.inner + i, top = a[0], sum = 0;
      for (int64_t k = 1; k < r.len; k++) top = lt_map_eval(LT_OP_max, NULL, top, a[k * r.inner], 0);
      for (int64_t k = 0; k < r.len; k++) sum += exp(a[k * r.inner] - top);
      for (int64_t k = 0; k < r.len; k++) {
        double d = a[k * r.inner] - top;
        b[k * r.inner] = logs ? d - log(sum) : exp(d) / sum;
      }
    }
}

LT_INFER(softmax) { infer_softmax(g, LT_OP_softmax, in[0], &((lt_softmax_attrs *)attrs)->axis, out_type); }
LT_EVAL(softmax) { eval_softmax(in[0], ((const lt_softmax_attrs *)n->attrs)->axis, false, out[0]); }
LT_EXPAND(softmax) {
  int64_t axis = ((const lt_softmax_attrs *)n->attrs)->axis;
  lt_value top = lt_emit_axis_reduce(g, LT_OP_reduce_max, in[0], axis);
  lt_value e = lt_unary(g, LT_OP_exp, lt_binary(g, LT_OP_sub, in[0], top));
  out[0] = lt_binary(g, LT_OP_div, e, lt_emit_axis_reduce(g, LT_OP_sum, e, axis));
}
LT_VJP(softmax) { /* y·(g - Σ g·y) */
  lt_graph *g = v->g;
  int64_t axis = ((const lt_softmax_attrs *)n->attrs)->axis;
  lt_value dot = lt_emit_axis_reduce(g, LT_OP_sum, lt_binary(g, LT_OP_mul, gout[0], out[0]), axis);
  gin[0] = lt_binary(g, LT_OP_mul, out[0], lt_binary(g, LT_OP_sub, gout[0], dot));
}

LT_INFER(log_softmax) { infer_softmax(g, LT_OP_log_softmax, in[0], &((lt_log_softmax_attrs *)attrs)->axis, out_type); }
LT_EVAL(log_softmax) { eval_softmax(in[0], ((const lt_log_softmax_attrs *)n->attrs)->axis, true, out[0]); }

static lt_value emit_log_softmax(lt_graph *g, lt_value x, int64_t axis) {
  lt_value d = lt_binary(g, LT_OP_sub, x, lt_emit_axis_reduce(g, LT_OP_reduce_max, x, axis));
  lt_value sum = lt_emit_axis_reduce(g, LT_OP_sum, lt_unary(g, LT_OP_exp, d), axis);
  return lt_binary(g, LT_OP_sub, d, lt_unary(g, LT_OP_log, sum));
}
/* g - exp(y)·Σ g */
static lt_value log_softmax_grad(lt_graph *g, lt_value y, lt_value gy, int64_t axis) {
  lt_value total = lt_emit_axis_reduce(g, LT_OP_sum, gy, axis);
  return lt_binary(g, LT_OP_sub, gy, lt_binary(g, LT_OP_mul, lt_unary(g, LT_OP_exp, y), total));
}
LT_EXPAND(log_softmax) { out[0] = emit_log_softmax(g, in[0], ((const lt_log_softmax_attrs *)n->attrs)->axis); }
LT_VJP(log_softmax) {
  gin[0] = log_softmax_grad(v->g, out[0], gout[0], ((const lt_log_softmax_attrs *)n->attrs)->axis);
}

/* ---- cross_entropy: the mean over rows that count of -log_softmax(logits)[label] --------------------------------- */

LT_INFER(cross_entropy) {
  const lt_op op = LT_OP_cross_entropy;
  lt_need_rank(g, op, "logits", in[0], 2, "[N, C]");
  lt_need_float(g, op, "logits", in[0]);
  const lt_type x = *lt_type_of(g, in[0]), t = *lt_type_of(g, in[1]);
  if ((t.dtype != LT_I32 && t.dtype != LT_I64) || t.rank != 1 || t.dim[0] != x.dim[0])
    lt_node_fail(g, op, "labels %s must be i32[%lld] or i64[%lld], one for each row of logits %s", lt_text_of(g, in[1]),
                 (long long)x.dim[0], (long long)x.dim[0], lt_text_of(g, in[0]));
  *out_type = lt_scalar(x.dtype);
}
LT_EVAL(cross_entropy) {
  int64_t rows = in[0]->type.dim[0], classes = in[0]->type.dim[1], counted = 0;
  lt_tensor *logs = lt_tensor_new(e->arena, &in[0]->type);
  double sum = 0;
  eval_softmax(in[0], 1, true, logs);
  for (int64_t i = 0; i < rows; i++) {
    int64_t label = in[1]->i[i];
    if (label < 0) continue;
    counted++;
    sum += label < classes ? logs->f[i * classes + label] : NAN;
  }
  out[0]->f[0] = counted ? -sum / (double)counted : 0.0;
}

/* How many rows count, at least 1, and the labels as an index into [N, C]. */
static lt_value counted_rows(lt_graph *g, lt_value logits, lt_value labels, lt_value *index) {
  lt_dtype t = lt_type_of(g, logits)->dtype;
  lt_value counts = lt_binary(g, LT_OP_less_equal, lt_number(g, labels, 0), labels);
  lt_value n = lt_reduce(g, LT_OP_sum, lt_cast(g, counts, t), &(lt_ints){0, {0}}, false);
  *index = lt_reshape(g, labels, 2, (int64_t[]){lt_type_of(g, labels)->dim[0], 1});
  return lt_binary(g, LT_OP_max, n, lt_number(g, n, 1));
}
LT_EXPAND(cross_entropy) {
  lt_value index, n_rows = counted_rows(g, in[0], in[1], &index), logs = emit_log_softmax(g, in[0], 1);
  lt_gather_attrs ga = {.axis = 1};
  lt_value picked = lt_emit(g, LT_OP_gather, &ga, (lt_value[]){logs, index}, 2);
  lt_value sum = lt_reduce(g, LT_OP_sum, picked, &(lt_ints){0, {0}}, false);
  out[0] = lt_binary(g, LT_OP_div, lt_binary(g, LT_OP_sub, lt_number(g, sum, 0), sum), n_rows);
}
/* (softmax - onehot) / n on rows that count: g of the picked logarithms scattered into rows, through log_softmax. */
LT_VJP(cross_entropy) {
  lt_graph *g = v->g;
  lt_value index, n_rows = counted_rows(g, in[0], in[1], &index), logs = emit_log_softmax(g, in[0], 1);
  const lt_type column = lt_make_type(lt_type_of(g, in[0])->dtype, 2, lt_type_of(g, index)->dim);
  lt_value each = lt_unary(g, LT_OP_neg, lt_binary(g, LT_OP_div, gout[0], n_rows));
  lt_scatter_add_attrs sa = {.axis = 1, .size = lt_type_of(g, in[0])->dim[1]};
  lt_value rows = lt_broadcast_to(g, each, &column);
  lt_value glogs = lt_emit(g, LT_OP_scatter_add, &sa, (lt_value[]){rows, index}, 2);
  gin[0] = log_softmax_grad(g, logs, glogs, 1);
}

/* ---- mse --------------------------------------------------------------------------------------------------------- */

LT_INFER(mse) {
  lt_need_float(g, LT_OP_mse, "y", in[0]);
  if (!lt_type_eq(lt_type_of(g, in[0]), lt_type_of(g, in[1])))
    lt_node_fail(g, LT_OP_mse, "y %s and t %s must have the same type", lt_text_of(g, in[0]), lt_text_of(g, in[1]));
  *out_type = lt_scalar(lt_type_of(g, in[0])->dtype);
}
LT_EVAL(mse) {
  int64_t count = lt_type_count(&in[0]->type);
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += (in[0]->f[i] - in[1]->f[i]) * (in[0]->f[i] - in[1]->f[i]);
  out[0]->f[0] = sum / (double)count;
}
LT_EXPAND(mse) {
  lt_value d = lt_binary(g, LT_OP_sub, in[0], in[1]);
  lt_value sum = lt_reduce(g, LT_OP_sum, lt_binary(g, LT_OP_mul, d, d), &(lt_ints){0, {0}}, false);
  out[0] = lt_binary(g, LT_OP_div, sum, lt_number(g, sum, (double)lt_type_count(lt_type_of(g, in[0]))));
}
LT_VJP(mse) { lt_vjp_by_expansion(v, n, in, gout, gin); }
