/* Files of weights: what is read, what is written byte for byte, and the message of every kind of bad file. The
 * matching of names and layouts is tests/api/match.c. */
#include "check_main.h"
#include "weights/pickle.h"

#include <stdio.h>
#include <time.h>

/* ---- reading bytes ----------------------------------------------------------------------------------------------- */

typedef struct parse {
  const lt_weights_format *format;
  lt_bytes in;
  void (*look)(lt_weights *w); /* NULL: nothing */
} parse;

/* Storages "0", "1" … of the pickles below: 24 bytes each. */
static bool find_storage(lt_weights *w, const char *key, uint64_t *bytes, uint32_t *member) {
  *bytes = 24, *member = 0;
  return key[0] >= '0' && key[0] <= '9';
}

static void parse_body(lt_job *job, void *arg) {
  parse *p = arg;
  lt_weights w = {0};
  lt_arena *a = lt_arena_new(job);
  if (p->format) {
    lt_weights_parse(&w, job, a, p->format, "w", p->in);
  } else {
    w = (lt_weights){.job = job, .arena = a, .path = "w"};
    lt_torch_take(&w, p->in, find_storage);
  }
  if (p->look) p->look(&w);
}

static int parse_bytes(const lt_weights_format *format, const void *at, size_t n, lathe_error *e,
                       void (*look)(lt_weights *)) {
  void *exact = malloc(n ? n : 1); /* reading past the end is seen */
  memcpy(exact, at, n);
  int status = lt_protect(e, parse_body, &(parse){format, {exact, n}, look});
  free(exact);
  return status;
}

static unsigned char file[1 << 12];

static size_t safetensors(const char *header, size_t n, size_t data) {
  memset(file, 0, sizeof file);
  file[0] = n & 255, file[1] = (unsigned char)(n >> 8);
  memcpy(file + 8, header, n);
  return 8 + n + data;
}

/* ---- safetensors ------------------------------------------------------------------------------------------------- */

typedef struct bad_header { const char *header; int data; const char *message; } bad_header;
#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"
#define T(dtype, shape, offsets) "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
static const bad_header bad_headers[] = {
  {"", 8, "the header ends where `{` is expected"},
  {"[]", 0, "byte 0 of the header is `[` where `{` is expected"},
  {" {" A "}", 8, "byte 0 of the header is 0x20 where `{` is expected"},
  {"{" A, 8, "the header ends where `}` is expected"},
  {"{" A "}x", 8, "byte 54 of the header is `x` where its end is expected"},
  {"{" A ",}", 8, "byte 54 of the header is `}` where a tensor's name is expected"},
  {"{" A "," A "}", 8, "`a` stands twice in the header"},
  {"{" A ",\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}", 16,
   "`a` stands twice in the header"},
  {"{a:1}", 0, "byte 1 of the header is `a` where a tensor's name is expected"},
  {"{\"a\" 1}", 0, "byte 5 of the header is `1` where `:` is expected"},
  {"{\"a\":1}", 0, "byte 5 of the header is `1` where `{` is expected"},
  {"{\"a\":{}}", 0, "byte 6 of the header is `}` where a field's name is expected"},
  {"{\"a\":[[[[[[[[]]]]]]]]}", 0, "byte 5 of the header is `[` where `{` is expected"},
  {"{\"a\":{\"dtype\":\"F32\"}}", 0, "tensor `a` has no field `shape`"},
  {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "tensor `a` has no field `dtype`"},
  {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "tensor `a` has no field `data_offsets`"},
  {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 8, "tensor `a` has its field `dtype` twice"},
  {"{\"a\":{\"type\":\"F32\"}}", 8, "tensor `a` has a field `type`, which is not known"},
  {"{\"a\":{\"dtype\\u0000\":\"F32\"}}", 8, "tensor `a` has a field `dtype`, which is not known"},
  {T("\"F33\"", "[2]", "[0,8]"), 8, "tensor `a`: dtype `F33` is not known"},
  {T("1", "[2]", "[0,8]"), 8, "byte 14 of the header is `1` where a string is expected"},
  {T("\"F32\"", "2", "[0,8]"), 8, "byte 28 of the header is `2` where `[` is expected"},
  {T("\"F32\"", "[-2]", "[0,8]"), 8, "tensor `a`: a number in `shape` is negative"},
  {T("\"F32\"", "[2.0]", "[0,8]"), 8, "tensor `a`: a number in `shape` is not whole"},
  {T("\"F32\"", "[2e0]", "[0,8]"), 8, "tensor `a`: a number in `shape` is not whole"},
  {T("\"F32\"", "[02]", "[0,8]"), 8, "tensor `a`: a number in `shape` begins with 0"},
  {T("\"F32\"", "[2,]", "[0,8]"), 8, "byte 31 of the header is `]` where a number is expected"},
  {T("\"F32\"", "[9223372036854775808]", "[0,8]"), 8, "tensor `a`: a number in `shape` is past 63 bits"},
  {T("\"F32\"", "[99999999999999999999999]", "[0,8]"), 8, "tensor `a`: a number in `shape` is past 63 bits"},
  {T("\"F32\"", "[4294967296,4294967296]", "[0,8]"), 8, "tensor `a`: its size overflows"},
  {T("\"F32\"", "[2305843009213693952]", "[0,8]"), 8, "tensor `a`: its size overflows"},
  {T("\"F32\"", "[2]", "[0]"), 8, "byte 49 of the header is `]` where `,` is expected"},
  {T("\"F32\"", "[2]", "[0,8,9]"), 8, "byte 51 of the header is `,` where `]` is expected"},
  {T("\"F32\"", "[2]", "[0,4]"), 4, "tensor `a` is F32[2], 8 bytes, but has 4"},
  {T("\"F32\"", "[]", "[0,8]"), 8, "tensor `a` is F32[], 4 bytes, but has 8"},
  {T("\"F4\"", "[3]", "[0,1]"), 1, "tensor `a` is F4[3], 2 bytes, but has 1"},
  {T("\"F32\"", "[2]", "[8,0]"), 8, "tensor `a` ends before it begins"},
  {T("\"F32\"", "[2]", "[4,12]"), 12, "4 bytes before tensor `a` belong to none"},
  {T("\"F32\"", "[2]", "[0,8]"), 9, "1 bytes stand after the last tensor"},
  {T("\"F32\"", "[2]", "[0,8]"), 7, "tensor `a` ends 1 bytes past the end of the file (was it cut off?)"},
  {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "tensors `a` and `b` overlap"},
  {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "tensors `a` and `b` overlap"},
  {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[9,17]}}", 17,
   "1 bytes before tensor `b` belong to none"},
  {"{}", 1, "1 bytes stand after the last tensor"},
  {"{\"a", 0, "the header ends inside a string"},
  {"{\"a\\", 0, "a string in the header has an escape that JSON has not"},
  {"{\"a\\x\"", 0, "a string in the header has an escape that JSON has not"},
  {"{\"\\u12g4\"", 0, "a string in the header has a \\u without four hexadecimal digits"},
  {"{\"\\ud800\"", 0, "a string in the header has half a surrogate pair"},
  {"{\"\\ud800\\u0041\"", 0, "a string in the header has half a surrogate pair"},
  {"{\"\\udc00\"", 0, "a string in the header has half a surrogate pair"},
  {"{\"\n\"", 0, "a string in the header has a control character"},
  {"{\"\xff\":", 0, "a tensor's name is not UTF-8: `\\xff`"},
  {"{\"\xed\xa0\x80\":", 0, "a tensor's name is not UTF-8: `\\xed\\xa0\\x80`"},
  {"{\"\xc0\x80\":", 0, "a tensor's name is not UTF-8: `\\xc0\\x80`"},
  {"{\"a\\u0000b\":", 0, "a tensor's name has a zero character: `a`"},
  {"{\"__metadata__\":1}", 0, "byte 16 of the header is `1` where `{` is expected"},
  {"{\"__metadata__\":{\"a\":1}}", 0, "byte 21 of the header is `1` where a string is expected"},
  {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "`__metadata__` has `a` twice"},
  {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "`__metadata__` stands twice in the header"},
};

static void expect_message(const char *what, int status, const lathe_error *e, const char *message) {
  ck_assert_msg(status == LATHE_E_IO || status == LATHE_E_UNSUPPORTED, "%s: status %d", what, status);
  ck_assert_msg(!strcmp(e->message, message), "%s: \"%s\" instead of \"%s\"", what, e->message, message);
  ck_assert_str_eq(e->file, "w");
}

START_TEST(broken_headers) {
  const bad_header *c = &bad_headers[_i];
  lathe_error e;
  size_t n = safetensors(c->header, strlen(c->header), (size_t)c->data);
  expect_message(c->header, parse_bytes(&lt_format_safetensors, file, n, &e, NULL), &e, c->message);
}
END_TEST

static void look_at_good(lt_weights *w) {
  static const struct { const char *key, *text; } expected[] = { {"a", "float32[2]"},
               {"\"\\/\t\xc3\xa9\xf0\x9f\x98\x80", "int8[]"},
               {"none", "float16[0, 3]"},
               {"f8", "F8_E4M3[2]"},
               {"b", "bfloat16[1]"},
               {"t", "bool[1]"},
               {"nine", "uint8[1, 1, 1, 1, 1, 1, 1, 1]"}};
  ck_assert_uint_eq(w->n, LT_COUNT(expected));
  for (uint32_t i = 0; i < w->n; i++) {
    ck_assert_str_eq(w->at[i].key, expected[i].key);
    ck_assert_str_eq(lt_weight_text(w->arena, &w->at[i]), expected[i].text);
  }
  ck_assert_ptr_eq(w->at[0].array.data, w->file.at + w->file.n - 15);
  lt_weights_fetch(w, &w->at[6]); /* fails */
}

START_TEST(good_header) {
  static const char header[] =
    "{\"__metadata__\":{\"format\":\"pt\"}, " A ",\"\\\"\\\\\\/\\t\xc3\xa9\\ud83d\\ude00\":{\"data_offsets\":[8,9],"
    "\"dtype\":\"I8\",\"shape\":[]},\"none\":{\"dtype\":\"F16\",\"shape\":[0,3],\"data_offsets\":[9,9]},"
    "\"f8\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[9,11]},"
    "\"b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[11,13]},"
    "\"t\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[13,14]},"
    "\"nine\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[14,15]}}   ";
  lathe_error e;
  size_t n = safetensors(header, sizeof header - 1, 15);
  int status = parse_bytes(&lt_format_safetensors, file, n, &e, look_at_good);
  expect_message("nine", status, &e, "`nine` has 9 dimensions; at most 8 are read");
}
END_TEST

START_TEST(broken_beginnings) {
  static const struct { const char *at; size_t n; const char *message; } cases[] = {
    {"", 0, "not a safetensors file (it has 0 bytes)"},
    {"1234567", 7, "not a safetensors file (it has 7 bytes)"},
    {"not a file of tensors", 21, "not a safetensors file (its first bytes are wrong)"},
    {"\1\0\0\1\0\0\0\0{}", 10, "the header is 16777217 bytes long, at most 16777216 are allowed"},
    {"\xff\xff\xff\xff\xff\xff\xff\xff{}", 10,
     "the header is 18446744073709551615 bytes long, at most 16777216 are allowed"},
    {"\3\0\0\0\0\0\0\0{}", 10, "the file ends inside its header (was it cut off?)"},
  };
  for (size_t i = 0; i < LT_COUNT(cases); i++) {
    lathe_error e;
    int status = parse_bytes(&lt_format_safetensors, cases[i].at, cases[i].n, &e, NULL);
    expect_message("beginning", status, &e, cases[i].message);
  }
}
END_TEST

/* ---- pickles ----------------------------------------------------------------------------------------------------- */

#define TEXT(n, s) "X" n "\0\0\0" s
#define DICT0 "ccollections\nOrderedDict\n)R"
#define ID(kind, count) "(" TEXT("\7", "storage") "ctorch\n" kind "\n" TEXT("\1", "0") TEXT("\3", "cpu") count "tQ"
#define TENSOR(id, offset, dims, strides)                                                                              \
  "ctorch._utils\n_rebuild_tensor_v2\n(" id offset dims strides "\x89" DICT0 "tR"
#define F6 ID("FloatStorage", "K\6")
#define ROW TENSOR(F6, "K\0", "K\6\x85", "K\1\x85")
#define AB(tensor) "\x80\2}" TEXT("\1", "a") tensor "s."
typedef struct bad_pickle { const char *at; size_t n; const char *message; } bad_pickle;
#define P(text) text, sizeof text - 1
#define TIMES8(text) text text text text text text text text
#define DIMS65 "(" TIMES8(TIMES8("K\0")) "K\0t"
#define HELP                                                                                                           \
  "\nhelp: where the file can be trusted, in Python: m = torch.load('w', weights_only=False); "                        \
  "torch.save(getattr(m, 'state_dict', lambda: m.get('state_dict', m))(), 'weights.pth')"
static const bad_pickle bad_pickles[] = {
  {P(""), "the pickle ends inside an opcode (was the file cut off?)"},
  {P("\x80"), "the pickle ends inside an opcode (was the file cut off?)"},
  {P("\x80\6."), "the pickle is of protocol 6; 5 is the last that is known"},
  {P("."), "the pickle takes a value where there is none (byte 0)"},
  {P("NN."), "the pickle ends with values that nobody took"},
  {P("(N."), "the pickle ends with values that nobody took"},
  {P("N.N"), "the pickle goes on for 1 bytes after its end"},
  {P("N."), "the file is no dictionary of tensors"},
  {P("]."), "the file is no dictionary of tensors"},
  {P(ROW "."), "the file is one tensor without a name, not a dictionary of tensors"},
  {P("t."), "the pickle goes back to a mark that it has not set (byte 0)"},
  {P("N(\x85."), "the pickle takes a value where there is none (byte 2)"},
  {P("N\x86."), "the pickle takes a value where there is none (byte 1)"},
  {P("(NNu."), "the pickle puts something into what is no dictionary (byte 3)"},
  {P("](NNu."), "the pickle puts something into what is no dictionary (byte 4)"},
  {P("}(Nu."), "the pickle has a key without a value"},
  {P("}Na."), "the pickle puts something into what is no list (byte 2)"},
  {P("NNNs."), "the pickle puts something into what is no dictionary (byte 3)"},
  {P("]NNb."), "the pickle puts something into what is no dictionary (byte 3)"},
  {P("h\0."), "the pickle asks for value 0, which it has not kept"},
  {P("Nq\1."), "the pickle keeps a value as number 1 where 0 comes next"},
  {P("Nr\xff\xff\xff\xff."), "the pickle keeps a value as number 4294967295 where 0 comes next"},
  {P("q\0."), "the pickle takes a value where there is none (byte 1)"},
  {P("X\xff\xff\xff\xff."), "the pickle ends inside an opcode (was the file cut off?)"},
  {P("\x8a\x09"
     "123456789."),
   "the pickle has a number of 9 bytes; at most 8 are read"},
  {P("cos\nsyste"), "the pickle ends inside a name (was the file cut off?)"},
  {P("cos\nsystem\n(X\2\0\0\0lstR."),
   "the file calls Python's `os.system`, which no dictionary of tensors needs: it is not run" HELP},
  {P("c__builtin__\neval\n."),
   "the file calls Python's `__builtin__.eval`, which no dictionary of tensors needs: it is not run" HELP},
  {P("\x80\4\x95"), "the pickle has opcode 0x95 (FRAME), which no dictionary of tensors needs" HELP},
  {P("(ios\nsystem\n"), "the pickle has opcode 0x69 (INST), which no dictionary of tensors needs" HELP},
  {P("N2"), "the pickle has opcode 0x32 (DUP), which no dictionary of tensors needs" HELP},
  {P("\xff"), "the pickle has opcode 0xff (none), which no dictionary of tensors needs" HELP},
  {P("N)R."), "the pickle calls what cannot be called"},
  {P("ccollections\nOrderedDict\nNR."), "the pickle calls what cannot be called"},
  {P("ccollections\nOrderedDict\nN\x85R."), "the pickle calls OrderedDict with arguments"},
  {P("ctorch\nFloatStorage\n)R."), "the pickle calls FloatStorage"},
  {P("ctorch._utils\n_rebuild_tensor_v2\n)R."), "the pickle calls _rebuild_tensor_v2 with what is no tensor"},
  {P(AB(TENSOR("N", "K\0", ")", ")"))), "the pickle calls _rebuild_tensor_v2 with what is no tensor"},
  {P(AB(TENSOR(F6, "K\0", "K\6\x85", ")"))), "the pickle calls _rebuild_tensor_v2 with what is no tensor"},
  {P(AB(TENSOR(F6, "K\0", "N\x85", "K\1\x85"))), "the pickle calls _rebuild_tensor_v2 with what is no tensor"},
  {P(AB(TENSOR(F6, "K\0", DIMS65, DIMS65))), "the pickle makes a tensor of 65 dimensions; PyTorch's have at most 64"},
  {P("ctorch._utils\n_rebuild_parameter\n)R."), "the pickle calls _rebuild_parameter with what is no parameter"},
  {P("NQ."), "the pickle refers to something outside that is no storage"},
  {P("NN\x86Q."), "the pickle refers to something outside that is no storage"},
  {P(ID("FloatStorage", "J\xff\xff\xff\xff") "."), "the pickle refers to something outside that is no storage"},
  {P(AB(TENSOR(F6, "K\1", "K\6\x85", "K\1\x85"))), "tensor `a` reaches past the end of its storage, 6 elements"},
  {P(AB(TENSOR(F6, "K\0", "K\7\x85", "K\1\x85"))), "tensor `a` reaches past the end of its storage, 6 elements"},
  {P(AB(TENSOR(F6, "K\0", "K\2\x85", "K\6\x85"))), "tensor `a` reaches past the end of its storage, 6 elements"},
  {P(AB(TENSOR(F6, "J\xff\xff\xff\xff", "K\1\x85", "K\1\x85"))),
   "tensor `a` reaches past the end of its storage, 6 elements"},
  {P(AB(TENSOR(F6, "K\0", "K\2K\2\x86",
               "\x8a\x8"
               "\xff\xff\xff\xff\xff\xff\xff\x7f"
               "K\1\x86"))),
   "tensor `a` reaches past the end of its storage, 6 elements"},
  {P(AB(TENSOR(F6, "K\0", "J\xff\xff\xff\xff\x85", "K\1\x85"))), "tensor `a` has a negative size or stride"},
  {P(AB(TENSOR(F6, "K\0", "K\1\x85", "J\xff\xff\xff\xff\x85"))), "tensor `a` has a negative size or stride"},
  {P(AB(TENSOR(F6, "K\0",
               "\x8a\x8"
               "\0\0\0\0\0\0\0\x40"
               "K\x8\x86",
               "K\0K\0\x86"))),
   "tensor `a`: its size overflows"},
  {P(AB(TENSOR(ID("FloatStorage", "K\7"), "K\0", ")", ")"))),
   "tensor `a`: its storage is said to have 7 elements of 4 bytes, and has 24 bytes"},
  {P(AB(TENSOR(ID("DoubleStorage", "\x8a\x8"
                                   "\xff\xff\xff\xff\xff\xff\xff\x7f"),
               "K\0", ")", ")"))),
   "tensor `a`: its storage is said to have 9223372036854775807 elements of 8 bytes, and has 24 bytes"},
  {P(AB(TENSOR("(" TEXT("\7", "storage") "ctorch\nFloatStorage\n" TEXT("\2", "..") TEXT("\3", "cpu") "K\6tQ", "K\0",
               ")", ")"))),
   "tensor `a`: its storage `..` is not in the file"},
  {P("}" TEXT("\1", "a") ROW "s" TEXT("\1", "a") ROW "s."), "tensor `a` stands twice in the file"},
  {P("}K\1" ROW "s."), "a tensor is named by what is no text"},
  {P("}" TEXT("\0", "") ROW "s."), "a tensor's name is empty, longer than 1024 bytes or has a zero byte: ``"},
  {P("}" TEXT("\3", "a\0b") ROW "s."), "a tensor's name is empty, longer than 1024 bytes or has a zero byte: `a`"},
  {P("}" TEXT("\3", "net") "}s" TEXT("\5", "epoch") "K\3s."),
   "the file has no tensors by name\nhelp: where they are in a dictionary of it: w:NAME, with NAME one of `net`"},
  {P("}" TEXT("\5", "epoch") "K\3s."),
   "the file has no tensors by name\nhelp: where they are in a dictionary of it: w:NAME, with NAME one of none"},
  {P("}" TEXT("\5", "model") "}s" TEXT("\x0a", "state_dict") "}s."),
   "the file has weights as `state_dict` and as `model`\nhelp: say which: w:state_dict"},
  {P("}q\0" TEXT("\5", "model") "h\0s."), "the file has weights inside of weights, more than 8 deep"},
};

START_TEST(broken_pickles) {
  const bad_pickle *c = &bad_pickles[_i];
  lathe_error e;
  char what[40];
  snprintf(what, sizeof what, "pickle %d", _i);
  expect_message(what, parse_bytes(NULL, c->at, c->n, &e, NULL), &e, c->message);
}
END_TEST

static void look_at_pickle(lt_weights *w) {
  ck_assert_uint_eq(w->n, 2);
  ck_assert_str_eq(lt_weight_text(w->arena, &w->at[0]), "float32[3, 2]");
  ck_assert_int_eq(w->at[0].array.stride[0], 1);
  ck_assert_int_eq(w->at[0].array.stride[1], 3);
  ck_assert_uint_eq(w->at[1].offset, 8);
  ck_assert_str_eq(lt_weight_text(w->arena, &w->at[1]), "int64[]");
}

/* A checkpoint: a state dict inside, and other things, of which none is a weight. */
static const char good[] = "\x80\2}q\0(" TEXT("\x0a", "state_dict") DICT0 "q\1(" TEXT("\1", "a")
  TENSOR(F6, "K\0", "K\3K\2\x86", "K\1K\3\x86") TEXT("\1", "n") "ctorch._utils\n_rebuild_parameter\n(" TENSOR(
    ID("LongStorage", "K\3"), "M\1\0", ")",
    ")") "\x88" DICT0 "tR"
         "u}" TEXT("\x09", "_metadata") "}sb" TEXT("\4", "best") "G\0\0\0\0\0\0\0\0" TEXT("\4", "args") "](K\1NeK\2au.";

START_TEST(good_pickle) {
  lathe_error e;
  ck_assert_msg(parse_bytes(NULL, good, sizeof good - 1, &e, look_at_pickle) == 0, "%s", e.message);
}
END_TEST

/* ---- what is damaged anywhere, and what is meant to be large ----------------------------------------------------- */

static void try_all(const lt_weights_format *format, unsigned char *at, size_t n) {
  for (size_t cut = 0; cut < n; cut++) {
    lathe_error e;
    ck_assert_msg(parse_bytes(format, at, cut, &e, NULL) != 0, "the first %zu of %zu bytes are accepted", cut, n);
    ck_assert(e.message[0]);
  }
  for (size_t i = 0; i < n; i++)
    for (int k = 0; k < 3; k++) {
      static const unsigned char flips[] = {1, 0x80, 0xff};
      lathe_error e;
      at[i] ^= flips[k];
      int status = parse_bytes(format, at, n, &e, NULL);
      ck_assert_msg(!status || ((status == LATHE_E_IO || status == LATHE_E_UNSUPPORTED) && e.message[0]),
                    "byte %zu: %d", i, status);
      at[i] ^= flips[k];
    }
  ck_assert_int_eq(lt_mem_live(), 0);
}

START_TEST(damage_anywhere) {
  static const char header[] = "{" A ",\"b\":{\"dtype\":\"I64\",\"shape\":[1,2],\"data_offsets\":[8,24]}}";
  try_all(&lt_format_safetensors, file, safetensors(header, sizeof header - 1, 24));
  unsigned char text[sizeof good];
  memcpy(text, good, sizeof good);
  try_all(NULL, text, sizeof good - 1);
}
END_TEST

/* Refused at once, within 100 MB. */
static void refuse_large(const lt_weights_format *format, const char *at, size_t n, const char *message) {
  uint64_t before = lt_mem_bytes();
  clock_t start = clock();
  lathe_error e;
  int status = lt_protect(&e, parse_body, &(parse){format, {(const unsigned char *)at, n}, NULL});
  double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
  ck_assert_int_eq(status, LATHE_E_IO);
  ck_assert_str_eq(e.message, message);
  ck_assert_msg(lt_mem_bytes() - before < 100 << 20, "%s: %llu bytes", e.message,
                (unsigned long long)(lt_mem_bytes() - before));
  ck_assert_msg(seconds < 1, "%s: %.1f s", e.message, seconds);
}

START_TEST(large_pickles) {
  static const struct { const char *unit; size_t n, bytes; const char *message; } cases[] = {
    {P("N"), 16 << 20, "the pickle makes more than 524288 values"},
    {P("}"), 16 << 20, "the pickle makes more than 524288 values"},
    {P("("), 16 << 20, "the pickle sets more than 524288 marks"},
    {P(")\x85"), 16 << 20, "the pickle makes more than 524288 values"},
    {P("]h\0a"), 16 << 20, "the pickle asks for value 0, which it has not kept"},
    {P("N"), (16 << 20) + 1, "the pickle has 16777217 bytes, at most 16777216 are read"},
  };
  for (size_t i = 0; i < LT_COUNT(cases); i++) {
    char *text = malloc(cases[i].bytes);
    for (size_t k = 0; k < cases[i].bytes; k++) text[k] = cases[i].unit[k % cases[i].n];
    refuse_large(NULL, text, cases[i].bytes, cases[i].message);
    free(text);
  }
}
END_TEST

START_TEST(large_headers) {
  enum { TENSORS = 200000, EACH = 64 };
  char *text = malloc(9 + TENSORS * EACH);
  size_t n = 9;
  for (int i = 0; i < TENSORS; i++)
    n += (size_t)snprintf(text + n, EACH, "\"%07d\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},", i);
  for (int i = 0; i < 8; i++) text[i] = (char)((n - 8) >> 8 * i & 255);
  text[8] = '{';
  refuse_large(&lt_format_safetensors, text, n, "more than 65536 tensors");
  memset(text + 9, ' ', n - 9);
  refuse_large(&lt_format_safetensors, text, n, "the header ends where a tensor's name is expected");
  memset(text + 9, '"', 1), memset(text + 10, 'a', n - 10);
  refuse_large(&lt_format_safetensors, text, n, "the header ends inside a string");
  free(text);
}
END_TEST

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void write_body(lt_job *job, void *arg) {
  lathe_array *out = arg;
  static const float values[6] = {1, 2, 3, 4, 5, 6};
  static const int64_t step = 7, dims[] = {2, 3};
  static const uint8_t flag[3] = {1, 0, 1};
  static const double wide[2] = {0.5, -2};
  const lt_named_array list[] = {{"fc.b", LATHE_F32, 1, dims + 1, values},
                                 {"step", LATHE_I64, 0, dims, &step},
                                 {"fc.W", LATHE_F32, 2, dims, values},
                                 {"mask", LATHE_BOOL, 1, dims + 1, flag},
                                 {"a \"b\"\t\xc3\xa9", LATHE_F64, 1, dims, wide}};
  lt_str s;
  lt_str_init(&s, lt_arena_new(job));
  lt_format_safetensors.write(&s, job, list, LT_COUNT(list));
  out->dim[0] = (int64_t)s.n;
  out->data = malloc(s.n);
  memcpy(out->data, s.at, s.n);
}

/* tests/weights/reference.safetensors is what the reference writer makes of the same arrays (tests/tools/
 * weights_fixtures.py). */
START_TEST(written_as_reference) {
  lathe_array got = {0};
  lathe_error e;
  char path[1000], want[1000];
  snprintf(path, sizeof path, "%s/weights/reference.safetensors", getenv("LT_TESTS"));
  FILE *f = fopen(path, "rb");
  ck_assert_msg(f != NULL, "%s", path);
  size_t n = fread(want, 1, sizeof want, f);
  fclose(f);
  ck_assert_msg(lt_protect(&e, write_body, &got) == 0, "%s", e.message);
  ck_assert_uint_eq((size_t)got.dim[0], n);
  ck_assert_mem_eq(got.data, want, n);
  ck_assert_msg(parse_bytes(&lt_format_safetensors, got.data, n, &e, NULL) == 0, "%s", e.message);
  free(got.data);
}
END_TEST

static Suite *weights_suite(void) {
  Suite *s = suite_create("weights");
  TCase *c = tcase_create("weights");
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, broken_headers, 0, LT_COUNT(bad_headers));
  tcase_add_loop_test(c, broken_pickles, 0, LT_COUNT(bad_pickles));
  tcase_add_test(c, broken_beginnings);
  tcase_add_test(c, good_header);
  tcase_add_test(c, good_pickle);
  tcase_add_test(c, damage_anywhere);
  tcase_add_test(c, large_pickles);
  tcase_add_test(c, large_headers);
  tcase_add_test(c, written_as_reference);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(weights_suite)
