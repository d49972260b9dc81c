/* kernels.c: loops, reductions, gathers, scatters and borders on random descriptors, bit by bit against what plan.h
 * says they mean, on every vector width this machine has, with forbidden pages around all memory. */
#include "check_main.h"
#include "kcheck/byhand.h"
#include "kcheck/guarded.h"

#include <math.h>

enum { CASES = 80 };

static uint64_t rng_state;
static uint32_t rng(void) {
  return (uint32_t)((rng_state = rng_state * 6364136223846793005u + 1442695040888963407u) >> 33);
}
static int64_t below(int64_t n) { return (int64_t)(rng() % (uint64_t)n); }
static int64_t pick(const int64_t *v, size_t n) { return v[below((int64_t)n)]; }
#define PICK(...) pick((const int64_t[]){__VA_ARGS__}, LT_COUNT(((const int64_t[]){__VA_ARGS__})))

/* A compact access over the dims in a random order of memory; returns the number of elements. */
static int64_t compact(lt_access *a, const lt_kernel *k, unsigned from, unsigned to) {
  unsigned order[LT_MAX_DIMS], n = 0;
  for (unsigned d = from; d < to; d++) order[n++] = d;
  for (unsigned i = n; rng() % 3 == 0 && i > 1; i--) {
    unsigned j = (unsigned)below(i), t = order[i - 1];
    order[i - 1] = order[j], order[j] = t;
  }
  int64_t count = 1;
  for (unsigned i = n; i-- > 0;) a->stride[order[i]] = count, count *= k->extent[order[i]];
  return count;
}

/* ---- the literal meaning ---- */

static bool locate(const lt_kernel *k, const lt_access *a, const int64_t *i, int64_t *at) {
  *at = a->offset;
  unsigned dims = (unsigned)k->n_dims + k->n_rdims;
  for (unsigned d = 0; d < dims; d++) *at += a->stride[d] * i[d];
  for (unsigned j = 0; j < a->n_index; j++) {
    int64_t q = a->index[j].add;
    for (unsigned d = 0; d < dims; d++) q += a->index[j].coef[d] * i[d];
    if (q < 0 || q % a->index[j].div || q / a->index[j].div >= a->index[j].limit) return false;
    *at += q / a->index[j].div * a->index[j].stride;
  }
  return true;
}

/* The next point of dims [from, to); false after the last. */
static bool next(const lt_kernel *k, int64_t *i, unsigned from, unsigned to) {
  for (unsigned d = to; d-- > from;) {
    if (++i[d] < k->extent[d]) return true;
    i[d] = 0;
  }
  return false;
}

/* wait: the runs of each partial sum that wait to be added, `waiting` of them */
typedef struct sums {
  float part[16], chain, total, max, wait[24][16];
  int64_t n, count, index, runs;
  int waiting;
} sums;

static void take(const lt_kernel *k, sums *s, float a, float b, bool fma) {
  unsigned j = (unsigned)(s->n % 16);
  s->count++;
  s->part[j] += a * b;
  s->chain = fma ? fmaf(a, b, s->chain) : s->chain + a * b;
  float v = a * b;
  if (s->index < 0 || v > s->max || (isnan(v) && !isnan(s->max))) s->max = v, s->index = s->n;
}

static void merge(sums *s) {
  s->waiting--;
  for (int i = 0; i < 16; i++) s->wait[s->waiting - 1][i] += s->wait[s->waiting][i];
}

static void end_run(sums *s) {
  memcpy(s->wait[s->waiting++], s->part, sizeof s->part);
  memset(s->part, 0, sizeof s->part);
  for (int64_t r = s->runs; r & 1; r >>= 1) merge(s);
  s->total = s->runs++ ? s->total + s->chain : s->chain;
  s->chain = 0;
}

static bool run_ends(const lt_kernel *k, const int64_t *i) {
  unsigned cut = (unsigned)k->n_dims + k->runs.dim, dims = (unsigned)k->n_dims + k->n_rdims;
  for (unsigned d = k->runs.per ? cut + 1 : k->n_dims; d < dims; d++)
    if (i[d] + 1 < k->extent[d]) return false;
  return !k->runs.per || (i[cut] + 1) % k->runs.per == 0 || i[cut] + 1 == k->extent[cut];
}

static float sum_of(sums *s) {
  while (s->waiting > 1) merge(s);
  for (int apart = 8; apart > 0; apart /= 2)
    for (int i = 0; i < apart; i++) s->wait[0][i] += s->wait[0][i + apart];
  return s->wait[0][0];
}

static void expect_reduce(const lt_kernel *k, const float *a, const float *b, float *y, bool fma) {
  int64_t i[LT_MAX_DIMS] = {0}, at, bt, to;
  do {
    sums s = {.index = -1, .max = -INFINITY};
    do {
      bool in_a = locate(k, &k->access[0], i, &at), in_b = locate(k, &k->access[1], i, &bt);
      bool chain = k->reduce == LT_SUM_CHAIN; /* what a guard rejects is there, as the access's fill */
      if (chain || (in_a && in_b))
        take(k, &s, in_a ? a[at] : (float)k->access[0].fill, in_b ? b[bt] : (float)k->access[1].fill, fma);
      s.n++;
      if (run_ends(k, i)) end_run(&s);
    } while (next(k, i, k->n_dims, k->n_dims + k->n_rdims));
    float r = k->reduce == LT_SUM_TREE16   ? sum_of(&s)
              : k->reduce == LT_SUM_CHAIN  ? s.total
              : k->reduce == LT_REDUCE_MAX ? s.max
                                           : (float)s.index;
    locate(k, &k->store[0].to, i, &to);
    y[to] = r + (float)s.count;
  } while (next(k, i, 0, k->n_dims));
}

/* ---- making, running and comparing one kernel ---- */

static void fill(float *x, int64_t n, bool odd_values) {
  for (int64_t i = 0; i < n; i++) x[i] = (float)(below(2001) - 1000) * 0x1p-7f;
  for (int64_t i = 0; odd_values && i < n; i += 1 + below(40)) x[i] = rng() % 2 ? NAN : rng() % 2 ? INFINITY : -0.0f;
}

/* On every CPU: same bits as want (computed with and without fma). Memory lies at either edge of its pages. */
static void compare(byhand *b, const float *const *in, const int64_t *n_in, int inputs, const float *const want[2],
                    int64_t n_out, const char *what, int seed) {
  for (size_t c = 0; c < CPUS; c++) {
    bool widest = c == 0, narrowest = c + 1 == CPUS;
    if (!widest && !narrowest && (unsigned)seed % 2 != c % 2) continue; /* those between take turns */
    byhand run = *b;
    run.cpu = lt_cpus[c];
    if (!byhand_compile(&run)) continue;
    for (int at_end = 0; at_end < 2; at_end++) {
      guarded mem[5];
      void *data[5];
      for (int i = 0; i < inputs; i++) {
        mem[i] = guarded_new((size_t)n_in[i] * 4, at_end);
        data[i] = memcpy(mem[i].at, in[i], (size_t)n_in[i] * 4);
      }
      mem[inputs] = guarded_new((size_t)n_out * 4, at_end);
      float *y = data[inputs] = mem[inputs].at;
      for (int64_t i = 0; i < n_out; i++) y[i] = 12345.0f;
      byhand_run(&run, data);
      for (int64_t i = 0; i < n_out; i++) {
        float w = want[!run.fma][i];
        ck_assert_msg(memcmp(&y[i], &w, 4) == 0 || (isnan(w) && isnan(y[i])),
                      "%s, seed %d, cpu `%s`: y[%lld] = %a, not %a", what, seed, run.cpu, (long long)i, (double)y[i],
                      (double)w);
      }
      for (int i = 0; i <= inputs; i++) guarded_free(&mem[i]);
    }
    byhand_free(&run);
  }
}

/* ---- reductions ---- */

/* Any dim of a sum may be cut, any way. */
static void cut(lt_kernel *k) {
  if (rng() % 3 == 0) return;
  k->runs.dim = (uint8_t)below(k->n_rdims);
  int64_t n = k->extent[k->n_dims + k->runs.dim];
  k->runs.per = rng() % 2 ? 1 + below(n) : PICK(1, 2, 8, 16, 32, 128);
  k->runs.per = k->runs.per < n ? k->runs.per : n;
}

/* Dims of a reduction: outputs (rows, lanes), reduced (one to three). */
static void reduce_dims(lt_kernel *k) {
  k->n_dims = 2, k->n_rdims = (uint8_t)(1 + below(3));
  k->extent[0] = 1 + below(3);
  k->extent[1] = PICK(1, 2, 5, 15, 16, 17, 33, 40);
  for (unsigned i = 0; i < k->n_rdims; i++) k->extent[2 + i] = i ? PICK(1, 2, 3, 7, 16, 17, 35) : PICK(1, 2, 3, 5, 9);
  if (k->n_rdims == 1) k->extent[2] = PICK(1, 3, 15, 16, 17, 31, 32, 33, 100, 1000);
  if (k->reduce == LT_SUM_TREE16 || k->reduce == LT_SUM_CHAIN) cut(k);
  k->n_task_dims = (uint8_t)below(2);
}

/* The reduced dims become windows over [0, limit) of padded axes. */
static int64_t window(lt_kernel *k, lt_access *a, lt_index *index) {
  int64_t stride = 1;
  memset(a->stride, 0, sizeof a->stride);
  unsigned on_lane = rng() % 2;
  for (unsigned i = k->n_rdims; i-- > 0;) {
    int64_t step = 1 + below(3), pad = below(3), n = k->extent[2 + i];
    int64_t reach = (i == k->n_rdims - 1u ? k->extent[on_lane] - 1 : 0) * step + n - pad - below(2);
    lt_index *x = &index[a->n_index++];
    *x = (lt_index){.add = -pad, .div = 1, .limit = LT_MAX(1, reach), .stride = stride};
    x->coef[2 + i] = 1;
    if (i == k->n_rdims - 1u) x->coef[on_lane] = step;
    if (rng() % 4 == 0) x->div = 2, x->limit = (x->limit + 1) / 2;
    stride *= x->limit;
  }
  a->stride[!on_lane] = stride;
  stride *= k->extent[!on_lane];
  a->index = index;
  return stride;
}

static void reduce_case(int seed) {
  rng_state = (uint64_t)seed * 7919 + 1;
  for (int i = 0; i < 8; i++) rng();
  byhand b = {0};
  lt_access a[2] = {{0}, {0}};
  lt_index index[3] = {{{0}, 0, 0, 0, 0}};
  lt_store s = {{0}, 2};
  lt_instr rx[3] = {{.kind = LT_X_LOAD, .access = 0},
                    {.kind = LT_X_LOAD, .access = 1},
                    {.kind = LT_X_MAP, .op = LT_OP_mul, .arg = {0, 1, -1}}};
  lt_instr ex[3] = {
    {.kind = LT_X_RESULT}, {.kind = LT_X_COUNT}, {.kind = LT_X_MAP, .op = LT_OP_add, .arg = {0, 1, -1}}};
  lt_kernel *k = &b.k;
  *k = (lt_kernel){.kind = LT_K_REDUCE,
                   .block_dim = LT_NONE,
                   .access = a,
                   .n_access = 2,
                   .rexpr = rx,
                   .n_rexpr = 3,
                   .expr = ex,
                   .n_expr = 3,
                   .store = &s,
                   .n_store = 1};
  k->reduce = (lt_reduce_kind)(seed % 4);
  a[0].fill = (double)(seed / 4 % 3);
  reduce_dims(k);
  bool windows = rng() % 2;
  int64_t na = windows ? window(k, &a[0], index) : compact(&a[0], k, 0, k->n_dims + k->n_rdims),
          nb = compact(&a[1], k, rng() % 2 ? 2 : 1, k->n_dims + k->n_rdims);
  int64_t ny = compact(&s.to, k, 0, k->n_dims);
  a[0].buffer = byhand_buffer(&b, LT_F32, na, false), a[1].buffer = byhand_buffer(&b, LT_F32, nb, false),
  s.to.buffer = byhand_buffer(&b, LT_F32, ny, true);
  float *x = malloc((size_t)(na + nb + 2 * ny) * sizeof *x), *w = x + na, *y = w + nb, *z = y + ny;
  fill(x, na, rng() % 2), fill(w, nb, false);
  expect_reduce(k, x, w, y, true), expect_reduce(k, x, w, z, false);
  compare(&b, (const float *[]){x, w}, (int64_t[]){na, nb}, 2, (const float *[]){y, z}, ny,
          windows ? "window" : "reduce", seed);
  free(x);
}

START_TEST(reductions) {
  for (int seed = _i; seed < CASES; seed += 4) reduce_case(seed);
}
END_TEST

/* ---- loops: y = x moved (any strides, padding by guards) ---- */

static void loops_case(int seed) {
  rng_state = (uint64_t)seed * 104729 + 3;
  for (int i = 0; i < 8; i++) rng();
  byhand b = {0};
  lt_access a = {.fill = (double)below(3) - 1};
  lt_index index = {.div = 1};
  lt_store s = {{0}, 1};
  lt_instr ex[2] = {{.kind = LT_X_LOAD}, {.kind = LT_X_MAP, .op = LT_OP_neg, .arg = {0, -1, -1}}};
  lt_kernel *k = &b.k;
  *k = (lt_kernel){.kind = LT_K_LOOPS,
                   .block_dim = LT_NONE,
                   .access = &a,
                   .n_access = 1,
                   .expr = ex,
                   .n_expr = 2,
                   .store = &s,
                   .n_store = 1,
                   .n_dims = 3};
  for (int d = 0; d < 3; d++) k->extent[d] = PICK(1, 2, 3, 5, 15, 16, 17, 31, 33);
  k->n_task_dims = (uint8_t)below(3);
  int64_t nx = compact(&a, k, 0, 3), ny = compact(&s.to, k, 0, 3);
  if (rng() % 2) { /* the buffer holds only part of one dim */
    int d = (int)below(3);
    index.coef[d] = 1, index.stride = a.stride[d], a.stride[d] = 0;
    index.add = -below(3), index.limit = k->extent[d] - below(4);
    index.limit = LT_MAX(1, index.limit);
    if (rng() % 3 == 0) index.div = 2;
    index.limit = (index.limit + index.div - 1) / index.div;
    a.index = &index, a.n_index = 1;
  }
  a.buffer = byhand_buffer(&b, LT_F32, nx, false), s.to.buffer = byhand_buffer(&b, LT_F32, ny, true);
  float *x = malloc((size_t)(nx + ny) * sizeof *x), *y = x + nx;
  fill(x, nx, true);
  int64_t i[LT_MAX_DIMS] = {0}, at, to;
  do {
    locate(k, &s.to, i, &to);
    y[to] = locate(k, &a, i, &at) ? -x[at] : -(float)a.fill;
  } while (next(k, i, 0, 3));
  compare(&b, (const float *[]){x}, &nx, 1, (const float *[]){y, y}, ny, "loops", seed);
  free(x);
}

START_TEST(loops) {
  for (int seed = _i; seed < CASES; seed += 4) loops_case(seed);
}
END_TEST

/* ---- gather, scatter ---- */

static void gather_case(int seed, bool scatter) {
  rng_state = (uint64_t)seed * 15485863 + 5;
  for (int i = 0; i < 8; i++) rng();
  byhand b = {0};
  lt_gather g = {.axis_size = PICK(1, 2, 7, 16, 33, 50), .index_dtype = LT_I32};
  lt_store s = {{0}, 0};
  lt_instr ex = {.kind = LT_X_RESULT};
  lt_kernel *k = &b.k;
  *k = (lt_kernel){.kind = scatter ? LT_K_SCATTER : LT_K_GATHER, .block_dim = LT_NONE, .gather = &g, .n_dims = 2};
  k->extent[0] = 1 + below(4), k->extent[1] = PICK(1, 2, 15, 16, 17, 40);
  k->n_task_dims = (uint8_t)below(2);
  g.axis_stride = rng() % 2 ? 1 : k->extent[0], g.data.stride[0] = g.axis_stride == 1 ? g.axis_size : 1;
  int64_t nd = k->extent[0] * g.axis_size, n = compact(&g.index, k, 0, 2);
  int64_t ny = scatter ? nd : n;
  if (scatter) compact(&g.other, k, 0, 2);
  else k->expr = &ex, k->n_expr = 1, k->store = &s, k->n_store = 1, compact(&s.to, k, 0, 2);
  uint32_t data = byhand_buffer(&b, LT_F32, scatter ? n : nd, false), index = byhand_buffer(&b, LT_I32, n, false),
           out = byhand_buffer(&b, LT_F32, ny, true);
  g.index.buffer = index, g.data.buffer = scatter ? out : data, g.other.buffer = data, s.to.buffer = out;
  int64_t n_in = scatter ? n : nd;
  float *x = malloc((size_t)(n_in + ny) * sizeof *x), *y = x + n_in;
  int32_t *idx = malloc((size_t)n * sizeof *idx);
  fill(x, n_in, false);
  for (int64_t i = 0; i < n; i++)
    idx[i] = rng() % 8 ? (int32_t)below(g.axis_size) : (int32_t)PICK(-1, -2147483647 - 1, 2147483647, g.axis_size);
  memset(y, 0, (size_t)ny * sizeof *y);
  int64_t i[LT_MAX_DIMS] = {0}, row, at, to;
  do {
    int64_t start[LT_MAX_DIMS] = {i[0]};
    locate(k, &g.data, start, &row), locate(k, &g.index, i, &at);
    int64_t q = idx[at];
    bool in = q >= 0 && q < g.axis_size;
    if (scatter) locate(k, &g.other, i, &to);
    else locate(k, &s.to, i, &to);
    if (!scatter) y[to] = in ? x[row + q * g.axis_stride] : q < 0 ? 0 : NAN;
    else if (in) y[row + q * g.axis_stride] += x[to];
  } while (next(k, i, 0, 2));
  compare(&b, (const float *[]){x, (const float *)(const void *)idx}, (int64_t[]){n_in, n}, 2, (const float *[]){y, y},
          ny, scatter ? "scatter" : "gather", seed);
  free(x), free(idx);
}

START_TEST(gathers) {
  for (int seed = 0; seed < CASES / 4; seed++) gather_case(seed, _i);
}
END_TEST

/* ---- blocks of 16 channels, the last one not full: plain buffers must not be touched past their channels ---- */

/* y[n, c, p] = x[n, c, p] + b[n, c/16, p, c%16] (a REDUCE: summed over p), into a plain and a blocked buffer. */
static void blocks_case(int seed) {
  rng_state = (uint64_t)seed * 6700417 + 11;
  for (int i = 0; i < 8; i++) rng();
  bool sum = seed % 2;
  byhand b = {0};
  int64_t n = 1 + below(2), channels = PICK(1, 2, 7, 15, 16, 17, 24, 31, 33, 40), blocks = (channels + 15) / 16,
          px = PICK(1, 3, 16, 20), last = sum ? 1 : px;
  lt_access a[2] = {{.masked = channels % 16 != 0, .fill = (double)below(2)}, {.stride = {0}}};
  lt_store s[2] = {{{.masked = channels % 16 != 0}, 2}, {{.stride = {0}}, 2}};
  lt_instr x[3] = {{.kind = LT_X_LOAD, .access = 0},
                   {.kind = LT_X_LOAD, .access = 1},
                   {.kind = LT_X_MAP, .op = LT_OP_add, .arg = {0, 1, -1}}};
  lt_instr result[3] = {
    {.kind = LT_X_RESULT}, {.kind = LT_X_CONST, .value = 2}, {.kind = LT_X_MAP, .op = LT_OP_mul, .arg = {0, 1, -1}}};
  b.k = (lt_kernel){.kind = sum ? LT_K_REDUCE : LT_K_LOOPS,
                    .reduce = LT_SUM_TREE16,
                    .block_dim = 1,
                    .channels = channels,
                    .access = a,
                    .n_access = 2,
                    .expr = sum ? result : x,
                    .n_expr = 3,
                    .rexpr = x,
                    .n_rexpr = sum ? 3 : 0,
                    .store = s,
                    .n_store = 2,
                    .n_dims = sum ? 3 : 4,
                    .n_rdims = sum,
                    .extent = {n, blocks, sum ? 16 : px, sum ? px : 16},
                    .n_task_dims = (uint8_t)below(3)};
  int pd = sum ? 3 : 2, ld = sum ? 2 : 3; /* dims of the pixel and the lane */
  a[0].stride[0] = channels * px, a[0].stride[1] = 16 * px, a[0].stride[pd] = 1, a[0].stride[ld] = px;
  a[1].stride[0] = blocks * px * 16, a[1].stride[1] = px * 16, a[1].stride[pd] = 16, a[1].stride[ld] = 1;
  s[0].to.stride[0] = channels * last, s[0].to.stride[1] = 16 * last, s[0].to.stride[ld] = last;
  s[1].to.stride[0] = blocks * last * 16, s[1].to.stride[1] = last * 16, s[1].to.stride[ld] = 1;
  if (!sum) s[0].to.stride[pd] = 1, s[1].to.stride[pd] = 16;
  int64_t nx = n * channels * px, nb = n * blocks * px * 16, plain = n * channels * last,
          blocked = n * blocks * last * 16;
  a[0].buffer = byhand_buffer(&b, LT_F32, nx, false), a[1].buffer = byhand_buffer(&b, LT_F32, nb, false);
  s[1].to.buffer = byhand_buffer(&b, LT_F32, blocked, false), s[0].to.buffer = byhand_buffer(&b, LT_F32, plain, true);
  float *in = malloc((size_t)(nx + nb + blocked + plain) * sizeof *in), *bias = in + nx, *scratch = bias + nb,
        *y = scratch + blocked;
  fill(in, nx, false), fill(bias, nb, false), fill(scratch, blocked, false);
  for (int64_t i = 0; i < plain; i++) {
    int64_t p = i % last, c = i / last % channels, m = i / last / channels;
    sums t = {.index = -1};
    for (int64_t q = sum ? 0 : p; q < (sum ? px : p + 1); q++, t.n++)
      take(&b.k, &t, in[(m * channels + c) * px + q] + bias[((m * blocks + c / 16) * px + q) * 16 + c % 16], 1, false);
    y[i] = t.part[0];
    if (sum) end_run(&t), y[i] = sum_of(&t) * 2;
  }
  compare(&b, (const float *[]){in, bias, scratch}, (int64_t[]){nx, nb, blocked}, 3, (const float *[]){y, y}, plain,
          sum ? "blocks summed" : "blocks", seed);
  free(in);
}

START_TEST(blocks) {
  for (int seed = 0; seed < CASES / 2; seed++) blocks_case(seed);
}
END_TEST

/* ---- border: an in-place kernel; the inside keeps its values ---- */

START_TEST(borders) {
  for (int seed = 0; seed < 24; seed++) {
    rng_state = (uint64_t)seed + 99;
    for (int i = 0; i < 8; i++) rng();
    byhand b = {0};
    lt_border x = {.outer = 1 + below(3),
                   .height = 1 + below(5),
                   .width = 1 + below(5),
                   .inner = PICK(1, 16),
                   .halo = {(int32_t)below(3), (int32_t)below(3), (int32_t)below(3), (int32_t)below(3)}};
    int64_t h = x.height + x.halo[0] + x.halo[2], w = x.width + x.halo[1] + x.halo[3], n = x.outer * h * w * x.inner;
    b.k = (lt_kernel){.kind = LT_K_BORDER,
                      .block_dim = LT_NONE,
                      .border = &x,
                      .n_dims = 1,
                      .n_task_dims = (uint8_t)below(2),
                      .extent = {x.outer}};
    x.buffer = byhand_buffer(&b, LT_F32, n, true);
    float *want = malloc((size_t)n * sizeof *want);
    for (int64_t i = 0; i < n; i++) {
      int64_t col = i / x.inner % w, row = i / x.inner / w % h;
      bool in = row >= x.halo[0] && row < x.halo[0] + x.height && col >= x.halo[1] && col < x.halo[1] + x.width;
      want[i] = in ? 12345.0f : 0.0f;
    }
    compare(&b, NULL, NULL, 0, (const float *[]){want, want}, n, "border", seed);
    free(want);
  }
}
END_TEST

static Suite *kernels_suite(void) {
  Suite *s = suite_create("kernels");
  TCase *c = tcase_create("kernels");
  tcase_set_timeout(c, 200);
  tcase_add_loop_test(c, cpu_runs_here, 0, CPUS);
  tcase_add_loop_test(c, reductions, 0, 4);
  tcase_add_loop_test(c, loops, 0, 4);
  tcase_add_loop_test(c, gathers, 0, 2);
  tcase_add_test(c, blocks);
  tcase_add_test(c, borders);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(kernels_suite)
