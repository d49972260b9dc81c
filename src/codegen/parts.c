/* parts.c: a module's object, or as several objects, which threads translate at the same time.
 *
 * The kernels' functions are dealt out by their sizes, the largest first. What is dealt to the first part stays in the
 * module itself, with entries, constants and what reads them; the others get modules of their own, which go through
 * bitcode into a context of the thread's. What one part needs of another is a function whose name is no C name (it has
 * a dot), so that nothing outside can be meant. LLVM translates functions one by one: each becomes the code that it is
 * in a single object. Those that are alike have become one before (merge.c), so none is translated twice. */
#include "codegen/module.h"

#include <llvm-c/BitWriter.h>

typedef struct function { LLVMValueRef fn; int64_t cost; bool moves; uint32_t part; } function;

typedef struct part {
  lt_module *whole; /* the module itself, of the first part */
  const lt_target *target;
  LLVMModuleRef mod; /* of the others, until it is bitcode */
  LLVMMemoryBufferRef bitcode;
  int64_t cost;
  LLVMMemoryBufferRef object;
  lathe_error error;
  int status;
} part;

typedef struct cutting {
  lt_module *m;
  LT_VEC(function) function;
  part *part;
  uint32_t n;
  unsigned optnone;
} cutting;

/* What is only translated takes a quarter of the time. */
enum { COLD = 4 };
/* Fewer instructions than this (a hundredth of a second of LLVM's) are not worth a part of their own. */
enum { WORTH = 1000 * COLD };

static void dispose_buffer(void *b) { LLVMDisposeMemoryBuffer(b); }
static void dispose_module(void *m) { LLVMDisposeModule(m); }

/* ---- which functions go where ------------------------------------------------------------------------------------ */

/* Is it an operand that means the same in another module? Of globals functions alone, and nothing is made of these. */
static bool goes_along(LLVMValueRef x) {
  return !LLVMIsAConstant(x) || LLVMIsAFunction(x) || (!LLVMIsAGlobalValue(x) && !LLVMIsAConstantExpr(x));
}

static function look_at(const cutting *c, LLVMValueRef fn) {
  function f = {.fn = fn, .moves = LLVMGetLinkage(fn) == LLVMInternalLinkage};
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(fn); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef x = LLVMGetFirstInstruction(b); x; x = LLVMGetNextInstruction(x)) {
      int n = LLVMGetNumOperands(x);
      for (int i = 0; i < n && f.moves; i++) f.moves = goes_along(LLVMGetOperand(x, (unsigned)i));
      f.cost += COLD;
    }
  if (LLVMGetEnumAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, c->optnone)) f.cost /= COLD;
  return f;
}

static int64_t look_at_all(cutting *c) {
  int64_t all = 0;
  for (LLVMValueRef f = LLVMGetFirstFunction(c->m->l.mod); f; f = LLVMGetNextFunction(f)) {
    if (LLVMIsDeclaration(f)) continue;
    function x = look_at(c, f);
    all += x.cost;
    lt_vec_push(c->m->l.arena, &c->function, x);
  }
  return all;
}

/* The largest that has no part yet, of equal ones the first; NULL: none. */
static function *largest(const cutting *c) {
  function *best = NULL;
  for (uint32_t i = 0; i < c->function.n; i++) {
    function *f = &c->function.at[i];
    if (f->moves && f->part == c->n && (!best || f->cost > best->cost)) best = f;
  }
  return best;
}

static void deal_out(cutting *c) {
  for (uint32_t i = 0; i < c->function.n; i++) {
    function *f = &c->function.at[i];
    f->part = f->moves ? c->n : 0;
    c->part[0].cost += f->moves ? 0 : f->cost;
  }
  for (function *f; (f = largest(c));) {
    f->part = 0;
    for (uint32_t k = 1; k < c->n; k++)
      if (c->part[k].cost < c->part[f->part].cost) f->part = k;
    c->part[f->part].cost += f->cost;
  }
}

/* ---- moving them ------------------------------------------------------------------------------------------------- */

static void open_part(cutting *c, part *p) {
  const lt_ll *l = &c->m->l;
  p->mod = LLVMModuleCreateWithNameInContext("lathe", l->ctx);
  lt_defer(l->job, dispose_module, p->mod);
  LLVMSetSourceFileName(p->mod, "", 0);
  LLVMSetTarget(p->mod, LLVMGetTarget(l->mod));
  LLVMSetDataLayout(p->mod, LLVMGetDataLayoutStr(l->mod));
}

/* The function of this name in another module: declared there where it is not yet. */
static LLVMValueRef in_module(cutting *c, LLVMModuleRef to, LLVMValueRef fn) {
  size_t n;
  const char *name = LLVMGetValueName2(fn, &n);
  LLVMValueRef there = LLVMGetNamedFunction(to, name);
  if (there) return there;
  there = LLVMAddFunction(to, name, LLVMGlobalGetValueType(fn));
  if (LLVMGetIntrinsicID(fn)) return there;
  lt_ll_copy_attributes(&c->m->l, there, fn);
  LLVMSetLinkage(fn, LLVMExternalLinkage);
  return there;
}

/* What is left of it is a declaration. */
static void move(cutting *c, function *f) {
  LLVMValueRef to = in_module(c, c->part[f->part].mod, f->fn);
  lt_ll_move_body(&c->m->l, to, f->fn);
  f->fn = to;
}

static void call_own(cutting *c, const function *f) {
  LLVMModuleRef own = c->part[f->part].mod;
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f->fn); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef x = LLVMGetFirstInstruction(b); x; x = LLVMGetNextInstruction(x))
      for (int i = 0; i < LLVMGetNumOperands(x); i++) {
        LLVMValueRef v = LLVMGetOperand(x, (unsigned)i);
        if (LLVMIsAFunction(v)) LLVMSetOperand(x, (unsigned)i, in_module(c, own, v));
      }
}

static void write_part(cutting *c, part *p) {
  p->bitcode = LLVMWriteBitcodeToMemoryBuffer(p->mod);
  lt_defer(c->m->l.job, dispose_buffer, p->bitcode);
  lt_defer_cancel(c->m->l.job, p->mod);
  LLVMDisposeModule(p->mod);
}

static void cut(cutting *c) {
  deal_out(c);
  for (uint32_t i = 1; i < c->n; i++) open_part(c, &c->part[i]);
  for (uint32_t i = 0; i < c->function.n; i++)
    if (c->function.at[i].part) move(c, &c->function.at[i]);
  for (uint32_t i = 0; i < c->function.n; i++)
    if (c->function.at[i].part) call_own(c, &c->function.at[i]);
  for (uint32_t i = 1; i < c->n; i++) write_part(c, &c->part[i]);
}

/* ---- translating them -------------------------------------------------------------------------------------------- */

/* A job of its own: nothing may unwind through the threads' frames. */
static void translate(lt_job *job, void *arg) {
  part *p = arg;
  lt_arena *a = lt_arena_new(job);
  if (p->whole) p->whole->l.job = job, p->whole->l.arena = a;
  p->object = lt_module_emit(p->whole ? p->whole : lt_module_read(job, a, p->target, p->bitcode), LLVMObjectFile);
}

static void run_part(void *arg, int64_t i) {
  part *p = &((part *)arg)[i];
  p->status = lt_protect(&p->error, translate, p);
}

static void translate_all(cutting *c, const lathe_parallel *threads) {
  lt_ll *l = &c->m->l;
  lt_job *job = l->job;
  lt_arena *a = l->arena;
  threads->run(threads->ctx, c->n, run_part, c->part);
  l->job = job, l->arena = a;
  for (uint32_t i = 0; i < c->n; i++)
    if (c->part[i].object) lt_defer_failed(job, dispose_buffer, c->part[i].object);
  for (uint32_t i = 0; i < c->n; i++)
    if (c->part[i].status) lt_fail(job, c->part[i].status, NULL, "%s", c->part[i].error.message);
}

lt_objects lt_module_objects(lt_module *m, lt_crew crew) {
  cutting c = {.m = m, .n = 1, .optnone = LLVMGetEnumAttributeKindForName("optnone", strlen("optnone"))};
  if (crew.parallel) {
    int64_t worth = look_at_all(&c) / WORTH;
    c.n = (uint32_t)LT_MAX(1, LT_MIN(crew.threads, LT_MIN(worth, c.function.n)));
  }
  c.part = LT_NEW_ARRAY(m->l.arena, part, c.n);
  for (uint32_t i = 0; i < c.n; i++) c.part[i].target = m->l.target;
  c.part[0].whole = m;
  lt_objects all = {LT_NEW_ARRAY(m->l.arena, LLVMMemoryBufferRef, c.n), c.n};
  if (c.n > 1) {
    cut(&c);
    translate_all(&c, crew.parallel);
  } else {
    c.part[0].object = lt_module_emit(m, LLVMObjectFile);
    lt_defer_failed(m->l.job, dispose_buffer, c.part[0].object);
  }
  for (uint32_t i = 0; i < c.n; i++) all.at[i] = c.part[i].object;
  return all;
}
