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

/* ---- what no other unit reads: updates, outputs ---- */

/* when: by unit its place in the order; of one that feeds no other, the place that it goes behind, once that is known
 * (until then NOWHERE). */
enum { NOWHERE = -1 };
typedef struct early { const lt_builder *b; const lt_value *updates; int64_t *when; uint32_t unit; } early;

/* Does another unit read what u makes? */
static bool feeds(const lt_builder *b, uint32_t u) {
  const lt_unit *unit = &b->unit.at[u];
  for (uint32_t i = 0; i < unit->node.n; i++) {
    const lt_node *n = b->g->nodes.at[unit->node.at[i]];
    for (uint32_t k = b->readers.first[n->out]; k < b->readers.first[n->out + n->n_out]; k++) {
      const uint32_t reader = b->unit_of[b->readers.item[k].node];
      if (reader && reader != u + 1) return true;
    }
  }
  return false;
}

/* The later of `after` and the place of the unit with this node, if it is another one. */
static int64_t behind(const early *e, int64_t after, uint32_t node) {
  const uint32_t u = e->b->unit_of[node];
  return u && u - 1 != e->unit ? LT_MAX(after, e->when[u - 1]) : after;
}

/* Behind the readers of v, or those of them that make less than `most` elements. A copy of v, packed weights, which
 * is larger than what is made of it is used up before: it should not be pushed out of the caches. Where what is made
 * of it is larger, that is what its own reader should find there. */
static int64_t behind_readers(const early *e, int64_t after, lt_value v, int64_t most) {
  const lt_builder *b = e->b;
  for (uint32_t k = b->readers.first[v]; k < b->readers.first[v + 1]; k++) {
    const lt_node *n = b->g->nodes.at[b->readers.item[k].node];
    if (lt_type_count(lt_type_of(b->g, n->out)) >= most) continue;
    after = behind(e, after, n->id);
    if (b->g->values.at[n->out].layout.kind == LT_PANEL)
      after = behind_readers(e, after, n->out, lt_type_count(lt_type_of(b->g, v)));
  }
  return after;
}

/* Behind those that make what e->unit reads, and behind those that read what it writes over. */
static int64_t earliest(const early *e) {
  const lt_builder *b = e->b;
  const lt_unit *u = &b->unit.at[e->unit];
  int64_t after = NOWHERE;
  for (uint32_t i = 0; i < u->node.n; i++) {
    const lt_node *n = b->g->nodes.at[u->node.at[i]];
    for (unsigned k = 0; k < n->n_in; k++)
      if (n->in[k]) after = behind(e, after, lt_node_of(b->g, lt_base(b, n->in[k]))->id);
    for (lt_value v = n->out; v < n->out + n->n_out; v++)
      if (e->updates[v]) after = behind_readers(e, after, e->updates[v], INT64_MAX);
  }
  return after;
}

/* The order by `when`; those of one place stay as they are. */
static void reorder(lt_builder *b, const int64_t *when) {
  uint32_t *from = LT_NEW_ARRAY(b->a, uint32_t, b->order.n + 2u), *to = LT_NEW_ARRAY(b->a, uint32_t, b->order.n + 1u);
  for (uint32_t i = 0; i < b->order.n; i++) from[when[b->order.at[i]] + 1]++;
  for (uint32_t i = 0; i < b->order.n; i++) from[i + 1] += from[i];
  for (uint32_t i = 0; i < b->order.n; i++) to[from[when[b->order.at[i]]]++] = b->order.at[i];
  if (b->order.n) memcpy(b->order.at, to, b->order.n * sizeof *to);
}

/* They run as soon as they can: a layer's image and gradient are in the caches still when its weights are updated, and
 * are not kept until the end. */
static void schedule_early(lt_builder *b) {
  lt_value *updates = LT_NEW_ARRAY(b->a, lt_value, b->g->values.n);
  early e = {.b = b, .updates = updates, .when = LT_NEW_ARRAY(b->a, int64_t, b->unit.n + 1u)};
  for (uint32_t i = 0; i < b->g->updates.n; i++) updates[b->g->updates.at[i].value] = b->g->updates.at[i].leaf;
  for (uint32_t i = 0; i < b->order.n; i++) e.when[b->order.at[i]] = feeds(b, b->order.at[i]) ? (int64_t)i : NOWHERE;
  for (uint32_t i = 0; i < b->order.n; i++) {
    e.unit = b->order.at[i];
    if (e.when[e.unit] == NOWHERE) e.when[e.unit] = earliest(&e);
    if (e.when[e.unit] == NOWHERE) e.when[e.unit] = i;
  }
  reorder(b, e.when);
}

/* Units in order of their last node, each after what it needs. */
void lt_units_schedule(lt_builder *b) {
  for (uint32_t i = 0; i < b->g->nodes.n; i++) {
    uint32_t u = b->unit_of[i];
    if (u && b->unit.at[u - 1].node.at[b->unit.at[u - 1].node.n - 1] == i) schedule(b, u - 1);
  }
  schedule_early(b);
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
