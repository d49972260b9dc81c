/* base.h: what every layer stands on: failure, arenas, vectors, maps, strings, checked sizes, files.
 *
 * Failure. A public call runs its body under lt_protect(). Inside, a function that cannot go on calls lt_fail() (or any
 * allocation runs out), which unwinds with longjmp to lt_protect(), runs what was deferred, and fills the caller's
 * lathe_error. So code inside never checks for NULL and never forwards a status. Rules that keep this safe:
 *   - everything allocated lives in an arena owned by something that outlives the unwind, or is deferred;
 *   - no call of ours may unwind through a frame that is not ours (callbacks from LLVM, zlib, qsort, pthreads);
 *   - lt_protect() may nest; the innermost one catches.
 * (The scheme is Lua's: luaD_rawrunprotected.)
 *
 * Memory. All memory comes from lt_mem_*, so that a test can fail the n-th allocation and count what is live. */
#ifndef LT_BASE_H
#define LT_BASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lathe/lathe.h" /* lathe_error, lathe_status */

#if defined(__GNUC__)
#define LT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define LT_NORETURN __attribute__((noreturn))
#else
#define LT_PRINTF(f, a)
#define LT_NORETURN
#endif

#define LT_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LT_MIN(a, b) ((a) < (b) ? (a) : (b))
#define LT_MAX(a, b) ((a) > (b) ? (a) : (b))

/* ---- memory (mem.c) ------------------------------------------------------------------------------------------ */

void *lt_mem_alloc(size_t bytes);           /* NULL when out of memory; bytes 0 counts as 1 */
void *lt_mem_resize(void *p, size_t bytes); /* like realloc */
void *lt_mem_aligned(size_t bytes);         /* 64-aligned; freed with lt_mem_free like the others */
void *lt_mem_zeroed(size_t bytes);          /* 64-aligned zeros, in large pages where they are many */
void lt_mem_zeroed_free(void *p);
void lt_mem_free(void *p);
int64_t lt_mem_of_machine(void); /* bytes; INT64_MAX: the system does not say */
/* Test hooks, process-wide and thread-safe: fail the n-th allocation from now (1 is the next; 0 turns it off); with
 * `forever`, all later ones too. lt_mem_live() counts blocks not yet freed, lt_mem_count() allocations ever made,
 * lt_mem_bytes() the bytes that they asked for. */
void lt_mem_fail_at(uint64_t n, bool forever);
int64_t lt_mem_live(void);
uint64_t lt_mem_count(void);
uint64_t lt_mem_bytes(void);

/* ---- failure (job.c) ----------------------------------------------------------------------------------------- */

typedef struct lt_loc {
  const char *file; /* NULL: unknown */
  int32_t line, column;
} lt_loc;

typedef struct lt_deferred lt_deferred;
typedef struct lt_job {
  jmp_buf escape;
  lathe_error *error;    /* never NULL inside */
  lt_deferred *deferred; /* last first */
} lt_job;

/* Run body(job, arg). Returns LATHE_OK, or the status that lt_fail() was called with; *error (may be NULL) is
 * filled. */
int lt_protect(lathe_error *error, void (*body)(lt_job *job, void *arg), void *arg);
/* Fill the error and unwind. loc may be NULL. A message may hold a second line "help: …". */
LT_NORETURN void lt_fail(lt_job *job, int status, const lt_loc *loc, const char *fmt, ...) LT_PRINTF(4, 5);
LT_NORETURN void lt_failv(lt_job *job, int status, const lt_loc *loc, const char *fmt, va_list ap);
LT_NORETURN void lt_fail_nomem(lt_job *job);
/* Run fn(p) when the protected body ends: always (lt_defer), or only when it fails (lt_defer_failed). Last in, first
 * out. If registering itself runs out of memory, fn(p) is called at once and the job fails. It runs after the body's
 * frames are gone: p must not point into one (a deferred `lt_arena` on the body's stack is a bug; see lt_arena_new). */
void lt_defer(lt_job *job, void (*fn)(void *), void *p);
void lt_defer_failed(lt_job *job, void (*fn)(void *), void *p);
void lt_defer_cancel(lt_job *job, void *p); /* forget what was deferred last for p: it has been released early */
/* Fill an error without unwinding (for code outside a job). Truncates at a character, always terminates. */
void lt_error_set(lathe_error *error, int status, const lt_loc *loc, const char *fmt, ...) LT_PRINTF(4, 5);
/* Bytes of the character at p that may be shown; 0: none may (broken UTF-8, control characters but newline and tab). */
size_t lt_character(const char *p, size_t n);

/* ---- time (clock.c) ------------------------------------------------------------------------------------------ */

double lt_seconds(void); /* since some moment; never goes back */

/* ---- arena (arena.c) ----------------------------------------------------------------------------------------- */

/* A growing region freed at once. Allocation never returns NULL: it fails arena->job, which must be that of the call
 * in progress. All blocks are 16-aligned. */
typedef struct lt_arena_chunk lt_arena_chunk;
typedef struct lt_arena_held lt_arena_held;
typedef struct lt_arena {
  lt_job *job;
  lt_arena_chunk *chunks;
  unsigned char *next, *end;
  lt_arena_held *held; /* last first */
} lt_arena;

void lt_arena_init(lt_arena *a, lt_job *job);
lt_arena *lt_arena_new(lt_job *job); /* one that is freed when the protected body ends: the usual scratch of a call */
void lt_arena_free(lt_arena *a);     /* also fits lt_defer through lt_arena_free_fn */
void lt_arena_free_fn(void *arena);
/* Run fn(p) when the arena is freed: for what is not in it but belongs to it. Last in, first out. If registering runs
 * out of memory, fn(p) is called at once and the job fails. */
void lt_arena_defer(lt_arena *a, void (*fn)(void *), void *p);
void *lt_arena_alloc(lt_arena *a, size_t bytes);              /* not zeroed */
void *lt_arena_zalloc(lt_arena *a, size_t bytes);             /* zeroed */
void *lt_arena_array(lt_arena *a, size_t count, size_t size); /* zeroed, product checked */
char *lt_arena_strdup(lt_arena *a, const char *s);
char *lt_arena_strndup(lt_arena *a, const char *s, size_t n);
char *lt_arena_printf(lt_arena *a, const char *fmt, ...) LT_PRINTF(2, 3);
#define LT_NEW(arena, T) ((T *)lt_arena_zalloc((arena), sizeof(T)))
#define LT_NEW_ARRAY(arena, T, n) ((T *)lt_arena_array((arena), (n), sizeof(T)))

/* ---- vectors: LT_VEC(int) v = {0}; lt_vec_push(arena, &v, 3); v.at[i], v.n --------------------------------------- */

#define LT_VEC(T) struct { T *at; uint32_t n, cap; }
void *lt_vec_grow(lt_arena *a, void *at, uint32_t n, uint32_t *cap, size_t size);
#define lt_vec_push(arena, v, x)                                                                                       \
  do {                                                                                                                 \
    if ((v)->n == (v)->cap) (v)->at = lt_vec_grow((arena), (v)->at, (v)->n, &(v)->cap, sizeof *(v)->at);               \
    (v)->at[(v)->n++] = (x);                                                                                           \
  } while (0)

/* ---- map from bytes to a word (map.c) ------------------------------------------------------------------------- */

typedef struct lt_map_slot { const char *key; size_t len; uint64_t hash; uintptr_t value; } lt_map_slot;
typedef struct lt_map { lt_map_slot *slots; uint32_t n, cap; } lt_map; /* zero-initialised is empty */
/* Insert or replace; the key's bytes are not copied and must live as long as the map. */
void lt_map_put(lt_arena *a, lt_map *m, const char *key, size_t len, uintptr_t value);
bool lt_map_get(const lt_map *m, const char *key, size_t len, uintptr_t *value); /* value may be NULL */
void lt_map_puts(lt_arena *a, lt_map *m, const char *key, uintptr_t value);
bool lt_map_gets(const lt_map *m, const char *key, uintptr_t *value);
uint64_t lt_hash(const void *p, size_t n, uint64_t seed); /* XXH3, the same on every machine of one byte order */

/* ---- growing text (str.c) ------------------------------------------------------------------------------------- */

typedef struct lt_str { lt_arena *arena; char *at; size_t n, cap; } lt_str; /* at is NUL-terminated once written to */
void lt_str_init(lt_str *s, lt_arena *a);
void lt_str_put(lt_str *s, const char *bytes, size_t n);
void lt_str_puts(lt_str *s, const char *text);
void lt_str_printf(lt_str *s, const char *fmt, ...) LT_PRINTF(2, 3);
/* The shortest decimal text that reads back as the same float / double, always with a point or an exponent
 * ("0.1", "1.0", "1e-05", "nan", "inf", "-inf"). */
void lt_str_float(lt_str *s, float v);
void lt_str_double(lt_str *s, double v);
/* The name nearest to word in a NULL-terminated list, or NULL when none is near (edit distance > 1 + length/4). */
const char *lt_nearest(const char *word, const char *const *names);
bool lt_is_utf8(const char *text, size_t n);

/* ---- checked sizes -------------------------------------------------------------------------------------------- */

static inline bool lt_mul_ok(int64_t *out, int64_t a, int64_t b) { return !__builtin_mul_overflow(a, b, out); }
static inline bool lt_add_ok(int64_t *out, int64_t a, int64_t b) { return !__builtin_add_overflow(a, b, out); }

/* ---- files (file.c) ------------------------------------------------------------------------------------------- */

typedef struct lt_bytes { const unsigned char *at; size_t n; } lt_bytes;
/* The whole file, NUL-terminated past the end ("-" reads standard input). Larger than max, a directory, unreadable:
 * LATHE_E_IO with the reason. */
lt_bytes lt_file_read(lt_job *job, lt_arena *a, const char *path, size_t max);
/* The same as a map of the file until the job ends, where it is a regular one; no byte follows the end. */
lt_bytes lt_file_view(lt_job *job, lt_arena *a, const char *path, size_t max);
/* A range of a regular file as read-only memory, for as long as it is mapped (mapped.c). NULL, or what is wrong as a
 * text in `a`: a name that leaves `folder` (absolute, `..`, by a link), a file that is too short or not regular. */
typedef struct lt_mapped { const unsigned char *at; void *base; size_t length; } lt_mapped;
const char *lt_path_join(lt_arena *a, const char *folder, const char *name); /* "." leaves the name as it is */
const char *lt_file_map(lt_arena *a, lt_mapped *out, const char *folder, const char *name, int64_t offset,
                        int64_t bytes);
void lt_file_unmap(lt_mapped *m);        /* base NULL: nothing */
void lt_mapped_rest(const lt_mapped *m); /* gives the pages back until they are read again */
/* A whole file as read-only memory that several hold: the first reference is the arena's, the last to let go unmaps it.
 * fd stays the caller's. NULL: *why says what is wrong. */
typedef struct lt_mapping { lt_bytes bytes; struct lt_mapping_shared *shared; } lt_mapping;
lt_mapping *lt_mapping_new(lt_arena *a, int fd, const char *path, const char **why);
void lt_mapping_keep(lt_mapping *m);
/* Has the file that stands there not been written since it was mapped? A new one in its place is none of ours. */
bool lt_mapping_same(const lt_mapping *m, const char *path);
void lt_mapping_drop(void *m);
/* The file itself, whatever its folder; links are followed. NULL and no reason: not regular (a pipe), to be read. */
lt_mapping *lt_file_share(lt_arena *a, const char *path, size_t max, const char **why);
/* Whole or not at all: written to a temporary beside it, synced, renamed. */
void lt_file_write(lt_job *job, const char *path, const void *data, size_t n);
/* The same, but the disk is not waited for: for results, which can be computed again should the machine fail now. */
void lt_file_write_result(lt_job *job, const char *path, const void *data, size_t n);
/* The same piece by piece: it appears with lt_file_end; what the job leaves without is removed. */
typedef struct lt_file_out lt_file_out;
lt_file_out *lt_file_begin(lt_job *job, const char *path);
void lt_file_put(lt_file_out *f, const void *data, size_t n);
void lt_file_end(lt_file_out *f);
/* No file written may be another one: lathe_files_distinct, in a job (distinct.c). */
void lt_files_distinct(lt_job *job, const lathe_file *file, size_t n);
void lt_dir_make(lt_job *job, const char *path); /* with parents */

#endif
