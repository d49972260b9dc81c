/* inputs.c: what a model knows of an entry's inputs beside their types: below which value integers are useful (limits),
 * and which input may be left out because it has a value of its own (the hyperparameter). */
#include "driver/model/model.h"

/* Integers that choose: below which value is this input useful? */
static int64_t limit_of(const lt_graph *g, lt_value v) {
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (n->op == LT_OP_cross_entropy && n->in[1] == v) return lt_type_of(g, n->in[0])->dim[1];
    if (n->op == LT_OP_gather && n->in[1] == v) {
      const lt_type *t = lt_type_of(g, n->in[0]);
      int64_t axis = ((const lt_gather_attrs *)n->attrs)->axis;
      return t->dim[axis < 0 ? axis + t->rank : axis];
    }
  }
  return 0;
}

void lt_note_limits(lathe_model *m, lt_model_entry *e, const lt_graph *entry) {
  e->limit = LT_NEW_ARRAY(&m->arena, int64_t, e->plan.n_slot + 1);
  for (uint32_t i = 0; i < e->plan.n_slot; i++) {
    lt_value v = lt_find(entry, e->plan.slot[i].name);
    if (e->plan.slot[i].role == LT_SLOT_INPUT && v) e->limit[i] = limit_of(entry, v);
  }
}

/* A default value behind the plan's constants; returns where. */
static int64_t add_default(lathe_model *m, lt_plan *p, float value) {
  lt_type t = lt_scalar(LT_F32);
  return lt_plan_const(p, &m->arena, lt_data_new(&m->arena, &t, &value));
}

/* The scalar input `lr` of a train entry may be left out: then the option's value, or the optimizer's own, holds. */
void lt_set_hyper(lathe_model *m, const lt_model_entry *e, lt_plan *p) {
  if (e->spec.kind != LT_ENTRY_TRAIN) return;
  for (uint32_t i = 0; i < p->n_slot; i++) {
    lt_slot *s = &p->slot[i];
    if (s->role == LT_SLOT_OUTPUT) s->nullable = true;
    bool rate =
      s->role == LT_SLOT_INPUT && !strcmp(s->name, lt_hyper_name) && s->type.rank == 0 && s->type.dtype == LT_F32;
    if (!rate) continue;
    s->role = LT_SLOT_HYPER;
    s->nullable = true;
    s->def = m->options.given[LT_OPT_lr] ? m->options.lr : lt_optimizer_rate(lt_optimizer_find(m->options.optimizer));
    s->def_offset = add_default(m, p, (float)s->def);
  }
}
