/* Every tests/bad/NAME.lathe is refused with exactly the message in NAME.err, as a user sees it. To write new messages
 * down, run this with LT_WRITE_ERR=1, then read them as a user would. */
#include "text_util.h"

#include <dirent.h>

typedef struct reading { const char *text, *file; size_t n; } reading;

static void read_and_free(lt_job *job, void *arg) {
  const reading *r = arg;
  const lt_read_options o = TEST_OPTIONS;
  lt_graph_free(lt_text_read(job, r->text, r->n, r->file, &o));
}

static void write_file(const char *path, const char *text) {
  FILE *f = fopen(path, "wb");
  ck_assert(f != NULL);
  fputs(text, f);
  fclose(f);
}

static int check_file(const char *name) {
  char path[4096], rest[300];
  size_t n, want_n;
  snprintf(rest, sizeof rest, "bad/%s", name);
  snprintf(path, sizeof path, "%s", test_path(rest));
  char *text = test_read(path, &n);
  lathe_error e;
  int64_t live = lt_mem_live();
  int status = lt_protect(&e, read_and_free, &(reading){text, name, n});
  ck_assert_int_eq(lt_mem_live(), live);
  if (!status) {
    fprintf(stderr, "%s: is read without an error\n", name);
    free(text);
    return 1;
  }
  ck_assert_msg(status == LATHE_E_PARSE || status == LATHE_E_INVALID, "%s: status %d: %s", name, status, e.message);
  char *got = test_message(&e, text, n);
  snprintf(path + strlen(path) - strlen(".lathe"), sizeof ".err", ".err");
  if (lt_updates()) write_file(path, got);
  char *want = test_read(path, &want_n);
  int differs = want_n != strlen(got) || memcmp(want, got, want_n) != 0;
  if (differs) fprintf(stderr, "%s: got\n%s", name, got);
  free(text), free(got), free(want);
  return differs;
}

START_TEST(messages) {
  DIR *d = opendir(test_path("bad"));
  int seen = 0, differ = 0;
  ck_assert(d != NULL);
  for (struct dirent *f; (f = readdir(d));) {
    size_t n = strlen(f->d_name);
    if (n < 6 || strcmp(f->d_name + n - 6, ".lathe")) continue;
    differ += check_file(f->d_name);
    seen++;
  }
  closedir(d);
  ck_assert_int_ge(seen, 60);
  ck_assert_msg(differ == 0, "%d of %d messages differ", differ, seen);
}
END_TEST

/* Every prefix of a text is a text or an error, never more. */
START_TEST(prefixes) {
  static const char *const files[] = {"models/resnet50.lathe", "models/ops.lathe", "models/fit.lathe"};
  lathe_error e;
  for (size_t i = 0; i < LT_COUNT(files); i++) {
    size_t n;
    char *text = test_read(test_path(files[i]), &n);
    for (size_t cut = 0; cut < n; cut++) {
      char *part = malloc(cut ? cut : 1);
      memcpy(part, text, cut);
      int status = lt_protect(&e, read_and_free, &(reading){part, "cut.lathe", cut});
      ck_assert_msg(!status || status == LATHE_E_PARSE || status == LATHE_E_INVALID, "%s cut at %zu: %d %s", files[i],
                    cut, status, e.message);
      free(part);
    }
    free(text);
  }
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

START_TEST(too_large) {
  size_t n = LT_TEXT_MAX_BYTES + (size_t)1;
  char *text = calloc(n, 1);
  lathe_error e;
  ck_assert_int_eq(lt_protect(&e, read_and_free, &(reading){text, "large.lathe", n}), LATHE_E_PARSE);
  ck_assert_str_eq(e.message, "the text has 67108865 bytes, at most 67108864 (64 MiB) are read");
  free(text);
}
END_TEST

LT_SUITE(bad_text, messages, prefixes, too_large)
LT_TEST_MAIN(bad_text)
