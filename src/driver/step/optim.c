/* optim.c: optimizers as graph operations: states, their updates and the params' updates, so that forward, loss,
 * backward and update compile into one step. The gradients come from entry.c, through the hooks of gradient_hooks.c.
 *   sgd       p -= lr*g
 *   momentum  v = 0.9*v + g, p -= lr*v
 *   adagrad   h += g*g, p -= lr*g / (sqrt(h) + 1e-8) (Duchi, Hazan and Singer, 2011)
 *   adadelta  msg = 0.95*msg + 0.05*g*g, d = sqrt((msdx + 1e-6) / (msg + 1e-6))*g, msdx = 0.95*msdx + 0.05*d*d,
 *             p -= lr*d (Zeiler, 2012, with a rate, by default 1)
 *   adam      Kingma and Ba, 2015: both moments bias-corrected, epsilon outside the root */
#include "driver/entry.h"

const char lt_hyper_name[] = "lr";

typedef struct moving {
  lt_graph *g;
  const lt_optimizer *o;
  lt_value rate; /* lr as a scalar of the param's type */
  lt_value p, grad;
  const char *name;      /* of the param */
  lt_value fix_m, fix_v; /* Adam: 1 / (1 - beta^t) */
} moving;

struct lt_optimizer {
  const char *name;
  double rate;
  const char *states[3];       /* what its states are; the one of fc.W is called fc.W.NAME.WHAT */
  bool counts;                 /* it needs the number of the step */
  lt_value (*emit)(moving *m); /* what to subtract from p */
};

/* ---- arithmetic on the param's element type ---------------------------------------------------------------------- */

static lt_value scaled(moving *m, lt_value x, double by) {
  return lt_binary(m->g, LT_OP_mul, x, lt_const_scalar(m->g, lt_type_of(m->g, x)->dtype, by));
}

static lt_value plus(moving *m, lt_value a, lt_value b) { return lt_binary(m->g, LT_OP_add, a, b); }

static lt_value state_of(moving *m, const char *what) {
  const char *name = lt_arena_printf(&m->g->arena, "%s.%s.%s", m->name, m->o->name, what);
  if (lt_find(m->g, name))
    lt_fail(m->g->job, LATHE_E_INVALID, NULL, "the optimizer needs the name `%s`, which the network has taken", name);
  return lt_leaf(m->g, LT_OP_state, name, *lt_type_of(m->g, m->p), &(lt_init){.kind = LT_INIT_ZEROS});
}

/* old = decay * old + share * x */
static lt_value move_state(moving *m, lt_value old, double decay, double share, lt_value x) {
  lt_value kept = decay == 1 ? old : scaled(m, old, decay);
  lt_value now = plus(m, kept, share == 1 ? x : scaled(m, x, share));
  lt_add_update(m->g, old, now);
  return now;
}

static lt_value decayed(moving *m, const char *what, double decay, double share, lt_value x) {
  return move_state(m, state_of(m, what), decay, share, x);
}

static lt_value squared(moving *m, lt_value x) { return lt_binary(m->g, LT_OP_mul, x, x); }

static lt_value plus_number(moving *m, lt_value x, double by) {
  return plus(m, x, lt_const_scalar(m->g, lt_type_of(m->g, x)->dtype, by));
}

/* ---- the optimizers ---------------------------------------------------------------------------------------------- */

static lt_value sgd(moving *m) { return m->grad; }

static lt_value momentum(moving *m) { return decayed(m, "v", 0.9, 1, m->grad); }

static lt_value adagrad(moving *m) {
  lt_value h = decayed(m, "h", 1, 1, squared(m, m->grad));
  lt_value root = lt_unary(m->g, LT_OP_sqrt, h);
  return lt_binary(m->g, LT_OP_div, m->grad, plus_number(m, root, 1e-8));
}

static lt_value adadelta(moving *m) {
  const double rho = 0.95, eps = 1e-6;
  lt_graph *g = m->g;
  lt_value grads = decayed(m, "msg", rho, 1 - rho, squared(m, m->grad)), steps = state_of(m, "msdx");
  lt_value above = plus_number(m, steps, eps), below = plus_number(m, grads, eps);
  lt_value ratio = lt_unary(g, LT_OP_sqrt, lt_binary(g, LT_OP_div, above, below));
  lt_value step = lt_binary(g, LT_OP_mul, ratio, m->grad);
  move_state(m, steps, rho, 1 - rho, squared(m, step));
  return step;
}

static const double beta1 = 0.9, beta2 = 0.999;

static lt_value adam(moving *m) {
  lt_graph *g = m->g;
  lt_dtype t = lt_type_of(g, m->p)->dtype;
  lt_value first = decayed(m, "m", beta1, 1 - beta1, m->grad);
  lt_value second = decayed(m, "v", beta2, 1 - beta2, squared(m, m->grad));
  lt_value above = lt_binary(g, LT_OP_mul, first, lt_cast(g, m->fix_m, t));
  lt_value root = lt_unary(g, LT_OP_sqrt, lt_binary(g, LT_OP_mul, second, lt_cast(g, m->fix_v, t)));
  return lt_binary(g, LT_OP_div, above, plus_number(m, root, 1e-8));
}

static const lt_optimizer optimizers[] = {
  {"sgd", 0.01, {NULL}, false, sgd},         {"momentum", 0.01, {"v"}, false, momentum},
  {"adagrad", 0.001, {"h"}, false, adagrad}, {"adadelta", 1, {"msg", "msdx"}, false, adadelta},
  {"adam", 0.001, {"m", "v"}, true, adam},
};

const lt_optimizer *lt_optimizer_find(const char *name) {
  if (!name) return &optimizers[0];
  for (size_t i = 0; i < LT_COUNT(optimizers); i++)
    if (!strcmp(optimizers[i].name, name)) return &optimizers[i];
  return NULL;
}

double lt_optimizer_rate(const lt_optimizer *o) { return o->rate; }

/* ---- the step ---------------------------------------------------------------------------------------------------- */

lt_value lt_hidden_step(lt_graph *g) {
  const lt_type type = lt_scalar(LT_I64);
  lt_value v = lt_find(g, "step");
  if (v && (lt_op_of(g, v) != LT_OP_state || !lt_type_eq(lt_type_of(g, v), &type)))
    lt_fail(g->job, LATHE_E_INVALID, NULL, "`step` is taken: a train entry keeps a state i64 of that name");
  if (v) return v;
  v = lt_leaf(g, LT_OP_state, "step", type, &(lt_init){.kind = LT_INIT_ZEROS});
  lt_add_update(g, v, lt_binary(g, LT_OP_add, v, lt_const_scalar(g, LT_I64, 1)));
  return v;
}

/* 1 / (1 - beta^t) in f64: in f32 it would lose half its digits in the first steps. */
static lt_value correction(lt_graph *g, lt_value t, double beta) {
  lt_value one = lt_const_scalar(g, LT_F64, 1);
  lt_value power = lt_binary(g, LT_OP_pow, lt_const_scalar(g, LT_F64, beta), t);
  return lt_binary(g, LT_OP_div, one, lt_binary(g, LT_OP_sub, one, power));
}

static lt_value hyper(lt_graph *g) {
  const lt_type type = lt_scalar(LT_F32);
  if (lt_find(g, lt_hyper_name))
    lt_fail(g->job, LATHE_E_INVALID, NULL, "`%s` is taken: a train entry has an input of that name", lt_hyper_name);
  return lt_leaf(g, LT_OP_input, lt_hyper_name, type, NULL);
}

void lt_optimizer_emit(lt_graph *g, const lt_optimizer *o, const lt_value *param, const lt_value *grad, unsigned n) {
  moving m = {.g = g, .o = o};
  lt_value rate = hyper(g);
  if (o->counts) {
    lt_value t = lt_cast(g, lt_hidden_step(g), LT_F64);
    t = lt_binary(g, LT_OP_add, t, lt_const_scalar(g, LT_F64, 1));
    m.fix_m = correction(g, t, beta1), m.fix_v = correction(g, t, beta2);
  }
  for (unsigned i = 0; i < n; i++) {
    g->label = g->origin = NULL;
    m.p = param[i], m.grad = grad[i], m.name = lt_name_of(g, param[i]);
    m.rate = lt_cast(g, rate, lt_type_of(g, m.p)->dtype);
    lt_value step = lt_binary(g, LT_OP_mul, m.rate, o->emit(&m));
    lt_add_update(g, m.p, lt_binary(g, LT_OP_sub, m.p, step));
  }
}

/* "fc.W.adam.m" is a state of adam's where fc.W is a param. */
static bool is_state_of(const lt_graph *network, const char *name, const lt_optimizer *o, const char *what) {
  size_t n = strlen(name), k = strlen(o->name) + strlen(what) + 2;
  if (n <= k) return false;
  const char *end = name + n - k;
  size_t m = strlen(o->name);
  if (end[0] != '.' || memcmp(end + 1, o->name, m) || end[m + 1] != '.' || strcmp(end + m + 2, what)) return false;
  for (lt_value v = 1; v < network->values.n; v++) {
    const char *param = lt_name_of(network, v);
    if (param && lt_op_of(network, v) == LT_OP_param && strlen(param) == n - k && !memcmp(param, name, n - k))
      return true;
  }
  return false;
}

const char *lt_optimizer_of(const lt_graph *network, const char *name) {
  for (size_t i = 0; i < LT_COUNT(optimizers); i++)
    for (const char *const *s = optimizers[i].states; *s; s++)
      if (is_state_of(network, name, &optimizers[i], *s)) return optimizers[i].name;
  return NULL;
}

bool lt_optimizer_state(const lt_graph *network, const char *name) {
  return !strcmp(name, "step") || !strcmp(name, "seed") || lt_optimizer_of(network, name);
}
