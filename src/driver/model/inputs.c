/* inputs.c: which of an entry's inputs may be left out because it has a value of its own: the hyperparameter. */
#include "driver/model/model.h"

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
