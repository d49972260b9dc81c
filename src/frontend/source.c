/* source.c: the table of readers, and which of them reads a file. */
#include "frontend/source.h"

static const lt_reader onnx = {.what = "ONNX models", .suffix = ".onnx", .first = "\x08"}; /* the tag of ir_version */

/* The first reads what no other claims. */
static const lt_reader *const readers[] = {&lt_text_reader, &onnx};

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

static void check_can_read(lt_job *job, const lt_reader *r, const char *file) {
  const lt_loc loc = {.file = file};
  if (!r->read)
    lt_fail(job, LATHE_E_UNSUPPORTED, &loc, "%s are not read yet\nhelp: write the network as a text (docs/language.md)",
            r->what);
}

static const char *folder_of(lt_arena *a, const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? lt_arena_strndup(a, path, (size_t)LT_MAX(slash - path, 1)) : NULL;
}

void lt_source_open(lt_source *out, lt_job *job, lt_arena *keep, const char *path) {
  *out =
    (lt_source){.reader = reader_of_name(path), .file = strcmp(path, "-") ? lt_arena_strdup(keep, path) : "<stdin>"};
  if (out->reader) check_can_read(job, out->reader, out->file); /* before a large file is read for nothing */
  out->folder = folder_of(keep, path);
  out->bytes = lt_file_read(job, keep, path, (out->reader ? out->reader : readers[0])->max_bytes);
  if (!out->reader) out->reader = reader_of_bytes(out->bytes);
  check_can_read(job, out->reader, out->file);
}

void lt_source_of_bytes(lt_source *out, lt_job *job, lt_arena *keep, lt_bytes bytes, const char *file) {
  *out = (lt_source){.reader = reader_of_name(file), .file = lt_arena_strdup(keep, file)};
  if (!out->reader) out->reader = reader_of_bytes(bytes);
  check_can_read(job, out->reader, out->file);
  out->bytes = (lt_bytes){(const unsigned char *)lt_arena_strndup(keep, (const char *)bytes.at, bytes.n), bytes.n};
}

lt_graph *lt_source_read(lt_job *job, const lt_source *s, const lt_read_options *o) {
  return s->reader->read(job, s, o);
}
