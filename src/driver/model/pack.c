/* pack.c: plans of entries, and the packed image that all run entries read.
 *
 *   run    weights as kernels want them, in the packed image; `pack` makes it of the portable one
 *   grad, train    the portable image itself */
#include "driver/model/model.h"

uint32_t lt_model_pack_kinds(void) { return 1u << LT_IMAGE_PARAMS | 1u << LT_IMAGE_STATE; }

static void identify(const lathe_model *m, lt_plan *p, uint32_t kinds) {
  p->region_kinds = p->region_bytes ? kinds : 0;
  p->model = m->hash;
  p->state_model = m->state_hash;
}

/* by entry: what its packing computes, and where in the packed image */
struct lt_packing { lt_str *key; int64_t *at; };

lt_packing *lt_packing_begin(lathe_model *m) {
  lt_packing *all = LT_NEW(&m->arena, lt_packing);
  all->key = LT_NEW_ARRAY(&m->arena, lt_str, m->n_entry);
  all->at = LT_NEW_ARRAY(&m->arena, int64_t, m->n_entry);
  m->pack = (lt_plan){.name = "pack"};
  return all;
}

/* What a run entry reads stands in the packed image: where another entry packs the same, there, else behind the
 * rest. */
static void share_pack(lathe_model *m, lt_job *job, lt_model_entry *e, lt_plan *pack, lt_packing *all) {
  uint32_t i = (uint32_t)(e - m->entry);
  lt_str *keys = all->key;
  int64_t *at = all->at;
  lt_str_init(&keys[i], lt_arena_new(job));
  lt_plan_key(&keys[i], pack);
  at[i] = m->pack.out_bytes;
  for (uint32_t k = 0; k < i; k++)
    if (keys[k].n == keys[i].n && memcmp(keys[k].at, keys[i].at, keys[i].n) == 0) at[i] = at[k];
  if (at[i] == m->pack.out_bytes) lt_plan_join(&m->pack, pack, &m->arena, at[i]);
  for (uint32_t k = 0; k < e->plan.n_buffer; k++)
    if (e->plan.buffer[k].region == LT_REGION_STATE) e->plan.buffer[k].offset += at[i];
}

/* What stands behind the network's own weights is in no image of params: seed and step of dropout, moments. */
static bool reads_beyond(const lt_plan *p, int64_t own_bytes) {
  for (uint32_t i = 0; i < p->n_buffer; i++) {
    const lt_buffer *b = &p->buffer[i];
    if (b->region == LT_REGION_STATE && b->offset + b->bytes > own_bytes) return true;
  }
  return false;
}

void lt_model_plan_entry(lathe_model *m, lt_job *job, lt_model_entry *e, lt_packing *all) {
  e->split = e->spec.kind == LT_ENTRY_RUN;
  if (e->split) {
    lt_plan pack;
    lt_plan_split(&e->plan, &pack, &m->arena, e->graph, &m->image, e->spec.name);
    if (pack.out_bytes) share_pack(m, job, e, &pack, all);
    return;
  }
  lt_plan_single(&e->plan, &m->arena, e->graph, &m->image, e->spec.name);
  e->stateful = e->spec.kind == LT_ENTRY_TRAIN || reads_beyond(&e->plan, m->own_bytes);
  if (e->stateful) m->image_kind = LT_IMAGE_STATE;
  identify(m, &e->plan, e->stateful ? 1u << LT_IMAGE_STATE : lt_model_pack_kinds());
}

/* Once all entries are planned: scratch of packing inside the image, and who reads what. A packed image is known by the
 * weights and by all that is packed of them. */
void lt_packing_finish(lathe_model *m, lt_job *job) {
  lt_str key;
  if (!m->pack.out_bytes) return;
  lt_plan_memory_in_out(&m->pack, &m->arena);
  identify(m, &m->pack, lt_model_pack_kinds());
  m->pack.out_kind = LT_IMAGE_PACKED;
  lt_str_init(&key, lt_arena_new(job));
  lt_plan_key(&key, &m->pack);
  uint64_t packed = lt_hash(key.at, key.n, m->hash);
  for (uint32_t i = 0; i < m->n_entry; i++) {
    lt_plan *p = &m->entry[i].plan;
    if (!m->entry[i].split || !p->region_bytes) continue;
    p->region_bytes = m->pack.out_bytes;
    p->region_kinds = 1u << LT_IMAGE_PACKED;
    p->model = packed;
  }
  m->pack.packed_model = packed;
}
