/* code.c: a model's plans as code in this process, looked up once; and its packing alone, for others than the model. */
#include "driver/model/model.h"
#include "runtime/pool.h"

#include <assert.h>

/* ISO C has no conversion from object to function pointers; POSIX promises that the bits are the same. */
static void look_up(lt_job *job, const lt_code *code, const char *name, void *fn) {
  void *at = lt_code_find(code, name);
  if (!at) lt_fail(job, LATHE_E_INTERNAL, NULL, "the compiled module lacks `%s`", name);
  memcpy(fn, &at, sizeof at);
}

static void find(const lathe_model *m, lt_job *job, const lt_plan *p, void *run, lt_step_fn *step) {
  look_up(job, m->code, p->name, run);
  if (m->options.profile) look_up(job, m->code, lt_arena_printf(lt_arena_new(job), "%s_step", p->name), step);
}

static void find_entry(const lathe_model *m, lt_job *job, lt_model_entry *e) {
  find(m, job, &e->plan, &e->run, &e->step);
  if (!e->halves) return;
  find(m, job, &e->halves->backward.plan, &e->halves->backward.run, &e->halves->backward.step);
  find(m, job, &e->halves->apply.plan, &e->halves->apply.run, &e->halves->apply.step);
}

static void free_pool(void *p) { lathe_pool_free(p); }

/* The threads that the caller allows, until the job ends. */
static lt_crew crew_of(const lathe_model *m, lt_job *job) {
  if (m->options.threads <= 1) return (lt_crew){0};
  lathe_pool *pool = lathe_pool_new((int)m->options.threads);
  if (!pool) lt_fail_nomem(job);
  lt_defer(job, free_pool, pool);
  return (lt_crew){lathe_pool_parallel(pool), m->options.threads};
}

void lt_model_jit(lathe_model *m, lt_job *job) {
  assert(m->unit && !m->code);
  if (m->pack.out_bytes) m->unit[m->n_unit - 1].image = &m->image;
  lt_jit_how how = {.cache = m->options.cache, .crew = crew_of(m, job)};
  lt_code *code = lt_jit_as(job, &m->target, m->unit, m->n_unit, how);
  m->code = code;
  for (uint32_t i = 0; i < m->n_entry; i++) find_entry(m, job, &m->entry[i]);
  if (m->pack.out_bytes) look_up(job, code, m->pack.name, &m->pack_run);
}

static void free_code(void *code) { lt_code_free(code); }

lt_code *lt_compile_pack(lt_job *job, const lathe_model *m, const lt_target *host, lt_pack_fn *run) {
  if (!m->pack.out_bytes) return NULL;
  lt_code *code = lt_jit(job, host, &(lt_module_entry){.plan = &m->pack, .pack = true, .image = &m->image}, 1);
  lt_defer_cancel(job, code);
  lt_defer(job, free_code, code);
  look_up(job, code, m->pack.name, run);
  return code;
}
