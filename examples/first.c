/* The README's first program: a network built in C, compiled and called. */
#include <lathe/lathe.h>
#include <stdio.h>

int main(void) {
  lathe_error e;
  lathe_graph *g = lathe_graph_new("net");
  lathe_value h = lathe_input(g, "x", "f32[1, 1, 28, 28]");
  lathe_conv2d_layer_attrs conv = {.out_channels = 8, .kernel = {3}, .pad = {1}, .name = "conv"};
  h = lathe_conv2d_layer(g, h, &conv);
  h = lathe_flatten(g, lathe_max_pool(g, lathe_relu(g, h), &(lathe_max_pool_attrs){.kernel = {2}}));
  lathe_output(g, "y", lathe_linear_layer(g, h, &(lathe_linear_layer_attrs){.out = 10, .name = "fc"}));
  lathe_model *m = lathe_compile(g, "", &e); /* any mistake above is reported here */
  lathe_instance *s = m ? lathe_open(m, "--seed 1 --threads 2", &e) : NULL;
  if (!s) return fprintf(stderr, "%s\n", e.message), 1;
  lathe_fill(s, "x", 7, 0);
  lathe_call(s, "run"); /* allocates nothing */
  const float *y = lathe_buffer(s, "y", NULL);
  for (int i = 0; i < 10; i++) printf("%g%c", y[i], i < 9 ? ' ' : '\n');
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
  return 0;
}
