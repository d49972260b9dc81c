/* Tests of constant data: who holds it, what is found out about it, ranges of files, and that nothing on the way from a
 * text to code copies it. */
#include "check_main.h"
#include "frontend/frontend.h"
#include "plan/plan.h"

#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define IN_JOB(name)                                                                                                   \
  static void name##_body(lt_job *job, void *unused);                                                                  \
  START_TEST(name) {                                                                                                   \
    lathe_error e;                                                                                                     \
    int status = lt_protect(&e, name##_body, NULL);                                                                    \
    ck_assert_msg(status == LATHE_OK, "%s", e.message);                                                                \
    ck_assert_int_eq(lt_mem_live(), 0);                                                                                \
  }                                                                                                                    \
  END_TEST                                                                                                             \
  static void name##_body(lt_job *job, void *unused __attribute__((unused)))

/* ---- a folder of its own, and files in it ------------------------------------------------------------------------ */

static char folder[64] = "/tmp/lathe-data-XXXXXX";

static void enter(void) { ck_assert(mkdtemp(folder) != NULL && chdir(folder) == 0); }

static void leave(void) {
  static const char *const names[] = {"t.lathe",     "w.bin",      "in/w.bin", "in/out.bin",
                                      "in/near.bin", "in/t.lathe", "in",       NULL};
  for (const char *const *n = names; *n; n++) remove(*n);
  ck_assert(chdir("/") == 0 && rmdir(folder) == 0);
}

static void put(const char *name, const void *bytes, size_t n) {
  FILE *f = fopen(name, "wb");
  ck_assert(f != NULL && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* How many mappings of the file this process has; -1: this system does not say. */
static int mappings(const char *name) {
  FILE *f = fopen("/proc/self/maps", "r");
  char line[4096];
  int n = 0;
  if (!f) return -1;
  while (fgets(line, sizeof line, f)) n += strstr(line, name) != NULL;
  fclose(f);
  return n;
}

/* ---- data itself ------------------------------------------------------------------------------------------------- */

IN_JOB(held_once) {
  lt_type t = lt_make_type(LT_F32, 1, (int64_t[]){3});
  float f[3] = {1, -0.0f, 0.1f}, back[3];
  lt_arena *a = lt_arena_new(job), *b = lt_arena_new(job);
  int64_t before = lt_mem_live();
  const lt_data *d = lt_data_new(a, &t, f);
  ck_assert(lt_data_keep(b, d) == d && lt_data_keep(b, NULL) == NULL);
  lt_arena_free(a);
  lt_data_write(d, back);
  ck_assert_mem_eq(back, f, sizeof f);
  ck_assert(lt_data_at(d, 2) == (double)0.1f && signbit(lt_data_at(d, 1)));
  lt_arena_free(b);
  ck_assert_int_eq(lt_mem_live(), before);
}

IN_JOB(found_out) {
  lt_arena *a = lt_arena_new(job);
  lt_type t = lt_make_type(LT_I64, 1, (int64_t[]){3}), other = lt_make_type(LT_I64, 2, (int64_t[]){1, 3});
  int64_t same[3] = {INT64_MAX, INT64_MAX, INT64_MAX}, not[3] = {INT64_MAX, INT64_MAX, INT64_MAX - 1};
  const lt_data *d = lt_data_new(a, &t, same), *e = lt_data_new(a, &t, same), *f = lt_data_new(a, &t, not);
  ck_assert(lt_data_splat(d) && lt_data_splat(d) && !lt_data_splat(f) && !lt_data_splat(f));
  ck_assert(lt_data_eq(d, d) && lt_data_eq(d, e) && !lt_data_eq(d, f) && !lt_data_eq(d, NULL) &&
            lt_data_eq(NULL, NULL));
  ck_assert(lt_data_hash(d) == lt_data_hash(e) && lt_data_hash(d) != lt_data_hash(f));
  ck_assert(!lt_data_eq(d, lt_data_new(a, &other, same)));
  t.dtype = LT_BOOL;
  const lt_data *flags = lt_data_new(a, &t, "\0\1\7");
  ck_assert(!memcmp(flags->at, "\0\1\1", 3) && lt_data_at(flags, 2) == 1);
  ck_assert(lt_tensor_eq(lt_tensor_of(a, flags), lt_tensor_import(a, &t, "\0\7\1")));
}

/* Any offset will do, and the pages are there as long as somebody refers to them. */
IN_JOB(of_a_file) {
  enter();
  double f[2] = {0.1, -INFINITY}, back[2];
  unsigned char bytes[5000] = {0};
  memcpy(bytes + 4097, f, sizeof f);
  put("w.bin", bytes, sizeof bytes);
  lt_arena *a = lt_arena_new(job);
  lt_type t = lt_make_type(LT_F64, 1, (int64_t[]){2});
  const char *why = NULL;
  const lt_data *d = lt_data_map(a, &t, ".", "w.bin", 4097, &why);
  ck_assert_msg(d != NULL, "%s", why);
  lt_data_write(d, back);
  ck_assert_mem_eq(back, f, sizeof f);
  ck_assert(lt_data_at(d, 0) == 0.1 && lt_data_eq(d, lt_data_new(a, &t, f)) && !lt_data_splat(d));
  ck_assert_int_ne(mappings(folder), 0);
  lt_arena_free(a);
  ck_assert_int_le(mappings(folder), 0);
  leave();
}

/* ---- in a text --------------------------------------------------------------------------------------------------- */

static const char network[] = "network n(x: f32[1, 3]) -> y, z {\n"
                              "  param p: f32[3] = data(\"w.bin\", 4, 12)\n"
                              "  state s: i32 = data(\"w.bin\", 0, 4)\n"
                              "  const c: f32[2, 3] = data(\"w.bin\", 5, 24)\n"
                              "  const one: f32 = data(\"w.bin\", 4, 4)\n"
                              "  y = linear(x, transpose(c, perm=[1, 0])) * one\n"
                              "  z = p * cast(s, dtype=f32)\n"
                              "}\n";

static void put_weights(void) {
  unsigned char bytes[64];
  for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 7 % 60); /* no NaN */
  put("w.bin", bytes, sizeof bytes);
}

IN_JOB(printed_as_named) {
  enter();
  put_weights();
  lt_graph *g = lt_text_read(job, network, sizeof network - 1, "n.lathe", NULL);
  lt_str s, again;
  lt_str_init(&s, lt_arena_new(job)), lt_str_init(&again, s.arena);
  lt_print(&s, g);
  ck_assert_msg(strstr(s.at, "const c: f32[2, 3] = data(\"w.bin\", 5, 24)\n") != NULL, "%s", s.at);
  lt_graph *h = lt_text_read(job, s.at, s.n, "n.lathe", NULL);
  lt_print(&again, h);
  ck_assert_str_eq(s.at, again.at);
  ck_assert(lt_graph_equal(g, h));
  lt_graph_drop(job, h), lt_graph_drop(job, g);
  leave();
}

static void read_it(lt_job *job, void *arg) {
  const char *text = arg;
  lt_graph_free(lt_text_read(job, text, strlen(text), "n.lathe", NULL));
}

/* Whichever allocation fails, nothing stays: no block, no mapping. */
START_TEST(out_of_memory) {
  enter();
  put_weights();
  int status = LATHE_E_NOMEM;
  for (uint64_t n = 1; status; n++) {
    lt_mem_fail_at(n, false);
    status = lt_protect(NULL, read_it, (void *)(uintptr_t)network);
    lt_mem_fail_at(0, false);
    ck_assert(status == LATHE_OK || status == LATHE_E_NOMEM);
    ck_assert_int_eq(lt_mem_live(), 0);
    ck_assert_int_le(mappings(folder), 0);
  }
  leave();
}
END_TEST

static void refuse(const char *file, int64_t offset, const char *message) {
  char text[300];
  lathe_error e;
  snprintf(text, sizeof text, "network n() -> c {\n  const c: f32[4] = data(\"%s\", %lld, 16)\n}\n", file,
           (long long)offset);
  put("in/t.lathe", text, strlen(text));
  lathe_graph *g = lathe_load("in/t.lathe", "", &e);
  lathe_graph_free(g);
  if (!message) ck_assert_msg(g != NULL, "%s", e.message);
  else ck_assert_str_eq(g ? "it is read" : e.message, message);
  if (message) ck_assert(!strcmp(e.file, "in/t.lathe") && e.line == 2 && e.column == 26);
}

/* What the place of the text allows; messages without a file stand in tests/bad. */
START_TEST(beneath_the_text) {
  enter();
  put_weights();
  ck_assert(mkdir("in", 0777) == 0);
  refuse("w.bin", 0, "const `c`: cannot read in/w.bin: No such file or directory");
  put("in/w.bin", "0123456789abcdef!", 17);
  ck_assert(symlink("../w.bin", "in/out.bin") == 0 && symlink("w.bin", "in/near.bin") == 0);
  refuse("w.bin", 0, NULL);
  refuse("w.bin", 1, NULL);
  refuse("w.bin", 2, "const `c`: in/w.bin has 17 bytes, too few for 16 at offset 2");
  refuse("w.bin", INT64_MAX, "const `c`: in/w.bin has 17 bytes, too few for 16 at offset 9223372036854775807");
  refuse("near.bin", 0, NULL);
  refuse("out.bin", 0, "const `c`: in/out.bin is a link that leaves the folder of this text");
  refuse(".", 0, "const `c`: in/. is not a regular file");
  leave();
}
END_TEST

/* ---- from text to code ------------------------------------------------------------------------------------------- */

enum { ROWS = 512, COLUMNS = 1024, BYTES = ROWS * COLUMNS * 4 };

static lathe_graph *large(const char *leaf) {
  char text[512];
  lathe_error e;
  snprintf(text, sizeof text,
           "network n(x: f32[2, %d], v: f32[%d]) -> y, z {\n  %s w: f32[%d, %d] = data(\"w.bin\", 1, %d)\n"
           "  y = relu(linear(x, transpose(w, perm=[1, 0])))\n  z = sum(w * v, axes=[1])\n}\n",
           COLUMNS, COLUMNS, leaf, ROWS, COLUMNS, BYTES);
  lathe_graph *g = lathe_parse(text, strlen(text), NULL, "", &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  return g;
}

static void results(const char *leaf, float *y, float *z, uint64_t *asked) {
  lathe_error e;
  lathe_graph *g = large(leaf);
  uint64_t before = lt_mem_bytes();
  lathe_model *m = lathe_compile(g, "", &e);
  ck_assert_msg(m != NULL, "%s", e.message);
  *asked = lt_mem_bytes() - before;
  lathe_instance *s = lathe_open(m, "", &e);
  ck_assert_msg(s != NULL, "%s", e.message);
  ck_assert(!lathe_fill(s, "x", 1, 0) && !lathe_fill(s, "v", 2, 0));
  ck_assert(!lathe_bind(s, "y", y, (size_t)2 * ROWS * 4) && !lathe_bind(s, "z", z, (size_t)ROWS * 4));
  ck_assert_int_eq(lathe_call(s, "run"), 0);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
}

/* A constant has the bits that the same param has, and all passes and the plan ask for a small part of its size. */
START_TEST(nobody_copies) {
  enter();
  float *w = malloc(BYTES + 4), y[2][2 * ROWS], z[2][ROWS];
  uint64_t asked[2];
  memset(w, 0, BYTES + 4);
  for (int i = 0; i < BYTES / 4; i++) memcpy((char *)w + 1 + 4 * i, &(float){(float)(i % 1009) / 64 - 7}, 4);
  put("w.bin", w, BYTES + 4);
  results("const", y[0], z[0], &asked[0]);
  results("param", y[1], z[1], &asked[1]);
  ck_assert_mem_eq(y[0], y[1], sizeof y[0]);
  ck_assert_mem_eq(z[0], z[1], sizeof z[0]);
  ck_assert(z[0][1] != 0);
  ck_assert_msg(asked[0] < BYTES / 4 && asked[1] < BYTES / 4, "%llu and %llu bytes asked for, the constant has %d",
                (unsigned long long)asked[0], (unsigned long long)asked[1], (int)BYTES);
  ck_assert_int_eq(lt_mem_live(), 0);
  ck_assert_int_le(mappings(folder), 0);
  free(w);
  leave();
}
END_TEST

/* An object whose packed weights follow from constants alone holds them once: P_pack copies what is embedded. */
START_TEST(packed_once) {
  enter();
  char *w = calloc(BYTES + 4, 1);
  lathe_error e;
  for (int i = 0; i < BYTES; i += 4) w[i + 1] = (char)(i / 4 % 100), w[i + 4] = 0x3c;
  put("w.bin", w, BYTES + 4);
  static const char text[] = "network n(x: f32[2, 512]) -> y {\n"
                             "  const w: f32[512, 1024] = data(\"w.bin\", 1, 2097152)\n  y = linear(x, w)\n}\n";
  lathe_graph *g = lathe_parse(text, sizeof text - 1, NULL, "", &e);
  ck_assert_msg(g != NULL, "%s", e.message);
  ck_assert_msg(lathe_emit(g, NULL, "-o out.o --prefix p", &e) == 0, "%s", e.message);
  lathe_object *o = lathe_object_load("out.o", &e);
  ck_assert_msg(o != NULL, "%s", e.message);
  void *fn = lathe_object_find(o, "p_pack");
  const lt_image_header *weights = lathe_object_find(o, "p_weights");
  int (*pack)(void *, const void *);
  ck_assert(fn && weights);
  memcpy(&pack, &fn, sizeof fn);
  size_t n = (size_t)weights->bytes;
  unsigned char *to = lt_mem_aligned(n + LT_ALIGN);
  ck_assert_int_eq(pack(to, NULL), 0);
  ck_assert_mem_eq(to, weights, n);
  ck_assert(pack(to + 4, NULL) == LATHE_E_POINTER && pack(NULL, NULL) == LATHE_E_POINTER);
  struct stat st;
  ck_assert(stat("out.o", &st) == 0 && st.st_size < BYTES + BYTES / 2);
  lt_mem_free(to), lathe_object_free(o), lathe_graph_free(g);
  free(w);
  remove("out.o");
  leave();
}
END_TEST

LT_SUITE(data, packed_once, held_once, found_out, of_a_file, printed_as_named, out_of_memory, beneath_the_text,
         nobody_copies)
LT_TEST_MAIN(data)
