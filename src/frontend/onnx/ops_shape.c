/* ops_shape.c: ops that move elements, and those that say what is known anyway: shapes, constants, ranges. Lists of
 * nothing (the shape of a scalar, empty axes) are no values here; they are kept as slots without elements. */
#include "frontend/onnx/import.h"

#include <math.h>

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

static void result_reshaped(lt_onnx *c, int64_t rank, const int64_t *dim) {
  lt_type t = lt_make_type(lt_ox_type(c, 0)->dtype, (unsigned)rank, dim);
  if (lt_ox_empty(c, 0)) lt_ox_result_empty(c, 0, &t);
  else lt_ox_result(c, 0, lt_ox_reshape(c, lt_ox_in(c, 0), t.rank, dim));
}

void lt_onnx_reshape(lt_onnx *c) {
  lt_ox_ints shape;
  lt_type t = *lt_ox_type(c, 0);
  int64_t dim[LT_MAX_RANK], count = lt_type_count(&t), known = 1, open = -1;
  bool zero = lt_ox_int(c, "allowzero", 0);
  if (!lt_ox_axes(c, "shape", 1, &shape)) lt_ox_refuse(c, "its shape is missing");
  if (shape.n > LT_MAX_RANK)
    lt_ox_refuse(c, "it has %lld dimensions, at most %d are allowed", (long long)shape.n, (int)LT_MAX_RANK);
  for (int64_t i = 0; i < shape.n; i++) {
    dim[i] = shape.v[i];
    if (dim[i] == 0 && !zero && i < t.rank) dim[i] = t.dim[i];
    if (dim[i] == -1 && open < 0) open = i;
    else if (dim[i] < (count > 0) || !lt_mul_ok(&known, known, dim[i]))
      lt_ox_refuse(c, "dimension %lld of its shape is %lld", (long long)i, (long long)shape.v[i]);
  }
  if (open >= 0 && known && count % known == 0) dim[open] = count / known, known = count, open = -1;
  if (known != count || open >= 0)
    lt_ox_refuse(c, "x %s has %lld elements, which do not fill its shape", lt_type_text(c->arena, &t),
                 (long long)count);
  result_reshaped(c, shape.n, dim);
}

void lt_onnx_flatten(lt_onnx *c) {
  lt_type t = *lt_ox_type(c, 0);
  int64_t axis = lt_ox_int(c, "axis", 1), dim[2] = {1, 1};
  if (axis != t.rank) axis = lt_ox_axis(c, axis, t.rank);
  for (unsigned i = 0; i < t.rank; i++) dim[i >= axis] *= t.dim[i];
  result_reshaped(c, 2, dim);
}

void lt_onnx_squeeze(lt_onnx *c) {
  lt_ox_ints axes = {0};
  bool given = lt_ox_axes(c, "axes", 1, &axes), gone[LT_MAX_RANK] = {false};
  lt_type t = *lt_ox_type(c, 0);
  int64_t dim[LT_MAX_RANK];
  unsigned rank = 0;
  for (int64_t i = 0; i < axes.n; i++) gone[lt_ox_axis(c, axes.v[i], t.rank)] = true;
  for (unsigned i = 0; i < t.rank; i++) {
    if (gone[i] && t.dim[i] != 1) lt_ox_refuse(c, "axis %u of x %s is not 1", i, lt_type_text(c->arena, &t));
    if (given ? !gone[i] : t.dim[i] != 1) dim[rank++] = t.dim[i];
  }
  result_reshaped(c, rank, dim);
}

void lt_onnx_unsqueeze(lt_onnx *c) {
  lt_ox_ints axes = {0};
  lt_ox_axes(c, "axes", 1, &axes);
  lt_type t = *lt_ox_type(c, 0);
  int64_t dim[LT_MAX_RANK], rank = t.rank + axes.n;
  bool one[LT_MAX_RANK] = {false};
  if (rank > LT_MAX_RANK)
    lt_ox_refuse(c, "it has %lld dimensions, at most %d are allowed", (long long)rank, (int)LT_MAX_RANK);
  for (int64_t i = 0; i < axes.n; i++) one[lt_ox_axis(c, axes.v[i], (unsigned)rank)] = true;
  for (int64_t i = 0, from = 0; i < rank; i++) {
    if (!one[i] && from >= t.rank) lt_ox_refuse(c, "an axis is given twice");
    dim[i] = one[i] ? 1 : t.dim[from++];
  }
  result_reshaped(c, rank, dim);
}

void lt_onnx_transpose(lt_onnx *c) {
  lt_ox_ints perm;
  lt_value x = lt_ox_in(c, 0);
  unsigned rank = lt_type_of(c->g, x)->rank;
  int64_t p[LT_MAX_RANK];
  bool seen[LT_MAX_RANK] = {false};
  for (unsigned i = 0; i < rank; i++) p[i] = rank - 1 - i;
  if (lt_ox_list(c, "perm", &perm)) {
    if (perm.n != rank) lt_ox_refuse(c, "perm has %lld numbers for %u axes", (long long)perm.n, rank);
    for (unsigned i = 0; i < rank; i++) {
      p[i] = lt_ox_axis(c, perm.v[i], rank);
      if (seen[p[i]]) lt_ox_refuse(c, "perm has an axis twice");
      seen[p[i]] = true;
    }
  }
  lt_ox_result(c, 0, lt_transpose(c->g, x, p));
}

static void concat_none(lt_onnx *c, int64_t axis) {
  lt_type t = *lt_ox_type(c, 0);
  axis = lt_ox_axis(c, axis, t.rank);
  for (unsigned i = 1; i < c->n->in.n; i++)
    if (lt_ox_type(c, i)->rank == t.rank) t.dim[axis] += lt_ox_type(c, i)->dim[axis];
  lt_ox_result_empty(c, 0, &t);
}

void lt_onnx_concat(lt_onnx *c) {
  lt_value *part = LT_NEW_ARRAY(c->arena, lt_value, c->n->in.n + 1);
  unsigned n = 0;
  int64_t axis = lt_ox_int(c, "axis", 1);
  for (unsigned i = 0; i < c->n->in.n; i++)
    if (!lt_ox_empty(c, i)) part[n++] = lt_ox_operand(c, i); /* ViT's class token is trained */
  if (!n) concat_none(c, axis);
  else lt_ox_result(c, 0, lt_ox_concat(c, part, n, lt_ox_axis(c, axis, lt_type_of(c->g, part[0])->rank)));
}

void lt_onnx_split(lt_onnx *c) {
  lt_ox_ints sizes = {0};
  lt_value x = lt_ox_in(c, 0);
  int64_t axis = lt_ox_axis(c, lt_ox_int(c, "axis", 0), lt_type_of(c->g, x)->rank),
          all = lt_type_of(c->g, x)->dim[axis];
  int64_t parts = lt_ox_int(c, "num_outputs", c->n->out.n), at = 0;
  bool given = lt_ox_axes(c, "split", 1, &sizes);
  if (given ? sizes.n != c->n->out.n : parts != c->n->out.n)
    lt_ox_refuse(c, "it splits into %lld parts and has %u results", (long long)(given ? sizes.n : parts), c->n->out.n);
  for (uint32_t i = 0; i < c->n->out.n; i++) {
    int64_t each = lt_ceil_div(all, parts), size = given ? sizes.v[i] : LT_MIN(each, all - at);
    lt_type none = lt_ox_of(c, x);
    none.dim[axis] = 0;
    if (size < 0 || size > all - at)
      lt_ox_refuse(c, "part %u has %lld elements of %lld", i + 1, (long long)size, (long long)all);
    if (!size) lt_ox_result_empty(c, i, &none);
    else if (lt_ox_wants(c, i)) lt_ox_result(c, i, lt_ox_slice(c, x, axis, at, at + size));
    at += size;
  }
  if (at != all) lt_ox_refuse(c, "its parts have %lld elements of %lld", (long long)at, (long long)all);
}

/* The shape may lack leading axes, and say 1 where x has more. */
void lt_onnx_expand(lt_onnx *c) {
  lt_ox_ints shape = lt_ox_known_ints(c, 1, "shape");
  lt_type t = *lt_ox_type(c, 0), to = {.dtype = t.dtype, .rank = (uint8_t)LT_MIN(shape.n, LT_MAX_RANK + 1)}, y;
  if (to.rank > LT_MAX_RANK) lt_ox_refuse(c, "its shape has %lld dimensions", (long long)shape.n);
  for (unsigned i = 0; i < to.rank; i++) to.dim[i] = shape.v[i];
  if (!lt_broadcast(&y, &t, &to))
    lt_ox_refuse(c, "x %s does not broadcast to %s", lt_type_text(c->arena, &t), lt_type_text(c->arena, &to));
  if (!lt_type_count(&y)) lt_ox_result_empty(c, 0, &y);
  else lt_ox_result(c, 0, lt_broadcast_to(c->g, lt_ox_in(c, 0), &y));
}

/* Each axis is repeated as one before it, which it then takes in. */
void lt_onnx_tile(lt_onnx *c) {
  lt_ox_ints times = lt_ox_known_ints(c, 1, "repeats");
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  if (times.n != t.rank) lt_ox_refuse(c, "repeats has %lld numbers for %u axes", (long long)times.n, t.rank);
  for (unsigned i = 0; i < t.rank; i++) {
    int64_t before = 1, behind = 1;
    lt_type now = lt_ox_of(c, x), wide;
    for (unsigned k = 0; k < t.rank; k++) *(k < i ? &before : &behind) *= now.dim[k];
    if (times.v[i] == 1) continue;
    if (times.v[i] < 1) lt_ox_refuse(c, "repeats has a %lld", (long long)times.v[i]);
    wide = lt_make_type(now.dtype, 3, (int64_t[]){before, times.v[i], behind});
    x = lt_broadcast_to(c->g, lt_ox_reshape(c, x, 3, (int64_t[]){before, 1, behind}), &wide);
    if (!lt_mul_ok(&now.dim[i], now.dim[i], times.v[i])) lt_ox_refuse(c, "its size overflows");
    x = lt_ox_reshape(c, x, now.rank, now.dim);
  }
  lt_ox_result(c, 0, x);
}

/* ---- channels and places ----------------------------------------------------------------------------------------- */

static lt_type blocks_of(lt_onnx *c, lt_value x, int64_t *b) {
  lt_type t = lt_ox_of(c, x);
  *b = lt_ox_int(c, "blocksize", 0);
  if (t.rank != 4 || *b < 1 || *b > 1 << 20)
    lt_ox_refuse(c, "x is %s, blocksize %lld", lt_type_text(c->arena, &t), (long long)*b);
  return t;
}

void lt_onnx_depth_to_space(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  int64_t b;
  lt_type t = blocks_of(c, x, &b);
  bool crd = !strcmp(lt_ox_text(c, "mode", "DCR"), "CRD");
  int64_t n = t.dim[0], ch = t.dim[1] / (b * b), h = t.dim[2], w = t.dim[3];
  if (t.dim[1] % (b * b))
    lt_ox_refuse(c, "blocksize %lld does not divide the channels of x %s", (long long)b, lt_type_text(c->arena, &t));
  const int64_t dcr_dim[] = {n, b, b, ch, h, w}, crd_dim[] = {n, ch, b, b, h, w};
  const int64_t dcr_perm[] = {0, 3, 4, 1, 5, 2}, crd_perm[] = {0, 1, 4, 2, 5, 3};
  lt_value y = lt_transpose(c->g, lt_ox_reshape(c, x, 6, crd ? crd_dim : dcr_dim), crd ? crd_perm : dcr_perm);
  lt_ox_result(c, 0, lt_ox_reshape(c, y, 4, (int64_t[]){n, ch, h * b, w * b}));
}

void lt_onnx_space_to_depth(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  int64_t b;
  lt_type t = blocks_of(c, x, &b);
  bool crd = !strcmp(lt_ox_text(c, "mode", "DCR"), "CRD");
  int64_t n = t.dim[0], ch = t.dim[1], h = t.dim[2] / b, w = t.dim[3] / b;
  if (t.dim[2] % b || t.dim[3] % b)
    lt_ox_refuse(c, "blocksize %lld does not divide x %s", (long long)b, lt_type_text(c->arena, &t));
  lt_value y = lt_ox_reshape(c, x, 6, (int64_t[]){n, ch, h, b, w, b});
  y = lt_transpose(c->g, y, crd ? (const int64_t[]){0, 1, 3, 5, 2, 4} : (const int64_t[]){0, 3, 5, 1, 2, 4});
  lt_ox_result(c, 0, lt_ox_reshape(c, y, 4, (int64_t[]){n, ch * b * b, h, w}));
}

/* ---- what is known anyway ---------------------------------------------------------------------------------------- */

static void result_ints(lt_onnx *c, const int64_t *v, int64_t n) {
  if (n) lt_ox_result(c, 0, lt_ox_ints_const(c, LT_I64, 1, &n, v));
  else lt_ox_result_empty(c, 0, &(lt_type){.dtype = LT_I64, .rank = 1});
}

void lt_onnx_shape(lt_onnx *c) {
  const lt_type t = *lt_ox_type(c, 0);
  int64_t from = lt_ox_int(c, "start", 0), to = lt_ox_int(c, "end", t.rank), rank = t.rank;
  from = LT_MIN(LT_MAX(from < 0 ? from + rank : from, 0), rank);
  to = LT_MIN(LT_MAX(to < 0 ? to + rank : to, 0), rank);
  result_ints(c, t.dim + from, LT_MAX(to - from, 0));
}

void lt_onnx_size(lt_onnx *c) {
  lt_ox_result(c, 0, lt_const_scalar(c->g, LT_I64, (double)lt_type_count(lt_ox_type(c, 0))));
}

static void constant_floats(lt_onnx *c) {
  const lt_onnx_attr *a = lt_ox_floats(c, "value_floats");
  lt_type t = lt_make_type(LT_F32, 1, (int64_t[]){a->floats.n});
  if (a->floats.n) lt_ox_result(c, 0, lt_const_data(c->g, lt_data_new(&c->g->arena, &t, a->floats.at)));
  else lt_ox_result_empty(c, 0, &t);
}

void lt_onnx_constant(lt_onnx *c) {
  const char *name = c->n->attrs.n == 1 ? c->n->attrs.at[0].name : "";
  int64_t whole = !strcmp(name, "value_int") ? lt_ox_int(c, name, 0) : 0;
  lt_ox_ints list;
  if (strncmp(name, "value", 5)) lt_ox_refuse(c, "it should have one value");
  if (!strcmp(name, "value")) lt_onnx_slot_tensor(c, lt_onnx_slot_new(c, c->n->out.at[0]), lt_ox_tensor(c, name), true);
  else if (!strcmp(name, "value_int")) lt_ox_result(c, 0, lt_ox_ints_const(c, LT_I64, 0, NULL, &whole));
  else if (!strcmp(name, "value_float")) lt_ox_result(c, 0, lt_const_scalar(c->g, LT_F32, lt_ox_float(c, name, 0)));
  else if (!strcmp(name, "value_ints") && lt_ox_list(c, name, &list)) result_ints(c, list.v, list.n);
  else if (!strcmp(name, "value_floats")) constant_floats(c);
  else lt_ox_refuse(c, "its `%.40s` is no tensor of numbers", name);
}

/* A number and a shape, however large. */
void lt_onnx_constant_of_shape(lt_onnx *c) {
  lt_ox_ints shape = lt_ox_known_ints(c, 0, "shape");
  const lt_onnx_tensor *x = lt_ox_tensor(c, "value");
  lt_type t = {.dtype = LT_F32, .rank = (uint8_t)LT_MIN(shape.n, LT_MAX_RANK + 1)};
  bool empty = false;
  double v = 0;
  if (t.rank > LT_MAX_RANK) lt_ox_refuse(c, "its shape has %lld dimensions", (long long)shape.n);
  for (unsigned i = 0; i < t.rank; i++) {
    t.dim[i] = shape.v[i], empty |= !t.dim[i];
    if (t.dim[i] < 0) lt_ox_refuse(c, "dimension %u of its shape is %lld", i, (long long)t.dim[i]);
  }
  if (x) {
    lt_onnx_slot one = {.name = "value"};
    lt_onnx_slot_tensor(c, &one, x, true);
    if (x->count != 1) lt_ox_refuse(c, "its value should be one number");
    v = lt_data_at(lt_onnx_data(&c->m, &c->files, &c->g->arena, x, &one.type), 0);
    t.dtype = one.type.dtype;
  }
  if (empty) lt_ox_result_empty(c, 0, &t);
  else lt_ox_result(c, 0, lt_broadcast_to(c->g, lt_const_scalar(c->g, t.dtype, v), &t));
}

void lt_onnx_range(lt_onnx *c) {
  enum { MOST = 1 << 24 };
  lt_dtype t = lt_ox_type(c, 0)->dtype;
  double from = lt_ox_known_float(c, 0, "start"), to = lt_ox_known_float(c, 1, "limit"),
         by = lt_ox_known_float(c, 2, "delta");
  double count = by != 0 ? ceil((to - from) / by) : 0;
  if (!(count <= MOST)) lt_ox_refuse(c, "it has %g elements, at most %d are made", count, (int)MOST);
  lt_type type = lt_make_type(t, 1, (int64_t[]){count > 0 ? (int64_t)count : 0});
  if (!type.dim[0]) {
    lt_ox_result_empty(c, 0, &type);
    return;
  }
  lt_tensor *x = lt_tensor_new(c->arena, &type);
  for (int64_t i = 0; i < type.dim[0]; i++) lt_tensor_set(x, i, lt_dtype_round(t, from + (double)i * by));
  lt_ox_result(c, 0, lt_const_tensor(c->g, x));
}

static lt_type like(lt_onnx *c) {
  lt_type t = *lt_ox_type(c, 0);
  int64_t type = lt_ox_int(c, "dtype", 0);
  if (type && (type < 0 || type >= LT_ONNX_TYPES || !lt_onnx_dtype((lt_onnx_type)type, &t.dtype)))
    lt_ox_refuse(c, "dtype=%s, which is no element type here", lt_onnx_type_name(type));
  if (t.rank != 2 || lt_ox_empty(c, 0) || lt_type_count(&t) > 1 << 24)
    lt_ox_refuse(c, "x is %s", lt_type_text(c->arena, &t));
  return t;
}

void lt_onnx_eye_like(lt_onnx *c) {
  lt_type t = like(c);
  int64_t k = lt_ox_int(c, "k", 0);
  lt_tensor *x = lt_tensor_new(c->arena, &t);
  for (int64_t i = 0; i < t.dim[0]; i++)
    if (k >= -t.dim[0] && i + k >= 0 && k < t.dim[1] && i + k < t.dim[1]) lt_tensor_set(x, i * t.dim[1] + i + k, 1);
  lt_ox_result(c, 0, lt_const_tensor(c->g, x));
}

/* x above (or below) a diagonal, else 0. */
void lt_onnx_trilu(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  int64_t k = lt_ox_has(c, 1) ? lt_ox_known_int(c, 1, "k") : 0;
  bool upper = lt_ox_int(c, "upper", 1);
  if (t.rank < 2) lt_ox_refuse(c, "x is %s", lt_type_text(c->arena, &t));
  int64_t h = t.dim[t.rank - 2], w = t.dim[t.rank - 1], *keep = LT_NEW_ARRAY(c->arena, int64_t, (size_t)(h * w));
  k = LT_MAX(LT_MIN(k, w), -h);
  for (int64_t i = 0; i < h * w; i++) keep[i] = upper ? i % w - i / w >= k : i % w - i / w <= k;
  lt_value mask = lt_ox_ints_const(c, LT_BOOL, 2, (int64_t[]){h, w}, keep), zero = lt_ox_number(c, x, 0);
  lt_ox_result(c, 0, lt_emit(c->g, LT_OP_select, NULL, (lt_value[]){mask, x, zero}, 3));
}
