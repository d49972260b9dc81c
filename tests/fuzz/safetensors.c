/* Fuzz target of the reader of safetensors: whatever the bytes are, parsing ends in tensors or in an error; what
 * converts is written again and reads back as the same tensors. */
#include "fuzz.h"
#include "weights/weights.h"

#include <stdio.h>
#include <stdlib.h>

static void write_again(lt_weights *w) {
  lt_named_array *list = LT_NEW_ARRAY(w->arena, lt_named_array, w->n + 1);
  size_t n = 0;
  lt_str file;
  for (uint32_t i = 0; i < w->n; i++) {
    const lt_elements *e = &w->at[i].array;
    if (w->at[i].problem || strstr(w->at[i].key, "__metadata__")) continue;
    lathe_dtype want = lt_elements_natural(e);
    void *data = lt_arena_array(w->arena, (size_t)e->count + 1, lt_element_of(want).size);
    lt_elements_convert(e, w->job, (lt_array_where){"fuzz", w->at[i].key}, want, data);
    list[n++] = (lt_named_array){w->at[i].key, want, e->rank, e->dim, data};
  }
  lt_str_init(&file, w->arena);
  lt_format_safetensors.write(&file, w->job, list, n);
  lt_weights again = {0};
  lt_weights_parse(&again, w->job, w->arena, &lt_format_safetensors, "again",
                   (lt_bytes){(const unsigned char *)file.at, file.n});
  if (again.n != n) fprintf(stderr, "%zu tensors were written, %u read\n", n, again.n), abort();
}

static void read_bytes(lt_job *job, void *arg) {
  lt_weights w = {0};
  lt_weights_parse(&w, job, lt_arena_new(job), &lt_format_safetensors, "fuzz", *(const lt_bytes *)arg);
  write_again(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  lathe_error e;
  lt_bytes in = {data, n};
  int status = lt_protect(&e, read_bytes, &in);
  bool expected = !status || ((status == LATHE_E_IO || status == LATHE_E_UNSUPPORTED || status == LATHE_E_MISMATCH) &&
                              e.message[0] && strcmp(e.file, "again"));
  if (!expected || lt_mem_live() != 0) {
    fprintf(stderr, "status %d, %lld blocks left: %s\n", status, (long long)lt_mem_live(), e.message);
    abort();
  }
  return 0;
}
