/* harness.h: contractions and reductions built by hand, compiled alone, run task by task: for tests of emitters below
 * the pipeline. */
#ifndef LT_HARNESS_H
#define LT_HARNESS_H
#include "codegen/module.h"
#include "codegen/cpu/kernels.h"
#include "codegen/cpu/tile.h"

#include <stdio.h>
#include <stdlib.h>

typedef void (*kernel_fn)(void *const *bufs, int64_t task);

/* Kernels k0 … in one module. */
static inline lt_module *harness_module(lt_job *job, lt_arena *a, const lt_target *t, const lt_kernel *const *k,
                                        int n) {
  lt_module *m = lt_module_new(job, a, t);
  for (int i = 0; i < n; i++) {
    lt_ll_function(&m->l, lt_arena_printf(a, "k%d", i), false);
    if (k[i]->kind == LT_K_REDUCE) lt_emit_reduce(&m->l, k[i]);
    else lt_emit_contract(&m->l, k[i]);
    LLVMBuildRetVoid(m->l.b);
  }
  lt_merge_alike(&m->l);
  return m;
}

static inline lt_code *harness_compile(lt_job *job, lt_arena *a, const lt_target *t, const lt_kernel *const *k, int n) {
  const char **name = LT_NEW_ARRAY(a, const char *, (size_t)n);
  for (int i = 0; i < n; i++) name[i] = lt_arena_printf(a, "k%d", i);
  return lt_jit_load(job, harness_module(job, a, t, k, n), name, (size_t)n);
}

static inline kernel_fn harness_find(const lt_code *c, int i) {
  char name[16];
  snprintf(name, sizeof name, "k%d", i);
  void *at = lt_code_find(c, name);
  kernel_fn fn;
  memcpy(&fn, &at, sizeof fn); /* ISO C has no cast from data to code */
  return fn;
}
#endif
