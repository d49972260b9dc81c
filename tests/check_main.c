/* check_main.c: a Check program's report, with skips. Check knows passed and failed; a test that calls LT_SKIP fails
 * with a marked message, and what Check prints goes through a process that makes it
 *
 *   ok 3 - unit/pool.c:pool:survives_fork # SKIP thread sanitizer: …
 *
 * or, where LT_NO_SKIP is set and LT_MAY_SKIP does not allow the reason, `not ok` with the reason behind it. */
#include "check_main.h"

#include <errno.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct count { int tests, failed; } count;

static bool may_skip(const char *why) {
  const char *no_skip = getenv("LT_NO_SKIP"), *allowed = getenv("LT_MAY_SKIP");
  regex_t r;
  if (!no_skip || !*no_skip) return true;
  if (!allowed || !*allowed || regcomp(&r, allowed, REG_EXTENDED | REG_NOSUB)) return false;
  bool fits = regexec(&r, why, 0, NULL, 0) == 0;
  regfree(&r);
  return fits;
}

/* One line of Check's TAP: "not ok 3 - file.c:suite:test: LT_SKIP why", "ok 4 - …: Passed", "1..4". */
static void rewrite_line(char *line, count *c) {
  char *mark = strstr(line, ": " LT_SKIP_MARK);
  bool bad = strncmp(line, "not ok ", 7) == 0;
  c->tests += bad || strncmp(line, "ok ", 3) == 0;
  if (bad && mark) {
    char *why = mark + 2 + strlen(LT_SKIP_MARK);
    *mark = '\0';
    bad = !may_skip(why);
    printf(bad ? "%s: %s" : "%s # SKIP %s", bad ? line : line + 4, why);
  } else fputs(line, stdout);
  c->failed += bad;
  fflush(stdout);
}

static count rewrite(int from) {
  count c = {0};
  char *line = NULL;
  size_t room = 0;
  FILE *f = fdopen(from, "r");
  if (!f) perror("check_main"), exit(70);
  while (getline(&line, &room, f) >= 0) rewrite_line(line, &c);
  free(line);
  fclose(f);
  return c;
}

static int run_suites(Suite *(*const suites[])(void), size_t n) {
  SRunner *sr = srunner_create(suites[0]());
  for (size_t i = 1; i < n; i++) srunner_add_suite(sr, suites[i]());
  srunner_set_tap(sr, "-");
  srunner_run_all(sr, CK_SILENT);
  int failed = srunner_ntests_failed(sr);
  srunner_free(sr);
  return failed;
}

int lt_check_main(Suite *(*const suites[])(void), size_t n) {
  const char *fork_mode = getenv("CK_FORK");
  int ends[2], status;
  if (fork_mode && strcmp(fork_mode, "no") == 0) return run_suites(suites, n) != 0;
  if (pipe(ends)) return perror("check_main: pipe"), 70;
  pid_t pid = fork();
  if (pid < 0) return perror("check_main: fork"), 70;
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]), close(ends[1]);
    exit(run_suites(suites, n) != 0); /* 1 for skips too: the other process knows better */
  }
  close(ends[1]);
  count c = rewrite(ends[0]);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  bool ended = WIFEXITED(status) && WEXITSTATUS(status) <= 1;
  return c.failed || !c.tests || !ended;
}
