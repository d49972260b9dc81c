/* pairwise.c: a binary counter of vectors in the frame (pairwise.h). */
#include "codegen/cpu/pairwise.h"

#include <assert.h>

static LLVMValueRef slots(lt_ll *l, lt_dtype t, int64_t vectors) {
  LLVMValueRef at = LLVMBuildAlloca(l->b, LLVMArrayType2(lt_ll_vec(l, t), (uint64_t)vectors), "");
  LLVMSetAlignment(at, LT_ALIGN);
  return at;
}

void lt_pairwise_begin(lt_ll *l, lt_pairwise *p, lt_dtype t, unsigned parts, int64_t runs, bool few) {
  int64_t levels = 0;
  for (int64_t n = runs; n; n /= 2) levels++;
  *p = (lt_pairwise){.type = t, .parts = parts, .runs = runs};
  if (few) {
    p->few = LT_NEW_ARRAY(l->arena, LLVMValueRef, (size_t)levels);
    return;
  }
  p->waiting = slots(l, t, levels * parts);
  p->turned = slots(l, t, 2 * (int64_t)parts);
}

/* ---- vectors in memory ---- */

static unsigned aligned(const lt_pairwise *p, bool whole) {
  unsigned size = (unsigned)lt_dtype_size(p->type);
  return whole ? LT_MIN(size * LT_LANES, LT_ALIGN) : size;
}

/* Vector j from `at` on, moved by `index` elements, which are whole vectors or not. */
static LLVMValueRef load(lt_ll *l, const lt_pairwise *p, LLVMValueRef at, LLVMValueRef index, unsigned j, bool whole) {
  LLVMValueRef v = LLVMBuildLoad2(l->b, lt_ll_vec(l, p->type), lt_ll_at(l, at, index, p->type, j * LT_LANES), "");
  LLVMSetAlignment(v, aligned(p, whole));
  return v;
}

static void store(lt_ll *l, const lt_pairwise *p, LLVMValueRef v, LLVMValueRef at, LLVMValueRef index, unsigned j) {
  LLVMSetAlignment(LLVMBuildStore(l->b, v, lt_ll_at(l, at, index, p->type, j * LT_LANES)), aligned(p, true));
}

/* Place x gets what stands at place x - end mod 16: two copies, one after the other, have it x places behind -end. */
void lt_pairwise_turn(lt_ll *l, const lt_pairwise *p, LLVMValueRef *part, LLVMValueRef end) {
  for (unsigned j = 0; j < p->parts; j++) {
    store(l, p, part[j], p->turned, NULL, j);
    store(l, p, part[j], p->turned, NULL, j + p->parts);
  }
  LLVMValueRef by = LLVMBuildAnd(l->b, LLVMBuildNeg(l->b, end, ""), lt_ll_i64(l, LT_LANES - 1), "");
  if (p->parts > 1) by = LLVMBuildMul(l->b, by, lt_ll_i64(l, LT_LANES), "");
  for (unsigned j = 0; j < p->parts; j++) part[j] = load(l, p, p->turned, by, j, p->parts > 1);
}

/* ---- the counter ---- */

static LLVMValueRef add_waiting(lt_ll *l, const lt_pairwise *p, LLVMValueRef part, LLVMValueRef level, unsigned j) {
  return LLVMBuildFAdd(l->b, load(l, p, p->waiting, level, j, true), part, "");
}

static void push_few(lt_ll *l, const lt_pairwise *p, LLVMValueRef sum, LLVMValueRef run) {
  int64_t r = 0;
  unsigned level = 0;
  bool known = lt_ll_const_of(run, &r);
  assert(known && p->parts == 1), (void)known;
  for (; r % 2; r /= 2) sum = LLVMBuildFAdd(l->b, p->few[level++], sum, "");
  p->few[level] = sum;
}

static LLVMValueRef sum_few(lt_ll *l, const lt_pairwise *p) {
  LLVMValueRef sum = NULL;
  unsigned level = 0;
  for (int64_t n = p->runs; n; n /= 2, level++)
    if (n % 2) sum = sum ? LLVMBuildFAdd(l->b, p->few[level], sum, "") : p->few[level];
  return sum;
}

void lt_pairwise_push(lt_ll *l, const lt_pairwise *p, const LLVMValueRef *part, LLVMValueRef run) {
  if (p->few) {
    push_few(l, p, part[0], run);
    return;
  }
  LLVMBasicBlockRef before = LLVMGetInsertBlock(l->b), head = lt_ll_block(l), carry = lt_ll_block(l),
                    done = lt_ll_block(l);
  LLVMValueRef sum[LT_LANES], zero = lt_ll_i64(l, 0), one = lt_ll_i64(l, 1);
  LLVMBuildBr(l->b, head);
  LLVMPositionBuilderAtEnd(l->b, head);
  LLVMValueRef level = LLVMBuildPhi(l->b, l->i64, ""), left = LLVMBuildPhi(l->b, l->i64, "");
  LLVMAddIncoming(level, &zero, &before, 1), LLVMAddIncoming(left, &run, &before, 1);
  for (unsigned j = 0; j < p->parts; j++) {
    sum[j] = LLVMBuildPhi(l->b, lt_ll_vec(l, p->type), "");
    LLVMAddIncoming(sum[j], (LLVMValueRef *)&part[j], &before, 1);
  }
  LLVMValueRef ends_in_one = LLVMBuildICmp(l->b, LLVMIntNE, LLVMBuildAnd(l->b, left, one, ""), zero, "");
  LLVMBuildCondBr(l->b, ends_in_one, carry, done);
  LLVMPositionBuilderAtEnd(l->b, carry);
  for (unsigned j = 0; j < p->parts; j++) {
    LLVMValueRef more = add_waiting(l, p, sum[j], level, j);
    LLVMAddIncoming(sum[j], &more, &carry, 1);
  }
  LLVMValueRef up = LLVMBuildAdd(l->b, level, lt_ll_i64(l, (int64_t)p->parts * LT_LANES), "");
  LLVMValueRef rest = LLVMBuildLShr(l->b, left, one, "");
  LLVMAddIncoming(level, &up, &carry, 1), LLVMAddIncoming(left, &rest, &carry, 1);
  LLVMBuildBr(l->b, head);
  LLVMPositionBuilderAtEnd(l->b, done);
  for (unsigned j = 0; j < p->parts; j++) store(l, p, sum[j], p->waiting, level, j);
}

void lt_pairwise_sum(lt_ll *l, const lt_pairwise *p, LLVMValueRef *part) {
  bool first = true;
  int64_t level = 0;
  if (p->few) {
    part[0] = sum_few(l, p);
    return;
  }
  for (int64_t n = p->runs; n; n /= 2, level += (int64_t)p->parts * LT_LANES) {
    if (n % 2 == 0) continue;
    for (unsigned j = 0; j < p->parts; j++)
      part[j] = first ? load(l, p, p->waiting, lt_ll_i64(l, level), j, true)
                      : add_waiting(l, p, part[j], lt_ll_i64(l, level), j);
    first = false;
  }
}
