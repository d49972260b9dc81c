/* scope.h: names and what they stand for (scope.c). */
#ifndef LT_SCOPE_H
#define LT_SCOPE_H
#include "frontend/attrs.h"

/* What a name stands for: a value of the graph (0: none), or an attribute: a dimension, a block's attribute, a loop's
 * variable. */
typedef struct lt_entry { bool is_attr; lt_value v; lt_attr_value attr; } lt_entry;

/* One for the network and one for each block while it is inlined; blocks see nothing from outside. */
typedef struct lt_scope {
  lt_map names;       /* → lt_entry *, NULL once it is gone */
  const char *prefix; /* of the names of weights: "" or "layer1.0." */
} lt_scope;

lt_entry *lt_scope_find(const lt_scope *s, const char *name); /* NULL: unknown, or gone */
/* The attribute called name, or NULL; *is_value when the name is that of a value. */
const lt_attr_value *lt_scope_attr(const lt_scope *s, const char *name, bool *is_value);

#endif
