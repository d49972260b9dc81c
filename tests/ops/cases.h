/* cases.h: the table of calls in cases.def, their graphs, and values for their leaves. */
#ifndef LT_OP_CASES_H
#define LT_OP_CASES_H
#include "check_main.h"
#include "frontend/frontend.h"
#include "graph_eval.h"

#include <math.h>
#include <stdio.h>

enum { KINK = 1, POSITIVE = 2, INTS = 4, BOOLS = 8, BIG = 16, NETWORK = 32 };
#define SEED(n) ((n) << 8)

typedef struct op_case {
  lt_op op;
  const char *inputs, *call;
  unsigned flags;
} op_case;

static const op_case op_cases[] = {
#define CASE(op, inputs, call, flags) {LT_OP_##op, inputs, call, flags},
#include "ops/cases.def"
#undef CASE
};
enum { OP_CASES = LT_COUNT(op_cases) };

static inline void case_put(lt_str *s, const char *text, size_t n, const char *dtype) {
  for (size_t i = 0; i < n; i++) {
    if (text[i] == '$') lt_str_puts(s, dtype);
    else lt_str_put(s, text + i, 1);
  }
}

/* How many results the call has; grad has as many as it is asked for, which the call shows. */
static inline unsigned case_results(const op_case *c) {
  unsigned n = lt_op_table[c->op].n_out;
  return n ? n : strstr(c->call, ", x, W)") ? 2 : 1;
}

static inline const char *case_text(lt_arena *a, const op_case *c, const char *dtype) {
  lt_str s, names;
  lt_str_init(&s, a);
  lt_str_init(&names, a);
  const char *bar = strchr(c->call, '|'), *call = bar ? bar + 1 : c->call;
  for (unsigned i = 0, n = case_results(c); i < n; i++) lt_str_printf(&names, "%sr%u", i ? ", " : "", i);
  lt_str_puts(&s, "network t(");
  case_put(&s, c->inputs, strlen(c->inputs), dtype);
  lt_str_printf(&s, ") -> %s {\n", names.at);
  if (bar) case_put(&s, c->call, (size_t)(bar - c->call), dtype);
  lt_str_printf(&s, "\n%s = ", names.at);
  case_put(&s, call, strlen(call), dtype);
  lt_str_puts(&s, "\n}\n");
  return s.at;
}

static inline lt_graph *case_graph(lt_job *job, lt_arena *a, const op_case *c, const char *dtype) {
  const char *text = case_text(a, c, dtype);
  return lt_test_own(job, lt_text_read(job, text, strlen(text), text, NULL));
}

/* Element i of n: a place on a grid of steps of 0.13, in a shuffled order, never nearer to 0 than 0.03; leaves of one
 * case lie on grids shifted against each other. */
static inline double case_spread(int64_t i, int64_t n, unsigned leaf) {
  int64_t place = n % 7919 ? (i * 7919 + 3) % n : i;
  return ((double)place - (double)(n - 1) / 2) * 0.13 + 0.031 * (leaf % 2 + 1);
}

static inline bool case_index(const char *name) { return !strcmp(name, "index") || !strcmp(name, "labels"); }

/* Values are whole multiples of 1/1024, so that f32 holds them as they are. Indices run from -1 (none) to 3. */
static inline lt_tensor *case_leaf(lt_arena *a, const op_case *c, const lt_type *t, const char *name, unsigned leaf) {
  lt_tensor *x = lt_tensor_new(a, t);
  uint64_t stream = lt_random_stream(name), seed = 1 + (c->flags >> 8);
  for (int64_t i = 0, n = lt_type_count(t); i < n; i++) {
    double z = lt_random_normal(seed, stream, (uint64_t)i), u = lt_random_unit(seed, stream, (uint64_t)i);
    uint32_t whole = lt_random_u32(seed, stream, (uint64_t)i);
    if (t->dtype == LT_BOOL) z = whole % 2;
    else if (case_index(name)) z = (double)(whole % 5) - 1;
    else if (!lt_is_float(t->dtype)) z = (double)(whole % 11) - 5;
    else if (c->flags & KINK) z = case_spread(i, n, leaf);
    else if (c->flags & POSITIVE || strstr(name, "var")) z = 0.5 + 2 * u;
    lt_tensor_set(x, i, lt_is_float(t->dtype) ? rint(z * 1024) / 1024 : z);
  }
  return x;
}

/* The interpreter of a case, with its leaves. */
static inline lt_eval *case_eval(lt_job *job, lt_arena *a, const op_case *c, const lt_graph *g) {
  lt_eval *e = LT_NEW(a, lt_eval);
  unsigned place = 0;
  lt_eval_init(e, job, a, g, LT_EVAL_DOUBLE);
  for (lt_value v = 1; v < g->values.n; v++)
    if (lt_is_leaf(g, v) && lt_op_of(g, v) != LT_OP_const)
      lt_eval_set(e, v, case_leaf(a, c, lt_type_of(g, v), lt_name_of(g, v), place++));
  return e;
}

/* Does the table have a case for every op that must have one? Names the missing ones. */
static inline unsigned cases_missing(bool (*needed)(lt_op op)) {
  unsigned missing = 0;
  for (unsigned op = 1; op < LT_OPS; op++) {
    bool found = false;
    for (unsigned i = 0; i < OP_CASES; i++) found |= op_cases[i].op == (lt_op)op;
    if (found || !needed((lt_op)op)) continue;
    fprintf(stderr, "tests/ops/cases.def has no case for `%s`\n", lt_op_table[op].name);
    missing++;
  }
  return missing;
}

#endif
