/* runs.c: the cut itself (runs.h). */
#include "plan/runs.h"

/* The dims behind `dim` all lie in one run, so their product is small and no product here overflows. */
lt_runs lt_runs_within(const int64_t *extent, unsigned n, int64_t most) {
  lt_runs r = {0, 1};
  int64_t inside = 1;
  for (unsigned d = n; d-- > 0;) {
    r = (lt_runs){(uint8_t)d, most / inside < extent[d] ? most / inside : extent[d]};
    if (r.per < extent[d]) break;
    inside *= extent[d];
  }
  return r;
}

lt_runs lt_runs_of(const int64_t *extent, unsigned n) { return lt_runs_within(extent, n, LT_RUN); }

lt_runs lt_runs_even(const int64_t *extent, unsigned n) {
  lt_runs r = lt_runs_within(extent, n, LT_RUN_CONTRACT);
  if (n == 0 || r.per == extent[r.dim]) return r;
  int64_t runs = (extent[r.dim] + r.per - 1) / r.per, even = (extent[r.dim] + runs - 1) / runs;
  if (r.dim == n - 1u) even = (even < LT_RUN_CONTRACT - 15 ? even + 15 : LT_RUN_CONTRACT) / 16 * 16;
  r.per = even;
  return r;
}

int64_t lt_runs_count(const lt_runs *r, const int64_t *extent, unsigned n) {
  if (n == 0 || r->per == 0) return 1;
  int64_t count = (extent[r->dim] + r->per - 1) / r->per;
  for (unsigned d = 0; d < r->dim; d++) count *= extent[d];
  return count;
}

bool lt_runs_one(const lt_runs *r, const int64_t *extent, unsigned n) { return lt_runs_count(r, extent, n) == 1; }
