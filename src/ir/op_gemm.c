/* op_gemm.c: matrix products. linear is what layers use; matmul is the general one, with transposed operands, so that
 * the gradients of both are matmuls that code generation recognises. Letters: y[M, N] = sum_K a[M, K]·b[K, N]. */
#include "ir/op_util.h"

LT_INFER(linear) {
  const lt_op op = LT_OP_linear;
  lt_value b = in[2];
  if (lt_type_of(g, in[0])->rank != 2)
    lt_node_fail(g, op, "x %s must have rank 2, [M, K]\nhelp: flatten(x) makes it [N, rest]", lt_text_of(g, in[0]));
  lt_need_rank(g, op, "W", in[1], 2, "[K, N]");
  lt_need_float(g, op, "x", in[0]);
  lt_need_dtype(g, op, "x", in[0], "W", in[1]);
  const lt_type x = *lt_type_of(g, in[0]), w = *lt_type_of(g, in[1]);
  if (x.dim[1] != w.dim[0])
    lt_node_fail(g, op, "x %s has %lld columns, W %s has %lld rows; they must be equal", lt_text_of(g, in[0]),
                 (long long)x.dim[1], lt_text_of(g, in[1]), (long long)w.dim[0]);
  if (b) {
    lt_need_rank(g, op, "b", b, 1, "[N]");
    lt_need_dtype(g, op, "x", in[0], "b", b);
    if (lt_type_of(g, b)->dim[0] != w.dim[1])
      lt_node_fail(g, op, "b %s must have one element for each of the %lld columns of W %s", lt_text_of(g, b),
                   (long long)w.dim[1], lt_text_of(g, in[1]));
  }
  *out_type = lt_make_type(x.dtype, 2, (int64_t[]){x.dim[0], w.dim[1]});
}

/* y[m, n] += sum_k a·b with any strides; y is [M, N] row-major. */
static void product(double *y, const double *a, const double *b, const int64_t mkn[3], const int64_t as[2],
                    const int64_t bs[2]) {
  for (int64_t m = 0; m < mkn[0]; m++)
    for (int64_t k = 0; k < mkn[1]; k++) {
      double s = a[m * as[0] + k * as[1]];
      for (int64_t n = 0; n < mkn[2]; n++) y[m * mkn[2] + n] += s * b[k * bs[0] + n * bs[1]];
    }
}

LT_EVAL(linear) {
  const lt_type *x = &in[0]->type, *w = &in[1]->type;
  const lt_tensor *b = in[2];
  int64_t total = lt_type_count(&out[0]->type);
  for (int64_t i = 0; i < total; i++) out[0]->f[i] = b ? b->f[i % w->dim[1]] : 0.0;
  product(out[0]->f, in[0]->f, in[1]->f, (int64_t[]){x->dim[0], x->dim[1], w->dim[1]}, (int64_t[]){x->dim[1], 1},
          (int64_t[]){w->dim[1], 1});
}

static lt_value emit_matmul(lt_graph *g, const char *origin, lt_value a, bool ta, lt_value b, bool tb) {
  lt_matmul_attrs m = {.transpose_a = ta, .transpose_b = tb};
  g->origin = origin;
  return lt_emit(g, LT_OP_matmul, &m, (lt_value[]){a, b}, 2);
}

LT_TERMS(linear) { return (double)lt_type_of(g, n->in[1])->dim[0]; }
LT_VJP(linear) {
  lt_graph *g = v->g;
  gin[0] = emit_matmul(g, "linear_grad_input", gout[0], false, in[1], true);
  gin[1] = emit_matmul(g, "linear_grad_weight", in[0], true, gout[0], false);
  g->origin = "linear_grad_bias";
  if (in[2]) gin[2] = lt_reduce(g, LT_OP_sum, gout[0], &(lt_ints){1, {0}}, false);
}

/* ---- matmul: the axes before the last two broadcast -------------------------------------------------------------- */

static lt_type batch_of(const lt_type *t) { return lt_make_type(t->dtype, t->rank - 2u, t->dim); }

LT_INFER(matmul) {
  const lt_matmul_attrs *m = attrs;
  const lt_op op = LT_OP_matmul;
  lt_need_float(g, op, "a", in[0]);
  lt_need_dtype(g, op, "a", in[0], "b", in[1]);
  const lt_type a = *lt_type_of(g, in[0]), b = *lt_type_of(g, in[1]);
  if (a.rank < 2 || b.rank < 2)
    lt_node_fail(g, op, "a %s and b %s must have at least rank 2", lt_text_of(g, in[0]), lt_text_of(g, in[1]));
  int64_t M = a.dim[a.rank - (m->transpose_a ? 1 : 2)], K = a.dim[a.rank - (m->transpose_a ? 2 : 1)];
  int64_t Kb = b.dim[b.rank - (m->transpose_b ? 1 : 2)], N = b.dim[b.rank - (m->transpose_b ? 2 : 1)];
  if (K != Kb)
    lt_node_fail(g, op, "a %s%s sums over %lld elements, b %s%s over %lld; they must be equal", lt_text_of(g, in[0]),
                 m->transpose_a ? " transposed" : "", (long long)K, lt_text_of(g, in[1]),
                 m->transpose_b ? " transposed" : "", (long long)Kb);
  lt_type ba = batch_of(&a), bb = batch_of(&b), t;
  if (!lt_broadcast(&t, &ba, &bb))
    lt_node_fail(g, op, "the leading axes of a %s and b %s do not broadcast", lt_text_of(g, in[0]),
                 lt_text_of(g, in[1]));
  t.dim[t.rank] = M;
  t.dim[t.rank + 1] = N;
  *out_type = lt_make_type(a.dtype, t.rank + 2u, t.dim);
}

LT_EVAL(matmul) {
  const lt_matmul_attrs *m = n->attrs;
  const lt_type *a = &in[0]->type, *b = &in[1]->type, *y = &out[0]->type;
  int64_t M = y->dim[y->rank - 2], N = y->dim[y->rank - 1], K = a->dim[a->rank - (m->transpose_a ? 2 : 1)];
  lt_type ba = batch_of(a), bb = batch_of(b), by = batch_of(y);
  lt_walk w;
  lt_walk_init(&w, &by);
  lt_walk_add(&w, &ba);
  lt_walk_add(&w, &bb);
  memset(out[0]->f, 0, (size_t)lt_type_count(y) * sizeof(double));
  const int64_t as[2] = {m->transpose_a ? 1 : K, m->transpose_a ? M : 1};
  const int64_t bs[2] = {m->transpose_b ? 1 : N, m->transpose_b ? K : 1};
  for (int64_t i = 0, count = lt_type_count(&by); i < count; i++, lt_walk_next(&w))
    product(out[0]->f + i * M * N, in[0]->f + w.off[0] * M * K, in[1]->f + w.off[1] * K * N, (int64_t[]){M, K, N}, as,
            bs);
}

LT_TERMS(matmul) {
  const lt_type *b = lt_type_of(g, n->in[1]);
  return (double)b->dim[b->rank - (((const lt_matmul_attrs *)n->attrs)->transpose_b ? 1 : 2)];
}
LT_VJP(matmul) {
  const lt_matmul_attrs *m = n->attrs;
  bool ta = m->transpose_a, tb = m->transpose_b;
  lt_graph *g = v->g;
  const lt_type a = *lt_type_of(g, in[0]), b = *lt_type_of(g, in[1]);
  const char *o = "matmul_grad";
  lt_value ga = ta ? emit_matmul(g, o, in[1], tb, gout[0], true) : emit_matmul(g, o, gout[0], false, in[1], !tb);
  lt_value gb = tb ? emit_matmul(g, o, gout[0], true, in[0], ta) : emit_matmul(g, o, in[0], !ta, gout[0], false);
  gin[0] = lt_sum_to(g, ga, &a);
  gin[1] = lt_sum_to(g, gb, &b);
}
