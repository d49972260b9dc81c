/* Fuzz target of the ONNX reader: whatever the bytes are, reading ends in a graph that holds together or in an error,
 * in little memory. The batch is 2. */
#include "frontend/source.h"
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

enum { LIMIT = 1 << 22 }; /* bytes of a value: more only takes time */

static void read_bytes(lt_job *job, void *arg) {
  const lt_bytes *in = arg;
  lt_source s;
  lt_source_of_bytes(&s, job, lt_arena_new(job), *in, "fuzz.onnx");
  s.folder = "/nowhere"; /* a model's files are not there */
  lt_graph *g = lt_source_read(job, &s, &(lt_read_options){.max_bytes = LIMIT, .max_nodes = 5000, .batch = 2});
  lt_verify(g, "onnx");
  lt_graph_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  lathe_error e;
  lt_bytes in = {data, n};
  int status = lt_protect(&e, read_bytes, &in);
  bool expected =
    !status || ((status == LATHE_E_IO || status == LATHE_E_INVALID || status == LATHE_E_UNSUPPORTED) && e.message[0]);
  if (!expected || lt_mem_live() != 0) {
    fprintf(stderr, "status %d, %lld blocks left: %s\n", status, (long long)lt_mem_live(), e.message);
    abort();
  }
  return 0;
}
