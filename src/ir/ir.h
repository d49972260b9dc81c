/* ir.h: all of the graph: types (type.h) → ops and their attributes (op.h) → constant data (data.h) → nodes, values,
 * graphs (graph.h) → the interpreter (tensor.h), and what is done with whole graphs: print, verify, compare,
 * differentiate. */
#ifndef LT_IR_H
#define LT_IR_H

#include "ir/data.h"
#include "ir/graph.h"
#include "ir/op.h"
#include "ir/tensor.h"
#include "ir/type.h"

/* ---- print, verify, compare (print.c, verify.c, equal.c) ------------------------------------------------------- */

/* The network in the text language; canonical: equal graphs print the same, and reading the text gives an equal graph.
 * Named values keep their names, others are v1, v2 … (skipping taken ones); scalar f32 constants stand inline. Clusters
 * and what `choose` decided, when present, are printed as notes: @cluster(3), @layout(blocked, [1, 1, 1, 1]) … */
void lt_print(lt_str *out, const lt_graph *g);
void lt_print_node(lt_str *out, const lt_graph *g, const lt_node *n); /* one statement, for messages */
void lt_print_name(lt_str *out, const char *name);                    /* in backticks where not an identifier */
void lt_print_string(lt_str *out, const char *text);                  /* "…" with \" \\ \n \t */
void lt_print_data(lt_str *out, const lt_data *d); /* data(…), or nested lists; a scalar without brackets */
/* an unnamed finite f32 scalar: stands as a number */
bool lt_is_inline_const(const lt_graph *g, lt_value v);
/* Check every invariant again from scratch; fails the job with LATHE_E_INTERNAL naming the pass `after`. */
void lt_verify(lt_graph *g, const char *after);
bool lt_graph_equal(const lt_graph *a, const lt_graph *b); /* up to names of unnamed values */
uint64_t lt_graph_hash(const lt_graph *g);

/* ---- gradients (pass/autodiff.c and vjp hooks) ------------------------------------------------------------------ */

struct lt_vjp { lt_graph *g; }; /* hooks emit into v->g; gin[i] = 0 means no gradient flows */
/* Append the gradients of sum_i(y[i] * seed[i]) (seed NULL or seed[i] 0: ones) in wrt[0..n) to g: out[i] always has
 * wrt[i]'s type, zeros where nothing flows. The result can be differentiated again. */
void lt_gradients(lt_graph *g, lt_value *out, const lt_value *y, const lt_value *seed, unsigned ny, const lt_value *wrt,
                  unsigned n);

/* docs/ops.md from the op table (op_doc.c). */
void lt_ops_doc(lt_str *out);

#endif
