/* split.c: a training step cut in two, so that a program can do something with the gradients in between (add those of
 * several machines, clip them, look at them):
 *
 *   backward   forward, loss, gradients of the params → gradient image
 *   apply      gradient image, state → new state
 *
 * What crosses the cut: the gradient of the loss in each param, at the param's place, and the new value of each state
 * that follows from the batch alone (running statistics), at the state's place. The step must not need anything else of
 * the inputs after the cut; a network that updates its params itself in some other way is not cut. */
#include "driver/pipeline.h"

#include <assert.h>

typedef struct cut {
  lt_job *job;
  lt_arena *a;
  const lt_graph *g;     /* the settled entry */
  lt_value *leaf;        /* by value: the param or state it is handed over for; 0: not handed over */
  bool *inputs, *handed; /* by node: needs inputs, needs what is handed over */
} cut;

static const char *crossing_name(lt_arena *a, const cut *c, lt_value v) {
  return lt_arena_printf(a, "gradient of %s", lt_name_of(c->g, c->leaf[v]));
}

/* grad(loss, params…) as the optimizer asks for it. */
static void find_gradients(cut *c) {
  const lt_graph *g = c->g;
  bool *has = LT_NEW_ARRAY(c->a, bool, g->values.n);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (n->op != LT_OP_grad || n->in[0] != g->outputs.at[0].value || n->in[1]) continue;
    for (unsigned k = 0; k < n->n_out; k++) {
      lt_value of = n->in[k + 2];
      if (lt_op_of(g, of) != LT_OP_param || has[of]) continue;
      has[of] = true;
      c->leaf[n->out + k] = of;
    }
  }
}

static bool is_rate(const lt_graph *g, const lt_node *n) {
  return !strcmp(lt_name_of(g, n->out), lt_hyper_name) && !lt_type_of(g, n->out)->rank;
}

/* What a node's value follows from, when what is handed over is taken as given. */
static void find_needs(cut *c) {
  for (uint32_t i = 0; i < c->g->nodes.n; i++) {
    const lt_node *n = c->g->nodes.at[i];
    c->inputs[i] = n->op == LT_OP_input && !is_rate(c->g, n);
    c->handed[i] = false;
    for (unsigned k = 0; k < n->n_in; k++) {
      if (!n->in[k]) continue;
      uint32_t from = lt_node_of(c->g, n->in[k])->id;
      c->handed[i] |= c->leaf[n->in[k]] || c->handed[from];
      c->inputs[i] |= !c->leaf[n->in[k]] && c->inputs[from];
    }
  }
}

/* Updates that follow from the inputs and from no gradient are handed over themselves. false: the step cannot be
 * cut. */
static bool find_states(cut *c) {
  const lt_graph *g = c->g;
  for (uint32_t i = 0; i < g->updates.n; i++) {
    lt_value v = g->updates.at[i].value;
    uint32_t node = lt_node_of(g, v)->id;
    if (c->leaf[v] || !c->inputs[node]) continue;
    if (c->handed[node] || !lt_is_float(lt_type_of(g, v)->dtype)) return false;
    c->leaf[v] = g->updates.at[i].leaf;
  }
  return true;
}

/* ---- the two graphs ---------------------------------------------------------------------------------------------- */

typedef struct half { lt_graph *g; lt_value *map; bool *need; } half;

static half half_of(cut *c) {
  half h = {.g = lt_graph_new(c->job, c->g->name)};
  h.g->mode = c->g->mode;
  h.g->max_bytes = c->g->max_bytes, h.g->fast = c->g->fast;
  h.map = LT_NEW_ARRAY(c->a, lt_value, c->g->values.n);
  h.need = LT_NEW_ARRAY(c->a, bool, c->g->nodes.n + 1u);
  return h;
}

/* Everything that marked nodes need; `stop`: values handed over are there already. */
static void copy_needed(cut *c, half *h, bool stop) {
  const lt_graph *g = c->g;
  lt_rewrite r = {.to = h->g, .from = g, .map = h->map, .live = h->need};
  for (uint32_t i = g->nodes.n; i-- > 0;)
    for (unsigned k = 0; h->need[i] && k < g->nodes.at[i]->n_in; k++) {
      lt_value v = g->nodes.at[i]->in[k];
      if (v && !(stop && c->leaf[v])) h->need[lt_node_of(g, v)->id] = true;
    }
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (!h->need[i]) continue;
    lt_value *in = LT_NEW_ARRAY(c->a, lt_value, n->n_in + 1u);
    for (unsigned k = 0; k < n->n_in; k++) in[k] = n->in[k] ? h->map[n->in[k]] : 0;
    lt_copy_node(&r, n, in);
  }
  h->g->loc = (lt_loc){0}, h->g->label = h->g->origin = NULL;
}

static lt_graph *backward_graph(cut *c) {
  const lt_graph *g = c->g;
  half h = half_of(c);
  for (uint32_t i = 0; i < g->outputs.n; i++) h.need[lt_node_of(g, g->outputs.at[i].value)->id] = true;
  for (lt_value v = 1; v < g->values.n; v++)
    if (c->leaf[v]) h.need[lt_node_of(g, v)->id] = true;
  copy_needed(c, &h, false);
  for (uint32_t i = 0; i < g->outputs.n; i++) lt_add_output(h.g, g->outputs.at[i].name, h.map[g->outputs.at[i].value]);
  for (lt_value v = 1; v < g->values.n; v++)
    if (c->leaf[v]) lt_add_output(h.g, crossing_name(&h.g->arena, c, v), h.map[v]);
  return h.g;
}

static lt_graph *apply_graph(cut *c) {
  const lt_graph *g = c->g;
  half h = half_of(c);
  for (lt_value v = 1; v < g->values.n; v++)
    if (c->leaf[v]) h.map[v] = lt_leaf(h.g, LT_OP_input, crossing_name(&h.g->arena, c, v), *lt_type_of(g, v), NULL);
  for (uint32_t i = 0; i < g->updates.n; i++) {
    h.need[lt_node_of(g, g->updates.at[i].leaf)->id] = true;
    if (!c->leaf[g->updates.at[i].value]) h.need[lt_node_of(g, g->updates.at[i].value)->id] = true;
  }
  copy_needed(c, &h, true);
  for (uint32_t i = 0; i < g->updates.n; i++)
    lt_add_update(h.g, h.map[g->updates.at[i].leaf], h.map[g->updates.at[i].value]);
  return h.g;
}

/* ---- plans ------------------------------------------------------------------------------------------------------- */

static void image_of(cut *c, const lathe_model *m, lt_image *out, lt_arena *a) {
  *out = (lt_image){.item = LT_NEW_ARRAY(a, lt_image_item, c->g->values.n), .bytes = LT_IMAGE_HEADER};
  for (lt_value v = 1; v < c->g->values.n; v++) {
    if (!c->leaf[v]) continue;
    const lt_image_item *home = lt_image_find(&m->image, lt_name_of(c->g, c->leaf[v]));
    assert(home);
    lt_image_item *x = &out->item[out->n++];
    *x = *home;
    x->name = crossing_name(a, c, v);
    int64_t end = x->offset + lt_aligned(lt_type_bytes(&x->type));
    out->bytes = LT_MAX(out->bytes, end);
  }
}

static uint32_t slot_of(const lt_plan *whole, const char *name) {
  uint32_t i = 0;
  while (i < whole->n_slot && strcmp(whole->slot[i].name, name)) i++;
  assert(i < whole->n_slot);
  return i;
}

/* The io struct of a half is the whole step's. */
static void share_slots(lathe_model *m, const lt_model_entry *e, lt_plan *p) {
  lt_slot *slot = LT_NEW_ARRAY(&m->arena, lt_slot, e->plan.n_slot + 1);
  uint32_t *to = LT_NEW_ARRAY(&m->arena, uint32_t, p->n_slot + 1);
  for (uint32_t i = 0; i < e->plan.n_slot; i++) slot[i] = e->plan.slot[i], slot[i].unused = true;
  for (uint32_t k = 0; k < p->n_slot; k++) {
    lt_slot *s = &slot[to[k] = slot_of(&e->plan, p->slot[k].name)];
    s->def_offset = p->slot[k].def_offset;
    s->unused = false;
  }
  for (uint32_t i = 0; i < p->n_buffer; i++)
    if (p->buffer[i].region == LT_REGION_IO) p->buffer[i].slot = to[p->buffer[i].slot];
  p->slot = slot, p->n_slot = e->plan.n_slot;
}

static void plan_half(lathe_model *m, lt_job *job, const lt_model_entry *e, lt_graph *g, lt_plan *out,
                      const char *suffix) {
  lt_pass_options po = {.verify_each = m->options.verify_each};
  if (po.verify_each) lt_verify(g, "cutting the step in two");
  lt_graph *done = lt_run_later_passes(job, g, &po);
  const char *name = lt_arena_printf(&m->arena, "%s%s", e->spec.name, suffix);
  lt_plan_half(out, &m->arena, done, &m->image, &e->halves->grads, name);
  lt_model_check_memory(m, job, done, out, false);
  lt_graph_drop(job, done);
  lt_set_hyper(m, e, out);
  share_slots(m, e, out);
  lt_plan_indices(out, &m->arena, g);
  lt_graph_drop(job, g);
  out->region_kinds = 1u << LT_IMAGE_STATE;
  out->model = m->hash, out->state_model = m->state_hash;
}

void lt_split_step(lathe_model *m, lt_job *job, const lt_graph *settled, lt_model_entry *e) {
  cut c = {.job = job, .a = lt_arena_new(job), .g = settled};
  c.leaf = LT_NEW_ARRAY(c.a, lt_value, settled->values.n);
  c.inputs = LT_NEW_ARRAY(c.a, bool, settled->nodes.n + 1u), c.handed = LT_NEW_ARRAY(c.a, bool, settled->nodes.n + 1u);
  find_gradients(&c);
  find_needs(&c);
  if (!find_states(&c)) return;
  e->halves = LT_NEW(&m->arena, lt_halves);
  image_of(&c, m, &e->halves->grads, &m->arena);
  plan_half(m, job, e, backward_graph(&c), &e->halves->backward.plan, "_backward");
  plan_half(m, job, e, apply_graph(&c), &e->halves->apply.plan, "_apply");
  e->halves->backward.plan.out_kind = LT_IMAGE_GRADS;
  e->halves->apply.plan.out_kinds = 1u << LT_IMAGE_GRADS;
}
