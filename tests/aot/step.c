/* step.c: a training step as an object: what it starts from, 500 steps against `lathe train` and against the JIT, the
 * two halves against the whole, an object that only runs made of what was learned. */
#include "aot/aot.h"

enum { STEPS = 500, BATCH = 32, ROWS = 320 };

typedef struct step {
  const char *model, *opts, *prefix; /* opts: of the train entry */
  int steps;
} step;

static const step steps[] = {
  {"digits", "--entry train:loss --optimizer adam", "digits", STEPS},
  {"digits", "--entry train:loss --optimizer sgd", "digits", 20},
  {"residual", "--entry train:loss --optimizer momentum", "residual", 8},
  {"lenet5", "--entry train:loss --optimizer adam --lr 0.003 --parallel", "lenet5", 3},
  {"depthwise", "--entry train --optimizer momentum", NULL, 5},
  {"digits", "--entry train:loss --optimizer adagrad --clip-norm 0.1 --weight-decay 0.01 --freeze conv1", "digits", 10},
  {"residual", "--entry train:loss --optimizer adadelta --clip-norm 0.5", NULL, 5},
};

typedef struct loaded {
  lathe_model *m;
  lathe_instance *s;
  lathe_stats stats;
  void *so, *state, *grads, *scratch;
  const void *io[8];
  train_fn train, backward_or_null;
  float loss;
} loaded;

static void open_step(loaded *x, const step *t) {
  lathe_error e;
  char name[64];
  lathe_graph *g = load_model(t->model, NULL);
  const char *prefix = t->prefix ? t->prefix : t->model;
  char opts[256], jit[256];
  snprintf(opts, sizeof opts, "%s --prefix %s", t->opts, prefix);
  emit(g, NULL, "step", opts);
  snprintf(jit, sizeof jit, "%.*s",
           (int)(strstr(t->opts, " --parallel") ? strstr(t->opts, " --parallel") - t->opts : 255), t->opts);
  x->m = lathe_compile(g, jit, &e);
  ck_assert_msg(x->m != NULL, "%s", e.message);
  x->s = lathe_open(x->m, "--seed 7", &e);
  ck_assert_msg(x->s != NULL, "%s", e.message);
  lathe_graph_free(g);
  x->so = link_and_load("step.o");
  snprintf(name, sizeof name, "%s_train", prefix);
  find_into(x->so, name, &x->train);
  ck_assert_int_eq(lathe_model_stats(x->m, "train", &x->stats), 1);
  x->state = aligned_block((size_t)x->stats.state_bytes);
  x->grads = aligned_block((size_t)x->stats.state_bytes);
  x->scratch = aligned_block((size_t)x->stats.scratch_bytes * 2 + 4096);
  init_fn init;
  snprintf(name, sizeof name, "%s_state_init", prefix);
  find_into(x->so, name, &init);
  ck_assert_int_eq(init(x->state, 7), 0);
}

static void close_step(loaded *x) {
  lathe_instance_free(x->s);
  lathe_model_free(x->m);
  free(x->state), free(x->grads), free(x->scratch);
  dlclose(x->so);
}

/* Inputs of step i, the same for all. */
static void fill_io(loaded *x, int i) {
  lathe_port port;
  unsigned n = 0;
  for (size_t k = 0; lathe_model_port(x->m, "train", k, &port); k++) {
    if (!strcmp(port.kind, "input")) {
      ck_assert_int_eq(lathe_fill(x->s, port.name, (uint64_t)(100 + i), 0), 0);
      x->io[n++] = lathe_buffer(x->s, port.name, NULL);
    } else if (!strcmp(port.kind, "hyper")) x->io[n++] = NULL;
    else if (!strcmp(port.kind, "output")) x->io[n++] = &x->loss;
  }
  x->io[n] = NULL;
}

static void same_state(const loaded *x, const void *state, const char *when) {
  lathe_port port;
  for (size_t k = 0; lathe_model_port(x->m, "train", k, &port); k++) {
    if (port.offset < 0) continue;
    const void *jit = lathe_buffer(x->s, port.name, NULL);
    ck_assert_msg(memcmp(jit, (const char *)state + port.offset, (size_t)port.bytes) == 0, "%s: `%s` differs", when,
                  port.name);
  }
}

START_TEST(object_and_jit) {
  loaded x = {0};
  make_folder();
  open_step(&x, &steps[_i]);
  same_state(&x, x.state, "initial values");
  for (int i = 0; i < steps[_i].steps; i++) {
    lathe_port port;
    fill_io(&x, i);
    ck_assert_int_eq(x.train(x.io, x.state, x.scratch), 0);
    ck_assert_int_eq(lathe_call(x.s, "train"), 0);
    for (size_t k = 0; lathe_model_port(x.m, "train", k, &port); k++)
      if (!strcmp(port.kind, "output")) ck_assert_mem_eq(lathe_buffer(x.s, port.name, NULL), &x.loss, sizeof x.loss);
  }
  same_state(&x, x.state, "after training");
  close_step(&x);
  remove_folder();
}
END_TEST

START_TEST(halves_and_whole) {
  loaded x = {0};
  char name[64];
  backward_fn backward;
  apply_fn apply;
  const step *t = &steps[_i];
  make_folder();
  open_step(&x, t);
  snprintf(name, sizeof name, "%s_train_backward", t->prefix ? t->prefix : t->model);
  find_into(x.so, name, &backward);
  snprintf(name, sizeof name, "%s_train_apply", t->prefix ? t->prefix : t->model);
  find_into(x.so, name, &apply);
  size_t bytes = (size_t)x.stats.state_bytes;
  void *before = aligned_block(bytes);
  for (int i = 0; i < t->steps; i++) {
    fill_io(&x, i);
    memcpy(before, x.state, bytes);
    memset(x.grads, 0xA5, bytes);
    ck_assert_int_eq(apply(x.io, x.state, x.grads, x.scratch), LATHE_E_MODEL); /* no gradients yet */
    ck_assert_int_eq(backward(x.io, x.state, x.grads, x.scratch), 0);
    ck_assert_mem_eq(before, x.state, bytes);                                      /* it only looks */
    ck_assert_int_eq(apply((const void *[8]){0}, x.state, x.grads, x.scratch), 0); /* it takes nothing but lr */
    ck_assert_int_eq(lathe_call(x.s, "train"), 0);
  }
  same_state(&x, x.state, "after training");
  free(before);
  close_step(&x);
  remove_folder();
}
END_TEST

/* ---- against the command ---- */

static void save_rows(const char *name, lathe_dtype t, int rank, const int64_t *dim, void *data) {
  char path[128];
  lathe_error e;
  lathe_array a = {.dtype = t, .rank = rank, .data = data};
  memcpy(a.dim, dim, (size_t)rank * sizeof *dim);
  snprintf(path, sizeof path, "%s/%s", folder, name);
  ck_assert_msg(lathe_npy_save(&a, path, &e) == 0, "%s", e.message);
}

static float rows[ROWS * 64];
static int32_t labels[ROWS];

START_TEST(object_and_command) {
  loaded x = {0};
  lathe_array *saved;
  size_t n, compared = 0;
  char path[128];
  lathe_error e;
  lathe_port port;
  make_folder();
  for (int i = 0; i < ROWS * 64; i++) rows[i] = (float)((i * 7919) % 257) / 128 - 1;
  for (int i = 0; i < ROWS; i++) labels[i] = (i * 31) % 10;
  save_rows("x.npy", LATHE_F32, 4, (int64_t[]){ROWS, 1, 8, 8}, rows);
  save_rows("t.npy", LATHE_I32, 1, (int64_t[]){ROWS}, labels);
  MUST("'%s' train '%s/models/digits.lathe' --data x.npy --labels t.npy --loss loss --optimizer adam --seed 7 --steps "
       "%d --no-shuffle --save w.npz "
       "--save-optimizer",
       getenv("LT_LATHE"), getenv("LT_TESTS"), STEPS);
  open_step(&x, &steps[0]);
  for (int i = 0; i < STEPS; i++) {
    int at = i % (ROWS / BATCH) * BATCH;
    const void *io[4] = {rows + at * 64, labels + at, NULL, &x.loss};
    ck_assert_int_eq(x.train(io, x.state, x.scratch), 0);
  }
  snprintf(path, sizeof path, "%s/w.npz", folder);
  ck_assert_msg(lathe_npz_load(&saved, &n, path, &e) == 0, "%s", e.message);
  for (size_t i = 0; i < n; i++) {
    for (size_t k = 0; lathe_model_port(x.m, "train", k, &port); k++) {
      if (port.offset < 0 || strcmp(port.name, saved[i].name)) continue;
      compared++;
      if (port.dtype == LATHE_I64) { /* integers are read as i32 where they fit */
        ck_assert_int_eq(*(int32_t *)saved[i].data, *(int64_t *)(void *)((char *)x.state + port.offset));
        continue;
      }
      ck_assert_msg(memcmp(saved[i].data, (char *)x.state + port.offset, (size_t)port.bytes) == 0,
                    "`%s` differs from what `lathe train` saved", port.name);
    }
    lathe_free(saved[i].data);
  }
  lathe_free(saved);
  ck_assert_uint_eq(compared, n);
  ck_assert_uint_ge(n, 12); /* four params, two moments each */
  close_step(&x);
  remove_folder();
}
END_TEST

/* ---- train under the JIT, ship the object ---- */

START_TEST(learnt_weights) {
  loaded x = {0};
  lathe_error e;
  make_folder();
  open_step(&x, &steps[0]);
  for (int i = 0; i < 5; i++) {
    fill_io(&x, i);
    ck_assert_int_eq(lathe_call(x.s, "train"), 0);
  }
  lathe_graph *g = load_model("digits", NULL);
  emit(g, x.s, "run", "--entry run:logits@N=1 --prefix shipped");
  void *so = link_and_load("run.o");
  run_fn run;
  find_into(so, "shipped_run", &run);
  lathe_model *m = lathe_compile(g, "--entry run:logits@N=1", &e);
  lathe_instance *s = lathe_open(m, NULL, &e);
  ck_assert_int_eq(lathe_weights_copy(s, x.s, &e), 0);
  ck_assert_int_eq(lathe_fill(s, "x", 3, 0), 0);
  ck_assert_int_eq(lathe_call(s, "run"), 0);
  float logits[10];
  const void *io[2] = {lathe_buffer(s, "x", NULL), logits};
  ck_assert_int_eq(run(io, NULL, x.scratch), 0);
  ck_assert_mem_eq(logits, lathe_buffer(s, "logits", NULL), sizeof logits);
  dlclose(so);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
  close_step(&x);
  remove_folder();
}
END_TEST

static Suite *step_suite(void) {
  Suite *s = suite_create("step");
  TCase *c = tcase_create("step");
  const int n = sizeof steps / sizeof steps[0];
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, object_and_jit, 0, n);
  tcase_add_loop_test(c, halves_and_whole, 0, n);
  tcase_add_test(c, object_and_command);
  tcase_add_test(c, learnt_weights);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(step_suite)
