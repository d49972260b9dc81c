/* pack.c: the packed image: what a run reads of the values that depend on weights only. */
#include "plan/build.h"

/* What a run reads of the values that depend on weights only: by value, the offset in the packed image; 0: not. */
int64_t *lt_packed_offsets(const lt_builder *b, int64_t *bytes) {
  const lt_graph *g = b->g;
  int64_t *at = LT_NEW_ARRAY(b->a, int64_t, g->values.n);
  bool *wanted = LT_NEW_ARRAY(b->a, bool, g->values.n);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    for (unsigned k = 0; b->live[i] && b->unit_of[i] && !b->unit.at[b->unit_of[i] - 1].is_static && k < n->n_in; k++)
      if (n->in[k]) wanted[lt_base(b, n->in[k])] = true;
  }
  for (uint32_t i = 0; i < g->outputs.n; i++) wanted[lt_base(b, g->outputs.at[i].value)] = true;
  int64_t end = LT_IMAGE_HEADER;
  for (lt_value v = 1; v < g->values.n; v++) {
    const lt_node *n = lt_node_of(g, v);
    if (!wanted[v] || !b->fixed[n->id] || n->op == LT_OP_const) continue;
    lt_phys p;
    lt_phys_of(&p, lt_type_of(g, v), &g->values.at[v].layout);
    at[v] = end;
    end += lt_aligned(p.count * (int64_t)lt_dtype_size(lt_type_of(g, v)->dtype));
  }
  *bytes = end > LT_IMAGE_HEADER ? end : 0; /* nothing to keep: no image, and any pointer will do */
  return at;
}

void lt_place_packed(lt_builder *b, const int64_t *at, lt_region region) {
  for (lt_value v = 1; v < b->g->values.n; v++) {
    if (!at[v]) continue;
    bool leaf = lt_is_leaf(b->g, v);
    if (leaf && b->phase == LT_PHASE_PACK) continue; /* copied */
    lt_place_in(b, v, region, 0, at[v]);
    lt_phys p;
    lt_phys_of(&p, lt_type_of(b->g, v), &b->g->values.at[v].layout);
    b->buffer.at[b->place[v].buffer].bytes = p.count * (int64_t)lt_dtype_size(lt_type_of(b->g, v)->dtype);
  }
}

void lt_copy_packed_leaves(lt_builder *b, const int64_t *at) {
  for (lt_value v = 1; v < b->g->values.n; v++) {
    if (!at[v] || !lt_is_leaf(b->g, v)) continue;
    const lt_type *t = lt_type_of(b->g, v);
    lt_buffer y = {.region = LT_REGION_OUT,
                   .offset = at[v],
                   .bytes = lt_type_bytes(t),
                   .dtype = t->dtype,
                   .name = lt_value_name(b, v)};
    lt_lower_copy(b, v, (lt_place){lt_add_buffer(b, y), 0, true, 0}, lt_value_name(b, v), "pack");
  }
}
