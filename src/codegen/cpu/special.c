/* special.c: elementwise ops beyond exp and log on 16 lanes: whole numbers, error function, arc tangent. As in math.c
 * each is the same program of basic operations on every machine. tests/unit/math.c states and checks the errors. */
#include "codegen/cpu/forms.h"

/* ---- whole numbers: behind 2^fraction every number is one, and adding that much rounds to one ---- */

LLVMValueRef lt_emit_round(lt_ll *l, LLVMValueRef x) {
  LLVMValueRef a = absolute(l, x), large = num(l, x, ldexp(1, (int)format_of(l, x)->fraction));
  LLVMValueRef y = with_sign(l, sub(l, add(l, a, large), large), x);
  return pick(l, fcmp(l, LLVMRealOLT, a, large), y, x);
}

LLVMValueRef lt_emit_floor(lt_ll *l, LLVMValueRef x) {
  LLVMValueRef y = lt_emit_round(l, x);
  return pick(l, fcmp(l, LLVMRealOGT, y, x), sub(l, y, num(l, x, 1)), y);
}

/* ---- erf ---- */

/* Up to 1 erf x = x (2/sqrt(pi) + z small(z)), z = x²; from there 1 - e^(-t (t + large(t))), t = |x| up to `one`, where
 * the result is 1. The coefficients are weighted least squares over these ranges, good to 3e-9 and 1e-17. */
typedef struct erf_series { double one; int n_small, n_large; double small[11], large[19]; } erf_series;

static const erf_series erf_f32 = {.one = 4,
                                   .n_small = 6,
                                   .n_large = 6,
                                   .small = {-0.3761263071955999, 0.11283629875890076, -0.02685548399044473,
                                             0.0051912914527659304, -0.0008035028554619751, 7.933098029878697e-05},
                                   .large = {1.1284999041782624, -0.3642329298903073, 0.10519774151111742,
                                             -0.022848930619524595, 0.0032021752986027582, -0.00021243618674363042}};
static const erf_series erf_f64 = {
  .one = 6,
  .n_small = 11,
  .n_large = 19,
  .small = {-0.37612638903183615, 0.1128379167094708, -0.026866170643500064, 0.005223977608936661,
            -0.0008548326051954427, 0.00012055296961602398, -1.4924772974466482e-05, 1.6447835747765207e-06,
            -1.6211417810305779e-07, 1.3731977756010882e-08, -7.816895134859483e-10},
  .large = {1.1283792030624018, -0.36338065423471055, 0.102774983976201, -0.019136759704321982, -0.000188824034587902,
            0.0016589686444508649, -0.0005374610265671472, -3.306136623662167e-05, 0.00011737136381731144,
            -6.792813828962319e-05, 2.5508309934820732e-05, -7.166645780787161e-06, 1.5645628578156786e-06,
            -2.6659645527028813e-07, 3.4948489897732915e-08, -3.4119677951429984e-09, 2.338498696228568e-10,
            -1.004051922351733e-11, 2.0313870569315714e-13}};

LLVMValueRef lt_emit_erf(lt_ll *l, LLVMValueRef x) {
  const erf_series *s = format_of(l, x)->bits == 64 ? &erf_f64 : &erf_f32;
  const double rest = 0.12837916709551257; /* 2/sqrt(pi) - 1 */
  LLVMValueRef a = absolute(l, x), z = mul(l, x, x);
  LLVMValueRef near = lt_ll_fma(l, x, lt_ll_fma(l, z, poly(l, z, s->small, s->n_small), num(l, x, rest)), x);
  LLVMValueRef t = at_most(l, a, s->one), r = add(l, t, poly(l, t, s->large, s->n_large));
  LLVMValueRef e = lt_emit_exp(l, LLVMBuildFNeg(l->b, mul(l, t, r), ""));
  LLVMValueRef far = with_sign(l, sub(l, num(l, x, 1), e), x);
  return pick(l, fcmp(l, LLVMRealOLT, a, num(l, x, 1)), near, far);
}

/* ---- atan ---- */

/* With t = |x|, or 1/|x| beyond 1, and u = t, or (t - 1)/(t + 1) beyond tan(pi/8): atan t = atan u, or pi/4 + atan u,
 * and atan u by its series, |u| ≤ tan(pi/8). Multiples of pi/4 are sums of two numbers. */
LLVMValueRef lt_emit_atan(lt_ll *l, LLVMValueRef x) {
  const bool wide = format_of(l, x)->bits == 64;
  const int terms = wide ? 20 : 9;
  const double hi = wide ? 0x1.921fb54442d18p-1 : 0x1.921fb6p-1; /* of pi/4 */
  const double lo = wide ? 0x1.1a62633145c07p-55 : -0x1.777a5cf72cecep-26;
  double c[20];
  for (int i = 0; i < terms; i++) c[i] = (i % 2 ? 1.0 : -1.0) / (2 * i + 3);
  LLVMValueRef one = num(l, x, 1), zero = num(l, x, 0), a = absolute(l, x);
  LLVMValueRef beyond = fcmp(l, LLVMRealOGT, a, one), t = pick(l, beyond, quot(l, one, a), a);
  LLVMValueRef steep = fcmp(l, LLVMRealOGT, t, num(l, x, 0x1.a82798p-2)), above = add(l, t, one);
  LLVMValueRef u = pick(l, steep, quot(l, sub(l, t, one), above), t), z = mul(l, u, u);
  LLVMValueRef p = lt_ll_fma(l, mul(l, u, z), poly(l, z, c, terms), u);
  LLVMValueRef quarter = pick(l, steep, num(l, x, hi), zero), less = pick(l, steep, num(l, x, lo), zero);
  LLVMValueRef far = pick(l, steep, num(l, x, hi), num(l, x, 2 * hi)),
               far_less = pick(l, steep, num(l, x, lo), num(l, x, 2 * lo));
  LLVMValueRef minus = LLVMBuildFNeg(l->b, p, "");
  LLVMValueRef rest = add(l, pick(l, beyond, minus, p), pick(l, beyond, far_less, less));
  return with_sign(l, add(l, pick(l, beyond, far, quarter), rest), x);
}
