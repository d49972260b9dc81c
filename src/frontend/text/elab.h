/* elab.h: between elab.c (networks, blocks, statements) and value.c (expressions that compute values). */
#ifndef LT_ELAB_H
#define LT_ELAB_H
#include "frontend/text/text.h"

/* What a name stands for: a value of the graph (0: none), or an attribute: a dimension, a block's attribute, a loop's
 * variable. */
typedef struct lt_entry { bool is_attr; lt_value v; lt_attr_value attr; } lt_entry;

/* One for the network and one for each block while it is inlined; blocks see nothing from outside. */
typedef struct lt_scope {
  lt_map names;       /* → lt_entry *, NULL once it is gone */
  const char *prefix; /* of the names of weights: "" or "layer1.0." */
} lt_scope;

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
  lt_names_seen seen;        /* scope again, for attributes */
  const char *base;          /* the name that is being bound, or the index of an element of a sequence */
  const char *within;        /* what goes between the scope's prefix and a layer's name: "" or "net." in a sequence */
  LT_VEC(lt_bound) bound;    /* by value */
  int depth, blocks;         /* of calls within calls, and of blocks within blocks */
  char trace[LT_MAX_BLOCKS][160]; /* which blocks these are, for messages; they outlive the arena */
  uint64_t steps, max_steps;
  uint32_t max_nodes;
} lt_elab;

LT_NORETURN void lt_elab_fail(lt_elab *e, lt_pos pos, const char *fmt, ...) LT_PRINTF(3, 4);
void lt_elab_at(lt_elab *e, lt_pos pos);                        /* nodes emitted next stand here */
lt_entry *lt_elab_find(lt_elab *e, const char *name);           /* NULL: unknown */
lt_entry *lt_elab_lookup(lt_elab *e, const char *name, lt_pos pos); /* fails with the nearest name */
void lt_elab_put(lt_elab *e, const char *name, lt_entry entry);
/* Fill in {i} and {attribute}. */
const char *lt_elab_text(lt_elab *e, const char *text, lt_pos pos);

/* The name that may have been meant; words of one or two letters are all near each other, so only case is forgiven. */
const char *lt_near_name(const char *word, const char *const *names);

/* value.c */
lt_value lt_elab_value(lt_elab *e, const lt_expr *x);           /* exactly one value, or 0 for `none` */
void lt_elab_results(lt_elab *e, const lt_expr *x, lt_values *out);

/* elab.c: put a block in the place of its call. base: the instance's name without prefix, or NULL when it needs none. */
typedef struct lt_block_call { lt_block *block; const char *name; lt_pos pos; const lt_value *in; const lt_attr_arg *args; unsigned n_args; } lt_block_call;
void lt_elab_inline(lt_elab *e, const lt_block_call *c, lt_values *out);
bool lt_elab_has_weights(lt_elab *e, lt_block *b, int depth);
bool lt_elab_sequence_has_weights(lt_elab *e, const lt_expr *x); /* of a call of `sequential` */

#endif
