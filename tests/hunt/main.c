/* main.c: hunt: random whole networks against the interpreter, on all cores.
 *
 *   hunt N [--seed S] [--jobs J] [--folder D] [--tap] [--first]   N networks of the seeds
 *                                                       S, S+1, …; the first failure ends it
 *                                                       --thorough: every node of each
 *                                                       --parts: of images put together and cut
 *   hunt --show --seed S                                the network of a seed
 *   hunt FILE.lathe                                     one that was written down before
 *   hunt --coverage N                                   does every op, layer and attribute come up among N?
 *
 * What fails is made small and written to D/hunt-SEED.lathe. Exit: 1 when something failed. */
#include "hunt.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct options {
  unsigned long n, seed, jobs, tries;
  const char *folder, *file;
  bool tap, show, coverage, first, thorough, parts;
} options;

typedef struct counts { unsigned long done, failed, statements; double tried[8]; } counts; /* shared by the workers */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- one that fails ---------------------------------------------------------------------------------------------- */

static char *comments(const ht_finding *f, uint64_t seed) {
  char *text = NULL;
  size_t size;
  FILE *to = open_memstream(&text, &size);
  fprintf(to, "# found by seed %llu\n# %s\n", (unsigned long long)seed, f->kind);
  for (const char *c = f->text; *c;) {
    int n = (int)strcspn(c, "\n");
    fprintf(to, "#   %.*s\n", n, c);
    c += n + (c[n] == '\n');
  }
  fclose(to);
  return text;
}

static void write_down(const options *o, const ht_case *c, const ht_finding *f) {
  char path[600];
  char *why = comments(f, c->seed), *text = ht_text(&c->net, &c->plan, why);
  snprintf(path, sizeof path, "%s/hunt-%llu.lathe", o->folder, (unsigned long long)c->seed);
  FILE *to = fopen(path, "w");
  if (to) fputs(text, to), fclose(to);
  printf("%s\n# again: hunt %s, or lathe check %s %s\n", text, path, path, c->plan.opts);
  fflush(stdout);
  free(why), free(text);
}

static bool try_seed(const options *o, ht_case *c, unsigned long seed) {
  ht_finding f, small;
  ht_make(c, seed, o->parts);
  if (o->thorough) c->plan.checks |= HT_NODES;
  char *text = ht_text(&c->net, NULL, NULL);
  ht_try(text, &c->plan, &f);
  free(text);
  if (!*f.kind) return true;
  printf("# seed %lu: %s\n", seed, f.kind);
  unsigned tries = ht_shrink(c, &f, (unsigned)o->tries);
  text = ht_text(&c->net, NULL, NULL);
  ht_try(text, &c->plan, &small);
  free(text);
  printf("# seed %lu: made small in %u tries\n", seed, tries);
  write_down(o, c, *small.kind ? &small : &f);
  return false;
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

static void work(const options *o, unsigned long job, counts *shared) {
  ht_case *c = malloc(sizeof *c);
  ht_warm_up();
  for (unsigned long i = job; i < o->n; i += o->jobs) {
    if (o->first && shared->failed) break;
    bool ok = try_seed(o, c, o->seed + i);
    __atomic_add_fetch(&shared->failed, !ok, __ATOMIC_RELAXED);
    unsigned long done = __atomic_add_fetch(&shared->done, 1, __ATOMIC_RELAXED);
    if (done % 250 == 0) fprintf(stderr, "# %lu of %lu networks, %lu failures\n", done, o->n, shared->failed);
  }
  free(c);
}

static int hunt(const options *o) {
  counts *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  double start = now();
  int status, crashed = 0;
  if (shared == MAP_FAILED) return 1;
  if (o->tap) printf("TAP version 13\n1..1\n");
  fflush(stdout);
  for (unsigned long k = 0; k < o->jobs; k++) {
    pid_t pid = fork();
    if (pid < 0) crashed++;
    if (pid == 0) {
      work(o, k, shared);
      fflush(stdout);
      _exit(0);
    }
  }
  while (wait(&status) > 0) crashed += status != 0;
  bool ok = !crashed && shared->failed == 0 && shared->done == o->n;
  if (crashed) printf("# %d workers did not come to their end: a mistake of the hunt's own\n", crashed);
  if (o->tap) printf("%s 1 - ", ok ? "ok" : "not ok");
  printf("%lu networks, %lu failures (seeds %lu to %lu, %.0f s on %lu workers)\n", shared->done, shared->failed,
         o->seed, o->seed + o->n - 1, now() - start, o->jobs);
  return !ok;
}

/* ---- one --------------------------------------------------------------------------------------------------------- */

static int show(const options *o) {
  ht_case *c = malloc(sizeof *c);
  ht_make(c, o->seed, o->parts);
  char *text = ht_text(&c->net, &c->plan, NULL);
  fputs(text, stdout);
  free(text), free(c);
  return 0;
}

static int try_file(const char *path) {
  static char text[1 << 20];
  FILE *in = fopen(path, "r");
  ht_plan p;
  ht_finding f;
  if (!in) return fprintf(stderr, "hunt: error: cannot read %s\n", path), 1;
  text[fread(text, 1, sizeof text - 1, in)] = 0;
  fclose(in);
  if (!ht_plan_read(&p, text))
    printf("# %s has no line `# hunt: checks=… seed=… opts=…`: a run alone is checked\n", path);
  p.checks |= HT_NODES;
  ht_try(text, &p, &f);
  if (*f.kind) printf("%s\n%s\n", f.kind, f.text);
  printf("1 networks, %d failures\n", *f.kind != 0);
  return *f.kind != 0;
}

static int usage(void) {
  fprintf(
    stderr,
    "usage: hunt N [--seed S] [--jobs J] [--tries T] [--folder D] [--tap] [--first] [--thorough] [--parts] | hunt "
    "--show --seed S | hunt "
    "FILE.lathe | hunt --coverage N\n");
  return 2;
}

static bool read_number(const char *text, unsigned long *to) {
  char *end;
  *to = strtoul(text, &end, 10);
  return *text >= '0' && *text <= '9' && !*end;
}

static bool read_args(options *o, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    const char *a = argv[i], *next = i + 1 < argc ? argv[i + 1] : "";
    unsigned long *number = !strcmp(a, "--seed")    ? &o->seed
                            : !strcmp(a, "--jobs")  ? &o->jobs
                            : !strcmp(a, "--tries") ? &o->tries
                                                    : NULL;
    if (number) {
      if (!read_number(next, number)) return false;
      i++;
    } else if (!strcmp(a, "--folder")) o->folder = next, i++;
    else if (!strcmp(a, "--tap")) o->tap = true;
    else if (!strcmp(a, "--first")) o->first = true;
    else if (!strcmp(a, "--thorough")) o->thorough = true;
    else if (!strcmp(a, "--parts")) o->parts = true;
    else if (!strcmp(a, "--show")) o->show = true;
    else if (!strcmp(a, "--coverage")) o->coverage = true;
    else if (strstr(a, ".lathe")) o->file = a;
    else if (!read_number(a, &o->n)) return false;
  }
  return o->jobs > 0 && (o->n || o->show || o->file);
}

int main(int argc, char **argv) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  options o = {.seed = 1, .jobs = cores > 0 ? (unsigned long)cores : 1, .tries = 1500, .folder = "."};
  if (!read_args(&o, argc, argv)) return usage();
  if (o.file) return try_file(o.file);
  if (o.show) return show(&o);
  if (!o.coverage) return hunt(&o);
  unsigned missing = ht_coverage(o.seed, (unsigned)o.n);
  printf("TAP version 13\n1..1\n%s 1 - every op, layer and attribute in %lu networks (%u missing)\n",
         missing ? "not ok" : "ok", o.n, missing);
  return missing != 0;
}
