/* lower_conv.c: convolution and its two gradients as contractions; with one filter per channel as window reductions.
 *
 * Lanes are the result's channels (for the weight's gradient: output channels). K runs over (c/16, kh, kw, c mod 16), for
 * the weight's gradient over (n, oh, ow). Operand A is read by scalars at any strides; its border holds zeros. */
#include "codegen/build.h"

/* Where an element of a rank-4 value stands: base, and strides of n, the channel block, a channel in it, h, w. */
typedef struct image { uint32_t buffer; int64_t offset, n, block, c, h, w; } image;

static image image_of(lt_builder *b, lt_value v) {
  lt_phys p;
  lt_place at = lt_place_of(b, v);
  if (!at.set) lt_fail(b->job, LATHE_E_INTERNAL, NULL, "value %u of a convolution has no memory", v);
  lt_phys_of(&p, lt_type_of(b->g, v), &b->g->values.at[v].layout);
  int64_t block = p.block ? p.block : LT_LANES * p.stride[1];
  return (image){at.buffer, at.offset + p.offset, p.stride[0], block, p.stride[1], p.stride[2], p.stride[3]};
}

/* Offset of the channel where group g begins, as a stride per group; groups of blocked values are whole blocks. */
static int64_t group_stride(const image *x, int64_t channels) {
  return channels % LT_LANES == 0 ? channels / LT_LANES * x->block : channels * x->c;
}

typedef struct conv {
  const lt_node *node;
  lt_value x, w, y;                /* image, weights, result of the forward convolution, whichever are operands */
  const lt_type *xt, *wt, *yt;
  lt_pair stride, dilation;
  lt_quad pad;
  int64_t groups, cg, og;          /* channels of a group: in, out */
  int64_t k[2];
} conv;

static conv conv_of(const lt_graph *g, const lt_node *n) {
  conv c = {.node = n};
  if (n->op == LT_OP_conv2d) {
    const lt_conv2d_attrs *a = n->attrs;
    c.x = n->in[0], c.w = n->in[1], c.y = n->out;
    c.stride = a->stride, c.pad = a->pad, c.dilation = a->dilation, c.groups = a->groups;
  } else if (n->op == LT_OP_conv2d_grad_input) {
    const lt_conv2d_grad_input_attrs *a = n->attrs;
    c.y = n->in[0], c.w = n->in[1], c.x = n->out;
    c.stride = a->stride, c.pad = a->pad, c.dilation = a->dilation, c.groups = a->groups;
  } else {
    const lt_conv2d_grad_weight_attrs *a = n->attrs;
    c.x = n->in[0], c.y = n->in[1], c.w = n->out;
    c.stride = a->stride, c.pad = a->pad, c.dilation = a->dilation, c.groups = a->groups;
  }
  c.xt = lt_type_of(g, c.x), c.wt = lt_type_of(g, c.w), c.yt = lt_type_of(g, c.y);
  c.cg = c.xt->dim[1] / c.groups, c.og = c.yt->dim[1] / c.groups;
  c.k[0] = c.wt->dim[2], c.k[1] = c.wt->dim[3];
  return c;
}

/* ---- output dims ------------------------------------------------------------------------------------------------- */

/* Dims (g, n, h, w, [block,] lane) of a result whose lanes are `channels` channels of each group. */
typedef struct dims { int g, n, h, w, block, lane; } dims;

static dims make_dims(lt_kb *kb, int64_t groups, int64_t n, int64_t h, int64_t w, int64_t channels, bool blocked) {
  dims d;
  d.g = lt_kb_dim(kb, groups), d.n = lt_kb_dim(kb, n), d.h = lt_kb_dim(kb, h), d.w = lt_kb_dim(kb, w);
  d.block = blocked ? lt_kb_dim(kb, lt_ceil_div(channels, LT_LANES)) : LT_NONE;
  d.lane = lt_kb_dim(kb, blocked ? LT_LANES : channels);
  kb->k.block_dim = d.block;
  kb->k.channels = blocked ? channels : 0;
  return d;
}

static lt_coord channel_at(const dims *d, int64_t channels) {
  lt_coord c = lt_coord_zero();
  c.coef[d->g] = channels;
  c.coef[d->lane] = 1;
  if (d->block != LT_NONE) c.coef[d->block] = LT_LANES;
  return c;
}

static lt_contract *contract_of(lt_kb *kb, const dims *d) {
  lt_contract *x = LT_NEW(kb->b->a, lt_contract);
  x->row_dim = (uint8_t)d->h, x->col_dim = (uint8_t)d->w;
  kb->k.contract = x;
  return x;
}

/* ---- K over channels and taps ------------------------------------------------------------------------------------ */

/* `channels` in blocks of 16, kh, kw; the strides of a tap in both operands given. A's channels by its image; B's rows: a
 * plain operand has one stride per channel, a panel is dense in this very order. */
typedef struct taps { int64_t n[2], a[2], b[2]; } taps;

static void add_segments(lt_contract *x, int64_t channels, const taps *t, const image *a, int64_t b_channel, bool panel) {
  int64_t whole = channels / LT_LANES, rest = channels % LT_LANES, all = t->n[0] * t->n[1];
  for (int part = 0; part < 2; part++) {
    int64_t many = part ? rest : LT_LANES;
    if (part ? !rest : !whole) continue;
    lt_kseg *s = &x->seg[x->n_seg++];
    *s = (lt_kseg){.n = 4, .extent = {part ? 1 : whole, t->n[0], t->n[1], many},
                   .a_stride = {a->block, t->a[0], t->a[1], a->c},
                   .b_stride = {LT_LANES * b_channel, t->b[0], t->b[1], b_channel}};
    if (panel) { /* rows of 16 lanes, dense */
      int64_t row = LT_LANES;
      s->b_stride[3] = row, s->b_stride[2] = many * row, s->b_stride[1] = t->n[1] * many * row;
      s->b_stride[0] = all * many * row;
    }
    if (part) s->a_offset = whole * a->block, s->b_offset = panel ? whole * all * LT_LANES * LT_LANES : whole * LT_LANES * b_channel;
  }
}

static bool is_panel(const lt_builder *b, lt_value v) { return b->g->values.at[v].layout.kind == LT_PANEL; }

/* Operand B's access: panels hold [group][block][row][16], plain weights lanes `lane` apart and groups `group` apart. */
static lt_access weights_at(lt_builder *b, lt_value w, const dims *d, int64_t lane, int64_t group, int64_t channels,
                            int64_t rows) {
  lt_place p = lt_place_of(b, w);
  lt_access a = lt_access_zero(p.buffer, p.offset);
  bool panel = is_panel(b, w);
  int64_t block = panel ? rows * LT_LANES : LT_LANES * lane;
  a.stride[d->lane] = panel ? 1 : lane;
  if (d->block != LT_NONE) a.stride[d->block] = block;
  a.stride[d->g] = panel ? lt_ceil_div(channels, LT_LANES) * block : group;
  return a;
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

static void lower_forward(lt_builder *b, const lt_unit *u, const conv *c) {
  lt_kb kb;
  const lt_type *y = c->yt;
  bool blocked = lt_value_blocked(b, c->y) || is_panel(b, c->w);
  lt_kb_init(&kb, b, u, LT_K_CONTRACT);
  dims d = make_dims(&kb, c->groups, y->dim[0], y->dim[2], y->dim[3], c->og, blocked);
  lt_contract *x = contract_of(&kb, &d);
  image a = image_of(b, c->x);
  x->a = lt_access_zero(a.buffer, a.offset - c->pad.v[0] * a.h - c->pad.v[1] * a.w);
  x->a.stride[d.g] = group_stride(&a, c->cg);
  x->a.stride[d.n] = a.n, x->a.stride[d.h] = c->stride.v[0] * a.h, x->a.stride[d.w] = c->stride.v[1] * a.w;
  int64_t area = c->k[0] * c->k[1], filter = c->cg * area;
  x->b = weights_at(b, c->w, &d, filter, c->og * filter, c->og, filter);
  x->b_masked = !is_panel(b, c->w);
  taps t = {{c->k[0], c->k[1]}, {c->dilation.v[0] * a.h, c->dilation.v[1] * a.w}, {c->k[1], 1}};
  add_segments(x, c->cg, &t, &a, area, is_panel(b, c->w));
  kb.shape = *y;
  kb.at = (lt_at){.c = {lt_coord_dim(d.n), channel_at(&d, c->og), lt_coord_dim(d.h), lt_coord_dim(d.w)}};
  int32_t r = lt_x_result(&kb, y->dtype);
  if (c->node->in[2]) {
    lt_at bias = {.c = {kb.at.c[1]}};
    r = lt_x_map(&kb, LT_OP_add, y->dtype, r, lt_x_read(&kb, c->node->in[2], &bias));
  }
  lt_kb_result(&kb, r);
  lt_kb_stores(&kb);
  kb.k.flop = 2.0 * (double)lt_type_count(y) * (double)filter;
  lt_kb_finish(&kb);
}

/* ---- gradient in the image: one contraction for each place of a pixel in the stride ------------------------------ */

/* Along one axis, pixels phase, phase + stride, …: `count` of them; the taps k0, k0 + step, … (n of them) reach them, tap j
 * of pixel t from gy at q0 + t - j*back. */
typedef struct phase { int64_t count, n, k0, step, q0, back; } phase;

static phase phase_of(const conv *c, int i, int64_t p) {
  int64_t s = c->stride.v[i], d = c->dilation.v[i];
  phase f = {.count = (c->xt->dim[2 + i] - p + s - 1) / s, .k0 = -1, .step = 1};
  for (int64_t k = 0; k < c->k[i]; k++) {
    int64_t from = p + c->pad.v[i] - k * d;
    if (from % s) continue;
    if (f.k0 < 0) f.k0 = k, f.q0 = from / s;
    else if (f.n == 1) f.step = k - f.k0, f.back = f.step * d / s;
    f.n++;
  }
  return f;
}

static void gradient_at(lt_kb *kb, const conv *c, const dims *d, const int64_t p[2]) {
  kb->shape = *c->xt;
  kb->at = (lt_at){.c = {lt_coord_dim(d->n), channel_at(d, c->cg), lt_coord_affine(d->h, c->stride.v[0], p[0]),
                         lt_coord_affine(d->w, c->stride.v[1], p[1])}};
}

/* Pixels that no tap reaches. */
static void lower_no_gradient(lt_builder *b, const lt_unit *u, const conv *c, const phase f[2], const int64_t p[2]) {
  lt_kb kb;
  lt_kb_init(&kb, b, u, LT_K_LOOPS);
  dims d = make_dims(&kb, c->groups, c->xt->dim[0], f[0].count, f[1].count, c->cg, lt_value_blocked(b, c->x));
  gradient_at(&kb, c, &d, p);
  lt_kb_result(&kb, lt_x_const(&kb, c->xt->dtype, 0));
  lt_kb_stores(&kb);
  lt_kb_finish(&kb);
}

static void lower_grad_input_phase(lt_builder *b, const lt_unit *u, const conv *c, const int64_t p[2]) {
  phase f[2] = {phase_of(c, 0, p[0]), phase_of(c, 1, p[1])};
  if (f[0].count <= 0 || f[1].count <= 0) return;
  if (!f[0].n || !f[1].n) {
    lower_no_gradient(b, u, c, f, p);
    return;
  }
  lt_kb kb;
  lt_kb_init(&kb, b, u, LT_K_CONTRACT);
  dims d = make_dims(&kb, c->groups, c->xt->dim[0], f[0].count, f[1].count, c->cg, lt_value_blocked(b, c->x));
  lt_contract *x = contract_of(&kb, &d);
  image a = image_of(b, c->y);
  x->a = lt_access_zero(a.buffer, a.offset + f[0].q0 * a.h + f[1].q0 * a.w);
  x->a.stride[d.g] = group_stride(&a, c->og);
  x->a.stride[d.n] = a.n, x->a.stride[d.h] = a.h, x->a.stride[d.w] = a.w;
  int64_t area = c->k[0] * c->k[1], filter = c->cg * area;
  x->b = weights_at(b, c->w, &d, area, c->og * filter, c->cg, c->og * area);
  x->b.offset += f[0].k0 * c->k[1] + f[1].k0;
  x->b_masked = true;
  taps t = {{f[0].n, f[1].n}, {-f[0].back * a.h, -f[1].back * a.w}, {f[0].step * c->k[1], f[1].step}};
  add_segments(x, c->og, &t, &a, filter, false);
  gradient_at(&kb, c, &d, p);
  lt_kb_result(&kb, lt_x_result(&kb, c->xt->dtype));
  lt_kb_stores(&kb);
  kb.k.flop = 2.0 * (double)c->xt->dim[0] * (double)f[0].count * (double)f[1].count * (double)c->xt->dim[1] *
              (double)(c->og * f[0].n * f[1].n);
  lt_kb_finish(&kb);
}

static void lower_grad_input(lt_builder *b, const lt_unit *u, const conv *c) {
  for (int64_t h = 0; h < c->stride.v[0]; h++)
    for (int64_t w = 0; w < c->stride.v[1]; w++) lower_grad_input_phase(b, u, c, (int64_t[]){h, w});
}

/* ---- gradient in the weights ------------------------------------------------------------------------------------- */

static void lower_grad_weight(lt_builder *b, const lt_unit *u, const conv *c) {
  lt_kb kb;
  lt_kb_init(&kb, b, u, LT_K_CONTRACT);
  image a = image_of(b, c->x), g = image_of(b, c->y);
  bool blocked = lt_value_blocked(b, c->y);
  dims d = make_dims(&kb, c->groups, c->cg, c->k[0], c->k[1], c->og, blocked); /* n: the channel in its group */
  lt_contract *x = contract_of(&kb, &d);
  x->a = lt_access_zero(a.buffer, a.offset - c->pad.v[0] * a.h - c->pad.v[1] * a.w);
  x->a.stride[d.g] = group_stride(&a, c->cg);
  x->a.stride[d.n] = a.c, x->a.stride[d.h] = c->dilation.v[0] * a.h, x->a.stride[d.w] = c->dilation.v[1] * a.w;
  x->b = lt_access_zero(g.buffer, g.offset);
  x->b.stride[d.g] = group_stride(&g, c->og);
  x->b.stride[d.lane] = g.c;
  if (blocked) x->b.stride[d.block] = g.block;
  x->b_masked = !blocked;
  x->n_seg = 1;
  x->seg[0] = (lt_kseg){.n = 3, .extent = {c->yt->dim[0], c->yt->dim[2], c->yt->dim[3]},
                        .a_stride = {a.n, c->stride.v[0] * a.h, c->stride.v[1] * a.w}, .b_stride = {g.n, g.h, g.w}};
  kb.shape = *c->wt;
  kb.at = (lt_at){.c = {channel_at(&d, c->og), lt_coord_dim(d.n), lt_coord_dim(d.h), lt_coord_dim(d.w)}};
  lt_kb_result(&kb, lt_x_result(&kb, c->wt->dtype));
  lt_kb_stores(&kb);
  kb.k.flop = 2.0 * (double)lt_type_count(c->yt) * (double)(c->cg * c->k[0] * c->k[1]);
  lt_kb_finish(&kb);
}

/* ---- one filter per channel: window reductions ------------------------------------------------------------------- */

static lt_coord guarded(int64_t add, int64_t div, int64_t limit, int da, int64_t ca, int db, int64_t cb) {
  lt_coord c = {.add = add, .div = div, .limit = limit};
  c.coef[da] += ca;
  c.coef[db] += cb;
  return c;
}

/* Image row that tap k of window o reads. */
static lt_coord reads_row(const conv *c, int i, int o, int k) {
  return guarded(-c->pad.v[i], 1, c->xt->dim[2 + i], o, c->stride.v[i], k, c->dilation.v[i]);
}

static void finish_depthwise(lt_kb *kb, const conv *c, const lt_type *shape, const lt_at *out, lt_value p, const lt_at *pa,
                             lt_value q, const lt_at *qa) {
  lt_kb_use(kb, &kb->rexpr);
  int32_t x = lt_x_read_loaded(kb, p, pa), w = lt_x_read_loaded(kb, q, qa);
  lt_kb_last(kb, lt_x_map(kb, LT_OP_mul, shape->dtype, x, w));
  lt_kb_use(kb, &kb->expr);
  kb->shape = *shape, kb->at = *out;
  int32_t r = lt_x_result(kb, shape->dtype);
  if (c->node->op == LT_OP_conv2d && c->node->in[2]) {
    lt_at bias = {.c = {out->c[1]}};
    r = lt_x_map(kb, LT_OP_add, shape->dtype, r, lt_x_read(kb, c->node->in[2], &bias));
  }
  lt_kb_result(kb, r);
  lt_kb_stores(kb);
  kb->k.flop = 0;
  lt_kb_finish(kb);
}

/* Channels c, with `og` filters each: the result's channel is c*og + m. */
static void lower_depthwise(lt_builder *b, const lt_unit *u, const conv *c) {
  lt_kb kb;
  lt_kb_init(&kb, b, u, LT_K_REDUCE);
  kb.k.reduce = LT_SUM_CHAIN;
  const lt_type *t = lt_type_of(b->g, c->node->out);
  int ch, m;
  lt_at out = {0}, p = {0}, q = {0};
  if (c->node->op == LT_OP_conv2d) {
    int n = lt_kb_dim(&kb, t->dim[0]);
    ch = lt_kb_dim(&kb, c->groups), m = lt_kb_dim(&kb, c->og);
    int h = lt_kb_dim(&kb, t->dim[2]), w = lt_kb_dim(&kb, t->dim[3]);
    int kh = lt_kb_rdim(&kb, c->k[0]), kw = lt_kb_rdim(&kb, c->k[1]);
    lt_coord oc = lt_coord_affine(ch, c->og, 0);
    oc.coef[m] = 1;
    out = (lt_at){.c = {lt_coord_dim(n), oc, lt_coord_dim(h), lt_coord_dim(w)}};
    p = (lt_at){.c = {lt_coord_dim(n), lt_coord_dim(ch), reads_row(c, 0, h, kh), reads_row(c, 1, w, kw)}};
    q = (lt_at){.c = {oc, lt_coord_zero(), lt_coord_dim(kh), lt_coord_dim(kw)}};
    finish_depthwise(&kb, c, t, &out, c->x, &p, c->w, &q);
  } else if (c->node->op == LT_OP_conv2d_grad_input) {
    int n = lt_kb_dim(&kb, t->dim[0]);
    ch = lt_kb_dim(&kb, c->groups);
    int h = lt_kb_dim(&kb, t->dim[2]), w = lt_kb_dim(&kb, t->dim[3]);
    m = lt_kb_rdim(&kb, c->og);
    int kh = lt_kb_rdim(&kb, c->k[0]), kw = lt_kb_rdim(&kb, c->k[1]);
    lt_coord oc = lt_coord_affine(ch, c->og, 0);
    oc.coef[m] = 1;
    out = (lt_at){.c = {lt_coord_dim(n), lt_coord_dim(ch), lt_coord_dim(h), lt_coord_dim(w)}};
    p = (lt_at){.c = {lt_coord_dim(n), oc,
                      guarded(c->pad.v[0], c->stride.v[0], c->yt->dim[2], h, 1, kh, -c->dilation.v[0]),
                      guarded(c->pad.v[1], c->stride.v[1], c->yt->dim[3], w, 1, kw, -c->dilation.v[1])}};
    q = (lt_at){.c = {oc, lt_coord_zero(), lt_coord_dim(kh), lt_coord_dim(kw)}};
    finish_depthwise(&kb, c, t, &out, c->y, &p, c->w, &q);
  } else {
    ch = lt_kb_dim(&kb, c->groups), m = lt_kb_dim(&kb, c->og);
    int kh = lt_kb_dim(&kb, c->k[0]), kw = lt_kb_dim(&kb, c->k[1]);
    int n = lt_kb_rdim(&kb, c->yt->dim[0]), h = lt_kb_rdim(&kb, c->yt->dim[2]), w = lt_kb_rdim(&kb, c->yt->dim[3]);
    lt_coord oc = lt_coord_affine(ch, c->og, 0);
    oc.coef[m] = 1;
    out = (lt_at){.c = {oc, lt_coord_zero(), lt_coord_dim(kh), lt_coord_dim(kw)}};
    p = (lt_at){.c = {lt_coord_dim(n), lt_coord_dim(ch), reads_row(c, 0, h, kh), reads_row(c, 1, w, kw)}};
    q = (lt_at){.c = {lt_coord_dim(n), oc, lt_coord_dim(h), lt_coord_dim(w)}};
    finish_depthwise(&kb, c, t, &out, c->x, &p, c->y, &q);
  }
}

void lt_lower_conv(lt_builder *b, const lt_unit *u) {
  conv c = conv_of(b->g, u->root);
  if (lt_conv_kind_of(c.xt->dim[1], c.yt->dim[1], c.groups) == LT_CONV_DEPTHWISE) lower_depthwise(b, u, &c);
  else if (u->root->op == LT_OP_conv2d) lower_forward(b, u, &c);
  else if (u->root->op == LT_OP_conv2d_grad_input) lower_grad_input(b, u, &c);
  else lower_grad_weight(b, u, &c);
}

/* ---- matrix products --------------------------------------------------------------------------------------------- */

/* A factor's access: its batch axes follow the result's, its rows or columns dim `d`, and k gives *k_stride. */
static lt_access factor(lt_kb *kb, lt_value v, bool turned, int d, bool left, int64_t *k_stride) {
  enum { K = LT_MAX_DIMS - 1 }; /* stands for k in coordinates; no kernel has so many dims */
  const lt_type *t = lt_type_of(kb->b->g, v);
  unsigned r = t->rank, rows = turned ? r - 1 : r - 2, cols = turned ? r - 2 : r - 1;
  lt_at at = {0};
  for (unsigned i = 0; i + 2 < r; i++)
    at.c[i] = t->dim[i] == 1 ? lt_coord_zero() : kb->at.c[i + kb->shape.rank - r];
  at.c[rows] = lt_coord_dim(left ? d : K);
  at.c[cols] = lt_coord_dim(left ? K : d);
  lt_value from = lt_resolve(kb->b, v, &at);
  lt_access a = lt_access_at(kb, from, &at);
  *k_stride = a.stride[K];
  a.stride[K] = 0;
  return a;
}

/* y[batch…, m, n] = sum over k of a[…, m, k] b[…, k, n]; lanes are n. */
void lt_lower_product(lt_builder *b, const lt_unit *u) {
  const lt_node *node = u->root;
  const lt_type *y = lt_type_of(b->g, node->out);
  lt_matmul_attrs none = {0};
  const lt_matmul_attrs *at = node->op == LT_OP_matmul ? node->attrs : &none;
  const lt_type *t[2] = {lt_type_of(b->g, node->in[0]), lt_type_of(b->g, node->in[1])};
  lt_kb kb;
  lt_kb_init(&kb, b, u, LT_K_CONTRACT);
  kb.shape = *y, kb.at = (lt_at){0};
  for (unsigned i = 0; i + 2u < y->rank; i++) kb.at.c[i] = lt_coord_dim(lt_kb_dim(&kb, y->dim[i]));
  int row = lt_kb_dim(&kb, 1), m = lt_kb_dim(&kb, y->dim[y->rank - 2]), n = lt_kb_dim(&kb, y->dim[y->rank - 1]);
  kb.at.c[y->rank - 2] = lt_coord_dim(m), kb.at.c[y->rank - 1] = lt_coord_dim(n);
  lt_contract *x = LT_NEW(b->a, lt_contract);
  kb.k.contract = x;
  x->row_dim = (uint8_t)row, x->col_dim = (uint8_t)m;
  int64_t k_stride[2], depth = t[0]->dim[t[0]->rank - (at->transpose_a ? 2u : 1u)];
  x->a = factor(&kb, node->in[0], at->transpose_a, m, true, &k_stride[0]);
  x->b = factor(&kb, node->in[1], at->transpose_b, n, false, &k_stride[1]);
  x->b_masked = true;
  x->n_seg = 1;
  x->seg[0] = (lt_kseg){.n = 1, .extent = {depth}, .a_stride = {k_stride[0]}, .b_stride = {k_stride[1]}};
  int32_t r = lt_x_result(&kb, y->dtype);
  if (node->op == LT_OP_linear && node->in[2]) {
    lt_at bias = {.c = {kb.at.c[y->rank - 1]}};
    r = lt_x_map(&kb, LT_OP_add, y->dtype, r, lt_x_read(&kb, node->in[2], &bias));
  }
  lt_kb_result(&kb, r);
  lt_kb_stores(&kb);
  kb.k.flop = 2.0 * (double)lt_type_count(y) * (double)depth;
  lt_kb_finish(&kb);
}
