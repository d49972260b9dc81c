/* ops_einsum.c: Einsum of any number of operands: one after another is multiplied into the product so far, which keeps
 * the letters that are still needed. Before that a letter that an operand has twice is its diagonal, and an ellipsis
 * has letters of its own: digits while the equation is read, counted from the last axis. */
#include <ctype.h>

#include "frontend/onnx/import.h"

enum { OPERANDS = 16, LETTERS = LT_MAX_RANK + 1 };
typedef struct operand { lt_value v; char of[LETTERS]; } operand;
typedef struct equation { operand in[OPERANDS]; unsigned n_in; char out[LETTERS]; } equation;

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int letters_in(const char *text, size_t n) {
  int count = 0;
  for (size_t i = 0; i < n; i++) count += isalpha((unsigned char)text[i]) != 0;
  return count;
}

/* An ellipsis stands for the axes that the letters leave. */
static void read_term(lt_onnx *c, char *out, const char *text, size_t n, int rank) {
  int letters = letters_in(text, n), used = 0;
  for (size_t i = 0; i < n; i++) {
    bool dots = n - i >= 3 && !strncmp(text + i, "...", 3);
    if (!dots && !isalpha((unsigned char)text[i])) lt_ox_refuse(c, "its equation has a `%c`", text[i]);
    if (used + (dots ? rank - letters : 1) > LT_MAX_RANK) lt_ox_refuse(c, "its equation has too many letters");
    if (!dots) out[used++] = text[i];
    for (int k = rank - letters; dots && k > 0; k--) out[used++] = (char)('0' + k);
    if (dots) i += 2;
  }
  out[used] = 0;
  if (used != rank) lt_ox_refuse(c, "its equation names %d axes of an operand of rank %d", used, rank);
}

static int times_in(const equation *e, char l) {
  int count = 0;
  for (unsigned i = 0; i < e->n_in; i++)
    for (const char *p = e->in[i].of; *p; p++) count += *p == l;
  return count;
}

/* Without an arrow: the ellipsis, then letters that stand once, in the alphabet's order. */
static void implicit_result(lt_onnx *c, equation *e) {
  unsigned n = 0;
  for (char l = '9'; l > '0'; l--)
    if (times_in(e, l) && n < LETTERS - 1) e->out[n++] = l;
  for (char l = 'A'; l <= 'z'; l++) {
    if (!isalpha((unsigned char)l) || times_in(e, l) != 1) continue;
    if (n == LETTERS - 1) lt_ox_refuse(c, "its result has more than %d axes", (int)LT_MAX_RANK);
    e->out[n++] = l;
  }
}

static equation read_equation(lt_onnx *c, const char *text) {
  equation e = {.n_in = 0};
  char *plain = lt_arena_strdup(c->arena, text);
  size_t n = 0;
  int dots = 0;
  for (const char *p = text; *p; p++)
    if (*p != ' ') plain[n++] = *p;
  plain[n] = 0;
  const char *arrow = strstr(plain, "->"), *end = arrow ? arrow : plain + n;
  for (const char *p = plain; p <= end; e.n_in++) {
    const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;
    if (e.n_in >= c->n->in.n || e.n_in == OPERANDS)
      lt_ox_refuse(c, "its equation has more than %u operands", LT_MIN(c->n->in.n, (unsigned)OPERANDS));
    operand *o = &e.in[e.n_in];
    o->v = lt_ox_weight(c, e.n_in);
    int rank = lt_ox_of(c, o->v).rank;
    if (memchr(p, '.', (size_t)(stop - p))) dots = LT_MAX(dots, rank - letters_in(p, (size_t)(stop - p)));
    read_term(c, o->of, p, (size_t)(stop - p), rank);
    p = stop + 1;
  }
  if (e.n_in != c->n->in.n) lt_ox_refuse(c, "its equation has %u operands, not %u", e.n_in, c->n->in.n);
  if (!arrow) {
    implicit_result(c, &e);
    return e;
  }
  arrow += 2;
  int letters = letters_in(arrow, strlen(arrow));
  read_term(c, e.out, arrow, strlen(arrow), strchr(arrow, '.') ? dots + letters : letters);
  return e;
}

/* ---- one operand ------------------------------------------------------------------------------------------------- */

static void drop(char *of, size_t i) { memmove(of + i, of + i + 1, strlen(of + i)); }

/* Axes i < k of the same letter become one, the last: every n+1st element of both as one. */
static void take_diagonal(lt_onnx *c, operand *o, int i, int k) {
  lt_type t = lt_ox_of(c, o->v);
  int64_t perm[LT_MAX_RANK], n = t.dim[i], dim[LT_MAX_RANK], *at = LT_NEW_ARRAY(c->arena, int64_t, (size_t)n);
  unsigned rest = 0;
  char letter = o->of[i];
  if (t.dim[k] != n) lt_ox_refuse(c, "`%c` is %lld and %lld in one operand", letter, (long long)n, (long long)t.dim[k]);
  for (unsigned a = 0; a < t.rank; a++)
    if ((int)a != i && (int)a != k) dim[rest] = t.dim[a], perm[rest++] = a;
  perm[rest] = i, perm[rest + 1] = k, dim[rest] = n * n;
  for (int64_t j = 0; j < n; j++) at[j] = j * (n + 1);
  o->v = lt_ox_reshape(c, lt_transpose(c->g, o->v, perm), rest + 1, dim);
  o->v = lt_ox_take(c, o->v, rest, at, n);
  drop(o->of, (size_t)k), drop(o->of, (size_t)i);
  o->of[rest] = letter, o->of[rest + 1] = 0;
}

static void take_diagonals(lt_onnx *c, operand *o) {
  for (int i = 0; o->of[i]; i++) {
    const char *again = strchr(o->of + i + 1, o->of[i]);
    if (again) take_diagonal(c, o, i, (int)(again - o->of)), i = -1;
  }
}

/* Axes of an ellipsis that are 1 here and more elsewhere are left out. */
static void drop_repeated(lt_onnx *c, equation *e) {
  int64_t most[10] = {0};
  for (unsigned i = 0; i < e->n_in; i++)
    for (int k = 0; e->in[i].of[k]; k++)
      if (isdigit((unsigned char)e->in[i].of[k])) {
        int64_t *m = &most[e->in[i].of[k] - '0'], n = lt_type_of(c->g, e->in[i].v)->dim[k];
        *m = LT_MAX(*m, n);
      }
  for (unsigned i = 0; i < e->n_in; i++) {
    operand *o = &e->in[i];
    lt_type t = lt_ox_of(c, o->v);
    unsigned rank = 0;
    char left[LETTERS] = "";
    for (unsigned k = 0; k < t.rank; k++) {
      bool gone = isdigit((unsigned char)o->of[k]) && t.dim[k] == 1 && most[o->of[k] - '0'] > 1;
      if (!gone) left[rank] = o->of[k], t.dim[rank++] = t.dim[k];
    }
    memcpy(o->of, left, sizeof left);
    o->v = lt_ox_reshape(c, o->v, rank, t.dim);
  }
}

/* Sum over what the result lacks, then the axes in its order. */
static lt_value of_one(lt_onnx *c, const operand *o, const char *out) {
  lt_ints axes = {0};
  char left[LETTERS] = "";
  int64_t perm[LT_MAX_RANK] = {0};
  for (int i = 0, n = 0; o->of[i]; i++) {
    if (strchr(out, o->of[i])) left[n++] = o->of[i];
    else axes.v[axes.n++] = i;
  }
  lt_value x = lt_ox_reduce(c, LT_OP_sum, o->v, &axes, false);
  for (int i = 0; out[i]; i++) perm[i] = strchr(left, out[i]) - left;
  return lt_transpose(c->g, x, perm);
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* Our spec has letters alone: digits become letters that stand nowhere. */
static const char *spelled(lt_onnx *c, const equation *e, const char *term) {
  char *out = lt_arena_strdup(c->arena, term);
  for (char *p = out; *p; p++) {
    if (isalpha((unsigned char)*p)) continue;
    char l = 'z';
    for (int left = *p - '0';; l--)
      if (!times_in(e, l) && --left == 0) break;
    *p = l;
  }
  return out;
}

/* What is left of a product for the operands from `next` on and the result. */
static void needed_letters(lt_onnx *c, const equation *e, const operand *a, const operand *b, unsigned next,
                           char *out) {
  unsigned n = 0;
  for (int i = 0; i < 2; i++)
    for (const char *p = i ? b->of : a->of; *p; p++) {
      bool needed = strchr(e->out, *p) != NULL;
      for (unsigned k = next; k < e->n_in; k++) needed |= strchr(e->in[k].of, *p) != NULL;
      if (!needed || memchr(out, *p, n)) continue;
      if (n == LT_MAX_RANK) lt_ox_refuse(c, "a product of its operands has more than %d axes", (int)LT_MAX_RANK);
      out[n++] = *p;
    }
  out[n] = 0;
}

static operand multiplied(lt_onnx *c, const equation *e, const operand *a, const operand *b, unsigned next) {
  operand y;
  if (next == e->n_in) memcpy(y.of, e->out, sizeof y.of);
  else needed_letters(c, e, a, b, next, y.of);
  lt_einsum_attrs k = {
    .spec = lt_arena_printf(c->arena, "%s,%s->%s", spelled(c, e, a->of), spelled(c, e, b->of), spelled(c, e, y.of))};
  y.v = lt_emit(c->g, LT_OP_einsum, &k, (lt_value[]){a->v, b->v}, 2);
  return y;
}

void lt_onnx_einsum(lt_onnx *c) {
  equation e = read_equation(c, lt_ox_text(c, "equation", ""));
  for (const char *p = e.out; *p; p++) {
    if (!times_in(&e, *p)) lt_ox_refuse(c, "its equation has `%c` in the result alone", *p);
    if (strchr(p + 1, *p)) lt_ox_refuse(c, "its result has `%c` twice", *p);
  }
  for (unsigned i = 0; i < e.n_in; i++) take_diagonals(c, &e.in[i]);
  if (e.n_in > 1) drop_repeated(c, &e);
  operand y = e.in[0];
  for (unsigned i = 1; i < e.n_in; i++) y = multiplied(c, &e, &y, &e.in[i], i + 1);
  lt_ox_result(c, 0, e.n_in == 1 ? of_one(c, &y, e.out) : y.v);
}
