/* compile.h: a graph through the whole pipeline to code, and a call of it with the values that an interpreter has for
 * its leaves. Several graphs make one module. Scratch and results are full of NaN before the call. */
#ifndef LT_TEST_COMPILE_H
#define LT_TEST_COMPILE_H
#include "codegen/codegen.h"
#include "driver/pipeline.h"
#include "graph_eval.h"

typedef struct lt_unit {
  const lt_graph *g;
  lt_graph *planned; /* after all passes; the plan points into it */
  lt_image image;
  lt_plan plan;
} lt_unit;

static inline void lt_unit_plan(lt_job *job, lt_arena *a, lt_unit *u, const lt_graph *g, const char *name) {
  size_t n;
  const lt_pass *passes = lt_pipeline(&n);
  lt_pass_options o = {.verify_each = true};
  u->g = g;
  u->planned = lt_test_own(job, lt_run_passes(job, g, passes, n, &o));
  lt_graph_enter(u->planned, job);
  lt_image_of(&u->image, a, u->planned);
  lt_plan_single(&u->plan, a, u->planned, &u->image, name);
}

static inline void lt_code_free_fn(void *code) { lt_code_free(code); }

static inline lt_code *lt_unit_jit(lt_job *job, lt_arena *a, const lt_unit *u, size_t n, const char *cpu) {
  lt_target t;
  lt_target_host(&t, job, a, cpu, "");
  lt_module_entry *e = LT_NEW_ARRAY(a, lt_module_entry, n);
  for (size_t i = 0; i < n; i++) e[i] = (lt_module_entry){.plan = &u[i].plan};
  lt_code *code = lt_jit(job, &t, e, n);
  lt_defer_cancel(job, code);
  lt_defer(job, lt_code_free_fn, code);
  return code;
}

static inline void *lt_unit_memory(lt_arena *a, int64_t bytes, int fill) {
  uintptr_t p = (uintptr_t)lt_arena_alloc(a, (size_t)bytes + 64);
  return memset((void *)((p + 63) / 64 * 64), fill, (size_t)bytes);
}

/* Output i of u->g goes to out[i]; leaves have the values they have in e. */
static inline int lt_unit_call(lt_arena *a, const lt_unit *u, const lt_code *code, const lt_eval *e, lt_tensor **out) {
  void **io = LT_NEW_ARRAY(a, void *, u->plan.n_slot + 1u);
  for (uint32_t i = 0; i < u->plan.n_slot; i++) {
    const lt_slot *s = &u->plan.slot[i];
    io[i] = lt_unit_memory(a, lt_type_bytes(&s->type), 0xFF);
    if (s->role != LT_SLOT_OUTPUT) lt_tensor_export(e->value[lt_find(u->g, s->name)], io[i]);
  }
  char *region = lt_unit_memory(a, u->image.bytes, 0);
  for (uint32_t i = 0; i < u->image.n; i++) {
    lt_value leaf = lt_find(u->g, u->image.item[i].name);
    if (leaf) lt_tensor_export(e->value[leaf], region + u->image.item[i].offset);
  }
  lt_entry_fn run = (lt_entry_fn)(uintptr_t)lt_code_find(code, u->plan.name);
  int rc = run(io, u->image.n ? region : NULL, lt_unit_memory(a, u->plan.scratch_bytes, 0xFF));
  for (uint32_t i = 0; rc == 0 && i < u->plan.n_slot; i++)
    for (uint32_t k = 0; u->plan.slot[i].role == LT_SLOT_OUTPUT && k < u->g->outputs.n; k++)
      if (strcmp(u->g->outputs.at[k].name, u->plan.slot[i].name) == 0)
        out[k] = lt_tensor_import(a, &u->plan.slot[i].type, io[i]);
  return rc;
}

#endif
