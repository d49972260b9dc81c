/* object.c: an object's entry against the JIT's of the same network, in one process, calls alternating: same inputs,
 * same weights (the object's own), same scratch. bench/object compiles it with the names of the object. */
#include <lathe/lathe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include HEADER

enum { ROUNDS = 400 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

enum { PORTS = 15 };

/* Memory for each input and output, in the order of the io struct, which ends in `parallel`: no pool. Both sides share
 * the inputs; outputs are apart, so that they can be compared. */
static size_t make_io(const lathe_model *m, const void *io[2][PORTS + 1], size_t bytes[PORTS]) {
  lathe_port port;
  size_t n = 0;
  for (; n < PORTS && lathe_model_port(m, "run", n, &port) && port.offset < 0; n++) { /* then come params and states */
    bool input = !strcmp(port.kind, "input");
    bytes[n] = input ? 0 : (size_t)port.bytes; /* what is compared */
    for (int k = 0; k < 2; k++) io[k][n] = input && k ? io[0][n] : calloc(1, (size_t)port.bytes);
    for (int64_t i = 0; input && port.dtype == LATHE_F32 && i < port.bytes / 4; i++)
      ((float *)(uintptr_t)io[0][n])[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
  }
  return n;
}

int main(int argc, char **argv) {
  static double t[2][ROUNDS];
  static const void *io[2][PORTS + 1];
  size_t bytes[PORTS];
  lathe_error e;
  lathe_graph *g = lathe_load(argc > 1 ? argv[1] : "", "", &e);
  lathe_model *m = g ? lathe_compile(g, "--entry run", &e) : NULL;
  if (!m) return fprintf(stderr, "%s\n", e.message), 1;
  lathe_fn jit = lathe_entry(m, "run");
  size_t n = make_io(m, io, bytes);
  void *scratch = aligned_alloc(64, (SCRATCH + 63) / 64 * 64 + 64);
  for (int r = 0; r < 2 * ROUNDS; r++) {
    int which = (r + r / 2) % 2; /* who goes first changes */
    double begin = now();
    int status = which ? jit(io[1], (void *)(uintptr_t)WEIGHTS, scratch) : ENTRY((const void *)io[0], NULL, scratch);
    t[which][r / 2] = now() - begin;
    if (status) return fprintf(stderr, "%s: status %d\n", which ? "JIT" : "object", status), 1;
  }
  for (size_t i = 0; i < n; i++)
    if (memcmp(io[0][i], io[1][i], bytes[i])) return fprintf(stderr, "object and JIT differ\n"), 1;
  for (int k = 0; k < 2; k++) qsort(t[k], ROUNDS, sizeof **t, by_value);
  printf("best %.4f ms object, %.4f ms JIT: %.3f    median %.4f, %.4f: %.3f\n", t[0][0] * 1e3, t[1][0] * 1e3,
         t[0][0] / t[1][0], t[0][ROUNDS / 2] * 1e3, t[1][ROUNDS / 2] * 1e3, t[0][ROUNDS / 2] / t[1][ROUNDS / 2]);
  lathe_model_free(m), lathe_graph_free(g);
  return 0;
}
