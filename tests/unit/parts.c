/* parts.c: a module as several objects: every function is in exactly one of them, what they need is in the others, the
 * same objects come of any order of the threads, and what goes wrong in any part is the module's failure. */
#include "check_main.h"
#include "codegen/module.h"

#include <stdio.h>

enum { FUNCTIONS = 7, LONG = 900, PARTS = 3 };

/* Bodies in the order of their indices, or the last one first. */
static void forwards(void *ctx, int64_t n, void (*body)(void *arg, int64_t i), void *arg) {
  for (int64_t i = 0; i < n; i++) body(arg, i);
}
static void backwards(void *ctx, int64_t n, void (*body)(void *arg, int64_t i), void *arg) {
  for (int64_t i = n; i-- > 0;) body(arg, i);
}

/* work.N(p, i): a chain of stores, and in the end a call of the one before. */
static LLVMValueRef work(lt_ll *l, unsigned index, LLVMValueRef before) {
  char name[20];
  snprintf(name, sizeof name, "work.%u", index);
  LLVMValueRef fn = lt_ll_function(l, name, true), x = LLVMGetParam(fn, 1), to = LLVMGetParam(fn, 0);
  for (unsigned i = 0; i < LONG + index * 20; i++) {
    x = LLVMBuildAdd(l->b, x, lt_ll_i64(l, (int64_t)i * (index + 3)), "");
    if (i % 60 == 0) LLVMBuildStore(l->b, x, lt_ll_at(l, to, NULL, LT_I64, i));
  }
  LLVMTypeRef type = LLVMGlobalGetValueType(fn);
  if (before) LLVMBuildCall2(l->b, type, before, (LLVMValueRef[]){to, x}, 2, "");
  LLVMBuildRetVoid(l->b);
  return fn;
}

/* What LLVM can only refuse when it translates: a register that there is not. */
static void add_mistake(lt_ll *l, LLVMValueRef fn) {
  char text[] = "nop", wants[] = "={none}";
  LLVMTypeRef type = LLVMFunctionType(l->i64, NULL, 0, false);
  LLVMValueRef mistake =
    LLVMGetInlineAsm(type, text, strlen(text), wants, strlen(wants), true, false, LLVMInlineAsmDialectATT, false);
  LLVMPositionBuilderBefore(l->b, LLVMGetFirstInstruction(LLVMGetFirstBasicBlock(fn)));
  LLVMBuildCall2(l->b, type, mistake, NULL, 0, "");
}

typedef struct args {
  void (*order)(void *ctx, int64_t n, void (*body)(void *arg, int64_t i), void *arg);
  int64_t threads;
  int mistake; /* the function that has one; -1: none */
  char *bytes; /* of all objects, one after the other */
  size_t n;
  unsigned objects, functions;
} args;

static lt_module *a_module(lt_job *job, lt_arena *a, const args *p) {
  lt_target t, *kept = LT_NEW(a, lt_target);
  lt_target_host(&t, job, a, NULL, NULL);
  *kept = t;
  lt_module *m = lt_module_new(job, a, kept);
  LLVMValueRef before = NULL;
  for (unsigned i = 0; i < FUNCTIONS; i++) {
    before = work(&m->l, i, before);
    if (p->mistake == (int)i) add_mistake(&m->l, before);
  }
  LLVMSetLinkage(before, LLVMExternalLinkage);
  lt_module_verify(m);
  return m;
}

static unsigned count(const char *at, size_t n, const char *what) {
  unsigned found = 0;
  const size_t length = strlen(what) + 1;
  const char *end = at + n;
  for (const char *p = at; (p = memchr(p, what[0], (size_t)(end - p))) && (size_t)(end - p) >= length; p++)
    found += !memcmp(p, what, length);
  return found;
}

static void cut(lt_job *job, void *arg) {
  args *p = arg;
  lt_arena *a = lt_arena_new(job);
  lathe_parallel parallel = {NULL, p->order};
  lt_objects all = lt_module_objects(a_module(job, a, p), (lt_crew){&parallel, p->threads});
  p->objects = all.n;
  for (uint32_t i = 0; i < all.n; i++) {
    size_t n = LLVMGetBufferSize(all.at[i]), open = 0;
    const char *at = LLVMGetBufferStart(all.at[i]), *const *name = lt_undefined(job, a, all.at[i]);
    for (; name[open]; open++) ck_assert_msg(!strncmp(name[open], "work.", 5), "%s", name[open]);
    unsigned named = 0; /* each where it is defined and where it is called */
    for (unsigned f = 0; f < FUNCTIONS; f++) {
      char text[20];
      snprintf(text, sizeof text, "work.%u", f);
      named += count(at, n, text);
    }
    p->functions += named - (unsigned)open;
    p->bytes = realloc(p->bytes, p->n + n);
    memcpy(p->bytes + p->n, at, n);
    p->n += n;
    LLVMDisposeMemoryBuffer(all.at[i]);
    lt_defer_cancel(job, all.at[i]);
  }
}

START_TEST(each_function_once) {
  lathe_error e;
  args a = {.order = forwards, .threads = PARTS, .mistake = -1}, b = a, one = a;
  b.order = backwards, one.threads = 1;
  ck_assert_msg(lt_protect(&e, cut, &a) == LATHE_OK, "%s", e.message);
  ck_assert_msg(lt_protect(&e, cut, &b) == LATHE_OK, "%s", e.message);
  ck_assert_msg(lt_protect(&e, cut, &one) == LATHE_OK, "%s", e.message);
  ck_assert_uint_eq(one.objects, 1);
  ck_assert_uint_eq(a.objects, PARTS);
  ck_assert_uint_eq(a.functions, FUNCTIONS);
  ck_assert_uint_eq(a.n, b.n);
  ck_assert_mem_eq(a.bytes, b.bytes, a.n);
  free(a.bytes), free(b.bytes), free(one.bytes);
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

/* Threads that would have little to do are none. */
START_TEST(as_many_as_are_worth_it) {
  lathe_error e;
  args a = {.order = forwards, .threads = 1000, .mistake = -1};
  ck_assert_msg(lt_protect(&e, cut, &a) == LATHE_OK, "%s", e.message);
  ck_assert_uint_gt(a.objects, 1);
  ck_assert_uint_le(a.objects, FUNCTIONS);
  free(a.bytes);
}
END_TEST

START_TEST(a_mistake_in_any_part) {
  for (int i = 0; i < FUNCTIONS; i++) {
    lathe_error e;
    args a = {.order = i % 2 ? forwards : backwards, .threads = PARTS, .mistake = i};
    ck_assert_int_eq(lt_protect(&e, cut, &a), LATHE_E_INTERNAL);
    ck_assert_msg(strstr(e.message, "code generation: ") && strstr(e.message, "constraint"), "%s", e.message);
    ck_assert_int_eq(lt_mem_live(), 0);
  }
}
END_TEST

LT_SUITE(parts, each_function_once, as_many_as_are_worth_it, a_mistake_in_any_part)
LT_TEST_MAIN(parts)
