/* tile.c: the cut of a contraction into tasks and the solver for register tiles (see tile.h).
 *
 * Tasks follow from the shape alone, so that an entry has the same tasks on every target. Their order is the order in
 * which a single thread runs them, hence also the cache blocking: small weights stay in L2 while rows pass by (rows
 * outside), large ones pass by once per group of blocks while the rows stay (blocks outside). Where neither weights nor
 * rows stay, it is the order in which fewer bytes pass.
 *
 * The solver enumerates (blocks, pixels, rows per group) and takes the cheapest by a count of issue slots: a step along
 * K costs the largest of its FMAs, its loads and the latency that its accumulators must hide. The analytical model is
 * that of Low et al., "Analytical modeling is enough for high-performance BLIS", TOMS 2016, without its cache terms. */
#include "codegen/cpu/tile.h"
#include "codegen/cpu/emit.h"
#include "codegen/cpu/even.h"

enum {
  TASK_FLOP = 6000000,  /* about 60 us of one core: large against a task's start, small against a layer */
  IN_CACHE = 384 << 10, /* bytes of an operand that stay in L2 */
  TILE_START = 40,      /* issue slots around a tile: call, addresses, first loads */
  POINT_STORE = 4,
  /* addresses this far apart share a set of L1, which holds so many of them beside B's */
  SET_BYTES = 4096,
  SET_WAYS = 6,
  PLANE = 16,  /* pixels of a plane that hardly fills a tile */
  STREAMS = 4, /* panels from far away that a single pixel reads side by side: more throw each other out of L1 */
  /* pixels of a plane of whose sums borders are a part worth leaving out; images that fill a tile without their
   * columns, pixels that do with them */
  WIDE_PLANE = 256,
  LEAST_IMAGES = 6,
  LEAST_PIXELS = 12,
  SMALL = 50,
  KERNEL_SLOTS = 1500000 /* what compiling one more micro-kernel may cost: it must save some of this */
};

/* ---- geometry -------------------------------------------------------------------------------------------------- */

static int64_t depth_of(const lt_contract *c) {
  int64_t sum = 0;
  for (unsigned s = 0; s < c->n_seg; s++) {
    int64_t n = 1;
    for (unsigned i = 0; i < c->seg[s].n; i++) n *= c->seg[s].extent[i];
    sum += n;
  }
  return sum;
}

/* Do lanes that do not exist have to stay untouched? */
static bool tail_matters(const lt_kernel *k) {
  if (k->contract->b_masked || k->contract->b.masked || k->block_dim == LT_NONE) return true;
  for (uint32_t i = 0; i < k->n_access; i++) {
    if (k->access[i].masked) return true;
  }
  for (uint32_t i = 0; i < k->n_store; i++) {
    if (k->store[i].to.masked) return true;
  }
  return false;
}

static bool keeps_b(const lt_contract *x, int d) {
  bool same = x->b.stride[d] == 0;
  for (unsigned s = 0; s < x->n_seg; s++) same &= x->seg[s].b_dim[d] == 0;
  return same;
}

/* The longest of the dims that a plane of pixels may stand beside: B is the same along it. */
static int beside_planes(const lt_cut *c, const lt_kernel *k) {
  int over = LT_NONE;
  for (int d = 0; d < c->lane; d++) {
    if (d == c->row || d == c->col || d == c->block || d == c->side || k->extent[d] == 1) continue;
    if (!keeps_b(k->contract, d)) continue;
    if (over == LT_NONE || k->extent[d] > k->extent[over]) over = d;
  }
  return over;
}

/* Do taps look beside an image whose rows or columns the tile's pixels are? */
static bool along_borders(const lt_cut *c, const lt_kernel *k) {
  const lt_contract *x = k->contract;
  for (unsigned i = 0; i < x->n_border; i++)
    if (!x->border[i].coef[c->row] && !x->border[i].coef[c->col]) return false;
  return x->n_border > 0;
}

/* Beside a border, pixels of equal rows (of equal columns too, where a plane is small) of several images are the rows
 * of a tile: it then leaves out the taps that see nothing but zeros (lt_kborder). */
static bool keep_borders(lt_cut *c, const lt_kernel *k, int over) {
  const int64_t images = k->extent[over];
  if (!along_borders(c, k) || c->rows * c->cols > WIDE_PLANE) return false;
  const bool points = c->rows * c->cols <= PLANE && images >= LEAST_IMAGES;
  if (!points && (images == 1 || images * c->cols < LEAST_PIXELS)) return false;
  c->inside_dim[c->n_inside++] = c->row;
  if (points) c->inside_dim[c->n_inside++] = c->col, c->col = LT_NONE, c->cols = 1;
  c->row = over, c->rows = images, c->width = c->cols;
  return true;
}

/* Small planes become rows of their own, beside those of another dim. */
static void join_planes(lt_cut *c, const lt_kernel *k) {
  c->plane = LT_NONE, c->width = c->cols;
  if (c->row == LT_NONE || c->col == LT_NONE) return;
  const int over = beside_planes(c, k);
  if (over == LT_NONE || keep_borders(c, k, over) || c->rows * c->cols > PLANE) return;
  c->plane = c->row, c->cols *= c->rows;
  c->row = over, c->rows = k->extent[over];
}

static void find_dims(lt_cut *c, const lt_kernel *k) {
  const lt_contract *x = k->contract;
  c->lane = k->n_dims - 1;
  c->block = k->block_dim;
  c->side = x->side_dim ? x->side_dim : LT_NONE;
  c->sides = x->side_dim ? k->extent[x->side_dim] : 1;
  c->row = x->row_dim == x->col_dim ? LT_NONE : x->row_dim;
  c->col = x->col_dim;
  if (c->row != LT_NONE && (c->row == c->block || c->row == c->lane)) c->row = LT_NONE;
  if (c->col == c->block || c->col == c->lane) c->col = LT_NONE;
  if (c->row == LT_NONE || k->extent[c->row] == 1) c->row = c->col, c->col = LT_NONE;
  c->rows = c->row == LT_NONE ? 1 : k->extent[c->row];
  c->cols = c->col == LT_NONE ? 1 : k->extent[c->col];
  join_planes(c, k);
  int64_t channels = c->block == LT_NONE ? k->extent[c->lane] : k->channels;
  c->blocks = c->block == LT_NONE ? lt_ceil_div(channels, LT_LANES) : k->extent[c->block];
  c->tail = (unsigned)(channels - (c->blocks - 1) * LT_LANES);
  c->tail_matters = c->tail < LT_LANES && tail_matters(k);
  c->outer = c->inside = 1;
  for (int i = 0; i < c->n_inside; i++) c->inside *= k->extent[c->inside_dim[i]];
  for (int d = 0; d < c->lane; d++) {
    if (d == c->row || d == c->plane || d == c->col || d == c->block || d == c->side) continue;
    if (c->n_inside && (d == c->inside_dim[0] || (c->n_inside > 1 && d == c->inside_dim[1]))) continue;
    c->outer_dim[c->n_outer++] = d;
    c->outer *= k->extent[d];
  }
}

/* A number of rows near `want` that cuts `rows` evenly, if there is one; otherwise one that leaves a smaller last part.
 */
static int64_t even_part(int64_t rows, int64_t want) {
  if (want >= rows) return rows;
  want = LT_MAX(want, 1);
  for (int64_t d = 0; 2 * d <= want; d++) {
    if (rows % (want + d) == 0) return want + d;
    if (want > d && rows % (want - d) == 0) return want - d;
  }
  return lt_ceil_div(rows, lt_ceil_div(rows, want));
}

typedef struct walk { int n; int64_t extent[8], stride[8]; } walk;

static void walk_add(walk *w, int64_t extent, int64_t stride) {
  w->extent[w->n] = extent, w->stride[w->n++] = stride < 0 ? -stride : stride;
}

/* Distinct elements: dims by growing stride; those of the same one (taps beside pixels) make one longer one, and a
 * stride into what is there already adds what it leaves uncovered. */
static double walk_elements(const walk *w) {
  double count = 1;
  for (int64_t last = 0;;) {
    int64_t least = INT64_MAX, steps = 0;
    for (int i = 0; i < w->n; i++)
      if (w->stride[i] > last) least = LT_MIN(least, w->stride[i]);
    if (least == INT64_MAX) return count;
    for (int i = 0; i < w->n; i++)
      if (w->stride[i] == least) steps += w->extent[i] - 1;
    count += (double)steps * LT_MIN(count, (double)least);
    last = least;
  }
}

/* What one iteration of the outer dims reads of A (of the first segment of K: any other is what it leaves). */
static double elements_of_a(const lt_cut *c, const lt_kernel *k) {
  const lt_contract *x = k->contract;
  walk w = {0};
  if (c->row != LT_NONE) walk_add(&w, c->rows, x->a.stride[c->row]);
  if (c->plane != LT_NONE) walk_add(&w, k->extent[c->plane], x->a.stride[c->plane]);
  if (c->col != LT_NONE) walk_add(&w, k->extent[c->col], x->a.stride[c->col]);
  for (int i = 0; i < c->n_inside; i++) walk_add(&w, k->extent[c->inside_dim[i]], x->a.stride[c->inside_dim[i]]);
  for (unsigned i = 0; i < x->seg[0].n; i++) walk_add(&w, x->seg[0].extent[i], x->seg[0].a_stride[i]);
  return walk_elements(&w);
}

/* Tasks with blocks outside, or rows. */
static void cut_tasks(lt_cut *c, bool blocks_first) {
  double row_flop = 2.0 * (double)(c->inside * c->cols) * LT_LANES * (double)c->depth; /* of one row and block */
  int64_t rows = c->rows, blocks = c->blocks;
  if (blocks_first) {
    blocks = even_part(c->blocks, (int64_t)LT_MAX(2.0, LT_MIN(1e6, TASK_FLOP / row_flop / (double)rows)));
  } else if (row_flop * (double)blocks > TASK_FLOP) {
    blocks = even_part(blocks, (int64_t)LT_MAX(4.0, TASK_FLOP / row_flop));
  }
  if (rows * c->cols > 64) {
    double want = TASK_FLOP / (row_flop * (double)blocks);
    rows = (int64_t)LT_MAX(1.0, LT_MIN((double)rows, want));
    /* 84 = 6 x 14 pixels suit the tiles of most targets */
    rows = c->cols == 1 ? LT_MIN(c->rows, LT_MAX(1, rows / 84) * 84)
                        : even_part(c->rows, LT_MAX(rows, lt_ceil_div(56, c->cols)));
  }
  c->blocks_first = blocks_first;
  c->task_rows = rows;
  c->task_blocks = blocks;
  c->row_groups = lt_ceil_div(c->rows, rows);
  c->block_groups = lt_ceil_div(c->blocks, blocks);
  const double side_flop = row_flop * (double)rows * (double)blocks;
  c->task_sides = even_part(c->sides, (int64_t)LT_MAX(1.0, LT_MIN(1e6, TASK_FLOP / side_flop)));
  c->side_groups = lt_ceil_div(c->sides, c->task_sides);
}

bool lt_large_operand(const lt_kernel *k, double elements) {
  return elements * (double)lt_dtype_size(k->dtype) > IN_CACHE;
}

static void cut_for_caches(lt_cut *c, const lt_kernel *k) {
  double b = (double)(c->depth * c->blocks * LT_LANES) * (double)lt_dtype_size(k->dtype),
         a = c->of_a * (double)lt_dtype_size(k->dtype);
  cut_tasks(c, b > IN_CACHE && c->side == LT_NONE);
  if (b <= IN_CACHE || a <= IN_CACHE || c->side != LT_NONE) return;
  lt_cut other = *c; /* neither stays as a whole, but the rows of a task do: what passes more often? */
  cut_tasks(&other, false);
  if (a > IN_CACHE * (double)other.row_groups) return;
  if ((double)other.row_groups * b < (double)c->block_groups * a) *c = other;
}

void lt_cut_of(lt_cut *out, const lt_kernel *k) {
  *out = (lt_cut){.row = LT_NONE};
  find_dims(out, k);
  out->depth = depth_of(k->contract);
  int along = out->col != LT_NONE ? out->col : out->row;
  out->apart = k->contract->b.stride[out->lane];
  out->step = along == LT_NONE ? 0 : k->contract->a.stride[along] * (int64_t)lt_dtype_size(k->dtype);
  out->of_a = elements_of_a(out, k);
  cut_for_caches(out, k);
  lt_even_tasks(out, TASK_FLOP);
}

int64_t lt_tasks_contract(const lt_kernel *k) {
  lt_cut c;
  lt_cut_of(&c, k);
  return c.outer * c.side_groups * c.row_groups * c.block_groups;
}

/* ---- tiles ----------------------------------------------------------------------------------------------------- */

int64_t lt_tile_count(const lt_tiling *s, int64_t rows, int64_t cols) { return lt_ceil_div(rows * cols, s->pixels); }

lt_tile lt_tile_at(const lt_tiling *s, int64_t rows, int64_t cols, int64_t i) {
  int64_t n = lt_tile_count(s, rows, cols), len = rows * cols / n, longer = rows * cols % n;
  return (lt_tile){i * len + LT_MIN(i, longer), len + (i < longer)};
}

int64_t lt_tile_phase(lt_tile t, const lt_cut *c) {
  int64_t at = t.start % c->cols;
  return at + t.len <= c->cols && c->plane == LT_NONE ? 0 : at;
}

int64_t lt_tile_vectors(const lt_target *t, lt_dtype acc) {
  return LT_MAX(1, LT_LANES * (int64_t)lt_dtype_size(acc) / (int64_t)LT_MAX(t->vector_bytes, 1u));
}

/* One register stays free, one holds the broadcast scalar; without FMA one more holds the product. A single pixel takes
 * B straight from memory. */
int64_t lt_tile_room(const lt_target *t, lt_dtype acc, int64_t blocks) {
  int64_t v = lt_tile_vectors(t, acc), regs = (int64_t)t->vector_regs - 2 - !t->fma;
  int64_t room = (regs - blocks * v) / (blocks * v);
  if (room < 1) room = blocks * v <= regs;
  return LT_MAX(LT_MIN(room, LT_TILE_MAX / blocks), blocks == 1);
}

typedef struct model {
  const lt_target *t;
  const lt_cut *c;
  int64_t vectors, bytes; /* registers per block, bytes per element */
} model;

/* Do the lines of A for `px` pixels throw each other out of L1? */
static bool collide(const lt_cut *c, int64_t px) {
  int64_t step = c->step < 0 ? -c->step : c->step, two = step & -step; /* the power of two in it */
  if (step < 64) return false;
  int64_t apart = two < SET_BYTES ? SET_BYTES / two : 1; /* pixels until the set comes again */
  return px > SET_WAYS * apart;
}

/* Issue slots of one tile. B's lines come from L2 unless the panel stays in half of L1: half a latency each at best,
 * and some of that even where the FMAs should hide it (measured: 2 x 8 tiles lose 15 % to 14 x 2 on Zen 4). */
static double tile_cost(const model *m, int64_t px, int64_t blocks) {
  int64_t fma = px * blocks * m->vectors, loads = px + blocks * m->vectors, latency = m->t->fma_latency;
  const bool rows = m->c->side != LT_NONE; /* B is rows of an image: read again for each tap, across lines */
  int64_t line_bytes = blocks * LT_LANES * m->bytes;
  double lines = !rows && 2 * line_bytes * m->c->depth > m->t->l1_bytes ? (double)line_bytes / 64 : 0;
  if (rows) loads += line_bytes / 64;
  if (m->c->apart > 1) loads += 2 * blocks * m->vectors, fma += blocks * m->vectors; /* two vectors and a shuffle */
  double line_slots = (double)latency / 2 * lines;
  double busiest = (double)LT_MAX(LT_MAX(fma, loads), latency);
  double step = LT_MAX(busiest, line_slots) + line_slots / 5 + 0.1 * (double)loads;
  if (collide(m->c, px)) step += (double)px / 2;
  return (double)m->c->depth * step + TILE_START + (double)(fma * 2 + px * blocks * POINT_STORE);
}

static double group_cost(const model *m, const lt_tiling *s, int64_t rows, int64_t blocks) {
  int64_t cols = m->c->cols, n = lt_tile_count(s, rows, cols), len = rows * cols / n, longer = rows * cols % n;
  double cost = (double)(n - longer) * tile_cost(m, len, blocks);
  return longer ? cost + (double)longer * tile_cost(m, len + 1, blocks) : cost;
}

/* `rows` rows of a task, and so many blocks of one tile. */
static double rows_cost(const model *m, const lt_tiling *s, int64_t rows, int64_t blocks) {
  double cost = (double)(rows / s->group) * group_cost(m, s, s->group, blocks);
  return rows % s->group ? cost + group_cost(m, s, rows % s->group, blocks) : cost;
}

/* The same for all sides. */
static double sides_cost(const model *m, const lt_tiling *s, int64_t rows, int64_t blocks) {
  const lt_cut *c = m->c;
  const int64_t last = c->sides - (c->side_groups - 1) * c->task_sides;
  const int64_t whole = (c->side_groups - 1) * (c->task_sides / s->sides) + last / s->sides;
  double cost = whole ? (double)whole * rows_cost(m, s, rows, s->sides * blocks) : 0;
  if (last % s->sides) cost += rows_cost(m, s, rows, last % s->sides * blocks);
  if (c->side_groups == 1 || c->task_sides % s->sides == 0) return cost;
  return cost + (double)(c->side_groups - 1) * rows_cost(m, s, rows, c->task_sides % s->sides * blocks);
}

/* Number of different micro-kernels for the tiles of `rows` rows: an upper bound (groups may share some). */
static int64_t shapes_of(const lt_tiling *s, int64_t rows, const lt_cut *c) {
  int64_t cols = c->cols, n = rows ? lt_tile_count(s, rows, cols) : 0, shapes = 0, lens[2] = {0, 0};
  for (int64_t i = 0; i < n; i++) {
    lt_tile t = lt_tile_at(s, rows, cols, i);
    bool known = false;
    if (cols == 1 || lt_tile_phase(t, c) == 0) known = lens[0] == t.len || lens[1] == t.len;
    if (known) continue;
    if (cols == 1 || lt_tile_phase(t, c) == 0) lens[lens[0] != 0] = t.len;
    shapes++;
  }
  return shapes;
}

static double plan_cost(const model *m, const lt_tiling *s) {
  const lt_cut *c = m->c;
  int64_t last_rows = c->rows - (c->row_groups - 1) * c->task_rows,
          last_blocks = c->blocks - (c->block_groups - 1) * c->task_blocks;
  int64_t whole = (c->block_groups - 1) * (c->task_blocks / s->blocks) + last_blocks / s->blocks;
  int64_t rest[2] = {c->block_groups > 1 ? c->task_blocks % s->blocks : 0, last_blocks % s->blocks};
  double cost = 0;
  for (int i = 0; i < 3; i++) {
    int64_t blocks = i == 0 ? s->blocks : rest[i - 1], times = i == 0 ? whole : i == 1 ? c->block_groups - 1 : 1;
    if (!blocks || !times) continue;
    double rows = sides_cost(m, s, last_rows, blocks);
    if (c->row_groups > 1) rows += (double)(c->row_groups - 1) * sides_cost(m, s, c->task_rows, blocks);
    cost += (double)times * rows;
  }
  int64_t shapes =
    (c->task_rows >= s->group ? shapes_of(s, s->group, c) : 0) + shapes_of(s, c->task_rows % s->group, c);
  if (last_rows % s->group != c->task_rows % s->group) shapes += shapes_of(s, last_rows % s->group, c);
  int64_t widths = (whole > 0) + (rest[0] > 0) + (rest[1] > 0 && rest[1] != rest[0]) + c->tail_matters;
  widths *= 1 + (c->task_sides % s->sides != 0);
  double dear = m->t->small ? SMALL : 1; /* how much more a micro-kernel must save */
  return cost * (double)c->outer * (1 + 0.002 * dear * (double)shapes) +
         dear * (double)(shapes * widths * KERNEL_SLOTS) / 100;
}

/* The cheapest tiles of so many blocks of so many sides, if they are cheaper than what there is. */
static void solve_for(const model *m, lt_tiling *out, double *best, int64_t blocks, int64_t sides, lt_dtype acc) {
  const lt_cut *c = m->c;
  const int64_t max_group = LT_MIN(c->task_rows, c->cols == 1 ? 64 : 8), room = lt_tile_room(m->t, acc, blocks * sides);
  for (int64_t px = room; px >= LT_MAX(1, room / 2); px--) {
    for (int64_t group = 1; group <= max_group; group++) {
      lt_tiling s = {group, px, blocks, sides};
      if (group * c->cols > 4096 && group > 1) break;
      double cost = plan_cost(m, &s);
      if (*best != 0 && cost >= *best) continue;
      *best = cost;
      *out = s;
    }
  }
}

void lt_tile_solve(lt_tiling *out, const lt_cut *c, const lt_target *t, lt_dtype acc) {
  model m = {t, c, lt_tile_vectors(t, acc), (int64_t)lt_dtype_size(acc)};
  double best = 0;
  *out = (lt_tiling){1, 1, 1, 1};
  const bool streams = c->rows * c->cols == 1 && c->blocks * LT_LANES * c->depth * m.bytes > IN_CACHE;
  for (int64_t blocks = 1; blocks <= LT_MIN(c->task_blocks, streams ? STREAMS : 8); blocks++) {
    const int64_t sides = blocks == c->blocks ? LT_MIN(c->task_sides, 8 / blocks) : 1;
    for (int64_t n = 1; n <= LT_MAX(sides, 1); n++) solve_for(&m, out, &best, blocks, n, acc);
  }
}
