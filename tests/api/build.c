/* build.c: the typed constructors of lathe/build.h do what lathe_op does with the same as text: the same network, or
 * the same message. First all of them, with no attribute, each one and all at once (build_calls.h); then what a field
 * left zero means. */
#include "api/build_calls.h"
#include "check_main.h"
#include "ir/ir.h"
#include "frontend/frontend.h"

#include <stdio.h>
#include <string.h>

/* What came of building: the text of the network, or the message. Frees g. */
static char *outcome(lathe_graph *g, bool *ok) {
  lathe_error e = {0};
  static char text[2][16384];
  static int turn;
  char *out = text[turn ^= 1], *print = NULL;
  *ok = lathe_check(g, &e) == 0;
  if (*ok) print = lathe_print(g, NULL, &e);
  ck_assert_msg(!*ok || print, "%s", e.message);
  int n = *ok ? snprintf(out, sizeof text[0], "%s", print)
              : snprintf(out, sizeof text[0], "%s:%d:%d: %s", e.file, e.line, e.column, e.message);
  ck_assert_int_lt(n, (int)sizeof text[0]);
  lathe_free(print), lathe_graph_free(g);
  return out;
}

/* ---- every one of them ------------------------------------------------------------------------------------------- */

static const char *const types[][CALL_OPERANDS] = {
  {"f32[2, 2, 6, 6]", "f32[2, 2, 6, 6]", "f32[2, 2, 6, 6]", "f32[2, 2, 6, 6]", "f32[2, 2, 6, 6]"},
  {"f32[2, 2, 6, 6]", "f32[2, 2, 2, 1]", "f32[2]", "f32[2]", "f32[2]"}, /* conv2d */
  {"f32[2, 2, 6, 6]", "f32[2, 1, 2, 1]", "f32[2]", "f32[2]", "f32[2]"}, /* of groups */
  {"f32[2, 2, 6, 6]", "f32[2, 2, 5, 6]", "f32[2]", "f32[2]", "f32[2]"}, /* its gradient in W */
  /* that of an image of 2 by 1, avg_pool_grad */
  {"f32[2, 2, 1, 1]", "f32[2, 2, 2, 1]", "f32[2]", "f32[2]", "f32[2]"},
  {"f32[60, 4]", "f32", "f32", "f32", "f32"},                  /* col2im */
  {"f32[2, 2, 6, 6]", "f32[2]", "f32[2]", "f32[2]", "f32[2]"}, /* batch_norm */
  {"f32[4, 4]", "f32[4, 4]", "f32[4, 4]", "f32[4, 4]", "f32[4, 4]"},
  {"f32[4, 4]", "f32[4, 4]", "f32[4]", "f32[4]", "f32[4]"}, /* linear */
  {"f32[4, 4]", "i32[4]", "i32[4]", "i32[4]", "i32[4]"},    /* cross_entropy */
  {"f32[4, 4]", "i32[4, 4]", "i32[4]", "i32[4]", "i32[4]"}, /* gather */
  {"f32[1, 4]", "i32[4, 4]", "i32[4]", "i32[4]", "i32[4]"},
  {"bool[2, 2]", "f32[2, 2]", "f32[2, 2]", "f32", "f32"}, /* select */
  {"i64", "i64", "i64", "i64", "i64"},                    /* random_uniform */
  {"f32[1]", "f32", "f32", "f32", "f32"},                 /* broadcast_to */
  {"f32[2, 2, 3, 3]", "f32", "f32", "f32", "f32"},        /* winograd_filter */
  {"f32[36, 2, 2]", "f32", "f32", "f32", "f32"},          /* winograd_result */
  {"f32[16, 2, 2]", "f32", "f32", "f32", "f32"},          /* in tiles of 2 */
};

static lathe_graph *start(const build_call *c, const char *const *type, lathe_value *in) {
  lathe_graph *g = lathe_graph_new("n");
  ck_assert(c->operands <= CALL_OPERANDS && c->results <= CALL_RESULTS);
  for (unsigned i = 0; i < c->operands; i++) in[i] = lathe_input(g, (const char[]){'x', (char)('0' + i), 0}, type[i]);
  return g;
}

static char *end(const build_call *c, lathe_graph *g, const lathe_value *out, bool *ok) {
  for (unsigned i = 0; i < c->results; i++) lathe_output(g, (const char[]){'y', (char)('0' + i), 0}, out[i]);
  return outcome(g, ok);
}

/* One call with the attributes in `set` both ways. Whether it was one that works. */
static bool agrees(const build_call *c, const char *const *type, unsigned set, int null) {
  lathe_value in[CALL_OPERANDS], out[CALL_RESULTS];
  char text[1024] = "";
  bool ok[2];
  for (unsigned i = 0; i < c->attrs; i++)
    if (set >> i & 1) snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", *text ? ", " : "", c->text[i]);
  lathe_graph *g = start(c, type, in);
  c->call(g, in, out, set, null);
  char *typed = end(c, g, out, &ok[0]);
  g = start(c, type, in);
  lathe_op_n(g, c->name, text, in, c->operands, out, c->results);
  char *written = end(c, g, out, &ok[1]);
  ck_assert_msg(!strcmp(typed, written), "%s%s(%s) of %s\ntyped: %s\ntext: %s", c->name, c->is_layer ? "_layer" : "",
                text, type[0], typed, written);
  return ok[0] && ok[1];
}

enum { AT_ALL = 1 << 30 };

/* Bits of the attributes that were given in a call that worked. */
static unsigned all_of(const build_call *c, const char *const *type) {
  unsigned all = (1u << c->attrs) - 1, worked = 0;
  agrees(c, type, 0, true);
  agrees(c, type, 0, false);
  if (agrees(c, type, c->required, false)) worked |= c->required | AT_ALL;
  for (unsigned i = 0; i < c->attrs; i++)
    if (agrees(c, type, c->required | 1u << i, false)) worked |= 1u << i;
  return worked | (agrees(c, type, all, false) ? all : 0);
}

START_TEST(every_constructor) {
  unsigned fields = 0, worked = 0;
  for (unsigned i = 0; i < n_build_calls; i++) {
    unsigned bits = 0;
    for (size_t t = 0; t < LT_COUNT(types); t++) bits |= all_of(&build_calls[i], types[t]);
    ck_assert_msg(bits & AT_ALL, "no operands of these fit %s", build_calls[i].name);
    fields += build_calls[i].attrs, worked += (unsigned)__builtin_popcount(bits & ~(unsigned)AT_ALL);
  }
  ck_assert_uint_ge(fields, 170);
  ck_assert_uint_ge(worked * 100, fields * 90); /* others are refused both ways, with one message */
}
END_TEST

static bool listed(const char *name, int is_layer) {
  for (unsigned i = 0; i < n_build_calls; i++)
    if (!strcmp(build_calls[i].name, name) && build_calls[i].is_layer == is_layer) return true;
  return false;
}

START_TEST(no_row_is_missing) {
  unsigned n = 0;
  for (unsigned o = 1; o < LT_OPS; o++) {
    bool own = lt_op_table[o].flags & (LT_LEAF | LT_HIDDEN) || o == LT_OP_grad;
    ck_assert_msg(listed(lt_op_table[o].name, 0) == !own, "%s", lt_op_table[o].name);
    n += !own;
  }
  for (unsigned l = 1; l < LT_LAYERS; l++, n++)
    ck_assert_msg(listed(lt_layer_table[l].name, lt_layer_table[l].weights), "%s", lt_layer_table[l].name);
  ck_assert_uint_eq(n, n_build_calls);
}
END_TEST

/* ---- a network of them ------------------------------------------------------------------------------------------- */

static void same(lathe_graph *built, const char *text) {
  lathe_error e = {0};
  bool ok[2];
  lathe_graph *read = lathe_parse(text, strlen(text), "build.c", NULL, &e);
  ck_assert_msg(read != NULL, "%s", e.message);
  char *a = outcome(built, &ok[0]), *b = outcome(read, &ok[1]);
  ck_assert_str_eq(a, b);
  ck_assert(ok[0] && ok[1]);
}

START_TEST(network) {
  lathe_graph *g = lathe_graph_new("n");
  lathe_value x = lathe_input(g, "x", "f32[2, 3, 12, 12]"), t = lathe_input(g, "t", "i32[2]"), none = {0}, norm[3];
  lathe_value W = lathe_param(g, "W", "f32[4, 3, 3, 3]", "normal(scale=0.1)"), b = lathe_param(g, "b", "f32[4]", NULL);
  lathe_value h = lathe_conv2d(g, x, W, b, &(lathe_conv2d_attrs){.stride = {2}, .pad = {0, 0, 1, 1}});
  lathe_value k = lathe_conv2d(g, x, W, none, &(lathe_conv2d_attrs){.stride = {2, 2}, .pad = {1}, .name = "bare"});
  h = lathe_relu(g, lathe_add(g, h, k));
  h = lathe_conv2d_layer(
    g, h,
    &(lathe_conv2d_layer_attrs){.out_channels = 16, .kernel = {3, 3}, .pad = {1, 1}, .bias = LATHE_NO, .name = "conv"});
  h = lathe_batch_norm_layer(g, h, &(lathe_batch_norm_layer_attrs){.momentum = 0.5, .name = "bn"});
  h = lathe_max_pool(
    g, h,
    &(lathe_max_pool_attrs){.kernel = {3}, .stride = {2}, .pad = {1}, .pad_value = LATHE_FZERO, .ceil = LATHE_YES});
  h = lathe_deconv2d_layer(
    g, h, &(lathe_deconv2d_layer_attrs){.out_channels = 2, .kernel = {2}, .stride = {2}, .dtype = "f32", .name = "up"});
  h = lathe_dropout(g, lathe_flatten(g, h), &(lathe_dropout_attrs){.p = 0.25, .key = "drop"});
  h = lathe_linear_layer(g, h, &(lathe_linear_layer_attrs){.out = 5, .name = "fc"});
  lathe_value scale = lathe_param(g, "scale", "f32[5]", "ones()"), bias = lathe_param(g, "bias", "f32[5]", NULL);
  lathe_output(g, "z", h);
  lathe_batch_norm_train(g, h, scale, bias, NULL, norm);
  for (int i = 0; i < 3; i++) lathe_output(g, (const char *const[]){"n", "mean", "var"}[i], norm[i]);
  lathe_output(g, "loss", lathe_cross_entropy(g, norm[0], t));
  lathe_output(g, "e", lathe_concat(g, (lathe_value[]){h, norm[0], h}, 3, NULL));
  lathe_output(g, "p", lathe_softmax(g, h, &(lathe_softmax_attrs){.axis = LATHE_ZERO}));
  lathe_output(g, "c",
               lathe_clip(g, lathe_cast(g, h, &(lathe_cast_attrs){.dtype = "f64"}),
                          &(lathe_clip_attrs){.lo = LATHE_FZERO, .hi = 6}));
  lathe_output(
    g, "s",
    lathe_sum(g, lathe_transpose(g, h, NULL), &(lathe_sum_attrs){.axes = LATHE_INTS(0), .keepdims = LATHE_YES}));
  lathe_output(g, "d", lathe_slice(g, h, &(lathe_slice_attrs){.starts = LATHE_INTS(0, 1), .ends = LATHE_INTS(1, -1)}));
  same(g, "network n(x: f32[2, 3, 12, 12], t: i32[2]) -> z, n, mean, var, loss, e, p, c, s, d {"
          " param W: f32[4, 3, 3, 3] = normal(scale=0.1) param b: f32[4] = zeros()"
          " z = linear(dropout(flatten(deconv2d(max_pool(batch_norm(conv2d("
          "   relu(conv2d(x, W, b, stride=2, pad=[0, 0, 1, 1]) + conv2d(x, W, stride=2, pad=1, name=\"bare\")),"
          "   out_channels=16, kernel=3, pad=1, bias=false, name=\"conv\"), momentum=0.5, name=\"bn\"),"
          "   kernel=3, stride=2, pad=1, pad_value=0.0, ceil=true),"
          "   out_channels=2, kernel=2, stride=2, dtype=f32, name=\"up\")),"
          "   p=0.25, key=\"drop\"), out=5, name=\"fc\")"
          " param scale: f32[5] = ones() param bias: f32[5] = zeros()"
          " n, mean, var = batch_norm_train(z, scale, bias)"
          " loss = cross_entropy(n, t)"
          " e = concat(z, n, z)"
          " p = softmax(z, axis=0)"
          " c = clip(cast(z, dtype=f64), lo=0.0, hi=6)"
          " s = sum(transpose(z), axes=[0], keepdims=true)"
          " d = slice(z, starts=[0, 1], ends=[1, -1]) }");
}
END_TEST

/* ---- the rule of zero -------------------------------------------------------------------------------------------- */

typedef struct pad_case { int64_t pad[4]; const char *text; } pad_case;

START_TEST(numbers_at_the_end) {
  static const pad_case cases[] = {
    {{0}, "0"},
    {{1}, "1"},
    {{1, 2}, "[1, 2]"},
    {{0, 2}, "[0, 2]"},
    {{1, LATHE_ZERO}, "[1, 0]"},
    {{LATHE_ZERO}, "0"},
    {{1, 2, 3, 4}, "[1, 2, 3, 4]"},
    {{0, 0, 1, 1}, "[0, 0, 1, 1]"},
    {{1, 2, 3}, "[1, 2, 3, 0]"},
    {{0, 0, 0, 1}, "[0, 0, 0, 1]"},
    {{1, 1, 0, LATHE_ZERO}, "[1, 1, 0, 0]"},
    {{1, LATHE_ZERO, 1}, "[1, 0, 1, 0]"},
    {{-1}, "-1"},
  };
  for (size_t i = 0; i < LT_COUNT(cases); i++) {
    char *text[2], attrs[80];
    bool ok[2];
    for (int typed = 0; typed < 2; typed++) {
      lathe_graph *g = lathe_graph_new("n");
      lathe_value x = lathe_input(g, "x", "f32[1, 1, 8, 8]"), y;
      lathe_average_pooling_attrs a = {.kernel = {3}};
      memcpy(a.pad, cases[i].pad, sizeof a.pad);
      snprintf(attrs, sizeof attrs, "kernel=3, pad=%s", cases[i].text);
      y = typed ? lathe_average_pooling(g, x, &a) : lathe_op(g, "average_pooling", attrs, &x, 1);
      lathe_output(g, "y", y);
      text[typed] = outcome(g, &ok[typed]);
    }
    ck_assert_str_eq(text[1], text[0]);
    ck_assert_int_eq(ok[0], cases[i].pad[0] != -1);
  }
}
END_TEST

START_TEST(lists) {
  lathe_ints four = LATHE_INTS(4, 0, -1, 2), most = LATHE_INTS(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
  ck_assert(four.n == 4 && four.v[0] == 4 && four.v[1] == 0 && four.v[2] == -1 && four.v[3] == 2 && four.v[4] == 0);
  ck_assert(most.n == LATHE_MAX_INTS && most.v[15] == 16);
  lathe_graph *g = lathe_graph_new("n");
  lathe_value x = lathe_input(g, "x", "f32[1, 1]");
  lathe_output(g, "y", lathe_reshape(g, x, &(lathe_reshape_attrs){.shape = LATHE_EMPTY}));
  same(g, "network n(x: f32[1, 1]) -> y { y = reshape(x, shape=[]) }");
}
END_TEST

/* ---- what goes wrong --------------------------------------------------------------------------------------------- */

static void refused(lathe_graph *g, lathe_value v, const char *message) {
  lathe_error e = {0};
  ck_assert_uint_eq(v.id, 0);
  ck_assert_int_eq(lathe_check(g, &e), LATHE_E_INVALID);
  ck_assert_str_eq(e.message, message);
  ck_assert(!e.file[0] && !e.line && !e.column);
  ck_assert_uint_eq(lathe_relu(g, lathe_input(g, "later", "f32")).id, 0); /* it sticks */
  lathe_check(g, &e);
  ck_assert_str_eq(e.message, message);
  lathe_graph_free(g);
  ck_assert_int_eq(lt_mem_live(), 0);
}

#define REFUSED(message, call)                                                                                         \
  do {                                                                                                                 \
    lathe_graph *g = lathe_graph_new("n");                                                                             \
    lathe_value x = lathe_input(g, "x", "f32[2, 3, 8, 8]"), none = {0};                                                \
    (void)x, (void)none;                                                                                               \
    refused(g, call, message);                                                                                         \
  } while (0)

START_TEST(missing) {
  REFUSED("conv2d needs the attribute `kernel`, a whole number or a pair of them\nhelp: add `kernel=…`",
          lathe_conv2d_layer(g, x, &(lathe_conv2d_layer_attrs){.out_channels = 3}));
  REFUSED("conv2d needs the attribute `out_channels`, a whole number\nhelp: add `out_channels=…`",
          lathe_conv2d_layer(g, x, NULL));
  REFUSED("reshape needs the attribute `shape`, a list of whole numbers\nhelp: add `shape=…`",
          lathe_reshape(g, x, &(lathe_reshape_attrs){.name = "r"}));
  REFUSED("cast needs the attribute `dtype`, f32, f64, i32, i64 or bool\nhelp: add `dtype=…`", lathe_cast(g, x, NULL));
  REFUSED("conv2d: operand W is missing", lathe_conv2d(g, x, none, none, NULL)); /* and no layer is meant */
}
END_TEST

START_TEST(wrong) {
  REFUSED("attribute `keepdims` of sum is true or false, not 7",
          lathe_sum(g, x, &(lathe_sum_attrs){.keepdims = (lathe_flag)7}));
  REFUSED("attribute `dtype` of cast is f32, f64, i32, i64 or bool, not `f23`",
          lathe_cast(g, x, &(lathe_cast_attrs){.dtype = "f23"}));
  REFUSED("attribute `axes` of sum has 17 numbers, at most 16 are allowed",
          lathe_sum(g, x, &(lathe_sum_attrs){.axes = {.n = 17}}));
  REFUSED("attribute `axes` of sum has -1 numbers, at most 16 are allowed\nhelp: an empty list is LATHE_EMPTY",
          lathe_sum(g, x, &(lathe_sum_attrs){.axes = {.n = -1}}));
  REFUSED("linear: `name` is empty", lathe_linear_layer(g, x, &(lathe_linear_layer_attrs){.out = 3, .name = ""}));
  REFUSED("linear `fc`: x is f32[2, 3, 8, 8], should be [N, C]\nhelp: write `flatten(x)`",
          lathe_linear_layer(g, x, &(lathe_linear_layer_attrs){.out = 3, .name = "fc"}));
  REFUSED("value 1 is not one of graph `n`\nhelp: values belong to the graph that made them",
          lathe_relu(g, (lathe_value){77}));
  REFUSED("conv2d: bias=false and nobias=false contradict each other\nhelp: one of them is enough",
          lathe_conv2d_layer(
            g, x, &(lathe_conv2d_layer_attrs){.out_channels = 3, .kernel = {3}, .bias = LATHE_NO, .nobias = LATHE_NO}));
  REFUSED("concat: takes 1 or more operands (xs*), not 0", lathe_concat(g, NULL, 0, NULL));
  ck_assert_uint_eq(lathe_relu(NULL, (lathe_value){1}).id, 0);
}
END_TEST

/* The first value of one graph is not that of another, although both are their first. */
START_TEST(values_of_another_graph) {
  lathe_error e;
  lathe_graph *one = lathe_graph_new("one"), *other = lathe_graph_new("other");
  lathe_value x = lathe_input(one, "x", "f32[2]"), y = lathe_input(other, "y", "f32[3]");
  ck_assert_int_eq(lathe_shape(other, x, NULL, NULL), -1);
  ck_assert_int_eq(lathe_shape(other, y, NULL, NULL), 1);
  lathe_output(other, "z", lathe_add(other, y, x));
  ck_assert_int_eq(lathe_check(other, &e), LATHE_E_INVALID);
  ck_assert_str_eq(e.message, "value 2 is not one of graph `other`\nhelp: values belong to the graph that made them");
  lathe_graph_free(one), lathe_graph_free(other);
}
END_TEST

static lathe_value by_hand(lathe_graph *g, lathe_value x, const lathe_form *form, size_t n_out) {
  static const int64_t fields[8] = {2, 2, 2, 2, 2, 2, 2, 2};
  lathe_value out[2] = {{9}, {9}};
  lathe_apply(g, form, fields, &x, 1, out, n_out);
  ck_assert(n_out < 2 || out[1].id == 0);
  return out[0];
}

/* What no constructor does, but a binding may. */
START_TEST(forms) {
  const lathe_attr far = {"axis", (lathe_attr_kind)40, 0}, foreign = {"axes", LATHE_ATTR_INT, 0},
                   fits = {"axis", LATHE_ATTR_INT, 8};
  REFUSED("there is no op `softmix`\nhelp: did you mean `softmax`?",
          by_hand(g, x, &(lathe_form){"softmix", 0, NULL, 0}, 1));
  REFUSED("there is no op `softmax`\nhelp: did you mean `softmax`?",
          by_hand(g, x, &(lathe_form){"softmax", 1, NULL, 0}, 1));
  REFUSED("attribute `axis` of softmax has no kind 40", by_hand(g, x, &(lathe_form){"softmax", 0, &far, 1}, 1));
  REFUSED("softmax has no attribute `axes`\nhelp: did you mean `axis`?",
          by_hand(g, x, &(lathe_form){"softmax", 0, &foreign, 1}, 1));
  REFUSED("attribute `axis` of softmax is given twice",
          by_hand(g, x, &(lathe_form){"softmax", 0, (lathe_attr[]){fits, fits}, 2}, 1));
  REFUSED("softmax has 1 result, 2 are taken", by_hand(g, x, &(lathe_form){"softmax", 0, &fits, 1}, 2));
  REFUSED("`param` is no op with operands\nhelp: inputs, params, states and constants have calls of their own",
          by_hand(g, x, &(lathe_form){"param", 0, NULL, 0}, 1));
}
END_TEST

/* The n-th allocation fails, for every n. */
START_TEST(out_of_memory) {
  for (uint64_t n = 1; n < 1000; n++) {
    lathe_error e = {0};
    uint64_t before = lt_mem_count();
    lt_mem_fail_at(n, false);
    lathe_graph *g = lathe_graph_new("n");
    lathe_value x = lathe_input(g, "x", "f32[2, 3, 8, 8]");
    x = lathe_conv2d_layer(g, x, &(lathe_conv2d_layer_attrs){.out_channels = 4, .kernel = {3}, .name = "conv"});
    lathe_output(g, "y", lathe_sum(g, x, &(lathe_sum_attrs){.axes = LATHE_INTS(1, 2)}));
    lt_mem_fail_at(0, false);
    bool failed = lt_mem_count() - before >= n;
    if (g) ck_assert_int_eq(lathe_check(g, &e), failed ? LATHE_E_NOMEM : 0);
    else ck_assert(failed);
    lathe_graph_free(g);
    ck_assert_int_eq(lt_mem_live(), 0);
    if (!failed) {
      ck_assert_uint_gt(n, 5);
      return;
    }
  }
  ck_abort_msg("it never works");
}
END_TEST

LT_SUITE(build, every_constructor, no_row_is_missing, network, numbers_at_the_end, lists, missing, wrong,
         values_of_another_graph, forms, out_of_memory)
LT_TEST_MAIN(build)
