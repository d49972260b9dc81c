/* cases.c: the families of generated kernels. Sizes are odd, prime, one, or a vector's width give or take one. */
#include "kcheck.h"

#include <math.h>
#include <stdio.h>

static const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 14, 15, 16, 17, 19, 23, 28, 31};
static const int64_t channels[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48};
static const int64_t lengths[] = {1, 2, 3, 7, 8, 9, 13, 15, 16, 17, 31, 32, 33, 47, 64, 65, 100};

lt_value kc_leaf(lt_graph *g, const char *fill, bool weight, lt_dtype t, unsigned rank, const int64_t *dim) {
  lt_type type = lt_make_type(t, rank, dim);
  const char *name = lt_arena_printf(&g->arena, "%s_%u", fill, g->nodes.n);
  lt_init init = {.kind = LT_INIT_ZEROS};
  return lt_leaf(g, weight ? LT_OP_param : LT_OP_input, name, type, weight ? &init : NULL);
}

static lt_value leaf4(lt_graph *g, const char *fill, bool weight, int64_t a, int64_t b, int64_t c, int64_t d) {
  return kc_leaf(g, fill, weight, LT_F32, 4, (int64_t[]){a, b, c, d});
}

static void output(lt_graph *g, lt_value v) {
  lt_add_output(g, g->outputs.n ? lt_arena_printf(&g->arena, "y%u", g->outputs.n) : "y", v);
}

static lt_value emit1(lt_graph *g, lt_op op, const void *attrs, lt_value x) { return lt_emit(g, op, attrs, &x, 1); }
static lt_value emit2(lt_graph *g, lt_op op, const void *attrs, lt_value a, lt_value b) {
  return lt_emit(g, op, attrs, (lt_value[]){a, b}, 2);
}

/* ---- windows: conv2d, its gradients, pooling, im2col ------------------------------------------------------------- */

typedef struct window { int64_t n, c, h, w, oc, k[2], stride[2], pad[4], dilation[2], groups, oh, ow; } window;

static int64_t out_size(int64_t size, int64_t pads, int64_t k, int64_t d, int64_t s) {
  return (size + pads - ((k - 1) * d + 1)) / s + 1;
}

static void fit(window *w, int i) {
  int64_t room = (i ? w->w + w->pad[1] + w->pad[3] : w->h + w->pad[0] + w->pad[2]);
  while ((w->k[i] - 1) * w->dilation[i] + 1 > room) {
    if (w->dilation[i] > 1) w->dilation[i]--;
    else w->k[i]--;
  }
}

static double work(window *w) {
  fit(w, 0), fit(w, 1);
  w->oh = out_size(w->h, w->pad[0] + w->pad[2], w->k[0], w->dilation[0], w->stride[0]);
  w->ow = out_size(w->w, w->pad[1] + w->pad[3], w->k[1], w->dilation[1], w->stride[1]);
  return (double)(w->n * w->oh * w->ow * w->k[0] * w->k[1]) * (double)(w->oc * w->c / w->groups);
}

static void limit(window *w, double most) {
  while (work(w) > most) {
    if (w->n > 1) w->n--;
    else if (w->h > 7 || w->w > 7) *(w->h > w->w ? &w->h : &w->w) -= 3;
    else if (w->groups == 1 && w->oc > 17) w->oc -= 15;
    else if (w->groups == 1 && w->c > 1) w->c = (w->c + 1) / 2;
    else if (w->k[0] > 1) w->k[0]--;
    else if (w->k[1] > 1) w->k[1]--;
    else break;
  }
}

static void choose_groups(window *w, kc_rng *r) {
  static const int64_t per_group[] = {1, 1, 2, 3, 5, 8, 16, 17};
  w->groups = 1;
  if (kc_chance(r, 75)) return;
  if (kc_chance(r, 40)) { /* depthwise */
    w->groups = w->c;
    w->oc = w->c * kc_pick(r, 1, 2);
    return;
  }
  w->groups = kc_pick(r, 2, 4);
  w->c = w->groups * KC_ONE_OF(r, per_group);
  w->oc = w->groups * KC_ONE_OF(r, per_group);
}

static window choose_window(kc_rng *r) {
  static const int64_t kernels[] = {1, 1, 2, 3, 3, 3, 4, 5, 7};
  window w = {.n = kc_pick(r, 1, 3),
              .c = KC_ONE_OF(r, channels),
              .oc = KC_ONE_OF(r, channels),
              .h = KC_ONE_OF(r, sizes),
              .w = KC_ONE_OF(r, sizes)};
  choose_groups(&w, r);
  bool square = kc_chance(r, 60), strided = kc_chance(r, 40), dilated = kc_chance(r, 15);
  for (int i = 0; i < 2; i++) {
    w.k[i] = i && square ? w.k[0] : KC_ONE_OF(r, kernels);
    w.stride[i] = strided ? kc_pick(r, 1, 4) : 1;
    w.dilation[i] = dilated ? kc_pick(r, 1, 3) : 1;
  }
  int64_t all = kc_chance(r, 30) ? 0 : kc_pick(r, 0, w.k[0] + 1);
  bool lopsided = kc_chance(r, 25);
  for (int i = 0; i < 4; i++) w.pad[i] = lopsided ? kc_pick(r, 0, w.k[i % 2] + 1) : all;
  limit(&w, 400e3);
  return w;
}

static lt_conv2d_attrs conv_attrs(const window *w) {
  lt_conv2d_attrs a = {.groups = w->groups};
  memcpy(a.stride.v, w->stride, sizeof a.stride), memcpy(a.pad.v, w->pad, sizeof a.pad);
  memcpy(a.dilation.v, w->dilation, sizeof a.dilation);
  return a;
}

static void forward(lt_graph *g, kc_rng *r, const window *w) {
  bool weight = kc_chance(r, 70);
  lt_conv2d_attrs a = conv_attrs(w);
  lt_value x = leaf4(g, "q", false, w->n, w->c, w->h, w->w),
           k = leaf4(g, "q", weight, w->oc, w->c / w->groups, w->k[0], w->k[1]);
  lt_value b = kc_chance(r, 50) ? kc_leaf(g, "q", weight, LT_F32, 1, &w->oc) : 0;
  lt_value y = lt_emit(g, LT_OP_conv2d, &a, (lt_value[]){x, k, b}, 3);
  int64_t tail = kc_pick(r, 0, 9);
  if (tail == 1) y = lt_binary(g, LT_OP_add, y, leaf4(g, "q", false, w->n, w->oc, w->oh, w->ow));
  if (tail == 2) y = lt_binary(g, LT_OP_mul, y, leaf4(g, "q", weight, 1, w->oc, 1, 1));
  if (tail == 3) output(g, y);
  if (tail <= 3) y = lt_unary(g, tail == 2 ? LT_OP_neg : LT_OP_relu, y);
  output(g, y);
}

static void build_conv(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  window w = choose_window(&r);
  forward(g, &r, &w);
}

static void build_conv_f64(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  window w = choose_window(&r);
  limit(&w, 60e3);
  lt_conv2d_attrs a = conv_attrs(&w);
  lt_value x = kc_leaf(g, "q", false, LT_F64, 4, (int64_t[]){w.n, w.c, w.h, w.w});
  lt_value k = kc_leaf(g, "q", true, LT_F64, 4, (int64_t[]){w.oc, w.c / w.groups, w.k[0], w.k[1]});
  output(g, emit2(g, LT_OP_conv2d, &a, x, k));
}

/* Long strides over a larger image: phases side by side that as many taps reach, and some that none does. */
static void stretch(window *w, kc_rng *r) {
  for (int i = 0; i < 2; i++) {
    w->stride[i] = kc_pick(r, 5, 40), w->k[i] = kc_pick(r, 1, 50);
    w->dilation[i] = kc_chance(r, 70) ? 1 : kc_pick(r, 2, 9);
    w->pad[i] = kc_pick(r, 0, 12), w->pad[i + 2] = kc_pick(r, 0, 12);
  }
  w->h = kc_pick(r, 1, 90), w->w = kc_pick(r, 1, 90);
  limit(w, 400e3);
}

static void grad_input(lt_graph *g, kc_rng *r, const window *w) {
  lt_conv2d_attrs b = conv_attrs(w);
  lt_conv2d_grad_input_attrs a = {
    .size = {{w->h, w->w}}, .stride = b.stride, .pad = b.pad, .dilation = b.dilation, .groups = w->groups};
  lt_value gy = leaf4(g, "q", false, w->n, w->oc, w->oh, w->ow);
  lt_value k = leaf4(g, "q", kc_chance(r, 70), w->oc, w->c / w->groups, w->k[0], w->k[1]);
  lt_value y = emit2(g, LT_OP_conv2d_grad_input, &a, gy, k);
  /* Windows that lie apart leave many zeros: where something is added to them, a wrong one shows. */
  int64_t tail = kc_pick(r, 0, 4);
  if (tail == 0) y = lt_binary(g, LT_OP_mul, y, leaf4(g, "q", false, w->n, w->c, w->h, w->w));
  if (tail >= 3) y = lt_binary(g, LT_OP_add, y, leaf4(g, "q", false, w->n, w->c, w->h, w->w));
  output(g, y);
}

static void build_grad_input(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  window w = choose_window(&r);
  if (kc_chance(&r, 20)) stretch(&w, &r);
  grad_input(g, &r, &w);
}

static void grad_weight(lt_graph *g, kc_rng *r, const window *w) {
  lt_conv2d_attrs b = conv_attrs(w);
  lt_conv2d_grad_weight_attrs a = {
    .kernel = {{w->k[0], w->k[1]}}, .stride = b.stride, .pad = b.pad, .dilation = b.dilation, .groups = w->groups};
  lt_value x = leaf4(g, "q", false, w->n, w->c, w->h, w->w), gy = leaf4(g, "q", false, w->n, w->oc, w->oh, w->ow);
  lt_value y = emit2(g, LT_OP_conv2d_grad_weight, &a, x, gy);
  if (kc_chance(r, 25)) y = lt_binary(g, LT_OP_add, y, leaf4(g, "q", true, w->oc, w->c / w->groups, w->k[0], w->k[1]));
  output(g, y);
}

static void build_grad_weight(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  window w = choose_window(&r);
  if (kc_chance(&r, 20)) w.n = kc_pick(&r, 4, 9), limit(&w, 600e3);
  grad_weight(g, &r, &w);
}

/* Rows of several tiles, whose first and last ones look outside the image. */
static void build_depthwise(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  window w = choose_window(&r);
  w.groups = w.oc = w.c, w.h = kc_pick(&r, 1, 24), w.w = kc_pick(&r, 1, 70);
  limit(&w, 400e3);
  (*(void (*const[])(lt_graph *, kc_rng *, const window *)){forward, grad_input, grad_weight}[kc_pick(&r, 0, 2)])(g, &r,
                                                                                                                  &w);
}

static lt_max_pool_attrs pool_attrs(kc_rng *r, window *w) {
  lt_max_pool_attrs a = {.ceil = kc_chance(r, 30), .pad_value = kc_chance(r, 60) ? -HUGE_VAL : kc_pick(r, 0, 1)};
  for (int i = 0; i < 4; i++) w->pad[i] = LT_MIN(w->pad[i], w->k[i % 2] - 1);
  work(w);
  for (int i = 0; i < 4; i++) w->pad[i] = LT_MIN(w->pad[i], w->k[i % 2] - 1);
  memcpy(a.kernel.v, w->k, sizeof a.kernel), memcpy(a.stride.v, w->stride, sizeof a.stride);
  memcpy(a.pad.v, w->pad, sizeof a.pad), memcpy(a.dilation.v, w->dilation, sizeof a.dilation);
  return a;
}

static void build_max_pool(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  window w = choose_window(&r);
  lt_max_pool_attrs a = pool_attrs(&r, &w);
  lt_value x = leaf4(g, "q", false, w.n, w.c, w.h, w.w);
  if (kc_chance(&r, 30)) {
    lt_max_pool_index_attrs b = {
      .kernel = a.kernel, .stride = a.stride, .pad = a.pad, .dilation = a.dilation, .ceil = a.ceil};
    const lt_value index = emit1(g, LT_OP_max_pool_index, &b, x);
    output(g, index);
    if (kc_chance(&r, 50)) return;
    lt_max_pool_grad_attrs d = {.size = {{w.h, w.w}}, .kernel = a.kernel, .stride = a.stride, .pad = a.pad};
    d.dilation = a.dilation, d.ceil = a.ceil;
    output(g, emit2(g, LT_OP_max_pool_grad, &d, kc_leaf(g, "q", false, LT_F32, 4, lt_type_of(g, index)->dim), index));
    return;
  }
  if (kc_chance(&r, 20)) x = lt_unary(g, LT_OP_neg, x);
  lt_value y = emit1(g, LT_OP_max_pool, &a, x);
  output(g, kc_chance(&r, 20) ? lt_unary(g, LT_OP_abs, y) : y);
}

static void build_avg_pool(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  window w = choose_window(&r);
  lt_max_pool_attrs m = pool_attrs(&r, &w);
  lt_avg_pool_attrs a = {.kernel = m.kernel, .stride = m.stride, .pad = m.pad, .dilation = m.dilation, .ceil = m.ceil};
  a.count_include_pad = kc_chance(&r, 40);
  c->tolerance = 1e-6;
  lt_value x = leaf4(g, "q", false, w.n, w.c, w.h, w.w), y = emit1(g, LT_OP_avg_pool, &a, x);
  if (kc_chance(&r, 50)) { /* its adjoint: the pooling only says the shape and is dead */
    lt_avg_pool_grad_attrs b = {
      .size = {{w.h, w.w}}, .kernel = a.kernel, .stride = a.stride, .pad = a.pad, .dilation = a.dilation};
    b.ceil = a.ceil, b.count_include_pad = a.count_include_pad;
    lt_type t = *lt_type_of(g, y);
    y = emit1(g, LT_OP_avg_pool_grad, &b, kc_leaf(g, "q", false, LT_F32, 4, t.dim));
  }
  output(g, y);
}

static void build_im2col(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  window w = choose_window(&r);
  w.oc = w.groups = 1;
  limit(&w, 30e3);
  lt_conv2d_attrs b = conv_attrs(&w);
  lt_im2col_attrs a = {.kernel = {{w.k[0], w.k[1]}},
                       .stride = b.stride,
                       .pad = b.pad,
                       .dilation = b.dilation,
                       .to_matrix = kc_chance(&r, 50)};
  lt_value x = leaf4(g, "q", false, w.n, w.c, w.h, w.w), y = emit1(g, LT_OP_im2col, &a, x);
  if (kc_chance(&r, 50)) {
    lt_type t = *lt_type_of(g, y);
    lt_col2im_attrs d = {
      .input_shape = {4, {w.n, w.c, w.h, w.w}}, .kernel = a.kernel, .stride = a.stride, .pad = a.pad};
    d.dilation = a.dilation, d.to_matrix = a.to_matrix;
    y = emit1(g, LT_OP_col2im, &d, kc_leaf(g, "q", false, LT_F32, t.rank, t.dim));
  }
  output(g, y);
}

/* ---- matrix products --------------------------------------------------------------------------------------------- */

static void build_linear(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  int64_t m = KC_ONE_OF(&r, lengths), k = KC_ONE_OF(&r, lengths), n = KC_ONE_OF(&r, lengths);
  if (kc_chance(&r, 10)) n = kc_pick(&r, 100, 300);
  if (kc_chance(&r, 10)) k = kc_pick(&r, 100, 700);
  bool weight = kc_chance(&r, 70);
  lt_value x = kc_leaf(g, "q", false, LT_F32, 2, (int64_t[]){m, k}),
           w = kc_leaf(g, "q", weight, LT_F32, 2, (int64_t[]){k, n});
  lt_value b = kc_chance(&r, 50) ? kc_leaf(g, "q", weight, LT_F32, 1, &n) : 0;
  lt_value y = lt_emit(g, LT_OP_linear, NULL, (lt_value[]){x, w, b}, 3);
  if (kc_chance(&r, 30)) y = lt_unary(g, LT_OP_relu, y);
  if (kc_chance(&r, 20)) y = lt_binary(g, LT_OP_add, y, kc_leaf(g, "q", false, LT_F32, 2, (int64_t[]){m, n}));
  output(g, y);
}

static void build_matmul(lt_graph *g, kc_case *c) {
  static const lt_dtype types[] = {LT_F32, LT_F32, LT_F32, LT_F64};
  kc_rng r = kc_rng_of(c);
  lt_dtype t = KC_ONE_OF(&r, types);
  const char *fill = "q";
  int64_t m = KC_ONE_OF(&r, lengths), k = KC_ONE_OF(&r, lengths), n = KC_ONE_OF(&r, lengths), batch = kc_pick(&r, 1, 3);
  unsigned ra = (unsigned)kc_pick(&r, 2, 4), rb = (unsigned)kc_pick(&r, 2, 4);
  lt_matmul_attrs a = {.transpose_a = kc_chance(&r, 30), .transpose_b = kc_chance(&r, 30)};
  int64_t da[4], db[4];
  for (unsigned i = 0; i + 2 < ra; i++) da[i] = kc_chance(&r, 30) ? 1 : batch;
  for (unsigned i = 0; i + 2 < rb; i++) db[i] = kc_chance(&r, 30) ? 1 : batch;
  da[ra - 2] = a.transpose_a ? k : m, da[ra - 1] = a.transpose_a ? m : k;
  db[rb - 2] = a.transpose_b ? n : k, db[rb - 1] = a.transpose_b ? k : n;
  lt_value x = kc_leaf(g, fill, false, t, ra, da), w = kc_leaf(g, fill, kc_chance(&r, 40), t, rb, db);
  output(g, emit2(g, LT_OP_matmul, &a, x, w));
}

/* ---- elementwise ------------------------------------------------------------------------------------------------- */

typedef struct shape { unsigned rank; int64_t dim[LT_MAX_RANK]; } shape;

static shape choose_shape(kc_rng *r, unsigned least, unsigned most, int64_t elements) {
  shape s = {.rank = (unsigned)kc_pick(r, least, most)};
  int64_t n = 1;
  for (unsigned i = 0; i < s.rank; i++) {
    s.dim[i] = kc_chance(r, 15) ? 1 : KC_ONE_OF(r, sizes);
    while (n * s.dim[i] > elements) s.dim[i] = (s.dim[i] + 1) / 2;
    n *= s.dim[i];
  }
  return s;
}

/* A shape that broadcasts into s. */
static shape narrower(kc_rng *r, const shape *s) {
  if (kc_chance(r, 40)) return *s;
  shape o = {.rank = (unsigned)kc_pick(r, 0, s->rank)};
  for (unsigned i = 0; i < o.rank; i++) o.dim[i] = kc_chance(r, 40) ? 1 : s->dim[s->rank - o.rank + i];
  return o;
}

static lt_value leaf_of(lt_graph *g, const char *fill, bool weight, lt_dtype t, const shape *s) {
  return kc_leaf(g, fill, weight, t, s->rank, s->dim);
}

static void build_unary(lt_graph *g, kc_case *c) {
  static const struct { lt_op op; const char *fill; double tolerance; } row[] = {
    {LT_OP_neg, "r", 0},        {LT_OP_abs, "r", 0},         {LT_OP_sign, "r", 0},   {LT_OP_relu, "r", 0},
    {LT_OP_exp, "r", 1e-6},     {LT_OP_log, "p", 1e-6},      {LT_OP_sqrt, "p", 0},   {LT_OP_tanh, "r", 1e-6},
    {LT_OP_sigmoid, "r", 1e-6}, {LT_OP_softplus, "r", 1e-6}, {LT_OP_erf, "r", 1e-6}, {LT_OP_atan, "r", 1e-6},
    {LT_OP_sin, "r", 1e-6},     {LT_OP_cos, "r", 1e-6},      {LT_OP_floor, "r", 0},  {LT_OP_round, "r", 0},
    {LT_OP_clip, "r", 0},       {LT_OP_cast, "r", 0},        {LT_OP_neg, "i", 0},    {LT_OP_abs, "i", 0},
    {LT_OP_cast, "i", 0},
  };
  static const lt_dtype floats[] = {LT_F32, LT_F32, LT_F32, LT_F64}, whole[] = {LT_I32, LT_I64},
                        any[] = {LT_F32, LT_F64, LT_I32, LT_I64, LT_BOOL};
  kc_rng r = kc_rng_of(c);
  int64_t i = kc_pick(&r, 0, (int64_t)LT_COUNT(row) - 1);
  lt_dtype t = row[i].fill[0] == 'i' ? KC_ONE_OF(&r, whole) : KC_ONE_OF(&r, floats);
  c->tolerance = row[i].tolerance;
  shape s = choose_shape(&r, 0, 5, 4000);
  lt_value x = leaf_of(g, row[i].fill, kc_chance(&r, 20), t, &s);
  if (row[i].op == LT_OP_clip) {
    lt_clip_attrs a = {.lo = -1.5, .hi = 2.25};
    output(g, emit1(g, LT_OP_clip, &a, x));
  } else if (row[i].op == LT_OP_cast) {
    output(g, lt_cast(g, x, KC_ONE_OF(&r, any)));
  } else {
    output(g, lt_unary(g, row[i].op, x));
  }
}

static void build_binary(lt_graph *g, kc_case *c) {
  static const struct { lt_op op; const char *fill_a, *fill_b; double tolerance; } row[] = {
    {LT_OP_add, "r", "r", 0},        {LT_OP_sub, "r", "r", 0},   {LT_OP_mul, "r", "r", 0}, {LT_OP_div, "r", "p", 0},
    {LT_OP_pow, "p", "r", 1e-5},     {LT_OP_max, "r", "r", 0},   {LT_OP_min, "q", "q", 0}, {LT_OP_less, "q", "q", 0},
    {LT_OP_less_equal, "q", "q", 0}, {LT_OP_equal, "q", "q", 0}, {LT_OP_add, "i", "i", 0}, {LT_OP_mul, "i", "i", 0},
    {LT_OP_sub, "i", "i", 0},        {LT_OP_max, "i", "i", 0},   {LT_OP_div, "i", "i", 0}, {LT_OP_less, "i", "i", 0},
  };
  static const lt_dtype floats[] = {LT_F32, LT_F32, LT_F32, LT_F64}, whole[] = {LT_I32, LT_I64};
  kc_rng r = kc_rng_of(c);
  int64_t i = kc_pick(&r, 0, (int64_t)LT_COUNT(row) - 1);
  lt_dtype t = row[i].fill_a[0] == 'i' ? KC_ONE_OF(&r, whole) : KC_ONE_OF(&r, floats);
  c->tolerance = row[i].tolerance;
  shape s = choose_shape(&r, 0, 5, 4000), sa = narrower(&r, &s), sb = narrower(&r, &s);
  lt_value a = leaf_of(g, row[i].fill_a, false, t, &sa), b = leaf_of(g, row[i].fill_b, kc_chance(&r, 30), t, &sb);
  lt_value y = lt_binary(g, row[i].op, a, b);
  bool chooses = kc_chance(&r, 25) && lt_type_of(g, y)->dtype == LT_BOOL;
  /* Few elements are equal, so nearly all of the result would be zero: it chooses between values that differ. */
  if (row[i].op == LT_OP_equal) b = lt_unary(g, LT_OP_neg, b);
  if (chooses || row[i].op == LT_OP_equal) y = lt_emit(g, LT_OP_select, NULL, (lt_value[]){y, a, b}, 3);
  output(g, y);
}

/* Some elementwise ops in a row, shared operands, two results. */
static void build_chain(lt_graph *g, kc_case *c) {
  static const lt_op binary[] = {LT_OP_add, LT_OP_sub, LT_OP_mul, LT_OP_max, LT_OP_min};
  static const lt_op unary[] = {LT_OP_neg, LT_OP_abs, LT_OP_relu, LT_OP_tanh, LT_OP_sigmoid};
  kc_rng r = kc_rng_of(c);
  shape s = choose_shape(&r, 1, 5, 3000);
  lt_value v[12];
  int n = (int)kc_pick(&r, 2, 3);
  for (int i = 0; i < n; i++) {
    shape q = narrower(&r, &s);
    v[i] = leaf_of(g, "q", kc_chance(&r, 30), LT_F32, i == 0 ? &s : &q);
  }
  for (int last = n + (int)kc_pick(&r, 2, 6); n < last; n++) {
    lt_value a = v[kc_pick(&r, n - 2, n - 1)], b = v[kc_pick(&r, 0, n - 1)];
    v[n] = kc_chance(&r, 70) ? lt_binary(g, KC_ONE_OF(&r, binary), a, b) : lt_unary(g, KC_ONE_OF(&r, unary), a);
  }
  c->tolerance = 1e-5;
  output(g, v[n - 1]);
  if (kc_chance(&r, 40) && v[n - 2] != v[n - 1] && !lt_is_leaf(g, v[n - 2])) output(g, v[n - 2]);
}

/* ---- reductions -------------------------------------------------------------------------------------------------- */

static lt_ints some_axes(kc_rng *r, unsigned rank) {
  lt_ints a = {0};
  for (unsigned i = 0; i < rank; i++)
    if (kc_chance(r, 50)) a.v[a.n++] = kc_chance(r, 30) ? (int64_t)i - (int64_t)rank : (int64_t)i;
  return a;
}

static void build_reduce(lt_graph *g, kc_case *c) {
  static const lt_dtype types[] = {LT_F32, LT_F32, LT_F32, LT_F64, LT_I32, LT_I64};
  static const lt_op ops[] = {LT_OP_sum, LT_OP_sum, LT_OP_mean, LT_OP_reduce_max};
  kc_rng r = kc_rng_of(c);
  lt_op op = KC_ONE_OF(&r, ops);
  lt_dtype t = op == LT_OP_mean ? LT_F32 : KC_ONE_OF(&r, types);
  shape s = choose_shape(&r, 0, 5, 20000);
  lt_value x = leaf_of(g, lt_is_float(t) ? "q" : "i", false, t, &s);
  lt_ints axes = some_axes(&r, s.rank);
  if (op == LT_OP_mean) c->tolerance = 1e-6;
  if (kc_chance(&r, 25) && lt_is_float(t)) x = lt_binary(g, LT_OP_mul, x, x); /* a prologue */
  lt_value y = lt_reduce(g, op, x, &axes, kc_chance(&r, 50));
  output(g, kc_chance(&r, 25) ? lt_unary(g, LT_OP_neg, y) : y);
}

static void build_argmax(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  shape s = choose_shape(&r, 1, 4, 8000);
  lt_argmax_attrs a = {.axis = kc_pick(&r, 0, (int64_t)s.rank - 1)};
  if (s.dim[a.axis] == 1) s.dim[a.axis] = kc_pick(&r, 2, 17); /* otherwise the answer is 0 */
  output(g, emit1(g, LT_OP_argmax, &a, leaf_of(g, kc_chance(&r, 50) ? "q" : "r", false, LT_F32, &s)));
}

static void build_softmax(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  shape s = choose_shape(&r, 1, 4, 8000);
  lt_softmax_attrs a = {.axis = kc_chance(&r, 60) ? -1 : kc_pick(&r, 0, (int64_t)s.rank - 1)};
  c->tolerance = 3e-6;
  output(g, emit1(g, kc_chance(&r, 50) ? LT_OP_softmax : LT_OP_log_softmax, &a, leaf_of(g, "r", false, LT_F32, &s)));
}

static void build_loss(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  int64_t n = KC_ONE_OF(&r, lengths), k = kc_pick(&r, 2, 40);
  c->tolerance = 3e-6;
  lt_value x = kc_leaf(g, "r", false, LT_F32, 2, (int64_t[]){n, k}), loss;
  if (kc_chance(&r, 30)) {
    loss = emit2(g, LT_OP_mse, NULL, x, kc_leaf(g, "r", false, LT_F32, 2, (int64_t[]){n, k}));
  } else {
    const char *fill = lt_arena_printf(&g->arena, "l%ld", (long)k);
    loss = emit2(g, LT_OP_cross_entropy, NULL, x, kc_leaf(g, fill, false, kc_chance(&r, 50) ? LT_I32 : LT_I64, 1, &n));
  }
  output(g, loss);
  if (kc_chance(&r, 50)) return;
  lt_value gx;
  lt_gradients(g, &gx, &loss, NULL, 1, &x, 1);
  output(g, gx);
}

static void build_norm(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  int64_t ch = KC_ONE_OF(&r, channels), n = kc_pick(&r, 1, 4), h = KC_ONE_OF(&r, sizes), w = KC_ONE_OF(&r, sizes);
  lt_value x = leaf4(g, "r", false, n, ch, h, w), v[5] = {x};
  c->tolerance = 1e-5;
  for (int i = 1; i < 5; i++) v[i] = kc_leaf(g, i == 4 ? "p" : "r", kc_chance(&r, 70), LT_F32, 1, &ch);
  if (kc_chance(&r, 50)) {
    lt_batch_norm_attrs a = {.eps = 1e-5, .momentum = 0.9};
    lt_value y = lt_emit(g, LT_OP_batch_norm, &a, v, 5);
    output(g, kc_chance(&r, 40) ? lt_unary(g, LT_OP_relu, y) : y);
    return;
  }
  lt_batch_norm_train_attrs a = {.eps = 0.1};
  lt_value y = lt_emit(g, LT_OP_batch_norm_train, &a, v, 3);
  for (unsigned i = 0; i < 3; i++) output(g, y + i);
}

/* ---- movement ---------------------------------------------------------------------------------------------------- */

static void permute(kc_rng *r, lt_ints *p, unsigned rank) {
  p->n = rank;
  for (unsigned i = 0; i < rank; i++) p->v[i] = i;
  for (unsigned i = rank; i > 1; i--) {
    int64_t j = kc_pick(r, 0, (int64_t)i - 1), t = p->v[i - 1];
    p->v[i - 1] = p->v[j], p->v[j] = t;
  }
}

static lt_value one_move(lt_graph *g, kc_rng *r, lt_value x) {
  lt_type t = *lt_type_of(g, x);
  int64_t kind = kc_pick(r, 0, 5);
  if (kind == 0) {
    lt_transpose_attrs a = {0};
    permute(r, &a.perm, t.rank);
    return emit1(g, LT_OP_transpose, &a, x);
  }
  if (kind == 1) {
    lt_slice_attrs a = {0};
    for (unsigned i = 0; i < t.rank; i++) {
      if (kc_chance(r, 40)) continue;
      int64_t from = kc_pick(r, 0, t.dim[i] - 1), to = kc_pick(r, from + 1, t.dim[i]);
      a.axes.v[a.axes.n++] = i, a.starts.v[a.starts.n++] = from, a.ends.v[a.ends.n++] = to;
    }
    return a.axes.n ? emit1(g, LT_OP_slice, &a, x) : x;
  }
  if (kind == 2) {
    lt_pad_attrs a = {.pads = {.n = 2 * t.rank}, .value = kc_chance(r, 50) ? 0 : 0.5};
    for (unsigned i = 0; i < 2u * t.rank; i++) a.pads.v[i] = kc_chance(r, 50) ? 0 : kc_pick(r, 0, 3);
    return emit1(g, LT_OP_pad, &a, x);
  }
  if (kind == 3) {
    int64_t flat = lt_type_count(&t), part = 1;
    for (int64_t d = 2; d <= 17; d++)
      if (flat % d == 0 && kc_chance(r, 30)) part = d;
    return lt_reshape(g, x, 2, (int64_t[]){part, flat / part});
  }
  if (kind == 4 && t.rank < 6 && lt_type_count(&t) < 1500) {
    lt_broadcast_to_attrs a = {.shape = {.n = t.rank + 1u}};
    a.shape.v[0] = kc_pick(r, 1, 3);
    for (unsigned i = 0; i < t.rank; i++) a.shape.v[i + 1] = t.dim[i] == 1 ? kc_pick(r, 1, 5) : t.dim[i];
    return emit1(g, LT_OP_broadcast_to, &a, x);
  }
  lt_concat_attrs a = {.axis = kc_pick(r, 0, t.rank - 1)};
  lt_type u = t;
  u.dim[a.axis] = kc_pick(r, 1, 9);
  return emit2(g, LT_OP_concat, &a, x,
               kc_leaf(g, lt_is_float(t.dtype) ? "q" : "i", kc_chance(r, 30), t.dtype, u.rank, u.dim));
}

static void build_move(lt_graph *g, kc_case *c) {
  static const lt_dtype types[] = {LT_F32, LT_F32, LT_F32, LT_F64, LT_I32, LT_I64};
  kc_rng r = kc_rng_of(c);
  lt_dtype t = KC_ONE_OF(&r, types);
  shape s = choose_shape(&r, 1, 5, 3000);
  lt_value x = leaf_of(g, lt_is_float(t) ? "q" : "i", kc_chance(&r, 20), t, &s);
  for (int64_t i = 0, n = kc_pick(&r, 1, 3); i < n; i++) x = one_move(g, &r, x);
  output(g, kc_chance(&r, 30) ? lt_unary(g, LT_OP_neg, x) : x);
}

static void build_gather(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  shape s = choose_shape(&r, 1, 4, 3000), q = s;
  int64_t axis = kc_pick(&r, 0, (int64_t)s.rank - 1);
  q.dim[axis] = kc_pick(&r, 1, 20);
  const char *fill = lt_arena_printf(&g->arena, "l%ld", (long)s.dim[axis]);
  lt_value index = leaf_of(g, fill, false, kc_chance(&r, 60) ? LT_I32 : LT_I64, &q);
  if (kc_chance(&r, 50)) {
    lt_gather_attrs a = {.axis = axis};
    output(g, emit2(g, LT_OP_gather, &a, leaf_of(g, "q", false, LT_F32, &s), index));
    return;
  }
  lt_scatter_add_attrs a = {.axis = axis, .size = s.dim[axis]};
  output(g, emit2(g, LT_OP_scatter_add, &a, leaf_of(g, "q", false, LT_F32, &q), index));
}

static void build_random(lt_graph *g, kc_case *c) {
  kc_rng r = kc_rng_of(c);
  shape s = choose_shape(&r, 0, 4, 3000);
  lt_random_uniform_attrs a = {.shape = {.n = s.rank}, .key = "drop"};
  memcpy(a.shape.v, s.dim, sizeof s.dim);
  lt_value seed = kc_leaf(g, "i", false, LT_I64, 0, NULL), step = kc_leaf(g, "i", false, LT_I64, 0, NULL);
  output(g, emit2(g, LT_OP_random_uniform, &a, seed, step));
}

const kc_family kc_families[] = {
  {"conv", 1300, build_conv},
  {"conv64", 60, build_conv_f64},
  {"grad_input", 700, build_grad_input},
  {"grad_weight", 700, build_grad_weight},
  {"max_pool", 300, build_max_pool},
  {"avg_pool", 300, build_avg_pool},
  {"im2col", 150, build_im2col},
  {"linear", 350, build_linear},
  {"matmul", 250, build_matmul},
  {"unary", 200, build_unary},
  {"binary", 350, build_binary},
  {"chain", 200, build_chain},
  {"reduce", 300, build_reduce},
  {"argmax", 60, build_argmax},
  {"softmax", 120, build_softmax},
  {"loss", 80, build_loss},
  {"norm", 100, build_norm},
  {"move", 350, build_move},
  {"gather", 100, build_gather},
  {"random", 20, build_random},
  {"graph", 400, kc_build_graph},
  {"long_k", KC_LONG_K, kc_build_long_k},
  {"depthwise", 500, build_depthwise},
};
const int kc_family_count = (int)LT_COUNT(kc_families);
