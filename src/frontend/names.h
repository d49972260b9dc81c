/* names.h: the names that layers have taken so far, so that the next one gets a free one. Shared by all sources of
 * networks. */
#ifndef LT_NAMES_H
#define LT_NAMES_H
#include "ir/ir.h"

/* Zero-initialised is empty; entries live in the graph's arena. */
typedef struct lt_name_table {
  lt_map taken; /* full name → the line it was taken on */
  lt_map next;  /* base → the number that comes next */
} lt_name_table;
typedef struct lt_namer { lt_name_table layers, keys; } lt_namer; /* keys: of the random numbers of dropouts */

/* Take a name for a layer (or, in `keys`, for a stream of random numbers). Exact: as it is, or fail; else with .1, .2
 * … */
const char *lt_namer_take(lt_graph *g, lt_name_table *t, const char *name, bool exact);
/* Keep PREFIX0 … for the n elements of a sequence, so that nothing else is numbered into them. */
void lt_namer_reserve(lt_graph *g, lt_name_table *t, const char *prefix, size_t n);

#endif
