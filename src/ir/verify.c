/* verify.c: every invariant of a graph, checked from scratch: indices and order, arity, types as the ops infer them
 * again from resolved attributes, names, outputs, updates, layouts. What it finds is a bug of the pass that ran
 * before. */
#include "ir/ir.h"

#include <stdio.h>

typedef struct check {
  lt_graph *g;
  const char *after;
} check;

LT_PRINTF(3, 4) LT_NORETURN static void bad(check *c, const lt_node *n, const char *fmt, ...) {
  va_list ap, ap2;
  va_start(ap, fmt);
  va_copy(ap2, ap);
  int length = vsnprintf(NULL, 0, fmt, ap);
  char *text = lt_arena_alloc(&c->g->arena, (size_t)length + 1);
  vsnprintf(text, (size_t)length + 1, fmt, ap2);
  va_end(ap), va_end(ap2);
  lt_fail(c->g->job, LATHE_E_INTERNAL, n ? &n->loc : NULL, "after %s: %s%s%u: %s", c->after,
          n ? lt_op_table[n->op].name : "graph", n ? " at node " : " of nodes ", n ? n->id : c->g->nodes.n, text);
}

static void check_links(check *c, const lt_node *n, uint32_t id, lt_value next) {
  const lt_graph *g = c->g;
  if (n->op <= LT_OP_none || n->op >= LT_OPS)
    lt_fail(c->g->job, LATHE_E_INTERNAL, NULL, "after %s: node %u has no op", c->after, id);
  const lt_op_info *op = &lt_op_table[n->op];
  if (n->id != id) bad(c, n, "its id is not its place %u", id);
  if (n->out != next) bad(c, n, "its first result is %u, not %u", n->out, next);
  if (n->n_in < op->min_in || (op->max_in != 255 && n->n_in != op->max_in)) bad(c, n, "%d operands", n->n_in);
  for (unsigned i = 0; i < n->n_in; i++)
    if (n->in[i] >= n->out) bad(c, n, "operand %u is value %u, which is not defined before", i, n->in[i]);
  for (unsigned i = 0; i < n->n_out; i++) {
    if (n->out + i >= g->values.n) bad(c, n, "result %u does not exist", i);
    const lt_value_info *v = &g->values.at[n->out + i];
    if (v->node != id || v->result != i) bad(c, n, "result %u does not point back", i);
  }
}

/* ---- types: inferred again under a job of their own, so that what the op says is reported as the pass's fault ---- */

typedef struct again {
  check *c;
  const lt_node *n;
} again;

static void infer_again(lt_job *job, void *arg) {
  check *c = ((again *)arg)->c;
  const lt_node *n = ((again *)arg)->n;
  lt_graph *g = c->g;
  const lt_op_info *op = &lt_op_table[n->op];
  lt_graph_enter(g, job);
  void *attrs = lt_arena_alloc(&g->arena, op->attrs_size);
  memcpy(attrs, n->attrs, op->attrs_size);
  lt_type *types = LT_NEW_ARRAY(&g->arena, lt_type, LT_MAX(op->n_out, LT_MAX(n->n_in, 1u)));
  unsigned n_out = op->n_out;
  op->infer(g, attrs, n->in, n->n_in, types, &n_out);
  if (n_out != n->n_out) bad(c, n, "has %d results, should have %u", n->n_out, n_out);
  if (!lt_attrs_eq(n->op, attrs, n->attrs)) bad(c, n, "attributes are not resolved");
  for (unsigned i = 0; i < n_out; i++)
    if (!lt_type_eq(&types[i], lt_type_of(g, n->out + i)))
      bad(c, n, "result %u is %s, should be %s", i, lt_type_text(&g->arena, lt_type_of(g, n->out + i)),
          lt_type_text(&g->arena, &types[i]));
}

static void check_types(check *c, const lt_node *n) {
  lt_graph *g = c->g;
  lt_job *job = g->job;
  lathe_error e;
  int status = lt_protect(&e, infer_again, &(again){c, n});
  lt_graph_enter(g, job);
  if (status == LATHE_E_INTERNAL || status == LATHE_E_NOMEM) lt_fail(job, status, &n->loc, "%s", e.message);
  if (status) bad(c, n, "%s", e.message);
  for (unsigned i = 0; i < n->n_out; i++) {
    const lt_type *t = lt_type_of(g, n->out + i);
    int64_t count;
    if (t->rank > LT_MAX_RANK || !lt_type_count_ok(t, &count)) bad(c, n, "the type of result %u is broken", i);
    for (unsigned k = 0; k < t->rank; k++)
      if (t->dim[k] < 1) bad(c, n, "result %u has an empty axis", i);
  }
}

/* ---- names, layouts, ends ---------------------------------------------------------------------------------------- */

static void check_values(check *c, const lt_node *n) {
  const lt_graph *g = c->g;
  bool leaf = lt_op_table[n->op].flags & LT_LEAF && n->op != LT_OP_const;
  for (unsigned i = 0; i < n->n_out; i++) {
    const lt_value_info *v = &g->values.at[n->out + i];
    if (leaf && !v->name) bad(c, n, "a leaf without a name");
    if (v->name && lt_find(g, v->name) != n->out + i) bad(c, n, "the name %s belongs to another value", v->name);
    const char *why = lt_layout_misfit(&c->g->arena, &v->type, &v->layout);
    if (why) bad(c, n, "result %u has %s", i, why);
  }
}

static void check_choices(check *c, const lt_node *n) {
  if (!lt_algorithm_fits(n->algorithm, c->g, n))
    bad(c, n, "the algorithm %s does not fit it", lt_algorithm_name(n->algorithm));
  for (uint32_t i = 0; i < n->n_copies; i++) {
    const lt_copy *x = &n->copies[i];
    if (x->operand >= n->n_in || !n->in[x->operand])
      bad(c, n, "a copy of operand %u, which it does not have", x->operand);
    if (i && x->operand <= n->copies[i - 1].operand)
      bad(c, n, "operand %u is copied twice or out of order", x->operand);
    const char *why = lt_layout_misfit(&c->g->arena, lt_type_of(c->g, n->in[x->operand]), &x->layout);
    if (why) bad(c, n, "the copy of operand %u has %s", x->operand, why);
  }
}

static void check_ends(check *c) {
  const lt_graph *g = c->g;
  for (uint32_t i = 0; i < g->outputs.n; i++) {
    const lt_output *o = &g->outputs.at[i];
    if (!o->value || o->value >= g->values.n) bad(c, NULL, "output %s is no value", o->name);
    for (uint32_t k = 0; k < i; k++)
      if (strcmp(g->outputs.at[k].name, o->name) == 0) bad(c, NULL, "two outputs %s", o->name);
  }
  for (uint32_t i = 0; i < g->updates.n; i++) {
    const lt_update *u = &g->updates.at[i];
    if (!u->leaf || u->leaf >= g->values.n || !u->value || u->value >= g->values.n)
      bad(c, NULL, "update %u is broken", i);
    lt_op op = lt_op_of(g, u->leaf);
    if (op != LT_OP_param && op != LT_OP_state) bad(c, NULL, "update %u is of no param or state", i);
    if (!lt_type_eq(lt_type_of(g, u->leaf), lt_type_of(g, u->value))) bad(c, NULL, "update %u changes the type", i);
    for (uint32_t k = 0; k < i; k++)
      if (g->updates.at[k].leaf == u->leaf) bad(c, NULL, "update %u is the second of its leaf", i);
  }
}

void lt_verify(lt_graph *g, const char *after) {
  check c = {g, after};
  lt_value next = 1;
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    check_links(&c, n, i, next);
    check_types(&c, n);
    check_values(&c, n);
    check_choices(&c, n);
    next += n->n_out;
  }
  if (next != g->values.n) bad(&c, NULL, "%u values belong to no node", g->values.n - next);
  check_ends(&c);
}
