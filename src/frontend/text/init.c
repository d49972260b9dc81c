/* init.c: initial values: zeros(), normal(scale=0.1) …, or numbers in lists as deep as the leaf has axes. */
#include "frontend/text/eval.h"
#include "frontend/text/read.h"

/* One element of a literal, of the type's kind and within its range. */
static void read_number(const lt_names_seen *s, lt_attr_value *v, const lt_type *t, const lt_expr *e,
                        const char *what) {
  static const char *const wanted[] = {
    [LT_FLOATS] = "a number", [LT_INTEGERS] = "a whole number", [LT_TRUTHS] = "true or false"};
  lt_kind_of_number kind = lt_dtype_kind(t->dtype);
  lt_attr_eval(s, v, e, what);
  bool whole = v->kind == LT_V_INT;
  if (kind == LT_FLOATS ? !whole && v->kind != LT_V_FLOAT : kind == LT_TRUTHS ? v->kind != LT_V_BOOL : !whole) {
    lt_fail_at(&s->by, e->pos, "%s is %s: expected %s here, not %s", what, lt_type_text(s->by.arena, t), wanted[kind],
               lt_attr_value_text(s->by.arena, v));
  }
  switch (t->dtype) {
  case LT_F32:
    if (v->f - v->f == 0 && v->s - v->s != 0)
      lt_fail_at(&s->by, e->pos, "%s: %s is out of range for f32", what, lt_attr_value_text(s->by.arena, v));
    v->f = (double)v->s; /* rounded once, from the text */
    break;
  case LT_I32:
    if (v->i != (int32_t)v->i) lt_fail_at(&s->by, e->pos, "%s: %lld is out of range for i32", what, (long long)v->i);
    break;
  case LT_F64: case LT_I64: case LT_BOOL: case LT_DTYPES: break;
  }
}

/* One level of a literal: checks its shape, and fills `out` where that is not NULL. */
static void read_literal(const lt_names_seen *s, lt_tensor *out, int64_t *next, const lt_type *t, unsigned level,
                         const lt_expr *e, const char *what) {
  if (level < t->rank) {
    if (e->kind != LT_E_LIST) {
      lt_fail_at(&s->by, e->pos, "%s is %s: expected a list of %lld here", what, lt_type_text(s->by.arena, t),
                 (long long)t->dim[level]);
    }
    if (e->n != t->dim[level]) {
      lt_fail_at(&s->by, e->pos, "%s is %s: expected a list of %lld here, not of %u", what,
                 lt_type_text(s->by.arena, t), (long long)t->dim[level], e->n);
    }
    for (uint32_t i = 0; i < e->n; i++) read_literal(s, out, next, t, level + 1, e->items[i], what);
    return;
  }
  lt_attr_value v;
  read_number(s, &v, t, e, what);
  if (!out) return;
  if (lt_is_float(t->dtype)) out->f[(*next)++] = v.f;
  else out->i[(*next)++] = v.i;
}

static double init_number(const lt_names_seen *s, const lt_expr *e, const char *key, const char *what) {
  const lt_expr *found = NULL;
  for (uint32_t i = 0; i < e->n; i++) {
    if (strcmp(e->args[i].key, key)) continue;
    if (found) lt_fail_at(&s->by, e->args[i].pos, "%s: `%s` is given twice", what, key);
    found = e->args[i].value;
  }
  if (!found) lt_fail_at(&s->by, e->pos, "%s: %s needs `%s=`", what, e->text, key);
  lt_attr_value v;
  lt_attr_eval(s, &v, found, what);
  if ((v.kind != LT_V_INT && v.kind != LT_V_FLOAT) || v.f - v.f != 0)
    lt_fail_at(&s->by, v.pos, "%s: `%s` must be a finite number", what, key);
  return v.f;
}

/* data("FILE", OFFSET, BYTES): a range of a file, which must hold exactly the elements. */
static const lt_data *eval_data(const lt_names_seen *s, lt_arena *keep, const lt_type *t, const lt_expr *e,
                                const char *what) {
  const char *type = lt_type_text(s->by.arena, t), *why;
  lt_attr_value v[3];
  bool right = e->n == LT_COUNT(v);
  for (uint32_t i = 0; right && i < LT_COUNT(v); i++) {
    right = !e->args[i].key;
    if (right) lt_attr_eval(s, &v[i], e->args[i].value, what);
    right = right && v[i].kind == (i ? LT_V_INT : LT_V_STRING);
  }
  if (!right)
    lt_fail_at(&s->by, e->pos,
               "%s: data takes a file's name, an offset and a number of bytes\n"
               "help: data(\"weights.bin\", 0, 4096)",
               what);
  int64_t bytes, offset = v[1].i;
  if (!lt_type_count_ok(t, &bytes) || !lt_mul_ok(&bytes, bytes, (int64_t)lt_dtype_size(t->dtype)))
    lt_fail_at(&s->by, e->pos, "%s: the size of %s overflows", what, type);
  if (offset < 0) lt_fail_at(&s->by, v[1].pos, "%s: the offset in %.200s is negative", what, v[0].text);
  if (v[2].i != bytes)
    lt_fail_at(&s->by, v[2].pos, "%s is %s, which takes %lld bytes, not %lld", what, type, (long long)bytes,
               (long long)v[2].i);
  const lt_data *d = lt_data_map(keep, t, s->folder ? s->folder : ".", v[0].text, offset, &why);
  if (!d) lt_fail_at(&s->by, v[0].pos, "%s: %.600s", what, why);
  return d;
}

static lt_init eval_init_call(const lt_names_seen *s, const lt_expr *e, const char *what) {
  static const char *const names[] = {"zeros", "ones", "normal", "uniform", "data", NULL}; /* data is read elsewhere */
  static const char *const keys[][3] = {{NULL}, {NULL}, {"scale", NULL}, {"lo", "hi", NULL}};
  lt_init init = {.kind = 0};
  while (names[init.kind] && strcmp(names[init.kind], e->text)) init.kind++;
  if (!names[init.kind]) {
    const char *near = lt_nearest(e->text, names);
    if (near)
      lt_fail_at(&s->by, e->pos, "%s: unknown initial value `%.60s`\nhelp: did you mean `%s`?", what, e->text, near);
    lt_fail_at(&s->by, e->pos,
               "%s: unknown initial value `%.60s`\nhelp: there are zeros(), ones(), normal(scale=), uniform(lo=, hi=), "
               "data() and numbers",
               what, e->text);
  }
  const char *const *key = keys[init.kind];
  for (uint32_t i = 0; i < e->n; i++) {
    const char *k = e->args[i].key;
    if (k && key[0] && (!strcmp(k, key[0]) || (key[1] && !strcmp(k, key[1])))) continue;
    lt_fail_at(&s->by, e->args[i].pos, "%s: %s takes %s", what, e->text,
               !key[0]  ? "nothing"
               : key[1] ? "`lo=` and `hi=`"
                        : "`scale=`");
  }
  if (key[0]) init.a = init_number(s, e, key[0], what);
  if (key[0] && key[1]) init.b = init_number(s, e, key[1], what);
  if (key[0] && key[1] && init.a > init.b) lt_fail_at(&s->by, e->pos, "%s: `lo` is larger than `hi`", what);
  return init;
}

lt_init lt_init_eval(const lt_names_seen *s, lt_arena *keep, const lt_type *t, const lt_expr *e, const char *what) {
  lt_init init = {.kind = LT_INIT_LITERAL};
  if (e->kind == LT_E_CALL && !strcmp(e->text, "data")) {
    init.literal = eval_data(s, keep, t, e, what);
    return init;
  }
  if (e->kind == LT_E_CALL) {
    init = eval_init_call(s, e, what);
    if (!lt_is_float(t->dtype) && init.kind >= LT_INIT_NORMAL)
      lt_fail_at(&s->by, e->pos, "%s is %s: %s is for floats\nhelp: write zeros(), ones() or numbers", what,
                 lt_type_text(s->by.arena, t), e->text);
    return init;
  }
  int64_t next = 0;
  read_literal(s, NULL, NULL, t, 0, e, what); /* the whole shape is right before anything is allocated */
  lt_tensor *literal = lt_tensor_new(s->by.arena, t);
  read_literal(s, literal, &next, t, 0, e, what);
  init.literal = lt_data_of(keep, literal);
  return init;
}

lt_init lt_init_read(lt_graph *g, const lt_type *t, const char *text) {
  lt_lexer lex;
  lt_names_seen s = {.by = {.job = g->job, .arena = lt_arena_new(g->job)}};
  lt_lex_init(&lex, g->job, s.by.arena, NULL, text, strlen(text));
  return lt_init_eval(&s, &g->arena, t, lt_parse_expr(&lex),
                      lt_arena_printf(s.by.arena, "the initial value \"%.80s\"", text));
}
