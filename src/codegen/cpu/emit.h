/* emit.h: code for CPUs: the emitters of kernels, and what they share.
 *
 * Every kernel becomes   void k<i>(ptr bufs, i64 task)   where bufs points to the kernel's buffer addresses in the
 * order of lt_operands(), and task runs over the product of its task dims: the signature of lathe_parallel's body, so a
 * kernel runs serially in a loop or on the caller's threads with the same code. An entry loads io pointers, checks
 * them, computes addresses and calls kernels in order; it is emitted code like the rest. */
#ifndef LT_EMIT_H
#define LT_EMIT_H
#include "codegen/llvm_util.h"

/* Where the code now stands in the iteration space: dim k's current index (i64 value); the lane dim's is that of lane
 * 0. lanes: 16 for a vector step, fewer for a tail (masked or element by element, the emitter's choice). */
typedef struct lt_point {
  LLVMValueRef i[LT_MAX_DIMS];
  int64_t plus[LT_MAX_DIMS]; /* added to i: constant displacements, where code is written out (i NULL: 0) */
  bool based;                /* the accesses' base pointers have i in them already (lt_emit_based) */
  unsigned lanes;            /* static number of live lanes when mask is NULL */
  LLVMValueRef mask;         /* <16 x i1>, NULL: the first `lanes` */
} lt_point;

/* expr.c: evaluate an expression at a point and store results. `result` gives LT_X_RESULT values. bufs: loaded base
 * pointers (lt_emit_buffers); own: of the operands that the kind has beside accesses and stores, in its walk's
 * order. */
enum { LT_OWN_MAX = 4 };
typedef struct lt_bufs { LLVMValueRef *access, *store, own[LT_OWN_MAX]; } lt_bufs;
/* at function entry: base pointers */
void lt_emit_buffers(lt_ll *l, lt_bufs *out, const lt_kernel *k, LLVMValueRef bufs);
/* By instruction and by store: the address of 16 lanes that stand elsewhere than the access says (a tile in the frame,
 * turn.h), or NULL. value: by instruction, those that are there already, and then all; NULL: nothing is there. */
typedef struct lt_rows { LLVMValueRef *load, *store, *value; } lt_rows;
void lt_emit_epilogue(lt_ll *l, const lt_kernel *k, const lt_bufs *b, const lt_point *p, const LLVMValueRef *result,
                      LLVMValueRef count, const lt_rows *rows);
/* one op on <16 x t> (math.c: exp, log, tanh…) */
LLVMValueRef lt_emit_map(lt_ll *l, const lt_instr *x, const LLVMValueRef *arg, lt_dtype arg_dtype);

/* Where the guards of an access hold: always (both NULL), a scalar i1, a <16 x i1>, or both (all must hold). */
typedef struct lt_valid { LLVMValueRef scalar, lanes; } lt_valid;

/* The lane dim of an evaluation is the kernel's (n_dims-1) except where a reduction runs its lanes along a reduced
 * dim. */
void lt_emit_valid(lt_ll *l, lt_valid *v, const lt_kernel *k, const lt_access *a, const lt_point *p, unsigned lane);
/* What a load does about its guards: give a->fill where one fails; give anything there (the caller looks at
 * lt_emit_valid); or take them as known to hold in all live lanes. */
typedef enum lt_guard { LT_GUARDS_FILL, LT_GUARDS_ANY, LT_GUARDS_HOLD } lt_guard;
/* 16 lanes from memory; those past p->lanes hold zero or what another lane has (making them zero took half as long as
 * all else in a max_pool of 14 columns). Never touches memory it must not. */
LLVMValueRef lt_emit_load(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                          unsigned lane, lt_dtype t, lt_guard guard);
/* Every second of 2·lanes - 1 consecutive elements, the last one again in lanes behind it: two vectors, which begin
 * with the first and end with the last one, so that no other is touched, and a shuffle. */
LLVMValueRef lt_emit_every_second(lt_ll *l, LLVMValueRef at, lt_dtype t, unsigned lanes);
void lt_emit_store(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                   unsigned lane, lt_dtype t, LLVMValueRef v);
/* `lanes` consecutive elements; those behind them are zero, or stay. */
LLVMValueRef lt_emit_load_row(lt_ll *l, LLVMValueRef at, lt_dtype t, unsigned lanes);
void lt_emit_store_row(lt_ll *l, LLVMValueRef at, lt_dtype t, unsigned lanes, LLVMValueRef v);
/* Evaluate x[0..n): out[i] is its value as <16 x t>; those that are there already (not NULL) stay. */
void lt_emit_expr(lt_ll *l, const lt_kernel *k, const lt_bufs *b, const lt_instr *x, uint32_t n, const lt_point *p,
                  unsigned lane, const LLVMValueRef *result, LLVMValueRef count, lt_guard guard, LLVMValueRef *out);
/* Base pointers at p for the loads of x[0..n), which have no guards: what is emitted with them at a point that is
 * `based` adds only constants. */
LLVMValueRef *lt_emit_based(lt_ll *l, const lt_kernel *k, const lt_bufs *b, const lt_instr *x, uint32_t n,
                            const lt_point *p);
/* The address of a's element at p (lane 0), guards not looked at. */
LLVMValueRef lt_emit_address(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                             lt_dtype t);
/* Split `task` into the indices of the task dims. */
void lt_emit_task(lt_ll *l, const lt_kernel *k, lt_point *p, LLVMValueRef task);
/* X_RANDOM: src/ir/random.c's lt_random_unit on 16 counters. */
LLVMValueRef lt_emit_random(lt_ll *l, LLVMValueRef seed, LLVMValueRef step, LLVMValueRef counter, uint64_t stream);
/* NaN-propagating maximum of floats, plain of integers. */
LLVMValueRef lt_emit_max(lt_ll *l, LLVMValueRef a, LLVMValueRef b);
/* 16 lanes as another element type, as the op `cast` means it (math.c). */
LLVMValueRef lt_emit_convert(lt_ll *l, LLVMValueRef v, lt_dtype from, lt_dtype to);
/* loops.c: the loops over the output dims of one task: calls `at` where code for one point (16 lanes, or the last few)
 * is to be emitted. Dims given in p already (not NULL) are left as they are; `one_lane` walks the lane dim one by
 * one. */
typedef void (*lt_at_point)(lt_ll *l, void *arg, const lt_point *p);
void lt_emit_walk(lt_ll *l, const lt_kernel *k, lt_point *p, bool one_lane, lt_at_point at, void *arg);
/* The same of the dims before `dim` alone: `at` does the rest. */
void lt_emit_walk_before(lt_ll *l, const lt_kernel *k, lt_point *p, unsigned dim, lt_at_point at, void *arg);

/* One function per kind of kernel (kernels.def), and its number of tasks where the kind has its own. */
#define TASKS_DIMS(name)
#define TASKS_OWN(name) int64_t lt_tasks_##name(const lt_kernel *k);
#define LT_KERNEL(NAME, name, own, dims, place, tasks)                                                                 \
  void lt_emit_##name(lt_ll *l, const lt_kernel *k);                                                                   \
  TASKS_##tasks(name)
#include "plan/kernels.def"
#undef LT_KERNEL
#undef TASKS_DIMS
#undef TASKS_OWN
int64_t lt_kernel_tasks(const lt_kernel *k); /* kernels.c */
#endif
