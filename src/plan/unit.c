/* unit.c: what is lowered together and in which order: a cluster, or a node that is in none, is a unit; a unit runs
 * after those that make what it reads; what a unit reads of another, or the graph returns, has memory. */
#include "plan/build.h"

bool lt_unit_has(const lt_unit *u, uint32_t node) {
  for (uint32_t i = 0; i < u->node.n; i++)
    if (u->node.at[i] == node) return true;
  return false;
}

bool lt_unit_blocked(lt_builder *b, const lt_unit *u, const lt_type *shape) {
  if (shape->rank != 4) return false;
  const lt_graph *g = b->g;
  for (uint32_t i = 0; i < u->node.n; i++) {
    const lt_node *n = g->nodes.at[u->node.at[i]];
    if (lt_value_blocked(b, n->out)) return true;
    for (unsigned j = 0; j < n->n_in; j++)
      if (n->in[j] && lt_value_blocked(b, n->in[j]) && lt_type_of(g, n->in[j])->dim[1] == shape->dim[1]) return true;
  }
  return false;
}

void lt_units_collect(lt_builder *b) {
  const lt_graph *g = b->g;
  uint32_t *of_cluster = LT_NEW_ARRAY(b->a, uint32_t, g->nodes.n + 1u);
  b->unit_of = LT_NEW_ARRAY(b->a, uint32_t, g->nodes.n + 1u);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (!b->live[i] || lt_is_leaf(g, n->out) || b->move[i] != LT_MOVE_NOT) continue;
    uint32_t u = n->cluster && n->cluster <= g->nodes.n ? of_cluster[n->cluster] : 0;
    if (!u) {
      lt_vec_push(b->a, &b->unit, (lt_unit){.is_static = true});
      u = b->unit.n;
      if (n->cluster && n->cluster <= g->nodes.n) of_cluster[n->cluster] = u;
    }
    lt_unit *unit = &b->unit.at[u - 1];
    lt_vec_push(b->a, &unit->node, i);
    unit->is_static &= b->fixed[i];
    bool heavy = !(lt_op_table[n->op].flags & LT_MAP);
    if (!unit->root || heavy || lt_op_table[unit->root->op].flags & LT_MAP) unit->root = n;
    b->unit_of[i] = u;
  }
}

static void schedule(lt_builder *b, uint32_t unit);

/* What makes v, before `unit`, which reads it. */
static void schedule_what_makes(lt_builder *b, lt_value v, uint32_t unit) {
  uint32_t u = b->unit_of[lt_node_of(b->g, lt_base(b, v))->id];
  if (u && u - 1 != unit) schedule(b, u - 1);
}

static void schedule(lt_builder *b, uint32_t unit) {
  lt_unit *u = &b->unit.at[unit];
  if (u->done) return;
  if (u->begun)
    lt_fail(b->job, LATHE_E_INTERNAL, NULL, "the cluster of %s waits for itself", lt_op_table[u->root->op].name);
  u->begun = true;
  for (uint32_t i = 0; i < u->node.n; i++) {
    const lt_node *n = b->g->nodes.at[u->node.at[i]];
    for (unsigned k = 0; k < n->n_in; k++)
      if (n->in[k]) schedule_what_makes(b, n->in[k], unit);
  }
  u->done = true;
  lt_vec_push(b->a, &b->order, unit);
}

/* Units in order of their last node, each after what it needs: what updates a weight comes late, after its readers. */
void lt_units_schedule(lt_builder *b) {
  for (uint32_t i = 0; i < b->g->nodes.n; i++) {
    uint32_t u = b->unit_of[i];
    if (u && b->unit.at[u - 1].node.at[b->unit.at[u - 1].node.n - 1] == i) schedule(b, u - 1);
  }
}

void lt_units_mark_stored(lt_builder *b) {
  const lt_graph *g = b->g;
  b->stored = LT_NEW_ARRAY(b->a, bool, g->values.n);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (!b->live[i] || lt_is_leaf(g, n->out)) continue;
    for (unsigned k = 0; k < n->n_in; k++) {
      if (!n->in[k]) continue;
      uint32_t from = b->unit_of[lt_node_of(g, n->in[k])->id];
      if (from && from != b->unit_of[i]) b->stored[n->in[k]] = true;
    }
  }
  for (uint32_t i = 0; i < g->outputs.n; i++) b->stored[g->outputs.at[i].value] = true;
  for (uint32_t i = 0; i < g->updates.n; i++) b->stored[g->updates.at[i].value] = true;
}
