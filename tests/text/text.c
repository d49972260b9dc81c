/* The text language: what definitions mean, how weights are called, that printing and reading back is the identity, and
 * that the C builder's lt_apply does the same as the text. */
#include "networks.h"
#include "text_util.h"

#include <dirent.h>

/* ---- reading ----------------------------------------------------------------------------------------------------- */

typedef struct task {
  const char *text, *file;
  size_t n;
  lt_read_options options;
  void (*then)(lt_job *job, lt_graph *g);
} task;

static void run_task(lt_job *job, void *arg) {
  const task *t = arg;
  lt_graph *g = lt_text_read(job, t->text, t->n, t->file, &t->options);
  t->then(job, g);
  lt_graph_free(g); /* when the job fails it frees the graph itself */
}

static void with_graph(const char *text, lt_read_options o, void (*then)(lt_job *job, lt_graph *g)) {
  lathe_error e;
  task t = {.text = text, .file = "test.lathe", .n = strlen(text), .options = o, .then = then};
  int status = lt_protect(&e, run_task, &t);
  ck_assert_msg(!status, "%s:%d:%d: %s", e.file, e.line, e.column, e.message);
}

static void expect_error(const char *text, lt_read_options o, const char *message) {
  lathe_error e;
  task t = {.text = text, .file = "test.lathe", .n = strlen(text), .options = o};
  ck_assert_int_ne(lt_protect(&e, run_task, &t), 0);
  ck_assert_str_eq(e.message, message);
}

static const char *printed(lt_job *job, const lt_graph *g) {
  lt_str s;
  lt_str_init(&s, lt_arena_new(job));
  lt_print(&s, g);
  return s.at;
}

/* All leaves of one kind, "fc.W[64, 10] fc.b[10]". */
static const char *leaves(lt_job *job, const lt_graph *g, lt_op op) {
  lt_str s;
  lt_arena *a = lt_arena_new(job);
  lt_str_init(&s, a);
  lt_str_puts(&s, "");
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (n->op == op)
      lt_str_printf(&s, "%s%s%s", s.n ? " " : "", lt_name_of(g, n->out), lt_type_text(a, lt_type_of(g, n->out)) + 3);
  }
  return s.at;
}

static int64_t count_elements(const lt_graph *g, lt_op op) {
  int64_t n = 0;
  for (uint32_t i = 0; i < g->nodes.n; i++)
    if (g->nodes.at[i]->op == op) n += lt_type_count(lt_type_of(g, g->nodes.at[i]->out));
  return n;
}

static int count_ops(const lt_graph *g, lt_op op) {
  int n = 0;
  for (uint32_t i = 0; i < g->nodes.n; i++) n += g->nodes.at[i]->op == op;
  return n;
}

/* ---- print, read back, print ------------------------------------------------------------------------------------- */

static void check_round_trip(lt_job *job, lt_graph *g) {
  lt_verify(g, "reading");
  const char *first = printed(job, g);
  const lt_read_options o = TEST_OPTIONS;
  lt_graph *again = lt_text_read(job, first, strlen(first), "dump", &o);
  lt_verify(again, "reading the dump");
  ck_assert_str_eq(printed(job, again), first);
  ck_assert(lt_graph_equal(g, again));
  ck_assert(lt_graph_hash(g) == lt_graph_hash(again));
  lt_graph_free(again);
}

static int each_file(const char *folder, void (*fn)(const char *path)) {
  char paths[200][4096];
  int n = 0;
  DIR *d = opendir(test_path(folder));
  ck_assert(d != NULL);
  for (struct dirent *f; (f = readdir(d));) {
    size_t length = strlen(f->d_name);
    if (length < 6 || strcmp(f->d_name + length - 6, ".lathe")) continue;
    char rest[300];
    snprintf(rest, sizeof rest, "%s/%s", folder, f->d_name);
    ck_assert_int_lt(n, 200);
    snprintf(paths[n++], sizeof paths[0], "%s", test_path(rest));
  }
  closedir(d);
  for (int i = 0; i < n; i++) fn(paths[i]);
  return n;
}

/* Every network of a file. */
static void round_trip_file(const char *path) {
  lathe_error e;
  size_t n;
  int networks = 0;
  char *text = test_read(path, &n), name[64];
  for (const char *p = text; lt_next_network(&p, text + n, name); networks++) {
    task t = {.text = text, .n = n, .file = path, .options = TEST_OPTIONS, .then = check_round_trip};
    t.options.network = name;
    int status = lt_protect(&e, run_task, &t);
    ck_assert_msg(!status, "%s:%d:%d: %s", e.file, e.line, e.column, e.message);
  }
  ck_assert_msg(networks > 0, "%s has no network", path);
  free(text);
}

START_TEST(models_round_trip) { ck_assert_int_ge(each_file("models", round_trip_file), 9); }
END_TEST
START_TEST(examples_round_trip) { ck_assert_int_ge(each_file("../examples", round_trip_file), 5); }
END_TEST

START_TEST(odd_dumps_round_trip) {
  static const char *const texts[] = {
    "network n() -> {\n}\n",
    "network n(x: f32) -> x, y {\n  y = x\n}\n",
    "network n(x: f32[2]) -> a, b {\n  b = relu(x)\n  t = b\n  b = tanh(x)\n  a = t\n}\n",
    "network n(x: f32[2]) -> b, a {\n  a = relu(x)\n  b = tanh(x)\n  t = a\n  a = b\n  b = t\n}\n",
    "network n(x: f32[2]) -> y {\n  y = 0.5\n}\n",
    "network n(x: f32[2]) -> y {\n  k = -0.0\n  y = x * k + nan - inf * -inf\n}\n",
    "network `two words`(`in`: f32[2]) -> `out.put`, `1` {\n  `out.put` = relu(`in`)\n  `1` = -`out.put`\n}\n",
    "network n(x: f32[1, 2, 3, 4] @layout(blocked, [1, 1, 2, 2]) @label(\"a\\\"b\\\\\\n\")) -> y { y = layout(x) "
    "@cluster(7) @panel(matrix_t) }",
    ("network n(x: f32[1, 6, 4, 4], W: f32[6, 3, 1, 1]) -> y { V = layout(W) @panel(conv, groups=2)"
     " y = conv2d(x, V, groups=2) @algorithm(grouped) @copy(0, plain, [0, 1, 2, 3]) @copy(1, conv_t, groups=2) "
     "@origin(\"a\") }"),
    ("network n(x: f32[4, 3, 2, 2], s: f32[3]) -> y, m { y, m, v = batch_norm_train(x, s, s) @layout(blocked, [0, 1, "
     "0, 1])"
     " @layout(plain, [0, 0, 0, 0]) @layout(plain, [0, 0, 0, 0]) @origin(\"batch_norm\") }"),
    "network n(x: f32[3]) -> { state s: f32[3] = uniform(lo=-1.5, hi=1e-300) update s = s * x * nan }",
  };
  for (size_t i = 0; i < LT_COUNT(texts); i++) with_graph(texts[i], (lt_read_options)TEST_OPTIONS, check_round_trip);
}
END_TEST

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static void check_resnet50(lt_job *job, lt_graph *g) {
  ck_assert_int_eq(count_ops(g, LT_OP_conv2d), 53);
  ck_assert_int_eq(count_elements(g, LT_OP_param), 25557032);
  ck_assert_int_eq(count_elements(g, LT_OP_state), 53120);
  ck_assert_int_ne(lt_find(g, "layer1.2.c3.conv.W"), 0);
  ck_assert_int_ne(lt_find(g, "layer4.down.bn.var"), 0);
  ck_assert_str_eq(lt_type_text(lt_arena_new(job), lt_type_of(g, g->outputs.at[0].value)), "f32[8, 1000]");
}
static void check_resnet18(lt_job *job, lt_graph *g) {
  ck_assert_int_eq(count_ops(g, LT_OP_conv2d), 20);
  ck_assert_int_eq(count_elements(g, LT_OP_param), 11689512);
}
static void check_lenet(lt_job *job, lt_graph *g) { ck_assert_int_eq(count_elements(g, LT_OP_param), 61706); }
static void check_residual(lt_job *job, lt_graph *g) {
  ck_assert_str_eq(leaves(job, g, LT_OP_param),
                   "h.W[8, 3, 3, 5] h.b[8] h.1.y.W[8, 8, 3, 3] h.1.y.b[8] h.1.y.1.W[8, 8, 1, 1] h.1.y.1.b[8] "
                   "h.2.y.W[8, 8, 3, 3] h.2.y.b[8] h.2.y.1.W[8, 8, 1, 1] h.2.y.1.b[8] "
                   "h.3.y.W[8, 8, 3, 3] h.3.y.b[8] h.3.y.1.W[8, 8, 1, 1] h.3.y.1.b[8] y.W[3, 8, 1, 1] y.b[3]");
}

static void with_model(const char *name, lt_read_options o, void (*then)(lt_job *job, lt_graph *g)) {
  lathe_error e;
  task t = {.file = name, .options = o, .then = then};
  char *text = test_read(test_path(name), &t.n);
  t.text = text;
  int status = lt_protect(&e, run_task, &t);
  ck_assert_msg(!status, "%s:%d:%d: %s", e.file, e.line, e.column, e.message);
  free(text);
}

START_TEST(model_sizes) {
  with_model("models/resnet50.lathe", (lt_read_options){.batch = 8}, check_resnet50);
  with_model("models/resnet18.lathe", (lt_read_options){0}, check_resnet18);
  with_model("models/lenet5.lathe", (lt_read_options){0}, check_lenet);
  with_model("models/residual.lathe", (lt_read_options){0}, check_residual);
}
END_TEST

/* ---- names of weights -------------------------------------------------------------------------------------------- */

static const char *expected;
static void check_params(lt_job *job, lt_graph *g) { ck_assert_str_eq(leaves(job, g, LT_OP_param), expected); }
static void params_are(const char *body, const char *want) {
  char text[2000];
  snprintf(text, sizeof text,
           "block b(v) -> y { y = linear(v, out=2, bias=false) }\nblock plain(v) -> y { y = relu(v) }\n"
           "block c(v) -> y { y = sequential(v, linear(out=2, bias=false), tanh) }\n"
           "network n(x: f32[4, 3]) -> y { %s }",
           body);
  expected = want;
  with_graph(text, (lt_read_options){0}, check_params);
}

START_TEST(names_of_weights) {
  params_are("h = relu(linear(x, out=5)) h = linear(h, out=4) y = h", "h.W[3, 5] h.b[5] h.1.W[5, 4] h.1.b[4]");
  params_are("y = linear(relu(linear(x, out=5)), out=3)", "y.1.W[3, 5] y.1.b[5] y.W[5, 3] y.b[3]");
  params_are("y = linear(x, out=3, name=\"a b\", bias=false)", "a b.W[3, 3]");
  params_are("y = linear(x, out=3, bias=false, name=\"h\") h = linear(y, out=3, bias=false) y = h",
             "h.W[3, 3] h.1.W[3, 3]");
  params_are(
    "h.1 = linear(x, out=3, bias=false) h = linear(h.1, out=3, bias=false) h = linear(h, out=3, bias=false) y = h",
    "h.1.W[3, 3] h.W[3, 3] h.2.W[3, 3]");
  params_are(
    "y = linear(x, out=3, bias=false) y = linear(y, out=3, bias=false, name=\"y.1x\") y = linear(y, out=3, bias=false)",
    "y.W[3, 3] y.1x.W[3, 3] y.1.W[3, 3]");
  params_are("y = b(b(x))", "y.1.y.W[3, 2] y.y.W[2, 2]");
  params_are("y = b(plain(x)) + b(x, name=\"k\")", "y.y.W[3, 2] k.y.W[3, 2]");
  params_are("for i in 0..3 { x = linear(x, out=i+1, bias=false, name=\"l{i}\") } y = x",
             "l0.W[3, 1] l1.W[1, 2] l2.W[2, 3]");
  params_are("a = linear(x, out=1, bias=false) y = x + linear(x, out=3, bias=false) * linear(x, out=1, bias=false)",
             "a.W[3, 1] y.W[3, 3] y.1.W[3, 1]");
  params_are("param W: f32[3, 2] = normal(scale=0.1) y = linear(x, W)", "W[3, 2]");
}
END_TEST

START_TEST(names_in_sequences) {
  params_are("y = sequential(x, linear(out=4), tanh, linear(out=2, bias=false))", "y.0.W[3, 4] y.0.b[4] y.2.W[4, 2]");
  params_are(
    "y = sequential(linear(x, out=3, bias=false), linear(out=2, bias=false), linear(out=1, bias=false), name=\"s\")",
    "y.W[3, 3] s.0.W[3, 2] s.1.W[2, 1]");
  params_are("y = sequential(linear(x, out=3, bias=false), linear(out=2, bias=false), linear(out=1, bias=false))",
             "y.2.W[3, 3] y.0.W[3, 2] y.1.W[2, 1]"); /* y.0 and y.1 belong to the elements */
  params_are("y = sequential(x, tanh, linear(out=2, bias=false)) y = linear(y, out=2, bias=false) y = sequential(y, "
             "linear(out=1, bias=false))",
             "y.1.W[3, 2] y.2.W[2, 2] y.3.0.W[2, 1]");
  params_are("y = sequential(x, b, plain, sequential(tanh, linear(out=4, bias=false), b, name=\"in\"), linear(out=1, "
             "name=\"last\", bias=false))",
             "y.0.y.W[3, 2] y.in.1.W[2, 4] y.in.2.y.W[4, 2] y.last.W[2, 1]");
  params_are("for i in 1..3 { x = sequential(x, add(linear(x, out=1, bias=false)), linear(out=i, bias=false), "
             "name=\"s{i}\") } y = x",
             "s1.0.W[3, 1] s1.1.W[3, 1] s2.0.W[1, 1] s2.1.W[1, 2]");
  /* without weights it takes no name */
  params_are("y = sequential(x, tanh) y = linear(y, out=2, bias=false)", "y.W[3, 2]");
  params_are("y = c(c(x))", "y.1.y.0.W[3, 2] y.y.0.W[2, 2]");
}
END_TEST

static void check_weights_by_name(lt_job *job, lt_graph *g) {
  ck_assert_str_eq(leaves(job, g, LT_OP_param), "h.W[3, 2] h.b[2] c.y.W[2, 2]");
  ck_assert_str_eq(leaves(job, g, LT_OP_state), "");
}
START_TEST(weights_by_name) {
  with_graph("block b(v) -> y { y = linear(v, out=2, bias=false) y = y * sum(y.W) }\n"
             "network n(x: f32[4, 3]) -> y { h = linear(x, out=2) y = b(h, name=\"c\") + sum(h.W) + sum(c.y.W) }",
             (lt_read_options){0}, check_weights_by_name);
}
END_TEST

static void check_norm(lt_job *job, lt_graph *g) {
  ck_assert_str_eq(leaves(job, g, LT_OP_param), "y.scale[3] y.bias[3]");
  ck_assert_str_eq(leaves(job, g, LT_OP_state), "y.mean[3] y.var[3]");
  const lt_batch_norm_attrs *a = lt_node_of(g, g->outputs.at[0].value)->attrs;
  ck_assert_double_eq(a->eps, 0.001);
  ck_assert_double_eq(a->momentum, 0.9);
}
static void check_keys(lt_job *job, lt_graph *g) {
  const char *want[] = {"a", "y", "y.1", "given"};
  for (uint32_t i = 0, k = 0; i < g->nodes.n; i++)
    if (g->nodes.at[i]->op == LT_OP_dropout)
      ck_assert_str_eq(((const lt_dropout_attrs *)g->nodes.at[i]->attrs)->key, want[k++]);
}
START_TEST(names_of_the_rest) {
  with_graph("network n(x: f32[4, 3]) -> y { y = batch_norm(x, eps=1e-3) }", (lt_read_options){0}, check_norm);
  with_graph(
    "network n(x: f32[4, 3]) -> y { a = dropout(x) y = dropout(x) + dropout(a) y = dropout(y, key=\"given\") }",
    (lt_read_options){0}, check_keys);
}
END_TEST

/* ---- dimensions, networks, attributes ---------------------------------------------------------------------------- */

static const char *expected_text;
static void check_text(lt_job *job, lt_graph *g) { ck_assert_str_eq(printed(job, g), expected_text); }
static void text_is(const char *text, lt_read_options o, const char *want) {
  expected_text = want;
  with_graph(text, o, check_text);
}

START_TEST(dimensions) {
  const char *text = "network n[N=4, M=N*2](x: f32[N, M]) -> y { y = reshape(x, shape=[N*M]) }";
  const lt_dim_override two[] = {{"M", 3}, {"N", 5}}, other[] = {{"K", 3}}, zero[] = {{"N", 0}};
  text_is(text, (lt_read_options){0}, "network n(x: f32[4, 8]) -> y {\n  y: f32[32] = reshape(x, shape=[32])\n}\n");
  text_is(text, (lt_read_options){.batch = 2},
          "network n(x: f32[2, 4]) -> y {\n  y: f32[8] = reshape(x, shape=[8])\n}\n");
  text_is(text, (lt_read_options){.dims = two, .n_dims = 2},
          "network n(x: f32[5, 3]) -> y {\n  y: f32[15] = reshape(x, shape=[15])\n}\n");
  expect_error(text, (lt_read_options){.dims = other, .n_dims = 1},
               "network `n` has no dimension `K`\nhelp: give it one: `network n[K=…](x: f32[K, …])`");
  expect_error(text, (lt_read_options){.dims = zero, .n_dims = 1}, "the dimension `N` is 0, should be at least 1");
  const char *fixed = "network n(x: f32[4, 2]) -> y { y = x }";
  text_is(fixed, (lt_read_options){.batch = 4}, "network n(x: f32[4, 2]) -> y {\n  y = x\n}\n");
  expect_error(fixed, (lt_read_options){.batch = 8},
               "the batch of input `x` is fixed to 4, not 8\nhelp: write `network n[N=4](x: f32[N, …])`");
  expect_error(fixed, (lt_read_options){.dims = two, .n_dims = 1},
               "network `n` has no dimension `M`\nhelp: give it one: `network n[M=…](x: f32[M, …])`");
}
END_TEST

START_TEST(several_networks) {
  const char *text = "lathe 1\nnetwork a(x: f32) -> x { }\nnetwork b(y: f32) -> y { }";
  text_is(text, (lt_read_options){.network = "b"}, "network b(y: f32) -> y {\n}\n");
  expect_error(text, (lt_read_options){0}, "the file has 2 networks\nhelp: choose one with --network: a, b");
  expect_error(text, (lt_read_options){.network = "c"}, "there is no network `c`\nhelp: the file has a, b");
}
END_TEST

/* A source is read with these dimensions, and again with others; each time a graph of its own. */
static void read_source_twice(lt_job *job, void *arg) {
  const char *text = "network n[N=4](x: f32[N, 2]) -> x { }";
  const lt_dim_override three = {"N", 3};
  lt_arena *a = lt_arena_new(job);
  lt_source s;
  (void)arg;
  lt_source_of_bytes(&s, job, a, (lt_bytes){(const unsigned char *)text, strlen(text)}, "n.lathe");
  lt_graph *first = lt_source_read(job, &s, NULL),
           *again = lt_source_read(job, &s, &(lt_read_options){.dims = &three, .n_dims = 1, .batch = 2});
  ck_assert_str_eq(printed(job, first), "network n(x: f32[4, 2]) -> x {\n}\n");
  ck_assert_str_eq(printed(job, again), "network n(x: f32[3, 2]) -> x {\n}\n");
  lt_graph_free(first);
  lt_graph_free(again);
}

static void read_built_again(lt_job *job, void *arg) {
  const lt_dim_override three = {"N", 3};
  lt_source_read(job, &(lt_source){.reader = &lt_built_reader}, &(lt_read_options){.dims = &three, .n_dims = 1});
  (void)arg;
}

/* What is in memory under a name: the name says who reads it, else its first bytes. */
typedef struct named_bytes { const char *file, *text, *message; } named_bytes;
static void name_source(lt_job *job, void *arg) {
  const named_bytes *b = arg;
  lt_source s;
  lt_source_of_bytes(&s, job, lt_arena_new(job), (lt_bytes){(const unsigned char *)b->text, strlen(b->text)}, b->file);
  lt_graph_free(lt_source_read(job, &s, NULL));
}

START_TEST(sources) {
  static const char model[] = "this is no ONNX model: it has no graph";
  static const char onnx[] = "byte 0: ModelProto: field 13 is of kind 6, which ONNX does not use";
  static const named_bytes cases[] = {
    {"n.lathe", "network n(x: f32) -> x { }", ""},  {"n.txt", "network n(x: f32) -> x { }", ""},
    {"n.onnx", "network n(x: f32) -> x { }", onnx}, {"<stdin>", "\x08\x08\x12\x07pytorch", model},
    {"n.lathe", "\x08", "unexpected byte 0x08"},    {".onnx", "?", "unexpected character `?`"},
  };
  lathe_error e;
  ck_assert_int_eq(lt_protect(&e, read_source_twice, NULL), 0);
  ck_assert_int_eq(lt_protect(&e, read_built_again, NULL), LATHE_E_INVALID);
  ck_assert_str_eq(e.message, "`@N=3`: a network built in C has no named dimensions\nhelp: build it with other shapes");
  for (size_t i = 0; i < LT_COUNT(cases); i++) {
    named_bytes b = cases[i];
    lt_protect(&e, name_source, &b);
    ck_assert_str_eq(e.message, b.message);
    if (*b.message) ck_assert_str_eq(e.file, b.file);
    ck_assert_int_eq(lt_mem_live(), 0);
  }
}
END_TEST

START_TEST(attributes) {
  text_is("block b(x, k=, s=k) -> y { y = max_pool(x, kernel=[k, k+1], stride=s, pad=[0, k/2, 0, k-2]) }\n"
          "network n(x: f32[1, 1, 8, 8]) -> y { y = b(x, k=2) z = max_pool(x=x, kernel_size=3, stride=kernel, "
          "pad=none) u = sum(z, axes=all) }",
          (lt_read_options){0},
          "network n(x: f32[1, 1, 8, 8]) -> y {\n"
          "  y: f32[1, 1, 4, 4] = max_pool(x, kernel=[2, 3], stride=2, pad=[0, 1, 0, 0])\n"
          "  z: f32[1, 1, 2, 2] = max_pool(x, kernel=3, stride=3)\n"
          "  u: f32 = sum(z, axes=[0, 1, 2, 3])\n}\n");
  text_is("block b(x, k=, p=pair(k)) -> y { y = max_pool(x, kernel=p, stride=pair([1, 2])) }\n"
          "network n[H=9, K=3](x: f32[1, 1, H, get_conv_outsize(H, K, 2, 1) + 1]) -> y {"
          " y: f32[1, 1, get_conv_outsize(H, K, 1, 0), 2] = b(x, k=K) y = reshape(y, shape=[get_deconv_outsize(4, K, "
          "3, 1) + 4]) }",
          (lt_read_options){0},
          "network n(x: f32[1, 1, 9, 6]) -> y {\n  y.1: f32[1, 1, 7, 2] = max_pool(x, kernel=3, stride=[1, 2])\n"
          "  y: f32[14] = reshape(y.1, shape=[14])\n}\n");
  text_is(
    "network n(x: f32[2]) -> y { y = 2 - x * 3 / -4 - -x }", (lt_read_options){0},
    "network n(x: f32[2]) -> y {\n"
    "  v1: f32[2] = mul(x, 3.0)\n  v2: f32[2] = div(v1, -4.0)\n  v3: f32[2] = sub(2.0, v2)\n  v4: f32[2] = neg(x)\n"
    "  y: f32[2] = sub(v3, v4)\n}\n");
}
END_TEST

/* ---- the C builder ----------------------------------------------------------------------------------------------- */

static void build_digits(lt_job *job, void *arg) {
  lt_graph *g = lt_graph_new(job, "digits");
  lt_namer names = {0};
  lt_type image = lt_make_type(LT_F32, 4, (const int64_t[]){32, 1, 8, 8}),
          labels = lt_make_type(LT_I32, 1, (const int64_t[]){32});
  lt_value x = lt_leaf(g, LT_OP_input, "x", image, NULL), t = lt_leaf(g, LT_OP_input, "t", labels, NULL), h, loss;
  lt_apply(g, &names, "conv2d", "out_channels=16, kernel=3, pad=1, name=\"conv1\"", &x, 1, &h, 1);
  lt_apply(g, &names, "relu", NULL, &h, 1, &h, 1);
  lt_apply(g, &names, "max_pool", "kernel=[2, 2]", &h, 1, &h, 1);
  lt_apply(g, &names, "flatten", "", &h, 1, &h, 1);
  lt_apply(g, &names, "dropout", "p=0.25, key=\"logits\"", &h, 1, &h, 1);
  lt_apply(g, &names, "linear", "out=10, name=\"fc\"", &h, 1, &h, 1);
  lt_add_output(g, "logits", h);
  lt_apply(g, &names, "cross_entropy", NULL, (lt_value[]){h, t}, 2, &loss, 1);
  lt_value w = lt_find(g, "fc.W"), square, norm, part;
  lt_apply(g, &names, "mul", NULL, (lt_value[]){w, w}, 2, &square, 1);
  lt_apply(g, &names, "sum", "axes=[]", &square, 1, &norm, 1);
  lt_apply(g, &names, "mul", NULL, (lt_value[]){lt_const_scalar(g, LT_F32, 1e-4), norm}, 2, &part, 1);
  lt_apply(g, &names, "add", NULL, (lt_value[]){loss, part}, 2, &loss, 1);
  lt_add_output(g, "loss", loss);
  size_t n;
  char *text = test_read(test_path("models/digits.lathe"), &n);
  lt_graph *same = lt_text_read(job, text, n, "digits.lathe", NULL);
  ck_assert(lt_graph_equal(g, same));
  lt_graph_free(same);
  lt_graph_free(g);
  free(text);
}

START_TEST(builder_equals_text) {
  lathe_error e;
  int status = lt_protect(&e, build_digits, NULL);
  ck_assert_msg(!status, "%s", e.message);
}
END_TEST

typedef struct apply_case { const char *op, *attrs; size_t n_in, n_out; const char *message; } apply_case;
static void apply_one(lt_job *job, void *arg) {
  const apply_case *c = arg;
  lt_graph *g = lt_graph_new(job, "g");
  lt_namer names = {0};
  lt_type image = lt_make_type(LT_F32, 4, (const int64_t[]){2, 3, 8, 8});
  lt_value x = lt_leaf(g, LT_OP_input, "x", image, NULL), in[] = {x, x, x, x, x, x}, out[4] = {0};
  lt_apply(g, &names, "linear", "out=2, name=\"taken\"", &(lt_value){lt_reshape(g, x, 2, (const int64_t[]){2, 192})}, 1,
           out, 1);
  lt_apply(g, &names, c->op, c->attrs, in, c->n_in, out, c->n_out);
  lt_graph_free(g);
}

START_TEST(builder_errors) {
  static const apply_case cases[] = {
    {"convd", NULL, 1, 1, "there is no op `convd`\nhelp: did you mean `conv2d`?"},
    {"quux", NULL, 1, 1, "there is no op `quux`\nhelp: `lathe ops` lists them"},
    {"relu", "alpha=1", 1, 1, "relu has no attribute `alpha`\nhelp: it has none"},
    {"relu", "alpha", 1, 1, "expected an attribute, `name=value`, found `alpha`"},
    {"max_pool", "kernel=2,, stride=1", 1, 1, "expected an attribute, `name=value`, found `,`"},
    {"max_pool", "kernel=2 stride=1", 1, 1, "expected `,` or the end of the attributes, found `stride`"},
    {"max_pool", "kernel=n", 1, 1,
     "attribute `kernel` of max_pool: unknown name `n`\nhelp: known are named dimensions, attributes of the block and "
     "loop variables"},
    {"conv2d", "out_channels=4, kernel=3, name=\"taken\"", 1, 1,
     "the name `taken` is taken already\nhelp: every layer needs a name of its own"},
    {"conv2d", "out_channels=4, kernel=3, name=3", 1, 1, "conv2d: `name` must be a string"},
    {"input", "shape=[2]", 0, 1,
     "`input` is no op with operands\nhelp: inputs, params, states and constants have calls of their own"},
    {"relu", NULL, 1, 2, "relu has 1 result, 2 are taken"},
    {"grad", NULL, 4, 1, "grad has 2 results, 1 is taken\nhelp: use the call for several results"},
  };
  lathe_error e;
  for (size_t i = 0; i < LT_COUNT(cases); i++) {
    apply_case c = cases[i];
    ck_assert_int_ne(lt_protect(&e, apply_one, &c), 0);
    if (strcmp(e.message, c.message)) ck_abort_msg("%s(%s): %s", c.op, c.attrs ? c.attrs : "", e.message);
    ck_assert_int_eq(lt_mem_live(), 0);
  }
}
END_TEST

/* Failing every allocation in turn gives an error each time and leaves nothing behind. */
static void read_residual(lt_job *job, void *arg) {
  lt_graph_free(lt_text_read(job, arg, strlen(arg), "oom.lathe", NULL));
}
START_TEST(out_of_memory) {
  char text[] =
    "block b(x, k=) -> y { y = relu(conv2d(x, out_channels=k, kernel=k, pad=1)) }\n"
    "network n[N=2](x: f32[N, 3, 8, 8], t: i32[N]) -> y, loss { h = x for i in 1..4 { h = b(h, k=i, name=\"b{i}\") }\n"
    "const c: f32[3] = [1, 2, 3] y = sequential(flatten(h), dropout, linear(out=10, nobias=true)) loss = "
    "cross_entropy(y, t) + sum(c) * 1e-3 }";
  lathe_error e;
  for (uint64_t n = 1;; n++) {
    lt_mem_fail_at(n, n % 2);
    int status = lt_protect(&e, read_residual, text);
    lt_mem_fail_at(0, false);
    ck_assert_int_eq(lt_mem_live(), 0);
    if (!status) break;
    ck_assert_int_eq(status, LATHE_E_NOMEM);
    ck_assert_uint_lt(n, 10000);
  }
}
END_TEST

/* What the tables' texts of defaults mean, against the C library's reading of them. */
static void check_default(const lt_attr_info *a) {
  double value = 0;
  if (a->kind != LT_ATTR_float || !a->def[0]) return;
  lt_attr_default(a->kind, a->def, &value);
  ck_assert_msg(value == strtod(a->def, NULL), "%s=%s is read as %.17g", a->name, a->def, value);
}
START_TEST(table_defaults) {
  for (unsigned op = 1; op < LT_OPS; op++)
    for (unsigned i = 0; i < lt_op_table[op].n_attrs; i++) check_default(&lt_op_table[op].attrs[i]);
  for (unsigned l = 1; l < LT_LAYERS; l++)
    for (unsigned i = 0; i < lt_layer_table[l].n_attrs; i++) check_default(&lt_layer_table[l].attrs()[i]);
  static const lt_attr_info more[] = {
    {.name = "a", .def = "-12.375"}, {.name = "b", .def = "1e+05"}, {.name = "c", .def = "2.5e-07"}};
  for (size_t i = 0; i < LT_COUNT(more); i++) {
    lt_attr_info a = more[i];
    a.kind = LT_ATTR_float;
    check_default(&a);
  }
}
END_TEST

LT_SUITE(text, models_round_trip, examples_round_trip, odd_dumps_round_trip, model_sizes, names_of_weights,
         names_in_sequences, weights_by_name, names_of_the_rest, dimensions, several_networks, sources, attributes,
         builder_equals_text, builder_errors, table_defaults, out_of_memory)
LT_TEST_MAIN(text)
