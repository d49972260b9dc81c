/* export.c: what is written as ONNX is read back by our own reader and gives the same values: every case of cases.def
 * in the element types its op takes, with its gradients, by the interpreter in double precision; networks and training
 * steps compiled. That others read it too is the business of tests/tools/onnx_export.py. */
#include "ops/cases.h"

#include "driver/entry.h"
#include "export/onnx/export.h"
#include "ir/pass/pass.h"

#include <stdlib.h>
#include <unistd.h>

static const char *path_of(const char *name) {
  static char path[1000];
  snprintf(path, sizeof path, "%s/%s", getenv("LT_TESTS"), name);
  return path;
}

/* A file of this process; gone with remove_files. */
static const char *file_of(const char *ending) {
  static char path[64];
  snprintf(path, sizeof path, "/tmp/lathe-export-%ld%s", (long)getpid(), ending);
  return path;
}

static void remove_files(void) {
  unlink(file_of(".onnx"));
  unlink(file_of(".onnx.data"));
}

/* ---- every op, by the interpreter -------------------------------------------------------------------------------- */

typedef struct case_task {
  const op_case *c;
  lt_dtype dtype;
  lt_entry_kind kind;
  unsigned compared;
} case_task;

static bool takes(const op_case *c, lt_dtype t) {
  if (lt_is_float(t)) return true;
  return t == LT_BOOL ? (c->flags & BOOLS) != 0 : (c->flags & INTS) != 0;
}

static bool is_differentiable(const op_case *c, lt_dtype t) {
  return lt_is_float(t) && (c->op == LT_OP_grad || lt_op_table[c->op].vjp || lt_op_table[c->op].flags & LT_LEAF);
}

/* The case as an entry with its gradients written out. */
static lt_graph *entry_of(lt_job *job, lt_arena *a, const case_task *t) {
  static const lt_pass passes[] = {LT_PASS_mode, LT_PASS_autodiff};
  const lt_entry_spec spec = {.name = "e", .text = "e", .kind = t->kind};
  const lt_options none = {0};
  lt_graph *g = case_graph(job, a, t->c, lt_dtype_name(t->dtype));
  lt_graph *entry = lt_test_own(job, lt_entry_graph(job, g, &spec, &none));
  return lt_test_own(job, lt_run_passes(job, entry, passes, LT_COUNT(passes), NULL));
}

/* Of params and states what the interpreter has. */
static const void *elements(void *ctx, const lt_graph *g, const lt_node *leaf) {
  lt_eval *e = ctx;
  if (leaf->op == LT_OP_input) return NULL;
  const lt_tensor *x = lt_eval_get(e, lt_find(e->g, lt_name_of(g, leaf->out)));
  void *data = lt_arena_alloc(e->arena, (size_t)lt_type_bytes(&x->type));
  lt_tensor_export(x, data);
  return data;
}

static lt_graph *read_back(lt_job *job, lt_arena *a) {
  lt_source s;
  lt_source_open(&s, job, a, file_of(".onnx"));
  lt_graph *g = lt_test_own(job, lt_source_read(job, &s, NULL));
  lt_verify(g, "onnx");
  return g;
}

/* The model's inputs are the entry's; its weights stand in the file. */
static lt_eval *evaluated_again(lt_job *job, lt_arena *a, const lt_graph *g, lt_eval *first) {
  lt_eval *e = LT_NEW(a, lt_eval);
  lt_eval_init(e, job, a, g, LT_EVAL_DOUBLE);
  for (lt_value v = 1; v < g->values.n; v++) {
    if (!lt_is_leaf(g, v) || lt_op_of(g, v) == LT_OP_const) continue;
    const lt_data *d = lt_data_in(lt_node_of(g, v));
    lt_eval_set(e, v, d ? lt_tensor_of(a, d) : lt_eval_get(first, lt_find(first->g, lt_name_of(g, v))));
  }
  return e;
}

/* A gradient that is 0 but for rounding. */
static bool vanishes(const lt_tensor *x) {
  for (int64_t i = 0; i < lt_type_count(&x->type); i++)
    if (!(fabs(lt_tensor_at(x, i)) < 1e-12)) return false;
  return true;
}

static void compare_case(lt_job *job, void *arg) {
  case_task *t = arg;
  lt_arena *a = lt_arena_new(job);
  lt_graph *g = entry_of(job, a, t);
  lt_eval *want = case_eval(job, a, t->c, g);
  lt_graph *spelled = lt_test_own(job, lt_onnx_spell(job, g));
  lt_verify(spelled, "spell");
  lt_onnx_export(job, spelled, &(lt_onnx_out){file_of(".onnx"), "test", LT_ONNX_INSIDE, elements, want});
  lt_graph *again = read_back(job, a);
  lt_eval *got = evaluated_again(job, a, again, want);
  ck_assert_uint_eq(again->outputs.n, g->outputs.n);
  for (uint32_t i = 0; i < g->outputs.n; i++) {
    const lt_output *o = &g->outputs.at[i], *p = &again->outputs.at[i];
    ck_assert_str_eq(o->name, p->name);
    const lt_tensor *x = lt_eval_get(got, p->value), *y = lt_eval_get(want, o->value);
    double off = vanishes(x) && vanishes(y) ? 0 : lt_test_distance(x, y);
    /* constants that were numbers in double precision are f32 there */
    ck_assert_msg(off <= (t->dtype == LT_F32 ? 1e-5 : 1e-12), "%s: %s is off by %g", t->c->call, o->name, off);
    t->compared++;
  }
}

/* What draws random numbers, and the parts of a fast convolution, have no form in ONNX, and that is said. */
static bool is_refused(const op_case *c, const lathe_error *e) {
  static const lt_op ops[] = {LT_OP_random_uniform, LT_OP_winograd_image, LT_OP_winograd_filter, LT_OP_winograd_result};
  bool none = false;
  for (size_t i = 0; i < LT_COUNT(ops); i++) none |= c->op == ops[i];
  return none && e->status == LATHE_E_UNSUPPORTED && strstr(e->message, "cannot be written as ONNX");
}

static void check_case(const op_case *c, lt_dtype dtype, lt_entry_kind kind, unsigned *compared) {
  case_task t = {c, dtype, kind, 0};
  lathe_error e;
  if (kind == LT_ENTRY_GRAD && !is_differentiable(c, dtype)) return;
  int status = lt_protect(&e, compare_case, &t);
  bool nothing = kind == LT_ENTRY_GRAD && strstr(e.message, "there is no gradient");
  ck_assert_msg(!status || nothing || is_refused(c, &e), "%s of %s in %s, %s: %s", c->call, c->inputs,
                lt_dtype_name(dtype), kind == LT_ENTRY_RUN ? "run" : "grad", e.message);
  *compared += t.compared + (is_refused(c, &e) && status);
}

START_TEST(every_op) {
  unsigned compared = 0;
  for (unsigned i = 0; i < OP_CASES; i++) {
    if (op_cases[i].op != (lt_op)_i) continue;
    for (unsigned d = 0; d < LT_DTYPES; d++) {
      if (!takes(&op_cases[i], (lt_dtype)d)) continue;
      check_case(&op_cases[i], (lt_dtype)d, LT_ENTRY_RUN, &compared);
      check_case(&op_cases[i], (lt_dtype)d, LT_ENTRY_GRAD, &compared);
    }
  }
  remove_files();
  ck_assert_msg(compared > 0, "no case of %s was compared", lt_op_table[_i].name);
}
END_TEST

/* ---- networks, compiled ------------------------------------------------------------------------------------------ */

typedef struct pair { lathe_model *m[2]; lathe_instance *s[2]; const char *entry[2]; } pair;

static void *need(void *p, const char *what, const lathe_error *e) {
  ck_assert_msg(p != NULL, "%s: %s", what, e->message);
  return p;
}

static bool find_port(const lathe_model *m, const char *entry, const char *name, lathe_port *out) {
  for (size_t i = 0; lathe_model_port(m, entry, i, out); i++)
    if (!strcmp(out->name, name)) return true;
  return false;
}

static void fill_inputs(const pair *p) {
  lathe_port port;
  for (size_t i = 0; lathe_model_port(p->m[0], p->entry[0], i, &port); i++) {
    if (strcmp(port.kind, "input")) continue;
    size_t bytes;
    ck_assert_int_eq(lathe_fill(p->s[0], port.name, 7, port.limit ? port.limit : 2), 0);
    const void *from = lathe_buffer(p->s[0], port.name, &bytes);
    void *to = lathe_buffer(p->s[1], port.name, NULL);
    if (to) memcpy(to, from, bytes);
  }
}

static double at(const lathe_port *t, const void *data, int64_t i) {
  switch (t->dtype) {
  case LATHE_F32: return (double)((const float *)data)[i];
  case LATHE_F64: return ((const double *)data)[i];
  case LATHE_I32: return ((const int32_t *)data)[i];
  case LATHE_I64: return (double)((const int64_t *)data)[i];
  case LATHE_BOOL: break;
  }
  return ((const unsigned char *)data)[i];
}

/* A result of the model against the same of the original: an output, or a weight after the step. */
static void compare_result(const pair *p, const char *file, const lathe_port *got) {
  lathe_port want;
  char name[300];
  snprintf(name, sizeof name, "%s", got->name);
  if (!find_port(p->m[0], p->entry[0], name, &want)) {
    char *next = strstr(name, ".next");
    ck_assert_msg(next != NULL, "%s: there is no %s", file, name);
    *next = 0;
    ck_assert_msg(find_port(p->m[0], p->entry[0], name, &want), "%s: there is no %s", file, name);
  }
  ck_assert(want.dtype == got->dtype && want.bytes == got->bytes);
  const void *a = lathe_buffer(p->s[1], got->name, NULL), *b = lathe_buffer(p->s[0], name, NULL);
  double off = 0, size = 1e-3;
  int64_t n = 1;
  for (int i = 0; i < got->rank; i++) n *= got->dim[i];
  for (int64_t i = 0; i < n; i++) {
    double x = at(got, a, i), y = at(got, b, i);
    ck_assert_msg(isnan(x) == isnan(y), "%s: %s[%lld] is %g, should be %g", file, name, (long long)i, x, y);
    if (isfinite(y)) size = fmax(size, fabs(y));
    if (x != y && !isnan(x)) off = fmax(off, fabs(x - y));
  }
  ck_assert_msg(off <= 1e-5 * size, "%s: %s is off by %g of %g", file, name, off, size);
}

static unsigned compare_results(const pair *p, const char *file) {
  lathe_port port;
  unsigned n = 0;
  fill_inputs(p);
  for (int k = 0; k < 2; k++) ck_assert_int_eq(lathe_call(p->s[k], p->entry[k]), 0);
  for (size_t i = 0; lathe_model_port(p->m[1], "run", i, &port); i++)
    if (!strcmp(port.kind, "output")) compare_result(p, file, &port), n++;
  return n;
}

typedef struct network_row { const char *file, *read, *entry, *options, *writing; } network_row;

static unsigned compare_entry(const network_row *r) {
  const char *file = r->file;
  lathe_error e;
  char opts[300], all[400];
  snprintf(opts, sizeof opts, "--entry %s %s", r->entry, r->options);
  snprintf(all, sizeof all, "%s -o %s %s", opts, file_of(".onnx"), r->writing ? r->writing : "");
  lathe_graph *g = need(lathe_load(path_of(file), r->read, &e), file, &e);
  pair p = {.entry = {r->entry, "run"}};
  p.m[0] = need(lathe_compile(g, opts, &e), file, &e);
  p.s[0] = need(lathe_open(p.m[0], "--seed 3", &e), file, &e);
  ck_assert_msg(!lathe_export(g, p.s[0], all, &e), "%s: %s", file, e.message);
  lathe_graph *again = need(lathe_load(file_of(".onnx"), NULL, &e), file, &e);
  p.m[1] = need(lathe_compile(again, NULL, &e), file, &e);
  p.s[1] = need(lathe_open(p.m[1], NULL, &e), file, &e);
  unsigned n = compare_results(&p, file);
  for (int k = 0; k < 2; k++) lathe_instance_free(p.s[k]), lathe_model_free(p.m[k]);
  lathe_graph_free(again), lathe_graph_free(g);
  remove_files();
  ck_assert_int_eq(lt_mem_live(), 0);
  return n;
}

static const network_row networks[] = {
  {"models/lenet5.lathe", "--batch 3", "run", "--verify-each", NULL},
  {"models/lenet5.lathe", "--batch 3", "grad", "--verify-each", NULL},
  {"models/lenet5.lathe", "--batch 3", "train", "--optimizer adam", NULL},
  {"models/lenet5.lathe", "--batch 3", "train", "--clip-norm 0.5", "--weight-data extern"},
  {"models/digits.lathe", "--batch 4", "run", "", NULL},
  {"models/digits.lathe", "--batch 4", "grad", "", NULL},
  {"models/residual.lathe", "--batch 4", "run", "", NULL},
  {"models/residual.lathe", "--batch 4", "grad", "--mode train", NULL},
  {"models/residual.lathe", "--batch 4", "train", "--loss mse", NULL},
  {"models/depthwise.lathe", "--batch 2", "run", "", NULL},
  {"models/depthwise.lathe", "--batch 2", "train", "--optimizer momentum", NULL},
  {"models/sequence.lathe", "--batch 2", "run", "", NULL},
  {"models/sequence.lathe", "--batch 2", "grad", "", NULL},
  {"models/potential.lathe", "", "run", "", NULL},
  {"models/ops.lathe", "", "run", "", NULL},
  {"models/wide.lathe", "", "run", "", NULL},
  {"models/resnet18.lathe", "--batch 1", "run", "", NULL},
  {"cases/ceil_overhang.lathe", "", "run", "", NULL},
  {"cases/ceil_overhang.lathe", "", "grad", "", NULL},
  {"cases/group_grad.lathe", "", "run", "", NULL},
  {"onnx/digits.onnx", "--batch 2", "run", "", NULL},
  {"onnx/digits.onnx", "--batch 2", "train", "", NULL},
  {"onnx/shapes.onnx", "", "run", "", NULL},
  {"onnx/places.onnx", "", "run", "", NULL},
};

START_TEST(network) { ck_assert_uint_gt(compare_entry(&networks[_i]), 0); }
END_TEST

/* Weights that an instance has left in their file come from there. */
START_TEST(weights_in_a_file) {
  lathe_error e;
  char opts[200];
  pair p = {.entry = {"run", "run"}};
  lathe_graph *g = need(lathe_load(path_of("models/lenet5.lathe"), "--batch 2", &e), "lenet5", &e);
  p.m[0] = need(lathe_compile(g, NULL, &e), "lenet5", &e);
  p.s[0] = need(lathe_open(p.m[0], "--seed 3", &e), "lenet5", &e);
  ck_assert_msg(!lathe_weights_save(p.s[0], file_of(".safetensors"), 0, &e), "%s", e.message);
  snprintf(opts, sizeof opts, "--weights %s", file_of(".safetensors"));
  lathe_instance *other = need(lathe_open(p.m[0], opts, &e), "lenet5", &e);
  snprintf(opts, sizeof opts, "-o %s", file_of(".onnx"));
  ck_assert_msg(!lathe_export(g, other, opts, &e), "%s", e.message);
  lathe_graph *again = need(lathe_load(file_of(".onnx"), NULL, &e), "lenet5", &e);
  p.m[1] = need(lathe_compile(again, NULL, &e), "lenet5", &e);
  p.s[1] = need(lathe_open(p.m[1], NULL, &e), "lenet5", &e);
  ck_assert_uint_gt(compare_results(&p, "lenet5"), 0);
  lathe_instance_free(other);
  for (int k = 0; k < 2; k++) lathe_instance_free(p.s[k]), lathe_model_free(p.m[k]);
  lathe_graph_free(again), lathe_graph_free(g);
  unlink(file_of(".safetensors"));
  remove_files();
}
END_TEST

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* The n-th allocation fails, for every n: an error, no file, nothing left behind. */
START_TEST(out_of_memory) {
  lathe_error e;
  char opts[200];
  lathe_graph *g = need(lathe_load(path_of("models/residual.lathe"), "--batch 2", &e), "residual", &e);
  snprintf(opts, sizeof opts, "--seed 1 --entry train --loss mse --weight-data extern -o %s", file_of(".onnx"));
  remove_files();
  int64_t before = lt_mem_live();
  int status = LATHE_E_NOMEM;
  uint64_t count = lt_mem_count();
  ck_assert_msg(!lathe_export(g, NULL, opts, &e), "%s", e.message);
  count = lt_mem_count() - count;
  remove_files();
  for (uint64_t n = 1, step = 1 + count / 200; status; n += step) {
    lt_mem_fail_at(n, false);
    status = lathe_export(g, NULL, opts, &e);
    lt_mem_fail_at(0, false);
    ck_assert_msg(!status || status == LATHE_E_NOMEM, "%s", e.message);
    ck_assert_int_eq(lt_mem_live(), before);
    ck_assert(!status || access(file_of(".onnx"), F_OK) != 0);
  }
  remove_files();
  lathe_graph_free(g);
}
END_TEST

static Suite *export_suite(void) {
  Suite *s = suite_create("export");
  TCase *c = tcase_create("export");
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, every_op, 1, LT_OPS);
  tcase_add_loop_test(c, network, 0, (int)LT_COUNT(networks));
  tcase_add_test(c, weights_in_a_file);
  tcase_add_test(c, out_of_memory);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(export_suite)
