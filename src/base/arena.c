/* arena.c: regions freed at once, and the growth of vectors in them. Chunks double from 4 KiB to 1 MiB; a request that
 * does not fit gets a chunk of its own. */
#include "base/base.h"

#include <stdio.h>

struct lt_arena_held {
  lt_arena_held *next;
  void (*fn)(void *);
  void *p;
};

struct lt_arena_chunk {
  lt_arena_chunk *next;
  size_t size; /* of the payload, which starts at HEADER */
};

enum { ALIGN = 16, HEADER = 16, FIRST = 4096 - HEADER, LARGEST = 1 << 20 };
_Static_assert(sizeof(lt_arena_chunk) <= HEADER, "the payload must not overlap the header");

void lt_arena_init(lt_arena *a, lt_job *job) { *a = (lt_arena){.job = job}; }

/* The arena itself may live in one of its chunks, and so does the list of what it holds. */
void lt_arena_free(lt_arena *a) {
  lt_arena_chunk *c = a->chunks;
  for (lt_arena_held *h = a->held; h; h = h->next) h->fn(h->p);
  *a = (lt_arena){.job = a->job};
  while (c) {
    lt_arena_chunk *next = c->next;
    lt_mem_free(c);
    c = next;
  }
}

void lt_arena_free_fn(void *arena) { lt_arena_free(arena); }

static void arena_delete(void *arena) {
  lt_arena_free(arena);
  lt_mem_free(arena);
}

lt_arena *lt_arena_new(lt_job *job) {
  lt_arena *a = lt_mem_alloc(sizeof *a);
  if (!a) lt_fail_nomem(job);
  lt_arena_init(a, job);
  lt_defer(job, arena_delete, a);
  return a;
}

static unsigned char *add_chunk(lt_arena *a, size_t size) {
  lt_arena_chunk *c = lt_mem_alloc(HEADER + size);
  if (!c) return NULL;
  *c = (lt_arena_chunk){.next = a->chunks, .size = size};
  a->chunks = c;
  return (unsigned char *)c + HEADER;
}

static void *take(lt_arena *a, size_t bytes) {
  if (bytes > SIZE_MAX / 2) return NULL;
  size_t need = (LT_MAX(bytes, 1) + ALIGN - 1) / ALIGN * ALIGN;
  if (need <= (size_t)(a->end - a->next)) {
    a->next += need;
    return a->next - need;
  }
  size_t last = a->chunks ? LT_MIN(a->chunks->size, (size_t)LARGEST) : 0;
  size_t size = LT_MAX((size_t)FIRST, LT_MIN(last * 2, (size_t)LARGEST));
  if (need > size / 4) return add_chunk(a, need); /* the current chunk stays in use */
  unsigned char *p = add_chunk(a, size);
  if (p) a->next = p + need, a->end = p + size;
  return p;
}

void *lt_arena_alloc(lt_arena *a, size_t bytes) {
  void *p = take(a, bytes);
  if (!p) lt_fail_nomem(a->job);
  return p;
}

void lt_arena_defer(lt_arena *a, void (*fn)(void *), void *p) {
  lt_arena_held *h = take(a, sizeof *h);
  if (!h) {
    fn(p);
    lt_fail_nomem(a->job);
  }
  *h = (lt_arena_held){a->held, fn, p};
  a->held = h;
}

void *lt_arena_zalloc(lt_arena *a, size_t bytes) { return memset(lt_arena_alloc(a, bytes), 0, bytes); }

void *lt_arena_array(lt_arena *a, size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) lt_fail_nomem(a->job);
  return lt_arena_zalloc(a, bytes);
}

char *lt_arena_strndup(lt_arena *a, const char *s, size_t n) {
  char *p = lt_arena_alloc(a, n + 1);
  memcpy(p, s, n);
  p[n] = 0;
  return p;
}

char *lt_arena_strdup(lt_arena *a, const char *s) { return lt_arena_strndup(a, s, strlen(s)); }

char *lt_arena_printf(lt_arena *a, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n < 0) lt_fail_nomem(a->job);
  char *p = lt_arena_alloc(a, (size_t)n + 1);
  va_start(ap, fmt);
  vsnprintf(p, (size_t)n + 1, fmt, ap);
  va_end(ap);
  return p;
}

void *lt_vec_grow(lt_arena *a, void *at, uint32_t n, uint32_t *cap, size_t size) {
  if (*cap > UINT32_MAX / 2) lt_fail_nomem(a->job);
  uint32_t more = *cap ? *cap * 2 : 8;
  size_t bytes;
  if (__builtin_mul_overflow((size_t)more, size, &bytes)) lt_fail_nomem(a->job);
  void *p = lt_arena_alloc(a, bytes);
  if (n) memcpy(p, at, n * size);
  *cap = more;
  return p;
}
