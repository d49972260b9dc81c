/* values.c: what ops compute, against values.txt, which tests/tools/op_values.py has made with NumPy from the ops'
 * definitions: the interpreter in double agrees to 1e-12 of the largest element. */
#include "text/text_util.h"

#include <math.h>

enum { CASES = 556 }; /* as the last line of the file says */
static const double TOLERANCE = 1e-12;

typedef struct one_case { char *op, *inputs, *call, *results; } one_case;

/* The rule of leaf() in op_values.py. */
static lt_tensor *leaf_value(lt_arena *a, const lt_type *t, const char *name, int64_t place) {
  lt_tensor *x = lt_tensor_new(a, t);
  for (int64_t i = 0, n = lt_type_count(t); i < n; i++) {
    int64_t mixed = (i * 37 + 11 * place + 5) * 53 % 97;
    double v = (double)(mixed - 48) / 16;
    if (!strcmp(name, "index") || !strcmp(name, "labels")) v = (double)(mixed % 6 - 1);
    else if (t->dtype == LT_BOOL) v = (double)(mixed % 2);
    else if (!lt_is_float(t->dtype)) v = (double)(mixed % 23 - 11);
    else if (!strcmp(name, "var") || !strncmp(name, "p_", 2)) v = (double)mixed / 16 + 0.5;
    lt_tensor_set(x, i, v);
  }
  return x;
}

/* The fields of "= op | inputs | call", where the call may have statements before it, again divided by |. */
static one_case split(char *line, char *results) {
  one_case c = {.results = results};
  c.op = line + 2;
  c.inputs = strchr(line, '|');
  c.call = strchr(c.inputs + 1, '|');
  c.inputs[-1] = c.call[-1] = 0;
  c.inputs += 2, c.call += 2;
  return c;
}

static lt_graph *read_case(lt_job *job, lt_arena *a, const one_case *c) {
  const char *bar = strrchr(c->call, '|'), *call = bar ? bar + 1 : c->call;
  const char *names = strcmp(c->op, "batch_norm_train") ? "r0" : "r0, r1, r2";
  const char *text = lt_arena_printf(a, "network t(%s) -> %s {\n%.*s\n%s = %s\n}\n", c->inputs, names,
                                     bar ? (int)(bar - c->call) : 0, c->call, names, call);
  return lt_text_read(job, text, strlen(text), "values.txt", NULL);
}

/* "f64[2, 3] 1 2 …" up to the end of the line. */
static lt_tensor *expected(lt_arena *a, char **line) {
  char *end = strchr(*line, '\n'), *gap = strchr(*line, ']');
  if (!gap || gap > end) gap = strchr(*line, ' ') - 1;
  lt_type t;
  ck_assert_msg(lt_type_parse(&t, lt_arena_strndup(a, *line, (size_t)(gap + 1 - *line))), "no type in %.40s", *line);
  lt_tensor *x = lt_tensor_new(a, &t);
  char *p = gap + 1;
  for (int64_t i = 0, n = lt_type_count(&t); i < n; i++) {
    if (lt_is_float(t.dtype)) x->f[i] = strtod(p, &p);
    else x->i[i] = strtoll(p, &p, 10);
  }
  ck_assert_msg(p == end, "%.80s has more elements than its type", *line);
  *line = end + 1;
  return x;
}

static void compare(const one_case *c, const lt_tensor *got, const lt_tensor *want) {
  const char *where = c->call;
  double most = 0, size = 0;
  ck_assert_msg(lt_type_eq(&got->type, &want->type), "%s with %s: the type", where, c->inputs);
  for (int64_t i = 0, n = lt_type_count(&got->type); i < n; i++) {
    double a = lt_tensor_at(got, i), b = lt_tensor_at(want, i);
    if (!lt_is_float(got->type.dtype)) ck_assert_msg(got->i[i] == want->i[i], "%s with %s: element %d", where, c->inputs, (int)i);
    if ((isnan(a) && isnan(b)) || a == b) continue;
    ck_assert_msg(isfinite(a) && isfinite(b), "%s with %s: element %d is %g, not %g", where, c->inputs, (int)i, a, b);
    most = fmax(most, fabs(a - b));
    size = fmax(size, fabs(b));
  }
  ck_assert_msg(most <= TOLERANCE * size, "%s with %s: off by %g", where, c->inputs, most / size);
}

typedef struct task { char *text; int seen; bool used[LT_OPS]; } task;

static void check_one(lt_job *job, const one_case *c, char **results) {
  lt_arena *a = lt_arena_new(job);
  lt_graph *g = read_case(job, a, c);
  lt_eval e;
  int64_t place = 0;
  lt_eval_init(&e, job, a, g, LT_EVAL_DOUBLE);
  for (lt_value v = 1; v < g->values.n; v++)
    if (lt_op_of(g, v) == LT_OP_input) lt_eval_set(&e, v, leaf_value(a, lt_type_of(g, v), lt_name_of(g, v), place++));
  for (uint32_t i = 0; i < g->outputs.n; i++) compare(c, lt_eval_get(&e, g->outputs.at[i].value), expected(a, results));
  lt_graph_drop(job, g);
}

static void check_all(lt_job *job, void *arg) {
  task *t = arg;
  char *line = t->text;
  while (*line) {
    char *end = strchr(line, '\n');
    if (*line == '#') { line = end + 1; continue; }
    ck_assert_msg(*line == '=', "a case is expected: %.60s", line);
    *end = 0;
    one_case c = split(line, end + 1);
    t->used[lt_op_find(c.op, strlen(c.op))] = true;
    t->seen++;
    line = end + 1;
    check_one(job, &c, &line);
  }
}

START_TEST(values) {
  size_t n;
  char *file = test_read(test_path("ops/values.txt"), &n);
  task t = {.text = calloc(1, n + 1)};
  memcpy(t.text, file, n);
  lathe_error e;
  int status = lt_protect(&e, check_all, &t), missing = 0;
  ck_assert_msg(status == LATHE_OK, "case %d: %s\n%s", t.seen, e.message, e.file);
  ck_assert_int_eq(t.seen, CASES);
  for (unsigned op = 1; op < LT_OPS; op++)
    if (!t.used[op] && !(lt_op_table[op].flags & LT_LEAF) && op != LT_OP_grad) {
      fprintf(stderr, "op_values.py has no case for `%s`\n", lt_op_table[op].name);
      missing++;
    }
  ck_assert_int_eq(missing, 0);
  free(file), free(t.text);
}
END_TEST

LT_SUITE(op_values, values)
LT_TEST_MAIN(op_values)
