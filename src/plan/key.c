/* key.c: when two kernels are the same code, and when two plans compute the same.
 *
 * The key is a run of 64-bit words in a fixed order: everything emission looks at, nothing it does not (names, places
 * of buffers in memory, flop counts). Buffers enter by the order in which they are passed, so kernels on different
 * tensors of the same shape share one function. The hash that packed images carry is made of keys (lt_plan_key), so
 * another order of words makes images of before foreign. */
#include "plan/kinds.h"

void lt_key_put(lt_str *s, int64_t v) { lt_str_put(s, (const char *)&v, sizeof v); }

void lt_key_put_all(lt_str *s, const int64_t *v, unsigned n) {
  for (unsigned i = 0; i < n; i++) lt_key_put(s, v[i]);
}

static void put_double(lt_str *s, double v) { lt_str_put(s, (const char *)&v, sizeof v); }

static void put_access(lt_str *s, const lt_kernel *k, const lt_access *a) {
  unsigned dims = (unsigned)k->n_dims + k->n_rdims;
  lt_key_put(s, a->offset), lt_key_put(s, a->n_index), lt_key_put(s, a->masked);
  put_double(s, a->fill);
  lt_key_put_all(s, a->stride, dims);
  for (unsigned i = 0; i < a->n_index; i++) {
    const lt_index *x = &a->index[i];
    lt_key_put_all(s, x->coef, dims);
    lt_key_put(s, x->add), lt_key_put(s, x->div), lt_key_put(s, x->limit), lt_key_put(s, x->stride);
  }
}

static void put_attrs(lt_str *s, lt_op op, const void *attrs) {
  for (unsigned i = 0; attrs && i < lt_op_table[op].n_attrs; i++) {
    lt_attr_print(s, lt_op_table[op].attrs[i].kind, lt_attr_at(op, attrs, i));
    lt_str_put(s, "\0", 1);
  }
}

static void put_code(lt_str *s, const lt_instr *x, uint32_t n) {
  lt_key_put(s, n);
  for (uint32_t i = 0; i < n; i++, x++) {
    lt_key_put(s, x->kind), lt_key_put(s, x->dtype), lt_key_put(s, x->access);
    bool takes = x->kind == LT_X_MAP || x->kind == LT_X_RANDOM;
    for (int j = 0; takes && j < 3; j++) lt_key_put(s, x->arg[j]);
    if (x->kind == LT_X_CONST) put_double(s, x->value);
    if (x->kind == LT_X_RANDOM) lt_key_put(s, (int64_t)x->stream);
    if (x->kind != LT_X_MAP) continue;
    lt_key_put(s, x->op);
    put_attrs(s, x->op, x->attrs);
  }
}

typedef struct keyed { lt_str *out; const lt_kernel *k; lt_operand_role role; } keyed;

static void put_operand(void *arg, const lt_operand *o) {
  const keyed *x = arg;
  if (o->role != x->role) return;
  if (o->role == LT_OPERAND_STORE) lt_key_put(x->out, x->k->store[o->index].value);
  if (o->access) put_access(x->out, x->k, o->access);
}

static void put_operands(lt_str *out, const lt_kernel *k, lt_operand_role role) {
  lt_operands(k, put_operand, &(keyed){out, k, role});
}

/* Which operands stand in one buffer: code has one pointer to it. */
static void put_same_buffers(lt_str *out, const lt_kernel *k) {
  uint32_t n, *first = lt_kernel_same_buffers(out->arena, k, &n);
  for (uint32_t i = 0; i < n; i++) lt_key_put(out, first[i]);
}

void lt_kernel_key(lt_str *out, const lt_kernel *k) {
  lt_key_put(out, k->kind), lt_key_put(out, k->dtype), lt_key_put(out, k->acc), lt_key_put(out, k->n_dims);
  lt_key_put(out, k->n_rdims), lt_key_put(out, k->n_task_dims), lt_key_put(out, k->block_dim),
    lt_key_put(out, k->channels);
  lt_key_put(out, k->reduce), lt_key_put(out, k->runs.dim), lt_key_put(out, k->runs.per);
  lt_key_put_all(out, k->extent, (unsigned)k->n_dims + k->n_rdims);
  lt_key_put(out, k->n_access);
  put_operands(out, k, LT_OPERAND_ACCESS);
  put_code(out, k->rexpr, k->n_rexpr);
  put_code(out, k->expr, k->n_expr);
  lt_key_put(out, k->n_store);
  put_operands(out, k, LT_OPERAND_STORE);
  put_operands(out, k, LT_OPERAND_OWN);
  put_same_buffers(out, k);
  if (lt_kinds[k->kind].key) lt_kinds[k->kind].key(out, k);
}

void lt_plan_key(lt_str *out, const lt_plan *p) {
  lt_str_printf(out, "%lld\n", (long long)p->out_bytes); /* the region may go on behind what is read */
  for (uint32_t i = 0; i < p->n_buffer; i++) {
    const lt_buffer *x = &p->buffer[i];
    lt_str_printf(out, "%d %u %lld %lld %d\n", (int)x->region, x->slot, (long long)x->offset, (long long)x->bytes,
                  (int)x->dtype);
  }
  for (uint32_t i = 0; i < p->n_kernel; i++) {
    uint32_t n, *ids = lt_kernel_buffers_all(out->arena, &p->kernel[i], &n);
    lt_kernel_key(out, &p->kernel[i]);
    for (uint32_t k = 0; k < n; k++) lt_str_printf(out, " %u", ids[k]);
  }
  lt_plan_consts_key(out, p);
}
