/* What `lathe print --print-after=all` writes reads back as the same graph: every model, after every pass, in both
 * modes. */
#include "driver/pipeline.h"
#include "ir/pass/pass.h"
#include "text_util.h"

#include <dirent.h>

typedef struct task { lt_job *job; const char *path, *text, *dump; size_t n; lt_mode mode; int dumps; } task;

static lt_graph *read_dump(lt_job *job, const char *text, const char *pass) {
  const lt_read_options o = {.max_bytes = (int64_t)1 << 40};
  return lt_text_read(job, text, strlen(text), pass, &o);
}

static void check_dump(void *ctx, const char *pass, const char *text) {
  task *t = ctx;
  lt_str again;
  lt_arena *a = lt_arena_new(t->job);
  lt_graph *g = read_dump(t->job, text, pass);
  lt_str_init(&again, a);
  lt_print(&again, g);
  ck_assert_msg(!strcmp(again.at, text), "%s after %s: read back and printed:\n%s", t->path, pass, again.at);
  lt_verify(g, pass);
  lt_graph_free(g);
  t->dump = lt_arena_strdup(a, text);
  t->dumps++;
}

static void run_passes(lt_job *job, void *arg) {
  task *t = arg;
  const lt_read_options options = TEST_OPTIONS;
  lt_pass_options o = {.print_after = "all", .verify_each = true, .print = check_dump, .print_ctx = t};
  lt_graph *g = lt_text_read(job, t->text, t->n, t->path, &options);
  g->mode = t->mode;
  t->job = job;
  size_t passes;
  const lt_pass *pipeline = lt_pipeline(&passes);
  lt_graph *last = lt_run_passes(job, g, pipeline, passes, &o);
  lt_graph *same = read_dump(job, t->dump, "the last pass");
  ck_assert_msg(lt_graph_equal(last, same), "%s: the last dump is another graph:\n%s", t->path, t->dump);
  ck_assert(lt_graph_hash(last) == lt_graph_hash(same));
  lt_graph_free(g);
  lt_graph_free(last);
  lt_graph_free(same);
}

static void check_model(const char *path, lt_mode mode) {
  lathe_error e;
  task t = {.path = path, .mode = mode};
  char *text = test_read(path, &t.n);
  t.text = text;
  int status = lt_protect(&e, run_passes, &t);
  ck_assert_msg(!status, "%s:%d:%d: %s", e.file, e.line, e.column, e.message);
  size_t passes;
  lt_pipeline(&passes);
  ck_assert_int_eq(t.dumps, (int)passes);
  ck_assert_int_eq(lt_mem_live(), 0);
  free(text);
}

static void check_models(lt_mode mode) {
  char folder[4096], path[4400];
  snprintf(folder, sizeof folder, "%s", test_path("models"));
  DIR *d = opendir(folder);
  int n = 0;
  ck_assert(d != NULL);
  for (struct dirent *f; (f = readdir(d));) {
    size_t length = strlen(f->d_name);
    if (length < 6 || strcmp(f->d_name + length - 6, ".lathe")) continue;
    snprintf(path, sizeof path, "%s/%.255s", folder, f->d_name);
    check_model(path, mode);
    n++;
  }
  closedir(d);
  ck_assert_int_ge(n, 9);
}

START_TEST(dumps_of_running) { check_models(LT_MODE_RUN); }
END_TEST
START_TEST(dumps_of_training) { check_models(LT_MODE_TRAIN); }
END_TEST

LT_SUITE(dumps, dumps_of_running, dumps_of_training)
LT_TEST_MAIN(dumps)
