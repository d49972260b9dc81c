/* repack.c: the packed image, made of weights that stand in the portable one or still in their files. Of files the
 * pages that have been read are given back on the way, so that a file and what was packed of it are not in memory
 * together. */
#include "driver/model/instance.h"

enum {
  PART = 32 << 20, /* bytes of files that are in memory at a time, more or less */
  MOST_FILES = 64  /* giving back takes time for each; a network has one, or one for each of few weights */
};

/* How packing runs the tasks of its kernels: by `threads`, in so many parts, and what is mapped is given back after
 * each. */
typedef struct packing {
  const lathe_parallel *threads; /* NULL: none */
  lt_mapped file[MOST_FILES];
  uint32_t n_file;
  int64_t parts;
} packing;

typedef struct part {
  void (*body)(void *arg, int64_t i);
  void *arg;
  int64_t first;
} part;

static void run_task(void *arg, int64_t i) {
  const part *p = arg;
  p->body(p->arg, p->first + i);
}

static void run_part(const lathe_parallel *threads, int64_t n, part *p) {
  if (threads) threads->run(threads->ctx, n, run_task, p);
  else
    for (int64_t i = 0; i < n; i++) run_task(p, i);
}

static void give_back(const packing *p) {
  for (uint32_t i = 0; i < p->n_file; i++) lt_mapped_rest(&p->file[i]);
}

static void run_in_parts(void *ctx, int64_t n, void (*body)(void *arg, int64_t i), void *arg) {
  const packing *p = ctx;
  int64_t most = n / p->parts + 1;
  for (int64_t first = 0; first < n; first += most) {
    run_part(p->threads, LT_MIN(most, n - first), &(part){body, arg, first});
    give_back(p);
  }
}

static void add_file(packing *p, lt_mapped x) {
  for (uint32_t i = 0; i < p->n_file; i++)
    if (p->file[i].base == x.base) return;
  if (p->n_file < MOST_FILES) p->file[p->n_file++] = x;
}

/* What is mapped of the files that weights stand in. */
static void find_files(packing *p, const lathe_instance *s) {
  const lathe_model *m = s->model;
  int64_t bytes = 0;
  for (uint32_t i = 0; i < m->image.n; i++) {
    if (s->item[i] == s->image + m->image.item[i].offset) continue;
    const lt_bytes *file = s->file ? &s->file->bytes : NULL;
    bytes += lt_type_bytes(&m->image.item[i].type);
    add_file(p, lt_instance_in_file(s, i) ? (lt_mapped){file->at, (void *)(uintptr_t)file->at, file->n}
                                          : lt_data_mapped(m->init[i].literal));
  }
  p->parts = bytes / PART + 1;
}

/* Weights that are in files still are packed as they are: only in the image can they be changed. */
int lathe_repack(lathe_instance *s) {
  if (!s) return LATHE_E_INVALID;
  if (s->outside && !s->stale) return LATHE_OK;
  packing p = {.threads = s->pool ? lathe_pool_parallel(s->pool) : NULL};
  if (s->outside) find_files(&p, s);
  const lathe_parallel in_parts = {&p, run_in_parts};
  int status = s->packed ? s->pack(s->packed, s->item, s->outside ? &in_parts : p.threads) : LATHE_OK;
  give_back(&p);
  if (!status) s->stale = false;
  return status;
}
