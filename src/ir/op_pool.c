/* op_pool.c: windows of one channel: maximum (with the place it stands at), mean and its adjoint; and gather /
 * scatter_add, which carry the maximum's gradient. Padding is left out of every window: it never wins a maximum and is not
 * counted in a mean unless asked for. A window that lies in the padding altogether gives -inf (index -1) and mean 0.
 *
 * max_pool with a pad_value is the maximum over the image with that border around it. Its value is computed as
 * max(max_pool(x), border), border being pad_value where a window touches the padding and -inf elsewhere, so that it costs
 * nothing; only its gradient walks the wider image, where a border element may be the first maximum and keep the gradient. */
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
  if (isnan(a->pad_value)) lt_node_fail(g, LT_OP_max_pool, "pad_value must be a number");
  if (!(a->pad.v[0] | a->pad.v[1] | a->pad.v[2] | a->pad.v[3])) a->pad_value = -HUGE_VAL; /* there is no border */
}

/* Does the window touch the border (not what ceil adds beyond it)? */
static bool touches_border(const lt_window *w, const int64_t size[2], int64_t oh, int64_t ow) {
  pool_at p = window_at(w, size, oh, ow);
  for (unsigned k = 0; k < 2; k++) {
    int64_t end = size[k] + w->pad[k + 2], taps = w->kernel[k];
    while (taps > 0 && p.start[k] + (taps - 1) * w->dilation[k] >= end) taps--;
    if (p.lo[k] > 0 || p.hi[k] < taps) return true;
  }
  return false;
}

LT_EVAL(max_pool) {
  lt_max_pool_attrs a = *(const lt_max_pool_attrs *)n->attrs;
  lt_window w = POOL_WINDOW(NULL, n->op, &a);
  const int64_t *size = in[0]->type.dim + 2, *o = out[0]->type.dim;
  double *y = out[0]->f;
  for (int64_t p = 0; p < o[0] * o[1]; p++) {
    const double *x = in[0]->f + p * size[0] * size[1];
    for (int64_t i = 0; i < o[2]; i++)
      for (int64_t j = 0; j < o[3]; j++, y++) {
        int64_t at = window_max(&w, x, size, i, j);
        *y = at < 0 ? -HUGE_VAL : x[at];
        if (touches_border(&w, size, i, j)) *y = lt_map_eval(LT_OP_max, NULL, *y, a.pad_value, 0);
      }
  }
}

/* The value without its border, and the border's part as a constant [OH, OW]. */
lt_value lt_emit_bordered_pool(lt_graph *g, const lt_node *n, lt_value x) {
  lt_max_pool_attrs a = *(const lt_max_pool_attrs *)n->attrs;
  const lt_type image = *lt_type_of(g, x);
  lt_window w = POOL_WINDOW(NULL, n->op, &a);
  double value = a.pad_value;
  a.pad_value = -HUGE_VAL;
  lt_value y = lt_emit(g, LT_OP_max_pool, &a, &x, 1);
  const lt_type pooled = *lt_type_of(g, y), plane = lt_make_type(pooled.dtype, 2, pooled.dim + 2);
  lt_tensor *border = lt_tensor_new(&g->arena, &plane);
  for (int64_t i = 0; i < plane.dim[0]; i++)
    for (int64_t j = 0; j < plane.dim[1]; j++)
      border->f[i * plane.dim[1] + j] = touches_border(&w, image.dim + 2, i, j) ? value : -HUGE_VAL;
  return lt_binary(g, LT_OP_max, y, lt_const_tensor(g, border));
}

/* x with its border, and the pooling that is left to do on it. x itself where the border never wins. */
static lt_value with_border(lt_graph *g, lt_value x, const lt_type *y, lt_max_pool_attrs *a) {
  if (a->pad_value == -HUGE_VAL && !a->all_ties) return x;
  const int64_t *p = a->pad.v, h = lt_type_of(g, x)->dim[2] + p[0] + p[2], w = lt_type_of(g, x)->dim[3] + p[1] + p[3];
  const int64_t size[2] = {h, w};
  lt_pad_attrs pad = {.pads = {8, {0, 0, p[0], p[1], 0, 0, p[2], p[3]}}, .value = a->pad_value};
  bool exceeds = false; /* windows that start inside but end outside the border stay only with ceil */
  for (int k = 0; k < 2; k++) exceeds |= (y->dim[2 + k] - 1) * a->stride.v[k] + (a->kernel.v[k] - 1) * a->dilation.v[k] >= size[k];
  a->ceil = a->ceil && exceeds;
  a->pad = (lt_quad){{0}};
  return lt_emit(g, LT_OP_pad, &pad, &x, 1);
}

static lt_value without_border(lt_graph *g, lt_value gx, const lt_type *x, const lt_quad *pad) {
  const int64_t *p = pad->v;
  if (lt_type_eq(lt_type_of(g, gx), x)) return gx;
  lt_slice_attrs s = {.axes = {2, {2, 3}}, .starts = {2, {p[0], p[1]}}, .ends = {2, {p[0] + x->dim[2], p[1] + x->dim[3]}}};
  return lt_emit(g, LT_OP_slice, &s, &gx, 1);
}

/* gy scattered to where the first maximum of each window of x stands. */
static lt_value first_maximum(lt_graph *g, lt_value x, lt_value gy, const lt_max_pool_attrs *a) {
  const lt_type t = *lt_type_of(g, x), y = *lt_type_of(g, gy);
  lt_max_pool_index_attrs ia = {.kernel = a->kernel, .stride = a->stride, .pad = a->pad, .dilation = a->dilation,
                                .ceil = a->ceil};
  lt_scatter_add_attrs sa = {.axis = -1, .size = t.dim[2] * t.dim[3]};
  const int64_t flat[3] = {y.dim[0], y.dim[1], y.dim[2] * y.dim[3]};
  lt_value index = lt_reshape(g, lt_emit(g, LT_OP_max_pool_index, &ia, &x, 1), 3, flat);
  lt_value rows = lt_reshape(g, gy, 3, flat);
  return lt_reshape_like(g, lt_emit(g, LT_OP_scatter_add, &sa, (lt_value[]){rows, index}, 2), &t);
}

/* gy added to every element of a window that equals its maximum y. Windows that ceil lets stand out end at the right and at
 * the bottom: the image is widened for them. */
static lt_value all_maxima(lt_graph *g, lt_value x, lt_value y, lt_value gy, const lt_max_pool_attrs *a) {
  const lt_type image = *lt_type_of(g, x), out = *lt_type_of(g, y);
  lt_quad more = {{0}};
  for (int k = 0; k < 2; k++) {
    int64_t end = (out.dim[2 + k] - 1) * a->stride.v[k] + (a->kernel.v[k] - 1) * a->dilation.v[k] + 1;
    more.v[2 + k] = LT_MAX(end - image.dim[2 + k], 0);
  }
  lt_pad_attrs pad = {.pads = {8, {0, 0, 0, 0, 0, 0, more.v[2], more.v[3]}}, .value = -HUGE_VAL};
  lt_value wide = lt_emit(g, LT_OP_pad, &pad, &x, 1);
  const lt_type t = *lt_type_of(g, wide);
  lt_im2col_attrs ca = {.kernel = a->kernel, .stride = a->stride, .dilation = a->dilation, .to_matrix = false};
  lt_value col = lt_emit(g, LT_OP_im2col, &ca, &wide, 1);
  /* the windows of the widened image may be more along an axis that ceil has not rounded up */
  const lt_type all = *lt_type_of(g, col);
  const int64_t one[6] = {out.dim[0], out.dim[1], 1, 1, out.dim[2], out.dim[3]};
  lt_slice_attrs cut = {.axes = {2, {4, 5}}, .starts = {2, {0, 0}}, .ends = {2, {out.dim[2], out.dim[3]}}};
  col = lt_emit(g, LT_OP_slice, &cut, &col, 1);
  lt_value is_top = lt_binary(g, LT_OP_equal, col, lt_reshape(g, y, 6, one));
  lt_value rows = lt_reshape(g, gy, 6, one);
  lt_value share = lt_emit(g, LT_OP_select, NULL, (lt_value[]){is_top, rows, lt_number(g, gy, 0)}, 3);
  lt_pad_attrs fill = {.pads = {12, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, all.dim[4] - out.dim[2], all.dim[5] - out.dim[3]}}};
  share = lt_emit(g, LT_OP_pad, &fill, &share, 1);
  lt_col2im_attrs ba = {.input_shape = {4, {t.dim[0], t.dim[1], t.dim[2], t.dim[3]}}, .kernel = a->kernel, .stride = a->stride,
                        .dilation = a->dilation, .to_matrix = false};
  return without_border(g, lt_emit(g, LT_OP_col2im, &ba, &share, 1), &image, &(lt_quad){{0}});
}

LT_VJP(max_pool) {
  lt_graph *g = v->g;
  lt_max_pool_attrs a = *(const lt_max_pool_attrs *)n->attrs;
  const lt_quad pad = a.pad;
  const lt_type x = *lt_type_of(g, in[0]), y = *lt_type_of(g, out[0]);
  lt_value wide = with_border(g, in[0], &y, &a);
  lt_value gx = a.all_ties ? all_maxima(g, wide, out[0], gout[0], &a) : first_maximum(g, wide, gout[0], &a);
  gin[0] = without_border(g, gx, &x, &pad);
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

/* All of index is below this, as far as its op tells. */
static int64_t index_bound(const lt_graph *g, lt_value index) {
  const lt_node *n = lt_node_of(g, index);
  while (n->op == LT_OP_reshape) n = lt_node_of(g, n->in[0]);
  const lt_type *x = n->n_in ? lt_type_of(g, n->in[0]) : NULL;
  if (n->op == LT_OP_max_pool_index) return x->dim[2] * x->dim[3];
  if (n->op == LT_OP_argmax) return x->dim[((const lt_argmax_attrs *)n->attrs)->axis];
  return lt_type_of(g, index)->dtype == LT_I32 ? (int64_t)INT32_MAX + 1 : INT64_MAX;
}

/* What is dropped has no gradient, but gather makes NaN of an index past the end: there it gets -1. */
LT_VJP(scatter_add) {
  const lt_scatter_add_attrs *a = n->attrs;
  lt_gather_attrs b = {.axis = a->axis};
  lt_value index = in[1];
  if (index_bound(v->g, index) > a->size) {
    lt_value none = lt_number(v->g, index, -1), size = lt_number(v->g, index, (double)a->size);
    lt_value inside = lt_binary(v->g, LT_OP_less, index, size);
    index = lt_emit(v->g, LT_OP_select, NULL, (lt_value[]){inside, index, none}, 3);
  }
  gin[0] = lt_emit(v->g, LT_OP_gather, &b, (lt_value[]){gout[0], index}, 2);
}
