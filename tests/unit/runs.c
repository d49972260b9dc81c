/* runs.c: cuts of all small nests counted one by one; cuts of a contraction. */
#include "check_main.h"
#include "plan/build.h"

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

START_TEST(even) {
  static const int64_t extent[] = {1, 2, 3, 7, 16, 28, 144, 147, 148, 300, 1100};
  enum { E = sizeof extent / sizeof *extent };
  for (unsigned i = 0; i < E * E * E; i++) {
    const int64_t e[] = {extent[i / E / E], extent[i / E % E], extent[i % E]}, all = e[0] * e[1] * e[2];
    if (all > 1000000) continue;
    int64_t longest;
    const lt_runs r = lt_runs_even(e, 3), most = lt_runs_within(e, 3, LT_RUN_CONTRACT);
    const int64_t n = walk(&r, e, &longest), least = lt_runs_count(&most, e, 3);
    bool sixteens = r.dim < 2 || r.per == e[2] || r.per % 16 == 0;
    ck_assert_msg(longest <= LT_RUN_CONTRACT && r.dim == most.dim && n >= least &&
                    n <= least + (e[2] / 144 + 1) * e[0] * e[1] && sixteens,
                  "%lld %lld %lld: %lld runs, the longest %lld", (long long)e[0], (long long)e[1], (long long)e[2],
                  (long long)n, (long long)longest);
    ck_assert_int_eq(n == 1, all <= LT_RUN_CONTRACT);
  }
  const int64_t channels[] = {64, 1, 1, 16}, wide[] = {1, 700}, k[] = {2048};
  ck_assert_int_eq(lt_runs_even(channels, 4).per, 8); /* 8 runs of 8 blocks, none shorter */
  ck_assert_int_eq(lt_runs_even(wide, 2).per, 144);
  ck_assert_int_eq(lt_runs_even(k, 1).per, 144);
}
END_TEST

START_TEST(nothing_overflows) {
  const int64_t e[] = {INT32_MAX, INT32_MAX, 3};
  const lt_runs r = lt_runs_of(e, 3);
  ck_assert(r.dim == 1 && r.per == LT_RUN / 3);
  ck_assert(lt_runs_one(&r, e, 0)); /* a sum over no dims is one element */
}
END_TEST

/* ---- K of a contraction ---- */

static lt_contract segments(int64_t blocks, int64_t rest) {
  lt_contract c = {0};
  if (blocks) c.seg[c.n_seg++] = (lt_kseg){.n = 4, .extent = {blocks, 3, 3, 16}};
  if (rest) c.seg[c.n_seg++] = (lt_kseg){.n = 3, .extent = {3, 3, rest}};
  lt_contract_cut(&c);
  return c;
}

static bool same_text(const lt_str *a, const lt_str *b) { return a->n == b->n && memcmp(a->at, b->at, a->n) == 0; }

static void key_body(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  lt_contract c = segments(32, 0);
  lt_kernel k = {.kind = LT_K_CONTRACT, .contract = &c, .block_dim = LT_NONE, .n_dims = 1, .extent = {4}};
  lt_str key[3];
  for (int i = 0; i < 3; i++) {
    lt_str_init(&key[i], a);
    if (i == 1) c.seg[0].run.per = 2;
    if (i == 2) c.cut = false;
    lt_kernel_key(&key[i], &k);
  }
  ck_assert(!same_text(&key[0], &key[1]) && !same_text(&key[0], &key[2]) && !same_text(&key[1], &key[2]));
  (void)arg;
}

START_TEST(runs_of_segments) {
  lathe_error e = {0};
  ck_assert_msg(lt_protect(&e, key_body, NULL) == LATHE_OK, "%s", e.message);
  lt_contract one = segments(1, 0), joined = segments(0, 15), two = segments(1, 1), many = segments(32, 20);
  ck_assert(!one.cut && !joined.cut && two.cut && many.cut);
  ck_assert(many.seg[0].run.dim == 0 && many.seg[0].run.per == 1);
  ck_assert(many.seg[1].run.dim == 0 && many.seg[1].run.per == 2);
  ck_assert(two.seg[1].run.dim == 0 && two.seg[1].run.per == 3); /* all of the segment */
}
END_TEST

LT_SUITE(runs, small_nests, even, nothing_overflows, runs_of_segments)
LT_TEST_MAIN(runs)
