/* jit.c: modules as code in this process (ORC's LLJIT over the same object that a file would hold) and as text.
 *
 * Each lt_code has a JIT of its own, so that freeing it gives everything back; its symbols are looked up once, so that
 * it is immutable afterwards. The object must need nothing: what it leaves undefined is an error, never found in the
 * process. */
#include "codegen/module.h"

#include <llvm-c/LLJIT.h>
#include <llvm-c/Object.h>
#include <stdio.h>

typedef struct symbol { char name[64]; void *at; } symbol;
struct lt_code {
  LLVMOrcLLJITRef jit;
  char problem[256]; /* what ORC reported: it knows more than the error it returns */
  uint32_t functions;
  lt_code_times took;
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

/* The object's own copy of the truth. */
static void check_closed(lt_job *job, lt_arena *a, LLVMMemoryBufferRef object) {
  const char *const *open = lt_undefined(job, a, object);
  if (*open) lt_fail(job, LATHE_E_INTERNAL, NULL, "compiled code calls `%s`, which it must not", *open);
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

static void load(lt_job *job, lt_code *c, LLVMMemoryBufferRef object) { /* takes the object */
  check(job, c, LLVMOrcCreateLLJIT(&c->jit, NULL));
  LLVMOrcExecutionSessionSetErrorReporter(LLVMOrcLLJITGetExecutionSession(c->jit), report, c->problem);
  check(job, c, LLVMOrcLLJITAddObjectFile(c->jit, LLVMOrcLLJITGetMainJITDylib(c->jit), object));
}

lt_code *lt_jit_load(lt_job *job, lt_module *m, const char *const *symbol_name, size_t n) {
  lt_code *c = new_code(job, n);
  double begin = lt_seconds();
  LLVMMemoryBufferRef object = lt_module_emit(m, LLVMObjectFile);
  c->took.llvm = lt_seconds() - begin;
  c->functions = m->functions;
  check_closed(job, m->l.arena, object);
  load(job, c, object);
  for (size_t i = 0; i < n; i++) find_symbol(job, c, symbol_name[i]);
  c->took.loading = lt_seconds() - begin - c->took.llvm;
  return c;
}

lt_code *lt_jit(lt_job *job, const lt_target *t, const lt_module_entry *entry, size_t n) {
  lt_arena *a = lt_arena_new(job);
  const char **symbol_name = LT_NEW_ARRAY(a, const char *, 2 * n + 1);
  size_t symbols = 0;
  for (size_t i = 0; i < n; i++) {
    symbol_name[symbols++] = entry[i].plan->name;
    if (entry[i].steps) symbol_name[symbols++] = lt_arena_printf(a, "%s_step", entry[i].plan->name);
  }
  double begin = lt_seconds();
  lt_module *m = lt_module_of(job, a, t, entry, n, false);
  double emission = lt_seconds() - begin;
  lt_code *c = lt_jit_load(job, m, symbol_name, symbols);
  c->took.emission = emission;
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
  lt_defer_cancel(job, object);
  load(job, c, object);
  return c;
}

void *lt_code_look(const lt_code *c, const char *name) {
  LLVMOrcExecutorAddress at = 0;
  LLVMErrorRef error = LLVMOrcLLJITLookup(c->jit, &at, name);
  if (error) LLVMConsumeError(error);
  return error ? NULL : (void *)(uintptr_t)at;
}

lt_code_times lt_code_took(const lt_code *c) { return c->took; }
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
  check_closed(job, a, object);
  size_t bytes = LLVMGetBufferSize(object);
  void *copy = lt_arena_alloc(keep, bytes);
  memcpy(copy, LLVMGetBufferStart(object), bytes);
  return (lt_bytes){copy, bytes};
}
