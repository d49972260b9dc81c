/* expr.c: what a kernel does at one point of its iteration space, for 16 lanes at once: loads through affine accesses
 * with guards, elementwise ops, stores.
 *
 * A load looks at its stride along the lanes: 1 is a vector load, 0 a scalar load and a splat, 2 two vector loads and a
 * shuffle, anything else 16 element loads. Lanes that must not be touched (tails, `masked` last blocks) are left out by
 * loading in pieces of 8, 4, 2, 1, never by masked instructions, so that every ISA runs the same program. Where a guard
 * depends on the lane (a window along a row of a plain image), one branch asks whether all lanes are inside, which is
 * the common case, and takes the vector load. */
#include "codegen/cpu/emit.h"
#include "plan/operands.h"

#include <assert.h>

/* ---- affine indices ---- */

/* The numerator of an index at lane 0, its step from lane to lane, and what values it can take over the live lanes. */
typedef struct lt_num { LLVMValueRef at; int64_t step, lo, hi; } lt_num;

static unsigned all_dims(const lt_kernel *k) { return k->n_dims + k->n_rdims; }

static LLVMValueRef add_scaled(lt_ll *l, LLVMValueRef sum, LLVMValueRef i, int64_t by) {
  int64_t fixed;
  if (by == 0 || (sum && lt_ll_const_of(i, &fixed) && fixed == 0)) return sum;
  LLVMValueRef x = by == 1 ? i : LLVMBuildNSWMul(l->b, i, lt_ll_i64(l, by), "");
  return sum ? LLVMBuildNSWAdd(l->b, sum, x, "") : x;
}

static LLVMValueRef affine_sum(lt_ll *l, const lt_kernel *k, const int64_t *coef, const lt_point *p) {
  LLVMValueRef sum = NULL;
  for (unsigned d = 0; d < all_dims(k); d++)
    if (p->i[d]) sum = add_scaled(l, sum, p->i[d], coef[d]);
  return sum ? sum : lt_ll_i64(l, 0);
}

static LLVMValueRef known(const lt_ll *l, const lt_ll_sum *want) {
  for (unsigned j = 0; j < LT_LL_SUMS; j++) {
    const lt_ll_sum *s = &l->sum[j];
    if (s->block == want->block && s->base == want->base && s->dtype == want->dtype &&
        !memcmp(s->i, want->i, sizeof s->i) && !memcmp(s->coef, want->coef, sizeof s->coef))
      return s->sum;
  }
  return NULL;
}

static void remember(lt_ll *l, const lt_ll_sum *s) { l->sum[l->next_sum++ % LT_LL_SUMS] = *s; }

/* Accesses of one tile have the same strides: what stands in this block is not built again. */
static lt_ll_sum sum_of(const lt_ll *l, const lt_kernel *k, const int64_t *coef, const lt_point *p) {
  _Static_assert((int)LT_LL_TERMS == (int)LT_MAX_DIMS, "a sum has a term for each dim");
  lt_ll_sum want = {.block = LLVMGetInsertBlock(l->b)};
  for (unsigned d = 0; d < all_dims(k); d++)
    if (p->i[d] && coef[d]) want.i[d] = p->i[d], want.coef[d] = coef[d];
  return want;
}

static LLVMValueRef affine(lt_ll *l, const lt_kernel *k, const int64_t *coef, const lt_point *p) {
  lt_ll_sum want = sum_of(l, k, coef, p);
  LLVMValueRef found = known(l, &want);
  if (found) return found;
  want.sum = affine_sum(l, k, coef, p);
  remember(l, &want);
  return want.sum;
}

/* &base[Σ coef·i] */
static LLVMValueRef affine_at(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const int64_t *coef, const lt_point *p,
                              lt_dtype t) {
  lt_ll_sum want = sum_of(l, k, coef, p);
  want.base = base, want.dtype = t;
  LLVMValueRef found = known(l, &want);
  if (found) return found;
  want.sum = lt_ll_at(l, base, affine(l, k, coef, p), t, 0);
  remember(l, &want);
  return want.sum;
}

/* What constant displacements add. */
static int64_t displaced(const lt_kernel *k, const int64_t *coef, const lt_point *p) {
  int64_t sum = 0;
  for (unsigned d = 0; d < all_dims(k); d++) sum += coef[d] * p->plus[d];
  return sum;
}

/* The values that i + plus takes along dim d: it is inside the kernel's extents. */
static void range_along(const lt_kernel *k, const lt_point *p, unsigned d, bool lane, unsigned lanes, int64_t *first,
                        int64_t *last) {
  int64_t at = 0, plus = p->plus[d];
  if (!p->i[d] || lt_ll_const_of(p->i[d], &at)) {
    *first = at + plus;
    *last = *first + (p->i[d] && lane ? (int64_t)lanes - 1 : 0);
    return;
  }
  *first = LT_MAX(plus, 0);
  *last = k->extent[d] - 1 + LT_MIN(plus, 0);
}

static lt_num numerator(lt_ll *l, const lt_kernel *k, const lt_index *x, const lt_point *p, unsigned lane,
                        unsigned lanes) {
  lt_num n = {.step = x->coef[lane], .lo = x->add, .hi = x->add};
  for (unsigned d = 0; d < all_dims(k); d++) {
    int64_t first, last, c = x->coef[d];
    range_along(k, p, d, d == lane, lanes, &first, &last);
    n.lo += c > 0 ? c * first : c * last;
    n.hi += c > 0 ? c * last : c * first;
  }
  n.at = LLVMBuildNSWAdd(l->b, affine(l, k, x->coef, p), lt_ll_i64(l, x->add + displaced(k, x->coef, p)), "");
  return n;
}

static bool always_inside(const lt_index *x, const lt_num *n) { return x->div == 1 && n->lo >= 0 && n->hi < x->limit; }

/* Is num (i64 or a vector of it) a valid numerator? */
static LLVMValueRef inside(lt_ll *l, const lt_index *x, LLVMValueRef num) {
  LLVMTypeRef t = LLVMTypeOf(num);
  LLVMValueRef ok = LLVMBuildICmp(l->b, LLVMIntULT, num, lt_ll_const(l, t, (double)(x->limit * x->div)), "");
  if (x->div == 1) return ok;
  LLVMValueRef rest = LLVMBuildURem(l->b, num, lt_ll_const(l, t, (double)x->div), "");
  return LLVMBuildAnd(l->b, ok, LLVMBuildICmp(l->b, LLVMIntEQ, rest, LLVMConstNull(t), ""), "");
}

static LLVMValueRef by_lanes(lt_ll *l, const lt_num *n) {
  LLVMTypeRef t = n->lo > -(1 << 29) && n->hi < 1 << 29 ? l->i32 : l->i64;
  LLVMValueRef at = t == l->i32 ? LLVMBuildTrunc(l->b, n->at, t, "") : n->at;
  LLVMValueRef step[LT_LANES];
  for (int i = 0; i < LT_LANES; i++) step[i] = LLVMConstInt(t, (uint64_t)(i * n->step), true);
  return LLVMBuildAdd(l->b, lt_ll_splat(l, at, LT_LANES), LLVMConstVector(step, LT_LANES), "");
}

void lt_emit_valid(lt_ll *l, lt_valid *v, const lt_kernel *k, const lt_access *a, const lt_point *p, unsigned lane) {
  for (unsigned j = 0; j < a->n_index; j++) {
    const lt_index *x = &a->index[j];
    lt_num n = numerator(l, k, x, p, lane, p->lanes);
    if (always_inside(x, &n)) continue;
    if (n.step == 0) v->scalar = lt_ll_both(l, v->scalar, inside(l, x, n.at));
    else v->lanes = lt_ll_both(l, v->lanes, inside(l, x, by_lanes(l, &n)));
  }
}

/* ---- lanes in memory ---- */

static unsigned size_of(lt_dtype t) { return (unsigned)lt_dtype_size(t); }

static LLVMValueRef load_one(lt_ll *l, LLVMValueRef at, lt_dtype t) {
  LLVMValueRef v = LLVMBuildLoad2(l->b, lt_ll_type(l, t), at, "");
  LLVMSetAlignment(v, size_of(t));
  return v;
}

LLVMValueRef lt_emit_load_row(lt_ll *l, LLVMValueRef at, lt_dtype t, unsigned lanes) {
  LLVMTypeRef e = lt_ll_type(l, t), full = LLVMVectorType(e, LT_LANES);
  LLVMValueRef sum = LLVMConstNull(full);
  for (unsigned done = 0, n; done < lanes; done += n) {
    for (n = LT_LANES; n > lanes - done; n /= 2) continue;
    LLVMValueRef piece = LLVMBuildLoad2(l->b, n == 1 ? e : LLVMVectorType(e, n), lt_ll_at(l, at, NULL, t, done), "");
    LLVMSetAlignment(piece, size_of(t));
    if (n == LT_LANES) return piece;
    if (n == 1) {
      sum = LLVMBuildInsertElement(l->b, sum, piece, LLVMConstInt(l->i32, done, false), "");
      continue;
    }
    int widen[LT_LANES], blend[LT_LANES];
    for (unsigned i = 0; i < LT_LANES; i++) {
      bool in = i >= done && i < done + n;
      widen[i] = in ? (int)(i - done) : -1;
      blend[i] = in ? (int)(LT_LANES + i) : (int)i;
    }
    sum = lt_ll_shuffle(l, sum, lt_ll_shuffle(l, piece, NULL, widen, LT_LANES), blend, LT_LANES);
  }
  return sum;
}

void lt_emit_store_row(lt_ll *l, LLVMValueRef at, lt_dtype t, unsigned lanes, LLVMValueRef v) {
  for (unsigned done = 0, n; done < lanes; done += n) {
    for (n = LT_LANES; n > lanes - done; n /= 2) continue;
    int pick[LT_LANES];
    for (unsigned i = 0; i < n; i++) pick[i] = (int)(done + i);
    LLVMValueRef piece = n == LT_LANES ? v : n == 1 ? lt_ll_lane(l, v, done) : lt_ll_shuffle(l, v, NULL, pick, n);
    LLVMSetAlignment(LLVMBuildStore(l->b, piece, lt_ll_at(l, at, NULL, t, done)), size_of(t));
  }
}

LLVMValueRef lt_emit_every_second(lt_ll *l, LLVMValueRef at, lt_dtype t, unsigned lanes) {
  const unsigned span = 2 * lanes - 1, first = LT_MIN(span, LT_LANES), behind = span - first;
  LLVMValueRef low = lt_emit_load_row(l, at, t, first);
  LLVMValueRef high = behind ? lt_emit_load_row(l, lt_ll_at(l, at, NULL, t, behind), t, LT_LANES) : NULL;
  int pick[LT_LANES];
  for (unsigned i = 0; i < LT_LANES; i++) {
    const unsigned e = LT_MIN(2 * i, span - 1);
    pick[i] = (int)(e < LT_LANES ? e : LT_LANES + e - behind);
  }
  return lt_ll_shuffle(l, low, high, pick, LT_LANES);
}

static LLVMValueRef load_lanes(lt_ll *l, LLVMValueRef at, lt_dtype t, int64_t stride, unsigned lanes) {
  if (stride == 1 || lanes == 1) return lt_emit_load_row(l, at, t, lanes);
  if (stride == 0) return lt_ll_splat(l, load_one(l, at, t), LT_LANES);
  if (stride == 2) return lt_emit_every_second(l, at, t, lanes);
  LLVMValueRef v = LLVMConstNull(LLVMVectorType(lt_ll_type(l, t), LT_LANES));
  at = lt_ll_opaque(l, at);
  for (unsigned i = 0; i < lanes; i++)
    v = LLVMBuildInsertElement(l->b, v, load_one(l, lt_ll_at(l, at, NULL, t, i * stride), t),
                               LLVMConstInt(l->i32, i, false), "");
  return v;
}

static void store_lanes(lt_ll *l, LLVMValueRef at, lt_dtype t, int64_t stride, unsigned lanes, LLVMValueRef v) {
  if (stride == 1 || lanes == 1) {
    lt_emit_store_row(l, at, t, lanes, v);
    return;
  }
  at = lt_ll_opaque(l, at);
  for (unsigned i = 0; i < lanes; i++) {
    LLVMValueRef lane = lt_ll_lane(l, v, i);
    LLVMSetAlignment(LLVMBuildStore(l->b, lane, lt_ll_at(l, at, NULL, t, i * stride)), size_of(t));
  }
}

/* ---- which lanes exist ---- */

/* Lanes that an access may touch: `full`, or `tail` in the last block (when is_tail, an i1, is set). */
typedef struct lt_extent { unsigned full, tail; LLVMValueRef is_tail; } lt_extent;

static lt_extent lanes_of(lt_ll *l, const lt_kernel *k, const lt_access *a, const lt_point *p, unsigned lane) {
  lt_extent e = {p->lanes, 0, NULL};
  if (k->block_dim == LT_NONE || lane + 1 != k->n_dims) return e;
  if (!a->masked) e.full = LT_LANES;
  unsigned tail = (unsigned)(k->channels % LT_LANES);
  if (!a->masked || tail == 0) return e;
  int64_t block, last = k->channels / LT_LANES;
  if (lt_ll_const_of(p->i[k->block_dim], &block)) {
    if (block == last) e.full = LT_MIN(e.full, tail);
    return e;
  }
  if (k->extent[k->block_dim] <= last || e.full <= tail) return e;
  e.tail = tail;
  e.is_tail = LLVMBuildICmp(l->b, LLVMIntEQ, p->i[k->block_dim], lt_ll_i64(l, last), "");
  return e;
}

/* <16 x i1>: lanes that exist; NULL: all do. */
static LLVMValueRef existing(lt_ll *l, const lt_kernel *k, const lt_point *p, unsigned lane) {
  if (k->block_dim == LT_NONE || lane + 1 != k->n_dims || k->channels % LT_LANES == 0) return NULL;
  LLVMValueRef left = LLVMBuildSub(l->b, lt_ll_i64(l, k->channels),
                                   LLVMBuildMul(l->b, p->i[k->block_dim], lt_ll_i64(l, LT_LANES), ""), "");
  return LLVMBuildICmp(l->b, LLVMIntSLT, lt_ll_iota(l, l->i64), lt_ll_splat(l, left, LT_LANES), "");
}

/* ---- addresses ---- */

/* The address of lane 0 and the stride from lane to lane, where guards hold (or their indices are clamped to 0). */
typedef struct lt_lane_place { LLVMValueRef at; int64_t stride; } lt_lane_place;

static LLVMValueRef quotient(lt_ll *l, const lt_index *x, LLVMValueRef num) {
  return x->div == 1 ? num : LLVMBuildExactSDiv(l->b, num, lt_ll_i64(l, x->div), "");
}

static lt_lane_place place(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                           unsigned lane, lt_dtype t, bool clamp) {
  lt_lane_place r = {.stride = a->stride[lane]};
  if (!a->n_index) {
    LLVMValueRef from = p->based ? base : affine_at(l, k, base, a->stride, p, t);
    r.at = lt_ll_at(l, from, NULL, t, a->offset + displaced(k, a->stride, p));
    return r;
  }
  LLVMValueRef sum = p->based ? NULL : affine(l, k, a->stride, p);
  for (unsigned j = 0; j < a->n_index; j++) {
    const lt_index *x = &a->index[j];
    lt_num n = numerator(l, k, x, p, lane, p->lanes);
    LLVMValueRef num = n.at;
    if (clamp && n.step == 0 && !always_inside(x, &n))
      num = LLVMBuildSelect(l->b, inside(l, x, num), num, lt_ll_i64(l, 0), "");
    sum = add_scaled(l, sum, quotient(l, x, num), x->stride);
    r.stride += n.step / x->div * x->stride;
  }
  r.at = lt_ll_at(l, base, sum, t, a->offset + displaced(k, a->stride, p));
  return r;
}

LLVMValueRef lt_emit_address(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                             lt_dtype t) {
  LLVMValueRef at = p->based ? NULL : affine(l, k, a->stride, p);
  return lt_ll_at(l, base, at, t, a->offset + displaced(k, a->stride, p));
}

LLVMValueRef *lt_emit_based(lt_ll *l, const lt_kernel *k, const lt_bufs *b, const lt_instr *x, uint32_t n,
                            const lt_point *p) {
  LLVMValueRef *base = LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_access + 1u);
  for (uint32_t i = 0; i < n; i++) {
    if (x[i].kind != LT_X_LOAD) continue;
    const lt_access *a = &k->access[x[i].access];
    assert(a->n_index == 0);
    base[x[i].access] = lt_ll_at(l, b->access[x[i].access], affine(l, k, a->stride, p), x[i].dtype, 0);
  }
  return base;
}

/* Does a guard that can fail depend on the lane? */
static bool guarded_by_lane(lt_ll *l, const lt_kernel *k, const lt_access *a, const lt_point *p, unsigned lane) {
  for (unsigned j = 0; j < a->n_index; j++) {
    if (a->index[j].coef[lane] == 0) continue;
    lt_num n = numerator(l, k, &a->index[j], p, lane, p->lanes);
    if (!always_inside(&a->index[j], &n)) return true;
  }
  return false;
}

/* An i1: all guards of all live lanes hold. NULL: cannot be said in a few instructions. */
static LLVMValueRef all_inside(lt_ll *l, const lt_kernel *k, const lt_access *a, const lt_point *p, unsigned lane) {
  LLVMValueRef ok = NULL;
  for (unsigned j = 0; j < a->n_index; j++) {
    const lt_index *x = &a->index[j];
    lt_num n = numerator(l, k, x, p, lane, p->lanes);
    if (always_inside(x, &n)) continue;
    if (n.step % x->div != 0) return NULL;
    ok = lt_ll_both(l, ok, inside(l, x, n.at));
    LLVMValueRef end = LLVMBuildNSWAdd(l->b, n.at, lt_ll_i64(l, n.step * (int64_t)(p->lanes - 1)), "");
    if (n.step) ok = lt_ll_both(l, ok, inside(l, x, end));
  }
  return ok;
}

/* The address of one lane where guards may depend on the lane; *ok is whether they hold there. */
static LLVMValueRef lane_place(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                               unsigned lane, lt_dtype t, unsigned i, LLVMValueRef *ok) {
  LLVMValueRef sum = affine(l, k, a->stride, p);
  *ok = NULL;
  for (unsigned j = 0; j < a->n_index; j++) {
    const lt_index *x = &a->index[j];
    lt_num n = numerator(l, k, x, p, lane, p->lanes);
    LLVMValueRef num = LLVMBuildNSWAdd(l->b, n.at, lt_ll_i64(l, n.step * i), "");
    LLVMValueRef in = always_inside(x, &n) ? NULL : inside(l, x, num);
    *ok = lt_ll_both(l, *ok, in);
    if (in) num = LLVMBuildSelect(l->b, in, num, lt_ll_i64(l, 0), "");
    sum = add_scaled(l, sum, quotient(l, x, num), x->stride);
  }
  return lt_ll_at(l, base, sum, t, a->offset + displaced(k, a->stride, p) + a->stride[lane] * (int64_t)i);
}

/* ---- loads ---- */

static LLVMValueRef load_each(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                              unsigned lane, lt_dtype t, unsigned lanes) {
  LLVMValueRef v = LLVMConstNull(LLVMVectorType(lt_ll_type(l, t), LT_LANES)), ok;
  for (unsigned i = 0; i < lanes; i++) {
    LLVMValueRef at = lane_place(l, k, base, a, p, lane, t, i, &ok);
    v = LLVMBuildInsertElement(l->b, v, load_one(l, at, t), LLVMConstInt(l->i32, i, false), "");
  }
  return v;
}

static LLVMValueRef load_some(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                              unsigned lane, lt_dtype t, unsigned lanes) {
  if (!guarded_by_lane(l, k, a, p, lane)) {
    lt_lane_place at = place(l, k, base, a, p, lane, t, true);
    return load_lanes(l, at.at, t, at.stride, lanes);
  }
  LLVMValueRef fast = lanes > 1 ? all_inside(l, k, a, p, lane) : NULL;
  if (!fast) return load_each(l, k, base, a, p, lane, t, lanes);
  LLVMBasicBlockRef row = lt_ll_block(l), each = lt_ll_block(l), join = lt_ll_block(l);
  LLVMBuildCondBr(l->b, fast, row, each);
  LLVMPositionBuilderAtEnd(l->b, row);
  lt_lane_place at = place(l, k, base, a, p, lane, t, false);
  LLVMValueRef v = load_lanes(l, at.at, t, at.stride, lanes);
  row = LLVMGetInsertBlock(l->b);
  LLVMBuildBr(l->b, join);
  LLVMPositionBuilderAtEnd(l->b, each);
  LLVMValueRef w = load_each(l, k, base, a, p, lane, t, lanes);
  each = LLVMGetInsertBlock(l->b);
  LLVMBuildBr(l->b, join);
  LLVMPositionBuilderAtEnd(l->b, join);
  return lt_ll_phi2(l, v, row, w, each);
}

static LLVMValueRef load_extent(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                                unsigned lane, lt_dtype t) {
  lt_extent e = lanes_of(l, k, a, p, lane);
  if (!e.is_tail) return load_some(l, k, base, a, p, lane, t, e.full);
  LLVMBasicBlockRef tail = lt_ll_block(l), full = lt_ll_block(l), join = lt_ll_block(l);
  LLVMBuildCondBr(l->b, e.is_tail, tail, full);
  LLVMPositionBuilderAtEnd(l->b, tail);
  LLVMValueRef v = load_some(l, k, base, a, p, lane, t, e.tail);
  tail = LLVMGetInsertBlock(l->b);
  LLVMBuildBr(l->b, join);
  LLVMPositionBuilderAtEnd(l->b, full);
  LLVMValueRef w = load_some(l, k, base, a, p, lane, t, e.full);
  full = LLVMGetInsertBlock(l->b);
  LLVMBuildBr(l->b, join);
  LLVMPositionBuilderAtEnd(l->b, join);
  return lt_ll_phi2(l, v, tail, w, full);
}

LLVMValueRef lt_emit_load(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                          unsigned lane, lt_dtype t, lt_guard guard) {
  if (guard == LT_GUARDS_HOLD) {
    lt_extent e = lanes_of(l, k, a, p, lane);
    if (!e.is_tail) {
      lt_lane_place at = place(l, k, base, a, p, lane, t, false);
      LLVMValueRef v = load_lanes(l, at.at, t, at.stride, e.full);
      return t == LT_BOOL ? LLVMBuildICmp(l->b, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)), "") : v;
    }
  }
  LLVMValueRef v = load_extent(l, k, base, a, p, lane, t);
  if (t == LT_BOOL) v = LLVMBuildICmp(l->b, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)), "");
  if (guard != LT_GUARDS_FILL) return v;
  lt_valid ok = {0};
  lt_emit_valid(l, &ok, k, a, p, lane);
  if (a->masked && a->fill != 0) ok.lanes = lt_ll_both(l, ok.lanes, existing(l, k, p, lane));
  LLVMValueRef fill = lt_ll_const(l, lt_ll_vec(l, t), a->fill);
  if (ok.lanes) v = LLVMBuildSelect(l->b, ok.lanes, v, fill, "");
  return ok.scalar ? LLVMBuildSelect(l->b, ok.scalar, v, fill, "") : v;
}

/* ---- stores ---- */

/* if (cond) { body } around what `open` starts and close_if ends. */
static LLVMBasicBlockRef open_if(lt_ll *l, LLVMValueRef cond) {
  LLVMBasicBlockRef then = lt_ll_block(l), after = lt_ll_block(l);
  LLVMBuildCondBr(l->b, cond, then, after);
  LLVMPositionBuilderAtEnd(l->b, then);
  return after;
}

static void close_if(lt_ll *l, LLVMBasicBlockRef after) {
  LLVMBuildBr(l->b, after);
  LLVMMoveBasicBlockAfter(after, LLVMGetInsertBlock(l->b));
  LLVMPositionBuilderAtEnd(l->b, after);
}

static void store_some(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                       unsigned lane, lt_dtype t, unsigned lanes, LLVMValueRef v) {
  if (!guarded_by_lane(l, k, a, p, lane)) {
    lt_valid ok = {0};
    lt_emit_valid(l, &ok, k, a, p, lane);
    LLVMBasicBlockRef after = ok.scalar ? open_if(l, ok.scalar) : NULL;
    lt_lane_place at = place(l, k, base, a, p, lane, t, false);
    store_lanes(l, at.at, t, at.stride, lanes, v);
    if (after) close_if(l, after);
    return;
  }
  for (unsigned i = 0; i < lanes; i++) {
    LLVMValueRef ok, at = lane_place(l, k, base, a, p, lane, t, i, &ok);
    LLVMBasicBlockRef after = ok ? open_if(l, ok) : NULL;
    LLVMSetAlignment(LLVMBuildStore(l->b, lt_ll_lane(l, v, i), at), size_of(t));
    if (after) close_if(l, after);
  }
}

void lt_emit_store(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                   unsigned lane, lt_dtype t, LLVMValueRef v) {
  if (t == LT_BOOL) v = LLVMBuildZExt(l->b, v, LLVMVectorType(l->i8, LT_LANES), "");
  lt_extent e = lanes_of(l, k, a, p, lane);
  if (!e.is_tail) {
    store_some(l, k, base, a, p, lane, t, e.full, v);
    return;
  }
  LLVMBasicBlockRef tail = lt_ll_block(l), full = lt_ll_block(l), join = lt_ll_block(l);
  LLVMBuildCondBr(l->b, e.is_tail, tail, full);
  LLVMPositionBuilderAtEnd(l->b, tail);
  store_some(l, k, base, a, p, lane, t, e.tail, v);
  LLVMBuildBr(l->b, join);
  LLVMPositionBuilderAtEnd(l->b, full);
  store_some(l, k, base, a, p, lane, t, e.full, v);
  LLVMBuildBr(l->b, join);
  LLVMPositionBuilderAtEnd(l->b, join);
}

/* ---- expressions ---- */

/* A result or count in the element type that the expression wants. */
static LLVMValueRef as_type(lt_ll *l, LLVMValueRef v, lt_dtype t) {
  LLVMTypeRef from = LLVMGetElementType(LLVMTypeOf(v)), to = LLVMGetElementType(lt_ll_vec(l, t)), vec = lt_ll_vec(l, t);
  if (from == to) return v;
  bool ff = LLVMGetTypeKind(from) != LLVMIntegerTypeKind, tf = lt_is_float(t);
  if (ff && tf) return LLVMBuildFPCast(l->b, v, vec, "");
  if (tf) return LLVMBuildSIToFP(l->b, v, vec, "");
  if (!ff) return LLVMBuildIntCast2(l->b, v, vec, true, "");
  lt_fail(l->job, LATHE_E_INTERNAL, NULL, "code generation: a float result cannot be read as %s", lt_dtype_name(t));
}

static LLVMValueRef coordinate(lt_ll *l, unsigned dim, const lt_point *p, unsigned lane, lt_dtype t) {
  LLVMValueRef at = p->i[dim] ? p->i[dim] : lt_ll_i64(l, 0);
  if (p->plus[dim]) at = LLVMBuildAdd(l->b, at, lt_ll_i64(l, p->plus[dim]), "");
  LLVMValueRef v = lt_ll_splat(l, at, LT_LANES);
  if (dim == lane) v = LLVMBuildAdd(l->b, v, lt_ll_iota(l, l->i64), "");
  return as_type(l, v, t);
}

void lt_emit_expr(lt_ll *l, const lt_kernel *k, const lt_bufs *b, const lt_instr *x, uint32_t n, const lt_point *p,
                  unsigned lane, const LLVMValueRef *result, LLVMValueRef count, lt_guard guard, LLVMValueRef *out) {
  for (uint32_t i = 0; i < n; i++, x++) {
    LLVMValueRef arg[3] = {0};
    const lt_instr *first = x - i;
    if (out[i]) continue;
    bool takes = x->kind == LT_X_MAP || x->kind == LT_X_RANDOM;
    for (int j = 0; takes && j < 3; j++)
      if (x->arg[j] >= 0 && x->arg[j] < (int32_t)i) arg[j] = out[x->arg[j]];
    switch (x->kind) {
    case LT_X_LOAD:
      out[i] = lt_emit_load(l, k, b->access[x->access], &k->access[x->access], p, lane, x->dtype, guard);
      break;
    case LT_X_CONST: out[i] = lt_ll_const(l, lt_ll_vec(l, x->dtype), x->value); break;
    case LT_X_MAP: out[i] = lt_emit_map(l, x, arg, first[x->arg[0]].dtype); break;
    case LT_X_RESULT: out[i] = as_type(l, result[x->access], x->dtype); break;
    case LT_X_COUNT: out[i] = as_type(l, count, x->dtype); break;
    case LT_X_INDEX: out[i] = coordinate(l, (unsigned)x->access, p, lane, x->dtype); break;
    case LT_X_RANDOM: out[i] = lt_emit_random(l, arg[0], arg[1], arg[2], x->stream); break;
    }
  }
}

/* Do two stores go side by side, lane by lane, so that together they have no gaps? */
static bool are_a_pair(const lt_kernel *k, const lt_store *s, const lt_store *t, unsigned lane) {
  const lt_access *a = &s->to, *b = &t->to;
  return k->block_dim == LT_NONE && a->buffer == b->buffer && b->offset == a->offset + 1 && a->stride[lane] == 2 &&
         !a->n_index && !b->n_index && !memcmp(a->stride, b->stride, sizeof a->stride) &&
         k->expr[s->value].dtype == k->expr[t->value].dtype;
}

static void store_pair(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                       lt_dtype t, LLVMValueRef even, LLVMValueRef odd) {
  LLVMTypeRef bytes = LLVMVectorType(l->i8, LT_LANES);
  if (t == LT_BOOL) even = LLVMBuildZExt(l->b, even, bytes, ""), odd = LLVMBuildZExt(l->b, odd, bytes, "");
  LLVMValueRef at = lt_emit_address(l, k, base, a, p, t);
  for (unsigned half = 0; half * LT_LANES < 2 * p->lanes; half++) {
    int pick[LT_LANES];
    for (unsigned i = 0; i < LT_LANES; i++)
      pick[i] = (int)(half * (LT_LANES / 2u) + i / 2 + (i % 2 ? (unsigned)LT_LANES : 0));
    lt_emit_store_row(l, lt_ll_at(l, at, NULL, t, half * LT_LANES), t, LT_MIN(2 * p->lanes - half * LT_LANES, LT_LANES),
                      lt_ll_shuffle(l, even, odd, pick, LT_LANES));
  }
}

void lt_emit_epilogue(lt_ll *l, const lt_kernel *k, const lt_bufs *b, const lt_point *p, const LLVMValueRef *result,
                      LLVMValueRef count, const lt_rows *rows) {
  LLVMValueRef *value = rows && rows->value ? rows->value : LT_NEW_ARRAY(l->arena, LLVMValueRef, LT_MAX(k->n_expr, 1u));
  unsigned lane = k->n_dims - 1u;
  for (uint32_t i = 0; rows && i < k->n_expr; i++)
    if (rows->load[i]) value[i] = LLVMBuildLoad2(l->b, lt_ll_vec(l, k->expr[i].dtype), rows->load[i], "");
  lt_emit_expr(l, k, b, k->expr, k->n_expr, p, lane, result, count, LT_GUARDS_FILL, value);
  for (uint32_t s = 0; s < k->n_store; s++) {
    const lt_store *st = &k->store[s], *next = s + 1 < k->n_store ? st + 1 : NULL;
    const lt_dtype t = k->expr[st->value].dtype;
    if (rows && rows->store[s]) LLVMBuildStore(l->b, value[st->value], rows->store[s]);
    else if (next && are_a_pair(k, st, next, lane))
      store_pair(l, k, b->store[s++], &st->to, p, t, value[st->value], value[next->value]);
    else lt_emit_store(l, k, b->store[s], &st->to, p, lane, t, value[st->value]);
  }
}

/* ---- function entry ---- */

typedef struct loading { lt_ll *l; lt_bufs *out; LLVMValueRef bufs, *base; uint32_t n, *same; } loading;

static LLVMValueRef *base_of(lt_bufs *b, const lt_operand *o) {
  switch (o->role) {
  case LT_OPERAND_ACCESS: return &b->access[o->index];
  case LT_OPERAND_STORE: return &b->store[o->index];
  case LT_OPERAND_OWN: break;
  }
  assert(o->index < LT_OWN_MAX);
  return &b->own[o->index];
}

/* Operands in one buffer have one pointer. */
static void load_base(void *arg, const lt_operand *o) {
  loading *x = arg;
  uint32_t i = x->n++, first = x->same[i];
  x->base[i] = first < i ? x->base[first] : lt_ll_load_ptr(x->l, x->bufs, i);
  *base_of(x->out, o) = x->base[i];
}

void lt_emit_buffers(lt_ll *l, lt_bufs *out, const lt_kernel *k, LLVMValueRef bufs) {
  *out = (lt_bufs){.access = LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_access + 1u),
                   .store = LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_store + 1u)};
  uint32_t n, *same = lt_kernel_same_buffers(l->arena, k, &n);
  lt_operands(k, load_base, &(loading){l, out, bufs, LT_NEW_ARRAY(l->arena, LLVMValueRef, n + 1u), 0, same});
}

void lt_emit_task(lt_ll *l, const lt_kernel *k, lt_point *p, LLVMValueRef task) {
  for (unsigned d = k->n_task_dims; d-- > 0;) {
    LLVMValueRef n = lt_ll_i64(l, k->extent[d]);
    p->i[d] = k->extent[d] == 1 ? lt_ll_i64(l, 0) : d == 0 ? task : LLVMBuildURem(l->b, task, n, "");
    if (d && k->extent[d] != 1) task = LLVMBuildUDiv(l->b, task, n, "");
  }
}
