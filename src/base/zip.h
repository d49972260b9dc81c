/* zip.h: archives of files, read strictly, and the checksum that they have (zip.c). */
#ifndef LT_ZIP_H
#define LT_ZIP_H
#include "base/base.h"

enum { LT_ZIP_MAX_MEMBERS = 65536, LT_ZIP_MAX_NAME = 1024 };

/* What the archive is called in messages, and what is in it: "an", ".npz archive", "array". */
typedef struct lt_zip_words { const char *article, *archive, *member; } lt_zip_words;

typedef struct lt_zip_member {
  const char *name; /* as in the archive, NUL-terminated in the arena */
  uint64_t packed, size, header, data;
  uint32_t crc;
  uint16_t flags, method;
} lt_zip_member;

typedef struct lt_zip {
  lt_job *job;
  lt_arena *arena;
  lt_zip_words words;
  const char *path;
  lt_bytes file;
  lt_zip_member *at;
  uint32_t n;
  uint64_t directory, directory_end, entries, left; /* left: bytes that may still be unpacked */
} lt_zip;

/* The directory, checked against itself, the local headers and the file: sizes, overlap, encryption, and that all
 * members together unpack to at most `limit` bytes. Names may repeat. */
void lt_zip_read(lt_zip *out, lt_job *job, lt_arena *a, lt_zip_words words, const char *path, lt_bytes file,
                 uint64_t limit);
/* A member's bytes: of the file where it is stored, unpacked into the arena where it is deflated (needs zlib). `shown`
 * is its name in messages. */
lt_bytes lt_zip_bytes(lt_zip *z, const lt_zip_member *m, const char *shown);
LT_NORETURN void lt_zip_fail(lt_zip *z, int status, const char *fmt, ...) LT_PRINTF(3, 4);

uint32_t lt_crc32(const unsigned char *p, size_t n);

#endif
