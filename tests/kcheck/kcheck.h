/* kcheck.h: every kernel against the interpreter, on generated cases.
 *
 * A case is a function of (family, number): a graph whose leaves' names say what they are filled with. Cases are
 * compiled by the whole pipeline, many to a module, called on buffers between canaries with scratch full of NaN, and
 * compared with the interpreter in double precision.
 *
 * Names of leaves begin with what fills them, up to the first underscore:
 *   q  odd eighths in [-7/8, 7/8]: products and sums of them are exact in f32, so results must be equal bit by bit
 *   r  reals in [-4, 4]      p  reals in [1/4, 4]      i  whole numbers in [-9, 9]
 *   l<n>  whole numbers in [-1, n): indices and labels
 *   b  zero or one */
#ifndef KCHECK_H
#define KCHECK_H
#include "ir/ir.h"

/* ---- random choices ---- */
typedef struct kc_rng { uint64_t seed, stream, at; } kc_rng;
static inline int64_t kc_pick(kc_rng *r, int64_t lo, int64_t hi) {
  return lo + (int64_t)(lt_random_u32(r->seed, r->stream, r->at++) % (uint64_t)(hi - lo + 1));
}
static inline bool kc_chance(kc_rng *r, int percent) { return kc_pick(r, 1, 100) <= percent; }
#define KC_ONE_OF(r, array) ((array)[kc_pick((r), 0, (int64_t)LT_COUNT(array) - 1)])

/* ---- cases ---- */
typedef struct kc_case {
  int family;
  int64_t number;
  uint64_t skip;    /* random graphs: steps left out, a bit each */
  bool packed;      /* weights packed by an entry of their own, or all in one entry */
  double tolerance; /* of max|a-b| / max|b| per output; 0: equal */
} kc_case;

typedef struct kc_family {
  const char *name;
  int64_t count;                          /* in a full run */
  void (*build)(lt_graph *g, kc_case *c); /* outputs are y, y1, … */
} kc_family;
extern const kc_family kc_families[];
extern const int kc_family_count;
void kc_build_graph(lt_graph *g, kc_case *c); /* graphs.c */
enum { KC_LONG_K = 58 };
void kc_build_long_k(lt_graph *g, kc_case *c); /* long_k.c */
int kc_graph_steps(const kc_case *c);

static inline kc_rng kc_rng_of(const kc_case *c) {
  return (kc_rng){.seed = (uint64_t)c->number, .stream = 1000 + (uint64_t)c->family};
}

/* A leaf `<fill>_<n>`: an input, or a param when `weight`. */
lt_value kc_leaf(lt_graph *g, const char *fill, bool weight, lt_dtype t, unsigned rank, const int64_t *dim);

/* ---- running (run.c) ---- */
/* What the leaf v is filled with, by its name. */
lt_tensor *kc_fill(lt_arena *a, const lt_graph *g, lt_value v);
/* A case begins as unreported and passes only by a comparison. */
typedef enum kc_verdict { KC_UNREPORTED, KC_PASSED, KC_MISTRUSTED, KC_FAILED, KC_VERDICTS } kc_verdict;
typedef struct kc_result { kc_verdict verdict; char why[400]; } kc_result;
/* Compile c[0..n) into one module and run each. Everything that goes wrong is a result. `current` is set to the case
 * being run, for whoever has to explain a crash. */
void kc_run(const kc_case *c, kc_result *r, int n, const char *cpu, volatile int *current);
#endif
