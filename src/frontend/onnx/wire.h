/* wire.h: protobuf's wire format: the fields of one message after another, as ranges of the file.
 *
 * Nothing is copied and nothing is built: who knows a message walks its fields with lt_wire_next, enters those that are
 * messages themselves, and passes over the rest, which costs nothing however long they are. Every byte that is looked
 * at is checked: a field that ends outside its message, a varint of more than ten bytes, groups, messages nested deeper
 * than LT_WIRE_DEPTH end in lt_fail with the file and the byte. (Fields and wire types are those of protobuf.dev's
 * "Encoding"; no code of any library.) */
#ifndef LT_WIRE_H
#define LT_WIRE_H
#include "base/base.h"

enum { LT_WIRE_DEPTH = 64 };

typedef struct lt_span { size_t at, n; } lt_span; /* a range of the file */
typedef struct lt_wire { lt_job *job; lt_arena *arena; const char *file; lt_bytes bytes; } lt_wire;
typedef struct lt_wire_cursor {
  const lt_wire *w;
  const char *what; /* the message's name, for messages about it */
  size_t next, end;
  unsigned depth;
} lt_wire_cursor;

typedef enum lt_wire_kind { LT_WIRE_VARINT, LT_WIRE_64 = 1, LT_WIRE_BYTES = 2, LT_WIRE_32 = 5 } lt_wire_kind;
typedef struct lt_wire_field {
  uint32_t number;
  lt_wire_kind kind;
  size_t at;      /* of its tag */
  uint64_t value; /* VARINT, and the bits of 64 and 32 */
  lt_span span;   /* BYTES */
} lt_wire_field;

lt_wire_cursor lt_wire_start(const lt_wire *w, const char *what);
bool lt_wire_next(lt_wire_cursor *c, lt_wire_field *f); /* false: the message ends here */
/* How many fields of each number below n the message has. */
void lt_wire_count(lt_wire_cursor c, uint32_t *count, uint32_t n);
/* What a field must be; another kind is an error that names the field. */
lt_wire_cursor lt_wire_enter(const lt_wire_cursor *c, const lt_wire_field *f, const char *what);
int64_t lt_wire_int(const lt_wire_cursor *c, const lt_wire_field *f, const char *what);
float lt_wire_float(const lt_wire_cursor *c, const lt_wire_field *f, const char *what);
lt_span lt_wire_bytes(const lt_wire_cursor *c, const lt_wire_field *f, const char *what);
/* A copy, NUL-terminated, of at most `max` bytes of UTF-8 without NUL. */
const char *lt_wire_text(const lt_wire_cursor *c, const lt_wire_field *f, const char *what, size_t max);
/* The numbers of a repeated field, which stand packed in one field or one in each: calls `put` for each. */
typedef void lt_wire_put(void *ctx, uint64_t bits);
void lt_wire_numbers(const lt_wire_cursor *c, const lt_wire_field *f, lt_wire_kind kind, const char *what,
                     lt_wire_put *put, void *ctx);
/* "byte 17: …" in the file. */
LT_NORETURN void lt_wire_fail(const lt_wire *w, size_t at, const char *fmt, ...) LT_PRINTF(3, 4);

#endif
