/* print_api.h: other forms in which lathe_print shows a graph. */
#ifndef LT_PRINT_API_H
#define LT_PRINT_API_H
#include "driver/pipeline.h"

void lt_dot_print(lt_str *out, const lt_graph *g);  /* Graphviz */
void lt_info_print(lt_str *out, const lt_graph *g); /* a line per op */

#endif
