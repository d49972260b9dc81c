/* module.c: plans become a module: every kernel a function, equal kernels one function, every entry a function that checks
 * what it is given, computes addresses and calls kernels in order.
 *
 *   int NAME(io, region, scratch)                        run, train, grad
 *   int NAME(io, region, out, scratch)                   with two regions: backward, apply
 *   int NAME(out, region)                                pack
 *   int NAME_step(io, region, out, scratch, i64 kernel)  one kernel, for bench
 *
 * A kernel's buffers are passed as an array of addresses in the entry's frame, which is its only memory. Kernels with
 * several tasks go through the caller's `lathe_parallel` where there is one and the kernel is worth the trouble. */
#include "codegen/module.h"
#include "codegen/cpu/tile.h"

#include <llvm-c/Analysis.h>
#include <stdio.h>
#include <stdlib.h>

/* Less than this takes a core about five microseconds: done before other threads have woken up. */
enum { SERIAL_FLOP = 500000, SERIAL_BYTES = 256 << 10 };

int64_t lt_kernel_tasks(const lt_kernel *k) {
  if (k->kind == LT_K_CONTRACT) return lt_contract_tasks(k);
  int64_t n = 1;
  for (unsigned d = 0; d < k->n_task_dims; d++) n *= k->extent[d];
  return n;
}

/* ---- kernels ---- */

typedef struct kernels { lt_map by_key; uint32_t n; } kernels;

static LLVMValueRef kernel_function(lt_ll *l, kernels *all, const lt_kernel *k) {
  lt_str key;
  lt_str_init(&key, l->arena);
  lt_kernel_key(&key, k);
  uintptr_t found;
  if (lt_map_get(&all->by_key, key.at, key.n, &found)) return (LLVMValueRef)found;
  const char *name = lt_arena_printf(l->arena, "kernel.%u", all->n++); /* not a C name: those are for entries */
  LLVMValueRef fn = lt_ll_function(l, name, true);
  switch (k->kind) {
  case LT_K_LOOPS: lt_emit_loops(l, k); break;
  case LT_K_REDUCE: lt_emit_reduce(l, k); break;
  case LT_K_CONTRACT: lt_emit_contract(l, k); break;
  case LT_K_GATHER:
  case LT_K_SCATTER:
  case LT_K_BORDER: lt_emit_gather(l, k); break;
  default: lt_fail(l->job, LATHE_E_INTERNAL, NULL, "code generation: no kernels of kind %d", (int)k->kind);
  }
  LLVMBuildRetVoid(l->b);
  lt_map_put(l->arena, &all->by_key, key.at, key.n, (uintptr_t)fn);
  return fn;
}

/* ---- entries ---- */

typedef struct entry {
  lt_ll *l;
  const lt_plan *plan;
  kernels *kernels;
  LLVMValueRef *function;        /* by kernel of the plan */
  LLVMValueRef run;              /* run(parallel, tasks, kernel, bufs) */
  LLVMTypeRef run_type;
  LLVMValueRef consts;
  LLVMValueRef io, region, out, scratch, parallel, *slot, *present; /* in the function being filled; present: i1 or NULL */
  LLVMValueRef bufs;
  const lt_module *module;
  const lt_module_entry *as;
} entry;

static LLVMTypeRef kernel_type(lt_ll *l) { return LLVMFunctionType(l->void_, (LLVMTypeRef[]){l->ptr, l->i64}, 2, false); }

static LLVMValueRef load_ptr(lt_ll *l, LLVMValueRef base, int64_t index) {
  LLVMValueRef i = lt_ll_i64(l, index);
  return LLVMBuildLoad2(l->b, l->ptr, LLVMBuildInBoundsGEP2(l->b, l->ptr, base, &i, 1, ""), "");
}

/* run(parallel, n, kernel, bufs): the tasks in a loop, or given to the caller's threads. */
static void emit_run(entry *e) {
  lt_ll *l = e->l;
  e->run_type = LLVMFunctionType(l->void_, (LLVMTypeRef[]){l->ptr, l->i64, l->ptr, l->ptr}, 4, false);
  e->run = l->fn = LLVMAddFunction(l->mod, "tasks.run", e->run_type);
  LLVMSetLinkage(e->run, LLVMInternalLinkage);
  lt_ll_attributes(l, e->run);
  LLVMPositionBuilderAtEnd(l->b, lt_ll_block(l));
  LLVMValueRef parallel = LLVMGetParam(l->fn, 0), n = LLVMGetParam(l->fn, 1), fn = LLVMGetParam(l->fn, 2), bufs = LLVMGetParam(l->fn, 3);
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
  LLVMValueRef ctx = load_ptr(l, parallel, 0), run = load_ptr(l, parallel, 1);
  LLVMBuildCall2(l->b, hook, run, (LLVMValueRef[]){ctx, n, fn, bufs}, 4, "");
  LLVMBuildRetVoid(l->b);
}

static LLVMValueRef either(lt_ll *l, LLVMValueRef a, LLVMValueRef b) { return a ? LLVMBuildOr(l->b, a, b, "") : b; }

/* A region of no bytes may be null, and is not looked at. */
static LLVMValueRef bad_region(lt_ll *l, LLVMValueRef bad, LLVMValueRef p, int64_t bytes) {
  if (bytes == 0) return bad;
  bad = either(l, bad, lt_ll_is_null(l, p));
  return either(l, bad, lt_ll_misaligned(l, p, LT_ALIGN));
}

static LLVMValueRef bad_slots(entry *e) {
  lt_ll *l = e->l;
  LLVMValueRef bad = NULL;
  for (uint32_t i = 0; i < e->plan->n_slot; i++) {
    const lt_slot *s = &e->plan->slot[i];
    if (s->unused) continue;
    int64_t align = (int64_t)lt_dtype_size(s->type.dtype);
    e->slot[i] = load_ptr(l, e->io, i);
    e->present[i] = s->nullable ? LLVMBuildNot(l->b, lt_ll_is_null(l, e->slot[i]), "") : NULL;
    if (!s->nullable) bad = either(l, bad, lt_ll_is_null(l, e->slot[i]));
    if (align > 1) bad = either(l, bad, lt_ll_misaligned(l, e->slot[i], align));
    if (!s->nullable || s->role == LT_SLOT_OUTPUT) continue;
    e->slot[i] = LLVMBuildSelect(l->b, e->present[i], e->slot[i], lt_ll_bytes_on(l, e->consts, s->def_offset), "");
  }
  return bad;
}

/* A null region is the object's own, where there is one of its kind. */
static void choose_region(entry *e) {
  const lt_object *o = e->module->object;
  for (unsigned i = 0; o && i < LT_COUNT(o->embedded); i++) {
    if (!o->embedded[i].symbol || !(e->plan->region_kinds >> o->embedded[i].kind & 1)) continue;
    LLVMValueRef none = lt_ll_is_null(e->l, e->region);
    e->region = LLVMBuildSelect(e->l->b, none, e->module->embedded[i], e->region, "");
  }
}

static uint32_t buffers_of(lt_ll *l, const lt_kernel *k, uint32_t **out) {
  uint32_t n = lt_kernel_buffers(k, NULL, 0);
  *out = LT_NEW_ARRAY(l->arena, uint32_t, n + 1);
  return lt_kernel_buffers(k, *out, n);
}

/* Check everything, load what kernels will need. The frame's array has room for the most buffers a kernel takes. */
static void emit_prologue(entry *e) {
  lt_ll *l = e->l;
  const lt_plan *p = e->plan;
  uint32_t most = 1, *ids;
  for (uint32_t i = 0; i < p->n_kernel; i++) {
    uint32_t n = buffers_of(l, &p->kernel[i], &ids);
    most = LT_MAX(most, n);
  }
  e->bufs = LLVMBuildArrayAlloca(l->b, l->ptr, LLVMConstInt(l->i32, most, false), "bufs");
  if (e->io) lt_ll_return_if(l, lt_ll_is_null(l, e->io), LATHE_E_POINTER);
  choose_region(e);
  LLVMValueRef bad = bad_slots(e);
  bad = bad_region(l, bad, e->region, p->region_bytes);
  bad = bad_region(l, bad, e->scratch, p->scratch_bytes);
  if (e->out) bad = bad_region(l, bad, e->out, p->out_bytes);
  lt_ll_return_if(l, bad, LATHE_E_POINTER);
  if (p->region_kinds)
    lt_ll_return_if(l, lt_ll_bad_header(l, e->region, (lt_header_of){p->region_kinds, p->model, p->state_model}), LATHE_E_MODEL);
  if (p->out_kinds && e->out)
    lt_ll_return_if(l, lt_ll_bad_header(l, e->out, (lt_header_of){p->out_kinds, p->model, p->state_model}), LATHE_E_MODEL);
  const lt_object *o = e->module->object;
  bool parallel = e->io && (!o || o->parallel);
  e->parallel = parallel ? load_ptr(l, e->io, p->n_slot) : LLVMConstNull(l->ptr);
}

static LLVMValueRef address_of(const entry *e, const lt_buffer *b) {
  switch (b->region) {
  case LT_REGION_IO: return lt_ll_bytes_on(e->l, e->slot[b->slot], b->offset);
  case LT_REGION_STATE: return lt_ll_bytes_on(e->l, e->region, b->offset);
  case LT_REGION_OUT: return lt_ll_bytes_on(e->l, e->out, b->offset);
  case LT_REGION_SCRATCH: return lt_ll_bytes_on(e->l, e->scratch, b->offset);
  default: return lt_ll_bytes_on(e->l, e->consts, b->offset);
  }
}

/* An i1 that says whether to run k at all, NULL: always. Stores into outputs that the caller does not want are skipped. */
static LLVMValueRef wanted(const entry *e, const lt_kernel *k) {
  for (uint32_t i = 0; i < k->n_store; i++) {
    const lt_buffer *b = &e->plan->buffer[k->store[i].to.buffer];
    if (b->region == LT_REGION_IO && e->plan->slot[b->slot].role == LT_SLOT_OUTPUT && e->present[b->slot]) return e->present[b->slot];
  }
  return NULL;
}

static void emit_call(entry *e, uint32_t index) {
  lt_ll *l = e->l;
  const lt_kernel *k = &e->plan->kernel[index];
  LLVMBasicBlockRef after = NULL;
  LLVMValueRef want = wanted(e, k);
  if (want) {
    LLVMBasicBlockRef then = lt_ll_block(l);
    after = lt_ll_block(l);
    LLVMBuildCondBr(l->b, want, then, after);
    LLVMPositionBuilderAtEnd(l->b, then);
  }
  uint32_t *ids, n = buffers_of(l, k, &ids);
  for (uint32_t i = 0; i < n; i++) {
    LLVMValueRef at = lt_ll_i64(l, i);
    LLVMBuildStore(l->b, address_of(e, &e->plan->buffer[ids[i]]), LLVMBuildInBoundsGEP2(l->b, l->ptr, e->bufs, &at, 1, ""));
  }
  int64_t tasks = lt_kernel_tasks(k);
  LLVMValueRef fn = e->function[index], serial = LLVMConstNull(l->ptr);
  bool small = k->flop < SERIAL_FLOP && k->bytes < SERIAL_BYTES;
  if (tasks == 1) LLVMBuildCall2(l->b, kernel_type(l), fn, (LLVMValueRef[]){e->bufs, lt_ll_i64(l, 0)}, 2, "");
  else LLVMBuildCall2(l->b, e->run_type, e->run, (LLVMValueRef[]){small ? serial : e->parallel, lt_ll_i64(l, tasks), fn, e->bufs}, 4, "");
  if (!after) return;
  LLVMBuildBr(l->b, after);
  LLVMPositionBuilderAtEnd(l->b, after);
}

static void begin_function(entry *e, const char *name, bool out, bool kernel) {
  lt_ll *l = e->l;
  bool pack = e->as->pack;
  unsigned n = 0;
  LLVMTypeRef param[5];
  for (n = 0; n < (pack ? 2u : out ? 4u : 3u); n++) param[n] = l->ptr;
  if (kernel) param[n++] = l->i64;
  lt_ll_begin(l, name, l->i32, param, n, false);
  n = 0;
  e->io = pack ? NULL : LLVMGetParam(l->fn, n++);
  if (pack) e->out = LLVMGetParam(l->fn, n++);
  e->region = LLVMGetParam(l->fn, n++);
  if (out && !pack) e->out = LLVMGetParam(l->fn, n++);
  e->scratch = pack ? NULL : LLVMGetParam(l->fn, n++);
}

/* What no kernel writes of a second region that the entry makes is zero: gaps, and what no gradient is for. */
static void zero_gaps(const entry *e) {
  const lt_plan *p = e->plan;
  if (!p->out_kind || p->out_kind == LT_IMAGE_PACKED) return;
  int64_t at = LT_IMAGE_HEADER;
  while (at < p->out_bytes) {
    int64_t next = p->out_bytes, end = at;
    for (uint32_t i = 0; i < p->n_buffer; i++) {
      const lt_buffer *x = &p->buffer[i];
      if (x->region != LT_REGION_OUT || x->first < 0 || x->offset + x->bytes <= at) continue;
      if (x->offset <= at) end = LT_MAX(end, x->offset + x->bytes);
      else next = LT_MIN(next, x->offset);
    }
    if (end == at) lt_ll_zero(e->l, lt_ll_bytes_on(e->l, e->out, at), next - at), at = next;
    else at = end;
  }
}

static uint64_t model_of(const lt_plan *p, uint32_t kind) {
  if (kind == LT_IMAGE_PACKED) return p->packed_model ? p->packed_model : p->model;
  return kind != LT_IMAGE_PARAMS && p->state_model ? p->state_model : p->model;
}

static void emit_entry(entry *e) {
  const lt_plan *p = e->plan;
  begin_function(e, e->as->symbol ? e->as->symbol : p->name, e->as->two_regions, false);
  emit_prologue(e);
  for (uint32_t i = 0; i < p->n_kernel; i++) emit_call(e, i);
  if (e->out) zero_gaps(e);
  if (e->out && p->out_kind) lt_ll_write_header(e->l, e->out, p->out_kind, model_of(p, p->out_kind), p->out_bytes);
  lt_ll_return(e->l, 0);
}

static void emit_step(entry *e) {
  lt_ll *l = e->l;
  begin_function(e, lt_arena_printf(l->arena, "%s_step", e->plan->name), true, true);
  emit_prologue(e);
  LLVMBasicBlockRef none = lt_ll_block(l);
  LLVMValueRef sw = LLVMBuildSwitch(l->b, LLVMGetParam(l->fn, 4), none, e->plan->n_kernel);
  LLVMPositionBuilderAtEnd(l->b, none);
  lt_ll_return(l, LATHE_E_INVALID);
  for (uint32_t i = 0; i < e->plan->n_kernel; i++) {
    LLVMBasicBlockRef block = lt_ll_block(l);
    LLVMAddCase(sw, lt_ll_i64(l, i), block);
    LLVMPositionBuilderAtEnd(l->b, block);
    emit_call(e, i);
    lt_ll_return(l, 0);
  }
}

/* Constants of a plan: bytes of the module, never written. */
static LLVMValueRef emit_consts(lt_ll *l, const lt_plan *p) {
  if (!p->const_bytes) return LLVMConstNull(l->ptr);
  LLVMTypeRef t = LLVMArrayType2(l->i8, (uint64_t)p->const_bytes);
  LLVMValueRef g = LLVMAddGlobal(l->mod, t, lt_arena_printf(l->arena, "%s.consts", p->name));
  LLVMSetInitializer(g, LLVMConstStringInContext2(l->ctx, (const char *)p->consts, (size_t)p->const_bytes, true));
  LLVMSetGlobalConstant(g, true);
  LLVMSetLinkage(g, LLVMInternalLinkage);
  LLVMSetAlignment(g, LT_ALIGN);
  return g;
}

static void emit_plan(const lt_module *module, lt_ll *l, kernels *all, entry *run, const lt_module_entry *m) {
  const lt_plan *p = m->plan;
  entry e = {.l = l, .plan = p, .kernels = all, .run = run->run, .run_type = run->run_type, .module = module, .as = m};
  e.function = LT_NEW_ARRAY(l->arena, LLVMValueRef, p->n_kernel + 1u);
  e.slot = LT_NEW_ARRAY(l->arena, LLVMValueRef, p->n_slot + 1u);
  e.present = LT_NEW_ARRAY(l->arena, LLVMValueRef, p->n_slot + 1u);
  for (uint32_t i = 0; i < p->n_kernel; i++) e.function[i] = kernel_function(l, all, &p->kernel[i]);
  e.consts = emit_consts(l, p);
  emit_entry(&e);
  if (m->steps) emit_step(&e);
}

/* ---- the module ---- */

static void release(void *arg) {
  lt_module *m = arg;
  if (m->machine) LLVMDisposeTargetMachine(m->machine);
  if (m->l.b) LLVMDisposeBuilder(m->l.b);
  if (m->l.mod) LLVMDisposeModule(m->l.mod);
  if (m->l.ctx) LLVMContextDispose(m->l.ctx);
}

/* "…stack frame size (64) exceeds limit (0) in function 'kernel.3'" */
static void note_frame(lt_module *m, const char *text) {
  const char *size = strstr(text, "stack frame size ("), *name = strstr(text, "in function '");
  if (!size || !name) return;
  name += strlen("in function '");
  size_t n = strcspn(name, "'");
  for (uint32_t i = 0; i < m->n_frame; i++) {
    size_t k;
    const char *own = LLVMGetValueName2(m->frame[i].fn, &k);
    if (k == n && memcmp(own, name, n) == 0) m->frame[i].bytes = strtoll(size + strlen("stack frame size ("), NULL, 10);
  }
}

/* Called from inside LLVM: only notes what was said (no unwinding through frames that are not ours). */
static void note(LLVMDiagnosticInfoRef info, void *arg) {
  lt_module *m = arg;
  bool error = LLVMGetDiagInfoSeverity(info) == LLVMDSError;
  if (error ? *m->problem : !m->n_frame) return;
  char *text = LLVMGetDiagInfoDescription(info);
  if (error) snprintf(m->problem, sizeof m->problem, "%s", text);
  else note_frame(m, text);
  LLVMDisposeMessage(text);
}

LT_NORETURN static void fail_llvm(lt_module *m, const char *doing, char *message) {
  const char *text = lt_arena_strdup(m->l.arena, message ? message : "");
  LLVMDisposeMessage(message);
  lt_fail(m->l.job, LATHE_E_INTERNAL, NULL, "%s: %s", doing, text);
}

static void open_target(lt_module *m, const lt_target *t) {
  LLVMTargetRef target;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(t->triple, &target, &message)) fail_llvm(m, "code generation", message);
  LLVMTargetMachineOptionsRef o = LLVMCreateTargetMachineOptions();
  LLVMTargetMachineOptionsSetCPU(o, t->cpu);
  LLVMTargetMachineOptionsSetFeatures(o, t->features);
  if (t->abi && *t->abi) LLVMTargetMachineOptionsSetABI(o, t->abi);
  LLVMTargetMachineOptionsSetCodeGenOptLevel(o, LLVMCodeGenLevelDefault);
  bool wasm = strncmp(t->triple, "wasm", 4) == 0; /* its position-independent code needs a dynamic linker */
  LLVMTargetMachineOptionsSetRelocMode(o, wasm ? LLVMRelocStatic : LLVMRelocPIC);
  m->machine = LLVMCreateTargetMachineWithOptions(target, t->triple, o);
  LLVMDisposeTargetMachineOptions(o);
  LLVMSetTarget(m->l.mod, t->triple);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(m->machine);
  LLVMSetModuleDataLayout(m->l.mod, layout);
  LLVMDisposeTargetData(layout);
}

static void open_context(lt_ll *l) {
  LLVMContextRef c = l->ctx = LLVMContextCreate();
  l->b = LLVMCreateBuilderInContext(c);
  l->mod = LLVMModuleCreateWithNameInContext("lathe", c);
  LLVMSetSourceFileName(l->mod, "", 0); /* otherwise the module's name enters the object as a symbol */
  l->i1 = LLVMInt1TypeInContext(c), l->i8 = LLVMInt8TypeInContext(c), l->i32 = LLVMInt32TypeInContext(c);
  l->i64 = LLVMInt64TypeInContext(c), l->f32 = LLVMFloatTypeInContext(c), l->f64 = LLVMDoubleTypeInContext(c);
  l->ptr = LLVMPointerTypeInContext(c, 0), l->void_ = LLVMVoidTypeInContext(c);
}

/* Checking costs a tenth of the whole: only where asserts are on or LATHE_VERIFY_LLVM asks for it. */
static void verify(lt_module *m) {
#ifdef NDEBUG
  if (!getenv("LATHE_VERIFY_LLVM")) return;
#endif
  char *message = NULL;
  if (LLVMVerifyModule(m->l.mod, LLVMReturnStatusAction, &message)) fail_llvm(m, "code generation made a broken module", message);
  LLVMDisposeMessage(message);
}

lt_module *lt_module_linkable(lt_job *job, lt_arena *a, const lt_target *t, const lt_module_entry *entries, size_t n, const lt_object *o,
                              const lt_libcalls *calls) {
  lt_llvm_init();
  lt_module *m = LT_NEW(a, lt_module);
  m->l = (lt_ll){.job = job, .arena = a, .target = t};
  m->object = o;
  lt_defer(job, release, m);
  open_context(&m->l);
  LLVMContextSetDiagnosticHandler(m->l.ctx, note, m);
  open_target(m, t);
  if (o) lt_object_begin(m);
  kernels all = {0};
  entry run = {.l = &m->l};
  emit_run(&run);
  for (size_t i = 0; i < n; i++) emit_plan(m, &m->l, &all, &run, &entries[i]);
  if (o && o->state) lt_emit_state(&m->l, o->state);
  m->functions = all.n;
  if (calls) lt_libcalls_add(m, calls);
  if (o) lt_object_end(m);
  verify(m);
  return m;
}

lt_module *lt_module_new(lt_job *job, lt_arena *a, const lt_target *t, const lt_module_entry *entries, size_t n) {
  return lt_module_linkable(job, a, t, entries, n, NULL, NULL);
}

LLVMMemoryBufferRef lt_module_emit(lt_module *m, LLVMCodeGenFileType type) {
  char *message = NULL;
  LLVMMemoryBufferRef buffer = NULL;
  if (LLVMTargetMachineEmitToMemoryBuffer(m->machine, m->l.mod, type, &message, &buffer)) fail_llvm(m, "code generation", message);
  if (*m->problem) {
    LLVMDisposeMemoryBuffer(buffer);
    lt_fail(m->l.job, LATHE_E_INTERNAL, NULL, "code generation: %s", m->problem);
  }
  return buffer;
}
