/* lower_gemm.h: products of a matmul whose left operand and result are parts of its own, in scratch. */
#ifndef LT_LOWER_GEMM_H
#define LT_LOWER_GEMM_H
#include "plan/build.h"

/* Matrices [E] of `rows` rows that stand `step` elements apart. */
typedef struct lt_row_matrices { uint32_t buffer; int64_t rows, step; } lt_row_matrices;

/* Rows [E, from->rows, C] times the right operand [E, C, N] of the matmul n, into to; both steps are those of whole
 * blocks of 16. */
void lt_lower_products(lt_builder *b, const lt_unit *u, const lt_node *n, const lt_row_matrices *from,
                       const lt_row_matrices *to);
#endif
