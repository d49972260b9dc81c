/* verb_bench.c: whole calls and single kernels, timed, against the FMA peak measured in the same run. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct timing {
  double best, median;
  int64_t calls;
} timing; /* seconds */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* At least 5 calls, then as many as fit in the time (100,000 at most). */
static timing time_calls(const cli *c, lathe_instance *s, const char *entry, double seconds) {
  enum { MOST = 100000, LEAST = 5 };
  double *t = need(malloc(MOST * sizeof *t)), start = now();
  int n = 0;
  for (; n < MOST && (n < LEAST || now() - start < seconds); n++) {
    double before = now();
    call_entry(c, s, entry);
    t[n] = now() - before;
  }
  qsort(t, (size_t)n, sizeof *t, by_value);
  timing r = {t[0], t[n / 2], n};
  free(t);
  return r;
}

typedef struct result {
  const char *entry;
  lathe_stats stats;
  timing whole;
  double *kernel; /* best seconds of each */
  double peak;    /* of all threads together, GFLOP/s */
  int threads;
} result;

static double share(double gflop, double seconds, double peak) {
  return seconds > 0 && peak > 0 ? 100 * gflop / seconds / peak : 0;
}

static void print_table(const lathe_model *m, const result *r) {
  lathe_kernel k;
  double sum = 0;
  printf("%-32s %-22s %10s %10s %10s %8s\n", "kernel", "op", "ms", "MFLOP", "GFLOP/s", "% peak");
  for (size_t i = 0; lathe_model_kernel(m, r->entry, i, &k); i++) {
    double t = r->kernel[i];
    sum += t;
    printf("%-32s %-22s %10.4f %10.3f %10.1f %8.1f\n", k.name, k.op, t * 1e3, k.gflop * 1e3, t > 0 ? k.gflop / t : 0,
           share(k.gflop, t, r->peak));
  }
  printf("%-32s %-22s %10.4f %10.3f %10.1f %8.1f\n", "all kernels", "", sum * 1e3, r->stats.gflop * 1e3,
         sum > 0 ? r->stats.gflop / sum : 0, share(r->stats.gflop, sum, r->peak));
  printf("%-32s %-22s %10.4f %10.3f %10.1f %8.1f\n", "whole call, best", "", r->whole.best * 1e3, r->stats.gflop * 1e3,
         r->stats.gflop / r->whole.best, share(r->stats.gflop, r->whole.best, r->peak));
  printf("%-32s %-22s %10.4f  (%lld calls)\n", "whole call, median", "", r->whole.median * 1e3,
         (long long)r->whole.calls);
  printf("FMA peak %.1f GFLOP/s on %d thread%s; compiled in %.1f ms; arena %lld bytes, weights %lld bytes\n", r->peak,
         r->threads, r->threads == 1 ? "" : "s", r->stats.compile_ms, (long long)r->stats.scratch_bytes,
         (long long)(r->stats.state_bytes ? r->stats.state_bytes : r->stats.weights_bytes));
}

static void print_json(const lathe_model *m, const result *r) {
  lathe_kernel k;
  printf("{\"entry\": \"%s\", \"threads\": %d, \"compile_ms\": %.3f, \"best_ms\": %.6f, \"median_ms\": %.6f, "
         "\"calls\": %lld, "
         "\"gflop\": %.9g, \"peak_gflops\": %.6g, \"arena_bytes\": %lld, \"weight_bytes\": %lld, \"state_bytes\": "
         "%lld, \"kernels\": [",
         r->entry, r->threads, r->stats.compile_ms, r->whole.best * 1e3, r->whole.median * 1e3,
         (long long)r->whole.calls, r->stats.gflop, r->peak, (long long)r->stats.scratch_bytes,
         (long long)r->stats.weights_bytes, (long long)r->stats.state_bytes);
  for (size_t i = 0; lathe_model_kernel(m, r->entry, i, &k); i++) {
    printf("%s\n  {\"name\": ", i ? "," : "");
    json_string(stdout, k.name);
    printf(", \"op\": ");
    json_string(stdout, k.op);
    printf(", \"ms\": %.6f, \"gflop\": %.9g}", r->kernel[i] * 1e3, k.gflop);
  }
  printf("\n]}\n");
}

char *peak_line(const cli *c, lathe_model *m, const char *entry, double seconds) {
  lathe_error e;
  lathe_stats st;
  lathe_instance *s = lathe_open(m, NULL, &e); /* one thread: kernels run one by one */
  if (!s) fail_api(c, &e);
  if (!lathe_model_stats(m, entry, &st)) st = (lathe_stats){0};
  ports in = ports_of(m, entry, "input");
  for (size_t i = 0; i < in.n; i++)
    if (lathe_fill(s, in.at[i].name, 0, 0)) fail_work(c, "cannot fill input '%s'", in.at[i].name);
  double *best = need(calloc((size_t)st.kernels + 1, sizeof *best)), before = lathe_peak_gflops(m), sum = 0;
  if (lathe_profile(s, entry, seconds, best, &e)) fail_api(c, &e);
  double peak = lathe_peak_gflops(m), reached;
  if (before > peak) peak = before;
  for (int i = 0; i < st.kernels; i++) sum += best[i];
  reached = sum > 0 ? st.gflop / sum : 0;
  free(best);
  free(in.at);
  lathe_instance_free(s);
  return format("kernels reach %.1f GFLOP/s, %.0f %% of one core's FMA peak (%.1f GFLOP/s)", reached,
                peak > 0 ? 100 * reached / peak : 0, peak);
}

int verb_bench(cli *c) {
  lathe_error e;
  double seconds = real_of(c, "seconds", 1);
  bool train = has(c, "train");
  static const char *const only_train[] = {"loss", "optimizer", "weight-decay", "clip-norm", "freeze"};
  for (size_t i = 0; i < sizeof only_train / sizeof only_train[0] && !train; i++)
    if (has(c, only_train[i])) fail_usage(c, "--%s goes with --train", only_train[i]);
  result r = {.entry = train ? "train" : "run", .threads = (int)int_of(c, "threads", 1)};
  lathe_graph *g = load_graph(c);
  lathe_model *m = compile(c, g, train ? "--profile --entry train" : "--profile --entry run");
  lathe_instance *s = open_instance(c, m);
  ports in = ports_of(m, r.entry, "input");
  if (!lathe_model_stats(m, r.entry, &r.stats)) r.stats = (lathe_stats){0};
  set_inputs(c, g, s, &in, false);
  call_entry(c, s, r.entry); /* the first call starts threads and touches memory */
  double peak = lathe_peak_gflops(m);
  r.whole = time_calls(c, s, r.entry, seconds / 2);
  r.kernel = need(calloc((size_t)r.stats.kernels + 1, sizeof *r.kernel));
  if (lathe_profile(s, r.entry, seconds / 2, r.kernel, &e)) fail_api(c, &e);
  double again = lathe_peak_gflops(m); /* clocks move: the better of before and after */
  r.peak = (again > peak ? again : peak) * r.threads;
  if (has(c, "json")) print_json(m, &r);
  else print_table(m, &r);
  free(r.kernel);
  free(in.at);
  lathe_instance_free(s);
  lathe_model_free(m);
  lathe_graph_free(g);
  return 0;
}
