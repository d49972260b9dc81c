/* call.c: one call with everything evaluated → nodes: which op or layer is meant, its attributes filled in, and
 * emitted. */
#include "frontend/call.h"

#include <assert.h>
#include <stdio.h>

static unsigned count_words(const char *s) {
  unsigned n = *s != 0;
  for (; *s; s++) n += *s == ' ';
  return n;
}

/* A layer is meant unless an operand is there that only the op has: its weights. */
void lt_call_resolve(lt_op_call *c, const char *text, bool (*has)(const void *ctx, const char *key), const void *ctx,
                     unsigned by_position) {
  *c = (lt_op_call){.text = text, .op = lt_op_find(text, strlen(text)), .layer = lt_layer_find(text, strlen(text))};
  if (!c->op || !c->layer) return;
  const char *layer = lt_layer_table[c->layer].operands, *op = lt_op_table[c->op].operands;
  bool is_op = by_position > count_words(layer);
  for (const char *p = op + strlen(layer); *p && has; p += strcspn(p, " ")) {
    char key[32];
    while (*p == ' ') p++;
    snprintf(key, sizeof key, "%.*s", (int)strcspn(p, " ?*"), p);
    is_op |= has(ctx, key);
  }
  if (is_op) c->layer = LT_LAYER_none;
  else c->op = LT_OP_none;
}

const char *lt_call_operands(const lt_op_call *c) {
  return c->layer ? lt_layer_table[c->layer].operands : lt_op_table[c->op].operands;
}
bool lt_call_needs_name(const lt_op_call *c) { return c->layer && lt_layer_table[c->layer].weights; }
unsigned lt_result_count(const lt_graph *g, lt_value first) { return first ? lt_node_of(g, first)->n_out : 0; }

/* bias= and nobias= say the same thing twice; both given must agree. */
static void check_bias(const lt_caller *by, const lt_layer_info *l, const lt_attr_arg *args, unsigned n) {
  const lt_attr_arg *bias = NULL, *nobias = NULL;
  for (unsigned i = 0; i < n; i++) {
    if (args[i].value.kind != LT_V_BOOL) continue;
    if (!strcmp(args[i].key, "bias")) bias = &args[i];
    if (!strcmp(args[i].key, "nobias")) nobias = &args[i];
  }
  if (!bias || !nobias || bias->value.i != nobias->value.i) return;
  lt_loc loc = lt_loc_at(by->file, nobias->pos);
  lt_fail(by->job, LATHE_E_INVALID, &loc,
          "%s: bias=%s and nobias=%s contradict each other\nhelp: one of them is enough", l->name, bias->value.text,
          nobias->value.text);
}

static lt_value emit_layer(const lt_caller *by, lt_graph *g, const lt_op_call *c, const lt_value *in, unsigned n_in,
                           const lt_attr_arg *args, unsigned n_args) {
  const lt_layer_info *l = &lt_layer_table[c->layer];
  lt_value operands[4] = {0};
  unsigned most = count_words(l->operands);
  void *attrs = lt_arena_alloc(by->arena, l->attrs_size);
  assert(most <= LT_COUNT(operands));
  if (n_in > most) {
    lt_loc loc = lt_loc_at(by->file, c->pos);
    lt_fail(g->job, LATHE_E_INVALID, &loc, "%s takes %u operand%s (%s), not %u", l->name, most, most == 1 ? "" : "s",
            l->operands, n_in);
  }
  lt_layer_defaults(c->layer, attrs);
  check_bias(by, l, args, n_args);
  lt_attrs_fill(by, &g->arena, l->name, l->attrs(), l->n_attrs, attrs, args, n_args, c->pos);
  if (n_in) memcpy(operands, in, n_in * sizeof *in);
  return lt_layer_emit(g, c->layer, attrs, c->name, operands);
}

lt_value lt_call_emit(const lt_caller *by, lt_graph *g, const lt_op_call *c, const lt_value *in, unsigned n_in,
                      const lt_attr_arg *args, unsigned n_args) {
  assert(!c->op != !c->layer);
  if (c->layer) return emit_layer(by, g, c, in, n_in, args, n_args);
  const lt_op_info *op = &lt_op_table[c->op];
  const char *outer = g->label;
  void *attrs = lt_arena_alloc(by->arena, op->attrs_size);
  lt_attrs_default(c->op, attrs);
  lt_attrs_fill(by, by->arena, op->name, op->attrs, op->n_attrs, attrs, args, n_args, c->pos);
  lt_dropout_attrs *dropout = c->op == LT_OP_dropout ? attrs : NULL;
  if (dropout && !dropout->key[0] && c->key) dropout->key = c->key;
  if (c->name) g->label = c->name;
  lt_value y = lt_emit(g, c->op, attrs, in, n_in);
  g->label = outer;
  return y;
}

LT_NORETURN void lt_fail_unknown_op(lt_job *job, const lt_loc *loc, const char *name, const char *const *more) {
  const char *near = lt_nearest(name, lt_op_names());
  if (!near && more) near = lt_nearest(name, more);
  lt_fail(job, LATHE_E_INVALID, loc,
          near ? "there is no op `%.80s`\nhelp: did you mean `%s`?"
               : "there is no op `%.80s`\nhelp: `lathe ops` lists them%s",
          name,
          near   ? near
          : more ? "; a block must be defined in the same file"
                 : "");
}
