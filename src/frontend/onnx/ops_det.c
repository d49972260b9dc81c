/* ops_det.c: Det, the determinants of a batch of matrices. Four rows and fewer are expanded into products, which
 * differentiate as the polynomial that they are. What is larger loses a row and a column at a time by elimination,
 * round the largest element that is left: then nothing is divided by 0 but where all that is left is 0, and a matrix
 * that lacks one rank, whose determinant is 0, still has the gradient that it has. */
#include "frontend/onnx/forms.h"

enum { EXPANDED = 4, MOST_ROWS = 64, MOST_SETS = 6 }; /* sets: of 2 columns out of 4 */

/* ---- expansion --------------------------------------------------------------------------------------------------- */

/* The sets of k columns out of n, as bits; how many they are. */
static unsigned sets_of(unsigned n, unsigned k, unsigned *out) {
  unsigned count = 0;
  for (unsigned s = 0; s < 1u << n; s++)
    if ((unsigned)__builtin_popcount(s) == k) out[count++] = s;
  return count;
}

static int64_t place_in(const unsigned *sets, unsigned wanted) {
  int64_t i = 0;
  while (sets[i] != wanted) i++;
  return i;
}

/* Minors of k rows, one for each set of columns, [B, sets], from those of k - 1 rows: expanded along row k - 1. */
static lt_value next_minors(lt_onnx *c, lt_value row, lt_value minors, unsigned n, unsigned k) {
  unsigned now[MOST_SETS], before[MOST_SETS], count = sets_of(n, k, now);
  int64_t column[MOST_SETS * EXPANDED], rest[MOST_SETS * EXPANDED], sign[MOST_SETS * EXPANDED], all = 0;
  int64_t batch = lt_ox_of(c, row).dim[0];
  sets_of(n, k - 1, before);
  for (unsigned s = 0; s < count; s++)
    for (unsigned i = 0, j = 0; i < n; i++) {
      if (!(now[s] >> i & 1)) continue;
      column[all] = i, rest[all] = place_in(before, now[s] & ~(1u << i));
      sign[all++] = (k - 1 + j++) % 2 ? -1 : 1;
    }
  lt_value signs = lt_cast(c->g, lt_ox_ints_const(c, LT_I32, 2, (int64_t[]){1, all}, sign), lt_ox_of(c, row).dtype);
  lt_value a = lt_ox_binary(c, LT_OP_mul, lt_ox_take(c, row, 1, column, all), signs);
  lt_value y = lt_ox_binary(c, LT_OP_mul, a, lt_ox_take(c, minors, 1, rest, all));
  y = lt_ox_reshape(c, y, 3, (int64_t[]){batch, count, k});
  return lt_ox_reduce(c, LT_OP_sum, y, &(lt_ints){1, {2}}, false);
}

static lt_value row_of(lt_onnx *c, lt_value x, int64_t i) {
  lt_type t = lt_ox_of(c, x);
  return lt_ox_reshape(c, lt_ox_slice(c, x, 1, i, i + 1), 2, (int64_t[]){t.dim[0], t.dim[2]});
}

/* x [B, n, n], n at most EXPANDED: [B, 1] */
static lt_value expanded(lt_onnx *c, lt_value x, unsigned n) {
  lt_value minors = row_of(c, x, 0);
  for (unsigned k = 2; k <= n; k++) minors = next_minors(c, row_of(c, x, k - 1), minors, n, k);
  return minors;
}

/* ---- elimination ------------------------------------------------------------------------------------------------- */

/* x with index `first`, [B, 1], of an axis of n before all others. */
static lt_value moved_first(lt_onnx *c, lt_value x, lt_value first, int64_t axis) {
  lt_type t = lt_ox_of(c, x), all = lt_make_type(LT_I32, 3, t.dim);
  int64_t n = t.dim[axis], dim[3] = {t.dim[0], axis == 1 ? n : 1, axis == 1 ? 1 : n};
  lt_value before = with(c, LT_OP_sub, iota(c, LT_I32, n, 2, 1), 1);
  lt_value others =
    lt_ox_binary(c, LT_OP_add, before, lt_cast(c->g, lt_ox_binary(c, LT_OP_less_equal, first, before), LT_I32));
  lt_value at = choose(c, with(c, LT_OP_less, before, 0), first, others);
  return lt_ox_pick(c, LT_OP_gather, x, axis, lt_broadcast_to(c->g, lt_ox_reshape(c, at, 3, dim), &all));
}

/* The largest element of x [B, n, n] comes to the first place: `factor`, [B, 1], is it with the sign that this takes;
 * the rest without what its row and column are of it, [B, n - 1, n - 1]. */
static lt_value eliminated(lt_onnx *c, lt_value x, int64_t n, lt_value *factor) {
  lt_argmax_attrs a = {.axis = 1};
  int64_t batch = lt_ox_of(c, x).dim[0], one[2] = {batch, 1};
  lt_value size = lt_ox_reshape(c, un(c, LT_OP_abs, x), 2, (int64_t[]){batch, n * n});
  lt_value at = lt_emit(c->g, LT_OP_argmax, &a, &size, 1), row = with(c, LT_OP_div, at, (double)n);
  lt_value column = lt_ox_binary(c, LT_OP_sub, at, with(c, LT_OP_mul, row, (double)n));
  x = moved_first(c, moved_first(c, x, row, 1), column, 2);
  lt_value top = lt_ox_slice(c, x, 1, 0, 1), below = lt_ox_slice(c, x, 1, 1, n);
  lt_value pivot = lt_ox_slice(c, top, 2, 0, 1), left = lt_ox_slice(c, below, 2, 0, 1);
  lt_value divisor = choose(c, with(c, LT_OP_equal, pivot, 0), lt_ox_number(c, pivot, 1), pivot);
  lt_value share = lt_ox_binary(c, LT_OP_div, lt_ox_slice(c, top, 2, 1, n), divisor);
  lt_value steps = lt_ox_binary(c, LT_OP_add, row, column), pairs = with(c, LT_OP_mul, with(c, LT_OP_div, steps, 2), 2);
  lt_value even = lt_ox_binary(c, LT_OP_equal, steps, pairs);
  pivot = lt_ox_reshape(c, pivot, 2, one);
  *factor = choose(c, even, pivot, un(c, LT_OP_neg, pivot));
  return lt_ox_binary(c, LT_OP_sub, lt_ox_slice(c, below, 2, 1, n), lt_ox_binary(c, LT_OP_mul, left, share));
}

void lt_onnx_det(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), y = 0, factor;
  lt_type t = lt_ox_of(c, x);
  int64_t n = t.rank < 2 ? 0 : t.dim[t.rank - 1];
  if (t.rank < 2 || t.dim[t.rank - 2] != n || !lt_is_float(t.dtype))
    lt_ox_refuse(c, "x is %s, should be square matrices of floats", lt_type_text(c->arena, &t));
  if (n > MOST_ROWS)
    lt_ox_refuse(c, "x is %s; matrices of up to %d rows are read", lt_type_text(c->arena, &t), (int)MOST_ROWS);
  x = lt_ox_reshape(c, x, 3, (int64_t[]){lt_type_count(&t) / (n * n), n, n});
  for (; n > EXPANDED; n--) {
    x = eliminated(c, x, n, &factor);
    y = y ? lt_ox_binary(c, LT_OP_mul, y, factor) : factor;
  }
  lt_value rest = expanded(c, x, (unsigned)n);
  lt_ox_result(c, 0, lt_ox_reshape(c, y ? lt_ox_binary(c, LT_OP_mul, y, rest) : rest, t.rank - 2u, t.dim));
}
