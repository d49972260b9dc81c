/* op_meta.c: nodes about other nodes: gradients, which stand for the graph that computes them, and layouts, which
 * change where elements stand in memory and nothing else. */
#include "ir/op_util.h"

LT_INFER(grad) {
  lt_grad_check(g, &in[0], &in[1], 1, in + 2, n_in - 2);
  for (unsigned i = 2; i < n_in; i++) out_type[i - 2] = *lt_type_of(g, in[i]);
  *n_out = n_in - 2;
}
LT_EVAL(grad) {
  lt_fail(e->job, LATHE_E_UNSUPPORTED, &n->loc, "grad has no value of its own\nhelp: run the pass autodiff first");
}
LT_EXPAND(grad) { lt_gradients_after(g, out, &in[0], &in[1], 1, in + 2, n->n_in - 2u, 0); }

LT_INFER(layout) { *out_type = *lt_type_of(g, in[0]); }
LT_EVAL(layout) { lt_tensor_assign(out[0], in[0]); }
LT_VJP(layout) { gin[0] = gout[0]; }
