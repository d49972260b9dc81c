/* The pass raise on convolutions, their gradients and pooling spelled out at random: letters in any order, joined or
 * apart, on either side of the product. What it makes must mean the same to the interpreter, and nothing spelled out
 * may be left. */
#include "check_main.h"
#include "graph_eval.h"
#include "ir/pass/pass.h"

enum { N, C, KH, KW, OH, OW, LETTERS, OC = LETTERS, CASES = 400 };

typedef struct form {
  lt_graph *g;
  uint64_t *at;
  int64_t dim[LETTERS + 1], image[2];
  lt_pair stride, dilation, kernel;
  lt_quad pad;
} form;

static uint32_t draw(form *f, uint32_t below) { return lt_random_u32(11, 5, (*f->at)++) % below; }

static void shuffle(form *f, int64_t *v, unsigned n) {
  for (unsigned i = n; i > 1; i--) {
    unsigned k = draw(f, i);
    int64_t swap = v[i - 1];
    v[i - 1] = v[k], v[k] = swap;
  }
}

static void choose(form *f) {
  f->dim[N] = 1 + draw(f, 3), f->dim[C] = 1 + draw(f, 4), f->dim[OC] = 1 + draw(f, 4);
  for (int k = 0; k < 2; k++) {
    f->kernel.v[k] = f->dim[KH + k] = 1 + draw(f, 3);
    f->stride.v[k] = 1 + draw(f, 2), f->dilation.v[k] = 1 + draw(f, 2);
    f->pad.v[k] = draw(f, 2), f->pad.v[k + 2] = draw(f, 3);
    int64_t extent = (f->kernel.v[k] - 1) * f->dilation.v[k] + 1;
    f->image[k] = extent + draw(f, 5);
    f->dim[OH + k] = (f->image[k] + f->pad.v[k] + f->pad.v[k + 2] - extent) / f->stride.v[k] + 1;
  }
}

static lt_value input(form *f, const char *name, unsigned rank, const int64_t *dim) {
  return lt_leaf(f->g, LT_OP_input, name, lt_make_type(LT_F32, rank, dim), NULL);
}

/* x, whose axes are the letters `have`, with them in the order `want`, joined: the first n_left become one axis, the
 * rest another. */
static lt_value arrange(form *f, lt_value x, unsigned n, const int64_t *have, const int64_t *want, unsigned n_left) {
  int64_t perm[LETTERS + 1], two[2] = {1, 1};
  for (unsigned i = 0; i < n; i++)
    for (unsigned k = 0; k < n; k++)
      if (have[k] == want[i]) perm[i] = k;
  for (unsigned i = 0; i < n; i++) two[i >= n_left] *= f->dim[want[i]];
  return lt_reshape(f->g, lt_transpose(f->g, x, perm), 2, two);
}

/* A matrix apart into its letters, in the order of `want`. */
static lt_value spread(form *f, lt_value m, unsigned n, const int64_t *have, const int64_t *want) {
  int64_t dim[LETTERS + 1], perm[LETTERS + 1];
  for (unsigned i = 0; i < n; i++) dim[i] = f->dim[have[i]];
  for (unsigned i = 0; i < n; i++)
    for (unsigned k = 0; k < n; k++)
      if (have[k] == want[i]) perm[i] = k;
  return lt_transpose(f->g, lt_reshape(f->g, m, n, dim), perm);
}

static const int64_t all_letters[LETTERS] = {N, C, KH, KW, OH, OW}, matrix_letters[LETTERS] = {N, OH, OW, C, KH, KW};

static lt_value columns(form *f, bool *matrix) {
  *matrix = draw(f, 2);
  lt_im2col_attrs a = {
    .kernel = f->kernel, .stride = f->stride, .pad = f->pad, .dilation = f->dilation, .to_matrix = *matrix};
  lt_value x = input(f, "x", 4, (int64_t[]){f->dim[N], f->dim[C], f->image[0], f->image[1]});
  lt_value col = lt_emit(f->g, LT_OP_im2col, &a, &x, 1);
  int64_t dim[LETTERS];
  for (int i = 0; i < LETTERS; i++) dim[i] = f->dim[matrix_letters[i]];
  return *matrix ? lt_reshape(f->g, col, LETTERS, dim) : col;
}

/* left[M, K] · right[K, N], in one of eight ways. `swapped`: it is right^T · left^T. */
static lt_value product(form *f, lt_value left, lt_value right, bool *swapped) {
  lt_matmul_attrs a = {.transpose_a = draw(f, 2), .transpose_b = draw(f, 2)};
  *swapped = draw(f, 2);
  const int64_t turn[2] = {1, 0};
  lt_value p = *swapped ? right : left, q = *swapped ? left : right;
  if (a.transpose_a != *swapped) p = lt_transpose(f->g, p, turn);
  if (a.transpose_b != *swapped) q = lt_transpose(f->g, q, turn);
  return lt_emit(f->g, LT_OP_matmul, &a, (lt_value[]){p, q}, 2);
}

/* Letters `sum` of the columns are summed over with the other operand, [OC] and these; the rest is kept. */
static void emit_product(form *f, const int64_t sum_of[3], const int64_t keep_of[3]) {
  bool matrix, swapped;
  int64_t sum[3], keep[3], other_have[4] = {OC}, want[LETTERS], result[4], final[4];
  memcpy(sum, sum_of, sizeof sum), memcpy(keep, keep_of, sizeof keep);
  lt_value col = columns(f, &matrix);
  shuffle(f, sum, 3), shuffle(f, keep, 3);
  memcpy(want, keep, sizeof keep), memcpy(want + 3, sum, sizeof sum);
  lt_value left = arrange(f, col, LETTERS, matrix ? matrix_letters : all_letters, want, 3);
  int64_t dim[4];
  memcpy(other_have + 1, sum_of, sizeof sum);
  shuffle(f, other_have, 4);
  for (int i = 0; i < 4; i++) dim[i] = f->dim[other_have[i]];
  lt_value w = input(f, "w", 4, dim);
  const int64_t right_want[4] = {sum[0], sum[1], sum[2], OC};
  lt_value right = arrange(f, w, 4, other_have, right_want, 3), y = product(f, left, right, &swapped);
  const int64_t plain[4] = {keep[0], keep[1], keep[2], OC}, turned[4] = {OC, keep[0], keep[1], keep[2]};
  memcpy(result, swapped ? turned : plain, sizeof result);
  memcpy(final, result, sizeof final);
  shuffle(f, final, 4);
  y = lt_unary(f->g, LT_OP_tanh, spread(f, y, 4, result, final));
  lt_add_output(f->g, "y", y);
}

static const int64_t filter_letters[3] = {C, KH, KW}, image_letters[3] = {N, OH, OW};

static void emit_conv(form *f) { emit_product(f, filter_letters, image_letters); }
static void emit_weights(form *f) { emit_product(f, image_letters, filter_letters); }

/* col2im of gy · W, both in any order. */
static void emit_fold(form *f) {
  int64_t rows[4] = {OC, N, OH, OW}, cols[4] = {OC, C, KH, KW}, dim[4], left_want[4], right_want[4], have[LETTERS];
  bool swapped, matrix = draw(f, 2);
  shuffle(f, rows, 4), shuffle(f, cols, 4);
  for (int i = 0; i < 4; i++) dim[i] = f->dim[rows[i]];
  lt_value gy = input(f, "gy", 4, dim);
  for (int i = 0; i < 4; i++) dim[i] = f->dim[cols[i]];
  lt_value w = input(f, "w", 4, dim);
  memcpy(left_want, image_letters, sizeof image_letters), memcpy(right_want + 1, filter_letters, sizeof filter_letters);
  shuffle(f, left_want, 3), shuffle(f, right_want + 1, 3);
  left_want[3] = right_want[0] = OC;
  lt_value left = arrange(f, gy, 4, rows, left_want, 3), right = arrange(f, w, 4, cols, right_want, 1);
  lt_value p = product(f, left, right, &swapped);
  memcpy(have, swapped ? right_want + 1 : left_want, 3 * sizeof *have),
    memcpy(have + 3, swapped ? left_want : right_want + 1, 3 * sizeof *have);
  lt_value col = spread(f, p, LETTERS, have, matrix ? matrix_letters : all_letters);
  lt_col2im_attrs a = {.input_shape = {4, {f->dim[N], f->dim[C], f->image[0], f->image[1]}},
                       .kernel = f->kernel,
                       .stride = f->stride,
                       .pad = f->pad,
                       .dilation = f->dilation,
                       .to_matrix = matrix};
  if (matrix) col = arrange(f, col, LETTERS, matrix_letters, matrix_letters, 3);
  lt_add_output(f->g, "y", lt_emit(f->g, LT_OP_col2im, &a, &col, 1));
}

static void emit_pool(form *f) {
  bool matrix, mean = draw(f, 2);
  int64_t want[LETTERS] = {N, C, OH, OW, KH, KW}, final[4] = {N, C, OH, OW};
  lt_value col = columns(f, &matrix);
  shuffle(f, want, 4), shuffle(f, final, 4);
  lt_value rows = arrange(f, col, LETTERS, matrix ? matrix_letters : all_letters, want, 4);
  lt_value y = lt_reduce(f->g, mean ? LT_OP_mean : LT_OP_reduce_max, rows, &(lt_ints){1, {1}}, draw(f, 2));
  lt_add_output(f->g, "y", spread(f, y, 4, want, final));
}

static bool is_left(const lt_graph *g, lt_op op) {
  for (uint32_t i = 0; i < g->nodes.n; i++)
    if (g->nodes.at[i]->op == op) return true;
  return false;
}

typedef struct kind { const char *name; void (*emit)(form *); } kind;
static const kind kinds[] = {
  {"conv2d", emit_conv}, {"weights", emit_weights}, {"fold", emit_fold}, {"pool", emit_pool}};

static void run(lt_job *job, void *arg) {
  const kind *k = arg;
  uint64_t at = 0;
  for (int i = 0; i < CASES; i++) {
    form f = {.g = lt_graph_new(job, "n"), .at = &at};
    choose(&f);
    k->emit(&f);
    lt_pass list[] = {LT_PASS_raise, LT_PASS_simplify, LT_PASS_cse};
    lt_graph *now = lt_run_passes(job, f.g, list, 3, &(lt_pass_options){.verify_each = true});
    lt_eval *a = lt_test_eval(job, &f.g->arena, f.g, LT_EVAL_DOUBLE, 1),
            *b = lt_test_eval(job, &now->arena, now, LT_EVAL_DOUBLE, 1);
    double off = lt_test_distance(lt_eval_get(b, now->outputs.at[0].value), lt_eval_get(a, f.g->outputs.at[0].value));
    ck_assert_msg(off < 1e-12, "%s, case %d: %g off", k->name, i, off);
    ck_assert_msg(!is_left(now, LT_OP_im2col) && !is_left(now, LT_OP_col2im), "%s, case %d: not seen", k->name, i);
    lt_graph_drop(job, now), lt_graph_drop(job, f.g);
  }
}

START_TEST(random_forms) {
  lathe_error e;
  ck_assert_msg(lt_protect(&e, run, (void *)(uintptr_t)&kinds[_i]) == LATHE_OK, "%s", e.message);
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

static Suite *raise_forms(void) {
  Suite *s = suite_create("raise");
  TCase *c = tcase_create("raise");
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, random_forms, 0, (int)LT_COUNT(kinds));
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(raise_forms)
