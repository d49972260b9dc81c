/* maker.h: what makes networks: random choices, values to choose from, one more statement. */
#ifndef LT_HUNT_MAKER_H
#define LT_HUNT_MAKER_H
#include "hunt.h"

enum { MOST_ELEMENTS = 9000 };

typedef struct maker {
  ht_net *net;
  ht_shapes shapes;
  uint64_t seed, at;
  lt_dtype dtype; /* of most floats here */
  int64_t work;   /* multiplications so far, about */
  int64_t budget;
  bool large;  /* one in twenty is; the others are a block or an op or two, so that many are tried in an hour */
  bool parts;  /* a network of parts */
  bool broken; /* a statement that was meant to be valid is refused: the finding */
  unsigned grads, loss;
} maker;

/* ---- chance ---- */

static inline int64_t pick(maker *m, int64_t n) { return n > 1 ? lt_random_u32(m->seed, 3, m->at++) % n : 0; }
static inline bool chance(maker *m, int percent) { return pick(m, 100) < percent; }
#define PICK(m, list) ((list)[pick(m, LT_COUNT(list))])
int64_t pick_channels(maker *m);
int64_t pick_size(maker *m, int64_t area); /* of an image's side */
int64_t pick_divisor(maker *m, int64_t n);

/* ---- values to choose from ---- */

typedef struct want {
  unsigned dtypes; /* bits of lt_dtype; 0: the network's own */
  int min_rank, max_rank;
  int64_t most;        /* elements; 0: any */
  const lt_type *like; /* of this very shape */
} want;
enum { ANY_DTYPE = (1 << LT_DTYPES) - 1, WHOLE = 1 << LT_I32 | 1 << LT_I64 };

bool fits(const maker *m, unsigned v, const want *w);
unsigned pick_value(maker *m, const want *w); /* the late ones more often; 0: there is none */
unsigned pick_or_make(maker *m, const want *w, lt_type t);
unsigned pick_image(maker *m); /* rank 4; made if there is none */
unsigned pick_matrix(maker *m);
const lt_type *type_of(const maker *m, unsigned v);

/* ---- one more statement ---- */

unsigned make_leaf(maker *m, ht_kind kind, lt_type t, const char *init);
/* An input, a param, a state, now and then a constant: of floats normal with this scale. */
unsigned make_operand(maker *m, lt_type t, double scale);
unsigned make_param(maker *m, unsigned rank, const int64_t *dim, double scale);
unsigned make_const(maker *m, lt_type t);
unsigned make_number(maker *m, lt_dtype t, double x); /* a scalar constant */
ht_statement *begin(maker *m, ht_kind kind, const char *op, unsigned n_in, const unsigned *in);
void put_attr(ht_statement *s, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void put_pair(ht_statement *s, const char *key, const int64_t v[2], int64_t def);
void put_list(ht_statement *s, const char *key, const int64_t *v, unsigned n);
unsigned finish(maker *m, ht_statement *s); /* the first result, 0 when the network is broken */
unsigned make_op(maker *m, const char *op, unsigned n_in, const unsigned *in); /* without attributes */
unsigned unary(maker *m, const char *op, unsigned x);
unsigned binary(maker *m, const char *op, unsigned a, unsigned b);
unsigned mild(maker *m, unsigned x); /* half of the time through tanh, so that values stay small */
bool spend(maker *m, double work);   /* false: too much */

/* ---- windows ---- */

typedef struct windows { int64_t kernel[2], stride[2], dilation[2], pad[4], out[2]; bool ceil; } windows;
windows pick_windows(maker *m, const lt_type *image, bool pool);
void put_windows(ht_statement *s, const windows *w, bool kernel, int64_t stride_default);

/* ---- rules.c, rules_shape.c, rules_window.c: one for each op, by itself or by its columns ---- */

bool make_of_op(maker *m, lt_op op); /* false: it did not work out this time */
bool has_rule(lt_op op);
bool make_of_layer(maker *m, unsigned layer);
bool has_layer_rule(unsigned layer);
int64_t pick_axis(maker *m, unsigned rank); /* also counted from the end */
bool rule_reshape(maker *m);
bool rule_flatten(maker *m);
bool rule_transpose(maker *m);
bool rule_broadcast_to(maker *m);
bool rule_concat(maker *m);
bool rule_slice(maker *m);
bool rule_pad(maker *m);
bool rule_conv2d(maker *m);
bool rule_conv2d_grad_input(maker *m);
bool rule_conv2d_grad_weight(maker *m);
bool rule_deconv2d(maker *m);
bool rule_winograd(maker *m);
bool rule_im2col(maker *m);
bool rule_col2im(maker *m);
bool rule_pool(maker *m, const char *op);
bool rule_avg_pool_grad(maker *m);
bool layer_conv2d(maker *m);
bool layer_deconv2d(maker *m);
bool layer_conv2d_simple(maker *m);
bool layer_pooling(maker *m, const char *layer);

/* ---- nets.c: structures that people build ---- */

void make_structure(maker *m, unsigned *x); /* one more block on x */
unsigned make_head(maker *m, unsigned x);   /* a loss */
/* Padded by half of the kernel; 0: it would be too much, or x is 0. Each of the other two may leave x as it is. */
unsigned net_conv(maker *m, unsigned x, int64_t out, int64_t kernel, int64_t stride, int64_t groups);
unsigned net_norm(maker *m, unsigned x);
unsigned net_act(maker *m, unsigned x);

/* ---- nets_parts.c ---- */

unsigned start_of_parts(maker *m);
void make_parts(maker *m, unsigned *x); /* one more block on x */
#endif
