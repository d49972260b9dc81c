/* kernel_gather.c: the kinds GATHER and SCATTER (kernels.def): their operands, their keys, their text. */
#include "plan/kinds.h"

void lt_operands_gather(lt_walk *w, const lt_kernel *k) {
  lt_walk_accesses(w, k);
  lt_walk_stores(w, k);
  lt_walk_own(w, &k->gather->data);
  lt_walk_own(w, &k->gather->index);
  lt_walk_own(w, &k->gather->other);
}

void lt_operands_scatter(lt_walk *w, const lt_kernel *k) { lt_operands_gather(w, k); }

void lt_key_gather(lt_str *out, const lt_kernel *k) {
  const lt_gather *g = k->gather;
  lt_key_put(out, g->axis_size), lt_key_put(out, g->axis_stride), lt_key_put(out, g->index_dtype);
}

void lt_key_scatter(lt_str *out, const lt_kernel *k) { lt_key_gather(out, k); }

static void print_rows(lt_str *out, const lt_kernel *k) {
  lt_str_puts(out, "    data ");
  lt_print_access(out, k, &k->gather->data);
  lt_str_puts(out, "\n    index ");
  lt_print_access(out, k, &k->gather->index);
}

void lt_print_gather(lt_str *out, const lt_kernel *k) {
  print_rows(out, k);
  lt_str_puts(out, "\n");
}

void lt_print_scatter(lt_str *out, const lt_kernel *k) {
  print_rows(out, k);
  lt_str_puts(out, "\n    add ");
  lt_print_access(out, k, &k->gather->other);
  lt_str_puts(out, "\n");
}

const char *lt_fault_gather(const lt_kernel *k) {
  const lt_gather *g = k->gather;
  if (k->n_dims < 2 || k->block_dim != LT_NONE || k->n_task_dims >= k->n_dims) return "a gather that is not over rows";
  if (g->data.n_index || g->index.n_index || g->other.n_index) return "a guarded operand of a gather";
  return lt_is_float(g->index_dtype) || g->axis_size < 1 ? "an index that is none" : NULL;
}

const char *lt_fault_scatter(const lt_kernel *k) {
  return k->n_store || k->n_expr ? "a scatter that stores something else" : lt_fault_gather(k);
}
