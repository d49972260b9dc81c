/* lathe/abi.h: the contract between generated code, its callers and runtime/: freestanding, C99 and C++. */
#ifndef LATHE_ABI_H
#define LATHE_ABI_H
#include <stdint.h>
#ifndef LATHE_ABI_1 /* the same text in every generated header */
#define LATHE_ABI_1 1
typedef struct lathe_parallel {
  void *ctx;
  void (*run)(void *ctx, int64_t n, void (*body)(void *arg, int64_t i), void *arg);
} lathe_parallel;
#endif
#endif
