/* print.c: graphs as text in Lathe's language; canonical, and read back as an equal graph. The form, for the reader:
 *
 *   network NAME(x: f32[32, 1, 8, 8], t: i32[32]) -> logits, loss {
 *     param W: f32[64, 10] = normal(scale=0.125)          # state likewise; a literal initial value as for const
 *     const table: f32[2, 2] = [[1.0, 2.0], [0.5, -0.0]]  # nested as the shape; a scalar has no brackets
 *     v1: f32[32, 10] = linear(x, W, pad=1) @cluster(3) @layout(blocked, [1, 1, 1, 1]) @label("fc") @origin("conv2d")
 *     a: f32[2], b: f32[2] = op(x)                        # one name per result
 *     update W = v1
 *     logits = v1                                         # another name for a value
 *   }
 *
 * - Statements stand in the graph's order; inputs in the header, in their order.
 * - Operands stand by position; an optional one with operands after it is given by name (`grad(y, x, seed=s)`); an
 *   absent one in last place is left out. Attributes follow in the table's order; those with the default value are left
 *   out.
 * - Numbers as operands are unnamed finite f32 scalars ("-0.5" is one number, not a negation). Other constants, and
 *   those that are outputs or new values of an update, have a statement. Float literals read back to the same bits;
 *   inf, -inf and nan are written so.
 * - A value without a name is called after an output that it is, if that name is free, else v1, v2 … What is bound by
 *   `NAME = VALUE` is another name of the value and makes no node; these lines come last, and say which value an output
 *   is when it is called otherwise. Where such a line would hide a name that a later one needs, that value gets a
 *   further name first.
 * - Names that are no identifiers (or are reserved words) stand in `backticks`; they hold no backtick themselves.
 * - In texts "\"" "\\" "\n" "\t" are escapes, every other byte stands for itself.
 * - @layout is written for each result in order once one of them is not plain without halo:
 *   @layout(plain|blocked, [top, left, bottom, right]) or @panel(NAME, groups=N), @algorithm(NAME), @copy(OPERAND, as
 *   @layout or @panel take it). An input's notes follow its type. */
#include "ir/ir.h"

#include <math.h>

/* ---- words ------------------------------------------------------------------------------------------------------- */

static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }

static bool reserved(const char *name) {
  static const char *const words[] = {"network", "block",  "param", "state", "const", "update", "for", "in",  "if",
                                      "else",    "import", "lathe", "none",  "true",  "false",  "inf", "nan", NULL};
  for (const char *const *w = words; *w; w++)
    if (strcmp(*w, name) == 0) return true;
  return false;
}

/* Letters, digits and _ in parts joined by single dots, not beginning with a digit: layer1.0.conv.W */
static bool identifier(const char *s) {
  if (!letter(*s) || reserved(s)) return false;
  for (; *s; s++)
    if (!letter(*s) && !digit(*s) && !(*s == '.' && (letter(s[1]) || digit(s[1])))) return false;
  return true;
}

void lt_print_name(lt_str *out, const char *name) { lt_str_printf(out, identifier(name) ? "%s" : "`%s`", name); }

void lt_print_string(lt_str *out, const char *text) {
  lt_str_puts(out, "\"");
  for (const char *p = text; *p; p++) {
    if (*p == '"' || *p == '\\') lt_str_put(out, "\\", 1), lt_str_put(out, p, 1);
    else if (*p == '\n') lt_str_puts(out, "\\n");
    else if (*p == '\t') lt_str_puts(out, "\\t");
    else lt_str_put(out, p, 1);
  }
  lt_str_puts(out, "\"");
}

static void print_element(lt_str *out, const lt_data *d, int64_t i) {
  const unsigned char *at = d->at + (size_t)i * lt_dtype_size(d->type.dtype);
  int64_t whole;
  switch (d->type.dtype) {
  case LT_F32: lt_str_float(out, (float)lt_data_at(d, i)); break;
  case LT_F64: lt_str_double(out, lt_data_at(d, i)); break;
  case LT_I32: lt_str_printf(out, "%lld", (long long)lt_data_at(d, i)); break;
  case LT_I64: lt_str_printf(out, "%lld", (long long)*(int64_t *)memcpy(&whole, at, sizeof whole)); break;
  case LT_BOOL: lt_str_puts(out, *at ? "true" : "false"); break;
  case LT_DTYPES: break;
  }
}

static int64_t print_axis(lt_str *out, const lt_data *d, unsigned axis, int64_t i) {
  if (axis == d->type.rank) {
    print_element(out, d, i);
    return i + 1;
  }
  lt_str_puts(out, "[");
  for (int64_t k = 0; k < d->type.dim[axis]; k++) {
    if (k) lt_str_puts(out, ", ");
    i = print_axis(out, d, axis + 1, i);
  }
  lt_str_puts(out, "]");
  return i;
}

/* Elements of a file stay there: the text names the range. */
void lt_print_data(lt_str *out, const lt_data *d) {
  if (!d->file) {
    print_axis(out, d, 0, 0);
    return;
  }
  lt_str_puts(out, "data("), lt_print_string(out, d->file);
  lt_str_printf(out, ", %lld, %lld)", (long long)d->offset, (long long)d->bytes);
}

static void print_type(lt_str *out, const lt_type *t) { lt_str_puts(out, lt_type_text(out->arena, t)); }

/* ---- attributes ------------------------------------------------------------------------------------------------- */

static void print_list(lt_str *s, const int64_t *v, int64_t n) {
  lt_str_puts(s, "[");
  for (int64_t i = 0; i < n; i++) lt_str_printf(s, "%s%lld", i ? ", " : "", (long long)v[i]);
  lt_str_puts(s, "]");
}

/* [h, w] or [top, left, bottom, right]: one number when all are equal. */
static void print_numbers(lt_str *s, const int64_t *v, int64_t n) {
  bool same = true;
  for (int64_t i = 1; i < n; i++) same &= v[i] == v[0];
  if (same) lt_str_printf(s, "%lld", (long long)v[0]);
  else print_list(s, v, n);
}

static void print_init(lt_str *s, const lt_init *init) {
  switch ((lt_init_kind)init->kind) {
  case LT_INIT_ZEROS: lt_str_puts(s, "zeros()"); break;
  case LT_INIT_ONES: lt_str_puts(s, "ones()"); break;
  case LT_INIT_NORMAL: lt_str_puts(s, "normal(scale="), lt_str_double(s, init->a), lt_str_puts(s, ")"); break;
  case LT_INIT_UNIFORM:
    lt_str_puts(s, "uniform(lo="), lt_str_double(s, init->a);
    lt_str_puts(s, ", hi="), lt_str_double(s, init->b), lt_str_puts(s, ")");
    break;
  case LT_INIT_LITERAL: lt_print_data(s, init->literal); break;
  }
}

void lt_attr_print(lt_str *s, lt_attr_kind kind, const void *attr) {
  switch (kind) {
  case LT_ATTR_int: lt_str_printf(s, "%lld", (long long)*(const int64_t *)attr); break;
  case LT_ATTR_float: lt_str_double(s, *(const double *)attr); break;
  case LT_ATTR_bool: lt_str_puts(s, *(const int64_t *)attr ? "true" : "false"); break;
  case LT_ATTR_pair: print_numbers(s, ((const lt_pair *)attr)->v, 2); break;
  case LT_ATTR_quad: print_numbers(s, ((const lt_quad *)attr)->v, 4); break;
  case LT_ATTR_ints: print_list(s, ((const lt_ints *)attr)->v, ((const lt_ints *)attr)->n); break;
  case LT_ATTR_str: lt_print_string(s, *(const char *const *)attr ? *(const char *const *)attr : ""); break;
  case LT_ATTR_dtype: lt_str_puts(s, lt_dtype_name((lt_dtype) * (const int64_t *)attr)); break;
  case LT_ATTR_init: print_init(s, attr); break;
  case LT_ATTR_data: lt_print_data(s, *(const lt_attr_data *)attr); break;
  }
}

/* ---- which name stands for which value --------------------------------------------------------------------------- */

bool lt_is_inline_const(const lt_graph *g, lt_value v) {
  const lt_node *n = lt_node_of(g, v);
  const lt_type *t = lt_type_of(g, v);
  if (n->op != LT_OP_const || t->rank || t->dtype != LT_F32 || lt_name_of(g, v)) return false;
  const lt_data *d = ((const lt_const_attrs *)n->attrs)->value;
  if (d->file || !isfinite(lt_data_at(d, 0))) return false;
  for (uint32_t i = 0; i < g->outputs.n; i++)
    if (g->outputs.at[i].value == v) return false;
  for (uint32_t i = 0; i < g->updates.n; i++)
    if (g->updates.at[i].value == v) return false;
  return true;
}

typedef struct printer {
  lt_str *out;
  const lt_graph *g;
  const char **name; /* by value; NULL: stands as a number */
  uint32_t last;     /* v1 … v<last> are given */
} printer;

static bool is_output_name(const lt_graph *g, const char *name) {
  for (uint32_t i = 0; i < g->outputs.n; i++)
    if (strcmp(g->outputs.at[i].name, name) == 0) return true;
  return false;
}

static const char *number_name(printer *p) {
  for (;;) {
    const char *name = lt_arena_printf(p->out->arena, "v%u", ++p->last);
    if (!lt_find(p->g, name) && !is_output_name(p->g, name)) return name;
  }
}

static void choose_names(printer *p) {
  const lt_graph *g = p->g;
  p->name = LT_NEW_ARRAY(p->out->arena, const char *, g->values.n);
  for (lt_value v = 1; v < g->values.n; v++) p->name[v] = lt_name_of(g, v);
  for (uint32_t i = 0; i < g->outputs.n; i++) {
    const lt_output *o = &g->outputs.at[i];
    if (!p->name[o->value] && !lt_find(g, o->name)) p->name[o->value] = o->name;
  }
  for (lt_value v = 1; v < g->values.n; v++)
    if (!p->name[v] && !lt_is_inline_const(g, v)) p->name[v] = number_name(p);
}

static void print_value(printer *p, lt_value v) {
  if (!v) lt_str_puts(p->out, "none");
  else if (p->name[v]) lt_print_name(p->out, p->name[v]);
  else print_element(p->out, ((const lt_const_attrs *)lt_node_of(p->g, v)->attrs)->value, 0);
}

/* ---- statements -------------------------------------------------------------------------------------------------- */

/* What @layout, @panel and @copy take: a kind and its halo, or a panel and its groups. */
static void print_layout(lt_str *out, const lt_layout *l) {
  const long long h[4] = {l->halo[0], l->halo[1], l->halo[2], l->halo[3]};
  switch (l->kind) {
  case LT_PLAIN: lt_str_printf(out, "plain, [%lld, %lld, %lld, %lld])", h[0], h[1], h[2], h[3]); break;
  case LT_BLOCKED: lt_str_printf(out, "blocked, [%lld, %lld, %lld, %lld])", h[0], h[1], h[2], h[3]); break;
  case LT_PANEL:
    lt_str_puts(out, lt_panel_name(l->panel.kind));
    if (l->panel.groups != 1) lt_str_printf(out, ", groups=%lld", (long long)l->panel.groups);
    lt_str_puts(out, ")");
  }
}

static void print_layouts(printer *p, const lt_node *n) {
  bool plain = true;
  for (unsigned i = 0; i < n->n_out; i++) {
    const lt_layout *l = &p->g->values.at[n->out + i].layout;
    plain &= l->kind == LT_PLAIN && !lt_has_halo(l);
  }
  for (unsigned i = 0; !plain && i < n->n_out; i++) {
    const lt_layout *l = &p->g->values.at[n->out + i].layout;
    lt_str_puts(p->out, l->kind == LT_PANEL ? " @panel(" : " @layout(");
    print_layout(p->out, l);
  }
}

static void print_notes(printer *p, const lt_node *n) {
  lt_str *out = p->out;
  if (n->cluster) lt_str_printf(out, " @cluster(%u)", n->cluster);
  if (n->algorithm) lt_str_printf(out, " @algorithm(%s)", lt_algorithm_name(n->algorithm));
  print_layouts(p, n);
  for (uint32_t i = 0; i < n->n_copies; i++) {
    lt_str_printf(out, " @copy(%u, ", n->copies[i].operand);
    print_layout(out, &n->copies[i].layout);
  }
  if (n->label) lt_str_puts(out, " @label("), lt_print_string(out, n->label), lt_str_puts(out, ")");
  if (n->origin) lt_str_puts(out, " @origin("), lt_print_string(out, n->origin), lt_str_puts(out, ")");
}

/* The i-th operand's place in the row: false when it goes by name after the others. */
static bool positional(const lt_op_info *op, unsigned i) {
  const char *s = op->operands;
  for (; i && s[strcspn(s, " ")]; i--) s += strcspn(s, " ") + 1;
  size_t length = strcspn(s, " ");
  return s[length - 1] != '?' || !s[length];
}

static void comma(lt_str *out, bool *first) {
  if (!*first) lt_str_puts(out, ", ");
  *first = false;
}

static void print_call(printer *p, const lt_node *n) {
  const lt_op_info *op = &lt_op_table[n->op];
  lt_str *out = p->out;
  bool first = true;
  lt_str_printf(out, "%s(", op->name);
  for (unsigned i = 0; i < n->n_in; i++)
    if (n->in[i] && positional(op, i)) comma(out, &first), print_value(p, n->in[i]);
  for (unsigned i = 0; i < n->n_in; i++) {
    if (!n->in[i] || positional(op, i)) continue;
    comma(out, &first);
    lt_str_printf(out, "%s=", lt_operand_name(out->arena, n->op, i));
    print_value(p, n->in[i]);
  }
  for (unsigned i = 0; i < op->n_attrs; i++) {
    if (lt_attr_is_default(n->op, n->attrs, i)) continue;
    comma(out, &first);
    lt_str_printf(out, "%s=", op->attrs[i].name);
    lt_attr_print(out, op->attrs[i].kind, lt_attr_at(n->op, n->attrs, i));
  }
  lt_str_puts(out, ")");
}

static void print_results(printer *p, const lt_node *n) {
  for (unsigned i = 0; i < n->n_out; i++) {
    if (i) lt_str_puts(p->out, ", ");
    lt_print_name(p->out, p->name[n->out + i]);
    lt_str_puts(p->out, ": ");
    print_type(p->out, lt_type_of(p->g, n->out + i));
  }
}

static void print_statement(printer *p, const lt_node *n) {
  lt_str *out = p->out;
  bool leaf = lt_op_table[n->op].flags & LT_LEAF;
  if (leaf) lt_str_printf(out, "%s ", lt_op_table[n->op].name);
  print_results(p, n);
  if (n->op == LT_OP_param || n->op == LT_OP_state) {
    lt_str_puts(out, " = ");
    /* a state's stands at the same place */
    lt_attr_print(out, LT_ATTR_init, &((const lt_param_attrs *)n->attrs)->init);
  } else if (n->op == LT_OP_const) {
    lt_str_puts(out, " = ");
    lt_print_data(out, ((const lt_const_attrs *)n->attrs)->value);
  } else if (!leaf) {
    lt_str_puts(out, " = ");
    print_call(p, n);
  }
  print_notes(p, n);
}

void lt_print_node(lt_str *out, const lt_graph *g, const lt_node *n) {
  printer p = {.out = out, .g = g};
  choose_names(&p);
  if (n->op != LT_OP_const || p.name[n->out]) print_statement(&p, n);
  else print_value(&p, n->out);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void print_header(printer *p) {
  const lt_graph *g = p->g;
  bool first = true;
  lt_str_puts(p->out, "network ");
  lt_print_name(p->out, g->name);
  lt_str_puts(p->out, "(");
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (n->op != LT_OP_input) continue;
    comma(p->out, &first);
    print_results(p, n);
    print_notes(p, n);
  }
  lt_str_puts(p->out, ") -> ");
  for (uint32_t i = 0; i < g->outputs.n; i++) {
    if (i) lt_str_puts(p->out, ", ");
    lt_print_name(p->out, g->outputs.at[i].name);
  }
  lt_str_puts(p->out, g->outputs.n ? " {\n" : "{\n");
}

static void print_binding(printer *p, const char *name, const char *value) {
  lt_str_puts(p->out, "  ");
  lt_print_name(p->out, name);
  lt_str_puts(p->out, " = ");
  lt_print_name(p->out, value);
  lt_str_puts(p->out, "\n");
}

/* Outputs called otherwise than their value. A value whose name an earlier of these lines takes away is renamed
 * first. */
static void print_outputs(printer *p) {
  const lt_graph *g = p->g;
  const char **source = LT_NEW_ARRAY(p->out->arena, const char *, g->outputs.n);
  for (uint32_t i = 0; i < g->outputs.n; i++) {
    source[i] = p->name[g->outputs.at[i].value];
    for (uint32_t k = 0; k < i; k++) {
      const lt_output *before = &g->outputs.at[k];
      if (strcmp(before->name, source[i]) != 0 || before->value == g->outputs.at[i].value) continue;
      source[i] = number_name(p);
      print_binding(p, source[i], p->name[g->outputs.at[i].value]);
      break;
    }
  }
  for (uint32_t i = 0; i < g->outputs.n; i++)
    if (strcmp(source[i], g->outputs.at[i].name) != 0) print_binding(p, g->outputs.at[i].name, source[i]);
}

void lt_print(lt_str *out, const lt_graph *g) {
  printer p = {.out = out, .g = g};
  choose_names(&p);
  print_header(&p);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (n->op == LT_OP_input || (n->op == LT_OP_const && !p.name[n->out])) continue;
    lt_str_puts(out, "  ");
    print_statement(&p, n);
    lt_str_puts(out, "\n");
  }
  for (uint32_t i = 0; i < g->updates.n; i++) {
    lt_str_puts(out, "  update ");
    print_value(&p, g->updates.at[i].leaf);
    lt_str_puts(out, " = ");
    print_value(&p, g->updates.at[i].value);
    lt_str_puts(out, "\n");
  }
  print_outputs(&p);
  lt_str_puts(out, "}\n");
}
