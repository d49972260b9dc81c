/* op_winograd.c: a 3x3 convolution of stride 1 as three linear maps around edge² matrix products (winograd.h): image
 * and filters are transformed, multiplied with matmul, and what comes out is transformed into the result. The pass
 * `winograd` makes these of convolutions under --math=fast. Letters: E = edge², T tiles of all images. */
#include <math.h>

#include "ir/op_util.h"
#include "ir/winograd.h"

enum { MOST = LT_WINOGRAD_EDGE * LT_WINOGRAD_EDGE };

static const lt_winograd *need_tile(lt_graph *g, lt_op op, int64_t tile) {
  const lt_winograd *w = lt_winograd_of(tile);
  if (!w) lt_node_fail(g, op, "tile is %lld; it must be 2 or 4", (long long)tile);
  return w;
}

/* y [rows][rows] = m·x·mᵀ, with m [rows][cols], or with the magnitudes of its elements. */
static void both_sides(const double *m, int64_t rows, int64_t cols, bool magnitudes, const double *x, double *y) {
  for (int64_t i = 0; i < rows * rows; i++) {
    const double *a = m + i / rows * cols, *b = m + i % rows * cols;
    y[i] = 0;
    for (int64_t k = 0; k < cols * cols; k++) {
      const double f = a[k / cols] * b[k % cols];
      if (f != 0) y[i] += (magnitudes ? fabs(f) : f) * x[k];
    }
  }
}

/* The same map as a matrix [rows², cols²]; `turned`: of x turned by 180 degrees. */
static lt_value as_matrix(lt_graph *g, lt_dtype t, const double *m, int64_t rows, int64_t cols, bool turned) {
  const int64_t dim[2] = {rows * rows, cols * cols}, last = dim[1] - 1;
  const lt_type type = lt_make_type(t, 2, dim);
  lt_tensor *k = lt_tensor_new(&g->arena, &type);
  for (int64_t i = 0; i < dim[0]; i++)
    for (int64_t j = 0; j <= last; j++) {
      const int64_t from = turned ? last - j : j;
      k->f[i * dim[1] + j] = lt_dtype_round(t, m[i / rows * cols + from / cols] * m[i % rows * cols + from % cols]);
    }
  return lt_const_tensor(g, k);
}

/* The adjoint of the map on axis 0 of gy, whose other axes are counted as one: [cols², rest]. */
static lt_value map_back(lt_graph *g, const double *m, int64_t rows, int64_t cols, bool turned, lt_value gy) {
  const lt_type t = *lt_type_of(g, gy);
  const int64_t flat[2] = {t.dim[0], lt_type_count(&t) / t.dim[0]};
  lt_matmul_attrs a = {.transpose_a = true};
  lt_value k = as_matrix(g, t.dtype, m, rows, cols, turned);
  return lt_emit(g, LT_OP_matmul, &a, (lt_value[]){k, lt_reshape(g, gy, 2, flat)}, 2);
}

/* ---- winograd_image: x [N, C, H, W] → [E, T, C] ------------------------------------------------------------------ */

LT_INFER(winograd_image) {
  const lt_winograd_image_attrs *a = attrs;
  const lt_op op = LT_OP_winograd_image;
  lt_need_rank(g, op, "x", in[0], 4, "[N, C, H, W]");
  lt_need_float(g, op, "x", in[0]);
  const lt_winograd *w = need_tile(g, op, a->tile);
  const lt_type x = *lt_type_of(g, in[0]);
  lt_window win = {.n = 2};
  for (int i = 0; i < 2; i++)
    win.axis[i] = (lt_window_axis){.size = x.dim[2 + i],
                                   .kernel = LT_WINOGRAD_TAPS,
                                   .stride = 1,
                                   .dilation = 1,
                                   .before = a->pad.v[i],
                                   .after = a->pad.v[2 + i]};
  lt_need_window(g, op, &win, lt_arena_printf(&g->arena, "x %s", lt_text_of(g, in[0])));
  int64_t all = x.dim[0];
  for (int i = 0; i < 2; i++)
    if (win.axis[i].windows > INT32_MAX || !lt_mul_ok(&all, all, lt_ceil_div(win.axis[i].windows, w->tile)))
      lt_node_fail(g, op, "x %s has too many tiles with pad %s", lt_text_of(g, in[0]),
                   lt_ints_text(&g->arena, a->pad.v, 4));
  *out_type = lt_make_type(x.dtype, 3, (int64_t[]){w->edge * w->edge, all, x.dim[1]});
}

/* The pixels of one channel that tile (row, col) looks at; zeros outside the image. */
static void pixels_of(const lt_winograd *w, const lt_type *x, const lt_quad *pad, const double *plane, int64_t row,
                      int64_t col, double *to) {
  for (int64_t i = 0; i < w->edge * w->edge; i++) {
    const int64_t h = row * w->tile + i / w->edge - pad->v[0], v = col * w->tile + i % w->edge - pad->v[1];
    const bool inside = h >= 0 && h < x->dim[2] && v >= 0 && v < x->dim[3];
    to[i] = inside ? plane[h * x->dim[3] + v] : 0;
  }
}

LT_EVAL(winograd_image) {
  const lt_winograd_image_attrs *a = n->attrs;
  const lt_winograd *w = lt_winograd_of(a->tile);
  const lt_type *x = &in[0]->type;
  const lt_tiles t = lt_tiles_of(w, x, &a->pad);
  const int64_t channels = x->dim[1], plane = x->dim[2] * x->dim[3], per_image = t.rows * t.cols;
  double d[MOST], v[MOST];
  for (int64_t i = 0; i < t.all * channels; i++) {
    const int64_t tile = i / channels, c = i % channels, image = tile / per_image, at = tile % per_image;
    pixels_of(w, x, &a->pad, in[0]->f + (image * channels + c) * plane, at / t.cols, at % t.cols, d);
    both_sides(w->in, w->edge, w->edge, e->magnitudes, d, v);
    for (int64_t k = 0; k < w->edge * w->edge; k++) out[0]->f[k * t.all * channels + i] = v[k];
  }
}

LT_TERMS(winograd_image) { return (double)lt_type_of(g, n->out)->dim[0]; }

/* Every tile's pixels are added back to where they stand. */
LT_VJP(winograd_image) {
  lt_graph *g = v->g;
  const lt_winograd_image_attrs *a = n->attrs;
  const lt_winograd *w = lt_winograd_of(a->tile);
  const lt_type x = *lt_type_of(g, in[0]);
  const lt_tiles t = lt_tiles_of(w, &x, &a->pad);
  lt_value pixels = map_back(g, w->in, w->edge, w->edge, false, gout[0]);
  const int64_t dim[6] = {w->edge, w->edge, t.images, t.rows, t.cols, x.dim[1]}, perm[6] = {2, 5, 0, 1, 3, 4};
  lt_col2im_attrs back = {.input_shape = {4, {x.dim[0], x.dim[1], x.dim[2], x.dim[3]}},
                          .kernel = {{w->edge, w->edge}},
                          .stride = {{w->tile, w->tile}},
                          .pad = {{a->pad.v[0], a->pad.v[1], t.after[0], t.after[1]}},
                          .dilation = {{1, 1}},
                          .to_matrix = false};
  lt_value col = lt_transpose(g, lt_reshape(g, pixels, 6, dim), perm);
  gin[0] = lt_emit(g, LT_OP_col2im, &back, &col, 1);
}

/* ---- winograd_filter: W [OC, C, 3, 3] → [E, C, OC]; turned: [E, OC, C] ------------------------------------------- */

LT_INFER(winograd_filter) {
  const lt_winograd_filter_attrs *a = attrs;
  const lt_op op = LT_OP_winograd_filter;
  lt_need_rank(g, op, "W", in[0], 4, "[OC, C, 3, 3]");
  lt_need_float(g, op, "W", in[0]);
  const lt_winograd *w = need_tile(g, op, a->tile);
  const lt_type t = *lt_type_of(g, in[0]);
  if (t.dim[2] != LT_WINOGRAD_TAPS || t.dim[3] != LT_WINOGRAD_TAPS)
    lt_node_fail(g, op, "W %s must have 3x3 taps", lt_text_of(g, in[0]));
  *out_type = lt_make_type(t.dtype, 3, (int64_t[]){w->edge * w->edge, t.dim[!a->turned], t.dim[a->turned]});
}

LT_EVAL(winograd_filter) {
  const lt_winograd_filter_attrs *a = n->attrs;
  const lt_winograd *w = lt_winograd_of(a->tile);
  const int64_t *dim = in[0]->type.dim, taps = LT_WINOGRAD_TAPS * LT_WINOGRAD_TAPS, all = dim[0] * dim[1];
  double f[LT_WINOGRAD_TAPS * LT_WINOGRAD_TAPS], u[MOST];
  for (int64_t i = 0; i < all; i++) { /* i = o·C + c */
    const int64_t to = a->turned ? i : i % dim[1] * dim[0] + i / dim[1];
    for (int64_t k = 0; k < taps; k++) f[k] = in[0]->f[i * taps + (a->turned ? taps - 1 - k : k)];
    both_sides(w->filter, w->edge, LT_WINOGRAD_TAPS, e->magnitudes, f, u);
    for (int64_t k = 0; k < w->edge * w->edge; k++) out[0]->f[k * all + to] = u[k];
  }
}

LT_TERMS(winograd_filter) { return LT_WINOGRAD_TAPS * LT_WINOGRAD_TAPS; }

LT_VJP(winograd_filter) {
  lt_graph *g = v->g;
  const lt_winograd_filter_attrs *a = n->attrs;
  const lt_winograd *w = lt_winograd_of(a->tile);
  const lt_type t = *lt_type_of(g, gout[0]);
  lt_value taps = map_back(g, w->filter, w->edge, LT_WINOGRAD_TAPS, a->turned, gout[0]);
  const int64_t dim[4] = {LT_WINOGRAD_TAPS, LT_WINOGRAD_TAPS, t.dim[1], t.dim[2]};
  const int64_t perm[4] = {a->turned ? 2 : 3, a->turned ? 3 : 2, 0, 1};
  gin[0] = lt_transpose(g, lt_reshape(g, taps, 4, dim), perm);
}

/* ---- winograd_result: m [E, T, OC] → [N, OC, *size] -------------------------------------------------------------- */

LT_INFER(winograd_result) {
  const lt_winograd_result_attrs *a = attrs;
  const lt_op op = LT_OP_winograd_result;
  lt_need_rank(g, op, "m", in[0], 3, "[E, T, OC]");
  lt_need_float(g, op, "m", in[0]);
  const lt_winograd *w = need_tile(g, op, a->tile);
  const lt_type m = *lt_type_of(g, in[0]);
  int64_t tiles = 1;
  for (int i = 0; i < 2; i++)
    if (a->size.v[i] < 1 || a->size.v[i] > INT32_MAX || !lt_mul_ok(&tiles, tiles, lt_ceil_div(a->size.v[i], w->tile)))
      lt_node_fail(g, op, "size %s must be H and W of the result", lt_ints_text(&g->arena, a->size.v, 2));
  if (m.dim[0] != w->edge * w->edge || m.dim[1] % tiles)
    lt_node_fail(g, op, "m %s must be [%lld, T, OC], T a multiple of the %lld tiles that size %s has",
                 lt_text_of(g, in[0]), (long long)(w->edge * w->edge), (long long)tiles,
                 lt_ints_text(&g->arena, a->size.v, 2));
  *out_type = lt_make_type(m.dtype, 4, (int64_t[]){m.dim[1] / tiles, m.dim[2], a->size.v[0], a->size.v[1]});
}

/* The result seen as an image whose tiles these are: of the convolution that has no border and two rows more. */
static lt_tiles tiles_of_result(const lt_winograd *w, const lt_type *y) {
  lt_type x = *y;
  for (int i = 0; i < 2; i++) x.dim[2 + i] += LT_WINOGRAD_TAPS - 1;
  return lt_tiles_of(w, &x, &(lt_quad){{0}});
}

LT_EVAL(winograd_result) {
  const lt_winograd *w = lt_winograd_of(((const lt_winograd_result_attrs *)n->attrs)->tile);
  const lt_type *y = &out[0]->type;
  const lt_tiles t = tiles_of_result(w, y);
  const int64_t channels = y->dim[1], per_image = t.rows * t.cols;
  double m[MOST], r[MOST];
  for (int64_t i = 0; i < t.all * channels; i++) {
    const int64_t tile = i / channels, c = i % channels, image = tile / per_image, at = tile % per_image;
    for (int64_t k = 0; k < w->edge * w->edge; k++) m[k] = in[0]->f[k * t.all * channels + i];
    both_sides(w->out, w->tile, w->edge, e->magnitudes, m, r);
    for (int64_t k = 0; k < w->tile * w->tile; k++) {
      const int64_t h = at / t.cols * w->tile + k / w->tile, v = at % t.cols * w->tile + k % w->tile;
      if (h < y->dim[2] && v < y->dim[3]) out[0]->f[((image * channels + c) * y->dim[2] + h) * y->dim[3] + v] = r[k];
    }
  }
}

LT_TERMS(winograd_result) { return (double)lt_type_of(g, n->in[0])->dim[0]; }

LT_VJP(winograd_result) {
  lt_graph *g = v->g;
  const lt_winograd *w = lt_winograd_of(((const lt_winograd_result_attrs *)n->attrs)->tile);
  const lt_type y = *lt_type_of(g, gout[0]), m = *lt_type_of(g, in[0]);
  const lt_tiles t = tiles_of_result(w, &y);
  lt_pad_attrs whole = {.pads = {8, {0, 0, 0, 0, 0, 0, t.after[0], t.after[1]}}};
  lt_value tiles = lt_emit(g, LT_OP_pad, &whole, gout, 1);
  const int64_t cut[6] = {t.images, y.dim[1], t.rows, w->tile, t.cols, w->tile}, perm[6] = {3, 5, 0, 2, 4, 1};
  tiles = lt_transpose(g, lt_reshape(g, tiles, 6, cut), perm);
  const int64_t flat[2] = {w->tile * w->tile, m.dim[1] * m.dim[2]};
  gin[0] = lt_reshape(g, map_back(g, w->out, w->tile, w->edge, false, lt_reshape(g, tiles, 2, flat)), 3, m.dim);
}
