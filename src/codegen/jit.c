/* jit.c: modules as code in this process (ORC's LLJIT over the same object that a file would hold) and as text.
 *
 * Each lt_code has a JIT of its own, so that freeing it gives everything back; its symbols are looked up once, so that
 * it is immutable afterwards. What several threads have translated is several objects, which need each other. Together
 * they must need nothing: what they leave undefined is an error, never found in the process. So they may come from
 * another process: lt_jit_as looks in the cache first. */
#include "base/cache.h"
#include "codegen/module.h"

#include <llvm-c/LLJIT.h>
#include <llvm-c/Object.h>
#include <stdio.h>

typedef struct symbol { char name[64]; void *at; } symbol;
typedef struct symbols { const char *const *at; size_t n; } symbols;
struct lt_code {
  LLVMOrcLLJITRef jit;
  char problem[256]; /* what ORC reported: it knows more than the error it returns */
  uint32_t functions;
  lt_code_times took;
  char cache[160]; /* what came of looking for it there */
  size_t n;
  symbol symbol[];
};

static void report(void *arg, LLVMErrorRef error) {
  char *into = arg, *message = LLVMGetErrorMessage(error);
  if (!*into) snprintf(into, 256, "%s", message);
  LLVMDisposeErrorMessage(message);
}

void lt_code_free(lt_code *c) {
  if (!c) return;
  if (c->jit) LLVMConsumeError(LLVMOrcDisposeLLJIT(c->jit));
  lt_mem_free(c);
}

static void free_code(void *c) { lt_code_free(c); }

static void check(lt_job *job, const lt_code *c, LLVMErrorRef error) {
  if (!error) return;
  char text[256], *message = LLVMGetErrorMessage(error);
  snprintf(text, sizeof text, "%s", message);
  LLVMDisposeErrorMessage(message);
  lt_fail(job, LATHE_E_UNSUPPORTED, NULL,
          "cannot load the compiled code: %s\nhelp: does this system let a process make memory executable?",
          *c->problem ? c->problem : text);
}

static void dispose_buffer(void *b) { LLVMDisposeMemoryBuffer(b); }

/* The objects' own copy of the truth. Names of what is ours have a dot: nobody else has them, so what is in no part of
 * the code cannot be found. */
static void check_closed(lt_job *job, lt_arena *a, LLVMMemoryBufferRef object, bool others) {
  for (const char *const *open = lt_undefined(job, a, object); *open; open++)
    if (!others || !strchr(*open, '.'))
      lt_fail(job, LATHE_E_INTERNAL, NULL, "compiled code calls `%s`, which it must not", *open);
}

static void find_symbol(lt_job *job, lt_code *c, const char *name) {
  symbol *s = &c->symbol[c->n++];
  if ((size_t)snprintf(s->name, sizeof s->name, "%s", name) >= sizeof s->name)
    lt_fail(job, LATHE_E_INVALID, NULL, "the entry name `%s` is too long", name);
  LLVMOrcExecutorAddress at = 0;
  check(job, c, LLVMOrcLLJITLookup(c->jit, &at, name));
  s->at = (void *)(uintptr_t)at;
}

static lt_code *new_code(lt_job *job, size_t n) {
  lt_code *c = lt_mem_alloc(sizeof *c + n * sizeof *c->symbol);
  if (!c) lt_fail_nomem(job);
  memset(c, 0, sizeof *c);
  lt_defer_failed(job, free_code, c);
  return c;
}

static void start(lt_job *job, lt_code *c) {
  check(job, c, LLVMOrcCreateLLJIT(&c->jit, NULL));
  LLVMOrcExecutionSessionSetErrorReporter(LLVMOrcLLJITGetExecutionSession(c->jit), report, c->problem);
}

/* Takes the object, which is the job's should it fail. */
static void add(lt_job *job, lt_code *c, LLVMMemoryBufferRef object) {
  lt_defer_cancel(job, object);
  check(job, c, LLVMOrcLLJITAddObjectFile(c->jit, LLVMOrcLLJITGetMainJITDylib(c->jit), object));
}

/* Takes the objects, which are the job's should it fail, and which `functions` kernels are in. */
static lt_code *load(lt_job *job, lt_arena *a, lt_objects object, uint32_t functions, symbols names) {
  lt_code *c = new_code(job, names.n);
  double begin = lt_seconds();
  for (uint32_t i = 0; i < object.n; i++) check_closed(job, a, object.at[i], object.n > 1);
  start(job, c);
  for (uint32_t i = 0; i < object.n; i++) add(job, c, object.at[i]);
  for (size_t i = 0; i < names.n; i++) find_symbol(job, c, names.at[i]);
  c->functions = functions;
  c->took.loading = lt_seconds() - begin;
  return c;
}

lt_code *lt_jit_load(lt_job *job, lt_module *m, const char *const *symbol_name, size_t n) {
  double begin = lt_seconds();
  lt_objects object = lt_module_objects(m, (lt_crew){0});
  double llvm = lt_seconds() - begin;
  lt_code *c = load(job, m->l.arena, object, m->functions, (symbols){symbol_name, n});
  c->took.llvm = llvm;
  return c;
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

static symbols symbols_of(lt_arena *a, const lt_module_entry *entry, size_t n) {
  const char **name = LT_NEW_ARRAY(a, const char *, 2 * n + 1);
  size_t k = 0;
  for (size_t i = 0; i < n; i++) {
    name[k++] = entry[i].plan->name;
    if (entry[i].steps) name[k++] = lt_arena_printf(a, "%s_step", entry[i].plan->name);
  }
  return (symbols){name, k};
}

/* What is kept of code: how many functions, how many objects, and each after its bytes' number. */
static bool take_number(lt_bytes *from, uint64_t *number) {
  if (from->n < sizeof *number) return false;
  memcpy(number, from->at, sizeof *number);
  from->at += sizeof *number, from->n -= sizeof *number;
  return true;
}

static lt_code *load_kept(lt_job *job, lt_arena *a, lt_bytes kept, symbols names) {
  uint64_t functions, n, bytes;
  if (!take_number(&kept, &functions) || !take_number(&kept, &n) || n > kept.n / sizeof bytes) return NULL;
  lt_objects object = {LT_NEW_ARRAY(a, LLVMMemoryBufferRef, n), 0};
  for (uint64_t i = 0; i < n && take_number(&kept, &bytes) && bytes <= kept.n; i++) {
    object.at[i] = LLVMCreateMemoryBufferWithMemoryRangeCopy((const char *)kept.at, (size_t)bytes, "lathe");
    lt_defer_failed(job, dispose_buffer, object.at[i]);
    object.n++;
    kept.at += bytes, kept.n -= bytes;
  }
  return object.n == n ? load(job, a, object, (uint32_t)functions, names) : NULL;
}

static void keep(lt_cache *cache, lt_arena *a, lt_bytes key, uint64_t functions, lt_objects object) {
  uint64_t head[] = {functions, object.n}, *bytes = LT_NEW_ARRAY(a, uint64_t, object.n);
  lt_bytes *part = LT_NEW_ARRAY(a, lt_bytes, 2 * object.n + 1u);
  part[0] = (lt_bytes){(const unsigned char *)head, sizeof head};
  for (uint32_t i = 0; i < object.n; i++) {
    bytes[i] = LLVMGetBufferSize(object.at[i]);
    part[2 * i + 1] = (lt_bytes){(const unsigned char *)&bytes[i], sizeof bytes[i]};
    part[2 * i + 2] = (lt_bytes){(const unsigned char *)LLVMGetBufferStart(object.at[i]), (size_t)bytes[i]};
  }
  lt_cache_put(cache, a, key, part, 2 * object.n + 1u);
}

/* Compiles, and keeps the objects where there is a cache. */
static lt_code *compile(lt_job *job, lt_arena *a, const lt_target *t, const lt_module_entry *entry, size_t n,
                        lt_crew crew, lt_cache *cache, lt_bytes key) {
  lt_code_times took = {0};
  double begin = lt_seconds();
  lt_module *m = lt_module_of(job, a, t, entry, n, false);
  took.emission = lt_seconds() - begin;
  lt_objects object = lt_module_objects(m, crew);
  took.llvm = lt_seconds() - begin - took.emission;
  begin = lt_seconds();
  if (cache) keep(cache, a, key, m->functions, object);
  took.cache = lt_seconds() - begin;
  lt_code *c = load(job, a, object, m->functions, symbols_of(a, entry, n));
  took.loading = c->took.loading;
  c->took = took;
  return c;
}

lt_code *lt_jit(lt_job *job, const lt_target *t, const lt_module_entry *entry, size_t n) {
  return lt_jit_as(job, t, entry, n, (lt_jit_how){0});
}

/* Large constants are in files already: a second copy in each object would only push others out. */
static const char *not_kept(lt_arena *a, const lt_module_entry *entry, size_t n, bool known) {
  static const int64_t MOST_CONSTANTS = 16 << 20;
  int64_t bytes = 0;
  for (size_t i = 0; i < n; i++) bytes += entry[i].plan->const_bytes; /* each below 2 GiB */
  if (!known) return "this Lathe has no build id";
  return bytes > MOST_CONSTANTS ? lt_arena_printf(a, "%lld bytes of constants", (long long)bytes) : NULL;
}

static lt_code *jit_kept(lt_job *job, lt_arena *a, const lt_target *t, const lt_module_entry *entry, size_t n,
                         lt_crew crew) {
  lt_str text;
  lt_bytes kept = {0};
  double begin = lt_seconds();
  lt_str_init(&text, a);
  const char *why = not_kept(a, entry, n, lt_code_key(&text, t, entry, n));
  lt_bytes key = {(const unsigned char *)text.at, text.n};
  lt_cache *cache = why ? NULL : lt_cache_open(a, &why);
  bool hit = cache && lt_cache_get(cache, a, key, &kept);
  double looking = lt_seconds() - begin;
  lt_code *c = hit ? load_kept(job, a, kept, symbols_of(a, entry, n)) : NULL;
  if (!c) c = compile(job, a, t, entry, n, crew, cache, key);
  c->took.cache += looking;
  snprintf(c->cache, sizeof c->cache, "%s", hit ? "hit" : cache ? "miss" : why);
  return c;
}

lt_code *lt_jit_as(lt_job *job, const lt_target *t, const lt_module_entry *entry, size_t n, lt_jit_how how) {
  lt_arena *a = lt_arena_new(job);
  if (how.cache) return jit_kept(job, a, t, entry, n, how.crew);
  lt_code *c = compile(job, a, t, entry, n, how.crew, NULL, (lt_bytes){0});
  snprintf(c->cache, sizeof c->cache, "not asked for");
  return c;
}

void *lt_code_find(const lt_code *c, const char *name) {
  for (size_t i = 0; i < c->n; i++)
    if (strcmp(c->symbol[i].name, name) == 0) return c->symbol[i].at;
  return NULL;
}

/* Is it an object at all, and does it need nothing? */
static void check_file(lt_job *job, const char *path, LLVMMemoryBufferRef object) {
  char *message = NULL;
  LLVMBinaryRef binary = LLVMCreateBinary(object, NULL, &message);
  lt_arena *a = lt_arena_new(job);
  const char *why = binary ? NULL : lt_arena_strdup(a, message ? message : "");
  if (binary) LLVMDisposeBinary(binary);
  else LLVMDisposeMessage(message);
  if (why) lt_fail(job, LATHE_E_IO, NULL, "%s is not an object file: %s", path, why);
  const char *const *open = lt_undefined(job, a, object);
  if (*open)
    lt_fail(job, LATHE_E_INVALID, NULL, "%s needs `%s`: objects made by `lathe compile` need nothing", path, *open);
}

lt_code *lt_jit_file(lt_job *job, const char *path, lt_bytes file) {
  lt_llvm_init();
  lt_code *c = new_code(job, 0);
  LLVMMemoryBufferRef object = LLVMCreateMemoryBufferWithMemoryRangeCopy((const char *)file.at, file.n, path);
  lt_defer_failed(job, dispose_buffer, object);
  check_file(job, path, object);
  start(job, c);
  add(job, c, object);
  return c;
}

void *lt_code_look(const lt_code *c, const char *name) {
  LLVMOrcExecutorAddress at = 0;
  LLVMErrorRef error = LLVMOrcLLJITLookup(c->jit, &at, name);
  if (error) LLVMConsumeError(error);
  return error ? NULL : (void *)(uintptr_t)at;
}

lt_code_times lt_code_took(const lt_code *c) { return c->took; }
const char *lt_code_cache(const lt_code *c) { return c->cache; }
uint32_t lt_code_functions(const lt_code *c) { return c->functions; }

void lt_emit_text(lt_str *out, lt_job *job, const lt_target *t, const lt_module_entry *entry, size_t n, bool assembly) {
  lt_arena *a = lt_arena_new(job);
  lt_module *m = lt_module_of(job, a, t, entry, n, true);
  if (!assembly) {
    char *text = LLVMPrintModuleToString(m->l.mod);
    lt_defer(job, (void (*)(void *))LLVMDisposeMessage, text);
    lt_str_puts(out, text);
    return;
  }
  LLVMMemoryBufferRef text = lt_module_emit(m, LLVMAssemblyFile);
  lt_defer(job, dispose_buffer, text);
  lt_str_put(out, LLVMGetBufferStart(text), LLVMGetBufferSize(text));
}

lt_bytes lt_emit_object(lt_job *job, lt_arena *keep, const lt_target *t, const lt_module_entry *entry, size_t n) {
  lt_arena *a = lt_arena_new(job);
  LLVMMemoryBufferRef object = lt_module_emit(lt_module_of(job, a, t, entry, n, false), LLVMObjectFile);
  lt_defer(job, dispose_buffer, object);
  check_closed(job, a, object, false);
  size_t bytes = LLVMGetBufferSize(object);
  void *copy = lt_arena_alloc(keep, bytes);
  memcpy(copy, LLVMGetBufferStart(object), bytes);
  return (lt_bytes){copy, bytes};
}
