/* tensor.c: where a tensor's elements stand → constant data. What lies in a mapped file as it would in memory is a
 * range of it; numbers in varints, models in memory, and small tensors are decoded or copied. */
#include "frontend/onnx/model.h"

enum { SMALL = 256 }; /* bytes below which a copy costs less than the reference to a file, and reads better in a dump */

const char *lt_onnx_tensor_text(lt_arena *a, const lt_onnx_tensor *x) {
  if (!x->at) return "the tensor"; /* the file is nothing else */
  return x->name[0] ? lt_arena_printf(a, "initializer `%.200s`", x->name)
                    : lt_arena_printf(a, "the constant at byte %zu", x->at);
}

/* ---- elements in fields of their own ----------------------------------------------------------------------------- */

typedef struct decoder {
  const lt_onnx_model *m;
  const lt_onnx_tensor *x;
  lt_dtype dtype;
  unsigned char *to;
  int64_t n; /* so far */
} decoder;

static void put(void *ctx, uint64_t bits) {
  decoder *d = ctx;
  size_t size = lt_dtype_size(d->dtype);
  if (d->n < d->x->count) {
    if (d->dtype == LT_BOOL) bits = bits != 0;
    if (d->dtype == LT_I32 && (int64_t)bits != (int32_t)bits)
      lt_wire_fail(&d->m->wire, d->x->at, "%s: %lld is out of range for int32",
                   lt_onnx_tensor_text(d->m->wire.arena, d->x), (long long)bits);
    memcpy(d->to + (size_t)d->n * size, &bits, size); /* little endian, as data.c requires */
  }
  d->n++;
}

/* The field that holds elements of a type, and how it holds them. */
static uint32_t typed_field(lt_dtype t, lt_wire_kind *kind) {
  switch (t) {
  case LT_F32: return *kind = LT_WIRE_32, 4;
  case LT_F64: return *kind = LT_WIRE_64, 10;
  case LT_I32: case LT_BOOL: return *kind = LT_WIRE_VARINT, 5;
  case LT_I64: return *kind = LT_WIRE_VARINT, 7;
  case LT_DTYPES: break;
  }
  return 0;
}

LT_NORETURN static void fail_count(const lt_onnx_model *m, const lt_onnx_tensor *x, int64_t has, const char *what) {
  lt_wire_fail(&m->wire, x->at, "%s has %lld elements by its shape, and %s hold%s %lld",
               lt_onnx_tensor_text(m->wire.arena, x), (long long)x->count, what, what[0] == 't' ? "s" : "",
               (long long)has);
}

/* Every element takes at least a byte of the message: what it cannot hold is not allocated. */
static const lt_data *decode(const lt_onnx_model *m, lt_arena *keep, const lt_onnx_tensor *x, const lt_type *t) {
  lt_wire_kind kind = LT_WIRE_VARINT;
  uint32_t field = typed_field(t->dtype, &kind);
  if (x->typed && x->typed != field)
    lt_wire_fail(&m->wire, x->at, "%s is of %s and has its elements in field %u, not %u",
                 lt_onnx_tensor_text(m->wire.arena, x), lt_onnx_type_name(x->type), x->typed, field);
  if ((uint64_t)x->count > x->message.n) fail_count(m, x, 0, "its fields");
  lt_arena *scratch = lt_arena_new(m->wire.job);
  decoder d = {m, x, t->dtype, lt_arena_zalloc(scratch, (size_t)lt_type_bytes(t)), 0};
  lt_wire_cursor c = {&m->wire, "TensorProto", x->message.at, x->message.at + x->message.n, 8};
  lt_wire_field f;
  while (lt_wire_next(&c, &f))
    if (f.number == field) lt_wire_numbers(&c, &f, kind, "elements", put, &d);
  if (d.n != x->count) fail_count(m, x, d.n, "its fields");
  return lt_data_new(keep, t, d.to);
}

/* ---- elements as they are in memory ------------------------------------------------------------------------------ */

static const lt_data *range_of_model(const lt_onnx_model *m, const lt_onnx_files *files, lt_arena *keep,
                                     const lt_type *t, size_t at) {
  if (!files->mapping || lt_type_bytes(t) < SMALL) return lt_data_new(keep, t, m->wire.bytes.at + at);
  return lt_data_part(keep, t, files->mapping, files->own, files->path, (int64_t)at);
}

static lt_mapping *open_external(const lt_onnx_model *m, lt_onnx_files *files, const lt_onnx_tensor *x) {
  const char *why, *what = lt_onnx_tensor_text(m->wire.arena, x);
  uintptr_t found;
  if (!x->location) lt_wire_fail(&m->wire, x->at, "%s is in another file, and no location says which", what);
  if (lt_map_gets(&files->opened, x->location, &found)) return (lt_mapping *)found;
  lt_mapping *f = lt_onnx_open_external(m->wire.arena, files->folder, x->location, &why);
  if (!f) {
    const lt_loc loc = {.file = m->wire.file};
    lt_fail(m->wire.job, LATHE_E_IO, &loc, "%s: %s", what, why);
  }
  lt_map_puts(m->wire.arena, &files->opened, x->location, (uintptr_t)f);
  return f;
}

/* Checked before anything is made of it: the range lies in the file and has just the elements. */
static const lt_data *external(const lt_onnx_model *m, lt_onnx_files *files, lt_arena *keep, const lt_onnx_tensor *x,
                               const lt_type *t) {
  const lt_mapping *f = open_external(m, files, x);
  int64_t bytes = lt_type_bytes(t), size = (int64_t)f->bytes.n;
  const lt_loc loc = {.file = m->wire.file};
  const char *what = lt_onnx_tensor_text(m->wire.arena, x);
  if (x->length >= 0 && x->length != bytes)
    lt_fail(m->wire.job, LATHE_E_INVALID, &loc, "%s takes %lld bytes, and its length in %s is %lld", what,
            (long long)bytes, x->location, (long long)x->length);
  if (x->offset > size || bytes > size - x->offset)
    lt_fail(m->wire.job, LATHE_E_INVALID, &loc, "%s: %s has %lld bytes, too few for %lld at offset %lld", what,
            lt_path_join(m->wire.arena, files->folder, x->location), (long long)size, (long long)bytes,
            (long long)x->offset);
  if (bytes < SMALL) return lt_data_new(keep, t, f->bytes.at + x->offset);
  return lt_data_part(keep, t, (lt_mapping *)f, x->location, lt_path_join(m->wire.arena, files->folder, x->location),
                      x->offset);
}

/* float_data and double_data of one packed field are such ranges too. */
static bool packed(const lt_onnx_model *m, const lt_onnx_tensor *x, const lt_type *t, size_t *at) {
  lt_wire_kind kind;
  lt_wire_cursor c = {&m->wire, "TensorProto", x->message.at, x->message.at + x->message.n, 8};
  lt_wire_field f;
  uint32_t field = typed_field(t->dtype, &kind);
  unsigned fields = 0;
  if (kind == LT_WIRE_VARINT || x->typed != field) return false;
  while (lt_wire_next(&c, &f)) {
    if (f.number != field) continue;
    if (f.kind != LT_WIRE_BYTES || f.span.n != (size_t)lt_type_bytes(t)) return false;
    *at = f.span.at;
    fields++;
  }
  return fields == 1;
}

const lt_data *lt_onnx_data(const lt_onnx_model *m, lt_onnx_files *files, lt_arena *keep, const lt_onnx_tensor *x,
                            const lt_type *t) {
  size_t at;
  if (x->external) return external(m, files, keep, x, t);
  if (x->has_raw) {
    if ((int64_t)x->raw.n != lt_type_bytes(t))
      lt_wire_fail(&m->wire, x->at, "%s takes %lld bytes by its shape, and raw_data has %zu",
                   lt_onnx_tensor_text(m->wire.arena, x), (long long)lt_type_bytes(t), x->raw.n);
    return range_of_model(m, files, keep, t, x->raw.at);
  }
  if (packed(m, x, t, &at)) return range_of_model(m, files, keep, t, at);
  return decode(m, keep, x, t);
}
