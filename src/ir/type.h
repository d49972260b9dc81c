/* type.h: element types and shapes.
 *
 * What depends on an element type asks in a switch without default, so that a new lt_dtype is a list of compiler
 * warnings; what only depends on its kind (floats, whole numbers, truth values) asks lt_dtype_kind. */
#ifndef LT_TYPE_H
#define LT_TYPE_H
#include "base/base.h"

#include <assert.h>

enum { LT_MAX_RANK = 8 };
typedef enum lt_dtype { LT_F32, LT_F64, LT_I32, LT_I64, LT_BOOL, LT_DTYPES } lt_dtype;
typedef enum lt_kind_of_number { LT_FLOATS, LT_INTEGERS, LT_TRUTHS } lt_kind_of_number;

typedef struct lt_type {
  lt_dtype dtype;
  uint8_t rank;
  int64_t dim[LT_MAX_RANK]; /* each ≥ 1; unused ones 0, so that types compare with memcmp */
} lt_type;

static inline lt_kind_of_number lt_dtype_kind(lt_dtype t) {
  switch (t) {
  case LT_F32: case LT_F64: return LT_FLOATS;
  case LT_I32: case LT_I64: return LT_INTEGERS;
  case LT_BOOL: return LT_TRUTHS;
  case LT_DTYPES: break;
  }
  assert(!"an element type");
  return LT_TRUTHS;
}
static inline bool lt_is_float(lt_dtype t) { return lt_dtype_kind(t) == LT_FLOATS; }
const char *lt_dtype_name(lt_dtype t); /* "f32"; "?" for none */
bool lt_dtype_parse(lt_dtype *out, const char *name, size_t n);
size_t lt_dtype_size(lt_dtype t); /* bytes; bool is 1 */
/* the nearest float that an element of t holds; for other kinds v itself */
double lt_dtype_round(lt_dtype t, double v);
/* what an element of t keeps of a whole number; a truth value: whether it is not 0 */
int64_t lt_dtype_wrap(lt_dtype t, int64_t v);
lt_type lt_scalar(lt_dtype t);
lt_type lt_make_type(lt_dtype t, unsigned rank, const int64_t *dim);
bool lt_type_eq(const lt_type *a, const lt_type *b);
/* elements; INT64_MAX where they overflow, which those of types in a graph never do (emit checks) */
int64_t lt_type_count(const lt_type *t);
int64_t lt_type_bytes(const lt_type *t);
bool lt_type_count_ok(const lt_type *t, int64_t *count);             /* false: overflows */
void lt_type_strides(const lt_type *t, int64_t stride[LT_MAX_RANK]); /* row-major, in elements */
bool lt_broadcast(lt_type *out, const lt_type *a, const lt_type *b); /* NumPy's rule on shapes; dtype from a */
const char *lt_type_text(lt_arena *a, const lt_type *t);             /* "f32[2, 3]", "f32" for a scalar */
bool lt_type_parse(lt_type *out, const char *text);                  /* numbers only, no named dims */

/* Sizes along one axis (size.c): windows in an image of `size` with a border, and the smallest image that has `size`
 * windows, cut by a border. NULL and *out ≥ 1, or what is wrong, as text in the arena. */
const char *lt_conv_size(lt_arena *a, int64_t *out, int64_t size, int64_t kernel, int64_t stride, int64_t before,
                         int64_t after);
const char *lt_deconv_size(lt_arena *a, int64_t *out, int64_t size, int64_t kernel, int64_t stride, int64_t before,
                           int64_t after);

#endif
