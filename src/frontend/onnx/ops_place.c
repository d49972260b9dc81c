/* ops_place.c: ops that move elements to places of a known pattern or along an axis by computed amounts: caches that
 * are written to, sequences turned round, maxima put back, windows added back. */
#include "frontend/onnx/forms.h"

/* v [B] as [B, 1, …] of `rank` axes, B at `axis`. */
static lt_value of_batches(lt_onnx *c, unsigned operand, const lt_type *x, unsigned axis) {
  lt_value v = lt_cast(c->g, lt_ox_in(c, operand), LT_I64);
  lt_type t = lt_ox_of(c, v);
  int64_t dim[LT_MAX_RANK];
  if (t.rank != 1 || t.dim[0] != x->dim[axis])
    lt_ox_refuse(c, "operand %u is %s, should be [%lld]", operand + 1, lt_type_text(c->arena, &t),
                 (long long)x->dim[axis]);
  for (unsigned i = 0; i < x->rank; i++) dim[i] = i == axis ? t.dim[0] : 1;
  return lt_ox_reshape(c, v, x->rank, dim);
}

/* Where the updates are written, what they are; elsewhere the cache: place j is update j - begin. */
void lt_onnx_tensor_scatter(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), u = lt_ox_in(c, 1), begin = 0;
  lt_type t = lt_ox_of(c, x), v = lt_ox_of(c, u);
  unsigned axis = (unsigned)lt_ox_axis(c, lt_ox_int(c, "axis", -2), t.rank);
  const char *mode = lt_ox_text(c, "mode", "linear");
  bool circular = !strcmp(mode, "circular"), fits = t.rank == v.rank && axis > 0 && v.dim[axis] <= t.dim[axis];
  if (!circular && strcmp(mode, "linear")) lt_ox_refuse(c, "mode=%.40s is unknown", mode);
  for (unsigned i = 0; fits && i < t.rank; i++) fits = i == axis || t.dim[i] == v.dim[i];
  if (!fits)
    lt_ox_refuse(c, "its cache is %s, its update %s, along axis %u", lt_type_text(c->arena, &t),
                 lt_type_text(c->arena, &v), axis);
  lt_value at = iota(c, LT_I64, t.dim[axis], t.rank, axis);
  if (lt_ox_has(c, 2)) begin = of_batches(c, 2, &t, 0);
  if (begin && circular) {
    lt_value turns = with(c, LT_OP_mul, with(c, LT_OP_div, begin, (double)t.dim[axis]), (double)t.dim[axis]);
    begin = lt_ox_binary(c, LT_OP_sub, begin, turns);
  }
  if (begin) at = lt_ox_binary(c, LT_OP_sub, at, begin);
  if (begin && circular) {
    at = lt_ox_from_start(c, at, t.dim[axis]);
    lt_value over = from(c, LT_OP_less_equal, (double)t.dim[axis], at); /* it began below 0 */
    at = choose(c, over, with(c, LT_OP_sub, at, (double)t.dim[axis]), at);
  }
  lt_value in = both(c, from(c, LT_OP_less_equal, 0, at), with(c, LT_OP_less, at, (double)v.dim[axis]));
  lt_type wide = t;
  wide.dtype = LT_I64;
  at = lt_broadcast_to(c->g, choose(c, in, at, lt_ox_number(c, at, -1)), &wide);
  lt_ox_result(c, 0, choose(c, in, lt_ox_pick(c, LT_OP_gather, u, axis, at), x));
}

/* The first elements of each batch, backwards; those behind stay. */
void lt_onnx_reverse_sequence(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x), wide = t;
  int64_t time = lt_ox_int(c, "time_axis", 0), batch = lt_ox_int(c, "batch_axis", 1);
  if (t.rank < 2 || time == batch || (time | batch) & ~1)
    lt_ox_refuse(c, "x is %s, its axes are %lld and %lld", lt_type_text(c->arena, &t), (long long)time,
                 (long long)batch);
  lt_value n = of_batches(c, 1, &t, (unsigned)batch), i = iota(c, LT_I64, t.dim[time], t.rank, (unsigned)time);
  lt_value back = lt_ox_binary(c, LT_OP_sub, with(c, LT_OP_sub, n, 1), i);
  lt_value at = choose(c, lt_ox_binary(c, LT_OP_less, i, n), back, i);
  wide.dtype = LT_I64;
  lt_ox_result(c, 0, lt_ox_pick(c, LT_OP_gather, x, time, lt_broadcast_to(c->g, at, &wide)));
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

/* `n` numbers of an attribute, or `otherwise` for each. */
static void numbers(lt_onnx *c, const char *name, int64_t n, int64_t otherwise, int64_t *out) {
  lt_ox_ints list;
  bool given = lt_ox_list(c, name, &list);
  if (given && list.n != n) lt_ox_refuse(c, "%s has %lld numbers, not %lld", name, (long long)list.n, (long long)n);
  for (int64_t i = 0; i < n; i++) {
    out[i] = given ? list.v[i] : otherwise;
    if (out[i] < otherwise || out[i] > INT32_MAX) lt_ox_refuse(c, "%s has a %lld", name, (long long)out[i]);
  }
}

/* Values of windows that share a maximum are the same: they are added up and divided by how many they are. */
void lt_onnx_max_unpool(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), at = lt_ox_in(c, 1);
  lt_type t = lt_ox_of(c, x), i = lt_ox_of(c, at), y = t;
  lt_ox_ints shape = {0};
  int64_t n = (int64_t)t.rank - 2, kernel[LT_MAX_RANK], stride[LT_MAX_RANK], pads[2 * LT_MAX_RANK], count;
  if (n < 1 || i.rank != t.rank || memcmp(i.dim, t.dim, sizeof t.dim) || !lt_is_float(t.dtype))
    lt_ox_refuse(c, "x is %s, its indices %s", lt_type_text(c->arena, &t), lt_type_text(c->arena, &i));
  numbers(c, "kernel_shape", n, 1, kernel);
  numbers(c, "strides", n, 1, stride);
  numbers(c, "pads", 2 * n, 0, pads);
  for (int64_t k = 0; k < n; k++) {
    int64_t *d = &y.dim[k + 2];
    bool ok = lt_mul_ok(d, *d - 1, stride[k]) && lt_add_ok(d, *d, kernel[k] - pads[k] - pads[n + k]) && *d > 0;
    if (!ok) lt_ox_refuse(c, "its size makes no sense along axis %lld", (long long)k + 2);
  }
  if (lt_ox_has(c, 2)) shape = lt_ox_known_ints(c, 2, "output_shape");
  if (shape.n && shape.n != t.rank) lt_ox_refuse(c, "output_shape has %lld numbers", (long long)shape.n);
  lt_scatter_add_attrs a = {.axis = 0, .size = lt_type_count(&y)};
  lt_pad_attrs p = {.pads = {2 * t.rank, {0}}};
  count = lt_type_count(&t);
  x = lt_ox_reshape(c, x, 1, &count), at = lt_ox_reshape(c, at, 1, &count);
  lt_value sum = lt_emit(c->g, LT_OP_scatter_add, &a, (lt_value[]){x, at}, 2), ones = lt_fill_like(c->g, x, 1);
  lt_value times = lt_emit(c->g, LT_OP_scatter_add, &a, (lt_value[]){ones, at}, 2);
  sum = lt_ox_binary(c, LT_OP_div, sum, with(c, LT_OP_max, times, 1));
  sum = lt_ox_reshape(c, sum, t.rank, y.dim);
  for (int64_t k = 0; k < shape.n; k++) {
    p.pads.v[t.rank + k] = shape.v[k] - y.dim[k];
    if (shape.v[k] < y.dim[k])
      lt_ox_refuse(c, "output_shape says %lld for the %lld of axis %lld", (long long)shape.v[k], (long long)y.dim[k],
                   (long long)k);
  }
  lt_ox_result(c, 0, shape.n ? lt_emit(c->g, LT_OP_pad, &p, &sum, 1) : sum);
}

typedef struct blocks {
  int64_t n, image[LT_MAX_RANK], kernel[LT_MAX_RANK], dilation[LT_MAX_RANK], stride[LT_MAX_RANK], pads[2 * LT_MAX_RANK];
  int64_t count[LT_MAX_RANK]; /* of windows along each axis */
  int64_t taps, windows, all; /* of kernel, of windows, of the image */
} blocks;

/* Extents that are operands, at least 1 each; what they multiply to. */
static int64_t extents(lt_onnx *c, unsigned operand, const char *what, int64_t n, int64_t *out) {
  lt_ox_ints v = lt_ox_known_ints(c, operand, what);
  int64_t all = 1;
  if (v.n != n) lt_ox_refuse(c, "%s has %lld numbers, not %lld", what, (long long)v.n, (long long)n);
  for (int64_t i = 0; i < n; i++) {
    out[i] = v.v[i];
    if (out[i] < 1 || !lt_mul_ok(&all, all, out[i]) || all > 1 << 30)
      lt_ox_refuse(c, "%s has a %lld", what, (long long)out[i]);
  }
  return all;
}

static blocks blocks_of(lt_onnx *c) {
  blocks b = {.n = lt_ox_known_ints(c, 1, "image_shape").n, .windows = 1};
  if (b.n < 1 || b.n > LT_MAX_RANK - 2) lt_ox_refuse(c, "images of %lld axes are not read", (long long)b.n);
  b.all = extents(c, 1, "image_shape", b.n, b.image);
  b.taps = extents(c, 2, "block_shape", b.n, b.kernel);
  numbers(c, "dilations", b.n, 1, b.dilation);
  numbers(c, "strides", b.n, 1, b.stride);
  numbers(c, "pads", 2 * b.n, 0, b.pads);
  for (int64_t i = 0; i < b.n; i++) {
    int64_t room = b.image[i] + b.pads[i] + b.pads[b.n + i] - b.dilation[i] * (b.kernel[i] - 1) - 1;
    b.count[i] = room < 0 ? 0 : room / b.stride[i] + 1;
    b.windows *= b.count[i];
  }
  return b;
}

/* The place in the image of tap k of window w; -1: outside. */
static int64_t place(const blocks *b, int64_t k, int64_t w) {
  int64_t at = 0, step = 1;
  for (int64_t i = b->n; i-- > 0; k /= b->kernel[i], w /= b->count[i]) {
    int64_t p = w % b->count[i] * b->stride[i] - b->pads[i] + k % b->kernel[i] * b->dilation[i];
    if (p < 0 || p >= b->image[i]) return -1;
    at += p * step, step *= b->image[i];
  }
  return at;
}

void lt_onnx_col2im(lt_onnx *c) {
  enum { MOST = 1 << 24 };
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  blocks b = blocks_of(c);
  if (t.rank != 3 || t.dim[1] % b.taps || t.dim[2] != b.windows || !lt_is_float(t.dtype))
    lt_ox_refuse(c, "x is %s, for %lld taps and %lld windows", lt_type_text(c->arena, &t), (long long)b.taps,
                 (long long)b.windows);
  int64_t channels = t.dim[1] / b.taps, cells = b.taps * b.windows, dim[LT_MAX_RANK] = {t.dim[0], channels};
  if (cells > MOST) lt_ox_refuse(c, "its windows have %lld places, at most %d are read", (long long)cells, (int)MOST);
  int64_t *at = LT_NEW_ARRAY(c->arena, int64_t, (size_t)cells);
  for (int64_t i = 0; i < cells; i++) at[i] = place(&b, i / b.windows, i % b.windows);
  lt_type flat = lt_make_type(LT_I32, 2, (int64_t[]){t.dim[0] * channels, cells});
  lt_scatter_add_attrs a = {.axis = 1, .size = b.all};
  lt_value index = lt_broadcast_to(c->g, lt_ox_ints_const(c, LT_I32, 1, &cells, at), &flat);
  lt_value y = lt_emit(c->g, LT_OP_scatter_add, &a, (lt_value[]){lt_ox_reshape(c, x, 2, flat.dim), index}, 2);
  memcpy(dim + 2, b.image, (size_t)b.n * sizeof *dim);
  lt_ox_result(c, 0, lt_ox_reshape(c, y, (unsigned)b.n + 2, dim));
}
