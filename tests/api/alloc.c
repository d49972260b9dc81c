/* alloc.c: a running model allocates nothing. The program's malloc family is ours and counts while a trap is set. Under
 * the sanitizers, which bring their own, only the library's allocator is counted. Threads are made by the first call
 * that uses them (runtime/pool.c), so with several threads the trap is set from the second call on. */
#include "base/base.h"
#include "check_main.h"
#include "lathe/lathe.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

static _Atomic bool trap_set;
static _Atomic int caught;

#if defined(__GLIBC__) && !LT_ADDRESS_SANITIZER && !LT_THREAD_SANITIZER
#define OWN_MALLOC 1
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static void note(void) {
  if (atomic_load_explicit(&trap_set, memory_order_relaxed)) atomic_fetch_add(&caught, 1);
}
void *malloc(size_t n) { return note(), __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return note(), __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return note(), __libc_realloc(p, n); }
void *aligned_alloc(size_t align, size_t n) { return note(), __libc_memalign(align, n); }
int posix_memalign(void **out, size_t align, size_t n) {
  note();
  *out = __libc_memalign(align, n);
  return *out ? 0 : ENOMEM;
}
void free(void *p) {
  if (p) note();
  __libc_free(p);
}
#endif

static void check_calls(const char *file, const char *compile, const char *open, const char *entry, int warm) {
  char path[512];
  lathe_error e = {0};
  snprintf(path, sizeof path, "%s/models/%s", getenv("LT_TESTS"), file);
  lathe_graph *g = lathe_load(path, "", &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  lathe_model *m = lathe_compile(g, compile, &e);
  ck_assert_msg(m != NULL, "%s", e.message);
  lathe_instance *s = lathe_open(m, open, &e);
  ck_assert_msg(s != NULL, "%s", e.message);
  lathe_port p;
  for (size_t i = 0; lathe_model_port(m, entry, i, &p); i++)
    if (!strcmp(p.kind, "input")) ck_assert_int_eq(lathe_fill(s, p.name, 3, p.limit > 0 ? p.limit : 2), 0);
  for (int i = 0; i < warm; i++) ck_assert_int_eq(lathe_call(s, entry), 0);
  uint64_t before = lt_mem_count();
  atomic_store(&caught, 0);
  atomic_store(&trap_set, true);
  int rc = 0;
  for (int i = 0; i < 3; i++) rc |= lathe_call(s, entry);
  atomic_store(&trap_set, false);
  ck_assert_int_eq(rc, 0);
  ck_assert_msg(!atomic_load(&caught), "%s, %s: %d calls of the allocator", file, entry, atomic_load(&caught));
  ck_assert_uint_eq(lt_mem_count(), before);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
}

START_TEST(the_trap_catches) {
#ifdef OWN_MALLOC
  atomic_store(&trap_set, true);
  free(lt_mem_alloc(8));
  atomic_store(&trap_set, false);
  ck_assert_int_ge(atomic_load(&caught), 1);
#else
  LT_SKIP("a sanitizer (or another C library) has its own malloc: only the library's allocator is counted");
#endif
}
END_TEST

START_TEST(the_library_counts) {
  uint64_t before = lt_mem_count();
  lt_mem_free(lt_mem_alloc(8));
  ck_assert_uint_eq(lt_mem_count(), before + 1);
}
END_TEST

START_TEST(running) {
  static const char *const files[] = {"lenet5.lathe", "residual.lathe", "depthwise.lathe", "fit.lathe", "digits.lathe"};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    check_calls(files[i], "", "--threads 1", "run", 0);
    check_calls(files[i], "", "--threads 3", "run", 1);
  }
}
END_TEST

START_TEST(training) {
  check_calls("digits.lathe", "--entry train:loss --optimizer adam", "--threads 1", "train", 0);
  check_calls("digits.lathe", "--entry train:loss --optimizer adam", "--threads 3", "train", 1);
  check_calls("digits.lathe", "--entry train:loss --halves", "--threads 1", "train_backward", 0);
  check_calls("lenet5.lathe", "--entry grad", "--threads 1", "grad", 0);
}
END_TEST

LT_SUITE(alloc, the_trap_catches, the_library_counts, running, training)
LT_TEST_MAIN(alloc)
