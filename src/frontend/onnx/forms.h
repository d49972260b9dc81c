/* forms.h: short forms for compositions: ops of ours beside numbers, choices, axes in another order, iotas. Numbers
 * take the element type of what they stand beside. */
#ifndef LT_ONNX_FORMS_H
#define LT_ONNX_FORMS_H
#include "frontend/onnx/import.h"

static inline lt_value un(lt_onnx *c, lt_op op, lt_value x) { return lt_unary(c->g, op, x); }
/* x op v */
static inline lt_value with(lt_onnx *c, lt_op op, lt_value x, double v) {
  lt_value k = lt_ox_number(c, x, v);
  return lt_ox_binary(c, op, x, k);
}
/* v op x */
static inline lt_value from(lt_onnx *c, lt_op op, double v, lt_value x) {
  lt_value k = lt_ox_number(c, x, v);
  return lt_ox_binary(c, op, k, x);
}
static inline lt_value choose(lt_onnx *c, lt_value where, lt_value a, lt_value b) {
  return lt_emit(c->g, LT_OP_select, NULL, (lt_value[]){where, a, b}, 3);
}
static inline lt_value limited(lt_onnx *c, lt_value x, double lo, double hi) {
  lt_clip_attrs a = {.lo = lo, .hi = hi};
  return lt_emit(c->g, LT_OP_clip, &a, &x, 1);
}
static inline bool floats(lt_onnx *c, lt_value x) { return lt_is_float(lt_type_of(c->g, x)->dtype); }
static inline lt_value both(lt_onnx *c, lt_value a, lt_value b) { /* of truth values; 0: always true */
  return a && b ? choose(c, a, b, lt_const_scalar(c->g, LT_BOOL, 0)) : a ? a : b;
}

/* [0, 1, … n) along `axis` of `rank` axes, the others 1. */
static inline lt_value iota(lt_onnx *c, lt_dtype t, int64_t n, unsigned rank, unsigned axis) {
  int64_t dim[LT_MAX_RANK], *v = LT_NEW_ARRAY(c->arena, int64_t, (size_t)n);
  for (unsigned i = 0; i < rank; i++) dim[i] = i == axis ? n : 1;
  for (int64_t i = 0; i < n; i++) v[i] = i;
  return lt_ox_ints_const(c, t, rank, dim, v);
}

#endif
