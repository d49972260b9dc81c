/* ops_loss.c: losses over classes: the logarithms at the labels, weighted by class, some labels left out.
 *
 *   loss[n, d…] = -w[t[n, d…]] · x[n, t[n, d…], d…],   of a mean the sum over the sum of the weights
 *
 * A label that is left out has no weight; so has a class that is picked with index -1 (take, gather: 0 there). */
#include "frontend/onnx/import.h"

/* The labels, -1 where they are ignored. */
static lt_value counted(lt_onnx *c, lt_value labels) {
  lt_onnx_attr *a = lt_ox_attr(c, "ignore_index");
  if (!a) return labels;
  lt_value ignored = lt_ox_number(c, labels, (double)lt_ox_int(c, "ignore_index", 0));
  lt_value out = lt_ox_binary(c, LT_OP_equal, labels, ignored), none = lt_ox_number(c, labels, -1);
  return lt_emit(c->g, LT_OP_select, NULL, (lt_value[]){out, none, labels}, 3);
}

/* What each label counts for, of x's type; 0: one each. */
static lt_value weights(lt_onnx *c, lt_value x, lt_value labels) {
  lt_dtype t = lt_type_of(c->g, x)->dtype;
  lt_take_attrs a = {.axis = 0};
  if (lt_ox_has(c, 2)) return lt_emit(c->g, LT_OP_take, &a, (lt_value[]){lt_ox_in(c, 2), labels}, 2);
  if (!lt_ox_attr(c, "ignore_index")) return 0;
  lt_value zero = lt_ox_number(c, labels, 0);
  return lt_cast(c->g, lt_ox_binary(c, LT_OP_less_equal, zero, labels), t);
}

/* x at the labels: [N, d…] of [N, C, d…]. */
static lt_value at_labels(lt_onnx *c, lt_value x, lt_value labels) {
  lt_type t = lt_ox_of(c, x), l = lt_ox_of(c, labels);
  bool fits = t.rank >= 2 && l.rank + 1u == t.rank && l.dim[0] == t.dim[0];
  for (unsigned i = 1; fits && i < l.rank; i++) fits = l.dim[i] == t.dim[i + 1];
  if (!fits)
    lt_ox_refuse(c, "its scores are %s, its labels %s", lt_type_text(c->arena, &t), lt_type_text(c->arena, &l));
  t.dim[1] = 1;
  lt_gather_attrs a = {.axis = 1};
  lt_value index = lt_ox_reshape(c, labels, t.rank, t.dim);
  return lt_ox_reshape(c, lt_emit(c->g, LT_OP_gather, &a, (lt_value[]){x, index}, 2), l.rank, l.dim);
}

static lt_value total(lt_onnx *c, lt_value x) { return lt_reduce(c->g, LT_OP_sum, x, &(lt_ints){0, {0}}, false); }

static lt_value loss_of(lt_onnx *c, lt_value logs) {
  const char *how = lt_ox_text(c, "reduction", "mean");
  lt_value labels = counted(c, lt_ox_in(c, 1)), w = weights(c, logs, labels);
  lt_value each = lt_unary(c->g, LT_OP_neg, at_labels(c, logs, labels));
  if (w) each = lt_ox_binary(c, LT_OP_mul, each, w);
  if (!strcmp(how, "none")) return each;
  if (!strcmp(how, "sum")) return total(c, each);
  if (strcmp(how, "mean")) lt_ox_refuse(c, "reduction=%.20s is unknown", how);
  lt_value n = w ? total(c, w) : lt_ox_number(c, each, (double)lt_type_count(lt_type_of(c->g, each)));
  return lt_ox_binary(c, LT_OP_div, total(c, each), n);
}

void lt_onnx_nll_loss(lt_onnx *c) { lt_ox_result(c, 0, loss_of(c, lt_ox_in(c, 0))); }

void lt_onnx_softmax_loss(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_log_softmax_attrs a = {.axis = 1};
  lt_value logs = lt_emit(c->g, LT_OP_log_softmax, &a, &x, 1);
  lt_ox_result(c, 0, loss_of(c, logs));
  if (lt_ox_wants(c, 1)) lt_ox_result(c, 1, logs);
}
