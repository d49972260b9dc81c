/* cpp.c: the network of cpp.cpp, as each C++ standard's program has built it, is the one that C builds. */
#include "check_main.h"
#include "lathe/lathe.h"

lathe_graph *built_11(void), *built_17(void), *built_20(void), *built_23(void);

static lathe_graph *built_c(void) {
  lathe_graph *g = lathe_graph_new("n");
  lathe_value h = lathe_input(g, "x", "f32[8, 3, 32, 32]");
  for (int i = 0; i < 5; i++) h = lathe_dropout(g, h, NULL);
  h = lathe_conv2d_layer(
    g, h,
    &(lathe_conv2d_layer_attrs){
      .out_channels = 16, .kernel = {3}, .stride = {2}, .pad = {0, 0, 1, 1}, .bias = LATHE_NO, .name = "conv"});
  h = lathe_batch_norm_layer(g, h, &(lathe_batch_norm_layer_attrs){.name = "bn"});
  h = lathe_max_pool(g, h, &(lathe_max_pool_attrs){.kernel = {2}});
  h = lathe_sum(g, h, &(lathe_sum_attrs){.axes = LATHE_INTS(2, 3), .keepdims = LATHE_YES});
  h = lathe_linear_layer(g, lathe_flatten(g, h), &(lathe_linear_layer_attrs){.out = 10, .name = "fc"});
  lathe_output(g, "y", lathe_concat(g, (lathe_value[]){h, h}, 2, NULL));
  return g;
}

static char *text(lathe_graph *g) {
  lathe_error e;
  char *out = lathe_print(g, NULL, &e);
  ck_assert_msg(out != NULL, "%s", e.message);
  lathe_graph_free(g);
  return out;
}

START_TEST(standards) {
  static lathe_graph *(*const built[])(void) = {built_11, built_17, built_20, built_23};
  char *c = text(built_c()), *cpp = text(built[_i]());
  ck_assert_str_eq(cpp, c);
  lathe_free(c), lathe_free(cpp);
}
END_TEST

static Suite *cpp_suite(void) {
  Suite *s = suite_create("cpp");
  TCase *c = tcase_create("cpp");
  tcase_add_loop_test(c, standards, 0, 4);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(cpp_suite)
