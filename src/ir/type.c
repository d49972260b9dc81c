/* type.c: element types and shapes. */
#include "ir/ir.h"

#include <stdlib.h>

static const struct { const char *name; size_t size; } dtypes[LT_DTYPES] = {
  [LT_F32] = {"f32", 4}, [LT_F64] = {"f64", 8}, [LT_I32] = {"i32", 4}, [LT_I64] = {"i64", 8}, [LT_BOOL] = {"bool", 1},
};

const char *lt_dtype_name(lt_dtype t) { return (unsigned)t < LT_DTYPES ? dtypes[t].name : "?"; }
size_t lt_dtype_size(lt_dtype t) { return dtypes[t].size; }

bool lt_dtype_parse(lt_dtype *out, const char *name, size_t n) {
  for (unsigned i = 0; i < LT_DTYPES; i++) {
    if (strlen(dtypes[i].name) != n || memcmp(dtypes[i].name, name, n)) continue;
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

int64_t lt_type_count(const lt_type *t) {
  int64_t n = 1;
  for (unsigned i = 0; i < t->rank; i++) n *= t->dim[i];
  return n;
}

int64_t lt_type_bytes(const lt_type *t) { return lt_type_count(t) * (int64_t)lt_dtype_size(t->dtype); }

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
