/* raise.c: what is spelled out in the textbook's way becomes the op it is (recognise.c), before gradients are taken, so
 * that both ways of writing have the same forward and the same backward kernels.
 *
 * What is seen is a view (reshapes, transposes) of the new op's result. Elementwise ops on such a view are pulled
 * before it, f(view(x), b) = view(f(x, b')), so that they end up in the op's own kernel and the view meets its inverse.
 * A value that a `grad` differentiates in is an anchor: nobody computes past it, or the gradient would not see it. */
#include "ir/pass/raise.h"

/* ---- marks ------------------------------------------------------------------------------------------------------- */

void lt_raise_mark(lt_raiser *s, lt_value v, unsigned mark) {
  while (s->mark.n <= v) lt_vec_push(&s->to->arena, &s->mark, 0);
  if (mark & ~s->mark.at[v] & LT_ANCHOR) s->view.n = 0; /* some may look past it */
  s->mark.at[v] |= (uint8_t)mark;
}

bool lt_raise_is(const lt_raiser *s, lt_value v, unsigned mark) { return v < s->mark.n && (s->mark.at[v] & mark); }

/* Views are kept: in a chain each node is looked at from the next one. */
void lt_raise_view(lt_view *out, lt_raiser *s, lt_value v) {
  const lt_node *n = lt_node_of(s->to, v);
  if (!lt_view_moves(n) || lt_raise_is(s, v, LT_ANCHOR)) {
    lt_view_whole(out, s->to, v);
    return;
  }
  if (v < s->view.n && s->view.at[v]) {
    *out = *s->view.at[v];
    return;
  }
  lt_raise_view(out, s, n->in[0]);
  lt_view_next(out, s->to, v);
  lt_view *kept = LT_NEW(&s->to->arena, lt_view);
  *kept = *out;
  while (s->view.n <= v) lt_vec_push(&s->to->arena, &s->view, NULL);
  s->view.at[v] = kept;
}

static bool *anchors_of(lt_arena *a, const lt_graph *g) {
  bool *anchor = LT_NEW_ARRAY(a, bool, g->values.n);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    for (unsigned k = 2; n->op == LT_OP_grad && k < n->n_in; k++) anchor[n->in[k]] = true;
  }
  return anchor;
}

/* Marks of the operands, before anybody looks at them. */
static void mark_operands(lt_raiser *s, const lt_node *n, const lt_value *in) {
  for (unsigned k = 0; k < n->n_in; k++) {
    if (!n->in[k]) continue;
    if (s->anchor[n->in[k]]) lt_raise_mark(s, in[k], LT_ANCHOR);
    if (s->uses[n->in[k]] > 1) lt_raise_mark(s, in[k], LT_SHARED);
  }
}

/* ---- elementwise ops before the view ----------------------------------------------------------------------------- */

/* b, which broadcasts against the view, as it broadcasts against the view's base; 0: it does not. */
static lt_value before_view(lt_raiser *s, const lt_view *v, lt_value b) {
  lt_graph *g = s->to;
  const lt_type small = *lt_type_of(g, b), base = *lt_type_of(g, v->base);
  if (lt_type_count(&small) == 1) return lt_reshape(g, b, 0, NULL);
  if (small.rank > v->rank) return 0;
  int64_t dim[LT_MAX_RANK], piece[LT_MAX_RANK], perm[LT_MAX_RANK];
  unsigned n = 0, axis_of[LT_MAX_RANK];
  for (unsigned i = 0; i < base.rank; i++) dim[i] = 1;
  for (unsigned i = v->rank - small.rank; i < v->rank; i++) {
    if (small.dim[i - (v->rank - small.rank)] == 1) continue;
    for (unsigned k = v->first[i]; k < v->first[i + 1]; k++) {
      unsigned atom = v->order[k];
      if (n == LT_MAX_RANK || v->extent[atom] != base.dim[v->base_axis[atom]]) return 0; /* an axis in pieces */
      piece[n] = v->extent[atom], axis_of[n++] = v->base_axis[atom];
      dim[v->base_axis[atom]] = v->extent[atom];
    }
  }
  unsigned at = 0;
  for (unsigned axis = 0; axis < base.rank; axis++)
    for (unsigned k = 0; k < n; k++)
      if (axis_of[k] == axis) perm[at++] = k;
  lt_value x = lt_reshape(g, b, n, piece);
  return lt_reshape(g, lt_transpose(g, x, perm), base.rank, dim);
}

static bool same_movement(const lt_view *a, const lt_view *b, const lt_graph *g) {
  return a->n == b->n && !memcmp(a->order, b->order, a->n) && !memcmp(a->extent, b->extent, a->n * sizeof *a->extent) &&
         a->rank == b->rank && !memcmp(a->dim, b->dim, a->rank * sizeof *a->dim) &&
         !memcmp(lt_type_of(g, a->base)->dim, lt_type_of(g, b->base)->dim, sizeof(int64_t) * LT_MAX_RANK) &&
         lt_type_of(g, a->base)->rank == lt_type_of(g, b->base)->rank;
}

/* The operand through whose view the others are pulled: of the result's shape, and seen. */
static bool leading_view(lt_view *out, lt_raiser *s, const lt_node *n, const lt_value *in) {
  const lt_type *y = lt_type_of(s->from, n->out);
  for (unsigned k = 0; k < n->n_in; k++) {
    if (!in[k]) continue;
    lt_raise_view(out, s, in[k]);
    bool whole = out->rank == y->rank && !memcmp(out->dim, y->dim, y->rank * sizeof *y->dim);
    if (whole && out->steps && lt_raise_is(s, out->base, LT_SEEN) && !lt_raise_is(s, out->base, LT_ANCHOR)) return true;
  }
  return false;
}

/* b as the vector of a bias: it has one element for each channel and nothing else; 0: no. */
static lt_value as_bias(lt_graph *g, lt_value b, int64_t channels) {
  const lt_type t = *lt_type_of(g, b);
  if (t.rank < 3 || t.rank > 4 || t.dim[t.rank - 3] != channels || lt_type_count(&t) != channels) return 0;
  lt_view v;
  lt_view_of(&v, g, b);
  return lt_view_reshape(&v, 1, &channels) ? lt_view_emit(g, &v) : 0;
}

/* What is added to a convolution channel by channel goes into it. */
static lt_value into_bias(lt_raiser *s, const lt_node *n, const lt_value *in) {
  for (unsigned k = 0; n->op == LT_OP_add && k < 2; k++) {
    const lt_node *conv = lt_node_of(s->to, in[k]);
    if (conv->op != LT_OP_conv2d || conv->in[2] || lt_raise_is(s, in[k], LT_SHARED | LT_ANCHOR)) continue;
    lt_value bias = as_bias(s->to, in[!k], lt_type_of(s->to, in[k])->dim[1]);
    if (bias) return lt_emit(s->to, LT_OP_conv2d, conv->attrs, (lt_value[]){conv->in[0], conv->in[1], bias}, 3);
  }
  return 0;
}

/* Does a value between here and the base have other readers? Then the base is needed as it is, too. */
static bool shared_way(const lt_raiser *s, lt_value v, lt_value base) {
  for (; v != base; v = lt_node_of(s->to, v)->in[0])
    if (lt_raise_is(s, v, LT_SHARED)) return true;
  return false;
}

static lt_value pull(lt_raiser *s, const lt_node *n, const lt_value *in) {
  lt_view lead, other;
  if (n->n_in > 3) return 0;
  if (!leading_view(&lead, s, n, in)) {
    lt_value y = into_bias(s, n, in);
    if (y) lt_raise_mark(s, y, LT_SEEN);
    return y;
  }
  lt_value own[3] = {0};
  for (unsigned k = 0; k < n->n_in; k++) {
    lt_raise_view(&other, s, in[k]);
    if (same_movement(&lead, &other, s->to)) {
      own[k] = other.base;
      if (shared_way(s, in[k], other.base)) lt_raise_mark(s, other.base, LT_SHARED);
    } else {
      own[k] = before_view(s, &lead, in[k]);
    }
    if (!own[k]) return 0;
  }
  lt_value y = into_bias(s, n, own);
  if (!y) y = lt_emit(s->to, n->op, n->attrs, own, n->n_in);
  lt_raise_mark(s, y, LT_SEEN);
  lead.base = y;
  return lt_view_emit(s->to, &lead);
}

/* Movement of what was seen: in one piece, often none at all. */
static lt_value move(lt_raiser *s, const lt_node *n, const lt_value *in) {
  lt_view v;
  lt_raise_view(&v, s, in[0]);
  if (!lt_raise_is(s, v.base, LT_SEEN) || lt_raise_is(s, v.base, LT_ANCHOR)) return 0;
  if (n->op == LT_OP_transpose) lt_view_transpose(&v, ((const lt_transpose_attrs *)n->attrs)->perm.v);
  else if (!lt_view_reshape(&v, lt_type_of(s->from, n->out)->rank, lt_type_of(s->from, n->out)->dim)) return 0;
  return lt_view_fits(&v) ? lt_view_emit(s->to, &v) : 0;
}

/* ---- the pass ---------------------------------------------------------------------------------------------------- */

static lt_value raised(lt_raiser *s, const lt_node *n, const lt_value *in) {
  if (lt_op_table[n->op].flags & LT_MAP) return pull(s, n, in);
  switch (n->op) {
  case LT_OP_linear: case LT_OP_matmul: return lt_recognise_product(s, n, in);
  case LT_OP_col2im: return lt_recognise_fold(s, n, in);
  case LT_OP_reduce_max: case LT_OP_mean: return lt_recognise_pool(s, n, in);
  /* an anchor must stay a value of its own */
  case LT_OP_reshape: case LT_OP_transpose: return s->anchor[n->out] ? 0 : move(s, n, in);
  default: return 0;
  }
}

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_raiser *s = r->ctx;
  mark_operands(s, n, in);
  lt_value y = raised(s, n, in);
  if (y) r->map[n->out] = y;
  return y != 0;
}

void lt_pass_raise(lt_graph *to, const lt_graph *from) {
  lt_raiser s = {.to = to, .from = from, .anchor = anchors_of(&to->arena, from)};
  s.uses = lt_use_counts(&to->arena, from, lt_live_nodes(&to->arena, from));
  lt_rewrite_graph(to, from, visit, &s);
}
