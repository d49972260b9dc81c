/* range.c: between which bounds the integers of a value are, as far as the ops say that make them. */
#include "export/onnx/writer.h"
#include "ir/window.h"

enum { DEPTH = 12 }; /* of ops that are looked through */

static lt_range limits_of(lt_dtype t) {
  if (t == LT_I32) return (lt_range){INT32_MIN, INT32_MAX};
  return lt_dtype_kind(t) == LT_TRUTHS ? (lt_range){0, 1} : (lt_range){INT64_MIN, INT64_MAX};
}

static lt_range of_data(const lt_data *d) {
  lt_range r = {INT64_MAX, INT64_MIN};
  for (int64_t i = 0; i < lt_type_count(&d->type); i++) {
    int64_t v;
    int32_t v32;
    if (d->type.dtype == LT_I64) memcpy(&v, d->at + 8 * i, sizeof v);
    else if (d->type.dtype == LT_I32) memcpy(&v32, d->at + 4 * i, sizeof v32), v = v32;
    else v = d->at[i] != 0;
    r = (lt_range){LT_MIN(r.lo, v), LT_MAX(r.hi, v)};
  }
  return r;
}

static lt_range within(const lt_graph *g, lt_value v, int depth);

static lt_range both(lt_range a, lt_range b) { return (lt_range){LT_MIN(a.lo, b.lo), LT_MAX(a.hi, b.hi)}; }

static lt_range of_cast(const lt_graph *g, const lt_node *n, int depth) {
  lt_range own = limits_of(lt_type_of(g, n->out)->dtype);
  if (lt_is_float(lt_type_of(g, n->in[0])->dtype)) return own;
  lt_range r = within(g, n->in[0], depth);
  return r.lo >= own.lo && r.hi <= own.hi ? r : own; /* else it wraps */
}

/* Windows that see nothing of the image give -1. */
static lt_range of_index(const lt_graph *g, const lt_node *n) {
  const lt_window w = lt_window_of(g, n);
  int64_t least = 1;
  for (unsigned k = 0; k < 2; k++)
    for (int64_t i = 0; i < w.axis[k].windows; i++) least = LT_MIN(least, lt_window_elements(&w.axis[k], i, false));
  return (lt_range){least ? 0 : -1, w.axis[0].size * w.axis[1].size - 1};
}

static lt_range within(const lt_graph *g, lt_value v, int depth) {
  const lt_node *n = lt_node_of(g, v);
  const lt_range any = limits_of(lt_type_of(g, v)->dtype);
  if (n->op == LT_OP_const) return of_data(((const lt_const_attrs *)n->attrs)->value);
  if (depth == 0) return any;
  switch (lt_facts(n)->moves) {
  case LT_MOVES_VIEW: case LT_MOVES_INDEX: case LT_MOVES_REPEAT: return within(g, n->in[0], depth - 1);
  default: break;
  }
  switch (n->op) {
  case LT_OP_cast: return of_cast(g, n, depth - 1);
  case LT_OP_argmax: {
    const int64_t axis = ((const lt_argmax_attrs *)n->attrs)->axis;
    return (lt_range){0, lt_type_of(g, n->in[0])->dim[axis] - 1};
  }
  case LT_OP_max_pool_index: return of_index(g, n);
  case LT_OP_select: return both(within(g, n->in[1], depth - 1), within(g, n->in[2], depth - 1));
  case LT_OP_max: {
    lt_range a = within(g, n->in[0], depth - 1), b = within(g, n->in[1], depth - 1);
    return (lt_range){LT_MAX(a.lo, b.lo), LT_MAX(a.hi, b.hi)};
  }
  case LT_OP_min: {
    lt_range a = within(g, n->in[0], depth - 1), b = within(g, n->in[1], depth - 1);
    return (lt_range){LT_MIN(a.lo, b.lo), LT_MIN(a.hi, b.hi)};
  }
  default: return any;
  }
}

lt_range lt_range_of(const lt_graph *g, lt_value v) { return within(g, v, DEPTH); }
