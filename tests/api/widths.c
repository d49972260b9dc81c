/* widths.c: the same network on machines of different vector widths gives the same bits. What differs is fused
 * multiply-add: targets that have it agree with each other, and so do those that have not. */
#include "cpus.h"

#include <math.h>
#include <stdio.h>

#if defined(__x86_64__)
static const char *const with_fma[] = {"native", "x86-64-v4", "x86-64-v3", NULL}, *const without[] = {"x86-64-v2",
                                                                                                      "x86-64", NULL};
#else /* one width; its level is compiled without the host's own features and tuning */
static const char *const with_fma[] = {"native", "armv8-a", NULL}, *const without[] = {NULL};
#endif
typedef struct model { const char *file, *entry_opts, *entry; int calls; } model;
static const model models[] = {
  {"digits", "--entry run:logits", "run", 1},
  {"digits", "--entry train:loss --optimizer adam", "train", 3},
  {"residual", "--entry run", "run", 1},
  {"residual", "--entry train:loss --optimizer momentum", "train", 2},
  {"digits", "--entry train:loss --optimizer adadelta --weight-decay 0.01 --clip-norm 0.5", "train", 3},
  {"residual", "--entry train:loss --optimizer adagrad --clip-norm 0.1", "train", 2},
  {"depthwise", "--entry run", "run", 1},
  {"lenet5", "--entry run", "run", 1},
  {"ops", "--entry run", "run", 1},
  {"chapter", "--entry run", "run", 1},
  {"potential", "--entry run", "run", 1},
};

static void *take(void *p, const char *what, const lathe_error *e) {
  ck_assert_msg(p != NULL, "%s: %s", what, e->message);
  return p;
}

/* All outputs, and for training all params and states, one after the other. */
static unsigned char *results(const model *m, const char *cpu, size_t *n) {
  char path[512], opts[256];
  lathe_error e;
  lathe_port port;
  snprintf(path, sizeof path, "%s/models/%s.lathe", getenv("LT_TESTS"), m->file);
  snprintf(opts, sizeof opts, "%s --cpu %s", m->entry_opts, cpu);
  lathe_graph *g = take(lathe_load(path, NULL, &e), path, &e);
  lathe_model *code = lathe_compile(g, opts, &e);
  lathe_graph_free(g);
  if (!code && lt_cpu_is_missing(e.message)) return NULL;
  lathe_instance *s = take(lathe_open(take(code, opts, &e), "--seed 3", &e), opts, &e);
  for (size_t i = 0; lathe_model_port(code, m->entry, i, &port); i++)
    if (!strcmp(port.kind, "input")) ck_assert_int_eq(lathe_fill(s, port.name, 5, 4), 0);
  for (int i = 0; i < m->calls; i++) ck_assert_int_eq(lathe_call(s, m->entry), 0);
  unsigned char *all = NULL;
  *n = 0;
  for (size_t i = 0; lathe_model_port(code, m->entry, i, &port); i++) {
    if (strcmp(port.kind, "output") && strcmp(port.kind, "param") && strcmp(port.kind, "state")) continue;
    size_t bytes;
    void *at = lathe_buffer(s, port.name, &bytes);
    ck_assert_ptr_nonnull(at);
    all = realloc(all, *n + bytes);
    memcpy(all + *n, at, bytes);
    *n += bytes;
  }
  lathe_instance_free(s);
  lathe_model_free(code);
  ck_assert_uint_gt(*n, 0);
  return all;
}

/* How many CPUs were compared with the first that runs here. */
static int check_group(const model *m, const char *const *cpus) {
  unsigned char *first = NULL;
  size_t n = 0, k;
  int compared = 0;
  for (int i = 0; cpus[i]; i++) {
    unsigned char *here = results(m, cpus[i], &k);
    if (!here) continue;
    if (first) {
      ck_assert_uint_eq(k, n);
      for (size_t b = 0; b < n; b++)
        ck_assert_msg(first[b] == here[b], "%s (%s): byte %zu of the results differs between %s and %s", m->file,
                      m->entry, b, cpus[0], cpus[i]);
      free(here);
      compared++;
    } else first = here, n = k;
  }
  free(first);
  return compared;
}

START_TEST(same_bits) {
  int compared = check_group(&models[_i], with_fma) + check_group(&models[_i], without);
  if (!compared) LT_SKIP("no two CPUs whose code this machine runs have the same bits");
}
END_TEST

static Suite *widths_suite(void) {
  Suite *s = suite_create("widths");
  TCase *c = tcase_create("widths");
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, cpu_runs_here, 0, CPUS);
  tcase_add_loop_test(c, same_bits, 0, sizeof models / sizeof models[0]);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(widths_suite)
