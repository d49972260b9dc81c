/* lower_gemm.c: linear and matmul as contractions: rows of a for pixels, 16 columns of b for lanes.
 *
 * a is read through whatever movement stands before it (strides are free); b is a panel [N/16][K][16] where `choose`
 * has had it packed, otherwise read as it stands. */
#include "plan/lower_gemm.h"
#include "plan/lower_hooks.h"

enum { K_DIM = LT_MAX_DIMS - 1 }; /* stands for k while strides are found out */

typedef struct product {
  int64_t m, k, n;
  bool transpose_a, transpose_b;
  lt_type y;
  int one, row, block, lane, batch;
} product;

static void product_space(lt_kernel_builder *kb, product *p) {
  int rank = p->y.rank;
  p->one = lt_kernel_dim(kb, 1); /* the tile's row dim: every row of a is a column of one row */
  p->batch = p->one + 1;
  for (int i = 0; i < rank - 2; i++) lt_kernel_dim(kb, p->y.dim[i]);
  p->row = lt_kernel_dim(kb, p->m), p->block = lt_kernel_dim(kb, lt_ceil_div(p->n, LT_LANES)),
  p->lane = lt_kernel_dim(kb, LT_LANES);
  kb->k.block_dim = p->block, kb->k.channels = p->n, kb->k.n_task_dims = 1;
  kb->shape = p->y;
  kb->at = (lt_at){0};
  for (int i = 0; i < rank - 2; i++) kb->at.c[i] = lt_coord_dim(p->batch + i);
  kb->at.c[rank - 2] = lt_coord_dim(p->row);
  kb->at.c[rank - 1] = lt_coord_affine(p->block, LT_LANES, 0);
  kb->at.c[rank - 1].coef[p->lane] = 1;
}

/* Coordinates of the batch axes of an operand, which broadcast. */
static void batch_coords(lt_at *at, const product *p, const lt_type *t) {
  for (int i = 0; i < t->rank - 2; i++) {
    int axis = p->y.rank - t->rank + i;
    at->c[i] = t->dim[i] == 1 ? lt_coord_zero() : lt_coord_dim(p->batch + axis);
  }
}

/* The operand's access; *k_step is its stride along k. */
static lt_access matrix_access(lt_kernel_builder *kb, lt_value v, const lt_at *at, int64_t *k_step) {
  lt_at moved = *at;
  lt_value from = lt_resolve(kb->b, v, &moved);
  lt_access a = lt_access_at(kb, from, &moved);
  *k_step = a.stride[K_DIM];
  a.stride[K_DIM] = 0;
  return a;
}

static lt_access access_a(lt_kernel_builder *kb, const product *p, lt_value v, int64_t *k_step) {
  const lt_type *t = lt_type_of(kb->b->g, v);
  lt_at at = {0};
  batch_coords(&at, p, t);
  at.c[t->rank - 2] = lt_coord_dim(p->transpose_a ? K_DIM : p->row);
  at.c[t->rank - 1] = lt_coord_dim(p->transpose_a ? p->row : K_DIM);
  return matrix_access(kb, v, &at, k_step);
}

static lt_access access_b(lt_kernel_builder *kb, const product *p, lt_value v, int64_t *k_step) {
  const lt_type *t = lt_type_of(kb->b->g, v);
  if (kb->b->g->values.at[v].layout.kind != LT_PANEL) {
    lt_at at = {0};
    batch_coords(&at, p, t);
    at.c[t->rank - 2] = p->transpose_b ? kb->at.c[p->y.rank - 1] : lt_coord_dim(K_DIM);
    at.c[t->rank - 1] = p->transpose_b ? lt_coord_dim(K_DIM) : kb->at.c[p->y.rank - 1];
    return matrix_access(kb, v, &at, k_step);
  }
  lt_place place = lt_place_of(kb->b, v);
  lt_access a = lt_access_zero(place.buffer, place.offset);
  int64_t step = p->k * LT_LANES;
  a.stride[p->lane] = 1, a.stride[p->block] = step;
  step *= kb->k.extent[p->block];
  for (int i = t->rank - 3; i >= 0; i--) {
    if (t->dim[i] != 1) a.stride[p->batch + p->y.rank - t->rank + i] = step;
    step *= t->dim[i];
  }
  *k_step = LT_LANES;
  return a;
}

/* All but the left operand, what is computed of the result, and where it goes. */
static lt_contract *begin_product(lt_kernel_builder *kb, lt_builder *b, const lt_unit *u, const lt_node *n,
                                  product *p) {
  if (n->algorithm != LT_ALGORITHM_product) lt_fail_algorithm(b, n);
  lt_kernel_init(kb, b, u, LT_K_CONTRACT);
  product_space(kb, p);
  lt_contract *x = kb->k.contract = LT_NEW(b->a, lt_contract);
  x->row_dim = (uint8_t)p->one, x->col_dim = (uint8_t)p->row, x->n_seg = 1;
  x->seg[0] = (lt_kseg){.n = 1, .extent = {p->k}};
  lt_contract_cut(x);
  x->b = access_b(kb, p, n->in[1], &x->seg[0].b_stride[0]);
  x->b_masked = x->b.masked;
  kb->k.flop = 2.0 * (double)lt_type_count(&p->y) * (double)p->k;
  return x;
}

static void product_of(product *p, const lt_type *y) {
  p->y = *y;
  p->m = y->dim[y->rank - 2], p->n = y->dim[y->rank - 1];
}

static void lower_product(lt_builder *b, const lt_unit *u, product *p, lt_value bias) {
  const lt_node *n = u->root;
  lt_kernel_builder kb;
  product_of(p, lt_type_of(b->g, n->out));
  lt_contract *x = begin_product(&kb, b, u, n, p);
  x->a = access_a(&kb, p, n->in[0], &x->seg[0].a_stride[0]);
  x->a.masked = false;
  kb.k.bytes = lt_contract_bytes(b, x);
  int32_t y = lt_x_result(&kb, kb.k.dtype);
  if (bias) {
    lt_at at = {0};
    at.c[0] = kb.at.c[p->y.rank - 1];
    y = lt_x_map(&kb, LT_OP_add, kb.k.dtype, y, lt_x_read(&kb, bias, &at));
  }
  lt_kernel_result(&kb, y);
  lt_kernel_stores(&kb);
  lt_kernel_finish(&kb);
}

void lt_lower_products(lt_builder *b, const lt_unit *u, const lt_node *n, const lt_row_matrices *from,
                       const lt_row_matrices *to) {
  lt_type y = *lt_type_of(b->g, n->out);
  product p = {.k = lt_type_of(b->g, n->in[0])->dim[2]};
  lt_kernel_builder kb;
  y.dim[1] = from->rows;
  product_of(&p, &y);
  lt_contract *x = begin_product(&kb, b, u, n, &p);
  x->a = lt_access_zero(from->buffer, 0), x->seg[0].a_stride[0] = 1;
  x->a.stride[p.batch] = from->rows * from->step, x->a.stride[p.row] = from->step;
  kb.k.bytes = lt_contract_bytes(b, x);
  lt_store s = {lt_access_zero(to->buffer, 0), lt_x_result(&kb, kb.k.dtype)};
  s.to.stride[p.batch] = to->rows * to->step, s.to.stride[p.row] = to->step;
  s.to.stride[p.block] = LT_LANES, s.to.stride[p.lane] = 1;
  lt_vec_push(b->a, &kb.store, s);
  lt_kernel_finish(&kb);
}

static int64_t size_of_k(const lt_builder *b, const lt_node *n, bool transpose_a) {
  const lt_type *t = lt_type_of(b->g, n->in[0]);
  return t->dim[t->rank - (transpose_a ? 2 : 1)];
}

LT_LOWER(linear) {
  product p = {.k = size_of_k(b, u->root, false)};
  lower_product(b, u, &p, u->root->in[2]);
}

LT_LOWER(matmul) {
  const lt_matmul_attrs *a = u->root->attrs;
  product p = {
    .k = size_of_k(b, u->root, a->transpose_a), .transpose_a = a->transpose_a, .transpose_b = a->transpose_b};
  lower_product(b, u, &p, 0);
}
