/* eval.h: attribute expressions, evaluated (eval.c), and the initial values of leaves (init.c). */
#ifndef LT_EVAL_H
#define LT_EVAL_H
#include "frontend/attrs.h"
#include "frontend/text/scope.h"
#include "frontend/text/text.h"

/* What attribute expressions see: names of attributes, dimensions and loop variables. */
typedef struct lt_names_seen {
  lt_caller by;
  const lt_scope *scope; /* NULL: none are known */
  const char *folder;    /* of files that are named; NULL: the current one */
} lt_names_seen;

void lt_attr_eval(const lt_names_seen *s, lt_attr_value *out, const lt_expr *e, const char *what);
int64_t lt_attr_eval_int(const lt_names_seen *s, const lt_expr *e, const char *what);
lt_init lt_init_eval(const lt_names_seen *s, lt_arena *keep, const lt_type *t, const lt_expr *e, const char *what);

#endif
