/* peak.c: how many multiply-adds per second one core does for a target: the measure of every kernel.
 *
 * Generated for the target like any kernel: independent accumulators of the target's own vectors, enough of them to
 * hide the latency, and nothing else in the loop. The best of many short runs counts, since a busy machine only ever
 * slows. */
#include "codegen/codegen.h"
#include "codegen/ll.h"

#include <llvm-c/LLJIT.h>
#include <time.h>

enum { REPEAT = 4, FREE_REGS = 4, MOST_ACCS = 16, BURST = 20000, RUN_MS = 20 };

typedef void (*peak_fn)(void *accs, int64_t times);
typedef struct peak {
  lt_ll l;
  unsigned accs, lanes;
  LLVMModuleRef mod;          /* these are owned until handed on */
  LLVMTargetMachineRef machine;
  LLVMMemoryBufferRef object;
  LLVMOrcLLJITRef jit;
} peak;

static void release(void *arg) {
  peak *p = arg;
  if (p->jit) LLVMConsumeError(LLVMOrcDisposeLLJIT(p->jit));
  if (p->object) LLVMDisposeMemoryBuffer(p->object);
  if (p->machine) LLVMDisposeTargetMachine(p->machine);
  if (p->l.b) LLVMDisposeBuilder(p->l.b);
  if (p->mod) LLVMDisposeModule(p->mod);
  if (p->l.ctx) LLVMContextDispose(p->l.ctx);
}

static void open_module(peak *p, lt_job *job, lt_arena *a, const lt_target *t) {
  LLVMContextRef ctx = LLVMContextCreate();
  p->l = (lt_ll){.job = job, .arena = a, .target = t, .ctx = ctx, .b = LLVMCreateBuilderInContext(ctx)};
  p->l.mod = p->mod = LLVMModuleCreateWithNameInContext("peak", ctx);
  p->l.i1 = LLVMInt1TypeInContext(ctx), p->l.i8 = LLVMInt8TypeInContext(ctx);
  p->l.i32 = LLVMInt32TypeInContext(ctx), p->l.i64 = LLVMInt64TypeInContext(ctx);
  p->l.f32 = LLVMFloatTypeInContext(ctx), p->l.f64 = LLVMDoubleTypeInContext(ctx);
  p->l.ptr = LLVMPointerTypeInContext(ctx, 0), p->l.void_ = LLVMVoidTypeInContext(ctx);
}

/* void peak(accs, times): memory holds the accumulators, then the two factors. */
static void emit_peak(peak *p, lt_dtype t) {
  lt_ll *l = &p->l;
  LLVMValueRef fn = lt_ll_function(l, "peak", false), base = LLVMGetParam(fn, 0), v[MOST_ACCS + 2];
  LLVMTypeRef vec = LLVMVectorType(lt_ll_type(l, t), p->lanes);
  for (unsigned i = 0; i < p->accs + 2; i++)
    v[i] = LLVMBuildLoad2(l->b, vec, lt_ll_at(l, base, NULL, t, i * p->lanes), "");
  lt_ll_loop q = {.n_carry = p->accs};
  memcpy(q.carry, v, p->accs * sizeof *v);
  lt_ll_loop_begin(l, &q, lt_ll_i64(l, 0), LLVMGetParam(fn, 1), 1);
  for (unsigned r = 0; r < REPEAT; r++) {
    for (unsigned i = 0; i < p->accs; i++) q.carry[i] = lt_ll_fma(l, v[p->accs], v[p->accs + 1], q.carry[i]);
  }
  lt_ll_loop_end(l, &q);
  for (unsigned i = 0; i < p->accs; i++) LLVMBuildStore(l->b, q.carry[i], lt_ll_at(l, base, NULL, t, i * p->lanes));
  LLVMBuildRetVoid(l->b);
}

LT_NORETURN static void fail_llvm(lt_job *job, lt_arena *a, char *message) {
  const char *text = lt_arena_strdup(a, message);
  LLVMDisposeMessage(message);
  lt_fail(job, LATHE_E_INTERNAL, NULL, "measuring the peak: %s", text);
}

static void check(lt_job *job, lt_arena *a, LLVMErrorRef e) {
  if (!e) return;
  char *message = LLVMGetErrorMessage(e);
  const char *text = lt_arena_strdup(a, message);
  LLVMDisposeErrorMessage(message);
  lt_fail(job, LATHE_E_INTERNAL, NULL, "measuring the peak: %s", text);
}

static peak_fn compile(peak *p, lt_arena *a) {
  const lt_target *t = p->l.target;
  LLVMTargetRef target;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(t->triple, &target, &message)) fail_llvm(p->l.job, a, message);
  p->machine = LLVMCreateTargetMachine(target, t->triple, t->cpu, t->features, LLVMCodeGenLevelDefault, LLVMRelocPIC,
                                       LLVMCodeModelDefault);
  LLVMSetTarget(p->mod, t->triple);
  if (LLVMTargetMachineEmitToMemoryBuffer(p->machine, p->mod, LLVMObjectFile, &message, &p->object))
    fail_llvm(p->l.job, a, message);
  check(p->l.job, a, LLVMOrcCreateLLJIT(&p->jit, NULL));
  LLVMMemoryBufferRef object = p->object;
  p->object = NULL; /* the JIT takes it */
  check(p->l.job, a, LLVMOrcLLJITAddObjectFile(p->jit, LLVMOrcLLJITGetMainJITDylib(p->jit), object));
  LLVMOrcExecutorAddress at;
  check(p->l.job, a, LLVMOrcLLJITLookup(p->jit, &at, "peak"));
  return (peak_fn)(uintptr_t)at;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double best_burst(peak_fn fn, void *accs) {
  double best = 1e9, start = now();
  for (double from = start, to; from - start < RUN_MS * 1e-3; from = to) {
    fn(accs, BURST);
    to = now();
    best = LT_MIN(best, to - from);
  }
  return best;
}

double lt_measure_peak(lt_job *job, const lt_target *t, lt_dtype dtype) {
  lt_llvm_init();
  lt_arena *a = lt_arena_new(job);
  peak *p = LT_NEW(a, peak);
  lt_defer(job, release, p);
  open_module(p, job, a, t);
  p->accs = LT_MIN(t->vector_regs - FREE_REGS, MOST_ACCS);
  p->lanes = t->vector_bytes / (unsigned)lt_dtype_size(dtype);
  emit_peak(p, dtype);
  peak_fn fn = compile(p, a);
  char memory[(MOST_ACCS + 2) * 64 + 64] = {0}; /* zeros: no denormals, no overflow */
  double seconds = best_burst(fn, (void *)(((uintptr_t)memory + 63) & ~(uintptr_t)63));
  return 2.0 * p->lanes * p->accs * REPEAT * BURST / seconds * 1e-9;
}
