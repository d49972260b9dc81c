/* nonfinite.c: infinities and NaN among images, weights and gradients of convolutions: padding is zeros that take part,
 * whatever the algorithm. lathe_prove holds compiled code to the interpreter, NaN for NaN. */
#include "check_main.h"
#include "lathe/lathe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct form { const char *what, *x, *w, *attrs; } form;
static const form forms[] = {
  {"direct, one channel", "1, 1, 5, 6", "1, 1, 3, 3", "pad=1"},
  {"direct, blocks", "2, 16, 5, 6", "32, 16, 3, 3", "pad=[2, 1, 0, 3]"},
  {"direct, rest of a block", "1, 20, 6, 5", "18, 20, 3, 2", "pad=1, stride=2"},
  {"direct, dilated", "1, 3, 7, 7", "4, 3, 3, 3", "pad=2, dilation=2, stride=2"},
  {"direct, few phases", "1, 2, 9, 9", "3, 2, 2, 2", "pad=1, stride=[3, 4], dilation=[2, 1]"},
  {"one window", "1, 2, 3, 3", "3, 2, 5, 5", "pad=1"},
  {"one row of windows", "1, 2, 3, 6", "3, 2, 5, 3", "pad=1, stride=2"},
  {"points of 8 images", "6, 16, 2, 2", "16, 16, 3, 3", "pad=1"},
  {"rows of 3 images", "3, 16, 5, 7", "16, 16, 3, 3", "pad=1"},
  {"whole rows", "1, 16, 7, 7", "32, 16, 3, 3", "pad=1"},
  {"rows of images, a block left over", "4, 40, 7, 6", "40, 40, 3, 3", "pad=[1, 2, 2, 1]"},
  {"depthwise", "1, 20, 6, 6", "20, 1, 3, 3", "pad=1, groups=20"},
  {"depthwise, strided", "2, 5, 7, 8", "5, 1, 3, 3", "pad=[1, 2, 2, 1], stride=2, groups=5"},
  {"depthwise, dilated", "1, 16, 7, 7", "16, 1, 3, 3", "pad=2, dilation=2, groups=16"},
  {"grouped", "1, 6, 5, 5", "9, 2, 3, 3", "pad=1, groups=3"},
  {"grouped, strided", "1, 6, 6, 7", "4, 3, 3, 3", "pad=2, stride=2, groups=2"},
  {"guarded", "1, 2, 2, 3", "3, 2, 2, 2", "pad=1000, stride=500, dilation=500"},
  {"guarded, grouped", "1, 4, 3, 2", "4, 2, 2, 3", "pad=1000, stride=500, groups=2"},
};

static uint32_t draws;
/* One of `rare` is odd; 0: none. */
static float drawn(uint32_t rare) {
  static const float odds[] = {INFINITY, -INFINITY, NAN};
  draws = draws * 1664525u + 1013904223u;
  uint32_t u = draws >> 8;
  if (rare && u % rare == 0) return odds[u / rare % 3];
  return (float)(u % 1000) / 500.0f - 1;
}

static void fill(lathe_instance *s, const char *name, int odd) {
  size_t bytes;
  float *at = lathe_buffer(s, name, &bytes);
  ck_assert_ptr_nonnull(at);
  const size_t n = bytes / sizeof *at; /* of many elements few are odd, or every sum would be NaN */
  for (size_t i = 0; i < n; i++) at[i] = drawn(odd ? n > 44 ? (uint32_t)n / 4 : 11 : 0);
  if (odd) at[n - 1] = INFINITY;
}

static size_t nans_of(lathe_instance *s, const char *name) {
  size_t bytes, n = 0;
  const float *at = lathe_buffer(s, name, &bytes);
  for (size_t i = 0; i < bytes / sizeof *at; i++) n += isnan(at[i]) != 0;
  return n;
}

/* Everything is an input, so that nothing is computed ahead. */
static lathe_graph *network_of(const form *f) {
  char text[512];
  lathe_error e;
  snprintf(text, sizeof text,
           "network net(x: f32[%s], W: f32[%s]) -> y, gx, gW {\n  y = conv2d(x, W, %s)\n"
           "  gx, gW = grad(y, x, W, seed=y * y)\n}\n",
           f->x, f->w, f->attrs);
  lathe_graph *g = lathe_parse(text, strlen(text), "net", NULL, &e);
  ck_assert_msg(g != NULL, "%s: %s", f->what, e.message);
  return g;
}

static void prove(const lathe_graph *g, lathe_instance *s, const char *what, int odd) {
  lathe_error e;
  lathe_proof *p = lathe_prove(g, s, "run", NULL, &e);
  ck_assert_msg(p != NULL, "%s: %s", what, e.message);
  for (size_t i = 0; i < p->n; i++)
    ck_assert_msg(p->point[i].ok, "%s, %d: %s\n%s", what, odd, p->point[i].what,
                  p->point[i].notes ? p->point[i].notes : "");
  lathe_free(p);
}

START_TEST(convolutions) {
  const form *f = &forms[_i];
  static const char *const cpus[] = {NULL, "--cpu x86-64-v3", "--cpu x86-64"};
  lathe_error e;
  lathe_graph *g = network_of(f);
  for (size_t c = 0; c < sizeof cpus / sizeof *cpus; c++) {
    lathe_model *m = lathe_compile(g, cpus[c], &e);
    ck_assert_msg(m != NULL, "%s: %s", f->what, e.message);
    lathe_instance *s = lathe_open(m, NULL, &e);
    ck_assert_ptr_nonnull(s);
    for (int odd = 0; odd < 4; odd++) { /* nothing, the image, the weights, both */
      fill(s, "x", odd & 1), fill(s, "W", odd & 2);
      prove(g, s, f->what, odd);
      size_t nans = nans_of(s, "y") + nans_of(s, "gx") + nans_of(s, "gW");
      ck_assert(odd & 2 ? nans > 0 : odd || !nans);
    }
    lathe_instance_free(s), lathe_model_free(m);
  }
  lathe_graph_free(g);
}
END_TEST

/* The rule itself: a tap on the padding is 0·inf, NaN; elsewhere the sum is infinite. */
START_TEST(padding_takes_part) {
  lathe_error e;
  const form f = {"", "1, 1, 3, 3", "1, 1, 3, 3", "pad=1"};
  lathe_graph *g = network_of(&f);
  lathe_model *m = lathe_compile(g, NULL, &e);
  lathe_instance *s = lathe_open(m, NULL, &e);
  ck_assert_ptr_nonnull(s);
  float *x = lathe_buffer(s, "x", NULL), *W = lathe_buffer(s, "W", NULL), *y = lathe_buffer(s, "y", NULL);
  for (int i = 0; i < 9; i++) x[i] = 1, W[i] = 1;
  W[8] = INFINITY;
  ck_assert_int_eq(lathe_call(s, "run"), 0);
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) ck_assert(i == 2 || j == 2 ? isnan(y[3 * i + j]) : y[3 * i + j] == INFINITY);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
}
END_TEST

/* Gradients where a function has none, one-sided ones, or bad operands: docs/language.md says these. */
static const struct { const char *is, *of; float at[2]; } edges[] = {
  {"sqrt(z)", "z", {INFINITY, NAN}},
  {"log(z)", "z", {INFINITY, -1}},
  {"pow(z, 2.0)", "z", {0, -2}},
  {"pow(z, 0.5)", "z", {INFINITY, NAN}},
  {"pow(z, 0.0)", "z", {0, 0}},
  {"pow(z, t)", "t", {0, 0}},
  {"relu(o)", "o", {0, 0}},
  {"abs(o)", "o", {0, 0}},
  {"clip(u, lo=-1, hi=1)", "u", {1, 1}},
  {"max(o, z)", "o", {1, 1}},
  {"max(o, z)", "z", {0, 0}},
  {"min(o, z)", "o", {1, 0}},
  {"min(o, z)", "z", {0, 1}},
  {"select(less(z, 0.0), 1.0, sqrt(z))", "z", {INFINITY, NAN}},
  {"sqrt(select(less(z, 0.0), 1.0, z))", "z", {INFINITY, 0}},
};

START_TEST(gradients_at_edges) {
  static const float z[] = {0, -1}, t[] = {0, 2}, u[] = {-1, 1};
  lathe_error e;
  char text[512];
  snprintf(text, sizeof text,
           "network net(z: f32[2], t: f32[2], u: f32[2], o: f32[2]) -> y, g {\n  y = %s\n  g = grad(y, %s)\n}\n",
           edges[_i].is, edges[_i].of);
  lathe_graph *g = lathe_parse(text, strlen(text), "net", NULL, &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  lathe_model *m = lathe_compile(g, NULL, &e);
  lathe_instance *s = lathe_open(m, NULL, &e);
  ck_assert_ptr_nonnull(s);
  const struct { const char *name; const float *at; } in[] = {{"z", z}, {"t", t}, {"u", u}}; /* o: zeros */
  for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
    void *at = lathe_buffer(s, in[i].name, NULL);
    if (at) memcpy(at, in[i].at, sizeof z);
  }
  prove(g, s, edges[_i].is, 0);
  const float *got = lathe_buffer(s, "g", NULL), *want = edges[_i].at;
  for (int i = 0; i < 2; i++)
    ck_assert_msg(isnan(want[i]) ? isnan(got[i]) : got[i] == want[i], "the gradient of %s in %s at %d is %g",
                  edges[_i].is, edges[_i].of, i, (double)got[i]);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
}
END_TEST

static Suite *nonfinite_suite(void) {
  Suite *s = suite_create("nonfinite");
  TCase *c = tcase_create("nonfinite");
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, convolutions, 0, sizeof forms / sizeof *forms);
  tcase_add_test(c, padding_takes_part);
  tcase_add_loop_test(c, gradients_at_edges, 0, sizeof edges / sizeof *edges);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(nonfinite_suite)
