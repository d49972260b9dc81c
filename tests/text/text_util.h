/* text_util.h: for tests of the text language: reading, printing, whole files, messages as the command shows them. */
#ifndef LT_TEXT_UTIL_H
#define LT_TEXT_UTIL_H
#include "check_main.h"
#include "frontend/frontend.h"

#include <stdio.h>

/* The limits of all these tests: the same on every machine. */
enum { TEST_NODES = 20000, TEST_WIDTH = 110 /* of a source line that is shown */ };
#define TEST_OPTIONS {.max_bytes = (int64_t)1 << 40, .max_nodes = TEST_NODES}

static inline char *test_path(const char *rest) {
  static char path[4096];
  const char *root = getenv("LT_TESTS");
  snprintf(path, sizeof path, "%s/%s", root ? root : "tests", rest);
  return path;
}

/* A whole file in memory of its own, which ends where the file ends, so that reading past it is seen by a sanitizer. */
static inline char *test_read(const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  ck_assert_msg(f != NULL, "cannot open %s", path);
  fseek(f, 0, SEEK_END);
  *n = (size_t)ftell(f);
  rewind(f);
  char *text = malloc(*n ? *n : 1);
  ck_assert_uint_eq(fread(text, 1, *n, f), *n);
  fclose(f);
  return text;
}

/* `file:line:col: error: …`, the line, a caret, the help. Freed by the caller. */
static inline char *test_message(const lathe_error *e, const char *text, size_t n) {
  char *out = NULL;
  size_t out_n;
  FILE *f = open_memstream(&out, &out_n);
  const char *at = text, *end = text + n, *help = strchr(e->message, '\n');
  fprintf(f, "%s:", e->file);
  if (e->line) fprintf(f, "%d:%d:", e->line, e->column);
  fprintf(f, " error: %.*s\n", help ? (int)(help - e->message) : (int)strlen(e->message), e->message);
  for (int line = 1; line < e->line && at < end; at++) line += *at == '\n';
  if (e->line && at < end) { /* nothing is shown of the end of the text */
    const char *stop = at;
    while (stop < end && *stop != '\n') stop++;
    size_t length = (size_t)(stop - at), column = (size_t)e->column - 1, from = 0;
    if (column > length) column = length;
    if (length > TEST_WIDTH && column > TEST_WIDTH / 2) from = column - TEST_WIDTH / 2;
    if (length > from + TEST_WIDTH) length = from + TEST_WIDTH;
    fputs("  ", f);
    size_t columns = 0, take;
    for (size_t i = from; i < length; i += take) {
      take = at[i] == '\t' ? 0 : lt_character(at + i, length - i);
      if (take) fwrite(at + i, 1, take, f);
      else fputc(at[i] == '\t' ? ' ' : '?', f), take = 1;
      if (i < column) columns++;
    }
    fprintf(f, "\n  %*s^\n", (int)columns, "");
  }
  if (help) fprintf(f, "%s\n", help + 1);
  fclose(f);
  return out;
}

#endif
