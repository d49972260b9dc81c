/* operands.c: the walk over a kernel's operands, what is made of it, and the table of kinds. */
#include "plan/kinds.h"

struct lt_walk { lt_operand_fn visit; void *arg; uint32_t own; };

void lt_walk_accesses(lt_walk *w, const lt_kernel *k) {
  for (uint32_t i = 0; i < k->n_access; i++) {
    lt_access *a = &k->access[i];
    w->visit(w->arg, &(lt_operand){LT_OPERAND_ACCESS, i, &a->buffer, a});
  }
}

void lt_walk_stores(lt_walk *w, const lt_kernel *k) {
  for (uint32_t i = 0; i < k->n_store; i++) {
    lt_access *a = &k->store[i].to;
    w->visit(w->arg, &(lt_operand){LT_OPERAND_STORE, i, &a->buffer, a});
  }
}

void lt_walk_own(lt_walk *w, lt_access *a) { w->visit(w->arg, &(lt_operand){LT_OPERAND_OWN, w->own++, &a->buffer, a}); }

void lt_walk_buffer(lt_walk *w, uint32_t *buffer) {
  w->visit(w->arg, &(lt_operand){LT_OPERAND_OWN, w->own++, buffer, NULL});
}

static void accesses_and_stores(lt_walk *w, const lt_kernel *k) {
  lt_walk_accesses(w, k);
  lt_walk_stores(w, k);
}

/* ---- kinds ---- */

enum { MERGE = true, KEEP = false, IN_PLACE = true, APART = false };

const lt_kind lt_kinds[] = {
#define KIND_OWN(name) lt_operands_##name, lt_key_##name, lt_print_##name, lt_fault_##name
#define KIND_NONE(name) accesses_and_stores, NULL, NULL, NULL
#define LT_KERNEL(NAME, name, own, dims, place, tasks) [LT_K_##NAME] = {#name, KIND_##own(name), dims, place},
#include "plan/kernels.def"
#undef LT_KERNEL
#undef KIND_OWN
#undef KIND_NONE
};

/* ---- what the walk is for ---- */

void lt_operands(const lt_kernel *k, lt_operand_fn visit, void *arg) {
  lt_walk w = {visit, arg, 0};
  lt_kinds[k->kind].operands(&w, k);
}

typedef struct list { uint32_t *out, max, n; } list;

static void note_buffer(void *arg, const lt_operand *o) {
  list *l = arg;
  if (l->n < l->max) l->out[l->n] = *o->buffer;
  l->n++;
}

uint32_t lt_kernel_buffers(const lt_kernel *k, uint32_t *out, uint32_t max) {
  list l = {out, max, 0};
  lt_operands(k, note_buffer, &l);
  return l.n;
}

uint32_t *lt_kernel_buffers_all(lt_arena *a, const lt_kernel *k, uint32_t *n) {
  *n = lt_kernel_buffers(k, NULL, 0);
  uint32_t *out = LT_NEW_ARRAY(a, uint32_t, *n + 1u);
  lt_kernel_buffers(k, out, *n);
  return out;
}

uint32_t *lt_kernel_same_buffers(lt_arena *a, const lt_kernel *k, uint32_t *n) {
  uint32_t *id = lt_kernel_buffers_all(a, k, n), *first = LT_NEW_ARRAY(a, uint32_t, *n + 1u);
  for (uint32_t i = 0; i < *n; i++)
    while (id[first[i]] != id[i]) first[i]++;
  return first;
}

typedef struct bases { const uint32_t *same; int64_t *at; uint32_t n; } bases;

/* Where the first access to each buffer begins; 0 where it is touched as a whole, or before its beginning. */
static void find_base(void *arg, const lt_operand *o) {
  bases *b = arg;
  uint32_t i = b->n++, first = b->same[i];
  int64_t begins = o->access ? LT_MAX(o->access->offset, 0) : 0;
  b->at[first] = first == i ? begins : LT_MIN(b->at[first], begins);
}

static void move_base(void *arg, const lt_operand *o) {
  bases *b = arg;
  uint32_t i = b->n++;
  b->at[i] = b->at[b->same[i]];
  if (o->access) o->access->offset -= b->at[i];
}

static void *copy(lt_arena *a, const void *from, size_t n, size_t size) {
  void *to = lt_arena_array(a, n, size);
  if (n) memcpy(to, from, n * size);
  return to;
}

/* With operands of its own. */
static lt_kernel copy_kernel(lt_arena *a, const lt_kernel *k) {
  lt_kernel c = *k;
  c.access = copy(a, k->access, k->n_access, sizeof *k->access);
  c.store = copy(a, k->store, k->n_store, sizeof *k->store);
  if (k->kind == LT_K_CONTRACT) c.contract = copy(a, k->contract, 1, sizeof *k->contract);
  if (k->kind == LT_K_GATHER || k->kind == LT_K_SCATTER) c.gather = copy(a, k->gather, 1, sizeof *k->gather);
  return c;
}

lt_kernel lt_kernel_at_bases(lt_arena *a, const lt_kernel *k, int64_t **at) {
  lt_kernel c = copy_kernel(a, k);
  bases b = {0};
  b.same = lt_kernel_same_buffers(a, k, &b.n);
  *at = b.at = LT_NEW_ARRAY(a, int64_t, b.n + 1u);
  b.n = 0, lt_operands(k, find_base, &b);
  b.n = 0, lt_operands(&c, move_base, &b);
  return c;
}

static void move(void *arg, const lt_operand *o) { *o->buffer += *(const uint32_t *)arg; }

void lt_kernel_move(lt_kernel *k, uint32_t by) { lt_operands(k, move, &by); }
