/* mem.c: the one place that asks the system for memory. Counts blocks, and fails the n-th allocation for tests. */
#include "base/base.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static _Atomic int64_t live;
static _Atomic uint64_t made, asked; /* blocks, bytes */
static _Atomic uint64_t fail_in;     /* 0: off; 1: the next allocation fails */
static _Atomic bool fail_forever;

void lt_mem_fail_at(uint64_t n, bool forever) {
  atomic_store(&fail_forever, forever);
  atomic_store(&fail_in, n);
}

int64_t lt_mem_live(void) { return atomic_load(&live); }
uint64_t lt_mem_count(void) { return atomic_load(&made); }
uint64_t lt_mem_bytes(void) { return atomic_load(&asked); }

/* Counts one allocation; true when a test wants it to fail. Exactly one of several threads meets the n-th. */
static bool must_fail(size_t bytes) {
  atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&asked, bytes, memory_order_relaxed);
  uint64_t n = atomic_load_explicit(&fail_in, memory_order_relaxed);
  while (n) {
    uint64_t next = n > 1 ? n - 1 : atomic_load(&fail_forever);
    if (atomic_compare_exchange_weak(&fail_in, &n, next)) return n == 1;
  }
  return false;
}

static void *counted(void *p) {
  if (p) atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
  return p;
}

void *lt_mem_alloc(size_t bytes) {
  if (must_fail(bytes)) return NULL;
  return counted(malloc(bytes ? bytes : 1));
}

void *lt_mem_resize(void *p, size_t bytes) {
  if (!p) return lt_mem_alloc(bytes);
  if (must_fail(bytes)) return NULL;
  return realloc(p, bytes ? bytes : 1);
}

void *lt_mem_aligned(size_t bytes) {
  if (must_fail(bytes)) return NULL;
  void *p = NULL;
  return posix_memalign(&p, 64, bytes ? bytes : 1) ? NULL : counted(p);
}

void lt_mem_free(void *p) {
  if (!p) return;
  atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
  free(p);
}

int64_t lt_mem_of_machine(void) {
  int64_t bytes, pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 && lt_mul_ok(&bytes, pages, size) ? bytes : INT64_MAX;
}
