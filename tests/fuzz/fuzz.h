/* fuzz.h: what a fuzz target defines; libFuzzer calls it, or replay.c. */
#ifndef LT_FUZZ_H
#define LT_FUZZ_H
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#endif
