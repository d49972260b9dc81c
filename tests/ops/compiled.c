/* compiled.c: every case of cases.def, in every element type its op takes, compiled and called, against the interpreter
 * in double precision. All cases of one op and all their types make one module. Floats agree to a few units of their
 * type, relative to the largest element; integers and bool are equal. An op without a case fails, and so does one
 * without code. */
#include "ops/cases.h"

#include "ops/compile.h"

enum { UNITS = 200, OUTPUTS = 4 };
static const double TOLERANCE[LT_DTYPES] = {[LT_F32] = 4e-6, [LT_F64] = 1e-13};

typedef struct unit_case { const op_case *c; const char *dtype; lt_graph *g; lt_eval *e; } unit_case;
typedef struct op_task { lt_op op; const char *cpu; unsigned failures, called; } op_task;

static bool takes(const op_case *c, lt_dtype t) {
  if (lt_is_float(t)) return true;
  return t == LT_BOOL ? (c->flags & BOOLS) != 0 : (c->flags & INTS) != 0;
}

/* The graph to compare with: grad nodes have no value of their own. */
void lt_pass_autodiff(lt_graph *to, const lt_graph *from);
static lt_graph *expanded(lt_job *job, const lt_graph *from) {
  lt_graph *to = lt_test_own(job, lt_graph_new(job, from->name));
  lt_pass_autodiff(to, from);
  return to;
}

static void compare(op_task *t, const unit_case *u, unsigned k, const lt_tensor *got, const lt_tensor *want) {
  double most = 0, size = 0;
  bool floats = lt_is_float(want->type.dtype), equal = got && lt_type_eq(&got->type, &want->type);
  for (int64_t i = 0, n = lt_type_count(&want->type); equal && i < n; i++) {
    double a = lt_tensor_at(got, i), b = lt_tensor_at(want, i);
    if (!floats) equal = got->i[i] == want->i[i];
    else if (a != b && !(isnan(a) && isnan(b))) most = fmax(most, isfinite(a) && isfinite(b) ? fabs(a - b) : INFINITY);
    if (isfinite(b)) size = fmax(size, fabs(b));
  }
  if (equal && most <= TOLERANCE[want->type.dtype] * size) return;
  t->failures++;
  fprintf(stderr, "result %u of %s(%s) in %s%s%s: off by %g\n", k, u->c->call, u->c->inputs, u->dtype,
          *t->cpu ? " on " : "", t->cpu, equal ? most / size : INFINITY);
}

static void call(lt_arena *a, op_task *t, const unit_case *u, const lt_unit *unit, const lt_code *code) {
  lt_tensor *out[OUTPUTS] = {NULL};
  int rc = lt_unit_call(a, unit, code, u->e, out);
  ck_assert_msg(rc == 0, "%s in %s returned %d", u->c->call, u->dtype, rc);
  for (unsigned k = 0; k < u->g->outputs.n; k++) compare(t, u, k, out[k], lt_eval_get(u->e, u->g->outputs.at[k].value));
  t->called++;
}

static void check_op(lt_job *job, void *arg) {
  op_task *t = arg;
  lt_arena *a = lt_arena_new(job);
  unit_case *c = LT_NEW_ARRAY(a, unit_case, UNITS);
  lt_unit *unit = LT_NEW_ARRAY(a, lt_unit, UNITS);
  size_t n = 0;
  for (unsigned i = 0; i < OP_CASES; i++)
    for (unsigned d = 0; d < LT_DTYPES; d++) {
      const op_case *k = &op_cases[i];
      if (k->op != t->op || !takes(k, (lt_dtype)d)) continue;
      ck_assert_msg(n < UNITS, "%s has more than %d cases", lt_op_table[t->op].name, UNITS);
      c[n] = (unit_case){k, lt_dtype_name((lt_dtype)d), NULL, NULL};
      lt_graph *g = case_graph(job, a, k, c[n].dtype);
      c[n].g = expanded(job, g);
      c[n].e = case_eval(job, a, k, c[n].g);
      lt_unit_plan(job, a, &unit[n], c[n].g, lt_arena_printf(a, "c%zu", n));
      n++;
    }
  ck_assert_uint_gt(n, 0);
  lt_code *code = lt_unit_jit(job, a, unit, n, t->cpu);
  for (size_t i = 0; i < n; i++) call(a, t, &c[i], &unit[i], code);
}

static void compile_op(unsigned op, const char *cpu) {
  op_task t = {.op = (lt_op)op, .cpu = cpu};
  lathe_error e;
  int status = lt_protect(&e, check_op, &t);
  ck_assert_msg(status == LATHE_OK, "%s: %s", lt_op_table[op].name, e.message);
  ck_assert_msg(t.failures == 0, "%s: %u results differ, listed above", lt_op_table[op].name, t.failures);
}

START_TEST(every_op) { compile_op((unsigned)_i, ""); }
END_TEST

START_TEST(every_op_sse2) {
#ifdef __x86_64__
  compile_op((unsigned)_i, "x86-64");
#else
  LT_SKIP("needs x86-64: a level without FMA");
#endif
}
END_TEST

static bool always(lt_op op) {
  (void)op;
  return true;
}
START_TEST(every_op_has_a_case) { ck_assert_uint_eq(cases_missing(always), 0); }
END_TEST

static Suite *compiled(void) {
  Suite *s = suite_create("compiled");
  TCase *c = tcase_create("compiled");
  tcase_set_timeout(c, 120);
  tcase_add_test(c, every_op_has_a_case);
  tcase_add_loop_test(c, every_op, 1, LT_OPS);
  tcase_add_loop_test(c, every_op_sse2, 1, LT_OPS);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(compiled)
