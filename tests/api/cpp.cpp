/* cpp.cpp: a network as a C++ program builds it, in the two forms of docs/c-api.md: designated initializers where the
 * standard has them, else structs filled by assignments. Compiled for several standards with warnings as errors; NAME
 * is what the function is called then. */
#include "lathe/lathe.h"

extern "C" lathe_graph *NAME(void);

static lathe_value head(lathe_graph *g, lathe_value h) {
#if __cplusplus >= 202002L
  h = lathe_conv2d_layer(g, h, {.out_channels = 16, .kernel = {3}, .stride = {2}, .pad = {0, 0, 1, 1},
                                .bias = LATHE_NO, .name = "conv"});
  h = lathe_max_pool(g, lathe_batch_norm_layer(g, h, {.name = "bn"}), {.kernel = {2}});
  h = lathe_sum(g, h, {.axes = LATHE_INTS(2, 3), .keepdims = LATHE_YES});
  return lathe_linear_layer(g, lathe_flatten(g, h), {.out = 10, .name = "fc"});
#else
  lathe_conv2d_layer_attrs conv = {};
  conv.out_channels = 16, conv.kernel[0] = 3, conv.stride[0] = 2, conv.pad[2] = conv.pad[3] = 1;
  conv.bias = LATHE_NO, conv.name = "conv";
  lathe_batch_norm_layer_attrs bn = {};
  bn.name = "bn";
  lathe_max_pool_attrs pool = {};
  pool.kernel[0] = 2;
  lathe_sum_attrs sum = {};
  sum.axes = LATHE_INTS(2, 3), sum.keepdims = LATHE_YES;
  lathe_linear_layer_attrs fc = {};
  fc.out = 10, fc.name = "fc";
  h = lathe_conv2d_layer(g, h, conv);
  h = lathe_sum(g, lathe_max_pool(g, lathe_batch_norm_layer(g, h, bn), pool), sum);
  return lathe_linear_layer(g, lathe_flatten(g, h), fc);
#endif
}

/* What is left out: a null pointer, no pointer, nothing, a struct of zeros. */
static lathe_value drop(lathe_graph *g, lathe_value h) {
  const lathe_dropout_attrs zeros = {};
  h = lathe_dropout(g, lathe_dropout(g, h, NULL), nullptr);
  return lathe_dropout(g, lathe_dropout(g, lathe_dropout(g, h, {}), zeros), &zeros);
}

lathe_graph *NAME(void) {
  lathe_graph *g = lathe_graph_new("n");
  lathe_value x = lathe_input(g, "x", "f32[8, 3, 32, 32]");
  lathe_value h = head(g, drop(g, x)), parts[] = {h, h};
  lathe_output(g, "y", lathe_concat(g, parts, 2, lathe_concat_attrs()));
  return g;
}
