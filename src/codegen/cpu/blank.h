/* blank.h: what spans of K leave out (lt_kspan): there B meets a border's zeros, and the sum is NaN where it is not
 * finite. It is looked at by one function of the module, whatever the kernel. */
#ifndef LT_BLANK_H
#define LT_BLANK_H
#include "codegen/cpu/along_k.h"

/* Can B of this kernel be looked at, whole vectors of lanes one after the other? Else there are no spans. */
bool lt_blank_fits(const lt_kernel *k, const lt_cut *c);
/* Of segment g, whose first row of B is at b, the `blocks` blocks `step` elements apart: to `sums`, 16 lanes of acc for
 * each block, is added 0, or NaN in lanes where what the spans leave out is not finite. */
void lt_emit_blank(lt_ll *l, const lt_ktile *t, const lt_kseg *g, LLVMValueRef b, LLVMValueRef sums);
/* The same of what is outside `own` alone, in the dim that it names, where the tile's one span, if any, walks. */
void lt_emit_blank_beside(lt_ll *l, const lt_ktile *t, const lt_kseg *g, LLVMValueRef b, LLVMValueRef sums,
                          const lt_kspan *own);
/* The same of all rows of the segment. */
void lt_emit_blank_all(lt_ll *l, const lt_ktile *t, const lt_kseg *g, LLVMValueRef b, LLVMValueRef sums);
#endif
