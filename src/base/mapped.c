/* mapped.c: files as read-only memory: a range of one that a text names, which must stand beneath a folder and be
 * regular; a whole one that several hold.
 *
 * The name is resolved first, links included, and what it resolves to is opened without following another link: so a
 * link may point anywhere beneath the folder and nowhere else. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *reason(lt_arena *a, const char *path, int err) {
  char text[128];
  const char *why = strerror_r(err, text, sizeof text); /* the GNU variant may return a string of its own */
  return lt_arena_printf(a, "cannot read %s: %s", path, why);
}

static bool goes_up(const char *name) {
  for (const char *p = name; *p; p += strcspn(p, "/"), p += *p == '/')
    if (strcspn(p, "/") == 2 && p[0] == '.' && p[1] == '.') return true;
  return false;
}

/* `inside` is the folder, or begins with its path and a slash. */
static bool beneath(const char *folder, const char *inside) {
  size_t n = strlen(folder);
  if (n == 1) return true; /* "/" */
  return strncmp(inside, folder, n) == 0 && (inside[n] == '/' || !inside[n]);
}

/* Checks the open file, then maps the pages that hold the range. */
static const char *map_open(lt_arena *a, lt_mapped *out, const char *path, int fd, int64_t offset, int64_t bytes) {
  struct stat st;
  int64_t end, page = sysconf(_SC_PAGESIZE), first = offset / page * page;
  if (fstat(fd, &st)) return reason(a, path, errno);
  if (!S_ISREG(st.st_mode)) return lt_arena_printf(a, "%s is not a regular file", path);
  if (!lt_add_ok(&end, offset, bytes) || end > st.st_size)
    return lt_arena_printf(a, "%s has %lld bytes, too few for %lld at offset %lld", path, (long long)st.st_size,
                           (long long)bytes, (long long)offset);
  size_t length = (size_t)(end - first);
  void *base = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, (off_t)first);
  if (base == MAP_FAILED) return reason(a, path, errno);
  *out = (lt_mapped){(const unsigned char *)base + (offset - first), base, length};
  return NULL;
}

const char *lt_path_join(lt_arena *a, const char *folder, const char *name) {
  if (strcmp(folder, ".") == 0) return name;
  return lt_arena_printf(a, folder[strlen(folder) - 1] == '/' ? "%s%s" : "%s/%s", folder, name);
}

const char *lt_file_map(lt_arena *a, lt_mapped *out, const char *folder, const char *name, int64_t offset,
                        int64_t bytes) {
  const char *path = lt_path_join(a, folder, name);
  char top[PATH_MAX], real[PATH_MAX];
  if (!*name || *name == '/' || goes_up(name))
    return lt_arena_printf(a, "\"%.200s\" must be a name beneath the folder of this text: relative, without `..`",
                           name);
  if (!realpath(folder, top)) return reason(a, folder, errno);
  if (!realpath(path, real)) return reason(a, path, errno);
  if (!beneath(top, real)) return lt_arena_printf(a, "%s is a link that leaves the folder of this text", path);
  int fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return reason(a, path, errno);
  const char *why = map_open(a, out, path, fd, offset, bytes);
  close(fd);
  return why;
}

void lt_file_unmap(lt_mapped *m) {
  if (m->base) munmap(m->base, m->length);
  *m = (lt_mapped){0};
}

void lt_mapped_rest(const lt_mapped *m) {
  if (m->base) madvise(m->base, m->length, MADV_DONTNEED);
}

/* ---- whole files ------------------------------------------------------------------------------------------------- */

struct lt_mapping_shared {
  lt_mapping m; /* first: what is handed out */
  lt_mapped mapped;
  struct stat seen;
  _Atomic uint32_t references;
};

void lt_mapping_keep(lt_mapping *m) { atomic_fetch_add_explicit(&m->shared->references, 1, memory_order_relaxed); }

void lt_mapping_drop(void *p) {
  struct lt_mapping_shared *s = ((lt_mapping *)p)->shared;
  if (atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) > 1) return;
  lt_file_unmap(&s->mapped);
  lt_mem_free(s);
}

bool lt_mapping_same(const lt_mapping *m, const char *path) {
  const struct stat *was = &m->shared->seen;
  struct stat st;
  if (stat(path, &st) || st.st_dev != was->st_dev || st.st_ino != was->st_ino) return true;
  return st.st_size == was->st_size && st.st_mtim.tv_sec == was->st_mtim.tv_sec &&
         st.st_mtim.tv_nsec == was->st_mtim.tv_nsec;
}

lt_mapping *lt_mapping_new(lt_arena *a, int fd, const char *path, const char **why) {
  struct stat st;
  struct lt_mapping_shared *s = lt_mem_alloc(sizeof *s);
  if (!s) lt_fail_nomem(a->job);
  memset(s, 0, sizeof *s);
  atomic_init(&s->references, 1);
  s->m.shared = s;
  lt_arena_defer(a, lt_mapping_drop, &s->m);
  if (fstat(fd, &st)) return *why = reason(a, path, errno), NULL;
  s->seen = st;
  *why = st.st_size ? map_open(a, &s->mapped, path, fd, 0, st.st_size) : lt_arena_printf(a, "%s is empty", path);
  s->m.bytes = (lt_bytes){s->mapped.at, s->mapped.length};
  return *why ? NULL : &s->m;
}

/* A file that is closed with the arena, at the latest: what is between may fail. */
typedef struct open_file { int fd; } open_file;

static void close_file(void *p) {
  open_file *f = p;
  if (f->fd >= 0) close(f->fd);
  f->fd = -1;
}

lt_mapping *lt_file_share(lt_arena *a, const char *path, size_t max, const char **why) {
  struct stat st;
  open_file *f = LT_NEW(a, open_file);
  lt_mapping *m = NULL;
  *why = NULL;
  f->fd = -1;
  lt_arena_defer(a, close_file, f);
  /* who waits to write into a named pipe is not to be let in twice */
  if (!stat(path, &st) && !S_ISREG(st.st_mode)) return NULL;
  f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (f->fd < 0 || fstat(f->fd, &st)) *why = reason(a, path, errno);
  else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max)
    *why = lt_arena_printf(a, "%s is larger than %zu bytes", path, max);
  else if (S_ISREG(st.st_mode)) m = lt_mapping_new(a, f->fd, path, why);
  close_file(f);
  return m;
}
