/* ops_state.c: layers of language models that carry a state from call to call: linear attention, whose state is a
 * matrix of each head, written out token by token, and a causal convolution, whose state are the last places it has
 * seen. */
#include <math.h>

#include "frontend/onnx/forms.h"

enum { MOST_TOKENS = 1 << 14 };

/* ---- LinearAttention --------------------------------------------------------------------------------------------- */

typedef struct recurrence {
  lt_onnx *c;
  int64_t batch, tokens, heads, group;  /* of keys; queries that share a head's state */
  int64_t keys, values;                 /* d_k, d_v */
  bool gated, delta;                    /* of update_rule */
  lt_value q, k, v, decay, beta, state; /* q, k, v [T·B, H, rows, d]; the state [B, H, d_k, d_v] */
} recurrence;

static lt_value times(lt_onnx *c, lt_value a, lt_value b) { return lt_ox_binary(c, LT_OP_mul, a, b); }

static lt_value product(lt_onnx *c, lt_value a, lt_value b) {
  return lt_emit(c->g, LT_OP_matmul, NULL, (lt_value[]){a, b}, 2);
}

/* Operand i, [B, T, H·rows·d], of each token and batch: [T·B, H, rows, d]. */
static lt_value by_token(const recurrence *r, unsigned i, int64_t heads, int64_t rows, int64_t d) {
  lt_onnx *c = r->c;
  lt_value x = lt_ox_in(c, i);
  lt_type t = lt_ox_of(c, x), wanted = lt_make_type(t.dtype, 3, (int64_t[]){r->batch, r->tokens, heads * rows * d});
  if (!lt_type_eq(&t, &wanted) || t.dtype != lt_ox_type(c, 0)->dtype)
    lt_ox_refuse(c, "operand %u is %s, should be %s", i + 1, lt_type_text(c->arena, &t),
                 lt_type_text(c->arena, &wanted));
  x = lt_transpose(c->g, x, (const int64_t[]){1, 0, 2});
  return lt_ox_reshape(c, x, 4, (int64_t[]){r->tokens * r->batch, heads, rows, d});
}

static void read_rule(recurrence *r) {
  static const struct rule { const char *name; bool gated, delta; } rules[] = {
    {"linear", false, false},
    {"gated", true, false},
    {"delta", false, true},
    {"gated_delta", true, true},
  };
  lt_onnx *c = r->c;
  const char *name = lt_ox_text(c, "update_rule", "gated_delta");
  unsigned k = 0;
  while (k < LT_COUNT(rules) && strcmp(rules[k].name, name)) k++;
  if (k == LT_COUNT(rules)) lt_ox_refuse(c, "update_rule=%.40s is unknown", name);
  r->gated = rules[k].gated, r->delta = rules[k].delta;
  if (lt_ox_has(c, 4) != r->gated || lt_ox_has(c, 5) != r->delta)
    lt_ox_refuse(c, "update_rule=%s takes %s decay and %s beta", name, r->gated ? "a" : "no", r->delta ? "a" : "no");
}

static void read_state(recurrence *r) {
  lt_onnx *c = r->c;
  lt_type t = lt_make_type(lt_ox_of(c, r->q).dtype, 4, (int64_t[]){r->batch, r->heads, r->keys, r->values});
  if (!lt_ox_has(c, 3)) {
    r->state = lt_broadcast_to(c->g, lt_ox_number(c, r->q, 0), &t);
    return;
  }
  lt_type own = *lt_ox_type(c, 3), as_own = own;
  as_own.dtype = t.dtype;
  if (!lt_is_float(own.dtype) || !lt_type_eq(&as_own, &t))
    lt_ox_refuse(c, "past_state is %s, should be %s", lt_type_text(c->arena, &own), lt_type_text(c->arena, &t));
  r->state = lt_cast(c->g, lt_ox_in(c, 3), t.dtype);
}

/* The logarithm of what is left of a state: of a head, [T·B, H, 1, 1], or of each of its rows, [T·B, H, d_k, 1]. */
static lt_value read_decay(const recurrence *r) {
  lt_type t = *lt_ox_type(r->c, 4);
  bool by_head = t.rank == 3 && t.dim[2] == r->heads;
  return un(r->c, LT_OP_exp, by_token(r, 4, r->heads, by_head ? 1 : r->keys, 1));
}

static recurrence read_recurrence(lt_onnx *c) {
  lt_type q = *lt_ox_type(c, 0), k = *lt_ox_type(c, 1), v = *lt_ox_type(c, 2);
  int64_t heads = lt_ox_int(c, "q_num_heads", 0), kv = lt_ox_int(c, "kv_num_heads", 0);
  double scale = lt_ox_float(c, "scale", 0);
  lt_ox_int(c, "chunk_size", 0); /* how others cut the tokens */
  if (q.rank != 3 || k.rank != 3 || v.rank != 3 || !lt_is_float(q.dtype))
    lt_ox_refuse(c, "its queries, keys and values are %s, %s and %s, should be [B, T, H*D]", lt_type_text(c->arena, &q),
                 lt_type_text(c->arena, &k), lt_type_text(c->arena, &v));
  if (heads < 1 || kv < 1 || heads % kv || q.dim[2] % heads || v.dim[2] % kv)
    lt_ox_refuse(c, "%lld heads of queries and %lld of keys and values do not divide %s and %s", (long long)heads,
                 (long long)kv, lt_type_text(c->arena, &q), lt_type_text(c->arena, &v));
  recurrence r = {.c = c, .batch = q.dim[0], .tokens = q.dim[1], .heads = kv, .group = heads / kv};
  r.keys = q.dim[2] / heads, r.values = v.dim[2] / kv;
  if (r.tokens > MOST_TOKENS)
    lt_ox_refuse(c, "it has %lld tokens; up to %d are written out", (long long)r.tokens, (int)MOST_TOKENS);
  read_rule(&r);
  if (scale == 0) scale = 1 / sqrt((double)r.keys);
  r.q = with(c, LT_OP_mul, by_token(&r, 0, kv, r.group, r.keys), scale);
  r.k = by_token(&r, 1, kv, r.keys, 1), r.v = by_token(&r, 2, kv, 1, r.values);
  if (r.gated) r.decay = read_decay(&r);
  if (r.delta) r.beta = by_token(&r, 5, lt_ox_type(c, 5)->dim[2] == 1 ? 1 : kv, 1, 1);
  read_state(&r);
  return r;
}

static lt_value of_token(const recurrence *r, lt_value x, int64_t t) {
  return lt_ox_slice(r->c, x, 0, t * r->batch, (t + 1) * r->batch);
}

/* S ← decay·S; what is new in v is what S does not say at k yet, or all of it; S ← S + k·vᵀ; the result is Sᵀ·q. */
static lt_value run_token(recurrence *r, int64_t t) {
  lt_onnx *c = r->c;
  lt_value k = of_token(r, r->k, t), v = of_token(r, r->v, t);
  if (r->gated) r->state = times(c, r->state, of_token(r, r->decay, t));
  if (r->delta) {
    lt_value row = lt_ox_reshape(c, k, 4, (int64_t[]){r->batch, r->heads, 1, r->keys});
    lt_value known = product(c, row, r->state);
    v = times(c, lt_ox_binary(c, LT_OP_sub, v, known), of_token(r, r->beta, t));
  }
  r->state = lt_ox_binary(c, LT_OP_add, r->state, times(c, k, v));
  lt_value y = product(c, of_token(r, r->q, t), r->state);
  return lt_ox_reshape(c, y, 3, (int64_t[]){r->batch, 1, r->heads * r->group * r->values});
}

void lt_onnx_linear_attention(lt_onnx *c) {
  recurrence r = read_recurrence(c);
  lt_value *y = LT_NEW_ARRAY(c->arena, lt_value, (size_t)r.tokens);
  for (int64_t t = 0; t < r.tokens; t++) y[t] = run_token(&r, t);
  lt_ox_result(c, 0, lt_ox_concat(c, y, (unsigned)r.tokens, 1));
  lt_ox_result(c, 1, lt_cast(c->g, r.state, lt_ox_has(c, 3) ? lt_ox_type(c, 3)->dtype : lt_ox_type(c, 0)->dtype));
}

/* ---- CausalConvWithState ----------------------------------------------------------------------------------------- */

/* x with `n` places before it along its last axis: the state, or zeros. */
static lt_value after_state(lt_onnx *c, lt_value x, int64_t n) {
  lt_type t = lt_ox_of(c, x);
  lt_pad_attrs p = {.pads = {6, {0, 0, n}}};
  if (!n) return x;
  if (!lt_ox_has(c, 3)) return lt_emit(c->g, LT_OP_pad, &p, &x, 1);
  t.dim[2] = n;
  if (!lt_type_eq(lt_ox_type(c, 3), &t))
    lt_ox_refuse(c, "past_state is %s, should be %s", lt_type_text(c->arena, lt_ox_type(c, 3)),
                 lt_type_text(c->arena, &t));
  return lt_ox_concat(c, (lt_value[]){lt_ox_in(c, 3), x}, 2, 2);
}

void lt_onnx_causal_conv(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), w = lt_ox_weight(c, 1), b = lt_ox_has(c, 2) ? lt_ox_weight(c, 2) : 0;
  lt_type t = lt_ox_of(c, x), k = lt_ox_of(c, w);
  const char *act = lt_ox_text(c, "activation", "none");
  bool silu = !strcmp(act, "silu") || !strcmp(act, "swish");
  if (!silu && strcmp(act, "none")) lt_ox_refuse(c, "activation=%.40s is unknown", act);
  if (t.rank != 3 || k.rank != 3 || k.dim[0] != t.dim[1] || k.dim[1] != 1)
    lt_ox_refuse(c, "x is %s, its weight %s, should be [N, C, L] and [C, 1, K]", lt_type_text(c->arena, &t),
                 lt_type_text(c->arena, &k));
  int64_t behind = k.dim[2] - 1, channels = t.dim[1], size = t.dim[2];
  lt_value all = after_state(c, x, behind), seen = lt_ox_has(c, 3) ? all : x;
  lt_conv2d_attrs a = {.stride = {{1, 1}}, .dilation = {{1, 1}}, .groups = channels};
  if (seen == x) a.pad.v[1] = behind;
  lt_value in[3] = {lt_ox_reshape(c, seen, 4, (int64_t[]){t.dim[0], channels, 1, lt_ox_of(c, seen).dim[2]}),
                    lt_ox_reshape(c, w, 4, (int64_t[]){channels, 1, 1, k.dim[2]}), b};
  lt_value y = lt_ox_reshape(c, lt_emit(c->g, LT_OP_conv2d, &a, in, b ? 3 : 2), 3, t.dim);
  lt_ox_result(c, 0, silu ? times(c, y, un(c, LT_OP_sigmoid, y)) : y);
  t.dim[2] = behind;
  if (behind) lt_ox_result(c, 1, lt_ox_slice(c, all, 2, size, size + behind));
  else lt_ox_result_empty(c, 1, &t);
}
