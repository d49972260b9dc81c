/* cluster.c: the questions that fusion, layout and planning answer alike (see cluster.h). */
#include "ir/pass/cluster.h"

static bool guards(const lt_node *n) { return lt_facts(n)->moves == LT_MOVES_PAD; }

/* Can n read operand k through the index map of the node `from`? */
static bool reads_through(const lt_graph *g, const lt_node *n, unsigned k, const lt_node *from, const lt_move *move) {
  switch (lt_facts(n)->reads) {
  case LT_READS_ALL: return g->values.at[n->out].layout.kind != LT_PANEL;
  case LT_READS_INNER: return !guards(from);
  case LT_READS_LEFT: return k == 0 && !guards(from);
  case LT_READS__: return move[n->id] == LT_MOVE_VIRTUAL;
  }
  return false;
}

/* Through its map the guard of a pad must reach what it guards: nothing below it may guard again or drop an axis. */
static void settle_pad(const lt_graph *g, const lt_node *pad, lt_move *move) {
  const lt_node *n = lt_node_of(g, pad->in[0]);
  for (; move[n->id] == LT_MOVE_VIRTUAL; n = lt_node_of(g, n->in[0]))
    if (guards(n) || n->op == LT_OP_broadcast_to) move[n->id] = LT_MOVE_NOT;
}

/* Matrix products and reductions read what is below their operand as well: no pad may be there. */
static void settle_unguarded(const lt_graph *g, lt_value operand, lt_move *move) {
  const lt_node *n = lt_node_of(g, operand);
  for (; move[n->id] == LT_MOVE_VIRTUAL; n = lt_node_of(g, n->in[0]))
    if (guards(n)) move[n->id] = LT_MOVE_NOT;
}

static bool reduces(const lt_node *n) { return lt_facts(n)->reads == LT_READS_INNER; }

/* The same for elementwise nodes that are computed inside a reduction, once `fuse` has said so. */
static void settle_prologues(lt_arena *a, const lt_graph *g, const bool *live, lt_move *move) {
  uint32_t *reduction = LT_NEW_ARRAY(a, uint32_t, g->nodes.n + 1); /* by cluster */
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (n->cluster && n->cluster <= g->nodes.n && reduces(n)) reduction[n->cluster] = i;
  }
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    bool inside = n->cluster && n->cluster <= g->nodes.n && (lt_op_table[n->op].flags & LT_MAP) && i < reduction[n->cluster];
    for (unsigned k = 0; inside && (!live || live[i]) && k < n->n_in; k++)
      if (n->in[k]) settle_unguarded(g, n->in[k], move);
  }
}

lt_move *lt_moves(lt_arena *a, const lt_graph *g, const bool *live) {
  lt_move *move = LT_NEW_ARRAY(a, lt_move, g->nodes.n + 1);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    lt_mover how = lt_facts(g->nodes.at[i])->moves;
    if (how == LT_MOVES_VIEW) move[i] = LT_MOVE_VIEW;
    else if (how == LT_MOVES_INDEX || how == LT_MOVES_PAD) move[i] = LT_MOVE_VIRTUAL;
  }
  for (uint32_t i = 0; i < g->updates.n; i++) {
    const lt_node *n = lt_node_of(g, g->updates.at[i].value);
    for (; move[n->id] == LT_MOVE_VIRTUAL; n = lt_node_of(g, n->in[0])) move[n->id] = LT_MOVE_NOT;
  }
  for (uint32_t i = g->nodes.n; i-- > 0;) {
    const lt_node *n = g->nodes.at[i];
    for (unsigned k = 0; (!live || live[i]) && k < n->n_in; k++) {
      const lt_node *from = n->in[k] ? lt_node_of(g, n->in[k]) : NULL;
      if (from && move[from->id] == LT_MOVE_VIRTUAL && !reads_through(g, n, k, from, move))
        move[from->id] = LT_MOVE_NOT;
    }
  }
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (live && !live[i]) continue;
    if (guards(n) && move[i] == LT_MOVE_VIRTUAL) settle_pad(g, n, move);
    if (lt_facts(n)->reads == LT_READS_LEFT || reduces(n)) settle_unguarded(g, n->in[0], move);
  }
  settle_prologues(a, g, live, move);
  return move;
}

bool *lt_static_nodes(lt_arena *a, const lt_graph *g) {
  bool *is_static = LT_NEW_ARRAY(a, bool, g->nodes.n + 1);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    is_static[i] = lt_facts(n)->same != LT_SAME_CALL;
    for (unsigned k = 0; k < n->n_in; k++)
      if (n->in[k] && !is_static[lt_node_of(g, n->in[k])->id]) is_static[i] = false;
  }
  return is_static;
}

int64_t lt_panel_count(const lt_type *t, uint32_t panel) {
  int64_t groups = lt_panel_groups(panel), batch = 1, k, n;
  const int64_t *d = t->dim;
  unsigned r = t->rank;
  switch (lt_panel_kind_of(panel)) {
  case LT_PANEL_CONV: return groups * lt_ceil_div(d[0] / groups, 16) * d[1] * d[2] * d[3] * 16;
  case LT_PANEL_CONV_T: return groups * lt_ceil_div(d[1], 16) * (d[0] / groups) * d[2] * d[3] * 16;
  case LT_PANEL_DEPTHWISE: return lt_ceil_div(d[0], 16) * d[2] * d[3] * 16;
  case LT_PANEL_MATRIX:
  case LT_PANEL_MATRIX_T:
    for (unsigned i = 0; i + 2 < r; i++) batch *= d[i];
    k = d[r - 2], n = d[r - 1];
    if (lt_panel_kind_of(panel) == LT_PANEL_MATRIX_T) k = d[r - 1], n = d[r - 2];
    return batch * lt_ceil_div(n, 16) * k * 16;
  default: return lt_type_count(t);
  }
}

lt_conv_kind lt_conv_kind_of(int64_t channels, int64_t out_channels, int64_t groups) {
  if (groups == 1) return LT_CONV_BLOCKED;
  if (channels % (16 * groups) == 0 && out_channels % (16 * groups) == 0) return LT_CONV_BLOCKED;
  if (groups == channels && groups == out_channels) return LT_CONV_DEPTHWISE;
  return LT_CONV_PLAIN;
}
