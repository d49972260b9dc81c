/* see_conv.c: the textbook's convolution, im2col → linear → reshape → transpose, seen as the conv2d it is. The
 * weights are W [OC, C, KH, KW] reshaped to [OC, C*KH*KW] and transposed, as the textbook does. */
#include "ir/pass/pass_util.h"

static const lt_node *made_by(const lt_graph *g, lt_value v, lt_op op) {
  const lt_node *n = lt_node_of(g, v);
  return n->op == op ? n : NULL;
}

static bool perm_is(const lt_ints *p, int64_t n, const int64_t *v) {
  return p->n == n && memcmp(p->v, v, (size_t)n * sizeof *v) == 0;
}

/* w [K, OC] is the transposed matrix [OC, K]; give a value of shape [OC, C, KH, KW] with the same elements, or 0. */
static lt_value kernel_of(lt_graph *g, lt_value w, const int64_t shape[4]) {
  const lt_type matrix = *lt_type_of(g, w);
  const lt_node *t = made_by(g, w, LT_OP_transpose);
  if (t) w = t->in[0];
  else if (matrix.dim[0] != 1 && matrix.dim[1] != 1) return 0; /* a row is a column already */
  const lt_node *r = made_by(g, w, LT_OP_reshape);
  return lt_reshape(g, r ? r->in[0] : w, 4, shape);
}

lt_value lt_see_conv(lt_graph *g, lt_value x, const lt_ints *perm) {
  if (!perm_is(perm, 4, (int64_t[]){0, 3, 1, 2})) return 0;
  const lt_node *r = made_by(g, x, LT_OP_reshape);
  const lt_node *l = r ? made_by(g, r->in[0], LT_OP_linear) : NULL;
  const lt_node *c = l ? made_by(g, l->in[0], LT_OP_im2col) : NULL;
  if (!c) return 0;
  const lt_im2col_attrs *a = c->attrs;
  const lt_type image = *lt_type_of(g, c->in[0]), y = *lt_type_of(g, x), rows = *lt_type_of(g, r->in[0]);
  if (!a->to_matrix || y.dim[0] != image.dim[0] || y.dim[3] != rows.dim[1]) return 0;
  lt_conv2d_attrs conv = {.stride = a->stride, .pad = a->pad, .dilation = a->dilation, .groups = 1};
  int64_t shape[4] = {rows.dim[1], image.dim[1], a->kernel.v[0], a->kernel.v[1]};
  int64_t h = (image.dim[2] + a->pad.v[0] + a->pad.v[2] - a->dilation.v[0] * (shape[2] - 1) - 1) / a->stride.v[0] + 1;
  if (y.dim[1] != h) return 0; /* the rows are divided in another way than into OH lines */
  lt_value bias = l->in[2], w = kernel_of(g, l->in[1], shape); /* emitting may move nodes' values, not the nodes */
  return w ? lt_emit(g, LT_OP_conv2d, &conv, (lt_value[]){c->in[0], w, bias}, 3) : 0;
}
