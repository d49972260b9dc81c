/* emit.h: inside code generation: the context of one LLVM module and the emitters of kernels. LLVM is seen from here on only.
 *
 * Every kernel becomes   void k<i>(ptr bufs, i64 task)   where bufs points to the kernel's buffer addresses in the order
 * of lt_kernel_buffers(), and task runs over the product of its task dims: the signature of lathe_parallel's body, so a
 * kernel runs serially in a loop or on the caller's threads with the same code. An entry loads io pointers, checks them,
 * computes addresses and calls kernels in order; it is emitted code like the rest. */
#ifndef LT_EMIT_H
#define LT_EMIT_H
#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include "plan/plan.h"
#include "codegen/target.h"

typedef struct lt_ll {        /* one module under construction */
  lt_job *job;
  lt_arena *arena;
  const lt_target *target;
  LLVMContextRef ctx;
  LLVMModuleRef mod;
  LLVMBuilderRef b;
  LLVMValueRef fn;            /* the function being filled */
  LLVMTypeRef i1, i8, i32, i64, f32, f64, ptr, void_;
} lt_ll;

/* llvm_util.c: short forms over the LLVM C API: constants, pointers, loops, 16-lane vectors, masks. */
LLVMTypeRef lt_ll_type(lt_ll *l, lt_dtype t);             /* scalar (bool is i8 in memory) */
LLVMTypeRef lt_ll_vec(lt_ll *l, lt_dtype t);              /* <16 x t>; bool is <16 x i1> in registers */
LLVMValueRef lt_ll_i64(lt_ll *l, int64_t v);
LLVMValueRef lt_ll_splat(lt_ll *l, LLVMValueRef scalar, unsigned lanes);
LLVMValueRef lt_ll_at(lt_ll *l, LLVMValueRef base, LLVMValueRef index, lt_dtype t, int64_t plus); /* &base[index + plus]; index may be NULL */
LLVMValueRef lt_ll_fma(lt_ll *l, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c); /* fmul+fadd where the target has no FMA */
/* for (i = from; i < to; i += step): opens the loop; body code follows; lt_ll_loop_end closes it. carried values (phis):
 * set loop.carry before begin (initial values) and before end (next values); after end they hold the final ones. */
typedef struct lt_ll_loop {
  LLVMValueRef i; unsigned n_carry; LLVMValueRef carry[64];
  LLVMBasicBlockRef head, exit_; LLVMValueRef to, step, phi[65];
} lt_ll_loop;
void lt_ll_loop_begin(lt_ll *l, lt_ll_loop *loop, LLVMValueRef from, LLVMValueRef to, int64_t step);
void lt_ll_loop_end(lt_ll *l, lt_ll_loop *loop);
LLVMValueRef lt_ll_function(lt_ll *l, const char *name, bool internal); /* void(ptr, i64), attributes set; positions the builder */

/* Where the code now stands in the iteration space: dim k's current index (i64 value); the lane dim's is that of lane 0.
 * lanes: 16 for a vector step, fewer for a tail (masked or element by element, the emitter's choice). */
typedef struct lt_point {
  LLVMValueRef i[LT_MAX_DIMS];
  unsigned lanes;            /* static number of live lanes when mask is NULL */
  LLVMValueRef mask;         /* <16 x i1>, NULL: the first `lanes` */
} lt_point;

/* expr.c: evaluate an expression at a point and store results. `result` gives LT_X_RESULT values. bufs: loaded base
 * pointers by position in lt_kernel_buffers order (see lt_emit_buffers). */
typedef struct lt_bufs { LLVMValueRef *access, *store, a, b, extra[4]; } lt_bufs;
void lt_emit_buffers(lt_ll *l, lt_bufs *out, const lt_kernel *k, LLVMValueRef bufs); /* at function entry: base pointers */
void lt_emit_epilogue(lt_ll *l, const lt_kernel *k, const lt_bufs *b, const lt_point *p, const LLVMValueRef *result, LLVMValueRef count);
LLVMValueRef lt_emit_map(lt_ll *l, const lt_instr *x, const LLVMValueRef *arg, lt_dtype arg_dtype); /* one op on <16 x t> (math.c: exp, log, tanh…) */

/* One function per kernel. */
void lt_emit_loops(lt_ll *l, const lt_kernel *k);    /* loops.c:   LOOPS */
void lt_emit_reduce(lt_ll *l, const lt_kernel *k);   /* reduce.c:  REDUCE */
void lt_emit_contract(lt_ll *l, const lt_kernel *k); /* contract.c */
void lt_emit_gather(lt_ll *l, const lt_kernel *k);   /* gather.c:  GATHER, SCATTER, BORDER */
int64_t lt_kernel_tasks(const lt_kernel *k);         /* product of task dims (contract.c may group more) */
#endif
