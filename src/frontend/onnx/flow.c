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

/* A scan: `states` values are carried from turn to turn, n are walked; the body gives the first again, and what is
 * stacked. */
typedef struct scan { lt_onnx_graph body; uint32_t first, states, n, stacked; walked *walk; int64_t turns; } scan;

/* What is walked: along an axis of its own, before version 9 the one behind the batches. */
static void read_walked(lt_onnx *c, scan *s) {
  bool batches = c->opset < 9;
  const char *back = batches ? "directions" : "scan_input_directions";
  s->walk = LT_NEW_ARRAY(c->arena, walked, s->n);
  for (uint32_t i = 0; i < s->n; i++) {
    walked *w = &s->walk[i];
    w->x = lt_ox_in(c, s->first + s->states + i);
    lt_type t = lt_ox_of(c, w->x);
    if (t.rank < 1u + batches)
      lt_ox_refuse(c, "operand %u is %s", s->first + s->states + i + 1, lt_type_text(c->arena, &t));
    w->axis = batches ? 1 : lt_ox_axis(c, number_of(c, "scan_input_axes", i), t.rank);
    w->back = number_of(c, back, i);
    if (i && t.dim[w->axis] != s->turns) lt_ox_refuse(c, "its inputs are not equally long");
    s->turns = t.dim[w->axis];
  }
}

static scan read_scan(lt_onnx *c) {
  scan s = {.body = read_body(c, "body"), .first = c->opset < 9};
  int64_t given = lt_ox_int(c, "num_scan_inputs", 0), operands = (int64_t)c->n->in.n - s.first;
  if (given < 1 || given > operands || s.body.inputs.n != operands || s.body.outputs.n != c->n->out.n)
    lt_ox_refuse(c, "its body has %u inputs and %u results", s.body.inputs.n, s.body.outputs.n);
  s.n = (uint32_t)given, s.states = (uint32_t)(operands - given);
  if (s.body.outputs.n < s.states) lt_ox_refuse(c, "its body has %u results for %u states", s.body.outputs.n, s.states);
  s.stacked = s.body.outputs.n - s.states;
  read_walked(c, &s);
  return s;
}

static void check_turns(lt_onnx *c, int64_t batches, int64_t turns) {
  if (turns > MOST_TURNS / batches) lt_ox_refuse(c, "it turns more than %d times", (int)MOST_TURNS);
}

static void run_turns(lt_onnx *c, const scan *s, int64_t turns, lt_onnx_slot **now, stack *all) {
  lt_onnx_graph g = s->body;
  for (int64_t t = 0; t < turns; t++) {
    lt_onnx_scope *in = lt_onnx_scope_new(c, c->scope);
    for (uint32_t i = 0; i < s->states; i++) bind_slot(c, in, g.inputs.at[i].name, now[i]);
    for (uint32_t i = 0; i < s->n; i++) {
      const walked *w = &s->walk[i];
      bind_value(c, in, g.inputs.at[s->states + i].name, turn_of(c, w->x, w->axis, w->back ? turns - 1 - t : t));
    }
    lt_onnx_run_nodes(c, in, &g);
    for (uint32_t i = 0; i < s->states; i++) now[i] = lt_onnx_scope_result(c, in, g.outputs.at[i].name);
    for (uint32_t i = 0; i < s->stacked; i++)
      push(c, &all[i], lt_onnx_scope_result(c, in, g.outputs.at[s->states + i].name));
  }
}

/* Batch b of operand i. */
static lt_value batch_of(lt_onnx *c, uint32_t i, int64_t batches, int64_t b) {
  lt_value x = lt_ox_in(c, i);
  lt_type t = lt_ox_of(c, x);
  if (!t.rank || t.dim[0] != batches)
    lt_ox_refuse(c, "operand %u is %s beside %lld batches", i + 1, lt_type_text(c->arena, &t), (long long)batches);
  return turn_of(c, x, 0, b);
}

static scan of_batch(lt_onnx *c, const scan *s, int64_t batches, int64_t b, lt_onnx_slot **now) {
  scan one = *s;
  uint32_t first = s->first;
  one.walk = LT_NEW_ARRAY(c->arena, walked, s->n);
  for (uint32_t i = 0; i < s->n; i++)
    one.walk[i] = (walked){batch_of(c, first + s->states + i, batches, b), 0, s->walk[i].back};
  for (uint32_t i = 0; i < s->states; i++) {
    lt_onnx_slot *slot = LT_NEW(c->arena, lt_onnx_slot);
    slot->value = batch_of(c, first + i, batches, b);
    now[i] = slot;
  }
  return one;
}

/* What is stacked of a batch, with zeros behind the end of its sequence, as a value of its own: [1, T, …] */
static lt_value padded(lt_onnx *c, const stack *s, int64_t turns) {
  lt_value v = lt_ox_concat(c, s->part, s->n, 0);
  lt_type t = lt_ox_of(c, v);
  int64_t dim[LT_MAX_RANK + 1] = {1, turns};
  lt_pad_attrs p = {.pads = {2 * t.rank, {0}}};
  p.pads.v[t.rank] = turns - t.dim[0];
  memcpy(dim + 2, t.dim + 1, (t.rank - 1u) * sizeof *dim);
  if (p.pads.v[t.rank]) v = lt_emit(c->g, LT_OP_pad, &p, &v, 1);
  return lt_ox_reshape(c, v, t.rank + 1u, dim);
}

/* Before version 9 operands have an axis of batches, each of which is a scan of its own, as long as operand 0 says. */
static void scan_batches(lt_onnx *c, const scan *s) {
  int64_t batches = lt_ox_of(c, s->walk[0].x).dim[0];
  lt_ox_ints lens = lt_ox_has(c, 0) ? lt_ox_known_ints(c, 0, "sequence_lens") : (lt_ox_ints){0};
  lt_onnx_slot **now = LT_NEW_ARRAY(c->arena, lt_onnx_slot *, s->states + 1);
  stack *ends = LT_NEW_ARRAY(c->arena, stack, c->n->out.n + 1), *all = LT_NEW_ARRAY(c->arena, stack, s->stacked + 1);
  check_turns(c, batches, s->turns);
  if (lens.n && lens.n != batches) lt_ox_refuse(c, "sequence_lens has %lld numbers", (long long)lens.n);
  for (uint32_t i = 0; i < c->n->out.n; i++) ends[i] = stack_new(c, batches, 0, false);
  for (int64_t b = 0; b < batches; b++) {
    int64_t turns = lens.n ? lens.v[b] : s->turns;
    if (turns < 1 || turns > s->turns) lt_ox_refuse(c, "a sequence is %lld long", (long long)turns);
    scan one = of_batch(c, s, batches, b, now);
    for (uint32_t i = 0; i < s->stacked; i++) all[i] = stack_new(c, turns, 0, false);
    run_turns(c, &one, turns, now, all);
    for (uint32_t i = 0; i < s->states; i++) push(c, &ends[i], now[i]);
    for (uint32_t i = 0; i < s->stacked; i++)
      ends[s->states + i].part[ends[s->states + i].n++] = padded(c, &all[i], s->turns);
  }
  for (uint32_t i = 0; i < c->n->out.n; i++) bind_stack(c, i, &ends[i]);
}

void lt_onnx_scan(lt_onnx *c) {
  scan s = read_scan(c);
  if (c->opset < 9) {
    scan_batches(c, &s);
    return;
  }
  lt_onnx_slot **now = LT_NEW_ARRAY(c->arena, lt_onnx_slot *, s.states + 1);
  stack *all = LT_NEW_ARRAY(c->arena, stack, s.stacked + 1);
  check_turns(c, 1, s.turns);
  for (uint32_t i = 0; i < s.states; i++)
    if (!(now[i] = operand(c, i))) lt_ox_refuse(c, "operand %u is missing", i + 1);
  for (uint32_t i = 0; i < s.stacked; i++)
    all[i] = stack_new(c, s.turns, number_of(c, "scan_output_axes", i), number_of(c, "scan_output_directions", i));
  run_turns(c, &s, s.turns, now, all);
  for (uint32_t i = 0; i < s.states; i++) bind_result(c, i, now[i]);
  for (uint32_t i = 0; i < s.stacked; i++) bind_stack(c, s.states + i, &all[i]);
}

/* ---- what an op is told to do on the way --------------------------------------------------------------------------
 */

lt_value lt_onnx_apply_body(lt_onnx *c, const char *name, lt_value x) {
  if (!lt_ox_attr(c, name)) return x;
  lt_onnx_graph g = read_body(c, name);
  lt_onnx_scope *s = lt_onnx_scope_new(c, c->scope);
  if (g.inputs.n != 1 || g.outputs.n != 1)
    lt_ox_refuse(c, "its %s has %u inputs and %u results, should have one each", name, g.inputs.n, g.outputs.n);
  bind_value(c, s, g.inputs.at[0].name, x);
  lt_onnx_run_nodes(c, s, &g);
  lt_value y = lt_onnx_slot_value(c, lt_onnx_scope_result(c, s, g.outputs.at[0].name));
  lt_type t = lt_ox_of(c, x), u = lt_ox_of(c, y);
  if (!lt_type_eq(&t, &u))
    lt_ox_refuse(c, "its %s makes %s of %s", name, lt_type_text(c->arena, &u), lt_type_text(c->arena, &t));
  return y;
}

/* ---- functions --------------------------------------------------------------------------------------------------- */

const lt_onnx_function *lt_onnx_function_of(const lt_onnx *c, const lt_onnx_node *n) {
  return lt_onnx_function_named(&c->m, n->domain, n->op);
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

static void check_recursion(lt_onnx *c, const lt_onnx_function *f) {
  const lt_loc loc = {.file = c->m.wire.file};
  for (const lt_onnx_call *k = c->call; k; k = k->outer)
    if (k->f == f) lt_fail(c->job, LATHE_E_INVALID, &loc, "the function `%.60s` calls itself", f->name);
}

/* The nodes of the function in the place of the call, where only its own names are seen. */
void lt_onnx_call_function(lt_onnx *c, const lt_onnx_function *f) {
  lt_onnx_call call = {f, c->n, c->call};
  const lt_onnx_call *outer = c->call;
  lt_onnx_scope *s = lt_onnx_scope_new(c, NULL);
  check_recursion(c, f);
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
