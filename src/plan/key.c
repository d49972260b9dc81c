/* key.c: when two kernels are the same code, and which buffers a kernel's function is given.
 *
 * The key is a run of 64-bit words in a fixed order: everything emission looks at, nothing it does not (names, places of
 * buffers in memory, flop counts). Buffers enter by the order in which they are passed, so kernels on different tensors of
 * the same shape share one function. */
#include "plan/plan.h"

static void put(lt_str *s, int64_t v) { lt_str_put(s, (const char *)&v, sizeof v); }

static void put_all(lt_str *s, const int64_t *v, unsigned n) {
  for (unsigned i = 0; i < n; i++) put(s, v[i]);
}

static void put_double(lt_str *s, double v) { lt_str_put(s, (const char *)&v, sizeof v); }

static void put_access(lt_str *s, const lt_kernel *k, const lt_access *a) {
  unsigned dims = (unsigned)k->n_dims + k->n_rdims;
  put(s, a->offset), put(s, a->n_index), put(s, a->masked);
  put_double(s, a->fill);
  put_all(s, a->stride, dims);
  for (unsigned i = 0; i < a->n_index; i++) {
    const lt_index *x = &a->index[i];
    put_all(s, x->coef, dims);
    put(s, x->add), put(s, x->div), put(s, x->limit), put(s, x->stride);
  }
}

static void put_attrs(lt_str *s, lt_op op, const void *attrs) {
  for (unsigned i = 0; attrs && i < lt_op_table[op].n_attrs; i++) {
    lt_attr_print(s, lt_op_table[op].attrs[i].kind, lt_attr_at(op, attrs, i));
    lt_str_put(s, "\0", 1);
  }
}

static void put_code(lt_str *s, const lt_instr *x, uint32_t n) {
  put(s, n);
  for (uint32_t i = 0; i < n; i++, x++) {
    put(s, x->kind), put(s, x->dtype), put(s, x->access);
    bool takes = x->kind == LT_X_MAP || x->kind == LT_X_RANDOM;
    for (int j = 0; takes && j < 3; j++) put(s, x->arg[j]);
    if (x->kind == LT_X_CONST) put_double(s, x->value);
    if (x->kind == LT_X_RANDOM) put(s, (int64_t)x->stream);
    if (x->kind != LT_X_MAP) continue;
    put(s, x->op);
    put_attrs(s, x->op, x->attrs);
  }
}

static void put_contract(lt_str *s, const lt_kernel *k) {
  const lt_contract *c = k->contract;
  put_access(s, k, &c->a), put_access(s, k, &c->b);
  put(s, c->row_dim), put(s, c->col_dim), put(s, c->b_masked), put(s, c->n_seg);
  for (unsigned i = 0; i < c->n_seg; i++) {
    const lt_kseg *g = &c->seg[i];
    put(s, g->n), put(s, g->a_offset), put(s, g->b_offset);
    put_all(s, g->extent, g->n), put_all(s, g->a_stride, g->n), put_all(s, g->b_stride, g->n);
  }
}

void lt_kernel_key(lt_str *out, const lt_kernel *k) {
  put(out, k->kind), put(out, k->dtype), put(out, k->acc), put(out, k->n_dims), put(out, k->n_rdims);
  put(out, k->n_task_dims), put(out, k->block_dim), put(out, k->channels), put(out, k->reduce);
  put_all(out, k->extent, (unsigned)k->n_dims + k->n_rdims);
  put(out, k->n_access);
  for (uint32_t i = 0; i < k->n_access; i++) put_access(out, k, &k->access[i]);
  put_code(out, k->rexpr, k->n_rexpr);
  put_code(out, k->expr, k->n_expr);
  put(out, k->n_store);
  for (uint32_t i = 0; i < k->n_store; i++) put(out, k->store[i].value), put_access(out, k, &k->store[i].to);
  if (k->contract) put_contract(out, k);
  if (k->gather) {
    put_access(out, k, &k->gather->data), put_access(out, k, &k->gather->index), put_access(out, k, &k->gather->other);
    put(out, k->gather->axis_size), put(out, k->gather->axis_stride), put(out, k->gather->index_dtype);
  }
  if (k->border) {
    put(out, k->border->outer), put(out, k->border->height), put(out, k->border->width), put(out, k->border->inner);
    for (int i = 0; i < 4; i++) put(out, k->border->halo[i]);
  }
}

/* expr.c's lt_emit_buffers loads them in the same order. */
uint32_t lt_kernel_buffers(const lt_kernel *k, uint32_t *out, uint32_t max) {
  uint32_t n = 0;
#define GIVE(b) do { if (n < max) out[n] = (b); n++; } while (0)
  for (uint32_t i = 0; i < k->n_access; i++) GIVE(k->access[i].buffer);
  if (k->contract) { GIVE(k->contract->a.buffer); GIVE(k->contract->b.buffer); }
  for (uint32_t i = 0; i < k->n_store; i++) GIVE(k->store[i].to.buffer);
  if (k->gather) { GIVE(k->gather->data.buffer); GIVE(k->gather->index.buffer); GIVE(k->gather->other.buffer); }
  if (k->border) GIVE(k->border->buffer);
#undef GIVE
  return n;
}
