/* messages.c: what inference says about operands and attributes that do not fit, word for word, from messages.txt: a
 * case is "= inputs | call", its message follows. LT_UPDATE=1 writes the file anew; then read it as a user would. */
#include "text/text_util.h"

enum { CASES_AT_LEAST = 125 };

typedef struct reading { char *inputs, *call; } reading;

static void read_case(lt_job *job, void *arg) {
  const reading *r = arg;
  lt_arena *a = lt_arena_new(job);
  const char *text = lt_arena_printf(a, "network t(%s) -> r { r = %s }", r->inputs, r->call);
  const lt_read_options o = {.max_bytes = INT64_C(1) << 40};
  lt_graph_drop(job, lt_text_read(job, text, strlen(text), "t", &o));
}

/* The message of the case in line, "" when there is none. */
static void message_of(char *line, lathe_error *e) {
  char *bar = strstr(line, " | ");
  ck_assert_msg(bar != NULL, "no bar in %s", line);
  *bar = 0;
  int status = lt_protect(e, read_case, &(reading){line + 2, bar + 3});
  *bar = ' ';
  if (status == LATHE_OK) e->message[0] = 0;
  else ck_assert_msg(status == LATHE_E_INVALID, "%s: status %d: %s", line, status, e->message);
}

START_TEST(messages) {
  size_t n, out_n;
  char *file = test_read(test_path("ops/messages.txt"), &n), *out = NULL;
  file = realloc(file, n + 1);
  file[n] = 0;
  FILE *f = open_memstream(&out, &out_n);
  int cases = 0, differ = 0;
  for (char *line = file, *next; *line; line = next) {
    char *end = line + strcspn(line, "\n");
    next = *end ? end + 1 : end;
    if (*line == '#') fprintf(f, "%.*s\n", (int)(end - line), line);
    if (*line != '=') continue;
    *end = 0;
    const char *stop = strstr(next, "\n=");
    size_t want_n = stop ? (size_t)(stop - next) : strlen(next);
    while (want_n && next[want_n - 1] == '\n') want_n--;
    lathe_error e;
    message_of(line, &e);
    cases++;
    bool same = strlen(e.message) == want_n && memcmp(e.message, next, want_n) == 0 && want_n > 0;
    if (!same) fprintf(stderr, "%s\n  says: %s\n", line, *e.message ? e.message : "nothing");
    differ += !same;
    fprintf(f, "%s\n%s\n", line, e.message);
  }
  fclose(f);
  if (lt_updates()) {
    f = fopen(test_path("ops/messages.txt"), "wb");
    ck_assert(f && fputs(out, f) >= 0 && fclose(f) == 0);
  }
  free(out), free(file);
  ck_assert_int_eq(lt_mem_live(), 0);
  ck_assert_int_ge(cases, CASES_AT_LEAST);
  ck_assert_msg(differ == 0, "%d of %d messages differ", differ, cases);
}
END_TEST

LT_SUITE(op_messages, messages)
LT_TEST_MAIN(op_messages)
