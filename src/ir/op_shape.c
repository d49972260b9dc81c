/* op_shape.c: ops that move or repeat elements and compute nothing. Each gradient is the adjoint movement: back to the
 * old shape, or for repeats and overlaps a sum. */
#include "ir/op_util.h"

/* y[i] = x[off] for a walk over y's shape with x's strides; off0 is where the walk starts. */
static void move(lt_walk *w, const lt_tensor *x, int64_t off0, lt_tensor *y) {
  for (int64_t i = 0, n = lt_type_count(&y->type); i < n; i++, lt_walk_next(w))
    lt_tensor_move(y, i, x, off0 + w->off[0]);
}

/* ---- reshape, flatten -------------------------------------------------------------------------------------------- */

LT_INFER(reshape) {
  lt_reshape_attrs *a = attrs;
  const lt_op op = LT_OP_reshape;
  lt_type x = *lt_type_of(g, in[0]), y;
  const char *shape = lt_ints_text(&g->arena, a->shape.v, a->shape.n);
  int64_t hole = -1, known = 1, count = lt_type_count(&x);
  if (a->shape.n > LT_MAX_RANK) lt_node_fail(g, op, "shape %s has more than %d axes", shape, LT_MAX_RANK);
  for (int64_t i = 0; i < a->shape.n; i++) {
    int64_t d = a->shape.v[i];
    if (d == -1 && hole >= 0) lt_node_fail(g, op, "shape %s has more than one -1", shape);
    if (d == -1) hole = i;
    else if (d < 1) lt_node_fail(g, op, "every dim of shape %s must be at least 1, or one of them -1", shape);
    else if (!lt_mul_ok(&known, known, d)) lt_node_fail(g, op, "the size of shape %s overflows", shape);
  }
  if (hole >= 0 && count % known == 0) a->shape.v[hole] = count / known, known = count;
  if (known != count)
    lt_node_fail(g, op, "x %s has %lld elements, which do not fit shape %s", lt_text_of(g, in[0]), (long long)count,
                 shape);
  y = lt_make_type(x.dtype, (unsigned)a->shape.n, a->shape.v);
  *out_type = y;
}
LT_EVAL(reshape) { lt_tensor_assign(out[0], in[0]); }
LT_VJP(reshape) { gin[0] = lt_reshape_like(v->g, gout[0], lt_type_of(v->g, in[0])); }

LT_INFER(flatten) {
  const lt_type x = *lt_type_of(g, in[0]);
  if (x.rank < 1) lt_node_fail(g, LT_OP_flatten, "x %s must have at least rank 1", lt_text_of(g, in[0]));
  *out_type = lt_make_type(x.dtype, 2, (int64_t[]){x.dim[0], lt_type_count(&x) / x.dim[0]});
}
LT_EVAL(flatten) { lt_tensor_assign(out[0], in[0]); }
LT_EXPAND(flatten) {
  const lt_type x = *lt_type_of(g, in[0]);
  out[0] = lt_reshape(g, in[0], 2, (int64_t[]){x.dim[0], lt_type_count(&x) / x.dim[0]});
}
LT_VJP(flatten) { gin[0] = lt_reshape_like(v->g, gout[0], lt_type_of(v->g, in[0])); }

/* ---- transpose --------------------------------------------------------------------------------------------------- */

LT_INFER(transpose) {
  lt_transpose_attrs *a = attrs;
  const lt_type x = *lt_type_of(g, in[0]);
  bool seen[LT_MAX_RANK] = {false};
  if (a->perm.n == 0)
    for (unsigned i = 0; i < x.rank; i++) a->perm.v[a->perm.n++] = x.rank - 1 - i;
  const char *perm = lt_ints_text(&g->arena, a->perm.v, a->perm.n);
  bool good = a->perm.n == x.rank;
  for (unsigned i = 0; good && i < x.rank; i++) {
    int64_t k = a->perm.v[i];
    good = k >= 0 && k < x.rank && !seen[k];
    if (good) seen[k] = true;
  }
  if (!good)
    lt_node_fail(g, LT_OP_transpose, "perm %s must name each of the %u axes of x %s once", perm, x.rank,
                 lt_text_of(g, in[0]));
  out_type->dtype = x.dtype;
  out_type->rank = x.rank;
  for (unsigned i = 0; i < x.rank; i++) out_type->dim[i] = x.dim[a->perm.v[i]];
}
LT_EVAL(transpose) {
  const lt_transpose_attrs *a = n->attrs;
  int64_t from[LT_MAX_RANK], stride[LT_MAX_RANK] = {0};
  lt_type_strides(&in[0]->type, from);
  for (unsigned i = 0; i < in[0]->type.rank; i++) stride[i] = from[a->perm.v[i]];
  lt_walk w;
  lt_walk_init(&w, &out[0]->type);
  lt_walk_add_strides(&w, stride);
  move(&w, in[0], 0, out[0]);
}
LT_VJP(transpose) {
  const lt_transpose_attrs *a = n->attrs;
  int64_t back[LT_MAX_RANK] = {0};
  for (int64_t i = 0; i < a->perm.n; i++) back[a->perm.v[i]] = i;
  gin[0] = lt_transpose(v->g, gout[0], back);
}

/* ---- broadcast_to ------------------------------------------------------------------------------------------------ */

LT_INFER(broadcast_to) {
  const lt_broadcast_to_attrs *a = attrs;
  const lt_type x = *lt_type_of(g, in[0]);
  const char *shape = lt_ints_text(&g->arena, a->shape.v, a->shape.n);
  bool good = a->shape.n <= LT_MAX_RANK && a->shape.n >= x.rank;
  for (int64_t i = 0; good && i < a->shape.n; i++) {
    int64_t k = i - (a->shape.n - x.rank);
    good = a->shape.v[i] >= 1 && (k < 0 || x.dim[k] == 1 || x.dim[k] == a->shape.v[i]);
  }
  if (!good) lt_node_fail(g, LT_OP_broadcast_to, "x %s does not broadcast to shape %s", lt_text_of(g, in[0]), shape);
  *out_type = lt_make_type(x.dtype, (unsigned)a->shape.n, a->shape.v);
}
LT_EVAL(broadcast_to) {
  lt_walk w;
  lt_walk_init(&w, &out[0]->type);
  lt_walk_add(&w, &in[0]->type);
  move(&w, in[0], 0, out[0]);
}
LT_VJP(broadcast_to) {
  const lt_type x = *lt_type_of(v->g, in[0]);
  gin[0] = lt_sum_to(v->g, gout[0], &x);
}

/* ---- concat ------------------------------------------------------------------------------------------------------ */

LT_INFER(concat) {
  lt_concat_attrs *a = attrs;
  const lt_op op = LT_OP_concat;
  a->axis = lt_need_axis(g, op, in[0], a->axis);
  lt_type t = *lt_type_of(g, in[0]);
  for (unsigned k = 1; k < n_in; k++) {
    const lt_type x = *lt_type_of(g, in[k]);
    lt_need_dtype(g, op, "the first operand", in[0], "another", in[k]);
    bool equal = x.rank == t.rank;
    for (unsigned i = 0; equal && i < x.rank; i++) equal = x.dim[i] == t.dim[i] || (int64_t)i == a->axis;
    if (!equal)
      lt_node_fail(g, op, "%s and %s must be equal but for axis %lld", lt_text_of(g, in[0]), lt_text_of(g, in[k]),
                   (long long)a->axis);
    if (!lt_add_ok(&t.dim[a->axis], t.dim[a->axis], x.dim[a->axis]))
      lt_node_fail(g, op, "the sum of the extents along axis %lld overflows", (long long)a->axis);
  }
  *out_type = t;
}

/* Elements behind (and with) the axis: blocks that stay together. */
static int64_t block_of(const lt_type *t, int64_t axis) {
  int64_t n = 1;
  for (unsigned i = (unsigned)axis; i < t->rank; i++) n *= t->dim[i];
  return n;
}
LT_EVAL(concat) {
  const lt_concat_attrs *a = n->attrs;
  int64_t whole = block_of(&out[0]->type, a->axis), outer = lt_type_count(&out[0]->type) / whole, at = 0;
  for (unsigned k = 0; k < n->n_in; k++) {
    int64_t part = block_of(&in[k]->type, a->axis);
    for (int64_t i = 0; i < outer; i++)
      memcpy(out[0]->f + i * whole + at, in[k]->f + i * part, (size_t)part * sizeof(double));
    at += part;
  }
}
LT_VJP(concat) {
  const lt_concat_attrs *a = n->attrs;
  int64_t at = 0;
  for (unsigned k = 0; k < n->n_in; k++) {
    int64_t extent = lt_type_of(v->g, in[k])->dim[a->axis];
    lt_slice_attrs s = {.axes = {1, {a->axis}}, .starts = {1, {at}}, .ends = {1, {at + extent}}};
    gin[k] = lt_emit(v->g, LT_OP_slice, &s, gout, 1);
    at += extent;
  }
}

/* ---- slice ------------------------------------------------------------------------------------------------------- */

static int64_t clamp_index(int64_t i, int64_t dim) {
  if (i < 0) i += dim;
  return i < 0 ? 0 : i > dim ? dim : i;
}

LT_INFER(slice) {
  lt_slice_attrs *a = attrs;
  const lt_op op = LT_OP_slice;
  lt_type t = *lt_type_of(g, in[0]);
  bool seen[LT_MAX_RANK] = {false};
  if (a->axes.n == 0)
    for (int64_t i = 0; i < a->starts.n; i++) a->axes.v[a->axes.n++] = i;
  if (a->axes.n != a->starts.n || a->axes.n != a->ends.n)
    lt_node_fail(g, op, "axes, starts and ends differ in length: %lld, %lld, %lld", (long long)a->axes.n,
                 (long long)a->starts.n, (long long)a->ends.n);
  for (int64_t i = 0; i < a->axes.n; i++) {
    int64_t k = a->axes.v[i] = lt_need_axis(g, op, in[0], a->axes.v[i]), from = a->starts.v[i], to = a->ends.v[i];
    if (seen[k])
      lt_node_fail(g, op, "axis %lld is named twice in axes=%s", (long long)k,
                   lt_ints_text(&g->arena, a->axes.v, a->axes.n));
    seen[k] = true;
    a->starts.v[i] = clamp_index(from, t.dim[k]);
    a->ends.v[i] = clamp_index(to, t.dim[k]);
    if (a->starts.v[i] >= a->ends.v[i])
      lt_node_fail(g, op, "nothing is left of axis %lld of x %s between %lld and %lld", (long long)k,
                   lt_text_of(g, in[0]), (long long)from, (long long)to);
    t.dim[k] = a->ends.v[i] - a->starts.v[i];
  }
  *out_type = t;
}
LT_EVAL(slice) {
  const lt_slice_attrs *a = n->attrs;
  int64_t stride[LT_MAX_RANK], first = 0;
  lt_type_strides(&in[0]->type, stride);
  for (int64_t i = 0; i < a->axes.n; i++) first += a->starts.v[i] * stride[a->axes.v[i]];
  lt_walk w;
  lt_walk_init(&w, &out[0]->type);
  lt_walk_add_strides(&w, stride);
  move(&w, in[0], first, out[0]);
}
LT_VJP(slice) {
  const lt_slice_attrs *a = n->attrs;
  const lt_type x = *lt_type_of(v->g, in[0]);
  lt_pad_attrs p = {.pads = {2 * x.rank, {0}}};
  for (int64_t i = 0; i < a->axes.n; i++) {
    int64_t k = a->axes.v[i];
    p.pads.v[k] = a->starts.v[i];
    p.pads.v[x.rank + k] = x.dim[k] - a->ends.v[i];
  }
  gin[0] = lt_emit(v->g, LT_OP_pad, &p, gout, 1);
}

/* ---- pad --------------------------------------------------------------------------------------------------------- */

LT_INFER(pad) {
  const lt_pad_attrs *a = attrs;
  const lt_op op = LT_OP_pad;
  lt_type t = *lt_type_of(g, in[0]);
  const char *pads = lt_ints_text(&g->arena, a->pads.v, a->pads.n);
  if (a->pads.n != 2 * (int64_t)t.rank)
    lt_node_fail(g, op, "pads %s must have two numbers for each axis of x %s: all begins, then all ends", pads,
                 lt_text_of(g, in[0]));
  for (unsigned i = 0; i < t.rank; i++) {
    int64_t before = a->pads.v[i], behind = a->pads.v[t.rank + i];
    if (before < 0 || behind < 0)
      lt_node_fail(g, op, "pads %s must not be negative\nhelp: slice cuts elements off", pads);
    if (!lt_add_ok(&t.dim[i], t.dim[i], before) || !lt_add_ok(&t.dim[i], t.dim[i], behind))
      lt_node_fail(g, op, "the padded size of x %s overflows with pads %s", lt_text_of(g, in[0]), pads);
  }
  *out_type = t;
}
LT_EVAL(pad) {
  const lt_pad_attrs *a = n->attrs;
  int64_t stride[LT_MAX_RANK], first = 0, count = lt_type_count(&in[0]->type);
  for (int64_t i = 0, all = lt_type_count(&out[0]->type); i < all; i++) lt_tensor_set(out[0], i, a->value);
  lt_type_strides(&out[0]->type, stride);
  for (unsigned i = 0; i < in[0]->type.rank; i++) first += a->pads.v[i] * stride[i];
  lt_walk w;
  lt_walk_init(&w, &in[0]->type);
  lt_walk_add_strides(&w, stride);
  for (int64_t i = 0; i < count; i++, lt_walk_next(&w)) lt_tensor_move(out[0], first + w.off[0], in[0], i);
}
LT_VJP(pad) {
  const lt_pad_attrs *a = n->attrs;
  const lt_type x = *lt_type_of(v->g, in[0]);
  lt_slice_attrs s = {.axes = {x.rank, {0}}, .starts = {x.rank, {0}}, .ends = {x.rank, {0}}};
  for (unsigned i = 0; i < x.rank; i++) {
    s.axes.v[i] = i;
    s.starts.v[i] = a->pads.v[i];
    s.ends.v[i] = a->pads.v[i] + x.dim[i];
  }
  gin[0] = lt_emit(v->g, LT_OP_slice, &s, gout, 1);
}

/* Does p put zeros around its operand along one axis only? */
static bool pads_along(const lt_node *p, unsigned rank, unsigned *axis) {
  const lt_pad_attrs *a = p->attrs;
  unsigned n = 0;
  if (p->op != LT_OP_pad || a->value != 0) return false;
  for (unsigned i = 0; i < rank; i++)
    if (a->pads.v[i] || a->pads.v[i + rank]) *axis = i, n++;
  return n == 1;
}

lt_value lt_add_padded(lt_graph *g, lt_value x, lt_value y) {
  const unsigned rank = lt_type_of(g, x)->rank;
  const lt_node *p = lt_node_of(g, x), *q = lt_node_of(g, y);
  unsigned axis = 0, other = 0;
  if (!pads_along(p, rank, &axis) || !pads_along(q, rank, &other) || axis != other) return 0;
  const lt_pad_attrs *a = p->attrs, *b = q->attrs;
  const int64_t all = lt_type_of(g, x)->dim[axis];
  if (a->pads.v[axis] > b->pads.v[axis]) {
    const lt_pad_attrs *later = a;
    const lt_node *behind = p;
    a = b, b = later, p = q, q = behind;
  }
  lt_pad_attrs around = *a;
  if (all - a->pads.v[axis + rank] != b->pads.v[axis]) return 0;
  around.pads.v[axis + rank] = b->pads.v[axis + rank];
  const lt_concat_attrs along = {.axis = axis};
  const lt_value both = lt_emit(g, LT_OP_concat, &along, (lt_value[]){p->in[0], q->in[0]}, 2);
  const bool whole = !around.pads.v[axis] && !around.pads.v[axis + rank];
  return whole ? both : lt_emit(g, LT_OP_pad, &around, &both, 1);
}
