/* op_conv.c: convolution, its two adjoints, the transposed convolution, and the windows written out (im2col, col2im).
 *
 * conv2d is linear in x and in W; conv2d_grad_input and conv2d_grad_weight are the adjoints of these two linear maps, so
 * the gradients of the three are the three themselves. Letters: N images, C input channels, O output channels, G groups,
 * H W image, KH KW kernel, OH OW result. */
#include "ir/op_util.h"

/* Sizes of one convolution, from types and attributes that infer has checked. */
typedef struct conv_shape {
  lt_window w;
  int64_t n, c, o, groups, size[2], out[2];
} conv_shape;

static lt_window window_of(lt_pair kernel, lt_pair stride, lt_quad pad, lt_pair dilation) {
  lt_window w = {.ceil = false};
  memcpy(w.kernel, kernel.v, sizeof w.kernel);
  memcpy(w.stride, stride.v, sizeof w.stride);
  memcpy(w.pad, pad.v, sizeof w.pad);
  memcpy(w.dilation, dilation.v, sizeof w.dilation);
  return w;
}

static const char *image_text(lt_graph *g, const char *name, lt_value v) {
  return lt_arena_printf(&g->arena, "%s %s", name, lt_text_of(g, v));
}

/* groups must divide the channels of both operands, in[0] and in[1], called as `names` says. */
static void need_groups(lt_graph *g, lt_op op, int64_t groups, const char *const names[2], const lt_value *in, const char *what,
                        int64_t channels) {
  if (groups >= 1 && channels % groups == 0) return;
  const char *shapes = lt_arena_printf(&g->arena, "%s %s, %s %s", names[0], lt_text_of(g, in[0]), names[1], lt_text_of(g, in[1]));
  if (groups < 1) lt_node_fail(g, op, "groups is %lld, it must be at least 1 (%s)", (long long)groups, shapes);
  lt_node_fail(g, op, "groups=%lld does not divide the %lld %s channels (%s)", (long long)groups, (long long)channels, what, shapes);
}

static const char *const x_w[2] = {"x", "W"}, *const gy_w[2] = {"gy", "W"}, *const x_gy[2] = {"x", "gy"};

/* ---- the one loop behind the three: walks all products x·W that meet in y, a row of outputs at a time ------------- */

typedef enum conv_part { CONV_Y, CONV_X, CONV_W } conv_part;

/* Outputs [*lo, *hi) along the width for which tap k falls inside the image. */
static void out_range(const conv_shape *s, int64_t k, int64_t *lo, int64_t *hi) {
  int64_t first = k * s->w.dilation[1] - s->w.pad[1], st = s->w.stride[1]; /* where output 0 looks */
  *lo = first >= 0 ? 0 : (-first + st - 1) / st;
  *hi = first >= s->size[1] ? 0 : LT_MIN(s->out[1], (s->size[1] - 1 - first) / st + 1);
}

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
  for (int64_t kh = 0; kh < s->w.kernel[0]; kh++) {
    for (int64_t kw = 0; kw < s->w.kernel[1]; kw++, w++) {
      int64_t lo, hi, shift = kw * s->w.dilation[1] - s->w.pad[1];
      out_range(s, kw, &lo, &hi);
      if (lo >= hi) continue;
      double acc = 0;
      for (int64_t oh = 0; oh < s->out[0]; oh++) {
        int64_t ih = oh * s->w.stride[0] - s->w.pad[0] + kh * s->w.dilation[0];
        if (ih < 0 || ih >= s->size[0]) continue;
        double *xr = x + ih * s->size[1] + lo * s->w.stride[1] + shift, *yr = y + oh * s->out[1] + lo;
        acc += s->w.stride[1] == 1 ? conv_row(part, yr, xr, *w, hi - lo, 1)
                                   : conv_row(part, yr, xr, *w, hi - lo, s->w.stride[1]);
      }
      if (part == CONV_W) *w += acc;
    }
  }
}

static inline void conv_all(const conv_shape *s, conv_part part, double *y, double *x, double *w) {
  int64_t cg = s->c / s->groups, og = s->o / s->groups, taps = s->w.kernel[0] * s->w.kernel[1];
  int64_t x_plane = s->size[0] * s->size[1], y_plane = s->out[0] * s->out[1];
  for (int64_t n = 0; n < s->n; n++)
    for (int64_t o = 0; o < s->o; o++)
      for (int64_t c = 0; c < cg; c++)
        conv_plane(s, part, y + (n * s->o + o) * y_plane, x + (n * s->c + o / og * cg + c) * x_plane,
                   w + (o * cg + c) * taps);
}

/* ---- conv2d ------------------------------------------------------------------------------------------------------- */

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
  lt_window win = window_of((lt_pair){{w.dim[2], w.dim[3]}}, a->stride, a->pad, a->dilation);
  int64_t out[2];
  lt_need_window(g, LT_OP_conv2d, &win, image_text(g, "x", in[0]), x.dim + 2, out);
  if (b) {
    lt_need_rank(g, LT_OP_conv2d, "b", b, 1, "[OC]");
    lt_need_dtype(g, LT_OP_conv2d, "x", in[0], "b", b);
    if (lt_type_of(g, b)->dim[0] != w.dim[0])
      lt_node_fail(g, LT_OP_conv2d, "b %s must have one element for each of the %lld output channels of W %s",
                   lt_text_of(g, b), (long long)w.dim[0], lt_text_of(g, in[1]));
  }
  *out_type = lt_make_type(x.dtype, 4, (int64_t[]){x.dim[0], w.dim[0], out[0], out[1]});
}

LT_EVAL(conv2d) {
  const lt_conv2d_attrs *a = n->attrs;
  const lt_type *x = &in[0]->type, *w = &in[1]->type, *y = &out[0]->type;
  conv_shape s = {window_of((lt_pair){{w->dim[2], w->dim[3]}}, a->stride, a->pad, a->dilation), x->dim[0], x->dim[1],
                  w->dim[0], a->groups, {x->dim[2], x->dim[3]}, {y->dim[2], y->dim[3]}};
  const lt_tensor *b = in[2];
  int64_t plane = s.out[0] * s.out[1], total = lt_type_count(y);
  for (int64_t i = 0; i < total; i++) out[0]->f[i] = b ? b->f[i / plane % s.o] : 0.0;
  conv_all(&s, CONV_Y, out[0]->f, in[0]->f, in[1]->f);
}

static lt_value emit_conv(lt_graph *g, lt_value x, lt_value w, lt_pair stride, lt_quad pad, lt_pair dilation, int64_t groups) {
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

LT_VJP(conv2d) {
  const lt_conv2d_attrs *a = n->attrs;
  lt_graph *g = v->g;
  g->origin = NULL; /* they are ops that users know */
  gin[0] = emit_grad_input(g, gout[0], in[1], in[0], a->stride, a->pad, a->dilation, a->groups);
  gin[1] = emit_grad_weight(g, in[0], gout[0], in[1], a->stride, a->pad, a->dilation, a->groups);
  g->origin = "conv2d_grad_bias";
  if (in[2]) gin[2] = lt_reduce(g, LT_OP_sum, gout[0], &(lt_ints){3, {0, 2, 3}}, false);
}

/* ---- conv2d_grad_input: gy [N, O, OH, OW], W [O, C/G, KH, KW] → gx [N, C, H, W] ------------------------------------ */

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
  lt_window win = window_of((lt_pair){{w.dim[2], w.dim[3]}}, a->stride, a->pad, a->dilation);
  int64_t out[2], c;
  const char *image = lt_arena_printf(&g->arena, "size %s", lt_ints_text(&g->arena, a->size.v, 2));
  lt_need_window(g, op, &win, image, a->size.v, out);
  if (out[0] != y.dim[2] || out[1] != y.dim[3])
    lt_node_fail(g, op, "gy %s does not fit: an image of %s through W %s gives %s", lt_text_of(g, in[0]), image,
                 lt_text_of(g, in[1]), lt_ints_text(&g->arena, out, 2));
  if (!lt_mul_ok(&c, w.dim[1], a->groups)) lt_node_fail(g, op, "groups=%lld is too large", (long long)a->groups);
  *out_type = lt_make_type(y.dtype, 4, (int64_t[]){y.dim[0], c, a->size.v[0], a->size.v[1]});
}

LT_EVAL(conv2d_grad_input) {
  const lt_conv2d_grad_input_attrs *a = n->attrs;
  const lt_type *y = &in[0]->type, *w = &in[1]->type, *x = &out[0]->type;
  conv_shape s = {window_of((lt_pair){{w->dim[2], w->dim[3]}}, a->stride, a->pad, a->dilation), x->dim[0], x->dim[1],
                  w->dim[0], a->groups, {x->dim[2], x->dim[3]}, {y->dim[2], y->dim[3]}};
  memset(out[0]->f, 0, (size_t)lt_type_count(x) * sizeof(double));
  conv_all(&s, CONV_X, in[0]->f, out[0]->f, in[1]->f);
}

LT_VJP(conv2d_grad_input) {
  const lt_conv2d_grad_input_attrs *a = n->attrs;
  v->g->origin = NULL;
  gin[0] = emit_conv(v->g, gout[0], in[1], a->stride, a->pad, a->dilation, a->groups);
  gin[1] = emit_grad_weight(v->g, gout[0], in[0], in[1], a->stride, a->pad, a->dilation, a->groups);
}

/* ---- conv2d_grad_weight: x [N, C, H, W], gy [N, O, OH, OW] → gW [O, C/G, KH, KW] ----------------------------------- */

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
  lt_window win = window_of(a->kernel, a->stride, a->pad, a->dilation);
  int64_t out[2];
  lt_need_window(g, op, &win, image_text(g, "x", in[0]), x.dim + 2, out);
  if (out[0] != y.dim[2] || out[1] != y.dim[3])
    lt_node_fail(g, op, "gy %s does not fit: x %s through a kernel %s gives %s", lt_text_of(g, in[1]),
                 lt_text_of(g, in[0]), lt_ints_text(&g->arena, a->kernel.v, 2), lt_ints_text(&g->arena, out, 2));
  *out_type = lt_make_type(x.dtype, 4, (int64_t[]){y.dim[1], x.dim[1] / a->groups, a->kernel.v[0], a->kernel.v[1]});
}

LT_EVAL(conv2d_grad_weight) {
  const lt_conv2d_grad_weight_attrs *a = n->attrs;
  const lt_type *x = &in[0]->type, *y = &in[1]->type;
  conv_shape s = {window_of(a->kernel, a->stride, a->pad, a->dilation), x->dim[0], x->dim[1], y->dim[1], a->groups,
                  {x->dim[2], x->dim[3]}, {y->dim[2], y->dim[3]}};
  memset(out[0]->f, 0, (size_t)lt_type_count(&out[0]->type) * sizeof(double));
  conv_all(&s, CONV_W, in[1]->f, in[0]->f, out[0]->f);
}

LT_VJP(conv2d_grad_weight) {
  const lt_conv2d_grad_weight_attrs *a = n->attrs;
  v->g->origin = NULL;
  gin[0] = emit_grad_input(v->g, in[1], gout[0], in[0], a->stride, a->pad, a->dilation, a->groups);
  gin[1] = emit_conv(v->g, in[0], gout[0], a->stride, a->pad, a->dilation, a->groups);
}

/* ---- deconv2d: x [N, C, H, W], W [C, OC/G, KH, KW] → y [N, OC, *outsize]: conv2d_grad_input with its names turned round ---- */

static lt_window deconv_window(const lt_deconv2d_attrs *a, const lt_type *w) {
  return window_of((lt_pair){{w->dim[2], w->dim[3]}}, a->stride, a->pad, a->dilation);
}

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

/* The smallest size of y along axis k, or what is wrong. */
static const char *smallest_size(lt_graph *g, const lt_window *w, unsigned k, int64_t size, int64_t *out) {
  int64_t extent;
  if (w->dilation[k] < 1) return "dilation must be at least 1";
  if (!lt_mul_ok(&extent, w->kernel[k] - 1, w->dilation[k]) || !lt_add_ok(&extent, extent, 1)) return "the extent of the window overflows";
  return lt_deconv_size(&g->arena, out, size, extent, w->stride[k], w->pad[k], w->pad[k + 2]);
}

/* outsize 0 becomes the smallest size of y. One that is given must have as many windows as x has elements. */
static void need_outsize(lt_graph *g, lt_deconv2d_attrs *a, const lt_value *in) {
  const lt_type x = *lt_type_of(g, in[0]), w = *lt_type_of(g, in[1]);
  lt_window win = deconv_window(a, &w);
  int64_t *y = a->outsize.v, out[2];
  bool given = y[0] || y[1];
  for (unsigned k = 0; k < 2 && !given; k++) {
    const char *why = smallest_size(g, &win, k, x.dim[2 + k], &y[k]);
    if (why) lt_node_fail(g, LT_OP_deconv2d, "%s: %s (x %s, W %s)", k ? "width" : "height", why, lt_text_of(g, in[0]), lt_text_of(g, in[1]));
  }
  const char *size = lt_ints_text(&g->arena, y, 2);
  if (y[0] < 1 || y[1] < 1)
    lt_node_fail(g, LT_OP_deconv2d, "outsize %s must be at least 1 (x %s, W %s)", size, lt_text_of(g, in[0]), lt_text_of(g, in[1]));
  lt_need_window(g, LT_OP_deconv2d, &win, lt_arena_printf(&g->arena, "x %s, outsize %s", lt_text_of(g, in[0]), size), y, out);
  if (out[0] != x.dim[2] || out[1] != x.dim[3])
    lt_node_fail(g, LT_OP_deconv2d, "outsize %s does not fit: W %s has %s windows there, x is %s\nhelp: without outsize it is the "
                 "smallest that fits; stride - 1 more at most", size, lt_text_of(g, in[1]), lt_ints_text(&g->arena, out, 2),
                 lt_text_of(g, in[0]));
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
    lt_node_fail(g, op, "the channels of the result overflow: groups=%lld, W %s", (long long)a->groups, lt_text_of(g, in[1]));
  if (b) {
    lt_need_rank(g, op, "b", b, 1, "[OC]");
    lt_need_dtype(g, op, "x", in[0], "b", b);
    if (lt_type_of(g, b)->dim[0] != channels)
      lt_node_fail(g, op, "b %s must have one element for each of the %lld output channels of W %s (groups=%lld)", lt_text_of(g, b),
                   (long long)channels, lt_text_of(g, in[1]), (long long)a->groups);
  }
  *out_type = lt_make_type(x.dtype, 4, (int64_t[]){x.dim[0], channels, a->outsize.v[0], a->outsize.v[1]});
}

LT_EVAL(deconv2d) {
  const lt_deconv2d_attrs *a = n->attrs;
  const lt_type *x = &in[0]->type, *w = &in[1]->type, *y = &out[0]->type;
  conv_shape s = {deconv_window(a, w), y->dim[0], y->dim[1], w->dim[0], a->groups, {y->dim[2], y->dim[3]}, {x->dim[2], x->dim[3]}};
  const lt_tensor *b = in[2];
  int64_t plane = s.size[0] * s.size[1], total = lt_type_count(y);
  for (int64_t i = 0; i < total; i++) out[0]->f[i] = b ? b->f[i / plane % s.c] : 0.0;
  conv_all(&s, CONV_X, in[0]->f, out[0]->f, in[1]->f);
}

LT_EXPAND(deconv2d) {
  const lt_deconv2d_attrs *a = n->attrs;
  lt_conv2d_grad_input_attrs c = {.size = a->outsize, .stride = a->stride, .pad = a->pad, .dilation = a->dilation, .groups = a->groups};
  out[0] = lt_emit(g, LT_OP_conv2d_grad_input, &c, in, 2);
  if (!in[2]) return;
  lt_value b = lt_reshape(g, in[2], 3, (int64_t[]){lt_type_of(g, in[2])->dim[0], 1, 1});
  out[0] = lt_binary(g, LT_OP_add, out[0], b);
}

LT_VJP(deconv2d) { lt_vjp_by_expansion(v, n, in, gout, gin); }

/* ---- im2col and col2im -------------------------------------------------------------------------------------------- */

static lt_type col_type(lt_graph *g, lt_op op, lt_dtype t, const int64_t image[4], const int64_t k[2],
                        const int64_t out[2], bool to_matrix) {
  int64_t rows, cols;
  if (!to_matrix) return lt_make_type(t, 6, (int64_t[]){image[0], image[1], k[0], k[1], out[0], out[1]});
  if (!lt_mul_ok(&rows, out[0], out[1]) || !lt_mul_ok(&rows, rows, image[0]) || !lt_mul_ok(&cols, k[0], k[1]) ||
      !lt_mul_ok(&cols, cols, image[1]))
    lt_node_fail(g, op, "the size of the matrix overflows: image %s, kernel %s, %s windows", lt_ints_text(&g->arena, image, 4),
                 lt_ints_text(&g->arena, k, 2), lt_ints_text(&g->arena, out, 2));
  return lt_make_type(t, 2, (int64_t[]){rows, cols});
}

/* Strides of a window matrix or array over (n, c, kh, kw, oh, ow). */
static void col_strides(int64_t s[6], const int64_t image[4], const int64_t k[2], const int64_t out[2], bool to_matrix) {
  const int64_t dim[6] = {image[0], image[1], k[0], k[1], out[0], out[1]};
  static const int plain[6] = {0, 1, 2, 3, 4, 5}, matrix[6] = {0, 4, 5, 1, 2, 3};
  const int *order = to_matrix ? matrix : plain;
  int64_t step = 1;
  for (int i = 5; i >= 0; i--) s[order[i]] = step, step *= dim[order[i]];
}

/* Copies windows out of the image (adds them back with `back`). */
static void col_walk(const lt_window *w, const int64_t d[4], const int64_t out[2], bool to_matrix, double *image,
                     double *col, bool back) {
  int64_t s[6], i[6];
  col_strides(s, d, w->kernel, out, to_matrix);
  const int64_t dim[6] = {d[0], d[1], w->kernel[0], w->kernel[1], out[0], out[1]};
#define EACH(k) for (i[k] = 0; i[k] < dim[k]; i[k]++)
  EACH(0) EACH(1) EACH(2) EACH(3) EACH(4) EACH(5) {
    int64_t h = i[4] * w->stride[0] - w->pad[0] + i[2] * w->dilation[0];
    int64_t x = i[5] * w->stride[1] - w->pad[1] + i[3] * w->dilation[1];
    bool inside = h >= 0 && h < d[2] && x >= 0 && x < d[3];
    int64_t at = i[0] * s[0] + i[1] * s[1] + i[2] * s[2] + i[3] * s[3] + i[4] * s[4] + i[5] * s[5];
    int64_t from = ((i[0] * d[1] + i[1]) * d[2] + h) * d[3] + x;
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
  lt_window w = window_of(a->kernel, a->stride, a->pad, a->dilation);
  int64_t out[2];
  lt_need_window(g, LT_OP_im2col, &w, image_text(g, "x", in[0]), x.dim + 2, out);
  *out_type = col_type(g, LT_OP_im2col, x.dtype, x.dim, a->kernel.v, out, a->to_matrix);
}

/* OH and OW of a window that infer has accepted. */
static void windows_along(const lt_window *w, const int64_t size[2], int64_t out[2]) {
  for (unsigned k = 0; k < 2; k++)
    out[k] = lt_windows_along(size[k], w->kernel[k], w->stride[k], w->dilation[k], w->pad[k], w->pad[k + 2]);
}

LT_EVAL(im2col) {
  const lt_im2col_attrs *a = n->attrs;
  lt_window w = window_of(a->kernel, a->stride, a->pad, a->dilation);
  int64_t windows[2];
  windows_along(&w, in[0]->type.dim + 2, windows);
  col_walk(&w, in[0]->type.dim, windows, a->to_matrix, in[0]->f, out[0]->f, false);
}

LT_VJP(im2col) {
  const lt_im2col_attrs *a = n->attrs;
  const lt_type *x = lt_type_of(v->g, in[0]);
  lt_col2im_attrs c = {.input_shape = {4, {x->dim[0], x->dim[1], x->dim[2], x->dim[3]}}, .kernel = a->kernel,
                       .stride = a->stride, .pad = a->pad, .dilation = a->dilation, .to_matrix = a->to_matrix};
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
  lt_window w = window_of(a->kernel, a->stride, a->pad, a->dilation);
  int64_t out[2];
  lt_need_window(g, op, &w, lt_arena_printf(&g->arena, "input_shape %s", shape), a->input_shape.v + 2, out);
  lt_dtype t = lt_type_of(g, in[0])->dtype;
  lt_type col = col_type(g, op, t, a->input_shape.v, a->kernel.v, out, a->to_matrix);
  if (!lt_type_eq(&col, lt_type_of(g, in[0])))
    lt_node_fail(g, op, "col %s does not fit: im2col of an image %s gives %s", lt_text_of(g, in[0]), shape,
                 lt_type_text(&g->arena, &col));
  *out_type = lt_make_type(t, 4, a->input_shape.v);
}

LT_EVAL(col2im) {
  const lt_col2im_attrs *a = n->attrs;
  lt_window w = window_of(a->kernel, a->stride, a->pad, a->dilation);
  int64_t windows[2];
  windows_along(&w, out[0]->type.dim + 2, windows);
  memset(out[0]->f, 0, (size_t)lt_type_count(&out[0]->type) * sizeof(double));
  col_walk(&w, out[0]->type.dim, windows, a->to_matrix, out[0]->f, in[0]->f, true);
}

LT_VJP(col2im) {
  const lt_col2im_attrs *a = n->attrs;
  lt_im2col_attrs c = {.kernel = a->kernel, .stride = a->stride, .pad = a->pad, .dilation = a->dilation,
                       .to_matrix = a->to_matrix};
  v->g->origin = NULL;
  gin[0] = lt_emit(v->g, LT_OP_im2col, &c, gout, 1);
}
