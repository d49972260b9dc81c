/* graph_api.c: networks read from text or built in C, behind lathe_graph. While a graph is built the first error
 * sticks: later calls do nothing and give id 0, and lathe_check (or lathe_compile) reports it. */
#include "driver/graph_api.h"
#include "driver/entry.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void graph_delete(void *p) {
  lathe_graph *g = p;
  if (!g) return;
  lt_graph_free(g->g);
  lt_arena_free(&g->arena);
  lt_mem_free(g);
}

void lathe_graph_free(lathe_graph *g) { graph_delete(g); }

static lathe_graph *graph_alloc(lt_job *job) {
  lathe_graph *g = lt_mem_alloc(sizeof *g);
  if (!g) lt_fail_nomem(job);
  memset(g, 0, sizeof *g);
  lt_arena_init(&g->arena, job);
  lt_defer_failed(job, graph_delete, g);
  return g;
}

static lt_dim_override read_dim(lt_arena *a, const char *text) { /* NAME=V, checked by options.c */
  const char *eq = strchr(text, '=');
  return (lt_dim_override){lt_arena_strndup(a, text, (size_t)(eq - text)), strtoll(eq + 1, NULL, 10)};
}

static lt_input_pin read_pin(lt_job *job, lt_arena *a, const char *text) {
  const char *eq = strchr(text, '=');
  if (!eq || eq == text || !eq[1]) lt_fail(job, LATHE_E_INVALID, NULL, "--pin: `%.60s` is not NAME=F.npy", text);
  return (lt_input_pin){lt_arena_strndup(a, text, (size_t)(eq - text)), lt_arena_strdup(a, eq + 1)};
}

static void set_options(lathe_graph *g, lt_job *job, const char *opts) {
  lt_options o;
  lt_options_read(&o, job, &g->arena, opts, TO_LOAD);
  lt_dim_override *dims = LT_NEW_ARRAY(&g->arena, lt_dim_override, o.dim.n + 1);
  for (uint32_t i = 0; i < o.dim.n; i++) dims[i] = read_dim(&g->arena, o.dim.at[i]);
  lt_input_pin *pins = LT_NEW_ARRAY(&g->arena, lt_input_pin, o.pin.n + 1);
  for (uint32_t i = 0; i < o.pin.n; i++) pins[i] = read_pin(job, &g->arena, o.pin.at[i]);
  g->options = (lt_read_options){.network = o.network,
                                 .dims = dims,
                                 .n_dims = o.dim.n,
                                 .batch = o.batch,
                                 .max_bytes = o.max_bytes,
                                 .keep = o.keep.at,
                                 .n_keep = o.keep.n,
                                 .pins = pins,
                                 .n_pins = o.pin.n};
}

typedef struct load_args {
  const char *path, *text, *file, *opts;
  size_t bytes;
  lathe_graph *out;
} load_args;

static void load_body(lt_job *job, void *arg) {
  load_args *p = arg;
  lathe_graph *g = graph_alloc(job);
  set_options(g, job, p->opts);
  if (p->path) lt_source_open(&g->source, job, &g->arena, p->path);
  else
    lt_source_of_bytes(&g->source, job, &g->arena, (lt_bytes){(const unsigned char *)p->text, p->bytes},
                       p->file ? p->file : "<text>");
  lt_graph *read = lt_source_read(job, &g->source, &g->options);
  p->out = g;
  /* last: from here on nothing fails, so it is freed once: by this job until now, by graph_delete from now on */
  g->g = read;
}

lathe_graph *lathe_load(const char *path, const char *opts, lathe_error *e) {
  load_args p = {.path = path, .opts = opts};
  return lt_protect(e, load_body, &p) ? NULL : p.out;
}

lathe_graph *lathe_parse(const char *text, size_t bytes, const char *file, const char *opts, lathe_error *e) {
  load_args p = {.text = text, .bytes = bytes, .file = file, .opts = opts};
  return lt_protect(e, load_body, &p) ? NULL : p.out;
}

lt_graph *lt_graph_reread(lt_job *job, const lathe_graph *g, lt_texts dims) {
  lt_arena *a = lt_arena_new(job);
  lt_read_options o = g->options;
  lt_dim_override *all = LT_NEW_ARRAY(a, lt_dim_override, o.n_dims + dims.n + 1);
  if (o.n_dims) memcpy(all, o.dims, o.n_dims * sizeof *all);
  for (uint32_t i = 0; i < dims.n; i++) all[o.n_dims + i] = read_dim(a, dims.at[i]);
  o.dims = all, o.n_dims += dims.n;
  return lt_source_read(job, &g->source, &o);
}

/* ---- building ---------------------------------------------------------------------------------------------------- */

typedef struct step {
  lathe_graph *g;
  const char *name, *type, *text;
  const char *const *layers;
  const lathe_value *in, *seed, *wrt;
  size_t n, n_wrt, n_out;
  lathe_value *out;
  lt_op op;
  double number;
  const void *data;
  const lathe_form *form;
} step;

/* A value outside: its number in the graph, and above that what tells its graph from others. */
static uint64_t mark_of(const lathe_graph *g) { return (uint64_t)((uintptr_t)g >> 4) << 32; }

static lathe_value handed(const lathe_graph *g, lt_value v) { return (lathe_value){v ? mark_of(g) | v : 0}; }

/* Run one building step; its error sticks. */
static void build(lathe_graph *g, void (*body)(lt_job *, void *), step *s) {
  for (size_t i = 0; i < s->n_out; i++) s->out[i].id = 0;
  if (!g || g->error.status) return;
  s->g = g;
  lathe_error e;
  if (lt_protect(&e, body, s)) g->error = e;
}

static void enter(step *s, lt_job *job) {
  lt_graph_enter(s->g->g, job);
  s->g->arena.job = job;
}

static void graph_new_body(lt_job *job, void *arg) {
  load_args *p = arg;
  lathe_graph *g = graph_alloc(job);
  lt_graph *made = lt_graph_new(job, p->text);
  made->max_bytes = lt_mem_of_machine();
  g->source.reader = &lt_built_reader;
  p->out = g;
  g->g = made;
}

lathe_graph *lathe_graph_new(const char *name) {
  load_args p = {.text = name && *name ? name : "network"};
  lathe_error e;
  return lt_protect(&e, graph_new_body, &p) ? NULL : p.out;
}

static lt_type read_type(lt_job *job, const char *name, const char *text) {
  lt_type t;
  if (!text || !lt_type_parse(&t, text))
    lt_fail(job, LATHE_E_INVALID, NULL, "`%.80s`: `%.80s` is not a type\nhelp: write \"f32[32, 3, 8, 8]\" or \"i32\"",
            name, text ? text : "");
  return t;
}

static void leaf_body(lt_job *job, void *arg) {
  step *s = arg;
  enter(s, job);
  lt_graph *g = s->g->g;
  if (!s->name || !*s->name)
    lt_fail(job, LATHE_E_INVALID, NULL, "a%s needs a name", s->op == LT_OP_input ? "n input" : " weight");
  lt_type t = read_type(job, s->name, s->type);
  lt_init init = {0};
  if (s->op != LT_OP_input) init = lt_init_read(g, &t, s->text ? s->text : "zeros()");
  s->out[0] = handed(s->g, lt_leaf(g, s->op, s->name, t, s->op == LT_OP_input ? NULL : &init));
}

static lathe_value leaf(lathe_graph *g, lt_op op, const char *name, const char *type, const char *init) {
  lathe_value v;
  build(g, leaf_body, &(step){.name = name, .type = type, .text = init, .op = op, .out = &v, .n_out = 1});
  return v;
}

lathe_value lathe_input(lathe_graph *g, const char *name, const char *type) {
  return leaf(g, LT_OP_input, name, type, NULL);
}
lathe_value lathe_param(lathe_graph *g, const char *name, const char *type, const char *init) {
  return leaf(g, LT_OP_param, name, type, init);
}
lathe_value lathe_state(lathe_graph *g, const char *name, const char *type, const char *init) {
  return leaf(g, LT_OP_state, name, type, init);
}

static void constant_body(lt_job *job, void *arg) {
  step *s = arg;
  enter(s, job);
  lt_graph *g = s->g->g;
  lt_type t = read_type(job, "constant", s->type);
  int64_t count;
  if (!lt_type_count_ok(&t, &count)) lt_fail(job, LATHE_E_INVALID, NULL, "the size of a constant overflows");
  s->out[0] = handed(s->g, lt_const_data(g, lt_data_new(&g->arena, &t, s->data)));
}

lathe_value lathe_constant(lathe_graph *g, const char *type, const void *data) {
  lathe_value v;
  build(g, constant_body, &(step){.type = type, .data = data, .out = &v, .n_out = 1});
  return v;
}

static void number_body(lt_job *job, void *arg) {
  step *s = arg;
  enter(s, job);
  s->out[0] = handed(s->g, lt_const_scalar(s->g->g, LT_F32, s->number));
}

lathe_value lathe_number(lathe_graph *g, double v) {
  lathe_value out;
  build(g, number_body, &(step){.number = v, .out = &out, .n_out = 1});
  return out;
}

/* Does v belong to g? */
static bool owns(const lathe_graph *g, lathe_value v) {
  return (v.id & ~(uint64_t)UINT32_MAX) == mark_of(g) && (uint32_t)v.id < g->g->values.n;
}

/* The caller's values as the graph's; those of another graph are an error. */
static lt_value *take_values(lt_job *job, const lathe_graph *g, const lathe_value *in, size_t n, bool none) {
  lt_value *out = LT_NEW_ARRAY(&g->g->arena, lt_value, n + 1);
  for (size_t i = 0; i < n; i++) {
    if (!in[i].id && !none)
      lt_fail(job, LATHE_E_INVALID, NULL, "value %zu is none: what made it has failed, or nothing did", i + 1);
    if (in[i].id && !owns(g, in[i]))
      lt_fail(job, LATHE_E_INVALID, NULL,
              "value %zu is not one of graph `%s`\nhelp: values belong to the graph that made them", i + 1, g->g->name);
    out[i] = (lt_value)in[i].id;
  }
  return out;
}

static void op_body(lt_job *job, void *arg) {
  step *s = arg;
  enter(s, job);
  lt_graph *g = s->g->g;
  lt_value *in = take_values(job, s->g, s->in, s->n, true), *out = LT_NEW_ARRAY(&g->arena, lt_value, s->n_out + 1);
  lt_apply(g, &s->g->names, s->name, s->text, in, s->n, out, s->n_out);
  for (size_t i = 0; i < s->n_out; i++) s->out[i] = handed(s->g, out[i]);
}

void lathe_op_n(lathe_graph *g, const char *op, const char *attrs, const lathe_value *in, size_t n, lathe_value *out,
                size_t n_out) {
  build(g, op_body, &(step){.name = op, .text = attrs, .in = in, .n = n, .out = out, .n_out = n_out});
}

lathe_value lathe_op(lathe_graph *g, const char *op, const char *attrs, const lathe_value *in, size_t n) {
  lathe_value v;
  lathe_op_n(g, op, attrs, in, n, &v, 1);
  return v;
}

static void form_body(lt_job *job, void *arg) {
  step *s = arg;
  enter(s, job);
  lt_graph *g = s->g->g;
  lt_value *in = take_values(job, s->g, s->in, s->n, true), *out = LT_NEW_ARRAY(&g->arena, lt_value, s->n_out + 1);
  lt_apply_form(g, &s->g->names, s->form, s->data, in, s->n, out, s->n_out);
  for (size_t i = 0; i < s->n_out; i++) s->out[i] = handed(s->g, out[i]);
}

void lathe_apply(lathe_graph *g, const lathe_form *form, const void *attrs, const lathe_value *in, size_t n,
                 lathe_value *out, size_t n_out) {
  build(g, form_body, &(step){.form = form, .data = attrs, .in = in, .n = n, .out = out, .n_out = n_out});
}

static void sequential_body(lt_job *job, void *arg) {
  step *s = arg;
  enter(s, job);
  lt_value x = *take_values(job, s->g, s->in, 1, false);
  s->out[0] = handed(s->g, lt_apply_sequence(s->g->g, &s->g->names, x, s->name, s->layers, s->n));
}

lathe_value lathe_sequential(lathe_graph *g, lathe_value x, const char *name, const char *const *layers, size_t n) {
  lathe_value v;
  build(g, sequential_body, &(step){.name = name, .in = &x, .layers = layers, .n = n, .out = &v, .n_out = 1});
  return v;
}

static void gradients_body(lt_job *job, void *arg) {
  step *s = arg;
  enter(s, job);
  lt_graph *g = s->g->g;
  lt_value *y = take_values(job, s->g, s->in, s->n, false), *wrt = take_values(job, s->g, s->wrt, s->n_wrt, false);
  lt_value *seed = s->seed ? take_values(job, s->g, s->seed, s->n, true) : NULL;
  lt_value *out = LT_NEW_ARRAY(&g->arena, lt_value, s->n_out + 1);
  lt_grad_node(g, out, y, seed, (unsigned)s->n, wrt, (unsigned)s->n_wrt);
  for (size_t i = 0; i < s->n_out; i++) s->out[i] = handed(s->g, out[i]);
}

void lathe_gradients(lathe_graph *g, lathe_value *out, const lathe_value *y, const lathe_value *seed, size_t ny,
                     const lathe_value *wrt, size_t nwrt) {
  build(g, gradients_body,
        &(step){.in = y, .seed = seed, .n = ny, .wrt = wrt, .n_wrt = nwrt, .out = out, .n_out = nwrt});
}

static void output_body(lt_job *job, void *arg) {
  step *s = arg;
  enter(s, job);
  lt_graph *g = s->g->g;
  if (!s->name || !*s->name) lt_fail(job, LATHE_E_INVALID, NULL, "an output needs a name");
  lt_value v = *take_values(job, s->g, s->in, 1, false);
  for (uint32_t i = 0; i < g->outputs.n; i++)
    if (!strcmp(g->outputs.at[i].name, s->name))
      lt_fail(job, LATHE_E_INVALID, NULL, "output `%.80s` is given twice", s->name);
  if (!lt_name_of(g, v) && !lt_find(g, s->name)) lt_set_name(g, v, s->name);
  lt_add_output(g, s->name, v);
}

void lathe_output(lathe_graph *g, const char *name, lathe_value v) {
  build(g, output_body, &(step){.name = name, .in = &v, .n = 1});
}

static void update_body(lt_job *job, void *arg) {
  step *s = arg;
  enter(s, job);
  lt_value *v = take_values(job, s->g, s->in, 2, false);
  lt_add_update(s->g->g, v[0], v[1]);
}

void lathe_update(lathe_graph *g, lathe_value leaf_value, lathe_value v) {
  build(g, update_body, &(step){.in = (lathe_value[]){leaf_value, v}, .n = 2});
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

lathe_value lathe_get(const lathe_graph *g, const char *name) {
  return g && !g->error.status && name ? handed(g, lt_find(g->g, name)) : (lathe_value){0};
}

void lt_graph_check(lt_job *job, const lathe_graph *g) {
  if (!g) lt_fail(job, LATHE_E_INVALID, NULL, "the graph is NULL");
  if (!g->error.status) return;
  const lathe_error *e = &g->error;
  lt_loc loc = {e->file[0] ? e->file : NULL, e->line, e->column};
  lt_fail(job, e->status, &loc, "%s", e->message);
}

static void check_body(lt_job *job, void *arg) {
  const lathe_graph *g = arg;
  lt_graph_check(job, g);
  if (!g->g->outputs.n && !g->g->updates.n)
    lt_fail(job, LATHE_E_INVALID, NULL, "network `%s` has no output\nhelp: lathe_output(g, \"y\", v)", g->g->name);
}

int lathe_check(const lathe_graph *g, lathe_error *e) { return lt_protect(e, check_body, (void *)(uintptr_t)g); }

int lathe_shape(const lathe_graph *g, lathe_value v, lathe_dtype *dtype, int64_t dim[LATHE_MAX_RANK]) {
  if (!g || !v.id || !owns(g, v)) return -1;
  const lt_type *t = lt_type_of(g->g, (lt_value)v.id);
  if (dtype) *dtype = (lathe_dtype)t->dtype;
  if (dim) memcpy(dim, t->dim, sizeof t->dim);
  return t->rank;
}

_Static_assert((int)LATHE_F32 == LT_F32 && (int)LATHE_F64 == LT_F64 && (int)LATHE_I32 == LT_I32 &&
                 (int)LATHE_I64 == LT_I64 && (int)LATHE_BOOL == LT_BOOL && (int)LATHE_MAX_RANK == LT_MAX_RANK &&
                 (int)LATHE_MAX_INTS == LT_MAX_INTS,
               "public and inner dtypes and limits agree");

void lt_port_of(lathe_port *out, const char *name, const char *kind, const lt_type *t, int64_t offset) {
  *out = (lathe_port){.name = name,
                      .kind = kind,
                      .dtype = (lathe_dtype)t->dtype,
                      .rank = t->rank,
                      .bytes = lt_type_bytes(t),
                      .offset = offset};
  memcpy(out->dim, t->dim, sizeof out->dim);
}

/* Inputs, params, states in the order of the definition, then outputs. */
int lathe_graph_port(const lathe_graph *g, size_t i, lathe_port *out) {
  static const lt_op kinds[] = {LT_OP_input, LT_OP_param, LT_OP_state};
  if (!g || g->error.status) return 0;
  for (size_t k = 0; k < LT_COUNT(kinds); k++)
    for (uint32_t j = 0; j < g->g->nodes.n; j++) {
      const lt_node *n = g->g->nodes.at[j];
      if (n->op != kinds[k] || i--) continue;
      lt_port_of(out, lt_name_of(g->g, n->out), lt_op_table[n->op].name, lt_type_of(g->g, n->out), -1);
      return 1;
    }
  if (i >= g->g->outputs.n) return 0;
  const lt_output *o = &g->g->outputs.at[i];
  lt_port_of(out, o->name, "output", lt_type_of(g->g, o->value), -1);
  return 1;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

typedef struct size_args { int64_t v[4]; const int64_t *x; size_t n; int64_t *out; bool conv; } size_args;

static void pair_body(lt_job *job, void *arg) {
  const size_args *p = arg;
  if (!p->x || p->n < 1 || p->n > 2)
    lt_fail(job, LATHE_E_INVALID, NULL, "pair: one number or two are meant, not %zu", p->x ? p->n : 0);
  p->out[0] = p->x[0], p->out[1] = p->x[p->n - 1];
}

int lathe_pair(const int64_t *x, size_t n, int64_t out[2], lathe_error *e) {
  return lt_protect(e, pair_body, &(size_args){.x = x, .n = n, .out = out});
}

static void outsize_body(lt_job *job, void *arg) {
  const size_args *p = arg;
  const int64_t *v = p->v;
  lt_arena *a = lt_arena_new(job);
  const char *why = (p->conv ? lt_conv_size : lt_deconv_size)(a, p->out, v[0], v[1], v[2], v[3], v[3]);
  if (why) lt_fail(job, LATHE_E_INVALID, NULL, "%s: %s", p->conv ? "conv_outsize" : "deconv_outsize", why);
}

static int64_t outsize(const size_args *args, lathe_error *e) {
  int64_t out = 0;
  size_args p = *args;
  p.out = &out;
  int status = lt_protect(e, outsize_body, &p);
  return status ? status : out;
}

int64_t lathe_conv_outsize(int64_t size, int64_t kernel, int64_t stride, int64_t pad, lathe_error *e) {
  return outsize(&(size_args){.v = {size, kernel, stride, pad}, .conv = true}, e);
}

int64_t lathe_deconv_outsize(int64_t size, int64_t kernel, int64_t stride, int64_t pad, lathe_error *e) {
  return outsize(&(size_args){.v = {size, kernel, stride, pad}, .conv = false}, e);
}

const char *lathe_graph_folded(const lathe_graph *g) { return g && !g->error.status ? g->g->folded : NULL; }
