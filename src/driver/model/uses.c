/* uses.c: from the network's graph, before any pass, to the use of each value: users stand after what they read, so one
 * walk from the end knows them all. */
#include "driver/model/uses.h"

/* ---- where the rows come from ------------------------------------------------------------------------------------ */

/* Back from x to what made it one row per example: an image, [N, C, H, W] as [N, C·H·W], or something else. */
static lt_use rows_of(const lt_graph *g, lt_value x) {
  const lt_use plain = {.rows = LT_ROWS_PLAIN}, unclear = {.rows = LT_ROWS_UNCLEAR};
  bool whole = true; /* every step kept all elements in their order */
  for (;;) {
    const lt_node *n = lt_node_of(g, x);
    const lt_type *t = lt_type_of(g, x);
    if (t->rank != 2) return plain;
    if (!n->n_in || lt_facts(n)->flags & LT_HEAVY) return plain;
    if (n->n_in > 1 && n->in[1]) return n->op == LT_OP_batch_norm ? rows_of(g, n->in[0]) : unclear;
    const lt_type *from = lt_type_of(g, n->in[0]);
    bool same = lt_type_count(from) == lt_type_count(t) && from->dim[0] == t->dim[0];
    if (from->rank == 4 && same) {
      lt_use image = {.rows = LT_ROWS_OF_IMAGE, .image = {from->dim[1], from->dim[2], from->dim[3]}};
      bool one = from->dim[1] == 1 || from->dim[2] * from->dim[3] == 1;
      return one ? plain : whole ? image : unclear;
    }
    whole = whole && lt_type_eq(from, t);
    x = n->in[0];
  }
}

/* ---- what an op says --------------------------------------------------------------------------------------------- */

static lt_use with_rows(const lt_graph *g, const lt_node *n, lt_use_kind kind) {
  lt_use u = rows_of(g, n->in[0]);
  u.kind = kind;
  return u;
}

/* An operand that is moved before it is used: what is asked of the result, said of the operand. */
static lt_use through_transpose(const lt_node *n, lt_use u) {
  const lt_ints *perm = &((const lt_transpose_attrs *)n->attrs)->perm;
  bool turns = perm->n == 0 || (perm->n == 2 && perm->v[0] == 1);
  if (!turns || (u.kind != LT_USE_MATRIX && u.kind != LT_USE_TURNED)) return (lt_use){0};
  u.kind = u.kind == LT_USE_MATRIX ? LT_USE_TURNED : LT_USE_MATRIX;
  return u;
}

/* A convolution written as a product has its filters flattened: [out, in, height, width] as [out, rest]. */
static lt_use through_reshape(const lt_graph *g, const lt_node *n, lt_use u) {
  const lt_type *from = lt_type_of(g, n->in[0]), *to = lt_type_of(g, n->out);
  bool filters = from->rank == 4 && to->rank == 2 && from->dim[0] == to->dim[0] && u.kind == LT_USE_TURNED;
  return filters ? (lt_use){.kind = LT_USE_FILTERS} : (lt_use){0};
}

static lt_use use_by(const lt_graph *g, const lt_node *n, unsigned operand, const lt_use *of) {
  const lt_use vector = {.kind = LT_USE_VECTOR}, none = {0};
  switch (n->op) {
    case LT_OP_linear: if (operand == 1) return with_rows(g, n, LT_USE_MATRIX);
    return operand == 2 ? vector : none;
    case LT_OP_matmul:
    if (operand != 1 || lt_type_of(g, n->in[1])->rank != 2) return none;
    return with_rows(g, n, ((const lt_matmul_attrs *)n->attrs)->transpose_b ? LT_USE_TURNED : LT_USE_MATRIX);
    case LT_OP_conv2d: case LT_OP_deconv2d:
    if (operand == 1) return (lt_use){.kind = LT_USE_FILTERS};
    return operand == 2 ? vector : none;
    case LT_OP_batch_norm: case LT_OP_batch_norm_train: return operand ? with_rows(g, n, LT_USE_VECTOR) : none;
    case LT_OP_gather: case LT_OP_take: return operand == 0 ? (lt_use){.kind = LT_USE_TABLE} : none;
    case LT_OP_transpose: return through_transpose(n, of[n->out]);
    case LT_OP_reshape: return through_reshape(g, n, of[n->out]);
  default: return none;
  }
}

static lt_use join(lt_use a, lt_use b) {
  if (!a.kind || !b.kind) return a.kind ? a : b;
  bool same_rows = a.rows == b.rows && !memcmp(a.image, b.image, sizeof a.image);
  if (a.kind != b.kind) a.kind = LT_USE_MIXED;
  if (!same_rows) a.rows = LT_ROWS_UNCLEAR;
  return a;
}

lt_use *lt_uses_of(lt_arena *a, const lt_graph *g) {
  lt_use *of = LT_NEW_ARRAY(a, lt_use, g->values.n + 1);
  for (uint32_t i = g->nodes.n; i-- > 0;) {
    const lt_node *n = g->nodes.at[i];
    for (unsigned k = 0; k < n->n_in; k++)
      if (n->in[k]) of[n->in[k]] = join(of[n->in[k]], use_by(g, n, k, of));
  }
  return of;
}
