/* entry.h: an entry (run, grad, train) of a network, built as an ordinary graph.
 *
 *   network ─┬─ run    chosen outputs
 *            ├─ grad   gradients of them in every float input and every param (and Hessian-vector products)
 *            └─ train  a loss, its gradients in the params, the optimizer's updates
 *
 * The result holds only the inputs, params and states that its outputs and updates need. */
#ifndef LT_ENTRY_H
#define LT_ENTRY_H
#include "driver/options.h"
#include "ir/ir.h"

typedef enum lt_entry_kind { LT_ENTRY_RUN, LT_ENTRY_GRAD, LT_ENTRY_TRAIN } lt_entry_kind;

/* [NAME=]KIND[:OUT,...][@DIM=V,...] */
typedef struct lt_entry_spec {
  const char *name, *text;
  lt_entry_kind kind;
  lt_texts outputs, dims; /* empty: all outputs; the network's own dimensions */
} lt_entry_spec;

lt_entry_spec lt_entry_parse(lt_job *job, lt_arena *a, const char *text);
/* The entry's graph, with mode set, before any pass; made by lt_graph_new. */
lt_graph *lt_entry_graph(lt_job *job, const lt_graph *network, const lt_entry_spec *spec, const lt_options *o);

/* Append a `grad` node: out[i] is the gradient of sum_k(y[k] * seed[k]) in wrt[i]; seed NULL or seed[k] 0: ones. */
void lt_grad_node(lt_graph *g, lt_value *out, const lt_value *y, const lt_value *seed, unsigned ny, const lt_value *wrt,
                  unsigned n);

/* ---- optimizers (optim.c) ---- */

typedef struct lt_optimizer lt_optimizer;
extern const char lt_hyper_name[];                       /* "lr": the input that is a hyperparameter */
const lt_optimizer *lt_optimizer_find(const char *name); /* NULL: the default */
double lt_optimizer_rate(const lt_optimizer *o);         /* its default lr */
/* Add states and updates: each param[i] moves against grad[i]. Adds the input `lr`. */
void lt_optimizer_emit(lt_graph *g, const lt_optimizer *o, const lt_value *param, const lt_value *grad, unsigned n);
/* Gradients on their way to the optimizer (gradient_hooks.c). Take the params named by --freeze out of param[0..n):
 * returns how many are left. A pattern that matches no param of the network is an error. */
unsigned lt_freeze(lt_graph *g, const lt_graph *network, const lt_options *o, lt_value *param, unsigned n);
/* --weight-decay, then --clip-norm, on grad[0..n) in place. */
void lt_hooks_emit(lt_graph *g, const lt_options *o, const lt_value *param, lt_value *grad, unsigned n);
/* Is `name` a state that an optimizer or the step adds to a network with this param name prefix? For weight files. */
bool lt_optimizer_state(const lt_graph *network, const char *name);
/* Whose state it is ("adam"), by its name; NULL: nobody's. */
const char *lt_optimizer_of(const lt_graph *network, const char *name);
/* The hidden states: i64 scalars made where missing; `step` counts up by one in each call of the entry. */
lt_value lt_hidden_step(lt_graph *g);

#endif
