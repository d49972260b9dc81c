/* winograd.c: under --math=fast, 3x3 convolutions of stride 1 and their gradients in the image become tiles, matrix
 * products and results (op_winograd.c) where that takes less time by a model of the shapes alone. What comes out
 * differs from the convolution in the last digits, the more so the larger the tile (docs/accuracy.md).
 *
 * The gradient in the image of a convolution with border p is the convolution of gy with turned filters and border
 * 2 - p, which is not below 0. The filters of an entry that does not train are transformed once, when weights are
 * packed. */
#include "ir/pass/pass.h"
#include "ir/winograd.h"

/* A convolution as this pass sees it: x [N, from, H, W] → [N, to, size]. `turned`: it is a gradient in the image. */
typedef struct conv {
  lt_value x; /* of the old graph */
  lt_quad pad;
  int64_t from, to, size[2];
  bool turned, biased;
} conv;

/* Three taps side by side, with a border that their gradient can have too. */
static bool three_taps(const lt_window_axis *a) {
  return a->kernel == LT_WINOGRAD_TAPS && a->stride == 1 && a->dilation == 1 && a->before < LT_WINOGRAD_TAPS &&
         a->after < LT_WINOGRAD_TAPS;
}

static bool conv_of(conv *c, const lt_graph *g, const lt_node *n) {
  const lt_blocks kind = lt_facts(n)->blocks;
  lt_conv_channels channels;
  if ((kind != LT_BLOCKS_FPROP && kind != LT_BLOCKS_DGRAD) || !lt_conv_channels_of(&channels, g, n)) return false;
  const lt_window w = lt_window_of(g, n);
  *c = (conv){.x = n->in[0], .turned = kind == LT_BLOCKS_DGRAD};
  c->biased = !c->turned && n->in[2];
  c->from = c->turned ? channels.windows : channels.image, c->to = c->turned ? channels.image : channels.windows;
  for (int i = 0; i < 2; i++) {
    const lt_window_axis *a = &w.axis[i];
    c->pad.v[i] = c->turned ? LT_WINOGRAD_TAPS - 1 - a->before : a->before;
    c->pad.v[2 + i] = c->turned ? LT_WINOGRAD_TAPS - 1 - a->after : a->after;
    c->size[i] = lt_type_of(g, n->out)->dim[2 + i];
  }
  return channels.groups == 1 && three_taps(&w.axis[0]) && three_taps(&w.axis[1]);
}

/* Time in multiply-adds of a kernel near the peak. A product reads its filters from a cache that is as fast as
 * PER_NUMBER; a tile's numbers go through memory twice on either side, and are added up. */
enum { PER_FILTER = 24, PER_NUMBER = 10 };

static double filters_cost(const conv *c, double per_channel_pair) {
  return PER_FILTER * per_channel_pair * (double)c->from * (double)c->to;
}

static double direct_cost(const conv *c, int64_t images) {
  const double pixels = (double)(images * c->size[0] * c->size[1]), pairs = (double)c->from * (double)c->to;
  return 9 * pixels * pairs + filters_cost(c, 9);
}

static double tiles_cost(const conv *c, const lt_winograd *w, const lt_tiles *t) {
  const double numbers = (double)(w->edge * w->edge), tiles = (double)t->all;
  return numbers * tiles * ((double)c->from * (double)c->to + PER_NUMBER * (double)(c->from + c->to)) +
         filters_cost(c, numbers);
}

/* The best tile; NULL: the convolution as it is. Few channels or tiles make products that are far from the peak. */
static const lt_winograd *best_tile(const lt_graph *g, const conv *c) {
  enum { MOST_GAIN_PERCENT = 90, LEAST_CHANNELS = 16, LEAST_TILES = 8 };
  const lt_type *x = lt_type_of(g, c->x);
  const lt_winograd *best = NULL;
  double cost = direct_cost(c, x->dim[0]) * MOST_GAIN_PERCENT / 100;
  if (c->from < LEAST_CHANNELS || c->to < LEAST_CHANNELS) return NULL;
  for (int64_t tile = 2; tile <= 4; tile += 2) {
    const lt_winograd *w = lt_winograd_of(tile);
    const lt_tiles t = lt_tiles_of(w, x, &c->pad);
    if (t.all < LEAST_TILES || tiles_cost(c, w, &t) >= cost) continue;
    best = w, cost = tiles_cost(c, w, &t);
  }
  return best;
}

static lt_value with_bias(lt_graph *g, lt_value y, lt_value b) {
  const int64_t dim[3] = {lt_type_of(g, b)->dim[0], 1, 1};
  return lt_binary(g, LT_OP_add, y, lt_reshape(g, b, 3, dim));
}

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  conv c;
  const lt_winograd *w = conv_of(&c, r->from, n) ? best_tile(r->from, &c) : NULL;
  if (!w) return false;
  lt_graph *g = r->to;
  if (!g->origin) g->origin = lt_op_table[n->op].name;
  const char *origin = g->origin;
  lt_winograd_filter_attrs filter = {.tile = w->tile, .turned = c.turned};
  lt_winograd_image_attrs image = {.tile = w->tile, .pad = c.pad};
  lt_winograd_result_attrs result = {.size = {{c.size[0], c.size[1]}}, .tile = w->tile};
  lt_value u = lt_emit(g, LT_OP_winograd_filter, &filter, in + 1, 1);
  lt_value v = lt_emit(g, LT_OP_winograd_image, &image, in, 1);
  lt_value m = lt_emit(g, LT_OP_matmul, NULL, (lt_value[]){v, u}, 2);
  lt_value y = lt_emit(g, LT_OP_winograd_result, &result, &m, 1);
  g->origin = origin;
  r->map[n->out] = c.biased ? with_bias(g, y, in[2]) : y;
  return true;
}

void lt_pass_winograd(lt_graph *to, const lt_graph *from) {
  lt_rewrite_graph(to, from, from->fast ? visit : NULL, NULL);
}
