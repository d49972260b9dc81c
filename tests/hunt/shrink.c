/* shrink.c: a failing network made small. Changes are tried from large to small as long as one of them still fails in
 * the same way: fewer checks and entries, fewer outputs, statements gone or replaced by one of their operands or a
 * leaf, attributes left out, smaller dims, f64 for f32. */
#include "hunt.h"

#include <stdlib.h>

typedef struct shrinker {
  ht_case *best;
  ht_case next; /* what is tried */
  const char *kind;
  unsigned tries, most;
} shrinker;

/* Takes the next one over if it is valid and fails the same way. */
static bool better(shrinker *s) {
  ht_finding f;
  if (s->tries >= s->most) return false;
  ht_sweep(&s->next.net);
  if (strncmp(s->kind, "read", 4) && !ht_retype(&s->next.net)) return false;
  s->tries++;
  char *text = ht_text(&s->next.net, NULL, NULL);
  ht_try(text, &s->next.plan, &f);
  free(text);
  if (strcmp(f.kind, s->kind)) return false;
  *s->best = s->next;
  return true;
}

static void again(shrinker *s) { s->next = *s->best; }

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

static bool drop_word(char *opts, const char *word, bool argument) {
  char *at = strstr(opts, word);
  if (!at) return false;
  char *end = at + strlen(word);
  if (argument) end += strspn(end, " "), end += strcspn(end, " ");
  end += strspn(end, " ");
  memmove(at, end, strlen(end) + 1);
  return true;
}

typedef struct option { const char *word; bool argument; } option;

static bool shrink_plan(shrinker *s) {
  static const option words[] = {
    {"--entry run", false}, {"--entry grad", false}, {"--entry train", true}, {"--verify-each", false},
    {"--mode", true},       {"--freeze", true},      {"--clip-norm", true},   {"--weight-decay", true},
    {"--optimizer", true},  {"--halves", false},     {"--hvp", true},         {"--math", true},
  };
  bool any = false;
  again(s);
  if (s->next.plan.checks) s->next.plan.checks = 0, any |= better(s);
  for (int i = 0; i < HT_CHECKS; i++) {
    again(s);
    if (s->next.plan.checks >> i & 1) s->next.plan.checks &= ~(1u << i), any |= better(s);
  }
  for (size_t i = 0; i < LT_COUNT(words); i++) {
    again(s);
    if (drop_word(s->next.plan.opts, words[i].word, words[i].argument) && strstr(s->next.plan.opts, "--entry"))
      any |= better(s);
  }
  return any;
}

/* ---- outputs ----------------------------------------------------------------------------------------------------- */

/* The output that a step minimizes, or none. */
static int loss_of(const ht_plan *p) {
  const char *at = strstr(p->opts, "--entry train:o");
  return at ? atoi(at + 15) : -1;
}

static void set_loss(ht_plan *p, int to) {
  char *at = strstr(p->opts, "--entry train:o"), rest[400];
  if (!at) return;
  snprintf(rest, sizeof rest, "%s", at + 15 + strspn(at + 15, "0123456789"));
  snprintf(at + 15, sizeof p->opts - (size_t)(at + 15 - p->opts), "%d%s", to, rest);
}

static bool drop_outputs(shrinker *s, unsigned from, unsigned n) {
  again(s);
  ht_net *x = &s->next.net;
  int loss = loss_of(&s->next.plan);
  unsigned kept = 0, to = 0;
  for (unsigned k = 0; k < x->n_outputs; k++) {
    if (k >= from && k < from + n && (int)k != loss) continue;
    if ((int)k == loss) to = kept;
    x->output[kept++] = x->output[k];
  }
  if (!kept || kept == x->n_outputs) return false;
  x->n_outputs = kept;
  set_loss(&s->next.plan, (int)to);
  return better(s);
}

static bool shrink_outputs(shrinker *s) {
  bool any = false;
  for (unsigned n = s->best->net.n_outputs; n; n /= 2)
    for (unsigned from = 0; from < s->best->net.n_outputs;)
      if (drop_outputs(s, from, n)) any = true;
      else from += n;
  return any;
}

/* ---- statements -------------------------------------------------------------------------------------------------- */

static void replace(ht_net *n, unsigned from, unsigned to) {
  for (unsigned i = 0; i < n->n; i++)
    for (unsigned k = 0; k < n->at[i].n_in; k++)
      if (n->at[i].in[k] == from) n->at[i].in[k] = to;
  for (unsigned k = 0; k < n->n_outputs; k++)
    if (n->output[k] == from) n->output[k] = to;
}

/* Its result becomes an output of its own and nothing after it stays: for what fails long before the end. */
static bool cut_after(shrinker *s, unsigned i) {
  again(s);
  ht_net *x = &s->next.net;
  if (loss_of(&s->next.plan) >= 0) return false;
  x->n = i + 1, x->n_outputs = 1, x->output[0] = ht_value(i, 0);
  return better(s);
}

/* By one of its operands of the same type, or a new input in its place. */
static bool replace_statement(shrinker *s, unsigned i) {
  const ht_statement *was = &s->best->net.at[i];
  for (unsigned k = 0; k < was->n_in; k++) {
    if (!was->in[k] || was->n_out != 1 || !lt_type_eq(ht_type(&s->best->net, was->in[k]), &was->type[0])) continue;
    again(s);
    replace(&s->next.net, ht_value(i, 0), was->in[k]);
    if (better(s)) return true;
  }
  if (was->n_out != 1) return false;
  again(s);
  s->next.net.at[i] = (ht_statement){.kind = HT_INPUT, .n_out = 1, .type = {was->type[0]}};
  return better(s);
}

/* An optional operand, or one of many. */
static bool drop_operand(shrinker *s, unsigned i) {
  const ht_statement *was = &s->best->net.at[i];
  bool many = !strcmp(was->op, "concat");
  lt_op op = lt_op_find(was->op, strlen(was->op));
  if (was->kind == HT_OP && !strcmp(was->op, "grad")) {
    again(s);
    s->next.net.at[i].in[1] = 0;
    return was->in[1] && better(s);
  }
  for (unsigned k = was->n_in; k-- > 1;) {
    if (!was->in[k] || (!many && k < lt_op_table[op].min_in)) continue;
    again(s);
    ht_statement *now = &s->next.net.at[i];
    now->in[k] = 0;
    if (many) {
      for (unsigned q = k; q + 1 < now->n_in; q++) now->in[q] = now->in[q + 1];
      now->n_in--;
    }
    if (better(s)) return true;
  }
  return false;
}

static bool drop_update(shrinker *s, unsigned i) {
  again(s);
  s->next.net.at[i].gone = true;
  return better(s);
}

static bool shrink_statements(shrinker *s) {
  bool any = false;
  for (unsigned i = 0; i < s->best->net.n; i++)
    if (!s->best->net.at[i].gone && s->best->net.at[i].kind >= HT_OP && s->best->net.at[i].n_out && cut_after(s, i))
      any = true;
  for (unsigned i = s->best->net.n; i-- > 0;) {
    const ht_statement *x = &s->best->net.at[i];
    if (x->gone || x->kind < HT_OP) continue;
    if (x->kind == HT_UPDATE) any |= drop_update(s, i);
    else any |= replace_statement(s, i) || drop_operand(s, i);
  }
  return any;
}

/* ---- attributes and leaves --------------------------------------------------------------------------------------- */

static bool shrink_attrs(shrinker *s) {
  bool any = false;
  for (unsigned i = 0; i < s->best->net.n; i++)
    for (unsigned k = s->best->net.at[i].gone ? 0 : s->best->net.at[i].n_attrs; k-- > 0;) {
      again(s);
      ht_statement *x = &s->next.net.at[i];
      memmove(&x->attr[k], &x->attr[k + 1], (--x->n_attrs - k) * sizeof *x->attr);
      any |= better(s);
    }
  return any;
}

static bool shrink_leaves(shrinker *s) { /* all are inputs, in one float type */
  bool any = false;
  for (unsigned i = 0; i < s->best->net.n; i++) {
    if (s->best->net.at[i].gone || s->best->net.at[i].kind == HT_INPUT || s->best->net.at[i].kind > HT_CONST) continue;
    again(s);
    s->next.net.at[i].kind = HT_INPUT;
    any |= better(s);
  }
  again(s);
  bool narrow = false;
  for (unsigned i = 0; i < s->next.net.n; i++)
    if (s->next.net.at[i].kind <= HT_CONST && s->next.net.at[i].type[0].dtype == LT_F64)
      s->next.net.at[i].type[0].dtype = LT_F32, narrow = true;
  return (narrow && better(s)) || any;
}

/* ---- dims: one number is another everywhere, leaves and attributes ------------------------------------------------
 */

static void exchange_text(char *text, size_t size, int64_t from, int64_t to) {
  char out[sizeof((ht_attr){0}.text)];
  size_t n = 0;
  for (const char *c = text; *c && n + 24 < sizeof out;) {
    char *end;
    bool starts =
      *c >= '0' && *c <= '9' && (c == text || (!strchr(".0123456789", c[-1]) && (c[-1] < 'a' || c[-1] > 'z')));
    long long v = starts ? strtoll(c, &end, 10) : 0;
    if (starts && v == from && *end != '.')
      n += (size_t)snprintf(out + n, sizeof out - n, "%lld", (long long)to), c = end;
    else out[n++] = *c++;
  }
  out[n] = 0;
  snprintf(text, size, "%s", out);
}

static void exchange(ht_net *n, int64_t from, int64_t to, bool attrs) {
  for (unsigned i = 0; i < n->n; i++) {
    ht_statement *x = &n->at[i];
    for (unsigned d = 0; x->kind <= HT_CONST && d < x->type[0].rank; d++)
      if (x->type[0].dim[d] == from) x->type[0].dim[d] = to;
    for (unsigned k = 0; attrs && k < x->n_attrs; k++) exchange_text(x->attr[k].text, sizeof x->attr[k].text, from, to);
  }
}

/* From rather large steps to one less. */
static bool shrink_dims(shrinker *s) {
  bool any = false;
  for (unsigned i = 0; i < s->best->net.n; i++)
    for (unsigned d = 0;
         s->best->net.at[i].kind <= HT_CONST && !s->best->net.at[i].gone && d < s->best->net.at[i].type[0].rank; d++) {
      int64_t was = s->best->net.at[i].type[0].dim[d];
      const int64_t to[] = {1, 2, was / 2, was - 1};
      for (unsigned k = 0; was > 1 && k < 3 * LT_COUNT(to); k++) {
        if (to[k / 3] >= was || to[k / 3] < 1) continue;
        again(s);
        if (k % 3 < 2) exchange(&s->next.net, was, to[k / 3], k % 3 == 0);
        else s->next.net.at[i].type[0].dim[d] = to[k / 3];
        if (!better(s)) continue;
        any = true;
        break;
      }
    }
  return any;
}

static bool shrink_numbers(shrinker *s) { /* of attributes, one at a time */
  bool any = false;
  for (unsigned i = 0; i < s->best->net.n; i++)
    for (unsigned k = 0; !s->best->net.at[i].gone && k < s->best->net.at[i].n_attrs; k++)
      for (int64_t from = 128; from > 1; from--) {
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)from);
        if (!strstr(s->best->net.at[i].attr[k].text, number)) continue;
        again(s);
        exchange_text(s->next.net.at[i].attr[k].text, sizeof s->next.net.at[i].attr[k].text, from,
                      from > 3 ? from / 2 : from - 1);
        any |= better(s);
      }
  return any;
}

unsigned ht_shrink(ht_case *c, const ht_finding *f, unsigned most) {
  static bool (*const ways[])(shrinker *) = {shrink_plan, shrink_outputs, shrink_statements, shrink_attrs,
                                             shrink_dims, shrink_numbers, shrink_leaves};
  shrinker *s = calloc(1, sizeof *s);
  s->best = c, s->kind = f->kind, s->most = most;
  for (bool any = true; any;) {
    any = false;
    for (size_t i = 0; i < LT_COUNT(ways); i++) any |= ways[i](s);
  }
  unsigned tries = s->tries;
  free(s);
  return tries;
}
