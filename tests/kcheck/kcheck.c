/* kcheck.c: the command: runs families of cases in processes of their own and speaks TAP, a line per family.
 *
 *   kcheck [--family F] [--every N] [--cpu C] [--jobs J] [--seed S]     cases of all families, or every N-th of them
 *   kcheck --case F:N[:SKIP] [--cpu C]                                  one case, with its network in text
 *
 * Each failure prints one line that repeats it. A case whose results are mostly zero proves little: it is counted as
 * MISTRUSTED, not as passed: of all cases at most one in twenty may be, of a family one in eight. A worker that crashes
 * costs the case it was at; the others of its batch run alone, in a new process. A case without a verdict at the end
 * has failed. */
#include "kcheck.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BATCH = 32, MAX_JOBS = 16, SECONDS_PER_BATCH = 120, MISTRUSTED_OF_ALL = 20, MISTRUSTED_OF_FAMILY = 8 };

typedef struct options { const char *family, *one, *cpu; int64_t every, jobs, seed; } options;

/* Where a worker is: in memory that outlives it. */
typedef struct worker {
  int64_t next;         /* position in the list of cases where the batch at work begins */
  volatile int current; /* case of that batch; -1: the module is being compiled */
  int64_t alone_until;  /* up to here one case at a time, since a crash hit the batch */
} worker;

typedef struct list { kc_case *at; int64_t n; unsigned char *verdict; } list; /* verdicts too outlive the workers */

static void describe(char *out, size_t n, const kc_case *c, const char *cpu) {
  int len = snprintf(out, n, "kcheck --case %s:%ld", kc_families[c->family].name, (long)c->number);
  if (c->skip) len += snprintf(out + len, n - (size_t)len, ":0x%lx", (unsigned long)c->skip);
  if (*cpu) snprintf(out + len, n - (size_t)len, " --cpu %s", cpu);
}

/* Leave out steps of a random network as long as it goes on failing. */
static void shrink(kc_case *c, kc_result *r, const char *cpu, volatile int *current) {
  for (int again = 1; again--;) {
    for (int i = 0; i < kc_graph_steps(c); i++) {
      kc_case smaller = *c;
      kc_result s;
      smaller.skip |= UINT64_C(1) << i;
      if (smaller.skip == c->skip) continue;
      kc_run(&smaller, &s, 1, cpu, current);
      if (s.verdict != KC_FAILED) continue;
      *c = smaller, *r = s, again = 1;
    }
  }
}

static const char *const verdicts[KC_VERDICTS] = {"UNREPORTED", "passed", "MISTRUSTED", "FAILED"};

static void report(const kc_case *c, const kc_result *r, const char *cpu) {
  char line[800], repeat[200];
  describe(repeat, sizeof repeat, c, cpu);
  for (const char *nl; (nl = strchr(r->why, '\n'));) *(char *)(uintptr_t)nl = ' ';
  int n = snprintf(line, sizeof line, "# %s %s   %s\n", verdicts[r->verdict], repeat, r->why);
  if (write(STDOUT_FILENO, line, (size_t)LT_MIN(n, (int)sizeof line - 1)) < 0) _exit(70);
}

static void work_off(worker *w, const list *all, const options *o, int me) {
  static kc_result r[BATCH];
  while (w->next < all->n) {
    int64_t batch = w->next / BATCH, end = LT_MIN(all->n, (batch + 1) * BATCH);
    if (batch % o->jobs != me) {
      w->next = end;
      continue;
    }
    bool alone = w->next < w->alone_until;
    if (alone && all->verdict[w->next]) {
      w->next++;
      continue;
    }
    int n = alone ? 1 : (int)(end - w->next);
    const kc_case *c = &all->at[w->next];
    alarm(SECONDS_PER_BATCH);
    kc_run(c, r, n, o->cpu, &w->current);
    for (int i = 0; i < n; i++) {
      kc_case small = c[i];
      all->verdict[w->next + i] = (unsigned char)r[i].verdict;
      if (r[i].verdict == KC_PASSED) continue;
      if (r[i].verdict == KC_FAILED && kc_families[c[i].family].build == kc_build_graph)
        shrink(&small, &r[i], o->cpu, &w->current);
      report(&small, &r[i], o->cpu);
    }
    w->next += n;
  }
}

static pid_t start(worker *w, const list *all, const options *o, int me) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid < 0) perror("kcheck: fork"), exit(70);
  if (pid) return pid;
  work_off(w, all, o, me);
  _exit(0);
}

/* After a crash: blame the case, unless a whole batch was being compiled. What has no verdict yet goes one by one. */
static void blame(worker *w, const list *all, const options *o, int status) {
  int64_t end = LT_MIN(all->n, (w->next / BATCH + 1) * BATCH);
  bool alone = w->next < w->alone_until;
  w->alone_until = end;
  if (w->current < 0 && !alone) return;
  int64_t at = w->next + (alone ? 0 : w->current);
  kc_result r = {KC_FAILED, ""};
  snprintf(r.why, sizeof r.why, "crashed (signal %d)%s", WIFSIGNALED(status) ? WTERMSIG(status) : 0,
           w->current < 0 ? " while compiled" : "");
  report(&all->at[at], &r, o->cpu);
  all->verdict[at] = KC_FAILED;
}

static list list_cases(const options *o) {
  list all = {0};
  int64_t n = 0;
  for (int f = 0; f < kc_family_count; f++) n += kc_families[f].count;
  all.at = calloc((size_t)n, sizeof *all.at);
  if (!all.at) abort();
  for (int f = 0; f < kc_family_count; f++) {
    if (o->family && strcmp(o->family, kc_families[f].name) != 0) continue;
    for (int64_t i = 0; i < kc_families[f].count; i += o->every) {
      int64_t number = i + o->seed * 1000000;
      all.at[all.n++] = (kc_case){.family = f, .number = number, .packed = number % 2 == 0};
    }
  }
  return all;
}

/* At most one mistrusted case in so many, and one in a sample of fewer. */
static bool are_trusted(const int count[KC_VERDICTS], int one_in) {
  return count[KC_MISTRUSTED] <= LT_MAX((count[KC_PASSED] + count[KC_MISTRUSTED]) / one_in, 1);
}

static int summarise(const list *all, const options *o) {
  int failures = 0, line = 0, planned = 0, total[KC_VERDICTS] = {0};
  for (int f = 0; f < kc_family_count; f++) planned += !o->family || strcmp(o->family, kc_families[f].name) == 0;
  printf("1..%d\n", planned + !o->family);
  for (int f = 0; f < kc_family_count; f++) {
    int count[KC_VERDICTS] = {0};
    if (o->family && strcmp(o->family, kc_families[f].name) != 0) continue;
    for (int64_t i = 0; i < all->n; i++)
      if (all->at[i].family == f) count[all->verdict[i]]++;
    bool ok = !count[KC_FAILED] && !count[KC_UNREPORTED] && are_trusted(count, MISTRUSTED_OF_FAMILY);
    printf("%s %d - %s: %d passed, %d MISTRUSTED, %d failed, %d of them without a verdict\n", ok ? "ok" : "not ok",
           ++line, kc_families[f].name, count[KC_PASSED], count[KC_MISTRUSTED], count[KC_FAILED] + count[KC_UNREPORTED],
           count[KC_UNREPORTED]);
    failures += !ok;
    for (int v = 0; v < KC_VERDICTS; v++) total[v] += count[v];
  }
  bool trusted = are_trusted(total, MISTRUSTED_OF_ALL);
  if (!o->family)
    printf("%s %d - of all cases at most one in %d is MISTRUSTED\n", trusted ? "ok" : "not ok", ++line,
           MISTRUSTED_OF_ALL);
  printf("# %d cases passed, %d MISTRUSTED\n", total[KC_PASSED], total[KC_MISTRUSTED]);
  return failures || (!o->family && !trusted);
}

static void *shared(size_t bytes) { /* zero */
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) perror("kcheck: mmap"), exit(70);
  return p;
}

static int run_all(const options *o) {
  list all = list_cases(o);
  worker *w = shared(sizeof *w * MAX_JOBS);
  all.verdict = shared((size_t)all.n + 1);
  pid_t at[MAX_JOBS];
  for (int j = 0; j < o->jobs; j++) at[j] = start(&w[j], &all, o, j);
  for (int left = (int)o->jobs, status; left;) {
    pid_t pid = wait(&status);
    if (pid < 0) perror("kcheck: wait"), exit(70);
    for (int j = 0; j < o->jobs; j++) {
      if (at[j] != pid) continue;
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        left--;
        continue;
      }
      blame(&w[j], &all, o, status);
      at[j] = start(&w[j], &all, o, j);
    }
  }
  int rc = summarise(&all, o);
  free(all.at);
  return rc;
}

static void print_network(lt_job *job, void *arg) {
  kc_case c = *(kc_case *)arg;
  lt_arena *a = lt_arena_new(job);
  lt_graph *g = lt_graph_new(job, "kcheck");
  lt_str s;
  kc_families[c.family].build(g, &c);
  lt_str_init(&s, a);
  lt_print(&s, g);
  fputs(s.at, stdout);
  fflush(stdout);
  lt_graph_free(g);
}

static int run_one(const options *o) {
  char family[64];
  long number;
  unsigned long skip = 0;
  int n = sscanf(o->one, "%63[^:]:%ld:%lx", family, &number, &skip), f = 0;
  while (f < kc_family_count && strcmp(kc_families[f].name, family) != 0) f++;
  if (n < 2 || f == kc_family_count) {
    fprintf(stderr, "kcheck: --case takes FAMILY:NUMBER[:SKIP]\n");
    return 2;
  }
  kc_case c = {.family = f, .number = number, .skip = skip, .packed = number % 2 == 0};
  kc_result r;
  lathe_error e;
  volatile int current;
  if (lt_protect(&e, print_network, &c) != LATHE_OK) printf("# %s\n", e.message);
  kc_run(&c, &r, 1, o->cpu, &current);
  printf("%s %s\n", verdicts[r.verdict], r.why);
  return r.verdict == KC_FAILED || r.verdict == KC_UNREPORTED;
}

int main(int argc, char **argv) {
  options o = {.cpu = "", .every = 1, .jobs = 2};
  for (int i = 1; i < argc; i += 2) {
    const char *v = i + 1 < argc ? argv[i + 1] : NULL;
    if (!v) o.every = 0;
    else if (strcmp(argv[i], "--family") == 0) o.family = v;
    else if (strcmp(argv[i], "--case") == 0) o.one = v;
    else if (strcmp(argv[i], "--cpu") == 0) o.cpu = v;
    else if (strcmp(argv[i], "--every") == 0) o.every = atoi(v);
    else if (strcmp(argv[i], "--jobs") == 0) o.jobs = LT_MIN(atoi(v), MAX_JOBS);
    else if (strcmp(argv[i], "--seed") == 0) o.seed = atoi(v);
    else o.every = 0;
  }
  if (o.every < 1 || o.jobs < 1) {
    fprintf(stderr, "usage: kcheck [--case F:N[:SKIP]] [--family F] [--every N] [--cpu C] [--jobs J] [--seed S]\n");
    return 2;
  }
  return o.one ? run_one(&o) : run_all(&o);
}
