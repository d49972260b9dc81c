/* graphs.c: random networks of a few ops. Each step draws from its own stream, so that leaving a step out
 * (kc_case.skip) leaves the others as they were: that is how a failing network is made smaller. */
#include "kcheck.h"

#include <math.h>

enum { MAX_VALUES = 16, MAX_STEPS = 10 };

typedef struct net {
  lt_graph *g;
  lt_value v[MAX_VALUES];
  int n;
  bool smooth; /* for networks with gradients: no kinks on which rounding could decide */
} net;

static const lt_type *type_of(const net *t, lt_value v) { return lt_type_of(t->g, v); }
static lt_value emit1(net *t, lt_op op, const void *attrs, lt_value x) { return lt_emit(t->g, op, attrs, &x, 1); }

static lt_value param(net *t, const char *fill, unsigned rank, const int64_t *dim) {
  return kc_leaf(t->g, fill, true, LT_F32, rank, dim);
}

/* Keeps sums of `terms` products near 1. */
static lt_value scaled(net *t, lt_value v, int64_t terms) {
  double by = 1;
  while (by * by * (double)terms > 1) by /= 2;
  return lt_binary(t->g, LT_OP_mul, v, lt_const_scalar(t->g, LT_F32, by));
}

static lt_value conv(net *t, kc_rng *r, lt_value x) {
  const int64_t *d = type_of(t, x)->dim;
  int64_t k = kc_pick(r, 1, 2) * 2 - 1, oc = kc_pick(r, 1, 33), pad = kc_pick(r, 0, 2);
  if (d[2] + 2 * pad < k || d[3] + 2 * pad < k) k = 1;
  lt_conv2d_attrs a = {.stride = {{kc_pick(r, 1, 2), kc_pick(r, 1, 2)}}, .dilation = {{1, 1}}, .groups = 1};
  for (int i = 0; i < 4; i++) a.pad.v[i] = pad;
  if (kc_chance(r, 20)) a.groups = d[1], oc = d[1];
  lt_value w = param(t, "q", 4, (int64_t[]){oc, d[1] / a.groups, k, k}),
           b = kc_chance(r, 50) ? param(t, "q", 1, &oc) : 0;
  int64_t terms = d[1] / a.groups * k * k;
  return scaled(t, lt_emit(t->g, LT_OP_conv2d, &a, (lt_value[]){x, w, b}, 3), terms);
}

static lt_value pool(net *t, kc_rng *r, lt_value x, bool max) {
  const int64_t *d = type_of(t, x)->dim;
  int64_t k = kc_pick(r, 2, 3), pad = kc_pick(r, 0, 1);
  if (d[2] < k || d[3] < k) return x;
  lt_max_pool_attrs a = {.kernel = {{k, k}},
                         .stride = {{kc_pick(r, 1, 3), kc_pick(r, 1, 3)}},
                         .dilation = {{1, 1}},
                         .ceil = kc_chance(r, 25),
                         .pad_value = kc_chance(r, 70) ? -HUGE_VAL : 0};
  for (int i = 0; i < 4; i++) a.pad.v[i] = pad;
  if (max) return emit1(t, LT_OP_max_pool, &a, x);
  lt_avg_pool_attrs b = {.kernel = a.kernel, .stride = a.stride, .pad = a.pad, .dilation = a.dilation, .ceil = a.ceil};
  return emit1(t, LT_OP_avg_pool, &b, x);
}

static lt_value unary(net *t, kc_rng *r, lt_value x) {
  static const lt_op smooth[] = {LT_OP_tanh, LT_OP_sigmoid, LT_OP_neg},
                     any[] = {LT_OP_relu, LT_OP_relu, LT_OP_tanh, LT_OP_sigmoid, LT_OP_neg, LT_OP_abs};
  return lt_unary(t->g, t->smooth ? KC_ONE_OF(r, smooth) : KC_ONE_OF(r, any), x);
}

static lt_value binary(net *t, kc_rng *r, lt_value x) {
  static const lt_op smooth[] = {LT_OP_add, LT_OP_sub, LT_OP_mul},
                     any[] = {LT_OP_add, LT_OP_add, LT_OP_sub, LT_OP_mul, LT_OP_max};
  lt_value same[MAX_VALUES], other;
  int n = 0;
  for (int i = 0; i < t->n; i++)
    if (lt_type_eq(type_of(t, t->v[i]), type_of(t, x))) same[n++] = t->v[i];
  if (n > 1 && kc_chance(r, 70)) {
    other = same[kc_pick(r, 0, n - 1)];
  } else {
    lt_type u = *type_of(t, x);
    for (unsigned i = 0; i < u.rank; i++)
      if (i != 1 && kc_chance(r, 80)) u.dim[i] = 1;
    other = param(t, "q", u.rank, u.dim);
  }
  return lt_binary(t->g, t->smooth ? KC_ONE_OF(r, smooth) : KC_ONE_OF(r, any), x, other);
}

static lt_value norm(net *t, lt_value x) {
  int64_t c = type_of(t, x)->dim[1];
  lt_value v[5] = {x, param(t, "q", 1, &c), param(t, "q", 1, &c), param(t, "q", 1, &c), param(t, "p", 1, &c)};
  lt_batch_norm_attrs a = {.eps = 1e-5, .momentum = 0.9};
  return lt_emit(t->g, LT_OP_batch_norm, &a, v, 5);
}

static lt_value move(net *t, kc_rng *r, lt_value x) {
  lt_type s = *type_of(t, x);
  int64_t kind = kc_pick(r, 0, 3);
  if (kind == 0) {
    lt_concat_attrs a = {.axis = 1};
    lt_value other = x;
    for (int i = 0; i < t->n; i++) {
      lt_type u = *type_of(t, t->v[i]);
      u.dim[1] = s.dim[1];
      if (lt_type_eq(&u, &s) && kc_chance(r, 50)) other = t->v[i];
    }
    return s.dim[1] > 60 ? x : lt_emit(t->g, LT_OP_concat, &a, (lt_value[]){x, other}, 2);
  }
  if (kind == 1) {
    int64_t from = kc_pick(r, 0, s.dim[1] - 1), to = kc_pick(r, from + 1, s.dim[1]);
    lt_slice_attrs a = {.axes = {1, {1}}, .starts = {1, {from}}, .ends = {1, {to}}};
    return emit1(t, LT_OP_slice, &a, x);
  }
  if (kind == 2 && s.rank == 4) {
    lt_pad_attrs a = {.pads = {8, {0, 0, kc_pick(r, 0, 2), kc_pick(r, 0, 2), 0, 0, kc_pick(r, 0, 2), 1}}};
    return emit1(t, LT_OP_pad, &a, x);
  }
  if (s.rank == 4) return lt_transpose(t->g, x, kc_chance(r, 50) ? (int64_t[]){0, 1, 3, 2} : (int64_t[]){0, 2, 3, 1});
  return lt_transpose(t->g, lt_transpose(t->g, x, (int64_t[]){1, 0}), (int64_t[]){1, 0});
}

/* x times a gate from its own means. */
static lt_value gate(net *t, lt_value x) {
  lt_ints axes = {2, {2, 3}};
  return lt_binary(t->g, LT_OP_mul, x, lt_unary(t->g, LT_OP_sigmoid, lt_reduce(t->g, LT_OP_mean, x, &axes, true)));
}

static lt_value dense(net *t, kc_rng *r, lt_value x) {
  if (type_of(t, x)->rank != 2) x = emit1(t, LT_OP_flatten, NULL, x);
  int64_t in = type_of(t, x)->dim[1], out = kc_pick(r, 1, 40);
  lt_value w = param(t, "q", 2, (int64_t[]){in, out}), b = kc_chance(r, 50) ? param(t, "q", 1, &out) : 0;
  return scaled(t, lt_emit(t->g, LT_OP_linear, NULL, (lt_value[]){x, w, b}, 3), in);
}

static lt_value step4(net *t, kc_rng *r, lt_value x) {
  int64_t kind = kc_pick(r, 0, 13);
  if (kind <= 3) return conv(t, r, x);
  if (kind == 4) return pool(t, r, x, !t->smooth);
  if (kind == 5) return pool(t, r, x, false);
  if (kind <= 7) return unary(t, r, x);
  if (kind <= 9) return binary(t, r, x);
  if (kind == 10) return norm(t, x);
  if (kind == 11) return move(t, r, x);
  if (kind == 12) return gate(t, x);
  return dense(t, r, x);
}

static lt_value step2(net *t, kc_rng *r, lt_value x) {
  int64_t kind = kc_pick(r, 0, 5);
  if (kind <= 1) return dense(t, r, x);
  if (kind == 2) return unary(t, r, x);
  if (kind == 3) return binary(t, r, x);
  if (kind == 4) return move(t, r, x);
  lt_softmax_attrs a = {.axis = 1};
  return emit1(t, LT_OP_softmax, &a, x);
}

int kc_graph_steps(const kc_case *c) { return 3 + (int)(c->number % (MAX_STEPS - 2)); }

static void add_gradients(net *t, lt_value y) {
  lt_value wrt[6], gx[6], loss;
  unsigned n = 0;
  lt_ints all = {0};
  for (lt_value v = 1; v < t->g->values.n && n < 6; v++)
    if (lt_is_leaf(t->g, v) && lt_op_of(t->g, v) != LT_OP_const) wrt[n++] = v;
  loss = lt_reduce(t->g, LT_OP_mean, lt_binary(t->g, LT_OP_mul, y, y), &all, false);
  lt_gradients(t->g, gx, &loss, NULL, 1, wrt, n);
  lt_add_output(t->g, "loss", loss);
  for (unsigned i = 0; i < n; i++) lt_add_output(t->g, lt_arena_printf(&t->g->arena, "g%u", i), gx[i]);
}

void kc_build_graph(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  net t = {.g = g, .smooth = c->number % 4 == 3};
  int64_t dim[4] = {kc_pick(&r, 1, 3), kc_pick(&r, 1, 20), kc_pick(&r, 3, 12), kc_pick(&r, 3, 12)};
  t.v[t.n++] = kc_leaf(g, "q", false, LT_F32, 4, dim);
  for (int i = 0; i < kc_graph_steps(c); i++) {
    kc_rng own = {.seed = (uint64_t)c->number, .stream = 5000 + (uint64_t)i};
    if (c->skip >> i & 1) continue;
    lt_value x = t.v[kc_chance(&own, 70) ? t.n - 1 : kc_pick(&own, 0, t.n - 1)];
    t.v[t.n++] = type_of(&t, x)->rank == 4 ? step4(&t, &own, x) : step2(&t, &own, x);
  }
  lt_value last = t.v[t.n - 1];
  c->tolerance = t.smooth ? 2e-4 : 5e-5;
  lt_add_output(g, "y", last);
  if (kc_chance(&r, 30) && t.n > 2 && t.v[t.n / 2] != last) lt_add_output(g, "mid", t.v[t.n / 2]);
  if (t.smooth) add_gradients(&t, last);
}
