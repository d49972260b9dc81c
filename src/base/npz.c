/* npz.c: archives of arrays. What ZIP is to a reader is in zip.c; written they are stored, each array's data at a
 * multiple of 64. */
#include "base/npy.h"
#include "base/zip.h"

#include <stdio.h>

enum { LOCAL_SIZE = 30 };

typedef struct parsing { lt_zip *z; lt_npz_member *out; lt_bytes bytes; } parsing;

static void parse_member(lt_job *job, void *arg) {
  parsing *p = arg;
  lt_npy_parse(&p->out->npy, job, (lt_array_where){p->z->path, p->out->name}, p->bytes);
}

void lt_npz_fail_member(lt_job *job, const char *path, const lt_npz_member *m) {
  lt_loc loc = {path, 0, 0};
  lt_fail(job, LATHE_E_UNSUPPORTED, &loc, "%s", m->problem);
}

static void read_member(lt_zip *z, lt_npz_member *out, const lt_zip_member *m, lt_map *names) {
  size_t n = strlen(m->name);
  if (n < 5 || strcmp(m->name + n - 4, ".npy"))
    lt_zip_fail(z, LATHE_E_IO, "`%s` in the archive is not an array (its name does not end in .npy)", m->name);
  out->name = lt_arena_strndup(z->arena, m->name, n - 4);
  if (lt_map_gets(names, out->name, NULL))
    lt_zip_fail(z, LATHE_E_IO, "array `%s` stands twice in the archive", out->name);
  lt_map_puts(z->arena, names, out->name, 1);
  lathe_error e;
  int status = lt_protect(&e, parse_member, &(parsing){z, out, lt_zip_bytes(z, m, out->name)});
  if (!status) return;
  if (status != LATHE_E_UNSUPPORTED) lt_zip_fail(z, status, "%s", e.message);
  out->npy = (lt_elements){0};
  out->problem = lt_arena_strdup(z->arena, e.message);
}

void lt_npz_parse(lt_npz *out, lt_job *job, lt_arena *a, const char *path, lt_bytes file, uint64_t limit) {
  lt_zip z;
  lt_map names = {0};
  lt_zip_read(&z, job, a, (lt_zip_words){"an", ".npz archive", "array"}, path, file, limit);
  out->at = LT_NEW_ARRAY(a, lt_npz_member, z.n + 1);
  out->n = z.n;
  for (uint32_t i = 0; i < out->n; i++) read_member(&z, &out->at[i], &z.at[i], &names);
}

/* ---- writing ------------------------------------------------------------ */

static void put(lt_str *out, uint64_t v, unsigned n) {
  char bytes[8];
  for (unsigned i = 0; i < n; i++) bytes[i] = (char)(v >> 8 * i & 255);
  lt_str_put(out, bytes, n);
}

typedef struct written {
  uint64_t header, size;
  uint32_t crc;
} written;

/* The fields that the local and the central header share, from "version needed" to the name's length. */
static void put_common(lt_str *out, const written *w, size_t name, bool big) {
  put(out, big ? 45 : 20, 2), put(out, 0, 2), put(out, 0, 2); /* version, flags, stored */
  put(out, 0, 2), put(out, 0x21, 2), put(out, w->crc, 4);     /* 1980-01-01, so that equal arrays give equal files */
  put(out, big ? 0xffffffff : w->size, 4), put(out, big ? 0xffffffff : w->size, 4);
  put(out, name, 2);
}

static bool needs64(const written *w) { return w->size >= 0xffffffff || w->header >= 0xffffffff; }

static void put_member(lt_str *out, written *w, const char *name, const lt_str *npy) {
  size_t n = strlen(name) + 4;
  *w = (written){out->n, npy->n, lt_crc32((const unsigned char *)npy->at, npy->n)};
  bool big = needs64(w);
  size_t extra = big ? 20 : 0, start = out->n + LOCAL_SIZE + n + extra, pad = (64 - (start + 4) % 64) % 64 + 4;
  put(out, 0x04034b50, 4), put_common(out, w, n, big), put(out, extra + pad, 2);
  lt_str_puts(out, name), lt_str_puts(out, ".npy");
  if (big) put(out, 1, 2), put(out, 16, 2), put(out, w->size, 8), put(out, w->size, 8);
  put(out, 0xd935, 2), put(out, pad - 4, 2); /* Android's alignment field: readers skip what they do not know */
  for (size_t i = 4; i < pad; i++) put(out, 0, 1);
  lt_str_put(out, npy->at, npy->n);
}

static void put_central(lt_str *out, const written *w, const char *name) {
  bool big = needs64(w);
  size_t n = strlen(name) + 4;
  put(out, 0x02014b50, 4), put(out, big ? 45 : 20, 2), put_common(out, w, n, big), put(out, big ? 28 : 0, 2);
  put(out, 0, 2), put(out, 0, 2), put(out, 0, 2), put(out, 0, 4); /* comment, disk, internal, external attributes */
  put(out, big ? 0xffffffff : w->header, 4);
  lt_str_puts(out, name), lt_str_puts(out, ".npy");
  if (big) put(out, 1, 2), put(out, 24, 2), put(out, w->size, 8), put(out, w->size, 8), put(out, w->header, 8);
}

static void put_end(lt_str *out, uint64_t directory, size_t n) {
  uint64_t size = out->n - directory, at = out->n;
  bool big = directory >= 0xffffffff || n >= 0xffff;
  if (big) {
    put(out, 0x06064b50, 4), put(out, 44, 8), put(out, 45, 2), put(out, 45, 2), put(out, 0, 4), put(out, 0, 4);
    put(out, n, 8), put(out, n, 8), put(out, size, 8), put(out, directory, 8);
    put(out, 0x07064b50, 4), put(out, 0, 4), put(out, at, 8), put(out, 1, 4);
  }
  put(out, 0x06054b50, 4), put(out, 0, 2), put(out, 0, 2);
  put(out, big ? 0xffff : n, 2), put(out, big ? 0xffff : n, 2);
  put(out, big ? 0xffffffff : size, 4), put(out, big ? 0xffffffff : directory, 4), put(out, 0, 2);
}

void lt_npz_write(lt_str *out, lt_job *job, const lt_named_array *item, size_t n) {
  if (n > LT_ZIP_MAX_MEMBERS)
    lt_fail(job, LATHE_E_INVALID, NULL, "%zu arrays do not fit in one archive (at most %d)", n, LT_ZIP_MAX_MEMBERS);
  written *w = LT_NEW_ARRAY(out->arena, written, n + 1);
  lt_arena *scratch = LT_NEW(out->arena, lt_arena); /* one member's bytes, freed at once: archives may be large */
  lt_arena_init(scratch, job);
  lt_defer(job, lt_arena_free_fn, scratch);
  for (size_t i = 0; i < n; i++) {
    if (!item[i].name[0] || strlen(item[i].name) + 4 > LT_ZIP_MAX_NAME)
      lt_fail(job, LATHE_E_INVALID, NULL, "an array's name is empty or longer than %d bytes", LT_ZIP_MAX_NAME - 4);
    lt_str npy;
    lt_str_init(&npy, scratch);
    lt_npy_write(&npy, item[i].dtype, item[i].rank, item[i].dim, item[i].data);
    put_member(out, &w[i], item[i].name, &npy);
    lt_arena_free(scratch);
    lt_arena_init(scratch, job);
  }
  uint64_t directory = out->n;
  for (size_t i = 0; i < n; i++) put_central(out, &w[i], item[i].name);
  put_end(out, directory, n);
}
