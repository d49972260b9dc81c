/* op_conv.c: convolution, its two adjoints, the transposed convolution, and the windows written out (im2col, col2im).
 *
 * conv2d is linear in x and in W; conv2d_grad_input and conv2d_grad_weight are the adjoints of these two linear maps,
 * so the gradients of the three are the three themselves. Letters: N images, C input channels, O output channels, G
 * groups, H W image, KH KW kernel, OH OW result. */
#include <math.h>

#include "ir/op_util.h"

/* Sizes of one convolution that infer has checked. */
typedef struct conv_shape {
  lt_window w;
  int64_t n, c, o, groups;
} conv_shape;

static const char *image_text(lt_graph *g, const char *name, lt_value v) {
  return lt_arena_printf(&g->arena, "%s %s", name, lt_text_of(g, v));
}

/* The windows along the axes, as text and beside the last axes of y. */
static const char *windows_text(lt_graph *g, const lt_window *w) {
  return lt_ints_text(&g->arena, (int64_t[]){w->axis[0].windows, w->axis[1].windows}, 2);
}

static bool windows_are(const lt_window *w, const lt_type *y) {
  return w->axis[0].windows == y->dim[2] && w->axis[1].windows == y->dim[3];
}

/* groups must divide the channels of both operands, in[0] and in[1], called as `names` says. */
static void need_groups(lt_graph *g, lt_op op, int64_t groups, const char *const names[2], const lt_value *in,
                        const char *what, int64_t channels) {
  if (groups >= 1 && channels % groups == 0) return;
  const char *shapes =
    lt_arena_printf(&g->arena, "%s %s, %s %s", names[0], lt_text_of(g, in[0]), names[1], lt_text_of(g, in[1]));
  if (groups < 1) lt_node_fail(g, op, "groups is %lld, it must be at least 1 (%s)", (long long)groups, shapes);
  lt_node_fail(g, op, "groups=%lld does not divide the %lld %s channels (%s)", (long long)groups, (long long)channels,
               what, shapes);
}

static const char *const x_w[2] = {"x", "W"}, *const gy_w[2] = {"gy", "W"}, *const x_gy[2] = {"x", "gy"};

/* ---- the one loop behind the three: walks all products x·W that meet in y, a row of outputs at a time ------------ */

typedef enum conv_part { CONV_Y, CONV_X, CONV_W } conv_part;

static inline double conv_row(conv_part part, double *y, double *x, double w, int64_t n, int64_t stride) {
  double acc = 0;
  for (int64_t j = 0; j < n; j++) {
    if (part == CONV_Y) y[j] += w * x[j * stride];
    if (part == CONV_X) x[j * stride] += w * y[j];
    if (part == CONV_W) acc += x[j * stride] * y[j];
  }
  return acc;
}

/* One channel of the image against one channel of the result through one kernel plane. */
static inline void conv_plane(const conv_shape *s, conv_part part, double *y, double *x, double *w) {
  const lt_window_axis *h = &s->w.axis[0], *v = &s->w.axis[1];
  for (int64_t kh = 0; kh < h->kernel; kh++) {
    const lt_span rows = lt_window_seen_by(h, kh);
    for (int64_t kw = 0; kw < v->kernel; kw++, w++) {
      const lt_span cols = lt_window_seen_by(v, kw);
      if (cols.lo >= cols.hi) continue;
      double acc = 0;
      for (int64_t oh = rows.lo; oh < rows.hi; oh++) {
        int64_t ih = lt_window_start(h, oh) + kh * h->dilation, iw = lt_window_start(v, cols.lo) + kw * v->dilation;
        double *xr = x + ih * v->size + iw, *yr = y + oh * v->windows + cols.lo;
        acc += v->stride == 1 ? conv_row(part, yr, xr, *w, cols.hi - cols.lo, 1)
                              : conv_row(part, yr, xr, *w, cols.hi - cols.lo, v->stride);
      }
      if (part == CONV_W) *w += acc;
    }
  }
}

/* Where a tap looks from window o, and the window that looks at pixel i with it. */
typedef enum conv_meets { CONV_NOTHING, CONV_INSIDE, CONV_BESIDE } conv_meets;

static conv_meets conv_pixel(const lt_window_axis *a, int64_t o, int64_t k) {
  int64_t i = lt_window_start(a, o) + k * a->dilation;
  return i >= 0 && i < a->size ? CONV_INSIDE : CONV_BESIDE;
}

static conv_meets conv_window(const lt_window_axis *a, int64_t i, int64_t k) {
  int64_t at = i + a->before - k * a->dilation;
  if (a->windows == 1) return at ? CONV_NOTHING : CONV_INSIDE;
  if (at % a->stride) return CONV_NOTHING;
  return at >= 0 && at / a->stride < a->windows ? CONV_INSIDE : CONV_BESIDE;
}

/* What stands beside the image, and beside the windows for its gradient, are zeros that take part: 0·w is NaN where w
 * is not finite. Of y, of x, and of w, where it is y that is not finite. */
static void conv_beside(const conv_shape *s, conv_part part, double *y, double *x, double *w) {
  const lt_window_axis *h = &s->w.axis[0], *v = &s->w.axis[1];
  const bool from_pixels = part == CONV_X;
  const int64_t rows = from_pixels ? h->size : h->windows, cols = from_pixels ? v->size : v->windows;
  for (int64_t kh = 0; kh < h->kernel; kh++)
    for (int64_t kw = 0; kw < v->kernel; kw++, w++) {
      if (part != CONV_W && isfinite(*w)) continue;
      for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
          conv_meets row = (from_pixels ? conv_window : conv_pixel)(h, r, kh);
          conv_meets col = (from_pixels ? conv_window : conv_pixel)(v, c, kw);
          if (!row || !col || (row == CONV_INSIDE && col == CONV_INSIDE)) continue;
          if (part == CONV_Y) y[r * cols + c] += 0 * *w;
          if (part == CONV_X) x[r * cols + c] += 0 * *w;
          if (part == CONV_W) *w += 0 * y[r * cols + c];
        }
    }
}

static bool all_finite(const double *v, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(v[i])) return false;
  return true;
}

static inline void conv_all(const conv_shape *s, conv_part part, double *y, double *x, double *w) {
  const lt_window_axis *h = &s->w.axis[0], *v = &s->w.axis[1];
  int64_t cg = s->c / s->groups, og = s->o / s->groups, taps = h->kernel * v->kernel;
  int64_t x_plane = h->size * v->size, y_plane = h->windows * v->windows;
  for (int64_t n = 0; n < s->n; n++)
    for (int64_t o = 0; o < s->o; o++)
      for (int64_t c = 0; c < cg; c++) {
        double *yp = y + (n * s->o + o) * y_plane, *xp = x + (n * s->c + o / og * cg + c) * x_plane;
        double *wp = w + (o * cg + c) * taps;
        conv_plane(s, part, yp, xp, wp);
        if (!(part == CONV_W ? all_finite(yp, y_plane) : all_finite(wp, taps))) conv_beside(s, part, yp, xp, wp);
      }
}

/* ---- conv2d ------------------------------------------------------------------------------------------------------ */

LT_INFER(conv2d) {
  const lt_conv2d_attrs *a = attrs;
  lt_value b = in[2];
  lt_need_rank(g, LT_OP_conv2d, "x", in[0], 4, "[N, C, H, W]");
  lt_need_rank(g, LT_OP_conv2d, "W", in[1], 4, "[OC, C/groups, KH, KW]");
  lt_need_float(g, LT_OP_conv2d, "x", in[0]);
  lt_need_dtype(g, LT_OP_conv2d, "x", in[0], "W", in[1]);
  const lt_type x = *lt_type_of(g, in[0]), w = *lt_type_of(g, in[1]);
  need_groups(g, LT_OP_conv2d, a->groups, x_w, in, "input", x.dim[1]);
  need_groups(g, LT_OP_conv2d, a->groups, x_w, in, "output", w.dim[0]);
  if (x.dim[1] / a->groups != w.dim[1])
    lt_node_fail(g, LT_OP_conv2d, "x %s has %lld channels, W %s takes %lld (with groups=%lld)", lt_text_of(g, in[0]),
                 (long long)x.dim[1], lt_text_of(g, in[1]), (long long)(w.dim[1] * a->groups), (long long)a->groups);
  lt_window win = lt_window_read(LT_OP_conv2d, a, &x, &w);
  lt_need_window(g, LT_OP_conv2d, &win, image_text(g, "x", in[0]));
  if (b) {
    lt_need_rank(g, LT_OP_conv2d, "b", b, 1, "[OC]");
    lt_need_dtype(g, LT_OP_conv2d, "x", in[0], "b", b);
    if (lt_type_of(g, b)->dim[0] != w.dim[0])
      lt_node_fail(g, LT_OP_conv2d, "b %s must have one element for each of the %lld output channels of W %s",
                   lt_text_of(g, b), (long long)w.dim[0], lt_text_of(g, in[1]));
  }
  *out_type = lt_make_type(x.dtype, 4, (int64_t[]){x.dim[0], w.dim[0], win.axis[0].windows, win.axis[1].windows});
}

LT_EVAL(conv2d) {
  const lt_conv2d_attrs *a = n->attrs;
  const lt_type *x = &in[0]->type, *w = &in[1]->type, *y = &out[0]->type;
  conv_shape s = {lt_window_between(n->op, a, x, w), x->dim[0], x->dim[1], w->dim[0], a->groups};
  const lt_tensor *b = in[2];
  int64_t plane = y->dim[2] * y->dim[3], total = lt_type_count(y);
  for (int64_t i = 0; i < total; i++) out[0]->f[i] = b ? b->f[i / plane % s.o] : 0.0;
  conv_all(&s, CONV_Y, out[0]->f, in[0]->f, in[1]->f);
}

static lt_value emit_conv(lt_graph *g, lt_value x, lt_value w, lt_pair stride, lt_quad pad, lt_pair dilation,
                          int64_t groups) {
  lt_conv2d_attrs a = {.stride = stride, .pad = pad, .dilation = dilation, .groups = groups};
  return lt_emit(g, LT_OP_conv2d, &a, (lt_value[]){x, w}, 2);
}

static lt_value emit_grad_input(lt_graph *g, lt_value gy, lt_value w, lt_value like, lt_pair stride, lt_quad pad,
                                lt_pair dilation, int64_t groups) {
  const lt_type *x = lt_type_of(g, like);
  lt_conv2d_grad_input_attrs a = {
    .size = {{x->dim[2], x->dim[3]}}, .stride = stride, .pad = pad, .dilation = dilation, .groups = groups};
  return lt_emit(g, LT_OP_conv2d_grad_input, &a, (lt_value[]){gy, w}, 2);
}

static lt_value emit_grad_weight(lt_graph *g, lt_value x, lt_value gy, lt_value like, lt_pair stride, lt_quad pad,
                                 lt_pair dilation, int64_t groups) {
  const lt_type *w = lt_type_of(g, like);
  lt_conv2d_grad_weight_attrs a = {
    .kernel = {{w->dim[2], w->dim[3]}}, .stride = stride, .pad = pad, .dilation = dilation, .groups = groups};
  return lt_emit(g, LT_OP_conv2d_grad_weight, &a, (lt_value[]){x, gy}, 2);
}

LT_TERMS(conv2d) { return lt_count_of(g, n->in[1]) / (double)lt_type_of(g, n->in[1])->dim[0]; }
LT_VJP(conv2d) {
  const lt_conv2d_attrs *a = n->attrs;
  lt_graph *g = v->g;
  g->origin = NULL; /* they are ops that users know */
  gin[0] = emit_grad_input(g, gout[0], in[1], in[0], a->stride, a->pad, a->dilation, a->groups);
  gin[1] = emit_grad_weight(g, in[0], gout[0], in[1], a->stride, a->pad, a->dilation, a->groups);
  g->origin = "conv2d_grad_bias";
  if (in[2]) gin[2] = lt_reduce(g, LT_OP_sum, gout[0], &(lt_ints){3, {0, 2, 3}}, false);
}

/* ---- conv2d_grad_input: gy [N, O, OH, OW], W [O, C/G, KH, KW] → gx [N, C, H, W] ---------------------------------- */

LT_INFER(conv2d_grad_input) {
  const lt_conv2d_grad_input_attrs *a = attrs;
  const lt_op op = LT_OP_conv2d_grad_input;
  lt_need_rank(g, op, "gy", in[0], 4, "[N, OC, OH, OW]");
  lt_need_rank(g, op, "W", in[1], 4, "[OC, C/groups, KH, KW]");
  lt_need_float(g, op, "gy", in[0]);
  lt_need_dtype(g, op, "gy", in[0], "W", in[1]);
  const lt_type y = *lt_type_of(g, in[0]), w = *lt_type_of(g, in[1]);
  need_groups(g, op, a->groups, gy_w, in, "output", w.dim[0]);
  if (y.dim[1] != w.dim[0])
    lt_node_fail(g, op, "gy %s has %lld channels, W %s makes %lld", lt_text_of(g, in[0]), (long long)y.dim[1],
                 lt_text_of(g, in[1]), (long long)w.dim[0]);
  if (a->size.v[0] < 1 || a->size.v[1] < 1)
    lt_node_fail(g, op, "size %s must be at least 1", lt_ints_text(&g->arena, a->size.v, 2));
  const lt_type size = lt_make_type(y.dtype, 4, (int64_t[]){1, 1, a->size.v[0], a->size.v[1]});
  lt_window win = lt_window_read(op, a, &size, &w);
  int64_t c;
  const char *image = lt_arena_printf(&g->arena, "size %s", lt_ints_text(&g->arena, a->size.v, 2));
  lt_need_window(g, op, &win, image);
  if (!windows_are(&win, &y))
    lt_node_fail(g, op, "gy %s does not fit: an image of %s through W %s gives %s", lt_text_of(g, in[0]), image,
                 lt_text_of(g, in[1]), windows_text(g, &win));
  if (!lt_mul_ok(&c, w.dim[1], a->groups)) lt_node_fail(g, op, "groups=%lld is too large", (long long)a->groups);
  *out_type = lt_make_type(y.dtype, 4, (int64_t[]){y.dim[0], c, a->size.v[0], a->size.v[1]});
}

LT_EVAL(conv2d_grad_input) {
  const lt_conv2d_grad_input_attrs *a = n->attrs;
  const lt_type *w = &in[1]->type, *x = &out[0]->type;
  conv_shape s = {lt_window_between(n->op, a, x, w), x->dim[0], x->dim[1], w->dim[0], a->groups};
  memset(out[0]->f, 0, (size_t)lt_type_count(x) * sizeof(double));
  conv_all(&s, CONV_X, in[0]->f, out[0]->f, in[1]->f);
}

LT_TERMS(conv2d_grad_input) { return lt_count_of(g, n->in[1]) / (double)lt_type_of(g, n->in[1])->dim[1]; }
LT_VJP(conv2d_grad_input) {
  const lt_conv2d_grad_input_attrs *a = n->attrs;
  v->g->origin = NULL;
  gin[0] = emit_conv(v->g, gout[0], in[1], a->stride, a->pad, a->dilation, a->groups);
  gin[1] = emit_grad_weight(v->g, gout[0], in[0], in[1], a->stride, a->pad, a->dilation, a->groups);
}

/* ---- conv2d_grad_weight: x [N, C, H, W], gy [N, O, OH, OW] → gW [O, C/G, KH, KW] --------------------------------- */

LT_INFER(conv2d_grad_weight) {
  const lt_conv2d_grad_weight_attrs *a = attrs;
  const lt_op op = LT_OP_conv2d_grad_weight;
  lt_need_rank(g, op, "x", in[0], 4, "[N, C, H, W]");
  lt_need_rank(g, op, "gy", in[1], 4, "[N, OC, OH, OW]");
  lt_need_float(g, op, "x", in[0]);
  lt_need_dtype(g, op, "x", in[0], "gy", in[1]);
  const lt_type x = *lt_type_of(g, in[0]), y = *lt_type_of(g, in[1]);
  need_groups(g, op, a->groups, x_gy, in, "input", x.dim[1]);
  need_groups(g, op, a->groups, x_gy, in, "output", y.dim[1]);
  if (x.dim[0] != y.dim[0])
    lt_node_fail(g, op, "x %s and gy %s differ in the number of images", lt_text_of(g, in[0]), lt_text_of(g, in[1]));
  lt_window win = lt_window_read(op, a, &x, NULL);
  lt_need_window(g, op, &win, image_text(g, "x", in[0]));
  if (!windows_are(&win, &y))
    lt_node_fail(g, op, "gy %s does not fit: x %s through a kernel %s gives %s", lt_text_of(g, in[1]),
                 lt_text_of(g, in[0]), lt_ints_text(&g->arena, a->kernel.v, 2), windows_text(g, &win));
  *out_type = lt_make_type(x.dtype, 4, (int64_t[]){y.dim[1], x.dim[1] / a->groups, a->kernel.v[0], a->kernel.v[1]});
}

LT_EVAL(conv2d_grad_weight) {
  const lt_conv2d_grad_weight_attrs *a = n->attrs;
  const lt_type *x = &in[0]->type, *y = &in[1]->type;
  conv_shape s = {lt_window_between(n->op, a, x, NULL), x->dim[0], x->dim[1], y->dim[1], a->groups};
  memset(out[0]->f, 0, (size_t)lt_type_count(&out[0]->type) * sizeof(double));
  conv_all(&s, CONV_W, in[1]->f, in[0]->f, out[0]->f);
}

LT_TERMS(conv2d_grad_weight) { return lt_count_of(g, n->in[1]) / (double)lt_type_of(g, n->in[1])->dim[1]; }
LT_VJP(conv2d_grad_weight) {
  const lt_conv2d_grad_weight_attrs *a = n->attrs;
  v->g->origin = NULL;
  gin[0] = emit_grad_input(v->g, in[1], gout[0], in[0], a->stride, a->pad, a->dilation, a->groups);
  gin[1] = emit_conv(v->g, in[0], gout[0], a->stride, a->pad, a->dilation, a->groups);
}

/* ---- deconv2d: x [N, C, H, W], W [C, OC/G, KH, KW] → y [N, OC, *outsize]: conv2d_grad_input with its names turned
 * round */

static void need_deconv_operands(lt_graph *g, const lt_deconv2d_attrs *a, const lt_value *in) {
  const lt_op op = LT_OP_deconv2d;
  lt_need_rank(g, op, "x", in[0], 4, "[N, C, H, W]");
  lt_need_rank(g, op, "W", in[1], 4, "[C, OC/groups, KH, KW]");
  lt_need_float(g, op, "x", in[0]);
  lt_need_dtype(g, op, "x", in[0], "W", in[1]);
  const lt_type *x = lt_type_of(g, in[0]), *w = lt_type_of(g, in[1]);
  need_groups(g, op, a->groups, x_w, in, "input", x->dim[1]);
  if (x->dim[1] != w->dim[0])
    lt_node_fail(g, op, "x %s has %lld channels, W %s takes %lld", lt_text_of(g, in[0]), (long long)x->dim[1],
                 lt_text_of(g, in[1]), (long long)w->dim[0]);
}

/* The smallest size of y along an axis, or what is wrong. */
static const char *smallest_size(lt_graph *g, const lt_window_axis *a, int64_t size, int64_t *out) {
  int64_t extent;
  if (a->dilation < 1) return "dilation must be at least 1";
  if (!lt_mul_ok(&extent, a->kernel - 1, a->dilation) || !lt_add_ok(&extent, extent, 1))
    return "the extent of the window overflows";
  return lt_deconv_size(&g->arena, out, size, extent, a->stride, a->before, a->after);
}

/* How much larger y is than the smallest size that fits x; negative: it does not. */
static int64_t outsize_over(const lt_window_axis *y, int64_t x) {
  int64_t smallest;
  return lt_window_image(y, x, &smallest) ? y->size + y->before + y->after - smallest : -1;
}

/* y has exactly as many windows as x has elements, or, where taps are further apart than windows, it ends up to
 * dilation - 1 elements after the last one that is reached. */
static bool outsize_fits(const lt_window_axis *y, int64_t x) {
  int64_t over = outsize_over(y, x);
  return y->windows == x || (over >= 0 && over < y->dilation && over < y->size);
}

/* outsize 0 becomes the smallest size of y. One that is given must fit x. */
static void need_outsize(lt_graph *g, lt_deconv2d_attrs *a, const lt_value *in) {
  const lt_type x = *lt_type_of(g, in[0]), w = *lt_type_of(g, in[1]);
  lt_window win = lt_window_read(LT_OP_deconv2d, a, &x, &w);
  int64_t *y = a->outsize.v;
  bool given = y[0] || y[1];
  for (unsigned k = 0; k < 2 && !given; k++) {
    const char *why = smallest_size(g, &win.axis[k], x.dim[2 + k], &y[k]);
    if (why)
      lt_node_fail(g, LT_OP_deconv2d, "%s: %s (x %s, W %s)", k ? "width" : "height", why, lt_text_of(g, in[0]),
                   lt_text_of(g, in[1]));
  }
  const char *size = lt_ints_text(&g->arena, y, 2);
  if (y[0] < 1 || y[1] < 1)
    lt_node_fail(g, LT_OP_deconv2d, "outsize %s must be at least 1 (x %s, W %s)", size, lt_text_of(g, in[0]),
                 lt_text_of(g, in[1]));
  for (unsigned k = 0; k < 2; k++) win.axis[k].size = y[k];
  lt_need_window(g, LT_OP_deconv2d, &win, lt_arena_printf(&g->arena, "x %s, outsize %s", lt_text_of(g, in[0]), size));
  if (!outsize_fits(&win.axis[0], x.dim[2]) || !outsize_fits(&win.axis[1], x.dim[3]))
    lt_node_fail(g, LT_OP_deconv2d,
                 "outsize %s does not fit: W %s has %s windows there, x is %s\nhelp: without outsize it is the "
                 "smallest that fits; max(stride, dilation) - 1 more at most",
                 size, lt_text_of(g, in[1]), windows_text(g, &win), lt_text_of(g, in[0]));
}

LT_INFER(deconv2d) {
  lt_deconv2d_attrs *a = attrs;
  const lt_op op = LT_OP_deconv2d;
  int64_t channels;
  lt_value b = in[2];
  need_deconv_operands(g, a, in);
  need_outsize(g, a, in);
  const lt_type x = *lt_type_of(g, in[0]), w = *lt_type_of(g, in[1]);
  if (!lt_mul_ok(&channels, w.dim[1], a->groups))
    lt_node_fail(g, op, "the channels of the result overflow: groups=%lld, W %s", (long long)a->groups,
                 lt_text_of(g, in[1]));
  if (b) {
    lt_need_rank(g, op, "b", b, 1, "[OC]");
    lt_need_dtype(g, op, "x", in[0], "b", b);
    if (lt_type_of(g, b)->dim[0] != channels)
      lt_node_fail(g, op, "b %s must have one element for each of the %lld output channels of W %s (groups=%lld)",
                   lt_text_of(g, b), (long long)channels, lt_text_of(g, in[1]), (long long)a->groups);
  }
  *out_type = lt_make_type(x.dtype, 4, (int64_t[]){x.dim[0], channels, a->outsize.v[0], a->outsize.v[1]});
}

LT_EVAL(deconv2d) {
  const lt_deconv2d_attrs *a = n->attrs;
  const lt_type *x = &in[0]->type, *w = &in[1]->type, *y = &out[0]->type;
  conv_shape s = {lt_window_between(n->op, a, y, w), y->dim[0], y->dim[1], w->dim[0], a->groups};
  for (unsigned k = 0; k < 2; k++) s.w.axis[k].windows = x->dim[2 + k];
  const lt_tensor *b = in[2];
  int64_t plane = y->dim[2] * y->dim[3], total = lt_type_count(y);
  for (int64_t i = 0; i < total; i++) out[0]->f[i] = b ? b->f[i / plane % s.c] : 0.0;
  conv_all(&s, CONV_X, in[0]->f, out[0]->f, in[1]->f);
}

/* The adjoint needs an image with as many windows as x has elements. A larger y is one with less border, and zeros
 * after it. */
LT_EXPAND(deconv2d) {
  const lt_deconv2d_attrs *a = n->attrs;
  const lt_type x = *lt_type_of(g, in[0]), w = *lt_type_of(g, in[1]);
  const lt_type y = lt_make_type(x.dtype, 4, (int64_t[]){1, 1, a->outsize.v[0], a->outsize.v[1]});
  const lt_window win = lt_window_between(LT_OP_deconv2d, a, &y, &w);
  lt_conv2d_grad_input_attrs c = {
    .size = a->outsize, .stride = a->stride, .pad = a->pad, .dilation = a->dilation, .groups = a->groups};
  lt_pad_attrs zeros = {.pads = {8, {0}}};
  for (unsigned k = 0; k < 2; k++) {
    if (win.axis[k].windows == x.dim[2 + k]) continue;
    int64_t over = outsize_over(&win.axis[k], x.dim[2 + k]) - (a->stride.v[k] - 1),
            border = LT_MIN(over, a->pad.v[2 + k]);
    c.pad.v[2 + k] -= border;
    c.size.v[k] -= over - border;
    zeros.pads.v[6 + k] = over - border;
  }
  out[0] = lt_emit(g, LT_OP_conv2d_grad_input, &c, in, 2);
  if (zeros.pads.v[6] || zeros.pads.v[7]) out[0] = lt_emit(g, LT_OP_pad, &zeros, out, 1);
  if (!in[2]) return;
  lt_value b = lt_reshape(g, in[2], 3, (int64_t[]){lt_type_of(g, in[2])->dim[0], 1, 1});
  out[0] = lt_binary(g, LT_OP_add, out[0], b);
}

LT_VJP(deconv2d) { lt_vjp_by_expansion(v, n, in, gout, gin); }

/* ---- im2col and col2im ------------------------------------------------------------------------------------------- */

/* N, C, KH, KW, OH, OW of the windows over an image [N, C, H, W]. */
enum { COL_DIMS = 6 };
static void col_dims(int64_t d[COL_DIMS], const int64_t image[4], const lt_window *w) {
  d[0] = image[0], d[1] = image[1];
  for (unsigned k = 0; k < 2; k++) d[2 + k] = w->axis[k].kernel, d[4 + k] = w->axis[k].windows;
}

static lt_type col_type(lt_graph *g, lt_op op, const lt_type *image, const lt_window *w, bool to_matrix) {
  int64_t d[COL_DIMS], rows, cols;
  col_dims(d, image->dim, w);
  if (!to_matrix) return lt_make_type(image->dtype, COL_DIMS, d);
  if (!lt_mul_ok(&rows, d[4], d[5]) || !lt_mul_ok(&rows, rows, d[0]) || !lt_mul_ok(&cols, d[2], d[3]) ||
      !lt_mul_ok(&cols, cols, d[1]))
    lt_node_fail(g, op, "the size of the matrix overflows: image %s, kernel %s, %s windows",
                 lt_ints_text(&g->arena, image->dim, 4), lt_ints_text(&g->arena, d + 2, 2), windows_text(g, w));
  return lt_make_type(image->dtype, 2, (int64_t[]){rows, cols});
}

/* Strides of a window matrix or array over (n, c, kh, kw, oh, ow). */
static void col_strides(int64_t s[COL_DIMS], const int64_t d[COL_DIMS], bool to_matrix) {
  static const int plain[COL_DIMS] = {0, 1, 2, 3, 4, 5}, matrix[COL_DIMS] = {0, 4, 5, 1, 2, 3};
  const int *order = to_matrix ? matrix : plain;
  int64_t step = 1;
  for (int i = COL_DIMS; i-- > 0;) s[order[i]] = step, step *= d[order[i]];
}

/* Copies windows out of the image (adds them back with `back`). */
static void col_walk(const lt_window *w, const int64_t image_dim[4], bool to_matrix, double *image, double *col,
                     bool back) {
  const lt_window_axis *v = &w->axis[0], *u = &w->axis[1];
  int64_t d[COL_DIMS], s[COL_DIMS], i[COL_DIMS];
  col_dims(d, image_dim, w);
  col_strides(s, d, to_matrix);
#define EACH(k) for (i[k] = 0; i[k] < d[k]; i[k]++)
  EACH(0) EACH(1) EACH(2) EACH(3) EACH(4) EACH(5) {
    int64_t h = lt_window_start(v, i[4]) + i[2] * v->dilation, x = lt_window_start(u, i[5]) + i[3] * u->dilation;
    bool inside = h >= 0 && h < v->size && x >= 0 && x < u->size;
    int64_t at = i[0] * s[0] + i[1] * s[1] + i[2] * s[2] + i[3] * s[3] + i[4] * s[4] + i[5] * s[5];
    int64_t from = ((i[0] * d[1] + i[1]) * v->size + h) * u->size + x;
    if (!back) col[at] = inside ? image[from] : 0.0;
    else if (inside) image[from] += col[at];
  }
#undef EACH
}

LT_INFER(im2col) {
  const lt_im2col_attrs *a = attrs;
  lt_need_rank(g, LT_OP_im2col, "x", in[0], 4, "[N, C, H, W]");
  lt_need_float(g, LT_OP_im2col, "x", in[0]);
  const lt_type x = *lt_type_of(g, in[0]);
  lt_window w = lt_window_read(LT_OP_im2col, a, &x, NULL);
  lt_need_window(g, LT_OP_im2col, &w, image_text(g, "x", in[0]));
  *out_type = col_type(g, LT_OP_im2col, &x, &w, a->to_matrix);
}

LT_EVAL(im2col) {
  const lt_im2col_attrs *a = n->attrs;
  lt_window w = lt_window_between(n->op, a, &in[0]->type, NULL);
  col_walk(&w, in[0]->type.dim, a->to_matrix, in[0]->f, out[0]->f, false);
}

LT_VJP(im2col) {
  const lt_im2col_attrs *a = n->attrs;
  const lt_type *x = lt_type_of(v->g, in[0]);
  lt_col2im_attrs c = {.input_shape = {4, {x->dim[0], x->dim[1], x->dim[2], x->dim[3]}},
                       .kernel = a->kernel,
                       .stride = a->stride,
                       .pad = a->pad,
                       .dilation = a->dilation,
                       .to_matrix = a->to_matrix};
  v->g->origin = NULL;
  gin[0] = lt_emit(v->g, LT_OP_col2im, &c, gout, 1);
}

LT_INFER(col2im) {
  const lt_col2im_attrs *a = attrs;
  const lt_op op = LT_OP_col2im;
  lt_need_float(g, op, "col", in[0]);
  const char *shape = lt_ints_text(&g->arena, a->input_shape.v, a->input_shape.n);
  if (a->input_shape.n != 4) lt_node_fail(g, op, "input_shape %s must have four dims, [N, C, H, W]", shape);
  for (int i = 0; i < 4; i++)
    if (a->input_shape.v[i] < 1) lt_node_fail(g, op, "every dim of input_shape %s must be at least 1", shape);
  const lt_type image = lt_make_type(lt_type_of(g, in[0])->dtype, 4, a->input_shape.v);
  lt_window w = lt_window_read(op, a, &image, NULL);
  lt_need_window(g, op, &w, lt_arena_printf(&g->arena, "input_shape %s", shape));
  lt_type col = col_type(g, op, &image, &w, a->to_matrix);
  if (!lt_type_eq(&col, lt_type_of(g, in[0])))
    lt_node_fail(g, op, "col %s does not fit: im2col of an image %s gives %s", lt_text_of(g, in[0]), shape,
                 lt_type_text(&g->arena, &col));
  *out_type = image;
}

LT_EVAL(col2im) {
  const lt_col2im_attrs *a = n->attrs;
  lt_window w = lt_window_between(n->op, a, &out[0]->type, NULL);
  memset(out[0]->f, 0, (size_t)lt_type_count(&out[0]->type) * sizeof(double));
  col_walk(&w, out[0]->type.dim, a->to_matrix, out[0]->f, in[0]->f, true);
}

LT_TERMS(col2im) { return lt_count_of(g, n->in[0]); }
LT_VJP(col2im) {
  const lt_col2im_attrs *a = n->attrs;
  lt_im2col_attrs c = {
    .kernel = a->kernel, .stride = a->stride, .pad = a->pad, .dilation = a->dilation, .to_matrix = a->to_matrix};
  v->g->origin = NULL;
  gin[0] = lt_emit(v->g, LT_OP_im2col, &c, gout, 1);
}
