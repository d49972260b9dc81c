/* layout.c: the memory layout of every value.
 *
 * Values around convolutions and pooling stand in blocks of 16 channels where some reader gains by it; readers that
 * cannot use blocks get a `layout` node back to plain. A convolution's image carries the zeros around it (halo), so
 * that kernels never ask whether a tap is inside. Weights become the panels that contractions read (cluster.h).
 *
 * Three sweeps: preferences from users to operands, halos, then the copy that inserts the nodes. */
#include "ir/pass/cluster.h"
#include "ir/window.h"

typedef struct lt_halo { int64_t v[4]; } lt_halo; /* top, left, bottom, right */

/* What one reader needs of one operand. */
typedef struct lt_need { bool any; lt_layout layout; } lt_need;

typedef struct lt_made { lt_value from, to; lt_layout layout; uint32_t next; } lt_made; /* next: index + 1 */

typedef struct lt_layouts {
  const lt_graph *from;
  lt_arena *a;
  const bool *live, *fixed;
  bool weights_apart;                       /* params and states do not change: packed once */
  bool *blocked;                            /* by value */
  lt_halo *halo, *plain_halo; /* by value: of it in blocks (or of its copy in blocks), of its plain copy */
  uint32_t *root_of;                        /* by cluster: id + 1 of its heavy node; 0: elementwise only */
  LT_VEC(lt_made) made;
  uint32_t *made_of;                        /* by value of `from` */
} lt_layouts;

/* ---- convolutions ---- */

/* A convolution of any of the three kinds: the channels of its first operand, and the zeros that are read around it. */
typedef struct lt_conv { lt_conv_kind kind; int64_t groups, channels; lt_halo halo; } lt_conv;

static int64_t groups_of(const lt_node *n) {
  if (n->op == LT_OP_conv2d) return ((const lt_conv2d_attrs *)n->attrs)->groups;
  if (n->op == LT_OP_conv2d_grad_input) return ((const lt_conv2d_grad_input_attrs *)n->attrs)->groups;
  return ((const lt_conv2d_grad_weight_attrs *)n->attrs)->groups;
}

static bool conv_of(lt_conv *out, const lt_graph *g, const lt_node *n) {
  *out = (lt_conv){0};
  if (n->op != LT_OP_conv2d && n->op != LT_OP_conv2d_grad_input && n->op != LT_OP_conv2d_grad_weight) return false;
  const bool adjoint = n->op == LT_OP_conv2d_grad_input;
  const lt_type *image = lt_type_of(g, adjoint ? n->out : n->in[0]),
                *windows = lt_type_of(g, adjoint ? n->in[0] : n->op == LT_OP_conv2d ? n->out : n->in[1]);
  const lt_window w = lt_window_of(g, n);
  *out = (lt_conv){.groups = groups_of(n), .channels = lt_type_of(g, n->in[0])->dim[1]};
  out->kind = lt_conv_kind_of(image->dim[1], windows->dim[1], out->groups);
  for (unsigned k = 0; k < w.n; k++) {
    lt_window_halo h = adjoint ? lt_halo_of_adjoint(&w.axis[k]) : lt_halo_of_windows(&w.axis[k]);
    out->halo.v[k] = h.before, out->halo.v[k + 2] = h.after;
  }
  return true;
}

/* ---- who wants blocks, who can make them ---- */

/* Does the kernel with this root walk its result's channels in blocks, or can it? What is fused into it is read and
 * written at the same coordinates: where they are not 16·block + lane, nothing of it may be blocked. A grouped convolution
 * whose groups are no multiple of 16 walks channels as group·n + 16·block + lane; a weight gradient's lanes are axis 0. */
static bool walks_blocks(const lt_graph *g, const lt_node *n) {
  lt_conv c;
  switch (lt_facts(n)->blocks) {
  case LT_BLOCKS_EACH: case LT_BLOCKS_POOL: return true;
  case LT_BLOCKS_AXES: return lt_type_of(g, n->in[0])->rank == 4;
  case LT_BLOCKS_FPROP: case LT_BLOCKS_DGRAD: return conv_of(&c, g, n) && c.kind != LT_CONV_PLAIN;
  case LT_BLOCKS_WGRAD: case LT_BLOCKS_RIGHT: case LT_BLOCKS__: return false;
  }
  return false;
}

static const lt_node *root_of(const lt_layouts *s, const lt_node *n) {
  uint32_t i = n->cluster ? s->root_of[n->cluster] : 0;
  return i ? s->from->nodes.at[i - 1] : n;
}

static bool can_block(const lt_layouts *s, lt_value v) {
  const lt_graph *g = s->from;
  const lt_node *n = lt_node_of(g, v);
  return lt_type_of(g, v)->rank == 4 && lt_facts(n)->blocks != LT_BLOCKS_AXES && walks_blocks(g, root_of(s, n));
}

static void prefer(lt_layouts *s, lt_value v) {
  if (v && can_block(s, v)) s->blocked[v] = true;
}

static void prefer_in_operands(lt_layouts *s, const lt_node *n) {
  const lt_graph *g = s->from;
  const lt_type *y = lt_type_of(g, n->out);
  lt_conv c;
  if (conv_of(&c, g, n)) {
    if (c.kind == LT_CONV_PLAIN) return;
    if (c.channels >= 16 || c.kind == LT_CONV_DEPTHWISE) prefer(s, n->in[0]);
    if (lt_facts(n)->blocks == LT_BLOCKS_WGRAD) prefer(s, n->in[1]);
  } else if (lt_facts(n)->blocks == LT_BLOCKS_POOL) {
    if (s->blocked[n->out] || y->dim[1] >= 16) prefer(s, n->in[0]);
  } else if (lt_facts(n)->blocks == LT_BLOCKS_EACH && s->blocked[n->out]) {
    for (unsigned k = 0; k < n->n_in; k++)
      if (n->in[k] && !memcmp(lt_type_of(g, n->in[k])->dim, y->dim, sizeof y->dim)) prefer(s, n->in[k]);
  }
}

/* ---- needs ---- */

static lt_need plain(void) { return (lt_need){false, {LT_PLAIN, {0}, 0}}; }

static lt_need panel(lt_panel_kind kind, int64_t groups) {
  return (lt_need){false, {LT_PANEL, {0}, lt_panel_make(kind, groups)}};
}

static lt_need with_halo(lt_layout_kind kind, const lt_halo *h) {
  lt_need n = {false, {.kind = kind}};
  memcpy(n.layout.halo, h->v, sizeof h->v);
  return n;
}

static lt_need need_of_conv(const lt_layouts *s, const lt_node *n, unsigned k, const lt_conv *c) {
  lt_value v = n->in[k];
  if (k == 2) return plain();
  if (k == 1 && lt_facts(n)->blocks != LT_BLOCKS_WGRAD) {
    if (c->kind == LT_CONV_DEPTHWISE) return panel(LT_PANEL_DEPTHWISE, 1);
    return panel(lt_facts(n)->blocks == LT_BLOCKS_FPROP ? LT_PANEL_CONV : LT_PANEL_CONV_T, c->groups);
  }
  if (c->kind == LT_CONV_DEPTHWISE || (k == 1 && c->kind == LT_CONV_BLOCKED))
    return s->blocked[v] ? (lt_need){.any = true} : with_halo(LT_BLOCKED, &s->halo[v]);
  if (k == 1) return plain();
  if (s->blocked[v] && c->kind == LT_CONV_BLOCKED) return (lt_need){.any = true};
  if (c->kind == LT_CONV_BLOCKED && c->channels >= 16) return with_halo(LT_BLOCKED, &s->halo[v]);
  return with_halo(LT_PLAIN, &s->plain_halo[v]);
}

/* A matrix product's right operand stands ready in rows of 16 lanes, or is packed where that pays. */
static lt_need need_of_matrix(const lt_layouts *s, const lt_node *n, unsigned k) {
  if (k != 1) return plain();
  bool turned = n->op == LT_OP_matmul && ((const lt_matmul_attrs *)n->attrs)->transpose_b;
  if (turned || (s->weights_apart && s->fixed[lt_node_of(s->from, n->in[1])->id]))
    return panel(turned ? LT_PANEL_MATRIX_T : LT_PANEL_MATRIX, 1);
  return plain();
}

/* Does this reduction (root of its cluster) leave the channels alone, so that it can walk in blocks? */
static bool keeps_channels(const lt_graph *g, const lt_node *n) {
  if (lt_type_of(g, n->in[0])->rank != 4) return false;
  const lt_ints axes = lt_facts(n)->axes(n).axes;
  for (int64_t i = 0; i < axes.n; i++)
    if (axes.v[i] == 1) return false;
  return true;
}

static lt_need need_of(const lt_layouts *s, const lt_node *n, unsigned k) {
  const lt_node *root = root_of(s, n);
  bool blocks = walks_blocks(s->from, root) && lt_type_of(s->from, n->out)->rank == 4;
  lt_conv c;
  switch (lt_facts(n)->blocks) {
  case LT_BLOCKS_FPROP: case LT_BLOCKS_DGRAD: case LT_BLOCKS_WGRAD:
    conv_of(&c, s->from, n);
    return need_of_conv(s, n, k, &c);
  case LT_BLOCKS_RIGHT: return need_of_matrix(s, n, k);
  case LT_BLOCKS_POOL: return (lt_need){.any = true};
  case LT_BLOCKS_AXES: case LT_BLOCKS_EACH: case LT_BLOCKS__: break;
  }
  if (lt_facts(root)->blocks == LT_BLOCKS_AXES) blocks = keeps_channels(s->from, root);
  return blocks ? (lt_need){.any = true} : plain();
}

static void widen(lt_halo *h, const lt_halo *by) {
  for (int i = 0; i < 4; i++) h->v[i] = LT_MAX(h->v[i], by->v[i]);
}

static void collect_halos(lt_layouts *s, const lt_node *n) {
  lt_conv c;
  if (!conv_of(&c, s->from, n) || c.kind == LT_CONV_DEPTHWISE) return;
  lt_value v = n->in[0];
  bool blocks = c.kind == LT_CONV_BLOCKED && (s->blocked[v] || c.channels >= 16);
  widen(blocks ? &s->halo[v] : &s->plain_halo[v], &c.halo);
}

/* ---- the copy ---- */

static bool same_layout(const lt_layout *a, const lt_layout *b) {
  return a->kind == b->kind && a->panel == b->panel && !memcmp(a->halo, b->halo, sizeof a->halo);
}

static bool packs_matrix(const lt_layout *l) {
  lt_panel_kind k = lt_panel_kind_of(l->panel);
  return l->kind == LT_PANEL && (k == LT_PANEL_MATRIX || k == LT_PANEL_MATRIX_T);
}

static lt_value convert(lt_rewrite *r, lt_value old, const lt_layout *want) {
  lt_layouts *s = r->ctx;
  for (uint32_t i = s->made_of[old]; i; i = s->made.at[i - 1].next)
    if (same_layout(&s->made.at[i - 1].layout, want)) return s->made.at[i - 1].to;
  lt_value from = r->map[old];
  if (s->blocked[old] && packs_matrix(want)) { /* its batch axes, the channels among them, are walked one by one */
    const lt_layout apart = plain().layout;
    from = convert(r, old, &apart);
  }
  r->to->origin = want->kind == LT_PANEL ? "pack" : "layout";
  lt_value v = lt_emit(r->to, LT_OP_layout, NULL, &from, 1);
  r->to->values.at[v].layout = *want;
  lt_made m = {old, v, *want, s->made_of[old]};
  lt_vec_push(s->a, &s->made, m);
  s->made_of[old] = s->made.n;
  return v;
}

static lt_layout layout_of(const lt_layouts *s, lt_value v) {
  lt_layout l = s->from->values.at[v].layout;
  if (!s->blocked[v]) return l;
  l = (lt_layout){.kind = LT_BLOCKED};
  memcpy(l.halo, s->halo[v].v, sizeof l.halo);
  return l;
}

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_layouts *s = r->ctx;
  lt_value *own = LT_NEW_ARRAY(s->a, lt_value, n->n_in + 1u);
  const char *origin = r->to->origin;
  for (unsigned k = 0; k < n->n_in; k++) {
    own[k] = in[k];
    if (!n->in[k]) continue;
    const lt_node *from = lt_node_of(s->from, n->in[k]);
    if (n->cluster && n->cluster == from->cluster) continue;
    lt_need need = need_of(s, n, k);
    lt_layout now = layout_of(s, n->in[k]);
    if (!need.any && !same_layout(&need.layout, &now)) own[k] = convert(r, n->in[k], &need.layout);
  }
  r->to->origin = origin;
  lt_value v = lt_copy_node(r, n, own);
  for (unsigned i = 0; i < n->n_out; i++) r->to->values.at[v + i].layout = layout_of(s, n->out + i);
  return true;
}

void lt_pass_layout(lt_graph *to, const lt_graph *from) {
  lt_arena *a = &to->arena;
  lt_layouts s = {.from = from, .a = a, .live = lt_live_nodes(a, from), .fixed = lt_static_nodes(a, from)};
  s.weights_apart = from->mode == LT_MODE_RUN && from->updates.n == 0;
  s.blocked = LT_NEW_ARRAY(a, bool, from->values.n);
  s.halo = LT_NEW_ARRAY(a, lt_halo, from->values.n);
  s.plain_halo = LT_NEW_ARRAY(a, lt_halo, from->values.n);
  s.made_of = LT_NEW_ARRAY(a, uint32_t, from->values.n);
  s.root_of = LT_NEW_ARRAY(a, uint32_t, from->nodes.n + 1);
  for (uint32_t i = 0; i < from->nodes.n; i++) {
    const lt_node *n = from->nodes.at[i];
    if (s.live[i] && n->cluster && !(lt_op_table[n->op].flags & LT_MAP)) s.root_of[n->cluster] = i + 1;
  }
  for (uint32_t i = from->nodes.n; i-- > 0;)
    if (s.live[i]) prefer_in_operands(&s, from->nodes.at[i]);
  for (uint32_t i = 0; i < from->nodes.n; i++)
    if (s.live[i]) collect_halos(&s, from->nodes.at[i]);
  lt_rewrite_graph(to, from, visit, &s);
}
