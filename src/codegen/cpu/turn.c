/* turn.c: see turn.h. */
#include "codegen/cpu/turn.h"
#include "codegen/cpu/emit.h"

static LLVMValueRef address(lt_ll *l, LLVMValueRef base, LLVMValueRef step, unsigned i, lt_dtype t) {
  return lt_ll_at(l, base, LLVMBuildNSWMul(l->b, step, lt_ll_i64(l, i), ""), t, 0);
}

static void turn_body(lt_ll *l, LLVMValueRef fn, lt_dtype t, unsigned rows, unsigned cols) {
  LLVMValueRef row[LT_LANES],
    *param = (LLVMValueRef[]){LLVMGetParam(fn, 0), LLVMGetParam(fn, 1), LLVMGetParam(fn, 2), LLVMGetParam(fn, 3)};
  LLVMPositionBuilderAtEnd(l->b, lt_ll_block(l));
  for (unsigned i = 0; i < LT_LANES; i++)
    row[i] =
      i < rows ? lt_emit_load_row(l, address(l, param[0], param[1], i, t), t, cols) : LLVMGetPoison(lt_ll_vec(l, t));
  lt_ll_turn(l, row);
  for (unsigned j = 0; j < cols; j++) lt_emit_store_row(l, address(l, param[2], param[3], j, t), t, rows, row[j]);
  LLVMBuildRetVoid(l->b);
}

void lt_emit_turn(lt_ll *l, lt_dtype t, unsigned rows, unsigned cols, LLVMValueRef from, int64_t step, LLVMValueRef to,
                  int64_t back) {
  const char *name = lt_arena_printf(l->arena, "turn.%s.%ux%u", lt_dtype_name(t), rows, cols);
  LLVMTypeRef type = LLVMFunctionType(l->void_, (LLVMTypeRef[]){l->ptr, l->i64, l->ptr, l->i64}, 4, false);
  LLVMValueRef fn = LLVMGetNamedFunction(l->mod, name);
  if (!fn) {
    LLVMValueRef own = l->fn;
    LLVMBasicBlockRef block = LLVMGetInsertBlock(l->b);
    l->fn = fn = LLVMAddFunction(l->mod, name, type);
    LLVMSetLinkage(fn, LLVMInternalLinkage);
    lt_ll_attributes(l, fn);
    turn_body(l, fn, t, rows, cols);
    l->fn = own;
    LLVMPositionBuilderAtEnd(l->b, block);
  }
  LLVMBuildCall2(l->b, type, fn, (LLVMValueRef[]){from, lt_ll_i64(l, step), to, lt_ll_i64(l, back)}, 4, "");
}

LLVMValueRef lt_emit_frame_tile(lt_ll *l, lt_dtype t, int64_t n) {
  return LLVMBuildAlloca(l->b, LLVMArrayType2(lt_ll_vec(l, t), (uint64_t)n), "");
}

LLVMValueRef lt_emit_tile_row(lt_ll *l, LLVMValueRef tile, LLVMValueRef row, int64_t plus, lt_dtype t) {
  if (row) row = LLVMBuildNSWMul(l->b, row, lt_ll_i64(l, LT_LANES), "");
  return lt_ll_at(l, tile, row, t, plus * LT_LANES);
}
