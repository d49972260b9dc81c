/* block.c: a block in the place of its call: operands and attributes bound in a scope of its own, its statements run
 * there; and whether an instance makes weights, so that it needs a name. */
#include "frontend/text/elab.h"

#include "frontend/call.h"

#include <stdio.h>

/* ---- whether it makes weights ------------------------------------------------------------------------------------ */

static bool expr_has_weights(lt_elab *e, const lt_expr *x, int depth);
static bool block_has_weights(lt_elab *e, lt_block *b, int depth);
static bool call_has_weights(lt_elab *e, const lt_expr *x, unsigned before, int depth);

/* An element is a call whose first operand has come before, or a bare name. */
static bool sequence_has_weights(lt_elab *e, const lt_expr *x, unsigned before, int depth) {
  for (uint32_t i = 0; i < x->n; i++) {
    const lt_expr *part = x->args[i].value;
    bool element = before + i > 0 && (part->kind == LT_E_NAME || part->kind == LT_E_CALL);
    if (element ? call_has_weights(e, part, 1, depth) : expr_has_weights(e, part, depth)) return true;
  }
  return false;
}

/* before: operands that stand before those of the call. A bare name is a call without arguments. */
static bool call_has_weights(lt_elab *e, const lt_expr *x, unsigned before, int depth) {
  uintptr_t block;
  lt_op_call c;
  unsigned positional = before;
  if (lt_is_sequence(x)) return sequence_has_weights(e, x, before, depth);
  for (uint32_t i = 0; i < x->n; i++) {
    positional += !x->args[i].key;
    if (expr_has_weights(e, x->args[i].value, depth)) return true;
  }
  if (lt_map_gets(&e->tree->block, x->text, &block)) return block_has_weights(e, (lt_block *)block, depth + 1);
  lt_call_resolve(&c, x->text, lt_elab_has_key, x, positional);
  return lt_call_needs_name(&c);
}

bool lt_elab_sequence_has_weights(lt_elab *e, const lt_expr *x) { return sequence_has_weights(e, x, 0, 0); }

static bool expr_has_weights(lt_elab *e, const lt_expr *x, int depth) {
  switch (x->kind) {
  case LT_E_CALL: return call_has_weights(e, x, 0, depth);
  case LT_E_NEG: return expr_has_weights(e, x->items[0], depth);
  case LT_E_CHAIN:
    for (uint32_t i = 0; i < x->n; i++)
      if (expr_has_weights(e, x->terms[i].value, depth)) return true;
    return false;
  case LT_E_NAME: case LT_E_INT: case LT_E_FLOAT: case LT_E_STRING: case LT_E_WORD: case LT_E_LIST:
  case LT_E_VALUE: break;
  }
  return false;
}

static bool body_has_weights(lt_elab *e, const lt_stmts *body, int depth) {
  for (uint32_t i = 0; i < body->n; i++) {
    const lt_stmt *s = body->at[i];
    if (s->kind == LT_S_LEAF  ? s->leaf != LT_OP_const
        : s->kind == LT_S_FOR ? body_has_weights(e, &s->body, depth)
                              : expr_has_weights(e, s->value, depth))
      return true;
  }
  return false;
}

/* Whether instances need a name of their own. Known from the text alone; a block that is in the middle of being asked
 * calls itself, which is reported when it is inlined. */
static bool block_has_weights(lt_elab *e, lt_block *b, int depth) {
  if (depth > LT_MAX_BLOCKS) lt_elab_fail(e, b->pos, "blocks nest more than %d deep", (int)LT_MAX_BLOCKS);
  if (!b->weights) {
    b->weights = 1;
    b->weights = body_has_weights(e, &b->body, depth) ? 2 : 1;
  }
  return b->weights == 2;
}

/* ---- in place ---------------------------------------------------------------------------------------------------- */

/* name: the instance's, without prefix. */
typedef struct block_call {
  lt_block *block;
  const char *name;
  lt_pos pos;
  const lt_value *in;
  const lt_attr_arg *args;
  unsigned n_args;
} block_call;

static void bind_attrs(lt_elab *e, const block_call *c) {
  const lt_block *b = c->block;
  for (uint32_t i = 0; i < b->attrs.n; i++) {
    const lt_arg *a = &b->attrs.at[i];
    lt_attr_value v = {.kind = LT_V_NONE};
    bool given = false;
    for (unsigned k = 0; k < c->n_args; k++)
      if (!strcmp(c->args[k].key, a->key)) v = c->args[k].value, given = true;
    if (!given && !a->value)
      lt_elab_fail(e, c->pos, "block `%s` needs the attribute `%s`\nhelp: add `%s=…`", b->name, a->key, a->key);
    if (!given) lt_attr_eval(&e->seen, &v, a->value, lt_arena_printf(e->arena, "the default of `%s`", a->key));
    lt_elab_put_attr(e, a->key, &v);
  }
}

static void collect(lt_elab *e, const lt_block *b, lt_values *out) {
  for (uint32_t i = 0; i < b->outs.n; i++) {
    const lt_target *t = &b->outs.at[i];
    const lt_entry *found = lt_elab_find(e, t->name);
    if (!found || found->is_attr)
      lt_elab_fail(e, t->pos, "the output `%s` of block `%s` is never bound", t->name, b->name);
    lt_vec_push(e->arena, out, found->v);
  }
}

static void inline_block(lt_elab *e, const block_call *c, lt_values *out) {
  lt_block *b = c->block;
  lt_scope *outer = e->scope, own = {.prefix = lt_arena_printf(e->arena, "%s.", c->name)};
  const char *base = e->base, *within = e->within;
  if (e->blocks == LT_MAX_BLOCKS) lt_elab_fail(e, c->pos, "blocks nest more than %d deep", (int)LT_MAX_BLOCKS);
  lt_elab_pay(e, c->pos, 1);
  b->open = true;
  e->scope = &own;
  e->seen.scope = &own;
  e->within = "";
  bind_attrs(e, c);
  snprintf(e->trace[e->blocks++], sizeof e->trace[0], "in block `%.40s` as `%.60s`, called on line %d", b->name,
           c->name, (int)c->pos.line);
  for (uint32_t i = 0; i < b->operands.n; i++) lt_elab_put(e, b->operands.at[i].name, (lt_entry){.v = c->in[i]});
  lt_elab_run(e, &b->body);
  collect(e, b, out);
  b->open = false;
  e->scope = outer;
  e->seen.scope = outer;
  e->base = base;
  e->within = within;
  e->blocks--;
}

/* ---- the call ---------------------------------------------------------------------------------------------------- */

static int block_operand(const lt_block *b, const char *key) {
  for (uint32_t i = 0; i < b->operands.n; i++)
    if (!strcmp(b->operands.at[i].name, key)) return (int)i;
  return -1;
}

static lt_value *block_operands(lt_elab *e, const lt_expr *x, const lt_block *b) {
  lt_values in = {0};
  uint32_t n = b->operands.n;
  bool *given = LT_NEW_ARRAY(e->arena, bool, n + 1);
  for (uint32_t i = 0; i < n; i++) lt_vec_push(e->arena, &in, 0);
  for (uint32_t i = 0; i < x->n; i++) {
    const lt_arg *a = &x->args[i];
    int at = a->key ? block_operand(b, a->key) : (int)i;
    if (at < 0) continue;
    if (!a->key && i >= n) {
      lt_elab_fail(
        e, a->pos, "block `%s` takes %u operand%s, not %u%s", b->name, n, n == 1 ? "" : "s", lt_elab_by_position(x),
        b->attrs.n ? lt_arena_printf(e->arena, "\nhelp: attributes go by name, as in `%s=…`", b->attrs.at[0].key) : "");
    }
    if (given[at]) lt_elab_fail(e, a->pos, "the operand `%s` of block `%s` is given twice", a->key, b->name);
    given[at] = true;
    in.at[at] = lt_elab_value(e, a->value);
  }
  for (uint32_t i = 0; i < n; i++)
    if (!given[i]) lt_elab_fail(e, x->pos, "block `%s` needs the operand `%s`", b->name, b->operands.at[i].name);
  return in.at;
}

static bool block_has_attr(const lt_block *b, const char *key) {
  for (uint32_t i = 0; i < b->attrs.n; i++)
    if (!strcmp(b->attrs.at[i].key, key)) return true;
  return false;
}

LT_NORETURN static void fail_block_attr(lt_elab *e, const lt_block *b, const lt_arg *a) {
  const char **names = LT_NEW_ARRAY(e->arena, const char *, b->attrs.n + b->operands.n + 2);
  uint32_t n = 0;
  for (uint32_t i = 0; i < b->attrs.n; i++) names[n++] = b->attrs.at[i].key;
  for (uint32_t i = 0; i < b->operands.n; i++) names[n++] = b->operands.at[i].name;
  names[n] = "name";
  const char *near = lt_near_name(a->key, names);
  lt_elab_fail(e, a->pos,
               near ? "block `%s` has no attribute `%.60s`\nhelp: did you mean `%s`?"
                    : "block `%s` has no attribute `%.60s`",
               b->name, a->key, near);
}

static lt_attr_arg *block_attrs(lt_elab *e, const lt_expr *x, const lt_block *b, unsigned *n) {
  lt_attr_arg *args = LT_NEW_ARRAY(e->arena, lt_attr_arg, x->n + 1);
  *n = 0;
  for (uint32_t i = 0; i < x->n; i++) {
    const lt_arg *a = &x->args[i];
    if (!a->key || !strcmp(a->key, "name") || block_operand(b, a->key) >= 0) continue;
    if (!block_has_attr(b, a->key)) fail_block_attr(e, b, a);
    for (unsigned k = 0; k < *n; k++)
      if (!strcmp(args[k].key, a->key))
        lt_elab_fail(e, a->pos, "attribute `%s` of block `%s` is given twice", a->key, b->name);
    lt_attr_arg *out = &args[(*n)++];
    out->key = a->key;
    out->pos = a->pos;
    lt_attr_eval(&e->seen, &out->value, a->value,
                 lt_arena_printf(e->arena, "attribute `%.60s` of block `%s`", a->key, b->name));
    if (out->value.kind == LT_V_STRING) out->value.text = lt_elab_text(e, out->value.text, out->value.pos);
  }
  return args;
}

void lt_elab_call_block(lt_elab *e, const lt_expr *x, lt_block *b, lt_values *out) {
  block_call c = {.block = b, .pos = x->pos};
  if (b->open)
    lt_elab_fail(e, x->pos,
                 "block `%s` calls itself\nhelp: blocks are written out in place; repeat with `for i in 0..n { }`",
                 b->name);
  c.name = lt_elab_take_name(e, x, block_has_weights(e, b, 0));
  if (!c.name) c.name = lt_elab_full_name(e, e->base);
  c.in = block_operands(e, x, b);
  c.args = block_attrs(e, x, b, &c.n_args);
  inline_block(e, &c, out);
}
