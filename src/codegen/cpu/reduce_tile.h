/* reduce_tile.h: chains at several output points at a time: the tile (reduce_tile.c) and the code written out for some
 * reduced elements of all its points (reduce_taps.c). */
#ifndef LT_REDUCE_TILE_H
#define LT_REDUCE_TILE_H
#include "codegen/cpu/reduce.h"

typedef struct lt_reach { int64_t lo, hi; } lt_reach;

typedef struct lt_points {
  const lt_reduction *r;
  lt_kernel flat;              /* the kernel, what it reduces read without guards: for addresses */
  unsigned first, dims;        /* output dims that the tile spans: [first, first + dims) */
  int64_t size[LT_MAX_DIMS];   /* points along these */
  unsigned n;                  /* their product */
  lt_reach reach[LT_MAX_DIMS]; /* what each dim's index can be where code now stands, displacements not counted */
  LLVMValueRef frame;          /* totals of runs; results, where the epilogue is a loop */
} lt_points;

/* Point j of the tile, along its dims. */
void lt_points_place(const lt_points *t, lt_point *p, unsigned j);
bool lt_points_differ(const lt_points *t, const lt_access *a); /* does a move from point to point? */
/* Does every guard that depends on dim d hold for all points and elements, d's index being in `reach`? */
bool lt_points_inside(const lt_points *t, unsigned d, lt_reach reach);
/* All points take `n` elements of the reduced dims from `dim` on, p being where they begin. */
void lt_points_take(const lt_points *t, lt_sums *s, const lt_point *p, unsigned dim, int64_t n);
/* Can what k reduces be addressed without its guards? Then *flat does. */
bool lt_points_flat(lt_kernel *flat, lt_arena *a, const lt_kernel *k);
#endif
