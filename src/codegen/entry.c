/* entry.c: every entry a function that checks what it is given, computes addresses and calls kernels in order.
 *
 *   int NAME(io, region, scratch)                        run, train, grad
 *   int NAME(io, region, out, scratch)                   with two regions: backward, apply
 *   int NAME(out, region)                                pack
 *   int NAME(out, item, parallel)                        pack of weights that stand one by one: a table of addresses
 *   int NAME_step(io, region, out, scratch, i64 kernel)  one kernel, for bench
 *
 * A kernel's buffers are passed as an array of addresses in the entry's frame, which is its only memory. An entry of
 * many kernels calls functions of PART kernels each: LLVM's time for one function grows faster than its length. */
#include "codegen/module.h"
#include "codegen/cpu/kernels.h"
#include "plan/operands.h"

enum { PART = 64 };

typedef struct entry {
  lt_ll *l;
  const lt_plan *plan;
  lt_kernels *kernels;
  LLVMValueRef *function; /* by kernel of the plan */
  int64_t **base;         /* the same, and by operand: elements that its address is moved on */
  LLVMValueRef consts;
  /* in the function being filled; present: i1 or NULL */
  LLVMValueRef io, region, out, scratch, parallel, *slot, *present;
  LLVMValueRef bufs;
  const lt_module *module;
  const lt_module_entry *as;
} entry;

static LLVMValueRef either(lt_ll *l, LLVMValueRef a, LLVMValueRef b) { return a ? LLVMBuildOr(l->b, a, b, "") : b; }

/* A region of no bytes may be null, and is not looked at. */
static LLVMValueRef bad_region(lt_ll *l, LLVMValueRef bad, LLVMValueRef p, int64_t bytes) {
  if (bytes == 0) return bad;
  bad = either(l, bad, lt_ll_is_null(l, p));
  return either(l, bad, lt_ll_misaligned(l, p, LT_ALIGN));
}

/* The pointer of slot i; adds to `bad`, where that is asked for, what is wrong with it. */
static void load_slot(entry *e, uint32_t i, LLVMValueRef *bad) {
  lt_ll *l = e->l;
  const lt_slot *s = &e->plan->slot[i];
  if (s->unused) return;
  int64_t align = (int64_t)lt_dtype_size(s->type.dtype);
  e->slot[i] = lt_ll_load_ptr(l, e->io, i);
  e->present[i] = s->nullable ? LLVMBuildNot(l->b, lt_ll_is_null(l, e->slot[i]), "") : NULL;
  if (bad && !s->nullable) *bad = either(l, *bad, lt_ll_is_null(l, e->slot[i]));
  if (bad && align > 1) *bad = either(l, *bad, lt_ll_misaligned(l, e->slot[i], align));
  if (!s->nullable || s->role == LT_SLOT_OUTPUT) return;
  e->slot[i] = LLVMBuildSelect(l->b, e->present[i], e->slot[i], lt_ll_bytes_on(l, e->consts, s->def_offset), "");
}

/* A null region is the module's own, where there is one of its kind. */
static void choose_region(entry *e) {
  for (unsigned i = 0; i < LT_COUNT(e->module->own); i++) {
    const lt_own_image *x = &e->module->own[i];
    if (!x->at || !(e->plan->region_kinds >> x->kind & 1)) continue;
    LLVMValueRef none = lt_ll_is_null(e->l, e->region);
    e->region = LLVMBuildSelect(e->l->b, none, x->at, e->region, "");
  }
}

/* An image that says it ends before what the entry reads of it is another one. */
static lt_header_of header_of(const lt_plan *p, uint32_t kinds, lt_region region) {
  lt_header_of want = {kinds, p->model, p->state_model, LT_IMAGE_HEADER, 0};
  for (uint32_t i = 0; i < p->n_buffer; i++)
    if (p->buffer[i].region == region) want.bytes = LT_MAX(want.bytes, p->buffer[i].offset + p->buffer[i].bytes);
  return want;
}

/* Room in the frame for the most buffers that a kernel takes. */
static void make_bufs(entry *e) {
  lt_ll *l = e->l;
  uint32_t most = 1;
  for (uint32_t i = 0; i < e->plan->n_kernel; i++) {
    uint32_t n = lt_kernel_buffers(&e->plan->kernel[i], NULL, 0);
    most = LT_MAX(most, n);
  }
  e->bufs = LLVMBuildArrayAlloca(l->b, l->ptr, LLVMConstInt(l->i32, most, false), "bufs");
}

/* Check everything, load what kernels will need. */
static void emit_prologue(entry *e) {
  lt_ll *l = e->l;
  const lt_plan *p = e->plan;
  make_bufs(e);
  if (e->io) lt_ll_return_if(l, lt_ll_is_null(l, e->io), LATHE_E_POINTER);
  choose_region(e);
  LLVMValueRef bad = NULL;
  for (uint32_t i = 0; i < p->n_slot; i++) load_slot(e, i, &bad);
  if (!e->as->image) bad = bad_region(l, bad, e->region, p->region_bytes);
  bad = bad_region(l, bad, e->scratch, p->scratch_bytes);
  if (e->out) bad = bad_region(l, bad, e->out, p->out_bytes);
  lt_ll_return_if(l, bad, LATHE_E_POINTER);
  if (p->region_kinds && !e->as->image)
    lt_ll_return_if(l, lt_ll_bad_header(l, e->region, header_of(p, p->region_kinds, LT_REGION_STATE)), LATHE_E_MODEL);
  if (p->out_kinds && e->out)
    lt_ll_return_if(l, lt_ll_bad_header(l, e->out, header_of(p, p->out_kinds, LT_REGION_OUT)), LATHE_E_MODEL);
  bool parallel = e->io && !e->module->serial;
  if (e->as->image) e->parallel = LLVMGetParam(l->fn, 2);
  else e->parallel = parallel ? lt_ll_load_ptr(l, e->io, p->n_slot) : LLVMConstNull(l->ptr);
}

/* On the item that begins last before these bytes. */
static LLVMValueRef on_item(const entry *e, int64_t offset) {
  const lt_image *image = e->as->image;
  uint32_t i = 0;
  while (i + 1 < image->n && image->item[i + 1].offset <= offset) i++;
  return lt_ll_bytes_on(e->l, lt_ll_load_ptr(e->l, e->region, i), offset - image->item[i].offset);
}

static LLVMValueRef address_of(const entry *e, const lt_buffer *b) {
  switch (b->region) {
  case LT_REGION_IO: return lt_ll_bytes_on(e->l, e->slot[b->slot], b->offset);
  case LT_REGION_STATE:
    if (e->as->image) return on_item(e, b->offset);
    return lt_ll_bytes_on(e->l, e->region, b->offset);
  case LT_REGION_OUT: return lt_ll_bytes_on(e->l, e->out, b->offset);
  case LT_REGION_SCRATCH: return lt_ll_bytes_on(e->l, e->scratch, b->offset);
  case LT_REGION_CONST: return lt_ll_bytes_on(e->l, e->consts, b->offset);
  }
  lt_fail(e->l->job, LATHE_E_INTERNAL, NULL, "code generation: no region %d", (int)b->region);
}

/* An i1 that says whether to run k at all, NULL: always. Stores into outputs that the caller does not want are
 * skipped. */
static LLVMValueRef wanted(const entry *e, const lt_kernel *k) {
  for (uint32_t i = 0; i < k->n_store; i++) {
    const lt_buffer *b = &e->plan->buffer[k->store[i].to.buffer];
    if (b->region == LT_REGION_IO && e->plan->slot[b->slot].role == LT_SLOT_OUTPUT && e->present[b->slot])
      return e->present[b->slot];
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
  uint32_t n, *ids = lt_kernel_buffers_all(l->arena, k, &n), *same = lt_kernel_same_buffers(l->arena, k, &n);
  for (uint32_t i = 0; i < n; i++) {
    if (same[i] < i) continue; /* the kernel looks at the first */
    LLVMValueRef at = lt_ll_i64(l, i);
    const lt_buffer *b = &e->plan->buffer[ids[i]];
    LLVMValueRef begin = lt_ll_at(l, address_of(e, b), NULL, b->dtype, e->base[index][i]);
    LLVMBuildStore(l->b, begin, LLVMBuildInBoundsGEP2(l->b, l->ptr, e->bufs, &at, 1, ""));
  }
  lt_kernels_call(e->kernels, k, e->function[index], e->bufs, e->parallel);
  if (!after) return;
  LLVMBuildBr(l->b, after);
  LLVMPositionBuilderAtEnd(l->b, after);
}

static void begin_function(entry *e, const char *name, bool out, bool kernel) {
  lt_ll *l = e->l;
  bool pack = e->as->pack;
  unsigned n = 0;
  LLVMTypeRef param[5];
  for (n = 0; n < (pack && !e->as->image ? 2u : out ? 4u : 3u); n++) param[n] = l->ptr;
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

/* Packing that reads nothing but constants makes what stands in the module already: it is copied, and the module need
 * not hold the constants as well. */
static LLVMValueRef packed_already(const lt_module *m, const lt_module_entry *x) {
  for (unsigned i = 0; x->pack && !x->plan->region_bytes && i < LT_COUNT(m->own); i++)
    if (m->own[i].kind == LT_IMAGE_PACKED) return m->own[i].at;
  return NULL;
}

static void emit_copy(entry *e, LLVMValueRef from) {
  lt_ll *l = e->l;
  LLVMTypeRef block = LLVMVectorType(l->i32, LT_ALIGN / 4);
  begin_function(e, e->as->symbol ? e->as->symbol : e->plan->name, false, false);
  lt_ll_return_if(l, bad_region(l, NULL, e->out, e->plan->out_bytes), LATHE_E_POINTER);
  lt_ll_loop loop = {0};
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, e->plan->out_bytes / LT_ALIGN), 1);
  LLVMValueRef read = LLVMBuildInBoundsGEP2(l->b, block, from, &loop.i, 1, "");
  LLVMValueRef v = LLVMBuildLoad2(l->b, block, read, "");
  LLVMBuildStore(l->b, v, LLVMBuildInBoundsGEP2(l->b, block, e->out, &loop.i, 1, ""));
  lt_ll_loop_end(l, &loop);
  lt_ll_return(l, 0);
}

static uint64_t model_of(const lt_plan *p, uint32_t kind) {
  if (kind == LT_IMAGE_PACKED) return p->packed_model ? p->packed_model : p->model;
  return kind != LT_IMAGE_PARAMS && p->state_model ? p->state_model : p->model;
}

static void check_indices(const entry *e) {
  for (uint32_t i = 0; i < e->plan->check.n; i++) {
    const lt_index_check *c = &e->plan->check.at[i];
    LLVMValueRef bad = lt_ll_bad_index(e->l, e->slot[c->slot], e->plan->slot[c->slot].type.dtype, c);
    lt_ll_return_if(e->l, bad, LATHE_E_DATA);
  }
}

static LLVMTypeRef part_type(lt_ll *l) {
  LLVMTypeRef param[] = {l->ptr, l->ptr, l->ptr, l->ptr, l->ptr};
  return LLVMFunctionType(l->void_, param, LT_COUNT(param), false);
}

/* NAME.part.N(io, region, out, scratch, parallel): kernels [first, last) of the entry, which has checked its arguments.
 */
static LLVMValueRef emit_part(entry *e, uint32_t first, uint32_t last) {
  lt_ll *l = e->l;
  const char *name = lt_arena_printf(l->arena, "%s.part.%u", e->plan->name, first / PART); /* not a C name */
  LLVMValueRef fn = l->fn = LLVMAddFunction(l->mod, name, part_type(l));
  LLVMSetLinkage(fn, LLVMInternalLinkage);
  lt_ll_attributes(l, fn);
  lt_ll_cold(l, fn);
  LLVMPositionBuilderAtEnd(l->b, lt_ll_block(l));
  e->io = LLVMGetParam(fn, 0), e->region = LLVMGetParam(fn, 1), e->out = LLVMGetParam(fn, 2);
  e->scratch = LLVMGetParam(fn, 3), e->parallel = LLVMGetParam(fn, 4);
  make_bufs(e);
  for (uint32_t i = 0; i < e->plan->n_slot; i++) load_slot(e, i, NULL);
  for (uint32_t i = first; i < last; i++) emit_call(e, i);
  LLVMBuildRetVoid(l->b);
  return fn;
}

static LLVMValueRef or_null(const lt_ll *l, LLVMValueRef v) { return v ? v : LLVMConstNull(l->ptr); }

static void call_part(entry *e, LLVMValueRef part) {
  lt_ll *l = e->l;
  LLVMValueRef arg[] = {or_null(l, e->io), or_null(l, e->region), or_null(l, e->out), or_null(l, e->scratch),
                        or_null(l, e->parallel)};
  LLVMBuildCall2(l->b, part_type(l), part, arg, LT_COUNT(arg), "");
}

static void emit_entry(entry *e) {
  const lt_plan *p = e->plan;
  uint32_t n_part = p->n_kernel > 2 * PART ? (p->n_kernel + PART - 1) / PART : 0;
  LLVMValueRef *part = LT_NEW_ARRAY(e->l->arena, LLVMValueRef, n_part + 1u);
  for (uint32_t i = 0; i < n_part; i++) part[i] = emit_part(e, i * PART, LT_MIN((i + 1) * PART, p->n_kernel));
  e->out = NULL;
  begin_function(e, e->as->symbol ? e->as->symbol : p->name, e->as->two_regions, false);
  if (!p->check.n) lt_ll_cold(e->l, e->l->fn);
  emit_prologue(e);
  check_indices(e);
  for (uint32_t i = 0; i < n_part; i++) call_part(e, part[i]);
  for (uint32_t i = 0; !n_part && i < p->n_kernel; i++) emit_call(e, i);
  if (e->out) zero_gaps(e);
  if (e->out && p->out_kind) lt_ll_write_header(e->l, e->out, p->out_kind, model_of(p, p->out_kind), p->out_bytes);
  lt_ll_return(e->l, 0);
}

static void emit_step(entry *e) {
  lt_ll *l = e->l;
  begin_function(e, lt_arena_printf(l->arena, "%s_step", e->plan->name), true, true);
  lt_ll_cold(l, l->fn);
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
static LLVMValueRef emit_consts(lt_module *m, const lt_plan *p) {
  if (!p->const_bytes) return LLVMConstNull(m->l.ptr);
  lt_embedding x = {.bytes = p->const_bytes, .piece = p->constant.at, .n = p->constant.n};
  return lt_embed(m, lt_arena_printf(m->l.arena, "%s.consts", p->name), x);
}

/* Weights in a file stand at any address. */
static void relax_loads(LLVMValueRef fn) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(fn); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef x = LLVMGetFirstInstruction(b); x; x = LLVMGetNextInstruction(x))
      if (LLVMIsALoadInst(x)) LLVMSetAlignment(x, 1);
}

static void emit_plan(lt_module *module, lt_kernels *all, const lt_module_entry *m) {
  lt_ll *l = &module->l;
  const lt_plan *p = m->plan;
  entry e = {.l = l, .plan = p, .kernels = all, .module = module, .as = m};
  LLVMValueRef packed = packed_already(module, m);
  if (packed && p->out_bytes % LT_ALIGN == 0) {
    emit_copy(&e, packed);
    return;
  }
  e.function = LT_NEW_ARRAY(l->arena, LLVMValueRef, p->n_kernel + 1u);
  e.slot = LT_NEW_ARRAY(l->arena, LLVMValueRef, p->n_slot + 1u);
  e.present = LT_NEW_ARRAY(l->arena, LLVMValueRef, p->n_slot + 1u);
  e.base = LT_NEW_ARRAY(l->arena, int64_t *, p->n_kernel + 1u);
  for (uint32_t i = 0; i < p->n_kernel; i++) {
    lt_kernel k = lt_kernel_at_bases(l->arena, &p->kernel[i], &e.base[i]);
    e.function[i] = lt_kernels_function(all, &k, m->pack);
  }
  for (uint32_t i = 0; m->image && lt_target_reads_anywhere(l->target) && i < p->n_kernel; i++)
    relax_loads(e.function[i]);
  e.consts = emit_consts(module, p);
  emit_entry(&e);
  if (m->steps) emit_step(&e);
}

void lt_module_entries(lt_module *m, const lt_module_entry *each, size_t n) {
  lt_kernels all;
  lt_kernels_begin(&all, &m->l);
  for (size_t i = 0; i < n; i++) emit_plan(m, &all, &each[i]);
  m->functions = all.n;
  lt_merge_alike(&m->l);
}
