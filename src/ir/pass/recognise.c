/* recognise.c: convolution and pooling spelled out through im2col, recognised (raise.h).
 *
 * im2col's result has six letters, N C KH KW OH OW, whatever its form. A matrix product over it is told by which
 * letters are summed over and which are kept:
 *   sums over C KH KW, keeps N OH OW   conv2d; the other operand is the filter [OC, C, KH, KW]
 *   sums over N OH OW, keeps C KH KW   conv2d_grad_weight; the other operand is gy [N, OC, OH, OW]
 * and col2im of a product that keeps N OH OW of one operand and C KH KW of the other is conv2d_grad_input. In which
 * order the letters stand, and through which reshapes and transposes they got there, is a view's business. Letters of
 * extent 1 are left out of everything. */
#include "ir/op_util.h"
#include "ir/pass/raise.h"

/* ---- windows as letters ------------------------------------------------------------------------------------------ */

enum { N, C, KH, KW, OH, OW, LETTERS };
enum { IMAGE = 1 << N | 1 << OH | 1 << OW, FILTER = 1 << C | 1 << KH | 1 << KW };
enum { FREE = LETTERS }; /* in words of forms: the axis of the other operand that is kept */

typedef struct word { unsigned n, mask, letter[LT_MAX_ATOMS]; } word;

/* The columns of im2col and col2im: the extents of their letters. */
typedef struct columns { int64_t dim[LETTERS]; lt_window window; bool to_matrix; } columns;

static const unsigned column_order[2][LETTERS] = {{N, C, KH, KW, OH, OW}, {N, OH, OW, C, KH, KW}};

static columns columns_of(const lt_graph *g, const lt_node *n, bool to_matrix) {
  const lt_type *image = lt_type_of(g, lt_window_makes_image(n->op) ? n->out : n->in[0]);
  columns c = {{image->dim[0], image->dim[1]}, lt_window_of(g, n), to_matrix};
  for (int k = 0; k < 2; k++) c.dim[KH + k] = c.window.axis[k].kernel, c.dim[OH + k] = c.window.axis[k].windows;
  return c;
}

/* ---- letters ----------------------------------------------------------------------------------------------------- */

/* Those that are there at all. */
static unsigned present(const columns *c, unsigned mask) {
  for (unsigned i = 0; i < LETTERS; i++)
    if (c->dim[i] == 1) mask &= ~(1u << i);
  return mask;
}

/* The letters of one axis, appended; false: one of them is cut apart. */
static bool spell(word *w, const lt_view *v, unsigned axis, const unsigned *order) {
  unsigned at[LT_MAX_ATOMS], n = lt_view_axis(v, axis, at);
  for (unsigned i = 0; i < n; i++) {
    unsigned letter = order[at[i]];
    if (w->mask >> letter & 1) return false;
    w->mask |= 1u << letter;
    w->letter[w->n++] = letter;
  }
  return true;
}

/* v as a view of an im2col whose letters are its base axes (by column_order); NULL: it is none. */
static const lt_node *columns_below(lt_view *view, columns *c, lt_raiser *s, lt_value v) {
  lt_raise_view(view, s, v);
  const lt_node *n = lt_node_of(s->to, view->base);
  if (n->op != LT_OP_im2col || lt_raise_is(s, view->base, LT_ANCHOR)) return NULL;
  *c = columns_of(s->to, n, ((const lt_im2col_attrs *)n->attrs)->to_matrix);
  int64_t dim[LETTERS];
  for (unsigned i = 0; i < LETTERS; i++) dim[i] = c->dim[column_order[c->to_matrix][i]];
  lt_view_start(view, s->to, view->base, LETTERS, dim);
  return lt_view_follow(view, s->to, v) ? n : NULL;
}

/* ---- forms: [N, FREE, OH, OW] and [FREE, C, KH, KW] -------------------------------------------------------------- */

static const unsigned image_form[4] = {N, FREE, OH, OW}, filter_form[4] = {FREE, C, KH, KW};

static int64_t extent_of(const columns *c, unsigned letter, int64_t free) {
  return letter == FREE ? free : c->dim[letter];
}

static unsigned find(const word *w, unsigned letter) {
  unsigned i = 0;
  while (i < w->n && w->letter[i] != letter) i++;
  return i;
}

/* x has two axes: `free`, kept, and another that reads w. Give it in the form, 0: it does not fit. */
static lt_value into_form(lt_raiser *s, lt_value x, unsigned free_axis, const word *w, const columns *c,
                          const unsigned *form) {
  const lt_type t = *lt_type_of(s->to, x);
  lt_view v;
  int64_t dim[LT_MAX_RANK], perm[4], free = t.dim[free_axis];
  word all = {0}; /* the letters as they stand, those of extent 1 first */
  for (unsigned i = 0; i < 4; i++)
    if (extent_of(c, form[i], free) == 1) all.letter[all.n++] = form[i];
  unsigned ones = all.n;
  for (unsigned axis = 0; axis < 2; axis++) {
    if (axis == free_axis && free > 1) all.letter[all.n++] = FREE;
    for (unsigned i = 0; axis != free_axis && i < w->n; i++) all.letter[all.n++] = w->letter[i];
  }
  if (all.n != 4) return 0;
  for (unsigned i = 0; i < 4; i++)
    dim[i] = i < ones ? 1 : extent_of(c, all.letter[i], free), perm[i] = find(&all, form[i]);
  lt_raise_view(&v, s, x);
  if (!lt_view_reshape(&v, 4, dim)) return 0;
  lt_view_transpose(&v, perm);
  return lt_view_fits(&v) ? lt_view_emit(s->to, &v) : 0;
}

/* y, in the form, as the value of type t whose axes read w, FREE among them. */
static lt_value out_of_form(lt_raiser *s, lt_value y, const unsigned *form, const word *w, const lt_type *t) {
  const lt_type type = *lt_type_of(s->to, y);
  lt_view v;
  int64_t perm[4];
  unsigned n = 0;
  for (unsigned i = 0; i < 4; i++)
    if (type.dim[i] == 1) perm[n++] = i;
  for (unsigned k = 0; k < w->n; k++)
    for (unsigned i = 0; i < 4; i++)
      if (form[i] == w->letter[k] && type.dim[i] != 1) perm[n++] = i;
  if (n != 4) return 0;
  lt_raise_mark(s, y, LT_SEEN);
  lt_view_start(&v, s->to, y, 4, type.dim);
  lt_view_transpose(&v, perm);
  return lt_view_reshape(&v, t->rank, t->dim) ? lt_view_emit(s->to, &v) : 0;
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* One operand of linear or matmul: which of its axes is kept, which summed over. */
typedef struct side { lt_value v; unsigned rank, kept, summed; } side;

static side side_of(const lt_graph *g, const lt_node *n, const lt_value *in, unsigned k) {
  unsigned rank = lt_type_of(g, in[k])->rank;
  bool turned = false;
  if (n->op == LT_OP_matmul) {
    const lt_matmul_attrs *a = n->attrs;
    turned = k ? a->transpose_b : a->transpose_a;
  }
  bool kept_first = (k == 0) != turned;
  return (side){in[k], rank, kept_first ? rank - 2 : rank - 1, kept_first ? rank - 1 : rank - 2};
}

/* The operand without leading axes (they have extent 1), [.., kept] as it stands; 0: it has some. */
static lt_value as_matrix(lt_graph *g, const side *x) {
  const lt_type t = *lt_type_of(g, x->v);
  for (unsigned i = 0; i + 2 < t.rank; i++)
    if (t.dim[i] != 1) return 0;
  return lt_reshape(g, x->v, 2, t.dim + t.rank - 2);
}

static lt_value emit_conv(lt_raiser *s, const lt_node *col, const columns *c, lt_value w, lt_value bias) {
  const lt_window *v = &c->window;
  lt_conv2d_attrs a = {
    .stride = lt_window_stride(v), .pad = lt_window_pad(v), .dilation = lt_window_dilation(v), .groups = 1};
  return lt_emit(s->to, LT_OP_conv2d, &a, (lt_value[]){col->in[0], w, bias}, 3);
}

static lt_value emit_grad_weight(lt_raiser *s, const lt_node *col, const columns *c, lt_value gy) {
  const lt_window *v = &c->window;
  lt_conv2d_grad_weight_attrs a = {.kernel = lt_window_kernel(v),
                                   .stride = lt_window_stride(v),
                                   .pad = lt_window_pad(v),
                                   .dilation = lt_window_dilation(v),
                                   .groups = 1};
  return lt_emit(s->to, LT_OP_conv2d_grad_weight, &a, (lt_value[]){col->in[0], gy}, 2);
}

/* im2col stands behind operand k of the product. */
static lt_value see_side(lt_raiser *s, const lt_node *n, const lt_value *in, unsigned k) {
  const side x = side_of(s->to, n, in, k), other = side_of(s->to, n, in, !k);
  lt_view v;
  columns c;
  const lt_node *col = columns_below(&v, &c, s, x.v);
  if (!col) return 0;
  const unsigned *order = column_order[c.to_matrix];
  word sum = {0}, kept = {0};
  if (!spell(&sum, &v, x.summed, order)) return 0;
  for (unsigned i = 0; i + 2 < x.rank; i++)
    if (!spell(&kept, &v, i, order)) return 0;
  if (k == 1) kept.letter[kept.n++] = FREE;
  if (!spell(&kept, &v, x.kept, order)) return 0;
  if (k == 0) kept.letter[kept.n++] = FREE;
  bool forward = sum.mask == present(&c, FILTER) && kept.mask == present(&c, IMAGE);
  bool weights = sum.mask == present(&c, IMAGE) && kept.mask == present(&c, FILTER);
  /* linear has a third operand: its bias belongs to a result's rows */
  if (!forward && (!weights || n->n_in > 2)) return 0;
  lt_value matrix = as_matrix(s->to, &other);
  lt_value w =
    matrix ? into_form(s, matrix, other.kept == other.rank - 1, &sum, &c, forward ? filter_form : image_form) : 0;
  if (!w) return 0;
  lt_value y = forward ? emit_conv(s, col, &c, w, n->n_in > 2 ? in[2] : 0) : emit_grad_weight(s, col, &c, w);
  const lt_type t = *lt_type_of(s->from, n->out);
  return out_of_form(s, y, forward ? image_form : filter_form, &kept, &t);
}

lt_value lt_recognise_product(lt_raiser *s, const lt_node *n, const lt_value *in) {
  lt_value y = see_side(s, n, in, 0);
  return y ? y : see_side(s, n, in, 1);
}

/* ---- col2im of a product ----------------------------------------------------------------------------------------- */

/* The operand of a product, its kept axis read as w; what both operands share is the form's free axis. */
static lt_value kept_in_form(lt_raiser *s, const side *x, const word *w, const columns *c, const unsigned *form) {
  lt_value matrix = as_matrix(s->to, x);
  return matrix ? into_form(s, matrix, x->summed == x->rank - 1, w, c, form) : 0;
}

/* Which letters of the columns each axis of the product (the view's base) holds, in its own order; false: one is
 * torn. */
static bool spell_base(word w[2], lt_view *v, const columns *c) {
  const unsigned *order = column_order[c->to_matrix];
  int64_t dim[LETTERS];
  for (unsigned i = 0; i < LETTERS; i++) dim[i] = c->dim[order[i]];
  if (!lt_view_reshape(v, LETTERS, dim)) return false;
  for (unsigned atom = 0; atom < v->n; atom++) {
    unsigned place = 0, axis = 0;
    while (v->order[place] != atom) place++;
    while (v->first[axis + 1] <= place) axis++;
    word *to = &w[v->base_axis[atom]];
    if (to->mask >> order[axis] & 1) return false;
    to->mask |= 1u << order[axis], to->letter[to->n++] = order[axis];
  }
  return true;
}

lt_value lt_recognise_fold(lt_raiser *s, const lt_node *n, const lt_value *in) {
  const lt_type image = *lt_type_of(s->from, n->out);
  const columns c = columns_of(s->from, n, ((const lt_col2im_attrs *)n->attrs)->to_matrix);
  lt_view v;
  word w[2] = {{0}, {0}};
  lt_raise_view(&v, s, in[0]);
  const lt_node *p = lt_node_of(s->to, v.base);
  bool product = p->op == LT_OP_matmul || (p->op == LT_OP_linear && !p->in[2]);
  if (!product || lt_raise_is(s, v.base, LT_ANCHOR) || lt_type_of(s->to, v.base)->rank != 2 || !spell_base(w, &v, &c))
    return 0;
  /* the operand that is gy */
  unsigned rows = w[0].mask == present(&c, IMAGE) && w[1].mask == present(&c, FILTER) ? 0 : 1;
  if (w[rows].mask != present(&c, IMAGE) || w[!rows].mask != present(&c, FILTER)) return 0;
  const side left = side_of(s->to, p, p->in, 0), right = side_of(s->to, p, p->in, 1);
  lt_value gy = kept_in_form(s, rows ? &right : &left, &w[rows], &c, image_form);
  lt_value filter = gy ? kept_in_form(s, rows ? &left : &right, &w[!rows], &c, filter_form) : 0;
  if (!filter) return 0;
  const lt_window *o = &c.window;
  lt_conv2d_grad_input_attrs g = {.size = {{image.dim[2], image.dim[3]}},
                                  .stride = lt_window_stride(o),
                                  .pad = lt_window_pad(o),
                                  .dilation = lt_window_dilation(o),
                                  .groups = 1};
  lt_value y = lt_emit(s->to, LT_OP_conv2d_grad_input, &g, (lt_value[]){gy, filter}, 2);
  lt_raise_mark(s, y, LT_SEEN);
  return y;
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

static bool is_reduced(const lt_ints *axes, unsigned axis) {
  for (int64_t i = 0; i < axes->n; i++)
    if (axes->v[i] == (int64_t)axis) return true;
  return axes->n == 0;
}

/* Spell what a reduction keeps and what it reduces. */
static bool spell_axes(const lt_view *v, const columns *c, const lt_ints *axes, word *kept, word *gone) {
  for (unsigned i = 0; i < v->rank; i++)
    if (!spell(is_reduced(axes, i) ? gone : kept, v, i, column_order[c->to_matrix])) return false;
  return true;
}

static lt_value emit_pool(lt_raiser *s, const lt_node *n, const lt_node *col, const columns *c) {
  const lt_window *v = &c->window;
  const lt_pair kernel = lt_window_kernel(v), stride = lt_window_stride(v), dilation = lt_window_dilation(v);
  const lt_quad pad = lt_window_pad(v);
  if (n->op == LT_OP_mean) {
    lt_avg_pool_attrs a = {
      .kernel = kernel, .stride = stride, .pad = pad, .dilation = dilation, .count_include_pad = true};
    return lt_emit(s->to, LT_OP_avg_pool, &a, col->in, 1);
  }
  lt_max_pool_attrs a = {.kernel = kernel,
                         .stride = stride,
                         .pad = pad,
                         .dilation = dilation,
                         .pad_value = 0,
                         .all_ties = ((const lt_reduce_max_attrs *)n->attrs)->all_ties};
  return lt_emit(s->to, LT_OP_max_pool, &a, col->in, 1);
}

lt_value lt_recognise_pool(lt_raiser *s, const lt_node *n, const lt_value *in) {
  const lt_ints *axes =
    n->op == LT_OP_mean ? &((const lt_mean_attrs *)n->attrs)->axes : &((const lt_reduce_max_attrs *)n->attrs)->axes;
  static const unsigned window_form[4] = {N, C, OH, OW};
  enum { WINDOW = 1 << KH | 1 << KW };
  lt_view v;
  columns c;
  word kept = {0}, gone = {0};
  const lt_node *col = columns_below(&v, &c, s, in[0]);
  if (!col || !spell_axes(&v, &c, axes, &kept, &gone) || gone.mask != present(&c, WINDOW)) return 0;
  /* of equal maxima the first one counts: in the window's own order */
  if (gone.n == 2 && gone.letter[0] != KH && n->op == LT_OP_reduce_max) return 0;
  const lt_type t = *lt_type_of(s->from, n->out);
  return out_of_form(s, emit_pool(s, n, col, &c), window_form, &kept, &t);
}
