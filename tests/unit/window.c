/* Windows: what window.h computes against counting taps and pixels one by one, for all small axes. */
#include "check_main.h"
#include "ir/window.h"

#define CHECK(condition, ...)                                                                                          \
  do {                                                                                                                 \
    if (!(condition)) ck_abort_msg(__VA_ARGS__);                                                                       \
  } while (0) /* (ck_assert is slow) */

static bool inside(int64_t at, int64_t size) { return at >= 0 && at < size; }
static int64_t pixel(const lt_window_axis *a, int64_t o, int64_t k) {
  return o * a->stride - a->before + k * a->dilation;
}

static lt_arena *arena; /* of the test that runs */

/* Calls f for every axis whose numbers are small and that has windows. */
static int64_t each_axis(void (*f)(const lt_window_axis *a)) {
  int64_t n = 0, padded, extent;
  for (int64_t i = 0; i < 7 * 5 * 7 * 4 * 4 * 4 * 2; i++) {
    int64_t r = i;
    lt_window_axis a = {.size = 1 + r % 7};
    r /= 7, a.kernel = 1 + r % 5, r /= 5, a.stride = 1 + r % 7, r /= 7, a.dilation = 1 + r % 4, r /= 4;
    a.before = r % 4, r /= 4, a.after = r % 4, r /= 4, a.ceil = r % 2;
    if (lt_window_count(&a, &padded, &extent) != LT_WINDOW_FITS) continue;
    f(&a);
    n++;
  }
  return n;
}

static void counted(const lt_window_axis *a) {
  int64_t n = 0, end = a->size + a->before + a->after, extent = (a->kernel - 1) * a->dilation + 1;
  while (n * a->stride + extent <= end) n++;
  /* with ceil one more, if it starts before the border at the end and something was left over */
  if (a->ceil && (n - 1) * a->stride + extent < end && n * a->stride < a->size + a->before) n++;
  CHECK(a->windows == n, "%lld windows, not %lld", (long long)a->windows, (long long)n);
}

static void tapped(const lt_window_axis *a) {
  for (int64_t o = 0; o < a->windows; o++) {
    int64_t taps = 0, with_border = 0;
    lt_span s = lt_window_taps(a, o);
    for (int64_t k = 0; k < a->kernel; k++) {
      int64_t at = pixel(a, o, k);
      lt_span seen = lt_window_seen_by(a, k);
      taps += inside(at, a->size), with_border += at >= -a->before && at < a->size + a->after;
      CHECK((k >= s.lo && k < s.hi) == inside(at, a->size), "tap %lld of window %lld", (long long)k, (long long)o);
      CHECK((o >= seen.lo && o < seen.hi) == inside(at, a->size), "window %lld at tap %lld", (long long)o,
            (long long)k);
    }
    CHECK(lt_window_elements(a, o, false) == taps, "%lld elements", (long long)taps);
    CHECK(lt_window_elements(a, o, true) == with_border, "%lld elements with the border", (long long)with_border);
  }
}

static void haloed(const lt_window_axis *a) {
  lt_window_halo h = lt_halo_of_windows(a), of = {0, 0};
  lt_window_halo back = lt_halo_of_adjoint(a), of_back = {0, 0};
  for (int64_t o = 0; o < a->windows; o++)
    for (int64_t k = 0; k < a->kernel; k++) {
      of.before = LT_MAX(of.before, -pixel(a, o, k));
      of.after = LT_MAX(of.after, pixel(a, o, k) - (a->size - 1));
    }
  for (int64_t i = 0; i < a->size; i++)
    for (int64_t k = 0; k < a->kernel; k++) {
      int64_t at = i + a->before - k * a->dilation;
      if (at % a->stride || (a->windows == 1 && at)) continue;
      of_back.before = LT_MAX(of_back.before, -(at / a->stride));
      of_back.after = LT_MAX(of_back.after, at / a->stride - (a->windows - 1));
    }
  CHECK(h.before == of.before && h.after == of.after, "the halo of the windows");
  CHECK(back.before == of_back.before && back.after == of_back.after, "the halo of the adjoint");
}

/* Is tap j of the run at its pixel (q, p) tap k? */
static void reached(const lt_window_axis *a, const lt_phase_run *r, int64_t q, int64_t p) {
  int64_t i = r->at + q * r->pitch + p * r->at_step, j = 0;
  for (int64_t k = 0; k < a->kernel; k++) {
    int64_t at = i + a->before - k * a->dilation;
    if (at % a->stride || (a->windows == 1 && at)) continue;
    bool meets =
      k == r->first + j * r->step + p * r->first_step && at / a->stride == r->from + q - j * r->back + p * r->from_step;
    CHECK(j < r->taps && meets, "tap %lld of pixel %lld", (long long)k, (long long)i);
    j++;
  }
  CHECK(j == r->taps, "%lld taps at pixel %lld", (long long)j, (long long)i);
}

/* Every pixel is in one run; the taps of a run meet each of its pixels in the window that it says, and no others do. */
static void phased(const lt_window_axis *a) {
  static lt_phase_runs runs;
  static uint8_t seen[100];
  memset(seen, 0, sizeof seen);
  runs.n = 0;
  lt_window_runs(&runs, arena, a);
  for (uint32_t n = 0; n < runs.n; n++)
    for (int64_t q = 0; q < runs.at[n].pixels; q++)
      for (int64_t p = 0; p < runs.at[n].phases; p++) {
        seen[runs.at[n].at + q * runs.at[n].pitch + p * runs.at[n].at_step]++;
        reached(a, &runs.at[n], q, p);
      }
  for (int64_t i = 0; i < a->size; i++) CHECK(seen[i] == 1, "pixel %lld is in %d runs", (long long)i, seen[i]);
}

static void count_axes(lt_job *job, void *arg) {
  (void)arg;
  arena = lt_arena_new(job);
  int64_t n = each_axis(counted);
  CHECK(n > 10000, "%lld axes", (long long)n);
  each_axis(tapped), each_axis(haloed), each_axis(phased);
}

START_TEST(axes) { ck_assert_int_eq(lt_protect(NULL, count_axes, NULL), LATHE_OK); }
END_TEST

/* Runs are few whatever the stride, and where nothing is even about stride and dilation, too. */
static void count_runs(lt_job *job, void *arg) {
  (void)arg;
  static const struct { int64_t size, kernel, stride, dilation, before, runs; } rows[] = {
    {1200, 300, 300, 1, 0, 1},
    {1190, 300, 300, 1, 5, 3},
    {1000007, 7, 50, 1, 3, 5},
    {1 << 30, 1000, 1 << 20, 1, 77, 4},
    {1 << 30, 1000, 1 << 20, 1 << 10, 0, 3},
    {1 << 30, 1000, 1 << 20, 3, 0, 10},
    {100000, 100000, 3001, 1855, 0, 150},
    {1 << 30, 1 << 21, 1 << 20, (1 << 19) - 1, 0, 10},
  };
  arena = lt_arena_new(job);
  for (size_t i = 0; i < LT_COUNT(rows); i++) {
    lt_phase_runs runs = {0};
    int64_t padded, extent;
    lt_window_axis a = {rows[i].size, rows[i].kernel, rows[i].stride, rows[i].dilation, rows[i].before, 0,
                        .ceil = false};
    a.after = (a.kernel - 1) * a.dilation;
    CHECK(lt_window_count(&a, &padded, &extent) == LT_WINDOW_FITS, "row %d", (int)i);
    lt_window_runs(&runs, arena, &a);
    CHECK(runs.n <= rows[i].runs, "row %d: %u runs", (int)i, runs.n);
    int64_t pixels = 0;
    for (uint32_t n = 0; n < runs.n; n++) pixels += runs.at[n].pixels * runs.at[n].phases;
    CHECK(pixels == a.size, "row %d: %lld pixels", (int)i, (long long)pixels);
  }
}

START_TEST(few_runs) { ck_assert_int_eq(lt_protect(NULL, count_runs, NULL), LATHE_OK); }
END_TEST

/* Numbers up to 2^31 - 1: nothing overflows (the sanitizers look), and nothing takes time. */
static void large_axes(lt_job *job, void *arg) {
  (void)arg;
  arena = lt_arena_new(job);
  const int64_t M = INT32_MAX;
  lt_window_axis a = {
    .size = 8, .kernel = 3, .stride = 1080000000, .dilation = 1, .before = 1080000000, .after = 1080000000};
  int64_t padded, extent;
  CHECK(lt_window_count(&a, &padded, &extent) == LT_WINDOW_FITS && a.windows == 3 && padded == 2160000008, "windows");
  CHECK(lt_halo_of_windows(&a).after == 1080000000 - 8 + 3, "the halo");
  CHECK(lt_window_elements(&a, 0, false) == 0 && lt_window_elements(&a, 1, false) == 3, "elements");
  lt_window_axis b = {
    .size = 4, .kernel = 3, .stride = M, .dilation = 1, .before = M / 2, .after = M / 2, .windows = 2};
  lt_window_halo h = lt_halo_of_adjoint(&b);
  CHECK(h.before == 0 && h.after == 0, "the halo of the adjoint");
  lt_window_axis c = {.size = 4, .kernel = M, .stride = M, .dilation = M, .before = M, .after = M};
  CHECK(lt_window_count(&c, &padded, &extent) == LT_WINDOW_TOO_LARGE && extent == (M - 1) * M + 1, "the extent");
  c.kernel = M, c.dilation = INT64_MAX / 4;
  CHECK(lt_window_count(&c, &padded, &extent) == LT_WINDOW_OVERFLOWS, "the extent overflows");
  lt_window_axis d = {.size = 1, .kernel = 5, .stride = M, .dilation = M - 1, .before = 0, .after = 0, .windows = 1};
  lt_phase_runs runs = {0};
  lt_window_runs(&runs, arena, &d);
  CHECK(runs.n == 1 && runs.at[0].taps == 1 && runs.at[0].pixels == 1, "the phase of one pixel");
}

START_TEST(large) { ck_assert_int_eq(lt_protect(NULL, large_axes, NULL), LATHE_OK); }
END_TEST

LT_SUITE(windows, axes, few_runs, large)
LT_TEST_MAIN(windows)
