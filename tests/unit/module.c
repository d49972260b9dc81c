/* module.c: what an entry promises beyond its kernels: pointers and headers are checked before anything is touched,
 * outputs that nobody wants are skipped, hyperparameters have defaults, tasks go through the caller's threads, equal
 * kernels are one function, bench runs kernels one by one, code can be freed while other code lives on, and what only
 * decodes, calls or moves weights costs LLVM little. */
#include "check_main.h"
#include "codegen/module.h"

#include <stdio.h>
#include <sys/prctl.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65 /* Linux 6.3: memory that was written is never made executable */
#endif

enum { N = 40, ROWS = 1000 };

/* y[i] = x[i] * lr into scratch, then z[i] = scratch[i] + w[i] (w in the region), out image: y again. */
typedef struct model {
  lt_slot slot[4];
  lt_buffer buffer[6];
  lt_access access[3][2];
  lt_instr code[3][3];
  lt_store store[3];
  lt_kernel kernel[3];
  float lr;
  lt_data lr_data;
  lt_constant constant;
  lt_plan plan;
  bool two, steps;
  size_t copies;
  lt_code *code_;
  lathe_error error;
} model;

static void two_operands(model *m, int i, uint32_t a, uint32_t b, int64_t b_stride, lt_op op, uint32_t to) {
  m->access[i][0] = (lt_access){.buffer = a, .stride = {N, 1}};
  m->access[i][1] = (lt_access){.buffer = b, .stride = {b_stride * N, b_stride}};
  m->code[i][0] = (lt_instr){.kind = LT_X_LOAD, .access = 0};
  m->code[i][1] = (lt_instr){.kind = LT_X_LOAD, .access = 1};
  m->code[i][2] = (lt_instr){.kind = LT_X_MAP, .op = op, .arg = {0, 1, -1}};
  m->store[i] = (lt_store){.to = {.buffer = to, .stride = {N, 1}}, .value = 2};
  m->kernel[i] = (lt_kernel){.kind = LT_K_LOOPS,
                             .name = "k",
                             .op = "add",
                             .bytes = 1e9,
                             .n_dims = 2,
                             .extent = {ROWS, N},
                             .block_dim = LT_NONE,
                             .n_task_dims = 1,
                             .access = m->access[i],
                             .n_access = 2,
                             .expr = m->code[i],
                             .n_expr = 3,
                             .store = &m->store[i],
                             .n_store = 1};
}

static void init(model *m) {
  const int64_t bytes = (int64_t)ROWS * N * 4;
  const lt_type t = {.rank = 2, .dim = {ROWS, N}}, scalar = {.rank = 0};
  *m = (model){.lr = 0.5f, .copies = 1};
  m->slot[0] = (lt_slot){.name = "x", .type = t, .role = LT_SLOT_INPUT};
  m->slot[1] =
    (lt_slot){.name = "lr", .type = scalar, .role = LT_SLOT_HYPER, .nullable = true, .def = 0.5, .def_offset = 0};
  m->slot[2] = (lt_slot){.name = "y", .type = t, .role = LT_SLOT_OUTPUT};
  m->slot[3] = (lt_slot){.name = "z", .type = t, .role = LT_SLOT_OUTPUT, .nullable = true};
  for (uint32_t i = 0; i < 4; i++)
    m->buffer[i] = (lt_buffer){.region = LT_REGION_IO, .slot = i, .bytes = i == 1 ? 4 : bytes};
  m->buffer[4] = (lt_buffer){.region = LT_REGION_STATE, .offset = LT_IMAGE_HEADER, .bytes = bytes};
  m->buffer[5] = (lt_buffer){.region = LT_REGION_SCRATCH, .bytes = bytes};
  two_operands(m, 0, 0, 1, 0, LT_OP_mul, 5);
  two_operands(m, 1, 5, 4, 1, LT_OP_add, 2);
  two_operands(m, 2, 5, 2, 1, LT_OP_add, 3); /* the same code as kernel 1 on other buffers */
  m->lr_data = (lt_data){.type = scalar, .at = (const unsigned char *)&m->lr, .bytes = 4};
  m->constant.data = &m->lr_data;
  m->plan = (lt_plan){.name = "run",
                      .slot = m->slot,
                      .n_slot = 4,
                      .buffer = m->buffer,
                      .n_buffer = 6,
                      .kernel = m->kernel,
                      .n_kernel = 3,
                      .constant = {&m->constant, 1, 1},
                      .const_bytes = 4,
                      .region_bytes = LT_IMAGE_HEADER + bytes,
                      .scratch_bytes = bytes,
                      .region_kinds = 1u << LT_IMAGE_PARAMS | 1u << LT_IMAGE_STATE,
                      .model = 0x1234567890abcdefu};
}

static void compile(lt_job *job, void *arg) {
  model *m = arg;
  lt_target t;
  lt_target_host(&t, job, lt_arena_new(job), NULL, NULL);
  lt_module_entry e = {.plan = &m->plan, .two_regions = m->two, .steps = m->steps};
  m->code_ = lt_jit(job, &t, &e, 1);
}

static void must_compile(model *m) {
  ck_assert_msg(lt_protect(&m->error, compile, m) == LATHE_OK, "%s", m->error.message);
}

static void *find(const model *m, const char *name) { return lt_code_find(m->code_, name); }
/* ISO C has no cast from data to code. */
static void find_into(const model *m, const char *name, void *function) {
  void *at = find(m, name);
  ck_assert_ptr_nonnull(at);
  memcpy(function, &at, sizeof at);
}
#define FUNCTION(type, name, m, symbol)                                                                                \
  type name;                                                                                                           \
  find_into(m, symbol, &name)

static _Alignas(64) float x[ROWS * N + 1], y[ROWS * N + 1], z[ROWS * N + 1], scratch[ROWS * N + 16];
static _Alignas(64) unsigned char region[LT_IMAGE_HEADER + sizeof(float) * ROWS * N];

static void set_memory(void) {
  lt_image_header h = {.abi = 1, .kind = LT_IMAGE_STATE, .model = 0x1234567890abcdefu, .bytes = sizeof region};
  memcpy(h.magic, LT_IMAGE_MAGIC, sizeof h.magic);
  memcpy(region, &h, sizeof h);
  float *w = (float *)(void *)(region + LT_IMAGE_HEADER);
  for (int i = 0; i < ROWS * N; i++) x[i] = (float)(i % 1001), w[i] = (float)(i % 7), y[i] = z[i] = -1;
}

static void check_values(float lr, bool has_z) {
  for (int i = 0; i < ROWS * N; i++) {
    float t = (float)(i % 1001) * lr, want = t + (float)(i % 7);
    ck_assert_float_eq(y[i], want);
    ck_assert_float_eq(z[i], has_z ? t + want : -1);
  }
}

START_TEST(checks_what_it_is_given) {
  model m;
  init(&m);
  must_compile(&m);
  set_memory();
  FUNCTION(lt_entry_fn, run, &m, "run");
  const void *io[5] = {x, NULL, y, z, NULL}, *no_x[5] = {NULL, NULL, y, z, NULL},
             *odd_y[5] = {x, NULL, (char *)y + 2, z, NULL}, *no_y[5] = {x, NULL, NULL, z, NULL};
  ck_assert_int_eq(run(NULL, region, scratch), LATHE_E_POINTER);
  ck_assert_int_eq(run(no_x, region, scratch), LATHE_E_POINTER);
  ck_assert_int_eq(run(no_y, region, scratch), LATHE_E_POINTER);
  ck_assert_int_eq(run(odd_y, region, scratch), LATHE_E_POINTER);
  ck_assert_int_eq(run(io, NULL, scratch), LATHE_E_POINTER);
  ck_assert_int_eq(run(io, region + 4, scratch), LATHE_E_POINTER);
  ck_assert_int_eq(run(io, region, NULL), LATHE_E_POINTER);
  ck_assert_int_eq(run(io, region, scratch + 1), LATHE_E_POINTER);
  for (size_t i = 0; i < offsetof(lt_image_header, bytes); i++) { /* any byte of magic, ABI, kind and model */
    region[i] ^= 0x40;
    ck_assert_int_eq(run(io, region, scratch), LATHE_E_MODEL);
    region[i] ^= 0x40;
  }
  region[offsetof(lt_image_header, kind)] = LT_IMAGE_PACKED; /* a kind it does not take */
  ck_assert_int_eq(run(io, region, scratch), LATHE_E_MODEL);
  ck_assert_float_eq(y[0], -1); /* nothing was touched */
  set_memory();
  ck_assert_int_eq(run(io, region, scratch), 0);
  check_values(0.5f, true);
  const void *one_element_off[5] = {x + 1, NULL, y + 1, z + 1, NULL}; /* element alignment is enough */
  ck_assert_int_eq(run(one_element_off, region, scratch), 0);
  lt_code_free(m.code_);
}
END_TEST

START_TEST(null_outputs_and_hyperparameters) {
  model m;
  init(&m);
  must_compile(&m);
  FUNCTION(lt_entry_fn, run, &m, "run");
  float lr = 2;
  set_memory();
  ck_assert_int_eq(run((const void *[]){x, &lr, y, NULL, NULL}, region, scratch), 0);
  check_values(2, false);
  lt_code_free(m.code_);
}
END_TEST

typedef struct counts { int calls; int64_t tasks; } counts;
static void backwards(void *ctx, int64_t n, void (*body)(void *, int64_t), void *arg) {
  counts *c = ctx;
  c->calls++, c->tasks += n;
  for (int64_t i = n; i-- > 0;) body(arg, i);
}

START_TEST(tasks_go_through_the_callers_threads) {
  model m;
  init(&m);
  must_compile(&m);
  FUNCTION(lt_entry_fn, run, &m, "run");
  counts c = {0};
  lathe_parallel p = {&c, backwards};
  set_memory();
  ck_assert_int_eq(run((const void *[]){x, NULL, y, z, &p}, region, scratch), 0);
  check_values(0.5f, true);
  ck_assert_int_eq(c.calls, 3);
  ck_assert_int_eq(c.tasks, 3 * ROWS);
  lt_code_free(m.code_);
}
END_TEST

START_TEST(two_regions_and_steps) {
  model m;
  init(&m);
  m.two = m.steps = true;
  m.buffer[2] = (lt_buffer){.region = LT_REGION_OUT, .offset = LT_IMAGE_HEADER, .bytes = m.buffer[2].bytes};
  m.slot[2].nullable = true;
  m.plan.out_bytes = LT_IMAGE_HEADER + m.buffer[2].bytes, m.plan.out_kind = LT_IMAGE_PACKED;
  must_compile(&m);
  ck_assert_int_eq((int)lt_code_functions(m.code_), 2); /* three kernels, two of them the same code */
  FUNCTION(lt_half_fn, pack, &m, "run");
  FUNCTION(lt_step_fn, step, &m, "run_step");
  static _Alignas(64) unsigned char out[sizeof region];
  set_memory();
  const void *io[5] = {x, NULL, NULL, z, NULL};
  ck_assert_int_eq(pack(io, region, NULL, scratch), LATHE_E_POINTER);
  ck_assert_int_eq(pack(io, region, out, scratch), 0);
  lt_image_header h, want = {.abi = 1, .kind = LT_IMAGE_PACKED, .model = m.plan.model, .bytes = sizeof out};
  memcpy(want.magic, LT_IMAGE_MAGIC, sizeof want.magic);
  memcpy(&h, out, sizeof h);
  ck_assert_mem_eq(&h, &want, sizeof h);
  memcpy(y, out + LT_IMAGE_HEADER, sizeof y - sizeof *y);
  check_values(0.5f, true);
  memset(out, 0, sizeof out), set_memory();
  for (int k = 0; k < 3; k++) ck_assert_int_eq(step(io, region, out, scratch, k), 0);
  memcpy(y, out + LT_IMAGE_HEADER, sizeof y - sizeof *y);
  check_values(0.5f, true);
  ck_assert_int_eq(step(io, region, out, scratch, 3), LATHE_E_INVALID);
  ck_assert_int_eq(step(io, region, out, scratch, -1), LATHE_E_INVALID);
  ck_assert_ptr_null(find(&m, "train"));
  lt_code_free(m.code_);
}
END_TEST

START_TEST(code_comes_and_goes) {
  model m;
  init(&m);
  must_compile(&m);
  lt_code *first = m.code_;
  FUNCTION(lt_entry_fn, run, &m, "run");
  int64_t live = lt_mem_live();
  for (int i = 0; i < 50; i++) {
    must_compile(&m);
    lt_code_free(m.code_);
  }
  ck_assert_int_eq(lt_mem_live(), live);
  set_memory();
  ck_assert_int_eq(run((const void *[]){x, NULL, y, z, NULL}, region, scratch), 0);
  check_values(0.5f, true);
  lt_code_free(first);
  lt_code_free(NULL);
}
END_TEST

typedef struct texts { model m; lt_bytes object[2]; } texts;
static void emit_twice(lt_job *job, void *arg) {
  texts *s = arg;
  lt_arena *a = lt_arena_new(job);
  lt_target t;
  lt_target_host(&t, job, a, "x86-64", NULL);
  lt_module_entry e = {.plan = &s->m.plan};
  for (int i = 0; i < 2; i++) s->object[i] = lt_emit_object(job, a, &t, &e, 1);
  ck_assert_uint_eq(s->object[0].n, s->object[1].n);
  ck_assert_mem_eq(s->object[0].at, s->object[1].at, s->object[0].n);
  lt_str text;
  lt_str_init(&text, a);
  lt_emit_text(&text, job, &t, &e, 1, false);
  ck_assert_ptr_nonnull(strstr(text.at, "define i32 @run(ptr"));
  lt_emit_text(&text, job, &t, &e, 1, true);
  ck_assert_ptr_nonnull(strstr(text.at, "run:"));
}

START_TEST(the_same_object_twice) {
  texts s = {.object = {{NULL, 0}}};
  init(&s.m);
  ck_assert_msg(lt_protect(&s.m.error, emit_twice, &s) == LATHE_OK, "%s", s.m.error.message);
}
END_TEST

/* The entry's assembly as LLVM makes it on this level; LLVMCodeGenLevelNone: on ours. */
static const char *assembly_at(lt_job *job, const lt_module_entry *e, const lt_target *t, LLVMCodeGenOptLevel level) {
  lt_arena *a = lt_arena_new(job);
  lt_module *m = lt_module_of(job, a, t, e, 1, true);
  if (level != LLVMCodeGenLevelNone) {
    LLVMTargetRef target = LLVMGetTargetMachineTarget(m->machine);
    LLVMDisposeTargetMachine(m->machine);
    m->machine =
      LLVMCreateTargetMachine(target, t->triple, t->cpu, t->features, level, LLVMRelocPIC, LLVMCodeModelDefault);
  }
  LLVMMemoryBufferRef text = lt_module_emit(m, LLVMAssemblyFile);
  const char *copy = lt_arena_strndup(a, LLVMGetBufferStart(text), LLVMGetBufferSize(text));
  LLVMDisposeMemoryBuffer(text);
  return copy;
}

static void emit_on_levels(lt_job *job, void *arg) {
  model *m = arg;
  lt_target t;
  lt_target_cross(&t, job, lt_arena_new(job), "x86_64-linux-gnu", "znver4", NULL);
  lt_module_entry e = {.plan = &m->plan};
  const char *own = assembly_at(job, &e, &t, LLVMCodeGenLevelNone);
  ck_assert_str_eq(own, assembly_at(job, &e, &t, LLVMCodeGenLevelLess));
  ck_assert_str_ne(own, assembly_at(job, &e, &t, LLVMCodeGenLevelDefault));
}

/* LLVM would list the instructions once more at the end for this CPU, and take its time for it. */
START_TEST(scheduled_once) {
  model m;
  init(&m);
  ck_assert_msg(lt_protect(&m.error, emit_on_levels, &m) == LATHE_OK, "%s", m.error.message);
}
END_TEST

/* Functions of the module that are only translated; "": none. */
static const char *cold_of(lt_job *job, const lt_target *t, const lt_module_entry *e, size_t n) {
  lt_arena *a = lt_arena_new(job);
  lt_module *m = lt_module_of(job, a, t, e, n, true);
  unsigned optnone = LLVMGetEnumAttributeKindForName("optnone", 7);
  lt_str names;
  lt_str_init(&names, a);
  for (LLVMValueRef f = LLVMGetFirstFunction(m->l.mod); f; f = LLVMGetNextFunction(f)) {
    size_t k;
    if (LLVMGetEnumAttributeAtIndex(f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, optnone))
      lt_str_printf(&names, "%s ", LLVMGetValueName2(f, &k));
  }
  return names.n ? names.at : "";
}

/* Kernel 0 copies x, as packing does with weights. */
static void look_for_cold(lt_job *job, void *arg) {
  model *m = arg;
  lt_target t;
  lt_target_host(&t, job, lt_arena_new(job), NULL, NULL);
  lt_buffer buffer[6];
  lt_plan pack = m->plan;
  for (int i = 0; i < 6; i++) buffer[i] = m->buffer[4];
  buffer[5].region = LT_REGION_OUT, pack.out_bytes = pack.region_bytes, pack.scratch_bytes = 0;
  pack.name = "pack", pack.n_kernel = 1, pack.n_slot = 0, pack.buffer = buffer;
  lt_module_entry run = {.plan = &m->plan}, packs = {.plan = &pack, .pack = true}, both[] = {run, packs};
  ck_assert_str_eq(cold_of(job, &t, &run, 1), "run ");
  ck_assert_str_eq(cold_of(job, &t, &packs, 1), "kernel.0 pack ");
  ck_assert_str_eq(cold_of(job, &t, both, 2), "run pack "); /* one function for both */
  ck_assert_str_eq(cold_of(job, &t, (lt_module_entry[]){packs, run}, 2), "kernel.0 pack run ");
  t.small = true;
  ck_assert_str_eq(cold_of(job, &t, both, 2), "");
}

START_TEST(cold_code_is_translated_only) {
  model m;
  init(&m);
  m.kernel[0].n_expr = 1, m.store[0].value = 0;
  ck_assert_msg(lt_protect(&m.error, look_for_cold, &m) == LATHE_OK, "%s", m.error.message);
}
END_TEST

START_TEST(no_executable_memory) {
  if (prctl(PR_SET_MDWE, 1, 0, 0, 0)) LT_SKIP("this kernel has no PR_SET_MDWE (Linux 6.3)");
  model m;
  init(&m);
  ck_assert_int_eq(lt_protect(&m.error, compile, &m), LATHE_E_UNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(m.error.message, "cannot load the compiled code: "));
  ck_assert_ptr_nonnull(strstr(m.error.message, "ermission denied"));
}
END_TEST

LT_SUITE(module, no_executable_memory, checks_what_it_is_given, null_outputs_and_hyperparameters,
         tasks_go_through_the_callers_threads, two_regions_and_steps, code_comes_and_goes, the_same_object_twice,
         scheduled_once, cold_code_is_translated_only)
LT_TEST_MAIN(module)
