/* ops_training.c: the standard's preview of training: gradients of a value of the graph, and steps of optimizers, which
 * take values, gradients and what they accumulate, of any number of weights, and give all but the gradients anew. */
#include "frontend/onnx/forms.h"

/* ---- Gradient ---------------------------------------------------------------------------------------------------- */

static lt_value value_named(lt_onnx *c, const char *name) {
  lt_onnx_slot *s = lt_onnx_slot_find(c, name);
  if (!s || s->refused) lt_ox_refuse(c, "`%.80s` is %s", name, s ? "not read" : "made by nothing before it");
  return lt_onnx_slot_value(c, s);
}

/* Operands are the values that the names in xs and zs have, or others, at which nothing was computed. */
void lt_onnx_gradient(lt_onnx *c) {
  const lt_onnx_attr *xs = lt_ox_texts(c, "xs"), *zs = lt_ox_texts(c, "zs");
  uint32_t n = xs ? xs->strings.n : 0, fixed = zs ? zs->strings.n : 0;
  if (!n || c->n->in.n != n + fixed || c->n->out.n > n)
    lt_ox_refuse(c, "it has %u operands and %u results for %u and %u names", c->n->in.n, c->n->out.n, n, fixed);
  lt_value *in = LT_NEW_ARRAY(c->arena, lt_value, n + 2u);
  in[0] = value_named(c, lt_ox_text(c, "y", ""));
  for (uint32_t i = 0; i < n + fixed; i++) {
    const char *name = i < n ? xs->strings.at[i] : zs->strings.at[i - n];
    lt_value v = value_named(c, name);
    if (lt_ox_in(c, i) != v) lt_ox_refuse(c, "it asks for gradients at another value than that of `%.80s`", name);
    if (i < n) in[2 + i] = v;
  }
  if (!lt_is_float(lt_ox_of(c, in[0]).dtype)) lt_ox_refuse(c, "y is no value of floats");
  lt_value first = lt_emit(c->g, LT_OP_grad, NULL, in, n + 2u);
  for (uint32_t i = 0; i < c->n->out.n; i++) lt_ox_result(c, i, first + i);
}

/* ---- optimizers -------------------------------------------------------------------------------------------------- */

static lt_value plus(lt_onnx *c, lt_value a, lt_value b) { return lt_ox_binary(c, LT_OP_add, a, b); }
static lt_value times(lt_onnx *c, lt_value a, lt_value b) { return lt_ox_binary(c, LT_OP_mul, a, b); }

enum { MOST_PARTS = 3 };
/* A weight, its gradient with that of its norm, and what is accumulated beside it. */
typedef struct weight { lt_value x, g, kept[MOST_PARTS - 1]; } weight;
typedef struct optimizer {
  uint32_t n;           /* weights */
  lt_value rate, count; /* operands 0 and 1: of any type of floats; of steps so far */
} optimizer;

/* `kept` values are accumulated for each weight. */
static optimizer read_optimizer(lt_onnx *c, uint32_t kept) {
  optimizer o = {.rate = lt_ox_in(c, 0), .count = lt_ox_in(c, 1)};
  uint32_t each = 2 + kept, given = c->n->in.n - 2;
  o.n = given / each;
  if (!o.n || given % each || c->n->out.n > o.n * (each - 1))
    lt_ox_refuse(c, "it has %u operands and %u results, %u and %u for a weight", given, c->n->out.n, each, each - 1);
  if (lt_type_count(lt_ox_type(c, 0)) != 1 || lt_type_count(lt_ox_type(c, 1)) != 1)
    lt_ox_refuse(c, "its rate and its count should be a number each");
  o.rate = lt_ox_reshape(c, lt_cast(c->g, o.rate, LT_F64), 0, NULL);
  o.count = lt_ox_reshape(c, lt_cast(c->g, o.count, LT_F64), 0, NULL);
  return o;
}

static weight read_weight(lt_onnx *c, const optimizer *o, uint32_t i, uint32_t kept) {
  weight w = {.x = lt_ox_weight(c, 2 + i), .g = lt_ox_in(c, 2 + o->n + i)};
  for (uint32_t k = 0; k < kept; k++) w.kept[k] = lt_ox_in(c, 2 + (2 + k) * o->n + i);
  w.g = plus(c, with(c, LT_OP_mul, w.x, lt_ox_float(c, "norm_coefficient", 0)), w.g);
  return w;
}

static void put_weight(lt_onnx *c, const optimizer *o, uint32_t i, const weight *w, uint32_t kept) {
  lt_ox_result(c, i, w->x);
  for (uint32_t k = 0; k < kept; k++) lt_ox_result(c, (1 + k) * o->n + i, w->kept[k]);
}

static lt_value as(lt_onnx *c, lt_value number, lt_value like) {
  return lt_cast(c->g, number, lt_ox_of(c, like).dtype);
}

/* The first step takes the gradient as it is. */
void lt_onnx_momentum(lt_onnx *c) {
  optimizer o = read_optimizer(c, 1);
  double alpha = lt_ox_float(c, "alpha", 0), beta = lt_ox_float(c, "beta", 1);
  const char *mode = lt_ox_text(c, "mode", "");
  bool nesterov = !strcmp(mode, "nesterov");
  if (!nesterov && strcmp(mode, "standard")) lt_ox_refuse(c, "mode=%.40s is unknown", mode);
  lt_value later = from(c, LT_OP_less, 0, o.count);
  lt_value share = choose(c, later, lt_ox_number(c, o.count, beta), lt_ox_number(c, o.count, 1));
  for (uint32_t i = 0; i < o.n; i++) {
    weight w = read_weight(c, &o, i, 1);
    w.kept[0] = plus(c, with(c, LT_OP_mul, w.kept[0], alpha), times(c, as(c, share, w.x), w.g));
    lt_value step = nesterov ? plus(c, w.g, with(c, LT_OP_mul, w.kept[0], alpha)) : w.kept[0];
    w.x = lt_ox_binary(c, LT_OP_sub, w.x, times(c, as(c, o.rate, w.x), step));
    put_weight(c, &o, i, &w, 1);
  }
}

void lt_onnx_adagrad(lt_onnx *c) {
  optimizer o = read_optimizer(c, 1);
  double epsilon = lt_ox_float(c, "epsilon", 1e-6);
  lt_value decay = with(c, LT_OP_mul, o.count, lt_ox_float(c, "decay_factor", 0));
  lt_value rate = lt_ox_binary(c, LT_OP_div, o.rate, with(c, LT_OP_add, decay, 1));
  for (uint32_t i = 0; i < o.n; i++) {
    weight w = read_weight(c, &o, i, 1);
    w.kept[0] = plus(c, w.kept[0], times(c, w.g, w.g));
    lt_value root = with(c, LT_OP_add, un(c, LT_OP_sqrt, w.kept[0]), epsilon);
    w.x = lt_ox_binary(c, LT_OP_sub, w.x, lt_ox_binary(c, LT_OP_div, times(c, as(c, rate, w.x), w.g), root));
    put_weight(c, &o, i, &w, 1);
  }
}

/* The rate with the bias of both averages taken out, but for the first step. */
static lt_value unbiased(lt_onnx *c, const optimizer *o, double alpha, double beta) {
  lt_value steps = with(c, LT_OP_max, o->count, 1);
  lt_value above = un(c, LT_OP_sqrt, from(c, LT_OP_sub, 1, from(c, LT_OP_pow, beta, steps)));
  lt_value below = from(c, LT_OP_sub, 1, from(c, LT_OP_pow, alpha, steps));
  lt_value rate = lt_ox_binary(c, LT_OP_div, times(c, o->rate, above), below);
  return choose(c, from(c, LT_OP_less, 0, o->count), rate, o->rate);
}

/* new · (1 - share) + old · share */
static lt_value average(lt_onnx *c, lt_value old, lt_value new, double share) {
  return plus(c, with(c, LT_OP_mul, old, share), with(c, LT_OP_mul, new, 1 - share));
}

void lt_onnx_adam(lt_onnx *c) {
  optimizer o = read_optimizer(c, 2);
  double alpha = lt_ox_float(c, "alpha", 0.9), beta = lt_ox_float(c, "beta", 0.999);
  double epsilon = lt_ox_float(c, "epsilon", 1e-6), shrink = lt_ox_float(c, "norm_coefficient_post", 0);
  lt_value rate = unbiased(c, &o, alpha, beta);
  for (uint32_t i = 0; i < o.n; i++) {
    weight w = read_weight(c, &o, i, 2);
    w.kept[0] = average(c, w.kept[0], w.g, alpha);
    w.kept[1] = average(c, w.kept[1], times(c, w.g, w.g), beta);
    lt_value root = with(c, LT_OP_add, un(c, LT_OP_sqrt, w.kept[1]), epsilon);
    lt_value step = times(c, as(c, rate, w.x), lt_ox_binary(c, LT_OP_div, w.kept[0], root));
    w.x = with(c, LT_OP_mul, lt_ox_binary(c, LT_OP_sub, w.x, step), 1 - shrink);
    put_weight(c, &o, i, &w, 2);
  }
}
