/* flow.c: nodes that have nodes in them: branches whose condition is known, loops whose number of turns is, functions
 * of the model's own. All are written out, in a scope of names for each branch, turn and call. */
#include "frontend/onnx/forms.h"

enum { MOST_TURNS = 1 << 14 };

lt_onnx_scope *lt_onnx_scope_new(lt_onnx *c, const lt_onnx_scope *outer) {
  lt_onnx_scope *s = LT_NEW(c->arena, lt_onnx_scope);
  s->outer = outer;
  return s;
}

lt_onnx_slot *lt_onnx_scope_result(lt_onnx *c, const lt_onnx_scope *s, const char *name) {
  for (uintptr_t found; s; s = s->outer)
    if (lt_map_gets(&s->names, name, &found)) {
      lt_onnx_slot *of = (lt_onnx_slot *)found;
      if (of->refused) lt_ox_refuse(c, "`%.80s` in it cannot be read", name);
      return of;
    }
  lt_ox_refuse(c, "`%.80s` in it is made by no node", name);
}

static lt_onnx_slot *operand(lt_onnx *c, unsigned i) {
  return lt_ox_has(c, i) ? lt_onnx_slot_find(c, c->n->in.at[i]) : NULL;
}

static void bind_result(lt_onnx *c, unsigned i, const lt_onnx_slot *s) {
  if (lt_ox_wants(c, i)) lt_onnx_slot_bind(c, c->n->out.at[i], s);
}

/* A name in a scope for a value that is there. */
static void bind_value(lt_onnx *c, lt_onnx_scope *s, const char *name, lt_value v) {
  lt_onnx_slot *slot = LT_NEW(c->arena, lt_onnx_slot);
  slot->name = name, slot->value = v;
  lt_map_puts(c->arena, &s->names, name, (uintptr_t)slot);
}

static void bind_slot(lt_onnx *c, lt_onnx_scope *s, const char *name, const lt_onnx_slot *slot) {
  lt_map_puts(c->arena, &s->names, name, (uintptr_t)slot);
}

static lt_onnx_graph read_body(lt_onnx *c, const char *name) {
  const lt_onnx_attr *a = lt_ox_attr(c, name);
  lt_onnx_graph g;
  if (!a || a->kind != LT_ONNX_A_GRAPH) lt_ox_refuse(c, "its %s is missing", name);
  lt_onnx_read_graph(&c->m, &g, a->graph);
  return g;
}

/* ---- If ---------------------------------------------------------------------------------------------------------- */

void lt_onnx_if(lt_onnx *c) {
  bool yes = lt_ox_known_int(c, 0, "condition");
  lt_onnx_graph g = read_body(c, yes ? "then_branch" : "else_branch");
  lt_ox_attr(c, yes ? "else_branch" : "then_branch");
  lt_onnx_scope *s = lt_onnx_scope_new(c, c->scope);
  if (g.outputs.n != c->n->out.n) lt_ox_refuse(c, "its branch has %u results, not %u", g.outputs.n, c->n->out.n);
  lt_onnx_run_nodes(c, s, &g);
  for (uint32_t i = 0; i < c->n->out.n; i++) bind_result(c, i, lt_onnx_scope_result(c, s, g.outputs.at[i].name));
}

/* ---- loops ------------------------------------------------------------------------------------------------------- */

/* Values of all turns along an axis of their own. */
typedef struct stack { lt_value *part; uint32_t n; int64_t axis; bool back; } stack;

static void push(lt_onnx *c, stack *s, lt_onnx_slot *of) {
  lt_value v = lt_onnx_slot_value(c, of);
  lt_type t = lt_ox_of(c, v);
  int64_t dim[LT_MAX_RANK + 1], axis = lt_ox_axis(c, s->axis, t.rank + 1u);
  for (int64_t i = 0; i <= t.rank; i++) dim[i] = i < axis ? t.dim[i] : i == axis ? 1 : t.dim[i - 1];
  s->part[s->n++] = lt_ox_reshape(c, v, t.rank + 1u, dim);
}

static void bind_stack(lt_onnx *c, unsigned i, const stack *s) {
  if (!lt_ox_wants(c, i)) return;
  if (!s->n) lt_ox_refuse(c, "it turns no times, and values here have at least one element");
  for (uint32_t k = 0; s->back && k < s->n / 2; k++) {
    lt_value other = s->part[k];
    s->part[k] = s->part[s->n - 1 - k], s->part[s->n - 1 - k] = other;
  }
  unsigned rank = lt_ox_of(c, s->part[0]).rank;
  lt_ox_result(c, i, lt_ox_concat(c, s->part, s->n, lt_ox_axis(c, s->axis, rank)));
}

static stack stack_new(lt_onnx *c, int64_t turns, int64_t axis, bool back) {
  return (stack){LT_NEW_ARRAY(c->arena, lt_value, (size_t)turns + 1), 0, axis, back};
}

/* A truth value that is known, or a refusal. */
static bool truth_of(lt_onnx *c, lt_onnx_slot *s) {
  const lt_tensor *t = lt_onnx_slot_known(c, s);
  if (!t || lt_type_count(&t->type) != 1 || lt_is_float(t->type.dtype))
    lt_ox_refuse(c, "its condition depends on data: how often it turns must be known when the model is read");
  return t->i[0] != 0;
}

/* Operands: turns, condition, then what is carried from turn to turn; the body has the number of the turn before them
 * and gives the next condition, them, and what is stacked. */
void lt_onnx_loop(lt_onnx *c) {
  lt_onnx_graph g = read_body(c, "body");
  uint32_t carried = c->n->in.n > 2 ? c->n->in.n - 2 : 0, stacked = g.outputs.n - carried - 1;
  int64_t turns = lt_ox_has(c, 0) ? LT_MAX(lt_ox_known_int(c, 0, "number of turns"), 0) : INT64_MAX;
  bool on = !lt_ox_has(c, 1) || lt_ox_known_int(c, 1, "condition");
  if (g.inputs.n != carried + 2 || g.outputs.n < carried + 1 || c->n->out.n > carried + stacked)
    lt_ox_refuse(c, "its body has %u inputs and %u results for %u values", g.inputs.n, g.outputs.n, carried);
  const lt_onnx_slot **now = LT_NEW_ARRAY(c->arena, const lt_onnx_slot *, carried + 1);
  stack *all = LT_NEW_ARRAY(c->arena, stack, stacked + 1);
  for (uint32_t i = 0; i < carried; i++)
    if (!(now[i] = operand(c, i + 2))) lt_ox_refuse(c, "operand %u is missing", i + 3);
  for (uint32_t i = 0; i < stacked; i++) all[i] = stack_new(c, LT_MIN(turns, (int64_t)MOST_TURNS), 0, false);
  for (int64_t t = 0; t < turns && on; t++) {
    lt_onnx_scope *s = lt_onnx_scope_new(c, c->scope);
    if (t == MOST_TURNS) lt_ox_refuse(c, "it turns more than %d times", (int)MOST_TURNS);
    bind_value(c, s, g.inputs.at[0].name, lt_ox_ints_const(c, LT_I64, 0, NULL, &t));
    bind_value(c, s, g.inputs.at[1].name, lt_const_scalar(c->g, LT_BOOL, 1));
    for (uint32_t i = 0; i < carried; i++) bind_slot(c, s, g.inputs.at[i + 2].name, now[i]);
    lt_onnx_run_nodes(c, s, &g);
    on = truth_of(c, lt_onnx_scope_result(c, s, g.outputs.at[0].name));
    for (uint32_t i = 0; i < carried; i++) now[i] = lt_onnx_scope_result(c, s, g.outputs.at[i + 1].name);
    for (uint32_t i = 0; i < stacked; i++)
      push(c, &all[i], lt_onnx_scope_result(c, s, g.outputs.at[i + 1 + carried].name));
  }
  for (uint32_t i = 0; i < carried; i++) bind_result(c, i, now[i]);
  for (uint32_t i = 0; i < stacked; i++) bind_stack(c, i + carried, &all[i]);
}

/* Number i of a list, or 0. */
static int64_t number_of(lt_onnx *c, const char *name, uint32_t i) {
  lt_ox_ints v;
  if (!lt_ox_list(c, name, &v)) return 0;
  if (i >= v.n) lt_ox_refuse(c, "%s has %lld numbers, too few", name, (long long)v.n);
  return v.v[i];
}

/* What a turn sees of an input that is walked. */
static lt_value turn_of(lt_onnx *c, lt_value x, int64_t axis, int64_t t) {
  lt_value v = lt_ox_slice(c, x, axis, t, t + 1);
  lt_type y = lt_ox_of(c, v);
  for (unsigned i = (unsigned)axis; i + 1 < y.rank; i++) y.dim[i] = y.dim[i + 1];
  return lt_ox_reshape(c, v, y.rank - 1u, y.dim);
}

typedef struct walked { lt_value x; int64_t axis; bool back; } walked;

static walked *read_walked(lt_onnx *c, uint32_t states, uint32_t n, int64_t *turns) {
  walked *w = LT_NEW_ARRAY(c->arena, walked, n);
  for (uint32_t i = 0; i < n; i++) {
    w[i].x = lt_ox_in(c, states + i);
    lt_type t = lt_ox_of(c, w[i].x);
    if (!t.rank) lt_ox_refuse(c, "operand %u is a scalar", states + i + 1);
    w[i].axis = lt_ox_axis(c, number_of(c, "scan_input_axes", i), t.rank);
    w[i].back = number_of(c, "scan_input_directions", i);
    if (i && t.dim[w[i].axis] != *turns) lt_ox_refuse(c, "its inputs are not equally long");
    *turns = t.dim[w[i].axis];
  }
  return w;
}

/* Operands: what is carried from turn to turn, then what is walked; the body gives the first again, and what is
 * stacked. */
void lt_onnx_scan(lt_onnx *c) {
  lt_onnx_graph g = read_body(c, "body");
  int64_t turns = 0, given = lt_ox_int(c, "num_scan_inputs", 0);
  if (c->opset < 9) lt_ox_refuse(c, "before version 9 it has batches, which are not read");
  if (given < 1 || given > c->n->in.n || g.inputs.n != c->n->in.n || g.outputs.n != c->n->out.n)
    lt_ox_refuse(c, "its body has %u inputs and %u results", g.inputs.n, g.outputs.n);
  uint32_t n = (uint32_t)given, states = c->n->in.n - n;
  walked *w = read_walked(c, states, n, &turns);
  if (turns > MOST_TURNS) lt_ox_refuse(c, "it turns more than %d times", (int)MOST_TURNS);
  if (g.outputs.n < states) lt_ox_refuse(c, "its body has %u results for %u states", g.outputs.n, states);
  const lt_onnx_slot **now = LT_NEW_ARRAY(c->arena, const lt_onnx_slot *, states + 1);
  uint32_t stacked = g.outputs.n - states;
  stack *all = LT_NEW_ARRAY(c->arena, stack, stacked + 1);
  for (uint32_t i = 0; i < states; i++)
    if (!(now[i] = operand(c, i))) lt_ox_refuse(c, "operand %u is missing", i + 1);
  for (uint32_t i = 0; i < stacked; i++)
    all[i] = stack_new(c, turns, number_of(c, "scan_output_axes", i), number_of(c, "scan_output_directions", i));
  for (int64_t t = 0; t < turns; t++) {
    lt_onnx_scope *s = lt_onnx_scope_new(c, c->scope);
    for (uint32_t i = 0; i < states; i++) bind_slot(c, s, g.inputs.at[i].name, now[i]);
    for (uint32_t i = 0; i < n; i++)
      bind_value(c, s, g.inputs.at[states + i].name, turn_of(c, w[i].x, w[i].axis, w[i].back ? turns - 1 - t : t));
    lt_onnx_run_nodes(c, s, &g);
    for (uint32_t i = 0; i < states; i++) now[i] = lt_onnx_scope_result(c, s, g.outputs.at[i].name);
    for (uint32_t i = 0; i < stacked; i++) push(c, &all[i], lt_onnx_scope_result(c, s, g.outputs.at[states + i].name));
  }
  for (uint32_t i = 0; i < states; i++) bind_result(c, i, now[i]);
  for (uint32_t i = 0; i < stacked; i++) bind_stack(c, states + i, &all[i]);
}

/* ---- functions --------------------------------------------------------------------------------------------------- */

const lt_onnx_function *lt_onnx_function_of(const lt_onnx *c, const lt_onnx_node *n) {
  for (uint32_t i = 0; i < c->m.functions.n; i++) {
    const lt_onnx_function *f = &c->m.functions.at[i];
    if (!strcmp(f->name, n->op) && !strcmp(f->domain, n->domain)) return f;
  }
  return NULL;
}

static lt_onnx_attr *attr_named(lt_onnx_attr *at, uint32_t n, const char *name) {
  for (uint32_t i = 0; i < n; i++)
    if (!strcmp(at[i].name, name)) return &at[i];
  return NULL;
}

/* Inputs that a call leaves out are left out by who reads them. */
static const char *name_in_call(const lt_onnx_call *k, const char *name) {
  for (uint32_t i = 0; i < k->f->in.n; i++)
    if (!strcmp(k->f->in.at[i], name) && (i >= k->n->in.n || !k->n->in.at[i][0])) return "";
  return name;
}

lt_onnx_node *lt_onnx_node_in_call(lt_onnx *c, lt_onnx_node *n) {
  const lt_onnx_call *k = c->call;
  lt_onnx_node *own = LT_NEW(c->arena, lt_onnx_node);
  bool refers = k != NULL;
  for (uint32_t i = 0; i < n->attrs.n; i++) refers |= n->attrs.at[i].ref != NULL;
  if (!refers) return n;
  *own = *n;
  memset(&own->in, 0, sizeof own->in), memset(&own->attrs, 0, sizeof own->attrs);
  for (uint32_t i = 0; i < n->in.n; i++)
    lt_vec_push(c->arena, &own->in, k ? name_in_call(k, n->in.at[i]) : n->in.at[i]);
  for (uint32_t i = 0; i < n->attrs.n; i++) {
    lt_onnx_attr a = n->attrs.at[i];
    const char *name = a.name;
    const lt_onnx_attr *of = &a;
    if (a.ref && !k)
      lt_wire_fail(&c->m.wire, a.at, "the attribute `%.60s` refers to one of a function, and this is none", name);
    if (a.ref) of = attr_named(k->n->attrs.at, k->n->attrs.n, a.ref);
    if (a.ref && !of) of = attr_named(k->f->defaults.at, k->f->defaults.n, a.ref);
    if (!of) continue; /* as if it were not given */
    a = *of;
    a.name = name, a.ref = NULL, a.asked = false;
    lt_vec_push(c->arena, &own->attrs, a);
  }
  return own;
}

/* The nodes of the function in the place of the call, where only its own names are seen. */
void lt_onnx_call_function(lt_onnx *c, const lt_onnx_function *f) {
  lt_onnx_call call = {f, c->n};
  const lt_onnx_call *outer = c->call;
  lt_onnx_scope *s = lt_onnx_scope_new(c, NULL);
  if (c->n->in.n > f->in.n || c->n->out.n > f->out.n)
    lt_ox_refuse(c, "it is a function of %u inputs and %u results", f->in.n, f->out.n);
  for (uint32_t i = 0; i < f->attrs.n; i++) lt_ox_attr(c, f->attrs.at[i]);
  for (uint32_t i = 0; i < f->defaults.n; i++) lt_ox_attr(c, f->defaults.at[i].name);
  for (uint32_t i = 0; i < c->n->in.n; i++)
    if (operand(c, i)) bind_slot(c, s, f->in.at[i], operand(c, i));
  lt_onnx_graph body = f->body;
  c->call = &call;
  lt_onnx_run_nodes(c, s, &body);
  c->call = outer;
  for (uint32_t i = 0; i < c->n->out.n; i++)
    if (lt_ox_wants(c, i)) bind_result(c, i, lt_onnx_scope_result(c, s, f->out.at[i]));
}
