/* op_map.c: elementwise ops with NumPy's broadcasting. All share one inference (types broadcast, element types equal)
 * and one loop; what each computes is one line of lt_map_eval (floats) or map_int (integers, which wrap). */
#include <math.h>

#include "ir/op_util.h"

/* ---- meaning ----------------------------------------------------------------------------------------------------- */

static double saturate(double a, double lo, double hi) { return isnan(a) ? 0.0 : a < lo ? lo : a > hi ? hi : trunc(a); }

static double cast_eval(lt_dtype t, double a) {
  switch (t) {
  case LT_I32: return saturate(a, INT32_MIN, INT32_MAX);
  case LT_I64: return saturate(a, -0x1p63, 0x1p63);
  case LT_BOOL: return a != 0.0;
  case LT_F32: case LT_F64: case LT_DTYPES: break;
  }
  return a;
}

double lt_map_eval(lt_op op, const void *attrs, double a, double b, double c) {
  switch (op) {
  case LT_OP_add: return a + b;
  case LT_OP_sub: return a - b;
  case LT_OP_mul: return a * b;
  case LT_OP_div: return a / b;
  case LT_OP_pow: return pow(a, b);
  case LT_OP_max: return a > b || isnan(a) ? a : isnan(b) || b > a ? b : a;
  case LT_OP_min: return a < b || isnan(a) ? a : isnan(b) || b < a ? b : a;
  case LT_OP_neg: return -a;
  case LT_OP_abs: return fabs(a);
  case LT_OP_sign: return isnan(a) ? a : (double)((a > 0) - (a < 0));
  case LT_OP_exp: return exp(a);
  case LT_OP_log: return log(a);
  case LT_OP_sqrt: return sqrt(a);
  case LT_OP_tanh: return tanh(a);
  case LT_OP_sigmoid: return a >= 0 ? 1 / (1 + exp(-a)) : exp(a) / (1 + exp(a));
  case LT_OP_softplus: return (a > 0 ? a : 0) + log1p(exp(-fabs(a)));
  case LT_OP_erf: return erf(a);
  case LT_OP_atan: return atan(a);
  case LT_OP_sin: return sin(a);
  case LT_OP_cos: return cos(a);
  case LT_OP_floor: return floor(a);
  case LT_OP_round: return rint(a);
  case LT_OP_relu: return a > 0 || isnan(a) ? a : 0.0;
  case LT_OP_clip: {
    const lt_clip_attrs *k = attrs;
    return a < k->lo ? k->lo : a > k->hi ? k->hi : a;
  }
  case LT_OP_less: return a < b;
  case LT_OP_less_equal: return a <= b;
  case LT_OP_equal: return a == b;
  case LT_OP_select: return a != 0.0 ? b : c;
  case LT_OP_cast: return cast_eval((lt_dtype)((const lt_cast_attrs *)attrs)->dtype, a);
  case LT_OP_stop_grad: return a;
  default: break;
  }
  assert(!"an elementwise op");
  return NAN;
}

static int64_t map_int(lt_op op, int64_t a, int64_t b) {
  uint64_t ua = (uint64_t)a, ub = (uint64_t)b;
  switch (op) {
  case LT_OP_add: return (int64_t)(ua + ub);
  case LT_OP_sub: return (int64_t)(ua - ub);
  case LT_OP_mul: return (int64_t)(ua * ub);
  case LT_OP_div: return b == 0 ? 0 : b == -1 ? (int64_t)-ua : a / b;
  case LT_OP_max: return LT_MAX(a, b);
  case LT_OP_min: return LT_MIN(a, b);
  case LT_OP_neg: return (int64_t)-ua;
  case LT_OP_abs: return a < 0 ? (int64_t)-ua : a;
  case LT_OP_sign: return (a > 0) - (a < 0);
  case LT_OP_less: return a < b;
  case LT_OP_less_equal: return a <= b;
  case LT_OP_equal: return a == b;
  case LT_OP_stop_grad: case LT_OP_cast: return a;
  default: break;
  }
  assert(!"an elementwise op of whole numbers");
  return 0;
}

/* ---- the shared loop --------------------------------------------------------------------------------------------- */

static int64_t to_integer(double v) { return v >= 0x1p63 ? INT64_MAX : (int64_t)v; }

static void eval_cast(const lt_node *n, const lt_tensor *x, lt_tensor *y, int64_t count) {
  lt_dtype t = y->type.dtype;
  bool from = lt_is_float(x->type.dtype), to = lt_is_float(t);
  for (int64_t i = 0; i < count; i++) {
    if (from && to) y->f[i] = x->f[i];
    else if (from) y->i[i] = to_integer(lt_map_eval(n->op, n->attrs, x->f[i], 0, 0));
    else if (to) y->f[i] = (double)x->i[i];
    else y->i[i] = lt_dtype_wrap(t, x->i[i]);
  }
}

static void eval_map(const lt_node *n, const lt_tensor *const *in, lt_tensor *const *out) {
  lt_tensor *y = out[0];
  int64_t count = lt_type_count(&y->type);
  lt_walk w;
  lt_walk_init(&w, &y->type);
  for (unsigned k = 0; k < n->n_in; k++) lt_walk_add(&w, &in[k]->type);
  bool of_floats = lt_is_float(in[n->n_in - 1]->type.dtype), to_float = lt_is_float(y->type.dtype);
  for (int64_t i = 0; i < count; i++, lt_walk_next(&w)) {
    if (n->op == LT_OP_select) {
      unsigned k = in[0]->i[w.off[0]] ? 1 : 2;
      lt_tensor_move(y, i, in[k], w.off[k]);
    } else if (of_floats) {
      double r = lt_map_eval(n->op, n->attrs, in[0]->f[w.off[0]], n->n_in > 1 ? in[1]->f[w.off[1]] : 0, 0);
      if (to_float) y->f[i] = r;
      else y->i[i] = r != 0.0;
    } else {
      int64_t r = map_int(n->op, in[0]->i[w.off[0]], n->n_in > 1 ? in[1]->i[w.off[1]] : 0);
      y->i[i] = lt_dtype_wrap(y->type.dtype, r);
    }
  }
}

/* ---- types ------------------------------------------------------------------------------------------------------- */

typedef enum map_domain { MAP_FLOAT, MAP_NUMBER, MAP_ANY } map_domain;

static void need_domain(lt_graph *g, lt_op op, map_domain d, const char *what, lt_value v) {
  lt_dtype t = lt_type_of(g, v)->dtype;
  if (d == MAP_FLOAT) lt_need_float(g, op, what, v);
  if (d == MAP_NUMBER && lt_dtype_kind(t) == LT_TRUTHS)
    lt_node_fail(g, op, "%s %s must be of a number type\nhelp: cast(…, dtype=i32) converts it", what, lt_text_of(g, v));
}

static void infer_unary(lt_graph *g, lt_op op, map_domain d, const lt_value *in, lt_type *out) {
  need_domain(g, op, d, "x", in[0]);
  *out = *lt_type_of(g, in[0]);
}

static lt_type broadcast(lt_graph *g, lt_op op, const char *an, lt_value a, const char *bn, lt_value b) {
  lt_type t;
  if (lt_broadcast(&t, lt_type_of(g, a), lt_type_of(g, b))) return t;
  lt_node_fail(g, op, "%s %s and %s %s do not broadcast: counted from the last axis, dims must be equal or 1", an,
               lt_text_of(g, a), bn, lt_text_of(g, b));
}

static void infer_binary(lt_graph *g, lt_op op, map_domain d, const lt_value *in, lt_type *out) {
  need_domain(g, op, d, "a", in[0]);
  lt_need_dtype(g, op, "a", in[0], "b", in[1]);
  *out = broadcast(g, op, "a", in[0], "b", in[1]);
}

#define UNARY(op, domain)                                                                                              \
  LT_INFER(op) { infer_unary(g, LT_OP_##op, domain, in, out_type); }                                                   \
  LT_EVAL(op) { eval_map(n, in, out); }
#define BINARY(op, domain)                                                                                             \
  LT_INFER(op) { infer_binary(g, LT_OP_##op, domain, in, out_type); }                                                  \
  LT_EVAL(op) { eval_map(n, in, out); }
#define COMPARE(op, domain)                                                                                            \
  LT_INFER(op) {                                                                                                       \
    infer_binary(g, LT_OP_##op, domain, in, out_type);                                                                 \
    out_type->dtype = LT_BOOL;                                                                                         \
  }                                                                                                                    \
  LT_EVAL(op) { eval_map(n, in, out); }

/* ---- gradients --------------------------------------------------------------------------------------------------- */

static lt_value to_operand(lt_graph *g, lt_value grad, lt_value operand) {
  const lt_type t = *lt_type_of(g, operand);
  return lt_sum_to(g, grad, &t);
}
static lt_value select_of(lt_graph *g, lt_value c, lt_value a, lt_value b) {
  return lt_emit(g, LT_OP_select, NULL, (lt_value[]){c, a, b}, 3);
}
static lt_value sub(lt_graph *g, lt_value a, lt_value b) { return lt_binary(g, LT_OP_sub, a, b); }
static lt_value mul(lt_graph *g, lt_value a, lt_value b) { return lt_binary(g, LT_OP_mul, a, b); }
static lt_value quotient(lt_graph *g, lt_value a, lt_value b) { return lt_binary(g, LT_OP_div, a, b); }
static lt_value neg(lt_graph *g, lt_value a) { return lt_unary(g, LT_OP_neg, a); }

BINARY(add, MAP_NUMBER)
LT_VJP(add) {
  gin[0] = to_operand(v->g, gout[0], in[0]);
  gin[1] = to_operand(v->g, gout[0], in[1]);
}

BINARY(sub, MAP_NUMBER)
LT_VJP(sub) {
  gin[0] = to_operand(v->g, gout[0], in[0]);
  gin[1] = neg(v->g, to_operand(v->g, gout[0], in[1]));
}

BINARY(mul, MAP_NUMBER)
LT_VJP(mul) {
  gin[0] = to_operand(v->g, mul(v->g, gout[0], in[1]), in[0]);
  gin[1] = to_operand(v->g, mul(v->g, gout[0], in[0]), in[1]);
}

BINARY(div, MAP_NUMBER)
LT_VJP(div) { /* (a/b)' = a'/b - (a/b)·b'/b */
  lt_value q = quotient(v->g, gout[0], in[1]);
  gin[0] = to_operand(v->g, q, in[0]);
  gin[1] = neg(v->g, to_operand(v->g, mul(v->g, q, out[0]), in[1]));
}

/* True when v is a constant without the element `value`, so that a guard against it is not needed. */
static bool never(lt_graph *g, lt_value v, double value) {
  if (lt_op_of(g, v) != LT_OP_const) return false;
  const lt_data *d = ((const lt_const_attrs *)lt_node_of(g, v)->attrs)->value;
  for (int64_t i = 0, count = lt_type_count(&d->type); i < count; i++)
    if (lt_data_at(d, i) == value) return false;
  return true;
}

/* d(a^b) = b·a^(b-1) da + a^b·log(a) db. Where b = 0 the first is 0 even at a = 0; where a ≤ 0 the second is taken as
 * 0. The guards stand before log, so that no NaN is multiplied by 0 when this is differentiated again. */
BINARY(pow, MAP_FLOAT)
LT_VJP(pow) {
  lt_graph *g = v->g;
  lt_value one = lt_number(g, in[0], 1), zero = lt_number(g, in[0], 0);
  lt_value ga = mul(g, in[1], lt_binary(g, LT_OP_pow, in[0], sub(g, in[1], one)));
  if (!never(g, in[1], 0)) ga = select_of(g, lt_binary(g, LT_OP_equal, in[1], zero), zero, ga);
  gin[0] = to_operand(g, mul(g, gout[0], ga), in[0]);
  lt_value positive = lt_binary(g, LT_OP_less, zero, in[0]);
  lt_value log = lt_unary(g, LT_OP_log, select_of(g, positive, in[0], one));
  lt_value gb = select_of(g, positive, mul(g, out[0], log), zero);
  gin[1] = to_operand(g, mul(g, gout[0], gb), in[1]);
}

/* The gradient goes to b where `b_wins`, else to a. */
static void vjp_choice(lt_graph *g, lt_value b_wins, const lt_value *in, lt_value gy, lt_value *gin) {
  lt_value zero = lt_number(g, gy, 0);
  gin[0] = to_operand(g, select_of(g, b_wins, zero, gy), in[0]);
  gin[1] = to_operand(g, select_of(g, b_wins, gy, zero), in[1]);
}

BINARY(max, MAP_NUMBER)
LT_VJP(max) { vjp_choice(v->g, lt_binary(v->g, LT_OP_less, in[0], in[1]), in, gout[0], gin); }

BINARY(min, MAP_NUMBER)
LT_VJP(min) { vjp_choice(v->g, lt_binary(v->g, LT_OP_less, in[1], in[0]), in, gout[0], gin); }

UNARY(neg, MAP_NUMBER)
LT_VJP(neg) { gin[0] = neg(v->g, gout[0]); }

UNARY(abs, MAP_NUMBER)
LT_VJP(abs) { gin[0] = mul(v->g, gout[0], lt_unary(v->g, LT_OP_sign, in[0])); }

UNARY(sign, MAP_NUMBER)

UNARY(exp, MAP_FLOAT)
LT_VJP(exp) { gin[0] = mul(v->g, gout[0], out[0]); }

UNARY(log, MAP_FLOAT)
LT_VJP(log) { gin[0] = quotient(v->g, gout[0], in[0]); }

UNARY(sqrt, MAP_FLOAT)
LT_VJP(sqrt) { gin[0] = quotient(v->g, mul(v->g, gout[0], lt_number(v->g, gout[0], 0.5)), out[0]); }

UNARY(tanh, MAP_FLOAT)
LT_VJP(tanh) { /* 1 - y² */
  lt_value square = mul(v->g, out[0], out[0]), d = sub(v->g, lt_number(v->g, out[0], 1), square);
  gin[0] = mul(v->g, gout[0], d);
}

UNARY(sigmoid, MAP_FLOAT)
LT_VJP(sigmoid) { /* y·(1 - y) */
  lt_value d = mul(v->g, out[0], sub(v->g, lt_number(v->g, out[0], 1), out[0]));
  gin[0] = mul(v->g, gout[0], d);
}

UNARY(softplus, MAP_FLOAT)
LT_VJP(softplus) { gin[0] = mul(v->g, gout[0], lt_unary(v->g, LT_OP_sigmoid, in[0])); }

UNARY(erf, MAP_FLOAT)
LT_VJP(erf) { /* 2/sqrt(pi) e^(-x²) */
  lt_value square = mul(v->g, in[0], in[0]), bell = lt_unary(v->g, LT_OP_exp, neg(v->g, square));
  gin[0] = mul(v->g, mul(v->g, gout[0], lt_number(v->g, gout[0], 1.12837916709551257390)), bell);
}

UNARY(atan, MAP_FLOAT)
LT_VJP(atan) { /* 1 / (1 + x²) */
  lt_value square = mul(v->g, in[0], in[0]);
  gin[0] = quotient(v->g, gout[0], lt_binary(v->g, LT_OP_add, square, lt_number(v->g, in[0], 1)));
}

UNARY(sin, MAP_FLOAT)
LT_VJP(sin) { gin[0] = mul(v->g, gout[0], lt_unary(v->g, LT_OP_cos, in[0])); }

UNARY(cos, MAP_FLOAT)
LT_VJP(cos) { gin[0] = neg(v->g, mul(v->g, gout[0], lt_unary(v->g, LT_OP_sin, in[0]))); }

UNARY(floor, MAP_FLOAT)
UNARY(round, MAP_FLOAT)

/* By the sign of the result, so that x need not be kept. */
UNARY(relu, MAP_FLOAT)
LT_VJP(relu) {
  lt_value zero = lt_number(v->g, out[0], 0);
  gin[0] = select_of(v->g, lt_binary(v->g, LT_OP_less, zero, out[0]), gout[0], zero);
}

LT_INFER(clip) {
  const lt_clip_attrs *a = attrs;
  infer_unary(g, LT_OP_clip, MAP_FLOAT, in, out_type);
  if (isnan(a->lo) || isnan(a->hi)) lt_node_fail(g, LT_OP_clip, "lo %g and hi %g must be numbers", a->lo, a->hi);
  if (a->lo > a->hi) lt_node_fail(g, LT_OP_clip, "lo %g must not be larger than hi %g", a->lo, a->hi);
}
LT_EVAL(clip) { eval_map(n, in, out); }
LT_VJP(clip) { /* limited where the result is not x */
  lt_value kept = lt_binary(v->g, LT_OP_equal, in[0], out[0]);
  gin[0] = select_of(v->g, kept, gout[0], lt_number(v->g, gout[0], 0));
}

COMPARE(less, MAP_NUMBER)
COMPARE(less_equal, MAP_NUMBER)
COMPARE(equal, MAP_ANY)

LT_INFER(select) {
  const lt_op op = LT_OP_select;
  if (lt_type_of(g, in[0])->dtype != LT_BOOL)
    lt_node_fail(g, op, "c %s must be bool\nhelp: less, less_equal and equal make one", lt_text_of(g, in[0]));
  lt_need_dtype(g, op, "a", in[1], "b", in[2]);
  lt_type ab = broadcast(g, op, "a", in[1], "b", in[2]);
  if (!lt_broadcast(out_type, &ab, lt_type_of(g, in[0])))
    lt_node_fail(g, op, "c %s does not broadcast with a %s and b %s", lt_text_of(g, in[0]), lt_text_of(g, in[1]),
                 lt_text_of(g, in[2]));
}
LT_EVAL(select) { eval_map(n, in, out); }
LT_VJP(select) {
  lt_value zero = lt_number(v->g, gout[0], 0);
  gin[1] = to_operand(v->g, select_of(v->g, in[0], gout[0], zero), in[1]);
  gin[2] = to_operand(v->g, select_of(v->g, in[0], zero, gout[0]), in[2]);
}

LT_INFER(cast) {
  const lt_cast_attrs *a = attrs;
  if (a->dtype < 0 || a->dtype >= LT_DTYPES) lt_node_fail(g, LT_OP_cast, "has no element type");
  *out_type = *lt_type_of(g, in[0]);
  out_type->dtype = (lt_dtype)a->dtype;
}
LT_EVAL(cast) { eval_cast(n, in[0], out[0], lt_type_count(&out[0]->type)); }
LT_VJP(cast) {
  lt_dtype t = lt_type_of(v->g, in[0])->dtype;
  if (lt_is_float(t)) gin[0] = lt_cast(v->g, gout[0], t);
}

UNARY(stop_grad, MAP_ANY)
