/* net.c: a list of statements as a text, and its types. */
#include "hunt.h"

#include <stdlib.h>

const char *const ht_check_names[HT_CHECKS] = {"threads", "widths", "narrow", "object",
                                               "dumps",   "slopes", "halves", "nodes"};

static const char *const leaf_words[] = {
  [HT_INPUT] = "", [HT_PARAM] = "param ", [HT_STATE] = "state ", [HT_CONST] = "const "};
static const char leaf_letter[] = {[HT_INPUT] = 'x', [HT_PARAM] = 'w', [HT_STATE] = 's',
                                   [HT_CONST] = 'k', [HT_OP] = 'v',    [HT_LAYER] = 'v'};

/* ---- text -------------------------------------------------------------------------------------------------------- */

static void put_name(FILE *to, const ht_net *n, unsigned value) {
  unsigned i = ht_owner(value);
  const ht_statement *s = &n->at[i];
  fprintf(to, "%c%u", leaf_letter[s->kind], i);
  if (s->n_out > 1) fprintf(to, "_%u", (value - 1) % HT_OUT);
}

static void put_type(FILE *to, const lt_type *t) {
  fprintf(to, "%s", lt_dtype_name(t->dtype));
  for (unsigned i = 0; i < t->rank; i++) fprintf(to, "%s%lld", i ? ", " : "[", (long long)t->dim[i]);
  if (t->rank) fprintf(to, "%s", "]");
}

static void put_leaf(FILE *to, const ht_net *n, unsigned i) {
  put_name(to, n, ht_value(i, 0));
  fprintf(to, "%s", ": ");
  put_type(to, &n->at[i].type[0]);
}

static void put_attrs(FILE *to, const ht_statement *s, bool comma) {
  for (unsigned k = 0; k < s->n_attrs; k++)
    fprintf(to, "%s%s=%s", k || comma ? ", " : "", s->attr[k].key, s->attr[k].text);
}

/* The second operand of grad is optional and not the last: it goes by its name. */
static void put_call(FILE *to, const ht_net *n, unsigned i) {
  const ht_statement *s = &n->at[i];
  bool grad = !strcmp(s->op, "grad"), any = false;
  for (unsigned k = 0; k < s->n_out; k++) {
    fprintf(to, "%s", k ? ", " : "  ");
    put_name(to, n, ht_value(i, k));
  }
  fprintf(to, " = %s(", s->op);
  for (unsigned k = 0; k < s->n_in; k++) {
    if (!s->in[k] || (grad && k == 1)) continue;
    fprintf(to, "%s", any ? ", " : "");
    put_name(to, n, s->in[k]);
    any = true;
  }
  if (grad && s->in[1]) {
    fprintf(to, "%s", ", seed=");
    put_name(to, n, s->in[1]);
  }
  put_attrs(to, s, any);
  if (s->kind == HT_LAYER && lt_op_find(s->op, strlen(s->op)) && s->n_in == 1) fprintf(to, ", name=\"l%u\"", i);
  fprintf(to, "%s", ")\n");
}

static void put_statement(FILE *to, const ht_net *n, unsigned i) {
  const ht_statement *s = &n->at[i];
  switch (s->kind) {
  case HT_INPUT: break;
  case HT_PARAM: case HT_STATE: case HT_CONST:
    fprintf(to, "  %s", leaf_words[s->kind]);
    put_leaf(to, n, i);
    fprintf(to, " = %s\n", s->init);
    break;
  case HT_OP: case HT_LAYER: put_call(to, n, i); break;
  case HT_UPDATE:
    fprintf(to, "%s", "  update ");
    put_name(to, n, s->in[0]);
    fprintf(to, "%s", " = ");
    put_name(to, n, s->in[1]);
    fprintf(to, "%s", "\n");
    break;
  }
}

char *ht_text(const ht_net *n, const ht_plan *p, const char *why) {
  char *text = NULL;
  size_t size;
  bool first = true;
  FILE *to = open_memstream(&text, &size);
  if (!to) return NULL;
  if (why) fprintf(to, "%s", why);
  if (p) fprintf(to, "# hunt: checks=%u seed=%llu opts=%s\n", p->checks, (unsigned long long)p->seed, p->opts);
  fprintf(to, "%s", "network hunt(");
  for (unsigned i = 0; i < n->n; i++) {
    if (n->at[i].gone || n->at[i].kind != HT_INPUT) continue;
    if (!first) fprintf(to, "%s", ", ");
    put_leaf(to, n, i);
    first = false;
  }
  fprintf(to, "%s", ") -> ");
  for (unsigned k = 0; k < n->n_outputs; k++) fprintf(to, "%so%u", k ? ", " : "", k);
  fprintf(to, "%s", " {\n");
  for (unsigned i = 0; i < n->n; i++)
    if (!n->at[i].gone) put_statement(to, n, i);
  for (unsigned k = 0; k < n->n_outputs; k++) {
    fprintf(to, "  o%u = ", k);
    put_name(to, n, n->output[k]);
    fprintf(to, "%s", "\n");
  }
  fprintf(to, "%s", "}\n");
  fclose(to);
  return text;
}

bool ht_plan_read(ht_plan *p, const char *text) {
  const char *at = strstr(text, "# hunt: ");
  unsigned long long seed;
  *p = (ht_plan){.opts = "--entry run"};
  if (!at || sscanf(at, "# hunt: checks=%u seed=%llu opts=%399[^\n]", &p->checks, &seed, p->opts) != 3) return false;
  p->seed = seed;
  return true;
}

/* ---- types ------------------------------------------------------------------------------------------------------- */

const char *ht_attr_text(const ht_statement *s, const char *key) {
  for (unsigned k = 0; k < s->n_attrs; k++)
    if (!strcmp(s->attr[k].key, key)) return s->attr[k].text;
  return NULL;
}

static void attrs_text(const ht_statement *s, char *to, size_t size) {
  size_t n = 0;
  *to = 0;
  for (unsigned k = 0; k < s->n_attrs && n < size; k++)
    n += (size_t)snprintf(to + n, size - n, "%s%s=%s", k ? ", " : "", s->attr[k].key, s->attr[k].text);
}

static void type_text(const lt_type *t, char *to, size_t size) {
  size_t n = (size_t)snprintf(to, size, "%s", lt_dtype_name(t->dtype));
  for (unsigned i = 0; i < t->rank; i++)
    n += (size_t)snprintf(to + n, size - n, "%s%lld", i ? ", " : "[", (long long)t->dim[i]);
  if (t->rank) snprintf(to + n, size - n, "]");
}

/* Every leaf is an input here: only its type counts. */
static void add_leaf(ht_shapes *s, const ht_net *n, unsigned i) {
  char name[16], type[256];
  snprintf(name, sizeof name, "x%u", i);
  type_text(&n->at[i].type[0], type, sizeof type);
  s->value[ht_value(i, 0)] = lathe_input(s->g, name, type);
}

static void add_call(ht_shapes *s, const ht_net *n, unsigned i) {
  const ht_statement *x = &n->at[i];
  char attrs[HT_ATTRS * 128];
  lathe_value in[HT_IN] = {{0}};
  attrs_text(x, attrs, sizeof attrs);
  for (unsigned k = 0; k < x->n_in; k++)
    if (x->in[k]) in[k] = s->value[x->in[k]];
  lathe_op_n(s->g, x->op, attrs, in, x->n_in, &s->value[ht_value(i, 0)], x->n_out);
}

bool ht_shapes_add(ht_shapes *s, ht_net *n, unsigned i) {
  ht_statement *x = &n->at[i];
  if (!s->g) s->g = lathe_graph_new("hunt");
  if (x->kind == HT_UPDATE) return lt_type_eq(ht_type(n, x->in[0]), ht_type(n, x->in[1]));
  if (x->kind == HT_OP || x->kind == HT_LAYER) add_call(s, n, i);
  else add_leaf(s, n, i);
  if (!s->output) lathe_output(s->g, "y", s->value[ht_value(i, 0)]), s->output = true; /* a graph must have one */
  if (lathe_check(s->g, &s->error)) return false;
  for (unsigned k = 0; k < x->n_out; k++) {
    lathe_dtype dtype;
    int64_t dim[LATHE_MAX_RANK];
    int rank = lathe_shape(s->g, s->value[ht_value(i, k)], &dtype, dim);
    if (rank < 0) return false;
    x->type[k] = lt_make_type((lt_dtype)dtype, (unsigned)rank, dim);
  }
  return true;
}

bool ht_retype(ht_net *n) {
  ht_shapes *s = calloc(1, sizeof *s);
  bool ok = true;
  for (unsigned i = 0; ok && i < n->n; i++)
    if (!n->at[i].gone) ok = ht_shapes_add(s, n, i);
  lathe_graph_free(s->g);
  free(s);
  return ok;
}

/* ---- what is needed ---------------------------------------------------------------------------------------------- */

void ht_sweep(ht_net *n) {
  bool needed[HT_STATEMENTS] = {false};
  for (unsigned k = 0; k < n->n_outputs; k++) needed[ht_owner(n->output[k])] = true;
  for (unsigned i = n->n; i-- > 0;) {
    const ht_statement *s = &n->at[i];
    if (s->gone) continue;
    needed[i] |= s->kind == HT_UPDATE;
    for (unsigned k = 0; needed[i] && k < s->n_in; k++)
      if (s->in[k]) needed[ht_owner(s->in[k])] = true;
  }
  for (unsigned i = 0; i < n->n; i++) n->at[i].gone |= !needed[i];
}
