/* target.h: what code generation must know about a machine: one row per family in targets.def, features from LLVM. */
#ifndef LT_TARGET_H
#define LT_TARGET_H
#include "base/base.h"

typedef struct lt_target {
  /* as LLVM takes them; features hold everything (nothing is implied by cpu alone) */
  const char *triple, *cpu, *features;
  const char *tune;      /* the CPU to schedule for, where it is not cpu; NULL: cpu */
  const char *row;       /* the row of targets.def that fits: "x86-avx512" */
  unsigned vector_bytes; /* of one vector register */
  unsigned vector_regs;  /* how many */
  bool fma;              /* fused multiply-add in hardware */
  unsigned fma_latency;  /* in FMA issue slots: how many independent accumulators hide it */
  int64_t l1_bytes, l2_bytes;
  unsigned pointer_bytes;
  const char *abi; /* as LLVM takes it; "" or NULL: the triple says it all */
  bool small;      /* --opt=size: fewer shapes of tiles, less unrolling */
} lt_target;

/* The host, limited by cpu ("" or NULL: the host's) and features ("+a,-b"); asking for more than the host has is an
 * error that names the feature. */
void lt_target_host(lt_target *out, lt_job *job, lt_arena *a, const char *cpu, const char *features);
/* A machine to make objects for: triple ("" or NULL: this machine's), cpu (NULL: the triple's generic one, and this
 * machine's without a triple). Nothing is asked of the host but what "native" and no triple mean. */
void lt_target_cross(lt_target *out, lt_job *job, lt_arena *a, const char *triple, const char *cpu,
                     const char *features);
bool lt_target_reads_anywhere(const lt_target *t); /* may elements in memory stand at any address? */
/* Does LLVM take time for a block's loads as they are many? Neon's on ARMv7 have forms that move the address, which it
 * tries for each pair of addresses: 14 s for a sum of 256 vectors. */
bool lt_target_long_blocks(const lt_target *t);
void lt_llvm_init(void); /* once per process, safe from any thread; lt_target_host and lt_target_cross do it */
void lt_targets_print(lt_str *out); /* for `lathe targets` */
#endif
