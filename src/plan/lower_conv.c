/* lower_conv.c: conv2d and its two gradients as contractions (plan.h); those with pixels in their lanes are in
 * lower_rows.c, those without a halo in lower_guarded.c.
 *
 * Forward and input gradient are the same kernel: pixels × channel blocks of the result, K over the other side's
 * channels and the taps, the weights a panel. The input gradient is one contraction per run of phases of the stride
 * (window.h): pixels that as many taps reach, which step through the result. The weight gradient has taps and input
 * channels for pixels and the pixels of all images for K. Nothing here checks borders: `choose` has put halos around
 * what is read. */
#include "plan/lower_conv.h"
#include "plan/lower_hooks.h"

static lt_conv_dims dims_of(const lt_builder *b, const lt_node *n) {
  const lt_window w = lt_window_of(b->g, n);
  lt_conv_channels c = {.groups = 1};
  lt_conv_channels_of(&c, b->g, n);
  const int64_t images = lt_type_of(b->g, n->in[0])->dim[0];
  return (lt_conv_dims){w.axis[0], w.axis[1], images, c.image / c.groups, c.windows / c.groups, c.groups};
}

double lt_conv_flop(const lt_conv_dims *v) {
  return 2.0 * (double)(v->n * v->row.windows * v->col.windows) * (double)(v->oc * v->groups * v->c) *
         (double)lt_conv_taps(v);
}

/* ---- one operand in memory ---- */

/* A slice is read where it stands in what it is cut from. */
lt_conv_operand lt_conv_operand_of(lt_builder *b, lt_value v) {
  lt_phys p;
  lt_at first = {0};
  const lt_value from = lt_resolve(b, v, &first);
  lt_place at = lt_place_of(b, from);
  lt_phys_at(&p, b, from);
  lt_conv_operand o = {at.buffer,   at.offset + p.offset, p.stride[0], 16 * p.stride[1],
                       p.stride[1], p.stride[2],          p.stride[3]};
  if (p.block) o.block = p.block, o.channel = 1;
  for (int i = 0; i < 4; i++)
    o.offset += i == 1 ? first.c[i].add / LT_LANES * o.block + first.c[i].add % LT_LANES * o.channel
                       : first.c[i].add * p.stride[i];
  return o;
}

/* From the first channel of one group to that of the next. */
static int64_t group_step(const lt_conv_operand *o, int64_t channels) {
  return channels % LT_LANES ? channels * o->channel : channels / LT_LANES * o->block;
}

/* ---- the result's side ---- */

enum {
  D_IMAGE = LT_CONV_IMAGE,
  D_GROUP = LT_CONV_GROUP,
  D_BLOCK = LT_CONV_BLOCK,
  D_ROW = LT_CONV_ROW,
  D_COL = LT_CONV_COL
};

/* The channel that group, block and lane stand for. */
static lt_coord channel_coord(int64_t groups, int group, int block, int lane, int64_t per_group) {
  lt_coord c = lt_coord_affine(group, groups > 1 ? per_group : 0, 0);
  c.coef[block] = LT_LANES, c.coef[lane] = 1;
  return c;
}

void lt_conv_space(lt_kernel_builder *kb, const lt_conv_dims *v, int64_t channels, const lt_phase_run *const run[2],
                   int phase[2]) {
  const int64_t extent[] = {v->n, v->groups, lt_ceil_div(channels, LT_LANES), run[0]->pixels, run[1]->pixels};
  for (int i = 0; i < 5; i++) lt_kernel_dim(kb, extent[i]);
  for (int i = 0; i < 2; i++) phase[i] = run[i]->phases > 1 ? lt_kernel_dim(kb, run[i]->phases) : 0;
  const int lane = lt_kernel_dim(kb, LT_LANES);
  kb->k.block_dim = D_BLOCK;
  kb->k.channels = channels;
  kb->k.n_task_dims = 1;
  kb->shape = *lt_type_of(kb->b->g, kb->unit->root->out);
  kb->at = (lt_at){0};
  kb->at.c[0] = lt_coord_dim(D_IMAGE);
  kb->at.c[1] = channel_coord(v->groups, D_GROUP, D_BLOCK, lane, channels);
  for (int i = 0; i < 2; i++) {
    kb->at.c[2 + i] = lt_coord_affine(D_ROW + i, run[i]->pitch, run[i]->at);
    if (phase[i]) kb->at.c[2 + i].coef[phase[i]] = run[i]->at_step;
  }
}

void lt_conv_store(lt_kernel_builder *kb, int32_t result) {
  lt_kernel_result(kb, result);
  lt_kernel_stores(kb);
  lt_kernel_finish(kb);
}

void lt_conv_finish(lt_kernel_builder *kb, lt_value bias) {
  int32_t result = lt_x_result(kb, kb->k.dtype);
  if (bias) {
    lt_at at = {0};
    at.c[0] = kb->at.c[1];
    result = lt_x_map(kb, LT_OP_add, kb->k.dtype, result, lt_x_read(kb, bias, &at));
  }
  lt_conv_store(kb, result);
}

/* ---- K ---- */

/* Taps as A and the panel walk them: `a` from tap to tap, `b` likewise in rows of 16 channels, `first` the first
 * one, in the first phase; phase[i] (0: none) is a dim from one to the next of which it moves by first_step[i]. */
typedef struct taps { int64_t n[2], a[2], b[2], first, all, first_step[2]; int phase[2]; } taps;

/* A segment in which a tap has so many rows of the panel. */
static void add_segment(lt_contract *x, const taps *t, int64_t rows, lt_kseg segment) {
  lt_kseg *g = &x->seg[x->n_seg++];
  *g = segment;
  g->b_offset += t->first * rows * LT_LANES;
  for (int i = 0; i < 2; i++)
    if (t->phase[i]) g->b_dim[t->phase[i]] = t->first_step[i] * rows * LT_LANES;
}

/* (c/16, kh, kw, 16), then (kh, kw, c mod 16). */
static void channel_segments(lt_contract *x, const lt_conv_operand *o, const taps *t, int64_t channels) {
  int64_t blocks = channels / LT_LANES, rest = channels % LT_LANES;
  if (blocks)
    add_segment(x, t, LT_LANES,
                (lt_kseg){.n = 4,
                          .extent = {blocks, t->n[0], t->n[1], LT_LANES},
                          .a_stride = {o->block, t->a[0], t->a[1], o->channel},
                          .b_stride = {t->all * 256, t->b[0] * 256, t->b[1] * 256, LT_LANES}});
  if (rest)
    add_segment(x, t, rest,
                (lt_kseg){.n = 3,
                          .extent = {t->n[0], t->n[1], rest},
                          .a_offset = blocks * o->block,
                          .b_offset = blocks * t->all * 256,
                          .a_stride = {t->a[0], t->a[1], o->channel},
                          .b_stride = {t->b[0] * rest * LT_LANES, t->b[1] * rest * LT_LANES, LT_LANES}});
  lt_contract_cut(x);
}

/* The panel: [groups][blocks of the result's channels][taps x channels][16]. */
static void panel_operand(lt_kernel_builder *kb, lt_contract *x, lt_value panel, int64_t rows) {
  lt_place p = lt_place_of(kb->b, panel);
  x->b = lt_access_zero(p.buffer, p.offset);
  x->b.stride[D_BLOCK] = rows * LT_LANES;
  x->b.stride[D_GROUP] = kb->k.extent[D_BLOCK] * rows * LT_LANES;
  x->b.stride[kb->k.n_dims - 1] = 1;
}

static const double LEAST_OUTSIDE = 0.03;

/* Tap t of an axis of windows (K's dim `back` from its end) looks at pixel add + Σ coef·i + t·step of `size`; of all
 * that windows look at, so many elements are outside. Few are not worth the code that leaves them out. */
static void add_border(lt_contract *x, lt_kborder e, unsigned back, double outside) {
  if (outside < LEAST_OUTSIDE) return;
  e.back = (uint8_t)back;
  x->border[x->n_border++] = e;
}

/* The share of their taps that windows have outside the image. */
static double outside_image(const lt_window_axis *a) {
  int64_t inside = 0;
  for (int64_t k = 0; k < a->kernel; k++) {
    lt_span s = lt_window_seen_by(a, k);
    inside += LT_MAX(s.hi - s.lo, 0);
  }
  return 1 - (double)inside / ((double)a->kernel * (double)a->windows);
}

/* ---- conv2d ---- */

static void contract_forward(lt_builder *b, const lt_unit *u) {
  const lt_node *n = u->root;
  const lt_conv_dims v = dims_of(b, n);
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, LT_K_CONTRACT);
  lt_contract *x = kb.k.contract = LT_NEW(b->a, lt_contract);
  lt_conv_operand o = lt_conv_operand_of(b, n->in[0]);
  const lt_phase_run rows = lt_conv_whole(v.row.windows), cols = lt_conv_whole(v.col.windows);
  lt_conv_space(&kb, &v, v.oc, (const lt_phase_run *[]){&rows, &cols}, (int[2]){0});
  x->row_dim = D_ROW, x->col_dim = D_COL;
  x->a = lt_access_zero(o.buffer, o.offset - v.row.before * o.row - v.col.before * o.col);
  x->a.stride[D_IMAGE] = o.image, x->a.stride[D_GROUP] = group_step(&o, v.c);
  x->a.stride[D_ROW] = v.row.stride * o.row, x->a.stride[D_COL] = v.col.stride * o.col;
  taps t = {{v.row.kernel, v.col.kernel},
            {v.row.dilation * o.row, v.col.dilation * o.col},
            {v.col.kernel, 1},
            .all = lt_conv_taps(&v)};
  channel_segments(x, &o, &t, v.c);
  for (int i = 0; i < 2; i++) {
    const lt_window_axis *w = i ? &v.col : &v.row;
    lt_kborder e = {.add = -w->before, .step = w->dilation, .size = w->size};
    e.coef[D_ROW + i] = w->stride;
    add_border(x, e, 3 - (unsigned)i, outside_image(w));
  }
  panel_operand(&kb, x, n->in[1], v.c * lt_conv_taps(&v));
  kb.k.flop = lt_conv_flop(&v), kb.k.bytes = lt_contract_bytes(b, x);
  lt_conv_finish(&kb, n->in[2]);
}

/* ---- gradient in the input ---- */

/* The share of the windows that pixels of a run look at which there are not: tap j sees them at from - j·back + q. */
static double outside_windows(const lt_window_axis *w, const lt_phase_run *run) {
  int64_t inside = 0;
  for (int64_t j = 0; j < run->taps; j++) {
    const int64_t first = run->from - j * run->back, end = LT_MIN(first + run->pixels, w->windows);
    inside += LT_MAX(end - LT_MAX(first, 0), 0);
  }
  return 1 - (double)inside / ((double)run->taps * (double)run->pixels);
}

/* Along axis i pixels look at windows from + q - j·back + p·from_step for taps j; counted from the last window. */
static void add_seen_border(lt_contract *x, const lt_window_axis *w, int i, const lt_phase_run *run, int phase) {
  lt_kborder e = {.add = w->windows - 1 - run->from, .step = run->back, .size = w->windows};
  e.coef[D_ROW + i] = -1;
  if (phase) e.coef[phase] = -run->from_step;
  if (run->back) add_border(x, e, 3 - (unsigned)i, outside_windows(w, run));
}

/* The pixels of a run of rows and one of columns that taps reach. */
static void lower_reached(lt_builder *b, const lt_unit *u, const lt_conv_dims *v, const lt_phase_run *const run[2]) {
  const lt_node *n = u->root;
  const lt_phase_run *r = run[0], *c = run[1];
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, LT_K_CONTRACT);
  taps t = {{r->taps, c->taps},
            {0},
            {r->step * v->col.kernel, c->step},
            r->first * v->col.kernel + c->first,
            lt_conv_taps(v),
            {r->first_step * v->col.kernel, c->first_step},
            {0}};
  lt_conv_space(&kb, v, v->c, run, t.phase);
  lt_contract *x = kb.k.contract = LT_NEW(b->a, lt_contract);
  lt_conv_operand o = lt_conv_operand_of(b, n->in[0]);
  const int64_t step[2] = {o.row, o.col};
  x->row_dim = r->pixels > 1 ? D_ROW : D_IMAGE, x->col_dim = D_COL;
  x->a = lt_access_zero(o.buffer, o.offset);
  x->a.stride[D_IMAGE] = o.image, x->a.stride[D_GROUP] = group_step(&o, v->oc);
  for (int i = 0; i < 2; i++) {
    t.a[i] = -run[i]->back * step[i];
    add_seen_border(x, i ? &v->col : &v->row, i, run[i], t.phase[i]);
    x->a.offset += run[i]->from * step[i];
    x->a.stride[D_ROW + i] = step[i];
    if (t.phase[i]) x->a.stride[t.phase[i]] = run[i]->from_step * step[i];
  }
  channel_segments(x, &o, &t, v->oc);
  panel_operand(&kb, x, n->in[1], v->oc * lt_conv_taps(v));
  kb.k.flop = 2.0 * (double)(v->n * r->pixels * r->phases * c->pixels * c->phases * r->taps * c->taps) *
              (double)(v->groups * v->c * v->oc);
  kb.k.bytes = lt_contract_bytes(b, x);
  lt_conv_finish(&kb, 0);
}

/* Those that no tap reaches. */
static void lower_unreached(lt_builder *b, const lt_unit *u, const lt_conv_dims *v, const lt_phase_run *rows,
                            const lt_phase_run *cols) {
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  const lt_conv_dims whole = lt_conv_ungrouped(v);
  lt_conv_space(&kb, &whole, whole.c, (const lt_phase_run *[]){rows, cols}, (int[2]){0});
  lt_conv_store(&kb, lt_x_const(&kb, kb.k.dtype, 0));
}

void lt_conv_adjoint(lt_builder *b, const lt_unit *u, const lt_conv_dims *v, lt_conv_reached *reached) {
  const lt_phase_run all = lt_conv_whole(v->col.size);
  lt_phase_runs rows = {0}, cols = {0};
  lt_window_runs(&rows, b->a, &v->row), lt_window_runs(&cols, b->a, &v->col);
  for (uint32_t i = 0; i < rows.n; i++) {
    const lt_phase_run *r = &rows.at[i];
    if (!r->taps) lower_unreached(b, u, v, r, &all);
    for (uint32_t j = 0; j < cols.n && r->taps; j++) {
      const lt_phase_run *c = &cols.at[j];
      if (c->taps) reached(b, u, v, (const lt_phase_run *[]){r, c});
      else lower_unreached(b, u, v, r, c);
    }
  }
}

static void contract_adjoint(lt_builder *b, const lt_unit *u) {
  const lt_conv_dims v = dims_of(b, u->root);
  lt_conv_adjoint(b, u, &v, lower_reached);
}

/* ---- gradient in the weights ---- */

enum { MOST_CHUNKS = 8, CHUNK_PIXELS = 1024 };

lt_conv_chunks lt_conv_chunks_of(const lt_conv_dims *v) {
  int64_t oh = v->row.windows, ow = v->col.windows;
  lt_conv_chunks c = {1, v->n, oh};
  int64_t whole = v->n > 1 ? v->n : oh, pixels = v->n > 1 ? oh * ow : ow;
  for (int64_t n = 2; n <= MOST_CHUNKS; n++)
    if (whole % n == 0 && whole / n * pixels >= CHUNK_PIXELS) c.n = n;
  if (v->n > 1) c.images = v->n / c.n;
  else c.rows = oh / c.n;
  return c;
}

enum { W_CHUNK, W_GROUP, W_BLOCK, W_CBLOCK, W_C, W_KH, W_KW, W_LANE };

/* Results of the contraction that are not the gradient yet: [chunk][group][block of OC][C][KH][KW][16], which it writes
 * in whole vectors. Then a kernel in the order of the gradient adds the chunks and evaluates what was fused. */
typedef struct sums { bool used; uint32_t buffer; int64_t chunk, group, block, channel, row, col; } sums;

static sums sums_of(lt_builder *b, const lt_conv_dims *v, lt_value of, int64_t n_chunks) {
  sums s = {.used = n_chunks > 1 || v->c * lt_conv_taps(v) >= LT_LANES, .col = LT_LANES};
  s.row = v->col.kernel * s.col, s.channel = v->row.kernel * s.row, s.block = v->c * s.channel;
  s.group = lt_ceil_div(v->oc, LT_LANES) * s.block, s.chunk = v->groups * s.group;
  if (s.used) s.buffer = lt_scratch(b, "sums", of, n_chunks * s.chunk);
  return s;
}

static lt_access sums_written(const sums *s, int64_t first) {
  lt_access a = lt_access_zero(s->buffer, first * s->channel);
  a.stride[W_CHUNK] = s->chunk, a.stride[W_GROUP] = s->group, a.stride[W_BLOCK] = s->block;
  a.stride[W_CBLOCK] = LT_LANES * s->channel, a.stride[W_C] = s->channel, a.stride[W_KH] = s->row;
  a.stride[W_KW] = s->col, a.stride[W_LANE] = 1;
  return a;
}

/* Dims and coordinates for input channels [first, first + blocks·size) of each group. */
static void weight_space(lt_kernel_builder *kb, const lt_conv_dims *v, int64_t chunk, int64_t first, int64_t blocks,
                         int64_t size) {
  int64_t extent[] = {chunk,         v->groups, lt_ceil_div(v->oc, LT_LANES), blocks, size, v->row.kernel,
                      v->col.kernel, LT_LANES};
  for (int i = 0; i < 8; i++) lt_kernel_dim(kb, extent[i]);
  kb->k.block_dim = W_BLOCK, kb->k.channels = v->oc, kb->k.n_task_dims = 1;
  kb->shape = *lt_type_of(kb->b->g, kb->unit->root->out);
  kb->at = (lt_at){0};
  kb->at.c[0] = channel_coord(v->groups, W_GROUP, W_BLOCK, W_LANE, v->oc);
  kb->at.c[1] = lt_coord_affine(W_CBLOCK, LT_LANES, first), kb->at.c[1].coef[W_C] = 1;
  kb->at.c[2] = lt_coord_dim(W_KH), kb->at.c[3] = lt_coord_dim(W_KW);
}

static void lower_weight(lt_builder *b, const lt_unit *u, const lt_conv_dims *v, int64_t first, int64_t blocks,
                         int64_t size, const sums *to) {
  const lt_node *n = u->root;
  lt_conv_chunks cut = lt_conv_chunks_of(v);
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, LT_K_CONTRACT);
  weight_space(&kb, v, cut.n, first, blocks, size);
  lt_contract *x = kb.k.contract = LT_NEW(b->a, lt_contract);
  x->row_dim = size >= v->row.kernel ? W_C : W_KH;
  x->col_dim = v->col.kernel > 1 || x->row_dim == W_KH ? W_KW : W_KH;
  lt_conv_operand o = lt_conv_operand_of(b, n->in[0]), g = lt_conv_operand_of(b, n->in[1]);
  x->a =
    lt_access_zero(o.buffer, o.offset - v->row.before * o.row - v->col.before * o.col + first / LT_LANES * o.block);
  x->a.stride[W_GROUP] = group_step(&o, v->c), x->a.stride[W_CBLOCK] = o.block, x->a.stride[W_C] = o.channel;
  x->a.stride[W_KH] = v->row.dilation * o.row, x->a.stride[W_KW] = v->col.dilation * o.col;
  x->b = lt_access_zero(g.buffer, g.offset);
  x->b.stride[W_GROUP] = group_step(&g, v->oc), x->b.stride[W_BLOCK] = g.block, x->b.stride[W_LANE] = g.channel;
  x->a.stride[W_CHUNK] = v->n > 1 ? cut.images * o.image : cut.rows * v->row.stride * o.row;
  x->b.stride[W_CHUNK] = v->n > 1 ? cut.images * g.image : cut.rows * g.row;
  x->b_masked = x->b.masked = !lt_value_blocked(b, n->in[1]) && v->oc % LT_LANES != 0;
  x->n_seg = 1;
  x->seg[0] = (lt_kseg){.n = 3,
                        .extent = {cut.images, cut.rows, v->col.windows},
                        .b_stride = {g.image, g.row, g.col},
                        .a_stride = {o.image, v->row.stride * o.row, v->col.stride * o.col}};
  for (int i = 0; i < 2; i++) {
    const lt_window_axis *w = i ? &v->col : &v->row;
    lt_kborder e = {.add = -w->before, .step = w->stride, .size = w->size};
    e.coef[W_KH + i] = w->dilation;
    if (i == 0 && v->n == 1) e.coef[W_CHUNK] = cut.rows * w->stride;
    add_border(x, e, 2 - (unsigned)i, outside_image(w));
  }
  lt_contract_cut(x);
  kb.k.flop = lt_conv_flop(v) * (double)(blocks * size) / (double)v->c, kb.k.bytes = lt_contract_bytes(b, x);
  int32_t r = lt_x_result(&kb, kb.k.dtype);
  if (!to->used) {
    lt_conv_store(&kb, r);
    return;
  }
  lt_store s = {sums_written(to, first), r};
  lt_vec_push(b->a, &kb.store, s);
  lt_kernel_finish(&kb);
}

enum { S_GROUP, S_BLOCK, S_OC, S_C, S_KH, S_KW };

int32_t lt_conv_add_chunks(lt_kernel_builder *kb, const lt_access *one, int64_t chunk, int64_t first, int64_t n) {
  lt_access a = *one;
  a.offset += first * chunk;
  if (n == 1) return lt_x_load(kb, kb->k.dtype, a);
  int32_t x = lt_conv_add_chunks(kb, one, chunk, first, (n + 1) / 2),
          y = lt_conv_add_chunks(kb, one, chunk, first + (n + 1) / 2, n / 2);
  return lt_x_map(kb, LT_OP_add, kb->k.dtype, x, y);
}

/* Output channels [16·first, 16·first + blocks·size) of each group, in the order of the gradient. */
static void lower_sums(lt_builder *b, const lt_unit *u, const lt_conv_dims *v, const sums *from, int64_t n_chunks,
                       int64_t first, int64_t blocks, int64_t size) {
  int64_t extent[] = {v->groups, blocks, size, v->c, v->row.kernel, v->col.kernel};
  int64_t stride[] = {from->group, from->block, 1, from->channel, from->row, from->col};
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  for (int i = 0; i < 6; i++) lt_kernel_dim(&kb, extent[i]);
  kb.shape = *lt_type_of(b->g, u->root->out);
  kb.at = (lt_at){0};
  kb.at.c[0] = channel_coord(v->groups, S_GROUP, S_BLOCK, S_OC, v->oc);
  kb.at.c[0].add = first * LT_LANES;
  for (int i = 1; i < 4; i++) kb.at.c[i] = lt_coord_dim(S_OC + i);
  lt_access a = lt_access_zero(from->buffer, first * from->block);
  memcpy(a.stride, stride, sizeof stride);
  lt_conv_store(&kb, lt_conv_add_chunks(&kb, &a, from->chunk, 0, n_chunks));
}

static void contract_weight(lt_builder *b, const lt_unit *u) {
  const lt_node *n = u->root;
  const lt_conv_dims v = dims_of(b, n);
  int64_t blocks = v.c / LT_LANES, rest = v.c % LT_LANES, n_chunks = lt_conv_chunks_of(&v).n;
  sums to = sums_of(b, &v, n->out, n_chunks);
  if (blocks) lower_weight(b, u, &v, 0, blocks, LT_LANES, &to);
  if (rest) lower_weight(b, u, &v, blocks * LT_LANES, 1, rest, &to);
  if (!to.used) return;
  blocks = v.oc / LT_LANES, rest = v.oc % LT_LANES;
  if (blocks) lower_sums(b, u, &v, &to, n_chunks, 0, blocks, LT_LANES);
  if (rest) lower_sums(b, u, &v, &to, n_chunks, blocks, 1, rest);
}

/* ---- as it was chosen -------------------------------------------------------------------------------------------- */

static void lower_as_chosen(lt_builder *b, const lt_unit *u, void (*contract)(lt_builder *, const lt_unit *)) {
  const lt_conv_dims v = dims_of(b, u->root);
  switch (u->root->algorithm) {
  case LT_ALGORITHM_direct: case LT_ALGORITHM_grouped: contract(b, u); return;
  case LT_ALGORITHM_rows: lt_lower_rows(b, u, &v); return;
  case LT_ALGORITHM_depthwise: case LT_ALGORITHM_guarded: lt_lower_guarded(b, u, &v); return;
  case LT_ALGORITHM_none: case LT_ALGORITHM_product: break;
  }
  lt_fail_algorithm(b, u->root);
}

LT_LOWER(conv2d) { lower_as_chosen(b, u, contract_forward); }
LT_LOWER(conv2d_grad_input) { lower_as_chosen(b, u, contract_adjoint); }
LT_LOWER(conv2d_grad_weight) { lower_as_chosen(b, u, contract_weight); }
