/* saliency.c: which pixels of a digit speak for the class that a trained network reads it as. Writes a picture, PGM:
 * the digit, beside it the size of the gradient of the class's score in each pixel, white the largest.
 *
 *   lathe train digits.lathe --data digits.npz:train_x --labels digits.npz:train_t --optimizer adam --save w.npz
 *   cc -std=c99 saliency.c $(pkg-config --cflags --libs lathe) -lm -o saliency
 *   ./saliency saliency.lathe w.npz digits.npz 7 saliency.pgm        # the 8th digit of the test set */
#include <lathe/lathe.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 10, ZOOM = 16, GAP = 1 /* pixel of a digit */ };

static void stop(const lathe_error *e) {
  fprintf(stderr, "saliency: %s%s%s\n", e->file, *e->file ? ": " : "", e->message);
  exit(1);
}

/* Row `row` of the test set; returns what it is. */
static int take_digit(const char *path, long row, float *pixels) {
  lathe_error e;
  lathe_array *all;
  size_t n;
  int is = -1;
  if (lathe_npz_load(&all, &n, path, &e)) stop(&e);
  for (size_t i = 0; i < n; i++) {
    int inside = row >= 0 && row < all[i].dim[0];
    if (inside && !strcmp(all[i].name, "test_x"))
      memcpy(pixels, (const float *)all[i].data + row * PIXELS, PIXELS * sizeof *pixels);
    if (inside && !strcmp(all[i].name, "test_t")) is = (int)((const int32_t *)all[i].data)[row];
    lathe_free(all[i].data);
  }
  lathe_free(all);
  if (is < 0) fprintf(stderr, "saliency: %s has no digit %ld\n", path, row), exit(1);
  return is;
}

static int largest(const float *p, int n) {
  int best = 0;
  for (int i = 1; i < n; i++)
    if (p[i] > p[best]) best = i;
  return best;
}

static void put_rows(FILE *f, const float *left, const float *right, double most) {
  for (int y = 0; y < SIDE * ZOOM; y++)
    for (int x = 0; x < (2 * SIDE + GAP) * ZOOM; x++) {
      int row = y / ZOOM * SIDE, column = x / ZOOM;
      double v = 0.5;
      if (column < SIDE) v = left[row + column];
      else if (column >= SIDE + GAP) v = most > 0 ? fabs(right[row + column - SIDE - GAP]) / most : 0;
      fputc((int)lround(v * 255), f);
    }
}

static int write_picture(const char *path, const float *digit, const float *slope) {
  double most = 0;
  for (int i = 0; i < PIXELS; i++) most = fmax(most, fabs(slope[i]));
  FILE *f = fopen(path, "wb");
  if (!f) return 1;
  fprintf(f, "P5\n%d %d\n255\n", (2 * SIDE + GAP) * ZOOM, SIDE * ZOOM);
  put_rows(f, digit, slope, most);
  return ferror(f) | fclose(f);
}

int main(int argc, char **argv) {
  lathe_error e;
  if (argc != 6) return fprintf(stderr, "usage: saliency saliency.lathe WEIGHTS.npz digits.npz ROW OUT.pgm\n"), 2;
  lathe_graph *g = lathe_load(argv[1], NULL, &e);
  lathe_model *m = g ? lathe_compile(g, NULL, &e) : NULL;
  lathe_instance *s = m ? lathe_open(m, NULL, &e) : NULL;
  if (!s || lathe_weights_load(s, argv[2], 0, &e)) stop(&e);
  float *x = lathe_buffer(s, "x", NULL), *logits = lathe_buffer(s, "logits", NULL),
        *slope = lathe_buffer(s, "slope", NULL);
  int32_t *class = lathe_buffer(s, "class", NULL);
  int is = take_digit(argv[3], strtol(argv[4], NULL, 10), x);
  if (lathe_call(s, "run")) return 1; /* what does it read? */
  *class = largest(logits, CLASSES);
  if (lathe_call(s, "run")) return 1; /* and why? */
  printf("a %d, read as %d\n", is, (int)*class);
  if (write_picture(argv[5], x, slope)) return fprintf(stderr, "saliency: cannot write %s\n", argv[5]), 1;
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
  return 0;
}
