/* elab.c: syntax tree → graph: networks and their dimensions, statements, notes; names of values.
 *
 * Work is bounded before it is done: every statement has the number of its expressions as its cost, blocks and loops
 * pay for what they write out, and nodes are counted; so a short text cannot ask for endless work. */
#include "frontend/text/elab.h"
#include "frontend/text/read.h"

#include <stdio.h>

void lt_elab_fail(lt_elab *e, lt_pos pos, const char *fmt, ...) {
  lt_loc loc = lt_loc_at(e->seen.by.file, pos);
  va_list ap;
  va_start(ap, fmt);
  lt_failv(e->job, LATHE_E_INVALID, &loc, fmt, ap);
}

void lt_elab_at(lt_elab *e, lt_pos pos) {
  e->g->loc = lt_loc_at(e->seen.by.file, pos);
  if (e->g->nodes.n >= e->max_nodes)
    lt_elab_fail(e, pos, "the network has more than %u nodes when blocks and loops are written out", e->max_nodes);
}

void lt_elab_pay(lt_elab *e, lt_pos pos, uint64_t steps) {
  e->steps += steps;
  if (e->steps > e->max_steps)
    lt_elab_fail(e, pos, "blocks and loops write out too much: more than %llu steps", (unsigned long long)e->max_steps);
}

/* ---- types ------------------------------------------------------------------------------------------------------- */

LT_NORETURN static void fail_unknown_dim(lt_elab *e, const lt_expr *d) {
  const char *near = lt_near_name(d->text, lt_elab_names(e));
  if (near) lt_elab_fail(e, d->pos, "unknown dimension `%.80s`\nhelp: did you mean `%s`?", d->text, near);
  lt_elab_fail(
    e, d->pos,
    e->blocks
      ? "unknown dimension `%.80s`\nhelp: a block sees only its own operands and attributes"
      : "unknown dimension `%.80s`\nhelp: named dimensions stand after the network's name: `network NAME[%.80s=1](…)`",
    d->text, d->text);
}

static lt_type type_of(lt_elab *e, const lt_type_expr *x) {
  lt_type t = {.dtype = x->dtype, .rank = (uint8_t)x->rank};
  int64_t count, bytes;
  for (uint32_t i = 0; i < x->rank; i++) {
    const lt_expr *d = x->dim[i];
    if (d->kind == LT_E_NAME && !lt_scope_find(e->scope, d->text)) fail_unknown_dim(e, d);
    t.dim[i] = lt_attr_eval_int(&e->seen, x->dim[i], "a dimension");
    if (t.dim[i] < 1) lt_elab_fail(e, x->dim[i]->pos, "a dimension is %lld, should be at least 1", (long long)t.dim[i]);
  }
  bool ok = lt_type_count_ok(&t, &count) && lt_mul_ok(&bytes, count, (int64_t)lt_dtype_size(t.dtype));
  if (!ok) lt_elab_fail(e, x->pos, "the size of %s overflows", lt_type_text(e->arena, &t));
  if (e->g->max_bytes && bytes > e->g->max_bytes) {
    lt_elab_fail(e, x->pos, "%s takes %lld bytes, more than the limit of %lld\nhelp: raise it with --max-bytes",
                 lt_type_text(e->arena, &t), (long long)bytes, (long long)e->g->max_bytes);
  }
  return t;
}

/* ---- statements -------------------------------------------------------------------------------------------------- */

static void check_free(lt_elab *e, const char *name, lt_pos pos) {
  const lt_entry *old = lt_scope_find(e->scope, name);
  if (old && old->is_attr)
    lt_elab_fail(e, pos, "`%s` is a dimension, attribute or loop variable here and cannot be bound", name);
}

/* Names are given at the end (name_values); here is noted what a value was called first. */
static void bind(lt_elab *e, const lt_target *t, lt_value v) {
  check_free(e, t->name, t->pos);
  lt_elab_put(e, t->name, (lt_entry){.v = v});
  const lt_bound none = {0};
  while (e->bound.n <= v) lt_vec_push(e->arena, &e->bound, none);
  lt_bound *b = &e->bound.at[v];
  if (!v || (b->name && b->blocks <= e->blocks)) return;
  *b = (lt_bound){lt_arena_printf(e->arena, "%s%s", e->scope->prefix, t->name), e->blocks};
}

static void check_type(lt_elab *e, const lt_target *t, lt_value v) {
  if (!t->type) return;
  lt_type want = type_of(e, t->type);
  if (!v) lt_elab_fail(e, t->type->pos, "`%s` is none, which has no type", t->name);
  if (lt_type_eq(&want, lt_type_of(e->g, v))) return;
  lt_elab_fail(e, t->type->pos, "`%s` is %s, not %s", t->name, lt_type_text(e->arena, lt_type_of(e->g, v)),
               lt_type_text(e->arena, &want));
}

static void run_bind(lt_elab *e, const lt_stmt *s) {
  lt_values out = {0};
  uint32_t before = e->g->nodes.n;
  e->base = s->targets.at[0].name;
  lt_elab_results(e, s->value, &out);
  if (out.n != s->targets.n) {
    const char *what =
      s->value->kind == LT_E_CALL ? lt_arena_printf(e->arena, "`%s`", s->value->text) : "the right side";
    lt_elab_fail(e, s->pos, "%s has %u result%s, %u name%s bound to it%s", what, out.n, out.n == 1 ? "" : "s",
                 s->targets.n, s->targets.n == 1 ? " is" : "s are",
                 out.n == 2  ? "\nhelp: bind both: `a, b = …`"
                 : out.n > 2 ? "\nhelp: bind them all: `a, b, … = …`"
                             : "");
  }
  for (uint32_t i = 0; i < out.n; i++) {
    check_type(e, &s->targets.at[i], out.at[i]);
    bind(e, &s->targets.at[i], out.at[i]);
  }
  if (!s->notes.n) return;
  if (e->g->nodes.n == before || !out.at[0])
    lt_elab_fail(e, s->notes.at[0]->pos, "a note needs an op in its statement");
  lt_elab_notes(e, &s->notes, lt_node_of(e->g, out.at[0]));
}

/* A constant of equal elements is a number and its shape, however large. */
static lt_value constant(lt_elab *e, const lt_stmt *s, const lt_type *t, const lt_init *init) {
  bool one = init->kind == LT_INIT_ONES;
  switch ((lt_init_kind)init->kind) {
  case LT_INIT_LITERAL: return lt_const_data(e->g, init->literal);
  case LT_INIT_ZEROS: case LT_INIT_ONES: return lt_broadcast_to(e->g, lt_const_scalar(e->g, t->dtype, one), t);
  case LT_INIT_NORMAL: case LT_INIT_UNIFORM: break;
  }
  lt_elab_fail(e, s->value->pos,
               "a const has no random value\nhelp: write zeros(), ones() or numbers, or make it a `state`");
}

static void run_leaf(lt_elab *e, const lt_stmt *s) {
  const lt_target *t = &s->targets.at[0];
  const char *kind = lt_op_table[s->leaf].name;
  const char *full = lt_arena_printf(e->arena, "%s%s", e->scope->prefix, t->name);
  lt_type type = type_of(e, t->type);
  check_free(e, t->name, t->pos);
  lt_elab_at(e, t->pos);
  if (lt_find(e->g, full) || lt_scope_find(e->scope, t->name))
    lt_elab_fail(e, t->pos, "the name `%s` is used already", full);
  lt_init init =
    lt_init_eval(&e->seen, &e->g->arena, &type, s->value, lt_arena_printf(e->arena, "%s `%s`", kind, t->name));
  lt_value v = s->leaf == LT_OP_const ? constant(e, s, &type, &init) : lt_leaf(e->g, s->leaf, full, type, &init);
  bind(e, t, v);
  lt_elab_notes(e, &s->notes, lt_node_of(e->g, v));
}

static void run_update(lt_elab *e, const lt_stmt *s) {
  const lt_target *t = &s->targets.at[0];
  const lt_entry *leaf = lt_elab_lookup(e, t->name, t->pos);
  lt_op op = leaf->is_attr || !leaf->v ? LT_OP_none : lt_op_of(e->g, leaf->v);
  if (op != LT_OP_param && op != LT_OP_state)
    lt_elab_fail(e, t->pos, "`%s` cannot be updated: it is no param or state", t->name);
  e->base = t->name;
  lt_value v = lt_elab_value(e, s->value);
  lt_elab_at(e, t->pos);
  if (!v) lt_elab_fail(e, s->value->pos, "`none` is no new value");
  lt_add_update(e->g, leaf->v, v);
}

static void run_for(lt_elab *e, const lt_stmt *s) {
  const lt_target *t = &s->targets.at[0];
  int64_t from = lt_attr_eval_int(&e->seen, s->value, "the loop's first number");
  int64_t to = lt_attr_eval_int(&e->seen, s->to, "the loop's end");
  if (lt_scope_find(e->scope, t->name))
    lt_elab_fail(e, t->pos, "the loop's variable `%s` has a meaning already here", t->name);
  for (int64_t i = from; i < to; i++) {
    lt_elab_pay(e, s->pos, 1);
    lt_elab_put_int(e, t->name, t->pos, i);
    lt_elab_run(e, &s->body);
  }
  lt_map_puts(e->arena, &e->scope->names, t->name, 0);
}

void lt_elab_run(lt_elab *e, const lt_stmts *body) {
  for (uint32_t i = 0; i < body->n; i++) {
    const lt_stmt *s = body->at[i];
    lt_elab_pay(e, s->pos, s->cost);
    switch (s->kind) {
    case LT_S_BIND: run_bind(e, s); break;
    case LT_S_LEAF: run_leaf(e, s); break;
    case LT_S_UPDATE: run_update(e, s); break;
    case LT_S_FOR: run_for(e, s); break;
    }
  }
}

/* ---- networks ---------------------------------------------------------------------------------------------------- */

static const lt_network *choose_network(lt_elab *e, const char *name) {
  const lt_file *f = e->tree;
  const char **names = LT_NEW_ARRAY(e->arena, const char *, f->networks.n + 1);
  lt_str all;
  lt_str_init(&all, e->arena);
  for (uint32_t i = 0; i < f->networks.n; i++) {
    names[i] = f->networks.at[i]->name;
    lt_str_printf(&all, "%s%s", i ? ", " : "", names[i]);
    if (name && !strcmp(names[i], name)) return f->networks.at[i];
  }
  if (name) lt_elab_fail(e, (lt_pos){0}, "there is no network `%.80s`\nhelp: the file has %s", name, all.at);
  if (f->networks.n > 1)
    lt_elab_fail(e, (lt_pos){0}, "the file has %u networks\nhelp: choose one with --network: %s", f->networks.n,
                 all.at);
  return f->networks.at[0];
}

static bool has_dim(const lt_network *n, const char *name) {
  for (uint32_t i = 0; i < n->dims.n; i++)
    if (!strcmp(n->dims.at[i].key, name)) return true;
  return false;
}

static void check_dims(lt_elab *e, const lt_network *n, const lt_read_options *o) {
  const char **names = LT_NEW_ARRAY(e->arena, const char *, n->dims.n + 1);
  for (uint32_t i = 0; i < n->dims.n; i++) names[i] = n->dims.at[i].key;
  for (size_t i = 0; i < o->n_dims; i++) {
    const char *name = o->dims[i].name, *near = lt_near_name(name, names);
    if (has_dim(n, name)) continue;
    if (near)
      lt_elab_fail(e, n->pos, "network `%s` has no dimension `%.80s`\nhelp: did you mean `%s`?", n->name, name, near);
    lt_elab_fail(e, n->pos,
                 "network `%s` has no dimension `%.80s`\nhelp: give it one: `network %s[%s=…](x: f32[%s, …])`", n->name,
                 name, n->name, name, name);
  }
}

static void bind_dims(lt_elab *e, const lt_network *n, const lt_read_options *o) {
  check_dims(e, n, o);
  for (uint32_t i = 0; i < n->dims.n; i++) {
    const lt_arg *d = &n->dims.at[i];
    const char *what = lt_arena_printf(e->arena, "the dimension `%s`", d->key);
    int64_t v = lt_attr_eval_int(&e->seen, d->value, what);
    if (o->batch && !strcmp(d->key, "N")) v = o->batch;
    for (size_t k = 0; k < o->n_dims; k++)
      if (!strcmp(o->dims[k].name, d->key)) v = o->dims[k].value;
    if (v < 1) lt_elab_fail(e, d->pos, "%s is %lld, should be at least 1", what, (long long)v);
    lt_elab_put_int(e, d->key, d->pos, v);
  }
}

/* --batch on a network whose batch is written as a number: only that number will do. */
static void check_batch(lt_elab *e, const lt_network *n, int64_t batch) {
  if (!batch || has_dim(n, "N")) return;
  for (uint32_t i = 0; i < n->inputs.n; i++) {
    const lt_target *t = &n->inputs.at[i];
    const lt_type *type = lt_type_of(e->g, lt_scope_find(e->scope, t->name)->v);
    if (!type->rank || type->dim[0] == batch) continue;
    lt_elab_fail(e, t->type->dim[0]->pos,
                 "the batch of input `%s` is fixed to %lld, not %lld\nhelp: write `network %s[N=%lld](%s: f32[N, …])`",
                 t->name, (long long)type->dim[0], (long long)batch, n->name, (long long)type->dim[0], t->name);
  }
}

static void make_inputs(lt_elab *e, const lt_network *n) {
  for (uint32_t i = 0; i < n->inputs.n; i++) {
    const lt_target *t = &n->inputs.at[i];
    check_free(e, t->name, t->pos);
    lt_type type = type_of(e, t->type);
    lt_elab_at(e, t->pos);
    lt_value v = lt_leaf(e->g, LT_OP_input, t->name, type, NULL);
    lt_elab_put(e, t->name, (lt_entry){.v = v});
    lt_elab_notes(e, &t->notes, lt_node_of(e->g, v));
  }
}

static void make_outputs(lt_elab *e, const lt_network *n) {
  for (uint32_t i = 0; i < n->outs.n; i++) {
    const lt_target *t = &n->outs.at[i];
    const lt_entry *found = lt_elab_find(e, t->name);
    if (!found || found->is_attr || !found->v)
      lt_elab_fail(e, t->pos, "the output `%s` is never bound\nhelp: write `%s = …` in the network", t->name, t->name);
    e->g->loc = lt_loc_at(e->seen.by.file, t->pos);
    lt_add_output(e->g, t->name, found->v);
  }
}

/* An output's value is called as the output if that is what it was bound as; then the others in order, made unique. */
static void name_values(lt_elab *e) {
  lt_graph *g = e->g;
  lt_name_table used = {0};
  for (uint32_t i = 0; i < g->outputs.n; i++) {
    const lt_output *o = &g->outputs.at[i];
    const char *base = o->value < e->bound.n ? e->bound.at[o->value].name : NULL;
    if (base && !strcmp(base, o->name) && !lt_name_of(g, o->value) && !lt_find(g, base)) lt_set_name(g, o->value, base);
  }
  for (lt_value v = 1; v < e->bound.n; v++) {
    const char *base = e->bound.at[v].name, *name = base;
    uintptr_t next = 1;
    if (!base || lt_name_of(g, v)) continue;
    lt_map_gets(&used.next, base, &next);
    while (lt_find(g, name)) name = lt_arena_printf(e->arena, "%s.%llu", base, (unsigned long long)next++);
    lt_map_puts(e->arena, &used.next, base, next);
    if (strlen(name) <= LT_MAX_NAME) lt_set_name(g, v, name);
  }
}

typedef struct reading {
  const char *text, *file, *folder;
  size_t n;
  lt_read_options o;
  lt_elab e;
} reading;

static void read_text(lt_job *job, void *arg) {
  reading *r = arg;
  const lt_read_options *o = &r->o;
  lt_elab *e = &r->e;
  lt_arena *arena = lt_arena_new(job);
  lt_lexer lex;
  lt_scope scope = {.prefix = ""};
  *e = (lt_elab){.job = job,
                 .arena = arena,
                 .scope = &scope,
                 .seen = {{job, arena, r->file}, &scope, r->folder},
                 .base = "",
                 .within = ""};
  lt_lex_init(&lex, job, arena, r->file, r->text, r->n);
  e->tree = lt_parse_file(&lex);
  const lt_network *net = choose_network(e, o->network);
  e->g = lt_graph_new(job, net->name);
  e->seen.by.file = lt_arena_strdup(&e->g->arena, r->file);
  e->g->max_bytes = o->max_bytes ? o->max_bytes : lt_mem_of_machine();
  e->max_nodes = o->max_nodes ? o->max_nodes : LT_READ_MAX_NODES;
  e->max_steps = e->tree->exprs + 4 * (uint64_t)e->max_nodes;
  bind_dims(e, net, o);
  make_inputs(e, net);
  check_batch(e, net, o->batch);
  lt_elab_run(e, &net->body);
  make_outputs(e, net);
  name_values(e);
  e->g->loc = (lt_loc){0};
}

/* The same error, and which blocks it is in: first line, blocks from the inside out, help. */
LT_NORETURN static void fail_again(lt_job *job, const reading *r, const lathe_error *error) {
  enum { SHOWN = 3 };
  const lt_loc loc = {error->file[0] ? error->file : NULL, error->line, error->column};
  const char *help = strchr(error->message, '\n');
  char blocks[SHOWN * sizeof r->e.trace[0]] = "";
  int n = r->e.blocks;
  if (error->status == LATHE_E_NOMEM) lt_fail_nomem(job);
  for (int i = n; i > 0 && i > n - SHOWN; i--)
    snprintf(blocks + strlen(blocks), sizeof blocks - strlen(blocks), "\n%s", r->e.trace[i - 1]);
  lt_fail(job, error->status, &loc, "%.*s%s%s", help ? (int)(help - error->message) : (int)strlen(error->message),
          error->message, blocks, help ? help : "");
}

static lt_graph *read_source(lt_job *job, const lt_source *s, const lt_read_options *options) {
  reading r = {.text = (const char *)s->bytes.at, .n = s->bytes.n, .file = s->file, .folder = s->folder};
  lathe_error error;
  if (options) r.o = *options;
  if (lt_protect(&error, read_text, &r)) fail_again(job, &r, &error);
  lt_graph_enter(r.e.g, job);
  lt_defer_failed(job, lt_graph_free_fn, r.e.g);
  return r.e.g;
}

lt_graph *lt_text_read(lt_job *job, const char *text, size_t n, const char *file, const lt_read_options *o) {
  return read_source(job, &(lt_source){.file = file, .bytes = {(const unsigned char *)text, n}}, o);
}

const lt_reader lt_text_reader = {
  .what = "texts", .suffix = ".lathe", .max_bytes = LT_TEXT_MAX_BYTES, .read = read_source};
