/* struct_attrs.c: attributes that a program gives as a struct (lathe_apply) → the values that attribute text would
 * give, so that checks, defaults and messages are the same. The rule of zero is here: a field left zero is an attribute
 * not given. */
#include "frontend/build/apply.h"

#include <math.h>

static void set_int(lt_attr_value *v, int64_t i) { *v = lt_attr_value_int((lt_pos){0}, i == LATHE_ZERO ? 0 : i); }

static void set_list(lt_arena *a, lt_attr_value *v, const int64_t *i, uint32_t n) {
  lt_attr_value *items = LT_NEW_ARRAY(a, lt_attr_value, n + 1);
  for (uint32_t k = 0; k < n; k++) set_int(&items[k], i[k]);
  *v = (lt_attr_value){.kind = LT_V_LIST, .items = items, .n = n};
}

/* Two or four numbers, zeros at the end not given; one alone stands for all. */
static bool read_numbers(lt_arena *a, lt_attr_value *v, const int64_t *i, uint32_t n) {
  uint32_t given = n;
  while (given && !i[given - 1]) given--;
  if (given == 1) set_int(v, i[0]);
  else set_list(a, v, i, given > 2 ? n : given);
  return given > 0;
}

static bool read_ints(const lt_caller *by, lt_attr_value *v, const char *form, const char *key, const lathe_ints *l) {
  int64_t n = l->n == LATHE_ZERO ? 0 : l->n;
  if (n < 0 || n > LT_MAX_INTS) {
    lt_fail(by->job, LATHE_E_INVALID, NULL, "attribute `%s` of %s has %lld numbers, at most %d are allowed%s", key,
            form, (long long)n, (int)LT_MAX_INTS, n < 0 ? "\nhelp: an empty list is LATHE_EMPTY" : "");
  }
  set_list(by->arena, v, l->v, (uint32_t)n);
  return l->n != 0;
}

static bool read_flag(lt_attr_value *v, lathe_flag flag) {
  bool yes = flag == LATHE_YES;
  if (yes || flag == LATHE_NO) *v = (lt_attr_value){.kind = LT_V_BOOL, .i = yes, .text = yes ? "true" : "false"};
  else set_int(v, flag); /* no flag: the message says so */
  return flag != LATHE_UNSET;
}

static bool read_float(lt_attr_value *v, double f) {
  bool given = f != 0 || signbit(f);
  *v = (lt_attr_value){.kind = LT_V_FLOAT, .f = f == 0 ? 0 : f, .s = (float)f};
  return given;
}

static bool read_text(lt_attr_value *v, lt_attr_value_kind kind, const char *text) {
  *v = (lt_attr_value){.kind = kind, .text = text};
  return text != NULL;
}

/* false: left zero. */
static bool read_field(const lt_caller *by, lt_attr_value *v, const char *form, const lathe_attr *a, const void *at) {
  switch (a->kind) {
  case LATHE_ATTR_INT: set_int(v, *(const int64_t *)at); return *(const int64_t *)at != 0;
  case LATHE_ATTR_FLOAT: return read_float(v, *(const double *)at);
  case LATHE_ATTR_BOOL: return read_flag(v, *(const lathe_flag *)at);
  case LATHE_ATTR_PAIR: return read_numbers(by->arena, v, at, 2);
  case LATHE_ATTR_QUAD: return read_numbers(by->arena, v, at, 4);
  case LATHE_ATTR_INTS: return read_ints(by, v, form, a->key, at);
  case LATHE_ATTR_STR: return read_text(v, LT_V_STRING, *(const char *const *)at);
  case LATHE_ATTR_DTYPE: return read_text(v, LT_V_WORD, *(const char *const *)at);
  }
  lt_fail(by->job, LATHE_E_INVALID, NULL, "attribute `%.60s` of %s has no kind %d", a->key, form, (int)a->kind);
}

lt_attr_arg *lt_form_args(const lt_caller *by, const lathe_form *form, const void *values, unsigned *n) {
  size_t fields = values ? form->n_attrs : 0;
  lt_attr_arg *args = LT_NEW_ARRAY(by->arena, lt_attr_arg, fields + 1);
  *n = 0;
  for (size_t i = 0; i < fields; i++) {
    const lathe_attr *a = &form->attrs[i];
    if (!read_field(by, &args[*n].value, form->name, a, (const char *)values + a->offset)) continue;
    args[*n].key = a->key, args[*n].pos = (lt_pos){0};
    ++*n;
  }
  return args;
}
