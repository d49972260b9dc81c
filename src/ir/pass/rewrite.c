/* rewrite.c: copying a graph node by node while a pass replaces some of them. What the new graph holds is its own:
 * names, labels and constants are copied, so the old one may be freed. */
#include "ir/pass/pass_util.h"

bool *lt_live_nodes(lt_arena *a, const lt_graph *g) {
  bool *live = LT_NEW_ARRAY(a, bool, g->nodes.n);
  for (uint32_t i = 0; i < g->outputs.n; i++) live[lt_node_of(g, g->outputs.at[i].value)->id] = true;
  for (uint32_t i = 0; i < g->updates.n; i++) live[lt_node_of(g, g->updates.at[i].value)->id] = true;
  for (uint32_t i = g->nodes.n; i-- > 0;) {
    const lt_node *n = g->nodes.at[i];
    if (lt_op_table[n->op].flags & LT_LEAF && n->op != LT_OP_const) live[i] = true;
    for (unsigned k = 0; live[i] && k < n->n_in; k++)
      if (n->in[k]) live[lt_node_of(g, n->in[k])->id] = true;
  }
  return live;
}

uint32_t *lt_use_counts(lt_arena *a, const lt_graph *g, const bool *live) {
  uint32_t *uses = LT_NEW_ARRAY(a, uint32_t, g->values.n);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    for (unsigned k = 0; (!live || live[i]) && k < n->n_in; k++) uses[n->in[k]]++;
  }
  for (uint32_t i = 0; i < g->outputs.n; i++) uses[g->outputs.at[i].value]++;
  for (uint32_t i = 0; i < g->updates.n; i++) uses[g->updates.at[i].value]++;
  uses[0] = 0;
  return uses;
}

bool *lt_static_nodes(lt_arena *a, const lt_graph *g) {
  bool *is_static = LT_NEW_ARRAY(a, bool, g->nodes.n + 1);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    is_static[i] = lt_facts(n)->same != LT_SAME_CALL;
    for (unsigned k = 0; k < n->n_in; k++)
      if (n->in[k] && !is_static[lt_node_of(g, n->in[k])->id]) is_static[i] = false;
  }
  return is_static;
}

bool lt_splat_of(const lt_graph *g, lt_value v, double *number) {
  while (lt_facts(lt_node_of(g, v))->moves == LT_MOVES_REPEAT) v = lt_node_of(g, v)->in[0];
  const lt_data *d = lt_const_of(g, v);
  if (!d || lt_type_count(&d->type) != 1) return false;
  *number = lt_data_at(d, 0);
  return true;
}

/* The text in the new graph's arena; the one used just before serves again. */
static const char *keep(lt_graph *to, const char *last, const char *text) {
  if (!text) return NULL;
  return last && strcmp(last, text) == 0 ? last : lt_arena_strdup(&to->arena, text);
}

/* Nodes emitted next come from n. */
static void stand_at(lt_graph *to, const lt_node *n) {
  to->label = keep(to, to->label, n->label);
  to->origin = keep(to, to->origin, n->origin);
  to->loc = (lt_loc){keep(to, to->loc.file, n->loc.file), n->loc.line, n->loc.column};
}

/* A leaf keeps its name (a key) or fails; another value whose name was taken meanwhile gets a similar one. */
static void carry_name(lt_rewrite *r, lt_value old, lt_value v) {
  const char *name = lt_name_of(r->from, old);
  if (!name || lt_name_of(r->to, v)) return;
  bool key = lt_is_leaf(r->from, old) && lt_op_of(r->from, old) != LT_OP_const;
  lt_set_name(r->to, v, key ? name : lt_free_name(r->to, name));
}

lt_value lt_copy_node(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  stand_at(r->to, n);
  lt_value v = lt_emit(r->to, n->op, n->attrs, in, n->n_in);
  lt_node *made = lt_node_of(r->to, v);
  made->cluster = n->cluster, made->algorithm = n->algorithm;
  if (n->n_copies) {
    made->copies =
      memcpy(LT_NEW_ARRAY(&r->to->arena, lt_copy, n->n_copies), n->copies, n->n_copies * sizeof *n->copies);
    made->n_copies = n->n_copies;
  }
  for (unsigned i = 0; i < n->n_out; i++) {
    r->map[n->out + i] = v + i;
    r->to->values.at[v + i].layout = r->from->values.at[n->out + i].layout;
    carry_name(r, n->out + i, v + i);
  }
  return v;
}

/* A name goes on to what replaces the value, unless that is a number or was there before under its own name. */
static void carry_names(lt_rewrite *r, const lt_node *n, uint32_t before) {
  for (unsigned i = 0; i < n->n_out; i++) {
    lt_value v = r->map[n->out + i];
    if (v >= before && lt_op_of(r->to, v) != LT_OP_const) carry_name(r, n->out + i, v);
  }
}

static void visit(lt_rewrite *r, const lt_node *n, lt_rewrite_fn fn, lt_value *in) {
  for (unsigned k = 0; k < n->n_in; k++) in[k] = n->in[k] ? r->map[n->in[k]] : 0;
  stand_at(r->to, n);
  uint32_t before = r->to->values.n;
  if (fn && fn(r, n, in)) carry_names(r, n, before);
  else lt_copy_node(r, n, in);
}

void lt_rewrite_graph(lt_graph *to, const lt_graph *from, lt_rewrite_fn fn, void *ctx) {
  lt_rewrite r = {.to = to, .from = from, .ctx = ctx};
  r.map = LT_NEW_ARRAY(&to->arena, lt_value, from->values.n);
  r.live = lt_live_nodes(&to->arena, from);
  unsigned most = 1;
  for (uint32_t i = 0; i < from->nodes.n; i++) most = LT_MAX(most, from->nodes.at[i]->n_in);
  lt_value *in = LT_NEW_ARRAY(&to->arena, lt_value, most);
  for (uint32_t i = 0; i < from->nodes.n; i++)
    if (r.live[i]) visit(&r, from->nodes.at[i], fn, in);
  for (uint32_t i = 0; i < from->outputs.n; i++)
    lt_add_output(to, from->outputs.at[i].name, r.map[from->outputs.at[i].value]);
  for (uint32_t i = 0; i < from->updates.n; i++)
    lt_add_update(to, r.map[from->updates.at[i].leaf], r.map[from->updates.at[i].value]);
}
