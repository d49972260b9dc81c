/* print_api.c: networks, entries and passes' results as text, Graphviz and tables of layers (lathe_print). */
#include "driver/print_api.h"

typedef struct printing {
  lt_job *job;
  lt_arena *a;
  lt_options o;
  lt_str out;
  bool headed; /* dumps of several passes, each under its name */
} printing;

/* ---- what to show ------------------------------------------------------------------------------------------------ */

static void show(printing *p, const lt_graph *g) {
  const char *format = p->o.format;
  if (format && !strcmp(format, "dot")) lt_dot_print(&p->out, g);
  else if (format && !strcmp(format, "info")) lt_info_print(&p->out, g);
  else lt_print(&p->out, g);
}

static void take_dump(void *ctx, const char *pass, const char *text) {
  printing *p = ctx;
  if (p->headed) lt_str_printf(&p->out, "# after %s\n", pass);
  else p->out.n = 0; /* a pass runs more than once: the last time counts */
  lt_str_puts(&p->out, text);
}

static const char *all_passes(lt_arena *a) {
  const char *const *name = lt_pass_names();
  lt_str s;
  lt_str_init(&s, a);
  for (size_t i = 0; name[i]; i++) lt_str_printf(&s, "%s%s", !i ? "" : name[i + 1] ? ", " : " and ", name[i]);
  return s.at;
}

static lt_pass read_pass(printing *p, const char *option, const char *name, size_t n) {
  const char *word = lt_arena_strndup(p->a, name, n);
  lt_pass pass = lt_pass_find(word);
  if (pass) return pass;
  const char *near = lt_nearest(word, lt_pass_names());
  const char *help = near ? lt_arena_printf(p->a, "did you mean `%s`?", near)
                          : lt_arena_printf(p->a, "lathe opt knows %s", all_passes(p->a));
  lt_fail(p->job, LATHE_E_INVALID, NULL, "%s: there is no pass `%.60s`\nhelp: %s", option, word, help);
}

/* ---- the three ways ---------------------------------------------------------------------------------------------- */

/* --print-after: the whole pipeline on an entry, as it is after one pass (the last time it runs) or after each. */
static void show_after(printing *p, lt_graph *entry, const lt_entry_spec *spec) {
  const char *after = p->o.print_after;
  p->headed = !strcmp(after, "all");
  if (!p->headed) read_pass(p, "--print-after", after, strlen(after));
  if (p->o.format && strcmp(p->o.format, "text"))
    lt_fail(p->job, LATHE_E_INVALID, NULL, "--print-after goes with --format text only");
  lt_pass_options po = {.print_after = after, .verify_each = p->o.verify_each, .print = take_dump, .print_ctx = p};
  lt_graph_drop(p->job, lt_optimise(p->job, entry, spec, &po));
}

static void show_passes(printing *p, const lt_graph *from) {
  const char *list = p->o.passes;
  LT_VEC(lt_pass) passes = {0};
  for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
    lt_pass pass = read_pass(p, "--passes", at, strcspn(at, ","));
    lt_vec_push(p->a, &passes, pass);
  }
  lt_pass_options po = {.verify_each = p->o.verify_each};
  lt_graph *own = lt_run_passes(p->job, from, NULL, 0, &po);
  own->fast = lt_options_fast(&p->o);
  lt_graph *done = lt_run_passes(p->job, own, passes.at, passes.n, &po);
  show(p, done);
  lt_graph_drop(p->job, own);
  lt_graph_drop(p->job, done);
}

static void show_entry(printing *p, const lathe_graph *g) {
  if (p->o.entry.n > 1) lt_fail(p->job, LATHE_E_INVALID, NULL, "one --entry can be printed at a time");
  lt_entry_spec spec = lt_entry_parse(p->job, p->a, p->o.entry.n ? p->o.entry.at[0] : "run");
  lt_graph *entry = lt_network_entry(p->job, g, &spec, &p->o);
  if (p->o.verify_each) lt_verify(entry, "the entry's construction");
  if (p->o.print_after) show_after(p, entry, &spec);
  else if (p->o.passes) show_passes(p, entry);
  else show(p, entry);
  lt_graph_drop(p->job, entry);
}

typedef struct print_args {
  const lathe_graph *g;
  const char *opts;
  char *out;
} print_args;

static void print_body(lt_job *job, void *arg) {
  print_args *args = arg;
  lt_graph_check(job, args->g);
  printing p = {.job = job, .a = lt_arena_new(job)};
  lt_options_read(&p.o, job, p.a, args->opts, TO_PRINT);
  lt_str_init(&p.out, p.a);
  if (p.o.format && !strcmp(p.o.format, "onnx"))
    lt_fail(job, LATHE_E_INVALID, NULL, "--format=onnx is no text\nhelp: lathe_export writes it to a file");
  if (p.o.passes && p.o.print_after)
    lt_fail(job, LATHE_E_INVALID, NULL, "--passes and --print-after exclude each other");
  if (p.o.entry.n || p.o.print_after) show_entry(&p, args->g);
  else if (p.o.passes) show_passes(&p, args->g->g);
  else show(&p, args->g->g);
  args->out = lt_text_out(job, &p.out);
}

char *lathe_print(const lathe_graph *g, const char *opts, lathe_error *e) {
  print_args p = {.g = g, .opts = opts};
  return lt_protect(e, print_body, &p) ? NULL : p.out;
}
