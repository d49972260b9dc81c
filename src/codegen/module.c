/* module.c: an LLVM module from its context to its bytes: what LLVM keeps for it, the machine it is for, what LLVM says
 * on the way. */
#include "codegen/module.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/BitReader.h>
#include <stdio.h>
#include <stdlib.h>

static void release(void *arg) {
  lt_module *m = arg;
  if (m->machine) LLVMDisposeTargetMachine(m->machine);
  if (m->l.b) LLVMDisposeBuilder(m->l.b);
  if (m->l.mod) LLVMDisposeModule(m->l.mod);
  if (m->l.ctx) LLVMContextDispose(m->l.ctx);
}

/* "…stack frame size (64) exceeds limit (0) in function 'kernel.3'" */
static void note_frame(lt_module *m, const char *text) {
  const char *size = strstr(text, "stack frame size ("), *name = strstr(text, "in function '");
  if (!size || !name) return;
  name += strlen("in function '");
  size_t n = strcspn(name, "'");
  for (uint32_t i = 0; i < m->n_frame; i++) {
    size_t k;
    const char *own = LLVMGetValueName2(m->frame[i].fn, &k);
    if (k == n && memcmp(own, name, n) == 0) m->frame[i].bytes = strtoll(size + strlen("stack frame size ("), NULL, 10);
  }
}

/* Called from inside LLVM: only notes what was said (no unwinding through frames that are not ours). */
static void note(LLVMDiagnosticInfoRef info, void *arg) {
  lt_module *m = arg;
  bool error = LLVMGetDiagInfoSeverity(info) == LLVMDSError;
  if (error ? *m->problem : !m->n_frame) return;
  char *text = LLVMGetDiagInfoDescription(info);
  if (error) snprintf(m->problem, sizeof m->problem, "%s", text);
  else note_frame(m, text);
  LLVMDisposeMessage(text);
}

LT_NORETURN static void fail_llvm(lt_module *m, const char *doing, char *message) {
  const char *text = lt_arena_strdup(m->l.arena, message ? message : "");
  LLVMDisposeMessage(message);
  lt_fail(m->l.job, LATHE_E_INTERNAL, NULL, "%s: %s", doing, text);
}

/* On x86-64 LLVM makes the same code on both levels, but that it lists instructions once more behind register
 * allocation for CPUs whose model asks for it (AMD's): a seventh of its time, and their code is executed out of order
 * anyway. */
static LLVMCodeGenOptLevel level_of(const lt_target *t) {
  return strncmp(t->triple, "x86_64", 6) == 0 ? LLVMCodeGenLevelLess : LLVMCodeGenLevelDefault;
}

static void open_target(lt_module *m, const lt_target *t) {
  LLVMTargetRef target;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(t->triple, &target, &message)) fail_llvm(m, "code generation", message);
  LLVMTargetMachineOptionsRef o = LLVMCreateTargetMachineOptions();
  LLVMTargetMachineOptionsSetCPU(o, t->cpu);
  LLVMTargetMachineOptionsSetFeatures(o, t->features);
  if (t->abi && *t->abi) LLVMTargetMachineOptionsSetABI(o, t->abi);
  LLVMTargetMachineOptionsSetCodeGenOptLevel(o, level_of(t));
  bool wasm = strncmp(t->triple, "wasm", 4) == 0; /* its position-independent code needs a dynamic linker */
  LLVMTargetMachineOptionsSetRelocMode(o, wasm ? LLVMRelocStatic : LLVMRelocPIC);
  m->machine = LLVMCreateTargetMachineWithOptions(target, t->triple, o);
  LLVMDisposeTargetMachineOptions(o);
  LLVMSetTarget(m->l.mod, t->triple);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(m->machine);
  LLVMSetModuleDataLayout(m->l.mod, layout);
  LLVMDisposeTargetData(layout);
}

static void open_context(lt_ll *l) {
  LLVMContextRef c = l->ctx = LLVMContextCreate();
  l->b = LLVMCreateBuilderInContext(c);
  l->mod = LLVMModuleCreateWithNameInContext("lathe", c);
  LLVMSetSourceFileName(l->mod, "", 0); /* otherwise the module's name enters the object as a symbol */
  l->i1 = LLVMInt1TypeInContext(c), l->i8 = LLVMInt8TypeInContext(c), l->i32 = LLVMInt32TypeInContext(c);
  l->i64 = LLVMInt64TypeInContext(c), l->f32 = LLVMFloatTypeInContext(c), l->f64 = LLVMDoubleTypeInContext(c);
  l->ptr = LLVMPointerTypeInContext(c, 0), l->void_ = LLVMVoidTypeInContext(c);
}

/* Checking costs a tenth of the whole: only where asserts are on or LATHE_VERIFY_LLVM asks for it. */
void lt_module_verify(lt_module *m) {
#ifdef NDEBUG
  if (!getenv("LATHE_VERIFY_LLVM")) return;
#endif
  char *message = NULL;
  if (LLVMVerifyModule(m->l.mod, LLVMReturnStatusAction, &message))
    fail_llvm(m, "code generation made a broken module", message);
  LLVMDisposeMessage(message);
}

lt_module *lt_module_new(lt_job *job, lt_arena *a, const lt_target *t) {
  lt_llvm_init();
  lt_module *m = LT_NEW(a, lt_module);
  m->l = (lt_ll){.job = job, .arena = a, .target = t};
  lt_defer(job, release, m);
  open_context(&m->l);
  LLVMContextSetDiagnosticHandler(m->l.ctx, note, m);
  open_target(m, t);
  return m;
}

lt_module *lt_module_of(lt_job *job, lt_arena *a, const lt_target *t, const lt_module_entry *entry, size_t n,
                        bool text) {
  lt_module *m = lt_module_new(job, a, t);
  m->text = text;
  lt_module_entries(m, entry, n);
  lt_module_verify(m);
  return m;
}

lt_module *lt_module_read(lt_job *job, lt_arena *a, const lt_target *t, LLVMMemoryBufferRef bitcode) {
  lt_module *m = lt_module_new(job, a, t);
  LLVMModuleRef empty = m->l.mod;
  m->l.mod = NULL;
  LLVMDisposeModule(empty);
  if (LLVMParseBitcodeInContext2(m->l.ctx, bitcode, &m->l.mod))
    lt_fail(job, LATHE_E_INTERNAL, NULL, "code generation: %s", m->problem);
  lt_module_verify(m);
  return m;
}

static void dispose_buffer(void *b) { LLVMDisposeMemoryBuffer(b); }

/* The buffer is memory of its own, which LLVM has just filled for us. */
static void write_embedded(lt_module *m, LLVMMemoryBufferRef buffer) {
  lt_defer_failed(m->l.job, dispose_buffer, buffer);
  lt_embed_write(m, (unsigned char *)(uintptr_t)LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
  lt_defer_cancel(m->l.job, buffer);
}

LLVMMemoryBufferRef lt_module_emit(lt_module *m, LLVMCodeGenFileType type) {
  char *message = NULL;
  LLVMMemoryBufferRef buffer = NULL;
  if (LLVMTargetMachineEmitToMemoryBuffer(m->machine, m->l.mod, type, &message, &buffer))
    fail_llvm(m, "code generation", message);
  if (*m->problem) {
    LLVMDisposeMemoryBuffer(buffer);
    lt_fail(m->l.job, LATHE_E_INTERNAL, NULL, "code generation: %s", m->problem);
  }
  if (type == LLVMObjectFile && m->embedding.n) write_embedded(m, buffer);
  return buffer;
}
