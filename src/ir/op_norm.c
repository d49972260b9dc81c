/* op_norm.c: normalisation over the batch, dropout, and the random numbers it draws. batch_norm and dropout mean
 * different things in a run and in a train entry; the pass `mode` says which, and the interpreter takes the run
 * form. */
#include "ir/op_util.h"

#include <math.h>

/* x [N, C, …] and vectors of C elements, all of one float type. */
static void need_channels(lt_graph *g, lt_op op, const lt_value *in, unsigned n, const char *const *names) {
  lt_need_float(g, op, "x", in[0]);
  const lt_type x = *lt_type_of(g, in[0]);
  if (x.rank < 2) lt_node_fail(g, op, "x %s must have at least rank 2, [N, C, …]", lt_text_of(g, in[0]));
  for (unsigned i = 1; i < n; i++) {
    const lt_type *t = lt_type_of(g, in[i]);
    if (t->dtype != x.dtype || t->rank != 1 || t->dim[0] != x.dim[1])
      lt_node_fail(g, op, "%s %s must be %s[%lld], one number for each channel of x %s", names[i], lt_text_of(g, in[i]),
                   lt_dtype_name(x.dtype), (long long)x.dim[1], lt_text_of(g, in[0]));
  }
}

static void need_eps(lt_graph *g, lt_op op, double eps) {
  if (!(eps >= 0)) lt_node_fail(g, op, "eps must be at least 0");
}

/* Elements behind a channel's index, and the number of elements of a channel. */
static int64_t inner_of(const lt_type *x) { return lt_type_count(x) / x->dim[0] / x->dim[1]; }

static void normalise(const lt_tensor *x, double eps, const double *mean, const double *var, const lt_tensor *scale,
                      const lt_tensor *bias, lt_tensor *y) {
  int64_t inner = inner_of(&x->type), channels = x->type.dim[1], count = lt_type_count(&x->type);
  for (int64_t i = 0; i < count; i++) {
    int64_t c = i / inner % channels;
    y->f[i] = (x->f[i] - mean[c]) / sqrt(var[c] + eps) * scale->f[c] + bias->f[c];
  }
}

/* v [C] as [C, 1, …], which broadcasts against x. */
static lt_value per_channel(lt_graph *g, lt_value v, const lt_type *x) {
  int64_t dim[LT_MAX_RANK] = {x->dim[1], 1, 1, 1, 1, 1, 1, 1};
  return lt_reshape(g, v, x->rank - 1, dim);
}

/* (d * (scale / sqrt(var + eps))) + bias: what depends on the channel alone is computed once per channel. */
static lt_value emit_normalised(lt_graph *g, lt_value d, lt_value var, double eps, lt_value scale, lt_value bias) {
  const lt_type x = *lt_type_of(g, d);
  lt_value deviation = lt_unary(g, LT_OP_sqrt, lt_binary(g, LT_OP_add, var, lt_number(g, var, eps)));
  lt_value factor = per_channel(g, lt_binary(g, LT_OP_div, scale, deviation), &x);
  lt_value scaled = lt_binary(g, LT_OP_mul, d, factor);
  return lt_binary(g, LT_OP_add, scaled, per_channel(g, bias, &x));
}

/* ---- batch_norm -------------------------------------------------------------------------------------------------- */

LT_INFER(batch_norm) {
  const lt_batch_norm_attrs *a = attrs;
  need_channels(g, LT_OP_batch_norm, in, 5, (const char *const[]){"x", "scale", "bias", "mean", "var"});
  need_eps(g, LT_OP_batch_norm, a->eps);
  if (!(a->momentum >= 0 && a->momentum <= 1)) lt_node_fail(g, LT_OP_batch_norm, "momentum must be between 0 and 1");
  *out_type = *lt_type_of(g, in[0]);
}
LT_EVAL(batch_norm) {
  normalise(in[0], ((const lt_batch_norm_attrs *)n->attrs)->eps, in[3]->f, in[4]->f, in[1], in[2], out[0]);
}
LT_EXPAND(batch_norm) {
  const lt_type x = *lt_type_of(g, in[0]);
  lt_value d = lt_binary(g, LT_OP_sub, in[0], per_channel(g, in[3], &x));
  out[0] = emit_normalised(g, d, in[4], ((const lt_batch_norm_attrs *)n->attrs)->eps, in[1], in[2]);
}
LT_VJP(batch_norm) { lt_vjp_by_expansion(v, n, in, gout, gin); }

/* ---- batch_norm_train -------------------------------------------------------------------------------------------- */

LT_INFER(batch_norm_train) {
  need_channels(g, LT_OP_batch_norm_train, in, 3, (const char *const[]){"x", "scale", "bias"});
  need_eps(g, LT_OP_batch_norm_train, ((const lt_batch_norm_train_attrs *)attrs)->eps);
  if (lt_type_count(lt_type_of(g, in[0])) == lt_type_of(g, in[1])->dim[0])
    lt_node_fail(g, LT_OP_batch_norm_train,
                 "x %s has one value per channel: its variance is 0, and y would be the bias whatever x is"
                 "\nhelp: a larger batch, as in --batch 8; a run uses the running statistics",
                 lt_text_of(g, in[0]));
  out_type[0] = *lt_type_of(g, in[0]);
  out_type[1] = out_type[2] = *lt_type_of(g, in[1]);
}
LT_EVAL(batch_norm_train) {
  const lt_tensor *x = in[0];
  int64_t inner = inner_of(&x->type), channels = x->type.dim[1], count = lt_type_count(&x->type);
  double *mean = out[1]->f, *var = out[2]->f, each = (double)(count / channels);
  for (int64_t i = 0; i < count; i++) mean[i / inner % channels] += x->f[i] / each;
  for (int64_t i = 0; i < count; i++) {
    double d = x->f[i] - mean[i / inner % channels];
    var[i / inner % channels] += d * d / each;
  }
  normalise(x, ((const lt_batch_norm_train_attrs *)n->attrs)->eps, mean, var, in[1], in[2], out[0]);
}
/* The sum of each channel, [C], and how many elements it has. */
static lt_value channel_sum(lt_graph *g, lt_value x) {
  lt_ints axes = {0};
  for (unsigned i = 0; i < lt_type_of(g, x)->rank; i++)
    if (i != 1) axes.v[axes.n++] = i;
  return lt_reduce(g, LT_OP_sum, x, &axes, false);
}

static lt_value channel_count(lt_graph *g, lt_value x) {
  const lt_type *t = lt_type_of(g, x);
  return lt_number(g, x, (double)(lt_type_count(t) / t->dim[1]));
}

LT_EXPAND(batch_norm_train) {
  const lt_type x = *lt_type_of(g, in[0]);
  lt_value count = channel_count(g, in[0]);
  out[1] = lt_binary(g, LT_OP_div, channel_sum(g, in[0]), count);
  lt_value d = lt_binary(g, LT_OP_sub, in[0], per_channel(g, out[1], &x));
  out[2] = lt_binary(g, LT_OP_div, channel_sum(g, lt_binary(g, LT_OP_mul, d, d)), count);
  out[0] = emit_normalised(g, d, out[2], ((const lt_batch_norm_train_attrs *)n->attrs)->eps, in[1], in[2]);
}

/* With d = x - mean, v = var + eps, and g for y alone (S. Ioffe, C. Szegedy, "Batch Normalization", 2015, section 3):
 *
 *   gbias = sum g    gscale = sum g·d / sqrt(v)    gx = scale / sqrt(v) · (g - d · (sum g·d / n / v) - sum g / n)
 *
 * which is two sums and one pass; who differentiates in mean and var too gets the gradient of what they are made of. */
LT_VJP(batch_norm_train) {
  if (gout[1] || gout[2]) {
    lt_vjp_by_expansion(v, n, in, gout, gin);
    return;
  }
  lt_graph *g = v->g;
  const lt_type x = *lt_type_of(g, in[0]);
  g->origin = "batch_norm_grad";
#define OP(op, a, b) lt_binary(g, LT_OP_##op, a, b)
  lt_value eps = lt_number(g, out[2], ((const lt_batch_norm_train_attrs *)n->attrs)->eps),
           count = channel_count(g, in[0]);
  lt_value wide = OP(add, out[2], eps), deviation = lt_unary(g, LT_OP_sqrt, wide);
  lt_value d = OP(sub, in[0], per_channel(g, out[1], &x));
  lt_value sum = channel_sum(g, gout[0]), slope = channel_sum(g, OP(mul, gout[0], d));
  lt_value mean = per_channel(g, OP(div, sum, count), &x),
           along = per_channel(g, OP(div, OP(div, slope, count), wide), &x);
  lt_value centred = OP(sub, OP(sub, gout[0], OP(mul, d, along)), mean);
  gin[0] = OP(mul, centred, per_channel(g, OP(div, in[1], deviation), &x));
  gin[1] = OP(div, slope, deviation);
  gin[2] = sum;
#undef OP
}

/* ---- dropout, random_uniform ------------------------------------------------------------------------------------- */

LT_INFER(dropout) {
  double p = ((const lt_dropout_attrs *)attrs)->p;
  lt_need_float(g, LT_OP_dropout, "x", in[0]);
  if (!(p >= 0 && p < 1)) lt_node_fail(g, LT_OP_dropout, "p must be at least 0 and less than 1");
  *out_type = *lt_type_of(g, in[0]);
}
LT_EVAL(dropout) { lt_tensor_assign(out[0], in[0]); }
LT_EXPAND(dropout) { out[0] = in[0]; }
LT_VJP(dropout) { gin[0] = gout[0]; }

LT_INFER(random_uniform) {
  const lt_ints *shape = &((const lt_random_uniform_attrs *)attrs)->shape;
  const lt_op op = LT_OP_random_uniform;
  const lt_type number = lt_scalar(LT_I64);
  for (unsigned i = 0; i < 2; i++)
    if (!lt_type_eq(lt_type_of(g, in[i]), &number))
      lt_node_fail(g, op, "%s %s must be i64", i ? "step" : "seed", lt_text_of(g, in[i]));
  if (shape->n > LT_MAX_RANK) lt_node_fail(g, op, "rank %lld is more than %d", (long long)shape->n, LT_MAX_RANK);
  for (int64_t i = 0; i < shape->n; i++)
    if (shape->v[i] < 1)
      lt_node_fail(g, op, "every dim must be at least 1, shape is %s", lt_ints_text(&g->arena, shape->v, shape->n));
  *out_type = lt_make_type(LT_F32, (unsigned)shape->n, shape->v);
}
LT_EVAL(random_uniform) {
  uint64_t seed = lt_random_step((uint64_t)in[0]->i[0], (uint64_t)in[1]->i[0]);
  uint64_t stream = lt_random_stream(((const lt_random_uniform_attrs *)n->attrs)->key);
  for (int64_t i = 0, count = lt_type_count(&out[0]->type); i < count; i++)
    out[0]->f[i] = (double)lt_random_unit(seed, stream, (uint64_t)i);
}
