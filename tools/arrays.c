/* arrays.c: .npy files and keys of .npz files as inputs; results as .npy files with safe names. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* "F.npz:KEY": the length of the path, or 0. */
static size_t npz_path(const char *path) {
  const char *p = strstr(path, ".npz:");
  return p && p[5] ? (size_t)(p - path) + 4 : 0;
}

size_t file_length(const char *path) { return npz_path(path) ? npz_path(path) : strlen(path); }

static _Noreturn void fail_no_key(const cli *c, const char *file, const char *key, const lathe_array *all, size_t n) {
  char **names = need(calloc(n + 1, sizeof *names));
  for (size_t i = 0; i < n; i++) names[i] = (char *)all[i].name;
  const char *near = nearest(key, (const char *const *)names, n);
  char *list = name_list((const char *const *)names, n);
  if (near) fail_work(c, "%s has no array '%s'\nhelp: did you mean %s:%s?", file, key, file, near);
  fail_work(c, "%s has no array '%s'\nhelp: it holds %s", file, key, list);
}

static lathe_array load_key(const cli *c, const char *path, size_t n_path) {
  lathe_error e;
  lathe_array *all, found = {.data = NULL};
  size_t n;
  bool there = false;
  char *file = format("%.*s", (int)n_path, path);
  const char *key = path + n_path + 1;
  if (lathe_npz_load(&all, &n, file, &e)) fail_api(c, &e);
  for (size_t i = 0; i < n; i++)
    if (!there && strcmp(all[i].name, key) == 0) found = all[i], there = true;
  if (there && !found.data)
    fail_work(c, "%s: array '%s' holds no numbers\nhelp: save it as numbers, for example x.astype('float32')", file,
              key);
  if (!there) fail_no_key(c, file, key, all, n);
  for (size_t i = 0; i < n; i++)
    if (all[i].data != found.data) lathe_free(all[i].data);
  lathe_free(all);
  free(file);
  return found;
}

lathe_array load_array(const cli *c, const char *path, int want) {
  lathe_error e;
  lathe_array a;
  size_t n = npz_path(path);
  if (n) return load_key(c, path, n);
  if (lathe_npy_load(&a, path, want, &e)) fail_api(c, &e);
  return a;
}

/* What load_array is asked for, so that a port of type t gets its own type where the file's kind allows it. */
static int want_for(lathe_dtype t) { return t == LATHE_F64 || t == LATHE_I64 ? (int)t : -1; }

static void widen(lathe_array *a, lathe_dtype t) { /* keys of .npz come by kind: f32 to f64, i32 to i64 */
  bool floats = a->dtype == LATHE_F32 && t == LATHE_F64, ints = a->dtype == LATHE_I32 && t == LATHE_I64;
  if (!floats && !ints) return;
  int64_t n = count_of(a->rank, a->dim);
  void *wide = need(malloc((size_t)(n ? n : 1) * 8));
  for (int64_t i = 0; i < n; i++)
    if (floats) ((double *)wide)[i] = ((float *)a->data)[i];
    else ((int64_t *)wide)[i] = ((int32_t *)a->data)[i];
  lathe_free(a->data);
  a->data = wide;
  a->dtype = t;
}

static bool same_shape(const lathe_array *a, const lathe_port *p, bool rows) {
  if (a->rank != p->rank) return false;
  for (int i = rows; i < a->rank; i++)
    if (a->dim[i] != p->dim[i]) return false;
  return true;
}

/* Labels beyond the classes, indices beyond the axis: the first one is an error. Negative ones have a meaning. */
static void check_range(const cli *c, const lathe_port *port, const lathe_array *a, const char *file) {
  int64_t n = count_of(a->rank, a->dim);
  for (int64_t i = 0; port->limit > 0 && i < n; i++) {
    int64_t v = integer_at(a->dtype, a->data, i);
    if (v < port->limit) continue;
    char *at = index_text(a->rank, a->dim, i);
    fail_work(c,
              "%s: %lld at %s is out of range: input '%s' takes 0 to %lld\nhelp: a negative label means that the row "
              "does not count",
              file, (long long)v, at, port->name, (long long)port->limit - 1);
  }
}

lathe_array load_for_port(const cli *c, const char *path, const lathe_port *port, bool rows) {
  lathe_array a = load_array(c, path, want_for(port->dtype));
  widen(&a, port->dtype);
  if (a.dtype != port->dtype || !same_shape(&a, port, rows)) {
    char *wants = shape_text(port->dtype, port->rank, port->dim), *holds = shape_text(a.dtype, a.rank, a.dim);
    const char *help = a.dtype != port->dtype ? "\nhelp: floats and integers are not converted into each other" : "";
    fail_work(c, "%s '%s' is %s%s, but %s holds %s%s", port->kind, port->name, wants,
              rows ? " (any number of rows)" : "", path, holds, help);
  }
  check_range(c, port, &a, path);
  return a;
}

void split_name_file(const char *text, char **name, const char **file) {
  const char *equals = strchr(text, '=');
  *name = format("%.*s", (int)(equals - text), text);
  *file = equals + 1;
}

/* ---- results ---- */

void make_dirs(const cli *c, const char *path) {
  char *part = format("%s", path);
  for (char *p = part + 1;; p++) {
    if (*p != '/' && *p != '\0') continue;
    char end = *p;
    *p = '\0';
    if (mkdir(part, 0777) != 0 && errno != EEXIST)
      fail_work(c, "cannot make the directory %s: %s", part, strerror(errno));
    *p = end;
    if (!end) break;
  }
  struct stat st;
  if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) fail_work(c, "%s is not a directory", path);
  free(part);
}

static bool plain_character(char ch) {
  return (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || (ch && strchr("._-", ch));
}

static char *result_path(const char *dir, const char *name) {
  char *path = format("%s/%s.npy", dir, name);
  for (char *p = path + strlen(dir) + 1; *p; p++)
    if (!plain_character(*p)) *p = '_';
  return path;
}

static void check_distinct(const cli *c, char *const *paths, const ports *out) {
  for (size_t i = 0; i < out->n; i++)
    for (size_t j = 0; j < i; j++)
      if (strcmp(paths[i], paths[j]) == 0)
        fail_work(c, "'%s' and '%s' would both be written to %s", out->at[j].name, out->at[i].name, paths[i]);
}

void write_results(const cli *c, lathe_instance *s, const ports *out, const char *dir) {
  lathe_error e;
  char **paths = need(calloc(out->n + 1, sizeof *paths));
  for (size_t i = 0; i < out->n; i++) paths[i] = result_path(dir, out->at[i].name);
  check_distinct(c, paths, out);
  for (size_t i = 0; i < out->n; i++) check_output(c, paths[i]);
  make_dirs(c, dir);
  for (size_t i = 0; i < out->n; i++) {
    const lathe_port *p = &out->at[i];
    lathe_array a = {.dtype = p->dtype, .rank = p->rank, .data = buffer_of(c, s, p->name)};
    memcpy(a.dim, p->dim, sizeof a.dim);
    if (lathe_npy_save(&a, paths[i], &e)) fail_api(c, &e);
    free(paths[i]);
  }
  free(paths);
}
