/* layers.c: one call with everything evaluated → nodes: which op or layer a call means, the parameters that layers make,
 * how they are named, and composites of ops. Shared by the text language (elab.c) and the C builder (lt_apply). */
#include "frontend/text.h"

#include <math.h>
#include <stdio.h>

/* ---- the table -------------------------------------------------------------------------------------------------- */

enum { WEIGHTS = 1, OPS = 0 };

#define LAYER(name, operands, weights, doc) static lt_attr_info attrs_of_##name[] = {
#define ATTR(kind, name, def, doc) {#name, def, doc, LT_ATTR_##kind, 0},
#define END(name) {0}};
#include "frontend/layers.def"

#define LAYER(name, operands, weights, doc) static const lt_attr_info *infos_of_##name(void) { return attrs_of_##name; }
#include "frontend/layers.def"

const lt_layer_info lt_layer_table[LT_LAYERS] = {
#define LAYER(name, operands, weights, doc)                                                                            \
  [LT_LAYER_##name] = {#name, operands, doc, infos_of_##name, LT_COUNT(attrs_of_##name) - 1, sizeof(lt_##name##_layer), weights},
#include "frontend/layers.def"
};

/* Offsets: ATTR does not know the struct it stands in. As in op.c, once before main. */
__attribute__((constructor)) static void complete_table(void) {
  static const struct { uint32_t size, align; } kinds[] = {
#define KIND(k) [LT_ATTR_##k] = {sizeof(lt_attr_##k), _Alignof(lt_attr_##k)}
    KIND(int), KIND(float), KIND(bool), KIND(pair), KIND(quad), KIND(ints), KIND(str), KIND(dtype), KIND(init), KIND(tensor),
#undef KIND
  };
  for (unsigned l = 1; l < LT_LAYERS; l++) {
    uint32_t offset = 0;
    for (lt_attr_info *a = (lt_attr_info *)lt_layer_table[l].attrs(); a->name; a++) {
      a->offset = (offset + kinds[a->kind].align - 1) / kinds[a->kind].align * kinds[a->kind].align;
      offset = a->offset + kinds[a->kind].size;
    }
  }
}

lt_layer lt_layer_find(const char *name, size_t n) {
  for (unsigned i = 1; i < LT_LAYERS; i++)
    if (strlen(lt_layer_table[i].name) == n && memcmp(lt_layer_table[i].name, name, n) == 0) return (lt_layer)i;
  return LT_LAYER_none;
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

static void take(lt_graph *g, lt_name_table *t, const char *name) {
  lt_map_puts(&g->arena, &t->taken, name, (uintptr_t)g->loc.line);
}

static const char *take_numbered(lt_graph *g, lt_name_table *t, const char *base) {
  uintptr_t next = 1;
  const char *name = base;
  lt_map_gets(&t->next, base, &next);
  while (lt_map_gets(&t->taken, name, NULL)) name = lt_arena_printf(&g->arena, "%s.%llu", base, (unsigned long long)next++);
  lt_map_puts(&g->arena, &t->next, lt_arena_strdup(&g->arena, base), next);
  return name;
}

const char *lt_namer_take(lt_graph *g, lt_name_table *t, const char *name, bool exact) {
  uintptr_t line;
  size_t n = strlen(name);
  if (n > LT_MAX_NAME)
    lt_fail(g->job, LATHE_E_INVALID, &g->loc, "the name `%.40s…` has %zu bytes, at most %d are allowed", name, n, (int)LT_MAX_NAME);
  if (exact && lt_map_gets(&t->taken, name, &line)) {
    const char *where = line ? lt_arena_printf(&g->arena, ", on line %d", (int)line) : "";
    lt_fail(g->job, LATHE_E_INVALID, &g->loc, "the name `%s` is taken already%s\nhelp: every layer needs a name of its own%s", name, where,
      line && line == (uintptr_t)g->loc.line ? "; in a loop, put its variable in: name=\"…{i}\"" : "");
  }
  name = exact ? lt_arena_strdup(&g->arena, name) : take_numbered(g, t, lt_arena_strdup(&g->arena, name));
  take(g, t, name);
  return name;
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

LT_NORETURN static void layer_fail(lt_graph *g, lt_layer layer, const char *fmt, ...) LT_PRINTF(3, 4);
static void layer_fail(lt_graph *g, lt_layer layer, const char *fmt, ...) {
  char text[sizeof g->job->error->message];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  lt_fail(g->job, LATHE_E_INVALID, &g->loc, "%s%s%s%s: %s", lt_layer_table[layer].name, g->label ? " `" : "", g->label ? g->label : "",
    g->label ? "`" : "", text);
}

/* Messages about a leaf call it by its own name; in dumps that name is there already. */
static lt_value leaf(lt_graph *g, lt_op op, const char *layer, const char *part, lt_dtype t, unsigned rank, const int64_t *dim,
  lt_init init) {
  g->label = lt_arena_printf(&g->arena, "%s.%s", layer, part);
  lt_value v = lt_leaf(g, op, g->label, lt_make_type(t, rank, dim), &init);
  lt_node_of(g, v)->label = NULL;
  g->label = layer;
  return v;
}

static const lt_init zeros = {.kind = LT_INIT_ZEROS}, ones = {.kind = LT_INIT_ONES};
static lt_init normal(double fan_in) { return (lt_init){.kind = LT_INIT_NORMAL, .a = sqrt(1 / fan_in)}; }

/* x's type, which must be of floats and of the rank given (0: at least 2). */
static lt_type operand_type(lt_graph *g, lt_layer layer, lt_value x, unsigned rank, const char *letters) {
  if (!x) layer_fail(g, layer, "operand x is missing");
  lt_type t = *lt_type_of(g, x);
  if (!lt_is_float(t.dtype)) layer_fail(g, layer, "x is %s, should be f32 or f64", lt_type_text(&g->arena, &t));
  if (rank ? t.rank != rank : t.rank < 2) {
    layer_fail(g, layer, "x is %s, should be %s%s", lt_type_text(&g->arena, &t), letters,
      rank == 2 && t.rank > 2 ? "\nhelp: write `flatten(x)`" : "");
  }
  return t;
}

static void check_positive(lt_graph *g, lt_layer layer, const char *what, int64_t v) {
  if (v < 1) layer_fail(g, layer, "%s is %lld, should be at least 1", what, (long long)v);
}

static lt_value emit_conv2d(lt_graph *g, const lt_conv2d_layer *a, const char *name, lt_value x) {
  const lt_layer self = LT_LAYER_conv2d;
  lt_type t = operand_type(g, self, x, 4, "[N, C, H, W]");
  int64_t channels = t.dim[1];
  check_positive(g, self, "out_channels", a->out_channels);
  check_positive(g, self, "kernel", LT_MIN(a->kernel.v[0], a->kernel.v[1]));
  check_positive(g, self, "groups", a->groups);
  if (a->in_channels && a->in_channels != channels) {
    layer_fail(g, self, "in_channels is %lld, but x %s has %lld channels", (long long)a->in_channels, lt_type_text(&g->arena, &t),
      (long long)channels);
  }
  if (channels % a->groups || a->out_channels % a->groups) {
    layer_fail(g, self, "groups=%lld must divide the channels of x, %lld, and out_channels, %lld", (long long)a->groups,
      (long long)channels, (long long)a->out_channels);
  }
  const int64_t dim[] = {a->out_channels, channels / a->groups, a->kernel.v[0], a->kernel.v[1]};
  lt_value in[3] = {x, 0, 0};
  in[1] = leaf(g, LT_OP_param, name, "W", t.dtype, 4, dim, normal((double)dim[1] * (double)dim[2] * (double)dim[3]));
  if (a->bias) in[2] = leaf(g, LT_OP_param, name, "b", t.dtype, 1, dim, zeros);
  lt_conv2d_attrs attrs = {.stride = a->stride, .pad = a->pad, .dilation = a->dilation, .groups = a->groups};
  return lt_emit(g, LT_OP_conv2d, &attrs, in, a->bias ? 3 : 2);
}

static lt_value emit_linear(lt_graph *g, const lt_linear_layer *a, const char *name, lt_value x) {
  lt_type t = operand_type(g, LT_LAYER_linear, x, 2, "[N, C]");
  check_positive(g, LT_LAYER_linear, "out", a->out);
  const int64_t dim[] = {t.dim[1], a->out};
  lt_value in[3] = {x, 0, 0};
  in[1] = leaf(g, LT_OP_param, name, "W", t.dtype, 2, dim, normal((double)dim[0]));
  if (a->bias) in[2] = leaf(g, LT_OP_param, name, "b", t.dtype, 1, dim + 1, zeros);
  return lt_emit(g, LT_OP_linear, NULL, in, a->bias ? 3 : 2);
}

static lt_value emit_batch_norm(lt_graph *g, const lt_batch_norm_layer *a, const char *name, lt_value x) {
  lt_type t = operand_type(g, LT_LAYER_batch_norm, x, 0, "[N, C, …]");
  const int64_t *dim = &t.dim[1];
  lt_value in[5] = {x};
  in[1] = leaf(g, LT_OP_param, name, "scale", t.dtype, 1, dim, ones);
  in[2] = leaf(g, LT_OP_param, name, "bias", t.dtype, 1, dim, zeros);
  in[3] = leaf(g, LT_OP_state, name, "mean", t.dtype, 1, dim, zeros);
  in[4] = leaf(g, LT_OP_state, name, "var", t.dtype, 1, dim, ones);
  lt_batch_norm_attrs attrs = {.eps = a->eps, .momentum = a->momentum};
  return lt_emit(g, LT_OP_batch_norm, &attrs, in, 5);
}

/* ---- composites --------------------------------------------------------------------------------------------------- */

static int64_t windows(int64_t size, int64_t before, int64_t after, int64_t kernel, int64_t stride) {
  return (size + before + after - kernel) / stride + 1;
}

/* [N·OH·OW·rest] seen as [N, OH, OW, channels] → [N, channels, OH, OW]. */
static lt_value to_image(lt_graph *g, lt_value rows, const lt_type *x, const lt_im2col_attrs *a, int64_t channels) {
  const int64_t *p = a->pad.v, *k = a->kernel.v, *s = a->stride.v;
  const int64_t dim[] = {x->dim[0], windows(x->dim[2], p[0], p[2], k[0], s[0]), windows(x->dim[3], p[1], p[3], k[1], s[1]), channels};
  return lt_transpose(g, lt_reshape(g, rows, 4, dim), (const int64_t[]){0, 3, 1, 2});
}

static lt_value emit_conv2d_simple(lt_graph *g, const lt_conv2d_simple_layer *a, const lt_value *in) {
  const lt_layer self = LT_LAYER_conv2d_simple;
  lt_type x = operand_type(g, self, in[0], 4, "[N, C, H, W]");
  if (!in[1]) layer_fail(g, self, "operand W is missing");
  lt_type w = *lt_type_of(g, in[1]);
  if (w.rank != 4 || w.dim[1] != x.dim[1]) {
    layer_fail(g, self, "x is %s, W is %s, should be [OC, %lld, KH, KW]", lt_type_text(&g->arena, &x), lt_type_text(&g->arena, &w),
      (long long)x.dim[1]);
  }
  lt_im2col_attrs attrs = {.kernel = {{w.dim[2], w.dim[3]}}, .stride = a->stride, .pad = a->pad, .dilation = {{1, 1}}, .to_matrix = true};
  lt_value col = lt_emit(g, LT_OP_im2col, &attrs, in, 1);
  const int64_t flat[] = {w.dim[0], w.dim[1] * w.dim[2] * w.dim[3]};
  lt_value matrix = lt_transpose(g, lt_reshape(g, in[1], 2, flat), (const int64_t[]){1, 0});
  lt_value y = lt_emit(g, LT_OP_linear, NULL, (lt_value[]){col, matrix, in[2]}, in[2] ? 3 : 2);
  return to_image(g, y, &x, &attrs, w.dim[0]);
}

static lt_value emit_pooling_simple(lt_graph *g, const lt_pooling_simple_layer *a, const lt_value *in) {
  lt_type x = operand_type(g, LT_LAYER_pooling_simple, in[0], 4, "[N, C, H, W]");
  lt_im2col_attrs attrs = {.kernel = a->kernel, .stride = a->stride, .pad = a->pad, .dilation = {{1, 1}}, .to_matrix = true};
  lt_value col = lt_emit(g, LT_OP_im2col, &attrs, in, 1);
  const lt_type *t = lt_type_of(g, col);
  const int64_t rows[] = {t->dim[0] * x.dim[1], a->kernel.v[0] * a->kernel.v[1]};
  lt_reduce_max_attrs max = {.axes = {.n = 1, .v = {1}}, .all_ties = a->all_ties};
  lt_value windows_rows = lt_reshape(g, col, 2, rows), top = lt_emit(g, LT_OP_reduce_max, &max, &windows_rows, 1);
  return to_image(g, top, &x, &attrs, x.dim[1]);
}

lt_value lt_layer_emit(lt_graph *g, lt_layer layer, const void *attrs, const char *name, const lt_value *in) {
  const char *outer = g->label;
  g->label = name;
  lt_value y = 0;
  switch (layer) {
  case LT_LAYER_conv2d: y = emit_conv2d(g, attrs, name, in[0]); break;
  case LT_LAYER_linear: y = emit_linear(g, attrs, name, in[0]); break;
  case LT_LAYER_batch_norm: y = emit_batch_norm(g, attrs, name, in[0]); break;
  case LT_LAYER_conv2d_simple: y = emit_conv2d_simple(g, attrs, in); break;
  case LT_LAYER_pooling_simple: y = emit_pooling_simple(g, attrs, in); break;
  case LT_LAYER_none: case LT_LAYERS: break;
  }
  g->label = outer;
  return y;
}

/* ---- calls -------------------------------------------------------------------------------------------------------- */

static unsigned count_words(const char *s) {
  unsigned n = *s != 0;
  for (; *s; s++) n += *s == ' ';
  return n;
}

/* A layer is meant unless an operand is there that only the op has: its weights. */
void lt_call_resolve(lt_call *c, const char *text, bool (*has)(const void *ctx, const char *key), const void *ctx, unsigned by_position) {
  *c = (lt_call){.text = text, .op = lt_op_find(text, strlen(text)), .layer = lt_layer_find(text, strlen(text))};
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

const char *lt_call_operands(const lt_call *c) { return c->layer ? lt_layer_table[c->layer].operands : lt_op_table[c->op].operands; }
bool lt_call_needs_name(const lt_call *c) { return c->layer && lt_layer_table[c->layer].weights; }
unsigned lt_result_count(const lt_graph *g, lt_value first) { return first ? lt_node_of(g, first)->n_out : 0; }

static void layer_defaults(lt_layer layer, void *attrs) {
  memset(attrs, 0, lt_layer_table[layer].attrs_size);
  for (const lt_attr_info *a = lt_layer_table[layer].attrs(); a->name; a++)
    if (a->def[0] && strcmp(a->def, "none")) lt_attr_default(a->kind, a->def, (char *)attrs + a->offset);
}

static lt_value emit_layer(const lt_names_seen *s, lt_graph *g, const lt_call *c, const lt_value *in, unsigned n_in,
  const lt_attr_arg *args, unsigned n_args) {
  const lt_layer_info *l = &lt_layer_table[c->layer];
  lt_value operands[4] = {0};
  unsigned most = count_words(l->operands);
  void *attrs = lt_arena_alloc(s->arena, l->attrs_size);
  if (n_in > most) {
    lt_loc loc = lt_loc_at(s->file, c->pos);
    lt_fail(g->job, LATHE_E_INVALID, &loc, "%s takes %u operand%s (%s), not %u", l->name, most, most == 1 ? "" : "s", l->operands, n_in);
  }
  layer_defaults(c->layer, attrs);
  lt_attrs_fill(s, &g->arena, l->name, l->attrs(), l->n_attrs, attrs, args, n_args, c->pos);
  if (n_in) memcpy(operands, in, n_in * sizeof *in);
  return lt_layer_emit(g, c->layer, attrs, c->name, operands);
}

lt_value lt_call_emit(const lt_names_seen *s, lt_graph *g, const lt_call *c, const lt_value *in, unsigned n_in, const lt_attr_arg *args,
  unsigned n_args) {
  if (c->layer) return emit_layer(s, g, c, in, n_in, args, n_args);
  const lt_op_info *op = &lt_op_table[c->op];
  const char *outer = g->label;
  void *attrs = lt_arena_alloc(s->arena, op->attrs_size);
  lt_attrs_default(c->op, attrs);
  lt_attrs_fill(s, s->arena, op->name, op->attrs, op->n_attrs, attrs, args, n_args, c->pos);
  lt_dropout_attrs *dropout = c->op == LT_OP_dropout ? attrs : NULL;
  if (dropout && !dropout->key[0] && c->key) dropout->key = c->key;
  if (c->name) g->label = c->name;
  lt_value y = lt_emit(g, c->op, attrs, in, n_in);
  g->label = outer;
  return y;
}

/* ---- the C builder ------------------------------------------------------------------------------------------------ */

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

static lt_attr_arg *read_attrs(const lt_names_seen *s, const char *op, const char *text, unsigned *n) {
  lt_lexer lex;
  lt_lex_init(&lex, s->job, s->arena, NULL, text ? text : "", text ? strlen(text) : 0);
  const lt_expr *call = lt_parse_attrs(&lex, op);
  lt_attr_arg *args = LT_NEW_ARRAY(s->arena, lt_attr_arg, call->n + 1);
  for (uint32_t i = 0; i < call->n; i++) {
    args[i].key = call->args[i].key;
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

void lt_apply(lt_graph *g, lt_namer *names, const char *op, const char *attrs, const lt_value *in, size_t n_in, lt_value *out, size_t n_out) {
  lt_names_seen s = {.job = g->job, .arena = lt_arena_new(g->job)};
  lt_call c;
  unsigned n_args;
  while (n_in && !in[n_in - 1]) n_in--;
  lt_call_resolve(&c, op, NULL, NULL, (unsigned)LT_MIN(n_in, 99));
  if (!c.op && !c.layer) lt_fail_unknown_op(g->job, NULL, op, NULL);
  if (c.op && lt_op_table[c.op].flags & LT_LEAF)
    lt_fail(g->job, LATHE_E_INVALID, NULL, "`%s` is no op with operands\nhelp: inputs, params, states and constants have calls of their own", op);
  if (n_in > UINT16_MAX) lt_fail(g->job, LATHE_E_INVALID, NULL, "%s: %zu operands are too many", op, n_in);
  lt_attr_arg *args = read_attrs(&s, op, attrs, &n_args);
  const char *name = take_name_argument(&s, op, args, &n_args);
  bool layer = lt_call_needs_name(&c);
  if (name || layer) c.name = lt_namer_take(g, &names->layers, name ? name : op, name != NULL);
  if (c.op == LT_OP_dropout) c.key = lt_namer_take(g, &names->keys, name ? name : op, false);
  lt_value y = lt_call_emit(&s, g, &c, in, (unsigned)n_in, args, n_args);
  unsigned results = lt_result_count(g, y);
  if (results != n_out) {
    lt_fail(g->job, LATHE_E_INVALID, NULL, "%s has %u result%s, %zu %s taken%s", op, results, results == 1 ? "" : "s", n_out,
      n_out == 1 ? "is" : "are", n_out == 1 ? "\nhelp: use the call for several results" : "");
  }
  for (size_t i = 0; i < n_out; i++) out[i] = y + (lt_value)i;
}
