/* reduce.h: what reductions of all kinds share (reduce.c), sums of floats in runs (reduce_runs.c), and chains
 * in tiles (reduce_tile.c). */
#ifndef LT_REDUCE_H
#define LT_REDUCE_H
#include "codegen/cpu/pairwise.h"

enum { LT_PARTS = 16 };

/* How the runs of a sum are walked: reduce_runs.c. */
typedef struct lt_run_walk {
  unsigned dim;             /* the reduced dim that is cut */
  int64_t per, whole, rest; /* iterations of it in a run; whole runs, iterations in a shorter one behind them */
  int64_t outer, each;      /* iterations of the dims around; runs in each of them */
  int64_t inside, run, all; /* elements behind one iteration of the dim that is cut, of a whole run, of all of it */
  bool straight, closed;    /* runs are written out; and all of them in one group */
  bool rows, moving;        /* several partial sums at a time are an iteration of a loop */
  bool far;                 /* what is read next is asked for */
  unsigned parts, level;    /* partial sums at a time; 2^level runs make a group */
  int64_t images;           /* iterations of the dim around the cut that a group takes */
  lt_pairwise waiting;
} lt_run_walk;

typedef struct lt_reduction {
  lt_ll *l;
  const lt_kernel *k;
  lt_bufs bufs;
  LLVMTypeRef vec;       /* <16 x acc> */
  bool along, fused;     /* fused: the last multiplication of a chain goes into the addition */
  bool guarded, counted; /* some guard may fail; X_COUNT is asked for */
  int64_t total;         /* reduced elements */
  bool *still;           /* of rexpr: what does not change along the reduced dims */
  LLVMValueRef *fixed;   /* and its values at the present point of the output */
  bool runs;             /* reduce_runs.c makes it, as `walk` says */
  lt_run_walk walk;
} lt_reduction;

/* What a run has of the dim that is cut: n iterations from `from` on. */
typedef struct lt_run_span { LLVMValueRef from; int64_t n; } lt_run_span;

/* What is carried through the loops over reduced dims. part[0..n): sums or the maximum; index: ARGMAX. */
typedef struct lt_sums {
  unsigned n;
  LLVMValueRef part[LT_PARTS], index, count;
  lt_guard guard;         /* HOLD: all guards are known to hold; otherwise each is looked at */
  const lt_run_span *run; /* NULL: there is one run */
} lt_sums;

static inline unsigned lt_reduced_dim(const lt_kernel *k, unsigned i) { return k->n_dims + i; }

lt_sums lt_reduce_start(const lt_reduction *r, lt_guard guard);
LLVMValueRef lt_reduce_plus(const lt_reduction *r, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef lt_reduce_element(const lt_reduction *r, const lt_point *p); /* at p, where there are no guards */
void lt_reduce_take(const lt_reduction *r, lt_sums *s, const lt_point *p, unsigned j); /* the element at p to part[j] */
/* Reduced dims from `dim` on as loops, of the dim that is cut what belongs to the run. The part of the next element
 * then stands first. */
void lt_reduce_nest(const lt_reduction *r, lt_sums *s, lt_point *p, unsigned dim);
void lt_reduce_order(const lt_reduction *r, lt_sums *s,
                     int64_t end); /* the part of element `end` stands first: part 0 */
LLVMValueRef lt_reduce_rotated(lt_ll *l, LLVMValueRef v, int64_t by);
void lt_reduce_carry_in(lt_ll_loop *loop, const lt_sums *s);
void lt_reduce_carry_out(const lt_ll_loop *loop, lt_sums *s);

/* Does reduce_runs.c make this sum? Then `walk` says how. In the entry block. */
bool lt_runs_begin(lt_reduction *r);
void lt_runs_sum(const lt_reduction *r, lt_sums *s, lt_point *p); /* its parts in order */
/* reduce_tile.c: emits k where it is walked in tiles (lt_tile_dims), from p, where the task's dims are set. In the
 * entry block. */
bool lt_emit_reduce_tiles(const lt_reduction *r, lt_point *p);
#endif
