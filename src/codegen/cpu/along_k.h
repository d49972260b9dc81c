/* along_k.h: the sums of one register tile along K: what a micro-kernel does between its addresses and its epilogue.
 *
 * Each output is the sum of its runs, in their order; a run is one chain from zero (plan.h). Accumulators are values
 * carried through the nest of K, the innermost part of it unrolled.
 *
 * What keeps LLVM from spilling: B's vectors first, then per pixel one broadcast and its FMAs; one moving pointer per
 * operand, everything else a constant displacement; bodies of at most BODY_FMA of them; no pass pipeline that could
 * reorder them. Totals of several runs wait in the frame: between runs each is one load, one addition and one store. */
#ifndef LT_ALONG_K_H
#define LT_ALONG_K_H
#include "codegen/cpu/emit.h"
#include "codegen/cpu/tile.h"

/* Of the `all` iterations of the dim of K that is `back` dims before a segment's end, the tile adds n from `lo` on: in
 * the others A is a border's zeros (lt_kborder). At least one is left. */
typedef struct lt_kspan { unsigned back; int64_t all; LLVMValueRef lo, n; } lt_kspan;

/* Iteration i of the dim of K that is `back` dims before a segment's end adds nothing to the pixels whose bits are set
 * in out[i]: they stand so near to a border that A is its zeros. To pixel `whole` all of them add. */
typedef struct lt_kedge { unsigned back; int64_t all, whole; const uint32_t *out; } lt_kedge;

typedef struct lt_ktile {
  const lt_kernel *k;
  const lt_cut *cut;
  int64_t pixels, blocks, pixel_a[LT_TILE_MAX]; /* displacement of each pixel in A */
  int64_t side_blocks;                          /* blocks of a side (tile.h); all of them where there is one */
  unsigned lanes;                               /* of the last block of a side */
  LLVMValueRef a, b;                            /* the operands' buffers */
  /* Elements from the tile's first row of B to rows that will be needed soon, in panels `panel` apart: for every
   * `share` rows that it reads the tile asks for one of each. NULL: it asks for none. */
  LLVMValueRef ahead;
  int64_t share, panel;
  /* Elements of A to lines that will be needed later, and there from a pixel's line to the next one's: the tile asks
   * for them; next_pixel 0: it does not. */
  int64_t next_lines, next_pixel;
  /* Tiles of a task that read the same of A share what they ask for: each one of so many parts of an image's plane,
   * from `part` elements on. 0: they do not. */
  int64_t next_parts;
  LLVMValueRef part;
  unsigned n_span;
  lt_kspan span[2];
  const lt_kedge *edge; /* or NULL (edge.h); no span goes along its dim */
  /* With either: room in the frame for a vector of acc for each block, and an i1: is B known to be finite? */
  LLVMValueRef blank, finite;
} lt_ktile;

/* Where segment g of both operands begins at coordinates `at`. */
typedef struct lt_koperands { LLVMValueRef a, b; } lt_koperands;
lt_koperands lt_segment_at(lt_ll *l, const lt_ktile *t, const lt_kseg *g, LLVMValueRef const *at);
/* At the tile's first coordinates `at`: sum[pixel·blocks + block], 16 lanes of acc each; in `frame`, in this order,
 * where sum is NULL. K in several runs needs the frame either way. */
void lt_emit_along_k(lt_ll *l, const lt_ktile *t, LLVMValueRef const *at, LLVMValueRef frame, LLVMValueRef *sum);
#endif
