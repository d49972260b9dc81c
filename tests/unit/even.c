/* even.c: tasks of contractions for several threads: layers as tile.c cuts them for the caches, what becomes of them.
 */
#include "check_main.h"
#include "codegen/cpu/even.h"

enum { MOST = 6000000 };

/* rows x cols pixels, blocks, depth; rows and blocks of a task before */
typedef struct layer { int64_t rows, cols, blocks, depth, task_rows, task_blocks; bool blocks_first; } layer;

static int64_t groups(int64_t n, int64_t part) { return (n + part - 1) / part; }

static lt_cut cut_of(const layer *x) {
  return (lt_cut){.outer = 1,
                  .side = LT_NONE,
                  .sides = 1,
                  .task_sides = 1,
                  .side_groups = 1,
                  .rows = x->rows,
                  .cols = x->cols,
                  .blocks = x->blocks,
                  .depth = x->depth,
                  .task_rows = x->task_rows,
                  .task_blocks = x->task_blocks,
                  .row_groups = groups(x->rows, x->task_rows),
                  .block_groups = groups(x->blocks, x->task_blocks),
                  .blocks_first = x->blocks_first};
}

/* The share of n threads' time that they wait, if every task were as large as the largest. */
static double waiting(const lt_cut *c, int64_t n) {
  int64_t tasks = c->outer * c->row_groups * c->block_groups;
  return (double)(groups(tasks, n) * n * c->task_rows * c->task_blocks) / (double)(c->outer * c->rows * c->blocks) - 1;
}

START_TEST(layers_become_even) {
  static const layer layers[] = {
    {112, 112, 6, 16, 16, 6, false}, /* seven tasks */
    {28, 28, 2, 144, 28, 2, false},  /* one */
    {14, 14, 36, 96, 2, 36, false},  /* seven */
    {14, 14, 6, 576, 2, 6, false},   /* seven */
    {7, 7, 60, 160, 7, 20, true},    /* three */
    {7, 7, 10, 960, 7, 2, true},     /* five */
    {1, 1, 63, 2048, 1, 63, true},   /* a row times a matrix that comes from memory */
    {64, 1, 25, 120, 64, 25, false}, /* a small product of matrices */
    {400, 1, 8, 64, 336, 8, false},  /* two tasks, one of them small */
  };
  for (size_t i = 0; i < LT_COUNT(layers); i++) {
    lt_cut c = cut_of(&layers[i]);
    ck_assert_msg(waiting(&c, 2) > 0.1 || waiting(&c, 4) > 0.1, "layer %zu was even", i);
    lt_even_tasks(&c, MOST);
    ck_assert_int_eq(c.row_groups, groups(c.rows, c.task_rows));
    ck_assert_int_eq(c.block_groups, groups(c.blocks, c.task_blocks));
    ck_assert_msg(waiting(&c, 2) < 0.07, "layer %zu: two threads wait %.3f", i, waiting(&c, 2));
    ck_assert_msg(waiting(&c, 4) < 0.35, "layer %zu: four threads wait %.3f", i, waiting(&c, 4));
  }
}
END_TEST

START_TEST(sides_become_even) {
  lt_cut c = cut_of(&(layer){1, 1, 14, 27, 1, 14, false}); /* rows of an image beside each other: seven tasks */
  c.side = 1, c.sides = 112, c.task_sides = 16, c.side_groups = 7;
  lt_even_tasks(&c, MOST);
  ck_assert_int_eq(c.side_groups, 8);
  ck_assert_int_eq(c.task_sides, 14);
}
END_TEST

START_TEST(others_stay) {
  static const layer layers[] = {
    {56, 56, 4, 576, 1, 4, false}, /* 56 tasks */
    {7, 7, 32, 4608, 7, 2, true},  /* 16 */
    {28, 28, 1, 25, 28, 1, false}, /* seven microseconds of one core */
    {1, 1, 1, 1, 1, 1, false},
  };
  for (size_t i = 0; i < LT_COUNT(layers); i++) {
    lt_cut c = cut_of(&layers[i]), before = c;
    lt_even_tasks(&c, MOST);
    ck_assert_msg(c.task_rows == before.task_rows && c.task_blocks == before.task_blocks, "layer %zu: %d x %d", i,
                  (int)c.task_rows, (int)c.task_blocks);
  }
}
END_TEST

LT_SUITE(even, layers_become_even, sides_become_even, others_stay)
LT_TEST_MAIN(even)
