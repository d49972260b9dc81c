/* choose.c: decides how each heavy node is computed and how every value stands in memory, and writes it into the graph:
 * the algorithm, the layouts of results, and the operands that are read from a copy in another layout. `layout` makes
 * those copies and planning computes what is written here; neither decides anything again.
 *
 * Values around convolutions and pooling stand in blocks of 16 channels where some reader gains by it; readers that
 * cannot use blocks read a plain copy. A convolution's image carries the zeros around it (halo), so that kernels never
 * ask whether a tap is inside. Weights are read as the panels of choices.def.
 *
 * Three sweeps: preferences from users to operands, halos, then the copy of the graph with the notes. */
#include "ir/pass/parts.h"
#include "ir/winograd.h"

typedef struct lt_halo { int64_t v[4]; } lt_halo; /* top, left, bottom, right */

/* What one reader needs of one operand. */
typedef struct lt_need { bool any; lt_layout layout; } lt_need;

typedef struct lt_chooser {
  const lt_graph *from;
  lt_job *job;
  lt_arena *a;
  const bool *live, *fixed;
  bool weights_apart;         /* params and states do not change: packed once */
  lt_algorithm *algorithm;    /* by node */
  bool *blocked;              /* by value */
  lt_halo *halo, *plain_halo; /* by value: of it in blocks (or of its copy in blocks), of its plain copy */
  uint32_t *root_of;          /* by cluster: id + 1 of its heavy node; 0: elementwise only */
} lt_chooser;

/* ---- convolutions ---- */

/* Do pixels of a row fill 16 lanes better than the result's channels? In vectors of multiply-adds per pixel and group;
 * an image that would stand in blocks is copied, which takes about as long per channel. A result of 16 channels and
 * more had better stand in blocks too. In a weight gradient it is taps of a row against output channels, and may be a
 * little worse: a few channels of the other gradient need no blocks then. */
static bool rows_pay(const lt_graph *g, const lt_node *n) {
  lt_conv_channels c;
  if (!lt_conv_channels_of(&c, g, n)) return false;
  const lt_window w = lt_window_of(g, n);
  const lt_type *y = lt_type_of(g, n->out);
  if (lt_facts(n)->blocks == LT_BLOCKS_WGRAD)
    return c.image < 16 && (double)c.windows <= 1.25 * (double)w.axis[1].kernel / (double)lt_ceil_div(y->dim[3], 16);
  const int64_t from = lt_type_of(g, n->in[0])->dim[1] / c.groups, to = y->dim[1] / c.groups;
  if (to >= 16 || (c.groups > 1 && lt_algorithm_fits(LT_ALGORITHM_depthwise, g, n))) return false;
  const int64_t turning = w.axis[1].stride > 1 ? 2 : 0; /* of pixels two apart, as long as so many channels */
  const double direct = (double)(from * w.axis[0].kernel * w.axis[1].kernel);
  const double rows = direct * (double)((to + turning) * lt_ceil_div(y->dim[3], 16)) / (double)y->dim[3];
  return rows + (c.groups > 1 || from < 16 ? 0 : (double)from) < 0.75 * direct;
}

/* The first that fits; most ops have one way only. */
static lt_algorithm algorithm_of(const lt_graph *g, const lt_node *n) {
  for (unsigned i = 0; lt_algorithm_names()[i]; i++) {
    const lt_algorithm a = (lt_algorithm)(i + 1);
    if (lt_algorithm_fits(a, g, n) && (a != LT_ALGORITHM_rows || rows_pay(g, n))) return a;
  }
  return LT_ALGORITHM_none;
}

/* A convolution of any of the three kinds: the channels of its first operand, and the zeros that are read around it,
 * those of lanes past the end of a row too. */
typedef struct lt_conv { lt_algorithm algorithm; int64_t groups, channels; lt_halo halo; } lt_conv;

static bool conv_of(lt_conv *out, const lt_chooser *s, const lt_node *n) {
  const lt_graph *g = s->from;
  lt_conv_channels c;
  *out = (lt_conv){0};
  if (!lt_conv_channels_of(&c, g, n)) return false;
  const bool adjoint = lt_facts(n)->blocks == LT_BLOCKS_DGRAD;
  const lt_window w = lt_window_of(g, n);
  *out = (lt_conv){.algorithm = s->algorithm[n->id], .groups = c.groups, .channels = lt_type_of(g, n->in[0])->dim[1]};
  for (unsigned k = 0; k < w.n; k++) {
    lt_window_halo h = adjoint ? lt_halo_of_adjoint(&w.axis[k]) : lt_halo_of_windows(&w.axis[k]);
    out->halo.v[k] = h.before, out->halo.v[k + 2] = h.after;
  }
  const int64_t width = lt_type_of(g, n->out)->dim[3],
                apart = lt_facts(n)->blocks == LT_BLOCKS_FPROP ? w.axis[1].stride : 1;
  if (out->algorithm == LT_ALGORITHM_rows) out->halo.v[3] += (lt_ceil_div(width, 16) * 16 - width) * apart;
  return true;
}

/* ---- who wants blocks, who can make them ---- */

/* Ways that walk channels as 16·block + lane. */
static bool walks_channels(lt_algorithm a) { return a == LT_ALGORITHM_direct || a == LT_ALGORITHM_depthwise; }

/* Does the kernel with this root walk its result's channels in blocks, or can it? What is fused into it is read and
 * written at the same coordinates: where they are not 16·block + lane, nothing of it may be blocked. A grouped
 * convolution whose groups are no multiple of 16 walks channels as group·n + 16·block + lane; a weight gradient's lanes
 * are axis 0. */
static bool walks_blocks(const lt_chooser *s, const lt_node *n) {
  switch (lt_facts(n)->blocks) {
  case LT_BLOCKS_EACH: case LT_BLOCKS_POOL: return true;
  case LT_BLOCKS_AXES: return lt_type_of(s->from, n->in[0])->rank == 4;
  case LT_BLOCKS_FPROP: case LT_BLOCKS_DGRAD: return walks_channels(s->algorithm[n->id]);
  case LT_BLOCKS_UNTILE: return true;
  case LT_BLOCKS_PARTS: return lt_parts_of_blocks(s->from, n);
  case LT_BLOCKS_WGRAD: case LT_BLOCKS_RIGHT: case LT_BLOCKS_TILES: case LT_BLOCKS__: return false;
  }
  return false;
}

static const lt_node *root_of(const lt_chooser *s, const lt_node *n) {
  uint32_t i = n->cluster ? s->root_of[n->cluster] : 0;
  return i ? s->from->nodes.at[i - 1] : n;
}

static bool can_block(const lt_chooser *s, lt_value v) {
  const lt_graph *g = s->from;
  const lt_node *n = lt_node_of(g, v);
  return lt_type_of(g, v)->rank == 4 && lt_facts(n)->blocks != LT_BLOCKS_AXES && walks_blocks(s, root_of(s, n));
}

static void prefer(lt_chooser *s, lt_value v) {
  if (v && can_block(s, v)) s->blocked[v] = true;
}

/* Does this reduction (root of its cluster) leave the channels alone, so that it can walk in blocks? */
static bool keeps_channels(const lt_graph *g, const lt_node *n) {
  if (lt_type_of(g, n->in[0])->rank != 4) return false;
  const lt_ints axes = lt_facts(n)->axes(n).axes;
  for (int64_t i = 0; i < axes.n; i++)
    if (axes.v[i] == 1) return false;
  return true;
}

/* What a reduction reads had better stand as what it is made of: d*d beside d, which others read in blocks. */
static bool made_of_blocks(const lt_chooser *s, lt_value v) {
  const lt_node *n = lt_node_of(s->from, v);
  bool any = false;
  if (lt_facts(n)->blocks != LT_BLOCKS_EACH) return false;
  for (unsigned k = 0; k < n->n_in; k++) any |= n->in[k] && s->blocked[n->in[k]];
  return any;
}

static void prefer_in_operands(lt_chooser *s, const lt_node *n) {
  const lt_graph *g = s->from;
  const lt_type *y = lt_type_of(g, n->out);
  lt_conv c;
  if (conv_of(&c, s, n)) {
    /* `rows` reads a copy, but who makes many channels had better make blocks */
    if (c.algorithm == LT_ALGORITHM_rows && c.groups == 1 && c.channels >= 16) prefer(s, n->in[0]);
    if (!walks_channels(c.algorithm)) return;
    if (c.channels >= 16 || c.algorithm == LT_ALGORITHM_depthwise) prefer(s, n->in[0]);
    if (lt_facts(n)->blocks == LT_BLOCKS_WGRAD) prefer(s, n->in[1]);
  } else if (lt_facts(n)->blocks == LT_BLOCKS_TILES) {
    prefer(s, n->in[0]);
  } else if (lt_facts(n)->blocks == LT_BLOCKS_AXES) {
    if (keeps_channels(g, n) && made_of_blocks(s, n->in[0])) prefer(s, n->in[0]);
  } else if (lt_facts(n)->blocks == LT_BLOCKS_POOL) {
    for (unsigned k = 0; k < n->n_in; k++)
      if (s->blocked[n->out] || y->dim[1] >= 16) prefer(s, n->in[k]);
  } else if (lt_facts(n)->blocks == LT_BLOCKS_PARTS && s->blocked[n->out]) {
    for (unsigned k = 0; k < n->n_in; k++) prefer(s, n->in[k]);
  } else if (lt_facts(n)->blocks == LT_BLOCKS_EACH && s->blocked[n->out]) {
    for (unsigned k = 0; k < n->n_in; k++)
      if (n->in[k] && !memcmp(lt_type_of(g, n->in[k])->dim, y->dim, sizeof y->dim)) prefer(s, n->in[k]);
  }
}

/* A whole had better stand in blocks too where all its parts do, and a part where the whole does: nothing is copied. */
static void prefer_with_parts(lt_chooser *s, const lt_node *n) {
  bool all = lt_facts(n)->blocks == LT_BLOCKS_PARTS;
  for (unsigned k = 0; all && k < n->n_in; k++) all = s->blocked[n->in[k]];
  if (all) prefer(s, n->out);
}

static void prefer_blocks(lt_chooser *s) {
  const lt_graph *g = s->from;
  for (uint32_t i = g->nodes.n; i-- > 0;)
    if (s->live[i]) prefer_in_operands(s, g->nodes.at[i]);
  for (uint32_t i = 0; i < g->nodes.n; i++)
    if (s->live[i]) prefer_with_parts(s, g->nodes.at[i]);
  for (uint32_t i = g->nodes.n; i-- > 0;)
    if (s->live[i]) prefer_in_operands(s, g->nodes.at[i]);
}

/* ---- needs ---- */

static lt_need plain(void) { return (lt_need){.layout = {.kind = LT_PLAIN}}; }

static lt_need panel(lt_panel_kind kind, int64_t groups) {
  return (lt_need){.layout = {.kind = LT_PANEL, .panel = {kind, groups}}};
}

static lt_need with_halo(lt_layout_kind kind, const lt_halo *h) {
  lt_need n = {.layout = {.kind = kind}};
  memcpy(n.layout.halo, h->v, sizeof h->v);
  return n;
}

static lt_need need_of_conv(const lt_chooser *s, const lt_node *n, unsigned k, const lt_conv *c) {
  lt_value v = n->in[k];
  if (k == 2 || c->algorithm == LT_ALGORITHM_guarded) return plain();
  if (k == 1 && c->algorithm == LT_ALGORITHM_rows)
    return lt_facts(n)->blocks == LT_BLOCKS_WGRAD && !s->blocked[v] ? (lt_need){.any = true} : plain();
  if (k == 1 && lt_facts(n)->blocks != LT_BLOCKS_WGRAD) {
    if (c->algorithm == LT_ALGORITHM_depthwise) return panel(LT_PANEL_depthwise, 1);
    return panel(lt_facts(n)->blocks == LT_BLOCKS_FPROP ? LT_PANEL_conv : LT_PANEL_conv_t, c->groups);
  }
  if (c->algorithm == LT_ALGORITHM_depthwise || (k == 1 && c->algorithm == LT_ALGORITHM_direct))
    return s->blocked[v] ? (lt_need){.any = true} : with_halo(LT_BLOCKED, &s->halo[v]);
  if (k == 1) return plain();
  if (s->blocked[v] && c->algorithm == LT_ALGORITHM_direct) return (lt_need){.any = true};
  if (c->algorithm == LT_ALGORITHM_direct && c->channels >= 16) return with_halo(LT_BLOCKED, &s->halo[v]);
  return with_halo(LT_PLAIN, &s->plain_halo[v]);
}

/* Is v a weight turned or cut, which would be copied for whoever cannot look through that? */
static bool moved_leaf(const lt_graph *g, lt_value v) {
  const lt_node *n = lt_node_of(g, v);
  return lt_facts(n)->moves == LT_MOVES_INDEX && lt_is_leaf(g, n->in[0]);
}

/* A matrix product's right operand stands ready in rows of 16 lanes, or is packed where that pays: it always does
 * where a copy is made anyway. */
static lt_need need_of_matrix(const lt_chooser *s, const lt_node *n, unsigned k) {
  if (k != 1) return plain();
  bool turned = n->op == LT_OP_matmul && ((const lt_matmul_attrs *)n->attrs)->transpose_b;
  if (turned || moved_leaf(s->from, n->in[1]) || (s->weights_apart && s->fixed[lt_node_of(s->from, n->in[1])->id]))
    return panel(turned ? LT_PANEL_matrix_t : LT_PANEL_matrix, 1);
  return plain();
}

static lt_need need_of_tiles(const lt_chooser *s, lt_value image) {
  return s->blocked[image] ? (lt_need){.any = true} : with_halo(LT_BLOCKED, &s->halo[image]);
}

/* A concat takes its operands as they stand. Who reads a slice reads what it is cut from, in whole blocks or plain. */
static lt_need need_of_parts(const lt_chooser *s, const lt_node *n) {
  const bool joins = lt_facts(n)->moves == LT_MOVES_COPY;
  return joins || s->blocked[n->out] ? (lt_need){.any = true} : plain();
}

static lt_need need_of(const lt_chooser *s, const lt_node *n, unsigned k) {
  const lt_node *root = root_of(s, n);
  bool blocks = walks_blocks(s, root) && lt_type_of(s->from, n->out)->rank == 4;
  lt_conv c;
  switch (lt_facts(n)->blocks) {
  case LT_BLOCKS_FPROP: case LT_BLOCKS_DGRAD: case LT_BLOCKS_WGRAD: conv_of(&c, s, n); return need_of_conv(s, n, k, &c);
  case LT_BLOCKS_RIGHT: return need_of_matrix(s, n, k);
  case LT_BLOCKS_POOL: return (lt_need){.any = true};
  case LT_BLOCKS_TILES: return need_of_tiles(s, n->in[k]);
  case LT_BLOCKS_UNTILE: return plain();
  case LT_BLOCKS_PARTS: return need_of_parts(s, n);
  case LT_BLOCKS_AXES: case LT_BLOCKS_EACH: case LT_BLOCKS__: break;
  }
  if (lt_facts(root)->blocks == LT_BLOCKS_AXES) blocks = keeps_channels(s->from, root);
  return blocks ? (lt_need){.any = true} : plain();
}

static void widen(lt_halo *h, const lt_halo *by) {
  for (int i = 0; i < 4; i++) h->v[i] = LT_MAX(h->v[i], by->v[i]);
}

/* The value with its halo must fit, as every value must. */
static void need_memory(const lt_chooser *s, const lt_node *n, lt_value v, const lt_halo *h, bool blocks) {
  const lt_graph *g = s->from;
  const lt_type *t = lt_type_of(g, v);
  int64_t rows = t->dim[2] + h->v[0] + h->v[2], cols = t->dim[3] + h->v[1] + h->v[3], bytes;
  int64_t channels = blocks ? lt_ceil_div(t->dim[1], 16) * 16 : t->dim[1];
  bool fits = lt_mul_ok(&bytes, rows, cols) && lt_mul_ok(&bytes, bytes, channels) &&
              lt_mul_ok(&bytes, bytes, t->dim[0]) && lt_mul_ok(&bytes, bytes, (int64_t)lt_dtype_size(t->dtype));
  if (fits && (!g->max_bytes || bytes <= g->max_bytes)) return;
  lt_fail(s->job, LATHE_E_INVALID, &n->loc,
          "%s: %s with the zeros around it, %lld x %lld pixels, takes %s%lld bytes, more than the limit of %lld\n"
          "help: a smaller pad or dilation, or raise it with --max-bytes",
          lt_op_table[n->op].name, lt_type_text(s->a, t), (long long)rows, (long long)cols, fits ? "" : "more than ",
          (long long)(fits ? bytes : INT64_MAX), (long long)g->max_bytes);
}

static void collect_halo_of_tiles(lt_chooser *s, const lt_node *n) {
  const lt_winograd_image_attrs *a = n->attrs;
  const lt_tiles t = lt_tiles_of(lt_winograd_of(a->tile), lt_type_of(s->from, n->in[0]), &a->pad);
  const lt_halo h = {{a->pad.v[0], a->pad.v[1], t.after[0], t.after[1]}};
  widen(&s->halo[n->in[0]], &h);
  need_memory(s, n, n->in[0], &h, true);
}

static void collect_halos(lt_chooser *s, const lt_node *n) {
  lt_conv c;
  if (lt_facts(n)->blocks == LT_BLOCKS_TILES) collect_halo_of_tiles(s, n);
  if (!conv_of(&c, s, n) || c.algorithm == LT_ALGORITHM_depthwise || c.algorithm == LT_ALGORITHM_guarded) return;
  lt_value v = n->in[0];
  bool blocks = c.algorithm == LT_ALGORITHM_direct && (s->blocked[v] || c.channels >= 16);
  lt_halo *h = blocks ? &s->halo[v] : &s->plain_halo[v];
  widen(h, &c.halo);
  need_memory(s, n, v, h, blocks);
}

/* Zeros that take no more memory than the image. */
static bool small_halo(const lt_halo *h, const lt_type *t) {
  return h->v[0] + h->v[2] <= t->dim[2] && h->v[1] + h->v[3] <= t->dim[3];
}

/* Parts stand in the whole, so they have the same zeros around them. */
static bool share_halo(lt_chooser *s, const lt_node *n) {
  bool wider = false;
  if (lt_facts(n)->blocks != LT_BLOCKS_PARTS || !lt_parts_of_planes(s->from, n)) return false;
  lt_halo *whole = &s->halo[n->out];
  for (unsigned k = 0; s->blocked[n->out] && k < n->n_in; k++) {
    lt_halo *part = &s->halo[n->in[k]], all = *part;
    widen(&all, whole);
    if (!s->blocked[n->in[k]] || !small_halo(&all, lt_type_of(s->from, n->out))) continue;
    wider |= memcmp(&all, part, sizeof all) != 0 || memcmp(&all, whole, sizeof all) != 0;
    *part = *whole = all;
  }
  return wider;
}

/* From parts to wholes and back, until all agree. */
static void share_halos(lt_chooser *s) {
  const lt_graph *g = s->from;
  for (bool wider = true; wider;) {
    wider = false;
    for (uint32_t i = 0; i < g->nodes.n; i++) wider |= s->live[i] && share_halo(s, g->nodes.at[i]);
    for (uint32_t i = g->nodes.n; i-- > 0;) wider |= s->live[i] && share_halo(s, g->nodes.at[i]);
  }
}

/* ---- the notes ---- */

/* A `layout` node is what it is; of others, what an earlier run or a text has noted does not count. */
static lt_layout layout_of(const lt_chooser *s, lt_value v) {
  lt_layout l = {.kind = s->blocked[v] ? LT_BLOCKED : LT_PLAIN};
  if (lt_op_of(s->from, v) == LT_OP_layout) return s->from->values.at[v].layout;
  if (s->blocked[v]) memcpy(l.halo, s->halo[v].v, sizeof l.halo);
  return l;
}

/* Operands that n does not read as they stand. What its own cluster computes it gets in registers. */
static void note_copies(const lt_chooser *s, const lt_node *n, lt_arena *a, lt_node *to) {
  lt_copy *copies = LT_NEW_ARRAY(a, lt_copy, n->n_in + 1u);
  to->copies = copies, to->n_copies = 0;
  for (unsigned k = 0; k < n->n_in; k++) {
    if (!n->in[k] || (n->cluster && n->cluster == lt_node_of(s->from, n->in[k])->cluster)) continue;
    lt_need need = need_of(s, n, k);
    lt_layout now = layout_of(s, n->in[k]);
    if (!need.any && !lt_layout_eq(&need.layout, &now)) copies[to->n_copies++] = (lt_copy){k, need.layout};
  }
}

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  const lt_chooser *s = r->ctx;
  lt_value v = lt_copy_node(r, n, in);
  lt_node *to = lt_node_of(r->to, v);
  to->algorithm = s->algorithm[n->id];
  note_copies(s, n, &r->to->arena, to);
  for (unsigned i = 0; i < n->n_out; i++) r->to->values.at[v + i].layout = layout_of(s, n->out + i);
  return true;
}

void lt_pass_choose(lt_graph *to, const lt_graph *from) {
  lt_arena *a = &to->arena;
  lt_chooser s = {
    .from = from, .job = to->job, .a = a, .live = lt_live_nodes(a, from), .fixed = lt_static_nodes(a, from)};
  s.weights_apart = from->mode == LT_MODE_RUN && from->updates.n == 0;
  s.algorithm = LT_NEW_ARRAY(a, lt_algorithm, from->nodes.n + 1u);
  s.blocked = LT_NEW_ARRAY(a, bool, from->values.n);
  s.halo = LT_NEW_ARRAY(a, lt_halo, from->values.n);
  s.plain_halo = LT_NEW_ARRAY(a, lt_halo, from->values.n);
  s.root_of = LT_NEW_ARRAY(a, uint32_t, from->nodes.n + 1u);
  for (uint32_t i = 0; i < from->nodes.n; i++) {
    const lt_node *n = from->nodes.at[i];
    s.algorithm[i] = algorithm_of(from, n);
    if (s.live[i] && n->cluster && !(lt_facts(n)->flags & LT_MAP)) s.root_of[n->cluster] = i + 1;
  }
  prefer_blocks(&s);
  for (uint32_t i = 0; i < from->nodes.n; i++)
    if (s.live[i]) collect_halos(&s, from->nodes.at[i]);
  share_halos(&s);
  lt_rewrite_graph(to, from, visit, &s);
}
