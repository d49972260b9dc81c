/* match.h: which array of a file is which weight of a network, and through which order of axes (match.c). */
#ifndef LT_MATCH_H
#define LT_MATCH_H
#include "driver/model/model.h"
#include "weights/weights.h"

typedef struct lt_match {
  lt_weight *weight; /* of the file; NULL: none */
  lt_elements array; /* a view of it with the weight's elements in their order, without data */
  const char *how;   /* what was done to its axes, in words; "": nothing */
} lt_match;

typedef struct lt_matching {
  lt_job *job;
  lt_arena *arena;
  const lathe_model *m;
  lt_weights *w;
  bool partial;              /* missing and extra keys are allowed */
  const char *flatten_order; /* "hwc", "chw"; NULL: not said */
  bool *skip;                /* by weight of the file: the caller's, or nobody's */
  bool *unexpected;          /* by weight of the file: it is none of the network's */
  lt_match *item;            /* by item of the image */
  lt_str problems;           /* a line each */
  uint32_t n_problems;
  const char *help; /* how the last of them might go away; NULL: no more than for all */
  size_t strip;     /* bytes of each key that all keys begin with, and the network's names do not */
  const char *add;  /* what all names of the network begin with, and the keys do not */
  lt_map names;     /* of items */
} lt_matching;

/* After this the caller may set skip. */
void lt_match_begin(lt_matching *out, lt_job *job, lt_arena *a, const lathe_model *m, lt_weights *w);
/* Fills item; what is wrong goes to problems, nothing fails. */
void lt_match_all(lt_matching *mt);
void lt_match_missing(lt_matching *mt, bool with_optimizer); /* lines for what no key has */
/* An error with all problems, if there are any. */
void lt_match_check(lt_matching *mt);

#endif
