/* verb_print.c: print (as text, or an ONNX model), opt and viz: one library call and a file. */
#include "cli.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char *print_graph(cli *c, const char *extra) {
  lathe_error e;
  lathe_graph *g = load_graph(c);
  char *opts = opts_for(c, TO_PRINT, extra);
  char *text = lathe_print(g, opts, &e);
  if (!text) fail_api(c, &e);
  free(opts);
  lathe_graph_free(g);
  return text;
}

/* ---- viz ---- */

static bool ends_with(const char *s, const char *end) {
  size_t n = strlen(s), m = strlen(end);
  return n >= m && strcmp(s + n - m, end) == 0;
}

static void write_whole(const cli *c, FILE *f, const char *path, const char *part, const char *text) {
  size_t n = strlen(text);
  bool ok = fwrite(text, 1, n, f) == n;
  ok &= fclose(f) == 0;
  if (ok && (!path || rename(part, path) == 0)) return;
  int error = errno;
  unlink(part);
  fail_work(c, "cannot write %s: %s", path ? path : part, strerror(error));
}

static void write_text(const cli *c, const char *path, const char *text) {
  char *part = format("%s.part", path);
  FILE *f = fopen(part, "wb");
  if (!f) fail_work(c, "cannot write %s: %s", path, strerror(errno));
  write_whole(c, f, path, part, text);
  free(part);
}

/* dot reads a file of ours and writes beside the picture, which then takes its name. */
static void draw(const cli *c, const char *path, const char *text) {
  char *in = format("%s.dot.part", path), *out = format("%s.part", path);
  FILE *f = fopen(in, "wb");
  if (!f) fail_work(c, "cannot write %s: %s", path, strerror(errno));
  write_whole(c, f, NULL, in, text);
  char *argv[] = {(char *)"dot", (char *)"-Tsvg", (char *)"-o", out, in, NULL};
  pid_t pid;
  int status = 0, error = posix_spawnp(&pid, "dot", NULL, NULL, argv, environ);
  if (!error) waitpid(pid, &status, 0);
  unlink(in);
  if (error || (WIFEXITED(status) && WEXITSTATUS(status) == 127))
    fail_work(c, "the program dot is not there\nhelp: install graphviz, or write the graph itself with -o F.dot");
  if (status != 0 || rename(out, path) != 0) {
    unlink(out);
    fail_work(c, "dot could not draw %s", path);
  }
  free(in);
  free(out);
}

int verb_viz(cli *c) {
  const char *path = text_of(c, "output", NULL);
  if (!path) fail_usage(c, "viz needs a file to write\nhelp: add -o F.svg");
  bool svg = ends_with(path, ".svg");
  if (!svg && !ends_with(path, ".dot")) fail_usage(c, "viz writes .svg and .dot, not '%s'\nhelp: -o F.svg", path);
  char *text = print_graph(c, "--format=dot");
  if (svg) draw(c, path, text);
  else write_text(c, path, text);
  lathe_free(text);
  return 0;
}

/* ---- print ---- */

/* What goes to the one call only is no use to the other. */
static void check_calls(const cli *c, unsigned to, const char *why) {
  for (size_t i = 0; i < c->n; i++) {
    const option *o = c->given[i].o;
    if (!(o->to & (to | TO_LOAD)) && strcmp(o->name, "format") && strcmp(o->name, "output"))
      fail_usage(c, "--%s goes %s", o->name, why);
  }
}

static int print_onnx(cli *c) {
  lathe_error e;
  check_calls(c, TO_EXPORT, "with --format=text, dot or info");
  if (!has(c, "output")) fail_usage(c, "an ONNX model needs a file to write\nhelp: add -o F.onnx");
  lathe_graph *g = load_graph(c);
  char *opts = opts_for(c, TO_EXPORT, NULL);
  if (lathe_export(g, NULL, opts, &e)) fail_api(c, &e);
  free(opts);
  lathe_graph_free(g);
  return 0;
}

int verb_print(cli *c) {
  if (!strcmp(text_of(c, "format", "text"), "onnx")) return print_onnx(c);
  check_calls(c, TO_PRINT, "with --format=onnx");
  char *text = print_graph(c, NULL);
  if (has(c, "output")) write_text(c, text_of(c, "output", NULL), text);
  else fputs(text, stdout);
  lathe_free(text);
  return 0;
}

int verb_opt(cli *c) {
  if (!has(c, "passes")) fail_usage(c, "opt needs to know what to run\nhelp: add --passes=fold,simplify,cse");
  return verb_print(c);
}
