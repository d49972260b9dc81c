/* plan_const.c: constants of a plan: references to data and where each stands in LT_REGION_CONST. Nobody copies their
 * elements until an object is finished. */
#include "plan/plan.h"

int64_t lt_plan_const(lt_plan *p, lt_arena *a, const lt_data *d) {
  lt_constant x = {lt_aligned(p->const_bytes), lt_data_keep(a, d)};
  lt_vec_push(a, &p->constant, x);
  p->const_bytes = x.offset + d->bytes;
  return x.offset;
}

const void *lt_plan_const_at(const lt_plan *p, int64_t offset) {
  for (uint32_t i = 0; i < p->constant.n; i++)
    if (p->constant.at[i].offset == offset) return p->constant.at[i].data->at;
  return NULL;
}

void lt_plan_consts_write(const lt_plan *p, void *to) {
  int64_t end = 0;
  for (uint32_t i = 0; i < p->constant.n; i++) {
    const lt_constant *x = &p->constant.at[i];
    memset((char *)to + end, 0, (size_t)(x->offset - end));
    lt_data_write(x->data, (char *)to + x->offset);
    end = x->offset + x->data->bytes;
  }
}

/* Small ones by their bytes, others by the hash of them. */
void lt_plan_consts_key(lt_str *out, const lt_plan *p) {
  enum { SMALL = 1 << 16 };
  if (p->const_bytes <= SMALL) {
    char *all = lt_arena_alloc(out->arena, (size_t)p->const_bytes);
    lt_plan_consts_write(p, all);
    lt_str_put(out, all, (size_t)p->const_bytes);
    return;
  }
  for (uint32_t i = 0; i < p->constant.n; i++) {
    const lt_constant *x = &p->constant.at[i];
    lt_str_printf(out, " %lld:%llx", (long long)x->offset, (unsigned long long)lt_data_hash(x->data));
  }
}
