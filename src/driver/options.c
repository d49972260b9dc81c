/* options.c: text of options → lt_options, by the table in lathe/options.def; and the table as text. */
#include "driver/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ONE, MANY };
/* kinds of the table */
typedef enum option_kind { O_FLAG, O_INT, O_REAL, O_CHOICE, O_TEXT, O_FILE, O_OUT, O_DIM, O_NAME_FILE } option_kind;
typedef struct option {
  const char *name, *arg;
  option_kind kind;
  double lo, hi;
  const char *choices;
  unsigned verbs, to;
  bool many;
  const char *def, *doc;
  size_t offset;
} option;

static const option table[] = {
#define OPTION(id, name, arg, kind, lo, hi, choices, verbs, to, many, def, doc)                                        \
  {name, arg, O_##kind, lo, hi, choices, verbs, to, many, def, doc, offsetof(lt_options, id)},
#include "lathe/options.def"
};

static const char *call_name(unsigned to) {
  return to & TO_LOAD      ? "lathe_load"
         : to & TO_COMPILE ? "lathe_compile"
         : to & TO_OPEN    ? "lathe_open"
         : to & TO_PRINT   ? "lathe_print"
         : to & TO_EMIT    ? "lathe_emit"
         : to & TO_PROVE   ? "lathe_prove"
         : to & TO_WEIGHTS ? "lathe_weights_list"
         : to & TO_EXPORT  ? "lathe_export"
                           : "the command";
}

/* ---- words, as in a shell ---------------------------------------------------------------------------------------- */

typedef LT_VEC(const char *) words;

static const char *take_word(lt_job *job, const char *p, char *out) {
  char quote = 0;
  for (; *p && (quote || !strchr(" \t\n", *p)); p++) {
    if (quote ? *p == quote : (*p == '"' || *p == '\'')) quote = quote ? 0 : *p;
    else if (*p == '\\' && quote != '\'' && p[1]) *out++ = *++p;
    else *out++ = *p;
  }
  if (quote) lt_fail(job, LATHE_E_INVALID, NULL, "the options end inside a quotation (%c is not closed)", quote);
  *out = 0;
  return p;
}

static words split(lt_job *job, lt_arena *a, const char *text) {
  words w = {0};
  for (const char *p = text;;) {
    p += strspn(p, " \t\n");
    if (!*p) return w;
    char *word = lt_arena_alloc(a, strlen(p) + 1);
    p = take_word(job, p, word);
    lt_vec_push(a, &w, word);
  }
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static const option *find(const char *name, size_t n) {
  for (size_t i = 0; i < LT_COUNT(table); i++)
    if (strlen(table[i].name) == n && !memcmp(table[i].name, name, n)) return &table[i];
  return NULL;
}

LT_NORETURN static void fail_unknown(lt_job *job, lt_arena *a, const char *name, size_t n, unsigned call) {
  const char *names[LT_COUNT(table) + 1], *word = lt_arena_strndup(a, name, LT_MIN(n, 60));
  size_t count = 0;
  for (size_t i = 0; i < LT_COUNT(table); i++)
    if (table[i].to & call) names[count++] = table[i].name;
  names[count] = NULL;
  const char *near = lt_nearest(word, names);
  if (near) lt_fail(job, LATHE_E_INVALID, NULL, "unknown option --%s\nhelp: did you mean --%s?", word, near);
  lt_fail(job, LATHE_E_INVALID, NULL, "unknown option --%s", word);
}

static bool is_choice(const char *choices, const char *text) {
  size_t n = strlen(text);
  for (const char *p = choices; n && p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
    if (!strncmp(p, text, n) && (p[n] == '|' || !p[n])) return true;
  return false;
}

static int64_t read_int(lt_job *job, const option *o, const char *text) {
  char *end;
  errno = 0;
  long long v = strtoll(text, &end, 10);
  if (end == text || *end || errno || (double)v < o->lo || (double)v > o->hi)
    lt_fail(job, LATHE_E_INVALID, NULL, "--%s: `%.40s` is not a whole number from %.0f to %.0f", o->name, text, o->lo,
            o->hi);
  return v;
}

static double read_real(lt_job *job, const option *o, const char *text) {
  char *end;
  double v = strtod(text, &end);
  if (end == text || *end || !(v >= o->lo && v <= o->hi) || isinf(v))
    lt_fail(job, LATHE_E_INVALID, NULL, "--%s: `%.40s` is not a number of at least %g", o->name, text, o->lo);
  return v;
}

/* NAME=V with a whole number V ≥ 1. */
static void check_dim(lt_job *job, const option *o, const char *text) {
  const char *eq = strchr(text, '=');
  char *end = NULL;
  errno = 0;
  long long v = eq ? strtoll(eq + 1, &end, 10) : 0;
  if (!eq || eq == text || end == eq + 1 || *end || errno || v < 1)
    lt_fail(job, LATHE_E_INVALID, NULL, "--%s: `%.60s` is not NAME=V with a whole number V of at least 1", o->name,
            text);
}

static void check_text(lt_job *job, const option *o, const char *text) {
  if (!*text) lt_fail(job, LATHE_E_INVALID, NULL, "--%s has an empty value", o->name);
  if (o->kind == O_CHOICE && !is_choice(o->choices, text))
    lt_fail(job, LATHE_E_INVALID, NULL, "--%s: `%.40s` is none of %s", o->name, text, o->choices);
  if (o->kind == O_DIM) check_dim(job, o, text);
}

static void add_text(lt_arena *a, lt_texts *list, const char *text) {
  const char **more = LT_NEW_ARRAY(a, const char *, list->n + 1);
  if (list->n) memcpy(more, list->at, list->n * sizeof *more);
  more[list->n] = text;
  *list = (lt_texts){more, list->n + 1};
}

static void set(lt_options *out, lt_job *job, lt_arena *a, const option *o, const char *text) {
  void *p = (char *)out + o->offset;
  out->given[o - table] = true;
  switch (o->kind) {
    case O_FLAG: *(bool *)p = true; return;
    case O_INT: *(int64_t *)p = read_int(job, o, text); return;
    case O_REAL: *(double *)p = read_real(job, o, text); return;
    case O_CHOICE: case O_TEXT: case O_FILE: case O_OUT: case O_DIM: case O_NAME_FILE: break;
  }
  check_text(job, o, text);
  if (o->many == MANY) add_text(a, p, text);
  else *(const char **)p = text;
}

void lt_options_read(lt_options *out, lt_job *job, lt_arena *a, const char *text, int call) {
  memset(out, 0, sizeof *out);
  if (!text) return;
  words w = split(job, a, text);
  for (uint32_t i = 0; i < w.n; i++) {
    const char *p = strcmp(w.at[i], "-o") ? w.at[i] : "--output", *eq = strchr(p, '=');
    if (strncmp(p, "--", 2) || !p[2])
      lt_fail(job, LATHE_E_INVALID, NULL, "`%.60s` is not an option\nhelp: options start with --", p);
    size_t n = eq ? (size_t)(eq - p - 2) : strlen(p + 2);
    const option *o = find(p + 2, n);
    if (!o) fail_unknown(job, a, p + 2, n, (unsigned)call);
    if (!(o->to & (unsigned)call))
      lt_fail(job, LATHE_E_INVALID, NULL, "option --%s belongs to %s, not to %s", o->name, call_name(o->to),
              call_name((unsigned)call));
    if (o->kind == O_FLAG && eq) lt_fail(job, LATHE_E_INVALID, NULL, "option --%s takes no value", o->name);
    if (o->kind != O_FLAG && !eq && i + 1 == w.n)
      lt_fail(job, LATHE_E_INVALID, NULL, "option --%s needs a value (%s)", o->name, o->arg);
    set(out, job, a, o, o->kind == O_FLAG ? NULL : eq ? eq + 1 : w.at[++i]);
  }
}

/* ---- the table as text ------------------------------------------------------------------------------------------- */

static void print_calls(lt_str *out, unsigned to) {
  const char *sep = "";
  for (unsigned bit = TO_LOAD; bit <= TO_EXPORT; bit *= 2)
    if (to & bit) lt_str_printf(out, "%s`%s`", sep, call_name(bit)), sep = ", ";
}

static void print_verbs(lt_str *out, unsigned verbs) {
  static const char *const names[] = {"run",  "grad", "train",   "bench",   "print", "opt",    "viz",
                                      "info", "ops",  "targets", "compile", "check", "weights"};
  const char *sep = "";
  for (unsigned i = 0; i < LT_COUNT(names); i++)
    if (verbs & 1u << i) lt_str_printf(out, "%s%s", sep, names[i]), sep = " ";
}

static void print_escaped(lt_str *out, const char *text) { /* | ends a table's cell */
  for (; *text; text++) lt_str_printf(out, *text == '|' ? "\\|" : "%c", *text);
}

static void print_row(lt_str *out, const option *o) {
  lt_str_printf(out, "| `--%s`", o->name);
  if (o->arg) lt_str_puts(out, " "), print_escaped(out, o->arg);
  lt_str_puts(out, " | ");
  print_escaped(out, o->def);
  lt_str_puts(out, " | ");
  print_calls(out, o->to);
  lt_str_puts(out, " | ");
  print_verbs(out, o->verbs);
  lt_str_printf(out, " | ");
  print_escaped(out, o->doc);
  lt_str_printf(out, "%s |\n", o->many ? " (several)" : "");
}

void lt_options_print(lt_str *out, bool markdown) {
  if (markdown)
    lt_str_puts(out, "# Options\n\nGenerated from `include/lathe/options.def`; do not edit.\n\n"
                     "| option | default | calls | verbs | what it does |\n|---|---|---|---|---|\n");
  for (size_t i = 0; i < LT_COUNT(table); i++) {
    const option *o = &table[i];
    if (markdown) print_row(out, o);
    else
      lt_str_printf(out, "--%s%s%-*s %s%s\n", o->name, o->arg ? " " : "", (int)(28 - strlen(o->name)),
                    o->arg ? o->arg : "", o->doc, o->many ? " (several)" : "");
  }
}
