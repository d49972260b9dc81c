/* op_pool.c: windows of one channel: maximum (with the place it stands at), mean and its adjoint; and gather /
 * scatter_add, which carry the maximum's gradient. Padding is left out of every window: it never wins a maximum and is
 * not counted in a mean unless asked for. A window that lies in the padding altogether gives -inf (index -1) and mean
 * 0.
 *
 * max_pool with a pad_value is the maximum over the image with that border around it. Its value is computed as
 * max(max_pool(x), border), border being pad_value where a window touches the padding and -inf elsewhere, so that it
 * costs nothing; only its gradient walks the wider image, where a border element may be the first maximum and keep the
 * gradient. */
#include <math.h>

#include "ir/op_util.h"

/* stride 0 means the kernel. */
static void resolve_stride(lt_graph *g, lt_op op, const lt_pair *kernel, lt_pair *stride) {
  for (int k = 0; k < 2; k++) {
    if (stride->v[k] < 0)
      lt_node_fail(g, op, "stride %s must be at least 1 (0 means the kernel)", lt_ints_text(&g->arena, stride->v, 2));
    if (stride->v[k] == 0) stride->v[k] = kernel->v[k];
  }
}

static lt_type infer_pool(lt_graph *g, lt_op op, lt_value x, const void *attrs, lt_dtype result) {
  lt_need_rank(g, op, "x", x, 4, "[N, C, H, W]");
  lt_need_float(g, op, "x", x);
  const lt_type t = *lt_type_of(g, x);
  lt_window w = lt_window_read(op, attrs, &t, NULL);
  lt_need_window(g, op, &w, lt_arena_printf(&g->arena, "x %s", lt_text_of(g, x)));
  return lt_make_type(result, 4, (int64_t[]){t.dim[0], t.dim[1], w.axis[0].windows, w.axis[1].windows});
}

/* The image whose windows have the gradient gy. */
static lt_type infer_image(lt_graph *g, lt_op op, lt_value gy, const void *attrs, const lt_pair *of) {
  lt_need_rank(g, op, "gy", gy, 4, "[N, C, OH, OW]");
  lt_need_float(g, op, "gy", gy);
  const char *size = lt_ints_text(&g->arena, of->v, 2);
  if (of->v[0] < 1 || of->v[1] < 1) lt_node_fail(g, op, "size %s must be at least 1", size);
  const lt_type y = *lt_type_of(g, gy);
  const lt_type x = lt_make_type(y.dtype, 4, (int64_t[]){y.dim[0], y.dim[1], of->v[0], of->v[1]});
  lt_window w = lt_window_read(op, attrs, &x, NULL);
  lt_need_window(g, op, &w, lt_arena_printf(&g->arena, "size %s", size));
  const int64_t windows[2] = {w.axis[0].windows, w.axis[1].windows};
  if (windows[0] != y.dim[2] || windows[1] != y.dim[3])
    lt_node_fail(g, op, "gy %s does not fit: an image of size %s gives %s", lt_text_of(g, gy), size,
                 lt_ints_text(&g->arena, windows, 2));
  return x;
}

/* One window of one plane: the taps inside the image along both axes, and where the first tap of all looks. */
typedef struct pool_at { lt_span row, col; int64_t start[2]; } pool_at;

static pool_at window_at(const lt_window *w, int64_t oh, int64_t ow) {
  return (pool_at){lt_window_taps(&w->axis[0], oh),
                   lt_window_taps(&w->axis[1], ow),
                   {lt_window_start(&w->axis[0], oh), lt_window_start(&w->axis[1], ow)}};
}

/* The index in the plane that tap (r, c) of the window looks at. */
static int64_t pixel_at(const lt_window *w, const pool_at *p, int64_t r, int64_t c) {
  return (p->start[0] + r * w->axis[0].dilation) * w->axis[1].size + p->start[1] + c * w->axis[1].dilation;
}

/* The first maximum (or first NaN) of a window: its index in the plane, -1 when the window is empty. */
static int64_t window_max(const lt_window *w, const double *x, int64_t oh, int64_t ow) {
  pool_at p = window_at(w, oh, ow);
  int64_t best = -1;
  for (int64_t r = p.row.lo; r < p.row.hi; r++)
    for (int64_t c = p.col.lo; c < p.col.hi; c++) {
      int64_t at = pixel_at(w, &p, r, c);
      if (best < 0 || x[at] > x[best] || (isnan(x[at]) && !isnan(x[best]))) best = at;
    }
  return best;
}

/* ---- max_pool, max_pool_index ------------------------------------------------------------------------------------ */

LT_INFER(max_pool) {
  lt_max_pool_attrs *a = attrs;
  resolve_stride(g, LT_OP_max_pool, &a->kernel, &a->stride);
  *out_type = infer_pool(g, LT_OP_max_pool, in[0], a, lt_type_of(g, in[0])->dtype);
  if (isnan(a->pad_value)) lt_node_fail(g, LT_OP_max_pool, "pad_value must be a number");
  if (!(a->pad.v[0] | a->pad.v[1] | a->pad.v[2] | a->pad.v[3])) a->pad_value = -HUGE_VAL; /* there is no border */
}

/* Does the window touch the border (not what ceil adds beyond it)? */
static bool touches_border(const lt_window *w, int64_t oh, int64_t ow) {
  const lt_window_axis *h = &w->axis[0], *v = &w->axis[1];
  return lt_window_elements(h, oh, true) > lt_window_elements(h, oh, false) ||
         lt_window_elements(v, ow, true) > lt_window_elements(v, ow, false);
}

LT_EVAL(max_pool) {
  const lt_max_pool_attrs *a = n->attrs;
  const lt_window w = lt_window_between(n->op, a, &in[0]->type, NULL);
  const int64_t *size = in[0]->type.dim + 2, *o = out[0]->type.dim;
  double *y = out[0]->f;
  for (int64_t p = 0; p < o[0] * o[1]; p++) {
    const double *x = in[0]->f + p * size[0] * size[1];
    for (int64_t i = 0; i < o[2]; i++)
      for (int64_t j = 0; j < o[3]; j++, y++) {
        int64_t at = window_max(&w, x, i, j);
        *y = at < 0 ? -HUGE_VAL : x[at];
        if (touches_border(&w, i, j)) *y = lt_map_eval(LT_OP_max, NULL, *y, a->pad_value, 0);
      }
  }
}

/* The value without its border, and the border's part as a constant [OH, OW]. */
lt_value lt_emit_bordered_pool(lt_graph *g, const lt_node *n, lt_value x) {
  lt_max_pool_attrs a = *(const lt_max_pool_attrs *)n->attrs;
  const lt_type image = *lt_type_of(g, x);
  const lt_window w = lt_window_between(n->op, &a, &image, NULL);
  double value = a.pad_value;
  a.pad_value = -HUGE_VAL;
  lt_value y = lt_emit(g, LT_OP_max_pool, &a, &x, 1);
  const lt_type pooled = *lt_type_of(g, y), plane = lt_make_type(pooled.dtype, 2, pooled.dim + 2);
  lt_tensor *border = lt_tensor_new(&g->arena, &plane);
  for (int64_t i = 0; i < plane.dim[0]; i++)
    for (int64_t j = 0; j < plane.dim[1]; j++)
      border->f[i * plane.dim[1] + j] = touches_border(&w, i, j) ? value : -HUGE_VAL;
  return lt_binary(g, LT_OP_max, y, lt_const_tensor(g, border));
}

/* x with its border, and the pooling that is left to do on it. x itself where the border never wins. */
static lt_value with_border(lt_graph *g, lt_value x, const lt_type *y, lt_max_pool_attrs *a) {
  if (a->pad_value == -HUGE_VAL && !a->all_ties) return x;
  const int64_t *p = a->pad.v, h = lt_type_of(g, x)->dim[2] + p[0] + p[2], w = lt_type_of(g, x)->dim[3] + p[1] + p[3];
  const int64_t size[2] = {h, w};
  lt_pad_attrs pad = {.pads = {8, {0, 0, p[0], p[1], 0, 0, p[2], p[3]}}, .value = a->pad_value};
  bool exceeds = false; /* windows that start inside but end outside the border stay only with ceil */
  for (int k = 0; k < 2; k++)
    exceeds |= (y->dim[2 + k] - 1) * a->stride.v[k] + (a->kernel.v[k] - 1) * a->dilation.v[k] >= size[k];
  a->ceil = a->ceil && exceeds;
  a->pad = (lt_quad){{0}};
  return lt_emit(g, LT_OP_pad, &pad, &x, 1);
}

static lt_value without_border(lt_graph *g, lt_value gx, const lt_type *x, const lt_quad *pad) {
  const int64_t *p = pad->v;
  if (lt_type_eq(lt_type_of(g, gx), x)) return gx;
  lt_slice_attrs s = {
    .axes = {2, {2, 3}}, .starts = {2, {p[0], p[1]}}, .ends = {2, {p[0] + x->dim[2], p[1] + x->dim[3]}}};
  return lt_emit(g, LT_OP_slice, &s, &gx, 1);
}

/* gy scattered to where the first maximum of each window of x stands. */
static lt_value first_maximum(lt_graph *g, lt_value x, lt_value gy, const lt_max_pool_attrs *a) {
  const lt_type t = *lt_type_of(g, x), y = *lt_type_of(g, gy);
  lt_max_pool_index_attrs ia = {
    .kernel = a->kernel, .stride = a->stride, .pad = a->pad, .dilation = a->dilation, .ceil = a->ceil};
  lt_scatter_add_attrs sa = {.axis = -1, .size = t.dim[2] * t.dim[3]};
  const int64_t flat[3] = {y.dim[0], y.dim[1], y.dim[2] * y.dim[3]};
  /* the windows of the image with its border may be more along an axis that ceil has not rounded up */
  lt_value all = lt_emit(g, LT_OP_max_pool_index, &ia, &x, 1);
  lt_slice_attrs cut = {.axes = {2, {2, 3}}, .starts = {2, {0, 0}}, .ends = {2, {y.dim[2], y.dim[3]}}};
  if (lt_type_of(g, all)->dim[2] != y.dim[2] || lt_type_of(g, all)->dim[3] != y.dim[3])
    all = lt_emit(g, LT_OP_slice, &cut, &all, 1);
  lt_value index = lt_reshape(g, all, 3, flat);
  lt_value rows = lt_reshape(g, gy, 3, flat);
  return lt_reshape_like(g, lt_emit(g, LT_OP_scatter_add, &sa, (lt_value[]){rows, index}, 2), &t);
}

/* gy added to every element of a window that equals its maximum y. Windows that ceil lets stand out end at the right
 * and at the bottom: the image is widened for them. */
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
  lt_value is_top = lt_is_maximum(g, col, lt_reshape(g, y, 6, one));
  lt_value rows = lt_reshape(g, gy, 6, one);
  lt_value share = lt_emit(g, LT_OP_select, NULL, (lt_value[]){is_top, rows, lt_number(g, gy, 0)}, 3);
  lt_pad_attrs fill = {.pads = {12, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, all.dim[4] - out.dim[2], all.dim[5] - out.dim[3]}}};
  share = lt_emit(g, LT_OP_pad, &fill, &share, 1);
  lt_col2im_attrs ba = {.input_shape = {4, {t.dim[0], t.dim[1], t.dim[2], t.dim[3]}},
                        .kernel = a->kernel,
                        .stride = a->stride,
                        .dilation = a->dilation,
                        .to_matrix = false};
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
  resolve_stride(g, LT_OP_max_pool_index, &a->kernel, &a->stride);
  *out_type = infer_pool(g, LT_OP_max_pool_index, in[0], a, LT_I32);
  const lt_type *x = lt_type_of(g, in[0]);
  if (x->dim[2] > INT32_MAX / x->dim[3])
    lt_node_fail(g, LT_OP_max_pool_index, "x %s has more than 2147483647 pixels", lt_text_of(g, in[0]));
}

LT_EVAL(max_pool_index) {
  const lt_window w = lt_window_between(n->op, n->attrs, &in[0]->type, NULL);
  const int64_t *size = in[0]->type.dim + 2, *o = out[0]->type.dim;
  int64_t *y = out[0]->i;
  for (int64_t p = 0; p < o[0] * o[1]; p++)
    for (int64_t i = 0; i < o[2]; i++)
      for (int64_t j = 0; j < o[3]; j++) *y++ = window_max(&w, in[0]->f + p * size[0] * size[1], i, j);
}

/* ---- max_pool_grad: what scatter_add makes of that index, pixel by pixel ------------------------------------------
 */

LT_INFER(max_pool_grad) {
  lt_max_pool_grad_attrs *a = attrs;
  const lt_op op = LT_OP_max_pool_grad;
  resolve_stride(g, op, &a->kernel, &a->stride);
  *out_type = infer_image(g, op, in[0], a, &a->size);
  lt_type index = *lt_type_of(g, in[0]);
  index.dtype = LT_I32;
  if (!lt_type_eq(&index, lt_type_of(g, in[1])))
    lt_node_fail(g, op, "index %s must be i32 of gy's shape, %s", lt_text_of(g, in[1]), lt_text_of(g, in[0]));
}

static bool looks_at(const lt_window_axis *a, int64_t window, int64_t pixel) {
  int64_t d = pixel - lt_window_start(a, window);
  return d >= 0 && d % a->dilation == 0 && d / a->dilation < a->kernel;
}

LT_EVAL(max_pool_grad) {
  const lt_window w = lt_window_between(n->op, n->attrs, &out[0]->type, NULL);
  const int64_t *size = out[0]->type.dim + 2, *o = in[0]->type.dim;
  memset(out[0]->f, 0, (size_t)lt_type_count(&out[0]->type) * sizeof(double));
  for (int64_t p = 0, i = 0; p < o[0] * o[1]; p++)
    for (int64_t oh = 0; oh < o[2]; oh++)
      for (int64_t ow = 0; ow < o[3]; ow++, i++) {
        int64_t k = in[1]->i[i];
        bool seen = k >= 0 && looks_at(&w.axis[0], oh, k / size[1]) && looks_at(&w.axis[1], ow, k % size[1]);
        if (seen && k < size[0] * size[1]) out[0]->f[p * size[0] * size[1] + k] += in[0]->f[i];
      }
}

LT_TERMS(max_pool_grad) { return lt_count_of(g, n->in[0]); }
LT_VJP(max_pool_grad) {
  const lt_type y = *lt_type_of(v->g, in[0]), x = *lt_type_of(v->g, gout[0]);
  lt_gather_attrs a = {.axis = 2};
  lt_value image = lt_reshape(v->g, gout[0], 3, (int64_t[]){x.dim[0], x.dim[1], x.dim[2] * x.dim[3]});
  lt_value index = lt_reshape(v->g, in[1], 3, (int64_t[]){y.dim[0], y.dim[1], y.dim[2] * y.dim[3]});
  gin[0] = lt_reshape_like(v->g, lt_emit(v->g, LT_OP_gather, &a, (lt_value[]){image, index}, 2), &y);
}

/* Where `in` of a scatter_add is gy and the index of few windows over each pixel: what the gradient of max_pool emits.
 * A pixel then adds in the order in which scatter_add would. 0 where it is something else. */
lt_value lt_emit_max_pool_grad(lt_graph *g, const lt_node *scatter, const lt_value *in) {
  enum { MOST = 64 };
  const lt_node *flat = lt_node_of(g, in[1]), *n = flat->op == LT_OP_reshape ? lt_node_of(g, flat->in[0]) : flat;
  if (n->op != LT_OP_max_pool_index) return 0;
  const lt_scatter_add_attrs *s = scatter->attrs;
  const lt_max_pool_index_attrs *i = n->attrs;
  const lt_type x = *lt_type_of(g, n->in[0]), y = *lt_type_of(g, n->out), rows = *lt_type_of(g, in[1]);
  const lt_window w = lt_window_of(g, n);
  int64_t over = 1;
  for (int k = 0; k < 2; k++) over *= LT_MIN(LT_MIN(w.axis[k].windows, w.axis[k].kernel), MOST + 1);
  if (rows.rank != 3 || s->axis != 2 || rows.dim[0] != y.dim[0] || rows.dim[1] != y.dim[1] || over > MOST) return 0;
  if (s->size != x.dim[2] * x.dim[3]) return 0;
  lt_max_pool_grad_attrs a = {.size = {{x.dim[2], x.dim[3]}},
                              .kernel = i->kernel,
                              .stride = i->stride,
                              .pad = i->pad,
                              .dilation = i->dilation,
                              .ceil = i->ceil};
  lt_value gy = lt_reshape(g, in[0], 4, y.dim);
  lt_value gx = lt_emit(g, LT_OP_max_pool_grad, &a, (lt_value[]){gy, n->out}, 2);
  return lt_reshape(g, gx, 3, (int64_t[]){x.dim[0], x.dim[1], s->size});
}

/* ---- avg_pool and its adjoint ------------------------------------------------------------------------------------ */

/* Between planes of an image and their means: y from x, or with `back` x += y / count. What a window's sum is divided
 * by counts the border with include_pad, but not what ceil adds beyond it. */
static void avg_walk(const lt_window *w, bool include_pad, int64_t planes, double *x, double *y, bool back) {
  const lt_window_axis *h = &w->axis[0], *v = &w->axis[1];
  for (int64_t p = 0; p < planes; p++, x += h->size * v->size)
    for (int64_t i = 0; i < h->windows; i++)
      for (int64_t j = 0; j < v->windows; j++, y++) {
        pool_at q = window_at(w, i, j);
        int64_t count = lt_window_elements(h, i, include_pad) * lt_window_elements(v, j, include_pad);
        double divisor = (double)LT_MAX(count, 1), sum = 0;
        for (int64_t r = q.row.lo; r < q.row.hi; r++)
          for (int64_t c = q.col.lo; c < q.col.hi; c++) {
            double *at = x + pixel_at(w, &q, r, c);
            if (back) *at += *y / divisor;
            else sum += *at;
          }
        if (!back) *y = sum / divisor;
      }
}

LT_INFER(avg_pool) {
  lt_avg_pool_attrs *a = attrs;
  resolve_stride(g, LT_OP_avg_pool, &a->kernel, &a->stride);
  *out_type = infer_pool(g, LT_OP_avg_pool, in[0], a, lt_type_of(g, in[0])->dtype);
}

LT_EVAL(avg_pool) {
  const lt_window w = lt_window_between(n->op, n->attrs, &in[0]->type, NULL);
  const int64_t *d = in[0]->type.dim;
  avg_walk(&w, ((const lt_avg_pool_attrs *)n->attrs)->count_include_pad, d[0] * d[1], in[0]->f, out[0]->f, false);
}

LT_TERMS(avg_pool) {
  const lt_pair k = ((const lt_avg_pool_attrs *)n->attrs)->kernel;
  (void)g;
  return (double)(k.v[0] * k.v[1]);
}
LT_VJP(avg_pool) {
  const lt_avg_pool_attrs *a = n->attrs;
  const lt_type *x = lt_type_of(v->g, in[0]);
  lt_avg_pool_grad_attrs b = {.size = {{x->dim[2], x->dim[3]}},
                              .kernel = a->kernel,
                              .stride = a->stride,
                              .pad = a->pad,
                              .dilation = a->dilation,
                              .ceil = a->ceil,
                              .count_include_pad = a->count_include_pad};
  v->g->origin = NULL;
  gin[0] = lt_emit(v->g, LT_OP_avg_pool_grad, &b, gout, 1);
}

LT_INFER(avg_pool_grad) {
  lt_avg_pool_grad_attrs *a = attrs;
  resolve_stride(g, LT_OP_avg_pool_grad, &a->kernel, &a->stride);
  *out_type = infer_image(g, LT_OP_avg_pool_grad, in[0], a, &a->size);
}

LT_EVAL(avg_pool_grad) {
  const lt_window w = lt_window_between(n->op, n->attrs, &out[0]->type, NULL);
  const int64_t *d = out[0]->type.dim;
  memset(out[0]->f, 0, (size_t)lt_type_count(&out[0]->type) * sizeof(double));
  avg_walk(&w, ((const lt_avg_pool_grad_attrs *)n->attrs)->count_include_pad, d[0] * d[1], out[0]->f, in[0]->f, true);
}

LT_TERMS(avg_pool_grad) { return lt_count_of(g, n->in[0]); }
LT_VJP(avg_pool_grad) {
  const lt_avg_pool_grad_attrs *a = n->attrs;
  lt_avg_pool_attrs b = {.kernel = a->kernel,
                         .stride = a->stride,
                         .pad = a->pad,
                         .dilation = a->dilation,
                         .ceil = a->ceil,
                         .count_include_pad = a->count_include_pad};
  v->g->origin = NULL;
  gin[0] = lt_emit(v->g, LT_OP_avg_pool, &b, gout, 1);
}

/* ---- global_avg_pool: [N, C, H, W] → [N, C, 1, 1] ---------------------------------------------------------------- */

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

/* ---- gather and scatter_add -------------------------------------------------------------------------------------- */

static int64_t infer_index(lt_graph *g, lt_op op, const char *what, const lt_value *in, int64_t axis,
                           bool same_extent) {
  lt_dtype t = lt_type_of(g, in[1])->dtype;
  lt_need_float(g, op, what, in[0]);
  axis = lt_need_axis(g, op, in[0], axis);
  const lt_type x = *lt_type_of(g, in[0]), index = *lt_type_of(g, in[1]);
  bool equal = x.rank == index.rank;
  for (unsigned i = 0; equal && i < x.rank; i++)
    equal = x.dim[i] == index.dim[i] || ((int64_t)i == axis && !same_extent);
  if (t != LT_I32 && t != LT_I64) lt_node_fail(g, op, "index %s must be i32 or i64", lt_text_of(g, in[1]));
  if (!equal)
    lt_node_fail(g, op, "%s %s and index %s must have the same shape%s", what, lt_text_of(g, in[0]),
                 lt_text_of(g, in[1]),
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
LT_TERMS(scatter_add) { return lt_count_of(g, n->in[0]); }
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
