/* codegen.h: what the driver sees of code generation: no LLVM type. */
#ifndef LT_CODEGEN_H
#define LT_CODEGEN_H
#include "plan/plan.h"
#include "codegen/target.h"

typedef int (*lt_entry_fn)(const void *io, void *region, void *scratch);
/* Halves of a training step; out: the gradient image. */
typedef int (*lt_half_fn)(const void *io, void *region, void *out, void *scratch);
/* one kernel, for bench */
typedef int (*lt_step_fn)(const void *io, void *region, void *out, void *scratch, int64_t kernel);

/* Packing in this process: weights one by one, wherever they stand, in the order of the image. */
typedef int (*lt_pack_fn)(void *out, const void *const *item, const lathe_parallel *parallel);

typedef struct lt_module_entry {
  const lt_plan *plan;
  bool two_regions;      /* (io, region, out, scratch) */
  bool pack;             /* (out, region): without io and scratch */
  bool steps;            /* also emit <name>_step */
  const lt_image *image; /* of pack: (out, item, parallel), the region's items each by its address; NULL: one region */
  const char *symbol;    /* NULL: the plan's name */
} lt_module_entry;
typedef struct lt_code lt_code; /* JIT-compiled module; immutable, usable by any thread */

/* Threads that translate code; parallel NULL: the caller's. */
typedef struct lt_crew { const lathe_parallel *parallel; int64_t threads; } lt_crew;

/* Compile plans into one module: kernels with equal keys are emitted once. Defers lt_code_free on failure. */
lt_code *lt_jit(lt_job *job, const lt_target *t, const lt_module_entry *entry, size_t n);
/* The same by several threads; `cache`: out of the user's cache of code (base/cache.h) where it is there, and into it
 * where not. */
typedef struct lt_jit_how { bool cache; lt_crew crew; } lt_jit_how;
lt_code *lt_jit_as(lt_job *job, const lt_target *t, const lt_module_entry *entry, size_t n, lt_jit_how how);
/* All that the object depends on (code_key.c); false: this program does not know itself, and nothing may be kept. */
bool lt_code_key(lt_str *out, const lt_target *t, const lt_module_entry *entry, size_t n);
void *lt_code_find(const lt_code *c, const char *symbol); /* "run", "run_step"; NULL: none */
/* An object file's bytes as code; `path` is for messages. Symbols are looked up one by one, by one thread at a time. */
lt_code *lt_jit_file(lt_job *job, const char *path, lt_bytes file);
void *lt_code_look(const lt_code *c, const char *symbol); /* NULL: none */
/* Seconds that it took: kernels and entries as LLVM's IR, LLVM's code of it, the object in this process, key and files
 * of the cache. */
typedef struct lt_code_times { double emission, llvm, loading, cache; } lt_code_times;
lt_code_times lt_code_took(const lt_code *c);
const char *lt_code_cache(const lt_code *c);  /* "hit", "miss", or why it was not looked for */
uint32_t lt_code_functions(const lt_code *c); /* kernels that are functions of their own, equal ones counted once */
void lt_code_free(lt_code *c);
/* The module as a relocatable object for the target, in `keep`: what the JIT loads. */
lt_bytes lt_emit_object(lt_job *job, lt_arena *keep, const lt_target *t, const lt_module_entry *entry, size_t n);
/* Text of the module, for --emit llvm / asm. */
void lt_emit_text(lt_str *out, lt_job *job, const lt_target *t, const lt_module_entry *entry, size_t n, bool assembly);
/* ---- objects for others to link (object.c) ---- */

/* What stands in a state image, for the functions that fill one (state.c). */
typedef struct lt_state_item {
  const char *name;
  lt_type type;
  int64_t offset;
  lt_init init;
  bool is_seed;
} lt_state_item;
typedef struct lt_state_code {
  const char *init, *load; /* symbols: init(state, u64 seed), load(state, image) */
  const lt_state_item *item;
  uint32_t n;
  int64_t bytes, own_bytes;    /* of a state image; of an image of kind PARAMS, which is how it begins */
  uint64_t model, state_model; /* as in lt_plan */
} lt_state_code;

/* Bytes of the object that entries read when their region is null; they never pass through LLVM. */
typedef struct lt_embedded { const char *symbol; const unsigned char *data; int64_t bytes; uint32_t kind; } lt_embedded;

typedef struct lt_object {
  const char *prefix;         /* names sections */
  bool parallel;              /* io structs end in a `const lathe_parallel *` */
  const lt_state_code *state; /* NULL: none */
  lt_embedded embedded[2];    /* symbol NULL: none */
} lt_object;

typedef enum lt_form { LT_FORM_OBJECT, LT_FORM_ASSEMBLY, LT_FORM_LLVM } lt_form;
typedef struct lt_emitted {
  lt_bytes bytes;
  int64_t stack; /* most that a call of an entry takes of the stack, what `parallel` takes apart */
  uint32_t functions;
} lt_emitted;
/* bytes in `keep`. The object leaves no symbol undefined but what its format wants (wasm: the linker's own; COFF:
 * _fltused). */
void lt_emit_linkable(lt_emitted *out, lt_job *job, lt_arena *keep, const lt_target *t, const lt_module_entry *entry,
                      size_t n, const lt_object *o, lt_form form);
/* FMA peak of one core for this target in GFLOP/s, measured now (about 20 ms) by generated code: the widest vectors,
 * enough accumulators. */
double lt_measure_peak(lt_job *job, const lt_target *t, lt_dtype dtype);
const char *lt_llvm_version(void);
#endif
