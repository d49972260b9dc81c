/* elab.h: between elab.c (networks, statements), scope.c (names), notes.c, value.c (expressions that compute values)
 * and block.c. */
#ifndef LT_ELAB_H
#define LT_ELAB_H
#include "frontend/names.h"
#include "frontend/text/eval.h"
#include "frontend/text/scope.h"

typedef LT_VEC(lt_value) lt_values;

/* What a value was called first, in the outermost block that gave it a name. */
typedef struct lt_bound { const char *name; int blocks; } lt_bound;

enum { LT_MAX_BLOCKS = 64 };

typedef struct lt_elab {
  lt_job *job;
  lt_arena *arena; /* scratch */
  lt_graph *g;
  const lt_file *tree;
  lt_namer names;
  lt_scope *scope;
  lt_names_seen seen;     /* scope again, for attributes */
  const char *base;       /* the name that is being bound, or the index of an element of a sequence */
  const char *within;     /* what goes between the scope's prefix and a layer's name: "" or "net." in a sequence */
  LT_VEC(lt_bound) bound; /* by value */
  int depth, blocks;      /* of calls within calls, and of blocks within blocks */
  char trace[LT_MAX_BLOCKS][160]; /* which blocks these are, for messages; they outlive the arena */
  uint64_t steps, max_steps;
  uint32_t max_nodes;
} lt_elab;

/* ---- elab.c ---- */

LT_NORETURN void lt_elab_fail(lt_elab *e, lt_pos pos, const char *fmt, ...) LT_PRINTF(3, 4);
void lt_elab_at(lt_elab *e, lt_pos pos);                  /* nodes emitted next stand here */
void lt_elab_pay(lt_elab *e, lt_pos pos, uint64_t steps); /* fails when blocks and loops write out too much */
void lt_elab_run(lt_elab *e, const lt_stmts *body);

/* ---- scope.c ---- */

lt_entry *lt_elab_find(lt_elab *e, const char *name);               /* NULL: unknown; also a weight below the scope */
lt_entry *lt_elab_lookup(lt_elab *e, const char *name, lt_pos pos); /* fails with the nearest name */
const char **lt_elab_names(lt_elab *e);                             /* all that could have been meant, for messages */
void lt_elab_put(lt_elab *e, const char *name, lt_entry entry);
void lt_elab_put_attr(lt_elab *e, const char *name, const lt_attr_value *v);
void lt_elab_put_int(lt_elab *e, const char *name, lt_pos pos, int64_t i);
/* Fill in {i} and {attribute}. */
const char *lt_elab_text(lt_elab *e, const char *text, lt_pos pos);
/* The name that may have been meant; words of one or two letters are all near each other, so only case is forgiven. */
const char *lt_near_name(const char *word, const char *const *names);

/* ---- notes.c ---- */

/* what stands behind a statement goes onto its node */
void lt_elab_notes(lt_elab *e, const lt_notes *notes, lt_node *n);

/* ---- value.c ---- */

lt_value lt_elab_value(lt_elab *e, const lt_expr *x); /* exactly one value, or 0 for `none` */
void lt_elab_results(lt_elab *e, const lt_expr *x, lt_values *out);
/* The full name of the call's instance, taken, so that no other has it. needed: one made from the name being bound if
 * none is given; else NULL then. */
const char *lt_elab_take_name(lt_elab *e, const lt_expr *x, bool needed);
const char *lt_elab_full_name(lt_elab *e, const char *name); /* with the scope's prefix */
/* whether an argument is called so; for lt_call_resolve */
bool lt_elab_has_key(const void *call, const char *key);
unsigned lt_elab_by_position(const lt_expr *call); /* arguments before the first with a key */

/* ---- block.c ---- */

void lt_elab_call_block(lt_elab *e, const lt_expr *x, lt_block *b, lt_values *out);
bool lt_elab_sequence_has_weights(lt_elab *e, const lt_expr *x); /* of a call of `sequential` */

#endif
