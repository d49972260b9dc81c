/* safetensors.c: 8 bytes that say how long the header is, a JSON object, then the elements, little-endian
 * (https://huggingface.co/docs/safetensors).
 *
 * The header is one object of fixed depth, so the parser is this grammar and nothing else: no value is built, nothing
 * recurses, what it allocates is bounded by LT_MAX_WEIGHTS. It refuses what the reference reader refuses (holes,
 * overlaps, wrong sizes), and also keys that stand twice, fields that are not known and a header that does not begin
 * with `{`. */
#include "weights/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_HEADER = 16 << 20 };

/* In the order in which the reference writer sorts, largest last. */
typedef struct dtype { const char *name; char kind; uint8_t bits; } dtype;
static const dtype dtypes[] = {
  {"BOOL", 'b', 8}, {"F4", 0, 4},      {"F6_E2M3", 0, 6}, {"F6_E3M2", 0, 6}, {"U8", 'u', 8},
  {"I8", 'i', 8},   {"F8_E5M2", 0, 8}, {"F8_E4M3", 0, 8}, {"F8_E8M0", 0, 8}, {"I16", 'i', 16},
  {"U16", 'u', 16}, {"F16", 'f', 16},  {"BF16", 'e', 16}, {"I32", 'i', 32},  {"U32", 'u', 32},
  {"F32", 'f', 32}, {"C64", 0, 64},    {"F64", 'f', 64},  {"I64", 'i', 64},  {"U64", 'u', 64},
};

typedef struct span { uint64_t begin, end; uint32_t tensor; } span;
typedef struct reader {
  lt_weights *w;
  const unsigned char *begin, *at, *end; /* of the header */
  LT_VEC(lt_weight) tensors;
  LT_VEC(span) spans;
  lt_map keys;
} reader;

#define FAIL(r, ...) lt_weights_fail((r)->w, LATHE_E_IO, __VA_ARGS__)

/* ---- JSON: tokens ------------------------------------------------------------------------------------------------ */

static void skip_space(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) r->at++;
}

static bool take(reader *r, char c) {
  skip_space(r);
  if (r->at == r->end || *r->at != (unsigned char)c) return false;
  r->at++;
  return true;
}

LT_NORETURN static void fail_expected(reader *r, const char *what) {
  if (r->at == r->end) FAIL(r, "the header ends where %s is expected", what);
  char shown[8];
  snprintf(shown, sizeof shown, *r->at > ' ' && *r->at < 127 ? "`%c`" : "0x%02x", *r->at);
  FAIL(r, "byte %td of the header is %s where %s is expected", r->at - r->begin, shown, what);
}

static void expect(reader *r, char c) {
  const char what[] = {'`', c, '`', 0};
  if (!take(r, c)) fail_expected(r, what);
}

static unsigned take_hex(reader *r) {
  unsigned v = 0;
  for (int i = 0; i < 4; i++, r->at++) {
    int c = r->at < r->end ? *r->at : 0;
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) FAIL(r, "a string in the header has a \\u without four hexadecimal digits");
    v = v * 16 + (unsigned)digit;
  }
  return v;
}

static size_t put_utf8(char *out, unsigned c) {
  if (c < 0x80) return out[0] = (char)c, 1;
  if (c < 0x800) return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)), 2;
  if (c < 0x10000)
    return out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 63)), out[2] = (char)(0x80 | (c & 63)), 3;
  out[0] = (char)(0xf0 | c >> 18), out[1] = (char)(0x80 | (c >> 12 & 63)), out[2] = (char)(0x80 | (c >> 6 & 63));
  return out[3] = (char)(0x80 | (c & 63)), 4;
}

/* After the backslash. */
static size_t take_escape(reader *r, char *out) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  int c = r->at < r->end ? *r->at++ : 0;
  const char *plain = c ? strchr(from, c) : NULL;
  if (plain) return out[0] = to[plain - from], 1;
  if (c != 'u') FAIL(r, "a string in the header has an escape that JSON has not");
  unsigned high = take_hex(r);
  if (high < 0xd800 || high > 0xdfff) return put_utf8(out, high);
  bool pair = high < 0xdc00 && r->end - r->at >= 2 && r->at[0] == '\\' && r->at[1] == 'u';
  if (pair) r->at += 2;
  unsigned low = pair ? take_hex(r) : 0;
  if (low < 0xdc00 || low > 0xdfff) FAIL(r, "a string in the header has half a surrogate pair");
  return put_utf8(out, 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
}

/* The string's text into out, at most LT_MAX_KEY bytes and a zero; longer ones are cut off and only counted. */
static size_t take_string(reader *r, char out[LT_MAX_KEY + 1], const char *what) {
  skip_space(r);
  if (r->at == r->end || *r->at != '"') fail_expected(r, what);
  size_t n = 0;
  for (r->at++;;) {
    char piece[4];
    if (r->at == r->end) FAIL(r, "the header ends inside a string");
    unsigned char c = *r->at++;
    if (c == '"') break;
    if (c < ' ') FAIL(r, "a string in the header has a control character");
    size_t length = c == '\\' ? take_escape(r, piece) : (piece[0] = (char)c, 1);
    if (n + length <= LT_MAX_KEY) memcpy(out + n, piece, length);
    n += length;
  }
  out[LT_MIN(n, (size_t)LT_MAX_KEY)] = 0;
  return n;
}

static uint64_t take_number(reader *r, const char *key, const char *field) {
  skip_space(r);
  const unsigned char *from = r->at;
  uint64_t v = 0;
  if (r->at < r->end && *r->at == '-') FAIL(r, "tensor `%s`: a number in `%s` is negative", key, field);
  for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
    if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*r->at - '0'), &v) || v > INT64_MAX)
      FAIL(r, "tensor `%s`: a number in `%s` is past 63 bits", key, field);
  if (r->at == from) fail_expected(r, "a number");
  if (r->at < r->end && (*r->at == '.' || *r->at == 'e' || *r->at == 'E'))
    FAIL(r, "tensor `%s`: a number in `%s` is not whole", key, field);
  if (*from == '0' && r->at - from > 1) FAIL(r, "tensor `%s`: a number in `%s` begins with 0", key, field);
  return v;
}

/* ---- the header's object ----------------------------------------------------------------------------------------- */

static const dtype *take_dtype(reader *r, const char *key) {
  char text[LT_MAX_KEY + 1];
  size_t n = take_string(r, text, "a string");
  for (size_t i = 0; i < LT_COUNT(dtypes); i++)
    if (strlen(dtypes[i].name) == n && !memcmp(dtypes[i].name, text, n)) return &dtypes[i];
  FAIL(r, "tensor `%s`: dtype `%.40s` is not known", key, text);
}

/* Dims past LATHE_MAX_RANK are counted only. */
static unsigned take_shape(reader *r, const char *key, lt_elements *e, int64_t *count) {
  unsigned rank = 0;
  *count = 1;
  expect(r, '[');
  if (take(r, ']')) return 0;
  do {
    int64_t dim = (int64_t)take_number(r, key, "shape");
    if (!lt_mul_ok(count, *count, dim)) FAIL(r, "tensor `%s`: its size overflows", key);
    if (rank < LATHE_MAX_RANK) e->dim[rank] = dim;
    rank++;
  } while (take(r, ','));
  expect(r, ']');
  return rank;
}

static void take_offsets(reader *r, const char *key, span *s) {
  expect(r, '['), s->begin = take_number(r, key, "data_offsets");
  expect(r, ','), s->end = take_number(r, key, "data_offsets");
  expect(r, ']');
}

static const char *shape_text(lt_arena *a, const lt_elements *e, unsigned rank) {
  lt_str s;
  lt_str_init(&s, a);
  lt_str_puts(&s, "[");
  for (unsigned i = 0; i < LT_MIN(rank, (unsigned)LATHE_MAX_RANK); i++)
    lt_str_printf(&s, "%s%" PRId64, i ? ", " : "", e->dim[i]);
  lt_str_puts(&s, rank > LATHE_MAX_RANK ? ", …]" : "]");
  return s.at;
}

static void check_bytes(reader *r, const lt_weight *x, const dtype *t, int64_t count, unsigned rank, const span *s) {
  int64_t bits;
  if (!lt_mul_ok(&bits, count, t->bits)) FAIL(r, "tensor `%s`: its size overflows", x->key);
  if (s->end < s->begin) FAIL(r, "tensor `%s` ends before it begins", x->key);
  if (bits % 8 || s->end - s->begin != (uint64_t)bits / 8)
    FAIL(r, "tensor `%s` is %s%s, %" PRId64 " bytes, but has %" PRIu64, x->key, t->name,
         shape_text(r->w->arena, &x->array, rank), (bits + 7) / 8, s->end - s->begin);
}

static void add_tensor(reader *r, lt_weight x, const dtype *t, int64_t count, unsigned rank, span s) {
  check_bytes(r, &x, t, count, rank, &s);
  if (r->tensors.n == LT_MAX_WEIGHTS) FAIL(r, "more than %d tensors", LT_MAX_WEIGHTS);
  x.type = t->name;
  x.array.kind = t->kind, x.array.size = t->bits / 8, x.array.rank = (uint8_t)LT_MIN(rank, (unsigned)LATHE_MAX_RANK);
  lt_elements_lay(&x.array);
  if (rank > LATHE_MAX_RANK)
    x.problem =
      lt_arena_printf(r->w->arena, "`%s` has %u dimensions; at most %d are read", x.key, rank, LATHE_MAX_RANK);
  else if (!t->kind)
    x.problem = lt_arena_printf(r->w->arena,
                                "`%s` is of element type %s, which is not read\nhelp: x.float() makes it "
                                "float32",
                                x.key, t->name);
  s.tensor = r->tensors.n;
  lt_vec_push(r->w->arena, &r->tensors, x);
  lt_vec_push(r->w->arena, &r->spans, s);
}

static void take_tensor(reader *r, const char *key) {
  static const char *const fields[] = {"dtype", "shape", "data_offsets"};
  lt_weight x = {.key = key};
  const dtype *t = NULL;
  span s = {0, 0, 0};
  int64_t count = 0;
  unsigned seen = 0, rank = 0;
  expect(r, '{');
  do {
    char field[LT_MAX_KEY + 1];
    unsigned k = 0;
    size_t n = take_string(r, field, "a field's name");
    while (k < 3 && (strlen(fields[k]) != n || memcmp(fields[k], field, n))) k++;
    if (k == 3) FAIL(r, "tensor `%s` has a field `%.40s`, which is not known", key, field);
    if (seen & 1u << k) FAIL(r, "tensor `%s` has its field `%s` twice", key, field);
    seen |= 1u << k;
    expect(r, ':');
    if (k == 0) t = take_dtype(r, key);
    else if (k == 1) rank = take_shape(r, key, &x.array, &count);
    else take_offsets(r, key, &s);
  } while (take(r, ','));
  expect(r, '}');
  for (unsigned k = 0; k < 3; k++)
    if (!(seen & 1u << k)) FAIL(r, "tensor `%s` has no field `%s`", key, fields[k]);
  add_tensor(r, x, t, count, rank, s);
}

/* Text by name, for others than us: checked and passed over. */
static void take_metadata(reader *r) {
  lt_map names = {0};
  char text[LT_MAX_KEY + 1];
  expect(r, '{');
  if (take(r, '}')) return;
  do {
    const unsigned char *from = r->at;
    take_string(r, text, "a name");
    size_t n = (size_t)(r->at - from);
    if (lt_map_get(&names, (const char *)from, n, NULL)) FAIL(r, "`__metadata__` has `%.40s` twice", text);
    if (names.n == LT_MAX_WEIGHTS) FAIL(r, "`__metadata__` has more than %d entries", LT_MAX_WEIGHTS);
    lt_map_put(r->w->arena, &names, (const char *)from, n, 1);
    expect(r, ':');
    take_string(r, text, "a string");
  } while (take(r, ','));
  expect(r, '}');
}

static void take_entry(reader *r) {
  char text[LT_MAX_KEY + 1];
  size_t n = take_string(r, text, "a tensor's name");
  if (n > LT_MAX_KEY) FAIL(r, "a tensor's name is longer than %d bytes: `%.40s…`", LT_MAX_KEY, text);
  if (!lt_is_utf8(text, n)) FAIL(r, "a tensor's name is not UTF-8: `%.40s`", text);
  if (memchr(text, 0, n)) FAIL(r, "a tensor's name has a zero character: `%.40s`", text);
  if (lt_map_get(&r->keys, text, n, NULL)) FAIL(r, "`%s` stands twice in the header", text);
  const char *key = lt_arena_strndup(r->w->arena, text, n);
  lt_map_put(r->w->arena, &r->keys, key, n, 1);
  expect(r, ':');
  if (!strcmp(key, "__metadata__")) take_metadata(r);
  else take_tensor(r, key);
}

static void take_header(reader *r) {
  if (r->at == r->end || *r->at != '{') fail_expected(r, "`{`");
  expect(r, '{');
  if (!take(r, '}')) {
    do take_entry(r);
    while (take(r, ','));
    expect(r, '}');
  }
  skip_space(r);
  if (r->at != r->end) fail_expected(r, "its end");
}

/* ---- where the elements are -------------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b) {
  const span *x = a, *y = b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  return x->end < y->end ? -1 : x->end > y->end;
}

/* One after the other from the first byte to the last. */
static void place(reader *r, const unsigned char *data, uint64_t bytes) {
  uint64_t at = 0;
  const char *before = NULL;
  if (r->spans.n) qsort(r->spans.at, r->spans.n, sizeof *r->spans.at, by_place);
  for (uint32_t i = 0; i < r->spans.n; i++) {
    const span *s = &r->spans.at[i];
    lt_weight *x = &r->tensors.at[s->tensor];
    if (s->begin < at) FAIL(r, "tensors `%s` and `%s` overlap", before, x->key);
    if (s->begin > at) FAIL(r, "%" PRIu64 " bytes before tensor `%s` belong to none", s->begin - at, x->key);
    if (s->end > bytes)
      FAIL(r, "tensor `%s` ends %" PRIu64 " bytes past the end of the file (was it cut off?)", x->key, s->end - bytes);
    x->array.data = data + s->begin;
    at = s->end, before = x->key;
  }
  if (at != bytes) FAIL(r, "%" PRIu64 " bytes stand after the last tensor", bytes - at);
}

static void read_safetensors(lt_weights *w) {
  reader r = {.w = w};
  uint64_t n = 0;
  if (w->file.n < 8) FAIL(&r, "not a safetensors file (it has %zu bytes)", w->file.n);
  for (int i = 0; i < 8; i++) n |= (uint64_t)w->file.at[i] << 8 * i;
  bool begins = w->file.n > 8 && w->file.at[8] == '{';
  if (n > MAX_HEADER && !begins) FAIL(&r, "not a safetensors file (its first bytes are wrong)");
  if (n > MAX_HEADER) FAIL(&r, "the header is %" PRIu64 " bytes long, at most %d are allowed", n, MAX_HEADER);
  if (n > w->file.n - 8) FAIL(&r, "the file ends inside its header (was it cut off?)");
  r.begin = r.at = w->file.at + 8, r.end = r.at + n;
  take_header(&r);
  place(&r, r.end, w->file.n - 8 - n);
  w->at = r.tensors.at, w->n = r.tensors.n;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static unsigned rank_of(lathe_dtype t) { /* in the table */
  lt_element e = lt_element_of(t);
  unsigned i = 0;
  while (dtypes[i].kind != e.kind || dtypes[i].bits != 8 * e.size) i++;
  return i;
}

static int as_reference(const void *a, const void *b) {
  const lt_named_array *x = *(const lt_named_array *const *)a, *y = *(const lt_named_array *const *)b;
  unsigned p = rank_of(x->dtype), q = rank_of(y->dtype);
  return p != q ? (p > q ? -1 : 1) : strcmp(x->name, y->name);
}

static void put_string(lt_str *out, const char *text) {
  lt_str_puts(out, "\"");
  for (const char *p = text; *p; p++) {
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *plain = strchr(from, *p);
    if (plain) lt_str_printf(out, "\\%c", to[plain - from]);
    else if ((unsigned char)*p < ' ') lt_str_printf(out, "\\u%04x", *p);
    else lt_str_put(out, p, 1);
  }
  lt_str_puts(out, "\"");
}

static int64_t bytes_of(const lt_named_array *x) {
  int64_t n = lt_element_of(x->dtype).size;
  for (unsigned i = 0; i < x->rank; i++) n *= x->dim[i];
  return n;
}

/* As the reference writer does it: wide elements first, then by name; the elements begin at a multiple of 8. */
static void write_safetensors(lt_str *out, lt_job *job, const lt_named_array *list, size_t n) {
  const lt_named_array **sorted = LT_NEW_ARRAY(out->arena, const lt_named_array *, n + 1);
  lt_str header;
  int64_t at = 0;
  for (size_t i = 0; i < n; i++) sorted[i] = &list[i];
  qsort(sorted, n, sizeof *sorted, as_reference);
  lt_str_init(&header, out->arena);
  lt_str_puts(&header, "{");
  for (size_t i = 0; i < n; at += bytes_of(sorted[i++])) {
    if (i) lt_str_puts(&header, ",");
    put_string(&header, sorted[i]->name);
    lt_str_printf(&header, ":{\"dtype\":\"%s\",\"shape\":[", dtypes[rank_of(sorted[i]->dtype)].name);
    for (unsigned k = 0; k < sorted[i]->rank; k++)
      lt_str_printf(&header, "%s%" PRId64, k ? "," : "", sorted[i]->dim[k]);
    lt_str_printf(&header, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", at, at + bytes_of(sorted[i]));
  }
  lt_str_puts(&header, "}");
  while (header.n % 8) lt_str_puts(&header, " ");
  if (header.n > MAX_HEADER) lt_fail(job, LATHE_E_INVALID, NULL, "the names of the weights do not fit in a header");
  for (int i = 0; i < 8; i++) lt_str_put(out, &(char){(char)(header.n >> 8 * i & 255)}, 1);
  lt_str_put(out, header.at, header.n);
  for (size_t i = 0; i < n; i++) lt_str_put(out, sorted[i]->data, (size_t)bytes_of(sorted[i]));
}

const lt_weights_format lt_format_safetensors = {
  .name = "safetensors", .endings = ".safetensors", .read = read_safetensors, .write = write_safetensors};
