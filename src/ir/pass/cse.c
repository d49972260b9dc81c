/* cse.c: one node for nodes of equal op, attributes and operands. Sums and products also match with their operands
 * exchanged (the bits are the same). Inputs, params and states are never merged, nor is dropout (its random numbers
 * hang on the node's name until the pass `mode` has keyed them). Dead nodes vanish as in every pass.
 *
 * A concat that begins as an earlier one goes on from that one's result: what is put together again and again, as
 * DenseNet does, can so grow in one place (plan/parts.c). */
#include "ir/pass/pass.h"

static bool mergeable(const lt_node *n) {
  bool named = lt_facts(n)->flags & LT_LEAF && n->op != LT_OP_const;
  return !named && lt_facts(n)->same != LT_SAME_OWN && n->cluster == 0;
}

/* Op, attributes (hashed) and the first operands as bytes. */
static lt_bytes key_of(lt_arena *a, const lt_node *n, const lt_value *in, unsigned n_in) {
  size_t words = 4u + n_in;
  uint32_t *key = LT_NEW_ARRAY(a, uint32_t, words);
  uint64_t h = lt_attrs_hash(n->op, n->attrs, 0);
  key[0] = (uint32_t)n->op, key[1] = n_in;
  memcpy(&key[2], &h, sizeof h);
  for (unsigned i = 0; i < n_in; i++) key[4 + i] = in[i];
  if (lt_facts(n)->same == LT_SAME_SWAP && in[0] > in[1]) key[4] = in[1], key[5] = in[0];
  return (lt_bytes){(const unsigned char *)key, words * sizeof *key};
}

static const lt_node *found(const lt_rewrite *r, const lt_node *n, lt_bytes key) {
  uintptr_t v = 0;
  if (!lt_map_get(r->ctx, (const char *)key.at, key.n, &v)) return NULL;
  const lt_node *old = lt_node_of(r->to, (lt_value)v);
  return lt_attrs_eq(n->op, old->attrs, n->attrs) ? old : NULL; /* else: two hashes met */
}

enum { MOST_MORE = 8 }; /* operands more than the concat has that it begins as */

/* A concat of at least two of n's first operands and the rest; 0: there is none. */
static lt_value gone_on(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  if (lt_facts(n)->moves != LT_MOVES_COPY) return 0;
  for (unsigned k = n->n_in - 1; k > 1 && k + MOST_MORE >= n->n_in; k--) {
    const lt_node *old = found(r, n, key_of(&r->to->arena, n, in, k));
    if (!old) continue;
    lt_node grown = *n;
    lt_value *all = LT_NEW_ARRAY(&r->to->arena, lt_value, n->n_in - k + 1u);
    all[0] = old->out;
    memcpy(all + 1, in + k, (n->n_in - k) * sizeof *in);
    grown.n_in = n->n_in - k + 1u;
    return lt_copy_node(r, &grown, all);
  }
  return 0;
}

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  if (!mergeable(n)) return false;
  const lt_bytes key = key_of(&r->to->arena, n, in, n->n_in);
  const lt_node *old = found(r, n, key);
  if (old) {
    for (unsigned i = 0; i < n->n_out; i++) r->map[n->out + i] = old->out + i;
    return true;
  }
  lt_value v = gone_on(r, n, in);
  lt_map_put(&r->to->arena, r->ctx, (const char *)key.at, key.n, v ? v : lt_copy_node(r, n, in));
  return true;
}

void lt_pass_cse(lt_graph *to, const lt_graph *from) {
  lt_map map = {0};
  lt_rewrite_graph(to, from, visit, &map);
}
