/* uses.h: what reads a weight, as far as it says how others would store it. PyTorch and Keras keep the weight of a
 * layer in an order of axes that follows from what the layer is: so a key's ending says whose order a file has, and the
 * op that reads the weight says which order that is (uses.c). Shapes never do: square matrices have two. */
#ifndef LT_USES_H
#define LT_USES_H
#include "ir/ir.h"

typedef enum lt_use_kind {
  LT_USE_NONE,    /* nothing that says anything: arithmetic, losses */
  LT_USE_VECTOR,  /* one number per output or channel: the same for everybody */
  LT_USE_MATRIX,  /* [in, out] */
  LT_USE_TURNED,  /* [out, in] */
  LT_USE_FILTERS, /* of a convolution or a transposed one: [out, in / groups, height, width] and [in, out / groups, …]
                   */
  LT_USE_TABLE,   /* rows that are looked up: the same for everybody */
  LT_USE_MIXED    /* two that disagree */
} lt_use_kind;

/* What the rows of a matrix, or the elements of a vector, are: of an image that was flattened, which others flatten in
 * another order. */
typedef enum lt_rows_kind { LT_ROWS_PLAIN, LT_ROWS_OF_IMAGE, LT_ROWS_UNCLEAR } lt_rows_kind;

typedef struct lt_use {
  lt_use_kind kind;
  lt_rows_kind rows;
  int64_t image[3]; /* channels, height, width of OF_IMAGE */
} lt_use;

/* By value of g. */
lt_use *lt_uses_of(lt_arena *a, const lt_graph *g);

#endif
