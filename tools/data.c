/* data.c: training and test data: rows of two arrays, labels checked, the order of an epoch. */
#include "train.h"

#include <stdlib.h>
#include <string.h>

static size_t row_bytes(const lathe_array *a) { return (size_t)count_of(a->rank - 1, a->dim + 1) * size_of(a->dtype); }

dataset load_dataset(const cli *c, const char *x_flag, const char *t_flag, const lathe_port *x, const lathe_port *t) {
  dataset d = {.x = load_for_port(c, text_of(c, x_flag, NULL), x, true),
               .t = load_for_port(c, text_of(c, t_flag, NULL), t, true)};
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

int64_t label_at(const dataset *d, int64_t row) { return integer_at(d->t.dtype, d->t.data, row); }

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

static void order_rows(feed *f) {
  int64_t rows = f->d->rows;
  for (int64_t i = 0; i < rows; i++) f->order[i] = i;
  if (!f->shuffle) return;
  uint64_t state = f->seed;
  state = next_random(&state) + (uint64_t)f->epoch;
  for (int64_t i = rows - 1; i > 0; i--) { /* Fisher and Yates; the bias of % is below 2^-40 for any file */
    int64_t j = (int64_t)(next_random(&state) % (uint64_t)(i + 1)), kept = f->order[i];
    f->order[i] = f->order[j];
    f->order[j] = kept;
  }
}

feed feed_start(const dataset *d, uint64_t seed, bool shuffle) {
  return (feed){d, need(malloc((size_t)d->rows * sizeof(int64_t))), -1, seed, shuffle};
}

void feed_end(feed *f) { free(f->order); }

void feed_take(feed *f, int64_t first, int64_t n, char *x, char *labels) {
  const dataset *d = f->d;
  for (int64_t i = 0; i < n; i++) {
    int64_t epoch = (first + i) / d->rows;
    if (epoch != f->epoch) f->epoch = epoch, order_rows(f);
    size_t row = (size_t)f->order[(first + i) % d->rows];
    memcpy(x + (size_t)i * d->x_row, (const char *)d->x.data + row * d->x_row, d->x_row);
    memcpy(labels + (size_t)i * d->t_row, (const char *)d->t.data + row * d->t_row, d->t_row);
  }
}
