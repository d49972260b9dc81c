/* layout.c: the copies that `choose` has written down (@copy) become `layout` nodes, one for all readers that want the
 * same. */
#include "ir/pass/pass.h"

typedef struct lt_made { lt_value to; lt_layout layout; uint32_t next; } lt_made; /* next: index + 1 */

typedef struct lt_maker {
  lt_arena *a;
  LT_VEC(lt_made) made;
  uint32_t *made_of; /* by value of the old graph: index + 1 */
} lt_maker;

/* A matrix's batch axes are walked one by one, which is not how channels in blocks are read. */
static bool packs_from_plain(const lt_layout *l) {
  return l->kind == LT_PANEL && (l->panel.kind == LT_PANEL_matrix || l->panel.kind == LT_PANEL_matrix_t);
}

static lt_value convert(lt_rewrite *r, lt_value old, const lt_layout *want) {
  lt_maker *m = r->ctx;
  for (uint32_t i = m->made_of[old]; i; i = m->made.at[i - 1].next)
    if (lt_layout_eq(&m->made.at[i - 1].layout, want)) return m->made.at[i - 1].to;
  const lt_layout plain = {.kind = LT_PLAIN};
  bool blocked = r->from->values.at[old].layout.kind == LT_BLOCKED;
  lt_value from = blocked && packs_from_plain(want) ? convert(r, old, &plain) : r->map[old];
  r->to->origin = want->kind == LT_PANEL ? "pack" : "layout";
  lt_value v = lt_emit(r->to, LT_OP_layout, NULL, &from, 1);
  r->to->values.at[v].layout = *want;
  lt_made made = {v, *want, m->made_of[old]};
  lt_vec_push(m->a, &m->made, made);
  m->made_of[old] = m->made.n;
  return v;
}

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_maker *m = r->ctx;
  if (!n->n_copies) return false;
  lt_value *own = LT_NEW_ARRAY(m->a, lt_value, n->n_in);
  memcpy(own, in, n->n_in * sizeof *own);
  for (uint32_t i = 0; i < n->n_copies; i++) {
    uint32_t k = n->copies[i].operand;
    own[k] = convert(r, n->in[k], &n->copies[i].layout);
  }
  lt_node_of(r->to, lt_copy_node(r, n, own))->n_copies = 0;
  return true;
}

void lt_pass_layout(lt_graph *to, const lt_graph *from) {
  lt_maker m = {.a = &to->arena, .made_of = LT_NEW_ARRAY(&to->arena, uint32_t, from->values.n)};
  lt_rewrite_graph(to, from, visit, &m);
}
