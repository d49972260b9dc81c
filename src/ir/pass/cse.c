/* cse.c: one node for nodes of equal op, attributes and operands. Sums and products also match with their operands
 * exchanged (the bits are the same). Inputs, params and states are never merged, nor is dropout (its random numbers
 * hang on the node's name until the pass `mode` has keyed them). Dead nodes vanish as in every pass. */
#include "ir/pass/pass.h"

static bool mergeable(const lt_node *n) {
  bool named = lt_facts(n)->flags & LT_LEAF && n->op != LT_OP_const;
  return !named && lt_facts(n)->same != LT_SAME_OWN && n->cluster == 0;
}

/* Op, attributes (hashed) and operands as bytes. */
static lt_bytes key_of(lt_arena *a, const lt_node *n, const lt_value *in) {
  size_t words = 4u + n->n_in;
  uint32_t *key = LT_NEW_ARRAY(a, uint32_t, words);
  uint64_t h = lt_attrs_hash(n->op, n->attrs, 0);
  key[0] = (uint32_t)n->op, key[1] = n->n_in;
  memcpy(&key[2], &h, sizeof h);
  for (unsigned i = 0; i < n->n_in; i++) key[4 + i] = in[i];
  if (lt_facts(n)->same == LT_SAME_SWAP && in[0] > in[1]) key[4] = in[1], key[5] = in[0];
  return (lt_bytes){(const unsigned char *)key, words * sizeof *key};
}

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  if (!mergeable(n)) return false;
  lt_map *map = r->ctx;
  lt_bytes key = key_of(&r->to->arena, n, in);
  uintptr_t found = 0;
  if (lt_map_get(map, (const char *)key.at, key.n, &found)) {
    const lt_node *old = lt_node_of(r->to, (lt_value)found);
    if (lt_attrs_eq(n->op, old->attrs, n->attrs)) { /* else: two hashes met */
      for (unsigned i = 0; i < n->n_out; i++) r->map[n->out + i] = old->out + i;
      return true;
    }
  }
  lt_map_put(&r->to->arena, map, (const char *)key.at, key.n, lt_copy_node(r, n, in));
  return true;
}

void lt_pass_cse(lt_graph *to, const lt_graph *from) {
  lt_map map = {0};
  lt_rewrite_graph(to, from, visit, &map);
}
