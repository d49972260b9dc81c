/* ops_resize.c: Resize and Upsample, one axis after another. Each element of the result is a sum of a few elements of x
 * with weights that the sizes alone fix: nearest takes one, linear two, cubic four, more where it shrinks with
 * antialias. So an axis is as many gathers with known indices, and differentiates like them. */
#include "frontend/onnx/import.h"

#include <math.h>

typedef struct resize {
  const char *mode, *place, *nearest;
  double cubic, outside; /* cubic_coeff_a, extrapolation_value */
  bool exclude, antialias;
} resize;

typedef struct axis_plan {
  int64_t n, out, taps;
  double scale, roi[2];
  int64_t *index; /* [taps][out] */
  double *weight;
  bool *beyond; /* [out]: extrapolated */
} axis_plan;

/* Where element i of the result lies in x. */
static double place_of(const resize *r, const axis_plan *a, int64_t i) {
  double x = (double)i, n = (double)a->n, out = (double)a->out, size = a->scale * n;
  if (!strcmp(r->place, "asymmetric")) return x / a->scale;
  if (!strcmp(r->place, "align_corners")) return size == 1 ? 0 : x * (n - 1) / (size - 1);
  if (!strcmp(r->place, "pytorch_half_pixel")) return out == 1 ? -0.5 : (x + 0.5) / a->scale - 0.5;
  if (!strcmp(r->place, "tf_half_pixel_for_nn")) return (x + 0.5) / a->scale;
  if (!strcmp(r->place, "half_pixel_symmetric")) {
    double adjust = out / size, centre = n / 2, offset = centre * (1 - adjust);
    return offset + (x + 0.5) / a->scale - 0.5;
  }
  if (!strcmp(r->place, "tf_crop_and_resize"))
    return out > 1 ? a->roi[0] * (n - 1) + x * (a->roi[1] - a->roi[0]) * (n - 1) / (out - 1)
                   : 0.5 * (a->roi[0] + a->roi[1]) * (n - 1);
  return (x + 0.5) / a->scale - 0.5;
}

static int64_t nearest_of(const char *how, double x) {
  if (!strcmp(how, "round_prefer_ceil")) return (int64_t)floor(x + 0.5);
  if (!strcmp(how, "floor")) return (int64_t)floor(x);
  if (!strcmp(how, "ceil")) return (int64_t)ceil(x);
  return (int64_t)ceil(x - 0.5);
}

static double cubic_weight(double a, double d) {
  d = fabs(d);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

static double weight_at(const resize *r, double d) {
  return r->mode[0] == 'c' ? cubic_weight(r->cubic, d) : LT_MAX(1 - fabs(d), 0);
}

/* The taps of element i: those within reach, an edge repeated or left out, their weights adding up to 1. */
static void fill_taps(const resize *r, axis_plan *a, int64_t i) {
  double x = place_of(r, a, i), total = 0, shrink = r->antialias ? LT_MIN(a->scale, 1) : 1;
  int64_t first = (int64_t)floor(x) - a->taps / 2 + 1;
  a->beyond[i] = !strcmp(r->place, "tf_crop_and_resize") && (x < 0 || x > (double)(a->n - 1));
  if (r->mode[0] == 'n') {
    a->index[i] = LT_MIN(LT_MAX(nearest_of(r->nearest, x), 0), a->n - 1), a->weight[i] = 1;
    return;
  }
  for (int64_t k = 0; k < a->taps; k++) {
    int64_t at = first + k;
    double w = weight_at(r, ((double)at - x) * shrink);
    if (at < 0 || at >= a->n) {
      if (r->exclude) w = 0;
      at = at < 0 ? 0 : a->n - 1;
    }
    a->index[k * a->out + i] = at, a->weight[k * a->out + i] = w;
    total += w;
  }
  for (int64_t k = 0; k < a->taps; k++) a->weight[k * a->out + i] /= total;
}

static void plan_axis(lt_onnx *c, const resize *r, axis_plan *a) {
  double reach = r->mode[0] == 'c' ? 2 : 1;
  if (r->antialias && a->scale < 1) reach = ceil(reach / a->scale);
  a->taps = r->mode[0] == 'n' ? 1 : 2 * (int64_t)reach;
  if (a->taps > 256 || a->out > 1 << 24) lt_ox_refuse(c, "it looks at %lld elements for each one", (long long)a->taps);
  a->index = LT_NEW_ARRAY(c->arena, int64_t, (size_t)(a->taps * a->out));
  a->weight = LT_NEW_ARRAY(c->arena, double, (size_t)(a->taps * a->out));
  a->beyond = LT_NEW_ARRAY(c->arena, bool, (size_t)a->out);
  for (int64_t i = 0; i < a->out; i++) fill_taps(r, a, i);
}

/* ---- one axis ---------------------------------------------------------------------------------------------------- */

/* Numbers along the axis, of x's element type. */
static lt_value along(lt_onnx *c, lt_value x, int64_t axis, int64_t n, const double *v) {
  lt_type t = lt_ox_of(c, x);
  for (unsigned k = 0; k < t.rank; k++) t.dim[k] = k == (unsigned)axis ? n : 1;
  lt_tensor *w = lt_tensor_new(c->arena, &t);
  for (int64_t i = 0; i < n; i++) lt_tensor_set(w, i, lt_dtype_round(t.dtype, v[i]));
  return lt_const_tensor(c->g, w);
}

/* Every element as often: an axis of its own that is repeated and taken in. */
static lt_value repeated(lt_onnx *c, lt_value x, int64_t axis, int64_t times) {
  lt_type t = lt_ox_of(c, x);
  int64_t before = 1, behind = 1;
  for (unsigned k = 0; k < t.rank; k++) *(k <= (unsigned)axis ? &before : &behind) *= t.dim[k];
  lt_type wide = lt_make_type(t.dtype, 3, (int64_t[]){before, times, behind});
  x = lt_broadcast_to(c->g, lt_ox_reshape(c, x, 3, (int64_t[]){before, 1, behind}), &wide);
  t.dim[axis] *= times;
  return lt_ox_reshape(c, x, t.rank, t.dim);
}

static lt_value tap(lt_onnx *c, lt_value x, int64_t axis, const axis_plan *a, int64_t k) {
  const int64_t *index = a->index + k * a->out;
  bool repeats = a->out % a->n == 0;
  for (int64_t i = 0; repeats && i < a->out; i++) repeats = index[i] == i / (a->out / a->n);
  return repeats ? repeated(c, x, axis, a->out / a->n) : lt_ox_take(c, x, axis, index, a->out);
}

static lt_value resize_axis(lt_onnx *c, const resize *r, lt_value x, int64_t axis, axis_plan *a) {
  lt_value y = 0;
  plan_axis(c, r, a);
  for (int64_t k = 0; k < a->taps; k++) {
    const double *w = a->weight + k * a->out;
    bool all = true, none = true;
    for (int64_t i = 0; i < a->out; i++) all &= w[i] == 1, none &= w[i] == 0;
    if (none) continue;
    lt_value part = tap(c, x, axis, a, k);
    if (!all) part = lt_binary(c->g, LT_OP_mul, part, along(c, x, axis, a->out, w));
    y = y ? lt_binary(c->g, LT_OP_add, y, part) : part;
  }
  return y;
}

/* Places outside x get the value instead: of all axes, after they are resized. */
static lt_value extrapolate(lt_onnx *c, const resize *r, lt_value y, int64_t axis, const axis_plan *a) {
  lt_type t = lt_ox_of(c, y);
  int64_t dim[LT_MAX_RANK], *out = LT_NEW_ARRAY(c->arena, int64_t, (size_t)a->out), any = 0;
  for (unsigned k = 0; k < t.rank; k++) dim[k] = k == (unsigned)axis ? a->out : 1;
  for (int64_t i = 0; i < a->out; i++) any |= out[i] = a->beyond[i];
  if (!any) return y;
  lt_value where = lt_ox_ints_const(c, LT_BOOL, t.rank, dim, out), v = lt_ox_number(c, y, r->outside);
  return lt_emit(c->g, LT_OP_select, NULL, (lt_value[]){where, v, y}, 3);
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

typedef struct sizes { int64_t axis[LT_MAX_RANK], out[LT_MAX_RANK]; double scale[LT_MAX_RANK]; int64_t n; } sizes;

static sizes axes_of(lt_onnx *c, unsigned rank) {
  lt_ox_ints axes;
  sizes s = {.n = rank};
  bool some = lt_ox_list(c, "axes", &axes);
  if (some) s.n = axes.n;
  if (s.n > rank) lt_ox_refuse(c, "it has %lld axes", (long long)s.n);
  for (int64_t i = 0; i < s.n; i++) s.axis[i] = some ? lt_ox_axis(c, axes.v[i], rank) : i;
  return s;
}

/* keep_aspect_ratio_policy: one scale for all, the least or the largest. */
static void one_scale(const lt_type *t, sizes *s, bool least) {
  double scale = s->scale[0];
  for (int64_t i = 1; i < s->n; i++) scale = least ? LT_MIN(scale, s->scale[i]) : LT_MAX(scale, s->scale[i]);
  for (int64_t i = 0; i < s->n; i++) {
    s->scale[i] = scale;
    s->out[i] = (int64_t)floor(scale * (double)t->dim[s->axis[i]] + 0.5);
  }
}

static void read_sizes(lt_onnx *c, const lt_type *t, sizes *s, unsigned operand) {
  lt_ox_ints v = lt_ox_known_ints(c, operand, "sizes");
  const char *policy = lt_ox_text(c, "keep_aspect_ratio_policy", "stretch");
  if (v.n != s->n) lt_ox_refuse(c, "sizes has %lld numbers for %lld axes", (long long)v.n, (long long)s->n);
  for (int64_t i = 0; i < s->n; i++) s->out[i] = v.v[i], s->scale[i] = (double)v.v[i] / (double)t->dim[s->axis[i]];
  if (strcmp(policy, "stretch")) one_scale(t, s, !strcmp(policy, "not_larger"));
}

static double number(lt_onnx *c, unsigned operand, const char *what, int64_t n, int64_t i) {
  const lt_tensor *v = lt_ox_known(c, operand);
  if (!v) lt_ox_known_float(c, operand, what); /* tells what it depends on */
  if (v && lt_type_count(&v->type) != n)
    lt_ox_refuse(c, "%s has %lld numbers, should have %lld", what, (long long)lt_type_count(&v->type), (long long)n);
  return v ? lt_tensor_at(v, i) : 0;
}

static void read_scales(lt_onnx *c, const lt_type *t, sizes *s, unsigned operand) {
  for (int64_t i = 0; i < s->n; i++) {
    s->scale[i] = number(c, operand, "scales", s->n, i);
    double out = floor(s->scale[i] * (double)t->dim[s->axis[i]]);
    if (!(out >= 1 && out <= 1 << 24)) lt_ox_refuse(c, "its scale %g gives an axis of %g", s->scale[i], out);
    s->out[i] = (int64_t)out;
  }
}

static lt_value run(lt_onnx *c, const resize *r, lt_value x, const sizes *s, unsigned roi) {
  axis_plan plan[LT_MAX_RANK];
  lt_type t = lt_ox_of(c, x);
  bool crop = !strcmp(r->place, "tf_crop_and_resize");
  for (int64_t i = 0; i < s->n; i++) {
    plan[i] = (axis_plan){.n = t.dim[s->axis[i]], .out = s->out[i], .scale = s->scale[i], .roi = {0, 1}};
    for (int k = 0; crop && k < 2; k++) plan[i].roi[k] = number(c, roi, "roi", 2 * s->n, i + k * s->n);
    if (s->out[i] < 1) lt_ox_refuse(c, "an axis of its result is %lld", (long long)s->out[i]);
    bool same = plan[i].n == plan[i].out && s->scale[i] == 1 && !crop;
    if (!same) x = resize_axis(c, r, x, s->axis[i], &plan[i]);
    else plan[i].beyond = NULL;
  }
  for (int64_t i = 0; i < s->n && crop; i++) x = extrapolate(c, r, x, s->axis[i], &plan[i]);
  return x;
}

static void check_words(lt_onnx *c, const resize *r) {
  static const char *const places[] = {"half_pixel",         "asymmetric",           "align_corners",
                                       "pytorch_half_pixel", "half_pixel_symmetric", "tf_half_pixel_for_nn",
                                       "tf_crop_and_resize"};
  static const char *const modes[] = {"nearest", "linear", "cubic"};
  static const char *const nears[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
  bool place = false, mode = false, near = false;
  for (size_t i = 0; i < LT_COUNT(places); i++) place |= !strcmp(places[i], r->place);
  for (size_t i = 0; i < LT_COUNT(modes); i++) mode |= !strcmp(modes[i], r->mode);
  for (size_t i = 0; i < LT_COUNT(nears); i++) near |= !strcmp(nears[i], r->nearest);
  if (!place || !mode || !near)
    lt_ox_refuse(c, "mode=%.40s, coordinate_transformation_mode=%.40s, nearest_mode=%.40s is unknown", r->mode,
                 r->place, r->nearest);
}

void lt_onnx_resize(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  bool old = c->opset < 11; /* x and scales; asymmetric, rounded down */
  resize r = {.mode = lt_ox_text(c, "mode", "nearest"),
              .place = lt_ox_text(c, "coordinate_transformation_mode", old ? "asymmetric" : "half_pixel"),
              .nearest = lt_ox_text(c, "nearest_mode", old ? "floor" : "round_prefer_floor"),
              .cubic = lt_ox_float(c, "cubic_coeff_a", -0.75),
              .outside = lt_ox_float(c, "extrapolation_value", 0),
              .exclude = lt_ox_int(c, "exclude_outside", 0),
              .antialias = lt_ox_int(c, "antialias", 0)};
  sizes s = axes_of(c, t.rank);
  unsigned scales = old ? 1 : 2;
  check_words(c, &r);
  if (r.mode[0] != 'n' && !lt_is_float(t.dtype)) lt_ox_refuse(c, "x is %s", lt_type_text(c->arena, &t));
  if (!old && lt_ox_has(c, 3) && !lt_ox_empty(c, 3)) read_sizes(c, &t, &s, 3);
  else if (lt_ox_has(c, scales) && !lt_ox_empty(c, scales)) read_scales(c, &t, &s, scales);
  else lt_ox_refuse(c, "it has neither scales nor sizes");
  lt_ox_text(c, "keep_aspect_ratio_policy", "");
  lt_ox_result(c, 0, run(c, &r, x, &s, 1));
}

/* Resize of old: scales are an attribute before version 9. */
void lt_onnx_upsample(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  resize r = {.mode = lt_ox_text(c, "mode", "nearest"), .place = "asymmetric", .nearest = "floor"};
  const lt_onnx_attr *a = lt_ox_floats(c, "scales");
  sizes s = axes_of(c, t.rank);
  check_words(c, &r);
  if (!a) read_scales(c, &t, &s, 1);
  for (int64_t i = 0; a && i < s.n; i++) {
    if (a->floats.n != t.rank) lt_ox_refuse(c, "scales has %u numbers for %u axes", a->floats.n, t.rank);
    s.scale[i] = (double)a->floats.at[i];
    double out = floor(s.scale[i] * (double)t.dim[i]);
    if (!(out >= 1 && out <= 1 << 24)) lt_ox_refuse(c, "its scale %g gives an axis of %g", s.scale[i], out);
    s.out[i] = (int64_t)out;
  }
  lt_ox_result(c, 0, run(c, &r, x, &s, 0));
}
