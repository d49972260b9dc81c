/* npz.c: archives of arrays: the part of ZIP that NumPy's .npz uses (PKWARE's APPNOTE 6.3), read strictly, written
 * stored.
 *
 * The central directory is the truth; each local header must agree with it. Sizes come from it and are checked against
 * the file and against deflate's largest ratio (1032 to 1), so a small file cannot make us allocate much. */
#include "base/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef LT_HAVE_ZLIB
#include <zlib.h>
#endif

enum {
  END_SIZE = 22,
  END64_SIZE = 56,
  LOCATOR_SIZE = 20,
  CENTRAL_SIZE = 46,
  LOCAL_SIZE = 30,
  MAX_MEMBERS = 65536,
  MAX_NAME = 1024
};

typedef struct zip {
  lt_job *job;
  lt_arena *arena;
  const char *path;
  lt_bytes file;
  uint64_t directory, directory_end, entries, left; /* left: bytes that may still be unpacked */
} zip;

typedef struct member {
  const char *name; /* as in the archive, NUL-terminated in the arena */
  uint64_t packed, size, header, data;
  uint32_t crc;
  uint16_t flags, method;
} member;

LT_NORETURN static void zip_fail(zip *z, int status, const char *fmt, ...) LT_PRINTF(3, 4);
static void zip_fail(zip *z, int status, const char *fmt, ...) {
  lt_loc loc = {z->path, 0, 0};
  va_list ap;
  va_start(ap, fmt);
  lt_failv(z->job, status, &loc, fmt, ap);
}
#define ZIP_FAIL(z, ...) zip_fail((z), LATHE_E_IO, __VA_ARGS__)

static uint64_t get(const unsigned char *p, unsigned n) {
  uint64_t v = 0;
  for (unsigned i = 0; i < n; i++) v |= (uint64_t)p[i] << 8 * i;
  return v;
}

/* CRC-32 as in ZIP, a nibble at a time would do; a byte at a time is fast enough beside the disk. */
static uint32_t crc32_of(const unsigned char *p, size_t n) {
  uint32_t table[256], crc = 0xffffffffu;
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    table[i] = c;
  }
  for (size_t i = 0; i < n; i++) crc = table[(crc ^ p[i]) & 255] ^ crc >> 8;
  return ~crc;
}

/* ---- the end record and the directory ------------------------------------------------------------ */

static void find_end64(zip *z, uint64_t end) {
  if (end < LOCATOR_SIZE + END64_SIZE) ZIP_FAIL(z, "a damaged .npz archive (its zip64 end record is missing)");
  const unsigned char *l = z->file.at + end - LOCATOR_SIZE;
  if (get(l, 4) != 0x07064b50 || get(l + 8, 8) > end - LOCATOR_SIZE - END64_SIZE)
    ZIP_FAIL(z, "a damaged .npz archive (its zip64 end record is missing)");
  uint64_t at = get(l + 8, 8);
  const unsigned char *p = z->file.at + at;
  if (get(p, 4) != 0x06064b50) ZIP_FAIL(z, "a damaged .npz archive (its zip64 end record is missing)");
  z->entries = get(p + 32, 8);
  z->directory = get(p + 48, 8);
  z->directory_end = at;
  if (z->directory > at || get(p + 40, 8) != at - z->directory)
    ZIP_FAIL(z, "a damaged .npz archive (its directory is not where its end record says)");
}

static void find_directory(zip *z) {
  if (z->file.n < END_SIZE || (get(z->file.at, 4) != 0x04034b50 && get(z->file.at, 4) != 0x06054b50))
    ZIP_FAIL(z, "not an .npz archive (its first bytes are wrong)%s",
             z->file.n > 6 && !memcmp(z->file.at, "\x93NUMPY", 6)
               ? "\nhelp: this is an .npy file, which holds one unnamed array"
               : "");
  uint64_t end = z->file.n - END_SIZE, lowest = end > 65535 ? end - 65535 : 0;
  while (get(z->file.at + end, 4) != 0x06054b50 || get(z->file.at + end + 20, 2) != z->file.n - end - END_SIZE) {
    if (end == lowest) ZIP_FAIL(z, "a damaged .npz archive (it has no end record; was it cut off?)");
    end--;
  }
  const unsigned char *p = z->file.at + end;
  if (get(p + 4, 2) || get(p + 6, 2)) ZIP_FAIL(z, "an archive in several parts is not read");
  z->entries = get(p + 10, 2), z->directory = get(p + 16, 4), z->directory_end = end;
  if (z->entries == 0xffff || z->directory == 0xffffffff || get(p + 12, 4) == 0xffffffff) find_end64(z, end);
  else if (z->directory > end || get(p + 12, 4) != end - z->directory)
    ZIP_FAIL(z, "a damaged .npz archive (its directory is not where its end record says)");
  if (z->entries > MAX_MEMBERS)
    ZIP_FAIL(z, "an archive of %" PRIu64 " arrays; at most %d are read", z->entries, MAX_MEMBERS);
}

/* The zip64 extra field holds, in this order, those of size, packed, header that are all ones in the record. */
static void read_extra64(zip *z, member *m, const unsigned char *p, uint64_t n) {
  for (; n >= 4;) {
    uint64_t id = get(p, 2), len = get(p + 2, 2), used = 0;
    if (len > n - 4) break;
    uint64_t *field[3] = {&m->size, &m->packed, &m->header};
    if (id == 1)
      for (int i = 0; i < 3; i++)
        if (*field[i] == 0xffffffff && used + 8 <= len) *field[i] = get(p + 4 + used, 8), used += 8;
    p += 4 + len, n -= 4 + len;
  }
  if (m->size == 0xffffffff || m->packed == 0xffffffff || m->header == 0xffffffff) {
    if (z->file.n < 0xffffffff) ZIP_FAIL(z, "a damaged .npz archive (the sizes of `%s` are missing)", m->name);
  }
}

static uint64_t read_central(zip *z, member *m, uint64_t at) {
  if (z->directory_end - at < CENTRAL_SIZE || get(z->file.at + at, 4) != 0x02014b50)
    ZIP_FAIL(z, "a damaged .npz archive (its directory is cut short)");
  const unsigned char *p = z->file.at + at;
  uint64_t name = get(p + 28, 2), extra = get(p + 30, 2), comment = get(p + 32, 2),
           total = CENTRAL_SIZE + name + extra + comment;
  if (total > z->directory_end - at) ZIP_FAIL(z, "a damaged .npz archive (its directory is cut short)");
  if (name == 0 || name > MAX_NAME || memchr(p + CENTRAL_SIZE, 0, name))
    ZIP_FAIL(z, "a damaged .npz archive (an array's name is empty, too long or has a zero byte)");
  *m = (member){lt_arena_strndup(z->arena, (const char *)p + CENTRAL_SIZE, name),
                get(p + 20, 4),
                get(p + 24, 4),
                get(p + 42, 4),
                0,
                (uint32_t)get(p + 16, 4),
                (uint16_t)get(p + 8, 2),
                (uint16_t)get(p + 10, 2)};
  read_extra64(z, m, p + CENTRAL_SIZE + name, extra);
  return at + total;
}

static void check_member(zip *z, member *m) {
  if (m->flags & 1) ZIP_FAIL(z, "array `%s` is encrypted", m->name);
  if (m->method != 0 && m->method != 8)
    ZIP_FAIL(z, "array `%s` is packed with method %u; only stored and deflated ones are read", m->name, m->method);
  if (m->header > z->directory || z->directory - m->header < LOCAL_SIZE)
    ZIP_FAIL(z, "a damaged .npz archive (`%s` starts past its end)", m->name);
  const unsigned char *p = z->file.at + m->header;
  size_t n = strlen(m->name);
  if (get(p, 4) != 0x04034b50 || get(p + 26, 2) != n || n > z->directory - m->header - LOCAL_SIZE ||
      memcmp(p + LOCAL_SIZE, m->name, n) || get(p + 8, 2) != m->method || (get(p + 6, 2) & 1) != (m->flags & 1))
    ZIP_FAIL(z, "a damaged .npz archive (the two headers of `%s` disagree)", m->name);
  m->data = m->header + LOCAL_SIZE + n + get(p + 28, 2);
  if (m->data > z->directory || m->packed > z->directory - m->data)
    ZIP_FAIL(z, "a damaged .npz archive (`%s` ends past its end)", m->name);
  if (m->method == 0 && m->size != m->packed)
    ZIP_FAIL(z, "a damaged .npz archive (the sizes of `%s` disagree)", m->name);
  if (m->method == 8 && m->size / 1032 > m->packed)
    ZIP_FAIL(z, "array `%s` claims to unpack %" PRIu64 " bytes to %" PRIu64 ", which deflate cannot", m->name,
             m->packed, m->size);
  if (m->size > z->left) ZIP_FAIL(z, "the archive unpacks to more than the memory limit");
  z->left -= m->size;
}

/* ---- unpacking ------------------------------------------------------------ */

#ifdef LT_HAVE_ZLIB
static void *zlib_alloc(void *ctx, unsigned n, unsigned size) {
  (void)ctx;
  int64_t bytes;
  return lt_mul_ok(&bytes, n, size) ? lt_mem_alloc((size_t)bytes) : NULL;
}
static void zlib_free(void *ctx, void *p) {
  (void)ctx;
  lt_mem_free(p);
}

static const unsigned char *inflate_member(zip *z, const member *m) {
  unsigned char *out = lt_arena_alloc(z->arena, m->size + 1);
  z_stream s = {.zalloc = zlib_alloc, .zfree = zlib_free};
  if (inflateInit2(&s, -15) != Z_OK) lt_fail_nomem(z->job);
  uint64_t in_left = m->packed, out_left = m->size + 1; /* one byte more than claimed shows that it lied */
  s.next_in = (unsigned char *)(uintptr_t)(z->file.at + m->data), s.next_out = out;
  int status;
  do {
    uInt in = (uInt)LT_MIN(in_left, 1u << 30), room = (uInt)LT_MIN(out_left, 1u << 30);
    s.avail_in = in, s.avail_out = room;
    status = inflate(&s, Z_NO_FLUSH);
    in_left -= in - s.avail_in, out_left -= room - s.avail_out;
  } while (status == Z_OK && out_left);
  inflateEnd(&s);
  if (status == Z_MEM_ERROR) lt_fail_nomem(z->job);
  if (status != Z_STREAM_END || out_left != 1 || in_left)
    ZIP_FAIL(z, "the packed data of array `%s` is damaged", m->name);
  return out;
}
#else
static const unsigned char *inflate_member(zip *z, const member *m) {
  zip_fail(z, LATHE_E_UNSUPPORTED,
           "array `%s` is packed, and this Lathe was built without zlib\nhelp: save it with np.savez instead of "
           "np.savez_compressed",
           m->name);
}
#endif

static int by_header(const void *a, const void *b) {
  const member *x = a, *y = b;
  return x->header < y->header ? -1 : x->header > y->header;
}

/* Two members that share bytes make a small file unpack to much; NumPy never writes that. */
static void check_overlap(zip *z, const member *m, size_t n) {
  member *sorted = LT_NEW_ARRAY(z->arena, member, n);
  memcpy(sorted, m, n * sizeof *m);
  qsort(sorted, n, sizeof *sorted, by_header);
  for (size_t i = 1; i < n; i++)
    if (sorted[i].header < sorted[i - 1].data + sorted[i - 1].packed)
      ZIP_FAIL(z, "a damaged .npz archive (`%s` and `%s` overlap)", sorted[i - 1].name, sorted[i].name);
}

typedef struct parsing { zip *z; lt_npz_member *out; lt_bytes bytes; } parsing;

static void parse_member(lt_job *job, void *arg) {
  parsing *p = arg;
  lt_npy_parse(&p->out->npy, job, (lt_npy_where){p->z->path, p->out->name}, p->bytes);
}

void lt_npz_fail_member(lt_job *job, const char *path, const lt_npz_member *m) {
  lt_loc loc = {path, 0, 0};
  lt_fail(job, LATHE_E_UNSUPPORTED, &loc, "%s", m->problem);
}

static void read_member(zip *z, lt_npz_member *out, const member *m, lt_map *names) {
  size_t n = strlen(m->name);
  if (n < 5 || strcmp(m->name + n - 4, ".npy"))
    ZIP_FAIL(z, "`%s` in the archive is not an array (its name does not end in .npy)", m->name);
  out->name = lt_arena_strndup(z->arena, m->name, n - 4);
  if (lt_map_gets(names, out->name, NULL)) ZIP_FAIL(z, "array `%s` stands twice in the archive", out->name);
  lt_map_puts(z->arena, names, out->name, 1);
  lt_bytes bytes = {m->method == 8 ? inflate_member(z, m) : z->file.at + m->data, m->size};
  if (crc32_of(bytes.at, bytes.n) != m->crc)
    ZIP_FAIL(z, "the checksum of array `%s` is wrong: the file is damaged", out->name);
  lathe_error e;
  int status = lt_protect(&e, parse_member, &(parsing){z, out, bytes});
  if (!status) return;
  if (status != LATHE_E_UNSUPPORTED) zip_fail(z, status, "%s", e.message);
  out->npy = (lt_npy){0};
  out->problem = lt_arena_strdup(z->arena, e.message);
}

void lt_npz_parse(lt_npz *out, lt_job *job, lt_arena *a, const char *path, lt_bytes file, uint64_t limit) {
  zip z = {.job = job, .arena = a, .path = path, .file = file, .left = limit};
  lt_map names = {0};
  find_directory(&z);
  if (z.entries > (z.directory_end - z.directory) / CENTRAL_SIZE)
    ZIP_FAIL(&z, "a damaged .npz archive (its directory is cut short)");
  member *m = LT_NEW_ARRAY(a, member, z.entries + 1);
  uint64_t at = z.directory;
  for (uint64_t i = 0; i < z.entries; i++) {
    at = read_central(&z, &m[i], at);
    check_member(&z, &m[i]);
  }
  if (at != z.directory_end) ZIP_FAIL(&z, "a damaged .npz archive (its directory holds more than its end record says)");
  check_overlap(&z, m, z.entries);
  out->at = LT_NEW_ARRAY(a, lt_npz_member, z.entries + 1);
  out->n = (uint32_t)z.entries;
  for (uint32_t i = 0; i < out->n; i++) read_member(&z, &out->at[i], &m[i], &names);
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
  *w = (written){out->n, npy->n, crc32_of((const unsigned char *)npy->at, npy->n)};
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

void lt_npz_write(lt_str *out, lt_job *job, const lt_npz_item *item, size_t n) {
  if (n > MAX_MEMBERS)
    lt_fail(job, LATHE_E_INVALID, NULL, "%zu arrays do not fit in one archive (at most %d)", n, MAX_MEMBERS);
  written *w = LT_NEW_ARRAY(out->arena, written, n + 1);
  lt_arena *scratch = LT_NEW(out->arena, lt_arena); /* one member's bytes, freed at once: archives may be large */
  lt_arena_init(scratch, job);
  lt_defer(job, lt_arena_free_fn, scratch);
  for (size_t i = 0; i < n; i++) {
    if (!item[i].name[0] || strlen(item[i].name) + 4 > MAX_NAME)
      lt_fail(job, LATHE_E_INVALID, NULL, "an array's name is empty or longer than %d bytes", MAX_NAME - 4);
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
