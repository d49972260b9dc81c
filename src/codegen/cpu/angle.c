/* angle.c: sin and cos on 16 lanes, right for every number: x = n pi/2 + r + tail with |r| at most a little above pi/4,
 * then Taylor's series of both, one of which n chooses. Numbers of 32 bits are computed in 64.
 *
 * Near zero (n below 2^20) multiples of pi/2 are taken away in parts of 33 bits, whose products with n are exact, as in
 * Cody and Waite's reduction; beyond, bits of 2/pi are multiplied by x as integers and whole turns never computed, as
 * by Payne and Hanek, lane by lane, which costs nothing where no lane is there. tests/unit/math.c states and checks the
 * errors. */
#include "codegen/cpu/forms.h"

#define NEAR 0x1p20 /* largest n of the first way, and about the x where the second begins */

typedef struct angle { LLVMValueRef r, tail, n; } angle; /* n as integers, of which the two lowest bits count */

static LLVMValueRef negative(lt_ll *l, LLVMValueRef x) { return LLVMBuildFNeg(l->b, x, ""); }

/* a + b as a rounded sum and what it lacks. */
static LLVMValueRef exact_sum(lt_ll *l, LLVMValueRef a, LLVMValueRef b, LLVMValueRef *lacks) {
  LLVMValueRef s = add(l, a, b), of_b = sub(l, s, a), of_a = sub(l, s, of_b);
  *lacks = add(l, sub(l, a, of_a), sub(l, b, of_b));
  return s;
}

static angle near_angle(lt_ll *l, LLVMValueRef x) {
  const double part[] = {0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2ep-69, 0x1.b839a252049c1p-104};
  LLVMValueRef magic = num(l, x, 0x1.8p52), turns = add(l, mul(l, x, num(l, x, 0x1.45f306dc9c883p-1)), magic);
  LLVMValueRef n = sub(l, turns, magic), minus = negative(l, n), first, second;
  LLVMValueRef r = add(l, x, mul(l, minus, num(l, x, part[0])));
  r = exact_sum(l, r, mul(l, minus, num(l, x, part[1])), &first);
  r = exact_sum(l, r, mul(l, minus, num(l, x, part[2])), &second);
  LLVMValueRef rest = add(l, add(l, first, second), mul(l, minus, num(l, x, part[3])));
  angle a = {.n = to_bits(l, turns)};
  a.r = add(l, r, rest);
  a.tail = add(l, sub(l, r, a.r), rest);
  return a;
}

/* ---- far from zero ----------------------------------------------------------------------------------------------- */

/* 2/pi behind the point, 32 bits each, after 64 zeros for the x that begin here. */
static const uint32_t two_over_pi[] = {
  0,          0,          0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041,
  0xfe5163ab, 0xdebbc561, 0xb7246e3a, 0x424dd2e0, 0x06492eea, 0x09d1921c, 0xfe1deb1c, 0xb129a73e,
  0xe88235f5, 0x2ebb4484, 0xe99c7026, 0xb45f7e41, 0x3991d639, 0x835339f4, 0x9c845f8b, 0xbdf9283b,
  0x1ff897ff, 0xde05980f, 0xef2f118b, 0x5a0a6d1f, 0x6d367ecf, 0x27cb09b7, 0x4f463f66, 0x9e5fea2d,
  0x7527bac7, 0xebe5f17b, 0x3d0739f7, 0x8a5292ea, 0x6bfb5fb1, 0x1f8d5d08, 0x56033046, 0xfc7b6bab};
enum { WORDS = 6 }; /* of 2/pi that are multiplied: 192 bits */

static LLVMValueRef table(lt_ll *l) {
  static const char name[] = "lt.two_over_pi";
  LLVMValueRef g = LLVMGetNamedGlobal(l->mod, name), word[LT_COUNT(two_over_pi)];
  if (g) return g;
  for (unsigned i = 0; i < LT_COUNT(two_over_pi); i++) word[i] = LLVMConstInt(l->i32, two_over_pi[i], false);
  LLVMValueRef all = LLVMConstArray2(l->i32, word, LT_COUNT(two_over_pi));
  g = LLVMAddGlobal(l->mod, LLVMTypeOf(all), name);
  LLVMSetInitializer(g, all);
  LLVMSetGlobalConstant(g, true);
  LLVMSetLinkage(g, LLVMPrivateLinkage);
  LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
  return g;
}

/* Integers of 64 bits. */
static LLVMValueRef left(lt_ll *l, LLVMValueRef v, unsigned by) { return LLVMBuildShl(l->b, v, lt_ll_i64(l, by), ""); }
static LLVMValueRef right(lt_ll *l, LLVMValueRef v, unsigned by) {
  return LLVMBuildLShr(l->b, v, lt_ll_i64(l, by), "");
}
static LLVMValueRef low_bits(lt_ll *l, LLVMValueRef v, int64_t mask) {
  return LLVMBuildAnd(l->b, v, lt_ll_i64(l, mask), "");
}
static LLVMValueRef plus(lt_ll *l, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildAdd(l->b, a, b, ""); }
static LLVMValueRef joined(lt_ll *l, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildOr(l->b, a, b, ""); }

/* w[0] the lowest: 192 bits of 2/pi from bit `from` on. */
static void window(lt_ll *l, LLVMValueRef from, LLVMValueRef *w) {
  LLVMValueRef first = right(l, from, 5), shift = low_bits(l, from, 31), base = table(l), part[WORDS + 1];
  LLVMValueRef back = LLVMBuildSub(l->b, lt_ll_i64(l, 32), shift, "");
  for (int i = 0; i <= WORDS; i++) {
    LLVMValueRef word = LLVMBuildLoad2(l->b, l->i32, lt_ll_at(l, base, first, LT_I32, i), "");
    part[i] = LLVMBuildZExt(l->b, word, l->i64, "");
  }
  for (int i = 0; i < WORDS; i++) {
    LLVMValueRef two = joined(l, left(l, part[i], 32), part[i + 1]);
    w[WORDS - 1 - i] = low_bits(l, LLVMBuildLShr(l->b, two, back, ""), UINT32_MAX);
  }
}

/* The lowest 192 bits of m·w, 32 in each of p; m < 2^53. */
static void multiply(lt_ll *l, LLVMValueRef m, const LLVMValueRef *w, LLVMValueRef *p) {
  LLVMValueRef low = low_bits(l, m, UINT32_MAX), high = right(l, m, 32), sum = lt_ll_i64(l, 0), a[WORDS], b[WORDS];
  for (int i = 0; i < WORDS; i++) {
    a[i] = LLVMBuildMul(l->b, low, w[i], "");
    b[i] = LLVMBuildMul(l->b, high, w[i], "");
    sum = plus(l, sum, low_bits(l, a[i], UINT32_MAX));
    if (i > 0) sum = plus(l, sum, plus(l, right(l, a[i - 1], 32), low_bits(l, b[i - 1], UINT32_MAX)));
    if (i > 1) sum = plus(l, sum, right(l, b[i - 2], 32));
    p[i] = low_bits(l, sum, UINT32_MAX);
    sum = right(l, sum, 32);
  }
}

/* v ≥ 0 as a number times `by`; in halves, since not every machine converts 64 bits. */
static LLVMValueRef real(lt_ll *l, LLVMValueRef v, double by) {
  LLVMValueRef half[2] = {right(l, v, 32), v};
  for (int i = 0; i < 2; i++) half[i] = LLVMBuildUIToFP(l->b, LLVMBuildTrunc(l->b, half[i], l->i32, ""), l->f64, "");
  LLVMValueRef all = add(l, mul(l, half[0], LLVMConstReal(l->f64, 0x1p32)), half[1]);
  return mul(l, all, LLVMConstReal(l->f64, by));
}

/* A fraction of 128 bits below 1/2 as v[0] 2^scale, v[1] behind it: without its leading zeros. */
static LLVMValueRef normal_fraction(lt_ll *l, LLVMValueRef *v) {
  LLVMValueRef arg[] = {v[0], LLVMConstInt(l->i1, 0, false)};
  unsigned id = LLVMLookupIntrinsicID("llvm.ctlz", 9);
  LLVMValueRef f = LLVMGetIntrinsicDeclaration(l->mod, id, &l->i64, 1);
  LLVMValueRef zeros = LLVMBuildCall2(l->b, LLVMIntrinsicGetType(l->ctx, id, &l->i64, 1), f, arg, 2, "");
  LLVMValueRef by = LLVMBuildSub(l->b, zeros, lt_ll_i64(l, 1), "");
  LLVMValueRef back = LLVMBuildSub(l->b, lt_ll_i64(l, 63), by, "");
  v[0] = joined(l, LLVMBuildShl(l->b, v[0], by, ""), LLVMBuildLShr(l->b, right(l, v[1], 1), back, ""));
  v[1] = LLVMBuildShl(l->b, v[1], by, "");
  LLVMValueRef exponent = left(l, LLVMBuildSub(l->b, lt_ll_i64(l, 1023), by, ""), 52);
  return LLVMBuildBitCast(l->b, exponent, l->f64, "");
}

/* v·pi/2 of such a fraction as r and tail: its first 27 bits times the first 26 of pi/2 are exact. */
static angle as_angle(lt_ll *l, const LLVMValueRef *v, LLVMValueRef scale) {
  const int64_t tail = ((int64_t)1 << 37) - 1;
  LLVMValueRef head = mul(l, real(l, low_bits(l, v[0], ~tail), 0x1p-64), scale);
  LLVMValueRef behind = joined(l, left(l, low_bits(l, v[0], tail), 26), right(l, v[1], 38));
  LLVMValueRef rest = mul(l, real(l, behind, 0x1p-90), scale);
  LLVMValueRef product = mul(l, head, LLVMConstReal(l->f64, 0x1.921fb5p+0));
  LLVMValueRef more = add(l, mul(l, head, LLVMConstReal(l->f64, 0x1.110b4611a6263p-26)),
                          mul(l, rest, LLVMConstReal(l->f64, 0x1.921fb54442d18p+0)));
  angle a = {.r = add(l, product, more)};
  a.tail = add(l, sub(l, product, a.r), more);
  return a;
}

/* Of a negative x all three are negative. */
static LLVMValueRef turned(lt_ll *l, LLVMValueRef below, LLVMValueRef v) {
  bool whole = LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMIntegerTypeKind;
  return pick(l, below, whole ? LLVMBuildNeg(l->b, v, "") : negative(l, v), v);
}

/* |x| = m 2^(e - 1075) gives 4·frac(m·window / 2^192) quarters of a turn: their whole number and a fraction, which is
 * taken from the next whole number where it is above 1/2. */
static angle far_lane(lt_ll *l, LLVMValueRef bits, LLVMValueRef far) {
  LLVMValueRef w[WORDS], p[WORDS], e = low_bits(l, right(l, bits, 52), 2047), zero = lt_ll_i64(l, 0);
  LLVMValueRef m = joined(l, low_bits(l, bits, ((int64_t)1 << 52) - 1), lt_ll_i64(l, (int64_t)1 << 52));
  window(l, pick(l, far, LLVMBuildSub(l->b, e, lt_ll_i64(l, 1013), ""), zero), w);
  multiply(l, m, w, p);
  LLVMValueRef high = joined(l, left(l, p[5], 32), p[4]), low = joined(l, left(l, p[3], 32), p[2]);
  LLVMValueRef v[2] = {joined(l, left(l, high, 2), right(l, low, 62)), left(l, low, 2)};
  LLVMValueRef above = LLVMBuildICmp(l->b, LLVMIntSLT, v[0], zero, "");
  LLVMValueRef n = plus(l, right(l, high, 62), right(l, v[0], 63));
  LLVMValueRef carry = LLVMBuildZExt(l->b, LLVMBuildICmp(l->b, LLVMIntEQ, v[1], zero, ""), l->i64, "");
  v[0] = pick(l, above, plus(l, LLVMBuildNot(l->b, v[0], ""), carry), v[0]);
  v[1] = pick(l, above, LLVMBuildNeg(l->b, v[1], ""), v[1]);
  LLVMValueRef scale = normal_fraction(l, v);
  angle a = as_angle(l, v, scale);
  return (angle){turned(l, above, a.r), turned(l, above, a.tail), n};
}

/* What is far in x is put into a. */
static angle far_angles(lt_ll *l, LLVMValueRef x, LLVMValueRef far, angle a) {
  lt_ll_loop loop = {.n_carry = 3, .carry = {a.r, a.tail, a.n}};
  LLVMValueRef bits = to_bits(l, x);
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, LT_LANES), 1);
  LLVMValueRef lane = LLVMBuildExtractElement(l->b, bits, loop.i, "");
  LLVMValueRef here = LLVMBuildExtractElement(l->b, far, loop.i, "");
  LLVMValueRef below = LLVMBuildICmp(l->b, LLVMIntSLT, lane, lt_ll_i64(l, 0), "");
  angle y = far_lane(l, lane, here);
  LLVMValueRef value[3] = {y.r, y.tail, y.n};
  for (int i = 0; i < 3; i++) {
    LLVMValueRef old = LLVMBuildExtractElement(l->b, loop.carry[i], loop.i, "");
    LLVMValueRef new = pick(l, here, turned(l, below, value[i]), old);
    loop.carry[i] = LLVMBuildInsertElement(l->b, loop.carry[i], new, loop.i, "");
  }
  lt_ll_loop_end(l, &loop);
  return (angle){loop.carry[0], loop.carry[1], loop.carry[2]};
}

static angle reduce(lt_ll *l, LLVMValueRef x) {
  angle a = near_angle(l, x);
  LLVMValueRef size = absolute(l, x), large = fcmp(l, LLVMRealOGT, size, num(l, x, NEAR));
  LLVMValueRef far = LLVMBuildAnd(l->b, large, fcmp(l, LLVMRealOLT, size, num(l, x, INFINITY)), "");
  LLVMTypeRef mask = LLVMIntTypeInContext(l->ctx, LT_LANES);
  LLVMValueRef any = LLVMBuildICmp(l->b, LLVMIntNE, LLVMBuildBitCast(l->b, far, mask, ""), LLVMConstNull(mask), "");
  LLVMBasicBlockRef before = LLVMGetInsertBlock(l->b), then = lt_ll_block(l), after = lt_ll_block(l);
  LLVMBuildCondBr(l->b, any, then, after);
  LLVMPositionBuilderAtEnd(l->b, then);
  angle b = far_angles(l, x, far, a);
  then = LLVMGetInsertBlock(l->b);
  LLVMBuildBr(l->b, after);
  LLVMMoveBasicBlockAfter(after, then);
  LLVMPositionBuilderAtEnd(l->b, after);
  angle y = {.r = lt_ll_phi2(l, a.r, before, b.r, then)};
  y.tail = lt_ll_phi2(l, a.tail, before, b.tail, then);
  y.n = lt_ll_phi2(l, a.n, before, b.n, then);
  return y;
}

/* ---- series ------------------------------------------------------------------------------------------------------ */

enum { TERMS = 9 };

/* 1/k!, 1/(k + 2)!, … with alternating signs, the first of them `sign`. */
static LLVMValueRef series(lt_ll *l, LLVMValueRef z, int k, double sign, int terms) {
  double c[TERMS], f = 1;
  for (int i = 2; i <= k; i++) f *= i;
  for (int i = 0; i < terms; i++, sign = -sign, k += 2) c[i] = sign / f, f *= (double)(k + 1) * (k + 2);
  return poly(l, z, c, terms);
}

/* r + tail - r³/3! + … */
static LLVMValueRef sine(lt_ll *l, const angle *a, LLVMValueRef z, int terms) {
  LLVMValueRef slope = sub(l, num(l, z, 1), mul(l, z, num(l, z, 0.5)));
  LLVMValueRef rest = lt_ll_fma(l, mul(l, a->r, z), series(l, z, 3, -1, terms), mul(l, a->tail, slope));
  return add(l, a->r, rest);
}

/* 1 - r²/2 rounded, what that lacks, then the rest. */
static LLVMValueRef cosine(lt_ll *l, const angle *a, LLVMValueRef z, int terms) {
  LLVMValueRef one = num(l, z, 1), half = mul(l, z, num(l, z, 0.5)), y = sub(l, one, half);
  LLVMValueRef lacks = sub(l, sub(l, one, y), half), slope = mul(l, a->r, a->tail);
  LLVMValueRef rest = lt_ll_fma(l, mul(l, z, z), series(l, z, 4, 1, terms), sub(l, lacks, slope));
  return add(l, y, rest);
}

static LLVMValueRef in_double(lt_ll *l, LLVMValueRef x, bool cos, bool wide) {
  angle a = reduce(l, x);
  LLVMTypeRef whole = LLVMTypeOf(a.n);
  LLVMValueRef z = mul(l, a.r, a.r), none = LLVMConstNull(whole), s = sine(l, &a, z, wide ? 8 : 5);
  LLVMValueRef c = cosine(l, &a, z, wide ? TERMS : 5), n = a.n;
  if (cos) n = LLVMBuildAdd(l->b, n, lt_ll_const(l, whole, 1), "");
  LLVMValueRef odd = LLVMBuildAnd(l->b, n, lt_ll_const(l, whole, 1), "");
  LLVMValueRef under = LLVMBuildAnd(l->b, n, lt_ll_const(l, whole, 2), "");
  LLVMValueRef y = pick(l, LLVMBuildICmp(l->b, LLVMIntNE, odd, none, ""), c, s);
  y = pick(l, LLVMBuildICmp(l->b, LLVMIntNE, under, none, ""), negative(l, y), y);
  return cos ? y : pick(l, fcmp(l, LLVMRealOEQ, x, num(l, x, 0)), x, y); /* -0 stays */
}

LLVMValueRef lt_emit_sin(lt_ll *l, LLVMValueRef x, bool cos) {
  if (format_of(l, x)->bits == 64) return in_double(l, x, cos, true);
  LLVMValueRef y = in_double(l, LLVMBuildFPExt(l->b, x, lt_ll_vec(l, LT_F64), ""), cos, false);
  return LLVMBuildFPTrunc(l->b, y, LLVMTypeOf(x), "");
}
