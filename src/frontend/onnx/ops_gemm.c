/* ops_gemm.c: matrix products. A weight that ONNX has turned ([N, K]) is transposed by a node, which packing takes in:
 * it is never copied. What is a product of two matrices is `linear`, whatever axes its rows have. */
#include "frontend/onnx/import.h"

#include <ctype.h>

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

/* ---- einsum ------------------------------------------------------------------------------------------------------ */

enum { TERMS = 3, LETTERS = LT_MAX_RANK + 1 };
typedef struct equation { char of[TERMS][LETTERS]; unsigned n_in; bool has_result; } equation;

/* An ellipsis stands for the axes that the letters leave: they get digits, counted from the last. */
static void read_term(lt_onnx *c, char *out, const char *text, size_t n, int rank) {
  int letters = 0, used = 0;
  for (size_t i = 0; i < n; i++) letters += isalpha((unsigned char)text[i]) != 0;
  for (size_t i = 0; i < n; i++) {
    bool dots = n - i >= 3 && !strncmp(text + i, "...", 3);
    if (!dots && !isalpha((unsigned char)text[i])) lt_ox_refuse(c, "its equation has a `%c`", text[i]);
    if (used + (dots ? rank - letters : 1) > LT_MAX_RANK) lt_ox_refuse(c, "its equation has too many letters");
    if (!dots) out[used++] = text[i];
    for (int k = rank - letters; dots && k > 0; k--) out[used++] = (char)('0' + k);
    if (dots) i += 2;
  }
  out[used] = 0;
  if (rank >= 0 && used != rank) lt_ox_refuse(c, "its equation names %d axes of an operand of rank %d", used, rank);
}

static equation read_equation(lt_onnx *c, const char *text) {
  equation e = {.n_in = 0};
  char plain[128];
  size_t n = 0;
  int dots = 0;
  for (const char *p = text; *p && n < sizeof plain - 1; p++)
    if (*p != ' ') plain[n++] = *p;
  plain[n] = 0;
  const char *arrow = strstr(plain, "->"), *end = arrow ? arrow : plain + n;
  for (const char *p = plain; p <= end && e.n_in < TERMS - 1; e.n_in++) {
    const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;
    if (e.n_in >= c->n->in.n) lt_ox_refuse(c, "its equation has more operands than it has");
    int rank = lt_ox_type(c, e.n_in)->rank, letters = 0;
    for (const char *q = p; q < stop; q++) letters += isalpha((unsigned char)*q) != 0;
    if (memchr(p, '.', (size_t)(stop - p))) dots = LT_MAX(dots, rank - letters);
    read_term(c, e.of[e.n_in], p, (size_t)(stop - p), rank);
    p = stop + 1;
  }
  e.has_result = arrow != NULL;
  if (e.n_in != c->n->in.n) lt_ox_refuse(c, "products of %u operands are not read, of one or two they are", c->n->in.n);
  if (!arrow) {
    for (char d = '9'; d > '0'; d--) /* the ellipsis, then letters that stand once */
      if (strchr(e.of[0], d) || strchr(e.of[1], d)) strncat(e.of[TERMS - 1], &d, 1);
    for (char l = 'A'; l <= 'z'; l++) {
      int count = 0;
      for (unsigned i = 0; i < e.n_in; i++)
        for (const char *p = e.of[i]; *p; p++) count += *p == l;
      if (count == 1 && isalpha((unsigned char)l)) strncat(e.of[TERMS - 1], &l, 1);
    }
    return e;
  }
  int letters = 0;
  for (const char *p = arrow + 2; *p; p++) letters += isalpha((unsigned char)*p) != 0;
  read_term(c, e.of[TERMS - 1], arrow + 2, strlen(arrow + 2), strchr(arrow + 2, '.') ? dots + letters : letters);
  return e;
}

/* Sum over what the result lacks, then the axes in its order. */
static lt_value einsum_of_one(lt_onnx *c, const equation *e, lt_value x) {
  const char *in = e->of[0], *out = e->of[TERMS - 1];
  lt_ints axes = {0};
  char left[LETTERS] = "";
  int64_t perm[LT_MAX_RANK] = {0};
  for (int i = 0; in[i]; i++) {
    if (strchr(in + i + 1, in[i])) lt_ox_refuse(c, "a diagonal (`%c` twice in one operand) is not read", in[i]);
    if (!strchr(out, in[i])) axes.v[axes.n++] = i;
    else strncat(left, in + i, 1);
  }
  x = lt_ox_reduce(c, LT_OP_sum, x, &axes, false);
  for (int i = 0; out[i]; i++) {
    const char *at = strchr(left, out[i]);
    if (!at) lt_ox_refuse(c, "its equation has `%c` in the result alone", out[i]);
    perm[i] = at - left;
  }
  return lt_transpose(c->g, x, perm);
}

/* Our spec has letters alone: digits of an ellipsis become letters that stand nowhere. */
static void spell_term(const equation *e, const char *term, char *out) {
  for (; *term; term++, out++) {
    *out = *term;
    if (isalpha((unsigned char)*term)) continue;
    char l = 'z';
    for (int left = *term - '0';; l--) {
      bool used = false;
      for (int i = 0; i < TERMS; i++) used |= strchr(e->of[i], l) != NULL;
      if (!used && --left == 0) break;
    }
    *out = l;
  }
  *out = 0;
}

void lt_onnx_einsum(lt_onnx *c) {
  equation e = read_equation(c, lt_ox_text(c, "equation", ""));
  char term[TERMS][LETTERS];
  if (e.n_in == 1) {
    lt_ox_result(c, 0, einsum_of_one(c, &e, lt_ox_weight(c, 0)));
    return;
  }
  for (int i = 0; i < TERMS; i++) spell_term(&e, e.of[i], term[i]);
  lt_einsum_attrs a = {.spec = lt_arena_printf(c->arena, "%s,%s->%s", term[0], term[1], term[2])};
  lt_value x = lt_ox_weight(c, 0), w = lt_ox_weight(c, 1);
  lt_ox_result(c, 0, lt_emit(c->g, LT_OP_einsum, &a, (lt_value[]){x, w}, 2));
}
