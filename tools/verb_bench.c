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

static double percent(double part, double all) { return all > 0 ? 100 * part / all : 0; }

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* each: of one kernel */
typedef struct line { const char *name, *op; lathe_kernel each; double seconds, gflop; int kernels; } line;

/* `of`: the seconds that are 100 %; 0: no share. */
static void print_line(const line *l, double of, const result *r) {
  printf("%-32s %-22s %10.4f ", l->name, l->op, l->seconds * 1e3);
  if (of > 0) printf("%8.1f", percent(l->seconds, of));
  else printf("%8s", "");
  printf(" %10.3f %10.1f %8.1f", l->gflop * 1e3, l->seconds > 0 ? l->gflop / l->seconds : 0,
         share(l->gflop, l->seconds, r->peak));
}

static int by_seconds(const void *a, const void *b) {
  double x = ((const line *)a)->seconds, y = ((const line *)b)->seconds;
  return (x < y) - (x > y);
}

/* Kernels of one op together, those that take longest first; nothing where no op has two. */
static void print_ops(const line *kernel, size_t n, double sum, const result *r) {
  line *op = need(calloc(n + 1, sizeof *op));
  size_t ops = 0, k;
  for (size_t i = 0; i < n; i++) {
    for (k = 0; k < ops && strcmp(op[k].name, kernel[i].op) != 0; k++) {}
    if (k == ops) op[ops++] = (line){.name = kernel[i].op};
    op[k].seconds += kernel[i].seconds, op[k].gflop += kernel[i].gflop, op[k].kernels += kernel[i].kernels;
  }
  qsort(op, ops, sizeof *op, by_seconds);
  for (k = 0; k < ops && ops < n; k++) {
    char *count = format("%d kernel%s", op[k].kernels, op[k].kernels == 1 ? "" : "s");
    op[k].op = count;
    print_line(&op[k], sum, r);
    printf("\n");
    free(count);
  }
  free(op);
}

/* Kernels that differ in nothing that a line says (bands of an image, steps of a loop) are one line. */
static line *line_of(line *all, size_t *n, const lathe_kernel *k) {
  for (size_t i = 0; i < *n; i++) {
    const lathe_kernel *x = &all[i].each;
    if (x->gflop == k->gflop && x->bytes == k->bytes && !strcmp(x->name, k->name) && !strcmp(x->op, k->op) &&
        !strcmp(x->fused, k->fused))
      return &all[i];
  }
  all[*n] = (line){.name = k->name, .op = k->op, .each = *k};
  return &all[(*n)++];
}

static void print_kernels(const line *kernel, size_t n, double sum, const result *r) {
  printf("%-32s %-22s %10s %8s %10s %10s %8s  %s\n", "kernel", "op", "ms", "% time", "MFLOP", "GFLOP/s", "% peak",
         "with");
  for (size_t i = 0; i < n; i++) {
    line l = kernel[i];
    char *many = l.kernels > 1 ? format("%s, %d times", l.op, l.kernels) : NULL;
    if (many) l.op = many;
    print_line(&l, sum, r);
    printf(*l.each.fused ? "  %s\n" : "\n", l.each.fused);
    free(many);
  }
}

static void print_table(const lathe_model *m, const result *r) {
  lathe_kernel k;
  double sum = 0;
  line *kernel = need(calloc((size_t)r->stats.kernels + 1, sizeof *kernel));
  size_t n = 0;
  for (size_t i = 0; lathe_model_kernel(m, r->entry, i, &k); i++) {
    line *l = line_of(kernel, &n, &k);
    l->seconds += r->kernel[i], l->gflop += k.gflop, l->kernels++;
    sum += r->kernel[i];
  }
  print_kernels(kernel, n, sum, r);
  print_ops(kernel, n, sum, r);
  print_line(&(line){.name = "all kernels", .op = "", .seconds = sum, .gflop = r->stats.gflop}, sum, r);
  printf("\n");
  print_line(&(line){.name = "whole call, best", .op = "", .seconds = r->whole.best, .gflop = r->stats.gflop}, 0, r);
  printf("\n%-32s %-22s %10.4f  (%lld calls)\n", "whole call, median", "", r->whole.median * 1e3,
         (long long)r->whole.calls);
  printf("FMA peak %.1f GFLOP/s on %d thread%s; compiled in %.1f ms; arena %lld bytes, weights %lld bytes\n", r->peak,
         r->threads, r->threads == 1 ? "" : "s", r->stats.compile_ms, (long long)r->stats.scratch_bytes,
         (long long)(r->stats.state_bytes ? r->stats.state_bytes : r->stats.weights_bytes));
  free(kernel);
}

static void print_json(const lathe_model *m, const result *r) {
  lathe_kernel k;
  double sum = 0;
  for (int i = 0; i < r->stats.kernels; i++) sum += r->kernel[i];
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
    printf(", \"fused\": ");
    json_string(stdout, k.fused);
    printf(", \"ms\": %.6f, \"share\": %.4g, \"gflop\": %.9g}", r->kernel[i] * 1e3, percent(r->kernel[i], sum) / 100,
           k.gflop);
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
