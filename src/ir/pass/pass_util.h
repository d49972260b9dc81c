/* pass_util.h: small questions about values that several passes ask. Included by passes only. */
#ifndef LT_PASS_UTIL_H
#define LT_PASS_UTIL_H
#include "ir/pass/pass.h"

/* The elements of a constant; NULL when v is none. */
static inline const lt_data *lt_const_of(const lt_graph *g, lt_value v) {
  const lt_node *n = lt_node_of(g, v);
  return n->op == LT_OP_const ? ((const lt_const_attrs *)n->attrs)->value : NULL;
}

/* Is v one number everywhere: a constant of one element, or such a one repeated (rewrite.c)? */
bool lt_splat_of(const lt_graph *g, lt_value v, double *number);

#endif
