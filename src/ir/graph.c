/* graph.c: building graphs. Every value enters through lt_emit, which checks arity, lets the op infer its types, checks
 * sizes and appends; so a graph that exists is well-typed and in order. */
#include "ir/ir.h"
#include "ir/op_hooks.h"

#include <assert.h>
#include <stdio.h>

/* The arena is ready and everything else zero. One allocation, so that running out of memory here leaves nothing
 * behind. */
static void graph_start(lt_graph *g, const char *name) {
  enum { VALUES = 8 };
  g->job = g->arena.job;
  size_t n = strlen(name) + 1, at = VALUES * sizeof(lt_value_info);
  char *block = lt_arena_zalloc(&g->arena, at + n);
  g->name = memcpy(block + at, name, n);
  g->values.at = (lt_value_info *)(void *)block;
  g->values.cap = VALUES, g->values.n = 1;
}

void lt_graph_init(lt_graph *g, lt_job *job, const char *name) {
  memset(g, 0, sizeof *g);
  lt_arena_init(&g->arena, job);
  graph_start(g, name);
}

lt_graph *lt_graph_new(lt_job *job, const char *name) {
  lt_arena own;
  lt_arena_init(&own, job);
  lt_graph *g = lt_arena_zalloc(&own, sizeof *g);
  g->arena = own;
  lt_defer_failed(job, lt_graph_free_fn, g);
  graph_start(g, name);
  return g;
}

void lt_graph_free(lt_graph *g) {
  if (g) lt_arena_free(&g->arena);
}

void lt_graph_drop(lt_job *job, lt_graph *g) {
  if (g) lt_defer_cancel(job, g);
  lt_graph_free(g);
}

void lt_graph_free_fn(void *g) { lt_graph_free(g); }

void lt_graph_enter(lt_graph *g, lt_job *job) { g->job = g->arena.job = job; }

lt_value lt_find(const lt_graph *g, const char *name) {
  uintptr_t v = 0;
  return lt_map_gets(&g->names, name, &v) ? (lt_value)v : 0;
}

bool lt_is_leaf(const lt_graph *g, lt_value v) { return lt_op_table[lt_op_of(g, v)].flags & LT_LEAF; }

/* The layer's name or the op's: "conv2d `stem`". */
static const char *title(lt_graph *g, lt_op op) {
  const char *name = lt_op_table[op].name;
  return g->label ? lt_arena_printf(&g->arena, "%s `%s`", name, g->label) : name;
}

void lt_node_fail(lt_graph *g, lt_op op, const char *fmt, ...) {
  char text[sizeof g->job->error->message];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  lt_fail(g->job, LATHE_E_INVALID, &g->loc, "%s%s%s: %s", g->call ? g->call : "", g->call ? ": " : "", title(g, op),
          text);
}

/* ---- emit -------------------------------------------------------------------------------------------------------- */

static void check_operands(lt_graph *g, lt_op op, const lt_value *in, unsigned n_in) {
  const lt_op_info *o = &lt_op_table[op];
  if (n_in < o->min_in || (o->max_in != 255 && n_in > o->max_in) || n_in > UINT16_MAX) {
    const char *many = o->max_in == 255 ? " or more" : o->max_in > o->min_in ? " or one more" : "";
    lt_node_fail(g, op, "takes %d%s operand%s (%s), not %u", o->min_in, many, o->min_in == 1 && !*many ? "" : "s",
                 o->operands, n_in);
  }
  const char *p = o->operands;
  for (unsigned i = 0; i < n_in; i++) {
    size_t length = strcspn(p, " ");
    if (in[i] >= g->values.n) lt_node_fail(g, op, "operand %.*s is not a value of this graph", (int)length, p);
    if (!in[i] && p[length - 1] != '?') lt_node_fail(g, op, "operand %.*s is missing", (int)length, p);
    if (p[length]) p += length + 1;
  }
}

/* "x f32[2, 3], W f32[3, 4]", for a message about all operands. */
static const char *operands_text(lt_graph *g, lt_op op, const lt_value *in, unsigned n_in) {
  lt_str s;
  lt_str_init(&s, &g->arena);
  lt_str_puts(&s, "");
  for (unsigned i = 0; i < n_in && i < 4; i++)
    if (in[i])
      lt_str_printf(&s, "%s%s %s", s.n ? ", " : " (", lt_operand_name(&g->arena, op, i),
                    lt_type_text(&g->arena, lt_type_of(g, in[i])));
  if (s.n) lt_str_puts(&s, ")");
  return s.at;
}

static void check_result(lt_graph *g, lt_op op, const lt_type *t, const lt_value *in, unsigned n_in) {
  int64_t count, bytes = 0;
  for (unsigned i = 0; i < t->rank; i++)
    if (t->dim[i] < 1) lt_node_fail(g, op, "the result %s has an empty axis", lt_type_text(&g->arena, t));
  bool ok = lt_type_count_ok(t, &count) && lt_mul_ok(&bytes, count, (int64_t)lt_dtype_size(t->dtype));
  if (!ok)
    lt_node_fail(g, op, "the size of %s overflows%s", lt_type_text(&g->arena, t), operands_text(g, op, in, n_in));
  if (g->max_bytes && bytes > g->max_bytes)
    lt_node_fail(g, op, "%s takes %lld bytes, more than the limit of %lld\nhelp: raise it with --max-bytes",
                 lt_type_text(&g->arena, t), (long long)bytes, (long long)g->max_bytes);
}

/* attrs belong to the graph and may be changed by the hook. */
static lt_value append(lt_graph *g, lt_op op, void *attrs, const lt_value *in, unsigned n_in) {
  const lt_op_info *o = &lt_op_table[op];
  check_operands(g, op, in, n_in);
  unsigned all = o->max_in == 255 ? n_in : o->max_in, n_out = o->n_out;
  lt_value *operands = LT_NEW_ARRAY(&g->arena, lt_value, all);
  if (n_in) memcpy(operands, in, n_in * sizeof *in);
  lt_type *types = LT_NEW_ARRAY(&g->arena, lt_type, LT_MAX(n_out, LT_MAX(all, 1u)));
  o->infer(g, attrs, operands, all, types, &n_out);
  for (unsigned i = 0; i < n_out; i++) check_result(g, op, &types[i], operands, all);
  lt_node *n = LT_NEW(&g->arena, lt_node);
  *n = (lt_node){.op = op,
                 .id = g->nodes.n,
                 .n_in = (uint16_t)all,
                 .n_out = (uint16_t)n_out,
                 .in = operands,
                 .out = g->values.n,
                 .attrs = attrs,
                 .label = g->label,
                 .origin = g->origin,
                 .loc = g->loc};
  lt_vec_push(&g->arena, &g->nodes, n);
  for (unsigned i = 0; i < n_out; i++) {
    lt_value_info v = {.type = types[i], .node = n->id, .result = i};
    lt_vec_push(&g->arena, &g->values, v);
  }
  return n->out;
}

lt_value lt_emit(lt_graph *g, lt_op op, const void *attrs, const lt_value *in, unsigned n_in) {
  assert(op > LT_OP_none && op < LT_OPS);
  void *own = lt_arena_alloc(&g->arena, lt_op_table[op].attrs_size);
  if (attrs) lt_attrs_copy(&g->arena, op, own, attrs);
  else lt_attrs_default(op, own);
  return append(g, op, own, in, n_in);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

const char *lt_name_misfit(const char *name, size_t n) {
  for (size_t i = 0, take; i < n; i += take) {
    take = lt_character(name + i, n - i);
    if (!take || name[i] == '`' || name[i] == '\n' || name[i] == '\t') return name + i;
  }
  return NULL;
}

static void check_name(lt_graph *g, const char *name) {
  size_t n = strlen(name);
  if (n > LT_MAX_NAME)
    lt_fail(g->job, LATHE_E_INVALID, &g->loc, "a name of %zu bytes is too long; %d is the most", n, (int)LT_MAX_NAME);
  if (lt_name_misfit(name, n)) lt_fail(g->job, LATHE_E_INVALID, &g->loc, "a name may hold " LT_NAME_RULE);
}

void lt_set_name(lt_graph *g, lt_value v, const char *name) {
  if (!name || !*name) return;
  check_name(g, name);
  if (lt_find(g, name)) lt_fail(g->job, LATHE_E_INVALID, &g->loc, "the name `%s` is used twice", name);
  g->values.at[v].name = lt_arena_strdup(&g->arena, name);
  lt_map_puts(&g->arena, &g->names, g->values.at[v].name, v);
}

const char *lt_free_name(lt_graph *g, const char *base) {
  if (!lt_find(g, base)) return base;
  char text[300];
  for (unsigned i = 1;; i++) {
    snprintf(text, sizeof text, "%.255s.%u", base, i);
    if (!lt_find(g, text)) return lt_arena_strdup(&g->arena, text);
  }
}

/* ---- leaves, outputs, updates ------------------------------------------------------------------------------------ */

lt_value lt_leaf(lt_graph *g, lt_op op, const char *name, lt_type type, const lt_init *init) {
  union { lt_input_attrs input; lt_param_attrs param; lt_state_attrs state; } attrs; /* begin alike */
  memset(&attrs, 0, sizeof attrs);
  attrs.input.dtype = type.dtype;
  attrs.input.shape.n = type.rank;
  for (unsigned i = 0; i < type.rank; i++) attrs.input.shape.v[i] = type.dim[i];
  if (op != LT_OP_input && init) attrs.param.init = *init;
  lt_value v = lt_emit(g, op, &attrs, NULL, 0);
  lt_set_name(g, v, name);
  return v;
}

_Static_assert(offsetof(lt_param_attrs, init) == offsetof(lt_state_attrs, init) &&
                 offsetof(lt_param_attrs, shape) == offsetof(lt_input_attrs, shape),
               "leaves begin alike");

lt_value lt_const_data(lt_graph *g, const lt_data *d) {
  return lt_emit(g, LT_OP_const, &(lt_const_attrs){.value = d}, NULL, 0);
}

lt_value lt_const_tensor(lt_graph *g, const lt_tensor *t) { return lt_const_data(g, lt_data_of(&g->arena, t)); }

lt_value lt_const_scalar(lt_graph *g, lt_dtype t, double v) {
  lt_tensor y = {.type = lt_scalar(t), .i = &(int64_t){0}};
  lt_tensor_set(&y, 0, v);
  return lt_const_tensor(g, &y);
}

void lt_add_output(lt_graph *g, const char *name, lt_value v) {
  check_name(g, name);
  if (lt_map_gets(&g->output_names, name, NULL))
    lt_fail(g->job, LATHE_E_INVALID, &g->loc, "two outputs are named `%s`", name);
  lt_output o = {lt_arena_strdup(&g->arena, name), v};
  lt_map_puts(&g->arena, &g->output_names, o.name, 0);
  lt_vec_push(&g->arena, &g->outputs, o);
}

void lt_add_update(lt_graph *g, lt_value leaf, lt_value v) {
  lt_op op = lt_op_of(g, leaf);
  const char *name = lt_name_of(g, leaf) ? lt_name_of(g, leaf) : "?";
  const lt_type *to = lt_type_of(g, leaf), *from = lt_type_of(g, v);
  if (op != LT_OP_param && op != LT_OP_state)
    lt_fail(g->job, LATHE_E_INVALID, &g->loc, "`%s` cannot be updated: it is no param or state", name);
  if (!lt_type_eq(to, from))
    lt_fail(g->job, LATHE_E_INVALID, &g->loc, "update of `%s`: it is %s, the new value %s", name,
            lt_type_text(&g->arena, to), lt_type_text(&g->arena, from));
  if (g->values.at[leaf].updated) lt_fail(g->job, LATHE_E_INVALID, &g->loc, "`%s` is updated twice", name);
  g->values.at[leaf].updated = true;
  lt_update u = {leaf, v};
  lt_vec_push(&g->arena, &g->updates, u);
}

/* ---- short forms ------------------------------------------------------------------------------------------------- */

lt_value lt_unary(lt_graph *g, lt_op op, lt_value x) { return lt_emit(g, op, NULL, &x, 1); }

lt_value lt_binary(lt_graph *g, lt_op op, lt_value a, lt_value b) {
  return lt_emit(g, op, NULL, (lt_value[]){a, b}, 2);
}

static lt_ints ints_of(unsigned n, const int64_t *v) {
  lt_ints y = {.n = n};
  for (unsigned i = 0; i < n; i++) y.v[i] = v[i];
  return y;
}

static bool same_shape(const lt_type *t, unsigned rank, const int64_t *dim) {
  return t->rank == rank && (rank == 0 || memcmp(t->dim, dim, rank * sizeof *dim) == 0);
}

lt_value lt_reshape(lt_graph *g, lt_value x, unsigned rank, const int64_t *dim) {
  if (same_shape(lt_type_of(g, x), rank, dim)) return x;
  lt_reshape_attrs attrs = {.shape = ints_of(rank, dim)};
  return lt_emit(g, LT_OP_reshape, &attrs, &x, 1);
}

lt_value lt_transpose(lt_graph *g, lt_value x, const int64_t *perm) {
  bool same = true;
  for (int64_t i = 0; i < lt_type_of(g, x)->rank; i++) same &= perm[i] == i;
  if (same) return x;
  lt_transpose_attrs attrs = {.perm = ints_of(lt_type_of(g, x)->rank, perm)};
  return lt_emit(g, LT_OP_transpose, &attrs, &x, 1);
}

lt_value lt_broadcast_to(lt_graph *g, lt_value x, const lt_type *shape) {
  if (same_shape(lt_type_of(g, x), shape->rank, shape->dim)) return x;
  lt_broadcast_to_attrs attrs = {.shape = ints_of(shape->rank, shape->dim)};
  return lt_emit(g, LT_OP_broadcast_to, &attrs, &x, 1);
}

lt_value lt_reduce(lt_graph *g, lt_op op, lt_value x, const lt_ints *axes, bool keepdims) {
  lt_reduce_max_attrs attrs = {.axes = *axes, .keepdims = keepdims}; /* the longest: the others are its beginning */
  return lt_emit(g, op, &attrs, &x, 1);
}

_Static_assert(offsetof(lt_sum_attrs, keepdims) == offsetof(lt_reduce_max_attrs, keepdims) &&
                 offsetof(lt_mean_attrs, keepdims) == offsetof(lt_reduce_max_attrs, keepdims) &&
                 sizeof(lt_sum_attrs) <= sizeof(lt_reduce_max_attrs) &&
                 sizeof(lt_mean_attrs) <= sizeof(lt_reduce_max_attrs),
               "reductions are alike");

lt_value lt_sum_to(lt_graph *g, lt_value x, const lt_type *shape) {
  const lt_type *t = lt_type_of(g, x);
  unsigned lead = t->rank - shape->rank;
  lt_ints axes = {0};
  for (unsigned i = 0; i < t->rank; i++)
    if (i < lead || (shape->dim[i - lead] == 1 && t->dim[i] != 1)) axes.v[axes.n++] = i;
  if (axes.n) x = lt_reduce(g, LT_OP_sum, x, &axes, true);
  return lt_reshape(g, x, shape->rank, shape->dim);
}

lt_value lt_cast(lt_graph *g, lt_value x, lt_dtype t) {
  if (lt_type_of(g, x)->dtype == t) return x;
  lt_cast_attrs attrs = {.dtype = t};
  return lt_emit(g, LT_OP_cast, &attrs, &x, 1);
}

lt_value lt_fill_like(lt_graph *g, lt_value x, double v) {
  lt_type t = *lt_type_of(g, x); /* a copy: emitting moves g->values */
  return lt_broadcast_to(g, lt_const_scalar(g, t.dtype, v), &t);
}
