/* spell.c: tensordot and einsum become the matrix products that they are made of, so that `raise` looks at one kind of
 * product only. They would be rewritten by `lower` anyway; `raise` must see them before gradients are taken. */
#include "ir/op_util.h"
#include "ir/pass/pass.h"

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  if (n->op != LT_OP_tensordot && n->op != LT_OP_einsum) return false;
  if (!r->to->origin) r->to->origin = lt_op_table[n->op].name;
  lt_expand(r->to, n, in, &r->map[n->out]);
  return true;
}

void lt_pass_spell(lt_graph *to, const lt_graph *from) { lt_rewrite_graph(to, from, visit, NULL); }
