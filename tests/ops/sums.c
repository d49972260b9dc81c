/* sums.c: sums of any length. Their order: the same bits on every CPU and in every layout as the rule of plan.h,
 * followed word by word over the axes of the op. Their accuracy: within 1e-6 of the mean magnitude of what is added,
 * for means, losses, statistics and gradients over 10 to 10^5 elements, to 10^7 with LT_SUMS=all (docs/accuracy.md has
 * a table). */
#include "check_main.h"
#include "cpus.h"
#include "plan/runs.h"

#include <math.h>
#include <stdbool.h>

/* ---- a network in use ---- */

typedef struct net { lathe_model *m; lathe_instance *s; } net;

static bool net_open(net *n, const char *text, const char *cpu) {
  lathe_error e;
  char opts[64];
  snprintf(opts, sizeof opts, "--cpu %s", cpu);
  lathe_graph *g = lathe_parse(text, strlen(text), "sums", NULL, &e);
  ck_assert_msg(g != NULL, "%s: %s", text, e.message);
  n->m = lathe_compile(g, opts, &e);
  lathe_graph_free(g);
  if (!n->m && lt_cpu_is_missing(e.message)) return false;
  ck_assert_msg(n->m != NULL, "%s: %s", text, e.message);
  n->s = lathe_open(n->m, "--seed 1", &e);
  ck_assert_msg(n->s != NULL, "%s: %s", text, e.message);
  return true;
}

static void *net_buffer(net *n, const char *name) {
  size_t bytes;
  void *at = lathe_buffer(n->s, name, &bytes);
  ck_assert_msg(at != NULL, "no buffer `%s`", name);
  return at;
}

static void net_free(net *n) {
  lathe_instance_free(n->s);
  lathe_model_free(n->m);
}

/* ---- order ---- */

/* narrow: of f32 numbers, each sum rounded to f32 (a double holds it exactly enough for that) */
typedef struct tree { bool narrow; double part[16], wait[40][16]; int64_t runs; int waiting; } tree;

static double plus(const tree *t, double a, double b) { return t->narrow ? (double)(float)(a + b) : a + b; }

static void merge(tree *t) {
  t->waiting--;
  for (int j = 0; j < 16; j++) t->wait[t->waiting - 1][j] = plus(t, t->wait[t->waiting - 1][j], t->wait[t->waiting][j]);
}

static void end_run(tree *t) {
  memcpy(t->wait[t->waiting++], t->part, sizeof t->part);
  memset(t->part, 0, sizeof t->part);
  for (int64_t r = t->runs++; r & 1; r >>= 1) merge(t);
}

static double end_sum(tree *t) {
  while (t->waiting > 1) merge(t);
  double *p = t->wait[0];
  for (int apart = 8; apart; apart /= 2)
    for (int j = 0; j < apart; j++) p[j] = plus(t, p[j], p[j + apart]);
  return p[0];
}

/* x has rank 4; `axes` has bit i where axis i is summed over. */
typedef struct shape { int64_t dim[4]; unsigned axes; } shape;

static double element(const void *x, bool narrow, int64_t i) {
  return narrow ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

/* The sum at `base` of the axes that stay. */
static double sum_at(const shape *s, const void *x, bool narrow, int64_t base) {
  int64_t extent[4], stride[4], i[4] = {0}, step = 1, all = 1;
  unsigned n = 0;
  for (int d = 3; d >= 0; step *= s->dim[d--])
    if (s->axes >> d & 1) n++;
  step = 1;
  for (int d = 3, k = (int)n; d >= 0; step *= s->dim[d--])
    if (s->axes >> d & 1) k--, extent[k] = s->dim[d], stride[k] = step, all *= s->dim[d];
  const lt_runs r = lt_runs_within(extent, n, LT_RUN_PARTS);
  tree t = {.narrow = narrow};
  for (int64_t m = 0, at = base; m < all; m++) {
    t.part[m % 16] = plus(&t, t.part[m % 16], element(x, narrow, at));
    bool ends = true;
    for (unsigned d = r.dim + 1u; d < n; d++) ends = ends && i[d] + 1 == extent[d];
    if (ends && ((i[r.dim] + 1) % r.per == 0 || i[r.dim] + 1 == extent[r.dim])) end_run(&t);
    for (unsigned d = n; d-- > 0; i[d] = 0) {
      at += stride[d];
      if (++i[d] < extent[d]) break;
      at -= stride[d] * extent[d];
    }
  }
  return end_sum(&t);
}

static void expect_sums(const shape *s, const void *x, const void *y, bool narrow, const char *what) {
  int64_t size[4], count = 1, k[4] = {0};
  for (int d = 0; d < 4; d++) size[d] = s->axes >> d & 1 ? 1 : s->dim[d], count *= size[d];
  for (int64_t o = 0; o < count; o++) {
    int64_t base = 0;
    for (int d = 0; d < 4; d++) base = base * s->dim[d] + k[d];
    double want = sum_at(s, x, narrow, base), got = element(y, narrow, o);
    ck_assert_msg(memcmp(&want, &got, sizeof want) == 0, "%s: sum %lld is %a, not %a", what, (long long)o, got, want);
    for (int d = 3; d >= 0 && ++k[d] == size[d]; d--) k[d] = 0;
  }
}

static uint32_t hash(uint64_t i) {
  i = (i + 1) * 0x9e3779b97f4a7c15u;
  i = (i ^ i >> 29) * 0xbf58476d1ce4e5b9u;
  return (uint32_t)(i >> 32);
}
static double unit(uint64_t i) { return (double)(hash(i) >> 8) * 0x1p-24; }

static const shape shapes[] = {
  {{1, 1, 1, 127}, 15},
  {{1, 1, 1, 128}, 15},
  {{1, 1, 1, 129}, 15},
  {{1, 1, 1, 511}, 8},
  {{2, 1, 1, 513}, 8},
  {{3, 1, 1, 700}, 9},
  {{1, 1, 1, 100003}, 8},
  {{31, 3, 7, 7}, 13},
  {{5, 2, 15, 15}, 12},
  {{9, 1, 2, 225}, 15},
  {{1009, 1, 1, 5}, 1},
  {{700, 1, 3, 17}, 5},
  {{37, 5, 11, 3}, 13},
  {{4, 40, 9, 33}, 10},
  {{3, 19, 1, 130}, 9},
  {{2, 3, 129, 2}, 14},
  {{3, 3, 64, 4}, 13},
  /* all runs in one group, the phase of a row of 49 known; in loops, the phase not known */
  {{8, 3, 7, 7}, 13},
  {{67, 2, 7, 7}, 13},
  {{1, 1, 14, 14}, 12},
  {{70, 2, 14, 14}, 13},
  /* groups of several iterations around; an odd number of runs in each; groups of 8 or 4 and runs left over */
  {{64, 2, 16, 16}, 13},
  {{9, 2, 28, 28}, 13},
  {{2, 1, 1, 5000}, 8},
  {{1, 1, 1, 2048}, 8},
  /* the same with outputs in the lanes */
  {{9, 14, 14, 17}, 7},
  {{33, 4, 16, 20}, 7},
  {{6, 16, 16, 20}, 7},
  {{9, 3, 14, 20}, 5},
  {{1500, 1, 1, 33}, 1},
  {{640, 1, 1, 17}, 1},
  {{100, 1, 3, 40}, 1},
  {{7, 28, 28, 3}, 7},
};

static void sum_text(char *text, size_t n, const shape *s, bool narrow) {
  char axes[32] = "";
  for (int d = 0; d < 4; d++)
    if (s->axes >> d & 1) snprintf(axes + strlen(axes), sizeof axes - strlen(axes), "%s%d", *axes ? ", " : "", d);
  snprintf(text, n, "network n(x: %s[%lld, %lld, %lld, %lld]) -> y { y = sum(x, axes=[%s]) }", narrow ? "f32" : "f64",
           (long long)s->dim[0], (long long)s->dim[1], (long long)s->dim[2], (long long)s->dim[3], axes);
}

START_TEST(order) {
  char text[256];
  for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes; i++) {
    const shape *s = &shapes[i / 2];
    bool narrow = i % 2 == 0;
    net n;
    sum_text(text, sizeof text, s, narrow);
    if (!net_open(&n, text, lt_cpus[_i])) return; /* cpu_runs_here reports that */
    void *x = net_buffer(&n, "x"), *y = net_buffer(&n, "y");
    for (int64_t k = 0, count = s->dim[0] * s->dim[1] * s->dim[2] * s->dim[3]; k < count; k++) {
      double v = unit((uint64_t)k) - 0.25;
      if (narrow) ((float *)x)[k] = (float)v;
      else ((double *)x)[k] = v;
    }
    ck_assert_int_eq(lathe_call(n.s, "run"), 0);
    expect_sums(s, x, y, narrow, text);
    net_free(&n);
  }
}
END_TEST

/* An expression too long to be written out for every element. */
START_TEST(long_expression) {
  static const shape s = {{300, 1, 3, 21}, 1};
  static const char text[] = "network n(x: f32[300, 1, 3, 21]) -> h, y { h = tanh(x) * x  y = sum(h, axes=[0]) }";
  net n;
  if (!net_open(&n, text, lt_cpus[_i])) return;
  ck_assert_int_eq(lathe_fill(n.s, "x", 7, 0), 0);
  ck_assert_int_eq(lathe_call(n.s, "run"), 0);
  expect_sums(&s, net_buffer(&n, "h"), net_buffer(&n, "y"), true, "long expression");
  net_free(&n);
}
END_TEST

/* Sums over pixels of an image whose channels stand in blocks. */
START_TEST(blocked) {
  static const shape s = {{3, 20, 9, 57}, 13};
  static const char text[] = "network n(x: f32[3, 4, 9, 57]) -> h, y, next {\n"
                             "  h = conv2d(x, out_channels=20, kernel=3, pad=1)  y = sum(h, axes=[0, 2, 3])\n"
                             "  next = conv2d(h, out_channels=16, kernel=3, pad=1) }";
  net n;
  lathe_error e;
  if (!net_open(&n, text, lt_cpus[_i])) return;
  char *plan = lathe_model_report(n.m, "plan", &e), *line = plan ? strstr(plan, " in runs of ") : NULL;
  ck_assert_msg(line && strstr(line, " channels 20 ") && strstr(line, " channels 20 ") < strchr(line, '\n'),
                "the sum is not over blocks:\n%s", plan ? plan : e.message);
  lathe_free(plan);
  ck_assert_int_eq(lathe_fill(n.s, "x", 7, 0), 0);
  ck_assert_int_eq(lathe_call(n.s, "run"), 0);
  expect_sums(&s, net_buffer(&n, "h"), net_buffer(&n, "y"), true, "blocked");
  net_free(&n);
}
END_TEST

/* ---- accuracy ---- */

typedef enum data { CONSTANT, CONSTANT_7, UNIFORM, ALTERNATING, SHIFTED, DATA } data;
static const char *const data_name[DATA] = {"0.1", "0.7", "uniform", "alternating", "1000 + uniform"};

static float datum(data k, uint64_t i) {
  switch (k) {
  case CONSTANT: return 0.1f;
  case CONSTANT_7: return 0.7f;
  case UNIFORM: return (float)unit(i);
  case ALTERNATING: return i % 2 ? -0.3f : 0.1f;
  default: return 1000 + (float)unit(i);
  }
}

/* Errors over what they may be compared with. */
typedef struct accuracy { net *n; int64_t count; const float *x; data kind; } accuracy;

static double over(double got, double want, double magnitude) { return fabs(got - want) / magnitude; }
static double result(const accuracy *a, const char *name, int64_t i) {
  return (double)((float *)net_buffer(a->n, name))[i];
}

static double of_sum(const accuracy *a) {
  double sum = 0, size = 0;
  for (int64_t i = 0; i < a->count; i++) sum += (double)a->x[i], size += fabs((double)a->x[i]);
  return over(result(a, "y", 0), sum, size);
}

static double of_mean(const accuracy *a) {
  double sum = 0, size = 0;
  for (int64_t i = 0; i < a->count; i++) sum += (double)a->x[i], size += fabs((double)a->x[i]);
  return over(result(a, "y", 0), sum / (double)a->count, size / (double)a->count);
}

static double of_mse(const accuracy *a) { /* t is 0.25 everywhere */
  double sum = 0;
  for (int64_t i = 0; i < a->count; i++) sum += ((double)a->x[i] - 0.25) * ((double)a->x[i] - 0.25);
  return over(result(a, "y", 0), sum / (double)a->count, sum / (double)a->count);
}

/* Five columns summed, as the gradient of a bias is. */
static double of_columns(const accuracy *a) {
  double worst = 0;
  for (int64_t c = 0; c < 5; c++) {
    double sum = 0, size = 0;
    for (int64_t i = c; i < a->count; i += 5) sum += (double)a->x[i], size += fabs((double)a->x[i]);
    worst = fmax(worst, over(result(a, "y", c), sum, size));
  }
  return worst;
}

/* Two channels of five pixels. The variance may be off by the square of what the mean may be off, besides: it is the
 * mean square of differences from that mean. */
static double of_statistics(const accuracy *a) {
  double worst = 0;
  for (int64_t c = 0; c < 2; c++) {
    double sum = 0, size = 0, squares = 0, n = (double)a->count / 2;
    for (int64_t i = 0; i < a->count; i++)
      if (i / 5 % 2 == c) sum += (double)a->x[i], size += fabs((double)a->x[i]);
    for (int64_t i = 0; i < a->count; i++)
      if (i / 5 % 2 == c) squares += ((double)a->x[i] - sum / n) * ((double)a->x[i] - sum / n);
    worst = fmax(worst, over(result(a, "mean", c), sum / n, size / n));
    double slack = 1e-6 * (squares / n) + 1e-12 * (size / n) * (size / n);
    worst = fmax(worst, 1e-6 * fabs(result(a, "var", c) - squares / n) / slack);
  }
  return worst;
}

/* Rows of ten classes, labels 0 to 9 in turn. */
static double of_entropy(const accuracy *a) {
  double total = 0;
  for (int64_t i = 0; i < a->count / 10; i++) {
    double sum = 0;
    for (int64_t c = 0; c < 10; c++) sum += exp((double)a->x[10 * i + c] - (double)a->x[10 * i]);
    total += log(sum) - ((double)a->x[10 * i + i % 10] - (double)a->x[10 * i]);
  }
  return over(result(a, "y", 0), total / (double)(a->count / 10), total / (double)(a->count / 10));
}

/* $: elements / per */
typedef struct subject { const char *name, *text; int64_t per; double (*error)(const accuracy *a); } subject;
static const subject subjects[] = {
  {"sum", "network n(x: f32[$]) -> y { y = sum(x) }", 1, of_sum},
  {"mean", "network n(x: f32[$]) -> y { y = mean(x) }", 1, of_mean},
  {"mse", "network n(x: f32[$], t: f32[$]) -> y { y = mse(x, t) }", 1, of_mse},
  {"bias",
   "network n(a: f32[$, 2], W: f32[2, 5], b: f32[5], x: f32[$, 5]) -> y { h = linear(a, W, b)  y = grad(h, b, seed=x) "
   "}",
   5, of_columns},
  {"statistics",
   "network n(x: f32[$, 2, 5, 1], s: f32[2], b: f32[2]) -> mean, var { y, mean, var = batch_norm_train(x, s, b) }", 10,
   of_statistics},
  {"cross_entropy", "network n(x: f32[$, 10], t: i32[$]) -> y { y = cross_entropy(x, t) }", 10, of_entropy},
};
enum { SUBJECTS = sizeof subjects / sizeof *subjects };

static void with_rows(char *out, size_t n, const char *text, int64_t rows) {
  size_t k = 0;
  for (; *text; text++)
    k += *text == '$' ? (size_t)snprintf(out + k, n - k, "%lld", (long long)rows) : (out[k] = *text, (size_t)1);
  out[k] = 0;
}

static void check_subject(const subject *s, int64_t count) {
  char text[512];
  net n;
  with_rows(text, sizeof text, s->text, count / s->per);
  ck_assert(net_open(&n, text, "native"));
  float *x = net_buffer(&n, "x");
  if (s->error == of_mse)
    for (int64_t i = 0; i < count; i++) ((float *)net_buffer(&n, "t"))[i] = 0.25f;
  if (s->error == of_entropy)
    for (int64_t i = 0; i < count / 10; i++) ((int32_t *)net_buffer(&n, "t"))[i] = (int32_t)(i % 10);
  for (data k = 0; k < DATA; k++) {
    if (s->error == of_entropy && k == SHIFTED) continue; /* its rows are differences of large numbers */
    for (int64_t i = 0; i < count; i++) x[i] = datum(k, (uint64_t)i);
    ck_assert_int_eq(lathe_call(n.s, "run"), 0);
    double error = s->error(&(accuracy){&n, count, x, k});
    ck_assert_msg(error <= 1e-6, "%s of %lld elements, %s: error %.2g", s->name, (long long)count, data_name[k], error);
  }
  net_free(&n);
}

START_TEST(accurate) {
  const char *all = getenv("LT_SUMS");
  for (int64_t count = 10; count <= (all ? 10000000 : 100000); count *= 10) check_subject(&subjects[_i], count);
}
END_TEST

/* A chain of 8 keeps even the constant it treats worst. */
START_TEST(mean_of_tenths) {
  char text[128] = "network n(x: f32[1, 1, 512, 512]) -> y { y = mean(x * 0 + 0.1) }";
  net n;
  if (!net_open(&n, text, lt_cpus[_i])) return;
  ck_assert_int_eq(lathe_call(n.s, "run"), 0);
  double y = (double)*(float *)net_buffer(&n, "y");
  ck_assert_msg(fabs(y - 0.1) <= 1e-8, "the mean of 0.1 is %.9g", y);
  net_free(&n);
}
END_TEST

static Suite *sums(void) {
  Suite *s = suite_create("sums");
  TCase *c = tcase_create("sums");
  tcase_set_timeout(c, 300);
  tcase_add_loop_test(c, cpu_runs_here, 0, CPUS);
  tcase_add_loop_test(c, order, 0, CPUS);
  tcase_add_loop_test(c, long_expression, 0, CPUS);
  tcase_add_loop_test(c, blocked, 0, CPUS);
  tcase_add_loop_test(c, mean_of_tenths, 0, CPUS);
  tcase_add_loop_test(c, accurate, 0, SUBJECTS);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(sums)
