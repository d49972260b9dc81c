/* nets_parts.c: networks of parts (hunt --parts): images put together and cut, as Inception, DenseNet, ShuffleNet and
 * their like have them, and otherwise: along any axis, in whole blocks of channels or not, a part read by others too,
 * standing twice, or being an output. */
#include "maker.h"

static int64_t dim_of(const maker *m, unsigned x, unsigned i) { return type_of(m, x)->dim[i]; }

/* Whole blocks of 16 mostly. */
static int64_t width(maker *m) { return chance(m, 75) ? 16 * (1 + pick(m, 2)) : 1 + pick(m, 40); }

static unsigned concat(maker *m, unsigned n, const unsigned *in, int64_t axis) {
  int64_t all = 0;
  for (unsigned i = 0; i < n; i++) {
    if (!in[i]) return 0;
    all += lt_type_count(type_of(m, in[i]));
  }
  if (all > 2 * MOST_ELEMENTS) return 0;
  ht_statement *s = begin(m, HT_OP, "concat", n, in);
  if (axis != 1) put_attr(s, "axis", "%lld", (long long)axis);
  return finish(m, s);
}

static unsigned cut(maker *m, unsigned x, int64_t axis, int64_t from, int64_t to) {
  ht_statement *s = begin(m, HT_OP, "slice", 1, &x);
  if (s) put_list(s, "axes", &axis, 1), put_list(s, "starts", &from, 1), put_list(s, "ends", &to, 1);
  return finish(m, s);
}

static unsigned same_pool(maker *m, unsigned x) {
  ht_statement *s = begin(m, HT_OP, chance(m, 60) ? "max_pool" : "avg_pool", 1, &x);
  put_attr(s, "kernel", "3"), put_attr(s, "stride", "1"), put_attr(s, "pad", "1");
  return finish(m, s);
}

/* A range of the axis: of channels in whole blocks mostly. */
static unsigned some_of(maker *m, unsigned x, int64_t axis) {
  const int64_t n = dim_of(m, x, (unsigned)axis), unit = axis == 1 && chance(m, 75) ? 16 : 1;
  const int64_t units = (n + unit - 1) / unit, from = pick(m, units), to = (from + 1 + pick(m, units - from)) * unit;
  return cut(m, x, axis, from * unit, to < n ? to : n);
}

/* Something of the planes of x. */
static unsigned branch(maker *m, unsigned x) {
  switch (pick(m, 9)) {
  case 0: return x;
  case 1: return net_conv(m, x, width(m), 1, 1, 1);
  case 2: return net_act(m, net_norm(m, net_conv(m, x, width(m), 3, 1, 1)));
  case 3: return net_act(m, net_conv(m, net_act(m, net_conv(m, x, width(m), 1, 1, 1)), width(m), 3, 1, 1));
  case 4: return net_conv(m, same_pool(m, x), width(m), 1, 1, 1);
  case 5: return same_pool(m, x);
  case 6: return some_of(m, x, 1);
  case 7: return net_act(m, x);
  default: return net_conv(m, x, dim_of(m, x, 1), 3, 1, dim_of(m, x, 1));
  }
}

static unsigned inception(maker *m, unsigned x) {
  unsigned in[5], n = 2 + (unsigned)pick(m, 3);
  for (unsigned i = 0; i < n; i++) in[i] = i && chance(m, 8) ? in[pick(m, i)] : branch(m, x);
  if (chance(m, 20) && in[0] && in[1]) in[1] = concat(m, 2, in, 1), in[0] = in[n - 1];
  unsigned y = concat(m, n, in, 1);
  return chance(m, 40) ? net_act(m, net_norm(m, y)) : y;
}

/* Each layer reads all before it: put together anew, or what was before and one more. */
static unsigned dense(maker *m, unsigned x) {
  unsigned in[4] = {x}, n = 1, y = x;
  const bool anew = chance(m, 50);
  for (int64_t layers = 1 + pick(m, 3); layers > 0; layers--) {
    unsigned h = net_act(m, net_norm(m, y));
    if (chance(m, 50)) h = net_act(m, net_norm(m, net_conv(m, h, width(m), 1, 1, 1)));
    in[n++] = net_conv(m, h, width(m), chance(m, 70) ? 3 : 1, 1, 1);
    y = anew ? concat(m, n, in, 1) : concat(m, 2, (unsigned[]){y, in[n - 1]}, 1);
    if (!y) return 0;
  }
  return y;
}

/* Channels parted, some of the parts changed, and put together in another order. */
static unsigned parted(maker *m, unsigned x) {
  const int64_t c = dim_of(m, x, 1), unit = chance(m, 80) ? 16 : 1, n = 2 + pick(m, 2);
  unsigned in[3];
  int64_t at = 0;
  if (c < n * unit) return inception(m, x);
  for (int64_t i = 0; i < n; i++) {
    const int64_t most = c / unit - at / unit - (n - 1 - i), to = i == n - 1 ? c : at + (1 + pick(m, most)) * unit;
    const unsigned part = cut(m, x, 1, at, to);
    in[i] = part && chance(m, 70) ? branch(m, part) : part;
    at = to;
  }
  if (chance(m, 50)) {
    const unsigned first = in[0];
    in[0] = in[n - 1], in[n - 1] = first;
  }
  unsigned y = concat(m, (unsigned)n, in, 1);
  return y && dim_of(m, y, 1) == c && chance(m, 30) ? binary(m, "add", y, x) : y;
}

/* Along any axis, with what is left of x. */
static unsigned along(maker *m, unsigned x) {
  const int64_t axis = pick(m, 4), c = axis == 1 ? width(m) : dim_of(m, x, 1);
  unsigned y = net_conv(m, x, c, 1 + 2 * pick(m, 2), 1, 1), in[2] = {some_of(m, x, axis), y};
  if (chance(m, 30)) return y ? concat(m, 2, (unsigned[]){y, x}, axis) : 0;
  return chance(m, 50) ? net_conv(m, in[0], width(m), 3, 1, 1) : concat(m, 2, in, axis);
}

void make_parts(maker *m, unsigned *x) {
  static unsigned (*const all[])(maker *, unsigned) = {inception, inception, dense, dense, parted, parted, along};
  unsigned y = type_of(m, *x)->rank == 4 ? PICK(m, all)(m, *x) : 0;
  if (y && lt_type_count(type_of(m, y)) <= 2 * MOST_ELEMENTS) *x = y;
}

unsigned start_of_parts(maker *m) {
  static const int64_t sizes[] = {1, 2, 4, 5, 7, 8, 13};
  int64_t n = 1 + pick(m, 3), c = chance(m, 40) ? 1 + pick(m, 20) : 16 * (1 + pick(m, 3)), h = PICK(m, sizes);
  while (n * c * h * h > 3000 && n > 1) n--;
  while (n * c * h * h > 3000) h = h / 2 + 1, c = 1 + c / 2;
  const lt_type t = lt_make_type(m->dtype, 4, (int64_t[]){n, c, h, chance(m, 60) ? h : 1 + h / 2});
  const unsigned x = make_leaf(m, HT_INPUT, t, NULL);
  return chance(m, 60) ? net_act(m, net_conv(m, x, width(m), 3, 1, 1)) : x;
}
