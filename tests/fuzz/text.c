/* Fuzz target of the text language: whatever the bytes are, reading ends in a graph or in an error with a place; a
 * graph verifies, prints, and its text is read back as an equal graph that prints the same. */
#include "frontend/frontend.h"
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct input { const char *text; size_t n; bool is_text; } input;

static const char *print(lt_job *job, const lt_graph *g) {
  lt_str s;
  lt_str_init(&s, lt_arena_new(job));
  lt_print(&s, g);
  return s.at;
}

static void read_and_back(lt_job *job, void *arg) {
  input *in = arg;
  /* Small limits: what is slow only because it is large teaches nothing. */
  const lt_read_options o = {.max_bytes = (int64_t)1 << 40, .max_nodes = 2000};
  lt_graph *g = lt_text_read(job, in->text, in->n, "fuzz.lathe", &o);
  in->is_text = true;
  lt_verify(g, "reading");
  const char *dump = print(job, g);
  const lt_read_options back = {.max_bytes = o.max_bytes, .max_nodes = 10000};
  lt_graph *same = lt_text_read(job, dump, strlen(dump), "dump", &back);
  if (strcmp(print(job, same), dump) || !lt_graph_equal(g, same) || lt_graph_hash(g) != lt_graph_hash(same)) {
    fprintf(stderr, "the dump is read back as something else:\n%s\n%s\n", dump, print(job, same));
    abort();
  }
  lt_graph_free(g);
  lt_graph_free(same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  lathe_error e;
  input in = {.text = (const char *)data, .n = n};
  int status = lt_protect(&e, read_and_back, &in);
  bool expected = !status || (!in.is_text && (status == LATHE_E_PARSE || status == LATHE_E_INVALID) && e.message[0]);
  if (!expected || lt_mem_live() != 0) {
    fprintf(stderr, "status %d, %lld blocks left, %s:%d:%d: %s\n", status, (long long)lt_mem_live(), e.file, e.line,
            e.column, e.message);
    abort();
  }
  return 0;
}
