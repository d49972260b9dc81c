/* operands.h: one walk over all that a kernel reads and writes. Its order is that in which the kernel's function
 * receives the addresses of its buffers, and everything that goes over operands goes this way: emission, entries, keys,
 * lifetimes, moving. */
#ifndef LT_OPERANDS_H
#define LT_OPERANDS_H
#include "plan/plan.h"

typedef enum lt_operand_role { LT_OPERAND_ACCESS, LT_OPERAND_STORE, LT_OPERAND_OWN } lt_operand_role;

typedef struct lt_operand {
  lt_operand_role role;
  uint32_t index; /* in k->access; in k->store; OWN: how many of the kind's own came before */
  uint32_t *buffer;
  lt_access *access; /* NULL: the buffer as a whole */
} lt_operand;

typedef void (*lt_operand_fn)(void *arg, const lt_operand *o);
void lt_operands(const lt_kernel *k, lt_operand_fn visit, void *arg);
/* The buffers in that order, one for each operand; returns how many there are. */
uint32_t lt_kernel_buffers(const lt_kernel *k, uint32_t *out, uint32_t max);
uint32_t *lt_kernel_buffers_all(lt_arena *a, const lt_kernel *k, uint32_t *n);
/* For each operand the first one in the same buffer: its own number, or a smaller one. */
uint32_t *lt_kernel_same_buffers(lt_arena *a, const lt_kernel *k, uint32_t *n);
/* k without what its accesses have in common for each buffer, the offset of the first: it is the same for kernels that
 * only begin elsewhere, as those of the steps of a loop that is written out. at: those offsets, by operand, in
 * elements. */
lt_kernel lt_kernel_at_bases(lt_arena *a, const lt_kernel *k, int64_t **at);
/* All operands move from buffer i to buffer i + by. */
void lt_kernel_move(lt_kernel *k, uint32_t by);
#endif
