/* map.c: open addressing with linear probing, at most 3/4 full; nothing is ever removed. */
#include "base/base.h"

#include <xxhash.h>

uint64_t lt_hash(const void *p, size_t n, uint64_t seed) { return XXH3_64bits_withSeed(p, n, seed); }

/* The slot of the key, or the free one where it belongs. A NULL key marks a free slot. */
static lt_map_slot *find(const lt_map *m, const char *key, size_t len, uint64_t hash) {
  uint32_t i = (uint32_t)hash & (m->cap - 1);
  for (;; i = (i + 1) & (m->cap - 1)) {
    lt_map_slot *s = &m->slots[i];
    if (!s->key || (s->hash == hash && s->len == len && memcmp(s->key, key, len) == 0)) return s;
  }
}

static void grow(lt_arena *a, lt_map *m) {
  if (m->cap > UINT32_MAX / 4) lt_fail_nomem(a->job);
  lt_map bigger = {.n = m->n, .cap = m->cap ? m->cap * 2 : 16};
  bigger.slots = LT_NEW_ARRAY(a, lt_map_slot, bigger.cap);
  for (uint32_t i = 0; i < m->cap; i++) {
    const lt_map_slot *s = &m->slots[i];
    if (s->key) *find(&bigger, s->key, s->len, s->hash) = *s;
  }
  *m = bigger;
}

void lt_map_put(lt_arena *a, lt_map *m, const char *key, size_t len, uintptr_t value) {
  if (m->n >= m->cap / 4 * 3) grow(a, m);
  uint64_t hash = lt_hash(key, len, 0);
  lt_map_slot *s = find(m, key, len, hash);
  if (!s->key) *s = (lt_map_slot){.key = key, .len = len, .hash = hash}, m->n++;
  s->value = value;
}

bool lt_map_get(const lt_map *m, const char *key, size_t len, uintptr_t *value) {
  if (!m->cap) return false;
  const lt_map_slot *s = find(m, key, len, lt_hash(key, len, 0));
  if (s->key && value) *value = s->value;
  return s->key != NULL;
}

void lt_map_puts(lt_arena *a, lt_map *m, const char *key, uintptr_t value) {
  lt_map_put(a, m, key, strlen(key), value);
}

bool lt_map_gets(const lt_map *m, const char *key, uintptr_t *value) { return lt_map_get(m, key, strlen(key), value); }
