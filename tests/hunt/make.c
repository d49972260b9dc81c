/* make.c: a network of a seed: structures that people build, with any ops of the table around and between them; what of
 * it is given out; which entries are compiled, and how they are compared. And whether all of the table comes up. */
#include "frontend/layers.h"
#include "maker.h"

#include <stdlib.h>

/* ---- parts ------------------------------------------------------------------------------------------------------- */

/* One row of the two tables. */
static void add_any(maker *m) {
  for (int i = 0; i < 8; i++) {
    unsigned row = 1 + (unsigned)pick(m, LT_OPS - 1 + LT_LAYERS - 1);
    if (row < LT_OPS) {
      if (lt_op_table[row].flags & (LT_LEAF | LT_HIDDEN)) continue;
      if (!make_of_op(m, (lt_op)row)) continue;
    } else if (!make_of_layer(m, row - LT_OPS + 1)) continue;
    return;
  }
}

static unsigned start(maker *m, bool image) {
  static const int64_t sizes[] = {5, 7, 8, 13, 14, 17, 28};
  int64_t n = 1 + pick(m, 4), c = chance(m, 50) ? 1 + 2 * pick(m, 2) : pick_channels(m), h = PICK(m, sizes);
  lt_type t = lt_make_type(m->dtype, 2, (int64_t[]){1 + pick(m, 9), pick_channels(m)});
  while (n * c * h * h > 4000 && n > 1) n--;
  while (n * c * h * h > 4000) h = h / 2 + 1, c = 1 + c / 2;
  if (image) t = lt_make_type(m->dtype, 4, (int64_t[]){n, c, h, chance(m, 70) ? h : 1 + h / 2});
  return make_leaf(m, HT_INPUT, t, NULL);
}

static void add_network(maker *m, bool image) {
  unsigned x = start(m, image);
  for (int i = 0, n = m->large ? 1 + (int)pick(m, 5) / 2 : 1; i < n && x && !m->broken; i++) {
    make_structure(m, &x);
    if (chance(m, m->large ? 25 : 10)) add_any(m);
  }
  if (x && chance(m, 50)) m->loss = make_head(m, x);
}

static void add_parts(maker *m) {
  unsigned x = start_of_parts(m);
  for (int64_t n = m->large ? 2 + pick(m, 3) : 1 + pick(m, 2); n > 0 && x && !m->broken; n--) make_parts(m, &x);
  if (x && chance(m, 50)) m->loss = make_head(m, x);
}

static void add_soup(maker *m) {
  for (int i = 0, n = m->large ? 2 + (int)pick(m, chance(m, 20) ? 16 : 6) : 1 + (int)pick(m, 2); i < n && !m->broken;
       i++)
    add_any(m);
}

/* A state that follows what is computed. */
static void add_update(maker *m) {
  unsigned v = pick_value(m, &(want){.max_rank = LT_MAX_RANK, .most = 500});
  if (!v) return;
  unsigned s = make_leaf(m, HT_STATE, *type_of(m, v), "uniform(lo=-1.0, hi=1.0)");
  unsigned keep = make_number(m, m->dtype, 0.75), y = binary(m, "add", binary(m, "mul", s, keep), v);
  if (y) finish(m, begin(m, HT_UPDATE, "", 2, (unsigned[]){s, y}));
}

/* The loss, if there is one already, and the mean of what nobody reads. */
static unsigned sink_sum(maker *m) {
  bool read[HT_STATEMENTS * HT_OUT + 1] = {false};
  unsigned sum = m->loss, n = m->net->n, parts = 0;
  for (unsigned i = 0; i < n; i++)
    for (unsigned k = 0; k < m->net->at[i].n_in; k++) read[m->net->at[i].in[k]] = true;
  for (unsigned i = 0; i < n && parts < 4; i++) {
    if (m->net->at[i].kind != HT_OP && m->net->at[i].kind != HT_LAYER) continue;
    unsigned v = ht_value(i, 0);
    if (read[v] || v == m->loss || !fits(m, v, &(want){.max_rank = LT_MAX_RANK, .most = 3 * MOST_ELEMENTS})) continue;
    unsigned mean = type_of(m, v)->rank ? unary(m, "mean", v) : v;
    sum = sum ? binary(m, "add", sum, mean) : mean;
    parts++;
  }
  return sum;
}

/* A penalty on the gradient, so that the step's own gradient is one of second order. */
static unsigned with_penalty(maker *m, unsigned loss) {
  unsigned leaf[8], n = 0;
  for (unsigned i = 0; i < m->net->n && n < 8; i++)
    if ((m->net->at[i].kind == HT_PARAM || m->net->at[i].kind == HT_INPUT) &&
        fits(m, ht_value(i, 0), &(want){.max_rank = LT_MAX_RANK}))
      leaf[n++] = ht_value(i, 0);
  if (!n || !loss || m->work > m->budget / 3) return loss;
  ht_statement *s = begin(m, HT_OP, "grad", 3, (unsigned[]){loss, 0, leaf[pick(m, n)]});
  unsigned g = finish(m, s), norm = unary(m, "sum", binary(m, "mul", g, g));
  m->grads++;
  return norm ? binary(m, "add", loss, norm) : loss;
}

static void add_output(maker *m, unsigned v) {
  if (v && m->net->n_outputs < HT_OUTPUTS) m->net->output[m->net->n_outputs++] = v;
}

/* What nobody reads, some of the rest, sometimes twice or a leaf. */
static void add_outputs(maker *m) {
  bool read[HT_STATEMENTS * HT_OUT + 1] = {false};
  for (unsigned i = 0; i < m->net->n; i++)
    for (unsigned k = 0; k < m->net->at[i].n_in; k++) read[m->net->at[i].in[k]] = true;
  for (unsigned i = m->net->n; i-- > 0;) {
    const ht_statement *s = &m->net->at[i];
    for (unsigned k = 0; k < s->n_out && m->net->n_outputs < HT_OUTPUTS - 4; k++) {
      bool leaf = s->kind < HT_OP;
      if (!read[ht_value(i, k)] ? leaf || chance(m, 15) : !chance(m, leaf ? 1 : m->parts ? 9 : 5)) continue;
      add_output(m, ht_value(i, k));
      if (chance(m, 4)) add_output(m, ht_value(i, k));
    }
  }
  for (unsigned i = m->net->n; i-- > 0 && !m->net->n_outputs;)
    if (m->net->at[i].n_out) add_output(m, ht_value(i, 0));
}

/* ---- what is compiled and compared ------------------------------------------------------------------------------- */

static bool smooth(const ht_net *n) {
  static const lt_op kinks[] = {LT_OP_relu,     LT_OP_abs,  LT_OP_max,    LT_OP_min,        LT_OP_clip,
                                LT_OP_max_pool, LT_OP_cast, LT_OP_select, LT_OP_reduce_max, LT_OP_stop_grad};
  for (unsigned i = 0; i < n->n; i++) {
    const ht_statement *s = &n->at[i];
    if (s->gone || (s->kind != HT_OP && s->kind != HT_LAYER)) continue;
    lt_op op = lt_op_find(s->op, strlen(s->op));
    if (s->kind == HT_LAYER && strstr(s->op, "pooling")) return false;
    if (lt_op_table[op].rounds == LT_ROUNDS_STEP) return false;
    for (size_t k = 0; k < LT_COUNT(kinks); k++)
      if (op == kinks[k]) return false;
  }
  return true;
}

static void say(ht_plan *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(ht_plan *p, const char *fmt, ...) {
  size_t n = strlen(p->opts);
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(p->opts + n, sizeof p->opts - n, fmt, ap);
  va_end(ap);
}

static bool has_weights(const ht_statement *s) {
  return s->kind == HT_LAYER && s->n_in == 1 && lt_op_find(s->op, strlen(s->op));
}
static bool is_trained(const ht_statement *s) {
  return has_weights(s) || (s->kind == HT_PARAM && lt_is_float(s->type[0].dtype));
}
/* Gradients go through it. */
static bool passes_on(const ht_statement *s) {
  lt_op op = lt_op_find(s->op, strlen(s->op));
  return s->kind == HT_LAYER || !strcmp(s->op, "grad") || (s->kind == HT_OP && lt_op_table[op].vjp);
}

/* Statements that the loss has a gradient in, nearly: what is left out of account is no error. */
static void reached_by(const ht_net *n, unsigned loss, bool *reached) {
  reached[ht_owner(loss)] = true;
  for (unsigned i = n->n; i-- > 0;)
    for (unsigned k = 0; reached[i] && passes_on(&n->at[i]) && k < n->at[i].n_in; k++)
      if (n->at[i].in[k] && lt_is_float(ht_type(n, n->at[i].in[k])->dtype)) reached[ht_owner(n->at[i].in[k])] = true;
}

/* Is there anything to train? Sometimes a name of a part of it for --freeze. */
static bool put_freeze(maker *m, ht_plan *p, unsigned loss) {
  bool reached[HT_STATEMENTS] = {false};
  unsigned at[HT_STATEMENTS], n = 0;
  reached_by(m->net, loss, reached);
  for (unsigned i = 0; i < m->net->n; i++)
    if (!m->net->at[i].gone && reached[i] && is_trained(&m->net->at[i])) at[n++] = i;
  unsigned i = n ? at[pick(m, n)] : 0;
  if (n >= 2 && chance(m, 25)) say(p, " --freeze %c%u", m->net->at[i].kind == HT_PARAM ? 'w' : 'l', i);
  return n > 0;
}

static void put_step(maker *m, ht_plan *p, unsigned loss_output) {
  static const char *const optimizers[] = {"sgd", "momentum", "adagrad", "adadelta", "adam"};
  ht_plan step = *p;
  say(&step, "--entry train:o%u --optimizer %s", loss_output, PICK(m, optimizers));
  if (chance(m, 30)) say(&step, " --weight-decay 0.01");
  if (chance(m, 30)) say(&step, " --clip-norm %s", chance(m, 50) ? "0.5" : "0.01");
  if (!put_freeze(m, &step, m->net->output[loss_output])) return; /* nothing to train */
  *p = step;
  if (chance(m, 30)) p->checks |= HT_HALVES, say(p, " --halves");
}

static bool float_leaf(const ht_net *n) {
  for (unsigned i = 0; i < n->n; i++)
    if (!n->at[i].gone && (n->at[i].kind == HT_INPUT || n->at[i].kind == HT_PARAM) &&
        lt_is_float(n->at[i].type[0].dtype))
      return true;
  return false;
}
static bool float_output(const ht_net *n) {
  for (unsigned k = 0; k < n->n_outputs; k++)
    if (lt_is_float(ht_type(n, n->output[k])->dtype)) return true;
  return false;
}

/* Leaves that an output follows from, not only an update. */
static void outputs_need(const ht_net *n, bool *needed) {
  for (unsigned k = 0; k < n->n_outputs; k++) needed[ht_owner(n->output[k])] = true;
  for (unsigned i = n->n; i-- > 0;)
    for (unsigned k = 0; needed[i] && k < n->at[i].n_in; k++)
      if (n->at[i].in[k]) needed[ht_owner(n->at[i].in[k])] = true;
}

/* Second order, too: the Hessian times a direction in one leaf, sometimes in two. The numbers are of a stream of their
 * own, so that seeds keep their networks. */
static void put_hvp(const maker *of, ht_plan *p) {
  maker m = {.seed = lt_random_step(of->seed, 78)};
  bool needed[HT_STATEMENTS] = {false};
  unsigned at[HT_STATEMENTS], n = 0;
  if (!strstr(p->opts, "--entry grad") || of->grads || of->work > of->budget / 4 || !chance(&m, 25)) return;
  outputs_need(of->net, needed);
  for (unsigned i = 0; i < of->net->n; i++) {
    ht_kind kind = of->net->at[i].kind;
    if (needed[i] && (kind == HT_INPUT || kind == HT_PARAM) && lt_is_float(of->net->at[i].type[0].dtype)) at[n++] = i;
  }
  for (int times = chance(&m, 20) ? 2 : 1; n && times; times--) {
    unsigned k = (unsigned)pick(&m, n), i = at[k];
    say(p, " --hvp %c%u", of->net->at[i].kind == HT_INPUT ? 'x' : 'w', i);
    at[k] = at[--n];
  }
  if (of->dtype == LT_F64 && smooth(of->net)) p->checks |= HT_SLOPES;
}

typedef struct share { unsigned check; int percent; } share;

static void make_plan(maker *m, ht_plan *p, unsigned loss_output) {
  static const share shares[] = {
    {HT_THREADS, 60}, {HT_WIDTHS, 6}, {HT_NARROW, 2}, {HT_OBJECT, 6}, {HT_DUMPS, 8}, {HT_NODES, 6},
  };
  int64_t kind = pick(m, 100);
  *p = (ht_plan){.seed = m->seed};
  if (loss_output < HT_OUTPUTS && kind < 35) put_step(m, p, loss_output);
  bool grads = float_leaf(m->net) && float_output(m->net);
  if (grads && kind >= 30 && kind < 65) say(p, " --entry grad%s", chance(m, 20) ? " --mode train" : "");
  if (!*p->opts || kind < 3) say(p, " --entry run");
  for (size_t i = 0; i < LT_COUNT(shares); i++)
    if (chance(m, shares[i].percent)) p->checks |= shares[i].check;
  if (grads && m->dtype == LT_F64 && smooth(m->net) && chance(m, 15)) p->checks |= HT_SLOPES;
  if (chance(m, 25)) say(p, " --verify-each");
  if (chance(m, 15)) say(p, " --math fast");
  put_hvp(m, p);
}

/* ---- one of a seed ----------------------------------------------------------------------------------------------- */

static unsigned output_of(const ht_net *n, unsigned v) {
  for (unsigned k = 0; k < n->n_outputs; k++)
    if (n->output[k] == v) return k;
  return HT_OUTPUTS;
}

void ht_make(ht_case *c, uint64_t seed, bool parts) {
  memset(c, 0, sizeof *c);
  c->seed = seed;
  maker m = {.net = &c->net, .seed = lt_random_step(seed, 77), .parts = parts};
  m.dtype = chance(&m, 65) ? LT_F64 : LT_F32;
  m.budget = chance(&m, 10) ? 1000000 : 200000;
  m.large = chance(&m, 5);
  int64_t kind = pick(&m, m.large ? 10 : 24);
  if (parts) add_parts(&m), kind = 0;
  else if (kind < 4) add_network(&m, true);
  else if (kind < 6) add_network(&m, false);
  if (kind >= 6 || chance(&m, m.large ? 20 : 5)) add_soup(&m);
  if (!m.broken && chance(&m, m.large ? 60 : 40)) m.loss = sink_sum(&m);
  else m.loss = 0;
  if (m.loss && chance(&m, 20)) m.loss = with_penalty(&m, m.loss);
  if (chance(&m, 12)) add_update(&m);
  add_output(&m, m.loss);
  add_outputs(&m);
  ht_sweep(&c->net);
  make_plan(&m, &c->plan, m.loss ? output_of(&c->net, m.loss) : HT_OUTPUTS);
  lathe_graph_free(m.shapes.g);
}

/* ---- does all of the table come up? ------------------------------------------------------------------------------ */

enum { MOST_KEYS = 12 };
typedef struct seen { bool called, key[MOST_KEYS]; } seen;

static void note_keys(seen *x, const lt_attr_info *attrs, unsigned n, const ht_statement *s) {
  x->called = true;
  for (unsigned k = 0; k < n; k++) {
    const char *text = ht_attr_text(s, attrs[k].name);
    x->key[k] |= text && strcmp(text, attrs[k].def);
  }
}

/* Leaves are written as statements: the type and the first value are their attributes. */
static void note_leaf(seen *x, lt_op op, const ht_statement *s) {
  x->called = true;
  for (unsigned k = 0; k < lt_op_table[op].n_attrs; k++) {
    const lt_attr_info *a = &lt_op_table[op].attrs[k];
    if (a->kind == LT_ATTR_dtype) x->key[k] |= s->type[0].dtype != LT_F32;
    else if (a->kind == LT_ATTR_ints) x->key[k] |= s->type[0].rank > 0;
    else x->key[k] |= strcmp(s->init, a->def) != 0;
  }
}

static void note(seen *ops, seen *layers, const ht_net *n) {
  static const lt_op leaves[] = {
    [HT_INPUT] = LT_OP_input, [HT_PARAM] = LT_OP_param, [HT_STATE] = LT_OP_state, [HT_CONST] = LT_OP_const};
  for (unsigned i = 0; i < n->n; i++) {
    const ht_statement *s = &n->at[i];
    if (s->gone || s->kind == HT_UPDATE) continue;
    lt_op op = s->kind < HT_OP ? leaves[s->kind] : lt_op_find(s->op, strlen(s->op));
    if (s->kind < HT_OP) note_leaf(&ops[op], op, s);
    else if (s->kind == HT_OP) note_keys(&ops[op], lt_op_table[op].attrs, lt_op_table[op].n_attrs, s);
    else {
      const lt_layer_info *l = &lt_layer_table[lt_layer_find(s->op, strlen(s->op))];
      note_keys(&layers[l - lt_layer_table], l->attrs(), l->n_attrs, s);
    }
  }
}

static unsigned missing_keys(const seen *x, const char *kind, const char *name, const lt_attr_info *attrs, unsigned n) {
  unsigned missing = !x->called;
  if (!x->called) printf("no network has the %s `%s`\n", kind, name);
  for (unsigned k = 0; x->called && k < n; k++)
    if (!x->key[k])
      printf("no network has the %s `%s` with another %s than its default\n", kind, name, attrs[k].name), missing++;
  return missing;
}

unsigned ht_coverage(uint64_t first, unsigned count) {
  static seen ops[LT_OPS], layers[LT_LAYERS];
  unsigned missing = 0;
  ht_case *c = malloc(sizeof *c);
  for (unsigned op = 1; op < LT_OPS; op++)
    if (!(lt_op_table[op].flags & LT_HIDDEN) && !has_rule((lt_op)op))
      printf("tests/hunt/rules.c has no rule for `%s`\n", lt_op_table[op].name), missing++;
  for (unsigned l = 1; l < LT_LAYERS; l++)
    if (!has_layer_rule(l))
      printf("tests/hunt/rules.c has no rule for the layer `%s`\n", lt_layer_table[l].name), missing++;
  if (missing) return missing;
  for (unsigned i = 0; i < count; i++) ht_make(c, first + i, false), note(ops, layers, &c->net);
  free(c);
  for (unsigned op = 1; op < LT_OPS; op++)
    if (!(lt_op_table[op].flags & LT_HIDDEN))
      missing += missing_keys(&ops[op], "op", lt_op_table[op].name, lt_op_table[op].attrs, lt_op_table[op].n_attrs);
  for (unsigned l = 1; l < LT_LAYERS; l++)
    missing +=
      missing_keys(&layers[l], "layer", lt_layer_table[l].name, lt_layer_table[l].attrs(), lt_layer_table[l].n_attrs);
  return missing;
}
