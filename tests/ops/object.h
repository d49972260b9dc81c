/* object.h: a network's entry `run` as an object: made, loaded into this process and called on the inputs that an
 * instance holds, it gives the bits of the JIT's call. */
#ifndef LT_TEST_OBJECT_H
#define LT_TEST_OBJECT_H
#include "check_main.h"
#include "lathe/lathe.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OBJECT_PORTS = 60 };

static inline void *object_block(int64_t bytes) {
  size_t n = ((size_t)bytes + 127) / 64 * 64;
  void *p = aligned_alloc(64, n);
  ck_assert_ptr_nonnull(p);
  return memset(p, 0xA5, n); /* nothing may count on zeros */
}

static inline bool object_output(const lathe_port *p) { return !strcmp(p->kind, "output"); }

/* Inputs of run: whole numbers below what they choose from. */
static inline void object_fill(const lathe_model *m, lathe_instance *s) {
  lathe_port p;
  for (size_t i = 0; lathe_model_port(m, "run", i, &p); i++)
    if (!strcmp(p.kind, "input")) ck_assert_int_eq(lathe_fill(s, p.name, 1, p.limit > 0 ? p.limit : 3), 0);
}

static inline lathe_object *object_of(const lathe_graph *g, const lathe_instance *s, const char *what) {
  char path[64], opts[128];
  lathe_error e;
  snprintf(path, sizeof path, "/tmp/lathe-object-%ld.o", (long)getpid());
  snprintf(opts, sizeof opts, "-o %s --prefix t", path);
  ck_assert_msg(lathe_emit(g, s, opts, &e) == 0, "%s: %s", what, e.message);
  lathe_object *o = lathe_object_load(path, &e);
  unlink(path);
  ck_assert_msg(o != NULL, "%s: %s", what, e.message);
  return o;
}

/* No states: an object's are with its caller. */
static inline void object_agrees(const lathe_graph *g, const lathe_model *m, lathe_instance *s, const char *what) {
  lathe_port p;
  lathe_stats stats;
  lathe_fn run;
  const void *io[OBJECT_PORTS] = {NULL};
  ck_assert(lathe_model_stats(m, "run", &stats));
  lathe_object *o = object_of(g, s, what);
  void *at = lathe_object_find(o, "t_run"), *scratch = object_block(stats.scratch_bytes);
  ck_assert_ptr_nonnull(at);
  memcpy(&run, &at, sizeof run); /* ISO C has no cast from data to code */
  size_t n = 0;
  for (size_t i = 0; lathe_model_port(m, "run", i, &p); i++) {
    ck_assert_uint_lt(n + 1, OBJECT_PORTS);
    if (object_output(&p)) io[n++] = object_block(p.bytes);
    else if (!strcmp(p.kind, "input")) io[n++] = lathe_buffer(s, p.name, NULL);
  }
  ck_assert_msg(run(io, NULL, scratch) == 0, "%s: the object's call fails", what);
  ck_assert_msg(lathe_call(s, "run") == 0, "%s: the call fails", what);
  n = 0;
  for (size_t i = 0; lathe_model_port(m, "run", i, &p); i++) {
    if (object_output(&p))
      ck_assert_msg(!memcmp(io[n], lathe_buffer(s, p.name, NULL), (size_t)p.bytes), "%s: `%s` of the object is another",
                    what, p.name);
    if (object_output(&p)) free((void *)(uintptr_t)io[n]);
    n += object_output(&p) || !strcmp(p.kind, "input");
  }
  free(scratch);
  lathe_object_free(o);
}

#endif
