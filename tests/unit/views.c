/* Views: chains of reshapes and transposes against the interpreter, and what a pass makes of them. */
#include "check_main.h"
#include "graph_eval.h"
#include "ir/pass/view.h"

enum { CHAINS = 3000, LONGEST = 6 };

static uint32_t draw(uint64_t *at, uint32_t below) { return lt_random_u32(7, 3, (*at)++) % below; }

static lt_value random_transpose(lt_graph *g, lt_value v, uint64_t *at) {
  unsigned rank = lt_type_of(g, v)->rank;
  int64_t perm[LT_MAX_RANK];
  for (unsigned i = 0; i < rank; i++) perm[i] = i;
  for (unsigned i = rank; i > 1; i--) {
    unsigned k = draw(at, i);
    int64_t swap = perm[i - 1];
    perm[i - 1] = perm[k], perm[k] = swap;
  }
  return lt_transpose(g, v, perm);
}

/* Axes joined, cut, axes of 1 put in, now and then all of it mixed up. */
static lt_value random_reshape(lt_graph *g, lt_value v, uint64_t *at) {
  const lt_type t = *lt_type_of(g, v);
  int64_t dim[LT_MAX_RANK], last = 1;
  unsigned n = 0;
  for (unsigned i = 0; i < t.rank; i++) {
    int64_t d = t.dim[i] * last;
    last = 1;
    if (i + 1 < t.rank && draw(at, 3) == 0) {
      last = d;
      continue;
    }
    for (int64_t f = 2 + draw(at, 3); n + (t.rank - i) < LT_MAX_RANK - 1 && d % f == 0 && d > f && draw(at, 2); d /= f)
      dim[n++] = f;
    dim[n++] = d;
    if (n + (t.rank - i) < LT_MAX_RANK - 1 && draw(at, 6) == 0) dim[n++] = 1;
  }
  return lt_reshape(g, v, n, dim);
}

static lt_value random_base(lt_graph *g, uint64_t *at) {
  static const int64_t sizes[] = {1, 2, 3, 4, 6, 12};
  int64_t dim[4];
  unsigned rank = 1 + draw(at, 4);
  for (unsigned i = 0; i < rank; i++) dim[i] = sizes[draw(at, LT_COUNT(sizes))];
  return lt_leaf(g, LT_OP_input, "x", lt_make_type(LT_F32, rank, dim), NULL);
}

static unsigned nodes_between(const lt_graph *g, lt_value v, lt_value base) {
  unsigned n = 0;
  for (; v != base; v = lt_node_of(g, v)->in[0]) n++;
  return n;
}

static void check_chain(lt_job *job, lt_graph *g, lt_value y) {
  lt_view v;
  lt_view_of(&v, g, y);
  ck_assert_uint_eq(v.rank, lt_type_of(g, y)->rank);
  ck_assert_uint_eq(v.steps, nodes_between(g, y, v.base));
  ck_assert(lt_view_fits(&v));
  lt_value z = lt_view_emit(g, &v);
  ck_assert_uint_eq(nodes_between(g, z, v.base), lt_view_cost(g, &v));
  lt_eval *e = lt_test_eval(job, &g->arena, g, LT_EVAL_DOUBLE, 1);
  ck_assert(lt_tensor_eq(lt_eval_get(e, y), lt_eval_get(e, z)));
  if (lt_view_is_plain(&v)) ck_assert(lt_tensor_at(lt_eval_get(e, v.base), 0) == lt_tensor_at(lt_eval_get(e, y), 0));
}

static void run_chains(lt_job *job, void *arg) {
  uint64_t at = 0;
  unsigned *moved = arg;
  for (unsigned i = 0; i < CHAINS; i++) {
    lt_graph *g = lt_graph_new(job, "n");
    lt_value x = random_base(g, &at), y = x;
    for (unsigned k = 1 + draw(&at, LONGEST); k > 0; k--)
      y = draw(&at, 2) ? random_transpose(g, y, &at) : random_reshape(g, y, &at);
    check_chain(job, g, y);
    lt_view v;
    lt_view_of(&v, g, y);
    moved[0] += v.base == x && !lt_view_is_plain(&v), moved[1] += v.base != x;
    lt_graph_drop(job, g);
  }
}

START_TEST(chains) {
  lathe_error e;
  unsigned moved[2] = {0, 0};
  ck_assert_msg(lt_protect(&e, run_chains, moved) == LATHE_OK, "%s", e.message);
  ck_assert_uint_gt(moved[0], CHAINS / 4);  /* real permutations of the input, */
  ck_assert_uint_gt(moved[1], CHAINS / 50); /* and reshapes that mix axes */
}
END_TEST

/* A transposition and its inverse, with axes of 1 that came and went: the value itself. */
static void run_inverse(lt_job *job, void *arg) {
  lt_graph *g = lt_graph_new(job, "n");
  const int64_t dim[4] = {1, 3, 4, 5}, flat[2] = {20, 3}, again[5] = {1, 4, 5, 1, 3};
  lt_value x = lt_leaf(g, LT_OP_input, "x", lt_make_type(LT_F32, 4, dim), NULL);
  lt_value y = lt_reshape(g, lt_transpose(g, x, (int64_t[]){0, 2, 3, 1}), 2, flat);
  y = lt_transpose(g, lt_reshape(g, y, 5, again), (int64_t[]){0, 3, 4, 1, 2});
  y = lt_reshape(g, y, 4, dim);
  lt_view v;
  lt_view_of(&v, g, y);
  ck_assert(v.base == x && lt_view_is_plain(&v));
  ck_assert_uint_eq(lt_view_emit(g, &v), x);
  lt_graph_drop(job, g);
}

START_TEST(inverse) {
  lathe_error e;
  ck_assert_msg(lt_protect(&e, run_inverse, NULL) == LATHE_OK, "%s", e.message);
}
END_TEST

static Suite *views(void) {
  Suite *s = suite_create("views");
  TCase *c = tcase_create("views");
  tcase_set_timeout(c, 60);
  tcase_add_test(c, chains);
  tcase_add_test(c, inverse);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(views)
