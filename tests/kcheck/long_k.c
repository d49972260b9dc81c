/* long_k.c: contractions over more steps than a run has (plan.h): just as many, one more or less, several segments, a
 * shorter last run, a cut inside a row; small planes of several images, which tiles go across. Every product and sum is
 * exact here, so that each step counts once; which run it is in shows in tests/unit/contract.c. */
#include "kcheck.h"

typedef enum what { CONV, GRAD_INPUT, GRAD_WEIGHT, MATMUL } what;

/* Images [n, c, h, w] and windows [oc, c, k, k] without pads; a product [h, c]·[c, w]. */
static const struct row { what what; int64_t n, c, h, w, oc, k, stride; } rows[] = {
  {CONV, 1, 528, 2, 3, 20, 1, 1},        {CONV, 1, 147, 2, 2, 17, 1, 1},       {CONV, 2, 148, 1, 3, 16, 1, 1},
  {CONV, 1, 40, 5, 4, 18, 3, 1},         {CONV, 1, 16, 7, 9, 16, 7, 1},        {CONV, 1, 18, 8, 7, 5, 7, 1},
  {CONV, 1, 3, 9, 9, 16, 7, 1},          {CONV, 1, 96, 5, 5, 16, 5, 1},        {CONV, 1, 512, 4, 3, 16, 3, 2},
  {GRAD_INPUT, 1, 20, 2, 3, 528, 1, 1},  {GRAD_INPUT, 1, 5, 5, 6, 40, 3, 2},   {GRAD_INPUT, 1, 16, 7, 7, 33, 5, 1},
  {GRAD_WEIGHT, 1, 3, 1, 700, 17, 1, 1}, {GRAD_WEIGHT, 1, 2, 4, 702, 4, 3, 1}, {GRAD_WEIGHT, 1, 17, 30, 40, 3, 1, 1},
  {CONV, 3, 300, 6, 4, 64, 2, 1},        {CONV, 9, 180, 2, 5, 48, 1, 1},       {GRAD_INPUT, 8, 64, 4, 4, 150, 2, 2},
  {GRAD_WEIGHT, 3, 2, 16, 18, 16, 3, 1}, {GRAD_WEIGHT, 5, 1, 7, 7, 20, 1, 1},  {GRAD_WEIGHT, 1, 2, 147, 1, 5, 1, 1},
  {MATMUL, 1, 146, 3, 18, 0, 0, 0},      {MATMUL, 1, 147, 2, 5, 0, 0, 0},      {MATMUL, 1, 148, 3, 16, 0, 0, 0},
  {MATMUL, 1, 511, 1, 16, 0, 0, 0},      {MATMUL, 1, 512, 2, 40, 0, 0, 0},     {MATMUL, 1, 513, 7, 3, 0, 0, 0},
  {MATMUL, 1, 1025, 5, 33, 0, 0, 0},     {MATMUL, 1, 10007, 2, 17, 0, 0, 0}};
enum { ROWS = sizeof rows / sizeof *rows };
_Static_assert(2 * ROWS == KC_LONG_K, "each in f32 and in f64");

static int64_t windows(int64_t size, const struct row *r) { return (size - r->k) / r->stride + 1; }

static lt_value build(lt_graph *g, const struct row *r, lt_dtype t) {
  const int64_t image[] = {r->n, r->c, r->h, r->w}, kernel[] = {r->oc, r->c, r->k, r->k};
  if (r->what == MATMUL) {
    lt_value a = kc_leaf(g, "q", false, t, 2, (int64_t[]){r->h, r->c});
    lt_value b = kc_leaf(g, "q", r->w > 3, t, 2, (int64_t[]){r->c, r->w});
    return lt_emit(g, LT_OP_matmul, &(lt_matmul_attrs){0}, (lt_value[]){a, b}, 2);
  }
  const int64_t window[] = {r->n, r->oc, windows(r->h, r), windows(r->w, r)};
  const lt_pair stride = {{r->stride, r->stride}}, one = {{1, 1}};
  const int64_t *first = r->what == GRAD_INPUT ? window : image, *second = r->what == GRAD_WEIGHT ? window : kernel;
  lt_value v[2] = {kc_leaf(g, "q", false, t, 4, first), 0};
  v[1] = kc_leaf(g, "q", r->what != GRAD_WEIGHT, t, 4, second);
  if (r->what == CONV)
    return lt_emit(g, LT_OP_conv2d, &(lt_conv2d_attrs){.stride = stride, .dilation = one, .groups = 1}, v, 2);
  if (r->what == GRAD_INPUT)
    return lt_emit(
      g, LT_OP_conv2d_grad_input,
      &(lt_conv2d_grad_input_attrs){.size = {{r->h, r->w}}, .stride = stride, .dilation = one, .groups = 1}, v, 2);
  return lt_emit(
    g, LT_OP_conv2d_grad_weight,
    &(lt_conv2d_grad_weight_attrs){.kernel = {{r->k, r->k}}, .stride = stride, .dilation = one, .groups = 1}, v, 2);
}

void kc_build_long_k(lt_graph *g, kc_case *c) {
  lt_value y = build(g, &rows[c->number % ROWS], c->number / ROWS % 2 ? LT_F64 : LT_F32);
  lt_add_output(g, "y", c->number % 3 ? y : lt_unary(g, LT_OP_relu, y));
}
