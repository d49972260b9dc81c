/* fold.c: nodes whose operands are constants become constants. The interpreter does the sums, rounding f32 after each
 * node; only results of up to 4096 elements in all are kept as data. A broadcast is not folded: it is cheaper as is. */
#include "ir/pass/pass_util.h"

enum { MOST = 4096 };

static bool foldable(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  if (lt_op_table[n->op].flags & (LT_LEAF | LT_HIDDEN)) return false;
  if (lt_facts(n)->moves == LT_MOVES_REPEAT || lt_facts(n)->same == LT_SAME_OWN || n->op == LT_OP_grad) return false;
  int64_t count = 0;
  for (unsigned i = 0; i < n->n_out; i++) count += lt_type_count(lt_type_of(r->from, n->out + i));
  if (count > MOST) return false;
  for (unsigned i = 0; i < n->n_in; i++)
    if (in[i] && !lt_const_of(r->to, in[i])) return false;
  return true;
}

/* Operands and results are arrays of the interpreter only while it works: the graph gets the results' own bytes. */
static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  if (!foldable(r, n, in)) return false;
  lt_eval *e = r->ctx;
  const lt_tensor **operand = LT_NEW_ARRAY(e->arena, const lt_tensor *, n->n_in);
  lt_tensor **result = LT_NEW_ARRAY(e->arena, lt_tensor *, n->n_out);
  for (unsigned i = 0; i < n->n_in; i++) operand[i] = in[i] ? lt_tensor_of(e->arena, lt_const_of(r->to, in[i])) : NULL;
  for (unsigned i = 0; i < n->n_out; i++) result[i] = lt_tensor_new(e->arena, lt_type_of(r->from, n->out + i));
  lt_eval_node(e, n, operand, result);
  for (unsigned i = 0; i < n->n_out; i++) r->map[n->out + i] = lt_const_tensor(r->to, result[i]);
  lt_arena_free(e->arena);
  return true;
}

void lt_pass_fold(lt_graph *to, const lt_graph *from) {
  lt_eval e = {.job = to->job, .arena = lt_arena_new(to->job), .g = from, .mode = LT_EVAL_ROUND};
  lt_rewrite_graph(to, from, visit, &e);
}
