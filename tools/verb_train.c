/* verb_train.c: a network trained on rows of files: what goes where, testing, what is said at the end. steps.c
 * trains. */
#include "train.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the library would refuse to write is refused before hours of training. */
static void check_save(const cli *c, const char *flag) {
  static const char *const only_read[] = {".pt", ".pth", ".bin", ".ckpt"};
  const char *path = text_of(c, flag, ""), *dot = strrchr(path, '.');
  for (size_t i = 0; dot && i < sizeof only_read / sizeof only_read[0]; i++)
    if (strcmp(dot, only_read[i]) == 0)
      fail_usage(c,
                 "--%s: %s would be a file of PyTorch's, which are only read\nhelp: --%s F.safetensors; in Python, "
                 "safetensors.torch.load_file('F.safetensors') reads it",
                 flag, path, flag);
}

static void check_flags(const cli *c) {
  static const char *const needs[][2] = {
    {"test-data", "test-labels"}, {"test-labels", "test-data"}, {"confusion", "test-data"}, {"save-optimizer", "save"},
    {"save-every", "save"},       {"save-best", "save"},        {"save-best", "test-data"}, {"save-fallback", "save"}};
  if (!has(c, "data") || !has(c, "labels"))
    fail_usage(c, "train needs data\nhelp: add --%s", has(c, "data") ? "labels Y.npy" : "data X.npy --labels Y.npy");
  for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++)
    if (has(c, needs[i][0]) && !has(c, needs[i][1])) fail_usage(c, "--%s goes with --%s", needs[i][0], needs[i][1]);
  if (has(c, "epochs") && has(c, "steps")) fail_usage(c, "--epochs and --steps exclude each other");
  check_save(c, "save");
  check_save(c, "save-fallback");
  if (has(c, "save-best") && has(c, "save-every"))
    fail_usage(c, "--save-best and --save-every would write the same file: they exclude each other");
}

/* What is found out after an hour of training is found out too late. */
static void check_places(const cli *c) {
  static const char *const flags[] = {"save", "save-fallback", "report", "log"};
  for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
    const char *path = text_of(c, flags[i], NULL), *slash = path ? strrchr(path, '/') : NULL;
    if (!path) continue;
    char *dir = slash == path ? format("/") : slash ? format("%.*s", (int)(slash - path), path) : format(".");
    int error = access(dir, W_OK | X_OK) == 0 ? 0 : errno;
    free(dir);
    if (error) fail_work(c, "cannot write %s: %s", path, strerror(error));
  }
}

/* ---- which port gets what ---- */

static ports graph_ports(const lathe_graph *g, const char *kind) {
  ports p = {need(malloc(sizeof *p.at)), 0};
  lathe_port port;
  for (size_t i = 0; lathe_graph_port(g, i, &port); i++) {
    if (strcmp(port.kind, kind) != 0) continue;
    p.at = need(realloc(p.at, (p.n + 1) * sizeof *p.at));
    p.at[p.n++] = port;
  }
  return p;
}

/* Labels go to the input that the builtin loss has added, else to the integer input, else to the last of two. */
static const lathe_port *labels_port(const training *t) {
  for (size_t i = 0; i < t->in.n; i++)
    if (!find_port(&t->nets_inputs, t->in.at[i].name)) return &t->in.at[i];
  for (size_t i = 0; i < t->in.n; i++)
    if (!is_float(t->in.at[i].dtype)) return &t->in.at[i];
  return t->in.n == 2 ? &t->in.at[1] : NULL;
}

static void find_ports(training *t) {
  t->in = ports_of(t->m, "train", "input");
  t->nets_inputs = graph_ports(t->g, "input");
  t->t = labels_port(t);
  if (!t->t)
    fail_work(t->c,
              "the loss has no input for labels\nhelp: give the network an integer input, or use a builtin --loss");
  for (size_t i = 0; i < t->in.n; i++) {
    if (&t->in.at[i] == t->t) continue;
    if (t->x) fail_work(t->c, "train feeds one input, but the loss needs '%s' and '%s'", t->x->name, t->in.at[i].name);
    t->x = &t->in.at[i];
  }
  if (!t->x) fail_work(t->c, "the loss depends on no input but the labels");
  t->batch = t->x->rank ? t->x->dim[0] : 1;
  if (t->x->rank < 1 || t->t->rank < 1 || t->x->dim[0] != t->t->dim[0])
    fail_work(t->c, "inputs '%s' and '%s' differ in their first dimension, which is the batch", t->x->name, t->t->name);
  ports out = ports_of(t->m, "train", "output");
  if (out.n != 1) fail_work(t->c, "the train entry has %zu outputs instead of the loss alone", out.n);
  t->loss = out.at[0];
  free(out.at);
}

/* The first output that is not the loss itself: what the network says. false: there is none. */
static bool answer_port(const training *t, lathe_port *p) {
  ports out = graph_ports(t->g, "output");
  const char *loss = text_of(t->c, "loss", "");
  size_t i = 0;
  while (i < out.n && strcmp(out.at[i].name, loss) == 0) i++;
  bool found = i < out.n;
  if (found) *p = out.at[i];
  free(out.at);
  return found;
}

/* ---- how many steps ---- */

static int64_t hidden_state(const training *t, const char *name, int64_t otherwise) {
  size_t bytes;
  const int64_t *p = lathe_buffer(t->s, name, &bytes);
  return p && bytes == sizeof *p ? *p : otherwise;
}

static void plan_steps(training *t) {
  int64_t epochs = int_of(t->c, "epochs", 10), rows;
  if (t->data.rows < t->batch)
    fail_work(t->c, "--data has %lld rows, fewer than one batch of %lld\nhelp: a smaller --batch",
              (long long)t->data.rows, (long long)t->batch);
  if (__builtin_mul_overflow(epochs, t->data.rows, &rows))
    fail_usage(t->c, "--epochs %lld of %lld rows are too many", (long long)epochs, (long long)t->data.rows);
  t->steps = int_of(t->c, "steps", (rows - 1) / t->batch + 1); /* every row at least `epochs` times */
  t->first = hidden_state(t, "step", 0);
  if (t->first < 0 || t->first > INT64_MAX / t->batch - t->steps)
    fail_work(t->c, "the weights say that %lld steps were done, which cannot be", (long long)t->first);
  if (has(t->c, "report")) t->losses = need(calloc((size_t)t->steps, sizeof *t->losses));
  t->seed = (uint64_t)hidden_state(t, "seed", int_of(t->c, "seed", 0));
  if (has(t->c, "seed") && t->seed != (uint64_t)int_of(t->c, "seed", 0))
    fprintf(stderr, "lathe: note: the training goes on with seed %llu of the weights; --seed %s changes nothing\n",
            (unsigned long long)t->seed, text_of(t->c, "seed", ""));
}

/* ---- testing ---- */

/* The run entry of what is tested, made once. */
static void open_tester(training *t) {
  lathe_error e;
  if (!answer_port(t, &t->answer)) fail_work(t->c, "the network has no output beside the loss that could be tested");
  const lathe_port *out = &t->answer;
  if (out->rank < 1 || out->dim[0] != t->batch || (!is_float(t->t->dtype) && out->rank != 2))
    fail_work(t->c, "output '%s' cannot be tested: it is not one row per example", out->name);
  if (is_float(t->t->dtype) && count_of(out->rank, out->dim) != count_of(t->t->rank, t->t->dim))
    fail_work(t->c, "output '%s' and the labels differ in size", out->name);
  if (!is_float(t->t->dtype)) check_test_labels(t->c, out, &t->test);
  char *entry = format("--entry \"run:%s\"", out->name);
  char *threads = format("--threads %lld", (long long)int_of(t->c, "threads", 1));
  t->tester = compile(t->c, t->g, entry);
  t->test_run = lathe_open(t->tester, threads, &e);
  if (!t->test_run) fail_api(t->c, &e);
  free(threads);
  free(entry);
}

evaluation test_now(training *t) {
  lathe_error e;
  if (lathe_weights_copy(t->test_run, t->s, &e)) fail_api(t->c, &e);
  return evaluate(t->c, t->test_run, t->x, &t->answer, &t->test);
}

static void print_results(const training *t, const evaluation *v) {
  printf("%lld step%s of %lld in %.2f s, last loss %.6g\n", (long long)t->done, t->done == 1 ? "" : "s",
         (long long)t->batch, t->seconds, t->last);
  if (has(t->c, "save-best") && t->saved && !t->best_known)
    printf("no test loss was finite; %s holds the weights of step %lld\n", text_of(t->c, "save", ""),
           (long long)t->saved_step);
  else if (has(t->c, "save-best") && t->saved)
    printf("best test loss: %.6g after step %lld, saved to %s\n", t->best, (long long)t->saved_step,
           text_of(t->c, "save", ""));
  if (!t->tested) return;
  if (has(t->c, "confusion") && v->classes) print_confusion(v);
  if (v->classes && v->unread)
    printf("test accuracy: %.1f %% (%lld of %lld rows come out as NaN)\n", accuracy(v), (long long)v->unread,
           (long long)v->rows);
  else if (v->classes) printf("test accuracy: %.1f %%\n", accuracy(v));
  else printf("test error: %.6g (mean of squares)\n", v->error);
}

static void report(const training *t, const evaluation *v) {
  const char *path = text_of(t->c, "report", NULL);
  if (!path) return;
  char *peak = peak_line(t->c, t->m, "train", 0.5);
  page p = {.model = t->c->model,
            .loss = t->losses,
            .steps = t->done,
            .per_epoch = (double)t->data.rows / (double)t->batch,
            .seconds = t->seconds,
            .test = t->tested ? v : NULL,
            .test_set = &t->test,
            .peak = peak};
  write_page(t->c, path, &p);
  printf("%s\n", peak);
  free(peak);
}

/* ---- all of it ---- */

static void open_training(training *t) {
  t->g = load_graph(t->c);
  note_folded(t->g);
  t->m = compile(t->c, t->g, has(t->c, "report") ? "--entry train --profile" : "--entry train");
  find_ports(t);
  t->weights = ports_of(t->m, "train", "param");
  t->states = ports_of(t->m, "train", "state");
  t->data = load_dataset(t->c, "data", "labels", t->x, t->t);
  t->tested = has(t->c, "test-data");
  if (t->tested) t->test = load_dataset(t->c, "test-data", "test-labels", t->x, t->t);
  if (t->tested) open_tester(t);
  t->s = open_instance(t->c, t->m);
  plan_steps(t);
}

static void close_training(training *t) {
  free_dataset(&t->data);
  free_dataset(&t->test);
  free(t->losses);
  free(t->in.at);
  free(t->nets_inputs.at);
  free(t->weights.at);
  free(t->states.at);
  lathe_instance_free(t->test_run);
  lathe_model_free(t->tester);
  lathe_instance_free(t->s);
  lathe_model_free(t->m);
  lathe_graph_free(t->g);
}

static int stopped(const training *t, int by) {
  const char *save = text_of(t->c, "save", NULL);
  fprintf(stderr, "lathe: stopped by %s after %lld of %lld steps%s%s\n", by == SIGINT ? "SIGINT" : "SIGTERM",
          (long long)t->done, (long long)t->steps, save && t->saved ? "; the weights are in " : "",
          save && t->saved ? save : "");
  return 128 + by;
}

int verb_train(cli *c) {
  training t = {.c = c};
  check_flags(c);
  check_places(c);
  open_training(&t);
  int by = run_steps(&t), code = 0;
  evaluation v = {.classes = 0};
  if (by) code = stopped(&t, by);
  else {
    if (t.tested) v = test_now(&t);
    print_results(&t, &v);
    report(&t, &v);
  }
  free_evaluation(&v);
  close_training(&t);
  return code;
}
