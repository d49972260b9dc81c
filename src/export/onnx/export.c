/* export.c: a spelled graph as a model: names, nodes, inputs and outputs, initializers, and the file.
 *
 * All but the elements of initializers is made in memory. Then sizes are known, and with them where elements go; they
 * are written from where they are. Fields are those of onnx.proto. */
#include "export/onnx/writer.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- what cannot be written -------------------------------------------------------------------------------------- */

/* Its name, its layer's, or a text that it has been given. */
static const char *name_of(const lt_ow *w, const lt_node *n) {
  const lt_op_info *op = &lt_op_table[n->op];
  if (lt_name_of(w->g, n->out)) return lt_name_of(w->g, n->out);
  for (unsigned i = 0; i < op->n_attrs && !n->label; i++)
    if (op->attrs[i].kind == LT_ATTR_str) return *(const char *const *)lt_attr_at(n->op, n->attrs, i);
  return n->label ? n->label : "";
}

static void check_ops(const lt_ow *w) {
  lt_str s;
  unsigned n_refused = 0;
  lt_str_init(&s, w->arena);
  for (uint32_t i = 0; i < w->g->nodes.n; i++) {
    const lt_node *n = w->g->nodes.at[i];
    if (lt_ow_row_of(n->op)->put) continue;
    const char *doc = lt_ow_row_of(n->op)->doc, *colon = strstr(doc, ": ");
    lt_str_printf(&s, "\n  %s `%.60s`: %s", lt_op_table[n->op].name, name_of(w, n), colon ? colon + 2 : doc);
    n_refused++;
  }
  if (n_refused)
    lt_fail(w->job, LATHE_E_UNSUPPORTED, NULL, "%u node%s of network `%s` cannot be written as ONNX:%s", n_refused,
            n_refused == 1 ? "" : "s", w->g->name, s.at);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Outputs, then the new values of what is updated. */
typedef struct result { const char *name; lt_value value; } result;
typedef LT_VEC(result) results;

static bool is_leaf(const lt_ow *w, lt_value v) { return (lt_op_table[lt_op_of(w->g, v)].flags & LT_LEAF) != 0; }

static bool is_updated(const lt_ow *w, lt_value leaf) {
  for (uint32_t i = 0; i < w->g->updates.n; i++)
    if (w->g->updates.at[i].leaf == leaf) return true;
  return false;
}

static results results_of(lt_ow *w) {
  results all = {0};
  for (uint32_t i = 0; i < w->g->outputs.n; i++) {
    result r = {w->g->outputs.at[i].name, w->g->outputs.at[i].value};
    lt_vec_push(w->arena, &all, r);
  }
  for (uint32_t i = 0; i < w->g->updates.n; i++) {
    const lt_update *u = &w->g->updates.at[i];
    result r = {lt_arena_printf(w->arena, "%s.next", lt_name_of(w->g, u->leaf)), u->value};
    lt_vec_push(w->arena, &all, r);
  }
  for (uint32_t i = 0; i < all.n; i++) {
    if (lt_map_gets(&w->names, all.at[i].name, NULL))
      lt_fail(w->job, LATHE_E_UNSUPPORTED, NULL, "two outputs would be called `%s`\nhelp: another name for one of them",
              all.at[i].name);
    lt_map_puts(w->arena, &w->names, all.at[i].name, 1);
  }
  return all;
}

/* A caller feeds these by their names. */
static bool is_fed(const lt_ow *w, const lt_node *n) { return n->op == LT_OP_input || is_updated(w, n->out); }

static void name_port(lt_ow *w, const results *all, const lt_node *n) {
  const char *name = lt_name_of(w->g, n->out);
  bool taken = lt_map_gets(&w->names, name, NULL);
  for (uint32_t i = 0; taken && i < all->n; i++) /* an input that is an output as it is */
    if (all->at[i].value == n->out && !strcmp(all->at[i].name, name)) taken = false;
  if (taken)
    lt_fail(w->job, LATHE_E_UNSUPPORTED, NULL,
            "the input and the output `%s` are two values, and names are unique in ONNX\nhelp: another name for one of "
            "them",
            name);
  lt_map_puts(w->arena, &w->names, name, 1);
  w->name[n->out] = name;
}

/* Constants without a name are shared by what they hold. */
static void name_constant(lt_ow *w, const lt_node *n) {
  const lt_data *d = ((const lt_const_attrs *)n->attrs)->value;
  if (!lt_name_of(w->g, n->out) && !d->type.rank && d->type.dtype != LT_BOOL)
    w->name[n->out] = lt_ow_constant(w, &d->type, d->at);
}

static void choose_names(lt_ow *w, const results *all) {
  const lt_graph *g = w->g;
  unsigned last = 0;
  w->name = LT_NEW_ARRAY(w->arena, const char *, g->values.n + 1);
  w->name[0] = "";
  for (uint32_t i = 0; i < g->nodes.n; i++)
    if (is_fed(w, g->nodes.at[i])) name_port(w, all, g->nodes.at[i]);
  for (uint32_t i = 0; i < all->n; i++) {
    lt_value v = all->at[i].value;
    if (!w->name[v] && !is_leaf(w, v)) w->name[v] = all->at[i].name;
  }
  for (lt_value v = 1; v < g->values.n; v++)
    if (!w->name[v] && lt_name_of(g, v)) w->name[v] = lt_ow_fresh(w, lt_name_of(g, v));
  for (lt_value v = 1; v < g->values.n; v++) {
    const lt_node *n = lt_node_of(g, v);
    if (!w->name[v] && n->op == LT_OP_const) name_constant(w, n);
    while (!w->name[v]) {
      const char *number = lt_arena_printf(w->arena, "v%u", ++last);
      if (!lt_map_gets(&w->names, number, NULL)) w->name[v] = lt_ow_fresh(w, number);
    }
  }
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

/* ValueInfoProto: a name, an element type, dims. */
static void put_port(lt_ow *w, lt_str *out, unsigned field, const char *name, const lt_type *t) {
  lt_str dim, shape, tensor, type, port;
  lt_str *const all[] = {&dim, &shape, &tensor, &type, &port};
  for (size_t i = 0; i < LT_COUNT(all); i++) lt_str_init(all[i], w->arena);
  for (unsigned i = 0; i < t->rank; i++) {
    dim.n = 0;
    lt_wire_put_int(&dim, 1, t->dim[i]);
    lt_wire_put_message(&shape, 1, &dim);
  }
  lt_wire_put_int(&tensor, 1, lt_ow_type(t->dtype));
  lt_wire_put_message(&tensor, 2, &shape);
  lt_wire_put_message(&type, 1, &tensor);
  lt_wire_put_text(&port, 1, name);
  lt_wire_put_message(&port, 2, &type);
  lt_wire_put_message(out, field, &port);
}

enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12, GRAPH_VALUE = 13 };

/* A constant that another one of its kind stands for is written already. */
static bool is_shared(const lt_ow *w, const lt_node *n) {
  const lt_data *d = n->op == LT_OP_const ? ((const lt_const_attrs *)n->attrs)->value : NULL;
  return d && !lt_name_of(w->g, n->out) && !d->type.rank && d->type.dtype != LT_BOOL;
}

static void put_nodes(lt_ow *w, uint32_t *uses) {
  for (uint32_t i = 0; i < w->g->nodes.n; i++)
    if (lt_ow_turned_weight(w->g, w->g->nodes.at[i])) uses[w->g->nodes.at[i]->in[1]]--;
  for (uint32_t i = 0; i < w->g->nodes.n; i++) {
    const lt_node *n = w->n = w->g->nodes.at[i];
    if (is_fed(w, n)) put_port(w, &w->inputs, GRAPH_INPUT, w->name[n->out], lt_type_of(w->g, n->out));
    bool needed = is_fed(w, n) || n->n_out > 1 || uses[n->out];
    if (needed && !is_shared(w, n)) lt_ow_row_of(n->op)->put(w, n);
  }
  w->n = NULL;
}

static bool is_result(const results *all, const char *name) {
  for (uint32_t i = 0; i < all->n; i++)
    if (!strcmp(all->at[i].name, name)) return true;
  return false;
}

/* Outputs that are another value's second name, an input or a weight. */
static void put_results(lt_ow *w, const results *all, const uint32_t *uses) {
  for (uint32_t i = 0; i < all->n; i++) {
    const result *r = &all->at[i];
    put_port(w, &w->outputs, GRAPH_OUTPUT, r->name, lt_type_of(w->g, r->value));
    if (!strcmp(w->name[r->value], r->name)) continue;
    lt_ow_begin(w, "Identity");
    lt_ow_arg(w, w->name[r->value]);
    lt_ow_end(w, r->name);
  }
  for (lt_value v = 1; v < w->g->values.n; v++)
    if (!is_leaf(w, v) && uses[v] && !is_result(all, w->name[v]))
      put_port(w, &w->values, GRAPH_VALUE, w->name[v], lt_type_of(w->g, v));
}

/* ---- initializers ------------------------------------------------------------------------------------------------ */

enum { TENSOR_DIM = 1, TENSOR_TYPE = 2, TENSOR_NAME = 8, TENSOR_RAW = 9, TENSOR_EXTERNAL = 13, TENSOR_PLACE = 14 };
enum { SMALL = 1024, PAGE = 4096 }; /* bytes of a tensor that stays inside; where others begin beside */

const char *lt_onnx_data_path(lt_arena *a, const char *path) { return lt_arena_printf(a, "%s.data", path); }

static const char *base_name(const char *path) { return strrchr(path, '/') ? strrchr(path, '/') + 1 : path; }

static void put_entry(lt_ow *w, lt_str *out, const char *key, const char *value) {
  lt_str e;
  lt_str_init(&e, w->arena);
  lt_wire_put_text(&e, 1, key);
  lt_wire_put_text(&e, 2, value);
  lt_wire_put_message(out, TENSOR_EXTERNAL, &e);
}

typedef struct placing {
  lt_str *head;     /* by tensor: TensorProto but for its raw_data */
  bool *is_beside;  /* by tensor */
  uint64_t inside;  /* bytes of all of them in the model */
  uint64_t beside;  /* of the file beside it */
  const char *file; /* how the model calls it */
} placing;

static void place_beside(lt_ow *w, placing *p, lt_str *head, uint64_t bytes) {
  p->beside = (p->beside + PAGE - 1) / PAGE * PAGE;
  put_entry(w, head, "location", p->file);
  put_entry(w, head, "offset", lt_arena_printf(w->arena, "%" PRIu64, p->beside));
  put_entry(w, head, "length", lt_arena_printf(w->arena, "%" PRIu64, bytes));
  lt_wire_put_int(head, TENSOR_PLACE, 1);
  p->beside += bytes;
}

static size_t varint_bytes(uint64_t v) {
  size_t n = 1;
  while (v >>= 7) n++;
  return n;
}

static placing place_tensors(lt_ow *w, bool beside) {
  placing p = {.head = LT_NEW_ARRAY(w->arena, lt_str, w->tensors.n + 1),
               .is_beside = LT_NEW_ARRAY(w->arena, bool, w->tensors.n + 1),
               .file = base_name(lt_onnx_data_path(w->arena, w->o->path))};
  for (uint32_t i = 0; i < w->tensors.n; i++) {
    const lt_ow_tensor *x = &w->tensors.at[i];
    const uint64_t bytes = (uint64_t)lt_type_bytes(&x->type);
    lt_str *head = &p.head[i];
    lt_str_init(head, w->arena);
    for (unsigned k = 0; k < x->type.rank; k++) lt_wire_put_int(head, TENSOR_DIM, x->type.dim[k]);
    lt_wire_put_int(head, TENSOR_TYPE, lt_ow_type(x->type.dtype));
    lt_wire_put_text(head, TENSOR_NAME, x->name);
    p.is_beside[i] = beside && bytes >= SMALL;
    if (p.is_beside[i]) place_beside(w, &p, head, bytes);
    else lt_wire_put_length(head, TENSOR_RAW, bytes);
    const uint64_t all = head->n + (p.is_beside[i] ? 0 : bytes);
    p.inside += 1 + varint_bytes(all) + all;
  }
  return p;
}

static void write_elements(lt_ow *w, lt_file_out *f, const lt_ow_tensor *x) {
  const void *at = x->at ? x->at : w->o->elements(w->o->ctx, w->g, x->leaf);
  lt_file_put(f, at, (size_t)lt_type_bytes(&x->type));
}

static void write_inside(lt_ow *w, lt_file_out *f, const placing *p) {
  for (uint32_t i = 0; i < w->tensors.n; i++) {
    const lt_ow_tensor *x = &w->tensors.at[i];
    const uint64_t bytes = p->is_beside[i] ? 0 : (uint64_t)lt_type_bytes(&x->type);
    lt_str tag;
    lt_str_init(&tag, w->arena);
    lt_wire_put_length(&tag, GRAPH_INITIALIZER, p->head[i].n + bytes);
    lt_file_put(f, tag.at, tag.n);
    lt_file_put(f, p->head[i].at, p->head[i].n);
    if (bytes) write_elements(w, f, x);
  }
}

static void write_beside(lt_ow *w, lt_file_out *f, const placing *p) {
  static const char zeros[PAGE];
  uint64_t at = 0;
  for (uint32_t i = 0; i < w->tensors.n; i++) {
    if (!p->is_beside[i]) continue;
    lt_file_put(f, zeros, (size_t)(PAGE - at % PAGE) % PAGE);
    write_elements(w, f, &w->tensors.at[i]);
    at = (at + PAGE - 1) / PAGE * PAGE + (uint64_t)lt_type_bytes(&w->tensors.at[i].type);
  }
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

enum { MODEL_IR = 1, MODEL_PRODUCER = 2, MODEL_PRODUCER_VERSION = 3, MODEL_GRAPH = 7, MODEL_OPSET = 8 };
enum { OPSET_DOMAIN = 1, OPSET_VERSION = 2 };
#define MOST_BYTES ((uint64_t)INT32_MAX) /* of a protobuf message */

/* What stands before the graph's fields. */
static lt_str head_of(lt_ow *w, uint64_t graph_bytes) {
  lt_str opset, head;
  lt_str_init(&opset, w->arena), lt_str_init(&head, w->arena);
  lt_wire_put_text(&opset, OPSET_DOMAIN, "");
  lt_wire_put_int(&opset, OPSET_VERSION, LT_ONNX_OUT_OPSET);
  lt_wire_put_int(&head, MODEL_IR, LT_ONNX_OUT_IR);
  lt_wire_put_text(&head, MODEL_PRODUCER, "lathe");
  lt_wire_put_text(&head, MODEL_PRODUCER_VERSION, w->o->producer);
  lt_wire_put_message(&head, MODEL_OPSET, &opset);
  lt_wire_put_length(&head, MODEL_GRAPH, graph_bytes);
  return head;
}

static uint64_t bytes_of_graph(const lt_ow *w, const lt_str *name, const placing *p) {
  return w->nodes.n + name->n + p->inside + w->inputs.n + w->outputs.n + w->values.n;
}

LT_NORETURN static void fail_size(const lt_ow *w, uint64_t bytes, bool inside) {
  lt_fail(w->job, LATHE_E_UNSUPPORTED, NULL, "%s would have %" PRIu64 " bytes, and the format ends at %" PRIu64 "%s",
          w->o->path, bytes, MOST_BYTES,
          inside ? "\nhelp: --weight-data extern puts the weights into a file beside it" : "");
}

static void put(lt_file_out *f, const lt_str *s) {
  if (s->n) lt_file_put(f, s->at, s->n);
}

static void write_model(lt_ow *w) {
  lt_str name;
  lt_str_init(&name, w->arena);
  lt_wire_put_text(&name, GRAPH_NAME, w->g->name);
  const lt_onnx_place place = w->o->place;
  placing p = place_tensors(w, place == LT_ONNX_BESIDE);
  lt_str head = head_of(w, bytes_of_graph(w, &name, &p));
  if (place == LT_ONNX_INSIDE_OR_BESIDE && head.n + bytes_of_graph(w, &name, &p) > MOST_BYTES) {
    p = place_tensors(w, true);
    head = head_of(w, bytes_of_graph(w, &name, &p));
  }
  const uint64_t all = head.n + bytes_of_graph(w, &name, &p);
  if (all > MOST_BYTES) fail_size(w, all, place == LT_ONNX_INSIDE);
  lt_file_out *beside = p.beside ? lt_file_begin(w->job, lt_onnx_data_path(w->arena, w->o->path)) : NULL;
  lt_file_out *f = lt_file_begin(w->job, w->o->path);
  if (beside) write_beside(w, beside, &p);
  put(f, &head), put(f, &w->nodes), put(f, &name);
  write_inside(w, f, &p);
  put(f, &w->inputs), put(f, &w->outputs), put(f, &w->values);
  if (beside) lt_file_end(beside);
  lt_file_end(f);
}

void lt_onnx_export(lt_job *job, const lt_graph *g, const lt_onnx_out *o) {
  lt_arena *a = lt_arena_new(job);
  lt_ow *w = LT_NEW(a, lt_ow);
  *w = (lt_ow){.job = job, .arena = a, .g = g, .o = o};
  lt_str *const texts[] = {&w->nodes, &w->inputs, &w->outputs, &w->values};
  for (size_t i = 0; i < LT_COUNT(texts); i++) lt_str_init(texts[i], a);
  check_ops(w);
  results all = results_of(w);
  choose_names(w, &all);
  uint32_t *uses = lt_use_counts(a, g, NULL);
  put_nodes(w, uses);
  put_results(w, &all, uses);
  write_model(w);
}
