/* model.c: from the command line to a graph, a compiled model and an instance with its weights and inputs. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static void read_stdin(cli *c) {
  enum { STEP = 1 << 16, LIMIT = 1 << 30 }; /* a text may be smaller, which the library says */
  size_t cap = 0, n = 0, got;
  do {
    if (n == cap) c->source = need(realloc(c->source, (cap = cap ? cap * 2 : STEP) + 1));
    got = fread(c->source + n, 1, cap - n, stdin);
    n += got;
  } while (got > 0 && n < LIMIT);
  if (ferror(stdin)) fail_work(c, "cannot read standard input");
  if (n >= LIMIT)
    fail_work(c, "standard input goes on after %d bytes\nhelp: write it to a file, which may be larger", LIMIT);
  c->source[n] = '\0';
  c->source_bytes = n;
}

lathe_graph *load_graph_from(cli *c, const char *model) {
  lathe_error e;
  char *opts = opts_for(c, TO_LOAD, NULL);
  lathe_graph *g;
  if (strcmp(model, "-") == 0) {
    read_stdin(c);
    g = lathe_parse(c->source, c->source_bytes, "<stdin>", opts, &e);
  } else {
    g = lathe_load(model, opts, &e);
  }
  if (!g) fail_api(c, &e);
  free(opts);
  return g;
}

lathe_graph *load_graph(cli *c) { return load_graph_from(c, c->model); }

void note_folded(const lathe_graph *g) {
  const char *where = lathe_graph_folded(g);
  if (where)
    fprintf(stderr,
            "lathe: note: the model's exporter has folded batch normalisations into weights (%s): they do not train\n"
            "help: export for training (docs/onnx.md, From PyTorch)\n",
            where);
}

static void report_passes(const cli *c, const lathe_model *m) {
  lathe_error e;
  if (!has(c, "time-passes")) return;
  char *text = lathe_model_report(m, "passes", &e);
  if (!text) fail_api(c, &e);
  fputs(text, stderr);
  lathe_free(text);
}

lathe_model *compile(const cli *c, const lathe_graph *g, const char *extra) {
  lathe_error e;
  bool cached = (c->verb->bit & V_CACHE) && !has(c, "no-cache");
  char *with = format("%s%s", extra ? extra : "", cached ? " --cache" : "");
  char *opts = opts_for(c, TO_COMPILE, with);
  lathe_model *m = lathe_compile(g, opts, &e);
  if (!m) fail_api(c, &e);
  report_passes(c, m);
  free(with);
  free(opts);
  return m;
}

lathe_instance *open_instance(const cli *c, lathe_model *m) {
  lathe_error e;
  char *opts = opts_for(c, TO_OPEN, NULL);
  double begin = now();
  lathe_instance *s = lathe_open(m, opts, &e);
  if (!s) fail_api(c, &e);
  if (has(c, "time-passes")) fprintf(stderr, "%10.3f ms  opening: weights read and packed\n", (now() - begin) * 1e3);
  free(opts);
  return s;
}

ports ports_of(const lathe_model *m, const char *entry, const char *kind) {
  ports p = {need(malloc(sizeof *p.at)), 0};
  lathe_port port;
  for (size_t i = 0; lathe_model_port(m, entry, i, &port); i++) {
    if (strcmp(port.kind, kind) != 0) continue;
    p.at = need(realloc(p.at, (p.n + 1) * sizeof *p.at));
    p.at[p.n++] = port;
  }
  return p;
}

const lathe_port *find_port(const ports *p, const char *name) {
  for (size_t i = 0; i < p->n; i++)
    if (strcmp(p->at[i].name, name) == 0) return &p->at[i];
  return NULL;
}

void fail_no_port(const cli *c, const char *flag, const char *kind, const char *name, const ports *p) {
  const char **names = need(calloc(p->n + 1, sizeof *names));
  for (size_t i = 0; i < p->n; i++) names[i] = p->at[i].name;
  char *list = name_list(names, p->n);
  const char *near = nearest(name, names, p->n);
  if (near) fail_work(c, "--%s: the network has no %s '%s'\nhelp: did you mean '%s'?", flag, kind, name, near);
  if (p->n == 0) fail_work(c, "--%s: the network has no %s '%s'\nhelp: it has none at all", flag, kind, name);
  fail_work(c, "--%s: the network has no %s '%s'\nhelp: it has %s", flag, kind, name, list);
}

void *buffer_of(const cli *c, lathe_instance *s, const char *name) {
  size_t bytes;
  void *p = lathe_buffer(s, name, &bytes);
  if (!p) {
    lathe_error e = {.status = LATHE_E_INTERNAL};
    snprintf(e.message, sizeof e.message, "the instance has no memory for '%s'", name);
    fail_api(c, &e);
  }
  return p;
}

void call_entry(const cli *c, lathe_instance *s, const char *entry) {
  int status = lathe_call(s, entry);
  if (status == LATHE_OK) return;
  lathe_error e = {.status = status};
  snprintf(e.message, sizeof e.message, "calling %s: %s", entry, lathe_status_text(status));
  fail_api(c, &e);
}

void put_input(const cli *c, lathe_instance *s, const lathe_port *port, const char *file) {
  lathe_array a = load_for_port(c, file, port, false);
  memcpy(buffer_of(c, s, port->name), a.data, (size_t)port->bytes);
  lathe_free(a.data);
}

static const char *input_file(const cli *c, const char *name) {
  for (size_t i = 0; nth_of(c, "input", i); i++) {
    const char *text = nth_of(c, "input", i), *equals = strchr(text, '=');
    if (strlen(name) == (size_t)(equals - text) && memcmp(name, text, strlen(name)) == 0) return equals + 1;
  }
  return NULL;
}

/* An input of the network that this entry does not need is no mistake. */
static bool declares(const lathe_graph *g, const char *name) {
  lathe_port p;
  for (size_t i = 0; lathe_graph_port(g, i, &p); i++)
    if (strcmp(p.kind, "input") == 0 && strcmp(p.name, name) == 0) return true;
  return false;
}

static void check_input_names(const cli *c, const lathe_graph *g, const ports *inputs) {
  char *name, *other;
  const char *file;
  for (size_t i = 0; nth_of(c, "input", i); i++) {
    split_name_file(nth_of(c, "input", i), &name, &file);
    if (!find_port(inputs, name)) {
      if (!declares(g, name)) fail_no_port(c, "input", "input", name, inputs);
      fprintf(stderr, "lathe: note: input '%s' is not needed here, %s is not read\n", name, file);
    }
    for (size_t j = 0; j < i; j++) {
      split_name_file(nth_of(c, "input", j), &other, &file);
      if (strcmp(name, other) == 0) fail_usage(c, "--input %s is given twice", name);
      free(other);
    }
    free(name);
  }
}

void set_inputs(const cli *c, const lathe_graph *g, lathe_instance *s, const ports *inputs, bool strict) {
  check_input_names(c, g, inputs);
  for (size_t i = 0; i < inputs->n; i++) {
    const lathe_port *port = &inputs->at[i];
    const char *file = input_file(c, port->name);
    if (file) {
      put_input(c, s, port, file);
    } else if (strict) {
      char *shape = shape_text(port->dtype, port->rank, port->dim);
      fail_work(c, "input '%s' (%s) is not given\nhelp: with --expect every input is: --input %s=F.npy", port->name,
                shape, port->name);
    } else if (lathe_fill(s, port->name, (uint64_t)int_of(c, "seed", 0), 0)) {
      fail_work(c, "cannot fill input '%s'", port->name);
    }
  }
}
