/* plan_join.c: what one entry packs and what another one packs, as one plan. */
#include "plan/operands.h"

static void *joined(lt_arena *a, const void *x, size_t n, const void *y, size_t m) {
  unsigned char *all = lt_arena_zalloc(a, n + m + 1);
  if (n) memcpy(all, x, n);
  if (m) memcpy(all + n, y, m);
  return all;
}

/* Constants of `from` behind those of `to`; returns where. */
static int64_t join_consts(lt_plan *to, const lt_plan *from, lt_arena *a) {
  int64_t at = lt_aligned(to->const_bytes);
  for (uint32_t i = 0; i < from->constant.n; i++) lt_plan_const(to, a, from->constant.at[i].data);
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
  for (uint32_t i = 0; i < from->n_kernel; i++) lt_kernel_move(&from->kernel[i], to->n_buffer);
  to->buffer =
    joined(a, to->buffer, to->n_buffer * sizeof *to->buffer, from->buffer, from->n_buffer * sizeof *to->buffer);
  to->kernel =
    joined(a, to->kernel, to->n_kernel * sizeof *to->kernel, from->kernel, from->n_kernel * sizeof *to->kernel);
  to->n_buffer += from->n_buffer, to->n_kernel += from->n_kernel;
  to->region_bytes = LT_MAX(to->region_bytes, from->region_bytes);
  to->out_bytes = LT_MAX(to->out_bytes, from->out_bytes + shift);
}
