/* Runs: cuts of all small nests counted one by one. */
#include "check_main.h"
#include "plan/runs.h"

/* Walks the nest; a run ends where the cut says so. Returns how many there were; *longest of them. */
static int64_t walk(const lt_runs *r, const int64_t *e, int64_t *longest) {
  int64_t n = 0, length = 0;
  *longest = 0;
  for (int64_t i = 0; i < e[0] * e[1] * e[2]; i++) {
    const int64_t at[] = {i / e[2] / e[1], i / e[2] % e[1], i % e[2]};
    bool begins = at[r->dim] % r->per == 0;
    for (unsigned d = r->dim + 1u; d < 3; d++) begins = begins && at[d] == 0;
    if (begins && length) *longest = length > *longest ? length : *longest, length = 0;
    if (begins) n++;
    length++;
    if (i + 1 == e[0] * e[1] * e[2]) *longest = length > *longest ? length : *longest;
  }
  return n;
}

START_TEST(small_nests) {
  static const int64_t extent[] = {1, 2, 3, 7, 16, 33, 256, 257, 511, 512, 513, 1100};
  enum { E = sizeof extent / sizeof *extent };
  for (unsigned i = 0; i < E * E * E; i++) {
    const int64_t e[] = {extent[i / E / E], extent[i / E % E], extent[i % E]}, all = e[0] * e[1] * e[2];
    if (all > 4000000) continue;
    int64_t longest;
    const lt_runs r = lt_runs_of(e, 3);
    const int64_t n = walk(&r, e, &longest);
    ck_assert_msg(longest <= LT_RUN && n == lt_runs_count(&r, e, 3), "%lld %lld %lld: %lld runs, the longest %lld",
                  (long long)e[0], (long long)e[1], (long long)e[2], (long long)n, (long long)longest);
    ck_assert_msg(lt_runs_one(&r, e, 3) == (all <= LT_RUN), "%lld iterations, %lld runs", (long long)all, (long long)n);
  }
}
END_TEST

START_TEST(nothing_overflows) {
  const int64_t e[] = {INT32_MAX, INT32_MAX, 3};
  const lt_runs r = lt_runs_of(e, 3);
  ck_assert(r.dim == 1 && r.per == LT_RUN / 3);
  ck_assert(lt_runs_one(&r, e, 0)); /* a sum over no dims is one element */
}
END_TEST

LT_SUITE(runs, small_nests, nothing_overflows)
LT_TEST_MAIN(runs)
