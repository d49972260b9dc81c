/* prove.c: lathe_prove: an entry as it was compiled, held against the interpreter. Four points, and what they found as
 * text:
 *
 *   passes   what the compiler goes on with means what the network says: both interpreted in double precision
 *   nodes    each node's values follow from its operands' (nodes.c)
 *   bits     the entry computes the same bits as its probe, in which nothing stays inside a kernel
 *   results  and so outputs and updates are what the network says, end to end
 *
 * End to end, a comparison that goes the other way (x < 0 by a rounding error) moves a gradient elsewhere, and that is
 * not wrong. So the interpreter takes over what the compiled code has decided: those nodes have been checked, exactly,
 * one by one. And what is zero but for rounding (a bias before batch_norm has no gradient) is known as well as noise_of
 * says. Where rounding each value as its type does leaves the range (1e39 in f32), so may the compiled code. */
#include "driver/prove/probe.h"

#include <math.h>

typedef struct proof {
  lt_probe *p;
  const lt_options *o;
  lt_arena *a;
  lt_points found;
  double *noise;    /* by result; NULL: not known yet, */
  lt_eval rounding; /* nor this: each node rounds as its type does */
  double worst;
  uint32_t worst_at; /* largest error of a result, relative to its largest element */
  bool ends;         /* nothing is known of what stands between leaves and results */
  uint32_t vague;    /* results that are known no better than by their noise */
} proof;

static void add_point(proof *f, bool ok, const char *what, const lt_str *notes) {
  const char *text = notes && notes->n ? notes->at : NULL;
  lt_vec_push(f->a, &f->found, ((lathe_point){ok, what, text}));
}

static double rtol_of(const proof *f) { return f->o->given[LT_OPT_rtol] ? f->o->rtol : 1e-5; }
/* Below the smallest normal f32 what is left is not precise. */
static double atol_of(const proof *f) { return f->o->given[LT_OPT_atol] ? f->o->atol : 1e-37; }

/* ---- whole graphs in the interpreter ----------------------------------------------------------------------------- */

static lt_value leaf_named(const proof *f, const char *name) {
  lt_value v = lt_find(f->p->g, name);
  if (!v) lt_fail(f->p->job, LATHE_E_INTERNAL, NULL, "the passes lost `%s`", name);
  return v;
}

static lt_eval *open_eval(proof *f, const lt_graph *g) {
  lt_eval *e = LT_NEW(f->a, lt_eval);
  lt_eval_init(e, f->p->job, f->a, g, LT_EVAL_DOUBLE);
  for (lt_value v = 1; v < g->values.n; v++)
    if (lt_is_leaf(g, v) && lt_op_of(g, v) != LT_OP_const)
      lt_eval_set(e, v, lt_probe_tensor(f->p, f->a, leaf_named(f, lt_name_of(g, v))));
  return e;
}

/* Does a small error in n's operands turn its result over? */
static bool decides(const lt_graph *g, const lt_node *n) {
  bool from_float = false;
  for (unsigned k = 0; k < n->n_in; k++) from_float |= n->in[k] && lt_is_float(lt_type_of(g, n->in[k])->dtype);
  return from_float && (lt_facts(n)->rounds == LT_ROUNDS_STEP || !lt_is_float(lt_type_of(g, n->out)->dtype));
}

/* How many values that nodes have decided are not those of `free`. */
static uint32_t count_turned(proof *f, const lt_eval *free) {
  uint32_t turned = 0;
  for (lt_value v = 1; v < f->p->g->values.n; v++)
    if (free->value[v] && decides(f->p->g, lt_node_of(f->p->g, v)))
      turned += !lt_tensor_eq(lt_probe_tensor(f->p, f->a, v), free->value[v]);
  return turned;
}

/* The double-precision values of what is compiled, with the decisions that the compiled code has taken. */
static lt_eval *follow_decisions(proof *f, lt_eval *free, uint32_t *turned) {
  *turned = f->ends ? 0 : count_turned(f, free);
  if (!*turned) return free;
  lt_eval *e = open_eval(f, f->p->g);
  for (lt_value v = 1; v < f->p->g->values.n; v++)
    if (decides(f->p->g, lt_node_of(f->p->g, v))) lt_eval_set(e, v, lt_probe_tensor(f->p, f->a, v));
  return e;
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static double finite_or_infinite(double d) { return isfinite(d) ? d : INFINITY; }

static double error_at(const lt_tensor *got, const lt_tensor *want, int64_t i) {
  double a = lt_tensor_at(got, i), b = lt_tensor_at(want, i);
  if (!lt_is_float(got->type.dtype)) return got->i[i] == want->i[i] ? 0 : fmax(1, fabs(a - b));
  if (a == b || (isnan(a) && isnan(b)) || a == lt_dtype_round(got->type.dtype, b)) return 0;
  return finite_or_infinite(fabs(a - b));
}

/* The largest error and where it is, but for elements that are not finite and of which `rounded` (may be NULL) says so.
 */
static double error_of(const lt_tensor *got, const lt_tensor *want, const lt_tensor *rounded, int64_t *worst) {
  double most = 0;
  *worst = 0;
  for (int64_t i = 0, n = lt_type_count(&got->type); i < n; i++) {
    double d = error_at(got, want, i);
    if (d == INFINITY && rounded && !isfinite(lt_tensor_at(got, i)) && !isfinite(lt_tensor_at(rounded, i))) continue;
    if (d > most) most = d, *worst = i;
  }
  return most;
}

static double finite_error_of(const lt_tensor *got, const lt_tensor *want) {
  double most = 0;
  for (int64_t i = 0, n = lt_type_count(&got->type); i < n; i++) {
    double d = error_at(got, want, i);
    if (isfinite(d)) most = fmax(most, d);
  }
  return most;
}

static const lt_tensor *result_tensor(const proof *f, uint32_t i) {
  return lt_tensor_import(f->a, lt_type_of(f->p->g, lt_probe_result(f->p, i)), lt_probe_result_bytes(f->p, i));
}

/* Double precision, but each node rounds as its type does; what is decided stays decided. */
static void open_rounding(proof *f, const lt_eval *exact, lt_eval *e) {
  const lt_graph *g = f->p->g;
  lt_eval_init(e, f->p->job, f->a, g, LT_EVAL_STIR);
  for (lt_value v = 1; v < g->values.n; v++)
    if (exact->value[v] && (lt_is_leaf(g, v) || decides(g, lt_node_of(g, v)))) lt_eval_set(e, v, exact->value[v]);
}

/* How well each result is determined: what a change in the last bits of all inputs makes of it, in the compiled code
 * and in double precision, and what rounding each node makes of it: where tanh is near 1, the f32 beside it has
 * another 1 - tanh². Costs a call and two interpretations, so only when something seems wrong. */
static double noise_of(proof *f, lt_eval *exact, uint32_t i) {
  uint32_t n = lt_probe_results(f->p);
  if (f->noise) return f->noise[i];
  f->noise = LT_NEW_ARRAY(f->a, double, n + 1);
  lt_stirred moved = lt_probe_stir(f->p);
  lt_eval e;
  lt_eval_init(&e, f->p->job, f->a, f->p->g, LT_EVAL_DOUBLE);
  for (lt_value v = 1; v < f->p->g->values.n; v++)
    if (moved.leaf[v]) lt_eval_set(&e, v, moved.leaf[v]);
  open_rounding(f, exact, &f->rounding);
  for (uint32_t k = 0; k < n; k++) {
    lt_value v = lt_probe_result(f->p, k);
    const lt_tensor *want = lt_eval_get(exact, v);
    f->noise[k] = finite_error_of(moved.result[k], result_tensor(f, k)) + finite_error_of(lt_eval_get(&e, v), want) +
                  finite_error_of(lt_eval_get(&f->rounding, v), want);
  }
  return f->noise[i];
}

enum { NOISE = 16 };

static const char *kind_of(const proof *f, uint32_t i) { return i < f->p->n_output ? "output" : "update of"; }

static bool note_error(proof *f, uint32_t i, double relative) {
  if (relative > f->worst) f->worst = relative, f->worst_at = i;
  return true;
}

/* Result i (outputs, then updates) on both sides; false and a note where they differ by more than `allowed` of the
 * largest element and more than noise. */
static bool compare_values(proof *f, uint32_t i, const lt_tensor *got, const lt_tensor *want, double allowed,
                           lt_eval *exact, lt_str *notes) {
  const lt_type *t = lt_type_of(f->p->g, lt_probe_result(f->p, i));
  int64_t at;
  double size = lt_largest(want), error = error_of(got, want, NULL, &at),
         limit = lt_is_float(t->dtype) ? atol_of(f) + allowed * size : 0;
  if (error <= limit) return note_error(f, i, size > 0 ? error / size : 0);
  if (lt_is_float(t->dtype)) {
    limit += NOISE * noise_of(f, exact, i);
    error = error_of(got, want, lt_eval_get(&f->rounding, lt_probe_result(f->p, i)), &at);
  }
  if (error <= limit && error < INFINITY) return f->vague++, true;
  lt_str_printf(notes, "%s `%s` %s differs%s%s: %.9g, should be %.9g (allowed %.3g)\n", kind_of(f, i),
                lt_probe_result_name(f->p, i), lt_type_text(f->a, t), t->rank ? " at " : "", lt_index_text(f->a, t, at),
                lt_tensor_at(got, at), lt_tensor_at(want, at), limit);
  return false;
}

/* ---- the points -------------------------------------------------------------------------------------------------- */

enum { END_TO_END = 100 };         /* times rtol: errors add up over the layers */
static const double PASSES = 1e-5; /* passes fold constants in f32, the rest is double */

static void check_passes(proof *f, lt_eval *means, lt_eval *compiled) {
  const lt_graph *meant = f->p->meant;
  lt_str notes;
  bool ok = meant->outputs.n == f->p->n_output && meant->updates.n == f->p->n_update;
  lt_str_init(&notes, f->a);
  for (uint32_t i = 0; ok && i < lt_probe_results(f->p); i++) {
    lt_value before = i < f->p->n_output ? meant->outputs.at[i].value : meant->updates.at[i - f->p->n_output].value;
    ok = compare_values(f, i, lt_eval_get(compiled, lt_probe_result(f->p, i)), lt_eval_get(means, before), PASSES,
                        compiled, &notes);
  }
  add_point(f, ok, "the passes keep what the network means", &notes);
}

static void check_nodes(proof *f) {
  lt_str notes;
  uint32_t checked;
  lt_str_init(&notes, f->a);
  uint32_t bad = lt_compare_nodes(f->p, (lt_tolerance){rtol_of(f), atol_of(f)}, &notes, &checked);
  add_point(f, bad == 0,
            bad ? lt_arena_printf(f->a, "%u of %u nodes differ from the interpreter in double precision", bad, checked)
                : lt_arena_printf(f->a, "each of %u nodes against the interpreter in double precision", checked),
            &notes);
}

/* NaN is NaN: which operand's sign it takes is the processor's, and depends on which one comes first. */
static bool same_element(const lt_type *t, const char *a, const char *b) {
  size_t size = lt_dtype_size((lt_dtype)t->dtype);
  float f[2];
  double d[2];
  if (memcmp(a, b, size) == 0) return true;
  if (!lt_is_float(t->dtype)) return false;
  memcpy(f, a, sizeof *f), memcpy(f + 1, b, sizeof *f);
  if (t->dtype == LT_F32) return isnan(f[0]) && isnan(f[1]);
  memcpy(d, a, sizeof *d), memcpy(d + 1, b, sizeof *d);
  return isnan(d[0]) && isnan(d[1]);
}

static bool same_bits(proof *f, uint32_t i, lt_str *notes) {
  lt_value v = lt_probe_result(f->p, i);
  const lt_type *t = lt_type_of(f->p->g, v);
  const char *own = lt_probe_result_bytes(f->p, i), *other = f->p->value[v];
  size_t size = lt_dtype_size((lt_dtype)t->dtype);
  int64_t k = 0, n = lt_type_count(t);
  if (lt_op_of(f->p->g, v) == LT_OP_const || memcmp(own, other, (size_t)lt_type_bytes(t)) == 0) return true;
  while (k < n && same_element(t, own + k * (int64_t)size, other + k * (int64_t)size)) k++;
  if (k == n) return true;
  lt_str_printf(notes, "%s `%s` %s, first at %s: %.9g, with every value visible %.9g\n", kind_of(f, i),
                lt_probe_result_name(f->p, i), lt_type_text(f->a, t),
                t->rank ? lt_index_text(f->a, t, k) : "the scalar", lt_tensor_at(result_tensor(f, i), k),
                lt_tensor_at(lt_probe_tensor(f->p, f->a, v), k));
  return false;
}

static void check_bits(proof *f) {
  lt_str notes;
  bool ok = true;
  lt_str_init(&notes, f->a);
  for (uint32_t i = 0; i < lt_probe_results(f->p); i++) ok &= same_bits(f, i, &notes);
  add_point(f, ok, "fused or not, the same bits", &notes);
}

static void check_results(proof *f, lt_eval *compiled) {
  lt_str notes;
  uint32_t turned;
  bool ok = true;
  lt_eval *e = follow_decisions(f, compiled, &turned);
  lt_str_init(&notes, f->a);
  f->worst = 0, f->worst_at = 0, f->vague = 0;
  for (uint32_t i = 0; i < lt_probe_results(f->p); i++)
    ok &= compare_values(f, i, result_tensor(f, i), lt_eval_get(e, lt_probe_result(f->p, i)), END_TO_END * rtol_of(f),
                         compiled, &notes);
  if (ok && f->vague < lt_probe_results(f->p))
    lt_str_printf(&notes, "largest error %.2g of the largest value, in %s `%s`\n", f->worst, kind_of(f, f->worst_at),
                  lt_probe_result_name(f->p, f->worst_at));
  if (f->vague)
    lt_str_printf(&notes, "%u of %u results are known no better than by rounding\n", f->vague, lt_probe_results(f->p));
  if (turned)
    lt_str_printf(&notes, "rounding has turned over what %u node%s decided\n", turned, turned == 1 ? "" : "s");
  add_point(f, ok, "results end to end against the interpreter", &notes);
}

static lt_eval *evaluate_all(proof *f, const lt_graph *g) { /* of the compiled graph: every value */
  lt_eval *e = open_eval(f, g);
  for (uint32_t i = 0; i < g->outputs.n; i++) lt_eval_get(e, g->outputs.at[i].value);
  for (uint32_t i = 0; i < g->updates.n; i++) lt_eval_get(e, g->updates.at[i].value);
  return e;
}

lt_points lt_prove(lt_probe *p, const lt_options *o) {
  proof f = {.p = p, .o = o, .a = p->a};
  lt_probe_call_entry(p);
  lt_eval *means = evaluate_all(&f, p->meant), *compiled = evaluate_all(&f, p->g);
  check_passes(&f, means, compiled);
  check_nodes(&f);
  check_bits(&f);
  check_results(&f, compiled);
  return f.found;
}

static lt_points prove_ends(lt_probe *p, const lt_options *o) {
  proof f = {.p = p, .o = o, .a = p->a, .ends = true};
  lt_probe_call_entry(p);
  lt_eval *means = evaluate_all(&f, p->meant), *compiled = evaluate_all(&f, p->g);
  check_passes(&f, means, compiled);
  check_results(&f, compiled);
  return f.found;
}

/* ---- handing out ------------------------------------------------------------------------------------------------- */

/* One block: the list, the points, their texts. */
static lathe_proof *pack(lt_job *job, const lt_points *found) {
  size_t n = found->n, bytes = sizeof(lathe_proof) + n * sizeof(lathe_point);
  for (size_t i = 0; i < n; i++)
    bytes += strlen(found->at[i].what) + 1 + (found->at[i].notes ? strlen(found->at[i].notes) + 1 : 0);
  lathe_proof *out = lt_mem_alloc(bytes);
  if (!out) lt_fail_nomem(job);
  lathe_point *point = (lathe_point *)(void *)(out + 1);
  char *text = (char *)(point + n);
  for (size_t i = 0; i < n; i++) {
    const lathe_point *x = &found->at[i];
    point[i] = (lathe_point){.ok = x->ok, .what = text};
    text = stpcpy(text, x->what) + 1;
    if (!x->notes) continue;
    point[i].notes = text;
    text = stpcpy(text, x->notes) + 1;
  }
  *out = (lathe_proof){.n = n, .point = point};
  return out;
}

typedef struct prove_args {
  const lathe_graph *g;
  lathe_instance *s;
  const char *entry, *opts;
  bool ends;
  lathe_proof *out;
} prove_args;

static void prove_body(lt_job *job, void *arg) {
  prove_args *args = arg;
  lt_options o;
  lt_probe p;
  lt_options_read(&o, job, lt_arena_new(job), args->opts, TO_PROVE);
  (args->ends ? lt_probe_plan : lt_probe_open)(&p, job, args->g, args->s, args->entry);
  lt_points found = (args->ends ? prove_ends : lt_prove)(&p, &o);
  args->out = pack(job, &found);
}

lathe_proof *lathe_prove(const lathe_graph *g, lathe_instance *s, const char *entry, const char *opts, lathe_error *e) {
  prove_args p = {.g = g, .s = s, .entry = entry, .opts = opts};
  return lt_protect(e, prove_body, &p) ? NULL : p.out;
}

lathe_proof *lt_prove_ends(const lathe_graph *g, lathe_instance *s, const char *entry, const char *opts,
                           lathe_error *e) {
  prove_args p = {.g = g, .s = s, .entry = entry, .opts = opts, .ends = true};
  return lt_protect(e, prove_body, &p) ? NULL : p.out;
}
