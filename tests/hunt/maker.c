/* maker.c: random choices, values to choose from, one more statement. */
#include "maker.h"

#include <stdarg.h>

/* ---- chance ------------------------------------------------------------------------------------------------------ */

int64_t pick_channels(maker *m) {
  static const int64_t all[] = {1, 2, 3, 4, 5, 8, 12, 16, 17, 20, 24, 32, 33, 40, 48, 64};
  return PICK(m, all);
}

int64_t pick_size(maker *m, int64_t area) {
  static const int64_t all[] = {1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 16, 17, 28, 33};
  for (;;) {
    int64_t n = PICK(m, all);
    if (n <= area) return n;
  }
}

int64_t pick_divisor(maker *m, int64_t n) {
  int64_t all[64], k = 0;
  for (int64_t d = 1; d <= n && k < 64; d++)
    if (n % d == 0) all[k++] = d;
  return all[pick(m, k)];
}

bool spend(maker *m, double work) {
  if ((double)m->work + work > (double)m->budget) return false;
  m->work += (int64_t)work;
  return true;
}

/* ---- values to choose from --------------------------------------------------------------------------------------- */

const lt_type *type_of(const maker *m, unsigned v) { return ht_type(m->net, v); }

bool fits(const maker *m, unsigned v, const want *w) {
  const lt_type *t = type_of(m, v);
  unsigned dtypes = w->dtypes ? w->dtypes : 1u << m->dtype;
  if (!(dtypes >> t->dtype & 1) || t->rank < w->min_rank || t->rank > w->max_rank) return false;
  if (lt_type_count(t) > (w->most ? w->most : MOST_ELEMENTS)) return false;
  return !w->like || (t->rank == w->like->rank && !memcmp(t->dim, w->like->dim, sizeof t->dim));
}

unsigned pick_value(maker *m, const want *w) {
  unsigned all[HT_STATEMENTS * 2], n = 0;
  for (unsigned i = 0; i < m->net->n; i++)
    for (unsigned k = 0; k < m->net->at[i].n_out && n < LT_COUNT(all); k++)
      if (fits(m, ht_value(i, k), w)) all[n++] = ht_value(i, k);
  if (!n) return 0;
  unsigned late = n < 5 ? n : 5;
  return chance(m, 60) ? all[n - 1 - (unsigned)pick(m, late)] : all[pick(m, n)];
}

unsigned pick_or_make(maker *m, const want *w, lt_type t) {
  unsigned v = pick_value(m, w);
  return v ? v : make_operand(m, t, 1);
}

unsigned pick_image(maker *m) {
  unsigned v = chance(m, 92) ? pick_value(m, &(want){.min_rank = 4, .max_rank = 4}) : 0;
  if (v) return v;
  int64_t n = 1 + pick(m, 3), c = pick_channels(m);
  int64_t h = pick_size(m, 3000 / (n * c) > 33 ? 33 : 1 + 3000 / (n * c)), room = 4000 / (n * c * h);
  int64_t w = pick_size(m, room < 1 ? 1 : room);
  return make_leaf(m, chance(m, 85) ? HT_INPUT : HT_PARAM, lt_make_type(m->dtype, 4, (int64_t[]){n, c, h, w}), NULL);
}

unsigned pick_matrix(maker *m) {
  unsigned v = chance(m, 90) ? pick_value(m, &(want){.min_rank = 2, .max_rank = 2}) : 0;
  if (v) return v;
  return make_leaf(m, HT_INPUT, lt_make_type(m->dtype, 2, (int64_t[]){1 + pick(m, 7), pick_channels(m)}), NULL);
}

/* ---- one more statement ------------------------------------------------------------------------------------------ */

static const char *usual_init(const lt_type *t, double scale) {
  static char text[64];
  if (t->dtype == LT_BOOL) return "ones()";
  if (!lt_is_float(t->dtype)) return "zeros()";
  snprintf(text, sizeof text, "normal(scale=%g)", scale);
  return text;
}

unsigned make_leaf(maker *m, ht_kind kind, lt_type t, const char *init) {
  ht_statement *s = begin(m, kind, "", 0, NULL);
  if (!s) return 0;
  s->type[0] = t;
  snprintf(s->init, sizeof s->init, "%s", init ? init : usual_init(&t, 1));
  return finish(m, s);
}

/* Numbers nested as the type is. */
static void literal(maker *m, char *to, size_t size, const lt_type *t, unsigned axis) {
  size_t n = 0;
  if (axis == t->rank) {
    if (t->dtype == LT_BOOL) snprintf(to, size, "%s", chance(m, 50) ? "true" : "false");
    else if (lt_is_float(t->dtype)) snprintf(to, size, "%.3f", (double)(pick(m, 4001) - 2000) / 1000);
    else snprintf(to, size, "%d", (int)pick(m, 7) - 2);
    return;
  }
  for (int64_t i = 0; i < t->dim[axis]; i++) {
    n += (size_t)snprintf(to + n, size - n, "%s", i ? ", " : "[");
    literal(m, to + n, size - n, t, axis + 1);
    n += strlen(to + n);
  }
  snprintf(to + n, size - n, "]");
}

unsigned make_const(maker *m, lt_type t) {
  char text[160];
  if (lt_type_count(&t) > 12) return make_leaf(m, HT_CONST, t, chance(m, 50) ? "ones()" : "zeros()");
  literal(m, text, sizeof text, &t, 0);
  return make_leaf(m, HT_CONST, t, text);
}

unsigned make_operand(maker *m, lt_type t, double scale) {
  char uniform[64];
  snprintf(uniform, sizeof uniform, "uniform(lo=%g, hi=%g)", -scale, scale);
  int64_t kind = pick(m, 20);
  if (kind < 8) return make_leaf(m, HT_INPUT, t, NULL);
  if (kind < 9) return make_const(m, t);
  if (kind < 11) return make_leaf(m, HT_STATE, t, lt_is_float(t.dtype) ? uniform : NULL);
  if (!lt_is_float(t.dtype)) return make_leaf(m, HT_PARAM, t, NULL);
  if (kind < 12) return make_leaf(m, HT_PARAM, t, "ones()");
  return make_leaf(m, HT_PARAM, t, chance(m, 30) ? uniform : usual_init(&t, scale));
}

unsigned make_param(maker *m, unsigned rank, const int64_t *dim, double scale) {
  lt_type t = lt_make_type(m->dtype, rank, dim);
  if (chance(m, 10)) return make_operand(m, t, scale);
  if (chance(m, 10)) {
    unsigned v = pick_value(m, &(want){.min_rank = (int)rank, .max_rank = (int)rank, .like = &t});
    if (v) return v;
  }
  return make_leaf(m, HT_PARAM, t, usual_init(&t, scale));
}

unsigned make_number(maker *m, lt_dtype t, double x) {
  char text[40];
  snprintf(text, sizeof text, lt_is_float(t) ? "%.4f" : "%.0f", x);
  return make_leaf(m, HT_CONST, lt_scalar(t), text);
}

ht_statement *begin(maker *m, ht_kind kind, const char *op, unsigned n_in, const unsigned *in) {
  if (m->broken || m->net->n == HT_STATEMENTS) return NULL;
  for (unsigned k = 0; k < n_in; k++) /* what could not be made: only where an operand may be none */
    if (!in[k] && k < 1) return NULL;
  ht_statement *s = &m->net->at[m->net->n];
  *s = (ht_statement){.kind = kind, .n_in = n_in, .n_out = kind == HT_UPDATE ? 0 : 1};
  snprintf(s->op, sizeof s->op, "%s", op);
  for (unsigned k = 0; k < n_in; k++) s->in[k] = in[k];
  return s;
}

void put_attr(ht_statement *s, const char *key, const char *fmt, ...) {
  if (!s) return;
  ht_attr *a = &s->attr[s->n_attrs++];
  va_list ap;
  va_start(ap, fmt);
  snprintf(a->key, sizeof a->key, "%s", key);
  vsnprintf(a->text, sizeof a->text, fmt, ap);
  va_end(ap);
}

void put_pair(ht_statement *s, const char *key, const int64_t v[2], int64_t def) {
  if (v[0] != v[1]) put_attr(s, key, "[%lld, %lld]", (long long)v[0], (long long)v[1]);
  else if (v[0] != def) put_attr(s, key, "%lld", (long long)v[0]);
}

void put_list(ht_statement *s, const char *key, const int64_t *v, unsigned n) {
  char text[100];
  size_t at = (size_t)snprintf(text, sizeof text, "[");
  for (unsigned i = 0; i < n; i++)
    at += (size_t)snprintf(text + at, sizeof text - at, "%s%lld", i ? ", " : "", (long long)v[i]);
  put_attr(s, key, "%s]", text);
}

unsigned finish(maker *m, ht_statement *s) {
  if (!s) return 0;
  unsigned i = m->net->n++;
  m->broken = !ht_shapes_add(&m->shapes, m->net, i);
  if (m->broken) return 0;
  for (unsigned k = 0; k < s->n_out; k++) m->work += lt_type_count(&s->type[k]);
  return s->n_out ? ht_value(i, 0) : 0;
}

unsigned make_op(maker *m, const char *op, unsigned n_in, const unsigned *in) {
  return finish(m, begin(m, HT_OP, op, n_in, in));
}
unsigned unary(maker *m, const char *op, unsigned x) { return x ? make_op(m, op, 1, &x) : 0; }
unsigned binary(maker *m, const char *op, unsigned a, unsigned b) {
  return a && b ? make_op(m, op, 2, (unsigned[]){a, b}) : 0;
}
unsigned mild(maker *m, unsigned x) {
  return x && lt_is_float(type_of(m, x)->dtype) && chance(m, 50) ? unary(m, "tanh", x) : x;
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

static int64_t out_size(const windows *w, int i, int64_t size) {
  int64_t span = (w->kernel[i] - 1) * w->dilation[i] + 1, room = size + w->pad[i] + w->pad[i + 2] - span;
  return room < 0 ? 0 : room / w->stride[i] + 1;
}

/* Pads are uneven; those of pools are smaller than the window, so that each sees some of the image (nearly always). */
windows pick_windows(maker *m, const lt_type *image, bool pool) {
  static const int64_t kernels[] = {1, 1, 2, 3, 3, 3, 4, 5, 7};
  windows w = {.ceil = false};
  bool same = chance(m, 50), plain = chance(m, 40);
  for (int i = 0; i < 2; i++) {
    w.kernel[i] = i && same ? w.kernel[0] : PICK(m, kernels);
    w.stride[i] = plain || chance(m, 60) ? 1 : 1 + pick(m, 3);
    w.dilation[i] = plain || chance(m, 75) ? 1 : 1 + pick(m, 3);
    int64_t span = (w.kernel[i] - 1) * w.dilation[i], most = pool ? span : span + 2;
    for (int k = i; k < 4; k += 2) w.pad[k] = chance(m, 40) ? span / 2 : pick(m, (most < 4 ? most : 4) + 1);
    if (plain) w.pad[i + 2] = w.pad[i] = span / 2;
    if (span + 1 > image->dim[2 + i] + w.pad[i] + w.pad[i + 2]) w.kernel[i] = w.dilation[i] = 1;
    if (w.kernel[i] == 1 && pool) w.pad[i] = w.pad[i + 2] = 0;
    w.out[i] = out_size(&w, i, image->dim[2 + i]);
  }
  return w;
}

static void put_quad(ht_statement *s, const int64_t p[4]) {
  if (p[0] == p[2] && p[1] == p[3]) put_pair(s, "pad", p, 0);
  else put_list(s, "pad", p, 4);
}

void put_windows(ht_statement *s, const windows *w, bool kernel, int64_t stride_default) {
  if (!s) return;
  if (kernel) put_pair(s, "kernel", w->kernel, 0);
  put_pair(s, "stride", w->stride, stride_default);
  put_quad(s, w->pad);
  put_pair(s, "dilation", w->dilation, 1);
  if (w->ceil) put_attr(s, "ceil", "true");
}
