/* cross.c: the same objects on another machine: linked with a driver by its compiler, run under emulation, compared
 * with this machine's results: bit by bit where the target has fused multiply-add, else within 1e-5.
 *
 *   LT_TARGET   what lathe_emit is told: "--target aarch64-linux-gnu"
 *   LT_CC       makes a static program for it      LT_RUN  runs one ("qemu-aarch64"; for wasm: node and a script)
 *   LT_EXACT    1: bit by bit */
#include "aot/aot.h"

#include <ctype.h>
#include <math.h>

typedef struct task { const char *model, *dims, *opts, *entry; int steps; } task; /* steps 0: a run entry */
static const task tasks[] = {
  {"digits", "--dim N=2", "--entry run:logits --seed 3", "run", 0},
  {"residual", NULL, "--entry run:y --seed 3", "run", 0},
  {"depthwise", NULL, "--entry run --seed 3", "run", 0},
  {"depthwise", NULL, "--entry run --seed 3 --opt size --parallel", "run", 0},
  {"lenet5", "--dim N=2", "--entry run:logits --seed 3", "run", 0},
  {"chapter", NULL, "--entry run --seed 3", "run", 0},
  {"ops", NULL, "--entry run --seed 3", "run", 0},
  {"potential", NULL, "--entry run --seed 3", "run", 0},
  {"wide", NULL, "--entry run", "run", 0},
  {"digits", "--dim N=4", "--entry train:loss --optimizer adam", "train", 3},
  {"residual", NULL, "--entry train:loss --optimizer momentum", "train", 2},
  {"depthwise", NULL, "--entry train --optimizer sgd", "train", 2},
};

static const char *capitals(const char *name) {
  static char text[64];
  size_t i = 0;
  for (; name[i]; i++) text[i] = (char)toupper((unsigned char)name[i]);
  text[i] = '\0';
  return text;
}

/* The driver's tables: sizes and first values of what stands in the io struct, in order. Values are drawn here, so that
 * both machines are given the same bytes. */
static void write_tables(const lathe_model *m, lathe_instance *s, const task *t) {
  char path[128];
  lathe_port port;
  snprintf(path, sizeof path, "%s/tables.h", folder);
  FILE *f = fopen(path, "w");
  ck_assert_ptr_nonnull(f);
  fprintf(f, "#include \"there.h\"\n#define PREFIX %s\n#define ENTRY %s\n#define STEPS %d\n", t->model, t->entry,
          t->steps);
  fprintf(f, "#define SCRATCH %s_SCRATCH_BYTES\n#define STATE %s_STATE_BYTES\n", capitals(t->model),
          capitals(t->model));
  unsigned n = 0;
  for (size_t k = 0; lathe_model_port(m, t->entry, k, &port); k++) {
    bool in = !strcmp(port.kind, "input"), out = !strcmp(port.kind, "output");
    if (!in && !out && strcmp(port.kind, "hyper")) continue;
    fprintf(f, "static _Alignas(64) %sunsigned char io%u[%lld]", in ? "const " : "", n, (long long)port.bytes);
    const unsigned char *data = in ? lathe_buffer(s, port.name, NULL) : NULL; /* asking for lr would make it count */
    if (in) ck_assert_int_eq(lathe_fill(s, port.name, 5, 0), 0);
    for (int64_t i = 0; in && i < port.bytes; i++)
      fprintf(f, "%s%d%s", i ? "," : " = {", data[i], i + 1 < port.bytes ? "" : "}");
    fprintf(f, ";\n");
    n++;
  }
  fprintf(f, "static const void *io[] = {");
  n = 0;
  for (size_t k = 0; lathe_model_port(m, t->entry, k, &port); k++)
    if (!strcmp(port.kind, "input") || !strcmp(port.kind, "output")) fprintf(f, "io%u, ", n++);
    else if (!strcmp(port.kind, "hyper")) fprintf(f, "0, "), n++;
  fprintf(f, "0};\nstatic const struct { const void *at; long bytes; } out[] = {");
  n = 0;
  for (size_t k = 0; lathe_model_port(m, t->entry, k, &port); k++) {
    if (!strcmp(port.kind, "output")) fprintf(f, "{io%u, %lld}, ", n, (long long)port.bytes);
    n += port.offset < 0;
  }
  fprintf(f, "{0, 0}};\n");
  fclose(f);
}

static size_t read_all(const char *name, unsigned char **out) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *f = fopen(path, "rb");
  ck_assert_ptr_nonnull(f);
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  rewind(f);
  *out = malloc((size_t)n + 1);
  ck_assert_uint_eq(fread(*out, 1, (size_t)n, f), (size_t)n);
  fclose(f);
  return (size_t)n;
}

/* One tensor: equal, or within 1e-5 of its largest value. Integers are always equal. */
static void compare(const lathe_port *p, const unsigned char *there, const unsigned char *here, bool exact) {
  if (memcmp(there, here, (size_t)p->bytes) == 0) return;
  ck_assert_msg(!exact && (p->dtype == LATHE_F32 || p->dtype == LATHE_F64), "`%s` differs", p->name);
  double worst = 0, largest = 0;
  size_t size = p->dtype == LATHE_F32 ? 4 : 8;
  for (int64_t i = 0; i < p->bytes / (int64_t)size; i++) {
    float a, b;
    double x, y;
    if (size == 4) memcpy(&a, there + 4 * i, 4), memcpy(&b, here + 4 * i, 4), x = (double)a, y = (double)b;
    else memcpy(&x, there + 8 * i, 8), memcpy(&y, here + 8 * i, 8);
    if (isnan(x) && isnan(y)) continue;
    if (x == y) continue; /* infinities too */
    worst = fmax(worst, fabs(x - y)), largest = fmax(largest, fabs(y));
    ck_assert_msg(!isnan(x) && !isnan(y), "`%s`[%lld] is %g there, %g here", p->name, (long long)i, x, y);
  }
  for (int64_t i = 0; i < p->bytes / (int64_t)size; i++) {
    float b;
    double y;
    if (size == 4) memcpy(&b, here + 4 * i, 4), y = (double)b;
    else memcpy(&y, here + 8 * i, 8);
    if (isfinite(y)) largest = fmax(largest, fabs(y));
  }
  ck_assert_msg(worst <= 1e-5 * largest, "`%s` is off by %g of %g", p->name, worst, largest);
}

/* qemu 7 has an assertion fail where a vector conversion with a rounding of its own (vfcvt.rtz) begins a translated
 * block: whether one does is the scheduler's luck. */
static void run_there(void) {
  int status = shell("%s ./there.exe > there.bin && test -s there.bin", getenv("LT_RUN"));
  if (status && strstr(said, "decode_save_opc")) LT_SKIP("the emulator stops translating (decode_save_opc of qemu 7)");
  ck_assert_msg(status == 0, "%s", said);
}

START_TEST(same_results) {
  const task *t = &tasks[_i];
  char opts[512], jit[256];
  lathe_error e;
  lathe_port port;
  make_folder();
  lathe_graph *g = load_model(t->model, t->dims);
  snprintf(opts, sizeof opts, "%s %s", t->opts, getenv("LT_TARGET"));
  emit(g, NULL, "there", opts);
  const char *seed = strstr(t->opts, " --seed");
  snprintf(jit, sizeof jit, "%.*s", seed ? (int)(seed - t->opts) : 255, t->opts);
  lathe_model *m = lathe_compile(g, jit, &e);
  ck_assert_msg(m != NULL, "%s", e.message);
  lathe_instance *s = lathe_open(m, "--seed 3", &e);
  ck_assert_msg(s != NULL, "%s", e.message);
  write_tables(m, s, t);
  MUST("%s -I. -include tables.h '%s/aot/driver.c' there.o -o there.exe", getenv("LT_CC"), getenv("LT_TESTS"));
  run_there();
  for (int i = 0; i < (t->steps ? t->steps : 1); i++) ck_assert_int_eq(lathe_call(s, t->entry), 0);
  unsigned char *there;
  size_t n = read_all("there.bin", &there), at = 0;
  bool exact = !strcmp(getenv("LT_EXACT"), "1");
  for (size_t k = 0; lathe_model_port(m, t->entry, k, &port); k++) {
    if (strcmp(port.kind, "output")) continue;
    ck_assert_uint_le(at + (size_t)port.bytes, n);
    compare(&port, there + at, lathe_buffer(s, port.name, NULL), exact);
    at += (size_t)port.bytes;
  }
  for (size_t k = 0; t->steps && lathe_model_port(m, t->entry, k, &port); k++)
    if (port.offset >= 0) compare(&port, there + at + port.offset, lathe_buffer(s, port.name, NULL), exact);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
  free(there);
  remove_folder();
}
END_TEST

static Suite *cross_suite(void) {
  Suite *s = suite_create("cross");
  TCase *c = tcase_create("cross");
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, same_results, 0, sizeof tasks / sizeof tasks[0]);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(cross_suite)
