/* codegen.h: what the driver sees of code generation: no LLVM type. */
#ifndef LT_CODEGEN_H
#define LT_CODEGEN_H
#include "codegen/plan.h"
#include "codegen/target.h"

typedef int (*lt_entry_fn)(const void *io, void *region, void *scratch);
/* Pack, backward, apply entries: (io, region, out, scratch). */
typedef int (*lt_entry2_fn)(const void *io, void *region, void *out, void *scratch);
typedef int (*lt_step_fn)(const void *io, void *region, void *out, void *scratch, int64_t kernel); /* one kernel, for bench */

typedef struct lt_module_entry { const lt_plan *plan; bool two_regions; bool steps; /* also emit <name>_step */ } lt_module_entry;
typedef struct lt_code lt_code; /* JIT-compiled module; immutable, usable by any thread */

/* Compile plans into one module: kernels with equal keys are emitted once. Defers lt_code_free on failure. */
lt_code *lt_jit(lt_job *job, const lt_target *t, const lt_module_entry *entry, size_t n);
void *lt_code_find(const lt_code *c, const char *symbol); /* "run", "run_step"; NULL: none */
uint32_t lt_code_functions(const lt_code *c); /* kernels that are functions of their own, equal ones counted once */
void lt_code_free(lt_code *c);
/* The module as a relocatable object for the target, in `keep`. */
lt_bytes lt_emit_object(lt_job *job, lt_arena *keep, const lt_target *t, const lt_module_entry *entry, size_t n);
/* Text of the module, for --emit llvm / asm. */
void lt_emit_text(lt_str *out, lt_job *job, const lt_target *t, const lt_module_entry *entry, size_t n, bool assembly);
/* FMA peak of one core for this target in GFLOP/s, measured now (about 20 ms) by generated code: the widest vectors, enough accumulators. */
double lt_measure_peak(lt_job *job, const lt_target *t, lt_dtype dtype);
const char *lt_llvm_version(void);
#endif
