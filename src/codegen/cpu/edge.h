/* edge.h: pixels of a tile at known columns, some of them beside a border of zeros: taps that meet only these are left
 * out of their sums (lt_kedge), while the others of the tile have them.
 *
 *   column   0 1 2 3 4      3 taps along a row of 5 pixels, one of zeros on either side: tap 0 adds nothing to column
 *   tap 0    . x x x x      0, tap 2 nothing to column 4
 *   tap 1    x x x x x
 *   tap 2    x x x x .
 *
 * A pixel that has all taps tells whether B may be other than finite where the others leave it out: then its own sum
 * would not be finite either. Only then is B looked at. */
#ifndef LT_EDGE_H
#define LT_EDGE_H
#include "codegen/cpu/along_k.h"
#include "codegen/cpu/epilogue.h"

/* What pixels of the tile leave out, or NULL where it is nothing or not worth it; in l's arena. */
const lt_kedge *lt_edge_of(const lt_rtile *r);
/* After K: the sums [pixel][block] of pixels that left out what is not finite become NaN; they are values, or in
 * `frame` where sum is NULL. */
void lt_emit_edge_blank(lt_ll *l, const lt_ktile *t, LLVMValueRef const *at, LLVMValueRef frame, LLVMValueRef *sum);
#endif
