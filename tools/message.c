/* message.c: errors as `file:line:col: error: …` with the source line and a caret, and small helpers for text. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool stderr_is_tty(void) {
  const char *term = getenv("TERM");
  return isatty(2) && !(term && strcmp(term, "dumb") == 0);
}

static bool in_colour(void) {
  const char *off = getenv("NO_COLOR");
  return stderr_is_tty() && !(off && *off);
}

static const char *colour(const char *kind) {
  if (!in_colour()) return "";
  return strcmp(kind, "error") == 0 ? "\033[1;31m" : "\033[1;36m";
}
static const char *plain(void) { return in_colour() ? "\033[0m" : ""; }

/* Line `line` of a text, without its end. */
static bool find_line(const char *text, size_t bytes, int line, const char **at, size_t *n) {
  const char *end = text + bytes;
  for (const char *p = text; p < end; line--) {
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    if (!stop) stop = end;
    if (line == 1) {
      *at = p;
      *n = (size_t)(stop - p);
      return true;
    }
    p = stop + 1;
  }
  return false;
}

static char *read_text(const char *path, size_t *bytes) {
  enum { LIMIT = 64 << 20 };
  FILE *f = fopen(path, "rb");
  if (!f) return NULL;
  char *text = NULL;
  size_t n = 0, cap = 0, got;
  do {
    if (n == cap) {
      char *more = cap < LIMIT ? realloc(text, cap = cap ? cap * 2 : 65536) : NULL;
      if (!more) break;
      text = more;
    }
    got = fread(text + n, 1, cap - n, f);
    n += got;
  } while (got > 0);
  fclose(f);
  *bytes = n;
  return text;
}

/* Bytes of the character of UTF-8 at p; 0: it is none, or one of the control characters after 0x7F. */
static size_t character(const char *p, size_t n) {
  const unsigned char *c = (const unsigned char *)p;
  size_t want = c[0] < 0x80 ? 1 : c[0] < 0xC2 ? 0 : c[0] < 0xE0 ? 2 : c[0] < 0xF0 ? 3 : c[0] < 0xF5 ? 4 : 0;
  if (want > n) return 0;
  for (size_t i = 1; i < want; i++)
    if ((c[i] & 0xC0) != 0x80) return 0;
  return want == 2 && c[0] == 0xC2 && c[1] < 0xA0 ? 0 : want;
}

/* Words of the command line may hold anything: what is no text is \xNN, as in the library's messages. */
static void print_text(FILE *to, const char *text, int n) {
  for (int i = 0, take; i < n; i += take) {
    unsigned char c = (unsigned char)text[i];
    take = (int)character(text + i, (size_t)(n - i));
    if (!take || (c < 32 && c != '\t') || c == 127) fprintf(to, "\\x%02x", c), take = 1;
    else fwrite(text + i, 1, (size_t)take, to);
  }
}

/* The line with a caret below column `column` (counted in bytes from 1). Long lines are shown around the column. */
static void show_source(const char *line, size_t n, int column) {
  enum { WIDTH = 110 };
  size_t col = column > 0 ? (size_t)column - 1 : 0, from = 0;
  if (col > n) col = n;
  if (n > WIDTH && col > WIDTH / 2) from = col - WIDTH / 2;
  if (n > from + WIDTH) n = from + WIDTH;
  fputs("  ", stderr);
  size_t columns = 0, take;
  for (size_t i = from; i < n; i += take) { /* one column per character; what is no text is one ? per byte */
    unsigned char ch = (unsigned char)line[i];
    take = character(line + i, n - i);
    if (i < col) columns++;
    if (take > 1) fwrite(line + i, 1, take, stderr);
    else fputc(ch == '\t' ? ' ' : !take || ch < 32 || ch == 127 ? '?' : ch, stderr);
    if (!take) take = 1;
  }
  if (col > n) columns += col - n;
  fprintf(stderr, "\n  %*s", (int)columns, "");
  fprintf(stderr, "%s^%s\n", colour("help"), plain());
}

static void show_place(const cli *c, const lathe_error *e) {
  const char *line;
  size_t n, bytes = 0;
  if (e->line < 1) return;
  if (c && c->source) {
    if (find_line(c->source, c->source_bytes, e->line, &line, &n)) show_source(line, n, e->column);
    return;
  }
  char *text = read_text(e->file, &bytes);
  if (text && find_line(text, bytes, e->line, &line, &n)) show_source(line, n, e->column);
  free(text);
}

void print_message(const cli *c, const char *kind, const lathe_error *where, const char *text) {
  const char *end = strchr(text, '\n');
  int n = end ? (int)(end - text) : (int)strlen(text);
  fflush(stdout);
  if (where && where->file[0]) {
    fputs(where->file, stderr);
    if (where->line > 0) fprintf(stderr, ":%d:%d", where->line, where->column);
    fputs(": ", stderr);
  } else {
    fputs("lathe: ", stderr);
  }
  fprintf(stderr, "%s%s:%s ", colour(kind), kind, plain());
  print_text(stderr, text, n);
  fputc('\n', stderr);
  if (where) show_place(c, where);
  for (const char *p = end; p; p = end) {
    p++;
    end = strchr(p, '\n');
    n = end ? (int)(end - p) : (int)strlen(p);
    if (n == 0) continue;
    const int word = strncmp(p, "help: ", 6) ? 0 : 6;
    if (word) fprintf(stderr, "%shelp:%s ", colour("help"), plain());
    print_text(stderr, p + word, n - word);
    fputc('\n', stderr);
  }
}

/* With --tap whoever reads the lines must learn that no more come. */
static void bail_out(const cli *c, const char *text) {
  if (!c || !c->verb || !(has(c, "tap") || c->verb->bit == V_CHECK)) return;
  const char *end = strchr(text, '\n');
  printf("Bail out! ");
  print_text(stdout, text, end ? (int)(end - text) : (int)strlen(text));
  printf("\n");
}

/* What a failing command still holds goes back with the process. */
void (*before_leaving)(void);

static _Noreturn void leave(int code) {
  if (before_leaving) before_leaving();
  fflush(NULL);
  _exit(code);
}

static _Noreturn void fail_v(const cli *c, int code, const char *fmt, va_list ap) {
  char text[2048];
  vsnprintf(text, sizeof text, fmt, ap);
  bail_out(c, text);
  print_message(c, "error", NULL, text);
  leave(code);
}

void fail_usage(const cli *c, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fail_v(c, EXIT_USAGE, fmt, ap);
}

void fail_work(const cli *c, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fail_v(c, EXIT_WORK, fmt, ap);
}

void fail_api(const cli *c, const lathe_error *e) {
  bail_out(c, e->message);
  print_message(c, "error", e, e->message[0] ? e->message : lathe_status_text(e->status));
  if (e->more > 0) fprintf(stderr, "(and %d more)\n", e->more);
  if (e->status == LATHE_E_INTERNAL) fputs("help: this is a bug in Lathe; please report it with the model\n", stderr);
  leave(e->status == LATHE_E_INTERNAL ? EXIT_BUG : EXIT_WORK);
}

/* ---- memory and text ---- */

void *need(void *p) {
  if (!p) fail_work(NULL, "out of memory");
  return p;
}

char *format(const char *fmt, ...) {
  va_list ap;
  char *text = NULL;
  va_start(ap, fmt);
  int n = vasprintf(&text, fmt, ap);
  va_end(ap);
  return need(n < 0 ? NULL : text);
}

char *name_list(const char *const *names, size_t n) {
  enum { MOST = 12 };
  char *list = format("%s", "");
  for (size_t i = 0; i < n && i < MOST; i++) {
    char *longer = format("%s%s%s", list, i ? ", " : "", names[i]);
    free(list);
    list = longer;
  }
  return list;
}

static const char *const dtype_names[] = {"f32", "f64", "i32", "i64", "bool"};
static const size_t dtype_sizes[] = {4, 8, 4, 8, 1};
size_t size_of(lathe_dtype t) { return dtype_sizes[t]; }

char *shape_text(lathe_dtype t, int rank, const int64_t *dim) {
  char text[LATHE_MAX_RANK * 24 + 16];
  int n = snprintf(text, sizeof text, "%s", dtype_names[t]);
  for (int i = 0; i < rank; i++)
    n += snprintf(text + n, sizeof text - (size_t)n, "%s%lld%s", i ? ", " : "[", (long long)dim[i],
                  i + 1 == rank ? "]" : "");
  return need(strdup(text));
}

int64_t count_of(int rank, const int64_t *dim) {
  int64_t n = 1;
  for (int i = 0; i < rank; i++) n *= dim[i];
  return n;
}

void json_string(FILE *f, const char *s) {
  fputc('"', f);
  for (; *s; s++) {
    unsigned char ch = (unsigned char)*s;
    if (ch == '"' || ch == '\\') fprintf(f, "\\%c", ch);
    else if (ch < 32) fprintf(f, "\\u%04x", ch);
    else fputc(ch, f);
  }
  fputc('"', f);
}

double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
