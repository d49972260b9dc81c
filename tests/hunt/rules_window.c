/* rules_window.c: calls of ops and layers that look through a window: every grouping, dilation, uneven pads. */
#include "frontend/layers.h"
#include "maker.h"

#include <math.h>

/* Groups of every kind: none, depthwise with and without multiplier, divisors; and channels of the result. */
static int64_t pick_groups(maker *m, int64_t c) { return chance(m, 45) ? 1 : chance(m, 40) ? c : pick_divisor(m, c); }
static int64_t pick_out(maker *m, int64_t groups) {
  static const int64_t each[] = {1, 1, 2, 3, 4, 8, 12, 16, 20, 24};
  if (groups == 1) return pick_channels(m);
  int64_t n = groups * PICK(m, each);
  return n > 72 ? groups : n;
}

typedef struct conv { unsigned x; lt_type t; windows w; int64_t groups, out; } conv;

/* false: it would be too much work, or its result too large. */
static bool pick_conv(maker *m, conv *c) {
  c->x = pick_image(m);
  if (!c->x) return false;
  c->t = *type_of(m, c->x);
  c->w = pick_windows(m, &c->t, false);
  c->groups = pick_groups(m, c->t.dim[1]), c->out = pick_out(m, c->groups);
  double y = (double)(c->t.dim[0] * c->out * c->w.out[0] * c->w.out[1]);
  double k = (double)(c->t.dim[1] / c->groups * c->w.kernel[0] * c->w.kernel[1]);
  return y <= MOST_ELEMENTS && spend(m, y * k);
}

static void filter_dims(const conv *c, int64_t d[4]) {
  d[0] = c->out, d[1] = c->t.dim[1] / c->groups, d[2] = c->w.kernel[0], d[3] = c->w.kernel[1];
}

static unsigned filter(maker *m, const conv *c) {
  int64_t d[4];
  filter_dims(c, d);
  return make_param(m, 4, d, 1 / sqrt((double)(d[1] * d[2] * d[3])));
}

static void put_groups(ht_statement *s, int64_t groups) {
  if (groups != 1) put_attr(s, "groups", "%lld", (long long)groups);
}

bool rule_conv2d(maker *m) {
  conv c;
  if (!pick_conv(m, &c)) return false;
  unsigned w = filter(m, &c), b = chance(m, 50) ? make_param(m, 1, &c.out, 0.5) : 0;
  ht_statement *s = begin(m, HT_OP, "conv2d", 3, (unsigned[]){c.x, w, b});
  put_windows(s, &c.w, false, 1);
  if (s) put_groups(s, c.groups);
  return mild(m, finish(m, s));
}

/* Adjoints take an image of the result's shape: one that is there, or a convolution's. */
static unsigned image_like(maker *m, const conv *c) {
  lt_type y = lt_make_type(m->dtype, 4, (int64_t[]){c->t.dim[0], c->out, c->w.out[0], c->w.out[1]});
  return pick_or_make(m, &(want){.min_rank = 4, .max_rank = 4, .like = &y}, y);
}

bool rule_conv2d_grad_input(maker *m) {
  conv c;
  if (!pick_conv(m, &c)) return false;
  unsigned w = filter(m, &c), gy = image_like(m, &c);
  ht_statement *s = begin(m, HT_OP, "conv2d_grad_input", 2, (unsigned[]){gy, w});
  if (s) put_pair(s, "size", c.t.dim + 2, 0);
  put_windows(s, &c.w, false, 1);
  if (s) put_groups(s, c.groups);
  return mild(m, finish(m, s));
}

bool rule_conv2d_grad_weight(maker *m) {
  conv c;
  if (!pick_conv(m, &c)) return false;
  unsigned gy = image_like(m, &c);
  ht_statement *s = begin(m, HT_OP, "conv2d_grad_weight", 2, (unsigned[]){c.x, gy});
  put_windows(s, &c.w, true, 1);
  if (s) put_groups(s, c.groups);
  unsigned y = finish(m, s);
  return y && unary(m, "tanh", y);
}

/* The size of a transposed convolution's result, between the smallest and one more step. */
typedef struct turned { unsigned x; lt_type t; windows w; int64_t groups, out, size[2]; bool sized; } turned;

static bool pick_turned(maker *m, turned *c) {
  c->x = pick_image(m);
  if (!c->x) return false;
  c->t = *type_of(m, c->x);
  c->w = pick_windows(m, &c->t, true);
  c->groups = pick_groups(m, c->t.dim[1]), c->out = pick_out(m, c->groups), c->sized = false;
  for (int i = 0; i < 2; i++) {
    int64_t full = c->w.stride[i] * (c->t.dim[2 + i] - 1) + c->w.dilation[i] * (c->w.kernel[i] - 1) + 1;
    if (full - c->w.pad[i] - c->w.pad[i + 2] < 1) c->w.pad[i] = c->w.pad[i + 2] = 0;
    int64_t more = chance(m, 30) ? pick(m, c->w.stride[i]) : 0;
    c->size[i] = full - c->w.pad[i] - c->w.pad[i + 2] + more;
    c->sized |= more > 0;
  }
  double y = (double)(c->t.dim[0] * c->out * c->size[0] * c->size[1]);
  double k = (double)(c->out / c->groups * c->w.kernel[0] * c->w.kernel[1]);
  return y <= MOST_ELEMENTS && spend(m, (double)lt_type_count(&c->t) * k);
}

static void put_turned(maker *m, ht_statement *s, const turned *c) {
  put_windows(s, &c->w, s && s->kind == HT_LAYER, 1);
  if (s) put_groups(s, c->groups);
  if (c->sized || chance(m, 35)) put_pair(s, "outsize", c->size, 0);
}

bool rule_deconv2d(maker *m) {
  turned c;
  if (!pick_turned(m, &c)) return false;
  int64_t d[4] = {c.t.dim[1], c.out / c.groups, c.w.kernel[0], c.w.kernel[1]};
  unsigned w = make_param(m, 4, d, 1 / sqrt((double)(d[0] * d[2] * d[3] / c.groups)));
  unsigned b = chance(m, 50) ? make_param(m, 1, &c.out, 0.5) : 0;
  ht_statement *s = begin(m, HT_OP, "deconv2d", 3, (unsigned[]){c.x, w, b});
  if (s) put_turned(m, s, &c);
  return mild(m, finish(m, s));
}

/* ---- a convolution in fewer multiplications ---------------------------------------------------------------------- */

typedef struct tiled { unsigned x; lt_type t; int64_t tile, pad[4], out, size[2]; bool turned; } tiled;

static bool pick_tiled(maker *m, tiled *c) {
  c->x = pick_image(m);
  if (!c->x) return false;
  c->t = *type_of(m, c->x), c->tile = 2 + 2 * pick(m, 2), c->out = pick_channels(m), c->turned = chance(m, 30);
  int64_t tiles = c->t.dim[0];
  for (int i = 0; i < 4; i++) c->pad[i] = chance(m, 60) ? 1 : pick(m, 4);
  for (int i = 0; i < 2; i++) {
    c->size[i] = c->t.dim[2 + i] + c->pad[i] + c->pad[2 + i] - 2;
    if (c->size[i] < 1) return false;
    tiles *= (c->size[i] + c->tile - 1) / c->tile;
  }
  double numbers = (double)(tiles * (c->tile + 2) * (c->tile + 2)), y = (double)(c->t.dim[0] * c->size[0] * c->size[1]);
  return numbers * (double)LT_MAX(c->t.dim[1], c->out) <= 4 * MOST_ELEMENTS && y * (double)c->out <= MOST_ELEMENTS &&
         spend(m, numbers * (double)(c->t.dim[1] * c->out));
}

static unsigned put_tile(maker *m, const char *op, unsigned x, const tiled *c, const char *attr) {
  ht_statement *s = begin(m, HT_OP, op, 1, &x);
  if (!s) return 0;
  if (c->tile != 4) put_attr(s, "tile", "%lld", (long long)c->tile);
  if (!strcmp(attr, "pad")) put_list(s, attr, c->pad, 4);
  else if (!strcmp(attr, "size")) put_pair(s, attr, c->size, 0);
  else if (c->turned) put_attr(s, attr, "true");
  return finish(m, s);
}

/* All three together: what each takes is what another gives. */
bool rule_winograd(maker *m) {
  tiled c;
  if (!pick_tiled(m, &c)) return false;
  int64_t d[4] = {c.out, c.t.dim[1], 3, 3};
  if (c.turned) d[0] = c.t.dim[1], d[1] = c.out;
  unsigned w = make_param(m, 4, d, 1 / sqrt(9 * (double)c.t.dim[1]));
  unsigned v = put_tile(m, "winograd_image", c.x, &c, "pad"), u = put_tile(m, "winograd_filter", w, &c, "turned");
  if (!v || !u) return false;
  unsigned p = finish(m, begin(m, HT_OP, "matmul", 2, (unsigned[]){v, u}));
  return p && mild(m, put_tile(m, "winograd_result", p, &c, "size"));
}

/* ---- im2col ------------------------------------------------------------------------------------------------------ */

bool rule_im2col(maker *m) {
  unsigned x = pick_image(m);
  if (!x) return false;
  const lt_type t = *type_of(m, x);
  windows w = pick_windows(m, &t, false);
  if (lt_type_count(&t) * w.kernel[0] * w.kernel[1] > 2 * MOST_ELEMENTS) return false;
  ht_statement *s = begin(m, HT_OP, "im2col", 1, &x);
  put_windows(s, &w, true, 1);
  if (chance(m, 40)) put_attr(s, "to_matrix", "false");
  return finish(m, s);
}

bool rule_col2im(maker *m) {
  int64_t d[4] = {1 + pick(m, 2), 1 + pick(m, 5), pick_size(m, 8), pick_size(m, 8)};
  lt_type image = lt_make_type(m->dtype, 4, d);
  windows w = pick_windows(m, &image, false);
  bool matrix = chance(m, 60);
  lt_type flat = lt_make_type(m->dtype, 2, (int64_t[]){d[0] * w.out[0] * w.out[1], d[1] * w.kernel[0] * w.kernel[1]});
  lt_type deep = lt_make_type(m->dtype, 6, (int64_t[]){d[0], d[1], w.kernel[0], w.kernel[1], w.out[0], w.out[1]});
  lt_type t = matrix ? flat : deep;
  if (lt_type_count(&t) > MOST_ELEMENTS) return false;
  unsigned col = pick_or_make(m, &(want){.min_rank = 2, .max_rank = 6, .like = &t}, t);
  if (chance(m, 50)) col = unary(m, "tanh", col);
  ht_statement *s = begin(m, HT_OP, "col2im", 1, &col);
  if (s) put_list(s, "input_shape", d, 4);
  put_windows(s, &w, true, 1);
  if (!matrix) put_attr(s, "to_matrix", "false");
  return finish(m, s);
}

/* ---- pools ------------------------------------------------------------------------------------------------------- */

bool rule_pool(maker *m, const char *op) {
  lt_op which = lt_op_find(op, strlen(op));
  unsigned x = pick_image(m);
  if (!x) return false;
  windows w = pick_windows(m, type_of(m, x), true);
  w.ceil = chance(m, 30);
  ht_statement *s = begin(m, HT_OP, op, 1, &x);
  put_windows(s, &w, true, 0);
  for (unsigned k = 0; s && k < lt_op_table[which].n_attrs; k++) {
    const lt_attr_info *a = &lt_op_table[which].attrs[k];
    if (a->kind == LT_ATTR_bool && strcmp(a->name, "ceil") && chance(m, 40)) put_attr(s, a->name, "true");
    if (a->kind == LT_ATTR_float && chance(m, 30)) put_attr(s, a->name, "%s", chance(m, 50) ? "0.0" : "-0.25");
  }
  return finish(m, s);
}

/* The mean of a pool, and the adjoint of that pool from it. */
bool rule_avg_pool_grad(maker *m) {
  unsigned x = pick_image(m);
  if (!x) return false;
  windows w = pick_windows(m, type_of(m, x), true);
  int64_t size[2] = {type_of(m, x)->dim[2], type_of(m, x)->dim[3]};
  bool all = chance(m, 40);
  w.ceil = chance(m, 30);
  ht_statement *s = begin(m, HT_OP, "avg_pool", 1, &x);
  put_windows(s, &w, true, 0);
  if (all) put_attr(s, "count_include_pad", "true");
  unsigned y = finish(m, s);
  if (chance(m, 50)) y = unary(m, "sigmoid", y);
  s = begin(m, HT_OP, "avg_pool_grad", 1, &y);
  if (s) put_pair(s, "size", size, 0);
  put_windows(s, &w, true, 0);
  if (all) put_attr(s, "count_include_pad", "true");
  return finish(m, s);
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

/* What layers with weights share beside windows. */
static void put_layer(maker *m, ht_statement *s, int64_t channels, bool image) {
  if (chance(m, 20)) put_attr(s, "bias", "false");
  else if (chance(m, 15)) put_attr(s, "nobias", "true");
  if (chance(m, 10)) put_attr(s, "dtype", "%s", lt_dtype_name(m->dtype));
  if (image && chance(m, 30)) put_attr(s, "in_channels", "%lld", (long long)channels);
}

bool layer_conv2d(maker *m) {
  conv c;
  if (!pick_conv(m, &c)) return false;
  ht_statement *s = begin(m, HT_LAYER, "conv2d", 1, &c.x);
  put_attr(s, "out_channels", "%lld", (long long)c.out);
  put_windows(s, &c.w, true, 1);
  if (s) put_groups(s, c.groups), put_layer(m, s, c.t.dim[1], true);
  return mild(m, finish(m, s));
}

bool layer_deconv2d(maker *m) {
  turned c;
  if (!pick_turned(m, &c)) return false;
  ht_statement *s = begin(m, HT_LAYER, "deconv2d", 1, &c.x);
  put_attr(s, "out_channels", "%lld", (long long)c.out);
  if (s) put_turned(m, s, &c), put_layer(m, s, c.t.dim[1], true);
  return mild(m, finish(m, s));
}

bool layer_conv2d_simple(maker *m) {
  conv c;
  if (!pick_conv(m, &c)) return false;
  c.groups = 1;
  if (!spend(m, (double)(c.t.dim[1] * c.out * c.w.kernel[0] * c.w.kernel[1] * c.w.out[0] * c.w.out[1]))) return false;
  c.w.dilation[0] = c.w.dilation[1] = 1;
  unsigned w = filter(m, &c), b = chance(m, 50) ? make_param(m, 1, &c.out, 0.5) : 0;
  ht_statement *s = begin(m, HT_LAYER, "conv2d_simple", 3, (unsigned[]){c.x, w, b});
  put_windows(s, &c.w, false, 1);
  return mild(m, finish(m, s));
}

bool layer_pooling(maker *m, const char *layer) {
  unsigned x = pick_image(m);
  if (!x) return false;
  windows w = pick_windows(m, type_of(m, x), true);
  w.dilation[0] = w.dilation[1] = 1;
  if (lt_type_count(type_of(m, x)) * w.kernel[0] * w.kernel[1] > 4 * MOST_ELEMENTS) return false;
  for (int i = 0; i < 4; i++)
    if (w.pad[i] >= w.kernel[i % 2]) w.pad[i] = w.kernel[i % 2] - 1;
  ht_statement *s = begin(m, HT_LAYER, layer, 1, &x);
  put_windows(s, &w, true, 1);
  const lt_layer_info *info = &lt_layer_table[lt_layer_find(layer, strlen(layer))];
  if (!strcmp(info->attrs()[info->n_attrs - 1].name, "all_ties") && chance(m, 40)) put_attr(s, "all_ties", "true");
  return finish(m, s);
}
