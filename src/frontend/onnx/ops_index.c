/* ops_index.c: ops that pick elements: slices with any step, borders, gathers. Where the places are known, each axis is
 * a slice or is taken from (lt_ox_take); otherwise ours does it with the index that is computed. */
#include <math.h>

#include "frontend/onnx/forms.h"

/* ---- Slice ------------------------------------------------------------------------------------------------------- */

static int64_t between(int64_t v, int64_t lo, int64_t hi) { return LT_MIN(LT_MAX(v, lo), hi); }

/* cut: the type so far, which may come to have no elements; x is then left as it is. */
static lt_value slice_axis(lt_onnx *c, lt_value x, int64_t axis, int64_t from, int64_t to, int64_t step, lt_type *cut) {
  int64_t n = lt_type_of(c->g, x)->dim[axis];
  if (step == 0 || step < -INT64_MAX) lt_ox_refuse(c, "a step is %lld", (long long)step);
  if (from < 0) from += n;
  if (to < 0) to = to < -n ? -1 : to + n;
  from = step > 0 ? between(from, 0, n) : between(from, 0, n - 1);
  to = step > 0 ? between(to, 0, n) : between(to, -1, n - 1);
  int64_t apart = step > 0 ? to - from : from - to, by = step > 0 ? step : -step;
  int64_t count = apart > 0 ? (apart - 1) / by + 1 : 0;
  cut->dim[axis] = count;
  if (!count) return x;
  if (step == 1) return lt_ox_slice(c, x, axis, from, to);
  int64_t *index = LT_NEW_ARRAY(c->arena, int64_t, (size_t)count);
  for (int64_t i = 0; i < count; i++) index[i] = from + i * step;
  return lt_ox_take(c, x, axis, index, count);
}

void lt_onnx_slice(lt_onnx *c) {
  lt_ox_ints from, to, axes, steps;
  bool empty = lt_ox_empty(c, 0);
  if (!lt_ox_axes(c, "starts", 1, &from) || !lt_ox_axes(c, "ends", 2, &to))
    lt_ox_refuse(c, "starts or ends are missing");
  bool has_axes = lt_ox_axes(c, "axes", 3, &axes), has_steps = lt_ox_axes(c, "steps", 4, &steps);
  if (empty) {
    lt_ox_alias(c, 0, 0);
    return;
  }
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x), cut = t;
  if (from.n != to.n || (has_axes && axes.n != from.n) || (has_steps && steps.n != from.n) || from.n > t.rank)
    lt_ox_refuse(c, "starts, ends, axes and steps are not one each for an axis");
  for (int64_t i = 0; i < from.n; i++)
    x = slice_axis(c, x, has_axes ? lt_ox_axis(c, axes.v[i], t.rank) : i, from.v[i], to.v[i],
                   has_steps ? steps.v[i] : 1, &cut);
  for (unsigned i = 0; i < t.rank; i++) empty |= !cut.dim[i];
  if (empty) lt_ox_result_empty(c, 0, &cut);
  else lt_ox_result(c, 0, x);
}

/* ---- Pad --------------------------------------------------------------------------------------------------------- */

/* Where a place outside [0, n) looks; reflect does not repeat the edge. */
static int64_t inside(const char *mode, int64_t i, int64_t n) {
  if (mode[0] == 'e') return between(i, 0, n - 1);
  int64_t period = mode[0] == 'w' ? n : LT_MAX(2 * (n - 1), 1);
  i = (i % period + period) % period;
  return mode[0] == 'w' || i < n ? i : period - i;
}

static lt_value mirrored(lt_onnx *c, lt_value x, const char *mode, int64_t axis, int64_t before, int64_t behind) {
  int64_t n = lt_type_of(c->g, x)->dim[axis], all;
  if (!lt_add_ok(&all, n, before) || !lt_add_ok(&all, all, behind) || all < 1 || all > 1 << 30)
    lt_ox_refuse(c, "its border is %lld and %lld beside %lld elements", (long long)before, (long long)behind,
                 (long long)n);
  int64_t *index = LT_NEW_ARRAY(c->arena, int64_t, (size_t)all);
  for (int64_t i = 0; i < all; i++) index[i] = inside(mode, i - before, n);
  return lt_ox_take(c, x, axis, index, all);
}

static lt_value bordered(lt_onnx *c, lt_value x, const int64_t *before, const int64_t *behind, double value) {
  lt_type t = lt_ox_of(c, x);
  lt_pad_attrs p = {.pads = {2 * t.rank, {0}}, .value = value};
  bool any = false;
  for (unsigned i = 0; i < t.rank; i++) {
    int64_t from = LT_MAX(-before[i], 0), to = t.dim[i] - LT_MAX(-behind[i], 0);
    if (from >= to || before[i] < -INT32_MAX || behind[i] < -INT32_MAX)
      lt_ox_refuse(c, "nothing is left of axis %u", i);
    x = lt_ox_slice(c, x, i, from, to);
    p.pads.v[i] = LT_MAX(before[i], 0), p.pads.v[t.rank + i] = LT_MAX(behind[i], 0);
    any |= p.pads.v[i] || p.pads.v[t.rank + i];
  }
  return any ? lt_emit(c->g, LT_OP_pad, &p, &x, 1) : x;
}

void lt_onnx_pad(lt_onnx *c) {
  lt_ox_ints pads, axes = {0};
  lt_value x = lt_ox_in(c, 0);
  unsigned rank = lt_type_of(c->g, x)->rank;
  const char *mode = lt_ox_text(c, "mode", "constant");
  double value = lt_ox_float(c, "value", 0);
  int64_t before[LT_MAX_RANK] = {0}, behind[LT_MAX_RANK] = {0};
  if (!lt_ox_axes(c, "pads", 1, &pads)) lt_ox_refuse(c, "its pads are missing");
  if (lt_ox_has(c, 2) && !lt_ox_empty(c, 2)) value = lt_ox_known_float(c, 2, "constant_value");
  bool some = lt_ox_has(c, 3);
  if (some) axes = lt_ox_known_ints(c, 3, "axes");
  int64_t n = some ? axes.n : rank;
  if (pads.n != 2 * n) lt_ox_refuse(c, "pads has %lld numbers for %lld axes", (long long)pads.n, (long long)n);
  for (int64_t i = 0; i < n; i++) {
    int64_t axis = some ? lt_ox_axis(c, axes.v[i], rank) : i;
    before[axis] = pads.v[i], behind[axis] = pads.v[n + i];
  }
  bool constant = !strcmp(mode, "constant");
  if (!constant && strcmp(mode, "reflect") && strcmp(mode, "edge") && strcmp(mode, "wrap"))
    lt_ox_refuse(c, "mode=%.40s is unknown", mode);
  if (constant) x = bordered(c, x, before, behind, value);
  for (unsigned i = 0; i < rank && !constant; i++)
    if (before[i] || behind[i]) x = mirrored(c, x, mode, i, before[i], behind[i]);
  lt_ox_result(c, 0, x);
}

/* Cut or bordered around the middle; the odd element behind. */
void lt_onnx_center_crop_pad(lt_onnx *c) {
  lt_ox_ints shape = lt_ox_known_ints(c, 1, "shape"), axes;
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  int64_t before[LT_MAX_RANK] = {0}, behind[LT_MAX_RANK] = {0};
  bool some = lt_ox_list(c, "axes", &axes);
  if (shape.n != (some ? axes.n : t.rank)) lt_ox_refuse(c, "its shape has %lld numbers", (long long)shape.n);
  for (int64_t i = 0; i < shape.n; i++) {
    int64_t axis = some ? lt_ox_axis(c, axes.v[i], t.rank) : i, more = shape.v[i] - t.dim[axis];
    before[axis] = more < 0 ? -(-more / 2) : more / 2;
    behind[axis] = more - before[axis];
  }
  lt_ox_result(c, 0, bordered(c, x, before, behind, 0));
}

/* ---- gathers ----------------------------------------------------------------------------------------------------- */

lt_value lt_ox_from_start(lt_onnx *c, lt_value index, int64_t n) {
  lt_value zero = lt_ox_number(c, index, 0), size = lt_ox_number(c, index, (double)n);
  lt_value below = lt_binary(c->g, LT_OP_less, index, zero), up = lt_binary(c->g, LT_OP_add, index, size);
  return lt_emit(c->g, LT_OP_select, NULL, (lt_value[]){below, up, index}, 3);
}

static lt_value gather_known(lt_onnx *c, lt_value x, int64_t axis, const lt_tensor *at) {
  int64_t n = lt_type_count(&at->type), size = lt_type_of(c->g, x)->dim[axis];
  int64_t *index = LT_NEW_ARRAY(c->arena, int64_t, (size_t)n);
  for (int64_t i = 0; i < n; i++) {
    index[i] = at->i[i] < 0 ? at->i[i] + size : at->i[i];
    if (index[i] < 0 || index[i] >= size)
      lt_ox_refuse(c, "index %lld is outside an axis of %lld", (long long)at->i[i], (long long)size);
  }
  return lt_ox_take(c, x, axis, index, n);
}

void lt_onnx_gather(lt_onnx *c) {
  lt_value x = lt_ox_weight(c, 0);
  lt_type t = lt_ox_of(c, x), i = *lt_ox_type(c, 1);
  int64_t axis = lt_ox_axis(c, lt_ox_int(c, "axis", 0), t.rank), dim[2 * LT_MAX_RANK];
  unsigned rank = 0;
  if (!t.rank) lt_ox_refuse(c, "x is a scalar");
  for (unsigned k = 0; k < t.rank; k++) {
    if (k != (unsigned)axis) dim[rank++] = t.dim[k];
    for (unsigned j = 0; k == (unsigned)axis && j < i.rank; j++) dim[rank++] = i.dim[j];
  }
  if (lt_ox_empty(c, 1)) lt_ox_refuse(c, "its indices are none");
  const lt_tensor *known = lt_ox_known(c, 1);
  lt_value y = known ? gather_known(c, x, axis, known) : 0;
  if (!known) y = lt_ox_pick(c, LT_OP_take, x, axis, lt_ox_from_start(c, lt_ox_in(c, 1), t.dim[axis]));
  lt_ox_result(c, 0, lt_ox_reshape(c, y, rank, dim));
}

/* Ours wants equal shapes off the axis: what the index does not reach is cut off. */
void lt_onnx_gather_elements(lt_onnx *c) {
  lt_value x = lt_ox_weight(c, 0), at = lt_ox_in(c, 1);
  lt_type t = lt_ox_of(c, x), i = lt_ox_of(c, at);
  unsigned axis = (unsigned)lt_ox_axis(c, lt_ox_int(c, "axis", 0), t.rank);
  if (i.rank != t.rank)
    lt_ox_refuse(c, "x is %s, its indices %s", lt_type_text(c->arena, &t), lt_type_text(c->arena, &i));
  at = lt_ox_from_start(c, at, t.dim[axis]);
  for (unsigned k = 0; k < t.rank; k++)
    if (k != axis) x = lt_ox_slice(c, x, k, 0, LT_MIN(i.dim[k], t.dim[k]));
  lt_ox_result(c, 0, lt_ox_pick(c, LT_OP_gather, x, axis, at));
}

/* on where the index is the place along a new axis, else off. */
void lt_onnx_one_hot(lt_onnx *c) {
  lt_value at = lt_ox_in(c, 0), values = lt_ox_in(c, 2);
  lt_type t = lt_ox_of(c, at);
  int64_t n = (int64_t)lt_ox_known_float(c, 1, "depth"), axis = lt_ox_axis(c, lt_ox_int(c, "axis", -1), t.rank + 1u);
  int64_t dim[LT_MAX_RANK + 1], line[LT_MAX_RANK + 1],
    *i = LT_NEW_ARRAY(c->arena, int64_t, (size_t)between(n, 1, 1 << 24));
  if (n < 1 || n > 1 << 24 || t.rank == LT_MAX_RANK) lt_ox_refuse(c, "depth is %lld", (long long)n);
  for (int64_t k = 0; k < n; k++) i[k] = k;
  for (int64_t k = 0; k <= t.rank; k++)
    dim[k] = k < axis ? t.dim[k] : k > axis ? t.dim[k - 1] : 1, line[k] = k == axis ? n : 1;
  at = lt_ox_reshape(c, lt_ox_from_start(c, lt_cast(c->g, at, LT_I64), n), t.rank + 1u, dim);
  lt_value place = lt_ox_ints_const(c, LT_I64, t.rank + 1u, line, i), hot = lt_binary(c->g, LT_OP_equal, at, place);
  lt_value off = lt_ox_reshape(c, lt_ox_slice(c, values, 0, 0, 1), 0, NULL);
  lt_value on = lt_ox_reshape(c, lt_ox_slice(c, values, 0, 1, 2), 0, NULL);
  lt_ox_result(c, 0, lt_emit(c->g, LT_OP_select, NULL, (lt_value[]){hot, on, off}, 3));
}

/* ---- TopK -------------------------------------------------------------------------------------------------------- */

/* Numbers of 32 bits as doubles in the order that is asked for, in which equal ones differ by their places: the spare
 * bits hold up to 2^16 of them. NaN is the largest, above infinity. */
static lt_value keys(lt_onnx *c, lt_value x, bool least) {
  lt_type t = lt_ox_of(c, x);
  lt_value y = lt_cast(c->g, x, LT_F64), place = lt_cast(c->g, iota(c, LT_I32, t.dim[1], 2, 1), LT_F64), apart;
  if (lt_is_float(t.dtype)) {
    y = choose(c, lt_ox_binary(c, LT_OP_equal, x, x), limited(c, y, -0x1p130, 0x1p130), lt_ox_number(c, y, 0x1p131));
    apart = with(c, LT_OP_add, with(c, LT_OP_mul, un(c, LT_OP_abs, y), 0x1p-42), 0x1p-300);
  } else apart = lt_ox_number(c, y, 0x1p-17);
  return lt_ox_binary(c, least ? LT_OP_add : LT_OP_sub, y, lt_ox_binary(c, LT_OP_mul, apart, place));
}

/* How many elements of its row come before each of x [rows, n]: those above it (below, with `least`), and of equal ones
 * those that stand before. All ranks of a row differ. */
static lt_value ranks(lt_onnx *c, lt_value x, bool least) {
  lt_type t = lt_ox_of(c, x);
  int64_t rows = t.dim[0], n = t.dim[1];
  bool narrow = lt_dtype_size(t.dtype) <= 4;
  if (narrow) x = keys(c, x, least);
  else if (floats(c, x)) x = choose(c, lt_ox_binary(c, LT_OP_equal, x, x), x, lt_ox_number(c, x, INFINITY));
  lt_value own = lt_ox_reshape(c, x, 3, (int64_t[]){rows, n, 1}),
           other = lt_ox_reshape(c, x, 3, (int64_t[]){rows, 1, n});
  lt_value a = least ? other : own, b = least ? own : other; /* the other wins where a < b */
  lt_value wins = lt_ox_binary(c, LT_OP_less, a, b);
  if (!narrow) {
    lt_value before = lt_ox_binary(c, LT_OP_less, iota(c, LT_I32, n, 2, 1), iota(c, LT_I32, n, 2, 0));
    wins = choose(c, before, lt_ox_binary(c, LT_OP_less_equal, a, b), wins);
  }
  return lt_ox_reduce(c, LT_OP_sum, lt_cast(c->g, wins, LT_I32), &(lt_ints){1, {2}}, false);
}

/* Every place is put at its rank; the first k are what is asked for, and values are picked by them. */
void lt_onnx_top_k(lt_onnx *c) {
  enum { MOST = 1 << 16 };
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x), y = t;
  int64_t axis = lt_ox_axis(c, lt_ox_int(c, "axis", -1), t.rank), n = t.rank ? t.dim[axis] : 1, perm[LT_MAX_RANK];
  int64_t k = c->opset < 10 ? lt_ox_int(c, "k", 0) : lt_ox_known_int(c, 1, "k"), rows = lt_type_count(&t) / n, all;
  bool least = !lt_ox_int(c, "largest", 1);
  lt_ox_int(c, "sorted", 1); /* in order they are in any order */
  if (!t.rank || k < 1 || k > n) lt_ox_refuse(c, "k is %lld of %lld elements", (long long)k, (long long)n);
  if (n > MOST || !lt_mul_ok(&all, rows, n * n) || all > (int64_t)1 << 36)
    lt_ox_refuse(c, "it compares all pairs of %lld elements in %lld rows, more than are read", (long long)n,
                 (long long)rows);
  for (unsigned i = 0; i < t.rank; i++) perm[i] = i;
  perm[axis] = t.rank - 1, perm[t.rank - 1] = axis;
  y.dim[axis] = t.dim[t.rank - 1], y.dim[t.rank - 1] = k;
  lt_value flat = lt_ox_reshape(c, lt_transpose(c->g, x, perm), 2, (int64_t[]){rows, n}), at = ranks(c, flat, least);
  lt_type line = lt_make_type(LT_F32, 2, (int64_t[]){rows, n}); /* places below 2^16 are exact */
  lt_scatter_add_attrs put = {.axis = 1, .size = n};
  lt_value place = lt_broadcast_to(c->g, lt_cast(c->g, iota(c, LT_I32, n, 2, 1), LT_F32), &line);
  place = lt_emit(c->g, LT_OP_scatter_add, &put, (lt_value[]){place, at}, 2);
  place = lt_cast(c->g, lt_ox_slice(c, place, 1, 0, k), LT_I64);
  lt_value best = lt_ox_pick(c, LT_OP_gather, flat, 1, place);
  lt_ox_result(c, 0, lt_transpose(c->g, lt_ox_reshape(c, best, t.rank, y.dim), perm));
  if (lt_ox_wants(c, 1)) lt_ox_result(c, 1, lt_transpose(c->g, lt_ox_reshape(c, place, t.rank, y.dim), perm));
}

/* ---- places that are known --------------------------------------------------------------------------------------- */

static bool is_set(const lt_tensor *t, int64_t i) { return lt_is_float(t->type.dtype) ? t->f[i] != 0 : t->i[i] != 0; }

/* The places of an axis, or of all elements, whose condition holds. */
void lt_onnx_compress(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  const lt_tensor *where = lt_ox_must_know(c, 1, "condition");
  int64_t count = lt_type_count(&t), axis = lt_ox_int(c, "axis", 0), n = 0, said = lt_type_count(&where->type);
  if (!lt_ox_attr(c, "axis")) x = lt_ox_reshape(c, x, 1, &count), t = lt_ox_of(c, x);
  axis = lt_ox_axis(c, axis, t.rank);
  if (where->type.dtype != LT_BOOL || said > t.dim[axis])
    lt_ox_refuse(c, "its condition is %s for %lld places", lt_type_text(c->arena, &where->type),
                 (long long)t.dim[axis]);
  int64_t *at = LT_NEW_ARRAY(c->arena, int64_t, (size_t)said + 1);
  for (int64_t i = 0; i < said; i++)
    if (where->i[i]) at[n++] = i;
  t.dim[axis] = n;
  if (n) lt_ox_result(c, 0, lt_ox_take(c, x, axis, at, n));
  else lt_ox_result_empty(c, 0, &t);
}

/* Coordinates of what is not 0, one after another: [rank, n]; a scalar has one place, without coordinates. */
void lt_onnx_non_zero(lt_onnx *c) {
  const lt_tensor *x = lt_ox_must_know(c, 0, "elements");
  int64_t count = lt_ox_empty(c, 0) ? 0 : lt_type_count(&x->type), n = 0, k = 0;
  unsigned rank = x->type.rank;
  for (int64_t i = 0; i < count; i++) n += is_set(x, i);
  lt_type t = {.dtype = LT_I64, .rank = 2, .dim = {rank, n}};
  if (!rank || !n) {
    lt_ox_result_empty(c, 0, &t);
    return;
  }
  int64_t *at = LT_NEW_ARRAY(c->arena, int64_t, (size_t)(rank * n));
  for (int64_t i = 0; i < count; i++) {
    if (!is_set(x, i)) continue;
    int64_t rest = i;
    for (unsigned a = rank; a-- > 0; rest /= x->type.dim[a]) at[a * n + k] = rest % x->type.dim[a];
    k++;
  }
  lt_ox_result(c, 0, lt_ox_ints_const(c, LT_I64, 2, t.dim, at));
}
