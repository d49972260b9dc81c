/* ops_rnn.c: RNN, GRU and LSTM, written out step by step: what x gives to all gates of all steps is one product, what
 * the state gives one for each step. Weights are those of the model, cut by direction and gate, and are trained.
 *
 * Where sequences end early (sequence_lens), a step past the end keeps the state and gives zeros. In reverse the steps
 * go from the last place to the first: those past the end come first and leave the initial state. */
#include <math.h>

#include "frontend/onnx/forms.h"

enum { MOST_STEPS = 1 << 14, MOST_ACTIVATIONS = 3 };

typedef struct activation { const char *name; double alpha, beta; } activation;

typedef struct cell {
  lt_onnx *c;
  int64_t steps, batch, features, hidden; /* T, B, I, H */
  int64_t gates, directions;
  bool batch_first;
  double clip;   /* of what goes into gates; INFINITY: none */
  lt_value x;    /* [T·B, I] */
  lt_value lens; /* [B, 1]; 0: all are T */
  /* of the direction in progress */
  activation act[MOST_ACTIVATIONS];
  lt_value r, r_bias; /* [H, gates·H], [gates·H]; 0: none */
  lt_value peep;      /* [3·H]; 0: none */
  bool flag;          /* linear_before_reset, input_forget */
} cell;

/* ---- activations ------------------------------------------------------------------------------------------------- */

/* Their names in small letters, whether they have numbers, and which where none are given. */
static const struct known { const char *name; bool alpha, beta; double a, b; lt_op op; } known_activations[] = {
  {"relu", false, false, 0, 0, LT_OP_relu},       {"tanh", false, false, 0, 0, LT_OP_tanh},
  {"sigmoid", false, false, 0, 0, LT_OP_sigmoid}, {"softplus", false, false, 0, 0, LT_OP_softplus},
  {"softsign", false, false, 0, 0, LT_OP_abs},    {"affine", true, true, 1, 0, LT_OP_add},
  {"scaledtanh", true, true, 1, 1, LT_OP_mul},    {"hardsigmoid", true, true, 0.2, 0.5, LT_OP_clip},
  {"leakyrelu", true, false, 0.01, 0, LT_OP_max}, {"thresholdedrelu", true, false, 1, 0, LT_OP_less},
  {"elu", true, false, 1, 0, LT_OP_exp},
};

static const struct known *find_activation(const char *name) {
  for (size_t i = 0; i < LT_COUNT(known_activations); i++) {
    const char *k = known_activations[i].name, *p = name;
    while (*p && *k && (*p | 32) == *k) p++, k++;
    if (!*p && !*k) return &known_activations[i];
  }
  return NULL;
}

static lt_value activate(const cell *s, const activation *a, lt_value x) {
  lt_onnx *c = s->c;
  lt_op op = find_activation(a->name)->op;
  switch (op) {
  case LT_OP_abs: return lt_ox_binary(c, LT_OP_div, x, with(c, LT_OP_add, un(c, LT_OP_abs, x), 1));
  case LT_OP_add: return with(c, LT_OP_add, with(c, LT_OP_mul, x, a->alpha), a->beta);
  case LT_OP_mul: return with(c, LT_OP_mul, un(c, LT_OP_tanh, with(c, LT_OP_mul, x, a->beta)), a->alpha);
  case LT_OP_clip: return limited(c, with(c, LT_OP_add, with(c, LT_OP_mul, x, a->alpha), a->beta), 0, 1);
  case LT_OP_max: return choose(c, with(c, LT_OP_less, x, 0), with(c, LT_OP_mul, x, a->alpha), x);
  case LT_OP_less: return choose(c, from(c, LT_OP_less, a->alpha, x), x, lt_ox_number(c, x, 0));
  case LT_OP_exp: {
    lt_value low = with(c, LT_OP_sub, un(c, LT_OP_exp, limited(c, x, -INFINITY, 0)), 1);
    return choose(c, with(c, LT_OP_less, x, 0), with(c, LT_OP_mul, low, a->alpha), x);
  }
  default: return un(c, op, x);
  }
}

/* Of what goes into a gate, which clip limits; what an LSTM's cell gives is none. */
static lt_value activate_gate(const cell *s, const activation *a, lt_value x) {
  return activate(s, a, isfinite(s->clip) ? limited(s->c, x, -s->clip, s->clip) : x);
}

/* Numbers are given in the order of the activations that have them, over all directions. */
static void read_activations(cell *s, const char *const *otherwise, unsigned each, activation *out) {
  lt_onnx *c = s->c;
  const lt_onnx_attr *names = lt_ox_texts(c, "activations"), *alpha = lt_ox_floats(c, "activation_alpha"),
                     *beta = lt_ox_floats(c, "activation_beta");
  uint32_t n_alpha = 0, n_beta = 0;
  if (names && names->strings.n != each * s->directions)
    lt_ox_refuse(c, "it has %u activations for %u in %lld directions", names->strings.n, each,
                 (long long)s->directions);
  for (unsigned i = 0; i < each * (unsigned)s->directions; i++) {
    const char *name = names ? names->strings.at[i] : otherwise[i % each];
    const struct known *k = find_activation(name);
    if (!k) lt_ox_refuse(c, "there is no activation `%.40s`", name);
    out[i] = (activation){name, k->a, k->b};
    if (k->alpha && alpha && n_alpha < alpha->floats.n) out[i].alpha = (double)alpha->floats.at[n_alpha++];
    if (k->beta && beta && n_beta < beta->floats.n) out[i].beta = (double)beta->floats.at[n_beta++];
  }
}

/* ---- operands ---------------------------------------------------------------------------------------------------- */

static int64_t directions_of(lt_onnx *c) {
  const char *d = lt_ox_text(c, "direction", "forward");
  if (strcmp(d, "forward") && strcmp(d, "reverse") && strcmp(d, "bidirectional"))
    lt_ox_refuse(c, "direction=%.40s is unknown", d);
  return d[0] == 'b' ? 2 : 1;
}

static void need_shape(lt_onnx *c, unsigned i, const char *what, unsigned rank, const int64_t *dim) {
  const lt_type *t = lt_ox_type(c, i);
  lt_type wanted = lt_make_type(t->dtype, rank, dim);
  if (!lt_type_eq(t, &wanted))
    lt_ox_refuse(c, "its %s is %s, should be %s", what, lt_type_text(c->arena, t), lt_type_text(c->arena, &wanted));
}

/* Part [first, first + n) of the direction's rows of operand i, without the axis of directions. */
static lt_value part_of(cell *s, unsigned i, int64_t direction, int64_t first, int64_t n) {
  lt_value v = lt_ox_slice(s->c, lt_ox_weight(s->c, i), 0, direction, direction + 1);
  lt_type t = lt_ox_of(s->c, v);
  v = lt_ox_reshape(s->c, v, t.rank - 1u, t.dim + 1);
  return lt_ox_slice(s->c, v, 0, first, first + n);
}

static lt_value turned(lt_onnx *c, lt_value w) { return lt_transpose(c->g, w, (const int64_t[]){1, 0}); }

static lt_value product(lt_onnx *c, lt_value x, lt_value w, lt_value bias) {
  return lt_emit(c->g, LT_OP_linear, NULL, (lt_value[]){x, w, bias}, bias ? 3 : 2);
}

/* Sequences that all have T steps are as good as none. */
static void read_lens(cell *s) {
  lt_onnx *c = s->c;
  if (!lt_ox_has(c, 4)) return;
  need_shape(c, 4, "sequence_lens", 1, &s->batch);
  const lt_tensor *known = lt_ox_known(c, 4);
  bool full = known != NULL;
  for (int64_t i = 0; known && i < s->batch; i++) full = full && known->i[i] == s->steps;
  if (!full) s->lens = lt_ox_reshape(c, lt_cast(c->g, lt_ox_in(c, 4), LT_I64), 2, (int64_t[]){s->batch, 1});
}

static cell read_cell(lt_onnx *c, int64_t gates) {
  cell s = {.c = c, .gates = gates, .directions = directions_of(c)};
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x), r = *lt_ox_type(c, 2);
  s.batch_first = lt_ox_int(c, "layout", 0);
  s.clip = lt_ox_float(c, "clip", INFINITY);
  if (t.rank != 3 || r.rank != 3)
    lt_ox_refuse(c, "x is %s, R %s", lt_type_text(c->arena, &t), lt_type_text(c->arena, &r));
  if (s.batch_first) x = lt_transpose(c->g, x, (const int64_t[]){1, 0, 2}), t = lt_ox_of(c, x);
  s.steps = t.dim[0], s.batch = t.dim[1], s.features = t.dim[2], s.hidden = lt_ox_int(c, "hidden_size", r.dim[2]);
  int64_t rows = gates * s.hidden, rows_all = 2 * rows;
  if (s.hidden < 1 || s.hidden > INT32_MAX / 8) lt_ox_refuse(c, "hidden_size=%lld", (long long)s.hidden);
  if (s.steps > MOST_STEPS)
    lt_ox_refuse(c, "x has %lld steps; up to %d are written out", (long long)s.steps, (int)MOST_STEPS);
  need_shape(c, 1, "W", 3, (int64_t[]){s.directions, rows, s.features});
  need_shape(c, 2, "R", 3, (int64_t[]){s.directions, rows, s.hidden});
  if (lt_ox_has(c, 3)) need_shape(c, 3, "B", 2, (int64_t[]){s.directions, rows_all});
  s.x = lt_ox_reshape(c, x, 2, (int64_t[]){s.steps * s.batch, s.features});
  read_lens(&s);
  return s;
}

/* Of operand i, [D, B, H] or [B, D, H]: the direction's [B, H]; zeros where it is not given. */
static lt_value initial(cell *s, unsigned i, const char *what, int64_t direction) {
  lt_onnx *c = s->c;
  int64_t dim[2] = {s->batch, s->hidden}, axis = s->batch_first ? 1 : 0;
  int64_t all[3] = {s->directions, s->batch, s->hidden}, turn[3] = {s->batch, s->directions, s->hidden};
  lt_type t = lt_make_type(lt_ox_of(c, s->x).dtype, 2, dim);
  if (!lt_ox_has(c, i)) return lt_broadcast_to(c->g, lt_ox_number(c, s->x, 0), &t);
  need_shape(c, i, what, 3, s->batch_first ? turn : all);
  return lt_ox_reshape(c, lt_ox_slice(c, lt_ox_in(c, i), axis, direction, direction + 1), 2, dim);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

/* Gates [first, first + n) of [B, gates·H] */
static lt_value gate(const cell *s, lt_value all, int64_t first, int64_t n) {
  return lt_ox_slice(s->c, all, 1, first * s->hidden, (first + n) * s->hidden);
}

typedef struct state { lt_value h, c; } state;
/* One step from the share of x in the gates, [B, gates·H]. */
typedef state step_fn(const cell *s, lt_value x, state old);

static lt_value plus(lt_onnx *c, lt_value a, lt_value b) { return lt_ox_binary(c, LT_OP_add, a, b); }
static lt_value times(lt_onnx *c, lt_value a, lt_value b) { return lt_ox_binary(c, LT_OP_mul, a, b); }

static state rnn_step(const cell *s, lt_value x, state old) {
  return (state){.h = activate_gate(s, &s->act[0], plus(s->c, x, product(s->c, old.h, s->r, s->r_bias)))};
}

/* h = (1 - z)·new + z·h; the reset gate weighs h before its product, or the product itself. */
static state gru_step(const cell *s, lt_value x, state old) {
  lt_onnx *c = s->c;
  int64_t n = s->hidden;
  lt_value gates_r = lt_ox_slice(c, s->r, 1, 0, 2 * n), new_r = lt_ox_slice(c, s->r, 1, 2 * n, 3 * n);
  lt_value gates_b = s->r_bias ? lt_ox_slice(c, s->r_bias, 0, 0, 2 * n) : 0;
  lt_value new_b = s->r_bias ? lt_ox_slice(c, s->r_bias, 0, 2 * n, 3 * n) : 0, inner;
  lt_value both_gates = activate_gate(s, &s->act[0], plus(c, gate(s, x, 0, 2), product(c, old.h, gates_r, gates_b)));
  lt_value z = gate(s, both_gates, 0, 1), r = gate(s, both_gates, 1, 1);
  if (s->flag) inner = times(c, r, product(c, old.h, new_r, new_b));
  else inner = product(c, times(c, r, old.h), new_r, new_b);
  lt_value new = activate_gate(s, &s->act[1], plus(c, gate(s, x, 2, 1), inner));
  lt_value kept = times(c, z, old.h);
  return (state){.h = plus(c, times(c, from(c, LT_OP_sub, 1, z), new), kept)};
}

/* x beside the cell's share by the weights of peephole i. */
static lt_value peeped(const cell *s, lt_value x, lt_value cell_state, int64_t i) {
  if (!s->peep) return x;
  lt_value p = lt_ox_slice(s->c, s->peep, 0, i * s->hidden, (i + 1) * s->hidden);
  return plus(s->c, x, times(s->c, p, cell_state));
}

/* Gates stand as i, o, f, c; peepholes as i, o, f. */
static state lstm_step(const cell *s, lt_value x, state old) {
  lt_onnx *c = s->c;
  lt_value all = plus(c, x, product(c, old.h, s->r, 0)), f;
  lt_value i = activate_gate(s, &s->act[0], peeped(s, gate(s, all, 0, 1), old.c, 0));
  if (s->flag) f = from(c, LT_OP_sub, 1, i);
  else f = activate_gate(s, &s->act[0], peeped(s, gate(s, all, 2, 1), old.c, 2));
  lt_value new = activate_gate(s, &s->act[1], gate(s, all, 3, 1)), kept = times(c, f, old.c);
  state next = {.c = plus(c, kept, times(c, i, new))};
  lt_value o = activate_gate(s, &s->act[0], peeped(s, gate(s, all, 1, 1), next.c, 1));
  next.h = times(c, o, activate(s, &s->act[2], next.c));
  return next;
}

/* ---- directions -------------------------------------------------------------------------------------------------- */

static lt_value where_active(const cell *s, lt_value active, lt_value now, lt_value otherwise) {
  return now && active ? choose(s->c, active, now, otherwise) : now;
}

/* All steps; y[t] gets the output [B, 1, H] of each. */
static state run_steps(const cell *s, lt_value x, bool back, state now, step_fn *step, lt_value *y) {
  lt_onnx *c = s->c;
  int64_t dim[3] = {s->batch, 1, s->hidden};
  for (int64_t k = 0; k < s->steps; k++) {
    int64_t t = back ? s->steps - 1 - k : k;
    lt_value active = s->lens ? from(c, LT_OP_less, (double)t, s->lens) : 0;
    state next = step(s, lt_ox_slice(c, x, 0, t * s->batch, (t + 1) * s->batch), now);
    lt_value out = where_active(s, active, next.h, lt_ox_number(c, next.h, 0));
    now.h = where_active(s, active, next.h, now.h), now.c = where_active(s, active, next.c, now.c);
    y[t] = lt_ox_reshape(c, out, 3, dim);
  }
  return now;
}

/* The direction's weights; what x gives to the gates of all steps, [T·B, gates·H]. The bias of the state's share is
 * added there too where nothing stands between (`joined`). */
static lt_value read_direction(cell *s, int64_t d, bool joined) {
  lt_onnx *c = s->c;
  int64_t rows = s->gates * s->hidden;
  lt_value w = turned(c, part_of(s, 1, d, 0, rows)), bias = 0;
  s->r = turned(c, part_of(s, 2, d, 0, rows)), s->r_bias = 0;
  if (lt_ox_has(c, 3)) {
    bias = part_of(s, 3, d, 0, rows);
    s->r_bias = part_of(s, 3, d, rows, rows);
    if (joined) bias = plus(c, bias, s->r_bias), s->r_bias = 0;
  }
  return product(c, s->x, w, bias);
}

/* Ends of all directions [D, B, H], or with batches first [B, D, H]. */
static lt_value ends(const cell *s, const lt_value *of) {
  lt_value part[2];
  int64_t dim[3] = {s->batch, 1, s->hidden}, plain[3] = {1, s->batch, s->hidden};
  for (int64_t d = 0; d < s->directions; d++) part[d] = lt_ox_reshape(s->c, of[d], 3, s->batch_first ? dim : plain);
  return lt_ox_concat(s->c, part, (unsigned)s->directions, s->batch_first ? 1 : 0);
}

static void run_cell(cell *s, const activation *act, unsigned each, step_fn *step, bool joined) {
  lt_onnx *c = s->c;
  lt_value *y = LT_NEW_ARRAY(c->arena, lt_value, (size_t)(s->directions * s->steps)), h[2], cs[2];
  bool lstm = s->gates == 4, first_back = !strcmp(lt_ox_text(c, "direction", "forward"), "reverse");
  for (int64_t d = 0; d < s->directions; d++) {
    memcpy(s->act, act + d * each, each * sizeof *act);
    if (lstm && lt_ox_has(c, 7)) s->peep = part_of(s, 7, d, 0, 3 * s->hidden);
    lt_value x = read_direction(s, d, joined);
    state start = {.h = initial(s, 5, "initial_h", d), .c = lstm ? initial(s, 6, "initial_c", d) : 0};
    state end = run_steps(s, x, d == 1 || first_back, start, step, y + d * s->steps);
    h[d] = end.h, cs[d] = end.c;
  }
  lt_value *at = LT_NEW_ARRAY(c->arena, lt_value, (size_t)s->steps);
  for (int64_t t = 0; t < s->steps; t++) { /* [B, D, H] each */
    lt_value of[2] = {y[t], s->directions == 2 ? y[s->steps + t] : 0};
    lt_value both_ways = lt_ox_concat(c, of, (unsigned)s->directions, 1);
    int64_t dim[4] = {s->batch, 1, s->directions, s->hidden};
    at[t] = lt_ox_reshape(c, both_ways, 4, dim);
  }
  lt_value all = lt_ox_concat(c, at, (unsigned)s->steps, 1); /* [B, T, D, H] */
  lt_ox_result(c, 0, s->batch_first ? all : lt_transpose(c->g, all, (const int64_t[]){1, 2, 0, 3}));
  lt_ox_result(c, 1, ends(s, h));
  if (lstm) lt_ox_result(c, 2, ends(s, cs));
}

/* ---- the ops ----------------------------------------------------------------------------------------------------- */

void lt_onnx_rnn(lt_onnx *c) {
  cell s = read_cell(c, 1);
  activation act[2];
  read_activations(&s, (const char *[]){"Tanh"}, 1, act);
  run_cell(&s, act, 1, rnn_step, true);
}

void lt_onnx_gru(lt_onnx *c) {
  cell s = read_cell(c, 3);
  activation act[4];
  s.flag = lt_ox_int(c, "linear_before_reset", 0);
  read_activations(&s, (const char *[]){"Sigmoid", "Tanh"}, 2, act);
  run_cell(&s, act, 2, gru_step, !s.flag);
}

void lt_onnx_lstm(lt_onnx *c) {
  cell s = read_cell(c, 4);
  activation act[6];
  s.flag = lt_ox_int(c, "input_forget", 0);
  if (lt_ox_has(c, 7)) need_shape(c, 7, "P", 2, (int64_t[]){s.directions, 3 * s.hidden});
  read_activations(&s, (const char *[]){"Sigmoid", "Tanh", "Tanh"}, 3, act);
  run_cell(&s, act, 3, lstm_step, true);
}
