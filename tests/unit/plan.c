/* plan.c: the plan as text on small networks (tests/golden/plan.txt; LT_UPDATE=1 writes it anew), the memory plan on
 * plans made by hand and at random, and which kernels share one function. That plans compute what they should is
 * kcheck/plan_eval.c's. */
#include "check_main.h"
#include "plan/operands.h"
#include "driver/pipeline.h"
#include "frontend/frontend.h"
#include "ir/pass/pass.h"

static void protect(void (*body)(lt_job *, void *), void *arg) {
  lathe_error e = {0};
  ck_assert_msg(lt_protect(&e, body, arg) == LATHE_OK, "%s", e.message);
}

static lt_graph *ready(lt_job *job, const char *text) {
  size_t n;
  const lt_pass *pipeline = lt_pipeline(&n);
  lt_graph *g = lt_text_read(job, text, strlen(text), "plan", NULL), *done = lt_run_passes(job, g, pipeline, n, NULL);
  lt_graph_drop(job, g);
  return done;
}

/* ---- text ---- */

static void golden_body(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  const char *path = lt_arena_printf(a, "%s/golden/plan.txt", getenv("LT_TESTS"));
  lt_bytes file = lt_file_read(job, a, path, 1 << 20);
  lt_str now;
  lt_str_init(&now, a);
  for (const char *p = strstr((const char *)file.at, "# case\n"); p; p = strstr(p + 1, "# case\n")) {
    const char *gives = strstr(p, "# gives\n");
    ck_assert(gives);
    char *text = lt_arena_strndup(a, p + 7, (size_t)(gives - p - 7));
    lt_graph *g = ready(job, text);
    lt_image image;
    lt_plan run, pack;
    lt_image_of(&image, a, g);
    lt_str_printf(&now, "# case\n%s# gives\n", text);
    if (g->updates.n) {
      lt_plan_single(&run, a, g, &image, "train");
    } else {
      lt_plan_split(&run, &pack, a, g, &image, "run");
      lt_plan_print(&now, &pack);
    }
    lt_plan_print(&now, &run);
    lt_graph_drop(job, g);
  }
  if (lt_updates()) lt_file_write(job, path, now.at, now.n);
  else ck_assert_str_eq(now.at, (const char *)file.at);
  (void)arg;
}

START_TEST(text) { protect(golden_body, NULL); }
END_TEST

/* ---- the memory plan ---- */

enum { MOST = 40 };

typedef struct hand {
  lt_plan p;
  lt_buffer buffer[MOST];
  lt_kernel kernel[MOST];
  lt_access load[MOST];
  lt_store store[MOST];
} hand;

/* Kernel k copies buffer k to buffer k + 1, from walking order `stride` to row-major. */
static void hand_chain(hand *h, int n, int64_t stride) {
  memset(h, 0, sizeof *h);
  for (int i = 0; i <= n; i++) {
    bool ends = i == 0 || i == n;
    h->buffer[i] = (lt_buffer){.region = ends ? LT_REGION_IO : LT_REGION_SCRATCH,
                               .bytes = 4000,
                               .first = i ? i - 1 : 0,
                               .last = i < n ? i : n - 1};
  }
  for (int i = 0; i < n; i++) {
    h->load[i] = (lt_access){.buffer = (uint32_t)i, .stride = {stride}};
    h->store[i] = (lt_store){.to = {.buffer = (uint32_t)i + 1, .stride = {1}}};
    h->kernel[i] = (lt_kernel){.kind = LT_K_LOOPS,
                               .n_dims = 1,
                               .extent = {1000},
                               .access = &h->load[i],
                               .n_access = 1,
                               .store = &h->store[i],
                               .n_store = 1};
  }
  h->p = (lt_plan){.buffer = h->buffer, .n_buffer = (uint32_t)n + 1, .kernel = h->kernel, .n_kernel = (uint32_t)n};
}

static void chain_body(lt_job *job, void *arg) {
  hand *h = arg;
  hand_chain(h, 5, 1);
  lt_plan_memory(&h->p, lt_arena_new(job));
  ck_assert_int_eq(h->p.scratch_bytes, 4032); /* all in place, in 64 bytes' steps */
  hand_chain(h, 5, 2);
  lt_plan_memory(&h->p, lt_arena_new(job));
  ck_assert_int_eq(h->p.scratch_bytes, 2 * 4032); /* two at a time */
}

START_TEST(in_place) {
  static hand h;
  protect(chain_body, &h);
}
END_TEST

static bool live_together(const lt_buffer *a, const lt_buffer *b) { return a->first <= b->last && b->first <= a->last; }

static void random_body(lt_job *job, void *arg) {
  uint64_t seed = *(const uint64_t *)arg;
  lt_arena *a = lt_arena_new(job);
  static hand h;
  memset(&h, 0, sizeof h);
  int64_t all = 0, most = 0;
  for (uint32_t i = 0; i < MOST; i++) {
    int32_t first = (int32_t)(lt_random_u32(seed, 1, i) % MOST),
            last = first + (int32_t)(lt_random_u32(seed, 2, i) % 8);
    h.buffer[i] = (lt_buffer){.region = LT_REGION_SCRATCH,
                              .bytes = 1 + lt_random_u32(seed, 3, i) % 5000,
                              .first = first,
                              .last = LT_MIN(last, MOST - 1)};
    all += (h.buffer[i].bytes + 63) / 64 * 64;
    h.kernel[i] = (lt_kernel){.kind = LT_K_REDUCE};
  }
  h.p = (lt_plan){.buffer = h.buffer, .n_buffer = MOST, .kernel = h.kernel, .n_kernel = MOST};
  lt_plan_memory(&h.p, a);
  for (int32_t k = 0; k < MOST; k++) {
    int64_t now = 0;
    for (uint32_t i = 0; i < MOST; i++)
      if (h.buffer[i].first <= k && k <= h.buffer[i].last) now += h.buffer[i].bytes;
    most = LT_MAX(most, now);
  }
  ck_assert_int_le(h.p.scratch_bytes, all);
  ck_assert_int_ge(h.p.scratch_bytes, most);
  /* greedy by size stays near the bound; far from it something is broken */
  ck_assert_int_le(h.p.scratch_bytes, 2 * most);
  for (uint32_t i = 0; i < MOST; i++) {
    ck_assert_int_eq(h.buffer[i].offset % LT_ALIGN, 0);
    for (uint32_t k = 0; k < i; k++) {
      bool apart = h.buffer[i].offset >= h.buffer[k].offset + h.buffer[k].bytes ||
                   h.buffer[k].offset >= h.buffer[i].offset + h.buffer[i].bytes;
      ck_assert(apart || !live_together(&h.buffer[i], &h.buffer[k]));
    }
  }
}

START_TEST(random_lifetimes) {
  for (uint64_t seed = 0; seed < 200; seed++) protect(random_body, &seed);
}
END_TEST

/* ---- keys ---- */

static void keys_body(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  lt_graph *g = ready(job, "network n(x: f32[1, 16, 8, 8]) -> y {\n"
                           "  h = relu(conv2d(x, out_channels=16, kernel=3, pad=1, name=\"a\"))\n"
                           "  h = relu(conv2d(h, out_channels=16, kernel=3, pad=1, name=\"b\"))\n"
                           "  h = relu(conv2d(h, out_channels=16, kernel=3, pad=1, name=\"c\"))\n"
                           "  y = tanh(conv2d(h, out_channels=16, kernel=3, pad=1, name=\"d\"))\n}\n");
  lt_image image;
  lt_plan run, pack;
  lt_str key[8];
  uint32_t n = 0;
  lt_image_of(&image, a, g);
  lt_plan_split(&run, &pack, a, g, &image, "run");
  for (uint32_t i = 0; i < run.n_kernel; i++) {
    if (run.kernel[i].kind != LT_K_CONTRACT) continue;
    ck_assert_uint_lt(n, LT_COUNT(key));
    lt_str_init(&key[n], a);
    lt_kernel_key(&key[n++], &run.kernel[i]);
  }
  ck_assert_uint_eq(n, 4);
  /* a, b: the same code on other weights */
  ck_assert(key[0].n == key[1].n && !memcmp(key[0].at, key[1].at, key[0].n));
  ck_assert(key[1].n == key[2].n && !memcmp(key[1].at, key[2].at, key[1].n));
  ck_assert(key[2].n != key[3].n || memcmp(key[2].at, key[3].at, key[2].n) != 0); /* tanh, and plain at the end */
  lt_graph_drop(job, g);
  (void)arg;
}

START_TEST(equal_kernels) { protect(keys_body, NULL); }
END_TEST

/* ---- operands ---- */

/* A kernel of every kind, all of its operands on buffers of their own, numbered in the order in which its function gets
 * them. */
typedef struct kinds {
  lt_access access[2];
  lt_store store[2];
  lt_contract contract;
  lt_gather gather;
  lt_border border;
  lt_instr x[1];
} kinds;

static void of_loops(lt_kernel *k, kinds *h, uint32_t *n) {
  for (int i = 0; i < 2; i++) h->access[i].buffer = (*n)++;
  for (int i = 0; i < 2; i++) h->store[i].to.buffer = (*n)++;
  (void)k;
}

static void of_reduce(lt_kernel *k, kinds *h, uint32_t *n) {
  of_loops(k, h, n);
  k->rexpr = h->x, k->n_rexpr = 1;
}

static void of_contract(lt_kernel *k, kinds *h, uint32_t *n) {
  for (int i = 0; i < 2; i++) h->access[i].buffer = (*n)++;
  h->contract.a.buffer = (*n)++, h->contract.b.buffer = (*n)++;
  for (int i = 0; i < 2; i++) h->store[i].to.buffer = (*n)++;
  h->contract.n_seg = 1, h->contract.seg[0] = (lt_kseg){.n = 1, .extent = {8}};
  k->contract = &h->contract;
}

static void of_gather(lt_kernel *k, kinds *h, uint32_t *n) {
  of_loops(k, h, n);
  h->gather.data.buffer = (*n)++, h->gather.index.buffer = (*n)++, h->gather.other.buffer = (*n)++;
  k->gather = &h->gather;
}

static void of_scatter(lt_kernel *k, kinds *h, uint32_t *n) { of_gather(k, h, n); }

static void of_border(lt_kernel *k, kinds *h, uint32_t *n) {
  of_loops(k, h, n);
  h->border.buffer = (*n)++;
  k->border = &h->border;
}

static const struct { const char *name; void (*make)(lt_kernel *k, kinds *h, uint32_t *n); } each_kind[] = {
#define LT_KERNEL(NAME, name, own, dims, place, tasks) [LT_K_##NAME] = {#name, of_##name},
#include "plan/kernels.def"
#undef LT_KERNEL
};

static void own_figure(kinds *h, lt_kernel_kind kind) { /* something that only this kind has */
  if (kind == LT_K_CONTRACT) h->contract.seg[0].extent[0]++;
  if (kind == LT_K_GATHER || kind == LT_K_SCATTER) h->gather.axis_size++;
  if (kind == LT_K_BORDER) h->border.halo[1]++;
}

static bool same_text(const lt_str *a, const lt_str *b) { return a->n == b->n && memcmp(a->at, b->at, a->n) == 0; }

static void operands_body(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  for (size_t kind = 0; kind < LT_COUNT(each_kind); kind++) {
    kinds h = {0};
    lt_kernel k = {.kind = (lt_kernel_kind)kind,
                   .name = "k",
                   .op = "op",
                   .n_dims = 1,
                   .extent = {4},
                   .block_dim = LT_NONE,
                   .access = h.access,
                   .n_access = 2,
                   .store = h.store,
                   .n_store = 2};
    uint32_t expected = 0, n, *id;
    each_kind[kind].make(&k, &h, &expected);
    id = lt_kernel_buffers_all(a, &k, &n);
    ck_assert_uint_eq(n, expected);
    for (uint32_t i = 0; i < n; i++)
      ck_assert_msg(id[i] == i, "%s: operand %u has buffer %u", each_kind[kind].name, i, id[i]);
    lt_str before, moved, other;
    lt_str_init(&before, a), lt_str_init(&moved, a), lt_str_init(&other, a);
    lt_kernel_key(&before, &k);
    lt_kernel_move(&k, 100);
    id = lt_kernel_buffers_all(a, &k, &n);
    for (uint32_t i = 0; i < n; i++) ck_assert_uint_eq(id[i], i + 100);
    lt_kernel_key(&moved, &k);
    ck_assert_msg(same_text(&before, &moved), "%s: the key depends on where buffers are", each_kind[kind].name);
    own_figure(&h, k.kind);
    lt_kernel_key(&other, &k);
    bool owns = k.kind != LT_K_LOOPS && k.kind != LT_K_REDUCE;
    ck_assert_msg(same_text(&before, &other) != owns, "%s: what only it has is not in its key", each_kind[kind].name);
  }
  (void)arg;
}

START_TEST(operands) { protect(operands_body, NULL); }
END_TEST

/* ---- updates run early ---- */

/* Weights that are larger than their input's gradient are updated behind what reads them packed, others before it; none
 * wait for the end of the step. */
static void early_body(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  lt_graph *g =
    ready(job, "network n(x: f32[1, 16, 8, 8], lr: f32) -> loss {\n"
               "  param A: f32[16, 16, 1, 1] = normal(scale=1.0)\n  param B: f32[16, 16, 1, 1] = normal(scale=1.0)\n"
               "  param C: f32[512, 16, 1, 1] = normal(scale=1.0)\n"
               "  h = conv2d(x, A)\n  i = conv2d(h, B)\n  y = conv2d(i, C, stride=7)\n"
               "  loss = sum(y * y)\n"
               "  update A = A - lr * grad(loss, A)\n  update B = B - lr * grad(loss, B)\n"
               "  update C = C - lr * grad(loss, C)\n}\n");
  lt_image image;
  lt_plan run;
  lt_str order;
  lt_str_init(&order, a);
  lt_image_of(&image, a, g);
  lt_plan_single(&run, a, g, &image, "train");
  for (uint32_t k = 0; k < run.n_kernel; k++) {
    const lt_kernel *x = &run.kernel[k];
    const lt_buffer *to = x->n_store ? &run.buffer[x->store[x->n_store - 1].to.buffer] : NULL;
    if (to && to->region == LT_REGION_STATE) lt_str_printf(&order, "%s ", to->name);
    else if (strcmp(x->op, "conv2d_grad_input") == 0 && k && strcmp(run.kernel[k - 1].op, x->op))
      lt_str_puts(&order, "input ");
  }
  ck_assert_str_eq(order.at, "input C B input A ");
  lt_graph_drop(job, g);
  (void)arg;
}

START_TEST(updates_run_early) { protect(early_body, NULL); }
END_TEST

/* ---- who has what ---- */

/* The first kernel of an op with `rdims` reduced dims. */
static const lt_kernel *kernel_of(const lt_plan *p, const char *op, int rdims) {
  for (uint32_t i = 0; i < p->n_kernel; i++)
    if (strcmp(p->kernel[i].op, op) == 0 && p->kernel[i].n_rdims == rdims) return &p->kernel[i];
  ck_abort_msg("no %s", op);
}

static void rows_body(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  lt_graph *g =
    ready(job, "network n(x: f32[1, 32, 28, 28]) -> y {\n  param A: f32[96, 32, 1, 1] = normal(scale=1.0)\n"
               "  param B: f32[96, 1, 3, 3] = normal(scale=1.0)\n  param C: f32[32, 96, 1, 1] = normal(scale=1.0)\n"
               "  y = conv2d(conv2d(conv2d(x, A), B, pad=1, groups=96), C)\n}\n");
  lt_image image;
  lt_plan run, pack;
  lt_image_of(&image, a, g);
  lt_plan_split(&run, &pack, a, g, &image, "run");
  const lt_kernel *k = kernel_of(&run, "conv2d", 2);
  ck_assert_int_eq(k->extent[0], 2); /* halves of the rows outside the blocks */
  ck_assert_int_eq(k->extent[1], 6);
  ck_assert_int_eq(k->extent[2], 14);
  lt_graph_drop(job, g);
  (void)arg;
}

START_TEST(rows_before_channels) { protect(rows_body, NULL); }
END_TEST

static void channels_body(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  lt_graph *g =
    ready(job, "network n(x: f32[4, 16, 16, 16], lr: f32) -> loss {\n"
               "  param A: f32[48, 16, 1, 1] = normal(scale=1.0)\n  param B: f32[16, 48, 1, 1] = normal(scale=1.0)\n"
               "  param s: f32[48] = ones()\n  param t: f32[48] = zeros()\n"
               "  n, m, v = batch_norm_train(conv2d(x, A), s, t)\n"
               "  y = conv2d(relu(n), B)\n  loss = sum(y * y)\n"
               "  update A = A - lr * grad(loss, A)\n  update B = B - lr * grad(loss, B)\n}\n");
  lt_image image;
  lt_plan step;
  lt_image_of(&image, a, g);
  lt_plan_single(&step, a, g, &image, "train");
  const lt_kernel *k = kernel_of(&step, "batch_norm_grad", 0);
  ck_assert_int_eq(k->block_dim, 0); /* in place of what sums over all images have read: by channels, as they are */
  ck_assert_int_eq(k->extent[0], 3);
  ck_assert_int_eq(k->extent[1], 4);
  lt_graph_drop(job, g);
  (void)arg;
}

START_TEST(channels_before_images) { protect(channels_body, NULL); }
END_TEST

/* ---- a convolution in tiles goes band by band ---- */

/* Images of size x size; how many bands they are computed in, and how many tiles are in the largest. */
typedef struct banded { int64_t images, channels, size, tiles; uint32_t bands; } banded;

static const banded in_bands[] = {
  {1, 64, 20, 25, 1},  /* all of it stays in a cache */
  {1, 64, 56, 28, 7},  /* two rows of tiles */
  {4, 64, 28, 49, 4},  /* an image */
  {8, 512, 7, 32, 1},  /* few tiles: the filters are what is large */
  {1, 16, 65, 102, 3}, /* rows that three bands share out */
};

static void bands_body(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  for (size_t i = 0; i < LT_COUNT(in_bands); i++) {
    const long long n = in_bands[i].images, c = in_bands[i].channels, size = in_bands[i].size;
    const char *net = lt_arena_printf(a,
                                      "network n(x: f32[%lld, %lld, %lld, %lld], W: f32[%lld, %lld, 3, 3]) -> y {\n"
                                      "  m = matmul(winograd_image(x, pad=1), winograd_filter(W))\n"
                                      "  y = winograd_result(m, size=%lld)\n}\n",
                                      n, c, size, size, c, c, size);
    lt_graph *g = ready(job, net);
    lt_image image;
    lt_plan run;
    uint32_t products = 0;
    int64_t bytes = 0;
    lt_image_of(&image, a, g);
    lt_plan_single(&run, a, g, &image, "run");
    for (uint32_t k = 0; k < run.n_kernel; k++) {
      const lt_kernel *x = &run.kernel[k];
      const lt_buffer *to = x->n_store ? &run.buffer[x->store[0].to.buffer] : NULL;
      products += x->kind == LT_K_CONTRACT;
      if (!to || strcmp(to->name, "tiles") != 0) continue;
      ck_assert_uint_gt(x->n_task_dims, 0); /* few points, but many instructions at each */
      bytes = to->bytes;
    }
    ck_assert_uint_eq(products, in_bands[i].bands);
    ck_assert_int_eq(bytes, 36 * in_bands[i].tiles * c * 4);
    lt_graph_drop(job, g);
  }
}

START_TEST(tiles_in_bands) { protect(bands_body, NULL); }
END_TEST

/* ---- what was chosen wrongly is refused, not guessed ---- */

/* Dumps as they come after `layout`, in which one note is wrong; NULL: planned. */
static const struct { const char *text, *says; } chosen[] = {
  {"network n(x: f32[1, 4, 4, 4], W: f32[32, 1, 1, 1]) -> y {\n"
   "  v = layout(W) @panel(conv, groups=4)\n"
   "  h = conv2d(x, v, groups=4) @cluster(1) @algorithm(grouped)\n"
   "  y = relu(h) @cluster(1)\n}\n",
   NULL},
  {"network n(x: f32[1, 4, 4, 4], W: f32[32, 1, 1, 1]) -> y {\n"
   "  v = layout(W) @panel(conv, groups=4)\n"
   "  h = conv2d(x, v, groups=4) @cluster(1)\n"
   "  y = relu(h) @cluster(1)\n}\n",
   "conv2d comes to the planner with the algorithm none: has the pass `choose` run?"},
  {"network n(x: f32[1, 4, 4, 4], W: f32[32, 1, 1, 1]) -> y {\n" /* groups of 8 in blocks of 16 */
   "  v = layout(W) @panel(conv, groups=4)\n"
   "  h = conv2d(x, v, groups=4) @cluster(1) @algorithm(grouped)\n"
   "  r = relu(h) @cluster(1) @layout(blocked, [0, 0, 0, 0])\n"
   "  y = layout(r)\n}\n",
   "kernel `h` (conv2d) reads channels of the blocked value 5 (relu) out of step"},
  /* groups of one filter: no lane leaves the block, but the next group's */
  {"network n(x: f32[1, 3, 9, 9], W: f32[6, 1, 2, 2]) -> y {\n"
   "  v = layout(W) @panel(conv, groups=3)\n"
   "  h = conv2d(x, v, groups=3) @cluster(1) @algorithm(grouped)\n"
   "  r = relu(h) @cluster(1) @layout(blocked, [0, 0, 0, 0])\n"
   "  y = layout(r)\n}\n",
   "kernel `h` (conv2d) reads channels of the blocked value 5 (relu) out of step"},
  {"network n(x: f32[1, 20, 4, 4], z: f32[1, 20, 4, 4]) -> y {\n" /* a product walks its batch axes one by one */
   "  h = matmul(x, z) @cluster(1) @algorithm(product)\n"
   "  r = relu(h) @cluster(1) @layout(blocked, [0, 0, 0, 0])\n"
   "  y = layout(r)\n}\n",
   "kernel `h` (matmul) reads channels of the blocked value 4 (relu) out of step"},
};

static void chosen_body(lt_job *job, void *arg) {
  const char *dump = arg;
  lt_arena *a = lt_arena_new(job);
  lt_graph *g = lt_text_read(job, dump, strlen(dump), "plan", NULL);
  lt_defer_cancel(job, g);
  lt_defer(job, lt_graph_free_fn, g);
  lt_image image;
  lt_plan run;
  lt_image_of(&image, a, g);
  lt_plan_single(&run, a, g, &image, "run");
}

START_TEST(wrong_choices) {
  for (size_t i = 0; i < LT_COUNT(chosen); i++) {
    lathe_error e = {0};
    int status = lt_protect(&e, chosen_body, (void *)(uintptr_t)chosen[i].text);
    ck_assert_int_eq(status, chosen[i].says ? LATHE_E_INTERNAL : LATHE_OK);
    if (chosen[i].says) ck_assert_msg(strstr(e.message, chosen[i].says) != NULL, "%s", e.message);
  }
}
END_TEST

LT_SUITE(plan, text, in_place, random_lifetimes, equal_kernels, operands, updates_run_early, rows_before_channels,
         channels_before_images, tiles_in_bands, wrong_choices)
LT_TEST_MAIN(plan)
