/* mapped.c: weights that stay in the file they are from, until somebody looks at them: the same bits as weights that
 * were read, whatever the format, the alignment, the number of threads; changing them works as ever; and a file that
 * was written meanwhile is an error, not a wrong value. */
#include "check_main.h"
#include "lathe/lathe.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/lathe-mapped-XXXXXX";
static lathe_error e;
static lathe_graph *g;
static lathe_model *m;

static void *take(void *p, const char *what) {
  ck_assert_msg(p != NULL, "%s: %s", what, e.message);
  return p;
}

static const char *in_dir(const char *name) {
  static char path[4][300];
  static int n;
  snprintf(path[n = (n + 1) % 4], 300, "%s/%s", dir, name);
  return path[n];
}

static lathe_instance *opened(const char *file, const char *more) {
  char opts[400];
  snprintf(opts, sizeof opts, "%s%s %s", file ? "--weights " : "", file ? file : "", more);
  lathe_instance *s = take(lathe_open(m, opts, &e), opts);
  ck_assert_int_eq(lathe_fill(s, "x", 7, 0), 0);
  return s;
}

static void outputs(lathe_instance *s, float out[10]) {
  ck_assert_int_eq(lathe_call(s, "run"), 0);
  memcpy(out, take(lathe_buffer(s, "logits", NULL), "logits"), 10 * sizeof *out);
}

static float *weight(lathe_instance *s, const char *name) { return lathe_buffer(s, name, NULL); }

/* The file with `name` is as w.npz, which is made of seed 5. */
static void make(void) {
  char path[400];
  ck_assert_ptr_nonnull(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/models/lenet5.lathe", getenv("LT_TESTS"));
  g = take(lathe_load(path, "--batch 1", &e), path);
  m = take(lathe_compile(g, "--entry run:logits", &e), "run");
  lathe_instance *s = opened(NULL, "--seed 5");
  ck_assert_int_eq(lathe_weights_save(s, in_dir("w.npz"), 0, &e), 0);
  ck_assert_int_eq(lathe_weights_save(s, in_dir("w.safetensors"), 0, &e), 0);
  lathe_instance_free(s);
}

static void clear(void) {
  char command[100];
  snprintf(command, sizeof command, "rm -r %s", dir);
  ck_assert_int_eq(system(command), 0);
  lathe_model_free(m);
  lathe_graph_free(g);
}

/* The archive anew with `by` bytes in front of each member's name less aligned: NumPy aligns nothing. */
static void misalign(const char *from, const char *to) {
  static const char script[] = "import sys, zipfile\n"
                               "a = zipfile.ZipFile(sys.argv[1]); b = zipfile.ZipFile(sys.argv[2], 'w')\n"
                               "for n in a.namelist(): b.writestr(n, a.read(n))\n"
                               "b.close()\n";
  char command[900];
  FILE *f = fopen(in_dir("zip.py"), "w");
  ck_assert(f && fputs(script, f) >= 0 && !fclose(f));
  snprintf(command, sizeof command, "python3 %s %s %s", in_dir("zip.py"), from, to);
  if (system(command)) LT_SKIP("there is no python3");
}

START_TEST(same_bits) {
  make();
  float want[10], got[10];
  lathe_instance *s = opened(NULL, "--seed 5");
  outputs(s, want);
  lathe_instance_free(s);
  misalign(in_dir("w.npz"), in_dir("odd.npz"));
  static const char *const files[] = {"w.npz", "w.safetensors", "odd.npz"};
  for (int i = 0; i < 3; i++)
    for (int threads = 1; threads < 4; threads++) {
      char more[40];
      snprintf(more, sizeof more, "--threads %d", threads);
      s = opened(in_dir(files[i]), more);
      outputs(s, got);
      ck_assert_msg(!memcmp(want, got, sizeof want), "%s with %d threads", files[i], threads);
      ck_assert_int_eq(lathe_repack(s), 0);
      outputs(s, got);
      ck_assert_mem_eq(want, got, sizeof want);
      lathe_instance_free(s);
    }
  clear();
}
END_TEST

START_TEST(changed_by_the_caller) {
  make();
  float before[10], after[10];
  lathe_instance *s = opened(in_dir("w.npz"), ""), *t = opened(NULL, "--seed 5");
  outputs(s, before);
  lathe_port p;
  for (size_t i = 0; lathe_model_port(m, "run", i, &p); i++)
    if (!strcmp(p.kind, "param"))
      ck_assert_mem_eq(take(lathe_buffer(s, p.name, NULL), p.name), lathe_buffer(t, p.name, NULL), (size_t)p.bytes);
  for (size_t i = 0; lathe_model_port(m, "run", i, &p); i++)
    if (!strcmp(p.kind, "param")) weight(s, p.name)[0] += 1, weight(t, p.name)[0] += 1;
  ck_assert_int_eq(lathe_repack(s) | lathe_repack(t), 0);
  outputs(s, after);
  ck_assert(memcmp(before, after, sizeof before) != 0);
  outputs(t, before);
  ck_assert_mem_eq(before, after, sizeof before);
  lathe_instance_free(s);
  lathe_instance_free(t);
  clear();
}
END_TEST

static bool same_files(const char *a, const char *b) {
  char command[700];
  snprintf(command, sizeof command, "cmp -s %s %s", a, b);
  return system(command) == 0;
}

START_TEST(saved_and_copied) {
  make();
  float want[10], got[10];
  lathe_instance *s = opened(in_dir("w.npz"), ""), *t = opened(NULL, "--seed 6"), *u = opened(in_dir("w.npz"), "");
  outputs(s, want);
  ck_assert_int_eq(lathe_weights_copy(t, s, &e), 0); /* out of the file */
  outputs(t, got);
  ck_assert_mem_eq(want, got, sizeof want);
  ck_assert_int_eq(lathe_weights_save(u, in_dir("w.npz"), 0, &e), 0); /* over the file itself, by renaming */
  ck_assert_int_eq(lathe_weights_save(s, in_dir("again.npz"), 0, &e), 0);
  ck_assert(same_files(in_dir("w.npz"), in_dir("again.npz")));
  ck_assert_int_eq(lathe_weights_load(u, in_dir("w.safetensors"), 0, &e), 0);
  outputs(u, got);
  ck_assert_mem_eq(want, got, sizeof want);
  lathe_instance_free(s), lathe_instance_free(t), lathe_instance_free(u);
  clear();
}
END_TEST

/* As a model of ONNX, out of the file and out of memory. */
START_TEST(exported) {
  make();
  char opts[400];
  lathe_instance *s = opened(in_dir("w.npz"), ""), *t = opened(NULL, "--seed 5");
  snprintf(opts, sizeof opts, "--entry run:logits -o %s", in_dir("s.onnx"));
  ck_assert_msg(lathe_export(g, s, opts, &e) == 0, "%s", e.message);
  snprintf(opts, sizeof opts, "--entry run:logits -o %s", in_dir("t.onnx"));
  ck_assert_msg(lathe_export(g, t, opts, &e) == 0, "%s", e.message);
  ck_assert(same_files(in_dir("s.onnx"), in_dir("t.onnx")));
  FILE *f = fopen(in_dir("w.npz"), "ab");
  ck_assert(f && fputs("x", f) >= 0 && !fclose(f));
  ck_assert_int_eq(lathe_export(g, s, opts, &e), LATHE_E_IO);
  lathe_instance_free(s), lathe_instance_free(t);
  clear();
}
END_TEST

/* In place, as NumPy writes; calls go on with what was packed. */
START_TEST(written_meanwhile) {
  make();
  float want[10], got[10];
  lathe_instance *s = opened(in_dir("w.npz"), ""), *t = opened(NULL, "--seed 6");
  outputs(s, want);
  FILE *f = fopen(in_dir("w.npz"), "wb");
  ck_assert(f && !fclose(f));
  ck_assert_ptr_null(lathe_buffer(s, "fc1.W", NULL));
  ck_assert_int_eq(lathe_weights_save(s, in_dir("again.npz"), 0, &e), LATHE_E_IO);
  ck_assert_msg(strstr(e.message, "has been written since its weights were opened") != NULL, "%s", e.message);
  ck_assert_int_eq(lathe_weights_copy(t, s, &e), LATHE_E_IO);
  outputs(s, got);
  ck_assert_mem_eq(want, got, sizeof want);
  ck_assert_int_eq(lathe_repack(s), 0);
  outputs(s, got);
  ck_assert_mem_eq(want, got, sizeof want);
  ck_assert_int_eq(lathe_weights_load(s, in_dir("w.safetensors"), 0, &e),
                   0); /* all of them: the old file is nobody's */
  weight(s, "fc3.b")[0] += 1;
  ck_assert_int_eq(lathe_repack(s), 0);
  outputs(s, got);
  ck_assert(got[0] == want[0] + 1 && got[1] == want[1]);
  lathe_instance_free(s), lathe_instance_free(t);
  clear();
}
END_TEST

/* A program that runs on loads the file that another has written over, and copies weights over those of such a file. */
START_TEST(loaded_again) {
  make();
  float want[10], got[10];
  lathe_instance *s = opened(in_dir("w.npz"), ""), *t = opened(in_dir("w.npz"), ""), *u = opened(NULL, "--seed 6");
  char command[700];
  outputs(u, want);
  ck_assert_int_eq(lathe_weights_save(u, in_dir("u.npz"), 0, &e), 0);
  snprintf(command, sizeof command, "cat %s > %s", in_dir("u.npz"), in_dir("w.npz"));
  usleep(20000); /* another time of change, whatever the file system's clock */
  ck_assert_int_eq(system(command), 0);
  ck_assert_int_eq(lathe_weights_load(s, in_dir("w.npz"), 0, &e), 0);
  ck_assert_int_eq(lathe_weights_copy(t, u, &e), 0);
  outputs(s, got);
  ck_assert_mem_eq(want, got, sizeof want);
  outputs(t, got);
  ck_assert_mem_eq(want, got, sizeof want);
  ck_assert_mem_eq(weight(s, "fc1.W"), weight(u, "fc1.W"), 400);
  ck_assert_mem_eq(weight(t, "fc1.W"), weight(u, "fc1.W"), 400);
  lathe_instance_free(s), lathe_instance_free(t), lathe_instance_free(u);
  clear();
}
END_TEST

/* What the network itself names a file for: an ONNX model's weights, all but the smallest. */
START_TEST(of_the_network) {
  make();
  char opts[400];
  float want[10], got[10];
  lathe_instance *s = opened(NULL, "--seed 5");
  outputs(s, want);
  snprintf(opts, sizeof opts, "--entry run:logits -o %s", in_dir("net.onnx"));
  ck_assert_msg(lathe_export(g, s, opts, &e) == 0, "%s", e.message);
  lathe_instance_free(s), lathe_model_free(m), lathe_graph_free(g);
  g = take(lathe_load(in_dir("net.onnx"), "", &e), "net.onnx");
  m = take(lathe_compile(g, "--entry run:logits", &e), "net.onnx");
  for (int threads = 1; threads < 4; threads++) {
    snprintf(opts, sizeof opts, "--threads %d", threads);
    s = opened(NULL, opts);
    lathe_instance *t = opened(NULL, opts);
    outputs(s, got);
    ck_assert_mem_eq(want, got, sizeof want);
    ck_assert_int_eq(lathe_repack(s), 0);
    ck_assert_int_eq(lathe_weights_copy(t, s, &e), 0); /* out of the file */
    weight(t, "fc3.b")[0] += 1;
    ck_assert_int_eq(lathe_repack(t), 0);
    outputs(t, got);
    ck_assert(got[0] == want[0] + 1 && got[1] == want[1]);
    ck_assert_int_eq(lathe_weights_save(s, in_dir("again.npz"), 0, &e), 0);
    ck_assert_int_eq(lathe_weights_load(t, in_dir("again.npz"), 0, &e), 0);
    outputs(t, got);
    ck_assert_mem_eq(want, got, sizeof want);
    lathe_instance_free(s), lathe_instance_free(t);
  }
  clear();
}
END_TEST

/* kB that this process has, or had at most since it was last asked. */
static long memory(const char *what) {
  char line[100];
  long kb = 0;
  FILE *f = fopen("/proc/self/status", "r");
  if (!f) LT_SKIP("there is no /proc/self/status");
  while (fgets(line, sizeof line, f))
    if (!strncmp(line, what, strlen(what))) kb = strtol(line + strlen(what) + 1, NULL, 10);
  fclose(f);
  return kb;
}

/* A file and what is packed of it are not in memory together, where both are large. */
START_TEST(memory_of_packing) {
  static const char text[] = "network wide(x: f32[1, 4096]) -> y {\n"
                             "  param W: f32[4096, 4096] = normal(scale=0.01)\n"
                             "  param V: f32[2048, 4096] = normal(scale=0.01)\n"
                             "  y = linear(linear(x, W), transpose(V, perm=[1, 0]))\n"
                             "}\n";
  const long kb = (4096 * 4096 + 2048 * 4096) * 4L / 1024;
#ifdef __SANITIZE_ADDRESS__
  LT_SKIP("a sanitizer counts in the memory");
#endif
  char opts[400];
  ck_assert_ptr_nonnull(mkdtemp(dir));
  g = take(lathe_parse(text, sizeof text - 1, "wide.lathe", "", &e), "text");
  snprintf(opts, sizeof opts, "--seed 1 -o %s", in_dir("wide.onnx"));
  ck_assert_msg(lathe_export(g, NULL, opts, &e) == 0, "%s", e.message);
  lathe_graph_free(g);
  g = take(lathe_load(in_dir("wide.onnx"), "", &e), "wide.onnx");
  m = take(lathe_compile(g, "--entry run", &e), "wide.onnx");
  FILE *f = fopen("/proc/self/clear_refs", "w"); /* 5: the most memory so far is what is there now */
  if (!f || fputs("5", f) < 0 || fclose(f)) LT_SKIP("the most memory cannot be asked for");
  long before = memory("VmRSS");
  lathe_instance *s = take(lathe_open(m, "", &e), "open");
  long most = memory("VmHWM") - before;
  ck_assert_msg(most > kb && most < kb / 2 * 3, "%ld kB for weights of %ld", most, kb);
  lathe_instance_free(s);
  clear();
}
END_TEST

LT_SUITE(mapped, same_bits, changed_by_the_caller, saved_and_copied, exported, written_meanwhile, loaded_again,
         of_the_network, memory_of_packing)
LT_TEST_MAIN(mapped)
