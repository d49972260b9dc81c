/* uses.c: from the network's graph, before any pass, to the use of each value. Users stand after what they read: a walk
 * from the beginning knows what the columns of each value are, one from the end who reads it. */
#include "driver/model/uses.h"

/* ---- what the columns of a value are
 * ------------------------------------------------------------------------------------ */

/* An image that becomes one row per example, [N, C, H, W] as [N, C·H·W]. */
static bool flattens(lt_use *out, const lt_type *from, const lt_type *to) {
  bool same = from->rank == 4 && lt_type_count(from) == lt_type_count(to) && from->dim[0] == to->dim[0];
  bool one = same && (from->dim[1] == 1 || from->dim[2] * from->dim[3] == 1);
  if (!same || one) return false;
  *out = (lt_use){.rows = LT_ROWS_OF_IMAGE, .image = {from->dim[1], from->dim[2], from->dim[3]}};
  return true;
}

static bool same_rows(const lt_use *a, const lt_use *b) {
  return a->rows == b->rows && !memcmp(a->image, b->image, sizeof a->image);
}

/* What the columns of n's first result are, from what those of its operands are: an op that keeps the shape keeps them,
 * one that mixes the columns (a product) makes new ones, anything else makes them unclear. */
static lt_use rows_after(const lt_graph *g, const lt_node *n, const lt_use *rows) {
  const lt_type *t = lt_type_of(g, n->out);
  lt_use all = {.rows = LT_ROWS_PLAIN};
  if (t->rank != 2 || lt_facts(n)->flags & LT_HEAVY) return all;
  if (n->n_in && n->in[0] && flattens(&all, lt_type_of(g, n->in[0]), t)) return all;
  for (unsigned k = 0; k < n->n_in; k++) {
    const lt_use *x = &rows[n->in[k]];
    if (!n->in[k] || x->rows == LT_ROWS_PLAIN) continue;
    bool keeps = lt_type_eq(lt_type_of(g, n->in[k]), t) && (all.rows == LT_ROWS_PLAIN || same_rows(&all, x));
    all = keeps ? *x : (lt_use){.rows = LT_ROWS_UNCLEAR};
    if (!keeps) return all;
  }
  return all;
}

/* ---- what an op says --------------------------------------------------------------------------------------------- */

static lt_use with_rows(const lt_node *n, const lt_use *rows, lt_use_kind kind) {
  lt_use u = rows[n->in[0]];
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

static lt_use use_by(const lt_graph *g, const lt_node *n, unsigned operand, const lt_use *of, const lt_use *rows) {
  const lt_use vector = {.kind = LT_USE_VECTOR}, none = {0};
  switch (n->op) {
    case LT_OP_linear: if (operand == 1) return with_rows(n, rows, LT_USE_MATRIX);
    return operand == 2 ? vector : none;
    case LT_OP_matmul:
    if (operand != 1 || lt_type_of(g, n->in[1])->rank != 2) return none;
    return with_rows(n, rows, ((const lt_matmul_attrs *)n->attrs)->transpose_b ? LT_USE_TURNED : LT_USE_MATRIX);
    case LT_OP_conv2d: case LT_OP_deconv2d:
    if (operand == 1) return (lt_use){.kind = LT_USE_FILTERS};
    return operand == 2 ? vector : none;
    case LT_OP_batch_norm: case LT_OP_batch_norm_train: return operand ? with_rows(n, rows, LT_USE_VECTOR) : none;
    case LT_OP_gather: case LT_OP_take: return operand == 0 ? (lt_use){.kind = LT_USE_TABLE} : none;
    case LT_OP_transpose: return through_transpose(n, of[n->out]);
    case LT_OP_reshape: return through_reshape(g, n, of[n->out]);
  default: return none;
  }
}

static lt_use join(lt_use a, lt_use b) {
  if (!a.kind || !b.kind) return a.kind ? a : b;
  if (!same_rows(&a, &b)) a.rows = LT_ROWS_UNCLEAR;
  if (a.kind != b.kind) a.kind = LT_USE_MIXED;
  return a;
}

lt_use *lt_uses_of(lt_arena *a, const lt_graph *g) {
  lt_use *of = LT_NEW_ARRAY(a, lt_use, g->values.n + 1), *rows = LT_NEW_ARRAY(a, lt_use, g->values.n + 1);
  for (uint32_t i = 0; i < g->nodes.n; i++)
    if (g->nodes.at[i]->n_out) rows[g->nodes.at[i]->out] = rows_after(g, g->nodes.at[i], rows);
  for (uint32_t i = g->nodes.n; i-- > 0;) {
    const lt_node *n = g->nodes.at[i];
    for (unsigned k = 0; k < n->n_in; k++)
      if (n->in[k]) of[n->in[k]] = join(of[n->in[k]], use_by(g, n, k, of, rows));
  }
  return of;
}
