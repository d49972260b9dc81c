/* rules.c: a random call of each op. Elementwise ops and reductions follow from the columns and attributes of their
 * rows; an op whose operands are shaped by a rule of their own has a function here or in rules_window.c. One that has
 * neither fails the coverage (make.c). */
#include "frontend/layers.h"
#include "maker.h"

#include <math.h>

/* ---- elementwise ------------------------------------------------------------------------------------------------- */

/* Which ops take whole numbers and truth values the calls of cases.def say. */
enum { KINK = 1, POSITIVE = 2, INTS = 4, BOOLS = 8, BIG = 16, NETWORK = 32 };
#define SEED(n) 0
static bool takes(lt_op op, unsigned flag) {
  static const struct { lt_op op; unsigned flags; } cases[] = {
#define CASE(op, inputs, call, flags) {LT_OP_##op, flags},
#include "ops/cases.def"
#undef CASE
  };
  for (size_t i = 0; i < LT_COUNT(cases); i++)
    if (cases[i].op == op && cases[i].flags & flag) return true;
  return false;
}

/* Operands are brought to where an op has a value and does not run away; now and then not. */
enum { ANYWHERE, POSITIVE_ONLY, SMALL };
typedef struct domain { lt_op op; unsigned operand, domain; } domain;
static const domain domains[] = {
  {LT_OP_log, 0, POSITIVE_ONLY}, {LT_OP_sqrt, 0, POSITIVE_ONLY}, {LT_OP_pow, 0, POSITIVE_ONLY},
  {LT_OP_pow, 1, SMALL},         {LT_OP_div, 1, POSITIVE_ONLY},  {LT_OP_exp, 0, SMALL},
};

static unsigned into_domain(maker *m, lt_op op, unsigned k, unsigned v) {
  if (!v || !lt_is_float(type_of(m, v)->dtype) || chance(m, 4)) return v;
  for (size_t i = 0; i < LT_COUNT(domains); i++) {
    if (domains[i].op != op || domains[i].operand != k) continue;
    if (domains[i].domain == SMALL) return unary(m, "tanh", v);
    unsigned y = unary(m, "sigmoid", v), half = make_number(m, type_of(m, v)->dtype, 0.5);
    return binary(m, "add", y, half);
  }
  return v;
}

/* A shape that broadcasts against t: axes left out in front, some of extent 1; often [C, 1, 1]. */
static lt_type shape_against(maker *m, const lt_type *t) {
  lt_type s = *t;
  unsigned cut = t->rank ? (unsigned)pick(m, t->rank + 1) : 0;
  if (t->rank == 4 && chance(m, 50)) return lt_make_type(t->dtype, 3, (int64_t[]){t->dim[1], 1, 1});
  s = lt_make_type(t->dtype, t->rank - cut, t->dim + cut);
  for (unsigned i = 0; i < s.rank; i++)
    if (chance(m, 30)) s.dim[i] = 1;
  return s;
}

static unsigned pick_partner(maker *m, unsigned v) {
  const lt_type t = *type_of(m, v);
  want same = {.dtypes = 1u << t.dtype, .max_rank = LT_MAX_RANK};
  for (int i = 0; i < 6; i++) {
    unsigned b = pick_value(m, &same);
    lt_type both;
    if (b && lt_broadcast(&both, &t, type_of(m, b)) && lt_type_count(&both) <= MOST_ELEMENTS) return b;
  }
  return chance(m, 20) && lt_is_float(t.dtype) ? make_number(m, t.dtype, (double)(1 + pick(m, 30)) / 16)
                                               : make_operand(m, shape_against(m, &t), 1);
}

static unsigned pick_truths(maker *m, unsigned like) {
  const lt_type t = *type_of(m, like);
  for (int i = 0; i < 4; i++) {
    unsigned b = pick_value(m, &(want){.dtypes = 1 << LT_BOOL, .max_rank = LT_MAX_RANK});
    lt_type both;
    if (b && lt_broadcast(&both, &t, type_of(m, b)) && lt_type_count(&both) <= MOST_ELEMENTS) return b;
  }
  lt_type s = shape_against(m, &t);
  s.dtype = LT_BOOL;
  return t.dtype != LT_BOOL && chance(m, 50) ? binary(m, "less", like, pick_partner(m, like)) : make_operand(m, s, 1);
}

static void put_map_attrs(maker *m, ht_statement *s, lt_op op) {
  static const char *const dtypes[] = {"f32", "f64", "i32", "i64", "bool"};
  for (unsigned k = 0; s && k < lt_op_table[op].n_attrs; k++) {
    const lt_attr_info *a = &lt_op_table[op].attrs[k];
    if (a->kind == LT_ATTR_dtype) put_attr(s, a->name, "%s", PICK(m, dtypes));
    else if (a->kind == LT_ATTR_float && chance(m, 75))
      put_attr(s, a->name, "%.2f", (a->def[0] == '-' ? -1 : 1) * (0.25 + (double)pick(m, 4) / 4));
  }
}

static bool rule_map(maker *m, lt_op op) {
  const lt_op_info *info = &lt_op_table[op];
  unsigned in[3] = {0}, kinds = takes(op, INTS) && chance(m, 12) ? WHOLE : 0;
  if (takes(op, BOOLS) && chance(m, 8)) kinds = ANY_DTYPE;
  unsigned a = pick_value(m, &(want){.dtypes = kinds, .max_rank = LT_MAX_RANK});
  if (!a) a = pick_image(m);
  if (!a) return false;
  unsigned b = info->max_in > 1 ? pick_partner(m, a) : 0, n = 0;
  if (info->max_in == 3) in[n++] = pick_truths(m, a);
  bool turned = b && chance(m, 40);
  in[n++] = turned ? b : a;
  if (b) in[n++] = turned ? a : b;
  if (!in[0]) return false;
  lt_type t = *type_of(m, in[0]), both = t;
  for (unsigned k = 0; k < n; k++) {
    if (!in[k]) return false;
    if (!lt_broadcast(&both, &t, type_of(m, in[k])) || lt_type_count(&both) > 2 * MOST_ELEMENTS) return false;
    t = both;
    in[k] = into_domain(m, op, k, in[k]);
  }
  ht_statement *s = begin(m, HT_OP, info->name, n, in);
  put_map_attrs(m, s, op);
  unsigned y = finish(m, s);
  return y && (op != LT_OP_mul || mild(m, y));
}

/* ---- reductions and softmax: the attributes say what there is to choose ------------------------------------------ */

int64_t pick_axis(maker *m, unsigned rank) { return pick(m, 2 * rank) - rank; }

static bool rule_reduce(maker *m, lt_op op) {
  unsigned kinds = takes(op, INTS) && chance(m, 10) ? WHOLE : 0;
  unsigned x = pick_value(m, &(want){.dtypes = kinds, .min_rank = 1, .max_rank = LT_MAX_RANK});
  if (!x) return false;
  unsigned rank = type_of(m, x)->rank, n = 0;
  int64_t axes[LT_MAX_RANK];
  for (unsigned i = 0; i < rank; i++)
    if (chance(m, 50)) axes[n++] = chance(m, 20) ? (int64_t)i - rank : i;
  ht_statement *s = begin(m, HT_OP, lt_op_table[op].name, 1, &x);
  for (unsigned k = 0; s && k < lt_op_table[op].n_attrs; k++) {
    const lt_attr_info *a = &lt_op_table[op].attrs[k];
    if (a->kind == LT_ATTR_ints && n) put_list(s, a->name, axes, n);
    if (a->kind == LT_ATTR_int && chance(m, 70)) put_attr(s, a->name, "%lld", (long long)pick_axis(m, rank));
    if (a->kind == LT_ATTR_bool && chance(m, 50)) put_attr(s, a->name, "true");
  }
  unsigned y = finish(m, s);
  return y && (lt_op_table[op].rounds != LT_ROUNDS_SUM || lt_is_float(type_of(m, y)->dtype) == 0 || mild(m, y));
}

static bool rule_cross_entropy(maker *m) {
  unsigned x = pick_matrix(m);
  if (!x) return false;
  lt_type t = lt_make_type(chance(m, 50) ? LT_I32 : LT_I64, 1, type_of(m, x)->dim);
  unsigned labels = make_leaf(m, HT_INPUT, t, NULL);
  m->loss = binary(m, "cross_entropy", x, labels);
  return m->loss != 0;
}

static bool rule_mse(maker *m) {
  unsigned y = pick_or_make(m, &(want){.max_rank = LT_MAX_RANK}, lt_make_type(m->dtype, 2, (int64_t[]){3, 5}));
  if (!y) return false;
  lt_type t = *type_of(m, y);
  unsigned target = chance(m, 40) ? pick_value(m, &(want){.max_rank = LT_MAX_RANK, .like = &t}) : make_operand(m, t, 1);
  return target && (m->loss = binary(m, "mse", y, target));
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

static bool rule_linear(maker *m) {
  unsigned x = pick_matrix(m);
  if (!x) return false;
  int64_t k = type_of(m, x)->dim[1], n = pick_channels(m);
  if (!spend(m, (double)(type_of(m, x)->dim[0] * k * n))) return false;
  unsigned w = make_param(m, 2, (int64_t[]){k, n}, 1 / sqrt((double)k));
  unsigned b = chance(m, 50) ? make_param(m, 1, &n, 0.5) : 0;
  return mild(m, finish(m, begin(m, HT_OP, "linear", 3, (unsigned[]){x, w, b})));
}

/* Batches that broadcast, either side turned. */
static bool rule_matmul(maker *m) {
  unsigned a = pick_value(m, &(want){.min_rank = 2, .max_rank = 5, .most = 3000});
  if (!a) a = pick_matrix(m);
  if (!a) return false;
  const lt_type t = *type_of(m, a);
  bool turn_a = chance(m, 35), turn_b = chance(m, 35);
  int64_t rows = t.dim[t.rank - 2 + turn_a], k = t.dim[t.rank - 1 - turn_a], n = pick_channels(m);
  lt_type u = t;
  for (unsigned i = 0; i + 2 < t.rank; i++)
    if (chance(m, 30)) u.dim[i] = 1;
  unsigned cut = t.rank > 2 && chance(m, 40) ? (unsigned)pick(m, t.rank - 1) : 0;
  u = lt_make_type(t.dtype, t.rank - cut, u.dim + cut);
  bool itself = chance(m, 25);
  if (itself) u = t, turn_b = !turn_a, n = rows;
  else u.dim[u.rank - 1 - turn_b] = n, u.dim[u.rank - 2 + turn_b] = k;
  if (lt_type_count(&t) / k * n > MOST_ELEMENTS || !spend(m, (double)(lt_type_count(&t) * n))) return false;
  unsigned b = itself ? a : pick_or_make(m, &(want){.min_rank = 2, .max_rank = 5, .like = &u}, u);
  ht_statement *s = begin(m, HT_OP, "matmul", 2, (unsigned[]){a, b});
  if (turn_a) put_attr(s, "transpose_a", "true");
  if (turn_b) put_attr(s, "transpose_b", "true");
  unsigned y = finish(m, s);
  return y && unary(m, "tanh", y);
}

/* Axes of a and b that are summed, the others are new. */
static bool rule_tensordot(maker *m) {
  unsigned a = pick_value(m, &(want){.min_rank = 1, .max_rank = 4, .most = 1500});
  if (!a) a = pick_matrix(m);
  if (!a) return false;
  const lt_type t = *type_of(m, a);
  unsigned n = 1 + (unsigned)pick(m, t.rank), rank = 0;
  bool lists = chance(m, 60);
  int64_t axes_a[4], axes_b[4], dim[LT_MAX_RANK], out = 1;
  if (!lists && chance(m, 15)) n = 0;
  for (unsigned i = 0; i < n; i++)
    axes_a[i] = lists ? (i + (unsigned)pick(m, 2) * (t.rank - n)) % t.rank : t.rank - n + i;
  for (unsigned i = 1; i < n; i++)
    for (unsigned k = 0; k < i; k++)
      if (axes_a[i] == axes_a[k]) return false;
  for (unsigned i = 0; i < n; i++) axes_b[i] = rank, dim[rank++] = t.dim[axes_a[i]];
  for (int i = 0, more = (int)pick(m, 3); i < more; i++) dim[rank++] = 1 + pick(m, 6), out *= dim[rank - 1];
  if (!rank) dim[rank++] = 1 + pick(m, 4), out *= dim[0];
  if (!spend(m, (double)(lt_type_count(&t) * out)) || lt_type_count(&t) * out > 4 * MOST_ELEMENTS) return false;
  lt_type u = lt_make_type(m->dtype, rank, dim);
  unsigned b = pick_or_make(m, &(want){.min_rank = 1, .max_rank = 8, .like = &u}, u);
  ht_statement *s = begin(m, HT_OP, "tensordot", 2, (unsigned[]){a, b});
  if (lists) put_list(s, "axes_a", axes_a, n), put_list(s, "axes_b", axes_b, n);
  else if (n != 2) put_attr(s, "axes", "%u", n);
  unsigned y = finish(m, s);
  return y && unary(m, "tanh", y);
}

/* Letters for a's axes; b takes some of them and some of its own; y some of all. */
static bool rule_einsum(maker *m) {
  unsigned a = pick_value(m, &(want){.min_rank = 1, .max_rank = 4, .most = 1000});
  if (!a) a = pick_matrix(m);
  if (!a) return false;
  const lt_type t = *type_of(m, a);
  char spec[32] = "", of_b[8] = "", of_y[12] = "";
  int64_t dim[LT_MAX_RANK], size[12], work = lt_type_count(&t);
  unsigned rank = 0, letters = t.rank;
  for (unsigned i = 0; i < t.rank; i++) {
    spec[i] = (char)('a' + i), size[i] = t.dim[i];
    if (chance(m, 60)) of_b[rank] = spec[i], dim[rank++] = t.dim[i];
  }
  for (int i = 0, more = rank ? (int)pick(m, 2) : 1; i < more; i++) {
    size[letters] = dim[rank] = 1 + pick(m, 9), work *= dim[rank];
    of_b[rank++] = (char)('a' + letters++);
  }
  if (rank > 1 && chance(m, 40)) {
    char c = of_b[0];
    int64_t d = dim[0];
    of_b[0] = of_b[rank - 1], of_b[rank - 1] = c, dim[0] = dim[rank - 1], dim[rank - 1] = d;
  }
  int64_t out = 1;
  for (unsigned i = 0, n = 0; i < letters; i++) {
    unsigned k = chance(m, 50) ? i : letters - 1 - i;
    if (strchr(of_y, 'a' + (int)k) || chance(m, 40)) continue;
    of_y[n++] = (char)('a' + k), out *= size[k];
  }
  if (!spend(m, (double)work) || out > MOST_ELEMENTS) return false;
  lt_type u = lt_make_type(m->dtype, rank, dim);
  unsigned b = pick_or_make(m, &(want){.min_rank = 1, .max_rank = 8, .like = &u}, u);
  ht_statement *s = begin(m, HT_OP, "einsum", 2, (unsigned[]){a, b});
  put_attr(s, "spec", "\"%s,%s->%s\"", spec, of_b, of_y);
  unsigned y = finish(m, s);
  return y && unary(m, "tanh", y);
}

/* ---- indices ----------------------------------------------------------------------------------------------------- */

/* No constants: one that names no element is an error. */
static unsigned make_index(maker *m, lt_type t) {
  t.dtype = chance(m, 70) ? LT_I32 : LT_I64;
  unsigned v = pick_value(m, &(want){.dtypes = 1u << t.dtype, .min_rank = t.rank, .max_rank = t.rank, .like = &t});
  return v && m->net->at[ht_owner(v)].kind != HT_CONST ? v : make_leaf(m, HT_INPUT, t, NULL);
}

static bool rule_gather(maker *m) {
  unsigned x = pick_value(m, &(want){.min_rank = 1, .max_rank = 5});
  if (!x) return false;
  lt_type t = *type_of(m, x);
  int64_t axis = pick_axis(m, t.rank), at = axis < 0 ? axis + t.rank : axis;
  t.dim[at] = 1 + pick(m, 5);
  unsigned index = make_index(m, t);
  ht_statement *s = begin(m, HT_OP, "gather", 2, (unsigned[]){x, index});
  if (axis != -1) put_attr(s, "axis", "%lld", (long long)axis);
  return finish(m, s);
}

static bool rule_take(maker *m) {
  unsigned x = pick_value(m, &(want){.min_rank = 1, .max_rank = 4, .most = 2000});
  if (!x) return false;
  const lt_type t = *type_of(m, x);
  unsigned index =
    make_index(m, lt_make_type(LT_I32, (unsigned)pick(m, 3), (int64_t[]){1 + pick(m, 4), 1 + pick(m, 3)}));
  int64_t axis = pick_axis(m, t.rank);
  ht_statement *s = begin(m, HT_OP, "take", 2, (unsigned[]){x, index});
  if (axis) put_attr(s, "axis", "%lld", (long long)axis);
  return finish(m, s);
}

static bool rule_scatter_add(maker *m) {
  unsigned g = pick_value(m, &(want){.min_rank = 1, .max_rank = 5});
  if (!g) return false;
  const lt_type t = *type_of(m, g);
  int64_t axis = pick_axis(m, t.rank);
  unsigned index = make_index(m, t);
  ht_statement *s = begin(m, HT_OP, "scatter_add", 2, (unsigned[]){g, index});
  if (axis != -1) put_attr(s, "axis", "%lld", (long long)axis);
  put_attr(s, "size", "%lld", (long long)(1 + pick(m, 7)));
  return mild(m, finish(m, s));
}

/* ---- normalisation and chance ------------------------------------------------------------------------------------ */

static unsigned pick_channelled(maker *m) {
  unsigned x = pick_value(m, &(want){.min_rank = 2, .max_rank = 5});
  return x && lt_type_count(type_of(m, x)) > type_of(m, x)->dim[1] ? x : 0;
}

static bool rule_batch_norm(maker *m) {
  unsigned x = pick_channelled(m);
  if (!x) return false;
  int64_t c = type_of(m, x)->dim[1];
  lt_type t = lt_make_type(m->dtype, 1, &c);
  unsigned scale = make_param(m, 1, &c, 1), bias = make_param(m, 1, &c, 0.5);
  unsigned mean = make_leaf(m, HT_STATE, t, "uniform(lo=-0.5, hi=0.5)");
  unsigned var = make_leaf(m, HT_STATE, t, "uniform(lo=0.5, hi=2.0)");
  ht_statement *s = begin(m, HT_OP, "batch_norm", 5, (unsigned[]){x, scale, bias, mean, var});
  if (chance(m, 30)) put_attr(s, "eps", "0.001");
  if (chance(m, 30)) put_attr(s, "momentum", "0.75");
  return finish(m, s);
}

static bool rule_batch_norm_train(maker *m) {
  unsigned x = pick_channelled(m);
  if (!x) return false;
  int64_t c = type_of(m, x)->dim[1];
  unsigned scale = make_param(m, 1, &c, 1), bias = make_param(m, 1, &c, 0.5);
  ht_statement *s = begin(m, HT_OP, "batch_norm_train", 3, (unsigned[]){x, scale, bias});
  if (s) s->n_out = 3;
  if (chance(m, 60)) put_attr(s, "eps", "0.01");
  return finish(m, s);
}

static bool rule_dropout(maker *m) {
  unsigned x = pick_value(m, &(want){.max_rank = LT_MAX_RANK});
  if (!x) return false;
  ht_statement *s = begin(m, HT_OP, "dropout", 1, &x);
  if (chance(m, 60)) put_attr(s, "p", "0.25");
  if (chance(m, 30)) put_attr(s, "key", "\"k%u\"", m->net->n);
  return finish(m, s);
}

static bool rule_random_uniform(maker *m) {
  unsigned seed = make_number(m, LT_I64, (double)pick(m, 1000)), step = make_leaf(m, HT_STATE, lt_scalar(LT_I64), "3");
  int64_t d[3] = {1 + pick(m, 3), pick_channels(m), 1 + pick(m, 7)};
  ht_statement *s = begin(m, HT_OP, "random_uniform", 2, (unsigned[]){seed, step});
  if (s) put_list(s, "shape", d, (unsigned)pick(m, 4));
  put_attr(s, "key", "\"r%u\"", m->net->n);
  unsigned y = finish(m, s);
  if (!y || m->dtype == LT_F32) return y;
  s = begin(m, HT_OP, "cast", 1, &y);
  put_attr(s, "dtype", "f64");
  return finish(m, s);
}

/* ---- gradients as values ----------------------------------------------------------------------------------------- */

/* Does v follow from x? Gradients in what it does not follow from are zeros, which happens, but seldom. */
static bool follows(const maker *m, unsigned v, unsigned x) {
  bool marked[HT_STATEMENTS] = {false};
  marked[ht_owner(x)] = true;
  for (unsigned i = ht_owner(x) + 1; i <= ht_owner(v); i++)
    for (unsigned k = 0; k < m->net->at[i].n_in; k++)
      if (m->net->at[i].in[k] && marked[ht_owner(m->net->at[i].in[k])]) marked[i] = true;
  return marked[ht_owner(v)];
}

static bool rule_grad(maker *m) {
  unsigned in[6] = {0}, n = 2, most = 2 + 1 + (unsigned)pick(m, 3);
  if (m->grads == 2 || !spend(m, 2.0 * (double)m->work)) return false;
  unsigned y = pick_value(m, &(want){.max_rank = LT_MAX_RANK});
  if (!y || m->net->at[ht_owner(y)].kind < HT_OP) return false;
  for (int i = 0; i < 20 && n < most; i++) {
    unsigned x = pick_value(m, &(want){.max_rank = LT_MAX_RANK}), known = 0;
    for (unsigned k = 2; k < n; k++) known |= in[k] == x;
    if (x != y && !known && (follows(m, y, x) || chance(m, 2))) in[n++] = x;
  }
  if (n == 2) return false;
  lt_type t = *type_of(m, y);
  in[0] = y, in[1] = chance(m, 30) ? pick_or_make(m, &(want){.max_rank = LT_MAX_RANK, .like = &t}, t) : 0;
  ht_statement *s = begin(m, HT_OP, "grad", n, in);
  if (s) s->n_out = n - 2;
  m->grads++;
  return finish(m, s);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static bool rule_leaf(maker *m) {
  return make_operand(m, lt_make_type(m->dtype, 2, (int64_t[]){1 + pick(m, 4), pick_channels(m)}), 1);
}
static bool rule_const(maker *m) { return make_const(m, lt_make_type(m->dtype, 1, (int64_t[]){1 + pick(m, 5)})); }
static bool rule_global(maker *m) { return unary(m, "global_avg_pool", pick_image(m)); }
static bool rule_max_pool(maker *m) { return rule_pool(m, "max_pool"); }
static bool rule_max_pool_index(maker *m) { return rule_pool(m, "max_pool_index"); }
static bool rule_avg_pool(maker *m) { return rule_pool(m, "avg_pool"); }

static const struct { lt_op op; bool (*make)(maker *); } own[] = { {LT_OP_input, rule_leaf},
        {LT_OP_param, rule_leaf},
        {LT_OP_state, rule_leaf},
        {LT_OP_const, rule_const},
        {LT_OP_conv2d, rule_conv2d},
        {LT_OP_conv2d_grad_input, rule_conv2d_grad_input},
        {LT_OP_conv2d_grad_weight, rule_conv2d_grad_weight},
        {LT_OP_deconv2d, rule_deconv2d},
        {LT_OP_winograd_image, rule_winograd},
        {LT_OP_winograd_filter, rule_winograd},
        {LT_OP_winograd_result, rule_winograd},
        {LT_OP_im2col, rule_im2col},
        {LT_OP_col2im, rule_col2im},
        {LT_OP_linear, rule_linear},
        {LT_OP_matmul, rule_matmul},
        {LT_OP_tensordot, rule_tensordot},
        {LT_OP_einsum, rule_einsum},
        {LT_OP_max_pool, rule_max_pool},
        {LT_OP_max_pool_index, rule_max_pool_index},
        {LT_OP_avg_pool, rule_avg_pool},
        {LT_OP_avg_pool_grad, rule_avg_pool_grad},
        {LT_OP_global_avg_pool, rule_global},
        {LT_OP_gather, rule_gather},
        {LT_OP_take, rule_take},
        {LT_OP_scatter_add, rule_scatter_add},
        {LT_OP_cross_entropy, rule_cross_entropy},
        {LT_OP_mse, rule_mse},
        {LT_OP_batch_norm, rule_batch_norm},
        {LT_OP_batch_norm_train, rule_batch_norm_train},
        {LT_OP_dropout, rule_dropout},
        {LT_OP_random_uniform, rule_random_uniform},
        {LT_OP_reshape, rule_reshape},
        {LT_OP_flatten, rule_flatten},
        {LT_OP_transpose, rule_transpose},
        {LT_OP_broadcast_to, rule_broadcast_to},
        {LT_OP_concat, rule_concat},
        {LT_OP_slice, rule_slice},
        {LT_OP_pad, rule_pad},
        {LT_OP_grad, rule_grad}};

static bool (*own_rule(lt_op op))(maker *) {
  for (size_t i = 0; i < LT_COUNT(own); i++)
    if (own[i].op == op) return own[i].make;
  return NULL;
}
static bool is_reduction(lt_op op) { return !strcmp(lt_op_table[op].family, "reduce") && lt_op_table[op].max_in == 1; }

bool has_rule(lt_op op) { return own_rule(op) || lt_op_table[op].flags & LT_MAP || is_reduction(op); }

bool make_of_op(maker *m, lt_op op) {
  bool (*make)(maker *) = own_rule(op);
  if (make) return make(m);
  if (lt_op_table[op].flags & LT_MAP) return rule_map(m, op);
  return is_reduction(op) && rule_reduce(m, op);
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

static bool layer_linear(maker *m) {
  unsigned x = pick_matrix(m);
  int64_t n = pick_channels(m);
  if (!x || !spend(m, (double)(lt_type_count(type_of(m, x)) * n))) return false;
  ht_statement *s = begin(m, HT_LAYER, "linear", 1, &x);
  put_attr(s, "out", "%lld", (long long)n);
  if (chance(m, 20)) put_attr(s, "bias", "false");
  else if (chance(m, 15)) put_attr(s, "nobias", "true");
  if (chance(m, 10)) put_attr(s, "dtype", "%s", lt_dtype_name(m->dtype));
  return mild(m, finish(m, s));
}

static bool layer_batch_norm(maker *m) {
  unsigned x = pick_channelled(m);
  if (!x) return false;
  ht_statement *s = begin(m, HT_LAYER, "batch_norm", 1, &x);
  if (chance(m, 30)) put_attr(s, "momentum", "0.5");
  if (chance(m, 30)) put_attr(s, "eps", "0.001");
  return finish(m, s);
}

static bool layer_pooling_simple(maker *m) { return layer_pooling(m, "pooling_simple"); }
static bool layer_max(maker *m) { return layer_pooling(m, "pooling"); }
static bool layer_average(maker *m) { return layer_pooling(m, "average_pooling"); }

static bool (*const layer_rules[LT_LAYERS])(maker *) = {[LT_LAYER_conv2d] = layer_conv2d,
                                                        [LT_LAYER_deconv2d] = layer_deconv2d,
                                                        [LT_LAYER_linear] = layer_linear,
                                                        [LT_LAYER_batch_norm] = layer_batch_norm,
                                                        [LT_LAYER_conv2d_simple] = layer_conv2d_simple,
                                                        [LT_LAYER_pooling_simple] = layer_pooling_simple,
                                                        [LT_LAYER_pooling] = layer_max,
                                                        [LT_LAYER_average_pooling] = layer_average};

bool has_layer_rule(unsigned layer) { return layer_rules[layer] != NULL; }
bool make_of_layer(maker *m, unsigned layer) { return layer_rules[layer](m); }
