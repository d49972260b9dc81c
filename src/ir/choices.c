/* choices.c: algorithms, layouts and panels: their names, and where each fits. The pass `choose` asks before it
 * decides, the verifier and the text reader ask about what they are given. */
#include "ir/window.h"

static const char *const algorithms[] = {
#define ALGORITHM(name, doc) #name,
#include "ir/choices.def"
  NULL};
static const char *const panels[] = {
#define PANEL(name, doc) #name,
#include "ir/choices.def"
  NULL};

const char *const *lt_algorithm_names(void) { return algorithms; }
const char *const *lt_panel_names(void) { return panels; }
const char *lt_algorithm_name(lt_algorithm a) { return a ? algorithms[a - 1] : "none"; }
const char *lt_panel_name(lt_panel_kind k) { return k ? panels[k - 1] : "none"; }

static unsigned find(const char *const *names, const char *name) {
  for (unsigned i = 0; names[i]; i++)
    if (!strcmp(names[i], name)) return i + 1;
  return 0;
}

lt_algorithm lt_algorithm_find(const char *name) { return (lt_algorithm)find(algorithms, name); }
lt_panel_kind lt_panel_find(const char *name) { return (lt_panel_kind)find(panels, name); }

/* ---- algorithms -------------------------------------------------------------------------------------------------- */

bool lt_conv_channels_of(lt_conv_channels *out, const lt_graph *g, const lt_node *n) {
  const int64_t *a = n->n_in ? lt_type_of(g, n->in[0])->dim : NULL;
  switch (lt_facts(n)->blocks) {
  case LT_BLOCKS_FPROP:
    *out = (lt_conv_channels){a[1], lt_type_of(g, n->out)->dim[1], ((const lt_conv2d_attrs *)n->attrs)->groups};
    return true;
  case LT_BLOCKS_DGRAD:
    *out =
      (lt_conv_channels){lt_type_of(g, n->out)->dim[1], a[1], ((const lt_conv2d_grad_input_attrs *)n->attrs)->groups};
    return true;
  case LT_BLOCKS_WGRAD:
    *out = (lt_conv_channels){a[1], lt_type_of(g, n->in[1])->dim[1],
                              ((const lt_conv2d_grad_weight_attrs *)n->attrs)->groups};
    return true;
  case LT_BLOCKS__: case LT_BLOCKS_EACH: case LT_BLOCKS_POOL: case LT_BLOCKS_AXES: case LT_BLOCKS_RIGHT:
  case LT_BLOCKS_TILES: case LT_BLOCKS_UNTILE: case LT_BLOCKS_PARTS: break;
  }
  return false;
}

static bool whole_blocks(const lt_conv_channels *c) {
  return c->groups == 1 || (c->image % (16 * c->groups) == 0 && c->windows % (16 * c->groups) == 0);
}

static bool halo_pays(const lt_graph *g, const lt_node *n) {
  const lt_window w = lt_window_of(g, n);
  return lt_halo_pays(&w, lt_facts(n)->blocks == LT_BLOCKS_DGRAD);
}

/* Windows along a row side by side, or two pixels apart; of the adjoint all pixels must be one run of phases
 * (window.h), of a weight gradient it is the taps, of one group. */
static bool in_rows(const lt_graph *g, const lt_node *n, const lt_conv_channels *c) {
  const unsigned kind = lt_facts(n)->blocks;
  const lt_window w = lt_window_of(g, n);
  const lt_window_axis *row = &w.axis[0], *col = &w.axis[1];
  if (kind == LT_BLOCKS_WGRAD) return c->groups == 1 && col->dilation == 1;
  if (kind == LT_BLOCKS_FPROP) return col->stride <= 2;
  return row->stride == 1 && col->stride == 1 && row->windows > 1 && col->windows > 1;
}

bool lt_algorithm_fits(lt_algorithm a, const lt_graph *g, const lt_node *n) {
  lt_conv_channels c;
  bool conv = lt_conv_channels_of(&c, g, n);
  switch (a) {
  case LT_ALGORITHM_none: return true;
  case LT_ALGORITHM_rows: return conv && in_rows(g, n, &c) && halo_pays(g, n);
  case LT_ALGORITHM_direct: return conv && whole_blocks(&c) && halo_pays(g, n);
  case LT_ALGORITHM_depthwise: return conv && c.groups == c.image && c.groups == c.windows;
  case LT_ALGORITHM_grouped: return conv && halo_pays(g, n);
  case LT_ALGORITHM_guarded: return conv;
  case LT_ALGORITHM_product: return lt_facts(n)->blocks == LT_BLOCKS_RIGHT;
  }
  return false;
}

/* ---- layouts and panels ------------------------------------------------------------------------------------------ */

bool lt_layout_eq(const lt_layout *a, const lt_layout *b) {
  return a->kind == b->kind && a->panel.kind == b->panel.kind && a->panel.groups == b->panel.groups &&
         !memcmp(a->halo, b->halo, sizeof a->halo);
}

bool lt_has_halo(const lt_layout *l) { return l->halo[0] || l->halo[1] || l->halo[2] || l->halo[3]; }

static const char *panel_misfit(lt_arena *a, const lt_type *t, const lt_panel *p) {
  bool matrix = p->kind == LT_PANEL_matrix || p->kind == LT_PANEL_matrix_t;
  bool grouped = p->kind == LT_PANEL_conv || p->kind == LT_PANEL_conv_t;
  const char *name = lt_panel_name(p->kind);
  if (p->kind == LT_PANEL_none) return "a panel of no kind";
  if (matrix ? t->rank < 2 : t->rank != 4)
    return lt_arena_printf(a, "a panel %s, which is for rank %s, not %u", name, matrix ? "2 and more" : "4", t->rank);
  if (!grouped && p->groups != 1) return lt_arena_printf(a, "a panel %s with groups, which it has not", name);
  if (p->kind == LT_PANEL_depthwise && t->dim[1] != 1)
    return lt_arena_printf(a, "a panel depthwise, which is for filters of one channel, not %lld", (long long)t->dim[1]);
  if (p->groups < 1 || (grouped && t->dim[0] % p->groups != 0))
    return lt_arena_printf(a, "%lld groups, which do not divide %lld filters", (long long)p->groups,
                           (long long)t->dim[0]);
  return NULL;
}

/* Worded to stand behind "it has". */
const char *lt_layout_misfit(lt_arena *a, const lt_type *t, const lt_layout *l) {
  for (int i = 0; i < 4; i++)
    if (l->halo[i] < 0) return "a negative halo";
  if ((l->kind == LT_BLOCKED || lt_has_halo(l)) && t->rank != 4)
    return lt_arena_printf(a, "a layout for rank 4, not %u", t->rank);
  return l->kind == LT_PANEL ? panel_misfit(a, t, &l->panel) : NULL;
}

int64_t lt_panel_count(const lt_type *t, lt_panel p) {
  int64_t batch = 1;
  const int64_t *d = t->dim;
  unsigned r = t->rank;
  for (unsigned i = 0; i + 2 < r; i++) batch *= d[i];
  switch (p.kind) {
  case LT_PANEL_conv: return p.groups * lt_ceil_div(d[0] / p.groups, 16) * d[1] * d[2] * d[3] * 16;
  case LT_PANEL_conv_t: return p.groups * lt_ceil_div(d[1], 16) * (d[0] / p.groups) * d[2] * d[3] * 16;
  case LT_PANEL_depthwise: return lt_ceil_div(d[0], 16) * d[2] * d[3] * 16;
  case LT_PANEL_matrix: return batch * lt_ceil_div(d[r - 1], 16) * d[r - 2] * 16;
  case LT_PANEL_matrix_t: return batch * lt_ceil_div(d[r - 2], 16) * d[r - 1] * 16;
  case LT_PANEL_none: break;
  }
  return lt_type_count(t);
}
