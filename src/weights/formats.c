/* formats.c: which format a file is in, and what the formats share. */
#include "base/npy.h"
#include "weights/weights.h"

#include <inttypes.h>
#include <stdio.h>

/* A bound against broken or hostile files, far above any network's weights. */
static const size_t MAX_FILE = (size_t)1 << 40;

static const lt_weights_format *const formats[] = {&lt_format_npz, &lt_format_safetensors, &lt_format_torch};

/* ---- npz --------------------------------------------------------------------------------------------------------- */

static void read_npz(lt_weights *w) {
  lt_npz npz;
  lt_npz_parse(&npz, w->job, w->arena, w->path, w->file, MAX_FILE);
  w->at = LT_NEW_ARRAY(w->arena, lt_weight, npz.n + 1);
  w->n = npz.n;
  for (uint32_t i = 0; i < npz.n; i++)
    w->at[i] = (lt_weight){.key = npz.at[i].name, .array = npz.at[i].npy, .problem = npz.at[i].problem};
}

const lt_weights_format lt_format_npz = {.name = "npz", .endings = ".npz", .read = read_npz, .write = lt_npz_write};

/* ---- which format ------------------------------------------------------------------------------------------------ */

static bool ends_in(const char *path, size_t n, const char *endings) {
  for (const char *p = endings; *p; p += strspn(p, " ")) {
    size_t length = strcspn(p, " ");
    if (n > length && !memcmp(path + n - length, p, length)) return true;
    p += length;
  }
  return false;
}

static const lt_weights_format *by_name(const char *path, size_t n) {
  for (size_t i = 0; i < LT_COUNT(formats); i++)
    if (ends_in(path, n, formats[i]->endings)) return formats[i];
  return NULL;
}

/* Of an archive, the first member tells: NumPy's are NAME.npy. */
static const lt_weights_format *by_content(lt_bytes b) {
  bool archive = b.n > 30 && !memcmp(b.at, "PK\003\004", 4);
  size_t name = archive ? b.at[26] | (size_t)b.at[27] << 8 : 0;
  if (archive && name <= b.n - 30 && ends_in((const char *)b.at + 30, name, ".pkl /version /byteorder"))
    return &lt_format_torch;
  if (!archive && b.n > 8 && b.at[8] == '{') return &lt_format_safetensors;
  return b.n > 1 && b.at[0] == 0x80 ? &lt_format_torch : &lt_format_npz;
}

void lt_weights_parse(lt_weights *out, lt_job *job, lt_arena *a, const lt_weights_format *format, const char *path,
                      lt_bytes file) {
  const char *part = out->part;
  *out = (lt_weights){.job = job, .arena = a, .format = format, .path = path, .part = part, .file = file};
  format->read(out);
}

const char *lt_weights_file(lt_arena *a, const char *path, const char **part) {
  const char *colon = strrchr(path, ':');
  bool two = colon && colon[1] && by_name(path, (size_t)(colon - path)) == &lt_format_torch;
  if (part) *part = two ? colon + 1 : NULL;
  return two ? lt_arena_strndup(a, path, (size_t)(colon - path)) : path;
}

void lt_weights_open(lt_weights *out, lt_job *job, lt_arena *a, const char *path) {
  *out = (lt_weights){0};
  path = lt_weights_file(a, path, &out->part);
  const lt_weights_format *format = by_name(path, strlen(path));
  const char *why = NULL;
  lt_mapping *mapping = strcmp(path, "-") ? lt_file_share(a, path, MAX_FILE, &why) : NULL;
  lt_bytes file = mapping ? mapping->bytes : lt_file_read(job, a, path, MAX_FILE); /* which says why not */
  lt_weights_parse(out, job, a, format ? format : by_content(file), path, file);
  out->mapping = mapping;
}

const lt_weights_format *lt_weights_format_to_write(lt_job *job, const char *path) {
  const lt_weights_format *f = by_name(path, strlen(path));
  if (f && !f->write)
    lt_fail(job, LATHE_E_UNSUPPORTED, NULL,
            "%s: PyTorch's files are only read\nhelp: write F.safetensors; in Python, "
            "safetensors.torch.load_file(F) reads it",
            path);
  return f ? f : &lt_format_npz;
}

/* ---- for all of them --------------------------------------------------------------------------------------------- */

void lt_weights_fail(lt_weights *w, int status, const char *fmt, ...) {
  lt_loc loc = {w->path, 0, 0};
  va_list ap;
  va_start(ap, fmt);
  lt_failv(w->job, status, &loc, fmt, ap);
}

void lt_weights_fetch(lt_weights *w, lt_weight *x) {
  if (x->problem) lt_weights_fail(w, LATHE_E_UNSUPPORTED, "%s", x->problem);
  if (w->format->fetch) w->format->fetch(w, x);
}

const char *lt_weight_text(lt_arena *a, const lt_weight *x) {
  char kind[16];
  lt_str s;
  lt_str_init(&s, a);
  lt_str_printf(&s, "%s[", x->array.kind ? lt_elements_kind(&x->array, kind) : x->type ? x->type : "?");
  for (unsigned i = 0; i < x->array.rank; i++) lt_str_printf(&s, "%s%" PRId64, i ? ", " : "", x->array.dim[i]);
  lt_str_puts(&s, "]");
  return s.at;
}
