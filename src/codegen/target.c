/* target.c: the host as LLVM sees it, limited by --cpu and --features, or another machine by its triple; and the row of
 * targets.def that fits.
 *
 * --cpu takes the host's own name (all its features), a level (x86-64-v3) or a CPU of targets.def (its level's
 * features, its tuning). --features "+a,-b" then adds and removes. Whatever is asked for must be among the host's
 * features, so that the code runs here; taking away is how one machine compares vector widths. */
#include "codegen/llvm_util.h"
#include "codegen/codegen.h"

#include <llvm-c/Target.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

typedef struct lt_row {
  const char *name, *arch, *needs;
  unsigned bytes, regs;
  bool fma;
  unsigned latency;
  const char *doc;
} lt_row;
typedef struct lt_level { const char *name, *arch, *cpu, *features; } lt_level;
typedef struct lt_cpu { const char *name, *level; } lt_cpu;
typedef struct lt_arch { const char *words, *arch; unsigned pointer; const char *level, *abi, *doc; } lt_arch;
typedef struct lt_more { const char *arch, *list; } lt_more;
typedef struct lt_unserved { const char *word, *rest, *why; } lt_unserved;

static const lt_row rows[] = {
#define TARGET(name, arch, needs, bytes, regs, fma, latency, doc) {name, arch, needs, bytes, regs, fma, latency, doc},
#include "codegen/targets.def"
};
static const lt_level levels[] = {
#define LEVEL(name, arch, cpu, features) {name, arch, cpu, features},
#include "codegen/targets.def"
};
static const lt_cpu cpus[] = {
#define CPU(name, level) {name, level},
#include "codegen/targets.def"
};

static const lt_arch archs[] = {
#define ARCH(words, arch, pointer, level, abi, doc) {words, arch, pointer, level, abi, doc},
#include "codegen/targets.def"
};
static const lt_more more[] = {
#define FEATURES(arch, list) {arch, list},
#include "codegen/targets.def"
};

static const lt_unserved unserved[] = {
#define UNSERVED(word, rest, why) {word, rest, why},
#include "codegen/targets.def"
};

static void start_native(void) {
  LLVMInitializeNativeTarget();
  LLVMInitializeNativeAsmPrinter();
}

/* Distributions' LLVM has all of these; one that was built without a target lacks its functions, and does not link. */
static void start_others(void) {
#define START(name)                                                                                                    \
  LLVMInitialize##name##TargetInfo(), LLVMInitialize##name##Target(), LLVMInitialize##name##TargetMC(),                \
    LLVMInitialize##name##AsmPrinter()
  START(X86);
  START(AArch64);
  START(ARM);
  START(RISCV);
  START(WebAssembly);
#undef START
}

void lt_llvm_init(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, start_native);
}

static void init_others(void) { /* takes a millisecond that a JIT need not spend */
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, start_others);
}

const char *lt_llvm_version(void) {
  static _Thread_local char text[32];
  unsigned major, minor, patch;
  LLVMGetVersion(&major, &minor, &patch);
  snprintf(text, sizeof text, "%u.%u.%u", major, minor, patch);
  return text;
}

/* ---- feature lists: "+a,-b,+c", later ones win ---- */

/* What the list says last of name[0..n): '+', '-', or 0 when it says nothing. */
static char feature_of(const char *list, const char *name, size_t n) {
  char sign = 0;
  for (const char *p = list; *p;) {
    size_t len = strcspn(p, ",");
    if (len == n + 1 && memcmp(p + 1, name, n) == 0) sign = *p;
    p += len + (p[len] == ',');
  }
  return sign;
}

static bool has_all(const char *list, const char *needs) {
  for (const char *p = needs; *p;) {
    size_t len = strcspn(p, ",");
    if (feature_of(list, p, len) != '+') return false;
    p += len + (p[len] == ',');
  }
  return true;
}

/* Names of a list, NULL-terminated, for lt_nearest. */
static const char *const *names_of(lt_arena *a, const char *list) {
  LT_VEC(const char *) v = {0};
  for (const char *p = list; *p;) {
    size_t len = strcspn(p, ",");
    if (len > 1) lt_vec_push(a, &v, lt_arena_strndup(a, p + 1, len - 1));
    p += len + (p[len] == ',');
  }
  lt_vec_push(a, &v, NULL);
  return v.at;
}

/* ---- cpu ---- */

static const char *const *cpu_names(lt_arena *a, const char *arch, const char *host) {
  LT_VEC(const char *) v = {0};
  if (*host) lt_vec_push(a, &v, host);
  for (size_t i = 0; i < LT_COUNT(levels); i++)
    if (strcmp(levels[i].arch, arch) == 0) lt_vec_push(a, &v, levels[i].name);
  for (size_t i = 0; i < LT_COUNT(cpus); i++)
    for (size_t k = 0; k < LT_COUNT(levels); k++)
      if (strcmp(levels[k].name, cpus[i].level) == 0 && strcmp(levels[k].arch, arch) == 0 &&
          strcmp(cpus[i].name, host) != 0)
        lt_vec_push(a, &v, cpus[i].name);
  lt_vec_push(a, &v, NULL);
  return v.at;
}

static const lt_level *level_of(const char *cpu, const char *arch) {
  for (size_t i = 0; i < LT_COUNT(levels); i++) {
    if (strcmp(levels[i].arch, arch) != 0) continue;
    if (strcmp(levels[i].name, cpu) == 0) return &levels[i];
    for (size_t k = 0; k < LT_COUNT(cpus); k++)
      if (strcmp(cpus[k].name, cpu) == 0 && strcmp(cpus[k].level, levels[i].name) == 0) return &levels[i];
  }
  return NULL;
}

static const char *join(lt_arena *a, const char *const *names) {
  lt_str s;
  lt_str_init(&s, a);
  for (size_t i = 0; names[i]; i++) lt_str_printf(&s, "%s%s", i ? ", " : "", names[i]);
  return s.at;
}

LT_NORETURN static void unknown_cpu(lt_job *job, lt_arena *a, const char *cpu, const char *arch, const char *host) {
  const char *const *names = cpu_names(a, arch, host);
  const char *near = lt_nearest(cpu, names);
  if (near) lt_fail(job, LATHE_E_INVALID, NULL, "--cpu: unknown CPU `%s`\nhelp: did you mean `%s`?", cpu, near);
  lt_fail(job, LATHE_E_INVALID, NULL, "--cpu: unknown CPU `%s`\nhelp: one of %s", cpu, join(a, names));
}

/* The features of the CPU asked for, as "+a,+b"; out->cpu and out->tune are set. */
static const char *cpu_features(lt_target *out, lt_job *job, lt_arena *a, const char *cpu, const char *arch,
                                const char *host, const char *host_features) {
  out->cpu = host;
  if (!cpu || !*cpu || strcmp(cpu, "native") == 0 || strcmp(cpu, host) == 0) return host_features;
  const lt_level *level = level_of(cpu, arch);
  if (!level) unknown_cpu(job, a, cpu, arch, host);
  lt_str s;
  lt_str_init(&s, a);
  for (const char *p = level->features; *p;) {
    size_t len = strcspn(p, ",");
    if (feature_of(host_features, p, len) == '-')
      lt_fail(
        job, LATHE_E_INVALID, NULL,
        "--cpu %s: this machine (%s) has no %.*s\nhelp: code is run here, so it can use at most what the host has", cpu,
        host, (int)len, p);
    lt_str_printf(&s, "%s+%.*s", s.n ? "," : "", (int)len, p);
    p += len + (p[len] == ',');
  }
  out->cpu = level->cpu;
  out->tune = strcmp(cpu, level->name) == 0 ? NULL : lt_arena_strdup(a, cpu);
  return s.at;
}

/* Check "+a,-b" against the host. */
static void check_features(lt_job *job, lt_arena *a, const char *list, const char *host, const char *host_features) {
  for (const char *p = list; *p;) {
    size_t len = strcspn(p, ",");
    if (len < 2 || (*p != '+' && *p != '-'))
      lt_fail(job, LATHE_E_INVALID, NULL,
              "--features: `%.*s` is not +NAME or -NAME\nhelp: write --features=-avx512f,+fma", (int)len, p);
    char sign = feature_of(host_features, p + 1, len - 1);
    if (!sign) {
      const char *near = lt_nearest(lt_arena_strndup(a, p + 1, len - 1), names_of(a, host_features));
      if (near)
        lt_fail(job, LATHE_E_INVALID, NULL, "--features: unknown feature `%.*s`\nhelp: did you mean `%s`?",
                (int)len - 1, p + 1, near);
      lt_fail(job, LATHE_E_INVALID, NULL,
              "--features: unknown feature `%.*s`\nhelp: names as in clang, such as avx2, fma, avx512f", (int)len - 1,
              p + 1);
    }
    if (*p == '+' && sign != '+')
      lt_fail(
        job, LATHE_E_INVALID, NULL,
        "--features: this machine (%s) has no %.*s\nhelp: code is run here, so it can use at most what the host has",
        host, (int)len - 1, p + 1);
    p += len + (p[len] == ',');
  }
}

/* LLVM takes away what depends on a feature that is taken away; say so in the list, so that has_all sees it. */
static const char *take_away(lt_arena *a, const char *list) {
  static const struct { const char *gone, *with; } rule[] = {
    {"sse4.2", "avx"},       {"avx", "avx2"},         {"avx", "fma"},          {"avx", "f16c"},
    {"avx2", "avx512f"},     {"fma", "avx512f"},      {"f16c", "avx512f"},     {"avx512f", "avx512bw"},
    {"avx512f", "avx512dq"}, {"avx512f", "avx512vl"}, {"avx512f", "avx512cd"},
  };
  lt_str s;
  lt_str_init(&s, a);
  lt_str_puts(&s, list);
  for (size_t i = 0; i < LT_COUNT(rule); i++)
    if (feature_of(s.at, rule[i].gone, strlen(rule[i].gone)) == '-' &&
        feature_of(s.at, rule[i].with, strlen(rule[i].with)) == '+')
      lt_str_printf(&s, ",-%s", rule[i].with);
  return s.at;
}

static char *copy_message(lt_arena *a, char *message) {
  char *s = lt_arena_strdup(a, message);
  LLVMDisposeMessage(message);
  return s;
}

/* ---- all of it ---- */

static int64_t cache_bytes(int name, int64_t otherwise) {
  long n = sysconf(name);
  return n > 0 ? n : otherwise;
}

static const lt_row *row_of(const char *arch, const char *features) {
  for (size_t i = 0; i < LT_COUNT(rows); i++)
    if ((!*rows[i].arch || strcmp(rows[i].arch, arch) == 0) && has_all(features, rows[i].needs)) return &rows[i];
  return &rows[LT_COUNT(rows) - 1];
}

/* Is the first word of the triple one of "a|b"? */
static bool is_word(const char *words, const char *triple) {
  size_t n = strcspn(triple, "-");
  for (const char *p = words; *p; p += strcspn(p, "|"), p += *p == '|')
    if (strcspn(p, "|") == n && memcmp(p, triple, n) == 0) return true;
  return false;
}

static const lt_arch *arch_of(const char *triple) {
  for (size_t i = 0; i < LT_COUNT(archs); i++)
    if (is_word(archs[i].words, triple)) return &archs[i];
  return NULL;
}

/* What follows from triple and features. */
static void describe(lt_target *out, const char *arch) {
  const lt_row *row = row_of(arch, out->features);
  const lt_arch *known = arch_of(out->triple);
  out->row = row->name;
  out->vector_bytes = row->bytes;
  out->vector_regs = row->regs;
  out->fma = row->fma;
  out->fma_latency = row->latency;
  out->pointer_bytes = known ? known->pointer : (unsigned)sizeof(void *);
  out->abi = known ? known->abi : "";
}

void lt_target_host(lt_target *out, lt_job *job, lt_arena *a, const char *cpu, const char *features) {
  lt_llvm_init();
  *out = (lt_target){0};
  out->triple = copy_message(a, LLVMGetDefaultTargetTriple());
  const char *arch = lt_arena_strndup(a, out->triple, strcspn(out->triple, "-"));
  const char *host = copy_message(a, LLVMGetHostCPUName()), *all = copy_message(a, LLVMGetHostCPUFeatures());
  const char *list = cpu_features(out, job, a, cpu, arch, host, all);
  if (features && *features) {
    check_features(job, a, features, host, all);
    list = take_away(a, lt_arena_printf(a, "%s%s%s", list, *list ? "," : "", features));
  }
  out->features = list;
  describe(out, arch);
  out->l1_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 32 << 10);
  out->l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 512 << 10);
}

/* ---- another machine ---- */

/* text[0..n) against a pattern in which * is any text. */
static bool matches(const char *pattern, const char *text, size_t n) {
  for (; *pattern && *pattern != '*'; pattern++, text++, n--)
    if (!n || *pattern != *text) return false;
  if (!*pattern) return n == 0;
  for (size_t i = 0; i <= n; i++)
    if (matches(pattern + 1, text + i, n - i)) return true;
  return false;
}

/* What machine the triple means that is not served; NULL: none. */
static const char *unserved_machine(const char *triple) {
  size_t n = strcspn(triple, "-");
  for (size_t i = 0; i < LT_COUNT(unserved); i++)
    if (matches(unserved[i].word, triple, n) && matches(unserved[i].rest, triple + n, strlen(triple + n)))
      return *unserved[i].why ? unserved[i].why : NULL;
  return NULL;
}

#define SERVED "x86_64, aarch64, armv7 (v7-A with VFPv3), riscv64 or wasm32, as in armv7-linux-gnueabihf"

static const lt_arch *read_triple(lt_target *out, lt_job *job, lt_arena *a, const char *triple) {
  out->triple = copy_message(a, LLVMNormalizeTargetTriple(triple));
  const lt_arch *arch = arch_of(out->triple);
  const char *other = unserved_machine(out->triple);
  if (other)
    lt_fail(job, LATHE_E_UNSUPPORTED, NULL, "--target: %.60s is %s, which is not served\nhelp: " SERVED, triple, other);
  if (arch) return arch;
  const char **names = LT_NEW_ARRAY(a, const char *, LT_COUNT(archs) + 1);
  for (size_t i = 0; i < LT_COUNT(archs); i++)
    names[i] = lt_arena_strndup(a, archs[i].words, strcspn(archs[i].words, "|"));
  const char *word = lt_arena_strndup(a, triple, strcspn(triple, "-")), *near = lt_nearest(word, names);
  if (near)
    lt_fail(job, LATHE_E_INVALID, NULL, "--target: unknown architecture `%.60s`\nhelp: did you mean `%s`?", word, near);
  lt_fail(job, LATHE_E_INVALID, NULL, "--target: unknown architecture `%.60s`\nhelp: " SERVED, word);
}

/* A comma-separated list with "+" before each name. */
static void add_features(lt_str *s, const char *list) {
  for (const char *p = list; *p;) {
    size_t len = strcspn(p, ",");
    lt_str_printf(s, "%s+%.*s", s->n ? "," : "", (int)len, p);
    p += len + (p[len] == ',');
  }
}

/* Every feature that some level of the architecture has, and the further ones. */
static const char *all_features(lt_arena *a, const char *arch) {
  lt_str s;
  lt_str_init(&s, a);
  for (size_t i = 0; i < LT_COUNT(levels); i++)
    if (strcmp(levels[i].arch, arch) == 0) add_features(&s, levels[i].features);
  for (size_t i = 0; i < LT_COUNT(more); i++)
    if (strcmp(more[i].arch, arch) == 0) add_features(&s, more[i].list);
  return s.n ? s.at : "";
}

void lt_target_cross(lt_target *out, lt_job *job, lt_arena *a, const char *triple, const char *cpu,
                     const char *features) {
  bool here = !triple || !*triple;
  if (here && (!cpu || !*cpu || strcmp(cpu, "native") == 0) && (!features || !*features)) {
    lt_target_host(out, job, a, NULL, NULL);
    return;
  }
  lt_target host;
  lt_llvm_init();
  init_others();
  lt_target_host(&host, job, a, NULL, NULL);
  *out = (lt_target){.l1_bytes = 32 << 10,
                     .l2_bytes = 512 << 10}; /* not this machine's: objects are the same wherever made */
  const lt_arch *arch = read_triple(out, job, a, here ? host.triple : triple);
  bool native = (here && (!cpu || !*cpu)) || (cpu && strcmp(cpu, "native") == 0);
  if (native && arch_of(host.triple) != arch)
    lt_fail(job, LATHE_E_INVALID, NULL, "--cpu native: this machine is %s, not %s", host.triple, out->triple);
  if (!native && (!cpu || !*cpu)) cpu = arch->level;
  const lt_level *level = native ? NULL : level_of(cpu, arch->arch);
  if (!native && !level) unknown_cpu(job, a, cpu, arch->arch, "");
  out->cpu = native ? host.cpu : level->cpu;
  out->tune = native || strcmp(cpu, level->name) == 0 ? NULL : lt_arena_strdup(a, cpu);
  lt_str list;
  lt_str_init(&list, a);
  lt_str_puts(&list, native ? host.features : "");
  if (level) add_features(&list, level->features);
  if (features && *features) {
    check_features(job, a, features, "", all_features(a, arch->arch));
    lt_str_printf(&list, "%s%s", list.n ? "," : "", features);
  }
  out->features = take_away(a, list.at);
  describe(out, arch->arch);
}

void lt_targets_print(lt_str *out) {
  lt_llvm_init();
  char *triple = LLVMGetDefaultTargetTriple(), *host = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
  const char *arch = lt_arena_strndup(out->arena, triple, strcspn(triple, "-"));
  const lt_row *mine = row_of(arch, features);
  lt_str_printf(out, "host: %s, %s, LLVM %s\n\n", triple, host, lt_llvm_version());
  LLVMDisposeMessage(triple), LLVMDisposeMessage(features);
  for (size_t i = 0; i < LT_COUNT(rows); i++)
    lt_str_printf(out, "%c %-12s %s\n", &rows[i] == mine ? '*' : ' ', rows[i].name, rows[i].doc);
  const char *const *names = cpu_names(out->arena, arch, lt_arena_strdup(out->arena, host));
  LLVMDisposeMessage(host);
  lt_str_puts(out, "\n--cpu:");
  for (size_t i = 0; names[i]; i++) lt_str_printf(out, " %s", names[i]);
  lt_str_puts(out, "\n\n--target (compile), each with its CPUs:\n");
  for (size_t i = 0; i < LT_COUNT(archs); i++) {
    bool again = i > 0 && strcmp(archs[i].arch, archs[i - 1].arch) == 0;
    lt_str_printf(out, "%s%s%s", again ? ", " : i ? "\n" : "", again ? "" : "  ", archs[i].doc);
    bool last = i + 1 == LT_COUNT(archs) || strcmp(archs[i].arch, archs[i + 1].arch) != 0;
    names = cpu_names(out->arena, archs[i].arch, "");
    for (size_t k = 0; last && names[k]; k++) lt_str_printf(out, "%s%s", k ? " " : "\n    ", names[k]);
  }
  lt_str_puts(out, "\n");
}

bool lt_target_reads_anywhere(const lt_target *t) {
  return strncmp(t->triple, "x86_64", 6) == 0 || strncmp(t->triple, "aarch64", 7) == 0;
}

bool lt_target_long_blocks(const lt_target *t) { return strncmp(t->row, "armv7-neon", 10) != 0; }
