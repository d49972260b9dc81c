/* updates.c: new values of weights and states: written over the old ones where nobody reads those any more, else copied
 * at the end. All reads of an entry see the old value. */
#include "plan/build.h"

/* When each unit runs, by unit. */
static uint32_t *positions(const lt_builder *b) {
  uint32_t *at = LT_NEW_ARRAY(b->a, uint32_t, b->unit.n + 1u);
  for (uint32_t i = 0; i < b->order.n; i++) at[b->order.at[i]] = i;
  return at;
}

/* Is the leaf read last by unit `u`, there only element by element and directly? */
static bool read_before(const lt_builder *b, lt_value leaf, uint32_t u, const uint32_t *position) {
  const lt_graph *g = b->g;
  if (b->readers.wanted[leaf]) return false;
  for (uint32_t i = b->readers.first[leaf]; i < b->readers.first[leaf + 1]; i++) {
    const lt_reader *r = &b->readers.item[i];
    const lt_node *n = g->nodes.at[r->node];
    uint32_t unit = b->unit_of[r->node];
    if (!unit) continue; /* a view or index map: who reads through it reads the leaf */
    bool same_element = unit == u + 1 && r->operand == leaf && lt_op_table[n->op].flags & LT_MAP &&
                        lt_type_eq(lt_type_of(g, leaf), lt_type_of(g, n->out));
    if (!same_element && position[unit - 1] >= position[u]) return false;
  }
  return true;
}

void lt_place_updates(lt_builder *b) {
  const lt_graph *g = b->g;
  const uint32_t *position = positions(b);
  for (uint32_t i = 0; i < g->updates.n; i++) {
    lt_value v = g->updates.at[i].value, leaf = g->updates.at[i].leaf;
    uint32_t u = b->unit_of[lt_node_of(g, v)->id];
    if (!u || b->place[v].set || !lt_value_plain(b, v)) continue;
    if (read_before(b, leaf, u - 1, position)) b->place[v] = b->place[leaf];
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
    uint32_t keep = lt_scratch(b, lt_value_name(b, leaf), v, lt_type_count(lt_type_of(g, v)));
    from[i] = (lt_place){keep, 0, true, 0};
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
