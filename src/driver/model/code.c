/* code.c: a model's plans as code in this process, looked up once. */
#include "driver/model/model.h"

static void list_units(lathe_model *m, bool pack_alone) {
  m->unit = LT_NEW_ARRAY(&m->arena, lt_module_entry, m->n_entry + 1);
  m->n_unit = 0;
  for (uint32_t i = 0; i < m->n_entry && !pack_alone; i++)
    m->unit[m->n_unit++] = (lt_module_entry){.plan = &m->entry[i].plan, .steps = m->options.profile};
  if (m->pack.out_bytes) m->unit[m->n_unit++] = (lt_module_entry){.plan = &m->pack, .pack = true};
}

/* ISO C has no conversion from object to function pointers; POSIX promises that the bits are the same. */
static void symbol(const lathe_model *m, const char *name, void *fn) {
  void *at = lt_code_find(m->code, name);
  memcpy(fn, &at, sizeof at);
}

static void find_entry(lathe_model *m, lt_job *job, lt_model_entry *e) {
  symbol(m, e->plan.name, &e->run);
  if (m->options.profile) symbol(m, lt_arena_printf(&m->arena, "%s_step", e->plan.name), &e->step);
  if (!e->run || (m->options.profile && !e->step))
    lt_fail(job, LATHE_E_INTERNAL, NULL, "the compiled module lacks entry `%s`", e->plan.name);
}

void lt_model_jit(lathe_model *m, lt_job *job, bool pack_alone) {
  list_units(m, pack_alone);
  lt_code *code = lt_jit(job, &m->target, m->unit, m->n_unit);
  m->code = code;
  for (uint32_t i = 0; i < m->n_entry && !pack_alone; i++) find_entry(m, job, &m->entry[i]);
  if (!m->pack.out_bytes) return;
  symbol(m, m->pack.name, &m->pack_run);
  if (!m->pack_run) lt_fail(job, LATHE_E_INTERNAL, NULL, "the compiled module lacks `%s`", m->pack.name);
}
