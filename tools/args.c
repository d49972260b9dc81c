/* args.c: the table of options, and the command line read against it. */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VERIFY (V_MODEL & ~(unsigned)V_VIZ)
static const option table[] = {
  /* what the model is */
  {"network", "NAME", O_TEXT, 0, 0, NULL, V_MODEL, TO_LOAD, false, "which network of a file with several"},
  {"dim", "NAME=V", O_DIM, 1, 0, NULL, V_MODEL, TO_LOAD, true, "value of a named dimension"},
  {"batch", "B", O_INT, 1, 1e9, NULL, V_MODEL, TO_LOAD, false, "short for --dim N=B"},
  {"max-bytes", "B", O_INT, 1, 9e18, NULL, V_MODEL, TO_LOAD, false, "largest memory a network may ask for (default: the machine's)"},
  {"entry", "SPEC", O_TEXT, 0, 0, NULL, V_PRINT | V_VIZ | V_INFO, TO_PRINT | TO_COMPILE, false,
    "run, grad or train, with outputs as in run:logits"},
  {"weights", "F.npz", O_FILE, 0, 0, NULL, V_EXEC, TO_NONE, false, "parameters and states (default: drawn from the seed)"},
  {"weights-partial", NULL, O_FLAG, 0, 0, NULL, V_EXEC, TO_NONE, false, "allow missing and extra keys in --weights"},
  /* run and grad */
  {"input", "NAME=F.npy", O_NAME_FILE, 0, 0, NULL, V_RUN | V_GRAD, TO_NONE, true, "an input (default: drawn from the seed)"},
  {"output-dir", "D", O_FILE, 0, 0, NULL, V_RUN | V_GRAD, TO_NONE, false, "write D/NAME.npy for each result"},
  {"expect", "NAME=F.npy", O_NAME_FILE, 0, 0, NULL, V_RUN, TO_NONE, true, "compare an output; every input must be given"},
  {"rtol", "R", O_REAL, 0, HUGE_VAL, NULL, V_RUN, TO_NONE, false, "relative tolerance of --expect (default 1e-4)"},
  {"atol", "R", O_REAL, 0, HUGE_VAL, NULL, V_RUN, TO_NONE, false, "absolute tolerance of --expect (default 1e-5)"},
  {"tap", NULL, O_FLAG, 0, 0, NULL, V_RUN, TO_NONE, false, "one TAP line per compared output"},
  {"output-grad", "NAME=F.npy", O_NAME_FILE, 0, 0, NULL, V_GRAD, TO_NONE, true, "gradient of an output (then only these outputs count)"},
  {"hvp", "NAME=F.npy", O_NAME_FILE, 0, 0, NULL, V_GRAD, TO_NONE, true, "a direction for Hessian-vector products"},
  {"mode", "run|train", O_CHOICE, 0, 0, "run|train", V_GRAD, TO_COMPILE, false, "running or batch statistics, dropout off or on (default run)"},
  /* train */
  {"data", "X.npy", O_FILE, 0, 0, NULL, V_TRAIN, TO_NONE, false, "the inputs, one row per example (or F.npz:KEY)"},
  {"labels", "Y.npy", O_FILE, 0, 0, NULL, V_TRAIN, TO_NONE, false, "what the network should say (or F.npz:KEY)"},
  {"test-data", "X.npy", O_FILE, 0, 0, NULL, V_TRAIN, TO_NONE, false, "examples that are not trained on"},
  {"test-labels", "Y.npy", O_FILE, 0, 0, NULL, V_TRAIN, TO_NONE, false, "their labels"},
  {"loss", "LOSS", O_TEXT, 0, 0, NULL, V_TRAIN | V_PRINT | V_VIZ | V_INFO | V_BENCH, TO_COMPILE | TO_PRINT, false,
    "cross_entropy (default), mse, or an output"},
  {"optimizer", "NAME", O_CHOICE, 0, 0, "sgd|momentum|adam", V_TRAIN | V_PRINT | V_VIZ | V_INFO | V_BENCH,
    TO_COMPILE | TO_PRINT, false, "sgd (default), momentum or adam"},
  {"lr", "R", O_REAL, 0, HUGE_VAL, NULL, V_TRAIN | V_PRINT, TO_COMPILE | TO_PRINT, false, "learning rate (default 0.01; adam 0.001)"},
  {"epochs", "E", O_INT, 1, 1e9, NULL, V_TRAIN, TO_NONE, false, "times through the data (default 10)"},
  {"steps", "S", O_INT, 1, 1e12, NULL, V_TRAIN, TO_NONE, false, "steps instead of epochs"},
  {"no-shuffle", NULL, O_FLAG, 0, 0, NULL, V_TRAIN, TO_NONE, false, "take the rows in file order"},
  {"log", "F.jsonl", O_FILE, 0, 0, NULL, V_TRAIN, TO_NONE, false, "one line per step: {\"step\":0,\"loss\":2.3}"},
  {"save", "F.npz", O_FILE, 0, 0, NULL, V_TRAIN, TO_NONE, false, "write parameters and states at the end"},
  {"save-optimizer", NULL, O_FLAG, 0, 0, NULL, V_TRAIN, TO_NONE, false, "also what is needed to go on with the same bits"},
  {"confusion", NULL, O_FLAG, 0, 0, NULL, V_TRAIN, TO_NONE, false, "print which class was read as which"},
  {"report", "F.html", O_FILE, 0, 0, NULL, V_TRAIN, TO_NONE, false, "write a page with the loss curve and misread examples"},
  /* bench */
  {"seconds", "S", O_REAL, 0.001, 3600, NULL, V_BENCH, TO_NONE, false, "how long to measure (default 1)"},
  {"train", NULL, O_FLAG, 0, 0, NULL, V_BENCH, TO_NONE, false, "the training step instead of the forward pass"},
  {"json", NULL, O_FLAG, 0, 0, NULL, V_BENCH, TO_NONE, false, "results as one JSON object"},
  /* print, opt, viz, tables */
  {"print-after", "PASS|all", O_TEXT, 0, 0, NULL, V_PRINT | V_OPT, TO_PRINT, false, "the graph as it is after a pass"},
  {"passes", "A,B", O_TEXT, 0, 0, NULL, V_OPT, TO_PRINT, false, "the passes to run, in this order"},
  {"output", "F", O_FILE, 0, 0, NULL, V_VIZ, TO_NONE, false, "the picture, F.svg or F.dot; also -o F"},
  {"markdown", NULL, O_FLAG, 0, 0, NULL, V_TABLE, TO_NONE, false, "as a page for docs/"},
  /* how to compile and run */
  {"threads", "T", O_INT, 1, 1024, NULL, V_EXEC, TO_OPEN, false, "threads to run on (default 1); the bits do not depend on it"},
  {"seed", "S", O_INT, 0, 9.2e18, NULL, V_EXEC, TO_OPEN, false, "of everything random (default 0)"},
  {"math", "exact|fast", O_CHOICE, 0, 0, "exact|fast", V_EXEC | V_INFO, TO_COMPILE, false, "exact (default): the same bits everywhere"},
  {"cpu", "NAME", O_TEXT, 0, 0, NULL, V_EXEC | V_INFO, TO_COMPILE, false, "compile for a CPU as clang names them (default: this one)"},
  {"features", "+a,-b", O_TEXT, 0, 0, NULL, V_EXEC | V_INFO, TO_COMPILE, false, "CPU features to add or leave out"},
  {"verify-each", NULL, O_FLAG, 0, 0, NULL, VERIFY, TO_COMPILE | TO_PRINT, false, "check the graph after every pass"},
  {"time-passes", NULL, O_FLAG, 0, 0, NULL, V_EXEC | V_INFO, TO_COMPILE, false, "say how long each pass took"},
};
enum { OPTIONS = sizeof table / sizeof table[0] };

const option *options_table(size_t *n) {
  *n = OPTIONS;
  return table;
}

/* ---- nearest name ---- */

static size_t distance(const char *a, const char *b) { /* Levenshtein */
  size_t n = strlen(b), row[64];
  if (n >= 63) return 99;
  for (size_t j = 0; j <= n; j++) row[j] = j;
  for (size_t i = 1; *a; a++, i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= n; j++) {
      size_t best = diagonal + (*a != b[j - 1]);
      if (row[j] + 1 < best) best = row[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      diagonal = row[j];
      row[j] = best;
    }
  }
  return row[n];
}

const char *nearest(const char *word, const char *const *names, size_t n) {
  const char *best = NULL;
  size_t limit = 1 + strlen(word) / 4, least = limit + 1;
  for (size_t i = 0; i < n; i++) {
    size_t d = distance(word, names[i]);
    if (d < least) least = d, best = names[i];
  }
  return best;
}

/* ---- reading ---- */

static const option *find_option(const cli *c, const char *name, size_t n) {
  for (size_t i = 0; i < OPTIONS; i++)
    if ((table[i].verbs & c->verb->bit) && strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0) return &table[i];
  return NULL;
}

static _Noreturn void unknown_option(const cli *c, const char *name, size_t n) {
  const char *names[OPTIONS];
  size_t count = 0;
  char word[64];
  snprintf(word, sizeof word, "%.*s", (int)n, name);
  for (size_t i = 0; i < OPTIONS; i++)
    if (table[i].verbs & c->verb->bit) names[count++] = table[i].name;
  const char *near = nearest(word, names, count);
  if (near) fail_usage(c, "%s has no option --%s\nhelp: did you mean --%s?", c->verb->name, word, near);
  fail_usage(c, "%s has no option --%s\nhelp: `lathe help %s` lists them", c->verb->name, word, c->verb->name);
}

static bool is_choice(const char *choices, const char *text) {
  size_t n = strlen(text);
  for (const char *p = choices; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
    if (strncmp(p, text, n) == 0 && (p[n] == '|' || p[n] == '\0') && n > 0) return true;
  return false;
}

static bool whole_number(const char *text, double lo, double hi) {
  char *end;
  errno = 0;
  long long v = strtoll(text, &end, 10);
  return end != text && *end == '\0' && errno == 0 && (double)v >= lo && (double)v <= hi && text[0] != ' ' && text[0] != '+';
}

static void check_value(const cli *c, const option *o, const char *text) {
  const char *equals = strchr(text, '=');
  char *end;
  double v;
  switch (o->kind) {
  case O_FLAG: break;
  case O_TEXT:
  case O_FILE:
    if (!*text) fail_usage(c, "--%s has an empty value", o->name);
    break;
  case O_INT:
    if (whole_number(text, o->lo, o->hi)) break;
    if (o->hi > 1e6) fail_usage(c, "--%s is '%s', which is not a whole number of at least %.0f", o->name, text, o->lo);
    fail_usage(c, "--%s is '%s', which is not a whole number from %.0f to %.0f", o->name, text, o->lo, o->hi);
  case O_REAL:
    v = strtod(text, &end);
    if (end != text && *end == '\0' && v >= o->lo && v <= o->hi && isfinite(v)) break;
    fail_usage(c, "--%s is '%s', which is not a number of at least %g", o->name, text, o->lo);
  case O_CHOICE:
    if (!is_choice(o->choices, text)) fail_usage(c, "--%s is '%s', which is none of %s", o->name, text, o->choices);
    break;
  case O_DIM:
    if (!equals || equals == text || !whole_number(equals + 1, 1, 9e18))
      fail_usage(c, "--%s is '%s', which is not a name and a whole number\nhelp: write --%s N=8", o->name, text, o->name);
    break;
  case O_NAME_FILE:
    if (!equals || equals == text || !equals[1])
      fail_usage(c, "--%s is '%s', which is not a name and a file\nhelp: write --%s NAME=F.npy", o->name, text, o->name);
    break;
  }
}

static void add(cli *c, const option *o, const char *text) {
  for (size_t i = 0; i < c->n && !o->many; i++)
    if (c->given[i].o == o) fail_usage(c, "--%s is given twice", o->name);
  check_value(c, o, text);
  c->given[c->n++] = (given){o, text};
}

/* One option at argv[i]; returns the index of the last word it used. */
static int read_option(cli *c, int argc, char **argv, int i) {
  bool short_output = strncmp(argv[i], "-o", 2) == 0 && find_option(c, "output", 6);
  if (short_output) {
    if (argv[i][2]) return add(c, find_option(c, "output", 6), argv[i] + 2), i;
    if (i + 1 >= argc) fail_usage(c, "-o needs a value: -o F");
    return add(c, find_option(c, "output", 6), argv[i + 1]), i + 1;
  }
  if (argv[i][1] != '-') fail_usage(c, "%s has no option %s\nhelp: options are written --like-this", c->verb->name, argv[i]);
  const char *name = argv[i] + 2;
  size_t n = strcspn(name, "=");
  const option *o = find_option(c, name, n);
  if (!o) unknown_option(c, name, n);
  if (o->kind == O_FLAG) {
    if (name[n]) fail_usage(c, "--%s takes no value", o->name);
    return add(c, o, ""), i;
  }
  if (name[n]) return add(c, o, name + n + 1), i;
  if (i + 1 >= argc) fail_usage(c, "--%s needs a value: --%s %s", o->name, o->name, o->arg);
  return add(c, o, argv[i + 1]), i + 1;
}

void parse_args(cli *c, int argc, char **argv) {
  bool options_end = false;
  c->given = need(calloc((size_t)argc + 1, sizeof *c->given));
  for (int i = 0; i < argc; i++) {
    if (!options_end && strcmp(argv[i], "--") == 0) options_end = true;
    else if (!options_end && argv[i][0] == '-' && argv[i][1]) i = read_option(c, argc, argv, i);
    else if (!c->verb->model) fail_usage(c, "%s takes no file, but '%s' is given", c->verb->name, argv[i]);
    else if (c->model) fail_usage(c, "%s takes one model, but '%s' follows '%s'", c->verb->name, argv[i], c->model);
    else c->model = argv[i];
  }
  if (c->verb->model && !c->model)
    fail_usage(c, "%s needs a model\nhelp: lathe %s %s", c->verb->name, c->verb->name, c->verb->model);
}

/* ---- asking ---- */

const char *nth_of(const cli *c, const char *name, size_t i) {
  for (size_t k = 0; k < c->n; k++)
    if (strcmp(c->given[k].o->name, name) == 0 && i-- == 0) return c->given[k].text;
  return NULL;
}
bool has(const cli *c, const char *name) { return nth_of(c, name, 0) != NULL; }
const char *text_of(const cli *c, const char *name, const char *otherwise) {
  const char *t = nth_of(c, name, 0);
  return t ? t : otherwise;
}
int64_t int_of(const cli *c, const char *name, int64_t otherwise) {
  const char *t = nth_of(c, name, 0);
  return t ? strtoll(t, NULL, 10) : otherwise;
}
double real_of(const cli *c, const char *name, double otherwise) {
  const char *t = nth_of(c, name, 0);
  return t ? strtod(t, NULL) : otherwise;
}

char *opts_for(const cli *c, unsigned to, const char *extra) {
  char *text = format("%s", extra ? extra : "");
  for (size_t i = 0; i < c->n; i++) {
    const option *o = c->given[i].o;
    if (!(o->to & to)) continue;
    if (strchr(c->given[i].text, '"')) fail_usage(c, "--%s holds a quotation mark", o->name);
    char *longer = o->kind == O_FLAG ? format("%s --%s", text, o->name) : format("%s --%s \"%s\"", text, o->name, c->given[i].text);
    free(text);
    text = longer;
  }
  return text;
}
