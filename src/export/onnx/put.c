/* put.c: our ops as nodes of ONNX, those without windows (put_window.c has them). */
#include "export/onnx/writer.h"

static const lt_type *type_in(const lt_ow *w, unsigned i) { return lt_type_of(w->g, w->n->in[i]); }
static const lt_type *type_out(const lt_ow *w) { return lt_type_of(w->g, w->n->out); }

static void begin_with(lt_ow *w, const char *op, const char *a, const char *b) {
  lt_ow_begin(w, op);
  lt_ow_arg(w, a);
  if (b) lt_ow_arg(w, b);
}

/* ---- leaves ------------------------------------------------------------------------------------------------------ */

static void add_tensor(lt_ow *w, lt_ow_tensor x) { lt_vec_push(w->arena, &w->tensors, x); }

/* What it has when it is not fed. */
void lt_put_input(lt_ow *w, const lt_node *n) {
  if (!w->o->elements(w->o->ctx, w->g, n)) return;
  add_tensor(w, (lt_ow_tensor){.name = lt_ow_out(w), .type = *type_out(w), .leaf = n});
}

void lt_put_param(lt_ow *w, const lt_node *n) {
  add_tensor(w, (lt_ow_tensor){.name = lt_ow_out(w), .type = *type_out(w), .leaf = n});
}

void lt_put_state(lt_ow *w, const lt_node *n) { lt_put_param(w, n); }

/* Truth values as 0 and 1, whatever bytes stand for true. */
static const void *elements_of(lt_ow *w, const lt_data *d) {
  if (lt_dtype_kind(d->type.dtype) != LT_TRUTHS) return d->at;
  unsigned char *own = lt_arena_alloc(w->arena, (size_t)d->bytes + 1);
  for (int64_t i = 0; i < d->bytes; i++) own[i] = d->at[i] != 0;
  return own;
}

void lt_put_const(lt_ow *w, const lt_node *n) {
  const void *at = elements_of(w, ((const lt_const_attrs *)n->attrs)->value);
  add_tensor(w, (lt_ow_tensor){.name = lt_ow_out(w), .type = *type_out(w), .at = at});
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

static void gemm(lt_ow *w, const char *b, bool transpose_a, bool transpose_b) {
  begin_with(w, "Gemm", lt_ow_in(w, 0), b);
  if (w->n->n_in > 2 && w->n->in[2]) lt_ow_arg(w, lt_ow_in(w, 2));
  if (transpose_a) lt_ow_int(w, "transA", 1);
  if (transpose_b) lt_ow_int(w, "transB", 1);
  lt_ow_end(w, lt_ow_out(w));
}

lt_value lt_ow_turned_weight(const lt_graph *g, const lt_node *n) {
  if (n->op != LT_OP_linear) return 0;
  const lt_node *weight = lt_node_of(g, n->in[1]);
  return weight->op == LT_OP_transpose && ((const lt_transpose_attrs *)weight->attrs)->perm.v[0] == 1 ? weight->in[0]
                                                                                                      : 0;
}

void lt_put_linear(lt_ow *w, const lt_node *n) {
  lt_value weight = lt_ow_turned_weight(w->g, n);
  gemm(w, weight ? w->name[weight] : lt_ow_in(w, 1), false, weight != 0);
}

/* With its last two axes exchanged. */
static const char *turned(lt_ow *w, unsigned i, bool turn) {
  const unsigned rank = type_in(w, i)->rank;
  int64_t perm[LT_MAX_RANK];
  if (!turn) return lt_ow_in(w, i);
  for (unsigned k = 0; k < rank; k++) perm[k] = k;
  perm[rank - 1] = rank - 2, perm[rank - 2] = rank - 1;
  lt_ow_begin(w, "Transpose");
  lt_ow_arg(w, lt_ow_in(w, i));
  lt_ow_ints(w, "perm", perm, rank);
  return lt_ow_end(w, NULL);
}

void lt_put_matmul(lt_ow *w, const lt_node *n) {
  const lt_matmul_attrs *a = n->attrs;
  if (type_in(w, 0)->rank == 2 && type_in(w, 1)->rank == 2 && (a->transpose_a || a->transpose_b)) {
    gemm(w, lt_ow_in(w, 1), a->transpose_a, a->transpose_b);
    return;
  }
  const char *left = turned(w, 0, a->transpose_a), *right = turned(w, 1, a->transpose_b);
  begin_with(w, "MatMul", left, right);
  lt_ow_end(w, lt_ow_out(w));
}

void lt_put_einsum(lt_ow *w, const lt_node *n) {
  begin_with(w, "Einsum", lt_ow_in(w, 0), lt_ow_in(w, 1));
  lt_ow_text(w, "equation", ((const lt_einsum_attrs *)n->attrs)->spec);
  lt_ow_end(w, lt_ow_out(w));
}

/* ---- elementwise ------------------------------------------------------------------------------------------------- */

/* A limit that is left out is the largest finite number in ONNX, so both are said. */
void lt_put_clip(lt_ow *w, const lt_node *n) {
  const lt_clip_attrs *a = n->attrs;
  const lt_dtype t = type_out(w)->dtype;
  const char *lo = lt_ow_number(w, t, a->lo), *hi = lt_ow_number(w, t, a->hi);
  begin_with(w, "Clip", lt_ow_in(w, 0), lo);
  lt_ow_arg(w, hi);
  lt_ow_end(w, lt_ow_out(w));
}

/* Where takes no truth values in ONNX Runtime: (c and a) or (not c and b). */
static void select_truth(lt_ow *w) {
  begin_with(w, "Not", lt_ow_in(w, 0), NULL);
  const char *other = lt_ow_end(w, NULL);
  begin_with(w, "And", lt_ow_in(w, 0), lt_ow_in(w, 1));
  const char *a = lt_ow_end(w, NULL);
  begin_with(w, "And", other, lt_ow_in(w, 2));
  const char *b = lt_ow_end(w, NULL);
  begin_with(w, "Or", a, b);
  lt_ow_end(w, lt_ow_out(w));
}

void lt_put_select(lt_ow *w, const lt_node *n) {
  (void)n;
  if (lt_dtype_kind(type_out(w)->dtype) == LT_TRUTHS) {
    select_truth(w);
    return;
  }
  begin_with(w, "Where", lt_ow_in(w, 0), lt_ow_in(w, 1));
  lt_ow_arg(w, lt_ow_in(w, 2));
  lt_ow_end(w, lt_ow_out(w));
}

static void cast(lt_ow *w, const char *x) {
  begin_with(w, "Cast", x, NULL);
  lt_ow_int(w, "to", lt_ow_type(type_out(w)->dtype));
  lt_ow_end(w, lt_ow_out(w));
}

void lt_put_cast(lt_ow *w, const lt_node *n) {
  (void)n;
  cast(w, lt_ow_in(w, 0));
}

/* ---- over axes --------------------------------------------------------------------------------------------------- */

static void reduce(lt_ow *w, const char *op, const lt_ints *axes, bool keepdims) {
  if (!axes->n) { /* a scalar */
    begin_with(w, "Identity", lt_ow_in(w, 0), NULL);
    lt_ow_end(w, lt_ow_out(w));
    return;
  }
  const char *list = lt_ow_list(w, axes->v, axes->n);
  begin_with(w, op, lt_ow_in(w, 0), list);
  lt_ow_int(w, "keepdims", keepdims);
  lt_ow_end(w, lt_ow_out(w));
}

#define REDUCE(op, onnx)                                                                                               \
  void lt_put_##op(lt_ow *w, const lt_node *n) {                                                                       \
    const lt_##op##_attrs *a = n->attrs;                                                                               \
    reduce(w, onnx, &a->axes, a->keepdims);                                                                            \
  }
REDUCE(sum, "ReduceSum")
REDUCE(mean, "ReduceMean")
REDUCE(reduce_max, "ReduceMax")

void lt_put_argmax(lt_ow *w, const lt_node *n) {
  begin_with(w, "ArgMax", lt_ow_in(w, 0), NULL);
  lt_ow_int(w, "axis", ((const lt_argmax_attrs *)n->attrs)->axis);
  cast(w, lt_ow_end(w, NULL));
}

static void along(lt_ow *w, const char *op, int64_t axis) {
  begin_with(w, op, lt_ow_in(w, 0), NULL);
  lt_ow_int(w, "axis", axis);
  lt_ow_end(w, lt_ow_out(w));
}

void lt_put_softmax(lt_ow *w, const lt_node *n) { along(w, "Softmax", ((const lt_softmax_attrs *)n->attrs)->axis); }
void lt_put_log_softmax(lt_ow *w, const lt_node *n) {
  along(w, "LogSoftmax", ((const lt_log_softmax_attrs *)n->attrs)->axis);
}

void lt_put_batch_norm(lt_ow *w, const lt_node *n) {
  const lt_batch_norm_attrs *a = n->attrs;
  lt_ow_begin(w, "BatchNormalization");
  for (unsigned i = 0; i < n->n_in; i++) lt_ow_arg(w, lt_ow_in(w, i));
  lt_ow_float(w, "epsilon", a->eps);
  lt_ow_float(w, "momentum", a->momentum);
  lt_ow_end(w, lt_ow_out(w));
}

/* ---- indices: in range, spell.c has seen to it ------------------------------------------------------------------- */

static void pick(lt_ow *w, const char *op, int64_t axis) {
  begin_with(w, op, lt_ow_in(w, 0), lt_ow_in(w, 1));
  lt_ow_int(w, "axis", axis);
  lt_ow_end(w, lt_ow_out(w));
}

void lt_put_gather(lt_ow *w, const lt_node *n) { pick(w, "GatherElements", ((const lt_gather_attrs *)n->attrs)->axis); }
void lt_put_take(lt_ow *w, const lt_node *n) { pick(w, "Gather", ((const lt_take_attrs *)n->attrs)->axis); }

static const char *shape_of(lt_ow *w, const lt_type *t) { return lt_ow_list(w, t->dim, t->rank); }

void lt_put_scatter_add(lt_ow *w, const lt_node *n) {
  const char *zero = lt_ow_number(w, type_out(w)->dtype, 0), *shape = shape_of(w, type_out(w));
  begin_with(w, "Expand", zero, shape);
  const char *zeros = lt_ow_end(w, NULL);
  begin_with(w, "ScatterElements", zeros, lt_ow_in(w, 1));
  lt_ow_arg(w, lt_ow_in(w, 0));
  lt_ow_int(w, "axis", ((const lt_scatter_add_attrs *)n->attrs)->axis);
  lt_ow_text(w, "reduction", "add");
  lt_ow_end(w, lt_ow_out(w));
}

/* ---- shape ------------------------------------------------------------------------------------------------------- */

static void to_shape(lt_ow *w, const char *op) {
  const char *shape = shape_of(w, type_out(w));
  begin_with(w, op, lt_ow_in(w, 0), shape);
  lt_ow_end(w, lt_ow_out(w));
}

void lt_put_reshape(lt_ow *w, const lt_node *n) {
  (void)n;
  to_shape(w, "Reshape");
}

void lt_put_broadcast_to(lt_ow *w, const lt_node *n) {
  (void)n;
  to_shape(w, "Expand");
}

void lt_put_transpose(lt_ow *w, const lt_node *n) {
  const lt_ints *perm = &((const lt_transpose_attrs *)n->attrs)->perm;
  begin_with(w, "Transpose", lt_ow_in(w, 0), NULL);
  lt_ow_ints(w, "perm", perm->v, perm->n);
  lt_ow_end(w, lt_ow_out(w));
}

void lt_put_concat(lt_ow *w, const lt_node *n) {
  lt_ow_begin(w, "Concat");
  for (unsigned i = 0; i < n->n_in; i++) lt_ow_arg(w, lt_ow_in(w, i));
  lt_ow_int(w, "axis", ((const lt_concat_attrs *)n->attrs)->axis);
  lt_ow_end(w, lt_ow_out(w));
}

void lt_put_slice(lt_ow *w, const lt_node *n) {
  const lt_slice_attrs *a = n->attrs;
  const char *from = lt_ow_list(w, a->starts.v, a->starts.n), *to = lt_ow_list(w, a->ends.v, a->ends.n);
  const char *axes = lt_ow_list(w, a->axes.v, a->axes.n);
  begin_with(w, "Slice", lt_ow_in(w, 0), from);
  lt_ow_arg(w, to);
  lt_ow_arg(w, axes);
  lt_ow_end(w, lt_ow_out(w));
}

void lt_put_pad(lt_ow *w, const lt_node *n) {
  const lt_pad_attrs *a = n->attrs;
  const char *pads = lt_ow_list(w, a->pads.v, a->pads.n), *value = lt_ow_number(w, type_out(w)->dtype, a->value);
  begin_with(w, "Pad", lt_ow_in(w, 0), pads);
  lt_ow_arg(w, value);
  lt_ow_end(w, lt_ow_out(w));
}
