/* value.c: expressions in operand position → nodes of the graph: numbers, names, infix, calls of ops, layers and
 * blocks.
 *
 * Names of layers are taken on the way down, so that outer ones come before inner ones, as the language says. */
#include "frontend/text/elab.h"

#include "frontend/call.h"

#include <math.h>

enum { MAX_DEPTH = 512 };

static lt_value number(lt_elab *e, lt_pos pos, float v, bool finite_text) {
  if (finite_text && v - v != 0) lt_elab_fail(e, pos, "this number is too large for f32");
  lt_elab_at(e, pos);
  return lt_const_scalar(e->g, LT_F32, (double)v);
}

static lt_value literal(lt_elab *e, const lt_expr *x, bool negative) {
  float v;
  if (!lt_read_float(x->text, &v)) lt_elab_fail(e, x->pos, "%.40s is too large for f32", x->text);
  return number(e, x->pos, negative ? -v : v, true);
}

static lt_value named(lt_elab *e, const lt_expr *x) {
  const lt_entry *found = lt_elab_find(e, x->text);
  if (!found && !x->quoted && !strcmp(x->text, "inf")) return number(e, x->pos, (float)INFINITY, false);
  if (!found && !x->quoted && !strcmp(x->text, "nan")) return number(e, x->pos, (float)NAN, false);
  if (!found) found = lt_elab_lookup(e, x->text, x->pos);
  if (!found->is_attr) return found->v;
  const lt_attr_value *a = &found->attr;
  if (a->kind == LT_V_NONE) return 0;
  if (a->kind != LT_V_INT && a->kind != LT_V_FLOAT)
    lt_elab_fail(e, x->pos, "`%s` is %s, which is no value to compute with", x->text, lt_attr_value_text(e->arena, a));
  return number(e, x->pos, a->s, a->f - a->f == 0);
}

/* An operand that must be there. */
static lt_value present(lt_elab *e, const lt_expr *x) {
  lt_value v = lt_elab_value(e, x);
  if (!v) lt_elab_fail(e, x->pos, "`none` cannot be computed with");
  return v;
}

static lt_value chain(lt_elab *e, const lt_expr *x) {
  lt_value v = present(e, x->terms[0].value);
  for (uint32_t i = 1; i < x->n; i++) {
    const lt_term *t = &x->terms[i];
    lt_value w = present(e, t->value);
    lt_elab_at(e, t->pos);
    v = lt_binary(e->g,
                  t->op == '+'   ? LT_OP_add
                  : t->op == '-' ? LT_OP_sub
                  : t->op == '*' ? LT_OP_mul
                                 : LT_OP_div,
                  v, w);
  }
  return v;
}

static lt_value negative(lt_elab *e, const lt_expr *x) {
  const lt_expr *inner = x->items[0];
  if (inner->kind == LT_E_INT || inner->kind == LT_E_FLOAT) return literal(e, inner, true);
  if (inner->kind == LT_E_NAME && !inner->quoted && !strcmp(inner->text, "inf") && !lt_elab_find(e, "inf"))
    return number(e, x->pos, -(float)INFINITY, false);
  lt_value v = present(e, inner);
  lt_elab_at(e, x->pos);
  return lt_unary(e->g, LT_OP_neg, v);
}

static lt_value single(lt_elab *e, const lt_expr *x) {
  lt_values out = {0};
  lt_elab_results(e, x, &out);
  if (out.n != 1)
    lt_elab_fail(e, x->pos, "`%s` has %u results, one is needed here\nhelp: bind them first: `a, b = %s(…)`", x->text,
                 out.n, x->text);
  return out.at[0];
}

static lt_value value(lt_elab *e, const lt_expr *x) {
  switch (x->kind) {
  case LT_E_INT: case LT_E_FLOAT: return literal(e, x, false);
  case LT_E_NAME: return named(e, x);
  case LT_E_CALL: return single(e, x);
  case LT_E_CHAIN: return chain(e, x);
  case LT_E_NEG: return negative(e, x);
  case LT_E_VALUE: return x->value;
  case LT_E_STRING:
    lt_elab_fail(e, x->pos,
                 "a string is no value to compute with\nhelp: strings are attributes, as in `name=\"stem\"`");
  case LT_E_LIST:
    lt_elab_fail(e, x->pos,
                 "a list is no value to compute with\nhelp: write `const NAME: f32[…] = […]` and use the name");
  case LT_E_WORD:
    if (x->text[0] != 'n')
      lt_elab_fail(e, x->pos, "`%s` is no value to compute with\nhelp: a number is an f32 scalar", x->text);
  }
  return 0;
}

lt_value lt_elab_value(lt_elab *e, const lt_expr *x) {
  if (++e->depth > MAX_DEPTH) lt_elab_fail(e, x->pos, "calls and blocks nest more than %d deep", (int)MAX_DEPTH);
  lt_value v = value(e, x);
  e->depth--;
  return v;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

bool lt_elab_has_key(const void *ctx, const char *key) {
  const lt_expr *x = ctx;
  for (uint32_t i = 0; i < x->n; i++)
    if (x->args[i].key && !strcmp(x->args[i].key, key)) return true;
  return false;
}

unsigned lt_elab_by_position(const lt_expr *x) {
  unsigned n = 0;
  while (n < x->n && !x->args[n].key) n++;
  return n;
}

/* The name="…" of a call, filled in; NULL: none. */
static const char *explicit_name(lt_elab *e, const lt_expr *x) {
  const lt_arg *found = NULL;
  for (uint32_t i = 0; i < x->n; i++) {
    if (!x->args[i].key || strcmp(x->args[i].key, "name")) continue;
    if (found) lt_elab_fail(e, x->args[i].pos, "`name` is given twice");
    found = &x->args[i];
  }
  if (!found) return NULL;
  lt_attr_value v;
  if (found->value->kind == LT_E_NAME && !lt_elab_find(e, found->value->text))
    lt_elab_fail(e, found->value->pos, "`name` must be a string\nhelp: write `name=\"%.60s\"`", found->value->text);
  lt_attr_eval(&e->seen, &v, found->value, "`name`");
  if (v.kind == LT_V_NONE) return NULL;
  if (v.kind != LT_V_STRING)
    lt_elab_fail(e, v.pos, "`name` must be a string, not %s", lt_attr_value_text(e->arena, &v));
  const char *name = lt_elab_text(e, v.text, v.pos);
  if (!name[0]) lt_elab_fail(e, v.pos, "`name` is empty");
  if (lt_name_misfit(name, strlen(name))) lt_elab_fail(e, v.pos, "a name may hold " LT_NAME_RULE);
  return name;
}

const char *lt_elab_full_name(lt_elab *e, const char *name) {
  return lt_arena_printf(e->arena, "%s%s%s", e->scope->prefix, e->within, name);
}

/* The instance's full name, taken, so that no other has it. needed: one made from the name being bound if none is
 * given. */
const char *lt_elab_take_name(lt_elab *e, const lt_expr *x, bool needed) {
  const char *given = explicit_name(e, x);
  if (!given && !needed) return NULL;
  lt_elab_at(e, x->pos);
  return lt_namer_take(e->g, &e->names.layers, lt_elab_full_name(e, given ? given : e->base), given != NULL);
}

/* The i-th name of "x W b?" and its mark (' ', '?' or '*'); false past the end. */
static bool operand_row(const char *operands, unsigned i, char name[32], char *mark) {
  for (; i && *operands; i--) {
    operands += strcspn(operands, " ");
    operands += *operands == ' ';
  }
  size_t n = strcspn(operands, " "), letters = strcspn(operands, " ?*");
  if (!n || letters > 31) return false;
  memcpy(name, operands, letters);
  name[letters] = 0;
  *mark = letters < n ? operands[letters] : ' ';
  return true;
}

static int operand_named(const char *operands, const char *key) {
  char name[32], mark;
  for (unsigned i = 0; operand_row(operands, i, name, &mark); i++)
    if (!strcmp(name, key)) return (int)i;
  return -1;
}

static void put_operand(lt_elab *e, lt_values *in, const lt_arg *a, unsigned slot, uint64_t *filled, const char *what) {
  lt_value v = lt_elab_value(e, a->value);
  if (slot < 64) {
    if (*filled >> slot & 1) lt_elab_fail(e, a->pos, "the operand `%s` is given twice", a->key);
    *filled |= (uint64_t)1 << slot;
  }
  while (in->n <= slot) lt_vec_push(e->arena, in, 0);
  in->at[slot] = v;
  if (in->n > UINT16_MAX) lt_elab_fail(e, a->pos, "%s has more than %d operands", what, UINT16_MAX);
}

/* An optional operand with others after it (grad's seed) is never meant by position. */
static unsigned next_slot(const char *operands, unsigned slot) {
  char name[32], mark, later[32], ignored;
  if (operand_row(operands, slot, name, &mark) && mark == '?' && operand_row(operands, slot + 1, later, &ignored))
    slot++;
  return slot;
}

LT_NORETURN static void fail_too_many(lt_elab *e, const lt_expr *x, const lt_op_call *c, unsigned given) {
  const lt_attr_info *attrs = c->layer ? lt_layer_table[c->layer].attrs() : lt_op_table[c->op].attrs;
  const char *operands = lt_call_operands(c);
  unsigned most = 0;
  char name[32], mark;
  while (operand_row(operands, most, name, &mark)) most++;
  const char *help =
    attrs->name ? lt_arena_printf(e->arena, "\nhelp: attributes go by name, as in `%s=…`", attrs->name) : "";
  lt_elab_fail(e, x->args[most].pos, "%s takes %u operand%s (%s), not %u%s", x->text, most, most == 1 ? "" : "s",
               operands, given, help);
}

static void call_operands(lt_elab *e, const lt_expr *x, const lt_op_call *c, lt_values *in) {
  const char *operands = lt_call_operands(c);
  bool any = strchr(operands, '*');
  uint64_t filled = 0;
  char name[32], mark;
  for (uint32_t i = 0, slot = 0; i < x->n; i++) {
    const lt_arg *a = &x->args[i];
    int at = a->key ? operand_named(operands, a->key) : -1;
    if (a->key && at >= 0) put_operand(e, in, a, (unsigned)at, &filled, x->text);
    if (a->key) continue;
    slot = next_slot(operands, slot);
    if (!any && !operand_row(operands, slot, name, &mark)) fail_too_many(e, x, c, lt_elab_by_position(x));
    put_operand(e, in, a, slot++, &filled, x->text);
  }
}

static bool is_operand_key(const lt_op_call *c, const char *key) {
  return operand_named(lt_call_operands(c), key) >= 0;
}

/* Everything by name that is no operand and not `name`. */
static lt_attr_arg *call_attrs(lt_elab *e, const lt_expr *x, const lt_op_call *c, unsigned *n) {
  lt_attr_arg *args = LT_NEW_ARRAY(e->arena, lt_attr_arg, x->n + 1);
  *n = 0;
  for (uint32_t i = 0; i < x->n; i++) {
    const lt_arg *a = &x->args[i];
    if (!a->key || !strcmp(a->key, "name") || is_operand_key(c, a->key)) continue;
    lt_attr_arg *out = &args[(*n)++];
    out->key = a->key;
    out->pos = a->pos;
    lt_attr_eval(&e->seen, &out->value, a->value,
                 lt_arena_printf(e->arena, "attribute `%.60s` of %s", a->key, x->text));
  }
  return args;
}

LT_NORETURN static void fail_unknown(lt_elab *e, const lt_expr *x) {
  const lt_file *f = e->tree;
  const char **names = LT_NEW_ARRAY(e->arena, const char *, f->blocks.n + LT_LAYERS + 2);
  uint32_t n = 0;
  names[n++] = "sequential";
  for (uint32_t i = 1; i < LT_LAYERS; i++) names[n++] = lt_layer_table[i].name;
  for (uint32_t i = 0; i < f->blocks.n; i++) names[n++] = f->blocks.at[i]->name;
  lt_loc loc = lt_loc_at(e->seen.by.file, x->pos);
  lt_fail_unknown_op(e->job, &loc, x->text, names);
}

static void call_op(lt_elab *e, const lt_expr *x, lt_values *out) {
  lt_op_call c;
  lt_values in = {0};
  unsigned n_args;
  lt_call_resolve(&c, x->text, lt_elab_has_key, x, lt_elab_by_position(x));
  if (!c.op && !c.layer) fail_unknown(e, x);
  lt_layer layer = lt_layer_find(x->text, strlen(x->text));
  if (c.op && layer && x->n > 1 && !x->args[1].key && x->args[1].value->kind == LT_E_INT) {
    const char *first = lt_layer_table[layer].attrs()->name;
    lt_elab_fail(e, x->args[1].pos,
                 "%s takes values here, not a number\nhelp: attributes go by name: `%s(…, %s=%.20s)`", x->text, x->text,
                 first, x->args[1].value->text);
  }
  if (c.op && lt_op_table[c.op].flags & LT_LEAF) {
    lt_elab_fail(e, x->pos,
                 c.op == LT_OP_input
                   ? "`input` cannot be called\nhelp: inputs stand in the network's header: `network NAME(x: f32[…])`"
                   : "`%s` cannot be called\nhelp: write the statement `%s NAME: f32[…] = …`",
                 x->text, x->text);
  }
  c.pos = x->pos;
  c.name = lt_elab_take_name(e, x, lt_call_needs_name(&c));
  lt_elab_at(e, x->pos);
  if (c.op == LT_OP_dropout && !lt_elab_has_key(x, "key"))
    c.key = lt_namer_take(e->g, &e->names.keys, c.name ? c.name : lt_elab_full_name(e, e->base), false);
  call_operands(e, x, &c, &in);
  lt_attr_arg *args = call_attrs(e, x, &c, &n_args);
  lt_elab_at(e, x->pos);
  lt_value y = lt_call_emit(&e->seen.by, e->g, &c, in.at, in.n, args, n_args);
  for (unsigned i = 0; i < lt_result_count(e->g, y); i++) lt_vec_push(e->arena, out, y + i);
}

/* ---- sequences: sequential(x, conv2d(out_channels=8, kernel=3), relu, …, name="net") ----------------------------- */

static bool can_be_called(lt_elab *e, const char *name) {
  return lt_op_find(name, strlen(name)) || lt_layer_find(name, strlen(name)) ||
         lt_map_gets(&e->tree->block, name, NULL);
}

/* An element as the call it stands for: v goes before its operands. */
static const lt_expr *element_call(lt_elab *e, const lt_expr *element, lt_value v) {
  const lt_entry *found = element->kind == LT_E_NAME ? lt_elab_find(e, element->text) : NULL;
  if (element->kind != LT_E_NAME && element->kind != LT_E_CALL)
    lt_elab_fail(e, element->pos,
                 "an element of sequential is an op, a layer or a block\nhelp: `relu` or a call without its first "
                 "operand, `linear(out=10)`");
  if (found && !can_be_called(e, element->text))
    lt_elab_fail(e, element->pos, "`%s` is a value; an element of sequential is an op, a layer or a block",
                 element->text);
  uint32_t n = element->kind == LT_E_CALL ? element->n : 0;
  lt_expr *call = LT_NEW(e->arena, lt_expr), *operand = LT_NEW(e->arena, lt_expr);
  *operand = (lt_expr){.kind = LT_E_VALUE, .pos = element->pos, .text = "the value before", .value = v};
  *call = *element;
  call->kind = LT_E_CALL;
  call->args = LT_NEW_ARRAY(e->arena, lt_arg, n + 1);
  call->args[0] = (lt_arg){.pos = element->pos, .value = operand};
  if (n) memcpy(call->args + 1, element->args, n * sizeof *call->args);
  call->n = n + 1;
  return call;
}

static lt_value element_value(lt_elab *e, const lt_expr *element, lt_value v) {
  lt_values out = {0};
  lt_elab_results(e, element_call(e, element, v), &out);
  if (out.n != 1)
    lt_elab_fail(e, element->pos, "`%s` has %u results, an element of sequential has one", element->text, out.n);
  if (!out.at[0])
    lt_elab_fail(e, element->pos, "`%s` gives none, an element of sequential gives a value", element->text);
  return out.at[0];
}

static void check_sequence(lt_elab *e, const lt_expr *x) {
  for (uint32_t i = 0; i < x->n; i++)
    if (x->args[i].key && strcmp(x->args[i].key, "name"))
      lt_elab_fail(e, x->args[i].pos,
                   "sequential has no attribute `%.60s`\nhelp: it has `name`; others belong to its elements",
                   x->args[i].key);
  if (lt_elab_by_position(x) < 2)
    lt_elab_fail(e, x->pos,
                 "sequential takes an operand and what it goes through\nhelp: `sequential(x, linear(out=10), relu)`");
}

static void reserve_elements(lt_elab *e, const char *inside, unsigned n, bool weights) {
  const char *prefix = lt_arena_printf(e->arena, "%s%s", e->scope->prefix, inside);
  if (weights) lt_namer_reserve(e->g, &e->names.layers, prefix, n);
  lt_namer_reserve(e->g, &e->names.keys, prefix, n);
}

/* Elements are named by their index after the sequence, as layers in a block after its instance: net.0.W, net.2.W. */
static void call_sequence(lt_elab *e, const lt_expr *x, lt_values *out) {
  const char *base = e->base, *within = e->within;
  if (++e->depth > MAX_DEPTH) lt_elab_fail(e, x->pos, "calls and blocks nest more than %d deep", (int)MAX_DEPTH);
  check_sequence(e, x);
  const char *name = lt_elab_take_name(e, x, lt_elab_sequence_has_weights(e, x));
  const char *inside =
    lt_arena_printf(e->arena, "%s.", (name ? name : lt_elab_full_name(e, base)) + strlen(e->scope->prefix));
  reserve_elements(e, inside, lt_elab_by_position(x) - 1, name != NULL);
  lt_value v = present(e, x->args[0].value);
  for (uint32_t i = 1; i < x->n && !x->args[i].key; i++) {
    e->within = inside;
    e->base = lt_arena_printf(e->arena, "%u", i - 1);
    v = element_value(e, x->args[i].value, v);
  }
  e->base = base;
  e->within = within;
  e->depth--;
  lt_vec_push(e->arena, out, v);
}

void lt_elab_results(lt_elab *e, const lt_expr *x, lt_values *out) {
  uintptr_t block;
  if (x->kind != LT_E_CALL) {
    lt_value v = lt_elab_value(e, x);
    lt_vec_push(e->arena, out, v);
  } else if (lt_is_sequence(x)) {
    call_sequence(e, x, out);
  } else if (lt_map_gets(&e->tree->block, x->text, &block)) {
    lt_elab_call_block(e, x, (lt_block *)block, out);
  } else {
    call_op(e, x, out);
  }
}
