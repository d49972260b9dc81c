/* wire_out.c: numbers, texts and messages as protobuf has them (wire_out.h). */
#include "export/onnx/wire_out.h"

void lt_wire_put_varint(lt_str *out, uint64_t v) {
  char bytes[10];
  size_t n = 0;
  for (; v >= 0x80; v >>= 7) bytes[n++] = (char)((v & 0x7f) | 0x80);
  bytes[n++] = (char)v;
  lt_str_put(out, bytes, n);
}

enum { VARINT = 0, LENGTH = 2, FIXED_32 = 5 };

static void put_tag(lt_str *out, unsigned field, unsigned kind) {
  lt_wire_put_varint(out, (uint64_t)field << 3 | kind);
}

void lt_wire_put_int(lt_str *out, unsigned field, int64_t v) {
  put_tag(out, field, VARINT);
  lt_wire_put_varint(out, (uint64_t)v);
}

void lt_wire_put_float(lt_str *out, unsigned field, float v) {
  uint32_t bits;
  char bytes[4];
  memcpy(&bits, &v, sizeof bits);
  for (int i = 0; i < 4; i++) bytes[i] = (char)(bits >> 8 * i & 255);
  put_tag(out, field, FIXED_32);
  lt_str_put(out, bytes, sizeof bytes);
}

void lt_wire_put_length(lt_str *out, unsigned field, uint64_t n) {
  put_tag(out, field, LENGTH);
  lt_wire_put_varint(out, n);
}

void lt_wire_put_bytes(lt_str *out, unsigned field, const void *bytes, size_t n) {
  lt_wire_put_length(out, field, n);
  lt_str_put(out, bytes, n);
}

void lt_wire_put_message(lt_str *out, unsigned field, const lt_str *message) {
  lt_wire_put_bytes(out, field, message->n ? message->at : "", message->n);
}

void lt_wire_put_text(lt_str *out, unsigned field, const char *text) {
  size_t n = strlen(text);
  if (lt_is_utf8(text, n)) {
    lt_wire_put_bytes(out, field, text, n);
    return;
  }
  lt_wire_put_length(out, field, n);
  for (size_t i = 0; i < n; i++) lt_str_put(out, (unsigned char)text[i] < 0x80 ? text + i : "_", 1);
}
