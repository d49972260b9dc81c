/* byhand.h: plans of one kernel, written by hand: for tests of the emitters below the pipeline. Buffer i is io slot
 * i. */
#ifndef LT_BYHAND_H
#define LT_BYHAND_H
#include "codegen/codegen.h"
#include "cpus.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct byhand {
  const char *cpu; /* one of lt_cpus */
  lt_kernel k;
  lt_slot slot[8];
  lt_buffer buffer[8];
  uint32_t n;
  lt_code *code;
  bool fma; /* of the target compiled for */
  lathe_error error;
} byhand;

static inline uint32_t byhand_buffer(byhand *b, lt_dtype t, int64_t count, bool output) {
  uint32_t i = b->n++;
  b->slot[i] = (lt_slot){
    .name = "x", .type = {.dtype = t, .rank = 1, .dim = {count}}, .role = output ? LT_SLOT_OUTPUT : LT_SLOT_INPUT};
  b->buffer[i] =
    (lt_buffer){.region = LT_REGION_IO, .slot = i, .bytes = count * (int64_t)lt_dtype_size(t), .dtype = t, .name = "x"};
  return i;
}

static inline void byhand_body(lt_job *job, void *arg) {
  byhand *b = arg;
  lt_arena *a = lt_arena_new(job);
  lt_target t;
  lt_target_host(&t, job, a, b->cpu, NULL);
  b->fma = t.fma;
  lt_plan p = {.name = "run",
               .slot = b->slot,
               .n_slot = b->n,
               .buffer = b->buffer,
               .n_buffer = b->n,
               .kernel = &b->k,
               .n_kernel = 1};
  if (!b->k.name) b->k.name = "byhand", b->k.op = "byhand";
  lt_module_entry e = {.plan = &p};
  if (getenv("LT_SHOW")) {
    lt_str s;
    lt_str_init(&s, a);
    lt_emit_text(&s, job, &t, &e, 1, strcmp(getenv("LT_SHOW"), "asm") == 0);
    fputs(s.at, stderr);
  }
  b->code = lt_jit(job, &t, &e, 1);
}

/* false where this machine cannot run code for b->cpu; every other failure fails the test. */
static inline bool byhand_compile(byhand *b) {
  if (lt_protect(&b->error, byhand_body, b) == LATHE_OK) return true;
  if (lt_cpu_is_missing(b->error.message)) return false;
  ck_abort_msg("%s", b->error.message);
  return false;
}

static inline void byhand_run(const byhand *b, void *const *data) {
  const void *io[9] = {0};
  for (uint32_t i = 0; i < b->n; i++) io[i] = data[i];
  lt_entry_fn run;
  void *at = lt_code_find(b->code, "run");
  memcpy(&run, &at, sizeof run); /* ISO C has no cast from data to code */
  ck_assert_int_eq(run(io, NULL, NULL), 0);
}

static inline void byhand_free(byhand *b) { lt_code_free(b->code); }
#endif
