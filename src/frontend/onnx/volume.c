/* volume.c: windows over three axes, [N, C, D, H, W], as those of ours over planes: poolings are made of one over
 * planes and one along depth; a convolution takes the planes of its taps as channels; a transposed one gives a plane
 * for each tap, which are added up along depth. */
#include "frontend/onnx/window.h"

/* ---- poolings ---------------------------------------------------------------------------------------------------- */

/* Over planes and along depth, which is then the height of an image as wide as a plane. */
static void split(const lt_ox_window *w, lt_ox_window *flat, lt_ox_window *deep) {
  *flat = *w, flat->solid = false;
  *deep = (lt_ox_window){.kernel = {{w->depth.kernel, 1}}, .stride = {{w->depth.stride, 1}}, .ceil = w->ceil};
  deep->dilation = (lt_pair){{w->depth.dilation, 1}}, deep->pad = (lt_quad){{w->depth.before, 0, w->depth.behind, 0}};
}

/* Planes of all depths as channels. */
static lt_value as_planes(lt_onnx *c, lt_value x) {
  lt_type t = lt_ox_of(c, x);
  return lt_ox_reshape(c, x, 4, (int64_t[]){t.dim[0], t.dim[1] * t.dim[2], t.dim[3], t.dim[4]});
}

/* Of planes: depth as height again, beside all of a plane. */
static lt_value as_columns(lt_onnx *c, lt_value planes, const lt_type *x) {
  lt_type p = lt_ox_of(c, planes);
  return lt_ox_reshape(c, planes, 4, (int64_t[]){x->dim[0], x->dim[1], x->dim[2], p.dim[2] * p.dim[3]});
}

static lt_value as_volume(lt_onnx *c, lt_value columns, const lt_type *planes) {
  lt_type t = lt_ox_of(c, columns);
  return lt_ox_reshape(c, columns, 5, (int64_t[]){t.dim[0], t.dim[1], t.dim[2], planes->dim[2], planes->dim[3]});
}

lt_value lt_ox_pool_volume(lt_onnx *c, const lt_ox_window *w, lt_value x, lt_ox_pooling *pool, void *ctx) {
  lt_type t = lt_ox_of(c, x);
  lt_ox_window flat, deep;
  split(w, &flat, &deep);
  lt_value y = pool(c, &flat, as_planes(c, x), ctx);
  lt_type p = lt_ox_of(c, y);
  return as_volume(c, pool(c, &deep, as_columns(c, y, &t), ctx), &p);
}

/* The plane whose maximum is the largest, then the place in it. */
lt_value lt_ox_index_volume(lt_onnx *c, const lt_ox_window *w, lt_value x, lt_ox_pooling *max, lt_ox_pooling *index) {
  lt_type t = lt_ox_of(c, x);
  lt_ox_window flat, deep;
  split(w, &flat, &deep);
  lt_value planes = as_planes(c, x), top = max(c, &flat, planes, NULL), at = index(c, &flat, planes, NULL);
  lt_type p = lt_ox_of(c, top);
  lt_value plane = index(c, &deep, as_columns(c, top, &t), NULL);
  plane = lt_ox_binary(c, LT_OP_div, plane, lt_ox_number(c, plane, (double)(p.dim[2] * p.dim[3])));
  at = lt_ox_pick(c, LT_OP_gather, as_columns(c, at, &t), 2, plane);
  plane = lt_cast(c->g, plane, LT_I64), at = lt_cast(c->g, at, LT_I64);
  lt_value first = lt_ox_binary(c, LT_OP_mul, plane, lt_ox_number(c, plane, (double)(t.dim[3] * t.dim[4])));
  return as_volume(c, lt_ox_binary(c, LT_OP_add, first, at), &p);
}

/* ---- convolution ------------------------------------------------------------------------------------------------- */

/* The depth that tap k of window i sees; -1 in the border, where take gives 0. */
static lt_value depths(lt_onnx *c, const lt_ox_axis_window *w, int64_t size, int64_t *windows) {
  int64_t reach, room;
  bool ok = w->kernel >= 1 && w->stride >= 1 && w->dilation >= 1 && lt_mul_ok(&reach, w->kernel - 1, w->dilation);
  ok = ok && lt_add_ok(&room, size, w->before) && lt_add_ok(&room, room, w->behind) && lt_add_ok(&room, room, -reach);
  if (!ok || room < 1 || room / w->stride > 1 << 24)
    lt_ox_refuse(c, "its window does not fit along the depth of %lld", (long long)size);
  *windows = (room - 1) / w->stride + 1;
  int64_t n = *windows * w->kernel, *at = LT_NEW_ARRAY(c->arena, int64_t, (size_t)n);
  for (int64_t i = 0; i < n; i++) {
    at[i] = i / w->kernel * w->stride - w->before + i % w->kernel * w->dilation;
    if (at[i] < 0 || at[i] >= size) at[i] = -1;
  }
  return lt_ox_ints_const(c, LT_I32, 1, &n, at);
}

static lt_value turn(lt_onnx *c, lt_value x, const int64_t *perm) { return lt_transpose(c->g, x, perm); }

/* Of weights [A, B, K, H, W]: [A, B·K, H, W] */
static lt_value taps_as_channels(lt_onnx *c, lt_value k) {
  lt_type t = lt_ox_of(c, k);
  return lt_ox_reshape(c, k, 4, (int64_t[]){t.dim[0], t.dim[1] * t.dim[2], t.dim[3], t.dim[4]});
}

lt_value lt_ox_conv_volume(lt_onnx *c, const lt_ox_window *w, lt_value x, lt_value k, lt_value b, int64_t groups) {
  lt_type t = lt_ox_of(c, x);
  int64_t n = t.dim[0], ch = t.dim[1], windows, taps = w->depth.kernel;
  lt_value at = depths(c, &w->depth, t.dim[2], &windows);
  x = lt_ox_reshape(c, lt_ox_pick(c, LT_OP_take, x, 2, at), 6, (int64_t[]){n, ch, windows, taps, t.dim[3], t.dim[4]});
  x = turn(c, x, (const int64_t[]){0, 2, 1, 3, 4, 5});
  x = lt_ox_reshape(c, x, 4, (int64_t[]){n * windows, ch * taps, t.dim[3], t.dim[4]});
  lt_conv2d_attrs a = {.stride = w->stride, .pad = w->pad, .dilation = w->dilation, .groups = groups};
  lt_value y = lt_emit(c->g, LT_OP_conv2d, &a, (lt_value[]){x, taps_as_channels(c, k), b}, b ? 3 : 2);
  lt_type p = lt_ox_of(c, y);
  y = lt_ox_reshape(c, y, 5, (int64_t[]){n, windows, p.dim[1], p.dim[2], p.dim[3]});
  return turn(c, y, (const int64_t[]){0, 2, 1, 3, 4});
}

/* Planes [first, first + n) of y along axis 2, zeros behind the last. */
static lt_value depth_part(lt_onnx *c, lt_value y, int64_t first, int64_t n) {
  int64_t size = lt_ox_of(c, y).dim[2], rank = lt_ox_of(c, y).rank;
  lt_pad_attrs p = {.pads = {2 * rank, {0}}};
  if (n < 1 || first >= size) lt_ox_refuse(c, "nothing is left of its depth");
  p.pads.v[rank + 2] = LT_MAX(first + n - size, 0);
  y = lt_ox_slice(c, y, 2, first, LT_MIN(first + n, size));
  return p.pads.v[rank + 2] ? lt_emit(c->g, LT_OP_pad, &p, &y, 1) : y;
}

lt_value lt_ox_deconv_volume(lt_onnx *c, const lt_ox_window *w, lt_value x, lt_value k, lt_value b, int64_t groups,
                             const int64_t *size) {
  lt_type t = lt_ox_of(c, x);
  int64_t n = t.dim[0], deep = t.dim[2], taps = w->depth.kernel, full;
  x = turn(c, x, (const int64_t[]){0, 2, 1, 3, 4});
  x = lt_ox_reshape(c, x, 4, (int64_t[]){n * deep, t.dim[1], t.dim[3], t.dim[4]});
  lt_deconv2d_attrs a = {.stride = w->stride, .dilation = w->dilation, .groups = groups, .pad = w->pad};
  a.outsize = (lt_pair){{size[1], size[2]}};
  lt_value y = lt_emit(c->g, LT_OP_deconv2d, &a, (lt_value[]){x, taps_as_channels(c, k)}, 2);
  int64_t out = lt_ox_of(c, y).dim[1] / taps, plane = size[1] * size[2];
  y = lt_ox_reshape(c, y, 5, (int64_t[]){n, deep, out, taps, plane});
  y = lt_ox_reshape(c, turn(c, y, (const int64_t[]){0, 2, 4, 3, 1}), 6, (int64_t[]){n, out * plane, taps, 1, deep, 1});
  if (!lt_mul_ok(&full, deep - 1, w->depth.stride) || !lt_add_ok(&full, full, (taps - 1) * w->depth.dilation + 1))
    lt_ox_refuse(c, "its size overflows");
  lt_col2im_attrs fold = {.input_shape = {4, {n, out * plane, full, 1}}, .to_matrix = false};
  fold.kernel = (lt_pair){{taps, 1}}, fold.stride = (lt_pair){{w->depth.stride, 1}};
  fold.dilation = (lt_pair){{w->depth.dilation, 1}};
  y = depth_part(c, lt_emit(c->g, LT_OP_col2im, &fold, &y, 1), w->depth.before, size[0]);
  y = lt_ox_reshape(c, y, 5, (int64_t[]){n, out, size[1], size[2], size[0]});
  y = turn(c, y, (const int64_t[]){0, 1, 4, 2, 3});
  return b ? lt_ox_binary(c, LT_OP_add, y, lt_ox_per_channel(c, b, 5)) : y;
}
