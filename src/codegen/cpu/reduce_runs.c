/* reduce_runs.c: sums of floats that are cut into runs (runs.h), and short ones of 16 partial sums.
 *
 * What is summed where is a matter of the shape alone, so runs are written out where that is short: constant
 * displacements from one address, 2^level runs to a group, whose sums are added in registers (lt_tree). Loops go over
 * groups; their sums wait in the frame (lt_pairwise). A sum of few runs is one group and needs neither.
 *
 * Where outputs lie in the lanes (across), 16 partial sums of a group are more than registers hold. So some are made at
 * a time, all runs of the group for each: 8 with 32 registers of 16 floats, 2 with 16 registers of 8. Where rows are
 * multiples of 16 these steps are a loop too (`moving`). But with 32 registers of 16 floats a long run is a group
 * of its own, and all 16 are made at once: its lines are then read in their order.
 *
 * A group's partial sums are numbered from its own first element; where that is not element 16·n of all, they change
 * places as they are added to the others.
 *
 * What is far away, and read in an order that hardware does not foresee, is asked for a group ahead (ask_ahead).
 *
 * Long expressions, guards, and chains keep loops over the elements of a run. */
#include "codegen/cpu/reduce.h"

/* Vector instructions that a run may have to be written out, and a group of several: more is no faster. */
enum { RUN_CODE = 1024, GROUP = 256, SMALL_CODE = 64, CURVE = 40 };
/* Bytes that are read: more of one operand are no longer in a cache behind the kernel that made it; of several some
 * were made long ago, as x in the sum of g·(x - mean). Bytes of a piece, an image's plane, that hardware foresees. */
enum { FAR_OF_ONE = 1 << 22, FAR_OF_SEVERAL = 1 << 19, FORESEEN = 1 << 15 };
enum { LONG_RUN = 6 * LT_PARTS, CLOSED_RUNS = 64, MOST_ALONG = 3, MOST_ACROSS = 2 };

/* A run of a group: iterations of the dim that is cut, elements of the group before it, indices of the dims up to the
 * cut one. */
typedef struct run { int64_t n, first, at[LT_MAX_DIMS]; } run;
typedef struct group { run *run; unsigned n; } group;

/* Where code stands: partial sums [part, part + n) of a group, `moved` elements (NULL: 0) on. */
typedef struct window { unsigned part, n; LLVMValueRef moved; } window;

static int64_t product(const lt_kernel *k, unsigned from, unsigned to) {
  int64_t n = 1;
  for (unsigned i = from; i < to; i++) n *= k->extent[lt_reduced_dim(k, i)];
  return n;
}

/* ---- what is written out --------------------------------------------------------------------------------------- */

static bool is_tree(const lt_kernel *k) { return k->reduce == LT_SUM_TREE16; }

static int64_t vectors_of(const lt_reduction *r) {
  int64_t n = LT_LANES * (int64_t)lt_dtype_size(r->k->acc) / (int64_t)LT_MAX(r->l->target->vector_bytes, 1u);
  return LT_MAX(n, 1);
}

/* Vector instructions per 16 elements; 0: not to be written out. */
static int64_t cost_of(const lt_reduction *r) {
  const lt_kernel *k = r->k;
  unsigned lane = r->along ? lt_reduced_dim(k, k->n_rdims - 1u) : k->n_dims - 1u;
  int64_t sum = 0;
  for (uint32_t i = 0; i < k->n_rexpr; i++) {
    const lt_instr *x = &k->rexpr[i];
    int64_t step = x->kind == LT_X_LOAD ? k->access[x->access].stride[lane] : 0;
    if (r->still[i]) continue;
    if (x->kind == LT_X_INDEX || x->kind == LT_X_RANDOM) return 0;
    if (x->kind == LT_X_MAP) sum += lt_op_table[x->op].rounds == LT_ROUNDS_CURVE ? CURVE : 1;
    if (x->kind == LT_X_LOAD) sum += step == 0 || step == 1 ? 1 : 2 * LT_LANES;
  }
  return LT_MAX(sum, 1) * vectors_of(r);
}

/* Vectors of elements in n iterations of the dim that is cut. */
static int64_t takes_of(const lt_reduction *r, int64_t n) {
  const lt_run_walk *w = &r->walk;
  const lt_kernel *k = r->k;
  if (!r->along) return n * w->inside;
  if (w->dim + 1u == k->n_rdims) return lt_ceil_div(n, LT_LANES);
  return n * product(k, w->dim + 1u, k->n_rdims - 1u) *
         lt_ceil_div(k->extent[lt_reduced_dim(k, k->n_rdims - 1u)], LT_LANES);
}

/* As many partial sums at a time as leave room for two levels of them. */
static void choose_parts(lt_reduction *r) {
  lt_run_walk *w = &r->walk;
  const lt_kernel *k = r->k;
  w->parts = 1;
  if (r->along) return;
  while (w->parts < LT_PARTS && 8 * w->parts * vectors_of(r) <= (int64_t)r->l->target->vector_regs) w->parts *= 2;
  bool rows = w->dim + 1u == k->n_rdims || k->extent[lt_reduced_dim(k, k->n_rdims - 1u)] % LT_PARTS == 0;
  w->rows = w->parts < LT_PARTS && rows && w->run % LT_PARTS == 0 && w->all % LT_PARTS == 0;
}

/* As many runs to a group as `most` instructions allow: a power of two that divides those of one iteration of the dims
 * around, or several of these. */
static void choose_level(lt_reduction *r, int64_t code, int64_t most) {
  lt_run_walk *w = &r->walk;
  unsigned levels = r->along ? MOST_ALONG : MOST_ACROSS;
  for (; w->level < levels; w->level++) {
    int64_t runs = 2LL << w->level;
    if (code * runs > most || (w->outer == 1 ? w->whole < runs : w->each % runs != 0)) break;
  }
  if (w->outer == 1 || w->each != 1LL << w->level) return;
  int64_t around = r->k->extent[lt_reduced_dim(r->k, w->dim - 1u)];
  for (; w->level < levels && around % (2 * w->images) == 0 && code << (w->level + 1) <= most; w->level++)
    w->images *= 2;
}

/* Is what is read far away, and its order nothing that hardware foresees? All partial sums at once go through planes of
 * images from their beginning to their end, which is short where there are few pixels. */
static bool is_far(const lt_reduction *r) {
  const lt_kernel *k = r->k;
  double bytes = 0;
  int operands = 0;
  bool foreseen = r->walk.parts == LT_PARTS;
  for (uint32_t i = 0; i < k->n_rexpr; i++) {
    if (k->rexpr[i].kind != LT_X_LOAD || r->still[i]) continue;
    const int64_t size = (int64_t)lt_dtype_size(k->rexpr[i].dtype);
    const int64_t plane = k->block_dim == LT_NONE ? FORESEEN : k->access[k->rexpr[i].access].stride[k->block_dim];
    foreseen &= plane >= FORESEEN / size;
    bytes += (double)size, operands++;
  }
  for (unsigned d = 0; d < (unsigned)k->n_dims + k->n_rdims; d++) bytes *= (double)k->extent[d];
  if (foreseen || (operands == 1 && r->walk.parts == LT_PARTS)) return false;
  return bytes >= (operands > 1 ? FAR_OF_SEVERAL : FAR_OF_ONE);
}

/* Are all partial sums made at once, run by run? Adding 16 to those that wait is worth as much as some elements. */
static bool holds_all(const lt_reduction *r) {
  const bool room = 2 * LT_PARTS * vectors_of(r) <= (int64_t)r->l->target->vector_regs;
  return room && !r->along && r->walk.run >= LONG_RUN;
}

/* What is written out, and what stands in a loop. */
static void choose_code(lt_reduction *r) {
  lt_run_walk *w = &r->walk;
  bool small = r->l->target->small || !lt_target_long_blocks(r->l->target);
  int64_t cost = r->guarded || !is_tree(r->k) ? 0 : cost_of(r), once = small ? SMALL_CODE : RUN_CODE;
  int64_t most = small ? SMALL_CODE : GROUP, code = takes_of(r, w->per) * cost;
  int64_t all = w->outer * takes_of(r, w->whole * w->per + w->rest) * cost, runs = w->outer * w->each;
  w->moving = w->rows && !(all <= most && runs <= CLOSED_RUNS);
  if (w->moving) code = code * w->parts / LT_PARTS, all = all * w->parts / LT_PARTS;
  w->straight = cost && code <= once;
  w->closed = w->straight && all <= (runs == 1 ? once : most) && runs <= CLOSED_RUNS;
  if (!w->straight || w->closed) return;
  if (!small && holds_all(r) && takes_of(r, w->per) * cost <= once) w->parts = LT_PARTS, w->moving = false;
  else choose_level(r, code, most);
}

bool lt_runs_begin(lt_reduction *r) {
  const lt_kernel *k = r->k;
  lt_run_walk *w = &r->walk;
  bool cut = k->runs.per != 0, tree = is_tree(k) && lt_is_float(k->acc) && !r->guarded && r->total > LT_PARTS;
  if (!cut && !tree) return false;
  w->dim = cut ? k->runs.dim : 0;
  int64_t n = k->extent[lt_reduced_dim(k, w->dim)];
  w->per = cut ? k->runs.per : n;
  w->whole = n / w->per, w->rest = n % w->per;
  w->outer = product(k, 0, w->dim), w->each = w->whole + (w->rest != 0), w->images = 1;
  w->inside = product(k, w->dim + 1u, k->n_rdims);
  w->run = w->per * w->inside, w->all = n * w->inside;
  choose_parts(r);
  choose_code(r);
  w->far = !r->l->target->small && is_far(r);
  if (!cut && !w->closed) return false;
  if (is_tree(k) && (!w->closed || w->moving))
    lt_pairwise_begin(r->l, &w->waiting, k->acc, r->along ? 1 : LT_PARTS, w->closed ? 1 : w->outer * w->each);
  return true;
}

/* Runs [from, to) of each of `images` iterations of the dims around. */
static group group_of(const lt_reduction *r, int64_t images, int64_t from, int64_t to) {
  const lt_run_walk *w = &r->walk;
  group g = {LT_NEW_ARRAY(r->l->arena, run, (size_t)(images * (to - from))), 0};
  for (int64_t image = 0; image < images; image++) {
    for (int64_t i = from; i < to; i++) {
      run *x = &g.run[g.n++];
      *x = (run){i < w->whole ? w->per : w->rest, image * w->all + (i - from) * w->run, {0}};
      int64_t left = image;
      for (unsigned d = w->dim; d-- > 0; left /= r->k->extent[lt_reduced_dim(r->k, d)])
        x->at[d] = left % r->k->extent[lt_reduced_dim(r->k, d)];
      x->at[w->dim] = i * w->per;
    }
  }
  return g;
}

/* ---- one run --------------------------------------------------------------------------------------------------- */

static void place_run(const lt_reduction *r, lt_point *p, const run *x) {
  for (unsigned d = 0; d <= r->walk.dim; d++) p->plus[lt_reduced_dim(r->k, d)] = x->at[d];
}

/* Element e of the run: its place in the dims from the cut one on. */
static void place_element(const lt_reduction *r, lt_point *p, const run *x, int64_t e) {
  const lt_kernel *k = r->k;
  unsigned cut = lt_reduced_dim(k, r->walk.dim);
  for (unsigned d = lt_reduced_dim(k, k->n_rdims); --d > cut; e /= k->extent[d]) p->plus[d] = e % k->extent[d];
  p->plus[cut] = x->at[r->walk.dim] + e;
}

/* Elements from a group to the one that is read after it, along an access. */
static int64_t next_group(const lt_reduction *r, const lt_access *a) {
  const lt_run_walk *w = &r->walk;
  const lt_kernel *k = r->k;
  if (w->closed) return k->block_dim == LT_NONE ? 0 : a->stride[k->block_dim];
  if (w->images > 1) return a->stride[lt_reduced_dim(k, w->dim - 1u)] * w->images;
  return a->stride[lt_reduced_dim(k, w->dim)] * (w->per << w->level);
}

/* Partial sums some at a time are every second or eighth line of a group. So whoever reads a line asks for the one in
 * its place in the next group; behind the last row that is the plane of the next task. */
static void ask_ahead(const lt_reduction *r, const lt_point *p) {
  lt_ll *l = r->l;
  for (uint32_t i = 0; r->walk.far && i < r->k->n_rexpr; i++) {
    const lt_instr *x = &r->k->rexpr[i];
    const lt_access *a = x->kind == LT_X_LOAD && !r->still[i] ? &r->k->access[x->access] : NULL;
    if (!a || a->stride[r->k->n_dims - 1] != 1) continue;
    const int64_t size = (int64_t)lt_dtype_size(x->dtype), line = LT_ALIGN / size;
    LLVMValueRef at = lt_emit_address(l, r->k, r->bufs.access[x->access], a, p, x->dtype);
    for (int64_t e = 0; e < LT_LANES; e += line)
      lt_ll_prefetch(l, lt_ll_at(l, at, NULL, x->dtype, next_group(r, a) + e));
  }
}

static void across_run(const lt_reduction *r, lt_sums *s, lt_point *p, const run *x, const window *v) {
  for (int64_t e = 0; e < x->n * r->walk.inside; e++) {
    unsigned j = (unsigned)((x->first + e) % LT_PARTS);
    if (j < v->part || j >= v->part + v->n) continue;
    place_element(r, p, x, e);
    lt_reduce_take(r, s, p, j - v->part);
    ask_ahead(r, p);
  }
}

/* The last n of a row's elements, fewer than 16, in the first lanes: the end of 16 that are there, the others zero. */
static void along_end(const lt_reduction *r, lt_sums *s, lt_point *p, const run *x, int64_t end, int64_t n) {
  lt_ll *l = r->l;
  int lane[LT_LANES];
  for (int i = 0; i < LT_LANES; i++) lane[i] = i < n ? LT_LANES - (int)n + i : LT_LANES;
  place_element(r, p, x, end - LT_LANES);
  p->lanes = LT_LANES;
  LLVMValueRef v = lt_ll_shuffle(l, lt_reduce_element(r, p), LLVMConstNull(r->vec), lane, LT_LANES);
  s->part[0] = lt_reduce_plus(r, s->part[0], v);
}

/* Elements of a row, 16 at a time. What is left over is one load where it is 8, 4, 2 or 1. */
static void along_row(const lt_reduction *r, lt_sums *s, lt_point *p, const run *x, int64_t from, int64_t n) {
  int64_t rest = n % LT_LANES;
  for (int64_t e = 0; e < n; e += LT_LANES) {
    if (n - e == rest && e && (rest & (rest - 1))) {
      along_end(r, s, p, x, from + n, rest);
      continue;
    }
    place_element(r, p, x, from + e);
    p->lanes = (unsigned)LT_MIN(n - e, LT_LANES);
    lt_reduce_take(r, s, p, 0);
  }
}

/* The parts stand in order afterwards: turned from row to row, and once more. */
static void along_run(const lt_reduction *r, lt_sums *s, lt_point *p, const run *x) {
  const lt_kernel *k = r->k;
  int64_t n = x->n * r->walk.inside, row = n, from = 0;
  unsigned lanes = p->lanes;
  if (r->walk.dim + 1u < k->n_rdims) row = k->extent[lt_reduced_dim(k, k->n_rdims - 1u)];
  for (; from < n; from += row) {
    if (from) s->part[0] = lt_reduce_rotated(r->l, s->part[0], row);
    along_row(r, s, p, x, from, row);
  }
  p->lanes = lanes;
  lt_reduce_order(r, s, x->first + n - row);
}

/* Loops over the elements of a run. */
static void looped_run(const lt_reduction *r, lt_sums *s, lt_point *p, const run *x, const lt_sums *total) {
  lt_ll *l = r->l;
  unsigned d = lt_reduced_dim(r->k, r->walk.dim);
  LLVMValueRef from = p->i[d], begin = lt_ll_i64(l, x->at[r->walk.dim]);
  *s = lt_reduce_start(r, total->guard);
  s->count = total->count;
  s->run = &(lt_run_span){from ? LLVMBuildAdd(l->b, from, begin, "") : begin, x->n};
  lt_reduce_nest(r, s, p, r->walk.dim);
  lt_reduce_order(r, s, x->first + x->n * r->walk.inside);
  p->i[d] = from;
}

/* ---- a group --------------------------------------------------------------------------------------------------- */

/* The sums of all its runs for some of the partial sums, added. */
static void window_sum(const lt_reduction *r, const lt_point *at, const group *g, const window *v, LLVMValueRef *part) {
  lt_ll *l = r->l;
  unsigned last = lt_reduced_dim(r->k, r->k->n_rdims - 1u);
  lt_point p = *at;
  lt_reduction here = *r;
  lt_tree t = {.parts = v->n};
  if (v->moved) p.i[last] = p.i[last] ? LLVMBuildAdd(l->b, p.i[last], v->moved, "") : v->moved;
  here.bufs.access = lt_emit_based(l, r->k, &r->bufs, r->k->rexpr, r->k->n_rexpr, &p);
  p.based = true;
  for (unsigned i = 0; i < g->n; i++) {
    lt_sums s = {.n = v->n, .guard = LT_GUARDS_HOLD};
    for (unsigned j = 0; j < v->n; j++) s.part[j] = LLVMConstNull(r->vec);
    place_run(r, &p, &g->run[i]);
    if (r->along) along_run(&here, &s, &p, &g->run[i]);
    else across_run(&here, &s, &p, &g->run[i], v);
    lt_tree_add(l, &t, s.part);
    LLVMBuildFence(l->b, LLVMAtomicOrderingSequentiallyConsistent, true, ""); /* for LLVM only: keeps the order */
  }
  lt_tree_sum(l, &t, part);
}

/* Lanes moved up by `start` mod 16, one binary digit after the other; `even` divides it. */
static LLVMValueRef rotated_by(lt_ll *l, LLVMValueRef v, LLVMValueRef start, int64_t even) {
  int64_t known;
  if (lt_ll_const_of(start, &known)) return lt_reduce_rotated(l, v, (LT_LANES - known % LT_LANES) % LT_LANES);
  for (int64_t by = 1; by < LT_LANES; by *= 2) {
    if (even % (2 * by) == 0) continue;
    LLVMValueRef digit = LLVMBuildAnd(l->b, start, lt_ll_i64(l, by), "");
    LLVMValueRef set = LLVMBuildICmp(l->b, LLVMIntNE, lt_ll_splat(l, digit, LT_LANES),
                                     LLVMConstNull(LLVMVectorType(l->i64, LT_LANES)), "");
    v = LLVMBuildSelect(l->b, set, lt_reduce_rotated(l, v, LT_LANES - by), v, "");
  }
  return v;
}

/* Where part j of a group that begins at element `start` stands among all 16, as an offset in elements. */
static LLVMValueRef place_of(lt_ll *l, LLVMValueRef start, LLVMValueRef moved, unsigned j) {
  int64_t known;
  LLVMValueRef at = lt_ll_i64(l, j);
  if (lt_ll_const_of(start, &known)) at = lt_ll_i64(l, (known + j) % LT_PARTS);
  else at = LLVMBuildAnd(l->b, LLVMBuildAdd(l->b, start, at, ""), lt_ll_i64(l, LT_PARTS - 1), "");
  if (moved) at = LLVMBuildAdd(l->b, at, moved, "");
  return LLVMBuildMul(l->b, at, lt_ll_i64(l, LT_LANES), "");
}

/* A group's number, the level it is of, and what follows of the element that it begins with. */
typedef struct stand { LLVMValueRef number, start; unsigned level; int64_t even; } stand;

static void push(const lt_reduction *r, LLVMValueRef *part, const window *v, const stand *at) {
  LLVMValueRef place[LT_PARTS];
  if (r->along) part[0] = rotated_by(r->l, part[0], at->start, at->even), place[0] = lt_ll_i64(r->l, 0);
  for (unsigned j = 0; !r->along && j < v->n; j++) place[j] = place_of(r->l, at->start, v->moved, v->part + j);
  lt_pairwise_push(r->l, &r->walk.waiting, part, place, v->n, at->level, at->number);
}

/* Partial sums some at a time; those of a closed group that does not move go to `total`. */
static void straight_group(const lt_reduction *r, lt_sums *total, lt_point *p, const group *g, const stand *at) {
  const lt_run_walk *w = &r->walk;
  bool moving = w->moving, keep = w->closed && !moving;
  LLVMValueRef part[LT_PARTS];
  lt_ll_loop loop = {0};
  if (moving) lt_ll_loop_begin(r->l, &loop, lt_ll_i64(r->l, 0), lt_ll_i64(r->l, LT_PARTS), w->parts);
  for (unsigned j = 0; j < (r->along || moving ? 1 : LT_PARTS); j += w->parts) {
    window v = {j, w->parts, loop.i};
    window_sum(r, p, g, &v, keep ? total->part + j : part);
    if (!keep) push(r, part, &v, at);
  }
  if (moving) lt_ll_loop_end(r->l, &loop);
}

static void looped_group(const lt_reduction *r, lt_sums *total, lt_point *p, const run *x, const stand *at) {
  lt_sums s;
  looped_run(r, &s, p, x, total);
  total->count = s.count;
  if (is_tree(r->k)) push(r, s.part, &(window){0, r->along ? 1 : LT_PARTS, NULL}, at);
  else total->part[0] = lt_reduce_plus(r, total->part[0], s.part[0]);
}

/* ---- all groups ------------------------------------------------------------------------------------------------ */

/* The index over the dims around the one that is cut. */
static LLVMValueRef outer_index(const lt_reduction *r, const lt_point *p) {
  lt_ll *l = r->l;
  LLVMValueRef sum = NULL;
  for (unsigned i = 0; i < r->walk.dim; i++) {
    unsigned d = lt_reduced_dim(r->k, i);
    sum = sum ? LLVMBuildAdd(l->b, LLVMBuildMul(l->b, sum, lt_ll_i64(l, r->k->extent[d]), ""), p->i[d], "") : p->i[d];
  }
  return sum ? sum : lt_ll_i64(l, 0);
}

static LLVMValueRef scaled(lt_ll *l, LLVMValueRef v, int64_t by) {
  return by ? LLVMBuildMul(l->b, v, lt_ll_i64(l, by), "") : lt_ll_i64(l, 0);
}

/* Where group `index` (of 2^level runs) of this iteration of the dims around stands. */
static stand stand_of(const lt_reduction *r, const lt_point *p, LLVMValueRef index, unsigned level) {
  lt_ll *l = r->l;
  const lt_run_walk *w = &r->walk;
  LLVMValueRef outer = outer_index(r, p), shift = lt_ll_i64(l, level);
  int64_t around = w->outer > 1 ? w->all % LT_PARTS : 0, step = (w->run << level) % LT_PARTS;
  stand s = {.level = level, .even = around | step | LT_PARTS};
  LLVMValueRef before = w->outer > 1 ? LLVMBuildLShr(l->b, scaled(l, outer, w->each), shift, "") : lt_ll_i64(l, 0);
  s.number = w->outer > 1 ? LLVMBuildAdd(l->b, before, index, "") : index;
  s.start = scaled(l, index, step);
  if (around) s.start = LLVMBuildAdd(l->b, s.start, scaled(l, outer, around), "");
  int64_t known;
  if (lt_ll_const_of(s.start, &known)) s.start = lt_ll_i64(l, known % LT_PARTS);
  else s.start = LLVMBuildAnd(l->b, s.start, lt_ll_i64(l, LT_PARTS - 1), "");
  return s;
}

static void emit_group(const lt_reduction *r, lt_sums *total, lt_point *p, const group *g, LLVMValueRef index,
                       unsigned level) {
  stand at = stand_of(r, p, index, level);
  if (r->walk.straight) straight_group(r, total, p, g, &at);
  else looped_group(r, total, p, &g->run[0], &at);
}

/* A loop over the first `n` groups of whole runs. */
static void whole_groups(const lt_reduction *r, lt_sums *total, lt_point *p, int64_t n) {
  lt_ll *l = r->l;
  unsigned d = lt_reduced_dim(r->k, r->walk.dim);
  if (n == 0) return;
  group g = group_of(r, 1, 0, 1LL << r->walk.level);
  lt_ll_loop loop = {0};
  lt_reduce_carry_in(&loop, total);
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, n), 1);
  lt_reduce_carry_out(&loop, total);
  p->i[d] = scaled(l, loop.i, r->walk.per << r->walk.level);
  emit_group(r, total, p, &g, loop.i, r->walk.level);
  p->i[d] = NULL;
  lt_reduce_carry_in(&loop, total);
  lt_ll_loop_end(l, &loop);
  lt_reduce_carry_out(&loop, total);
}

/* The runs of one iteration of the dims around, or of as many of them as a group takes. */
static void cut_dim(const lt_reduction *r, lt_sums *total, lt_point *p) {
  const lt_run_walk *w = &r->walk;
  int64_t size = 1LL << w->level, n = w->whole / size, from = n * size;
  if (w->closed || w->images > 1) {
    group g = group_of(r, w->closed ? w->outer : w->images, 0, w->each);
    emit_group(r, total, p, &g, lt_ll_i64(r->l, 0), w->level);
    return;
  }
  whole_groups(r, total, p, n);
  if (from < w->each && w->each - from == size) {
    group g = group_of(r, 1, from, w->each);
    emit_group(r, total, p, &g, lt_ll_i64(r->l, n), w->level);
    return;
  }
  for (int64_t i = from; i < w->each; i++) {
    group g = group_of(r, 1, i, i + 1);
    emit_group(r, total, p, &g, lt_ll_i64(r->l, i), 0);
  }
}

static void around_cut(const lt_reduction *r, lt_sums *total, lt_point *p, unsigned dim) {
  lt_ll *l = r->l;
  const lt_run_walk *w = &r->walk;
  if (dim == w->dim || w->closed) {
    cut_dim(r, total, p);
    return;
  }
  unsigned d = lt_reduced_dim(r->k, dim);
  lt_ll_loop loop = {0};
  lt_reduce_carry_in(&loop, total);
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, r->k->extent[d]), dim + 1u == w->dim ? w->images : 1);
  lt_reduce_carry_out(&loop, total);
  p->i[d] = loop.i;
  around_cut(r, total, p, dim + 1);
  lt_reduce_carry_in(&loop, total);
  lt_ll_loop_end(l, &loop);
  lt_reduce_carry_out(&loop, total);
  p->i[d] = NULL;
}

/* A chain's total starts at -0: adding its first run gives exactly that. */
void lt_runs_sum(const lt_reduction *r, lt_sums *s, lt_point *p) {
  const lt_run_walk *w = &r->walk;
  bool tree = is_tree(r->k);
  unsigned parts = s->n;
  s->n = tree ? 0 : 1;
  if (!tree) s->part[0] = lt_ll_const(r->l, r->vec, -0.0);
  around_cut(r, s, p, 0);
  s->n = parts;
  if (tree && (!w->closed || w->moving)) lt_pairwise_sum(r->l, &w->waiting, s->part);
}
