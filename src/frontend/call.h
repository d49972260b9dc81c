/* call.h: a call of an op, layer or composite, as every source of networks makes it: the text language in expressions,
 * a program through lt_apply. */
#ifndef LT_CALL_H
#define LT_CALL_H
#include "frontend/attrs.h"
#include "frontend/layers.h"

/* One op, layer or composite with everything evaluated. */
typedef struct lt_op_call {
  const char *text; /* as written */
  lt_op op;         /* one of these two is not none */
  lt_layer layer;
  const char *name; /* of the layer, or given to the op; NULL: none */
  const char *key;  /* of a dropout */
  lt_pos pos;
} lt_op_call;
/* Which op or layer a call means, given whether an argument called so is there. */
void lt_call_resolve(lt_op_call *out, const char *text, bool (*has)(const void *ctx, const char *key), const void *ctx,
                     unsigned by_position);
const char *lt_call_operands(const lt_op_call *c); /* "x W b?" */
bool lt_call_needs_name(const lt_op_call *c);      /* makes weights */
lt_value lt_call_emit(const lt_caller *by, lt_graph *g, const lt_op_call *c, const lt_value *in, unsigned n_in,
                      const lt_attr_arg *args, unsigned n_args);
unsigned lt_result_count(const lt_graph *g, lt_value first);
/* more: further names that could have been meant (layers, blocks); NULL: a program asked. */
LT_NORETURN void lt_fail_unknown_op(lt_job *job, const lt_loc *loc, const char *name, const char *const *more);

#endif
