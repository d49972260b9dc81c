/* nets.c: structures as people build them: blocks of convolutions, residuals, branches put together, channels shuffled,
 * gates, down and up again, rows of linear layers, attention, and heads with a loss. */
#include "maker.h"

static int64_t dim_of(const maker *m, unsigned x, unsigned i) { return type_of(m, x)->dim[i]; }
static bool is_image(const maker *m, unsigned x) { return x && type_of(m, x)->rank == 4; }

/* ---- parts ------------------------------------------------------------------------------------------------------- */

unsigned net_conv(maker *m, unsigned x, int64_t out, int64_t kernel, int64_t stride, int64_t groups) {
  if (!is_image(m, x)) return 0;
  double work = (double)(lt_type_count(type_of(m, x)) * kernel * kernel * out / groups / (stride * stride));
  if (dim_of(m, x, 0) * out * dim_of(m, x, 2) * dim_of(m, x, 3) > 2 * MOST_ELEMENTS || !spend(m, work)) return 0;
  ht_statement *s = begin(m, HT_LAYER, "conv2d", 1, &x);
  put_attr(s, "out_channels", "%lld", (long long)out);
  put_attr(s, "kernel", "%lld", (long long)kernel);
  if (stride > 1) put_attr(s, "stride", "%lld", (long long)stride);
  if (kernel > 1) put_attr(s, "pad", "%lld", (long long)(kernel / 2));
  if (groups > 1) put_attr(s, "groups", "%lld", (long long)groups);
  if (chance(m, 30)) put_attr(s, "bias", "false");
  return finish(m, s);
}

unsigned net_norm(maker *m, unsigned x) {
  if (!x || !chance(m, 50) || lt_type_count(type_of(m, x)) <= dim_of(m, x, 1)) return x;
  return finish(m, begin(m, HT_LAYER, "batch_norm", 1, &x));
}

unsigned net_act(maker *m, unsigned x) {
  static const char *const ops[] = {"relu", "relu", "relu", "tanh", "sigmoid", "softplus"};
  if (x && chance(m, 15)) return binary(m, "mul", x, unary(m, "sigmoid", x)); /* swish */
  return x ? unary(m, PICK(m, ops), x) : 0;
}

static unsigned pool(maker *m, unsigned x) {
  if (!is_image(m, x) || dim_of(m, x, 2) < 2 || dim_of(m, x, 3) < 2) return x;
  bool wide = chance(m, 30) && dim_of(m, x, 2) > 2 && dim_of(m, x, 3) > 2;
  ht_statement *s = begin(m, HT_OP, chance(m, 60) ? "max_pool" : "avg_pool", 1, &x);
  put_attr(s, "kernel", "%d", wide ? 3 : 2);
  put_attr(s, "stride", "2");
  if (wide) put_attr(s, "pad", "1");
  if (chance(m, 20)) put_attr(s, "ceil", "true");
  return finish(m, s);
}

static unsigned linear(maker *m, unsigned x, int64_t out) {
  if (!x || !spend(m, (double)(lt_type_count(type_of(m, x)) * out))) return 0;
  ht_statement *s = begin(m, HT_LAYER, "linear", 1, &x);
  put_attr(s, "out", "%lld", (long long)out);
  return finish(m, s);
}

static unsigned reshape(maker *m, unsigned x, unsigned n, const int64_t *d) {
  ht_statement *s = begin(m, HT_OP, "reshape", 1, &x);
  if (s) put_list(s, "shape", d, n);
  return finish(m, s);
}
static unsigned transpose(maker *m, unsigned x, unsigned n, const int64_t *perm) {
  ht_statement *s = begin(m, HT_OP, "transpose", 1, &x);
  if (s) put_list(s, "perm", perm, n);
  return finish(m, s);
}
static unsigned concat(maker *m, unsigned n, const unsigned *in) {
  for (unsigned i = 0; i < n; i++)
    if (!in[i]) return 0;
  return finish(m, begin(m, HT_OP, "concat", n, in));
}

/* ---- blocks on images; 0: it would be too much --------------------------------------------------------------------
 */

static unsigned plain(maker *m, unsigned x) {
  static const int64_t kernels[] = {1, 3, 3, 5};
  unsigned y = net_act(m, net_norm(m, net_conv(m, x, pick_channels(m), PICK(m, kernels), chance(m, 25) ? 2 : 1, 1)));
  return y && chance(m, 40) ? pool(m, y) : y;
}

static unsigned residual(maker *m, unsigned x) {
  int64_t c = dim_of(m, x, 1), mid = chance(m, 50) ? c : pick_channels(m);
  unsigned y = net_act(m, net_norm(m, net_conv(m, x, mid, chance(m, 50) ? 3 : 1, 1, 1)));
  y = net_norm(m, net_conv(m, y, c, 3, 1, 1));
  return y ? net_act(m, binary(m, "add", y, x)) : 0;
}

static unsigned bottleneck(maker *m, unsigned x) { /* with another shape on the way past */
  int64_t out = pick_channels(m);
  unsigned y = net_act(m, net_norm(m, net_conv(m, x, 1 + out / 4, 1, 1, 1)));
  y = net_norm(m, net_conv(m, net_act(m, net_norm(m, net_conv(m, y, 1 + out / 4, 3, 2, 1))), out, 1, 1, 1));
  unsigned past = net_norm(m, net_conv(m, x, out, 1, 2, 1));
  return y && past ? net_act(m, binary(m, "add", y, past)) : 0;
}

static unsigned branches(maker *m, unsigned x) { /* as Inception has them */
  unsigned in[4], n = 2 + (unsigned)pick(m, 3);
  for (unsigned i = 0; i < n; i++) {
    int64_t c = pick_channels(m);
    in[i] = i == 1 && chance(m, 50) ? x : net_conv(m, x, c > 24 ? 24 : c, 1 + 2 * pick(m, 3), 1, 1);
    if (i > 1 && chance(m, 50)) in[i] = net_conv(m, net_act(m, in[i]), c > 24 ? 8 : c, 3, 1, 1);
  }
  return net_act(m, concat(m, n, in));
}

static unsigned separable(maker *m, unsigned x) {
  int64_t c = dim_of(m, x, 1), times = 1 + pick(m, 2);
  unsigned y = net_act(m, net_norm(m, net_conv(m, x, c * times, 3, chance(m, 30) ? 2 : 1, c)));
  return net_act(m, net_norm(m, net_conv(m, y, pick_channels(m), 1, 1, 1)));
}

static unsigned shuffled(maker *m, unsigned x) { /* grouped convolutions with channels exchanged between them */
  int64_t c = dim_of(m, x, 1), g = pick_divisor(m, c), n = dim_of(m, x, 0), h = dim_of(m, x, 2), w = dim_of(m, x, 3);
  unsigned y = net_act(m, net_conv(m, x, c, 1 + 2 * pick(m, 2), 1, g));
  if (!y) return 0;
  y = reshape(m, y, 5, (int64_t[]){n, g, c / g, h, w});
  y = reshape(m, transpose(m, y, 5, (int64_t[]){0, 2, 1, 3, 4}), 4, (int64_t[]){n, c, h, w});
  y = net_conv(m, y, c, 3, 1, g);
  return y ? binary(m, "add", y, x) : 0;
}

static unsigned gated(maker *m, unsigned x) { /* squeeze and excitation */
  int64_t c = dim_of(m, x, 1);
  unsigned y = net_conv(m, unary(m, "global_avg_pool", x), 1 + c / 4, 1, 1, 1);
  y = net_conv(m, net_act(m, y), c, 1, 1, 1);
  return y ? binary(m, "mul", x, unary(m, "sigmoid", y)) : 0;
}

static unsigned dense(maker *m, unsigned x) { /* everything before is read again */
  for (int i = 0, n = 1 + (int)pick(m, 3); i < n; i++) {
    unsigned y = net_conv(m, net_act(m, net_norm(m, x)), 4 + 4 * pick(m, 3), 3, 1, 1);
    x = concat(m, 2, (unsigned[]){x, y});
    if (!x) return 0;
  }
  return x;
}

static unsigned down_up(maker *m, unsigned x) { /* down, up by a transposed convolution, cut, beside what was there */
  int64_t h = dim_of(m, x, 2), w = dim_of(m, x, 3), c = 1 + dim_of(m, x, 1) / 2;
  if (h < 2 || w < 2) return 0;
  unsigned y = net_conv(m, x, c, 3, 2, 1);
  if (!y || !spend(m, (double)lt_type_count(type_of(m, y)) * (double)c * 16)) return 0;
  y = net_act(m, y);
  bool four = chance(m, 50); /* a window of 4 fits without an outsize, one of 3 needs it */
  ht_statement *s = begin(m, HT_LAYER, "deconv2d", 1, &y);
  put_attr(s, "out_channels", "%lld", (long long)c);
  put_attr(s, "kernel", four ? "4" : "2");
  put_attr(s, "stride", "2");
  if (four) put_attr(s, "pad", "1");
  y = finish(m, s);
  if (!y) return 0;
  s = begin(m, HT_OP, "slice", 1, &y);
  if (s) put_list(s, "axes", (int64_t[]){2, 3}, 2), put_list(s, "starts", (int64_t[]){0, 0}, 2);
  if (s) put_list(s, "ends", (int64_t[]){h, w}, 2);
  y = finish(m, s);
  return y ? concat(m, 2, (unsigned[]){x, y}) : 0;
}

/* ---- blocks on matrices ------------------------------------------------------------------------------------------ */

static unsigned perceptron(maker *m, unsigned x) {
  unsigned y = net_act(m, linear(m, x, pick_channels(m)));
  if (y && chance(m, 30)) y = net_norm(m, y);
  if (!y || !chance(m, 40)) return y;
  unsigned z = linear(m, y, dim_of(m, x, 1));
  return z ? binary(m, "add", z, x) : 0;
}

static unsigned attention(maker *m, unsigned x) {
  int64_t n = dim_of(m, x, 0), heads = 1 + pick(m, 3), d = 1 + pick(m, 8);
  unsigned part[3];
  if (!spend(m, (double)(2 * n * n * heads * d))) return 0;
  for (int i = 0; i < 3; i++) {
    unsigned y = linear(m, x, heads * d);
    y = y ? reshape(m, y, 3, (int64_t[]){n, heads, d}) : 0;
    part[i] = y ? transpose(m, y, 3, (int64_t[]){1, 0, 2}) : 0;
  }
  if (!part[0] || !part[1] || !part[2]) return 0;
  ht_statement *s = begin(m, HT_OP, "matmul", 2, part);
  put_attr(s, "transpose_b", "true");
  unsigned y = finish(m, s), scale = make_number(m, m->dtype, 0.25);
  y = unary(m, "softmax", binary(m, "mul", y, scale));
  y = binary(m, "matmul", y, part[2]);
  return y ? reshape(m, transpose(m, y, 3, (int64_t[]){1, 0, 2}), 2, (int64_t[]){n, heads * d}) : 0;
}

static unsigned layer_norm(maker *m, unsigned x) {
  ht_statement *s = begin(m, HT_OP, "mean", 1, &x);
  put_attr(s, "axes", "[-1]");
  put_attr(s, "keepdims", "true");
  unsigned mean = finish(m, s), d = binary(m, "sub", x, mean), square = binary(m, "mul", d, d);
  s = begin(m, HT_OP, "mean", 1, &square);
  put_attr(s, "axes", "[-1]");
  put_attr(s, "keepdims", "true");
  unsigned var = finish(m, s), eps = make_number(m, m->dtype, 0.001), width = type_of(m, x)->rank - 1u;
  unsigned y = binary(m, "div", d, unary(m, "sqrt", binary(m, "add", var, eps)));
  unsigned scale = y ? make_param(m, 1, &type_of(m, x)->dim[width], 1) : 0;
  return scale ? binary(m, "mul", y, scale) : 0;
}

/* ---- one more ---------------------------------------------------------------------------------------------------- */

void make_structure(maker *m, unsigned *x) {
  static unsigned (*const images[])(maker *, unsigned) = {plain,     plain,    residual, bottleneck, branches,
                                                          separable, shuffled, gated,    dense,      down_up};
  static unsigned (*const matrices[])(maker *, unsigned) = {perceptron, perceptron, attention, layer_norm};
  unsigned y = is_image(m, *x) ? PICK(m, images)(m, *x) : PICK(m, matrices)(m, *x);
  if (y && lt_type_count(type_of(m, y)) <= 2 * MOST_ELEMENTS) *x = y;
}

unsigned make_head(maker *m, unsigned x) {
  if (is_image(m, x)) x = unary(m, "flatten", chance(m, 50) ? unary(m, "global_avg_pool", x) : x);
  x = linear(m, x, 1 + pick(m, 10));
  if (!x) return 0;
  if (chance(m, 25)) {
    ht_statement *s = begin(m, HT_OP, "dropout", 1, &x);
    if (chance(m, 50)) put_attr(s, "p", "0.25");
    x = finish(m, s);
  }
  if (!x) return 0;
  const lt_type t = *type_of(m, x);
  if (chance(m, 60)) {
    lt_type of_labels = lt_make_type(chance(m, 70) ? LT_I32 : LT_I64, 1, t.dim);
    unsigned labels = make_leaf(m, HT_INPUT, of_labels, NULL);
    return binary(m, "cross_entropy", x, labels);
  }
  unsigned target = make_leaf(m, HT_INPUT, t, NULL);
  return binary(m, "mse", x, target);
}
