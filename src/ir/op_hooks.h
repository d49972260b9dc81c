/* op_hooks.h: the functions every row of ops.def must have, written in op_<family>.c. A forgotten one is a link error:
 *   lt_infer_<op>   shapes and attributes      lt_eval_<op>   meaning      lt_vjp_<op>   gradient (rows marked DIFF only)
 * Elementwise ops share lt_map_eval; each still has its hooks by name, which a family may define with a macro. */
#ifndef LT_OP_HOOKS_H
#define LT_OP_HOOKS_H
#include "ir/ir.h"

#define LT_VJP_DIFF(name)                                                                                              \
  void lt_vjp_##name(lt_vjp *v, const lt_node *n, const lt_value *in, const lt_value *out, const lt_value *gout,       \
                     lt_value *gin);
#define LT_VJP_ZERO(name)
#define OP(name, family, vjp, ...)                                                                                    \
  void lt_infer_##name(lt_graph *g, void *attrs, const lt_value *in, unsigned n_in, lt_type *out_type,                 \
                       unsigned *n_out);                                                                               \
  void lt_eval_##name(lt_eval *e, const lt_node *n, const lt_tensor *const *in, lt_tensor *const *out);                \
  LT_VJP_##vjp(name)
#include "ir/ops.def"
#undef LT_VJP_DIFF
#undef LT_VJP_ZERO

/* The layer's name or the op's, for messages: "conv2d `stem`" (graph.c; used by lt_node_fail). */
const char *lt_op_title(lt_graph *g, lt_op op);

#endif
