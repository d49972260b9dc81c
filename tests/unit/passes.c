/* Golden tests of passes. tests/golden/passes/NAME.txt hold cases
 *     # case WHAT: pass, pass
 *     network …
 *     # gives
 *     network …
 * Each must print as given and mean the same to the interpreter, bit by bit ("(close)" after the passes: nearly), and
 * be left alone by a second run (but for "(once)": what `layout` is given must not be laid out yet). "(fast)" is
 * --math=fast. With LT_UPDATE=1
 * the files are written anew from what the passes give; read the difference before committing it. */
#include "check_main.h"
#include "frontend/frontend.h"
#include "graph_eval.h"
#include "ir/pass/pass.h"

#include <stdio.h>

typedef struct golden { const char *what, *passes, *before, *gives; bool close, once, fast; } golden;
typedef LT_VEC(golden) goldens;

/* Cut `text` (changed) at its markers. */
static goldens read_cases(lt_arena *a, char *text) {
  goldens all = {0};
  for (char *p = strstr(text, "# case "); p;) {
    char *next = strstr(p + 1, "# case "), *gives = strstr(p, "# gives\n"), *line = strchr(p, '\n');
    ck_assert(gives && line && (!next || gives < next));
    char *colon = p + strcspn(p, ":");
    golden c = {.what = lt_arena_strndup(a, p + 7, (size_t)(colon - p - 7)),
                .passes = lt_arena_strndup(a, colon + 1, (size_t)(line - colon - 1)),
                .before = lt_arena_strndup(a, line + 1, (size_t)(gives - line - 1))};
    const char *after = gives + 8;
    c.gives = lt_arena_strndup(a, after, next ? (size_t)(next - after) : strlen(after));
    c.close = strstr(c.passes, "close") != NULL;
    c.once = strstr(c.passes, "once") != NULL;
    c.fast = strstr(c.passes, "fast") != NULL;
    lt_vec_push(a, &all, c);
    p = next;
  }
  return all;
}

static lt_graph *read_graph(lt_job *job, const char *text, const char *what) {
  return lt_text_read(job, text, strlen(text), what, NULL);
}

static lt_graph *apply(lt_job *job, const lt_graph *g, const char *passes) {
  lt_pass list[16];
  size_t n = 0;
  for (const char *p = passes; *p && *p != '('; p += strcspn(p, ", (")) {
    p += strspn(p, ", ");
    if (!*p || *p == '(') break;
    lt_pass pass = lt_pass_find(lt_arena_strndup(lt_arena_new(job), p, strcspn(p, ", (")));
    ck_assert_msg(pass != LT_PASS_none, "no pass %s", p);
    ck_assert_uint_lt(n, LT_COUNT(list));
    list[n++] = pass;
  }
  return lt_run_passes(job, g, list, n, &(lt_pass_options){.verify_each = true});
}

static void compare_values(lt_job *job, const golden *c, const lt_graph *before, const lt_graph *after) {
  lt_arena *a = lt_arena_new(job);
  lt_eval *x = lt_test_eval(job, a, before, LT_EVAL_ROUND, 1), *y = lt_test_eval(job, a, after, LT_EVAL_ROUND, 1);
  ck_assert_uint_eq(before->outputs.n, after->outputs.n);
  ck_assert_uint_eq(before->updates.n, after->updates.n);
  for (uint32_t i = 0; i < before->outputs.n + before->updates.n; i++) {
    bool out = i < before->outputs.n;
    uint32_t k = out ? i : i - before->outputs.n;
    const lt_tensor *p = lt_eval_get(x, out ? before->outputs.at[k].value : before->updates.at[k].value);
    const lt_tensor *q = lt_eval_get(y, out ? after->outputs.at[k].value : after->updates.at[k].value);
    bool same = c->close ? lt_test_distance(q, p) < (c->fast ? 1e-5 : 1e-6) : lt_tensor_eq(p, q);
    ck_assert_msg(same, "%s: result %u differs", c->what, i);
  }
}

/* One case; the text it gives goes into *now. */
static void run_case(lt_job *job, const golden *c, lt_str *now) {
  lt_graph *before = read_graph(job, c->before, c->what);
  before->fast = c->fast;
  lt_graph *after = apply(job, before, c->passes);
  lt_graph *again = c->once ? NULL : apply(job, after, c->passes);
  lt_str text;
  lt_str_init(&text, now->arena);
  lt_print(&text, after);
  lt_str_printf(now, "# case %s:%s\n%s# gives\n%s", c->what, c->passes, c->before, text.at);
  if (!lt_updates()) ck_assert_msg(strcmp(text.at, c->gives) == 0, "%s gives\n%s", c->what, text.at);
  ck_assert_msg(c->once || lt_graph_equal(after, again), "%s: a second time changes it again", c->what);
  compare_values(job, c, before, after);
  lt_graph_drop(job, again), lt_graph_drop(job, after), lt_graph_drop(job, before);
}

static const char *const files[] = {"raise",    "lower",     "fold", "cse",    "simplify",
                                    "winograd", "recompute", "fuse", "choose", "layout"};

static void run_file(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  const char *path = lt_arena_printf(a, "%s/golden/passes/%s.txt", getenv("LT_TESTS"), (const char *)arg);
  lt_bytes bytes = lt_file_read(job, a, path, 1 << 20);
  goldens all = read_cases(a, lt_arena_strdup(a, (const char *)bytes.at));
  ck_assert_uint_gt(all.n, 3);
  lt_str now;
  lt_str_init(&now, a);
  for (uint32_t i = 0; i < all.n; i++) run_case(job, &all.at[i], &now);
  if (lt_updates()) lt_file_write(job, path, now.at, now.n);
}

START_TEST(golden_files) {
  lathe_error e;
  int status = lt_protect(&e, run_file, (void *)(uintptr_t)files[_i]);
  ck_assert_msg(status == LATHE_OK, "%s:%d:%d: %s", e.file, e.line, e.column, e.message);
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

/* ---- raise: nobody computes past a value that is differentiated in ----------------------------------------------- */

static const char anchored[] =
  "network n(x: f32[1, 2, 4, 4], W: f32[3, 2, 3, 3], b: f32[3]) -> gx, gcol, grows, gw, gimage, zero {\n"
  "  col = im2col(x, kernel=3)\n"
  "  w = transpose(reshape(W, shape=[3, 18]))\n"
  "  rows = linear(col, w, b)\n"
  "  image = transpose(reshape(rows, shape=[1, 2, 2, 3]), perm=[0, 3, 1, 2])\n"
  "  y = sum(exp(image)) + sum(tanh(rows))\n"
  "  gx = grad(y, x)\n  gcol = grad(y, col)\n  grows = grad(y, rows)\n  gw = grad(y, w)\n  gimage = grad(y, image)\n"
  "  zero = grad(sum(tanh(rows)), image)\n"
  "}\n";

static void run_anchored(lt_job *job, void *arg) {
  lt_graph *g = read_graph(job, anchored, "anchored");
  lt_graph *plain = apply(job, g, "autodiff, cse"), *raised = apply(job, g, "raise, autodiff, cse");
  golden c = {.what = "anchored", .close = true};
  compare_values(job, &c, plain, raised);
  lt_graph_drop(job, g), lt_graph_drop(job, plain), lt_graph_drop(job, raised);
}

START_TEST(anchors) {
  lathe_error e;
  ck_assert_msg(lt_protect(&e, run_anchored, NULL) == LATHE_OK, "%s", e.message);
}
END_TEST

/* ---- the runner -------------------------------------------------------------------------------------------------- */

static const char net[] = "network n(x: f32[3]) -> y {\n  y = exp(x) * (2.0 - 1.0)\n}\n";

static void take(void *ctx, const char *pass, const char *text) {
  lt_str *s = ctx;
  lt_str_printf(s, "--- %s\n%s", pass, text);
}

static void run_printing(lt_job *job, void *arg) {
  lt_str s;
  lt_str_init(&s, lt_arena_new(job));
  lt_graph *g = read_graph(job, net, "net");
  lt_pass list[] = {LT_PASS_fold, LT_PASS_simplify, LT_PASS_cse};
  lt_pass_options o = {.print_after = arg, .time_passes = true, .print = take, .print_ctx = &s};
  lt_graph *y = lt_run_passes(job, g, list, 3, &o);
  ck_assert(o.seconds[LT_PASS_fold] > 0 && o.seconds[LT_PASS_lower] == 0);
  ck_assert_str_eq(s.at,
                   strcmp(arg, "all") == 0
                     ? "--- fold\nnetwork n(x: f32[3]) -> y {\n  v1: f32[3] = exp(x)\n  y: f32[3] = mul(v1, 1.0)\n}\n"
                       "--- simplify\nnetwork n(x: f32[3]) -> y {\n  y: f32[3] = exp(x)\n}\n"
                       "--- cse\nnetwork n(x: f32[3]) -> y {\n  y: f32[3] = exp(x)\n}\n"
                     : "--- simplify\nnetwork n(x: f32[3]) -> y {\n  y: f32[3] = exp(x)\n}\n");
  lt_graph *copy = lt_run_passes(job, y, NULL, 0, NULL);
  ck_assert(copy != y && lt_graph_equal(copy, y));
  lt_graph_drop(job, g), lt_graph_drop(job, y), lt_graph_drop(job, copy);
}

START_TEST(print_after) {
  lathe_error e;
  ck_assert_msg(lt_protect(&e, run_printing, "all") == LATHE_OK, "%s", e.message);
  ck_assert_msg(lt_protect(&e, run_printing, "simplify") == LATHE_OK, "%s", e.message);
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

START_TEST(table) {
  for (unsigned p = 1; p < LT_PASSES; p++) {
    ck_assert_uint_eq(lt_pass_find(lt_pass_name((lt_pass)p)), p);
    ck_assert_str_eq(lt_pass_names()[p - 1], lt_pass_name((lt_pass)p));
    ck_assert_uint_gt(strlen(lt_pass_doc((lt_pass)p)), 10);
  }
  ck_assert(lt_pass_names()[LT_PASSES - 1] == NULL);
  ck_assert_uint_eq(lt_pass_find("folds"), LT_PASS_none);
}
END_TEST

/* A pipeline that runs out of memory anywhere leaves nothing behind. */
static void run_pipeline(lt_job *job, void *arg) {
  lt_graph *g = read_graph(job, net, "net");
  lt_graph *y = apply(job, g, "fold, simplify, cse");
  lt_graph_drop(job, g), lt_graph_drop(job, y);
}

START_TEST(out_of_memory) {
  for (uint64_t n = 1;; n++) {
    lathe_error e;
    lt_mem_fail_at(n, false);
    int status = lt_protect(&e, run_pipeline, NULL);
    lt_mem_fail_at(0, false);
    ck_assert_int_eq(lt_mem_live(), 0);
    if (status == LATHE_OK) {
      ck_assert_uint_gt(n, 5);
      break;
    }
    ck_assert_msg(status == LATHE_E_NOMEM, "allocation %llu: %s", (unsigned long long)n, e.message);
  }
}
END_TEST

static Suite *passes(void) {
  Suite *s = suite_create("passes");
  TCase *c = tcase_create("passes");
  tcase_add_loop_test(c, golden_files, 0, LT_COUNT(files));
  tcase_add_test(c, anchors);
  tcase_add_test(c, print_after);
  tcase_add_test(c, table);
  tcase_add_test(c, out_of_memory);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(passes)
