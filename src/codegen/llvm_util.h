/* llvm_util.h: the rest of llvm_util.c (what emit.h does not declare), and expr.c's pieces that loops, reductions and gathers share. */
#ifndef LT_LL_H
#define LT_LL_H
#include "codegen/cpu/emit.h"

LLVMValueRef lt_ll_const(lt_ll *l, LLVMTypeRef t, double v);           /* scalar or splat, integer or float */
LLVMValueRef lt_ll_bits(lt_ll *l, LLVMTypeRef vec, uint64_t bits);     /* splat of an integer's bits */
LLVMValueRef lt_ll_iota(lt_ll *l, LLVMTypeRef element);                /* <0, 1, … 15> */
LLVMValueRef lt_ll_lane(lt_ll *l, LLVMValueRef vec, unsigned lane);
LLVMValueRef lt_ll_shuffle(lt_ll *l, LLVMValueRef a, LLVMValueRef b, const int *lane, unsigned n); /* -1: any; b may be NULL */
LLVMValueRef lt_ll_intrinsic(lt_ll *l, const char *name, LLVMTypeRef overload, LLVMValueRef *arg, unsigned n);
/* The same pointer, opaque to LLVM's loop strength reduction, whose time grows faster than the number of addresses it sees:
 * for addresses that are a base and constants anyway. Costs no instruction. */
LLVMValueRef lt_ll_opaque(lt_ll *l, LLVMValueRef pointer);
LLVMBasicBlockRef lt_ll_block(lt_ll *l);
LLVMValueRef lt_ll_phi2(lt_ll *l, LLVMValueRef a, LLVMBasicBlockRef from_a, LLVMValueRef b, LLVMBasicBlockRef from_b);
void lt_ll_attributes(lt_ll *l, LLVMValueRef fn);

/* Where the guards of an access hold: always (both NULL), a scalar i1, a <16 x i1>, or both (all must hold). */
typedef struct lt_valid { LLVMValueRef scalar, lanes; } lt_valid;

/* The lane dim of an evaluation is the kernel's (n_dims-1) except where a reduction runs its lanes along a reduced dim. */
void lt_emit_valid(lt_ll *l, lt_valid *v, const lt_kernel *k, const lt_access *a, const lt_point *p, unsigned lane);
/* What a load does about its guards: give a->fill where one fails; give anything there (the caller looks at
 * lt_emit_valid); or take them as known to hold in all live lanes. */
typedef enum lt_guard { LT_GUARDS_FILL, LT_GUARDS_ANY, LT_GUARDS_HOLD } lt_guard;
/* 16 lanes from memory; those past p->lanes hold zero. Never touches memory it must not. */
LLVMValueRef lt_emit_load(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p, unsigned lane, lt_dtype t, lt_guard guard);
void lt_emit_store(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p, unsigned lane, lt_dtype t, LLVMValueRef v);
/* Evaluate x[0..n): out[i] is its value as <16 x t>. */
void lt_emit_expr(lt_ll *l, const lt_kernel *k, const lt_bufs *b, const lt_instr *x, uint32_t n, const lt_point *p, unsigned lane,
                  const LLVMValueRef *result, LLVMValueRef count, lt_guard guard, LLVMValueRef *out);
/* The address of a's element at p (lane 0), guards not looked at. */
LLVMValueRef lt_emit_address(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p, lt_dtype t);
/* Split `task` into the indices of the task dims. */
void lt_emit_task(lt_ll *l, const lt_kernel *k, lt_point *p, LLVMValueRef task);
/* X_RANDOM: src/ir/random.c's lt_random_unit on 16 counters. */
LLVMValueRef lt_emit_random(lt_ll *l, LLVMValueRef seed, LLVMValueRef step, LLVMValueRef counter, uint64_t stream);
/* NaN-propagating maximum of floats, plain of integers. */
LLVMValueRef lt_emit_max(lt_ll *l, LLVMValueRef a, LLVMValueRef b);
/* 16 lanes as another element type, as the op `cast` means it (math.c). */
LLVMValueRef lt_emit_convert(lt_ll *l, LLVMValueRef v, lt_dtype from, lt_dtype to);
/* loops.c: the loops over the output dims of one task: calls `at` where code for one point (16 lanes, or the last few) is
 * to be emitted. Dims given in p already (not NULL) are left as they are; `one_lane` walks the lane dim one by one. */
typedef void (*lt_at_point)(lt_ll *l, void *arg, const lt_point *p);
void lt_emit_walk(lt_ll *l, const lt_kernel *k, lt_point *p, bool one_lane, lt_at_point at, void *arg);
bool lt_is_const_i64(LLVMValueRef v, int64_t *out);
#endif
