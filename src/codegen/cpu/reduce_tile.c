/* reduce_tile.c: chains at several output points at a time: what a depthwise convolution and its gradients are.
 *
 * A chain alone waits for each of its additions. So the points of the last output dims before the lanes (lt_tile_dims)
 * are walked in tiles: their sums stay in registers while the reduced elements pass, and what several of them read is
 * loaded once. Of a row of 3x3 windows with 14 points 16 pixels and 3 taps are loaded per row of taps for 42
 * multiply-adds; of a weight gradient each pixel of the windows' side once for 9.
 *
 * Where a tile may look outside the image, the first and the last ones of a row are code of their own, in which columns
 * are known to be inside or not; rows are asked (reduce_taps.c).
 *
 * Sums of several runs wait in the frame: between runs each is one load, one addition and one store. */
#include "codegen/cpu/reduce_tile.h"
#include "codegen/cpu/epilogue.h"
#include "codegen/cpu/tile.h"

/* Points of a tile; the points whose registers are left beside them, which a row of taps and a pixel need; points that
 * registers must hold; steps that are code of their own */
enum { MOST = 14, SPARE = 3, LEAST = 4, MOST_EDGES = 4 };
/* Steps of all points in straight code, where a register holds 16 lanes and where it holds fewer; instructions behind
 * them */
enum { WRITTEN_OUT = 128, WRITTEN_OUT_IN_PARTS = 32, EPILOGUE = 300 };

/* ---- steps along a dim ------------------------------------------------------------------------------------------- */

/* What is done for `n` of dim d's iterations, the first of which p is at. s: the sums that it adds to; NULL: none. */
typedef void at_step(const lt_points *t, lt_sums *s, lt_point *p, unsigned d, int64_t n);

/* Steps [*a, *b) of `count` are where no guard fails; around them are few, or all are in it whatever their guards. */
static void inner_steps(const lt_points *t, unsigned d, int64_t count, int64_t step, int64_t *a, int64_t *b) {
  *a = 0, *b = count;
  while (*a < count && !lt_points_inside(t, d, (lt_reach){*a * step, *a * step + step - 1})) ++*a;
  while (*b > *a && !lt_points_inside(t, d, (lt_reach){(*b - 1) * step, *b * step - 1})) --*b;
  if (*a + count - *b > MOST_EDGES) *a = 0, *b = count;
}

static LLVMValueRef on_from(const lt_points *t, LLVMValueRef from, LLVMValueRef i) {
  return from ? LLVMBuildAdd(t->r->l->b, from, i, "") : i;
}

/* Iterations [first, last) from where p is, in steps of n. */
static void step_loop(const lt_points *t, lt_sums *s, lt_point *p, unsigned d, int64_t first, int64_t last, int64_t n,
                      at_step *at) {
  lt_ll *l = t->r->l;
  const LLVMValueRef from = p->i[d];
  lt_points here = *t;
  lt_ll_loop loop = {0};
  if (first == last) return;
  here.reach[d] = (lt_reach){from ? 0 : first, from ? t->r->k->extent[d] - 1 : last - n};
  if (s) lt_reduce_carry_in(&loop, s);
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, first), lt_ll_i64(l, last), n);
  if (s) lt_reduce_carry_out(&loop, s);
  p->i[d] = on_from(t, from, loop.i);
  at(&here, s, p, d, n);
  if (s) lt_reduce_carry_in(&loop, s);
  lt_ll_loop_end(l, &loop);
  if (s) lt_reduce_carry_out(&loop, s);
  p->i[d] = from;
}

/* `n` iterations from where p is, `step` at a time, what is left over last. Where `edges`, those near an end that may
 * be outside the image are code of their own, which knows. */
static void steps_along(const lt_points *t, lt_sums *s, lt_point *p, unsigned d, int64_t n, int64_t step, bool edges,
                        at_step *at) {
  int64_t count = n / step, a = 0, b = count;
  if (edges && !p->i[d]) inner_steps(t, d, count, step, &a, &b);
  for (int64_t i = 0; i < a; i++) step_loop(t, s, p, d, i * step, (i + 1) * step, step, at);
  step_loop(t, s, p, d, a * step, b * step, step, at);
  for (int64_t i = b; i < count; i++) step_loop(t, s, p, d, i * step, (i + 1) * step, step, at);
  if (n % step) step_loop(t, s, p, d, count * step, n, n % step, at);
}

/* ---- loops over reduced dims ------------------------------------------------------------------------------------- */

static void take_here(const lt_points *t, lt_sums *s, lt_point *p, unsigned d, int64_t n) {
  lt_points_take(t, s, p, d - t->r->k->n_dims, n);
}

static void nest(const lt_points *t, lt_sums *s, lt_point *p, unsigned d, int64_t n);

static void nest_inside(const lt_points *t, lt_sums *s, lt_point *p, unsigned d, int64_t n) {
  (void)n; /* 1 */
  nest(t, s, p, d + 1, t->r->k->extent[d + 1]);
}

/* A step of at most `most` that divides n, if there is one not much shorter; else one of about equal ones. */
static int64_t step_of(int64_t n, int64_t most) {
  for (int64_t step = LT_MIN(most, n); 2 * step > most && step > 1; step--)
    if (n % step == 0) return step;
  return lt_ceil_div(n, lt_ceil_div(n, most));
}

/* Where a pixel takes several registers, a row of taps is a loop body: with several of them LLVM takes the points one
 * after the other, and what they share is spilled. */
static int64_t written_out(const lt_points *t) {
  return lt_tile_vectors(t->r->l->target, t->r->k->acc) > 1 ? WRITTEN_OUT_IN_PARTS : WRITTEN_OUT;
}

/* Iterations of the reduced dims from d on; n of that one, which begin where p is. */
static void nest(const lt_points *t, lt_sums *s, lt_point *p, unsigned d, int64_t n) {
  const lt_kernel *k = t->r->k;
  const unsigned last = k->n_dims + k->n_rdims - 1u;
  int64_t inside = 1, most = LT_MAX(written_out(t) / (int64_t)t->n, 1);
  for (unsigned i = d + 1; i <= last; i++) inside *= k->extent[i];
  if (n * inside <= most) take_here(t, s, p, d, n * inside);
  else if (d == last) steps_along(t, s, p, d, n, step_of(n, LT_MAX(most * 3 / 4, 1)), true, take_here);
  else steps_along(t, s, p, d, n, 1, false, nest_inside);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static LLVMValueRef place_in_frame(const lt_points *t, unsigned j) {
  return lt_ll_at(t->r->l, t->frame, NULL, t->r->k->acc, (int64_t)j * LT_LANES);
}

static void put(const lt_points *t, const LLVMValueRef *v) {
  for (unsigned j = 0; j < t->n; j++) LLVMBuildStore(t->r->l->b, v[j], place_in_frame(t, j));
}

static void get(const lt_points *t, LLVMValueRef *v) {
  for (unsigned j = 0; j < t->n; j++) v[j] = LLVMBuildLoad2(t->r->l->b, t->r->vec, place_in_frame(t, j), "");
}

static lt_sums begin_sums(const lt_points *t, double v) {
  lt_sums s = {.n = t->n, .guard = LT_GUARDS_HOLD};
  for (unsigned j = 0; j < s.n; j++) s.part[j] = lt_ll_const(t->r->l, t->r->vec, v);
  return s;
}

static void run_here(const lt_points *t, lt_sums *s, lt_point *p, unsigned d, int64_t n) {
  lt_sums run = begin_sums(t, 0), total = {.n = t->n};
  (void)s;
  nest(t, &run, p, d, n);
  get(t, total.part);
  for (unsigned j = 0; j < t->n; j++) total.part[j] = lt_reduce_plus(t->r, total.part[j], run.part[j]);
  put(t, total.part);
}

static at_step next_runs;

/* The runs of the reduced dims from d on. */
static void all_runs(const lt_points *t, lt_sums *s, lt_point *p, unsigned d, int64_t n) {
  const lt_kernel *k = t->r->k;
  (void)s, (void)n;
  if (d == (unsigned)k->n_dims + k->runs.dim) steps_along(t, NULL, p, d, k->extent[d], k->runs.per, false, run_here);
  else steps_along(t, NULL, p, d, k->extent[d], 1, false, next_runs);
}

static void next_runs(const lt_points *t, lt_sums *s, lt_point *p, unsigned d, int64_t n) {
  all_runs(t, s, p, d + 1, n);
}

/* A chain's total starts at -0: adding its first run gives exactly that. */
static void sum_up(const lt_points *t, lt_point *p, lt_sums *s) {
  if (t->r->k->runs.per) {
    *s = begin_sums(t, -0.0);
    put(t, s->part);
    all_runs(t, NULL, p, t->r->k->n_dims, 0);
    get(t, s->part);
  } else {
    *s = begin_sums(t, 0);
    nest(t, s, p, t->r->k->n_dims, t->r->k->extent[t->r->k->n_dims]);
  }
}

/* ---- behind the sums --------------------------------------------------------------------------------------------- */

/* Which instructions of the epilogue give the same at all points. */
static bool is_still(const lt_points *t, const bool *still, const lt_instr *x) {
  bool yes = true;
  switch (x->kind) {
  case LT_X_CONST: return true;
  case LT_X_LOAD: return !lt_points_differ(t, &t->r->k->access[x->access]);
  case LT_X_MAP:
    for (int j = 0; j < 3; j++) yes &= x->arg[j] < 0 || still[x->arg[j]];
    return yes;
  case LT_X_INDEX: case LT_X_RESULT: case LT_X_COUNT: case LT_X_RANDOM: break;
  }
  return false;
}

/* Their values at p; NULL of the others. */
static LLVMValueRef *still_values(const lt_points *t, const lt_point *p) {
  lt_ll *l = t->r->l;
  const lt_kernel *k = t->r->k;
  bool *still = LT_NEW_ARRAY(l->arena, bool, k->n_expr + 1u);
  LLVMValueRef *value = LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_expr + 1u);
  for (uint32_t i = 0; i < k->n_expr; i++) {
    still[i] = is_still(t, still, &k->expr[i]);
    if (!still[i]) value[i] = LLVMGetPoison(lt_ll_vec(l, k->expr[i].dtype)); /* nothing here looks at it */
  }
  lt_emit_expr(l, k, &t->r->bufs, k->expr, k->n_expr, p, k->n_dims - 1u, NULL, NULL, LT_GUARDS_FILL, value);
  for (uint32_t i = 0; i < k->n_expr; i++)
    if (!still[i]) value[i] = NULL;
  return value;
}

/* `still`: what is there already (lt_rows). */
static void epilogue_at(const lt_points *t, const lt_point *p, LLVMValueRef *const still, const LLVMValueRef *sum) {
  lt_arena *a = t->r->l->arena;
  const lt_kernel *k = t->r->k;
  const lt_rows rows = {.load = LT_NEW_ARRAY(a, LLVMValueRef, k->n_expr + 1u),
                        .store = LT_NEW_ARRAY(a, LLVMValueRef, k->n_store + 1u),
                        .value = LT_NEW_ARRAY(a, LLVMValueRef, k->n_expr + 1u)};
  memcpy(rows.value, still, k->n_expr * sizeof *still);
  lt_emit_epilogue(t->r->l, k, &t->r->bufs, p, sum, NULL, &rows);
}

/* Point by point, the sums in the frame: of dims from `d` on, `before` points being before them. */
static void epilogue_loop(const lt_points *t, lt_point *p, unsigned d, LLVMValueRef before) {
  lt_ll *l = t->r->l;
  if (d == t->first + t->dims) {
    LLVMValueRef at = lt_ll_at(l, t->frame, LLVMBuildMul(l->b, before, lt_ll_i64(l, LT_LANES), ""), t->r->k->acc, 0);
    LLVMValueRef sum = LLVMBuildLoad2(l->b, t->r->vec, at, "");
    lt_emit_epilogue(l, t->r->k, &t->r->bufs, p, &sum, NULL, NULL);
    return;
  }
  LLVMValueRef from = p->i[d];
  lt_ll_loop loop = {0};
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, t->size[d]), 1);
  p->i[d] = LLVMBuildAdd(l->b, from, loop.i, "");
  epilogue_loop(t, p, d + 1, LLVMBuildAdd(l->b, LLVMBuildMul(l->b, before, lt_ll_i64(l, t->size[d]), ""), loop.i, ""));
  lt_ll_loop_end(l, &loop);
  p->i[d] = from;
}

static void epilogue(const lt_points *t, lt_point *p, const lt_sums *s) {
  if ((int64_t)t->n * lt_epilogue_cost(t->r->k, NULL) > EPILOGUE) {
    put(t, s->part);
    epilogue_loop(t, p, t->first, lt_ll_i64(t->r->l, 0));
    return;
  }
  LLVMValueRef *still = still_values(t, p);
  for (unsigned j = 0; j < t->n; j++) {
    lt_point q = *p;
    lt_points_place(t, &q, j);
    epilogue_at(t, &q, still, &s->part[j]);
  }
}

/* ---- tiles ------------------------------------------------------------------------------------------------------- */

static void one_tile(lt_points *t, lt_point *p) {
  lt_sums s;
  t->n = 1;
  for (unsigned d = t->first; d < t->first + t->dims; d++) t->n *= (unsigned)t->size[d];
  for (unsigned d = t->r->k->n_dims; d < LT_MAX_DIMS; d++) t->reach[d] = (lt_reach){0, 0};
  sum_up(t, p, &s);
  epilogue(t, p, &s);
}

/* The points of the tile's dims from d on, n along d. */
static void tiles_from(const lt_points *t, lt_sums *s, lt_point *p, unsigned d, int64_t n) {
  lt_points here = *t;
  const unsigned last = t->first + t->dims - 1;
  here.size[d] = n;
  if (d == last) one_tile(&here, p);
  else steps_along(&here, s, p, d + 1, t->r->k->extent[d + 1], t->size[d + 1], d + 1 == last, tiles_from);
}

static void at_tiles(lt_ll *l, void *arg, const lt_point *at) {
  const lt_points *t = arg;
  const unsigned d = t->first;
  lt_point p = *at;
  p.i[t->r->k->n_dims - 1] = lt_ll_i64(l, 0), p.lanes = LT_LANES;
  steps_along(t, NULL, &p, d, t->r->k->extent[d], t->size[d], t->dims == 1, tiles_from);
}

/* As many points as registers hold beside a row of taps and a pixel, in about equal parts of each dim. False: they hold
 * no two. */
static bool choose_size(lt_points *t) {
  const lt_kernel *k = t->r->k;
  const lt_target *target = t->r->l->target;
  const int64_t held = (int64_t)target->vector_regs / lt_tile_vectors(target, k->acc);
  if (held < LEAST) return false;
  int64_t room = LT_MAX(LT_MIN(held - SPARE, MOST), 2);
  for (unsigned d = t->first + t->dims; d-- > t->first;) {
    t->size[d] = lt_ceil_div(k->extent[d], lt_ceil_div(k->extent[d], room));
    room = LT_MAX(room / t->size[d], 1);
  }
  return true;
}

bool lt_emit_reduce_tiles(const lt_reduction *r, lt_point *p) {
  const lt_kernel *k = r->k;
  lt_ll *l = r->l;
  lt_points t = {.r = r, .dims = (unsigned)lt_tile_dims(k)};
  if (!t.dims || l->target->small || !lt_target_long_blocks(l->target)) return false; /* it is much code */
  if (!lt_points_flat(&t.flat, l->arena, k)) return false;
  t.first = k->n_dims - 1u - t.dims;
  for (unsigned d = 0; d < LT_MAX_DIMS; d++) t.reach[d].hi = LT_MAX(k->extent[d] - 1, 0);
  if (!choose_size(&t)) return false;
  t.frame = LLVMBuildAlloca(l->b, LLVMArrayType2(r->vec, LT_PARTS), "");
  lt_emit_walk_before(l, k, p, t.first, at_tiles, &t);
  return true;
}
