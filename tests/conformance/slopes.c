/* slopes.c: the gradients of a case against differences in double precision.
 *
 * L = sum(c·y) over the float results y, with random weights c. Its gradient in every float input and param is what
 * autodiff makes of the graph, interpreted in double precision, and is held against central differences of fourth order
 * of L, which the interpreter computes in double precision too; then `lathe_compile --entry grad --output-grad …` in
 * the model's own element types is held against it, every element. The point is the case's; where it lies within two
 * steps of a comparison that would turn over (an edge, a tie), or where L is not finite, the inputs are moved by a
 * little, or drawn anew, and an element that is still at an edge does not count. Of large inputs some elements are
 * taken, and one direction through all of them. */
#include "conformance.h"

#include "driver/graph_api.h"
#include "graph_eval.h"
#include "ir/pass/pass.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

enum { ATTEMPTS = 11, NEW = 2, ALL_BELOW = 64, SOME = 24, HUGE_ELEMENT = 1000000 };
static const double STEPS[] = {1e-4, 1e-5, 1e-3, 1e-6, 1e-7}, TOLERANCE = 1e-6, TOLERANCE_F32 = 1e-4;
static const double ROUNDING = 3e-15;         /* of what L adds up, in a difference of two L */
static const double SECONDS = 10, SLOW = 0.5; /* of the differences of a case, and of one evaluation */
static const double MOST_GFLOP = 0.2;         /* of a call: naive loops take seconds for more */
#define PASS(name, doc) void lt_pass_##name(lt_graph *to, const lt_graph *from);
#include "ir/pass/passes.def"
#undef PASS

typedef struct slopes {
  running *c;
  lt_job *job;
  lt_arena *arena;
  lt_graph *g; /* L and its gradients, nothing left to differentiate */
  lt_value loss;
  unsigned n_y, n;
  const char **y, **name; /* of results, of leaves */
  lt_tensor **seed, **at; /* c; where the leaves stand */
  lt_value *leaf, *gradient;
  const lt_tensor **truth; /* the gradients interpreted */
  lt_value size_of_terms;
  double terms;       /* what L adds up, as magnitudes */
  double size, until; /* the largest difference or gradient; when to stop */
  unsigned rough, numbers;
} slopes;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

LT_NORETURN static void ends(slopes *k, slope s, const char *fmt, ...) LT_PRINTF(3, 4);
static void ends(slopes *k, slope s, const char *fmt, ...) {
  report *r = k->c->r;
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(r->message, sizeof r->message, fmt, ap);
  va_end(ap);
  r->slope = s;
  lt_fail(k->job, LATHE_E_INVALID, NULL, "the gradients have ended");
}

/* ---- the graph --------------------------------------------------------------------------------------------------- */

static bool is_leaf(const lt_graph *g, lt_value v) {
  return (lt_op_of(g, v) == LT_OP_input || lt_op_of(g, v) == LT_OP_param) && lt_is_float(lt_type_of(g, v)->dtype);
}

static lt_tensor *weights(lt_arena *a, const lt_type *t, const char *name) {
  lt_tensor *w = lt_tensor_new(a, t);
  for (int64_t i = 0, n = lt_type_count(t); i < n; i++) { /* between 1/4 and 3/4, either sign, as f32 holds them */
    double u = 0.25 + rint(512 * (double)lt_random_unit(7, lt_random_stream(name), (uint64_t)i)) / 1024;
    w->f[i] = lt_random_u32(5, lt_random_stream(name), (uint64_t)i) % 4 ? u : -u;
  }
  return w;
}

static void list(slopes *k) {
  lt_graph *g = k->g;
  uint32_t most = g->values.n + 1u;
  k->y = LT_NEW_ARRAY(k->arena, const char *, g->outputs.n + 1u);
  k->seed = LT_NEW_ARRAY(k->arena, lt_tensor *, g->outputs.n + 1u);
  k->name = LT_NEW_ARRAY(k->arena, const char *, most), k->at = LT_NEW_ARRAY(k->arena, lt_tensor *, most);
  k->leaf = LT_NEW_ARRAY(k->arena, lt_value, most), k->gradient = LT_NEW_ARRAY(k->arena, lt_value, most);
  k->truth = LT_NEW_ARRAY(k->arena, const lt_tensor *, most);
  for (lt_value v = 1; v < g->values.n; v++)
    if (is_leaf(g, v)) k->leaf[k->n] = v, k->name[k->n++] = lt_arena_strdup(k->arena, lt_name_of(g, v));
}

static lt_value add(lt_graph *g, lt_value sum, lt_value part) {
  part = lt_cast(g, part, LT_F64);
  return sum ? lt_binary(g, LT_OP_add, sum, part) : part;
}

/* The graph with L and its gradients as outputs "loss" and "gradient.I". */
static void build(slopes *k) {
  lt_graph *g = k->g;
  lt_value y[64], seed[64];
  list(k);
  for (uint32_t i = 0, n = g->outputs.n; i < n; i++) {
    lt_value v = g->outputs.at[i].value;
    if (!lt_is_float(lt_type_of(g, v)->dtype) || k->n_y == LT_COUNT(y)) continue;
    k->y[k->n_y] = lt_arena_strdup(k->arena, g->outputs.at[i].name);
    k->seed[k->n_y] = weights(k->arena, lt_type_of(g, v), k->y[k->n_y]);
    y[k->n_y] = v;
    k->n_y++;
  }
  if (!k->n || !k->n_y) ends(k, NO_FLOATS, "no floats");
  for (unsigned i = 0; i < k->n_y; i++) {
    seed[i] = lt_const_tensor(g, k->seed[i]);
    lt_value part = lt_reduce(g, LT_OP_sum, lt_binary(g, LT_OP_mul, y[i], seed[i]), &(lt_ints){0, {0}}, false);
    k->loss = add(g, k->loss, part);
    part = lt_reduce(g, LT_OP_sum, lt_unary(g, LT_OP_abs, y[i]), &(lt_ints){0, {0}}, false);
    k->size_of_terms = add(g, k->size_of_terms, part);
  }
  lt_gradients(g, k->gradient, y, seed, k->n_y, k->leaf, k->n);
  lt_add_output(g, "L of all", k->loss);
  lt_add_output(g, "terms of L", k->size_of_terms);
  for (unsigned i = 0; i < k->n; i++) lt_add_output(g, lt_arena_printf(k->arena, "gradient %u", i), k->gradient[i]);
}

static lt_value output(const lt_graph *g, const char *name) {
  for (uint32_t i = 0; i < g->outputs.n; i++)
    if (!strcmp(g->outputs.at[i].name, name)) return g->outputs.at[i].value;
  return 0;
}

static void differentiate(slopes *k) {
  lt_graph *to = lt_test_own(k->job, lt_graph_new(k->job, k->g->name));
  to->mode = k->g->mode;
  lt_pass_autodiff(to, k->g);
  lt_verify(to, "autodiff");
  k->g = to;
  k->loss = output(to, "L of all");
  k->size_of_terms = output(to, "terms of L");
  for (unsigned i = 0; i < k->n; i++) {
    k->leaf[i] = lt_find(to, k->name[i]);
    k->gradient[i] = output(to, lt_arena_printf(k->arena, "gradient %u", i));
  }
}

/* ---- the point --------------------------------------------------------------------------------------------------- */

static const char *file_of(const slopes *k, const char *name) {
  for (unsigned i = 0; i < k->c->n_in; i++)
    if (!strcmp(k->c->in[i], name)) return k->c->in_file[i];
  return NULL;
}

static const lathe_dtype outside[] = {
  [LT_F32] = LATHE_F32, [LT_F64] = LATHE_F64, [LT_I32] = LATHE_I32, [LT_I64] = LATHE_I64, [LT_BOOL] = LATHE_BOOL};

/* An input's elements come from its file, those of weights and states from the model. */
static lt_tensor *value_of(slopes *k, lt_value v) {
  const lt_type *t = lt_type_of(k->g, v);
  const char *file = file_of(k, lt_name_of(k->g, v));
  if (lt_op_of(k->g, v) != LT_OP_input) return lt_tensor_of(k->arena, lt_data_in(lt_node_of(k->g, v)));
  if (!file) ends(k, WRONG, "nothing is given for `%s`", lt_name_of(k->g, v));
  return lt_tensor_import(k->arena, t, load(k->c, file, (int)outside[t->dtype]).data);
}

/* Attempt 0 is the case's own point; then away from zero, towards it, further; at last all of it is drawn anew,
 * positive. What is not finite, or so large that all else is lost beside it, is drawn anew as well. */
static double moved_by(const slopes *k, unsigned attempt, unsigned i, int64_t j, double x) {
  static const double by[ATTEMPTS] = {0, 0.01, -0.01, 0.05, -0.05, 0.1, -0.1, 0.2, -0.3, 0.5, -0.6};
  uint64_t stream = lt_random_stream(k->name[i]);
  double u = 0.2 + 0.8 * (double)lt_random_unit(attempt, stream, (uint64_t)j);
  double sign = x != 0 ? copysign(1, x) : attempt % 2 ? 1 : -1;
  if (attempt >= ATTEMPTS) return u;
  if (!(fabs(x) < HUGE_ELEMENT)) return (double)lt_random_normal(attempt, stream, (uint64_t)j);
  return attempt ? (double)(float)(x + sign * by[attempt] * u * (fabs(x) + 0.1)) : x;
}

static void move_point(slopes *k, unsigned attempt) {
  for (unsigned i = 0; i < k->n; i++) {
    k->at[i] = value_of(k, k->leaf[i]);
    if (lt_op_of(k->g, k->leaf[i]) != LT_OP_input) continue;
    for (int64_t j = 0, n = lt_type_count(&k->at[i]->type); j < n; j++)
      k->at[i]->f[j] = moved_by(k, attempt, i, j, k->at[i]->f[j]);
  }
}

static lt_eval *eval_at(slopes *k, lt_arena *a, lt_eval_mode mode) {
  lt_eval *e = LT_NEW(a, lt_eval);
  lt_eval_init(e, k->job, a, k->g, mode);
  for (lt_value v = 1; v < k->g->values.n; v++)
    if (lt_is_leaf(k->g, v) && lt_op_of(k->g, v) != LT_OP_const && !is_leaf(k->g, v)) lt_eval_set(e, v, value_of(k, v));
  for (unsigned i = 0; i < k->n; i++) lt_eval_set(e, k->leaf[i], k->at[i]);
  return e;
}

/* ---- differences ------------------------------------------------------------------------------------------------- */

/* What all comparisons, and ops that jump, come to on the way, as one hash. */
static uint64_t outcomes(const lt_eval *e) {
  uint64_t hash = 0;
  for (lt_value u = 1; u < e->g->values.n; u++) {
    const lt_tensor *t = e->value[u];
    if (!t || (lt_is_float(t->type.dtype) && lt_op_table[lt_op_of(e->g, u)].rounds != LT_ROUNDS_STEP)) continue;
    hash = lt_hash(t->f, (size_t)lt_type_count(&t->type) * sizeof *t->f, hash);
  }
  return hash;
}

typedef struct moved { double loss; uint64_t hash; } moved;

/* L, with leaf i moved by d in element j, or j < 0 along a direction of ones and minus ones. */
static moved look(slopes *k, unsigned i, int64_t j, double d) {
  lt_arena a;
  lt_arena_init(&a, k->job);
  lt_tensor *old = k->at[i];
  k->at[i] = lt_tensor_copy(&a, old);
  if (j >= 0) k->at[i]->f[j] += d;
  for (int64_t e = 0, n = j >= 0 ? 0 : lt_type_count(&old->type); e < n; e++)
    k->at[i]->f[e] += lt_random_u32(11, i, (uint64_t)e) % 2 ? d : -d;
  lt_eval *e = eval_at(k, &a, LT_EVAL_DOUBLE);
  moved m = {.loss = lt_eval_get(e, k->loss)->f[0]};
  for (unsigned q = 0; q < k->n; q++) lt_eval_get(e, k->gradient[q]);
  m.hash = outcomes(e);
  k->at[i] = old;
  lt_arena_free(&a);
  return m;
}

/* false: something turns over within two steps. */
static bool difference(slopes *k, unsigned i, int64_t j, double h, double *out) {
  moved here = look(k, i, j, 0), m[4];
  static const double at[4] = {-2, -1, 1, 2};
  for (unsigned s = 0; s < 4; s++) {
    m[s] = look(k, i, j, at[s] * h);
    if (m[s].hash != here.hash || !isfinite(m[s].loss)) return false;
  }
  *out = (8 * (m[2].loss - m[1].loss) - (m[3].loss - m[0].loss)) / (12 * h);
  return true;
}

static double said(const slopes *k, unsigned i, int64_t j) {
  double sum = 0;
  if (j >= 0) return k->truth[i]->f[j];
  for (int64_t e = 0, n = lt_type_count(&k->truth[i]->type); e < n; e++)
    sum += lt_random_u32(11, i, (uint64_t)e) % 2 ? k->truth[i]->f[e] : -k->truth[i]->f[e];
  return sum;
}

static double largest(const lt_tensor *t) {
  double most = 0;
  for (int64_t j = 0, n = lt_type_count(&t->type); j < n; j++)
    most = fmax(most, isfinite(t->f[j]) ? fabs(t->f[j]) : INFINITY);
  return most;
}

static double norm(const lt_tensor *t) {
  double squares = 0;
  for (int64_t j = 0, n = lt_type_count(&t->type); j < n; j++) squares += t->f[j] * t->f[j];
  return sqrt(squares);
}

/* One element: with the step that suits it best, for what is left is the error of the difference. */
static void check_number(slopes *k, unsigned i, int64_t j) {
  double got = said(k, i, j), best = INFINITY, want = 0;
  double base = j >= 0 ? fmax(fabs(k->at[i]->f[j]), 0.1) : 0.1;
  double size = fmax(j >= 0 ? largest(k->truth[i]) : norm(k->truth[i]), 1e-3 * k->size);
  for (unsigned s = 0; s < LT_COUNT(STEPS) && !(best <= TOLERANCE); s++) {
    double d;
    if (!difference(k, i, j, STEPS[s] * base, &d)) continue;
    double lost = ROUNDING * k->terms / (STEPS[s] * base), by = fmax(fabs(got - d) - lost, 0);
    double off = by == 0 ? 0 : by / fmax(size, fabs(d));
    if (off < best) best = off, want = d;
  }
  k->numbers++;
  if (best == INFINITY) k->rough++;
  else k->c->r->worst = fmax(k->c->r->worst, best);
  if (best != INFINITY && !(best <= TOLERANCE))
    ends(k, WRONG, "the gradient in `%s` is %.9g at element %lld, and the difference %.9g", k->name[i], got,
         (long long)j, want);
}

static void check_leaf(slopes *k, unsigned i) {
  int64_t n = lt_type_count(&k->at[i]->type);
  if (n <= ALL_BELOW) {
    for (int64_t j = 0; j < n && now() < k->until; j++) check_number(k, i, j);
    return;
  }
  check_number(k, i, -1);
  for (int64_t s = 0; s < SOME && now() < k->until; s++)
    check_number(k, i, (int64_t)(lt_random_u32(3, i, (uint64_t)s) % (uint64_t)n));
}

/* false: not here. */
static bool check_point(slopes *k) {
  double start = now();
  lt_eval *e = eval_at(k, k->arena, LT_EVAL_DOUBLE);
  if (!isfinite(lt_eval_get(e, k->loss)->f[0])) return false;
  k->terms = lt_eval_get(e, k->size_of_terms)->f[0];
  k->size = 0, k->rough = k->numbers = 0;
  for (unsigned i = 0; i < k->n; i++) {
    k->truth[i] = lt_eval_get(e, k->gradient[i]);
    k->size = fmax(k->size, largest(k->truth[i]));
  }
  if (!isfinite(k->size)) return false;
  if (now() - start > SLOW) ends(k, LARGE, "one evaluation takes %.1f s", now() - start);
  k->until = now() + SECONDS;
  for (unsigned i = 0; i < k->n; i++) check_leaf(k, i);
  return k->rough * 2 <= k->numbers;
}

/* ---- compiled ---------------------------------------------------------------------------------------------------- */

static void put(lathe_instance *s, const char *name, const lt_tensor *t) {
  size_t bytes;
  void *to = lathe_buffer(s, name, &bytes);
  if (to) lt_tensor_export(t, to);
}

/* Where rounding after every op alone, as the interpreter does it, is as far off (a slope of a saturated tanh), more is
 * not asked of compiled code. */
static void compare(slopes *k, lathe_instance *s, lt_eval *rounded, unsigned i) {
  const lt_tensor *want = k->truth[i], *near = lt_eval_get(rounded, k->gradient[i]);
  void *data = lathe_buffer(s, lt_arena_printf(k->arena, "grad_%s", k->name[i]), NULL);
  if (!data) ends(k, WRONG, "compiled, there is no gradient in `%s`", k->name[i]);
  lt_tensor *got = lt_tensor_import(k->arena, &want->type, data);
  double size = fmax(largest(want), 1e-3 * k->size);
  for (int64_t j = 0, n = lt_type_count(&want->type); j < n; j++) {
    double off = fabs(got->f[j] - want->f[j]) / fmax(size, 1e-30);
    k->c->r->worst_f32 = fmax(k->c->r->worst_f32, isnan(off) ? INFINITY : off);
    if (!(off <= TOLERANCE_F32) && !(fabs(got->f[j] - want->f[j]) <= 4 * fabs(near->f[j] - want->f[j])))
      ends(k, WRONG, "compiled, the gradient in `%s` is %.9g at element %lld, not %.9g", k->name[i], got->f[j],
           (long long)j, want->f[j]);
  }
}

static void check_compiled(slopes *k, const lathe_graph *graph) {
  lathe_error e;
  lathe_port p;
  lt_str opts;
  lt_str_init(&opts, k->arena);
  lt_str_printf(&opts, "--entry grad");
  for (unsigned i = 0; i < k->n_y; i++) lt_str_printf(&opts, " --output-grad \"%s\"", k->y[i]);
  lathe_model *m = lathe_compile(graph, opts.at, &e);
  if (!m) ends(k, WRONG, "compiling the gradients: %s", e.message);
  lathe_instance *s = lathe_open(m, "", &e);
  if (!s) ends(k, WRONG, "opening the gradients: %s", e.message);
  for (lt_value v = 1; v < k->g->values.n; v++)
    if (lt_op_of(k->g, v) == LT_OP_input && !is_leaf(k->g, v) && find_port(m, "grad", "input", lt_name_of(k->g, v), &p))
      set_array(k->c, s, &p, file_of(k, lt_name_of(k->g, v)));
  for (unsigned i = 0; i < k->n; i++)
    if (lt_op_of(k->g, k->leaf[i]) == LT_OP_input) put(s, k->name[i], k->at[i]);
  for (unsigned i = 0; i < k->n_y; i++) put(s, lt_arena_printf(k->arena, "output_grad_%s", k->y[i]), k->seed[i]);
  if (lathe_call(s, "grad")) ends(k, WRONG, "the call of the gradients did not succeed");
  lt_eval *rounded = eval_at(k, k->arena, LT_EVAL_ROUND);
  for (unsigned i = 0; i < k->n; i++) compare(k, s, rounded, i);
  lathe_instance_free(s);
  lathe_model_free(m);
}

typedef struct task { running *c; const lathe_graph *g; } task;
static void check(lt_job *job, void *arg) {
  task *t = arg;
  slopes k = {.c = t->c, .job = job, .arena = lt_arena_new(job)};
  k.g = lt_test_own(job, lt_graph_reread(job, t->g, (lt_texts){0}));
  if (t->c->gflop > MOST_GFLOP) ends(&k, LARGE, "a call takes %.2g GFLOP", t->c->gflop);
  build(&k);
  differentiate(&k);
  for (unsigned attempt = 0;; attempt++) {
    if (attempt == ATTEMPTS + NEW) ends(&k, ROUGH, "no smooth point near the case's");
    move_point(&k, attempt);
    if (check_point(&k)) break;
  }
  check_compiled(&k, t->g);
  t->c->r->numbers = k.numbers - k.rough;
  t->c->r->slope = k.size > 0 ? CHECKED : VANISHES;
}

void check_slopes(running *c, const lathe_graph *g) {
  lathe_error e;
  c->r->slope = NOT_ASKED;
  if (!lt_protect(&e, check, &(task){c, g}) || c->r->slope != NOT_ASKED) return;
  c->r->slope = WRONG;
  snprintf(c->r->message, sizeof c->r->message, "%s", e.message);
}
