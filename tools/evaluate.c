/* evaluate.c: a trained network on data it has not seen: which rows it reads wrongly, and as what. */
#include "train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool any_nan(lathe_dtype t, const void *data, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (isnan(value_at(t, data, i))) return true;
  return false;
}

/* The first largest. */
static int argmax(lathe_dtype t, const void *data, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++)
    if (value_at(t, data, i) > value_at(t, data, best)) best = i;
  return (int)best;
}

/* -log softmax(logits)[label]. */
static double cross_entropy(lathe_dtype t, const void *logits, int64_t n, int64_t label) {
  double most = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; i++) most = fmax(most, value_at(t, logits, i));
  for (int64_t i = 0; i < n; i++) sum += exp(value_at(t, logits, i) - most);
  return most + log(sum) - value_at(t, logits, label);
}

static void count_row(evaluation *v, const lathe_port *out, const char *logits, const dataset *d, int64_t row) {
  int64_t is = label_at(d, row);
  if (is < 0) return;
  v->rows++;
  v->loss += cross_entropy(out->dtype, logits, v->classes, is);
  if (any_nan(out->dtype, logits, v->classes)) { /* no class is the largest */
    v->unread++, v->loss = (double)NAN;
    return;
  }
  int said = argmax(out->dtype, logits, v->classes);
  v->confusion[is * v->classes + said]++;
  if (said == is) v->right++;
  else v->wrong[v->n_wrong++] = (misread){row, said, (int)is};
}

static void add_squares(evaluation *v, const lathe_port *out, const char *row_out, const dataset *d, int64_t row) {
  int64_t n = (int64_t)(d->t_row / size_of(d->t.dtype));
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    double e = value_at(out->dtype, row_out, i) - value_at(d->t.dtype, d->t.data, row * n + i);
    sum += e * e;
  }
  v->error += sum / (double)n;
  v->rows++;
}

void check_test_labels(const cli *c, const lathe_port *out, const dataset *d) {
  int64_t counted = 0;
  for (int64_t i = 0; i < d->rows; i++) {
    int64_t is = label_at(d, i);
    counted += is >= 0;
    if (is >= out->dim[1])
      fail_work(c, "--test-labels: label %lld (row %lld), but output '%s' tells %lld classes apart", (long long)is,
                (long long)i, out->name, (long long)out->dim[1]);
  }
  if (!counted) fail_work(c, "--test-labels: all labels are negative, so no row counts");
}

static evaluation empty(const lathe_port *out, const dataset *d) {
  evaluation v = {.classes = 0};
  if (is_float(d->t.dtype)) return v;
  v.classes = out->dim[1];
  v.confusion = need(calloc((size_t)(v.classes * v.classes), sizeof *v.confusion));
  v.wrong = need(calloc((size_t)d->rows, sizeof *v.wrong));
  return v;
}

evaluation evaluate(const cli *c, lathe_instance *run, const lathe_port *x, const lathe_port *out, const dataset *d) {
  evaluation v = empty(out, d);
  char *in = buffer_of(c, run, x->name);
  const char *result = buffer_of(c, run, out->name);
  int64_t batch = x->dim[0];
  size_t out_row = (size_t)(out->bytes / batch);
  for (int64_t first = 0; first < d->rows; first += batch) {
    int64_t n = d->rows - first < batch ? d->rows - first : batch;
    memset(in, 0, (size_t)batch * d->x_row);
    memcpy(in, (const char *)d->x.data + (size_t)first * d->x_row, (size_t)n * d->x_row);
    call_entry(c, run, "run");
    for (int64_t i = 0; i < n; i++)
      if (v.classes) count_row(&v, out, result + (size_t)i * out_row, d, first + i);
      else add_squares(&v, out, result + (size_t)i * out_row, d, first + i);
  }
  if (isnan(v.error)) v.error = (double)NAN; /* of one sign, for what prints it */
  if (!v.classes) v.loss = v.error /= (double)v.rows;
  else v.loss /= (double)v.rows;
  return v;
}

void free_evaluation(evaluation *v) {
  free(v->confusion);
  free(v->wrong);
}

double accuracy(const evaluation *v) { return 100.0 * (double)v->right / (double)v->rows; }

void print_confusion(const evaluation *v) {
  printf("\nis\\read as");
  for (int64_t s = 0; s < v->classes; s++) printf("%6lld", (long long)s);
  printf("\n");
  for (int64_t i = 0; i < v->classes; i++) {
    printf("%10lld", (long long)i);
    for (int64_t s = 0; s < v->classes; s++) {
      long long n = v->confusion[i * v->classes + s];
      if (n) printf("%6lld", n);
      else printf("     ·");
    }
    printf("\n");
  }
  printf("\n");
}
