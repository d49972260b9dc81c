/* gen_rows.h: ops.def and layers.def as plain rows of text, for programs that run while Lathe is built and write C.
 * Standard C alone; not part of the library.
 *
 * Only what has a typed constructor: no leaves and no grad (functions of their own), nothing that only passes make. */
#ifndef LT_GEN_ROWS_H
#define LT_GEN_ROWS_H
#include <stddef.h>
#include <string.h>

typedef struct gen_attr { const char *kind, *name, *def, *doc; } gen_attr;
typedef struct gen_row {
  const char *name, *operands, *results, *doc;
  int is_layer, skip;
  const char *suffix;    /* of the constructor's name */
  const gen_attr *attrs; /* up to one without a name */
} gen_row;

#define OP(name, ...) static const gen_attr gen_op_##name[] = {
#define ATTR(kind, name, def, doc) {#kind, #name, def, doc},
#define END(name)                                                                                                      \
  { NULL, NULL, NULL, NULL }                                                                                           \
  }                                                                                                                    \
  ;
#include "ir/ops.def"
#define LAYER(name, operands, weights, doc) static const gen_attr gen_layer_##name[] = {
#define ATTR(kind, name, def, doc) {#kind, #name, def, doc},
#define END(name)                                                                                                      \
  { NULL, NULL, NULL, NULL }                                                                                           \
  }                                                                                                                    \
  ;
#include "frontend/layers.def"

#define GEN_OPS ""
#define GEN_WEIGHTS "_layer"
enum { LEAF = 1, MAP = 0, HEAVY = 0, MOVE = 0, SUGAR = 0, HIDDEN = 1 };
static const gen_row gen_rows[] = {
#define OP(name, family, vjp, kind, writes, reads, moves, blocks, window, rounds, same, operands, results, doc)        \
  {#name, operands, results, doc, 0, kind, "", gen_op_##name},
#include "ir/ops.def"
#define LAYER(name, operands, weights, doc) {#name, operands, "y", doc, 1, 0, GEN_##weights, gen_layer_##name},
#include "frontend/layers.def"
};
enum { GEN_ROWS = sizeof gen_rows / sizeof gen_rows[0] };

/* A row whose results are as many as its operands has a function of its own. */
static int gen_has_constructor(const gen_row *r) { return !r->skip && !strchr(r->results, '*'); }

/* Words of "x W b?": the i-th, and its length without the mark; NULL past the last. */
static const char *gen_word(const char *words, unsigned i, int *length) {
  for (; i && *words; i--) {
    words += strcspn(words, " ");
    words += *words == ' ';
  }
  *length = (int)strcspn(words, " ?*");
  return *words ? words : NULL;
}

static unsigned gen_count(const char *words) {
  unsigned n = 0;
  int length;
  while (gen_word(words, n, &length)) n++;
  return n;
}

/* "xs*": a constructor takes an array. Other words beside it are not provided for. */
static int gen_is_variadic(const gen_row *r) { return strchr(r->operands, '*') != NULL; }
#endif
