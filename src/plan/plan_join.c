/* plan_join.c: what one entry packs and what another one packs, as one plan; and when two plans do the same. */
#include "plan/plan.h"

static void move_kernel(lt_kernel *k, uint32_t by) {
  for (uint32_t i = 0; i < k->n_access; i++) k->access[i].buffer += by;
  for (uint32_t i = 0; i < k->n_store; i++) k->store[i].to.buffer += by;
  if (k->contract) k->contract->a.buffer += by, k->contract->b.buffer += by;
  if (k->gather) k->gather->data.buffer += by, k->gather->index.buffer += by, k->gather->other.buffer += by;
  if (k->border) k->border->buffer += by;
}

static void *joined(lt_arena *a, const void *x, size_t n, const void *y, size_t m) {
  unsigned char *all = lt_arena_zalloc(a, n + m + 1);
  if (n) memcpy(all, x, n);
  if (m) memcpy(all + n, y, m);
  return all;
}

/* Constants of `from` behind those of `to`; returns where. */
static int64_t join_consts(lt_plan *to, const lt_plan *from, lt_arena *a) {
  int64_t at = lt_aligned(to->const_bytes);
  if (!from->const_bytes) return at;
  unsigned char *all = lt_arena_zalloc(a, (size_t)(at + from->const_bytes));
  if (to->const_bytes) memcpy(all, to->consts, (size_t)to->const_bytes);
  memcpy(all + at, from->consts, (size_t)from->const_bytes);
  to->consts = all, to->const_bytes = at + from->const_bytes;
  return at;
}

void lt_plan_join(lt_plan *to, lt_plan *from, lt_arena *a, int64_t shift) {
  int64_t consts = join_consts(to, from, a);
  for (uint32_t i = 0; i < from->n_buffer; i++) {
    lt_buffer *x = &from->buffer[i];
    if (x->region == LT_REGION_OUT) x->offset += shift;
    if (x->region == LT_REGION_CONST) x->offset += consts;
    if (x->first >= 0) x->first += (int32_t)to->n_kernel, x->last += (int32_t)to->n_kernel;
  }
  for (uint32_t i = 0; i < from->n_kernel; i++) move_kernel(&from->kernel[i], to->n_buffer);
  to->buffer = joined(a, to->buffer, to->n_buffer * sizeof *to->buffer, from->buffer, from->n_buffer * sizeof *to->buffer);
  to->kernel = joined(a, to->kernel, to->n_kernel * sizeof *to->kernel, from->kernel, from->n_kernel * sizeof *to->kernel);
  to->n_buffer += from->n_buffer, to->n_kernel += from->n_kernel;
  to->region_bytes = LT_MAX(to->region_bytes, from->region_bytes);
  to->out_bytes = LT_MAX(to->out_bytes, from->out_bytes + shift);
}

void lt_plan_key(lt_str *out, const lt_plan *p) {
  lt_str_printf(out, "%lld\n", (long long)p->out_bytes); /* the region may go on behind what is read */
  for (uint32_t i = 0; i < p->n_buffer; i++) {
    const lt_buffer *x = &p->buffer[i];
    lt_str_printf(out, "%d %u %lld %lld %d\n", (int)x->region, x->slot, (long long)x->offset, (long long)x->bytes, (int)x->dtype);
  }
  for (uint32_t i = 0; i < p->n_kernel; i++) {
    uint32_t n = lt_kernel_buffers(&p->kernel[i], NULL, 0), *ids = LT_NEW_ARRAY(out->arena, uint32_t, n + 1u);
    lt_kernel_key(out, &p->kernel[i]);
    lt_kernel_buffers(&p->kernel[i], ids, n);
    for (uint32_t k = 0; k < n; k++) lt_str_printf(out, " %u", ids[k]);
  }
  lt_str_put(out, (const char *)p->consts, (size_t)p->const_bytes);
}
