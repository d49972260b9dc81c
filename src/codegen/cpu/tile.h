/* tile.h: how a contraction is cut: into tasks, by its shape alone, and inside a task into register tiles, by the
 * target.
 *
 * A register tile is some output points ("pixels": consecutive ones of the rows x cols plane, so a tile may run on into
 * the next row) times some blocks of 16 lanes. Its accumulators stay in registers over each run of K. Since every
 * output has its own sum along K, no choice made here changes a bit of the result. */
#ifndef LT_TILE_H
#define LT_TILE_H
#include "plan/plan.h"
#include "codegen/target.h"

enum { LT_TILE_MAX = 32 }; /* accumulators of 16 lanes in a tile */

/* Geometry and tasks. A plane with a single row is turned: its columns become rows of one pixel. A plane that hardly
 * fills a tile becomes a row itself, beside the planes of another dim along which B stays the same (2x2 pixels of 8
 * images are 8 rows of 4 columns): else B would be read anew for every few pixels. */
typedef struct lt_cut {
  /* dims; row, col, block may be LT_NONE (extent 1; blocks counted in the lane dim) */
  int row, col, block, lane;
  int side; /* LT_NONE, or the dim whose iterations are side by side, each with all `blocks` (lt_contract.side_dim) */
  int64_t rows, cols, blocks, sides;
  int plane;         /* LT_NONE, or the dim of the rows inside a row that is a plane: columns are plane·width + col */
  int64_t width;     /* cols where no row is a plane */
  unsigned tail;     /* live lanes of the last block, 1..16 */
  bool tail_matters; /* its missing lanes must not be touched */
  int n_outer, outer_dim[LT_MAX_DIMS]; /* all other output dims, outermost first, but those inside */
  int64_t outer;                       /* their product */
  /* Dims of pixels that a task walks around its rows: beside a border those that all pixels of a tile share. */
  int n_inside, inside_dim[2];
  int64_t inside; /* their product */
  int64_t depth;  /* products per output */
  int64_t apart;  /* elements from lane to lane of B */
  double of_a;    /* elements of A that one iteration of the outer dims reads */
  int64_t step;   /* bytes from a pixel's operand A to the next one's */
  /* per task; the last ones may be smaller */
  int64_t task_rows, task_blocks, task_sides;
  int64_t row_groups, block_groups, side_groups;
  /* task = (block group, outer, side group, row group), else (outer, side group, row group, block group) */
  bool blocks_first;
} lt_cut;

void lt_cut_of(lt_cut *out, const lt_kernel *k);
/* Is an operand of so many elements read from far away each time? */
bool lt_large_operand(const lt_kernel *k, double elements);

/* Tiles: `group` whole rows at a time, their pixels in equal parts of at most `pixels`, `blocks` blocks side by
 * side, of each of `sides` sides: several only where these are all the blocks that there are. */
typedef struct lt_tiling { int64_t group, pixels, blocks, sides; } lt_tiling;

void lt_tile_solve(lt_tiling *out, const lt_cut *c, const lt_target *t, lt_dtype acc);
/* Registers that hold 16 lanes. */
int64_t lt_tile_vectors(const lt_target *t, lt_dtype acc);
/* Most pixels that `blocks` blocks leave room for in t's registers; at least 1. */
int64_t lt_tile_room(const lt_target *t, lt_dtype acc, int64_t blocks);

/* The tiles of `rows` whole rows, in order: tile i has `len` pixels from flat pixel `start`. */
typedef struct lt_tile { int64_t start, len; } lt_tile;
int64_t lt_tile_count(const lt_tiling *s, int64_t rows, int64_t cols);
lt_tile lt_tile_at(const lt_tiling *s, int64_t rows, int64_t cols, int64_t i);
/* Where in a row the tile's shape begins: tiles of equal length and phase are the same code. 0 if it stays in its
 * row, which is no plane. */
int64_t lt_tile_phase(lt_tile t, const lt_cut *c);
#endif
