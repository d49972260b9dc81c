/* state.c: the functions of an object that fill a state image, so that a program can start training with nothing but
 * the object:
 *
 *   int NAME(state, u64 seed)     every param from its initial value, moments and step zero: what `lathe train` starts
 * from int NAME(state, image)        from an image: params and the network's states, the rest zero; all of it from a
 * state
 *
 * The random numbers are those of src/ir/random.c operation by operation, in plain double arithmetic without fused
 * operations, so that every machine draws the same bits. */
#include "codegen/module.h"

#include <math.h>

static const uint64_t G = 0x9E3779B97F4A7C15u;

/* ---- scalars: short forms ---- */

static LLVMValueRef word(lt_ll *l, uint64_t v) { return LLVMConstInt(l->i64, v, false); }
static LLVMValueRef real(lt_ll *l, double v) { return LLVMConstReal(l->f64, v); }
static LLVMValueRef plus(lt_ll *l, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFAdd(l->b, a, b, ""); }
static LLVMValueRef minus(lt_ll *l, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFSub(l->b, a, b, ""); }
static LLVMValueRef times(lt_ll *l, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFMul(l->b, a, b, ""); }
static LLVMValueRef over(lt_ll *l, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFDiv(l->b, a, b, ""); }
static LLVMValueRef pick(lt_ll *l, LLVMValueRef c, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildSelect(l->b, c, a, b, "");
}

static LLVMValueRef xor_shift(lt_ll *l, LLVMValueRef z, unsigned by) {
  return LLVMBuildXor(l->b, z, LLVMBuildLShr(l->b, z, word(l, by), ""), "");
}

static LLVMValueRef mix(lt_ll *l, LLVMValueRef z) {
  z = LLVMBuildMul(l->b, xor_shift(l, z, 30), word(l, 0xBF58476D1CE4E5B9u), "");
  z = LLVMBuildMul(l->b, xor_shift(l, z, 27), word(l, 0x94D049BB133111EBu), "");
  return xor_shift(l, z, 31);
}

/* The i32 at `counter` of a stream whose key is mix(mix(seed + G) ^ stream). */
static LLVMValueRef u32_at(lt_ll *l, LLVMValueRef key, LLVMValueRef counter) {
  LLVMValueRef at = LLVMBuildMul(l->b, LLVMBuildAdd(l->b, counter, word(l, 1), ""), word(l, G), "");
  LLVMValueRef z = mix(l, LLVMBuildAdd(l->b, key, at, ""));
  return LLVMBuildTrunc(l->b, LLVMBuildLShr(l->b, z, word(l, 32), ""), l->i32, "");
}

static LLVMValueRef to_real(lt_ll *l, LLVMValueRef u32) { return LLVMBuildUIToFP(l->b, u32, l->f64, ""); }

/* ---- a number from the normal distribution, as random.c has it ---- */

static LLVMValueRef natural_log(lt_ll *l, LLVMValueRef x) {
  LLVMValueRef bits = LLVMBuildBitCast(l->b, x, l->i64, "");
  LLVMValueRef e = LLVMBuildSub(l->b, LLVMBuildTrunc(l->b, LLVMBuildLShr(l->b, bits, word(l, 52), ""), l->i32, ""),
                                LLVMConstInt(l->i32, 1022, false), "");
  LLVMValueRef fraction = LLVMBuildAnd(l->b, bits, word(l, 0xFFFFFFFFFFFFFu), "");
  LLVMValueRef m = LLVMBuildBitCast(l->b, LLVMBuildOr(l->b, fraction, word(l, (uint64_t)1022 << 52), ""), l->f64, "");
  LLVMValueRef low = LLVMBuildFCmp(l->b, LLVMRealOLT, m, real(l, 0.70710678118654752440), "");
  m = pick(l, low, times(l, m, real(l, 2)), m);
  e = LLVMBuildSub(l->b, e, LLVMBuildZExt(l->b, low, l->i32, ""), "");
  LLVMValueRef above = minus(l, m, real(l, 1)), below = plus(l, m, real(l, 1));
  LLVMValueRef t = over(l, above, below), t2 = times(l, t, t), sum = real(l, 0);
  for (int k = 21; k >= 1; k -= 2) sum = plus(l, times(l, sum, t2), real(l, 1.0 / k));
  LLVMValueRef whole = times(l, LLVMBuildSIToFP(l->b, e, l->f64, ""), real(l, 0.69314718055994530942));
  LLVMValueRef rest = times(l, times(l, real(l, 2), t), sum);
  return plus(l, whole, rest);
}

static LLVMValueRef cosine_of_turn(lt_ll *l, LLVMValueRef v) {
  LLVMValueRef quarter = LLVMBuildFPToSI(l->b, plus(l, times(l, v, real(l, 4)), real(l, 0.5)), l->i32, "");
  LLVMValueRef off = times(l, LLVMBuildSIToFP(l->b, quarter, l->f64, ""), real(l, 0.25));
  LLVMValueRef x = times(l, minus(l, v, off), real(l, 6.28318530717958647693)), x2 = times(l, x, x);
  LLVMValueRef c = real(l, 1), s = real(l, 1);
  for (int k = 16; k >= 2; k -= 2) {
    c = minus(l, real(l, 1), over(l, times(l, c, x2), real(l, k * (k - 1))));
    s = minus(l, real(l, 1), over(l, times(l, s, x2), real(l, k * (k + 1))));
  }
  s = times(l, s, x);
  LLVMValueRef place = LLVMBuildAnd(l->b, quarter, LLVMConstInt(l->i32, 3, false), "");
  LLVMValueRef odd = LLVMBuildTrunc(l->b, place, l->i1, "");
  LLVMValueRef size = pick(l, odd, s, c);
  LLVMValueRef negative = LLVMBuildICmp(l->b, LLVMIntULT, LLVMBuildSub(l->b, place, LLVMConstInt(l->i32, 1, false), ""),
                                        LLVMConstInt(l->i32, 2, false), ""); /* quarters 1 and 2 */
  return pick(l, negative, LLVMBuildFNeg(l->b, size, ""), size);
}

static LLVMValueRef normal(lt_ll *l, LLVMValueRef key, LLVMValueRef i) {
  LLVMValueRef twice = LLVMBuildShl(l->b, i, word(l, 1), "");
  LLVMValueRef first = to_real(l, u32_at(l, key, twice));
  LLVMValueRef second = to_real(l, u32_at(l, key, LLVMBuildOr(l->b, twice, word(l, 1), "")));
  LLVMValueRef u = times(l, plus(l, first, real(l, 1)), real(l, 0x1p-32)), v = times(l, second, real(l, 0x1p-32));
  LLVMValueRef square = times(l, real(l, -2), natural_log(l, u));
  LLVMValueRef root = lt_ll_intrinsic(l, "llvm.sqrt", l->f64, &square, 1);
  LLVMValueRef narrow = LLVMBuildFPTrunc(l->b, times(l, root, cosine_of_turn(l, v)), l->f32, "");
  return LLVMBuildFPExt(l->b, narrow, l->f64, "");
}

static LLVMValueRef unit(lt_ll *l, LLVMValueRef key, LLVMValueRef i) {
  LLVMValueRef high = LLVMBuildLShr(l->b, u32_at(l, key, i), LLVMConstInt(l->i32, 8, false), "");
  return times(l, to_real(l, high), real(l, 0x1p-24));
}

/* ---- filling one tensor: void(at, n, key, a, b) for each kind of initial value and element type ---- */

static LLVMValueRef value_of(lt_ll *l, lt_init_kind kind, LLVMValueRef i) {
  LLVMValueRef key = LLVMGetParam(l->fn, 2), a = LLVMGetParam(l->fn, 3), b = LLVMGetParam(l->fn, 4);
  if (kind == LT_INIT_NORMAL) return times(l, a, normal(l, key, i));
  if (kind == LT_INIT_UNIFORM) return plus(l, a, times(l, b, unit(l, key, i)));
  return real(l, 1);
}

static LLVMValueRef as_element(lt_ll *l, LLVMValueRef v, lt_dtype t) {
  switch (t) {
  case LT_F64: return v;
  case LT_F32: return LLVMBuildFPTrunc(l->b, v, l->f32, "");
  case LT_I32: case LT_I64: case LT_BOOL: return LLVMConstInt(lt_ll_type(l, t), 1, false); /* never random */
  case LT_DTYPES: break;
  }
  lt_fail(l->job, LATHE_E_INTERNAL, NULL, "code generation: no element type %d", (int)t);
}

static LLVMTypeRef fill_type(lt_ll *l) {
  return LLVMFunctionType(l->void_, (LLVMTypeRef[]){l->ptr, l->i64, l->i64, l->f64, l->f64}, 5, false);
}

static LLVMValueRef fill_function(lt_ll *l, lt_init_kind kind, lt_dtype t) {
  const char *name = lt_arena_printf(l->arena, "state.fill.%d.%d", (int)kind, (int)t);
  LLVMValueRef found = LLVMGetNamedFunction(l->mod, name), outer = l->fn;
  if (found) return found;
  LLVMBasicBlockRef at = LLVMGetInsertBlock(l->b);
  lt_ll_begin(l, name, l->void_, (LLVMTypeRef[]){l->ptr, l->i64, l->i64, l->f64, l->f64}, 5, true);
  LLVMValueRef fn = l->fn;
  lt_ll_loop loop = {0};
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), LLVMGetParam(fn, 1), 1);
  LLVMValueRef v = as_element(l, value_of(l, kind, loop.i), t);
  LLVMBuildStore(l->b, v, lt_ll_at(l, LLVMGetParam(fn, 0), loop.i, t, 0));
  lt_ll_loop_end(l, &loop);
  LLVMBuildRetVoid(l->b);
  l->fn = outer;
  LLVMPositionBuilderAtEnd(l->b, at);
  return fn;
}

/* void(to, from, blocks): blocks of 64 bytes; from null: zeros. */
static LLVMTypeRef copy_type(lt_ll *l) {
  return LLVMFunctionType(l->void_, (LLVMTypeRef[]){l->ptr, l->ptr, l->i64}, 3, false);
}

static LLVMValueRef copy_function(lt_ll *l, bool zero) {
  lt_ll_begin(l, zero ? "state.zero" : "state.copy", l->void_, (LLVMTypeRef[]){l->ptr, l->ptr, l->i64}, 3, true);
  LLVMTypeRef block = LLVMVectorType(l->i32, LT_ALIGN / 4);
  lt_ll_loop loop = {0};
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), LLVMGetParam(l->fn, 2), 1);
  LLVMValueRef v = LLVMConstNull(block);
  if (!zero)
    v = LLVMBuildLoad2(l->b, block, LLVMBuildInBoundsGEP2(l->b, block, LLVMGetParam(l->fn, 1), &loop.i, 1, ""), "");
  LLVMBuildStore(l->b, v, LLVMBuildInBoundsGEP2(l->b, block, LLVMGetParam(l->fn, 0), &loop.i, 1, ""));
  lt_ll_loop_end(l, &loop);
  LLVMBuildRetVoid(l->b);
  return l->fn;
}

typedef struct state { lt_module *m; lt_ll *l; const lt_state_code *s; LLVMValueRef zero, copy; } state;

static void put(const state *c, LLVMValueRef fn, LLVMValueRef to, LLVMValueRef from, int64_t bytes) {
  lt_ll *l = c->l;
  if (bytes <= 0) return;
  LLVMValueRef blocks = lt_ll_i64(l, (bytes + LT_ALIGN - 1) / LT_ALIGN);
  LLVMBuildCall2(l->b, copy_type(l), fn, (LLVMValueRef[]){to, from, blocks}, 3, "");
}

/* ---- init ---- */

/* A literal of the text is a constant of the module, padded to whole blocks. */
static void put_literal(const state *c, const lt_state_item *x, LLVMValueRef to) {
  lt_ll *l = c->l;
  int64_t bytes = lt_type_bytes(&x->type), whole = lt_aligned(bytes);
  lt_constant *piece = LT_NEW(l->arena, lt_constant);
  *piece = (lt_constant){0, x->init.literal};
  put(c, c->copy, to, lt_embed(c->m, "state.literal", (lt_embedding){.bytes = whole, .piece = piece, .n = 1}), bytes);
}

static void fill_item(const state *c, const lt_state_item *x, LLVMValueRef image, LLVMValueRef seed) {
  lt_ll *l = c->l;
  LLVMValueRef to = lt_ll_bytes_on(l, image, x->offset);
  lt_init_kind kind = (lt_init_kind)x->init.kind;
  if (x->is_seed) LLVMBuildStore(l->b, seed, to);
  else if (kind == LT_INIT_LITERAL) put_literal(c, x, to);
  else if (kind != LT_INIT_ZEROS) {
    LLVMValueRef fn = fill_function(l, kind, x->type.dtype);
    LLVMValueRef start = mix(l, LLVMBuildAdd(l->b, seed, word(l, G), ""));
    LLVMValueRef key = mix(l, LLVMBuildXor(l->b, start, word(l, lt_random_stream(x->name)), ""));
    double b = kind == LT_INIT_UNIFORM ? x->init.b - x->init.a : 0;
    LLVMValueRef arg[] = {to, lt_ll_i64(l, lt_type_count(&x->type)), key, real(l, x->init.a), real(l, b)};
    LLVMBuildCall2(l->b, fill_type(l), fn, arg, 5, "");
  }
}

static LLVMValueRef bad_image(lt_ll *l, LLVMValueRef p) {
  LLVMValueRef null = lt_ll_is_null(l, p);
  return LLVMBuildOr(l->b, null, lt_ll_misaligned(l, p, LT_ALIGN), "");
}

static void finish(const state *c, LLVMValueRef image) {
  const lt_state_code *s = c->s;
  lt_ll_write_header(c->l, image, LT_IMAGE_STATE, s->state_model ? s->state_model : s->model, s->bytes);
  lt_ll_return(c->l, 0);
}

static void emit_init(const state *c) {
  lt_ll *l = c->l;
  const lt_state_code *s = c->s;
  lt_ll_begin(l, s->init, l->i32, (LLVMTypeRef[]){l->ptr, l->i64}, 2, false);
  LLVMValueRef image = LLVMGetParam(l->fn, 0), seed = LLVMGetParam(l->fn, 1);
  lt_ll_return_if(l, bad_image(l, image), LATHE_E_POINTER);
  put(c, c->zero, lt_ll_bytes_on(l, image, LT_IMAGE_HEADER), LLVMConstNull(l->ptr), s->bytes - LT_IMAGE_HEADER);
  for (uint32_t i = 0; i < s->n; i++) fill_item(c, &s->item[i], image, seed);
  finish(c, image);
}

/* ---- load ---- */

static void emit_load(const state *c) {
  lt_ll *l = c->l;
  const lt_state_code *s = c->s;
  lt_ll_begin(l, s->load, l->i32, (LLVMTypeRef[]){l->ptr, l->ptr}, 2, false);
  LLVMValueRef image = LLVMGetParam(l->fn, 0), from = LLVMGetParam(l->fn, 1);
  LLVMValueRef bad = bad_image(l, image);
  lt_ll_return_if(l, LLVMBuildOr(l->b, bad, bad_image(l, from), ""), LATHE_E_POINTER);
  lt_header_of want = {1u << LT_IMAGE_PARAMS | 1u << LT_IMAGE_STATE, s->model, s->state_model, s->own_bytes, s->bytes};
  lt_ll_return_if(l, lt_ll_bad_header(l, from, want), LATHE_E_MODEL);
  LLVMValueRef body = lt_ll_bytes_on(l, image, LT_IMAGE_HEADER), body_from = lt_ll_bytes_on(l, from, LT_IMAGE_HEADER);
  LLVMValueRef kind = LLVMBuildLoad2(l->b, l->i32, lt_ll_bytes_on(l, from, offsetof(lt_image_header, kind)), "");
  LLVMBasicBlockRef whole = lt_ll_block(l), part = lt_ll_block(l);
  LLVMBuildCondBr(l->b, LLVMBuildICmp(l->b, LLVMIntEQ, kind, LLVMConstInt(l->i32, LT_IMAGE_STATE, false), ""), whole,
                  part);
  LLVMPositionBuilderAtEnd(l->b, whole);
  put(c, c->copy, body, body_from, s->bytes - LT_IMAGE_HEADER);
  finish(c, image);
  LLVMPositionBuilderAtEnd(l->b, part);
  put(c, c->copy, body, body_from, s->own_bytes - LT_IMAGE_HEADER);
  put(c, c->zero, lt_ll_bytes_on(l, image, s->own_bytes), LLVMConstNull(l->ptr), s->bytes - s->own_bytes);
  finish(c, image);
}

void lt_emit_state(lt_module *m, const lt_state_code *s) {
  state c = {.m = m, .l = &m->l, .s = s};
  c.zero = copy_function(c.l, true);
  c.copy = copy_function(c.l, false);
  emit_init(&c);
  emit_load(&c);
}
