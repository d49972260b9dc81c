/* op_pool.c: windows of one channel: maximum (with the place it stands at), mean and its adjoint; and gather /
 * scatter_add, which carry the maximum's gradient. Padding is left out of every window: it never wins a maximum and is not
 * counted in a mean unless asked for. A window that lies in the padding altogether gives -inf (index -1) and mean 0. */
#include <math.h>

#include "ir/op_util.h"

/* All pooling rows start with the same attributes; this is what they share. */
static lt_window pool_window(lt_graph *g, lt_op op, lt_pair kernel, lt_pair *stride, lt_quad pad, lt_pair dilation,
                             bool ceil) {
  lt_window w = {.ceil = ceil};
  for (int k = 0; k < 2; k++) {
    if (g && stride->v[k] < 0)
      lt_node_fail(g, op, "stride %s must be at least 1 (0 means the kernel)", lt_ints_text(&g->arena, stride->v, 2));
    if (stride->v[k] == 0) stride->v[k] = kernel.v[k];
    w.kernel[k] = kernel.v[k];
    w.stride[k] = stride->v[k];
    w.dilation[k] = dilation.v[k];
  }
  memcpy(w.pad, pad.v, sizeof w.pad);
  return w;
}
#define POOL_WINDOW(g, op, a) pool_window(g, op, (a)->kernel, &(a)->stride, (a)->pad, (a)->dilation, (a)->ceil)

static lt_type infer_pool(lt_graph *g, lt_op op, lt_value x, const lt_window *w, lt_dtype result) {
  lt_need_rank(g, op, "x", x, 4, "[N, C, H, W]");
  lt_need_float(g, op, "x", x);
  const lt_type t = *lt_type_of(g, x);
  int64_t out[2];
  lt_need_window(g, op, w, lt_arena_printf(&g->arena, "x %s", lt_text_of(g, x)), t.dim + 2, out);
  return lt_make_type(result, 4, (int64_t[]){t.dim[0], t.dim[1], out[0], out[1]});
}

/* One window of one plane: taps [lo, hi) along both axes, the first at image[h0, w0]. */
typedef struct pool_at {
  int64_t lo[2], hi[2], start[2];
} pool_at;

static pool_at window_at(const lt_window *w, const int64_t size[2], int64_t oh, int64_t ow) {
  pool_at p = {.start = {oh * w->stride[0] - w->pad[0], ow * w->stride[1] - w->pad[1]}};
  lt_window_taps(w, 0, oh, size[0], &p.lo[0], &p.hi[0]);
  lt_window_taps(w, 1, ow, size[1], &p.lo[1], &p.hi[1]);
  return p;
}

/* The first maximum (or first NaN) of a window: its index in the plane, -1 when the window is empty. */
static int64_t window_max(const lt_window *w, const double *x, const int64_t size[2], int64_t oh, int64_t ow) {
  pool_at p = window_at(w, size, oh, ow);
  int64_t best = -1;
  for (int64_t i = p.lo[0]; i < p.hi[0]; i++)
    for (int64_t j = p.lo[1]; j < p.hi[1]; j++) {
      int64_t at = (p.start[0] + i * w->dilation[0]) * size[1] + p.start[1] + j * w->dilation[1];
      if (best < 0 || x[at] > x[best] || (isnan(x[at]) && !isnan(x[best]))) best = at;
    }
  return best;
}

/* ---- max_pool, max_pool_index ------------------------------------------------------------------------------------- */

LT_INFER(max_pool) {
  lt_max_pool_attrs *a = attrs;
  lt_window w = POOL_WINDOW(g, LT_OP_max_pool, a);
  *out_type = infer_pool(g, LT_OP_max_pool, in[0], &w, lt_type_of(g, in[0])->dtype);
}

LT_EVAL(max_pool) {
  lt_max_pool_attrs a = *(const lt_max_pool_attrs *)n->attrs;
  lt_window w = POOL_WINDOW(NULL, n->op, &a);
  const int64_t *size = in[0]->type.dim + 2, *o = out[0]->type.dim;
  double *y = out[0]->f;
  for (int64_t p = 0; p < o[0] * o[1]; p++) {
    const double *x = in[0]->f + p * size[0] * size[1];
    for (int64_t i = 0; i < o[2]; i++)
      for (int64_t j = 0; j < o[3]; j++) {
        int64_t at = window_max(&w, x, size, i, j);
        *y++ = at < 0 ? -HUGE_VAL : x[at];
      }
  }
}

LT_VJP(max_pool) {
  const lt_max_pool_attrs *a = n->attrs;
  lt_graph *g = v->g;
  const lt_type x = *lt_type_of(g, in[0]), y = *lt_type_of(g, out[0]);
  lt_max_pool_index_attrs ia = {.kernel = a->kernel, .stride = a->stride, .pad = a->pad, .dilation = a->dilation,
                                .ceil = a->ceil};
  lt_scatter_add_attrs sa = {.axis = -1, .size = x.dim[2] * x.dim[3]};
  const int64_t flat[3] = {y.dim[0], y.dim[1], y.dim[2] * y.dim[3]};
  lt_value index = lt_reshape(g, lt_emit(g, LT_OP_max_pool_index, &ia, in, 1), 3, flat);
  lt_value gy = lt_reshape(g, gout[0], 3, flat);
  gin[0] = lt_reshape_like(g, lt_emit(g, LT_OP_scatter_add, &sa, (lt_value[]){gy, index}, 2), &x);
}

LT_INFER(max_pool_index) {
  lt_max_pool_index_attrs *a = attrs;
  lt_window w = POOL_WINDOW(g, LT_OP_max_pool_index, a);
  *out_type = infer_pool(g, LT_OP_max_pool_index, in[0], &w, LT_I32);
  const lt_type *x = lt_type_of(g, in[0]);
  if (x->dim[2] > INT32_MAX / x->dim[3])
    lt_node_fail(g, LT_OP_max_pool_index, "x %s has more than 2147483647 pixels", lt_text_of(g, in[0]));
}

LT_EVAL(max_pool_index) {
  lt_max_pool_index_attrs a = *(const lt_max_pool_index_attrs *)n->attrs;
  lt_window w = POOL_WINDOW(NULL, n->op, &a);
  const int64_t *size = in[0]->type.dim + 2, *o = out[0]->type.dim;
  int64_t *y = out[0]->i;
  for (int64_t p = 0; p < o[0] * o[1]; p++)
    for (int64_t i = 0; i < o[2]; i++)
      for (int64_t j = 0; j < o[3]; j++) *y++ = window_max(&w, in[0]->f + p * size[0] * size[1], size, i, j);
}

/* ---- avg_pool and its adjoint ------------------------------------------------------------------------------------- */

/* What a window's sum is divided by. With include_pad the border counts, but not what ceil adds beyond it. */
static double window_count(const lt_window *w, const int64_t size[2], int64_t oh, int64_t ow, bool include_pad) {
  int64_t lo[2], hi[2];
  lt_window wide = *w;
  if (include_pad) memset(wide.pad, 0, sizeof wide.pad);
  for (unsigned k = 0; k < 2; k++)
    lt_window_taps(&wide, k, k ? ow : oh, size[k] + (include_pad ? w->pad[k] + w->pad[k + 2] : 0), &lo[k], &hi[k]);
  int64_t count = LT_MAX(hi[0] - lo[0], 0) * LT_MAX(hi[1] - lo[1], 0);
  return (double)LT_MAX(count, 1);
}

/* Between an image of planes and its means: y from x, or with `back` x += y / count. */
static void avg_walk(const lt_window *w, bool include_pad, const lt_type *image, const lt_type *means, double *x,
                     double *y, bool back) {
  const int64_t *size = image->dim + 2, *o = means->dim;
  for (int64_t p = 0; p < o[0] * o[1]; p++, x += size[0] * size[1])
    for (int64_t i = 0; i < o[2]; i++)
      for (int64_t j = 0; j < o[3]; j++, y++) {
        pool_at q = window_at(w, size, i, j);
        double count = window_count(w, size, i, j, include_pad), sum = 0;
        for (int64_t r = q.lo[0]; r < q.hi[0]; r++)
          for (int64_t c = q.lo[1]; c < q.hi[1]; c++) {
            double *at = x + (q.start[0] + r * w->dilation[0]) * size[1] + q.start[1] + c * w->dilation[1];
            if (back) *at += *y / count;
            else sum += *at;
          }
        if (!back) *y = sum / count;
      }
}

LT_INFER(avg_pool) {
  lt_avg_pool_attrs *a = attrs;
  lt_window w = POOL_WINDOW(g, LT_OP_avg_pool, a);
  *out_type = infer_pool(g, LT_OP_avg_pool, in[0], &w, lt_type_of(g, in[0])->dtype);
}

LT_EVAL(avg_pool) {
  lt_avg_pool_attrs a = *(const lt_avg_pool_attrs *)n->attrs;
  lt_window w = POOL_WINDOW(NULL, n->op, &a);
  avg_walk(&w, a.count_include_pad, &in[0]->type, &out[0]->type, in[0]->f, out[0]->f, false);
}

LT_VJP(avg_pool) {
  const lt_avg_pool_attrs *a = n->attrs;
  const lt_type *x = lt_type_of(v->g, in[0]);
  lt_avg_pool_grad_attrs b = {.size = {{x->dim[2], x->dim[3]}}, .kernel = a->kernel, .stride = a->stride, .pad = a->pad,
                              .dilation = a->dilation, .ceil = a->ceil, .count_include_pad = a->count_include_pad};
  v->g->origin = NULL;
  gin[0] = lt_emit(v->g, LT_OP_avg_pool_grad, &b, gout, 1);
}

LT_INFER(avg_pool_grad) {
  lt_avg_pool_grad_attrs *a = attrs;
  const lt_op op = LT_OP_avg_pool_grad;
  lt_window w = POOL_WINDOW(g, op, a);
  lt_need_rank(g, op, "gy", in[0], 4, "[N, C, OH, OW]");
  lt_need_float(g, op, "gy", in[0]);
  const char *size = lt_ints_text(&g->arena, a->size.v, 2);
  if (a->size.v[0] < 1 || a->size.v[1] < 1) lt_node_fail(g, op, "size %s must be at least 1", size);
  const lt_type y = *lt_type_of(g, in[0]);
  int64_t out[2];
  lt_need_window(g, op, &w, lt_arena_printf(&g->arena, "size %s", size), a->size.v, out);
  if (out[0] != y.dim[2] || out[1] != y.dim[3])
    lt_node_fail(g, op, "gy %s does not fit: an image of size %s gives %s", lt_text_of(g, in[0]), size,
                 lt_ints_text(&g->arena, out, 2));
  *out_type = lt_make_type(y.dtype, 4, (int64_t[]){y.dim[0], y.dim[1], a->size.v[0], a->size.v[1]});
}

LT_EVAL(avg_pool_grad) {
  lt_avg_pool_grad_attrs a = *(const lt_avg_pool_grad_attrs *)n->attrs;
  lt_window w = POOL_WINDOW(NULL, n->op, &a);
  memset(out[0]->f, 0, (size_t)lt_type_count(&out[0]->type) * sizeof(double));
  avg_walk(&w, a.count_include_pad, &out[0]->type, &in[0]->type, out[0]->f, in[0]->f, true);
}

LT_VJP(avg_pool_grad) {
  const lt_avg_pool_grad_attrs *a = n->attrs;
  lt_avg_pool_attrs b = {.kernel = a->kernel, .stride = a->stride, .pad = a->pad, .dilation = a->dilation,
                         .ceil = a->ceil, .count_include_pad = a->count_include_pad};
  v->g->origin = NULL;
  gin[0] = lt_emit(v->g, LT_OP_avg_pool, &b, gout, 1);
}

/* ---- global_avg_pool: [N, C, H, W] → [N, C, 1, 1] ------------------------------------------------------------------ */

LT_INFER(global_avg_pool) {
  lt_need_rank(g, LT_OP_global_avg_pool, "x", in[0], 4, "[N, C, H, W]");
  lt_need_float(g, LT_OP_global_avg_pool, "x", in[0]);
  const lt_type *x = lt_type_of(g, in[0]);
  *out_type = lt_make_type(x->dtype, 4, (int64_t[]){x->dim[0], x->dim[1], 1, 1});
}

LT_EVAL(global_avg_pool) {
  const lt_type *x = &in[0]->type;
  int64_t plane = x->dim[2] * x->dim[3];
  for (int64_t p = 0; p < x->dim[0] * x->dim[1]; p++) {
    double sum = 0;
    for (int64_t i = 0; i < plane; i++) sum += in[0]->f[p * plane + i];
    out[0]->f[p] = sum / (double)plane;
  }
}

LT_EXPAND(global_avg_pool) {
  const lt_type x = *lt_type_of(g, in[0]);
  lt_value sum = lt_reduce(g, LT_OP_sum, in[0], &(lt_ints){2, {2, 3}}, true);
  out[0] = lt_binary(g, LT_OP_div, sum, lt_number(g, in[0], (double)(x.dim[2] * x.dim[3])));
}

LT_VJP(global_avg_pool) { lt_vjp_by_expansion(v, n, in, gout, gin); }

/* ---- gather and scatter_add --------------------------------------------------------------------------------------- */

static int64_t infer_index(lt_graph *g, lt_op op, const char *what, const lt_value *in, int64_t axis, bool same_extent) {
  lt_dtype t = lt_type_of(g, in[1])->dtype;
  lt_need_float(g, op, what, in[0]);
  axis = lt_need_axis(g, op, in[0], axis);
  const lt_type x = *lt_type_of(g, in[0]), index = *lt_type_of(g, in[1]);
  bool equal = x.rank == index.rank;
  for (unsigned i = 0; equal && i < x.rank; i++)
    equal = x.dim[i] == index.dim[i] || ((int64_t)i == axis && !same_extent);
  if (t != LT_I32 && t != LT_I64) lt_node_fail(g, op, "index %s must be i32 or i64", lt_text_of(g, in[1]));
  if (!equal)
    lt_node_fail(g, op, "%s %s and index %s must have the same shape%s", what, lt_text_of(g, in[0]), lt_text_of(g, in[1]),
                 same_extent ? "" : lt_arena_printf(&g->arena, " but for axis %lld", (long long)axis));
  return axis;
}

/* Walks over index; array 0 is x (or the scattered result) without the axis, array 1 index. */
static lt_walk index_walk(const lt_type *index, const lt_type *x, int64_t axis, int64_t *step) {
  int64_t stride[LT_MAX_RANK];
  lt_walk w;
  lt_walk_init(&w, index);
  lt_type_strides(x, stride);
  *step = stride[axis];
  stride[axis] = 0;
  lt_walk_add_strides(&w, stride);
  return w;
}

LT_INFER(gather) {
  lt_gather_attrs *a = attrs;
  a->axis = infer_index(g, LT_OP_gather, "x", in, a->axis, false);
  *out_type = *lt_type_of(g, in[1]);
  out_type->dtype = lt_type_of(g, in[0])->dtype;
}

LT_EVAL(gather) {
  const lt_gather_attrs *a = n->attrs;
  int64_t step, size = in[0]->type.dim[a->axis], count = lt_type_count(&out[0]->type);
  lt_walk w = index_walk(&in[1]->type, &in[0]->type, a->axis, &step);
  for (int64_t i = 0; i < count; i++, lt_walk_next(&w)) {
    int64_t k = in[1]->i[i];
    out[0]->f[i] = k < 0 ? 0.0 : k >= size ? NAN : in[0]->f[w.off[0] + k * step];
  }
}

LT_VJP(gather) {
  const lt_gather_attrs *a = n->attrs;
  lt_scatter_add_attrs s = {.axis = a->axis, .size = lt_type_of(v->g, in[0])->dim[a->axis]};
  gin[0] = lt_emit(v->g, LT_OP_scatter_add, &s, (lt_value[]){gout[0], in[1]}, 2);
}

LT_INFER(scatter_add) {
  lt_scatter_add_attrs *a = attrs;
  a->axis = infer_index(g, LT_OP_scatter_add, "g", in, a->axis, true);
  if (a->size < 1) lt_node_fail(g, LT_OP_scatter_add, "size is %lld, it must be at least 1", (long long)a->size);
  *out_type = *lt_type_of(g, in[0]);
  out_type->dim[a->axis] = a->size;
}

LT_EVAL(scatter_add) {
  const lt_scatter_add_attrs *a = n->attrs;
  int64_t step, count = lt_type_count(&in[0]->type);
  lt_walk w = index_walk(&in[1]->type, &out[0]->type, a->axis, &step);
  memset(out[0]->f, 0, (size_t)lt_type_count(&out[0]->type) * sizeof(double));
  for (int64_t i = 0; i < count; i++, lt_walk_next(&w)) {
    int64_t k = in[1]->i[i];
    if (k >= 0 && k < a->size) out[0]->f[w.off[0] + k * step] += in[0]->f[i];
  }
}

LT_VJP(scatter_add) {
  const lt_scatter_add_attrs *a = n->attrs;
  lt_gather_attrs b = {.axis = a->axis};
  gin[0] = lt_emit(v->g, LT_OP_gather, &b, (lt_value[]){gout[0], in[1]}, 2);
}
