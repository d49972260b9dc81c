/* plan_eval.c: plans executed word by word (plan.h) in plain C, and what must hold of every plan:
 *   - every access stays inside its buffer, every buffer inside its region;
 *   - what is read from scratch has been written before, to this buffer and not to one that shares its bytes: so the
 *     memory plan never gives the same bytes to two values that live at once, in place reuse included;
 *   - the results are the interpreter's, whether a kernel's iterations run forwards or backwards;
 *   - offsets are multiples of 64, the arena ends where the last buffer does.
 * No code generation takes part. Graphs: the cases of kcheck, and entries of tests/models and examples, training
 * too. */
#include "check_main.h"
#include "plan/operands.h"
#include "driver/entry.h"
#include "driver/pipeline.h"
#include "frontend/frontend.h"
#include "graph_eval.h"
#include "ir/pass/pass.h"
#include "kcheck.h"
#include "run_sums.h"

#include <stdio.h>

/* ---- memory: bytes with the buffer that wrote them last ---- */

/* writer: buffer + 1, -1: the caller */
typedef struct memory { unsigned char *at; int32_t *writer; int64_t bytes; } memory;
typedef struct number { double f; int64_t i; } number; /* i for integers and bool */

typedef struct machine {
  lt_job *job;
  lt_arena *a;
  const lt_plan *p;
  memory *io, state, out, scratch, consts;
  bool backwards;
} machine;

static memory memory_new(lt_arena *a, int64_t bytes, int32_t writer) {
  memory m = {lt_arena_zalloc(a, (size_t)bytes + 1), LT_NEW_ARRAY(a, int32_t, (size_t)bytes + 1), bytes};
  for (int64_t i = 0; i < bytes; i++) m.writer[i] = writer;
  return m;
}

static memory *region_of(machine *m, const lt_buffer *b) {
  switch (b->region) {
  case LT_REGION_IO: return &m->io[b->slot];
  case LT_REGION_STATE: return &m->state;
  case LT_REGION_OUT: return &m->out;
  case LT_REGION_SCRATCH: return &m->scratch;
  default: return &m->consts;
  }
}

LT_NORETURN static void wrong(machine *m, const lt_kernel *k, uint32_t buffer, int64_t at, const char *what) {
  lt_fail(m->job, LATHE_E_INTERNAL, NULL, "kernel %ld `%s` (%s) %s element %ld of `%s` (buffer %u, %ld bytes)",
          (long)(k - m->p->kernel), k->name, k->op, what, (long)at, m->p->buffer[buffer].name, buffer,
          (long)m->p->buffer[buffer].bytes);
}

static int64_t byte_of(machine *m, const lt_kernel *k, uint32_t buffer, int64_t at) {
  const lt_buffer *b = &m->p->buffer[buffer];
  int64_t size = (int64_t)lt_dtype_size(b->dtype);
  if (at < 0 || (at + 1) * size > b->bytes) wrong(m, k, buffer, at, "goes outside at");
  if (b->offset + b->bytes > region_of(m, b)->bytes) wrong(m, k, buffer, at, "uses a buffer outside its region:");
  return b->offset + at * size;
}

static number import(lt_dtype t, const unsigned char *p) {
  number n = {0};
  float f;
  int32_t i;
  switch (t) {
  case LT_F32: memcpy(&f, p, sizeof f), n.f = f; break;
  case LT_F64: memcpy(&n.f, p, sizeof n.f); break;
  case LT_I32: memcpy(&i, p, sizeof i), n.i = i; break;
  case LT_I64: memcpy(&n.i, p, sizeof n.i); break;
  default: n.i = *p != 0;
  }
  return n;
}

static void export(lt_dtype t, number n, unsigned char *p) {
  float f = (float)n.f;
  int32_t i = (int32_t)n.i;
  switch (t) {
  case LT_F32: memcpy(p, &f, sizeof f); break;
  case LT_F64: memcpy(p, &n.f, sizeof n.f); break;
  case LT_I32: memcpy(p, &i, sizeof i); break;
  case LT_I64: memcpy(p, &n.i, sizeof n.i); break;
  default: *p = n.i != 0;
  }
}

/* `exists`: the lane is real; other lanes may hold anything. */
static number load(machine *m, const lt_kernel *k, uint32_t buffer, int64_t at, bool exists) {
  const lt_buffer *b = &m->p->buffer[buffer];
  memory *r = region_of(m, b);
  int64_t byte = byte_of(m, k, buffer, at);
  bool ours = r->writer[byte] == -1 || r->writer[byte] == (int32_t)buffer + 1 || b->region != LT_REGION_SCRATCH;
  if (exists && (!ours || r->writer[byte] == 0)) wrong(m, k, buffer, at, "reads, though nobody has written it,");
  return import(b->dtype, r->at + byte);
}

static void store(machine *m, const lt_kernel *k, uint32_t buffer, int64_t at, number v) {
  const lt_buffer *b = &m->p->buffer[buffer];
  memory *r = region_of(m, b);
  int64_t byte = byte_of(m, k, buffer, at), size = (int64_t)lt_dtype_size(b->dtype);
  bool input = b->region == LT_REGION_IO && m->p->slot[b->slot].role != LT_SLOT_OUTPUT;
  if (input || b->region == LT_REGION_CONST) wrong(m, k, buffer, at, "writes to what must not change:");
  export(b->dtype, v, r->at + byte);
  for (int64_t i = 0; i < size; i++) r->writer[byte + i] = (int32_t)buffer + 1;
}

/* ---- accesses and expressions ---- */

typedef struct point { int64_t i[LT_MAX_DIMS]; bool exists; } point;

static bool address(const lt_kernel *k, const lt_access *a, const point *p, int64_t *at) {
  bool ok = true;
  *at = a->offset;
  for (int d = 0; d < k->n_dims + k->n_rdims; d++) *at += a->stride[d] * p->i[d];
  for (int j = 0; j < a->n_index; j++) {
    const lt_index *x = &a->index[j];
    int64_t q = x->add;
    for (int d = 0; d < k->n_dims + k->n_rdims; d++) q += x->coef[d] * p->i[d];
    ok &= q >= 0 && q % x->div == 0 && q / x->div < x->limit;
    if (ok) *at += q / x->div * x->stride;
  }
  return ok && (p->exists || !a->masked);
}

static number of_double(lt_dtype t, double v) { return lt_is_float(t) ? (number){.f = v} : (number){.i = (int64_t)v}; }
static double as_double(lt_dtype t, number n) { return lt_is_float(t) ? n.f : (double)n.i; }

static number map(const lt_instr *x, lt_dtype from, const number *arg) {
  bool whole = !lt_is_float(from) && x->op == LT_OP_div;
  if (whole) return (number){.i = arg[1].i == 0 ? 0 : arg[0].i / arg[1].i};
  if (x->op == LT_OP_select) return arg[0].i ? arg[1] : arg[2];
  bool ints = !lt_is_float(from) && !lt_is_float(x->dtype);
  if (ints && x->op == LT_OP_add) return (number){.i = arg[0].i + arg[1].i};
  if (ints && x->op == LT_OP_mul) return (number){.i = arg[0].i * arg[1].i};
  double v = lt_map_eval(x->op, x->attrs, as_double(from, arg[0]), as_double(from, arg[1]), 0);
  return of_double(x->dtype, v);
}

typedef struct context { number result, count; bool skipped; } context;

static void evaluate(machine *m, const lt_kernel *k, const lt_instr *code, uint32_t n, const point *p, context *c,
                     number *v) {
  c->skipped = false;
  for (uint32_t i = 0; i < n; i++) {
    const lt_instr *x = &code[i];
    number arg[3] = {0};
    bool takes = x->kind == LT_X_MAP || x->kind == LT_X_RANDOM;
    for (int j = 0; takes && j < 3; j++)
      if (x->arg[j] >= 0 && x->arg[j] < (int32_t)i) arg[j] = v[x->arg[j]];
    int64_t at;
    switch (x->kind) {
    case LT_X_LOAD: {
      const lt_access *a = &k->access[x->access];
      bool ok = address(k, a, p, &at);
      v[i] = ok ? load(m, k, a->buffer, at, p->exists) : of_double(x->dtype, a->fill);
      c->skipped |= !ok;
      break;
    }
    case LT_X_CONST: v[i] = of_double(x->dtype, x->value); break;
    case LT_X_MAP: v[i] = map(x, code[x->arg[0]].dtype, arg); break;
    case LT_X_RESULT: v[i] = c->result; break;
    case LT_X_COUNT: v[i] = c->count; break;
    case LT_X_INDEX: v[i] = (number){.i = p->i[x->access]}; break;
    default:
      v[i].f = lt_random_unit(lt_random_step((uint64_t)arg[0].i, (uint64_t)arg[1].i), x->stream, (uint64_t)arg[2].i);
    }
  }
}

static void finish_point(machine *m, const lt_kernel *k, const point *p, context *c) {
  number *v = LT_NEW_ARRAY(m->a, number, k->n_expr + 1u);
  evaluate(m, k, k->expr, k->n_expr, p, c, v);
  for (uint32_t s = 0; s < k->n_store; s++) {
    int64_t at;
    number junk = {.f = NAN, .i = -1};
    if (address(k, &k->store[s].to, p, &at))
      store(m, k, k->store[s].to.buffer, at, p->exists ? v[k->store[s].value] : junk);
  }
}

/* ---- kernels ---- */

/* The next index over extents[0..n); false at the end. */
static bool next(int64_t *i, const int64_t *extent, int n) {
  while (n-- > 0) {
    if (++i[n] < extent[n]) return true;
    i[n] = 0;
  }
  return false;
}

static bool lane_exists(const lt_kernel *k, const point *p) {
  return k->block_dim == LT_NONE || LT_LANES * p->i[k->block_dim] + p->i[k->n_dims - 1] < k->channels;
}

/* The iteration at p is the last of its run. */
static bool ends_run(const lt_kernel *k, const point *p) {
  if (!k->runs.per) return false;
  int cut = k->n_dims + k->runs.dim;
  for (int d = cut + 1; d < k->n_dims + k->n_rdims; d++)
    if (p->i[d] + 1 < k->extent[d]) return false;
  return (p->i[cut] + 1) % k->runs.per == 0 || p->i[cut] + 1 == k->extent[cut];
}

static void reduce_point(machine *m, const lt_kernel *k, point *at, context *c) {
  point p = *at;
  number *v = LT_NEW_ARRAY(m->a, number, k->n_rexpr + 1u);
  lt_dtype t = k->rexpr[k->n_rexpr - 1].dtype;
  const bool tree = k->reduce == LT_SUM_TREE16, sum = tree || k->reduce == LT_SUM_CHAIN;
  run_sums *s = LT_NEW(m->a, run_sums);
  double best = -INFINITY;
  int64_t whole = 0, index = -1, count = 0, i = 0;
  do {
    evaluate(m, k, k->rexpr, k->n_rexpr, &p, c, v);
    number x = v[k->n_rexpr - 1];
    double d = as_double(t, x);
    if (!c->skipped || k->reduce == LT_SUM_CHAIN) {
      count++;
      whole += x.i;
      s->part[tree ? i % LT_LANES : 0] += d;
      if (index < 0 || d > best || (isnan(d) && !isnan(best))) best = d, index = i;
    }
    i++;
    if (ends_run(k, &p)) end_run(s, tree);
  } while (next(p.i + k->n_dims, k->extent + k->n_dims, k->n_rdims));
  if (!k->runs.per) end_run(s, tree);
  c->count = (number){(double)count, count};
  if (k->reduce == LT_REDUCE_ARGMAX) c->result = (number){.i = index};
  else if (sum) c->result = lt_is_float(t) ? (number){.f = end_sum(s)} : (number){.i = whole};
  else c->result = lt_is_float(t) ? (number){.f = best} : (number){.i = (int64_t)best};
}

static void contract_point(machine *m, const lt_kernel *k, point *p, context *c) {
  const lt_contract *x = k->contract;
  int64_t a0, b0;
  double total = -0.0, run = -0.0;
  bool real = p->exists || !(x->b_masked || x->b.masked);
  address(k, &x->a, p, &a0);
  lt_access whole = x->b;
  whole.masked = false;
  address(k, &whole, p, &b0);
  for (unsigned s = 0; s < x->n_seg; s++) {
    const lt_kseg *g = &x->seg[s];
    int64_t i[4] = {0};
    do {
      int64_t a = a0 + g->a_offset, b = b0 + g->b_offset;
      for (int d = 0; d < g->n; d++) a += g->a_stride[d] * i[d], b += g->b_stride[d] * i[d];
      for (int d = 0; d < k->n_dims; d++) b += g->b_dim[d] * p->i[d];
      double u = as_double(k->dtype, load(m, k, x->a.buffer, a, true));
      if (begins_run(x, s, i)) total += run, run = 0;
      if (real) run += u * as_double(k->dtype, load(m, k, x->b.buffer, b, p->exists));
    } while (next(i, g->extent, g->n));
  }
  c->result = of_double(k->acc, total + run + (x->n_border ? 0.0 : -0.0));
}

static void gather_point(machine *m, const lt_kernel *k, point *p, context *c) {
  const lt_gather *g = k->gather;
  int64_t at;
  address(k, &g->index, p, &at);
  int64_t i = load(m, k, g->index.buffer, at, true).i;
  bool inside = i >= 0 && i < g->axis_size, f = lt_is_float(k->dtype);
  address(k, &g->data, p, &at);
  c->result = inside ? load(m, k, g->data.buffer, at + i * g->axis_stride, true) : (number){.f = f && i >= 0 ? NAN : 0};
}

static void scatter_row(machine *m, const lt_kernel *k, point *p, context *c) {
  (void)c;
  const lt_gather *g = k->gather;
  int64_t row, at;
  address(k, &g->data, p, &row);
  for (int64_t i = 0; i < g->axis_size; i++) store(m, k, g->data.buffer, row + i * g->axis_stride, (number){0});
  for (p->i[k->n_dims - 1] = 0; p->i[k->n_dims - 1] < k->extent[k->n_dims - 1]; p->i[k->n_dims - 1]++) {
    address(k, &g->index, p, &at);
    int64_t i = load(m, k, g->index.buffer, at, true).i;
    if (i < 0 || i >= g->axis_size) continue;
    address(k, &g->other, p, &at);
    number v = load(m, k, g->other.buffer, at, true), old = load(m, k, g->data.buffer, row + i * g->axis_stride, true);
    v.f += old.f, v.i += old.i;
    store(m, k, g->data.buffer, row + i * g->axis_stride, v);
  }
  p->i[k->n_dims - 1] = 0;
}

static void run_border(machine *m, const lt_kernel *k) {
  const lt_border *x = k->border;
  int64_t h = x->halo[0] + x->height + x->halo[2], w = x->halo[1] + x->width + x->halo[3], at = 0;
  for (int64_t o = 0; o < x->outer; o++)
    for (int64_t i = 0; i < h; i++)
      for (int64_t j = 0; j < w; j++)
        for (int64_t l = 0; l < x->inner; l++, at++) {
          bool in = i >= x->halo[0] && i < x->halo[0] + x->height && j >= x->halo[1] && j < x->halo[1] + x->width;
          if (!in) store(m, k, x->buffer, at, (number){0});
        }
}

/* ---- one function per kind (plan/kernels.def) ---- */

typedef void (*result_fn)(machine *m, const lt_kernel *k, point *p, context *c);

/* `result` at every point of the first `dims` dims, and what is made of it. */
static void over_points(machine *m, const lt_kernel *k, int dims, result_fn result, bool finish) {
  point p = {0};
  int64_t total = 1;
  for (int d = 0; d < dims; d++) total *= k->extent[d];
  for (int64_t n = 0; n < total; n++) {
    int64_t rest = m->backwards ? total - 1 - n : n;
    for (int d = dims - 1; d >= 0; d--) p.i[d] = rest % k->extent[d], rest /= k->extent[d];
    unsigned char *mark = m->a->next;
    lt_arena_chunk *chunk = m->a->chunks;
    context c = {0};
    p.exists = lane_exists(k, &p);
    if (result) result(m, k, &p, &c);
    if (finish) finish_point(m, k, &p, &c);
    if (m->a->chunks == chunk) m->a->next = mark; /* what a point needed is free again */
  }
}

static void run_loops(machine *m, const lt_kernel *k) { over_points(m, k, k->n_dims, NULL, true); }
static void run_reduce(machine *m, const lt_kernel *k) { over_points(m, k, k->n_dims, reduce_point, true); }
static void run_contract(machine *m, const lt_kernel *k) { over_points(m, k, k->n_dims, contract_point, true); }
static void run_gather(machine *m, const lt_kernel *k) { over_points(m, k, k->n_dims, gather_point, true); }
static void run_scatter(machine *m, const lt_kernel *k) { over_points(m, k, k->n_dims - 1, scatter_row, false); }

static void run_kernel(machine *m, const lt_kernel *k) {
  static void (*const run[])(machine *m, const lt_kernel *k) = {
#define LT_KERNEL(NAME, name, own, dims, place, tasks) [LT_K_##NAME] = run_##name,
#include "plan/kernels.def"
#undef LT_KERNEL
  };
  run[k->kind](m, k);
}

static void run_plan(machine *m) {
  for (uint32_t i = 0; i < m->p->n_kernel; i++) run_kernel(m, &m->p->kernel[i]);
}

/* ---- what must hold of a plan before it runs ---- */

static void check_memory(const lt_plan *p) {
  int64_t end = 0;
  for (uint32_t i = 0; i < p->n_buffer; i++) {
    const lt_buffer *b = &p->buffer[i];
    ck_assert_int_ge(b->bytes, 1);
    if (b->region != LT_REGION_SCRATCH || b->first < 0) continue;
    ck_assert_int_eq(b->offset % LT_ALIGN, 0);
    end = LT_MAX(end, (b->offset + b->bytes + LT_ALIGN - 1) / LT_ALIGN * LT_ALIGN);
    for (uint32_t k = 0; k < i; k++) { /* two that live at the same time meet at most where one becomes the other */
      const lt_buffer *o = &p->buffer[k];
      bool apart = b->offset >= o->offset + o->bytes || o->offset >= b->offset + b->bytes;
      if (o->region != LT_REGION_SCRATCH || o->first < 0 || apart || o->last < b->first || b->last < o->first) continue;
      ck_assert_msg(o->last == b->first || b->last == o->first, "%s: `%s` and `%s` share bytes while both live",
                    p->name, b->name, o->name);
      ck_assert_int_eq(o->offset, b->offset);
    }
  }
  ck_assert_int_eq(p->scratch_bytes, end);
}

static bool is_output(const lt_plan *p, uint32_t buffer) {
  return p->buffer[buffer].region == LT_REGION_IO && p->slot[p->buffer[buffer].slot].role == LT_SLOT_OUTPUT;
}

/* With updates, outputs may be left out by the caller: a kernel that writes one does nothing else, and none reads
 * it. */
static void check_skippable(const lt_plan *p) {
  uint32_t buffer[300];
  for (uint32_t i = 0; i < p->n_kernel; i++) {
    const lt_kernel *k = &p->kernel[i];
    uint32_t n = lt_kernel_buffers(k, buffer, LT_COUNT(buffer)), outputs = 0, stored = 0;
    for (uint32_t j = 0; j < n; j++) outputs += is_output(p, buffer[j]);
    for (uint32_t j = 0; j < k->n_store; j++) stored += is_output(p, k->store[j].to.buffer);
    ck_assert_msg(outputs == stored && (stored == 0 || k->n_store == 1), "kernel `%s` cannot be left out", k->name);
  }
}

/* ---- a graph: through the passes, planned, run, compared ---- */

enum { FROM_FUSION = 2 }; /* passes */

typedef struct subject {
  const char *what;
  const lt_graph *g;
  const lt_tensor *(*leaf)(lt_arena *, const lt_graph *, lt_value);
  double tolerance;
} subject;

static void set_memory(machine *m, const lt_plan *p, const lt_graph *g, const subject *s) {
  m->p = p;
  m->io = LT_NEW_ARRAY(m->a, memory, p->n_slot + 1u);
  for (uint32_t i = 0; i < p->n_slot; i++) {
    bool out = p->slot[i].role == LT_SLOT_OUTPUT;
    m->io[i] = memory_new(m->a, lt_type_bytes(&p->slot[i].type), out ? 0 : -1);
    if (!out) lt_tensor_export(s->leaf(m->a, g, lt_find(g, p->slot[i].name)), m->io[i].at);
  }
  m->out = memory_new(m->a, p->out_bytes, 0);
  m->scratch = memory_new(m->a, p->scratch_bytes, 0);
  m->consts = memory_new(m->a, p->const_bytes, -1);
  lt_plan_consts_write(p, m->consts.at);
}

static memory portable(lt_arena *a, const lt_graph *g, const lt_image *image, const subject *s) {
  memory m = memory_new(a, image->bytes, -1);
  for (uint32_t i = 0; i < image->n; i++)
    lt_tensor_export(s->leaf(a, g, lt_find(g, image->item[i].name)), m.at + image->item[i].offset);
  return m;
}

/* Values that cancel to nothing are held to what they are made of, which is of order 1. */
static void compare(const subject *s, const char *how, const char *name, const lt_tensor *got, const lt_tensor *want) {
  double d = lt_test_distance(got, want), most = 0;
  for (int64_t i = 0, n = lt_type_count(&got->type); i < n; i++)
    most = fmax(most, fmax(fabs(lt_tensor_at(got, i)), fabs(lt_tensor_at(want, i))));
  if (most < 1e-5) return;
  ck_assert_msg(d <= s->tolerance, "%s (%s): `%s` is off by %.2e of its largest element", s->what, how, name, d);
}

static void check_results(machine *m, const lt_graph *g, lt_eval *e, const lt_image *image, const subject *s,
                          const char *how) {
  for (uint32_t i = 0; i < g->outputs.n; i++) {
    for (uint32_t k = 0; k < m->p->n_slot; k++) {
      if (m->p->slot[k].role != LT_SLOT_OUTPUT || strcmp(m->p->slot[k].name, g->outputs.at[i].name) != 0) continue;
      for (int64_t b = 0; b < m->io[k].bytes; b++)
        ck_assert_msg(m->io[k].writer[b] != 0, "%s: `%s` is not written", s->what, m->p->slot[k].name);
      const lt_tensor *want = lt_eval_get(e, g->outputs.at[i].value);
      compare(s, how, g->outputs.at[i].name, lt_tensor_import(m->a, &want->type, m->io[k].at), want);
    }
  }
  for (uint32_t i = 0; i < image->n; i++) { /* updated or unchanged */
    lt_value leaf = lt_find(g, image->item[i].name), v = leaf;
    for (uint32_t k = 0; k < g->updates.n; k++)
      if (g->updates.at[k].leaf == leaf) v = g->updates.at[k].value;
    if (m->state.at == NULL || m->state.bytes < image->bytes) continue;
    const lt_tensor *want = lt_eval_get(e, v);
    compare(s, how, image->item[i].name, lt_tensor_import(m->a, &want->type, m->state.at + image->item[i].offset),
            want);
  }
}

static void run_single(lt_job *job, lt_graph *g, lt_eval *e, const lt_image *image, const subject *s, bool backwards) {
  lt_arena *a = lt_arena_new(job);
  machine m = {.job = job, .a = a, .backwards = backwards};
  lt_plan p;
  lt_plan_single(&p, a, g, image, "single");
  check_memory(&p);
  if (g->updates.n) check_skippable(&p);
  set_memory(&m, &p, g, s);
  m.state = portable(a, g, image, s);
  run_plan(&m);
  check_results(&m, g, e, image, s, backwards ? "backwards" : "forwards");
}

static void run_split(lt_job *job, lt_graph *g, lt_eval *e, const lt_image *image, const subject *s) {
  lt_arena *a = lt_arena_new(job);
  machine m = {.job = job, .a = a}, first = {.job = job, .a = a};
  lt_plan run, pack;
  lt_plan_split(&run, &pack, a, g, image, "run");
  check_memory(&run), check_memory(&pack);
  set_memory(&first, &pack, g, s);
  first.state = portable(a, g, image, s);
  run_plan(&first);
  set_memory(&m, &run, g, s);
  m.state = first.out;
  for (int64_t i = 0; i < m.state.bytes; i++) m.state.writer[i] = m.state.writer[i] ? -1 : 0;
  run_plan(&m);
  lt_image none = {0};
  check_results(&m, g, e, &none, s, "packed");
}

static void check_graph(lt_job *job, const subject *s) {
  lt_arena *a = lt_arena_new(job);
  size_t n;
  const lt_pass *pipeline = lt_pipeline(&n);
  lt_graph *before = lt_run_passes(job, s->g, pipeline, n - FROM_FUSION, NULL);
  lt_graph *g =
    lt_run_passes(job, before, pipeline + n - FROM_FUSION, FROM_FUSION, &(lt_pass_options){.verify_each = true});
  lt_eval e;
  lt_image image;
  lt_eval_init(&e, job, a, g, LT_EVAL_DOUBLE);
  for (lt_value v = 1; v < g->values.n; v++)
    if (lt_is_leaf(g, v) && lt_op_of(g, v) != LT_OP_const) lt_eval_set(&e, v, s->leaf(a, g, v));
  lt_image_of(&image, a, g);
  run_single(job, g, &e, &image, s, false);
  run_single(job, g, &e, &image, s, true);
  if (g->updates.n == 0) run_split(job, g, &e, &image, s);
  lt_graph_drop(job, g);
  lt_graph_drop(job, before);
}

/* ---- generated graphs ---- */

static const lt_tensor *kcheck_leaf(lt_arena *a, const lt_graph *g, lt_value v) { return kc_fill(a, g, v); }

static void case_body(lt_job *job, void *arg) {
  kc_case c = *(const kc_case *)arg;
  lt_graph *g = lt_graph_new(job, "case");
  kc_families[c.family].build(g, &c);
  char what[64];
  snprintf(what, sizeof what, "%s %ld", kc_families[c.family].name, (long)c.number);
  check_graph(job, &(subject){what, g, kcheck_leaf, LT_MAX(c.tolerance, 1e-5)});
  lt_graph_drop(job, g);
}

enum { EVERY = 25 };

START_TEST(generated) {
  const kc_family *f = &kc_families[_i];
  for (int64_t n = _i % EVERY; n < f->count; n += EVERY) {
    kc_case c = {.family = _i, .number = n};
    lathe_error e = {0};
    ck_assert_msg(lt_protect(&e, case_body, &c) == LATHE_OK, "%s %ld: %s", f->name, (long)n, e.message);
  }
}
END_TEST

/* ---- entries of whole networks ---- */

static const lt_tensor *model_leaf(lt_arena *a, const lt_graph *g, lt_value v) {
  lt_tensor *t = (lt_tensor *)lt_test_leaf(a, g, v, 5);
  for (int64_t i = 0, n = lt_type_count(&t->type); lt_is_float(t->type.dtype) && i < n; i++)
    lt_tensor_set(t, i, (double)((float)lt_tensor_at(t, i) * 0.25f));
  return t;
}

typedef struct entry_case { const char *file, *spec, *optimizer; } entry_case; /* file: of tests/models, or a text */

static void entry_body(lt_job *job, void *arg) {
  const entry_case *c = arg;
  lt_arena *a = lt_arena_new(job);
  lt_options o;
  lt_options_read(&o, job, a, c->optimizer ? lt_arena_printf(a, "--optimizer %s", c->optimizer) : "", TO_COMPILE);
  lt_bytes text = {(const unsigned char *)c->file, strlen(c->file)};
  if (strstr(c->file, ".lathe"))
    text = lt_file_read(job, a, lt_arena_printf(a, "%s/models/%s", getenv("LT_TESTS"), c->file), 1 << 20);
  lt_graph *network = lt_text_read(job, (const char *)text.at, text.n, c->file, NULL);
  lt_entry_spec spec = lt_entry_parse(job, a, c->spec);
  lt_graph *g = lt_entry_graph(job, network, &spec, &o);
  check_graph(job, &(subject){lt_arena_printf(a, "%s %s", c->file, c->spec), g, model_leaf, 2e-4});
  lt_graph_drop(job, g);
  lt_graph_drop(job, network);
}

static const entry_case entries[] = {
  {"digits.lathe", "run", NULL},
  {"digits.lathe", "train:loss", "sgd"},
  {"digits.lathe", "train:loss", "momentum"},
  {"digits.lathe", "train:loss", "adam"},
  {"digits.lathe", "grad", NULL},
  {"potential.lathe", "run", NULL},
  {"fit.lathe", "run", NULL},
  {"chapter.lathe", "run", NULL},
  {"chapter.lathe", "grad", NULL},
  /* grad reads loss */
  {"network n(x: f32[4, 8]) -> loss, y { y = linear(x, out=3)  loss = exp(mean(y)) }", "train:loss", "adam"},
  {"network n(x: f32[2, 3, 7, 9]) -> y, loss { y = conv2d(x, out_channels=20, kernel=3, pad=1)  loss = sum(sigmoid(y)) "
   "}",
   "train:loss", "sgd"},
  {"network n(x: f32[1, 2, 66, 64]) -> loss { loss = sum(tanh(conv2d(x, out_channels=18, kernel=[3, 1], stride=[1, "
   "2]))) }",
   "train:loss", "sgd"}, /* chunks of rows */
  {"network n(x: f32[6, 17, 18, 24]) -> loss { loss = sum(tanh(conv2d(x, out_channels=3, kernel=3, pad=1))) }",
   "train:loss", "sgd"}, /* chunks of images */
  {"ops.lathe", "run", NULL},
  {"residual.lathe", "run", NULL},
  {"residual.lathe", "train:loss@N=2", "momentum"},
  {"sequence.lathe", "run", NULL},
  {"sequence.lathe", "grad@N=1", NULL},
  {"sequence.lathe", "train:loss", "adam"},
  {"depthwise.lathe", "run", NULL},
  {"depthwise.lathe", "grad@N=1", NULL},
  {"lenet5.lathe", "run", NULL},

};

START_TEST(networks) {
  lathe_error e = {0};
  entry_case c = entries[_i];
  ck_assert_msg(lt_protect(&e, entry_body, &c) == LATHE_OK, "%s %s: %s", c.file, c.spec, e.message);
}
END_TEST

static Suite *plan_suite(void) {
  Suite *s = suite_create("plan");
  TCase *g = tcase_create("generated"), *n = tcase_create("networks");
  tcase_set_timeout(g, 120), tcase_set_timeout(n, 120);
  tcase_add_loop_test(g, generated, 0, kc_family_count);
  tcase_add_loop_test(n, networks, 0, (int)LT_COUNT(entries));
  suite_add_tcase(s, g), suite_add_tcase(s, n);
  return s;
}
LT_TEST_MAIN(plan_suite)
