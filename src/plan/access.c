/* access.c: from coordinates of a value to an address, and the expressions that read values.
 *
 * A value's coordinates are affine forms of the kernel's dims. Values that are never stored (virtual movement) are read
 * by changing the coordinates until a stored value is reached; constants that are the same everywhere become
 * numbers. */
#include "plan/build.h"

/* ---- coordinates ---- */

lt_coord lt_coord_zero(void) { return (lt_coord){.div = 1}; }

lt_coord lt_coord_affine(int dim, int64_t coef, int64_t add) {
  lt_coord c = {.div = 1, .add = add};
  c.coef[dim] = coef;
  return c;
}

void lt_coord_window(lt_coord *c, const lt_window_axis *a, int tap) {
  for (int d = 0; d < LT_MAX_DIMS; d++) c->coef[d] *= a->stride;
  c->coef[tap] = a->dilation;
  c->add = c->add * a->stride - a->before, c->limit = a->size;
}

void lt_coord_adjoint(lt_coord *c, const lt_window_axis *a, int tap) {
  c->coef[tap] = -a->dilation;
  c->add += a->before, c->div = a->stride, c->limit = a->windows;
}

lt_coord lt_coord_dim(int dim) { return lt_coord_affine(dim, 1, 0); }

/* Coordinates of an operand of type `of` that broadcasts into `shape`, whose element is `at`. */
void lt_at_broadcast(lt_at *out, const lt_at *at, const lt_type *shape, const lt_type *of) {
  lt_at r = {.fill = at->fill};
  int skip = shape->rank - of->rank;
  for (int i = 0; i < of->rank; i++) {
    bool repeat = of->dim[i] == 1 && shape->dim[i + skip] != 1;
    r.c[i] = repeat ? lt_coord_zero() : at->c[i + skip];
  }
  *out = r;
}

lt_value lt_resolve(const lt_builder *b, lt_value v, lt_at *at) {
  for (;;) {
    const lt_node *n = lt_node_of(b->g, v);
    if (b->move[n->id] != LT_MOVE_VIRTUAL) return v;
    lt_move_back(at, b->g, n);
    v = n->in[0];
  }
}

/* Is every element of the result one of the operand's? */
static bool only_moves(lt_mover how) {
  switch (how) {
  case LT_MOVES_VIEW: case LT_MOVES_INDEX: case LT_MOVES_REPEAT: return true;
  case LT_MOVES_PAD: case LT_MOVES_COPY: case LT_MOVES_PICK: case LT_MOVES__: return false;
  }
  return false;
}

bool lt_splat(const lt_builder *b, lt_value v, double *out) {
  const lt_node *n = lt_node_of(b->g, v);
  while (only_moves(lt_facts(n)->moves)) {
    v = n->in[0];
    n = lt_node_of(b->g, v);
  }
  if (n->op != LT_OP_const) return false;
  const lt_data *d = ((const lt_const_attrs *)n->attrs)->value;
  if (!lt_data_splat(d)) return false; /* compared as bits: NaN and -0 count */
  *out = lt_data_at(d, 0);
  int64_t whole = 0;
  if (d->type.dtype == LT_I64) memcpy(&whole, d->at, sizeof whole);
  return d->type.dtype != LT_I64 || (*out < 0x1p63 && (int64_t)*out == whole); /* a double holds it */
}

/* ---- addresses ---- */

lt_access lt_access_zero(uint32_t buffer, int64_t offset) { return (lt_access){.buffer = buffer, .offset = offset}; }

void lt_access_axis(lt_kernel_builder *kb, lt_access *a, const lt_coord *c, int64_t stride) {
  if (!c->limit) {
    a->offset += (c->add + c->shift) * stride;
    for (int k = 0; k < LT_MAX_DIMS; k++) a->stride[k] += c->coef[k] * stride;
    return;
  }
  lt_index *index = LT_NEW_ARRAY(kb->b->a, lt_index, a->n_index + 1u);
  if (a->n_index) memcpy(index, a->index, a->n_index * sizeof *index);
  lt_index *q = &index[a->n_index++];
  memcpy(q->coef, c->coef, sizeof q->coef);
  q->add = c->add, q->div = c->div, q->limit = c->limit, q->stride = stride;
  a->offset += c->shift * stride;
  a->index = index;
}

/* Adds channel `c` of a blocked value of `blocks` blocks. Channel q stands in block q / 16, lane q mod 16, which is
 * affine in the dims only where the terms that are no multiples of 16 stay within one block together:
 *   16·i + l, l < 16           block i, lane l
 *   20·g + 16·i + l            no: group 1 begins in lane 4, so its lanes 12 to 15 stand in the next block
 *   48 + 16·i + 8·h + l, l < 8, h < 2    block i + 3, lane 8·h + l
 * False where it is not so, or where a block would be outside the value. */
static bool lt_add_channel(const lt_kernel_builder *kb, lt_access *a, const lt_coord *c, int64_t block,
                           int64_t blocks) {
  int64_t add = c->add + c->shift;
  if (c->limit || c->div != 1 || add < 0) return false;
  int64_t lane[2] = {add % LT_LANES, add % LT_LANES}, at[2] = {add / LT_LANES, add / LT_LANES}; /* least and largest */
  for (int k = 0; k < LT_MAX_DIMS; k++) {
    int64_t coef = c->coef[k], last = kb->k.extent[k] - 1;
    if (!coef) continue;
    bool whole = coef % LT_LANES == 0;
    a->stride[k] += whole ? coef / LT_LANES * block : coef;
    (whole ? at : lane)[coef > 0] += (whole ? coef / LT_LANES : coef) * last;
    if (last < 0) return false; /* not a dim of this kernel */
  }
  a->offset += add / LT_LANES * block + add % LT_LANES;
  return lane[0] >= 0 && lane[1] < LT_LANES && at[0] >= 0 && at[1] < blocks;
}

/* Are the kernel's lanes those of this blocked value, so that those that do not exist are the last block's spare
 * ones? */
static bool lt_lanes_are_own(const lt_kernel_builder *kb, const lt_type *t, const lt_at *at) {
  int lane = kb->k.n_dims - 1;
  const lt_coord *c = &at->c[1];
  for (int i = 0; i < t->rank; i++)
    if (i != 1 && at->c[i].coef[lane]) return false;
  return t->dim[1] == kb->k.channels && c->coef[lane] == 1 && c->coef[kb->k.block_dim] == LT_LANES &&
         c->add + c->shift == 0;
}

lt_access lt_access_at(lt_kernel_builder *kb, lt_value v, const lt_at *at) {
  const lt_graph *g = kb->b->g;
  const lt_type *t = lt_type_of(g, v);
  const lt_layout *l = &g->values.at[v].layout;
  lt_place p = lt_place_of(kb->b, v);
  if (!p.set)
    lt_fail(kb->b->job, LATHE_E_INTERNAL, NULL, "kernel `%s` reads value %u (%s), which is not stored", kb->k.name, v,
            lt_op_table[lt_op_of(g, v)].name);
  lt_phys ph;
  lt_phys_at(&ph, kb->b, v);
  lt_access a = {.buffer = p.buffer, .offset = p.offset + ph.offset, .fill = at->fill};
  for (int i = 0; i < t->rank; i++) {
    if (i != 1 || l->kind != LT_BLOCKED) lt_access_axis(kb, &a, &at->c[i], ph.stride[i]);
    else if (!lt_add_channel(kb, &a, &at->c[i], ph.block, lt_ceil_div(t->dim[1], LT_LANES)))
      lt_fail(kb->b->job, LATHE_E_INTERNAL, NULL,
              "kernel `%s` (%s) reads channels of the blocked value %u (%s) out of step", kb->k.name, kb->k.op, v,
              lt_op_table[lt_op_of(g, v)].name);
  }
  bool tail = kb->k.block_dim != LT_NONE && kb->k.channels % LT_LANES != 0;
  bool lanes = a.stride[kb->k.n_dims - 1] != 0;
  for (int i = 0; i < a.n_index; i++) lanes |= a.index[i].coef[kb->k.n_dims - 1] != 0;
  a.masked = tail && lanes && (l->kind != LT_BLOCKED || !lt_lanes_are_own(kb, t, at));
  return a;
}

/* ---- expressions ---- */

int32_t lt_x_push(lt_kernel_builder *kb, lt_instr x) {
  lt_vec_push(kb->b->a, kb->x, x);
  return (int32_t)kb->x->n - 1;
}

int32_t lt_x_const(lt_kernel_builder *kb, lt_dtype t, double v) {
  return lt_x_push(kb, (lt_instr){.kind = LT_X_CONST, .dtype = t, .value = v, .arg = {-1, -1, -1}});
}

static bool lt_access_same(const lt_access *a, const lt_access *b) {
  if (a->buffer != b->buffer || a->offset != b->offset || a->masked != b->masked || a->n_index != b->n_index)
    return false;
  if (memcmp(a->stride, b->stride, sizeof a->stride) != 0) return false;
  for (int i = 0; i < a->n_index; i++) {
    const lt_index *p = &a->index[i], *q = &b->index[i];
    if (memcmp(p->coef, q->coef, sizeof p->coef) != 0 || p->add != q->add || p->div != q->div || p->limit != q->limit ||
        p->stride != q->stride)
      return false;
  }
  return !a->n_index || a->fill == b->fill;
}

/* The same load twice in an expression is one instruction. */
int32_t lt_x_load(lt_kernel_builder *kb, lt_dtype t, lt_access a) {
  for (uint32_t i = 0; i < kb->x->n; i++) {
    const lt_instr *x = &kb->x->at[i];
    if (x->kind == LT_X_LOAD && lt_access_same(&kb->access.at[x->access], &a)) return (int32_t)i;
  }
  lt_vec_push(kb->b->a, &kb->access, a);
  return lt_x_push(kb,
                   (lt_instr){.kind = LT_X_LOAD, .dtype = t, .access = (int32_t)kb->access.n - 1, .arg = {-1, -1, -1}});
}

int32_t lt_x_map(lt_kernel_builder *kb, lt_op op, lt_dtype t, int32_t a, int32_t b) {
  return lt_x_push(kb, (lt_instr){.kind = LT_X_MAP, .op = op, .dtype = t, .arg = {a, b, -1}});
}

int32_t lt_x_result(lt_kernel_builder *kb, lt_dtype t) {
  return lt_x_push(kb, (lt_instr){.kind = LT_X_RESULT, .dtype = t, .arg = {-1, -1, -1}});
}

int32_t lt_x_index(lt_kernel_builder *kb, const lt_coord *c) {
  int32_t sum = -1;
  for (int k = 0; k < LT_MAX_DIMS; k++) {
    if (!c->coef[k]) continue;
    int32_t i = lt_x_push(kb, (lt_instr){.kind = LT_X_INDEX, .dtype = LT_I64, .access = k, .arg = {-1, -1, -1}});
    if (c->coef[k] != 1) i = lt_x_map(kb, LT_OP_mul, LT_I64, i, lt_x_const(kb, LT_I64, (double)c->coef[k]));
    sum = sum < 0 ? i : lt_x_map(kb, LT_OP_add, LT_I64, sum, i);
  }
  if (sum < 0) return lt_x_const(kb, LT_I64, (double)(c->add + c->shift));
  if (c->add + c->shift)
    sum = lt_x_map(kb, LT_OP_add, LT_I64, sum, lt_x_const(kb, LT_I64, (double)(c->add + c->shift)));
  return sum;
}

int32_t lt_x_read(lt_kernel_builder *kb, lt_value v, const lt_at *at) {
  const lt_graph *g = kb->b->g;
  lt_dtype t = lt_type_of(g, v)->dtype;
  double splat;
  if (lt_splat(kb->b, v, &splat)) return lt_x_const(kb, t, splat);
  lt_at moved = *at;
  lt_value from = lt_resolve(kb->b, v, &moved);
  return lt_x_load(kb, t, lt_access_at(kb, from, &moved));
}

int32_t lt_x_read_loaded(lt_kernel_builder *kb, lt_value v, const lt_at *at) {
  lt_at moved = *at;
  lt_value from = lt_resolve(kb->b, v, &moved);
  return lt_x_load(kb, lt_type_of(kb->b->g, v)->dtype, lt_access_at(kb, from, &moved));
}

int32_t lt_x_cast(lt_kernel_builder *kb, lt_dtype t, int32_t x) {
  lt_cast_attrs *a = LT_NEW(kb->b->a, lt_cast_attrs);
  a->dtype = t;
  return lt_x_push(kb, (lt_instr){.kind = LT_X_MAP, .op = LT_OP_cast, .attrs = a, .dtype = t, .arg = {x, -1, -1}});
}

/* The plan outlives the graph. */
static const void *kept_attrs(lt_kernel_builder *kb, const lt_node *n) {
  void *attrs = lt_arena_zalloc(kb->b->a, lt_op_table[n->op].attrs_size);
  lt_attrs_copy(kb->b->a, n->op, attrs, n->attrs);
  return attrs;
}

int32_t lt_x_value(lt_kernel_builder *kb, lt_value v) {
  const lt_memo *known = &kb->b->memo[v];
  if (known->stamp == kb->stamp) return known->x;
  const lt_graph *g = kb->b->g;
  const lt_node *n = lt_node_of(g, v);
  bool member = kb->unit && lt_unit_has(kb->unit, n->id) && (lt_op_table[n->op].flags & LT_MAP);
  int32_t r;
  if (!member) {
    lt_at at;
    lt_at_broadcast(&at, &kb->at, &kb->shape, lt_type_of(g, v));
    r = lt_x_read(kb, v, &at);
  } else {
    int32_t arg[3] = {-1, -1, -1};
    for (unsigned i = 0; i < n->n_in && i < 3; i++)
      if (n->in[i]) arg[i] = lt_x_value(kb, n->in[i]);
    r = lt_x_push(kb, (lt_instr){.kind = LT_X_MAP,
                                 .op = n->op,
                                 .attrs = kept_attrs(kb, n),
                                 .dtype = lt_type_of(g, v)->dtype,
                                 .arg = {arg[0], arg[1], arg[2]}});
    if (n != kb->unit->root) lt_kernel_fuse(kb, n);
  }
  kb->b->memo[v] = (lt_memo){kb->stamp, r};
  return r;
}
