/* random.c: counter-based random numbers. A number is a function of (seed, stream, counter) alone, so neither threads
 * nor order change it, and the same integer operations give the same bits in C, in generated code, on every machine.
 *
 * The function is SplitMix64's finaliser (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014)
 * over a Weyl sequence that starts at a place mixed from seed and stream:
 *     key = mix(mix(seed + G) ^ stream),   u32 = mix(key + G * (counter + 1)) >> 32,   G = 0x9E3779B97F4A7C15
 * Normal numbers use Box and Muller's transform with our own log and cosine in plain double arithmetic (no fused
 * operations: the build says -ffp-contract=off), because those of two C libraries differ in the last bit. */
#include "ir/ir.h"

#include <math.h>

static const uint64_t G = 0x9E3779B97F4A7C15u;

static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

uint64_t lt_random_stream(const char *name) { return lt_hash(name, strlen(name), 0); }

uint32_t lt_random_u32(uint64_t seed, uint64_t stream, uint64_t counter) {
  uint64_t key = mix(mix(seed + G) ^ stream);
  return (uint32_t)(mix(key + G * (counter + 1)) >> 32);
}

float lt_random_unit(uint64_t seed, uint64_t stream, uint64_t counter) {
  return (float)(lt_random_u32(seed, stream, counter) >> 8) * 0x1p-24f;
}

/* log x = e log 2 + 2 atanh((m - 1) / (m + 1)) with m in [sqrt 1/2, sqrt 2): the series to t^21, below 1e-17. */
static double natural_log(double x) {
  int e;
  double m = frexp(x, &e);
  if (m < 0.70710678118654752440) m *= 2, e--;
  double t = (m - 1) / (m + 1), t2 = t * t, sum = 0;
  for (int k = 21; k >= 1; k -= 2) sum = sum * t2 + 1.0 / k;
  return e * 0.69314718055994530942 + 2 * t * sum;
}

/* cos(2 pi v) for v in [0, 1): the nearest multiple of a quarter, then Taylor's series on [-pi/4, pi/4]. */
static double cosine_of_turn(double v) {
  int quarter = (int)(v * 4 + 0.5);
  double x = (v - quarter * 0.25) * 6.28318530717958647693, x2 = x * x, c = 1, s = 1;
  for (int k = 16; k >= 2; k -= 2) c = 1 - c * x2 / (k * (k - 1)), s = 1 - s * x2 / (k * (k + 1));
  s *= x;
  switch (quarter & 3) {
  case 0: return c;
  case 1: return -s;
  case 2: return -c;
  default: return s;
  }
}

static double normal(uint64_t seed, uint64_t stream, uint64_t counter) {
  double u = (lt_random_u32(seed, stream, 2 * counter) + 1.0) * 0x1p-32; /* (0, 1] */
  double v = lt_random_u32(seed, stream, 2 * counter + 1) * 0x1p-32;
  return sqrt(-2 * natural_log(u)) * cosine_of_turn(v);
}

float lt_random_normal(uint64_t seed, uint64_t stream, uint64_t counter) {
  return (float)normal(seed, stream, counter);
}

static double init_value(const lt_init *init, uint64_t seed, uint64_t stream, int64_t i) {
  switch ((lt_init_kind)init->kind) {
  case LT_INIT_ZEROS: return 0;
  case LT_INIT_ONES: return 1;
  case LT_INIT_NORMAL: return init->a * (double)lt_random_normal(seed, stream, (uint64_t)i);
  case LT_INIT_UNIFORM: return init->a + (init->b - init->a) * (double)lt_random_unit(seed, stream, (uint64_t)i);
  case LT_INIT_LITERAL: return lt_data_at(init->literal, i);
  }
  assert(!"an initial value");
  return 0;
}

static void store(void *data, lt_dtype t, int64_t i, double v) {
  switch (t) {
  case LT_F32: ((float *)data)[i] = (float)v; break;
  case LT_F64: ((double *)data)[i] = v; break;
  case LT_I32: ((int32_t *)data)[i] = (int32_t)v; break;
  case LT_I64: ((int64_t *)data)[i] = (int64_t)v; break;
  case LT_BOOL: ((unsigned char *)data)[i] = v != 0; break;
  case LT_DTYPES: break;
  }
}

void lt_init_fill(const lt_init *init, const lt_type *t, const char *name, uint64_t seed, void *data) {
  if (init->kind == LT_INIT_LITERAL) {
    lt_data_write(init->literal, data); /* an i64 literal may not fit a double */
    return;
  }
  uint64_t stream = lt_random_stream(name);
  int64_t n = lt_type_count(t);
  for (int64_t i = 0; i < n; i++) store(data, t->dtype, i, init_value(init, seed, stream, i));
}
