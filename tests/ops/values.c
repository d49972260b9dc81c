/* values.c: what ops and their first gradients compute, against values.txt, which tests/tools/op_values.py has made
 * with NumPy from the ops' definitions: the interpreter in double agrees to 1e-12 of the largest element, compiled code
 * to 1e-11 in f64 and 1e-5 in f32. Of large arrays the file has some elements and some weighed sums; compiled ones
 * agree with the interpreter in every element as well.
 *
 * All cases of one op make one module. The quick run compiles some of them; the test `values-all` (LT_VALUES=all)
 * compiles every one. A gradient that the file lacks, an op without a case and a file that ends early fail. */
#include "text/text_util.h"

#include "ops/compile.h"

enum { SAMPLES = 3, SUMS = 3, SEED = 100, PLACE = 200, WEIGHT = 300, PORTS = 8 }; /* as in op_values.py */
typedef enum runner { INTERPRETED, IN_F64, IN_F32, RUNNERS } runner;
static const double TOLERANCE[RUNNERS] = {1e-12, 1e-11, 1e-5};

/* An array of the file: of a result, or of the gradient in input `of`. */
typedef struct expected {
  const char *of;
  bool undefined; /* the rest is not there */
  lt_type type;
  lt_tensor *all; /* NULL: */
  double most, some[SAMPLES], sum[SUMS];
} expected;

typedef struct one_case {
  const char *op, *inputs, *call;
  expected want[PORTS];
  unsigned n_want, n_results;
} one_case;

/* A case in one element type. */
typedef struct built {
  const one_case *c;
  runner who;
  lt_graph *g;
  lt_eval *e;
  lt_value value[PORTS]; /* in the order of c->want */
} built;

typedef struct task {
  char *text;
  lt_op op; /* LT_OP_none: what is no op of its own */
  int seen, failures;
  double worst[RUNNERS][2];
} task;

/* ---- numbers from numbers, as in op_values.py -------------------------------------------------------------------- */

static uint32_t mix(uint64_t i, uint64_t salt) {
  uint32_t h = (uint32_t)(i * 2654435761u + (salt + 1) * 0x9E3779B9u);
  h = (h ^ h >> 16) * 0x85EBCA6Bu;
  h = (h ^ h >> 13) * 0xC2B2AE35u;
  return h ^ h >> 16;
}

static double unit(uint64_t i, uint64_t salt) {
  return (double)(2 * (int64_t)(mix(i, salt) >> 9) + 1 - (1 << 23)) / (1 << 22);
}

static double element(const lt_type *t, const char *name, uint64_t i, uint64_t place) {
  uint32_t mixed = mix(i, place);
  if (!strcmp(name, "index") || !strcmp(name, "labels")) return (double)(mixed % 6) - 1;
  if (t->dtype == LT_BOOL) return mixed % 2;
  if (!lt_is_float(t->dtype)) return (double)(mixed % 23) - 11;
  if (!strcmp(name, "var") || !strncmp(name, "p_", 2)) return unit(i, place) + 2.5;
  return strncmp(name, "c_", 2) ? unit(i, place) : ((double)(mixed % 9) - 4) / 4;
}

static lt_tensor *leaf_value(lt_arena *a, const lt_type *t, const char *name, uint64_t place) {
  lt_tensor *x = lt_tensor_new(a, t);
  for (int64_t i = 0, n = lt_type_count(t); i < n; i++) lt_tensor_set(x, i, element(t, name, (uint64_t)i, place));
  return x;
}

/* ---- reading the file -------------------------------------------------------------------------------------------- */

/* "none", "f64[2, 3] 1 2 …" or "f64[2, 3] ~ most some… sums…", to the end of the line. */
static void read_array(lt_arena *a, expected *x, char *at) {
  x->undefined = x->of && !strcmp(at, "none");
  if (x->undefined) return;
  char *end = at + strlen(at), *gap = strchr(at, ']'), *p;
  if (!gap) gap = strchr(at, ' ') - 1;
  p = gap + 1;
  ck_assert_msg(lt_type_parse(&x->type, lt_arena_strndup(a, at, (size_t)(p - at))), "no type in %.60s", at);
  if (!strncmp(p, " ~ ", 3)) {
    p += 3;
    x->most = strtod(p, &p);
    for (int j = 0; j < SAMPLES; j++) x->some[j] = strtod(p, &p);
    for (int j = 0; j < SUMS; j++) x->sum[j] = strtod(p, &p);
  } else {
    x->all = lt_tensor_new(a, &x->type);
    for (int64_t i = 0, n = lt_type_count(&x->type); i < n; i++) {
      if (lt_is_float(x->type.dtype)) x->all->f[i] = strtod(p, &p);
      else x->all->i[i] = strtoll(p, &p, 10);
    }
  }
  ck_assert_msg(p == end, "%.80s has more elements than its type", at);
}

/* Cuts the line at *text off and returns it; NULL at the end. */
static char *next_line(char **text) {
  char *at = *text, *end = strchr(at, '\n');
  if (!*at || !end) return NULL;
  *end = 0;
  *text = end + 1;
  return at;
}

/* "= op | inputs | call", where the call may have statements before it, again divided by |. */
static void read_head(one_case *c, char *line) {
  ck_assert_msg(*line == '=', "a case is expected: %.60s", line);
  char *inputs = strchr(line, '|'), *call = strchr(inputs + 1, '|');
  inputs[-1] = call[-1] = 0;
  *c = (one_case){.op = line + 2, .inputs = inputs + 2, .call = call + 2};
}

static bool read_case(lt_arena *a, one_case *c, char **text) {
  char *line = next_line(text);
  while (line && *line == '#') line = next_line(text);
  if (!line) return false;
  read_head(c, line);
  while (**text && **text != '=' && **text != '#') {
    char *of = NULL, *array = line = next_line(text);
    if (!strncmp(line, "d ", 2)) array = strchr(line, ':') + 2, array[-2] = 0, of = line + 2;
    ck_assert_uint_lt(c->n_want, PORTS);
    c->want[c->n_want].of = of;
    read_array(a, &c->want[c->n_want++], array);
    c->n_results += !of;
  }
  return true;
}

/* ---- graphs: the call, and its gradients with the seeds as inputs ------------------------------------------------ */

static void put_typed(lt_str *s, const char *text, size_t n, runner who) {
  for (size_t i = 0; i < n; i++) {
    if (who == IN_F32 && n - i >= 3 && !memcmp(text + i, "f64", 3)) lt_str_puts(s, "f32"), i += 2;
    else lt_str_put(s, text + i, 1);
  }
}

static lt_graph *case_graph(lt_job *job, lt_arena *a, const one_case *c, runner who) {
  const char *bar = strrchr(c->call, '|'), *call = bar ? bar + 1 : c->call, *names = "r0";
  for (unsigned i = 1; i < c->n_results; i++) names = lt_arena_printf(a, "%s, r%u", names, i);
  lt_str s;
  lt_str_init(&s, a);
  lt_str_puts(&s, "network t(");
  put_typed(&s, c->inputs, strlen(c->inputs), who);
  lt_str_printf(&s, ") -> %s {\n", names);
  put_typed(&s, c->call, bar ? (size_t)(bar - c->call) : 0, who);
  lt_str_printf(&s, "\n%s = ", names);
  put_typed(&s, call, strlen(call), who);
  lt_str_puts(&s, "\n}\n");
  return lt_test_own(job, lt_text_read(job, s.at, s.n, "values.txt", NULL));
}

/* The file has the gradients that there are, in the order of the inputs. */
static unsigned list_inputs(const one_case *c, const lt_graph *g, lt_value *wrt) {
  unsigned n = 0;
  lt_op op = lt_op_find(c->op, strlen(c->op));
  for (lt_value v = 1; v < g->values.n; v++) {
    if (lt_op_of(g, v) != LT_OP_input || !lt_is_float(lt_type_of(g, v)->dtype)) continue;
    if (op != LT_OP_none && !lt_op_table[op].vjp) continue;
    ck_assert_msg(c->n_results + n < c->n_want && !strcmp(c->want[c->n_results + n].of, lt_name_of(g, v)),
                  "values.txt lacks the gradient of %s in `%s`", c->call, lt_name_of(g, v));
    wrt[n++] = v;
  }
  ck_assert_msg(c->n_results + n == c->n_want, "values.txt has gradients of %s that there are not", c->call);
  return n;
}

static void add_gradients(built *b) {
  lt_graph *g = b->g;
  lt_value wrt[PORTS], y[PORTS], seed[PORTS];
  unsigned n = list_inputs(b->c, g, wrt), ny = 0;
  for (unsigned i = 0; i < b->c->n_results && n; i++) {
    const lt_type t = *lt_type_of(g, b->value[i]);
    if (!lt_is_float(t.dtype)) continue;
    y[ny] = b->value[i];
    seed[ny++] = lt_leaf(g, LT_OP_input, lt_arena_printf(&g->arena, "seed%u", i), t, NULL);
  }
  if (n) lt_gradients(g, b->value + b->c->n_results, y, seed, ny, wrt, n);
  for (unsigned i = 0; i < n; i++)
    lt_add_output(g, lt_arena_printf(&g->arena, "d%u", i), b->value[b->c->n_results + i]);
}

static void build(built *b, lt_job *job, lt_arena *a, const one_case *c, runner who) {
  *b = (built){.c = c, .who = who, .g = case_graph(job, a, c, who), .e = LT_NEW(a, lt_eval)};
  for (unsigned i = 0; i < c->n_results; i++) b->value[i] = b->g->outputs.at[i].value;
  add_gradients(b);
  uint64_t place = 0;
  lt_eval_init(b->e, job, a, b->g, LT_EVAL_DOUBLE);
  for (lt_value v = 1; v < b->g->values.n; v++) {
    const char *name = lt_name_of(b->g, v);
    if (lt_op_of(b->g, v) != LT_OP_input) continue;
    uint64_t salt = strncmp(name, "seed", 4) ? place++ : SEED + strtoull(name + 4, NULL, 10);
    lt_eval_set(b->e, v, leaf_value(a, lt_type_of(b->g, v), name, salt));
  }
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static bool same_shape(const lt_type *a, const lt_type *b) {
  return a->rank == b->rank && !memcmp(a->dim, b->dim, sizeof a->dim);
}

/* max |a - b| / max |b|; infinite where integers differ, or only one is no number. */
static double distance(const lt_tensor *a, const lt_tensor *b) {
  double most = 0, size = 0;
  for (int64_t i = 0, n = lt_type_count(&a->type); i < n; i++) {
    double x = lt_tensor_at(a, i), y = lt_tensor_at(b, i);
    if (!lt_is_float(a->type.dtype) && a->i[i] != b->i[i]) return INFINITY;
    if (isfinite(y)) size = fmax(size, fabs(y));
    if ((isnan(x) && isnan(y)) || x == y) continue;
    most = fmax(most, isfinite(x) && isfinite(y) ? fabs(x - y) : INFINITY);
  }
  return most == 0 ? 0 : most / size;
}

/* What the file says of a large array: off by how much of the largest element? A sum of errors that are independent is
 * the root of the sum of the weights' squares times one of them. */
static double distance_to_some(const lt_tensor *got, const expected *x) {
  double off = 0, most = 0;
  int64_t n = lt_type_count(&x->type);
  for (int64_t i = 0; i < n; i++) most = fmax(most, isnan(got->f[i]) ? INFINITY : fabs(got->f[i]));
  off = fabs(most - x->most);
  for (uint64_t j = 0; j < SAMPLES; j++) off = fmax(off, fabs(got->f[mix(j, PLACE) % n] - x->some[j]));
  for (uint64_t j = 0; j < SUMS; j++) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
      double w = unit((uint64_t)i, WEIGHT + j);
      sum += got->f[i] * w, squares += w * w;
    }
    off = fmax(off, fabs(sum - x->sum[j]) / sqrt(squares));
  }
  return isnan(off) ? INFINITY : off == 0 ? 0 : off / x->most;
}

static void judge(task *t, const built *b, unsigned i, double off) {
  const expected *x = &b->c->want[i];
  double *worst = &t->worst[b->who][x->of != NULL];
  *worst = fmax(*worst, off);
  if (off <= TOLERANCE[b->who]) return;
  fprintf(stderr, "%s with %s, %s%s, %s: off by %g\n", b->c->call, b->c->inputs, x->of ? "gradient in " : "result",
          x->of ? x->of : "",
          b->who == INTERPRETED ? "interpreted"
          : b->who == IN_F64    ? "compiled in f64"
                                : "compiled in f32",
          off);
  t->failures++;
}

static void compare(task *t, const built *b, unsigned i, const lt_tensor *got) {
  const expected *x = &b->c->want[i];
  if (x->undefined) return;
  ck_assert_msg(same_shape(&got->type, &x->type), "%s with %s: the shape of result %u", b->c->call, b->c->inputs, i);
  ck_assert_msg(b->who != INTERPRETED || got->type.dtype == x->type.dtype, "%s with %s: the type of result %u",
                b->c->call, b->c->inputs, i);
  judge(t, b, i, x->all ? distance(got, x->all) : distance_to_some(got, x));
}

/* ---- the cases of one op ----------------------------------------------------------------------------------------- */

static void check_interpreted(task *t, const built *b) {
  for (unsigned i = 0; i < b->c->n_want; i++) compare(t, b, i, lt_eval_get(b->e, b->value[i]));
}

static void check_compiled(lt_arena *a, task *t, const built *b, const built *oracle, const lt_unit *u,
                           const lt_code *code) {
  lt_tensor *out[PORTS] = {NULL};
  int rc = lt_unit_call(a, u, code, b->e, out);
  ck_assert_msg(rc == 0, "%s with %s returned %d", b->c->call, b->c->inputs, rc);
  for (unsigned i = 0; i < b->c->n_want; i++) {
    compare(t, b, i, out[i]);
    judge(t, b, i, distance(out[i], lt_eval_get(oracle->e, oracle->value[i])));
  }
}

/* All of it takes half a minute; the quick run compiles every eighth case of an op. Constants may be numbers that f32
 * has not. */
static bool takes(const task *t, const one_case *c, runner who) {
  const char *which = getenv("LT_VALUES");
  bool all = which && !strcmp(which, "all"), constant = strstr(c->call, "const") != NULL;
  if (who == INTERPRETED) return true;
  return (all || t->seen % 8 == 1) && (who == IN_F32 ? !constant : all || constant);
}

static void check_op(lt_job *job, void *arg) {
  task *t = arg;
  lt_arena *a = lt_arena_new(job);
  LT_VEC(built *) all = {0};
  LT_VEC(lt_unit) unit = {0};
  for (one_case *c = LT_NEW(a, one_case); read_case(a, c, &t->text); c = LT_NEW(a, one_case)) {
    if (lt_op_find(c->op, strlen(c->op)) != t->op) continue;
    t->seen++;
    for (runner who = INTERPRETED; who < RUNNERS; who++) {
      built *b = LT_NEW(a, built);
      lt_unit u;
      if (!takes(t, c, who)) continue;
      build(b, job, a, c, who);
      lt_vec_push(a, &all, b);
      if (who == INTERPRETED) {
        check_interpreted(t, b);
      } else {
        lt_unit_plan(job, a, &u, b->g, lt_arena_printf(a, "c%u", unit.n));
        lt_vec_push(a, &unit, u);
      }
    }
  }
  if (!t->seen) return;
  const lt_code *code = unit.n ? lt_unit_jit(job, a, unit.at, unit.n, "") : NULL;
  const built *oracle = NULL;
  for (uint32_t i = 0, k = 0; i < all.n; i++) {
    if (all.at[i]->who == INTERPRETED) oracle = all.at[i];
    else check_compiled(a, t, all.at[i], oracle, &unit.at[k++], code);
  }
}

/* ---- the tests --------------------------------------------------------------------------------------------------- */

static char *read_file(void) {
  size_t n;
  char *file = test_read(test_path("ops/values.txt"), &n), *text = calloc(1, n + 1);
  memcpy(text, file, n);
  free(file);
  return text;
}

static void report(const task *t) {
  fprintf(stderr, "# %-18s %3d cases | values %.0e f64 %.0e f32 %.0e | gradients %.0e f64 %.0e f32 %.0e\n",
          t->op ? lt_op_table[t->op].name : "composites", t->seen, t->worst[INTERPRETED][0], t->worst[IN_F64][0],
          t->worst[IN_F32][0], t->worst[INTERPRETED][1], t->worst[IN_F64][1], t->worst[IN_F32][1]);
}

START_TEST(every_op) {
  char *text = read_file();
  task t = {.text = text, .op = (lt_op)_i};
  lathe_error e;
  int status = lt_protect(&e, check_op, &t);
  ck_assert_msg(status == LATHE_OK, "%s: %s\n%s", lt_op_table[_i].name, e.message, e.file);
  bool needed = t.op && !(lt_op_table[t.op].flags & LT_LEAF) && t.op != LT_OP_grad;
  ck_assert_msg(t.seen || !needed, "op_values.py has no case for `%s`", lt_op_table[_i].name);
  if (t.seen) report(&t);
  ck_assert_msg(t.failures == 0, "%d arrays differ, listed above", t.failures);
  free(text);
}
END_TEST

START_TEST(the_file_is_whole) {
  char *text = read_file(), *last = strrchr(text, '#');
  int cases = 0;
  for (char *at = text; (at = strstr(at, "\n= ")) != NULL; at++) cases++;
  ck_assert_ptr_ne(last, NULL);
  ck_assert_int_eq(cases, atoi(last + 2));
  ck_assert_int_ge(cases, 800);
  free(text);
}
END_TEST

static Suite *op_values(void) {
  Suite *s = suite_create("op_values");
  TCase *c = tcase_create("op_values");
  tcase_set_timeout(c, 120);
  tcase_add_test(c, the_file_is_whole);
  tcase_add_loop_test(c, every_op, 0, LT_OPS);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(op_values)
