/* compare.c: two arrays element by element: |a-b| <= atol + rtol*|b|, NaN equals NaN. */
#include "cli.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

double value_at(lathe_dtype t, const void *data, int64_t i) {
  switch (t) {
  case LATHE_F32: return ((const float *)data)[i];
  case LATHE_F64: return ((const double *)data)[i];
  case LATHE_I32: return ((const int32_t *)data)[i];
  case LATHE_I64: return (double)((const int64_t *)data)[i];
  case LATHE_BOOL: return ((const uint8_t *)data)[i] != 0;
  }
  return NAN;
}

int64_t integer_at(lathe_dtype t, const void *data, int64_t i) {
  switch (t) {
  case LATHE_I32: return ((const int32_t *)data)[i];
  case LATHE_I64: return ((const int64_t *)data)[i];
  case LATHE_BOOL: return ((const uint8_t *)data)[i] != 0;
  case LATHE_F32:
  case LATHE_F64: break;
  }
  assert(!"integers");
  return 0;
}

bool is_float(lathe_dtype t) {
  switch (t) {
  case LATHE_F32:
  case LATHE_F64: return true;
  case LATHE_I32:
  case LATHE_I64:
  case LATHE_BOOL: break;
  }
  return false;
}

/* How far beyond its tolerance: <= 0 is fine. */
static double excess(double a, double b, double rtol, double atol) {
  if (isnan(a) && isnan(b)) return 0;
  if (a == b) return 0; /* infinities too */
  double d = fabs(a - b), allowed = atol + rtol * fabs(b);
  if (isnan(d) || isinf(b)) return INFINITY;
  return d <= allowed ? 0 : d - allowed;
}

difference compare_values(lathe_dtype t, const void *got, const void *want, int64_t n, double rtol, double atol) {
  difference r = {.count = n};
  double most = 0;
  for (int64_t i = 0; i < n; i++) {
    double a = value_at(t, got, i), b = value_at(t, want, i), x = excess(a, b, rtol, atol);
    if (fabs(a - b) > r.largest) r.largest = fabs(a - b);
    if (x > 0) r.bad++;
    if (x <= most) continue;
    most = x;
    r.worst = i, r.got = a, r.want = b;
  }
  return r;
}

char *index_text(int rank, const int64_t *dim, int64_t flat) {
  int64_t index[LATHE_MAX_RANK];
  for (int i = rank - 1; i >= 0; i--) index[i] = flat % dim[i], flat /= dim[i];
  char text[LATHE_MAX_RANK * 24 + 4] = "[";
  size_t n = 1;
  for (int i = 0; i < rank; i++)
    n += (size_t)snprintf(text + n, sizeof text - n, "%s%lld", i ? ", " : "", (long long)index[i]);
  snprintf(text + n, sizeof text - n, "]");
  return need(strdup(text));
}
