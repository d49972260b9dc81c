/* verb_check.c: one command that proves a model: interpreter, JIT and object agree, as TAP. Per entry:
 *
 *   the interpreter's points (lathe_prove) · the JIT on several threads · the object in a child process, loaded as it
 *   is · the same after the system's linker (skipped without a C compiler) · for a train entry, what state_init begins
 *   with */
#include "check.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

typedef struct checking {
  const cli *c;
  lathe_graph *g;
  lathe_model *m;
  lathe_instance *one, *many; /* on one thread, on several */
  int threads;
  char *prove_opts;
  bool no_compiler;
  char *link_problem; /* NULL: model.so is there */
  unsigned points, failed;
} checking;

/* ---- TAP ---- */

static void print_notes(const char *notes) {
  for (const char *p = notes; p && *p;) {
    size_t n = strcspn(p, "\n");
    printf("# %.*s\n", (int)n, p);
    p += n + (p[n] == '\n');
  }
}

static bool point(checking *k, bool ok, const char *entry, const char *what, const char *notes) {
  printf("%sok %u - %s: %s\n", ok ? "" : "not ", ++k->points, entry, what);
  print_notes(notes);
  fflush(stdout);
  k->failed += !ok;
  return ok;
}

/* A point that holds when there are no differences; they are freed. */
static bool same(checking *k, const char *entry, const char *what, char *differences) {
  bool ok = point(k, !differences, entry, what, differences);
  free(differences);
  return ok;
}

/* ---- setting up ---- */

static char *entry_name(const char *spec) { return format("%.*s", (int)strcspn(spec, "=:@"), spec); }

static const char *nth_entry(const cli *c, size_t i) {
  return has(c, "entry") ? nth_of(c, "entry", i) : i ? NULL : "run";
}

static lathe_instance *open_on(const checking *k, int threads) {
  lathe_error e;
  char *asked = opts_for(k->c, TO_OPEN, NULL), *opts = format("%s --threads %d", asked, threads);
  lathe_instance *s = lathe_open(k->m, opts, &e);
  if (!s) fail_api(k->c, &e);
  free(opts);
  free(asked);
  return s;
}

/* The inputs of all entries; those that entries share count once, in the largest size. */
static ports all_inputs(const checking *k) {
  ports all = {need(malloc(sizeof *all.at)), 0};
  for (size_t i = 0; nth_entry(k->c, i); i++) {
    char *name = entry_name(nth_entry(k->c, i));
    ports in = ports_of(k->m, name, "input");
    for (size_t j = 0; j < in.n; j++) {
      lathe_port *known = (lathe_port *)find_port(&all, in.at[j].name);
      if (known && known->bytes < in.at[j].bytes) *known = in.at[j];
      if (known) continue;
      all.at = need(realloc(all.at, (all.n + 1) * sizeof *all.at));
      all.at[all.n++] = in.at[j];
    }
    free(in.at);
    free(name);
  }
  return all;
}

static void fill_inputs(checking *k) {
  ports in = all_inputs(k);
  set_inputs(k->c, k->g, k->one, &in, false);
  for (size_t i = 0; i < in.n; i++)
    memcpy(buffer_of(k->c, k->many, in.at[i].name), buffer_of(k->c, k->one, in.at[i].name), (size_t)in.at[i].bytes);
  free(in.at);
}

/* The object, with the weights that the JIT has. What a signal would leave half written is not interrupted. */
static void emit_object(checking *k) {
  static const char *const not_here[] = {"weights", "weights-partial", "seed"};
  const option output = {.name = "output", .kind = O_FILE};
  char *path = folder_path("model.o"),
       *opts = add_option(format("--prefix %s --parallel", CHECK_PREFIX), &output, path);
  for (size_t i = 0; i < k->c->n; i++) {
    const given *x = &k->c->given[i];
    bool skip = !(x->o->to & TO_EMIT);
    for (size_t j = 0; j < sizeof not_here / sizeof not_here[0]; j++) skip |= strcmp(x->o->name, not_here[j]) == 0;
    if (!skip) opts = add_option(opts, x->o, x->text);
  }
  lathe_error e;
  sigset_t all, old;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &old);
  int status = lathe_emit(k->g, k->one, opts, &e);
  sigprocmask(SIG_SETMASK, &old, NULL);
  if (status) fail_api(k->c, &e);
  free(opts);
  free(path);
}

/* ---- an entry's points ---- */

static void check_interpreter(checking *k, const char *entry) {
  lathe_error e;
  lathe_proof *proof = lathe_prove(k->g, k->one, entry, k->prove_opts, &e);
  if (!proof) fail_api(k->c, &e);
  for (size_t i = 0; i < proof->n; i++)
    point(k, proof->point[i].ok, entry, proof->point[i].what, proof->point[i].notes);
  lathe_free(proof);
}

/* What a call makes of the record's inputs; params and states are put back. */
static void call_jit(checking *k, const layout *l, lathe_instance *s, unsigned char *record) {
  unsigned char *before = record_new(l);
  record_put(k->c, l, before, s);
  memcpy(record, before, (size_t)l->bytes);
  call_entry(k->c, s, l->entry);
  record_get(k->c, l, record, s);
  record_restore(k->c, l, before, s);
  free(before);
}

static void check_threads(checking *k, const layout *l, const unsigned char *want) {
  unsigned char *record = record_new(l);
  call_jit(k, l, k->many, record);
  char *what = format("the JIT on %d thread%s, the bits of one", k->threads, k->threads == 1 ? "" : "s");
  same(k, l->entry, what, record_differences(l, record, "several threads", want, "one thread"));
  free(what);
  free(record);
}

/* One way to load the object. */
static void check_object(checking *k, const layout *l, const unsigned char *want, const char *file, const char *what,
                         unsigned seconds) {
  unsigned char *record = record_new(l);
  bool first = strcmp(file, "model.o") == 0;
  record_put(k->c, l, record, k->one);
  unsigned char *before = record_new(l);
  memcpy(before, record, (size_t)l->bytes);
  char *problem = child_call(k->c, l, file, record, (uint64_t)int_of(k->c, "seed", 0), seconds);
  bool ran = !problem;
  same(k, l->entry, what, problem ? problem : record_differences(l, record, "object", want, "JIT"));
  if (first && ran && l->trains && !has(k->c, "weights"))
    same(k, l->entry, "state_init of the object, what the seed gives", init_differences(l, record, before));
  free(before);
  free(record);
}

static void check_linked(checking *k, const layout *l, const unsigned char *want, unsigned seconds) {
  const char *what = "the object as a shared library, the JIT's bits";
  if (k->no_compiler) printf("ok %u - %s: %s # SKIP no C compiler\n", ++k->points, l->entry, what);
  else if (k->link_problem) point(k, false, l->entry, what, k->link_problem);
  else check_object(k, l, want, "model.so", what, seconds);
}

static void check_entry(checking *k, const char *entry) {
  enum { START = 60, SLOWER = 20 }; /* how long the child may take: to start, and times what the JIT took */
  layout l = layout_of(k->c, k->m, entry);
  unsigned char *want = record_new(&l);
  check_interpreter(k, entry);
  double begin = now();
  call_jit(k, &l, k->one, want);
  unsigned seconds = START + (unsigned)(SLOWER * (now() - begin));
  check_threads(k, &l, want);
  check_object(k, &l, want, "model.o", "the object in a process of its own, the JIT's bits", seconds);
  check_linked(k, &l, want, seconds);
  free(want);
  layout_free(&l);
}

int verb_check(cli *c) {
  checking k = {.c = c, .threads = (int)int_of(c, "threads", 3)};
  printf("TAP version 13\n");
  k.g = load_graph(c);
  k.m = compile(c, k.g, NULL);
  k.one = open_on(&k, 1);
  k.many = open_on(&k, k.threads);
  k.prove_opts = opts_for(c, TO_PROVE, NULL);
  fill_inputs(&k);
  folder_open(c);
  emit_object(&k);
  k.link_problem = link_shared(&k.no_compiler);
  for (size_t i = 0; nth_entry(c, i); i++) {
    char *name = entry_name(nth_entry(c, i));
    check_entry(&k, name);
    free(name);
  }
  folder_close();
  printf("1..%u\n", k.points);
  free(k.link_problem);
  free(k.prove_opts);
  lathe_instance_free(k.many);
  lathe_instance_free(k.one);
  lathe_model_free(k.m);
  lathe_graph_free(k.g);
  return k.failed ? EXIT_WORK : 0;
}
