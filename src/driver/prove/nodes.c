/* nodes.c: values that compiled code has computed against the interpreter in double precision.
 *
 * How far a value may be off is measured by what it was computed from. An elementwise result in f32 is near the exact
 * one relative to itself. A sum may cancel, so its error is measured by the sum of the magnitudes of its terms (which
 * the interpreter gives: the same node on the operands' absolute values), with room for rounding that grows as the
 * square roots of the length and the number of its runs (Higham, Accuracy and Stability of Numerical Algorithms, 2nd
 * ed., §2.6 and §4.2). Whole numbers, truth values and moved elements are the same or wrong. */
#include "driver/prove/probe.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

/* ---- elements ---------------------------------------------------------------------------------------------------- */

static double distance(const lt_tensor *got, const lt_tensor *want, int64_t i, double *a, double *b) {
  *a = lt_tensor_at(got, i), *b = lt_tensor_at(want, i);
  if (!lt_is_float(got->type.dtype)) return got->i[i] == want->i[i] ? 0 : fmax(1, fabs(*a - *b));
  *b = lt_dtype_round(got->type.dtype, *b);
  if (*a == *b || (isnan(*a) && isnan(*b))) return 0;
  double d = fabs(*a - *b);
  return isfinite(d) ? d : INFINITY;
}

lt_gap lt_compare(const lt_tensor *got, const lt_tensor *want, const lt_tensor *size, lt_tolerance t) {
  lt_gap gap = {0};
  double most = -1;
  for (int64_t i = 0, n = lt_type_count(&got->type); i < n; i++) {
    double a, b, d = distance(got, want, i, &a, &b), allowed = t.atol + t.rtol * fabs(size ? lt_tensor_at(size, i) : b);
    if (d == 0 || (d <= allowed && d < INFINITY)) continue;
    double ratio = d < INFINITY && allowed > 0 ? d / allowed : d;
    gap.bad++;
    if (ratio > most) most = ratio, gap.worst = i, gap.got = a, gap.want = b, gap.allowed = allowed;
  }
  return gap;
}

double lt_largest(const lt_tensor *t) {
  double most = 0;
  for (int64_t i = 0, n = lt_type_count(&t->type); i < n; i++) {
    double x = fabs(lt_tensor_at(t, i));
    if (isfinite(x)) most = fmax(most, x);
  }
  return most;
}

const char *lt_index_text(lt_arena *a, const lt_type *t, int64_t flat) {
  lt_str s;
  int64_t index[LT_MAX_RANK];
  if (!t->rank) return "";
  lt_str_init(&s, a);
  for (int i = t->rank - 1; i >= 0; i--) index[i] = flat % t->dim[i], flat /= t->dim[i];
  for (int i = 0; i < t->rank; i++) lt_str_printf(&s, "%s%lld", i ? ", " : "[", (long long)index[i]);
  lt_str_puts(&s, "]");
  return s.at;
}

/* ---- operands and results ---------------------------------------------------------------------------------------- */

const lt_tensor *lt_probe_tensor(const lt_probe *p, lt_arena *a, lt_value v) {
  const lt_node *n = lt_node_of(p->g, v);
  if (n->op == LT_OP_const) return lt_tensor_of(a, lt_data_in(n));
  return lt_tensor_import(a, lt_type_of(p->g, v), p->value[v]);
}

static const lt_tensor *magnitude(lt_arena *a, const lt_tensor *t) {
  if (!t || !lt_is_float(t->type.dtype)) return t;
  lt_tensor *y = lt_tensor_copy(a, t);
  for (int64_t i = 0, n = lt_type_count(&t->type); i < n; i++) y->f[i] = fabs(y->f[i]);
  return y;
}

/* What node n makes of its operands, or of their magnitudes. */
static lt_tensor **interpret(lt_probe *p, lt_arena *a, const lt_node *n, bool magnitudes) {
  lt_eval e = {.job = p->job, .arena = a, .g = p->g, .mode = LT_EVAL_DOUBLE, .magnitudes = magnitudes};
  const lt_tensor **in = LT_NEW_ARRAY(a, const lt_tensor *, n->n_in + 1u);
  lt_tensor **out = LT_NEW_ARRAY(a, lt_tensor *, n->n_out);
  for (unsigned i = 0; i < n->n_in; i++) {
    in[i] = n->in[i] ? lt_probe_tensor(p, a, n->in[i]) : NULL;
    if (magnitudes) in[i] = magnitude(a, in[i]);
  }
  for (unsigned i = 0; i < n->n_out; i++) out[i] = lt_tensor_new(a, lt_type_of(p->g, n->out + i));
  lt_eval_node(&e, n, in, out);
  return out;
}

/* ---- one node ---------------------------------------------------------------------------------------------------- */

/* Rounding by half a unit of the last place per addition, as a walk at random, with room to spare: in a run, and over
 * the runs of a sum (plan/runs.h), were they all added in order. */
static lt_tolerance widened(lt_tolerance t, lt_dtype dtype, double terms) {
  double unit = 0;
  switch (dtype) {
  case LT_F32: unit = 0x1p-24; break;
  case LT_F64: unit = 0x1p-53, t.rtol *= 0x1p-20; break;
  case LT_I32: case LT_I64: case LT_BOOL: case LT_DTYPES: assert(!"floats"); break;
  }
  t.rtol += 2 * unit * (sqrt(LT_MIN(terms, LT_RUN)) + sqrt(terms / LT_RUN));
  return t;
}

static lt_gap compare_result(lt_probe *p, lt_arena *a, const lt_node *n, unsigned i, const lt_tensor *want,
                             lt_tolerance t) {
  const lt_type *type = lt_type_of(p->g, n->out + i);
  const lt_tensor *got = lt_probe_tensor(p, a, n->out + i);
  double terms = lt_facts(n)->terms ? lt_facts(n)->terms(p->g, n) : 0; /* 0: the op adds nothing up */
  if (!lt_is_float(type->dtype) || lt_op_table[n->op].flags & LT_MOVE)
    return lt_compare(got, want, NULL, (lt_tolerance){0});
  t = widened(t, type->dtype, terms);
  lt_gap gap = lt_compare(got, want, NULL, t);
  return gap.bad && terms ? lt_compare(got, want, interpret(p, a, n, true)[i], t) : gap;
}

static void print_range(lt_str *s, const lt_probe *p, lt_arena *a, const lt_node *n, unsigned k) {
  const lt_tensor *t = lt_probe_tensor(p, a, n->in[k]);
  double lo = INFINITY, hi = -INFINITY;
  long long nans = 0;
  int64_t odd = -1; /* the first that is not finite */
  for (int64_t i = 0, count = lt_type_count(&t->type); i < count; i++) {
    double x = lt_tensor_at(t, i);
    if (!isfinite(x) && odd < 0) odd = i;
    if (isnan(x)) nans++;
    else lo = fmin(lo, x), hi = fmax(hi, x);
  }
  const char *name = lt_name_of(p->g, n->in[k]);
  lt_str_printf(s, "  %s%s%s%s %s: min %.9g, max %.9g, %lld NaN", lt_operand_name(a, n->op, k), name ? " = `" : "",
                name ? name : "", name ? "`" : "", lt_type_text(a, &t->type), lo, hi, nans);
  if (odd >= 0) lt_str_printf(s, "; %.9g at %s", lt_tensor_at(t, odd), lt_index_text(a, &t->type, odd));
  lt_str_puts(s, "\n");
}

/* The node as a dump has it, the worst element, the ranges of the operands. */
static void print_failure(lt_str *s, const lt_probe *p, lt_arena *a, const lt_node *n, unsigned result,
                          const lt_gap *gap) {
  const lt_type *t = lt_type_of(p->g, n->out + result);
  lt_str text;
  lt_str_init(&text, a);
  lt_print_node(&text, p->g, n);
  while (text.n && (text.at[text.n - 1] == '\n' || text.at[text.n - 1] == ' ')) text.at[--text.n] = 0;
  lt_str_printf(s, "the first node that differs: %s%s%s%s\n  %s\n", lt_op_table[n->op].name,
                n->label ? " of layer `" : "", n->label ? n->label : "", n->label ? "`" : "",
                text.at + strspn(text.at, " "));
  lt_str_printf(s, "  %s: %lld of %lld elements, worst at %s: compiled %.9g, interpreter %.9g (allowed %.3g)\n",
                lt_type_text(a, t), (long long)gap->bad, (long long)lt_type_count(t),
                t->rank ? lt_index_text(a, t, gap->worst) : "the scalar", gap->got, gap->want, gap->allowed);
  for (unsigned k = 0; k < n->n_in; k++)
    if (n->in[k]) print_range(s, p, a, n, k);
}

static void print_further(lt_str *s, const lt_node *n, const lt_gap *gap) {
  lt_str_printf(s, "also %s%s%s%s: %lld elements, worst compiled %.9g, interpreter %.9g\n", lt_op_table[n->op].name,
                n->label ? " of layer `" : "", n->label ? n->label : "", n->label ? "`" : "", (long long)gap->bad,
                gap->got, gap->want);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

/* Memory for one node at a time; it goes with the job's arenas at the latest. */
static lt_arena *node_arena(lt_probe *p) { return lt_arena_new(p->job); }

static bool compare_node(lt_probe *p, lt_arena *a, const lt_node *n, lt_tolerance t, lt_str *notes, uint32_t bad) {
  enum { MOST = 5 };
  lt_tensor **want = interpret(p, a, n, false);
  for (unsigned i = 0; i < n->n_out; i++) {
    lt_gap gap = compare_result(p, a, n, i, want[i], t);
    if (!gap.bad) continue;
    if (bad == 0) print_failure(notes, p, a, n, i, &gap);
    else if (bad < MOST) print_further(notes, n, &gap);
    return false;
  }
  return true;
}

uint32_t lt_compare_nodes(lt_probe *p, lt_tolerance t, lt_str *notes, uint32_t *checked) {
  lt_arena *a = node_arena(p);
  uint32_t bad = 0;
  *checked = 0;
  for (uint32_t i = 0; i < p->g->nodes.n; i++) {
    const lt_node *n = p->g->nodes.at[i];
    if (lt_op_table[n->op].flags & LT_LEAF) continue;
    (*checked)++;
    bad += !compare_node(p, a, n, t, notes, bad);
    lt_arena_free(a);
  }
  return bad;
}
