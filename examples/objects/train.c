/* train.c: a network trained by its own object file. learn.o is the whole of Lathe in this program: the training step
 * (forward, loss, gradients, Adam), the start values, and the network itself for whoever is done learning.
 *
 *   make build/train && build/train DATA      DATA: the folder with train_x.npy … (python3 -m zipfile -e ../digits.npz
 * DATA) */
#include "learn.h"
#include "npy.h"

enum { BATCH = LEARN_TRAIN_X_DIM0, PIXELS = LEARN_RUN_X_COUNT, CLASSES = LEARN_RUN_LOGITS_COUNT, EPOCHS = 8 };

static _Alignas(LEARN_ALIGN) unsigned char state[LEARN_STATE_BYTES], weights[LEARN_WEIGHTS_BYTES],
  scratch[LEARN_SCRATCH_BYTES];

typedef struct digits { float *x; int32_t *t; size_t rows; } digits;

static digits load(const char *folder, const char *part) {
  char path[1024];
  digits d;
  snprintf(path, sizeof path, "%s/%s_x.npy", folder, part);
  d.x = npy_floats(path, &d.rows);
  snprintf(path, sizeof path, "%s/%s_t.npy", folder, part);
  d.t = npy_labels(path, &d.rows);
  return d;
}

static void must(int status, const char *what) {
  if (status) fprintf(stderr, "%s: %d\n", what, status), exit(1);
}

/* Batch after batch through the rows, EPOCHS times; what is left over at the end opens the next batch with the first
 * ones. */
static void train(const digits *d) {
  static float x[BATCH * PIXELS];
  int32_t labels[BATCH];
  for (size_t first = 0; first < EPOCHS * d->rows; first += BATCH) {
    for (size_t i = 0; i < BATCH; i++) {
      size_t row = (first + i) % d->rows;
      memcpy(x + i * PIXELS, d->x + row * PIXELS, PIXELS * sizeof *x);
      labels[i] = d->t[row];
    }
    float loss;
    learn_train_io io = {.x = x, .labels = labels, .lr = NULL /* as compiled */, .loss = &loss};
    must(learn_train(&io, state, scratch), "learn_train");
    if (first % d->rows < BATCH) printf("step %zu: loss %.9g\n", first / BATCH, loss);
  }
}

static double accuracy(const digits *d) {
  size_t right = 0;
  must(learn_pack(weights, state), "learn_pack"); /* what was learnt, as learn_run reads it */
  for (size_t i = 0; i < d->rows; i++) {
    float logits[CLASSES];
    learn_run_io io = {.x = d->x + i * PIXELS, .logits = logits};
    must(learn_run(&io, weights, scratch), "learn_run");
    int best = 0;
    for (int k = 1; k < CLASSES; k++)
      if (logits[k] > logits[best]) best = k;
    right += best == d->t[i];
  }
  return 100.0 * (double)right / (double)d->rows;
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: train DATA\n"), 2;
  digits seen = load(argv[1], "train"), unseen = load(argv[1], "test");
  must(learn_state_init(state, 1), "learn_state_init");
  train(&seen);
  printf("test accuracy: %.1f %%\n", accuracy(&unseen));
  free(seen.x), free(seen.t), free(unseen.x), free(unseen.t);
  return 0;
}
