/* ops_sample.c: values of images between their places: GridSample, AffineGrid, RoiAlign, DeformConv. Coordinates
 * become, axis by axis, the places around them and a weight for each; every combination of places is one gather from
 * the image with its axes as one, so that gradients flow into the image by scattering and into coordinates through the
 * weights. */
#include <math.h>

#include "frontend/onnx/forms.h"
#include "frontend/onnx/window.h"

enum { MOST_TAPS = 4, MOST_AXES = 3, MOST_SAMPLES = 64 };
/* Places of one axis, whole numbers inside it; where one is not to be seen (`seen`; 0: all are); its weight (0: 1). */
typedef struct taps { unsigned n; lt_value at[MOST_TAPS], seen[MOST_TAPS], weight[MOST_TAPS]; } taps;

static lt_value plus(lt_onnx *c, lt_value a, lt_value b) { return lt_ox_binary(c, LT_OP_add, a, b); }
static lt_value minus(lt_onnx *c, lt_value a, lt_value b) { return lt_ox_binary(c, LT_OP_sub, a, b); }
static lt_value times(lt_onnx *c, lt_value a, lt_value b) {
  return a && b ? lt_ox_binary(c, LT_OP_mul, a, b) : a ? a : b;
}
static lt_value whole(lt_onnx *c, lt_value x) { return lt_cast(c->g, un(c, LT_OP_round, x), LT_I32); }

/* ---- gathers ----------------------------------------------------------------------------------------------------- */

/* x [N, C, P] with P the product of dim[0..axes); coordinates broadcast to `to`, M elements for each of N. */
typedef struct image { lt_value x; unsigned axes; int64_t dim[MOST_AXES]; lt_type to; lt_value first; } image;

/* The values of one combination of taps, weighed: [N, C, M]. `first` is added to its place. */
static lt_value combination(lt_onnx *c, const image *m, const taps *t, unsigned k) {
  lt_value at = m->first, ok = 0, weight = 0;
  lt_type to = m->to, x = lt_ox_of(c, m->x);
  int64_t step = 1, flat[3] = {x.dim[0], 1, lt_type_count(&to) / x.dim[0]};
  for (unsigned a = m->axes; a-- > 0; k /= t[a].n) {
    unsigned i = k % t[a].n;
    lt_value part = step == 1 ? t[a].at[i] : with(c, LT_OP_mul, t[a].at[i], (double)step);
    at = at ? plus(c, at, part) : part;
    ok = both(c, ok, t[a].seen[i]), weight = times(c, weight, t[a].weight[i]);
    step *= m->dim[a];
  }
  if (ok) at = choose(c, ok, at, lt_ox_number(c, at, -1));
  to.dtype = LT_I32;
  lt_type all = lt_make_type(LT_I32, 3, (int64_t[]){flat[0], x.dim[1], flat[2]});
  at = lt_broadcast_to(c->g, lt_ox_reshape(c, lt_broadcast_to(c->g, at, &to), 3, flat), &all);
  lt_value y = lt_ox_pick(c, LT_OP_gather, m->x, 2, at);
  if (!weight) return y;
  to.dtype = x.dtype;
  return times(c, y, lt_ox_reshape(c, lt_broadcast_to(c->g, weight, &to), 3, flat));
}

/* All of them: their sum, or with `op` max the largest. */
static lt_value combined(lt_onnx *c, const image *m, const taps *t, lt_op op) {
  lt_value y = 0;
  unsigned n = 1;
  for (unsigned a = 0; a < m->axes; a++) n *= t[a].n;
  for (unsigned k = 0; k < n; k++) {
    lt_value v = combination(c, m, t, k);
    y = y ? lt_ox_binary(c, op, y, v) : v;
  }
  return y;
}

static void check_plane(lt_onnx *c, const int64_t *dim, unsigned axes, int64_t images) {
  for (unsigned a = 0; a < axes; a++)
    if (!lt_mul_ok(&images, images, dim[a]) || images > INT32_MAX) lt_ox_refuse(c, "its images are too large");
}

/* ---- GridSample -------------------------------------------------------------------------------------------------- */

typedef enum padding { ZEROS, BORDER, REFLECTION } padding;
typedef struct sampling { unsigned taps; padding pad; bool corners; } sampling;

/* v thrown back at lo and hi as often as it takes. */
static lt_value reflected(lt_onnx *c, lt_value v, double lo, double hi) {
  double turn = 2 * (hi - lo);
  if (turn == 0) return limited(c, v, lo, hi);
  lt_value from_lo = with(c, LT_OP_sub, v, lo), turns = un(c, LT_OP_floor, with(c, LT_OP_div, from_lo, turn));
  lt_value rest = minus(c, from_lo, with(c, LT_OP_mul, turns, turn)), back = from(c, LT_OP_sub, turn, rest);
  lt_value y = with(c, LT_OP_add, lt_ox_binary(c, LT_OP_min, rest, back), lo);
  lt_value in = both(c, from(c, LT_OP_less_equal, lo, v), with(c, LT_OP_less_equal, v, hi));
  return choose(c, in, v, y);
}

/* A coordinate in [-1, 1] as one in elements, brought inside where the padding says so; of the four places of a cubic
 * each is brought inside by itself. */
static lt_value coordinate(lt_onnx *c, const sampling *s, lt_value v, int64_t size) {
  double n = (double)size, lo = s->corners ? 0 : -0.5, hi = s->corners ? n - 1 : n - 0.5;
  lt_value up = with(c, LT_OP_add, v, 1);
  if (s->corners) v = with(c, LT_OP_mul, with(c, LT_OP_div, up, 2), n - 1);
  else v = with(c, LT_OP_div, with(c, LT_OP_sub, with(c, LT_OP_mul, up, n), 1), 2);
  if (s->taps == 1) v = un(c, LT_OP_round, v);
  if (s->pad == REFLECTION) return reflected(c, v, lo, hi);
  if (s->pad == ZEROS || s->taps == 4) return v;
  lt_value in = both(c, from(c, LT_OP_less_equal, lo, v), with(c, LT_OP_less_equal, v, hi));
  return choose(c, in, v, limited(c, v, 0, n - 1));
}

/* Place i, a whole number, as one inside. */
static void put_tap(lt_onnx *c, const sampling *s, taps *t, lt_value i, lt_value weight, int64_t size) {
  double last = (double)(size - 1);
  unsigned k = t->n++;
  if (s->pad == ZEROS) t->seen[k] = both(c, from(c, LT_OP_less_equal, 0, i), with(c, LT_OP_less_equal, i, last));
  else t->seen[k] = 0;
  if (s->pad == REFLECTION) i = reflected(c, i, s->corners ? 0 : -0.5, s->corners ? last : last + 0.5);
  t->at[k] = whole(c, limited(c, i, 0, last));
  t->weight[k] = weight;
}

/* a + b x + c x² + d x³ */
static lt_value cubic(lt_onnx *c, lt_value x, const double *k) {
  lt_value y = with(c, LT_OP_add, with(c, LT_OP_mul, x, k[3]), k[2]);
  y = with(c, LT_OP_add, lt_ox_binary(c, LT_OP_mul, y, x), k[1]);
  return with(c, LT_OP_add, lt_ox_binary(c, LT_OP_mul, y, x), k[0]);
}

/* Weights of the four places around, by the distance from the second (Keys, a = -3/4). */
static const double keys[4][4] = {
  {0, -0.75, 1.5, -0.75}, {1, 0, -2.25, 1.25}, {0, 0.75, 1.5, -1.25}, {0, 0, -0.75, 0.75}};

static taps taps_of(lt_onnx *c, const sampling *s, lt_value v, int64_t size) {
  taps t = {0};
  lt_value low = s->taps == 1 ? v : un(c, LT_OP_floor, v), over = minus(c, v, low);
  if (s->taps == 1) put_tap(c, s, &t, low, 0, size);
  for (int k = 0; k < 2 && s->taps == 2; k++)
    put_tap(c, s, &t, k ? with(c, LT_OP_add, low, 1) : low, k ? over : from(c, LT_OP_sub, 1, over), size);
  for (int k = 0; k < 4 && s->taps == 4; k++)
    put_tap(c, s, &t, with(c, LT_OP_add, low, k - 1), cubic(c, over, keys[k]), size);
  return t;
}

static sampling read_sampling(lt_onnx *c) {
  static const char *const paddings[] = {"zeros", "border", "reflection"};
  const char *mode = lt_ox_text(c, "mode", "linear"), *pad = lt_ox_text(c, "padding_mode", "zeros");
  sampling s = {.corners = lt_ox_int(c, "align_corners", 0)};
  if (!strcmp(mode, "linear") || !strcmp(mode, "bilinear")) s.taps = 2;
  if (!strcmp(mode, "nearest")) s.taps = 1;
  if (!strcmp(mode, "cubic") || !strcmp(mode, "bicubic")) s.taps = 4;
  if (!s.taps) lt_ox_refuse(c, "mode=%.40s is unknown", mode);
  unsigned p = 0;
  while (p < LT_COUNT(paddings) && strcmp(paddings[p], pad)) p++;
  if (p == LT_COUNT(paddings)) lt_ox_refuse(c, "padding_mode=%.40s is unknown", pad);
  s.pad = (padding)p;
  return s;
}

/* Component i of the last axis, of `count` elements in each image: [N, M] */
static lt_value component(lt_onnx *c, lt_value grid, int64_t i) {
  lt_type t = lt_ox_of(c, grid);
  int64_t dim[2] = {t.dim[0], lt_type_count(&t) / t.dim[0] / t.dim[t.rank - 1]};
  return lt_ox_reshape(c, lt_ox_slice(c, grid, t.rank - 1, i, i + 1), 2, dim);
}

void lt_onnx_grid_sample(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), grid = lt_ox_in(c, 1);
  lt_type t = lt_ox_of(c, x), g = lt_ox_of(c, grid), y = g;
  unsigned axes = t.rank - 2u;
  taps at[MOST_AXES];
  if (t.rank < 3 || t.rank > 5 || g.rank != t.rank || g.dim[0] != t.dim[0] || g.dim[g.rank - 1] != axes ||
      g.dtype != t.dtype)
    lt_ox_refuse(c, "x is %s, its grid %s", lt_type_text(c->arena, &t), lt_type_text(c->arena, &g));
  sampling s = read_sampling(c);
  int64_t planes[3] = {t.dim[0], t.dim[1], lt_type_count(&t) / t.dim[0] / t.dim[1]};
  image m = {.x = lt_ox_reshape(c, x, 3, planes), .axes = axes};
  check_plane(c, t.dim + 2, axes, 1);
  m.to = lt_make_type(t.dtype, 2, (int64_t[]){g.dim[0], lt_type_count(&g) / g.dim[0] / axes});
  for (unsigned a = 0; a < axes; a++) { /* the grid names the last axis first */
    m.dim[a] = t.dim[2 + a];
    at[a] = taps_of(c, &s, coordinate(c, &s, component(c, grid, axes - 1 - a), t.dim[2 + a]), t.dim[2 + a]);
  }
  memmove(y.dim + 2, g.dim + 1, axes * sizeof *y.dim);
  y.dim[1] = t.dim[1];
  lt_ox_result(c, 0, lt_ox_reshape(c, combined(c, &m, at, LT_OP_add), t.rank, y.dim));
}

/* ---- AffineGrid -------------------------------------------------------------------------------------------------- */

/* theta [N, k, k + 1] times every place of an image in [-1, 1], and 1. */
void lt_onnx_affine_grid(lt_onnx *c) {
  enum { MOST = 1 << 24 };
  lt_value theta = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, theta);
  lt_ox_ints size = lt_ox_known_ints(c, 1, "size");
  int64_t k = size.n - 2, n = 1, dim[LT_MAX_RANK] = {t.dim[0]};
  bool corners = lt_ox_int(c, "align_corners", 0);
  if (k < 2 || k > 3 || t.rank != 3 || t.dim[1] != k || t.dim[2] != k + 1 || size.v[0] != t.dim[0])
    lt_ox_refuse(c, "theta is %s, for %lld axes", lt_type_text(c->arena, &t), (long long)k);
  for (int64_t i = 0; i < k; i++) {
    int64_t d = dim[1 + i] = size.v[2 + i];
    if (d < 1 + corners || !lt_mul_ok(&n, n, d) || n > MOST / (k + 1))
      lt_ox_refuse(c, "its size is %lld along axis %lld", (long long)d, (long long)i + 2);
  }
  lt_type base = lt_make_type(t.dtype, 3, (int64_t[]){1, n, k + 1});
  lt_tensor *at = lt_tensor_new(c->arena, &base);
  for (int64_t p = 0; p < n; p++) {
    int64_t rest = p;
    for (int64_t i = 0; i < k; rest /= size.v[1 + k - i], i++) { /* the last axis first */
      int64_t d = size.v[1 + k - i];
      double step = 2.0 / (double)(corners ? d - 1 : d), v = -1 + step * ((double)(rest % d) + (corners ? 0 : 0.5));
      at->f[p * (k + 1) + i] = lt_dtype_round(t.dtype, v);
    }
    at->f[p * (k + 1) + k] = 1;
  }
  lt_matmul_attrs m = {.transpose_b = true};
  lt_value y = lt_emit(c->g, LT_OP_matmul, &m, (lt_value[]){lt_const_tensor(c->g, at), theta}, 2);
  dim[1 + k] = k;
  lt_ox_result(c, 0, lt_ox_reshape(c, y, (unsigned)k + 2, dim));
}

/* ---- RoiAlign ---------------------------------------------------------------------------------------------------- */

typedef struct regions {
  lt_value rois;
  int64_t n, samples[2]; /* in a bin, along y and x: of the region that has most */
  double scale, offset;
  bool half, adaptive;
  lt_value count[2], valid[2]; /* adaptive: how many each region has, [R, 1]; which they are, [R, bins·samples] */
} regions;

/* With sampling_ratio=0 a bin has a sample for each element of its length; places of all as parts of the region. */
static lt_value adaptive_parts(lt_onnx *c, regions *r, int axis, lt_value length, int64_t bins) {
  lt_value count = with(c, LT_OP_div, length, (double)bins);
  count = r->count[axis] = un(c, LT_OP_neg, un(c, LT_OP_floor, un(c, LT_OP_neg, count)));
  const lt_tensor *known = lt_onnx_known(c, count);
  if (!known) lt_ox_known_float(c, 1, "regions (sampling_ratio=0 counts by them)"); /* tells what they depend on */
  double most = 1;
  for (int64_t i = 0; known && i < r->n; i++) most = LT_MAX(most, known->f[i]);
  if (!(most <= MOST_SAMPLES))
    lt_ox_refuse(c, "a bin has %g samples along an axis, up to %d are read", most, (int)MOST_SAMPLES);
  int64_t n = r->samples[axis] = (int64_t)most;
  int64_t *bin = LT_NEW_ARRAY(c->arena, int64_t, (size_t)(bins * n)),
          *sample = LT_NEW_ARRAY(c->arena, int64_t, (size_t)(bins * n));
  for (int64_t i = 0; i < bins * n; i++) bin[i] = i / n, sample[i] = i % n;
  lt_dtype t = lt_ox_of(c, length).dtype;
  lt_value k = lt_cast(c->g, lt_ox_ints_const(c, LT_I32, 2, (int64_t[]){1, bins * n}, sample), t);
  lt_value b = lt_cast(c->g, lt_ox_ints_const(c, LT_I32, 2, (int64_t[]){1, bins * n}, bin), t);
  r->valid[axis] = lt_ox_binary(c, LT_OP_less, k, count);
  lt_value in_bin = lt_ox_binary(c, LT_OP_div, with(c, LT_OP_add, k, 0.5), with(c, LT_OP_max, count, 1));
  return with(c, LT_OP_div, plus(c, b, in_bin), (double)bins);
}

static lt_value equal_parts(lt_onnx *c, const regions *r, int axis, int64_t bins) {
  lt_value i = lt_cast(c->g, iota(c, LT_I32, bins * r->samples[axis], 2, 1), lt_ox_of(c, r->rois).dtype);
  return with(c, LT_OP_div, with(c, LT_OP_add, i, 0.5), (double)(bins * r->samples[axis]));
}

/* Both places around the samples of each region along an axis, [R, bins·samples]; what is more than one element outside
 * has the weight 0, and so have samples that a region does not have. */
static taps taps_of_regions(lt_onnx *c, regions *r, int axis, int64_t bins, int64_t size) {
  lt_value edge[2];
  taps t = {.n = 2};
  for (int i = 0; i < 2; i++) { /* x stands before y */
    edge[i] = lt_ox_slice(c, r->rois, 1, 1 - axis + 2 * i, 2 - axis + 2 * i);
    edge[i] = with(c, LT_OP_sub, with(c, LT_OP_mul, edge[i], r->scale), r->offset);
  }
  lt_value length = minus(c, edge[1], edge[0]);
  if (!r->half) length = with(c, LT_OP_max, length, 1);
  lt_value part = r->adaptive ? adaptive_parts(c, r, axis, length, bins) : equal_parts(c, r, axis, bins);
  lt_value v = plus(c, edge[0], times(c, length, part));
  lt_value in = both(c, from(c, LT_OP_less_equal, -1, v), with(c, LT_OP_less_equal, v, (double)size));
  in = both(c, in, r->valid[axis]);
  v = limited(c, v, 0, (double)(size - 1));
  lt_value low = un(c, LT_OP_floor, v), over = minus(c, v, low), none = lt_ox_number(c, over, 0);
  t.at[0] = whole(c, low);
  t.at[1] = whole(c, limited(c, with(c, LT_OP_add, low, 1), 0, (double)(size - 1)));
  t.weight[0] = choose(c, in, from(c, LT_OP_sub, 1, over), none), t.weight[1] = choose(c, in, over, none);
  return t;
}

/* Of values [R, n] as [R, n, 1] or [R, 1, n]. */
static void spread(lt_onnx *c, taps *t, int64_t rows, int64_t n, bool last) {
  int64_t dim[3] = {rows, last ? 1 : n, last ? n : 1};
  for (unsigned k = 0; k < t->n; k++) {
    t->at[k] = lt_ox_reshape(c, t->at[k], 3, dim);
    t->weight[k] = lt_ox_reshape(c, t->weight[k], 3, dim);
  }
}

static regions read_regions(lt_onnx *c) {
  regions r = {.rois = lt_ox_in(c, 1), .adaptive = !lt_ox_int(c, "sampling_ratio", 0)};
  lt_type t = lt_ox_of(c, r.rois), b = *lt_ox_type(c, 2);
  const char *how = lt_ox_text(c, "coordinate_transformation_mode", c->opset < 16 ? "output_half_pixel" : "half_pixel");
  r.n = t.dim[0], r.scale = lt_ox_float(c, "spatial_scale", 1);
  r.half = !strcmp(how, "half_pixel"), r.offset = r.half ? 0.5 : 0;
  if (!r.half && strcmp(how, "output_half_pixel"))
    lt_ox_refuse(c, "coordinate_transformation_mode=%.40s is unknown", how);
  if (t.rank != 2 || t.dim[1] != 4 || b.rank != 1 || b.dim[0] != r.n)
    lt_ox_refuse(c, "its regions are %s, their images %s", lt_type_text(c->arena, &t), lt_type_text(c->arena, &b));
  r.samples[0] = r.samples[1] = lt_ox_int(c, "sampling_ratio", 0);
  if (r.samples[0] < 0 || r.samples[0] > MOST_SAMPLES)
    lt_ox_refuse(c, "sampling_ratio=%lld, up to %d are read", (long long)r.samples[0], (int)MOST_SAMPLES);
  return r;
}

/* [C, R, h, samples, w, samples] → [C, R, h, w]: the mean of a bin's samples, or the largest; of none 0. */
static lt_value of_bins(lt_onnx *c, const regions *r, lt_value y, bool max) {
  const lt_ints axes = {2, {3, 5}};
  lt_type t = lt_ox_of(c, y);
  if (!r->adaptive) return lt_ox_reduce(c, max ? LT_OP_reduce_max : LT_OP_mean, y, &axes, false);
  lt_value none = lt_ox_number(c, y, 0);
  lt_value high = lt_ox_reshape(c, r->valid[0], 6, (int64_t[]){1, r->n, t.dim[2], t.dim[3], 1, 1});
  lt_value wide = lt_ox_reshape(c, r->valid[1], 6, (int64_t[]){1, r->n, 1, 1, t.dim[4], t.dim[5]});
  lt_value count = times(c, with(c, LT_OP_max, r->count[0], 0), with(c, LT_OP_max, r->count[1], 0));
  count = lt_ox_reshape(c, count, 4, (int64_t[]){1, r->n, 1, 1});
  if (!max)
    return lt_ox_binary(c, LT_OP_div, lt_ox_reduce(c, LT_OP_sum, y, &axes, false), with(c, LT_OP_max, count, 1));
  y = choose(c, both(c, high, wide), y, lt_ox_number(c, y, -INFINITY));
  return choose(c, from(c, LT_OP_less, 0, count), lt_ox_reduce(c, LT_OP_reduce_max, y, &axes, false), none);
}

/* All images side by side are one: the axis of channels first. */
void lt_onnx_roi_align(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), of = lt_ox_in(c, 2);
  lt_type t = lt_ox_of(c, x);
  regions r = read_regions(c);
  int64_t h = lt_ox_int(c, "output_height", 1), w = lt_ox_int(c, "output_width", 1), ch = t.dim[1];
  const char *mode = lt_ox_text(c, "mode", "avg");
  bool max = !strcmp(mode, "max");
  if (!max && strcmp(mode, "avg")) lt_ox_refuse(c, "mode=%.40s is unknown", mode);
  if (t.rank != 4 || h < 1 || w < 1 || h > 1 << 15 || w > 1 << 15)
    lt_ox_refuse(c, "x is %s, its result %lld by %lld", lt_type_text(c->arena, &t), (long long)h, (long long)w);
  check_plane(c, t.dim + 2, 2, t.dim[0]);
  image m = {.axes = 2, .dim = {t.dim[2], t.dim[3]}};
  x = lt_transpose(c->g, x, (const int64_t[]){1, 0, 2, 3});
  m.x = lt_ox_reshape(c, x, 3, (int64_t[]){1, ch, t.dim[0] * t.dim[2] * t.dim[3]});
  taps at[2];
  at[0] = taps_of_regions(c, &r, 0, h, t.dim[2]), at[1] = taps_of_regions(c, &r, 1, w, t.dim[3]);
  int64_t high = h * r.samples[0], wide = w * r.samples[1];
  spread(c, &at[0], r.n, high, false), spread(c, &at[1], r.n, wide, true);
  of = lt_cast(c->g, lt_ox_from_start(c, of, t.dim[0]), LT_I32);
  m.first = lt_ox_reshape(c, with(c, LT_OP_mul, of, (double)(t.dim[2] * t.dim[3])), 3, (int64_t[]){r.n, 1, 1});
  m.to = lt_make_type(t.dtype, 3, (int64_t[]){r.n, high, wide});
  lt_value y = combined(c, &m, at, max ? LT_OP_max : LT_OP_add);
  y = lt_ox_reshape(c, y, 6, (int64_t[]){ch, r.n, h, r.samples[0], w, r.samples[1]});
  lt_ox_result(c, 0, lt_transpose(c->g, of_bins(c, &r, y, max), (const int64_t[]){1, 0, 2, 3}));
}

/* ---- DeformConv -------------------------------------------------------------------------------------------------- */

/* What a deformed window looks at: taps and positions, both of planes. */
typedef struct deformed { lt_value x, offset, mask; lt_ox_window w; int64_t taps, h, wide; } deformed;

/* Where tap k stands at position p before it is moved, along an axis: [K, P] */
static lt_value grid_of_taps(lt_onnx *c, const deformed *d, int axis, lt_dtype t) {
  lt_type type = lt_make_type(t, 2, (int64_t[]){d->taps, d->h * d->wide});
  lt_tensor *at = lt_tensor_new(c->arena, &type);
  for (int64_t i = 0; i < lt_type_count(&type); i++) {
    int64_t k = i / type.dim[1], p = i % type.dim[1];
    int64_t tap = axis ? k % d->w.kernel.v[1] : k / d->w.kernel.v[1], to = axis ? p % d->wide : p / d->wide;
    at->f[i] = (double)(to * d->w.stride.v[axis] - d->w.pad.v[axis] + tap * d->w.dilation.v[axis]);
  }
  return lt_const_tensor(c->g, at);
}

/* Group j of offsets, of `groups`: its channels at all taps and positions, [N, C/groups, K·P] */
static lt_value columns(lt_onnx *c, const deformed *d, int64_t j, int64_t groups) {
  static const sampling s = {.taps = 2, .pad = ZEROS};
  lt_type t = lt_ox_of(c, d->x);
  int64_t n = t.dim[0], each = t.dim[1] / groups, k = d->taps, p = d->h * d->wide;
  lt_value x = lt_ox_slice(c, d->x, 1, j * each, (j + 1) * each);
  lt_value moved = lt_ox_slice(c, d->offset, 1, j * k * 2, (j + 1) * k * 2);
  image m = {.axes = 2, .dim = {t.dim[2], t.dim[3]}, .to = lt_make_type(t.dtype, 2, (int64_t[]){n, k * p})};
  taps at[2];
  m.x = lt_ox_reshape(c, x, 3, (int64_t[]){n, each, t.dim[2] * t.dim[3]});
  moved = lt_ox_reshape(c, moved, 4, (int64_t[]){n, k, 2, p});
  for (int a = 0; a < 2; a++) {
    lt_value by = lt_ox_reshape(c, lt_ox_slice(c, moved, 2, a, a + 1), 3, (int64_t[]){n, k, p});
    by = plus(c, by, grid_of_taps(c, d, a, t.dtype));
    at[a] = taps_of(c, &s, lt_ox_reshape(c, by, 2, m.to.dim), t.dim[2 + a]);
  }
  lt_value y = combined(c, &m, at, LT_OP_add);
  if (!d->mask) return y;
  lt_value mask = lt_ox_slice(c, d->mask, 1, j * k, (j + 1) * k);
  return times(c, y, lt_ox_reshape(c, mask, 3, (int64_t[]){n, 1, k * p}));
}

static deformed read_deformed(lt_onnx *c, int64_t groups) {
  deformed d = {.x = lt_ox_in(c, 0), .offset = lt_ox_in(c, 2), .mask = lt_ox_has(c, 4) ? lt_ox_in(c, 4) : 0};
  lt_type x = lt_ox_of(c, d.x), o = lt_ox_of(c, d.offset), m = d.mask ? lt_ox_of(c, d.mask) : o;
  if (x.rank != 4) lt_ox_refuse(c, "x is %s; images of two axes are read", lt_type_text(c->arena, &x));
  d.w = lt_ox_window_of(c, d.x, lt_ox_type(c, 1));
  d.taps = d.w.kernel.v[0] * d.w.kernel.v[1];
  bool ok = o.rank == 4 && o.dim[0] == x.dim[0] && groups >= 1 && x.dim[1] % groups == 0;
  for (int a = 0; a < 2 && ok; a++) {
    int64_t room = x.dim[2 + a] + d.w.pad.v[a] + d.w.pad.v[2 + a] - d.w.dilation.v[a] * (d.w.kernel.v[a] - 1) - 1;
    ok = d.w.stride.v[a] >= 1 && room >= 0 && room / d.w.stride.v[a] + 1 == o.dim[2 + a];
  }
  ok = ok && o.dim[1] == groups * d.taps * 2 && m.rank == 4 && m.dim[2] == o.dim[2] && m.dim[3] == o.dim[3];
  if (!ok || (d.mask && m.dim[1] != groups * d.taps))
    lt_ox_refuse(c, "x is %s, its offsets %s, its mask %s", lt_type_text(c->arena, &x), lt_type_text(c->arena, &o),
                 d.mask ? lt_type_text(c->arena, &m) : "none");
  d.h = o.dim[2], d.wide = o.dim[3];
  check_plane(c, x.dim + 2, 2, 1);
  return d;
}

void lt_onnx_deform_conv(lt_onnx *c) {
  int64_t groups = lt_ox_int(c, "group", 1), moved = lt_ox_int(c, "offset_group", 1);
  deformed d = read_deformed(c, moved);
  lt_type t = lt_ox_of(c, d.x), k = *lt_ox_type(c, 1);
  lt_value *part = LT_NEW_ARRAY(c->arena, lt_value, (size_t)moved), w = lt_ox_weight(c, 1);
  if (groups < 1 || k.dim[0] % groups || k.dim[1] * groups != t.dim[1])
    lt_ox_refuse(c, "its weight is %s beside x %s", lt_type_text(c->arena, &k), lt_type_text(c->arena, &t));
  for (int64_t j = 0; j < moved; j++) part[j] = columns(c, &d, j, moved);
  int64_t n = t.dim[0], in = k.dim[1] * d.taps, out = k.dim[0], p = d.h * d.wide;
  lt_value x = lt_ox_reshape(c, lt_ox_concat(c, part, (unsigned)moved, 1), 4, (int64_t[]){n, groups, in, p});
  w = lt_ox_reshape(c, w, 3, (int64_t[]){groups, out / groups, in});
  lt_value y = lt_emit(c->g, LT_OP_matmul, NULL, (lt_value[]){w, x}, 2);
  y = lt_ox_reshape(c, y, 4, (int64_t[]){n, out, d.h, d.wide});
  if (lt_ox_has(c, 3)) y = plus(c, y, lt_ox_per_channel(c, lt_ox_weight(c, 3), 4));
  lt_ox_result(c, 0, y);
}
