/* emit_header.c: functions beside kernels: how they begin and end, headers of images checked and written, zeros.
 * Entries (entry.c) and the functions that fill a state (state.c) are made of it. */
#include "codegen/module.h"

void lt_ll_return(lt_ll *l, int value) { LLVMBuildRet(l->b, LLVMConstInt(l->i32, (uint64_t)(int64_t)value, true)); }

void lt_ll_return_if(lt_ll *l, LLVMValueRef bad, int status) {
  if (!bad) return;
  LLVMBasicBlockRef fail = lt_ll_block(l), go_on = lt_ll_block(l);
  LLVMBuildCondBr(l->b, bad, fail, go_on);
  LLVMPositionBuilderAtEnd(l->b, fail);
  lt_ll_return(l, status);
  LLVMPositionBuilderAtEnd(l->b, go_on);
}

void lt_ll_begin(lt_ll *l, const char *name, LLVMTypeRef result, const LLVMTypeRef *param, unsigned n, bool internal) {
  LLVMTypeRef types[8];
  if (LLVMGetNamedFunction(l->mod, name))
    lt_fail(l->job, LATHE_E_INVALID, NULL,
            "two entries would be called `%s`\nhelp: give one of them another name: --entry OTHER=run:…", name);
  memcpy(types, param, n * sizeof *types);
  l->fn = LLVMAddFunction(l->mod, name, LLVMFunctionType(result, types, n, false));
  if (internal) LLVMSetLinkage(l->fn, LLVMInternalLinkage);
  lt_ll_attributes(l, l->fn);
  LLVMPositionBuilderAtEnd(l->b, lt_ll_block(l));
}

/* ---- headers ---- */

static LLVMValueRef load_word(lt_ll *l, LLVMTypeRef t, LLVMValueRef base, int64_t offset) {
  return LLVMBuildLoad2(l->b, t, lt_ll_bytes_on(l, base, offset), "");
}

static uint64_t magic_word(void) {
  uint64_t word = 0;
  for (int i = 7; i >= 0; i--) word = word << 8 | (unsigned char)LT_IMAGE_MAGIC[i];
  return word;
}

static LLVMValueRef equals(lt_ll *l, LLVMValueRef v, uint64_t to) {
  return LLVMBuildICmp(l->b, LLVMIntEQ, v, LLVMConstInt(LLVMTypeOf(v), to, false), "");
}

static bool holds_state(uint32_t kind) { return kind == LT_IMAGE_STATE || kind == LT_IMAGE_GRADS; }

LLVMValueRef lt_ll_bad_header(lt_ll *l, LLVMValueRef image, lt_header_of want) {
  LLVMValueRef magic = load_word(l, l->i64, image, offsetof(lt_image_header, magic));
  LLVMValueRef abi = load_word(l, l->i32, image, offsetof(lt_image_header, abi));
  LLVMValueRef kind = load_word(l, l->i32, image, offsetof(lt_image_header, kind));
  LLVMValueRef model = load_word(l, l->i64, image, offsetof(lt_image_header, model));
  LLVMValueRef bytes = load_word(l, l->i64, image, offsetof(lt_image_header, bytes));
  LLVMValueRef fits = equals(l, kind, UINT32_MAX); /* no such kind */
  for (uint32_t k = 0; k < 32; k++) {
    if (!(want.kinds >> k & 1)) continue;
    LLVMValueRef is = equals(l, kind, k);
    const bool state = holds_state(k);
    const int64_t least = state && want.state_bytes ? want.state_bytes : want.bytes;
    is = LLVMBuildAnd(l->b, is, equals(l, model, state && want.state_model ? want.state_model : want.model), "");
    LLVMValueRef long_enough = LLVMBuildICmp(l->b, LLVMIntUGE, bytes, lt_ll_i64(l, least), "");
    is = LLVMBuildAnd(l->b, is, long_enough, "");
    fits = LLVMBuildOr(l->b, fits, is, "");
  }
  fits = LLVMBuildAnd(l->b, fits, equals(l, magic, magic_word()), "");
  fits = LLVMBuildAnd(l->b, fits, equals(l, abi, LATHE_ABI_1), "");
  return LLVMBuildNot(l->b, fits, "");
}

static void store_word(lt_ll *l, LLVMTypeRef t, uint64_t v, LLVMValueRef base, int64_t offset) {
  LLVMBuildStore(l->b, LLVMConstInt(t, v, false), lt_ll_bytes_on(l, base, offset));
}

void lt_ll_write_header(lt_ll *l, LLVMValueRef image, uint32_t kind, uint64_t model, int64_t bytes) {
  store_word(l, l->i64, magic_word(), image, offsetof(lt_image_header, magic));
  store_word(l, l->i32, LATHE_ABI_1, image, offsetof(lt_image_header, abi));
  store_word(l, l->i32, kind, image, offsetof(lt_image_header, kind));
  store_word(l, l->i64, model, image, offsetof(lt_image_header, model));
  store_word(l, l->i64, (uint64_t)bytes, image, offsetof(lt_image_header, bytes));
  for (int i = 0; i < 4; i++) store_word(l, l->i64, 0, image, (int64_t)offsetof(lt_image_header, zero) + 8 * i);
}

/* In words as long as alignment (offsets count from a 64-aligned base) and length allow: gaps are short. */
void lt_ll_zero(lt_ll *l, LLVMValueRef at, int64_t bytes) {
  enum { WRITTEN_OUT = 64 };
  if (bytes > WRITTEN_OUT) {
    lt_ll_loop loop = {0};
    lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, bytes), 1);
    LLVMBuildStore(l->b, LLVMConstNull(l->i8), LLVMBuildInBoundsGEP2(l->b, l->i8, at, &loop.i, 1, ""));
    lt_ll_loop_end(l, &loop);
    return;
  }
  for (int64_t i = 0, n; i < bytes; i += n) {
    n = bytes - i >= 4 ? 4 : 1;
    LLVMValueRef s = LLVMBuildStore(l->b, LLVMConstNull(n == 4 ? l->i32 : l->i8), lt_ll_bytes_on(l, at, i));
    LLVMSetAlignment(s, 1);
  }
}
