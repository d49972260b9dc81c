/* array.c: a file of one array → a checked view of its elements. A TensorProto's lie in its raw_data as they would in
 * memory, or as numbers of a field of their own, which are decoded. */
#include "frontend/onnx/array.h"

#include "base/npy.h"
#include "frontend/onnx/model.h"

/* How elements.h calls an element type; kind 0: it holds no numbers that it knows. */
static lt_element element_of(lt_onnx_type type) {
  switch ((int)type) {
  case LT_ONNX_FLOAT: case LT_ONNX_DOUBLE: case LT_ONNX_FLOAT16:
    return (lt_element){.kind = 'f', .size = type == LT_ONNX_FLOAT ? 4 : type == LT_ONNX_DOUBLE ? 8 : 2};
  case LT_ONNX_BFLOAT16: return (lt_element){.kind = 'e', .size = 2};
  case LT_ONNX_BOOL: return (lt_element){.kind = 'b', .size = 1};
  case LT_ONNX_INT8: case LT_ONNX_UINT8: return (lt_element){.kind = type == LT_ONNX_INT8 ? 'i' : 'u', .size = 1};
  case LT_ONNX_INT16: case LT_ONNX_UINT16: return (lt_element){.kind = type == LT_ONNX_INT16 ? 'i' : 'u', .size = 2};
  case LT_ONNX_INT32: case LT_ONNX_UINT32: return (lt_element){.kind = type == LT_ONNX_INT32 ? 'i' : 'u', .size = 4};
  case LT_ONNX_INT64: case LT_ONNX_UINT64: return (lt_element){.kind = type == LT_ONNX_INT64 ? 'i' : 'u', .size = 8};
  default: return (lt_element){0};
  }
}

static void lay(lt_elements *out, const lt_onnx_tensor *x, lt_element e) {
  *out = (lt_elements){.kind = e.kind, .size = e.size, .rank = (uint8_t)x->rank};
  memcpy(out->dim, x->dim, sizeof *x->dim * x->rank);
  lt_elements_lay(out); /* that it fits was checked with the tensor */
}

static void view(lt_elements *out, const lt_onnx_model *m, lt_arena *keep, const lt_onnx_tensor *x) {
  lt_element e = element_of(x->type);
  lt_dtype t;
  if (!e.kind) lt_wire_fail(&m->wire, x->at, "a tensor of %s holds no numbers", lt_onnx_type_name(x->type));
  if (x->external) lt_wire_fail(&m->wire, x->at, "the tensor's elements are in another file, which is not read here");
  lay(out, x, e);
  if (!x->count) return;
  if (x->has_raw) {
    if ((int64_t)x->raw.n != x->count * e.size)
      lt_wire_fail(&m->wire, x->at, "the tensor takes %lld bytes by its shape, and raw_data has %zu",
                   (long long)(x->count * e.size), x->raw.n);
    out->data = m->wire.bytes.at + x->raw.at;
    return;
  }
  if (!lt_onnx_dtype(x->type, &t))
    lt_wire_fail(&m->wire, x->at, "a tensor of %s is read from raw_data only", lt_onnx_type_name(x->type));
  lt_onnx_files none = {0};
  lt_type type = {.dtype = t, .rank = x->rank};
  memcpy(type.dim, x->dim, sizeof *x->dim * x->rank);
  out->data = lt_onnx_data(m, &none, keep, x, &type)->at;
}

static bool is_tensor(const char *path) {
  size_t n = strlen(path);
  return n > 3 && !strcmp(path + n - 3, ".pb");
}

void lt_array_read(lt_elements *out, lt_job *job, lt_arena *keep, const char *path, size_t max_bytes) {
  lt_bytes bytes = lt_file_read(job, keep, path, max_bytes);
  lt_onnx_model m = {.wire = {job, keep, path, bytes}};
  lt_onnx_tensor x;
  if (!is_tensor(path)) {
    lt_npy_parse(out, job, (lt_array_where){.file = path}, bytes);
    return;
  }
  lt_onnx_read_tensor(&m, &x);
  view(out, &m, keep, &x);
}
