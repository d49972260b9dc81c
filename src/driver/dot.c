/* dot.c: graphs as drawings and as tables. In a drawing ops are boxes, edges carry shapes, params stay inside the boxes
 * that use them, and clusters that the pass `fuse` has marked are drawn as one. */
#include "driver/print_api.h"

static void escaped(lt_str *s, const char *text) { /* for a quoted string of Graphviz */
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') lt_str_puts(s, "\\");
    lt_str_put(s, text, 1);
  }
}

static bool is_weight(const lt_node *n) { return n->op == LT_OP_param || n->op == LT_OP_state || n->op == LT_OP_const; }

static const char *type_of(lt_str *s, const lt_graph *g, lt_value v) {
  return lt_type_text(s->arena, lt_type_of(g, v));
}

static const char *color_of(const lt_node *n) {
  unsigned flags = lt_op_table[n->op].flags;
  if (n->op == LT_OP_input) return "#cfe8ff";
  if (flags & LT_HEAVY) return "#ffe0b8";
  if (flags & LT_MAP) return "#e2f3d8";
  return "#f2f2f2";
}

/* The op, what the user calls it, and the weights it reads. */
static void label(lt_str *s, const lt_graph *g, const lt_node *n) {
  const char *name = lt_name_of(g, n->out);
  escaped(s, n->op == LT_OP_input ? name : lt_op_table[n->op].name);
  if (n->op == LT_OP_input) lt_str_printf(s, "\\n%s", type_of(s, g, n->out));
  else if (n->label || name) lt_str_puts(s, "\\n"), escaped(s, n->label ? n->label : name);
  for (unsigned i = 0; i < n->n_in; i++) {
    if (!n->in[i] || !is_weight(lt_node_of(g, n->in[i]))) continue;
    const char *weight = lt_name_of(g, n->in[i]);
    lt_str_puts(s, "\\n");
    escaped(s, weight ? weight : "const");
    lt_str_printf(s, " %s", type_of(s, g, n->in[i]));
  }
}

static void draw_node(lt_str *s, const lt_graph *g, const lt_node *n) {
  if (n->cluster) lt_str_printf(s, "  subgraph cluster_%u { style=\"rounded,dashed\"; color=\"#999999\"; ", n->cluster);
  else lt_str_puts(s, "  ");
  lt_str_printf(s, "n%u [label=\"", n->id);
  label(s, g, n);
  lt_str_printf(s, "\", fillcolor=\"%s\"%s];%s\n", color_of(n), n->op == LT_OP_input ? ", shape=ellipse" : "",
                n->cluster ? " }" : "");
}

static void draw_edges(lt_str *s, const lt_graph *g, const lt_node *n) {
  for (unsigned i = 0; i < n->n_in; i++) {
    if (!n->in[i] || is_weight(lt_node_of(g, n->in[i]))) continue;
    lt_str_printf(s, "  n%u -> n%u [label=\"%s\"];\n", lt_node_of(g, n->in[i])->id, n->id, type_of(s, g, n->in[i]));
  }
}

static void draw_end(lt_str *s, const lt_graph *g, const char *kind, uint32_t i, const char *name, lt_value v) {
  lt_str_printf(s, "  %s%u [label=\"%s", kind, i, kind[0] == 'u' ? "update " : "");
  escaped(s, name);
  lt_str_printf(s, "\\n%s\", shape=ellipse, fillcolor=\"#ffd6e7\"];\n  n%u -> %s%u;\n", type_of(s, g, v),
                lt_node_of(g, v)->id, kind, i);
}

void lt_dot_print(lt_str *s, const lt_graph *g) {
  const bool *live = lt_live_nodes(s->arena, g);
  lt_str_puts(s, "digraph \"");
  escaped(s, g->name);
  lt_str_puts(
    s, "\" {\n  node [shape=box, style=\"filled,rounded\", fontname=\"Helvetica\", fontsize=11, color=\"#888888\"];\n"
       "  edge [fontname=\"Helvetica\", fontsize=9, color=\"#666666\"];\n");
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    bool ends = false; /* a weight that is an output or a new value as it is */
    for (uint32_t k = 0; k < g->outputs.n; k++) ends |= lt_node_of(g, g->outputs.at[k].value) == n;
    for (uint32_t k = 0; k < g->updates.n; k++) ends |= lt_node_of(g, g->updates.at[k].value) == n;
    if (!live[i] || (is_weight(n) && !ends)) continue;
    draw_node(s, g, n);
    draw_edges(s, g, n);
  }
  for (uint32_t i = 0; i < g->outputs.n; i++) draw_end(s, g, "o", i, g->outputs.at[i].name, g->outputs.at[i].value);
  for (uint32_t i = 0; i < g->updates.n; i++)
    draw_end(s, g, "u", i, lt_name_of(g, g->updates.at[i].leaf), g->updates.at[i].value);
  lt_str_puts(s, "}\n");
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static int64_t weights_of(const lt_graph *g, const lt_node *n) {
  int64_t count = 0;
  for (unsigned i = 0; i < n->n_in; i++)
    if (n->in[i] && lt_op_of(g, n->in[i]) == LT_OP_param) count += lt_type_count(lt_type_of(g, n->in[i]));
  return count;
}

void lt_info_print(lt_str *s, const lt_graph *g) {
  int64_t params = 0;
  lt_str_printf(s, "%-24s %-20s %-24s %12s\n", "layer", "op", "result", "parameters");
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (n->op == LT_OP_param) params += lt_type_count(lt_type_of(g, n->out));
    if (is_weight(n)) continue;
    const char *name = lt_name_of(g, n->out), *layer = n->label ? n->label : name ? name : "";
    lt_str_printf(s, "%-24s %-20s %-24s %12lld\n", layer, lt_op_table[n->op].name, type_of(s, g, n->out),
                  (long long)weights_of(g, n));
  }
  lt_str_printf(s, "%-24s %-20s %-24s %12lld\n", "total", "", "", (long long)params);
}
