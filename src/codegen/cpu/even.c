/* even.c: tasks of a contraction that two, four or eight threads finish at the same time (see tile.h).
 *
 * tile.c cuts for the caches. Where that leaves threads without work at the end (seven tasks are four and three), this
 * looks for other numbers of row and block groups, or of sides: those for which the work, with all that a task costs
 * beside its products, and the time that threads wait, weighed, are the least. By shape alone, like the cut itself. */
#include "codegen/cpu/even.h"

enum {
  PANEL_PIXELS = 16,   /* a panel is not read faster than it is multiplied with so many pixels */
  TILE_PIXELS = 14,    /* of a register tile */
  TASK_START = 20000,  /* what a task costs beside its products, in those */
  TASK_LEAST = 500000, /* a task is not smaller: three microseconds of one core */
  GROUPS = 32,         /* most groups of rows, and of blocks, that are tried */
  MATRIX_ROWS = 42     /* rows of a matrix product: 3 x 14 and 7 x 6, tiles of most targets */
};

static const double WAIT = 0.4, ENOUGH = 0.03, TILE = 0.8, SPLIT = 0.01, ODD = 0.1;

static int64_t tasks_of(const lt_cut *c) { return c->outer * c->side_groups * c->row_groups * c->block_groups; }

static double waiting(const lt_cut *c) {
  double total = (double)c->outer * (double)c->sides * (double)c->rows * (double)c->blocks;
  return lt_waiting(tasks_of(c), (double)c->task_sides * (double)c->task_rows * (double)c->task_blocks / total);
}

static double panel_flop(const lt_cut *c, int64_t rows) {
  int64_t pixels = rows * c->cols * LT_MAX(c->inside, 1);
  double cost = (double)LT_MAX(pixels, PANEL_PIXELS) + TILE * (double)lt_ceil_div(pixels, TILE_PIXELS);
  return 2.0 * LT_LANES * (double)c->depth * cost;
}

static double work_of(const lt_cut *c) {
  int64_t last = c->rows - (c->row_groups - 1) * c->task_rows;
  double rows = panel_flop(c, last) + (double)(c->row_groups - 1) * panel_flop(c, c->task_rows);
  return (double)c->outer * (double)c->sides * (double)c->blocks * rows + (double)tasks_of(c) * TASK_START;
}

/* What waits, what is one more shape of code, and what reads an operand once more make a cut dearer. */
static double cost_of(const lt_cut *c) {
  double more = WAIT * waiting(c);
  more += SPLIT * (c->rows % c->task_rows != 0) + SPLIT * (c->blocks % c->task_blocks != 0);
  more += SPLIT * (c->sides % c->task_sides != 0);
  more += 2 * SPLIT * (c->blocks_first ? c->row_groups > 1 : c->block_groups > 1);
  if (c->task_blocks % 2 && c->block_groups > 1) more += ODD / (double)c->task_blocks; /* most tiles have two */
  return work_of(c) * (1 + more);
}

static void set_groups(lt_cut *c, int64_t rows, int64_t blocks) {
  c->task_rows = LT_MIN(rows, c->rows);
  c->task_blocks = LT_MIN(blocks, c->blocks);
  c->row_groups = lt_ceil_div(c->rows, c->task_rows);
  c->block_groups = lt_ceil_div(c->blocks, c->task_blocks);
}

/* Rows of one of n groups, blocks of one of n groups: as tiles like them. */
static int64_t some_rows(const lt_cut *c, int64_t n) {
  int64_t rows = lt_ceil_div(c->rows, n);
  return c->cols == 1 && rows > MATRIX_ROWS ? lt_ceil_div(rows, MATRIX_ROWS) * MATRIX_ROWS : rows;
}
static int64_t some_blocks(const lt_cut *c, int64_t n) {
  int64_t blocks = lt_ceil_div(c->blocks, n);
  return n > 1 && blocks > 1 ? blocks + blocks % 2 : blocks;
}

typedef struct search { lt_cut best; double least, most_flop; } search;

static double task_flop(const lt_cut *c) {
  return panel_flop(c, c->task_rows) * (double)c->task_blocks * (double)c->task_sides;
}

static void consider(search *s, const lt_cut *c) {
  if (task_flop(c) > s->most_flop || work_of(c) < TASK_LEAST * (double)tasks_of(c)) return;
  double cost = cost_of(c);
  if (cost < s->least) s->least = cost, s->best = *c;
}

static void search_sides(search *s) {
  lt_cut c = s->best;
  for (int64_t n = 1; n <= LT_MIN(GROUPS, c.sides); n++) {
    c.task_sides = lt_ceil_div(c.sides, n);
    c.side_groups = lt_ceil_div(c.sides, c.task_sides);
    consider(s, &c);
  }
}

static void search_rows_and_blocks(search *s) {
  lt_cut c = s->best;
  for (int64_t i = 1, rows = 0; i <= LT_MIN(GROUPS, c.rows); i++) {
    if (some_rows(&c, i) == rows) continue;
    rows = some_rows(&c, i);
    for (int64_t j = 1, blocks = 0; j <= LT_MIN(GROUPS, c.blocks); j++) {
      if (some_blocks(&c, j) == blocks) continue;
      blocks = some_blocks(&c, j);
      set_groups(&c, rows, blocks);
      consider(s, &c);
    }
  }
}

void lt_even_tasks(lt_cut *c, double most_flop) {
  if (waiting(c) <= ENOUGH) return;
  search s = {*c, cost_of(c), LT_MAX(most_flop, task_flop(c))};
  if (c->side == LT_NONE) search_rows_and_blocks(&s);
  else search_sides(&s);
  *c = s.best;
}
