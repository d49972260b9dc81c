/* attrs.c: attribute expressions → values → the typed attribute structs of ops and layers; initial values.
 *
 * Attributes are whole numbers, floats, booleans, strings, lists, names of types, `none`. Whole numbers have + - * / with
 * checked overflow and three functions; a float is only ever written down, so that it reads back to the same bits. `none`
 * means not given. */
#include "frontend/text/text.h"

#include <math.h>
#include <strings.h>

LT_NORETURN static void fail_at(const lt_names_seen *s, lt_pos pos, const char *fmt, ...) LT_PRINTF(3, 4);
static void fail_at(const lt_names_seen *s, lt_pos pos, const char *fmt, ...) {
  lt_loc loc = lt_loc_at(s->file, pos);
  va_list ap;
  va_start(ap, fmt);
  lt_failv(s->job, LATHE_E_INVALID, &loc, fmt, ap);
}

/* ---- evaluation ------------------------------------------------------------------------------------------------ */

static void set_int(lt_attr_value *v, int64_t i) {
  v->kind = LT_V_INT;
  v->i = i;
  v->f = (double)i;
  v->s = (float)i;
}

static void eval_number(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, bool negative) {
  if (!lt_read_double(e->text, &v->f)) fail_at(s, e->pos, "%.40s is too large for any type", e->text);
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
    fail_at(s, e->pos, "%s is fixed when the network is built, but `%s` is a value computed in it", what, e->text);
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
      if (!strcasecmp(*w, e->text)) fail_at(s, e->pos, "%s: unknown name `%s`\nhelp: write `%s`", what, e->text, *w);
    fail_at(s, e->pos, "%s: unknown name `%s`\nhelp: known are named dimensions, attributes of the block and loop variables", what,
      e->text);
  }
}

static void eval_chain(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what) {
  int64_t sum = 0;
  for (uint32_t i = 0; i < e->n; i++) {
    lt_attr_value b;
    lt_attr_eval(s, &b, e->terms[i].value, what);
    if (b.kind != LT_V_INT) fail_at(s, b.pos, "%s: arithmetic on attributes is for whole numbers", what);
    bool ok = true;
    switch (e->terms[i].op) {
    case '+': ok = lt_add_ok(&sum, sum, b.i); break;
    case '-': ok = !__builtin_sub_overflow(sum, b.i, &sum); break;
    case '*': ok = lt_mul_ok(&sum, sum, b.i); break;
    case '/':
      if (b.i == 0) fail_at(s, e->terms[i].pos, "%s: division by zero", what);
      ok = !(sum == INT64_MIN && b.i == -1);
      if (ok) sum /= b.i;
      break;
    default: sum = b.i;
    }
    if (!ok) fail_at(s, e->terms[i].pos, "%s: the result does not fit into 64 bits", what);
  }
  set_int(v, sum);
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
    if (v->i == INT64_MIN) fail_at(s, e->pos, "%s: the result does not fit into 64 bits", what);
    set_int(v, -v->i);
  } else if (v->kind == LT_V_FLOAT && v->f == v->f) { /* a NaN has no sign that could be written */
    v->f = -v->f;
    v->s = -v->s;
    v->text = NULL;
  } else if (v->kind != LT_V_FLOAT) {
    fail_at(s, e->pos, "%s: only a number can have a sign", what);
  }
}

static void eval_list(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what) {
  lt_attr_value *items = LT_NEW_ARRAY(s->arena, lt_attr_value, e->n);
  for (uint32_t i = 0; i < e->n; i++) lt_attr_eval(s, &items[i], e->items[i], what);
  v->kind = LT_V_LIST;
  v->items = items;
  v->n = e->n;
}

/* ---- functions of whole numbers: pair(x), get_conv_outsize(size, kernel, stride, pad), get_deconv_outsize(…) ---- */

static void eval_pair(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what) {
  lt_attr_value x;
  if (e->n != 1 || e->args[0].key) fail_at(s, e->pos, "%s: pair takes one operand, a whole number or a pair of them", what);
  lt_attr_eval(s, &x, e->args[0].value, what);
  bool whole = x.kind == LT_V_INT, two = x.kind == LT_V_LIST && x.n == 2 && x.items[0].kind == LT_V_INT && x.items[1].kind == LT_V_INT;
  if (!whole && !two) {
    fail_at(s, x.pos, "%s: pair takes a whole number or a pair of them, not %s", what, lt_attr_value_text(s->arena, &x));
  }
  lt_attr_value *items = LT_NEW_ARRAY(s->arena, lt_attr_value, 2);
  for (int i = 0; i < 2; i++) items[i] = whole ? x : x.items[i];
  *v = (lt_attr_value){.kind = LT_V_LIST, .pos = e->pos, .items = items, .n = 2};
}

static void eval_outsize(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what, bool conv) {
  int64_t n[4], out = 0;
  bool by_name = false;
  for (uint32_t i = 0; i < e->n; i++) by_name |= e->args[i].key != NULL;
  if (e->n != 4 || by_name)
    fail_at(s, e->pos, "%s: %s takes four whole numbers: size, kernel, stride, pad", what, e->text);
  for (int i = 0; i < 4; i++) n[i] = lt_attr_eval_int(s, e->args[i].value, lt_arena_printf(s->arena, "an operand of %s", e->text));
  const char *why = conv ? lt_conv_size(s->arena, &out, n[0], n[1], n[2], n[3], n[3]) : lt_deconv_size(s->arena, &out, n[0], n[1], n[2], n[3], n[3]);
  if (why) fail_at(s, e->pos, "%s: %s: %s", what, e->text, why);
  set_int(v, out);
}

static void eval_call(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what) {
  if (!strcmp(e->text, "pair")) eval_pair(s, v, e, what);
  else if (!strcmp(e->text, "get_conv_outsize")) eval_outsize(s, v, e, what, true);
  else if (!strcmp(e->text, "get_deconv_outsize")) eval_outsize(s, v, e, what, false);
  else
    fail_at(s, e->pos, "%s is fixed when the network is built and cannot be a call of `%.60s`\n"
      "help: pair, get_conv_outsize and get_deconv_outsize can be called here", what, e->text);
}

void lt_attr_eval(const lt_names_seen *s, lt_attr_value *v, const lt_expr *e, const char *what) {
  *v = (lt_attr_value){.pos = e->pos, .call = e};
  switch (e->kind) {
  case LT_E_INT: case LT_E_FLOAT: eval_number(s, v, e, false); return;
  case LT_E_NAME: eval_name(s, v, e, what); return;
  case LT_E_CHAIN: eval_chain(s, v, e, what); return;
  case LT_E_NEG: eval_negative(s, v, e, what); return;
  case LT_E_LIST: eval_list(s, v, e, what); return;
  case LT_E_STRING: v->kind = LT_V_STRING, v->text = e->text; return;
  case LT_E_CALL: eval_call(s, v, e, what); return;
  case LT_E_VALUE: fail_at(s, e->pos, "%s is fixed when the network is built and cannot be a value", what);
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
    fail_at(s, v.pos, "%s is too large: %.40s does not fit into 64 bits", what, v.text);
  if (v.kind != LT_V_INT) fail_at(s, v.pos, "%s must be a whole number, not %s", what, lt_attr_value_text(s->arena, &v));
  return v.i;
}

const char *lt_attr_value_text(lt_arena *a, const lt_attr_value *v) {
  lt_str s;
  switch (v->kind) {
  case LT_V_INT: return lt_arena_printf(a, "%lld", (long long)v->i);
  case LT_V_FLOAT:
    if (v->text && !signbit(v->f)) return lt_arena_printf(a, "%.40s", v->text);
    lt_str_init(&s, a);
    lt_str_double(&s, v->f);
    return s.at;
  case LT_V_STRING: return lt_arena_printf(a, "the string \"%.60s\"", v->text);
  case LT_V_LIST: return lt_arena_printf(a, "a list of %u", v->n);
  default: return lt_arena_printf(a, "`%s`", v->text);
  }
}

/* ---- into attribute structs ------------------------------------------------------------------------------------- */

static const char *const wanted[] = {
  [LT_ATTR_int] = "a whole number", [LT_ATTR_float] = "a number", [LT_ATTR_bool] = "true or false",
  [LT_ATTR_pair] = "a whole number or a pair of them", [LT_ATTR_quad] = "a whole number, a pair or [top, left, bottom, right]",
  [LT_ATTR_ints] = "a list of whole numbers", [LT_ATTR_str] = "a string", [LT_ATTR_dtype] = "f32, f64, i32, i64 or bool",
  [LT_ATTR_init] = "an initial value", [LT_ATTR_tensor] = "numbers"};

/* Up to max whole numbers, or -1. A number alone counts as a list of one. */
static int64_t whole_numbers(const lt_attr_value *v, int64_t *out, uint32_t max) {
  if (v->kind == LT_V_INT) {
    out[0] = v->i;
    return 1;
  }
  if (v->kind != LT_V_LIST || v->n > max) return -1;
  for (uint32_t i = 0; i < v->n; i++) {
    if (v->items[i].kind != LT_V_INT) return -1;
    out[i] = v->items[i].i;
  }
  return v->n;
}

static bool store_numbers(const lt_attr_info *info, void *at, const lt_attr_value *v) {
  int64_t n, i[LT_MAX_INTS] = {0};
  bool word = v->kind == LT_V_WORD;
  if (info->kind == LT_ATTR_ints && word && !strcmp(v->text, "all")) n = 0;
  else if (info->kind == LT_ATTR_pair && word && !strcmp(v->text, info->name[0] == 's' ? "kernel" : "")) n = 1; /* stride=kernel */
  else n = whole_numbers(v, i, LT_MAX_INTS);
  if (n < 0) return false;
  if (info->kind == LT_ATTR_ints) {
    lt_ints *out = at;
    *out = (lt_ints){.n = n};
    memcpy(out->v, i, (size_t)n * sizeof *i);
    return true;
  }
  if (n == 1 && v->kind == LT_V_LIST) return false;
  if (info->kind == LT_ATTR_pair) {
    *(lt_pair *)at = n == 1 ? (lt_pair){{i[0], i[0]}} : (lt_pair){{i[0], i[1]}};
    return n == 1 || n == 2;
  }
  *(lt_quad *)at = n == 1 ? (lt_quad){{i[0], i[0], i[0], i[0]}} : n == 2 ? (lt_quad){{i[0], i[1], i[0], i[1]}} :
    (lt_quad){{i[0], i[1], i[2], i[3]}};
  return n == 1 || n == 2 || n == 4;
}

static bool store(lt_arena *keep, const lt_attr_info *info, void *at, const lt_attr_value *v) {
  lt_dtype t;
  switch (info->kind) {
  case LT_ATTR_int: return v->kind == LT_V_INT && (*(int64_t *)at = v->i, true);
  case LT_ATTR_float: return (v->kind == LT_V_INT || v->kind == LT_V_FLOAT) && (*(double *)at = v->f, true);
  case LT_ATTR_bool: return v->kind == LT_V_BOOL && (*(int64_t *)at = v->i, true);
  case LT_ATTR_str: return v->kind == LT_V_STRING && (*(const char **)at = lt_arena_strdup(keep, v->text), true);
  case LT_ATTR_dtype: return v->kind == LT_V_WORD && lt_dtype_parse(&t, v->text, strlen(v->text)) && (*(int64_t *)at = t, true);
  case LT_ATTR_pair: case LT_ATTR_quad: case LT_ATTR_ints: return store_numbers(info, at, v);
  default: return false;
  }
}

void lt_attr_store(const lt_names_seen *s, lt_arena *keep, const char *op, const lt_attr_info *info, void *attrs, const lt_attr_value *v) {
  if (info->kind == LT_ATTR_ints && v->kind == LT_V_LIST && v->n > LT_MAX_INTS)
    fail_at(s, v->pos, "attribute `%s` of %s has %u numbers, at most %d are allowed", info->name, op, v->n, (int)LT_MAX_INTS);
  if (!store(keep, info, (char *)attrs + info->offset, v)) {
    fail_at(s, v->pos, "attribute `%s` of %s is %s, not %s", info->name, op, wanted[info->kind], lt_attr_value_text(s->arena, v));
  }
}

static const lt_attr_info *find_info(const lt_attr_info *infos, unsigned n, const char *key) {
  for (unsigned i = 0; i < n; i++)
    if (!strcmp(infos[i].name, key)) return &infos[i];
  return strcmp(key, "kernel_size") ? NULL : find_info(infos, n, "kernel");
}

LT_NORETURN static void fail_unknown(const lt_names_seen *s, const char *op, const lt_attr_info *infos, unsigned n, const lt_attr_arg *a) {
  lt_str all;
  lt_str_init(&all, s->arena);
  const char **names = LT_NEW_ARRAY(s->arena, const char *, n + 2);
  for (unsigned i = 0; i < n; i++) {
    names[i] = infos[i].name;
    lt_str_printf(&all, "%s`%s`", i ? ", " : "", infos[i].name);
  }
  names[n] = "name";
  const char *near = lt_nearest(a->key, names);
  for (unsigned i = 0; i < n && !near; i++) /* padding → pad */
    if (!strncmp(a->key, names[i], strlen(names[i]))) near = names[i];
  if (near) fail_at(s, a->pos, "%s has no attribute `%.60s`\nhelp: did you mean `%s`?", op, a->key, near);
  if (!n) fail_at(s, a->pos, "%s has no attribute `%.60s`\nhelp: it has none", op, a->key);
  fail_at(s, a->pos, "%s has no attribute `%.60s`\nhelp: it has %s", op, a->key, all.at);
}

void lt_attrs_fill(const lt_names_seen *s, lt_arena *keep, const char *op, const lt_attr_info *infos, unsigned n_infos, void *attrs,
  const lt_attr_arg *args, unsigned n_args, lt_pos pos) {
  uint64_t given = 0, set = 0;
  for (unsigned i = 0; i < n_args; i++) {
    const lt_attr_info *info = find_info(infos, n_infos, args[i].key);
    if (!info) fail_unknown(s, op, infos, n_infos, &args[i]);
    uint64_t bit = (uint64_t)1 << (info - infos);
    if (given & bit) fail_at(s, args[i].pos, "attribute `%s` of %s is given twice", info->name, op);
    given |= bit;
    if (args[i].value.kind == LT_V_NONE) continue;
    set |= bit;
    lt_attr_store(s, keep, op, info, attrs, &args[i].value);
  }
  for (unsigned i = 0; i < n_infos; i++) {
    if (infos[i].def[0] || set >> i & 1) continue;
    fail_at(s, pos, "%s needs the attribute `%s`, %s\nhelp: add `%s=…`", op, infos[i].name, wanted[infos[i].kind], infos[i].name);
  }
}

/* ---- initial values --------------------------------------------------------------------------------------------- */

/* One level of a literal: checks its shape, and fills `out` where that is not NULL. */
static void read_literal(const lt_names_seen *s, lt_tensor *out, int64_t *next, const lt_type *t, unsigned level, const lt_expr *e,
  const char *what) {
  if (level < t->rank) {
    if (e->kind != LT_E_LIST) {
      fail_at(s, e->pos, "%s is %s: expected a list of %lld here", what, lt_type_text(s->arena, t), (long long)t->dim[level]);
    }
    if (e->n != t->dim[level]) {
      fail_at(s, e->pos, "%s is %s: expected a list of %lld here, not of %u", what, lt_type_text(s->arena, t),
        (long long)t->dim[level], e->n);
    }
    for (uint32_t i = 0; i < e->n; i++) read_literal(s, out, next, t, level + 1, e->items[i], what);
    return;
  }
  lt_attr_value v;
  lt_attr_eval(s, &v, e, what);
  bool whole = v.kind == LT_V_INT, number = whole || v.kind == LT_V_FLOAT;
  if (lt_is_float(t->dtype) ? !number : t->dtype == LT_BOOL ? v.kind != LT_V_BOOL : !whole) {
    fail_at(s, e->pos, "%s is %s: expected %s here, not %s", what, lt_type_text(s->arena, t),
      lt_is_float(t->dtype) ? "a number" : t->dtype == LT_BOOL ? "true or false" : "a whole number", lt_attr_value_text(s->arena, &v));
  }
  if (t->dtype == LT_F32 && v.f - v.f == 0 && v.s - v.s != 0)
    fail_at(s, e->pos, "%s: %s is out of range for f32", what, lt_attr_value_text(s->arena, &v));
  if (t->dtype == LT_I32 && v.i != (int32_t)v.i) fail_at(s, e->pos, "%s: %lld is out of range for i32", what, (long long)v.i);
  if (!out) return;
  if (lt_is_float(t->dtype)) out->f[(*next)++] = t->dtype == LT_F32 ? (double)v.s : v.f;
  else out->i[(*next)++] = v.i;
}

static double init_number(const lt_names_seen *s, const lt_expr *e, const char *key, const char *what) {
  const lt_expr *found = NULL;
  for (uint32_t i = 0; i < e->n; i++) {
    if (strcmp(e->args[i].key, key)) continue;
    if (found) fail_at(s, e->args[i].pos, "%s: `%s` is given twice", what, key);
    found = e->args[i].value;
  }
  if (!found) fail_at(s, e->pos, "%s: %s needs `%s=`", what, e->text, key);
  lt_attr_value v;
  lt_attr_eval(s, &v, found, what);
  if ((v.kind != LT_V_INT && v.kind != LT_V_FLOAT) || v.f - v.f != 0)
    fail_at(s, v.pos, "%s: `%s` must be a finite number", what, key);
  return v.f;
}

static lt_init eval_init_call(const lt_names_seen *s, const lt_expr *e, const char *what) {
  static const char *const names[] = {"zeros", "ones", "normal", "uniform", NULL};
  static const char *const keys[][3] = {{NULL}, {NULL}, {"scale", NULL}, {"lo", "hi", NULL}};
  lt_init init = {.kind = 0};
  while (names[init.kind] && strcmp(names[init.kind], e->text)) init.kind++;
  if (!names[init.kind]) {
    const char *near = lt_nearest(e->text, names);
    if (near) fail_at(s, e->pos, "%s: unknown initial value `%.60s`\nhelp: did you mean `%s`?", what, e->text, near);
    fail_at(s, e->pos, "%s: unknown initial value `%.60s`\nhelp: there are zeros(), ones(), normal(scale=), uniform(lo=, hi=) and numbers",
      what, e->text);
  }
  const char *const *key = keys[init.kind];
  for (uint32_t i = 0; i < e->n; i++) {
    const char *k = e->args[i].key;
    if (k && key[0] && (!strcmp(k, key[0]) || (key[1] && !strcmp(k, key[1])))) continue;
    fail_at(s, e->args[i].pos, "%s: %s takes %s", what, e->text, !key[0] ? "nothing" : key[1] ? "`lo=` and `hi=`" : "`scale=`");
  }
  if (key[0]) init.a = init_number(s, e, key[0], what);
  if (key[0] && key[1]) init.b = init_number(s, e, key[1], what);
  if (key[0] && key[1] && init.a > init.b) fail_at(s, e->pos, "%s: `lo` is larger than `hi`", what);
  return init;
}

lt_init lt_init_eval(const lt_names_seen *s, lt_arena *keep, const lt_type *t, const lt_expr *e, const char *what) {
  lt_init init = {.kind = LT_INIT_LITERAL};
  if (e->kind == LT_E_CALL) {
    init = eval_init_call(s, e, what);
    if (!lt_is_float(t->dtype) && init.kind >= LT_INIT_NORMAL)
      fail_at(s, e->pos, "%s is %s: %s is for floats\nhelp: write zeros(), ones() or numbers", what, lt_type_text(s->arena, t), e->text);
    return init;
  }
  int64_t next = 0;
  read_literal(s, NULL, NULL, t, 0, e, what); /* the whole shape is right before anything is allocated */
  lt_tensor *literal = lt_tensor_new(keep, t);
  read_literal(s, literal, &next, t, 0, e, what);
  init.literal = literal;
  return init;
}

lt_init lt_init_read(lt_graph *g, const lt_type *t, const char *text) {
  lt_lexer lex;
  lt_names_seen s = {.job = g->job, .arena = lt_arena_new(g->job)};
  lt_lex_init(&lex, g->job, s.arena, NULL, text, strlen(text));
  return lt_init_eval(&s, &g->arena, t, lt_parse_expr(&lex), lt_arena_printf(s.arena, "the initial value \"%.80s\"", text));
}
