/* threads.c: results do not depend on the number of threads, bit for bit, forward and after training steps, nor on how
 * many have made the code; one model may be run by many threads, each with an instance; graphs may be compiled side by
 * side. Runs under TSan too. */
#include "check_main.h"
#include "lathe/lathe.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static lathe_model *compiled(const char *file, const char *opts) {
  char path[512];
  lathe_error e = {0};
  snprintf(path, sizeof path, "%s/models/%s", getenv("LT_TESTS"), file);
  lathe_graph *g = lathe_load(path, "", &e);
  lathe_model *m = g ? lathe_compile(g, opts, &e) : NULL;
  if (!m) fprintf(stderr, "%s: %s\n", file, e.message);
  lathe_graph_free(g);
  return m;
}

/* FNV-1a over the bytes of all ports of a kind. */
static uint64_t hash_ports(lathe_instance *s, const lathe_model *m, const char *entry, const char *kind, uint64_t h) {
  lathe_port p;
  for (size_t i = 0; lathe_model_port(m, entry, i, &p); i++) {
    size_t bytes = 0;
    if (strcmp(p.kind, kind)) continue;
    const unsigned char *b = lathe_buffer(s, p.name, &bytes);
    for (size_t k = 0; b && k < bytes; k++) h = (h ^ b[k]) * UINT64_C(1099511628211);
  }
  return h;
}

/* The bits after `calls` calls with other inputs each; 0 where something failed. */
static uint64_t bits_after(lathe_model *m, const char *opts, const char *entry, int calls) {
  lathe_error e = {0};
  lathe_instance *s = lathe_open(m, opts, &e);
  uint64_t h = UINT64_C(14695981039346656037);
  lathe_port p;
  for (int c = 0; s && c < calls; c++) {
    for (size_t i = 0; lathe_model_port(m, entry, i, &p); i++)
      if (!strcmp(p.kind, "input") && lathe_fill(s, p.name, (uint64_t)c + 1, p.limit > 0 ? p.limit : 2)) h = 0;
    if (lathe_call(s, entry)) h = 0;
    h = h ? hash_ports(s, m, entry, "output", h) : 0;
  }
  if (s && h) h = hash_ports(s, m, entry, "param", h);
  lathe_instance_free(s);
  return s ? h : 0;
}

static void same_bits(const char *file, const char *opts, const char *entry, int calls) {
  lathe_model *m = compiled(file, opts);
  ck_assert_ptr_nonnull(m);
  uint64_t one = bits_after(m, "--seed 5 --threads 1", entry, calls);
  ck_assert_msg(one != 0, "%s: a call failed", file);
  ck_assert_msg(one == bits_after(m, "--seed 5 --threads 2", entry, calls), "%s %s: 2 threads", file, entry);
  ck_assert_msg(one == bits_after(m, "--seed 5 --threads 5", entry, calls), "%s %s: 5 threads", file, entry);
  ck_assert_msg(one != bits_after(m, "--seed 6 --threads 1", entry, calls), "%s: the seed does not matter", file);
  lathe_model_free(m);
}

START_TEST(forward) {
  static const char *const files[] = {"lenet5.lathe", "residual.lathe", "depthwise.lathe", "digits.lathe"};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) same_bits(files[i], "", "run", 3);
}
END_TEST

START_TEST(training) {
  same_bits("digits.lathe", "--entry train:loss --optimizer adam", "train", 20);
  same_bits("digits.lathe", "--entry train:loss --optimizer momentum", "train", 20);
  same_bits("digits.lathe", "--entry train:loss --optimizer adadelta --weight-decay 0.01 --clip-norm 0.5", "train", 20);
}
END_TEST

/* Code made by several threads: what runs is the same, and as many functions. */
static void same_code(const char *file, const char *opts, const char *entry) {
  uint64_t bits[3];
  lathe_stats stats[3];
  for (int i = 0; i < 3; i++) {
    char all[200];
    snprintf(all, sizeof all, "%s --threads %d", opts, 1 + 2 * i);
    lathe_model *m = compiled(file, all);
    ck_assert_ptr_nonnull(m);
    bits[i] = bits_after(m, "--seed 5", entry, 2);
    ck_assert_int_eq(lathe_model_stats(m, entry, &stats[i]), 1);
    lathe_model_free(m);
    ck_assert_msg(bits[i] && bits[i] == bits[0], "%s %s: code of %d threads", file, entry, 1 + 2 * i);
    ck_assert_int_eq(stats[i].functions, stats[0].functions);
  }
}

START_TEST(code_of_many_threads) {
  same_code("lenet5.lathe", "", "run");
  same_code("digits.lathe", "--entry train:loss --optimizer adam --halves --profile", "train");
  same_code("residual.lathe", "--entry run --entry train:loss --optimizer sgd", "train");
  same_code("ops.lathe", "--entry run", "run");
}
END_TEST

typedef struct caller { lathe_model *m; uint64_t bits; } caller;

static void *call_it(void *arg) {
  caller *c = arg;
  c->bits = bits_after(c->m, "--seed 5 --threads 2", "run", 5);
  return NULL;
}

START_TEST(one_model_many_callers) {
  enum { CALLERS = 4 };
  lathe_model *m = compiled("lenet5.lathe", "");
  ck_assert_ptr_nonnull(m);
  uint64_t alone = bits_after(m, "--seed 5 --threads 1", "run", 5);
  caller c[CALLERS];
  pthread_t t[CALLERS];
  for (int i = 0; i < CALLERS; i++) c[i] = (caller){m, 0}, pthread_create(&t[i], NULL, call_it, &c[i]);
  for (int i = 0; i < CALLERS; i++) {
    pthread_join(t[i], NULL);
    ck_assert_msg(c[i].bits == alone, "caller %d", i);
  }
  lathe_model_free(m);
}
END_TEST

static void *compile_it(void *arg) {
  caller *c = arg;
  c->m = compiled("lenet5.lathe", "--threads 2");
  return c->m ? call_it(arg) : NULL;
}

START_TEST(compiled_side_by_side) {
  caller c[3] = {{0}};
  pthread_t t[3];
  for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, compile_it, &c[i]);
  for (int i = 0; i < 3; i++) {
    pthread_join(t[i], NULL);
    ck_assert_msg(c[i].bits && c[i].bits == c[0].bits, "compilation %d", i);
  }
  for (int i = 0; i < 3; i++) lathe_model_free(c[i].m);
}
END_TEST

LT_SUITE(threads, forward, training, code_of_many_threads, one_model_many_callers, compiled_side_by_side)
LT_TEST_MAIN(threads)
