/* verb_info.c: what a network consists of, what it costs, and how its memory is laid out. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const char *human(double v, char buffer[32]) {
  static const char *const unit[] = {"", " K", " M", " G", " T"};
  int k = 0;
  while (v >= 10000 && k < 4) v /= 1000, k++;
  snprintf(buffer, 32, v == (double)(int64_t)v ? "%.0f%s" : "%.1f%s", v, unit[k]);
  return buffer;
}

static void print_ports(const lathe_graph *g, const char *kind, const char *title) {
  lathe_port p;
  bool first = true;
  for (size_t i = 0; lathe_graph_port(g, i, &p); i++) {
    if (strcmp(p.kind, kind) != 0) continue;
    char *shape = shape_text(p.dtype, p.rank, p.dim);
    printf("%-11s %-24s %s\n", first ? title : "", p.name, shape);
    free(shape);
    first = false;
  }
}

static void print_weights(const lathe_graph *g) {
  lathe_port p;
  int64_t count = 0, states = 0;
  char buffer[32];
  bool any = false;
  for (size_t i = 0; lathe_graph_port(g, i, &p); i++)
    any |= strcmp(p.kind, "param") == 0 || strcmp(p.kind, "state") == 0;
  if (!any) return;
  printf("\n%-28s %-24s %12s %12s\n", "parameter", "type", "elements", "bytes");
  for (size_t i = 0; lathe_graph_port(g, i, &p); i++) {
    bool param = strcmp(p.kind, "param") == 0;
    if (!param && strcmp(p.kind, "state") != 0) continue;
    char *shape = shape_text(p.dtype, p.rank, p.dim);
    int64_t n = count_of(p.rank, p.dim);
    printf("%-28s %-24s %12lld %12lld%s\n", p.name, shape, (long long)n, (long long)p.bytes, param ? "" : "  (state)");
    free(shape);
    if (param) count += n;
    else states += n;
  }
  printf("%-28s %-24s %12lld %12s\n", "total", "", (long long)count, human((double)count * 4, buffer));
  if (states) printf("%-28s %-24s %12lld\n", "states", "", (long long)states);
}

static void print_kernels(const lathe_model *m, const char *entry) {
  lathe_kernel k;
  char bytes[32];
  printf("\n%-4s %-32s %-20s %12s %10s\n", "", "kernel", "op", "MFLOP", "bytes");
  for (size_t i = 0; lathe_model_kernel(m, entry, i, &k); i++)
    printf("%-4zu %-32s %-20s %12.3f %10s\n", i, k.name, k.op, k.gflop * 1e3, human(k.bytes, bytes));
}

/* One line per buffer: where it lies in the arena, as a bar over its bytes, and when it lives. */
static void print_arena(const lathe_model *m, const char *entry, int64_t arena) {
  enum { WIDTH = 48 };
  lathe_block b;
  if (arena == 0) return;
  printf("\narena, from byte 0 to %lld        kernels   buffer\n", (long long)arena);
  for (size_t i = 0; lathe_model_block(m, entry, i, &b); i++) {
    int from = (int)((double)b.offset / (double)arena * WIDTH),
        to = (int)((double)(b.offset + b.bytes) / (double)arena * WIDTH + 0.999);
    if (to > WIDTH) to = WIDTH;
    if (to <= from) to = from + 1;
    printf("|");
    for (int x = 0; x < WIDTH; x++) fputs(x >= from && x < to ? "█" : " ", stdout);
    printf("| %3d-%-3d %s, %lld bytes\n", b.first, b.last, b.name, (long long)b.bytes);
  }
}

/* "train:loss" and "x=train:loss@N=1" are entries called train and x. */
static char *entry_name(const char *spec) {
  size_t n = strcspn(spec, "=:@");
  return format("%.*s", (int)n, spec);
}

int verb_info(cli *c) {
  lathe_graph *g = load_graph(c);
  char *entry = entry_name(text_of(c, "entry", "run"));
  lathe_model *m = compile(c, g, has(c, "entry") ? NULL : "--entry run");
  lathe_stats st;
  lathe_error e = {.status = LATHE_E_INTERNAL, .message = "no statistics of this entry"};
  if (!lathe_model_stats(m, entry, &st)) fail_api(c, &e);
  char buffer[32];
  print_ports(g, "input", "inputs");
  print_ports(g, "output", "outputs");
  print_weights(g);
  print_kernels(m, entry);
  printf("\n%-28s %.3f\n", "MFLOP per call", st.gflop * 1e3);
  printf("%-28s %s\n", "arena bytes", human((double)st.scratch_bytes, buffer));
  printf("%-28s %s\n", "packed weights, bytes", human((double)st.weights_bytes, buffer));
  printf("%-28s %s\n", "parameters, bytes", human((double)st.params_bytes, buffer));
  if (st.state_bytes) printf("%-28s %s\n", "training state, bytes", human((double)st.state_bytes, buffer));
  printf("%-28s %d in %d functions\n", "kernels", st.kernels, st.functions);
  printf("%-28s %.1f\n", "compile time, ms", st.compile_ms);
  print_arena(m, entry, st.scratch_bytes);
  free(entry);
  lathe_model_free(m);
  lathe_graph_free(g);
  return 0;
}
