/* outputs.c: results: written where the caller wants them, or copied there from where they stand. */
#include "plan/build.h"

/* The value in whose memory v stands, where a kernel of this entry computes it; 0: none does.
 *   y = relu(x)              y
 *   z = reshape(y, …)        y: a view has no memory of its own
 *   w = reshape(weights, …)  0: a leaf has its memory already */
static lt_value computed_base(const lt_builder *b, lt_value v) {
  while (b->move[lt_node_of(b->g, v)->id] == LT_MOVE_VIEW) v = lt_node_of(b->g, v)->in[0];
  return b->unit_of[lt_node_of(b->g, v)->id] ? v : 0;
}

/* An entry that also updates weights or writes gradients may be called without its outputs (plan.h: kernels that store
 * to one are skipped). So such a kernel must do nothing else, and nobody may read what it writes. */
static bool may_be_skipped(const lt_builder *b, lt_value v) {
  const lt_graph *g = b->g;
  uint32_t unit = b->unit_of[lt_node_of(g, v)->id], stores = 0;
  for (uint32_t i = 0; i < b->unit.at[unit - 1].node.n; i++) {
    const lt_node *n = g->nodes.at[b->unit.at[unit - 1].node.at[i]];
    for (lt_value r = n->out; r < n->out + n->n_out; r++) stores += b->stored[r];
  }
  for (uint32_t i = b->readers.first[v]; i < b->readers.first[v + 1]; i++) {
    uint32_t reader = b->unit_of[b->readers.item[i].node];
    if (reader && reader != unit) return false;
  }
  return stores == 1 && b->readers.wanted[v] == 1 && lt_facts(b->unit.at[unit - 1].root)->writes != LT_WRITES_ADD;
}

/* Outputs are written where the caller wants them, unless the value stands elsewhere already: then it is copied. */
void lt_place_outputs(lt_builder *b, uint32_t *slot) {
  const lt_graph *g = b->g;
  for (uint32_t i = 0; i < g->outputs.n; i++) {
    lt_value v = g->outputs.at[i].value, w = computed_base(b, v);
    const lt_image_item *grad = lt_image_find(b->grads, g->outputs.at[i].name);
    slot[i] = grad ? 0 : lt_add_slot(b, g->outputs.at[i].name, lt_type_of(g, v), LT_SLOT_OUTPUT);
    bool direct =
      w && !b->place[w].set && lt_value_plain(b, w) && !(b->phase == LT_PHASE_RUN && b->fixed[lt_node_of(g, w)->id]);
    if (direct && !grad && (g->updates.n || b->grads)) direct = may_be_skipped(b, w);
    if (direct && grad) lt_place_in(b, w, LT_REGION_OUT, 0, grad->offset);
    else if (direct) lt_place_in(b, w, LT_REGION_IO, slot[i], 0);
  }
}

void lt_copy_outputs(lt_builder *b, const uint32_t *slot) {
  const lt_graph *g = b->g;
  for (uint32_t i = 0; i < g->outputs.n; i++) {
    lt_value v = g->outputs.at[i].value;
    lt_place p = lt_place_of(b, v);
    const lt_buffer *x = p.set ? &b->buffer.at[p.buffer] : NULL;
    const lt_image_item *grad = lt_image_find(b->grads, g->outputs.at[i].name);
    lt_buffer y = {.region = grad ? LT_REGION_OUT : LT_REGION_IO,
                   .slot = slot[i],
                   .offset = grad ? grad->offset : 0,
                   .bytes = lt_type_bytes(lt_type_of(g, v)),
                   .dtype = lt_type_of(g, v)->dtype,
                   .name = lt_arena_strdup(b->a, g->outputs.at[i].name)};
    if (x && x->region == y.region && x->slot == y.slot && x->offset == y.offset) continue;
    lt_lower_copy(b, v, (lt_place){lt_add_buffer(b, y), 0, true, 0}, g->outputs.at[i].name, "copy");
  }
}
