/* arrays.c: the public functions that read and write arrays in files (the formats are in base/npy.h). */
#include "base/npy.h"
#include "frontend/onnx/array.h"

#include <stdio.h>

/* What one file may unpack to. A bound against broken or hostile files, far above any network's weights. */
static const size_t MAX_FILE = (size_t)1 << 40;

static void name_array(lathe_array *out, lt_job *job, lt_array_where w, const char *name) {
  lt_loc loc = {w.file, 0, 0};
  if (strlen(name) >= sizeof out->name)
    lt_fail(job, LATHE_E_IO, &loc, "array `%.40s…` has a name longer than %zu bytes", name, sizeof out->name - 1);
  snprintf(out->name, sizeof out->name, "%s", name);
}

static void take_array(lathe_array *out, lt_job *job, lt_array_where w, const lt_elements *n, int want) {
  lathe_dtype dtype = want < 0 ? lt_elements_natural(n) : (lathe_dtype)want;
  int64_t bytes;
  lt_loc loc = {w.file, 0, 0};
  if ((unsigned)dtype > LATHE_BOOL) lt_fail(job, LATHE_E_INVALID, NULL, "there is no element type %d", want);
  if (!lt_mul_ok(&bytes, n->count, (int64_t)lt_element_of(dtype).size))
    lt_fail(job, LATHE_E_IO, &loc, "the array's size overflows");
  out->data = lt_mem_alloc((size_t)bytes);
  if (!out->data) lt_fail_nomem(job);
  lt_defer_failed(job, lt_mem_free, out->data);
  lt_elements_convert(n, job, w, dtype, out->data);
  out->dtype = dtype, out->rank = n->rank;
  memcpy(out->dim, n->dim, sizeof out->dim);
}

typedef struct load_args {
  lathe_array *out, **list;
  size_t *n;
  const char *path;
  int want;
} load_args;

static void npy_load(lt_job *job, void *arg) {
  load_args *p = arg;
  lt_arena *a = lt_arena_new(job);
  lt_elements npy;
  lt_array_where w = {p->path, NULL};
  lt_array_read(&npy, job, a, p->path, MAX_FILE);
  lathe_array result = {0};
  take_array(&result, job, w, &npy, p->want);
  *p->out = result;
}

int lathe_npy_load(lathe_array *out, const char *path, int want, lathe_error *e) {
  *out = (lathe_array){0};
  return lt_protect(e, npy_load, &(load_args){.out = out, .path = path, .want = want});
}

static void npz_load(lt_job *job, void *arg) {
  load_args *p = arg;
  lt_arena *a = lt_arena_new(job);
  lt_npz npz;
  lt_npz_parse(&npz, job, a, p->path, lt_file_read(job, a, p->path, MAX_FILE), MAX_FILE);
  lathe_array *list = lt_mem_alloc((npz.n + 1) * sizeof *list);
  if (!list) lt_fail_nomem(job);
  lt_defer_failed(job, lt_mem_free, list);
  memset(list, 0, (npz.n + 1) * sizeof *list);
  for (uint32_t i = 0; i < npz.n; i++) {
    lt_array_where w = {p->path, npz.at[i].name};
    name_array(&list[i], job, w, npz.at[i].name);
    if (!npz.at[i].problem) take_array(&list[i], job, w, &npz.at[i].npy, p->want);
  }
  *p->list = list, *p->n = npz.n;
}

int lathe_npz_load(lathe_array **out, size_t *n, const char *path, lathe_error *e) {
  *out = NULL, *n = 0;
  return lt_protect(e, npz_load, &(load_args){.list = out, .n = n, .path = path, .want = -1});
}

typedef struct save_args {
  const lathe_array *array;
  size_t n;
  const char *path;
} save_args;

static void check_array(lt_job *job, const lathe_array *a) {
  int64_t count = 1;
  bool good = a->data && a->rank >= 0 && a->rank <= LATHE_MAX_RANK && (unsigned)a->dtype <= LATHE_BOOL;
  for (int i = 0; good && i < a->rank; i++) good = a->dim[i] >= 1 && lt_mul_ok(&count, count, a->dim[i]);
  if (!good || !lt_mul_ok(&count, count, (int64_t)lt_element_of(a->dtype).size))
    lt_fail(job, LATHE_E_INVALID, NULL, "array `%s` to be saved has no data or an impossible shape", a->name);
}

static void npy_save(lt_job *job, void *arg) {
  save_args *p = arg;
  check_array(job, p->array);
  lt_str s;
  lt_str_init(&s, lt_arena_new(job));
  lt_npy_write(&s, p->array->dtype, (unsigned)p->array->rank, p->array->dim, p->array->data);
  lt_file_write_result(job, p->path, s.at, s.n);
}

int lathe_npy_save(const lathe_array *a, const char *path, lathe_error *e) {
  return lt_protect(e, npy_save, &(save_args){a, 1, path});
}

static void npz_save(lt_job *job, void *arg) {
  save_args *p = arg;
  lt_arena *a = lt_arena_new(job);
  lt_named_array *item = LT_NEW_ARRAY(a, lt_named_array, p->n + 1);
  for (size_t i = 0; i < p->n; i++) {
    const lathe_array *x = &p->array[i];
    check_array(job, x);
    item[i] = (lt_named_array){x->name, x->dtype, (unsigned)x->rank, x->dim, x->data};
  }
  lt_str s;
  lt_str_init(&s, a);
  lt_npz_write(&s, job, item, p->n);
  lt_file_write(job, p->path, s.at, s.n);
}

int lathe_npz_save(const lathe_array *a, size_t n, const char *path, lathe_error *e) {
  return lt_protect(e, npz_save, &(save_args){a, n, path});
}
