/* attrs.h: values of attributes on their way into the attribute structs of ops and layers, and who gives them. Shared
 * by all sources of networks: a reader makes lt_attr_args of what it reads, lt_attrs_fill checks and stores them. */
#ifndef LT_ATTRS_H
#define LT_ATTRS_H
#include "ir/ir.h"

typedef struct lt_pos { int32_t line, column; } lt_pos; /* from 1, columns in bytes; line 0: no place */

/* Who makes a call: where its memory comes from and what its messages cite. */
typedef struct lt_caller {
  lt_job *job;
  lt_arena *arena;  /* scratch */
  const char *file; /* NULL: a program, which has no places */
} lt_caller;

lt_loc lt_loc_at(const char *file, lt_pos pos);
LT_NORETURN void lt_fail_at(const lt_caller *by, lt_pos pos, const char *fmt, ...) LT_PRINTF(3, 4);

typedef enum lt_attr_value_kind {
  LT_V_NONE,
  LT_V_BOOL,
  LT_V_INT,
  LT_V_FLOAT,
  LT_V_STRING,
  LT_V_WORD,
  LT_V_LIST
} lt_attr_value_kind;
typedef struct lt_attr_value {
  lt_attr_value_kind kind;
  lt_pos pos;
  int64_t i; /* BOOL, INT */
  double f;  /* INT, FLOAT */
  float s;   /* the same rounded once, from the text */
  /* NONE, BOOL, FLOAT: as written, NULL: not known; STRING, WORD (f32, all, kernel) */
  const char *text;
  const struct lt_attr_value *items; /* LIST */
  uint32_t n;
} lt_attr_value;

lt_attr_value lt_attr_value_int(lt_pos pos, int64_t i);
const char *lt_attr_value_text(lt_arena *a, const lt_attr_value *v); /* for messages */

/* All attributes of a call, put into an attribute struct that holds their defaults: args with the key of one of them,
 * each once, and none missing that has no default. op is for messages. Strings go into `keep`. */
typedef struct lt_attr_arg { const char *key; lt_pos pos; lt_attr_value value; } lt_attr_arg;
void lt_attrs_fill(const lt_caller *by, lt_arena *keep, const char *op, const lt_attr_info *infos, unsigned n_infos,
                   void *attrs, const lt_attr_arg *args, unsigned n_args, lt_pos pos);

#endif
