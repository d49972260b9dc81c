/* eval.c: the interpreter. It computes what a value needs, node by node in the graph's order, with the ops' eval
 * hooks. */
#include "ir/op_hooks.h"

void lt_eval_init(lt_eval *e, lt_job *job, lt_arena *a, const lt_graph *g, lt_eval_mode mode) {
  *e = (lt_eval){.job = job, .arena = a, .g = g, .mode = mode};
  e->value = LT_NEW_ARRAY(a, const lt_tensor *, g->values.n);
}

void lt_eval_set(lt_eval *e, lt_value leaf, const lt_tensor *t) {
  const lt_type *type = lt_type_of(e->g, leaf);
  if (!lt_type_eq(type, &t->type))
    lt_fail(e->job, LATHE_E_INVALID, NULL, "the value of `%s` is %s, not %s", lt_name_of(e->g, leaf),
            lt_type_text(e->arena, &t->type), lt_type_text(e->arena, type));
  e->value[leaf] = t;
}

static void round_elements(lt_tensor *t) {
  if (!lt_is_float(t->type.dtype)) return;
  for (int64_t i = 0, n = lt_type_count(&t->type); i < n; i++) t->f[i] = lt_dtype_round(t->type.dtype, t->f[i]);
}

/* What moves elements only rounds nothing. */
static void stir_elements(const lt_node *n, unsigned which, lt_tensor *t) {
  if (!lt_is_float(t->type.dtype) || lt_facts(n)->flags & LT_MOVE) return;
  const double unit = t->type.dtype == LT_F32 ? 0x1p-23 : 0x1p-52;
  for (int64_t i = 0, count = lt_type_count(&t->type); i < count; i++)
    t->f[i] *= 1 + unit * (2 * lt_random_unit(n->id, which, (uint64_t)i) - 1);
}

void lt_eval_node(lt_eval *e, const lt_node *n, const lt_tensor *const *in, lt_tensor *const *out) {
  lt_op_table[n->op].eval(e, n, in, out);
  for (unsigned i = 0; e->mode == LT_EVAL_STIR && i < n->n_out; i++) stir_elements(n, i, out[i]);
  for (unsigned i = 0; e->mode != LT_EVAL_DOUBLE && i < n->n_out; i++) round_elements(out[i]);
}

static void compute(lt_eval *e, const lt_node *n) {
  const lt_tensor **in = LT_NEW_ARRAY(e->arena, const lt_tensor *, n->n_in + 1u);
  lt_tensor **out = LT_NEW_ARRAY(e->arena, lt_tensor *, n->n_out);
  for (unsigned i = 0; i < n->n_in; i++) in[i] = n->in[i] ? e->value[n->in[i]] : NULL;
  for (unsigned i = 0; i < n->n_out; i++) out[i] = lt_tensor_new(e->arena, lt_type_of(e->g, n->out + i));
  lt_eval_node(e, n, in, out);
  for (unsigned i = 0; i < n->n_out; i++) e->value[n->out + i] = out[i];
}

const lt_tensor *lt_eval_get(lt_eval *e, lt_value v) {
  if (e->value[v]) return e->value[v];
  uint32_t last = lt_node_of(e->g, v)->id;
  bool *needed = LT_NEW_ARRAY(e->arena, bool, last + 1u);
  needed[last] = true;
  for (uint32_t i = last + 1; i-- > 0;) {
    const lt_node *n = e->g->nodes.at[i];
    for (unsigned k = 0; needed[i] && k < n->n_in; k++)
      if (n->in[k] && !e->value[n->in[k]]) needed[lt_node_of(e->g, n->in[k])->id] = true;
  }
  for (uint32_t i = 0; i <= last; i++)
    if (needed[i]) compute(e, e->g->nodes.at[i]);
  return e->value[v];
}
