/* turn.h: elements that lie across the lanes, turned in registers.
 *
 * In y[i, j] = x[j, i] 16 lanes of i are 16 rows of x, one element of each: 16 loads. Where x is contiguous along j, 16
 * rows of 16 are loaded and turned: 16 loads for 256 elements. The other side of a turn is usually a tile in the frame,
 * which holds the lanes of one j after the other. */
#ifndef LT_TURN_H
#define LT_TURN_H
#include "codegen/llvm_util.h"

enum { LT_TURN_WORTH = 4 }; /* columns from which on turning takes less than one element after the other */

/* to[j·back + i] = from[i·step + j] for i < rows, j < cols, both at most 16: a call of a function that the module's
 * kernels share. */
void lt_emit_turn(lt_ll *l, lt_dtype t, unsigned rows, unsigned cols, LLVMValueRef from, int64_t step, LLVMValueRef to,
                  int64_t back);
/* n vectors of 16 lanes in the frame; at the function's entry. */
LLVMValueRef lt_emit_frame_tile(lt_ll *l, lt_dtype t, int64_t n);
/* The address of vector `row` + `plus` of such a tile (row NULL: 0). */
LLVMValueRef lt_emit_tile_row(lt_ll *l, LLVMValueRef tile, LLVMValueRef row, int64_t plus, lt_dtype t);
#endif
