/* math.c: one elementwise op on 16 lanes; what ops.def marks CURVE from basic operations, the same program on every
 * machine (only fused multiply-add differs where a target has none), no library call.
 *
 * exp: Cody and Waite's reduction x = n log 2 + r, Taylor's series on |r| <= log(2)/2, 2^n in two exact factors so that
 * results below the smallest normal number are rounded once. log: m in [sqrt(1/2), sqrt(2)), series of 2 atanh(s) with
 * s = (m - 1)/(m + 1), added as in Sun's fdlibm. tanh through expm1, sigmoid through exp(-|x|), pow of f32 in double.
 * Rounding to whole numbers adds and takes away 1.5 * 2^(fraction bits): no instruction that SSE2 lacks.
 * tests/unit/math.c states and checks the errors in units of the last place. */
#include "codegen/cpu/forms.h"

#include <math.h>

/* ---- exp ---- */

/* x = n log 2 + r; *whole is n as an integer vector. */
typedef struct split { LLVMValueRef r, n, whole; } split;

static split reduce_exp(lt_ll *l, LLVMValueRef x) {
  const format *f = format_of(l, x);
  LLVMValueRef magic = num(l, x, ldexp(1.5, (int)f->fraction)), log2e = num(l, x, 1.44269504088896340736);
  LLVMValueRef t = lt_ll_fma(l, x, log2e, magic), n = sub(l, t, magic);
  LLVMValueRef minus = LLVMBuildFNeg(l->b, n, "");
  split s = {.n = n};
  s.r = lt_ll_fma(l, minus, num(l, x, f->log2_lo), lt_ll_fma(l, minus, num(l, x, f->log2_hi), x));
  LLVMValueRef bits = to_bits(l, t);
  s.whole = LLVMBuildSub(l->b, bits, to_bits(l, magic), "");
  return s;
}

/* e^r - 1 for |r| <= log(2)/2. */
static LLVMValueRef exp_small(lt_ll *l, LLVMValueRef r) {
  int terms = format_of(l, r)->exp_terms;
  double c[MOST_TERMS], f = 2; /* 1/2!, 1/3!, … */
  for (int i = 0; i < terms; f *= i + 3, i++) c[i] = 1 / f;
  LLVMValueRef square = mul(l, r, r);
  return lt_ll_fma(l, square, poly(l, r, c, terms), r);
}

static LLVMValueRef power_of_two(lt_ll *l, LLVMValueRef n, LLVMValueRef like) {
  const format *f = format_of(l, like);
  LLVMTypeRef t = LLVMTypeOf(n);
  LLVMValueRef e = LLVMBuildAdd(l->b, n, lt_ll_const(l, t, f->bias), "");
  return of_bits(l, LLVMBuildShl(l->b, e, lt_ll_const(l, t, f->fraction), ""), like);
}

LLVMValueRef lt_emit_exp(lt_ll *l, LLVMValueRef x) {
  const format *f = format_of(l, x);
  x = at_most(l, at_least(l, x, f->least), f->infinite);
  split s = reduce_exp(l, x);
  LLVMValueRef y = add(l, exp_small(l, s.r), num(l, x, 1));
  LLVMValueRef half = LLVMBuildAShr(l->b, s.whole, lt_ll_const(l, LLVMTypeOf(s.whole), 1), "");
  LLVMValueRef rest = LLVMBuildSub(l->b, s.whole, half, "");
  y = mul(l, y, power_of_two(l, half, x));
  return mul(l, y, power_of_two(l, rest, x));
}

/* ---- tanh, sigmoid ---- */

/* With t = e^(2|x|) - 1: tanh |x| = t / (t + 2). */
static LLVMValueRef emit_tanh(lt_ll *l, LLVMValueRef x) {
  LLVMValueRef a = absolute(l, x), y = at_most(l, add(l, a, a), format_of(l, x)->far);
  split s = reduce_exp(l, y);
  LLVMValueRef scale = power_of_two(l, s.whole, x);
  LLVMValueRef t = exp_small(l, s.r);
  t = lt_ll_fma(l, scale, t, sub(l, scale, num(l, x, 1)));
  LLVMValueRef r = quot(l, t, add(l, t, num(l, x, 2)));
  return with_sign(l, r, x);
}

/* With e = exp(-|x|): 1 / (1 + e) or, below 0, e / (1 + e). */
static LLVMValueRef emit_sigmoid(lt_ll *l, LLVMValueRef x) {
  LLVMValueRef one = num(l, x, 1), e = lt_emit_exp(l, LLVMBuildFNeg(l->b, absolute(l, x), ""));
  LLVMValueRef above = pick(l, fcmp(l, LLVMRealOLT, x, num(l, x, 0)), e, one);
  return quot(l, above, add(l, one, e));
}

/* ---- log ---- */

/* 2/3 + 2/5 z + 2/7 z^2 + … times z, z = s^2 */
static LLVMValueRef atanh_rest(lt_ll *l, LLVMValueRef z) {
  int terms = format_of(l, z)->log_terms;
  double c[MOST_TERMS];
  for (int i = 0; i < terms; i++) c[i] = 2.0 / (2 * i + 3);
  return mul(l, z, poly(l, z, c, terms));
}

static LLVMValueRef emit_log(lt_ll *l, LLVMValueRef x) {
  const format *t = format_of(l, x);
  LLVMValueRef tiny = fcmp(l, LLVMRealOLT, x, num(l, x, t->normal));
  LLVMValueRef big = pick(l, tiny, mul(l, x, num(l, x, t->lift)), x);
  LLVMTypeRef it = int_vec(l, x);
  uint64_t root = t->root, frac = ((uint64_t)1 << t->fraction) - 1;
  LLVMValueRef bits = LLVMBuildSub(l->b, to_bits(l, big), lt_ll_bits(l, it, root), "");
  LLVMValueRef e = LLVMBuildAShr(l->b, bits, lt_ll_const(l, it, t->fraction), "");
  LLVMValueRef m = of_bits(
    l, LLVMBuildAdd(l->b, LLVMBuildAnd(l->b, bits, lt_ll_bits(l, it, frac), ""), lt_ll_bits(l, it, root), ""), x);
  /* SSE2 converts i32, not i64 */
  if (t->bits == 64) e = LLVMBuildTrunc(l->b, e, LLVMVectorType(l->i32, LT_LANES), "");
  LLVMValueRef k =
    add(l, LLVMBuildSIToFP(l->b, e, LLVMTypeOf(x), ""), pick(l, tiny, num(l, x, -t->lifted), num(l, x, 0)));
  LLVMValueRef f = sub(l, m, num(l, x, 1)), s = quot(l, f, add(l, f, num(l, x, 2))), z = mul(l, s, s);
  LLVMValueRef half = mul(l, mul(l, f, f), num(l, x, 0.5));
  LLVMValueRef rest = add(l, half, atanh_rest(l, z));
  LLVMValueRef in = lt_ll_fma(l, s, rest, mul(l, k, num(l, x, t->ln2_lo)));
  LLVMValueRef y = lt_ll_fma(l, k, num(l, x, t->ln2_hi), sub(l, f, sub(l, half, in)));
  y = pick(l, fcmp(l, LLVMRealOEQ, x, num(l, x, 0)), num(l, x, -INFINITY), y);
  y = pick(l, fcmp(l, LLVMRealULT, x, num(l, x, 0)), num(l, x, NAN), y); /* NaN too */
  return pick(l, fcmp(l, LLVMRealOEQ, x, num(l, x, INFINITY)), x, y);
}

/* ---- softplus ---- */

/* max(x, 0) + log(1 + e), e = exp(-|x|) in [0, 1]. With t = 2e / (2 + e) in [0, 2/3] and z = (t/2)^2 the logarithm is
 * 2 atanh(t/2) = t + t (z/3 + z^2/5 + …), whose first term is e where e is tiny. */
static LLVMValueRef emit_softplus(lt_ll *l, LLVMValueRef x) {
  int terms = format_of(l, x)->softplus_terms;
  double c[MOST_TERMS];
  for (int i = 0; i < terms; i++) c[i] = 1.0 / (2 * i + 3);
  LLVMValueRef e = lt_emit_exp(l, LLVMBuildFNeg(l->b, absolute(l, x), ""));
  LLVMValueRef t = quot(l, add(l, e, e), add(l, e, num(l, x, 2))), half = mul(l, t, num(l, x, 0.5)),
               z = mul(l, half, half);
  LLVMValueRef rest = mul(l, z, poly(l, z, c, terms));
  return add(l, at_least(l, x, 0), lt_ll_fma(l, t, rest, t));
}

/* ---- pow ---- */

/* Is |x| whole? */
static LLVMValueRef is_whole(lt_ll *l, LLVMValueRef a) {
  LLVMValueRef magic = num(l, a, 0x1p52), round = sub(l, add(l, a, magic), magic);
  LLVMValueRef large = fcmp(l, LLVMRealOGE, a, magic);
  return LLVMBuildOr(l->b, large, fcmp(l, LLVMRealOEQ, round, a), "");
}

/* In double: e^(b log |a|), then the sign and C's special cases. f64 results are good to about |b log a| units. */
static LLVMValueRef pow_f64(lt_ll *l, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef size = absolute(l, a), power = absolute(l, b), one = num(l, a, 1), zero = num(l, a, 0),
               inf = num(l, a, INFINITY);
  LLVMValueRef e = mul(l, b, emit_log(l, size));
  LLVMValueRef at_one = fcmp(l, LLVMRealOEQ, size, one);
  at_one = LLVMBuildAnd(l->b, at_one, fcmp(l, LLVMRealOEQ, power, inf), "");
  LLVMValueRef y = lt_emit_exp(l, pick(l, at_one, zero, e));
  LLVMValueRef whole = is_whole(l, power), even = is_whole(l, mul(l, power, num(l, a, 0.5)));
  LLVMValueRef odd = LLVMBuildAnd(l->b, whole, LLVMBuildNot(l->b, even, ""), "");
  LLVMValueRef signed_y = with_sign(l, y, a);
  y = pick(l, odd, signed_y, y);
  LLVMValueRef negative = fcmp(l, LLVMRealOLT, a, zero);
  negative = LLVMBuildAnd(l->b, negative, fcmp(l, LLVMRealOLT, size, inf), "");
  LLVMValueRef broken = LLVMBuildAnd(l->b, negative, LLVMBuildNot(l->b, whole, ""), "");
  y = pick(l, LLVMBuildAnd(l->b, broken, fcmp(l, LLVMRealORD, b, b), ""), num(l, a, NAN), y);
  LLVMValueRef is_one = fcmp(l, LLVMRealOEQ, a, one);
  is_one = LLVMBuildOr(l->b, is_one, fcmp(l, LLVMRealOEQ, b, zero), "");
  return pick(l, is_one, one, y);
}

static LLVMValueRef emit_pow(lt_ll *l, LLVMValueRef a, LLVMValueRef b) {
  LLVMTypeRef t = LLVMTypeOf(a), d = lt_ll_vec(l, LT_F64);
  if (format_of(l, a) == &f64) return pow_f64(l, a, b);
  return LLVMBuildFPTrunc(l->b, pow_f64(l, LLVMBuildFPExt(l->b, a, d, ""), LLVMBuildFPExt(l->b, b, d, "")), t, "");
}

/* ---- maximum, minimum, integers ---- */

static LLVMValueRef extreme(lt_ll *l, LLVMValueRef a, LLVMValueRef b, bool largest) {
  LLVMTypeRef e = LLVMGetElementType(LLVMTypeOf(a));
  if (e == l->i1) return largest ? LLVMBuildOr(l->b, a, b, "") : LLVMBuildAnd(l->b, a, b, "");
  if (LLVMGetTypeKind(e) == LLVMIntegerTypeKind)
    return pick(l, LLVMBuildICmp(l->b, largest ? LLVMIntSGT : LLVMIntSLT, b, a, ""), b, a);
  LLVMValueRef y = pick(l, fcmp(l, largest ? LLVMRealOGT : LLVMRealOLT, b, a), b, a); /* a if a is NaN */
  return pick(l, is_nan(l, b), b, y);
}

LLVMValueRef lt_emit_max(lt_ll *l, LLVMValueRef a, LLVMValueRef b) { return extreme(l, a, b, true); }

static LLVMValueRef icmp(lt_ll *l, LLVMIntPredicate p, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildICmp(l->b, p, a, b, "");
}

/* x / 0 is 0; the smallest integer over -1 is itself. */
static LLVMValueRef int_div(lt_ll *l, LLVMValueRef a, LLVMValueRef b) {
  LLVMTypeRef t = LLVMTypeOf(a);
  LLVMValueRef zero = LLVMConstNull(t), by_zero = icmp(l, LLVMIntEQ, b, zero),
               by_minus = icmp(l, LLVMIntEQ, b, lt_ll_const(l, t, -1));
  LLVMValueRef safe = pick(l, LLVMBuildOr(l->b, by_zero, by_minus, ""), lt_ll_const(l, t, 1), b);
  LLVMValueRef y = pick(l, by_minus, LLVMBuildNeg(l->b, a, ""), LLVMBuildSDiv(l->b, a, safe, ""));
  return pick(l, by_zero, zero, y);
}

static LLVMValueRef int_sign(lt_ll *l, LLVMValueRef a) {
  LLVMTypeRef t = LLVMTypeOf(a);
  LLVMValueRef up = LLVMBuildZExt(l->b, icmp(l, LLVMIntSGT, a, LLVMConstNull(t)), t, "");
  return LLVMBuildOr(l->b, up, LLVMBuildSExt(l->b, icmp(l, LLVMIntSLT, a, LLVMConstNull(t)), t, ""), "");
}

static LLVMValueRef int_map(lt_ll *l, lt_op op, const LLVMValueRef *v, bool is_bool) {
  LLVMValueRef a = v[0], b = v[1], zero = LLVMConstNull(LLVMTypeOf(a));
  switch (op) {
  case LT_OP_add: return LLVMBuildAdd(l->b, a, b, "");
  case LT_OP_sub: return LLVMBuildSub(l->b, a, b, "");
  case LT_OP_mul: return LLVMBuildMul(l->b, a, b, "");
  case LT_OP_div: return int_div(l, a, b);
  case LT_OP_max: return extreme(l, a, b, true);
  case LT_OP_min: return extreme(l, a, b, false);
  case LT_OP_neg: return LLVMBuildNeg(l->b, a, "");
  case LT_OP_abs: return pick(l, icmp(l, LLVMIntSLT, a, zero), LLVMBuildNeg(l->b, a, ""), a);
  case LT_OP_relu: return pick(l, icmp(l, LLVMIntSGT, a, zero), a, zero);
  case LT_OP_sign: return int_sign(l, a);
  case LT_OP_less: return icmp(l, is_bool ? LLVMIntULT : LLVMIntSLT, a, b);
  case LT_OP_less_equal: return icmp(l, is_bool ? LLVMIntULE : LLVMIntSLE, a, b);
  case LT_OP_equal: return icmp(l, LLVMIntEQ, a, b);
  default: return NULL;
  }
}

/* ---- floats ---- */

static LLVMValueRef float_sign(lt_ll *l, LLVMValueRef a) {
  LLVMValueRef zero = num(l, a, 0), one = num(l, a, 1), minus = num(l, a, -1);
  LLVMValueRef y = pick(l, fcmp(l, LLVMRealOLT, a, zero), minus, zero);
  y = pick(l, fcmp(l, LLVMRealOGT, a, zero), one, y);
  return pick(l, is_nan(l, a), a, y);
}

/* LLVM (seen in 19 to 22) takes 0 / 0 for 0 in lanes where it sees both zeros, as a load of less than a vector makes
 * them, and then drops the select that would have put a zero there: SimplifyDemandedVectorElts, KnownZero of FDIV. */
static LLVMValueRef kept_apart(lt_ll *l, LLVMValueRef b) {
  return LLVMIsConstant(b) ? b : lt_ll_intrinsic(l, "llvm.arithmetic.fence", LLVMTypeOf(b), &b, 1);
}

static LLVMValueRef float_map(lt_ll *l, lt_op op, const void *attrs, const LLVMValueRef *v) {
  LLVMValueRef a = v[0], b = v[1];
  switch (op) {
  case LT_OP_add: return add(l, a, b);
  case LT_OP_sub: return sub(l, a, b);
  case LT_OP_mul: return mul(l, a, b);
  case LT_OP_div: return quot(l, a, kept_apart(l, b));
  case LT_OP_pow: return emit_pow(l, a, b);
  case LT_OP_max: return extreme(l, a, b, true);
  case LT_OP_min: return extreme(l, a, b, false);
  case LT_OP_neg: return LLVMBuildFNeg(l->b, a, "");
  case LT_OP_abs: return absolute(l, a);
  case LT_OP_sign: return float_sign(l, a);
  case LT_OP_exp: return lt_emit_exp(l, a);
  case LT_OP_log: return emit_log(l, a);
  case LT_OP_sqrt: return lt_ll_intrinsic(l, "llvm.sqrt", LLVMTypeOf(a), &a, 1);
  case LT_OP_tanh: return emit_tanh(l, a);
  case LT_OP_sigmoid: return emit_sigmoid(l, a);
  case LT_OP_softplus: return emit_softplus(l, a);
  case LT_OP_erf: return lt_emit_erf(l, a);
  case LT_OP_atan: return lt_emit_atan(l, a);
  case LT_OP_sin: return lt_emit_sin(l, a, false);
  case LT_OP_cos: return lt_emit_sin(l, a, true);
  case LT_OP_floor: return lt_emit_floor(l, a);
  case LT_OP_round: return lt_emit_round(l, a);
  case LT_OP_relu: return at_least(l, a, 0);
  case LT_OP_clip:
    return at_most(l, at_least(l, a, ((const lt_clip_attrs *)attrs)->lo), ((const lt_clip_attrs *)attrs)->hi);
  case LT_OP_less: return fcmp(l, LLVMRealOLT, a, b);
  case LT_OP_less_equal: return fcmp(l, LLVMRealOLE, a, b);
  case LT_OP_equal: return fcmp(l, LLVMRealOEQ, a, b);
  default: return NULL;
  }
}

/* ---- conversions ---- */

static LLVMValueRef float_to_int(lt_ll *l, LLVMValueRef a, LLVMTypeRef to) {
  const char *name = "llvm.fptosi.sat";
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  LLVMTypeRef types[2] = {to, LLVMTypeOf(a)};
  LLVMValueRef f = LLVMGetIntrinsicDeclaration(l->mod, id, types, 2);
  return LLVMBuildCall2(l->b, LLVMIntrinsicGetType(l->ctx, id, types, 2), f, &a, 1, "");
}

/* bool <-> numbers, floats <-> integers (saturating, NaN gives 0). */
LLVMValueRef lt_emit_convert(lt_ll *l, LLVMValueRef a, lt_dtype from, lt_dtype to) {
  LLVMTypeRef t = lt_ll_vec(l, to);
  lt_kind_of_number was = lt_dtype_kind(from);
  if (from == to) return a;
  switch (lt_dtype_kind(to)) {
  case LT_TRUTHS:
    if (was == LT_FLOATS) return fcmp(l, LLVMRealUNE, a, LLVMConstNull(LLVMTypeOf(a)));
    return icmp(l, LLVMIntNE, a, LLVMConstNull(LLVMTypeOf(a)));
  case LT_FLOATS:
    if (was == LT_FLOATS) return LLVMBuildFPCast(l->b, a, t, "");
    return was == LT_TRUTHS ? LLVMBuildUIToFP(l->b, a, t, "") : LLVMBuildSIToFP(l->b, a, t, "");
  case LT_INTEGERS: break;
  }
  if (was == LT_FLOATS) return float_to_int(l, a, t);
  return LLVMBuildIntCast2(l->b, a, t, was != LT_TRUTHS, "");
}

static LLVMValueRef map_of(lt_ll *l, const lt_instr *x, const LLVMValueRef *arg, lt_dtype arg_dtype) {
  switch (lt_dtype_kind(arg_dtype)) {
  case LT_FLOATS: return float_map(l, x->op, x->attrs, arg);
  case LT_INTEGERS: return int_map(l, x->op, arg, false);
  case LT_TRUTHS: return int_map(l, x->op, arg, true);
  }
  return NULL;
}

LLVMValueRef lt_emit_map(lt_ll *l, const lt_instr *x, const LLVMValueRef *arg, lt_dtype arg_dtype) {
  LLVMValueRef y = NULL;
  if (x->op == LT_OP_select) y = pick(l, arg[0], arg[1], arg[2]);
  else if (x->op == LT_OP_cast) y = lt_emit_convert(l, arg[0], arg_dtype, x->dtype);
  else if (x->op == LT_OP_stop_grad) y = arg[0];
  else y = map_of(l, x, arg, arg_dtype);
  if (y) return y;
  lt_fail(l->job, LATHE_E_INTERNAL, NULL, "code generation: no elementwise form of %s for %s", lt_op_table[x->op].name,
          lt_dtype_name(arg_dtype));
}

/* ---- random numbers: lt_random_unit (src/ir/random.c) with 16 counters; seed and step are scalars ---- */

static LLVMValueRef whole(lt_ll *l, LLVMTypeRef t, uint64_t bits) {
  return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? lt_ll_bits(l, t, bits) : LLVMConstInt(t, bits, false);
}

static LLVMValueRef mix(lt_ll *l, LLVMValueRef z) {
  typedef struct step { unsigned shift; uint64_t by; } step;
  static const step round[2] = {{30, 0xBF58476D1CE4E5B9u}, {27, 0x94D049BB133111EBu}};
  LLVMTypeRef t = LLVMTypeOf(z);
  for (int i = 0; i < 2; i++) {
    z = LLVMBuildXor(l->b, z, LLVMBuildLShr(l->b, z, whole(l, t, round[i].shift), ""), "");
    z = LLVMBuildMul(l->b, z, whole(l, t, round[i].by), "");
  }
  return LLVMBuildXor(l->b, z, LLVMBuildLShr(l->b, z, whole(l, t, 31), ""), "");
}

LLVMValueRef lt_emit_random(lt_ll *l, LLVMValueRef seed, LLVMValueRef step, LLVMValueRef counter, uint64_t stream) {
  const uint64_t weyl = 0x9E3779B97F4A7C15u, per_step = 0xD1342543DE82EF95u;
  LLVMTypeRef vec = LLVMTypeOf(counter), i32s = LLVMVectorType(l->i32, LT_LANES);
  LLVMValueRef s = LLVMBuildMul(l->b, lt_ll_lane(l, step, 0), whole(l, l->i64, per_step), "");
  s = LLVMBuildAdd(l->b, LLVMBuildAdd(l->b, lt_ll_lane(l, seed, 0), s, ""), whole(l, l->i64, weyl), "");
  LLVMValueRef key = mix(l, LLVMBuildXor(l->b, mix(l, s), whole(l, l->i64, stream), ""));
  LLVMValueRef at = LLVMBuildMul(l->b, LLVMBuildAdd(l->b, counter, whole(l, vec, 1), ""), whole(l, vec, weyl), "");
  LLVMValueRef u = mix(l, LLVMBuildAdd(l->b, at, lt_ll_splat(l, key, LT_LANES), ""));
  u = LLVMBuildTrunc(l->b, LLVMBuildLShr(l->b, u, whole(l, vec, 40), ""), i32s, ""); /* the upper 24 bits */
  LLVMValueRef f = LLVMBuildSIToFP(l->b, u, lt_ll_vec(l, LT_F32), "");
  return mul(l, f, num(l, f, 0x1p-24));
}
