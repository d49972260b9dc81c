/* pde.c: trains pde.lathe on fixed points of [0, 1] with Adam and a falling rate, then compares with the exact solution
 * at places between them. One call is one step: u, u'', the residual, its gradients in the weights, the update.
 *
 *   cc -std=c99 pde.c $(pkg-config --cflags --libs lathe) -lm -o pde && ./pde pde.lathe
 *
 * Prints the residual's mean square as it falls, and the largest error of u at the end (u itself reaches 0.44). */
#include <lathe/lathe.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { POINTS = 64, STEPS = 4000, TOLD = 500 };

static void stop(const lathe_error *e) {
  fprintf(stderr, "pde: %s\n", e->message);
  exit(1);
}

static float *buffer(lathe_instance *s, const char *name) {
  float *p = lathe_buffer(s, name, NULL);
  if (!p) fprintf(stderr, "pde: no memory for %s\n", name), exit(1);
  return p;
}

static void call(lathe_instance *s, const char *entry) {
  int status = lathe_call(s, entry);
  if (status) fprintf(stderr, "pde: %s: %s\n", entry, lathe_status_text(status)), exit(1);
}

/* Weights, inputs and outputs are those of one instance: both entries see them. */
static void train(lathe_instance *s) {
  float *x = buffer(s, "x"), *rate = buffer(s, "lr"), *loss = buffer(s, "loss");
  for (int i = 0; i < POINTS; i++) x[i] = (float)i / (POINTS - 1);
  for (int step = 0; step < STEPS; step++) {
    *rate = 0.01f * expf(-5.0f * (float)step / STEPS);
    call(s, "train");
    if (step % TOLD == 0 || step + 1 == STEPS) printf("step %4d  loss %.3e\n", step, *loss);
  }
}

int main(int argc, char **argv) {
  lathe_error e;
  if (argc != 2) return fprintf(stderr, "usage: pde pde.lathe\n"), 2;
  lathe_graph *g = lathe_load(argv[1], NULL, &e);
  lathe_model *m = g ? lathe_compile(g, "--entry train:loss --entry run:worst --optimizer adam", &e) : NULL;
  lathe_instance *s = m ? lathe_open(m, "--seed 1", &e) : NULL;
  if (!s) stop(&e);
  train(s);
  float *x = buffer(s, "x");
  for (int i = 0; i < POINTS; i++) x[i] = ((float)i + 0.5f) / POINTS;
  if (lathe_repack(s)) return 1; /* training has changed the weights that the run entry reads */
  call(s, "run");
  printf("largest error %.3e\n", *buffer(s, "worst"));
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
  return 0;
}
