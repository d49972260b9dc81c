/* model.c: how a model begins and ends, and what is in it by name. */
#include "driver/graph_api.h"
#include "driver/model/model.h"

#include <assert.h>

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void model_delete(void *p) {
  lathe_model *m = p;
  if (m->code) lt_code_free(m->code);
  for (uint32_t i = 0; m->entry && i < m->n_entry; i++) lt_graph_free(m->entry[i].graph);
  lt_graph_free(m->leaves);
  lt_arena_free(&m->arena);
  lt_mem_free(m);
}

/* Whoever holds a reference sees a model that does not change; counting references and the end are done behind its
 * back. */
static lathe_model *unlocked(const lathe_model *m) { return (lathe_model *)(uintptr_t)m; }

void lt_model_retain(const lathe_model *m) {
  atomic_fetch_add_explicit(&unlocked(m)->references, 1, memory_order_relaxed);
}

void lt_model_release(const lathe_model *m) {
  if (atomic_fetch_sub_explicit(&unlocked(m)->references, 1, memory_order_acq_rel) == 1) model_delete(unlocked(m));
}

void lathe_model_free(lathe_model *m) {
  if (m) lt_model_release(m);
}

/* What others free while this job can still fail (graphs, code) is theirs until `made`; so a failure frees it once. */
static void model_failed(void *p) {
  lathe_model *m = p;
  for (uint32_t i = 0; m->entry && i < m->n_entry; i++) m->entry[i].graph = NULL;
  m->leaves = NULL, m->code = NULL;
  model_delete(m);
}

/* ---- the beginning ----------------------------------------------------------------------------------------------- */

static lathe_model *alloc(lt_job *job) {
  lathe_model *m = lt_mem_alloc(sizeof *m);
  if (!m) lt_fail_nomem(job);
  memset(m, 0, sizeof *m);
  atomic_init(&m->references, 1);
  lt_arena_init(&m->arena, job);
  lt_defer_failed(job, model_failed, m);
  return m;
}

static void check_names(lathe_model *m, lt_job *job) {
  for (uint32_t i = 0; i < m->n_entry; i++) {
    if (!strcmp(m->entry[i].spec.name, "pack"))
      lt_fail(job, LATHE_E_INVALID, NULL, "an entry cannot be called `pack`: that is where weights are packed");
    for (uint32_t k = 0; k < i; k++)
      if (!strcmp(m->entry[i].spec.name, m->entry[k].spec.name))
        lt_fail(job, LATHE_E_INVALID, NULL, "two entries are called `%s`\nhelp: write NAME=%s", m->entry[i].spec.name,
                m->entry[i].spec.text);
  }
}

static void read_entries(lathe_model *m, lt_job *job) {
  static const char *const usual[] = {"run"};
  lt_texts specs = m->options.entry.n ? m->options.entry : (lt_texts){usual, 1};
  m->entry = LT_NEW_ARRAY(&m->arena, lt_model_entry, specs.n);
  m->n_entry = specs.n;
  m->image_kind = LT_IMAGE_PARAMS;
  for (uint32_t i = 0; i < specs.n; i++) {
    m->entry[i].spec = lt_entry_parse(job, &m->arena, specs.at[i]);
    m->trains |= m->entry[i].spec.kind == LT_ENTRY_TRAIN;
  }
  check_names(m, job);
}

lathe_model *lt_model_new(lt_job *job, const lathe_graph *g, const char *opts, int call) {
  lt_graph_check(job, g);
  lathe_model *m = alloc(job);
  lt_options_read(&m->options, job, &m->arena, opts, call);
  m->timed = m->options.time_passes;
  m->name = lt_arena_strdup(&m->arena, g->g->name);
  read_entries(m, job);
  return m;
}

/* ---- what can be called ------------------------------------------------------------------------------------------ */

static void add_callable(lathe_model *m, lt_job *job, lt_callable c) {
  const char *name = lt_callable_plan(&c)->name;
  if (lt_model_find(m, name))
    lt_fail(job, LATHE_E_INVALID, NULL,
            "`%s` is an entry and a half of the step `%s`\nhelp: write NAME=KIND, with a NAME of its own", name,
            c.half ? c.entry->spec.name : lt_model_find(m, name)->entry->spec.name);
  m->callable[m->n_callable++] = c;
  m->unit[m->n_unit++] =
    (lt_module_entry){.plan = lt_callable_plan(&c), .two_regions = c.half != NULL, .steps = m->options.profile};
}

void lt_model_list(lathe_model *m, lt_job *job) {
  assert(!m->callable);
  m->callable = LT_NEW_ARRAY(&m->arena, lt_callable, 3 * m->n_entry);
  m->unit = LT_NEW_ARRAY(&m->arena, lt_module_entry, 3 * m->n_entry + 1);
  for (uint32_t i = 0; i < m->n_entry; i++) {
    lt_model_entry *e = &m->entry[i];
    add_callable(m, job, (lt_callable){e, NULL});
    if (e->halves)
      add_callable(m, job, (lt_callable){e, &e->halves->backward}),
        add_callable(m, job, (lt_callable){e, &e->halves->apply});
  }
  if (m->pack.out_bytes) m->unit[m->n_unit++] = (lt_module_entry){.plan = &m->pack, .pack = true};
}

/* ---- by name ----------------------------------------------------------------------------------------------------- */

const lt_callable *lt_model_find(const lathe_model *m, const char *entry) {
  for (uint32_t i = 0; m && entry && i < m->n_callable; i++)
    if (!strcmp(lt_callable_plan(&m->callable[i])->name, entry)) return &m->callable[i];
  return NULL;
}

const lt_image_item *lt_model_item(const lathe_model *m, const char *name) {
  for (uint32_t i = 0; i < m->image.n; i++)
    if (!strcmp(m->image.item[i].name, name)) return &m->image.item[i];
  return NULL;
}
