/* parts.c: concat without copies: what makes an operand writes it where it stands in the result, in the result's
 * strides, and who reads it finds it there. A concat inside another stands in that one's memory. An operand is copied
 * (lower_move.c) where it has memory already (it is an input, an output, a part of another concat), is a view or is
 * never stored; where its layout is another, or begins inside a block of channels; and where it would not be
 * contiguous, but somebody walks it as if it were.
 *
 * A part takes the place that would otherwise be its own, so it lives as long as the whole: from the first part that is
 * written to the last read of any (memplan.c sees one buffer). */
#include "plan/build.h"
#include "ir/pass/parts.h"

void lt_phys_at(lt_phys *out, const lt_builder *b, lt_value v) {
  const lt_value whole = b->place[v].whole ? b->place[v].whole : v;
  lt_phys_of(out, lt_type_of(b->g, whole), &b->g->values.at[whole].layout);
}

/* Elements from the result's first one to where something `before` along the axis begins. */
static int64_t begins(const lt_builder *b, const lt_node *n, int64_t before) {
  const int64_t axis = ((const lt_concat_attrs *)n->attrs)->axis;
  lt_phys p;
  lt_phys_at(&p, b, n->out);
  return p.block && axis == 1 ? before / LT_LANES * p.block : before * p.stride[axis];
}

bool lt_part_made_in_place(const lt_builder *b, const lt_node *n, lt_value part, int64_t before) {
  const lt_place *p = &b->place[part], *whole = &b->place[n->out];
  return p->whole && p->buffer == whole->buffer && p->offset == whole->offset + begins(b, n, before);
}

/* ---- may it stand there? ----------------------------------------------------------------------------------------- */

static bool has_halo(const lt_layout *l) { return l->halo[0] || l->halo[1] || l->halo[2] || l->halo[3]; }

/* Alone it would have the same strides: one image, or parts of outer axes. */
static bool contiguous(const lt_builder *b, lt_value part, lt_value in) {
  const lt_type *t = lt_type_of(b->g, part);
  lt_phys own, there;
  lt_phys_of(&own, t, &b->g->values.at[part].layout);
  lt_phys_at(&there, b, in);
  bool same = own.block == there.block;
  for (unsigned i = 0; i < t->rank; i++) same &= t->dim[i] == 1 || own.stride[i] == there.stride[i];
  return same;
}

/* Does n read what it reads by lt_phys_at? */
static bool asks_strides(const lt_builder *b, const lt_node *n) {
  if (b->move[n->id] != LT_MOVE_NOT) return b->move[n->id] == LT_MOVE_VIRTUAL;
  switch (lt_facts(n)->reads) {
  case LT_READS_ALL: case LT_READS_INNER: case LT_READS_LEFT: case LT_READS_PARTS: return true;
  case LT_READS_INDEX: return false;
  case LT_READS__: return (lt_facts(n)->flags & LT_MOVE) != 0;
  }
  return false;
}

static bool all_ask_strides(const lt_builder *b, lt_value v) {
  for (uint32_t i = b->readers.first[v]; i < b->readers.first[v + 1]; i++)
    if (!asks_strides(b, b->g->nodes.at[b->readers.item[i].node])) return false;
  return true;
}

/* Is v computed by a kernel of this entry that may store it anywhere? */
static bool made_anywhere(const lt_builder *b, lt_value v) {
  const lt_node *n = lt_node_of(b->g, v);
  const uint32_t unit = b->unit_of[n->id];
  if (!unit || b->place[v].set || (b->phase == LT_PHASE_RUN && b->fixed[n->id])) return false;
  return lt_facts(b->unit.at[unit - 1].root)->writes != LT_WRITES_ADD && b->g->values.at[v].layout.kind != LT_PANEL;
}

static bool fits(const lt_builder *b, const lt_node *n, lt_value part) {
  const lt_layout *own = &b->g->values.at[part].layout, *l = &b->g->values.at[n->out].layout;
  if (!made_anywhere(b, part) || own->kind != l->kind) return false;
  if (lt_parts_of_planes(b->g, n) ? !lt_layout_eq(own, l) : has_halo(own)) return false;
  if (l->kind == LT_BLOCKED && !lt_parts_of_blocks(b->g, n)) return false;
  return contiguous(b, part, n->out) || all_ask_strides(b, part);
}

/* Results may be left out by a caller who only wants updates or gradients: what other kernels read stands elsewhere. */
static bool may_hold_parts(const lt_builder *b, lt_value v) {
  const lt_place *p = &b->place[v];
  const lt_node *n = lt_node_of(b->g, v);
  if (!b->unit_of[n->id] || (b->phase == LT_PHASE_RUN && b->fixed[n->id])) return false;
  return !p->set || p->whole || (b->buffer.at[p->buffer].region == LT_REGION_IO && !b->g->updates.n && !b->grads);
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

static void place_parts_of(lt_builder *b, const lt_node *n) {
  const int64_t axis = ((const lt_concat_attrs *)n->attrs)->axis;
  const lt_value whole = b->place[n->out].whole ? b->place[n->out].whole : n->out;
  int64_t before = 0;
  for (unsigned k = 0; k < n->n_in; before += lt_type_of(b->g, n->in[k])->dim[axis], k++) {
    if (!fits(b, n, n->in[k])) continue;
    if (!b->place[n->out].set) lt_place_value(b, n->out);
    const lt_place *p = &b->place[n->out];
    b->place[n->in[k]] = (lt_place){p->buffer, p->offset + begins(b, n, before), true, whole};
  }
}

/* From last to first: a whole has its place before its parts. */
void lt_place_parts(lt_builder *b) {
  for (uint32_t i = b->g->nodes.n; i-- > 0;) {
    const lt_node *n = b->g->nodes.at[i];
    if (b->live[i] && lt_facts(n)->moves == LT_MOVES_COPY && may_hold_parts(b, n->out)) place_parts_of(b, n);
  }
}
