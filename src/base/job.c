/* job.c: failure by unwinding, and what is undone on the way. See base.h for the rules. */
#include "base/base.h"

#include <stdio.h>

struct lt_deferred {
  lt_deferred *next;
  void (*fn)(void *);
  void *p;
  bool only_failed;
};

static void error_clear(lathe_error *e) {
  e->status = e->line = e->column = e->more = 0;
  e->file[0] = e->message[0] = 0;
}

/* The setjmp stands in a frame of its own, so that nothing it could clobber is read afterwards. */
static bool run_body(lt_job *job, void (*body)(lt_job *, void *), void *arg) {
  if (setjmp(job->escape)) return false;
  body(job, arg);
  return true;
}

static void run_deferred(lt_job *job, bool failed) {
  while (job->deferred) {
    lt_deferred *d = job->deferred;
    job->deferred = d->next;
    if (failed || !d->only_failed) d->fn(d->p);
    lt_mem_free(d);
  }
}

int lt_protect(lathe_error *error, void (*body)(lt_job *job, void *arg), void *arg) {
  lathe_error own;
  lt_job job = {.error = error ? error : &own};
  error_clear(job.error);
  bool ok = run_body(&job, body, arg);
  int status = ok ? LATHE_OK : job.error->status;
  run_deferred(&job, !ok);
  return status;
}

/* ---- messages: text of files may be in them, so bytes that are no text are shown as \xNN; long lists lose their
 * middle --- */

size_t lt_character(const char *p, size_t n) {
  const unsigned char *c = (const unsigned char *)p;
  if (c[0] < 0x80) return (c[0] >= ' ' && c[0] != 0x7f) || c[0] == '\n' || c[0] == '\t';
  size_t want = c[0] >= 0xC2 && c[0] < 0xE0 ? 2 : c[0] >= 0xE0 && c[0] < 0xF0 ? 3 : c[0] >= 0xF0 && c[0] < 0xF5 ? 4 : 0;
  if (!want || want > n) return 0;
  for (size_t i = 1; i < want; i++)
    if ((c[i] & 0xC0) != 0x80) return 0;
  /* control characters again */
  if (want == 2 && c[0] == 0xC2 && c[1] < 0xA0) return 0;
  /* too long; surrogates */
  if ((c[0] == 0xE0 && c[1] < 0xA0) || (c[0] == 0xED && c[1] >= 0xA0)) return 0;
  return (c[0] == 0xF0 && c[1] < 0x90) || (c[0] == 0xF4 && c[1] >= 0x90) ? 0 : want;
}

/* Shows n bytes of text in at most `room` bytes, whole characters only; `to` may be NULL to measure. Returns the
 * bytes. */
static size_t show(char *to, size_t room, const char *text, size_t n) {
  size_t used = 0;
  for (size_t i = 0; i < n;) {
    char code[8];
    size_t take = lt_character(text + i, n - i), put = take ? take : 4;
    if (!take) snprintf(code, sizeof code, "\\x%02x", (unsigned char)text[i]);
    if (used + put > room) break;
    if (to) memcpy(to + used, take ? text + i : code, put);
    used += put;
    i += take ? take : 1;
  }
  return used;
}

static int lines_in(const char *text, size_t n) {
  int lines = 0;
  for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
  return lines;
}

/* Where the advice at the end begins, its newline included; n: there is none. */
static size_t advice_at(const char *text, size_t n) {
  static const char mark[] = "\nhelp: ";
  const size_t k = sizeof mark - 1;
  for (size_t i = n < k ? 0 : n - k + 1; i-- > 0;)
    if (!memcmp(text + i, mark, k)) return i;
  return n;
}

/* What does not fit goes out of the middle, line by line: the first lines stay, and the advice at the end. */
static void set_message(lathe_error *e, const char *text, size_t n) {
  static const char gap[] = "\n  …";
  const size_t room = sizeof e->message - 1;
  size_t used, head = advice_at(text, n), tail = show(NULL, SIZE_MAX, text + head, n - head), shown = 0;
  if (show(NULL, SIZE_MAX, text, n) <= room || !memchr(text, '\n', n)) {
    e->message[show(e->message, room, text, n)] = 0;
    return;
  }
  if (tail > room / 2) head = n, tail = 0;
  for (size_t i = 0; i < head; i++) { /* whole lines that leave room for the rest */
    if (text[i] != '\n') continue;
    if (show(NULL, room, text, i) + sizeof gap - 1 + tail > room) break;
    shown = i;
  }
  if (!shown) used = show(e->message, room - tail - (sizeof gap - 1), text, strcspn(text, "\n"));
  else used = show(e->message, room, text, shown);
  e->more = lines_in(text + shown, head - shown);
  memcpy(e->message + used, gap, sizeof gap - 1);
  used += sizeof gap - 1;
  used += show(e->message + used, room - used, text + head, n - head);
  e->message[used] = 0;
}

/* Memory may be out: then the message is what fits in the frame. */
static void format_message(lathe_error *e, const char *fmt, va_list ap) {
  char own[2 * sizeof e->message], *all = NULL;
  va_list again;
  va_copy(again, ap);
  int n = vsnprintf(own, sizeof own, fmt, ap);
  if (n >= (int)sizeof own && (all = lt_mem_alloc((size_t)n + 1)) != NULL) vsnprintf(all, (size_t)n + 1, fmt, again);
  else n = LT_MIN(n, (int)sizeof own - 1);
  va_end(again);
  set_message(e, all ? all : own, n > 0 ? (size_t)n : 0);
  lt_mem_free(all);
}

static void error_setv(lathe_error *e, int status, const lt_loc *loc, const char *fmt, va_list ap) {
  error_clear(e);
  e->status = status;
  if (loc && loc->file) e->file[show(e->file, sizeof e->file - 1, loc->file, strlen(loc->file))] = 0;
  if (loc) e->line = loc->line, e->column = loc->column;
  format_message(e, fmt, ap);
}

void lt_error_set(lathe_error *error, int status, const lt_loc *loc, const char *fmt, ...) {
  if (!error) return;
  va_list ap;
  va_start(ap, fmt);
  error_setv(error, status, loc, fmt, ap);
  va_end(ap);
}

void lt_failv(lt_job *job, int status, const lt_loc *loc, const char *fmt, va_list ap) {
  error_setv(job->error, status, loc, fmt, ap);
  longjmp(job->escape, 1);
}

void lt_fail(lt_job *job, int status, const lt_loc *loc, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  error_setv(job->error, status, loc, fmt, ap);
  va_end(ap);
  longjmp(job->escape, 1);
}

void lt_fail_nomem(lt_job *job) { lt_fail(job, LATHE_E_NOMEM, NULL, "out of memory"); }

static void defer(lt_job *job, void (*fn)(void *), void *p, bool only_failed) {
  lt_deferred *d = lt_mem_alloc(sizeof *d);
  if (!d) {
    fn(p);
    lt_fail_nomem(job);
  }
  *d = (lt_deferred){.next = job->deferred, .fn = fn, .p = p, .only_failed = only_failed};
  job->deferred = d;
}

void lt_defer(lt_job *job, void (*fn)(void *), void *p) { defer(job, fn, p, false); }
void lt_defer_cancel(lt_job *job, void *p) {
  for (lt_deferred **at = &job->deferred; *at; at = &(*at)->next) {
    lt_deferred *d = *at;
    if (d->p != p) continue;
    *at = d->next;
    lt_mem_free(d);
    return;
  }
}
void lt_defer_failed(lt_job *job, void (*fn)(void *), void *p) { defer(job, fn, p, true); }
