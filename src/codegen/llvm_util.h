/* llvm_util.h: one LLVM module under construction, and short forms over the LLVM C API (llvm_util.c): constants,
 * pointers, loops, 16-lane vectors, masks. LLVM is seen from here on only. */
#ifndef LT_LL_H
#define LT_LL_H
#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include "plan/plan.h"
#include "codegen/target.h"

/* Σ coef[d]·i[d] that stands in `block` (i NULL: 0), or the address of that element of `base`; by the addresses of
 * LLVM's values. */
enum { LT_LL_SUMS = 64, LT_LL_TERMS = 12 };
typedef struct lt_ll_sum {
  LLVMBasicBlockRef block;
  LLVMValueRef base;
  lt_dtype dtype;
  LLVMValueRef i[LT_LL_TERMS], sum;
  int64_t coef[LT_LL_TERMS];
} lt_ll_sum;

typedef struct lt_ll {        /* one module under construction */
  lt_job *job;
  lt_arena *arena;
  const lt_target *target;
  LLVMContextRef ctx;
  LLVMModuleRef mod;
  LLVMBuilderRef b;
  LLVMValueRef fn; /* the function being filled */
  LLVMTypeRef i1, i8, i32, i64, f32, f64, ptr, void_;
  lt_ll_sum sum[LT_LL_SUMS]; /* the latest, in turn */
  unsigned next_sum;
  LT_VEC(LLVMValueRef) alike; /* functions that only calls mention: equal ones may become one (merge.c) */
} lt_ll;

LLVMTypeRef lt_ll_type(lt_ll *l, lt_dtype t); /* scalar (bool is i8 in memory) */
LLVMTypeRef lt_ll_vec(lt_ll *l, lt_dtype t);  /* <16 x t>; bool is <16 x i1> in registers */
LLVMValueRef lt_ll_i64(lt_ll *l, int64_t v);
LLVMValueRef lt_ll_splat(lt_ll *l, LLVMValueRef scalar, unsigned lanes);
/* &base[index + plus]; index may be NULL */
LLVMValueRef lt_ll_at(lt_ll *l, LLVMValueRef base, LLVMValueRef index, lt_dtype t, int64_t plus);
/* fmul+fadd where the target has no FMA */
LLVMValueRef lt_ll_fma(lt_ll *l, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);
/* for (i = from; i < to; i += step): opens the loop; body code follows; lt_ll_loop_end closes it. carried values
 * (phis): set loop.carry before begin (initial values) and before end (next values); after end they hold the final
 * ones. */
typedef struct lt_ll_loop {
  LLVMValueRef i;
  unsigned n_carry;
  LLVMValueRef carry[64];
  LLVMBasicBlockRef head, exit_;
  LLVMValueRef to, step, phi[65];
} lt_ll_loop;
void lt_ll_loop_begin(lt_ll *l, lt_ll_loop *loop, LLVMValueRef from, LLVMValueRef to, int64_t step);
void lt_ll_loop_end(lt_ll *l, lt_ll_loop *loop);
/* void(ptr, i64), attributes set; positions the builder */
LLVMValueRef lt_ll_function(lt_ll *l, const char *name, bool internal);
LLVMValueRef lt_ll_const(lt_ll *l, LLVMTypeRef t, double v);       /* scalar or splat, integer or float */
LLVMValueRef lt_ll_bits(lt_ll *l, LLVMTypeRef vec, uint64_t bits); /* splat of an integer's bits */
LLVMValueRef lt_ll_iota(lt_ll *l, LLVMTypeRef element);            /* <0, 1, … 15> */
LLVMValueRef lt_ll_lane(lt_ll *l, LLVMValueRef vec, unsigned lane);
/* -1: any; b may be NULL */
LLVMValueRef lt_ll_shuffle(lt_ll *l, LLVMValueRef a, LLVMValueRef b, const int *lane, unsigned n);
void lt_ll_turn(lt_ll *l, LLVMValueRef v[16]); /* 16 vectors of 16: v[i][j] and v[j][i] change places */
LLVMValueRef lt_ll_intrinsic(lt_ll *l, const char *name, LLVMTypeRef overload, LLVMValueRef *arg, unsigned n);
/* The same pointer, opaque to LLVM's loop strength reduction, whose time grows faster than the number of addresses it
 * sees: for addresses that are a base and constants anyway. Costs no instruction. */
LLVMValueRef lt_ll_opaque(lt_ll *l, LLVMValueRef pointer);
/* Ask for the line at `at`, which need not exist, into L2; targets that cannot ask do nothing. */
void lt_ll_prefetch(lt_ll *l, LLVMValueRef at);
LLVMValueRef lt_ll_plus(lt_ll *l, LLVMValueRef v, int64_t n); /* v itself where n is 0 */
LLVMValueRef lt_ll_bytes_on(lt_ll *l, LLVMValueRef base, int64_t bytes);
LLVMValueRef lt_ll_load_ptr(lt_ll *l, LLVMValueRef base, int64_t index); /* base[index] */
LLVMValueRef lt_ll_both(lt_ll *l, LLVMValueRef a, LLVMValueRef b);       /* a and b; NULL is true */
LLVMValueRef lt_ll_is_null(lt_ll *l, LLVMValueRef p);
LLVMValueRef lt_ll_misaligned(lt_ll *l, LLVMValueRef p, int64_t align);
LLVMBasicBlockRef lt_ll_block(lt_ll *l);
LLVMValueRef lt_ll_phi2(lt_ll *l, LLVMValueRef a, LLVMBasicBlockRef from_a, LLVMValueRef b, LLVMBasicBlockRef from_b);
/* of a function: by key and value, and by name alone; what every function has */
void lt_ll_attribute(lt_ll *l, LLVMValueRef fn, const char *key, const char *value);
void lt_ll_flag(lt_ll *l, LLVMValueRef fn, const char *name);
void lt_ll_attributes(lt_ll *l, LLVMValueRef fn);
/* Of a function whose time does not count, as it only decodes, loops and calls: LLVM translates it and thinks no
 * further, in a third of the time; unless code is to be small. */
void lt_ll_cold(lt_ll *l, LLVMValueRef fn);
void lt_ll_copy_attributes(lt_ll *l, LLVMValueRef to, LLVMValueRef from); /* those of the function itself */
/* The blocks of one function become those of another, whose first params are its params; `from` is a declaration then.
 */
void lt_ll_move_body(lt_ll *l, LLVMValueRef to, LLVMValueRef from);
bool lt_ll_const_of(LLVMValueRef v, int64_t *out); /* v is this constant */
#endif
