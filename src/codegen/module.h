/* module.h: plans as one LLVM module, and what is made of it: an object in memory, or text. One path for JIT and files. */
#ifndef LT_MODULE_H
#define LT_MODULE_H
#include "codegen/codegen.h"
#include "codegen/ll.h"

typedef struct lt_module {
  lt_ll l;
  LLVMTargetMachineRef machine;
  uint32_t functions;           /* kernels after sharing */
  char problem[256];            /* what LLVM said first; "": nothing */
} lt_module;

/* Emit kernels and entries. Freed when the job ends. */
lt_module *lt_module_new(lt_job *job, lt_arena *a, const lt_target *t, const lt_module_entry *entry, size_t n);
/* Run the code generator. The buffer belongs to the caller. */
LLVMMemoryBufferRef lt_module_emit(lt_module *m, LLVMCodeGenFileType type);
/* Load it into this process and look up its symbols (jit.c). */
lt_code *lt_jit_load(lt_job *job, lt_module *m, const char *const *symbol, size_t n);
#endif
