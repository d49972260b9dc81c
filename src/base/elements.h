/* elements.h: an array in a file's bytes, as a checked view, and its elements as those of another type.
 *
 * A view has a stride for each axis, so that another order of axes or another file's memory order is a view of the same
 * bytes, and conversion reads through it. */
#ifndef LT_ELEMENTS_H
#define LT_ELEMENTS_H
#include "base/base.h"

typedef struct lt_elements {
  char kind;    /* 'f' float, 'e' bfloat16, 'i' signed, 'u' unsigned, 'b' bool */
  uint8_t size; /* bytes of one element */
  bool big;     /* big-endian */
  uint8_t rank;
  int64_t dim[LATHE_MAX_RANK], stride[LATHE_MAX_RANK]; /* strides in elements, ≥ 0 */
  int64_t count;
  const unsigned char *data; /* of the first element */
} lt_elements;

/* One of ours, to be written: elements as they are in memory, row-major. */
typedef struct lt_named_array {
  const char *name;
  lathe_dtype dtype;
  unsigned rank;
  const int64_t *dim;
  const void *data;
} lt_named_array;

/* Where an array came from, for messages: file, and the member of an archive (NULL: the file itself). */
typedef struct lt_array_where {
  const char *file, *member;
} lt_array_where;
/* Fail naming file and member. */
LT_NORETURN void lt_array_fail(lt_job *job, lt_array_where w, int status, const char *fmt, ...) LT_PRINTF(4, 5);

/* Strides of row-major elements, and e->count; false: their number overflows. A dim may be 0. */
bool lt_elements_lay(lt_elements *e);
/* The axes in another order: those of `out` are axes perm[0], perm[1] … of e. */
lt_elements lt_elements_turn(const lt_elements *e, unsigned rank, const uint8_t *perm);
/* The element type that fits when the caller has no wish: f32, i32 or bool. */
lathe_dtype lt_elements_natural(const lt_elements *e);
/* Write e->count elements of `want` in row-major order to data. Floats become f32 or f64, integers i32 or i64 when all
 * values fit, bool bool; anything else is an error. */
void lt_elements_convert(const lt_elements *e, lt_job *job, lt_array_where where, lathe_dtype want, void *data);
/* Are its bytes already what would be written? Bools may have other bytes than ours. */
bool lt_elements_are(const lt_elements *e, lathe_dtype want);
bool lt_elements_fit(const lt_elements *e, lathe_dtype want);     /* may its kind be converted? */
const char *lt_elements_kind(const lt_elements *e, char out[16]); /* "float32", "bfloat16", "uint8", "bool" */

/* An element type as files know it: the letter of its kind, its bytes, our name, NumPy's. */
typedef struct lt_element { char kind; uint8_t size; const char *name, *descr; } lt_element;
lt_element lt_element_of(lathe_dtype t);

#endif
