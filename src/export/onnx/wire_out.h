/* wire_out.h: protobuf's wire format, written: fields of a message appended to a text in memory. A message inside
 * another is made first and put in whole; what is too large for that (the elements of weights) has its length written
 * here and its bytes elsewhere. */
#ifndef LT_WIRE_OUT_H
#define LT_WIRE_OUT_H
#include "base/base.h"

void lt_wire_put_varint(lt_str *out, uint64_t v);
void lt_wire_put_int(lt_str *out, unsigned field, int64_t v);
void lt_wire_put_float(lt_str *out, unsigned field, float v);
void lt_wire_put_length(lt_str *out, unsigned field, uint64_t n); /* n bytes follow */
void lt_wire_put_bytes(lt_str *out, unsigned field, const void *bytes, size_t n);
void lt_wire_put_message(lt_str *out, unsigned field, const lt_str *message);
void lt_wire_put_text(lt_str *out, unsigned field, const char *text); /* what is no UTF-8 becomes `_` */

#endif
