/* npy.c: one array in NumPy's .npy format, versions 1 to 3 (numpy.lib.format describes it).
 *
 * Bytes → lt_npy (a checked view) → elements of the wanted type. The reader trusts nothing: the header is parsed by a
 * grammar of exactly what NumPy writes, never evaluated. */
#include "base/npy.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { NPY_MAX_HEADER = 10000 };

typedef struct reader {
  lt_job *job;
  lt_npy_where where;
  const char *at, *end; /* of the header's text */
} reader;

LT_NORETURN static void npy_fail(lt_job *job, lt_npy_where w, int status, const char *fmt, ...) LT_PRINTF(4, 5);
static void npy_fail(lt_job *job, lt_npy_where w, int status, const char *fmt, ...) {
  char text[600];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  lt_loc loc = {w.file, 0, 0};
  if (w.member) lt_fail(job, status, &loc, "array `%s`: %s", w.member, text);
  lt_fail(job, status, &loc, "%s", text);
}
#define HEADER_FAIL(r, ...) npy_fail((r)->job, (r)->where, LATHE_E_IO, __VA_ARGS__)

/* Sound, but nothing that holds numbers. */
#define KIND_FAIL(r, ...) npy_fail((r)->job, (r)->where, LATHE_E_UNSUPPORTED, __VA_ARGS__)

/* ---- the header's dictionary ------------------------------------------------------------ */

static void skip_space(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n')) r->at++;
}

static bool take(reader *r, char c) {
  skip_space(r);
  if (r->at == r->end || *r->at != c) return false;
  r->at++;
  return true;
}

static void expect(reader *r, char c) {
  if (take(r, c)) return;
  if (r->at == r->end) HEADER_FAIL(r, "the .npy header ends where `%c` is expected", c);
  unsigned char found = (unsigned char)*r->at;
  if (found < ' ' || found > '~') HEADER_FAIL(r, "the .npy header has byte 0x%02x where `%c` is expected", found, c);
  HEADER_FAIL(r, "the .npy header has `%c` where `%c` is expected", found, c);
}

/* A quoted string without escapes; returns its length. */
static size_t take_string(reader *r, const char **out) {
  skip_space(r);
  char quote = r->at < r->end && *r->at == '"' ? '"' : '\'';
  expect(r, quote);
  *out = r->at;
  while (r->at < r->end && *r->at != quote) {
    if ((unsigned char)*r->at < ' ' || *r->at == '\\')
      HEADER_FAIL(r, "the .npy header has a string with an escape or a control character");
    r->at++;
  }
  size_t n = (size_t)(r->at - *out);
  expect(r, quote);
  return n;
}

static bool take_bool(reader *r) {
  skip_space(r);
  size_t left = (size_t)(r->end - r->at);
  if (left >= 4 && !memcmp(r->at, "True", 4)) return r->at += 4, true;
  if (left >= 5 && !memcmp(r->at, "False", 5)) return r->at += 5, false;
  HEADER_FAIL(r, "`fortran_order` in the .npy header is neither True nor False");
}

static int64_t take_dim(reader *r) {
  skip_space(r);
  if (r->at == r->end || *r->at < '0' || *r->at > '9')
    HEADER_FAIL(r, "`shape` in the .npy header is not a tuple of whole numbers ≥ 0");
  int64_t v = 0;
  for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
    if (!lt_mul_ok(&v, v, 10) || !lt_add_ok(&v, v, *r->at - '0'))
      HEADER_FAIL(r, "`shape` in the .npy header has a number past 64 bits");
  return v;
}

static void take_shape(reader *r, lt_npy *out) {
  expect(r, '(');
  bool comma = true;
  while (!take(r, ')')) {
    if (!comma) expect(r, ',');
    if (out->rank == LATHE_MAX_RANK) HEADER_FAIL(r, "an array of more than %d dimensions", LATHE_MAX_RANK);
    out->dim[out->rank++] = take_dim(r);
    comma = take(r, ',');
  }
  if (out->rank == 1 && !comma)
    HEADER_FAIL(r, "`shape` in the .npy header is not a tuple (a tuple of one needs a comma)");
}

static void take_descr(reader *r, lt_npy *out) {
  skip_space(r);
  if (r->at < r->end && (*r->at == '[' || *r->at == '('))
    KIND_FAIL(r, "a structured array\nhelp: save its fields as plain arrays");
  const char *s;
  size_t n = take_string(r, &s);
  if (n >= 1 && s[n > 1] == 'O')
    KIND_FAIL(
      r, "an array of Python objects, which is never read\nhelp: save it as numbers, for example x.astype('float32')");
  int order = n == 3 ? s[0] : 0, kind = n == 3 ? s[1] : 0, size = n == 3 ? s[2] - '0' : 0;
  bool known = (kind == 'f' && (size == 2 || size == 4 || size == 8)) || (kind == 'b' && size == 1) ||
               ((kind == 'i' || kind == 'u') && (size == 1 || size == 2 || size == 4 || size == 8));
  bool ordered = order == '<' || order == '>' || order == '=' || (order == '|' && size == 1);
  if (!known || !ordered)
    KIND_FAIL(r,
              "dtype '%.*s' is not read\nhelp: floats of 2, 4 or 8 bytes, integers and bool are: x.astype('float32')",
              (int)LT_MIN(n, 40), s);
  out->kind = (char)kind, out->size = (uint8_t)size, out->big = order == '>';
}

static void parse_dict(reader *r, lt_npy *out) {
  static const char *const keys[] = {"descr", "fortran_order", "shape"};
  unsigned seen = 0;
  bool comma = true;
  expect(r, '{');
  while (!take(r, '}')) {
    if (!comma) expect(r, ',');
    const char *s;
    size_t n = take_string(r, &s);
    unsigned k = 0;
    while (k < 3 && (strlen(keys[k]) != n || memcmp(keys[k], s, n))) k++;
    if (k == 3) HEADER_FAIL(r, "unknown key '%.*s' in the .npy header", (int)LT_MIN(n, 40), s);
    if (seen & 1u << k) HEADER_FAIL(r, "key '%s' stands twice in the .npy header", keys[k]);
    seen |= 1u << k;
    expect(r, ':');
    if (k == 0) take_descr(r, out);
    else if (k == 1) out->fortran = take_bool(r);
    else take_shape(r, out);
    comma = take(r, ',');
  }
  for (unsigned k = 0; k < 3; k++)
    if (!(seen & 1u << k)) HEADER_FAIL(r, "key '%s' is missing in the .npy header", keys[k]);
  skip_space(r);
  if (r->at != r->end) HEADER_FAIL(r, "something stands after the dictionary in the .npy header");
}

static void check_size(reader *r, lt_npy *out, size_t bytes) {
  int64_t count = 1, need;
  for (unsigned i = 0; i < out->rank; i++) {
    if (out->dim[i] == 0) HEADER_FAIL(r, "dimension %u is 0; empty arrays are not read", i);
    if (!lt_mul_ok(&count, count, out->dim[i])) HEADER_FAIL(r, "the array's size overflows");
  }
  if (!lt_mul_ok(&need, count, out->size)) HEADER_FAIL(r, "the array's size overflows");
  out->count = count;
  if ((uint64_t)need > bytes)
    HEADER_FAIL(r, "the file ends early: %" PRId64 " bytes of data are needed, %zu are there", need, bytes);
  if ((uint64_t)need < bytes) HEADER_FAIL(r, "%zu bytes stand after the array's data", bytes - (size_t)need);
}

void lt_npy_parse(lt_npy *out, lt_job *job, lt_npy_where where, lt_bytes b) {
  reader r = {job, where, NULL, NULL};
  *out = (lt_npy){0};
  if (b.n < 10 || memcmp(b.at, "\x93NUMPY", 6)) HEADER_FAIL(&r, "not an .npy file (its first bytes are wrong)");
  unsigned major = b.at[6], minor = b.at[7];
  if (major < 1 || major > 3 || minor != 0)
    HEADER_FAIL(&r, ".npy version %u.%u is not known (1.0, 2.0 and 3.0 are)", major, minor);
  size_t fixed = major == 1 ? 10 : 12, length = b.at[8] | (size_t)b.at[9] << 8;
  if (b.n < fixed) HEADER_FAIL(&r, "the file ends inside its .npy header");
  if (major > 1) length |= (size_t)b.at[10] << 16 | (size_t)b.at[11] << 24;
  if (length > NPY_MAX_HEADER)
    HEADER_FAIL(&r, "the .npy header is %zu bytes long, at most %d are allowed", length, NPY_MAX_HEADER);
  if (length > b.n - fixed) HEADER_FAIL(&r, "the file ends inside its .npy header");
  r.at = (const char *)b.at + fixed, r.end = r.at + length;
  parse_dict(&r, out);
  out->data = b.at + fixed + length;
  check_size(&r, out, b.n - fixed - length);
}

/* ---- elements ------------------------------------------------------------ */

/* An element type as these files know it: the letter of its kind, its bytes, what the header calls it. */
typedef struct element { char kind; uint8_t size; const char *name, *descr; } element;

static element element_of(lathe_dtype t) {
  switch (t) {
    case LATHE_F32: return (element){'f', 4, "f32", "<f4"};
    case LATHE_F64: return (element){'f', 8, "f64", "<f8"};
    case LATHE_I32: return (element){'i', 4, "i32", "<i4"};
    case LATHE_I64: return (element){'i', 8, "i64", "<i8"};
    case LATHE_BOOL: return (element){'b', 1, "bool", "|b1"};
  }
  assert(!"an element type");
  return (element){0};
}

size_t lt_npy_dtype_size(lathe_dtype t) { return element_of(t).size; }

lathe_dtype lt_npy_natural(const lt_npy *n) {
  return n->kind == 'f' ? LATHE_F32 : n->kind == 'b' ? LATHE_BOOL : LATHE_I32;
}

const char *lt_npy_kind_name(const lt_npy *n, char out[16]) {
  if (n->kind == 'b') return "bool";
  const char *kind = n->kind == 'f' ? "float" : n->kind == 'i' ? "int" : "uint";
  snprintf(out, 16, "%s%d", kind, n->size * 8);
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
static bool int_value(int64_t *out, uint64_t bits, const lt_npy *n) {
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
static int64_t next_element(const lt_npy *n, int64_t *index, const int64_t *stride, int64_t offset) {
  for (unsigned k = n->rank; k-- > 0;) {
    offset += stride[k];
    if (++index[k] < n->dim[k]) return offset;
    offset -= stride[k] * n->dim[k];
    index[k] = 0;
  }
  return offset;
}

static void check_kind(const lt_npy *n, lt_job *job, lt_npy_where w, lathe_dtype want) {
  char text[16];
  char kind = element_of(want).kind;
  bool is_int = n->kind == 'i' || n->kind == 'u';
  if (kind == 'f' && n->kind != 'f')
    npy_fail(job, w, LATHE_E_MISMATCH, "holds %s where floats are needed\nhelp: save it with x.astype('float32')",
             lt_npy_kind_name(n, text));
  if (kind == 'i' && !is_int)
    npy_fail(job, w, LATHE_E_MISMATCH, "holds %s where integers are needed\nhelp: save it with x.astype('int32')",
             lt_npy_kind_name(n, text));
  if (kind == 'b' && n->kind != 'b')
    npy_fail(job, w, LATHE_E_MISMATCH, "holds %s where bool is needed\nhelp: save it with x.astype(bool)",
             lt_npy_kind_name(n, text));
}

/* "12" or "1, 2": an index as text. */
static const char *index_text(const lt_npy *n, const int64_t *index, char *out, size_t size) {
  size_t used = 0;
  out[0] = 0;
  for (unsigned k = 0; k < n->rank && used < size; k++)
    used += (size_t)snprintf(out + used, size - used, "%s%" PRId64, k ? ", " : "", index[k]);
  return out;
}

void lt_npy_convert(const lt_npy *n, lt_job *job, lt_npy_where w, lathe_dtype want, void *data) {
  const element to = element_of(want);
  const int64_t most = INT64_MAX >> (64 - 8 * to.size), least = -most - 1;
  check_kind(n, job, w, want);
  int64_t stride[LATHE_MAX_RANK], index[LATHE_MAX_RANK] = {0}, step = 1, offset = 0;
  for (unsigned j = 0; j < n->rank; j++) {
    unsigned k = n->fortran ? j : n->rank - 1 - j;
    stride[k] = step;
    step *= n->dim[k];
  }
  for (int64_t i = 0; i < n->count; i++) {
    uint64_t bits = load_bits(n->data + offset * n->size, n->size, n->big);
    int64_t v = 0;
    bool fits = n->kind == 'f' || int_value(&v, bits, n);
    if (to.kind == 'i') fits = fits && v >= least && v <= most;
    if (!fits) {
      char at[200];
      npy_fail(job, w, LATHE_E_MISMATCH, "element [%s] is %" PRIu64 "%s, which does not fit in %s",
               index_text(n, index, at, sizeof at), n->kind == 'i' && v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v,
               n->kind == 'i' && v < 0 ? " below zero" : "", to.name);
    }
    double f = n->kind == 'f' ? float_value(bits, n->size) : 0;
    if (want == LATHE_F32 && isfinite(f) && isinf((float)f)) {
      char at[200];
      npy_fail(job, w, LATHE_E_MISMATCH, "element [%s] is %g, which does not fit in f32",
               index_text(n, index, at, sizeof at), f);
    }
    store(data, i, want, f, v);
    offset = next_element(n, index, stride, offset);
  }
}

/* ---- writing ------------------------------------------------------------ */

/* As numpy.lib.format.write_array_header_1_0: keys in order, room to grow the first axis to 21 digits, then spaces so
 * that the data starts at a multiple of 64. */
void lt_npy_write(lt_str *out, lathe_dtype dtype, unsigned rank, const int64_t *dim, const void *data) {
  char text[512];
  int64_t count = 1;
  size_t n =
    (size_t)snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", element_of(dtype).descr);
  for (unsigned i = 0; i < rank; i++) {
    n += (size_t)snprintf(text + n, sizeof text - n, "%s%" PRId64, i ? ", " : "", dim[i]);
    count *= dim[i];
  }
  n += (size_t)snprintf(text + n, sizeof text - n, "%s), }", rank == 1 ? "," : "");
  if (rank) n += (size_t)snprintf(text + n, sizeof text - n, "%*s", 21 - snprintf(NULL, 0, "%" PRId64, dim[0]), "");
  size_t total = n + 1, pad = 64 - (10 + total) % 64, length = total + pad;
  unsigned char fixed[10] = {
    0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(length & 255), (unsigned char)(length >> 8)};
  lt_str_put(out, (const char *)fixed, sizeof fixed);
  lt_str_put(out, text, n);
  for (size_t i = 0; i < pad; i++) lt_str_put(out, " ", 1);
  lt_str_put(out, "\n", 1);
  lt_str_put(out, data, (size_t)count * lt_npy_dtype_size(dtype));
}
