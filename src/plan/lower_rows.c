/* lower_rows.c: conv2d and its gradients where there are few channels: contractions with the pixels of a row in their
 * lanes (algorithm `rows` of choices.def).
 *
 * Lanes are columns of the result and rows stand side by side; what lower_conv.c has in the lanes, the result's
 * channels, are the pixels of the tile. So the right operand is the image, read 16 pixels at a time from where a tap
 * begins, or every second one where the stride along a row is 2; the left one are the weights as they are. The order
 * along K is the same: (c/16, kh, kw, c mod 16), hence the bits are.
 *
 * The weight gradient has the taps of a row in its lanes, which look at pixels side by side, rows of taps side by side
 * and output channels for pixels; the left operand is the other gradient, plain. */
#include "plan/lower_conv.h"

#include <assert.h>

enum { R_IMAGE, R_GROUP, R_ROW, R_ONE, R_CHANNEL, R_COL };

/* Where a sum begins in the image and how it goes on from tap to tap (rows, columns); the same in the weights, with the
 * channels that are summed and those of the result. */
typedef struct sum_walk {
  int64_t taps[2], channels;
  int64_t image_first, image_tap[2], image_row, image_col; /* the last two: from a pixel of the result to the next */
  int64_t weight_first, weight_tap[2], weight_channel, weight_result;
} sum_walk;

static void space(lt_kernel_builder *kb, const lt_type *y, int64_t groups) {
  const int64_t channels = y->dim[1] / groups, extent[] = {y->dim[0], groups, y->dim[2], 1, channels, y->dim[3]};
  static const int dim_of[] = {R_IMAGE, R_CHANNEL, R_ROW, R_COL};
  for (int i = 0; i < 6; i++) lt_kernel_dim(kb, extent[i]);
  kb->k.n_task_dims = 1;
  kb->shape = *y, kb->at = (lt_at){0};
  for (int i = 0; i < 4; i++) kb->at.c[i] = lt_coord_dim(dim_of[i]);
  kb->at.c[1].coef[R_GROUP] = groups > 1 ? channels : 0;
}

/* (c/16, kh, kw, 16), then (kh, kw, c mod 16). */
static void segments(lt_contract *x, const sum_walk *s, const lt_conv_operand *image) {
  const int64_t blocks = s->channels / LT_LANES, rest = s->channels % LT_LANES;
  const int64_t weight_block = LT_LANES * s->weight_channel;
  if (blocks)
    x->seg[x->n_seg++] = (lt_kseg){.n = 4,
                                   .extent = {blocks, s->taps[0], s->taps[1], LT_LANES},
                                   .a_stride = {weight_block, s->weight_tap[0], s->weight_tap[1], s->weight_channel},
                                   .b_stride = {image->block, s->image_tap[0], s->image_tap[1], image->channel}};
  if (rest)
    x->seg[x->n_seg++] = (lt_kseg){.n = 3,
                                   .extent = {s->taps[0], s->taps[1], rest},
                                   .a_offset = blocks * weight_block,
                                   .b_offset = blocks * image->block,
                                   .a_stride = {s->weight_tap[0], s->weight_tap[1], s->weight_channel},
                                   .b_stride = {s->image_tap[0], s->image_tap[1], image->channel}};
  lt_contract_cut(x);
}

static void lower(lt_builder *b, const lt_unit *u, const lt_conv_dims *v, const sum_walk *s, double flop) {
  const lt_node *n = u->root;
  const lt_conv_operand image = lt_conv_operand_of(b, n->in[0]), weights = lt_conv_operand_of(b, n->in[1]);
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, LT_K_CONTRACT);
  space(&kb, lt_type_of(b->g, n->out), v->groups);
  lt_contract *x = kb.k.contract = LT_NEW(b->a, lt_contract);
  x->row_dim = R_ONE, x->col_dim = R_CHANNEL, x->side_dim = R_ROW;
  x->a = lt_access_zero(weights.buffer, weights.offset + s->weight_first);
  x->a.stride[R_CHANNEL] = s->weight_result, x->a.stride[R_GROUP] = v->oc * weights.image;
  x->b = lt_access_zero(image.buffer, image.offset + s->image_first);
  x->b.stride[R_IMAGE] = image.image, x->b.stride[R_ROW] = s->image_row, x->b.stride[R_COL] = s->image_col;
  x->b.stride[R_GROUP] = s->channels * image.channel;
  segments(x, s, &image);
  kb.k.flop = flop;
  kb.k.bytes = lt_contract_bytes(b, x);
  lt_conv_finish(&kb, n->n_in > 2 ? n->in[2] : 0);
}

static void forward(lt_builder *b, const lt_unit *u, const lt_conv_dims *v) {
  const lt_conv_operand o = lt_conv_operand_of(b, u->root->in[0]), w = lt_conv_operand_of(b, u->root->in[1]);
  const sum_walk s = {.taps = {v->row.kernel, v->col.kernel},
                      .channels = v->c,
                      .image_first = -v->row.before * o.row - v->col.before * o.col,
                      .image_tap = {v->row.dilation * o.row, v->col.dilation * o.col},
                      .image_row = v->row.stride * o.row,
                      .image_col = v->col.stride * o.col,
                      .weight_tap = {w.row, w.col},
                      .weight_channel = w.channel,
                      .weight_result = w.image};
  lower(b, u, v, &s, lt_conv_flop(v));
}

/* With stride 1 all pixels are reached by all taps. */
static void reached(lt_builder *b, const lt_unit *u, const lt_conv_dims *v, const lt_phase_run *const run[2]) {
  const lt_conv_operand o = lt_conv_operand_of(b, u->root->in[0]), w = lt_conv_operand_of(b, u->root->in[1]);
  const lt_phase_run *r = run[0], *c = run[1];
  assert(r->phases == 1 && c->phases == 1 && r->pixels == v->row.size && c->pixels == v->col.size);
  const sum_walk s = {.taps = {r->taps, c->taps},
                      .channels = v->oc,
                      .image_first = r->from * o.row + c->from * o.col,
                      .image_tap = {-r->back * o.row, -c->back * o.col},
                      .image_row = o.row,
                      .image_col = o.col,
                      .weight_first = r->first * w.row + c->first * w.col,
                      .weight_tap = {r->step * w.row, c->step * w.col},
                      .weight_channel = w.image,
                      .weight_result = w.channel};
  const double products = (double)(v->n * r->pixels * c->pixels * r->taps * c->taps);
  lower(b, u, v, &s, 2.0 * products * (double)(v->groups * v->c * v->oc));
}

/* ---- gradient in the weights ---- */

enum { W_CHUNK, W_ROW, W_C, W_ONE, W_OC, W_COL };

/* The gradient's coordinates, and the strides of something dense in its order. */
static void weight_space(lt_kernel_builder *kb, int64_t chunks, int64_t stride[LT_MAX_DIMS]) {
  const lt_type *y = lt_type_of(kb->b->g, kb->unit->root->out);
  const int64_t *d = y->dim, extent[] = {chunks, d[2], d[1], 1, d[0], d[3]};
  static const int dim_of[] = {W_OC, W_C, W_ROW, W_COL};
  for (int i = 0; i < 6; i++) lt_kernel_dim(kb, extent[i]);
  kb->k.n_task_dims = 1;
  kb->shape = *y, kb->at = (lt_at){0};
  int64_t step = 1;
  for (int i = 3; i >= 0; i--) {
    kb->at.c[i] = lt_coord_dim(dim_of[i]);
    stride[dim_of[i]] = step, step *= d[i];
  }
  stride[W_CHUNK] = step;
}

static void weight_operands(lt_builder *b, const lt_unit *u, const lt_conv_dims *v, const lt_conv_chunks *cut,
                            lt_contract *x) {
  const lt_conv_operand o = lt_conv_operand_of(b, u->root->in[0]), g = lt_conv_operand_of(b, u->root->in[1]);
  x->row_dim = W_ONE, x->col_dim = W_OC, x->side_dim = W_ROW;
  x->a = lt_access_zero(g.buffer, g.offset);
  x->b = lt_access_zero(o.buffer, o.offset - v->row.before * o.row - v->col.before * o.col);
  x->a.stride[W_OC] = g.channel, x->b.stride[W_C] = o.channel;
  x->b.stride[W_ROW] = v->row.dilation * o.row, x->b.stride[W_COL] = o.col;
  x->a.stride[W_CHUNK] = v->n > 1 ? cut->images * g.image : cut->rows * g.row;
  x->b.stride[W_CHUNK] = v->n > 1 ? cut->images * o.image : cut->rows * v->row.stride * o.row;
  x->n_seg = 1;
  x->seg[0] = (lt_kseg){.n = 3,
                        .extent = {cut->images, cut->rows, v->col.windows},
                        .a_stride = {g.image, g.row, g.col},
                        .b_stride = {o.image, v->row.stride * o.row, v->col.stride * o.col}};
  lt_contract_cut(x);
}

static void weight(lt_builder *b, const lt_unit *u, const lt_conv_dims *v) {
  const lt_conv_chunks cut = lt_conv_chunks_of(v);
  lt_kernel_builder kb;
  lt_access sums = {0};
  lt_kernel_init(&kb, b, u, LT_K_CONTRACT);
  weight_space(&kb, cut.n, sums.stride);
  lt_contract *x = kb.k.contract = LT_NEW(b->a, lt_contract);
  weight_operands(b, u, v, &cut, x);
  kb.k.flop = lt_conv_flop(v);
  kb.k.bytes = lt_contract_bytes(b, x);
  const int32_t r = lt_x_result(&kb, kb.k.dtype);
  if (cut.n == 1) {
    lt_conv_store(&kb, r);
    return;
  }
  const int64_t chunk = sums.stride[W_CHUNK];
  sums.buffer = lt_scratch(b, "sums", u->root->out, cut.n * chunk);
  const lt_store s = {sums, r};
  lt_vec_push(b->a, &kb.store, s);
  lt_kernel_finish(&kb);
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  lt_kernel_space(&kb, lt_type_of(b->g, u->root->out), false);
  lt_access all = lt_access_zero(sums.buffer, 0);
  lt_type_strides(&kb.shape, all.stride);
  lt_conv_store(&kb, lt_conv_add_chunks(&kb, &all, chunk, 0, cut.n));
}

void lt_lower_rows(lt_builder *b, const lt_unit *u, const lt_conv_dims *v) {
  if (lt_facts(u->root)->blocks == LT_BLOCKS_WGRAD) weight(b, u, v);
  else if (lt_facts(u->root)->blocks == LT_BLOCKS_DGRAD) lt_conv_adjoint(b, u, v, reached);
  else forward(b, u, v);
}
