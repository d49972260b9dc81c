/* gradients.c: gradients through the public interface, compiled: lathe_gradients on its own results up to order three,
 * gradients as outputs beside what they are gradients of, and the Hessian-vector products of a grad entry. All against
 * central differences of fourth order of what the same model says in f64. */
#include "check_main.h"
#include "lathe/lathe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double STEP = 1e-3, TOLERANCE = 1e-7;

static void *take(void *p, const lathe_error *e) {
  ck_assert_msg(p != NULL, "%s", e->message);
  return p;
}

/* A model, and the graph it came from is gone. */
static lathe_instance *opened(lathe_graph *g, const char *opts, lathe_model **m) {
  lathe_error e;
  *m = take(lathe_compile(g, opts, &e), &e);
  lathe_graph_free(g);
  lathe_instance *s = take(lathe_open(*m, "--seed 3", &e), &e);
  lathe_port p;
  const char *entry = strstr(opts, "grad") ? "grad" : "run";
  for (size_t i = 0; lathe_model_port(*m, entry, i, &p); i++)
    if (!strcmp(p.kind, "input")) ck_assert_int_eq(lathe_fill(s, p.name, 5, p.limit ? p.limit : 3), 0);
  return s;
}

static double *numbers(lathe_instance *s, const char *name, size_t *n) {
  size_t bytes;
  double *x = lathe_buffer(s, name, &bytes);
  ck_assert_msg(x != NULL, "no buffer %s", name);
  if (n) *n = bytes / sizeof *x;
  return x;
}

static void run(lathe_instance *s, const char *entry) {
  if (!strcmp(entry, "run")) ck_assert_int_eq(lathe_repack(s), 0);
  ck_assert_int_eq(lathe_call(s, entry), 0);
}

/* out += factor * the array `name` with `leaf` moved by d times direction. */
static void add_moved(lathe_instance *s, const char *entry, const char *name, double *leaf, const double *direction,
                      size_t n, double d, double factor, double *out) {
  double *keep = malloc(n * sizeof *keep);
  size_t n_out;
  memcpy(keep, leaf, n * sizeof *keep);
  for (size_t i = 0; i < n; i++) leaf[i] += d * direction[i];
  run(s, entry);
  const double *y = numbers(s, name, &n_out);
  for (size_t i = 0; i < n_out; i++) out[i] += factor * y[i];
  memcpy(leaf, keep, n * sizeof *keep);
  free(keep);
}

/* The derivative of the array `name` along direction. */
static void differences(lathe_instance *s, const char *entry, const char *name, double *leaf, const double *direction,
                        size_t n, double *out, size_t n_out) {
  memset(out, 0, n_out * sizeof *out);
  for (int k = -2; k <= 2; k++)
    if (k)
      add_moved(s, entry, name, leaf, direction, n, k * STEP, (k % 2 ? 8 : -1) * (k < 0 ? -1 : 1) / (12 * STEP), out);
}

static void close_to(const char *what, const double *a, const double *b, size_t n, double tolerance) {
  double most = 0, size = 0;
  for (size_t i = 0; i < n; i++)
    most = fmax(most, isnan(a[i]) ? INFINITY : fabs(a[i] - b[i])), size = fmax(size, fabs(b[i]));
  ck_assert_msg(size > 1e-6, "%s: all differences are near 0, which shows nothing", what);
  ck_assert_msg(most <= tolerance * size, "%s: off by %g", what, most / size);
}

/* The gradient `g` of the scalar `y` in leaf, element by element. */
static void check_gradient(lathe_instance *s, const char *y, const char *g, const char *leaf) {
  size_t n;
  double *x = numbers(s, leaf, &n), *want = calloc(n, sizeof *want), *unit = calloc(n, sizeof *unit),
         *got = malloc(n * sizeof *got);
  for (size_t i = 0; i < n; i++) {
    unit[i] = 1;
    differences(s, "run", y, x, unit, n, &want[i], 1);
    unit[i] = 0;
  }
  run(s, "run");
  memcpy(got, numbers(s, g, NULL), n * sizeof *got);
  close_to(g, got, want, n, TOLERANCE);
  free(want), free(unit), free(got);
}

/* ---- lathe_gradients on its own results -------------------------------------------------------------------------- */

static lathe_value op(lathe_graph *g, const char *name, const char *attrs, lathe_value a, lathe_value b) {
  return lathe_op(g, name, attrs, (lathe_value[]){a, b}, b.id ? 2 : 1);
}

/* Outputs L1, its gradients gx1 and gw1, then L2 = sum(gx1²) + sum(gw1²), and so on: as deep as one likes. */
static void add_orders(lathe_graph *g, lathe_value loss, lathe_value x, lathe_value w) {
  const lathe_value none = {0};
  for (int k = 1; k <= 3; k++) {
    char name[3][8];
    lathe_value gradient[2], square[2];
    snprintf(name[0], 8, "L%d", k), snprintf(name[1], 8, "gx%d", k), snprintf(name[2], 8, "gw%d", k);
    lathe_gradients(g, gradient, &loss, NULL, 1, (lathe_value[]){x, w}, 2);
    lathe_output(g, name[0], loss);
    for (int i = 0; i < 2; i++) {
      lathe_output(g, name[i + 1], gradient[i]);
      square[i] = op(g, "sum", NULL, op(g, "mul", NULL, gradient[i], gradient[i]), none);
    }
    loss = op(g, "add", NULL, square[0], square[1]);
  }
}

START_TEST(gradients_of_gradients) {
  const lathe_value none = {0};
  lathe_error e;
  lathe_model *m;
  lathe_graph *g = lathe_graph_new("deep");
  lathe_value x = lathe_input(g, "x", "f64[2, 2, 4, 4]"),
              w = lathe_param(g, "W", "f64[3, 2, 3, 3]", "normal(scale=0.3)");
  lathe_value h = op(g, "tanh", NULL, op(g, "conv2d", "pad=1, stride=[1, 2]", x, w), none);
  add_orders(g, op(g, "sum", NULL, op(g, "mul", NULL, h, h), none), x, w);
  ck_assert_msg(lathe_check(g, &e) == 0, "%s", e.message);
  lathe_instance *s = opened(g, "", &m);
  check_gradient(s, "L1", "gx1", "x"), check_gradient(s, "L1", "gw1", "W");
  check_gradient(s, "L2", "gx2", "x"), check_gradient(s, "L2", "gw2", "W");
  check_gradient(s, "L3", "gx3", "x"), check_gradient(s, "L3", "gw3", "W");
  lathe_instance_free(s);
  lathe_model_free(m);
}
END_TEST

/* Seeds weigh the outputs, and can be differentiated in like anything else: that gives the forward derivative. */
START_TEST(seeds) {
  lathe_error e;
  lathe_model *m;
  lathe_graph *g = lathe_graph_new("seeds");
  lathe_value x = lathe_input(g, "x", "f64[3]"), s = lathe_input(g, "s", "f64[3]"), d = lathe_input(g, "d", "f64[3]");
  lathe_value y[2] = {op(g, "exp", NULL, x, (lathe_value){0}), op(g, "mul", NULL, x, x)}, seed[2] = {s, {0}}, back,
              forward;
  lathe_gradients(g, &back, y, seed, 2, &x, 1);
  lathe_gradients(g, &forward, &back, &d, 1, &s, 1);
  lathe_output(g, "back", back), lathe_output(g, "forward", forward);
  ck_assert_msg(lathe_check(g, &e) == 0, "%s", e.message);
  lathe_instance *i = opened(g, "", &m);
  run(i, "run");
  for (int k = 0; k < 3; k++) {
    double v = numbers(i, "x", NULL)[k];
    ck_assert_double_eq_tol(numbers(i, "back", NULL)[k], numbers(i, "s", NULL)[k] * exp(v) + 2 * v, 1e-12);
    ck_assert_double_eq_tol(numbers(i, "forward", NULL)[k], numbers(i, "d", NULL)[k] * exp(v), 1e-12);
  }
  lathe_instance_free(i);
  lathe_model_free(m);
}
END_TEST

/* ---- gradients as outputs ---------------------------------------------------------------------------------------- */

static char *model_text(const char *file, const char *dtype) {
  char path[512], *text = calloc(1, 65536);
  snprintf(path, sizeof path, "%s/models/%s", getenv("LT_TESTS"), file);
  FILE *f = fopen(path, "rb");
  ck_assert_msg(f != NULL, "%s", path);
  ck_assert_uint_gt(fread(text, 1, 65535, f), 0);
  fclose(f);
  for (char *at = text; (at = strstr(at, "f32")) != NULL; at++) memcpy(at, dtype, 3);
  return text;
}

static lathe_instance *parsed(const char *text, const char *opts, lathe_model **m) {
  lathe_error e;
  return opened(take(lathe_parse(text, strlen(text), "t.lathe", NULL, &e), &e), opts, m);
}

/* An energy and its force, as f32 has them; the same network in f64 has the same force, which is right. */
START_TEST(force_beside_energy) {
  lathe_model *m, *m32;
  char *text = model_text("potential.lathe", "f64"), *text32 = model_text("potential.lathe", "f32");
  lathe_instance *s = parsed(text, "", &m), *s32 = parsed(text32, "", &m32);
  size_t n, bytes;
  double *x = numbers(s, "pos", &n), *want = calloc(n, sizeof *want), *unit = calloc(n, sizeof *unit),
         *minus = malloc(n * sizeof *minus);
  for (size_t i = 0; i < n; i++) {
    unit[i] = -1;
    differences(s, "run", "energy", x, unit, n, &want[i], 1);
    unit[i] = 0;
  }
  run(s, "run"), run(s32, "run");
  close_to("force", numbers(s, "force", NULL), want, n, TOLERANCE);
  const float *force = lathe_buffer(s32, "force", &bytes);
  for (size_t i = 0; i < n; i++) minus[i] = (double)force[i];
  close_to("force in f32", minus, want, n, 1e-5);
  free(text), free(text32), free(want), free(unit), free(minus);
  lathe_instance_free(s), lathe_instance_free(s32);
  lathe_model_free(m), lathe_model_free(m32);
}
END_TEST

START_TEST(gradients_beside_their_losses) {
  lathe_model *m;
  lathe_instance *s = parsed("network t(x: f64[3, 2, 6, 6], t: i32[3]) -> L, gx, gW, P, px {"
                             "  h = batch_norm(conv2d(x, out_channels=17, kernel=3, name=\"c\"), name=\"bn\")"
                             "  L = cross_entropy(linear(flatten(avg_pool(tanh(h), kernel=2)), out=4, name=\"fc\"), t)"
                             "  gx, gW = grad(L, x, c.W)   P = sum(gx * gx)   px = grad(P, x) }",
                             "", &m);
  check_gradient(s, "L", "gx", "x");
  check_gradient(s, "L", "gW", "c.W");
  check_gradient(s, "P", "px", "x");
  lathe_instance_free(s);
  lathe_model_free(m);
}
END_TEST

/* ---- Hessian-vector products ------------------------------------------------------------------------------------- */

static const char *const leaves[] = {"x", "c.W", "bn.scale", "bn.bias", "fc.W"};
enum { LEAVES = 5 };

/* H·d in every leaf, d given in x and c.W, against the change of the gradients along both. */
static void check_hvp(const char *mode) {
  static const char net[] =
    "network t(x: f64[3, 2, 5, 5], t: i32[3]) -> loss {"
    "  h = batch_norm(conv2d(x, out_channels=3, kernel=3, pad=1, bias=false, name=\"c\"), name=\"bn\")"
    "  loss = cross_entropy(linear(flatten(avg_pool(sigmoid(h), kernel=2)), out=4, name=\"fc\"), t) }";
  lathe_model *m;
  char opts[128], name[64];
  size_t n, nd;
  snprintf(opts, sizeof opts, "--entry grad --hvp=x --hvp=c.W --mode=%s", mode);
  lathe_instance *s = parsed(net, opts, &m);
  for (int i = 0; i < LEAVES; i++) {
    snprintf(name, sizeof name, "hvp_%s", leaves[i]);
    run(s, "grad");
    numbers(s, name, &n);
    double *got = malloc(n * sizeof *got), *want = malloc(n * sizeof *want), *part = malloc(n * sizeof *part);
    memcpy(got, numbers(s, name, NULL), n * sizeof *got);
    memset(want, 0, n * sizeof *want);
    snprintf(name, sizeof name, "grad_%s", leaves[i]);
    for (int d = 0; d < 2; d++) {
      double *leaf = numbers(s, leaves[d], &nd);
      differences(s, "grad", name, leaf, numbers(s, d ? "direction_c.W" : "direction_x", NULL), nd, part, n);
      for (size_t k = 0; k < n; k++) want[k] += part[k];
    }
    close_to(leaves[i], got, want, n, TOLERANCE);
    free(got), free(want), free(part);
  }
  lathe_instance_free(s);
  lathe_model_free(m);
}

START_TEST(hessian_vector_products) {
  check_hvp("run");
  check_hvp("train");
}
END_TEST

LT_SUITE(gradients, gradients_of_gradients, seeds, force_beside_energy, gradients_beside_their_losses,
         hessian_vector_products)
LT_TEST_MAIN(gradients)
