/* data.c: training and test data: rows of two arrays, labels checked, the order of an epoch. */
#include "train.h"

#include <stdlib.h>

static size_t row_bytes(const lathe_array *a) { return (size_t)count_of(a->rank - 1, a->dim + 1) * size_of(a->dtype); }

dataset load_dataset(const cli *c, const char *x_flag, const char *t_flag, const lathe_port *x, const lathe_port *t) {
  dataset d = {
    .x = load_for_port(c, text_of(c, x_flag, NULL), x, true), .t = load_for_port(c, text_of(c, t_flag, NULL), t, true)};
  d.rows = d.x.dim[0];
  if (d.rows != d.t.dim[0])
    fail_work(c, "--%s has %lld rows, but --%s has %lld", x_flag, (long long)d.rows, t_flag, (long long)d.t.dim[0]);
  if (d.rows == 0) fail_work(c, "--%s has no rows", x_flag);
  d.x_row = row_bytes(&d.x);
  d.t_row = row_bytes(&d.t);
  return d;
}

void free_dataset(dataset *d) {
  lathe_free(d->x.data);
  lathe_free(d->t.data);
}

int64_t label_at(const dataset *d, int64_t row) {
  return d->t.dtype == LATHE_I64 ? ((const int64_t *)d->t.data)[row] : ((const int32_t *)d->t.data)[row];
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

void order_rows(int64_t *order, int64_t rows, uint64_t seed, int64_t epoch, bool shuffle) {
  for (int64_t i = 0; i < rows; i++) order[i] = i;
  if (!shuffle) return;
  uint64_t state = seed;
  state = next_random(&state) + (uint64_t)epoch;
  for (int64_t i = rows - 1; i > 0; i--) { /* Fisher and Yates; the bias of % is below 2^-40 for any file */
    int64_t j = (int64_t)(next_random(&state) % (uint64_t)(i + 1)), kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
}
