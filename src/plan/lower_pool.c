/* lower_pool.c: windows over one channel: pooling, im2col and its adjoint. A window is a reduction over rows and
 * columns whose loads are guarded: by the image's border where it goes from tap to tap, and where it goes over
 * everything there is to look at, by whether a tap looks there. */
#include "plan/lower_hooks.h"

/* ---- walking along windows --------------------------------------------------------------------------------------- */

/* How a reduction goes along one axis: `dim` counts taps, or places (pixels for windows, windows for pixels), and then
 * `guard` is the tap that looks there, if any. */
typedef struct walk { int dim; bool places; lt_coord guard; } walk;

/* Large windows with more taps than there are places are walked by places: a kernel of 10^9 costs what its image
 * costs. */
static bool by_places(const lt_window_axis *a, int64_t places) {
  enum { LARGE = 64 };
  return a->kernel > LARGE && a->kernel > places;
}

/* The tap with which a window looks at a pixel: (pixel + before - window·stride) / dilation. */
static lt_coord tap_between(const lt_window_axis *a, const lt_coord *pixel, const lt_coord *window) {
  lt_coord c = {.add = pixel->add + a->before - window->add * a->stride, .div = a->dilation, .limit = a->kernel};
  for (int d = 0; d < LT_MAX_DIMS; d++) c.coef[d] = pixel->coef[d] - window->coef[d] * a->stride;
  return c;
}

/* *c is a window's coordinate and becomes that of the pixels it looks at. */
static walk walk_window(lt_kernel_builder *kb, const lt_window_axis *a, lt_coord *c) {
  walk w = {.places = by_places(a, a->size)};
  w.dim = lt_kernel_rdim(kb, w.places ? a->size : a->kernel);
  if (w.places) {
    const lt_coord window = *c;
    *c = lt_coord_dim(w.dim);
    w.guard = tap_between(a, c, &window);
  } else {
    lt_coord_window(c, a, w.dim);
  }
  return w;
}

/* *c is a pixel's coordinate and becomes that of the windows that look at it. */
static walk walk_adjoint(lt_kernel_builder *kb, const lt_window_axis *a, lt_coord *c) {
  walk w = {.places = by_places(a, a->windows)};
  w.dim = lt_kernel_rdim(kb, w.places ? a->windows : a->kernel);
  if (w.places) {
    const lt_coord pixel = *c;
    *c = lt_coord_dim(w.dim);
    w.guard = tap_between(a, &pixel, c);
  } else {
    lt_coord_adjoint(c, a, w.dim);
  }
  return w;
}

/* v at the coordinates that two walks have made, where both guards hold. */
static int32_t load(lt_kernel_builder *kb, lt_value v, const lt_at *at, const walk walks[2]) {
  lt_at moved = *at;
  lt_value from = lt_resolve(kb->b, v, &moved);
  lt_access a = lt_access_at(kb, from, &moved);
  for (int i = 0; i < 2; i++)
    if (walks[i].places) lt_access_axis(kb, &a, &walks[i].guard, 0);
  return lt_x_load(kb, lt_type_of(kb->b->g, v)->dtype, a);
}

/* ---- how many elements a mean is of ------------------------------------------------------------------------------ */

/* 1 / count would round twice: the counts themselves, [OH, OW], at least 1. Returns 0 and *same when all are equal. */
static lt_place counts_of(lt_kernel_builder *kb, const lt_window *w, bool include_pad, lt_dtype t, double *same) {
  lt_arena *a = kb->b->a;
  const int64_t out[2] = {w->axis[0].windows, w->axis[1].windows};
  lt_type type = lt_make_type(t, 2, out);
  lt_tensor *counts = lt_tensor_new(a, &type);
  bool equal = true;
  for (int64_t i = 0; i < out[0]; i++)
    for (int64_t j = 0; j < out[1]; j++) {
      int64_t n = lt_window_elements(&w->axis[0], i, include_pad) * lt_window_elements(&w->axis[1], j, include_pad);
      counts->f[i * out[1] + j] = (double)LT_MAX(n, 1);
      equal &= counts->f[i * out[1] + j] == counts->f[0];
    }
  *same = counts->f[0];
  if (equal) return (lt_place){0};
  int64_t at = lt_plan_const(kb->b->plan, a, lt_data_of(a, counts));
  lt_buffer x = {.region = LT_REGION_CONST,
                 .offset = at,
                 .bytes = lt_type_bytes(&type),
                 .dtype = t,
                 .name = "counts",
                 .first = -1,
                 .last = -1};
  lt_vec_push(a, &kb->b->buffer, x);
  return (lt_place){kb->b->buffer.n - 1, 0, true, 0};
}

/* Divide x by the count of the window at (oh, ow). */
static int32_t divide(lt_kernel_builder *kb, int32_t x, lt_dtype t, lt_place counts, double same, int64_t ow,
                      const lt_coord *h, const lt_coord *w) {
  if (!counts.set) return lt_x_map(kb, LT_OP_div, t, x, lt_x_const(kb, t, same));
  lt_access a = lt_access_zero(counts.buffer, counts.offset);
  lt_access_axis(kb, &a, h, ow);
  lt_access_axis(kb, &a, w, 1);
  a.fill = 1;
  return lt_x_map(kb, LT_OP_div, t, x, lt_x_load(kb, t, a));
}

/* ---- pooling ----------------------------------------------------------------------------------------------------- */

/* Do the numbers on the way to a pixel's index, outside the image too, fit i32? */
static bool stays_small(const lt_window_axis *h, const lt_window_axis *w) {
  enum { SMALL = 1 << 14 };
  bool small = true;
  for (int i = 0; i < 2; i++) {
    const lt_window_axis *a = i ? w : h;
    small &= a->size < SMALL && a->before < SMALL && a->kernel < SMALL && a->dilation < SMALL / a->kernel;
  }
  return small;
}

/* The place r = i*J + j in the two walks becomes h*W + w; -1 where no tap was inside. */
static int32_t image_index(lt_kernel_builder *kb, const lt_window *w, const walk walks[2], int32_t r) {
#define NUMBER(v) lt_x_const(kb, t, (double)(v))
#define MAP(op, a, b) lt_x_map(kb, LT_OP_##op, t, a, b)
  const lt_dtype t = stays_small(&w->axis[0], &w->axis[1]) ? LT_I32 : LT_I64; /* half the lanes in a vector, or none */
  const int64_t width = w->axis[1].size, columns = kb->k.extent[walks[1].dim];
  if (t == LT_I32) r = lt_x_cast(kb, t, r);
  const int32_t row = MAP(div, r, NUMBER(columns)), col = MAP(sub, r, MAP(mul, row, NUMBER(columns)));
  lt_coord first = lt_coord_zero(); /* where the walks begin: row*width + column */
  int64_t step[2] = {width, 1};
  for (int i = 0; i < 2; i++) {
    if (walks[i].places) continue;
    for (int d = 0; d < LT_MAX_DIMS; d++) first.coef[d] += kb->at.c[2 + i].coef[d] * w->axis[i].stride * step[i];
    first.add -= w->axis[i].before * step[i];
    step[i] *= w->axis[i].dilation;
  }
  const int32_t down = MAP(mul, row, NUMBER(step[0])), from = lt_x_index(kb, &first);
  const int32_t begin = t == LT_I32 ? lt_x_cast(kb, t, from) : from;
  const int32_t across = MAP(mul, col, NUMBER(step[1]));
  const int32_t at = MAP(add, MAP(add, begin, down), across);
  lt_instr none = {.kind = LT_X_MAP, .op = LT_OP_less, .dtype = LT_BOOL, .arg = {r, NUMBER(0), -1}};
  int32_t empty = lt_x_push(kb, none);
  lt_instr pick = {.kind = LT_X_MAP, .op = LT_OP_select, .dtype = t, .arg = {empty, NUMBER(-1), at}};
  const int32_t index = lt_x_push(kb, pick);
  return t == LT_I32 ? index : lt_x_cast(kb, LT_I32, index);
#undef MAP
#undef NUMBER
}

static void lower_pool(lt_builder *b, const lt_unit *u) {
  const lt_node *n = u->root;
  const lt_type *x = lt_type_of(b->g, n->in[0]), *y = lt_type_of(b->g, n->out);
  const lt_window w = lt_window_of(b->g, n);
  bool max = n->op == LT_OP_max_pool, mean = n->op == LT_OP_avg_pool;
  lt_kernel_builder kb;
  walk walks[2];
  lt_kernel_init(&kb, b, u, LT_K_REDUCE);
  kb.k.dtype = kb.k.acc = x->dtype;
  kb.k.reduce = max ? LT_REDUCE_MAX : mean ? LT_SUM_TREE16 : LT_REDUCE_ARGMAX;
  lt_kernel_space(&kb, y, lt_unit_blocked(b, u, y));
  lt_at out = kb.at, in = kb.at;
  for (int i = 0; i < 2; i++) walks[i] = walk_window(&kb, &w.axis[i], &in.c[2 + i]);
  lt_kernel_use(&kb, &kb.rexpr);
  lt_kernel_last(&kb, load(&kb, n->in[0], &in, walks));
  lt_kernel_use(&kb, &kb.expr);
  kb.at = out;
  int32_t r = lt_x_result(&kb, max || mean ? x->dtype : LT_I64);
  if (mean) {
    double same;
    bool include = ((const lt_avg_pool_attrs *)n->attrs)->count_include_pad;
    lt_place counts = counts_of(&kb, &w, include, x->dtype, &same);
    r = divide(&kb, r, x->dtype, counts, same, y->dim[3], &out.c[2], &out.c[3]);
  } else if (!max) {
    r = image_index(&kb, &w, walks, r);
  }
  lt_kernel_result(&kb, r);
  lt_kernel_stores(&kb);
  lt_kernel_finish(&kb);
}

/* gx[h, w] = sum over the windows that hold the pixel of gy / count. */
LT_LOWER(avg_pool_grad) {
  const lt_node *n = u->root;
  const lt_type *gy = lt_type_of(b->g, n->in[0]), *gx = lt_type_of(b->g, n->out);
  const lt_window w = lt_window_of(b->g, n);
  lt_kernel_builder kb;
  walk walks[2];
  double same;
  lt_kernel_init(&kb, b, u, LT_K_REDUCE);
  kb.k.dtype = kb.k.acc = gy->dtype;
  kb.k.reduce = LT_SUM_TREE16;
  lt_kernel_space(&kb, gx, lt_unit_blocked(b, u, gx));
  lt_at out = kb.at, in = kb.at;
  for (int i = 0; i < 2; i++) walks[i] = walk_adjoint(&kb, &w.axis[i], &in.c[2 + i]);
  lt_kernel_use(&kb, &kb.rexpr);
  bool include = ((const lt_avg_pool_grad_attrs *)n->attrs)->count_include_pad;
  lt_place counts = counts_of(&kb, &w, include, gy->dtype, &same);
  int32_t x = load(&kb, n->in[0], &in, walks);
  lt_kernel_last(&kb, divide(&kb, x, gy->dtype, counts, same, gy->dim[3], &in.c[2], &in.c[3]));
  lt_kernel_use(&kb, &kb.expr);
  kb.at = out;
  lt_kernel_result(&kb, lt_x_result(&kb, gy->dtype));
  lt_kernel_stores(&kb);
  lt_kernel_finish(&kb);
}

/* ---- max_pool's gradient ----------------------------------------------------------------------------------------- */

/* Pixels of an image along both axes: runs of them (window.h), or all, then against every window (`places`). */
typedef struct pixels { const lt_window_axis *axis[2]; const lt_phase_run *run[2]; bool places[2]; } pixels;

/* Output dims: pixels in the order in which they stand in memory, in blocks of channels, else the columns of a run as
 * lanes. q and p: the dims of pixels and phases. */
static void pixel_space(lt_kernel_builder *kb, const pixels *s, const lt_type *x, bool blocked, int q[2], int p[2]) {
  const int image = lt_kernel_dim(kb, x->dim[0]);
  const int block = lt_kernel_dim(kb, blocked ? lt_ceil_div(x->dim[1], LT_LANES) : x->dim[1]);
  q[0] = lt_kernel_dim(kb, s->run[0]->pixels), p[0] = lt_kernel_dim(kb, s->run[0]->phases);
  if (blocked) q[1] = lt_kernel_dim(kb, s->run[1]->pixels), p[1] = lt_kernel_dim(kb, s->run[1]->phases);
  else p[1] = lt_kernel_dim(kb, s->run[1]->phases), q[1] = lt_kernel_dim(kb, s->run[1]->pixels);
  kb->shape = *x, kb->at = (lt_at){0};
  kb->at.c[0] = lt_coord_dim(image), kb->at.c[1] = lt_coord_dim(block);
  if (blocked) {
    kb->k.block_dim = block, kb->k.channels = x->dim[1];
    kb->at.c[1] = lt_coord_affine(block, LT_LANES, 0), kb->at.c[1].coef[lt_kernel_dim(kb, LT_LANES)] = 1;
  }
  for (int i = 0; i < 2; i++) {
    kb->at.c[2 + i] = lt_coord_affine(q[i], s->run[i]->pitch, s->run[i]->at);
    kb->at.c[2 + i].coef[p[i]] = s->run[i]->at_step;
  }
}

/* The earliest window of a run's pixels q in its first phase; guarded where not all windows of all of them exist. */
static lt_coord windows_of(const lt_window_axis *a, const lt_phase_run *r, int q) {
  const int64_t first = r->from - (r->taps - 1) * r->back, more = (r->phases - 1) * r->from_step;
  lt_coord c = lt_coord_affine(q, 1, first);
  const bool exist = first + LT_MIN(more, 0) >= 0 && r->from + r->pixels - 1 + LT_MAX(more, 0) < a->windows;
  c.limit = exist ? 0 : a->windows;
  return c;
}

/* gy where its window's index is the pixel. */
static int32_t if_maximum(lt_kernel_builder *kb, const pixels *s, const lt_node *n, const lt_at *in,
                          const walk *walks) {
  lt_at index = *in;
  lt_coord here = lt_coord_zero();
  index.fill = -1;
  for (int i = 0; i < 2; i++) {
    const int64_t step = i ? 1 : s->axis[1]->size;
    here.add += kb->at.c[2 + i].add * step;
    for (int d = 0; d < LT_MAX_DIMS; d++) here.coef[d] += kb->at.c[2 + i].coef[d] * step;
  }
  const lt_dtype t = kb->k.dtype;
  const int32_t at = load(kb, n->in[1], &index, walks), gy = load(kb, n->in[0], in, walks);
  const int32_t same = lt_x_map(kb, LT_OP_equal, LT_BOOL, at, lt_x_cast(kb, LT_I32, lt_x_index(kb, &here)));
  lt_instr pick = {.kind = LT_X_MAP, .op = LT_OP_select, .dtype = t, .arg = {same, gy, lt_x_const(kb, t, 0)}};
  return lt_x_push(kb, pick);
}

/* Of a plain image: does each pixel have one window, as its neighbour in a pair has, so that both are made together? */
static bool in_pairs(const pixels *s, bool blocked) {
  const lt_phase_run *r = s->run[0], *c = s->run[1];
  return !blocked && !s->places[0] && !s->places[1] && r->taps == 1 && c->taps == 1 && c->phases == 2 &&
         c->pitch == 2 && c->at_step == 1;
}

/* Lanes are pairs, and a point has a store for each of the two. 0 + x is what the chain of one is, also of -0. */
static void lower_pairs(lt_builder *b, const lt_unit *u, const pixels *s) {
  const lt_type *x = lt_type_of(b->g, u->root->out);
  const lt_phase_run *r = s->run[0], *c = s->run[1];
  enum { P_IMAGE, P_CHANNEL, P_ROW, P_PHASE, P_PAIR };
  const int64_t extent[] = {x->dim[0], x->dim[1], r->pixels, r->phases, c->pixels};
  static const walk none[2] = {0};
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  kb.k.dtype = kb.k.acc = x->dtype;
  for (int i = 0; i < 5; i++) lt_kernel_dim(&kb, extent[i]);
  kb.shape = *x;
  for (int64_t phase = 0; phase < 2; phase++) {
    kb.at = (lt_at){.c = {lt_coord_dim(P_IMAGE), lt_coord_dim(P_CHANNEL), lt_coord_affine(P_ROW, r->pitch, r->at)}};
    kb.at.c[2].coef[P_PHASE] = r->at_step;
    kb.at.c[3] = lt_coord_affine(P_PAIR, 2, c->at + phase);
    lt_at in = kb.at;
    in.c[2] = windows_of(s->axis[0], r, P_ROW), in.c[2].coef[P_PHASE] = r->from_step;
    in.c[3] = windows_of(s->axis[1], c, P_PAIR), in.c[3].add += phase * c->from_step;
    lt_kernel_use(&kb, &kb.expr);
    const int32_t one = if_maximum(&kb, s, u->root, &in, none);
    lt_kernel_result(&kb, lt_x_map(&kb, LT_OP_add, x->dtype, lt_x_const(&kb, x->dtype, 0), one));
    lt_kernel_stores(&kb);
  }
  lt_kernel_finish(&kb);
}

static void lower_pixels(lt_builder *b, const lt_unit *u, const pixels *s) {
  const lt_node *n = u->root;
  const lt_type *x = lt_type_of(b->g, n->out);
  const bool reached = s->run[0]->taps && s->run[1]->taps;
  lt_kernel_builder kb;
  int q[2], p[2];
  lt_kernel_init(&kb, b, u, reached ? LT_K_REDUCE : LT_K_LOOPS);
  kb.k.dtype = kb.k.acc = x->dtype;
  pixel_space(&kb, s, x, lt_unit_blocked(b, u, x), q, p);
  if (reached) {
    lt_at in = kb.at;
    walk walks[2] = {0};
    for (int i = 0; i < 2; i++) {
      walks[i] = (walk){lt_kernel_rdim(&kb, s->run[i]->taps), .places = s->places[i]};
      if (s->places[i]) in.c[2 + i] = lt_coord_dim(walks[i].dim);
      else {
        in.c[2 + i] = windows_of(s->axis[i], s->run[i], q[i]);
        in.c[2 + i].coef[p[i]] = s->run[i]->from_step, in.c[2 + i].coef[walks[i].dim] = s->run[i]->back;
      }
      if (s->places[i]) walks[i].guard = tap_between(s->axis[i], &kb.at.c[2 + i], &in.c[2 + i]);
    }
    kb.k.reduce = LT_SUM_CHAIN;
    lt_kernel_use(&kb, &kb.rexpr);
    lt_kernel_last(&kb, if_maximum(&kb, s, n, &in, walks));
    lt_kernel_use(&kb, &kb.expr);
  }
  lt_kernel_result(&kb, reached ? lt_x_result(&kb, x->dtype) : lt_x_const(&kb, x->dtype, 0));
  lt_kernel_stores(&kb);
  lt_kernel_finish(&kb);
}

LT_LOWER(max_pool_grad) {
  const lt_window w = lt_window_of(b->g, u->root);
  lt_phase_runs runs[2] = {0};
  pixels s = {.axis = {&w.axis[0], &w.axis[1]}};
  for (int i = 0; i < 2; i++) {
    s.places[i] = by_places(&w.axis[i], w.axis[i].windows);
    const lt_phase_run all = {.pitch = 1, .pixels = w.axis[i].size, .phases = 1, .taps = w.axis[i].windows};
    if (s.places[i]) lt_vec_push(b->a, &runs[i], all);
    else lt_window_runs(&runs[i], b->a, &w.axis[i]);
  }
  for (uint32_t i = 0; i < runs[0].n; i++)
    for (uint32_t j = 0; j < runs[1].n; j++) {
      s.run[0] = &runs[0].at[i], s.run[1] = &runs[1].at[j];
      if (in_pairs(&s, lt_unit_blocked(b, u, lt_type_of(b->g, u->root->out)))) lower_pairs(b, u, &s);
      else lower_pixels(b, u, &s);
    }
}

LT_LOWER(max_pool) { lower_pool(b, u); }
LT_LOWER(max_pool_index) { lower_pool(b, u); }
LT_LOWER(avg_pool) { lower_pool(b, u); }

/* ---- columns ----------------------------------------------------------------------------------------------------- */

/* Coordinates of column element (n, c, kh, kw, oh, ow), given as dims, in a col of either form. */
static lt_at column_at(const int64_t d[6], const int dim[6], bool to_matrix) {
  enum { N, C, KH, KW, OH, OW };
  lt_at at = {0};
  if (!to_matrix) {
    for (int i = 0; i < 6; i++) at.c[i] = lt_coord_dim(dim[i]);
    return at;
  }
  at.c[0] = at.c[1] = lt_coord_zero();
  at.c[0].coef[dim[N]] = d[OH] * d[OW], at.c[0].coef[dim[OH]] = d[OW], at.c[0].coef[dim[OW]] = 1;
  at.c[1].coef[dim[C]] = d[KH] * d[KW], at.c[1].coef[dim[KH]] = d[KW], at.c[1].coef[dim[KW]] = 1;
  return at;
}

/* N, C, KH, KW, OH, OW. */
static void sizes_of(int64_t d[6], const lt_window *w, const lt_type *image) {
  d[0] = image->dim[0], d[1] = image->dim[1];
  for (int i = 0; i < 2; i++) d[2 + i] = w->axis[i].kernel, d[4 + i] = w->axis[i].windows;
}

LT_LOWER(im2col) {
  const lt_node *n = u->root;
  const lt_type *x = lt_type_of(b->g, n->in[0]), *y = lt_type_of(b->g, n->out);
  bool matrix = ((const lt_im2col_attrs *)n->attrs)->to_matrix;
  static const int rows_first[6] = {0, 4, 5, 1, 2, 3}, as_is[6] = {0, 1, 2, 3, 4, 5};
  const lt_window w = lt_window_of(b->g, n);
  int64_t d[6];
  int dim[6];
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  sizes_of(d, &w, x);
  for (int i = 0; i < 6; i++) {
    int k = matrix ? rows_first[i] : as_is[i];
    dim[k] = lt_kernel_dim(&kb, d[k]);
  }
  lt_at in = {0};
  in.c[0] = lt_coord_dim(dim[0]), in.c[1] = lt_coord_dim(dim[1]);
  for (int i = 0; i < 2; i++) {
    in.c[2 + i] = lt_coord_dim(dim[4 + i]);
    lt_coord_window(&in.c[2 + i], &w.axis[i], dim[2 + i]);
  }
  kb.shape = *y, kb.at = column_at(d, dim, matrix);
  lt_kernel_result(&kb, lt_x_read_loaded(&kb, n->in[0], &in));
  lt_kernel_stores(&kb);
  lt_kernel_finish(&kb);
}

/* x[n, c, h, w] = sum over (kh, kw) of the column element of the window that reads it with that tap. */
LT_LOWER(col2im) {
  enum { N, C, KH, KW, OH, OW };
  const lt_node *n = u->root;
  const lt_type *y = lt_type_of(b->g, n->out);
  bool matrix = ((const lt_col2im_attrs *)n->attrs)->to_matrix;
  const lt_window w = lt_window_of(b->g, n);
  int64_t d[6], stride[6];
  int tap[2];
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, LT_K_REDUCE);
  kb.k.dtype = kb.k.acc = y->dtype;
  kb.k.reduce = LT_SUM_TREE16;
  sizes_of(d, &w, y);
  stride[OW] = matrix ? d[C] * d[KH] * d[KW] : 1, stride[OH] = d[OW] * stride[OW];
  stride[KW] = matrix ? 1 : d[OH] * d[OW], stride[KH] = d[KW] * stride[KW], stride[C] = d[KH] * stride[KH];
  stride[N] = matrix ? d[OH] * stride[OH] : d[C] * stride[C];
  lt_kernel_space(&kb, y, false);
  for (int i = 0; i < 2; i++) tap[i] = lt_kernel_rdim(&kb, w.axis[i].kernel); /* they stand in memory: never many */
  lt_at out = kb.at;
  lt_place p = lt_place_of(b, n->in[0]);
  lt_access a = lt_access_zero(p.buffer, p.offset);
  a.stride[0] = stride[N], a.stride[1] = stride[C], a.stride[tap[0]] = stride[KH], a.stride[tap[1]] = stride[KW];
  for (int i = 0; i < 2; i++) {
    lt_coord c = out.c[2 + i];
    lt_coord_adjoint(&c, &w.axis[i], tap[i]);
    lt_access_axis(&kb, &a, &c, stride[OH + i]);
  }
  lt_kernel_use(&kb, &kb.rexpr);
  lt_x_load(&kb, y->dtype, a);
  lt_kernel_use(&kb, &kb.expr);
  kb.at = out;
  lt_kernel_result(&kb, lt_x_result(&kb, y->dtype));
  lt_kernel_stores(&kb);
  lt_kernel_finish(&kb);
}
