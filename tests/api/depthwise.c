/* depthwise.c: tiles of depthwise convolutions and their gradients keep their sums in registers. */
#include "../check_main.h"
#include "../spills.h"

#include <lathe/lathe.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct network { int size, stride; const char *entry; } network;

static void look_at(const network *q, const char *cpu, int *loops) {
  char text[256], options[64];
  lathe_error e = {0};
  snprintf(text, sizeof text,
           "network dw(x: f32[1, 32, %d, %d]) -> y { y = conv2d(x, out_channels=32, kernel=3, stride=%d, pad=1, "
           "groups=32, bias=false) }",
           q->size, q->size, q->stride);
  snprintf(options, sizeof options, "--cpu %s --entry %s", cpu, q->entry);
  lathe_graph *g = lathe_parse(text, strlen(text), "depthwise.c", NULL, &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  lathe_model *m = lathe_compile(g, options, &e);
  ck_assert_msg(m != NULL, "%s", e.message);
  char *code = lathe_model_report(m, "asm", &e);
  ck_assert_msg(code != NULL, "%s", e.message);
  int n = spills_in(code, "kernel", "fmadd", loops);
  ck_assert_msg(n == 0, "%d vectors spilled: %s of %d, stride %d, on %s", n, q->entry, q->size, q->stride, cpu);
  free(code);
  lathe_model_free(m);
  lathe_graph_free(g);
}

/* Input gradients of stride 2 are not tiles of several phases yet: they are not here. */
START_TEST(sums_stay_in_registers) {
#if defined(__x86_64__)
  static const network of[] = {{112, 1, "run"}, {28, 1, "run"}, {14, 1, "run"},   {7, 1, "run"},   {56, 2, "run"},
                               {28, 2, "run"},  {14, 2, "run"}, {112, 1, "grad"}, {28, 1, "grad"}, {7, 1, "grad"}};
  static const char *const cpus[] = {"x86-64-v3", "x86-64-v4"};
  for (int c = 0; c < 2; c++) {
    int loops = 0;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) look_at(&of[i], cpus[c], &loops);
    ck_assert_int_gt(loops, 0);
  }
#else
  LT_SKIP("needs x86-64: the stack's names in assembly");
#endif
}
END_TEST

LT_SUITE(depthwise, sums_stay_in_registers)
LT_TEST_MAIN(depthwise)
