/* cpus.h: the CPUs whose code tests compare. A machine runs some of them; programs that leave out the others have the
 * loop test cpu_runs_here, which reports each of those as skipped. */
#ifndef LT_CPUS_H
#define LT_CPUS_H
#include "check_main.h"
#include "lathe/lathe.h"

#include <stdio.h>
#include <string.h>

/* The host's own, then the levels of its architecture from wide to narrow. */
#if defined(__x86_64__)
static const char *const lt_cpus[] = {"native", "x86-64-v4", "x86-64-v3", "x86-64-v2", "x86-64"};
#elif defined(__aarch64__)
static const char *const lt_cpus[] = {"native", "armv8-a"};
#else
static const char *const lt_cpus[] = {"native"};
#endif
enum { CPUS = sizeof lt_cpus / sizeof lt_cpus[0] };

/* Is this the refusal of a CPU that has what the host has not? Nothing else may be taken for it. */
static inline int lt_cpu_is_missing(const char *message) {
  return strncmp(message, "--cpu ", 6) == 0 && strstr(message, ": this machine (") && strstr(message, ") has no ");
}

START_TEST(cpu_runs_here) {
  static const char text[] = "network n(x: f32[2]) -> y { y = relu(x) }";
  lathe_error e;
  char opts[64];
  snprintf(opts, sizeof opts, "--cpu %s", lt_cpus[_i]);
  lathe_graph *g = lathe_parse(text, strlen(text), "cpu", NULL, &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  lathe_model *m = lathe_compile(g, opts, &e);
  lathe_graph_free(g);
  if (!m && lt_cpu_is_missing(e.message)) LT_SKIP("%.*s", (int)strcspn(e.message, "\n"), e.message);
  ck_assert_msg(m != NULL, "%s", e.message);
  lathe_model_free(m);
}
END_TEST
#endif
