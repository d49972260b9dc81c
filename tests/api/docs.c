/* docs.c: the generated pages of docs/ are what the tables say. LT_UPDATE=1 writes them anew. */
#include "check_main.h"
#include "lathe/lathe.h"

#include <stdio.h>
#include <string.h>

static char *read_all(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f) return NULL;
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  rewind(f);
  char *text = calloc(1, (size_t)n + 1);
  ck_assert_uint_eq(fread(text, 1, (size_t)n, f), (size_t)n);
  fclose(f);
  return text;
}

static void write_all(const char *path, const char *text) {
  FILE *f = fopen(path, "wb");
  ck_assert_ptr_nonnull(f);
  ck_assert_int_ge(fputs(text, f), 0);
  ck_assert_int_eq(fclose(f), 0);
}

static void page_is_current(const char *name) {
  char path[1024];
  lathe_error e = {0};
  snprintf(path, sizeof path, "%s/../docs/%s", getenv("LT_TESTS"), name);
  char *table = lathe_table(name, &e);
  ck_assert_msg(table != NULL, "%s", e.message);
  if (lt_updates()) write_all(path, table);
  char *page = read_all(path);
  ck_assert_msg(page && strcmp(page, table) == 0,
                "docs/%s is not what the table says\nhelp: LT_UPDATE=1 ./dev test docs", name);
  free(page);
  lathe_free(table);
}

START_TEST(options) { page_is_current("options.md"); }
END_TEST
START_TEST(ops) { page_is_current("ops.md"); }
END_TEST

START_TEST(unknown_table) {
  lathe_error e = {0};
  ck_assert_ptr_null(lathe_table("opts", &e));
  ck_assert_int_eq(e.status, LATHE_E_INVALID);
  ck_assert_msg(strstr(e.message, "`opts`") || strstr(e.message, "'opts'"), "%s", e.message);
}
END_TEST

LT_SUITE(docs, options, ops, unknown_table)
LT_TEST_MAIN(docs)
