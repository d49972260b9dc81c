/* lower_reduce.c: sums, maxima and argmax over axes. Output dims are the axes that stay, reduced dims those that go,
 * both in the order of the operand, so that the order of a sum is that of the elements. Where the channels stay and are
 * read in blocks, the lanes are 16 of them. */
#include "plan/lower_hooks.h"

static bool reduced(const lt_reduced *r, unsigned axis) {
  for (int64_t i = 0; i < r->axes.n; i++)
    if (r->axes.v[i] == axis) return true;
  return false;
}

/* Dims: sets kb's coordinates in the result and returns those in the operand. */
static lt_at make_dims(lt_kernel_builder *kb, const lt_reduced *r, const lt_type *x, bool blocked) {
  lt_at in = {0}, out = {0};
  unsigned k = 0;
  for (unsigned i = 0; i < x->rank; i++) {
    if (reduced(r, i)) continue;
    int d = lt_kernel_dim(kb, blocked && i == 1 ? lt_ceil_div(x->dim[i], LT_LANES) : x->dim[i]);
    in.c[i] = lt_coord_dim(d);
    if (blocked && i == 1) in.c[i].coef[d] = LT_LANES, kb->k.block_dim = d, kb->k.channels = x->dim[i];
  }
  if (blocked) in.c[1].coef[lt_kernel_dim(kb, LT_LANES)] = 1;
  else if (!kb->k.n_dims) lt_kernel_dim(kb, 1);
  for (unsigned i = 0; i < x->rank; i++) {
    bool gone = reduced(r, i);
    if (!gone || r->keepdims) out.c[k++] = gone ? lt_coord_zero() : in.c[i];
  }
  for (unsigned i = 0; i < x->rank; i++)
    if (reduced(r, i)) in.c[i] = lt_coord_dim(lt_kernel_rdim(kb, x->dim[i]));
  if (!kb->k.n_rdims) lt_kernel_rdim(kb, 1);
  kb->at = out;
  return in;
}

static void lower_reduce(lt_builder *b, const lt_unit *u, lt_reduce_kind kind) {
  const lt_node *n = u->root;
  const lt_type *x = lt_type_of(b->g, n->in[0]), *y = lt_type_of(b->g, n->out);
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, LT_K_REDUCE);
  kb.k.dtype = kb.k.acc = x->dtype;
  kb.k.reduce = kind;
  lt_reduced over = lt_facts(n)->axes(n);
  bool blocked = lt_unit_blocked(b, u, x) && !reduced(&over, 1);
  lt_at in = make_dims(&kb, &over, x, blocked), out = kb.at;
  lt_kernel_use(&kb, &kb.rexpr);
  kb.shape = *x, kb.at = in;
  lt_kernel_last(&kb, lt_x_value(&kb, n->in[0]));
  lt_kernel_use(&kb, &kb.expr);
  kb.shape = *y, kb.at = out;
  int32_t r = lt_x_result(&kb, kind == LT_REDUCE_ARGMAX ? LT_I64 : x->dtype);
  lt_kernel_result(&kb, kind == LT_REDUCE_ARGMAX ? lt_x_cast(&kb, LT_I32, r) : r);
  lt_kernel_stores(&kb);
  lt_kernel_finish(&kb);
}

LT_LOWER(sum) { lower_reduce(b, u, LT_SUM_TREE16); }
LT_LOWER(reduce_max) { lower_reduce(b, u, LT_REDUCE_MAX); }
LT_LOWER(argmax) { lower_reduce(b, u, LT_REDUCE_ARGMAX); }
