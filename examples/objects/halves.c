/* halves.c: the training step in its two halves, as two machines would share it: each takes half of a batch backward,
 * the gradients are averaged, the step is applied. Beside it the same step over the whole batch: the losses and the
 * params stay the same up to rounding.
 *
 *   make build/halves && build/halves DATA      (DATA as for train.c) */
#include "split.h"
#include "npy.h"

enum { BATCH = SPLIT_WHOLE_X_DIM0, HALF = SPLIT_HALF_X_DIM0, PIXELS = SPLIT_HALF_X_COUNT / HALF, STEPS = 200 };

static _Alignas(SPLIT_ALIGN) unsigned char state[SPLIT_STATE_BYTES], alone[SPLIT_STATE_BYTES],
  scratch[SPLIT_SCRATCH_BYTES];
static _Alignas(SPLIT_ALIGN) unsigned char grads[2][SPLIT_GRADS_BYTES];

static void must(int status, const char *what) {
  if (status) fprintf(stderr, "%s: %d\n", what, status), exit(1);
}

/* Gradients are floats, from the first param on; what stands in gaps between them does not matter. An MPI program would
 * call MPI_Allreduce on this range. */
static void average(float *a, const float *b) {
  for (size_t i = SPLIT_CONV_W_OFFSET / sizeof *a; i < SPLIT_GRADS_BYTES / sizeof *a; i++) a[i] = (a[i] + b[i]) / 2;
}

static float step_in_halves(const float *x, const int32_t *t) {
  float loss[2];
  split_half_io io[2];
  for (int h = 0; h < 2; h++) {
    io[h] = (split_half_io){.x = x + h * HALF * PIXELS, .labels = t + h * HALF, .loss = &loss[h]};
    must(split_half_backward(&io[h], state, grads[h], scratch), "split_half_backward");
  }
  average((float *)(void *)grads[0], (const float *)(const void *)grads[1]);
  must(split_half_apply(&io[0], state, grads[0], scratch), "split_half_apply");
  return (loss[0] + loss[1]) / 2;
}

static double largest_difference(void) {
  double most = 0;
  for (size_t i = SPLIT_CONV_W_OFFSET; i < SPLIT_PARAMS_BYTES; i += sizeof(float)) {
    float a, b;
    memcpy(&a, state + i, sizeof a), memcpy(&b, alone + i, sizeof b);
    most = fmax(most, fabs((double)a - (double)b));
  }
  return most;
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: halves DATA\n"), 2;
  char path[1024];
  size_t rows;
  snprintf(path, sizeof path, "%s/train_x.npy", argv[1]);
  float *x = npy_floats(path, &rows);
  snprintf(path, sizeof path, "%s/train_t.npy", argv[1]);
  int32_t *t = npy_labels(path, &rows);
  must(split_state_init(state, 1), "split_state_init");
  must(split_state_init(alone, 1), "split_state_init");
  for (size_t step = 0; step < STEPS; step++) {
    size_t at = step % (rows / BATCH) * BATCH;
    float whole, shared = step_in_halves(x + at * PIXELS, t + at);
    split_whole_io io = {.x = x + at * PIXELS, .labels = t + at, .loss = &whole};
    must(split_whole(&io, alone, scratch), "split_whole");
    if (step % 40 == 0 || step == STEPS - 1) printf("step %zu: loss %.6f in halves, %.6f whole\n", step, shared, whole);
  }
  printf("largest difference of a param: %.3g\n", largest_difference());
  free(x), free(t);
  return 0;
}
