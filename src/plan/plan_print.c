/* plan_print.c: plans as text, for people. */
#include "plan/kinds.h"

static const char *const regions[] = {"io", "state", "out", "scratch", "const"};
static const char *const reductions[] = {"sum of 16", "sum in one chain", "maximum", "index of the maximum"};
static const char *const roles[] = {"input", "hyperparameter", "output"};

void lt_print_list(lt_str *s, const int64_t *v, unsigned n) {
  lt_str_puts(s, "[");
  for (unsigned i = 0; i < n; i++) lt_str_printf(s, "%s%lld", i ? " " : "", (long long)v[i]);
  lt_str_puts(s, "]");
}

void lt_print_access(lt_str *s, const lt_kernel *k, const lt_access *a) {
  unsigned n = (unsigned)k->n_dims + k->n_rdims;
  lt_str_printf(s, "b%u + %lld ", a->buffer, (long long)a->offset);
  lt_print_list(s, a->stride, n);
  for (unsigned i = 0; i < a->n_index; i++) {
    const lt_index *x = &a->index[i];
    lt_str_puts(s, " + ");
    lt_print_list(s, x->coef, n);
    lt_str_printf(s, "+%lld /%lld <%lld *%lld", (long long)x->add, (long long)x->div, (long long)x->limit,
                  (long long)x->stride);
  }
  if (a->masked) lt_str_puts(s, " masked");
  if ((a->masked || a->n_index) && a->fill != 0) lt_str_puts(s, " else "), lt_str_double(s, a->fill);
}

static void put_code(lt_str *s, const lt_kernel *k, const char *title, const lt_instr *x, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    lt_str_printf(s, "    %s%u: %s = ", title, i, lt_dtype_name(x[i].dtype));
    switch (x[i].kind) {
    case LT_X_LOAD: lt_print_access(s, k, &k->access[x[i].access]); break;
    case LT_X_CONST: lt_str_double(s, x[i].value); break;
    case LT_X_RESULT: lt_str_puts(s, "result"); break;
    case LT_X_COUNT: lt_str_puts(s, "count"); break;
    case LT_X_INDEX: lt_str_printf(s, "index of dim %d", x[i].access); break;
    case LT_X_MAP:
    case LT_X_RANDOM:
      lt_str_puts(s, x[i].kind == LT_X_RANDOM ? "random" : lt_op_table[x[i].op].name);
      for (int j = 0; j < 3 && x[i].arg[j] >= 0; j++) lt_str_printf(s, " %d", x[i].arg[j]);
    }
    lt_str_puts(s, "\n");
  }
}

static void put_kernel(lt_str *s, uint32_t i, const lt_kernel *k) {
  lt_str_printf(s, "  kernel %u `%s` %s (%s) dims ", i, k->name, lt_kinds[k->kind].name, k->op);
  lt_print_list(s, k->extent, k->n_dims);
  if (k->n_rdims)
    lt_str_printf(s, " %s over ", reductions[k->reduce]), lt_print_list(s, k->extent + k->n_dims, k->n_rdims);
  if (k->runs.per) lt_str_printf(s, " in runs of %lld of dim %d", (long long)k->runs.per, k->n_dims + k->runs.dim);
  if (k->block_dim != LT_NONE) lt_str_printf(s, " channels %lld in dim %d", (long long)k->channels, k->block_dim);
  lt_str_printf(s, " tasks %u\n", k->n_task_dims);
  put_code(s, k, "r", k->rexpr, k->n_rexpr);
  if (lt_kinds[k->kind].print) lt_kinds[k->kind].print(s, k);
  put_code(s, k, "x", k->expr, k->n_expr);
  for (uint32_t j = 0; j < k->n_store; j++) {
    lt_str_puts(s, "    store ");
    lt_print_access(s, k, &k->store[j].to);
    lt_str_printf(s, " = x%d\n", k->store[j].value);
  }
}

static void put_check(lt_str *s, const lt_plan *p, const lt_index_check *c) {
  lt_str_printf(s, "  check `%s` + %lld, dims ", p->slot[c->slot].name, (long long)c->offset);
  lt_print_list(s, c->extent, c->n_dims);
  lt_str_puts(s, " strides ");
  lt_print_list(s, c->stride, c->n_dims);
  lt_str_printf(s, ", below %lld\n", (long long)c->limit);
}

void lt_plan_print(lt_str *s, const lt_plan *p) {
  lt_str_printf(s, "plan %s: region %lld bytes, scratch %lld bytes, constants %lld bytes\n", p->name,
                (long long)p->region_bytes, (long long)p->scratch_bytes, (long long)p->const_bytes);
  for (uint32_t i = 0; i < p->n_slot; i++)
    lt_str_printf(s, "  slot %u %s `%s` %s\n", i, roles[p->slot[i].role], p->slot[i].name,
                  lt_type_text(s->arena, &p->slot[i].type));
  for (uint32_t i = 0; i < p->check.n; i++) put_check(s, p, &p->check.at[i]);
  for (uint32_t i = 0; i < p->n_buffer; i++) {
    const lt_buffer *b = &p->buffer[i];
    if (b->first < 0) continue;
    lt_str_printf(s, "  b%u `%s` %s", i, b->name, regions[b->region]);
    if (b->region == LT_REGION_IO) lt_str_printf(s, " %u", b->slot);
    lt_str_printf(s, " + %lld, %lld bytes, kernels %d to %d\n", (long long)b->offset, (long long)b->bytes, b->first,
                  b->last);
  }
  for (uint32_t i = 0; i < p->n_kernel; i++) put_kernel(s, i, &p->kernel[i]);
}
