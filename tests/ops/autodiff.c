/* autodiff.c: the passes mode, autodiff and lower, and lt_gradients where the gradient check does not look: seeds,
 * several outputs, values that nothing depends on, stop_grad, gradients of values in the middle; what dropout and
 * batch_norm become in an entry for training. */
#include "check_main.h"
#include "frontend/frontend.h"
#include "graph_eval.h"
#include "ir/pass/pass.h"

#include <stdio.h>

#define PASS(name, doc) void lt_pass_##name(lt_graph *to, const lt_graph *from);
#include "ir/pass/passes.def"
#undef PASS

/* A test's body under lt_protect; it must not fail. */
#define IN_JOB(name)                                                                                                   \
  static void name##_body(lt_job *job, void *unused);                                                                  \
  START_TEST(name) {                                                                                                   \
    lathe_error e;                                                                                                     \
    int status = lt_protect(&e, name##_body, NULL);                                                                    \
    ck_assert_msg(status == LATHE_OK, "%s", e.message);                                                                \
  }                                                                                                                    \
  END_TEST                                                                                                             \
  static void name##_body(lt_job *job, void *unused)

static lt_graph *read_text(lt_job *job, const char *text) {
  return lt_test_own(job, lt_text_read(job, text, strlen(text), "t", NULL));
}

static lt_graph *apply(lt_job *job, const lt_graph *from, lt_pass_fn pass, lt_mode mode) {
  lt_graph *to = lt_test_own(job, lt_graph_new(job, from->name)), *in = (lt_graph *)from;
  to->mode = in->mode = mode;
  pass(to, from);
  lt_verify(to, "the pass");
  return to;
}

static const lt_tensor *value(lt_job *job, const lt_graph *g, lt_value v) {
  return lt_eval_get(lt_test_eval(job, lt_arena_new(job), g, LT_EVAL_DOUBLE, 1), v);
}

static lt_value out(const lt_graph *g, const char *name) {
  for (uint32_t i = 0; i < g->outputs.n; i++)
    if (!strcmp(g->outputs.at[i].name, name)) return g->outputs.at[i].value;
  ck_abort_msg("no output %s", name);
}

static unsigned count_op(const lt_graph *g, lt_op op) {
  unsigned n = 0;
  for (uint32_t i = 0; i < g->nodes.n; i++) n += g->nodes.at[i]->op == op;
  return n;
}

static void same_value(lt_job *job, const lt_graph *g, lt_value a, lt_value b) {
  ck_assert_double_le(lt_test_distance(value(job, g, a), value(job, g, b)), 1e-14);
}

/* ---- lt_gradients ------------------------------------------------------------------------------------------------ */

IN_JOB(seeds_and_several_outputs) {
  lt_graph *g = read_text(job, "network t(x: f64[3], y: f64[3], s: f64[3]) -> a, b, want_x, want_y {"
                               "  a = x * y   b = exp(x)   want_x = s * y + exp(x)   want_y = s * x }");
  lt_value wrt[2] = {lt_find(g, "x"), lt_find(g, "y")}, ys[2] = {out(g, "a"), out(g, "b")},
           seed[2] = {lt_find(g, "s"), 0}, gx[2];
  lt_gradients(g, gx, ys, seed, 2, wrt, 2);
  same_value(job, g, gx[0], out(g, "want_x"));
  same_value(job, g, gx[1], out(g, "want_y"));
}

IN_JOB(what_nothing_depends_on_has_gradient_zero) {
  lt_graph *g = read_text(job, "network t(x: f64[3], y: f32[2, 2], c: f64[3]) -> a, b, d { a = sum(x)  b = "
                               "stop_grad(x) * c  d = sign(x) + c - c }");
  lt_value wrt[3] = {lt_find(g, "y"), lt_find(g, "x"), lt_find(g, "c")}, ys[2] = {out(g, "b"), out(g, "d")}, gx[3];
  lt_gradients(g, gx, ys, NULL, 2, wrt, 3);
  ck_assert(lt_type_eq(lt_type_of(g, gx[0]), lt_type_of(g, wrt[0])));
  for (int i = 0; i < 4; i++) ck_assert(value(job, g, gx[0])->f[i] == 0);
  for (int i = 0; i < 3; i++) ck_assert(value(job, g, gx[1])->f[i] == 0);
  same_value(job, g, gx[2], wrt[1]); /* that of stop_grad(x)·c is x; c - c gives nothing */
}

/* h stands between x and y; with respect to both, x counts for itself and h stops there. */
IN_JOB(gradients_of_values_in_the_middle) {
  lt_graph *g = read_text(job, "network t(x: f32[3]) -> h, y, want_h, want_x {"
                               "  h = exp(x)   y = h * h * x   want_h = 2 * h * x   want_x = h * h + want_h * h }");
  lt_value wrt[2] = {out(g, "h"), lt_find(g, "x")}, y = out(g, "y"), gx[2];
  lt_gradients(g, gx, &y, NULL, 1, wrt, 2);
  same_value(job, g, gx[0], out(g, "want_h"));
  same_value(job, g, gx[1], out(g, "want_x"));
  lt_gradients(g, gx, &wrt[1], NULL, 1, &wrt[1], 1);
  for (int i = 0; i < 3; i++) ck_assert(value(job, g, gx[0])->f[i] == 1);
}

/* Nothing is emitted for what no gradient reaches. */
IN_JOB(gradients_are_lean) {
  lt_graph *g = read_text(job, "network t(x: f32[2, 3, 8, 8], W: f32[4, 3, 3, 3]) -> y { y = conv2d(x, W) }");
  lt_value w = lt_find(g, "W"), y = out(g, "y"), gw;
  lt_gradients(g, &gw, &y, NULL, 1, &w, 1);
  lt_add_output(g, "gw", gw);
  lt_graph *to = apply(job, g, lt_pass_cse, LT_MODE_RUN);
  ck_assert_uint_eq(count_op(to, LT_OP_conv2d_grad_weight), 1);
  ck_assert_uint_eq(count_op(to, LT_OP_conv2d_grad_input), 0);
}

/* A gradient inside a loss, expanded by the walk, against the same written out. */
IN_JOB(gradient_inside_a_loss) {
  lt_graph *g = read_text(job, "network t(x: f32[4, 3], W: f32[3, 2]) -> g, want {"
                               "  h = tanh(matmul(x, W))  p = grad(h, x)  g = grad(sum(p * p), W)"
                               "  q = matmul(1 - h * h, W, transpose_b=true)  want = grad(sum(q * q), W) }");
  lt_graph *to = apply(job, g, lt_pass_autodiff, LT_MODE_RUN);
  ck_assert_uint_eq(count_op(to, LT_OP_grad), 0);
  same_value(job, to, out(to, "g"), out(to, "want"));
}

/* ---- the pass mode ----------------------------------------------------------------------------------------------- */

#define NET "network t(x: f32[4, 3, 5, 5]) -> y { y = dropout(batch_norm(x, momentum=0.75, name=\"bn\"), p=0.25) "

IN_JOB(running) {
  lt_graph *g = apply(job, read_text(job, NET "}"), lt_pass_mode, LT_MODE_RUN);
  ck_assert_uint_eq(count_op(g, LT_OP_dropout), 0);
  ck_assert_uint_eq(count_op(g, LT_OP_batch_norm), 1);
  ck_assert_uint_eq(g->updates.n, 0);
  ck_assert_uint_eq(lt_find(g, "seed"), 0);
}

static lt_value update_of(const lt_graph *g, const char *name) {
  for (uint32_t i = 0; i < g->updates.n; i++)
    if (g->updates.at[i].leaf == lt_find(g, name)) return g->updates.at[i].value;
  ck_abort_msg("`%s` is not updated", name);
}

IN_JOB(training) {
  lt_graph *g = apply(job, read_text(job, NET "}"), lt_pass_mode, LT_MODE_TRAIN);
  ck_assert_uint_eq(count_op(g, LT_OP_dropout) + count_op(g, LT_OP_batch_norm), 0);
  ck_assert_uint_eq(count_op(g, LT_OP_batch_norm_train), 1);
  ck_assert_uint_eq(g->updates.n, 3);
  lt_eval *e = lt_test_eval(job, lt_arena_new(job), g, LT_EVAL_DOUBLE, 1);
  const lt_tensor *x = lt_eval_get(e, lt_find(g, "x")),
                  *old[2] = {lt_eval_get(e, lt_find(g, "bn.mean")), lt_eval_get(e, lt_find(g, "bn.var"))};
  const lt_tensor *now[2] = {lt_eval_get(e, update_of(g, "bn.mean")), lt_eval_get(e, update_of(g, "bn.var"))};
  for (int c = 0; c < 3; c++) {
    double sum = 0, squares = 0;
    for (int i = 0; i < 100; i++) sum += x->f[i / 25 * 75 + c * 25 + i % 25];
    for (int i = 0; i < 100; i++) squares += pow(x->f[i / 25 * 75 + c * 25 + i % 25] - sum / 100, 2);
    ck_assert_double_eq_tol(now[0]->f[c], 0.75 * old[0]->f[c] + 0.25 * sum / 100, 1e-12);
    ck_assert_double_eq_tol(now[1]->f[c], 0.75 * old[1]->f[c] + 0.25 * squares / 100, 1e-12);
  }
  ck_assert_int_eq(lt_eval_get(e, update_of(g, "step"))->i[0], lt_eval_get(e, lt_find(g, "step"))->i[0] + 1);
}

/* Each element is dropped or divided by 1 - p, a quarter of them dropped; the mask is another in the next step, the
 * same for the same key, and an unnamed dropout has a key of its own. */
IN_JOB(masks) {
  lt_graph *g = apply(job,
                      read_text(job, "network t(x: f32[100, 100]) -> a, b, c { a = dropout(x, p=0.25, key=\"k\")"
                                     "  b = dropout(x, p=0.25, key=\"k\")  c = dropout(x, p=0.25) }"),
                      lt_pass_mode, LT_MODE_TRAIN);
  const lt_tensor *mask[3], *x = value(job, g, lt_find(g, "x")), *later;
  int dropped = 0, same_c = 0, same_step = 0;
  for (int k = 0; k < 3; k++) mask[k] = value(job, g, g->outputs.at[k].value);
  lt_eval *e = lt_test_eval(job, lt_arena_new(job), g, LT_EVAL_DOUBLE, 1);
  lt_tensor *step = lt_tensor_copy(e->arena, e->value[lt_find(g, "step")]);
  step->i[0]++;
  lt_eval_set(e, lt_find(g, "step"), step);
  later = lt_eval_get(e, g->outputs.at[0].value);
  for (int i = 0; i < 10000; i++) {
    dropped += mask[0]->f[i] == 0;
    same_c += (mask[0]->f[i] == 0) == (mask[2]->f[i] == 0);
    same_step += (mask[0]->f[i] == 0) == (later->f[i] == 0);
    ck_assert(mask[0]->f[i] == 0 || fabs(mask[0]->f[i] - x->f[i] / 0.75) < 1e-6);
    ck_assert(mask[0]->f[i] == mask[1]->f[i]);
  }
  ck_assert_int_le(abs(dropped - 2500), 200); /* 4.6 deviations */
  ck_assert_int_le(abs(same_c - 6250), 250);  /* independent: 1/16 + 9/16 */
  ck_assert_int_le(abs(same_step - 6250), 250);
}

IN_JOB(own_updates_stay) {
  lt_graph *g =
    apply(job,
          read_text(
            job, "network t(x: f32[4, 3]) -> y { state step: i64 = 5 state m: f32[3] = zeros() state v: f32[3] = ones()"
                 "  param s: f32[3] = ones()  y = dropout(batch_norm(x, s, s, m, v), p=0.5)  update m = m + 1  update "
                 "step = step }"),
          lt_pass_mode, LT_MODE_TRAIN);
  ck_assert_uint_eq(g->updates.n, 3); /* m and step as written, v by batch_norm; seed is never updated */
  ck_assert_int_eq(lt_op_of(g, update_of(g, "v")), LT_OP_add);
  ck_assert_uint_eq(update_of(g, "step"), lt_find(g, "step"));
}

static void taken(lt_job *job, void *unused) {
  apply(job, read_text(job, "network t(x: f32[4], seed: f32) -> y { y = dropout(x) + seed }"), lt_pass_mode,
        LT_MODE_TRAIN);
}

START_TEST(hidden_names_taken) {
  lathe_error e;
  ck_assert_int_eq(lt_protect(&e, taken, NULL), LATHE_E_INVALID);
  ck_assert_str_eq(e.message, "`seed` is taken: dropout keeps a state i64 of that name");
}
END_TEST

/* ---- the pass lower ---------------------------------------------------------------------------------------------- */

IN_JOB(lowered_nodes_say_what_they_were) {
  lt_graph *g =
    apply(job, read_text(job, "network t(x: f32[4, 3], k: i32[4]) -> y { y = cross_entropy(stop_grad(x), k) }"),
          lt_pass_lower, LT_MODE_RUN);
  ck_assert_uint_eq(count_op(g, LT_OP_stop_grad), 0);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (lt_op_table[n->op].flags & LT_LEAF) continue;
    ck_assert_msg(n->origin && !strcmp(n->origin, "cross_entropy"), "%s has origin %s", lt_op_table[n->op].name,
                  n->origin ? n->origin : "none");
  }
}

/* ---- ties -------------------------------------------------------------------------------------------------------- */

/* z is 0 everywhere: all elements of a window are its maximum, and so is a border of zeros. */
IN_JOB(ties) {
  const lt_graph *g = read_text(
    job, "network t(x: f32[1, 1, 3, 3]) -> a, A, b, B, c, C, d, D, e, E {\n"
         "  z = 0 * x\n"
         "  a = grad(sum(max_pool(z, kernel=2, stride=1)), z)\n"
         "  const A: f32[1, 1, 3, 3] = [[[[1, 1, 0], [1, 1, 0], [0, 0, 0]]]]\n"
         "  b = grad(sum(max_pool(z, kernel=2, stride=1, all_ties=true)), z)\n"
         "  const B: f32[1, 1, 3, 3] = [[[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]]\n"
         "  c = grad(sum(max_pool(z, kernel=2, pad=1, pad_value=0.0)), z)\n"
         "  const C: f32[1, 1, 3, 3] = [[[[0, 0, 0], [0, 1, 0], [0, 0, 0]]]]\n"
         "  d = grad(sum(pooling_simple(z, kernel=2, stride=2, pad=1, all_ties=true)), z)\n"
         "  const D: f32[1, 1, 3, 3] = [[[[1, 1, 1], [1, 1, 1], [1, 1, 1]]]]\n"
         "  e = grad(sum(reduce_max(z, axes=[3])), z) + 10 * grad(sum(reduce_max(z, axes=[3], all_ties=true)), z)\n"
         "  const E: f32[1, 1, 3, 3] = [[[[11, 10, 10], [11, 10, 10], [11, 10, 10]]]]\n"
         "}\n");
  const lt_graph *plain = apply(job, g, lt_pass_autodiff, LT_MODE_RUN);
  const lt_graph *raised = apply(job, apply(job, g, lt_pass_raise, LT_MODE_RUN), lt_pass_autodiff, LT_MODE_RUN);
  for (char name[2] = "a", want[2] = "A"; *name <= 'e'; ++*name, ++*want) {
    ck_assert(lt_tensor_eq(value(job, plain, out(plain, name)), value(job, plain, out(plain, want))));
    ck_assert(lt_tensor_eq(value(job, raised, out(raised, name)), value(job, raised, out(raised, want))));
  }
}

LT_SUITE(autodiff, seeds_and_several_outputs, what_nothing_depends_on_has_gradient_zero,
         gradients_of_values_in_the_middle, gradients_are_lean, gradient_inside_a_loss, running, training, masks,
         own_updates_stay, hidden_names_taken, ties, lowered_nodes_say_what_they_were)
LT_TEST_MAIN(autodiff)
