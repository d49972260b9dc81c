/* window.c: the geometry of windows (window.h). */
#include <assert.h>

#include "ir/window.h"

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
static int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b > 0); }
static int64_t mod(int64_t a, int64_t b) { return (a % b + b) % b; }

/* ---- the window of an op ----------------------------------------------------------------------------------------- */

static int find_attr(lt_op op, const char *name) {
  for (int i = 0; i < lt_op_table[op].n_attrs; i++)
    if (!strcmp(lt_op_table[op].attrs[i].name, name)) return i;
  return -1;
}

/* The attribute of that name, NULL: the op has none. */
static const void *attr_of(lt_op op, const void *attrs, const char *name) {
  int i = find_attr(op, name);
  return i < 0 ? NULL : lt_attr_at(op, attrs, (unsigned)i);
}

bool lt_window_makes_image(lt_op op) {
  return find_attr(op, "size") >= 0 || find_attr(op, "outsize") >= 0 || find_attr(op, "input_shape") >= 0;
}

lt_window lt_window_read(lt_op op, const void *attrs, const lt_type *image, const lt_type *filter) {
  const lt_pair *kernel = attr_of(op, attrs, "kernel"), *stride = attr_of(op, attrs, "stride"),
                *dilation = attr_of(op, attrs, "dilation");
  const lt_quad *pad = attr_of(op, attrs, "pad");
  const lt_attr_bool *ceil = attr_of(op, attrs, "ceil");
  lt_window w = {.n = 2};
  for (unsigned k = 0; k < w.n; k++)
    w.axis[k] = (lt_window_axis){.size = image->dim[2 + k],
                                 .kernel = kernel ? kernel->v[k] : filter->dim[2 + k],
                                 .stride = stride->v[k],
                                 .dilation = dilation->v[k],
                                 .before = pad->v[k],
                                 .after = pad->v[w.n + k],
                                 .ceil = ceil && *ceil};
  return w;
}

lt_window lt_window_between(lt_op op, const void *attrs, const lt_type *image, const lt_type *filter) {
  lt_window w = lt_window_read(op, attrs, image, filter);
  int64_t padded, extent;
  for (unsigned k = 0; k < w.n; k++) lt_window_count(&w.axis[k], &padded, &extent);
  return w;
}

lt_window lt_window_of(const lt_graph *g, const lt_node *n) {
  assert(lt_op_table[n->op].window == LT_WINDOW_WIN);
  lt_value image = lt_window_makes_image(n->op) ? n->out : n->in[0];
  return lt_window_between(n->op, n->attrs, lt_type_of(g, image), n->n_in > 1 ? lt_type_of(g, n->in[1]) : NULL);
}

#define PAIR(name)                                                                                                     \
  lt_pair lt_window_##name(const lt_window *w) { return (lt_pair){{w->axis[0].name, w->axis[1].name}}; }
PAIR(kernel)
PAIR(stride)
PAIR(dilation)
#undef PAIR

lt_quad lt_window_pad(const lt_window *w) {
  return (lt_quad){{w->axis[0].before, w->axis[1].before, w->axis[0].after, w->axis[1].after}};
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static bool extent_of(const lt_window_axis *a, int64_t *out) {
  return lt_mul_ok(out, a->kernel - 1, a->dilation) && lt_add_ok(out, *out, 1);
}

lt_window_fit lt_window_count(lt_window_axis *a, int64_t *padded, int64_t *extent) {
  if (!lt_add_ok(padded, a->before, a->after) || !lt_add_ok(padded, *padded, a->size) || !extent_of(a, extent))
    return LT_WINDOW_OVERFLOWS;
  const int64_t rest = *padded - *extent; /* how far a window can go */
  a->windows = rest < 0 ? 0 : rest / a->stride + 1;
  /* Rounding up adds a window only if it starts inside the image or the border before it (as in ONNX); it stands out by
   * stride - 1 at most, so the only one does not exist if it is larger than that. */
  const bool left_over = rest < 0 ? rest > -a->stride : rest % a->stride != 0;
  if (a->ceil && left_over && a->windows * a->stride < a->size + a->before) a->windows++;
  return a->windows ? LT_WINDOW_FITS : LT_WINDOW_TOO_LARGE;
}

bool lt_window_image(const lt_window_axis *a, int64_t windows, int64_t *padded) {
  int64_t extent;
  return extent_of(a, &extent) && lt_mul_ok(padded, a->stride, windows - 1) && lt_add_ok(padded, *padded, extent);
}

/* ---- taps -------------------------------------------------------------------------------------------------------- */

/* Taps of a window that starts at `start` which look at pixels below `end`. */
static int64_t taps_before(const lt_window_axis *a, int64_t start, int64_t end) {
  return start >= end ? 0 : LT_MIN(a->kernel, (end - 1 - start) / a->dilation + 1);
}

lt_span lt_window_taps(const lt_window_axis *a, int64_t o) {
  int64_t start = lt_window_start(a, o);
  return (lt_span){start >= 0 ? 0 : ceil_div(-start, a->dilation), taps_before(a, start, a->size)};
}

lt_span lt_window_seen_by(const lt_window_axis *a, int64_t k) {
  int64_t first = k * a->dilation - a->before; /* where tap k of window 0 looks */
  lt_span s = {first >= 0 ? 0 : ceil_div(-first, a->stride), 0};
  if (first < a->size) s.hi = LT_MIN(a->windows, (a->size - 1 - first) / a->stride + 1);
  return s;
}

int64_t lt_window_elements(const lt_window_axis *a, int64_t o, bool border) {
  if (border) return taps_before(a, lt_window_start(a, o), a->size + a->after);
  lt_span s = lt_window_taps(a, o);
  return LT_MAX(s.hi - s.lo, 0);
}

/* ---- halos ------------------------------------------------------------------------------------------------------- */

lt_window_halo lt_halo_of_windows(const lt_window_axis *a) {
  int64_t last = lt_window_start(a, a->windows - 1) + (a->kernel - 1) * a->dilation;
  return (lt_window_halo){a->before, LT_MAX(last - (a->size - 1), 0)};
}

/* The same to the adjoint: of a single window the stride does not matter, so that it may be as large as no two taps
 * meet a pixel in one phase: nobody looks beside the window then. */
static lt_window_axis adjoint_axis(const lt_window_axis *a) {
  lt_window_axis w = *a;
  if (w.windows == 1)
    w.stride = ceil_div(LT_MAX((w.kernel - 1) * w.dilation + 1, w.before + w.size), w.dilation) * w.dilation;
  return w;
}

/* Tap k reaches pixels from windows [lo, hi): the later the tap, the earlier the windows, so the first tap that reaches
 * any pixel goes furthest after, the last one furthest before. */
static lt_span windows_of_tap(const lt_window_axis *a, int64_t k) {
  int64_t shift = a->before - k * a->dilation;
  return (lt_span){ceil_div(shift, a->stride), floor_div(a->size - 1 + shift, a->stride) + 1};
}

lt_window_halo lt_halo_of_adjoint(const lt_window_axis *axis) {
  const lt_window_axis whole = adjoint_axis(axis), *a = &whole;
  lt_window_halo h = {0, 0};
  for (int64_t k = 0; k < a->kernel; k++) {
    lt_span s = windows_of_tap(a, k);
    if (s.lo >= s.hi) continue;
    h.before = LT_MAX(h.before, -s.lo);
    h.after = LT_MAX(h.after, s.hi - a->windows);
  }
  return h;
}

/* A plane of up to SMALL elements, or up to MUCH times what is read and written anyway. */
bool lt_halo_pays(const lt_window *w, bool adjoint) {
  enum { SMALL = 1 << 16, MUCH = 64 };
  int64_t wide = 1, pixels = 1, windows = 1;
  for (unsigned k = 0; k < w->n; k++) {
    const lt_window_axis *a = &w->axis[k];
    lt_window_halo h = adjoint ? lt_halo_of_adjoint(a) : lt_halo_of_windows(a);
    if (!lt_mul_ok(&wide, wide, (adjoint ? a->windows : a->size) + h.before + h.after)) return false;
    pixels *= a->size, windows *= a->windows;
  }
  return wide <= SMALL || wide / MUCH <= pixels + windows;
}

/* ---- phases ------------------------------------------------------------------------------------------------------ */

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t r = a % b;
    a = b, b = r;
  }
  return a;
}

/* x with d·x ≡ 1 modulo m, which have no common divisor: Euclid's algorithm, each remainder r[i] ≡ d·x[i]. */
static int64_t inverse(int64_t d, int64_t m) {
  int64_t r[2] = {m, d % m}, x[2] = {0, 1};
  while (r[1] > 1) {
    int64_t q = r[0] / r[1], r2 = r[0] - q * r[1], x2 = x[0] - q * x[1];
    r[0] = r[1], r[1] = r2;
    x[0] = x[1], x[1] = x2;
  }
  return mod(x[1], m);
}

/* The pixels at, at + pitch, … of `size`. */
static int64_t pixels_of(int64_t size, int64_t at, int64_t pitch) { return (size - 1 - at) / pitch + 1; }

/* How many of v, v + step, … are below `end`. */
static int64_t steps_below(int64_t v, int64_t step, int64_t end) { return (end - 1 - v) / step + 1; }

/* An axis whose stride and dilation have no common divisor, and the pixels of another that it stands for. */
typedef struct reduced { lt_window_axis axis; int64_t inverse, at, scale; } reduced;

/* The run that begins with the phase of pixel `at` and goes on with every `step`-th one. */
static lt_phase_run run_from(const lt_window_axis *a, int64_t inverse, int64_t at, int64_t step) {
  const int64_t n = LT_MIN(a->stride, a->size), r = (at + a->before) % a->stride, more = a->size % a->stride;
  lt_phase_run p = {.at = at, .pitch = a->stride, .pixels = pixels_of(a->size, at, a->stride)};
  p.phases = LT_MIN(steps_below(at, step, n), steps_below(r, step, a->stride));
  if (at < more) p.phases = LT_MIN(p.phases, steps_below(at, step, more));
  /* The first tap goes up or down, round the stride; below `long` it has one more behind it. */
  const int64_t up = step % a->stride * inverse % a->stride, down = a->stride - up, first = r * inverse % a->stride;
  const int64_t many = a->kernel % a->stride;
  const int64_t rise = up ? steps_below(first, up, first < many ? many : a->stride) : 1;
  const int64_t fall = up ? (first - (first < many ? 0 : many)) / down + 1 : 1;
  p.phases = LT_MIN(p.phases, LT_MAX(rise, fall));
  if (p.phases > 1) p.at_step = step;
  if (first >= a->kernel) return p;
  p.first = first, p.taps = (a->kernel - 1 - first) / a->stride + 1;
  p.from = (at + a->before - first * a->dilation) / a->stride;
  if (p.taps > 1) p.step = a->stride, p.back = a->dilation;
  if (p.phases == 1) return p;
  p.first_step = rise >= fall ? up : -down;
  p.from_step = (step - p.first_step * a->dilation) / a->stride;
  return p;
}

/* All runs, walking with one step; into `out`, or only counted, up to `most`. */
static int64_t walk_runs(const reduced *x, int64_t step, int64_t most, lt_phase_runs *out, lt_arena *arena) {
  const int64_t n = LT_MIN(x->axis.stride, x->axis.size);
  int64_t runs = 0;
  for (int64_t first = 0; first < LT_MIN(step, n); first++)
    for (int64_t at = first; at < n && runs < most; runs++) {
      lt_phase_run p = run_from(&x->axis, x->inverse, at, step);
      at += p.phases * step;
      p.at = x->at + p.at * x->scale, p.pitch *= x->scale, p.at_step *= x->scale;
      if (out) lt_vec_push(arena, out, p);
    }
  return runs;
}

/* Taps reach every `common`-th pixel at most: those between, [from, to) of `common`, are reached by none. */
static void add_between(lt_phase_runs *out, lt_arena *arena, int64_t size, int64_t common, int64_t from, int64_t to) {
  to = LT_MIN(to, size);
  while (from < to) {
    const int64_t more = size % common, end = from < more ? LT_MIN(to, more) : to;
    lt_phase_run p = {from, common, pixels_of(size, from, common), end - from, 1, .taps = 0};
    lt_vec_push(arena, out, p);
    from = end;
  }
}

void lt_window_runs(lt_phase_runs *out, lt_arena *arena, const lt_window_axis *axis) {
  enum { STEPS = 64 };
  const lt_window_axis whole = adjoint_axis(axis), *a = &whole;
  const int64_t common = gcd(a->dilation, a->stride), at = mod(-a->before, common);
  reduced x = {*a, .at = at, .scale = common};
  x.axis.stride /= common, x.axis.dilation /= common, x.axis.before = (a->before + at) / common;
  x.inverse = inverse(x.axis.dilation, x.axis.stride);
  if (at < a->size) {
    x.axis.size = pixels_of(a->size, at, common);
    int64_t best = walk_runs(&x, 1, INT64_MAX, NULL, NULL), step = 1;
    for (int64_t s = 2; s < LT_MIN(STEPS, best); s++) {
      int64_t runs = walk_runs(&x, s, best, NULL, NULL);
      if (runs < best) best = runs, step = s;
    }
    walk_runs(&x, step, best, out, arena);
  }
  add_between(out, arena, a->size, common, 0, at);
  add_between(out, arena, a->size, common, at + 1, common);
}
