/* graph_eval.h: evaluating graphs in tests: leaves filled from their names, all outputs and updates computed by the
 * interpreter, two graphs compared. */
#ifndef LT_GRAPH_EVAL_H
#define LT_GRAPH_EVAL_H
#include "ir/ir.h"

#include <math.h>

/* g, freed when the test's body ends, however it ends. */
static inline lt_graph *lt_test_own(lt_job *job, lt_graph *g) {
  lt_defer_cancel(job, g);
  lt_defer(job, lt_graph_free_fn, g);
  return g;
}

/* Floats normal (params and states too: zeros would hide much), integers 0 … 2, labels of nothing out of range. */
static inline const lt_tensor *lt_test_leaf(lt_arena *a, const lt_graph *g, lt_value v, uint64_t seed) {
  const lt_type *t = lt_type_of(g, v);
  uint64_t stream = lt_random_stream(lt_name_of(g, v));
  lt_tensor *x = lt_tensor_new(a, t);
  for (int64_t i = 0, n = lt_type_count(t); i < n; i++) {
    double z = lt_random_normal(seed, stream, (uint64_t)i);
    if (t->dtype == LT_BOOL) lt_tensor_set(x, i, z > 0);
    else if (!lt_is_float(t->dtype)) lt_tensor_set(x, i, lt_random_u32(seed, stream, (uint64_t)i) % 3);
    else lt_tensor_set(x, i, strstr(lt_name_of(g, v), "var") ? fabs(z) + 0.5 : z); /* a variance is positive */
  }
  return x;
}

static inline lt_eval *lt_test_eval(lt_job *job, lt_arena *a, const lt_graph *g, lt_eval_mode mode, uint64_t seed) {
  lt_eval *e = LT_NEW(a, lt_eval);
  lt_eval_init(e, job, a, g, mode);
  for (lt_value v = 1; v < g->values.n; v++)
    if (lt_is_leaf(g, v) && lt_op_of(g, v) != LT_OP_const) lt_eval_set(e, v, lt_test_leaf(a, g, v, seed));
  return e;
}

/* max |a - b| / max |b|; infinite when shapes differ or only one is NaN. NaN equals NaN, an infinity itself. */
static inline double lt_test_distance(const lt_tensor *a, const lt_tensor *b) {
  double most = 0, size = 0;
  if (!lt_type_eq(&a->type, &b->type)) return INFINITY;
  for (int64_t i = 0, n = lt_type_count(&a->type); i < n; i++) {
    double x = lt_tensor_at(a, i), y = lt_tensor_at(b, i);
    if (isnan(x) != isnan(y)) return INFINITY;
    if (isnan(x) || x == y) continue;
    if (!isfinite(x) || !isfinite(y)) return INFINITY;
    most = fmax(most, fabs(x - y));
  }
  for (int64_t i = 0, n = lt_type_count(&a->type); i < n; i++)
    if (isfinite(lt_tensor_at(b, i))) size = fmax(size, fabs(lt_tensor_at(b, i)));
  return most == 0 ? 0 : size > 0 ? most / size : INFINITY;
}

#endif
