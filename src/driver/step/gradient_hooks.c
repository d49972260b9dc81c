/* gradient_hooks.c: what happens to gradients between the loss and the optimizer, as graph operations of the step. In
 * this order:
 *   --freeze PATTERN    params that are not trained: no gradient is made, no state, no update
 *   --weight-decay R    g += R*p
 *   --clip-norm R       the norm over all gradients together, decay included; where R / (norm + 1e-6) is below 1, every
 *                       gradient is scaled by it (a norm that is NaN changes nothing)
 * as a chain of hooks WeightDecay, ClipGrad after FreezeParam would in DeZero. */
#include "driver/entry.h"

#include <fnmatch.h>

/* ---- freezing ---------------------------------------------------------------------------------------------------- */

/* A pattern stands for names it equals or matches as in a shell, whole or up to a dot: `conv1` for conv1.W and
 * conv1.b. */
static bool matches(lt_arena *a, const char *pattern, const char *name) {
  if (!strcmp(pattern, name) || !fnmatch(pattern, name, 0)) return true;
  for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
    const char *part = lt_arena_strndup(a, name, (size_t)(dot - name));
    if (!strcmp(pattern, part) || !fnmatch(pattern, part, 0)) return true;
  }
  return false;
}

static bool is_trained(const lt_graph *g, const lt_node *n) {
  return n->op == LT_OP_param && lt_is_float(lt_type_of(g, n->out)->dtype);
}

typedef LT_VEC(const char *) name_list;

static void add_once(lt_arena *a, name_list *l, const char *name) {
  for (uint32_t i = 0; i < l->n; i++)
    if (!strcmp(l->at[i], name)) return;
  lt_vec_push(a, l, name);
}

/* The trained params of a network; `parts`: what stands before each dot of their names, too. */
static name_list param_names(lt_arena *a, const lt_graph *network, bool parts) {
  name_list l = {0};
  for (uint32_t i = 0; i < network->nodes.n; i++) {
    if (!is_trained(network, network->nodes.at[i])) continue;
    const char *name = lt_name_of(network, network->nodes.at[i]->out);
    for (const char *dot = strchr(name, '.'); parts && dot; dot = strchr(dot + 1, '.'))
      add_once(a, &l, lt_arena_strndup(a, name, (size_t)(dot - name)));
    add_once(a, &l, name);
  }
  return l;
}

/* Up to three nearest names; nothing where none is near. */
static void list_near(lt_str *s, name_list l, const char *pattern) {
  const char *name, *sep = "did you mean ";
  for (int i = 0; i < 3 && (name = lt_nearest(pattern, l.at)); i++, sep = ", ") {
    uint32_t at = 0;
    while (l.at[at] != name) at++;
    memmove(l.at + at, l.at + at + 1, (l.n-- - at - 1) * sizeof *l.at);
    lt_str_printf(s, "%s`%s`", sep, name);
  }
  if (s->n) lt_str_puts(s, "?");
}

LT_NORETURN static void fail_no_match(lt_job *job, lt_arena *a, const lt_graph *network, const char *pattern) {
  enum { MOST = 12 };
  name_list near = param_names(a, network, true), all = param_names(a, network, false);
  lt_str help;
  lt_str_init(&help, a);
  lt_vec_push(a, &near, NULL);
  list_near(&help, near, pattern);
  for (uint32_t i = 0, none = !help.n; none && i < all.n && i < MOST; i++)
    lt_str_printf(&help, "%s`%s`%s", i ? ", " : "the params are ", all.at[i],
                  i + 1 == MOST && all.n > MOST ? ", …" : "");
  lt_fail(job, LATHE_E_INVALID, NULL, "--freeze: no param matches `%.80s`\nhelp: %s", pattern,
          help.n ? help.at : "the network has none at all");
}

static void check_patterns(lt_graph *g, const lt_graph *network, const lt_texts *patterns) {
  name_list all = param_names(&g->arena, network, false);
  for (uint32_t i = 0; i < patterns->n; i++) {
    bool found = false;
    for (uint32_t k = 0; k < all.n && !found; k++) found = matches(&g->arena, patterns->at[i], all.at[k]);
    if (!found) fail_no_match(g->job, &g->arena, network, patterns->at[i]);
  }
}

static bool is_frozen(lt_graph *g, const lt_texts *patterns, const char *name) {
  for (uint32_t i = 0; i < patterns->n; i++)
    if (matches(&g->arena, patterns->at[i], name)) return true;
  return false;
}

unsigned lt_freeze(lt_graph *g, const lt_graph *network, const lt_options *o, lt_value *param, unsigned n) {
  unsigned left = 0;
  check_patterns(g, network, &o->freeze);
  for (unsigned i = 0; i < n; i++)
    if (!is_frozen(g, &o->freeze, lt_name_of(g, param[i]))) param[left++] = param[i];
  if (n && !left)
    lt_fail(g->job, LATHE_E_INVALID, NULL,
            "--freeze leaves no param that the loss depends on, there is nothing to train");
  return left;
}

/* ---- decay and clipping ------------------------------------------------------------------------------------------ */

static lt_value times(lt_graph *g, lt_value x, double by) {
  return lt_binary(g, LT_OP_mul, x, lt_const_scalar(g, lt_type_of(g, x)->dtype, by));
}

/* The sum of all squares, as f64: each gradient is summed in its own type. */
static lt_value sum_of_squares(lt_graph *g, const lt_value *grad, unsigned n) {
  lt_value total = 0;
  for (unsigned i = 0; i < n; i++) {
    lt_value sum = lt_binary(g, LT_OP_mul, grad[i], grad[i]);
    if (lt_type_of(g, sum)->rank) sum = lt_reduce(g, LT_OP_sum, sum, &(lt_ints){0}, false);
    sum = lt_cast(g, sum, LT_F64);
    total = total ? lt_binary(g, LT_OP_add, total, sum) : sum;
  }
  return total;
}

static void clip(lt_graph *g, double most, lt_value *grad, unsigned n) {
  lt_value one = lt_const_scalar(g, LT_F64, 1), tiny = lt_const_scalar(g, LT_F64, 1e-6);
  lt_value norm = lt_unary(g, LT_OP_sqrt, sum_of_squares(g, grad, n));
  lt_value above = lt_const_scalar(g, LT_F64, most), below = lt_binary(g, LT_OP_add, norm, tiny);
  lt_value rate = lt_binary(g, LT_OP_div, above, below), applies = lt_binary(g, LT_OP_less, rate, one);
  rate = lt_emit(g, LT_OP_select, NULL, (lt_value[]){applies, rate, one}, 3);
  for (unsigned i = 0; i < n; i++)
    grad[i] = lt_binary(g, LT_OP_mul, grad[i], lt_cast(g, rate, lt_type_of(g, grad[i])->dtype));
}

void lt_hooks_emit(lt_graph *g, const lt_options *o, const lt_value *param, lt_value *grad, unsigned n) {
  g->label = g->origin = NULL;
  for (unsigned i = 0; o->weight_decay > 0 && i < n; i++)
    grad[i] = lt_binary(g, LT_OP_add, grad[i], times(g, param[i], o->weight_decay));
  if (o->given[LT_OPT_clip_norm]) clip(g, o->clip_norm, grad, n);
}
