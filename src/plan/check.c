/* check.c: what holds of every plan that we make: plan.h says what each rule means. Nothing that a user writes can
 * break one, so plan.c asserts it, and tests ask for plans and kernels that they make by hand. */
#include "plan/kinds.h"

typedef struct check { const lt_plan *p; const lt_kernel *k; const char *fault; } check;

static bool access_fits(const lt_kernel *k, const lt_access *a) {
  for (int d = k->n_dims + k->n_rdims; d < LT_MAX_DIMS; d++)
    if (a->stride[d]) return false;
  for (unsigned i = 0; i < a->n_index; i++)
    if (a->index[i].div < 1 || a->index[i].limit < 1) return false;
  return a->n_index <= LT_MAX_INDEX;
}

static void look_at_operand(void *arg, const lt_operand *o) {
  check *c = arg;
  if (*o->buffer >= c->p->n_buffer) c->fault = "an operand without a buffer";
  if (o->access && !access_fits(c->k, o->access)) c->fault = "an access that is not of the kernel's dims";
}

static bool code_fits(const lt_kernel *k, const lt_instr *x, uint32_t n) {
  for (uint32_t i = 0; i < n; i++, x++) {
    bool takes = x->kind == LT_X_MAP || x->kind == LT_X_RANDOM;
    for (int j = 0; takes && j < 3; j++)
      if (x->arg[j] >= (int32_t)i) return false;
    if (takes && x->arg[0] < 0) return false;
    if (x->kind == LT_X_LOAD && (uint32_t)x->access >= k->n_access) return false;
    if (x->kind == LT_X_INDEX && x->access >= k->n_dims + k->n_rdims) return false;
  }
  return true;
}

static const char *fault_of_dims(const lt_kernel *k) {
  if (k->n_dims < 1 || k->n_dims + k->n_rdims > LT_MAX_DIMS) return "no dims, or too many";
  for (int d = 0; d < k->n_dims + k->n_rdims; d++)
    if (k->extent[d] < 1) return "an empty dim";
  if (k->n_task_dims > k->n_dims) return "more task dims than output dims";
  if (k->block_dim == LT_NONE) return NULL;
  if (k->block_dim < 0 || k->block_dim >= k->n_dims - 1) return "a block dim that is no output dim before the lanes";
  bool whole = k->extent[k->n_dims - 1] == LT_LANES && k->extent[k->block_dim] == lt_ceil_div(k->channels, LT_LANES);
  return whole ? NULL : "blocks that are not those of the channels";
}

static const char *fault_of_kernel(const lt_plan *p, const lt_kernel *k) {
  check c = {p, k, fault_of_dims(k)};
  if (c.fault) return c.fault;
  lt_operands(k, look_at_operand, &c);
  if (c.fault) return c.fault;
  if (!code_fits(k, k->rexpr, k->n_rexpr) || !code_fits(k, k->expr, k->n_expr))
    return "an instruction that reads what is not there";
  for (uint32_t i = 0; i < k->n_store; i++)
    if (k->store[i].value < 0 || (uint32_t)k->store[i].value >= k->n_expr) return "a store of no value";
  if ((k->kind == LT_K_REDUCE) != (k->n_rexpr > 0) || (k->kind != LT_K_REDUCE && k->n_rdims))
    return "a reduction that is none";
  bool sum = k->kind == LT_K_REDUCE && (k->reduce == LT_SUM_TREE16 || k->reduce == LT_SUM_CHAIN);
  if (k->runs.per && (!sum || !lt_is_float(k->acc) || k->runs.dim >= k->n_rdims || k->runs.per < 0 ||
                      k->runs.per > k->extent[k->n_dims + k->runs.dim]))
    return "runs of nothing that is summed";
  return lt_kinds[k->kind].fault ? lt_kinds[k->kind].fault(k) : NULL;
}

const char *lt_plan_fault(const lt_plan *p, const lt_kernel **where) {
  for (uint32_t i = 0; i < p->n_kernel; i++) {
    const char *fault = fault_of_kernel(p, &p->kernel[i]);
    if (!fault) continue;
    if (where) *where = &p->kernel[i];
    return fault;
  }
  return NULL;
}
