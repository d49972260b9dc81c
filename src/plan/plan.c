/* plan.c: from a graph (after `layout`) to a plan: which values have memory and where, in which order clusters run, what is
 * computed once when weights are packed. Kernels themselves are made by lower_*.c. */
#include "plan/build.h"

static int64_t aligned(int64_t bytes) { return (bytes + LT_ALIGN - 1) / LT_ALIGN * LT_ALIGN; }

/* ---- images ------------------------------------------------------------------------------------------------------ */

void lt_image_of(lt_image *out, lt_arena *a, const lt_graph *g) {
  *out = (lt_image){.item = LT_NEW_ARRAY(a, lt_image_item, g->nodes.n + 1u)};
  int64_t at = LT_IMAGE_HEADER;
  for (int state = 0; state < 2; state++) {
    for (uint32_t i = 0; i < g->nodes.n; i++) {
      const lt_node *n = g->nodes.at[i];
      if (n->op != (state ? LT_OP_state : LT_OP_param)) continue;
      lt_type t = *lt_type_of(g, n->out);
      out->item[out->n++] = (lt_image_item){lt_arena_strdup(a, lt_name_of(g, n->out)), t, at, n->out, !state};
      at += aligned(lt_type_bytes(&t));
    }
    if (!state) out->params_bytes = at;
  }
  out->bytes = at;
}

const lt_image_item *lt_image_find(const lt_image *image, const char *name) {
  for (uint32_t i = 0; image && i < image->n; i++)
    if (!strcmp(image->item[i].name, name)) return &image->item[i];
  return NULL;
}

/* ---- units and their order --------------------------------------------------------------------------------------- */

static bool is_leaf(const lt_node *n) { return lt_op_table[n->op].flags & LT_LEAF; }

static void collect_units(lt_builder *b) {
  const lt_graph *g = b->g;
  uint32_t *of_cluster = LT_NEW_ARRAY(b->a, uint32_t, g->nodes.n + 1u);
  b->unit_of = LT_NEW_ARRAY(b->a, uint32_t, g->nodes.n + 1u);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (!b->live[i] || is_leaf(n) || b->move[i] != LT_MOVE_NOT) continue;
    uint32_t u = n->cluster && n->cluster <= g->nodes.n ? of_cluster[n->cluster] : 0;
    if (!u) {
      lt_vec_push(b->a, &b->unit, (lt_unit){.is_static = true});
      u = b->unit.n;
      if (n->cluster && n->cluster <= g->nodes.n) of_cluster[n->cluster] = u;
    }
    lt_unit *unit = &b->unit.at[u - 1];
    lt_vec_push(b->a, &unit->node, i);
    unit->is_static &= b->fixed[i];
    bool heavy = !(lt_op_table[n->op].flags & LT_MAP);
    if (!unit->root || heavy || lt_op_table[unit->root->op].flags & LT_MAP) unit->root = n;
    b->unit_of[i] = u;
  }
}

static void schedule(lt_builder *b, uint32_t unit);

/* What makes v, before `unit`, which reads it. */
static void schedule_what_makes(lt_builder *b, lt_value v, uint32_t unit) {
  uint32_t u = b->unit_of[lt_node_of(b->g, lt_base(b, v))->id];
  if (u && u - 1 != unit) schedule(b, u - 1);
}

static void schedule(lt_builder *b, uint32_t unit) {
  lt_unit *u = &b->unit.at[unit];
  if (u->done) return;
  if (u->begun) lt_fail(b->job, LATHE_E_INTERNAL, NULL, "the cluster of %s waits for itself", lt_op_table[u->root->op].name);
  u->begun = true;
  for (uint32_t i = 0; i < u->node.n; i++) {
    const lt_node *n = b->g->nodes.at[u->node.at[i]];
    for (unsigned k = 0; k < n->n_in; k++)
      if (n->in[k]) schedule_what_makes(b, n->in[k], unit);
  }
  u->done = true;
  lt_vec_push(b->a, &b->order, unit);
}

/* Units in order of their last node, each after what it needs: what updates a weight comes late, after its readers. */
static void schedule_all(lt_builder *b) {
  for (uint32_t i = 0; i < b->g->nodes.n; i++) {
    uint32_t u = b->unit_of[i];
    if (u && b->unit.at[u - 1].node.at[b->unit.at[u - 1].node.n - 1] == i) schedule(b, u - 1);
  }
}

/* ---- which values have memory ------------------------------------------------------------------------------------ */

static void mark_stored(lt_builder *b) {
  const lt_graph *g = b->g;
  b->stored = LT_NEW_ARRAY(b->a, bool, g->values.n);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (!b->live[i] || is_leaf(n)) continue;
    for (unsigned k = 0; k < n->n_in; k++) {
      if (!n->in[k]) continue;
      uint32_t from = b->unit_of[lt_node_of(g, n->in[k])->id];
      if (from && from != b->unit_of[i]) b->stored[n->in[k]] = true;
    }
  }
  for (uint32_t i = 0; i < g->outputs.n; i++) b->stored[g->outputs.at[i].value] = true;
  for (uint32_t i = 0; i < g->updates.n; i++) b->stored[g->updates.at[i].value] = true;
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

static uint32_t add_buffer(lt_builder *b, lt_buffer x) {
  x.first = x.last = -1;
  lt_vec_push(b->a, &b->buffer, x);
  return b->buffer.n - 1;
}

static const char *value_name(const lt_builder *b, lt_value v) {
  const char *name = lt_name_of(b->g, v);
  return name ? lt_arena_strdup(b->a, name) : lt_arena_printf(b->a, "v%u", v);
}

static lt_place const_place(lt_builder *b, lt_value v) {
  const lt_tensor *t = ((const lt_const_attrs *)lt_node_of(b->g, v)->attrs)->value;
  int64_t bytes = lt_type_bytes(&t->type);
  void *data = lt_arena_zalloc(b->a, (size_t)bytes);
  lt_tensor_export(t, data);
  lt_buffer x = {.region = LT_REGION_CONST, .offset = lt_const_put(b, data, bytes), .bytes = bytes, .dtype = t->type.dtype,
                 .name = value_name(b, v)};
  return (lt_place){add_buffer(b, x), 0, true};
}

lt_place lt_place_of(lt_builder *b, lt_value v) {
  const lt_node *n = lt_node_of(b->g, v);
  if (b->place[v].set) return b->place[v];
  if (b->move[n->id] == LT_MOVE_VIEW) return lt_place_of(b, n->in[0]);
  if (n->op == LT_OP_const) b->place[v] = const_place(b, v);
  return b->place[v];
}

static void place_in(lt_builder *b, lt_value v, lt_region region, uint32_t slot, int64_t offset) {
  const lt_type *t = lt_type_of(b->g, v);
  lt_buffer x = {.region = region, .slot = slot, .offset = offset, .bytes = lt_type_bytes(t), .dtype = t->dtype,
                 .name = value_name(b, v)};
  b->place[v] = (lt_place){add_buffer(b, x), 0, true};
}

static uint32_t add_slot(lt_builder *b, const char *name, const lt_type *t, lt_slot_role role) {
  lt_slot s = {.name = lt_arena_strdup(b->a, name), .type = *t, .role = role};
  lt_vec_push(b->a, &b->slot, s);
  return b->slot.n - 1;
}

static void place_leaves(lt_builder *b) {
  const lt_graph *g = b->g;
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    lt_value v = g->nodes.at[i]->out;
    if (g->nodes.at[i]->op != LT_OP_input || b->phase == LT_PHASE_PACK) continue;
    const lt_image_item *grad = lt_image_find(b->grads, lt_name_of(g, v));
    if (grad) place_in(b, v, LT_REGION_OUT, 0, grad->offset);
    else place_in(b, v, LT_REGION_IO, add_slot(b, lt_name_of(g, v), lt_type_of(g, v), LT_SLOT_INPUT), 0);
  }
  for (uint32_t i = 0; b->phase != LT_PHASE_RUN && i < b->image->n; i++) {
    lt_value v = lt_find(g, b->image->item[i].name);
    if (v) place_in(b, v, LT_REGION_STATE, 0, b->image->item[i].offset);
  }
}

static bool plain(const lt_builder *b, lt_value v) {
  const lt_layout *l = &b->g->values.at[v].layout;
  return l->kind == LT_PLAIN && !l->halo[0] && !l->halo[1] && !l->halo[2] && !l->halo[3];
}

/* The value that a kernel writes when it writes v, if that is its own memory; 0: v is a leaf's or has none. */
static lt_value written_as(const lt_builder *b, lt_value v) {
  while (b->move[lt_node_of(b->g, v)->id] == LT_MOVE_VIEW) v = lt_node_of(b->g, v)->in[0];
  return b->unit_of[lt_node_of(b->g, v)->id] ? v : 0;
}

/* An entry that also updates weights or writes gradients may be called without its outputs (plan.h: kernels that store to one are skipped). So
 * such a kernel must do nothing else, and nobody may read what it writes. */
static bool may_be_skipped(const lt_builder *b, lt_value v) {
  const lt_graph *g = b->g;
  uint32_t unit = b->unit_of[lt_node_of(g, v)->id], stores = 0, wanted = 0;
  for (uint32_t i = 0; i < b->unit.at[unit - 1].node.n; i++) {
    const lt_node *n = g->nodes.at[b->unit.at[unit - 1].node.at[i]];
    for (lt_value r = n->out; r < n->out + n->n_out; r++) stores += b->stored[r];
  }
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    for (unsigned k = 0; b->live[i] && b->unit_of[i] && b->unit_of[i] != unit && k < n->n_in; k++)
      if (n->in[k] && lt_base(b, n->in[k]) == v) return false;
  }
  for (uint32_t i = 0; i < g->outputs.n; i++) wanted += lt_base(b, g->outputs.at[i].value) == v;
  for (uint32_t i = 0; i < g->updates.n; i++) wanted += lt_base(b, g->updates.at[i].value) == v;
  return stores == 1 && wanted == 1 && b->unit.at[unit - 1].root->op != LT_OP_scatter_add;
}

/* Outputs are written where the caller wants them, unless the value stands elsewhere already: then it is copied. */
static void place_outputs(lt_builder *b, uint32_t *slot) {
  const lt_graph *g = b->g;
  for (uint32_t i = 0; i < g->outputs.n; i++) {
    lt_value v = g->outputs.at[i].value, w = written_as(b, v);
    const lt_image_item *grad = lt_image_find(b->grads, g->outputs.at[i].name);
    slot[i] = grad ? 0 : add_slot(b, g->outputs.at[i].name, lt_type_of(g, v), LT_SLOT_OUTPUT);
    bool direct = w && !b->place[w].set && plain(b, w) && !(b->phase == LT_PHASE_RUN && b->fixed[lt_node_of(g, w)->id]);
    if (direct && !grad && (g->updates.n || b->grads)) direct = may_be_skipped(b, w);
    if (direct && grad) place_in(b, w, LT_REGION_OUT, 0, grad->offset);
    else if (direct) place_in(b, w, LT_REGION_IO, slot[i], 0);
  }
}

static void copy_outputs(lt_builder *b, const uint32_t *slot) {
  const lt_graph *g = b->g;
  for (uint32_t i = 0; i < g->outputs.n; i++) {
    lt_value v = g->outputs.at[i].value;
    lt_place p = lt_place_of(b, v);
    const lt_buffer *x = p.set ? &b->buffer.at[p.buffer] : NULL;
    const lt_image_item *grad = lt_image_find(b->grads, g->outputs.at[i].name);
    lt_buffer y = {.region = grad ? LT_REGION_OUT : LT_REGION_IO, .slot = slot[i], .offset = grad ? grad->offset : 0,
                   .bytes = lt_type_bytes(lt_type_of(g, v)), .dtype = lt_type_of(g, v)->dtype,
                   .name = lt_arena_strdup(b->a, g->outputs.at[i].name)};
    if (x && x->region == y.region && x->slot == y.slot && x->offset == y.offset) continue;
    lt_lower_copy(b, v, (lt_place){add_buffer(b, y), 0, true}, g->outputs.at[i].name, "copy");
  }
}

/* ---- updates: all reads see the old value ------------------------------------------------------------------------ */

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
    for (unsigned k = 0; b->live[i] && !is_leaf(n) && k < n->n_in; k++) {
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

static void place_updates(lt_builder *b) {
  const lt_graph *g = b->g;
  for (uint32_t i = 0; i < g->updates.n; i++) {
    lt_value v = g->updates.at[i].value, leaf = g->updates.at[i].leaf;
    uint32_t u = b->unit_of[lt_node_of(g, v)->id];
    if (!u || b->place[v].set || !plain(b, v)) continue;
    if (read_before(b, leaf, u - 1)) b->place[v] = b->place[leaf];
  }
}

/* The rest: first everything into scratch where it is not already safe, then home. */
static void copy_updates(lt_builder *b) {
  const lt_graph *g = b->g;
  lt_place *from = LT_NEW_ARRAY(b->a, lt_place, g->updates.n + 1u);
  for (uint32_t i = 0; i < g->updates.n; i++) {
    lt_value v = g->updates.at[i].value, leaf = g->updates.at[i].leaf;
    lt_place p = lt_place_of(b, v);
    if (p.set && p.buffer == b->place[leaf].buffer) continue;
    bool moves = p.set && b->buffer.at[p.buffer].region == LT_REGION_STATE;
    if (!moves) continue;
    uint32_t keep = lt_scratch(b, value_name(b, leaf), lt_type_of(g, v)->dtype, lt_type_count(lt_type_of(g, v)));
    from[i] = (lt_place){keep, 0, true};
    lt_lower_copy(b, v, from[i], value_name(b, leaf), "update");
  }
  for (uint32_t i = 0; i < g->updates.n; i++) {
    lt_value v = g->updates.at[i].value, leaf = g->updates.at[i].leaf;
    lt_place p = lt_place_of(b, v), old = b->place[v];
    if (p.set && p.buffer == b->place[leaf].buffer) continue;
    if (from[i].set) b->place[v] = from[i];
    lt_lower_copy(b, v, b->place[leaf], value_name(b, leaf), "update");
    b->place[v] = old;
  }
}

/* ---- the packed image -------------------------------------------------------------------------------------------- */

/* What a run reads of the values that depend on weights only: by value, the offset in the packed image; 0: not. */
static int64_t *packed_offsets(const lt_builder *b, int64_t *bytes) {
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
    end += aligned(p.count * (int64_t)lt_dtype_size(lt_type_of(g, v)->dtype));
  }
  *bytes = end > LT_IMAGE_HEADER ? end : 0; /* nothing to keep: no image, and any pointer will do */
  return at;
}

static void place_packed(lt_builder *b, const int64_t *at, lt_region region) {
  for (lt_value v = 1; v < b->g->values.n; v++) {
    if (!at[v]) continue;
    bool leaf = is_leaf(lt_node_of(b->g, v));
    if (leaf && b->phase == LT_PHASE_PACK) continue; /* copied */
    place_in(b, v, region, 0, at[v]);
    lt_phys p;
    lt_phys_of(&p, lt_type_of(b->g, v), &b->g->values.at[v].layout);
    b->buffer.at[b->place[v].buffer].bytes = p.count * (int64_t)lt_dtype_size(lt_type_of(b->g, v)->dtype);
  }
}

static void copy_packed_leaves(lt_builder *b, const int64_t *at) {
  for (lt_value v = 1; v < b->g->values.n; v++) {
    if (!at[v] || !is_leaf(lt_node_of(b->g, v))) continue;
    const lt_type *t = lt_type_of(b->g, v);
    lt_buffer y = {.region = LT_REGION_OUT, .offset = at[v], .bytes = lt_type_bytes(t), .dtype = t->dtype,
                   .name = value_name(b, v)};
    lt_lower_copy(b, v, (lt_place){add_buffer(b, y), 0, true}, value_name(b, v), "pack");
  }
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

static void place_scratch(lt_builder *b, const lt_unit *u) {
  const lt_graph *g = b->g;
  for (uint32_t i = 0; i < u->node.n; i++) {
    const lt_node *n = g->nodes.at[u->node.at[i]];
    for (lt_value v = n->out; v < n->out + n->n_out; v++) {
      if (!b->stored[v] || b->place[v].set) continue;
      lt_phys p;
      lt_phys_of(&p, lt_type_of(g, v), &g->values.at[v].layout);
      b->place[v] = (lt_place){lt_scratch(b, value_name(b, v), lt_type_of(g, v)->dtype, p.count), 0, true};
    }
  }
}

static void set_lifetimes(lt_builder *b) {
  uint32_t ids[300];
  for (uint32_t i = 0; i < b->kernel.n; i++) {
    uint32_t n = lt_kernel_buffers(&b->kernel.at[i], ids, LT_COUNT(ids));
    uint32_t *all = n > LT_COUNT(ids) ? LT_NEW_ARRAY(b->a, uint32_t, n) : ids;
    if (n > LT_COUNT(ids)) lt_kernel_buffers(&b->kernel.at[i], all, n);
    for (uint32_t k = 0; k < n; k++) {
      lt_buffer *x = &b->buffer.at[all[k]];
      if (x->first < 0) x->first = (int32_t)i;
      x->last = (int32_t)i;
    }
  }
}

static void finish(lt_builder *b) {
  lt_plan *p = b->plan;
  set_lifetimes(b);
  p->slot = b->slot.at, p->n_slot = b->slot.n;
  p->buffer = b->buffer.at, p->n_buffer = b->buffer.n;
  p->kernel = b->kernel.at, p->n_kernel = b->kernel.n;
  p->consts = (unsigned char *)b->consts.at, p->const_bytes = (int64_t)b->consts.n;
  lt_plan_memory(p, b->a);
}

static void begin(lt_builder *b, lt_plan *out, lt_arena *a, const lt_graph *g, const lt_image *image, const char *name,
                  lt_phase phase, const lt_image *grads) {
  *out = (lt_plan){.name = lt_arena_strdup(a, name)};
  *b = (lt_builder){.a = a, .job = a->job, .g = g, .image = image, .grads = grads, .phase = phase, .plan = out};
  lt_str_init(&b->consts, a);
  b->live = lt_live_nodes(a, g);
  b->fixed = lt_static_nodes(a, g);
  b->move = lt_moves(a, g, b->live);
  b->place = LT_NEW_ARRAY(a, lt_place, g->values.n);
  collect_units(b);
  mark_stored(b);
  schedule_all(b);
  place_leaves(b);
}

static void lower_units(lt_builder *b) {
  for (uint32_t i = 0; i < b->order.n; i++) {
    const lt_unit *u = &b->unit.at[b->order.at[i]];
    if (b->phase != LT_PHASE_ALL && u->is_static != (b->phase == LT_PHASE_PACK)) continue;
    place_scratch(b, u);
    lt_lower_unit(b, u);
  }
}

void lt_plan_half(lt_plan *out, lt_arena *a, const lt_graph *g, const lt_image *image, const lt_image *grads, const char *name) {
  lt_builder b;
  begin(&b, out, a, g, image, name, LT_PHASE_ALL, grads);
  uint32_t *slot = LT_NEW_ARRAY(a, uint32_t, g->outputs.n + 1u);
  place_updates(&b);
  place_outputs(&b, slot);
  lower_units(&b);
  copy_outputs(&b, slot);
  copy_updates(&b);
  out->region_bytes = image->n ? image->bytes : 0;
  out->out_bytes = grads ? grads->bytes : 0;
  finish(&b);
}

void lt_plan_single(lt_plan *out, lt_arena *a, const lt_graph *g, const lt_image *image, const char *name) {
  lt_plan_half(out, a, g, image, NULL, name);
}

void lt_plan_split(lt_plan *run, lt_plan *pack, lt_arena *a, const lt_graph *g, const lt_image *image, const char *name) {
  lt_builder b;
  int64_t bytes, *at;
  begin(&b, pack, a, g, image, "pack", LT_PHASE_PACK, NULL);
  at = packed_offsets(&b, &bytes);
  place_packed(&b, at, LT_REGION_OUT);
  lower_units(&b);
  copy_packed_leaves(&b, at);
  pack->region_bytes = image->n ? image->bytes : 0, pack->out_bytes = bytes;
  finish(&b);
  begin(&b, run, a, g, image, name, LT_PHASE_RUN, NULL);
  uint32_t *slot = LT_NEW_ARRAY(a, uint32_t, g->outputs.n + 1u);
  place_packed(&b, at, LT_REGION_STATE);
  place_outputs(&b, slot);
  lower_units(&b);
  copy_outputs(&b, slot);
  run->region_bytes = bytes;
  finish(&b);
}
