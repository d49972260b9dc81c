/* libcalls.c: what a code generator calls by name where a machine has no instruction for it, as local functions of the
 * object: 64-bit division, 32-bit division on cores without a divider, conversions between 64-bit integers and floats,
 * as the ABI of 32-bit ARM names them (Run-time ABI for the Arm Architecture, IHI0043, 4.1.2 and 4.3.1: arguments in
 * core registers).
 *
 * A row is a name, what else it calls, and its text in LLVM's language. Code may refer to a name before its function
 * stands in the module: the object's symbol is the same. */
#include "codegen/module.h"

#include <llvm-c/IRReader.h>
#include <llvm-c/Linker.h>

typedef struct row { const char *name, *needs, *text; } row;

/* Long division, bit by bit: T is the type, TOP its bits less one; the pair is quotient and remainder. */
#define UNSIGNED(name, T, TOP)                                                                                         \
  "define arm_aapcscc { " T ", " T " } @" name "(" T " %n, " T " %d) {\n"                                              \
  "entry:\n  br label %loop\n"                                                                                         \
  "loop:\n  %i = phi i32 [ " TOP ", %entry ], [ %i1, %loop ]\n  %m = phi " T " [ %n, %entry ], [ %m1, %loop ]\n"       \
  "  %q = phi " T " [ 0, %entry ], [ %q2, %loop ]\n  %r = phi " T " [ 0, %entry ], [ %r2, %loop ]\n"                   \
  "  %top = lshr " T " %m, " TOP "\n  %m1 = shl " T " %m, 1\n  %out = icmp slt " T " %r, 0\n"                          \
  "  %rs = shl " T " %r, 1\n  %r1 = or " T " %rs, %top\n  %above = icmp uge " T " %r1, %d\n"                           \
  "  %take = or i1 %out, %above\n  %less = sub " T " %r1, %d\n  %r2 = select i1 %take, " T " %less, " T " %r1\n"       \
  "  %one = zext i1 %take to " T "\n  %q1 = shl " T " %q, 1\n  %q2 = or " T " %q1, %one\n"                             \
  "  %i1 = sub i32 %i, 1\n  %done = icmp eq i32 %i, 0\n  br i1 %done, label %end, label %loop\n"                       \
  "end:\n  %a = insertvalue { " T ", " T " } poison, " T " %q2, 0\n"                                                   \
  "  %b = insertvalue { " T ", " T " } %a, " T " %r2, 1\n  ret { " T ", " T " } %b\n}\n"

/* Signs apart: the quotient is rounded towards zero, the remainder has the sign of n. */
#define SIGNED(name, of, T, TOP)                                                                                       \
  "declare arm_aapcscc { " T ", " T " } @" of "(" T ", " T ")\n"                                                       \
  "define arm_aapcscc { " T ", " T " } @" name "(" T " %n, " T " %d) {\n"                                              \
  "  %sn = ashr " T " %n, " TOP "\n  %sd = ashr " T " %d, " TOP "\n  %sq = xor " T " %sn, %sd\n"                       \
  "  %xn = xor " T " %n, %sn\n  %an = sub " T " %xn, %sn\n  %xd = xor " T " %d, %sd\n  %ad = sub " T " %xd, %sd\n"     \
  "  %p = call arm_aapcscc { " T ", " T " } @" of "(" T " %an, " T " %ad)\n"                                           \
  "  %q = extractvalue { " T ", " T " } %p, 0\n  %r = extractvalue { " T ", " T " } %p, 1\n"                           \
  "  %xq = xor " T " %q, %sq\n  %q1 = sub " T " %xq, %sq\n  %xr = xor " T " %r, %sn\n  %r1 = sub " T " %xr, %sn\n"     \
  "  %a = insertvalue { " T ", " T " } poison, " T " %q1, 0\n"                                                         \
  "  %b = insertvalue { " T ", " T " } %a, " T " %r1, 1\n  ret { " T ", " T " } %b\n}\n"

#define QUOTIENT(name, of)                                                                                             \
  "declare arm_aapcscc { i32, i32 } @" of "(i32, i32)\n"                                                               \
  "define arm_aapcscc i32 @" name "(i32 %n, i32 %d) {\n  %p = call arm_aapcscc { i32, i32 } @" of "(i32 %n, i32 %d)\n" \
  "  %q = extractvalue { i32, i32 } %p, 0\n  ret i32 %q\n}\n"

/* Halves are converted by the machine; the sum of two doubles, one a multiple of 2^32, rounds once. */
#define TO_DOUBLE(name, high)                                                                                          \
  "define arm_aapcscc double @" name "(i64 %x) {\n  %h = lshr i64 %x, 32\n  %hi = trunc i64 %h to i32\n"               \
  "  %lo = trunc i64 %x to i32\n  %dh = " high " i32 %hi to double\n  %dl = uitofp i32 %lo to double\n"                \
  "  %big = fmul double %dh, 4294967296.0\n  %y = fadd double %big, %dl\n  ret double %y\n}\n"

/* Bits that a double cannot hold are made one sticky bit first, so that the two roundings are as one. */
#define TO_FLOAT(name, of)                                                                                             \
  "declare arm_aapcscc double @" of "(i64)\n"                                                                          \
  "define arm_aapcscc float @" name "(i64 %x) {\n  %low = and i64 %x, 2047\n  %any = icmp ne i64 %low, 0\n"            \
  "  %bit = zext i1 %any to i64\n  %sticky = shl i64 %bit, 11\n  %cut = and i64 %x, -2048\n"                           \
  "  %odd = or i64 %cut, %sticky\n  %up = add i64 %x, 9007199254740992\n"                                              \
  "  %small = icmp ult i64 %up, 18014398509481984\n  %z = select i1 %small, i64 %x, i64 %odd\n"                        \
  "  %d = call arm_aapcscc double @" of "(i64 %z)\n  %y = fptrunc double %d to float\n  ret float %y\n}\n"

/* |x| = hi * 2^32 + lo, each step exact. */
#define FROM_DOUBLE(name)                                                                                              \
  "define arm_aapcscc i64 @" name "(double %x) {\n  %neg = fcmp olt double %x, 0.0\n  %minus = fneg double %x\n"       \
  "  %a = select i1 %neg, double %minus, double %x\n  %q = fmul double %a, 0x3DF0000000000000\n"                       \
  "  %hi = fptoui double %q to i32\n  %dh = uitofp i32 %hi to double\n  %big = fmul double %dh, 4294967296.0\n"        \
  "  %rest = fsub double %a, %big\n  %lo = fptoui double %rest to i32\n  %h = zext i32 %hi to i64\n"                   \
  "  %h32 = shl i64 %h, 32\n  %l = zext i32 %lo to i64\n  %y = or i64 %h32, %l\n  %m = sub i64 0, %y\n"                \
  "  %r = select i1 %neg, i64 %m, i64 %y\n  ret i64 %r\n}\n"

#define FROM_FLOAT(name, of)                                                                                           \
  "declare arm_aapcscc i64 @" of "(double)\n"                                                                          \
  "define arm_aapcscc i64 @" name "(float %x) {\n  %d = fpext float %x to double\n"                                    \
  "  %y = call arm_aapcscc i64 @" of "(double %d)\n  ret i64 %y\n}\n"

static const row rows[] = {
  {"__aeabi_uldivmod", "", UNSIGNED("__aeabi_uldivmod", "i64", "63")},
  {"__aeabi_ldivmod", "__aeabi_uldivmod", SIGNED("__aeabi_ldivmod", "__aeabi_uldivmod", "i64", "63")},
  {"__aeabi_uidivmod", "", UNSIGNED("__aeabi_uidivmod", "i32", "31")},
  {"__aeabi_idivmod", "__aeabi_uidivmod", SIGNED("__aeabi_idivmod", "__aeabi_uidivmod", "i32", "31")},
  {"__aeabi_uidiv", "__aeabi_uidivmod", QUOTIENT("__aeabi_uidiv", "__aeabi_uidivmod")},
  {"__aeabi_idiv", "__aeabi_idivmod", QUOTIENT("__aeabi_idiv", "__aeabi_idivmod")},
  {"__aeabi_l2d", "", TO_DOUBLE("__aeabi_l2d", "sitofp")},
  {"__aeabi_ul2d", "", TO_DOUBLE("__aeabi_ul2d", "uitofp")},
  {"__aeabi_l2f", "__aeabi_l2d", TO_FLOAT("__aeabi_l2f", "__aeabi_l2d")},
  {"__aeabi_d2lz", "", FROM_DOUBLE("__aeabi_d2lz")},
  {"__aeabi_f2lz", "__aeabi_d2lz", FROM_FLOAT("__aeabi_f2lz", "__aeabi_d2lz")},
};

static int find(const char *name) {
  for (unsigned i = 0; i < LT_COUNT(rows); i++)
    if (strcmp(rows[i].name, name) == 0) return (int)i;
  return -1;
}

bool lt_libcalls_want(lt_libcalls *all, const char *name) {
  int i = find(name);
  if (i < 0) return false;
  for (; i >= 0; i = find(rows[i].needs)) all->wanted |= (uint64_t)1 << i;
  return true;
}

static void add(lt_module *m, const row *r) {
  lt_ll *l = &m->l;
  char *message = NULL;
  LLVMModuleRef part;
  LLVMMemoryBufferRef text = LLVMCreateMemoryBufferWithMemoryRangeCopy(r->text, strlen(r->text), r->name);
  if (LLVMParseIRInContext(l->ctx, text, &part, &message)) { /* takes the text */
    const char *said = lt_arena_strdup(l->arena, message ? message : "");
    LLVMDisposeMessage(message);
    lt_fail(l->job, LATHE_E_INTERNAL, NULL, "the text of `%s`: %s", r->name, said);
  }
  LLVMSetTarget(part, l->target->triple);
  LLVMSetDataLayout(part, LLVMGetDataLayoutStr(l->mod));
  if (LLVMLinkModules2(l->mod, part))
    lt_fail(l->job, LATHE_E_INTERNAL, NULL, "`%s` cannot be put into the module", r->name);
  LLVMValueRef fn = LLVMGetNamedFunction(l->mod, r->name);
  lt_ll_attributes(l, fn);
}

void lt_libcalls_add(lt_module *m, const lt_libcalls *all) {
  for (unsigned i = 0; i < LT_COUNT(rows); i++)
    if (all->wanted >> i & 1) add(m, &rows[i]);
  for (unsigned i = 0; i < LT_COUNT(rows); i++) /* last: a local function would not be linked to */
    if (all->wanted >> i & 1) LLVMSetLinkage(LLVMGetNamedFunction(m->l.mod, rows[i].name), LLVMInternalLinkage);
}
