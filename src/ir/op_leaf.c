/* op_leaf.c: values that come from outside: inputs, weights, constants. They have no operands; the interpreter is given
 * the values of all but constants. */
#include "ir/op_util.h"

static void infer_leaf(lt_graph *g, lt_op op, int64_t dtype, const lt_ints *shape, lt_type *out) {
  if (dtype < 0 || dtype >= LT_DTYPES) lt_node_fail(g, op, "has no element type");
  if (shape->n > LT_MAX_RANK) lt_node_fail(g, op, "rank %lld is more than %d", (long long)shape->n, LT_MAX_RANK);
  for (int64_t i = 0; i < shape->n; i++)
    if (shape->v[i] < 1)
      lt_node_fail(g, op, "every dim must be at least 1, shape is %s", lt_ints_text(&g->arena, shape->v, shape->n));
  *out = lt_make_type((lt_dtype)dtype, (unsigned)shape->n, shape->v);
}

static void check_init(lt_graph *g, lt_op op, const lt_init *init, const lt_type *t) {
  if (init->kind == LT_INIT_LITERAL) {
    if (!init->literal || !lt_type_eq(&init->literal->type, t))
      lt_node_fail(g, op, "the initial value is not of type %s", lt_type_text(&g->arena, t));
  } else if ((init->kind == LT_INIT_NORMAL || init->kind == LT_INIT_UNIFORM) && !lt_is_float(t->dtype)) {
    lt_node_fail(g, op, "random initial values need a float type, this is %s", lt_type_text(&g->arena, t));
  }
}

LT_NORETURN static void no_value(lt_eval *e, const lt_node *n) {
  const char *name = lt_name_of(e->g, n->out);
  lt_fail(e->job, LATHE_E_INVALID, &n->loc, "%s `%s` has no value", lt_op_table[n->op].name, name ? name : "");
}

LT_INFER(input) {
  const lt_input_attrs *a = attrs;
  infer_leaf(g, LT_OP_input, a->dtype, &a->shape, out_type);
}
LT_EVAL(input) { no_value(e, n); }

LT_INFER(param) {
  const lt_param_attrs *a = attrs;
  infer_leaf(g, LT_OP_param, a->dtype, &a->shape, out_type);
  check_init(g, LT_OP_param, &a->init, out_type);
}
LT_EVAL(param) { no_value(e, n); }

LT_INFER(state) {
  const lt_state_attrs *a = attrs;
  infer_leaf(g, LT_OP_state, a->dtype, &a->shape, out_type);
  check_init(g, LT_OP_state, &a->init, out_type);
}
LT_EVAL(state) { no_value(e, n); }

LT_INFER(const) {
  const lt_const_attrs *a = attrs;
  if (!a->value) lt_node_fail(g, LT_OP_const, "has no value");
  *out_type = a->value->type;
}
LT_EVAL(const) { lt_tensor_read(out[0], ((const lt_const_attrs *)n->attrs)->value->at); }
