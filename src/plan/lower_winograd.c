/* lower_winograd.c: the linear maps around a 3x3 convolution in fewer multiplications (ir/winograd.h). An iteration
 * does a whole tile of 16 channels: edge² loads, the map along rows and along columns, edge² stores; the result as many
 * stores as a tile has pixels, each with the epilogue at its place. Tiles that reach past the result have kernels of
 * their own: along the bottom, along the right, and one for the corner.
 *
 * Where the three maps and the products between them are one cluster, they go band by band: the numbers of a band's
 * tiles stand in two buffers that all bands share, small enough for a cache. Without bands they would go to memory and
 * back, which takes as long as the products (docs/performance.md). */
#include "ir/winograd.h"
#include "plan/lower_gemm.h"
#include "plan/lower_hooks.h"

enum { EDGE = LT_WINOGRAD_EDGE, MOST = EDGE * EDGE };

/* Numbers of a tile, as instructions of the kernel: [i][j] at i·EDGE + j. */
typedef struct grid { int32_t at[MOST]; } grid;

/* ---- a map along one axis ---------------------------------------------------------------------------------------- */

typedef struct line { lt_kernel_builder *kb; int64_t n; int32_t x[EDGE]; double f[EDGE]; } line;

static void term(line *l, double f, int32_t x) {
  if (f == 0) return;
  l->f[l->n] = f, l->x[l->n++] = x;
}

/* Σ f·x, beginning with a term that needs no product; -1: there is none. */
static int32_t total(line *l) {
  int64_t first = 0;
  while (first < l->n && l->f[first] != 1) first++;
  if (first == l->n) first = 0;
  int32_t sum = -1;
  const lt_dtype t = l->kb->k.dtype;
#define MAP(op, a, b) lt_x_map(l->kb, LT_OP_##op, t, a, b)
  for (int64_t i = 0; i < l->n; i++) {
    const int64_t k = (first + i) % l->n;
    const bool unit = l->f[k] == 1 || (l->f[k] == -1 && sum >= 0);
    const int32_t x = unit ? l->x[k] : MAP(mul, l->x[k], lt_x_const(l->kb, t, l->f[k]));
    sum = sum < 0 ? x : unit && l->f[k] < 0 ? MAP(sub, sum, x) : MAP(add, sum, x);
  }
  return sum;
#undef MAP
}

static int32_t sum_of(lt_kernel_builder *kb, const double *f, const int32_t *x, int64_t from, int64_t n, int64_t step) {
  line l = {.kb = kb};
  for (int64_t i = from; i < n; i += step) term(&l, f[i], x[i]);
  return total(&l);
}

/* y = m·x; of a pair of rows the even and the odd columns are added up once. */
static void rows_paired(lt_kernel_builder *kb, const double *m, int64_t rows, int64_t cols, const int32_t *x,
                        int32_t *y) {
  y[0] = sum_of(kb, m, x, 0, cols, 1);
  for (int64_t r = 1; r + 1 < rows; r += 2) {
    const int32_t even = sum_of(kb, m + r * cols, x, 0, cols, 2), odd = sum_of(kb, m + r * cols, x, 1, cols, 2);
    y[r] = lt_x_map(kb, LT_OP_add, kb->k.dtype, even, odd), y[r + 1] = lt_x_map(kb, LT_OP_sub, kb->k.dtype, even, odd);
  }
  y[rows - 1] = sum_of(kb, m + (rows - 1) * cols, x, 0, cols, 1);
}

/* y = m·x; a pair of columns comes in as sum and difference. */
static void cols_paired(lt_kernel_builder *kb, const double *m, int64_t rows, int64_t cols, const int32_t *x,
                        int32_t *y) {
  int32_t sum[EDGE], diff[EDGE];
  for (int64_t c = 1; c + 1 < cols; c += 2) {
    sum[c] = lt_x_map(kb, LT_OP_add, kb->k.dtype, x[c], x[c + 1]);
    diff[c] = lt_x_map(kb, LT_OP_sub, kb->k.dtype, x[c], x[c + 1]);
  }
  for (int64_t r = 0; r < rows; r++, m += cols) {
    line l = {.kb = kb};
    term(&l, m[0], x[0]);
    for (int64_t c = 1; c + 1 < cols; c += 2) term(&l, m[c], m[c] == m[c + 1] ? sum[c] : diff[c]);
    term(&l, m[cols - 1], x[cols - 1]);
    y[r] = total(&l);
  }
}

typedef void (*along)(lt_kernel_builder *kb, const double *m, int64_t rows, int64_t cols, const int32_t *x, int32_t *y);

/* m·x·mᵀ: along the rows of x, then along columns. */
static void both_sides(lt_kernel_builder *kb, along how, const double *m, int64_t rows, int64_t cols, grid *x) {
  int32_t from[EDGE], to[EDGE];
  for (int64_t i = 0; i < cols; i++) {
    memcpy(from, x->at + i * EDGE, sizeof from);
    how(kb, m, rows, cols, from, x->at + i * EDGE);
  }
  for (int64_t j = 0; j < rows; j++) {
    for (int64_t i = 0; i < cols; i++) from[i] = x->at[i * EDGE + j];
    how(kb, m, rows, cols, from, to);
    for (int64_t i = 0; i < rows; i++) x->at[i * EDGE + j] = to[i];
  }
}

/* ---- tiles as dims of a kernel ----------------------------------------------------------------------------------- */

/* Tiles [row, row + rows) x [col, col + cols) of images [image, image + images). */
typedef struct piece { int64_t image, images, row, rows, col, cols; } piece;
typedef struct space { lt_coord image, channel, tile, at[2]; } space; /* at: row and column of tiles */

/* The numbers of the tiles of piece `of`: value v [E, T, C], or if v is 0 a buffer, its channels filled up to whole
 * blocks. */
typedef struct numbers { lt_value v; lt_row_matrices in; piece of; } numbers;

static int64_t tiles_in(const piece *p) { return p->images * p->rows * p->cols; }

static lt_coord lanes_of(lt_kernel_builder *kb, int block, int lane, int64_t channels) {
  kb->k.block_dim = block, kb->k.channels = channels;
  lt_coord c = lt_coord_affine(block, LT_LANES, 0);
  c.coef[lane] = 1;
  return c;
}

/* The dims of piece p; its tiles are counted in `all`. */
static space space_of(lt_kernel_builder *kb, const piece *all, const piece *p, int64_t channels) {
  const int n = lt_kernel_dim(kb, p->images), block = lt_kernel_dim(kb, lt_ceil_div(channels, LT_LANES));
  const int row = lt_kernel_dim(kb, p->rows), col = lt_kernel_dim(kb, p->cols), lane = lt_kernel_dim(kb, LT_LANES);
  space s = {.image = lt_coord_affine(n, 1, p->image), .channel = lanes_of(kb, block, lane, channels)};
  s.at[0] = lt_coord_affine(row, 1, p->row), s.at[1] = lt_coord_affine(col, 1, p->col);
  s.tile = lt_coord_affine(n, all->rows * all->cols, 0);
  s.tile.coef[row] = all->cols, s.tile.coef[col] = 1;
  s.tile.add = ((p->image - all->image) * all->rows + p->row - all->row) * all->cols + p->col - all->col;
  return s;
}

/* Number k of each tile. */
static lt_access number_at(lt_kernel_builder *kb, const space *s, const numbers *x, int64_t k) {
  lt_at at = {0};
  at.c[0] = lt_coord_zero(), at.c[0].add = k;
  at.c[1] = s->tile, at.c[2] = s->channel;
  if (x->v) {
    const lt_value from = lt_resolve(kb->b, x->v, &at);
    return lt_access_at(kb, from, &at);
  }
  lt_access a = lt_access_zero(x->in.buffer, 0);
  lt_access_axis(kb, &a, &at.c[0], x->in.rows * x->in.step);
  lt_access_axis(kb, &a, &at.c[1], x->in.step), lt_access_axis(kb, &a, &at.c[2], 1);
  return a;
}

/* Pixel (i, j) of each tile in an image where the first tile begins at -pad. */
static lt_at pixel_at(const space *s, int64_t tile, const int64_t ij[2], const int64_t *pad) {
  lt_at at = {0};
  at.c[0] = s->image, at.c[1] = s->channel;
  for (int i = 0; i < 2; i++) {
    lt_coord *c = &at.c[2 + i];
    *c = s->at[i];
    for (int d = 0; d < LT_MAX_DIMS; d++) c->coef[d] *= tile;
    c->add = c->add * tile + ij[i] - (pad ? pad[i] : 0);
  }
  return at;
}

static void store_numbers(lt_kernel_builder *kb, const space *s, const lt_winograd *w, const numbers *to,
                          const grid *x) {
  for (int64_t i = 0; i < w->edge * w->edge; i++) {
    const lt_store y = {number_at(kb, s, to, i), x->at[i / w->edge * EDGE + i % w->edge]};
    lt_vec_push(kb->b->a, &kb->store, y);
  }
  lt_kernel_finish(kb);
}

/* ---- the three maps ---------------------------------------------------------------------------------------------- */

static void image_of(lt_builder *b, const lt_unit *u, const lt_node *n, const numbers *to) {
  const lt_winograd_image_attrs *a = n->attrs;
  const lt_winograd *w = lt_winograd_of(a->tile);
  lt_kernel_builder kb;
  grid d = {{0}};
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  const space s = space_of(&kb, &to->of, &to->of, lt_type_of(b->g, n->in[0])->dim[1]);
  for (int64_t i = 0; i < w->edge; i++)
    for (int64_t j = 0; j < w->edge; j++) {
      const lt_at at = pixel_at(&s, w->tile, (int64_t[]){i, j}, a->pad.v);
      d.at[i * EDGE + j] = lt_x_read_loaded(&kb, n->in[0], &at);
    }
  both_sides(&kb, rows_paired, w->in, w->edge, w->edge, &d);
  store_numbers(&kb, &s, w, to, &d);
}

LT_LOWER(winograd_image) {
  const lt_winograd_image_attrs *a = u->root->attrs;
  const lt_tiles t = lt_tiles_of(lt_winograd_of(a->tile), lt_type_of(b->g, u->root->in[0]), &a->pad);
  image_of(b, u, u->root, &(numbers){u->root->out, {0}, {0, t.images, 0, t.rows, 0, t.cols}});
}

/* A "tile" is one filter: rows are the first axis of a matrix, lanes the second. */
LT_LOWER(winograd_filter) {
  enum { TAPS = LT_WINOGRAD_TAPS };
  const lt_node *n = u->root;
  const lt_winograd_filter_attrs *a = n->attrs;
  const lt_winograd *w = lt_winograd_of(a->tile);
  const lt_type *y = lt_type_of(b->g, n->out);
  lt_kernel_builder kb;
  grid d = {{0}};
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  const int first = lt_kernel_dim(&kb, y->dim[1]), block = lt_kernel_dim(&kb, lt_ceil_div(y->dim[2], LT_LANES));
  const int lane = lt_kernel_dim(&kb, LT_LANES);
  const space s = {.channel = lanes_of(&kb, block, lane, y->dim[2]), .tile = lt_coord_dim(first)};
  for (int64_t k = 0; k < TAPS * TAPS; k++) {
    lt_at at = {0};
    at.c[!a->turned] = s.tile, at.c[a->turned] = s.channel;
    for (int i = 0; i < 2; i++) {
      const int64_t tap = i ? k % TAPS : k / TAPS;
      at.c[2 + i] = lt_coord_zero(), at.c[2 + i].add = a->turned ? TAPS - 1 - tap : tap;
    }
    d.at[k / TAPS * EDGE + k % TAPS] = lt_x_read_loaded(&kb, n->in[0], &at);
  }
  both_sides(&kb, rows_paired, w->filter, w->edge, TAPS, &d);
  store_numbers(&kb, &s, w, &(numbers){.v = n->out}, &d);
}

/* The results of tiles p of which `height` x `width` pixels exist. */
static void result_of(lt_builder *b, const lt_unit *u, const lt_winograd *w, const numbers *from, piece p,
                      int64_t height, int64_t width) {
  const lt_type *y = lt_type_of(b->g, u->root->out);
  lt_kernel_builder kb;
  grid m = {{0}};
  if (p.rows <= 0 || p.cols <= 0 || height == 0 || width == 0) return;
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  const space s = space_of(&kb, &from->of, &p, y->dim[1]);
  for (int64_t i = 0; i < w->edge * w->edge; i++)
    m.at[i / w->edge * EDGE + i % w->edge] = lt_x_load(&kb, kb.k.dtype, number_at(&kb, &s, from, i));
  both_sides(&kb, cols_paired, w->out, w->tile, w->edge, &m);
  kb.shape = *y;
  for (int64_t i = 0; i < height; i++)
    for (int64_t j = 0; j < width; j++) {
      lt_kernel_use(&kb, kb.x); /* what was read for the pixel before is read anew */
      kb.at = pixel_at(&s, w->tile, (int64_t[]){i, j}, NULL);
      lt_kernel_result(&kb, m.at[i * EDGE + j]);
      lt_kernel_stores(&kb);
    }
  lt_kernel_finish(&kb);
}

static const lt_winograd *winograd_of_result(const lt_node *n) {
  return lt_winograd_of(((const lt_winograd_result_attrs *)n->attrs)->tile);
}

/* All results of the tiles in from->of. */
static void results_of(lt_builder *b, const lt_unit *u, const numbers *from) {
  const lt_winograd *w = winograd_of_result(u->root);
  const lt_type *y = lt_type_of(b->g, u->root->out);
  const int64_t rows = y->dim[2] / w->tile, cols = y->dim[3] / w->tile;
  const int64_t below = y->dim[2] % w->tile, beside = y->dim[3] % w->tile, end = from->of.row + from->of.rows;
  piece whole = from->of, right = from->of, last;
  whole.rows = right.rows = LT_MIN(end, rows) - whole.row;
  whole.cols = cols, right.col = cols, right.cols = 1;
  result_of(b, u, w, from, whole, w->tile, w->tile);
  result_of(b, u, w, from, right, w->tile, beside);
  if (end <= rows) return;
  last = whole, last.row = rows, last.rows = 1;
  result_of(b, u, w, from, last, below, w->tile);
  last = right, last.row = rows, last.rows = 1;
  result_of(b, u, w, from, last, below, beside);
}

/* ---- band by band ------------------------------------------------------------------------------------------------ */

/* Bytes of a band's numbers, about: they stay in L2 beside the filters. So many tiles there are at least, since each
 * band reads all filters. */
enum { BAND_BYTES = 640 << 10, BAND_TILES = 49 };

/* A number near `want` that cuts n evenly, if there is one. */
static int64_t part_of(int64_t n, int64_t want) {
  if (want >= n) return n;
  want = LT_MAX(want, 1);
  for (int64_t d = want; 2 * d > want; d--)
    if (n % d == 0) return d;
  return lt_ceil_div(n, lt_ceil_div(n, want));
}

/* The first band: whole images, or rows of one. */
static piece first_band(const lt_tiles *t, int64_t bytes_of_tile) {
  const int64_t tiles = LT_MAX(BAND_TILES, BAND_BYTES / bytes_of_tile), image = t->rows * t->cols;
  if (image <= tiles) return (piece){0, part_of(t->images, tiles / image), 0, t->rows, 0, t->cols};
  return (piece){0, 1, 0, part_of(t->rows, tiles / t->cols), 0, t->cols};
}

static numbers numbers_for(lt_builder *b, const char *name, lt_value v, const piece *band) {
  const lt_type *t = lt_type_of(b->g, v);
  numbers x = {.in = {.rows = tiles_in(band), .step = lt_ceil_div(t->dim[2], LT_LANES) * LT_LANES}};
  x.in.buffer = lt_scratch(b, name, v, t->dim[0] * x.in.rows * x.in.step);
  return x;
}

static void in_bands(lt_builder *b, const lt_unit *u, const lt_node *image, const lt_node *product) {
  const lt_winograd_image_attrs *a = image->attrs;
  const lt_tiles t = lt_tiles_of(lt_winograd_of(a->tile), lt_type_of(b->g, image->in[0]), &a->pad);
  const lt_type *v = lt_type_of(b->g, image->out), *m = lt_type_of(b->g, product->out);
  const piece first = first_band(&t, v->dim[0] * (v->dim[2] + m->dim[2]) * (int64_t)lt_dtype_size(v->dtype));
  numbers from = numbers_for(b, "tiles", image->out, &first), to = numbers_for(b, "products", product->out, &first);
  for (int64_t i = 0; i < t.images; i += first.images)
    for (int64_t row = 0; row < t.rows; row += first.rows) {
      const piece band = {i, LT_MIN(first.images, t.images - i), row, LT_MIN(first.rows, t.rows - row), 0, t.cols};
      from.of = to.of = band, from.in.rows = to.in.rows = tiles_in(&band);
      image_of(b, u, image, &from);
      lt_lower_products(b, u, product, &from.in, &to.in);
      results_of(b, u, &to);
    }
}

LT_LOWER(winograd_result) {
  const lt_node *n = u->root, *product = lt_node_of(b->g, n->in[0]);
  const lt_node *image = lt_unit_has(u, product->id) ? lt_node_of(b->g, product->in[0]) : NULL;
  if (image && lt_unit_has(u, image->id)) {
    in_bands(b, u, image, product);
    return;
  }
  const int64_t tile = winograd_of_result(n)->tile;
  const lt_type *y = lt_type_of(b->g, n->out);
  const piece all = {0, y->dim[0], 0, lt_ceil_div(y->dim[2], tile), 0, lt_ceil_div(y->dim[3], tile)};
  results_of(b, u, &(numbers){n->in[0], {0}, all});
}
