/* steps.c: training steps through the library against tests/api/steps.txt, which tests/tools/step_values.py computed
 * with NumPy in double precision: every optimizer and every hook for 25 steps, with params in f32, in f64 and in both.
 * And what freezing must leave alone. */
#include "check_main.h"
#include "lathe/lathe.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { CASES = 19, STEPS = 25, PARAMS = 4, LINE = 1 << 13 };
static const char *const param_names[PARAMS] = {"l1.W", "l1.b", "l2.W", "l2.b"};

/* The network of step_values.py; A and B stand for the element types of the first layer and of the second. */
static const char network[] = "network steps(x: A[5, 6], t: B[5, 3]) -> loss {\n"
                              "  param l1.W: A[6, 7] = zeros() param l1.b: A[7] = zeros() param l2.W: B[7, 3] = "
                              "zeros() param l2.b: B[3] = zeros()\n"
                              "  loss = mse(linear(cast(tanh(linear(x, l1.W, l1.b)), dtype=B), l2.W, l2.b), t)\n}\n";
typedef struct variant { const char *a, *b; double tolerance; } variant;
static const variant variants[] = {{"f32", "f32", 2e-5}, {"f64", "f64", 1e-13}, {"f32", "f64", 2e-5}};

static void *take(void *p, const char *what, const lathe_error *e) {
  ck_assert_msg(p != NULL, "%s: %s", what, e->message);
  return p;
}

static void write_network(char *out, const variant *v) {
  for (const char *p = network; *p; p++) {
    if (*p == 'A' || *p == 'B') out += sprintf(out, "%s", *p == 'A' ? v->a : v->b);
    else *out++ = *p;
  }
  *out = 0;
}

static lathe_model *compiled(const variant *v, const char *opts) {
  char text[1024], all[512];
  lathe_error e;
  write_network(text, v);
  snprintf(all, sizeof all, "--entry train --loss loss --verify-each %s", opts);
  lathe_graph *g = take(lathe_parse(text, strlen(text), "steps", NULL, &e), text, &e);
  lathe_model *m = take(lathe_compile(g, all, &e), all, &e);
  lathe_graph_free(g);
  return m;
}

/* ---- the memory behind a name ---- */

typedef struct array { void *at; size_t n; bool wide; } array;

static array array_of(lathe_instance *s, const lathe_model *m, const char *name) {
  lathe_port port;
  for (size_t i = 0; lathe_model_port(m, "train", i, &port); i++) {
    if (strcmp(port.name, name) != 0) continue;
    bool wide = port.dtype == LATHE_F64;
    array a = {lathe_buffer(s, name, NULL), (size_t)port.bytes / (wide ? 8 : 4), wide};
    ck_assert_msg(a.at != NULL, "no memory for %s", name);
    return a;
  }
  ck_abort_msg("no port %s", name);
}

static double value(array a, size_t i) { return a.wide ? ((const double *)a.at)[i] : (double)((const float *)a.at)[i]; }

/* The rule of filled() in step_values.py. */
static void fill(array a, int place) {
  for (size_t i = 0; i < a.n; i++) {
    double v = (double)((int64_t)(i * 37 + 11 * (size_t)place + 5) * 53 % 97 - 48) / 64;
    if (a.wide) ((double *)a.at)[i] = v;
    else ((float *)a.at)[i] = (float)v;
  }
}

/* ---- one case ---- */

/* max |a - b| / max |b| over n numbers, b read from the line. */
static double distance(const char *line, array a) {
  double most = 0, size = 0;
  char *p = (char *)line, *end;
  for (size_t i = 0; i < a.n; i++, p = end) {
    double want = strtod(p, &end);
    ck_assert_msg(end != p, "the line ends after %zu of %zu numbers", i, a.n);
    most = fmax(most, fabs(value(a, i) - want));
    if (isnan(value(a, i))) most = INFINITY;
    size = fmax(size, fabs(want));
  }
  ck_assert_str_eq(p, "\n");
  return most / size;
}

static void run_case(const variant *v, const char *opts, char lines[][LINE]) {
  lathe_error e;
  lathe_model *m = compiled(v, opts);
  lathe_instance *s = take(lathe_open(m, NULL, &e), opts, &e);
  double losses[STEPS];
  for (int i = 0; i < PARAMS; i++) fill(array_of(s, m, param_names[i]), i);
  array x = array_of(s, m, "x"), t = array_of(s, m, "t"), loss = array_of(s, m, "loss");
  for (int k = 0; k < STEPS; k++) {
    fill(x, 10 + 2 * k), fill(t, 11 + 2 * k);
    ck_assert_int_eq(lathe_call(s, "train"), 0);
    losses[k] = value(loss, 0);
  }
  double off = distance(lines[0], (array){losses, STEPS, true});
  ck_assert_msg(off <= v->tolerance, "%s, %s and %s: the losses are off by %g", opts, v->a, v->b, off);
  for (int i = 0; i < PARAMS; i++) {
    off = distance(lines[i + 1], array_of(s, m, param_names[i]));
    ck_assert_msg(off <= v->tolerance, "%s, %s and %s: %s is off by %g", opts, v->a, v->b, param_names[i], off);
  }
  lathe_instance_free(s);
  lathe_model_free(m);
}

static FILE *open_values(void) {
  char path[512];
  snprintf(path, sizeof path, "%s/api/steps.txt", getenv("LT_TESTS"));
  FILE *f = fopen(path, "rb");
  ck_assert_msg(f != NULL, "cannot read %s", path);
  return f;
}

START_TEST(values) {
  static char head[LINE], lines[PARAMS + 1][LINE];
  int seen = 0;
  FILE *f = open_values();
  while (fgets(head, LINE, f)) {
    if (head[0] == '#') continue;
    ck_assert_msg(head[0] == '=', "a case is expected: %.60s", head);
    head[strcspn(head, "\n")] = 0;
    for (int i = 0; i <= PARAMS; i++) ck_assert_ptr_nonnull(fgets(lines[i], LINE, f));
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) run_case(&variants[i], head + 2, lines);
    seen++;
  }
  fclose(f);
  ck_assert_int_eq(seen, CASES);
}
END_TEST

/* ---- freezing ---- */

static int has_port(const lathe_model *m, const char *name) {
  lathe_port port;
  for (size_t i = 0; lathe_model_port(m, "train", i, &port); i++)
    if (strcmp(port.name, name) == 0) return 1;
  return 0;
}

static int kernels(const lathe_model *m) {
  lathe_stats st;
  ck_assert_int_eq(lathe_model_stats(m, "train", &st), 1);
  return st.kernels;
}

START_TEST(frozen_params_cost_nothing) {
  lathe_model *all = compiled(&variants[0], "--optimizer adam"),
              *m = compiled(&variants[0], "--optimizer adam --freeze l1");
  const char *const gone[] = {"l1.W.adam.m", "l1.W.adam.v", "l1.b.adam.m", "l1.b.adam.v"}, *const kept[] = {
                                                                                             "l1.W", "l1.b",
                                                                                             "l2.W.adam.m",
                                                                                             "l2.b.adam.v"};
  for (int i = 0; i < 4; i++) {
    ck_assert_msg(has_port(all, gone[i]) && !has_port(m, gone[i]), "%s", gone[i]);
    ck_assert_msg(has_port(m, kept[i]), "%s", kept[i]);
  }
  lathe_kernel k; /* the first layer's weight gradient is a matrix product of x with something */
  ck_assert_int_lt(kernels(m), kernels(all));
  for (size_t i = 0; lathe_model_kernel(m, "train", i, &k); i++) ck_assert_ptr_null(strstr(k.name, "l1.W"));
  lathe_model_free(all);
  lathe_model_free(m);
}
END_TEST

/* Kernels of the digits' step whose op starts with `op`. */
static int kernels_of(const char *op, const char *opts) {
  char path[512], all[256];
  lathe_error e;
  lathe_kernel k;
  int n = 0;
  snprintf(path, sizeof path, "%s/models/digits.lathe", getenv("LT_TESTS"));
  snprintf(all, sizeof all, "--entry train:loss %s", opts);
  lathe_graph *g = take(lathe_load(path, NULL, &e), path, &e);
  lathe_model *m = take(lathe_compile(g, all, &e), all, &e);
  for (size_t i = 0; lathe_model_kernel(m, "train", i, &k); i++) n += strncmp(k.op, op, strlen(op)) == 0;
  lathe_model_free(m);
  lathe_graph_free(g);
  return n;
}

START_TEST(nothing_is_computed_for_frozen_layers) {
  ck_assert_int_gt(kernels_of("conv2d_grad", ""), 0);
  ck_assert_int_eq(kernels_of("conv2d_grad", "--freeze conv1"), 0);
  ck_assert_int_eq(kernels_of("linear_grad_input", ""), 1);
  ck_assert_int_eq(kernels_of("linear_grad_input", "--freeze conv1"), 0);
}
END_TEST

START_TEST(clipping_a_gradient_that_is_not_a_number_changes_nothing) {
  lathe_error e;
  lathe_model *m = compiled(&variants[0], "--clip-norm 0.5 --freeze l1");
  lathe_instance *s = take(lathe_open(m, NULL, &e), "open", &e);
  array t = array_of(s, m, "t"), b = array_of(s, m, "l2.b");
  ((float *)t.at)[0] = NAN; /* the first column's bias gets a gradient NaN, the others do not */
  ((float *)t.at)[1] = 3;
  ck_assert_int_eq(lathe_call(s, "train"), 0);
  ck_assert_double_nan(value(b, 0));
  ck_assert_double_eq_tol(value(b, 1), 0.01 * 2 * 3 / 15, 1e-8);
  lathe_instance_free(s);
  lathe_model_free(m);
}
END_TEST

START_TEST(a_scalar_param_is_clipped) {
  static const char text[] = "network n(x: f32[3]) -> loss { param w: f32 = ones() loss = sum(w * x) }";
  static const float x[] = {1, 2, 3};
  lathe_error e;
  lathe_graph *g = take(lathe_parse(text, strlen(text), "n", NULL, &e), text, &e);
  lathe_model *m = take(lathe_compile(g, "--entry train:loss --lr 0.5 --clip-norm 0.5", &e), text, &e);
  lathe_instance *s = take(lathe_open(m, NULL, &e), "open", &e);
  memcpy(array_of(s, m, "x").at, x, sizeof x);
  ck_assert_int_eq(lathe_call(s, "train"), 0);
  ck_assert_double_eq_tol(value(array_of(s, m, "w"), 0), 1 - 0.5 * 6 * (0.5 / (6 + 1e-6)), 1e-7);
  lathe_instance_free(s);
  lathe_model_free(m);
  lathe_graph_free(g);
}
END_TEST

/* ---- mistakes ---- */

static void refused(const char *text, const char *opts, const char *message) {
  lathe_error e;
  lathe_graph *g = take(lathe_parse(text, strlen(text), "t", NULL, &e), text, &e);
  ck_assert_ptr_null(lathe_compile(g, opts, &e));
  ck_assert_str_eq(e.message, message);
  lathe_graph_free(g);
}

#define PARAMS_HELP "\nhelp: the params are `enc.first.W`, `enc.first.b`, `enc.last.W`, `enc.last.b`"
START_TEST(mistakes) {
  static const char two[] = "network n(x: f32[2, 3]) -> loss { loss = sum(linear(linear(x, out=4, name=\"enc.first\"), "
                            "out=1, name=\"enc.last\")) }";
  static const char own[] =
    "network own(x: f32) -> loss { param w: f32 = ones() loss = w * x update w = w - grad(loss, w) }";
  static const char none[] = "network bare(x: f32[2]) -> loss { loss = sum(x) }";
  refused(two, "--entry train:loss --freeze enc.frist",
          "--freeze: no param matches `enc.frist`\nhelp: did you mean `enc.first`, `enc.first.W`, `enc.first.b`?");
  refused(two, "--entry train:loss --freeze enc --freeze decoder", "--freeze: no param matches `decoder`" PARAMS_HELP);
  refused(two, "--entry train:loss --freeze enc",
          "--freeze leaves no param that the loss depends on, there is nothing to train");
  refused(two, "--entry train:loss --freeze e", "--freeze: no param matches `e`" PARAMS_HELP);
  refused(own, "--entry train:loss --weight-decay 0.1",
          "network `own` updates its params itself, so --weight-decay has nothing to act on");
  refused(own, "--entry train:loss --optimizer adam",
          "network `own` updates its params itself, so --optimizer has nothing to act on");
  refused(none, "--entry train:loss --freeze x",
          "entry `train:loss`: the loss depends on no param, there is nothing to train");
  refused(two, "--entry train:loss --clip-norm 0", "--clip-norm: `0` is not a number of at least 1e-30");
}
END_TEST

LT_SUITE(steps, values, frozen_params_cost_nothing, nothing_is_computed_for_frozen_layers,
         clipping_a_gradient_that_is_not_a_number_changes_nothing, a_scalar_param_is_clipped, mistakes)
LT_TEST_MAIN(steps)
