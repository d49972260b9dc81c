/* probe.c: a probe is made, compiled and called; see probe.h. */
#include "driver/pipeline.h"
#include "driver/prove/probe.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- graphs ------------------------------------------------------------------------------------------------------ */

/* g, freed when the job ends, however it ends. */
static lt_graph *own(lt_job *job, lt_graph *g) {
  lt_defer_cancel(job, g);
  lt_defer(job, lt_graph_free_fn, g);
  return g;
}

static lt_graph *passes(const lt_probe *p, const lt_graph *from, const lt_pass *list, size_t n) {
  lt_pass_options po = {.verify_each = p->s->model->options.verify_each};
  return own(p->job, lt_run_passes(p->job, from, list, n, &po));
}

enum { LAST = 3 }; /* fuse, choose and layout */

static void make_graphs(lt_probe *p, const lathe_graph *network) {
  lt_job *job = p->job;
  const lt_entry_spec *spec = &p->entry->spec;
  size_t n;
  const lt_pass *all = lt_pipeline(&n);
  lt_pass_options po = {0};
  lt_graph *entry = own(job, lt_network_entry(job, network, spec, &p->s->model->options));
  lt_graph *settled = own(job, lt_apply_mode(job, entry, spec, &po));
  p->meant = passes(p, settled, (lt_pass[]){LT_PASS_autodiff}, 1);
  p->g = passes(p, settled, all + 1, n - 1 - LAST);
  if (!lt_graph_equal(passes(p, p->g, all + n - LAST, LAST), p->entry->graph))
    lt_fail(job, LATHE_E_INVALID, NULL, "entry `%s` was not compiled from this network", spec->name);
}

static bool is_leaf_node(const lt_node *n) { return lt_op_table[n->op].flags & LT_LEAF; }

/* Outputs and updates of g are set aside; instead of them, all that nodes compute. */
static lt_graph *show_all(lt_probe *p) {
  lt_graph *g = p->g;
  size_t n;
  const lt_pass *all = lt_pipeline(&n);
  p->output = g->outputs.at, p->n_output = g->outputs.n;
  p->update = g->updates.at, p->n_update = g->updates.n;
  memset(&g->outputs, 0, sizeof g->outputs);
  memset(&g->updates, 0, sizeof g->updates);
  for (lt_value v = 1; v < g->values.n; v++)
    if (!is_leaf_node(lt_node_of(g, v))) lt_add_output(g, lt_arena_printf(p->a, "value %u", v), v);
  return passes(p, g, all + n - LAST, LAST);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static void *block(lt_probe *p, int64_t bytes, int fill) {
  void *at = lt_mem_aligned((size_t)LT_MAX(bytes, 1));
  if (!at) lt_fail_nomem(p->job);
  lt_defer(p->job, lt_mem_free, at);
  memset(at, fill, (size_t)bytes);
  return at;
}

static int64_t image_bytes(const lathe_instance *s) { return LT_MAX(s->model->image.bytes, (int64_t)LT_IMAGE_HEADER); }

lt_cell *lt_probe_cell(const lt_probe *p, const char *name) {
  for (uint32_t i = 0; i < p->s->n_cell; i++)
    if (!strcmp(p->s->cell[i].name, name)) return &p->s->cell[i];
  return NULL;
}

static void *cell_data(const lt_cell *c) { return c->bound ? c->bound : c->own; }

/* A hyperparameter that nobody has set holds the compiled-in value. */
static const void *hyper_default(lt_probe *p, const char *name) {
  const lt_plan *plan = &p->entry->plan;
  for (uint32_t i = 0; i < plan->n_slot; i++)
    if (plan->slot[i].role == LT_SLOT_HYPER && !strcmp(plan->slot[i].name, name))
      return lt_plan_const_at(plan, plan->slot[i].def_offset);
  return NULL;
}

static const void *leaf_bytes(lt_probe *p, const char *name) {
  const lt_cell *c = lt_probe_cell(p, name);
  const lt_image_item *item = lt_model_item(p->s->model, name);
  const void *at = c && c->hyper && !c->touched ? hyper_default(p, name)
                   : c                          ? cell_data(c)
                   : item                       ? p->before + item->offset
                                                : NULL;
  if (!at) lt_fail(p->job, LATHE_E_INTERNAL, NULL, "nothing holds `%s`", name);
  return at;
}

static void find_leaves(lt_probe *p) {
  p->value = LT_NEW_ARRAY(p->a, const void *, p->g->values.n);
  for (lt_value v = 1; v < p->g->values.n; v++)
    if (lt_is_leaf(p->g, v) && lt_op_of(p->g, v) != LT_OP_const) p->value[v] = leaf_bytes(p, lt_name_of(p->g, v));
}

/* ---- calling ----------------------------------------------------------------------------------------------------- */

static const void **make_io(lt_probe *p, const lt_plan *plan) {
  const void **io = LT_NEW_ARRAY(p->a, const void *, plan->n_slot + 1);
  for (uint32_t i = 0; i < plan->n_slot; i++) {
    const lt_slot *s = &plan->slot[i];
    if (s->role != LT_SLOT_OUTPUT) {
      io[i] = leaf_bytes(p, s->name);
      continue;
    }
    lt_value v = (lt_value)strtoul(s->name + strlen("value "), NULL, 10);
    io[i] = p->value[v] = block(p, lt_type_bytes(&s->type), 0xFF);
  }
  return io;
}

static void free_code(void *code) { lt_code_free(code); }

static void call_probe(lt_probe *p, lt_graph *shown) {
  const lathe_model *m = p->s->model;
  lt_plan plan;
  lt_graph_enter(shown, p->job);
  lt_plan_single(&plan, p->a, shown, &m->image, "probe");
  lt_code *code = lt_jit(p->job, &m->target, &(lt_module_entry){.plan = &plan}, 1);
  lt_defer_cancel(p->job, code);
  lt_defer(p->job, free_code, code);
  void *at = lt_code_find(code, plan.name);
  lt_entry_fn run;
  memcpy(&run, &at, sizeof run);
  const void **io = make_io(p, &plan);
  int status = run(io, p->before, block(p, plan.scratch_bytes, 0xFF));
  if (status)
    lt_fail(p->job, LATHE_E_INTERNAL, NULL, "the probe of entry `%s` returned: %s", p->entry->spec.name,
            lathe_status_text(status));
}

void lt_probe_plan(lt_probe *p, lt_job *job, const lathe_graph *network, lathe_instance *s, const char *entry) {
  if (!s || !network) lt_fail(job, LATHE_E_INVALID, NULL, "the instance or the graph is NULL");
  const lt_callable *c = lt_model_find(s->model, entry);
  if (!c) lt_fail(job, LATHE_E_INVALID, NULL, "the model has no entry `%.40s`", entry ? entry : "");
  if (c->half)
    lt_fail(job, LATHE_E_INVALID, NULL, "`%s` is half of a step\nhelp: prove `%s`, its halves have the same bits",
            entry, c->entry->spec.name);
  *p = (lt_probe){.job = job, .a = lt_arena_new(job), .s = s, .entry = c->entry};
  lt_graph_check(job, network);
  lt_instance_own(job, s);
  make_graphs(p, network);
  p->shown = show_all(p);
  p->before = block(p, image_bytes(s), 0);
  memcpy(p->before, s->image, (size_t)image_bytes(s));
  find_leaves(p);
}

void lt_probe_open(lt_probe *p, lt_job *job, const lathe_graph *network, lathe_instance *s, const char *entry) {
  lt_probe_plan(p, job, network, s, entry);
  if (p->g->outputs.n) call_probe(p, p->shown);
}

/* Whatever is not written shows: it stays NaN. */
static void spoil(lt_probe *p) {
  const lt_plan *plan = &p->entry->plan;
  for (uint32_t i = 0; i < plan->n_slot; i++)
    if (plan->slot[i].role == LT_SLOT_OUTPUT)
      memset(cell_data(lt_probe_cell(p, plan->slot[i].name)), 0xFF, (size_t)lt_type_bytes(&plan->slot[i].type));
  if (plan->scratch_bytes) memset(p->s->scratch, 0xFF, (size_t)plan->scratch_bytes);
}

void lt_probe_call_entry(lt_probe *p) {
  size_t bytes = (size_t)image_bytes(p->s);
  p->after = block(p, (int64_t)bytes, 0);
  spoil(p);
  int status = lathe_call(p->s, p->entry->spec.name);
  memcpy(p->after, p->s->image, bytes);
  memcpy(p->s->image, p->before, bytes);
  if (status)
    lt_fail(p->job, LATHE_E_INTERNAL, NULL, "entry `%s` returned: %s", p->entry->spec.name, lathe_status_text(status));
}

lt_value lt_probe_result(const lt_probe *p, uint32_t i) {
  return i < p->n_output ? p->output[i].value : p->update[i - p->n_output].value;
}

const char *lt_probe_result_name(const lt_probe *p, uint32_t i) {
  return i < p->n_output ? p->output[i].name : lt_name_of(p->g, p->update[i - p->n_output].leaf);
}

const void *lt_probe_result_bytes(const lt_probe *p, uint32_t i) {
  const char *name = lt_probe_result_name(p, i);
  return i < p->n_output ? cell_data(lt_probe_cell(p, name)) : p->after + lt_model_item(p->s->model, name)->offset;
}
