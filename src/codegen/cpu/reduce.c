/* reduce.c: REDUCE kernels: sums, maxima and argmax over any dims, window reductions (pooling, depthwise convolution).
 *
 * Two ways to run one order (plan.h):
 *   across   16 outputs side by side, one reduced element after the other; a tree sum keeps 16 vectors of partial sums.
 *            For windows, statistics of channels, anything whose output lanes lie side by side in memory.
 *   along    16 reduced elements side by side, one output after the other; lane j of the accumulator is partial sum j.
 *            For rows (softmax, sums over everything).
 * Partial sum i mod 16 of a nest whose inner extents are no multiples of 16 is kept by renaming: after a row of R
 * elements what stands first is the partial sum of the next element, so no index is ever computed (across: the values
 * change places, along: the vector is rotated by R mod 16).
 *
 * A sum of several runs is a loop over runs around that (runs.h, pairwise.h). Where the dim that is cut is not the last
 * one, a shorter run is the same code with another bound; where it is, code of its own.
 *
 * Windows that may leave the image: one branch asks whether this one is inside altogether and takes code without
 * guards. */
#include "codegen/cpu/pairwise.h"

#include <math.h>

/* UNROLL_RUN: vectors of a run along a row; UNROLL_CODE: if there is no more than so many instructions to each */
enum { PARTS = 16, UNROLL_ALL = 32, UNROLL_GUARDED = 4, UNROLL = 4, UNROLL_RUN = 8, UNROLL_CODE = 4 };

typedef struct reduce {
  lt_ll *l;
  const lt_kernel *k;
  lt_bufs bufs;
  LLVMTypeRef vec;       /* <16 x acc> */
  bool along, fused;     /* fused: the last multiplication of a chain goes into the addition */
  bool guarded, counted; /* some guard may fail; X_COUNT is asked for */
  int64_t total;         /* reduced elements */
  lt_pairwise pairwise;  /* TREE16 of several runs */
} reduce;

/* What is carried through the loops over reduced dims. part[0..n): sums or the maximum; index: ARGMAX. */
typedef struct state {
  unsigned n;
  LLVMValueRef part[PARTS], index, count;
  lt_guard guard; /* HOLD: all guards are known to hold; otherwise each is looked at */
  const struct span *run; /* NULL: there is one run */
} state;

/* What a run has of the dim that is cut: `n` of [from, to), 0: not known here. */
typedef struct span { LLVMValueRef from, to; int64_t n; } span;

static unsigned reduced_dim(const lt_kernel *k, unsigned i) { return k->n_dims + i; }

/* Iterations that a guard rejects are skipped; but in a chain the loads give their fill there and take part. */
static bool skips(const lt_kernel *k) { return k->reduce != LT_SUM_CHAIN; }
static lt_guard guard_of(const lt_kernel *k) { return skips(k) ? LT_GUARDS_ANY : LT_GUARDS_FILL; }

static bool is_sum(const lt_kernel *k) { return k->reduce == LT_SUM_TREE16 || k->reduce == LT_SUM_CHAIN; }

/* ---- one element (of each of 16 lanes) ---- */

static LLVMValueRef start_value(const reduce *r) {
  lt_ll *l = r->l;
  if (is_sum(r->k)) return LLVMConstNull(r->vec);
  switch (r->k->acc) { /* nothing is less */
  case LT_F32: case LT_F64: return lt_ll_const(l, r->vec, -INFINITY);
  case LT_I32: return lt_ll_bits(l, r->vec, 0x80000000u);
  case LT_I64: return lt_ll_bits(l, r->vec, (uint64_t)1 << 63);
  case LT_BOOL: return LLVMConstNull(r->vec);
  case LT_DTYPES: break;
  }
  lt_fail(l->job, LATHE_E_INTERNAL, NULL, "code generation: no element type %d", (int)r->k->acc);
}

static LLVMValueRef plus(const reduce *r, LLVMValueRef a, LLVMValueRef b) {
  return lt_is_float(r->k->acc) ? LLVMBuildFAdd(r->l->b, a, b, "") : LLVMBuildAdd(r->l->b, a, b, "");
}

/* v where valid, else other. */
static LLVMValueRef where(lt_ll *l, const lt_valid *ok, LLVMValueRef v, LLVMValueRef other) {
  if (ok->lanes) v = LLVMBuildSelect(l->b, ok->lanes, v, other, "");
  return ok->scalar ? LLVMBuildSelect(l->b, ok->scalar, v, other, "") : v;
}

/* Which lanes take part in this iteration: guards, and along a row the ones before its end. */
static lt_valid taking_part(const reduce *r, const lt_point *p, unsigned lane, lt_guard guard) {
  lt_valid ok = {0};
  for (uint32_t i = 0; skips(r->k) && guard != LT_GUARDS_HOLD && i < r->k->n_rexpr; i++)
    if (r->k->rexpr[i].kind == LT_X_LOAD) lt_emit_valid(r->l, &ok, r->k, &r->k->access[r->k->rexpr[i].access], p, lane);
  if (r->along && p->lanes < LT_LANES) {
    LLVMValueRef in[LT_LANES];
    for (unsigned i = 0; i < LT_LANES; i++) in[i] = LLVMConstInt(r->l->i1, i < p->lanes, false);
    ok.lanes = lt_ll_both(r->l, ok.lanes, LLVMConstVector(in, LT_LANES));
  }
  return ok;
}

/* Indices of elements are i32 while they fit. */
static LLVMTypeRef index_type(const reduce *r) {
  return LLVMVectorType(r->total <= INT32_MAX ? r->l->i32 : r->l->i64, LT_LANES);
}

/* The row-major index over the reduced dims, the same in all lanes. */
static LLVMValueRef flat_index(const reduce *r, const lt_point *p) {
  lt_ll *l = r->l;
  LLVMValueRef sum = lt_ll_i64(l, 0);
  for (unsigned i = 0; i < r->k->n_rdims; i++) {
    unsigned d = reduced_dim(r->k, i);
    sum = LLVMBuildAdd(l->b, LLVMBuildMul(l->b, sum, lt_ll_i64(l, r->k->extent[d]), ""), p->i[d], "");
  }
  return lt_ll_splat(l, LLVMBuildIntCast2(l->b, sum, LLVMGetElementType(index_type(r)), true, ""), LT_LANES);
}

/* The first maximum, or the first NaN; index -1 says that there was none yet. */
static void take_argmax(const reduce *r, state *s, const lt_point *p, const lt_valid *ok, LLVMValueRef v) {
  lt_ll *l = r->l;
  LLVMValueRef best = s->part[0], better,
               none = LLVMBuildICmp(l->b, LLVMIntSLT, s->index, LLVMConstNull(LLVMTypeOf(s->index)), "");
  if (lt_is_float(r->k->acc)) {
    LLVMValueRef number = LLVMBuildFCmp(l->b, LLVMRealORD, best, best, "");
    better = LLVMBuildAnd(l->b, LLVMBuildFCmp(l->b, LLVMRealUGT, v, best, ""), number, ""); /* UGT: or either is NaN */
  } else {
    better = LLVMBuildICmp(l->b, r->k->acc == LT_BOOL ? LLVMIntUGT : LLVMIntSGT, v, best, "");
  }
  better = LLVMBuildOr(l->b, better, none, "");
  LLVMValueRef at = LLVMBuildSelect(l->b, better, flat_index(r, p), s->index, "");
  LLVMValueRef top = LLVMBuildSelect(l->b, better, v, best, "");
  s->index = where(l, ok, at, s->index);
  s->part[0] = where(l, ok, top, best);
}

static void count_one(const reduce *r, state *s, const lt_valid *ok) {
  if (!s->count) return;
  LLVMTypeRef t = LLVMTypeOf(s->count);
  LLVMValueRef one = where(r->l, ok, lt_ll_const(r->l, t, 1), LLVMConstNull(t));
  s->count = LLVMBuildAdd(r->l->b, s->count, one, "");
}

/* The element at p goes to part[j]. */
static void take(const reduce *r, state *s, const lt_point *p, unsigned j) {
  lt_ll *l = r->l;
  const lt_kernel *k = r->k;
  unsigned lane = r->along ? reduced_dim(k, k->n_rdims - 1u) : k->n_dims - 1u;
  uint32_t n = k->n_rexpr - (r->fused ? 1 : 0);
  LLVMValueRef *value = LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_rexpr);
  lt_emit_expr(l, k, &r->bufs, k->rexpr, n, p, lane, NULL, NULL, s->guard, value);
  lt_valid ok = taking_part(r, p, lane, s->guard);
  count_one(r, s, &ok);
  if (r->fused) {
    const lt_instr *last = &k->rexpr[n];
    LLVMValueRef a = lt_emit_convert(l, value[last->arg[0]], k->rexpr[last->arg[0]].dtype, k->acc);
    LLVMValueRef b = lt_emit_convert(l, value[last->arg[1]], k->rexpr[last->arg[1]].dtype, k->acc);
    s->part[j] = where(l, &ok, lt_ll_fma(l, a, b, s->part[j]), s->part[j]);
    return;
  }
  LLVMValueRef v = lt_emit_convert(l, value[n - 1], k->rexpr[n - 1].dtype, k->acc);
  if (k->reduce == LT_REDUCE_ARGMAX) take_argmax(r, s, p, &ok, v);
  else if (k->reduce == LT_REDUCE_MAX) s->part[j] = lt_emit_max(l, s->part[j], where(l, &ok, v, start_value(r)));
  else s->part[j] = plus(r, s->part[j], where(l, &ok, v, LLVMConstNull(r->vec)));
}

/* ---- loops over reduced dims ---- */

static void carry_in(lt_ll_loop *loop, const state *s) {
  loop->n_carry = 0;
  for (unsigned i = 0; i < s->n; i++) loop->carry[loop->n_carry++] = s->part[i];
  if (s->index) loop->carry[loop->n_carry++] = s->index;
  if (s->count) loop->carry[loop->n_carry++] = s->count;
}

static void carry_out(const lt_ll_loop *loop, state *s) {
  unsigned n = 0;
  for (unsigned i = 0; i < s->n; i++) s->part[i] = loop->carry[n++];
  if (s->index) s->index = loop->carry[n++];
  if (s->count) s->count = loop->carry[n++];
}

/* What stood at place `by` comes first. */
static void rename_parts(state *s, int64_t by) {
  LLVMValueRef old[PARTS];
  memcpy(old, s->part, sizeof old);
  for (unsigned i = 0; i < s->n; i++) s->part[i] = old[(i + (uint64_t)by) % s->n];
}

static void rotate_lanes(lt_ll *l, state *s, int64_t by) {
  int lane[LT_LANES];
  for (int i = 0; i < LT_LANES; i++) lane[i] = (i + (int)by) % LT_LANES;
  if (by % LT_LANES) s->part[0] = lt_ll_shuffle(l, s->part[0], NULL, lane, LT_LANES);
}

static LLVMValueRef on_from(lt_ll *l, LLVMValueRef base, LLVMValueRef i) {
  int64_t known;
  return lt_ll_const_of(base, &known) && known == 0 ? i : LLVMBuildAdd(l->b, base, i, "");
}

/* base + i, i in [from, to), of dim d, `step` in one turn of the loop: vectors (along), or one after the other
 * (across). */
static void walk(const reduce *r, state *s, lt_point *p, unsigned d, LLVMValueRef base, int64_t from, int64_t to,
                 int64_t step) {
  lt_ll *l = r->l;
  if (from >= to) return;
  lt_ll_loop loop = {0};
  carry_in(&loop, s);
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, from), lt_ll_i64(l, to), step);
  carry_out(&loop, s);
  for (int64_t i = 0; i < step; i += r->along ? LT_LANES : 1) {
    p->i[d] = on_from(l, base, i ? LLVMBuildAdd(l->b, loop.i, lt_ll_i64(l, i), "") : loop.i);
    take(r, s, p, (unsigned)(i % s->n));
  }
  carry_in(&loop, s);
  lt_ll_loop_end(l, &loop);
  carry_out(&loop, s);
}

static void across_all(const reduce *r, state *s, lt_point *p, unsigned dim, int64_t *i) {
  unsigned d = reduced_dim(r->k, dim);
  if (dim == r->k->n_rdims) {
    take(r, s, p, (unsigned)((*i)++ % s->n));
    return;
  }
  for (int64_t x = 0; x < r->k->extent[d]; x++) {
    p->i[d] = lt_ll_i64(r->l, x);
    across_all(r, s, p, dim + 1, i);
  }
  p->i[d] = NULL;
}

/* across: the last reduced dim, one after the other. */
static void across_row(const reduce *r, state *s, lt_point *p, unsigned d, LLVMValueRef base, int64_t n) {
  int64_t step = s->n == PARTS ? PARTS : LT_MIN(n, UNROLL), whole = n / step * step;
  walk(r, s, p, d, base, 0, whole, step);
  if (whole < n) walk(r, s, p, d, base, whole, n, n - whole);
  rename_parts(s, n % s->n);
}

/* along: the last reduced dim, 16 at a time. */
static void along_row(const reduce *r, state *s, lt_point *p, unsigned d, LLVMValueRef base, int64_t n) {
  lt_ll *l = r->l;
  unsigned out_lanes = p->lanes;
  int64_t whole = n / LT_LANES * LT_LANES;
  bool unroll = s->run && whole && whole <= UNROLL_RUN * LT_LANES && r->k->n_rexpr <= UNROLL_CODE;
  p->lanes = LT_LANES;
  walk(r, s, p, d, base, 0, whole, unroll ? whole : LT_LANES);
  if (whole < n) {
    p->i[d] = LLVMBuildAdd(l->b, base, lt_ll_i64(l, whole), "");
    p->lanes = (unsigned)(n - whole);
    take(r, s, p, 0);
  }
  p->lanes = out_lanes;
  if (r->k->reduce == LT_SUM_TREE16) rotate_lanes(l, s, n);
}

/* Reduced dims from `dim` on, of the dim that is cut what belongs to the run. The part of the next element then stands
 * first. */
static void walk_dim(const reduce *r, state *s, lt_point *p, unsigned dim) {
  lt_ll *l = r->l;
  unsigned d = reduced_dim(r->k, dim);
  const span whole = {lt_ll_i64(l, 0), lt_ll_i64(l, r->k->extent[d]), r->k->extent[d]};
  const span *x = s->run && dim == r->k->runs.dim ? s->run : &whole;
  if (dim + 1u == r->k->n_rdims) {
    (r->along ? along_row : across_row)(r, s, p, d, x->from, x->n);
    p->i[d] = NULL;
    return;
  }
  lt_ll_loop loop = {0};
  carry_in(&loop, s);
  lt_ll_loop_begin(l, &loop, x->from, x->to, 1);
  carry_out(&loop, s);
  p->i[d] = loop.i;
  walk_dim(r, s, p, dim + 1);
  carry_in(&loop, s);
  lt_ll_loop_end(l, &loop);
  carry_out(&loop, s);
  p->i[d] = NULL;
}

/* ---- one result ---- */

static state start(const reduce *r, lt_guard guard) {
  lt_ll *l = r->l;
  state s = {.n = !r->along && r->k->reduce == LT_SUM_TREE16 ? PARTS : 1, .guard = guard};
  for (unsigned i = 0; i < s.n; i++) s.part[i] = start_value(r);
  if (r->k->reduce == LT_REDUCE_ARGMAX) s.index = lt_ll_const(l, index_type(r), -1);
  if (r->counted && guard != LT_GUARDS_HOLD) s.count = LLVMConstNull(LLVMVectorType(l->i32, LT_LANES));
  return s;
}

static LLVMValueRef combine(const reduce *r, LLVMValueRef a, LLVMValueRef b) {
  return is_sum(r->k) ? plus(r, a, b) : lt_emit_max(r->l, a, b);
}

/* Partial sums 8, 4, 2, 1 apart; those that no element went to are left out (adding their +0 changes nothing). */
static LLVMValueRef fold_parts(const reduce *r, state *s) {
  int64_t live = LT_MIN(r->total, PARTS);
  for (int64_t apart = 8; apart > 0; apart /= 2) {
    for (int64_t i = 0; i < apart && i + apart < live; i++) s->part[i] = combine(r, s->part[i], s->part[i + apart]);
    live = LT_MIN(live, apart);
  }
  return s->part[0];
}

static LLVMValueRef fold_lanes(const reduce *r, LLVMValueRef v) {
  for (int apart = 8; apart > 0; apart /= 2) {
    int lane[LT_LANES];
    for (int i = 0; i < LT_LANES; i++) lane[i] = i < apart ? i + apart : -1;
    v = combine(r, v, lt_ll_shuffle(r->l, v, NULL, lane, LT_LANES));
  }
  return lt_ll_splat(r->l, lt_ll_lane(r->l, v, 0), LT_LANES);
}

static LLVMValueRef add_lanes(lt_ll *l, LLVMValueRef v) {
  LLVMValueRef sum = lt_ll_intrinsic(l, "llvm.vector.reduce.add", LLVMTypeOf(v), &v, 1);
  return lt_ll_splat(l, sum, LT_LANES);
}

/* The part of the element `end` stands first: back into order. */
static void part_0_first(const reduce *r, state *s, int64_t end) {
  if (r->k->reduce != LT_SUM_TREE16) return;
  int64_t back = (PARTS - end % PARTS) % PARTS;
  if (r->along) rotate_lanes(r->l, s, back);
  else rename_parts(s, back);
}

/* ---- several runs ---- */

/* Elements behind one of the dim that is cut, in all of it, and in a whole run. */
typedef struct sizes { int64_t inside, all, run; } sizes;

static sizes sizes_of(const reduce *r) {
  const lt_kernel *k = r->k;
  sizes z = {.inside = 1};
  for (unsigned i = k->runs.dim + 1u; i < k->n_rdims; i++) z.inside *= k->extent[reduced_dim(k, i)];
  z.all = z.inside * k->extent[reduced_dim(k, k->runs.dim)];
  z.run = z.inside * k->runs.per;
  return z;
}

/* The index over the dims around the one that is cut. */
static LLVMValueRef outer_index(const reduce *r, const lt_point *p) {
  lt_ll *l = r->l;
  LLVMValueRef sum = lt_ll_i64(l, 0);
  for (unsigned i = 0; i < r->k->runs.dim; i++) {
    unsigned d = reduced_dim(r->k, i);
    sum = LLVMBuildAdd(l->b, LLVMBuildMul(l->b, sum, lt_ll_i64(l, r->k->extent[d]), ""), p->i[d], "");
  }
  return sum;
}

/* Partial sums of a run into their order. Its end mod 16 is often the same for all runs that this code is for. */
static void order_parts(const reduce *r, state *s, const lt_point *p) {
  lt_ll *l = r->l;
  const sizes z = sizes_of(r);
  const bool first_known = r->total == z.all || z.all % PARTS == 0, whole = s->run->n == r->k->runs.per;
  int64_t end;
  if (r->total == z.all && lt_ll_const_of(s->run->to, &end)) {
    part_0_first(r, s, end * z.inside);
  } else if (first_known && s->run->n && !whole) {
    part_0_first(r, s, z.all);
  } else if (first_known && z.run % PARTS == 0 && (whole || z.all % PARTS == 0)) {
    part_0_first(r, s, 0);
  } else {
    LLVMValueRef begin = LLVMBuildMul(l->b, outer_index(r, p), lt_ll_i64(l, z.all), "");
    LLVMValueRef inside = LLVMBuildMul(l->b, s->run->to, lt_ll_i64(l, z.inside), "");
    lt_pairwise_turn(l, &r->pairwise, s->part, LLVMBuildAdd(l->b, begin, inside, ""));
  }
}

/* Run `index` of this iteration of the dims around; n: how long it is, if that is known. */
static void add_run(const reduce *r, state *total, lt_point *p, LLVMValueRef index, LLVMValueRef to, int64_t n) {
  lt_ll *l = r->l;
  const lt_kernel *k = r->k;
  state s = start(r, total->guard);
  s.count = total->count;
  s.run = &(span){LLVMBuildMul(l->b, index, lt_ll_i64(l, k->runs.per), ""), to, n};
  walk_dim(r, &s, p, k->runs.dim);
  total->count = s.count;
  if (k->reduce == LT_SUM_CHAIN) {
    total->part[0] = plus(r, total->part[0], s.part[0]);
    return;
  }
  order_parts(r, &s, p);
  int64_t each = (k->extent[reduced_dim(k, k->runs.dim)] + k->runs.per - 1) / k->runs.per;
  LLVMValueRef before = LLVMBuildMul(l->b, outer_index(r, p), lt_ll_i64(l, each), "");
  lt_pairwise_push(l, &r->pairwise, s.part, LLVMBuildAdd(l->b, before, index, ""));
}

/* The runs of one iteration of the dims around: in the last dim each length has code of its own. */
static void cut_dim(const reduce *r, state *total, lt_point *p) {
  lt_ll *l = r->l;
  const lt_runs *cut = &r->k->runs;
  int64_t n = r->k->extent[reduced_dim(r->k, cut->dim)], whole = n / cut->per, rest = n % cut->per;
  bool last = cut->dim + 1u == r->k->n_rdims;
  for (int64_t i = 0; r->pairwise.few && i < whole; i++)
    add_run(r, total, p, lt_ll_i64(l, i), lt_ll_i64(l, (i + 1) * cut->per), cut->per);
  if (r->pairwise.few) {
    if (rest) add_run(r, total, p, lt_ll_i64(l, whole), lt_ll_i64(l, n), rest);
    return;
  }
  lt_ll_loop loop = {0};
  carry_in(&loop, total);
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, whole + (rest && !last)), 1);
  carry_out(&loop, total);
  LLVMValueRef next = LLVMBuildAdd(l->b, loop.i, lt_ll_i64(l, 1), "");
  LLVMValueRef to = LLVMBuildMul(l->b, next, lt_ll_i64(l, cut->per), ""), end = lt_ll_i64(l, n);
  if (rest && !last) to = LLVMBuildSelect(l->b, LLVMBuildICmp(l->b, LLVMIntSLT, to, end, ""), to, end, "");
  add_run(r, total, p, loop.i, to, rest && !last ? 0 : cut->per);
  carry_in(&loop, total);
  lt_ll_loop_end(l, &loop);
  carry_out(&loop, total);
  if (rest && last) add_run(r, total, p, lt_ll_i64(l, whole), end, rest);
}

static void around_cut(const reduce *r, state *total, lt_point *p, unsigned dim) {
  lt_ll *l = r->l;
  if (dim == r->k->runs.dim) {
    cut_dim(r, total, p);
    return;
  }
  unsigned d = reduced_dim(r->k, dim);
  lt_ll_loop loop = {0};
  carry_in(&loop, total);
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, r->k->extent[d]), 1);
  carry_out(&loop, total);
  p->i[d] = loop.i;
  around_cut(r, total, p, dim + 1);
  carry_in(&loop, total);
  lt_ll_loop_end(l, &loop);
  carry_out(&loop, total);
  p->i[d] = NULL;
}

/* A chain's total starts at -0: adding its first run gives exactly that. */
static void walk_runs(const reduce *r, state *s, lt_point *p) {
  bool chain = r->k->reduce == LT_SUM_CHAIN;
  unsigned parts = s->n;
  s->n = chain;
  if (chain) s->part[0] = lt_ll_const(r->l, r->vec, -0.0);
  around_cut(r, s, p, 0);
  s->n = parts;
  if (!chain) lt_pairwise_sum(r->l, &r->pairwise, s->part);
}

/* All in one run. */
static void walk_once(const reduce *r, state *s, lt_point *p) {
  int64_t walked = 0, most = s->guard == LT_GUARDS_HOLD ? UNROLL_ALL : UNROLL_GUARDED;
  if (!r->along && r->total <= most) {
    across_all(r, s, p, 0, &walked);
    return;
  }
  walk_dim(r, s, p, 0);
  part_0_first(r, s, r->total);
}

/* The result at p (output dims set), and the count if it is asked for. */
static LLVMValueRef result_at(const reduce *r, lt_point p, lt_guard guard, LLVMValueRef *count) {
  lt_ll *l = r->l;
  state s = start(r, guard);
  LLVMValueRef y;
  if (r->k->runs.per) walk_runs(r, &s, &p);
  else walk_once(r, &s, &p);
  if (r->along) {
    y = fold_lanes(r, s.part[0]);
    if (s.count) s.count = add_lanes(l, s.count);
  } else {
    y = r->k->reduce == LT_REDUCE_ARGMAX ? s.index : s.n == PARTS ? fold_parts(r, &s) : s.part[0];
  }
  *count = s.count ? s.count : r->counted ? lt_ll_const(l, LLVMVectorType(l->i32, LT_LANES), (double)r->total) : NULL;
  return y;
}

/* ---- windows inside the image ---- */

/* Lowest and highest value that dims other than the output's add to an index's numerator. */
static void reach(const reduce *r, const lt_index *x, unsigned lanes, int64_t *lo, int64_t *hi) {
  const lt_kernel *k = r->k;
  *lo = *hi = x->add;
  for (unsigned d = k->n_dims - 1u; d < (unsigned)k->n_dims + k->n_rdims; d++) {
    int64_t most = x->coef[d] * (d < k->n_dims ? (int64_t)lanes - 1 : k->extent[d] - 1);
    *lo += LT_MIN(most, 0), *hi += LT_MAX(most, 0);
  }
}

/* An i1: every guard holds in every iteration of this result. NULL: that cannot be asked so. */
static LLVMValueRef inside(const reduce *r, const lt_point *p) {
  lt_ll *l = r->l;
  const lt_kernel *k = r->k;
  LLVMValueRef ok = NULL;
  for (uint32_t i = 0; i < k->n_rexpr; i++) {
    if (k->rexpr[i].kind != LT_X_LOAD) continue;
    const lt_access *a = &k->access[k->rexpr[i].access];
    if (a->masked) return NULL;
    for (unsigned j = 0; j < a->n_index; j++) {
      const lt_index *x = &a->index[j];
      int64_t lo, hi;
      if (x->div != 1) return NULL;
      reach(r, x, p->lanes, &lo, &hi);
      LLVMValueRef at = lt_ll_i64(l, 0);
      for (unsigned d = 0; d < k->n_dims; d++)
        if (x->coef[d]) at = LLVMBuildAdd(l->b, at, LLVMBuildMul(l->b, p->i[d], lt_ll_i64(l, x->coef[d]), ""), "");
      LLVMValueRef low = LLVMBuildICmp(l->b, LLVMIntSGE, at, lt_ll_i64(l, -lo), "");
      LLVMValueRef high = LLVMBuildICmp(l->b, LLVMIntSLT, at, lt_ll_i64(l, x->limit - hi), "");
      ok = lt_ll_both(l, ok, LLVMBuildAnd(l->b, low, high, ""));
    }
  }
  return ok;
}

static void branch_on(const reduce *r, const lt_point *p, LLVMValueRef all, LLVMValueRef *y, LLVMValueRef *count) {
  lt_ll *l = r->l;
  LLVMBasicBlockRef fast = lt_ll_block(l), slow = lt_ll_block(l), join = lt_ll_block(l);
  LLVMValueRef a, b, na, nb;
  LLVMBuildCondBr(l->b, all, fast, slow);
  LLVMPositionBuilderAtEnd(l->b, fast);
  a = result_at(r, *p, LT_GUARDS_HOLD, &na);
  fast = LLVMGetInsertBlock(l->b);
  LLVMBuildBr(l->b, join);
  LLVMPositionBuilderAtEnd(l->b, slow);
  b = result_at(r, *p, guard_of(r->k), &nb);
  slow = LLVMGetInsertBlock(l->b);
  LLVMBuildBr(l->b, join);
  LLVMPositionBuilderAtEnd(l->b, join);
  *y = lt_ll_phi2(l, a, fast, b, slow);
  *count = na ? lt_ll_phi2(l, na, fast, nb, slow) : NULL;
}

static void at_point(lt_ll *l, void *arg, const lt_point *p) {
  const reduce *r = arg;
  LLVMValueRef count = NULL, y, all = r->guarded && !r->along ? inside(r, p) : NULL;
  if (all) branch_on(r, p, all, &y, &count);
  else y = result_at(r, *p, r->guarded ? guard_of(r->k) : LT_GUARDS_HOLD, &count);
  lt_emit_epilogue(l, r->k, &r->bufs, p, &y, count);
}

/* ---- which way ---- */

/* Instructions per element of a load whose lanes run over dim d. */
static double load_cost(const lt_kernel *k, unsigned d) {
  double n = (double)k->extent[d], steps = (double)((k->extent[d] + LT_LANES - 1) / LT_LANES), cost = 0;
  for (uint32_t i = 0; i < k->n_rexpr; i++) {
    if (k->rexpr[i].kind != LT_X_LOAD) continue;
    const lt_access *a = &k->access[k->rexpr[i].access];
    int64_t stride = a->stride[d];
    bool guard = false;
    for (unsigned j = 0; j < a->n_index; j++) {
      stride += a->index[j].coef[d] / a->index[j].div * a->index[j].stride;
      guard |= a->index[j].coef[d] != 0;
    }
    cost += stride == 0 || stride == 1 ? guard ? 4 : 1 : LT_LANES;
  }
  return (cost + 1) * steps / n;
}

static bool choose_along(const lt_kernel *k) {
  if (k->n_rdims == 0 || k->block_dim != LT_NONE || k->reduce == LT_SUM_CHAIN || k->reduce == LT_REDUCE_ARGMAX)
    return false;
  unsigned last = reduced_dim(k, k->n_rdims - 1u);
  return load_cost(k, last) < load_cost(k, k->n_dims - 1u);
}

static void begin_pairwise(reduce *r) {
  const lt_kernel *k = r->k;
  int64_t runs = lt_runs_count(&k->runs, k->extent + k->n_dims, k->n_rdims);
  bool few = r->along && k->n_rdims == 1 && runs <= LT_PAIRWISE_FEW && k->n_rexpr <= UNROLL_CODE;
  lt_pairwise_begin(r->l, &r->pairwise, k->acc, r->along ? 1 : PARTS, runs, few);
}

static void check(lt_ll *l, const lt_kernel *k) {
  if (k->n_rexpr && k->n_rdims) return;
  lt_fail(l->job, LATHE_E_INTERNAL, NULL, "code generation: reduction %s reduces nothing", k->name);
}

void lt_emit_reduce(lt_ll *l, const lt_kernel *k) {
  check(l, k);
  reduce r = {.l = l, .k = k, .vec = lt_ll_vec(l, k->acc), .along = choose_along(k), .total = 1};
  const lt_instr *last = &k->rexpr[k->n_rexpr - 1];
  r.fused = k->reduce == LT_SUM_CHAIN && last->kind == LT_X_MAP && last->op == LT_OP_mul && lt_is_float(k->acc) &&
            lt_is_float(last->dtype);
  for (unsigned i = 0; i < k->n_rdims; i++) r.total *= k->extent[reduced_dim(k, i)];
  for (uint32_t i = 0; i < k->n_rexpr; i++)
    if (k->rexpr[i].kind == LT_X_LOAD) r.guarded |= k->access[k->rexpr[i].access].n_index > 0;
  for (uint32_t i = 0; i < k->n_expr; i++) r.counted |= k->expr[i].kind == LT_X_COUNT;
  lt_point p = {0};
  if (k->runs.per && k->reduce == LT_SUM_TREE16) begin_pairwise(&r);
  lt_emit_buffers(l, &r.bufs, k, LLVMGetParam(l->fn, 0));
  lt_emit_task(l, k, &p, LLVMGetParam(l->fn, 1));
  lt_emit_walk(l, k, &p, r.along, at_point, &r);
}
