/* Fuzz target of the reader of PyTorch's files: a pickle, with storages of 64 bytes whatever their names, or a whole
 * archive. Parsing ends in tensors or in an error, and no tensor reaches past its storage. */
#include "fuzz.h"
#include "weights/pickle.h"

#include <stdio.h>
#include <stdlib.h>

/* bytes; elements that are converted, of one tensor and of all: strides of 0 give any number */
enum { STORAGE = 64, MOST = 1 << 16, MOST_OF_ALL = 1 << 18 };

static bool find_storage(lt_weights *w, const char *key, uint64_t *bytes, uint32_t *member) {
  *bytes = STORAGE, *member = 0;
  return true;
}

static void convert(lt_weights *w, lt_weight *x, int64_t *left) {
  lt_elements e = x->array;
  if (x->problem || e.count > LT_MIN(MOST, *left)) return;
  *left -= e.count;
  unsigned char *storage = malloc(STORAGE); /* reading past its end is seen */
  lt_defer(w->job, free, storage);
  lathe_dtype want = lt_elements_natural(&e);
  void *out = malloc((size_t)e.count * lt_element_of(want).size + 1);
  lt_defer(w->job, free, out);
  memset(storage, 0, STORAGE);
  if (!w->format && e.count) e.data = storage + x->offset;
  if (w->format) lt_weights_fetch(w, x), e.data = x->array.data;
  if (e.count) lt_elements_convert(&e, w->job, (lt_array_where){"fuzz", x->key}, want, out);
}

static void read_bytes(lt_job *job, void *arg) {
  const lt_bytes *in = arg;
  lt_weights w = {.job = job, .arena = lt_arena_new(job), .path = "fuzz"};
  if (in->n > 1 && !memcmp(in->at, "PK", 2)) lt_weights_parse(&w, job, w.arena, &lt_format_torch, "fuzz", *in);
  else lt_torch_take(&w, *in, find_storage);
  int64_t left = MOST_OF_ALL;
  for (uint32_t i = 0; i < w.n; i++) convert(&w, &w.at[i], &left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  lathe_error e;
  lt_bytes in = {data, n};
  int status = lt_protect(&e, read_bytes, &in);
  bool expected =
    !status || ((status == LATHE_E_IO || status == LATHE_E_UNSUPPORTED || status == LATHE_E_MISMATCH) && e.message[0]);
  if (!expected || lt_mem_live() != 0) {
    fprintf(stderr, "status %d, %lld blocks left: %s\n", status, (long long)lt_mem_live(), e.message);
    abort();
  }
  return 0;
}
