/* npy.h: the rows of a .npy file: `python3 -m zipfile -e ../digits.npz .` leaves the digits as such files. It reads
 * what those hold: halves (2-byte floats, here without infinities) as float, bytes as int32_t. */
#ifndef NPY_H
#define NPY_H
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float npy_half(unsigned h) {
  unsigned exponent = h >> 10 & 31, fraction = h & 1023;
  float v = ldexpf((float)(exponent ? fraction | 1024 : fraction), (int)(exponent ? exponent : 1) - 25);
  return h >> 15 ? -v : v;
}

/* The file's values, to be freed; *count is how many there are. Ends the program where it cannot. */
static void *npy_load(const char *path, const char *descr, size_t *count) {
  unsigned char *file = (unsigned char *)malloc(1 << 24);
  FILE *f = fopen(path, "rb");
  size_t got = f && file ? fread(file, 1, 1 << 24, f) : 0, head = got > 10 ? 10u + file[8] + 256u * file[9] : got;
  char want[32];
  int n = snprintf(want, sizeof want, "{'descr': '%s'", descr);
  if (f) fclose(f);
  if (got < 128 || head > got || memcmp(file, "\x93NUMPY\x01", 7) || memcmp(file + 10, want, (size_t)n)) {
    fprintf(stderr, "%s: not a .npy file of %s\n", path, descr);
    exit(1);
  }
  int half = descr[1] == 'f';
  *count = (got - head) / (half ? 2 : 1);
  float *real = (float *)malloc(*count * sizeof *real);
  int32_t *whole = (int32_t *)(void *)real;
  for (size_t i = 0; real && i < *count; i++) {
    const unsigned char *at = file + head + (half ? 2 * i : i);
    if (half) real[i] = npy_half(at[0] + 256u * at[1]);
    else whole[i] = at[0];
  }
  free(file);
  return real;
}

static float *npy_floats(const char *path, size_t *count) { return (float *)npy_load(path, "<f2", count); }
static int32_t *npy_labels(const char *path, size_t *count) { return (int32_t *)npy_load(path, "|u1", count); }
#endif
