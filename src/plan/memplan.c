/* memplan.c: offsets of scratch buffers: the largest first, each as low as it fits beside those that live at the same
 * time (Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020: greedy by size). A kernel
 * that writes each element where the same iteration has read one may do so in place. */
#include "plan/kinds.h"

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

typedef struct placed { int64_t from, to; } placed;

/* The lowest place for `bytes` between the intervals. */
static int64_t lowest(placed *busy, uint32_t n, int64_t bytes) {
  for (uint32_t i = 1; i < n; i++)
    for (uint32_t k = i; k > 0 && busy[k].from < busy[k - 1].from; k--) {
      placed t = busy[k];
      busy[k] = busy[k - 1], busy[k - 1] = t;
    }
  int64_t at = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (busy[i].from - at >= bytes) return at;
    at = LT_MAX(at, busy[i].to);
  }
  return at;
}

static bool meet(const lt_buffer *a, const lt_buffer *b) { return a->last >= b->first && b->last >= a->first; }

/* Place buffer order[i] beside those before it. First as if it could lie anywhere over a buffer it may replace in
 * place; if it then overlaps such a one in part, apart from them all. */
static int64_t place(const lt_plan *p, const uint32_t *order, uint32_t i, placed *busy) {
  const lt_buffer *x = &p->buffer[order[i]];
  int64_t bytes = lt_aligned(x->bytes), at = 0;
  for (int apart = 0; apart < 2; apart++) {
    uint32_t used = 0;
    bool partly = false;
    for (uint32_t k = 0; k < i; k++) {
      const lt_buffer *y = &p->buffer[order[k]];
      if (apart ? meet(x, y) : at_once(p, order[i], order[k]))
        busy[used++] = (placed){y->offset, y->offset + lt_aligned(y->bytes)};
    }
    at = lowest(busy, used, bytes);
    for (uint32_t k = 0; k < i; k++) {
      const lt_buffer *y = &p->buffer[order[k]];
      bool over = at < y->offset + lt_aligned(y->bytes) && y->offset < at + bytes;
      partly |= over && meet(x, y) && y->offset != at;
    }
    if (!partly) break;
  }
  return at;
}

/* Behind order[0..fixed), which have their places: scratch buffers by size. Returns the end of what they take. */
static int64_t place_all(lt_plan *p, lt_arena *a, uint32_t *order, uint32_t fixed) {
  uint32_t n = fixed;
  for (uint32_t i = 0; i < p->n_buffer; i++) {
    if (p->buffer[i].region != LT_REGION_SCRATCH || p->buffer[i].first < 0) continue;
    uint32_t k = n++;
    for (; k > fixed && p->buffer[order[k - 1]].bytes < p->buffer[i].bytes; k--) order[k] = order[k - 1];
    order[k] = i;
  }
  placed *busy = LT_NEW_ARRAY(a, placed, n + 1u);
  int64_t end = 0;
  for (uint32_t i = fixed; i < n; i++) {
    lt_buffer *x = &p->buffer[order[i]];
    x->offset = place(p, order, i, busy);
    end = LT_MAX(end, x->offset + lt_aligned(x->bytes));
  }
  return end;
}

void lt_plan_memory(lt_plan *p, lt_arena *a) {
  p->scratch_bytes = place_all(p, a, LT_NEW_ARRAY(a, uint32_t, p->n_buffer + 1u), 0);
}

/* What stands in the image stays, from the kernel that writes it on. */
void lt_plan_memory_in_out(lt_plan *p, lt_arena *a) {
  uint32_t *order = LT_NEW_ARRAY(a, uint32_t, p->n_buffer + 1u), n = 0;
  for (uint32_t i = 0; i < p->n_buffer; i++) {
    if (p->buffer[i].region != LT_REGION_OUT || p->buffer[i].first < 0) continue;
    p->buffer[i].last = INT32_MAX;
    order[n++] = i;
  }
  int64_t end = place_all(p, a, order, n);
  for (uint32_t i = 0; i < p->n_buffer; i++)
    if (p->buffer[i].region == LT_REGION_SCRATCH) p->buffer[i].region = LT_REGION_OUT;
  p->scratch_bytes = 0;
  p->out_bytes = LT_MAX(p->out_bytes, end);
}
