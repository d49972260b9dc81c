/* contract.c: the contraction emitter against the definition in plan.h, bit by bit, on random affine descriptors.
 *
 * A case is a function of its number: output dims with or without blocks, rows and columns anywhere, operands with any
 * strides (windows, holes, negative ones), several segments of K, runs that end anywhere, an epilogue, tails that must
 * stay untouched. Buffers end at a page that must not be touched. LT_CASE=n runs one case alone and prints its
 * descriptor. */
#include "../check_main.h"
#include "../kcheck/harness.h"
#include "../spills.h"

#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CASES = 64, BATCH = 16 };

/* Of the machines that run our tests only x86-64 has levels with other registers. */
#if defined(__x86_64__)
#define NEEDS_X86(what)
#else
#define NEEDS_X86(what) LT_SKIP("needs x86-64: " what)
#endif

/* ---- buffers with a guard page behind ---- */

typedef struct guarded { unsigned char *map, *at; size_t mapped, bytes; } guarded;
enum { CANARY = 256 };

static guarded guarded_new(size_t bytes) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (bytes + CANARY + page - 1) / page * page;
  guarded g = {.mapped = whole + page, .bytes = bytes};
  g.map = mmap(NULL, g.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(g.map, MAP_FAILED);
  ck_assert_int_eq(mprotect(g.map + whole, page, PROT_NONE), 0);
  g.at = g.map + whole - bytes;
  memset(g.map, 0xA5, whole);
  return g;
}

static void guarded_free(guarded *g) { munmap(g->map, g->mapped); }

/* ---- cases ---- */

typedef struct rng { uint64_t seed, at; } rng;
static int64_t pick(rng *r, int64_t lo, int64_t hi) { return lo + lt_random_u32(r->seed, 7, r->at++) % (hi - lo + 1); }
static bool chance(rng *r, int percent) { return pick(r, 1, 100) <= percent; }

typedef struct spec {
  lt_kernel k;
  lt_contract c;
  lt_access bias;
  lt_instr expr[4];
  lt_store store[2];
  int64_t a_n, b_n, bias_n, y_n;
  int kdims[4];
} spec;

/* Lane-dim extent without blocks; with blocks, 16. `planes`: many small ones, which tiles go across. */
static void choose_dims(spec *s, rng *r, bool large, bool planes) {
  lt_kernel *k = &s->k;
  bool blocked = chance(r, 60);
  k->channels = large ? pick(r, 30, 130) : chance(r, 30) ? 16 * pick(r, 1, 3) : pick(r, 1, 50);
  int64_t row = large ? pick(r, 20, 60) : pick(r, 1, 9), col = chance(r, 25) ? 1
                                                               : large       ? pick(r, 5, 20)
                                                                             : pick(r, 1, 17);
  if (planes) row = pick(r, 2, 4), col = pick(r, 2, 4);
  int64_t dim[5] = {planes ? pick(r, 2, 11) : pick(r, 1, 3), blocked ? (k->channels + 15) / 16 : 1, row, col,
                    large ? 1 : pick(r, 1, blocked || planes ? 3 : 11)};
  int order[5] = {0, 1, 2, 3, 4}, n = 0;
  for (int i = 4; i > 0; i--) {
    int j = (int)pick(r, 0, i), t = order[i];
    order[i] = order[j], order[j] = t;
  }
  k->block_dim = LT_NONE;
  for (int i = 0; i < 5; i++) {
    if (order[i] == 1 && !blocked) continue;
    if (order[i] == 4 && dim[4] == 1) continue;
    if (order[i] == 1) k->block_dim = n;
    if (order[i] == 2) s->c.row_dim = (uint8_t)n;
    if (order[i] == 3) s->c.col_dim = (uint8_t)n;
    if (order[i] == 4 && !blocked && !planes && chance(r, 70)) s->c.side_dim = (uint8_t)n; /* 0: it is none */
    k->extent[n++] = dim[order[i]];
  }
  k->extent[n++] = blocked ? 16 : k->channels;
  if (!blocked) k->channels = 0;
  k->n_dims = (uint8_t)n, k->n_task_dims = 1;
}

/* The definition takes some nanoseconds per product: at most 16 million of them. */
static void limit_work(spec *s) {
  double points = 1, depth = 0;
  for (int d = 0; d < s->k.n_dims; d++) points *= (double)s->k.extent[d];
  for (unsigned i = 0; i < s->c.n_seg; i++) {
    double n = 1;
    for (unsigned j = 0; j < s->c.seg[i].n; j++) n *= (double)s->c.seg[i].extent[j];
    depth += n;
  }
  if (points * depth < 16e6) return;
  int64_t *row = &s->k.extent[s->c.row_dim];
  *row = LT_MAX(1, (int64_t)((double)*row * 16e6 / points / depth));
}

/* Any strides: the operand is the image of an affine map, so the smallest address gives the offset. */
static void place_access(lt_access *x, int64_t *size, const lt_kernel *k, const lt_kseg *seg, unsigned n_seg,
                         bool is_a) {
  int64_t lo = 0, hi = 0, seg_lo = 0, seg_hi = 0;
  for (int d = 0; d < k->n_dims; d++) {
    int64_t e = x->stride[d] * (k->extent[d] - 1);
    *(e < 0 ? &lo : &hi) += e;
  }
  for (unsigned i = 0; i < n_seg; i++) {
    int64_t l = is_a ? seg[i].a_offset : seg[i].b_offset, h = l;
    for (unsigned j = 0; j < seg[i].n; j++) {
      int64_t e = (is_a ? seg[i].a_stride[j] : seg[i].b_stride[j]) * (seg[i].extent[j] - 1);
      *(e < 0 ? &l : &h) += e;
    }
    for (int d = 0; d < k->n_dims && !is_a; d++) h += seg[i].b_dim[d] * (k->extent[d] - 1);
    seg_lo = LT_MIN(seg_lo, l), seg_hi = LT_MAX(seg_hi, h);
  }
  x->offset = -(lo + seg_lo);
  *size = x->offset + hi + seg_hi + 1;
}

static void choose_k(spec *s, rng *r, bool large) {
  s->c.n_seg = (uint8_t)(chance(r, 60) ? 1 : pick(r, 2, 4));
  for (unsigned i = 0; i < s->c.n_seg; i++) {
    lt_kseg *g = &s->c.seg[i];
    g->n = (uint8_t)pick(r, 1, 4);
    for (unsigned j = 0; j < g->n; j++) {
      bool last = j + 1u == g->n;
      g->extent[j] = last ? (chance(r, 50) ? 16 : pick(r, 1, large ? 200 : 40)) : pick(r, 1, g->n > 2 ? 4 : 7);
      g->a_stride[j] = last && chance(r, 70) ? 1 : pick(r, -3, 60);
      g->b_stride[j] = (last ? 16 : 48) * (chance(r, 80) ? 1 : -1);
    }
    g->a_offset = pick(r, 0, 9), g->b_offset = pick(r, 0, 3);
  }
  s->c.cut = chance(r, 60);
  for (unsigned i = 0; i < s->c.n_seg; i++) {
    lt_kseg *g = &s->c.seg[i];
    g->run.dim = (uint8_t)pick(r, 0, g->n - 1);
    g->run.per = pick(r, 1, g->extent[g->run.dim]);
  }
}

static void choose_operands(spec *s, rng *r, bool planes) {
  lt_kernel *k = &s->k;
  lt_contract *c = &s->c;
  int lane = k->n_dims - 1;
  c->b.stride[lane] = chance(r, 80) ? 1 : pick(r, 2, 5);
  for (int d = 0; d < lane; d++) {
    if (d == k->block_dim) c->b.stride[d] = 16 * c->b.stride[lane] * pick(r, 1, 9); /* one ends before the next */
    else c->a.stride[d] = (d && d == c->side_dim) || chance(r, 20) ? 0 : pick(r, -5, 70);
    if (planes || d == k->block_dim || d == c->row_dim || d == c->col_dim) continue;
    c->b.stride[d] = chance(r, 50) ? 0 : pick(r, 0, 100);
    for (unsigned i = 0; i < c->n_seg; i++)
      c->seg[i].b_dim[d] = (d && d == c->side_dim) || chance(r, 70) ? 0 : pick(r, 0, 100);
  }
  place_access(&c->a, &s->a_n, k, c->seg, c->n_seg, true);
  place_access(&c->b, &s->b_n, k, c->seg, c->n_seg, false);
  if (c->side_dim) s->b_n += 15 * c->b.stride[lane];
  c->b_masked = c->b.masked = k->block_dim != LT_NONE && k->channels % 16 && chance(r, 50);
  if (c->b_masked) { /* ends with the last lane that exists: of the last block, or of the one before */
    int64_t missing = (16 - k->channels % 16) * c->b.stride[lane];
    s->b_n -= k->extent[k->block_dim] > 1 ? LT_MIN(missing, c->b.stride[k->block_dim]) : missing;
  }
}

/* A dense layout in a random order of dims with holes between them; strided, where the epilogue is to be a loop. */
static void choose_result(spec *s, rng *r, bool planes) {
  lt_kernel *k = &s->k;
  lt_access *y = &s->store[0].to;
  int lane = k->n_dims - 1, order[LT_MAX_DIMS];
  for (int d = 0; d <= lane; d++) order[d] = d;
  for (int i = chance(r, 60) ? lane - 1 : lane; i > 0; i--) {
    int j = (int)pick(r, 0, i), t = order[i];
    order[i] = order[j], order[j] = t;
  }
  int64_t step = chance(r, planes ? 20 : 80) ? 1 : 2, last = 0, apart = planes ? 2 : 1;
  for (int i = lane; i >= 0; i--) {
    y->stride[order[i]] = step;
    last += step * (k->extent[order[i]] - 1);
    step = step * k->extent[order[i]] + pick(r, 0, 2);
  }
  s->y_n = last + 1;
  y->buffer = 2;
  y->masked = k->block_dim != LT_NONE && k->channels % 16 && chance(r, 50);
  s->bias.buffer = 3;
  if (k->block_dim != LT_NONE) s->bias.stride[k->block_dim] = 16 * apart;
  s->bias.stride[lane] = apart;
  s->bias.masked = true;
  s->bias_n = apart * (k->block_dim != LT_NONE ? k->channels : k->extent[lane]);
}

static void choose_epilogue(spec *s, rng *r) {
  lt_kernel *k = &s->k;
  lt_dtype t = k->dtype;
  s->expr[0] = (lt_instr){.kind = LT_X_RESULT, .dtype = t};
  s->expr[1] = (lt_instr){.kind = LT_X_LOAD, .dtype = t};
  s->expr[2] = (lt_instr){.kind = LT_X_MAP, .dtype = t, .op = LT_OP_add, .arg = {0, 1, -1}};
  s->expr[3] = (lt_instr){.kind = LT_X_MAP, .dtype = t, .op = LT_OP_relu, .arg = {2, -1, -1}};
  k->n_expr = (uint32_t)(chance(r, 40) ? 1 : chance(r, 50) ? 3 : 4);
  if (!lt_is_float(t)) k->n_expr = LT_MIN(k->n_expr, 3);
  k->n_access = k->n_expr > 1;
  k->access = &s->bias;
  k->expr = s->expr;
  k->store = s->store;
  k->n_store = 1;
  s->store[0].value = (int32_t)k->n_expr - 1;
}

static spec *spec_new(lt_arena *a, int number) {
  spec *s = LT_NEW(a, spec);
  rng r = {.seed = (uint64_t)number * 977 + 5};
  bool large = number % 4 == 3, planes = number % 8 == 6;
  s->k =
    (lt_kernel){.kind = LT_K_CONTRACT, .name = lt_arena_printf(a, "case%d", number), .op = "matmul", .contract = &s->c};
  s->k.dtype = number % 10 < 7 ? LT_F32 : number % 10 == 7 ? LT_F64 : number % 10 == 8 ? LT_I32 : LT_F32;
  s->k.acc = number % 10 == 9 ? LT_F64 : s->k.dtype;
  choose_dims(s, &r, large, planes);
  choose_k(s, &r, large);
  limit_work(s);
  choose_operands(s, &r, planes);
  choose_result(s, &r, planes);
  choose_epilogue(s, &r);
  s->c.b.buffer = 1;
  return s;
}

static void spec_print(const spec *s) {
  const lt_kernel *k = &s->k;
  fprintf(stderr, "# %s: dtype %d acc %d block %d channels %ld row %d col %d side %d masked b%d y%d expr %u\n", k->name,
          k->dtype, k->acc, k->block_dim, (long)k->channels, s->c.row_dim, s->c.col_dim, s->c.side_dim, s->c.b_masked,
          s->store[0].to.masked, k->n_expr);
  for (int d = 0; d < k->n_dims; d++)
    fprintf(stderr, "#   d%d extent %ld a %ld b %ld y %ld\n", d, (long)k->extent[d], (long)s->c.a.stride[d],
            (long)s->c.b.stride[d], (long)s->store[0].to.stride[d]);
  for (unsigned i = 0; i < s->c.n_seg; i++) {
    const lt_kseg *g = &s->c.seg[i];
    for (unsigned j = 0; j < g->n; j++)
      fprintf(stderr, "#   seg %u.%u extent %ld a %ld b %ld\n", i, j, (long)g->extent[j], (long)g->a_stride[j],
              (long)g->b_stride[j]);
    if (s->c.cut) fprintf(stderr, "#   seg %u runs of %ld in dim %d\n", i, (long)g->run.per, g->run.dim);
  }
}

/* ---- the definition, literally ---- */

static double get(const void *p, lt_dtype t, int64_t i) {
  return t == LT_F32   ? (double)((const float *)p)[i]
         : t == LT_F64 ? ((const double *)p)[i]
                       : (double)((const int32_t *)p)[i];
}

static void put(void *p, lt_dtype t, int64_t i, double v) {
  if (t == LT_F32) ((float *)p)[i] = (float)v;
  else if (t == LT_F64) ((double *)p)[i] = v;
  else ((int32_t *)p)[i] = (int32_t)v;
}

static double multiply_add(double a, double b, double sum, lt_dtype acc, bool fused) {
  if (acc == LT_F32) return fused ? fmaf((float)a, (float)b, (float)sum) : (float)((float)a * (float)b) + (float)sum;
  return fused ? fma(a, b, sum) : a * b + sum;
}

static int64_t place(const lt_access *x, const int64_t *i, int n) {
  int64_t at = x->offset;
  for (int d = 0; d < n; d++) at += x->stride[d] * i[d];
  return at;
}

static double step(const lt_kernel *k, const void *a, int64_t at_a, const void *b, int64_t at_b, double sum,
                   bool fused) {
  if (k->dtype == LT_F32 && k->acc == LT_F32 && fused) /* what most cases are */
    return fmaf(((const float *)a)[at_a], ((const float *)b)[at_b], (float)sum);
  return multiply_add(get(a, k->dtype, at_a), get(b, k->dtype, at_b), sum, k->acc, fused);
}

static double add(double a, double b, lt_dtype acc) { return acc == LT_F32 ? (float)a + (float)b : a + b; }

/* The segment's place in the nest of K moves on; true: and a run ends there. False in *more: behind the last one. */
static bool next(const lt_kseg *q, int64_t *at, bool *more) {
  int d = q->n - 1;
  for (; d >= 0 && ++at[d] == q->extent[d]; d--) at[d] = 0;
  *more = d >= 0;
  return d < (int)q->run.dim || (d == (int)q->run.dim && at[d] % q->run.per == 0);
}

static double sum_of(const spec *s, const int64_t *i, const void *a, const void *b, bool fused) {
  const lt_kernel *k = &s->k;
  int64_t a0 = place(&s->c.a, i, k->n_dims), b0 = place(&s->c.b, i, k->n_dims);
  double total = lt_is_float(k->acc) ? -0.0 : 0, run = 0;
  for (unsigned g = 0; g < s->c.n_seg; g++) {
    const lt_kseg *q = &s->c.seg[g];
    int64_t at[4] = {0}, own = 0;
    for (int d = 0; d < k->n_dims; d++) own += q->b_dim[d] * i[d];
    for (bool more = true; more;) {
      int64_t at_a = a0 + q->a_offset, at_b = b0 + q->b_offset + own;
      for (int d = 0; d < q->n; d++) at_a += at[d] * q->a_stride[d], at_b += at[d] * q->b_stride[d];
      run = step(k, a, at_a, b, at_b, run, fused);
      if (!next(q, at, &more) || !s->c.cut) continue;
      total = add(total, run, k->acc), run = 0;
    }
  }
  return s->c.cut ? total : run;
}

static void expect(const spec *s, void *y, const void *a, const void *b, const void *bias, bool fused) {
  const lt_kernel *k = &s->k;
  int64_t total = 1;
  for (int d = 0; d < k->n_dims; d++) total *= k->extent[d];
  for (int64_t t = 0; t < total; t++) {
    int64_t i[LT_MAX_DIMS] = {0}, rest = t;
    for (int d = k->n_dims - 1; d >= 0; d--) i[d] = rest % k->extent[d], rest /= k->extent[d];
    int64_t channel = k->block_dim == LT_NONE ? 0 : 16 * i[k->block_dim] + i[k->n_dims - 1];
    if (k->block_dim != LT_NONE && channel >= k->channels) continue;
    double v = sum_of(s, i, a, b, fused);
    if (k->dtype == LT_F32) v = (float)v;
    if (k->n_expr > 1) v = v + get(bias, k->dtype, place(&s->bias, i, k->n_dims));
    if (k->dtype == LT_F32) v = (float)v;
    if (k->n_expr > 3) v = v > 0 ? v : 0;
    put(y, k->dtype, place(&s->store[0].to, i, k->n_dims), v);
  }
}

/* ---- running ---- */

static guarded filled(lt_dtype t, int64_t n, uint64_t stream) {
  guarded g = guarded_new((size_t)n * lt_dtype_size(t));
  for (int64_t i = 0; i < n; i++) {
    double v = 2.0 * (double)lt_random_unit(1, stream, (uint64_t)i) - 1;
    put(g.at, t, i, lt_is_float(t) ? v : (double)(int)(20 * v));
  }
  return g;
}

/* Does this address of the result belong to a lane that does not exist? Those may hold anything unless masked. */
static void forget_dead_lanes(const spec *s, void *y, const void *from) {
  const lt_kernel *k = &s->k;
  if (k->block_dim == LT_NONE || s->store[0].to.masked || k->channels % 16 == 0) return;
  int64_t total = 1;
  for (int d = 0; d < k->n_dims; d++) total *= k->extent[d];
  for (int64_t t = 0; t < total; t++) {
    int64_t i[LT_MAX_DIMS] = {0}, rest = t;
    for (int d = k->n_dims - 1; d >= 0; d--) i[d] = rest % k->extent[d], rest /= k->extent[d];
    if (16 * i[k->block_dim] + i[k->n_dims - 1] < k->channels) continue;
    int64_t at = place(&s->store[0].to, i, k->n_dims);
    memcpy((char *)y + at * (int64_t)lt_dtype_size(k->dtype),
           (const char *)from + at * (int64_t)lt_dtype_size(k->dtype), lt_dtype_size(k->dtype));
  }
}

static void run_case(const spec *s, kernel_fn fn, const lt_target *t) {
  const lt_kernel *k = &s->k;
  guarded a = filled(k->dtype, s->a_n, 1), b = filled(k->dtype, s->b_n, 2), bias = filled(k->dtype, s->bias_n, 3);
  size_t bytes = (size_t)s->y_n * lt_dtype_size(k->dtype);
  guarded y = guarded_new(bytes), want = guarded_new(bytes);
  void *bufs[4], **p = bufs;
  if (k->n_access) *p++ = bias.at;
  *p++ = a.at, *p++ = b.at, *p++ = y.at;
  for (int64_t i = 0, n = lt_kernel_tasks(k); i < n; i++) fn(bufs, i);
  expect(s, want.at, a.at, b.at, bias.at, t->fma);
  forget_dead_lanes(s, y.at, want.at);
  if (memcmp(y.map, want.map, y.mapped - (size_t)sysconf(_SC_PAGESIZE)) != 0) {
    spec_print(s);
    int64_t i = 0;
    while (i < s->y_n && memcmp(y.at + i * (int64_t)lt_dtype_size(k->dtype),
                                want.at + i * (int64_t)lt_dtype_size(k->dtype), lt_dtype_size(k->dtype)) == 0)
      i++;
    ck_assert_msg(i < s->y_n, "%s on %s: wrote in front of the result", k->name, t->row);
    ck_abort_msg("%s on %s: element %ld is %.9g, not %.9g (LT_CASE=%s)", k->name, t->row, (long)i,
                 get(y.at, k->dtype, i), get(want.at, k->dtype, i), k->name + 4);
  }
  guarded_free(&a), guarded_free(&b), guarded_free(&bias), guarded_free(&y), guarded_free(&want);
}

typedef struct request { const char *cpu; int first, n; } request;

static void run_batch(lt_job *job, void *arg) {
  const request *q = arg;
  lt_arena *a = lt_arena_new(job);
  lt_target t;
  lt_target_host(&t, job, a, q->cpu, "");
  spec *s[BATCH];
  const lt_kernel *k[BATCH];
  for (int i = 0; i < q->n; i++) s[i] = spec_new(a, q->first + i), k[i] = &s[i]->k;
  lt_code *code = harness_compile(job, a, &t, k, q->n);
  for (int i = 0; i < q->n; i++) {
    if (getenv("LT_CASE")) spec_print(s[i]);
    run_case(s[i], harness_find(code, i), &t);
  }
  lt_code_free(code);
}

static void run_cpu(const char *cpu, int cases) {
  lathe_error e = {0};
  const char *one = getenv("LT_CASE");
  for (int i = 0; i < (one ? 1 : cases); i += BATCH) {
    request q = {cpu, one ? atoi(one) : i, one ? 1 : BATCH};
    ck_assert_msg(lt_protect(&e, run_batch, &q) == LATHE_OK, "%s", e.message);
  }
}

START_TEST(the_host) { run_cpu("", CASES); }
END_TEST

START_TEST(sixteen_registers) {
  NEEDS_X86("sixteen registers");
  run_cpu("x86-64-v3", CASES);
}
END_TEST

START_TEST(no_fma) {
  NEEDS_X86("none without FMA");
  run_cpu("x86-64", CASES / 2);
}
END_TEST

/* ---- registers ---- */

typedef struct shape { int64_t c, size, oc, k, stride; } shape;

/* conv2d, bias and relu as the planner describes them, K cut or one chain: blocks of 16 channels, a halo, packed
 * weights. */
static lt_kernel *conv(lt_arena *a, const shape *s, bool cut) {
  lt_kernel *k = LT_NEW(a, lt_kernel);
  lt_contract *c = k->contract = LT_NEW(a, lt_contract);
  int64_t w = s->size + 2 * (s->k / 2), out = (w - s->k) / s->stride + 1, ib = s->c / 16, taps = s->k * s->k;
  *k = (lt_kernel){.kind = LT_K_CONTRACT,
                   .name = "conv",
                   .op = "conv2d",
                   .n_dims = 5,
                   .block_dim = 1,
                   .channels = s->oc,
                   .extent = {1, s->oc / 16, out, out, 16},
                   .n_task_dims = 2,
                   .contract = c};
  *c =
    (lt_contract){.row_dim = 2, .col_dim = 3, .n_seg = 1, .b = {.buffer = 1, .stride = {0, ib * taps * 256, 0, 0, 1}}};
  c->a.stride[2] = s->stride * w * 16, c->a.stride[3] = s->stride * 16;
  c->seg[0] = (lt_kseg){.n = 4,
                        .extent = {ib, s->k, s->k, 16},
                        .a_stride = {w * w * 16, w * 16, 16, 1},
                        .b_stride = {taps * 256, s->k * 256, 256, 16}};
  c->seg[0].run = lt_runs_even(c->seg[0].extent, 4), c->cut = cut;
  k->access = LT_NEW(a, lt_access), k->n_access = 1;
  *k->access = (lt_access){.buffer = 2, .stride = {0, 16, 0, 0, 1}};
  k->expr = LT_NEW_ARRAY(a, lt_instr, 4), k->n_expr = 4;
  k->expr[0] = (lt_instr){.kind = LT_X_RESULT};
  k->expr[1] = (lt_instr){.kind = LT_X_LOAD};
  k->expr[2] = (lt_instr){.kind = LT_X_MAP, .op = LT_OP_add, .arg = {0, 1, -1}};
  k->expr[3] = (lt_instr){.kind = LT_X_MAP, .op = LT_OP_relu, .arg = {2, -1, -1}};
  k->store = LT_NEW(a, lt_store), k->n_store = 1;
  *k->store = (lt_store){.value = 3, .to = {.buffer = 3, .stride = {0, out * out * 16, out * 16, 16, 1}}};
  return k;
}

static void look_for_spills(lt_job *job, void *arg) {
  static const shape shapes[] = {{64, 56, 64, 3, 1}, {256, 56, 64, 1, 1}, {128, 56, 128, 3, 2}, {256, 14, 1024, 1, 1},
                                 {64, 56, 64, 3, 2}, {512, 7, 512, 3, 1}, {64, 56, 256, 1, 1},  {128, 28, 512, 1, 1}};
  static const char *const cpus[] = {"", "x86-64-v3", "x86-64"};
  lt_arena *a = lt_arena_new(job);
  const lt_kernel *k[LT_COUNT(shapes)];
  for (size_t i = 0; i < LT_COUNT(k); i++) k[i] = conv(a, &shapes[i], shapes[i].c * shapes[i].k > LT_RUN_CONTRACT);
  int loops = 0;
  for (size_t i = 0; i < LT_COUNT(cpus); i++) {
    lt_target t;
    lt_target_host(&t, job, a, cpus[i], "");
    LLVMMemoryBufferRef text = lt_module_emit(harness_module(job, a, &t, k, LT_COUNT(k)), LLVMAssemblyFile);
    int n = spills_in(LLVMGetBufferStart(text), ".t", "", &loops);
    if (n && getenv("LT_ASM")) fputs(LLVMGetBufferStart(text), stdout);
    /* Without FMA each product needs a register of its own: one spill in a loop body of 16 steps is what LLVM makes. */
    ck_assert_msg(n <= (t.fma ? 0 : 32), "%d vectors spilled on %s", n, t.row);
    ck_assert_ptr_nonnull(strstr(LLVMGetBufferStart(text), "prefetch")); /* large panels are asked for ahead */
    LLVMDisposeMemoryBuffer(text);
  }
  ck_assert_int_ge(loops, (int)(LT_COUNT(k) * LT_COUNT(cpus)));
  const char *text = "\tvmovaps %zmm4, (%rsp)\n.LBB0_1:\n\tvmovaps %zmm3, 64(%rsp)\n\tmovq %rax, (%rsp)\n"
                     "\taddps -16(%rbp), %xmm0\n\tjb\t.LBB0_1\n\tvmovaps %zmm4, (%rsp)\n";
  ck_assert_int_eq(spills_in(text, ".t", "", &loops), 2);
}

START_TEST(accumulators_stay_in_registers) {
  NEEDS_X86("the stack's names in assembly");
  lathe_error e = {0};
  ck_assert_msg(lt_protect(&e, look_for_spills, NULL) == LATHE_OK, "%s", e.message);
}
END_TEST

/* What stays in cache while the other passes: weights, rows, or the rows of a task. */
static void look_at_order(lt_job *job, void *arg) {
  static const shape shapes[] = {{64, 56, 256, 1, 1}, {512, 7, 512, 3, 1}, {2048, 7, 512, 1, 1}, {256, 56, 512, 1, 2}};
  static const bool blocks_first[] = {false, true, true, false};
  lt_arena *a = lt_arena_new(job);
  for (size_t i = 0; i < LT_COUNT(shapes); i++) {
    lt_cut c;
    lt_cut_of(&c, conv(a, &shapes[i], true));
    ck_assert_msg(c.blocks_first == blocks_first[i], "shape %zu: blocks %s", i, c.blocks_first ? "first" : "last");
  }
}

START_TEST(order) {
  lathe_error e = {0};
  ck_assert_msg(lt_protect(&e, look_at_order, NULL) == LATHE_OK, "%s", e.message);
}
END_TEST

/* ---- tiles that differ in a few numbers ---- */

typedef struct alike { const char *cpu; int merged, loops, spilled; } alike;

static unsigned functions_of(lt_job *job, lt_arena *a, const lt_target *t, const lt_kernel *const *k, int n) {
  unsigned all = 0;
  LLVMModuleRef m = harness_module(job, a, t, k, n)->l.mod;
  for (LLVMValueRef f = LLVMGetFirstFunction(m); f; f = LLVMGetNextFunction(f)) all += !LLVMIsDeclaration(f);
  return all;
}

/* Together they are fewer functions than one by one, and give the same bits. */
static void merge_alike(lt_job *job, void *arg) {
  static const shape shapes[] = {{256, 56, 64, 1, 1}, {512, 28, 128, 1, 1}, {1024, 14, 256, 1, 1},
                                 {64, 56, 64, 3, 1},  {128, 28, 128, 3, 1}, {32, 28, 32, 3, 1},
                                 {256, 56, 64, 1, 2}, {512, 28, 128, 1, 2}};
  enum { N = LT_COUNT(shapes) };
  alike *q = arg;
  lt_arena *a = lt_arena_new(job);
  lt_target t;
  lt_target_host(&t, job, a, q->cpu, "");
  const lt_kernel *k[N];
  for (int i = 0; i < N; i++) k[i] = conv(a, &shapes[i], shapes[i].c * shapes[i].k > 147);
  unsigned apart = 0, together = functions_of(job, a, &t, k, N);
  lt_code *all = harness_compile(job, a, &t, k, N);
  for (int i = 0; i < N; i++) {
    const shape *s = &shapes[i];
    apart += functions_of(job, a, &t, &k[i], 1);
    lt_code *one = harness_compile(job, a, &t, &k[i], 1);
    int64_t w = s->size + 2 * (s->k / 2), out = (w - s->k) / s->stride + 1, y_n = s->oc * out * out;
    guarded x = filled(LT_F32, s->c * w * w, 1), b = filled(LT_F32, s->c * s->oc * s->k * s->k, 2),
            bias = filled(LT_F32, s->oc, 3), y = filled(LT_F32, y_n, 4), want = filled(LT_F32, y_n, 5);
    for (int64_t j = 0, n = lt_kernel_tasks(k[i]); j < n; j++) {
      harness_find(all, i)((void *[]){bias.at, x.at, b.at, y.at}, j);
      harness_find(one, 0)((void *[]){bias.at, x.at, b.at, want.at}, j);
    }
    ck_assert_msg(memcmp(y.at, want.at, y.bytes) == 0, "shape %d on %s", i, t.row);
    guarded_free(&x), guarded_free(&b), guarded_free(&bias), guarded_free(&y), guarded_free(&want);
    lt_code_free(one);
  }
  lt_code_free(all);
  q->merged = (int)apart - (int)together;
  LLVMMemoryBufferRef text = lt_module_emit(harness_module(job, a, &t, k, N), LLVMAssemblyFile);
  q->spilled = spills_in(LLVMGetBufferStart(text), ".t", "", &q->loops);
  LLVMDisposeMemoryBuffer(text);
}

START_TEST(alike_tiles_are_one) {
  lathe_error e = {0};
  alike host = {.cpu = ""};
  ck_assert_msg(lt_protect(&e, merge_alike, &host) == LATHE_OK, "%s", e.message);
  ck_assert_int_ge(host.merged, 1);
}
END_TEST

START_TEST(alike_tiles_stay_in_registers) {
  NEEDS_X86("the stack's names in assembly");
  lathe_error e = {0};
  alike q = {.cpu = "x86-64-v3"};
  ck_assert_msg(lt_protect(&e, merge_alike, &q) == LATHE_OK, "%s", e.message);
  ck_assert_int_ge(q.merged, 3);
  ck_assert_int_gt(q.loops, 0);
  ck_assert_int_eq(q.spilled, 0);
}
END_TEST

LT_SUITE(contract, order, the_host, sixteen_registers, no_fma, accumulators_stay_in_registers, alike_tiles_are_one,
         alike_tiles_stay_in_registers)
LT_TEST_MAIN(contract)
