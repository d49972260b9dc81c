/* labels.c: a label or an index past its range makes a call return -10 before anything is changed, under the JIT and in
 * an object alike; a negative one does not count. */
#include "aot/aot.h"

enum { ROWS = 37, CLASSES = 5, WIDTH = 4 }; /* two vectors of labels and a rest */

static const char network[] = "network net[N=37](x: f32[N, 4], t: i32[N]) -> y, loss {\n"
                              "  y = linear(x, out=5, name=\"fc\")\n  loss = cross_entropy(y, t)\n}\n";

/* Labels of two heads in columns of one array, and through axes, shapes and a wider type. */
static const char columns[] =
  "network net(x: f32[6, 5], z: f32[6, 3], t: i32[6, 2], u: i64[2, 3], w: i32[6], v: i32[2]) -> a, b, c, d, e {\n"
  "  a = cross_entropy(x, reshape(slice(t, axes=[1], starts=[0], ends=[1]), shape=[6]))\n"
  "  b = cross_entropy(z, reshape(slice(t, axes=[1], starts=[1], ends=[2]), shape=[6]))\n"
  "  c = cross_entropy(x, reshape(u, shape=[6]))\n"
  "  d = gather(z, broadcast_to(reshape(cast(w, dtype=i64), shape=[6, 1]), shape=[6, 2]), axis=1)\n  e = take(x, "
  "v)\n}\n";

static lathe_graph *parse(const char *text) {
  lathe_error e;
  lathe_graph *g = lathe_parse(text, strlen(text), "net.lathe", NULL, &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  return g;
}

typedef struct step {
  int (*whole)(const void *, void *, void *), (*back)(const void *, const void *, void *, void *),
    (*run)(const void *, const void *, void *), (*grad)(const void *, const void *, void *);
  unsigned char *state, *grads, *weights, *scratch;
  size_t n_state, n_grads;
} step;

static unsigned char *copy_of(const void *from, size_t n) { return memcpy(aligned_block(n), from, n); }

/* Nothing that a call may write differs from what stood there. */
static void must_refuse(const step *s, const void *io, const void *run_io, const void *grad_io, float *out, size_t n) {
  unsigned char *state = copy_of(s->state, s->n_state), *grads = copy_of(s->grads, s->n_grads),
                *outs = copy_of(out, n * sizeof *out);
  ck_assert_int_eq(s->whole(io, s->state, s->scratch), LATHE_E_DATA);
  ck_assert_int_eq(s->back(io, s->state, s->grads, s->scratch), LATHE_E_DATA);
  ck_assert_int_eq(s->run(run_io, s->weights, s->scratch), LATHE_E_DATA);
  ck_assert_int_eq(s->grad(grad_io, s->state, s->scratch), LATHE_E_DATA);
  ck_assert_mem_eq(state, s->state, s->n_state);
  ck_assert_mem_eq(grads, s->grads, s->n_grads);
  ck_assert_mem_eq(outs, out, n * sizeof *out);
  free(state), free(grads), free(outs);
}

static void try_step(step *s) {
  static float x[ROWS * WIDTH], out[ROWS * CLASSES + ROWS * WIDTH + WIDTH * CLASSES + CLASSES + 1];
  float *loss = out, *y = out + 1, *gx = y + ROWS * CLASSES, *gW = gx + ROWS * WIDTH, *gb = gW + WIDTH * CLASSES;
  int32_t t[ROWS];
  for (int i = 0; i < ROWS * WIDTH; i++) x[i] = (float)(i % 7) / 4;
  for (int i = 0; i < ROWS; i++) t[i] = i % CLASSES;
  t[1] = -3; /* does not count */
  const void *io[] = {x, t, NULL, loss, NULL}, *run[] = {x, t, y, loss, NULL}, *grad[] = {x, t, gx, gW, gb, NULL};
  ck_assert_int_eq(s->whole(io, s->state, s->scratch), 0);
  ck_assert_int_eq(s->back(io, s->state, s->grads, s->scratch), 0);
  ck_assert_int_eq(s->run(run, s->weights, s->scratch), 0);
  ck_assert_int_eq(s->grad(grad, s->state, s->scratch), 0);
  for (int i = 0; i < ROWS; i++) { /* every place, and both ends of what is wrong */
    int32_t right = t[i];
    t[i] = i % 2 ? CLASSES : INT32_MAX;
    must_refuse(s, io, run, grad, out, sizeof out / sizeof *out);
    t[i] = right;
  }
  for (int i = 0; i < ROWS; i++) t[i] = i % 2 ? -1 : INT32_MIN;
  ck_assert_int_eq(s->run(run, s->weights, s->scratch), 0);
  ck_assert(*loss == 0); /* no row counts: nothing to learn, no NaN */
  ck_assert_int_eq(s->grad(grad, s->state, s->scratch), 0);
  for (int i = 0; i < ROWS * WIDTH; i++) ck_assert(gx[i] == 0);
  ck_assert_int_eq(s->whole(io, s->state, s->scratch), 0);
  ck_assert(*loss == 0);
}

static const char entries[] = "--entry train:loss --entry run:y,loss --entry grad:loss";

START_TEST(in_this_process) {
  char opts[128];
  lathe_error e;
  lathe_graph *g = parse(network);
  snprintf(opts, sizeof opts, "%s --halves", entries);
  lathe_model *m = lathe_compile(g, opts, &e);
  ck_assert_msg(m != NULL, "%s", e.message);
  lathe_instance *s = lathe_open(m, "--seed 3", &e);
  ck_assert_msg(s != NULL, "%s", e.message);
  lathe_stats st;
  ck_assert_int_eq(lathe_model_stats(m, "train", &st), 1);
  step x = {.scratch = aligned_block(1 << 16)};
  x.state = lathe_region(s, "train", &x.n_state), x.weights = lathe_region(s, "run", NULL);
  x.grads = lathe_grads(s, "train", &x.n_grads);
  lathe_fn whole = lathe_entry(m, "train"), run = lathe_entry(m, "run"), grad = lathe_entry(m, "grad");
  lathe_half_fn back = lathe_half(m, "train_backward");
  memcpy(&x.whole, &whole, sizeof whole), memcpy(&x.run, &run, sizeof run), memcpy(&x.grad, &grad, sizeof grad);
  memcpy(&x.back, &back, sizeof back);
  try_step(&x);
  int32_t *t = lathe_buffer(s, "t", NULL); /* the same through lathe_call, which counts no such step */
  int64_t *steps = lathe_buffer(s, "step", NULL), before = *steps;
  t[ROWS - 1] = CLASSES;
  ck_assert_int_eq(lathe_call(s, "train"), LATHE_E_DATA);
  ck_assert_int_eq(*steps, before);
  ck_assert_str_eq(lathe_status_text(LATHE_E_DATA), "a label or an index is outside its range");
  free(x.scratch);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
}
END_TEST

START_TEST(in_an_object) {
  static const char *const cpus[] = {"", "--cpu x86-64-v3", "--cpu x86-64"};
  make_folder();
  lathe_graph *g = parse(network);
  lathe_error e;
  lathe_model *m = lathe_compile(g, entries, &e);
  ck_assert_msg(m != NULL, "%s", e.message);
  lathe_stats st;
  ck_assert_int_eq(lathe_model_stats(m, "train", &st), 1);
  for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
    char opts[256];
    init_fn init;
    pack_fn pack;
    step x = {.scratch = aligned_block(1 << 16), .n_state = (size_t)st.state_bytes, .n_grads = (size_t)st.state_bytes};
    snprintf(opts, sizeof opts, "%s --weight-data extern %s", entries, cpus[i]);
    emit(g, NULL, "o", opts);
    void *so = link_and_load("o.o");
    find_into(so, "net_train", &x.whole), find_into(so, "net_train_backward", &x.back);
    find_into(so, "net_run", &x.run), find_into(so, "net_grad", &x.grad);
    find_into(so, "net_state_init", &init), find_into(so, "net_pack", &pack);
    x.state = aligned_block(x.n_state), x.grads = aligned_block(x.n_grads), x.weights = aligned_block(1 << 16);
    ck_assert_int_eq(init(x.state, 3), 0);
    ck_assert_int_eq(pack(x.weights, x.state), 0);
    try_step(&x);
    free(x.state), free(x.grads), free(x.weights), free(x.scratch);
    dlclose(so);
  }
  MUST("grep -q 'or -10 (an input holds a label or an index past its range: nothing was changed)' o.h");
  lathe_model_free(m), lathe_graph_free(g);
  remove_folder();
}
END_TEST

/* What is moved is followed to the elements that are meant: 4 is a label of the first column, not of the second. */
START_TEST(through_moves) {
  lathe_error e;
  lathe_port port;
  lathe_graph *g = parse(columns);
  lathe_model *m = lathe_compile(g, NULL, &e);
  ck_assert_msg(m != NULL, "%s", e.message);
  lathe_instance *s = lathe_open(m, NULL, &e);
  ck_assert_msg(s != NULL, "%s", e.message);
  int32_t *t = lathe_buffer(s, "t", NULL), *w = lathe_buffer(s, "w", NULL), *v = lathe_buffer(s, "v", NULL);
  int64_t *u = lathe_buffer(s, "u", NULL);
  static const int64_t limits[] = {0, 0, 0, 5, 3, 6}; /* t has no one limit */
  for (size_t i = 0; i < 6; i++) {
    ck_assert_int_eq(lathe_model_port(m, "run", i, &port), 1);
    ck_assert_int_eq(port.limit, limits[i]);
    ck_assert_int_eq(lathe_fill(s, port.name, 1, 0), 0);
  }
  ck_assert_int_eq(lathe_call(s, "run"), 0);
  for (int i = 0; i < 12; i++) {
    int32_t right = t[i];
    t[i] = 4;
    ck_assert_int_eq(lathe_call(s, "run"), i % 2 ? LATHE_E_DATA : 0);
    t[i] = 5;
    ck_assert_int_eq(lathe_call(s, "run"), LATHE_E_DATA);
    t[i] = right;
  }
  for (int i = 0; i < 6; i++) {
    int64_t right = u[i];
    int32_t fitting = w[i];
    u[i] = 5;
    ck_assert_int_eq(lathe_call(s, "run"), LATHE_E_DATA);
    u[i] = INT64_MAX;
    ck_assert_int_eq(lathe_call(s, "run"), LATHE_E_DATA);
    u[i] = right, w[i] = 3;
    ck_assert_int_eq(lathe_call(s, "run"), LATHE_E_DATA);
    w[i] = fitting;
  }
  ck_assert_int_eq(lathe_call(s, "run"), 0);
  v[1] = 6;
  ck_assert_int_eq(lathe_call(s, "run"), LATHE_E_DATA);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
}
END_TEST

/* What is computed is not looked at: a label past the classes makes the loss NaN, and nothing is read there. */
START_TEST(computed) {
  lathe_error e;
  lathe_graph *g = parse("network net(x: f32[3, 4], t: i32[3], n: i32) -> loss, gx {\n"
                         "  loss = cross_entropy(x, t + n)\n  gx = grad(loss, x)\n}\n");
  lathe_model *m = lathe_compile(g, NULL, &e);
  ck_assert_msg(m != NULL, "%s", e.message);
  lathe_instance *s = lathe_open(m, NULL, &e);
  int32_t *t = lathe_buffer(s, "t", NULL);
  const float *loss = lathe_buffer(s, "loss", NULL);
  t[0] = 0, t[1] = 1, t[2] = 3;
  ck_assert_int_eq(lathe_call(s, "run"), 0);
  ck_assert(*loss > 1.3f && *loss < 1.4f);
  t[2] = 1 << 30;
  ck_assert_int_eq(lathe_call(s, "run"), 0);
  ck_assert(*loss != *loss);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
}
END_TEST

START_TEST(constants) {
  lathe_error e;
  lathe_graph *g = parse("network net(x: f32[2, 3]) -> loss {\n  const t: i32[1, 2] = [[2, 3]]\n"
                         "  loss = cross_entropy(x, reshape(t, shape=[2]))\n}\n");
  ck_assert_ptr_null(lathe_compile(g, NULL, &e));
  ck_assert_int_eq(e.status, LATHE_E_INVALID);
  ck_assert_str_eq(e.message, "cross_entropy `loss`: 3, element 1 of the constant t i32[1, 2], is out of range: labels "
                              "takes 0 to 2\nhelp: a negative one does not count");
  ck_assert_int_eq(e.line, 3);
  lathe_graph_free(g);
}
END_TEST

static Suite *labels_suite(void) {
  Suite *s = suite_create("labels");
  TCase *c = tcase_create("labels");
  tcase_set_timeout(c, 120);
  tcase_add_test(c, in_this_process);
  tcase_add_test(c, in_an_object);
  tcase_add_test(c, through_moves);
  tcase_add_test(c, computed);
  tcase_add_test(c, constants);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(labels_suite)
