/* verb_run.c: one call of the run entry; its outputs go to files, into a comparison, or into a summary. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void summarise(const lathe_port *p, const void *data) {
  int64_t n = count_of(p->rank, p->dim), nans = 0, counted = 0;
  double lo = INFINITY, hi = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; i++) {
    double v = value_at(p->dtype, data, i);
    if (isnan(v)) {
      nans++;
      continue;
    }
    if (v < lo) lo = v;
    if (v > hi) hi = v;
    sum += v;
    counted++;
  }
  char *shape = shape_text(p->dtype, p->rank, p->dim);
  printf("%s: %s", p->name, shape);
  if (n == 1) printf("  %.9g", value_at(p->dtype, data, 0));
  else if (counted) printf("  min %.6g  mean %.6g  max %.6g", lo, sum / (double)counted, hi);
  if (nans && n > 1) printf("  NaN %lld", (long long)nans);
  printf("\n");
  free(shape);
}

static char *difference_text(const lathe_port *p, const difference *d, double rtol, double atol) {
  char *at = index_text(p->rank, p->dim, d->worst);
  char *text = format("%lld of %lld values differ, worst at %s: %.9g, expected %.9g (allowed %.3g)", (long long)d->bad,
                      (long long)d->count, at, d->got, d->want, atol + rtol * fabs(d->want));
  free(at);
  return text;
}

/* Comparison number i (from 1) of one output; false where they differ. */
static bool compare_output(const cli *c, const lathe_port *p, const void *data, const char *file, size_t i) {
  double rtol = real_of(c, "rtol", 1e-4), atol = real_of(c, "atol", 1e-5);
  lathe_array want = load_for_port(c, file, p, false);
  difference d = compare_values(p->dtype, data, want.data, count_of(p->rank, p->dim), rtol, atol);
  char *text = d.bad ? difference_text(p, &d, rtol, atol) : NULL;
  if (has(c, "tap"))
    printf("%sok %zu - %s%s%s\n", d.bad ? "not " : "", i, p->name, d.bad ? ": " : "", d.bad ? text : "");
  else if (d.bad) {
    char *message = format("output '%s': %s", p->name, text);
    print_message(c, "error", NULL, message);
    free(message);
  } else printf("%s: ok, %lld values, largest |a-b| %.3g\n", p->name, (long long)d.count, d.largest);
  free(text);
  lathe_free(want.data);
  return d.bad == 0;
}

static const lathe_port *expected_port(const cli *c, const ports *out, size_t i, const char **file) {
  char *name;
  split_name_file(nth_of(c, "expect", i), &name, file);
  const lathe_port *p = find_port(out, name);
  if (!p) fail_no_port(c, "expect", "output", name, out);
  free(name);
  return p;
}

static int compare_outputs(const cli *c, lathe_instance *s, const ports *out) {
  size_t n = 0;
  bool good = true;
  const char *file;
  while (nth_of(c, "expect", n)) n++;
  if (has(c, "tap")) printf("1..%zu\n", n);
  for (size_t i = 0; i < n; i++) {
    const lathe_port *p = expected_port(c, out, i, &file);
    good &= compare_output(c, p, buffer_of(c, s, p->name), file, i + 1);
  }
  return good ? 0 : EXIT_WORK;
}

int verb_run(cli *c) {
  bool compares = has(c, "expect");
  const char *file, *dir = text_of(c, "output-dir", NULL);
  if (has(c, "tap") && !compares) fail_usage(c, "--tap needs something to compare\nhelp: add --expect NAME=F.npy");
  if ((has(c, "rtol") || has(c, "atol")) && !compares)
    fail_usage(c, "--%s goes with --expect", has(c, "rtol") ? "rtol" : "atol");
  lathe_graph *g = load_graph(c);
  lathe_model *m = compile(c, g, "--entry run");
  lathe_instance *s = open_instance(c, m);
  ports in = ports_of(m, "run", "input"), out = ports_of(m, "run", "output");
  for (size_t i = 0; nth_of(c, "expect", i); i++)
    expected_port(c, &out, i, &file); /* names first: cheaper than the call */
  set_inputs(c, g, s, &in, compares);
  call_entry(c, s, "run");
  if (dir) write_results(c, s, &out, dir);
  int code = 0;
  if (compares) code = compare_outputs(c, s, &out);
  else if (!dir)
    for (size_t i = 0; i < out.n; i++) summarise(&out.at[i], buffer_of(c, s, out.at[i].name));
  free(in.at);
  free(out.at);
  lathe_instance_free(s);
  lathe_model_free(m);
  lathe_graph_free(g);
  return code;
}
