/* str.c: growing text, shortest round-trip numbers, nearest names. Independent of the locale. */
#include "base/base.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void lt_str_init(lt_str *s, lt_arena *a) { *s = (lt_str){.arena = a}; }

static void reserve(lt_str *s, size_t more) {
  if (more >= SIZE_MAX / 4 - s->n) lt_fail_nomem(s->arena->job);
  size_t need = s->n + more + 1;
  if (need <= s->cap) return;
  size_t cap = LT_MAX(LT_MAX(s->cap * 2, need), (size_t)64);
  char *at = lt_arena_alloc(s->arena, cap);
  if (s->n) memcpy(at, s->at, s->n);
  s->at = at, s->cap = cap;
}

void lt_str_put(lt_str *s, const char *bytes, size_t n) {
  reserve(s, n);
  if (n) memcpy(s->at + s->n, bytes, n);
  s->n += n;
  s->at[s->n] = 0;
}

void lt_str_puts(lt_str *s, const char *text) { lt_str_put(s, text, strlen(text)); }

void lt_str_printf(lt_str *s, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n < 0) lt_fail_nomem(s->arena->job);
  reserve(s, (size_t)n);
  va_start(ap, fmt);
  vsnprintf(s->at + s->n, (size_t)n + 1, fmt, ap);
  va_end(ap);
  s->n += (size_t)n;
}

/* text is what printf made of a finite number. A locale may have put anything (even two bytes) for the point. */
static void put_number(lt_str *s, const char *text) {
  char out[64];
  size_t n = 0;
  bool real = false;
  for (const char *p = text; *p && n < sizeof out - 3; p++) {
    bool plain = (*p >= '0' && *p <= '9') || *p == '-' || *p == '+' || *p == 'e';
    real |= *p == 'e' || !plain;
    if (plain) out[n++] = *p;
    else if (n && out[n - 1] != '.') out[n++] = '.';
  }
  if (!real) out[n++] = '.', out[n++] = '0';
  lt_str_put(s, out, n);
}

static bool put_special(lt_str *s, double v) {
  if (isnan(v)) lt_str_puts(s, "nan");
  else if (isinf(v)) lt_str_puts(s, v < 0 ? "-inf" : "inf");
  else return false;
  return true;
}

void lt_str_float(lt_str *s, float v) {
  if (put_special(s, v)) return;
  char text[64];
  for (int digits = 1; digits <= 9; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, (double)v);
    if (strtof(text, NULL) == v) break;
  }
  put_number(s, text);
}

void lt_str_double(lt_str *s, double v) {
  if (put_special(s, v)) return;
  char text[64];
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, v);
    if (strtod(text, NULL) == v) break;
  }
  put_number(s, text);
}

enum { LONGEST_WORD = 64 };

/* Edit distance where swapping two neighbours counts as one edit (optimal string alignment). */
static size_t edit_distance(const char *a, size_t n, const char *b, size_t m) {
  size_t row[3][LONGEST_WORD + 1];
  size_t *two = row[0], *one = row[1], *now = row[2];
  for (size_t j = 0; j <= m; j++) one[j] = j;
  for (size_t i = 1; i <= n; i++) {
    now[0] = i;
    for (size_t j = 1; j <= m; j++) {
      size_t d = one[j - 1] + (a[i - 1] != b[j - 1]);
      d = LT_MIN(d, LT_MIN(one[j], now[j - 1]) + 1);
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) d = LT_MIN(d, two[j - 2] + 1);
      now[j] = d;
    }
    size_t *t = two;
    two = one, one = now, now = t;
  }
  return one[m];
}

const char *lt_nearest(const char *word, const char *const *names) {
  size_t n = strlen(word), best = 2 + n / 4;
  const char *found = NULL;
  if (n > LONGEST_WORD) return NULL;
  for (; *names; names++) {
    size_t m = strlen(*names);
    if (m > LONGEST_WORD) continue;
    size_t d = edit_distance(word, n, *names, m);
    if (d < best) best = d, found = *names;
  }
  return found;
}

bool lt_is_utf8(const char *text, size_t n) {
  const unsigned char *p = (const unsigned char *)text, *end = p + n;
  while (p < end) {
    unsigned length = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;
    if (!length || (size_t)(end - p) < length) return false;
    for (unsigned i = 1; i < length; i++)
      if ((p[i] & 0xc0) != 0x80) return false;
    unsigned second = length > 2 ? p[1] : 0x90;
    if ((*p == 0xe0 && second < 0xa0) || (*p == 0xed && second > 0x9f) || (*p == 0xf0 && second < 0x90) ||
        (*p == 0xf4 && second > 0x8f))
      return false;
    p += length;
  }
  return true;
}
