/* simplify.c: rewriting by local identities. Each op is emitted through simple(), which looks at the op, its attributes
 * and its operands (already simplified) and tries the rules of that op in order; a rule gives a value that stands for
 * the result, of the same type, or 0. What a rule emits goes through simple() again, so one pass reaches the end.
 *
 * Rules keep the bits of every result: x + 0.0 stays (it turns -0.0 into 0.0), x * 0 stays (NaN, infinity). One
 * exception is as exact as what it replaces but not the same: pow(x, 2) is x * x. */
#include "ir/pass/pass_util.h"
#include "ir/pass/view.h"

static lt_value simple(lt_graph *g, lt_op op, const void *attrs, const lt_value *in, unsigned n_in);

/* What a rule looks at. */
typedef struct lt_try { lt_graph *g; lt_op op; const void *attrs; const lt_value *in; unsigned n_in; } lt_try;
typedef lt_value (*lt_rule)(const lt_try *t);

static lt_value emit1(const lt_try *t, lt_op op, lt_value x) { return simple(t->g, op, NULL, &x, 1); }
static lt_value emit2(const lt_try *t, lt_op op, lt_value a, lt_value b) {
  return simple(t->g, op, NULL, (lt_value[]){a, b}, 2);
}
static const lt_type *type(const lt_try *t, unsigned i) { return lt_type_of(t->g, t->in[i]); }
static const lt_node *made_by(const lt_try *t, unsigned i, lt_op op) {
  const lt_node *n = lt_node_of(t->g, t->in[i]);
  return n->op == op ? n : NULL;
}
static bool is_splat(const lt_try *t, unsigned i, double v) {
  double x;
  return lt_splat_of(t->g, t->in[i], &x) && memcmp(&x, &v, sizeof v) == 0;
}
/* Does operand `keep` have the shape of both broadcast together? */
static bool whole(const lt_try *t, unsigned keep) {
  lt_type y;
  return lt_broadcast(&y, type(t, 0), type(t, 1)) && lt_type_eq(&y, type(t, keep));
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

/* The other operand, when operand i is v everywhere and adds nothing to the shape. */
static lt_value neutral(const lt_try *t, unsigned i, double v) {
  return is_splat(t, i, v) && whole(t, !i) ? t->in[!i] : 0;
}

static lt_value add_rule(const lt_try *t) {
  double zero = lt_is_float(type(t, 0)->dtype) ? -0.0 : 0.0;
  for (unsigned i = 0; i < 2; i++) {
    lt_value y = neutral(t, i, zero);
    if (y) return y;
    const lt_node *n = made_by(t, i, LT_OP_neg);
    if (n) return emit2(t, LT_OP_sub, t->in[!i], n->in[0]);
  }
  return 0;
}

static lt_value sub_rule(const lt_try *t) {
  lt_value y = neutral(t, 1, 0.0);
  const lt_node *n = made_by(t, 1, LT_OP_neg);
  return y ? y : n ? emit2(t, LT_OP_add, t->in[0], n->in[0]) : 0;
}

static lt_value mul_rule(const lt_try *t) {
  for (unsigned i = 0; i < 2; i++) {
    lt_value y = neutral(t, i, 1.0);
    if (y) return y;
    if (is_splat(t, i, -1.0) && whole(t, !i)) return emit1(t, LT_OP_neg, t->in[!i]);
  }
  const lt_node *a = made_by(t, 0, LT_OP_neg), *b = made_by(t, 1, LT_OP_neg);
  return a && b ? emit2(t, LT_OP_mul, a->in[0], b->in[0]) : 0;
}

static lt_value div_rule(const lt_try *t) {
  lt_value y = neutral(t, 1, 1.0);
  if (y) return y;
  if (is_splat(t, 1, -1.0) && whole(t, 0)) return emit1(t, LT_OP_neg, t->in[0]);
  const lt_node *a = made_by(t, 0, LT_OP_neg), *b = made_by(t, 1, LT_OP_neg);
  return a && b ? emit2(t, LT_OP_div, a->in[0], b->in[0]) : 0;
}

static lt_value pow_rule(const lt_try *t) {
  lt_value y = neutral(t, 1, 1.0);
  if (y) return y;
  return is_splat(t, 1, 2.0) && whole(t, 0) ? emit2(t, LT_OP_mul, t->in[0], t->in[0]) : 0;
}

static lt_value same_rule(const lt_try *t) { return t->in[0] == t->in[1] ? t->in[0] : 0; } /* max(x, x), min(x, x) */

static lt_value neg_rule(const lt_try *t) {
  const lt_node *n = made_by(t, 0, LT_OP_neg);
  return n ? n->in[0] : 0;
}

static lt_value abs_rule(const lt_try *t) {
  const lt_node *n = made_by(t, 0, LT_OP_neg);
  if (n) return emit1(t, LT_OP_abs, n->in[0]);
  return made_by(t, 0, LT_OP_abs) ? t->in[0] : 0;
}

static lt_value again_rule(const lt_try *t) { return made_by(t, 0, t->op) ? t->in[0] : 0; } /* relu(relu(x)), sign */

static lt_value clip_rule(const lt_try *t) {
  const lt_clip_attrs *a = t->attrs;
  const lt_node *n = made_by(t, 0, LT_OP_clip);
  return n && lt_attrs_eq(LT_OP_clip, a, n->attrs) ? t->in[0] : 0;
}

static lt_value select_rule(const lt_try *t) {
  double c;
  lt_type y;
  if (!lt_broadcast(&y, type(t, 1), type(t, 2)) || !lt_broadcast(&y, &y, type(t, 0))) return 0;
  unsigned keep = t->in[1] == t->in[2] ? 1 : lt_splat_of(t->g, t->in[0], &c) ? (c != 0 ? 1 : 2) : 0;
  return keep && lt_type_eq(&y, type(t, keep)) ? t->in[keep] : 0;
}

static lt_value cast_rule(const lt_try *t) {
  return (int64_t)type(t, 0)->dtype == ((const lt_cast_attrs *)t->attrs)->dtype ? t->in[0] : 0;
}

/* ---- broadcasts: done as late as can be -------------------------------------------------------------------------- */

/* An elementwise op repeats its operands by itself: f(broadcast(a), b) is f(a, b), repeated when that is not whole. */
static lt_value map_rule(const lt_try *t) {
  lt_value in[3] = {0};
  lt_type whole_shape = *type(t, 0), shape = {0};
  bool found = false;
  for (unsigned i = 0; i < t->n_in; i++) {
    const lt_node *n = made_by(t, i, LT_OP_broadcast_to);
    found |= n != NULL;
    in[i] = n ? n->in[0] : t->in[i];
    const lt_type *small = lt_type_of(t->g, in[i]);
    if (i == 0) shape = *small;
    if (!lt_broadcast(&shape, &shape, small) || !lt_broadcast(&whole_shape, &whole_shape, type(t, i))) return 0;
  }
  return found ? lt_broadcast_to(t->g, simple(t->g, t->op, t->attrs, in, t->n_in), &whole_shape) : 0;
}

static lt_value broadcast_rule(const lt_try *t) {
  const lt_broadcast_to_attrs *a = t->attrs;
  lt_type to = lt_make_type(type(t, 0)->dtype, (unsigned)a->shape.n, a->shape.v);
  if (lt_type_eq(&to, type(t, 0))) return t->in[0];
  const lt_node *n = made_by(t, 0, LT_OP_broadcast_to);
  return n ? simple(t->g, LT_OP_broadcast_to, a, n->in, 1) : 0;
}

/* The value that, repeated to `shape`, is x moved there: x repeats one scalar. 0: it does not. */
static lt_value repeated(const lt_try *t, const lt_type *shape) {
  const lt_node *n = made_by(t, 0, LT_OP_broadcast_to);
  if (!n || lt_type_count(lt_type_of(t->g, n->in[0])) != 1) return 0;
  lt_value scalar = lt_reshape(t->g, n->in[0], 0, NULL);
  return lt_broadcast_to(t->g, scalar, shape);
}

/* ---- movement ---------------------------------------------------------------------------------------------------- */

/* A chain of movement in fewer steps, where there are fewer. */
static lt_value shorter(const lt_try *t, const lt_view *v) {
  return lt_view_fits(v) && lt_view_cost(t->g, v) <= v->steps ? lt_view_emit(t->g, v) : 0;
}

static lt_value reshape_rule(const lt_try *t) {
  const lt_reshape_attrs *a = t->attrs;
  for (int64_t i = 0; i < a->shape.n; i++)
    if (a->shape.v[i] < 1) return 0; /* -1 is resolved when emitted */
  lt_type to = lt_make_type(type(t, 0)->dtype, (unsigned)a->shape.n, a->shape.v);
  if (lt_type_eq(&to, type(t, 0))) return t->in[0];
  const lt_node *n = made_by(t, 0, LT_OP_reshape);
  if (n) return simple(t->g, LT_OP_reshape, a, n->in, 1);
  lt_value y = repeated(t, &to);
  lt_view v;
  if (y || !made_by(t, 0, LT_OP_transpose)) return y;
  lt_view_of(&v, t->g, t->in[0]);
  return lt_view_reshape(&v, to.rank, to.dim) ? shorter(t, &v) : 0;
}

/* Axes longer than 1 keep their order: nothing moves. */
static bool moves_nothing(const lt_type *x, const lt_ints *perm) {
  int64_t last = -1;
  for (int64_t i = 0; i < perm->n; i++) {
    if (x->dim[perm->v[i]] == 1) continue;
    if (perm->v[i] < last) return false;
    last = perm->v[i];
  }
  return true;
}

static lt_value transpose_rule(const lt_try *t) {
  const lt_transpose_attrs *a = t->attrs;
  const lt_type x = *type(t, 0);
  if (a->perm.n != x.rank) return 0; /* the default is resolved when emitted */
  lt_reshape_attrs shape = {.shape = {.n = x.rank}};
  for (int64_t i = 0; i < a->perm.n; i++) shape.shape.v[i] = x.dim[a->perm.v[i]];
  lt_type to = lt_make_type(x.dtype, x.rank, shape.shape.v);
  lt_value y = repeated(t, &to);
  if (y) return y;
  if (moves_nothing(&x, &a->perm)) return simple(t->g, LT_OP_reshape, &shape, t->in, 1);
  lt_view v;
  lt_view_of(&v, t->g, t->in[0]);
  lt_view_transpose(&v, a->perm.v);
  return v.steps ? shorter(t, &v) : 0;
}

/* [from, to) of every axis. */
typedef struct lt_range { int64_t from[LT_MAX_RANK], to[LT_MAX_RANK]; } lt_range;
static lt_range range_of(const lt_type *x, const lt_slice_attrs *a) {
  lt_range r = {{0}, {0}};
  for (unsigned i = 0; i < x->rank; i++) r.to[i] = x->dim[i];
  for (int64_t i = 0; i < a->axes.n; i++) r.from[a->axes.v[i]] = a->starts.v[i], r.to[a->axes.v[i]] = a->ends.v[i];
  return r;
}
static lt_value emit_range(const lt_try *t, lt_value x, const lt_range *r) {
  unsigned rank = lt_type_of(t->g, x)->rank;
  lt_slice_attrs a = {.axes = {.n = rank}, .starts = {.n = rank}, .ends = {.n = rank}};
  for (unsigned i = 0; i < rank; i++) a.axes.v[i] = i, a.starts.v[i] = r->from[i], a.ends.v[i] = r->to[i];
  return simple(t->g, LT_OP_slice, &a, &x, 1);
}

/* A slice along the axis of a concat that stays inside one of the parts. */
static lt_value part_of(const lt_try *t, const lt_node *n, const lt_range *r) {
  int64_t axis = ((const lt_concat_attrs *)n->attrs)->axis, at = 0;
  for (unsigned i = 0; i < n->n_in; i++) {
    int64_t extent = lt_type_of(t->g, n->in[i])->dim[axis];
    if (r->from[axis] >= at && r->to[axis] <= at + extent) {
      lt_range inner = *r;
      inner.from[axis] -= at, inner.to[axis] -= at;
      return emit_range(t, n->in[i], &inner);
    }
    at += extent;
  }
  return 0;
}

/* A slice of a padded value that leaves only what was there before. */
static lt_value inside_pad(const lt_try *t, const lt_node *n, const lt_range *r) {
  const lt_pad_attrs *a = n->attrs;
  const lt_type x = *lt_type_of(t->g, n->in[0]);
  lt_range inner = *r;
  for (unsigned i = 0; i < x.rank; i++) {
    inner.from[i] -= a->pads.v[i], inner.to[i] -= a->pads.v[i];
    if (inner.from[i] < 0 || inner.to[i] > x.dim[i]) return 0;
  }
  return emit_range(t, n->in[0], &inner);
}

/* Attributes of a slice are resolved only once it is emitted: negative indices are left to the next round. */
static bool resolved(const lt_type *x, const lt_slice_attrs *a) {
  for (int64_t i = 0; i < a->axes.n; i++)
    if (a->axes.v[i] < 0 || a->starts.v[i] < 0 || a->ends.v[i] > x->dim[a->axes.v[i]]) return false;
  return a->axes.n > 0;
}

static lt_value slice_rule(const lt_try *t) {
  const lt_type x = *type(t, 0);
  if (!resolved(&x, t->attrs)) return 0;
  lt_range r = range_of(&x, t->attrs);
  lt_type y = x;
  for (unsigned i = 0; i < x.rank; i++) y.dim[i] = r.to[i] - r.from[i];
  if (lt_type_eq(&x, &y)) return t->in[0];
  const lt_node *n = lt_node_of(t->g, t->in[0]);
  if (n->op == LT_OP_concat) return part_of(t, n, &r);
  if (n->op == LT_OP_pad) return inside_pad(t, n, &r);
  if (n->op != LT_OP_slice) return repeated(t, &y);
  lt_range before = range_of(lt_type_of(t->g, n->in[0]), n->attrs);
  for (unsigned i = 0; i < x.rank; i++) r.from[i] += before.from[i], r.to[i] += before.from[i];
  return emit_range(t, n->in[0], &r);
}

static lt_value pad_rule(const lt_try *t) {
  const lt_pad_attrs *a = t->attrs;
  for (int64_t i = 0; i < a->pads.n; i++)
    if (a->pads.v[i]) return 0;
  return t->in[0];
}

/* Adjacent slices of one value, put together again. */
static lt_value rejoined(const lt_try *t, int64_t axis) {
  lt_range all = {{0}, {0}};
  lt_value x = 0;
  for (unsigned k = 0; k < t->n_in; k++) {
    const lt_node *n = made_by(t, k, LT_OP_slice);
    if (!n || (k && n->in[0] != x)) return 0;
    x = n->in[0];
    lt_range r = range_of(lt_type_of(t->g, x), n->attrs);
    if (k == 0) all = r;
    else if (r.from[axis] != all.to[axis]) return 0;
    for (unsigned i = 0; i < lt_type_of(t->g, x)->rank; i++)
      if ((int64_t)i != axis && (r.from[i] != all.from[i] || r.to[i] != all.to[i])) return 0;
    all.to[axis] = r.to[axis];
  }
  return emit_range(t, x, &all);
}

static lt_value concat_rule(const lt_try *t) {
  int64_t axis = ((const lt_concat_attrs *)t->attrs)->axis;
  if (t->n_in == 1) return t->in[0];
  return axis >= 0 ? rejoined(t, axis) : 0;
}

/* A maximum over axes of extent 1 is the element. (A sum is not: it starts at 0.0.) */
static lt_value reduce_max_rule(const lt_try *t) {
  const lt_reduce_max_attrs *a = t->attrs;
  const lt_type x = *type(t, 0);
  bool gone[LT_MAX_RANK] = {false};
  for (int64_t i = 0; i < a->axes.n; i++) {
    if (a->axes.v[i] < 0 || x.dim[a->axes.v[i]] != 1) return 0;
    gone[a->axes.v[i]] = true;
  }
  if (a->axes.n == 0) return 0;
  lt_reshape_attrs shape = {0};
  for (unsigned i = 0; i < x.rank; i++)
    if (!gone[i] || a->keepdims) shape.shape.v[shape.shape.n++] = x.dim[i];
  return simple(t->g, LT_OP_reshape, &shape, t->in, 1);
}

static bool swaps_last_two(const lt_node *transpose) {
  const lt_ints *perm = &((const lt_transpose_attrs *)transpose->attrs)->perm;
  const int64_t r = perm->n;
  bool swap = r >= 2 && perm->v[r - 1] == r - 2 && perm->v[r - 2] == r - 1;
  for (int64_t k = 0; k < r - 2; k++) swap &= perm->v[k] == k;
  return swap;
}

/* A transposition of the last two axes goes into the product. */
static lt_value matmul_rule(const lt_try *t) {
  lt_matmul_attrs a = *(const lt_matmul_attrs *)t->attrs;
  for (unsigned i = 0; i < 2; i++) {
    const lt_node *n = made_by(t, i, LT_OP_transpose);
    if (!n || !swaps_last_two(n)) continue;
    lt_value in[2] = {t->in[0], t->in[1]};
    in[i] = n->in[0];
    if (i == 0) a.transpose_a = !a.transpose_a;
    else a.transpose_b = !a.transpose_b;
    return simple(t->g, LT_OP_matmul, &a, in, 2);
  }
  return 0;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static const lt_rule rules[LT_OPS] = {
  [LT_OP_add] = add_rule,
  [LT_OP_sub] = sub_rule,
  [LT_OP_mul] = mul_rule,
  [LT_OP_div] = div_rule,
  [LT_OP_pow] = pow_rule,
  [LT_OP_max] = same_rule,
  [LT_OP_min] = same_rule,
  [LT_OP_neg] = neg_rule,
  [LT_OP_abs] = abs_rule,
  [LT_OP_relu] = again_rule,
  [LT_OP_sign] = again_rule,
  [LT_OP_clip] = clip_rule,
  [LT_OP_select] = select_rule,
  [LT_OP_cast] = cast_rule,
  [LT_OP_broadcast_to] = broadcast_rule,
  [LT_OP_reshape] = reshape_rule,
  [LT_OP_transpose] = transpose_rule,
  [LT_OP_slice] = slice_rule,
  [LT_OP_pad] = pad_rule,
  [LT_OP_concat] = concat_rule,
  [LT_OP_reduce_max] = reduce_max_rule,
  [LT_OP_matmul] = matmul_rule,
};

/* A value that stands for the op's (only) result, or 0 when no rule applies. */
static lt_value by_rule(const lt_try *t) {
  lt_value y = rules[t->op] ? rules[t->op](t) : 0;
  return !y && lt_op_table[t->op].flags & LT_MAP ? map_rule(t) : y;
}

static lt_value simple(lt_graph *g, lt_op op, const void *attrs, const lt_value *in, unsigned n_in) {
  lt_try t = {g, op, attrs, in, n_in};
  lt_value y = by_rule(&t);
  return y ? y : lt_emit(g, op, attrs, in, n_in);
}

/* A product that is only read turned is made turned, (A·B)' = B'·A', where A is turned already: the gradient of weights
 * that are read turned. Each sum has the same products in the same order. */
static lt_value turned_product(const lt_rewrite *r, const lt_node *n, const lt_value *in) {
  const uint32_t *uses = r->ctx;
  const lt_node *m = n->op == LT_OP_transpose ? lt_node_of(r->to, in[0]) : NULL;
  if (!m || m->op != LT_OP_matmul || uses[n->in[0]] != 1 || !swaps_last_two(n)) return 0;
  const lt_matmul_attrs *a = m->attrs, back = {.transpose_a = !a->transpose_b, .transpose_b = !a->transpose_a};
  if (!a->transpose_a) return 0;
  r->to->origin = m->origin;
  return simple(r->to, LT_OP_matmul, &back, (lt_value[]){m->in[1], m->in[0]}, 2);
}

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  if (n->cluster || lt_op_table[n->op].flags & (LT_LEAF | LT_HIDDEN)) return false;
  lt_try t = {r->to, n->op, n->attrs, in, n->n_in};
  lt_value y = by_rule(&t);
  if (!y) y = turned_product(r, n, in);
  if (y) r->map[n->out] = y;
  return y != 0;
}

void lt_pass_simplify(lt_graph *to, const lt_graph *from) {
  lt_rewrite_graph(to, from, visit, lt_use_counts(&to->arena, from, lt_live_nodes(&to->arena, from)));
}
