/* module.h: plans as one LLVM module, and what is made of it: an object in memory, or text. One path for JIT and
 * files. */
#ifndef LT_MODULE_H
#define LT_MODULE_H
#include "codegen/codegen.h"
#include "codegen/llvm_util.h"

/* What a function needs of the stack, as LLVM has told. */
typedef struct lt_frame {
  LLVMValueRef fn;
  int64_t bytes;
  bool open;
  int64_t deepest;
  /* with what it calls;
  0: not known yet */
} lt_frame;

/* An image that stands in the module itself; at NULL: none. */
typedef struct lt_own_image { LLVMValueRef at; uint32_t kind; } lt_own_image;

/* Bytes of the object that LLVM does not see (embed.c): raw ones, or data where its offsets say and zeros between. */
typedef struct lt_embedding {
  int64_t bytes;
  const unsigned char *raw;
  const lt_constant *piece;
  uint32_t n;
} lt_embedding;

typedef struct lt_module {
  lt_ll l;
  bool text; /* IR or assembly is made of it, which says all constants */
  LT_VEC(lt_embedding) embedding;
  lt_own_image own[2]; /* what a null region means */
  bool serial;         /* io structs do not end in a `const lathe_parallel *` */
  lt_frame *frame;     /* by function, where somebody wants to know (object.c) */
  uint32_t n_frame;
  LLVMTargetMachineRef machine;
  uint32_t functions; /* kernels after sharing */
  char problem[256];  /* what LLVM said first; "": nothing */
} lt_module;

/* libcalls.c: local functions for what a code generator calls by name. */
typedef struct lt_libcalls { uint64_t wanted; } lt_libcalls; /* bits of rows there */
bool lt_libcalls_want(lt_libcalls *all, const char *name); /* false: nobody knows it */
void lt_libcalls_add(lt_module *m, const lt_libcalls *all);

/* In the order of calls; what is made is released when the job ends. */
lt_module *lt_module_new(lt_job *job, lt_arena *a, const lt_target *t);       /* empty */
void lt_module_entries(lt_module *m, const lt_module_entry *entry, size_t n); /* entry.c: kernels and entries */
void lt_emit_state(lt_module *m, const lt_state_code *s); /* state.c: the functions that fill a state image */
/* where asserts are on or LATHE_VERIFY_LLVM asks for it */
void lt_module_verify(lt_module *m);
/* Of entries alone. */
lt_module *lt_module_of(lt_job *job, lt_arena *a, const lt_target *t, const lt_module_entry *entry, size_t n,
                        bool text);
lt_module *lt_module_read(lt_job *job, lt_arena *a, const lt_target *t, LLVMMemoryBufferRef bitcode);
/* A constant global; lt_module_emit writes the bytes into the object. What they point at must live until then. */
LLVMValueRef lt_embed(lt_module *m, const char *name, lt_embedding x);
void lt_embed_write(lt_module *m, unsigned char *object, size_t n);
/* Run the code generator. The buffer belongs to the caller. */
LLVMMemoryBufferRef lt_module_emit(lt_module *m, LLVMCodeGenFileType type);
/* Its object; by several threads, several, which need what is in the others. In the module's arena, the job's should it
 * fail. */
typedef struct lt_objects { LLVMMemoryBufferRef *at; uint32_t n; } lt_objects;
lt_objects lt_module_objects(lt_module *m, lt_crew crew); /* parts.c */
/* Names that the object leaves undefined, NULL-terminated, each once. */
const char *const *lt_undefined(lt_job *job, lt_arena *a, LLVMMemoryBufferRef object);
/* emit_header.c: functions beside kernels: entries and what fills images. */
void lt_ll_return(lt_ll *l, int value);
void lt_ll_return_if(lt_ll *l, LLVMValueRef bad, int status); /* bad NULL: never */
void lt_ll_begin(lt_ll *l, const char *name, LLVMTypeRef result, const LLVMTypeRef *param, unsigned n, bool internal);
/* emit_check.c: an i1: one of the integers at `at` that the check names is past its limit. */
LLVMValueRef lt_ll_bad_index(lt_ll *l, LLVMValueRef at, lt_dtype t, const lt_index_check *c);
/* An i1: `image` does not begin with a header of one of these kinds; and writing one. */
typedef struct lt_header_of {
  uint32_t kinds;
  uint64_t model, state_model;
  int64_t bytes, state_bytes; /* as many at least; state_bytes 0: bytes, too */
} lt_header_of;
LLVMValueRef lt_ll_bad_header(lt_ll *l, LLVMValueRef image, lt_header_of want);
void lt_ll_zero(lt_ll *l, LLVMValueRef at, int64_t bytes);
void lt_ll_write_header(lt_ll *l, LLVMValueRef image, uint32_t kind, uint64_t model, int64_t bytes);
/* Load it into this process and look up its symbols (jit.c). */
lt_code *lt_jit_load(lt_job *job, lt_module *m, const char *const *symbol, size_t n);
#endif
