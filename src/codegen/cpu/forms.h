/* forms.h: short forms for the programs of elementwise ops (math.c, special.c): basic operations on 16 lanes, constants
 * of their operand's type, what a program takes from the format of a float. */
#ifndef LT_CODEGEN_CPU_FORMS_H
#define LT_CODEGEN_CPU_FORMS_H
#include "codegen/cpu/emit.h"

#include <math.h>

/* ---- short forms: x is <16 x float or double>; constants take the type of x ---- */

static inline LLVMValueRef num(lt_ll *l, LLVMValueRef like, double v) { return lt_ll_const(l, LLVMTypeOf(like), v); }
static inline LLVMValueRef add(lt_ll *l, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFAdd(l->b, a, b, ""); }
static inline LLVMValueRef sub(lt_ll *l, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFSub(l->b, a, b, ""); }
static inline LLVMValueRef mul(lt_ll *l, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFMul(l->b, a, b, ""); }
static inline LLVMValueRef quot(lt_ll *l, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFDiv(l->b, a, b, ""); }
static inline LLVMValueRef pick(lt_ll *l, LLVMValueRef c, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildSelect(l->b, c, a, b, "");
}
static inline LLVMValueRef fcmp(lt_ll *l, LLVMRealPredicate p, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildFCmp(l->b, p, a, b, "");
}
static inline LLVMValueRef is_nan(lt_ll *l, LLVMValueRef a) { return fcmp(l, LLVMRealUNO, a, a); }
static inline LLVMValueRef absolute(lt_ll *l, LLVMValueRef a) {
  return lt_ll_intrinsic(l, "llvm.fabs", LLVMTypeOf(a), &a, 1);
}

static inline LLVMValueRef with_sign(lt_ll *l, LLVMValueRef size, LLVMValueRef of) {
  return lt_ll_intrinsic(l, "llvm.copysign", LLVMTypeOf(of), (LLVMValueRef[]){size, of}, 2);
}

/* What the programs below take from the format of a float. */
typedef struct format {
  unsigned bits, fraction, bias;                    /* of a number, behind the point, of the exponent */
  double least, infinite;                           /* e^x is 0 below, infinite above */
  double log2_hi, log2_lo;                          /* log 2 = hi + lo, hi short enough that n·hi is exact (exp) */
  double far;                                       /* tanh(x/2) is 1 from here on */
  double ln2_hi, ln2_lo;                            /* the same for log */
  uint64_t root;                                    /* the bits of sqrt(1/2), rounded */
  double normal, lift;                              /* the smallest normal number; lift makes those below it normal */
  int lifted, exp_terms, log_terms, softplus_terms; /* log2 of lift; lengths of series */
} format;

static const format f32 = {.bits = 32,
                           .fraction = 23,
                           .bias = 127,
                           .least = -104,
                           .infinite = 89,
                           .log2_hi = 0x1.63p-1,
                           .log2_lo = -0x1.bd0105c610ca8p-13,
                           .far = 20,
                           .ln2_hi = 0x1.62e3p-1,
                           .ln2_lo = 0x1.2fefa39ef3579p-17,
                           .root = 0x3f3504f3u,
                           .normal = 0x1p-126,
                           .lift = 0x1p25,
                           .lifted = 25,
                           .exp_terms = 6,
                           .log_terms = 5,
                           .softplus_terms = 7};
static const format f64 = {.bits = 64,
                           .fraction = 52,
                           .bias = 1023,
                           .least = -746,
                           .infinite = 710,
                           .log2_hi = 0x1.62e42fee00000p-1,
                           .log2_lo = 0x1.a39ef35793c76p-33,
                           .far = 44,
                           .ln2_hi = 0x1.62e42fee00000p-1,
                           .ln2_lo = 0x1.a39ef35793c76p-33,
                           .root = 0x3fe6a09e00000000u,
                           .normal = 0x1p-1022,
                           .lift = 0x1p54,
                           .lifted = 54,
                           .exp_terms = 12,
                           .log_terms = 11,
                           .softplus_terms = 16};
enum { MOST_TERMS = 16 };

static inline const format *format_of(lt_ll *l, LLVMValueRef x) {
  lt_dtype t = LT_F32;
  while (t < LT_DTYPES && !(lt_is_float(t) && lt_ll_type(l, t) == LLVMGetElementType(LLVMTypeOf(x)))) t++;
  switch (t) {
  case LT_F32: return &f32;
  case LT_F64: return &f64;
  case LT_I32: case LT_I64: case LT_BOOL: case LT_DTYPES: break;
  }
  lt_fail(l->job, LATHE_E_INTERNAL, NULL, "code generation: a curve of numbers that are no floats");
}

static inline LLVMTypeRef int_vec(lt_ll *l, LLVMValueRef like) {
  return LLVMVectorType(LLVMIntTypeInContext(l->ctx, format_of(l, like)->bits), LT_LANES);
}
static inline LLVMValueRef to_bits(lt_ll *l, LLVMValueRef v) { return LLVMBuildBitCast(l->b, v, int_vec(l, v), ""); }
static inline LLVMValueRef of_bits(lt_ll *l, LLVMValueRef v, LLVMValueRef like) {
  return LLVMBuildBitCast(l->b, v, LLVMTypeOf(like), "");
}

/* lo and hi limits that let NaN through: each is one instruction on x86. */
static inline LLVMValueRef at_least(lt_ll *l, LLVMValueRef x, double lo) {
  LLVMValueRef k = num(l, x, lo);
  return pick(l, fcmp(l, LLVMRealOGT, k, x), k, x);
}

static inline LLVMValueRef at_most(lt_ll *l, LLVMValueRef x, double hi) {
  LLVMValueRef k = num(l, x, hi);
  return pick(l, fcmp(l, LLVMRealOLT, k, x), k, x);
}

/* c[0] + c[1] x + … + c[n-1] x^(n-1), by Horner's rule. */
static inline LLVMValueRef poly(lt_ll *l, LLVMValueRef x, const double *c, int n) {
  LLVMValueRef sum = num(l, x, c[n - 1]);
  for (int i = n - 2; i >= 0; i--) sum = lt_ll_fma(l, sum, x, num(l, x, c[i]));
  return sum;
}

/* ---- programs that others are made of (math.c) ---- */

LLVMValueRef lt_emit_exp(lt_ll *l, LLVMValueRef x);

/* ---- special.c ---- */

LLVMValueRef lt_emit_floor(lt_ll *l, LLVMValueRef x);
LLVMValueRef lt_emit_round(lt_ll *l, LLVMValueRef x);
LLVMValueRef lt_emit_erf(lt_ll *l, LLVMValueRef x);
LLVMValueRef lt_emit_atan(lt_ll *l, LLVMValueRef x);

/* ---- angle.c ---- */

LLVMValueRef lt_emit_sin(lt_ll *l, LLVMValueRef x, bool cos); /* or cos x */
#endif
