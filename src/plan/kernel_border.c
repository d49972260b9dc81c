/* kernel_border.c: the kind BORDER (kernels.def): its operand, its key, its text. */
#include "plan/kinds.h"

void lt_operands_border(lt_walk *w, const lt_kernel *k) {
  lt_walk_accesses(w, k);
  lt_walk_stores(w, k);
  lt_walk_buffer(w, &k->border->buffer);
}

void lt_key_border(lt_str *out, const lt_kernel *k) {
  const lt_border *b = k->border;
  lt_key_put(out, b->outer), lt_key_put(out, b->height), lt_key_put(out, b->width), lt_key_put(out, b->inner);
  for (int i = 0; i < 4; i++) lt_key_put(out, b->halo[i]);
}

void lt_print_border(lt_str *out, const lt_kernel *k) {
  const lt_border *b = k->border;
  lt_str_printf(out, "    zeros around b%u: %lld images of %lld x %lld x %lld, halo %lld %lld %lld %lld\n", b->buffer,
                (long long)b->outer, (long long)b->height, (long long)b->width, (long long)b->inner,
                (long long)b->halo[0], (long long)b->halo[1], (long long)b->halo[2], (long long)b->halo[3]);
}

const char *lt_fault_border(const lt_kernel *k) {
  const lt_border *b = k->border;
  if (k->n_store || k->n_expr) return "a border that stores something else";
  bool images = k->n_dims == 1 && k->extent[0] == b->outer && b->height > 0 && b->width > 0 && b->inner > 0;
  for (int i = 0; i < 4; i++) images &= b->halo[i] >= 0;
  return images ? NULL : "a border that is not around images";
}
