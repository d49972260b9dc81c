/* spell.c: ops whose meaning ONNX leaves open at the edges, written so that it does not: indices outside, divisors that
 * are 0, floats that no integer holds, an eps that no attribute holds. Where the operands rule these out, they stay as
 * they are; what is written here rules them out, so it stays when it is exported again.
 *
 * ONNX counts negative indices from the end and forbids others outside; ours give 0 below and NaN above, and drop what
 * is scattered there. */
#include "export/onnx/writer.h"
#include "ir/op_util.h"

#include <math.h>

static lt_value select_of(lt_graph *g, lt_value c, lt_value a, lt_value b) {
  return lt_emit(g, LT_OP_select, NULL, (lt_value[]){c, a, b}, 3);
}

static lt_value integer(lt_graph *g, lt_dtype t, int64_t v) {
  const lt_type type = lt_scalar(t);
  const int32_t small = (int32_t)v;
  return lt_const_data(g, lt_data_new(&g->arena, &type, t == LT_I32 ? (const void *)&small : &v));
}

/* ---- indices ----------------------------------------------------------------------------------------------------- */

typedef struct outside { bool below, above; } outside;

static outside may_be_outside(const lt_graph *g, lt_value index, int64_t size) {
  lt_range r = lt_range_of(g, index);
  return (outside){r.lo < 0, r.hi >= size};
}

static lt_value moved_inside(lt_graph *g, lt_value index, int64_t size) {
  lt_dtype t = lt_type_of(g, index)->dtype;
  lt_value least = integer(g, t, 0), most = integer(g, t, size - 1);
  return lt_binary(g, LT_OP_max, lt_binary(g, LT_OP_min, index, most), least);
}

/* y where index is inside, else what is said for below and above. */
static lt_value where_inside(lt_graph *g, outside o, lt_value index, int64_t size, lt_value y, double below,
                             double above) {
  lt_dtype t = lt_type_of(g, index)->dtype;
  if (o.above) {
    lt_value is = lt_binary(g, LT_OP_less_equal, integer(g, t, size), index);
    y = select_of(g, is, lt_number(g, y, above), y);
  }
  if (o.below) {
    lt_value is = lt_binary(g, LT_OP_less, index, integer(g, t, 0));
    y = select_of(g, is, lt_number(g, y, below), y);
  }
  return y;
}

bool lt_spell_gather(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  const int64_t size = lt_type_of(g, in[0])->dim[((const lt_gather_attrs *)n->attrs)->axis];
  outside o = may_be_outside(g, in[1], size);
  if (!o.below && !o.above) return false;
  lt_value y = lt_emit(g, n->op, n->attrs, (lt_value[]){in[0], moved_inside(g, in[1], size)}, 2);
  r->map[n->out] = where_inside(g, o, in[1], size, y, 0, NAN);
  return true;
}

bool lt_spell_take(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  const int64_t axis = ((const lt_take_attrs *)n->attrs)->axis;
  const lt_type x = *lt_type_of(g, in[0]), index = *lt_type_of(g, in[1]);
  outside o = may_be_outside(g, in[1], x.dim[axis]);
  if (!o.below && !o.above) return false;
  lt_value y = lt_emit(g, n->op, n->attrs, (lt_value[]){in[0], moved_inside(g, in[1], x.dim[axis])}, 2);
  lt_type beside = index; /* the axes of x that follow are all alike */
  for (int64_t i = axis + 1; i < x.rank; i++) beside.dim[beside.rank++] = 1;
  r->map[n->out] = where_inside(g, o, lt_reshape_like(g, in[1], &beside), x.dim[axis], y, 0, NAN);
  return true;
}

bool lt_spell_scatter_add(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  const int64_t size = ((const lt_scatter_add_attrs *)n->attrs)->size;
  outside o = may_be_outside(g, in[1], size);
  if (!o.below && !o.above) return false;
  lt_value kept = where_inside(g, o, in[1], size, in[0], 0, 0), index = moved_inside(g, in[1], size);
  r->map[n->out] = lt_emit(g, n->op, n->attrs, (lt_value[]){kept, index}, 2);
  return true;
}

/* ---- division ---------------------------------------------------------------------------------------------------- */

static bool never_zero(const lt_graph *g, lt_value v);

/* select(b == 0, something else, b) */
static bool guarded(const lt_graph *g, const lt_node *n) {
  if (n->op != LT_OP_select || !never_zero(g, n->in[1])) return false;
  const lt_node *c = lt_node_of(g, n->in[0]);
  if (c->op != LT_OP_equal || c->in[0] != n->in[2]) return false;
  const lt_range zero = lt_range_of(g, c->in[1]);
  return zero.lo == 0 && zero.hi == 0;
}

static bool never_zero(const lt_graph *g, lt_value v) {
  const lt_range r = lt_range_of(g, v);
  return r.lo > 0 || r.hi < 0 || guarded(g, lt_node_of(g, v));
}

bool lt_spell_div(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  lt_dtype t = lt_type_of(g, in[1])->dtype;
  if (lt_is_float(t)) return false;
  const lt_data *d = lt_data_in(lt_node_of(g, in[1]));
  bool whole = d != NULL; /* all of a constant's elements, on both sides of 0 */
  for (int64_t i = 0; whole && i < lt_type_count(&d->type); i++) whole = lt_data_at(d, i) != 0;
  if (whole || never_zero(g, in[1])) return false;
  lt_value zero = integer(g, t, 0), is = lt_binary(g, LT_OP_equal, in[1], zero);
  lt_value divisor = select_of(g, is, integer(g, t, 1), in[1]);
  r->map[n->out] = select_of(g, is, zero, lt_binary(g, LT_OP_div, in[0], divisor));
  return true;
}

/* ---- floats to integers ------------------------------------------------------------------------------------------ */

/* The largest float of its type that the integers hold. */
static double largest(lt_dtype from, lt_dtype to) {
  if (from == LT_F32) return to == LT_I32 ? 2147483520.0 : 9223371487098961920.0;
  return to == LT_I32 ? 2147483647.0 : 9223372036854774784.0;
}

static double smallest(lt_dtype to) { return to == LT_I32 ? -0x1p31 : -0x1p63; }

/* clip(select(x == x, x, 0)) within the limits: what is written below */
static bool saturated(const lt_graph *g, lt_value x, lt_dtype to) {
  const lt_node *n = lt_node_of(g, x), *s = n->n_in ? lt_node_of(g, n->in[0]) : NULL;
  if (n->op != LT_OP_clip || s->op != LT_OP_select) return false;
  const lt_clip_attrs *a = n->attrs;
  const lt_node *c = lt_node_of(g, s->in[0]);
  bool number = c->op == LT_OP_equal && c->in[0] == c->in[1] && c->in[0] == s->in[1];
  return number && a->lo >= smallest(to) && a->hi <= largest(lt_type_of(g, x)->dtype, to);
}

bool lt_spell_cast(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_graph *g = r->to;
  const lt_dtype from = lt_type_of(g, in[0])->dtype, to = lt_type_of(r->from, n->out)->dtype;
  if (!lt_is_float(from) || lt_dtype_kind(to) != LT_INTEGERS || saturated(g, in[0], to)) return false;
  const double top = largest(from, to);
  lt_value number = select_of(g, lt_binary(g, LT_OP_equal, in[0], in[0]), in[0], lt_number(g, in[0], 0));
  lt_clip_attrs a = {.lo = smallest(to), .hi = top};
  lt_value y = lt_cast(g, lt_emit(g, LT_OP_clip, &a, &number, 1), to);
  lt_value above = lt_binary(g, LT_OP_less, lt_number(g, in[0], top), in[0]);
  r->map[n->out] = select_of(g, above, integer(g, to, to == LT_I32 ? INT32_MAX : INT64_MAX), y);
  return true;
}

/* ---- attributes, which are f32 ----------------------------------------------------------------------------------- */

bool lt_spell_batch_norm(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  const double eps = ((const lt_batch_norm_attrs *)n->attrs)->eps;
  if (lt_type_of(r->to, in[0])->dtype != LT_F64 || (double)(float)eps == eps) return false;
  lt_expand(r->to, n, in, &r->map[n->out]);
  return true;
}
