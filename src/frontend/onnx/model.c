/* model.c: the file's messages → lt_onnx_model. One function per message of onnx.proto, each a walk over the fields
 * that are needed; numbers of fields are the standard's. */
#include "frontend/onnx/model.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum { OP_NAME = 256 }; /* bytes of an op's name, and of a domain */

/* Before they are made. */
static void weigh(lt_onnx_model *m, size_t at, uint64_t bytes) {
  m->bytes += bytes;
  if (m->bytes > LT_ONNX_BYTES)
    lt_wire_fail(&m->wire, at, "the model's nodes, names and attributes take more than %d bytes", (int)LT_ONNX_BYTES);
}

/* A list of just so many. */
static void *list_of(lt_onnx_model *m, size_t at, uint32_t n, size_t size) {
  weigh(m, at, (uint64_t)n * size);
  return n ? lt_arena_array(m->wire.arena, n, size) : NULL;
}
#define LIST(m, at_, v, n_) ((v)->at = list_of((m), (at_), (n_), sizeof *(v)->at), (v)->cap = (n_))

static const char *take_text(lt_onnx_model *m, const lt_wire_cursor *c, const lt_wire_field *f, const char *what,
                             size_t max) {
  weigh(m, f->at, f->span.n + 16);
  return lt_wire_text(c, f, what, max);
}

/* ---- element types ----------------------------------------------------------------------------------------------- */

static const struct { const char *name; lt_dtype dtype; } types[LT_ONNX_TYPES] = {
#define TYPE(name, number, dtype, bits) [number] = {#name, dtype},
#include "frontend/onnx/onnx_types.def"
};

const char *lt_onnx_type_name(int64_t type) {
  return type > 0 && type < LT_ONNX_TYPES ? types[type].name : "an element type that the standard does not know";
}

/* What is no type of the standard is LT_ONNX_TYPES, however large its number. */
static lt_onnx_type type_numbered(int64_t n) {
  return n >= LT_ONNX_NONE && n < LT_ONNX_TYPES ? (lt_onnx_type)n : LT_ONNX_TYPES;
}

bool lt_onnx_dtype(lt_onnx_type type, lt_dtype *out) {
  if (type <= LT_ONNX_NONE || type >= LT_ONNX_TYPES || types[type].dtype == LT_DTYPES) return false;
  *out = types[type].dtype;
  return true;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static void put_dim(void *ctx, uint64_t bits) {
  lt_onnx_tensor *x = ctx;
  if (x->rank < LT_MAX_RANK) x->dim[x->rank] = (int64_t)bits;
  x->rank++;
}

static int64_t decimal(lt_wire_cursor *c, const lt_wire_field *f, const char *key, const char *text) {
  int64_t v = 0;
  bool ok = *text != 0;
  for (const char *p = text; *p && ok; p++)
    ok = isdigit((unsigned char)*p) && lt_mul_ok(&v, v, 10) && lt_add_ok(&v, v, *p - '0');
  if (!ok) lt_wire_fail(c->w, f->at, "external_data: %s is `%.40s`, not a whole number", key, text);
  return v;
}

/* One StringStringEntryProto of external_data. */
static void read_external(lt_onnx_model *m, lt_onnx_tensor *x, const lt_wire_cursor *c, const lt_wire_field *f) {
  lt_wire_cursor e = lt_wire_enter(c, f, "external_data");
  lt_wire_field k;
  const char *key = "", *value = "";
  while (lt_wire_next(&e, &k)) {
    if (k.number == 1) key = take_text(m, &e, &k, "key", 64);
    if (k.number == 2) value = take_text(m, &e, &k, "value", LT_ONNX_NAME);
  }
  if (!strcmp(key, "location")) x->location = value;
  else if (!strcmp(key, "offset")) x->offset = decimal(&e, f, key, value);
  else if (!strcmp(key, "length")) x->length = decimal(&e, f, key, value);
  else if (strcmp(key, "checksum")) lt_wire_fail(c->w, f->at, "external_data has no key `%.40s`", key);
}

static void check_shape(const lt_wire *w, lt_onnx_tensor *x) {
  if (x->rank > LT_MAX_RANK)
    lt_wire_fail(w, x->at, "%s has %u dimensions, at most %d are allowed", lt_onnx_tensor_text(w->arena, x), x->rank,
                 (int)LT_MAX_RANK);
  x->count = 1;
  for (unsigned i = 0; i < x->rank; i++)
    if (x->dim[i] < 0 || !lt_mul_ok(&x->count, x->count, x->dim[i]) || x->count > INT64_MAX / 16)
      lt_wire_fail(w, x->at, "the size of %s makes no sense", lt_onnx_tensor_text(w->arena, x));
}

static void read_tensor_at(lt_onnx_model *m, lt_onnx_tensor *x, lt_wire_cursor t, size_t at) {
  lt_wire_field f;
  *x = (lt_onnx_tensor){.name = "", .at = at, .message = {t.next, t.end - t.next}, .length = -1};
  while (lt_wire_next(&t, &f)) {
    switch (f.number) {
    case 1: lt_wire_numbers(&t, &f, LT_WIRE_VARINT, "dims", put_dim, x); break;
    case 2: x->type = type_numbered(lt_wire_int(&t, &f, "data_type")); break;
    case 3: lt_wire_fail(&m->wire, f.at, "a tensor in segments is not read"); break;
    case 4: case 5: case 6: case 7: case 10: case 11:
      if (x->typed && x->typed != f.number) lt_wire_fail(&m->wire, f.at, "a tensor has its elements twice");
      x->typed = f.number;
      break;
    case 8: x->name = take_text(m, &t, &f, "name", LT_ONNX_NAME); break;
    case 9: x->raw = lt_wire_bytes(&t, &f, "raw_data"), x->has_raw = true; break;
    case 13: read_external(m, x, &t, &f); break;
    case 14: x->external = lt_wire_int(&t, &f, "data_location") == 1; break;
    default: break;
    }
  }
  check_shape(&m->wire, x);
}

static void read_tensor(lt_onnx_model *m, lt_onnx_tensor *x, const lt_wire_cursor *c, const lt_wire_field *field) {
  read_tensor_at(m, x, lt_wire_enter(c, field, "TensorProto"), field->at);
}

void lt_onnx_read_tensor(lt_onnx_model *m, lt_onnx_tensor *x) {
  read_tensor_at(m, x, lt_wire_start(&m->wire, "TensorProto"), 0);
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

typedef struct numbers { lt_onnx_model *m; lt_onnx_attr *a; } numbers;

static void check_numbers(const numbers *n) {
  weigh(n->m, n->a->at, 2 * sizeof(int64_t)); /* a list that grows */
  if (n->a->ints.n + n->a->floats.n + n->a->strings.n >= LT_ONNX_NUMBERS)
    lt_wire_fail(&n->m->wire, n->a->at, "an attribute has more than %d numbers", (int)LT_ONNX_NUMBERS);
}

static void put_int(void *ctx, uint64_t bits) {
  numbers *n = ctx;
  check_numbers(n);
  lt_vec_push(n->m->wire.arena, &n->a->ints, (int64_t)bits);
}

static void put_float(void *ctx, uint64_t bits) {
  numbers *n = ctx;
  uint32_t low = (uint32_t)bits;
  float v;
  check_numbers(n);
  memcpy(&v, &low, sizeof v);
  lt_vec_push(n->m->wire.arena, &n->a->floats, v);
}

/* Files before version 2 do not say the kind: the field that is there does. */
static void seen(lt_onnx_model *m, lt_onnx_attr *a, lt_onnx_attr_kind kind) {
  if (a->kind && a->kind != kind) lt_wire_fail(&m->wire, a->at, "an attribute has values of two kinds");
  a->kind = kind;
}

/* 1e-05 was written, not the nearest float: the shortest number that is this float was meant. */
static double decimal_of(float v) {
  char text[32];
  for (int digits = 1; digits <= 9; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, (double)v);
    if (strtof(text, NULL) == v) return strtod(text, NULL);
  }
  return (double)v;
}

static void read_attr(lt_onnx_model *m, lt_onnx_attr *a, const lt_wire_cursor *c, const lt_wire_field *field) {
  lt_wire_cursor t = lt_wire_enter(c, field, "AttributeProto");
  lt_wire_field f;
  numbers n = {m, a};
  int64_t kind = 0;
  *a = (lt_onnx_attr){.name = "", .at = field->at, .s = ""};
  while (lt_wire_next(&t, &f)) {
    switch (f.number) {
    case 1: a->name = take_text(m, &t, &f, "name", LT_ONNX_NAME); break;
    case 2: a->f = decimal_of(lt_wire_float(&t, &f, "f")), seen(m, a, LT_ONNX_A_FLOAT); break;
    case 3: a->i = lt_wire_int(&t, &f, "i"), seen(m, a, LT_ONNX_A_INT); break;
    case 4: /* any bytes: a string only where it is one */
      if (memchr(m->wire.bytes.at + f.span.at, 0, lt_wire_bytes(&t, &f, "s").n)) a->s = "";
      else
        weigh(m, f.at, LT_MIN(f.span.n, 4096u) + 16),
          a->s = lt_arena_strndup(m->wire.arena, (const char *)m->wire.bytes.at + f.span.at, LT_MIN(f.span.n, 4096u));
      seen(m, a, LT_ONNX_A_STRING);
      break;
    case 5:
      weigh(m, f.at, sizeof *a->tensor);
      a->tensor = LT_NEW(m->wire.arena, lt_onnx_tensor);
      read_tensor(m, a->tensor, &t, &f), seen(m, a, LT_ONNX_A_TENSOR);
      break;
    case 6: a->graph = lt_wire_bytes(&t, &f, "g"), seen(m, a, LT_ONNX_A_GRAPH); break;
    case 7: lt_wire_numbers(&t, &f, LT_WIRE_32, "floats", put_float, &n), seen(m, a, LT_ONNX_A_FLOATS); break;
    case 8: lt_wire_numbers(&t, &f, LT_WIRE_VARINT, "ints", put_int, &n), seen(m, a, LT_ONNX_A_INTS); break;
    case 9:
      check_numbers(&n);
      lt_vec_push(m->wire.arena, &a->strings, take_text(m, &t, &f, "strings", 256));
      seen(m, a, LT_ONNX_A_STRINGS);
      break;
    case 21: a->ref = take_text(m, &t, &f, "ref_attr_name", LT_ONNX_NAME); break;
    case 20: kind = lt_wire_int(&t, &f, "type"); break;
    default: break;
    }
  }
  if (!a->name[0]) lt_wire_fail(&m->wire, field->at, "an attribute has no name");
  if (kind && a->kind && a->kind != kind)
    lt_wire_fail(&m->wire, field->at, "the attribute `%.60s` is said to be of type %lld and has a value of type %lld",
                 a->name, (long long)kind, (long long)a->kind);
  if (kind) a->kind = kind;
}

static bool says(const lt_onnx_model *m, lt_span where, const char *text) {
  return memmem(m->wire.bytes.at + where.at, where.n, text, strlen(text)) != NULL;
}

/* PyTorch's exporter notes the rules that it has rewritten a node by: "FuseBatchNormIntoConv, …". */
static bool tells_of_folding(lt_onnx_model *m, const lt_wire_cursor *c, const lt_wire_field *f) {
  lt_wire_cursor e = lt_wire_enter(c, f, "metadata_props");
  lt_wire_field k;
  bool rules = false, folded = false;
  while (lt_wire_next(&e, &k)) {
    if (k.number == 1) rules = says(m, lt_wire_bytes(&e, &k, "key"), "rewriter.rule_name");
    if (k.number == 2) folded = says(m, lt_wire_bytes(&e, &k, "value"), "FuseBatchNorm");
  }
  return rules && folded;
}

static void read_node(lt_onnx_model *m, lt_onnx_graph *g, const lt_wire_cursor *c, const lt_wire_field *field) {
  lt_wire_cursor t = lt_wire_enter(c, field, "NodeProto");
  lt_wire_field f;
  lt_onnx_node n = {.name = "", .op = "", .domain = "", .at = field->at};
  lt_arena *arena = m->wire.arena;
  lt_onnx_attr a;
  uint32_t count[6] = {0};
  lt_wire_count(t, count, LT_COUNT(count));
  LIST(m, n.at, &n.in, count[1]), LIST(m, n.at, &n.out, count[2]), LIST(m, n.at, &n.attrs, count[5]);
  while (lt_wire_next(&t, &f)) {
    switch (f.number) {
    case 1: lt_vec_push(arena, &n.in, take_text(m, &t, &f, "input", LT_ONNX_NAME)); break;
    case 2: lt_vec_push(arena, &n.out, take_text(m, &t, &f, "output", LT_ONNX_NAME)); break;
    case 3: n.name = take_text(m, &t, &f, "name", LT_ONNX_NAME); break;
    case 4: n.op = take_text(m, &t, &f, "op_type", OP_NAME); break;
    case 5: read_attr(m, &a, &t, &f); lt_vec_push(arena, &n.attrs, a); break;
    case 7: n.domain = take_text(m, &t, &f, "domain", OP_NAME); break;
    case 9: n.folded |= tells_of_folding(m, &t, &f); break;
    default: break;
    }
  }
  if (!n.op[0]) lt_wire_fail(&m->wire, field->at, "a node has no op_type");
  if (!n.out.n) lt_wire_fail(&m->wire, field->at, "a node of %s has no output", n.op);
  if (!strcmp(n.domain, "ai.onnx")) n.domain = "";
  lt_vec_push(arena, &g->nodes, n);
}

/* ---- inputs and outputs ------------------------------------------------------------------------------------------ */

static void read_dim(lt_onnx_model *m, lt_onnx_port *p, const lt_wire_cursor *c, const lt_wire_field *field) {
  lt_wire_cursor t = lt_wire_enter(c, field, "Dimension");
  lt_wire_field f;
  lt_onnx_dim d = {.value = -1};
  while (lt_wire_next(&t, &f)) {
    if (f.number == 1) d.value = lt_wire_int(&t, &f, "dim_value");
    if (f.number == 2) d.name = take_text(m, &t, &f, "dim_param", LT_ONNX_NAME);
  }
  if (d.name && !d.name[0]) d.name = NULL;
  if (p->rank < LT_MAX_RANK) p->dim[p->rank] = d;
  p->rank++;
}

static void read_shape(lt_onnx_model *m, lt_onnx_port *p, const lt_wire_cursor *c, const lt_wire_field *field) {
  lt_wire_cursor t = lt_wire_enter(c, field, "TensorShapeProto");
  lt_wire_field f;
  p->shaped = true;
  while (lt_wire_next(&t, &f))
    if (f.number == 1) read_dim(m, p, &t, &f);
}

static void read_type(lt_onnx_model *m, lt_onnx_port *p, const lt_wire_cursor *c, const lt_wire_field *field) {
  static const char *const kinds[] = {[4] = "a sequence", [5] = "a map", [8] = "a sparse tensor", [9] = "an optional"};
  lt_wire_cursor t = lt_wire_enter(c, field, "TypeProto");
  lt_wire_field f, k;
  while (lt_wire_next(&t, &f)) {
    if (f.number < LT_COUNT(kinds) && kinds[f.number]) p->what = kinds[f.number];
    if (f.number != 1) continue;
    lt_wire_cursor x = lt_wire_enter(&t, &f, "TypeProto.Tensor");
    while (lt_wire_next(&x, &k)) {
      if (k.number == 1) p->type = type_numbered(lt_wire_int(&x, &k, "elem_type"));
      if (k.number == 2) read_shape(m, p, &x, &k);
    }
  }
}

static lt_onnx_port read_port(lt_onnx_model *m, const lt_wire_cursor *c, const lt_wire_field *field) {
  lt_wire_cursor t = lt_wire_enter(c, field, "ValueInfoProto");
  lt_wire_field f;
  lt_onnx_port p = {.name = "", .at = field->at};
  while (lt_wire_next(&t, &f)) {
    if (f.number == 1) p.name = take_text(m, &t, &f, "name", LT_ONNX_NAME);
    if (f.number == 2) read_type(m, &p, &t, &f);
  }
  if (!p.name[0]) lt_wire_fail(&m->wire, field->at, "an input or output has no name");
  if (p.rank > LT_MAX_RANK)
    lt_wire_fail(&m->wire, field->at, "`%.80s` has %u dimensions, at most %d are allowed", p.name, p.rank,
                 (int)LT_MAX_RANK);
  return p;
}

/* ---- graph, model ------------------------------------------------------------------------------------------------ */

static void read_graph(lt_onnx_model *m, lt_onnx_graph *g, lt_wire_cursor t) {
  lt_wire_field f;
  lt_arena *arena = m->wire.arena;
  lt_onnx_tensor x;
  uint32_t count[13] = {0};
  g->name = "";
  lt_wire_count(t, count, LT_COUNT(count));
  LIST(m, t.next, &g->nodes, count[1]), LIST(m, t.next, &g->tensors, count[5]);
  LIST(m, t.next, &g->inputs, count[11]), LIST(m, t.next, &g->outputs, count[12]);
  while (lt_wire_next(&t, &f)) {
    switch (f.number) {
    case 1: read_node(m, g, &t, &f); break;
    case 2: g->name = take_text(m, &t, &f, "name", LT_ONNX_NAME); break;
    case 5: read_tensor(m, &x, &t, &f); lt_vec_push(arena, &g->tensors, x); break;
    case 11: lt_vec_push(arena, &g->inputs, read_port(m, &t, &f)); break;
    case 12: lt_vec_push(arena, &g->outputs, read_port(m, &t, &f)); break;
    case 15: g->sparse = f.at; break;
    default: break;
    }
  }
}

void lt_onnx_read_graph(lt_onnx_model *m, lt_onnx_graph *g, lt_span where) {
  *g = (lt_onnx_graph){0};
  read_graph(m, g, (lt_wire_cursor){&m->wire, "GraphProto", where.at, where.at + where.n, 8});
}

static lt_onnx_opset read_opset(lt_onnx_model *m, const lt_wire_cursor *c, const lt_wire_field *field) {
  lt_wire_cursor t = lt_wire_enter(c, field, "OperatorSetIdProto");
  lt_wire_field f;
  lt_onnx_opset o = {.domain = ""};
  while (lt_wire_next(&t, &f)) {
    if (f.number == 1) o.domain = take_text(m, &t, &f, "domain", OP_NAME);
    if (f.number == 2) o.version = lt_wire_int(&t, &f, "version");
  }
  if (!strcmp(o.domain, "ai.onnx")) o.domain = "";
  weigh(m, field->at, 2 * sizeof o);
  return o;
}

typedef char function_key[2 * OP_NAME + 2];

static size_t key_of(function_key out, const char *domain, const char *name) {
  return (size_t)snprintf(out, sizeof(function_key), "%s\n%s", domain, name);
}

const lt_onnx_function *lt_onnx_function_named(const lt_onnx_model *m, const char *domain, const char *name) {
  function_key key;
  uintptr_t i;
  if (!m->functions.n) return NULL;
  return lt_map_get(&m->by_name, key, key_of(key, domain, name), &i) ? &m->functions.at[i] : NULL;
}

static void add_function(lt_onnx_model *m, const lt_onnx_function *f, size_t at) {
  function_key key;
  size_t n = key_of(key, f->domain, f->name);
  if (lt_onnx_function_named(m, f->domain, f->name))
    lt_wire_fail(&m->wire, at, "the model defines the function `%.60s` twice; overloads are not told apart", f->name);
  lt_map_put(m->wire.arena, &m->by_name, lt_arena_strndup(m->wire.arena, key, n), n, m->functions.n);
  lt_vec_push(m->wire.arena, &m->functions, *f);
}

static void read_function(lt_onnx_model *m, const lt_wire_cursor *c, const lt_wire_field *field) {
  lt_wire_cursor t = lt_wire_enter(c, field, "FunctionProto");
  lt_arena *arena = m->wire.arena;
  lt_wire_field f;
  lt_onnx_function to = {.name = "", .domain = ""};
  lt_onnx_attr a;
  uint32_t count[12] = {0};
  lt_wire_count(t, count, LT_COUNT(count));
  LIST(m, field->at, &to.in, count[4]), LIST(m, field->at, &to.out, count[5]), LIST(m, field->at, &to.attrs, count[6]);
  LIST(m, field->at, &to.body.nodes, count[7]), LIST(m, field->at, &to.defaults, count[11]);
  while (lt_wire_next(&t, &f)) {
    switch (f.number) {
    case 1: to.name = take_text(m, &t, &f, "name", OP_NAME); break;
    case 4: lt_vec_push(arena, &to.in, take_text(m, &t, &f, "input", LT_ONNX_NAME)); break;
    case 5: lt_vec_push(arena, &to.out, take_text(m, &t, &f, "output", LT_ONNX_NAME)); break;
    case 6: lt_vec_push(arena, &to.attrs, take_text(m, &t, &f, "attribute", LT_ONNX_NAME)); break;
    case 7: read_node(m, &to.body, &t, &f); break;
    case 9:
      if (to.opsets.n >= LT_ONNX_DOMAINS)
        lt_wire_fail(&m->wire, f.at, "a function imports more than %d sets of ops", (int)LT_ONNX_DOMAINS);
      lt_vec_push(arena, &to.opsets, read_opset(m, &t, &f));
      break;
    case 10: to.domain = take_text(m, &t, &f, "domain", OP_NAME); break;
    case 11: read_attr(m, &a, &t, &f); lt_vec_push(arena, &to.defaults, a); break;
    default: break;
    }
  }
  if (!strcmp(to.domain, "ai.onnx")) to.domain = "";
  if (m->functions.n >= LT_ONNX_FUNCTIONS)
    lt_wire_fail(&m->wire, field->at, "the model defines more than %d functions", (int)LT_ONNX_FUNCTIONS);
  weigh(m, field->at, 2 * sizeof to);
  add_function(m, &to, field->at);
}

int64_t lt_onnx_opset_of(const lt_onnx_model *m, const char *domain) {
  for (uint32_t i = 0; i < m->opsets.n; i++)
    if (!strcmp(m->opsets.at[i].domain, domain)) return m->opsets.at[i].version;
  return 0;
}

static void check_versions(const lt_onnx_model *m, bool has_graph) {
  int64_t opset = lt_onnx_opset_of(m, "");
  const lt_loc loc = {.file = m->wire.file};
  if (!has_graph) lt_fail(m->wire.job, LATHE_E_INVALID, &loc, "this is no ONNX model: it has no graph");
  if (m->ir < 1 || m->ir > LT_ONNX_IR)
    lt_fail(m->wire.job, LATHE_E_UNSUPPORTED, &loc, "the format's version (ir_version) is %lld; 1 to %d are read",
            (long long)m->ir, (int)LT_ONNX_IR);
  if (opset && (opset < LT_ONNX_OPSET_FIRST || opset > LT_ONNX_OPSET_LAST))
    lt_fail(m->wire.job, LATHE_E_UNSUPPORTED, &loc,
            "the model's ops are of opset %lld; %d to %d are read\nhelp: onnx.version_converter.convert_version(model, "
            "%d) writes it in another",
            (long long)opset, (int)LT_ONNX_OPSET_FIRST, (int)LT_ONNX_OPSET_LAST, 20);
}

void lt_onnx_read_model(lt_onnx_model *m, const lt_wire *w) {
  *m = (lt_onnx_model){.wire = *w};
  lt_wire_cursor t = lt_wire_start(&m->wire, "ModelProto");
  lt_wire_field f;
  bool graph = false;
  while (lt_wire_next(&t, &f)) {
    switch (f.number) {
    case 1: m->ir = lt_wire_int(&t, &f, "ir_version"); break;
    case 7:
      if (graph) lt_wire_fail(w, f.at, "the model has two graphs");
      graph = true;
      read_graph(m, &m->graph, lt_wire_enter(&t, &f, "GraphProto"));
      break;
    case 8:
      if (m->opsets.n >= LT_ONNX_DOMAINS)
        lt_wire_fail(w, f.at, "the model imports more than %d sets of ops", (int)LT_ONNX_DOMAINS);
      lt_vec_push(m->wire.arena, &m->opsets, read_opset(m, &t, &f));
      break;
    case 25: read_function(m, &t, &f); break;
    default: break;
    }
  }
  check_versions(m, graph);
}
