/* crc.c: the checksum of ZIP: the remainder of a polynomial over two divided by x^32 + x^26 + … + 1, bits of a byte
 * from the lowest on, the first 32 bits and the result inverted.
 *
 * A large piece is folded: with a processor that multiplies such polynomials, 64 bytes become a remainder of the same
 * value 64 bytes further on, by two products with x^n mod P each (Gopal, Ozturk, Guilford and others, Fast CRC
 * Computation for Generic Polynomials Using PCLMULQDQ, Intel 2009). Sixteen bytes are left at the end, which go the
 * plain way. */
#include "base/zip.h"

#ifdef LT_HAVE_ZLIB
#include <zlib.h>
#endif
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define FOLDS 1
#else
#define FOLDS 0
#endif

static const uint32_t P = 0xedb88320u; /* without x^32; bit 31 is x^0 */

static uint32_t times_x(uint32_t r) { return r & 1 ? P ^ r >> 1 : r >> 1; }

/* Nothing is inverted here. */
static uint32_t plain(uint32_t crc, const unsigned char *p, size_t n) {
#ifdef LT_HAVE_ZLIB
  crc = ~crc;
  for (size_t part; n; p += part, n -= part)
    part = LT_MIN(n, (size_t)1 << 30), crc = (uint32_t)crc32(crc, p, (uInt)part);
  return ~crc;
#else
  uint32_t table[256];
  for (uint32_t i = 0; i < 256; i++) {
    table[i] = i;
    for (int k = 0; k < 8; k++) table[i] = times_x(table[i]);
  }
  for (size_t i = 0; i < n; i++) crc = table[(crc ^ p[i]) & 255] ^ crc >> 8;
  return crc;
#endif
}

#if FOLDS
enum { FOLD = 64, LEAST = 1024 };
#define FOLDING __attribute__((target("pclmul,sse2")))

/* x^n mod P, one place further on: the product of two mirrored polynomials is one bit short. */
static int64_t power(int n) {
  uint32_t r = 0x80000000u;
  while (n--) r = times_x(r);
  return (int64_t)((uint64_t)r << 1);
}

/* What multiplies the first and the last eight of sixteen bytes that move on by `bits`. */
FOLDING static __m128i powers(int bits) { return _mm_set_epi64x(power(bits - 32), power(bits + 32)); }

FOLDING static __m128i move_on(__m128i v, __m128i by, __m128i onto) {
  __m128i first = _mm_clmulepi64_si128(v, by, 0x00), last = _mm_clmulepi64_si128(v, by, 0x11);
  return _mm_xor_si128(onto, _mm_xor_si128(first, last));
}

FOLDING static __m128i load(const unsigned char *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }

/* n is a multiple of FOLD, and not 0. */
FOLDING static uint32_t folded(uint32_t crc, const unsigned char *p, size_t n) {
  const __m128i far = powers(8 * FOLD), near = powers(128);
  unsigned char rest[16];
  __m128i v[4];
  for (int i = 0; i < 4; i++) v[i] = load(p + 16 * i);
  v[0] = _mm_xor_si128(v[0], _mm_cvtsi32_si128((int)crc));
  for (size_t at = FOLD; at < n; at += FOLD)
    for (int i = 0; i < 4; i++) v[i] = move_on(v[i], far, load(p + at + 16 * (size_t)i));
  for (int i = 1; i < 4; i++) v[0] = move_on(v[0], near, v[i]);
  _mm_storeu_si128((__m128i *)(void *)rest, v[0]);
  return plain(0, rest, sizeof rest);
}
#endif

uint32_t lt_crc32(const unsigned char *p, size_t n) {
  uint32_t crc = UINT32_MAX;
#if FOLDS
  if (n >= LEAST && __builtin_cpu_supports("pclmul")) {
    size_t whole = n / FOLD * FOLD;
    crc = folded(crc, p, whole);
    p += whole, n -= whole;
  }
#endif
  return ~plain(crc, p, n);
}
