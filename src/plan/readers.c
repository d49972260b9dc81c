/* readers.c: the stored value behind each value, and who reads it: found once, for all that planning asks. */
#include "plan/build.h"

static void find_bases(lt_builder *b) {
  const lt_graph *g = b->g;
  b->base = LT_NEW_ARRAY(b->a, lt_value, g->values.n);
  for (lt_value v = 1; v < g->values.n; v++) {
    const lt_node *n = lt_node_of(g, v);
    b->base[v] = b->move[n->id] == LT_MOVE_NOT ? v : b->base[n->in[0]];
  }
}

/* Operands of live nodes by what they read: counted, then filed. */
void lt_find_readers(lt_builder *b) {
  const lt_graph *g = b->g;
  lt_readers *r = &b->readers;
  find_bases(b);
  r->first = LT_NEW_ARRAY(b->a, uint32_t, g->values.n + 2u), r->wanted = LT_NEW_ARRAY(b->a, uint32_t, g->values.n);
  uint32_t *at = r->first + 1, n = 0;
  for (int file = 0; file < 2; file++) {
    for (uint32_t i = 0; i < g->nodes.n; i++) {
      const lt_node *node = g->nodes.at[i];
      for (unsigned k = 0; b->live[i] && k < node->n_in; k++) {
        if (!node->in[k]) continue;
        uint32_t *place = &at[b->base[node->in[k]]];
        if (file) r->item[*place] = (lt_reader){i, node->in[k]};
        *place += 1;
      }
    }
    if (file) break;
    for (lt_value v = 0; v < g->values.n; v++) { /* how many become where they begin */
      uint32_t count = at[v];
      at[v] = n, n += count;
    }
    r->item = LT_NEW_ARRAY(b->a, lt_reader, n + 1u);
  }
  for (uint32_t i = 0; i < g->outputs.n; i++) r->wanted[b->base[g->outputs.at[i].value]]++;
  for (uint32_t i = 0; i < g->updates.n; i++) r->wanted[b->base[g->updates.at[i].value]]++;
}
