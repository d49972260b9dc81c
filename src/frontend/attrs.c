/* attrs.c: values of attributes → the typed attribute structs of ops and layers. Where the values come from (an
 * expression of the text language, a struct of a program) makes no difference: the checks, the defaults and the
 * messages are these. */
#include "frontend/attrs.h"

#include <assert.h>
#include <math.h>

lt_loc lt_loc_at(const char *file, lt_pos pos) { return file ? (lt_loc){file, pos.line, pos.column} : (lt_loc){0}; }

void lt_fail_at(const lt_caller *by, lt_pos pos, const char *fmt, ...) {
  lt_loc loc = lt_loc_at(by->file, pos);
  va_list ap;
  va_start(ap, fmt);
  lt_failv(by->job, LATHE_E_INVALID, &loc, fmt, ap);
}

lt_attr_value lt_attr_value_int(lt_pos pos, int64_t i) {
  return (lt_attr_value){.kind = LT_V_INT, .pos = pos, .i = i, .f = (double)i, .s = (float)i};
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
  case LT_V_NONE: case LT_V_BOOL: case LT_V_WORD: break;
  }
  return lt_arena_printf(a, "`%s`", v->text);
}

static const char *wanted(lt_attr_kind kind) {
  switch (kind) {
  case LT_ATTR_int: return "a whole number";
  case LT_ATTR_float: return "a number";
  case LT_ATTR_bool: return "true or false";
  case LT_ATTR_pair: return "a whole number or a pair of them";
  case LT_ATTR_quad: return "a whole number, a pair or [top, left, bottom, right]";
  case LT_ATTR_ints: return "a list of whole numbers";
  case LT_ATTR_str: return "a string";
  case LT_ATTR_dtype: return "f32, f64, i32, i64 or bool";
  case LT_ATTR_init: return "an initial value";
  case LT_ATTR_data: return "numbers";
  }
  assert(!"a kind of attributes");
  return "";
}

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
  /* stride=kernel */
  else if (info->kind == LT_ATTR_pair && word && !strcmp(v->text, info->name[0] == 's' ? "kernel" : "")) n = 1;
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
  *(lt_quad *)at = n == 1   ? (lt_quad){{i[0], i[0], i[0], i[0]}}
                   : n == 2 ? (lt_quad){{i[0], i[1], i[0], i[1]}}
                            : (lt_quad){{i[0], i[1], i[2], i[3]}};
  return n == 1 || n == 2 || n == 4;
}

static bool store(lt_arena *keep, const lt_attr_info *info, void *at, const lt_attr_value *v) {
  lt_dtype t;
  switch (info->kind) {
  case LT_ATTR_int: return v->kind == LT_V_INT && (*(int64_t *)at = v->i, true);
  case LT_ATTR_float: return (v->kind == LT_V_INT || v->kind == LT_V_FLOAT) && (*(double *)at = v->f, true);
  case LT_ATTR_bool: return v->kind == LT_V_BOOL && (*(int64_t *)at = v->i, true);
  case LT_ATTR_str: return v->kind == LT_V_STRING && (*(const char **)at = lt_arena_strdup(keep, v->text), true);
  case LT_ATTR_dtype:
    return v->kind == LT_V_WORD && lt_dtype_parse(&t, v->text, strlen(v->text)) && (*(int64_t *)at = t, true);
  case LT_ATTR_pair: case LT_ATTR_quad: case LT_ATTR_ints: return store_numbers(info, at, v);
  case LT_ATTR_init: case LT_ATTR_data: break; /* of leaves only, which are no calls */
  }
  return false;
}

static void store_attr(const lt_caller *by, lt_arena *keep, const char *op, const lt_attr_info *info, void *attrs,
                       const lt_attr_value *v) {
  if (info->kind == LT_ATTR_ints && v->kind == LT_V_LIST && v->n > LT_MAX_INTS)
    lt_fail_at(by, v->pos, "attribute `%s` of %s has %u numbers, at most %d are allowed", info->name, op, v->n,
               (int)LT_MAX_INTS);
  if (!store(keep, info, (char *)attrs + info->offset, v)) {
    lt_fail_at(by, v->pos, "attribute `%s` of %s is %s, not %s", info->name, op, wanted(info->kind),
               lt_attr_value_text(by->arena, v));
  }
}

static const lt_attr_info *find_info(const lt_attr_info *infos, unsigned n, const char *key) {
  for (unsigned i = 0; i < n; i++)
    if (!strcmp(infos[i].name, key)) return &infos[i];
  return strcmp(key, "kernel_size") ? NULL : find_info(infos, n, "kernel");
}

LT_NORETURN static void fail_unknown(const lt_caller *by, const char *op, const lt_attr_info *infos, unsigned n,
                                     const lt_attr_arg *a) {
  lt_str all;
  lt_str_init(&all, by->arena);
  const char **names = LT_NEW_ARRAY(by->arena, const char *, n + 2);
  for (unsigned i = 0; i < n; i++) {
    names[i] = infos[i].name;
    lt_str_printf(&all, "%s`%s`", i ? ", " : "", infos[i].name);
  }
  names[n] = "name";
  const char *near = lt_nearest(a->key, names);
  for (unsigned i = 0; i < n && !near; i++) /* padding → pad */
    if (!strncmp(a->key, names[i], strlen(names[i]))) near = names[i];
  if (near) lt_fail_at(by, a->pos, "%s has no attribute `%.60s`\nhelp: did you mean `%s`?", op, a->key, near);
  if (!n) lt_fail_at(by, a->pos, "%s has no attribute `%.60s`\nhelp: it has none", op, a->key);
  lt_fail_at(by, a->pos, "%s has no attribute `%.60s`\nhelp: it has %s", op, a->key, all.at);
}

void lt_attrs_fill(const lt_caller *by, lt_arena *keep, const char *op, const lt_attr_info *infos, unsigned n_infos,
                   void *attrs, const lt_attr_arg *args, unsigned n_args, lt_pos pos) {
  uint64_t given = 0, set = 0;
  assert(n_infos <= 64);
  for (unsigned i = 0; i < n_args; i++) {
    const lt_attr_info *info = find_info(infos, n_infos, args[i].key);
    if (!info) fail_unknown(by, op, infos, n_infos, &args[i]);
    uint64_t bit = (uint64_t)1 << (info - infos);
    if (given & bit) lt_fail_at(by, args[i].pos, "attribute `%s` of %s is given twice", info->name, op);
    given |= bit;
    if (args[i].value.kind == LT_V_NONE) continue;
    set |= bit;
    store_attr(by, keep, op, info, attrs, &args[i].value);
  }
  for (unsigned i = 0; i < n_infos; i++) {
    if (infos[i].def[0] || set >> i & 1) continue;
    lt_fail_at(by, pos, "%s needs the attribute `%s`, %s\nhelp: add `%s=…`", op, infos[i].name, wanted(infos[i].kind),
               infos[i].name);
  }
}
