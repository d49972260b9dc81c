/* random_graphs.c: small graphs put together at random, with outputs in their middle and gradients of gradients at
 * their end, through all passes to code; compiled they agree with the interpreter. What no single op shows is looked
 * for here: which nodes share a kernel, who waits for whom, what is stored and where.
 *
 * Those of even numbers are of elementwise ops, reductions, movement, products and windows over values of any rank. Odd
 * ones are networks over images: convolutions of every grouping (channels per group of 1 to 24 on either side),
 * strides, dilations and uneven pads, in chains and branches with pooling, elementwise ops, channels put together and
 * cut apart, products and weight gradients as images; every fourth network is in f32.
 *
 * A graph is a function of its number. LT_CASE=n takes one alone and prints it; LT_RANDOM_GRAPHS=all, the test
 * `random_graphs-all`, takes many more, LT_RANDOM_GRAPHS=n so many. */
#include "check_main.h"
#include "frontend/frontend.h"

#include "ir/pass/pass.h"
#include "ops/compile.h"

#include <stdio.h>

enum { FEW = 160, MANY = 1600, BATCH = 16, MOST_VALUES = 64, MOST_ELEMENTS = 400, OUTPUTS = 32 };

typedef struct maker {
  lt_graph *g;
  lt_dtype dtype;
  uint64_t seed, at;
  unsigned n, leaves;
  int64_t most; /* elements of a value */
  lt_value value[MOST_VALUES], weight[MOST_VALUES];
  unsigned n_weights;
} maker;

static double tolerance(lt_dtype t) { return t == LT_F32 ? 1e-3 : 1e-10; }

static int64_t pick(maker *m, int64_t n) { return lt_random_u32(m->seed, 3, m->at++) % n; }
static lt_value any(maker *m) { return m->value[pick(m, m->n)]; }
/* One of the last few: chains are long, and what stands far back is still taken now and then. */
static lt_value recent(maker *m) {
  int64_t back = 4 < m->n ? 4 : m->n;
  return pick(m, 3) ? m->value[m->n - 1 - pick(m, back)] : any(m);
}

static void add_value(maker *m, lt_value v) {
  if (m->n < MOST_VALUES && lt_type_count(lt_type_of(m->g, v)) <= m->most) m->value[m->n++] = v;
}

/* ---- one more node; nothing where shapes do not fit -------------------------------------------------------------- */

static void add_unary(maker *m) {
  static const lt_op ops[] = {LT_OP_tanh, LT_OP_sigmoid, LT_OP_relu, LT_OP_neg, LT_OP_abs};
  lt_value x = recent(m);
  add_value(m, lt_unary(m->g, ops[pick(m, LT_COUNT(ops))], x));
}

static void add_binary(maker *m) {
  static const lt_op ops[] = {LT_OP_add, LT_OP_sub, LT_OP_mul, LT_OP_max, LT_OP_min};
  lt_value a = recent(m), b = any(m);
  lt_type t;
  if (!lt_broadcast(&t, lt_type_of(m->g, a), lt_type_of(m->g, b)) || lt_type_count(&t) > MOST_ELEMENTS) return;
  lt_op op = ops[pick(m, LT_COUNT(ops))];
  lt_value y = pick(m, 2) ? lt_binary(m->g, op, a, b) : lt_binary(m->g, op, b, a);
  add_value(m, op == LT_OP_mul ? lt_unary(m->g, LT_OP_tanh, y) : y); /* values stay small */
}

static void add_reduction(maker *m) {
  lt_value x = recent(m);
  const lt_type t = *lt_type_of(m->g, x);
  lt_ints axes = {0};
  for (unsigned i = 0; i < t.rank; i++)
    if (pick(m, 2)) axes.v[axes.n++] = i;
  if (!axes.n) return;
  bool keep = pick(m, 3) > 0;
  lt_value y = lt_reduce(m->g, pick(m, 4) ? LT_OP_sum : LT_OP_reduce_max, x, &axes, keep);
  add_value(m, lt_binary(m->g, LT_OP_mul, y, lt_const_scalar(m->g, LT_F64, 0.25)));
}

static void add_slice(maker *m) {
  lt_value x = recent(m);
  const lt_type t = *lt_type_of(m->g, x);
  lt_slice_attrs a = {.axes = {1, {0}}, .starts = {1, {0}}, .ends = {1, {0}}};
  if (!t.rank) return;
  a.axes.v[0] = pick(m, t.rank);
  int64_t size = t.dim[a.axes.v[0]];
  a.starts.v[0] = pick(m, size);
  a.ends.v[0] = a.starts.v[0] + 1 + pick(m, size - a.starts.v[0]);
  add_value(m, lt_emit(m->g, LT_OP_slice, &a, &x, 1));
}

static void add_transpose(maker *m) {
  lt_value x = recent(m);
  unsigned rank = lt_type_of(m->g, x)->rank;
  int64_t perm[LT_MAX_RANK];
  for (unsigned i = 0; i < rank; i++) {
    unsigned j = (unsigned)pick(m, i + 1);
    perm[i] = perm[j], perm[j] = i;
  }
  if (rank > 1) add_value(m, lt_transpose(m->g, x, perm));
}

static void add_reshape(maker *m) {
  lt_value x = recent(m), like = any(m);
  const lt_type a = *lt_type_of(m->g, x), b = *lt_type_of(m->g, like);
  int64_t count = lt_type_count(&a);
  if (count == lt_type_count(&b)) add_value(m, lt_reshape(m->g, x, b.rank, b.dim));
  else add_value(m, lt_reshape(m->g, x, 2, (int64_t[]){a.rank ? a.dim[0] : 1, a.rank ? count / a.dim[0] : 1}));
}

static void add_pad(maker *m) {
  lt_value x = recent(m);
  unsigned rank = lt_type_of(m->g, x)->rank;
  lt_pad_attrs a = {.pads = {2 * rank, {0}}, .value = pick(m, 2) ? 0.5 : 0};
  if (!rank) return;
  a.pads.v[pick(m, 2 * rank)] = 1 + pick(m, 2);
  add_value(m, lt_emit(m->g, LT_OP_pad, &a, &x, 1));
}

static void add_concat(maker *m) {
  lt_value in[2] = {recent(m), any(m)};
  const lt_type *a = lt_type_of(m->g, in[0]), *b = lt_type_of(m->g, in[1]);
  if (!a->rank || a->rank != b->rank) return;
  lt_concat_attrs c = {.axis = pick(m, a->rank)};
  for (unsigned i = 0; i < a->rank; i++)
    if ((int64_t)i != c.axis && a->dim[i] != b->dim[i]) return;
  add_value(m, lt_emit(m->g, LT_OP_concat, &c, in, 2));
}

static void add_product(maker *m) {
  lt_value in[2] = {recent(m), any(m)};
  const lt_type *a = lt_type_of(m->g, in[0]), *b = lt_type_of(m->g, in[1]);
  lt_matmul_attrs t = {.transpose_a = pick(m, 2), .transpose_b = pick(m, 2)};
  if (a->rank != 2 || b->rank != 2 || a->dim[t.transpose_a ? 0 : 1] != b->dim[t.transpose_b ? 1 : 0]) return;
  add_value(m, lt_unary(m->g, LT_OP_tanh, lt_emit(m->g, LT_OP_matmul, &t, in, 2)));
}

/* A convolution of an image with weights of its own, keeping its size, or a pool. */
static void add_window(maker *m) {
  lt_value x = recent(m);
  const lt_type t = *lt_type_of(m->g, x);
  if (t.rank != 4) return;
  if (pick(m, 3) == 0) {
    lt_max_pool_attrs p = {.kernel = {{2, 2}}, .stride = {{1, 1}}, .pad = {{1, 1, 0, 0}}, .dilation = {{1, 1}}};
    lt_avg_pool_attrs q = {.kernel = p.kernel, .stride = p.stride, .pad = p.pad, .dilation = p.dilation};
    bool largest = pick(m, 2);
    add_value(m, largest ? lt_emit(m->g, LT_OP_max_pool, &p, &x, 1) : lt_emit(m->g, LT_OP_avg_pool, &q, &x, 1));
    return;
  }
  lt_type w = lt_make_type(LT_F64, 4, (int64_t[]){1 + pick(m, 18), t.dim[1], 3, 3});
  lt_value in[3] = {
    x,
    lt_leaf(m->g, LT_OP_param, lt_arena_printf(&m->g->arena, "w%u", m->leaves++), w, &(lt_init){.kind = LT_INIT_ZEROS}),
    0};
  lt_conv2d_attrs c = {.stride = {{1, 1}}, .pad = {{1, 1, 1, 1}}, .dilation = {{1, 1}}, .groups = 1};
  add_value(m, lt_unary(m->g, LT_OP_tanh, lt_emit(m->g, LT_OP_conv2d, &c, in, 3)));
}

/* ---- networks over images ---------------------------------------------------------------------------------------- */

/* In f32 decisions must not hang on a last digit: nothing with a kink or a step. */
static bool smooth(const maker *m) { return m->dtype == LT_F32; }

static lt_value image(maker *m) { /* a recent value of rank 4; there is always one */
  for (int i = 0; i < 8; i++) {
    lt_value x = recent(m);
    if (lt_type_of(m->g, x)->rank == 4) return x;
  }
  return m->value[0];
}

static lt_value weights(maker *m, unsigned rank, const int64_t *dim) {
  lt_type t = lt_make_type(m->dtype, rank, dim);
  const char *name = lt_arena_printf(&m->g->arena, "w%u", m->leaves++);
  lt_value w = lt_leaf(m->g, LT_OP_param, name, t, &(lt_init){.kind = LT_INIT_ZEROS});
  if (m->n_weights < MOST_VALUES && rank == 4) m->weight[m->n_weights++] = w;
  return w;
}

static void net_unary(maker *m) {
  static const lt_op ops[] = {LT_OP_tanh, LT_OP_sigmoid, LT_OP_neg, LT_OP_relu, LT_OP_abs};
  lt_value x = image(m);
  add_value(m, lt_unary(m->g, ops[pick(m, smooth(m) ? 3 : 5)], x));
}

/* With another value where shapes allow it, or with itself, or a weight per channel. */
static void net_binary(maker *m) {
  static const lt_op ops[] = {LT_OP_add, LT_OP_sub, LT_OP_mul, LT_OP_max, LT_OP_min};
  lt_value a = image(m), b = image(m);
  const lt_type t = *lt_type_of(m->g, a);
  lt_type shape;
  if (pick(m, 4) == 0) b = weights(m, 3, (int64_t[]){t.dim[1], 1, 1});
  else if (!lt_broadcast(&shape, &t, lt_type_of(m->g, b)) || lt_type_count(&shape) > m->most) b = a;
  lt_value y = lt_binary(m->g, ops[pick(m, smooth(m) ? 3 : 5)], a, b);
  add_value(m, lt_unary(m->g, LT_OP_tanh, y));
}

static int64_t divisor(maker *m, int64_t n) {
  int64_t all[64], k = 0;
  for (int64_t d = 1; d <= n && k < 64; d++)
    if (n % d == 0) all[k++] = d;
  return all[pick(m, k)];
}

/* Kernel, stride, pads and dilation along both axes such that at least one window is in the image. */
typedef struct windows { lt_pair kernel, stride, dilation; lt_quad pad; } windows;

static windows pick_windows(maker *m, const lt_type *t) {
  windows w;
  for (int i = 0; i < 2; i++) {
    w.kernel.v[i] = 1 + pick(m, 3), w.stride.v[i] = 1 + pick(m, 3) / 2, w.dilation.v[i] = 1 + pick(m, 4) / 3;
    w.pad.v[i] = pick(m, 3), w.pad.v[i + 2] = pick(m, 3);
    int64_t room = t->dim[2 + i] + w.pad.v[i] + w.pad.v[i + 2];
    if ((w.kernel.v[i] - 1) * w.dilation.v[i] + 1 > room) w.kernel.v[i] = w.dilation.v[i] = 1;
  }
  return w;
}

static void net_conv(maker *m) {
  static const int64_t per_group[] = {1, 2, 3, 8, 12, 16, 20, 24};
  lt_value x = image(m);
  const lt_type t = *lt_type_of(m->g, x);
  windows w = pick_windows(m, &t);
  int64_t groups = pick(m, 3) ? divisor(m, t.dim[1]) : 1, oc = groups * per_group[pick(m, LT_COUNT(per_group))];
  if (oc > 48) oc = groups;
  lt_value filter = weights(m, 4, (int64_t[]){oc, t.dim[1] / groups, w.kernel.v[0], w.kernel.v[1]});
  lt_value bias = pick(m, 3) ? 0 : weights(m, 1, &oc);
  lt_conv2d_attrs a = {.stride = w.stride, .pad = w.pad, .dilation = w.dilation, .groups = groups};
  lt_value y = lt_emit(m->g, LT_OP_conv2d, &a, (lt_value[]){x, filter, bias}, 3);
  add_value(m, pick(m, 2) ? y : lt_unary(m->g, LT_OP_tanh, y));
}

/* The gradient in the weights of a convolution, an image of another kind: [OC, C / groups, KH, KW]. */
static void net_correlation(maker *m) {
  lt_value x = image(m);
  const lt_type t = *lt_type_of(m->g, x);
  windows w = pick_windows(m, &t);
  int64_t groups = divisor(m, t.dim[1]), oc = groups * (1 + pick(m, 3));
  lt_value filter = weights(m, 4, (int64_t[]){oc, t.dim[1] / groups, w.kernel.v[0], w.kernel.v[1]});
  lt_conv2d_attrs a = {.stride = w.stride, .pad = w.pad, .dilation = w.dilation, .groups = groups};
  lt_conv2d_grad_weight_attrs b = {
    .kernel = w.kernel, .stride = w.stride, .pad = w.pad, .dilation = w.dilation, .groups = groups};
  lt_value y = lt_unary(m->g, LT_OP_tanh, lt_emit(m->g, LT_OP_conv2d, &a, (lt_value[]){x, filter, 0}, 3));
  add_value(m, lt_unary(m->g, LT_OP_tanh, lt_emit(m->g, LT_OP_conv2d_grad_weight, &b, (lt_value[]){x, y}, 2)));
}

static void net_pool(maker *m) {
  lt_value x = image(m);
  int64_t stride = 1 + pick(m, 2);
  lt_max_pool_attrs p = {
    .kernel = {{2, 2}}, .stride = {{stride, stride}}, .pad = {{1, 1, pick(m, 2), pick(m, 2)}}, .dilation = {{1, 1}}};
  lt_avg_pool_attrs q = {
    .kernel = p.kernel, .stride = p.stride, .pad = p.pad, .dilation = p.dilation, .count_include_pad = pick(m, 2)};
  bool mean = pick(m, 2) || smooth(m);
  add_value(m, mean ? lt_emit(m->g, LT_OP_avg_pool, &q, &x, 1) : lt_emit(m->g, LT_OP_max_pool, &p, &x, 1));
}

static void net_concat(maker *m) {
  lt_value in[2] = {image(m), image(m)};
  const lt_type *a = lt_type_of(m->g, in[0]), *b = lt_type_of(m->g, in[1]);
  lt_concat_attrs c = {.axis = 1};
  if (a->dim[0] != b->dim[0] || a->dim[2] != b->dim[2] || a->dim[3] != b->dim[3]) in[1] = in[0];
  add_value(m, lt_emit(m->g, LT_OP_concat, &c, in, 2));
}

static void net_slice(maker *m) {
  lt_value x = image(m);
  int64_t size = lt_type_of(m->g, x)->dim[1], start = pick(m, size);
  lt_slice_attrs a = {.axes = {1, {1}}, .starts = {1, {start}}, .ends = {1, {start + 1 + pick(m, size - start)}}};
  add_value(m, lt_emit(m->g, LT_OP_slice, &a, &x, 1));
}

static void net_reduce(maker *m) {
  lt_value x = image(m);
  lt_ints axes = {0};
  for (int i = 0; i < 4; i++)
    if (pick(m, 2)) axes.v[axes.n++] = i;
  if (!axes.n) axes = (lt_ints){2, {2, 3}};
  add_value(m, lt_unary(m->g, LT_OP_tanh, lt_reduce(m->g, LT_OP_sum, x, &axes, true)));
}

static void net_product(maker *m) {
  lt_value x = image(m);
  lt_matmul_attrs a = {.transpose_b = true};
  add_value(m, lt_unary(m->g, LT_OP_tanh, lt_emit(m->g, LT_OP_matmul, &a, (lt_value[]){x, x}, 2)));
}

static void add_image(maker *m) {
  static const int64_t channels[] = {1, 2, 3, 4, 8, 12, 16, 20, 24, 32, 40, 48};
  int64_t d[4] = {1 + pick(m, 2), channels[pick(m, LT_COUNT(channels))], 2 + pick(m, 3), 2 + pick(m, 3)};
  const char *name = lt_arena_printf(&m->g->arena, "x%u", m->leaves++);
  add_value(m, lt_leaf(m->g, LT_OP_input, name, lt_make_type(m->dtype, 4, d), NULL));
}

/* ---- one graph --------------------------------------------------------------------------------------------------- */

static void add_leaves(maker *m) {
  static const int64_t shapes[][4] = {{4, 3, 0, 0},  {4, 1, 0, 0},  {3, 0, 0, 0}, {1, 2, 3, 3},
                                      {2, 17, 0, 0}, {1, 17, 3, 4}, {3, 4, 0, 0}};
  for (int i = 0, n = 2 + (int)pick(m, 3); i < n; i++) {
    const int64_t *d = shapes[pick(m, LT_COUNT(shapes))];
    unsigned rank = 0;
    while (rank < 4 && d[rank]) rank++;
    lt_op op = pick(m, 3) ? LT_OP_input : LT_OP_param;
    add_value(m, lt_leaf(m->g, op, lt_arena_printf(&m->g->arena, "x%u", m->leaves++), lt_make_type(LT_F64, rank, d),
                         &(lt_init){.kind = LT_INIT_ZEROS}));
  }
}

static void add_output(maker *m, lt_value v) {
  lt_add_output(m->g, lt_arena_printf(&m->g->arena, "y%u", m->g->outputs.n), v);
}

/* The sum of all that nobody reads, so that nothing is dead. */
static lt_value total(maker *m) {
  lt_arena *a = &m->g->arena;
  const uint32_t *uses = lt_use_counts(a, m->g, lt_live_nodes(a, m->g));
  lt_value sum = lt_const_scalar(m->g, m->dtype, 0);
  for (unsigned i = 0; i < m->n; i++) {
    if (uses[m->value[i]] || lt_is_leaf(m->g, m->value[i])) continue;
    lt_value all = lt_reduce(m->g, LT_OP_sum, m->value[i], &(lt_ints){0, {0}}, false);
    sum = lt_binary(m->g, LT_OP_add, sum, all);
  }
  return sum;
}

/* Gradients in the leaves x and, if there are weights, in some; then those of the sum of their squares. */
static void add_gradients(maker *m, lt_value y, int orders) {
  lt_value x[3] = {m->value[0]}, gx[3];
  unsigned n = 1;
  if (m->n_weights) x[n++] = m->weight[0];
  if (m->n_weights > 1) x[n++] = m->weight[m->n_weights - 1];
  for (int order = 0; order < orders; order++) {
    lt_gradients(m->g, gx, &y, NULL, 1, x, n);
    y = lt_const_scalar(m->g, m->dtype, 0);
    for (unsigned i = 0; i < n; i++) {
      add_output(m, gx[i]);
      lt_value square = lt_binary(m->g, LT_OP_mul, gx[i], gx[i]);
      y = lt_binary(m->g, LT_OP_add, y, lt_reduce(m->g, LT_OP_sum, square, &(lt_ints){0, {0}}, false));
    }
  }
}

static void add_nodes(maker *m) {
  static void (*const adders[])(maker *) = {add_unary,     add_unary,     add_binary,  add_binary,    add_binary,
                                            add_reduction, add_reduction, add_slice,   add_transpose, add_reshape,
                                            add_pad,       add_concat,    add_product, add_window};
  add_leaves(m);
  for (int i = 0, n = 8 + (int)pick(m, 40); i < n; i++) adders[pick(m, LT_COUNT(adders))](m);
}

static void add_layers(maker *m) {
  static void (*const adders[])(maker *) = {net_conv,   net_conv,   net_conv,    net_conv,       net_unary, net_unary,
                                            net_binary, net_binary, net_binary,  net_pool,       net_pool,  net_concat,
                                            net_slice,  net_reduce, net_product, net_correlation};
  add_image(m);
  for (int i = 0, n = 3 + (int)pick(m, 9); i < n; i++) adders[pick(m, LT_COUNT(adders))](m);
}

static lt_graph *random_graph(lt_job *job, unsigned number) {
  bool network = number % 2;
  maker m = {.g = lt_test_own(job, lt_graph_new(job, "random")), .seed = number + 1};
  m.dtype = number % 8 == 1 ? LT_F32 : LT_F64, m.most = network ? 48 * 16 * 2 : MOST_ELEMENTS;
  if (network) add_layers(&m);
  else add_nodes(&m);
  for (unsigned i = 0; i < m.n && m.g->outputs.n < OUTPUTS - 8; i++)
    if (!lt_is_leaf(m.g, m.value[i]) && (i + 1 == m.n || pick(&m, 6) == 0)) add_output(&m, m.value[i]);
  lt_value sum = total(&m);
  add_output(&m, sum);
  if (network) add_gradients(&m, sum, 1 + (number % 4 == 3));
  else if (number % 3 == 0) add_gradients(&m, sum, 2);
  lt_verify(m.g, "random_graph");
  return m.g;
}

static void print(const lt_graph *g, lt_arena *a) {
  lt_str s;
  lt_str_init(&s, a);
  lt_print(&s, g);
  fputs(s.at, stderr);
}

/* ---- the test ---------------------------------------------------------------------------------------------------- */

typedef struct batch { unsigned first, n, failures, arrays, now; } batch;

static void compare(batch *b, lt_arena *a, const lt_graph *g, lt_eval *e, unsigned number, lt_tensor *const *out) {
  for (uint32_t k = 0; k < g->outputs.n; k++) {
    const lt_tensor *want = lt_eval_get(e, g->outputs.at[k].value);
    double off = lt_test_distance(out[k], want), size = 0;
    for (int64_t i = 0, n = lt_type_count(&want->type); i < n; i++) size = fmax(size, fabs(want->f[i]));
    off *= fmin(1, size); /* sums of what is near 1 may cancel */
    b->arrays++;
    if (off <= tolerance(want->type.dtype)) continue;
    fprintf(stderr, "graph %u, output %s: off by %g of %g\n", number, g->outputs.at[k].name, off, size);
    print(g, a);
    b->failures++;
  }
}

static void check_batch(lt_job *job, void *arg) {
  batch *b = arg;
  lt_arena *a = lt_arena_new(job);
  lt_unit unit[BATCH];
  for (unsigned i = 0; i < b->n; i++) {
    b->now = b->first + i;
    lt_graph *g = random_graph(job, b->now);
    if (getenv("LT_CASE")) print(g, a);
    lt_unit_plan(job, a, &unit[i], g, lt_arena_printf(a, "c%u", i));
  }
  const lt_code *code = lt_unit_jit(job, a, unit, b->n, "");
  for (unsigned i = 0; i < b->n; i++) {
    lt_tensor *out[OUTPUTS] = {NULL};
    lt_eval *e = lt_test_eval(job, a, unit[i].g, LT_EVAL_DOUBLE, 7);
    ck_assert_int_eq(lt_unit_call(a, &unit[i], code, e, out), 0);
    compare(b, a, unit[i].g, e, b->first + i, out);
  }
}

static void run(unsigned first, unsigned n) {
  batch b = {.first = first, .n = n};
  lathe_error e;
  int status = lt_protect(&e, check_batch, &b);
  ck_assert_msg(status == LATHE_OK, "graph %u: %s\nLT_CASE=%u prints it", b.now, e.message, b.now);
  ck_assert_msg(b.failures == 0, "%u outputs differ, listed above", b.failures);
  ck_assert_uint_ge(b.arrays, n);
}

START_TEST(graphs) {
  const char *one = getenv("LT_CASE");
  if (!one) run((unsigned)_i * BATCH, BATCH);
  else if (_i == 0) run((unsigned)atoi(one), 1);
}
END_TEST

static Suite *random_graphs(void) {
  Suite *s = suite_create("random_graphs");
  TCase *c = tcase_create("random_graphs");
  tcase_set_timeout(c, 120);
  const char *which = getenv("LT_RANDOM_GRAPHS");
  int n = !which ? FEW : !strcmp(which, "all") ? MANY : atoi(which);
  tcase_add_loop_test(c, graphs, 0, n / BATCH);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(random_graphs)
