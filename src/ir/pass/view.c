/* view.c: movement as permutations of pieces of axes (see view.h). */
#include "ir/pass/view.h"

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static void whole(lt_view *out, lt_value base, unsigned rank, const int64_t *dim) {
  *out = (lt_view){.base = base, .rank = rank};
  for (unsigned i = 0; i < rank; i++) {
    out->dim[i] = dim[i];
    out->first[i] = (uint8_t)out->n;
    if (dim[i] == 1) continue;
    out->extent[out->n] = dim[i], out->base_axis[out->n] = (uint8_t)i, out->order[out->n] = (uint8_t)out->n;
    out->n++;
  }
  out->first[rank] = (uint8_t)out->n;
}

void lt_view_whole(lt_view *out, const lt_graph *g, lt_value v) {
  const lt_type *t = lt_type_of(g, v);
  whole(out, v, t->rank, t->dim);
}

bool lt_view_moves(const lt_node *n) { return n->op == LT_OP_reshape || n->op == LT_OP_transpose; }

/* v is n's result, the view that of its operand. */
static bool step(lt_view *view, const lt_graph *g, const lt_node *n, lt_value v) {
  if (n->op == LT_OP_transpose) lt_view_transpose(view, ((const lt_transpose_attrs *)n->attrs)->perm.v);
  else if (!lt_view_reshape(view, lt_type_of(g, v)->rank, lt_type_of(g, v)->dim)) return false;
  view->steps++;
  return lt_view_fits(view);
}

void lt_view_next(lt_view *view, const lt_graph *g, lt_value v) {
  if (!step(view, g, lt_node_of(g, v), v)) lt_view_whole(view, g, v);
}

void lt_view_of(lt_view *out, const lt_graph *g, lt_value v) {
  const lt_node *n = lt_node_of(g, v);
  if (!lt_view_moves(n)) {
    lt_view_whole(out, g, v);
    return;
  }
  lt_view_of(out, g, n->in[0]);
  lt_view_next(out, g, v);
}

void lt_view_start(lt_view *out, const lt_graph *g, lt_value base, unsigned rank, const int64_t *dim) {
  whole(out, base, rank, dim);
  lt_view_reshape(out, lt_type_of(g, base)->rank, lt_type_of(g, base)->dim);
}

bool lt_view_follow(lt_view *out, const lt_graph *g, lt_value v) {
  if (v == out->base) return true;
  const lt_node *n = lt_node_of(g, v);
  return lt_view_follow(out, g, n->in[0]) && step(out, g, n, v);
}

unsigned lt_view_axis(const lt_view *v, unsigned axis, unsigned base_axis[LT_MAX_ATOMS]) {
  unsigned n = 0;
  for (unsigned i = v->first[axis]; i < v->first[axis + 1]; i++) base_axis[n++] = v->base_axis[v->order[i]];
  return n;
}

/* ---- moving ------------------------------------------------------------------------------------------------------ */

void lt_view_transpose(lt_view *v, const int64_t *perm) {
  lt_view old = *v;
  unsigned at = 0;
  for (unsigned i = 0; i < v->rank; i++) {
    v->dim[i] = old.dim[perm[i]];
    v->first[i] = (uint8_t)at;
    for (unsigned k = old.first[perm[i]]; k < old.first[perm[i] + 1]; k++) v->order[at++] = old.order[k];
  }
}

/* The atom at a place becomes two, the outer one of extent `outer`. */
static bool cut(lt_view *v, unsigned place, int64_t outer) {
  unsigned atom = v->order[place];
  if (v->n == LT_MAX_ATOMS || v->extent[atom] % outer) return false;
  for (unsigned i = v->n; i > atom + 1; i--) v->extent[i] = v->extent[i - 1], v->base_axis[i] = v->base_axis[i - 1];
  v->extent[atom + 1] = v->extent[atom] / outer, v->base_axis[atom + 1] = v->base_axis[atom];
  v->extent[atom] = outer;
  for (unsigned i = 0; i < v->n; i++) v->order[i] += v->order[i] > atom;
  for (unsigned i = v->n; i > place + 1; i--) v->order[i] = v->order[i - 1];
  v->order[place + 1] = (uint8_t)(atom + 1);
  v->n++;
  return true;
}

bool lt_view_reshape(lt_view *v, unsigned rank, const int64_t *dim) {
  lt_view to = *v;
  unsigned place = 0;
  to.rank = rank;
  for (unsigned i = 0; i < rank; i++) {
    int64_t left = dim[i];
    to.dim[i] = dim[i], to.first[i] = (uint8_t)place;
    while (left > 1) {
      if (place == to.n) return false;
      int64_t e = to.extent[to.order[place]];
      if (e > left && !cut(&to, place, left)) return false;
      e = LT_MIN(e, left);
      if (left % e) return false;
      left /= e, place++;
    }
  }
  to.first[rank] = (uint8_t)place;
  *v = to;
  return place == to.n;
}

bool lt_view_is_plain(const lt_view *v) {
  for (unsigned i = 0; i < v->n; i++)
    if (v->order[i] != i) return false;
  return true;
}

/* ---- emitting ---------------------------------------------------------------------------------------------------- */

/* reshape to `from`, transpose by `perm`, reshape to the view's dims: the first and the last may be nothing. */
typedef struct moves { lt_type from; int64_t perm[LT_MAX_RANK]; lt_type mid; } moves;

static unsigned next_of_one(const lt_type *base, unsigned from) {
  while (from < base->rank && base->dim[from] != 1) from++;
  return from;
}

/* Is the view's axis one whole axis of the base? Which? Those of extent 1 are taken in turn (*one: the next to look
 * at). */
static bool is_axis(int64_t *out, const lt_type *base, const lt_view *v, unsigned i, unsigned *one) {
  unsigned axis[LT_MAX_ATOMS], n = lt_view_axis(v, i, axis);
  for (unsigned k = 1; k < n; k++)
    if (axis[k] != axis[0] || v->order[v->first[i] + k] != v->order[v->first[i] + k - 1] + 1) return false;
  *out = n ? axis[0] : next_of_one(base, *one);
  if (!n) *one = (unsigned)*out + 1;
  return base->dim[*out] == v->dim[i];
}

/* Every axis of the view is one of the base: a transposition and nothing else. */
static bool by_transpose(moves *m, const lt_type *base, const lt_view *v) {
  unsigned one = 0;
  if (v->rank != base->rank) return false;
  for (unsigned i = 0; i < v->rank; i++)
    if (!is_axis(&m->perm[i], base, v, i, &one)) return false;
  m->from = *base;
  return true;
}

/* In terms of the base's own axes, those of extent 1 first; false: an axis is cut apart. */
static bool by_axes(moves *m, const lt_type *base, const lt_view *v) {
  unsigned rank = 0;
  bool used[LT_MAX_RANK] = {false};
  for (unsigned i = 0; i < base->rank; i++)
    if (base->dim[i] == 1) m->perm[rank++] = i;
  for (unsigned i = 0; i < v->n; i++) {
    unsigned axis = v->base_axis[v->order[i]];
    bool goes_on = i && v->order[i] == v->order[i - 1] + 1 && v->base_axis[v->order[i - 1]] == axis;
    if (goes_on) continue;
    if (used[axis]) return false;
    used[axis] = true;
    m->perm[rank++] = axis;
  }
  m->from = *base;
  return true;
}

/* Atoms that stay neighbours are one axis. */
static void by_atoms(moves *m, const lt_type *base, const lt_view *v) {
  uint8_t group[LT_MAX_ATOMS] = {0}; /* by atom */
  int64_t dim[LT_MAX_ATOMS];
  bool follows[LT_MAX_ATOMS] = {false}; /* atom i comes right after atom i - 1 in the view too */
  for (unsigned i = 1; i < v->n; i++) follows[v->order[i]] = v->order[i] == v->order[i - 1] + 1;
  unsigned n = 0, rank = 0;
  for (unsigned a = 0; a < v->n; a++) {
    if (follows[a]) dim[n - 1] *= v->extent[a];
    else dim[n++] = v->extent[a];
    group[a] = (uint8_t)(n - 1);
  }
  for (unsigned i = 0; i < v->n; i++)
    if (!follows[v->order[i]]) m->perm[rank++] = group[v->order[i]];
  m->from = lt_make_type(base->dtype, n, dim);
}

bool lt_view_fits(const lt_view *v) {
  unsigned groups = v->n > 0;
  for (unsigned i = 1; i < v->n; i++) groups += v->order[i] != v->order[i - 1] + 1;
  return groups <= LT_MAX_RANK;
}

static moves moves_of(const lt_graph *g, const lt_view *v) {
  const lt_type base = *lt_type_of(g, v->base);
  moves m = {0};
  if (!by_transpose(&m, &base, v) && !by_axes(&m, &base, v)) by_atoms(&m, &base, v);
  int64_t dim[LT_MAX_RANK];
  for (unsigned i = 0; i < m.from.rank; i++) dim[i] = m.from.dim[m.perm[i]];
  m.mid = lt_make_type(base.dtype, m.from.rank, dim);
  return m;
}

static bool is_shape(const lt_type *t, unsigned rank, const int64_t *dim) {
  return t->rank == rank && !memcmp(t->dim, dim, rank * sizeof *dim);
}

unsigned lt_view_cost(const lt_graph *g, const lt_view *v) {
  const lt_type *base = lt_type_of(g, v->base);
  if (lt_view_is_plain(v)) return !is_shape(base, v->rank, v->dim);
  moves m = moves_of(g, v);
  return 1u + !is_shape(base, m.from.rank, m.from.dim) + !is_shape(&m.mid, v->rank, v->dim);
}

lt_value lt_view_emit(lt_graph *g, const lt_view *v) {
  if (lt_view_is_plain(v)) return lt_reshape(g, v->base, v->rank, v->dim);
  moves m = moves_of(g, v);
  lt_value x = lt_reshape(g, v->base, m.from.rank, m.from.dim);
  return lt_reshape(g, lt_transpose(g, x, m.perm), v->rank, v->dim);
}
