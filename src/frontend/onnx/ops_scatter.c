/* ops_scatter.c: elements put at, or picked from, places that indices name: GatherND, ScatterElements,
 * ScatterND. All are a take or a scatter_add of a reshaped operand: an index over several axes is made one over
 * those axes as one, on values, so that it may be computed; what is known of it folds away.
 *
 * A scatter that replaces elements keeps x where nothing is put: where as many ones, scattered alike, give zero. */
#include <math.h>

#include "frontend/onnx/forms.h"

static int64_t product(const int64_t *dim, unsigned n) {
  int64_t p = 1;
  for (unsigned i = 0; i < n; i++) p *= dim[i];
  return p;
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
  lt_value at = places(c, x, index, (unsigned)batch, &size);
  unsigned inner = (unsigned)batch + (unsigned)i.dim[i.rank - 1], rank = 0;
  int64_t rest = product(t.dim + inner, t.rank - inner);
  lt_value flat = lt_ox_reshape(c, x, 2, (int64_t[]){size, rest}), y = lt_ox_pick(c, LT_OP_take, flat, 0, at);
  for (unsigned k = 0; k + 1 < i.rank; k++) dim[rank++] = i.dim[k];
  for (unsigned k = inner; k < t.rank; k++) dim[rank++] = t.dim[k];
  lt_ox_result(c, 0, lt_ox_reshape(c, y, rank, dim));
}

/* ---- scatters ---------------------------------------------------------------------------------------------------- */

typedef struct placement { lt_value at; int64_t axis, size; } placement;

static lt_value scatter_floats(lt_onnx *c, lt_value updates, void *ctx) {
  const placement *p = ctx;
  lt_scatter_add_attrs a = {.axis = p->axis, .size = p->size};
  return lt_emit(c->g, LT_OP_scatter_add, &a, (lt_value[]){updates, p->at}, 2);
}

static lt_value scattered(lt_onnx *c, lt_value updates, lt_value at, int64_t axis, int64_t size) {
  placement p = {at, axis, size};
  return lt_ox_as_floats(c, updates, scatter_floats, &p);
}

/* x as [before, n, behind] around the axis */
static lt_value around(lt_onnx *c, lt_value x, int64_t axis, bool spread, int64_t *dim) {
  lt_type t = lt_ox_of(c, x);
  dim[0] = product(t.dim, (unsigned)axis), dim[1] = t.dim[axis];
  if (spread) dim[2] = 1; /* an axis for the places */
  dim[spread ? 3 : 2] = product(t.dim + axis + 1, t.rank - 1u - (unsigned)axis);
  return lt_ox_reshape(c, x, spread ? 4 : 3, dim);
}

/* max, min, mul: every update meets every place, [before, updates, places, behind], and counts where its index says
 * so. */
static lt_value scatter_reduced(lt_onnx *c, lt_value x, lt_value updates, lt_value at, int64_t axis, const char *how) {
  enum { MOST = 1 << 28 };
  lt_type t = lt_ox_of(c, x);
  int64_t n = t.dim[axis], flat[3], dim[4], all;
  bool mul = how[1] == 'u', least = how[1] == 'i';
  if (!lt_is_float(t.dtype)) lt_ox_refuse(c, "reduction=%.20s of %s is not read", how, lt_dtype_name(t.dtype));
  lt_value flat_x = around(c, x, axis, false, flat), index = around(c, at, axis, true, dim), y;
  updates = around(c, updates, axis, true, dim);
  if (!lt_mul_ok(&all, dim[0] * dim[1], n) || !lt_mul_ok(&all, all, dim[3]) || all > MOST)
    lt_ox_refuse(c, "reduction=%.20s compares %lld updates with %lld places each, more than are read", how,
                 (long long)(dim[0] * dim[1] * dim[3]), (long long)n);
  lt_value hit = lt_ox_binary(c, LT_OP_equal, index, iota(c, lt_ox_of(c, index).dtype, n, 4, 2));
  if (least) updates = lt_unary(c->g, LT_OP_neg, updates), flat_x = lt_unary(c->g, LT_OP_neg, flat_x);
  lt_value none = lt_ox_number(c, updates, mul ? 1 : -INFINITY);
  lt_value met = choose(c, hit, updates, none);
  if (mul) y = lt_ox_reshape(c, lt_ox_product_along(c, met, 1), 3, flat);
  else y = lt_ox_reduce(c, LT_OP_reduce_max, met, &(lt_ints){1, {1}}, false);
  y = lt_ox_binary(c, mul ? LT_OP_mul : LT_OP_max, flat_x, y);
  return lt_ox_reshape(c, least ? lt_unary(c->g, LT_OP_neg, y) : y, t.rank, t.dim);
}

/* updates and at have the same shape, x's but for the axis. */
static lt_value scatter(lt_onnx *c, lt_value x, lt_value updates, lt_value at, int64_t axis) {
  static const char *const known[] = {"none", "add", "max", "min", "mul", NULL};
  const char *how = lt_ox_text(c, "reduction", "none");
  int64_t size = lt_type_of(c->g, x)->dim[axis];
  lt_type t = lt_ox_of(c, updates);
  unsigned k = 0;
  while (known[k] && strcmp(known[k], how)) k++;
  if (!known[k]) lt_ox_refuse(c, "reduction=%.20s is unknown", how);
  if (k > 1) return scatter_reduced(c, x, updates, at, axis, how);
  lt_value y = scattered(c, updates, at, axis, size);
  if (k == 1 && t.dtype != LT_BOOL) return lt_ox_binary(c, LT_OP_add, x, y);
  if (k == 1) lt_ox_refuse(c, "reduction=add of bool is not read");
  t.dtype = LT_F32;
  lt_value ones = lt_broadcast_to(c->g, lt_const_scalar(c->g, LT_F32, 1), &t);
  lt_value put = with(c, LT_OP_less, lt_unary(c->g, LT_OP_neg, scattered(c, ones, at, axis, size)), 0);
  return choose(c, put, y, x);
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

static void put_nd(lt_onnx *c) {
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

void lt_onnx_scatter_nd(lt_onnx *c) {
  lt_ox_text(c, "reduction", "none");
  bool nothing = lt_ox_empty(c, 1);
  if (nothing != lt_ox_empty(c, 2)) lt_ox_refuse(c, "of its indices and updates only one has elements");
  if (nothing) lt_ox_alias(c, 0, 0); /* it is put nowhere */
  else put_nd(c);
}
