/* kernels.c: kernels as functions, equal ones once, and calls of them: one task after the other, or on the caller's
 * threads.
 *
 * A kernel is void kernel.N(bufs, i64 task) (emit.h). Those with several tasks go through the caller's `lathe_parallel`
 * where there is one and the kernel is worth the trouble. */
#include "codegen/cpu/kernels.h"
#include "codegen/cpu/tile.h"

/* Less than this takes a core about five microseconds: done before other threads have woken up. */
enum { SERIAL_FLOP = 500000, SERIAL_BYTES = 128 << 10 };

static int64_t tasks_of_dims(const lt_kernel *k) {
  int64_t n = 1;
  for (unsigned d = 0; d < k->n_task_dims; d++) n *= k->extent[d];
  return n;
}

static const struct { void (*emit)(lt_ll *l, const lt_kernel *k); int64_t (*tasks)(const lt_kernel *k); } kinds[] = {
#define TASKS_DIMS(name) tasks_of_dims
#define TASKS_OWN(name) lt_tasks_##name
#define LT_KERNEL(NAME, name, own, dims, place, tasks) [LT_K_##NAME] = {lt_emit_##name, TASKS_##tasks(name)},
#include "plan/kernels.def"
#undef LT_KERNEL
#undef TASKS_DIMS
#undef TASKS_OWN
};

int64_t lt_kernel_tasks(const lt_kernel *k) { return kinds[k->kind].tasks(k); }

static LLVMTypeRef kernel_type(lt_ll *l) {
  return LLVMFunctionType(l->void_, (LLVMTypeRef[]){l->ptr, l->i64}, 2, false);
}

/* run(parallel, n, kernel, bufs): the tasks in a loop, or given to the caller's threads. */
void lt_kernels_begin(lt_kernels *all, lt_ll *l) {
  *all = (lt_kernels){.l = l};
  all->run_type = LLVMFunctionType(l->void_, (LLVMTypeRef[]){l->ptr, l->i64, l->ptr, l->ptr}, 4, false);
  all->run = l->fn = LLVMAddFunction(l->mod, "tasks.run", all->run_type);
  LLVMSetLinkage(all->run, LLVMInternalLinkage);
  lt_ll_attributes(l, all->run);
  LLVMPositionBuilderAtEnd(l->b, lt_ll_block(l));
  LLVMValueRef parallel = LLVMGetParam(l->fn, 0), n = LLVMGetParam(l->fn, 1), fn = LLVMGetParam(l->fn, 2),
               bufs = LLVMGetParam(l->fn, 3);
  LLVMBasicBlockRef serial = lt_ll_block(l), threads = lt_ll_block(l);
  LLVMBuildCondBr(l->b, lt_ll_is_null(l, parallel), serial, threads);
  LLVMPositionBuilderAtEnd(l->b, serial);
  lt_ll_loop loop = {0};
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), n, 1);
  LLVMBuildCall2(l->b, kernel_type(l), fn, (LLVMValueRef[]){bufs, loop.i}, 2, "");
  lt_ll_loop_end(l, &loop);
  LLVMBuildRetVoid(l->b);
  LLVMPositionBuilderAtEnd(l->b, threads);
  LLVMTypeRef hook = LLVMFunctionType(l->void_, (LLVMTypeRef[]){l->ptr, l->i64, l->ptr, l->ptr}, 4, false);
  LLVMValueRef ctx = lt_ll_load_ptr(l, parallel, 0), run = lt_ll_load_ptr(l, parallel, 1);
  LLVMBuildCall2(l->b, hook, run, (LLVMValueRef[]){ctx, n, fn, bufs}, 4, "");
  LLVMBuildRetVoid(l->b);
}

static bool only_moves(const lt_kernel *k) {
  bool moves = k->kind == LT_K_LOOPS;
  for (uint32_t i = 0; i < k->n_expr; i++) moves &= k->expr[i].kind == LT_X_LOAD;
  return moves;
}

static LLVMValueRef emit_kernel(lt_kernels *all, const lt_kernel *k) {
  lt_ll *l = all->l;
  const char *name = lt_arena_printf(l->arena, "kernel.%u", all->n++); /* not a C name: those are for entries */
  LLVMValueRef fn = lt_ll_function(l, name, true);
  kinds[k->kind].emit(l, k);
  LLVMBuildRetVoid(l->b);
  return fn;
}

LLVMValueRef lt_kernels_function(lt_kernels *all, const lt_kernel *k, bool once) {
  lt_ll *l = all->l;
  lt_str key;
  lt_str_init(&key, l->arena);
  lt_kernel_key(&key, k);
  uintptr_t found;
  if (lt_map_get(&all->by_key, key.at, key.n, &found)) return (LLVMValueRef)found;
  bool cold = once && only_moves(k); /* as fast as memory all the same */
  if (cold) lt_str_puts(&key, "cold");
  if (cold && lt_map_get(&all->by_key, key.at, key.n, &found)) return (LLVMValueRef)found;
  LLVMValueRef fn = emit_kernel(all, k);
  if (cold) lt_ll_cold(l, fn);
  lt_map_put(l->arena, &all->by_key, key.at, key.n, (uintptr_t)fn);
  return fn;
}

void lt_kernels_call(const lt_kernels *all, const lt_kernel *k, LLVMValueRef fn, LLVMValueRef bufs,
                     LLVMValueRef parallel) {
  lt_ll *l = all->l;
  int64_t tasks = lt_kernel_tasks(k);
  bool small = k->flop < SERIAL_FLOP && k->bytes < SERIAL_BYTES;
  LLVMValueRef serial = LLVMConstNull(l->ptr);
  if (tasks == 1) LLVMBuildCall2(l->b, kernel_type(l), fn, (LLVMValueRef[]){bufs, lt_ll_i64(l, 0)}, 2, "");
  else
    LLVMBuildCall2(l->b, all->run_type, all->run,
                   (LLVMValueRef[]){small ? serial : parallel, lt_ll_i64(l, tasks), fn, bufs}, 4, "");
}
