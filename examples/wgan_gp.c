/* wgan_gp.c: 200 steps of a WGAN-GP critic, in process: wgan_gp.lathe compiled to one call per step that holds the
 * critic three times, its gradient in x, and the gradient of that in the weights. Prints the loss of each step before
 * its update.
 *
 *   cc -std=c99 wgan_gp.c $(pkg-config --cflags --libs lathe) -lm -o wgan_gp && ./wgan_gp wgan_gp.lathe digits.npz
 *
 * Everything is fixed: real images are the first 16 digits of the training set, fakes, weights and the places between
 * real and fake follow from a rule. tests/tools/wgan_values.py computes the same in double precision. */
#include <lathe/lathe.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 16, PIXELS = 64, STEPS = 200 };

static void stop(const lathe_error *e) {
  fprintf(stderr, "wgan_gp: %s\n", e->message);
  exit(1);
}

/* Numbers in [-0.75, 0.75] that look random and are the same everywhere. */
static double scattered(size_t i, size_t place) { return ((double)((i * 37 + 11 * place + 5) * 53 % 97) - 48) / 64; }

static void fill(lathe_instance *s, const char *name, size_t place, double scale, double middle) {
  size_t bytes;
  float *p = lathe_buffer(s, name, &bytes);
  if (!p) exit(1);
  for (size_t i = 0; i < bytes / sizeof *p; i++) p[i] = (float)(scattered(i, place) * scale + middle);
}

/* Scale 2 / sqrt(number of inputs), biases small. */
static void fill_weights(lathe_instance *s, const lathe_model *m) {
  lathe_port port;
  size_t place = 0;
  for (size_t i = 0; lathe_model_port(m, "train", i, &port); i++) {
    if (strcmp(port.kind, "param") != 0) continue;
    int64_t in = port.rank == 4 ? port.dim[1] * port.dim[2] * port.dim[3] : port.dim[0];
    fill(s, port.name, place++, port.rank == 1 ? 0.125 : 2 / sqrt((double)in), 0);
  }
}

static void fill_images(lathe_instance *s, const char *digits) {
  lathe_error e;
  lathe_array *all;
  size_t n;
  if (lathe_npz_load(&all, &n, digits, &e)) stop(&e);
  for (size_t i = 0; i < n; i++) {
    if (strcmp(all[i].name, "train_x") == 0)
      memcpy(lathe_buffer(s, "real", NULL), all[i].data, BATCH * PIXELS * sizeof(float));
    lathe_free(all[i].data);
  }
  lathe_free(all);
  fill(s, "fake", 100, 0.625, 0.5);
  fill(s, "mix", 101, 0.625, 0.5);
}

int main(int argc, char **argv) {
  lathe_error e;
  if (argc < 3) return fprintf(stderr, "usage: wgan_gp wgan_gp.lathe digits.npz\n"), 2;
  lathe_graph *g = lathe_load(argv[1], NULL, &e);
  lathe_model *m = g ? lathe_compile(g, "--entry train:loss --optimizer sgd --lr 0.001", &e) : NULL;
  lathe_instance *s = m ? lathe_open(m, NULL, &e) : NULL;
  if (!s) stop(&e);
  fill_weights(s, m);
  fill_images(s, argv[2]);
  const float *loss = lathe_buffer(s, "loss", NULL);
  for (int i = 0; i < STEPS; i++) {
    int status = lathe_call(s, "train");
    if (status) return fprintf(stderr, "wgan_gp: %s\n", lathe_status_text(status)), 1;
    printf("%.9g\n", *loss);
  }
  lathe_instance_free(s);
  lathe_model_free(m);
  lathe_graph_free(g);
  return 0;
}
