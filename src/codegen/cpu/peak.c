/* peak.c: how many multiply-adds per second one core does for a target: the measure of every kernel.
 *
 * Generated for the target like any kernel: independent accumulators of the target's own vectors, enough of them to
 * hide the latency, and nothing else in the loop. The best of many short runs counts, since a busy machine only ever
 * slows. */
#include "codegen/module.h"

enum { REPEAT = 4, FREE_REGS = 4, MOST_ACCS = 16, BURST = 20000, RUN_MS = 20 };

typedef void (*peak_fn)(void *accs, int64_t times);
typedef struct shape { unsigned accs, lanes; } shape;

/* void peak(accs, times): memory holds the accumulators, then the two factors. */
static void emit_peak(lt_ll *l, const shape *p, lt_dtype t) {
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

static double best_burst(peak_fn fn, void *accs) {
  double best = 1e9, start = lt_seconds();
  for (double from = start, to; from - start < RUN_MS * 1e-3; from = to) {
    fn(accs, BURST);
    to = lt_seconds();
    best = LT_MIN(best, to - from);
  }
  return best;
}

double lt_measure_peak(lt_job *job, const lt_target *t, lt_dtype dtype) {
  lt_arena *a = lt_arena_new(job);
  lt_module *m = lt_module_new(job, a, t);
  shape s = {LT_MIN(t->vector_regs - FREE_REGS, MOST_ACCS), t->vector_bytes / (unsigned)lt_dtype_size(dtype)};
  emit_peak(&m->l, &s, dtype);
  const char *name = "peak";
  lt_code *code = lt_jit_load(job, m, &name, 1);
  char memory[(MOST_ACCS + 2) * 64 + 64] = {0}; /* zeros: no denormals, no overflow */
  void *at = lt_code_find(code, name), *accs = (void *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
  peak_fn fn;
  memcpy(&fn, &at, sizeof fn); /* ISO C has no cast from data to code */
  double seconds = best_burst(fn, accs);
  lt_code_free(code);
  return 2.0 * s.lanes * s.accs * REPEAT * BURST / seconds * 1e-9;
}
