/* products.c: long products keep their digits: against double precision, on each width of vectors. */
#include "cpus.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { M = 3, N = 20 };

/* Uniform in [0, 1): all terms of a kind, so that roundings do not cancel. */
static void fill(float *x, size_t n, uint32_t seed) {
  for (size_t i = 0; i < n; i++) seed = seed * 1664525u + 1013904223u, x[i] = (float)(seed >> 8) * 0x1p-24f;
}

static double error(const float *y, const float *a, const float *b, size_t k) {
  double most = 0, off = 0;
  for (size_t i = 0; i < M; i++)
    for (size_t j = 0; j < N; j++) {
      double sum = 0;
      for (size_t t = 0; t < k; t++) sum += (double)a[i * k + t] * (double)b[t * N + j];
      most = fmax(most, fabs(sum)), off = fmax(off, fabs((double)y[i * N + j] - sum));
    }
  return off / most;
}

/* NaN: this host has no such CPU. */
static double product(const char *cpu, size_t k) {
  char text[200], opts[80];
  lathe_error e;
  size_t bytes;
  snprintf(text, sizeof text, "network n(a: f32[%d, %zu], b: f32[%zu, %d]) -> y { y = matmul(a, b) }", M, k, k, N);
  snprintf(opts, sizeof opts, "--cpu %s", cpu);
  lathe_graph *g = lathe_parse(text, strlen(text), "product", NULL, &e);
  lathe_model *m = lathe_compile(g, opts, &e);
  lathe_graph_free(g);
  if (!m && lt_cpu_is_missing(e.message)) return NAN;
  ck_assert_msg(m != NULL, "%s", e.message);
  lathe_instance *s = lathe_open(m, NULL, &e);
  ck_assert_msg(s != NULL, "%s", e.message);
  float *a = lathe_buffer(s, "a", &bytes), *b = lathe_buffer(s, "b", &bytes);
  fill(a, M * k, 1), fill(b, k * N, 2);
  ck_assert_int_eq(lathe_call(s, "run"), 0);
  double off = error(lathe_buffer(s, "y", &bytes), a, b, k);
  lathe_instance_free(s);
  lathe_model_free(m);
  return off;
}

static const struct { size_t k; double most; } lengths[] = {{1000, 5e-7}, {100000, 2e-6}, {1000000, 8e-6}};

enum { LENGTHS = sizeof lengths / sizeof *lengths };

START_TEST(keep_their_digits) {
  const char *cpu = lt_cpus[_i / LENGTHS];
  size_t k = lengths[_i % LENGTHS].k;
  double off = product(cpu, k);
  ck_assert_msg(!(off > lengths[_i % LENGTHS].most), "K = %zu on %s: off by %.2e of the largest", k, cpu, off);
}
END_TEST

static Suite *products_suite(void) {
  Suite *s = suite_create("products");
  TCase *t = tcase_create("products");
  tcase_set_timeout(t, 60);
  tcase_add_loop_test(t, cpu_runs_here, 0, CPUS);
  tcase_add_loop_test(t, keep_their_digits, 0, CPUS * LENGTHS);
  suite_add_tcase(s, t);
  return s;
}
LT_TEST_MAIN(products_suite)
