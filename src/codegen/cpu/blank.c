/* blank.c: zero times all that spans leave out (blank.h). With spans of two dims of K the taps
 *
 *   o o o     o: outside the first span (all of its columns)
 *   p x x     p: inside it, outside the second
 *   p x x     x: walked
 *
 * are looked at in two calls, o and p. What is added is 0·b, and 0 + -0 is 0: a sum stays 0 or becomes NaN.
 *
 *   blank(sums, b, blocks, block_step, all, lo, n, step, n0, step0, n1, step1, n2, step2)
 *
 * looks, for each block, at those of `all` iterations that are not in [lo, lo + n), with three dims inside each. */
#include "codegen/cpu/blank.h"

enum { ROWS = 8, PARAMS = 14 }; /* rows of a chain: the chains of several iterations overlap */
enum { SUMS, AT, BLOCKS, BLOCK_STEP, ALL, LO, N, STEP, INSIDE };

bool lt_blank_fits(const lt_kernel *k, const lt_cut *c) {
  const lt_contract *x = k->contract;
  bool whole = !x->b_masked && !x->b.masked && k->block_dim != LT_NONE;
  return whole && lt_is_float(k->acc) && x->b.stride[c->lane] == 1 && c->side == LT_NONE;
}

/* ---- the function --------------------------------------------------------------------------------------------------
 */

typedef struct blank { lt_ll *l; lt_dtype dtype, acc; LLVMValueRef fn; } blank;

static LLVMValueRef param(const blank *z, int i) { return LLVMGetParam(z->fn, (unsigned)i); }

static LLVMValueRef on(const blank *z, LLVMValueRef b, LLVMValueRef i, LLVMValueRef step) {
  LLVMValueRef n = LLVMBuildMul(z->l->b, i, step, "");
  return LLVMBuildGEP2(z->l->b, lt_ll_type(z->l, z->dtype), b, &n, 1, "");
}

/* sum + 0·(rows of B from b on). */
static LLVMValueRef add_rows(const blank *z, LLVMValueRef sum, LLVMValueRef b, LLVMValueRef step, int n) {
  lt_ll *l = z->l;
  LLVMValueRef zero = LLVMConstNull(lt_ll_vec(l, z->acc)), chain = zero;
  for (int i = 0; i < n; i++) {
    LLVMValueRef v = LLVMBuildLoad2(l->b, lt_ll_vec(l, z->dtype), on(z, b, lt_ll_i64(l, i), step), "");
    LLVMSetAlignment(v, (unsigned)lt_dtype_size(z->dtype));
    if (z->acc != z->dtype) v = LLVMBuildFPExt(l->b, v, lt_ll_vec(l, z->acc), "");
    chain = lt_ll_fma(l, zero, v, chain);
  }
  return LLVMBuildFAdd(l->b, sum, chain, "");
}

/* Iterations [from, to) of the innermost dim, `rows` at a time. */
static LLVMValueRef loop_rows(const blank *z, LLVMValueRef sum, LLVMValueRef b, LLVMValueRef from, LLVMValueRef to,
                              int rows) {
  lt_ll_loop q = {.n_carry = 1, .carry = {sum}};
  lt_ll_loop_begin(z->l, &q, from, to, rows);
  q.carry[0] = add_rows(z, q.carry[0], on(z, b, q.i, param(z, INSIDE + 5)), param(z, INSIDE + 5), rows);
  lt_ll_loop_end(z->l, &q);
  return q.carry[0];
}

/* Dims from `dim` on of those inside. */
static LLVMValueRef loop_dims(const blank *z, LLVMValueRef sum, LLVMValueRef b, int dim) {
  LLVMBuilderRef build = z->l->b;
  LLVMValueRef zero = lt_ll_i64(z->l, 0), n = param(z, INSIDE + 2 * dim), step = param(z, INSIDE + 2 * dim + 1);
  if (dim == 2) {
    LLVMValueRef whole = LLVMBuildAnd(build, n, lt_ll_i64(z->l, -ROWS), "");
    return loop_rows(z, loop_rows(z, sum, b, zero, whole, ROWS), b, whole, n, 1);
  }
  lt_ll_loop q = {.n_carry = 1, .carry = {sum}};
  lt_ll_loop_begin(z->l, &q, zero, n, 1);
  q.carry[0] = loop_dims(z, q.carry[0], on(z, b, q.i, step), dim + 1);
  lt_ll_loop_end(z->l, &q);
  return q.carry[0];
}

/* The iterations outside [lo, lo + n). */
static LLVMValueRef loop_outside(const blank *z, LLVMValueRef sum, LLVMValueRef b) {
  LLVMBuilderRef build = z->l->b;
  lt_ll_loop q = {.n_carry = 1, .carry = {sum}};
  lt_ll_loop_begin(z->l, &q, lt_ll_i64(z->l, 0), LLVMBuildSub(build, param(z, ALL), param(z, N), ""), 1);
  LLVMValueRef before = LLVMBuildICmp(build, LLVMIntSLT, q.i, param(z, LO), "");
  LLVMValueRef i = LLVMBuildSelect(build, before, q.i, LLVMBuildAdd(build, q.i, param(z, N), ""), "");
  q.carry[0] = loop_dims(z, q.carry[0], on(z, b, i, param(z, STEP)), 0);
  lt_ll_loop_end(z->l, &q);
  return q.carry[0];
}

static void emit_body(const blank *z) {
  lt_ll *l = z->l;
  lt_ll_loop q = {0};
  lt_ll_loop_begin(l, &q, lt_ll_i64(l, 0), param(z, BLOCKS), 1);
  LLVMTypeRef vec = lt_ll_vec(l, z->acc);
  LLVMValueRef at = LLVMBuildGEP2(l->b, vec, param(z, SUMS), &q.i, 1, ""), sum = LLVMBuildLoad2(l->b, vec, at, "");
  LLVMBuildStore(l->b, loop_outside(z, sum, on(z, param(z, AT), q.i, param(z, BLOCK_STEP))), at);
  lt_ll_loop_end(l, &q);
  LLVMBuildRetVoid(l->b);
}

static LLVMTypeRef type_of(const lt_ll *l) {
  LLVMTypeRef of[PARAMS] = {l->ptr, l->ptr};
  for (int i = 2; i < PARAMS; i++) of[i] = l->i64;
  return LLVMFunctionType(l->void_, of, PARAMS, 0);
}

/* The module's function for these types; its attributes are those of the function that asks first. */
static LLVMValueRef function_for(lt_ll *l, const lt_kernel *k) {
  const char *name = lt_arena_printf(l->arena, "lt.blank.%s.%s", lt_dtype_name(k->dtype), lt_dtype_name(k->acc));
  LLVMValueRef fn = LLVMGetNamedFunction(l->mod, name), asks = l->fn;
  if (fn) return fn;
  blank z = {l, k->dtype, k->acc, LLVMAddFunction(l->mod, name, type_of(l))};
  LLVMSetLinkage(z.fn, LLVMInternalLinkage);
  lt_ll_copy_attributes(l, z.fn, asks);
  lt_ll_flag(l, z.fn, "noinline");
  LLVMBasicBlockRef back = LLVMGetInsertBlock(l->b);
  l->fn = z.fn;
  LLVMPositionBuilderAtEnd(l->b, LLVMAppendBasicBlockInContext(l->ctx, z.fn, ""));
  emit_body(&z);
  l->fn = asks;
  LLVMPositionBuilderAtEnd(l->b, back);
  return z.fn;
}

/* ---- calls of it ---------------------------------------------------------------------------------------------------
 */

/* Outside `span` of dim d; of dim `in` only its own span (NULL: all), from which b begins. */
static void call(lt_ll *l, const lt_ktile *t, const lt_kseg *g, LLVMValueRef b, LLVMValueRef sums, unsigned d,
                 const lt_kspan *span, unsigned in, const lt_kspan *inside) {
  LLVMValueRef one = lt_ll_i64(l, 1), zero = lt_ll_i64(l, 0);
  LLVMValueRef arg[PARAMS] = {sums,
                              b,
                              lt_ll_i64(l, t->blocks),
                              lt_ll_i64(l, t->k->contract->b.stride[t->cut->block]),
                              lt_ll_i64(l, g->extent[d]),
                              span->lo,
                              span->n,
                              lt_ll_i64(l, g->b_stride[d])};
  int at = INSIDE;
  for (unsigned fill = g->n; fill < 4; fill++) arg[at++] = one, arg[at++] = zero;
  for (unsigned i = 0; i < g->n; i++) {
    if (i == d) continue;
    arg[at++] = inside && i == in ? inside->n : lt_ll_i64(l, g->extent[i]);
    arg[at++] = lt_ll_i64(l, g->b_stride[i]);
  }
  LLVMBuildCall2(l->b, type_of(l), function_for(l, t->k), arg, PARAMS, "");
}

/* Outside `own`, and inside `around` where that is not NULL. */
static void call_inside(lt_ll *l, const lt_ktile *t, const lt_kseg *g, LLVMValueRef b, LLVMValueRef sums,
                        const lt_kspan *own, const lt_kspan *around) {
  const unsigned in = around ? g->n - around->back : 0;
  if (around) {
    LLVMValueRef n = LLVMBuildMul(l->b, around->lo, lt_ll_i64(l, g->b_stride[in]), "");
    b = LLVMBuildGEP2(l->b, lt_ll_type(l, t->k->dtype), b, &n, 1, "");
  }
  call(l, t, g, b, sums, g->n - own->back, own, in, around);
}

void lt_emit_blank(lt_ll *l, const lt_ktile *t, const lt_kseg *g, LLVMValueRef b, LLVMValueRef sums) {
  for (unsigned i = 0; i < t->n_span; i++) call_inside(l, t, g, b, sums, &t->span[i], i ? &t->span[0] : NULL);
}

void lt_emit_blank_beside(lt_ll *l, const lt_ktile *t, const lt_kseg *g, LLVMValueRef b, LLVMValueRef sums,
                          const lt_kspan *own) {
  call_inside(l, t, g, b, sums, own, t->n_span ? &t->span[0] : NULL);
}

void lt_emit_blank_all(lt_ll *l, const lt_ktile *t, const lt_kseg *g, LLVMValueRef b, LLVMValueRef sums) {
  const lt_kspan none = {.lo = lt_ll_i64(l, 0), .n = lt_ll_i64(l, 0)};
  call(l, t, g, b, sums, 0, &none, 0, NULL);
}
