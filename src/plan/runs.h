/* runs.h: where long sums are cut into runs (design.md, "One answer").
 *
 * The iterations of a sum's nest, outermost dim first, are cut into runs of at most so many of them: one dim is cut,
 * every `per` iterations of it, with all that lies inside, are a run, and each iteration of the dims around begins a
 * new one. For runs of at most 512:
 *
 *   extents 8 56 56    dim 1, per 9: a run is 9 rows of 56, the last one of an image 2 rows
 *   extents 4 3 3 16   dim 0, per 3: two runs, of 432 and 144
 *   extents 3 3 7      dim 0, per 3: all of it is one run
 *
 * Cuts follow from the shape alone. */
#ifndef LT_PLAN_RUNS_H
#define LT_PLAN_RUNS_H
#include <stdbool.h>
#include <stdint.h>

/* Iterations of a run: of a chain; of 16 partial sums together, 8 each; of a contraction, where 7x7 taps of 3 channels
 * are one, and 3x3 of 16 are 144. A chain of n equal numbers errs by up to n/2 roundings, all the same way: 8 of them
 * keep a mean of 0.1 within 1e-7 whatever its length, 16 do not. */
enum { LT_RUN = 512, LT_RUN_PARTS = 128, LT_RUN_CONTRACT = 147 };

typedef struct lt_runs { uint8_t dim; int64_t per; } lt_runs; /* per: 1 to extent[dim]; 0: of a nest that is not cut */

lt_runs lt_runs_of(const int64_t *extent, unsigned n); /* at most LT_RUN */
lt_runs lt_runs_within(const int64_t *extent, unsigned n, int64_t most);
/* At most LT_RUN_CONTRACT: as many as that takes but about equally long, in sixteens where the innermost dim is cut. */
lt_runs lt_runs_even(const int64_t *extent, unsigned n);
bool lt_runs_one(const lt_runs *r, const int64_t *extent, unsigned n); /* the sum is a single run */
int64_t lt_runs_count(const lt_runs *r, const int64_t *extent, unsigned n);
#endif
