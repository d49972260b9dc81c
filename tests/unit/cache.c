/* Tests of base/cache.h: what was put comes back, damage of every kind is a miss, folders of others are not used, the
 * limit holds, processes share a folder. */
#include "base/cache.h"
#include "check_main.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char top[] = "/tmp/lathe-cache-XXXXXX", folder[300];
static const int64_t ROOM = 1 << 20;

static void make(void) {
  ck_assert_ptr_nonnull(mkdtemp(top));
  snprintf(folder, sizeof folder, "%s/a/b", top);
}

static void clear(void) {
  char command[400];
  snprintf(command, sizeof command, "rm -rf %s", top);
  ck_assert_int_eq(system(command), 0);
}

static lt_bytes bytes_of(const char *text) { return (lt_bytes){(const unsigned char *)text, strlen(text)}; }

static void put(lt_job *job, int64_t most, const char *key, const char *value) {
  lt_arena *a = lt_arena_new(job);
  const char *why;
  lt_cache *c = lt_cache_open_at(a, folder, most, &why);
  ck_assert_msg(c != NULL, "%s", why);
  const lt_bytes part[] = {{(const unsigned char *)value, 2}, bytes_of(value + 2)};
  lt_cache_put(c, a, bytes_of(key), part, 2);
}

static bool has(lt_job *job, const char *key, const char *value) {
  lt_arena *a = lt_arena_new(job);
  const char *why;
  lt_bytes got;
  lt_cache *c = lt_cache_open_at(a, folder, ROOM, &why);
  if (!c || !lt_cache_get(c, a, bytes_of(key), &got)) return false;
  ck_assert_uint_eq(got.n, strlen(value));
  ck_assert_mem_eq(got.at, value, got.n);
  return true;
}

/* The only file of the folder; how many there are. */
static int only_file(char out[600]) {
  DIR *d = opendir(folder);
  int n = 0;
  ck_assert_ptr_nonnull(d);
  for (struct dirent *e; (e = readdir(d));)
    if (e->d_name[0] != '.') snprintf(out, 600, "%s/%s", folder, e->d_name), n++;
  closedir(d);
  return n;
}

static size_t read_file(const char *path, unsigned char *out, size_t most) {
  FILE *f = fopen(path, "rb");
  ck_assert_ptr_nonnull(f);
  size_t n = fread(out, 1, most, f);
  fclose(f);
  return n;
}

static void write_file(const char *path, const unsigned char *at, size_t n) {
  FILE *f = fopen(path, "wb");
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_eq(fwrite(at, 1, n, f), n);
  ck_assert_int_eq(fclose(f), 0);
}

/* ---- ---- */

static void body_round(lt_job *job, void *arg) {
  char file[600];
  ck_assert(!has(job, "key", ""));
  put(job, ROOM, "key", "the value");
  put(job, ROOM, "another", "something else");
  ck_assert(has(job, "key", "the value") && has(job, "another", "something else") && !has(job, "ke", ""));
  put(job, ROOM, "key", "a new value");
  ck_assert(has(job, "key", "a new value"));
  ck_assert_int_eq(only_file(file), 2);
}

START_TEST(round_trip) {
  make();
  ck_assert_int_eq(lt_protect(NULL, body_round, NULL), LATHE_OK);
  struct stat st;
  ck_assert_int_eq(stat(folder, &st), 0);
  ck_assert_uint_eq(st.st_mode & 0777, 0700);
  ck_assert_int_eq(lt_mem_live(), 0);
  clear();
}
END_TEST

/* Each bit of each byte, every length, and bytes behind the end. */
static void body_damage(lt_job *job, void *arg) {
  unsigned char good[400], bad[400];
  char file[600];
  put(job, ROOM, "key", "the value");
  ck_assert_int_eq(only_file(file), 1);
  size_t n = read_file(file, good, sizeof good);
  for (size_t i = 0; i < 8 * n; i++) {
    memcpy(bad, good, n);
    bad[i / 8] ^= (unsigned char)(1u << i % 8);
    write_file(file, bad, n);
    ck_assert_msg(!has(job, "key", "the value"), "bit %zu", i);
    ck_assert_msg(access(file, F_OK), "bit %zu: the file stays", i);
  }
  for (size_t i = 0; i <= n + 9; i++) {
    memset(bad, 0, sizeof bad);
    memcpy(bad, good, n);
    write_file(file, bad, i);
    ck_assert_int_eq(has(job, "key", "the value"), i == n);
  }
  write_file(file, good, n);
  ck_assert(has(job, "key", "the value"));
}

START_TEST(damage) {
  make();
  ck_assert_int_eq(lt_protect(NULL, body_damage, NULL), LATHE_OK);
  clear();
}
END_TEST

/* A sound file under the name of another key; links, folders, pipes and files that others may write. */
static void body_strange(lt_job *job, void *arg) {
  char file[600], other[700], text[1400];
  put(job, ROOM, "other", "the other value");
  only_file(other);
  snprintf(text, sizeof text, "%s/kept", top);
  ck_assert_int_eq(rename(other, text), 0);
  put(job, ROOM, "key", "the value");
  ck_assert_int_eq(only_file(file), 1);
  unsigned char good[400];
  size_t n = read_file(text, good, sizeof good);
  write_file(file, good, n);
  ck_assert(!has(job, "key", "the value"));
  put(job, ROOM, "key", "the value");
  n = read_file(file, good, sizeof good);
  write_file(text, good, n);
  ck_assert_int_eq(unlink(file) || symlink(text, file), 0);
  ck_assert(!has(job, "key", "the value"));
  put(job, ROOM, "key", "the value"); /* takes the link's place */
  ck_assert(has(job, "key", "the value"));
  ck_assert_int_eq(chmod(file, 0622), 0);
  ck_assert(!has(job, "key", "the value"));
  ck_assert_int_eq(unlink(file) || mkfifo(file, 0600), 0);
  ck_assert(!has(job, "key", "the value"));
  ck_assert_int_eq(unlink(file) || mkdir(file, 0700), 0);
  ck_assert(!has(job, "key", "the value"));
  put(job, ROOM, "key", "the value"); /* cannot, and leaves nothing behind */
  ck_assert_int_eq(only_file(file), 1);
}

START_TEST(strange_files) {
  make();
  ck_assert_int_eq(lt_protect(NULL, body_strange, NULL), LATHE_OK);
  clear();
}
END_TEST

static void refused(lt_arena *a, const char *path, const char *why) {
  const char *said = NULL;
  ck_assert_ptr_null(lt_cache_open_at(a, path, ROOM, &said));
  ck_assert_msg(strstr(said, why) != NULL, "%s", said);
}

static void body_folders(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  char link[400];
  put(job, ROOM, "key", "the value");
  snprintf(link, sizeof link, "%s/link", top);
  ck_assert_int_eq(symlink(folder, link), 0);
  refused(a, link, "no folder that can be used");
  refused(a, "/dev/null", "no folder that can be used");
  refused(a, "/dev/null/x", "no folder that can be used");
  refused(a, "/tmp", "not this user's own alone");
  for (unsigned mode = 0720; mode != 0704; mode = mode == 0720 ? 0702 : 0704) {
    ck_assert_int_eq(chmod(folder, mode), 0);
    refused(a, folder, "not this user's own alone");
  }
  ck_assert_int_eq(chmod(folder, 0755), 0);
  ck_assert(has(job, "key", "the value"));
  if (geteuid()) return;
  ck_assert_int_eq(chown(folder, 1, 1), 0); /* a foreign one */
  refused(a, folder, "not this user's own alone");
}

START_TEST(folders) {
  make();
  ck_assert_int_eq(lt_protect(NULL, body_folders, NULL), LATHE_OK);
  clear();
}
END_TEST

static void body_variables(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  const char *why = NULL;
  char path[400];
  unsetenv("LATHE_CACHE"), unsetenv("XDG_CACHE_HOME"), unsetenv("HOME");
  ck_assert_ptr_null(lt_cache_open(a, &why));
  ck_assert_str_eq(why, "there is no home folder");
  static const char *const row[][3] = {
    {"HOME", "/h", "/h/.cache/lathe"}, {"XDG_CACHE_HOME", "/x", "/x/lathe"}, {"LATHE_CACHE", "/own", "/own"}};
  for (size_t i = 0; i < LT_COUNT(row); i++) {
    snprintf(path, sizeof path, "%s%s", top, row[i][1]);
    setenv(row[i][0], path, 1);
    ck_assert_ptr_nonnull(lt_cache_open(a, &why));
    snprintf(path, sizeof path, "%s%s", top, row[i][2]);
    ck_assert_msg(!access(path, W_OK), "%s", path);
  }
  setenv("LATHE_CACHE", "", 1);
  ck_assert_ptr_null(lt_cache_open(a, &why));
  ck_assert_str_eq(why, "LATHE_CACHE is empty");
}

START_TEST(variables) {
  make();
  ck_assert_int_eq(lt_protect(NULL, body_variables, NULL), LATHE_OK);
  clear();
}
END_TEST

/* The longest unused go; what is used stays, and files of others. */
static void body_limit(lt_job *job, void *arg) {
  enum { EACH = 1000, MOST = 20000 };
  char key[16], other[400];
  unsigned char *value = lt_arena_zalloc(lt_arena_new(job), EACH + 1);
  memset(value, 'v', EACH);
  put(job, MOST, "first", (char *)value);
  snprintf(other, sizeof other, "%s/others", folder);
  write_file(other, value, EACH);
  snprintf(other, sizeof other, "%s/x.tmp", folder);
  write_file(other, value, EACH);
  const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
  ck_assert_int_eq(utimensat(AT_FDCWD, other, old, 0), 0);
  for (int i = 0; i < 60; i++) {
    snprintf(key, sizeof key, "key %d", i);
    put(job, MOST, key, (char *)value);
    ck_assert(has(job, key, (char *)value) && has(job, "first", (char *)value));
  }
  int here = 0;
  for (int i = 0; i < 60; i++) {
    snprintf(key, sizeof key, "key %d", i);
    here += has(job, key, (char *)value);
  }
  ck_assert_int_ge(here, 10);
  ck_assert_int_le(here, MOST / EACH);
  ck_assert_msg(access(other, F_OK), "what was half written long ago is still there");
  snprintf(other, sizeof other, "%s/others", folder);
  ck_assert_int_eq(access(other, F_OK), 0);
}

START_TEST(limit) {
  make();
  ck_assert_int_eq(lt_protect(NULL, body_limit, NULL), LATHE_OK);
  clear();
}
END_TEST

/* A folder that nothing can be written into: by a process without root's rights. */
static void body_read_only(lt_job *job, void *arg) {
  put(job, ROOM, "key", "another value");
  ck_assert(has(job, "key", "the value"));
  put(job, ROOM, "new", "the value");
  ck_assert(!has(job, "new", "the value"));
}

static void body_first(lt_job *job, void *arg) { put(job, ROOM, "key", "the value"); }

START_TEST(read_only) {
  make();
  ck_assert_int_eq(chmod(top, 0777), 0);
  pid_t child = fork();
  if (!child) {
    if (!geteuid() && (setgid(65534) || setuid(65534))) _exit(3);
    int status = lt_protect(NULL, body_first, NULL);
    if (!status && !chmod(folder, 0500)) status = lt_protect(NULL, body_read_only, NULL);
    chmod(folder, 0700);
    _exit(status ? 2 : 0);
  }
  int status;
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  clear();
}
END_TEST

/* Writers and readers at once, some of them killed in the middle: a value or none, never another. */
enum { WRITERS = 4, KILLED = 24 };

static void body_busy(lt_job *job, void *arg) {
  lt_arena *a = lt_arena_new(job);
  char *value = lt_arena_zalloc(a, 200001), key[8];
  for (unsigned i = *(unsigned *)arg;; i++) {
    snprintf(key, sizeof key, "%u", i % 3);
    memset(value, (int)('a' + i % 3), 200000);
    put(job, ROOM, key, value);
    has(job, key, value);
    if (i > 400) return;
  }
}

static pid_t begin_busy(unsigned seed) {
  pid_t child = fork();
  if (!child) _exit(lt_protect(NULL, body_busy, &seed) ? 2 : 0);
  return child;
}

static void body_after(lt_job *job, void *arg) {
  char *value = lt_arena_zalloc(lt_arena_new(job), 200001), key[8];
  for (unsigned i = 0; i < 3; i++) {
    snprintf(key, sizeof key, "%u", i);
    memset(value, (int)('a' + i), 200000);
    has(job, key, value); /* fails where it is another */
    put(job, ROOM, key, value);
    ck_assert(has(job, key, value));
  }
}

START_TEST(processes) {
  make();
  pid_t child[WRITERS + KILLED];
  int status;
  for (unsigned i = 0; i < WRITERS; i++) child[i] = begin_busy(350 + i);
  for (unsigned i = 0; i < KILLED; i++) {
    pid_t doomed = begin_busy(i);
    usleep(1000 + 700 * i);
    kill(doomed, SIGKILL);
    ck_assert_int_eq(waitpid(doomed, &status, 0), doomed);
    ck_assert(WIFSIGNALED(status));
  }
  for (unsigned i = 0; i < WRITERS; i++) {
    ck_assert_int_eq(waitpid(child[i], &status, 0), child[i]);
    ck_assert_int_eq(status, 0);
  }
  ck_assert_int_eq(lt_protect(NULL, body_after, NULL), LATHE_OK);
  clear();
}
END_TEST

/* Memory that is out at any point: an error, and nothing left open. */
static void body_memory(lt_job *job, void *arg) {
  put(job, ROOM, "key", "the value");
  has(job, "key", "the value");
}

static int open_files(void) {
  int n = 0;
  for (int i = 0; i < 256; i++) n += fcntl(i, F_GETFD) >= 0;
  return n;
}

START_TEST(no_memory) {
  make();
  int before = open_files();
  uint64_t n = 0;
  do {
    lt_mem_fail_at(++n, false);
    ck_assert_uint_lt(n, 1000);
  } while (lt_protect(NULL, body_memory, NULL) == LATHE_E_NOMEM);
  lt_mem_fail_at(0, false);
  ck_assert_uint_gt(n, 3);
  ck_assert_int_eq(open_files(), before);
  ck_assert_int_eq(lt_mem_live(), 0);
  clear();
}
END_TEST

LT_SUITE(cache, round_trip, damage, strange_files, folders, variables, limit, read_only, processes, no_memory)
LT_TEST_MAIN(cache)
