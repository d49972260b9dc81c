/* type.c: element types and shapes. */
#include "ir/type.h"

#include <stdlib.h>

const char *lt_dtype_name(lt_dtype t) {
  switch (t) {
  case LT_F32: return "f32";
  case LT_F64: return "f64";
  case LT_I32: return "i32";
  case LT_I64: return "i64";
  case LT_BOOL: return "bool";
  case LT_DTYPES: break;
  }
  return "?";
}

size_t lt_dtype_size(lt_dtype t) {
  switch (t) {
  case LT_F32: case LT_I32: return 4;
  case LT_F64: case LT_I64: return 8;
  case LT_BOOL: return 1;
  case LT_DTYPES: break;
  }
  assert(!"an element type");
  return 0;
}

double lt_dtype_round(lt_dtype t, double v) {
  switch (t) {
  case LT_F32: return (double)(float)v;
  case LT_F64: case LT_I32: case LT_I64: case LT_BOOL: case LT_DTYPES: break;
  }
  return v;
}

int64_t lt_dtype_wrap(lt_dtype t, int64_t v) {
  switch (t) {
  case LT_I32: return (int32_t)(uint32_t)(uint64_t)v;
  case LT_BOOL: return v != 0;
  case LT_F32: case LT_F64: case LT_I64: case LT_DTYPES: break;
  }
  return v;
}

bool lt_dtype_parse(lt_dtype *out, const char *name, size_t n) {
  for (unsigned i = 0; i < LT_DTYPES; i++) {
    const char *own = lt_dtype_name((lt_dtype)i);
    if (strlen(own) != n || memcmp(own, name, n)) continue;
    *out = (lt_dtype)i;
    return true;
  }
  return false;
}

lt_type lt_scalar(lt_dtype t) { return lt_make_type(t, 0, NULL); }

lt_type lt_make_type(lt_dtype t, unsigned rank, const int64_t *dim) {
  lt_type y;
  memset(&y, 0, sizeof y); /* types compare with memcmp, padding included */
  y.dtype = t;
  y.rank = (uint8_t)LT_MIN(rank, (unsigned)LT_MAX_RANK);
  for (unsigned i = 0; i < y.rank; i++) y.dim[i] = dim[i];
  return y;
}

bool lt_type_eq(const lt_type *a, const lt_type *b) {
  return a->dtype == b->dtype && a->rank == b->rank && memcmp(a->dim, b->dim, a->rank * sizeof a->dim[0]) == 0;
}

bool lt_type_count_ok(const lt_type *t, int64_t *count) {
  int64_t n = 1, bytes;
  for (unsigned i = 0; i < t->rank; i++)
    if (t->dim[i] < 0 || !lt_mul_ok(&n, n, t->dim[i])) return false;
  *count = n;
  return lt_mul_ok(&bytes, n, (int64_t)sizeof(double)); /* the interpreter holds every element in 8 bytes */
}

static int64_t times(int64_t a, int64_t b) {
  int64_t n;
  return lt_mul_ok(&n, a, b) ? n : INT64_MAX;
}

int64_t lt_type_count(const lt_type *t) {
  int64_t n = 1;
  for (unsigned i = 0; i < t->rank; i++) n = times(n, t->dim[i]);
  return n;
}

int64_t lt_type_bytes(const lt_type *t) { return times(lt_type_count(t), (int64_t)lt_dtype_size(t->dtype)); }

void lt_type_strides(const lt_type *t, int64_t stride[LT_MAX_RANK]) {
  int64_t step = 1;
  for (unsigned i = t->rank; i-- > 0;) stride[i] = step, step *= t->dim[i];
}

bool lt_broadcast(lt_type *out, const lt_type *a, const lt_type *b) {
  unsigned rank = LT_MAX(a->rank, b->rank);
  int64_t dim[LT_MAX_RANK];
  for (unsigned i = 0; i < rank; i++) { /* i counts from the last axis */
    int64_t da = i < a->rank ? a->dim[a->rank - 1 - i] : 1, db = i < b->rank ? b->dim[b->rank - 1 - i] : 1;
    if (da != db && da != 1 && db != 1) return false;
    dim[rank - 1 - i] = da == 1 ? db : da;
  }
  *out = lt_make_type(a->dtype, rank, dim);
  return true;
}

const char *lt_type_text(lt_arena *a, const lt_type *t) {
  lt_str s;
  lt_str_init(&s, a);
  lt_str_puts(&s, lt_dtype_name(t->dtype));
  for (unsigned i = 0; i < t->rank; i++) lt_str_printf(&s, "%s%lld", i ? ", " : "[", (long long)t->dim[i]);
  if (t->rank) lt_str_puts(&s, "]");
  return s.at;
}

static const char *skip_space(const char *p) {
  while (*p == ' ' || *p == '\t') p++;
  return p;
}

bool lt_type_parse(lt_type *out, const char *text) {
  const char *p = skip_space(text);
  size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789");
  lt_dtype dtype;
  int64_t dim[LT_MAX_RANK];
  unsigned rank = 0;
  if (!lt_dtype_parse(&dtype, p, n)) return false;
  p = skip_space(p + n);
  for (char before = '['; *p == before; before = ',') {
    p = skip_space(p + 1);
    if (*p < '0' || *p > '9' || rank == LT_MAX_RANK) return false;
    char *end;
    long long d = strtoll(p, &end, 10); /* saturates; an overflowing product is found below */
    if (d < 1) return false;
    dim[rank++] = d;
    p = skip_space(end);
  }
  if (rank && *p++ != ']') return false;
  if (*skip_space(p)) return false;
  *out = lt_make_type(dtype, rank, dim);
  return lt_type_count_ok(out, &dim[0]);
}
