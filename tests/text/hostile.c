/* Files that are meant to do harm: ONNX models and tensors, broken, cut off, nested, overflowing, cyclic, reaching out
 * of their folder. tests/onnx/hostile.txt writes each as the fields of its messages, with the exact words that refuse
 * it:
 *
 *   model 1:10 7{2:"g" 12{1:"y"}}      field:number (a varint), field:"bytes" with \xNN, field{a message}
 *   ! the output `y` is made by no node
 *
 * Between them stand N*(…), repeated N times, and @NN…, bytes as they are; &graph stands for what all sound models have
 * (words[]). LT_UPDATE=1 writes the messages anew. Each is refused in less than a second (under a sanitizer, three) and
 * 100 MB, all that was ever asked for added up, and nothing stays behind. */
#include "check_main.h"
#include "frontend/frontend.h"
#include "frontend/onnx/array.h"

#include <ctype.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS = LT_ADDRESS_SANITIZER ? 3 : 1, MOST_BYTES = 100 << 20, DEPTH = 600, AT_LEAST = 170 };

/* ---- a line of fields → bytes ------------------------------------------------------------------------------------ */

static const struct { const char *name, *text; } words[] = {
  {"head", "1:10 8{2:20}"},                                  /* version 10, opset 20 */
  {"x", "11{1:\"x\" 2{1{1:1 2{1{1:2} 1{1:3}}}}}"},           /* the input x: f32[2, 3] */
  {"y", "12{1:\"y\" 2{1{1:1 2{1{1:2} 1{1:3}}}}}"},           /* the output y, the same */
  {"relu", "1{1:\"x\" 2:\"y\" 4:\"Relu\"}"},                 /* y = Relu(x) */
  {"add", "1{1:\"x\" 1:\"w\" 2:\"y\" 3:\"sum\" 4:\"Add\"}"}, /* y = Add(x, w), called sum */
};

typedef struct writer { const char *p; lt_str *out; lt_arena *a; unsigned depth; } writer;
static void fields(writer *w, const char *ends);

static void varint(lt_str *out, uint64_t v) {
  for (; v >= 0x80; v >>= 7) lt_str_put(out, &(char){(char)(v | 0x80)}, 1);
  lt_str_put(out, &(char){(char)v}, 1);
}

static int hex(char c) {
  return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10 : -1;
}

static void quoted(writer *w, lt_str *out) {
  for (w->p++; *w->p && *w->p != '"'; w->p++) {
    char byte = *w->p;
    if (byte == '\\') byte = (char)(hex(w->p[2]) * 16 + hex(w->p[3])), w->p += 3;
    lt_str_put(out, &byte, 1);
  }
  w->p++;
}

static void bytes_as_they_are(writer *w) {
  for (w->p++; hex(*w->p) >= 0; w->p += 2) lt_str_put(w->out, &(char){(char)(hex(w->p[0]) * 16 + hex(w->p[1]))}, 1);
}

static void message(writer *w, uint64_t field) {
  lt_str *outer = w->out, inner;
  lt_str_init(&inner, w->a);
  varint(outer, field << 3 | 2);
  w->out = &inner, w->p++;
  if (*(w->p - 1) == '{') fields(w, "}"), w->p++;
  else w->p--, quoted(w, &inner);
  w->out = outer;
  varint(outer, inner.n);
  lt_str_put(outer, inner.at, inner.n);
}

static void repeat(writer *w, uint64_t n) {
  const char *start = w->p += 2, *end = start;
  for (uint64_t i = 0; i < n; i++) w->p = start, fields(w, ")"), end = w->p;
  w->p = end + 1;
}

static void word(writer *w) {
  size_t n = 0;
  while (isalnum((unsigned char)w->p[1 + n])) n++;
  const char *after = w->p + 1 + n, *text = NULL;
  for (size_t i = 0; i < LT_COUNT(words); i++)
    if (strlen(words[i].name) == n && !strncmp(words[i].name, w->p + 1, n)) text = words[i].text;
  ck_assert_msg(text != NULL, "no word %s", w->p);
  w->p = text;
  fields(w, "");
  w->p = after;
}

static void fields(writer *w, const char *ends) {
  ck_assert_uint_lt(++w->depth, DEPTH);
  while (*w->p && !strchr(ends, *w->p)) {
    char *after;
    if (*w->p == ' ') w->p++;
    else if (*w->p == '@') bytes_as_they_are(w);
    else if (*w->p == '&') word(w);
    else {
      uint64_t number = strtoull(w->p, &after, 10);
      ck_assert_msg(after != w->p, "neither a field nor a word: %s", w->p);
      w->p = after;
      if (*w->p == '*') repeat(w, number);
      else if (*w->p == '{') message(w, number);
      else if (*++w->p == '"') message(w, number);
      else varint(w->out, number << 3), varint(w->out, (uint64_t)strtoll(w->p, &after, 10)), w->p = after;
    }
  }
  w->depth--;
}

static void remove_file(void *path) { remove(path); }

/* ---- a file ------------------------------------------------------------------------------------------------------ */

typedef struct one { const char *line, *folder; uint64_t before; clock_t start; } one; /* of the reading */

static void read_model(lt_job *job, lt_arena *a, lt_bytes b, const char *folder) {
  lt_source s;
  lt_source_of_bytes(&s, job, a, b, "m.onnx");
  s.folder = folder;
  lt_graph_free(lt_source_read(job, &s, &(lt_read_options){.batch = 2, .max_bytes = 1 << 22}));
}

static void read_tensor(lt_job *job, lt_arena *a, lt_bytes b) {
  char folder[] = "/tmp/hostile-XXXXXX", path[64];
  lt_elements e;
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/t.pb", folder);
  lt_file_write(job, path, b.at, b.n);
  lt_defer(job, remove_file, lt_arena_strdup(a, folder));
  lt_defer(job, remove_file, lt_arena_strdup(a, path));
  lt_array_read(&e, job, a, path, MOST_BYTES);
}

static void read_line(lt_job *job, void *arg) {
  one *h = arg;
  lt_arena *a = lt_arena_new(job);
  lt_str bytes;
  lt_str_init(&bytes, a);
  lt_str_put(&bytes, "", 0);
  writer w = {strchr(h->line, ' '), &bytes, a, 0};
  fields(&w, "");
  lt_bytes b = {(const unsigned char *)bytes.at, bytes.n};
  h->before = lt_mem_bytes(), h->start = clock();
  if (!strncmp(h->line, "tensor ", 7)) read_tensor(job, a, b);
  else read_model(job, a, b, h->folder);
}

/* What it says, which lives until the next call. */
static const char *said(const char *line) {
  static lathe_error e;
  one h = {.line = line, .folder = "onnx"};
  int status = lt_protect(&e, read_line, &h);
  double seconds = (double)(clock() - h.start) / CLOCKS_PER_SEC;
  uint64_t bytes = lt_mem_bytes() - h.before;
  ck_assert_msg(status == LATHE_E_INVALID || status == LATHE_E_UNSUPPORTED || status == LATHE_E_IO, "%.100s: %s: %s",
                line, status ? "not refused" : "read", e.message);
  ck_assert_msg(bytes < MOST_BYTES, "%.100s: %llu bytes", line, (unsigned long long)bytes);
  ck_assert_msg(seconds < SECONDS, "%.100s: %.1f s", line, seconds);
  ck_assert_int_eq(lt_mem_live(), 0);
  ck_assert(e.file[0]);
  return e.message;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static const char list_path[] = "onnx/hostile.txt";

static void put_message(FILE *to, const char *message) {
  for (const char *p = message; *p;) {
    int n = (int)strcspn(p, "\n");
    fprintf(to, "! %.*s\n", n, p);
    p += n + (p[n] == '\n');
  }
}

/* The list again, with the messages of now. */
static unsigned write_list(FILE *from, FILE *to) {
  char line[4000];
  unsigned n = 0;
  while (fgets(line, sizeof line, from)) {
    if (line[0] == '!') continue;
    fputs(line, to);
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "model ", 6) && strncmp(line, "tensor ", 7)) continue;
    put_message(to, said(line));
    n++;
  }
  return n;
}

START_TEST(refused) {
  char *was = NULL, *is = NULL;
  size_t n_was, n_is, got;
  ck_assert_int_eq(chdir(getenv("LT_TESTS")), 0); /* messages name files as the model's folder is named */
  FILE *from = fopen(list_path, "r"), *old = open_memstream(&was, &n_was), *to = open_memstream(&is, &n_is);
  char part[4096];
  ck_assert_msg(from != NULL, "%s is not there", list_path);
  while ((got = fread(part, 1, sizeof part, from)) > 0) fwrite(part, 1, got, old);
  fclose(old);
  rewind(from);
  unsigned n = write_list(from, to);
  fclose(from), fclose(to);
  ck_assert_uint_ge(n, AT_LEAST);
  if (lt_updates()) {
    FILE *f = fopen(list_path, "w");
    ck_assert(f && fwrite(is, 1, n_is, f) == n_is && !fclose(f));
  } else if (strcmp(was, is)) {
    size_t k = 0, start = 0;
    for (; was[k] == is[k]; k++)
      if (was[k] == '\n') start = k + 1;
    ck_abort_msg("tests/onnx/hostile.txt says\n  %.200s\nand the reader\n  %.200s", was + start, is + start);
  }
  free(was), free(is);
}
END_TEST

static Suite *hostile(void) {
  Suite *s = suite_create("hostile");
  TCase *c = tcase_create("hostile");
  tcase_set_timeout(c, 240); /* under a sanitizer, beside other tests */
  tcase_add_test(c, refused);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(hostile)
