/* mode.c: what batch_norm and dropout mean in the entry at hand. Run: dropout is its operand. Train: batch_norm takes
 * the batch's own statistics and moves its running ones towards them; dropout draws its mask from the states `seed` and
 * `step`, which are added where the graph has none, `step` with the update that counts. */
#include "ir/pass/pass.h"

static lt_value number(lt_graph *g, lt_value like, double c) {
  return lt_const_scalar(g, lt_type_of(g, like)->dtype, c);
}

static bool is_updated(const lt_graph *g, lt_value leaf) {
  for (uint32_t i = 0; i < g->updates.n; i++)
    if (g->updates.at[i].leaf == leaf) return true;
  return false;
}

/* ---- batch_norm -------------------------------------------------------------------------------------------------- */

/* old = momentum * old + (1 - momentum) * now, unless the graph says otherwise or old is no state. */
static void move_statistic(lt_rewrite *r, lt_value in_from, lt_value old, lt_value now, double momentum) {
  lt_graph *g = r->to;
  if (lt_op_of(g, old) != LT_OP_state || is_updated(r->from, in_from) || is_updated(g, old)) return;
  lt_value kept = lt_binary(g, LT_OP_mul, old, number(g, old, momentum));
  lt_value fresh = lt_binary(g, LT_OP_mul, now, number(g, now, 1 - momentum));
  lt_add_update(g, old, lt_binary(g, LT_OP_add, kept, fresh));
}

static bool train_batch_norm(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  const lt_batch_norm_attrs *a = n->attrs;
  lt_batch_norm_train_attrs attrs = {.eps = a->eps};
  lt_value y = lt_emit(r->to, LT_OP_batch_norm_train, &attrs, in, 3);
  r->map[n->out] = y;
  move_statistic(r, n->in[3], in[3], y + 1, a->momentum);
  move_statistic(r, n->in[4], in[4], y + 2, a->momentum);
  return true;
}

/* ---- dropout ----------------------------------------------------------------------------------------------------- */

static lt_value hidden_state(lt_rewrite *r, const char *name) {
  lt_graph *g = r->to;
  const lt_type type = lt_scalar(LT_I64);
  lt_value old = lt_find(r->from, name), v = old ? r->map[old] : lt_find(g, name);
  if (old && (lt_op_of(r->from, old) != LT_OP_state || !lt_type_eq(lt_type_of(r->from, old), &type)))
    lt_fail(g->job, LATHE_E_INVALID, &g->loc, "`%s` is taken: dropout keeps a state i64 of that name", name);
  if (v) return v;
  if (old) { /* it stands further down */
    lt_loc loc = g->loc;
    const char *label = g->label;
    v = lt_copy_node(r, lt_node_of(r->from, old), NULL);
    g->loc = loc, g->label = label;
    return v;
  }
  v = lt_leaf(g, LT_OP_state, name, type, &(lt_init){.kind = LT_INIT_ZEROS});
  if (strcmp(name, "step") == 0) lt_add_update(g, v, lt_binary(g, LT_OP_add, v, number(g, v, 1)));
  return v;
}

static const char *key_of(lt_rewrite *r, const lt_node *n) {
  const lt_dropout_attrs *a = n->attrs;
  if (a->key[0]) return a->key;
  const char *name = lt_name_of(r->from, n->out);
  return name ? name : n->label ? n->label : "dropout";
}

static bool train_dropout(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  double p = ((const lt_dropout_attrs *)n->attrs)->p;
  r->map[n->out] = in[0];
  if (p == 0) return true;
  lt_value seed = hidden_state(r, "seed"), step = hidden_state(r, "step");
  const lt_type x = *lt_type_of(g, in[0]);
  lt_random_uniform_attrs attrs = {.shape = {.n = x.rank}, .key = key_of(r, n)};
  for (unsigned i = 0; i < x.rank; i++) attrs.shape.v[i] = x.dim[i];
  lt_value u = lt_emit(g, LT_OP_random_uniform, &attrs, (lt_value[]){seed, step}, 2);
  lt_value keep = lt_binary(g, LT_OP_less_equal, number(g, u, p), u);
  lt_value scaled = lt_binary(g, LT_OP_div, in[0], number(g, in[0], 1 - p));
  r->map[n->out] = lt_emit(g, LT_OP_select, NULL, (lt_value[]){keep, scaled, number(g, scaled, 0)}, 3);
  return true;
}

/* ---- the pass ---------------------------------------------------------------------------------------------------- */

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  bool train = r->from->mode == LT_MODE_TRAIN;
  if (n->op == LT_OP_dropout && !train) {
    r->map[n->out] = in[0];
    return true;
  }
  if (n->op == LT_OP_dropout) return train_dropout(r, n, in);
  if (n->op == LT_OP_batch_norm && train) return train_batch_norm(r, n, in);
  return n->op == LT_OP_state && r->map[n->out]; /* copied already */
}

void lt_pass_mode(lt_graph *to, const lt_graph *from) { lt_rewrite_graph(to, from, visit, NULL); }
