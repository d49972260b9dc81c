/* What every pass promises, on every network of tests/models and examples, in both modes: the graph verifies, its dump
 * reads back as the same graph, and the interpreter's results stay what they were before the pass. Networks too large
 * for the interpreter (more than MOST multiplications) are held to the first two only. */
#include "check_main.h"
#include "driver/pipeline.h"
#include "frontend/frontend.h"
#include "graph_eval.h"
#include "ir/pass/pass.h"
#include "networks.h"

#include <dirent.h>
#include <stdio.h>

static const double MOST = 3e7;
/* Folding rounds constants to f32, which the interpreter in double otherwise does not; the rest is exact but for the
 * order of sums. */
static double tolerance(lt_pass p) { return p == LT_PASS_fold ? 1e-4 : 1e-9; }

static double work_of(const lt_graph *g) {
  double work = 0;
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    double out = (double)lt_type_count(lt_type_of(g, n->out)), k = 1;
    if (n->op == LT_OP_conv2d || n->op == LT_OP_conv2d_grad_input || n->op == LT_OP_conv2d_grad_weight) {
      double a = (double)lt_type_count(lt_type_of(g, n->in[0])), b = (double)lt_type_count(lt_type_of(g, n->in[1]));
      k = n->op == LT_OP_conv2d ? b / (double)lt_type_of(g, n->in[1])->dim[0] : a * b / out / 8;
    } else if (n->op == LT_OP_linear || n->op == LT_OP_matmul) k = (double)lt_type_of(g, n->in[1])->dim[0];
    work += out * k;
  }
  return work;
}

typedef struct seen { unsigned networks, compared; } seen;
typedef struct results { const lt_tensor **at; uint32_t n; } results;

static results evaluate(lt_job *job, lt_arena *a, const lt_graph *g) {
  lt_eval *e = lt_test_eval(job, a, g, LT_EVAL_DOUBLE, 7);
  results r = {LT_NEW_ARRAY(a, const lt_tensor *, g->outputs.n + g->updates.n + 1), g->outputs.n + g->updates.n};
  for (uint32_t i = 0; i < r.n; i++)
    r.at[i] = lt_eval_get(e, i < g->outputs.n ? g->outputs.at[i].value : g->updates.at[i - g->outputs.n].value);
  return r;
}

static void check_dump(lt_job *job, lt_graph *g, const char *what, const char *pass) {
  lt_str text;
  lt_str_init(&text, &g->arena);
  lt_print(&text, g);
  lt_graph *back = lt_text_read(job, text.at, text.n, what, NULL);
  back->mode = g->mode;
  ck_assert_msg(lt_graph_equal(back, g), "%s after %s does not read back as the same graph", what, pass);
  lt_graph_drop(job, back);
}

static bool has_op(const lt_graph *g, lt_op op) {
  for (uint32_t i = 0; i < g->nodes.n; i++)
    if (g->nodes.at[i]->op == op) return true;
  return false;
}

/* Does the graph mean the same in the interpreter before pass p has run? Training forms and gradients come by
 * passes. */
static bool comparable(const lt_graph *g, lt_pass p) {
  return !has_op(g, LT_OP_grad) && !(p == LT_PASS_mode && g->mode == LT_MODE_TRAIN);
}

static void run_model(lt_job *job, const char *what, const lt_graph *from, seen *s) {
  lt_graph *g = lt_run_passes(job, from, NULL, 0, NULL);
  results before = {0};
  lt_arena *a = lt_arena_new(job);
  size_t n;
  const lt_pass *pipeline = lt_pipeline(&n);
  for (size_t i = 0; i < n; i++) {
    const char *pass = lt_pass_name(pipeline[i]);
    bool values = comparable(g, pipeline[i]) && work_of(g) < MOST;
    if (values && !before.at) before = evaluate(job, a, g);
    lt_graph *next = lt_run_passes(job, g, &pipeline[i], 1, &(lt_pass_options){.verify_each = true});
    check_dump(job, next, what, pass);
    ck_assert_uint_eq(next->outputs.n, g->outputs.n);
    lt_graph_drop(job, g);
    g = next;
    if (!values) continue;
    results after = evaluate(job, a, g);
    for (uint32_t k = 0; k < LT_MIN(before.n, after.n); k++) {
      double d = lt_test_distance(after.at[k], before.at[k]);
      ck_assert_msg(d <= tolerance(pipeline[i]), "%s: result %u differs by %g after %s", what, k, d, pass);
    }
    before = after;
    s->compared++;
  }
  lt_graph_drop(job, g);
}

typedef struct model { const char *path; seen *seen; } model;

static void run_file(lt_job *job, void *arg) {
  const model *m = arg;
  lt_bytes text = lt_file_read(job, lt_arena_new(job), m->path, 1 << 24);
  const char *at = (const char *)text.at, *end = at + text.n;
  char name[64];
  while (lt_next_network(&at, end, name))
    for (unsigned mode = 0; mode < 2; mode++) {
      lt_graph *g = lt_text_read(job, (const char *)text.at, text.n, m->path, &(lt_read_options){.network = name});
      g->mode = mode ? LT_MODE_TRAIN : LT_MODE_RUN;
      m->seen->networks++;
      run_model(job, m->path, g, m->seen);
      lt_graph_drop(job, g);
    }
}

static void run_folder(const char *folder, seen *s) {
  char path[1200];
  snprintf(path, sizeof path, "%s/%s", getenv("LT_TESTS"), folder);
  DIR *d = opendir(path);
  ck_assert_msg(d != NULL, "%s", path);
  for (const struct dirent *f; (f = readdir(d)) != NULL;) {
    const char *dot = strrchr(f->d_name, '.');
    if (!dot || strcmp(dot, ".lathe") != 0) continue;
    snprintf(path, sizeof path, "%s/%s/%s", getenv("LT_TESTS"), folder, f->d_name);
    lathe_error e;
    int status = lt_protect(&e, run_file, &(model){path, s});
    ck_assert_msg(status == LATHE_OK, "%s:%d:%d: %s", path, e.line, e.column, e.message);
    ck_assert_int_eq(lt_mem_live(), 0);
  }
  closedir(d);
}

START_TEST(models) {
  seen s = {0};
  run_folder("models", &s);
  run_folder("../examples", &s);
  ck_assert_uint_ge(s.networks, 10);
  ck_assert_uint_ge(s.compared, 100);
}
END_TEST

LT_SUITE(pass_models, models)
LT_TEST_MAIN(pass_models)
