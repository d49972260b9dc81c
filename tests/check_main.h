/* check_main.h: the main function of a Check program that speaks TAP. LT_TEST_MAIN(suite) where `Suite *suite(void)`;
 * several suites: LT_TEST_MAIN_ALL(a, b, …). Tests run in one process each (CK_FORK=no turns that off for a
 * debugger). */
#ifndef LT_CHECK_MAIN_H
#define LT_CHECK_MAIN_H
#include <check.h>
#include <stdlib.h>

int lt_check_main(Suite *(*const suites[])(void), size_t n);

#define LT_TEST_MAIN_ALL(...)                                                                                          \
  int main(void) {                                                                                                     \
    Suite *(*const suites[])(void) = {__VA_ARGS__};                                                                    \
    return lt_check_main(suites, sizeof suites / sizeof suites[0]);                                                    \
  }
#define LT_TEST_MAIN(suite) LT_TEST_MAIN_ALL(suite)

/* Ends a test that cannot be made here, with the reason as printf takes it. It is reported and counted as skipped;
 * where LT_NO_SKIP is set it fails, unless the extended regular expression LT_MAY_SKIP fits the reason. The same in
 * bash: `skip` of tap.sh; in meson.build: the program `skipped`. */
#define LT_SKIP(...) ck_abort_msg(LT_SKIP_MARK __VA_ARGS__)
#define LT_SKIP_MARK "LT_SKIP "

/* LT_UPDATE=1 writes golden files anew instead of comparing with them. */
static inline int lt_updates(void) { return getenv("LT_UPDATE") != NULL; }

/* The sanitizers, by gcc's names for them and clang's. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define LT_ADDRESS_SANITIZER 1
#else
#define LT_ADDRESS_SANITIZER 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define LT_THREAD_SANITIZER 1
#else
#define LT_THREAD_SANITIZER 0
#endif

/* A suite of one case: LT_SUITE(name, test_a, test_b) defines `static Suite *name(void)`. */
#define LT_SUITE(name, ...)                                                                                            \
  static Suite *name(void) {                                                                                           \
    const TTest *const tests[] = {__VA_ARGS__};                                                                        \
    Suite *s = suite_create(#name);                                                                                    \
    TCase *c = tcase_create(#name);                                                                                    \
    tcase_set_timeout(c, 60);                                                                                          \
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) tcase_add_test(c, tests[i]);                           \
    suite_add_tcase(s, c);                                                                                             \
    return s;                                                                                                          \
  }
#endif
