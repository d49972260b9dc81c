/* verb_compile.c: compile: one library call. */
#include "cli.h"

#include <stdlib.h>

int verb_compile(cli *c) {
  lathe_error e;
  if (!has(c, "output")) fail_usage(c, "compile needs a file to write\nhelp: add -o F.o");
  lathe_graph *g = load_graph(c);
  char *opts = opts_for(c, TO_EMIT, NULL);
  if (lathe_emit(g, NULL, opts, &e)) fail_api(c, &e);
  free(opts);
  lathe_graph_free(g);
  return 0;
}
