/* ops_conv.c: Conv and ConvTranspose, and the windows that pooling has too (window.h). What is said by auto_pad becomes
 * a border in numbers; images of one axis are seen as images of height 1, those of three are volume.c's. */
#include "frontend/onnx/window.h"

/* ---- windows ----------------------------------------------------------------------------------------------------- */

void lt_ox_axis_numbers(lt_onnx *c, const char *name, unsigned axes, int64_t otherwise, int64_t out[3]) {
  lt_ox_ints list;
  bool given = lt_ox_list(c, name, &list) && list.n;
  if (given && list.n != axes) lt_ox_refuse(c, "%s has %lld numbers for %u axes", name, (long long)list.n, axes);
  for (unsigned i = 0; i < 3; i++) out[i] = given && i >= 3 - axes ? list.v[i - (3 - axes)] : otherwise;
}

static int64_t span(int64_t kernel, int64_t dilation) {
  int64_t reach;
  bool ok = kernel >= 1 && dilation >= 1 && lt_mul_ok(&reach, kernel - 1, dilation);
  return ok && reach < INT64_MAX / 4 ? reach + 1 : 1; /* what makes no sense is told by the op itself */
}

/* The numbers of three axes, depth first; those that x lacks are as of one element. */
typedef struct axes3 { int64_t kernel[3], stride[3], dilation[3], before[3], behind[3]; } axes3;

/* As many windows as x has strides: the border that takes, the odd one behind (UPPER) or before. */
static void pad_same(axes3 *w, const lt_type *x, bool upper) {
  unsigned axes = x->rank - 2u;
  for (unsigned i = 3 - axes; i < 3; i++) {
    int64_t size = x->dim[i + axes - 1], stride = LT_MAX(w->stride[i], 1);
    int64_t all = LT_MAX((lt_ceil_div(size, stride) - 1) * stride + span(w->kernel[i], w->dilation[i]) - size, 0);
    w->before[i] = upper ? all / 2 : all - all / 2;
    w->behind[i] = all - w->before[i];
  }
}

static void read_pads(lt_onnx *c, axes3 *w, unsigned axes) {
  lt_ox_ints list;
  if (!lt_ox_list(c, "pads", &list) || !list.n) return;
  if (list.n != 2 * axes) lt_ox_refuse(c, "pads has %lld numbers for %u axes", (long long)list.n, axes);
  for (unsigned i = 0; i < axes; i++) w->before[3 - axes + i] = list.v[i], w->behind[3 - axes + i] = list.v[axes + i];
}

static void read_kernel(lt_onnx *c, axes3 *w, unsigned axes, const lt_type *k) {
  lt_ox_axis_numbers(c, "kernel_shape", axes, 0, w->kernel);
  for (unsigned i = 0; k && i < axes; i++) {
    int64_t size = k->dim[2 + i], *own = &w->kernel[3 - axes + i];
    if (*own && *own != size)
      lt_ox_refuse(c, "kernel_shape says %lld and its weight is %s", (long long)*own, lt_type_text(c->arena, k));
    *own = size;
  }
  for (unsigned i = 0; i < 3 - axes; i++) w->kernel[i] = 1;
  if (!w->kernel[2]) lt_ox_refuse(c, "it needs the attribute kernel_shape");
}

lt_ox_window lt_ox_window_of(lt_onnx *c, lt_value x, const lt_type *k) {
  lt_type t = lt_ox_of(c, x);
  lt_ox_window w = {.line = t.rank == 3, .solid = t.rank == 5};
  axes3 a = {.kernel = {0}};
  unsigned axes = t.rank - 2u;
  if (t.rank < 3 || t.rank > 5)
    lt_ox_refuse(c, "x is %s; images of one to three axes are read", lt_type_text(c->arena, &t));
  if (k && k->rank != t.rank)
    lt_ox_refuse(c, "its weight is %s beside x %s", lt_type_text(c->arena, k), lt_type_text(c->arena, &t));
  read_kernel(c, &a, axes, k);
  lt_ox_axis_numbers(c, "strides", axes, 1, a.stride);
  lt_ox_axis_numbers(c, "dilations", axes, 1, a.dilation);
  read_pads(c, &a, axes);
  const char *automatic = lt_ox_text(c, "auto_pad", "NOTSET");
  w.same = !strncmp(automatic, "SAME_", 5), w.upper = !strcmp(automatic, "SAME_UPPER");
  if (w.same && !w.upper && strcmp(automatic, "SAME_LOWER")) lt_ox_refuse(c, "auto_pad=%.40s is unknown", automatic);
  if (!w.same && strcmp(automatic, "NOTSET") && strcmp(automatic, "VALID"))
    lt_ox_refuse(c, "auto_pad=%.40s is unknown", automatic);
  for (int i = 0; i < 3 && strcmp(automatic, "NOTSET"); i++) a.before[i] = a.behind[i] = 0;
  if (w.same) pad_same(&a, &t, w.upper);
  w.depth = (lt_ox_axis_window){a.kernel[0], a.stride[0], a.dilation[0], a.before[0], a.behind[0]};
  w.kernel = (lt_pair){{a.kernel[1], a.kernel[2]}}, w.stride = (lt_pair){{a.stride[1], a.stride[2]}};
  w.dilation = (lt_pair){{a.dilation[1], a.dilation[2]}};
  w.pad = (lt_quad){{a.before[1], a.before[2], a.behind[1], a.behind[2]}};
  return w;
}

lt_value lt_ox_to_image(lt_onnx *c, const lt_ox_window *w, lt_value x) {
  lt_type t = lt_ox_of(c, x);
  return w->line ? lt_ox_reshape(c, x, 4, (int64_t[]){t.dim[0], t.dim[1], 1, t.dim[2]}) : x;
}

lt_value lt_ox_from_image(lt_onnx *c, const lt_ox_window *w, lt_value y) {
  lt_type t = lt_ox_of(c, y);
  return w->line ? lt_ox_reshape(c, y, 3, (int64_t[]){t.dim[0], t.dim[1], t.dim[3]}) : y;
}

/* ---- convolutions ------------------------------------------------------------------------------------------------ */

/* pads that are negative cut x off, which our convolutions do not. */
static void check_border(lt_onnx *c, const lt_ox_window *w) {
  int64_t least = LT_MIN(w->depth.before, w->depth.behind);
  for (int i = 0; i < 4; i++) least = LT_MIN(least, w->pad.v[i]);
  if (least < 0) lt_ox_refuse(c, "a negative border, %lld, is not read", (long long)least);
}

void lt_onnx_conv(lt_onnx *c) {
  lt_value in[3] = {lt_ox_in(c, 0), lt_ox_weight(c, 1), lt_ox_has(c, 2) ? lt_ox_weight(c, 2) : 0}, y;
  lt_ox_window w = lt_ox_window_of(c, in[0], lt_ox_type(c, 1));
  int64_t groups = lt_ox_int(c, "group", 1);
  check_border(c, &w);
  if (w.solid) {
    y = lt_ox_conv_volume(c, &w, in[0], in[1], in[2], groups);
  } else {
    in[0] = lt_ox_to_image(c, &w, in[0]), in[1] = lt_ox_to_image(c, &w, in[1]);
    lt_conv2d_attrs a = {.stride = w.stride, .pad = w.pad, .dilation = w.dilation, .groups = groups};
    y = lt_ox_from_image(c, &w, lt_emit(c->g, LT_OP_conv2d, &a, in, in[2] ? 3 : 2));
  }
  lt_ox_result(c, 0, y);
}

/* The size of the result along an axis, and from it the border that is cut off where output_shape or auto_pad say it;
 * what output_shape asks for beyond all there is stands behind. */
static int64_t size_of_transpose(lt_onnx *c, const lt_ox_window *w, lt_ox_axis_window *a, int64_t size, int64_t more,
                                 int64_t wanted) {
  int64_t full;
  if (!lt_mul_ok(&full, size - 1, a->stride) || !lt_add_ok(&full, full, more) ||
      !lt_add_ok(&full, full, span(a->kernel, a->dilation)))
    lt_ox_refuse(c, "its size overflows");
  if (w->same && !wanted && !lt_mul_ok(&wanted, size, a->stride)) lt_ox_refuse(c, "its size overflows");
  if (!wanted) return full - a->before - a->behind;
  int64_t all = LT_MAX(full - wanted, 0);
  a->before = w->upper ? all / 2 : all - all / 2;
  a->behind = all - a->before;
  return wanted;
}

static lt_ox_axis_window axis_of(const lt_ox_window *w, int i) {
  return (lt_ox_axis_window){w->kernel.v[i], w->stride.v[i], w->dilation.v[i], w->pad.v[i], w->pad.v[2 + i]};
}

/* Sizes [D, H, W] of the result of ConvTranspose, and the border of w. */
static void sizes_of_transpose(lt_onnx *c, lt_ox_window *w, const lt_type *x, int64_t *size) {
  lt_ox_ints shape = {0};
  int64_t more[3];
  unsigned axes = x->rank - 2u;
  lt_ox_axis_numbers(c, "output_padding", axes, 0, more);
  lt_ox_list(c, "output_shape", &shape); /* may begin with N and C */
  size[0] = size[1] = 1;
  for (unsigned i = 3 - axes; i < 3; i++) {
    int64_t k = shape.n - 3 + i;
    lt_ox_axis_window a = i ? axis_of(w, (int)i - 1) : w->depth;
    if (w->same) a.before = a.behind = 0;
    size[i] = size_of_transpose(c, w, &a, x->dim[i + axes - 1], more[i], k >= 0 ? shape.v[k] : 0);
    if (i) w->pad.v[i - 1] = a.before, w->pad.v[i + 1] = a.behind;
    else w->depth = a;
  }
}

void lt_onnx_conv_transpose(lt_onnx *c) {
  lt_value in[3] = {lt_ox_in(c, 0), lt_ox_weight(c, 1), lt_ox_has(c, 2) ? lt_ox_weight(c, 2) : 0}, y;
  lt_ox_window w = lt_ox_window_of(c, in[0], lt_ox_type(c, 1));
  lt_type x = lt_ox_of(c, in[0]);
  int64_t groups = lt_ox_int(c, "group", 1), size[3];
  sizes_of_transpose(c, &w, &x, size);
  check_border(c, &w);
  if (w.solid) {
    y = lt_ox_deconv_volume(c, &w, in[0], in[1], in[2], groups, size);
  } else {
    in[0] = lt_ox_to_image(c, &w, in[0]), in[1] = lt_ox_to_image(c, &w, in[1]);
    lt_deconv2d_attrs a = {.stride = w.stride, .dilation = w.dilation, .groups = groups, .pad = w.pad};
    a.outsize = (lt_pair){{size[1], size[2]}};
    y = lt_ox_from_image(c, &w, lt_emit(c->g, LT_OP_deconv2d, &a, in, in[2] ? 3 : 2));
  }
  lt_ox_result(c, 0, y);
}
