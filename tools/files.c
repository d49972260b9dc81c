/* files.c: no file that a command writes may be one that it reads, or one that it writes for something else: that is
 * refused before anything is read. Files are told apart as the system does, not by how they are spelled. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool folder_of(const char *path, struct stat *out) {
  const char *slash = strrchr(path, '/');
  char *folder = slash == path ? format("/") : slash ? format("%.*s", (int)(slash - path), path) : format(".");
  bool found = stat(folder, out) == 0;
  free(folder);
  return found;
}

static const char *last_part(const char *path) { return strrchr(path, '/') ? strrchr(path, '/') + 1 : path; }

/* One file, there already or to be made? Pipes and devices are none. */
static bool same_file(const char *a, const char *b) {
  struct stat x, y;
  bool has_a = stat(a, &x) == 0, has_b = stat(b, &y) == 0;
  if ((has_a && !S_ISREG(x.st_mode)) || (has_b && !S_ISREG(y.st_mode))) return false;
  if (has_a && has_b) return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
  if (has_a != has_b || strcmp(last_part(a), last_part(b)) != 0) return false;
  return folder_of(a, &x) && folder_of(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* A file on the command line. */
typedef struct named { char *path, *what; bool written; } named;

static named name_model(const cli *c) {
  return (named){format("%s", c->model), format(strcmp(c->verb->model, "F") == 0 ? "the file of weights" : "the model"),
                 false};
}

static named name_option(const given *g) {
  const char *path = g->o->kind == O_NAME_FILE ? strchr(g->text, '=') + 1 : g->text;
  return (named){format("%.*s", (int)file_length(path), path), format("--%s", g->o->name), g->o->kind == O_OUT};
}

static void refuse(const cli *c, const named *out, const named *other) {
  fail_usage(c, "%s would %s: %s is %s, too\nhelp: another file for %s", out->what,
             other->written ? "be written over" : "destroy what is read", out->path, other->what, out->what);
}

static void compare(const cli *c, const named *a, const named *b) {
  if ((!a->written && !b->written) || !same_file(a->path, b->path)) return;
  refuse(c, a->written ? a : b, a->written ? b : a);
}

static size_t list_files(const cli *c, named *all) {
  size_t n = 0;
  if (c->model && strcmp(c->model, "-") != 0) all[n++] = name_model(c);
  for (size_t i = 0; i < c->n; i++) {
    option_kind kind = c->given[i].o->kind;
    bool dir = strcmp(c->given[i].o->name, "output-dir") == 0; /* its files are checked by name when they are known */
    if ((kind == O_FILE || kind == O_OUT || kind == O_NAME_FILE) && !dir) all[n++] = name_option(&c->given[i]);
  }
  return n;
}

static void free_files(named *all, size_t n) {
  for (size_t i = 0; i < n; i++) free(all[i].path), free(all[i].what);
  free(all);
}

void check_files(const cli *c) {
  named *all = need(calloc(c->n + 1, sizeof *all));
  size_t n = list_files(c, all);
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < i; k++) compare(c, &all[k], &all[i]);
  free_files(all, n);
}

void check_output(const cli *c, const char *path) {
  named *all = need(calloc(c->n + 1, sizeof *all)), out = {format("%s", path), format("--output-dir"), true};
  size_t n = list_files(c, all);
  for (size_t k = 0; k < n; k++) compare(c, &out, &all[k]);
  free_files(all, n);
  free(out.path), free(out.what);
}
