/* wire.c: bytes → fields: varints, fixed numbers and ranges, each checked against the message that it stands in. */
#include "frontend/onnx/wire.h"

#include <stdio.h>

void lt_wire_fail(const lt_wire *w, size_t at, const char *fmt, ...) {
  char text[sizeof w->job->error->message];
  const lt_loc loc = {.file = w->file};
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  lt_fail(w->job, LATHE_E_INVALID, &loc, "byte %zu: %s", at, text);
}

lt_wire_cursor lt_wire_start(const lt_wire *w, const char *what) {
  return (lt_wire_cursor){.w = w, .what = what, .end = w->bytes.n};
}

/* Ten bytes hold 70 bits; of the last one only the lowest counts. */
static uint64_t varint(const lt_wire *w, size_t *at, size_t end) {
  uint64_t v = 0;
  size_t start = *at;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (*at >= end) lt_wire_fail(w, start, "a number ends in the middle");
    uint64_t b = w->bytes.at[(*at)++];
    if (shift == 63 && b > 1) break;
    v |= (b & 0x7f) << shift;
    if (b < 0x80) return v;
  }
  lt_wire_fail(w, start, "a number has more than 64 bits");
}

static uint64_t fixed(const lt_wire *w, size_t *at, size_t end, size_t n) {
  uint64_t v = 0;
  if (n > end - *at) lt_wire_fail(w, *at, "a number ends in the middle");
  for (size_t i = 0; i < n; i++) v |= (uint64_t)w->bytes.at[*at + i] << 8 * i;
  *at += n;
  return v;
}

bool lt_wire_next(lt_wire_cursor *c, lt_wire_field *f) {
  if (c->next >= c->end) return false;
  *f = (lt_wire_field){.at = c->next};
  uint64_t tag = varint(c->w, &c->next, c->end), length;
  if (tag >> 3 == 0 || tag >> 32)
    lt_wire_fail(c->w, f->at, "%s: no field has the number %llu", c->what, (unsigned long long)(tag >> 3));
  f->number = (uint32_t)(tag >> 3);
  f->kind = (lt_wire_kind)(tag & 7);
  switch (f->kind) {
  case LT_WIRE_VARINT: f->value = varint(c->w, &c->next, c->end); return true;
  case LT_WIRE_64: f->value = fixed(c->w, &c->next, c->end, 8); return true;
  case LT_WIRE_32: f->value = fixed(c->w, &c->next, c->end, 4); return true;
  case LT_WIRE_BYTES:
    length = varint(c->w, &c->next, c->end);
    if (length > c->end - c->next)
      lt_wire_fail(c->w, f->at, "%s: field %u has %llu bytes, and only %zu are left", c->what, f->number,
                   (unsigned long long)length, c->end - c->next);
    f->span = (lt_span){c->next, (size_t)length};
    c->next += (size_t)length;
    return true;
  }
  lt_wire_fail(c->w, f->at, "%s: field %u is of kind %u, which ONNX does not use", c->what, f->number,
               (unsigned)(tag & 7));
}

void lt_wire_count(lt_wire_cursor c, uint32_t *count, uint32_t n) {
  lt_wire_field f;
  while (lt_wire_next(&c, &f))
    if (f.number < n) count[f.number]++;
}

static void need(const lt_wire_cursor *c, const lt_wire_field *f, lt_wire_kind kind, const char *what) {
  static const char *const names[] = {[LT_WIRE_VARINT] = "a whole number",
                                      [LT_WIRE_64] = "8 bytes",
                                      [LT_WIRE_BYTES] = "a length and bytes",
                                      [LT_WIRE_32] = "4 bytes"};
  if (f->kind != kind)
    lt_wire_fail(c->w, f->at, "%s: %s should be %s, not %s", c->what, what, names[kind], names[f->kind]);
}

lt_wire_cursor lt_wire_enter(const lt_wire_cursor *c, const lt_wire_field *f, const char *what) {
  need(c, f, LT_WIRE_BYTES, what);
  if (c->depth >= LT_WIRE_DEPTH) lt_wire_fail(c->w, f->at, "messages nest deeper than %d", (int)LT_WIRE_DEPTH);
  return (lt_wire_cursor){c->w, what, f->span.at, f->span.at + f->span.n, c->depth + 1};
}

int64_t lt_wire_int(const lt_wire_cursor *c, const lt_wire_field *f, const char *what) {
  need(c, f, LT_WIRE_VARINT, what);
  return (int64_t)f->value;
}

float lt_wire_float(const lt_wire_cursor *c, const lt_wire_field *f, const char *what) {
  uint32_t bits = (uint32_t)f->value;
  float v;
  need(c, f, LT_WIRE_32, what);
  memcpy(&v, &bits, sizeof v);
  return v;
}

lt_span lt_wire_bytes(const lt_wire_cursor *c, const lt_wire_field *f, const char *what) {
  need(c, f, LT_WIRE_BYTES, what);
  return f->span;
}

/* The length of one character of UTF-8, 0: none. */
static size_t character(const unsigned char *p, size_t n) {
  size_t k = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
  if (!k || k > n || !p[0]) return 0;
  for (size_t i = 1; i < k; i++)
    if (p[i] >> 6 != 2) return 0;
  return k;
}

const char *lt_wire_text(const lt_wire_cursor *c, const lt_wire_field *f, const char *what, size_t max) {
  lt_span s = lt_wire_bytes(c, f, what);
  const unsigned char *p = c->w->bytes.at + s.at;
  if (s.n > max) lt_wire_fail(c->w, f->at, "%s: %s has %zu bytes, at most %zu are allowed", c->what, what, s.n, max);
  for (size_t i = 0, k; i < s.n; i += k)
    if (!(k = character(p + i, s.n - i))) lt_wire_fail(c->w, s.at + i, "%s: %s is no UTF-8 text", c->what, what);
  return lt_arena_strndup(c->w->arena, (const char *)p, s.n);
}

void lt_wire_numbers(const lt_wire_cursor *c, const lt_wire_field *f, lt_wire_kind kind, const char *what,
                     lt_wire_put *put, void *ctx) {
  if (f->kind == kind) {
    put(ctx, f->value);
    return;
  }
  need(c, f, LT_WIRE_BYTES, what);
  for (size_t at = f->span.at, end = at + f->span.n; at < end;)
    put(ctx, kind == LT_WIRE_VARINT ? varint(c->w, &at, end) : fixed(c->w, &at, end, kind == LT_WIRE_64 ? 8 : 4));
}
