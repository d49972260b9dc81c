/* mapped.c: a range of a file as read-only memory, for files that a text names: they must stand beneath a folder and be
 * regular.
 *
 * The name is resolved first, links included, and what it resolves to is opened without following another link: so a
 * link may point anywhere beneath the folder and nowhere else. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
