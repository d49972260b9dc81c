/* verb_weights.c: weights: what is in a file, and what a network makes of it. */
#include "cli.h"

#include <stdlib.h>

int verb_weights(cli *c) {
  lathe_error e;
  const char *model = text_of(c, "for", NULL);
  if (has(c, "output") && !model)
    fail_usage(c, "--output needs the network whose weights they are\nhelp: add --for MODEL");
  lathe_graph *g = model ? load_graph_from(c, model) : NULL;
  char *opts = opts_for(c, TO_WEIGHTS, NULL), *text = lathe_weights_list(c->model, g, opts, &e);
  if (!text) fail_api(c, &e);
  if (!has(c, "output")) fputs(text, stdout);
  lathe_free(text);
  free(opts);
  lathe_graph_free(g);
  return 0;
}
