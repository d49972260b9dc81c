/* ops_map.c: elementwise ops of ONNX: those that are ours, and those that a few of ours make. Operands of both
 * broadcast as NumPy's do. A curve that could overflow where it is not chosen gets a limited operand, so that its
 * gradient there is 0 and not 0·inf. */
#include "frontend/onnx/forms.h"

#include <math.h>

void lt_onnx_unary(lt_onnx *c) {
  if (lt_ox_empty(c, 0)) lt_ox_result_empty(c, 0, lt_ox_type(c, 0));
  else lt_ox_result(c, 0, un(c, c->row->op, lt_ox_in(c, 0)));
}

/* Before version 7 the second operand says at which axis of the first it stands. */
static lt_value at_axis(lt_onnx *c, lt_value a, lt_value b) {
  unsigned rank = lt_type_of(c->g, a)->rank;
  lt_type t = lt_ox_of(c, b);
  int64_t dim[LT_MAX_RANK], axis = lt_ox_int(c, "axis", (int64_t)rank - t.rank), n = 0;
  if (!lt_ox_int(c, "broadcast", 0)) return b;
  if (axis < 0 || axis + t.rank > rank) lt_ox_refuse(c, "axis %lld is outside its first operand", (long long)axis);
  for (; n < t.rank; n++) dim[n] = t.dim[n];
  for (; n + axis < rank; n++) dim[n] = 1;
  return lt_ox_reshape(c, b, (unsigned)n, dim);
}

static void two(lt_onnx *c, lt_value *a, lt_value *b) {
  *a = lt_ox_operand(c, 0);
  *b = lt_ox_operand(c, 1);
  if (c->opset < 7) *b = at_axis(c, *a, *b);
}

/* Has one of two operands no elements? Then the result has none either. */
static bool none(lt_onnx *c) {
  lt_type t;
  lt_op op = c->row->op;
  if (!lt_ox_empty(c, 0) && !lt_ox_empty(c, 1)) return false;
  const lt_type *a = lt_ox_type(c, 0), *b = lt_ox_type(c, 1);
  if (!lt_broadcast(&t, a, b))
    lt_ox_refuse(c, "its operands are %s and %s", lt_type_text(c->arena, a), lt_type_text(c->arena, b));
  if (op == LT_OP_equal || op == LT_OP_less || op == LT_OP_less_equal) t.dtype = LT_BOOL;
  lt_ox_result_empty(c, 0, &t);
  return true;
}

void lt_onnx_binary(lt_onnx *c) {
  lt_value a, b;
  if (none(c)) return;
  two(c, &a, &b);
  lt_ox_result(c, 0, lt_ox_binary(c, c->row->op, a, b));
}

/* Greater is less with its operands exchanged. */
void lt_onnx_exchanged(lt_onnx *c) {
  lt_value a, b;
  two(c, &a, &b);
  lt_ox_result(c, 0, lt_ox_binary(c, c->row->op, b, a));
}

/* Max, Min, Sum: any number of operands, one after another. */
void lt_onnx_chain(lt_onnx *c) {
  lt_value y = lt_ox_operand(c, 0);
  for (unsigned i = 1; i < c->n->in.n; i++) y = lt_ox_binary(c, c->row->op, y, lt_ox_operand(c, i));
  lt_ox_result(c, 0, y);
}

void lt_onnx_mean(lt_onnx *c) {
  lt_value y = lt_ox_operand(c, 0);
  for (unsigned i = 1; i < c->n->in.n; i++) y = lt_ox_binary(c, LT_OP_add, y, lt_ox_operand(c, i));
  lt_ox_result(c, 0, with(c, LT_OP_div, y, c->n->in.n));
}

/* The result is of the base's type; whole exponents that are known are products. */
void lt_onnx_power(lt_onnx *c) {
  lt_value a = lt_ox_in(c, 0), b = lt_ox_in(c, 1), y;
  if (c->opset < 7) b = at_axis(c, a, b);
  lt_dtype base = lt_type_of(c->g, a)->dtype;
  const lt_tensor *k = lt_ox_known(c, 1);
  double v = k && lt_type_count(&k->type) == 1 ? lt_tensor_at(k, 0) : 0;
  if (k && k->type.rank > lt_type_of(c->g, a)->rank) v = 0; /* the exponent has the larger rank */
  if (v == 1) y = a;
  else if (v == 2 || v == 3) {
    y = lt_ox_binary(c, LT_OP_mul, a, a);
    if (v == 3) y = lt_ox_binary(c, LT_OP_mul, y, a);
  } else {
    lt_dtype in = lt_is_float(base) ? base : floats(c, b) ? lt_type_of(c->g, b)->dtype : LT_F64;
    lt_value x = lt_cast(c->g, a, in), e = lt_cast(c->g, b, in);
    y = lt_ox_binary(c, LT_OP_pow, x, e);
    if (!lt_is_float(base) && !floats(c, b))
      y = lt_ox_binary(c, LT_OP_add, y, with(c, LT_OP_mul, un(c, LT_OP_sign, y), 0.5));
    y = lt_cast(c->g, y, base); /* whole numbers to whole powers are rounded, not cut */
  }
  lt_ox_result(c, 0, y);
}

/* ---- truth values ------------------------------------------------------------------------------------------------ */

static lt_value negated(lt_onnx *c, lt_value x) {
  return lt_ox_binary(c, LT_OP_equal, x, lt_const_scalar(c->g, LT_BOOL, 0));
}

void lt_onnx_not(lt_onnx *c) { lt_ox_result(c, 0, negated(c, lt_ox_in(c, 0))); }

void lt_onnx_and(lt_onnx *c) {
  lt_value a = lt_ox_in(c, 0), b = lt_ox_in(c, 1);
  lt_ox_result(c, 0, choose(c, a, b, lt_const_scalar(c->g, LT_BOOL, 0)));
}

void lt_onnx_or(lt_onnx *c) {
  lt_value a = lt_ox_in(c, 0), b = lt_ox_in(c, 1);
  lt_ox_result(c, 0, choose(c, a, lt_const_scalar(c->g, LT_BOOL, 1), b));
}

void lt_onnx_xor(lt_onnx *c) {
  lt_value a = lt_ox_in(c, 0), b = lt_ox_in(c, 1), same = lt_ox_binary(c, LT_OP_equal, a, b);
  lt_ox_result(c, 0, negated(c, same));
}

void lt_onnx_where(lt_onnx *c) {
  lt_value w = lt_ox_in(c, 0), a = lt_ox_in(c, 1), b = lt_ox_in(c, 2);
  lt_ox_result(c, 0, choose(c, w, a, b));
}

void lt_onnx_isnan(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_ox_result(c, 0, negated(c, lt_ox_binary(c, LT_OP_equal, x, x)));
}

void lt_onnx_isinf(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), y = 0;
  bool below = lt_ox_int(c, "detect_negative", 1), above = lt_ox_int(c, "detect_positive", 1);
  if (!below && !above) {
    lt_type t = lt_ox_of(c, x);
    y = lt_broadcast_to(c->g, lt_const_scalar(c->g, LT_BOOL, 0), &t);
  } else y = with(c, LT_OP_equal, below && above ? un(c, LT_OP_abs, x) : x, above ? INFINITY : -INFINITY);
  lt_ox_result(c, 0, y);
}

/* ---- no change, other types -------------------------------------------------------------------------------------- */

void lt_onnx_identity(lt_onnx *c) { lt_ox_alias(c, 0, 0); }

static void result_cast(lt_onnx *c, lt_dtype t) {
  if (lt_ox_empty(c, 0)) {
    lt_type type = *lt_ox_type(c, 0);
    type.dtype = t;
    lt_ox_result_empty(c, 0, &type);
  } else if (lt_ox_type(c, 0)->dtype == t) lt_ox_alias(c, 0, 0);
  else lt_ox_result(c, 0, lt_cast(c->g, lt_ox_in(c, 0), t));
}

void lt_onnx_cast(lt_onnx *c) {
  int64_t to = lt_ox_int(c, "to", 0);
  lt_dtype t;
  lt_ox_int(c, "saturate", 1);       /* of 8-bit floats */
  lt_ox_text(c, "round_mode", "up"); /* likewise */
  if (to <= 0 || to >= LT_ONNX_TYPES || !lt_onnx_dtype((lt_onnx_type)to, &t))
    lt_ox_refuse(c, "to=%s, which is no element type here", lt_onnx_type_name(to));
  result_cast(c, t);
}

void lt_onnx_cast_like(lt_onnx *c) {
  lt_ox_int(c, "saturate", 1);
  lt_ox_text(c, "round_mode", "up");
  result_cast(c, lt_ox_type(c, 1)->dtype);
}

/* Outside training it is the identity, and so it is here unless an entry trains. */
void lt_onnx_dropout(lt_onnx *c) {
  double p = c->opset < 12 ? lt_ox_float(c, "ratio", 0.5) : lt_ox_has(c, 1) ? lt_ox_known_float(c, 1, "ratio") : 0.5;
  bool training = lt_ox_has(c, 2) && lt_ox_known_int(c, 2, "training_mode");
  lt_ox_int(c, "seed", 0);
  if (c->opset < 7) lt_ox_int(c, "is_test", 0);
  if (training && p > 0) lt_ox_refuse(c, "training_mode is true: random numbers are drawn in training only");
  lt_value x = lt_ox_in(c, 0), y = x;
  lt_dropout_attrs a = {.p = p, .key = c->g->label};
  if (p > 0 && p < 1 && floats(c, x)) y = lt_emit(c->g, LT_OP_dropout, &a, &x, 1);
  lt_ox_result(c, 0, y);
  if (!lt_ox_wants(c, 1)) return;
  lt_type t = lt_ox_of(c, x);
  lt_ox_result(c, 1, lt_broadcast_to(c->g, lt_const_scalar(c->g, LT_BOOL, 1), &t));
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

static bool bound(lt_onnx *c, unsigned i, double *v) {
  const lt_tensor *k = lt_ox_has(c, i) ? lt_ox_known(c, i) : NULL;
  if (k && lt_type_count(&k->type) == 1) *v = lt_tensor_at(k, 0);
  return !lt_ox_has(c, i) || k;
}

void lt_onnx_clip(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  double lo = lt_ox_float(c, "min", -INFINITY), hi = lt_ox_float(c, "max", INFINITY);
  bool known = bound(c, 1, &lo);
  known = bound(c, 2, &hi) && known;
  if (known && lo <= hi && floats(c, x)) {
    lt_ox_result(c, 0, limited(c, x, lo, hi));
    return;
  }
  if (lt_ox_has(c, 1)) x = lt_ox_binary(c, LT_OP_max, x, lt_ox_in(c, 1));
  if (lt_ox_has(c, 2)) x = lt_ox_binary(c, LT_OP_min, x, lt_ox_in(c, 2));
  lt_ox_result(c, 0, x);
}

/* ---- activations ------------------------------------------------------------------------------------------------- */

/* x where it is above zero, else the other */
static lt_value positive_or(lt_onnx *c, lt_value x, lt_value otherwise) {
  return choose(c, with(c, LT_OP_less, x, 0), otherwise, x);
}

void lt_onnx_leaky_relu(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_ox_result(c, 0, positive_or(c, x, with(c, LT_OP_mul, x, lt_ox_float(c, "alpha", 0.01))));
}

/* Before version 7 a slope [C] was by channel; since then it broadcasts as any operand. */
void lt_onnx_prelu(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), slope = lt_ox_weight(c, 1);
  lt_type t = lt_ox_of(c, x), s = lt_ox_of(c, slope);
  if (c->opset < 7 && s.rank == 1 && t.rank > 1 && s.dim[0] == t.dim[1]) slope = lt_ox_per_channel(c, slope, t.rank);
  lt_ox_result(c, 0, positive_or(c, x, lt_ox_binary(c, LT_OP_mul, x, slope)));
}

/* gain·(x or alpha·(e^(x/over) - 1) below zero) */
static lt_value exponential(lt_onnx *c, lt_value x, double alpha, double over) {
  lt_value low = limited(c, x, -INFINITY, 0);
  if (over != 1) low = with(c, LT_OP_div, low, over);
  low = with(c, LT_OP_sub, un(c, LT_OP_exp, low), 1);
  return positive_or(c, x, alpha == 1 ? low : with(c, LT_OP_mul, low, alpha));
}

void lt_onnx_elu(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_ox_result(c, 0, exponential(c, x, lt_ox_float(c, "alpha", 1), 1));
}

void lt_onnx_celu(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  double alpha = lt_ox_float(c, "alpha", 1);
  lt_ox_result(c, 0, exponential(c, x, alpha, alpha));
}

void lt_onnx_selu(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  double alpha = lt_ox_float(c, "alpha", 1.67326319217681884765625),
         gain = lt_ox_float(c, "gamma", 1.05070102214813232421875);
  lt_ox_result(c, 0, with(c, LT_OP_mul, exponential(c, x, alpha, 1), gain));
}

void lt_onnx_thresholded_relu(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), zero = lt_ox_number(c, x, 0);
  lt_value above = from(c, LT_OP_less, lt_ox_float(c, "alpha", 1), x);
  lt_ox_result(c, 0, choose(c, above, x, zero));
}

static lt_value hard(lt_onnx *c, lt_value x, double alpha, double beta) {
  return limited(c, with(c, LT_OP_add, with(c, LT_OP_mul, x, alpha), beta), 0, 1);
}

void lt_onnx_hard_sigmoid(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_ox_result(c, 0, hard(c, x, lt_ox_float(c, "alpha", 0.2), lt_ox_float(c, "beta", 0.5)));
}

void lt_onnx_hard_swish(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_ox_result(c, 0, lt_ox_binary(c, LT_OP_mul, x, hard(c, x, 1.0 / 6, 0.5)));
}

static lt_value swish(lt_onnx *c, lt_value x) {
  double alpha = lt_ox_float(c, "alpha", 1);
  return lt_ox_binary(c, LT_OP_mul, x, un(c, LT_OP_sigmoid, alpha == 1 ? x : with(c, LT_OP_mul, x, alpha)));
}

void lt_onnx_swish(lt_onnx *c) { lt_ox_result(c, 0, swish(c, lt_ox_in(c, 0))); }

void lt_onnx_swiglu(lt_onnx *c) {
  lt_value gate = lt_ox_in(c, 0), x = lt_ox_in(c, 1);
  lt_type t = lt_ox_of(c, gate), u = lt_ox_of(c, x);
  if (!lt_type_eq(&t, &u))
    lt_ox_refuse(c, "its gate is %s, what it lets through %s", lt_type_text(c->arena, &t), lt_type_text(c->arena, &u));
  lt_ox_result(c, 0, lt_ox_binary(c, LT_OP_mul, swish(c, gate), x));
}

void lt_onnx_mish(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), t = un(c, LT_OP_tanh, un(c, LT_OP_softplus, x));
  lt_ox_result(c, 0, lt_ox_binary(c, LT_OP_mul, x, t));
}

/* 0.5 x (1 + erf(x/√2)), or 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))). */
void lt_onnx_gelu(lt_onnx *c) {
  const char *form = lt_ox_text(c, "approximate", "none");
  bool exact = !strcmp(form, "none");
  if (!exact && strcmp(form, "tanh")) lt_ox_refuse(c, "approximate=%.20s is unknown", form);
  lt_value x = lt_ox_in(c, 0), inner = x;
  if (!exact) {
    lt_value cube = lt_ox_binary(c, LT_OP_mul, lt_ox_binary(c, LT_OP_mul, x, x), x);
    inner = lt_ox_binary(c, LT_OP_add, x, with(c, LT_OP_mul, cube, 0.044715));
  }
  inner = with(c, LT_OP_mul, inner, exact ? 0.70710678118654752440 : 0.7978845608028654);
  lt_value t = un(c, exact ? LT_OP_erf : LT_OP_tanh, inner), half = with(c, LT_OP_mul, x, 0.5);
  lt_ox_result(c, 0, lt_ox_binary(c, LT_OP_mul, half, with(c, LT_OP_add, t, 1)));
}

void lt_onnx_softsign(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), under = with(c, LT_OP_add, un(c, LT_OP_abs, x), 1);
  lt_ox_result(c, 0, lt_ox_binary(c, LT_OP_div, x, under));
}

void lt_onnx_shrink(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  double lambda = lt_ox_float(c, "lambd", 0.5), bias = lt_ox_float(c, "bias", 0);
  lt_value low = with(c, LT_OP_less, x, -lambda), high = from(c, LT_OP_less, lambda, x);
  lt_value zero = lt_ox_number(c, x, 0), inside = choose(c, high, with(c, LT_OP_sub, x, bias), zero);
  lt_ox_result(c, 0, choose(c, low, with(c, LT_OP_add, x, bias), inside));
}

void lt_onnx_reciprocal(lt_onnx *c) { lt_ox_result(c, 0, from(c, LT_OP_div, 1, lt_ox_in(c, 0))); }

/* ---- whole numbers and remainders -------------------------------------------------------------------------------- */

void lt_onnx_ceil(lt_onnx *c) {
  lt_ox_result(c, 0, un(c, LT_OP_neg, un(c, LT_OP_floor, un(c, LT_OP_neg, lt_ox_in(c, 0)))));
}

/* a - b·(a/b cut towards zero), which has the sign of a; without fmod that of b, so b is added where they differ. Of
 * floats the quotient is a rounded one: exact while it is below 2^fraction. */
void lt_onnx_mod(lt_onnx *c) {
  lt_value a, b;
  bool as_c = lt_ox_int(c, "fmod", 0);
  two(c, &a, &b);
  lt_value q = lt_ox_binary(c, LT_OP_div, a, b);
  if (floats(c, a)) q = lt_ox_binary(c, LT_OP_mul, un(c, LT_OP_sign, q), un(c, LT_OP_floor, un(c, LT_OP_abs, q)));
  lt_value rest = lt_ox_binary(c, LT_OP_sub, a, lt_ox_binary(c, LT_OP_mul, q, b));
  if (floats(c, a)) rest = choose(c, with(c, LT_OP_equal, q, 0), a, rest); /* 5 mod inf is 5 */
  if (!as_c) {
    lt_value differ = with(c, LT_OP_less, lt_ox_binary(c, LT_OP_mul, un(c, LT_OP_sign, rest), un(c, LT_OP_sign, b)), 0);
    rest = choose(c, differ, lt_ox_binary(c, LT_OP_add, rest, b), rest);
  }
  lt_ox_result(c, 0, rest);
}

/* ---- inverse functions of angles --------------------------------------------------------------------------------- */

/* atan(x / √(1 - x²)); acos is what is missing to a quarter turn. */
void lt_onnx_asin_acos(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), under = from(c, LT_OP_sub, 1, lt_ox_binary(c, LT_OP_mul, x, x));
  lt_value y = un(c, LT_OP_atan, lt_ox_binary(c, LT_OP_div, x, un(c, LT_OP_sqrt, under)));
  lt_ox_result(c, 0, c->row->op == LT_OP_sub ? from(c, LT_OP_sub, 1.57079632679489661923, y) : y);
}

/* ---- hyperbolic functions ---------------------------------------------------------------------------------------- */

void lt_onnx_sinh_cosh(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), up = un(c, LT_OP_exp, x), down = un(c, LT_OP_exp, un(c, LT_OP_neg, x));
  lt_ox_result(c, 0, with(c, LT_OP_mul, lt_ox_binary(c, c->row->op, up, down), 0.5));
}

/* sign(x)·log(|x| + √(x² + 1)); log(x + √(x² - 1)) */
void lt_onnx_asinh_acosh(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), magnitude = un(c, LT_OP_abs, x);
  lt_value square = lt_ox_binary(c, LT_OP_mul, x, x), root = un(c, LT_OP_sqrt, with(c, c->row->op, square, 1));
  lt_value y = un(c, LT_OP_log, lt_ox_binary(c, LT_OP_add, magnitude, root));
  lt_ox_result(c, 0, c->row->op == LT_OP_sub ? y : lt_ox_binary(c, LT_OP_mul, un(c, LT_OP_sign, x), y));
}

void lt_onnx_atanh(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), up = with(c, LT_OP_add, x, 1), down = from(c, LT_OP_sub, 1, x);
  lt_ox_result(c, 0, with(c, LT_OP_mul, un(c, LT_OP_log, lt_ox_binary(c, LT_OP_div, up, down)), 0.5));
}

void lt_onnx_tan(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), s = un(c, LT_OP_sin, x);
  lt_ox_result(c, 0, lt_ox_binary(c, LT_OP_div, s, un(c, LT_OP_cos, x)));
}
