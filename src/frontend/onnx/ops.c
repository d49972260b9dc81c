/* ops.c: the table of ONNX's ops that are read (onnx_ops.def), looked up by name, and its page. */
#include "frontend/onnx/import.h"

static const lt_onnx_op table[] = {
#define IN_DOMAIN(domain, name, since, function, op, how) {#name, domain, since, lt_onnx_##function, LT_OP_##op, how},
#include "frontend/onnx/onnx_ops.def"
};

const lt_onnx_op *lt_onnx_op_find(const char *domain, const char *name) {
  for (size_t i = 0; i < LT_COUNT(table); i++)
    if (!strcmp(table[i].name, name) && !strcmp(table[i].domain, domain)) return &table[i];
  return NULL;
}

void lt_onnx_ops_doc(lt_str *out) {
  lt_str_puts(out, "| op | up to version | becomes |\n|---|---|---|\n");
  for (size_t i = 0; i < LT_COUNT(table); i++) {
    const lt_onnx_op *o = &table[i];
    lt_str_printf(out, o->domain[0] ? "| %s (%s) | %d | %s |\n" : "| %s%s | %d | %s |\n", o->name, o->domain,
                  (int)o->since, o->how);
  }
}
