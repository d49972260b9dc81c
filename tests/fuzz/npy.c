/* Fuzz target of the readers of .npy and .npz: whatever the bytes are, parsing ends in arrays or in an error; an array
 * converts to every element type or is refused; what is written from it reads back as the same bytes. */
#include "base/npy.h"
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

enum { LIMIT = 1 << 22 }; /* bytes unpacked: more only takes time */

static void convert(lt_job *job, lt_arena *a, const lt_elements *n, lt_array_where where) {
  lathe_dtype want = lt_elements_natural(n);
  size_t size = lt_element_of(want).size;
  void *data = lt_arena_array(a, (size_t)n->count, size);
  lt_elements_convert(n, job, where, want, data);
  lt_str file;
  lt_elements again;
  lt_str_init(&file, a);
  lt_npy_write(&file, want, n->rank, n->dim, data);
  lt_npy_parse(&again, job, where, (lt_bytes){(const unsigned char *)file.at, file.n});
  if (again.count != n->count || memcmp(again.data, data, (size_t)n->count * size)) {
    fprintf(stderr, "an array is not what was written\n");
    abort();
  }
}

static void read_bytes(lt_job *job, void *arg) {
  const lt_bytes *in = arg;
  const lt_array_where where = {.file = "fuzz"};
  lt_arena *a = lt_arena_new(job);
  lt_elements npy;
  lt_npz npz;
  if (in->n < 2 || memcmp(in->at, "PK", 2)) {
    lt_npy_parse(&npy, job, where, *in);
    convert(job, a, &npy, where);
    return;
  }
  lt_npz_parse(&npz, job, a, "fuzz", *in, LIMIT);
  for (uint32_t i = 0; i < npz.n; i++) convert(job, a, &npz.at[i].npy, (lt_array_where){"fuzz", npz.at[i].name});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  lathe_error e;
  lt_bytes in = {data, n};
  int status = lt_protect(&e, read_bytes, &in);
  bool expected = !status || ((status == LATHE_E_IO || status == LATHE_E_INVALID || status == LATHE_E_UNSUPPORTED ||
                               status == LATHE_E_MISMATCH) &&
                              e.message[0]);
  if (!expected || lt_mem_live() != 0) {
    fprintf(stderr, "status %d, %lld blocks left: %s\n", status, (long long)lt_mem_live(), e.message);
    abort();
  }
  return 0;
}
