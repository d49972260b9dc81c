/* options.h: the options of one call, read from its `opts` text against lathe/options.def.
 *
 * The text is split as a shell does it (blanks separate; '…', "…" and \ quote); "--name value" and "--name=value". An
 * unknown option names the nearest one, one that belongs to another call says to which. */
#ifndef LT_OPTIONS_H
#define LT_OPTIONS_H
#include "base/base.h"

#include <math.h>
#include "lathe/options.def"

#define OPTION(id, ...) LT_OPT_##id,
typedef enum lt_option_id {
#include "lathe/options.def"
  LT_OPT_COUNT
} lt_option_id;

typedef struct lt_texts { const char *const *at; uint32_t n; } lt_texts;

#define LT_OPTION_FLAG_ONE bool
#define LT_OPTION_INT_ONE int64_t
#define LT_OPTION_REAL_ONE double
#define LT_OPTION_CHOICE_ONE const char *
#define LT_OPTION_TEXT_ONE const char *
#define LT_OPTION_FILE_ONE const char *
#define LT_OPTION_OUT_ONE const char *
#define LT_OPTION_TEXT_MANY lt_texts
#define LT_OPTION_DIM_MANY lt_texts
#define LT_OPTION_NAME_FILE_MANY lt_texts

/* One member per option, named by its id; texts that were not given are NULL, numbers 0: see `given`. */
typedef struct lt_options {
#define OPTION(id, name, arg, kind, lo, hi, choices, verbs, to, many, def, doc) LT_OPTION_##kind##_##many id;
#include "lathe/options.def"
  bool given[LT_OPT_COUNT];
} lt_options;

/* call is one of TO_LOAD … TO_EMIT; strings point into the arena. */
void lt_options_read(lt_options *out, lt_job *job, lt_arena *a, const char *text, int call);
/* --math=fast */
static inline bool lt_options_fast(const lt_options *o) { return o->math && !strcmp(o->math, "fast"); }
void lt_options_print(lt_str *out, bool markdown); /* the table */

#endif
