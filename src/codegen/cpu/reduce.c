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
 * Windows that may leave the image: one branch asks whether this one is inside altogether and takes code without
 * guards. */
#include "codegen/cpu/emit.h"

#include <math.h>

enum { PARTS = 16, UNROLL_ALL = 32, UNROLL_GUARDED = 4, UNROLL = 4 };

typedef struct reduce {
  lt_ll *l;
  const lt_kernel *k;
  lt_bufs bufs;
  LLVMTypeRef vec;       /* <16 x acc> */
  bool along, fused;     /* fused: the last multiplication of a chain goes into the addition */
  bool guarded, counted; /* some guard may fail; X_COUNT is asked for */
  int64_t total;         /* reduced elements */
} reduce;

/* What is carried through the loops over reduced dims. part[0..n): sums or the maximum; index: ARGMAX. */
typedef struct state {
  unsigned n;
  LLVMValueRef part[PARTS], index, count;
  lt_guard guard; /* HOLD: all guards are known to hold; otherwise each is looked at */
} state;

static unsigned reduced_dim(const lt_kernel *k, unsigned i) { return k->n_dims + i; }

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
  for (uint32_t i = 0; guard != LT_GUARDS_HOLD && i < r->k->n_rexpr; i++)
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

/* Elements [from, to) of dim d, `step` in one turn of the loop: one vector (along), or one after the other (across). */
static void run(const reduce *r, state *s, lt_point *p, unsigned d, int64_t from, int64_t to, int64_t step) {
  lt_ll *l = r->l;
  if (from >= to) return;
  lt_ll_loop loop = {0};
  carry_in(&loop, s);
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, from), lt_ll_i64(l, to), step);
  carry_out(&loop, s);
  for (int64_t i = 0; i < (r->along ? 1 : step); i++) {
    p->i[d] = i ? LLVMBuildAdd(l->b, loop.i, lt_ll_i64(l, i), "") : loop.i;
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

/* Returns the number of elements walked; part[0] is then the place of the next one. */
static int64_t across_dim(const reduce *r, state *s, lt_point *p, unsigned dim) {
  lt_ll *l = r->l;
  unsigned d = reduced_dim(r->k, dim);
  int64_t n = r->k->extent[d], inner;
  if (dim + 1u == r->k->n_rdims) {
    int64_t step = s->n == PARTS ? PARTS : LT_MIN(n, UNROLL), whole = n / step * step;
    run(r, s, p, d, 0, whole, step);
    if (whole < n) run(r, s, p, d, whole, n, n - whole);
    p->i[d] = NULL;
    rename_parts(s, n % s->n);
    return n;
  }
  lt_ll_loop loop = {0};
  carry_in(&loop, s);
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, n), 1);
  carry_out(&loop, s);
  p->i[d] = loop.i;
  inner = across_dim(r, s, p, dim + 1);
  carry_in(&loop, s);
  lt_ll_loop_end(l, &loop);
  carry_out(&loop, s);
  p->i[d] = NULL;
  return n * inner;
}

/* along: the last reduced dim 16 at a time. */
static void along_row(const reduce *r, state *s, lt_point *p) {
  lt_ll *l = r->l;
  unsigned d = reduced_dim(r->k, r->k->n_rdims - 1u), out_lanes = p->lanes;
  int64_t n = r->k->extent[d], whole = n / LT_LANES * LT_LANES;
  p->lanes = LT_LANES;
  run(r, s, p, d, 0, whole, LT_LANES);
  if (whole < n) {
    p->i[d] = lt_ll_i64(l, whole);
    p->lanes = (unsigned)(n - whole);
    take(r, s, p, 0);
  }
  p->i[d] = NULL;
  p->lanes = out_lanes;
  if (r->k->reduce == LT_SUM_TREE16) rotate_lanes(l, s, n);
}

static void along_dim(const reduce *r, state *s, lt_point *p, unsigned dim) {
  unsigned d = reduced_dim(r->k, dim);
  if (dim + 1u == r->k->n_rdims) {
    along_row(r, s, p);
    return;
  }
  lt_ll_loop loop = {0};
  carry_in(&loop, s);
  lt_ll_loop_begin(r->l, &loop, lt_ll_i64(r->l, 0), lt_ll_i64(r->l, r->k->extent[d]), 1);
  carry_out(&loop, s);
  p->i[d] = loop.i;
  along_dim(r, s, p, dim + 1);
  carry_in(&loop, s);
  lt_ll_loop_end(r->l, &loop);
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

/* The result at p (output dims set), and the count if it is asked for. */
static LLVMValueRef result_at(const reduce *r, lt_point p, lt_guard guard, LLVMValueRef *count) {
  lt_ll *l = r->l;
  state s = start(r, guard);
  LLVMValueRef y;
  if (r->along) {
    along_dim(r, &s, &p, 0);
    int64_t back = (LT_LANES - r->total % LT_LANES) % LT_LANES;
    if (r->k->reduce == LT_SUM_TREE16) rotate_lanes(l, &s, back);
    y = fold_lanes(r, s.part[0]);
    if (s.count) s.count = add_lanes(l, s.count);
  } else {
    int64_t walked = 0;
    if (r->total <= (guard == LT_GUARDS_HOLD ? UNROLL_ALL : UNROLL_GUARDED)) across_all(r, &s, &p, 0, &walked);
    else rename_parts(&s, (int64_t)s.n - across_dim(r, &s, &p, 0) % (int64_t)s.n);
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
  b = result_at(r, *p, LT_GUARDS_ANY, &nb);
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
  else y = result_at(r, *p, r->guarded ? LT_GUARDS_ANY : LT_GUARDS_HOLD, &count);
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
  lt_emit_buffers(l, &r.bufs, k, LLVMGetParam(l->fn, 0));
  lt_emit_task(l, k, &p, LLVMGetParam(l->fn, 1));
  lt_emit_walk(l, k, &p, r.along, at_point, &r);
}
