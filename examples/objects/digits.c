/* The README's program around an object. */
#include "digits.h"
#include <stdio.h>

static _Alignas(DIGITS_ALIGN) unsigned char scratch[DIGITS_SCRATCH_BYTES];

int main(void) {
  float x[DIGITS_RUN_X_COUNT] = {0}, logits[DIGITS_RUN_LOGITS_COUNT];
  digits_run_io io = {.x = x, .logits = logits};
  if (digits_run(&io, NULL, scratch)) return 1; /* NULL: the weights inside the object */
  for (unsigned i = 0; i < DIGITS_RUN_LOGITS_COUNT; i++) printf("%g%c", logits[i], i < 9 ? ' ' : '\n');
  return 0;
}
