/* place.c: where values stand, and how: the layout of a value's elements, and its buffer in the caller's memory, in an
 * image, in the arena, or among the constants. */
#include "plan/build.h"

/* ---- layouts ---- */

void lt_phys_of(lt_phys *out, const lt_type *t, const lt_layout *l) {
  *out = (lt_phys){.count = 1};
  if (l->kind == LT_BLOCKED) {
    int64_t w = t->dim[3] + l->halo[1] + l->halo[3], h = t->dim[2] + l->halo[0] + l->halo[2];
    int64_t c = lt_ceil_div(t->dim[1], LT_LANES);
    out->stride[3] = LT_LANES;
    out->stride[2] = w * LT_LANES;
    out->block = h * w * LT_LANES;
    out->stride[1] = 1;
    out->stride[0] = c * out->block;
    out->offset = l->halo[0] * out->stride[2] + l->halo[1] * out->stride[3];
    out->count = t->dim[0] * out->stride[0];
    return;
  }
  if (l->kind == LT_PANEL) {
    out->count = lt_panel_count(t, l->panel);
    return;
  }
  int64_t s = 1;
  for (int i = t->rank - 1; i >= 0; i--) {
    out->stride[i] = s;
    int64_t extent = t->dim[i];
    if (t->rank == 4 && i >= 2) extent += i == 2 ? l->halo[0] + l->halo[2] : l->halo[1] + l->halo[3];
    s *= extent;
  }
  if (t->rank == 4) out->offset = l->halo[0] * out->stride[2] + l->halo[1] * out->stride[3];
  out->count = s;
}

bool lt_value_blocked(const lt_builder *b, lt_value v) { return b->g->values.at[v].layout.kind == LT_BLOCKED; }

bool lt_value_plain(const lt_builder *b, lt_value v) {
  const lt_layout *l = &b->g->values.at[v].layout;
  return l->kind == LT_PLAIN && !l->halo[0] && !l->halo[1] && !l->halo[2] && !l->halo[3];
}

/* ---- buffers ---- */

uint32_t lt_add_buffer(lt_builder *b, lt_buffer x) {
  x.first = x.last = -1;
  lt_vec_push(b->a, &b->buffer, x);
  return b->buffer.n - 1;
}

uint32_t lt_scratch(lt_builder *b, const char *name, lt_value v, int64_t count) {
  int64_t bytes;
  const lt_dtype t = lt_type_of(b->g, v)->dtype;
  if (!lt_mul_ok(&bytes, count, (int64_t)lt_dtype_size(t)))
    lt_fail(b->job, LATHE_E_INVALID, &lt_node_of(b->g, v)->loc, "`%s` is too large", name);
  return lt_add_buffer(b,
                       (lt_buffer){.region = LT_REGION_SCRATCH, .bytes = bytes, .dtype = t, .name = name, .value = v});
}

/* ---- places of values ---- */

const char *lt_value_name(const lt_builder *b, lt_value v) {
  const char *name = lt_name_of(b->g, v);
  return name ? lt_arena_strdup(b->a, name) : lt_arena_printf(b->a, "v%u", v);
}

static lt_place const_place(lt_builder *b, lt_value v) {
  const lt_data *d = lt_data_in(lt_node_of(b->g, v));
  int64_t at = lt_plan_const(b->plan, b->a, d);
  lt_buffer x = {
    .region = LT_REGION_CONST, .offset = at, .bytes = d->bytes, .dtype = d->type.dtype, .name = lt_value_name(b, v)};
  return (lt_place){lt_add_buffer(b, x), 0, true, 0};
}

lt_place lt_place_of(lt_builder *b, lt_value v) {
  const lt_node *n = lt_node_of(b->g, v);
  if (b->place[v].set) return b->place[v];
  if (b->move[n->id] == LT_MOVE_VIEW) return lt_place_of(b, n->in[0]);
  if (n->op == LT_OP_const) b->place[v] = const_place(b, v);
  return b->place[v];
}

void lt_place_in(lt_builder *b, lt_value v, lt_region region, uint32_t slot, int64_t offset) {
  const lt_type *t = lt_type_of(b->g, v);
  lt_buffer x = {.region = region,
                 .slot = slot,
                 .offset = offset,
                 .bytes = lt_type_bytes(t),
                 .dtype = t->dtype,
                 .name = lt_value_name(b, v),
                 .value = v};
  b->place[v] = (lt_place){lt_add_buffer(b, x), 0, true, 0};
}

uint32_t lt_add_slot(lt_builder *b, const char *name, const lt_type *t, lt_slot_role role) {
  lt_slot s = {.name = lt_arena_strdup(b->a, name), .type = *t, .role = role};
  lt_vec_push(b->a, &b->slot, s);
  return b->slot.n - 1;
}

/* ---- leaves and what kernels make ---- */

void lt_place_leaves(lt_builder *b) {
  const lt_graph *g = b->g;
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    lt_value v = g->nodes.at[i]->out;
    if (g->nodes.at[i]->op != LT_OP_input || b->phase == LT_PHASE_PACK) continue;
    const lt_image_item *grad = lt_image_find(b->grads, lt_name_of(g, v));
    if (grad) lt_place_in(b, v, LT_REGION_OUT, 0, grad->offset);
    else lt_place_in(b, v, LT_REGION_IO, lt_add_slot(b, lt_name_of(g, v), lt_type_of(g, v), LT_SLOT_INPUT), 0);
  }
  for (uint32_t i = 0; b->phase != LT_PHASE_RUN && i < b->image->n; i++) {
    lt_value v = lt_find(g, b->image->item[i].name);
    if (v) lt_place_in(b, v, LT_REGION_STATE, 0, b->image->item[i].offset);
  }
}

void lt_place_value(lt_builder *b, lt_value v) {
  lt_phys p;
  lt_phys_of(&p, lt_type_of(b->g, v), &b->g->values.at[v].layout);
  b->place[v] = (lt_place){lt_scratch(b, lt_value_name(b, v), v, p.count), 0, true, 0};
}

void lt_place_unit(lt_builder *b, const lt_unit *u) {
  const lt_graph *g = b->g;
  for (uint32_t i = 0; i < u->node.n; i++) {
    const lt_node *n = g->nodes.at[u->node.at[i]];
    for (lt_value v = n->out; v < n->out + n->n_out; v++) {
      if (b->stored[v] && !b->place[v].set) lt_place_value(b, v);
    }
  }
}
