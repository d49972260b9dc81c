/* guarded.h: memory that ends (or begins) at a page nobody may touch: a read or write past it stops the test. */
#ifndef LT_GUARDED_H
#define LT_GUARDED_H
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct guarded { unsigned char *map; size_t mapped; void *at; } guarded;

/* `bytes` bytes, their end at the forbidden page behind (at_end) or their start at the one before. */
static inline guarded guarded_new(size_t bytes, int at_end) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + page - 1) / page * page;
  guarded g = {.mapped = room + 2 * page};
  g.map = mmap(NULL, g.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(g.map, page, PROT_NONE);
  mprotect(g.map + page + room, page, PROT_NONE);
  g.at = g.map + page + (at_end ? room - bytes : 0);
  return g;
}

static inline void guarded_free(guarded *g) { munmap(g->map, g->mapped); }
#endif
