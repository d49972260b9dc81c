/* ops_gemm.c: matrix products. A weight that ONNX has turned ([N, K]) is transposed by a node, which packing takes in:
 * it is never copied. What is a product of two matrices is `linear`, whatever axes its rows have. */
#include "frontend/onnx/import.h"

static lt_value turned(lt_onnx *c, lt_value x, bool turn) {
  return turn ? lt_transpose(c->g, x, (const int64_t[]){1, 0}) : x;
}

static lt_value scaled(lt_onnx *c, lt_value x, double by) {
  return by == 1 ? x : lt_binary(c->g, LT_OP_mul, x, lt_ox_number(c, x, by));
}

/* C as the bias [N] of linear, which it is where it is a row; 0: it is not. */
static lt_value as_bias(lt_onnx *c, lt_value bias, int64_t n) {
  lt_type t = lt_ox_of(c, bias);
  bool row = (t.rank == 1 && t.dim[0] == n) || (t.rank == 2 && t.dim[0] == 1 && t.dim[1] == n);
  return row ? lt_ox_reshape(c, bias, 1, &n) : 0;
}

void lt_onnx_gemm(lt_onnx *c) {
  double alpha = lt_ox_float(c, "alpha", 1), beta = lt_ox_float(c, "beta", 1);
  bool turn_a = lt_ox_int(c, "transA", 0), turn_b = lt_ox_int(c, "transB", 0);
  lt_value in[3] = {lt_ox_in(c, 0), 0, 0}, bias = 0;
  if (c->opset < 7) lt_ox_int(c, "broadcast", 0); /* as later versions do anyway */
  in[1] = lt_ox_weight(c, 1);
  if (lt_ox_has(c, 2) && beta != 0) bias = scaled(c, lt_ox_weight(c, 2), beta);
  if (lt_ox_of(c, in[0]).rank != 2 || lt_ox_of(c, in[1]).rank != 2) lt_ox_refuse(c, "its operands are no matrices");
  in[0] = turned(c, in[0], turn_a);
  in[1] = turned(c, in[1], turn_b);
  if (bias && alpha == 1) in[2] = as_bias(c, bias, lt_ox_of(c, in[1]).dim[1]);
  lt_value y = scaled(c, lt_emit(c->g, LT_OP_linear, NULL, in, in[2] ? 3 : 2), alpha);
  lt_ox_result(c, 0, bias && !in[2] ? lt_binary(c->g, LT_OP_add, y, bias) : y);
}

/* [..., K] · [K, N]: the rows of a are rows, whatever axes they have. */
static lt_value rows_times(lt_onnx *c, lt_value a, lt_value b) {
  lt_type t = lt_ox_of(c, a), w = lt_ox_of(c, b);
  int64_t rows[2] = {lt_type_count(&t) / t.dim[t.rank - 1], t.dim[t.rank - 1]};
  lt_value x = lt_ox_reshape(c, a, 2, rows), y = lt_emit(c->g, LT_OP_linear, NULL, (lt_value[]){x, b}, 2);
  t.dim[t.rank - 1] = w.dim[1];
  return lt_ox_reshape(c, y, t.rank, t.dim);
}

void lt_onnx_matmul(lt_onnx *c) {
  lt_value a = lt_ox_weight(c, 0), b = lt_ox_weight(c, 1), y;
  lt_type ta = lt_ox_of(c, a), tb = lt_ox_of(c, b);
  bool row = ta.rank == 1, column = tb.rank == 1;
  if (!ta.rank || !tb.rank) lt_ox_refuse(c, "an operand is a scalar");
  if (!lt_is_float(ta.dtype))
    lt_ox_refuse(c, "products of %s are not computed, only of floats", lt_dtype_name(ta.dtype));
  if (row) a = lt_ox_reshape(c, a, 2, (int64_t[]){1, ta.dim[0]});
  if (column) b = lt_ox_reshape(c, b, 2, (int64_t[]){tb.dim[0], 1});
  if (lt_ox_of(c, b).rank == 2) y = rows_times(c, a, b);
  else y = lt_emit(c->g, LT_OP_matmul, NULL, (lt_value[]){a, b}, 2);
  lt_type t = lt_ox_of(c, y);
  if (column) t.rank--;
  if (row) {
    if (!column) t.dim[t.rank - 2] = t.dim[t.rank - 1];
    t.rank--;
  }
  lt_ox_result(c, 0, lt_ox_reshape(c, y, t.rank, t.dim));
}
