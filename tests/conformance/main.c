/* main.c: conformance: the standard's own tests, each in a process of its own, on all cores; TAP.
 *
 *   conformance [--gradients] [--complete] [--jobs N] [--only TEXT] [--without NAME] [--list FILE] FOLDER…
 *
 * A folder's cases are the folders in it that have a model.onnx. A case passes when its outputs are as expected, and is
 * refused when the model cannot be read for a reason that --list has: anything else has failed. Rows of the list that
 * refused nothing are to be removed, which --complete checks. With --gradients the gradients of all that passes are
 * held against differences (slopes.c). --without leaves out a case that is wrong itself. At the end: counts by reason
 * and by op. Exit: 1 when something failed. */
#include "conformance.h"

#include <dirent.h>
#include <errno.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CASES = 8000, MOST_ROWS = 200, MOST_OPS = 400, MOST_JOBS = 64 };
typedef struct row { char *why, *pattern; regex_t regex; unsigned refused; } row;
typedef struct by_op { char name[64]; unsigned n[VERDICTS], slopes; } by_op;

static struct {
  bool gradients, complete;
  unsigned jobs, seconds;
  const char *only, *without, *list;
} o = {.jobs = 2, .seconds = 120, .only = "", .without = ""};
static char *folder[MOST_CASES];
static report *reports; /* shared with the processes */
static unsigned n_cases, n_rows, n_ops, total[VERDICTS], slopes[SLOPES], numbers;
static row rows[MOST_ROWS];
static by_op ops[MOST_OPS];

_Noreturn static void die(const char *what, const char *name) {
  fprintf(stderr, "conformance: %s %s: %s\n", what, name, strerror(errno));
  exit(2);
}

/* ---- what there is ----------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void find_cases(const char *in) {
  char path[1200];
  DIR *d = opendir(in);
  if (!d) die("cannot open", in);
  unsigned first = n_cases;
  for (struct dirent *f; (f = readdir(d)) && n_cases < MOST_CASES;) {
    snprintf(path, sizeof path, "%s/%s/model.onnx", in, f->d_name);
    if (f->d_name[0] == '.' || !strstr(f->d_name, o.only) || !strcmp(f->d_name, o.without) || access(path, R_OK))
      continue;
    path[strlen(path) - strlen("/model.onnx")] = '\0';
    folder[n_cases++] = strdup(path);
  }
  closedir(d);
  qsort(folder + first, n_cases - first, sizeof *folder, by_name);
}

/* "kind/test_name" */
static const char *name_of(unsigned i) {
  const char *end = folder[i] + strlen(folder[i]);
  for (int slashes = 0; end > folder[i]; end--)
    if (end[-1] == '/' && ++slashes == 2) break;
  return end;
}

/* A line: why, a bar, an extended regular expression that "name: message" fits; # and empty lines are passed over. */
static void read_list(const char *file) {
  char line[1000];
  FILE *f = fopen(file, "r");
  if (!f) die("cannot open", file);
  while (fgets(line, sizeof line, f) && n_rows < MOST_ROWS) {
    char *bar = strstr(line, " | ");
    line[strcspn(line, "\n")] = '\0';
    if (line[0] == '#' || !bar) continue;
    row *r = &rows[n_rows++];
    r->pattern = strdup(bar + 3);
    while (bar > line && bar[-1] == ' ') bar--;
    r->why = strndup(line, (size_t)(bar - line));
    if (regcomp(&r->regex, r->pattern, REG_EXTENDED | REG_NOSUB))
      die("not a regular expression in the list:", r->pattern);
  }
  fclose(f);
}

static row *row_for(const char *name, const char *line) {
  char text[2200];
  snprintf(text, sizeof text, "%s: %s", name, line);
  for (unsigned i = 0; i < n_rows; i++)
    if (!regexec(&rows[i].regex, text, 0, NULL, 0)) return &rows[i];
  return NULL;
}

/* Every node that is refused has a row; NULL: one has none, which then stands in `line`. */
static row *listed(unsigned i, char line[2000]) {
  const char *m = reports[i].message, *at = strstr(m, "\n  ");
  row *found = NULL;
  snprintf(line, 2000, "%.*s", (int)strcspn(m, "\n"), m);
  if (!at) return row_for(name_of(i), line);
  for (; at; at = strstr(at + 1, "\n  ")) {
    snprintf(line, 2000, "%.*s", (int)strcspn(at + 3, "\n"), at + 3);
    found = row_for(name_of(i), line);
    if (!found) return NULL;
  }
  return found;
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

static void run_apart(unsigned i) {
  int status;
  report *r = &reports[i];
  pid_t pid = fork();
  if (pid == 0) {
    if (!freopen("/dev/null", "w", stdout)) _exit(2);
    alarm(o.seconds);
    run_case(folder[i], o.gradients, r);
    _exit(0);
  }
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  if (pid < 0 || status) {
    r->verdict = CRASHED;
    if (pid < 0) snprintf(r->message, sizeof r->message, "no process: %s", strerror(errno));
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
      snprintf(r->message, sizeof r->message, "took more than %u s", o.seconds);
    else snprintf(r->message, sizeof r->message, "ended with status %#x", (unsigned)status);
  }
  __atomic_store_n(&r->done, true, __ATOMIC_RELEASE);
}

static void start_workers(unsigned *next, pid_t *pid) {
  fflush(NULL);
  for (unsigned w = 0; w < o.jobs; w++) {
    pid[w] = fork();
    if (pid[w] < 0) die("cannot start", "a process");
    if (pid[w]) continue;
    for (unsigned i; (i = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) < n_cases;) run_apart(i);
    _exit(0);
  }
}

/* ---- what came of it --------------------------------------------------------------------------------------------- */

static void count_op(const char *name, size_t n, const report *r) {
  unsigned i = 0;
  while (i < n_ops && (strlen(ops[i].name) != n || strncmp(ops[i].name, name, n))) i++;
  if (i == MOST_OPS) return;
  if (i == n_ops) snprintf(ops[n_ops++].name, sizeof ops->name, "%.*s", (int)n, name);
  ops[i].n[r->verdict]++;
  ops[i].slopes += r->slope == CHECKED;
}

static void count(const report *r) {
  total[r->verdict]++;
  slopes[r->slope]++;
  if (r->slope == CHECKED) numbers += r->numbers;
  for (const char *p = r->ops; *p;) {
    p += strspn(p, " ");
    size_t n = strcspn(p, " ");
    if (n) count_op(p, n, r);
    p += n;
  }
}

/* A line of TAP has no line ends and no # of its own. */
static void put_text(const char *text) {
  for (const char *p = text; *p; p++) putchar(*p == '\n' ? ';' : *p == '#' ? '*' : *p);
}

static const char *slope_text(const report *r) {
  static char text[100];
  static const char *const plain[SLOPES] = {
    "", "", ", gradients vanish", ", no floats", ", no smooth point", ", too large for differences", ""};
  if (r->slope != CHECKED) return plain[r->slope];
  snprintf(text, sizeof text, ", gradients %.0e, compiled %.0e", r->worst, r->worst_f32);
  return text;
}

static void report_case(unsigned i) {
  char line[2000] = "";
  report *r = &reports[i];
  row *w = r->verdict == REFUSED && o.list ? listed(i, line) : NULL;
  bool ok = r->verdict == PASSED ? r->slope != WRONG : r->verdict == REFUSED && (w || !o.list);
  if (w) w->refused++;
  if (!ok && r->verdict == REFUSED) r->verdict = FAILED;
  printf("%sok %u - %s", ok ? "" : "not ", i + 1, name_of(i));
  if (r->verdict == PASSED && ok) printf("%s\n", slope_text(r));
  else if (w) printf(": refused, %s\n", w->why);
  else {
    printf(r->verdict == CRASHED ? ": crashed: " : r->verdict == REFUSED ? ": refused: " : ": ");
    put_text(line[0] ? line : r->message);
    printf("%s\n", line[0] && o.list && !ok ? "; this refusal is not listed" : "");
  }
  fflush(stdout);
  count(r);
}

static int by_op_name(const void *a, const void *b) {
  return strcmp(((const by_op *)a)->name, ((const by_op *)b)->name);
}

/* true: rows that nothing needs are a failure. */
static bool summary(void) {
  bool unused = false;
  for (unsigned i = 0; i < n_rows; i++) {
    printf("# refused %5u  %s\n", rows[i].refused, rows[i].why);
    if (rows[i].refused || !o.complete) continue;
    unused = true;
    printf("# nothing is refused for: %s; remove the row from %s\n", rows[i].pattern, o.list);
  }
  qsort(ops, n_ops, sizeof *ops, by_op_name);
  printf("# op                             passed  refused   failed%s\n", o.gradients ? "  gradients" : "");
  for (unsigned i = 0; i < n_ops; i++) {
    printf("# %-30s %6u   %6u   %6u", ops[i].name, ops[i].n[PASSED], ops[i].n[REFUSED],
           ops[i].n[FAILED] + ops[i].n[CRASHED]);
    if (o.gradients) printf("     %6u", ops[i].slopes);
    printf("\n");
  }
  if (o.gradients)
    printf(
      "# gradients: %u cases checked on %u numbers, %u vanish, %u without floats, %u without a smooth point, %u too "
      "large, %u wrong\n",
      slopes[CHECKED], numbers, slopes[VANISHES], slopes[NO_FLOATS], slopes[ROUGH], slopes[LARGE], slopes[WRONG]);
  printf("# %u cases, %u passed, %u refused, %u failed\n", n_cases, total[PASSED], total[REFUSED],
         total[FAILED] + total[CRASHED]);
  return unused;
}

static void read_args(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
    if (!strcmp(a, "--gradients")) o.gradients = true;
    else if (!strcmp(a, "--complete")) o.complete = true;
    else if (!strcmp(a, "--jobs")) o.jobs = (unsigned)atoi(value), i++;
    else if (!strcmp(a, "--seconds")) o.seconds = (unsigned)atoi(value), i++;
    else if (!strcmp(a, "--only")) o.only = value, i++;
    else if (!strcmp(a, "--without")) o.without = value, i++;
    else if (!strcmp(a, "--list")) o.list = value, i++;
    else find_cases(a);
  }
  if (o.jobs < 1 || o.jobs > MOST_JOBS) o.jobs = 1;
}

int main(int argc, char **argv) {
  pid_t pid[MOST_JOBS];
  read_args(argc, argv);
  if (o.list) read_list(o.list);
  size_t bytes = sizeof(unsigned) + 64 + n_cases * sizeof *reports;
  char *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) die("cannot map", "the reports");
  reports = (report *)(void *)(shared + 64);
  printf("1..%u\n", n_cases);
  start_workers((unsigned *)(void *)shared, pid);
  for (unsigned i = 0; i < n_cases; i++) {
    while (!__atomic_load_n(&reports[i].done, __ATOMIC_ACQUIRE)) nanosleep(&(struct timespec){0, 2000000}, NULL);
    report_case(i);
  }
  for (unsigned w = 0; w < o.jobs; w++) waitpid(pid[w], NULL, 0);
  bool unused = summary();
  return total[FAILED] + total[CRASHED] + slopes[WRONG] || unused ? 1 : 0;
}
