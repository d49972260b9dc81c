/* main.c: reads one digit, 8 lines of 8 pixels from '0' (white) to 'g' (16, black), and says which it is. */
#include "digits.h"

#include <stdio.h>

static _Alignas(DIGITS_ALIGN) unsigned char scratch[DIGITS_SCRATCH_BYTES + 1];

static int pixel(int c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'g' ? c - 'a' + 10 : -1; }

int main(void) {
  float x[DIGITS_RUN_X_COUNT], logits[DIGITS_RUN_LOGITS_COUNT];
  for (unsigned n = 0; n < DIGITS_RUN_X_COUNT;) {
    int c = getchar(), v = pixel(c);
    if (c == EOF) return fputs("expected 64 pixels, from 0 to g\n", stderr), 2;
    if (v >= 0) x[n++] = (float)v / 16;
  }
  digits_run_io io = {.x = x, .logits = logits};
  int status = digits_run(&io, NULL, scratch); /* NULL: the weights inside the object */
  if (status) return fprintf(stderr, "digits_run: %d\n", status), 1;
  unsigned best = 0;
  for (unsigned i = 1; i < DIGITS_RUN_LOGITS_COUNT; i++)
    if (logits[i] > logits[best]) best = i;
  printf("%u\n", best);
  return 0;
}
