/* edges.c: attributes of windows at the edge: for every integer attribute of every op that looks through a window the
 * values 0, -1, 1, 2^31 ± 1, 2^62, alone and together with a stride, give an error that says something, or code that
 * gives the interpreter's result, and neither takes longer than 2 s. And small networks with such attributes, whose
 * results are written down here. */
#include "check_main.h"
#include "frontend/frontend.h"
#include "ops/compile.h"
#include "text/text_util.h"

#include <time.h>

static const char *const values[] = {"0",          "-1",         "1",          "3",
                                     "2147483647", "2147483648", "2147483649", "4611686018427387904"};

/* A call of an op with all its attributes: NAME=DEFAULT, separated by spaces. */
typedef struct row { lt_op op; const char *inputs, *operands, *attrs; } row;
static const row rows[] = {
  {LT_OP_conv2d, "x: f32[1, 2, 4, 5], W: f32[2, 2, 3, 2]", "x, W", "stride=1 pad=1 dilation=1 groups=1"},
  {LT_OP_conv2d, "x: f32[1, 2, 4, 5], W: f32[2, 1, 3, 2]", "x, W", "stride=1 pad=1 dilation=1 groups=2"},
  {LT_OP_conv2d_grad_input, "gy: f32[1, 2, 2, 2], W: f32[2, 2, 2, 2]", "gy, W",
   "size=3 stride=1 pad=0 dilation=1 groups=1"},
  {LT_OP_conv2d_grad_weight, "x: f32[1, 2, 3, 3], gy: f32[1, 2, 1, 1]", "x, gy",
   "kernel=3 stride=1 pad=0 dilation=1 groups=1"},
  {LT_OP_deconv2d, "x: f32[1, 2, 2, 2], W: f32[2, 1, 3, 2]", "x, W", "stride=1 pad=0 dilation=1 groups=1 outsize=0"},
  {LT_OP_deconv2d, "x: f32[1, 1, 1, 2], W: f32[1, 1, 3, 1]", "x, W", "stride=2 pad=1 dilation=2 groups=1 outsize=0"},
  {LT_OP_im2col, "x: f32[1, 2, 4, 5]", "x", "kernel=2 stride=1 pad=0 dilation=1"},
  {LT_OP_col2im, "col: f32[4, 4]", "col", "input_shape=[1,1,3,3] kernel=2 stride=1 pad=0 dilation=1"},
  {LT_OP_max_pool, "x: f32[1, 2, 4, 5]", "x", "kernel=2 stride=1 pad=0 dilation=1"},
  {LT_OP_max_pool, "x: f32[1, 2, 4, 5]", "x", "kernel=2147483647 stride=0 pad=2147483647 dilation=1 pad_value=0.5"},
  {LT_OP_max_pool_index, "x: f32[1, 17, 4, 5]", "x",
   "kernel=1000000000 stride=2147483647 pad=1000000000 dilation=1 ceil=true"},
  {LT_OP_avg_pool, "x: f32[1, 17, 4, 5]", "x",
   "kernel=2147483647 stride=2147483646 pad=2147483647 dilation=1 ceil=true count_include_pad=true"},
  {LT_OP_avg_pool, "x: f32[1, 2, 4, 5]", "x", "kernel=2 stride=1 pad=0 dilation=1"},
  {LT_OP_avg_pool_grad, "gy: f32[1, 2, 1, 1]", "gy",
   "size=4 kernel=1000000000 stride=2147483647 pad=500000000 dilation=1"},
};

void lt_pass_autodiff(lt_graph *to, const lt_graph *from);

typedef struct reading { const char *text; double distance; bool made; } reading;

static void run_text(lt_job *job, void *arg) {
  reading *r = arg;
  lt_arena *a = lt_arena_new(job);
  const lt_read_options o = {.max_bytes = 1 << 23};
  lt_graph *read = lt_test_own(job, lt_text_read(job, r->text, strlen(r->text), "t", &o));
  lt_graph *g = lt_test_own(job, lt_graph_new(job, "t"));
  lt_pass_autodiff(g, read);
  lt_eval *e = lt_test_eval(job, a, g, LT_EVAL_DOUBLE, 1);
  const lt_tensor *want = lt_eval_get(e, g->outputs.at[0].value);
  lt_unit unit;
  lt_unit_plan(job, a, &unit, g, "c");
  lt_tensor *out[1] = {NULL};
  ck_assert_int_eq(lt_unit_call(a, &unit, lt_unit_jit(job, a, &unit, 1, ""), e, out), 0);
  r->distance = lt_test_distance(out[0], want), r->made = true;
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Returns whether there was a result. */
static bool check_text(const char *text) {
  reading r = {.text = text};
  lathe_error e;
  double start = seconds();
  int status = lt_protect(&e, run_text, &r);
  ck_assert_msg(seconds() - start < 2, "%s took %g s", text, seconds() - start);
  if (status == LATHE_OK) ck_assert_msg(r.distance < 4e-6, "%s is off by %g", text, r.distance);
  else ck_assert_msg(status == LATHE_E_INVALID && *e.message, "%s: status %d: %s", text, status, e.message);
  return r.made;
}

/* The row's call with attribute `name` (and with it `and`, if any) set to `value`. */
static void call_text(char *out, size_t size, const row *r, const char *name, const char *and, const char *value) {
  int n = snprintf(out, size, "network t(%s) -> r { r = %s(%s", r->inputs, lt_op_table[r->op].name, r->operands);
  for (const char *p = r->attrs; *p;) {
    int length = (int)strcspn(p, " "), key = (int)strcspn(p, "=");
    bool set = (!strncmp(p, name, (size_t)key) && !name[key]) || (and && !strncmp(p, and, (size_t)key) && !and[key]);
    if (set) n += snprintf(out + n, size - (size_t)n, ", %.*s=%s", key, p, value);
    else n += snprintf(out + n, size - (size_t)n, ", %.*s", length, p);
    p += length + (p[length] == ' ');
  }
  snprintf(out + n, size - (size_t)n, ") }");
}

static unsigned check_attr(const row *r, const lt_attr_info *attr, const char *value) {
  static const char *const forms[] = {"%s", "[%s, 1]", "[1, %s]"};
  const bool pair = attr->kind == LT_ATTR_pair || attr->kind == LT_ATTR_quad;
  unsigned made = 0;
  for (unsigned f = 0; f < (pair ? 3 : 1); f++) {
    char number[100], text[1000];
    snprintf(number, sizeof number, attr->kind == LT_ATTR_ints ? "[1, 1, 3, %s]" : forms[f], value);
    call_text(text, sizeof text, r, attr->name, NULL, number);
    made += check_text(text);
    if (!pair || strlen(value) < 3) continue; /* small ones are everyday */
    call_text(text, sizeof text, r, attr->name, "stride", number);
    made += check_text(text);
  }
  return made;
}

START_TEST(attributes) {
  const row *r = &rows[_i];
  const lt_op_info *op = &lt_op_table[r->op];
  unsigned made = 0;
  for (unsigned i = 0; i < op->n_attrs; i++)
    for (unsigned v = 0; v < LT_COUNT(values); v++) {
      lt_attr_kind k = op->attrs[i].kind;
      if (k == LT_ATTR_int || k == LT_ATTR_ints || k == LT_ATTR_pair || k == LT_ATTR_quad)
        made += check_attr(r, &op->attrs[i], values[v]);
    }
  ck_assert_msg(made > 1, "%s: no call has a result", op->name);
}
END_TEST

START_TEST(every_op_has_a_row) {
  for (lt_op op = 1; op < LT_OPS; op++) {
    bool has = lt_op_table[op].window == LT_WINDOW__;
    for (size_t i = 0; i < LT_COUNT(rows); i++) has |= rows[i].op == op;
    ck_assert_msg(has, "%s has no row", lt_op_table[op].name);
  }
}
END_TEST

/* Large kernels and strides: time follows the products, so they are within the 2 s as well. */
static const char *const wide[] = {
  "x: f32[1, 1, 4, 4], W: f32[1, 1, 300, 300]) -> r { r = deconv2d(x, W, stride=300)",
  "x: f32[1,1,4,4], W: f32[1,1,300,300]) -> r { r = deconv2d(x, W, stride=300, pad=[7,0,1,0], outsize=[1193,1201])",
  "x: f32[2, 20, 3, 2], W: f32[20, 3, 7, 7]) -> r { r = deconv2d(x, W, stride=50, pad=3)",
  "x: f32[2, 20, 3, 2], W: f32[20, 3, 7, 7]) -> r { r = tanh(deconv2d(x, W, stride=[50, 2], pad=3) + 1)",
  "x: f32[1, 4, 3, 4], W: f32[4, 1, 100, 90]) -> r { r = deconv2d(x, W, stride=[100, 70], groups=4)",
  "x: f32[1, 6, 3, 4], W: f32[6, 1, 40, 9]) -> r { r = deconv2d(x, W, stride=[70, 90], groups=3)",
  "x: f32[1, 1, 4, 4], W: f32[1, 1, 9, 9]) -> r { r = deconv2d(x, W, stride=210, dilation=[15, 37])",
  "x: f32[1, 1, 1, 1], W: f32[1, 1, 300, 300]) -> r { r = deconv2d(x, W)",
  "gy: f32[3, 20, 1, 1], W: f32[20, 17, 7, 6]) -> r { r = conv2d_grad_input(gy, W, size=6, pad=[1, 0, 0, 0])",
  "gy: f32[1, 2, 4, 4], W: f32[2, 3, 5, 5]) -> r { r = conv2d_grad_input(gy, W, size=600, stride=170, pad=40)",
  "x: f32[1, 2, 600, 600]) -> r { r = grad(sum(max_pool(x, kernel=300, stride=300)), x)",
  "x: f32[1, 2, 600, 600]) -> r { r = grad(sum(avg_pool(x, kernel=300, stride=300)), x)",
  "x: f32[1, 2, 600, 600]) -> r { r = grad(sum(avg_pool(x, kernel=7, stride=50)), x)",
  "x: f32[1, 2, 600, 600]) -> r { r = grad(sum(max_pool(x, kernel=7, stride=50, pad=3)), x)",
};

START_TEST(large_windows) {
  char text[300];
  snprintf(text, sizeof text, "network t(%s }", wide[_i]);
  ck_assert_msg(check_text(text), "%s has no result", text);
}
END_TEST

/* ---- networks that went wrong once ------------------------------------------------------------------------------- */

typedef struct known { const char *name; unsigned n; double y[18]; } known;
static const known knowns[] = {
  {"big_halo", 18, {0, 0, 0, 0, 0, 0, 474, 510, 546, 582, 618, 654, 0, 0, 0, 0, 0, 0}},
  {"deconv_big_stride", 16, {0}},
  {"ceil_overhang", 1, {3}},
};

/* Leaves are 0, 1, 2 …; both the interpreter and the code give y. */
static void run_known(lt_job *job, void *arg) {
  const known *k = arg;
  lt_arena *a = lt_arena_new(job);
  size_t size;
  char path[100];
  snprintf(path, sizeof path, "cases/%s.lathe", k->name);
  char *text = test_read(test_path(path), &size);
  lt_graph *g = lt_test_own(job, lt_text_read(job, text, size, path, NULL));
  free(text);
  lt_eval *e = lt_test_eval(job, a, g, LT_EVAL_DOUBLE, 1);
  for (lt_value v = 1; v < g->values.n; v++) {
    if (!lt_is_leaf(g, v)) continue;
    lt_tensor *t = lt_tensor_new(a, lt_type_of(g, v));
    for (int64_t i = 0; i < lt_type_count(&t->type); i++) lt_tensor_set(t, i, (double)i);
    lt_eval_set(e, v, t);
  }
  lt_unit unit;
  lt_unit_plan(job, a, &unit, g, "c");
  lt_tensor *out[2] = {NULL};
  ck_assert_int_eq(lt_unit_call(a, &unit, lt_unit_jit(job, a, &unit, 1, ""), e, out), 0);
  const lt_tensor *y = lt_eval_get(e, g->outputs.at[0].value);
  ck_assert_int_eq(lt_type_count(&y->type), k->n);
  for (unsigned i = 0; i < k->n; i++)
    ck_assert_msg(lt_tensor_at(y, i) == k->y[i] && lt_tensor_at(out[0], i) == k->y[i],
                  "%s: element %u is %g, compiled %g", k->name, i, lt_tensor_at(y, i), lt_tensor_at(out[0], i));
  if (g->outputs.n == 2) ck_assert(lt_tensor_at(out[1], 0) == 1.5);
}

START_TEST(networks) {
  lathe_error e;
  known k = knowns[_i];
  ck_assert_msg(lt_protect(&e, run_known, &k) == LATHE_OK, "%s: %s", k.name, e.message);
}
END_TEST

static Suite *edges(void) {
  Suite *s = suite_create("edges");
  TCase *c = tcase_create("edges");
  tcase_set_timeout(c, 60);
  tcase_add_test(c, every_op_has_a_row);
  tcase_add_loop_test(c, attributes, 0, LT_COUNT(rows));
  tcase_add_loop_test(c, large_windows, 0, LT_COUNT(wide));
  tcase_add_loop_test(c, networks, 0, LT_COUNT(knowns));
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(edges)
