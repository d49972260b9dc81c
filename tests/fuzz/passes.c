/* Fuzz target of the passes: a graph that was read goes through all of them in both modes, verified after each. A pass
 * may refuse a graph for reasons of the user's (a gradient that does not exist), but never makes a broken one. */
#include "driver/pipeline.h"
#include "frontend/frontend.h"
#include "fuzz.h"
#include "ir/pass/pass.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct input { const char *text; size_t n; lt_mode mode; } input;

static void run(lt_job *job, void *arg) {
  const input *in = arg;
  /* Small values: the time goes into graphs, not into numbers. */
  const lt_read_options o = {.max_bytes = 1 << 16, .max_nodes = 200};
  lt_pass_options verify = {.verify_each = true};
  lt_graph *g = lt_text_read(job, in->text, in->n, "fuzz.lathe", &o);
  g->mode = in->mode;
  g->max_bytes = (int64_t)1 << 40;
  size_t passes;
  const lt_pass *pipeline = lt_pipeline(&passes);
  lt_graph_free(lt_run_passes(job, g, pipeline, passes, &verify));
  lt_graph_free(g);
}

static void run_in(const uint8_t *data, size_t n, lt_mode mode) {
  lathe_error e;
  input in = {.text = (const char *)data, .n = n, .mode = mode};
  int status = lt_protect(&e, run, &in);
  bool expected = !status || ((status == LATHE_E_PARSE || status == LATHE_E_INVALID || status == LATHE_E_UNSUPPORTED) &&
                              e.message[0]);
  if (!expected || lt_mem_live() != 0) {
    fprintf(stderr, "status %d, %lld blocks left, %s:%d:%d: %s\n", status, (long long)lt_mem_live(), e.file, e.line,
            e.column, e.message);
    abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  run_in(data, n, LT_MODE_RUN);
  run_in(data, n, LT_MODE_TRAIN);
  return 0;
}
