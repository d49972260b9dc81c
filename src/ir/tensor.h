/* tensor.h: the interpreter: its tensors (tensor.c), what it computes (eval.c, op_*.c), random numbers (random.c). */
#ifndef LT_TENSOR_H
#define LT_TENSOR_H
#include "ir/data.h"

/* Floats are held as double, integers and bool as int64_t, row-major, whatever the dtype. */
struct lt_tensor {
  lt_type type;
  union { double *f; int64_t *i; };
};
lt_tensor *lt_tensor_new(lt_arena *a, const lt_type *t); /* zeros */
lt_tensor *lt_tensor_copy(lt_arena *a, const lt_tensor *t);
lt_tensor *lt_tensor_of(lt_arena *a, const lt_data *d);
bool lt_tensor_eq(const lt_tensor *a, const lt_tensor *b); /* same type, same bits */
/* from the dtype's own bytes (f32, i32, …) */
lt_tensor *lt_tensor_import(lt_arena *a, const lt_type *t, const void *data);
void lt_tensor_read(lt_tensor *t, const void *data); /* the same into a tensor that is there */
void lt_tensor_export(const lt_tensor *t, void *data);
double lt_tensor_at(const lt_tensor *t, int64_t i);    /* element i as double */
void lt_tensor_set(lt_tensor *t, int64_t i, double v); /* rounded to whole for integers */

/* LT_EVAL_DOUBLE: everything in double, the oracle. LT_EVAL_ROUND: f32 results are rounded to f32 after each node, as
 * constants must be when they are folded. LT_EVAL_STIR: results of any float type are moved at random by up to a unit
 * in the last place and rounded: by so much may results of the whole differ from double's (Monte Carlo arithmetic,
 * D. S. Parker 1997). */
typedef enum lt_eval_mode { LT_EVAL_DOUBLE, LT_EVAL_ROUND, LT_EVAL_STIR } lt_eval_mode;
typedef struct lt_eval {
  lt_job *job;
  lt_arena *arena; /* where results live */
  const lt_graph *g;
  lt_eval_mode mode;
  bool magnitudes;         /* operands are magnitudes: an op that multiplies by numbers of its own takes theirs */
  const lt_tensor **value; /* by lt_value; NULL: not computed yet */
} lt_eval;
void lt_eval_init(lt_eval *e, lt_job *job, lt_arena *a, const lt_graph *g, lt_eval_mode mode);
void lt_eval_set(lt_eval *e, lt_value leaf, const lt_tensor *t); /* inputs, params, states must be set first */
const lt_tensor *lt_eval_get(lt_eval *e, lt_value v);            /* computes what v needs */
void lt_eval_node(lt_eval *e, const lt_node *n, const lt_tensor *const *in, lt_tensor *const *out); /* out allocated */
/* The scalar meaning of a MAP op: used by the interpreter and by constant folding. */
double lt_map_eval(lt_op op, const void *attrs, double a, double b, double c);

/* Counter-based random numbers, the same everywhere (random.c): a function of (seed, stream, counter). */
uint64_t lt_random_stream(const char *name); /* hash of a name */
uint32_t lt_random_u32(uint64_t seed, uint64_t stream, uint64_t counter);
float lt_random_unit(uint64_t seed, uint64_t stream, uint64_t counter);   /* [0, 1), 24 bits */
float lt_random_normal(uint64_t seed, uint64_t stream, uint64_t counter); /* mean 0, deviation 1 */
/* The seed that random_uniform (LT_X_RANDOM) uses in a step: element i is
 * lt_random_unit(lt_random_step(seed, step), lt_random_stream(key), i). */
static inline uint64_t lt_random_step(uint64_t seed, uint64_t step) { return seed + step * 0xD1342543DE82EF95u; }
/* dtype's own bytes */
void lt_init_fill(const lt_init *init, const lt_type *t, const char *name, uint64_t seed, void *data);

#endif
