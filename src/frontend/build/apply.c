/* apply.c: calls that a program makes: one op or layer with its attributes as text (lt_apply) or as a struct
 * (lt_apply_form), or a sequence of them (lt_apply_sequence). The same steps as in text/value.c, without names in
 * scope, blocks and places in a file. Attributes and elements given as text are parsed and evaluated by the text
 * language's own functions: text/ is below this folder, and nothing there knows of it. */
#include "frontend/build/apply.h"
#include "frontend/call.h"
#include "frontend/source.h"
#include "frontend/text/eval.h"

#include <assert.h>

/* name= among the arguments: taken out, since it is no attribute. */
static const char *take_name_argument(const lt_caller *by, const char *op, lt_attr_arg *args, unsigned *n) {
  const char *name = NULL;
  unsigned kept = 0;
  for (unsigned i = 0; i < *n; i++) {
    if (strcmp(args[i].key, "name")) {
      args[kept++] = args[i];
      continue;
    }
    if (name) lt_fail(by->job, LATHE_E_INVALID, NULL, "%s: `name` is given twice", op);
    if (args[i].value.kind != LT_V_STRING) lt_fail(by->job, LATHE_E_INVALID, NULL, "%s: `name` must be a string", op);
    name = args[i].value.text;
    if (!name[0]) lt_fail(by->job, LATHE_E_INVALID, NULL, "%s: `name` is empty", op);
  }
  *n = kept;
  return name;
}

static lt_attr_arg *eval_attrs(const lt_names_seen *s, const char *op, const lt_expr *call, unsigned *n) {
  lt_attr_arg *args = LT_NEW_ARRAY(s->by.arena, lt_attr_arg, call->n + 1);
  for (uint32_t i = 0; i < call->n; i++) {
    args[i].key = call->args[i].key;
    args[i].pos = call->args[i].pos;
    lt_attr_eval(s, &args[i].value, call->args[i].value,
                 lt_arena_printf(s->by.arena, "attribute `%s` of %s", args[i].key, op));
  }
  *n = call->n;
  return args;
}

/* Where a call stands among names: prefix goes before every name, base is the name of what has none given. */
typedef struct applying { lt_names_seen seen; lt_graph *g; lt_namer *names; const char *prefix, *base; } applying;

static const char *full_name(const applying *a, const char *name) {
  return lt_arena_printf(a->seen.by.arena, "%s%s", a->prefix, name ? name : a->base);
}

/* One call with everything evaluated. Returns the first result. */
static lt_value apply_args(const applying *a, lt_op_call *c, lt_attr_arg *args, unsigned n_args, const lt_value *in,
                           size_t n_in) {
  lt_graph *g = a->g;
  const char *op = c->text;
  if (c->op && lt_op_table[c->op].flags & LT_LEAF)
    lt_fail(g->job, LATHE_E_INVALID, NULL,
            "`%s` is no op with operands\nhelp: inputs, params, states and constants have calls of their own", op);
  if (n_in > UINT16_MAX) lt_fail(g->job, LATHE_E_INVALID, NULL, "%s: %zu operands are too many", op, n_in);
  const char *name = take_name_argument(&a->seen.by, op, args, &n_args);
  if (name || lt_call_needs_name(c)) c->name = lt_namer_take(g, &a->names->layers, full_name(a, name), name != NULL);
  if (c->op == LT_OP_dropout) c->key = lt_namer_take(g, &a->names->keys, full_name(a, name), false);
  return lt_call_emit(&a->seen.by, g, c, in, (unsigned)n_in, args, n_args);
}

/* attrs: a call whose arguments all have keys. */
static lt_value apply_call(const applying *a, const char *op, const lt_expr *attrs, const lt_value *in, size_t n_in) {
  lt_op_call c;
  unsigned n_args;
  while (n_in && !in[n_in - 1]) n_in--;
  lt_call_resolve(&c, op, NULL, NULL, (unsigned)LT_MIN(n_in, 99));
  if (!c.op && !c.layer) lt_fail_unknown_op(a->g->job, NULL, op, NULL);
  lt_attr_arg *args = eval_attrs(&a->seen, op, attrs, &n_args);
  return apply_args(a, &c, args, n_args, in, n_in);
}

static void take_results(lt_graph *g, const char *op, lt_value y, lt_value *out, size_t n_out) {
  unsigned results = lt_result_count(g, y);
  if (results != n_out) {
    lt_fail(g->job, LATHE_E_INVALID, NULL, "%s has %u result%s, %zu %s taken%s", op, results, results == 1 ? "" : "s",
            n_out, n_out == 1 ? "is" : "are", n_out == 1 ? "\nhelp: use the call for several results" : "");
  }
  for (size_t i = 0; i < n_out; i++) out[i] = y + (lt_value)i;
}

void lt_apply(lt_graph *g, lt_namer *names, const char *op, const char *attrs, const lt_value *in, size_t n_in,
              lt_value *out, size_t n_out) {
  applying a = {.seen.by = {g->job, lt_arena_new(g->job), NULL}, .g = g, .names = names, .prefix = "", .base = op};
  lt_lexer lex;
  if (!strcmp(op, "sequential"))
    lt_fail(g->job, LATHE_E_INVALID, NULL, "`sequential` is no op\nhelp: call lathe_sequential");
  lt_lex_init(&lex, g->job, a.seen.by.arena, NULL, attrs ? attrs : "", attrs ? strlen(attrs) : 0);
  take_results(g, op, apply_call(&a, op, lt_parse_attrs(&lex, op), in, n_in), out, n_out);
}

/* A form says itself whether op or layer is meant: no operand needs to be there for that. */
void lt_apply_form(lt_graph *g, lt_namer *names, const lathe_form *form, const void *values, const lt_value *in,
                   size_t n_in, lt_value *out, size_t n_out) {
  const char *name = form->name;
  applying a = {.seen.by = {g->job, lt_arena_new(g->job), NULL}, .g = g, .names = names, .prefix = "", .base = name};
  lt_op_call c = {.text = name};
  if (form->is_layer) c.layer = lt_layer_find(name, strlen(name));
  else c.op = lt_op_find(name, strlen(name));
  if (!c.op && !c.layer) lt_fail_unknown_op(g->job, NULL, name, NULL);
  unsigned n_args;
  lt_attr_arg *args = lt_form_args(&a.seen.by, form, values, &n_args);
  take_results(g, name, apply_args(&a, &c, args, n_args, in, n_in), out, n_out);
}

/* ---- sequences --------------------------------------------------------------------------------------------------- */

static lt_value apply_element(const applying *a, const lt_expr *x, lt_value v);

/* The prefix of a sequence's n elements; its name is taken. */
static const char *take_prefix(const applying *a, const char *name, bool exact, size_t n) {
  const char *prefix = lt_arena_printf(a->seen.by.arena, "%s.", lt_namer_take(a->g, &a->names->layers, name, exact));
  lt_namer_reserve(a->g, &a->names->layers, prefix, n);
  lt_namer_reserve(a->g, &a->names->keys, prefix, n);
  return prefix;
}

/* sequential(relu, linear(out=10), name="head") as an element. */
static lt_value apply_inner(const applying *a, const lt_expr *x, lt_value v) {
  lt_expr named = *x;
  unsigned n = 0, elements = 0;
  while (elements < x->n && !x->args[elements].key) elements++;
  named.args += elements, named.n -= elements;
  lt_attr_arg *args = eval_attrs(&a->seen, x->text, &named, &n);
  const char *name = take_name_argument(&a->seen.by, x->text, args, &n);
  if (n)
    lt_fail_at(&a->seen.by, x->args[elements].pos,
               "sequential has no attribute `%.60s`\nhelp: it has `name`; others belong to its elements", args[0].key);
  if (!elements)
    lt_fail_at(&a->seen.by, x->pos,
               "sequential takes what the value goes through\nhelp: `sequential(linear(out=10), relu)`");
  applying inner = *a;
  inner.prefix = take_prefix(a, full_name(a, name), name != NULL, elements);
  for (uint32_t i = 0; i < elements; i++) {
    inner.base = lt_arena_printf(a->seen.by.arena, "%u", i);
    v = apply_element(&inner, x->args[i].value, v);
  }
  return v;
}

static lt_value apply_element(const applying *a, const lt_expr *x, lt_value v) {
  lt_expr call = *x;
  if (x->kind != LT_E_NAME && x->kind != LT_E_CALL)
    lt_fail_at(
      &a->seen.by, x->pos,
      "an element of sequential is an op or a layer\nhelp: \"relu\" or a call without its operand, \"linear(out=10)\"");
  if (lt_is_sequence(x)) return apply_inner(a, x, v);
  if (x->kind == LT_E_NAME) call.args = NULL, call.n = 0;
  if (call.n && !call.args[0].key)
    lt_fail_at(
      &a->seen.by, call.args[0].pos,
      "an element of sequential has no operands of its own here\nhelp: attributes go by name: \"linear(out=10)\"");
  lt_value y = apply_call(a, x->text, &call, &v, 1);
  unsigned results = lt_result_count(a->g, y);
  if (results != 1)
    lt_fail_at(&a->seen.by, x->pos, "`%s` has %u results, an element of sequential has one", x->text, results);
  return y;
}

lt_value lt_apply_sequence(lt_graph *g, lt_namer *names, lt_value x, const char *name, const char *const *layers,
                           size_t n) {
  applying a = {.seen.by = {g->job, lt_arena_new(g->job), NULL}, .g = g, .names = names};
  bool given = name && *name;
  if (!n)
    lt_fail(g->job, LATHE_E_INVALID, NULL,
            "sequential takes at least one op or layer\nhelp: \"linear(out=10)\", \"relu\"");
  a.prefix = take_prefix(&a, given ? name : "sequential", given, n);
  for (size_t i = 0; i < n; i++) {
    lt_lexer lex;
    const char *text = layers[i] ? layers[i] : "";
    a.seen.by.file = lt_arena_printf(a.seen.by.arena, "layers[%zu]", i); /* the place of what is wrong in it */
    a.base = lt_arena_printf(a.seen.by.arena, "%zu", i);
    lt_lex_init(&lex, g->job, a.seen.by.arena, a.seen.by.file, text, strlen(text));
    x = apply_element(&a, lt_parse_expr(&lex), x);
  }
  return x;
}

/* ---- as a source ------------------------------------------------------------------------------------------------- */

/* The graph that the program has built is all there is; who has it asks for another only to get other dimensions. */
static lt_graph *read_built(lt_job *job, const lt_source *s, const lt_read_options *o) {
  (void)s;
  assert(o && o->n_dims);
  lt_fail(job, LATHE_E_INVALID, NULL,
          "`@%s=%lld`: a network built in C has no named dimensions\nhelp: build it with other shapes", o->dims[0].name,
          (long long)o->dims[0].value);
}

const lt_reader lt_built_reader = {.what = "networks built in C", .read = read_built};
