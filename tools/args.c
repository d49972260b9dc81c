/* args.c: the command line, read against the table of options in lathe/options.def. */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ONE, MANY };
static const option table[] = {
#define OPTION(id, name, arg, kind, lo, hi, choices, verbs, to, many, def, doc)                                        \
  {name, arg, O_##kind, lo, hi, choices, verbs, to, many, def, doc},
#include "lathe/options.def"
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
    if ((table[i].verbs & c->verb->bit) && strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0)
      return &table[i];
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
  if (!count) fail_usage(c, "%s has no option --%s\nhelp: it takes none", c->verb->name, word);
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
  return end != text && *end == '\0' && errno == 0 && (double)v >= lo && (double)v <= hi && text[0] != ' ' &&
         text[0] != '+';
}

static void check_value(const cli *c, const option *o, const char *text) {
  const char *equals = strchr(text, '=');
  char *end;
  double v;
  switch (o->kind) {
  case O_FLAG: break;
  case O_TEXT:
  case O_FILE:
  case O_OUT:
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
      fail_usage(c, "--%s is '%s', which is not a name and a whole number\nhelp: write --%s N=8", o->name, text,
                 o->name);
    break;
  case O_NAME_FILE:
    if (!equals || equals == text || !equals[1])
      fail_usage(c, "--%s is '%s', which is not a name and a file\nhelp: write --%s NAME=F.npy", o->name, text,
                 o->name);
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
  if (argv[i][1] != '-')
    fail_usage(c, "%s has no option %s\nhelp: options are written --like-this", c->verb->name, argv[i]);
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

static const char *model_word(const cli *c) { return strcmp(c->verb->model, "F") == 0 ? "file" : "model"; }

void parse_args(cli *c, int argc, char **argv) {
  bool options_end = false;
  c->given = need(calloc((size_t)argc + 1, sizeof *c->given));
  for (int i = 0; i < argc; i++) {
    if (!options_end && strcmp(argv[i], "--") == 0) options_end = true;
    else if (!options_end && argv[i][0] == '-' && argv[i][1]) i = read_option(c, argc, argv, i);
    else if (!c->verb->model) fail_usage(c, "%s takes no file, but '%s' is given", c->verb->name, argv[i]);
    else if (c->model)
      fail_usage(c, "%s takes one %s, but '%s' follows '%s'", c->verb->name, model_word(c), argv[i], c->model);
    else c->model = argv[i];
  }
  if (c->verb->model && !c->model)
    fail_usage(c, "%s needs a %s\nhelp: lathe %s %s", c->verb->name, model_word(c), c->verb->name, c->verb->model);
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

/* `text --name "value"`: what would end the quotation is escaped. Of NAME=F.npy the library wants the name alone. */
char *add_option(char *text, const option *o, const char *value) {
  size_t n = o->kind == O_NAME_FILE ? strcspn(value, "=") : strlen(value), k = 0;
  char *quoted = need(malloc(2 * n + 1));
  for (size_t i = 0; i < n; i++) {
    if (value[i] == '"' || value[i] == '\\') quoted[k++] = '\\';
    quoted[k++] = value[i];
  }
  quoted[k] = '\0';
  char *longer = o->kind == O_FLAG ? format("%s --%s", text, o->name) : format("%s --%s \"%s\"", text, o->name, quoted);
  free(quoted);
  free(text);
  return longer;
}

char *opts_for(const cli *c, unsigned to, const char *extra) {
  char *text = format("%s", extra ? extra : "");
  for (size_t i = 0; i < c->n; i++)
    if (c->given[i].o->to & to) text = add_option(text, c->given[i].o, c->given[i].text);
  return text;
}
