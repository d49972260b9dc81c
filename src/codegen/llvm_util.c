/* llvm_util.c: short forms over the LLVM C API: types, constants, addresses, 16-lane vectors, counted loops, functions.
 *
 * Everything here emits at the builder's position. Values are plain SSA: no allocas, no fast-math flags; what must be
 * fused is fused by lt_ll_fma, what must not be is written as separate instructions. */
#include "codegen/llvm_util.h"

LLVMTypeRef lt_ll_type(lt_ll *l, lt_dtype t) {
  switch (t) {
  case LT_F32: return l->f32;
  case LT_F64: return l->f64;
  case LT_I32: return l->i32;
  case LT_I64: return l->i64;
  case LT_BOOL: return l->i8;
  case LT_DTYPES: break;
  }
  lt_fail(l->job, LATHE_E_INTERNAL, NULL, "code generation: no element type %d", (int)t);
}

LLVMTypeRef lt_ll_vec(lt_ll *l, lt_dtype t) {
  return LLVMVectorType(t == LT_BOOL ? l->i1 : lt_ll_type(l, t), LT_LANES);
}

LLVMValueRef lt_ll_i64(lt_ll *l, int64_t v) { return LLVMConstInt(l->i64, (uint64_t)v, true); }

bool lt_ll_const_of(LLVMValueRef v, int64_t *out) {
  if (!v || !LLVMIsAConstantInt(v)) return false;
  *out = LLVMConstIntGetSExtValue(v);
  return true;
}

LLVMValueRef lt_ll_const(lt_ll *l, LLVMTypeRef t, double v) {
  if (LLVMGetTypeKind(t) == LLVMVectorTypeKind) {
    LLVMValueRef one = lt_ll_const(l, LLVMGetElementType(t), v), all[64];
    unsigned n = LLVMGetVectorSize(t);
    for (unsigned i = 0; i < n; i++) all[i] = one;
    return LLVMConstVector(all, n);
  }
  if (LLVMGetTypeKind(t) == LLVMIntegerTypeKind) return LLVMConstInt(t, (uint64_t)(int64_t)v, true);
  return LLVMConstReal(t, v);
}

LLVMValueRef lt_ll_bits(lt_ll *l, LLVMTypeRef vec, uint64_t bits) {
  LLVMValueRef all[64];
  unsigned n = LLVMGetVectorSize(vec);
  for (unsigned i = 0; i < n; i++) all[i] = LLVMConstInt(LLVMGetElementType(vec), bits, false);
  return LLVMConstVector(all, n);
}

LLVMValueRef lt_ll_iota(lt_ll *l, LLVMTypeRef element) {
  LLVMValueRef all[LT_LANES];
  for (unsigned i = 0; i < LT_LANES; i++) all[i] = LLVMConstInt(element, i, false);
  return LLVMConstVector(all, LT_LANES);
}

LLVMValueRef lt_ll_splat(lt_ll *l, LLVMValueRef scalar, unsigned lanes) {
  LLVMTypeRef v = LLVMVectorType(LLVMTypeOf(scalar), lanes);
  if (LLVMIsConstant(scalar)) {
    LLVMValueRef all[64];
    for (unsigned i = 0; i < lanes; i++) all[i] = scalar;
    return LLVMConstVector(all, lanes);
  }
  LLVMValueRef one = LLVMBuildInsertElement(l->b, LLVMGetPoison(v), scalar, LLVMConstInt(l->i32, 0, false), "");
  return LLVMBuildShuffleVector(l->b, one, LLVMGetPoison(v), LLVMConstNull(LLVMVectorType(l->i32, lanes)), "");
}

LLVMValueRef lt_ll_lane(lt_ll *l, LLVMValueRef vec, unsigned lane) {
  return LLVMBuildExtractElement(l->b, vec, LLVMConstInt(l->i32, lane, false), "");
}

LLVMValueRef lt_ll_shuffle(lt_ll *l, LLVMValueRef a, LLVMValueRef b, const int *lane, unsigned n) {
  LLVMValueRef mask[64];
  for (unsigned i = 0; i < n; i++)
    mask[i] = lane[i] < 0 ? LLVMGetPoison(l->i32) : LLVMConstInt(l->i32, (unsigned)lane[i], false);
  return LLVMBuildShuffleVector(l->b, a, b ? b : LLVMGetPoison(LLVMTypeOf(a)), LLVMConstVector(mask, n), "");
}

LLVMValueRef lt_ll_at(lt_ll *l, LLVMValueRef base, LLVMValueRef index, lt_dtype t, int64_t plus) {
  LLVMTypeRef e = lt_ll_type(l, t);
  if (index && LLVMIsAConstantInt(index)) {
    plus += LLVMConstIntGetSExtValue(index);
    index = NULL;
  }
  LLVMValueRef p = index ? LLVMBuildInBoundsGEP2(l->b, e, base, &index, 1, "") : base;
  LLVMValueRef k = lt_ll_i64(l, plus);
  return plus ? LLVMBuildInBoundsGEP2(l->b, e, p, &k, 1, "") : p;
}

LLVMValueRef lt_ll_plus(lt_ll *l, LLVMValueRef v, int64_t n) {
  return n ? LLVMBuildAdd(l->b, v, lt_ll_i64(l, n), "") : v;
}

LLVMValueRef lt_ll_bytes_on(lt_ll *l, LLVMValueRef base, int64_t bytes) {
  LLVMValueRef n = lt_ll_i64(l, bytes);
  return bytes ? LLVMBuildInBoundsGEP2(l->b, l->i8, base, &n, 1, "") : base;
}

LLVMValueRef lt_ll_both(lt_ll *l, LLVMValueRef a, LLVMValueRef b) {
  return !a ? b : !b ? a : LLVMBuildAnd(l->b, a, b, "");
}

LLVMValueRef lt_ll_is_null(lt_ll *l, LLVMValueRef p) {
  return LLVMBuildICmp(l->b, LLVMIntEQ, p, LLVMConstNull(l->ptr), "");
}

LLVMValueRef lt_ll_misaligned(lt_ll *l, LLVMValueRef p, int64_t align) {
  LLVMValueRef low = LLVMBuildAnd(l->b, LLVMBuildPtrToInt(l->b, p, l->i64, ""), lt_ll_i64(l, align - 1), "");
  return LLVMBuildICmp(l->b, LLVMIntNE, low, lt_ll_i64(l, 0), "");
}

LLVMValueRef lt_ll_load_ptr(lt_ll *l, LLVMValueRef base, int64_t index) {
  LLVMValueRef i = lt_ll_i64(l, index);
  return LLVMBuildLoad2(l->b, l->ptr, LLVMBuildInBoundsGEP2(l->b, l->ptr, base, &i, 1, ""), "");
}

/* Quarters change places, first of 8x8, then within each of 4x4 and so on. */
void lt_ll_turn(lt_ll *l, LLVMValueRef v[16]) {
  for (int half = 8; half; half /= 2) {
    int upper[16], lower[16];
    for (int i = 0; i < 16; i++) {
      upper[i] = i & half ? 16 + i - half : i;
      lower[i] = i & half ? 16 + i : i + half;
    }
    for (int i = 0; i < 16; i++) {
      if (i & half) continue;
      LLVMValueRef a = v[i], b = v[i + half];
      v[i] = lt_ll_shuffle(l, a, b, upper, 16), v[i + half] = lt_ll_shuffle(l, a, b, lower, 16);
    }
  }
}

LLVMValueRef lt_ll_intrinsic(lt_ll *l, const char *name, LLVMTypeRef overload, LLVMValueRef *arg, unsigned n) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  if (!id) lt_fail(l->job, LATHE_E_INTERNAL, NULL, "code generation: LLVM has no intrinsic %s", name);
  LLVMValueRef f = LLVMGetIntrinsicDeclaration(l->mod, id, &overload, 1);
  return LLVMBuildCall2(l->b, LLVMIntrinsicGetType(l->ctx, id, &overload, 1), f, arg, n, "");
}

LLVMValueRef lt_ll_opaque(lt_ll *l, LLVMValueRef pointer) {
  return lt_ll_intrinsic(l, "llvm.launder.invariant.group", l->ptr, &pointer, 1);
}

void lt_ll_prefetch(lt_ll *l, LLVMValueRef at) {
  enum { READ = 0, L2 = 2, DATA = 1 };
  LLVMValueRef arg[] = {at, LLVMConstInt(l->i32, READ, 0), LLVMConstInt(l->i32, L2, 0), LLVMConstInt(l->i32, DATA, 0)};
  lt_ll_intrinsic(l, "llvm.prefetch", l->ptr, arg, 4);
}

LLVMValueRef lt_ll_fma(lt_ll *l, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
  if (!l->target->fma) return LLVMBuildFAdd(l->b, LLVMBuildFMul(l->b, a, b, ""), c, "");
  return lt_ll_intrinsic(l, "llvm.fma", LLVMTypeOf(a), (LLVMValueRef[]){a, b, c}, 3);
}

LLVMBasicBlockRef lt_ll_block(lt_ll *l) { return LLVMAppendBasicBlockInContext(l->ctx, l->fn, ""); }

LLVMValueRef lt_ll_phi2(lt_ll *l, LLVMValueRef a, LLVMBasicBlockRef from_a, LLVMValueRef b, LLVMBasicBlockRef from_b) {
  LLVMValueRef phi = LLVMBuildPhi(l->b, LLVMTypeOf(a), "");
  LLVMAddIncoming(phi, (LLVMValueRef[]){a, b}, (LLVMBasicBlockRef[]){from_a, from_b}, 2);
  return phi;
}

static void loop_phis(lt_ll *l, lt_ll_loop *loop, LLVMValueRef from, LLVMBasicBlockRef before) {
  loop->phi[64] = LLVMBuildPhi(l->b, l->i64, "");
  LLVMAddIncoming(loop->phi[64], &from, &before, 1);
  for (unsigned c = 0; c < loop->n_carry; c++) {
    loop->phi[c] = LLVMBuildPhi(l->b, LLVMTypeOf(loop->carry[c]), "");
    LLVMAddIncoming(loop->phi[c], &loop->carry[c], &before, 1);
    loop->carry[c] = loop->phi[c];
  }
  loop->i = loop->phi[64];
}

/* Three shapes: constant bounds that run once need no loop at all; constant bounds that run at least once test at the
 * end; everything else tests at the head. */
void lt_ll_loop_begin(lt_ll *l, lt_ll_loop *loop, LLVMValueRef from, LLVMValueRef to, int64_t step) {
  bool known = LLVMIsAConstantInt(from) && LLVMIsAConstantInt(to);
  int64_t first = known ? LLVMConstIntGetSExtValue(from) : 0, last = known ? LLVMConstIntGetSExtValue(to) : 0;
  loop->to = to;
  loop->step = lt_ll_i64(l, step);
  loop->i = from;
  loop->head = loop->exit_ = NULL;
  if (known && first < last && first + step >= last) return;
  LLVMBasicBlockRef before = LLVMGetInsertBlock(l->b);
  loop->head = lt_ll_block(l);
  LLVMBuildBr(l->b, loop->head);
  LLVMPositionBuilderAtEnd(l->b, loop->head);
  loop_phis(l, loop, from, before);
  if (known && first < last) return;
  LLVMBasicBlockRef body = lt_ll_block(l);
  loop->exit_ = lt_ll_block(l);
  LLVMBuildCondBr(l->b, LLVMBuildICmp(l->b, LLVMIntSLT, loop->i, to, ""), body, loop->exit_);
  LLVMPositionBuilderAtEnd(l->b, body);
}

void lt_ll_loop_end(lt_ll *l, lt_ll_loop *loop) {
  if (!loop->head) return;
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(l->b);
  LLVMValueRef next = LLVMBuildNSWAdd(l->b, loop->i, loop->step, "");
  LLVMAddIncoming(loop->phi[64], &next, &latch, 1);
  for (unsigned c = 0; c < loop->n_carry; c++) LLVMAddIncoming(loop->phi[c], &loop->carry[c], &latch, 1);
  if (loop->exit_) { /* tested at the head: what leaves the loop are the phis */
    LLVMBuildBr(l->b, loop->head);
    LLVMMoveBasicBlockAfter(loop->exit_, latch);
    LLVMPositionBuilderAtEnd(l->b, loop->exit_);
    for (unsigned c = 0; c < loop->n_carry; c++) loop->carry[c] = loop->phi[c];
    return;
  }
  LLVMBasicBlockRef after = lt_ll_block(l);
  LLVMBuildCondBr(l->b, LLVMBuildICmp(l->b, LLVMIntSLT, next, loop->to, ""), loop->head, after);
  LLVMPositionBuilderAtEnd(l->b, after);
}

void lt_ll_attribute(lt_ll *l, LLVMValueRef fn, const char *key, const char *value) {
  LLVMAddAttributeAtIndex(
    fn, LLVMAttributeFunctionIndex,
    LLVMCreateStringAttribute(l->ctx, key, (unsigned)strlen(key), value, (unsigned)strlen(value)));
}

void lt_ll_flag(lt_ll *l, LLVMValueRef fn, const char *name) {
  LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex,
                          LLVMCreateEnumAttribute(l->ctx, LLVMGetEnumAttributeKindForName(name, strlen(name)), 0));
}

void lt_ll_attributes(lt_ll *l, LLVMValueRef fn) {
  lt_ll_flag(l, fn, "nounwind");
  lt_ll_attribute(l, fn, "no-builtins", "");
  lt_ll_attribute(l, fn, "frame-pointer", "all");
  if (l->target->vector_bytes >= 64) lt_ll_attribute(l, fn, "prefer-vector-width", "512");
  if (l->target->tune) lt_ll_attribute(l, fn, "tune-cpu", l->target->tune);
}

void lt_ll_cold(lt_ll *l, LLVMValueRef fn) {
  if (l->target->small) return;
  lt_ll_flag(l, fn, "noinline");
  lt_ll_flag(l, fn, "optnone");
}

void lt_ll_copy_attributes(lt_ll *l, LLVMValueRef to, LLVMValueRef from) {
  static const LLVMAttributeIndex OWN = (LLVMAttributeIndex)LLVMAttributeFunctionIndex;
  unsigned n = LLVMGetAttributeCountAtIndex(from, OWN);
  LLVMAttributeRef *all = lt_arena_array(l->arena, n, sizeof *all);
  LLVMGetAttributesAtIndex(from, OWN, all);
  for (unsigned i = 0; i < n; i++) LLVMAddAttributeAtIndex(to, OWN, all[i]);
}

void lt_ll_move_body(lt_ll *l, LLVMValueRef to, LLVMValueRef from) {
  LLVMBasicBlockRef start = LLVMAppendBasicBlockInContext(l->ctx, to, ""), last = start;
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(from), next; b; b = next) {
    next = LLVMGetNextBasicBlock(b);
    LLVMMoveBasicBlockAfter(b, last);
    last = b;
  }
  LLVMDeleteBasicBlock(start);
  for (unsigned i = 0; i < LLVMCountParams(from); i++)
    LLVMReplaceAllUsesWith(LLVMGetParam(from, i), LLVMGetParam(to, i));
}

LLVMValueRef lt_ll_function(lt_ll *l, const char *name, bool internal) {
  LLVMTypeRef t = LLVMFunctionType(l->void_, (LLVMTypeRef[]){l->ptr, l->i64}, 2, false);
  l->fn = LLVMAddFunction(l->mod, name, t);
  if (internal) LLVMSetLinkage(l->fn, LLVMInternalLinkage);
  lt_ll_attributes(l, l->fn);
  LLVMPositionBuilderAtEnd(l->b, lt_ll_block(l));
  return l->fn;
}
