/* The rules of the house that a compiler does not check: who may include what, who may allocate, how long lines and
 * files may be. It reads every source file; each breach is a line of its own. */
#include "check_main.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* What the readers of networks share, beside their folders. */
#define SOURCES_SHARE "frontend/attrs.h", "frontend/call.h", "frontend/layers.", "frontend/names.h", "frontend/source.h"

/* A file under `folder` may include "x" only when x begins with one of `may`, and <llvm-c/…> only with `llvm`. The
 * first row that fits the file counts. */
static const struct { const char *folder; const char *may[11]; int llvm; } layers[] = {
  {"include/", {"lathe/"}, 0},
  {"runtime/", {"lathe/abi.h", "runtime/"}, 0},
  {"src/base/", {"lathe/", "base/"}, 0},
  {"src/weights/", {"lathe/", "base/", "weights/"}, 0},
  {"src/ir/", {"lathe/", "base/", "ir/"}, 0},
  {"src/frontend/frontend.h", {"frontend/"}, 0}, /* all of it, for the layers above */
  {"src/frontend/text/", {"lathe/", "base/", "ir/", SOURCES_SHARE, "frontend/text/"}, 0},
  {"src/frontend/onnx/", {"lathe/", "base/", "ir/", SOURCES_SHARE, "frontend/onnx/"}, 0},
  {"src/frontend/build/", {"lathe/", "base/", "ir/", SOURCES_SHARE, "frontend/text/", "frontend/build/"}, 0},
  {"src/frontend/", {"lathe/", "base/", "ir/", SOURCES_SHARE}, 0},
  {"src/export/", {"lathe/", "base/", "ir/", "frontend/onnx/onnx_types.def", "export/"}, 0},
  {"src/plan/", {"lathe/", "base/", "ir/", "plan/"}, 0},
  {"src/codegen/cpu/", {"lathe/", "base/", "ir/", "plan/", "codegen/"}, 1},
  /* what is asked of a machine */
  {"src/codegen/entry.c", {"base/", "plan/", "codegen/module.h", "codegen/cpu/kernels.h"}, 1},
  {"src/codegen/",
   {"lathe/", "base/", "ir/", "plan/", "codegen/codegen.h", "codegen/module.h", "codegen/llvm_util.h",
    "codegen/target"},
   1},
  {"src/driver/",
   {"lathe/", "base/", "ir/", "frontend/", "export/", "plan/", "codegen/", "driver/", "runtime/", "weights/"},
   0},
  {"tools/", {"lathe/", "tools/"}, 0},
};
enum { LAYERS = sizeof layers / sizeof layers[0], LINE = 120, FILE_LINES = 600 };

/* Calls that the library leaves to one file. */
static const struct { const char *call, *only, *why; } reserved[] = {
  {"malloc", "src/base/mem.c", "memory comes from lt_mem_*, so that tests can fail and count it"},
  {"calloc", "src/base/mem.c", "memory comes from lt_mem_*"},
  {"realloc", "src/base/mem.c", "memory comes from lt_mem_*"},
  {"free", "src/base/mem.c", "memory goes back through lt_mem_free"},
  {"strdup", "", "copy into an arena"},
  {"asprintf", "", "print into an arena"},
  {"abort", "", "a broken invariant is LATHE_E_INTERNAL through lt_fail"},
  {"exit", "", "a library does not end the program"},
  {"longjmp", "src/base/job.c", "unwinding is lt_fail's"},
  {"setjmp", "src/base/job.c", "catching is lt_protect's"},
};

/* `case LT_OP_x`, `== LT_OP_x` and `!= LT_OP_x` stand where one particular op is meant; what holds of an op among
 * others is a column of ops.def. Leaves may be named everywhere. */
static const struct { const char *where, *why; } names_ops[] = {
  {"src/ir/op_", "the ops themselves, in files of their families"},
  {"src/ir/gradients.c", "grad stands for other nodes"},
  {"src/ir/pass/autodiff.c", "grad stands for other nodes"},
  {"src/ir/pass/fold.c", "grad waits for autodiff"},
  {"src/ir/pass/mode.c", "dropout and batch_norm in an entry that trains"},
  {"src/ir/pass/lower.c", "stop_grad and a border around max_pool"},
  {"src/ir/pass/spell.c", "einsum and tensordot as products"},
  {"src/ir/pass/raise.c", "patterns of particular ops"},
  {"src/ir/pass/recognise.c", "patterns of particular ops"},
  {"src/ir/pass/simplify.c", "rules for particular ops"},
  {"src/ir/pass/view.c", "a view is made of reshape and transpose"},
  {"src/ir/pass/choose.c", "matmul says whether its right operand is turned; layout nodes that stand already"},
  {"src/plan/lower", "kernels of particular ops"},
  {"src/codegen/cpu/math.c", "elementwise ops on 16 lanes"},
  {"src/codegen/cpu/reduce.c", "the product at the end of a chain is fused into the sum"},
  {"src/frontend/", "dropout takes its key from its name"},
  {"src/export/", "what ONNX leaves open is open at particular ops, and known of others"},
  {"src/driver/export_api.c", "gradients are written out where there are some"},
  {"src/driver/model/uses.c", "how others keep a weight follows from the op that reads it"},
  {"src/driver/step/split.c", "a step is cut at its grad"},
};

static int breaches, quiet;
static unsigned files_seen, includes_seen;

#define BREACH(path, line, ...)                                                                                        \
  do {                                                                                                                 \
    breaches++;                                                                                                        \
    if (quiet) break;                                                                                                  \
    fprintf(stderr, "%s:%u: ", path, line);                                                                            \
    fprintf(stderr, __VA_ARGS__);                                                                                      \
    fputc('\n', stderr);                                                                                               \
  } while (0)

static int starts(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

static int may_include(unsigned layer, const char *path, const char *name) {
  if (!strchr(name, '/')) { /* a neighbour, or a file made at build time */
    const char *slash = strrchr(path, '/');
    return slash != NULL;
  }
  for (unsigned i = 0; i < 11 && layers[layer].may[i]; i++)
    if (starts(name, layers[layer].may[i])) return 1;
  return 0;
}

/* The row that speaks of a file, or LAYERS. */
static unsigned layer_of(const char *path) {
  unsigned i = 0;
  while (i < LAYERS && !starts(path, layers[i].folder)) i++;
  return i;
}

static void look_at_include(const char *path, unsigned line, const char *text) {
  char name[200];
  const char *p = text + strspn(text, " ");
  unsigned layer = layer_of(path);
  if (*p++ != '#') return;
  p += strspn(p, " ");
  if (sscanf(p, "include <%199[^>]", name) == 1) {
    if (!starts(name, "llvm-c/")) return;
    includes_seen++;
    if (layer < LAYERS && !layers[layer].llvm) BREACH(path, line, "<%s>: LLVM is for src/codegen only", name);
  } else if (sscanf(p, "include \"%199[^\"]", name) == 1) {
    includes_seen++;
    if (layer < LAYERS && !may_include(layer, path, name)) BREACH(path, line, "\"%s\" is not below this layer", name);
  }
}

/* `word(` that is not part of a longer name. */
static int calls(const char *text, const char *word) {
  size_t n = strlen(word);
  for (const char *p = text; (p = strstr(p, word)) != NULL; p += n)
    if (p[n] == '(' && (p == text || !(isalnum((unsigned char)p[-1]) || p[-1] == '_' || p[-1] == '.' || p[-1] == '>')))
      return 1;
  return 0;
}

static void look_at_calls(const char *path, unsigned line, const char *text) {
  const char *p = text + strspn(text, " ");
  if (!starts(path, "src/") || starts(p, "*") || starts(p, "/*") || starts(p, "//")) return;
  for (unsigned i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
    if (strcmp(path, reserved[i].only) != 0 && calls(text, reserved[i].call))
      BREACH(path, line, "%s(): %s", reserved[i].call, reserved[i].why);
}

/* Does the line ask whether something is this one op, no leaf? */
static int asks_for_op(const char *text) {
  static const char *const leaves[] = {"none", "input", "param", "state", "const"};
  for (const char *p = text; (p = strstr(p, " LT_OP_")) != NULL;) {
    int asks = (p - text >= 2 && (strncmp(p - 2, "==", 2) == 0 || strncmp(p - 2, "!=", 2) == 0)) ||
               (p - text >= 4 && strncmp(p - 4, "case", 4) == 0);
    p += strlen(" LT_OP_");
    size_t n = 0;
    while (isalnum((unsigned char)p[n]) || p[n] == '_') n++;
    for (unsigned i = 0; i < sizeof leaves / sizeof leaves[0]; i++)
      asks &= strlen(leaves[i]) != n || strncmp(p, leaves[i], n) != 0;
    if (asks) return 1;
  }
  return 0;
}

static void look_at_ops(const char *path, unsigned line, const char *text) {
  if (!starts(path, "src/") || !asks_for_op(text)) return;
  for (unsigned i = 0; i < sizeof names_ops / sizeof names_ops[0]; i++)
    if (starts(path, names_ops[i].where)) return;
  BREACH(path, line, "asks for an op by its name: make it a column of src/ir/ops.def");
}

static unsigned characters(const char *text) { /* not bytes: "…" is one */
  unsigned n = 0;
  for (; *text && *text != '\n'; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
  return n;
}

static void look_at_file(FILE *f, const char *path) {
  char text[4096];
  int table = strstr(path, ".def") != NULL; /* rows of tables may be long */
  unsigned line = 0;
  files_seen++;
  while (fgets(text, sizeof text, f)) {
    line++;
    look_at_include(path, line, text);
    look_at_calls(path, line, text);
    look_at_ops(path, line, text);
    if (!table && characters(text) > LINE) BREACH(path, line, "%u characters; %d are allowed", characters(text), LINE);
  }
  if (starts(path, "src/") && layer_of(path) == LAYERS)
    BREACH(path, 1, "no row of `layers` says what this folder may include");
  if (!table && line > FILE_LINES) BREACH(path, line, "a file of %u lines; %d are allowed", line, FILE_LINES);
}

static int is_source(const char *name) {
  const char *dot = strrchr(name, '.');
  return dot && (strcmp(dot, ".c") == 0 || strcmp(dot, ".h") == 0 || strcmp(dot, ".def") == 0);
}

static void walk(const char *root, const char *folder) {
  char path[1000];
  snprintf(path, sizeof path, "%s/%s", root, folder);
  DIR *d = opendir(path);
  ck_assert_msg(d != NULL, "%s: %s", path, strerror(errno));
  for (const struct dirent *e; (e = readdir(d)) != NULL;) {
    struct stat st;
    if (e->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s%s", root, folder, e->d_name);
    if (stat(path, &st)) continue; /* gone meanwhile: an editor's */
    snprintf(path, sizeof path, "%s%s", folder, e->d_name);
    if (S_ISDIR(st.st_mode)) {
      strcat(path, "/");
      walk(root, path);
    } else if (is_source(e->d_name)) {
      char full[1200];
      snprintf(full, sizeof full, "%s/%s", root, path);
      FILE *f = fopen(full, "r");
      ck_assert_msg(f != NULL, "%s: %s", full, strerror(errno));
      look_at_file(f, path);
      fclose(f);
    }
  }
  closedir(d);
}

START_TEST(sources_keep_the_rules) {
  const char *tests = getenv("LT_TESTS");
  ck_assert_msg(tests != NULL, "LT_TESTS is not set: run this through meson test");
  char root[1000];
  snprintf(root, sizeof root, "%s/..", tests);
  const char *const folders[] = {"include/", "runtime/", "src/", "tools/", "tests/", "examples/", "bench/"};
  for (unsigned i = 0; i < sizeof folders / sizeof folders[0]; i++) walk(root, folders[i]);
  ck_assert_uint_gt(files_seen, 40);
  ck_assert_uint_gt(includes_seen, 40);
  ck_assert_msg(breaches == 0, "%d breaches, listed above", breaches);
}
END_TEST

static int breaches_of(const char *path, char *text, size_t n) {
  FILE *f = fmemopen(text, n, "r");
  ck_assert_ptr_nonnull(f);
  breaches = 0, quiet = 1;
  look_at_file(f, path);
  quiet = 0;
  fclose(f);
  return breaches;
}

/* Each rule finds what breaks it, and nothing else. */
START_TEST(rules_can_fail) {
  static const struct { const char *path, *text; int breaches; } files[] = {
    {"src/plan/plan.c", "#include \"plan/plan.h\"\n#include \"ir/ir.h\"\n#include <stdio.h>\n", 0},
    {"src/plan/plan.c", "#include <llvm-c/Core.h>\n", 1},
    {"src/plan/plan.c", "#include \"codegen/codegen.h\"\n#include \"driver/options.h\"\n", 2},
    {"src/ir/op.c", "#include \"plan/plan.h\"\n  #  include <llvm-c/Core.h>\n", 2},
    {"src/driver/entry.c", "#include <llvm-c/Core.h>\n", 1},
    {"src/codegen/cpu/tile.c", "#include <llvm-c/Core.h>\n#include \"plan/plan.h\"\n", 0},
    {"src/codegen/cpu/tile.c", "#include \"driver/options.h\"\n", 1},
    {"src/codegen/state.c", "#include \"codegen/module.h\"\n#include \"codegen/cpu/kernels.h\"\n", 1},
    {"src/codegen/entry.c", "#include \"codegen/cpu/kernels.h\"\n#include \"codegen/cpu/tile.h\"\n", 1},
    {"src/gpu/tile.c", "int x;\n", 1},
    {"src/ir/op.c", "  p = malloc(3);\n  longjmp(b, 1);\n", 2},
    {"src/base/mem.c", "  p = malloc(3);\n", 0},
    {"src/plan/plan.c", "  if (n->op == LT_OP_relu) return;\n", 1},
    {"src/plan/plan.c", "  if (n->op == LT_OP_const) return;\n", 0},
    {"src/plan/lower_gemm.c", "  case LT_OP_linear: return;\n", 0},
    {"tests/unit/ir.c", "  p = malloc(3);\n#include <llvm-c/Core.h>\n", 0},
  };
  for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++) {
    char text[200];
    snprintf(text, sizeof text, "%s", files[i].text);
    ck_assert_msg(breaches_of(files[i].path, text, strlen(text)) == files[i].breaches, "%s:\n%s", files[i].path, text);
  }
  char line[LINE + 3], many[FILE_LINES + 1];
  memset(line, 'x', sizeof line), memset(many, '\n', sizeof many);
  ck_assert_int_eq(breaches_of("tests/x.c", line, LINE), 0);
  ck_assert_int_eq(breaches_of("tests/x.c", line, LINE + 1), 1);
  ck_assert_int_eq(breaches_of("tests/x.def", line, LINE + 1), 0);
  ck_assert_int_eq(breaches_of("tests/x.c", many, FILE_LINES), 0);
  ck_assert_int_eq(breaches_of("tests/x.c", many, FILE_LINES + 1), 1);
  ck_assert_int_eq(breaches_of("tests/x.def", many, FILE_LINES + 1), 0);
}
END_TEST

/* The parts of the rules see what they should. */
START_TEST(checks_can_fail) {
  ck_assert(asks_for_op("  if (n->op == LT_OP_relu) {"));
  ck_assert(asks_for_op("  case LT_OP_input: case LT_OP_sum: return true;"));
  ck_assert(!asks_for_op("  if (n->op != LT_OP_const) return lt_unary(g, LT_OP_relu, x);"));
  ck_assert(calls("  p = malloc(3);", "malloc"));
  ck_assert(!calls("  p = my_malloc(3);", "malloc"));
  ck_assert(!calls("  p->free(3);", "free"));
  ck_assert(may_include(1, "runtime/pool.c", "lathe/abi.h"));
  ck_assert(!may_include(1, "runtime/pool.c", "base/base.h"));
  ck_assert(!may_include(3, "src/ir/type.c", "frontend/text/text.h"));
  const struct { const char *file, *header; int may; } readers[] = {
    {"src/frontend/text/value.c", "frontend/call.h", 1},
    {"src/frontend/text/value.c", "frontend/build/apply.h", 0},
    {"src/frontend/build/apply.c", "frontend/text/eval.h", 1},
    {"src/frontend/call.c", "frontend/text/text.h", 0},
    {"src/frontend/attrs.c", "frontend/frontend.h", 0},
    {"src/driver/graph_api.h", "frontend/frontend.h", 1},
  };
  for (unsigned i = 0; i < sizeof readers / sizeof readers[0]; i++)
    ck_assert_int_eq(may_include(layer_of(readers[i].file), readers[i].file, readers[i].header), readers[i].may);
  ck_assert_uint_eq(characters("a…b\n"), 3);
}
END_TEST

LT_SUITE(house, sources_keep_the_rules, rules_can_fail, checks_can_fail)
LT_TEST_MAIN(house)
