/* edges.c: attributes at the edge: for every integer attribute of every op and layer the values 0, -1, 1, small ones
 * around what fits, 2^31 ± 1, 2^62 give an error that says something, or code that gives the interpreter's result,
 * compiled and as an object, and nothing takes longer than 2 s or much memory. Ops with a window and layers have rows
 * here, the others take their calls from cases.def. And small networks with such attributes, whose results are written
 * down here. */
#include "driver/prove/probe.h"
#include "frontend/layers.h"
#include "lathe/lathe.h"
#include "ops/cases.h"
#include "ops/object.h"
#include "text/text_util.h"

#include <ctype.h>
#include <sys/resource.h>
#include <time.h>

/* A call of an op or layer with all its integer attributes: NAME=DEFAULT, separated by spaces. */
typedef struct row { const char *name; bool layer; const char *inputs, *operands, *attrs; } row;
#define WINDOW "stride=1 pad=1 dilation=1"
static const row rows[] = {
  {"conv2d", false, "x: f32[1, 2, 4, 5], W: f32[2, 2, 3, 2]", "x, W", WINDOW " groups=1"},
  {"conv2d", false, "x: f32[1, 2, 4, 5], W: f32[2, 1, 3, 2]", "x, W", WINDOW " groups=2"},
  {"conv2d_grad_input", false, "gy: f32[1, 2, 2, 2], W: f32[2, 2, 2, 2]", "gy, W",
   "size=3 stride=1 pad=0 dilation=1 groups=1"},
  {"conv2d_grad_weight", false, "x: f32[1, 2, 3, 3], gy: f32[1, 2, 1, 1]", "x, gy",
   "kernel=3 stride=1 pad=0 dilation=1 groups=1"},
  {"deconv2d", false, "x: f32[1, 2, 2, 2], W: f32[2, 1, 3, 2]", "x, W", "stride=1 pad=0 dilation=1 groups=1 outsize=0"},
  {"deconv2d", false, "x: f32[1, 1, 1, 2], W: f32[1, 1, 3, 1]", "x, W", "stride=2 pad=1 dilation=2 groups=1 outsize=0"},
  {"winograd_image", false, "x: f32[1, 2, 4, 5]", "x", "tile=4 pad=1"},
  {"winograd_filter", false, "W: f32[2, 2, 3, 3]", "W", "tile=4"},
  {"winograd_result", false, "m: f32[36, 2, 3]", "m", "size=4 tile=4"},
  {"im2col", false, "x: f32[1, 2, 4, 5]", "x", "kernel=2 stride=1 pad=0 dilation=1"},
  {"col2im", false, "col: f32[4, 4]", "col", "input_shape=[1,1,3,3] kernel=2 stride=1 pad=0 dilation=1"},
  {"max_pool", false, "x: f32[1, 2, 4, 5]", "x", "kernel=2 stride=1 pad=0 dilation=1"},
  {"max_pool", false, "x: f32[1, 2, 4, 5]", "x", "kernel=2147483647 stride=0 pad=2147483647 dilation=1 pad_value=0.5"},
  {"max_pool_index", false, "x: f32[1, 17, 4, 5]", "x",
   "kernel=1000000000 stride=2147483647 pad=1000000000 dilation=1 ceil=true"},
  {"avg_pool", false, "x: f32[1, 17, 4, 5]", "x",
   "kernel=2147483647 stride=2147483646 pad=2147483647 dilation=1 ceil=true count_include_pad=true"},
  {"avg_pool", false, "x: f32[1, 2, 4, 5]", "x", "kernel=2 stride=1 pad=0 dilation=1"},
  {"avg_pool_grad", false, "gy: f32[1, 2, 1, 1]", "gy",
   "size=4 kernel=1000000000 stride=2147483647 pad=500000000 dilation=1"},
  {"max_pool_grad", false, "gy: f32[1, 17, 2, 2], index: i32[1, 17, 2, 2]", "gy, index",
   "size=4 kernel=2 stride=2 pad=0 dilation=1 ceil=false"},
  {"max_pool_grad", false, "gy: f32[1, 2, 1, 1], index: i32[1, 2, 1, 1]", "gy, index",
   "size=4 kernel=1000000000 stride=2147483647 pad=500000000 dilation=1"},
  {"conv2d", true, "x: f32[1, 2, 4, 5]", "x", "out_channels=2 kernel=3 groups=1 in_channels=2 " WINDOW},
  {"deconv2d", true, "x: f32[1, 2, 2, 3]", "x",
   "out_channels=2 kernel=2 groups=1 in_channels=2 stride=1 pad=0 dilation=1 outsize=none"},
  {"linear", true, "x: f32[2, 3]", "x", "out=3"},
  {"conv2d_simple", true, "x: f32[1, 2, 4, 5], W: f32[2, 2, 3, 2]", "x, W", "stride=1 pad=1"},
  {"pooling_simple", true, "x: f32[1, 2, 4, 5]", "x", "kernel=2 stride=1 pad=0"},
  {"pooling", true, "x: f32[1, 2, 4, 5]", "x", "kernel=2 stride=1 pad=0"},
  {"average_pooling", true, "x: f32[1, 2, 4, 5]", "x", "kernel=2 stride=1 pad=0"},
};

/* ---- one network ------------------------------------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__)
enum { MOST_KILOBYTES = 8 << 20 }; /* what was freed is kept for a while */
#else
enum { MOST_KILOBYTES = 256 << 10 };
#endif

typedef struct built { lathe_graph *g; lathe_model *m; lathe_instance *s; } built;

static void free_built(built *b) { lathe_instance_free(b->s), lathe_model_free(b->m), lathe_graph_free(b->g); }

/* Did an earlier network of this test mean the same? It is enough to compile one. */
static bool seen_before(const lathe_graph *g) {
  static uint64_t seen[8192], n;
  char *text = lathe_print(g, "--passes=mode,spell,raise,autodiff,lower,fold,simplify,cse", NULL);
  uint64_t hash = text ? lt_random_stream(text) : 0;
  lathe_free(text);
  for (uint64_t i = 0; i < n; i++)
    if (seen[i] == hash) return true;
  if (n < LT_COUNT(seen)) seen[n++] = hash;
  return false;
}

static void check_results(const built *b, const char *text) {
  lathe_error e;
  lathe_proof *p = lt_prove_ends(b->g, b->s, "run", "--rtol 4e-6 --atol 1e-7", &e);
  ck_assert_msg(p != NULL, "%s: %s", text, e.message);
  for (size_t i = 0; i < p->n; i++)
    ck_assert_msg(p->point[i].ok, "%s: %s\n%s", text, p->point[i].what, p->point[i].notes ? p->point[i].notes : "");
  lathe_free(p);
}

/* Small numbers in objects are everyday: other tests have thousands. */
static bool is_odd(const char *text) {
  for (const char *p = text; (p += strcspn(p, "0123456789"), *p); p += strspn(p, "0123456789"))
    if (strspn(p, "0123456789") > 8) return true;
  return false;
}

static int try_text(built *b, const char *text, lathe_error *e) {
  *b = (built){0};
  if (!(b->g = lathe_parse(text, strlen(text), "t", "--max-bytes 33554432", e))) return e->status;
  if (seen_before(b->g)) return LATHE_OK;
  if (!(b->m = lathe_compile(b->g, "--verify-each", e))) return e->status;
  if (!(b->s = lathe_open(b->m, "--seed 1", e))) return e->status;
  object_fill(b->m, b->s);
  check_results(b, text);
  if (is_odd(text)) object_agrees(b->g, b->m, b->s, text);
  return LATHE_OK;
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Returns whether there was a result. */
static bool check_text(const char *text) {
  built b;
  lathe_error e = {0};
  struct rusage use;
  double start = seconds();
  int status = try_text(&b, text, &e);
  free_built(&b);
  getrusage(RUSAGE_SELF, &use);
  ck_assert_msg(seconds() - start < 2, "%s took %g s", text, seconds() - start);
  ck_assert_msg(use.ru_maxrss < MOST_KILOBYTES, "%s: %ld kB", text, use.ru_maxrss);
  ck_assert_msg(!status || ((status == LATHE_E_INVALID || status == LATHE_E_PARSE) && *e.message), "%s: status %d: %s",
                text, status, e.message);
  return !status;
}

/* ---- attributes -------------------------------------------------------------------------------------------------- */

static const char *const values[] = {"0",
                                     "-1",
                                     "1",
                                     "2",
                                     "3",
                                     "4",
                                     "5",
                                     "2147483646",
                                     "2147483647",
                                     "2147483648",
                                     "2147483649",
                                     "-2147483648",
                                     "-2147483649",
                                     "4611686018427387904",
                                     "-4611686018427387904",
                                     "9223372036854775807"};
static bool is_large(const char *value) { return strlen(value) > 3; }
static bool is_pair(lt_attr_kind k) { return k == LT_ATTR_pair || k == LT_ATTR_quad; }
static bool is_integer(lt_attr_kind k) { return k == LT_ATTR_int || k == LT_ATTR_ints || is_pair(k); }

/* The row's call with attribute `name` (and with it `and`, if any) set to `value`. */
static void call_text(char *out, size_t size, const row *r, const char *name, const char *and, const char *value) {
  int n = snprintf(out, size, "network t(%s) -> r { r = %s(%s", r->inputs, r->name, r->operands);
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
  static const char *const forms[] = {"%s", "[%s, 1]", "[1, %s]", "[0, 0, 1, %s]"};
  const unsigned n_forms = attr->kind == LT_ATTR_quad ? 4 : is_pair(attr->kind) ? 3 : 1;
  unsigned made = 0;
  if (r->layer && strchr("2345", *value) && !value[1]) return 0; /* its op has a row */
  for (unsigned f = 0; f < n_forms; f++) {
    char number[100], text[1000];
    snprintf(number, sizeof number, attr->kind == LT_ATTR_ints ? "[1, 1, 3, %s]" : forms[f], value);
    call_text(text, sizeof text, r, attr->name, NULL, number);
    made += check_text(text);
    if (f > 2 || n_forms < 3 || !is_large(value)) continue;
    call_text(text, sizeof text, r, attr->name, "stride", number);
    made += check_text(text);
  }
  return made;
}

static const lt_attr_info *attrs_of(const row *r, unsigned *n) {
  size_t length = strlen(r->name);
  const lt_layer_info *layer = &lt_layer_table[r->layer ? lt_layer_find(r->name, length) : 0];
  const lt_op_info *op = &lt_op_table[r->layer ? 0 : lt_op_find(r->name, length)];
  *n = r->layer ? layer->n_attrs : op->n_attrs;
  return r->layer ? layer->attrs() : op->attrs;
}

START_TEST(windows_and_layers) {
  const row *r = &rows[_i];
  unsigned n, made = 0;
  const lt_attr_info *attr = attrs_of(r, &n);
  for (unsigned i = 0; i < n; i++)
    for (unsigned v = 0; v < LT_COUNT(values) && is_integer(attr[i].kind); v++)
      made += check_attr(r, &attr[i], values[v]);
  ck_assert_msg(made > 0, "%s: no call has a result", r->name);
}
END_TEST

static bool has_row(const char *name, bool layer) {
  for (size_t i = 0; i < LT_COUNT(rows); i++)
    if (rows[i].layer == layer && !strcmp(rows[i].name, name)) return true;
  return false;
}
static bool has_integers(const lt_attr_info *attr, unsigned n) {
  for (unsigned i = 0; i < n; i++)
    if (is_integer(attr[i].kind)) return true;
  return false;
}

START_TEST(windows_and_layers_have_rows) {
  for (lt_op op = 1; op < LT_OPS; op++)
    ck_assert_msg(lt_op_table[op].window == LT_WINDOW__ || has_row(lt_op_table[op].name, false), "%s has no row",
                  lt_op_table[op].name);
  for (unsigned i = 1; i < LT_LAYERS; i++) {
    const lt_layer_info *l = &lt_layer_table[i];
    ck_assert_msg(!has_integers(l->attrs(), l->n_attrs) || has_row(l->name, true), "the layer %s has no row", l->name);
  }
}
END_TEST

/* ---- the other ops: calls of cases.def with one attribute changed
 * ---------------------------------------------------- */

static const char *const odd[] = {"-2", "-3", "-4", "-5", "-8", "-9", "7", "8", "9"}; /* axes, ranks */

/* Where the arguments of the op's call end; NULL: it is not called. */
static const char *arguments(const char *call, const char *op, const char **end) {
  size_t n = strlen(op);
  int depth = 0;
  const char *at = call;
  while ((at = strstr(at, op)) && (at[n] != '(' || (at > call && (isalnum(at[-1]) || at[-1] == '_')))) at += n;
  if (!at) return NULL;
  for (const char *p = at + n; *p; p++)
    if (depth += (*p == '(') - (*p == ')'), *p == ')' && !depth) return *end = p, at + n + 1;
  return NULL;
}

/* The text of an attribute among arguments; its end. */
static const char *given(const char *from, const char *end, const char *name, const char **stop) {
  size_t n = strlen(name);
  int depth = 0;
  for (const char *p = from; p < end; p++) {
    if (strncmp(p, name, n) || p[n] != '=' || (p[-1] != ' ' && p[-1] != '(')) continue;
    for (p += n + 1, *stop = p; *stop < end && (**stop != ',' || depth); ++*stop)
      depth += (**stop == '[') - (**stop == ']');
    return p;
  }
  return NULL;
}

static bool check_call(lt_arena *a, const op_case *c, const char *from, const char *to, const char *value) {
  op_case x = *c;
  x.call = lt_arena_printf(a, "%.*s%s%s", (int)(from - c->call), c->call, value, to);
  return check_text(case_text(a, &x, "f32"));
}

/* A list's elements one by one; then lists of that value alone. */
static unsigned check_list(lt_arena *a, const op_case *c, const char *from, const char *to, const char *lead,
                           const char *value) {
  static const char *const lists[][2] = {
    {"[", "]"}, {"[0, ", "]"}, {"[", ", 0]"}, {"[1, 1, ", "]"}, {"[0, 1, 2, 3, 4, 5, 6, 7, ", "]"}};
  unsigned made = 0;
  for (const char *p = from; p < to; p++) {
    size_t n = strspn(p, "-0123456789");
    if (!n) continue;
    made += check_call(a, c, p, p + n, value);
    p += n - 1;
  }
  for (size_t i = 0; i < LT_COUNT(lists); i++)
    made += check_call(a, c, from, to, lt_arena_printf(a, "%s%s%s%s", lead, lists[i][0], value, lists[i][1]));
  return made;
}

static unsigned check_value(lt_arena *a, const op_case *c, const lt_attr_info *attr, const char *value) {
  const char *end, *stop, *args = arguments(c->call, lt_op_table[c->op].name, &end);
  const char *at = given(args, end, attr->name, &stop), *lead = "";
  if (!at) at = stop = end, lead = lt_arena_printf(a, ", %s=", attr->name);
  if (attr->kind == LT_ATTR_ints) return check_list(a, c, at, stop, lead, value);
  return check_call(a, c, at, stop, lt_arena_printf(a, "%s%s", lead, value));
}

static void check_case(lt_job *job, void *arg) {
  const op_case *c = arg;
  const lt_op_info *op = &lt_op_table[c->op];
  lt_arena *a = lt_arena_new(job);
  for (unsigned i = 0; i < op->n_attrs; i++)
    for (unsigned v = 0; v < LT_COUNT(values) + LT_COUNT(odd) && is_integer(op->attrs[i].kind); v++)
      check_value(a, c, &op->attrs[i], v < LT_COUNT(values) ? values[v] : odd[v - LT_COUNT(values)]);
}

static bool is_other(lt_op op) {
  const lt_op_info *o = &lt_op_table[op];
  return o->window == LT_WINDOW__ && !(o->flags & (LT_LEAF | LT_HIDDEN)) && has_integers(o->attrs, o->n_attrs);
}

START_TEST(other_ops) {
  unsigned calls = 0;
  const char *end;
  if (!is_other((lt_op)_i)) return;
  for (unsigned i = 0; i < OP_CASES && calls < 3; i++) {
    op_case c = op_cases[i];
    if (c.op != (lt_op)_i || c.flags & BIG || !arguments(c.call, lt_op_table[_i].name, &end)) continue;
    lathe_error e;
    ck_assert_msg(!lt_protect(&e, check_case, &c), "%s", e.message);
    calls++;
  }
  ck_assert_msg(calls > 0, "tests/ops/cases.def does not call `%s`", lt_op_table[_i].name);
}
END_TEST

/* ---- shapes of leaves -------------------------------------------------------------------------------------------- */

static const char *const shapes[] = {
  "x: f32[%s]) -> r { r = relu(x)",
  "x: f64[2, %s, 2]) -> r { r = sum(x)",
  "x: f32[3]) -> r { param W: f32[%s, 3] = normal() | r = x + W",
  "x: f32[3]) -> r { state s: i64[3, %s] = zeros() | update s = s | r = x",
  "x: f32[3]) -> r { const k: i32[%s] = [1] | r = cast(k, dtype=f32) + x",
};

START_TEST(leaves) {
  for (unsigned v = 0; v < LT_COUNT(values); v++) {
    char text[300];
    int n = snprintf(text, sizeof text, "network t(");
    snprintf(text + n, sizeof text - (size_t)n, shapes[_i], values[v]);
    strcat(text, " }");
    for (char *p = text; (p = strchr(p, '|'));) *p = '\n';
    check_text(text);
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

static void check_body(const char *body) {
  char text[300];
  snprintf(text, sizeof text, "network t(%s }", body);
  ck_assert_msg(check_text(text), "%s has no result", text);
}

START_TEST(large_windows) { check_body(wide[_i]); }
END_TEST

/* Results and residuals in NCHW beside sums with channels in the lanes: whole and narrow tiles, planes that tiles
 * cross, tails of channels, rows of too few pixels to turn, elements that are not turned (bool), 64 bits, a broadcast.
 */
static const char *const across[] = {
  "x: f32[2, 16, 5, 7], s: f32[2, 32, 5, 7]) -> r { r = relu(conv2d(x, out_channels=32, kernel=1) + s)",
  "x: f32[1, 32, 14, 14], s: f32[1, 40, 14, 14]) -> r { r = conv2d(x, out_channels=40, kernel=3, pad=1) * s",
  "x: f64[1, 16, 9, 11], s: f64[1, 20, 9, 11]) -> r { r = tanh(conv2d(x, out_channels=20, kernel=3, pad=1) + s)",
  "x: f32[3, 32, 3, 1], s: f32[3, 48, 3, 1]) -> r { r = conv2d(x, out_channels=48, kernel=1) - s",
  "x: f32[1, 16, 8, 8], s: f32[1, 32, 3, 3]) -> r { r = conv2d(x, out_channels=32, kernel=3, stride=2) + s",
  "x: f32[2, 16, 6, 6], s: bool[2, 32, 6, 6]) -> r { r = select(s, conv2d(x, out_channels=32, kernel=1), 1)",
  "x: f32[2, 16, 6, 6], s: f32[32, 1, 6]) -> r { r = conv2d(x, out_channels=32, kernel=1) + s",
  "x: f32[1, 24, 17, 19]) -> r, m { r = conv2d(x, out_channels=33, kernel=1)\n  m = less(0, r)",
};

START_TEST(across_the_lanes) { check_body(across[_i]); }
END_TEST

/* ---- networks that went wrong once ------------------------------------------------------------------------------- */

typedef struct known { const char *name; unsigned n; double y[18]; } known;
static const known knowns[] = {
  {"big_halo", 18, {0, 0, 0, 0, 0, 0, 474, 510, 546, 582, 618, 654, 0, 0, 0, 0, 0, 0}},
  {"deconv_big_stride", 16, {0}},
  {"ceil_overhang", 2, {3, 1.5}},
};

/* Inputs are 0, 1, 2 …; the interpreter, the code and the object give y. */
START_TEST(networks) {
  const known *k = &knowns[_i];
  lathe_error e;
  lathe_port p;
  char path[100], name[] = "y";
  size_t size;
  snprintf(path, sizeof path, "cases/%s.lathe", k->name);
  char *text = test_read(test_path(path), &size);
  built b = {.g = lathe_parse(text, size, path, NULL, &e)};
  free(text);
  ck_assert_msg(b.g && (b.m = lathe_compile(b.g, NULL, &e)) && (b.s = lathe_open(b.m, NULL, &e)), "%s: %s", path,
                e.message);
  for (size_t i = 0; lathe_model_port(b.m, "run", i, &p); i++)
    for (int64_t at = 0; !strcmp(p.kind, "input") && at < p.bytes / 4; at++)
      ((float *)lathe_buffer(b.s, p.name, NULL))[at] = (float)at;
  check_results(&b, k->name);
  object_agrees(b.g, b.m, b.s, k->name);
  for (const double *y = k->y; name[0] <= 'z'; name[0]++) {
    const float *at = lathe_buffer(b.s, name, &size);
    for (size_t i = 0; at && i < size / 4; i++, y++)
      ck_assert_msg((double)at[i] == *y, "%s: element %zu of %s is %g", k->name, i, name, (double)at[i]);
    ck_assert(name[0] < 'z' || y == k->y + k->n);
  }
  free_built(&b);
}
END_TEST

static Suite *edges(void) {
  Suite *s = suite_create("edges");
  TCase *c = tcase_create("edges");
  tcase_set_timeout(c, 60);
  tcase_add_test(c, windows_and_layers_have_rows);
  tcase_add_loop_test(c, windows_and_layers, 0, LT_COUNT(rows));
  tcase_add_loop_test(c, other_ops, 1, LT_OPS);
  tcase_add_loop_test(c, leaves, 0, LT_COUNT(shapes));
  tcase_add_loop_test(c, large_windows, 0, LT_COUNT(wide));
  tcase_add_loop_test(c, across_the_lanes, 0, LT_COUNT(across));
  tcase_add_loop_test(c, networks, 0, LT_COUNT(knowns));
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(edges)
