/* Every example of docs/language.md is read: a ```lathe block must be right, each of its networks in both directions;
 * the ```text block after a ```lathe error block is its message. */
#include "text_util.h"

typedef struct example { const char *text; size_t n; const char *network; } example;

static void read_and_back(lt_job *job, void *arg) {
  const example *x = arg;
  const lt_read_options o = {.network = x->network};
  lt_str s;
  lt_graph *g = lt_text_read(job, x->text, x->n, "net.lathe", &o);
  lt_verify(g, "reading");
  lt_str_init(&s, lt_arena_new(job));
  lt_print(&s, g);
  lt_graph *again = lt_text_read(job, s.at, s.n, "dump", NULL);
  ck_assert(lt_graph_equal(g, again));
  lt_graph_free(g);
  lt_graph_free(again);
}

static int check_networks(const char *text, size_t n) {
  int networks = 0;
  for (const char *p = text; (p = strstr(p, "network ")) && p < text + n; p++) {
    char name[64];
    if (p != text && p[-1] != '\n') continue;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(p + 8, "[("), p + 8);
    lathe_error e;
    int status = lt_protect(&e, read_and_back, &(example){text, n, name});
    if (status) {
      char *message = test_message(&e, text, n);
      ck_abort_msg("network %s: %s", name, message);
    }
    networks++;
  }
  ck_assert_msg(networks > 0, "no network in:\n%.*s", (int)n, text);
  return networks;
}

static void check_message(const char *text, size_t n, const char *rest) {
  lathe_error e;
  const char *want = strstr(rest, "```text\n");
  ck_assert(want != NULL);
  want += strlen("```text\n");
  ck_assert_int_ne(lt_protect(&e, read_and_back, &(example){text, n, NULL}), 0);
  char *got = test_message(&e, text, n);
  ck_assert_msg(!strncmp(got, want, strlen(got)) && !strncmp(want + strlen(got), "```", 3), "got:\n%s", got);
  free(got);
}

START_TEST(examples_are_right) {
  size_t n;
  char *page = test_read(test_path("../docs/language.md"), &n);
  page = realloc(page, n + 1);
  page[n] = 0;
  int networks = 0, errors = 0;
  for (char *p = page; (p = strstr(p, "\n```lathe"));) {
    bool error = !strncmp(p, "\n```lathe error\n", 16);
    char *text = strchr(p + 1, '\n') + 1, *end = strstr(text, "```\n");
    ck_assert(end != NULL);
    size_t length = (size_t)(end - text);
    if (error) check_message(text, length, end), errors++;
    else networks += check_networks(text, length);
    p = end;
  }
  ck_assert_int_ge(networks, 10);
  ck_assert_int_eq(errors, 1);
  free(page);
}
END_TEST

LT_SUITE(language, examples_are_right)
LT_TEST_MAIN(language)
