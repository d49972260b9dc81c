/* ahead.c: which contractions and sums ask for what they will read later (look_ahead and next_lines in
 * src/codegen/cpu/contract.c, ask_for_lines in epilogue.c, ask_ahead in reduce_runs.c). */
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
    lt_kernel *p = products(a, of[i].n, of[i].rows, of[i].k);
    p->store->to.stride[1] = p->store->to.stride[2] = 0; /* a small result is not asked for */
    const lt_kernel *k = p;
    LLVMMemoryBufferRef text = lt_module_emit(harness_module(job, a, &t, &k, 1), LLVMAssemblyFile);
    ck_assert_msg((strstr(LLVMGetBufferStart(text), "prefetch") != NULL) == of[i].ahead, "products %zu", i);
    LLVMDisposeMemoryBuffer(text);
  }
}

/* A single pixel reads many panels side by side where they are near, few where they come from far away. */
static void look_at_streams(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  lt_target t;
  lt_target_host(&t, job, a, "x86-64-v4", "");
  static const struct { int64_t k; bool many; } of[] = {{1024, false}, {304, true}};
  for (size_t i = 0; i < LT_COUNT(of); i++) {
    lt_cut c;
    lt_tiling s;
    lt_cut_of(&c, products(a, 1, 1, of[i].k));
    lt_tile_solve(&s, &c, &t, LT_F32);
    ck_assert_msg((s.blocks > 4) == of[i].many, "%ld blocks of %ld", (long)s.blocks, (long)of[i].k);
  }
}

/* A convolution of `channels` to 64, kernel x kernel taps, of a blocked image of size x size pixels. */
static lt_kernel *conv(lt_arena *a, int64_t channels, int64_t size, int64_t kernel) {
  lt_kernel *p = products(a, 1, size, 64);
  lt_contract *c = p->contract;
  memcpy(p->extent, (int64_t[]){1, size, size, 4, 16}, 5 * sizeof *p->extent);
  c->row_dim = 1, c->col_dim = 2;
  c->a = (lt_access){.stride = {0, (size + kernel - 1) * 16, 16}};
  c->b = (lt_access){.buffer = 1, .stride = {0, 0, 0, channels * kernel * kernel * 16, 1}};
  c->seg[0] = (lt_kseg){.n = 4, .extent = {channels / 16, kernel, kernel, 16}};
  memcpy(c->seg[0].a_stride, (int64_t[]){c->a.stride[1] * (size + kernel - 1), c->a.stride[1], 16, 1},
         4 * sizeof(int64_t));
  memcpy(c->seg[0].b_stride, (int64_t[]){kernel * kernel * 256, kernel * 256, 256, 16}, 4 * sizeof(int64_t));
  c->seg[0].run = lt_runs_even(c->seg[0].extent, 4);
  memcpy(p->store->to.stride, (int64_t[]){0, size * 64, 64, 16, 1}, 5 * sizeof(int64_t));
  return p;
}

typedef struct image { int64_t channels, size, kernel; const char *cpu; bool ahead; } image;

/* small: the result is one line, which is not asked for. */
static void look_for_images(lt_job *job, const image *of, size_t n, bool small) {
  lt_arena *a = lt_arena_new(job);
  for (size_t i = 0; i < n; i++) {
    lt_target t;
    lt_target_host(&t, job, a, of[i].cpu, "");
    lt_kernel *p = conv(a, of[i].channels, of[i].size, of[i].kernel);
    if (small) memset(p->store->to.stride, 0, 4 * sizeof(int64_t));
    const lt_kernel *k = p;
    LLVMMemoryBufferRef text = lt_module_emit(harness_module(job, a, &t, &k, 1), LLVMAssemblyFile);
    ck_assert_msg((strstr(LLVMGetBufferStart(text), "prefetch") != NULL) == of[i].ahead, "image %zu", i);
    LLVMDisposeMemoryBuffer(text);
  }
}

/* Lines of a large image are asked for ahead, taps or not; not without FMA. Panels are small here. */
static void look_for_lines(lt_job *job, void *arg) {
  static const image of[] = {{256, 56, 1, "x86-64-v3", true}, {256, 56, 1, "x86-64-v4", true},
                             {256, 56, 1, "x86-64", false},   {32, 56, 3, "x86-64-v3", true},
                             {32, 56, 3, "x86-64-v4", true},  {32, 28, 3, "x86-64-v3", false},
                             {64, 14, 1, "x86-64-v3", false}};
  look_for_images(job, of, LT_COUNT(of), true);
}

/* So is a large result, small image or not, unless K is so long that its lines do not count. */
static void look_for_results(lt_job *job, void *arg) {
  static const image of[] = {{16, 56, 1, "x86-64-v3", true},
                             {16, 56, 1, "x86-64-v4", true},
                             {16, 56, 1, "x86-64", false},
                             {32, 28, 1, "x86-64-v3", false},
                             {32, 40, 5, "x86-64-v3", false}};
  look_for_images(job, of, LT_COUNT(of), false);
}

/* All rows of an image share what they ask of the next panel, not those of one of its tasks: of 14 x 14 pixels a body
 * then asks for a line of each block. */
static void look_for_shares(lt_job *job, void *arg) {
  static const char *const cpus[] = {"x86-64-v3", "x86-64-v4"};
  lt_arena *a = lt_arena_new(job);
  for (size_t i = 0; i < LT_COUNT(cpus); i++) {
    lt_target t;
    lt_target_host(&t, job, a, cpus[i], "");
    const lt_kernel *k = conv(a, 256, 14, 3);
    lt_cut cut;
    lt_cut_of(&cut, k);
    ck_assert(cut.blocks_first && cut.row_groups > 1);
    LLVMMemoryBufferRef text = lt_module_emit(harness_module(job, a, &t, &k, 1), LLVMAssemblyFile);
    int asked = 0;
    for (const char *at = LLVMGetBufferStart(text); (at = strstr(at, "prefetch")) != NULL; at++) asked++;
    ck_assert_msg(asked > 0 && asked <= 2, "%d on %s", asked, t.row);
    LLVMDisposeMemoryBuffer(text);
  }
}

/* Gradient in the weights of `blocks` blocks of channels to 64 of 14 x 14 pixels, 1 x taps: K walks pixels, a line
 * each. */
static lt_kernel *weights(lt_arena *a, int64_t blocks, int64_t taps) {
  const int64_t size = 14, row = (size + taps - 1) * 16;
  lt_kernel *p = products(a, 1, size, 64);
  lt_contract *c = p->contract;
  p->block_dim = 2;
  memcpy(p->extent, (int64_t[]){taps, blocks, 4, 16, 16}, 5 * sizeof *p->extent);
  c->row_dim = 3, c->col_dim = 0;
  c->a = (lt_access){.stride = {16, size * row, 0, 1}};
  c->b = (lt_access){.buffer = 1, .stride = {0, 0, size * size * 16, 0, 1}};
  c->seg[0] = (lt_kseg){
    .n = 3, .extent = {1, size, size}, .a_stride = {blocks * size * row, row, 16}, .b_stride = {0, size * 16, 16}};
  c->seg[0].run = lt_runs_even(c->seg[0].extent, 3);
  memcpy(p->store->to.stride, (int64_t[]){16, taps * 256, blocks * taps * 256, taps * 16, 1}, 5 * sizeof(int64_t));
  return p;
}

typedef struct gradient { int64_t blocks, taps; const char *cpu; bool ahead; } gradient;

/* So are those of a weight gradient, whose panel is small here too. */
static void look_for_pixels(lt_job *job, void *arg) {
  static const gradient of[] = {{64, 1, "x86-64-v3", true},
                                {64, 3, "x86-64-v3", true},
                                {64, 3, "x86-64-v4", true},
                                {64, 3, "x86-64", false},
                                {4, 1, "x86-64-v3", false}};
  lt_arena *a = lt_arena_new(job);
  for (size_t i = 0; i < LT_COUNT(of); i++) {
    lt_target t;
    lt_target_host(&t, job, a, of[i].cpu, "");
    const lt_kernel *k = weights(a, of[i].blocks, of[i].taps);
    LLVMMemoryBufferRef text = lt_module_emit(harness_module(job, a, &t, &k, 1), LLVMAssemblyFile);
    ck_assert_msg((strstr(LLVMGetBufferStart(text), "prefetch") != NULL) == of[i].ahead, "gradient %zu", i);
    LLVMDisposeMemoryBuffer(text);
  }
}

/* The sum over 4 images of `blocks` blocks of channels, size x size pixels, of x, or of products of that and g. */
static lt_kernel *sum(lt_arena *a, int64_t blocks, int64_t size, bool product) {
  const int64_t plane = size * size * 16;
  lt_kernel *p = LT_NEW(a, lt_kernel);
  *p = (lt_kernel){.kind = LT_K_REDUCE, .name = "s", .dtype = LT_F32, .acc = LT_F32, .channels = blocks * 16};
  p->n_dims = 2, p->n_rdims = 3, p->n_task_dims = 1;
  memcpy(p->extent, (int64_t[]){blocks, 16, 4, size, size}, 5 * sizeof *p->extent);
  p->runs = lt_runs_within(p->extent + 2, 3, LT_RUN_PARTS);
  p->access = LT_NEW_ARRAY(a, lt_access, 2), p->n_access = product ? 2 : 1;
  for (uint32_t i = 0; i < 2; i++)
    p->access[i] = (lt_access){.buffer = i, .stride = {plane, 1, blocks * plane, size * 16, 16}};
  p->rexpr = LT_NEW_ARRAY(a, lt_instr, 3), p->n_rexpr = product ? 3 : 1;
  p->rexpr[0] = (lt_instr){.kind = LT_X_LOAD}, p->rexpr[1] = (lt_instr){.kind = LT_X_LOAD, .access = 1};
  p->rexpr[2] = (lt_instr){.kind = LT_X_MAP, .op = LT_OP_mul, .arg = {0, 1, -1}};
  p->expr = LT_NEW(a, lt_instr), p->n_expr = 1, p->expr[0] = (lt_instr){.kind = LT_X_RESULT};
  p->store = LT_NEW(a, lt_store), p->n_store = 1;
  *p->store = (lt_store){.to = {.buffer = 2, .stride = {16, 1}}};
  return p;
}

typedef struct statistic { int64_t blocks, size; bool product; const char *cpu; bool ahead; } statistic;

/* Of one operand, where it is larger than what is still in a cache; of two, of which one was made long ago, sooner.
 * Where registers hold all partial sums, lines are read in order, and only short planes are asked for. */
static void look_for_groups(lt_job *job, void *arg) {
  static const statistic of[] = {
    {16, 56, false, "x86-64-v3", true}, {4, 56, false, "x86-64-v3", false}, {4, 56, true, "x86-64-v3", true},
    {4, 14, true, "x86-64-v3", false},  {16, 14, true, "x86-64-v3", true},  {16, 56, false, "x86-64-v4", false},
    {16, 56, true, "x86-64-v4", false}, {16, 14, true, "x86-64-v4", true},  {4, 14, true, "x86-64-v4", false}};
  lt_arena *a = lt_arena_new(job);
  for (size_t i = 0; i < LT_COUNT(of); i++) {
    const statistic *s = &of[i];
    lt_target t;
    lt_target_host(&t, job, a, s->cpu, "");
    const lt_kernel *k = sum(a, s->blocks, s->size, s->product);
    LLVMMemoryBufferRef text = lt_module_emit(harness_module(job, a, &t, &k, 1), LLVMAssemblyFile);
    ck_assert_msg((strstr(LLVMGetBufferStart(text), "prefetch") != NULL) == s->ahead, "sum %zu", i);
    LLVMDisposeMemoryBuffer(text);
  }
}

static void check_with(void (*look)(lt_job *job, void *arg)) {
  lathe_error e = {0};
  ck_assert_msg(lt_protect(&e, look, NULL) == LATHE_OK, "%s", e.message);
}

#if defined(__x86_64__)
#define SKIP_ELSEWHERE
#else
#define SKIP_ELSEWHERE LT_SKIP("needs x86-64: the name of an instruction")
#endif

START_TEST(batched_products) {
  SKIP_ELSEWHERE;
  check_with(look_for_prefetch);
}
END_TEST

START_TEST(streams) {
  SKIP_ELSEWHERE;
  check_with(look_at_streams);
}
END_TEST

START_TEST(images) {
  SKIP_ELSEWHERE;
  check_with(look_for_lines);
}
END_TEST

START_TEST(shares) {
  SKIP_ELSEWHERE;
  check_with(look_for_shares);
}
END_TEST

START_TEST(sums) {
  SKIP_ELSEWHERE;
  check_with(look_for_groups);
}
END_TEST

START_TEST(results) {
  SKIP_ELSEWHERE;
  check_with(look_for_results);
}
END_TEST

START_TEST(weight_gradients) {
  SKIP_ELSEWHERE;
  check_with(look_for_pixels);
}
END_TEST

LT_SUITE(ahead, batched_products, streams, images, results, shares, sums, weight_gradients)
LT_TEST_MAIN(ahead)
