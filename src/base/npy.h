/* npy.h: arrays in NumPy's files: .npy (npy.c) and .npz (npz.c).
 *
 * Reading is strict: header of at most 10,000 bytes, a dictionary of exactly descr, fortran_order and shape, no object
 * dtype, every size checked against the bytes that are there before anything is allocated, nothing after the data.
 * Names of files stand in the error's location; a member of an archive is named in the message. Writing gives the bytes
 * that NumPy's own writer gives (.npy version 1.0; .npz stored, each member's data 64-aligned). */
#ifndef LT_NPY_H
#define LT_NPY_H
#include "base/elements.h"

/* Fails with LATHE_E_UNSUPPORTED where the file is sound but holds no numbers. */
void lt_npy_parse(lt_elements *out, lt_job *job, lt_array_where where, lt_bytes bytes);
/* The file of one array: header, then the elements as they are in memory (little endian, row-major). */
void lt_npy_write(lt_str *out, lathe_dtype dtype, unsigned rank, const int64_t *dim, const void *data);

typedef struct lt_npz_member {
  const char *name; /* without ".npy" */
  lt_elements npy;
  const char *problem; /* text, Python objects and the like: why npy is empty; NULL: it is an array of numbers */
} lt_npz_member;
typedef struct lt_npz {
  lt_npz_member *at;
  uint32_t n;
} lt_npz;

/* All arrays of an archive; stored members point into `file`, deflated ones (needs zlib) are unpacked into the arena.
 * Checked: CRC, sizes, local against central headers, overlap, duplicates, encryption, and that all members together
 * unpack to at most `limit` bytes. A member that holds no numbers is in the way of nobody but who asks for it. */
LT_NORETURN void lt_npz_fail_member(lt_job *job, const char *path, const lt_npz_member *m); /* one with a problem */
void lt_npz_parse(lt_npz *out, lt_job *job, lt_arena *a, const char *path, lt_bytes file, uint64_t limit);

void lt_npz_write(lt_str *out, lt_job *job, const lt_named_array *item, size_t n);

#endif
