/* autodiff.c: `grad` nodes become the graph they stand for. Nodes are visited in order, so what a grad node
 * differentiates has lost its own grad nodes already: innermost first. */
#include "ir/pass/pass.h"

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  if (n->op != LT_OP_grad) return false;
  lt_gradients(r->to, &r->map[n->out], &in[0], &in[1], 1, in + 2, n->n_in - 2u);
  return true;
}

void lt_pass_autodiff(lt_graph *to, const lt_graph *from) { lt_rewrite_graph(to, from, visit, NULL); }
