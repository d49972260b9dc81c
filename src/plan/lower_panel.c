/* lower_panel.c: `layout` nodes that pack weights into panels (ir/choices.def says what each looks like). Lanes of a
 * panel past the last channel are zero. */
#include "plan/build.h"

typedef struct packer { lt_kernel_builder kb; const lt_node *n; lt_at from; lt_access to; } packer;

static void start(packer *p, lt_builder *b, const lt_unit *u) {
  *p = (packer){.n = u->root};
  lt_kernel_init(&p->kb, b, u, LT_K_LOOPS);
  p->kb.k.op = "pack";
  lt_place at = lt_place_of(b, u->root->out);
  p->to = lt_access_zero(at.buffer, at.offset);
}

/* The lanes are 16·i_block + i_lane of `channels`. */
static lt_coord lanes_of(packer *p, int block, int lane, int64_t channels) {
  p->kb.k.block_dim = block, p->kb.k.channels = channels;
  lt_coord c = lt_coord_affine(block, LT_LANES, 0);
  c.coef[lane] = 1;
  return c;
}

static void finish(packer *p) {
  int32_t x = lt_x_read(&p->kb, p->n->in[0], &p->from);
  lt_store s = {p->to, x};
  lt_vec_push(p->kb.b->a, &p->kb.store, s);
  lt_kernel_finish(&p->kb);
}

/* Rows [16·first, …) of K: `blocks` blocks of `size` channels each. `lane_axis` of W becomes lanes (0: CONV, 1:
 * CONV_T). */
static void pack_conv_part(lt_builder *b, const lt_unit *u, int lane_axis, int64_t first, int64_t blocks,
                           int64_t size) {
  packer p;
  start(&p, b, u);
  const lt_type *w = lt_type_of(b->g, u->root->in[0]);
  int64_t groups = b->g->values.at[u->root->out].layout.panel.groups, taps = w->dim[2] * w->dim[3];
  int64_t oc = w->dim[0] / groups, lanes = lane_axis ? w->dim[1] : oc, depth = lane_axis ? oc : w->dim[1];
  int64_t panel = depth * taps * LT_LANES, n_block = lt_ceil_div(lanes, LT_LANES);
  int g = lt_kernel_dim(&p.kb, groups), ob = lt_kernel_dim(&p.kb, n_block), cb = lt_kernel_dim(&p.kb, blocks);
  int kh = lt_kernel_dim(&p.kb, w->dim[2]), kw = lt_kernel_dim(&p.kb, w->dim[3]), c = lt_kernel_dim(&p.kb, size);
  int lane = lt_kernel_dim(&p.kb, LT_LANES);
  lt_coord other = lt_coord_affine(cb, LT_LANES, first * LT_LANES);
  other.coef[c] = 1;
  p.from.c[lane_axis] = lanes_of(&p, ob, lane, lanes);
  p.from.c[!lane_axis] = other;
  p.from.c[0].coef[g] = oc;
  p.from.c[2] = lt_coord_dim(kh), p.from.c[3] = lt_coord_dim(kw);
  p.to.offset += first * taps * LT_LANES * LT_LANES;
  p.to.stride[g] = n_block * panel, p.to.stride[ob] = panel, p.to.stride[cb] = taps * LT_LANES * LT_LANES;
  p.to.stride[kh] = w->dim[3] * size * LT_LANES, p.to.stride[kw] = size * LT_LANES;
  p.to.stride[c] = LT_LANES, p.to.stride[lane] = 1;
  finish(&p);
}

static void pack_conv(lt_builder *b, const lt_unit *u, int lane_axis) {
  const lt_type *w = lt_type_of(b->g, u->root->in[0]);
  int64_t groups = b->g->values.at[u->root->out].layout.panel.groups;
  int64_t depth = lane_axis ? w->dim[0] / groups : w->dim[1], blocks = depth / LT_LANES, rest = depth % LT_LANES;
  if (blocks) pack_conv_part(b, u, lane_axis, 0, blocks, LT_LANES);
  if (rest) pack_conv_part(b, u, lane_axis, blocks, 1, rest);
}

static void pack_depthwise(lt_builder *b, const lt_unit *u) {
  packer p;
  start(&p, b, u);
  const lt_type *w = lt_type_of(b->g, u->root->in[0]);
  int cb = lt_kernel_dim(&p.kb, lt_ceil_div(w->dim[0], LT_LANES)), kh = lt_kernel_dim(&p.kb, w->dim[2]);
  int kw = lt_kernel_dim(&p.kb, w->dim[3]), lane = lt_kernel_dim(&p.kb, LT_LANES);
  p.from.c[0] = lanes_of(&p, cb, lane, w->dim[0]);
  p.from.c[1] = lt_coord_zero();
  p.from.c[2] = lt_coord_dim(kh), p.from.c[3] = lt_coord_dim(kw);
  p.to.stride[cb] = w->dim[2] * w->dim[3] * LT_LANES, p.to.stride[kh] = w->dim[3] * LT_LANES;
  p.to.stride[kw] = LT_LANES, p.to.stride[lane] = 1;
  finish(&p);
}

/* So many rows of a matrix are taken at a time: where W has K along its rows' distance, the panels of all columns are
 * filled from rows that are near, and not from one end of W to the other for each. */
enum { NEAR = 64 };

static int64_t rows_at_a_time(int64_t k_size, bool together) {
  return !together && k_size > NEAR && k_size % NEAR == 0 ? NEAR : k_size;
}

/* Do the elements of v along this axis stand one behind the other, in what is stored of it? */
static bool stands_together(const lt_builder *b, lt_value v, int axis) {
  lt_at at = {0};
  at.c[axis] = lt_coord_dim(0);
  v = lt_resolve(b, v, &at);
  return at.c[lt_type_of(b->g, v)->rank - 1].coef[0] != 0;
}

static void pack_matrix(lt_builder *b, const lt_unit *u, bool transposed) {
  packer p;
  start(&p, b, u);
  const lt_type *w = lt_type_of(b->g, u->root->in[0]);
  int rank = w->rank, k_axis = rank - (transposed ? 1 : 2), n_axis = rank - (transposed ? 2 : 1);
  int64_t k_size = w->dim[k_axis], step = k_size * LT_LANES;
  for (int i = 0; i < rank - 2; i++) p.from.c[i] = lt_coord_dim(lt_kernel_dim(&p.kb, w->dim[i]));
  int64_t rows = rows_at_a_time(k_size, stands_together(b, u->root->in[0], k_axis));
  int part = lt_kernel_dim(&p.kb, k_size / rows), nb = lt_kernel_dim(&p.kb, lt_ceil_div(w->dim[n_axis], LT_LANES));
  int k = lt_kernel_dim(&p.kb, rows), lane = lt_kernel_dim(&p.kb, LT_LANES);
  p.from.c[k_axis] = lt_coord_affine(part, rows, 0);
  p.from.c[k_axis].coef[k] = 1;
  p.from.c[n_axis] = lanes_of(&p, nb, lane, w->dim[n_axis]);
  p.to.stride[lane] = 1, p.to.stride[k] = LT_LANES, p.to.stride[part] = rows * LT_LANES, p.to.stride[nb] = step;
  step *= p.kb.k.extent[nb];
  for (int i = rank - 3; i >= 0; i--) p.to.stride[i] = step, step *= w->dim[i];
  finish(&p);
}

void lt_lower_panel(lt_builder *b, const lt_unit *u) {
  switch (b->g->values.at[u->root->out].layout.panel.kind) {
  case LT_PANEL_conv: pack_conv(b, u, 0); return;
  case LT_PANEL_conv_t: pack_conv(b, u, 1); return;
  case LT_PANEL_depthwise: pack_depthwise(b, u); return;
  case LT_PANEL_matrix: pack_matrix(b, u, false); return;
  case LT_PANEL_matrix_t: pack_matrix(b, u, true); return;
  case LT_PANEL_none: break;
  }
  lt_fail(b->job, LATHE_E_INTERNAL, &u->root->loc, "a panel of an unknown kind");
}
