/* skipping.c: a program for the test `skips`: of its tests one passes, one is skipped, and where FAILS is set one
 * fails. */
#include "check_main.h"

START_TEST(passes) { ck_assert(1); }
END_TEST

START_TEST(skips) { LT_SKIP("no %s here", "anvil"); }
END_TEST

START_TEST(may_fail) { ck_assert_ptr_null(getenv("FAILS")); }
END_TEST

START_TEST(may_crash) {
  if (getenv("CRASHES")) abort();
}
END_TEST

LT_SUITE(skipping, passes, skips, may_fail, may_crash)
LT_TEST_MAIN(skipping)
