/* import.c: an ONNX model → a graph: dimensions, inputs, the nodes that are needed one after another, outputs.
 *
 * Nodes that cannot be said here are noted and passed over, and so is what depends on them; at the end all of them are
 * one error. What is wrong with the file or with shapes ends the reading at once. The graph is copied at last without
 * what nobody needs, and what was computed from constants alone stands as constants. */
#include "frontend/onnx/import.h"

#include "frontend/onnx/array.h"
#include "ir/pass/pass.h"

#include <stdio.h>

enum { MOST_BYTES_SHIFT = 40 };

LT_NORETURN static void fail(lt_onnx *c, int status, const char *fmt, ...) LT_PRINTF(3, 4);
static void fail(lt_onnx *c, int status, const char *fmt, ...) {
  const lt_loc loc = {.file = c->m.wire.file};
  va_list ap;
  va_start(ap, fmt);
  lt_failv(c->job, status, &loc, fmt, ap);
}

/* ---- dimensions -------------------------------------------------------------------------------------------------- */

/* What a dimension is called at the command: its symbol, or the input and the axis. */
static const char *dim_name(lt_onnx *c, const lt_onnx_port *p, unsigned axis) {
  return p->dim[axis].name ? p->dim[axis].name : lt_arena_printf(c->arena, "%s.%u", p->name, axis);
}

/* 0: not given. --batch gives the first axis of the first input, and what is called N. */
static int64_t given(lt_onnx *c, const lt_onnx_port *p, unsigned axis) {
  const lt_read_options *o = c->o;
  const char *name = dim_name(c, p, axis);
  for (size_t i = o->n_dims; i-- > 0;)
    if (!strcmp(o->dims[i].name, name)) return o->dims[i].value;
  const lt_onnx_port *first = c->m.graph.inputs.at;
  bool batch = !strcmp(name, "N") || (first->rank && !strcmp(name, dim_name(c, first, 0)));
  return batch ? o->batch : 0;
}

static bool is_pinned(const lt_onnx *c, const char *name, const char **file) {
  for (size_t i = 0; i < c->o->n_pins; i++) {
    if (strcmp(c->o->pins[i].name, name)) continue;
    *file = c->o->pins[i].file;
    return true;
  }
  return false;
}

static bool is_plain_input(lt_onnx *c, const lt_onnx_port *p) {
  const char *file;
  return !lt_onnx_slot_find(c, p->name) && !is_pinned(c, p->name, &file);
}

/* Every symbol that is needed and not known, each once, as it would be given. */
static void check_dims_given(lt_onnx *c, const lt_map *needed) {
  lt_str missing;
  lt_map listed = {0};
  unsigned n = 0;
  lt_str_init(&missing, c->arena);
  for (uint32_t i = 0; i < c->m.graph.inputs.n; i++) {
    const lt_onnx_port *p = &c->m.graph.inputs.at[i];
    if (!is_plain_input(c, p) || !lt_map_gets(needed, p->name, NULL)) continue;
    for (unsigned k = 0; k < p->rank; k++) {
      const char *name = dim_name(c, p, k);
      if (p->dim[k].value >= 0 || given(c, p, k) || lt_map_gets(&listed, name, NULL)) continue;
      lt_map_puts(c->arena, &listed, name, 1);
      bool odd = strpbrk(name, " '\"()*$\\&;<>|") != NULL;
      lt_str_printf(&missing, odd ? " --dim '%s=%d'" : " --dim %s=%d", name, k >= 2 && p->rank == 4 ? 224 : 1);
      n++;
    }
  }
  if (n)
    fail(c, LATHE_E_INVALID,
         "the model leaves %u dimension%s of its inputs open, and sizes are fixed here\nhelp: say "
         "what %s:%s",
         n, n == 1 ? "" : "s", n == 1 ? "it is" : "they are", missing.at);
}

/* --dim of something that is no dimension. */
static void check_dims_known(lt_onnx *c) {
  const char **names = LT_NEW_ARRAY(c->arena, const char *, c->m.graph.inputs.n *LT_MAX_RANK + 1);
  uint32_t n = 0;
  for (uint32_t i = 0; i < c->m.graph.inputs.n; i++)
    for (unsigned k = 0; k < c->m.graph.inputs.at[i].rank; k++)
      if (c->m.graph.inputs.at[i].dim[k].value < 0) names[n++] = dim_name(c, &c->m.graph.inputs.at[i], k);
  for (size_t i = 0; i < c->o->n_dims; i++) {
    bool found = false;
    for (uint32_t k = 0; k < n; k++) found |= !strcmp(names[k], c->o->dims[i].name);
    if (found) continue;
    const char *near = lt_nearest(c->o->dims[i].name, names);
    fail(c, LATHE_E_INVALID, "the model has no open dimension `%.80s`\nhelp: %s%s%s", c->o->dims[i].name,
         near ? "did you mean `"
         : n  ? "there is `"
              : "all sizes of its inputs are fixed",
         near ? near
         : n  ? names[0]
              : "",
         near ? "`?"
         : n  ? "`"
              : "");
  }
}

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

static lt_type type_of_input(lt_onnx *c, const lt_onnx_port *p) {
  lt_dtype t;
  if (p->what) fail(c, LATHE_E_UNSUPPORTED, "the input `%.80s` is %s, not a tensor", p->name, p->what);
  if (!lt_onnx_dtype(p->type, &t))
    fail(c, LATHE_E_UNSUPPORTED,
         "the input `%.80s` is of %s, which is no element type here\nhelp: convert the model "
         "to float32",
         p->name, lt_onnx_type_name(p->type));
  if (!p->shaped)
    fail(c, LATHE_E_UNSUPPORTED, "the input `%.80s` has no shape in the model\nhelp: give it one there", p->name);
  lt_type type = {.dtype = t, .rank = (uint8_t)p->rank};
  for (unsigned i = 0; i < p->rank; i++) {
    type.dim[i] = p->dim[i].value >= 0 ? p->dim[i].value : given(c, p, i);
    if (type.dim[i] < 1)
      fail(c, LATHE_E_UNSUPPORTED,
           "the input `%.80s` has %lld elements along axis %u, and values here have at least one", p->name,
           (long long)type.dim[i], i);
  }
  return type;
}

static void check_batch(lt_onnx *c, const lt_onnx_port *p) {
  if (!c->o->batch || !p->rank || p->dim[0].value < 0 || p->dim[0].value == c->o->batch) return;
  fail(c, LATHE_E_INVALID,
       "the batch of input `%.80s` is fixed to %lld in the model, not %lld\nhelp: export it with a "
       "dynamic batch",
       p->name, (long long)p->dim[0].value, (long long)c->o->batch);
}

/* An input with a value from a file: a constant, or a list of nothing. */
static void pin(lt_onnx *c, const lt_onnx_port *p, const char *file) {
  lt_elements x;
  lt_dtype t;
  lt_onnx_slot *s = lt_onnx_slot_new(c, p->name);
  if (!lt_onnx_dtype(p->type, &t))
    fail(c, LATHE_E_UNSUPPORTED, "the input `%.80s` is of %s, which is no element type here", p->name,
         lt_onnx_type_name(p->type));
  lt_array_where where = {.file = file};
  lt_array_read(&x, c->job, c->arena, file, (size_t)1 << 32);
  lt_type type = {.dtype = t, .rank = x.rank};
  for (unsigned i = 0; i < x.rank; i++) type.dim[i] = x.dim[i];
  bool fits = !p->shaped || p->rank == x.rank;
  for (unsigned i = 0; fits && p->shaped && i < x.rank; i++) fits = p->dim[i].value < 0 || p->dim[i].value == x.dim[i];
  if (!fits)
    fail(c, LATHE_E_INVALID, "--pin %.80s: %.200s is %s, which is not the input's shape", p->name, file,
         lt_type_text(c->arena, &type));
  s->type = type;
  s->empty = x.count == 0;
  if (s->empty) return;
  static const lathe_dtype outside[] = {
    [LT_F32] = LATHE_F32, [LT_F64] = LATHE_F64, [LT_I32] = LATHE_I32, [LT_I64] = LATHE_I64, [LT_BOOL] = LATHE_BOOL};
  void *data = lt_arena_alloc(c->arena, (size_t)lt_type_bytes(&type));
  lt_elements_convert(&x, c->job, where, outside[t], data);
  s->value = lt_const_data(c->g, lt_data_new(&c->g->arena, &type, data));
}

/* What nobody needs is an input where it can be one, and is left out where not. */
static bool can_stand(lt_onnx *c, const lt_onnx_port *p) {
  lt_dtype t;
  bool ok = !p->what && p->shaped && lt_onnx_dtype(p->type, &t);
  for (unsigned i = 0; ok && i < p->rank; i++) ok = p->dim[i].value > 0 || (p->dim[i].value < 0 && given(c, p, i));
  return ok && !c->o->n_keep;
}

static void make_inputs(lt_onnx *c, const lt_map *needed) {
  const char *file;
  for (uint32_t i = 0; i < c->m.graph.inputs.n; i++) {
    const lt_onnx_port *p = &c->m.graph.inputs.at[i];
    const lt_onnx_slot *own = lt_onnx_slot_find(c, p->name);
    if (own && own->tensor) continue; /* before version 4 of the format initializers are inputs too */
    if (is_pinned(c, p->name, &file)) {
      pin(c, p, file);
      continue;
    }
    if (!lt_map_gets(needed, p->name, NULL) && !can_stand(c, p)) continue;
    lt_type t = type_of_input(c, p);
    if (!i) check_batch(c, p);
    lt_onnx_slot *s = lt_onnx_slot_new(c, p->name);
    s->value = lt_leaf(c->g, LT_OP_input, lt_onnx_legal_name(c, p->name), t, NULL);
  }
  for (size_t i = 0; i < c->o->n_pins; i++) {
    bool found = false;
    for (uint32_t k = 0; k < c->m.graph.inputs.n; k++)
      found |= !strcmp(c->m.graph.inputs.at[k].name, c->o->pins[i].name);
    if (!found) fail(c, LATHE_E_INVALID, "--pin: the model has no input `%.80s`", c->o->pins[i].name);
  }
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

void lt_ox_refuse(lt_onnx *c, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  lt_failv(c->job, LATHE_E_UNSUPPORTED, NULL, fmt, ap);
}

static const char *node_name(const lt_onnx_node *n) { return n->name[0] ? n->name : n->out.at[0]; }

/* What stands there and nobody has looked at means something that is not done. */
static void refuse_unasked(lt_onnx *c) {
  const lt_onnx_node *n = c->n;
  for (uint32_t i = 0; i < n->attrs.n; i++) {
    const lt_onnx_attr *a = &n->attrs.at[i];
    if (a->asked) continue;
    const lt_onnx_attr *first = lt_ox_attr(c, a->name);
    if (first != a) lt_ox_refuse(c, "its attribute `%.60s` stands there twice", a->name);
    lt_ox_refuse(c, "its attribute `%.60s` is not understood", a->name);
  }
  for (uint32_t i = n->asked; i < n->in.n; i++)
    if (n->in.at[i][0])
      lt_ox_refuse(c, "its operand %u, `%.60s`, is not understood (%u are)", i + 1, n->in.at[i], n->asked);
  for (uint32_t i = n->made; i < n->out.n; i++)
    if (n->out.at[i][0] && !lt_map_gets(&c->scope->names, n->out.at[i], NULL))
      lt_ox_refuse(c, "its result %u, `%.60s`, is not made (%u are)", i + 1, n->out.at[i], n->made);
}

static void import_node(lt_job *job, void *arg) {
  lt_onnx *c = arg;
  c->job = c->m.wire.job = c->arena->job = job;
  lt_graph_enter(c->g, job);
  const lt_onnx_function *f = lt_onnx_function_of(c, c->n);
  if (f) {
    lt_onnx_call_function(c, f);
    refuse_unasked(c);
    return;
  }
  if (!c->row)
    lt_ox_refuse(c, c->n->domain[0] ? "there is no such op of the domain `%.60s`" : "there is no such op here%s",
                 c->n->domain);
  if (!c->opset) lt_ox_refuse(c, "the model imports no version of its domain");
  c->row->import(c);
  refuse_unasked(c);
}

/* One line of the error, without the advice, which is said once. */
static void note_refusal(lt_onnx *c, const lathe_error *e) {
  const char *domain = c->n->domain;
  lt_str_printf(&c->refusals, "\n  %s `%.100s` (%s%sopset %lld): %.*s", c->n->op, node_name(c->n), domain,
                domain[0] ? ", " : "", (long long)c->opset, (int)strcspn(e->message, "\n"), e->message);
  c->n_refused++;
}

/* Those that it had made before it was refused, too. */
static void mark_refused(lt_onnx *c) {
  for (uint32_t i = 0; i < c->n->out.n; i++) {
    const char *name = c->n->out.at[i];
    if (!name[0]) continue;
    lt_onnx_slot *s = lt_onnx_slot_find(c, name);
    (s ? s : lt_onnx_slot_new(c, name))->refused = true;
  }
}

/* Are all operands there? false: one of them was refused. */
static bool operands_ready(lt_onnx *c) {
  for (uint32_t i = 0; i < c->n->in.n; i++) {
    const char *name = c->n->in.at[i];
    if (!name[0]) continue;
    const lt_onnx_slot *s = lt_onnx_slot_find(c, name);
    if (!s)
      fail(c, LATHE_E_INVALID, "%s `%.100s` reads `%.100s`, which nothing before it makes", c->n->op, node_name(c->n),
           name);
    if (s->refused) return false;
  }
  return true;
}

/* Functions import versions of their own. */
static int64_t opset_for(const lt_onnx *c, const char *domain) {
  if (c->call)
    for (uint32_t i = 0; i < c->call->f->opsets.n; i++)
      if (!strcmp(c->call->f->opsets.at[i].domain, domain)) return c->call->f->opsets.at[i].version;
  return lt_onnx_opset_of(&c->m, domain);
}

/* Exports of TorchScript say so by the names of weight and bias. */
static void note_folded(lt_onnx *c, const lt_onnx_node *n) {
  bool renamed = n->in.n > 2 && !strncmp(n->in.at[1], "onnx::Conv", 10) && !strncmp(n->in.at[2], "onnx::Conv", 10);
  if (!n->folded && !renamed) return;
  if (!c->n_folded++) c->folded = n;
}

static void run_node(lt_onnx *c, lt_onnx_node *n) {
  lathe_error e;
  lt_job *job = c->job;
  const lt_onnx_node *outer = c->n;
  const char *label = c->g->label;
  lt_onnx_scope *scope = c->scope; /* where a refusal comes back to */
  const lt_onnx_call *call = c->call;
  unsigned depth = c->depth;
  n = lt_onnx_node_in_call(c, n);
  c->n = n;
  if (!operands_ready(c)) {
    mark_refused(c);
    c->n = (lt_onnx_node *)outer;
    return;
  }
  c->row = lt_onnx_op_find(n->domain, n->op);
  c->opset = opset_for(c, n->domain);
  c->g->label = lt_arena_strdup(&c->g->arena, node_name(n));
  int status = lt_protect(&e, import_node, c);
  c->job = c->m.wire.job = c->arena->job = job;
  c->scope = scope, c->call = call, c->depth = depth;
  lt_graph_enter(c->g, job);
  if (status == LATHE_E_UNSUPPORTED) {
    note_refusal(c, &e);
    mark_refused(c);
  } else if (status == LATHE_E_NOMEM) lt_fail_nomem(job);
  else if (status) fail(c, status, "%s `%.100s`: %s", n->op, node_name(n), e.message);
  else note_folded(c, n);
  c->g->label = label;
  c->n = (lt_onnx_node *)outer;
  uint32_t most = c->o->max_nodes ? c->o->max_nodes : LT_READ_MAX_NODES;
  if (c->g->nodes.n > most) fail(c, LATHE_E_INVALID, "the network has more than %u nodes", most);
}

void lt_onnx_run_nodes(lt_onnx *c, lt_onnx_scope *s, lt_onnx_graph *g) {
  const lt_onnx_op *row = c->row;
  lt_onnx_scope *outer = c->scope;
  int64_t opset = c->opset;
  if (g->sparse) lt_ox_refuse(c, "a sparse initializer is not read");
  if (c->depth >= 16) lt_ox_refuse(c, "branches, loops and functions nest deeper than 16");
  c->written += 1 + g->nodes.n;
  if (c->written > LT_ONNX_WRITTEN)
    fail(c, LATHE_E_INVALID, "its branches, loops and functions come to more than %d nodes", (int)LT_ONNX_WRITTEN);
  c->depth++, c->scope = s;
  for (uint32_t i = 0; i < g->tensors.n; i++) {
    lt_onnx_slot *own = lt_onnx_slot_new(c, g->tensors.at[i].name);
    lt_onnx_slot_tensor(c, own, &g->tensors.at[i], false);
  }
  for (uint32_t i = 0; i < g->nodes.n; i++) run_node(c, &g->nodes.at[i]);
  c->depth--, c->scope = outer;
  c->row = row, c->opset = opset;
}

/* ---- what is needed ---------------------------------------------------------------------------------------------- */

static void need(lt_onnx *c, lt_map *needed, const char *name) {
  if (name[0]) lt_map_puts(c->arena, needed, name, 1);
}

/* What a branch reads of the outside is needed too: every name that stands in it. */
static void need_branch(lt_onnx *c, lt_map *needed, const lt_onnx_node *n) {
  for (uint32_t i = 0; i < n->attrs.n; i++) {
    if (n->attrs.at[i].kind != LT_ONNX_A_GRAPH) continue;
    lt_onnx_graph g;
    if (++c->depth > 16) fail(c, LATHE_E_INVALID, "branches nest deeper than 16");
    lt_onnx_read_graph(&c->m, &g, n->attrs.at[i].graph);
    for (uint32_t k = 0; k < g.nodes.n; k++) {
      for (uint32_t j = 0; j < g.nodes.at[k].in.n; j++) need(c, needed, g.nodes.at[k].in.at[j]);
      need_branch(c, needed, &g.nodes.at[k]);
    }
    for (uint32_t k = 0; k < g.outputs.n; k++) need(c, needed, g.outputs.at[k].name);
    c->depth--;
  }
}

/* A Gradient names the value that it differentiates, without reading it. */
static void need_named(lt_onnx *c, lt_map *needed, const lt_onnx_node *n) {
  if (strcmp(n->op, "Gradient")) return;
  for (uint32_t i = 0; i < n->attrs.n; i++)
    if (n->attrs.at[i].kind == LT_ONNX_A_STRING) need(c, needed, n->attrs.at[i].s);
}

static void find_needed(lt_onnx *c, lt_map *needed) {
  lt_onnx_graph *g = &c->m.graph;
  c->live = LT_NEW_ARRAY(c->arena, bool, g->nodes.n + 1);
  for (uint32_t i = 0; i < g->outputs.n && !c->o->n_keep; i++) need(c, needed, g->outputs.at[i].name);
  for (size_t i = 0; i < c->o->n_keep; i++) need(c, needed, c->o->keep[i]);
  for (uint32_t i = g->nodes.n; i-- > 0;) {
    const lt_onnx_node *n = &g->nodes.at[i];
    bool live = false;
    for (uint32_t k = 0; k < n->out.n; k++) live |= n->out.at[k][0] && lt_map_gets(needed, n->out.at[k], NULL);
    for (uint32_t k = 0; live && k < n->in.n; k++) need(c, needed, n->in.at[k]);
    if (live) need_branch(c, needed, n), need_named(c, needed, n);
    c->live[i] = live;
  }
}

static void run_needed(lt_onnx *c) {
  for (uint32_t i = 0; i < c->m.graph.nodes.n; i++)
    if (c->live[i]) run_node(c, &c->m.graph.nodes.at[i]);
}

/* ---- outputs ----------------------------------------------------------------------------------------------------- */

static void make_output(lt_onnx *c, const char *name) {
  lt_onnx_slot *s = lt_onnx_slot_find(c, name);
  if (!s) fail(c, LATHE_E_INVALID, "the output `%.100s` is made by no node", name);
  if (s->refused) return;
  if (s->empty)
    fail(c, LATHE_E_UNSUPPORTED, "the output `%.100s` has no elements, and values here have at least one", name);
  lt_value v = lt_onnx_slot_value(c, s);
  const char *own = lt_name_of(c->g, v);
  lt_add_output(c->g, own && !strcmp(own, name) ? own : lt_find(c->g, name) ? name : lt_onnx_legal_name(c, name), v);
}

static void make_outputs(lt_onnx *c) {
  const lt_onnx_graph *g = &c->m.graph;
  if (!g->outputs.n) fail(c, LATHE_E_INVALID, "the model has no outputs");
  for (uint32_t i = 0; i < g->outputs.n && !c->o->n_keep; i++) make_output(c, g->outputs.at[i].name);
  for (size_t i = 0; i < c->o->n_keep; i++) {
    if (!lt_onnx_slot_find(c, c->o->keep[i]))
      fail(c, LATHE_E_INVALID, "--keep: the model has no value `%.100s`", c->o->keep[i]);
    make_output(c, c->o->keep[i]);
  }
}

LT_NORETURN static void fail_refused(lt_onnx *c) {
  fail(c, LATHE_E_UNSUPPORTED,
       "%u node%s of the model cannot be read:%s\nhelp: docs/onnx.md lists what is read; --keep "
       "NAME reads only what a value needs",
       c->n_refused, c->n_refused == 1 ? "" : "s", c->refusals.at);
}

/* ---- the whole model --------------------------------------------------------------------------------------------- */

/* What constants alone made stands as a constant; nobody asks how it was computed. */
static bool settle(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  lt_onnx *c = r->ctx;
  (void)in;
  if (n->n_out != 1 || n->op == LT_OP_const || !c->known.at[n->out]) return false;
  if (lt_facts(n)->moves == LT_MOVES_REPEAT) return false; /* a number and its shape */
  r->map[n->out] = lt_const_tensor(r->to, c->known.at[n->out]);
  lt_set_name(r->to, r->map[n->out], lt_name_of(r->from, n->out));
  return true;
}

static bool as_it_is(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  (void)r, (void)n, (void)in;
  return false;
}

/* In the place of `from`, which is freed. */
static lt_graph *copy(lt_onnx *c, lt_graph *from, lt_rewrite_fn fn) {
  lt_graph *to = lt_graph_new(c->job, from->name);
  to->max_bytes = from->max_bytes;
  lt_rewrite_graph(to, from, fn, c);
  lt_graph_drop(c->job, from);
  return to;
}

static lt_graph *without_the_unneeded(lt_onnx *c) {
  if (c->g->nodes.n) lt_onnx_known(c, 1);
  lt_graph *settled = copy(c, c->g, settle), *to = copy(c, settled, as_it_is);
  to->loc = (lt_loc){0};
  to->label = to->origin = NULL;
  if (c->folded)
    to->folded = lt_arena_printf(&to->arena, "%u node%s, `%.100s` the first", c->n_folded, c->n_folded > 1 ? "s" : "",
                                 node_name(c->folded));
  return to;
}

/* The file's name without folder and ending, or what the model says. */
static const char *network_name(lt_onnx *c) {
  const char *own = c->files.own, *dot = strrchr(own, '.');
  if (dot && dot > own && !strcmp(dot, ".onnx")) own = lt_arena_strndup(c->arena, own, (size_t)(dot - own));
  else own = c->m.graph.name[0] ? c->m.graph.name : "model";
  if (c->o->network && strcmp(c->o->network, own) && strcmp(c->o->network, c->m.graph.name))
    fail(c, LATHE_E_INVALID, "there is no network `%.80s`\nhelp: an ONNX model is one network, here `%.80s`",
         c->o->network, own);
  char *legal = lt_arena_strndup(c->arena, own, LT_MIN(strlen(own), 200u));
  for (char *p = legal; *p; p++)
    if (*p == '`' || (unsigned char)*p < 32 || (unsigned char)*p >= 127) *p = '_';
  return legal;
}

static const char *file_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static lt_graph *read_onnx(lt_job *job, const lt_source *s, const lt_read_options *o) {
  static const lt_read_options none;
  lt_arena *arena = lt_arena_new(job);
  lt_onnx *c = LT_NEW(arena, lt_onnx);
  lt_wire wire = {job, arena, s->file, s->bytes};
  lt_map needed = {0};
  c->job = job, c->arena = arena, c->o = o ? o : &none;
  c->files = (lt_onnx_files){s->folder ? s->folder : ".", file_name(s->file), s->file, s->mapping, {0}};
  c->scope = lt_onnx_scope_new(c, NULL);
  lt_str_init(&c->refusals, arena);
  lt_onnx_read_model(&c->m, &wire);
  c->g = lt_graph_new(job, network_name(c));
  c->g->max_bytes = c->o->max_bytes ? c->o->max_bytes : lt_mem_of_machine();
  c->g->loc.file = lt_arena_strdup(&c->g->arena, s->file);
  find_needed(c, &needed);
  if (c->m.graph.sparse) fail(c, LATHE_E_UNSUPPORTED, "byte %zu: a sparse initializer is not read", c->m.graph.sparse);
  for (uint32_t i = 0; i < c->m.graph.tensors.n; i++) {
    const lt_onnx_tensor *x = &c->m.graph.tensors.at[i];
    lt_onnx_slot *slot = lt_onnx_slot_new(c, x->name);
    if (lt_map_gets(&needed, x->name, NULL)) lt_onnx_slot_tensor(c, slot, x, false);
    else slot->tensor = x; /* what nobody needs may be of any type; it may be among the inputs, too */
  }
  check_dims_known(c);
  check_dims_given(c, &needed);
  make_inputs(c, &needed);
  run_needed(c);
  if (c->n_refused) fail_refused(c);
  make_outputs(c);
  lt_onnx_name_constants(c);
  return without_the_unneeded(c);
}

const lt_reader lt_onnx_reader = {.what = "ONNX models",
                                  .suffix = ".onnx",
                                  .first = "\x08", /* the tag of ir_version */
                                  .max_bytes = (size_t)1 << MOST_BYTES_SHIFT,
                                  .mapped = true,
                                  .read = read_onnx};
