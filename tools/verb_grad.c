/* verb_grad.c: one call of the grad entry; its outputs, all of them, as files. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* --output-grad NAME=F.npy and --hvp NAME=F.npy: the input that the compile option of the same name adds. */
typedef struct seed { const char *flag, *file; char *name, *port; } seed;

static seed *read_seeds(const cli *c, size_t *n) {
  static const struct { const char *flag, *prefix; } kinds[] = {{"output-grad", "output_grad_"}, {"hvp", "direction_"}};
  seed *s = need(calloc(c->n + 1, sizeof *s));
  *n = 0;
  for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
    for (size_t i = 0; nth_of(c, kinds[k].flag, i); i++) {
      seed *x = &s[(*n)++];
      x->flag = kinds[k].flag;
      split_name_file(nth_of(c, x->flag, i), &x->name, &x->file);
      x->port = format("%s%s", kinds[k].prefix, x->name);
      for (const seed *y = s; y < x; y++)
        if (strcmp(x->port, y->port) == 0) fail_usage(c, "--%s %s is given twice", x->flag, x->name);
    }
  return s;
}

static const seed *find_seed(const seed *s, size_t n, const char *port) {
  for (size_t i = 0; i < n; i++)
    if (strcmp(s[i].port, port) == 0) return &s[i];
  return NULL;
}

/* The network's own inputs go into `own`; the seeds' are read from their files. */
static void set_all_inputs(const cli *c, const lathe_graph *g, lathe_instance *s, const ports *in, const seed *seeds,
                           size_t n) {
  ports own = {need(calloc(in->n + 1, sizeof *own.at)), 0};
  for (size_t i = 0; i < in->n; i++) {
    const seed *x = find_seed(seeds, n, in->at[i].name);
    if (x) put_input(c, s, &in->at[i], x->file);
    else own.at[own.n++] = in->at[i];
  }
  set_inputs(c, g, s, &own, false);
  free(own.at);
}

int verb_grad(cli *c) {
  const char *dir = text_of(c, "output-dir", NULL);
  if (!dir) fail_usage(c, "grad needs a place for its results\nhelp: add --output-dir D");
  size_t n;
  seed *seeds = read_seeds(c, &n);
  lathe_graph *g = load_graph(c);
  lathe_model *m = compile(c, g, "--entry grad");
  lathe_instance *s = open_instance(c, m);
  ports in = ports_of(m, "grad", "input"), out = ports_of(m, "grad", "output");
  set_all_inputs(c, g, s, &in, seeds, n);
  call_entry(c, s, "grad");
  write_results(c, s, &out, dir);
  for (size_t i = 0; i < n; i++) free(seeds[i].name), free(seeds[i].port);
  free(seeds);
  free(in.at);
  free(out.at);
  lathe_instance_free(s);
  lathe_model_free(m);
  lathe_graph_free(g);
  return 0;
}
