/* chapter.c: the convolution chapter's functions from C: sizes, sequences of layers, ops and layers by name; what a
 * program builds is what the text says, to the letter and to the bit. */
#include "base/base.h"
#include "check_main.h"
#include "lathe/lathe.h"

#include <stdio.h>
#include <string.h>

/* ---- pair and sizes ---------------------------------------------------------------------------------------------- */

START_TEST(pairs) {
  lathe_error e;
  int64_t out[2] = {0};
  ck_assert_int_eq(lathe_pair((const int64_t[]){3}, 1, out, &e), 0);
  ck_assert(out[0] == 3 && out[1] == 3);
  ck_assert_int_eq(lathe_pair((const int64_t[]){3, -5}, 2, out, NULL), 0);
  ck_assert(out[0] == 3 && out[1] == -5);
  for (size_t n = 0; n < 5; n++) {
    if (n == 1 || n == 2) continue;
    ck_assert_int_eq(lathe_pair((const int64_t[]){1, 2, 3, 4}, n, out, &e), LATHE_E_INVALID);
    char want[80];
    snprintf(want, sizeof want, "pair: one number or two are meant, not %zu", n);
    ck_assert_str_eq(e.message, want);
  }
  ck_assert_int_eq(lathe_pair(NULL, 1, out, NULL), LATHE_E_INVALID);
  ck_assert(out[0] == 3 && out[1] == -5);
}
END_TEST

/* By counting: places of the window, one after another. */
static int64_t count_windows(int64_t size, int64_t kernel, int64_t stride, int64_t pad) {
  int64_t n = 0;
  for (int64_t at = -pad; at + kernel <= size + pad; at += stride) n++;
  return n;
}

START_TEST(sizes) {
  for (int64_t size = 1; size < 9; size++)
    for (int64_t kernel = 1; kernel < 6; kernel++)
      for (int64_t stride = 1; stride < 4; stride++)
        for (int64_t pad = 0; pad < 3; pad++) {
          int64_t want = count_windows(size, kernel, stride, pad),
                  got = lathe_conv_outsize(size, kernel, stride, pad, NULL);
          ck_assert_int_eq(got, want ? want : LATHE_E_INVALID);
          int64_t back = lathe_deconv_outsize(size, kernel, stride, pad, NULL);
          if (back < 1) ck_assert(back == LATHE_E_INVALID && stride * (size - 1) + kernel <= 2 * pad);
          else ck_assert_int_eq(count_windows(back, kernel, stride, pad), size); /* and one less has fewer */
          if (back > 1) ck_assert_int_lt(count_windows(back - 1, kernel, stride, pad), size);
        }
}
END_TEST

typedef struct size_case { bool conv; int64_t v[4]; const char *message; } size_case;

START_TEST(size_errors) {
  static const size_case cases[] = {
    {true, {0, 1, 1, 0}, "conv_outsize: size is 0, it must be at least 1"},
    {true, {8, -3, 1, 0}, "conv_outsize: kernel is -3, it must be at least 1"},
    {true, {8, 3, 0, 0}, "conv_outsize: stride is 0, it must be at least 1"},
    {true, {8, 3, 1, -1}, "conv_outsize: pad is -1, it must be at least 0"},
    {true, {8, 11, 1, 1}, "conv_outsize: kernel 11 is larger than the padded image, 8 + 1 + 1 = 10"},
    {true,
     {8, 3, 1, INT64_MAX},
     "conv_outsize: the padded size, 8 + 9223372036854775807 + 9223372036854775807, overflows"},
    {false, {8, 3, 0, 0}, "deconv_outsize: stride is 0, it must be at least 1"},
    {false, {1, 2, 1, 1}, "deconv_outsize: nothing is left of the result: 1*(1 - 1) + 2 = 2, of which pad takes 2"},
    {false, {3, 2, INT64_MAX, 0}, "deconv_outsize: the size of the result, 9223372036854775807*(3 - 1) + 2, overflows"},
  };
  for (size_t i = 0; i < LT_COUNT(cases); i++) {
    const int64_t *v = cases[i].v;
    lathe_error e = {0};
    int64_t got = (cases[i].conv ? lathe_conv_outsize : lathe_deconv_outsize)(v[0], v[1], v[2], v[3], &e);
    ck_assert_int_eq(got, LATHE_E_INVALID);
    ck_assert_str_eq(e.message, cases[i].message);
  }
}
END_TEST

/* ---- the same network from C and from text ----------------------------------------------------------------------- */

static lathe_graph *parse(const char *text) {
  lathe_error e;
  lathe_graph *g = lathe_parse(text, strlen(text), "chapter.c", NULL, &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  return g;
}

static void check_same(lathe_graph *built, const char *text) {
  lathe_error e;
  lathe_graph *read = parse(text);
  ck_assert_msg(lathe_check(built, &e) == 0, "%s", e.message);
  char *a = lathe_print(built, NULL, &e), *b = lathe_print(read, NULL, &e);
  ck_assert_str_eq(a, b);
  lathe_free(a), lathe_free(b);
  lathe_model *m[2] = {lathe_compile(built, NULL, &e), lathe_compile(read, NULL, &e)};
  ck_assert_msg(m[0] && m[1], "%s", e.message);
  float *y[2];
  size_t bytes[2];
  lathe_instance *s[2];
  for (int i = 0; i < 2; i++) {
    s[i] = lathe_open(m[i], "--seed 5", &e);
    ck_assert_msg(s[i] != NULL, "%s", e.message);
    ck_assert_int_eq(lathe_fill(s[i], "x", 3, 0), 0);
    ck_assert_int_eq(lathe_call(s[i], "run"), 0);
    y[i] = lathe_buffer(s[i], "y", &bytes[i]);
  }
  ck_assert(y[0] && bytes[0] == bytes[1] && !memcmp(y[0], y[1], bytes[0]));
  float most = 0;
  for (size_t i = 0; i < bytes[0] / sizeof *y[0]; i++) most = y[0][i] > most ? y[0][i] : most;
  ck_assert(most > 0);
  for (int i = 0; i < 2; i++) lathe_instance_free(s[i]), lathe_model_free(m[i]);
  lathe_graph_free(read), lathe_graph_free(built);
}

START_TEST(sequences) {
  static const char *const layers[] = {"conv2d(out_channels=8, kernel=3, pad=1)",
                                       "relu",
                                       "max_pool(kernel=pair(2))",
                                       "flatten",
                                       "dropout(p=0.25)",
                                       "sequential(linear(out=6, nobias=true), tanh)",
                                       "linear(out=10, name=\"last\")"};
  lathe_graph *g = lathe_graph_new("n");
  lathe_value x = lathe_input(g, "x", "f32[2, 3, 8, 8]");
  lathe_value y = lathe_sequential(g, x, "net", layers, LT_COUNT(layers));
  lathe_output(g, "y", y);
  check_same(
    g, "network n(x: f32[2, 3, 8, 8]) -> y {"
       " y = sequential(x, conv2d(out_channels=8, kernel=3, pad=1), relu, max_pool(kernel=2), flatten, dropout(p=0.25),"
       " sequential(linear(out=6, bias=false), tanh), linear(out=10, name=\"last\"), name=\"net\") }");
}
END_TEST

START_TEST(names_in_sequences) {
  static const char *const layers[] = {"tanh", "linear(out=4)", "linear(out=4)"};
  lathe_graph *g = lathe_graph_new("n");
  lathe_value x = lathe_input(g, "x", "f32[2, 4]");
  x = lathe_sequential(g, x, NULL, layers, LT_COUNT(layers));
  x = lathe_sequential(g, x, NULL, layers, LT_COUNT(layers));
  lathe_output(g, "y", x);
  ck_assert_int_eq(lathe_check(g, NULL), 0);
  static const char *const weights[] = {
    "sequential.1.W",   "sequential.1.b",   "sequential.2.W",  "sequential.2.b", "sequential.3.1.W",
    "sequential.3.1.b", "sequential.3.2.W", "sequential.3.2.b"}; /* .0 to .2 belong to the first one's layers */
  for (size_t i = 0; i < LT_COUNT(weights); i++)
    ck_assert_msg(lathe_get(g, weights[i]).id != 0, "no weight %s", weights[i]);
  lathe_graph_free(g);
}
END_TEST

/* Everything of the chapter by name, one after another. */
START_TEST(by_name) {
  lathe_graph *g = lathe_graph_new("n");
  lathe_value x = lathe_input(g, "x", "f32[1, 3, 7, 7]"),
              W = lathe_param(g, "W", "f32[8, 3, 3, 3]", "normal(scale=0.2)");
  lathe_value h =
    lathe_op(g, "deconv2d",
             "out_channels=4, kernel=4, stride=2, pad=1, nobias=true, dtype=f32, in_channels=3, name=\"up\"", &x, 1);
  h = lathe_op(g, "pooling", "kernel_size=3, stride=2, pad=1", &h, 1);
  h = lathe_op(g, "average_pooling", "kernel=2, stride=1, pad=[0, 0, 1, 1]", &h, 1);
  h = lathe_op(g, "dropout", "p=0.5", &h, 1);
  lathe_value col = lathe_op(g, "im2col", "kernel=3, pad=1, to_matrix=false", &x, 1);
  lathe_value conv = lathe_op(g, "tensordot", "axes_a=[1, 2, 3], axes_b=[1, 2, 3]", (lathe_value[]){col, W}, 2);
  lathe_value y = lathe_op(g, "einsum", "spec=\"nchw,nhwo->nco\"", (lathe_value[]){h, conv}, 2);
  lathe_output(g, "y", y);
  check_same(g, "network n(x: f32[1, 3, 7, 7]) -> y {"
                " param W: f32[8, 3, 3, 3] = normal(scale=0.2)"
                " y = einsum(dropout(average_pooling(pooling(deconv2d(x, out_channels=4, kernel=4, stride=2, pad=1, "
                "bias=false, name=\"up\"),"
                " kernel=3, stride=2, pad=1), kernel=2, pad=[0, 0, 1, 1]), p=0.5, key=\"dropout\"),"
                " tensordot(im2col(x, kernel=3, pad=1, to_matrix=false), W, axes_a=[1, 2, 3], axes_b=[1, 2, 3]),"
                " spec=\"nchw,nhwo->nco\") }");
}
END_TEST

/* ---- what goes wrong --------------------------------------------------------------------------------------------- */

typedef struct sequence_case { const char *layers[3]; size_t n; const char *file, *message; int column; } sequence_case;

static void expect(lathe_graph *g, const char *file, int column, const char *message) {
  lathe_error e = {0};
  ck_assert_int_ne(lathe_check(g, &e), 0);
  ck_assert_str_eq(e.message, message);
  ck_assert_str_eq(e.file, file);
  ck_assert_int_eq(e.column, column);
  lathe_graph_free(g);
  ck_assert_int_eq(lt_mem_live(), 0);
}

START_TEST(sequence_errors) {
  static const sequence_case cases[] = {
    {{0}, 0, "", "sequential takes at least one op or layer\nhelp: \"linear(out=10)\", \"relu\"", 0},
    {{"relu", "convd(out_channels=3)"}, 2, "", "there is no op `convd`\nhelp: did you mean `conv2d`?", 0},
    {{"relu", "linear(out=3"},
     2,
     "layers[1]",
     "expected `,` or `)` after an argument of `linear`, found the end of the text",
     13},
    {{"relu", NULL}, 2, "layers[1]", "expected an expression, found the end of the text", 1},
    {{"relu, tanh"}, 1, "layers[0]", "expected the end of the text, found `,`", 5},
    {{"relu", "2.0"},
     2,
     "layers[1]",
     "an element of sequential is an op or a layer\nhelp: \"relu\" or a call without its operand, \"linear(out=10)\"",
     1},
    {{"linear(x, out=3)"},
     1,
     "layers[0]",
     "an element of sequential has no operands of its own here\nhelp: attributes go by name: \"linear(out=10)\"",
     8},
    {{"flatten", "linear(outs=3)"}, 2, "layers[1]", "linear has no attribute `outs`\nhelp: did you mean `out`?", 8},
    {{"sequential()"},
     1,
     "layers[0]",
     "sequential takes what the value goes through\nhelp: `sequential(linear(out=10), relu)`",
     1},
    {{"sequential(relu, p=1)"},
     1,
     "layers[0]",
     "sequential has no attribute `p`\nhelp: it has `name`; others belong to its elements",
     18},
    {{"linear(out=3)"}, 1, "", "linear `net.0`: x is f32[2, 3, 8, 8], should be [N, C]\nhelp: write `flatten(x)`", 0},
    {{"batch_norm", "conv2d(out_channels=2, kernel=11, pad=1)"},
     2,
     "",
     "conv2d `net.1`: the window is larger than the padded image: height 11 > 10 (x f32[2, 3, 8, 8], kernel [11, 11], "
     "dilation [1, 1], pad [1, 1, 1, 1])",
     0},
    {{"input"},
     1,
     "",
     "`input` is no op with operands\nhelp: inputs, params, states and constants have calls of their own",
     0},
  };
  for (size_t i = 0; i < LT_COUNT(cases); i++) {
    const sequence_case *c = &cases[i];
    lathe_graph *g = lathe_graph_new("n");
    lathe_value x = lathe_input(g, "x", "f32[2, 3, 8, 8]");
    ck_assert_uint_eq(lathe_sequential(g, x, "net", c->layers, c->n).id, 0);
    expect(g, c->file, c->column, c->message);
  }
}
END_TEST

START_TEST(other_errors) {
  lathe_graph *g = lathe_graph_new("n");
  lathe_value x = lathe_input(g, "x", "f32[2, 3, 8, 8]");
  lathe_op(g, "sequential", NULL, &x, 1);
  expect(g, "", 0, "`sequential` is no op\nhelp: call lathe_sequential");
  g = lathe_graph_new("n");
  lathe_sequential(g, (lathe_value){0}, "net", (const char *const[]){"relu"}, 1);
  expect(g, "", 0, "value 1 is none: what made it has failed, or nothing did");
  g = lathe_graph_new("n");
  x = lathe_input(g, "x", "f32[2, 3, 8, 8]");
  lathe_op(g, "conv2d", "out_channels=4, kernel=3, bias=false, nobias=false", &x, 1);
  expect(g, "", 0, "conv2d: bias=false and nobias=false contradict each other\nhelp: one of them is enough");
  ck_assert_uint_eq(lathe_sequential(NULL, x, "net", (const char *const[]){"relu"}, 1).id, 0);
}
END_TEST

LT_SUITE(chapter, pairs, sizes, size_errors, sequences, names_in_sequences, by_name, sequence_errors, other_errors)
LT_TEST_MAIN(chapter)
