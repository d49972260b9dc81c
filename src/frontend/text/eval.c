/* eval.c: attribute expressions → values.
 *
 * Attributes are whole numbers, floats, booleans, strings, lists, names of types, `none`. Whole numbers have + - * /
 * with checked overflow and three functions; a float is only ever written down, so that it reads back to the same bits.
 * `none` means not given. */
#include "frontend/text/eval.h"

#include <math.h>
#include <strings.h>

static void eval_number(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, bool negative) {
  if (!lt_read_double(e->text, &v->f)) lt_fail_at(&s->by, e->pos, "%.40s is too large for any type", e->text);
  v->kind = e->kind == LT_E_INT && lt_read_int(e->text, negative, &v->i) ? LT_V_INT : LT_V_FLOAT;
  if (!lt_read_float(e->text, &v->s)) v->s = (float)INFINITY;
  v->text = e->text;
  if (negative) v->f = -v->f, v->s = -v->s;
}

static bool is_attr_word(const char *w) {
  lt_dtype t;
  return lt_dtype_parse(&t, w, strlen(w)) || !strcmp(w, "all") || !strcmp(w, "kernel");
}

static void eval_name(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what) {
  bool is_value = false;
  const lt_attr_value *found = s->scope ? lt_scope_attr(s->scope, e->text, &is_value) : NULL;
  if (found) {
    *v = *found;
    v->pos = e->pos;
  } else if (is_value) {
    lt_fail_at(&s->by, e->pos, "%s is fixed when the network is built, but `%s` is a value computed in it", what,
               e->text);
  } else if (!strcmp(e->text, "inf") || !strcmp(e->text, "nan")) {
    v->kind = LT_V_FLOAT;
    v->f = e->text[0] == 'i' ? (double)INFINITY : (double)NAN;
    v->s = (float)v->f;
    v->text = e->text;
  } else if (is_attr_word(e->text)) {
    v->kind = LT_V_WORD;
    v->text = e->text;
  } else {
    static const char *const words[] = {"true", "false", "none", NULL};
    for (const char *const *w = words; *w; w++)
      if (!strcasecmp(*w, e->text))
        lt_fail_at(&s->by, e->pos, "%s: unknown name `%s`\nhelp: write `%s`", what, e->text, *w);
    lt_fail_at(&s->by, e->pos,
               "%s: unknown name `%s`\nhelp: known are named dimensions, attributes of the block and loop variables",
               what, e->text);
  }
}

static void eval_chain(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what) {
  int64_t sum = 0;
  for (uint32_t i = 0; i < e->n; i++) {
    lt_attr_value b;
    lt_attr_eval(s, &b, e->terms[i].value, what);
    if (b.kind != LT_V_INT) lt_fail_at(&s->by, b.pos, "%s: arithmetic on attributes is for whole numbers", what);
    bool ok = true;
    switch (e->terms[i].op) {
    case '+': ok = lt_add_ok(&sum, sum, b.i); break;
    case '-': ok = !__builtin_sub_overflow(sum, b.i, &sum); break;
    case '*': ok = lt_mul_ok(&sum, sum, b.i); break;
    case '/':
      if (b.i == 0) lt_fail_at(&s->by, e->terms[i].pos, "%s: division by zero", what);
      ok = !(sum == INT64_MIN && b.i == -1);
      if (ok) sum /= b.i;
      break;
    default: sum = b.i;
    }
    if (!ok) lt_fail_at(&s->by, e->terms[i].pos, "%s: the result does not fit into 64 bits", what);
  }
  *v = lt_attr_value_int(e->pos, sum);
}

static void eval_negative(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what) {
  const lt_expr *x = e->items[0];
  if (x->kind == LT_E_INT || x->kind == LT_E_FLOAT) {
    eval_number(s, v, x, true);
    return;
  }
  lt_attr_eval(s, v, x, what);
  v->pos = e->pos;
  if (v->kind == LT_V_INT) {
    if (v->i == INT64_MIN) lt_fail_at(&s->by, e->pos, "%s: the result does not fit into 64 bits", what);
    *v = lt_attr_value_int(e->pos, -v->i);
  } else if (v->kind == LT_V_FLOAT && v->f == v->f) { /* a NaN has no sign that could be written */
    v->f = -v->f;
    v->s = -v->s;
    v->text = NULL;
  } else if (v->kind != LT_V_FLOAT) {
    lt_fail_at(&s->by, e->pos, "%s: only a number can have a sign", what);
  }
}

static void eval_list(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what) {
  lt_attr_value *items = LT_NEW_ARRAY(s->by.arena, lt_attr_value, e->n);
  for (uint32_t i = 0; i < e->n; i++) lt_attr_eval(s, &items[i], e->items[i], what);
  v->kind = LT_V_LIST;
  v->items = items;
  v->n = e->n;
}

/* ---- functions of whole numbers: pair(x), get_conv_outsize(size, kernel, stride, pad), get_deconv_outsize(…) ---- */

static void eval_pair(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what) {
  lt_attr_value x;
  if (e->n != 1 || e->args[0].key)
    lt_fail_at(&s->by, e->pos, "%s: pair takes one operand, a whole number or a pair of them", what);
  lt_attr_eval(s, &x, e->args[0].value, what);
  bool whole = x.kind == LT_V_INT,
       two = x.kind == LT_V_LIST && x.n == 2 && x.items[0].kind == LT_V_INT && x.items[1].kind == LT_V_INT;
  if (!whole && !two) {
    lt_fail_at(&s->by, x.pos, "%s: pair takes a whole number or a pair of them, not %s", what,
               lt_attr_value_text(s->by.arena, &x));
  }
  lt_attr_value *items = LT_NEW_ARRAY(s->by.arena, lt_attr_value, 2);
  for (int i = 0; i < 2; i++) items[i] = whole ? x : x.items[i];
  *v = (lt_attr_value){.kind = LT_V_LIST, .pos = e->pos, .items = items, .n = 2};
}

static void eval_outsize(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what, bool conv) {
  int64_t n[4], out = 0;
  bool by_name = false;
  for (uint32_t i = 0; i < e->n; i++) by_name |= e->args[i].key != NULL;
  if (e->n != 4 || by_name)
    lt_fail_at(&s->by, e->pos, "%s: %s takes four whole numbers: size, kernel, stride, pad", what, e->text);
  for (int i = 0; i < 4; i++)
    n[i] = lt_attr_eval_int(s, e->args[i].value, lt_arena_printf(s->by.arena, "an operand of %s", e->text));
  const char *why = conv ? lt_conv_size(s->by.arena, &out, n[0], n[1], n[2], n[3], n[3])
                         : lt_deconv_size(s->by.arena, &out, n[0], n[1], n[2], n[3], n[3]);
  if (why) lt_fail_at(&s->by, e->pos, "%s: %s: %s", what, e->text, why);
  *v = lt_attr_value_int(e->pos, out);
}

static void eval_call(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what) {
  if (!strcmp(e->text, "pair")) eval_pair(s, v, e, what);
  else if (!strcmp(e->text, "get_conv_outsize")) eval_outsize(s, v, e, what, true);
  else if (!strcmp(e->text, "get_deconv_outsize")) eval_outsize(s, v, e, what, false);
  else
    lt_fail_at(&s->by, e->pos,
               "%s is fixed when the network is built and cannot be a call of `%.60s`\n"
               "help: pair, get_conv_outsize and get_deconv_outsize can be called here",
               what, e->text);
}

void lt_attr_eval(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what) {
  *v = (lt_attr_value){.pos = e->pos};
  switch (e->kind) {
  case LT_E_INT: case LT_E_FLOAT: eval_number(s, v, e, false); return;
  case LT_E_NAME: eval_name(s, v, e, what); return;
  case LT_E_CHAIN: eval_chain(s, v, e, what); return;
  case LT_E_NEG: eval_negative(s, v, e, what); return;
  case LT_E_LIST: eval_list(s, v, e, what); return;
  case LT_E_STRING: v->kind = LT_V_STRING, v->text = e->text; return;
  case LT_E_CALL: eval_call(s, v, e, what); return;
  case LT_E_VALUE: lt_fail_at(&s->by, e->pos, "%s is fixed when the network is built and cannot be a value", what);
  case LT_E_WORD:
    v->kind = e->text[0] == 'n' ? LT_V_NONE : LT_V_BOOL;
    v->i = e->text[0] == 't';
    v->text = e->text;
  }
}

int64_t lt_attr_eval_int(const lt_names_seen *s, const lt_expr *e, const char *what) {
  lt_attr_value v;
  lt_attr_eval(s, &v, e, what);
  if (v.kind == LT_V_FLOAT && v.text && v.text[strspn(v.text, "0123456789")] == 0)
    lt_fail_at(&s->by, v.pos, "%s is too large: %.40s does not fit into 64 bits", what, v.text);
  if (v.kind != LT_V_INT)
    lt_fail_at(&s->by, v.pos, "%s must be a whole number, not %s", what, lt_attr_value_text(s->by.arena, &v));
  return v.i;
}
