/* run_sums.h: sums of runs as plan.h has them, in double: add to `part`, end each run, ask for the sum. */
#ifndef LT_RUN_SUMS_H
#define LT_RUN_SUMS_H
#include "plan/plan.h"

/* Runs of sums: what waits to be added is totals[0..waiting) of each partial sum. */
typedef struct run_sums { double part[LT_LANES], total[64][LT_LANES]; int64_t runs; int waiting; } run_sums;

static inline void add_lanes(double *to, const double *from) {
  for (int j = 0; j < LT_LANES; j++) to[j] += from[j];
}

static inline void end_run(run_sums *s, bool tree) {
  memcpy(s->total[s->waiting++], s->part, sizeof s->part);
  memset(s->part, 0, sizeof s->part);
  for (int64_t r = s->runs++; s->waiting > 1 && (!tree || r & 1); r >>= 1, s->waiting--)
    add_lanes(s->total[s->waiting - 2], s->total[s->waiting - 1]);
}

static inline double end_sum(run_sums *s) {
  for (; s->waiting > 1; s->waiting--) add_lanes(s->total[s->waiting - 2], s->total[s->waiting - 1]);
  double *part = s->total[0];
  for (int apart = LT_LANES / 2; apart; apart /= 2)
    for (int j = 0; j < apart; j++) part[j] += part[j + apart];
  return part[0];
}

/* Of a contraction: does a run begin at iteration i of segment s? */
static inline bool begins_run(const lt_contract *x, unsigned s, const int64_t *i) {
  const lt_kseg *g = &x->seg[s];
  if (!x->cut && s > 0) return false;
  for (int d = x->cut ? g->run.dim + 1 : 0; d < g->n; d++)
    if (i[d]) return false;
  return !x->cut || i[g->run.dim] % g->run.per == 0;
}
#endif
