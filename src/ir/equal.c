/* equal.c: comparing and hashing whole graphs. Two graphs are equal when they have the same name, leaves, outputs and
 * updates and their statements are the same in the same order, clusters, algorithms and layouts included (hashes leave
 * these out). Names of leaves and outputs count (they are keys), names of other values, labels and locations do not.
 * Constants that the text writes as numbers have no place of their own, so they count where they are used. */
#include "ir/ir.h"

static bool is_number(const lt_graph *g, const lt_node *n) {
  return n->op == LT_OP_const && lt_is_inline_const(g, n->out);
}

static bool same_text(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }

static const lt_data *const_of(const lt_graph *g, lt_value v) {
  return ((const lt_const_attrs *)lt_node_of(g, v)->attrs)->value;
}

/* The numbering of values without those numbers: position in order of definition. */
static uint32_t *positions(lt_arena *arena, const lt_graph *g) {
  uint32_t *at = LT_NEW_ARRAY(arena, uint32_t, g->values.n), next = 1;
  for (lt_value v = 1; v < g->values.n; v++)
    if (!is_number(g, lt_node_of(g, v))) at[v] = next++;
  return at;
}

static bool same_value(const lt_graph *a, lt_value x, const uint32_t *ax, const lt_graph *b, lt_value y,
                       const uint32_t *by) {
  if (!x || !y) return x == y;
  if (!ax[x] && !by[y]) return lt_data_eq(const_of(a, x), const_of(b, y));
  return ax[x] == by[y];
}

static bool same_choices(const lt_node *m, const lt_node *n) {
  if (m->cluster != n->cluster || m->algorithm != n->algorithm || m->n_copies != n->n_copies) return false;
  for (uint32_t i = 0; i < m->n_copies; i++)
    if (m->copies[i].operand != n->copies[i].operand || !lt_layout_eq(&m->copies[i].layout, &n->copies[i].layout))
      return false;
  return true;
}

static bool same_node(const lt_graph *a, const lt_node *m, const uint32_t *ax, const lt_graph *b, const lt_node *n,
                      const uint32_t *by) {
  if (m->op != n->op || m->n_in != n->n_in || m->n_out != n->n_out || !same_choices(m, n)) return false;
  if (!lt_attrs_eq(m->op, m->attrs, n->attrs)) return false;
  if (m->op != LT_OP_const && lt_op_table[m->op].flags & LT_LEAF &&
      !same_text(lt_name_of(a, m->out), lt_name_of(b, n->out)))
    return false;
  for (unsigned i = 0; i < m->n_in; i++)
    if (!same_value(a, m->in[i], ax, b, n->in[i], by)) return false;
  for (unsigned i = 0; i < m->n_out; i++) {
    const lt_value_info *x = &a->values.at[m->out + i], *y = &b->values.at[n->out + i];
    if (!lt_type_eq(&x->type, &y->type) || !lt_layout_eq(&x->layout, &y->layout)) return false;
  }
  return true;
}

static bool same_nodes(const lt_graph *a, const uint32_t *ax, const lt_graph *b, const uint32_t *by) {
  uint32_t i = 0, j = 0;
  for (;; i++, j++) {
    while (i < a->nodes.n && is_number(a, a->nodes.at[i])) i++;
    while (j < b->nodes.n && is_number(b, b->nodes.at[j])) j++;
    if (i == a->nodes.n || j == b->nodes.n) return i == a->nodes.n && j == b->nodes.n;
    if (!same_node(a, a->nodes.at[i], ax, b, b->nodes.at[j], by)) return false;
  }
}

static bool same_ends(const lt_graph *a, const uint32_t *ax, const lt_graph *b, const uint32_t *by) {
  if (a->outputs.n != b->outputs.n || a->updates.n != b->updates.n) return false;
  for (uint32_t i = 0; i < a->outputs.n; i++) {
    const lt_output *x = &a->outputs.at[i], *y = &b->outputs.at[i];
    if (strcmp(x->name, y->name) != 0 || !same_value(a, x->value, ax, b, y->value, by)) return false;
  }
  for (uint32_t i = 0; i < a->updates.n; i++) {
    const lt_update *x = &a->updates.at[i], *y = &b->updates.at[i];
    if (!same_value(a, x->leaf, ax, b, y->leaf, by) || !same_value(a, x->value, ax, b, y->value, by)) return false;
  }
  return true;
}

/* Scratch lives in an arena of its own; the failing job is that of `a`. */
bool lt_graph_equal(const lt_graph *a, const lt_graph *b) {
  lt_arena *scratch = lt_arena_new(a->job);
  const uint32_t *ax = positions(scratch, a), *by = positions(scratch, b);
  return same_text(a->name, b->name) && same_nodes(a, ax, b, by) && same_ends(a, ax, b, by);
}

static uint64_t hash_value(const lt_graph *g, lt_value v, const uint32_t *at, uint64_t h) {
  if (v && !at[v]) return lt_attrs_hash(LT_OP_const, lt_node_of(g, v)->attrs, h);
  return lt_hash(&at[v], sizeof at[v], h);
}

static uint64_t hash_text(const char *s, uint64_t h) { return s ? lt_hash(s, strlen(s), h) : h; }

uint64_t lt_graph_hash(const lt_graph *g) {
  const uint32_t *at = positions(lt_arena_new(g->job), g);
  uint64_t h = hash_text(g->name, 0);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (is_number(g, n)) continue;
    h = lt_attrs_hash(n->op, n->attrs, h);
    if (n->op != LT_OP_const && lt_op_table[n->op].flags & LT_LEAF) h = hash_text(lt_name_of(g, n->out), h);
    for (unsigned k = 0; k < n->n_in; k++) h = hash_value(g, n->in[k], at, h);
  }
  for (uint32_t i = 0; i < g->outputs.n; i++)
    h = hash_value(g, g->outputs.at[i].value, at, hash_text(g->outputs.at[i].name, h));
  for (uint32_t i = 0; i < g->updates.n; i++)
    h = hash_value(g, g->updates.at[i].value, at, hash_value(g, g->updates.at[i].leaf, at, h));
  return h;
}
