/* lower.c: ops that are made of others become these (ops.def calls them SUGAR). stop_grad has done its work before and
 * goes too, max_pool loses its pad_value, and its gradient goes from pixel to pixel instead of from window to window.
 * What an expansion emits carries the op as its origin, for messages and `lathe bench`. */
#include "ir/op_util.h"
#include "ir/pass/pass.h"

#include <math.h>

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  if (n->op == LT_OP_stop_grad) {
    r->map[n->out] = in[0];
    return true;
  }
  if (n->op == LT_OP_max_pool && ((const lt_max_pool_attrs *)n->attrs)->pad_value != -HUGE_VAL) {
    r->map[n->out] = lt_emit_bordered_pool(r->to, n, in[0]);
    return true;
  }
  if (n->op == LT_OP_scatter_add) return (r->map[n->out] = lt_emit_max_pool_grad(r->to, n, in)) != 0;
  if (!(lt_op_table[n->op].flags & LT_SUGAR)) return false;
  if (!r->to->origin) r->to->origin = lt_op_table[n->op].name;
  lt_expand(r->to, n, in, &r->map[n->out]);
  return true;
}

void lt_pass_lower(lt_graph *to, const lt_graph *from) { lt_rewrite_graph(to, from, visit, NULL); }
