/* status.c: small public functions without state: versions, texts of statuses, names of files, freeing what was
 * returned. */
#include "codegen/codegen.h"
#include "driver/graph_api.h"

#include <pthread.h>
#include <stdio.h>

/* The one text that is made at run time and kept: written once, before anyone reads it. */
static char version[256];

static void host_body(lt_job *job, void *arg) {
  lt_target t;
  lt_target_host(&t, job, lt_arena_new(job), NULL, NULL);
  snprintf(version, sizeof version, "%s (LLVM %s, %s, %s)", LATHE_VERSION, lt_llvm_version(), t.triple, t.cpu);
}

static void make_version(void) {
  lathe_error e;
  if (lt_protect(&e, host_body, NULL))
    snprintf(version, sizeof version, "%s (LLVM %s)", LATHE_VERSION, lt_llvm_version());
}

const char *lathe_version(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_version);
  return version;
}

const char *lathe_status_text(int status) {
  switch (status) {
    case LATHE_OK: return "ok";
    case LATHE_E_INVALID: return "invalid argument";
    case LATHE_E_PARSE: return "not a network";
    case LATHE_E_IO: return "input or output failed";
    case LATHE_E_NOMEM: return "out of memory";
    case LATHE_E_UNSUPPORTED: return "not supported";
    case LATHE_E_MISMATCH: return "does not match";
    case LATHE_E_INTERNAL: return "internal error";
    case LATHE_E_MODEL: return "memory of another model or version";
    case LATHE_E_POINTER: return "null or misaligned pointer";
    case LATHE_E_DATA: return "a label or an index is outside its range";
  default: return "unknown status";
  }
}

typedef struct distinct_args { const lathe_file *file; size_t n; } distinct_args;

static void distinct_body(lt_job *job, void *arg) {
  const distinct_args *p = arg;
  lt_files_distinct(job, p->file, p->n);
}

int lathe_files_distinct(const lathe_file *file, size_t n, lathe_error *e) {
  return lt_protect(e, distinct_body, &(distinct_args){file, n});
}

void lathe_free(void *text_or_array) { lt_mem_free(text_or_array); }

char *lt_text_out(lt_job *job, const lt_str *s) {
  char *out = lt_mem_alloc(s->n + 1);
  if (!out) lt_fail_nomem(job);
  if (s->n) memcpy(out, s->at, s->n);
  out[s->n] = 0;
  return out;
}
