/* updates.c: new values of weights and states: written over the old ones where nobody reads those any more, else copied
 * at the end. All reads of an entry see the old value. */
#include "plan/build.h"

static uint32_t position(const lt_builder *b, uint32_t unit) {
  for (uint32_t i = 0; i < b->order.n; i++)
    if (b->order.at[i] == unit) return i;
  return UINT32_MAX;
}

/* Is the leaf read last by unit `u`, there only element by element and directly? */
static bool read_before(const lt_builder *b, lt_value leaf, uint32_t u) {
  const lt_graph *g = b->g;
  uint32_t when = position(b, u);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    for (unsigned k = 0; b->live[i] && !lt_is_leaf(g, n->out) && k < n->n_in; k++) {
      if (!n->in[k] || lt_base(b, n->in[k]) != leaf) continue;
      uint32_t unit = b->unit_of[i];
      bool same_element = unit == u + 1 && n->in[k] == leaf && lt_op_table[n->op].flags & LT_MAP &&
                          lt_type_eq(lt_type_of(g, leaf), lt_type_of(g, n->out));
      if (!unit) { /* a view or index map: somebody else reads through it */
        for (uint32_t j = i + 1; j < g->nodes.n; j++)
          for (unsigned m = 0; b->live[j] && b->unit_of[j] && m < g->nodes.at[j]->n_in; m++) {
            lt_value x = g->nodes.at[j]->in[m];
            if (x && lt_base(b, x) == leaf && x != leaf && position(b, b->unit_of[j] - 1) >= when) return false;
          }
        continue;
      }
      if (!same_element && position(b, unit - 1) >= when) return false;
    }
  }
  for (uint32_t i = 0; i < g->outputs.n; i++)
    if (lt_base(b, g->outputs.at[i].value) == leaf) return false;
  for (uint32_t i = 0; i < g->updates.n; i++)
    if (lt_base(b, g->updates.at[i].value) == leaf) return false;
  return true;
}

void lt_place_updates(lt_builder *b) {
  const lt_graph *g = b->g;
  for (uint32_t i = 0; i < g->updates.n; i++) {
    lt_value v = g->updates.at[i].value, leaf = g->updates.at[i].leaf;
    uint32_t u = b->unit_of[lt_node_of(g, v)->id];
    if (!u || b->place[v].set || !lt_value_plain(b, v)) continue;
    if (read_before(b, leaf, u - 1)) b->place[v] = b->place[leaf];
  }
}

/* The rest: first everything into scratch where it is not already safe, then home. */
void lt_copy_updates(lt_builder *b) {
  const lt_graph *g = b->g;
  lt_place *from = LT_NEW_ARRAY(b->a, lt_place, g->updates.n + 1u);
  for (uint32_t i = 0; i < g->updates.n; i++) {
    lt_value v = g->updates.at[i].value, leaf = g->updates.at[i].leaf;
    lt_place p = lt_place_of(b, v);
    if (p.set && p.buffer == b->place[leaf].buffer) continue;
    bool moves = p.set && b->buffer.at[p.buffer].region == LT_REGION_STATE;
    if (!moves) continue;
    uint32_t keep = lt_scratch(b, lt_value_name(b, leaf), lt_type_of(g, v)->dtype, lt_type_count(lt_type_of(g, v)));
    from[i] = (lt_place){keep, 0, true};
    lt_lower_copy(b, v, from[i], lt_value_name(b, leaf), "update");
  }
  for (uint32_t i = 0; i < g->updates.n; i++) {
    lt_value v = g->updates.at[i].value, leaf = g->updates.at[i].leaf;
    lt_place p = lt_place_of(b, v), old = b->place[v];
    if (p.set && p.buffer == b->place[leaf].buffer) continue;
    if (from[i].set) b->place[v] = from[i];
    lt_lower_copy(b, v, b->place[leaf], lt_value_name(b, leaf), "update");
    b->place[v] = old;
  }
}
