/* lower_winograd.c: the linear maps around a 3x3 convolution in fewer multiplications (ir/winograd.h). An iteration
 * does a whole tile of 16 channels: edge² loads, the map along rows and along columns, edge² stores; the result as many
 * stores as a tile has pixels, each with the epilogue at its place. Tiles that reach past the result have kernels of
 * their own: along the bottom, along the right, and one for the corner. */
#include "ir/winograd.h"
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

/* Tiles [row, row + rows) x [col, col + cols) of each image. */
typedef struct piece { int64_t row, rows, col, cols; } piece;
typedef struct space { int image, row, col; lt_coord channel, tile, at[2]; } space; /* at: row and column of tiles */

static lt_coord lanes_of(lt_kernel_builder *kb, int block, int lane, int64_t channels) {
  kb->k.block_dim = block, kb->k.channels = channels;
  lt_coord c = lt_coord_affine(block, LT_LANES, 0);
  c.coef[lane] = 1;
  return c;
}

static space space_of(lt_kernel_builder *kb, const lt_tiles *t, const piece *p, int64_t channels) {
  const int n = lt_kernel_dim(kb, t->images), block = lt_kernel_dim(kb, lt_ceil_div(channels, LT_LANES));
  const int row = lt_kernel_dim(kb, p->rows), col = lt_kernel_dim(kb, p->cols), lane = lt_kernel_dim(kb, LT_LANES);
  space s = {.image = n, .row = row, .col = col, .channel = lanes_of(kb, block, lane, channels)};
  s.at[0] = lt_coord_affine(row, 1, p->row), s.at[1] = lt_coord_affine(col, 1, p->col);
  s.tile = lt_coord_affine(n, t->rows * t->cols, p->row * t->cols + p->col);
  s.tile.coef[row] = t->cols, s.tile.coef[col] = 1;
  return s;
}

/* Number k of each tile, in a value [E, T, channels]. */
static lt_at number_at(const space *s, int64_t k) {
  lt_at at = {0};
  at.c[0] = lt_coord_zero(), at.c[0].add = k;
  at.c[1] = s->tile, at.c[2] = s->channel;
  return at;
}

/* Pixel (i, j) of each tile in an image where the first tile begins at -pad. */
static lt_at pixel_at(const space *s, int64_t tile, const int64_t ij[2], const int64_t *pad) {
  lt_at at = {0};
  at.c[0] = lt_coord_dim(s->image), at.c[1] = s->channel;
  for (int i = 0; i < 2; i++) {
    const int dim = i ? s->col : s->row;
    at.c[2 + i] = lt_coord_affine(dim, tile, s->at[i].add * tile + ij[i] - (pad ? pad[i] : 0));
  }
  return at;
}

static void store_numbers(lt_kernel_builder *kb, const space *s, const lt_winograd *w, const grid *x) {
  for (int64_t i = 0; i < w->edge * w->edge; i++) {
    const lt_at at = number_at(s, i);
    lt_kernel_store(kb, kb->unit->root->out, &at, x->at[i / w->edge * EDGE + i % w->edge]);
  }
  lt_kernel_finish(kb);
}

/* ---- the three maps ---------------------------------------------------------------------------------------------- */

LT_LOWER(winograd_image) {
  const lt_node *n = u->root;
  const lt_winograd_image_attrs *a = n->attrs;
  const lt_winograd *w = lt_winograd_of(a->tile);
  const lt_type *x = lt_type_of(b->g, n->in[0]);
  const lt_tiles t = lt_tiles_of(w, x, &a->pad);
  lt_kernel_builder kb;
  grid d = {{0}};
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  const space s = space_of(&kb, &t, &(piece){0, t.rows, 0, t.cols}, x->dim[1]);
  for (int64_t i = 0; i < w->edge; i++)
    for (int64_t j = 0; j < w->edge; j++) {
      const lt_at at = pixel_at(&s, w->tile, (int64_t[]){i, j}, a->pad.v);
      d.at[i * EDGE + j] = lt_x_read_loaded(&kb, n->in[0], &at);
    }
  both_sides(&kb, rows_paired, w->in, w->edge, w->edge, &d);
  store_numbers(&kb, &s, w, &d);
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
  store_numbers(&kb, &s, w, &d);
}

/* The results of tiles p of which `height` x `width` pixels exist. */
static void lower_piece(lt_builder *b, const lt_unit *u, const lt_winograd *w, const lt_tiles *t, const piece *p,
                        int64_t height, int64_t width) {
  const lt_node *n = u->root;
  const lt_type *y = lt_type_of(b->g, n->out);
  lt_kernel_builder kb;
  grid m = {{0}};
  if (p->rows == 0 || p->cols == 0 || height == 0 || width == 0) return;
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  const space s = space_of(&kb, t, p, y->dim[1]);
  for (int64_t i = 0; i < w->edge * w->edge; i++) {
    const lt_at at = number_at(&s, i);
    m.at[i / w->edge * EDGE + i % w->edge] = lt_x_read_loaded(&kb, n->in[0], &at);
  }
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

LT_LOWER(winograd_result) {
  const lt_winograd *w = lt_winograd_of(((const lt_winograd_result_attrs *)u->root->attrs)->tile);
  const lt_type *y = lt_type_of(b->g, u->root->out);
  const int64_t rows = y->dim[2] / w->tile, cols = y->dim[3] / w->tile;
  const int64_t below = y->dim[2] % w->tile, beside = y->dim[3] % w->tile;
  lt_tiles t = {.images = y->dim[0], .rows = rows + (below != 0), .cols = cols + (beside != 0)};
  lower_piece(b, u, w, &t, &(piece){0, rows, 0, cols}, w->tile, w->tile);
  lower_piece(b, u, w, &t, &(piece){0, rows, cols, 1}, w->tile, beside);
  lower_piece(b, u, w, &t, &(piece){rows, 1, 0, cols}, below, w->tile);
  lower_piece(b, u, w, &t, &(piece){rows, 1, cols, 1}, below, beside);
}
