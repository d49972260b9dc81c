/* files.c: no file that a command writes may be one that it reads, or one that it writes for something else: that is
 * refused before anything is read, by lathe_files_distinct. Here is what the files of a command line are. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* Both texts of a file are owned. */
static lathe_file name_model(const cli *c) {
  return (lathe_file){format("%s", c->model),
                      format(strcmp(c->verb->model, "F") == 0 ? "the file of weights" : "the model"), 0};
}

static lathe_file name_option(const given *g) {
  const char *path = g->o->kind == O_NAME_FILE ? strchr(g->text, '=') + 1 : g->text;
  return (lathe_file){format("%.*s", (int)file_length(path), path), format("--%s", g->o->name), g->o->kind == O_OUT};
}

static size_t list_files(const cli *c, lathe_file *all) {
  size_t n = 0;
  if (c->model && strcmp(c->model, "-") != 0) all[n++] = name_model(c);
  for (size_t i = 0; i < c->n; i++) {
    option_kind kind = c->given[i].o->kind;
    bool dir = strcmp(c->given[i].o->name, "output-dir") == 0; /* its files are checked by name when they are known */
    if ((kind == O_FILE || kind == O_OUT || kind == O_NAME_FILE) && !dir) all[n++] = name_option(&c->given[i]);
  }
  return n;
}

/* below: a file below --output-dir; NULL: none yet. */
static void check(const cli *c, const char *below) {
  lathe_file *all = need(calloc(c->n + 2, sizeof *all));
  lathe_error e;
  size_t n = 0;
  if (below) all[n++] = (lathe_file){format("%s", below), format("--output-dir"), 1};
  n += list_files(c, all + n);
  int status = lathe_files_distinct(all, n, &e);
  for (size_t i = 0; i < n; i++) free((void *)(uintptr_t)all[i].path), free((void *)(uintptr_t)all[i].what);
  free(all);
  if (status) fail_usage(c, "%s", e.message);
}

void check_files(const cli *c) { check(c, NULL); }
void check_output(const cli *c, const char *path) { check(c, path); }
