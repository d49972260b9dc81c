/* slots.c: names of a model → values of the graph: inputs, initializers as params, states or constants, results of
 * nodes; and what is known of them while the model is read. */
#include "frontend/onnx/import.h"

enum { KNOWN = 1 << 16 }; /* elements up to which values are evaluated while the model is read */

/* ---- names ------------------------------------------------------------------------------------------------------- */

lt_onnx_slot *lt_onnx_slot_find(const lt_onnx *c, const char *name) {
  uintptr_t found;
  for (const lt_onnx_scope *s = c->scope; s; s = s->outer)
    if (lt_map_gets(&s->names, name, &found)) return (lt_onnx_slot *)found;
  return NULL;
}

lt_onnx_slot *lt_onnx_slot_new(lt_onnx *c, const char *name) {
  const lt_loc loc = {.file = c->m.wire.file};
  if (lt_map_gets(&c->scope->names, name, NULL))
    lt_fail(c->job, LATHE_E_INVALID, &loc, "two things in the model are called `%.200s`", name);
  lt_onnx_slot *s = LT_NEW(c->arena, lt_onnx_slot);
  s->name = name;
  lt_map_puts(c->arena, &c->scope->names, name, (uintptr_t)s);
  return s;
}

void lt_onnx_slot_bind(lt_onnx *c, const char *name, const lt_onnx_slot *s) {
  lt_map_puts(c->arena, &c->scope->names, name, (uintptr_t)s);
}

/* What no name may hold becomes `_`; long names are cut where a character begins. */
const char *lt_onnx_legal_name(lt_onnx *c, const char *name) {
  enum { MOST = 200 };
  size_t n = strlen(name);
  if (n > MOST)
    for (n = MOST; n > 0 && ((unsigned char)name[n] & 0xC0) == 0x80;) n--;
  char *own = lt_arena_strndup(c->arena, name, n);
  for (const char *p = own; (p = lt_name_misfit(p, strlen(p)));) own[p - own] = '_';
  return lt_free_name(c->g, *own ? own : "_");
}

/* ---- initializers ------------------------------------------------------------------------------------------------ */

void lt_onnx_slot_tensor(lt_onnx *c, lt_onnx_slot *s, const lt_onnx_tensor *x, bool constant) {
  const lt_loc loc = {.file = c->m.wire.file};
  lt_dtype t;
  int64_t bytes;
  if (!lt_onnx_dtype(x->type, &t))
    lt_fail(c->job, LATHE_E_UNSUPPORTED, &loc, "%s is of %s, which is no element type here%s",
            lt_onnx_tensor_text(c->arena, x), lt_onnx_type_name(x->type),
            x->type == LT_ONNX_FLOAT16 || x->type == LT_ONNX_BFLOAT16 ? "\nhelp: convert the model to float32" : "");
  s->tensor = x, s->constant = constant;
  s->type = (lt_type){.dtype = t, .rank = (uint8_t)x->rank};
  memcpy(s->type.dim, x->dim, x->rank * sizeof *x->dim);
  s->empty = x->count == 0;
  if (!lt_mul_ok(&bytes, x->count, (int64_t)lt_dtype_size(t)) || (c->g->max_bytes && bytes > c->g->max_bytes))
    lt_fail(c->job, LATHE_E_INVALID, &loc,
            "%s takes %lld bytes, more than the limit of %lld\nhelp: raise it with --max-bytes",
            lt_onnx_tensor_text(c->arena, x), (long long)bytes, (long long)c->g->max_bytes);
}

static const lt_data *elements(lt_onnx *c, const lt_onnx_slot *s) {
  return lt_onnx_data(&c->m, &c->files, &c->g->arena, s->tensor, &s->type);
}

LT_NORETURN static void refuse_empty(lt_onnx *c, const lt_onnx_slot *s) {
  lt_ox_refuse(c, "`%.100s` has no elements, and values here have at least one", s->name);
}

static lt_value leaf(lt_onnx *c, lt_onnx_slot *s, lt_op op) {
  const char *outer = c->g->label;
  lt_init init = {.kind = LT_INIT_LITERAL, .literal = elements(c, s)};
  c->g->label = NULL;
  lt_value v = lt_leaf(c->g, op, lt_onnx_legal_name(c, s->name), s->type, &init);
  c->g->label = outer;
  return v;
}

lt_value lt_onnx_slot_value(lt_onnx *c, lt_onnx_slot *s) {
  if (s->empty) refuse_empty(c, s);
  if (s->value || s->param) return s->value ? s->value : s->param;
  const char *outer = c->g->label;
  c->g->label = NULL;
  s->value = lt_const_data(c->g, elements(c, s));
  while (c->owner.n <= s->value) lt_vec_push(c->arena, &c->owner, NULL);
  c->owner.at[s->value] = s;
  c->g->label = outer;
  return s->value;
}

/* Those that became no param after all, which would have had the name. */
void lt_onnx_name_constants(lt_onnx *c) {
  for (lt_value v = 1; v < c->owner.n; v++) {
    const lt_onnx_slot *s = c->owner.at[v];
    if (s && !s->param && s->tensor->name[0]) lt_set_name(c->g, v, lt_onnx_legal_name(c, s->name));
  }
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

static bool trains(const lt_onnx_slot *s) {
  return s && s->tensor && !s->constant && !s->empty && lt_is_float(s->type.dtype);
}

static lt_value param_of(lt_onnx *c, lt_onnx_slot *s) {
  if (!s->param) s->param = leaf(c, s, LT_OP_param);
  return s->param;
}

static lt_value *trained(lt_onnx *c, lt_value v) {
  while (c->trained.n <= v) lt_vec_push(c->arena, &c->trained, 0);
  return &c->trained.at[v];
}

/* A weight that is turned, reshaped or repeated before it is used, as exporters that fold no constants write it, is
 * made again of the param. 0: v is nothing of the kind. */
static lt_value moved_param(lt_onnx *c, lt_value v) {
  enum { MOST_MOVES = 8 };
  lt_value way[MOST_MOVES];
  unsigned n = 0;
  for (; !*trained(c, v); v = lt_node_of(c->g, v)->in[0]) {
    const lt_node *node = lt_node_of(c->g, v);
    if (v < c->owner.n && trains(c->owner.at[v])) break;
    if (!(lt_facts(node)->flags & LT_MOVE) || node->n_in != 1 || n == MOST_MOVES) return 0;
    way[n++] = v;
  }
  if (!*trained(c, v)) *trained(c, v) = param_of(c, c->owner.at[v]);
  lt_value y = *trained(c, v);
  while (n-- > 0) {
    const lt_node *node = lt_node_of(c->g, way[n]);
    y = lt_emit(c->g, node->op, node->attrs, &y, 1);
    *trained(c, way[n]) = y;
  }
  return y;
}

/* 0: it is no weight. */
static lt_value slot_param(lt_onnx *c, lt_onnx_slot *s) {
  if (s->tensor) return trains(s) ? param_of(c, s) : 0;
  return s->empty ? 0 : moved_param(c, s->value);
}

/* ---- operands ---------------------------------------------------------------------------------------------------- */

static lt_onnx_slot *operand(lt_onnx *c, unsigned i) {
  if (!lt_ox_has(c, i)) lt_ox_refuse(c, "operand %u is missing", i + 1);
  lt_onnx_slot *s = lt_onnx_slot_find(c, c->n->in.at[i]);
  return s; /* run_node has found all of them */
}

bool lt_ox_has(lt_onnx *c, unsigned i) {
  c->n->asked = LT_MAX(c->n->asked, i + 1);
  return i < c->n->in.n && c->n->in.at[i][0];
}

bool lt_ox_wants(lt_onnx *c, unsigned i) {
  c->n->made = LT_MAX(c->n->made, i + 1);
  return i < c->n->out.n && c->n->out.at[i][0];
}

bool lt_ox_empty(lt_onnx *c, unsigned i) { return operand(c, i)->empty; }
lt_value lt_ox_in(lt_onnx *c, unsigned i) { return lt_onnx_slot_value(c, operand(c, i)); }

lt_value lt_ox_weight(lt_onnx *c, unsigned i) {
  lt_value v = slot_param(c, operand(c, i));
  return v ? v : lt_ox_in(c, i);
}

const lt_type *lt_ox_type(lt_onnx *c, unsigned i) {
  const lt_onnx_slot *s = operand(c, i);
  return s->tensor || s->empty ? &s->type : lt_type_of(c->g, s->value);
}

lt_value lt_ox_operand(lt_onnx *c, unsigned i) {
  lt_onnx_slot *s = operand(c, i);
  bool computed = false;
  for (unsigned k = 0; k < c->n->in.n; k++) { /* which is not to ask for them */
    lt_onnx_slot *other = k != i && c->n->in.at[k][0] ? lt_onnx_slot_find(c, c->n->in.at[k]) : NULL;
    if (other && !other->tensor && !lt_onnx_slot_known(c, other)) computed = true;
  }
  lt_value v = computed && lt_type_count(lt_ox_type(c, i)) > 1 ? slot_param(c, s) : 0;
  return v ? v : lt_onnx_slot_value(c, s);
}

lt_value lt_ox_state(lt_onnx *c, unsigned i) {
  lt_onnx_slot *s = operand(c, i);
  return s->tensor && !s->empty ? leaf(c, s, LT_OP_state) : 0;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static lt_onnx_slot *result(lt_onnx *c, unsigned i) {
  return lt_ox_wants(c, i) ? lt_onnx_slot_new(c, c->n->out.at[i]) : NULL;
}

void lt_ox_result(lt_onnx *c, unsigned i, lt_value v) {
  lt_onnx_slot *s = result(c, i);
  if (!s) return;
  s->value = v;
  if (!lt_name_of(c->g, v)) lt_set_name(c->g, v, lt_onnx_legal_name(c, s->name));
}

void lt_ox_result_empty(lt_onnx *c, unsigned i, const lt_type *t) {
  lt_onnx_slot *s = result(c, i);
  if (s) s->empty = true, s->type = *t;
}

void lt_ox_alias(lt_onnx *c, unsigned i, unsigned from) {
  const lt_onnx_slot *of = operand(c, from);
  if (!lt_ox_wants(c, i)) return;
  if (!of->tensor && !of->empty) {
    lt_ox_result(c, i, of->value);
    return;
  }
  lt_onnx_slot_bind(c, c->n->out.at[i], of); /* one tensor is one weight under both names */
}

/* ---- what is known ----------------------------------------------------------------------------------------------- */

static const lt_tensor *evaluate(lt_onnx *c, const lt_node *n) {
  if (n->op == LT_OP_const) {
    const lt_data *d = lt_data_in(n);
    return lt_type_count(&d->type) <= KNOWN ? lt_tensor_of(c->arena, d) : NULL;
  }
  if (n->n_out != 1 || lt_facts(n)->flags & LT_LEAF || lt_facts(n)->same == LT_SAME_CALL) return NULL;
  if (lt_facts(n)->same == LT_SAME_OWN || !lt_facts(n)->eval || lt_type_count(lt_type_of(c->g, n->out)) > KNOWN)
    return NULL;
  for (unsigned i = 0; i < n->n_in; i++)
    if (n->in[i] && !c->known.at[n->in[i]]) return NULL;
  const lt_tensor **in = LT_NEW_ARRAY(c->arena, const lt_tensor *, n->n_in + 1u);
  for (unsigned i = 0; i < n->n_in; i++) in[i] = n->in[i] ? c->known.at[n->in[i]] : NULL;
  lt_eval e = {.job = c->job, .arena = c->arena, .g = c->g, .mode = LT_EVAL_ROUND};
  lt_tensor *out = lt_tensor_new(c->arena, lt_type_of(c->g, n->out));
  lt_eval_node(&e, n, in, &out);
  return out;
}

const lt_tensor *lt_onnx_known(lt_onnx *c, lt_value v) {
  for (; c->nodes_known < c->g->nodes.n; c->nodes_known++) {
    const lt_node *n = c->g->nodes.at[c->nodes_known];
    while (c->known.n < n->out + n->n_out) lt_vec_push(c->arena, &c->known, NULL);
    c->known.at[n->out] = evaluate(c, n);
  }
  return c->known.at[v];
}

const lt_tensor *lt_ox_known(lt_onnx *c, unsigned i) { return lt_onnx_slot_known(c, operand(c, i)); }

const lt_tensor *lt_onnx_slot_known(lt_onnx *c, lt_onnx_slot *s) {
  if (s->empty) return lt_tensor_new(c->arena, &s->type);
  if (!s->tensor) return lt_onnx_known(c, s->value);
  return s->tensor->count <= KNOWN ? lt_tensor_of(c->arena, elements(c, s)) : NULL;
}

/* The first input that a value depends on. */
static const char *depends_on(lt_onnx *c, lt_value v) {
  const lt_graph *g = c->g;
  bool *needed = LT_NEW_ARRAY(c->arena, bool, g->nodes.n);
  const char *found = NULL;
  needed[lt_node_of(g, v)->id] = true;
  for (uint32_t i = lt_node_of(g, v)->id + 1; i-- > 0;) {
    const lt_node *n = g->nodes.at[i];
    if (!needed[i]) continue;
    if (n->op == LT_OP_input) found = lt_name_of(g, n->out);
    for (unsigned k = 0; k < n->n_in; k++)
      if (n->in[k]) needed[lt_node_of(g, n->in[k])->id] = true;
  }
  return found;
}

const lt_tensor *lt_ox_must_know(lt_onnx *c, unsigned i, const char *what) {
  const lt_tensor *t = lt_ox_known(c, i);
  if (t) return t;
  lt_onnx_slot *s = operand(c, i);
  const char *input = depends_on(c, lt_onnx_slot_value(c, s));
  if (input)
    lt_ox_refuse(c,
                 "its %s, `%.80s`, must be known when the model is read, and depends on the input `%.80s` "
                 "(--pin %.80s=F.npy fixes it)",
                 what, s->name, input, input);
  lt_ox_refuse(c, "its %s, `%.80s`, must be known when the model is read", what, s->name);
}

lt_ox_ints lt_ox_known_ints(lt_onnx *c, unsigned i, const char *what) {
  const lt_tensor *t = lt_ox_must_know(c, i, what);
  int64_t n = operand(c, i)->empty ? 0 : lt_type_count(&t->type);
  if (lt_is_float(t->type.dtype)) lt_ox_refuse(c, "its %s should be whole numbers", what);
  return (lt_ox_ints){n, t->i};
}

int64_t lt_ox_known_int(lt_onnx *c, unsigned i, const char *what) {
  lt_ox_ints v = lt_ox_known_ints(c, i, what);
  if (v.n != 1) lt_ox_refuse(c, "its %s should be one number, not %lld", what, (long long)v.n);
  return v.v[0];
}

double lt_ox_known_float(lt_onnx *c, unsigned i, const char *what) {
  const lt_tensor *t = lt_ox_must_know(c, i, what);
  if (lt_type_count(&t->type) != 1) lt_ox_refuse(c, "its %s should be one number", what);
  return lt_tensor_at(t, 0);
}
