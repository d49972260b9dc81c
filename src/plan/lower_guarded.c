/* lower_guarded.c: convolutions as reductions whose loads are guarded: nobody needs zeros around an image.
 *
 * Depthwise ones (one filter per channel) have nothing that a contraction could share. Others come here where the zeros
 * that the windows touch would be far larger than the image (`guarded` in choices.def): one with 8 pixels and a border
 * of 10^9 costs what its products cost. Both sum in the order of contractions: channels in blocks of 16, taps, channels
 * of the block. */
#include "plan/lower_conv.h"

/* ---- both ---- */

/* Reduced dims, in one chain; the expression of what is summed follows. */
static void add_reduced(lt_kernel_builder *kb, const int64_t *extent, int n) {
  for (int i = 0; i < n; i++) lt_kernel_rdim(kb, extent[i]);
  kb->k.reduce = LT_SUM_CHAIN;
  lt_kernel_use(kb, &kb->rexpr);
}

/* The sum of a·b. */
static void end(lt_kernel_builder *kb, int32_t a, int32_t b, lt_value bias) {
  lt_kernel_last(kb, lt_x_map(kb, LT_OP_mul, kb->k.dtype, a, b));
  lt_kernel_use(kb, &kb->expr);
  lt_conv_finish(kb, bias);
}

static const lt_window_axis *axis_of(const lt_conv_dims *v, int i) { return i ? &v->col : &v->row; }

/* ---- depthwise: one filter per channel, channels in blocks ---- */

/* The filters as a panel [C/16][KH][KW][16]. */
static lt_access filter_access(lt_kernel_builder *kb, lt_value panel, const lt_conv_dims *v, int tap) {
  lt_place p = lt_place_of(kb->b, panel);
  lt_access a = lt_access_zero(p.buffer, p.offset);
  a.stride[kb->k.block_dim] = lt_conv_taps(v) * LT_LANES;
  a.stride[tap] = v->col.kernel * LT_LANES, a.stride[tap + 1] = LT_LANES;
  a.stride[kb->k.n_dims - 1] = 1;
  return a;
}

static void forward_depthwise(lt_kernel_builder *kb, const lt_conv_dims *v, const lt_node *n) {
  lt_kernel_space(kb, lt_type_of(kb->b->g, n->out), true);
  int tap = kb->k.n_dims;
  lt_at at = kb->at;
  add_reduced(kb, (int64_t[]){v->row.kernel, v->col.kernel}, 2);
  for (int i = 0; i < 2; i++) lt_coord_window(&at.c[2 + i], axis_of(v, i), tap + i);
  int32_t x = lt_x_read_loaded(kb, n->in[0], &at), w = lt_x_load(kb, kb->k.dtype, filter_access(kb, n->in[1], v, tap));
  end(kb, x, w, n->in[2]);
}

/* *c becomes the window that tap j (a dim) of a run meets at its pixels (q, p). */
static void coord_met(lt_coord *c, const lt_window_axis *a, const lt_phase_run *r, int q, int p, int j) {
  *c = lt_coord_affine(q, 1, r->from);
  if (p) c->coef[p] = r->from_step;
  c->coef[j] = -r->back, c->limit = a->windows;
}

static void input_depthwise(lt_builder *b, const lt_unit *u, const lt_conv_dims *v, const lt_phase_run *const run[2]) {
  lt_kernel_builder kb;
  int phase[2];
  lt_kernel_init(&kb, b, u, LT_K_REDUCE);
  const lt_conv_dims whole = lt_conv_ungrouped(v);
  lt_conv_space(&kb, &whole, whole.c, run, phase);
  int tap = kb.k.n_dims, tap_dim[2] = {tap, tap + 1};
  lt_at at = kb.at;
  add_reduced(&kb, (int64_t[]){run[0]->taps, run[1]->taps}, 2);
  lt_access filter = filter_access(&kb, u->root->in[1], v, tap);
  for (int i = 0; i < 2; i++) {
    coord_met(&at.c[2 + i], axis_of(v, i), run[i], LT_CONV_ROW + i, phase[i], tap_dim[i]);
    int64_t row = filter.stride[tap_dim[i]];
    filter.offset += run[i]->first * row, filter.stride[tap_dim[i]] = run[i]->step * row;
    if (phase[i]) filter.stride[phase[i]] = run[i]->first_step * row;
  }
  int32_t gy = lt_x_read_loaded(&kb, u->root->in[0], &at), w = lt_x_load(&kb, kb.k.dtype, filter);
  end(&kb, gy, w, 0);
}

static void weight_depthwise(lt_kernel_builder *kb, const lt_conv_dims *v, const lt_node *n) {
  int block = lt_kernel_dim(kb, lt_ceil_div(v->groups, LT_LANES)), kh = lt_kernel_dim(kb, v->row.kernel),
      kw = lt_kernel_dim(kb, v->col.kernel);
  int lane = lt_kernel_dim(kb, LT_LANES), image = lane + 1;
  kb->k.block_dim = block, kb->k.channels = v->groups;
  kb->shape = *lt_type_of(kb->b->g, n->out);
  kb->at = (lt_at){0};
  kb->at.c[0] = lt_coord_affine(block, LT_LANES, 0), kb->at.c[0].coef[lane] = 1;
  kb->at.c[1] = lt_coord_zero();
  kb->at.c[2] = lt_coord_dim(kh), kb->at.c[3] = lt_coord_dim(kw);
  add_reduced(kb, (int64_t[]){v->n, v->row.windows, v->col.windows}, 3);
  lt_at x = {0}, gy = {0};
  gy.c[0] = x.c[0] = lt_coord_dim(image);
  gy.c[1] = x.c[1] = kb->at.c[0];
  for (int i = 0; i < 2; i++) {
    gy.c[2 + i] = x.c[2 + i] = lt_coord_dim(image + 1 + i);
    lt_coord_window(&x.c[2 + i], axis_of(v, i), i ? kw : kh);
  }
  int32_t a = lt_x_read_loaded(kb, n->in[0], &x), g = lt_x_read_loaded(kb, n->in[1], &gy);
  end(kb, a, g, 0);
}

/* ---- any grouping, everything plain ---- */

enum { G_IMAGE, G_GROUP, G_CHANNEL, G_ROW, G_COL, G_PHASE, G_DIMS = G_PHASE + 2 };

/* Output dims (image, group, channel, row, column, phases of both) for pixels in runs, and kb->at in them. */
static void plane_space(lt_kernel_builder *kb, const lt_conv_dims *v, int64_t channels,
                        const lt_phase_run *const run[2]) {
  const int64_t extent[G_DIMS] = {v->n,           v->groups,      channels,      run[0]->pixels,
                                  run[1]->pixels, run[0]->phases, run[1]->phases};
  for (int i = 0; i < G_DIMS; i++) lt_kernel_dim(kb, extent[i]);
  kb->shape = *lt_type_of(kb->b->g, kb->unit->root->out);
  kb->at = (lt_at){0};
  kb->at.c[0] = lt_coord_dim(G_IMAGE);
  kb->at.c[1] = lt_coord_dim(G_CHANNEL), kb->at.c[1].coef[G_GROUP] = channels;
  for (int i = 0; i < 2; i++) {
    kb->at.c[2 + i] = lt_coord_affine(G_ROW + i, run[i]->pitch, run[i]->at);
    kb->at.c[2 + i].coef[G_PHASE + i] = run[i]->at_step;
  }
}

/* Reduced dims: blocks of the channels that are summed over, taps, channels of a block. */
enum { R_BLOCK = G_DIMS, R_ROW, R_COL, R_LANE };

static void add_depth(lt_kernel_builder *kb, int64_t channels, int64_t rows, int64_t cols) {
  const int64_t extent[] = {lt_ceil_div(channels, LT_LANES), rows, cols, LT_MIN(channels, LT_LANES)};
  add_reduced(kb, extent, 4);
}

/* The channel that is summed over; from the start of its group, or of the tensor. */
static lt_coord depth_in_group(void) {
  lt_coord c = lt_coord_affine(R_BLOCK, LT_LANES, 0);
  c.coef[R_LANE] = 1;
  return c;
}

static lt_coord depth(int64_t per_group) {
  lt_coord c = depth_in_group();
  c.coef[G_GROUP] = per_group;
  return c;
}

/* v at coordinates; skipped where the last of the blocks has no such channel. */
static int32_t load_depth(lt_kernel_builder *kb, lt_value v, const lt_at *at, int64_t channels) {
  lt_at moved = *at;
  lt_value from = lt_resolve(kb->b, v, &moved);
  lt_access a = lt_access_at(kb, from, &moved);
  lt_coord c = depth_in_group();
  c.limit = channels;
  if (channels > LT_LANES && channels % LT_LANES) lt_access_axis(kb, &a, &c, 0);
  return lt_x_load(kb, kb->k.dtype, a);
}

/* y[n, o, i, j] = sum of x[n, c, window (i, j) at tap (k, l)] · W[o, c, k, l]. */
static void forward(lt_kernel_builder *kb, const lt_conv_dims *v, const lt_node *n) {
  const lt_phase_run rows = lt_conv_whole(v->row.windows), cols = lt_conv_whole(v->col.windows);
  plane_space(kb, v, v->oc, (const lt_phase_run *[]){&rows, &cols});
  add_depth(kb, v->c, v->row.kernel, v->col.kernel);
  lt_at x = kb->at, w = {0};
  x.c[1] = depth(v->c);
  for (int i = 0; i < 2; i++) lt_coord_window(&x.c[2 + i], axis_of(v, i), R_ROW + i);
  w.c[0] = kb->at.c[1], w.c[1] = depth_in_group(), w.c[2] = lt_coord_dim(R_ROW), w.c[3] = lt_coord_dim(R_COL);
  int32_t a = load_depth(kb, n->in[0], &x, v->c), b = load_depth(kb, n->in[1], &w, v->c);
  end(kb, a, b, n->in[2]);
}

/* gx[n, c, i, j] = sum of gy[n, o, the window that looks at (i, j) with tap (k, l)] · W[o, c, k, l]. */
static void input(lt_builder *b, const lt_unit *u, const lt_conv_dims *v, const lt_phase_run *const run[2]) {
  const lt_node *n = u->root;
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, LT_K_REDUCE);
  plane_space(&kb, v, v->c, run);
  add_depth(&kb, v->oc, run[0]->taps, run[1]->taps);
  lt_at gy = kb.at, w = {0};
  gy.c[1] = w.c[0] = depth(v->oc);
  w.c[1] = lt_coord_dim(G_CHANNEL);
  for (int i = 0; i < 2; i++) {
    coord_met(&gy.c[2 + i], axis_of(v, i), run[i], G_ROW + i, G_PHASE + i, R_ROW + i);
    w.c[2 + i] = lt_coord_affine(R_ROW + i, run[i]->step, run[i]->first);
    w.c[2 + i].coef[G_PHASE + i] = run[i]->first_step;
  }
  int32_t x = load_depth(&kb, n->in[0], &gy, v->oc), y = load_depth(&kb, n->in[1], &w, v->oc);
  end(&kb, x, y, 0);
}

/* gW[o, c, k, l] = sum of x[n, c, window (i, j) at tap (k, l)] · gy[n, o, i, j]. */
static void weight(lt_kernel_builder *kb, const lt_conv_dims *v, const lt_node *n) {
  enum { W_GROUP, W_OUT, W_IN, W_ROW, W_COL, S_IMAGE, S_ROW, S_COL };
  const int64_t extent[] = {v->groups, v->oc, v->c, v->row.kernel, v->col.kernel};
  for (int i = 0; i < S_IMAGE; i++) lt_kernel_dim(kb, extent[i]);
  kb->shape = *lt_type_of(kb->b->g, n->out);
  kb->at = (lt_at){0};
  kb->at.c[0] = lt_coord_dim(W_OUT), kb->at.c[0].coef[W_GROUP] = v->oc;
  for (int i = 0; i < 3; i++) kb->at.c[1 + i] = lt_coord_dim(W_IN + i);
  add_reduced(kb, (int64_t[]){v->n, v->row.windows, v->col.windows}, 3);
  lt_at x = {0}, gy = {0};
  x.c[0] = gy.c[0] = lt_coord_dim(S_IMAGE);
  x.c[1] = lt_coord_dim(W_IN), x.c[1].coef[W_GROUP] = v->c;
  gy.c[1] = kb->at.c[0];
  for (int i = 0; i < 2; i++) {
    x.c[2 + i] = gy.c[2 + i] = lt_coord_dim(S_ROW + i);
    lt_coord_window(&x.c[2 + i], axis_of(v, i), W_ROW + i);
  }
  int32_t a = lt_x_read_loaded(kb, n->in[0], &x), b = lt_x_read_loaded(kb, n->in[1], &gy);
  end(kb, a, b, 0);
}

void lt_lower_guarded(lt_builder *b, const lt_unit *u, const lt_conv_dims *v) {
  const lt_node *n = u->root;
  const bool depthwise = n->algorithm == LT_ALGORITHM_depthwise;
  lt_kernel_builder kb;
  switch (lt_facts(n)->blocks) {
  case LT_BLOCKS_FPROP:
    lt_kernel_init(&kb, b, u, LT_K_REDUCE);
    (depthwise ? forward_depthwise : forward)(&kb, v, n);
    break;
  case LT_BLOCKS_DGRAD: lt_conv_adjoint(b, u, v, depthwise ? input_depthwise : input); break;
  case LT_BLOCKS_WGRAD:
    lt_kernel_init(&kb, b, u, LT_K_REDUCE);
    (depthwise ? weight_depthwise : weight)(&kb, v, n);
    break;
  case LT_BLOCKS__: case LT_BLOCKS_EACH: case LT_BLOCKS_POOL: case LT_BLOCKS_AXES: case LT_BLOCKS_RIGHT:
  case LT_BLOCKS_TILES: case LT_BLOCKS_UNTILE: case LT_BLOCKS_PARTS: break;
  }
}
