/* pairwise.h: sums of runs, added pairwise, in the function's frame (plan.h says in which order; reduce.c uses it).
 *
 * A run gives `parts` vectors of 16 lanes: 16 of them where outputs lie in the lanes, 1 where partial sums do. Run r is
 * added to what waits at level 0, 1, … as often as r ends in ones, and then waits at the level of its lowest 0: what
 * waits after n runs are the levels of n's ones. So the code is short, whatever n is. A few runs of one vector may be
 * written out instead, each with a constant number, and then stay in registers. */
#ifndef LT_PAIRWISE_H
#define LT_PAIRWISE_H
#include "codegen/cpu/emit.h"

enum { LT_PAIRWISE_FEW = 4 };

typedef struct lt_pairwise {
  lt_dtype type;
  unsigned parts;
  int64_t runs;
  LLVMValueRef waiting, turned; /* [level][part] vectors; all partial sums twice */
  LLVMValueRef *few;            /* by level: what waits; NULL: that is in the frame */
} lt_pairwise;

/* In the entry block. few: the runs are written out, their ends known. */
void lt_pairwise_begin(lt_ll *l, lt_pairwise *p, lt_dtype t, unsigned parts, int64_t runs, bool few);
/* Partial sums into their order: that of element `end`, an i64, stands first. */
void lt_pairwise_turn(lt_ll *l, const lt_pairwise *p, LLVMValueRef *part, LLVMValueRef end);
void lt_pairwise_push(lt_ll *l, const lt_pairwise *p, const LLVMValueRef *part, LLVMValueRef run);
void lt_pairwise_sum(lt_ll *l, const lt_pairwise *p, LLVMValueRef *part); /* of all runs */
#endif
