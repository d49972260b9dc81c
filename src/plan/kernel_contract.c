/* kernel_contract.c: the kind CONTRACT (kernels.def): its runs, its operands, its key, its text. */
#include "plan/build.h"
#include "plan/kinds.h"

void lt_contract_cut(lt_contract *c) {
  int64_t steps = 0;
  for (unsigned i = 0; i < c->n_seg; i++) {
    lt_kseg *g = &c->seg[i];
    int64_t n = 1;
    for (unsigned d = 0; d < g->n; d++) n *= g->extent[d];
    g->run = lt_runs_even(g->extent, g->n);
    steps += n;
  }
  c->cut = steps > LT_RUN_CONTRACT;
}

double lt_contract_bytes(const lt_builder *b, const lt_contract *c) {
  return (double)(b->buffer.at[c->a.buffer].bytes + b->buffer.at[c->b.buffer].bytes);
}

void lt_operands_contract(lt_walk *w, const lt_kernel *k) {
  lt_walk_accesses(w, k);
  lt_walk_own(w, &k->contract->a);
  lt_walk_own(w, &k->contract->b);
  lt_walk_stores(w, k);
}

void lt_key_contract(lt_str *out, const lt_kernel *k) {
  const lt_contract *c = k->contract;
  lt_key_put(out, c->row_dim), lt_key_put(out, c->col_dim), lt_key_put(out, c->side_dim);
  lt_key_put(out, c->b_masked), lt_key_put(out, c->n_seg), lt_key_put(out, c->n_border);
  for (unsigned i = 0; i < c->n_border; i++) {
    const lt_kborder *e = &c->border[i];
    lt_key_put(out, e->back), lt_key_put(out, e->add), lt_key_put(out, e->step), lt_key_put(out, e->size);
    lt_key_put_all(out, e->coef, k->n_dims);
  }
  for (unsigned i = 0; i < c->n_seg; i++) {
    const lt_kseg *g = &c->seg[i];
    lt_key_put(out, g->n), lt_key_put(out, g->a_offset), lt_key_put(out, g->b_offset);
    lt_key_put_all(out, g->extent, g->n), lt_key_put_all(out, g->a_stride, g->n),
      lt_key_put_all(out, g->b_stride, g->n);
    lt_key_put_all(out, g->b_dim, k->n_dims);
    lt_key_put(out, c->cut ? g->run.dim : LT_NONE), lt_key_put(out, c->cut ? g->run.per : 0);
  }
}

static bool has_dims(const lt_kseg *g) {
  for (int d = 0; d < LT_MAX_DIMS; d++)
    if (g->b_dim[d]) return true;
  return false;
}

void lt_print_contract(lt_str *out, const lt_kernel *k) {
  const lt_contract *c = k->contract;
  lt_str_printf(out, "    rows dim %d, columns dim %d", c->row_dim, c->col_dim);
  if (c->side_dim) lt_str_printf(out, ", side by side dim %d", c->side_dim);
  lt_str_puts(out, "\n    a = ");
  lt_print_access(out, k, &c->a);
  lt_str_puts(out, "\n    b = ");
  lt_print_access(out, k, &c->b);
  for (unsigned i = 0; i < c->n_seg; i++) {
    lt_str_puts(out, "\n    k ");
    lt_print_list(out, c->seg[i].extent, c->seg[i].n);
    lt_str_printf(out, " a + %lld ", (long long)c->seg[i].a_offset);
    lt_print_list(out, c->seg[i].a_stride, c->seg[i].n);
    lt_str_printf(out, " b + %lld ", (long long)c->seg[i].b_offset);
    lt_print_list(out, c->seg[i].b_stride, c->seg[i].n);
    if (c->cut) lt_str_printf(out, " runs of %lld in k%d", (long long)c->seg[i].run.per, c->seg[i].run.dim);
    if (!has_dims(&c->seg[i])) continue;
    lt_str_puts(out, " b along dims ");
    lt_print_list(out, c->seg[i].b_dim, k->n_dims);
  }
  for (unsigned i = 0; i < c->n_border; i++) {
    const lt_kborder *e = &c->border[i];
    lt_str_printf(out, "\n    image in k-%u: 0 <= %lld + ", e->back, (long long)e->add);
    lt_print_list(out, e->coef, k->n_dims);
    lt_str_printf(out, " + %lld k < %lld", (long long)e->step, (long long)e->size);
  }
  lt_str_puts(out, "\n");
}

static bool borders_fit(const lt_contract *c) {
  for (unsigned i = 0; i < c->n_border; i++) {
    const lt_kborder *e = &c->border[i];
    if (e->step < 1 || e->size < 1 || e->back < 1) return false;
    for (unsigned s = 0; s < c->n_seg; s++)
      if (e->back > c->seg[s].n || c->seg[s].extent[c->seg[s].n - e->back] != c->seg[0].extent[c->seg[0].n - e->back])
        return false;
  }
  return true;
}

static bool runs_fit(const lt_contract *c) {
  for (unsigned i = 0; c->cut && i < c->n_seg; i++) {
    const lt_kseg *g = &c->seg[i];
    if (g->run.dim >= g->n || g->run.per < 1 || g->run.per > g->extent[g->run.dim]) return false;
  }
  return true;
}

static bool side_fits(const lt_kernel *k, int lane) {
  const lt_contract *c = k->contract;
  const int s = c->side_dim;
  for (unsigned i = 0; i < c->n_seg; i++)
    if (s && c->seg[i].b_dim[s]) return false;
  return !s ||
         (s < lane && s != c->row_dim && s != c->col_dim && k->block_dim == LT_NONE && !c->a.stride[s] && !c->b_masked);
}

/* Emission walks rows and columns itself, and reads A once for all lanes. */
const char *lt_fault_contract(const lt_kernel *k) {
  const lt_contract *c = k->contract;
  int lane = k->n_dims - 1;
  bool dims = c->row_dim < lane && c->col_dim < lane && c->row_dim != c->col_dim && c->row_dim != k->block_dim &&
              c->col_dim != k->block_dim;
  if (!dims) return "rows and columns that are not two output dims beside blocks and lanes";
  if (!side_fits(k, lane)) return "a dim side by side that is not like the lanes";
  if (c->n_seg < 1 || c->n_seg > LT_COUNT(c->seg)) return "a sum of no products";
  if (!runs_fit(c)) return "runs that are not of K's dims";
  if (!borders_fit(c)) return "a border that is not along K";
  if (c->a.n_index || c->b.n_index) return "a guarded operand of a contraction";
  if (c->a.stride[lane] || (k->block_dim != LT_NONE && c->a.stride[k->block_dim]))
    return "a left operand that changes along the lanes";
  int64_t moves = c->b.stride[c->row_dim] | c->b.stride[c->col_dim];
  for (unsigned i = 0; i < c->n_seg; i++) {
    const int64_t *more = c->seg[i].b_dim;
    moves |= more[c->row_dim] | more[c->col_dim];
    if (more[lane] || (k->block_dim != LT_NONE && more[k->block_dim])) return "segments with lanes of their own";
  }
  return moves ? "a right operand that changes from pixel to pixel" : NULL;
}
