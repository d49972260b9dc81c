/* load.c: object files loaded into this process (the public lathe_object_ functions). */
#include "codegen/codegen.h"

static const size_t MAX_FILE = (size_t)1 << 40;

struct lathe_object { lt_code *code; };

static void object_delete(void *p) {
  lathe_object *o = p;
  lt_code_free(o->code);
  lt_mem_free(o);
}

typedef struct load_args { const char *path; lathe_object *out; } load_args;

static void load_body(lt_job *job, void *arg) {
  load_args *p = arg;
  if (!p->path) lt_fail(job, LATHE_E_INVALID, NULL, "the path is NULL");
  lathe_object *o = lt_mem_alloc(sizeof *o);
  if (!o) lt_fail_nomem(job);
  o->code = NULL;
  lt_defer_failed(job, object_delete, o);
  lt_code *code = lt_jit_file(job, p->path, lt_file_read(job, lt_arena_new(job), p->path, MAX_FILE));
  lt_defer_cancel(job, code);
  o->code = code;
  p->out = o;
}

lathe_object *lathe_object_load(const char *path, lathe_error *e) {
  load_args p = {.path = path};
  return lt_protect(e, load_body, &p) ? NULL : p.out;
}

void *lathe_object_find(lathe_object *o, const char *symbol) {
  return o && symbol ? lt_code_look(o->code, symbol) : NULL;
}

void lathe_object_free(lathe_object *o) {
  if (o) object_delete(o);
}
