/* emit_check.c: labels and indices of an input, looked at before an entry does anything: is one past its limit? */
#include "codegen/module.h"

static LLVMValueRef larger(lt_ll *l, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildSelect(l->b, LLVMBuildICmp(l->b, LLVMIntSGT, a, b, ""), a, b, "");
}

static LLVMValueRef load(lt_ll *l, LLVMTypeRef t, lt_dtype dtype, LLVMValueRef at) {
  LLVMValueRef v = LLVMBuildLoad2(l->b, t, at, "");
  LLVMSetAlignment(v, (unsigned)lt_dtype_size(dtype)); /* of a vector: the caller's arrays are aligned as elements */
  return v;
}

static LLVMValueRef strided(lt_ll *l, LLVMValueRef index, int64_t stride) {
  return LLVMBuildMul(l->b, index, lt_ll_i64(l, stride), "");
}

/* The largest of elements that stand next to each other, and `most`. */
static LLVMValueRef largest_in_row(lt_ll *l, LLVMValueRef at, lt_dtype t, int64_t n, LLVMValueRef most) {
  int64_t whole = n / LT_LANES * LT_LANES;
  if (whole) {
    LLVMTypeRef vec = LLVMVectorType(lt_ll_type(l, t), LT_LANES);
    lt_ll_loop loop = {.n_carry = 1, .carry = {lt_ll_splat(l, most, LT_LANES)}};
    lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, whole), LT_LANES);
    LLVMValueRef v = load(l, vec, t, lt_ll_at(l, at, loop.i, t, 0));
    loop.carry[0] = larger(l, v, loop.carry[0]);
    lt_ll_loop_end(l, &loop);
    most = lt_ll_intrinsic(l, "llvm.vector.reduce.smax", vec, &loop.carry[0], 1);
  }
  for (int64_t i = whole; i < n; i++) {
    LLVMValueRef v = load(l, lt_ll_type(l, t), t, lt_ll_at(l, at, NULL, t, i));
    most = larger(l, v, most);
  }
  return most;
}

static LLVMValueRef largest(lt_ll *l, LLVMValueRef at, lt_dtype t, const lt_index_check *c, uint8_t dim,
                            LLVMValueRef most) {
  if (dim == c->n_dims) return largest_in_row(l, at, t, 1, most);
  if (dim == c->n_dims - 1 && c->stride[dim] == 1) return largest_in_row(l, at, t, c->extent[dim], most);
  lt_ll_loop loop = {.n_carry = 1, .carry = {most}};
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, c->extent[dim]), 1);
  LLVMValueRef row = lt_ll_at(l, at, strided(l, loop.i, c->stride[dim]), t, 0);
  loop.carry[0] = largest(l, row, t, c, (uint8_t)(dim + 1), loop.carry[0]);
  lt_ll_loop_end(l, &loop);
  return loop.carry[0];
}

LLVMValueRef lt_ll_bad_index(lt_ll *l, LLVMValueRef at, lt_dtype t, const lt_index_check *c) {
  LLVMValueRef none = LLVMConstInt(lt_ll_type(l, t), (uint64_t)(int64_t)-1, true);
  LLVMValueRef most = largest(l, lt_ll_at(l, at, NULL, t, c->offset), t, c, 0, none);
  LLVMValueRef limit = LLVMConstInt(lt_ll_type(l, t), (uint64_t)c->limit, true);
  return LLVMBuildICmp(l->b, LLVMIntSGE, most, limit, "");
}
