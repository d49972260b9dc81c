/* run.c: cases through the whole pipeline, many to a module, and their results against the interpreter's.
 *
 * Around every buffer stand canaries; scratch and results are full of NaN before the call, so that what is read without
 * having been written shows; inputs must come out unchanged. */
#include "kcheck.h"
#include "codegen/codegen.h"
#include "driver/pipeline.h"
#include "ir/pass/pass.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CANARY = 256, MAX_LEAVES = 128, MAX_OUTPUTS = 16 };
#define MOST_ZEROS 0.75

/* ---- buffers ----------------------------------------------------------------------------------------------------- */

typedef struct buffer { unsigned char *whole; size_t bytes; } buffer;

static buffer buffer_new(size_t bytes, int fill) {
  size_t room = (bytes + 63) / 64 * 64;
  buffer b = {lt_mem_aligned(room + 2 * CANARY), bytes};
  if (!b.whole) abort();
  memset(b.whole, 0xC5, room + 2 * CANARY);
  memset(b.whole + CANARY, fill, bytes);
  return b;
}

static void *data_of(const buffer *b) { return b->whole + CANARY; }

static bool canaries_live(const buffer *b) {
  size_t room = (b->bytes + 63) / 64 * 64 + 2 * CANARY;
  for (size_t i = 0; i < room; i++)
    if ((i < CANARY || i >= CANARY + b->bytes) && b->whole[i] != 0xC5) return false;
  return true;
}

static void buffer_free(buffer *b) {
  lt_mem_free(b->whole);
  b->whole = NULL;
}

/* ---- what leaves hold -------------------------------------------------------------------------------------------- */

static double element(const char *name, uint64_t stream, uint64_t i) {
  uint32_t u = lt_random_u32(11, stream, i);
  switch (name[0]) {
  case 'q': return (double)((int)(u % 8) * 2 - 7) / 8;
  case 'r': return ((double)(u % 8001) - 4000) / 1000;
  case 'p': return 0.25 + (double)(u % 3751) / 1000;
  case 'i': return (double)(u % 19) - 9;
  case 'l': return (double)(u % (uint32_t)(atoi(name + 1) + 1)) - 1;
  default: return u % 2;
  }
}

lt_tensor *kc_fill(lt_arena *a, const lt_graph *g, lt_value v) {
  lt_tensor *t = lt_tensor_new(a, lt_type_of(g, v));
  const char *name = lt_name_of(g, v);
  uint64_t stream = lt_random_stream(name);
  for (int64_t i = 0, n = lt_type_count(&t->type); i < n; i++) {
    double x = element(name, stream, (uint64_t)i);
    lt_tensor_set(t, i, t->type.dtype == LT_F32 ? (double)(float)x : x);
  }
  return t;
}

/* ---- one case ---------------------------------------------------------------------------------------------------- */

typedef struct job_of_case {
  const kc_case *c;
  kc_case built;
  lt_arena arena;
  int index;
  lt_graph *g, *planned; /* as built; after the passes: the plan points into it */
  lt_image image;
  lt_plan run, pack;
  bool has_pack, ready;
  const lt_tensor *leaf[MAX_LEAVES];
  const char *leaf_name[MAX_LEAVES];
  int n_leaf;
  const lt_tensor *want[MAX_OUTPUTS];
  kc_result *result;
} job_of_case;

static void failed(kc_result *r, const char *fmt, ...) {
  va_list ap;
  if (r->verdict == KC_FAILED) return;
  r->verdict = KC_FAILED;
  va_start(ap, fmt);
  vsnprintf(r->why, sizeof r->why, fmt, ap);
  va_end(ap);
}

static void interpret(lt_job *job, job_of_case *j) {
  lt_eval e;
  lt_eval_init(&e, job, &j->arena, j->g, LT_EVAL_DOUBLE);
  for (lt_value v = 1; v < j->g->values.n; v++) {
    if (!lt_is_leaf(j->g, v) || lt_op_of(j->g, v) == LT_OP_const) continue;
    if (j->n_leaf == MAX_LEAVES) lt_fail(job, LATHE_E_INTERNAL, NULL, "more than %d leaves", MAX_LEAVES);
    j->leaf_name[j->n_leaf] = lt_arena_strdup(&j->arena, lt_name_of(j->g, v));
    j->leaf[j->n_leaf] = kc_fill(&j->arena, j->g, v);
    lt_eval_set(&e, v, j->leaf[j->n_leaf++]);
  }
  for (uint32_t i = 0; i < j->g->outputs.n; i++) j->want[i] = lt_eval_get(&e, j->g->outputs.at[i].value);
}

static void plan_case(lt_job *job, void *arg) {
  job_of_case *j = arg;
  lt_arena_init(&j->arena, job);
  j->g = lt_graph_new(job, "kcheck");
  kc_families[j->c->family].build(j->g, &j->built);
  interpret(job, j);
  lt_pass_options o = {.verify_each = true};
  size_t passes;
  const lt_pass *pipeline = lt_pipeline(&passes);
  lt_graph *ready = j->planned = lt_run_passes(job, j->g, pipeline, passes, &o);
  lt_graph_enter(ready, job);
  lt_image_of(&j->image, &j->arena, ready);
  const char *name = lt_arena_printf(&j->arena, "c%d", j->index), *pack = lt_arena_printf(&j->arena, "p%d", j->index);
  j->has_pack = j->c->packed && j->image.n > 0;
  if (j->has_pack) lt_plan_split(&j->run, &j->pack, &j->arena, ready, &j->image, name), j->pack.name = pack;
  else lt_plan_single(&j->run, &j->arena, ready, &j->image, name);
  j->ready = true;
}

/* ---- calling ----------------------------------------------------------------------------------------------------- */

static const lt_tensor *leaf_named(const job_of_case *j, const char *name) {
  for (int i = 0; i < j->n_leaf; i++)
    if (strcmp(j->leaf_name[i], name) == 0) return j->leaf[i];
  return NULL;
}

static int output_named(const job_of_case *j, const char *name) {
  for (uint32_t i = 0; i < j->g->outputs.n; i++)
    if (strcmp(j->g->outputs.at[i].name, name) == 0) return (int)i;
  return -1;
}

static buffer portable_image(const job_of_case *j) {
  buffer b = buffer_new((size_t)j->image.bytes, 0);
  for (uint32_t i = 0; i < j->image.n; i++) {
    const lt_tensor *t = leaf_named(j, j->image.item[i].name);
    if (t) lt_tensor_export(t, (char *)data_of(&b) + j->image.item[i].offset);
  }
  return b;
}

static double difference(const lt_tensor *got, const lt_tensor *want, int64_t *worst, double *zeros) {
  double most = 0, size = 0;
  int64_t n = lt_type_count(&want->type), zero = 0;
  bool f32 = want->type.dtype == LT_F32;
  *worst = 0;
  for (int64_t i = 0; i < n; i++) {
    double a = lt_tensor_at(got, i), b = lt_tensor_at(want, i), d;
    if (f32) b = (double)(float)b;
    zero += b == 0;
    if (isfinite(b)) size = fmax(size, fabs(b));
    d = a == b || (isnan(a) && isnan(b)) ? 0 : isfinite(a) && isfinite(b) ? fabs(a - b) : INFINITY;
    if (d > most) most = d, *worst = i;
  }
  *zeros = (double)zero / (double)n;
  return most == 0 ? 0 : most / fmax(size, 1e-30);
}

static void compare(job_of_case *j, int k, const buffer *b, double *zeros) {
  const lt_tensor *want = j->want[k], *got = lt_tensor_import(&j->arena, &want->type, data_of(b));
  int64_t at;
  double d = difference(got, want, &at, zeros);
  if (d > j->built.tolerance)
    failed(j->result, "%s[%ld] is %.9g, not %.9g (error %.1e of the largest, allowed %.1e)", j->g->outputs.at[k].name,
           (long)at, lt_tensor_at(got, at), lt_tensor_at(want, at), d, j->built.tolerance);
}

typedef struct call {
  buffer io[MAX_LEAVES + MAX_OUTPUTS], region, packed, scratch, pack_scratch;
  void *ptr[MAX_LEAVES + MAX_OUTPUTS + 1];
} call;

static void set_io(job_of_case *j, call *c) {
  for (uint32_t i = 0; i < j->run.n_slot; i++) {
    const lt_slot *s = &j->run.slot[i];
    c->io[i] = buffer_new((size_t)lt_type_bytes(&s->type), 0xFF);
    c->ptr[i] = data_of(&c->io[i]);
    if (s->role != LT_SLOT_OUTPUT) lt_tensor_export(leaf_named(j, s->name), c->ptr[i]);
  }
}

static void check_io(job_of_case *j, call *c) {
  double most_zeros = 1;
  for (uint32_t i = 0; i < j->run.n_slot; i++) {
    const lt_slot *s = &j->run.slot[i];
    double zeros = 1;
    if (!canaries_live(&c->io[i])) failed(j->result, "wrote around %s", s->name);
    if (s->role == LT_SLOT_OUTPUT) {
      compare(j, output_named(j, s->name), &c->io[i], &zeros);
      most_zeros = fmin(most_zeros, zeros);
      continue;
    }
    buffer was = buffer_new(c->io[i].bytes, 0);
    lt_tensor_export(leaf_named(j, s->name), data_of(&was));
    if (memcmp(data_of(&was), c->ptr[i], was.bytes) != 0) failed(j->result, "input %s changed", s->name);
    buffer_free(&was);
  }
  if (j->result->verdict == KC_FAILED) return;
  j->result->verdict = KC_PASSED;
  if (most_zeros > MOST_ZEROS) {
    j->result->verdict = KC_MISTRUSTED;
    snprintf(j->result->why, sizeof j->result->why, "%.0f %% of the results are zero", 100 * most_zeros);
  }
}

/* Tasks in the opposite order: as far from the serial one as threads can get. */
static void run_backwards(void *ctx, int64_t n, void (*body)(void *arg, int64_t i), void *arg) {
  (void)ctx;
  while (n-- > 0) body(arg, n);
}

/* Once more, by tasks: the same bits. */
static void check_tasks(job_of_case *j, call *c, lt_entry_fn run, void *region) {
  lathe_parallel backwards = {NULL, run_backwards};
  buffer was[MAX_LEAVES + MAX_OUTPUTS] = {{0}};
  for (uint32_t i = 0; i < j->run.n_slot; i++) {
    if (j->run.slot[i].role != LT_SLOT_OUTPUT) continue;
    was[i] = buffer_new(c->io[i].bytes, 0);
    memcpy(data_of(&was[i]), c->ptr[i], was[i].bytes);
    memset(c->ptr[i], 0xFF, was[i].bytes);
  }
  memset(data_of(&c->scratch), 0xFF, c->scratch.bytes);
  c->ptr[j->run.n_slot] = &backwards;
  int rc = run(c->ptr, region, data_of(&c->scratch));
  if (rc) failed(j->result, "run by tasks returned %d", rc);
  for (uint32_t i = 0; i < j->run.n_slot; i++) {
    if (j->run.slot[i].role != LT_SLOT_OUTPUT) continue;
    if (memcmp(data_of(&was[i]), c->ptr[i], was[i].bytes) != 0)
      failed(j->result, "%s depends on the order of the tasks", j->run.slot[i].name);
    if (!canaries_live(&c->io[i])) failed(j->result, "by tasks, wrote around %s", j->run.slot[i].name);
    buffer_free(&was[i]);
  }
}

static void call_case(lt_job *job, void *arg) {
  struct { job_of_case *j; const lt_code *code; } *p = arg;
  job_of_case *j = p->j;
  call c = {0};
  j->arena.job = job;
  set_io(j, &c);
  c.region = portable_image(j);
  void *region = j->image.n ? data_of(&c.region) : NULL;
  if (j->has_pack) {
    lt_half_fn pack = (lt_half_fn)(uintptr_t)lt_code_find(p->code, j->pack.name);
    c.packed = buffer_new((size_t)j->pack.out_bytes, 0xFF);
    c.pack_scratch = buffer_new((size_t)j->pack.scratch_bytes, 0xFF);
    void *none[1] = {NULL};
    int rc = pack(none, region, data_of(&c.packed), data_of(&c.pack_scratch));
    if (rc) failed(j->result, "pack returned %d", rc);
    if (!canaries_live(&c.packed) || !canaries_live(&c.pack_scratch))
      failed(j->result, "packing wrote around its buffers");
    region = data_of(&c.packed);
  }
  c.scratch = buffer_new((size_t)j->run.scratch_bytes, 0xFF);
  lt_entry_fn run = (lt_entry_fn)(uintptr_t)lt_code_find(p->code, j->run.name);
  int rc = run(c.ptr, region, data_of(&c.scratch));
  if (rc) failed(j->result, "run returned %d", rc);
  else check_io(j, &c), check_tasks(j, &c, run, region);
  if (!canaries_live(&c.scratch)) failed(j->result, "wrote around scratch");
  if (!canaries_live(&c.region)) failed(j->result, "wrote around the weights");
  for (uint32_t i = 0; i < j->run.n_slot; i++) buffer_free(&c.io[i]);
  buffer_free(&c.region), buffer_free(&c.packed), buffer_free(&c.scratch), buffer_free(&c.pack_scratch);
}

/* ---- a batch ----------------------------------------------------------------------------------------------------- */

typedef struct batch { job_of_case *j; int n; const char *cpu; volatile int *current; bool compiled; } batch;

static void run_batch(lt_job *job, void *arg) {
  batch *b = arg;
  lt_arena *a = lt_arena_new(job);
  lt_target t;
  lt_target_host(&t, job, a, b->cpu, "");
  lt_module_entry *e = LT_NEW_ARRAY(a, lt_module_entry, 2u * (unsigned)b->n);
  size_t n = 0;
  for (int i = 0; i < b->n; i++) {
    if (!b->j[i].ready) continue;
    e[n++] = (lt_module_entry){.plan = &b->j[i].run};
    if (b->j[i].has_pack) e[n++] = (lt_module_entry){.plan = &b->j[i].pack, .two_regions = true};
  }
  if (n == 0) return;
  lt_code *code = lt_jit(job, &t, e, n);
  b->compiled = true;
  for (int i = 0; i < b->n; i++) {
    if (!b->j[i].ready) continue;
    *b->current = i;
    struct { job_of_case *j; const lt_code *code; } p = {&b->j[i], code};
    lathe_error error;
    if (lt_protect(&error, call_case, &p) != LATHE_OK) failed(b->j[i].result, "%s", error.message);
  }
  lt_code_free(code);
}

static void one_by_one(batch *b) {
  for (int i = 0; i < b->n; i++) {
    batch one = {&b->j[i], 1, b->cpu, b->current, false};
    lathe_error error;
    *b->current = i;
    if (b->j[i].ready && lt_protect(&error, run_batch, &one) != LATHE_OK) failed(b->j[i].result, "%s", error.message);
  }
}

void kc_run(const kc_case *c, kc_result *r, int n, const char *cpu, volatile int *current) {
  job_of_case *j = calloc((size_t)n, sizeof *j);
  if (!j) abort();
  for (int i = 0; i < n; i++) {
    lathe_error error;
    r[i] = (kc_result){KC_UNREPORTED, ""};
    j[i] = (job_of_case){.c = &c[i], .built = c[i], .index = i, .result = &r[i]};
    *current = i;
    if (lt_protect(&error, plan_case, &j[i]) != LATHE_OK) failed(&r[i], "%s", error.message);
  }
  batch all = {j, n, cpu, current, false};
  lathe_error error;
  *current = -1;
  if (lt_protect(&error, run_batch, &all) != LATHE_OK && !all.compiled) one_by_one(&all);
  for (int i = 0; i < n; i++) {
    if (j[i].ready) lt_graph_free(j[i].g), lt_graph_free(j[i].planned);
    lt_arena_free(&j[i].arena);
  }
  free(j);
}
