/* layers.c: layers.def → the table of layers, and a layer with its attributes → nodes: the params it makes, then its
 * ops. */
#include "frontend/layers.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

/* ---- the table -------------------------------------------------------------------------------------------------- */

enum { WEIGHTS = 1, OPS = 0, NO_DTYPE = -1 };

#define LAYER(name, operands, weights, doc) static lt_attr_info attrs_of_##name[] = {
#define ATTR(kind, name, def, doc) {#name, def, doc, LT_ATTR_##kind, 0},
#define END(name) {0}}                                                                                                 \
  ;
#include "frontend/layers.def"

#define LAYER(name, operands, weights, doc)                                                                            \
  static const lt_attr_info *infos_of_##name(void) { return attrs_of_##name; }
#include "frontend/layers.def"

const lt_layer_info lt_layer_table[LT_LAYERS] = {
#define LAYER(name, operands, weights, doc)                                                                            \
  [LT_LAYER_##name] = {                                                                                                \
    #name, operands, doc, infos_of_##name, LT_COUNT(attrs_of_##name) - 1, sizeof(lt_##name##_layer), weights},
#include "frontend/layers.def"
};

/* As in op.c, once before main. */
__attribute__((constructor)) static void complete_table(void) {
  for (unsigned l = 1; l < LT_LAYERS; l++) lt_attrs_place((lt_attr_info *)lt_layer_table[l].attrs());
}

lt_layer lt_layer_find(const char *name, size_t n) {
  for (unsigned i = 1; i < LT_LAYERS; i++)
    if (strlen(lt_layer_table[i].name) == n && memcmp(lt_layer_table[i].name, name, n) == 0) return (lt_layer)i;
  return LT_LAYER_none;
}

void lt_layer_defaults(lt_layer layer, void *attrs) {
  memset(attrs, 0, lt_layer_table[layer].attrs_size);
  for (const lt_attr_info *a = lt_layer_table[layer].attrs(); a->name; a++) {
    if (a->def[0] && strcmp(a->def, "none")) lt_attr_default(a->kind, a->def, (char *)attrs + a->offset);
    else if (a->kind == LT_ATTR_dtype) *(int64_t *)((char *)attrs + a->offset) = NO_DTYPE;
  }
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

LT_NORETURN static void layer_fail(lt_graph *g, lt_layer layer, const char *fmt, ...) LT_PRINTF(3, 4);
static void layer_fail(lt_graph *g, lt_layer layer, const char *fmt, ...) {
  char text[sizeof g->job->error->message];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  lt_fail(g->job, LATHE_E_INVALID, &g->loc, "%s%s%s%s: %s", lt_layer_table[layer].name, g->label ? " `" : "",
          g->label ? g->label : "", g->label ? "`" : "", text);
}

/* Messages about a leaf call it by its own name; in dumps that name is there already. */
static lt_value leaf(lt_graph *g, lt_op op, const char *layer, const char *part, lt_dtype t, unsigned rank,
                     const int64_t *dim, lt_init init) {
  g->label = lt_arena_printf(&g->arena, "%s.%s", layer, part);
  lt_value v = lt_leaf(g, op, g->label, lt_make_type(t, rank, dim), &init);
  lt_node_of(g, v)->label = NULL;
  g->label = layer;
  return v;
}

static const lt_init zeros = {.kind = LT_INIT_ZEROS}, ones = {.kind = LT_INIT_ONES};
static lt_init normal(double fan_in) { return (lt_init){.kind = LT_INIT_NORMAL, .a = sqrt(1 / fan_in)}; }

/* x's type, which must be of floats and of the rank given (0: at least 2). */
static lt_type operand_type(lt_graph *g, lt_layer layer, lt_value x, unsigned rank, const char *letters) {
  if (!x) layer_fail(g, layer, "operand x is missing");
  lt_type t = *lt_type_of(g, x);
  if (!lt_is_float(t.dtype)) layer_fail(g, layer, "x is %s, should be f32 or f64", lt_type_text(&g->arena, &t));
  if (rank ? t.rank != rank : t.rank < 2) {
    layer_fail(g, layer, "x is %s, should be %s%s", lt_type_text(&g->arena, &t), letters,
               rank == 2 && t.rank > 2 ? "\nhelp: write `flatten(x)`" : "");
  }
  return t;
}

static void check_positive(lt_graph *g, lt_layer layer, const char *what, int64_t v) {
  if (v < 1) layer_fail(g, layer, "%s is %lld, should be at least 1", what, (long long)v);
}

static void check_channels(lt_graph *g, lt_layer layer, const lt_type *x, int64_t in_channels, int64_t out_channels,
                           int64_t groups) {
  check_positive(g, layer, "out_channels", out_channels);
  check_positive(g, layer, "groups", groups);
  if (in_channels && in_channels != x->dim[1]) {
    layer_fail(g, layer, "in_channels is %lld, but x %s has %lld channels", (long long)in_channels,
               lt_type_text(&g->arena, x), (long long)x->dim[1]);
  }
  if (x->dim[1] % groups || out_channels % groups) {
    layer_fail(g, layer, "groups=%lld must divide the channels of x, %lld, and out_channels, %lld", (long long)groups,
               (long long)x->dim[1], (long long)out_channels);
  }
}

/* dtype=, where given, says what x must be: weights have the type of what comes in. */
static void check_dtype(lt_graph *g, lt_layer layer, const lt_type *x, int64_t dtype) {
  if (dtype == NO_DTYPE || dtype == (int64_t)x->dtype) return;
  layer_fail(g, layer, "dtype is %s, but x is %s, and weights are of the type of x\nhelp: cast(x, dtype=%s) converts x",
             lt_dtype_name((lt_dtype)dtype), lt_type_text(&g->arena, x), lt_dtype_name((lt_dtype)dtype));
}

static lt_value emit_conv2d(lt_graph *g, const lt_conv2d_layer *a, const char *name, lt_value x) {
  const lt_layer self = LT_LAYER_conv2d;
  lt_type t = operand_type(g, self, x, 4, "[N, C, H, W]");
  check_positive(g, self, "kernel", LT_MIN(a->kernel.v[0], a->kernel.v[1]));
  check_channels(g, self, &t, a->in_channels, a->out_channels, a->groups);
  check_dtype(g, self, &t, a->dtype);
  const int64_t dim[] = {a->out_channels, t.dim[1] / a->groups, a->kernel.v[0], a->kernel.v[1]};
  lt_value in[3] = {x, 0, 0};
  bool bias = a->bias && !a->nobias;
  in[1] = leaf(g, LT_OP_param, name, "W", t.dtype, 4, dim, normal((double)dim[1] * (double)dim[2] * (double)dim[3]));
  if (bias) in[2] = leaf(g, LT_OP_param, name, "b", t.dtype, 1, dim, zeros);
  lt_conv2d_attrs attrs = {.stride = a->stride, .pad = a->pad, .dilation = a->dilation, .groups = a->groups};
  return lt_emit(g, LT_OP_conv2d, &attrs, in, bias ? 3 : 2);
}

static lt_value emit_deconv2d(lt_graph *g, const lt_deconv2d_layer *a, const char *name, lt_value x) {
  const lt_layer self = LT_LAYER_deconv2d;
  lt_type t = operand_type(g, self, x, 4, "[N, C, H, W]");
  check_positive(g, self, "kernel", LT_MIN(a->kernel.v[0], a->kernel.v[1]));
  check_channels(g, self, &t, a->in_channels, a->out_channels, a->groups);
  check_dtype(g, self, &t, a->dtype);
  const int64_t dim[] = {t.dim[1], a->out_channels / a->groups, a->kernel.v[0], a->kernel.v[1]};
  lt_value in[3] = {x, 0, 0};
  bool bias = a->bias && !a->nobias;
  in[1] = leaf(g, LT_OP_param, name, "W", t.dtype, 4, dim,
               normal((double)(dim[0] / a->groups) * (double)dim[2] * (double)dim[3]));
  if (bias) in[2] = leaf(g, LT_OP_param, name, "b", t.dtype, 1, &a->out_channels, zeros);
  lt_deconv2d_attrs attrs = {
    .stride = a->stride, .pad = a->pad, .dilation = a->dilation, .groups = a->groups, .outsize = a->outsize};
  return lt_emit(g, LT_OP_deconv2d, &attrs, in, bias ? 3 : 2);
}

static lt_value emit_linear(lt_graph *g, const lt_linear_layer *a, const char *name, lt_value x) {
  lt_type t = operand_type(g, LT_LAYER_linear, x, 2, "[N, C]");
  check_positive(g, LT_LAYER_linear, "out", a->out);
  check_dtype(g, LT_LAYER_linear, &t, a->dtype);
  const int64_t dim[] = {t.dim[1], a->out};
  lt_value in[3] = {x, 0, 0};
  bool bias = a->bias && !a->nobias;
  in[1] = leaf(g, LT_OP_param, name, "W", t.dtype, 2, dim, normal((double)dim[0]));
  if (bias) in[2] = leaf(g, LT_OP_param, name, "b", t.dtype, 1, dim + 1, zeros);
  return lt_emit(g, LT_OP_linear, NULL, in, bias ? 3 : 2);
}

static lt_value emit_batch_norm(lt_graph *g, const lt_batch_norm_layer *a, const char *name, lt_value x) {
  lt_type t = operand_type(g, LT_LAYER_batch_norm, x, 0, "[N, C, …]");
  const int64_t *dim = &t.dim[1];
  lt_value in[5] = {x};
  in[1] = leaf(g, LT_OP_param, name, "scale", t.dtype, 1, dim, ones);
  in[2] = leaf(g, LT_OP_param, name, "bias", t.dtype, 1, dim, zeros);
  in[3] = leaf(g, LT_OP_state, name, "mean", t.dtype, 1, dim, zeros);
  in[4] = leaf(g, LT_OP_state, name, "var", t.dtype, 1, dim, ones);
  lt_batch_norm_attrs attrs = {.eps = a->eps, .momentum = a->momentum};
  return lt_emit(g, LT_OP_batch_norm, &attrs, in, 5);
}

/* ---- composites -------------------------------------------------------------------------------------------------- */

/* The windows along H and W, or the composite's own message about why there are none. with: its other operand, or 0. */
static lt_pair windows(lt_graph *g, lt_layer layer, const lt_type *x, lt_value with, lt_pair kernel, lt_pair stride,
                       lt_quad pad) {
  lt_pair out;
  for (int k = 0; k < 2; k++) {
    const char *why =
      lt_conv_size(&g->arena, &out.v[k], x->dim[2 + k], kernel.v[k], stride.v[k], pad.v[k], pad.v[2 + k]);
    if (!why) continue;
    layer_fail(g, layer, "%s: %s (x %s%s%s)", k ? "width" : "height", why, lt_type_text(&g->arena, x),
               with ? ", W " : "", with ? lt_type_text(&g->arena, lt_type_of(g, with)) : "");
  }
  return out;
}

/* [N·OH·OW·rest] seen as [N, OH, OW, channels] → [N, channels, OH, OW]. */
static lt_value to_image(lt_graph *g, lt_value rows, int64_t n, lt_pair out, int64_t channels) {
  const int64_t dim[] = {n, out.v[0], out.v[1], channels};
  return lt_transpose(g, lt_reshape(g, rows, 4, dim), (const int64_t[]){0, 3, 1, 2});
}

static lt_value emit_conv2d_simple(lt_graph *g, const lt_conv2d_simple_layer *a, const lt_value *in) {
  const lt_layer self = LT_LAYER_conv2d_simple;
  lt_type x = operand_type(g, self, in[0], 4, "[N, C, H, W]");
  if (!in[1]) layer_fail(g, self, "operand W is missing");
  lt_type w = *lt_type_of(g, in[1]);
  if (w.rank != 4 || w.dim[1] != x.dim[1]) {
    layer_fail(g, self, "x is %s, W is %s, should be [OC, %lld, KH, KW]", lt_type_text(&g->arena, &x),
               lt_type_text(&g->arena, &w), (long long)x.dim[1]);
  }
  lt_type b = lt_make_type(x.dtype, 1, w.dim);
  if (in[2] && !lt_type_eq(&b, lt_type_of(g, in[2]))) {
    layer_fail(g, self, "x is %s, W is %s, b is %s, should be %s", lt_type_text(&g->arena, &x),
               lt_type_text(&g->arena, &w), lt_type_text(&g->arena, lt_type_of(g, in[2])), lt_type_text(&g->arena, &b));
  }
  lt_im2col_attrs attrs = {
    .kernel = {{w.dim[2], w.dim[3]}}, .stride = a->stride, .pad = a->pad, .dilation = {{1, 1}}, .to_matrix = true};
  lt_pair out = windows(g, self, &x, in[1], attrs.kernel, a->stride, a->pad);
  lt_value col = lt_emit(g, LT_OP_im2col, &attrs, in, 1);
  const int64_t flat[] = {w.dim[0], w.dim[1] * w.dim[2] * w.dim[3]};
  lt_value matrix = lt_transpose(g, lt_reshape(g, in[1], 2, flat), (const int64_t[]){1, 0});
  lt_value y = lt_emit(g, LT_OP_linear, NULL, (lt_value[]){col, matrix, in[2]}, in[2] ? 3 : 2);
  return to_image(g, y, x.dim[0], out, w.dim[0]);
}

static lt_value emit_pooling_simple(lt_graph *g, const lt_pooling_simple_layer *a, const lt_value *in) {
  lt_type x = operand_type(g, LT_LAYER_pooling_simple, in[0], 4, "[N, C, H, W]");
  lt_im2col_attrs attrs = {
    .kernel = a->kernel, .stride = a->stride, .pad = a->pad, .dilation = {{1, 1}}, .to_matrix = true};
  lt_pair out = windows(g, LT_LAYER_pooling_simple, &x, 0, a->kernel, a->stride, a->pad);
  lt_value col = lt_emit(g, LT_OP_im2col, &attrs, in, 1);
  const lt_type *t = lt_type_of(g, col);
  const int64_t rows[] = {t->dim[0] * x.dim[1], a->kernel.v[0] * a->kernel.v[1]};
  lt_reduce_max_attrs max = {.axes = {.n = 1, .v = {1}}, .all_ties = a->all_ties};
  lt_value windows_rows = lt_reshape(g, col, 2, rows), top = lt_emit(g, LT_OP_reduce_max, &max, &windows_rows, 1);
  return to_image(g, top, x.dim[0], out, x.dim[1]);
}

static lt_value emit_pooling(lt_graph *g, const lt_pooling_layer *a, lt_value x) {
  lt_type t = operand_type(g, LT_LAYER_pooling, x, 4, "[N, C, H, W]");
  windows(g, LT_LAYER_pooling, &t, 0, a->kernel, a->stride, a->pad);
  lt_max_pool_attrs attrs;
  lt_attrs_default(LT_OP_max_pool, &attrs);
  attrs.kernel = a->kernel, attrs.stride = a->stride, attrs.pad = a->pad, attrs.all_ties = a->all_ties;
  attrs.pad_value = 0;
  return lt_emit(g, LT_OP_max_pool, &attrs, &x, 1);
}

static lt_value emit_average_pooling(lt_graph *g, const lt_average_pooling_layer *a, lt_value x) {
  lt_type t = operand_type(g, LT_LAYER_average_pooling, x, 4, "[N, C, H, W]");
  windows(g, LT_LAYER_average_pooling, &t, 0, a->kernel, a->stride, a->pad);
  lt_avg_pool_attrs attrs;
  lt_attrs_default(LT_OP_avg_pool, &attrs);
  attrs.kernel = a->kernel, attrs.stride = a->stride, attrs.pad = a->pad, attrs.count_include_pad = true;
  return lt_emit(g, LT_OP_avg_pool, &attrs, &x, 1);
}

lt_value lt_layer_emit(lt_graph *g, lt_layer layer, const void *attrs, const char *name, const lt_value *in) {
  const char *outer = g->label, *outer_call = g->call;
  g->label = name;
  g->call = lt_layer_table[layer].weights ? NULL : lt_layer_table[layer].name;
  lt_value y = 0;
  switch (layer) {
  case LT_LAYER_conv2d: y = emit_conv2d(g, attrs, name, in[0]); break;
  case LT_LAYER_deconv2d: y = emit_deconv2d(g, attrs, name, in[0]); break;
  case LT_LAYER_linear: y = emit_linear(g, attrs, name, in[0]); break;
  case LT_LAYER_batch_norm: y = emit_batch_norm(g, attrs, name, in[0]); break;
  case LT_LAYER_conv2d_simple: y = emit_conv2d_simple(g, attrs, in); break;
  case LT_LAYER_pooling_simple: y = emit_pooling_simple(g, attrs, in); break;
  case LT_LAYER_pooling: y = emit_pooling(g, attrs, in[0]); break;
  case LT_LAYER_average_pooling: y = emit_average_pooling(g, attrs, in[0]); break;
  case LT_LAYER_none: case LT_LAYERS: assert(!"a layer");
  }
  g->label = outer;
  g->call = outer_call;
  return y;
}
