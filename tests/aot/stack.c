/* stack.c: the figure in the header is true: entries of an object run on a painted stack, and take no more of it than
 * P_STACK_BYTES beyond what a call that is refused at once takes. Nothing is allocated meanwhile, and three models and
 * a training step live in one program. */
#include "aot/aot.h"

#include <pthread.h>

enum { STACK = 1 << 20 };

typedef struct work { run_fn run; train_fn train; const void *io; void *region, *scratch; int rc; } work;

static void *do_work(void *arg) {
  work *w = arg;
  w->rc = w->train ? w->train(w->io, w->region, w->scratch) : w->run(w->io, w->region, w->scratch);
  return NULL;
}

static size_t used_by(work *w) {
  pthread_attr_t attr;
  pthread_t thread;
  unsigned char *stack = aligned_alloc(4096, STACK);
  memset(stack, 0x5A, STACK);
  pthread_attr_init(&attr);
  ck_assert_int_eq(pthread_attr_setstack(&attr, stack, STACK), 0);
  ck_assert_int_eq(pthread_create(&thread, &attr, do_work, w), 0);
  pthread_join(thread, NULL);
  size_t untouched = 0;
  while (stack[untouched] == 0x5A) untouched++;
  free(stack);
  return STACK - untouched;
}

static int64_t macro(const char *file, const char *name) {
  MUST("grep -h 'define %s ' %s | tr -d u | awk '{ print $3 }'", name, file);
  ck_assert_msg(*said >= '0' && *said <= '9', "%s lacks %s", file, name);
  return atoll(said);
}

static const struct { const char *model, *upper, *entry, *compile, *more; } cases[] = {
  {"digits", "DIGITS", "run", "--entry run:logits", "--seed 1"},
  {"lenet5", "LENET5", "run", "--entry run:logits", "--seed 1"},
  {"resnet18", "RESNET18", "run", "", "--seed 1"},
  {"depthwise", "DEPTHWISE", "run", "", "--seed 1 --opt size"},
  {"digits", "DIGITS", "train", "--entry train:loss --optimizer adam", ""},
  {"lenet5", "LENET5", "train", "--entry train:loss --optimizer momentum", ""},
};

START_TEST(figure_is_true) {
  char name[64], opts[256];
  lathe_error e;
  lathe_port port;
  make_folder();
  bool train = !strcmp(cases[_i].entry, "train");
  lathe_graph *g = load_model(cases[_i].model, NULL);
  snprintf(opts, sizeof opts, "%s %s", cases[_i].compile, cases[_i].more);
  emit(g, NULL, "s", opts);
  snprintf(name, sizeof name, "%s_STACK_BYTES", cases[_i].upper);
  int64_t promised = macro("s.h", name);
  void *so = link_and_load("s.o");
  lathe_model *m = lathe_compile(g, cases[_i].compile, &e);
  ck_assert_msg(m != NULL, "%s", e.message);
  lathe_instance *s = lathe_open(m, "--seed 1", &e);
  lathe_stats st;
  ck_assert_int_eq(lathe_model_stats(m, cases[_i].entry, &st), 1);
  const void *io[16] = {NULL};
  unsigned n = 0;
  for (size_t k = 0; lathe_model_port(m, cases[_i].entry, k, &port) && port.offset < 0; k++) {
    if (!strcmp(port.kind, "input")) ck_assert_int_eq(lathe_fill(s, port.name, 1, 0), 0);
    io[n++] = strcmp(port.kind, "hyper") ? lathe_buffer(s, port.name, NULL) : NULL;
  }
  work w = {.io = io, .scratch = aligned_block((size_t)st.scratch_bytes)}, none = {0};
  if (train) {
    init_fn init;
    snprintf(name, sizeof name, "%s_state_init", cases[_i].model);
    find_into(so, name, &init);
    w.region = aligned_block((size_t)st.state_bytes);
    ck_assert_int_eq(init(w.region, 1), 0);
    snprintf(name, sizeof name, "%s_train", cases[_i].model);
    find_into(so, name, &w.train);
    none.train = w.train;
  } else {
    snprintf(name, sizeof name, "%s_run", cases[_i].model);
    find_into(so, name, &w.run);
    none.run = w.run;
  }
  size_t least = used_by(&none), most = used_by(&w);
  ck_assert_int_eq(none.rc, LATHE_E_POINTER);
  ck_assert_int_eq(w.rc, 0);
  ck_assert_msg((int64_t)(most - least) <= promised, "%s %s takes %zu bytes, %lld are promised", cases[_i].model, opts,
                most - least, (long long)promised);
  ck_assert_int_le(promised, 16 << 10);
  free(w.region), free(w.scratch);
  dlclose(so);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
  remove_folder();
}
END_TEST

/* ---- three models and a training step in one program, eight threads, a trap for allocation ---- */

static const char program[] =
  "#include \"digits.h\"\n#include \"lenet5.h\"\n#include \"depthwise.h\"\n#include \"step.h\"\n"
  "#include <pthread.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
  "static _Atomic int trapped, armed;\n"
  "#ifndef NO_TRAP\nextern void *__libc_malloc(size_t);\n"
  "void *malloc(size_t n) { if (armed) trapped++; return __libc_malloc(n); }\n#endif\n"
  "typedef struct { float x[DIGITS_RUN_X_COUNT], y[DIGITS_RUN_LOGITS_COUNT], a[LENET5_RUN_X_COUNT], "
  "b[LENET5_RUN_LOGITS_COUNT], c[DEPTHWISE_RUN_X_COUNT],\n"
  "  d[DEPTHWISE_RUN_PROBABILITIES_COUNT], loss; int32_t t[STEP_TRAIN_T_COUNT]; } data;\n"
  "typedef struct { data v; void *scratch, *state; int rc; } caller;\n"
  "static void fill(float *x, unsigned n) { for (unsigned i = 0; i < n; i++) x[i] = (float)(i * 37 % 101) / 50 - 1; }\n"
  "static void *work(void *arg) {\n"
  "  caller *c = arg;\n  data *v = &c->v;\n"
  "  for (int i = 0; i < 20; i++) {\n"
  "    digits_run_io p = {v->x, v->y}; lenet5_run_io q = {v->a, v->b}; depthwise_run_io r = {v->c, v->d};\n"
  "    step_train_io s = {v->x, v->t, NULL, &v->loss};\n"
  "    c->rc |= digits_run(&p, NULL, c->scratch) | lenet5_run(&q, NULL, c->scratch) | depthwise_run(&r, NULL, "
  "c->scratch);\n"
  "    c->rc |= step_train(&s, c->state, c->scratch);\n  }\n  return NULL;\n}\n"
  "int main(void) {\n"
  "  enum { N = 8 };\n  static caller c[N];\n  pthread_t t[N];\n"
  "  size_t most = DIGITS_SCRATCH_BYTES + LENET5_SCRATCH_BYTES + DEPTHWISE_SCRATCH_BYTES + STEP_SCRATCH_BYTES;\n"
  "  for (int i = 0; i < N; i++) {\n"
  "    fill(c[i].v.x, DIGITS_RUN_X_COUNT), fill(c[i].v.a, LENET5_RUN_X_COUNT), fill(c[i].v.c, DEPTHWISE_RUN_X_COUNT);\n"
  "    c[i].scratch = aligned_alloc(64, (most + 63) / 64 * 64), c[i].state = aligned_alloc(64, STEP_STATE_BYTES);\n"
  "    c[i].rc = step_state_init(c[i].state, 5);\n  }\n"
  "  for (int i = 0; i < N; i++) pthread_create(&t[i], NULL, work, &c[i]);\n"
  "  for (int i = 0; i < N; i++) pthread_join(t[i], NULL);\n"
  "  for (int i = 0; i < N; i++)\n"
  "    if (c[i].rc || memcmp(&c[i].v, &c[0].v, sizeof(data)) || memcmp(c[i].state, c[0].state, STEP_STATE_BYTES))\n"
  "      return printf(\"caller %d differs\\n\", i), 1;\n"
  "  armed = 1;\n  work(&c[0]);\n  armed = 0;\n"
  "  printf(\"%s %d allocations\\n\", c[0].v.loss > 0 && c[0].v.loss < 10 ? \"ok\" : \"odd loss\", trapped);\n  return "
  "trapped != 0;\n}\n";

START_TEST(one_program) {
  make_folder();
  static const char *const files[][3] = {{"digits", "digits", "--entry run:logits --seed 1"},
                                         {"lenet5", "lenet5", "--entry run:logits --seed 1"},
                                         {"depthwise", "depthwise", "--seed 1"},
                                         {"digits", "step", "--entry train:loss --optimizer adam --prefix step"}};
  for (int i = 0; i < 4; i++) {
    lathe_graph *g = load_model(files[i][0], !strcmp(files[i][0], "lenet5") ? "--dim N=4" : NULL);
    emit(g, NULL, files[i][1], files[i][2]);
    lathe_graph_free(g);
  }
  char path[128];
  snprintf(path, sizeof path, "%s/m.c", folder);
  FILE *f = fopen(path, "w");
  fputs(program, f);
  fclose(f);
  MUST("%s -std=c11 -D_GNU_SOURCE -O1 m.c digits.o lenet5.o depthwise.o step.o -o m -pthread && ./m", compiler());
  ck_assert_str_eq(said, "ok 0 allocations\n");
  if (shell("%s -std=c11 -D_GNU_SOURCE -O1 -fsanitize=thread -DNO_TRAP m.c digits.o lenet5.o depthwise.o step.o -o ts "
            "-pthread",
            compiler()) == 0)
    MUST("./ts");
  remove_folder();
}
END_TEST

static Suite *stack_suite(void) {
  Suite *s = suite_create("stack");
  TCase *c = tcase_create("stack");
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, figure_is_true, 0, sizeof cases / sizeof cases[0]);
  tcase_add_test(c, one_program);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(stack_suite)
