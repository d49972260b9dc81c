/* apply.c: calls that a program makes: one op or layer with its attributes as text (lt_apply). The same steps as in value.c,
 * without names in scope, blocks and places in a file. */
#include "frontend/text.h"

/* name= among the arguments: taken out, since it is no attribute. */
static const char *take_name_argument(const lt_names_seen *s, const char *op, lt_attr_arg *args, unsigned *n) {
  const char *name = NULL;
  unsigned kept = 0;
  for (unsigned i = 0; i < *n; i++) {
    if (strcmp(args[i].key, "name")) {
      args[kept++] = args[i];
      continue;
    }
    if (name) lt_fail(s->job, LATHE_E_INVALID, NULL, "%s: `name` is given twice", op);
    if (args[i].value.kind != LT_V_STRING) lt_fail(s->job, LATHE_E_INVALID, NULL, "%s: `name` must be a string", op);
    name = args[i].value.text;
    if (!name[0]) lt_fail(s->job, LATHE_E_INVALID, NULL, "%s: `name` is empty", op);
  }
  *n = kept;
  return name;
}

static lt_attr_arg *eval_attrs(const lt_names_seen *s, const char *op, const lt_expr *call, unsigned *n) {
  lt_attr_arg *args = LT_NEW_ARRAY(s->arena, lt_attr_arg, call->n + 1);
  for (uint32_t i = 0; i < call->n; i++) {
    args[i].key = call->args[i].key;
    args[i].pos = call->args[i].pos;
    lt_attr_eval(s, &args[i].value, call->args[i].value, lt_arena_printf(s->arena, "attribute `%s` of %s", args[i].key, op));
  }
  *n = call->n;
  return args;
}

LT_NORETURN void lt_fail_unknown_op(lt_job *job, const lt_loc *loc, const char *name, const char *const *more) {
  const char *near = lt_nearest(name, lt_op_names());
  if (!near && more) near = lt_nearest(name, more);
  lt_fail(job, LATHE_E_INVALID, loc, near ? "there is no op `%.80s`\nhelp: did you mean `%s`?"
    : "there is no op `%.80s`\nhelp: `lathe ops` lists them%s", name, near ? near : more ? "; a block must be defined in the same file" : "");
}

/* Where a call stands among names: prefix goes before every name, base is the name of what has none given. */
typedef struct applying { lt_names_seen seen; lt_graph *g; lt_namer *names; const char *prefix, *base; } applying;

static const char *full_name(const applying *a, const char *name) {
  return lt_arena_printf(a->seen.arena, "%s%s", a->prefix, name ? name : a->base);
}

/* attrs: a call whose arguments all have keys. Returns the first result. */
static lt_value apply_call(const applying *a, const char *op, const lt_expr *attrs, const lt_value *in, size_t n_in) {
  lt_graph *g = a->g;
  lt_call c;
  unsigned n_args;
  while (n_in && !in[n_in - 1]) n_in--;
  lt_call_resolve(&c, op, NULL, NULL, (unsigned)LT_MIN(n_in, 99));
  if (!c.op && !c.layer) lt_fail_unknown_op(g->job, NULL, op, NULL);
  if (c.op && lt_op_table[c.op].flags & LT_LEAF)
    lt_fail(g->job, LATHE_E_INVALID, NULL, "`%s` is no op with operands\nhelp: inputs, params, states and constants have calls of their own", op);
  if (n_in > UINT16_MAX) lt_fail(g->job, LATHE_E_INVALID, NULL, "%s: %zu operands are too many", op, n_in);
  lt_attr_arg *args = eval_attrs(&a->seen, op, attrs, &n_args);
  const char *name = take_name_argument(&a->seen, op, args, &n_args);
  if (name || lt_call_needs_name(&c)) c.name = lt_namer_take(g, &a->names->layers, full_name(a, name), name != NULL);
  if (c.op == LT_OP_dropout) c.key = lt_namer_take(g, &a->names->keys, full_name(a, name), false);
  return lt_call_emit(&a->seen, g, &c, in, (unsigned)n_in, args, n_args);
}

void lt_apply(lt_graph *g, lt_namer *names, const char *op, const char *attrs, const lt_value *in, size_t n_in, lt_value *out, size_t n_out) {
  applying a = {.seen = {.job = g->job, .arena = lt_arena_new(g->job)}, .g = g, .names = names, .prefix = "", .base = op};
  lt_lexer lex;
  lt_lex_init(&lex, g->job, a.seen.arena, NULL, attrs ? attrs : "", attrs ? strlen(attrs) : 0);
  lt_value y = apply_call(&a, op, lt_parse_attrs(&lex, op), in, n_in);
  unsigned results = lt_result_count(g, y);
  if (results != n_out) {
    lt_fail(g->job, LATHE_E_INVALID, NULL, "%s has %u result%s, %zu %s taken%s", op, results, results == 1 ? "" : "s", n_out,
      n_out == 1 ? "is" : "are", n_out == 1 ? "\nhelp: use the call for several results" : "");
  }
  for (size_t i = 0; i < n_out; i++) out[i] = y + (lt_value)i;
}
