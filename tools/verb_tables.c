/* verb_tables.c: ops and targets: the library's tables. */
#include "cli.h"

static int print_table(const cli *c, const char *which) {
  lathe_error e;
  char *text = lathe_table(which, &e);
  if (!text) fail_api(c, &e);
  fputs(text, stdout);
  lathe_free(text);
  return 0;
}

int verb_ops(cli *c) { return print_table(c, has(c, "markdown") ? "ops.md" : "ops"); }
int verb_targets(cli *c) { return print_table(c, "targets"); }
