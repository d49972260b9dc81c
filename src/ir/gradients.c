/* gradients.c: reverse-mode differentiation on the graph: walks the nodes between the outputs and what is
 * differentiated from last to first and lets each node's vjp hook emit how a gradient of its results becomes one of its
 * operands. All that is emitted consists of ordinary ops, so the result can be differentiated again.
 *
 * A `grad` node in between (a gradient inside a loss) is expanded when the walk meets it: what it stands for is
 * appended, walked first, and reaches the values before the node, which are still to come. */
#include "ir/op_util.h"

void lt_expand(lt_graph *g, const lt_node *n, const lt_value *in, lt_value *out) { lt_facts(n)->expand(g, n, in, out); }

/* ---- checks ------------------------------------------------------------------------------------------------------ */

static void check_seed(lt_graph *g, lt_value y, lt_value seed) {
  if (seed && !lt_type_eq(lt_type_of(g, y), lt_type_of(g, seed)))
    lt_node_fail(g, LT_OP_grad, "seed %s must have the type of y %s", lt_text_of(g, seed), lt_text_of(g, y));
}

void lt_grad_check(lt_graph *g, const lt_value *y, const lt_value *seed, unsigned ny, const lt_value *wrt, unsigned n) {
  for (unsigned i = 0; i < ny; i++) {
    lt_need_float(g, LT_OP_grad, "y", y[i]);
    check_seed(g, y[i], seed ? seed[i] : 0);
  }
  for (unsigned i = 0; i < n; i++) lt_need_float(g, LT_OP_grad, "x", wrt[i]);
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

/* By value, growing with the graph: does it depend on what is differentiated; its gradient so far (0: none). */
typedef struct walk {
  lt_vjp v;
  LT_VEC(bool) depends;
  LT_VEC(lt_value) grad;
} walk;

static void grow(walk *w) {
  lt_graph *g = w->v.g;
  while (w->depends.n < g->values.n) lt_vec_push(&g->arena, &w->depends, false);
  while (w->grad.n < g->values.n) lt_vec_push(&g->arena, &w->grad, 0);
}

static void add_gradient(walk *w, lt_value x, lt_value gx) {
  lt_graph *g = w->v.g;
  if (!lt_type_eq(lt_type_of(g, x), lt_type_of(g, gx)))
    lt_fail(g->job, LATHE_E_INTERNAL, &g->loc, "the gradient of a value %s is %s", lt_text_of(g, x), lt_text_of(g, gx));
  lt_value sum = w->grad.at[x] ? lt_add_padded(g, w->grad.at[x], gx) : gx; /* a value that is cut into parts */
  if (!sum) sum = lt_binary(g, LT_OP_add, w->grad.at[x], gx);
  grow(w);
  w->grad.at[x] = sum;
}

static bool passes_gradients(const lt_node *n) { return lt_op_table[n->op].vjp || n->op == LT_OP_grad; }

static void mark_depending(walk *w, uint32_t first, uint32_t end) {
  lt_graph *g = w->v.g;
  grow(w);
  for (uint32_t i = first; i < end; i++) {
    const lt_node *n = g->nodes.at[i];
    bool any = false;
    for (unsigned k = 0; k < n->n_in; k++) any |= n->in[k] && w->depends.at[n->in[k]];
    for (unsigned k = 0; any && passes_gradients(n) && k < n->n_out; k++) w->depends.at[n->out + k] = true;
  }
}

static void walk_back(walk *w, uint32_t first, uint32_t end);

static void expand_grad(walk *w, const lt_node *n) {
  lt_graph *g = w->v.g;
  uint32_t first = g->nodes.n;
  lt_value *out = LT_NEW_ARRAY(&g->arena, lt_value, n->n_out);
  lt_expand(g, n, n->in, out);
  uint32_t end = g->nodes.n;
  mark_depending(w, first, end);
  for (unsigned i = 0; i < n->n_out; i++)
    if (w->grad.at[n->out + i] && w->depends.at[out[i]]) add_gradient(w, out[i], w->grad.at[n->out + i]);
  walk_back(w, first, end);
}

static void step_back(walk *w, const lt_node *n) {
  lt_graph *g = w->v.g;
  lt_value *gin = LT_NEW_ARRAY(&g->arena, lt_value, n->n_in), *out = LT_NEW_ARRAY(&g->arena, lt_value, 2u * n->n_out);
  for (unsigned i = 0; i < n->n_out; i++) out[i] = n->out + i, out[n->n_out + i] = w->grad.at[n->out + i];
  lt_op_table[n->op].vjp(&w->v, n, n->in, out, out + n->n_out, gin);
  grow(w);
  for (unsigned i = 0; i < n->n_in; i++)
    if (n->in[i] && gin[i] && w->depends.at[n->in[i]]) add_gradient(w, n->in[i], gin[i]);
}

/* Whose gradient it is, for people: a node's layer or name, else those of what it is computed from. */
static const char *label_of(const lt_graph *g, const lt_node *n) {
  enum { STEPS = 8 };
  const char *label = NULL;
  for (int i = 0; i < STEPS && !label && !lt_is_leaf(g, n->out); i++) {
    label = n->label ? n->label : lt_name_of(g, n->out);
    if (!n->n_in || !n->in[0]) break;
    n = lt_node_of(g, n->in[0]);
  }
  return label;
}

/* Nodes emitted next are part of n's gradient; where they are ops that users know, its rule takes the origin away. */
static void stand_at(lt_graph *g, const lt_node *n) {
  g->label = label_of(g, n), g->loc = n->loc;
  g->origin = lt_arena_printf(&g->arena, "%s_grad", n->origin ? n->origin : lt_op_table[n->op].name);
}

/* Nodes [first, end), last to first. What they emit stands after them. */
static void walk_back(walk *w, uint32_t first, uint32_t end) {
  lt_graph *g = w->v.g;
  for (uint32_t i = end; i-- > first;) {
    const lt_node *n = g->nodes.at[i];
    bool any = false;
    for (unsigned k = 0; k < n->n_out; k++) any |= w->grad.at[n->out + k] && w->depends.at[n->out + k];
    if (!any || !passes_gradients(n)) continue;
    stand_at(g, n);
    if (n->op == LT_OP_grad) expand_grad(w, n);
    else step_back(w, n);
  }
}

/* lt_gradients, seeing only the nodes from `first` on: everything before counts as independent. */
void lt_gradients_after(lt_graph *g, lt_value *out, const lt_value *y, const lt_value *seed, unsigned ny,
                        const lt_value *wrt, unsigned n, uint32_t first) {
  const char *label = g->label, *origin = g->origin;
  lt_loc loc = g->loc;
  walk w = {.v = {g}};
  uint32_t end = g->nodes.n;
  grow(&w);
  for (unsigned i = 0; i < n; i++) w.depends.at[wrt[i]] = true;
  mark_depending(&w, first, end);
  for (unsigned i = 0; i < ny; i++) {
    lt_value s = seed && seed[i] ? seed[i] : lt_fill_like(g, y[i], 1);
    grow(&w);
    if (w.depends.at[y[i]]) add_gradient(&w, y[i], s);
  }
  walk_back(&w, first, end);
  g->label = label, g->origin = origin, g->loc = loc;
  for (unsigned i = 0; i < n; i++) out[i] = w.grad.at[wrt[i]] ? w.grad.at[wrt[i]] : lt_fill_like(g, wrt[i], 0);
}

void lt_gradients(lt_graph *g, lt_value *out, const lt_value *y, const lt_value *seed, unsigned ny, const lt_value *wrt,
                  unsigned n) {
  lt_grad_check(g, y, seed, ny, wrt, n);
  lt_gradients_after(g, out, y, seed, ny, wrt, n, 0);
}

/* A float operand that has not stood before i: the gradient of one that stands twice comes out whole. */
static bool first_float(const lt_graph *g, const lt_value *in, unsigned i) {
  for (unsigned k = 0; k < i; k++)
    if (in[k] == in[i]) return false;
  return in[i] && lt_is_float(lt_type_of(g, in[i])->dtype);
}

void lt_vjp_by_expansion(lt_vjp *v, const lt_node *n, const lt_value *in, const lt_value *gout, lt_value *gin) {
  lt_graph *g = v->g;
  lt_value *y = LT_NEW_ARRAY(&g->arena, lt_value, n->n_out), *seed = LT_NEW_ARRAY(&g->arena, lt_value, n->n_out);
  lt_value *wrt = LT_NEW_ARRAY(&g->arena, lt_value, n->n_in), *gx = LT_NEW_ARRAY(&g->arena, lt_value, n->n_in);
  uint32_t first = g->nodes.n;
  unsigned ny = 0, nx = 0;
  lt_expand(g, n, in, y);
  for (unsigned i = 0; i < n->n_out; i++)
    if (gout[i]) y[ny] = y[i], seed[ny++] = gout[i];
  for (unsigned i = 0; i < n->n_in; i++)
    if (first_float(g, in, i)) wrt[nx++] = in[i];
  lt_gradients_after(g, gx, y, seed, ny, wrt, nx, first);
  for (unsigned i = 0, k = 0; i < n->n_in; i++)
    if (first_float(g, in, i)) gin[i] = gx[k++];
}
