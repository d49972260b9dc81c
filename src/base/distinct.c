/* distinct.c: no file that a call writes may be one that it reads, or one that it writes for something else. Files are
 * told apart as the system does, not by how they are spelled. */
#include "base/base.h"

#include <sys/stat.h>

static const char *last_part(const char *path) { return strrchr(path, '/') ? strrchr(path, '/') + 1 : path; }

/* A path too long for the system is in no folder. */
static bool folder_of(const char *path, struct stat *out) {
  char folder[4096];
  size_t n = (size_t)(last_part(path) - path);
  if (n >= sizeof folder) return false;
  memcpy(folder, path, n);
  folder[n] = 0;
  return stat(n ? folder : ".", out) == 0;
}

static bool same_inode(struct stat x, struct stat y) { return x.st_dev == y.st_dev && x.st_ino == y.st_ino; }

/* One file, there already or to be made? Pipes and devices are none. */
static bool same_file(const char *a, const char *b) {
  struct stat x, y;
  bool has_a = stat(a, &x) == 0, has_b = stat(b, &y) == 0;
  if ((has_a && !S_ISREG(x.st_mode)) || (has_b && !S_ISREG(y.st_mode))) return false;
  if (has_a && has_b) return same_inode(x, y);
  if (has_a != has_b || strcmp(last_part(a), last_part(b)) != 0) return false;
  return folder_of(a, &x) && folder_of(b, &y) && same_inode(x, y);
}

static void compare(lt_job *job, const lathe_file *a, const lathe_file *b) {
  if (!a->path || !b->path || (!a->written && !b->written) || !same_file(a->path, b->path)) return;
  const lathe_file *out = a->written ? a : b, *other = a->written ? b : a;
  lt_fail(job, LATHE_E_INVALID, NULL, "%s would %s: %s is %s, too\nhelp: another file for %s", out->what,
          other->written ? "be written over" : "destroy what is read", out->path, other->what, out->what);
}

void lt_files_distinct(lt_job *job, const lathe_file *file, size_t n) {
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < i; k++) compare(job, &file[k], &file[i]);
}
