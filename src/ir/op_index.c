/* op_index.c: elements chosen by indices: take, for whole slices of an axis. It is made of gather, whose index is the
 * same for all that the axis does not count; lowering reads that index where it stands, without repeating it. */
#include <math.h>

#include "ir/op_util.h"

/* Of x [before…, size, after…] the result is [before…, index…, after…]. */
static lt_type taken(const lt_type *x, const lt_type *index, int64_t axis) {
  lt_type y = {.dtype = x->dtype};
  for (int64_t i = 0; i < axis; i++) y.dim[y.rank++] = x->dim[i];
  for (unsigned i = 0; i < index->rank; i++) y.dim[y.rank++] = index->dim[i];
  for (unsigned i = (unsigned)axis + 1; i < x->rank; i++) y.dim[y.rank++] = x->dim[i];
  return y;
}

LT_INFER(take) {
  lt_take_attrs *a = attrs;
  const lt_op op = LT_OP_take;
  lt_need_float(g, op, "x", in[0]);
  const lt_type x = *lt_type_of(g, in[0]), index = *lt_type_of(g, in[1]);
  if (index.dtype != LT_I32 && index.dtype != LT_I64)
    lt_node_fail(g, op, "index %s must be i32 or i64", lt_text_of(g, in[1]));
  if (x.rank == 0) lt_node_fail(g, op, "x %s has no axes", lt_text_of(g, in[0]));
  if (x.rank - 1u + index.rank > LT_MAX_RANK)
    lt_node_fail(g, op, "x %s and index %s give more than %d axes", lt_text_of(g, in[0]), lt_text_of(g, in[1]),
                 LT_MAX_RANK);
  a->axis = lt_need_axis(g, op, in[0], a->axis);
  *out_type = taken(&x, &index, a->axis);
}

LT_EVAL(take) {
  const int64_t axis = ((const lt_take_attrs *)n->attrs)->axis, chosen = lt_type_count(&in[1]->type);
  const lt_type *x = &in[0]->type;
  int64_t before = 1, after = 1, size = x->dim[axis];
  for (int64_t i = 0; i < axis; i++) before *= x->dim[i];
  for (unsigned i = (unsigned)axis + 1; i < x->rank; i++) after *= x->dim[i];
  for (int64_t i = 0; i < before * chosen * after; i++) {
    const int64_t row = i / after / chosen, k = in[1]->i[i / after % chosen];
    out[0]->f[i] = k < 0 ? 0.0 : k >= size ? NAN : in[0]->f[(row * size + k) * after + i % after];
  }
}

/* index as one axis of x's, the same everywhere else: `shape` is that of the elements chosen. */
static lt_value spread_index(lt_graph *g, lt_value x, lt_value index, int64_t axis, lt_type *shape) {
  *shape = *lt_type_of(g, x);
  lt_type one = {.rank = shape->rank};
  for (unsigned i = 0; i < one.rank; i++) one.dim[i] = 1;
  one.dim[axis] = shape->dim[axis] = lt_type_count(lt_type_of(g, index));
  lt_type repeated = *shape;
  repeated.dtype = lt_type_of(g, index)->dtype;
  return lt_broadcast_to(g, lt_reshape_like(g, index, &one), &repeated);
}

LT_EXPAND(take) {
  const lt_take_attrs *a = n->attrs;
  lt_gather_attrs ga = {.axis = a->axis};
  const lt_type y = taken(lt_type_of(g, in[0]), lt_type_of(g, in[1]), a->axis);
  lt_type shape;
  lt_value index = spread_index(g, in[0], in[1], a->axis, &shape);
  lt_value chosen = lt_emit(g, LT_OP_gather, &ga, (lt_value[]){in[0], index}, 2);
  out[0] = lt_reshape_like(g, chosen, &y);
}

LT_VJP(take) {
  const lt_take_attrs *a = n->attrs;
  lt_scatter_add_attrs s = {.axis = a->axis, .size = lt_type_of(v->g, in[0])->dim[a->axis]};
  lt_type shape;
  lt_value index = spread_index(v->g, in[0], in[1], a->axis, &shape);
  lt_value each = lt_reshape_like(v->g, gout[0], &shape);
  gin[0] = lt_emit(v->g, LT_OP_scatter_add, &s, (lt_value[]){each, index}, 2);
}
