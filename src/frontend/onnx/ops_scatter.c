/* ops_scatter.c: elements put at, or picked from, places that indices name: GatherND, ScatterElements,
 * ScatterND. All are a take or a scatter_add of a reshaped operand: an index over several axes is made one over
 * those axes as one, on values, so that it may be computed; what is known of it folds away.
 *
 * A scatter that replaces elements keeps x where nothing is put: where as many ones, scattered alike, give zero. */
#include "frontend/onnx/import.h"

static int64_t product(const int64_t *dim, unsigned n) {
  int64_t p = 1;
  for (unsigned i = 0; i < n; i++) p *= dim[i];
  return p;
}

static void need_floats(lt_onnx *c, lt_value x, const char *what) {
  lt_dtype t = lt_type_of(c->g, x)->dtype;
  if (!lt_is_float(t)) lt_ox_refuse(c, "it %s %s; floats are", what, lt_dtype_name(t));
}

/* Of indices [batch…, q…, k] into axes batch to batch + k of x: the places [batch · q] among these axes and those
 * before them as one, of `size` elements. */
static lt_value places(lt_onnx *c, lt_value x, lt_value at, unsigned batch, int64_t *size) {
  lt_type t = lt_ox_of(c, x), i = lt_ox_of(c, at);
  int64_t k = i.rank ? i.dim[i.rank - 1] : 0, rows = lt_type_count(&i) / LT_MAX(k, 1), before = 1;
  if (k < 1 || batch >= i.rank || batch + k > t.rank)
    lt_ox_refuse(c, "x is %s, its indices %s", lt_type_text(c->arena, &t), lt_type_text(c->arena, &i));
  for (unsigned b = 0; b < batch; b++) {
    if (i.dim[b] != t.dim[b]) lt_ox_refuse(c, "axis %u is a batch, and differs between x and its indices", b);
    before *= t.dim[b];
  }
  at = lt_ox_reshape(c, at, 2, (int64_t[]){rows, k});
  int64_t *first = LT_NEW_ARRAY(c->arena, int64_t, (size_t)rows);
  for (int64_t r = 0; r < rows; r++) first[r] = r / (rows / before);
  lt_value sum = lt_ox_ints_const(c, i.dtype, 1, &rows, first);
  for (int64_t a = 0; a < k; a++) {
    int64_t n = t.dim[batch + a];
    lt_value one = lt_ox_reshape(c, lt_ox_slice(c, at, 1, a, a + 1), 1, &rows);
    lt_value all = lt_ox_number(c, sum, (double)n);
    sum = lt_ox_binary(c, LT_OP_mul, sum, all);
    sum = lt_ox_binary(c, LT_OP_add, sum, lt_ox_from_start(c, one, n));
  }
  *size = product(t.dim, batch + (unsigned)k);
  return sum;
}

void lt_onnx_gather_nd(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), index = lt_ox_in(c, 1);
  int64_t batch = lt_ox_int(c, "batch_dims", 0), size, dim[2 * LT_MAX_RANK];
  lt_type t = lt_ox_of(c, x), i = lt_ox_of(c, index);
  if (batch < 0 || batch > LT_MAX_RANK) lt_ox_refuse(c, "batch_dims is %lld", (long long)batch);
  need_floats(c, x, "picks");
  lt_value at = places(c, x, index, (unsigned)batch, &size);
  unsigned inner = (unsigned)batch + (unsigned)i.dim[i.rank - 1], rank = 0;
  int64_t rest = product(t.dim + inner, t.rank - inner);
  lt_take_attrs a = {.axis = 0};
  lt_value flat = lt_ox_reshape(c, x, 2, (int64_t[]){size, rest});
  lt_value y = lt_emit(c->g, LT_OP_take, &a, (lt_value[]){flat, at}, 2);
  for (unsigned k = 0; k + 1 < i.rank; k++) dim[rank++] = i.dim[k];
  for (unsigned k = inner; k < t.rank; k++) dim[rank++] = t.dim[k];
  lt_ox_result(c, 0, lt_ox_reshape(c, y, rank, dim));
}

/* ---- scatters ---------------------------------------------------------------------------------------------------- */

static lt_value scattered(lt_onnx *c, lt_value updates, lt_value at, int64_t axis, int64_t size) {
  lt_scatter_add_attrs a = {.axis = axis, .size = size};
  return lt_emit(c->g, LT_OP_scatter_add, &a, (lt_value[]){updates, at}, 2);
}

/* updates and at have the same shape, x's but for the axis. */
static lt_value scatter(lt_onnx *c, lt_value x, lt_value updates, lt_value at, int64_t axis) {
  const char *how = lt_ox_text(c, "reduction", "none");
  int64_t size = lt_type_of(c->g, x)->dim[axis];
  lt_type t = lt_ox_of(c, updates);
  if (strcmp(how, "none") && strcmp(how, "add")) lt_ox_refuse(c, "reduction=%.20s is not read, none and add are", how);
  need_floats(c, x, "puts");
  lt_value y = scattered(c, updates, at, axis, size);
  if (how[0] == 'a') return lt_ox_binary(c, LT_OP_add, x, y);
  lt_value ones = lt_broadcast_to(c->g, lt_ox_number(c, updates, 1), &t);
  lt_value none = lt_ox_number(c, y, 0), put = lt_ox_binary(c, LT_OP_less, none, scattered(c, ones, at, axis, size));
  return lt_emit(c->g, LT_OP_select, NULL, (lt_value[]){put, y, x}, 3);
}

/* v with a border behind, up to x's extents but for the axis. */
static lt_value as_large(lt_onnx *c, lt_value v, const lt_type *x, int64_t axis, double value) {
  lt_type t = lt_ox_of(c, v);
  lt_pad_attrs p = {.pads = {2 * t.rank, {0}}, .value = value};
  bool any = false;
  for (unsigned i = 0; i < t.rank; i++) {
    if ((int64_t)i == axis || t.dim[i] == x->dim[i]) continue;
    if (t.dim[i] > x->dim[i]) lt_ox_refuse(c, "axis %u of its indices is longer than that of x", i);
    p.pads.v[t.rank + i] = x->dim[i] - t.dim[i];
    any = true;
  }
  return any ? lt_emit(c->g, LT_OP_pad, &p, &v, 1) : v;
}

/* Where the indices are shorter than x, what is missing goes nowhere: index -1. */
void lt_onnx_scatter_elements(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), index = lt_ox_in(c, 1), updates = lt_ox_in(c, 2);
  lt_type t = lt_ox_of(c, x), i = lt_ox_of(c, index), u = lt_ox_of(c, updates);
  int64_t axis = lt_ox_axis(c, lt_ox_int(c, "axis", 0), t.rank);
  if (i.rank != t.rank || u.rank != t.rank || memcmp(i.dim, u.dim, i.rank * sizeof *i.dim))
    lt_ox_refuse(c, "its indices are %s, its updates %s", lt_type_text(c->arena, &i), lt_type_text(c->arena, &u));
  index = as_large(c, lt_ox_from_start(c, index, t.dim[axis]), &t, axis, -1);
  lt_ox_result(c, 0, scatter(c, x, as_large(c, updates, &t, axis, 0), index, axis));
}

void lt_onnx_scatter_nd(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), index = lt_ox_in(c, 1), updates = lt_ox_in(c, 2);
  lt_type t = lt_ox_of(c, x), i = lt_ox_of(c, index), u = lt_ox_of(c, updates);
  int64_t size;
  lt_value at = places(c, x, index, 0, &size);
  unsigned inner = (unsigned)i.dim[i.rank - 1];
  int64_t rows = lt_type_count(&i) / inner, rest = product(t.dim + inner, t.rank - inner), dim[] = {rows, rest};
  if (lt_type_count(&u) != rows * rest)
    lt_ox_refuse(c, "its indices are %s, its updates %s", lt_type_text(c->arena, &i), lt_type_text(c->arena, &u));
  lt_type each = lt_make_type(i.dtype, 2, dim);
  at = lt_broadcast_to(c->g, lt_ox_reshape(c, at, 2, (int64_t[]){rows, 1}), &each);
  lt_value flat = lt_ox_reshape(c, x, 2, (int64_t[]){size, rest});
  lt_value y = scatter(c, flat, lt_ox_reshape(c, updates, 2, dim), at, 0);
  lt_ox_result(c, 0, lt_ox_reshape(c, y, t.rank, t.dim));
}
