/* elements.c: elements of arrays in files → elements of the wanted type, row-major.
 *
 * What cannot hold a value is an error that names the element, never a wrong value: floats that overflow, integers that
 * do not fit, kinds that do not go together. */
#include "base/elements.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define LITTLE_ENDIAN_HERE (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

/* ---- elements ------------------------------------------------------------ */

void lt_array_fail(lt_job *job, lt_array_where w, int status, const char *fmt, ...) {
  char text[600];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  lt_loc loc = {w.file, 0, 0};
  if (w.member) lt_fail(job, status, &loc, "array `%s`: %s", w.member, text);
  lt_fail(job, status, &loc, "%s", text);
}

lt_element lt_element_of(lathe_dtype t) {
  switch (t) {
    case LATHE_F32: return (lt_element){'f', 4, "f32", "<f4"};
    case LATHE_F64: return (lt_element){'f', 8, "f64", "<f8"};
    case LATHE_I32: return (lt_element){'i', 4, "i32", "<i4"};
    case LATHE_I64: return (lt_element){'i', 8, "i64", "<i8"};
    case LATHE_BOOL: return (lt_element){'b', 1, "bool", "|b1"};
  }
  assert(!"an element type");
  return (lt_element){0};
}

static bool is_real(const lt_elements *n) { return n->kind == 'f' || n->kind == 'e'; }

lathe_dtype lt_elements_natural(const lt_elements *n) {
  return is_real(n) ? LATHE_F32 : n->kind == 'b' ? LATHE_BOOL : LATHE_I32;
}

bool lt_elements_fit(const lt_elements *n, lathe_dtype want) {
  char kind = lt_element_of(want).kind;
  return kind == 'f' ? is_real(n) : kind == 'i' ? n->kind == 'i' || n->kind == 'u' : n->kind == kind;
}

const char *lt_elements_kind(const lt_elements *n, char out[16]) {
  if (n->kind == 'b') return "bool";
  const char *kind = n->kind == 'f' ? "float" : n->kind == 'e' ? "bfloat" : n->kind == 'i' ? "int" : "uint";
  snprintf(out, 16, "%s%d", kind, n->size * 8);
  return out;
}

bool lt_elements_lay(lt_elements *n) {
  n->count = 1;
  for (unsigned k = n->rank; k-- > 0;) {
    n->stride[k] = n->count;
    if (!lt_mul_ok(&n->count, n->count, n->dim[k])) return false;
  }
  return true;
}

lt_elements lt_elements_turn(const lt_elements *n, unsigned rank, const uint8_t *perm) {
  lt_elements out = *n;
  assert(rank == n->rank);
  for (unsigned k = 0; k < rank; k++) out.dim[k] = n->dim[perm[k]], out.stride[k] = n->stride[perm[k]];
  return out;
}

static uint64_t load_bits(const unsigned char *p, unsigned size, bool big) {
  uint64_t v = 0;
  for (unsigned i = 0; i < size; i++) v |= (uint64_t)p[big ? size - 1 - i : i] << 8 * i;
  return v;
}

static double half_value(uint64_t h) {
  int exponent = (int)(h >> 10 & 31), fraction = (int)(h & 1023);
  double v = exponent == 31  ? (fraction ? (double)NAN : (double)INFINITY)
             : exponent == 0 ? ldexp(fraction, -24)
                             : ldexp(fraction + 1024, exponent - 25);
  return h >> 15 ? -v : v;
}

static double float_value(uint64_t bits, unsigned size) {
  if (size == 2) return half_value(bits);
  float f;
  double d;
  uint32_t low = (uint32_t)bits;
  memcpy(&f, &low, sizeof f), memcpy(&d, &bits, sizeof d);
  return size == 4 ? (double)f : d;
}

/* The integer's value; false when it does not fit in 64 signed bits. */
static bool int_value(int64_t *out, uint64_t bits, const lt_elements *n) {
  unsigned shift = 64 - 8u * n->size;
  *out = n->kind == 'i' ? (int64_t)(bits << shift) >> shift : (int64_t)bits;
  return n->kind == 'i' || *out >= 0;
}

static void store(void *data, int64_t i, lathe_dtype want, double f, int64_t v) {
  switch (want) {
    case LATHE_F32: ((float *)data)[i] = (float)f; break;
    case LATHE_F64: ((double *)data)[i] = f; break;
    case LATHE_I32: ((int32_t *)data)[i] = (int32_t)v; break;
    case LATHE_I64: ((int64_t *)data)[i] = v; break;
    case LATHE_BOOL: ((uint8_t *)data)[i] = v != 0; break;
  }
}

/* Advance the row-major index and with it the offset (in elements) of the same element in the file. */
static int64_t next_element(const lt_elements *n, int64_t *index, const int64_t *stride, int64_t offset) {
  for (unsigned k = n->rank; k-- > 0;) {
    offset += stride[k];
    if (++index[k] < n->dim[k]) return offset;
    offset -= stride[k] * n->dim[k];
    index[k] = 0;
  }
  return offset;
}

static void check_kind(const lt_elements *n, lt_job *job, lt_array_where w, lathe_dtype want) {
  char text[16], kind = lt_element_of(want).kind;
  if (lt_elements_fit(n, want)) return;
  const char *holds = lt_elements_kind(n, text);
  if (kind == 'f')
    lt_array_fail(job, w, LATHE_E_MISMATCH, "holds %s where floats are needed\nhelp: save it with x.astype('float32')",
                  holds);
  if (kind == 'i')
    lt_array_fail(job, w, LATHE_E_MISMATCH, "holds %s where integers are needed\nhelp: save it with x.astype('int32')",
                  holds);
  lt_array_fail(job, w, LATHE_E_MISMATCH, "holds %s where bool is needed\nhelp: save it with x.astype(bool)", holds);
}

/* "12" or "1, 2": an index as text. */
static const char *index_text(const lt_elements *n, const int64_t *index, char *out, size_t size) {
  size_t used = 0;
  out[0] = 0;
  for (unsigned k = 0; k < n->rank && used < size; k++)
    used += (size_t)snprintf(out + used, size - used, "%s%" PRId64, k ? ", " : "", index[k]);
  return out;
}

LT_NORETURN static void fail_element(const lt_elements *n, lt_job *job, lt_array_where w, const int64_t *index,
                                     int64_t v, double f, const char *type) {
  char at[200];
  index_text(n, index, at, sizeof at);
  if (is_real(n)) lt_array_fail(job, w, LATHE_E_MISMATCH, "element [%s] is %g, which does not fit in %s", at, f, type);
  bool negative = n->kind == 'i' && v < 0;
  lt_array_fail(job, w, LATHE_E_MISMATCH, "element [%s] is %" PRIu64 "%s, which does not fit in %s", at,
                negative ? (uint64_t)0 - (uint64_t)v : (uint64_t)v, negative ? " below zero" : "", type);
}

/* The same elements in the same order with fewer axes: neighbours that are one walk become one. */
static lt_elements merged(const lt_elements *n) {
  lt_elements out = *n;
  out.rank = 0;
  for (unsigned k = 0; k < n->rank; k++) {
    unsigned last = out.rank - 1u;
    if (n->dim[k] == 1) continue;
    if (out.rank && out.stride[last] == n->dim[k] * n->stride[k]) {
      out.dim[last] *= n->dim[k], out.stride[last] = n->stride[k];
      continue;
    }
    out.dim[out.rank] = n->dim[k], out.stride[out.rank++] = n->stride[k];
  }
  return out;
}

bool lt_elements_are(const lt_elements *n, lathe_dtype want) {
  const lt_element to = lt_element_of(want);
  const lt_elements walk = merged(n);
  bool ordered = !walk.rank || (walk.rank == 1 && walk.stride[0] == 1);
  return ordered && n->kind == to.kind && n->size == to.size && n->kind != 'b' && !n->big && LITTLE_ENDIAN_HERE;
}

/* Elements that are ours already, but for the order of their axes. Loads do not depend on alignment. */
static void copy_floats(const lt_elements *n, float *to) {
  int64_t index[LATHE_MAX_RANK] = {0}, offset = 0;
  if (n->rank == 0) {
    memcpy(to, n->data, sizeof *to);
    return;
  }
  int64_t inner = n->dim[n->rank - 1], step = n->stride[n->rank - 1];
  lt_elements outer = *n;
  outer.rank--;
  for (int64_t i = 0; i < n->count; i += inner) {
    const unsigned char *p = n->data + offset * 4;
    if (step == 1) memcpy(to + i, p, (size_t)inner * 4);
    else
      for (int64_t k = 0; k < inner; k++) memcpy(to + i + k, p + k * step * 4, 4);
    offset = next_element(&outer, index, outer.stride, offset);
  }
}

void lt_elements_convert(const lt_elements *n, lt_job *job, lt_array_where w, lathe_dtype want, void *data) {
  const lt_element to = lt_element_of(want);
  const int64_t most = INT64_MAX >> (64 - 8 * to.size), least = -most - 1;
  check_kind(n, job, w, want);
  if (want == LATHE_F32 && n->kind == 'f' && n->size == 4 && !n->big && LITTLE_ENDIAN_HERE) {
    const lt_elements walk = merged(n);
    copy_floats(&walk, data);
    return;
  }
  int64_t index[LATHE_MAX_RANK] = {0}, offset = 0;
  for (int64_t i = 0; i < n->count; i++) {
    uint64_t bits = load_bits(n->data + offset * n->size, n->size, n->big);
    int64_t v = 0;
    bool fits = is_real(n) || int_value(&v, bits, n);
    if (to.kind == 'i') fits = fits && v >= least && v <= most;
    double f = n->kind == 'f' ? float_value(bits, n->size) : n->kind == 'e' ? float_value(bits << 16, 4) : 0;
    fits = fits && !(want == LATHE_F32 && isfinite(f) && isinf((float)f));
    if (!fits) fail_element(n, job, w, index, v, f, to.name);
    store(data, i, want, f, v);
    offset = next_element(n, index, n->stride, offset);
  }
}
