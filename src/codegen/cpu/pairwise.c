/* pairwise.c: binary counters of vectors, in registers and in the frame (pairwise.h). */
#include "codegen/cpu/pairwise.h"

#include <assert.h>

/* ---- in registers ---- */

void lt_tree_add(lt_ll *l, lt_tree *t, const LLVMValueRef *part) {
  LLVMValueRef sum[LT_LANES];
  unsigned level = 0;
  memcpy(sum, part, t->parts * sizeof *part);
  for (int64_t r = t->runs++; r % 2; r /= 2, level++)
    for (unsigned j = 0; j < t->parts; j++) sum[j] = LLVMBuildFAdd(l->b, t->wait[level][j], sum[j], "");
  assert(level < LT_TREE_LEVELS);
  memcpy(t->wait[level], sum, t->parts * sizeof *sum);
}

void lt_tree_sum(lt_ll *l, const lt_tree *t, LLVMValueRef *part) {
  bool first = true;
  unsigned level = 0;
  for (int64_t n = t->runs; n; n /= 2, level++) {
    if (n % 2 == 0) continue;
    for (unsigned j = 0; j < t->parts; j++)
      part[j] = first ? t->wait[level][j] : LLVMBuildFAdd(l->b, t->wait[level][j], part[j], "");
    first = false;
  }
}

/* ---- in the frame ---- */

void lt_pairwise_begin(lt_ll *l, lt_pairwise *p, lt_dtype t, unsigned parts, int64_t runs) {
  uint64_t levels = 0;
  for (int64_t n = runs; n; n /= 2) levels++;
  *p = (lt_pairwise){.type = t, .parts = parts, .runs = runs};
  p->waiting = LLVMBuildAlloca(l->b, LLVMArrayType2(lt_ll_vec(l, t), levels * parts), "");
  LLVMSetAlignment(p->waiting, LT_ALIGN);
}

/* Elements from level to level. */
static int64_t level_step(const lt_pairwise *p) { return (int64_t)p->parts * LT_LANES; }

static unsigned aligned(const lt_pairwise *p) {
  return LT_MIN((unsigned)lt_dtype_size(p->type) * LT_LANES, (unsigned)LT_ALIGN);
}

static LLVMValueRef load(lt_ll *l, const lt_pairwise *p, LLVMValueRef level, LLVMValueRef place) {
  LLVMValueRef at = lt_ll_at(l, lt_ll_at(l, p->waiting, level, p->type, 0), place, p->type, 0);
  LLVMValueRef v = LLVMBuildLoad2(l->b, lt_ll_vec(l, p->type), at, "");
  LLVMSetAlignment(v, aligned(p));
  return v;
}

static void store(lt_ll *l, const lt_pairwise *p, LLVMValueRef v, LLVMValueRef level, LLVMValueRef place) {
  LLVMValueRef at = lt_ll_at(l, lt_ll_at(l, p->waiting, level, p->type, 0), place, p->type, 0);
  LLVMSetAlignment(LLVMBuildStore(l->b, v, at), aligned(p));
}

static LLVMValueRef add_waiting(lt_ll *l, const lt_pairwise *p, LLVMValueRef part, LLVMValueRef level,
                                LLVMValueRef place) {
  return LLVMBuildFAdd(l->b, load(l, p, level, place), part, "");
}

/* A group whose number is known: as many additions as it ends in ones. */
static void push_known(lt_ll *l, const lt_pairwise *p, const LLVMValueRef *part, const LLVMValueRef *place, unsigned n,
                       unsigned level, int64_t number) {
  LLVMValueRef sum[LT_LANES];
  int64_t at = level * level_step(p);
  memcpy(sum, part, n * sizeof *part);
  for (; number % 2; number /= 2, at += level_step(p))
    for (unsigned j = 0; j < n; j++) sum[j] = add_waiting(l, p, sum[j], lt_ll_i64(l, at), place[j]);
  for (unsigned j = 0; j < n; j++) store(l, p, sum[j], lt_ll_i64(l, at), place[j]);
}

void lt_pairwise_push(lt_ll *l, const lt_pairwise *p, const LLVMValueRef *part, const LLVMValueRef *place, unsigned n,
                      unsigned from, LLVMValueRef number) {
  int64_t known;
  if (lt_ll_const_of(number, &known)) {
    push_known(l, p, part, place, n, from, known);
    return;
  }
  LLVMBasicBlockRef before = LLVMGetInsertBlock(l->b), head = lt_ll_block(l), carry = lt_ll_block(l),
                    done = lt_ll_block(l);
  LLVMValueRef sum[LT_LANES], zero = lt_ll_i64(l, 0), one = lt_ll_i64(l, 1), first = lt_ll_i64(l, from * level_step(p));
  LLVMBuildBr(l->b, head);
  LLVMPositionBuilderAtEnd(l->b, head);
  LLVMValueRef level = LLVMBuildPhi(l->b, l->i64, ""), left = LLVMBuildPhi(l->b, l->i64, "");
  LLVMAddIncoming(level, &first, &before, 1), LLVMAddIncoming(left, &number, &before, 1);
  for (unsigned j = 0; j < n; j++) {
    sum[j] = LLVMBuildPhi(l->b, lt_ll_vec(l, p->type), "");
    LLVMAddIncoming(sum[j], (LLVMValueRef *)&part[j], &before, 1);
  }
  LLVMValueRef ends_in_one = LLVMBuildICmp(l->b, LLVMIntNE, LLVMBuildAnd(l->b, left, one, ""), zero, "");
  LLVMBuildCondBr(l->b, ends_in_one, carry, done);
  LLVMPositionBuilderAtEnd(l->b, carry);
  for (unsigned j = 0; j < n; j++) {
    LLVMValueRef more = add_waiting(l, p, sum[j], level, place[j]);
    LLVMAddIncoming(sum[j], &more, &carry, 1);
  }
  LLVMValueRef up = LLVMBuildAdd(l->b, level, lt_ll_i64(l, level_step(p)), "");
  LLVMValueRef rest = LLVMBuildLShr(l->b, left, one, "");
  LLVMAddIncoming(level, &up, &carry, 1), LLVMAddIncoming(left, &rest, &carry, 1);
  LLVMBuildBr(l->b, head);
  LLVMPositionBuilderAtEnd(l->b, done);
  for (unsigned j = 0; j < n; j++) store(l, p, sum[j], level, place[j]);
}

void lt_pairwise_sum(lt_ll *l, const lt_pairwise *p, LLVMValueRef *part) {
  bool first = true;
  int64_t level = 0;
  for (int64_t n = p->runs; n; n /= 2, level += level_step(p)) {
    if (n % 2 == 0) continue;
    for (unsigned j = 0; j < p->parts; j++) {
      LLVMValueRef place = lt_ll_i64(l, (int64_t)j * LT_LANES);
      part[j] = first ? load(l, p, lt_ll_i64(l, level), place) : add_waiting(l, p, part[j], lt_ll_i64(l, level), place);
    }
    first = false;
  }
}
