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

/* Cut n bytes of text down so that it does not end inside a UTF-8 sequence. */
static size_t whole_characters(const char *text, size_t n) {
  size_t i = n;
  while (i > 0 && ((unsigned char)text[i - 1] & 0xC0) == 0x80) i--;
  if (i == 0) return n;
  unsigned char lead = (unsigned char)text[i - 1];
  size_t want = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  return i - 1 + want <= n ? n : i - 1;
}

static void error_setv(lathe_error *e, int status, const lt_loc *loc, const char *fmt, va_list ap) {
  error_clear(e);
  e->status = status;
  if (loc && loc->file) snprintf(e->file, sizeof e->file, "%s", loc->file);
  if (loc) e->line = loc->line, e->column = loc->column;
  int n = vsnprintf(e->message, sizeof e->message, fmt, ap);
  if (n >= (int)sizeof e->message) e->message[whole_characters(e->message, sizeof e->message - 1)] = 0;
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
