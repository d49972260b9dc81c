/* epilogue.h: what a register tile of a contraction does with its sums: bias, batch-norm, residual, activation and the
 * only store.
 *
 * Where few instructions come of it they are written out for each pixel, else they stand in a loop over the pixels.
 * Operands that lie across the lanes (NCHW, where lanes are channels) but are contiguous along the tile's pixels go
 * through tiles in the frame, turned in registers (turn.h). Their rows stand far apart, where no machine looks ahead,
 * so the tile asks for them before it walks K. So it does for lines of large residuals and results where K is short. */
#ifndef LT_EPILOGUE_H
#define LT_EPILOGUE_H
#include "codegen/cpu/emit.h"
#include "codegen/cpu/tile.h"

/* The dims of pixels; where a pixel is along them is told relative to the tile's first one. */
enum { LT_PIXEL_ROW, LT_PIXEL_PLANE, LT_PIXEL_COL, LT_PIXEL_DIMS };

/* A register tile: `len` pixels from phase `phase` of a row, `blocks` blocks in all of `sides` sides, the last one of
 * each of `lanes` lanes. at: its first coordinates. load, store: by instruction and by store, the tile in the frame,
 * [block][pixel][lane], of what is turned, or NULL. looped: the sums are wanted in the frame. */
typedef struct lt_rtile {
  lt_ll *l;
  const lt_kernel *k;
  const lt_cut *cut;
  int64_t len, phase, blocks, sides;
  unsigned lanes;
  LLVMValueRef at[LT_MAX_DIMS], *load, *store;
  bool looped;
} lt_rtile;

/* How far operand a of pixel p is from that of the tile's first one, in elements. */
int64_t lt_rtile_displacement(const lt_rtile *t, const lt_access *a, int64_t p);
/* Instructions of k's epilogue at one point, about; rows: NULL, or what stands elsewhere. */
int64_t lt_epilogue_cost(const lt_kernel *k, const lt_rows *rows);
/* Before K: how the epilogue will be done (load, store, looped), and its far lines asked for. */
void lt_epilogue_begin(lt_rtile *t, const lt_bufs *bufs);
/* After K: sums [pixel][block], as values, or in the frame where the epilogue is looped. */
void lt_emit_tile_epilogue(const lt_rtile *t, const lt_bufs *bufs, const LLVMValueRef *sum, LLVMValueRef frame);
#endif
