/* object.c: what every object promises: the JIT's bits, nothing undefined, only the prefix's names, the same bytes when
 * made again, a header for C99 and C++, programs without a C library, error codes for wrong memory. */
#include "aot/aot.h"
#include "base/base.h"

typedef struct model { const char *name, *spec, *entry; } model;
static const model models[] = {
  {"digits", "run:logits", "run"}, {"residual", "run", "run"}, {"depthwise", "run", "run"},
  {"lenet5", "run", "run"},        {"ops", "run", "run"},      {"chapter", "run", "run"},
  {"potential", "run", "run"},     {"resnet18", "run", "run"}, {"digits", "grad:logits", "grad"},
  {"residual", "dx=grad:y", "dx"},
};

static lathe_model *compile(const lathe_graph *g, const char *opts) {
  lathe_error e;
  lathe_model *m = lathe_compile(g, opts, &e);
  ck_assert_msg(m != NULL, "%s", e.message);
  return m;
}

static lathe_instance *open_seeded(lathe_model *m) {
  lathe_error e;
  lathe_instance *s = lathe_open(m, "--seed 3", &e);
  ck_assert_msg(s != NULL, "%s", e.message);
  return s;
}

/* Inputs of the instance, outputs of our own. */
static unsigned fill_io(const lathe_model *m, lathe_instance *s, const char *entry, const void **io) {
  lathe_port port;
  unsigned n = 0;
  for (size_t k = 0; lathe_model_port(m, entry, k, &port) && port.offset < 0; k++) {
    bool in = !strcmp(port.kind, "input");
    if (in) ck_assert_int_eq(lathe_fill(s, port.name, 5, 0), 0);
    io[n++] = in ? lathe_buffer(s, port.name, NULL) : aligned_block((size_t)port.bytes);
  }
  io[n] = NULL;
  return n;
}

static void same_outputs(const lathe_model *m, lathe_instance *s, const char *entry, const void **io,
                         const char *what) {
  lathe_port port;
  for (size_t k = 0; lathe_model_port(m, entry, k, &port) && port.offset < 0; k++)
    if (!strcmp(port.kind, "output"))
      ck_assert_msg(memcmp(io[k], lathe_buffer(s, port.name, NULL), (size_t)port.bytes) == 0,
                    "%s: `%s` differs from the JIT's", what, port.name);
}

static void free_io(const lathe_model *m, const char *entry, const void **io) {
  lathe_port port;
  for (size_t k = 0; lathe_model_port(m, entry, k, &port) && port.offset < 0; k++)
    if (!strcmp(port.kind, "output")) free((void *)(uintptr_t)io[k]);
}

/* ---- the JIT's bits, weights embedded, packed by the object itself, and mapped from a file ---- */

/* A file of the folder in aligned memory, with room for `least` bytes. */
static void *file_block(const char *name, int64_t least) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *f = fopen(path, "rb");
  ck_assert_ptr_nonnull(f);
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  rewind(f);
  ck_assert_int_ge(n, least);
  void *p = aligned_block((size_t)n);
  ck_assert_int_eq((long)fread(p, 1, (size_t)n, f), n);
  fclose(f);
  return p;
}

static bool has_weights(const lathe_model *m) { /* params or states: other values than constants */
  lathe_port port;
  for (size_t k = 0; lathe_model_port(m, "run", k, &port) || lathe_model_port(m, "grad", k, &port) ||
                     lathe_model_port(m, "dx", k, &port);
       k++)
    if (port.offset >= 0) return true;
  return false;
}

static void other_weights(const lathe_model *m, lathe_instance *s, void *so, const void **io, void *scratch,
                          const lathe_stats *st) {
  run_fn run;
  pack_fn pack;
  find_into(so, "it_run", &run), find_into(so, "it_pack", &pack);
  bool owns = has_weights(m);
  void *params = owns ? file_block("p.bin", st->params_bytes) : NULL, *mapped = file_block("w.bin", st->weights_bytes);
  void *weights = aligned_block((size_t)st->weights_bytes);
  ck_assert_int_eq(pack(weights, params), 0);
  ck_assert_int_eq(run(io, weights, scratch), 0);
  same_outputs(m, s, "run", io, "packed");
  ck_assert_int_eq(run(io, mapped, scratch), 0);
  same_outputs(m, s, "run", io, "mapped");
  free(params), free(weights), free(mapped);
}

START_TEST(jit_and_object) {
  const model *t = &models[_i];
  char opts[256], name[64], more[192];
  lathe_stats st;
  make_folder();
  lathe_graph *g = load_model(t->name, NULL);
  snprintf(name, sizeof name, "--entry %s", t->spec);
  lathe_model *m = compile(g, name);
  ck_assert_int_eq(lathe_model_stats(m, t->entry, &st), 1);
  bool owns = has_weights(m);
  snprintf(more, sizeof more, owns ? "--weights-out %s/w.bin --params-out %s/p.bin" : "--weights-out %s/w.bin", folder,
           folder);
  snprintf(opts, sizeof opts, "--entry %s --prefix it %s %s", t->spec, owns ? "--seed 3" : "",
           st.weights_bytes ? more : "");
  emit(g, NULL, "it", opts);
  lathe_instance *s = open_seeded(m);
  const void *io[32];
  fill_io(m, s, t->entry, io);
  void *so = link_and_load("it.o"), *scratch = aligned_block((size_t)st.scratch_bytes);
  run_fn run;
  snprintf(name, sizeof name, "it_%s", t->entry);
  find_into(so, name, &run);
  ck_assert_int_eq(lathe_call(s, t->entry), 0);
  ck_assert_int_eq(run(io, NULL, scratch), 0);
  same_outputs(m, s, t->entry, io, "embedded");
  if (st.weights_bytes) other_weights(m, s, so, io, scratch, &st);
  free_io(m, t->entry, io);
  free(scratch);
  dlclose(so);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
  remove_folder();
}
END_TEST

/* ---- symbols ---- */

static const char everything[] =
  "--entry run:logits --entry one=run:logits@N=1 --entry grad:logits --entry train:loss --optimizer adam --seed 1";

START_TEST(symbols) {
  make_folder();
  lathe_graph *g = load_model("digits", NULL);
  emit(g, NULL, "a", everything);
  emit(g, NULL, "b", "--entry run:logits --entry train:loss --seed 1 --prefix other --parallel");
  emit(g, NULL, "c", "--entry run:logits --weight-data extern --prefix bare");
  MUST("test -z \"$(nm -u a.o b.o c.o | grep -v ':$' | grep .)\"");
  MUST("nm -g --defined-only a.o | awk 'NF { print $3 }' | sort | tr '\\n' ' '");
  ck_assert_str_eq(
    said,
    "digits_grad digits_one digits_pack digits_params digits_run digits_state_init digits_state_load digits_train "
    "digits_train_apply digits_train_backward digits_weights ");
  MUST("test -z \"$(nm -g --defined-only b.o | awk 'NF { print $3 }' | grep -v '^other_')\"");
  ck_assert_int_ne(shell("nm c.o | grep weights"), 0);
  MUST("%s -r -nostdlib -o all.o a.o b.o c.o", compiler()); /* copies beside each other */
  /* what is not called is left out: no training in a program that runs */
  MUST("printf '#include \"a.h\"\\nint main(void) { return digits_run(0, 0, 0); }\\n' > m.c && %s -Wl,--gc-sections "
       "m.c a.o -o m",
       compiler());
  MUST("nm m | grep -q digits_run && ! nm m | grep -q 'digits_train\\|digits_state'");
  MUST("readelf -lW m | grep GNU_STACK | grep -qv RWE");
  lathe_graph_free(g);
  remove_folder();
}
END_TEST

START_TEST(made_again) {
  make_folder();
  lathe_graph *g = load_model("digits", NULL), *h = load_model("digits", NULL);
  static const char *const targets[] = {"",
                                        "--target aarch64-linux-gnu",
                                        "--target wasm32",
                                        "--opt size --cpu x86-64-v2",
                                        "--target armv7-linux-gnueabihf",
                                        "--target arm64-apple-macos",
                                        "--target x86_64-windows-msvc",
                                        "--target riscv64-linux-gnu --features +v"};
  for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
    char opts[512];
    snprintf(opts, sizeof opts, "%s %s", everything, targets[i]);
    emit(g, NULL, "a", opts);
    MUST("mkdir -p deep/er && mv a.o a.h deep/er/");
    emit(h, NULL, "a", opts);
    MUST("cmp a.o deep/er/a.o && cmp a.h deep/er/a.h");
    ck_assert_msg(shell("strings -a a.o | grep -e '%s' -e '%s' -e /tmp", folder, getenv("LT_TESTS")) != 0, "%s", said);
  }
  lathe_graph_free(g), lathe_graph_free(h);
  remove_folder();
}
END_TEST

/* ---- headers ---- */

START_TEST(headers) {
  make_folder();
  lathe_graph *g = load_model("digits", NULL);
  lathe_error e;
  emit(g, NULL, "a", everything);
  emit(g, NULL, "b", "--entry run:logits --prefix other --seed 1 --parallel");
  lathe_graph_free(g);
  static const char odd[] = "network odd(`int`: f32[2, 2], `a b`: f32[2], `1x`: f32[2]) -> `class`, `x*/y` {\n"
                            "  `class` = sum(`int`) + sum(`a b`)\n  `x*/y` = sum(`1x`)\n}";
  g = lathe_parse(odd, strlen(odd), "odd", NULL, &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  emit(g, NULL, "odd", "--entry run:class,x*/y");
  MUST("grep -q 'float \\*int_;' odd.h && grep -q '\\*a_b;' odd.h && grep -q '\\*_1x;' odd.h && grep -q '\\*class_;' "
       "odd.h");
  MUST("printf '#include \"a.h\"\\n#include \"b.h\"\\n#include \"odd.h\"\\n#include \"a.h\"\\n"
       "int main(void) { digits_train_io io = {0}; other_run_io r = {0}; return (int)(sizeof io + sizeof r) * 0 + "
       "DIGITS_FC_W_OFFSET - 704; }\\n' > m.c");
  MUST("cc -std=c99 -Wall -Wextra -Wpedantic -Werror -c m.c");
  MUST("cc -std=c11 -Wall -Wextra -Wpedantic -Werror m.c a.o b.o odd.o -o m && ./m");
  MUST("printf '#define LATHE_ABI_1 2\\n#include \"a.h\"\\n' > bad.c");
  ck_assert_int_ne(shell("cc -c bad.c"), 0);
  ck_assert_ptr_nonnull(strstr(said, "disagree"));
  bool cpp = shell("command -v c++") == 0;
  if (cpp)
    MUST("sed 's/= {0}/= {}/g' m.c > m.cc && c++ -std=c++98 -Wall -Wextra -Werror -Wno-long-long m.cc a.o b.o odd.o -o "
         "mm && ./mm");
  lathe_graph_free(g);
  remove_folder();
  if (!cpp) LT_SKIP("c++ is missing: the headers were compiled as C only");
}
END_TEST

/* ---- a program without a C library ---- */

START_TEST(freestanding) {
#ifndef __x86_64__
  LT_SKIP("needs x86-64: the program ends by its system call");
#endif
  make_folder();
  lathe_graph *g = load_model("digits", NULL);
  emit(g, NULL, "d", "--entry run:logits@N=1 --seed 1 --opt size");
  MUST("cat > m.c <<'X'\n#include \"d.h\"\nstatic _Alignas(64) unsigned char scratch[DIGITS_SCRATCH_BYTES];\nstatic "
       "float x[DIGITS_RUN_X_COUNT], y[10];\n"
       "static int answer(void) { digits_run_io io = {x, y}; return digits_run(&io, 0, scratch) ? 1 : y[0] == y[0] ? 7 "
       ": 2; }\n"
       "__attribute__((used, noreturn)) static void begin(void) {\n"
       "  __asm__ volatile(\"syscall\" : : \"a\"(60), \"D\"(answer()) : \"memory\");\n  for (;;) continue;\n}\n"
       "__asm__(\".globl _start\\n_start: call begin\");\n" /* the stack is aligned as the ABI wants it */
       "X\n%s -O1 -static -nostdlib -ffreestanding -fno-stack-protector -Wl,--fatal-warnings m.c d.o -o m",
       compiler());
  MUST("./m; test $? = 7");
  lathe_graph_free(g);
  remove_folder();
}
END_TEST

/* ---- wrong memory ---- */

START_TEST(rejects) {
  run_fn run, shifted;
  train_fn train;
  pack_fn pack, load;
  init_fn init, foreign;
  lathe_stats st;
  make_folder();
  lathe_graph *g = load_model("digits", NULL), *h = load_model("lenet5", NULL);
  emit(g, NULL, "d", "--entry run:logits --entry train:loss --seed 1");
  emit(g, NULL, "n", "--entry run:logits --prefix bare --weight-data extern");
  emit(h, NULL, "l", "--entry run:logits --entry train:loss --seed 1");
  void *so = link_and_load("d.o l.o n.o");
  lathe_model *m = compile(g, "--entry run:logits --entry train:loss");
  ck_assert_int_eq(lathe_model_stats(m, "train", &st), 1);
  unsigned char *state = aligned_block((size_t)st.state_bytes), *scratch = aligned_block((size_t)st.scratch_bytes + 64);
  unsigned char *weights = aligned_block((size_t)st.state_bytes * 4);
  static float x[32 * 64], y[320], loss;
  static int32_t t[32];
  const void *io[] = {x, y, NULL}, *step[] = {x, t, NULL, &loss};
  find_into(so, "digits_run", &run), find_into(so, "digits_train", &train), find_into(so, "digits_pack", &pack),
    find_into(so, "digits_state_init", &init);
  find_into(so, "bare_run", &shifted);
  ck_assert_int_eq(run(io, NULL, scratch), 0);
  ck_assert_int_eq(run(NULL, NULL, scratch), LATHE_E_POINTER);
  ck_assert_int_eq(run(io, NULL, NULL), LATHE_E_POINTER);
  ck_assert_int_eq(run(io, NULL, scratch + 16), LATHE_E_POINTER);
  ck_assert_int_eq(run((const void *[]){NULL, y}, NULL, scratch), LATHE_E_POINTER);
  ck_assert_int_eq(run((const void *[]){x, (char *)y + 1}, NULL, scratch), LATHE_E_POINTER);
  ck_assert_int_eq(shifted(io, NULL, scratch), LATHE_E_POINTER); /* nothing is embedded there */
  ck_assert_int_eq(run(io, state, scratch), LATHE_E_MODEL);      /* 0xA5 */
  ck_assert_int_eq(train(step, state, scratch), LATHE_E_MODEL);
  ck_assert_int_eq(init(NULL, 1), LATHE_E_POINTER);
  ck_assert_int_eq(init(state + 8, 1), LATHE_E_POINTER);
  ck_assert_int_eq(init(state, 1), 0);
  ck_assert_int_eq(run(io, state, scratch), LATHE_E_MODEL); /* a state is no packed image */
  ck_assert_int_eq(train(step, state, scratch), 0);
  ck_assert_int_eq(pack(NULL, state), LATHE_E_POINTER);
  ck_assert_int_eq(pack(weights, state + 4), LATHE_E_POINTER);
  ck_assert_int_eq(pack(weights, state), 0);
  ck_assert_int_eq(run(io, weights, scratch), 0);
  ck_assert_int_eq(shifted(io, weights, scratch), 0); /* the same network packs alike in every object */
  for (int i = 0; i < 24; i++) {                      /* magic, ABI, kind, model: any byte */
    weights[i] ^= 1, state[i] ^= 1;
    ck_assert_int_eq(run(io, weights, scratch), LATHE_E_MODEL);
    ck_assert_int_eq(train(step, state, scratch), LATHE_E_MODEL);
    ck_assert_int_eq(pack(weights, state), LATHE_E_MODEL);
    weights[i] ^= 1, state[i] ^= 1;
  }
  int64_t whole_state, whole_weights, none = 64; /* headers that say they end before what is read */
  memcpy(&whole_state, state + 24, 8), memcpy(&whole_weights, weights + 24, 8);
  memcpy(state + 24, &none, 8), memcpy(weights + 24, &none, 8);
  ck_assert_int_eq(run(io, weights, scratch), LATHE_E_MODEL);
  ck_assert_int_eq(train(step, state, scratch), LATHE_E_MODEL);
  ck_assert_int_eq(pack(weights, state), LATHE_E_MODEL);
  find_into(so, "digits_state_load", &load);
  unsigned char *copy = aligned_block((size_t)st.state_bytes);
  ck_assert_int_eq(load(copy, state), LATHE_E_MODEL);
  memcpy(state + 24, &whole_state, 8), memcpy(weights + 24, &whole_weights, 8);
  ck_assert_int_eq(run(io, weights, scratch), 0);
  ck_assert_int_eq(load(copy, state), 0);
  free(copy);
  find_into(so, "lenet5_state_init", &foreign);
  unsigned char *other = aligned_block(1 << 22);
  ck_assert_int_eq(foreign(other, 1), 0);
  ck_assert_int_eq(train(step, other, scratch), LATHE_E_MODEL);
  ck_assert_int_eq(pack(weights, other), LATHE_E_MODEL);
  free(state), free(scratch), free(weights), free(other);
  dlclose(so);
  lathe_model_free(m), lathe_graph_free(g), lathe_graph_free(h);
  remove_folder();
}
END_TEST

/* ---- files ---- */

static void must_fail(const lathe_graph *g, const char *opts, int status, const char *says) {
  lathe_error e;
  ck_assert_int_eq(lathe_emit(g, NULL, opts, &e), status);
  ck_assert_msg(strstr(e.message, says) != NULL, "%s\nlacks: %s", e.message, says);
}

START_TEST(files) {
  char opts[512];
  make_folder();
  lathe_graph *g = load_model("digits", NULL);
  snprintf(opts, sizeof opts, "-o %s/no/d.o --seed 1", folder);
  must_fail(g, opts, LATHE_E_IO, "cannot write");
  snprintf(opts, sizeof opts, "-o %s/d.o --header %s/no/d.h --seed 1", folder, folder);
  must_fail(g, opts, LATHE_E_IO, "cannot write");
  MUST("test -z \"$(ls)\""); /* nothing is left */
  snprintf(opts, sizeof opts, "-o %s/d.o --seed 1 --max-scratch 1000", folder);
  must_fail(g, opts, LATHE_E_INVALID, "the largest tensors:");
  snprintf(opts, sizeof opts, "-o %s/d.o", folder);
  must_fail(g, opts, LATHE_E_INVALID, "nothing says what they are");
  must_fail(g, "--seed 1", LATHE_E_INVALID, "-o F.o");
  MUST("test -z \"$(ls)\"");
  snprintf(opts, sizeof opts, "--depfile %s/d.d --seed 1", folder);
  emit(g, NULL, "d", opts);
  MUST("grep -q '^[^ ]*/d.o [^ ]*/d.h: .*/digits.lathe$' d.d");
  static const char *const forms[][2] = {
    {"asm", "digits_run:"}, {"llvm", "define i32 @digits_run("}, {"ir", "network digits"}};
  for (int i = 0; i < 3; i++) {
    snprintf(opts, sizeof opts, "--emit %s", forms[i][0]);
    emit(g, NULL, "t", opts);
    MUST("grep -qF '%s' t.o", forms[i][1]);
  }
  lathe_graph_free(g);
  remove_folder();
}
END_TEST

/* ---- no file is both read and written, or written twice, however it is spelled ---- */

START_TEST(distinct) {
  static const struct { const char *opts, *says; } calls[] = {
    {"-o n.lathe", "--output would destroy what is read: n.lathe is the model, too\nhelp: another file for --output"},
    {"-o n.o --header ./n.o", "--output would be written over: n.o is --header, too\nhelp: another file for --output"},
    {"-o n.o --depfile n.o", "--output would be written over: n.o is --depfile, too\nhelp: another file for --output"},
    {"-o n.o --header n.h --weights-out sub/../w.bin",
     "--weights-out would destroy what is read: sub/../w.bin is data of the model, too\nhelp: another file for "
     "--weights-out"},
    {"-o n.o --params-out link",
     "--params-out would destroy what is read: link is the model, too\nhelp: another file for --params-out"},
    {"-o n.o --header w.npz --weights w.npz",
     "--header would destroy what is read: w.npz is --weights, too\nhelp: another file for --header"},
  };
  lathe_error e;
  make_folder();
  MUST("mkdir sub; printf 0123 > w.bin; echo no archive > w.npz; ln -s n.lathe link; printf '%%s\n' "
       "'network n(x: f32[1]) -> y {' '  const w: f32[1] = data(\"w.bin\", 0, 4)' '  y = x + w' '}' > n.lathe; "
       "md5sum n.lathe w.bin w.npz > sums");
  ck_assert_int_eq(chdir(folder), 0);
  lathe_graph *g = lathe_load("n.lathe", NULL, &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    ck_assert_int_eq(lathe_emit(g, NULL, calls[i].opts, &e), LATHE_E_INVALID);
    ck_assert_str_eq(e.message, calls[i].says);
  }
  MUST("md5sum -c sums && test ! -e n.o && test ! -e n.h && test -L link");
  ck_assert_msg(lathe_emit(g, NULL, "-o n.o --header n.h --depfile /dev/null", &e) == 0, "%s", e.message);
  lathe_graph_free(g);
  remove_folder();
}
END_TEST

START_TEST(distinct_files) {
  lathe_error e;
  make_folder();
  MUST("mkdir sub");
  ck_assert_int_eq(chdir(folder), 0);
  lathe_file all[] = {{"new", "the first", 1},
                      {"sub/new", "the second", 1},
                      {"/dev/null", "a", 1},
                      {"/dev/null", "b", 1},
                      {NULL, "c", 1}};
  ck_assert_int_eq(lathe_files_distinct(all, 5, &e), 0);
  ck_assert_int_eq(lathe_files_distinct(NULL, 0, NULL), 0);
  all[1].path = "sub/../new";
  ck_assert_int_eq(lathe_files_distinct(all, 5, &e), LATHE_E_INVALID);
  ck_assert_str_eq(e.message,
                   "the first would be written over: new is the second, too\nhelp: another file for the first");
  all[0].written = all[1].written = 0;
  ck_assert_int_eq(lathe_files_distinct(all, 5, &e), 0);
  remove_folder();
}
END_TEST

/* ---- size: beyond the weights, LeNet-5 takes at most this ---- */

START_TEST(sizes) {
  make_folder();
  lathe_graph *g = load_model("lenet5", NULL);
  static const struct { const char *opts; int kib; } limit[] = {
    {"--opt size", 48},
    {"--opt speed", 128},
    {"--opt size --cpu x86-64", 48},
    {"--opt speed --cpu x86-64", 128},
    {"--opt size --target aarch64-linux-gnu", 48},
    {"--opt size --target riscv64-linux-gnu", 48},
    {"--opt size --target armv7-linux-gnueabihf", 48},
    {"--opt speed --target riscv64-linux-gnu", 128},
    {"--opt size --target wasm32", 48},
  };
  for (size_t i = 0; i < sizeof limit / sizeof limit[0]; i++) {
    char opts[256];
    snprintf(opts, sizeof opts, "--entry run:logits --weight-data extern %s", limit[i].opts);
    emit(g, NULL, "l", opts);
    MUST("stat -c %%s l.o");
    ck_assert_msg(atol(said) <= limit[i].kib << 10, "%s: %s", limit[i].opts, said);
  }
  lathe_graph_free(g);
  remove_folder();
}
END_TEST

static Suite *object_suite(void) {
  Suite *s = suite_create("object");
  TCase *c = tcase_create("object");
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, jit_and_object, 0, sizeof models / sizeof models[0]);
  tcase_add_test(c, symbols);
  tcase_add_test(c, made_again);
  tcase_add_test(c, headers);
  tcase_add_test(c, freestanding);
  tcase_add_test(c, rejects);
  tcase_add_test(c, files);
  tcase_add_test(c, distinct);
  tcase_add_test(c, distinct_files);
  tcase_add_test(c, sizes);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(object_suite)
