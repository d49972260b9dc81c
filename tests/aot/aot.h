/* aot.h: objects under test: made by lathe_emit in a folder of their own, linked by the system's compiler, loaded. */
#ifndef LT_TEST_AOT_H
#define LT_TEST_AOT_H
#include "check_main.h"
#include "lathe/lathe.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
static char folder[64]; /* of this test; forks have their own */

UNUSED static void make_folder(void) {
  snprintf(folder, sizeof folder, "/tmp/lathe-aot-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
}

UNUSED static void remove_folder(void) {
  char line[128];
  snprintf(line, sizeof line, "rm -rf '%s'", folder);
  ck_assert_int_eq(system(line), 0);
}

/* A shell line run in the folder; its output is kept in `said`. Returns the exit status. */
static char said[1 << 16];
static int shell(const char *fmt, ...) {
  char line[8192];
  int n = snprintf(line, sizeof line, "cd '%s' && { ", folder);
  va_list ap;
  va_start(ap, fmt);
  n += vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
  va_end(ap);
  ck_assert_int_lt(n, (int)sizeof line - 16);
  strcat(line, "; } 2>&1");
  FILE *f = popen(line, "r");
  ck_assert_ptr_nonnull(f);
  size_t got = fread(said, 1, sizeof said - 1, f);
  said[got] = '\0';
  return pclose(f);
}

#define MUST(...) ck_assert_msg(shell(__VA_ARGS__) == 0, "%s", said)

UNUSED static const char *compiler(void) { return getenv("LT_CC") ? getenv("LT_CC") : "cc"; }

UNUSED static lathe_graph *load_model(const char *name, const char *opts) {
  char path[512];
  lathe_error e;
  snprintf(path, sizeof path, "%s/models/%s.lathe", getenv("LT_TESTS"), name);
  lathe_graph *g = lathe_load(path, opts, &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  return g;
}

/* lathe_emit with %s for the folder's files. */
UNUSED static void emit(const lathe_graph *g, const lathe_instance *w, const char *file, const char *opts) {
  char all[2048];
  lathe_error e;
  snprintf(all, sizeof all, "-o %s/%s.o --header %s/%s.h %s", folder, file, folder, file, opts);
  ck_assert_msg(lathe_emit(g, w, all, &e) == 0, "%s: %s", opts, e.message);
}

UNUSED static void *link_and_load(const char *files) {
  char path[128];
  static int count;
  int n = count++;
  MUST("%s -shared -nostdlib -Wl,-z,defs -Wl,--fatal-warnings -o all%d.so %s", compiler(), n, files);
  snprintf(path, sizeof path, "%s/all%d.so", folder, n);
  void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  ck_assert_msg(so != NULL, "%s", dlerror());
  return so;
}

/* ISO C has no cast from data to code. */
UNUSED static void find_into(void *so, const char *name, void *function) {
  void *at = dlsym(so, name);
  ck_assert_msg(at != NULL, "no symbol %s", name);
  memcpy(function, &at, sizeof at);
}

UNUSED static void *aligned_block(size_t bytes) {
  void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
  ck_assert_ptr_nonnull(p);
  memset(p, 0xA5, (bytes + 127) / 64 * 64); /* nothing may count on zeros */
  return p;
}

typedef int (*run_fn)(const void *io, const void *region, void *scratch);
typedef int (*train_fn)(const void *io, void *state, void *scratch);
typedef int (*backward_fn)(const void *io, const void *state, void *grads, void *scratch);
typedef int (*apply_fn)(const void *io, void *state, const void *grads, void *scratch);
typedef int (*pack_fn)(void *weights, const void *params);
typedef int (*init_fn)(void *state, uint64_t seed);
#endif
