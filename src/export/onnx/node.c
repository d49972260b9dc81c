/* node.c: nodes of ONNX, their attributes, and the small constants that they take as operands. */
#include "export/onnx/writer.h"

#include <inttypes.h>

/* ---- names ------------------------------------------------------------------------------------------------------- */

static const char *unique(lt_ow *w, lt_map *taken, const char *base) {
  const char *name = base;
  for (unsigned i = 1; lt_map_gets(taken, name, NULL); i++) name = lt_arena_printf(w->arena, "%s.%u", base, i);
  lt_map_puts(w->arena, taken, name, 1);
  return name;
}

const char *lt_ow_fresh(lt_ow *w, const char *base) { return unique(w, &w->names, base); }
const char *lt_ow_in(const lt_ow *w, unsigned i) { return i < w->n->n_in ? w->name[w->n->in[i]] : ""; }
const char *lt_ow_out(const lt_ow *w) { return w->name[w->n->out]; }

/* ---- NodeProto --------------------------------------------------------------------------------------------------- */

enum { NODE_INPUT = 1, NODE_OUTPUT, NODE_NAME, NODE_OP, NODE_ATTRIBUTE };
enum { ATTR_NAME = 1, ATTR_F = 2, ATTR_I = 3, ATTR_S = 4, ATTR_INTS = 8, ATTR_TYPE = 20 };
enum { TYPE_FLOAT = 1, TYPE_INT = 2, TYPE_STRING = 3, TYPE_INTS = 7 };

void lt_ow_begin(lt_ow *w, const char *op) {
  lt_str_init(&w->node, w->arena);
  lt_wire_put_text(&w->node, NODE_OP, op);
}

/* Its layer's name, else that of what it gives. */
static void put_name(lt_ow *w, const char *out) {
  const char *label = w->n && w->n->label ? w->n->label : out;
  bool whole = !w->n || !strcmp(out, lt_ow_out(w));
  if (!whole && w->n->label) label = lt_arena_printf(w->arena, "%s.part", label);
  lt_wire_put_text(&w->node, NODE_NAME, unique(w, &w->node_names, label));
}

void lt_ow_arg(lt_ow *w, const char *name) { lt_wire_put_text(&w->node, NODE_INPUT, name); }
void lt_ow_result(lt_ow *w, const char *name) { lt_wire_put_text(&w->node, NODE_OUTPUT, name); }

static lt_str attribute(lt_ow *w, const char *name, int type) {
  lt_str a;
  lt_str_init(&a, w->arena);
  lt_wire_put_text(&a, ATTR_NAME, name);
  lt_wire_put_int(&a, ATTR_TYPE, type);
  return a;
}

void lt_ow_int(lt_ow *w, const char *name, int64_t v) {
  lt_str a = attribute(w, name, TYPE_INT);
  lt_wire_put_int(&a, ATTR_I, v);
  lt_wire_put_message(&w->node, NODE_ATTRIBUTE, &a);
}

void lt_ow_float(lt_ow *w, const char *name, double v) {
  lt_str a = attribute(w, name, TYPE_FLOAT);
  lt_wire_put_float(&a, ATTR_F, (float)v);
  lt_wire_put_message(&w->node, NODE_ATTRIBUTE, &a);
}

void lt_ow_ints(lt_ow *w, const char *name, const int64_t *v, int64_t n) {
  lt_str a = attribute(w, name, TYPE_INTS);
  for (int64_t i = 0; i < n; i++) lt_wire_put_int(&a, ATTR_INTS, v[i]);
  lt_wire_put_message(&w->node, NODE_ATTRIBUTE, &a);
}

void lt_ow_text(lt_ow *w, const char *name, const char *text) {
  lt_str a = attribute(w, name, TYPE_STRING);
  lt_wire_put_text(&a, ATTR_S, text);
  lt_wire_put_message(&w->node, NODE_ATTRIBUTE, &a);
}

const char *lt_ow_end(lt_ow *w, const char *out) {
  const char *name = out ? out : lt_ow_fresh(w, lt_arena_printf(w->arena, "%s.part", lt_ow_out(w)));
  lt_ow_result(w, name);
  put_name(w, name);
  lt_wire_put_message(&w->nodes, 1, &w->node);
  return name;
}

/* ---- constants --------------------------------------------------------------------------------------------------- */

int lt_ow_type(lt_dtype t) {
#define TYPE(name, number, dtype, bits)                                                                                \
  if (dtype == t && dtype != LT_DTYPES) return number;
#include "frontend/onnx/onnx_types.def"
  return 0;
}

/* Named after what it holds: `i64[2]: 1, 3`. */
static const char *name_of(lt_ow *w, const lt_data *d) {
  lt_str s;
  lt_str_init(&s, w->arena);
  lt_str_printf(&s, "%s", lt_type_text(w->arena, &d->type));
  for (int64_t i = 0; i < lt_type_count(&d->type); i++) {
    lt_str_puts(&s, i ? "," : ":");
    if (lt_is_float(d->type.dtype)) lt_str_double(&s, lt_data_at(d, i));
    else lt_str_printf(&s, "%.0f", lt_data_at(d, i));
    if (s.n > 40) break;
  }
  return lt_ow_fresh(w, s.at);
}

const char *lt_ow_constant(lt_ow *w, const lt_type *t, const void *elements) {
  const lt_data *d = lt_data_new(w->arena, t, elements);
  const char *type = lt_type_text(w->arena, t);
  size_t n = strlen(type), bytes = (size_t)d->bytes;
  char *key = lt_arena_alloc(w->arena, n + bytes);
  uintptr_t found;
  memcpy(key, type, n), memcpy(key + n, d->at, bytes);
  if (lt_map_get(&w->constants, key, n + bytes, &found)) return (const char *)found;
  const char *name = name_of(w, d);
  lt_ow_tensor x = {.name = name, .type = *t, .at = d->at};
  lt_vec_push(w->arena, &w->tensors, x);
  lt_map_put(w->arena, &w->constants, key, n + bytes, (uintptr_t)name);
  return name;
}

const char *lt_ow_list(lt_ow *w, const int64_t *v, int64_t n) {
  const lt_type t = {.dtype = LT_I64, .rank = 1, .dim = {n}};
  return lt_ow_constant(w, &t, v);
}

const char *lt_ow_number(lt_ow *w, lt_dtype t, double v) {
  const lt_type type = lt_scalar(t);
  lt_tensor *x = lt_tensor_new(w->arena, &type);
  lt_tensor_set(x, 0, v);
  return lt_ow_constant(w, &type, lt_data_of(w->arena, x)->at);
}
