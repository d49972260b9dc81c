/* ops_bits.c: BitShift and BitwiseNot of whole numbers with signs, as arithmetic: a shift is a product, or a quotient
 * that is rounded down, by a power of 2, in steps of 32, 16, … 1 places. */
#include "frontend/onnx/forms.h"

static void check_whole(lt_onnx *c, const lt_type *t) {
  if (t->dtype != LT_I32 && t->dtype != LT_I64)
    lt_ox_refuse(c, "x is %s, should be whole numbers", lt_type_text(c->arena, t));
}

/* -1 - x: all bits turned over */
static lt_value turned_over(lt_onnx *c, lt_value x) { return from(c, LT_OP_sub, -1, x); }

void lt_onnx_bitwise_not(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  check_whole(c, lt_ox_type(c, 0));
  lt_ox_result(c, 0, turned_over(c, x));
}

/* x, which is not negative where it goes right, by `places`, which are fewer than it has. */
static lt_value shifted(lt_onnx *c, lt_value x, lt_value places, int64_t width, bool left) {
  for (int64_t n = width / 2; n >= 1; n /= 2) {
    lt_value has = from(c, LT_OP_less_equal, (double)n, places);
    places = choose(c, has, with(c, LT_OP_sub, places, (double)n), places);
    x = choose(c, has, with(c, left ? LT_OP_mul : LT_OP_div, x, (double)((int64_t)1 << n)), x);
  }
  return x;
}

/* To the right negative numbers stay negative: they are shifted with all bits turned over. By as many places as there
 * are, or less than none, the sign is all that is left. */
void lt_onnx_bit_shift(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), by = lt_ox_in(c, 1);
  lt_type t = lt_ox_of(c, x);
  const char *direction = lt_ox_text(c, "direction", "");
  bool left = !strcmp(direction, "LEFT");
  int64_t width = t.dtype == LT_I64 ? 64 : 32;
  check_whole(c, &t);
  if (!left && strcmp(direction, "RIGHT")) lt_ox_refuse(c, "direction=%.40s is unknown", direction);
  lt_value fits = both(c, from(c, LT_OP_less_equal, 0, by), with(c, LT_OP_less, by, (double)width));
  lt_value none = lt_ox_number(c, by, 0), places = choose(c, fits, by, none);
  lt_value below = left ? 0 : with(c, LT_OP_less, x, 0), size = left ? x : choose(c, below, turned_over(c, x), x);
  lt_value y = choose(c, fits, shifted(c, size, places, width, left), none);
  lt_ox_result(c, 0, left ? y : choose(c, below, turned_over(c, y), y));
}
