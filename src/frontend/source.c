/* source.c: the table of readers, and which of them reads a file. */
#include "frontend/source.h"

/* The first reads what no other claims. */
static const lt_reader *const readers[] = {&lt_text_reader, &lt_onnx_reader};

static bool ends_in(const char *name, const char *suffix) {
  size_t n = strlen(name), k = strlen(suffix);
  return n > k && !strcmp(name + n - k, suffix);
}

/* NULL: the name does not say. */
static const lt_reader *reader_of_name(const char *file) {
  for (size_t i = 0; i < LT_COUNT(readers); i++)
    if (ends_in(file, readers[i]->suffix)) return readers[i];
  return NULL;
}

static const lt_reader *reader_of_bytes(lt_bytes b) {
  for (size_t i = 0; i < LT_COUNT(readers); i++) {
    const char *first = readers[i]->first;
    if (first && b.n >= strlen(first) && !memcmp(b.at, first, strlen(first))) return readers[i];
  }
  return readers[0];
}

static const char *folder_of(lt_arena *a, const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? lt_arena_strndup(a, path, (size_t)LT_MAX(slash - path, 1)) : NULL;
}

/* What is no regular file (a pipe, standard input) is read. */
static lt_bytes read_file(lt_source *out, lt_job *job, lt_arena *keep, const char *path, const lt_reader *r) {
  const char *why = NULL;
  if (r->mapped && strcmp(path, "-")) out->mapping = lt_file_share(keep, path, r->max_bytes, &why);
  if (why) lt_fail(job, LATHE_E_IO, NULL, "%s", why);
  return out->mapping ? out->mapping->bytes : lt_file_read(job, keep, path, r->max_bytes);
}

void lt_source_open(lt_source *out, lt_job *job, lt_arena *keep, const char *path) {
  *out =
    (lt_source){.reader = reader_of_name(path), .file = strcmp(path, "-") ? lt_arena_strdup(keep, path) : "<stdin>"};
  out->folder = folder_of(keep, path);
  out->bytes = read_file(out, job, keep, path, out->reader ? out->reader : readers[0]);
  if (!out->reader) out->reader = reader_of_bytes(out->bytes);
}

void lt_source_of_bytes(lt_source *out, lt_job *job, lt_arena *keep, lt_bytes bytes, const char *file) {
  (void)job;
  *out = (lt_source){.reader = reader_of_name(file), .file = lt_arena_strdup(keep, file)};
  if (!out->reader) out->reader = reader_of_bytes(bytes);
  out->bytes = (lt_bytes){(const unsigned char *)lt_arena_strndup(keep, (const char *)bytes.at, bytes.n), bytes.n};
}

lt_graph *lt_source_read(lt_job *job, const lt_source *s, const lt_read_options *o) {
  return s->reader->read(job, s, o);
}
