/* raise.h: inside the pass `raise`: what its two halves share. */
#ifndef LT_RAISE_H
#define LT_RAISE_H
#include "ir/pass/pass.h"
#include "ir/pass/view.h"

/* By value of the new graph. ANCHOR: something is differentiated in it, so nobody may compute past it. SHARED: more
 * than one reader. SEEN: a result of this pass, behind whose movement elementwise ops are pulled. */
enum { LT_ANCHOR = 1, LT_SHARED = 2, LT_SEEN = 4 };

typedef struct lt_raiser {
  lt_graph *to;
  const lt_graph *from;
  const bool *anchor;     /* by value of the old graph */
  const uint32_t *uses;   /* likewise */
  LT_VEC(uint8_t) mark;   /* by value of the new one */
  LT_VEC(lt_view *) view; /* likewise: those found so far */
} lt_raiser;

/* Marks, and views that look no further than the next anchor (raise.c). */
void lt_raise_mark(lt_raiser *s, lt_value v, unsigned mark);
bool lt_raise_is(const lt_raiser *s, lt_value v, unsigned mark);
void lt_raise_view(lt_view *out, lt_raiser *s, lt_value v);

/* What n (of the old graph, operands in[] of the new one) spells out, as a view of one op; 0: nothing known. */
lt_value lt_recognise_product(lt_raiser *s, const lt_node *n, const lt_value *in); /* linear, matmul over im2col */
lt_value lt_recognise_fold(lt_raiser *s, const lt_node *n, const lt_value *in);    /* col2im of a product */
lt_value lt_recognise_pool(lt_raiser *s, const lt_node *n, const lt_value *in);    /* reduce_max, mean over im2col */

#endif
