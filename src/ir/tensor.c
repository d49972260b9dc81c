/* tensor.c: the interpreter's arrays: every float a double, every integer an int64_t. */
#include "ir/ir.h"

#include <math.h>

lt_tensor *lt_tensor_new(lt_arena *a, const lt_type *t) {
  lt_tensor *y = LT_NEW(a, lt_tensor);
  y->type = *t;
  y->i = lt_arena_array(a, (size_t)lt_type_count(t), sizeof(int64_t));
  return y;
}

lt_tensor *lt_tensor_copy(lt_arena *a, const lt_tensor *t) {
  if (!t) return NULL;
  lt_tensor *y = LT_NEW(a, lt_tensor);
  size_t bytes = (size_t)lt_type_count(&t->type) * sizeof(int64_t);
  y->type = t->type;
  y->i = memcpy(lt_arena_alloc(a, bytes), t->i, bytes);
  return y;
}

bool lt_tensor_eq(const lt_tensor *a, const lt_tensor *b) {
  if (!a || !b) return a == b;
  return lt_type_eq(&a->type, &b->type) && memcmp(a->i, b->i, (size_t)lt_type_count(&a->type) * sizeof a->i[0]) == 0;
}

#define EACH(statement)                                                                                                \
  for (int64_t i = 0; i < n; i++) statement;                                                                           \
  break

void lt_tensor_read(lt_tensor *y, const void *data) {
  int64_t n = lt_type_count(&y->type);
  float f32;
  int32_t i32;
  switch (y->type.dtype) { /* data need not be aligned */
  case LT_F32: EACH((memcpy(&f32, (const char *)data + 4 * i, 4), y->f[i] = f32));
  case LT_I32: EACH((memcpy(&i32, (const char *)data + 4 * i, 4), y->i[i] = i32));
  case LT_BOOL: EACH(y->i[i] = ((const unsigned char *)data)[i] != 0);
  case LT_F64: case LT_I64: memcpy(y->i, data, (size_t)n * 8); break;
  case LT_DTYPES: break;
  }
}

lt_tensor *lt_tensor_import(lt_arena *a, const lt_type *t, const void *data) {
  lt_tensor *y = lt_tensor_new(a, t);
  lt_tensor_read(y, data);
  return y;
}

lt_tensor *lt_tensor_of(lt_arena *a, const lt_data *d) { return lt_tensor_import(a, &d->type, d->at); }

void lt_tensor_export(const lt_tensor *t, void *data) {
  int64_t n = lt_type_count(&t->type);
  float f32;
  int32_t i32;
  switch (t->type.dtype) {
  case LT_F32: EACH((f32 = (float)t->f[i], memcpy((char *)data + 4 * i, &f32, 4)));
  case LT_I32: EACH((i32 = (int32_t)t->i[i], memcpy((char *)data + 4 * i, &i32, 4)));
  case LT_BOOL: EACH(((unsigned char *)data)[i] = t->i[i] != 0);
  case LT_F64: case LT_I64: memcpy(data, t->i, (size_t)n * 8); break;
  case LT_DTYPES: break;
  }
}

double lt_tensor_at(const lt_tensor *t, int64_t i) { return lt_is_float(t->type.dtype) ? t->f[i] : (double)t->i[i]; }

void lt_tensor_set(lt_tensor *t, int64_t i, double v) {
  if (lt_is_float(t->type.dtype)) t->f[i] = v;
  else if (lt_dtype_kind(t->type.dtype) == LT_TRUTHS) t->i[i] = v != 0;
  else if (isnan(v)) t->i[i] = 0;
  else t->i[i] = v >= 0x1p63 ? INT64_MAX : v < -0x1p63 ? INT64_MIN : (int64_t)nearbyint(v);
}
