/* zip.c: archives, read strictly: the part of ZIP that NumPy and PyTorch write (PKWARE's APPNOTE 6.3).
 *
 * The central directory is the truth; each local header must agree with it. Sizes come from it and are checked against
 * the file and against deflate's largest ratio (1032 to 1), so a small file cannot make us allocate much. */
#include "base/zip.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef LT_HAVE_ZLIB
#include <zlib.h>
#endif

enum { END_SIZE = 22, END64_SIZE = 56, LOCATOR_SIZE = 20, CENTRAL_SIZE = 46, LOCAL_SIZE = 30 };

void lt_zip_fail(lt_zip *z, int status, const char *fmt, ...) {
  lt_loc loc = {z->path, 0, 0};
  va_list ap;
  va_start(ap, fmt);
  lt_failv(z->job, status, &loc, fmt, ap);
}
#define ZIP_FAIL(z, ...) lt_zip_fail((z), LATHE_E_IO, __VA_ARGS__)

LT_NORETURN static void damaged(lt_zip *z, const char *fmt, ...) LT_PRINTF(2, 3);
static void damaged(lt_zip *z, const char *fmt, ...) {
  char text[LT_ZIP_MAX_NAME + 200];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  ZIP_FAIL(z, "a damaged %s (%s)", z->words.archive, text);
}

static uint64_t get(const unsigned char *p, unsigned n) {
  uint64_t v = 0;
  for (unsigned i = 0; i < n; i++) v |= (uint64_t)p[i] << 8 * i;
  return v;
}

/* ---- the end record and the directory ------------------------------------------------------------ */

static void find_end64(lt_zip *z, uint64_t end) {
  if (end < LOCATOR_SIZE + END64_SIZE) damaged(z, "its zip64 end record is missing");
  const unsigned char *l = z->file.at + end - LOCATOR_SIZE;
  if (get(l, 4) != 0x07064b50 || get(l + 8, 8) > end - LOCATOR_SIZE - END64_SIZE)
    damaged(z, "its zip64 end record is missing");
  uint64_t at = get(l + 8, 8);
  const unsigned char *p = z->file.at + at;
  if (get(p, 4) != 0x06064b50) damaged(z, "its zip64 end record is missing");
  z->entries = get(p + 32, 8);
  z->directory = get(p + 48, 8);
  z->directory_end = at;
  if (z->directory > at || get(p + 40, 8) != at - z->directory)
    damaged(z, "its directory is not where its end record says");
}

static void find_directory(lt_zip *z) {
  if (z->file.n < END_SIZE || (get(z->file.at, 4) != 0x04034b50 && get(z->file.at, 4) != 0x06054b50))
    ZIP_FAIL(z, "not %s %s (its first bytes are wrong)%s", z->words.article, z->words.archive,
             z->file.n > 6 && !memcmp(z->file.at, "\x93NUMPY", 6)
               ? "\nhelp: this is an .npy file, which holds one unnamed array"
               : "");
  uint64_t end = z->file.n - END_SIZE, lowest = end > 65535 ? end - 65535 : 0;
  while (get(z->file.at + end, 4) != 0x06054b50 || get(z->file.at + end + 20, 2) != z->file.n - end - END_SIZE) {
    if (end == lowest) damaged(z, "it has no end record; was it cut off?");
    end--;
  }
  const unsigned char *p = z->file.at + end;
  if (get(p + 4, 2) || get(p + 6, 2)) ZIP_FAIL(z, "an archive in several parts is not read");
  z->entries = get(p + 10, 2), z->directory = get(p + 16, 4), z->directory_end = end;
  bool big = z->entries == 0xffff || z->directory == 0xffffffff || get(p + 12, 4) == 0xffffffff;
  bool locator = end >= LOCATOR_SIZE && get(p - LOCATOR_SIZE, 4) == 0x07064b50; /* PyTorch always writes one */
  if (big || locator) find_end64(z, end);
  else if (z->directory > end || get(p + 12, 4) != end - z->directory)
    damaged(z, "its directory is not where its end record says");
  if (z->entries > LT_ZIP_MAX_MEMBERS)
    ZIP_FAIL(z, "an archive of %" PRIu64 " %ss; at most %d are read", z->entries, z->words.member, LT_ZIP_MAX_MEMBERS);
}

/* The zip64 extra field holds, in this order, those of size, packed, header that are all ones in the record. */
static void read_extra64(lt_zip *z, lt_zip_member *m, const unsigned char *p, uint64_t n) {
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
    if (z->file.n < 0xffffffff) damaged(z, "the sizes of `%s` are missing", m->name);
  }
}

static uint64_t read_central(lt_zip *z, lt_zip_member *m, uint64_t at) {
  if (z->directory_end - at < CENTRAL_SIZE || get(z->file.at + at, 4) != 0x02014b50)
    damaged(z, "its directory is cut short");
  const unsigned char *p = z->file.at + at;
  uint64_t name = get(p + 28, 2), extra = get(p + 30, 2), comment = get(p + 32, 2),
           total = CENTRAL_SIZE + name + extra + comment;
  if (total > z->directory_end - at) damaged(z, "its directory is cut short");
  if (name == 0 || name > LT_ZIP_MAX_NAME || memchr(p + CENTRAL_SIZE, 0, name))
    damaged(z, "%s%s's name is empty, too long or has a zero byte", z->words.member[0] == 'a' ? "an " : "a ",
            z->words.member);
  *m = (lt_zip_member){lt_arena_strndup(z->arena, (const char *)p + CENTRAL_SIZE, name),
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

static void check_member(lt_zip *z, lt_zip_member *m) {
  if (m->flags & 1) ZIP_FAIL(z, "%s `%s` is encrypted", z->words.member, m->name);
  if (m->method != 0 && m->method != 8)
    ZIP_FAIL(z, "%s `%s` is packed with method %u; only stored and deflated ones are read", z->words.member, m->name,
             m->method);
  if (m->header > z->directory || z->directory - m->header < LOCAL_SIZE)
    damaged(z, "`%s` starts past its end", m->name);
  const unsigned char *p = z->file.at + m->header;
  size_t n = strlen(m->name);
  if (get(p, 4) != 0x04034b50 || get(p + 26, 2) != n || n > z->directory - m->header - LOCAL_SIZE ||
      memcmp(p + LOCAL_SIZE, m->name, n) || get(p + 8, 2) != m->method || (get(p + 6, 2) & 1) != (m->flags & 1))
    damaged(z, "the two headers of `%s` disagree", m->name);
  m->data = m->header + LOCAL_SIZE + n + get(p + 28, 2);
  if (m->data > z->directory || m->packed > z->directory - m->data) damaged(z, "`%s` ends past its end", m->name);
  if (m->method == 0 && m->size != m->packed) damaged(z, "the sizes of `%s` disagree", m->name);
  if (m->method == 8 && m->size / 1032 > m->packed)
    ZIP_FAIL(z, "%s `%s` claims to unpack %" PRIu64 " bytes to %" PRIu64 ", which deflate cannot", z->words.member,
             m->name, m->packed, m->size);
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

static const unsigned char *inflate_member(lt_zip *z, const lt_zip_member *m) {
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
    ZIP_FAIL(z, "the packed data of %s `%s` is damaged", z->words.member, m->name);
  return out;
}
#else
static const unsigned char *inflate_member(lt_zip *z, const lt_zip_member *m) {
  lt_zip_fail(z, LATHE_E_UNSUPPORTED,
              "%s `%s` is packed, and this Lathe was built without zlib\nhelp: save it with np.savez instead of "
              "np.savez_compressed",
              z->words.member, m->name);
}
#endif

static int by_header(const void *a, const void *b) {
  const lt_zip_member *x = a, *y = b;
  return x->header < y->header ? -1 : x->header > y->header;
}

/* Two members that share bytes make a small file unpack to much; NumPy never writes that. */
static void check_overlap(lt_zip *z, const lt_zip_member *m, size_t n) {
  lt_zip_member *sorted = LT_NEW_ARRAY(z->arena, lt_zip_member, n);
  memcpy(sorted, m, n * sizeof *m);
  qsort(sorted, n, sizeof *sorted, by_header);
  for (size_t i = 1; i < n; i++)
    if (sorted[i].header < sorted[i - 1].data + sorted[i - 1].packed)
      damaged(z, "`%s` and `%s` overlap", sorted[i - 1].name, sorted[i].name);
}

lt_bytes lt_zip_bytes(lt_zip *z, const lt_zip_member *m, const char *shown) {
  lt_bytes bytes = {m->method == 8 ? inflate_member(z, m) : z->file.at + m->data, m->size};
  if (lt_crc32(bytes.at, bytes.n) != m->crc)
    ZIP_FAIL(z, "the checksum of %s `%s` is wrong: the file is damaged", z->words.member, shown);
  return bytes;
}

void lt_zip_read(lt_zip *z, lt_job *job, lt_arena *a, lt_zip_words words, const char *path, lt_bytes file,
                 uint64_t limit) {
  *z = (lt_zip){.job = job, .arena = a, .words = words, .path = path, .file = file, .left = limit};
  find_directory(z);
  if (z->entries > (z->directory_end - z->directory) / CENTRAL_SIZE) damaged(z, "its directory is cut short");
  z->at = LT_NEW_ARRAY(a, lt_zip_member, z->entries + 1);
  uint64_t at = z->directory;
  for (uint64_t i = 0; i < z->entries; i++) {
    at = read_central(z, &z->at[i], at);
    check_member(z, &z->at[i]);
  }
  if (at != z->directory_end) damaged(z, "its directory holds more than its end record says");
  check_overlap(z, z->at, z->entries);
  z->n = (uint32_t)z->entries;
}
