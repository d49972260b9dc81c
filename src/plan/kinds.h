/* kinds.h: what a kind of kernel brings along (kernels.def), and the pieces that its hooks are made of. */
#ifndef LT_KINDS_H
#define LT_KINDS_H
#include "plan/operands.h"

typedef struct lt_walk lt_walk; /* a walk over operands under way */

typedef struct lt_kind {
  const char *name;
  void (*operands)(lt_walk *w, const lt_kernel *k);
  void (*key)(lt_str *out, const lt_kernel *k);   /* NULL: nothing of its own */
  void (*print)(lt_str *out, const lt_kernel *k); /* NULL: nothing of its own */
  const char *(*fault)(const lt_kernel *k);       /* NULL: nothing of its own */
  bool merge, in_place;
} lt_kind;
extern const lt_kind lt_kinds[];

#define LT_HOOKS_OWN(name)                                                                                             \
  void lt_operands_##name(lt_walk *w, const lt_kernel *k);                                                             \
  void lt_key_##name(lt_str *out, const lt_kernel *k);                                                                 \
  void lt_print_##name(lt_str *out, const lt_kernel *k);                                                               \
  const char *lt_fault_##name(const lt_kernel *k);
#define LT_HOOKS_NONE(name)
#define LT_KERNEL(NAME, name, own, dims, place, tasks) LT_HOOKS_##own(name)
#include "plan/kernels.def"
#undef LT_KERNEL
#undef LT_HOOKS_OWN
#undef LT_HOOKS_NONE

/* For lt_operands_…: every kind has accesses and stores, and puts its own before, between or behind them. */
void lt_walk_accesses(lt_walk *w, const lt_kernel *k);
void lt_walk_stores(lt_walk *w, const lt_kernel *k);
void lt_walk_own(lt_walk *w, lt_access *a);
void lt_walk_buffer(lt_walk *w, uint32_t *buffer); /* one that is touched as a whole */

/* For lt_key_…: words in a fixed order. Accesses are in the key already. */
void lt_key_put(lt_str *out, int64_t v);
void lt_key_put_all(lt_str *out, const int64_t *v, unsigned n);

/* For lt_print_…: lines after the kernel's first. */
void lt_print_list(lt_str *out, const int64_t *v, unsigned n);
void lt_print_access(lt_str *out, const lt_kernel *k, const lt_access *a);
#endif
