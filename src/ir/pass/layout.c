/* layout.c: where values stand in memory. Contractions read their image without asking whether a tap is inside, so an
 * image that is read past its border is copied into one with a halo of zeros. */
#include "ir/pass/cluster.h"
#include "ir/pass/halo.h"

static int64_t at_least(int64_t v, int64_t least) { return v > least ? v : least; }

/* How far the taps of a convolution (kernel k, image of size[], results out[]) reach past the image. */
static lt_layout halo_of_taps(const int64_t *size, const int64_t *out, const int64_t *k, const lt_pair *stride,
                              const lt_quad *pad, const lt_pair *dilation) {
  lt_layout l = {0};
  for (int i = 0; i < 2; i++) {
    int64_t last = (out[i] - 1) * stride->v[i] + (k[i] - 1) * dilation->v[i] - pad->v[i];
    l.halo[i] = (int32_t)pad->v[i];
    l.halo[i + 2] = (int32_t)at_least(last - (size[i] - 1), 0);
  }
  return l;
}

/* The same for the gradient in the image, which reads gy. */
static lt_layout halo_of_gradient(const int64_t *size, const int64_t *out, const int64_t *k, const lt_pair *stride,
                                  const lt_quad *pad, const lt_pair *dilation) {
  lt_layout l = {0};
  for (int i = 0; i < 2; i++) {
    int64_t before, after;
    lt_grad_input_halo(size[i], out[i], k[i], stride->v[i], pad->v[i], dilation->v[i], &before, &after);
    l.halo[i] = (int32_t)before, l.halo[i + 2] = (int32_t)after;
  }
  return l;
}

static lt_value with_layout(lt_rewrite *r, lt_value x, lt_layout l) {
  lt_value y = lt_emit(r->to, LT_OP_layout, NULL, &x, 1);
  r->to->values.at[y].layout = l;
  return y;
}

/* The image of the convolution n as its kernel reads it, and its place among the operands. */
static lt_layout image_of(lt_rewrite *r, const lt_node *n, unsigned *operand) {
  const lt_graph *g = r->from;
  const lt_type *a = lt_type_of(g, n->in[0]), *b = lt_type_of(g, n->in[1]), *y = lt_type_of(g, n->out);
  lt_layout plain = {0};
  *operand = 0;
  switch (n->op) {
  case LT_OP_conv2d: {
    const lt_conv2d_attrs *c = n->attrs;
    if (lt_conv_kind_of(a->dim[1], y->dim[1], c->groups) == LT_CONV_DEPTHWISE) return plain;
    return halo_of_taps(a->dim + 2, y->dim + 2, b->dim + 2, &c->stride, &c->pad, &c->dilation);
  }
  case LT_OP_conv2d_grad_weight: {
    const lt_conv2d_grad_weight_attrs *c = n->attrs;
    if (lt_conv_kind_of(a->dim[1], b->dim[1], c->groups) == LT_CONV_DEPTHWISE) return plain;
    return halo_of_taps(a->dim + 2, b->dim + 2, c->kernel.v, &c->stride, &c->pad, &c->dilation);
  }
  case LT_OP_conv2d_grad_input: {
    const lt_conv2d_grad_input_attrs *c = n->attrs;
    if (lt_conv_kind_of(y->dim[1], a->dim[1], c->groups) == LT_CONV_DEPTHWISE) return plain;
    return halo_of_gradient(c->size.v, a->dim + 2, b->dim + 2, &c->stride, &c->pad, &c->dilation);
  }
  default: return plain;
  }
}

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  unsigned k;
  lt_layout l = image_of(r, n, &k);
  if (!l.halo[0] && !l.halo[1] && !l.halo[2] && !l.halo[3]) return false;
  lt_value own[3] = {in[0], in[1], n->n_in > 2 ? in[2] : 0};
  own[k] = with_layout(r, in[k], l);
  lt_copy_node(r, n, own);
  return true;
}

void lt_pass_layout(lt_graph *to, const lt_graph *from) { lt_rewrite_graph(to, from, visit, NULL); }
