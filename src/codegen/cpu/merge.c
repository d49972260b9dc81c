/* merge.c: micro-kernels that differ in a few numbers become one, which is told them.
 *
 *   tile.0(bufs, n, oh, …)  { … b + 4096 …  while (++i < 2)  … }   called with (bufs, 0, 3, …)
 *   tile.1(bufs, n, oh, …)  { … b + 8192 …  while (++i < 4)  … }   called with (bufs, 0, 5, …)
 *
 * become  tile.0(bufs, n, oh, …, p, q)  { … b + p …  while (++i < q)  … },  called with (…, 4096, 2) and (…, 8192, 4).
 *
 * LLVM's time is most of a compilation's, and many of a residual network's tiles are of this kind: 1x1
 * convolutions of several planes and channels. Only 64-bit numbers in sums, products, comparisons, calls and
 * displacements may differ (distances and how often a loop runs), and at most MOST of them, at most HOT in innermost
 * loops: each takes a register there. Numbers that differ by the same everywhere are one: b + 4096 and b + 4112 are b +
 * p and b + (p + 16). Neither what is computed nor its order changes, so no bit does. */
#include "codegen/cpu/kernels.h"

enum { MOST = 10, HOT = 3 };

/* hot: in a block that repeats itself. */
typedef struct number { LLVMValueRef at; unsigned operand; bool hot; int64_t value; } number;

/* A function as words, without its numbers. Equal words: they differ in these alone. */
typedef struct body {
  LLVMValueRef fn;
  lt_str words;
  LT_VEC(number) number;
  bool odd; /* has something that is not compared here */
} body;

/* ---- what a function is ------------------------------------------------------------------------------------------ */

typedef struct reading {
  lt_arena *a;
  body *to;
  lt_map id; /* of arguments, blocks, instructions: by their addresses */
  bool hot;
} reading;

static void word(reading *r, uint64_t w) { lt_str_put(&r->to->words, (const char *)&w, sizeof w); }
static void address(reading *r, const void *p) { word(r, (uint64_t)(uintptr_t)p); }

static void name_it(reading *r, const void *p) {
  const void **key = LT_NEW(r->a, const void *);
  *key = p;
  lt_map_put(r->a, &r->id, (const char *)key, sizeof *key, r->id.n + 1u);
}

static void name_all(reading *r, LLVMValueRef fn) {
  for (LLVMValueRef p = LLVMGetFirstParam(fn); p; p = LLVMGetNextParam(p)) name_it(r, p);
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(fn); b; b = LLVMGetNextBasicBlock(b)) {
    name_it(r, LLVMBasicBlockAsValue(b));
    for (LLVMValueRef x = LLVMGetFirstInstruction(b); x; x = LLVMGetNextInstruction(x)) name_it(r, x);
  }
}

/* Where a number may become a value: not in a lane's place, a switch, or, where code repeats itself, as a divisor. */
static bool may_vary(LLVMValueRef x, LLVMOpcode op, unsigned operand, bool hot) {
  switch (op) {
  case LLVMURem: return !hot;
  case LLVMAdd:
  case LLVMSub:
  case LLVMMul:
  case LLVMICmp: return true;
  case LLVMCall: {
    LLVMValueRef callee = LLVMIsAFunction(LLVMGetCalledValue(x));
    return callee && !LLVMGetIntrinsicID(callee);
  }
  case LLVMGetElementPtr: return operand > 0 && LLVMGetTypeKind(LLVMGetGEPSourceElementType(x)) != LLVMStructTypeKind;
  default: return false;
  }
}

static void read_operand(reading *r, LLVMValueRef x, LLVMOpcode op, unsigned i) {
  LLVMValueRef v = LLVMGetOperand(x, i);
  uintptr_t id;
  bool is_number = LLVMIsAConstantInt(v) && LLVMGetIntTypeWidth(LLVMTypeOf(v)) == 64;
  if (is_number && may_vary(x, op, i, r->hot)) {
    lt_vec_push(r->a, &r->to->number, ((number){x, i, r->hot, LLVMConstIntGetSExtValue(v)}));
    word(r, 0);
  } else if (lt_map_get(&r->id, (const char *)&v, sizeof v, &id)) {
    word(r, id);
  } else {
    address(r, v); /* constants and functions: one object each in a context */
  }
}

/* What is not in the operands. */
static void read_rest(reading *r, LLVMValueRef x, LLVMOpcode op) {
  switch (op) {
  case LLVMAdd:
  case LLVMSub:
  case LLVMMul: word(r, 2u * (LLVMGetNSW(x) != 0) + (LLVMGetNUW(x) != 0)); return;
  case LLVMUDiv: word(r, LLVMGetExact(x) != 0); return;
  case LLVMICmp: word(r, LLVMGetICmpPredicate(x)); return;
  case LLVMFCmp: word(r, LLVMGetFCmpPredicate(x)); return;
  case LLVMGetElementPtr:
    address(r, LLVMGetGEPSourceElementType(x));
    word(r, LLVMIsInBounds(x) != 0);
    return;
  case LLVMAlloca: address(r, LLVMGetAllocatedType(x)); /* fallthrough */
  case LLVMLoad:
  case LLVMStore: word(r, LLVMGetAlignment(x)); return;
  case LLVMPHI:
    for (unsigned i = 0; i < LLVMCountIncoming(x); i++) {
      uintptr_t id = 0;
      LLVMValueRef from = LLVMBasicBlockAsValue(LLVMGetIncomingBlock(x, i));
      r->to->odd |= !lt_map_get(&r->id, (const char *)&from, sizeof from, &id);
      word(r, id);
    }
    return;
  case LLVMShuffleVector:
    for (unsigned i = 0; i < LLVMGetNumMaskElements(x); i++) word(r, (uint64_t)LLVMGetMaskValue(x, i));
    return;
  case LLVMCall: address(r, LLVMGetCalledFunctionType(x)); return;
  case LLVMURem:
  case LLVMFAdd:
  case LLVMFSub:
  case LLVMFMul:
  case LLVMFDiv:
  case LLVMFNeg:
  case LLVMAnd:
  case LLVMOr:
  case LLVMXor:
  case LLVMShl:
  case LLVMSelect:
  case LLVMBr:
  case LLVMRet:
  case LLVMTrunc:
  case LLVMZExt:
  case LLVMSExt:
  case LLVMFPExt:
  case LLVMFPTrunc:
  case LLVMFPToSI:
  case LLVMSIToFP:
  case LLVMUIToFP:
  case LLVMBitCast:
  case LLVMExtractElement:
  case LLVMInsertElement: return;
  default: r->to->odd = true;
  }
}

static void read_instruction(reading *r, LLVMValueRef x) {
  LLVMOpcode op = LLVMGetInstructionOpcode(x);
  unsigned n = (unsigned)LLVMGetNumOperands(x);
  word(r, op);
  address(r, LLVMTypeOf(x));
  word(r, n);
  for (unsigned i = 0; i < n; i++) read_operand(r, x, op, i);
  read_rest(r, x, op);
  r->to->odd |= LLVMHasMetadata(x) != 0;
}

static bool repeats(LLVMBasicBlockRef b) {
  LLVMValueRef end = LLVMGetBasicBlockTerminator(b);
  for (unsigned i = 0; i < LLVMGetNumSuccessors(end); i++)
    if (LLVMGetSuccessor(end, i) == b) return true;
  return false;
}

static body *read_body(lt_arena *a, LLVMValueRef fn) {
  body *f = LT_NEW(a, body);
  reading r = {a, f, .id = {0}};
  f->fn = fn;
  lt_str_init(&f->words, a);
  name_all(&r, fn);
  address(&r, LLVMGlobalGetValueType(fn));
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(fn); b; b = LLVMGetNextBasicBlock(b)) {
    word(&r, UINT64_MAX);
    r.hot = repeats(b);
    for (LLVMValueRef x = LLVMGetFirstInstruction(b); x; x = LLVMGetNextInstruction(x)) read_instruction(&r, x);
  }
  return f;
}

/* ---- which are one ----------------------------------------------------------------------------------------------- */

/* Functions of equal words; of each number, which param it is: 0: none, it is the same in all. */
typedef struct family family;
struct family {
  LT_VEC(body *) member;
  uint8_t *param;
  unsigned n_param;
  family *next; /* of the same words, with other numbers */
};

/* Does f belong to them? Numbers that were one param, or none, may have to become several. */
static bool join(lt_arena *a, family *all, body *f) {
  struct { unsigned old; int64_t more; bool hot; } kind[MOST] = {0};
  unsigned n_kind = 0, n_hot = 0;
  const body *first = all->member.at[0];
  uint8_t *param = LT_NEW_ARRAY(a, uint8_t, f->number.n + 1u);
  for (uint32_t i = 0; i < f->number.n; i++) {
    int64_t more = (int64_t)((uint64_t)f->number.at[i].value - (uint64_t)first->number.at[i].value);
    unsigned k = 0, old = all->param[i];
    if (!old && !more) continue;
    while (k < n_kind && (kind[k].old != old || kind[k].more != more)) k++;
    if (k == MOST) return false;
    if (k == n_kind) kind[n_kind].old = old, kind[n_kind++].more = more;
    param[i] = (uint8_t)(k + 1);
    n_hot += f->number.at[i].hot && !kind[k].hot;
    kind[k].hot |= f->number.at[i].hot;
  }
  if (n_hot > HOT) return false;
  lt_vec_push(a, &all->member, f);
  all->param = param, all->n_param = n_kind;
  return true;
}

typedef LT_VEC(family *) families;

static void sort_in(lt_arena *a, lt_map *by_words, families *all, body *f) {
  uintptr_t first = 0;
  lt_map_get(by_words, f->words.at, f->words.n, &first);
  for (family *g = (family *)first; g; g = g->next)
    if (join(a, g, f)) return;
  family *g = LT_NEW(a, family);
  g->next = (family *)first;
  g->param = LT_NEW_ARRAY(a, uint8_t, f->number.n + 1u);
  lt_vec_push(a, &g->member, f);
  lt_map_put(a, by_words, f->words.at, f->words.n, (uintptr_t)g);
  lt_vec_push(a, all, g);
}

/* ---- making them one --------------------------------------------------------------------------------------------- */

typedef struct merging {
  lt_ll *l;
  const family *all;
  LLVMValueRef fn; /* the new function */
  LLVMTypeRef type;
  unsigned own;             /* its params before the numbers */
  uint32_t place[MOST + 1]; /* of a param, the place of the first number that is it */
} merging;

static void find_params(merging *m) {
  for (uint32_t i = m->all->member.at[0]->number.n; i-- > 0;) m->place[m->all->param[i]] = i;
}

static void open_function(merging *m, LLVMValueRef from) {
  LLVMTypeRef old = LLVMGlobalGetValueType(from), *param;
  size_t n;
  const char *name = LLVMGetValueName2(from, &n);
  name = lt_arena_strndup(m->l->arena, name, n);
  m->own = LLVMCountParamTypes(old);
  param = LT_NEW_ARRAY(m->l->arena, LLVMTypeRef, m->own + m->all->n_param);
  LLVMGetParamTypes(old, param);
  for (unsigned i = 0; i < m->all->n_param; i++) param[m->own + i] = m->l->i64;
  m->type = LLVMFunctionType(m->l->void_, param, m->own + m->all->n_param, false);
  LLVMSetValueName2(from, "", 0);
  m->fn = LLVMAddFunction(m->l->mod, name, m->type);
  LLVMSetLinkage(m->fn, LLVMInternalLinkage);
  lt_ll_copy_attributes(m->l, m->fn, from);
}

/* b + 4112 becomes b + (p + 16) where p is 4096. */
static void use_params(const merging *m) {
  const body *first = m->all->member.at[0];
  for (uint32_t i = 0; i < first->number.n; i++) {
    const number *x = &first->number.at[i];
    unsigned p = m->all->param[i];
    if (!p) continue;
    LLVMValueRef v = LLVMGetParam(m->fn, m->own + p - 1);
    int64_t more = x->value - first->number.at[m->place[p]].value;
    LLVMPositionBuilderBefore(m->l->b, x->at);
    if (more) v = LLVMBuildAdd(m->l->b, v, lt_ll_i64(m->l, more), "");
    LLVMSetOperand(x->at, x->operand, v);
  }
}

static void call_instead(const merging *m, LLVMValueRef call, const body *f) {
  unsigned n = m->own + m->all->n_param;
  LLVMValueRef *arg = LT_NEW_ARRAY(m->l->arena, LLVMValueRef, n);
  for (unsigned i = 0; i < m->own; i++) arg[i] = LLVMGetOperand(call, i);
  for (unsigned p = 1; p <= m->all->n_param; p++)
    arg[m->own + p - 1] = lt_ll_i64(m->l, f->number.at[m->place[p]].value);
  LLVMPositionBuilderBefore(m->l->b, call);
  LLVMBuildCall2(m->l->b, m->type, m->fn, arg, n, "");
  LLVMInstructionEraseFromParent(call);
}

static void merge(lt_ll *l, const family *all) {
  merging m = {.l = l, .all = all};
  LLVMValueRef from = all->member.at[0]->fn;
  find_params(&m);
  open_function(&m, from);
  lt_ll_move_body(l, m.fn, from);
  use_params(&m);
  for (uint32_t i = 0; i < all->member.n; i++) {
    const body *f = all->member.at[i];
    for (LLVMUseRef use; (use = LLVMGetFirstUse(f->fn));) call_instead(&m, LLVMGetUser(use), f);
    LLVMDeleteFunction(f->fn);
  }
}

/* A number that equal words have in common, found in no time: most functions are the only ones of theirs. */
static uint64_t glance(LLVMValueRef fn) {
  uint64_t sum = 0;
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(fn); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef x = LLVMGetFirstInstruction(b); x; x = LLVMGetNextInstruction(x))
      sum = sum * 31 + (uint64_t)LLVMGetInstructionOpcode(x);
  return sum;
}

/* How many functions have which. */
static uint64_t *glance_at_all(lt_arena *a, const lt_ll *l, lt_map *many) {
  uint64_t *sum = LT_NEW_ARRAY(a, uint64_t, l->alike.n + 1u);
  for (uint32_t i = 0; i < l->alike.n; i++) {
    uintptr_t n = 0;
    sum[i] = glance(l->alike.at[i]);
    lt_map_get(many, (const char *)&sum[i], sizeof *sum, &n);
    lt_map_put(a, many, (const char *)&sum[i], sizeof *sum, n + 1);
  }
  return sum;
}

void lt_merge_alike(lt_ll *l) {
  lt_arena *a = lt_arena_new(l->job);
  lt_map by_words = {0}, many = {0};
  families all = {0};
  const uint64_t *sum = glance_at_all(a, l, &many);
  for (uint32_t i = 0; i < l->alike.n; i++) {
    uintptr_t n = 0;
    if (!lt_map_get(&many, (const char *)&sum[i], sizeof *sum, &n) || n == 1) continue;
    body *f = read_body(a, l->alike.at[i]);
    if (!f->odd) sort_in(a, &by_words, &all, f);
  }
  for (uint32_t i = 0; i < all.n; i++)
    if (all.at[i]->member.n > 1) merge(l, all.at[i]);
  l->alike.n = 0;
}
