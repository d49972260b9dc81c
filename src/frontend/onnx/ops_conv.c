/* ops_conv.c: Conv and ConvTranspose, and the windows that pooling has too (window.h). What is said by auto_pad becomes
 * a border in numbers; images of one axis are seen as images of height 1. */
#include "frontend/onnx/window.h"

/* ---- windows ----------------------------------------------------------------------------------------------------- */

/* A list of a number for each axis, or `otherwise` for all; the missing height of a line is `otherwise` too. */
static lt_pair pair_of(lt_onnx *c, const char *name, unsigned axes, int64_t otherwise) {
  lt_ox_ints list;
  lt_pair p = {{otherwise, otherwise}};
  if (!lt_ox_list(c, name, &list) || !list.n) return p;
  if (list.n != axes) lt_ox_refuse(c, "%s has %lld numbers for %u axes", name, (long long)list.n, axes);
  for (unsigned i = 0; i < axes; i++) p.v[2 - axes + i] = list.v[i];
  return p;
}

static int64_t span(const lt_ox_window *w, int i) {
  int64_t reach;
  bool ok = w->kernel.v[i] >= 1 && w->dilation.v[i] >= 1 && lt_mul_ok(&reach, w->kernel.v[i] - 1, w->dilation.v[i]);
  return ok && reach < INT64_MAX / 4 ? reach + 1 : 1; /* what makes no sense is told by the op itself */
}

/* As many windows as x has strides: the border that takes, the odd one behind (UPPER) or before. */
static void pad_same(lt_ox_window *w, const lt_type *x) {
  for (int i = w->line; i < 2; i++) {
    int64_t size = x->dim[(w->line ? 1 : 2) + i], stride = LT_MAX(w->stride.v[i], 1);
    int64_t all = LT_MAX((lt_ceil_div(size, stride) - 1) * stride + span(w, i) - size, 0);
    w->pad.v[i] = w->upper ? all / 2 : all - all / 2;
    w->pad.v[2 + i] = all - w->pad.v[i];
  }
}

static void read_pads(lt_onnx *c, lt_ox_window *w, unsigned axes) {
  lt_ox_ints list;
  if (!lt_ox_list(c, "pads", &list) || !list.n) return;
  if (list.n != 2 * axes) lt_ox_refuse(c, "pads has %lld numbers for %u axes", (long long)list.n, axes);
  for (unsigned i = 0; i < axes; i++) {
    w->pad.v[2 - axes + i] = list.v[i];
    w->pad.v[4 - axes + i] = list.v[axes + i];
  }
}

lt_ox_window lt_ox_window_of(lt_onnx *c, lt_value x, const lt_type *k) {
  lt_type t = lt_ox_of(c, x);
  lt_ox_window w = {.line = t.rank == 3};
  unsigned axes = t.rank - 2u;
  if (t.rank != 3 && t.rank != 4)
    lt_ox_refuse(c, "x is %s; images of one or two axes are read%s", lt_type_text(c->arena, &t),
                 t.rank == 5 ? ", not of three" : "");
  if (k && k->rank != t.rank)
    lt_ox_refuse(c, "its weight is %s beside x %s", lt_type_text(c->arena, k), lt_type_text(c->arena, &t));
  w.kernel = pair_of(c, "kernel_shape", axes, 0);
  for (unsigned i = 0; k && i < axes; i++) {
    int64_t size = k->dim[2 + i], *own = &w.kernel.v[2 - axes + i];
    if (*own && *own != size)
      lt_ox_refuse(c, "kernel_shape says %lld and its weight is %s", (long long)*own, lt_type_text(c->arena, k));
    *own = size;
  }
  if (w.line) w.kernel.v[0] = 1;
  if (!w.kernel.v[1]) lt_ox_refuse(c, "it needs the attribute kernel_shape");
  w.stride = pair_of(c, "strides", axes, 1);
  w.dilation = pair_of(c, "dilations", axes, 1);
  const char *automatic = lt_ox_text(c, "auto_pad", "NOTSET");
  w.same = !strncmp(automatic, "SAME_", 5), w.upper = !strcmp(automatic, "SAME_UPPER");
  if (w.same && !w.upper && strcmp(automatic, "SAME_LOWER")) lt_ox_refuse(c, "auto_pad=%.40s is unknown", automatic);
  if (!w.same && strcmp(automatic, "NOTSET") && strcmp(automatic, "VALID"))
    lt_ox_refuse(c, "auto_pad=%.40s is unknown", automatic);
  read_pads(c, &w, axes);
  if (strcmp(automatic, "NOTSET")) w.pad = (lt_quad){{0}};
  if (w.same) pad_same(&w, &t);
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
  for (int i = 0; i < 4; i++)
    if (w->pad.v[i] < 0) lt_ox_refuse(c, "a negative border, %lld, is not read", (long long)w->pad.v[i]);
}

void lt_onnx_conv(lt_onnx *c) {
  lt_value in[3] = {lt_ox_in(c, 0), 0, 0};
  lt_ox_window w = lt_ox_window_of(c, in[0], lt_ox_type(c, 1));
  check_border(c, &w);
  in[1] = lt_ox_to_image(c, &w, lt_ox_weight(c, 1));
  if (lt_ox_has(c, 2)) in[2] = lt_ox_weight(c, 2);
  in[0] = lt_ox_to_image(c, &w, in[0]);
  lt_conv2d_attrs a = {.stride = w.stride, .pad = w.pad, .dilation = w.dilation, .groups = lt_ox_int(c, "group", 1)};
  lt_value y = lt_emit(c->g, LT_OP_conv2d, &a, in, in[2] ? 3 : 2);
  lt_ox_result(c, 0, lt_ox_from_image(c, &w, y));
}

/* The size of the result along an axis, and from it the border that is cut off where output_shape or auto_pad say it.
 */
static int64_t size_of_transpose(lt_onnx *c, lt_ox_window *w, int i, int64_t size, int64_t more, int64_t wanted) {
  int64_t full;
  if (!lt_mul_ok(&full, size - 1, w->stride.v[i]) || !lt_add_ok(&full, full, more) ||
      !lt_add_ok(&full, full, span(w, i)))
    lt_ox_refuse(c, "its size overflows");
  if (w->same && !wanted && !lt_mul_ok(&wanted, size, w->stride.v[i])) lt_ox_refuse(c, "its size overflows");
  if (!wanted) return full - w->pad.v[i] - w->pad.v[2 + i];
  int64_t all = full - wanted;
  if (all < 0)
    lt_ox_refuse(c, "output_shape asks for %lld elements, more than the %lld there are", (long long)wanted,
                 (long long)full);
  w->pad.v[i] = w->upper ? all / 2 : all - all / 2;
  w->pad.v[2 + i] = all - w->pad.v[i];
  return wanted;
}

void lt_onnx_conv_transpose(lt_onnx *c) {
  lt_value in[3] = {lt_ox_in(c, 0), 0, 0};
  lt_ox_window w = lt_ox_window_of(c, in[0], lt_ox_type(c, 1));
  lt_ox_ints shape = {0};
  in[1] = lt_ox_to_image(c, &w, lt_ox_weight(c, 1));
  if (lt_ox_has(c, 2)) in[2] = lt_ox_weight(c, 2);
  in[0] = lt_ox_to_image(c, &w, in[0]);
  lt_type x = lt_ox_of(c, in[0]);
  lt_pair more = pair_of(c, "output_padding", w.line ? 1 : 2, 0);
  lt_ox_list(c, "output_shape", &shape);
  if (w.same) w.pad = (lt_quad){{0}};
  lt_deconv2d_attrs a = {.stride = w.stride, .dilation = w.dilation, .groups = lt_ox_int(c, "group", 1)};
  for (int i = 0; i < 2; i++) {
    int64_t k = shape.n - 2 + i; /* output_shape may begin with N and C */
    bool own = !(w.line && !i);
    a.outsize.v[i] = own ? size_of_transpose(c, &w, i, x.dim[2 + i], more.v[i], k >= 0 ? shape.v[k] : 0) : 1;
  }
  check_border(c, &w);
  a.pad = w.pad;
  lt_value y = lt_emit(c->g, LT_OP_deconv2d, &a, in, in[2] ? 3 : 2);
  lt_ox_result(c, 0, lt_ox_from_image(c, &w, y));
}
