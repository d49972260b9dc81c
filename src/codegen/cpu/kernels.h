/* kernels.h: all that the rest of code generation asks of CPUs: functions for kernels, and calls of them. Another
 * machine would be another folder with such a header. */
#ifndef LT_KERNELS_H
#define LT_KERNELS_H
#include "codegen/cpu/emit.h"

typedef struct lt_kernels {
  lt_ll *l;
  lt_map by_key;    /* the function of a kernel, by lt_kernel_key */
  uint32_t n;       /* functions so far */
  LLVMValueRef run; /* run(parallel, tasks, kernel, bufs): the tasks in a loop, or given to the caller's threads */
  LLVMTypeRef run_type;
} lt_kernels;

void lt_kernels_begin(lt_kernels *all, lt_ll *l);
/* Moves the builder. once: it runs once for a model's weights, which are far away. */
LLVMValueRef lt_kernels_function(lt_kernels *all, const lt_kernel *k, bool once);
/* All tasks of k, whose function is fn, at the builder's position. bufs: its buffers' addresses in the order of
 * lt_kernel_buffers; parallel: the caller's lathe_parallel or a null pointer. */
void lt_kernels_call(const lt_kernels *all, const lt_kernel *k, LLVMValueRef fn, LLVMValueRef bufs,
                     LLVMValueRef parallel);
/* merge.c: when all is emitted: micro-kernels that differ in a few numbers become one. */
void lt_merge_alike(lt_ll *l);
#endif
