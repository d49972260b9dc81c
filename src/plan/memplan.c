/* memplan.c: offsets of scratch buffers: the largest first, each as low as it fits beside those that live at the same
 * time (Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020: greedy by size). A kernel
 * that writes each element where the same iteration has read one may do so in place. */
#include "plan/kinds.h"

#include <stdlib.h>

static bool same_walk(const lt_access *a, const lt_access *b) {
  return !a->n_index && !b->n_index && a->offset == b->offset && memcmp(a->stride, b->stride, sizeof a->stride) == 0;
}

/* Does kernel k touch buffer x only as it stores to y: the same element in the same iteration? */
static bool in_place(const lt_plan *p, const lt_kernel *k, uint32_t x, uint32_t y) {
  const lt_store *to = NULL;
  if (!lt_kinds[k->kind].in_place || p->buffer[x].bytes != p->buffer[y].bytes ||
      p->buffer[x].dtype != p->buffer[y].dtype)
    return false;
  for (uint32_t i = 0; i < k->n_store; i++) {
    if (k->store[i].to.buffer == x) return false;
    if (k->store[i].to.buffer == y) to = &k->store[i];
  }
  for (uint32_t i = 0; to && i < k->n_access; i++)
    if (k->access[i].buffer == x && !same_walk(&k->access[i], &to->to)) return false;
  return to != NULL;
}

static bool at_once(const lt_plan *p, uint32_t x, uint32_t y) {
  const lt_buffer *a = &p->buffer[x], *b = &p->buffer[y];
  if (a->last < b->first || b->last < a->first) return false;
  if (a->last == b->first && a->first < b->first) return !in_place(p, &p->kernel[a->last], x, y);
  if (b->last == a->first && b->first < a->first) return !in_place(p, &p->kernel[b->last], y, x);
  return true;
}

static bool meet(const lt_buffer *a, const lt_buffer *b) { return a->last >= b->first && b->last >= a->first; }

/* Buffers that have their places, by offset. A buffer's lifetime stands beside its place: most are only passed over. */
typedef struct placed { int64_t from, to; int32_t first, last; uint32_t id; } placed;
typedef struct arena { lt_plan *p; placed *at; uint32_t n; int64_t end; } arena;

/* The lowest place for buffer x beside those that live with it: all, or only those that it may not replace in place. */
static int64_t lowest(const arena *m, uint32_t x, int64_t bytes, bool apart) {
  const lt_buffer *b = &m->p->buffer[x];
  int64_t at = 0;
  for (uint32_t i = 0; i < m->n; i++) {
    const placed *y = &m->at[i];
    if (y->to <= at || y->last < b->first || b->last < y->first) continue;
    if (!apart && !at_once(m->p, x, y->id)) continue;
    if (y->from - at >= bytes) break;
    at = y->to;
  }
  return at;
}

/* Would x lie over a part of what lives with it? */
static bool over_a_part(const arena *m, uint32_t x, int64_t at, int64_t bytes) {
  const lt_buffer *b = &m->p->buffer[x];
  for (uint32_t i = 0; i < m->n && m->at[i].from < at + bytes; i++)
    if (m->at[i].to > at && m->at[i].from != at && meet(b, &m->p->buffer[m->at[i].id])) return true;
  return false;
}

static void put(arena *m, uint32_t x) {
  const lt_buffer *b = &m->p->buffer[x];
  placed y = {b->offset, b->offset + lt_aligned(b->bytes), b->first, b->last, x};
  uint32_t i = m->n++;
  while (i > 0 && m->at[i - 1].from > y.from) i--;
  memmove(&m->at[i + 1], &m->at[i], (m->n - 1 - i) * sizeof y);
  m->at[i] = y;
  m->end = LT_MAX(m->end, y.to);
}

/* First as if it could lie anywhere over a buffer it may replace in place; if it then overlaps such a one in part,
 * apart from them all. */
static void place(arena *m, uint32_t x) {
  int64_t bytes = lt_aligned(m->p->buffer[x].bytes), at = lowest(m, x, bytes, false);
  if (over_a_part(m, x, at, bytes)) at = lowest(m, x, bytes, true);
  m->p->buffer[x].offset = at;
  put(m, x);
}

typedef struct sized { int64_t bytes; uint32_t id; } sized;

static int by_size(const void *a, const void *b) {
  const sized *x = a, *y = b;
  if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
  return x->id < y->id ? -1 : 1;
}

/* Scratch buffers, the largest first, beside those that have their places. */
static void place_all(arena *m, lt_arena *a) {
  sized *order = LT_NEW_ARRAY(a, sized, m->p->n_buffer + 1u);
  uint32_t n = 0;
  for (uint32_t i = 0; i < m->p->n_buffer; i++)
    if (m->p->buffer[i].region == LT_REGION_SCRATCH && m->p->buffer[i].first >= 0)
      order[n++] = (sized){m->p->buffer[i].bytes, i};
  qsort(order, n, sizeof *order, by_size);
  for (uint32_t i = 0; i < n; i++) place(m, order[i].id);
}

static arena arena_of(lt_plan *p, lt_arena *a) {
  return (arena){.p = p, .at = LT_NEW_ARRAY(a, placed, p->n_buffer + 1u)};
}

void lt_plan_memory(lt_plan *p, lt_arena *a) {
  arena m = arena_of(p, a);
  place_all(&m, a);
  p->scratch_bytes = m.end;
}

/* What stands in the image stays, from the kernel that writes it on. */
void lt_plan_memory_in_out(lt_plan *p, lt_arena *a) {
  arena m = arena_of(p, a);
  for (uint32_t i = 0; i < p->n_buffer; i++) {
    if (p->buffer[i].region != LT_REGION_OUT || p->buffer[i].first < 0) continue;
    p->buffer[i].last = INT32_MAX;
    put(&m, i);
  }
  m.end = 0;
  place_all(&m, a);
  for (uint32_t i = 0; i < p->n_buffer; i++)
    if (p->buffer[i].region == LT_REGION_SCRATCH) p->buffer[i].region = LT_REGION_OUT;
  p->scratch_bytes = 0;
  p->out_bytes = LT_MAX(p->out_bytes, m.end);
}
