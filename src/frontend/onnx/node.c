/* node.c: attributes of the node in progress, and the small values that many ops are made of. */
#include "frontend/onnx/import.h"

/* ---- attributes -------------------------------------------------------------------------------------------------- */

lt_onnx_attr *lt_ox_attr(lt_onnx *c, const char *name) {
  for (uint32_t i = 0; i < c->n->attrs.n; i++) {
    lt_onnx_attr *a = &c->n->attrs.at[i];
    if (strcmp(a->name, name)) continue;
    a->asked = true;
    return a;
  }
  return NULL;
}

static lt_onnx_attr *of_kind(lt_onnx *c, const char *name, lt_onnx_attr_kind kind, const char *what) {
  lt_onnx_attr *a = lt_ox_attr(c, name);
  if (a && a->kind != kind) lt_ox_refuse(c, "its attribute `%s` should be %s", name, what);
  return a;
}

int64_t lt_ox_int(lt_onnx *c, const char *name, int64_t otherwise) {
  const lt_onnx_attr *a = of_kind(c, name, LT_ONNX_A_INT, "a whole number");
  return a ? a->i : otherwise;
}

double lt_ox_float(lt_onnx *c, const char *name, double otherwise) {
  const lt_onnx_attr *a = of_kind(c, name, LT_ONNX_A_FLOAT, "a number");
  return a ? a->f : otherwise;
}

const char *lt_ox_text(lt_onnx *c, const char *name, const char *otherwise) {
  const lt_onnx_attr *a = of_kind(c, name, LT_ONNX_A_STRING, "a string");
  return a ? a->s : otherwise;
}

bool lt_ox_list(lt_onnx *c, const char *name, lt_ox_ints *out) {
  const lt_onnx_attr *a = of_kind(c, name, LT_ONNX_A_INTS, "a list of whole numbers");
  if (a) *out = (lt_ox_ints){a->ints.n, a->ints.at};
  return a != NULL;
}

const lt_onnx_attr *lt_ox_floats(lt_onnx *c, const char *name) {
  return of_kind(c, name, LT_ONNX_A_FLOATS, "a list of numbers");
}

const lt_onnx_attr *lt_ox_texts(lt_onnx *c, const char *name) {
  return of_kind(c, name, LT_ONNX_A_STRINGS, "a list of strings");
}

const lt_onnx_tensor *lt_ox_tensor(lt_onnx *c, const char *name) {
  const lt_onnx_attr *a = of_kind(c, name, LT_ONNX_A_TENSOR, "a tensor");
  if (a && !a->tensor) lt_ox_refuse(c, "its attribute `%s` has no tensor", name);
  return a ? a->tensor : NULL;
}

bool lt_ox_axes(lt_onnx *c, const char *name, unsigned operand, lt_ox_ints *out) {
  if (lt_ox_list(c, name, out)) return true;
  if (!lt_ox_has(c, operand)) return false;
  *out = lt_ox_known_ints(c, operand, name);
  return true;
}

int64_t lt_ox_axis(lt_onnx *c, int64_t axis, unsigned rank) {
  int64_t n = (int64_t)rank, a = axis < 0 ? axis + n : axis;
  if (a < 0 || a >= LT_MAX(n, 1)) lt_ox_refuse(c, "axis %lld is outside a value of rank %u", (long long)axis, rank);
  return a;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

lt_value lt_ox_number(lt_onnx *c, lt_value like, double v) {
  lt_dtype t = lt_type_of(c->g, like)->dtype;
  return lt_const_scalar(c->g, t, lt_dtype_round(t, v));
}

lt_value lt_ox_ints_const(lt_onnx *c, lt_dtype t, unsigned rank, const int64_t *dim, const int64_t *v) {
  lt_type type = lt_make_type(t, rank, dim);
  lt_tensor *x = lt_tensor_new(c->arena, &type);
  memcpy(x->i, v, (size_t)lt_type_count(&type) * sizeof *v);
  return lt_const_tensor(c->g, x);
}

lt_value lt_ox_reshape(lt_onnx *c, lt_value x, unsigned rank, const int64_t *dim) {
  if (rank > LT_MAX_RANK) lt_ox_refuse(c, "it has %u dimensions, at most %d are allowed", rank, (int)LT_MAX_RANK);
  return lt_reshape(c->g, x, rank, dim);
}

lt_value lt_ox_slice(lt_onnx *c, lt_value x, int64_t axis, int64_t from, int64_t to) {
  if (from == 0 && to == lt_type_of(c->g, x)->dim[axis]) return x;
  lt_slice_attrs a = {.axes = {1, {axis}}, .starts = {1, {from}}, .ends = {1, {to}}};
  return lt_emit(c->g, LT_OP_slice, &a, &x, 1);
}

/* Our takes, gathers and scatters are of floats. Whole numbers go through doubles, which hold 53 bits: those of 64 as
 * two halves that are exact, x = high·2^31 + low. */
lt_value lt_ox_as_floats(lt_onnx *c, lt_value x, lt_ox_linear *f, void *ctx) {
  lt_dtype t = lt_type_of(c->g, x)->dtype;
  if (lt_is_float(t)) return f(c, x, ctx);
  if (t != LT_I64) return lt_cast(c->g, lt_cast(c->g, f(c, lt_cast(c->g, x, LT_F64), ctx), LT_I64), t);
  lt_value by = lt_ox_number(c, x, 0x1p31), high = lt_binary(c->g, LT_OP_div, x, by);
  lt_value low = lt_binary(c->g, LT_OP_sub, x, lt_binary(c->g, LT_OP_mul, high, by));
  high = lt_cast(c->g, f(c, lt_cast(c->g, high, LT_F64), ctx), LT_I64);
  low = lt_cast(c->g, f(c, lt_cast(c->g, low, LT_F64), ctx), LT_I64);
  return lt_binary(c->g, LT_OP_add, lt_binary(c->g, LT_OP_mul, high, by), low);
}

typedef struct pick { lt_op op; int64_t axis; lt_value at; } pick;

static lt_value picked(lt_onnx *c, lt_value x, void *ctx) {
  const pick *p = ctx;
  lt_take_attrs a = {.axis = p->axis}; /* gather's begin alike */
  return lt_emit(c->g, p->op, &a, (lt_value[]){x, p->at}, 2);
}

lt_value lt_ox_pick(lt_onnx *c, lt_op op, lt_value x, int64_t axis, lt_value at) {
  pick p = {op, axis, at};
  return lt_ox_as_floats(c, x, picked, &p);
}

/* One after another is a slice. */
lt_value lt_ox_take(lt_onnx *c, lt_value x, int64_t axis, const int64_t *index, int64_t n) {
  int64_t i = 1;
  while (i < n && index[i] == index[0] + i) i++;
  if (i == n) return lt_ox_slice(c, x, axis, index[0], index[0] + n);
  return lt_ox_pick(c, LT_OP_take, x, axis, lt_ox_ints_const(c, LT_I32, 1, &n, index));
}

lt_value lt_ox_concat(lt_onnx *c, const lt_value *v, unsigned n, int64_t axis) {
  lt_concat_attrs a = {.axis = axis};
  return n == 1 ? v[0] : lt_emit(c->g, LT_OP_concat, &a, v, n);
}

/* No axes: nothing is reduced. (An op of ours with no axes reduces all.) */
lt_value lt_ox_reduce(lt_onnx *c, lt_op op, lt_value x, const lt_ints *axes, bool keepdims) {
  return axes->n ? lt_reduce(c->g, op, x, axes, keepdims) : x;
}

lt_value lt_ox_per_channel(lt_onnx *c, lt_value v, unsigned rank) {
  lt_type t = lt_ox_of(c, v);
  int64_t dim[LT_MAX_RANK] = {t.rank ? t.dim[0] : 1};
  if (t.rank != 1) lt_ox_refuse(c, "%s should be a value for each channel", lt_type_text(c->arena, &t));
  for (unsigned k = 1; k + 1 < rank; k++) dim[k] = 1;
  return lt_ox_reshape(c, v, LT_MAX(rank, 2u) - 1, dim);
}
