/* mem.c: the one place that asks the system for memory. Counts blocks, and fails the n-th allocation for tests. */
#include "base/base.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
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

/* ---- zeros ------------------------------------------------------------------------------------------------------- */

/* In front of the block: how many bytes of pages it is the begin of; 0: it is from malloc. */
typedef struct head { _Alignas(64) size_t pages; } head;

#if defined(__SANITIZE_ADDRESS__) /* which sees what malloc gives */
static bool is_large(size_t bytes) { return false; }
#else
static bool is_large(size_t bytes) { return bytes >= (size_t)4 << 20; }
#endif
static const size_t PAGE = (size_t)2 << 20;

/* Fresh pages, in which the system has put zeros already, from a multiple of PAGE on. */
static void *map_pages(size_t bytes) {
  size_t n = (bytes + PAGE - 1) / PAGE * PAGE;
  char *all = mmap(NULL, n + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) return NULL;
  size_t before = (PAGE - (uintptr_t)all % PAGE) % PAGE;
  if (before) munmap(all, before);
  munmap(all + before + n, PAGE - before);
#ifdef MADV_HUGEPAGE
  madvise(all + before, n, MADV_HUGEPAGE);
#endif
  ((head *)(void *)(all + before))->pages = n;
  return all + before;
}

static void *zeros_of_malloc(size_t bytes) {
  void *p = NULL;
  if (posix_memalign(&p, 64, bytes)) return NULL;
  return memset(p, 0, bytes);
}

void *lt_mem_zeroed(size_t bytes) {
  size_t all = bytes + sizeof(head);
  if (must_fail(bytes) || all < bytes || all > PTRDIFF_MAX) return NULL;
  head *h = counted(is_large(bytes) ? map_pages(all) : zeros_of_malloc(all));
  return h ? h + 1 : NULL;
}

void lt_mem_zeroed_free(void *p) {
  if (!p) return;
  head *h = (head *)p - 1;
  atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
  if (h->pages) munmap(h, h->pages);
  else free(h);
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
