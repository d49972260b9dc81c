/* rules_shape.c: calls of ops that move elements: shapes, orders of axes, pieces put together and cut out. */
#include "maker.h"

static unsigned pick_any(maker *m, int min_rank) {
  unsigned v = pick_value(m, &(want){.dtypes = chance(m, 10) ? ANY_DTYPE : 0, .min_rank = min_rank, .max_rank = 6});
  return v ? v : pick_image(m);
}

/* Another value's shape if it has as many elements, else neighbours put together or cut, and the axis of 1 here or
 * there. */
bool rule_reshape(maker *m) {
  unsigned x = pick_any(m, 0);
  if (!x) return false;
  const lt_type t = *type_of(m, x);
  int64_t d[LT_MAX_RANK], count = lt_type_count(&t);
  unsigned n = 0;
  for (unsigned i = 0; i < t.rank && n < 5; i++) {
    int64_t k = pick_divisor(m, t.dim[i]);
    if (n && chance(m, 35)) d[n - 1] *= t.dim[i];
    else if (chance(m, 25)) d[n++] = t.dim[i] / k, d[n++] = k;
    else d[n++] = t.dim[i];
    if (i + 1 < t.rank && n >= 5)
      for (i++; i < t.rank; i++) d[n - 1] *= t.dim[i];
  }
  if (n < 4 && (!n || chance(m, 15))) d[n++] = 1;
  if (n && chance(m, 20)) count = -1, d[pick(m, n)] = -1;
  ht_statement *s = begin(m, HT_OP, "reshape", 1, &x);
  if (s) put_list(s, "shape", d, n);
  return count && finish(m, s);
}

bool rule_transpose(maker *m) {
  unsigned x = pick_any(m, 2);
  if (!x) return false;
  int64_t perm[LT_MAX_RANK];
  unsigned rank = type_of(m, x)->rank;
  for (unsigned i = 0; i < rank; i++) {
    unsigned j = (unsigned)pick(m, i + 1);
    perm[i] = perm[j], perm[j] = i;
  }
  ht_statement *s = begin(m, HT_OP, "transpose", 1, &x);
  if (s && chance(m, 85)) put_list(s, "perm", perm, rank);
  return finish(m, s);
}

bool rule_broadcast_to(maker *m) {
  unsigned x = pick_any(m, 0);
  if (!x) return false;
  lt_type t = *type_of(m, x);
  int64_t d[LT_MAX_RANK];
  unsigned n = 0;
  if (t.rank < 5 && chance(m, 40)) d[n++] = 1 + pick(m, 3);
  for (unsigned i = 0; i < t.rank; i++) d[n++] = t.dim[i] == 1 && chance(m, 70) ? 1 + pick(m, 17) : t.dim[i];
  t = lt_make_type(t.dtype, n, d);
  if (lt_type_count(&t) > MOST_ELEMENTS) return false;
  ht_statement *s = begin(m, HT_OP, "broadcast_to", 1, &x);
  if (s) put_list(s, "shape", d, n);
  return finish(m, s);
}

bool rule_concat(maker *m) {
  unsigned in[5] = {pick_any(m, 1)}, n = 1 + (unsigned)pick(m, 4);
  if (!in[0]) return false;
  const lt_type t = *type_of(m, in[0]);
  if (!t.rank) return false;
  int64_t axis = t.rank > 1 && chance(m, 60) ? 1 : pick_axis(m, t.rank), at = axis < 0 ? axis + t.rank : axis;
  if (lt_type_count(&t) * (n + 1) > 2 * MOST_ELEMENTS) return false;
  for (unsigned k = 1; k <= n; k++) {
    in[k] = 0;
    for (int i = 0; i < 5 && !in[k]; i++) {
      unsigned v = pick_value(m, &(want){.dtypes = 1u << t.dtype, .min_rank = t.rank, .max_rank = t.rank});
      if (!v) break;
      lt_type u = *type_of(m, v);
      u.dim[at] = t.dim[at];
      if (lt_type_eq(&u, &t)) in[k] = v;
    }
    if (!in[k]) in[k] = in[0];
  }
  ht_statement *s = begin(m, HT_OP, "concat", n + 1, in);
  if (axis != 1) put_attr(s, "axis", "%lld", (long long)axis);
  return finish(m, s);
}

bool rule_slice(maker *m) {
  unsigned x = pick_any(m, 1), n = 0;
  if (!x) return false;
  const lt_type t = *type_of(m, x);
  if (!t.rank) return false;
  bool first = chance(m, 30);
  int64_t axes[LT_MAX_RANK], starts[LT_MAX_RANK], ends[LT_MAX_RANK];
  for (unsigned i = 0; i < t.rank; i++) {
    if (!first && !chance(m, 45)) continue;
    int64_t a = chance(m, 40) ? 0 : pick(m, t.dim[i]), e = a + 1 + pick(m, t.dim[i] - a);
    axes[n] = chance(m, 20) ? (int64_t)i - t.rank : i;
    starts[n] = a && chance(m, 20) ? a - t.dim[i] : a;
    ends[n++] = e == t.dim[i] ? e + (chance(m, 20) ? 100 : 0) : chance(m, 20) ? e - t.dim[i] : e;
    if (first && chance(m, 40)) break;
  }
  if (!n) return false;
  ht_statement *s = begin(m, HT_OP, "slice", 1, &x);
  if (s && !first) put_list(s, "axes", axes, n);
  if (s) put_list(s, "starts", starts, n), put_list(s, "ends", ends, n);
  return finish(m, s);
}

bool rule_pad(maker *m) {
  unsigned x = pick_value(m, &(want){.dtypes = chance(m, 10) ? WHOLE : 0, .min_rank = 1, .max_rank = 5});
  if (!x) return false;
  lt_type t = *type_of(m, x);
  int64_t pads[2 * LT_MAX_RANK];
  for (unsigned i = 0; i < 2u * t.rank; i++) pads[i] = chance(m, 40) ? pick(m, 3) : 0, t.dim[i % t.rank] += pads[i];
  if (lt_type_count(&t) > MOST_ELEMENTS) return false;
  ht_statement *s = begin(m, HT_OP, "pad", 1, &x);
  if (s) put_list(s, "pads", pads, 2u * t.rank);
  if (chance(m, 50)) put_attr(s, "value", lt_is_float(t.dtype) ? "0.5" : "2.0");
  return finish(m, s);
}

bool rule_flatten(maker *m) {
  unsigned x = pick_any(m, 1);
  return x && type_of(m, x)->rank && unary(m, "flatten", x);
}
