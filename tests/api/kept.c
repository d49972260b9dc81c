/* kept.c: code out of the cache is the code that would have been made: the same bits whether it was there, was not, or
 * was damaged; and another key for everything that makes other code. */
#include "check_main.h"
#include "driver/pipeline.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/lathe-kept-XXXXXX";

static void make(void) {
  ck_assert_ptr_nonnull(mkdtemp(folder));
  setenv("LATHE_CACHE", folder, 1);
}

static void clear(void) {
  char command[100];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  ck_assert_int_eq(system(command), 0);
}

static void *take(void *p, const char *what, const lathe_error *e) {
  ck_assert_msg(p != NULL, "%s: %s", what, e->message);
  return p;
}

static lathe_graph *load(const char *file) {
  char path[512];
  lathe_error e;
  snprintf(path, sizeof path, "%s/models/%s.lathe", getenv("LT_TESTS"), file);
  return take(lathe_load(path, NULL, &e), path, &e);
}

/* ---- the same bits ----------------------------------------------------------------------------------------------- */

static const struct { const char *file, *opts, *entry; int calls; } models[] = {
  {"chapter", "--entry run", "run", 1},
  {"depthwise", "--entry run", "run", 1},
  {"digits", "--entry run", "run", 1},
  {"digits", "--entry train --optimizer adam", "train", 2},
  {"digits", "--entry train --halves --profile", "train", 2},
  {"fit", "--entry run", "run", 1},
  {"lenet5", "--entry run", "run", 1},
  {"ops", "--entry run", "run", 1},
  {"potential", "--entry run", "run", 1},
  {"residual", "--entry run --entry train:loss --optimizer momentum --threads 3", "train", 2},
  {"resnet18", "--entry run", "run", 1},
  {"sequence", "--entry run", "run", 1},
  {"wide", "--entry run", "run", 1},
};

/* What looking in the cache came to: "hit", "miss", a reason. */
static void came_to(const lathe_model *m, char out[200]) {
  lathe_error e;
  char *text = take(lathe_model_report(m, "passes", &e), "passes", &e), *at = strstr(text, "cache (");
  ck_assert_ptr_nonnull(at);
  snprintf(out, 200, "%.*s", (int)strcspn(at + 7, ")\n"), at + 7);
  lathe_free(text);
}

/* The bits of all ports after some calls. */
static uint64_t results(const lathe_graph *g, size_t row, const char *more, const char *expected) {
  char opts[300], was[200];
  lathe_error e;
  lathe_port p;
  snprintf(opts, sizeof opts, "%s --time-passes %s", models[row].opts, more);
  lathe_model *m = take(lathe_compile(g, opts, &e), opts, &e);
  came_to(m, was);
  ck_assert_msg(!strcmp(was, expected), "%s %s: %s, not %s", models[row].file, opts, was, expected);
  lathe_instance *s = take(lathe_open(m, "--seed 3", &e), opts, &e);
  const char *entry = models[row].entry;
  for (size_t i = 0; lathe_model_port(m, entry, i, &p); i++)
    if (!strcmp(p.kind, "input")) ck_assert_int_eq(lathe_fill(s, p.name, 5, 0), 0);
  for (int i = 0; i < models[row].calls; i++) ck_assert_int_eq(lathe_call(s, entry), 0);
  uint64_t h = 1;
  for (size_t i = 0; lathe_model_port(m, entry, i, &p); i++) {
    size_t bytes = 0;
    const void *at = lathe_buffer(s, p.name, &bytes);
    if (at && strcmp(p.kind, "hyper")) h = lt_hash(at, bytes, h);
  }
  lathe_stats stats;
  ck_assert_int_eq(lathe_model_stats(m, entry, &stats), 1);
  h = lt_hash(&stats.functions, sizeof stats.functions, h);
  lathe_instance_free(s);
  lathe_model_free(m);
  return h;
}

static bool is_entry(const char *name) { return strstr(name, ".kept") != NULL; }

/* The only entry's path; returns how many there are. */
static int find_entry(char path[400]) {
  DIR *d = opendir(folder);
  int n = 0;
  ck_assert_ptr_nonnull(d);
  for (struct dirent *e; (e = readdir(d));)
    if (is_entry(e->d_name)) snprintf(path, 400, "%s/%s", folder, e->d_name), n++;
  closedir(d);
  return n;
}

/* One byte in `part` of 16 is another, or the file ends there. */
static void damage(const char *path, int part, bool cut) {
  struct stat st;
  unsigned char b;
  int fd = open(path, O_RDWR);
  ck_assert(fd >= 0 && !fstat(fd, &st));
  off_t at = st.st_size * part / 16;
  ck_assert_int_eq(pread(fd, &b, 1, at), 1);
  b ^= 0x10;
  ck_assert_int_eq(cut ? ftruncate(fd, at) : pwrite(fd, &b, 1, at) != 1, 0);
  close(fd);
}

START_TEST(same_bits) {
  char path[400], command[200];
  make();
  for (size_t row = 0; row < LT_COUNT(models); row++) {
    lathe_graph *g = load(models[row].file);
    uint64_t plain = results(g, row, "", "not asked for");
    ck_assert_int_eq(find_entry(path), 0);
    ck_assert_uint_eq(results(g, row, "--cache", "miss"), plain);
    ck_assert_uint_eq(results(g, row, "--cache", "hit"), plain);
    ck_assert_int_eq(find_entry(path), 1);
    bool large = !strcmp(models[row].file, "resnet18"); /* which takes seconds to compile */
    for (int part = 0; part < 16 && !large; part += 5) {
      damage(path, part, part == 10);
      ck_assert_uint_eq(results(g, row, "--cache", "miss"), plain);
      ck_assert_uint_eq(results(g, row, "--cache", "hit"), plain);
    }
    lathe_graph_free(g);
    snprintf(command, sizeof command, "rm %s/*", folder);
    ck_assert_int_eq(system(command), 0);
  }
  ck_assert_int_eq(lt_mem_live(), 0);
  clear();
}
END_TEST

/* A folder that cannot be used is a reason, not an error; so is none. */
START_TEST(unusable) {
  make();
  lathe_graph *g = load("chapter");
  uint64_t plain = results(g, 0, "", "not asked for");
  setenv("LATHE_CACHE", "", 1);
  ck_assert_uint_eq(results(g, 0, "--cache", "LATHE_CACHE is empty"), plain);
  setenv("LATHE_CACHE", "/dev/null", 1);
  ck_assert_uint_eq(results(g, 0, "--cache", "/dev/null is no folder that can be used"), plain);
  setenv("LATHE_CACHE", "/tmp", 1);
  ck_assert_uint_eq(results(g, 0, "--cache", "/tmp is not this user's own alone"), plain);
  lathe_graph_free(g);
  clear();
}
END_TEST

/* Two processes that find nothing and write the same at once, many times. */
START_TEST(two_at_once) {
  enum { TIMES = 12 };
  make();
  lathe_graph *g = load("chapter");
  uint64_t plain = results(g, 0, "", "not asked for");
  pid_t child[2];
  for (int i = 0; i < 2; i++) {
    child[i] = fork();
    if (child[i]) continue;
    for (int t = 0; t < TIMES; t++) {
      lathe_error e;
      char path[400];
      lathe_model *m = lathe_compile(g, "--entry run --cache", &e);
      if (!m) _exit(2);
      lathe_model_free(m);
      if (find_entry(path)) unlink(path);
    }
    _exit(0);
  }
  for (int i = 0; i < 2; i++) {
    int status;
    ck_assert_int_eq(waitpid(child[i], &status, 0), child[i]);
    ck_assert_int_eq(status, 0);
  }
  char path[400];
  if (find_entry(path)) unlink(path);
  ck_assert_uint_eq(results(g, 0, "--cache", "miss"), plain);
  ck_assert_uint_eq(results(g, 0, "--cache", "hit"), plain);
  lathe_graph_free(g);
  clear();
}
END_TEST

/* ---- keys -------------------------------------------------------------------------------------------------------- */

/* Options that lathe_compile takes, each with texts that make other code (or none: `same`, why it cannot). */
typedef struct variant { const char *option, *base, *changed; bool same; } variant;
static const variant variants[] = {
  {"entry", "--entry run", "--entry grad", false},
  {"entry", "--entry run", "--entry other=run", false},
  {"entry", "--entry run", "--entry train", false},
  {"entry", "--entry run", "--entry run --entry train", false},
  {"entry", "--entry run", "--entry run@N=3", false},
  {"output_grad", "--entry grad:logits", "--entry grad:logits --output-grad logits", false},
  {"hvp", "--entry grad:loss", "--entry grad:loss --hvp x", false},
  {"mode", "--entry grad", "--entry grad --mode train", false},
  {"loss", "--entry train", "--entry train --loss mse", false},
  {"optimizer", "--entry train", "--entry train --optimizer momentum", false},
  {"lr", "--entry train", "--entry train --lr 0.02", false},
  {"weight_decay", "--entry train", "--entry train --weight-decay 0.01", false},
  {"clip_norm", "--entry train", "--entry train --clip-norm 1", false},
  {"freeze", "--entry train", "--entry train --freeze conv1", false},
  {"math", "--entry run", "--entry run --math fast", true}, /* so far */
#if defined(__x86_64__)
  {"cpu", "--entry run --cpu x86-64", "--entry run --cpu x86-64-v2", false},
  {"cpu", "--entry run --cpu x86-64", "--entry run", false},
  {"features", "--entry run --cpu x86-64-v2", "--entry run --cpu x86-64-v2 --features -sse4.2", false},
#endif
  {"verify_each", "--entry run", "--entry run --verify-each", true},
  {"time_passes", "--entry run", "--entry run --time-passes", true},
  {"threads", "--entry run", "--entry run --threads 3", true},
  {"cache", "--entry run", "--entry run --cache", true},
  {"halves", "--entry train", "--entry train --halves", false},
  {"profile", "--entry run", "--entry run --profile", false},
};

typedef struct made { uint64_t key, code; } made;
typedef struct making { const lathe_graph *g; const char *opts; made out; } making;

static void body_make(lt_job *job, void *arg) {
  making *p = arg;
  lt_arena *a = lt_arena_new(job);
  lathe_model *m = lt_model_plan(job, p->g, p->opts, TO_COMPILE);
  lt_target t;
  lt_str key;
  lt_str_init(&key, a);
  lt_target_host(&t, job, a, m->options.cpu, m->options.features);
  ck_assert_msg(lt_code_key(&key, &t, m->unit, m->n_unit), "this program has no build id");
  lt_bytes object = lt_emit_object(job, a, &t, m->unit, m->n_unit);
  p->out = (made){lt_hash(key.at, key.n, 0), lt_hash(object.at, object.n, 0)};
  lt_fail(job, LATHE_E_DATA, NULL, "made"); /* which frees the model */
}

static made make_code(const lathe_graph *g, const char *opts) {
  making p = {.g = g, .opts = opts};
  lathe_error e;
  ck_assert_msg(lt_protect(&e, body_make, &p) == LATHE_E_DATA, "%s: %s", opts, e.message);
  return p.out;
}

static const char *const compile_options[] = {
#define OPTION(id, name, arg, kind, lo, hi, choices, verbs, to, many, def, doc) (to) & TO_COMPILE ? #id : NULL,
#include "lathe/options.def"
};

START_TEST(options_make_keys) {
  lathe_graph *g = load("digits");
  made all[2 * LT_COUNT(variants)];
  for (size_t i = 0; i < LT_COUNT(compile_options); i++) {
    bool known = !compile_options[i];
    for (size_t k = 0; k < LT_COUNT(variants); k++) known |= !known && !strcmp(variants[k].option, compile_options[i]);
    ck_assert_msg(known, "--%s is not among the variants: does it change code?", compile_options[i]);
  }
  for (size_t i = 0; i < LT_COUNT(variants); i++) {
    const variant *v = &variants[i];
    made *two = &all[2 * i];
    two[0] = make_code(g, v->base), two[1] = make_code(g, v->changed);
    ck_assert_msg((two[0].code == two[1].code) == v->same, "%s and %s: code", v->base, v->changed);
    ck_assert_msg((two[0].key == two[1].key) == v->same, "%s and %s: keys", v->base, v->changed);
  }
  for (size_t i = 0; i < LT_COUNT(all); i++)
    for (size_t k = 0; k < i; k++)
      ck_assert_msg(all[i].key != all[k].key || all[i].code == all[k].code, "one key for two codes: %zu, %zu", i, k);
  lathe_graph_free(g);
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

/* Texts that differ in one thing each: code and key are others. */
static const char *const texts[] = {
  "x: f32[4, 8]) -> y { y = relu(x) }",
  "x: f32[4, 8]) -> y { y = tanh(x) }",
  "x: f32[4, 9]) -> y { y = relu(x) }",
  "x: f64[4, 8]) -> y { y = relu(x) }",
  "x: f32[4, 8]) -> y { y = x + 1.0 }",
  "x: f32[4, 8]) -> y { y = x + 2.0 }",
  "x: f32[4, 8]) -> y {\n const c: f32[8] = [1, 2, 3, 4, 5, 6, 7, 8]\n y = x + c\n}",
  "x: f32[4, 8]) -> y {\n const c: f32[8] = [1, 2, 3, 4, 5, 6, 7, 9]\n y = x + c\n}",
  "x: f32[4, 8], z: f32[4, 8]) -> y { y = x - z }",
  "x: f32[4, 8], z: f32[4, 8]) -> y { y = z - x }",
  "x: f32[4, 8], i: i32[4, 2]) -> y { y = gather(x, i, axis=1) }",
  "x: f32[4, 8]) -> y {\n param w: f32[4, 8] = ones()\n y = x + w\n}",
  "x: f32[4, 8]) -> y {\n param w: f32[4, 8] = ones()\n param v: f32[4, 8] = ones()\n y = x + v\n}",
  "x: f32[4, 8]) -> y { y = x * 1.0e9 }",
};

START_TEST(texts_make_keys) {
  made all[LT_COUNT(texts)];
  size_t made_n = 0;
  for (size_t i = 0; i < LT_COUNT(texts); i++) {
    char text[300];
    lathe_error e;
    snprintf(text, sizeof text, "network n(%s", texts[i]);
    lathe_graph *g = lathe_parse(text, strlen(text), "t", NULL, &e);
    ck_assert_msg(g != NULL, "%s: %s", text, e.message);
    all[made_n++] = make_code(g, "--entry run");
    lathe_graph_free(g);
    for (size_t k = 0; k + 1 < made_n; k++) {
      ck_assert_msg(all[k].code != all[i].code, "the code of %s and of %s", texts[i], texts[k]);
      ck_assert_msg(all[k].key != all[i].key, "the keys of %s and of %s", texts[i], texts[k]);
    }
  }
}
END_TEST

LT_SUITE(kept, same_bits, unusable, two_at_once, options_make_keys, texts_make_keys)
LT_TEST_MAIN(kept)
