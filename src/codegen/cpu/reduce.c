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
 * Sums of floats that are cut into runs, and short ones of 16 partial sums, are written out as far as that is fast
 * (reduce_runs.c). Chains over blocks of channels are made at several output points at a time (reduce_tile.c). What
 * does not change along the reduced dims is computed before them.
 *
 * Windows that may leave the image: one branch asks whether this one is inside altogether and takes code without
 * guards. */
#include "codegen/cpu/reduce.h"

#include <math.h>

enum { UNROLL_ALL = 32, UNROLL_GUARDED = 4, UNROLL = 4 };

/* Iterations that a guard rejects are skipped; but in a chain the loads give their fill there and take part. */
static bool skips(const lt_kernel *k) { return k->reduce != LT_SUM_CHAIN; }
static lt_guard guard_of(const lt_kernel *k) { return skips(k) ? LT_GUARDS_ANY : LT_GUARDS_FILL; }

static bool is_sum(const lt_kernel *k) { return k->reduce == LT_SUM_TREE16 || k->reduce == LT_SUM_CHAIN; }

/* ---- one element (of each of 16 lanes) ---- */

static LLVMValueRef start_value(const lt_reduction *r) {
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

LLVMValueRef lt_reduce_plus(const lt_reduction *r, LLVMValueRef a, LLVMValueRef b) {
  return lt_is_float(r->k->acc) ? LLVMBuildFAdd(r->l->b, a, b, "") : LLVMBuildAdd(r->l->b, a, b, "");
}

/* v where valid, else other. */
static LLVMValueRef where(lt_ll *l, const lt_valid *ok, LLVMValueRef v, LLVMValueRef other) {
  if (ok->lanes) v = LLVMBuildSelect(l->b, ok->lanes, v, other, "");
  return ok->scalar ? LLVMBuildSelect(l->b, ok->scalar, v, other, "") : v;
}

/* Which lanes take part in this iteration: guards, and along a row the ones before its end. */
static lt_valid taking_part(const lt_reduction *r, const lt_point *p, unsigned lane, lt_guard guard) {
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
static LLVMTypeRef index_type(const lt_reduction *r) {
  return LLVMVectorType(r->total <= INT32_MAX ? r->l->i32 : r->l->i64, LT_LANES);
}

/* The row-major index over the reduced dims, the same in all lanes. */
static LLVMValueRef flat_index(const lt_reduction *r, const lt_point *p) {
  lt_ll *l = r->l;
  LLVMValueRef sum = lt_ll_i64(l, 0);
  for (unsigned i = 0; i < r->k->n_rdims; i++) {
    unsigned d = lt_reduced_dim(r->k, i);
    sum = LLVMBuildAdd(l->b, LLVMBuildMul(l->b, sum, lt_ll_i64(l, r->k->extent[d]), ""), p->i[d], "");
  }
  return lt_ll_splat(l, LLVMBuildIntCast2(l->b, sum, LLVMGetElementType(index_type(r)), true, ""), LT_LANES);
}

/* The first maximum, or the first NaN; index -1 says that there was none yet. */
static void take_argmax(const lt_reduction *r, lt_sums *s, const lt_point *p, const lt_valid *ok, LLVMValueRef v) {
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

static void count_one(const lt_reduction *r, lt_sums *s, const lt_valid *ok) {
  if (!s->count) return;
  LLVMTypeRef t = LLVMTypeOf(s->count);
  LLVMValueRef one = where(r->l, ok, lt_ll_const(r->l, t, 1), LLVMConstNull(t));
  s->count = LLVMBuildAdd(r->l->b, s->count, one, "");
}

/* The dim that the lanes run over. */
static unsigned element_lane(const lt_reduction *r) {
  return r->along ? lt_reduced_dim(r->k, r->k->n_rdims - 1u) : r->k->n_dims - 1u;
}

/* rexpr[0..n) at p. */
static LLVMValueRef *values_at(const lt_reduction *r, const lt_point *p, uint32_t n, lt_guard guard) {
  LLVMValueRef *value = LT_NEW_ARRAY(r->l->arena, LLVMValueRef, r->k->n_rexpr);
  memcpy(value, r->fixed, r->k->n_rexpr * sizeof *value);
  lt_emit_expr(r->l, r->k, &r->bufs, r->k->rexpr, n, p, element_lane(r), NULL, NULL, guard, value);
  return value;
}

LLVMValueRef lt_reduce_element(const lt_reduction *r, const lt_point *p) {
  uint32_t n = r->k->n_rexpr;
  return lt_emit_convert(r->l, values_at(r, p, n, LT_GUARDS_HOLD)[n - 1], r->k->rexpr[n - 1].dtype, r->k->acc);
}

void lt_reduce_take(const lt_reduction *r, lt_sums *s, const lt_point *p, unsigned j) {
  lt_ll *l = r->l;
  const lt_kernel *k = r->k;
  uint32_t n = k->n_rexpr - (r->fused ? 1 : 0);
  LLVMValueRef *value = values_at(r, p, n, s->guard);
  lt_valid ok = taking_part(r, p, element_lane(r), s->guard);
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
  else s->part[j] = lt_reduce_plus(r, s->part[j], where(l, &ok, v, LLVMConstNull(r->vec)));
}

/* ---- loops over reduced dims ---- */

void lt_reduce_carry_in(lt_ll_loop *loop, const lt_sums *s) {
  loop->n_carry = 0;
  for (unsigned i = 0; i < s->n; i++) loop->carry[loop->n_carry++] = s->part[i];
  if (s->index) loop->carry[loop->n_carry++] = s->index;
  if (s->count) loop->carry[loop->n_carry++] = s->count;
}

void lt_reduce_carry_out(const lt_ll_loop *loop, lt_sums *s) {
  unsigned n = 0;
  for (unsigned i = 0; i < s->n; i++) s->part[i] = loop->carry[n++];
  if (s->index) s->index = loop->carry[n++];
  if (s->count) s->count = loop->carry[n++];
}

/* What stood at place `by` comes first. */
static void rename_parts(lt_sums *s, int64_t by) {
  LLVMValueRef old[LT_PARTS];
  memcpy(old, s->part, sizeof old);
  for (unsigned i = 0; i < s->n; i++) s->part[i] = old[(i + (uint64_t)by) % s->n];
}

/* What stood in lane `by` comes first. */
LLVMValueRef lt_reduce_rotated(lt_ll *l, LLVMValueRef v, int64_t by) {
  int lane[LT_LANES];
  for (int i = 0; i < LT_LANES; i++) lane[i] = (i + (int)by) % LT_LANES;
  return by % LT_LANES ? lt_ll_shuffle(l, v, NULL, lane, LT_LANES) : v;
}

static LLVMValueRef on_from(lt_ll *l, LLVMValueRef base, LLVMValueRef i) {
  int64_t known;
  return lt_ll_const_of(base, &known) && known == 0 ? i : LLVMBuildAdd(l->b, base, i, "");
}

/* base + i, i in [from, to), of dim d, `step` in one turn of the loop: vectors (along), or one after the other
 * (across). */
static void walk(const lt_reduction *r, lt_sums *s, lt_point *p, unsigned d, LLVMValueRef base, int64_t from,
                 int64_t to, int64_t step) {
  lt_ll *l = r->l;
  if (from >= to) return;
  lt_ll_loop loop = {0};
  lt_reduce_carry_in(&loop, s);
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, from), lt_ll_i64(l, to), step);
  lt_reduce_carry_out(&loop, s);
  for (int64_t i = 0; i < step; i += r->along ? LT_LANES : 1) {
    p->i[d] = on_from(l, base, i ? LLVMBuildAdd(l->b, loop.i, lt_ll_i64(l, i), "") : loop.i);
    lt_reduce_take(r, s, p, (unsigned)(i % s->n));
  }
  lt_reduce_carry_in(&loop, s);
  lt_ll_loop_end(l, &loop);
  lt_reduce_carry_out(&loop, s);
}

static void across_all(const lt_reduction *r, lt_sums *s, lt_point *p, unsigned dim, int64_t *i) {
  unsigned d = lt_reduced_dim(r->k, dim);
  if (dim == r->k->n_rdims) {
    lt_reduce_take(r, s, p, (unsigned)((*i)++ % s->n));
    return;
  }
  for (int64_t x = 0; x < r->k->extent[d]; x++) {
    p->i[d] = lt_ll_i64(r->l, x);
    across_all(r, s, p, dim + 1, i);
  }
  p->i[d] = NULL;
}

/* across: the last reduced dim, one after the other. */
static void across_row(const lt_reduction *r, lt_sums *s, lt_point *p, unsigned d, LLVMValueRef base, int64_t n) {
  int64_t step = s->n == LT_PARTS ? LT_PARTS : LT_MIN(n, UNROLL), whole = n / step * step;
  walk(r, s, p, d, base, 0, whole, step);
  if (whole < n) walk(r, s, p, d, base, whole, n, n - whole);
  rename_parts(s, n % s->n);
}

/* along: the last reduced dim, 16 at a time. */
static void along_row(const lt_reduction *r, lt_sums *s, lt_point *p, unsigned d, LLVMValueRef base, int64_t n) {
  lt_ll *l = r->l;
  unsigned out_lanes = p->lanes;
  int64_t whole = n / LT_LANES * LT_LANES;
  p->lanes = LT_LANES;
  walk(r, s, p, d, base, 0, whole, LT_LANES);
  if (whole < n) {
    p->i[d] = LLVMBuildAdd(l->b, base, lt_ll_i64(l, whole), "");
    p->lanes = (unsigned)(n - whole);
    lt_reduce_take(r, s, p, 0);
  }
  p->lanes = out_lanes;
  if (r->k->reduce == LT_SUM_TREE16) s->part[0] = lt_reduce_rotated(l, s->part[0], n % LT_LANES);
}

/* Reduced dims from `dim` on, of the dim that is cut what belongs to the run. The part of the next element then stands
 * first. */
void lt_reduce_nest(const lt_reduction *r, lt_sums *s, lt_point *p, unsigned dim) {
  lt_ll *l = r->l;
  unsigned d = lt_reduced_dim(r->k, dim);
  const lt_run_span whole = {lt_ll_i64(l, 0), r->k->extent[d]}, *x = s->run && dim == r->k->runs.dim ? s->run : &whole;
  if (dim + 1u == r->k->n_rdims) {
    (r->along ? along_row : across_row)(r, s, p, d, x->from, x->n);
    p->i[d] = NULL;
    return;
  }
  lt_ll_loop loop = {0};
  lt_reduce_carry_in(&loop, s);
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, x->n), 1);
  lt_reduce_carry_out(&loop, s);
  p->i[d] = on_from(l, x->from, loop.i);
  lt_reduce_nest(r, s, p, dim + 1);
  lt_reduce_carry_in(&loop, s);
  lt_ll_loop_end(l, &loop);
  lt_reduce_carry_out(&loop, s);
  p->i[d] = NULL;
}

/* ---- one result ---- */

lt_sums lt_reduce_start(const lt_reduction *r, lt_guard guard) {
  lt_ll *l = r->l;
  lt_sums s = {.n = !r->along && r->k->reduce == LT_SUM_TREE16 ? LT_PARTS : 1, .guard = guard};
  for (unsigned i = 0; i < s.n; i++) s.part[i] = start_value(r);
  if (r->k->reduce == LT_REDUCE_ARGMAX) s.index = lt_ll_const(l, index_type(r), -1);
  if (r->counted && guard != LT_GUARDS_HOLD) s.count = LLVMConstNull(LLVMVectorType(l->i32, LT_LANES));
  return s;
}

static LLVMValueRef combine(const lt_reduction *r, LLVMValueRef a, LLVMValueRef b) {
  return is_sum(r->k) ? lt_reduce_plus(r, a, b) : lt_emit_max(r->l, a, b);
}

/* Partial sums 8, 4, 2, 1 apart; those that no element went to are left out (adding their +0 changes nothing). */
static LLVMValueRef fold_parts(const lt_reduction *r, lt_sums *s) {
  int64_t live = LT_MIN(r->total, LT_PARTS);
  for (int64_t apart = 8; apart > 0; apart /= 2) {
    for (int64_t i = 0; i < apart && i + apart < live; i++) s->part[i] = combine(r, s->part[i], s->part[i + apart]);
    live = LT_MIN(live, apart);
  }
  return s->part[0];
}

static LLVMValueRef fold_lanes(const lt_reduction *r, LLVMValueRef v) {
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
void lt_reduce_order(const lt_reduction *r, lt_sums *s, int64_t end) {
  if (r->k->reduce != LT_SUM_TREE16) return;
  int64_t back = (LT_PARTS - end % LT_PARTS) % LT_PARTS;
  if (r->along) s->part[0] = lt_reduce_rotated(r->l, s->part[0], back);
  else rename_parts(s, back);
}

/* All in one run. */
static void walk_once(const lt_reduction *r, lt_sums *s, lt_point *p) {
  int64_t walked = 0, most = s->guard == LT_GUARDS_HOLD ? UNROLL_ALL : UNROLL_GUARDED;
  if (!r->along && r->total <= most) {
    across_all(r, s, p, 0, &walked);
    return;
  }
  lt_reduce_nest(r, s, p, 0);
  lt_reduce_order(r, s, r->total);
}

/* What does not change along the reduced dims, at the point p of the output. */
static void compute_still(lt_reduction *r, lt_point p, lt_guard guard) {
  lt_ll *l = r->l;
  const lt_kernel *k = r->k;
  r->fixed = LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_rexpr);
  if (r->along) p.lanes = LT_LANES;
  for (uint32_t i = 0; i < k->n_rexpr; i++)
    if (!r->still[i]) r->fixed[i] = LLVMGetPoison(lt_ll_vec(l, k->rexpr[i].dtype)); /* nothing here looks at it */
  lt_emit_expr(l, k, &r->bufs, k->rexpr, k->n_rexpr, &p, element_lane(r), NULL, NULL, guard, r->fixed);
  for (uint32_t i = 0; i < k->n_rexpr; i++)
    if (!r->still[i]) r->fixed[i] = NULL;
}

/* The result at p (output dims set), and the count if it is asked for. */
static LLVMValueRef result_at(const lt_reduction *kernel, lt_point p, lt_guard guard, LLVMValueRef *count) {
  lt_ll *l = kernel->l;
  lt_reduction here = *kernel;
  const lt_reduction *r = &here;
  lt_sums s = lt_reduce_start(r, guard);
  LLVMValueRef y;
  compute_still(&here, p, guard);
  if (r->runs) lt_runs_sum(r, &s, &p);
  else walk_once(r, &s, &p);
  if (r->along) {
    y = fold_lanes(r, s.part[0]);
    if (s.count) s.count = add_lanes(l, s.count);
  } else {
    y = r->k->reduce == LT_REDUCE_ARGMAX ? s.index : s.n == LT_PARTS ? fold_parts(r, &s) : s.part[0];
  }
  *count = s.count ? s.count : r->counted ? lt_ll_const(l, LLVMVectorType(l->i32, LT_LANES), (double)r->total) : NULL;
  return y;
}

/* ---- windows inside the image ---- */

/* Lowest and highest value that dims other than the output's add to an index's numerator. */
static void reach(const lt_reduction *r, const lt_index *x, unsigned lanes, int64_t *lo, int64_t *hi) {
  const lt_kernel *k = r->k;
  *lo = *hi = x->add;
  for (unsigned d = k->n_dims - 1u; d < (unsigned)k->n_dims + k->n_rdims; d++) {
    int64_t most = x->coef[d] * (d < k->n_dims ? (int64_t)lanes - 1 : k->extent[d] - 1);
    *lo += LT_MIN(most, 0), *hi += LT_MAX(most, 0);
  }
}

/* An i1: every guard holds in every iteration of this result. NULL: that cannot be asked so. */
static LLVMValueRef inside(const lt_reduction *r, const lt_point *p) {
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

static void branch_on(const lt_reduction *r, const lt_point *p, LLVMValueRef all, LLVMValueRef *y,
                      LLVMValueRef *count) {
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
  const lt_reduction *r = arg;
  LLVMValueRef count = NULL, y, all = r->guarded && !r->along ? inside(r, p) : NULL;
  if (all) branch_on(r, p, all, &y, &count);
  else y = result_at(r, *p, r->guarded ? guard_of(r->k) : LT_GUARDS_HOLD, &count);
  lt_emit_epilogue(l, r->k, &r->bufs, p, &y, count, NULL);
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
  unsigned last = lt_reduced_dim(k, k->n_rdims - 1u);
  return load_cost(k, last) < load_cost(k, k->n_dims - 1u);
}

static bool reads_reduced(const lt_kernel *k, const lt_access *a) {
  for (unsigned i = 0; i < k->n_rdims; i++)
    if (a->stride[lt_reduced_dim(k, i)]) return true;
  return a->n_index > 0;
}

/* Which instructions give the same for all elements of a result. */
static bool *find_still(lt_ll *l, const lt_kernel *k) {
  bool *still = LT_NEW_ARRAY(l->arena, bool, k->n_rexpr);
  for (uint32_t i = 0; i < k->n_rexpr; i++) {
    const lt_instr *x = &k->rexpr[i];
    still[i] =
      x->kind == LT_X_LOAD ? !reads_reduced(k, &k->access[x->access]) : x->kind == LT_X_CONST || x->kind == LT_X_MAP;
    for (int j = 0; x->kind == LT_X_MAP && j < 3; j++)
      if (x->arg[j] >= 0 && x->arg[j] < (int32_t)i) still[i] &= still[x->arg[j]];
  }
  return still;
}

static void check(lt_ll *l, const lt_kernel *k) {
  if (k->n_rexpr && k->n_rdims) return;
  lt_fail(l->job, LATHE_E_INTERNAL, NULL, "code generation: reduction %s reduces nothing", k->name);
}

void lt_emit_reduce(lt_ll *l, const lt_kernel *k) {
  check(l, k);
  lt_reduction r = {.l = l, .k = k, .vec = lt_ll_vec(l, k->acc), .along = choose_along(k), .total = 1};
  const lt_instr *last = &k->rexpr[k->n_rexpr - 1];
  r.fused = k->reduce == LT_SUM_CHAIN && last->kind == LT_X_MAP && last->op == LT_OP_mul && lt_is_float(k->acc) &&
            lt_is_float(last->dtype);
  for (unsigned i = 0; i < k->n_rdims; i++) r.total *= k->extent[lt_reduced_dim(k, i)];
  for (uint32_t i = 0; i < k->n_rexpr; i++)
    if (k->rexpr[i].kind == LT_X_LOAD) r.guarded |= k->access[k->rexpr[i].access].n_index > 0;
  for (uint32_t i = 0; i < k->n_expr; i++) r.counted |= k->expr[i].kind == LT_X_COUNT;
  lt_point p = {0};
  lt_emit_buffers(l, &r.bufs, k, LLVMGetParam(l->fn, 0));
  lt_emit_task(l, k, &p, LLVMGetParam(l->fn, 1));
  if (lt_emit_reduce_tiles(&r, &p)) return;
  r.still = find_still(l, k);
  r.runs = lt_runs_begin(&r);
  lt_emit_walk(l, k, &p, r.along, at_point, &r);
}
