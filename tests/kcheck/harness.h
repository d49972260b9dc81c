/* harness.h: kernels built by hand, compiled alone, run task by task. For tests of emitters below the pipeline. */
#ifndef LT_HARNESS_H
#define LT_HARNESS_H
#include "codegen/codegen.h"
#include "codegen/emit.h"
#include "codegen/ll.h"
#include "codegen/tile.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/LLJIT.h>
#include <stdio.h>
#include <stdlib.h>

typedef void (*kernel_fn)(void *const *bufs, int64_t task);
typedef struct harness { LLVMOrcLLJITRef jit; LLVMMemoryBufferRef object; } harness;

static inline void harness_check(LLVMErrorRef e) {
  if (!e) return;
  fprintf(stderr, "%s\n", LLVMGetErrorMessage(e));
  abort();
}

static inline void harness_emit(lt_ll *l, const lt_kernel *const *k, int n) {
  l->ctx = LLVMContextCreate();
  l->b = LLVMCreateBuilderInContext(l->ctx);
  l->mod = LLVMModuleCreateWithNameInContext("harness", l->ctx);
  l->i1 = LLVMInt1TypeInContext(l->ctx), l->i8 = LLVMInt8TypeInContext(l->ctx), l->i32 = LLVMInt32TypeInContext(l->ctx);
  l->i64 = LLVMInt64TypeInContext(l->ctx), l->f32 = LLVMFloatTypeInContext(l->ctx),
  l->f64 = LLVMDoubleTypeInContext(l->ctx);
  l->ptr = LLVMPointerTypeInContext(l->ctx, 0), l->void_ = LLVMVoidTypeInContext(l->ctx);
  LLVMSetTarget(l->mod, l->target->triple);
  for (int i = 0; i < n; i++) {
    lt_ll_function(l, lt_arena_printf(l->arena, "k%d", i), false);
    lt_emit_contract(l, k[i]);
    LLVMBuildRetVoid(l->b);
  }
}

static inline LLVMTargetMachineRef harness_machine(const lt_target *t) {
  LLVMTargetRef target;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(t->triple, &target, &message)) abort();
  return LLVMCreateTargetMachine(target, t->triple, t->cpu, t->features, LLVMCodeGenLevelDefault, LLVMRelocPIC,
                                 LLVMCodeModelDefault);
}

/* Contractions k0 … in one module, as an object or as assembly. */
static inline LLVMMemoryBufferRef harness_generate(lt_job *job, lt_arena *a, const lt_target *t, const lt_kernel *const *k,
                                                   int n, LLVMCodeGenFileType kind) {
  lt_ll l = {.job = job, .arena = a, .target = t};
  harness_emit(&l, k, n);
  char *message = NULL;
  LLVMMemoryBufferRef out;
  LLVMTargetMachineRef m = harness_machine(t);
  if (LLVMVerifyModule(l.mod, LLVMReturnStatusAction, &message) ||
      LLVMTargetMachineEmitToMemoryBuffer(m, l.mod, kind, &message, &out)) {
    fprintf(stderr, "%s\n", message);
    abort();
  }
  LLVMDisposeMessage(message);
  LLVMDisposeTargetMachine(m);
  LLVMDisposeBuilder(l.b);
  LLVMDisposeModule(l.mod);
  LLVMContextDispose(l.ctx);
  return out;
}

static inline harness harness_compile(lt_job *job, lt_arena *a, const lt_target *t, const lt_kernel *const *k, int n) {
  harness h = {.object = harness_generate(job, a, t, k, n, LLVMObjectFile)};
  harness_check(LLVMOrcCreateLLJIT(&h.jit, NULL));
  harness_check(LLVMOrcLLJITAddObjectFile(h.jit, LLVMOrcLLJITGetMainJITDylib(h.jit), h.object));
  return h;
}

static inline kernel_fn harness_find(const harness *h, int i) {
  char name[16];
  snprintf(name, sizeof name, "k%d", i);
  LLVMOrcExecutorAddress at;
  harness_check(LLVMOrcLLJITLookup(h->jit, &at, name));
  return (kernel_fn)(uintptr_t)at;
}

static inline void harness_free(harness *h) { harness_check(LLVMOrcDisposeLLJIT(h->jit)); }
#endif
