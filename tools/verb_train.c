/* verb_train.c: a network trained on rows of files: steps, log, testing, what is saved. */
#include "train.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct training {
  cli *c;
  lathe_graph *g;
  lathe_model *m;
  lathe_instance *s;
  ports in, nets_inputs;
  const lathe_port *x, *t; /* of the train entry */
  lathe_port loss;
  dataset data, test;
  bool tested;
  int64_t batch, per_epoch, steps, first; /* first: steps that the loaded weights have behind them */
  uint64_t seed;
  float *losses; /* for the page; NULL without one */
  double last, seconds;
} training;

static void check_flags(const cli *c) {
  static const char *const needs[][2] = {
    {"test-data", "test-labels"}, {"test-labels", "test-data"}, {"confusion", "test-data"}, {"save-optimizer", "save"}};
  if (!has(c, "data") || !has(c, "labels"))
    fail_usage(c, "train needs data\nhelp: add --%s", has(c, "data") ? "labels Y.npy" : "data X.npy --labels Y.npy");
  for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++)
    if (has(c, needs[i][0]) && !has(c, needs[i][1])) fail_usage(c, "--%s goes with --%s", needs[i][0], needs[i][1]);
  if (has(c, "epochs") && has(c, "steps")) fail_usage(c, "--epochs and --steps exclude each other");
}

/* What is found out after an hour of training is found out too late. */
static void check_places(const cli *c) {
  static const char *const flags[] = {"save", "report", "log"};
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

static bool is_float(const lathe_port *p) { return p->dtype == LATHE_F32 || p->dtype == LATHE_F64; }

/* Labels go to the input that the builtin loss has added, else to the integer input, else to the last of two. */
static const lathe_port *labels_port(const training *t) {
  for (size_t i = 0; i < t->in.n; i++)
    if (!find_port(&t->nets_inputs, t->in.at[i].name)) return &t->in.at[i];
  for (size_t i = 0; i < t->in.n; i++)
    if (!is_float(&t->in.at[i])) return &t->in.at[i];
  return t->in.n == 2 ? &t->in.at[1] : NULL;
}

static void find_ports(training *t) {
  t->in = ports_of(t->m, "train", "input");
  t->nets_inputs = graph_ports(t->g, "input");
  t->t = labels_port(t);
  if (!t->t)
    fail_work(
      t->c, "the loss has no input for labels\nhelp: give the network an integer input, or use a builtin --loss");
  for (size_t i = 0; i < t->in.n; i++) {
    if (&t->in.at[i] == t->t) continue;
    if (t->x) fail_work(t->c, "train feeds one input, but the loss needs '%s' and '%s'", t->x->name, t->in.at[i].name);
    t->x = &t->in.at[i];
  }
  if (!t->x) fail_work(t->c, "the loss depends on no input but the labels");
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

/* ---- steps ---- */

static int64_t hidden_state(const training *t, const char *name, int64_t otherwise) {
  size_t bytes;
  const int64_t *p = lathe_buffer(t->s, name, &bytes);
  return p && bytes == sizeof *p ? *p : otherwise;
}

static void plan_steps(training *t) {
  t->batch = t->x->dim[0];
  t->per_epoch = t->data.rows / t->batch;
  if (t->per_epoch == 0)
    fail_work(t->c, "--data has %lld rows, fewer than one batch of %lld\nhelp: a smaller --batch",
      (long long)t->data.rows, (long long)t->batch);
  t->steps = int_of(t->c, "steps", int_of(t->c, "epochs", 10) * t->per_epoch);
  if (has(t->c, "report")) t->losses = need(calloc((size_t)t->steps, sizeof *t->losses));
  t->seed = (uint64_t)hidden_state(t, "seed", int_of(t->c, "seed", 0));
  t->first = hidden_state(t, "step", 0);
}

static void take_rows(const training *t, const int64_t *rows, char *x, char *labels) {
  for (int64_t i = 0; i < t->batch; i++) {
    memcpy(
      x + (size_t)i * t->data.x_row, (const char *)t->data.x.data + (size_t)rows[i] * t->data.x_row, t->data.x_row);
    memcpy(labels + (size_t)i * t->data.t_row, (const char *)t->data.t.data + (size_t)rows[i] * t->data.t_row,
      t->data.t_row);
  }
}

static FILE *open_log(const cli *c) {
  const char *path = text_of(c, "log", NULL);
  if (!path) return NULL;
  FILE *f = fopen(path, "wb");
  if (!f) fail_work(c, "cannot write %s: %s", path, strerror(errno));
  return f;
}

static void run_steps(training *t) {
  char *x = buffer_of(t->c, t->s, t->x->name), *labels = buffer_of(t->c, t->s, t->t->name);
  const void *loss = buffer_of(t->c, t->s, t->loss.name);
  int64_t *order = need(malloc((size_t)t->data.rows * sizeof *order));
  FILE *log = open_log(t->c);
  progress bar = progress_start(t->steps, t->per_epoch);
  double start = now();
  for (int64_t i = 0; i < t->steps; i++) {
    int64_t step = t->first + i, within = step % t->per_epoch;
    if (within == 0 || i == 0) order_rows(order, t->data.rows, t->seed, step / t->per_epoch, !has(t->c, "no-shuffle"));
    take_rows(t, order + within * t->batch, x, labels);
    call_entry(t->c, t->s, "train");
    t->last = value_at(t->loss.dtype, loss, 0);
    if (t->losses) t->losses[i] = (float)t->last;
    if (log) fprintf(log, "{\"step\":%lld,\"loss\":%.9g}\n", (long long)step, t->last);
    progress_step(&bar, i + 1, t->last);
  }
  t->seconds = now() - start;
  if (log && (ferror(log) | fclose(log))) fail_work(t->c, "cannot write %s", text_of(t->c, "log", NULL));
  free(order);
}

/* ---- testing ---- */

static lathe_instance *open_answer(const training *t, const lathe_port *out, lathe_model **m) {
  lathe_error e;
  char *entry = format("--entry \"run:%s\"", out->name);
  *m = compile(t->c, t->g, entry);
  char *threads = format("--threads %lld", (long long)int_of(t->c, "threads", 1));
  lathe_instance *s = lathe_open(*m, threads, &e);
  if (!s || lathe_weights_copy(s, t->s, &e)) fail_api(t->c, &e);
  free(threads);
  free(entry);
  return s;
}

static evaluation test_it(const training *t) {
  lathe_port out;
  if (!answer_port(t, &out)) fail_work(t->c, "the network has no output beside the loss that could be tested");
  if (out.rank < 1 || out.dim[0] != t->batch || (!is_float(t->t) && out.rank != 2))
    fail_work(t->c, "output '%s' cannot be tested: it is not one row per example", out.name);
  if (is_float(t->t) && count_of(out.rank, out.dim) != count_of(t->t->rank, t->t->dim))
    fail_work(t->c, "output '%s' and the labels differ in size", out.name);
  lathe_model *m;
  lathe_instance *s = open_answer(t, &out, &m);
  evaluation v = evaluate(t->c, s, t->x, &out, &t->test);
  lathe_instance_free(s);
  lathe_model_free(m);
  return v;
}

static void print_results(const training *t, const evaluation *v) {
  printf("%lld step%s of %lld in %.2f s, last loss %.6g\n", (long long)t->steps, t->steps == 1 ? "" : "s",
    (long long)t->batch, t->seconds, t->last);
  if (!t->tested) return;
  if (has(t->c, "confusion") && v->classes) print_confusion(v);
  if (v->classes) printf("test accuracy: %.1f %%\n", accuracy(v));
  else printf("test error: %.6g (mean of squares)\n", v->error);
}

static void report(const training *t, const evaluation *v) {
  const char *path = text_of(t->c, "report", NULL);
  if (!path) return;
  char *peak = peak_line(t->c, t->m, "train", 0.5);
  page p = {.model = t->c->model,
    .loss = t->losses,
    .steps = t->steps,
    .per_epoch = t->per_epoch,
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
  t->m = compile(t->c, t->g, has(t->c, "report") ? "--entry train --profile" : "--entry train");
  find_ports(t);
  t->data = load_dataset(t->c, "data", "labels", t->x, t->t);
  t->tested = has(t->c, "test-data");
  if (t->tested) t->test = load_dataset(t->c, "test-data", "test-labels", t->x, t->t);
  t->s = open_instance(t->c, t->m);
  plan_steps(t);
}

static void close_training(training *t) {
  free_dataset(&t->data);
  free_dataset(&t->test);
  free(t->losses);
  free(t->in.at);
  free(t->nets_inputs.at);
  lathe_instance_free(t->s);
  lathe_model_free(t->m);
  lathe_graph_free(t->g);
}

int verb_train(cli *c) {
  lathe_error e;
  training t = {.c = c};
  check_flags(c);
  check_places(c);
  open_training(&t);
  run_steps(&t);
  evaluation v = {.classes = 0};
  if (t.tested) v = test_it(&t);
  if (has(c, "save") && lathe_weights_save(t.s, text_of(c, "save", NULL), has(c, "save-optimizer"), &e))
    fail_api(c, &e);
  print_results(&t, &v);
  report(&t, &v);
  free_evaluation(&v);
  close_training(&t);
  return 0;
}
