/* check_main.h: the main function of a Check program that speaks TAP. LT_TEST_MAIN(suite) where `Suite *suite(void)`;
 * several suites: LT_TEST_MAIN_ALL(a, b, …). Tests run in one process each (CK_FORK=no turns that off for a debugger). */
#ifndef LT_CHECK_MAIN_H
#define LT_CHECK_MAIN_H
#include <check.h>
#include <stdlib.h>

#define LT_TEST_MAIN_ALL(...)                                                                                          \
  int main(void) {                                                                                                     \
    Suite *(*const suites[])(void) = {__VA_ARGS__};                                                                    \
    SRunner *sr = srunner_create(suites[0]());                                                                         \
    for (size_t i = 1; i < sizeof suites / sizeof suites[0]; i++) srunner_add_suite(sr, suites[i]());                  \
    srunner_set_tap(sr, "-");                                                                                          \
    srunner_run_all(sr, CK_SILENT);                                                                                    \
    int failed = srunner_ntests_failed(sr);                                                                            \
    srunner_free(sr);                                                                                                  \
    return failed != 0;                                                                                                \
  }
#define LT_TEST_MAIN(suite) LT_TEST_MAIN_ALL(suite)

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
