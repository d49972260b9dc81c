/* hunt.h: random whole networks, held against the interpreter, made small when they fail.
 *
 *   seed ─ make_*.c ─ net ─ net.c ─ text of a .lathe file ─ judge.c ─ finding ─ shrink.c ─ a smaller net ─
 * hunt-SEED.lathe
 *
 * A network is a list of statements, which prints as a text and is all that the compiler under test gets to see: what
 * fails here fails with the same text in `lathe check`. Making one uses the C API's shapes, so that no rule of shapes
 * stands here a second time. */
#ifndef LT_HUNT_H
#define LT_HUNT_H
#include "lathe/lathe.h"

#include "ir/ir.h"

#include <stdio.h>

enum { HT_STATEMENTS = 200, HT_IN = 8, HT_OUT = 6, HT_ATTRS = 10, HT_OUTPUTS = 16 };

typedef enum ht_kind { HT_INPUT, HT_PARAM, HT_STATE, HT_CONST, HT_OP, HT_LAYER, HT_UPDATE } ht_kind;
typedef struct ht_attr { char key[20], text[100]; } ht_attr;
/* A value is 1 + statement·HT_OUT + result; 0 is none. An update has the state and its new value as operands. */
typedef struct ht_statement {
  ht_kind kind;
  bool gone; /* shrunk away: nothing refers to it */
  char op[24], init[160];
  unsigned in[HT_IN], n_in, n_out, n_attrs;
  ht_attr attr[HT_ATTRS];
  lt_type type[HT_OUT];
} ht_statement;
typedef struct ht_net {
  ht_statement at[HT_STATEMENTS];
  unsigned n, output[HT_OUTPUTS], n_outputs;
} ht_net;

/* What is compared, beside the results of every entry with the interpreter's, which always are. */
enum {
  HT_THREADS = 1, /* bits of 1 thread and of 3 */
  HT_WIDTHS = 2,  /* bits of this CPU and of AVX2 */
  HT_NARROW = 4,  /* bits of the two levels without fused multiply-add */
  HT_OBJECT = 8,  /* bits of the JIT and of the object, loaded */
  HT_DUMPS = 16,  /* the text after each pass reads back and prints the same */
  HT_SLOPES = 32, /* directional differences against the entry `grad` */
  HT_HALVES = 64, /* bits of a step and of its halves */
  HT_NODES = 128, /* every node, fused and not fused: lathe_prove */
  HT_CHECKS = 8
};
extern const char *const ht_check_names[HT_CHECKS];
typedef struct ht_plan {
  char opts[400]; /* of lathe_compile: --entry, --optimizer … */
  unsigned checks;
  uint64_t seed; /* of inputs and weights */
} ht_plan;
typedef struct ht_case { ht_net net; ht_plan plan; uint64_t seed; } ht_case;

static inline unsigned ht_value(unsigned statement, unsigned result) { return 1 + statement * HT_OUT + result; }
static inline unsigned ht_owner(unsigned value) { return (value - 1) / HT_OUT; }
static inline const lt_type *ht_type(const ht_net *n, unsigned value) {
  return &n->at[ht_owner(value)].type[(value - 1) % HT_OUT];
}

/* ---- net.c ---- */

/* The network's text, for free(). `why` goes before it, and a plan's comment line, which ht_plan_read takes. */
char *ht_text(const ht_net *n, const ht_plan *p, const char *why);
bool ht_plan_read(ht_plan *p, const char *text);
/* A graph that grows with a network: the types of a new statement's results, or false and the message. */
typedef struct ht_shapes {
  lathe_graph *g;
  lathe_value value[HT_STATEMENTS * HT_OUT + 1];
  lathe_error error;
  bool output;
} ht_shapes;
bool ht_shapes_add(ht_shapes *s, ht_net *n, unsigned statement);
/* All types anew, after a change. false: the network has become invalid. */
bool ht_retype(ht_net *n);
const char *ht_attr_text(const ht_statement *s, const char *key); /* NULL: not given */
/* Which values of statements nothing reads (outputs count). Marks what is not needed for an output or update as gone.
 */
void ht_sweep(ht_net *n);

/* ---- make.c ---- */

/* parts: of images put together and cut (nets_parts.c), not one of any kind. */
void ht_make(ht_case *c, uint64_t seed, bool parts);
/* Do networks of `count` seeds have every op, layer and attribute? Says what is missing; the number of it. */
unsigned ht_coverage(uint64_t first, unsigned count);

/* ---- judge.c ---- */

/* kind "" is none. Two findings are the same when their kinds are equal. */
typedef struct ht_finding { char stage[64], kind[120], text[4000]; } ht_finding;
/* What every network needs of LLVM is set up here once, for all children of this process. */
void ht_warm_up(void);
/* In a process of its own, with limits of time and memory. */
void ht_try(const char *text, const ht_plan *p, ht_finding *f);

/* ---- shrink.c ---- */

/* Smaller networks and plans that fail the same way, until there is none. Tries at most `most`; returns how many. */
unsigned ht_shrink(ht_case *c, const ht_finding *f, unsigned most);

#endif
