/* data.c: constant data: a block that holds the elements, or says where a file is mapped, and counts who refers to it.
 * What is found out about the elements (hash, splat) is kept beside them; two threads that find it out at once write
 * the same. */
#include "ir/ir.h"

#include <assert.h>
#include <stdatomic.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files, images and constant data are little endian: on this machine lt_data would have to swap bytes"
#endif

typedef enum splat { SPLAT_UNKNOWN, SPLAT_NO, SPLAT_YES } splat;

struct lt_data_shared {
  _Atomic uint32_t references;
  _Atomic uint64_t hash; /* 0: not computed yet */
  _Atomic int splat;
  lt_mapped mapped;   /* of a part: the pages it lies in */
  lt_mapping *within; /* NULL: mapped is its own */
};

typedef struct block { lt_data d; struct lt_data_shared s; } block;
enum { HEADER = (sizeof(block) + 15) / 16 * 16 };

/* ---- references -------------------------------------------------------------------------------------------------- */

static void release(void *p) {
  block *x = p;
  if (atomic_fetch_sub_explicit(&x->s.references, 1, memory_order_acq_rel) > 1) return;
  if (x->s.within) lt_mapping_drop(x->s.within);
  else lt_file_unmap(&x->s.mapped);
  lt_mem_free(x);
}

/* `a` has the first reference. `more` bytes follow the header. */
static block *new_block(lt_arena *a, const lt_type *t, size_t more) {
  block *x = lt_mem_alloc(HEADER + more);
  if (!x) lt_fail_nomem(a->job);
  memset(x, 0, HEADER);
  x->d = (lt_data){.type = *t, .at = (unsigned char *)x + HEADER, .bytes = lt_type_bytes(t), .shared = &x->s};
  atomic_init(&x->s.references, 1);
  lt_arena_defer(a, release, x);
  return x;
}

/* The block begins with its data, and is ours to change: only what it holds is constant. */
static void *block_of(const lt_data *d) { return (char *)d->shared - offsetof(block, s); }

const lt_data *lt_data_keep(lt_arena *a, const lt_data *d) {
  if (!d) return NULL;
  atomic_fetch_add_explicit(&d->shared->references, 1, memory_order_relaxed);
  lt_arena_defer(a, release, block_of(d));
  return d;
}

const lt_data *lt_data_in(const lt_node *n) {
  if (n->op == LT_OP_const) return ((const lt_const_attrs *)n->attrs)->value;
  const lt_init *init = n->op == LT_OP_param   ? &((const lt_param_attrs *)n->attrs)->init
                        : n->op == LT_OP_state ? &((const lt_state_attrs *)n->attrs)->init
                                               : NULL;
  return init && init->kind == LT_INIT_LITERAL ? init->literal : NULL;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static void copy(const lt_type *t, unsigned char *to, const unsigned char *from, size_t n) {
  memcpy(to, from, n);
  for (size_t i = 0; t->dtype == LT_BOOL && i < n; i++) to[i] = to[i] != 0;
}

const lt_data *lt_data_new(lt_arena *a, const lt_type *t, const void *elements) {
  block *x = new_block(a, t, (size_t)lt_type_bytes(t));
  copy(t, (unsigned char *)x + HEADER, elements, (size_t)x->d.bytes);
  return &x->d;
}

const lt_data *lt_data_of(lt_arena *a, const lt_tensor *t) {
  block *x = new_block(a, &t->type, (size_t)lt_type_bytes(&t->type));
  lt_tensor_export(t, (unsigned char *)x + HEADER);
  return &x->d;
}

const lt_data *lt_data_map(lt_arena *a, const lt_type *t, const char *folder, const char *file, int64_t offset,
                           const char **why) {
  const char *path = lt_path_join(a, folder, file);
  size_t n = strlen(file) + 1, m = strlen(path) + 1;
  block *x = new_block(a, t, n + m);
  char *names = (char *)x + HEADER;
  memcpy(names, file, n), memcpy(names + n, path, m);
  *why = lt_file_map(a, &x->s.mapped, folder, file, offset, x->d.bytes);
  if (*why) return NULL;
  x->d.at = x->s.mapped.at, x->d.file = names, x->d.path = names + n, x->d.offset = offset;
  return &x->d;
}

const lt_data *lt_data_part(lt_arena *a, const lt_type *t, lt_mapping *m, const char *file, const char *path,
                            int64_t offset) {
  /* where pages are larger than this, giving them back is declined, no more */
  size_t n = strlen(file) + 1, length = strlen(path) + 1, page = 4096;
  block *x = new_block(a, t, n + length);
  char *names = (char *)x + HEADER;
  memcpy(names, file, n), memcpy(names + n, path, length);
  assert(offset >= 0 && (size_t)offset <= m->bytes.n && (size_t)x->d.bytes <= m->bytes.n - (size_t)offset);
  lt_mapping_keep(m);
  x->s.within = m;
  x->d.at = m->bytes.at + offset;
  x->d.file = names, x->d.path = names + n, x->d.offset = offset;
  page = (size_t)offset % page;
  x->s.mapped = (lt_mapped){x->d.at, (void *)(uintptr_t)(x->d.at - page), (size_t)x->d.bytes + page};
  return &x->d;
}

lt_mapped lt_data_mapped(const lt_data *d) {
  const lt_mapping *all = d->shared->within;
  if (all) return (lt_mapped){all->bytes.at, (void *)(uintptr_t)all->bytes.at, all->bytes.n};
  return d->shared->mapped;
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

/* All of a file's range has been read: its pages need not stay in memory for that. */
static void rest(const lt_data *d) {
  if (d->file) lt_mapped_rest(&d->shared->mapped);
}

uint64_t lt_data_hash(const lt_data *d) {
  uint64_t h = atomic_load_explicit(&d->shared->hash, memory_order_relaxed);
  if (h) return h;
  h = lt_hash(&d->type, sizeof d->type, 0);
  h = lt_hash(d->at, (size_t)d->bytes, h) | 1;
  rest(d);
  atomic_store_explicit(&d->shared->hash, h, memory_order_relaxed);
  return h;
}

bool lt_data_eq(const lt_data *a, const lt_data *b) {
  if (!a || !b || a == b) return a == b;
  if (!lt_type_eq(&a->type, &b->type) || lt_data_hash(a) != lt_data_hash(b)) return false;
  bool same = memcmp(a->at, b->at, (size_t)a->bytes) == 0;
  rest(a), rest(b);
  return same;
}

/* All elements are the same when each is the one before it. */
bool lt_data_splat(const lt_data *d) {
  splat known = (splat)atomic_load_explicit(&d->shared->splat, memory_order_relaxed);
  size_t size = lt_dtype_size(d->type.dtype);
  if (known == SPLAT_UNKNOWN) {
    known = memcmp(d->at, d->at + size, (size_t)d->bytes - size) ? SPLAT_NO : SPLAT_YES;
    rest(d);
    atomic_store_explicit(&d->shared->splat, (int)known, memory_order_relaxed);
  }
  return known == SPLAT_YES;
}

#define READ(type) (memcpy(&v.type, d->at + (size_t)i * sizeof v.type, sizeof v.type), (double)v.type)

double lt_data_at(const lt_data *d, int64_t i) {
  union { float f32; double f64; int32_t i32; int64_t i64; } v;
  switch (d->type.dtype) {
  case LT_F32: return READ(f32);
  case LT_F64: return READ(f64);
  case LT_I32: return READ(i32);
  case LT_I64: return READ(i64);
  case LT_BOOL: return d->at[i] != 0;
  case LT_DTYPES: break;
  }
  return 0;
}

void lt_data_write(const lt_data *d, void *to) {
  copy(&d->type, to, d->at, (size_t)d->bytes);
  rest(d);
}
