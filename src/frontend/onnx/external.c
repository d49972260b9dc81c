/* external.c: the one place that opens a file which a model names. The model is not trusted: the file must stand
 * beneath the model's folder, every part of the way is a folder and no link, and what is there is a regular file with
 * one name (a second name, a hard link, could stand for any file of the same disk). Each step is taken from the folder
 * before it, never by a path that could change meanwhile: by the kernel where it can (openat2), else by us. */
#include "frontend/onnx/model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__) && __has_include(<linux/openat2.h>)
#include <linux/openat2.h>
#include <sys/syscall.h>
#endif

/* Closed with the arena, at the latest. */
typedef struct open_file { int fd; } open_file;

static void close_file(void *p) {
  open_file *f = p;
  if (f->fd >= 0) close(f->fd);
  f->fd = -1;
}

static open_file *held(lt_arena *a) {
  open_file *f = LT_NEW(a, open_file);
  f->fd = -1;
  lt_arena_defer(a, close_file, f);
  return f;
}

/* -1 with errno ENOSYS: this system has no such call. */
static int open_by_kernel(int folder, const char *name) {
#ifdef SYS_openat2
  struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                     .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, folder, name, &how, sizeof how);
#else
  (void)folder, (void)name;
  errno = ENOSYS;
  return -1;
#endif
}

/* Part by part; *at holds the folder that has been reached. */
static int open_by_parts(open_file *at, int folder, const char *name) {
  enum { PART = 256 };
  char part[PART];
  const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  for (const char *p = name;;) {
    size_t n = strcspn(p, "/");
    if (n >= PART) return errno = ENAMETOOLONG, -1;
    memcpy(part, p, n), part[n] = 0;
    int from = at->fd >= 0 ? at->fd : folder;
    int fd = openat(from, part, p[n] ? flags | O_DIRECTORY : flags);
    close_file(at);
    if (fd < 0 || !p[n]) return fd;
    at->fd = fd;
    p += n + 1;
  }
}

static const char *misfit(const char *name) {
  if (!*name) return "is empty";
  if (*name == '/') return "is absolute";
  if (strchr(name, '\\')) return "has a backslash";
  for (const char *p = name; *p;) {
    size_t n = strcspn(p, "/");
    if (n == 2 && p[0] == '.' && p[1] == '.') return "goes up with `..`";
    if (n == 0 || (n == 1 && p[0] == '.') || (p[n] && !p[n + 1])) return "is no plain name";
    p += n + (p[n] == '/');
  }
  return NULL;
}

static const char *reason(lt_arena *a, const char *path, int err) {
  char text[128];
  const char *why = strerror_r(err, text, sizeof text); /* the GNU variant may return a string of its own */
  if (err == ELOOP || err == EXDEV)
    return lt_arena_printf(a, "%s is reached through a link, which is not followed", path);
  if (err == ENOENT) return lt_arena_printf(a, "the data file %s is missing", path);
  return lt_arena_printf(a, "cannot read %s: %s", path, why);
}

lt_mapping *lt_onnx_open_external(lt_arena *a, const char *folder, const char *name, const char **why) {
  const char *wrong = misfit(name), *path = lt_path_join(a, folder, name);
  open_file *top = held(a), *way = held(a), *f = held(a);
  lt_mapping *m = NULL;
  struct stat st;
  if (wrong)
    return *why = lt_arena_printf(a, "the location \"%.200s\" %s: it must be a name beneath the model's folder", name,
                                  wrong),
           NULL;
  top->fd = open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
  if (top->fd < 0) return *why = reason(a, folder, errno), NULL;
  f->fd = open_by_kernel(top->fd, name);
  if (f->fd < 0 && (errno == ENOSYS || errno == EPERM)) f->fd = open_by_parts(way, top->fd, name);
  *why = NULL;
  if (f->fd < 0 || fstat(f->fd, &st)) *why = reason(a, path, errno);
  else if (!S_ISREG(st.st_mode)) *why = lt_arena_printf(a, "%s is not a regular file", path);
  else if (st.st_nlink > 1) *why = lt_arena_printf(a, "%s has another name (a hard link), which is not followed", path);
  else m = lt_mapping_new(a, f->fd, path, why);
  close_file(f), close_file(way), close_file(top);
  return m;
}
