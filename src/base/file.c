/* file.c: whole files in and out. A file being written appears whole or not at all; what is not a regular file (a pipe,
 * /dev/stdout) is written to directly. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

LT_NORETURN static void fail_errno(lt_job *job, const char *what, const char *path, int err) {
  char text[128];
  /* the GNU variant may return a string of its own */
  const char *reason = strerror_r(err, text, sizeof text);
  lt_fail(job, LATHE_E_IO, NULL, "cannot %s %s: %s", what, path, reason);
}

/* An open file that is closed when the job ends, at the latest. */
typedef struct open_file { int fd; } open_file;

static void file_close(open_file *f) {
  if (f->fd >= 0) close(f->fd);
  f->fd = -1;
}

static void file_release(void *p) {
  file_close(p);
  lt_mem_free(p);
}

static open_file *file_open(lt_job *job, const char *path) {
  open_file *f = lt_mem_alloc(sizeof *f);
  if (!f) lt_fail_nomem(job);
  f->fd = open(path, O_RDONLY | O_CLOEXEC);
  int err = errno;
  lt_defer(job, file_release, f);
  if (f->fd < 0) fail_errno(job, "read", path, err);
  return f;
}

LT_NORETURN static void fail_size(lt_job *job, const char *path, size_t max) {
  lt_fail(job, LATHE_E_IO, NULL, "%s is larger than %zu bytes", path, max);
}

/* What is no file may have no end: a pipe, a terminal. */
static const size_t MAX_STREAM = (size_t)1 << 30;

LT_NORETURN static void fail_endless(lt_job *job, const char *path) {
  lt_fail(job, LATHE_E_IO, NULL, "%s goes on after %zu bytes\nhelp: write it to a file, which may be larger", path,
          MAX_STREAM);
}

/* Bytes that have been read, which grow where they are. */
typedef struct growing { unsigned char *at; size_t n, cap; } growing;

static void growing_release(void *p) { lt_mem_free(((growing *)p)->at); }

/* Room for `cap` bytes and one more. */
static void grow(lt_job *job, growing *b, size_t cap) {
  unsigned char *at = lt_mem_resize(b->at, cap + 1);
  if (!at) lt_fail_nomem(job);
  b->at = at, b->cap = cap;
}

/* To the end; more than `max` bytes are none of ours. */
static void read_all(lt_job *job, growing *b, int fd, const struct stat *st, const char *path, size_t max) {
  bool regular = S_ISREG(st->st_mode), device = S_ISBLK(st->st_mode) || (S_ISCHR(st->st_mode) && !isatty(fd));
  size_t most = regular ? max : LT_MIN(max, MAX_STREAM);
  for (;;) {
    if (b->n == b->cap) grow(job, b, LT_MIN(b->cap * 2, most + 1));
    ssize_t got = read(fd, b->at + b->n, b->cap - b->n);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_errno(job, "read", path, errno);
    if (got == 0) return;
    if (device) lt_fail(job, LATHE_E_IO, NULL, "cannot read %s: a device, not a file", path);
    b->n += (size_t)got;
    if (b->n > max) fail_size(job, path, max);
    if (b->n > most) fail_endless(job, path);
  }
}

lt_bytes lt_file_read(lt_job *job, lt_arena *a, const char *path, size_t max) {
  bool input = strcmp(path, "-") == 0;
  open_file *f = input ? NULL : file_open(job, path);
  int fd = input ? STDIN_FILENO : f->fd;
  if (input) path = "standard input";
  struct stat st;
  if (fstat(fd, &st)) fail_errno(job, "read", path, errno);
  if (S_ISDIR(st.st_mode)) fail_errno(job, "read", path, EISDIR);
  if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max) fail_size(job, path, max);
  growing *b = LT_NEW(a, growing);
  lt_arena_defer(a, growing_release, b);
  grow(job, b, S_ISREG(st.st_mode) ? (size_t)st.st_size + 1 : 1 << 16);
  read_all(job, b, fd, &st, path, max);
  b->at[b->n] = 0;
  if (f) file_close(f);
  return (lt_bytes){.at = b->at, .n = b->n};
}

typedef struct view { void *base; size_t n; } view;

static void view_release(void *p) {
  view *v = p;
  if (v->base) munmap(v->base, v->n);
  lt_mem_free(v);
}

lt_bytes lt_file_view(lt_job *job, lt_arena *a, const char *path, size_t max) {
  struct stat st;
  if (strcmp(path, "-") == 0) return lt_file_read(job, a, path, max);
  open_file *f = file_open(job, path);
  if (fstat(f->fd, &st)) fail_errno(job, "read", path, errno);
  if (!S_ISREG(st.st_mode) || !st.st_size) return file_close(f), lt_file_read(job, a, path, max);
  if ((uint64_t)st.st_size > max) fail_size(job, path, max);
  view *v = lt_mem_alloc(sizeof *v);
  if (!v) lt_fail_nomem(job);
  v->n = (size_t)st.st_size, v->base = NULL;
  lt_defer(job, view_release, v);
  void *base = mmap(NULL, v->n, PROT_READ, MAP_PRIVATE, f->fd, 0);
  if (base == MAP_FAILED) fail_errno(job, "map", path, errno);
  v->base = base;
  file_close(f);
  return (lt_bytes){base, v->n};
}

/* ---- out -------------------------------------------------------------------------------------------------------- */

struct lt_file_out {
  lt_job *job;
  int fd;
  bool result;                 /* the disk is not waited for */
  char path[4096], temp[4096]; /* temp empty: written directly */
};

/* What has not come to its end was never there. */
static void drop_out(void *p) {
  lt_file_out *f = p;
  if (f->fd >= 0) close(f->fd);
  if (f->fd >= 0 && f->temp[0]) unlink(f->temp);
  lt_mem_free(f);
}

LT_NORETURN static void fail_out(lt_file_out *f, int err) { fail_errno(f->job, "write", f->path, err); }

lt_file_out *lt_file_begin(lt_job *job, const char *path) {
  static _Atomic unsigned counter;
  struct stat st;
  lt_file_out *f = lt_mem_alloc(sizeof *f);
  if (!f) lt_fail_nomem(job);
  f->job = job, f->fd = -1, f->temp[0] = 0, f->result = false;
  snprintf(f->path, sizeof f->path, "%s", path);
  lt_defer(job, drop_out, f);
  bool direct = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
  int length = snprintf(f->temp, sizeof f->temp, "%s.%ld.%u.tmp", path, (long)getpid(), atomic_fetch_add(&counter, 1));
  if (length >= (int)sizeof f->temp) fail_out(f, ENAMETOOLONG);
  if (direct) f->temp[0] = 0;
  f->fd = direct ? open(path, O_WRONLY | O_CLOEXEC) : open(f->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (f->fd < 0) fail_out(f, errno);
  return f;
}

void lt_file_put(lt_file_out *f, const void *data, size_t n) {
  const unsigned char *p = data;
  while (n) {
    ssize_t put = write(f->fd, p, LT_MIN(n, (size_t)1 << 30));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail_out(f, errno);
    p += put, n -= (size_t)put;
  }
}

void lt_file_end(lt_file_out *f) {
  int err = f->temp[0] && !f->result && fsync(f->fd) ? errno : 0, fd = f->fd;
  f->fd = -1;
  if (close(fd) && !err) err = errno;
  if (!err && f->temp[0] && rename(f->temp, f->path)) err = errno;
  if (err && f->temp[0]) unlink(f->temp);
  if (err) fail_out(f, err);
}

static void write_all(lt_file_out *f, const void *data, size_t n, bool result) {
  f->result = result;
  lt_file_put(f, data, n);
  lt_file_end(f);
}

void lt_file_write(lt_job *job, const char *path, const void *data, size_t n) {
  write_all(lt_file_begin(job, path), data, n, false);
}

void lt_file_write_result(lt_job *job, const char *path, const void *data, size_t n) {
  write_all(lt_file_begin(job, path), data, n, true);
}

void lt_dir_make(lt_job *job, const char *path) {
  char part[4096];
  size_t n = strlen(path);
  if (n >= sizeof part) fail_errno(job, "make the folder", path, ENAMETOOLONG);
  for (size_t i = 1; i <= n; i++) {
    if (path[i] != '/' && path[i] != 0) continue;
    memcpy(part, path, i);
    part[i] = 0;
    if (mkdir(part, 0777) == 0) continue;
    int err = errno; /* a parent we may not write to may still be there */
    struct stat st;
    if (stat(part, &st) == 0 && S_ISDIR(st.st_mode)) continue;
    fail_errno(job, "make the folder", part, err);
  }
}
