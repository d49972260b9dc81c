/* code.c: a model's plans as code in this process, looked up once; and its packing alone, for others than the model. */
#include "driver/model/model.h"

/* ISO C has no conversion from object to function pointers; POSIX promises that the bits are the same. */
static void look_up(lt_job *job, const lt_code *code, const char *name, void *fn) {
  void *at = lt_code_find(code, name);
  if (!at) lt_fail(job, LATHE_E_INTERNAL, NULL, "the compiled module lacks `%s`", name);
  memcpy(fn, &at, sizeof at);
}

static void find_functions(lathe_model *m, lt_job *job, const lt_callable *c) {
  const char *name = lt_callable_plan(c)->name, *step = lt_arena_printf(&m->arena, "%s_step", name);
  if (c->half) look_up(job, m->code, name, &c->half->run);
  else look_up(job, m->code, name, &c->entry->run);
  if (m->options.profile) look_up(job, m->code, step, c->half ? &c->half->step : &c->entry->step);
}

void lt_model_jit(lathe_model *m, lt_job *job) {
  lt_code *code = lt_jit(job, &m->target, m->unit, m->n_unit);
  m->code = code;
  for (uint32_t i = 0; i < m->n_callable; i++) find_functions(m, job, &m->callable[i]);
  if (m->pack.out_bytes) look_up(job, code, m->pack.name, &m->pack_run);
}

static void free_code(void *code) { lt_code_free(code); }

lt_pack_fn lt_compile_pack(lt_job *job, const lathe_model *m, const lt_target *host) {
  lt_pack_fn run;
  if (!m->pack.out_bytes) return NULL;
  lt_code *code = lt_jit(job, host, &(lt_module_entry){.plan = &m->pack, .pack = true}, 1);
  lt_defer_cancel(job, code);
  lt_defer(job, free_code, code);
  look_up(job, code, m->pack.name, &run);
  return run;
}
