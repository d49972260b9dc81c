/* entry.c: entries as graphs: what is chosen of the network is copied with what it needs; gradients and updates are
 * added. */
#include "driver/entry.h"
#include "ir/pass/pass.h"

#include <stdlib.h>

/* ---- [NAME=]KIND[:OUT,...][@DIM=V,...] --------------------------------------------------------------------------- */

static lt_texts split(lt_arena *a, const char *text, size_t n) {
  LT_VEC(const char *) list = {0};
  for (const char *p = text, *end = text + n; p <= end;) {
    const char *comma = memchr(p, ',', (size_t)(end - p));
    if (!comma) comma = end;
    lt_vec_push(a, &list, lt_arena_strndup(a, p, (size_t)(comma - p)));
    p = comma + 1;
  }
  return (lt_texts){list.at, list.n};
}

static lt_entry_kind read_kind(lt_job *job, const char *text, const char *p, size_t n) {
  static const char *const kinds[] = {[LT_ENTRY_RUN] = "run", [LT_ENTRY_GRAD] = "grad", [LT_ENTRY_TRAIN] = "train"};
  for (unsigned i = 0; i < LT_COUNT(kinds); i++)
    if (strlen(kinds[i]) == n && !memcmp(kinds[i], p, n)) return (lt_entry_kind)i;
  lt_fail(job, LATHE_E_INVALID, NULL, "entry `%.80s`: `%.*s` is no kind of entry\nhelp: run, grad or train", text,
          (int)LT_MIN(n, 60u), p);
}

static void check_spec(lt_job *job, const lt_entry_spec *s) {
  for (uint32_t i = 0; i < s->outputs.n; i++)
    if (!s->outputs.at[i][0])
      lt_fail(job, LATHE_E_INVALID, NULL, "entry `%.80s` has an output without a name", s->text);
  for (uint32_t i = 0; i < s->dims.n; i++) {
    const char *eq = strchr(s->dims.at[i], '=');
    char *end = NULL;
    long long v = eq ? strtoll(eq + 1, &end, 10) : 0;
    if (!eq || eq == s->dims.at[i] || *end || v < 1)
      lt_fail(job, LATHE_E_INVALID, NULL, "entry `%.80s`: `%.60s` is not NAME=V with a whole number V of at least 1",
              s->text, s->dims.at[i]);
  }
  for (const char *p = s->name; *p; p++)
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *p) || strlen(s->name) > 40)
      lt_fail(job, LATHE_E_INVALID, NULL, "entry `%.80s`: its name may have 40 letters, digits and _", s->text);
}

lt_entry_spec lt_entry_parse(lt_job *job, lt_arena *a, const char *text) {
  lt_entry_spec s = {.text = lt_arena_strdup(a, text)};
  const char *p = s.text, *end = p + strcspn(p, ":@"), *eq = memchr(p, '=', (size_t)(end - p));
  const char *kind = eq ? eq + 1 : p;
  s.kind = read_kind(job, s.text, kind, (size_t)(end - kind));
  s.name = lt_arena_strndup(a, p, (size_t)((eq ? eq : end) - p));
  if (eq == p) lt_fail(job, LATHE_E_INVALID, NULL, "entry `%.80s` has an empty name", s.text);
  if (*end == ':') {
    const char *at = end + 1 + strcspn(end + 1, "@");
    s.outputs = split(a, end + 1, (size_t)(at - end - 1));
    end = at;
  }
  if (*end == '@') s.dims = split(a, end + 1, strlen(end + 1));
  check_spec(job, &s);
  return s;
}

/* ---- copying what is needed -------------------------------------------------------------------------------------- */

typedef struct entry {
  lt_graph *g;
  const lt_graph *from;
  const lt_entry_spec *spec;
  const lt_options *o;
  lt_value *map; /* values of `from` in g */
  const lt_output **chosen;
  uint32_t n_chosen;
} entry;

LT_NORETURN static void fail_output(const entry *e, const char *what, const char *name) {
  const char **names = LT_NEW_ARRAY(&e->g->arena, const char *, e->from->outputs.n + 1);
  for (uint32_t i = 0; i < e->from->outputs.n; i++) names[i] = e->from->outputs.at[i].name;
  const char *near = lt_nearest(name, names);
  lt_str list;
  lt_str_init(&list, &e->g->arena);
  for (uint32_t i = 0; i < e->from->outputs.n && i < 12; i++) lt_str_printf(&list, "%s%s", i ? ", " : "", names[i]);
  if (near)
    lt_fail(e->g->job, LATHE_E_INVALID, NULL, "%s: the network has no output `%.80s`\nhelp: did you mean `%s`?", what,
            name, near);
  lt_fail(e->g->job, LATHE_E_INVALID, NULL, "%s: the network has no output `%.80s`\nhelp: it has %s", what, name,
          list.n ? list.at : "none");
}

static const lt_output *find_output(const entry *e, const char *what, const char *name) {
  for (uint32_t i = 0; i < e->from->outputs.n; i++)
    if (!strcmp(e->from->outputs.at[i].name, name)) return &e->from->outputs.at[i];
  fail_output(e, what, name);
}

static void choose_outputs(entry *e) {
  const lt_texts *want = &e->spec->outputs;
  uint32_t n = want->n ? want->n : e->from->outputs.n;
  e->chosen = LT_NEW_ARRAY(&e->g->arena, const lt_output *, n + 1);
  for (uint32_t i = 0; i < n; i++)
    e->chosen[i] = want->n ? find_output(e, e->spec->text, want->at[i]) : &e->from->outputs.at[i];
  e->n_chosen = n;
  if (!n)
    lt_fail(e->g->job, LATHE_E_INVALID, NULL, "entry `%s`: network `%s` has no output", e->spec->text, e->from->name);
}

/* Mark what the marked nodes need, last to first. */
static void close_over(const lt_graph *from, bool *need) {
  for (uint32_t i = from->nodes.n; i-- > 0;) {
    const lt_node *n = from->nodes.at[i];
    for (unsigned k = 0; need[i] && k < n->n_in; k++)
      if (n->in[k]) need[lt_node_of(from, n->in[k])->id] = true;
  }
}

static void copy_needed(entry *e, const bool *need) {
  lt_rewrite r = {.to = e->g, .from = e->from, .map = e->map, .live = need};
  for (uint32_t i = 0; i < e->from->nodes.n; i++) {
    const lt_node *n = e->from->nodes.at[i];
    if (!need[i]) continue;
    lt_value *in = LT_NEW_ARRAY(&e->g->arena, lt_value, n->n_in + 1u);
    for (unsigned k = 0; k < n->n_in; k++) in[k] = n->in[k] ? e->map[n->in[k]] : 0;
    lt_copy_node(&r, n, in);
  }
  e->g->loc = (lt_loc){0}, e->g->label = e->g->origin = NULL;
}

/* The chosen outputs with what they need; `updates`: the network's own, and `leaves`: all float inputs and params
 * too. */
static void copy_chosen(entry *e, bool updates, bool leaves) {
  bool *need = LT_NEW_ARRAY(&e->g->arena, bool, e->from->nodes.n + 1);
  for (uint32_t i = 0; i < e->n_chosen; i++) need[lt_node_of(e->from, e->chosen[i]->value)->id] = true;
  for (uint32_t i = 0; updates && i < e->from->updates.n; i++) {
    need[lt_node_of(e->from, e->from->updates.at[i].value)->id] = true;
    need[lt_node_of(e->from, e->from->updates.at[i].leaf)->id] = true;
  }
  for (uint32_t i = 0; leaves && i < e->from->nodes.n; i++) {
    const lt_node *n = e->from->nodes.at[i];
    if (n->op == LT_OP_param || (n->op == LT_OP_input && lt_is_float(lt_type_of(e->from, n->out)->dtype)))
      need[i] = true;
  }
  close_over(e->from, need);
  copy_needed(e, need);
  for (uint32_t i = 0; updates && i < e->from->updates.n; i++)
    lt_add_update(e->g, e->map[e->from->updates.at[i].leaf], e->map[e->from->updates.at[i].value]);
}

/* Leaves of g that are differentiated in: params, and for `inputs` float inputs too, in order. */
typedef struct leaves { lt_value *at; unsigned n; } leaves;

static leaves find_leaves(lt_graph *g, bool inputs) {
  leaves l = {LT_NEW_ARRAY(&g->arena, lt_value, g->nodes.n + 1), 0};
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    bool is = n->op == LT_OP_param || (inputs && n->op == LT_OP_input);
    if (is && lt_is_float(lt_type_of(g, n->out)->dtype)) l.at[l.n++] = n->out;
  }
  return l;
}

/* ---- gradients --------------------------------------------------------------------------------------------------- */

static lt_value sum_of(lt_graph *g, lt_value v) {
  return lt_type_of(g, v)->rank ? lt_reduce(g, LT_OP_sum, v, &(lt_ints){0}, false) : v;
}

void lt_grad_node(lt_graph *g, lt_value *out, const lt_value *y, const lt_value *seed, unsigned ny, const lt_value *wrt,
                  unsigned n) {
  if (!ny || !n)
    lt_fail(g->job, LATHE_E_INVALID, NULL, "gradients need at least one output and one value to differentiate in");
  lt_value *in = LT_NEW_ARRAY(&g->arena, lt_value, n + 2), total = 0;
  for (unsigned i = 0; ny > 1 && i < ny; i++) {
    lt_value part = seed && seed[i] ? lt_binary(g, LT_OP_mul, y[i], seed[i]) : y[i];
    part = sum_of(g, part);
    if (total) part = lt_cast(g, part, lt_type_of(g, total)->dtype);
    total = total ? lt_binary(g, LT_OP_add, total, part) : part;
  }
  in[0] = ny > 1 ? total : y[0];
  in[1] = ny == 1 && seed ? seed[0] : 0;
  memcpy(in + 2, wrt, n * sizeof *wrt);
  lt_value first = lt_emit(g, LT_OP_grad, NULL, in, n + 2);
  for (unsigned i = 0; i < n; i++) out[i] = first + i;
}

static lt_value named_input(entry *e, const char *prefix, const char *name, lt_value like) {
  lt_graph *g = e->g;
  const char *full = lt_arena_printf(&g->arena, "%s%s", prefix, name);
  if (lt_find(g, full))
    lt_fail(g->job, LATHE_E_INVALID, NULL, "the entry needs the name `%s`, which the network has taken", full);
  return lt_leaf(g, LT_OP_input, full, *lt_type_of(g, like), NULL);
}

/* "NAME" or, from the command, "NAME=F.npy". */
static bool names_it(const char *text, const char *name) {
  size_t n = strcspn(text, "=");
  return strlen(name) == n && !memcmp(name, text, n);
}

static bool listed(const lt_texts *list, const char *name) {
  for (uint32_t i = 0; i < list->n; i++)
    if (names_it(list->at[i], name)) return true;
  return false;
}

static void check_names(const entry *e, const leaves *l) {
  for (uint32_t i = 0; i < e->o->output_grad.n; i++) {
    const char *text = e->o->output_grad.at[i], *name = lt_arena_strndup(&e->g->arena, text, strcspn(text, "="));
    const lt_output *o = find_output(e, "--output-grad", name);
    if (!lt_is_float(lt_type_of(e->from, o->value)->dtype))
      lt_fail(e->g->job, LATHE_E_INVALID, NULL, "--output-grad: output `%s` holds integers", name);
  }
  for (uint32_t i = 0; i < e->o->hvp.n; i++) {
    const char *text = e->o->hvp.at[i];
    const char **names = LT_NEW_ARRAY(&e->g->arena, const char *, l->n + 1);
    bool found = false;
    for (unsigned k = 0; k < l->n; k++) names[k] = lt_name_of(e->g, l->at[k]), found |= names_it(text, names[k]);
    if (found) continue;
    const char *name = lt_arena_strndup(&e->g->arena, text, strcspn(text, "=")), *near = lt_nearest(name, names);
    lt_fail(e->g->job, LATHE_E_INVALID, NULL, "--hvp: the network has no float input or param `%.80s`%s%s%s", name,
            near ? "\nhelp: did you mean `" : "", near ? near : "", near ? "`?" : "");
  }
}

static void add_named_output(lt_graph *g, const char *prefix, const char *name, lt_value v) {
  const char *full = lt_arena_printf(&g->arena, "%s%s", prefix, name);
  if (!lt_name_of(g, v)) lt_set_name(g, v, lt_free_name(g, full));
  lt_add_output(g, full, v);
}

static void add_hvp(entry *e, const leaves *l, const lt_value *grad) {
  lt_graph *g = e->g;
  lt_value *y = LT_NEW_ARRAY(&g->arena, lt_value, l->n), *seed = LT_NEW_ARRAY(&g->arena, lt_value, l->n);
  lt_value *out = LT_NEW_ARRAY(&g->arena, lt_value, l->n);
  unsigned n = 0;
  for (unsigned i = 0; i < l->n; i++) {
    const char *name = lt_name_of(g, l->at[i]);
    if (!listed(&e->o->hvp, name)) continue;
    y[n] = grad[i];
    seed[n++] = named_input(e, "direction_", name, l->at[i]);
  }
  lt_grad_node(g, out, y, seed, n, l->at, l->n);
  for (unsigned i = 0; i < l->n; i++) add_named_output(g, "hvp_", lt_name_of(g, l->at[i]), out[i]);
}

static void make_grad(entry *e) {
  lt_graph *g = e->g;
  choose_outputs(e);
  copy_chosen(e, false, true);
  leaves l = find_leaves(g, true);
  check_names(e, &l);
  lt_value *y = LT_NEW_ARRAY(&g->arena, lt_value, e->n_chosen), *seed = LT_NEW_ARRAY(&g->arena, lt_value, e->n_chosen);
  lt_value *out = LT_NEW_ARRAY(&g->arena, lt_value, l.n + 1);
  unsigned n = 0;
  for (uint32_t i = 0; i < e->n_chosen; i++) {
    lt_value v = e->map[e->chosen[i]->value];
    bool given = listed(&e->o->output_grad, e->chosen[i]->name);
    if (!lt_is_float(lt_type_of(g, v)->dtype) || (e->o->output_grad.n && !given)) continue;
    y[n] = v;
    seed[n++] = given ? named_input(e, "output_grad_", e->chosen[i]->name, v) : 0;
  }
  if (!n)
    lt_fail(g->job, LATHE_E_INVALID, NULL, "entry `%s`: no output holds floats, so there is no gradient",
            e->spec->text);
  if (!l.n)
    lt_fail(g->job, LATHE_E_INVALID, NULL, "entry `%s`: the network has no float input and no param", e->spec->text);
  lt_grad_node(g, out, y, seed, n, l.at, l.n);
  for (unsigned i = 0; i < l.n; i++) add_named_output(g, "grad_", lt_name_of(g, l.at[i]), out[i]);
  if (e->o->hvp.n) add_hvp(e, &l, out);
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

static lt_value builtin_loss(entry *e, lt_value y, bool classes) {
  lt_graph *g = e->g;
  lt_type t = *lt_type_of(g, y);
  if (classes) {
    if (t.rank != 2 || !lt_is_float(t.dtype))
      lt_fail(
        g->job, LATHE_E_INVALID, NULL,
        "the loss cross_entropy needs a first output [N, C] of floats, `%s` is %s\nhelp: --loss mse, or --loss OUTPUT",
        e->chosen[0]->name, lt_type_text(&g->arena, &t));
    t = lt_make_type(LT_I32, 1, t.dim);
  }
  lt_value labels = lt_leaf(g, LT_OP_input, lt_free_name(g, "labels"), t, NULL);
  return lt_emit(g, classes ? LT_OP_cross_entropy : LT_OP_mse, NULL, (lt_value[]){y, labels}, 2);
}

/* The loss: --loss, the output that the entry names, or cross_entropy on the first output. */
static lt_value make_loss(entry *e, const char **name) {
  lt_graph *g = e->g;
  const char *loss = e->o->loss ? e->o->loss : e->spec->outputs.n ? e->spec->outputs.at[0] : "cross_entropy";
  if (e->spec->outputs.n > 1)
    lt_fail(g->job, LATHE_E_INVALID, NULL, "entry `%s`: training has one loss", e->spec->text);
  bool own = false, classes = !strcmp(loss, "cross_entropy");
  for (uint32_t i = 0; i < e->from->outputs.n; i++) own |= !strcmp(e->from->outputs.at[i].name, loss);
  bool builtin = !own && (classes || !strcmp(loss, "mse"));
  e->chosen = LT_NEW_ARRAY(&g->arena, const lt_output *, 1);
  e->n_chosen = 1;
  if (builtin && !e->from->outputs.n)
    lt_fail(g->job, LATHE_E_INVALID, NULL, "network `%s` has no output", e->from->name);
  e->chosen[0] = builtin ? &e->from->outputs.at[0] : find_output(e, e->o->loss ? "--loss" : e->spec->text, loss);
  copy_chosen(e, true, false);
  *name = builtin ? "loss" : e->chosen[0]->name;
  lt_value y = e->map[e->chosen[0]->value];
  if (builtin) return builtin_loss(e, y, classes);
  if (lt_type_of(g, y)->rank || !lt_is_float(lt_type_of(g, y)->dtype))
    lt_fail(g->job, LATHE_E_INVALID, NULL, "the loss `%s` is %s, it should be a float scalar", loss,
            lt_type_text(&g->arena, lt_type_of(g, y)));
  return y;
}

static bool updates_params(const lt_graph *g) {
  for (uint32_t i = 0; i < g->updates.n; i++)
    if (lt_op_of(g, g->updates.at[i].leaf) == LT_OP_param) return true;
  return false;
}

static void check_no_hooks(const entry *e) {
  static const struct { lt_option_id id; const char *name; } options[] = { {LT_OPT_optimizer, "optimizer"},
              {LT_OPT_weight_decay, "weight-decay"},
              {LT_OPT_clip_norm, "clip-norm"},
              {LT_OPT_freeze, "freeze"}};
  for (size_t i = 0; i < LT_COUNT(options); i++)
    if (e->o->given[options[i].id])
      lt_fail(e->g->job, LATHE_E_INVALID, NULL, "network `%s` updates its params itself, so --%s has nothing to act on",
              e->from->name, options[i].name);
}

/* A network that updates its params itself is a step already (so the dump of a train entry compiles to the same). */
static void make_train(entry *e) {
  lt_graph *g = e->g;
  const char *name;
  lt_value loss = make_loss(e, &name);
  if (!lt_name_of(g, loss)) lt_set_name(g, loss, lt_free_name(g, name));
  lt_add_output(g, name, loss);
  if (updates_params(g)) {
    check_no_hooks(e);
    return;
  }
  leaves l = find_leaves(g, false);
  if (!l.n)
    lt_fail(g->job, LATHE_E_INVALID, NULL, "entry `%s`: the loss depends on no param, there is nothing to train",
            e->spec->text);
  l.n = lt_freeze(g, e->from, e->o, l.at, l.n);
  lt_value *grad = LT_NEW_ARRAY(&g->arena, lt_value, l.n);
  lt_grad_node(g, grad, &loss, NULL, 1, l.at, l.n);
  lt_hooks_emit(g, e->o, l.at, grad, l.n);
  lt_optimizer_emit(g, lt_optimizer_find(e->o->optimizer), l.at, grad, l.n);
}

static void make_run(entry *e) {
  choose_outputs(e);
  copy_chosen(e, false, false);
  for (uint32_t i = 0; i < e->n_chosen; i++) lt_add_output(e->g, e->chosen[i]->name, e->map[e->chosen[i]->value]);
}

lt_graph *lt_entry_graph(lt_job *job, const lt_graph *network, const lt_entry_spec *spec, const lt_options *o) {
  entry e = {.g = lt_graph_new(job, network->name), .from = network, .spec = spec, .o = o};
  e.g->max_bytes = network->max_bytes, e.g->fast = lt_options_fast(o);
  e.map = LT_NEW_ARRAY(&e.g->arena, lt_value, network->values.n);
  bool train = spec->kind == LT_ENTRY_TRAIN || (spec->kind == LT_ENTRY_GRAD && o->mode && !strcmp(o->mode, "train"));
  e.g->mode = train ? LT_MODE_TRAIN : LT_MODE_RUN;
  if (spec->kind == LT_ENTRY_RUN) make_run(&e);
  else if (spec->kind == LT_ENTRY_GRAD) make_grad(&e);
  else make_train(&e);
  return e.g;
}
