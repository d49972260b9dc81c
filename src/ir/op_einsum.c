/* op_einsum.c: products of two arrays summed over axes: tensordot, which names the axes, and einsum, which gives every
 * axis a letter. Both are SUGAR. Inside, both are letters: one for each axis of a, b and y, the same letter being the
 * same index. What a letter does follows from where it stands: BATCH in all three, SUM in a and b, ROW in a and y, COL
 * in b and y, LONE in one operand alone. So a becomes [B, M, K], b [B, K, N], and their matrix product [B, M, N]
 * becomes y; where one of its sides has no axis, elements are multiplied. */
#include "ir/op_util.h"

#include <ctype.h>

enum { A, B, Y, SIDES, MAX_LETTERS = 2 * LT_MAX_RANK };
typedef struct letters { char at[MAX_LETTERS + 1]; } letters;
typedef struct sides { letters of[SIDES]; } sides;
typedef enum role { BATCH, SUM, ROW, COL, LONE } role;

static bool stands_in(const letters *l, char c) { return c && strchr(l->at, c); }
static unsigned length(const letters *l) { return (unsigned)strlen(l->at); }
static void append(letters *l, char c) { l->at[length(l)] = c; }
static unsigned place(const letters *l, char c) { return (unsigned)(strchr(l->at, c) - l->at); }

static role role_of(const sides *s, char c) {
  bool a = stands_in(&s->of[A], c), b = stands_in(&s->of[B], c), y = stands_in(&s->of[Y], c);
  if (a && b) return y ? BATCH : SUM;
  return !y ? LONE : a ? ROW : COL;
}

/* The letters of one side that do r, in the order they have there. */
static letters with_role(const sides *s, unsigned side, role r) {
  letters out = {{0}};
  for (const char *p = s->of[side].at; *p; p++)
    if (role_of(s, *p) == r) append(&out, *p);
  return out;
}

static letters joined(const letters *x, const letters *y, const letters *z) {
  letters out = *x;
  for (const char *p = y->at; *p; p++) append(&out, *p);
  for (const char *p = z->at; *p; p++) append(&out, *p);
  return out;
}

static bool same(const letters *x, const letters *y) { return strcmp(x->at, y->at) == 0; }

static int64_t extent(const sides *s, const lt_type *a, const lt_type *b, char c) {
  return stands_in(&s->of[A], c) ? a->dim[place(&s->of[A], c)] : b->dim[place(&s->of[B], c)];
}

static lt_type result_type(const sides *s, const lt_type *a, const lt_type *b) {
  lt_type y = {.dtype = a->dtype, .rank = (uint8_t)length(&s->of[Y])};
  for (unsigned i = 0; i < y.rank; i++) y.dim[i] = extent(s, a, b, s->of[Y].at[i]);
  return y;
}

/* ---- the meaning: one loop for each letter ----------------------------------------------------------------------- */

static void letter_strides(const sides *s, unsigned side, const lt_type *t, const letters *all,
                           int64_t stride[MAX_LETTERS]) {
  int64_t of[LT_MAX_RANK];
  lt_type_strides(t, of);
  for (unsigned i = 0; all->at[i]; i++)
    stride[i] = stands_in(&s->of[side], all->at[i]) ? of[place(&s->of[side], all->at[i])] : 0;
}

static void eval_sides(const sides *s, const lt_tensor *a, const lt_tensor *b, lt_tensor *y) {
  int64_t stride[SIDES][MAX_LETTERS], at[MAX_LETTERS] = {0}, off[SIDES] = {0};
  letters all = s->of[A];
  for (const char *p = s->of[B].at; *p; p++)
    if (!stands_in(&all, *p)) append(&all, *p);
  letter_strides(s, A, &a->type, &all, stride[A]);
  letter_strides(s, B, &b->type, &all, stride[B]);
  letter_strides(s, Y, &y->type, &all, stride[Y]);
  memset(y->f, 0, (size_t)lt_type_count(&y->type) * sizeof *y->f);
  for (unsigned d = 1; d;) {
    y->f[off[Y]] += a->f[off[A]] * b->f[off[B]];
    for (d = length(&all); d; d--) { /* the last letter fastest */
      int64_t n = extent(s, &a->type, &b->type, all.at[d - 1]);
      bool wrap = ++at[d - 1] == n;
      for (unsigned k = 0; k < SIDES; k++) off[k] += stride[k][d - 1] * (wrap ? 1 - n : 1);
      if (!wrap) break;
      at[d - 1] = 0;
    }
  }
}

/* ---- the expansion ----------------------------------------------------------------------------------------------- */

/* x, whose axes are `have`, with its axes in the order `want`. */
static lt_value in_order(lt_graph *g, lt_value x, const letters *have, const letters *want) {
  int64_t perm[LT_MAX_RANK];
  if (same(have, want)) return x;
  for (unsigned i = 0; want->at[i]; i++) perm[i] = place(have, want->at[i]);
  return lt_transpose(g, x, perm);
}

/* An operand being brought into shape: its value and the letters of its axes. */
typedef struct operand { lt_value v; letters have, batch, own, sum; int64_t n_batch, n_own, n_sum; } operand;

static int64_t extent_of(lt_graph *g, const operand *o, const letters *l) {
  int64_t n = 1;
  for (const char *p = l->at; *p; p++) n *= lt_type_of(g, o->v)->dim[place(&o->have, *p)];
  return n;
}

static operand operand_of(lt_graph *g, const sides *s, unsigned side, lt_value v) {
  operand o = {.v = v,
               .have = s->of[side],
               .batch = with_role(s, Y, BATCH),
               .own = with_role(s, Y, side == A ? ROW : COL),
               .sum = with_role(s, A, SUM)};
  letters lone = with_role(s, side, LONE), left = {{0}};
  lt_ints axes = {0};
  for (const char *p = lone.at; *p; p++) axes.v[axes.n++] = place(&o.have, *p);
  for (const char *p = o.have.at; *p; p++)
    if (!stands_in(&lone, *p)) append(&left, *p);
  if (axes.n) o.v = lt_reduce(g, LT_OP_sum, v, &axes, false);
  o.have = left;
  o.n_batch = extent_of(g, &o, &o.batch), o.n_own = extent_of(g, &o, &o.own), o.n_sum = extent_of(g, &o, &o.sum);
  return o;
}

/* [B, own, sum] or [B, sum, own], without B where there is no such axis; *sum_first says which. The order that the axes
 * have already is taken where it is one of the two; otherwise *sum_first, as it comes in. */
static lt_value matrix_of(lt_graph *g, const operand *o, bool *sum_first) {
  letters own_last = joined(&o->batch, &o->sum, &o->own), sum_last = joined(&o->batch, &o->own, &o->sum);
  if (same(&o->have, &own_last)) *sum_first = true;
  else if (same(&o->have, &sum_last)) *sum_first = false;
  lt_value v = in_order(g, o->v, &o->have, *sum_first ? &own_last : &sum_last);
  int64_t dim[] = {o->n_batch, *sum_first ? o->n_sum : o->n_own, *sum_first ? o->n_own : o->n_sum};
  bool batch = o->batch.at[0];
  return lt_reshape(g, v, batch ? 3 : 2, dim + !batch);
}

static lt_value emit_matmul(lt_graph *g, const operand *a, const operand *b) {
  bool a_sum_first = false, b_sum_first = true;
  lt_value x = matrix_of(g, a, &a_sum_first);
  lt_value y = matrix_of(g, b, &b_sum_first);
  lt_matmul_attrs m = {.transpose_a = a_sum_first, .transpose_b = !b_sum_first};
  return lt_emit(g, LT_OP_matmul, &m, (lt_value[]){x, y}, 2);
}

/* Nothing is summed: an outer product for each batch. */
static lt_value emit_outer(lt_graph *g, const operand *a, const operand *b) {
  letters a_order = joined(&a->batch, &a->own, &a->sum), b_order = joined(&b->batch, &b->own, &b->sum);
  lt_value x = in_order(g, a->v, &a->have, &a_order);
  x = lt_reshape(g, x, 3, (int64_t[]){a->n_batch, a->n_own, 1});
  lt_value y = in_order(g, b->v, &b->have, &b_order);
  y = lt_reshape(g, y, 3, (int64_t[]){b->n_batch, 1, b->n_own});
  return lt_binary(g, LT_OP_mul, x, y);
}

/* Nothing is kept but the batch: an inner product for each. */
static lt_value emit_inner(lt_graph *g, const operand *a, const operand *b) {
  letters order = joined(&a->batch, &a->sum, &a->own);
  const int64_t dim[] = {a->n_batch, a->n_sum};
  lt_value x = in_order(g, a->v, &a->have, &order);
  x = lt_reshape(g, x, 2, dim);
  lt_value y = in_order(g, b->v, &b->have, &order);
  y = lt_reshape(g, y, 2, dim);
  return lt_reduce(g, LT_OP_sum, lt_binary(g, LT_OP_mul, x, y), &(lt_ints){1, {1}}, false);
}

static lt_value expand_sides(lt_graph *g, const sides *s, const lt_value *in) {
  const lt_type ta = *lt_type_of(g, in[0]), tb = *lt_type_of(g, in[1]);
  operand a = operand_of(g, s, A, in[0]), b = operand_of(g, s, B, in[1]);
  lt_value y = !a.sum.at[0]                   ? emit_outer(g, &a, &b)
               : !a.own.at[0] && !b.own.at[0] ? emit_inner(g, &a, &b)
                                              : emit_matmul(g, &a, &b);
  sides turned = *s;
  turned.of[Y] = joined(&a.batch, &a.own, &b.own);
  lt_type t = result_type(&turned, &ta, &tb);
  return in_order(g, lt_reshape_like(g, y, &t), &turned.of[Y], &s->of[Y]);
}

/* ---- tensordot --------------------------------------------------------------------------------------------------- */

static void need_operands(lt_graph *g, lt_op op, const lt_value *in) {
  lt_need_float(g, op, "a", in[0]);
  lt_need_dtype(g, op, "a", in[0], "b", in[1]);
}

static const char *both(lt_graph *g, const lt_value *in) {
  return lt_arena_printf(&g->arena, "a %s, b %s", lt_text_of(g, in[0]), lt_text_of(g, in[1]));
}

/* axes=k: the last k of a and the first k of b. */
static void axes_from_count(lt_graph *g, lt_tensordot_attrs *t, const lt_value *in) {
  int64_t ra = lt_type_of(g, in[0])->rank, rb = lt_type_of(g, in[1])->rank;
  if (t->axes < 0 || t->axes > ra || t->axes > rb)
    lt_node_fail(g, LT_OP_tensordot,
                 "axes=%lld must be between 0 and the rank of both operands (%s)\nhelp: axes=k sums the "
                 "last k axes of a and the first k of b; axes_a=[…], axes_b=[…] name them",
                 (long long)t->axes, both(g, in));
  for (int64_t i = 0; i < t->axes; i++) t->axes_a.v[i] = ra - t->axes + i, t->axes_b.v[i] = i;
  t->axes_a.n = t->axes_b.n = t->axes;
}

static void need_named_axes(lt_graph *g, const char *which, const char *name, lt_value v, lt_ints *axes) {
  int64_t rank = lt_type_of(g, v)->rank;
  const char *text = lt_ints_text(&g->arena, axes->v, axes->n);
  for (int64_t i = 0; i < axes->n; i++) {
    if (axes->v[i] < -rank || axes->v[i] >= rank)
      lt_node_fail(g, LT_OP_tensordot, "%s=%s: axis %lld is outside %s %s, which has rank %lld", which, text,
                   (long long)axes->v[i], name, lt_text_of(g, v), (long long)rank);
    if (axes->v[i] < 0) axes->v[i] += rank;
    for (int64_t k = 0; k < i; k++)
      if (axes->v[k] == axes->v[i])
        lt_node_fail(g, LT_OP_tensordot, "%s=%s names axis %lld of %s %s twice", which, text, (long long)axes->v[i],
                     name, lt_text_of(g, v));
  }
}

static sides tensordot_sides(const lt_tensordot_attrs *t, unsigned ra, unsigned rb) {
  sides s = {{{{0}}}};
  for (unsigned i = 0; i < ra; i++) s.of[A].at[i] = (char)('a' + i);
  for (unsigned i = 0; i < rb; i++) s.of[B].at[i] = (char)('A' + i);
  for (int64_t i = 0; i < t->axes_a.n; i++) s.of[B].at[t->axes_b.v[i]] = s.of[A].at[t->axes_a.v[i]];
  for (const char *p = s.of[A].at; *p; p++)
    if (!stands_in(&s.of[B], *p)) append(&s.of[Y], *p);
  for (const char *p = s.of[B].at; *p; p++)
    if (!stands_in(&s.of[A], *p)) append(&s.of[Y], *p);
  return s;
}

/* Afterwards the lists say what is summed and axes has its default, but where nothing is summed: axes=0. */
static void resolve_axes(lt_graph *g, lt_tensordot_attrs *t, const lt_value *in) {
  enum { NOT_GIVEN = 2 };
  if (t->axes_a.n != t->axes_b.n)
    lt_node_fail(g, LT_OP_tensordot, "axes_a=%s and axes_b=%s must name as many axes (%s)",
                 lt_ints_text(&g->arena, t->axes_a.v, t->axes_a.n), lt_ints_text(&g->arena, t->axes_b.v, t->axes_b.n),
                 both(g, in));
  if (t->axes_a.n && t->axes != NOT_GIVEN)
    lt_node_fail(g, LT_OP_tensordot, "axes=%lld and axes_a=%s are both given\nhelp: one of them says what is summed",
                 (long long)t->axes, lt_ints_text(&g->arena, t->axes_a.v, t->axes_a.n));
  if (!t->axes_a.n) axes_from_count(g, t, in);
  need_named_axes(g, "axes_a", "a", in[0], &t->axes_a);
  need_named_axes(g, "axes_b", "b", in[1], &t->axes_b);
  if (t->axes_a.n) t->axes = NOT_GIVEN;
}

LT_INFER(tensordot) {
  lt_tensordot_attrs *t = attrs;
  need_operands(g, LT_OP_tensordot, in);
  resolve_axes(g, t, in);
  const lt_type a = *lt_type_of(g, in[0]), b = *lt_type_of(g, in[1]);
  for (int64_t i = 0; i < t->axes_a.n; i++) {
    int64_t k = t->axes_a.v[i], l = t->axes_b.v[i];
    if (a.dim[k] != b.dim[l])
      lt_node_fail(g, LT_OP_tensordot,
                   "axis %lld of a %s has %lld elements, axis %lld of b %s has %lld; axes that are summed "
                   "together must be equal",
                   (long long)k, lt_text_of(g, in[0]), (long long)a.dim[k], (long long)l, lt_text_of(g, in[1]),
                   (long long)b.dim[l]);
  }
  sides s = tensordot_sides(t, a.rank, b.rank);
  if (length(&s.of[Y]) > LT_MAX_RANK)
    lt_node_fail(g, LT_OP_tensordot, "the result would have rank %u, at most %d is possible (%s)", length(&s.of[Y]),
                 LT_MAX_RANK, both(g, in));
  *out_type = result_type(&s, &a, &b);
}

LT_EVAL(tensordot) {
  sides s = tensordot_sides(n->attrs, in[0]->type.rank, in[1]->type.rank);
  eval_sides(&s, in[0], in[1], out[0]);
}

LT_EXPAND(tensordot) {
  sides s = tensordot_sides(n->attrs, lt_type_of(g, in[0])->rank, lt_type_of(g, in[1])->rank);
  out[0] = expand_sides(g, &s, in);
}

LT_VJP(tensordot) { lt_vjp_by_expansion(v, n, in, gout, gin); }

/* ---- einsum ------------------------------------------------------------------------------------------------------ */

/* The letters of one side, up to its end; returns what is wrong with them, or NULL. */
static const char *read_side(lt_arena *arena, const char **p, letters *l, unsigned most, const char *side) {
  for (; **p && **p != ',' && strncmp(*p, "->", 2) != 0; ++*p) {
    char c = **p;
    if (c == ' ') continue;
    if (c == '.') return "`...` is not known here: give every axis a letter";
    if (!isalpha((unsigned char)c) || (unsigned char)c > 127) return "an index is one letter of a-z, A-Z";
    if (stands_in(l, c))
      return lt_arena_printf(arena, "index %c stands twice in %s; diagonals are not supported", c, side);
    if (length(l) == most) return lt_arena_printf(arena, "it names more than %u axes of %s", most, side);
    append(l, c);
  }
  return NULL;
}

/* Without "->": the letters that stand once, in the order of the alphabet (capitals first), as in NumPy. */
static void implicit_result(sides *s) {
  for (char c = 'A'; c <= 'z'; c++)
    if (isalpha((unsigned char)c) && stands_in(&s->of[A], c) != stands_in(&s->of[B], c)) append(&s->of[Y], c);
}

static const char *read_spec(lt_arena *arena, const char *spec, sides *s) {
  const char *why, *form = "two operands are named before `->`, as in \"ij,jk->ik\"";
  memset(s, 0, sizeof *s);
  if ((why = read_side(arena, &spec, &s->of[A], LT_MAX_RANK, "a"))) return why;
  if (*spec != ',') return form;
  spec++;
  if ((why = read_side(arena, &spec, &s->of[B], LT_MAX_RANK, "b"))) return why;
  if (!*spec) return implicit_result(s), NULL;
  if (*spec == ',') return form;
  spec += 2;
  if ((why = read_side(arena, &spec, &s->of[Y], MAX_LETTERS, "the result"))) return why;
  if (*spec) return "the result's letters end the spec";
  for (const char *p = s->of[Y].at; *p; p++)
    if (!stands_in(&s->of[A], *p) && !stands_in(&s->of[B], *p))
      return lt_arena_printf(arena, "index %c of the result stands in no operand", *p);
  return NULL;
}

/* Why the letters do not fit the operands, or NULL. */
static const char *misfit(lt_arena *arena, const sides *s, const lt_type *a, const lt_type *b) {
  const lt_type *t[] = {a, b};
  for (unsigned k = A; k <= B; k++)
    if (length(&s->of[k]) != t[k]->rank)
      return lt_arena_printf(arena, "it names %u axes of %s, which has rank %u", length(&s->of[k]), k == A ? "a" : "b",
                             t[k]->rank);
  for (const char *p = s->of[A].at; *p; p++) {
    if (!stands_in(&s->of[B], *p)) continue;
    int64_t x = a->dim[place(&s->of[A], *p)], y = b->dim[place(&s->of[B], *p)];
    if (x != y)
      return lt_arena_printf(arena, "index %c runs over %lld elements of a and %lld of b; they must be equal", *p,
                             (long long)x, (long long)y);
  }
  unsigned rank = length(&s->of[Y]);
  return rank > LT_MAX_RANK
           ? lt_arena_printf(arena, "the result would have rank %u, at most %d is possible", rank, LT_MAX_RANK)
           : NULL;
}

LT_INFER(einsum) {
  lt_einsum_attrs *e = attrs;
  sides s;
  need_operands(g, LT_OP_einsum, in);
  const lt_type a = *lt_type_of(g, in[0]), b = *lt_type_of(g, in[1]);
  const char *why = read_spec(&g->arena, e->spec, &s);
  if (!why) why = misfit(&g->arena, &s, &a, &b);
  if (why) {
    lt_str text;
    lt_str_init(&text, &g->arena);
    lt_print_string(&text, e->spec);
    lt_node_fail(g, LT_OP_einsum, "spec %.100s with %s: %s", text.at, both(g, in), why);
  }
  e->spec = lt_arena_printf(&g->arena, "%s,%s->%s", s.of[A].at, s.of[B].at, s.of[Y].at); /* one text for one meaning */
  *out_type = result_type(&s, &a, &b);
}

LT_EVAL(einsum) {
  sides s;
  read_spec(e->arena, ((const lt_einsum_attrs *)n->attrs)->spec, &s);
  eval_sides(&s, in[0], in[1], out[0]);
}

LT_EXPAND(einsum) {
  sides s;
  read_spec(&g->arena, ((const lt_einsum_attrs *)n->attrs)->spec, &s);
  out[0] = expand_sides(g, &s, in);
}

LT_VJP(einsum) { lt_vjp_by_expansion(v, n, in, gout, gin); }
