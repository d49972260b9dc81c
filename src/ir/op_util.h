/* op_util.h: what the files of op hooks (op_<family>.c) share: checks that fail with a message, windows, and a walk
 * over several strided arrays at once. Included by these files and by the passes that expand ops; not by anyone
 * else. */
#ifndef LT_OP_UTIL_H
#define LT_OP_UTIL_H
#include "ir/op_hooks.h"
#include "ir/window.h"

/* Emit what the SUGAR node n means on operands in[] (of g) and fill out[0..n->n_out). */
void lt_expand(lt_graph *g, const lt_node *n, const lt_value *in, lt_value *out);
/* The gradient of a SUGAR node as that of its expansion. Operands count as independent, whatever they are made of. */
void lt_vjp_by_expansion(lt_vjp *v, const lt_node *n, const lt_value *in, const lt_value *gout, lt_value *gin);

/* ---- checks; `what` is the operand's name, v the operand ---- */
static inline const char *lt_text_of(lt_graph *g, lt_value v) { return lt_type_text(&g->arena, lt_type_of(g, v)); }
const char *lt_ints_text(lt_arena *a, const int64_t *v, int64_t n); /* "[1, 2]" */
void lt_need_float(lt_graph *g, lt_op op, const char *what, lt_value v);
void lt_need_rank(lt_graph *g, lt_op op, const char *what, lt_value v, unsigned rank, const char *axes);
void lt_need_dtype(lt_graph *g, lt_op op, const char *a_name, lt_value a, const char *b_name, lt_value b);
/* An axis in [-rank, rank) made ≥ 0. */
int64_t lt_need_axis(lt_graph *g, lt_op op, lt_value x, int64_t axis);
/* axes: empty means all; made ≥ 0, sorted; one named twice is an error. */
void lt_need_axes(lt_graph *g, lt_op op, lt_value x, lt_ints *axes);

/* Check the window and count its positions. `image` is what the message calls the image ("x f32[1, 3, 8, 8]"). */
void lt_need_window(lt_graph *g, lt_op op, lt_window *w, const char *image);

/* ---- a row-major walk over dim[0..rank) with offsets into up to four arrays ---- */
typedef struct lt_walk {
  unsigned rank, arrays;
  int64_t dim[LT_MAX_RANK], at[LT_MAX_RANK], stride[4][LT_MAX_RANK], off[4];
} lt_walk;
void lt_walk_init(lt_walk *w, const lt_type *shape);         /* no arrays yet */
void lt_walk_add(lt_walk *w, const lt_type *t);              /* an array of type t, broadcast to the shape */
void lt_walk_add_strides(lt_walk *w, const int64_t *stride); /* an array by strides */
static inline void lt_walk_next(lt_walk *w) {
  for (unsigned d = w->rank; d-- > 0;) {
    for (unsigned k = 0; k < w->arrays; k++) w->off[k] += w->stride[k][d];
    if (++w->at[d] < w->dim[d]) return;
    for (unsigned k = 0; k < w->arrays; k++) w->off[k] -= w->stride[k][d] * w->dim[d];
    w->at[d] = 0;
  }
}
/* out[i] = in[off], both of the same kind (float or integer). */
static inline void lt_tensor_move(lt_tensor *to, int64_t i, const lt_tensor *from, int64_t off) {
  if (lt_is_float(to->type.dtype)) to->f[i] = from->f[off];
  else to->i[i] = from->i[off];
}
static inline double lt_count_of(const lt_graph *g, lt_value v) { return (double)lt_type_count(lt_type_of(g, v)); }
void lt_tensor_assign(lt_tensor *to, const lt_tensor *from); /* the same count and kind, whatever the shapes */

/* ---- emission ---- */
lt_value lt_emit_axis_reduce(lt_graph *g, lt_op op, lt_value x, int64_t axis); /* over one axis, kept as 1 */
lt_value lt_number(lt_graph *g, lt_value like, double c);                      /* a scalar constant of like's dtype */
lt_value lt_reshape_like(lt_graph *g, lt_value x, const lt_type *shape);
lt_value lt_is_maximum(lt_graph *g, lt_value x, lt_value y); /* x equals y, the maximum it is part of; NaN is one */
/* max_pool with a pad_value, by one without */
lt_value lt_emit_bordered_pool(lt_graph *g, const lt_node *n, lt_value x);
/* x + y where both are zero but for ranges of one axis, one beginning where the other ends: put together, a -0 in
 * either is not made a 0; 0: they are something else */
lt_value lt_add_padded(lt_graph *g, lt_value x, lt_value y);
/* a scatter_add by what max_pool_index says, pixel by pixel; 0: it is something else */
lt_value lt_emit_max_pool_grad(lt_graph *g, const lt_node *scatter, const lt_value *in);
void lt_gradients_after(lt_graph *g, lt_value *out, const lt_value *y, const lt_value *seed, unsigned ny,
                        const lt_value *wrt, unsigned n, uint32_t first);
void lt_grad_check(lt_graph *g, const lt_value *y, const lt_value *seed, unsigned ny, const lt_value *wrt, unsigned n);

#endif
