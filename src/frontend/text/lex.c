/* lex.c: text → tokens, one at a time. Also strict reading of numbers.
 *
 * NAME is [A-Za-z_][A-Za-z0-9_]* with further parts after dots, which may start with a digit (`layer1.0.conv.W`); any
 * other name stands in backticks, as it is. `1..n` is a range, not a float: a float has a digit after
 * its point or an exponent. */
#include "frontend/text/read.h"
#include "frontend/text/text.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool is_word(char c) { return is_letter(c) || is_digit(c); }

void lt_lex_init(lt_lexer *l, lt_job *job, lt_arena *arena, const char *file, const char *text, size_t n) {
  *l = (lt_lexer){.job = job, .arena = arena, .file = file, .at = text, .end = text + n, .line_start = text, .line = 1};
  if (n > LT_TEXT_MAX_BYTES) {
    lt_loc loc = lt_loc_at(file, (lt_pos){1, 1});
    lt_fail(job, LATHE_E_PARSE, &loc, "the text has %zu bytes, at most %d (64 MiB) are read", n,
            (int)LT_TEXT_MAX_BYTES);
  }
  if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) l->at = l->line_start = text + 3; /* a byte order mark */
}

static lt_pos here(const lt_lexer *l, const char *at) { return (lt_pos){l->line, (int32_t)(at - l->line_start) + 1}; }

LT_NORETURN static void fail_at(const lt_lexer *l, const char *at, const char *fmt, ...) LT_PRINTF(3, 4);
static void fail_at(const lt_lexer *l, const char *at, const char *fmt, ...) {
  lt_loc loc = lt_loc_at(l->file, here(l, at));
  va_list ap;
  va_start(ap, fmt);
  lt_failv(l->job, LATHE_E_PARSE, &loc, fmt, ap);
}

static char peek(const lt_lexer *l, size_t i) { return (size_t)(l->end - l->at) > i ? l->at[i] : 0; }

static void skip_space(lt_lexer *l) {
  for (; l->at < l->end; l->at++) {
    char c = *l->at;
    if (c == '#') {
      while (l->at < l->end && *l->at != '\n') l->at++;
      if (l->at == l->end) return;
      c = '\n';
    }
    if (c == '\n') l->line++, l->line_start = l->at + 1;
    else if (c != ' ' && c != '\t' && c != '\r') return;
  }
}

static void check_length(lt_lexer *l, const char *start, size_t n, const char *what) {
  if (n > LT_MAX_NAME) fail_at(l, start, "this %s has %zu bytes, at most %d are allowed", what, n, (int)LT_MAX_NAME);
}

static bool is_keyword(const char *s) {
  static const char *const words[] = {"network", "block", "param", "state", "const",  "update",
                                      "for",     "in",    "if",    "else",  "import", "lathe"};
  for (size_t i = 0; i < LT_COUNT(words); i++)
    if (strcmp(s, words[i]) == 0) return true;
  return false;
}

static void lex_name(lt_lexer *l, lt_token *t) {
  const char *start = l->at;
  while (is_word(peek(l, 0)) || (peek(l, 0) == '.' && is_word(peek(l, 1)))) l->at++;
  check_length(l, start, (size_t)(l->at - start), "name");
  t->text = lt_arena_strndup(l->arena, start, (size_t)(l->at - start));
  t->kind = is_keyword(t->text) ? LT_T_KEYWORD : LT_T_NAME;
}

static void lex_number(lt_lexer *l, lt_token *t) {
  const char *start = l->at;
  t->kind = LT_T_INT;
  while (is_digit(peek(l, 0))) l->at++;
  if (peek(l, 0) == '.' && is_digit(peek(l, 1))) {
    t->kind = LT_T_FLOAT;
    for (l->at++; is_digit(peek(l, 0));) l->at++;
  }
  if (peek(l, 0) == 'e' || peek(l, 0) == 'E') {
    size_t sign = peek(l, 1) == '+' || peek(l, 1) == '-';
    if (is_digit(peek(l, 1 + sign))) {
      t->kind = LT_T_FLOAT;
      for (l->at += 1 + sign; is_digit(peek(l, 0));) l->at++;
    }
  }
  check_length(l, start, (size_t)(l->at - start), "number");
  t->text = lt_arena_strndup(l->arena, start, (size_t)(l->at - start));
  if (is_word(peek(l, 0))) {
    int n = (int)(l->at - start);
    while (n < 60 && is_word(start[n])) n += start + n + 1 < l->end ? 1 : 60;
    fail_at(l, start, "`%.*s` is neither a number nor a name", LT_MIN(n, (int)(l->end - start)), start);
  }
  if (peek(l, 0) == '.' && peek(l, 1) != '.')
    fail_at(l, start, "`%s.` has no digit after its point\nhelp: write `%s.0`", t->text, t->text);
}

/* The character after a backslash at l->at, which is left on its last byte. */
static char lex_escape(lt_lexer *l) {
  const char *start = l->at++;
  switch (peek(l, 0)) {
  case '\\': case '"': return *l->at;
  case 'n': return '\n';
  case 't': return '\t';
  default: fail_at(l, start, "unknown escape\nhelp: \\\\ \\\" \\n and \\t are known");
  }
}

/* "…" and `…`. The decoded text is at most as long as what is written. */
static void lex_quoted(lt_lexer *l, lt_token *t) {
  const char *start = l->at, *close = ++l->at;
  char quote = *start;
  while (close < l->end && *close != quote && *close != '\n')
    close += *close == '\\' && quote == '"' && close + 1 < l->end ? 2 : 1;
  if (close >= l->end || *close != quote) {
    fail_at(l, start,
            quote == '"' ? "this string has no end on its line\nhelp: close it with \""
                         : "this name has no end on its line\nhelp: close it with `");
  }
  char *text = lt_arena_alloc(l->arena, (size_t)(close - l->at) + 1);
  size_t n = 0;
  const char *misfit = quote == '`' ? lt_name_misfit(l->at, (size_t)(close - l->at)) : NULL;
  for (; *l->at != quote; l->at++) {
    char c = *l->at;
    if (c == 0 || l->at == misfit)
      fail_at(l, l->at, "the byte 0x%02X cannot stand in a %s", (unsigned char)c, quote == '`' ? "name" : "text");
    text[n++] = c == '\\' && quote == '"' ? lex_escape(l) : c;
  }
  l->at++;
  text[n] = 0;
  t->kind = quote == '"' ? LT_T_STRING : LT_T_QUOTED;
  t->text = text;
  if (quote == '`' && n == 0) fail_at(l, start, "a name cannot be empty");
  if (quote == '`') check_length(l, start, n, "name");
}

/* How many bytes from `at` are one character of UTF-8; 0: they are none. */
static int character_bytes(const lt_lexer *l, const char *at) {
  unsigned char c = (unsigned char)*at;
  int n = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xF0 && c < 0xF5 ? 4 : 0;
  for (int i = 1; i < n; i++)
    if (at + i >= l->end || ((unsigned char)at[i] & 0xC0) != 0x80) return 0;
  return n;
}

/* What other languages have here. */
static const struct { const char *word, *help; } foreign[] = { {"//", "a comment begins with `#`"},
            {"**", "write `pow(a, b)`"},
            {";", "leave it out: a statement ends by itself"},
            {"'", "strings stand in double quotes"},
            {"<", "write `less(a, b)`"},
            {">", "write `less(b, a)`"},
            {"%", "there is no remainder"}};

static void check_foreign(const lt_lexer *l) {
  for (size_t i = 0; i < LT_COUNT(foreign); i++) {
    size_t n = strlen(foreign[i].word);
    if ((size_t)(l->end - l->at) >= n && !memcmp(l->at, foreign[i].word, n))
      fail_at(l, l->at, "unexpected `%s`\nhelp: %s", foreign[i].word, foreign[i].help);
  }
}

static void fail_character(const lt_lexer *l) {
  unsigned char c = (unsigned char)*l->at;
  int n = c > ' ' && c != 0x7F ? character_bytes(l, l->at) : 0;
  if (n) fail_at(l, l->at, "unexpected character `%.*s`", n, l->at);
  fail_at(l, l->at, c >= 0x80 ? "unexpected byte 0x%02X: the text is not UTF-8" : "unexpected byte 0x%02X", c);
}

void lt_lex_next(lt_lexer *l, lt_token *t) {
  skip_space(l);
  *t = (lt_token){.kind = LT_T_END, .pos = here(l, l->at)};
  if (l->at == l->end) return;
  char c = *l->at;
  if (c == '/' || c == '*' || strchr(";'<>%", c)) check_foreign(l);
  if (is_letter(c)) lex_name(l, t);
  else if (is_digit(c)) lex_number(l, t);
  else if (c == '"' || c == '`') lex_quoted(l, t);
  else if (c == '-' && peek(l, 1) == '>') t->kind = LT_T_ARROW, l->at += 2;
  else if (c == '.' && peek(l, 1) == '.') t->kind = LT_T_RANGE, l->at += 2;
  else if (c == '.' && is_digit(peek(l, 1)))
    fail_at(l, l->at, "a number cannot start with its point\nhelp: write `0.%c`", peek(l, 1));
  else if (c != 0 && strchr("(){}[],:=+-*/@", c)) t->kind = LT_T_CHAR, t->ch = c, l->at++;
  else fail_character(l);
}

const char *lt_token_text(lt_arena *a, const lt_token *t) {
  switch (t->kind) {
  case LT_T_END: return "the end of the text";
  case LT_T_KEYWORD: return lt_arena_printf(a, "the reserved word `%s`", t->text);
  case LT_T_INT: case LT_T_FLOAT: return lt_arena_printf(a, "the number %s", t->text);
  case LT_T_STRING: return "a string";
  case LT_T_ARROW: return "`->`";
  case LT_T_RANGE: return "`..`";
  case LT_T_CHAR: return lt_arena_printf(a, "`%c`", t->ch);
  case LT_T_NAME: case LT_T_QUOTED: break;
  }
  return lt_arena_printf(a, "`%.60s`", t->text);
}

/* ---- numbers -------------------------------------------------------------------------------------------------- */

bool lt_read_int(const char *text, bool negative, int64_t *out) {
  int64_t v = 0;
  for (const char *p = text; *p; p++) {
    int64_t digit = negative ? -(*p - '0') : *p - '0';
    if (!is_digit(*p) || !lt_mul_ok(&v, v, 10) || !lt_add_ok(&v, v, digit)) return false;
  }
  *out = v;
  return true;
}

/* The C locale of the libc, which has a point for a point whatever setlocale() said. */
static locale_t c_locale(void) { return newlocale(LC_ALL_MASK, "C", (locale_t)0); }

bool lt_read_double(const char *text, double *out) {
  locale_t c = c_locale();
  if (!c) return false;
  *out = strtod_l(text, NULL, c);
  freelocale(c);
  return *out <= 1.7976931348623157e308;
}

bool lt_read_float(const char *text, float *out) {
  locale_t c = c_locale();
  if (!c) return false;
  *out = strtof_l(text, NULL, c);
  freelocale(c);
  return *out <= 3.40282347e38f;
}
