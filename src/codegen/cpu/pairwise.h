/* pairwise.h: sums of runs, added pairwise (plan.h says in which order; reduce_runs.c uses it).
 *
 * Run r is added to what waits at level 0, 1, … as often as r ends in ones, and then waits at the level of its lowest
 * 0: what waits after n runs are the levels of n's ones. Runs that are written out wait in registers (lt_tree). A loop
 * over runs, or over groups of 2^g of them that a tree has added, has them wait in the function's frame: the code is
 * short, whatever their number is. */
#ifndef LT_PAIRWISE_H
#define LT_PAIRWISE_H
#include "codegen/cpu/emit.h"

enum { LT_TREE_LEVELS = 8 };

/* Runs known by number: up to 2^LT_TREE_LEVELS - 1, each `parts` vectors. */
typedef struct lt_tree {
  unsigned parts;
  int64_t runs;
  LLVMValueRef wait[LT_TREE_LEVELS][LT_LANES];
} lt_tree;

void lt_tree_add(lt_ll *l, lt_tree *t, const LLVMValueRef *part);
void lt_tree_sum(lt_ll *l, const lt_tree *t, LLVMValueRef *part);

/* Levels of `parts` vectors each in the frame: 16 where outputs lie in the lanes, 1 where partial sums do. */
typedef struct lt_pairwise {
  lt_dtype type;
  unsigned parts;
  int64_t runs;
  LLVMValueRef waiting; /* [level][part] */
} lt_pairwise;

void lt_pairwise_begin(lt_ll *l, lt_pairwise *p, lt_dtype t, unsigned parts, int64_t runs); /* in the entry block */
/* n of the partial sums of group `number` of 2^level runs; place[i]: where part[i] stands in a level, in elements. */
void lt_pairwise_push(lt_ll *l, const lt_pairwise *p, const LLVMValueRef *part, const LLVMValueRef *place, unsigned n,
                      unsigned level, LLVMValueRef number);
void lt_pairwise_sum(lt_ll *l, const lt_pairwise *p, LLVMValueRef *part); /* of all runs */
#endif
