/* spell_window.c: ops with windows in other ops of ours that ONNX has.
 *
 * A convolution's gradient in its filters is the convolution of image and gradient, images and channels exchanged,
 * stride and dilation too. im2col takes pixels by their indices. A mean's gradient is that of a convolution with ones.
 *
 * Runtimes want borders of pools narrower than the window, disagree on sizes that are rounded up, and on windows that
 * see nothing of the image. So what rounding up adds becomes border, and where a border is as wide as the window, the
 * image gets it beforehand. */
#include "export/onnx/writer.h"
#include "ir/op_util.h"

#include <math.h>

/* ---- convolution ------------------------------------------------------------------------------------------------- */

/* [N, G*C, H, W] as [C, G*N, H, W] */
static lt_value channels_first(lt_graph *g, lt_value x, int64_t groups) {
  const lt_type t = *lt_type_of(g, x);
  const int64_t c = t.dim[1] / groups;
  if (groups == 1) return lt_transpose(g, x, (int64_t[]){1, 0, 2, 3});
  lt_value y = lt_reshape(g, x, 5, (int64_t[]){t.dim[0], groups, c, t.dim[2], t.dim[3]});
  y = lt_transpose(g, y, (int64_t[]){2, 1, 0, 3, 4});
  return lt_reshape(g, y, 4, (int64_t[]){c, groups * t.dim[0], t.dim[2], t.dim[3]});
}

bool lt_spell_conv2d_grad_weight(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  const lt_conv2d_grad_weight_attrs *a = n->attrs;
  const lt_type w = *lt_type_of(r->from, n->out);
  lt_value x = channels_first(g, in[0], a->groups), gy = lt_transpose(g, in[1], (int64_t[]){1, 0, 2, 3});
  lt_conv2d_attrs c = {.stride = a->dilation, .pad = a->pad, .dilation = a->stride, .groups = a->groups};
  lt_value y = lt_emit(g, LT_OP_conv2d, &c, (lt_value[]){x, gy}, 2); /* [C, O, KH + …, KW + …] */
  lt_slice_attrs cut = {.axes = {2, {2, 3}}, .starts = {2, {0, 0}}, .ends = {2, {w.dim[2], w.dim[3]}}};
  const int64_t *d = lt_type_of(g, y)->dim;
  if (d[2] != w.dim[2] || d[3] != w.dim[3]) y = lt_emit(g, LT_OP_slice, &cut, &y, 1);
  r->map[n->out] = lt_transpose(g, y, (int64_t[]){1, 0, 2, 3});
  return true;
}

/* Where zeros have to be put behind the image, it is one after the other. */
bool lt_spell_deconv2d(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  const lt_window w = lt_window_of(r->from, n);
  const lt_type *x = lt_type_of(r->to, in[0]);
  bool fits = true;
  for (unsigned k = 0; k < 2; k++) {
    const lt_window_axis *a = &w.axis[k];
    int64_t reach = (x->dim[2 + k] - 1) * a->stride + (a->kernel - 1) * a->dilation + 1;
    fits &= a->size + a->before - reach < LT_MAX(a->stride, a->dilation);
  }
  if (fits) return false;
  lt_expand(r->to, n, in, &r->map[n->out]);
  return true;
}

/* ---- windows written out ----------------------------------------------------------------------------------------- */

static lt_value add_border(lt_graph *g, lt_value x, const lt_window *w, double value) {
  const lt_quad p = lt_window_pad(w);
  lt_pad_attrs a = {.pads = {8, {0, 0, p.v[0], p.v[1], 0, 0, p.v[2], p.v[3]}}, .value = value};
  return p.v[0] | p.v[1] | p.v[2] | p.v[3] ? lt_emit(g, LT_OP_pad, &a, &x, 1) : x;
}

/* x[…, size, …] as [before…, kernel, windows, after…]: the pixel that tap k of window o looks at */
static lt_value take_taps(lt_graph *g, lt_value x, const lt_window_axis *a, int64_t axis) {
  const lt_type t = {.dtype = LT_I64, .rank = 2, .dim = {a->kernel, a->windows}};
  lt_tensor *index = lt_tensor_new(&g->arena, &t);
  for (int64_t k = 0; k < a->kernel; k++)
    for (int64_t o = 0; o < a->windows; o++) index->i[k * a->windows + o] = o * a->stride + k * a->dilation;
  lt_take_attrs ta = {.axis = axis};
  lt_value at = lt_const_tensor(g, index);
  return lt_emit(g, LT_OP_take, &ta, (lt_value[]){x, at}, 2);
}

bool lt_spell_im2col(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  const lt_window w = lt_window_of(r->from, n);
  const lt_type *col = lt_type_of(r->from, n->out);
  lt_value x = add_border(g, in[0], &w, 0);
  x = take_taps(g, x, &w.axis[0], 2); /* [N, C, KH, OH, W] */
  x = take_taps(g, x, &w.axis[1], 4); /* [N, C, KH, OH, KW, OW] */
  if (!((const lt_im2col_attrs *)n->attrs)->to_matrix) x = lt_transpose(g, x, (int64_t[]){0, 1, 2, 4, 3, 5});
  else x = lt_reshape_like(g, lt_transpose(g, x, (int64_t[]){0, 3, 5, 1, 2, 4}), col);
  r->map[n->out] = x;
  return true;
}

/* A matrix as [N, C, KH, KW, OH, OW] */
bool lt_spell_col2im(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  lt_col2im_attrs a = *(const lt_col2im_attrs *)n->attrs;
  const lt_window w = lt_window_of(r->from, n);
  const int64_t *image = a.input_shape.v;
  if (!a.to_matrix) return false;
  const int64_t apart[6] = {image[0], w.axis[0].windows, w.axis[1].windows,
                            image[1], w.axis[0].kernel,  w.axis[1].kernel};
  lt_value col = lt_transpose(g, lt_reshape(g, in[0], 6, apart), (int64_t[]){0, 3, 4, 5, 1, 2});
  a.to_matrix = false;
  r->map[n->out] = lt_emit(g, n->op, &a, &col, 1);
  return true;
}

/* ---- pools ------------------------------------------------------------------------------------------------------- */

/* What the last window looks at beyond image and border, which only sizes rounded up have. */
static int64_t overhang(const lt_window_axis *a) {
  int64_t end = (a->windows - 1) * a->stride + (a->kernel - 1) * a->dilation + 1;
  return LT_MAX(end - (a->before + a->size + a->after), 0);
}

static bool narrow(const lt_window_axis *a) {
  bool ok = a->before < a->kernel && a->after + overhang(a) < a->kernel;
  for (int64_t i = 0; ok && i < a->windows; i++) ok = lt_window_elements(a, i, false) > 0;
  return ok;
}

typedef struct pool { lt_window w; bool plain, over; } pool;

static pool pool_of(const lt_rewrite *r, const lt_node *n) {
  pool p = {.w = lt_window_of(r->from, n), .plain = true};
  for (unsigned k = 0; k < 2; k++) {
    lt_window_axis *a = &p.w.axis[k];
    p.plain &= narrow(a);
    p.over |= overhang(a) > 0;
    a->after += overhang(a), a->ceil = false;
  }
  return p;
}

/* A constant [OH, OW] of what f says of each window. */
typedef double per_window(const lt_window *w, int64_t i, int64_t k, bool border);

static lt_value for_windows(lt_graph *g, lt_dtype t, const lt_window *w, per_window *f, bool border) {
  const lt_type plane = {.dtype = t, .rank = 2, .dim = {w->axis[0].windows, w->axis[1].windows}};
  lt_tensor *x = lt_tensor_new(&g->arena, &plane);
  for (int64_t i = 0; i < plane.dim[0]; i++)
    for (int64_t k = 0; k < plane.dim[1]; k++) lt_tensor_set(x, i * plane.dim[1] + k, f(w, i, k, border));
  return lt_const_tensor(g, x);
}

bool lt_spell_max_pool(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  lt_max_pool_attrs a = *(const lt_max_pool_attrs *)n->attrs;
  pool p = pool_of(r, n);
  if (a.pad_value != -HUGE_VAL) {
    r->map[n->out] = lt_emit_bordered_pool(g, n, in[0]);
    return true;
  }
  if (!a.ceil && p.plain) return false;
  lt_value x = p.plain ? in[0] : add_border(g, in[0], &p.w, -HUGE_VAL);
  a.ceil = false, a.pad = p.plain ? lt_window_pad(&p.w) : (lt_quad){{0}};
  r->map[n->out] = lt_emit(g, n->op, &a, &x, 1);
  return true;
}

static double sees_nothing(const lt_window *w, int64_t i, int64_t k, bool border) {
  (void)border;
  return !lt_window_elements(&w->axis[0], i, false) || !lt_window_elements(&w->axis[1], k, false);
}

static lt_value whole(lt_graph *g, int64_t v) { return lt_const_scalar(g, LT_I32, (double)v); }

/* An index into the bordered image as one into the image. */
static lt_value without_border(lt_graph *g, lt_value index, const lt_window *w) {
  const lt_window_axis *h = &w->axis[0], *v = &w->axis[1];
  const int64_t width = v->before + v->size + v->after;
  lt_value row = lt_binary(g, LT_OP_div, index, whole(g, width));
  lt_value col = lt_binary(g, LT_OP_sub, index, lt_binary(g, LT_OP_mul, row, whole(g, width)));
  row = lt_binary(g, LT_OP_sub, row, whole(g, h->before));
  col = lt_binary(g, LT_OP_sub, col, whole(g, v->before));
  return lt_binary(g, LT_OP_add, lt_binary(g, LT_OP_mul, row, whole(g, v->size)), col);
}

bool lt_spell_max_pool_index(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  lt_max_pool_index_attrs a = *(const lt_max_pool_index_attrs *)n->attrs;
  pool p = pool_of(r, n);
  if (!a.ceil && p.plain) return false;
  lt_value x = p.plain ? in[0] : add_border(g, in[0], &p.w, -HUGE_VAL);
  a.ceil = false, a.pad = p.plain ? lt_window_pad(&p.w) : (lt_quad){{0}};
  lt_value index = lt_emit(g, n->op, &a, &x, 1);
  if (!p.plain) {
    lt_value none = for_windows(g, LT_BOOL, &p.w, sees_nothing, false);
    index = lt_emit(g, LT_OP_select, NULL, (lt_value[]){none, whole(g, -1), without_border(g, index, &p.w)}, 3);
  }
  r->map[n->out] = index;
  return true;
}

/* What a sum over all taps is multiplied with. `border` of a window rounded up is that of the op, before the overhang.
 */
static double one_of(const lt_window *w, int64_t i, int64_t k, bool border) {
  double n = (double)lt_window_elements(&w->axis[0], i, border) * (double)lt_window_elements(&w->axis[1], k, border);
  return n ? 1 / n : 0;
}

static double taps_of(const lt_window *w) { return (double)w->axis[0].kernel * (double)w->axis[1].kernel; }

static double share_of(const lt_window *w, int64_t i, int64_t k, bool border) {
  return one_of(w, i, k, border) * taps_of(w);
}

bool lt_spell_avg_pool(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  lt_avg_pool_attrs a = *(const lt_avg_pool_attrs *)n->attrs;
  pool p = pool_of(r, n);
  bool plain = p.plain && !(p.over && a.count_include_pad), border = a.count_include_pad;
  if (!a.ceil && plain) return false;
  lt_value x = plain ? in[0] : add_border(g, in[0], &p.w, 0);
  a.ceil = false, a.pad = plain ? lt_window_pad(&p.w) : (lt_quad){{0}};
  if (!plain) a.count_include_pad = false;
  lt_value y = lt_emit(g, n->op, &a, &x, 1);
  const lt_window own = lt_window_of(r->from, n);
  if (!plain) y = lt_binary(g, LT_OP_mul, y, for_windows(g, lt_type_of(g, y)->dtype, &own, share_of, border));
  r->map[n->out] = y;
  return true;
}

bool lt_spell_avg_pool_grad(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  const lt_avg_pool_grad_attrs *a = n->attrs;
  const lt_window own = lt_window_of(r->from, n);
  const pool p = pool_of(r, n);
  const lt_type gy = *lt_type_of(g, in[0]);
  const lt_type w = {gy.dtype, 4, {gy.dim[1], 1, p.w.axis[0].kernel, p.w.axis[1].kernel}};
  lt_value share = for_windows(g, gy.dtype, &own, one_of, a->count_include_pad);
  lt_value ones = lt_broadcast_to(g, lt_const_scalar(g, gy.dtype, 1), &w);
  lt_conv2d_grad_input_attrs c = {
    .size = a->size, .stride = a->stride, .pad = lt_window_pad(&p.w), .dilation = a->dilation, .groups = gy.dim[1]};
  lt_value each = lt_binary(g, LT_OP_mul, in[0], share);
  r->map[n->out] = lt_emit(g, LT_OP_conv2d_grad_input, &c, (lt_value[]){each, ones}, 2);
  return true;
}

bool lt_spell_max_pool_grad(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  const lt_type y = *lt_type_of(g, in[0]), x = *lt_type_of(r->from, n->out);
  const int64_t windows[3] = {y.dim[0], y.dim[1], y.dim[2] * y.dim[3]};
  lt_scatter_add_attrs a = {.axis = 2, .size = x.dim[2] * x.dim[3]};
  lt_value gy = lt_reshape(g, in[0], 3, windows), index = lt_reshape(g, in[1], 3, windows);
  r->map[n->out] = lt_reshape_like(g, lt_emit(g, LT_OP_scatter_add, &a, (lt_value[]){gy, index}, 2), &x);
  return true;
}
