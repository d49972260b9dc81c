/* A training step in two halves under the JIT (lathe_compile --halves): the bits of the whole step, the bits of an
 * object's halves, on any number of threads, with the gradients of two batches averaged in between; and what says
 * no. */
#include "check_main.h"
#include "lathe/lathe.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct step { const char *model, *opts; int steps; } step;

static const step steps[] = {
  {"digits", "--entry train:loss --optimizer adam", 6}, /* dropout */
  {"digits", "--entry train:loss --optimizer sgd", 4},
  {"digits", "--entry train:loss --optimizer adagrad --clip-norm 0.1 --weight-decay 0.01 --freeze conv1", 4},
  {"residual", "--entry train:loss --optimizer adadelta --clip-norm 0.5", 3},
  {"depthwise", "--entry train --optimizer momentum", 4}, /* batch normalisation */
  {"fit", "--entry train:loss", 4},                       /* updates of its own, which follow from gradients alone */
};
enum { STEPS = sizeof steps / sizeof steps[0], PORTS = 16 };
static const char *const threads[] = {"--seed 7", "--seed 7 --threads 3"};

/* ---- models and memory ------------------------------------------------------------------------------------------- */

static lathe_graph *load(const char *name) {
  char path[512];
  lathe_error e;
  snprintf(path, sizeof path, "%s/models/%s.lathe", getenv("LT_TESTS"), name);
  lathe_graph *g = lathe_load(path, NULL, &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  return g;
}

static lathe_model *compile(const lathe_graph *g, const char *opts, const char *more) {
  char all[256];
  lathe_error e;
  snprintf(all, sizeof all, "%s %s", opts, more);
  lathe_model *m = lathe_compile(g, all, &e);
  ck_assert_msg(m != NULL, "%s", e.message);
  return m;
}

static lathe_instance *open_on(lathe_model *m, const char *opts) {
  lathe_error e;
  lathe_instance *s = lathe_open(m, opts, &e);
  ck_assert_msg(s != NULL, "%s", e.message);
  return s;
}

static void *block(size_t bytes) {
  void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
  ck_assert_ptr_nonnull(p);
  memset(p, 0xA5, (bytes + 127) / 64 * 64); /* nothing may count on zeros */
  return p;
}

static void fill(const lathe_model *m, lathe_instance *s, int seed) {
  lathe_port port;
  for (size_t i = 0; lathe_model_port(m, "train", i, &port); i++)
    if (!strcmp(port.kind, "input")) ck_assert_int_eq(lathe_fill(s, port.name, (uint64_t)(100 + seed), 0), 0);
}

static void call(lathe_instance *s, const char *entry) { ck_assert_int_eq(lathe_call(s, entry), 0); }

static void same_image(lathe_instance *a, lathe_instance *b, const char *when) {
  size_t n, k;
  const char *x = lathe_region(a, "train", &n), *y = lathe_region(b, "train", &k);
  ck_assert_uint_eq(n, k);
  for (size_t i = 0; i < n; i++) ck_assert_msg(x[i] == y[i], "%s: states differ at byte %zu of %zu", when, i, n);
}

static void same_outputs(const lathe_model *m, lathe_instance *a, lathe_instance *b) {
  lathe_port port;
  for (size_t i = 0; lathe_model_port(m, "train", i, &port); i++)
    if (!strcmp(port.kind, "output"))
      ck_assert_mem_eq(lathe_buffer(a, port.name, NULL), lathe_buffer(b, port.name, NULL), (size_t)port.bytes);
}

/* Both gradient images become their mean, as on two machines. All weights of the models here are f32. */
static void average(void *grads_a, void *grads_b, size_t bytes) {
  float *a = grads_a, *b = grads_b;
  for (size_t i = LATHE_IMAGE_HEADER / sizeof *a; i < bytes / sizeof *a; i++) a[i] = b[i] = (a[i] + b[i]) / 2;
}

/* ---- against the whole ------------------------------------------------------------------------------------------- */

static void halves_and_whole(const step *t, lathe_model *m, const char *opts) {
  lathe_instance *whole = open_on(m, "--seed 7"), *halves = open_on(m, opts);
  size_t bytes;
  ck_assert_int_eq(lathe_call(halves, "train_apply"), LATHE_E_MODEL); /* no gradients yet */
  for (int i = 0; i < t->steps; i++) {
    fill(m, whole, i), fill(m, halves, i);
    call(whole, "train");
    void *state = lathe_region(halves, "train", &bytes), *before = block(bytes);
    memcpy(before, state, bytes);
    call(halves, "train_backward");
    ck_assert_mem_eq(before, state, bytes); /* it only looks */
    free(before);
    same_outputs(m, whole, halves);
    call(halves, "train_apply");
    same_image(whole, halves, "halves");
    ck_assert_int_eq(*(int64_t *)lathe_buffer(halves, "step", NULL), i + 1);
  }
  lathe_instance_free(whole), lathe_instance_free(halves);
}

/* The mean of two equal gradients is each of them, so nothing changes; that of two batches takes both states the same
 * way. */
static void two_instances(const step *t, lathe_model *m) {
  lathe_instance *a = open_on(m, threads[0]), *b = open_on(m, "--seed 7"), *one = open_on(m, "--seed 7");
  for (int i = 0; i < 2 * t->steps; i++) {
    size_t bytes;
    bool equal = i < t->steps;
    fill(m, a, i), fill(m, b, equal ? i : 1000 + i), fill(m, one, i);
    call(a, "train_backward"), call(b, "train_backward"), call(one, "train");
    void *ga = lathe_grads(a, "train", &bytes), *gb = lathe_grads(b, "train_backward", NULL);
    if (!equal) ck_assert_mem_ne(ga, gb, bytes);
    average(ga, gb, bytes);
    call(a, "train_apply"), call(b, "train_apply");
    same_image(a, b, "two instances");
    if (equal) same_image(a, one, "two equal batches");
  }
  lathe_instance_free(a), lathe_instance_free(b), lathe_instance_free(one);
}

/* ---- against the object ------------------------------------------------------------------------------------------ */

typedef int (*init_fn)(void *state, uint64_t seed);

/* One side: functions, and memory that is nobody else's. */
typedef struct side { lathe_half_fn backward, apply; void *state[2], *grads[2], *scratch; } side;

static void find(lathe_object *o, const char *name, void *fn) {
  void *at = lathe_object_find(o, name); /* ISO C has no cast from data to code */
  ck_assert_msg(at != NULL, "no symbol %s", name);
  memcpy(fn, &at, sizeof at);
}

static lathe_object *emit_and_load(const lathe_graph *g, const char *opts) {
  char path[] = "/tmp/lathe-halves-XXXXXX", all[512];
  lathe_error e;
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  close(fd);
  snprintf(all, sizeof all, "-o %s --prefix p %s", path, opts);
  ck_assert_msg(lathe_emit(g, NULL, all, &e) == 0, "%s", e.message);
  lathe_object *o = lathe_object_load(path, &e);
  ck_assert_msg(o != NULL, "%s", e.message);
  unlink(path);
  return o;
}

static void open_side(side *x, const lathe_model *m) {
  lathe_stats whole, backward, apply;
  ck_assert_int_eq(lathe_model_stats(m, "train", &whole), 1);
  ck_assert_int_eq(lathe_model_stats(m, "train_backward", &backward), 1);
  ck_assert_int_eq(lathe_model_stats(m, "train_apply", &apply), 1);
  ck_assert_int_eq(backward.grads_bytes, whole.grads_bytes);
  ck_assert_int_gt(whole.grads_bytes, LATHE_IMAGE_HEADER);
  int64_t scratch = backward.scratch_bytes > apply.scratch_bytes ? backward.scratch_bytes : apply.scratch_bytes;
  for (int i = 0; i < 2; i++)
    x->state[i] = block((size_t)whole.state_bytes), x->grads[i] = block((size_t)whole.grads_bytes);
  x->scratch = block((size_t)scratch);
}

static void close_side(side *x) {
  for (int i = 0; i < 2; i++) free(x->state[i]), free(x->grads[i]);
  free(x->scratch);
}

/* The io struct of the whole step: inputs of the instance, no hyperparameter, outputs into `loss`. */
static void make_io(const lathe_model *m, lathe_instance *s, const void **io, float *loss) {
  lathe_port port;
  size_t n = 0;
  for (size_t i = 0; lathe_model_port(m, "train_backward", i, &port); i++) {
    ck_assert_uint_lt(n, PORTS);
    if (!strcmp(port.kind, "input")) io[n++] = lathe_buffer(s, port.name, NULL);
    else if (!strcmp(port.kind, "hyper")) io[n++] = NULL;
    else if (!strcmp(port.kind, "output")) io[n++] = loss;
  }
  io[n] = NULL; /* one thread */
}

/* Gradients of two batches, averaged, and the step. */
static void step_on(const side *x, const void *const *io_a, const void *const *io_b, size_t grads_bytes) {
  ck_assert_int_eq(x->backward(io_a, x->state[0], x->grads[0], x->scratch), 0);
  ck_assert_int_eq(x->backward(io_b, x->state[1], x->grads[1], x->scratch), 0);
  average(x->grads[0], x->grads[1], grads_bytes);
  static const void *nothing[PORTS + 1];
  /* but lr */
  for (int i = 0; i < 2; i++) ck_assert_int_eq(x->apply(nothing, x->state[i], x->grads[i], x->scratch), 0);
}

static void jit_and_object(const step *t, const lathe_graph *g, lathe_model *m) {
  lathe_object *o = emit_and_load(g, t->opts);
  lathe_instance *s[2] = {open_on(m, "--seed 7"), open_on(m, "--seed 7")};
  lathe_stats stats;
  side jit = {.backward = lathe_half(m, "train_backward"), .apply = lathe_half(m, "train_apply")}, object;
  init_fn init;
  ck_assert(lathe_entry(m, "train_apply") == (lathe_fn)(void (*)(void))jit.apply);
  find(o, "p_train_backward", &object.backward), find(o, "p_train_apply", &object.apply),
    find(o, "p_state_init", &init);
  open_side(&jit, m), open_side(&object, m);
  ck_assert_int_eq(lathe_model_stats(m, "train", &stats), 1);
  for (int i = 0; i < 2; i++) {
    ck_assert_int_eq(init(object.state[i], 7), 0);
    memcpy(jit.state[i], lathe_region(s[i], "train", NULL), (size_t)stats.state_bytes);
  }
  ck_assert_mem_eq(jit.state[0], object.state[0], (size_t)stats.state_bytes);
  for (int i = 0; i < t->steps; i++) {
    const void *io[2][PORTS + 1];
    float loss[2] = {0};
    for (int k = 0; k < 2; k++) fill(m, s[k], 2 * i + k), make_io(m, s[k], io[k], &loss[k]);
    step_on(&jit, io[0], io[1], (size_t)stats.grads_bytes);
    step_on(&object, io[0], io[1], (size_t)stats.grads_bytes);
    ck_assert_mem_eq(jit.grads[1], object.grads[1], (size_t)stats.grads_bytes);
    ck_assert_mem_eq(jit.state[0], object.state[0], (size_t)stats.state_bytes);
    ck_assert_mem_eq(jit.state[1], jit.state[0], (size_t)stats.state_bytes);
  }
  close_side(&jit), close_side(&object);
  lathe_object_free(o);
  for (int k = 0; k < 2; k++) lathe_instance_free(s[k]);
}

START_TEST(in_halves) {
  const step *t = &steps[_i];
  lathe_graph *g = load(t->model);
  lathe_model *m = compile(g, t->opts, "--halves");
  for (int i = 0; i < 2; i++) halves_and_whole(t, m, threads[i]);
  two_instances(t, m);
  jit_and_object(t, g, m);
  lathe_model_free(m), lathe_graph_free(g);
}
END_TEST

/* Who asks for halves has the same whole. */
START_TEST(the_whole_as_without) {
  lathe_graph *g = load("digits");
  lathe_model *alone = compile(g, steps[0].opts, ""), *m = compile(g, steps[0].opts, "--halves");
  lathe_instance *a = open_on(alone, "--seed 7"), *b = open_on(m, "--seed 7");
  for (int i = 0; i < 3; i++) {
    fill(alone, a, i), fill(m, b, i);
    call(a, "train"), call(b, "train");
    same_outputs(m, a, b), same_image(a, b, "with and without");
  }
  lathe_instance_free(a), lathe_instance_free(b);
  lathe_model_free(alone), lathe_model_free(m), lathe_graph_free(g);
}
END_TEST

/* ---- looking at them, and what says no --------------------------------------------------------------------------- */

START_TEST(looking) {
  lathe_graph *g = load("digits");
  lathe_model *m = compile(g, "--entry train:loss --optimizer adam --entry run:logits", "--halves --profile");
  lathe_instance *s = open_on(m, NULL);
  lathe_port a, b;
  lathe_kernel k;
  lathe_stats stats;
  lathe_error e;
  double best[200];
  size_t n = 0;
  for (; lathe_model_port(m, "train", n, &a); n++) {
    ck_assert_int_eq(lathe_model_port(m, "train_apply", n, &b), 1);
    ck_assert(!strcmp(a.name, b.name) && !strcmp(a.kind, b.kind));
    ck_assert(a.bytes == b.bytes && a.offset == b.offset && a.limit == b.limit);
  }
  ck_assert_int_eq(lathe_model_port(m, "train_apply", n, &b), 0);
  ck_assert_int_eq(lathe_model_stats(m, "train_backward", &stats), 1);
  ck_assert_int_gt(stats.kernels, 3);
  ck_assert_int_lt(stats.kernels, 200);
  ck_assert_int_eq(lathe_model_kernel(m, "train_backward", (size_t)stats.kernels - 1, &k), 1);
  ck_assert_int_eq(lathe_model_kernel(m, "train_backward", (size_t)stats.kernels, &k), 0);
  ck_assert_int_eq(lathe_profile(s, "train_apply", 0.001, best, &e), LATHE_E_MODEL); /* no gradients yet */
  fill(m, s, 1);
  call(s, "train_backward");
  ck_assert_msg(lathe_profile(s, "train_backward", 0.001, best, &e) == 0, "%s", e.message);
  ck_assert_msg(lathe_profile(s, "train_apply", 0.001, best, &e) == 0, "%s", e.message);
  ck_assert_int_eq(lathe_model_stats(m, "run", &stats), 1);
  ck_assert_int_eq(stats.grads_bytes, 0);
  ck_assert_ptr_null(lathe_grads(s, "run", NULL));
  ck_assert_ptr_null(lathe_region(s, "backward", NULL));
  ck_assert_ptr_null(lathe_prove(g, s, "train_apply", NULL, &e));
  ck_assert_str_eq(e.message, "`train_apply` is half of a step\nhelp: prove `train`, its halves have the same bits");
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
}
END_TEST

START_TEST(without_halves) {
  lathe_graph *g = load("digits");
  lathe_model *m = compile(g, "--entry train:loss", "");
  lathe_instance *s = open_on(m, NULL);
  lathe_stats stats;
  ck_assert(lathe_entry(m, "train_backward") == NULL);
  ck_assert(lathe_half(m, "train_backward") == NULL);
  ck_assert(lathe_half(m, "train") == NULL);
  ck_assert_int_eq(lathe_model_stats(m, "train_apply", &stats), 0);
  ck_assert_int_eq(lathe_model_stats(m, "train", &stats), 1);
  ck_assert_int_eq(stats.grads_bytes, 0);
  ck_assert_ptr_null(lathe_grads(s, "train", NULL));
  ck_assert_int_eq(lathe_call(s, "train_backward"), LATHE_E_INVALID);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
}
END_TEST

static void refused(const char *text, const char *opts, int status, const char *message) {
  lathe_error e;
  lathe_graph *g = lathe_parse(text, strlen(text), NULL, NULL, &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  ck_assert_ptr_null(lathe_compile(g, opts, &e));
  ck_assert_int_eq(e.status, status);
  ck_assert_str_eq(e.message, message);
  lathe_graph_free(g);
}

START_TEST(refusals) {
  const char *net = "network n(x: f32[4, 3]) -> y, loss { y = linear(x, out=2)  loss = sum(y * y) }";
  const char *own =
    "network own(x: f32[4]) -> loss { param W: f32[4] = ones()  loss = sum(x * W)  update W = W - grad(loss, W) * x }";
  refused(net, "--entry run --halves", LATHE_E_INVALID, "--halves: no entry trains\nhelp: --entry train");
  refused(own, "--entry train:loss --halves", LATHE_E_UNSUPPORTED,
          "--halves: network `own` updates its params in a way of its own, so entry `train` is not cut in two");
  refused(net, "--entry train:loss --entry train_apply=run:y --halves", LATHE_E_INVALID,
          "`train_apply` is an entry and a half of the step `train`\nhelp: write NAME=KIND, with a NAME of its own");
  refused(net, "--entry train_apply=run:y --entry train:loss --halves", LATHE_E_INVALID,
          "`train_apply` is an entry and a half of the step `train`\nhelp: write NAME=KIND, with a NAME of its own");
}
END_TEST

static Suite *halves_suite(void) {
  Suite *s = suite_create("halves");
  TCase *c = tcase_create("halves");
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, in_halves, 0, STEPS);
  tcase_add_test(c, the_whole_as_without), tcase_add_test(c, looking), tcase_add_test(c, without_halves),
    tcase_add_test(c, refusals);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(halves_suite)
