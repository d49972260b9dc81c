/* lower_gather.c: gather and scatter_add: rows over all axes but the indexed one, which is the lane dim. */
#include "plan/lower_hooks.h"

/* Strides of a plain value over the kernel's dims: the axes but `axis` in order, then `axis`. */
static lt_access rows_of(lt_builder *b, lt_value v, int64_t axis, bool lanes) {
  const lt_type *t = lt_type_of(b->g, v);
  int64_t stride[LT_MAX_RANK];
  lt_place p = lt_place_of(b, v);
  lt_access a = lt_access_zero(p.buffer, p.offset);
  unsigned d = 0;
  lt_type_strides(t, stride);
  for (unsigned i = 0; i < t->rank; i++)
    if ((int64_t)i != axis) a.stride[d++] = stride[i];
  if (lanes) a.stride[d] = stride[axis];
  return a;
}

/* The index, read through whatever movement stands before it: what a repetition repeats stands there once. */
static lt_access index_access(lt_kernel_builder *kb, lt_value index) {
  lt_at at = kb->at;
  lt_value from = lt_resolve(kb->b, index, &at);
  return lt_access_at(kb, from, &at);
}

static void lower_indexed(lt_builder *b, const lt_unit *u, int64_t axis, bool scatter) {
  const lt_node *n = u->root;
  const lt_type *index = lt_type_of(b->g, n->in[1]);
  lt_value data = scatter ? n->out : n->in[0];
  const lt_type *t = lt_type_of(b->g, data);
  int64_t stride[LT_MAX_RANK];
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, scatter ? LT_K_SCATTER : LT_K_GATHER);
  kb.shape = *lt_type_of(b->g, n->out);
  kb.at = (lt_at){0};
  for (unsigned i = 0; i < index->rank; i++)
    if ((int64_t)i != axis) kb.at.c[i] = lt_coord_dim(lt_kernel_dim(&kb, index->dim[i]));
  kb.at.c[axis] = lt_coord_dim(lt_kernel_dim(&kb, index->dim[axis]));
  if (kb.k.n_dims == 1) { /* there is a row, if only one */
    kb.k.extent[1] = kb.k.extent[0], kb.k.extent[0] = 1, kb.k.n_dims = 2;
    kb.at.c[axis] = lt_coord_dim(1);
  }
  lt_gather *x = LT_NEW(b->a, lt_gather);
  lt_type_strides(t, stride);
  *x = (lt_gather){.data = rows_of(b, data, axis, false),
                   .index = index_access(&kb, n->in[1]),
                   .axis_size = t->dim[axis],
                   .axis_stride = stride[axis],
                   .index_dtype = index->dtype};
  x->other = scatter ? rows_of(b, n->in[0], axis, true) : x->data;
  if (index->rank == 1) {
    lt_access *all[] = {&x->data, &x->other};
    for (int i = 0; i < 2; i++) all[i]->stride[1] = all[i]->stride[0], all[i]->stride[0] = 0;
    if (!scatter) x->other = x->data;
  }
  kb.k.gather = x;
  if (!scatter) {
    lt_kernel_result(&kb, lt_x_result(&kb, t->dtype));
    lt_kernel_stores(&kb);
  }
  lt_kernel_finish(&kb);
}

LT_LOWER(gather) { lower_indexed(b, u, ((const lt_gather_attrs *)u->root->attrs)->axis, false); }
LT_LOWER(scatter_add) { lower_indexed(b, u, ((const lt_scatter_add_attrs *)u->root->attrs)->axis, true); }
