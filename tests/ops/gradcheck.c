/* gradcheck.c: gradients of every op with a VJP, and of whole networks, to order three, against differences in double
 * precision: what the interpreter says of them, and what compiled code says in f64 and in f32.
 *
 * Each case is taken in two forms. With r its results and c fixed weights, SMOOTH is L1 = sum(c·exp(r/4)): nowhere
 * flat, so that higher derivatives of linear ops do not vanish and a wrong second VJP cannot hide behind a zero. SEEDED
 * is L1 = sum(c·r), its gradient taken with c as the seed: the op alone, whose higher derivatives may vanish; then all
 * that is computed must be exactly 0. Order k compares the gradient of Lk in every float leaf with central differences
 * of fourth order of Lk; L(k+1) is the sum of that gradient times fixed weights. Within ten steps of the point no
 * comparison in the graph may change its outcome. BIG cases (as code for vectors and blocks of channels needs them)
 * take one difference along a random direction in each leaf instead of one per element; their elements are compared
 * with the interpreter's.
 *
 * The same graphs serve to check that lowering SUGAR ops changes nothing, and that all that is emitted verifies. BIG
 * cases, f64 and more than one compiled case of each op need LT_GRADCHECK=all, the test `gradcheck-all`. */
#include "ops/cases.h"

#include "ir/pass/pass.h"
#include "ops/compile.h"

enum { ORDERS = 3, LEAVES = 10 };
typedef enum form { SMOOTH, SEEDED, FORMS } form;
/* Who computes a gradient. Against differences: f32 as promised (docs/hacking.md), doubles as far as differences go. */
typedef enum runner { INTERPRETED, IN_F64, IN_F32, RUNNERS } runner;
static const double TOLERANCE[RUNNERS][ORDERS] = {{1e-6, 1e-6, 1e-6}, {1e-6, 1e-6, 1e-6}, {1e-4, 1e-3, 1e-2}};
/* The same along one direction of many elements, where rounding leaves more of differences; then, element by element,
 * against the interpreter. */
static const double ALONG[RUNNERS][ORDERS] = {{1e-5, 1e-5, 1e-5}, {1e-5, 1e-5, 1e-5}, {1e-4, 1e-3, 1e-2}};
static const double ROUNDING[RUNNERS][ORDERS] = {{0}, {1e-11, 1e-11, 1e-11}, {1e-4, 1e-3, 1e-2}};
static const double STEP = 2e-4 /* of one element, or of all of a leaf together */, NOTHING = 1e-6;
#define PASS(name, doc) void lt_pass_##name(lt_graph *to, const lt_graph *from);
#include "ir/pass/passes.def"
#undef PASS

/* One case in one form and element type. */
typedef struct checked {
  lt_job *job;
  lt_arena *arena;
  const op_case *c;
  form form;
  const char *dtype;
  lt_graph *g;
  unsigned n; /* float leaves, in g */
  lt_value leaf[LEAVES];
  lt_tensor *at[LEAVES]; /* where they stand */
  lt_value loss[ORDERS], gradient[ORDERS][LEAVES];
  lt_tensor *want[ORDERS][LEAVES]; /* differences: of every element, or one number along `along` */
  double *along[LEAVES];           /* BIG: a direction of length 1 */
} checked;

/* What the cases of one op came to. */
typedef struct tally {
  lt_op op;
  bool networks;
  unsigned cases, failures, vanished[ORDERS];
  double worst[RUNNERS][ORDERS];
} tally;

/* ---- values ------------------------------------------------------------------------------------------------------ */

static lt_tensor *leaf_value(checked *k, lt_arena *a, const lt_graph *g, lt_value v) {
  for (unsigned i = 0; i < k->n; i++)
    if (g == k->g && v == k->leaf[i] && k->at[i]) return k->at[i];
  unsigned place = 0;
  for (lt_value u = 1; u < v; u++) place += lt_is_leaf(g, u) && lt_op_of(g, u) != LT_OP_const;
  return case_leaf(a, k->c, lt_type_of(g, v), lt_name_of(g, v), place);
}

static lt_eval *eval_new(checked *k, lt_arena *a, const lt_graph *g) {
  lt_eval *e = LT_NEW(a, lt_eval);
  lt_eval_init(e, k->job, a, g, LT_EVAL_DOUBLE);
  for (lt_value v = 1; v < g->values.n; v++)
    if (lt_is_leaf(g, v) && lt_op_of(g, v) != LT_OP_const) lt_eval_set(e, v, leaf_value(k, a, g, v));
  return e;
}

static double largest(const lt_tensor *t) {
  double most = 0;
  for (int64_t j = 0, n = lt_type_count(&t->type); j < n; j++)
    most = fmax(most, isnan(t->f[j]) ? INFINITY : fabs(t->f[j]));
  return most;
}

/* ---- building: losses and gradients of all orders, then grad nodes are expanded ---------------------------------- */

static lt_value weights(lt_graph *g, lt_value like, const char *name) {
  lt_tensor *t = lt_tensor_new(&g->arena, lt_type_of(g, like));
  for (int64_t i = 0, n = lt_type_count(&t->type); i < n; i++)
    t->f[i] = 0.25 + rint(512 * lt_random_unit(7, lt_random_stream(name), (uint64_t)i)) / 1024; /* f32 holds it */
  return lt_const_tensor(g, t);
}

static lt_value plus(lt_graph *g, lt_value a, lt_value b) { return a ? lt_binary(g, LT_OP_add, a, b) : b; }
static lt_value total(lt_graph *g, lt_value x) { return lt_reduce(g, LT_OP_sum, x, &(lt_ints){0, {0}}, false); }

/* What the results are multiplied by before exp: a quarter, or what keeps large ones between -2 and 2. */
static double softening(checked *k) {
  double most = 8;
  if (!(k->c->flags & BIG)) return 0.25;
  lt_eval *e = eval_new(k, k->arena, k->g);
  for (uint32_t i = 0; i < k->g->outputs.n; i++)
    if (lt_is_float(lt_type_of(k->g, k->g->outputs.at[i].value)->dtype))
      most = fmax(most, largest(lt_eval_get(e, k->g->outputs.at[i].value)));
  return exp2(-floor(log2(most / 2))); /* f32 holds it */
}

/* What order 1 differentiates: float results, of one type, wrapped or not. */
static unsigned results(checked *k, lt_value *y, const char **name) {
  lt_graph *g = k->g;
  unsigned n = 0;
  double factor = softening(k);
  lt_dtype t;
  ck_assert(lt_dtype_parse(&t, k->dtype, strlen(k->dtype)));
  for (uint32_t i = 0; i < g->outputs.n; i++) {
    lt_value r = g->outputs.at[i].value;
    if (!lt_is_float(lt_type_of(g, r)->dtype)) continue;
    ck_assert_uint_lt(n, LEAVES);
    name[n] = g->outputs.at[i].name;
    y[n] = lt_cast(g, r, t);
    if (k->form == SMOOTH) {
      lt_value soft = lt_const_scalar(g, t, factor);
      y[n] = lt_unary(g, LT_OP_exp, lt_binary(g, LT_OP_mul, y[n], soft));
    }
    n++;
  }
  return n;
}

static lt_graph *apply(lt_job *job, const lt_graph *from, lt_pass_fn pass, const char *name) {
  lt_graph *to = lt_test_own(job, lt_graph_new(job, from->name));
  to->mode = from->mode;
  pass(to, from);
  lt_verify(to, name);
  return to;
}

static lt_value output(const lt_graph *g, const char *name) {
  for (uint32_t i = 0; i < g->outputs.n; i++)
    if (strcmp(g->outputs.at[i].name, name) == 0) return g->outputs.at[i].value;
  ck_abort_msg("no output %s", name);
}

static const char *name_of(lt_arena *a, const char *what, unsigned order, unsigned i) {
  return lt_arena_printf(a, "%s%u.%u", what, order, i);
}

/* Takes what check->g has become: leaves and losses found again by their names. */
static void adopt(checked *k, lt_graph *g) {
  lt_graph *old = k->g;
  k->g = g;
  for (unsigned i = 0; i < k->n; i++) k->leaf[i] = lt_find(g, lt_name_of(old, k->leaf[i]));
  for (unsigned o = 0; o < ORDERS; o++) {
    k->loss[o] = output(g, name_of(k->arena, "loss", o, 0));
    for (unsigned i = 0; i < k->n; i++) k->gradient[o][i] = output(g, name_of(k->arena, "g", o, i));
  }
}

/* One order: the loss sum(seed·y) for differences, and its gradient, of the loss or of the y with their seeds. */
static void build_order(checked *k, unsigned o, const lt_value *y, const char *const *name, unsigned n) {
  lt_graph *g = k->g;
  lt_value seed[LEAVES], loss = 0;
  for (unsigned i = 0; i < n; i++) {
    seed[i] = weights(g, y[i], name[i]);
    lt_value part = lt_binary(g, LT_OP_mul, y[i], seed[i]);
    loss = plus(g, loss, total(g, part));
  }
  lt_add_output(g, name_of(k->arena, "loss", o, 0), loss);
  if (k->form == SEEDED) lt_gradients(g, k->gradient[o], y, seed, n, k->leaf, k->n);
  else lt_gradients(g, k->gradient[o], &loss, NULL, 1, k->leaf, k->n);
  for (unsigned i = 0; i < k->n; i++) lt_add_output(g, name_of(k->arena, "g", o, i), k->gradient[o][i]);
  k->loss[o] = loss;
}

static void build(checked *k) {
  lt_value y[LEAVES];
  const char *name[LEAVES];
  lt_graph *g = k->g = case_graph(k->job, k->arena, k->c, k->dtype);
  for (lt_value v = 1; v < g->values.n; v++)
    if (lt_is_leaf(g, v) && lt_op_of(g, v) != LT_OP_const && lt_is_float(lt_type_of(g, v)->dtype)) {
      ck_assert_uint_lt(k->n, LEAVES);
      k->leaf[k->n++] = v;
    }
  unsigned n = results(k, y, name);
  ck_assert_uint_gt(n, 0);
  build_order(k, 0, y, name, n);
  for (unsigned i = 0; i < k->n; i++) name[i] = lt_name_of(g, k->leaf[i]);
  for (unsigned o = 1; o < ORDERS; o++) build_order(k, o, k->gradient[o - 1], name, k->n);
  lt_verify(g, "gradients");
  adopt(k, apply(k->job, g, lt_pass_autodiff, "autodiff"));
}

/* ---- differences ------------------------------------------------------------------------------------------------- */

/* Outcomes of all comparisons (values that are no floats, and signs) on the way to v, as one hash. */
static uint64_t outcomes(lt_eval *e, lt_value v) {
  uint64_t hash = 0;
  lt_eval_get(e, v);
  for (lt_value u = 1; u < e->g->values.n; u++) {
    const lt_tensor *t = e->value[u];
    if (!t || (lt_is_float(t->type.dtype) && lt_op_of(e->g, u) != LT_OP_sign)) continue;
    hash = lt_hash(t->f, (size_t)lt_type_count(&t->type) * sizeof *t->f, hash);
  }
  return hash;
}

/* How many moves leaf i has: one per element, or the one along its direction. */
static int64_t moves(const checked *k, unsigned i) { return k->along[i] ? 1 : lt_type_count(&k->at[i]->type); }

/* v, and the outcomes of what it takes, with leaf i moved by d, in element j or along its direction. */
static double moved(checked *k, lt_value v, unsigned i, int64_t j, double d, uint64_t *hash) {
  lt_arena a;
  lt_arena_init(&a, k->job);
  lt_tensor *old = k->at[i];
  k->at[i] = lt_tensor_copy(&a, old);
  if (!k->along[i]) k->at[i]->f[j] += d;
  else
    for (int64_t e = 0, n = lt_type_count(&old->type); e < n; e++) k->at[i]->f[e] += d * k->along[i][e];
  lt_eval *e = eval_new(k, &a, k->g);
  double value = lt_eval_get(e, v)->f[0];
  if (hash) *hash = outcomes(e, v);
  k->at[i] = old;
  lt_arena_free(&a);
  return value;
}

static double difference(checked *k, lt_value v, unsigned i, int64_t j) {
  double h = STEP, near = moved(k, v, i, j, h, NULL) - moved(k, v, i, j, -h, NULL);
  return (8 * near - (moved(k, v, i, j, 2 * h, NULL) - moved(k, v, i, j, -2 * h, NULL))) / (12 * h);
}

static void choose_direction(checked *k, unsigned i) {
  int64_t n = lt_type_count(&k->at[i]->type);
  k->along[i] = LT_NEW_ARRAY(k->arena, double, (size_t)n);
  for (int64_t e = 0; e < n; e++)
    k->along[i][e] =
      (lt_random_u32(11, lt_random_stream(lt_name_of(k->g, k->leaf[i])), (uint64_t)e) % 2 ? 1 : -1) / sqrt((double)n);
}

static void take_differences(checked *k) {
  for (unsigned o = 0; o < ORDERS; o++)
    for (unsigned i = 0; i < k->n; i++) {
      int64_t n = moves(k, i);
      k->want[o][i] = lt_tensor_new(k->arena, &(lt_type){.dtype = LT_F64, .rank = 1, .dim = {n}});
      for (int64_t j = 0; j < n; j++) k->want[o][i]->f[j] = difference(k, k->loss[o], i, j);
    }
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static void fails(const checked *k, tally *t, const char *what, unsigned order, const char *leaf, double figure) {
  fprintf(stderr, "%s, order %u, %s of `%s`: %g in\n%s", k->form == SMOOTH ? "smooth" : "seeded", order + 1, what, leaf,
          figure, case_text(k->arena, k->c, k->dtype));
  t->failures++;
}

/* What a gradient says along the leaf's direction; *size is the root mean square of its elements, which is what a
 * direction of length 1 sees of them: the number itself may be small by chance. */
static lt_tensor *along(const checked *k, unsigned i, const lt_tensor *g, double *size) {
  lt_tensor *t = lt_tensor_new(k->arena, &(lt_type){.dtype = LT_F64, .rank = 1, .dim = {1}});
  double squares = 0;
  int64_t n = lt_type_count(&g->type);
  for (int64_t e = 0; e < n; e++) t->f[0] += g->f[e] * k->along[i][e], squares += g->f[e] * g->f[e];
  *size = sqrt(squares / (double)n);
  return t;
}

static double distance(const lt_tensor *a, const lt_tensor *b) {
  double most = 0;
  ck_assert_int_eq(lt_type_count(&a->type), lt_type_count(&b->type));
  for (int64_t j = 0, n = lt_type_count(&a->type); j < n; j++) {
    double d = fabs(a->f[j] - b->f[j]);
    most = fmax(most, isnan(d) ? INFINITY : d);
  }
  return most;
}

/* One gradient, off by `off` where the largest element is `of`. Where the derivative in all leaves vanishes (`size` is
 * 0) it is exactly 0; where terms cancel and `of` is what rounding leaves of them, `size` is the measure. */
static void judge(const checked *k, tally *t, runner who, unsigned o, unsigned i, double off, double of, double size,
                  double limit) {
  static const char *const error[RUNNERS] = {"error of the gradient", "error of the gradient compiled in f64",
                                             "error of the gradient compiled in f32"};
  if (size == 0) {
    if (off != 0) fails(k, t, "a gradient that is not exactly 0", o, lt_name_of(k->g, k->leaf[i]), off);
    return;
  }
  off /= of > 1e-7 * size ? of : size;
  t->worst[who][o] = fmax(t->worst[who][o], off);
  if (!(off <= limit)) fails(k, t, error[who], o, lt_name_of(k->g, k->leaf[i]), off);
}

static double largest_of_all(const checked *k, lt_tensor *const *t) {
  double size = 0;
  for (unsigned i = 0; i < k->n; i++) size = fmax(size, largest(t[i]));
  return size;
}

/* All gradients by one runner. Sizes that show nothing are a failure, unless the op's derivative vanishes. */
static void compare_all(const checked *k, tally *t, runner who, lt_tensor *(*got)[LEAVES]) {
  for (unsigned o = 0; o < ORDERS; o++) {
    double size = largest_of_all(k, k->want[o]), of;
    if (size < NOTHING && (k->form == SMOOTH || o == 0 || size > 0))
      fails(k, t, "largest difference, which shows nothing,", o, "", size);
    if (who == INTERPRETED) t->vanished[o] += size == 0;
    for (unsigned i = 0; i < k->n; i++) {
      const lt_tensor *want = k->want[o][i];
      if (k->along[i]) {
        double off = distance(along(k, i, got[o][i], &of), want);
        judge(k, t, who, o, i, size == 0 ? largest(got[o][i]) : off, fmax(of, largest(want)), size, ALONG[who][o]);
      } else {
        judge(k, t, who, o, i, distance(got[o][i], want), largest(want), size, TOLERANCE[who][o]);
      }
    }
  }
}

/* One number along a direction says little of many elements: they are as the interpreter has them. */
static void compare_elements(const checked *k, tally *t, runner who, lt_tensor *(*got)[LEAVES],
                             lt_tensor *(*truth)[LEAVES]) {
  for (unsigned o = 0; o < ORDERS && (k->c->flags & BIG); o++) {
    double size = largest_of_all(k, truth[o]);
    for (unsigned i = 0; i < k->n; i++)
      judge(k, t, who, o, i, distance(got[o][i], truth[o][i]), largest(truth[o][i]), size, ROUNDING[who][o]);
  }
}

/* The last loss takes every comparison that any order makes. */
static void check_kinks(checked *k, tally *t, unsigned i) {
  lt_value v = k->loss[ORDERS - 1];
  uint64_t here, there;
  moved(k, v, i, 0, 0, &here);
  for (int64_t j = 0, n = moves(k, i); j < n; j++)
    for (int s = -10; s <= 10; s += 20) {
      moved(k, v, i, j, s * STEP, &there);
      if (there != here)
        fails(k, t, "a kink within ten steps of an element", 0, lt_name_of(k->g, k->leaf[i]), (double)j);
    }
}

/* Lowered, the graph computes the same. */
static void check_lowered(checked *k, tally *t) {
  lt_graph *low = apply(k->job, k->g, lt_pass_lower, "lower");
  lt_eval *e = eval_new(k, k->arena, k->g), *f = eval_new(k, k->arena, low);
  for (uint32_t i = 0; i < low->nodes.n; i++) ck_assert(!(lt_op_table[low->nodes.at[i]->op].flags & LT_SUGAR));
  for (uint32_t i = 0; i < k->g->outputs.n; i++) {
    const lt_tensor *a = lt_eval_get(e, k->g->outputs.at[i].value), *b = lt_eval_get(f, low->outputs.at[i].value);
    double most = 0, size = 1e-3;
    for (int64_t j = 0, n = lt_type_count(&a->type); j < n; j++) {
      double d = fabs(lt_tensor_at(a, j) - lt_tensor_at(b, j));
      most = fmax(most, isnan(d) ? INFINITY : d), size = fmax(size, fabs(lt_tensor_at(a, j)));
    }
    if (!(most <= 1e-10 * size)) fails(k, t, "error of the lowered form", 0, k->g->outputs.at[i].name, most / size);
  }
}

/* ---- one case ---------------------------------------------------------------------------------------------------- */

static void check_interpreted(checked *k, tally *t, lt_tensor *(*out)[LEAVES]) {
  lt_tensor *at[LEAVES] = {NULL};
  build(k);
  for (unsigned i = 0; i < k->n; i++) at[i] = leaf_value(k, k->arena, k->g, k->leaf[i]);
  memcpy(k->at, at, sizeof at);
  for (unsigned i = 0; i < k->n && (k->c->flags & BIG); i++) choose_direction(k, i);
  for (unsigned i = 0; i < k->n; i++) check_kinks(k, t, i);
  take_differences(k);
  lt_eval *e = eval_new(k, k->arena, k->g);
  for (unsigned o = 0; o < ORDERS; o++)
    for (unsigned i = 0; i < k->n; i++) out[o][i] = (lt_tensor *)lt_eval_get(e, k->gradient[o][i]);
  compare_all(k, t, INTERPRETED, out);
  check_lowered(k, t);
}

/* The graph built anew for this element type, through all passes. */
static void plan_for(const checked *k, checked *as, const char *dtype, lt_unit *u, const char *name) {
  *as = (checked){.job = k->job, .arena = k->arena, .c = k->c, .form = k->form, .dtype = dtype};
  build(as);
  lt_unit_plan(k->job, k->arena, u, as->g, name);
}

/* The gradients as compiled. */
static void call(checked *k, const lt_unit *u, const lt_code *code, lt_tensor *(*out)[LEAVES]) {
  lt_tensor **all = LT_NEW_ARRAY(k->arena, lt_tensor *, k->g->outputs.n);
  int rc = lt_unit_call(k->arena, u, code, eval_new(k, k->arena, k->g), all);
  ck_assert_msg(rc == 0, "%s in %s returned %d", k->c->call, k->dtype, rc);
  for (unsigned o = 0; o < ORDERS; o++)
    for (unsigned i = 0; i < k->n; i++)
      for (uint32_t q = 0; q < k->g->outputs.n; q++)
        if (!strcmp(k->g->outputs.at[q].name, name_of(k->arena, "g", o, i))) out[o][i] = all[q];
}

typedef struct case_task { tally *t; const op_case *c; } case_task;

/* All of it takes half a minute; the quick run compiles the first case of each op, and the networks, in f32. */
static bool everything(void) {
  const char *which = getenv("LT_GRADCHECK");
  return which && !strcmp(which, "all");
}
static bool is_compiled(const case_task *task, runner r) {
  return everything() || (r == IN_F32 && (task->t->cases == 0 || task->t->networks));
}

static void check_case(lt_job *job, void *arg) {
  static const char *const dtypes[RUNNERS] = {"f64", "f64", "f32"};
  case_task *task = arg;
  lt_arena *a = lt_arena_new(job);
  checked oracle[FORMS], as[FORMS][RUNNERS];
  lt_tensor *truth[FORMS][ORDERS][LEAVES], *got[ORDERS][LEAVES];
  lt_unit *u = LT_NEW_ARRAY(a, lt_unit, FORMS * RUNNERS);
  unsigned n = 0;
  for (unsigned f = 0; f < FORMS; f++) {
    oracle[f] = (checked){.job = job, .arena = a, .c = task->c, .form = (form)f, .dtype = "f64"};
    check_interpreted(&oracle[f], task->t, truth[f]);
    for (unsigned r = IN_F64; r < RUNNERS; r++)
      if (is_compiled(task, (runner)r))
        plan_for(&oracle[f], &as[f][r], dtypes[r], &u[n], lt_arena_printf(a, "c%u", n)), n++;
  }
  lt_code *code = n ? lt_unit_jit(job, a, u, n, "") : NULL;
  n = 0;
  for (unsigned f = 0; f < FORMS; f++)
    for (unsigned r = IN_F64; r < RUNNERS; r++) {
      if (!is_compiled(task, (runner)r)) continue;
      call(&as[f][r], &u[n++], code, got);
      compare_all(&oracle[f], task->t, (runner)r, got);
      compare_elements(&oracle[f], task->t, (runner)r, got, truth[f]);
    }
  task->t->cases++;
}

/* ---- all cases of an op ------------------------------------------------------------------------------------------ */

static bool has_gradient(lt_op op) { return lt_op_table[op].vjp || op == LT_OP_grad; }
static bool is_tested(lt_op op) { return has_gradient(op) || (lt_op_table[op].flags & LT_LEAF); }

/* Casts to integers are among the cases of an op that has a gradient. */
static bool has_float_result(const op_case *c) { return c->op != LT_OP_cast || strstr(c->call, "=f64)"); }

static bool wanted(const op_case *c, const tally *t) {
  return (c->flags & NETWORK ? t->networks : !t->networks && c->op == t->op) && (everything() || !(c->flags & BIG)) &&
         has_float_result(c);
}

static void report(const tally *t) {
  fprintf(stderr, "# %-18s %2u cases", t->networks ? "whole networks" : lt_op_table[t->op].name, t->cases);
  for (unsigned o = 0; o < ORDERS; o++) {
    fprintf(stderr, " | order %u: %.0e f64 %.0e f32 %.0e", o + 1, t->worst[INTERPRETED][o], t->worst[IN_F64][o],
            t->worst[IN_F32][o]);
    if (t->vanished[o]) fprintf(stderr, ", 0 in %u", t->vanished[o]);
  }
  fputc('\n', stderr);
}

static void check_all(tally *t) {
  for (unsigned i = 0; i < OP_CASES; i++) {
    const op_case *c = &op_cases[i];
    lathe_error e;
    if (!wanted(c, t)) continue;
    int status = lt_protect(&e, check_case, &(case_task){t, c});
    ck_assert_msg(status == LATHE_OK, "%s in %s(%s): %s", lt_op_table[c->op].name, c->call, c->inputs, e.message);
  }
  if (t->cases) report(t);
  ck_assert_msg(t->failures == 0, "%u failures, listed above; the first order is 1", t->failures);
}

START_TEST(every_op) {
  if (is_tested((lt_op)_i)) check_all(&(tally){.op = (lt_op)_i});
}
END_TEST

START_TEST(whole_networks) {
  tally t = {.networks = true};
  check_all(&t);
  ck_assert_uint_gt(t.cases, 0);
}
END_TEST

START_TEST(every_op_has_a_case) { ck_assert_uint_eq(cases_missing(has_gradient), 0); }
END_TEST

static Suite *gradcheck(void) {
  Suite *s = suite_create("gradcheck");
  TCase *c = tcase_create("gradcheck");
  tcase_set_timeout(c, 300);
  tcase_add_test(c, every_op_has_a_case);
  tcase_add_loop_test(c, every_op, 1, LT_OPS);
  tcase_add_test(c, whole_networks);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(gradcheck)
