/* moves.c: which MOVE nodes are stored (see moves.h). All are views or index maps at first; then those are stored that
 * a reader cannot look through. */
#include "ir/pass/moves.h"
#include "ir/pass/parts.h"

static bool guards(const lt_node *n) { return lt_facts(n)->moves == LT_MOVES_PAD; }

/* Weights are packed from where they stand, turned or cut as they may be. */
static bool packs_through(const lt_graph *g, const lt_node *from) {
  return lt_facts(from)->moves == LT_MOVES_INDEX && lt_is_leaf(g, from->in[0]);
}

/* Can n read operand k through the index map of the node `from`? */
static bool reads_through(const lt_graph *g, const lt_node *n, unsigned k, const lt_node *from, const lt_move *move) {
  switch (lt_facts(n)->reads) {
  case LT_READS_ALL: return g->values.at[n->out].layout.kind != LT_PANEL || packs_through(g, from);
  case LT_READS_INNER: return !guards(from);
  case LT_READS_LEFT: return k == 0 && !guards(from);
  case LT_READS_INDEX: return k == 1 && !guards(from);
  case LT_READS_PARTS: return false;
  case LT_READS__: return move[n->id] == LT_MOVE_VIRTUAL;
  }
  return false;
}

/* Can n read its operand k, an image and not weights, where the slice `from` stands in what it is cut from? */
static bool reads_in_place(const lt_graph *g, const lt_node *n, unsigned k, const lt_node *from) {
  const lt_blocks b = lt_facts(n)->blocks;
  const bool image = k == 0 || b == LT_BLOCKS_POOL || (b == LT_BLOCKS_WGRAD && k == 1);
  return lt_facts(n)->reads == LT_READS_PARTS && image && lt_part_in_place(g, from);
}

/* A pad that readers look through is a limit on one coordinate of the value below it. So below it, down to that value,
 * nothing may limit the same coordinate again (another pad) or take it away (a repetition): such a node is stored.
 *     v1 = broadcast_to(b, shape=[3, 4])         b is f32[1, 4]: whatever row of v1 is read, it is row 0 of b
 *     v2 = pad(v1, pads=[1, 0, 1, 0], value=9)   rows 0 and 4 of v2 are 9; in b there is no row that would say so
 *     v3 = add(v2, x)                            looks through v2, and finds its rows in v1, which so has memory */
static void store_below_pad(const lt_graph *g, const lt_node *pad, lt_move *move) {
  const lt_node *n = lt_node_of(g, pad->in[0]);
  for (; move[n->id] == LT_MOVE_VIRTUAL; n = lt_node_of(g, n->in[0]))
    if (guards(n) || lt_facts(n)->moves == LT_MOVES_REPEAT) move[n->id] = LT_MOVE_NOT;
}

/* Matrix products, reductions and indices look through all that is below their operand, where no pad may be. */
static void store_pads_below(const lt_graph *g, lt_value operand, lt_move *move) {
  const lt_node *n = lt_node_of(g, operand);
  for (; move[n->id] == LT_MOVE_VIRTUAL; n = lt_node_of(g, n->in[0]))
    if (guards(n)) move[n->id] = LT_MOVE_NOT;
}

static bool reduces(const lt_node *n) { return lt_facts(n)->reads == LT_READS_INNER; }

/* The same for elementwise nodes that are computed inside a reduction, once `fuse` has said so. */
static void store_pads_below_prologues(lt_arena *a, const lt_graph *g, const bool *live, lt_move *move) {
  uint32_t *reduction = LT_NEW_ARRAY(a, uint32_t, g->nodes.n + 1); /* by cluster */
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (n->cluster && n->cluster <= g->nodes.n && reduces(n)) reduction[n->cluster] = i;
  }
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    bool inside =
      n->cluster && n->cluster <= g->nodes.n && (lt_op_table[n->op].flags & LT_MAP) && i < reduction[n->cluster];
    for (unsigned k = 0; inside && (!live || live[i]) && k < n->n_in; k++)
      if (n->in[k]) store_pads_below(g, n->in[k], move);
  }
}

/* What an update stores has memory: no readers look through it. */
static void store_updates(const lt_graph *g, lt_move *move) {
  for (uint32_t i = 0; i < g->updates.n; i++) {
    const lt_node *n = lt_node_of(g, g->updates.at[i].value);
    for (; move[n->id] == LT_MOVE_VIRTUAL; n = lt_node_of(g, n->in[0])) move[n->id] = LT_MOVE_NOT;
  }
}

/* From users to operands: what some reader cannot look through is stored. */
static void store_what_is_not_looked_through(const lt_graph *g, const bool *live, bool placed, lt_move *move) {
  for (uint32_t i = g->nodes.n; i-- > 0;) {
    const lt_node *n = g->nodes.at[i];
    for (unsigned k = 0; (!live || live[i]) && k < n->n_in; k++) {
      const lt_node *from = n->in[k] ? lt_node_of(g, n->in[k]) : NULL;
      if (!from || move[from->id] != LT_MOVE_VIRTUAL || reads_through(g, n, k, from, move)) continue;
      if (!placed || !reads_in_place(g, n, k, from)) move[from->id] = LT_MOVE_NOT;
    }
  }
}

static lt_move as_the_table_says(const lt_node *n) {
  switch (lt_facts(n)->moves) {
  case LT_MOVES_VIEW: return LT_MOVE_VIEW;
  case LT_MOVES_INDEX: case LT_MOVES_REPEAT: case LT_MOVES_PAD: return LT_MOVE_VIRTUAL;
  case LT_MOVES_COPY: case LT_MOVES_PICK: case LT_MOVES__: return LT_MOVE_NOT;
  }
  return LT_MOVE_NOT;
}

lt_move *lt_moves(lt_arena *a, const lt_graph *g, const bool *live, bool placed) {
  lt_move *move = LT_NEW_ARRAY(a, lt_move, g->nodes.n + 1);
  for (uint32_t i = 0; i < g->nodes.n; i++) move[i] = as_the_table_says(g->nodes.at[i]);
  store_updates(g, move);
  store_what_is_not_looked_through(g, live, placed, move);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (live && !live[i]) continue;
    if (guards(n) && move[i] == LT_MOVE_VIRTUAL) store_below_pad(g, n, move);
    if (lt_facts(n)->reads == LT_READS_LEFT || reduces(n)) store_pads_below(g, n->in[0], move);
    if (lt_facts(n)->reads == LT_READS_INDEX) store_pads_below(g, n->in[1], move);
  }
  store_pads_below_prologues(a, g, live, move);
  return move;
}
