/* ahead.c: which contractions ask for what they will read later (look_ahead in src/codegen/cpu/contract.c). */
#include "../check_main.h"
#include "../kcheck/harness.h"

/* `n` products of [rows, k] and [k, k]. */
static lt_kernel *products(lt_arena *a, int64_t n, int64_t rows, int64_t k) {
  lt_kernel *p = LT_NEW(a, lt_kernel);
  lt_contract *c = p->contract = LT_NEW(a, lt_contract);
  *p = (lt_kernel){.kind = LT_K_CONTRACT, .name = "p", .dtype = LT_F32, .acc = LT_F32, .contract = c, .channels = k};
  p->n_dims = 5, p->block_dim = 3, p->n_task_dims = 1;
  memcpy(p->extent, (int64_t[]){1, n, rows, k / 16, 16}, 5 * sizeof *p->extent);
  *c = (lt_contract){.n_seg = 1, .row_dim = 0, .col_dim = 2};
  c->a = (lt_access){.stride = {0, rows * k, k}}, c->b = (lt_access){.buffer = 1, .stride = {0, k * k, 0, k * 16, 1}};
  c->seg[0] = (lt_kseg){.n = 1, .extent = {k}, .a_stride = {1}, .b_stride = {16}};
  c->seg[0].run = lt_runs_even(c->seg[0].extent, 1), c->cut = true;
  p->expr = LT_NEW(a, lt_instr), p->n_expr = 1, p->expr[0] = (lt_instr){.kind = LT_X_RESULT};
  p->store = LT_NEW(a, lt_store), p->n_store = 1;
  *p->store = (lt_store){.to = {.buffer = 2, .stride = {0, rows * k, k, 16, 1}}};
  return p;
}

typedef struct batch { int64_t n, rows, k; bool ahead; } batch;

/* Panels that only together are large are asked for ahead, where the rows are those of one task. */
static void look_for_prefetch(lt_job *job, void *arg) {
  static const batch of[] = {{36, 49, 128, true}, {16, 49, 256, true}, {4, 49, 128, false}, {36, 784, 128, false}};
  lt_arena *a = lt_arena_new(job);
  lt_target t;
  lt_target_host(&t, job, a, "", "");
  for (size_t i = 0; i < LT_COUNT(of); i++) {
    const lt_kernel *k = products(a, of[i].n, of[i].rows, of[i].k);
    LLVMMemoryBufferRef text = lt_module_emit(harness_module(job, a, &t, &k, 1), LLVMAssemblyFile);
    ck_assert_msg((strstr(LLVMGetBufferStart(text), "prefetch") != NULL) == of[i].ahead, "products %zu", i);
    LLVMDisposeMemoryBuffer(text);
  }
}

START_TEST(batched_products) {
#if !defined(__x86_64__)
  LT_SKIP("needs x86-64: the name of an instruction");
#endif
  lathe_error e = {0};
  ck_assert_msg(lt_protect(&e, look_for_prefetch, NULL) == LATHE_OK, "%s", e.message);
}
END_TEST

LT_SUITE(ahead, batched_products)
LT_TEST_MAIN(ahead)
