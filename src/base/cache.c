/* cache.c: files of a folder by the hash of their key (cache.h says what they are and when they are believed). */
#include "base/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

static const int64_t MOST = (int64_t)512 << 20;   /* bytes of all files */
static const size_t MOST_ONE = (size_t)128 << 20; /* of one */
static const time_t STALE = 3600; /* seconds after which nobody goes on with a file that is half written */

struct lt_cache {
  int folder;
  int64_t most;
};

typedef struct head {
  char magic[8];
  uint32_t format, zero;
  uint64_t key_bytes, value_bytes;
} head;
typedef struct check { unsigned char byte[16]; } check;
typedef struct name { char text[64]; } name;

static const head beginning = {.magic = {'L', 'A', 'T', 'H', 'E', 'K', 'P', 'T'}, .format = 1};

static void close_cache(void *p) {
  lt_cache *c = p;
  if (c->folder >= 0) close(c->folder);
  c->folder = -1;
}

/* ---- the folder -------------------------------------------------------------------------------------------------- */

static bool owned(const struct stat *st) { return st->st_uid == geteuid() && !(st->st_mode & (S_IWGRP | S_IWOTH)); }

/* With its parents; what is there already stays as it is. */
static void make_folder(lt_arena *a, const char *path) {
  char *part = lt_arena_strdup(a, path);
  for (char *p = part + 1; *p; p++) {
    if (*p != '/') continue;
    *p = 0;
    mkdir(part, 0700);
    *p = '/';
  }
  mkdir(part, 0700);
}

lt_cache *lt_cache_open_at(lt_arena *a, const char *folder, int64_t most, const char **why) {
  struct stat st;
  lt_cache *c = LT_NEW(a, lt_cache);
  *c = (lt_cache){.folder = -1, .most = most};
  lt_arena_defer(a, close_cache, c);
  *why = NULL;
  make_folder(a, folder);
  c->folder = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (c->folder < 0 || fstat(c->folder, &st)) *why = lt_arena_printf(a, "%s is no folder that can be used", folder);
  else if (!owned(&st)) *why = lt_arena_printf(a, "%s is not this user's own alone", folder);
  return *why ? NULL : c;
}

/* A process with more rights than who started it believes none of this. */
static const char *folder_of_user(lt_arena *a, const char **why) {
  const char *own = secure_getenv("LATHE_CACHE"), *caches = secure_getenv("XDG_CACHE_HOME"),
             *home = secure_getenv("HOME");
  if (own && !*own) *why = "LATHE_CACHE is empty";
  if (own) return *own ? own : NULL;
  if (caches && *caches == '/') return lt_arena_printf(a, "%s/lathe", caches);
  if (home && *home == '/') return lt_arena_printf(a, "%s/.cache/lathe", home);
  *why = "there is no home folder";
  return NULL;
}

lt_cache *lt_cache_open(lt_arena *a, const char **why) {
  const char *folder = folder_of_user(a, why);
  return folder ? lt_cache_open_at(a, folder, MOST, why) : NULL;
}

/* ---- a file ------------------------------------------------------------------------------------------------------ */

static name name_of(lt_bytes key) {
  XXH128_hash_t h = XXH3_128bits(key.at, key.n);
  name out;
  snprintf(out.text, sizeof out.text, "%016llx%016llx.kept", (unsigned long long)h.high64, (unsigned long long)h.low64);
  return out;
}

static check check_of(XXH128_hash_t h) {
  XXH128_canonical_t c;
  check out;
  XXH128_canonicalFromHash(&c, h);
  memcpy(out.byte, c.digest, sizeof out.byte);
  return out;
}

/* Sizes, magic, key and checksum of a whole file. */
static bool sound(lt_bytes file, lt_bytes key, lt_bytes *value) {
  head h;
  if (file.n < sizeof h + sizeof(check)) return false;
  memcpy(&h, file.at, sizeof h);
  if (memcmp(h.magic, beginning.magic, sizeof h.magic) || h.format != beginning.format || h.zero) return false;
  size_t inside = file.n - sizeof h - sizeof(check);
  if (h.key_bytes != key.n || key.n > inside || h.value_bytes != inside - key.n) return false;
  if (memcmp(file.at + sizeof h, key.at, key.n)) return false;
  const check c = check_of(XXH3_128bits(file.at, file.n - sizeof c));
  if (memcmp(file.at + file.n - sizeof c, &c, sizeof c)) return false;
  *value = (lt_bytes){file.at + sizeof h + key.n, inside - key.n};
  return true;
}

static bool read_all(int fd, unsigned char *to, size_t n) {
  while (n) {
    ssize_t got = read(fd, to, n);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got, n -= (size_t)got;
  }
  return true;
}

static bool write_all(int fd, lt_bytes b) {
  while (b.n) {
    ssize_t put = write(fd, b.at, b.n);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    b.at += put, b.n -= (size_t)put;
  }
  return true;
}

/* The memory is there before the file is open: nothing between may fail. */
static bool read_file(lt_cache *c, lt_arena *a, const char *file, lt_bytes *out) {
  struct stat st;
  if (fstatat(c->folder, file, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode) || st.st_size <= 0) return false;
  if ((uint64_t)st.st_size > MOST_ONE) return false;
  size_t n = (size_t)st.st_size;
  unsigned char *to = lt_arena_alloc(a, n);
  int fd = openat(c->folder, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  bool good = !fstat(fd, &st) && S_ISREG(st.st_mode) && owned(&st) && (uint64_t)st.st_size == n && read_all(fd, to, n);
  if (good) futimens(fd, NULL); /* used now */
  close(fd);
  *out = (lt_bytes){to, n};
  return good;
}

bool lt_cache_get(lt_cache *c, lt_arena *a, lt_bytes key, lt_bytes *value) {
  lt_bytes file;
  const name n = name_of(key);
  if (!read_file(c, a, n.text, &file)) return false;
  if (sound(file, key, value)) return true;
  unlinkat(c->folder, n.text, 0);
  return false;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static bool write_file(int fd, lt_bytes key, const lt_bytes *part, size_t n) {
  XXH3_state_t *state = XXH3_createState();
  head h = beginning;
  h.key_bytes = key.n;
  for (size_t i = 0; i < n; i++) h.value_bytes += part[i].n;
  const lt_bytes begin[2] = {{(const unsigned char *)&h, sizeof h}, key};
  bool good = state && XXH3_128bits_reset(state) != XXH_ERROR;
  for (size_t i = 0; good && i < n + 2; i++) {
    const lt_bytes b = i < 2 ? begin[i] : part[i - 2];
    good = XXH3_128bits_update(state, b.at, b.n) != XXH_ERROR && write_all(fd, b);
  }
  if (good) {
    const check c = check_of(XXH3_128bits_digest(state));
    good = write_all(fd, (lt_bytes){c.byte, sizeof c.byte});
  }
  XXH3_freeState(state);
  return good;
}

/* Nobody else makes this name: no other thread, no other process, none on another machine or with our number. */
static void temporary_name(char out[128], const name *n) {
  static _Atomic unsigned counter;
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  snprintf(out, 128, "%.32s.%ld.%ld.%u.tmp", n->text, (long)getpid(), t.tv_nsec, atomic_fetch_add(&counter, 1));
}

static bool store(lt_cache *c, lt_bytes key, const lt_bytes *part, size_t n) {
  char temporary[128];
  const name to = name_of(key);
  temporary_name(temporary, &to);
  int fd = openat(c->folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  bool good = write_file(fd, key, part, n);
  good = !close(fd) && good && !renameat(c->folder, temporary, c->folder, to.text);
  if (!good) unlinkat(c->folder, temporary, 0);
  return good;
}

/* ---- the limit --------------------------------------------------------------------------------------------------- */

typedef struct kept { const char *name; int64_t bytes; struct timespec used; } kept;
typedef LT_VEC(kept) kepts;

static int by_use(const void *x, const void *y) {
  const kept *a = x, *b = y;
  if (a->used.tv_sec != b->used.tv_sec) return a->used.tv_sec < b->used.tv_sec ? -1 : 1;
  return a->used.tv_nsec < b->used.tv_nsec ? -1 : a->used.tv_nsec > b->used.tv_nsec;
}

static bool ends_in(const char *text, const char *ending) {
  size_t n = strlen(text), m = strlen(ending);
  return n > m && !strcmp(text + n - m, ending);
}

/* What is not ours by its name is left alone. */
static void look_at(lt_cache *c, lt_arena *a, kepts *all, const char *file) {
  struct stat st;
  bool half = ends_in(file, ".tmp");
  if ((!half && !ends_in(file, ".kept")) || fstatat(c->folder, file, &st, AT_SYMLINK_NOFOLLOW)) return;
  if (!S_ISREG(st.st_mode)) return;
  if (half && st.st_mtim.tv_sec + STALE < time(NULL)) unlinkat(c->folder, file, 0);
  if (!half) lt_vec_push(a, all, ((kept){lt_arena_strdup(a, file), st.st_size, st.st_mtim}));
}

static void close_list(void *d) { closedir(d); }

static void list(lt_cache *c, lt_arena *a, kepts *all) {
  int fd = openat(c->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d) {
    if (fd >= 0) close(fd);
    return;
  }
  lt_arena_defer(a, close_list, d);
  for (const struct dirent *e; (e = readdir(d));) look_at(c, a, all, e->d_name);
}

/* A quarter less than the limit, so that not every file that comes pushes one out. */
static void evict(lt_cache *c, lt_arena *a) {
  kepts all = {0};
  int64_t sum = 0;
  list(c, a, &all);
  for (uint32_t i = 0; i < all.n; i++) sum += all.at[i].bytes;
  if (sum <= c->most) return;
  qsort(all.at, all.n, sizeof *all.at, by_use);
  for (uint32_t i = 0; i < all.n && sum > c->most / 4 * 3; i++)
    if (!unlinkat(c->folder, all.at[i].name, 0)) sum -= all.at[i].bytes;
}

void lt_cache_put(lt_cache *c, lt_arena *a, lt_bytes key, const lt_bytes *part, size_t n) {
  size_t bytes = sizeof(head) + key.n + sizeof(check);
  for (size_t i = 0; i < n; i++) bytes += part[i].n;
  if (bytes <= MOST_ONE && (int64_t)bytes <= c->most && store(c, key, part, n)) evict(c, a);
}
