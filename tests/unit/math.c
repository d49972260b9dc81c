/* math.c: the functions that compiled code computes itself, against libm in a wider type, over their whole range: every
 * float at a stride of a prime number of bits, all specials, denormals. The bounds are what docs promise. */
#include "check_main.h"
#include "kcheck/byhand.h"

#include <math.h>

enum { N = 1 << 16, STEP = 4099 };

static byhand map_plan(lt_op op, lt_dtype t, int inputs, lt_instr *x, lt_access *a, lt_store *s, const char *cpu) {
  byhand b = {.cpu = cpu};
  for (int i = 0; i < inputs; i++) {
    a[i] = (lt_access){.buffer = byhand_buffer(&b, t, N, false), .stride = {1}};
    x[i] = (lt_instr){.kind = LT_X_LOAD, .dtype = t, .access = i};
  }
  x[inputs] = (lt_instr){.kind = LT_X_MAP, .op = op, .dtype = t, .arg = {0, inputs > 1 ? 1 : -1, -1}};
  *s = (lt_store){.to = {.buffer = byhand_buffer(&b, t, N, true), .stride = {1}}, .value = inputs};
  b.k = (lt_kernel){.kind = LT_K_LOOPS,
                    .dtype = t,
                    .acc = t,
                    .n_dims = 1,
                    .extent = {N},
                    .block_dim = LT_NONE,
                    .access = a,
                    .n_access = (uint32_t)inputs,
                    .expr = x,
                    .n_expr = (uint32_t)inputs + 1,
                    .store = s,
                    .n_store = 1};
  return b;
}

typedef struct scalar_case {
  lt_op op;
  double (*exact)(double);
  long double (*wide)(long double);
  double bound;
} scalar_case;
static double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static long double sigmoid_wide(long double x) { return x >= 0 ? 1 / (1 + expl(-x)) : expl(x) / (1 + expl(x)); }
static double softplus(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }
static long double softplus_wide(long double x) { return fmaxl(x, 0) + log1pl(expl(-fabsl(x))); }
static const scalar_case cases[] = {
  {LT_OP_exp, exp, expl, 1.5},       {LT_OP_log, log, logl, 1.5},
  {LT_OP_tanh, tanh, tanhl, 3},      {LT_OP_sigmoid, sigmoid, sigmoid_wide, 3},
  {LT_OP_sqrt, sqrt, sqrtl, 0.5001}, {LT_OP_softplus, softplus, softplus_wide, 3},
  {LT_OP_erf, erf, erfl, 2},         {LT_OP_atan, atan, atanl, 3},
  {LT_OP_sin, sin, sinl, 1},         {LT_OP_cos, cos, cosl, 1},
  {LT_OP_floor, floor, floorl, 0},   {LT_OP_round, rint, rintl, 0},
};

/* Distance in units of the last place of a result of that size (of the smallest denormal, below). */
static double ulps_f32(float y, double want) {
  if (isnan(want)) return isnan(y) ? 0 : INFINITY;
  float near = (float)want;
  if (isinf(near) || isinf(y))
    return near == y || (isinf(y) && fabs(want) > 3.4028235e38 && signbit(y) == signbit(near)) ? 0 : INFINITY;
  int e;
  frexp(want, &e);
  return fabs((double)y - want) / ldexp(1, want == 0 ? -149 : LT_MAX(e - 24, -149));
}

static double ulps_f64(double y, long double want) {
  if (isnan(want)) return isnan(y) ? 0 : INFINITY;
  double near = (double)want;
  if (isinf(near) || isinf(y)) return near == y ? 0 : INFINITY;
  int e;
  frexpl(want, &e);
  return (double)(fabsl((long double)y - want) / ldexpl(1, want == 0 ? -1074 : LT_MAX(e - 53, -1074)));
}

static float float_of(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}
static double double_of(uint64_t bits) {
  double f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

static void check_f32(const scalar_case *c, const byhand *b, const char *cpu, float *x, float *y) {
  double worst = 0;
  float at = 0;
  for (uint64_t from = 0; from < (uint64_t)1 << 32; from += (uint64_t)N * STEP) {
    for (int i = 0; i < N; i++) x[i] = float_of((uint32_t)(from + (uint64_t)i * STEP));
    static const float special[] = {
      0.0f,       -0.0f,     INFINITY,        -INFINITY,       NAN,       1.0f,    -1.0f,      0x1p-149f,
      -0x1p-149f, 0x1p-126f, 88.72284f,       88.7228f,        89,        -87.34f, -103.9721f, -103.98f,
      -104,       1e-30f,    0x1.f37a8ap+95f, 0x1.921fb6p+20f, 1647099.3f};
    memcpy(x, special, sizeof special);
    byhand_run(b, (void *[]){x, y});
    for (int i = 0; i < N; i++) {
      double u = ulps_f32(y[i], c->exact(x[i]));
      if (u > worst) worst = u, at = x[i];
    }
  }
  fprintf(stderr, "# f32 %-8s %-10s worst %.3f ulp at %a\n", lt_op_table[c->op].name, cpu, worst, (double)at);
  ck_assert_msg(worst <= c->bound, "f32 %s on `%s`: %g ulp at %a", lt_op_table[c->op].name, cpu, worst, (double)at);
}

static void check_f64(const scalar_case *c, const byhand *b, const char *cpu, double *x, double *y) {
  double worst = 0, at = 0;
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < N; i++) { /* all exponents; then what the functions are interesting for */
      uint64_t r = (uint64_t)(i + round * N) * 0x9E3779B97F4A7C15u;
      x[i] = round < 2 ? double_of(r) : ((double)(int64_t)r * 0x1p-63) * (round == 2 ? 1 : 745);
    }
    static const double special[] = {0.0,        -0.0,
                                     INFINITY,   -INFINITY,
                                     NAN,        1,
                                     -1,         0x1p-1074,
                                     -0x1p-1074, 0x1p-1022,
                                     709.78,     709.79,
                                     710,        -708.4,
                                     -745.1,     -745.2,
                                     -746,       0x1.6ac5b262ca1ffp+849,
                                     1e22,       0x1.921fb54442d18p+20,
                                     1048576.5};
    memcpy(x, special, sizeof special);
    byhand_run(b, (void *[]){x, y});
    for (int i = 0; i < N; i++) {
      double u = ulps_f64(y[i], c->wide((long double)x[i]));
      if (u > worst) worst = u, at = x[i];
    }
  }
  fprintf(stderr, "# f64 %-8s %-10s worst %.3f ulp at %a\n", lt_op_table[c->op].name, cpu, worst, at);
  ck_assert_msg(worst <= c->bound, "f64 %s on `%s`: %g ulp at %a", lt_op_table[c->op].name, cpu, worst, at);
}

static void check_case(const scalar_case *c, const char *cpu) {
  lt_instr x[2];
  lt_access a[1];
  lt_store s;
  void *in = malloc(N * 8), *out = malloc(N * 8);
  for (int d = 0; d < 2; d++) {
    byhand b = map_plan(c->op, d ? LT_F64 : LT_F32, 1, x, a, &s, cpu);
    if (!byhand_compile(&b)) break;
    if (d) check_f64(c, &b, cpu, in, out);
    else check_f32(c, &b, cpu, in, out);
    byhand_free(&b);
  }
  free(in), free(out);
}

START_TEST(accuracy) {
  for (size_t i = 0; i < CPUS; i += 2) check_case(&cases[_i], lt_cpus[i]);
}
END_TEST

static const double pow_points[] = {0.0,  -0.0,     1,         -1,   2,        -2,  3,    -3,
                                    0.5,  -0.5,     1.5,       -2.5, 10,       100, -101, 1e-3,
                                    1e30, INFINITY, -INFINITY, NAN,  0x1p-140, 127, -149, 2147483647.0};

START_TEST(powers) {
  enum { P = LT_COUNT(pow_points) };
  float *x = malloc(3 * N * sizeof *x), *y = x + N, *z = y + N;
  for (int i = 0; i < N; i++) { /* every pair of points, then numbers of all sizes */
    uint64_t r = (uint64_t)i * 0x9E3779B97F4A7C15u;
    x[i] = i < P * P ? (float)pow_points[i / P] : (float)ldexp(1 + (double)(r >> 40) * 0x1p-24, (int)(i % 250) - 125);
    y[i] = i < P * P ? (float)pow_points[i % P] : (float)((double)(int32_t)(uint32_t)r * 0x1p-27);
  }
  for (size_t k = 0; k < CPUS; k += 2) {
    lt_instr code[3];
    lt_access a[2];
    lt_store s;
    byhand b = map_plan(LT_OP_pow, LT_F32, 2, code, a, &s, lt_cpus[k]);
    if (!byhand_compile(&b)) continue;
    byhand_run(&b, (void *[]){x, y, z});
    for (int i = 0; i < N; i++) {
      double want = pow((double)x[i], (double)y[i]), u = ulps_f32(z[i], want);
      ck_assert_msg(u <= 1, "pow(%a, %a) = %a, not %a: %g ulp", (double)x[i], (double)y[i], (double)z[i], want, u);
      if (!isnan(want))
        ck_assert_msg(!signbit(z[i]) == !signbit(want), "pow(%a, %a) has the wrong sign", (double)x[i], (double)y[i]);
    }
    byhand_free(&b);
  }
  free(x);
}
END_TEST

/* Signs of zero, NaN and infinities of the simple ops. */
START_TEST(simple_ops) {
  static const lt_op ops[] = {LT_OP_max, LT_OP_min,  LT_OP_add, LT_OP_sub, LT_OP_mul,
                              LT_OP_div, LT_OP_relu, LT_OP_abs, LT_OP_neg, LT_OP_sign};
  enum { P = LT_COUNT(pow_points) };
  float *x = calloc(3 * N, sizeof *x), *y = x + N, *z = y + N;
  for (int i = 0; i < P * P; i++) x[i] = (float)pow_points[i / P], y[i] = (float)pow_points[i % P];
  for (size_t o = 0; o < LT_COUNT(ops); o++) {
    for (size_t c = 0; c < CPUS; c++) {
      lt_instr code[3];
      lt_access a[2];
      lt_store s;
      int inputs = o < 6 ? 2 : 1;
      byhand b = map_plan(ops[o], LT_F32, inputs, code, a, &s, lt_cpus[c]);
      if (!byhand_compile(&b)) continue;
      byhand_run(&b, inputs == 2 ? (void *[]){x, y, z} : (void *[]){x, z, NULL});
      for (int i = 0; i < P * P; i++) {
        float want = (float)lt_map_eval(ops[o], NULL, (double)x[i], (double)y[i], 0);
        ck_assert_msg(isnan(want) ? isnan(z[i]) : want == z[i], "%s(%a, %a) = %a, not %a", lt_op_table[ops[o]].name,
                      (double)x[i], (double)y[i], (double)z[i], (double)want);
      }
      byhand_free(&b);
    }
  }
  free(x);
}
END_TEST

/* ---- which ops have fused multiply-adds in them: the column `rounds` of ops.def says CURVE ---- */

typedef struct curve_case { lt_op op; bool fuses; } curve_case;

/* A kernel that computes op, element by element, as LLVM IR for a machine that fuses. */
static void find_fma(lt_job *job, void *arg) {
  curve_case *c = arg;
  const lt_op_info *op = &lt_op_table[c->op];
  lt_arena *a = lt_arena_new(job);
  lt_instr x[4];
  lt_access at[3];
  lt_store store;
  lt_target t;
  lt_str text;
  void *attrs = lt_arena_zalloc(a, op->attrs_size);
  lt_attrs_default(c->op, attrs);
  byhand b = map_plan(c->op, LT_F32, op->max_in, x, at, &store, "");
  for (int k = 0; k < 3; k++) x[op->max_in].arg[k] = k < op->max_in ? k : -1;
  x[op->max_in].attrs = attrs;
  if (strcmp(lt_operand_name(a, c->op, 0), "c") == 0) x[0].dtype = b.slot[0].type.dtype = b.buffer[0].dtype = LT_BOOL;
  b.k.name = b.k.op = op->name;
  lt_plan p = {
    .name = "run", .slot = b.slot, .n_slot = b.n, .buffer = b.buffer, .n_buffer = b.n, .kernel = &b.k, .n_kernel = 1};
  lt_module_entry e = {.plan = &p};
  lt_target_host(&t, job, a, "", NULL);
  t.fma = true;
  lt_str_init(&text, a);
  lt_emit_text(&text, job, &t, &e, 1, false);
  c->fuses = strstr(text.at, "llvm.fma") != NULL;
}

START_TEST(curves) {
  lathe_error e;
  unsigned seen = 0;
  for (unsigned op = 1; op < LT_OPS; op++) {
    curve_case c = {.op = (lt_op)op};
    if (!(lt_op_table[op].flags & LT_MAP)) continue;
    ck_assert_msg(lt_protect(&e, find_fma, &c) == LATHE_OK, "%s: %s", lt_op_table[op].name, e.message);
    ck_assert_msg(c.fuses == (lt_op_table[op].rounds == LT_ROUNDS_CURVE),
                  "%s: its code %s fused multiply-adds, ops.def says otherwise", lt_op_table[op].name,
                  c.fuses ? "has" : "has no");
    seen += c.fuses;
  }
  ck_assert_uint_gt(seen, 3);
}
END_TEST

static Suite *math_suite(void) {
  Suite *s = suite_create("math");
  TCase *c = tcase_create("math");
  tcase_set_timeout(c, 200);
  tcase_add_loop_test(c, cpu_runs_here, 0, CPUS);
  tcase_add_loop_test(c, accuracy, 0, LT_COUNT(cases));
  tcase_add_test(c, powers);
  tcase_add_test(c, simple_ops);
  tcase_add_test(c, curves);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(math_suite)
