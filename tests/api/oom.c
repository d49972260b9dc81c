/* oom.c: load, compile, run, prove, save and load weights of a small network, with the n-th allocation failing, for
 * every n until none fails: an error each time, which says that memory is out; no block left behind; and afterwards
 * everything works. Once one allocation fails alone, once all after it fail too. What LLVM allocates is outside this
 * promise. */
#include "base/base.h"
#include "check_main.h"
#include "lathe/lathe.h"

#include <stdio.h>
#include <unistd.h>

static const char text[] =
  "network net[N=2](x: f32[N, 3, 6, 6], t: i64[N]) -> y, loss {\n"
  "  h = relu(batch_norm(conv2d(x, out_channels=5, kernel=3, pad=1, name=\"conv\"), name=\"bn\"))\n"
  "  y = linear(flatten(max_pool(h, kernel=2)), out=4, name=\"fc\")\n"
  "  loss = cross_entropy(y, t)\n"
  "}\n";

typedef struct job { const char *compile, *open, *entry; char weights[64]; const char *emit; } job;

/* An object of it instead. */
static int object(const job *j, lathe_error *e) {
  char opts[256];
  snprintf(opts, sizeof opts, "%s -o %s --header %s.h", j->emit, j->weights, j->weights);
  lathe_graph *g = lathe_parse(text, sizeof text - 1, "net.lathe", "", e);
  int rc = g ? lathe_emit(g, NULL, opts, e) : e->status;
  lathe_object *o = rc ? NULL : lathe_object_load(j->weights, e);
  if (!rc && !o) rc = e->status;
  lathe_object_free(o);
  lathe_graph_free(g);
  return rc;
}

/* A lathe_status; the message of the failure in *e. */
static int whole_way(const job *j, lathe_error *e) {
  *e = (lathe_error){0};
  if (j->emit) return object(j, e);
  lathe_instance *s = NULL;
  lathe_model *m = NULL;
  lathe_graph *g = lathe_parse(text, sizeof text - 1, "net.lathe", "", e);
  if (g) m = lathe_compile(g, j->compile, e);
  if (m) s = lathe_open(m, j->open, e);
  int rc = s ? lathe_call(s, j->entry) : e->status;
  if (!rc) rc = lathe_weights_save(s, j->weights, 1, e);
  if (!rc) rc = lathe_weights_load(s, j->weights, 0, e);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
  return rc;
}

static void every_allocation(job *j, bool forever) {
  lathe_error e;
  snprintf(j->weights, sizeof j->weights, "oom-%d.npz", (int)getpid());
  ck_assert_msg(whole_way(j, &e) == 0, "%s", e.message); /* what is made once per process is made */
  const int64_t live = lt_mem_live();
  uint64_t n = 0, made;
  int rc;
  do {
    uint64_t before = lt_mem_count();
    lt_mem_fail_at(++n, forever);
    rc = whole_way(j, &e);
    lt_mem_fail_at(0, false);
    made = lt_mem_count() - before;
    ck_assert_msg(lt_mem_live() == live, "allocation %d: %d blocks left behind", (int)n, (int)(lt_mem_live() - live));
    if (made < n) break;
    ck_assert_msg(rc == LATHE_E_NOMEM, "allocation %d: status %d: %s", (int)n, rc, e.message);
  } while (n < 100000);
  ck_assert_msg(rc == 0, "%s", e.message);
  ck_assert_uint_gt(n, 20);
  ck_assert_msg(whole_way(j, &e) == 0, "%s", e.message);
  unlink(j->weights);
  strcat(j->weights, ".h");
  unlink(j->weights);
}

START_TEST(run_one) { every_allocation(&(job){.compile = "", .open = "--threads 2", .entry = "run"}, false); }
END_TEST
START_TEST(run_all_later) { every_allocation(&(job){.compile = "", .open = "--threads 1", .entry = "run"}, true); }
END_TEST
START_TEST(train_one) {
  every_allocation(
    &(job){.compile = "--entry train:loss --optimizer adam --halves", .open = "--seed 1", .entry = "train"}, false);
}
END_TEST

START_TEST(compile_one) {
  every_allocation(&(job){.compile = "--entry train:loss --optimizer adam --threads 3", .open = "", .entry = "train"},
                   false);
}
END_TEST

START_TEST(emit_one) { every_allocation(&(job){.emit = "--entry run:y --entry train:loss --seed 1"}, false); }
END_TEST

/* The proof alone, again and again on one instance, which stays what it was. */
START_TEST(prove_one) {
  lathe_error e;
  lathe_graph *g = lathe_parse(text, sizeof text - 1, "net.lathe", "", &e);
  lathe_model *m = lathe_compile(g, "--entry run:y", &e);
  lathe_instance *s = lathe_open(m, "--seed 1", &e);
  ck_assert_msg(s != NULL, "%s", e.message);
  ck_assert_int_eq(lathe_call(s, "run"), 0);
  lathe_free(lathe_prove(g, s, "run", "", &e));
  const int64_t live = lt_mem_live();
  for (uint64_t n = 1;; n++) {
    lt_mem_fail_at(n, false);
    lathe_proof *proof = lathe_prove(g, s, "run", "", &e);
    lt_mem_fail_at(0, false);
    if (proof) {
      for (size_t i = 0; i < proof->n; i++) ck_assert_msg(proof->point[i].ok, "%s", proof->point[i].notes);
      lathe_free(proof);
      ck_assert_uint_gt(n, 50);
      break;
    }
    ck_assert_msg(e.status == LATHE_E_NOMEM, "allocation %d: status %d: %s", (int)n, e.status, e.message);
    ck_assert_msg(lt_mem_live() == live, "allocation %d: %d blocks left behind", (int)n, (int)(lt_mem_live() - live));
  }
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
}
END_TEST

/* Files of weights of every kind, matched with a network and written anew. */
START_TEST(weights_one) {
  static const char *const files[] = {"torch.pth", "torch.safetensors", "keras.npz"};
  char path[1000], opts[100];
  lathe_error e;
  snprintf(path, sizeof path, "%s/weights/net.lathe", getenv("LT_TESTS"));
  snprintf(opts, sizeof opts, "--flatten-order hwc --output oom-%d.safetensors", (int)getpid());
  lathe_graph *g = lathe_load(path, "", &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  snprintf(path, sizeof path, "%s/weights/%s", getenv("LT_TESTS"), files[_i]);
  const int64_t live = lt_mem_live();
  for (uint64_t n = 1;; n++) {
    lt_mem_fail_at(n, false);
    char *list = lathe_weights_list(path, g, opts, &e);
    lt_mem_fail_at(0, false);
    lathe_free(list);
    ck_assert_msg(lt_mem_live() == live, "allocation %d: %d blocks left behind", (int)n, (int)(lt_mem_live() - live));
    if (list) {
      ck_assert_uint_gt(n, 10);
      break;
    }
    ck_assert_msg(e.status == LATHE_E_NOMEM, "allocation %d: status %d: %s", (int)n, e.status, e.message);
  }
  unlink(strrchr(opts, ' ') + 1);
  lathe_graph_free(g);
}
END_TEST

static Suite *oom(void) {
  Suite *s = suite_create("oom");
  TCase *c = tcase_create("oom");
  tcase_set_timeout(c, 240);
  tcase_add_test(c, run_one), tcase_add_test(c, run_all_later), tcase_add_test(c, train_one),
    tcase_add_test(c, compile_one), tcase_add_test(c, emit_one);
  tcase_add_test(c, prove_one);
  tcase_add_loop_test(c, weights_one, 0, 3);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(oom)
