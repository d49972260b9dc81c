/* op_hooks.h: the functions that a row of ops.def must have, written in op_<family>.c. A forgotten one is a link error:
 *   lt_infer_<op>   shapes and attributes                 all rows
 *   lt_eval_<op>    meaning of values                     all rows
 *   lt_vjp_<op>     gradient                              DIFF
 *   lt_expand_<op>  what it is made of                    SUGAR
 *   lt_axes_<op>    the axes it reduces                   AXES
 *   lt_terms_<op>   how many terms a result's elements    SUM
 *                   are sums of, at most
 * Elementwise ops share lt_map_eval; each still has its hooks by name, which a family may define with a macro. */
#ifndef LT_OP_HOOKS_H
#define LT_OP_HOOKS_H
#include "ir/ir.h"

/* Which words of a column bring a hook: LT_<HOOK>_IF_<word>(yes, no) is one of the two. */
#define LT_VJP_IF_DIFF(yes, no) yes
#define LT_VJP_IF_ZERO(yes, no) no
#define LT_EXPAND_IF_LEAF(yes, no) no
#define LT_EXPAND_IF_MAP(yes, no) no
#define LT_EXPAND_IF_HEAVY(yes, no) no
#define LT_EXPAND_IF_MOVE(yes, no) no
#define LT_EXPAND_IF_SUGAR(yes, no) yes
#define LT_EXPAND_IF_HIDDEN(yes, no) no
#define LT_AXES_IF__(yes, no) no
#define LT_AXES_IF_EACH(yes, no) no
#define LT_AXES_IF_POOL(yes, no) no
#define LT_AXES_IF_AXES(yes, no) yes
#define LT_AXES_IF_FPROP(yes, no) no
#define LT_AXES_IF_DGRAD(yes, no) no
#define LT_AXES_IF_WGRAD(yes, no) no
#define LT_AXES_IF_RIGHT(yes, no) no
#define LT_AXES_IF_TILES(yes, no) no
#define LT_AXES_IF_UNTILE(yes, no) no
#define LT_AXES_IF_PARTS(yes, no) no
#define LT_TERMS_IF__(yes, no) no
#define LT_TERMS_IF_CURVE(yes, no) no
#define LT_TERMS_IF_SUM(yes, no) yes
#define LT_TERMS_IF_STEP(yes, no) no

#define LT_INFER(op)                                                                                                   \
  void lt_infer_##op(lt_graph *g, void *attrs, const lt_value *in, unsigned n_in, lt_type *out_type, unsigned *n_out)
#define LT_EVAL(op) void lt_eval_##op(lt_eval *e, const lt_node *n, const lt_tensor *const *in, lt_tensor *const *out)
#define LT_VJP(op)                                                                                                     \
  void lt_vjp_##op(lt_vjp *v, const lt_node *n, const lt_value *in, const lt_value *out, const lt_value *gout,         \
                   lt_value *gin)
#define LT_EXPAND(op) void lt_expand_##op(lt_graph *g, const lt_node *n, const lt_value *in, lt_value *out)
#define LT_AXES(op) lt_reduced lt_axes_##op(const lt_node *n)
#define LT_TERMS(op) double lt_terms_##op(const lt_graph *g, const lt_node *n)

#define OP(name, family, vjp, kind, writes, reads, moves, blocks, window, rounds, ...)                                 \
  LT_INFER(name);                                                                                                      \
  LT_EVAL(name);                                                                                                       \
  LT_VJP_IF_##vjp(LT_VJP(name);, ) LT_EXPAND_IF_##kind(LT_EXPAND(name);, ) LT_AXES_IF_##blocks(LT_AXES(name);, )       \
    LT_TERMS_IF_##rounds(LT_TERMS(name);, )
#include "ir/ops.def"

#endif
