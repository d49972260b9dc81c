/* object.c: modules as objects for others to link: sections that a linker can leave out, embedded bytes, nothing
 * undefined, a stack that is known.
 *
 * Functions that the code generator calls by name on some targets (64-bit division on a 32-bit machine) are found as
 * undefined symbols of a first object and then put into the module as local functions; see libcalls.c. */
#include "codegen/module.h"

#include <llvm-c/Object.h>
#include <stdio.h>

typedef enum format { ELF, MACHO, COFF, WASM } format;

static format format_of(const char *triple) {
  if (strstr(triple, "apple") || strstr(triple, "darwin") || strstr(triple, "macho")) return MACHO;
  if (strstr(triple, "windows") || strstr(triple, "win32")) return COFF;
  return strncmp(triple, "wasm", 4) == 0 ? WASM : ELF;
}

static void dispose_buffer(void *b) { LLVMDisposeMemoryBuffer(b); }

/* ---- embedded bytes ---- */

/* Under two names: the code's own reference is to the local one, without a GOT. */
static LLVMValueRef embed(lt_module *m, unsigned place, const lt_embedded *x) {
  const char *name = lt_arena_printf(m->l.arena, "embedded.%u", place);
  LLVMValueRef g = lt_embed(m, name, (lt_embedding){.bytes = x->bytes, .raw = x->data});
  LLVMAddAlias2(m->l.mod, LLVMGlobalGetValueType(g), 0, g, x->symbol);
  return g;
}

static void embed_all(lt_module *m, const lt_object *o) {
  for (unsigned i = 0; i < LT_COUNT(o->embedded); i++)
    if (o->embedded[i].symbol) m->own[i] = (lt_own_image){embed(m, i, &o->embedded[i]), o->embedded[i].kind};
}

/* ---- sections and attributes ---- */

static void set_section(lt_module *m, const char *prefix, LLVMValueRef v, const char *kind) {
  size_t n;
  const char *name = LLVMGetValueName2(v, &n);
  bool prefixed = strncmp(name, prefix, strlen(prefix)) == 0;
  LLVMSetSection(
    v, lt_arena_printf(m->l.arena, "%s.%s%s%.*s", kind, prefixed ? "" : prefix, prefixed ? "" : ".", (int)n, name));
}

/* Each function and each piece of data in a section of its own where the format has such sections; on Mach-O and wasm
 * the linker leaves out what is not used without them. Functions tell how much stack they take. */
static void finish(lt_module *m, const lt_object *o) {
  bool elf = format_of(m->l.target->triple) == ELF;
  for (LLVMValueRef f = LLVMGetFirstFunction(m->l.mod); f; f = LLVMGetNextFunction(f)) {
    if (LLVMIsDeclaration(f)) continue;
    m->n_frame++;
    if (elf) set_section(m, o->prefix, f, ".text");
    lt_ll_attribute(&m->l, f, "warn-stack-size", "0");
    lt_ll_attribute(&m->l, f, "no-stack-arg-probe", "");
    if (m->l.target->small) lt_ll_flag(&m->l, f, "optsize");
  }
  m->frame = LT_NEW_ARRAY(m->l.arena, lt_frame, m->n_frame + 1u);
  m->n_frame = 0;
  for (LLVMValueRef f = LLVMGetFirstFunction(m->l.mod); f; f = LLVMGetNextFunction(f))
    if (!LLVMIsDeclaration(f)) m->frame[m->n_frame++].fn = f;
  for (LLVMValueRef g = LLVMGetFirstGlobal(m->l.mod); g && elf; g = LLVMGetNextGlobal(g))
    set_section(m, o->prefix, g, ".rodata");
}

/* ---- the stack ---- */

/* What a call takes beside the frame itself (return address, saved frame pointer), and what a leaf may use below it. */
enum { CALL = 16, RED_ZONE = 128 };

static lt_frame *frame_of(const lt_module *m, LLVMValueRef fn) {
  for (uint32_t i = 0; i < m->n_frame; i++)
    if (m->frame[i].fn == fn) return &m->frame[i];
  return NULL;
}

static int64_t deepest(lt_module *m, lt_frame *f);

/* A function that is called, and one that is handed over to be called from there (a kernel to the loop over its
 * tasks). */
static int64_t depth_of_call(lt_module *m, LLVMValueRef call) {
  int64_t sum = 0;
  for (int i = 0; i < LLVMGetNumOperands(call); i++) {
    LLVMValueRef x = LLVMGetOperand(call, (unsigned)i);
    lt_frame *f = LLVMIsAFunction(x) ? frame_of(m, x) : NULL;
    if (f) sum += deepest(m, f);
  }
  return sum;
}

static int64_t deepest(lt_module *m, lt_frame *f) {
  if (f->deepest) return f->deepest;
  if (f->open) lt_fail(m->l.job, LATHE_E_INTERNAL, NULL, "generated code calls itself");
  f->open = true;
  int64_t most = 0;
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f->fn); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef x = LLVMGetFirstInstruction(b); x; x = LLVMGetNextInstruction(x))
      if (LLVMIsACallInst(x)) most = LT_MAX(most, depth_of_call(m, x));
  f->open = false;
  return f->deepest = most + f->bytes + CALL;
}

static int64_t stack_of(lt_module *m) {
  int64_t most = 0;
  for (uint32_t i = 0; i < m->n_frame; i++)
    if (LLVMGetLinkage(m->frame[i].fn) == LLVMExternalLinkage) most = LT_MAX(most, deepest(m, &m->frame[i]));
  bool red_zone = strncmp(m->l.target->triple, "x86_64", 6) == 0 && format_of(m->l.target->triple) != COFF;
  return most + (red_zone ? RED_ZONE : 0);
}

/* ---- undefined symbols ---- */

/* Writes at most `most` names; returns how many there are. Nothing may fail while LLVM's iterators are held. */
enum { LONGEST = 128 };
static size_t copy_undefined(LLVMBinaryRef binary, char (*name)[LONGEST], size_t most) {
  size_t n = 0;
  LLVMSymbolIteratorRef s = LLVMObjectFileCopySymbolIterator(binary);
  LLVMSectionIteratorRef section = LLVMObjectFileCopySectionIterator(binary);
  for (; !LLVMObjectFileIsSymbolIteratorAtEnd(binary, s); LLVMMoveToNextSymbol(s)) {
    LLVMMoveToContainingSection(section, s);
    if (!LLVMObjectFileIsSectionIteratorAtEnd(binary, section) || !*LLVMGetSymbolName(s)) continue;
    if (n < most) snprintf(name[n], LONGEST, "%s", LLVMGetSymbolName(s));
    n++;
  }
  LLVMDisposeSectionIterator(section);
  LLVMDisposeSymbolIterator(s);
  return n;
}

static void dispose_binary(void *b) { LLVMDisposeBinary(b); }

const char *const *lt_undefined(lt_job *job, lt_arena *a, LLVMMemoryBufferRef object) {
  char *message = NULL;
  LLVMBinaryRef binary = LLVMCreateBinary(object, NULL, &message);
  if (!binary) {
    const char *text = lt_arena_strdup(a, message);
    LLVMDisposeMessage(message);
    lt_fail(job, LATHE_E_INTERNAL, NULL, "the compiled object cannot be read: %s", text);
  }
  lt_defer(job, dispose_binary, binary);
  size_t n = copy_undefined(binary, NULL, 0);
  char (*name)[LONGEST] = lt_arena_array(a, n, LONGEST);
  copy_undefined(binary, name, n);
  lt_defer_cancel(job, binary);
  LLVMDisposeBinary(binary);
  const char **open = LT_NEW_ARRAY(a, const char *, n + 1);
  uint32_t k = 0;
  for (size_t i = 0; i < n; i++) {
    bool known = false;
    for (uint32_t j = 0; j < k; j++) known |= strcmp(open[j], name[i]) == 0;
    if (!known) open[k++] = name[i];
  }
  return open;
}

/* What the linker itself defines. LLVM's names of wasm symbols run on into the bytes behind them; COFF's table also
 * holds a file's name and a value (@feat.00), which are in no section either. */
static bool linkers_own(format f, const char *name) {
  static const char *const wasm[] = {"__stack_pointer", "__linear_memory", "__indirect_function_table"};
  static const char *const coff[] = {"_fltused", "@feat.00", ".file"};
  for (size_t i = 0; f == WASM && i < LT_COUNT(wasm); i++)
    if (strncmp(name, wasm[i], strlen(wasm[i])) == 0) return true;
  for (size_t i = 0; f == COFF && i < LT_COUNT(coff); i++)
    if (strcmp(name, coff[i]) == 0) return true;
  return false;
}

/* ---- all of it ---- */

typedef struct making {
  lt_job *job;
  lt_arena *a;
  const lt_target *t;
  const lt_module_entry *entry;
  size_t n;
  const lt_object *o;
} making;

static lt_module *begin(const making *k, const lt_libcalls *calls, bool text) {
  lt_module *m = lt_module_new(k->job, k->a, k->t);
  m->text = text;
  m->serial = !k->o->parallel;
  embed_all(m, k->o);
  lt_module_entries(m, k->entry, k->n);
  if (k->o->state) lt_emit_state(m, k->o->state);
  if (calls) lt_libcalls_add(m, calls);
  finish(m, k->o);
  lt_module_verify(m);
  return m;
}

/* Undefined names go into `wanted`, and false says: once more, with these. */
static bool make_object(const making *k, lt_emitted *out, lt_arena *keep, lt_libcalls *wanted) {
  lt_module *m = begin(k, wanted, false);
  LLVMMemoryBufferRef object = lt_module_emit(m, LLVMObjectFile);
  lt_defer(k->job, dispose_buffer, object);
  const char *const *open = lt_undefined(k->job, k->a, object);
  bool again = false;
  const lt_libcalls had = *wanted;
  for (size_t i = 0; open[i]; i++) {
    if (linkers_own(format_of(k->t->triple), open[i])) continue;
    lt_libcalls one = had; /* what was defined and is undefined all the same would go on for ever */
    if (!lt_libcalls_want(wanted, open[i]) || (lt_libcalls_want(&one, open[i]), one.wanted == had.wanted))
      lt_fail(k->job, LATHE_E_UNSUPPORTED, NULL,
              "code for %s (%s) would call `%s`, which nobody provides\nhelp: another --cpu or --features",
              k->t->triple, k->t->row, open[i]);
    again = true;
  }
  if (again) return false;
  size_t bytes = LLVMGetBufferSize(object);
  unsigned char *copy = lt_arena_alloc(keep, bytes);
  memcpy(copy, LLVMGetBufferStart(object), bytes);
  *out = (lt_emitted){.bytes = {copy, bytes}, .stack = stack_of(m), .functions = m->functions};
  return true;
}

static void make_text(const making *k, lt_emitted *out, lt_arena *keep, bool assembly) {
  lt_module *m = begin(k, NULL, true);
  LLVMMemoryBufferRef text = NULL;
  lt_str s;
  lt_str_init(&s, keep);
  if (assembly) {
    text = lt_module_emit(m, LLVMAssemblyFile);
    lt_defer(k->job, dispose_buffer, text);
    lt_str_put(&s, LLVMGetBufferStart(text), LLVMGetBufferSize(text));
  } else {
    char *llvm = LLVMPrintModuleToString(m->l.mod);
    lt_defer(k->job, (void (*)(void *))LLVMDisposeMessage, llvm);
    lt_str_puts(&s, llvm);
  }
  *out = (lt_emitted){
    .bytes = {(const unsigned char *)s.at, s.n}, .stack = assembly ? stack_of(m) : 0, .functions = m->functions};
}

void lt_emit_linkable(lt_emitted *out, lt_job *job, lt_arena *keep, const lt_target *t, const lt_module_entry *entry,
                      size_t n, const lt_object *o, lt_form form) {
  making k = {job, lt_arena_new(job), t, entry, n, o};
  lt_libcalls wanted = {0};
  if (form != LT_FORM_OBJECT) {
    make_text(&k, out, keep, form == LT_FORM_ASSEMBLY);
    return;
  }
  while (!make_object(&k, out, keep, &wanted)) continue;
}
