/* winograd.h: convolutions of 3x3 taps by Winograd's short filters, F(tile x tile, 3x3): the matrices and the sizes
 * (A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015; points 0, 1, -1, for tile 4 also 2,
 * -2).
 *
 *   y = out·((filter·w·filterᵀ) ∘ (in·d·inᵀ))·outᵀ     d: edge x edge pixels, w: 3x3 taps, y: tile x tile results
 *
 * The products ∘ of all tiles and channels are edge² matrix products: 36 multiplications for 16 results instead of 144,
 * or 16 for 4 instead of 36. Tiles stand side by side; the last ones may reach past the image, where zeros are. */
#ifndef LT_IR_WINOGRAD_H
#define LT_IR_WINOGRAD_H
#include "ir/window.h"

enum { LT_WINOGRAD_TAPS = 3, LT_WINOGRAD_EDGE = 6 }; /* EDGE: the largest */

/* Rows of `in` [edge][edge] and of `filter` [edge][3] come in pairs that differ in the sign of odd columns only, those
 * of the points p and -p; so do columns of `out` [tile][edge]. A pair's first is row 1, then 3. */
typedef struct lt_winograd {
  int64_t tile, edge; /* edge = tile + 2 */
  const double *in, *filter, *out;
} lt_winograd;
const lt_winograd *lt_winograd_of(int64_t tile); /* NULL: there is none */

/* How an image with a border is cut: result pixels are [rows·tile, cols·tile] or fewer along each axis. */
typedef struct lt_tiles {
  int64_t images, rows, cols, all; /* all = images·rows·cols; tile t is (image, row, col), row-major */
  int64_t after[2];                /* pixels past the image that the last tiles look at */
} lt_tiles;
/* x is the image [N, C, H, W], pad its border; what lt_need_window has accepted for a 3x3 window. */
lt_tiles lt_tiles_of(const lt_winograd *w, const lt_type *x, const lt_quad *pad);
#endif
