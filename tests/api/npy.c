/* .npy and .npz: what is read, what is written byte for byte, and the message of every kind of bad file. */
#include "base/npy.h"
#include "check_main.h"

#include <math.h>
#include <stdio.h>

typedef struct npy_case {
  const char *name, *header, *message; /* header: the dictionary; data: 24 zero bytes unless `data` says otherwise */
  int data, version, length;           /* length: what the length field says, -1: the truth */
} npy_case;

#define GOOD "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
static const npy_case bad_npy[] = {
  {"version", GOOD, ".npy version 4.0 is not known (1.0, 2.0 and 3.0 are)", 24, 4, -1},
  {"header cut", GOOD, "the file ends inside its .npy header", 0, 1, 200},
  {"header long", GOOD, "the .npy header is 10001 bytes long, at most 10000 are allowed", 24, 1, 10001},
  {"data short", GOOD, "the file ends early: 24 bytes of data are needed, 20 are there", 20, 1, -1},
  {"data long", GOOD, "4 bytes stand after the array's data", 28, 1, -1},
  {"no dict", "hello", "the .npy header has `h` where `{` is expected", 24, 1, -1},
  {"empty header", "", "the .npy header ends where `{` is expected", 24, 1, -1},
  {"object", "{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }",
   "an array of Python objects, which is never read\nhelp: save it as numbers, for example x.astype('float32')", 24, 1,
   -1},
  {"struct", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }",
   "a structured array\nhelp: save its fields as plain arrays", 24, 1, -1},
  {"complex", "{'descr': '<c8', 'fortran_order': False, 'shape': (2, 3), }",
   "dtype '<c8' is not read\nhelp: floats of 2, 4 or 8 bytes, integers and bool are: x.astype('float32')", 24, 1, -1},
  {"f16 bytes", "{'descr': '<f16', 'fortran_order': False, 'shape': (2, 3), }",
   "dtype '<f16' is not read\nhelp: floats of 2, 4 or 8 bytes, integers and bool are: x.astype('float32')", 24, 1, -1},
  {"order", "{'descr': '!f4', 'fortran_order': False, 'shape': (2, 3), }",
   "dtype '!f4' is not read\nhelp: floats of 2, 4 or 8 bytes, integers and bool are: x.astype('float32')", 24, 1, -1},
  {"no order", "{'descr': '|f4', 'fortran_order': False, 'shape': (2, 3), }",
   "dtype '|f4' is not read\nhelp: floats of 2, 4 or 8 bytes, integers and bool are: x.astype('float32')", 24, 1, -1},
  {"key unknown", "{'descr': '<f4', 'order': False, 'shape': (2, 3), }", "unknown key 'order' in the .npy header", 24,
   1, -1},
  {"key twice", "{'descr': '<f4', 'descr': '<f4', 'shape': (2, 3), }", "key 'descr' stands twice in the .npy header",
   24, 1, -1},
  {"key missing", "{'descr': '<f4', 'shape': (2, 3), }", "key 'fortran_order' is missing in the .npy header", 24, 1,
   -1},
  {"bool", "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3), }",
   "`fortran_order` in the .npy header is neither True nor False", 24, 1, -1},
  {"shape list", "{'descr': '<f4', 'fortran_order': False, 'shape': [2, 3], }",
   "the .npy header has `[` where `(` is expected", 24, 1, -1},
  {"shape negative", "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }",
   "`shape` in the .npy header is not a tuple of whole numbers ≥ 0", 24, 1, -1},
  {"shape number", "{'descr': '<f4', 'fortran_order': False, 'shape': (6), }",
   "`shape` in the .npy header is not a tuple (a tuple of one needs a comma)", 24, 1, -1},
  {"shape zero", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 0), }",
   "dimension 1 is 0; empty arrays are not read", 0, 1, -1},
  {"shape huge", "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 8), }",
   "the array's size overflows", 24, 1, -1},
  {"shape huge bytes", "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,), }",
   "the array's size overflows", 24, 1, -1},
  {"shape past 64 bits", "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
   "`shape` in the .npy header has a number past 64 bits", 24, 1, -1},
  {"rank", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }",
   "an array of more than 8 dimensions", 24, 1, -1},
  {"tail", GOOD " x", "something stands after the dictionary in the .npy header", 24, 1, -1},
  {"escape", "{'de\\x73cr': '<f4'}", "the .npy header has a string with an escape or a control character", 24, 1, -1},
  {"unclosed string", "{'descr", "the .npy header ends where `'` is expected", 24, 1, -1},
  {"no comma", "{'descr': '<f4' 'fortran_order': False}", "the .npy header has `'` where `,` is expected", 24, 1, -1},
  {"control", "{\001", "the .npy header has byte 0x01 where `'` is expected", 24, 1, -1},
};

static unsigned char file_bytes[4096];

static lt_bytes make_npy(const char *header, int version, int length, int data) {
  size_t n = strlen(header), at = version == 1 || version == 4 ? 10 : 12;
  size_t field = length < 0 ? n : (size_t)length;
  memset(file_bytes, 0, sizeof file_bytes);
  memcpy(file_bytes, "\x93NUMPY", 6);
  file_bytes[6] = (unsigned char)version, file_bytes[8] = field & 255, file_bytes[9] = (unsigned char)(field >> 8);
  memcpy(file_bytes + at, header, n);
  return (lt_bytes){file_bytes, at + n + (size_t)data};
}

typedef struct parse_args {
  lt_bytes bytes;
  lathe_dtype want;
  void *out;
  lt_elements npy;
} parse_args;

static void parse_body(lt_job *job, void *arg) {
  parse_args *p = arg;
  lt_array_where w = {"a.npy", NULL};
  lt_npy_parse(&p->npy, job, w, p->bytes);
  if (p->out) lt_elements_convert(&p->npy, job, w, p->want, p->out);
}

START_TEST(bad_headers) {
  const npy_case *c = &bad_npy[_i];
  lathe_error e;
  parse_args p = {.bytes = make_npy(c->header, c->version, c->length, c->data)};
  int status = lt_protect(&e, parse_body, &p);
  ck_assert_msg(status == LATHE_E_IO || status == LATHE_E_UNSUPPORTED, "%s: status %d", c->name, status);
  ck_assert_msg(!strcmp(e.message, c->message), "%s: \"%s\" instead of \"%s\"", c->name, e.message, c->message);
  ck_assert_str_eq(e.file, "a.npy");
}
END_TEST

START_TEST(not_npy) {
  lathe_error e;
  parse_args p = {.bytes = {(const unsigned char *)"PK\003\004..........", 14}};
  ck_assert_int_eq(lt_protect(&e, parse_body, &p), LATHE_E_IO);
  ck_assert_str_eq(e.message, "not an .npy file (its first bytes are wrong)");
}
END_TEST

/* Values in every dtype and both byte orders; each row gives the raw bytes of two elements. */
typedef struct value_case {
  const char *descr;
  unsigned char raw[16];
  lathe_dtype want;
  double a, b;
} value_case;
static const value_case values[] = {
  {"<f4", {0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}, LATHE_F32, 1, -2},
  {">f4", {0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0}, LATHE_F32, 1, -2},
  {"<f8", {0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0x40}, LATHE_F32, 1.5, 2},
  {">f8", {0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0}, LATHE_F64, 1.5, 2},
  {"<f2", {0x00, 0x3c, 0x01, 0x00}, LATHE_F32, 1, 5.9604644775390625e-8},
  {">f2", {0xfb, 0xff, 0x35, 0x55}, LATHE_F32, -65504, 0.333251953125},
  {"|i1", {0xff, 0x7f}, LATHE_I32, -1, 127},
  {"|u1", {0xff, 0x00}, LATHE_I32, 255, 0},
  {"<i2", {0x00, 0x80, 0x01, 0x00}, LATHE_I64, -32768, 1},
  {">u2", {0xff, 0xfe, 0x00, 0x01}, LATHE_I32, 65534, 1},
  {"<u4", {0xff, 0xff, 0xff, 0x7f, 2, 0, 0, 0}, LATHE_I32, 2147483647, 2},
  {"<u4", {0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0}, LATHE_I64, 4294967295.0, 2},
  {">i8", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0, 0, 0, 0, 9}, LATHE_I32, -2, 9},
  {"=i4", {7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, LATHE_I32, 7, -1},
  {"|b1", {1, 0}, LATHE_BOOL, 1, 0},
};

static double value_at(const void *data, lathe_dtype t, int i) {
  switch (t) {
    case LATHE_F32: return ((const float *)data)[i];
    case LATHE_F64: return ((const double *)data)[i];
    case LATHE_I32: return ((const int32_t *)data)[i];
    case LATHE_I64: return (double)((const int64_t *)data)[i];
  default: return ((const uint8_t *)data)[i];
  }
}

START_TEST(dtypes) {
  const value_case *c = &values[_i];
  char header[100];
  double out[2];
  int size = c->descr[2] - '0';
  snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }", c->descr);
  parse_args p = {.bytes = make_npy(header, 2, -1, 2 * size), .want = c->want, .out = out};
  memcpy(file_bytes + 12 + strlen(header), c->raw, 2 * (size_t)size);
  lathe_error e;
  ck_assert_msg(lt_protect(&e, parse_body, &p) == 0, "%s: %s", c->descr, e.message);
  ck_assert_msg(value_at(out, c->want, 0) == c->a && value_at(out, c->want, 1) == c->b, "%s: %.17g %.17g", c->descr,
                value_at(out, c->want, 0), value_at(out, c->want, 1));
}
END_TEST

typedef struct misfit {
  const char *descr;
  lathe_dtype want;
  const char *message;
} misfit;
static const misfit misfits[] = {
  {"<f4", LATHE_I32, "holds float32 where integers are needed\nhelp: save it with x.astype('int32')"},
  {"|u1", LATHE_F32, "holds uint8 where floats are needed\nhelp: save it with x.astype('float32')"},
  {"|b1", LATHE_I32, "holds bool where integers are needed\nhelp: save it with x.astype('int32')"},
  {"<i8", LATHE_BOOL, "holds int64 where bool is needed\nhelp: save it with x.astype(bool)"},
  {"<i8", LATHE_I32, "element [1, 1] is 1099511627776, which does not fit in i32"}, /* set in the test */
};

START_TEST(kinds_that_do_not_fit) {
  const misfit *c = &misfits[_i];
  char header[100], out[64];
  snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (2, 3), }", c->descr);
  parse_args p = {.bytes = make_npy(header, 1, -1, 6 * (c->descr[2] - '0')), .want = c->want, .out = out};
  lathe_error e;
  if (c->want == LATHE_I32) file_bytes[10 + strlen(header) + 4 * 8 + 5] = 1; /* element [1, 1] = 2^40 in i8 */
  ck_assert_int_eq(lt_protect(&e, parse_body, &p), LATHE_E_MISMATCH);
  ck_assert_str_eq(e.message, c->message);
}
END_TEST

START_TEST(fortran_order) {
  const char *header = "{'descr': '|i1', 'fortran_order': True, 'shape': (2, 3), }";
  int32_t out[6];
  parse_args p = {.bytes = make_npy(header, 3, -1, 6), .want = LATHE_I32, .out = out};
  for (int i = 0; i < 6; i++) file_bytes[12 + strlen(header) + (size_t)i] = (unsigned char)i;
  ck_assert_int_eq(lt_protect(NULL, parse_body, &p), 0);
  const int32_t expected[6] = {0, 2, 4, 1, 3, 5};
  ck_assert_mem_eq(out, expected, sizeof out);
}
END_TEST

/* ---- archives: built by the writer, then damaged ---- */

typedef struct archive {
  unsigned char *at;
  size_t n;
} archive;
static const float weights[6] = {1, 2, 3, 4, 5, 6};
static const int64_t dims[2] = {2, 3};

static void build_body(lt_job *job, void *arg) {
  archive *out = arg;
  lt_named_array item[2] = {{"fc.W", LATHE_F32, 2, dims, weights}, {"fc.b", LATHE_F32, 1, dims + 1, weights}};
  lt_str s;
  lt_str_init(&s, lt_arena_new(job));
  lt_npz_write(&s, job, item, 2);
  out->at = malloc(s.n + 64);
  out->n = s.n;
  memcpy(out->at, s.at, s.n);
}

static archive build(void) {
  archive a;
  ck_assert_int_eq(lt_protect(NULL, build_body, &a), 0);
  return a;
}

typedef struct read_args {
  archive a;
  float out[6];
  uint32_t n;
} read_args;

static void read_body(lt_job *job, void *arg) {
  read_args *r = arg;
  lt_npz npz;
  lt_npz_parse(&npz, job, lt_arena_new(job), "w.npz", (lt_bytes){r->a.at, r->a.n}, 1 << 20);
  r->n = npz.n;
  for (uint32_t i = 0; i < npz.n && npz.at[i].npy.count <= 6; i++)
    lt_elements_convert(&npz.at[i].npy, job, (lt_array_where){"w.npz", npz.at[i].name}, LATHE_F32, r->out);
}

START_TEST(archive_round_trip) {
  read_args r = {.a = build()};
  lathe_error e;
  ck_assert_msg(lt_protect(&e, read_body, &r) == 0, "%s", e.message);
  ck_assert_uint_eq(r.n, 2);
  ck_assert_mem_eq(r.out, weights, 3 * sizeof(float));
  for (size_t at = 0; at + 6 < r.a.n; at++) /* the data of each array starts at a multiple of 64 */
    if (!memcmp(r.a.at + at, "\x93NUMPY", 6)) ck_assert_uint_eq(at % 64, 0);
  free(r.a.at);
}
END_TEST

/* Offsets of the records in the archive that build() makes, found by their signatures. */
static size_t record(const archive *a, uint32_t signature, int which) {
  for (size_t at = 0; at + 4 <= a->n; at++) {
    uint32_t v;
    memcpy(&v, a->at + at, 4);
    if (v == signature && which-- == 0) return at;
  }
  ck_abort_msg("record %08x is not there", signature);
  return 0;
}

static uint32_t crc32_of(const unsigned char *p, size_t n) { /* as in ZIP, bit by bit */
  uint32_t c = ~0u;
  for (size_t i = 0; i < n; i++) {
    c ^= p[i];
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
  }
  return ~c;
}

/* The first array becomes one of objects or strings, which is in nobody's way but who asks for it. */
static const struct { const char *descr, *says; } no_numbers[] = {
  {"'|O' ", "an array of Python objects, which is never read"},
  {"'<U1'", "dtype '<U1' is not read"},
  {"'|S4'", "dtype '|S4' is not read"},
};
static void make_objects(archive *a, const char *as) {
  size_t local = record(a, 0x04034b50, 0), central = record(a, 0x02014b50, 0), at = local;
  uint32_t size;
  while (memcmp(a->at + at, "\x93NUMPY", 6)) at++;
  memcpy(&size, a->at + local + 22, 4);
  unsigned char *descr = a->at + at;
  while (memcmp(descr, "'<f4'", 5)) descr++;
  memcpy(descr, as, 5);
  uint32_t crc = crc32_of(a->at + at, size);
  memcpy(a->at + local + 14, &crc, 4), memcpy(a->at + central + 16, &crc, 4);
}

static void read_objects(lt_job *job, void *arg) {
  read_args *r = arg;
  lt_npz npz;
  lt_npz_parse(&npz, job, lt_arena_new(job), "w.npz", (lt_bytes){r->a.at, r->a.n}, 1 << 20);
  ck_assert_uint_eq(npz.n, 2);
  ck_assert_ptr_null(npz.at[1].problem);
  ck_assert_int_gt(npz.at[1].npy.count, 0);
  lt_npz_fail_member(job, "w.npz", &npz.at[0]);
}

START_TEST(objects_block_only_themselves) {
  read_args r = {.a = build()};
  lathe_error e;
  make_objects(&r.a, no_numbers[_i].descr);
  ck_assert_int_eq(lt_protect(&e, read_objects, &r), LATHE_E_UNSUPPORTED);
  ck_assert_msg(strstr(e.message, no_numbers[_i].says) != NULL, "%s", e.message);
  free(r.a.at);
}
END_TEST

static const unsigned char large[] = {0, 0, 0, 0, 0, 0, 0xf0, 0x4f}; /* 2^256 */

static void convert_large(lt_job *job, void *arg) {
  lt_elements n = {.kind = 'f', .size = 8, .rank = 1, .dim = {1}, .stride = {1}, .count = 1, .data = large};
  double wide;
  lt_elements_convert(&n, job, (lt_array_where){"x.npy", NULL}, LATHE_F64, &wide);
  ck_assert(wide == 0x1p256);
  lt_elements_convert(&n, job, (lt_array_where){"x.npy", NULL}, LATHE_F32, arg);
}

START_TEST(floats_that_do_not_fit) {
  lathe_error e;
  float f;
  ck_assert_int_eq(lt_protect(&e, convert_large, &f), LATHE_E_MISMATCH);
  ck_assert_str_eq(e.message, "element [0] is 1.15792e+77, which does not fit in f32");
}
END_TEST

typedef struct damage {
  const char *name, *message;
  uint32_t signature;
  int which, offset, value, cut; /* set byte `offset` of the record to `value`; drop `cut` bytes from the end */
} damage;
enum { LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50 };
static const damage damages[] = {
  {"first bytes", "not an .npz archive (its first bytes are wrong)", LOCAL, 0, 0, 0, 0},
  {"cut", "a damaged .npz archive (it has no end record; was it cut off?)", LOCAL, 0, 4, 20, 10},
  {"parts", "an archive in several parts is not read", END, 0, 4, 1, 0},
  {"directory", "a damaged .npz archive (its directory is not where its end record says)", END, 0, 12, 1, 0},
  {"entries more", "a damaged .npz archive (its directory is cut short)", END, 0, 10, 3, 0},
  {"entries less", "a damaged .npz archive (its directory holds more than its end record says)", END, 0, 10, 1, 0},
  {"central signature", "a damaged .npz archive (its directory is cut short)", CENTRAL, 1, 0, 0, 0},
  {"central name", "a damaged .npz archive (its directory is cut short)", CENTRAL, 1, 29, 0x40, 0},
  {"zero in a name", "a damaged .npz archive (an array's name is empty, too long or has a zero byte)", CENTRAL, 0, 46,
   0, 0},
  {"encrypted", "array `fc.W.npy` is encrypted", CENTRAL, 0, 8, 1, 0},
  {"method", "array `fc.W.npy` is packed with method 14; only stored and deflated ones are read", CENTRAL, 0, 10, 14,
   0},
  {"method local", "a damaged .npz archive (the two headers of `fc.W.npy` disagree)", LOCAL, 0, 8, 8, 0},
  {"name local", "a damaged .npz archive (the two headers of `fc.b.npy` disagree)", LOCAL, 1, 30, 'g', 0},
  {"start", "a damaged .npz archive (`fc.W.npy` starts past its end)", CENTRAL, 0, 43, 9, 0},
  {"packed size", "a damaged .npz archive (`fc.W.npy` ends past its end)", CENTRAL, 0, 21, 9, 0},
  {"stored size", "a damaged .npz archive (the sizes of `fc.W.npy` disagree)", CENTRAL, 0, 24, 9, 0},
  {"claim", "the archive unpacks to more than the memory limit", CENTRAL, 0, 0, 0, -1}, /* both sizes; see below */
  {"checksum", "the checksum of array `fc.b` is wrong: the file is damaged", CENTRAL, 1, 16, 0, 0},
  {"twice", "array `fc.W` stands twice in the archive", LOCAL, 1, 33, 'W', -2},
  {"suffix", "`fc.b.npz` in the archive is not an array (its name does not end in .npy)", LOCAL, 1, 37, 'z', -3},
};

START_TEST(damaged_archives) {
  const damage *d = &damages[_i];
  read_args r = {.a = build()};
  size_t at = record(&r.a, d->signature, d->which);
  if (d->cut == -1) { /* an archive that claims a megabyte of zeros more than allowed, with the bytes to back it */
    size_t big = 2 << 20, central = record(&r.a, CENTRAL, 1), shift = big;
    unsigned char *more = calloc(1, r.a.n + big);
    size_t first = record(&r.a, CENTRAL, 0);
    memcpy(more, r.a.at, first), memcpy(more + first + shift, r.a.at + first, r.a.n - first);
    size_t c1 = central + shift, end = record(&r.a, END, 0) + shift;
    uint32_t size, dir;
    memcpy(&size, more + c1 + 20, 4), memcpy(&dir, more + end + 16, 4);
    size += (uint32_t)big, dir += (uint32_t)big;
    memcpy(more + c1 + 20, &size, 4), memcpy(more + c1 + 24, &size, 4), memcpy(more + end + 16, &dir, 4);
    free(r.a.at);
    r.a = (archive){more, r.a.n + big};
  } else {
    r.a.at[at + (size_t)d->offset] = (unsigned char)d->value;
  }
  if (d->cut == -2) r.a.at[record(&r.a, CENTRAL, 1) + 46 + 3] = 'W';
  if (d->cut == -3) r.a.at[record(&r.a, CENTRAL, 1) + 46 + 7] = 'z';
  if (d->cut > 0) r.a.n -= (size_t)d->cut;
  lathe_error e;
  ck_assert_msg(lt_protect(&e, read_body, &r) == LATHE_E_IO, "%s: accepted", d->name);
  ck_assert_msg(!strcmp(e.message, d->message), "%s: \"%s\" instead of \"%s\"", d->name, e.message, d->message);
  ck_assert_str_eq(e.file, "w.npz");
  free(r.a.at);
}
END_TEST

/* What numpy 2.4 writes for np.array([[1, 2, 3], [4, 5, 6]], 'float32'). */
START_TEST(written_as_numpy) {
  lathe_array a = {.dtype = LATHE_F32, .rank = 2, .dim = {2, 3}, .data = (void *)(uintptr_t)weights};
  char path[] = "/tmp/lathe-npy-XXXXXX", text[512];
  lathe_error e;
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  ck_assert_msg(lathe_npy_save(&a, path, &e) == 0, "%s", e.message);
  FILE *f = fopen(path, "rb");
  size_t n = fread(text, 1, sizeof text, f);
  fclose(f);
  ck_assert_uint_eq(n, 128 + 24);
  ck_assert_mem_eq(text, "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 69);
  for (int i = 69; i < 127; i++) ck_assert_int_eq(text[i], ' ');
  ck_assert_int_eq(text[127], '\n');
  lathe_array b;
  ck_assert_msg(lathe_npy_load(&b, path, -1, &e) == 0, "%s", e.message);
  ck_assert(b.rank == 2 && b.dim[0] == 2 && b.dim[1] == 3 && b.dtype == LATHE_F32);
  ck_assert_mem_eq(b.data, weights, sizeof weights);
  lathe_free(b.data);
  ck_assert_int_eq(lathe_npy_load(&b, path, LATHE_BOOL + 1, &e), LATHE_E_INVALID);
  ck_assert_str_eq(e.message, "there is no element type 5");
  remove(path);
}
END_TEST

START_TEST(no_such_file) {
  lathe_array a;
  lathe_error e;
  ck_assert_int_eq(lathe_npy_load(&a, "/nonexistent/x.npy", -1, &e), LATHE_E_IO);
  ck_assert_str_eq(e.message, "cannot read /nonexistent/x.npy: No such file or directory");
  ck_assert_ptr_null(a.data);
}
END_TEST

static Suite *npy_suite(void) {
  Suite *s = suite_create("npy");
  TCase *c = tcase_create("npy");
  tcase_add_loop_test(c, bad_headers, 0, LT_COUNT(bad_npy));
  tcase_add_loop_test(c, dtypes, 0, LT_COUNT(values));
  tcase_add_loop_test(c, kinds_that_do_not_fit, 0, LT_COUNT(misfits));
  tcase_add_loop_test(c, damaged_archives, 0, LT_COUNT(damages));
  tcase_add_test(c, not_npy);
  tcase_add_test(c, fortran_order);
  tcase_add_test(c, archive_round_trip);
  tcase_add_loop_test(c, objects_block_only_themselves, 0, sizeof no_numbers / sizeof *no_numbers);
  tcase_add_test(c, floats_that_do_not_fit);
  tcase_add_test(c, written_as_numpy);
  tcase_add_test(c, no_such_file);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(npy_suite)
