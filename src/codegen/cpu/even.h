/* even.h: the cut of a contraction made even for several threads. */
#ifndef LT_EVEN_H
#define LT_EVEN_H
#include "codegen/cpu/tile.h"

/* Where threads would wait for each other in c's tasks, others of at most `most_flop` operations (or as large as they
 * are now) take their place. */
void lt_even_tasks(lt_cut *c, double most_flop);
#endif
