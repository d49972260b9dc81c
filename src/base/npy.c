/* npy.c: one array in NumPy's .npy format, versions 1 to 3 (numpy.lib.format describes it).
 *
 * Bytes → lt_elements, a checked view. The reader trusts nothing: the header is parsed by a
 * grammar of exactly what NumPy writes, never evaluated. */
#include "base/npy.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { NPY_MAX_HEADER = 10000 };

typedef struct reader {
  lt_job *job;
  lt_array_where where;
  const char *at, *end; /* of the header's text */
  bool fortran;         /* first axis fastest */
} reader;

#define HEADER_FAIL(r, ...) lt_array_fail((r)->job, (r)->where, LATHE_E_IO, __VA_ARGS__)

/* Sound, but nothing that holds numbers. */
#define KIND_FAIL(r, ...) lt_array_fail((r)->job, (r)->where, LATHE_E_UNSUPPORTED, __VA_ARGS__)

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

static void take_shape(reader *r, lt_elements *out) {
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

static void take_descr(reader *r, lt_elements *out) {
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

static void parse_dict(reader *r, lt_elements *out) {
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
    else if (k == 1) r->fortran = take_bool(r);
    else take_shape(r, out);
    comma = take(r, ',');
  }
  for (unsigned k = 0; k < 3; k++)
    if (!(seen & 1u << k)) HEADER_FAIL(r, "key '%s' is missing in the .npy header", keys[k]);
  skip_space(r);
  if (r->at != r->end) HEADER_FAIL(r, "something stands after the dictionary in the .npy header");
}

static void lay_out(reader *r, lt_elements *out) {
  for (unsigned i = 0; i < out->rank; i++)
    if (out->dim[i] == 0) HEADER_FAIL(r, "dimension %u is 0; empty arrays are not read", i);
  if (!lt_elements_lay(out)) HEADER_FAIL(r, "the array's size overflows");
  int64_t step = 1;
  for (unsigned i = 0; r->fortran && i < out->rank; step *= out->dim[i++]) out->stride[i] = step;
}

static void check_size(reader *r, const lt_elements *out, size_t bytes) {
  int64_t need;
  if (!lt_mul_ok(&need, out->count, out->size)) HEADER_FAIL(r, "the array's size overflows");
  if ((uint64_t)need > bytes)
    HEADER_FAIL(r, "the file ends early: %" PRId64 " bytes of data are needed, %zu are there", need, bytes);
  if ((uint64_t)need < bytes) HEADER_FAIL(r, "%zu bytes stand after the array's data", bytes - (size_t)need);
}

void lt_npy_parse(lt_elements *out, lt_job *job, lt_array_where where, lt_bytes b) {
  reader r = {.job = job, .where = where};
  *out = (lt_elements){0};
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
  lay_out(&r, out);
  check_size(&r, out, b.n - fixed - length);
}

/* ---- writing ------------------------------------------------------------ */

/* As numpy.lib.format.write_array_header_1_0: keys in order, room to grow the first axis to 21 digits, then spaces so
 * that the data starts at a multiple of 64. */
void lt_npy_write(lt_str *out, lathe_dtype dtype, unsigned rank, const int64_t *dim, const void *data) {
  char text[512];
  int64_t count = 1;
  size_t n = (size_t)snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                              lt_element_of(dtype).descr);
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
  lt_str_put(out, data, (size_t)count * lt_element_of(dtype).size);
}
