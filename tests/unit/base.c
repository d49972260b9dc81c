/* Tests of src/base: failure and what it undoes, memory accounting, arenas, maps, numbers_and_words, files. */
#include "base/base.h"
#include "base/elements.h"
#include "base/zip.h"
#include "check_main.h"

#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char order[64];
static void note(void *p) { strcat(order, p); }

static void body_fails(lt_job *job, void *arg) {
  lt_defer(job, note, "a");
  lt_defer_failed(job, note, "b");
  lt_defer(job, note, "c");
  if (arg) lt_fail(job, LATHE_E_PARSE, &(lt_loc){"f.lathe", 3, 7}, "no %s\nhelp: try", (char *)arg);
}

START_TEST(failure) {
  lathe_error e;
  order[0] = 0;
  ck_assert_int_eq(lt_protect(&e, body_fails, "luck"), LATHE_E_PARSE);
  ck_assert_str_eq(order, "cba");
  ck_assert_str_eq(e.message, "no luck\nhelp: try");
  ck_assert_str_eq(e.file, "f.lathe");
  ck_assert_int_eq(e.line * 100 + e.column, 307);
  order[0] = 0;
  ck_assert_int_eq(lt_protect(&e, body_fails, NULL), LATHE_OK);
  ck_assert_str_eq(order, "ca");
  ck_assert_int_eq(e.status, 0);
  ck_assert_int_eq(lt_protect(NULL, body_fails, "x"), LATHE_E_PARSE);
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

static void body_nested(lt_job *job, void *arg) {
  lathe_error inner;
  lt_defer(job, note, "o");
  ck_assert_int_eq(lt_protect(&inner, body_fails, "inner"), LATHE_E_PARSE);
  ck_assert_str_eq(inner.message, "no inner\nhelp: try");
  lt_fail(job, LATHE_E_IO, NULL, "outer");
}

START_TEST(nested_failure) {
  lathe_error e;
  order[0] = 0;
  ck_assert_int_eq(lt_protect(&e, body_nested, NULL), LATHE_E_IO);
  ck_assert_str_eq(e.message, "outer");
  ck_assert_str_eq(order, "cbao");
}
END_TEST

/* Text of files may be in a message: what is no text is shown as \\xNN. */
START_TEST(messages_hold_text_only) {
  lathe_error e;
  lt_error_set(&e, LATHE_E_PARSE, &(lt_loc){"a\033b.lathe", 1, 2}, "no op `%s`",
               "\x08\x12\xff\xc3\xa9\xc3(\xed\xa0\x80\xe2\x80\xa6\x7f");
  ck_assert_str_eq(e.file, "a\\x1bb.lathe");
  ck_assert_str_eq(e.message, "no op `\\x08\\x12\\xff\xc3\xa9\\xc3(\\xed\\xa0\\x80\xe2\x80\xa6\\x7f`");
  ck_assert_int_eq(e.more, 0);
}
END_TEST

/* A list that is too long loses lines of its middle, which `more` counts, and keeps its beginning and its advice. */
START_TEST(long_lists_keep_their_ends) {
  lathe_error e;
  char list[4000] = "";
  for (int i = 0; i < 100; i++) sprintf(list + strlen(list), "\n  `weight.%02d` is missing", i);
  lt_error_set(&e, LATHE_E_MISMATCH, NULL, "the weights do not fit:%s\nhelp: --weights-partial allows it", list);
  ck_assert_uint_lt(strlen(e.message), sizeof e.message);
  ck_assert_uint_gt(strlen(e.message), 700);
  ck_assert_int_eq(
    strncmp(e.message, "the weights do not fit:\n  `weight.00` is missing\n  `weight.01` is missing", 70), 0);
  const char *end = strstr(e.message, " is missing\n  \xe2\x80\xa6\nhelp: --weights-partial allows it");
  ck_assert_ptr_nonnull(end);
  ck_assert_int_eq(atoi(end - 3) + 1 + e.more, 100);
}
END_TEST

START_TEST(message_is_cut_at_a_character) {
  lathe_error e;
  char text[2000] = "";
  for (int i = 0; i < 600; i++) strcat(text, "é");
  lt_error_set(&e, LATHE_E_IO, NULL, "%s", text);
  ck_assert_uint_eq(strlen(e.message), 766);
  lt_error_set(&e, LATHE_E_IO, NULL, "x%s", text);
  ck_assert_uint_eq(strlen(e.message), 767);
}
END_TEST

static void body_arena(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  LT_VEC(int) v = {0};
  for (int i = 0; i < 10000; i++) lt_vec_push(a, &v, i);
  for (int i = 0; i < 10000; i++) ck_assert_int_eq(v.at[i], i);
  for (size_t n = 0; n < 3000; n += 7) ck_assert_uint_eq((uintptr_t)memset(lt_arena_alloc(a, n), 1, n) % 16, 0);
  ck_assert_str_eq(lt_arena_printf(a, "%d-%s", 5, "x"), "5-x");
  ck_assert_str_eq(lt_arena_strndup(a, "abc", 2), "ab");
  if (arg) lt_arena_array(a, SIZE_MAX / 4, 8);
}

START_TEST(arenas) {
  ck_assert_int_eq(lt_protect(NULL, body_arena, NULL), LATHE_OK);
  ck_assert_int_eq(lt_protect(NULL, body_arena, "overflow"), LATHE_E_NOMEM);
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

/* Every allocation of a body fails in turn, once and for ever; each time an error and no leak. */
START_TEST(out_of_memory) {
  for (int forever = 0; forever < 2; forever++) {
    int status = LATHE_E_NOMEM;
    uint64_t n = 1;
    for (; status != LATHE_OK && n < 1000; n++) {
      lt_mem_fail_at(n, forever);
      status = lt_protect(NULL, body_arena, NULL);
      lt_mem_fail_at(0, false);
      ck_assert(status == LATHE_OK || status == LATHE_E_NOMEM);
      ck_assert_int_eq(lt_mem_live(), 0);
    }
    ck_assert_uint_gt(n, 5);
    ck_assert_uint_lt(n, 1000);
  }
}
END_TEST

START_TEST(memory) {
  uint64_t before = lt_mem_count();
  void *p = lt_mem_alloc(0), *q = lt_mem_aligned(100);
  ck_assert_uint_eq((uintptr_t)q % 64, 0);
  ck_assert_int_eq(lt_mem_live(), 2);
  lt_mem_fail_at(2, false);
  p = lt_mem_resize(p, 50);
  ck_assert_ptr_null(lt_mem_resize(p, 60));
  ck_assert_ptr_nonnull(p = lt_mem_resize(p, 70));
  lt_mem_free(p), lt_mem_free(q), lt_mem_free(NULL);
  ck_assert_int_eq(lt_mem_live(), 0);
  ck_assert_uint_eq(lt_mem_count() - before, 5);
  lt_mem_fail_at(1, true);
  ck_assert_ptr_null(lt_mem_alloc(1));
  ck_assert_ptr_null(lt_mem_alloc(1));
  lt_mem_fail_at(0, false);
}
END_TEST

/* From malloc and as pages of its own. */
START_TEST(zeroed_memory) {
  static const size_t sizes[] = {0, 1, 100, (4 << 20) - 1, 4 << 20, (6 << 20) + 7};
  for (size_t i = 0; i < LT_COUNT(sizes); i++) {
    unsigned char *p = lt_mem_zeroed(sizes[i]);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq((uintptr_t)p % 64, 0);
    ck_assert(!sizes[i] || (!p[0] && !memcmp(p, p + 1, sizes[i] - 1)));
    memset(p, 0xee, sizes[i]);
    ck_assert_int_eq(lt_mem_live(), 1);
    lt_mem_zeroed_free(p);
    ck_assert_int_eq(lt_mem_live(), 0);
    lt_mem_fail_at(1, false);
    ck_assert_ptr_null(lt_mem_zeroed(sizes[i]));
  }
  ck_assert_ptr_null(lt_mem_zeroed(SIZE_MAX - 7));
  ck_assert_ptr_null(lt_mem_zeroed(SIZE_MAX - (2 << 20)));
  lt_mem_zeroed_free(NULL);
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

/* Every order of four axes, some of them 1, element by element. */
static void body_turned(lt_job *job, void *arg) {
  static const int64_t dims[][4] = {{2, 3, 4, 5}, {1, 3, 1, 5}, {4, 1, 1, 1}, {1, 1, 1, 1}, {3, 2, 1, 1}};
  float from[120], to[120];
  for (int i = 0; i < 120; i++) from[i] = (float)i;
  for (size_t d = 0; d < LT_COUNT(dims); d++)
    for (unsigned which = 0; which < 256; which++) {
      uint8_t perm[4] = {which & 3, which >> 2 & 3, which >> 4 & 3, which >> 6};
      if ((1u << perm[0] | 1u << perm[1] | 1u << perm[2] | 1u << perm[3]) != 15) continue;
      lt_elements e = {.kind = 'f', .size = 4, .rank = 4, .data = (const unsigned char *)from};
      memcpy(e.dim, dims[d], sizeof dims[d]);
      ck_assert(lt_elements_lay(&e));
      const lt_elements t = lt_elements_turn(&e, 4, perm);
      lt_elements_convert(&t, job, (lt_array_where){"f", NULL}, LATHE_F32, to);
      for (int64_t i = 0; i < t.count; i++) {
        int64_t at = 0, rest = i;
        for (unsigned k = 4; k-- > 0; rest /= t.dim[k]) at += rest % t.dim[k] * t.stride[k];
        ck_assert_int_eq((int64_t)to[i], at);
      }
    }
}

START_TEST(turned_arrays) { ck_assert_int_eq(lt_protect(NULL, body_turned, NULL), LATHE_OK); }
END_TEST

/* ZIP's checksum, bit by bit. */
static uint32_t crc_by_definition(const unsigned char *p, size_t n) {
  uint32_t crc = UINT32_MAX;
  for (size_t i = 0; i < 8 * n; i++) {
    uint32_t bit = (crc ^ p[i / 8] >> i % 8) & 1;
    crc = crc >> 1 ^ (bit ? 0xedb88320u : 0);
  }
  return ~crc;
}

START_TEST(checksums) {
  enum { MOST = 5000 };
  unsigned char p[MOST + 64];
  for (int i = 0; i < MOST + 64; i++) p[i] = (unsigned char)(lt_hash(&i, sizeof i, 1) >> 7);
  ck_assert_uint_eq(lt_crc32((const unsigned char *)"123456789", 9), 0xcbf43926u);
  ck_assert_uint_eq(lt_crc32(p, 0), 0);
  for (size_t n = 1; n < MOST; n += n < 1000 ? 97 : 1 + n % 41)
    for (size_t from = 0; from < 64; from += 21)
      ck_assert_msg(lt_crc32(p + from, n) == crc_by_definition(p + from, n), "%zu bytes from %zu", n, from);
}
END_TEST

static void body_map(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  lt_map m = {0};
  ck_assert(!lt_map_gets(&m, "x", NULL));
  for (int i = 0; i < 1000; i++) lt_map_puts(a, &m, lt_arena_printf(a, "k%d", i), (uintptr_t)i);
  lt_map_puts(a, &m, "k7", 77);
  lt_map_put(a, &m, "", 0, 5);
  uintptr_t v = 0;
  for (int i = 0; i < 1000; i++) {
    ck_assert(lt_map_gets(&m, lt_arena_printf(a, "k%d", i), &v));
    ck_assert_uint_eq(v, i == 7 ? 77u : (uintptr_t)i);
  }
  ck_assert(lt_map_gets(&m, "", &v) && v == 5);
  ck_assert(!lt_map_gets(&m, "k1000", &v));
  ck_assert_uint_eq(m.n, 1001);
}

START_TEST(maps) { ck_assert_int_eq(lt_protect(NULL, body_map, NULL), LATHE_OK); }
END_TEST

static const char *float_text(lt_arena *a, double v, bool wide) {
  lt_str s;
  lt_str_init(&s, a);
  if (wide) lt_str_double(&s, v);
  else lt_str_float(&s, (float)v);
  return s.at;
}

static void body_text(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  ck_assert_str_eq(float_text(a, 0.1f, false), "0.1");
  ck_assert_str_eq(float_text(a, 0.1f, true), "0.10000000149011612");
  ck_assert_str_eq(float_text(a, 0.1, true), "0.1");
  ck_assert_str_eq(float_text(a, 1, false), "1.0");
  ck_assert_str_eq(float_text(a, -0.0, false), "-0.0");
  ck_assert_str_eq(float_text(a, 1e-5f, false), "1e-05");
  ck_assert_str_eq(float_text(a, 1e30, true), "1e+30");
  ck_assert_str_eq(float_text(a, 1e-45f, false), "1e-45");
  ck_assert_str_eq(float_text(a, 16777216, false), "16777216.0");
  ck_assert_str_eq(float_text(a, NAN, false), "nan");
  ck_assert_str_eq(float_text(a, -INFINITY, true), "-inf");
  uint32_t bits = 1;
  for (int i = 0; i < 2000; i++, bits = bits * 1664525u + 1013904223u) {
    float f, g;
    memcpy(&f, &bits, 4);
    if (isnan(f)) continue;
    g = strtof(float_text(a, f, false), NULL);
    ck_assert_mem_eq(&f, &g, 4);
  }
  const char *names[] = {"conv2d", "linear", "max_pool", "relu", NULL};
  ck_assert_str_eq(lt_nearest("conv2", names), "conv2d");
  ck_assert_str_eq(lt_nearest("maxpool", names), "max_pool");
  ck_assert_str_eq(lt_nearest("rleu", names), "relu");
  ck_assert_ptr_null(lt_nearest("attention", names));
}

START_TEST(numbers_and_words) { ck_assert_int_eq(lt_protect(NULL, body_text, NULL), LATHE_OK); }
END_TEST

static char dir[] = "/tmp/lathe-test-XXXXXX";

static void body_files(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  const char *sub = lt_arena_printf(a, "%s/p/q", dir), *file = lt_arena_printf(a, "%s/f", sub);
  lt_dir_make(job, sub);
  lt_dir_make(job, sub);
  lt_file_write(job, file, "hello", 5);
  lt_file_write(job, file, "bye\0!", 5);
  lt_bytes b = lt_file_read(job, a, file, 5);
  ck_assert_uint_eq(b.n, 5);
  ck_assert_mem_eq(b.at, "bye\0!", 6);
  if (arg) lt_file_read(job, a, file, 4);
  lt_file_write(job, "/dev/null", "x", 1);
  lt_file_read(job, a, "/dev/null", 0);
  lt_file_read(job, a, dir, 100);
}

START_TEST(files) {
  lathe_error e;
  char text[400];
  ck_assert_ptr_nonnull(mkdtemp(dir));
  ck_assert_int_eq(lt_protect(&e, body_files, NULL), LATHE_E_IO);
  snprintf(text, sizeof text, "cannot read %s: Is a directory", dir);
  ck_assert_str_eq(e.message, text);
  ck_assert_int_eq(lt_protect(&e, body_files, "max"), LATHE_E_IO);
  snprintf(text, sizeof text, "%s/p/q/f is larger than 4 bytes", dir);
  ck_assert_str_eq(e.message, text);
  snprintf(text, sizeof text, "rm -r %s", dir);
  ck_assert_int_eq(system(text), 0);
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

/* In the place of the C library's. */
static int syncs;
int fsync(int fd) {
  syncs++;
  return 0;
}

static void body_syncs(lt_job *job, void *arg) {
  const char *file = lt_arena_printf(lt_arena_new(job), "/tmp/lathe-test-sync-%d", (int)getpid());
  lt_file_write(job, file, "kept", 4);
  ck_assert_int_eq(syncs, 1);
  lt_file_write_result(job, file, "made again", 10);
  ck_assert_int_eq(syncs, 1);
  ck_assert_uint_eq(lt_file_read(job, lt_arena_new(job), file, 100).n, 10);
  lathe_error e;
  lathe_array x = {.dtype = LATHE_F32, .rank = 1, .dim = {1}, .data = (float[]){1}};
  ck_assert_int_eq(lathe_npy_save(&x, file, &e), 0);
  ck_assert_int_eq(syncs, 1);
  unlink(file);
}

START_TEST(only_what_is_kept_is_synced) { ck_assert_int_eq(lt_protect(NULL, body_syncs, NULL), LATHE_OK); }
END_TEST

static void body_write_fails(lt_job *job, void *arg) { lt_file_write(job, arg, "x", 1); }

START_TEST(file_errors) {
  lathe_error e;
  ck_assert_int_eq(lt_protect(&e, body_write_fails, "/nonexistent/f"), LATHE_E_IO);
  ck_assert_str_eq(e.message, "cannot write /nonexistent/f: No such file or directory");
  ck_assert_int_eq(lt_protect(&e, body_write_fails, "/dev/full"), LATHE_E_IO);
  ck_assert_str_eq(e.message, "cannot write /dev/full: No space left on device");
}
END_TEST

LT_SUITE(base, failure, nested_failure, messages_hold_text_only, long_lists_keep_their_ends,
         message_is_cut_at_a_character, arenas, out_of_memory, memory, zeroed_memory, turned_arrays, checksums, maps,
         numbers_and_words, files, only_what_is_kept_is_synced, file_errors)
LT_TEST_MAIN(base)
