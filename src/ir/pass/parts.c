/* parts.c: where a concat's operands begin and end in its result, and a slice in its operand (see parts.h). */
#include "ir/pass/parts.h"

enum { LANES = 16 };

static bool between_blocks(int64_t from, int64_t to, int64_t channels) {
  return from % LANES == 0 && (to % LANES == 0 || to == channels);
}

static bool joins(const lt_node *n) { return lt_facts(n)->moves == LT_MOVES_COPY; }

/* [from, to) of the axis that a slice leaves. */
static void range_along(const lt_graph *g, const lt_node *n, int64_t axis, int64_t *from, int64_t *to) {
  const lt_slice_attrs *a = n->attrs;
  *from = 0, *to = lt_type_of(g, n->in[0])->dim[axis];
  for (int64_t i = 0; i < a->axes.n; i++)
    if (a->axes.v[i] == axis) *from = a->starts.v[i], *to = a->ends.v[i];
}

bool lt_parts_of_blocks(const lt_graph *g, const lt_node *n) {
  if (lt_type_of(g, n->out)->rank != 4) return false;
  int64_t from = 0, to;
  if (!joins(n)) {
    range_along(g, n, 1, &from, &to);
    return between_blocks(from, to, lt_type_of(g, n->in[0])->dim[1]);
  }
  bool whole = true;
  for (unsigned k = 0; ((const lt_concat_attrs *)n->attrs)->axis == 1 && k < n->n_in; k++, from = to) {
    to = from + lt_type_of(g, n->in[k])->dim[1];
    whole &= between_blocks(from, to, lt_type_of(g, n->out)->dim[1]);
  }
  return whole;
}

bool lt_parts_of_planes(const lt_graph *g, const lt_node *n) {
  const lt_type *y = lt_type_of(g, n->out), *x = lt_type_of(g, n->in[0]);
  return y->rank == 4 && x->dim[2] == y->dim[2] && x->dim[3] == y->dim[3];
}

bool lt_part_in_place(const lt_graph *g, const lt_node *n) {
  if (lt_facts(n)->blocks != LT_BLOCKS_PARTS || joins(n)) return false;
  const lt_layout *l = &g->values.at[n->out].layout;
  switch (lt_facts(lt_node_of(g, n->in[0]))->moves) {
  case LT_MOVES_INDEX: case LT_MOVES_REPEAT: case LT_MOVES_PAD: return false;
  case LT_MOVES__: case LT_MOVES_VIEW: case LT_MOVES_COPY: case LT_MOVES_PICK: break;
  }
  if (l->kind == LT_PANEL || !lt_layout_eq(l, &g->values.at[n->in[0]].layout)) return false;
  const bool halo = l->halo[0] || l->halo[1] || l->halo[2] || l->halo[3];
  return (l->kind == LT_PLAIN || lt_parts_of_blocks(g, n)) && (!halo || lt_parts_of_planes(g, n));
}
