/* recompute.c: x - mean(x) and the like is computed by each of its readers instead of stored for all of them.
 *
 * An elementwise node of x and of what depends on all of x (its mean, its largest value) cannot be part of the kernel
 * that makes x, and x is stored, for several kernels read it. Such a node with several readers would be a kernel of its
 * own that reads and writes as many bytes as x has; where readers compute it themselves they read x instead, and its
 * few instructions give the same bits wherever they stand. Comes after `cse`, which would make one node of them again.
 */
#include "ir/pass/pass.h"

enum { MOST_STEPS = 100 }; /* of a walk back in search of x; what is further away counts as not found */

/* A value's readers that can compute their operands: uses, the latest, are there several? */
typedef struct inside { uint32_t uses, reader; bool several; } inside;
typedef struct finder {
  lt_arena *a;
  const lt_graph *g;
  bool *again;    /* by node: its readers compute it */
  inside *inside; /* by value */
} finder;

static bool depends(const lt_graph *g, lt_value v, lt_value x, int *steps) {
  if (v <= x) return v && v == x;
  if (++*steps > MOST_STEPS) return false;
  const lt_node *n = lt_node_of(g, v);
  for (unsigned k = 0; k < n->n_in; k++)
    if (depends(g, n->in[k], x, steps)) return true;
  return false;
}

/* The only operand of n that has its type, where another one depends on it; 0: none. */
static lt_value x_of(const lt_graph *g, const lt_node *n) {
  lt_value x = 0;
  for (unsigned k = 0; k < n->n_in; k++) {
    if (!n->in[k] || !lt_type_eq(lt_type_of(g, n->in[k]), lt_type_of(g, n->out))) continue;
    if (x) return 0;
    x = n->in[k];
  }
  int steps = 0;
  for (unsigned k = 0; x && k < n->n_in; k++)
    if (n->in[k] != x && depends(g, n->in[k], x, &steps)) return x;
  return 0;
}

static bool computes_operands(const lt_node *n) {
  return lt_facts(n)->flags & LT_MAP || lt_facts(n)->reads == LT_READS_INNER;
}

static void count(finder *f, const lt_node *r) {
  for (unsigned k = 0; computes_operands(r) && k < r->n_in; k++) {
    inside *v = &f->inside[r->in[k]];
    v->several |= v->uses && v->reader != r->id;
    v->uses++, v->reader = r->id;
  }
}

static void find(finder *f, const bool *live) {
  const lt_graph *g = f->g;
  const uint32_t *uses = lt_use_counts(f->a, g, live);
  for (uint32_t i = 0; i < g->nodes.n; i++)
    if (live[i]) count(f, g->nodes.at[i]);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    const inside *v = &f->inside[n->out];
    bool cheap = lt_facts(n)->flags & LT_MAP && lt_facts(n)->rounds != LT_ROUNDS_CURVE;
    if (!live[i] || !cheap || !v->several || v->uses != uses[n->out]) continue;
    lt_value x = x_of(g, n);
    f->again[i] = x && !f->again[lt_node_of(g, x)->id];
  }
}

/* A node like m in the reader's place; its operands stand in the new graph, for none of them is computed again. */
static lt_value compute(lt_rewrite *r, const lt_node *m) {
  lt_value *in = LT_NEW_ARRAY(&r->to->arena, lt_value, m->n_in);
  for (unsigned k = 0; k < m->n_in; k++) in[k] = m->in[k] ? r->map[m->in[k]] : 0;
  return lt_emit(r->to, m->op, m->attrs, in, m->n_in);
}

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  const finder *f = r->ctx;
  if (f->again[n->id]) return true;
  lt_value *own = NULL;
  for (unsigned k = 0; k < n->n_in; k++) {
    if (!n->in[k] || !f->again[lt_node_of(f->g, n->in[k])->id]) continue;
    if (!own) own = memcpy(LT_NEW_ARRAY(&r->to->arena, lt_value, n->n_in), in, n->n_in * sizeof *in);
    for (unsigned j = 0; j < k; j++)
      if (n->in[j] == n->in[k]) own[k] = own[j];
    if (!own[k]) own[k] = compute(r, lt_node_of(f->g, n->in[k]));
  }
  if (own) lt_copy_node(r, n, own);
  return own;
}

void lt_pass_recompute(lt_graph *to, const lt_graph *from) {
  finder f = {.a = lt_arena_new(to->job), .g = from};
  f.again = LT_NEW_ARRAY(f.a, bool, from->nodes.n + 1u);
  f.inside = LT_NEW_ARRAY(f.a, inside, from->values.n);
  find(&f, lt_live_nodes(f.a, from));
  lt_rewrite_graph(to, from, visit, &f);
}
