/* chapter.c: the convolution chapter of "Deep Learning from Scratch 3" (its framework is DeZero), listing by listing,
 * through Lathe's C API. Prints the shapes that the book prints, and for what it computes whether conv2d computes the
 * same.
 *
 *   cc -std=c99 chapter.c $(pkg-config --cflags --libs lathe) -lm && ./a.out
 *
 * Shapes are known as soon as a value is made; nothing has to run for them. */
#include <lathe/lathe.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The first error sticks in its graph; at the end one check reports it. */
static void stop(const lathe_error *e) {
  fprintf(stderr, "chapter: %s\n", e->message);
  exit(1);
}

static void print_shape(const lathe_graph *g, const char *what, lathe_value v) {
  int64_t dim[LATHE_MAX_RANK];
  int rank = lathe_shape(g, v, NULL, dim);
  printf("%-14s (", what);
  for (int i = 0; i < rank; i++) printf("%s%lld", i ? ", " : "", (long long)dim[i]);
  printf(rank == 1 ? ",)\n" : ")\n");
}

static void finish(lathe_graph *g) {
  lathe_error e;
  if (lathe_check(g, &e)) stop(&e);
  lathe_graph_free(g);
}

/* Step 55: the size of what a convolution makes: (4 + 2*1 - 3) / 1 + 1 = 4. */
static void output_size(void) {
  lathe_graph *g = lathe_graph_new("output_size");
  lathe_value in[2] = {lathe_input(g, "x", "f32[1, 1, 4, 4]"), lathe_param(g, "W", "f32[1, 1, 3, 3]", "ones()")};
  lathe_value y = lathe_op(g, "conv2d", "stride=1, pad=1", in, 2);
  lathe_output(g, "y", y);
  print_shape(g, "conv 4x4", y);
  finish(g);
}

/* Step 57: im2col. A number means a pair, and the batch only adds rows. */
static void columns(void) {
  lathe_graph *g = lathe_graph_new("columns");
  lathe_value x1 = lathe_input(g, "x1", "f32[1, 3, 7, 7]"), x2 = lathe_input(g, "x2", "f32[10, 3, 7, 7]");
  lathe_value col1 = lathe_op(g, "im2col", "kernel_size=5, stride=1, pad=0, to_matrix=true", &x1, 1);
  print_shape(g, "col1.shape", col1);
  lathe_value col2 = lathe_op(g, "im2col", "kernel_size=[5, 5], stride=[1, 1], pad=[0, 0], to_matrix=true", &x2, 1);
  print_shape(g, "col2.shape", col2);
  lathe_output(g, "col1", col1);
  lathe_output(g, "col2", col2);
  finish(g);
}

/* Largest |a - b| of two outputs after one call, inputs drawn from a seed. */
static double difference(const lathe_graph *g, const char *a, const char *b) {
  lathe_error e;
  size_t bytes = 0;
  double most = 0;
  lathe_model *m = lathe_compile(g, NULL, &e);
  lathe_instance *s = m ? lathe_open(m, "--seed 1", &e) : NULL;
  if (!s) stop(&e);
  if (lathe_fill(s, "x", 2, 0) || lathe_call(s, "run")) exit(1);
  const float *p = lathe_buffer(s, a, &bytes), *q = lathe_buffer(s, b, NULL);
  for (size_t i = 0; i < bytes / sizeof *p; i++) most = fmax(most, fabs((double)p[i] - (double)q[i]));
  lathe_instance_free(s);
  lathe_model_free(m);
  return most;
}

static void agree(const lathe_graph *g, const char *what, const char *a, const char *b) {
  int same = difference(g, a, b) <= 1e-5;
  printf("%-14s %s\n", what, same ? "as conv2d" : "not as conv2d");
  if (!same) exit(1);
}

/* y, made of x and W, and its gradient gx in x are what conv2d gives. */
static void agree_with_conv2d(lathe_graph *g, lathe_value x, lathe_value W, lathe_value y, lathe_value gx) {
  lathe_value gz, z = lathe_op(g, "conv2d", "stride=1, pad=1", (lathe_value[]){x, W}, 2);
  lathe_gradients(g, &gz, &z, NULL, 1, &x, 1);
  lathe_output(g, "y", y);
  lathe_output(g, "gx", gx);
  lathe_output(g, "z", z);
  lathe_output(g, "gz", gz);
  agree(g, "y", "y", "z");
  agree(g, "x.grad", "gx", "gz");
}

/* Step 57: conv2d_simple is im2col, a linear map and two changes of shape; y.backward() starts from ones. */
static void convolution(void) {
  lathe_graph *g = lathe_graph_new("convolution");
  lathe_value x = lathe_input(g, "x", "f32[1, 5, 15, 15]"),
              W = lathe_param(g, "W", "f32[8, 5, 3, 3]", "normal(scale=1.0)"), gx;
  lathe_value y = lathe_op(g, "conv2d_simple", "stride=1, pad=1", (lathe_value[]){x, W}, 2);
  lathe_gradients(g, &gx, &y, NULL, 1, &x, 1);
  print_shape(g, "y.shape", y);
  print_shape(g, "x.grad.shape", gx);
  agree_with_conv2d(g, x, W, y, gx);
  finish(g);
}

/* Appendix: the fast convolution, six axes of windows summed over three of them with tensordot. */
static void fast_convolution(void) {
  lathe_graph *g = lathe_graph_new("fast_convolution");
  lathe_value x = lathe_input(g, "x", "f32[1, 5, 15, 15]"),
              W = lathe_param(g, "W", "f32[8, 5, 3, 3]", "normal(scale=1.0)"), gx;
  lathe_value col = lathe_op(g, "im2col", "kernel_size=3, stride=1, pad=1, to_matrix=false", &x, 1);
  print_shape(g, "col.shape", col);
  lathe_value t = lathe_op(g, "tensordot", "axes_a=[1, 2, 3], axes_b=[1, 2, 3]", (lathe_value[]){col, W}, 2);
  lathe_value y = lathe_op(g, "transpose", "perm=[0, 3, 1, 2]", &t, 1);
  lathe_gradients(g, &gx, &y, NULL, 1, &x, 1);
  agree_with_conv2d(g, x, W, y, gx);
  finish(g);
}

/* Step 57: pooling_simple, the maximum over the rows of im2col, each channel by itself. */
static void pooling(void) {
  lathe_graph *g = lathe_graph_new("pooling");
  lathe_value x = lathe_input(g, "x", "f32[1, 3, 8, 8]"), gx;
  lathe_value y = lathe_op(g, "pooling_simple", "kernel_size=2, stride=2, pad=0", &x, 1);
  lathe_gradients(g, &gx, &y, NULL, 1, &x, 1);
  print_shape(g, "pooled.shape", y);
  print_shape(g, "x.grad.shape", gx);
  lathe_output(g, "y", y);
  lathe_output(g, "gx", gx);
  finish(g);
}

/* Step 58: the layer Conv2d takes its number of input channels from what comes in. */
static void layer(void) {
  lathe_graph *g = lathe_graph_new("layer");
  lathe_value x = lathe_input(g, "x", "f32[1, 3, 224, 224]");
  lathe_value h = lathe_op(g, "conv2d", "out_channels=64, kernel_size=3, stride=1, pad=1, name=\"conv1_1\"", &x, 1);
  print_shape(g, "W.shape", lathe_get(g, "conv1_1.W"));
  print_shape(g, "b.shape", lathe_get(g, "conv1_1.b"));
  lathe_output(g, "y", h);
  print_shape(g, "y.shape", h);
  finish(g);
}

/* Layers in a row. The weights are named after the place of their layer. */
static void sequential(void) {
  static const char *const layers[] = {"conv2d(out_channels=8, kernel_size=3, pad=1)", "relu",
                                       "pooling(kernel_size=2, stride=2)", "flatten", "linear(out=10)"};
  lathe_graph *g = lathe_graph_new("sequential");
  lathe_value y =
    lathe_sequential(g, lathe_input(g, "x", "f32[1, 3, 28, 28]"), "net", layers, sizeof layers / sizeof *layers);
  print_shape(g, "net.0.W.shape", lathe_get(g, "net.0.W"));
  print_shape(g, "net.4.W.shape", lathe_get(g, "net.4.W"));
  lathe_output(g, "y", y);
  print_shape(g, "y.shape", y);
  finish(g);
}

/* Step 58: VGG's pattern, convolutions of 3x3 in pairs with a pooling after each, made small: 32x32, ten classes. */
static void vgg(void) {
  static const int channels[] = {16, 32, 64};
  char attrs[128];
  lathe_error e;
  lathe_graph *g = lathe_graph_new("vgg");
  lathe_value h = lathe_input(g, "x", "f32[1, 3, 32, 32]");
  for (int i = 0; i < 3; i++) {
    for (int k = 'a'; k <= 'b'; k++) {
      snprintf(attrs, sizeof attrs, "out_channels=%d, kernel_size=3, stride=1, pad=1, name=\"conv%d.%c\"", channels[i],
               i + 1, k);
      h = lathe_op(g, "conv2d", attrs, &h, 1);
      h = lathe_op(g, "relu", NULL, &h, 1);
    }
    h = lathe_op(g, "max_pool", "kernel_size=2, stride=2", &h, 1);
  }
  h = lathe_op(g, "flatten", NULL, &h, 1);
  h = lathe_op(g, "linear", "out=128, name=\"fc4\"", &h, 1);
  h = lathe_op(g, "relu", NULL, &h, 1);
  h = lathe_op(g, "dropout", "p=0.5", &h, 1);
  h = lathe_op(g, "linear", "out=10, name=\"fc5\"", &h, 1);
  lathe_output(g, "y", h);
  char *summary = lathe_print(g, "--format=info", &e);
  if (!summary) stop(&e);
  fputs(summary, stdout);
  lathe_free(summary);
  finish(g);
}

int main(void) {
  output_size();
  columns();
  convolution();
  fast_convolution();
  pooling();
  layer();
  sequential();
  vgg();
  return 0;
}
