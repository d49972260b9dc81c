/* op_doc.c: docs/ops.md from the op table, so that page and table cannot differ (tests/api/docs.c compares them). A
 * heading for each family, under it each op as it is called, what it means, and its attributes. */
#include "ir/ir.h"

static const struct { const char *family, *title, *text; } families[] = {
  {"leaf", "Leaves",
   "Values that come from outside. In a definition they are written as statements: an operand of the network, "
   "`param W: f32[3, 4] = normal(scale=0.1)`, `state seen: i64 = 0`, `const table: f32[2] = [1, 2]`."},
  {"conv", "Convolution",
   "Images are [N, C, H, W]. conv2d is linear in `x` and in `W`; its two gradients are the adjoints of these maps, so "
   "the three are each other's gradients, to any order."},
  {"gemm", "Matrix products", NULL},
  {"einsum", "Products over any axes",
   "Both become a matrix product of their operands with the axes brought together, or, where nothing "
   "is summed or kept, a product element by element."},
  {"pool", "Pooling, gather",
   "Padding is left out of every window. The gradient of a maximum goes to the place of the first one, by "
   "index, and so differentiates again."},
  {"map", "Elementwise",
   "Operands broadcast as in NumPy: counted from the last axis, dims are equal or one of them is 1. Element types "
   "must be equal. Integers wrap. NaN goes through."},
  {"reduce", "Reductions and losses", "Axes may be negative, counted from the end."},
  {"norm", "Normalisation, random numbers",
   "`batch_norm` and `dropout` mean one thing in an entry for running and another in one for training."},
  {"shape", "Shape", "Elements are moved or repeated; nothing is computed."},
  {"meta", "Structure", NULL},
};

static void put_family(lt_str *out, const char *family) {
  for (unsigned i = 0; i < LT_COUNT(families); i++)
    if (strcmp(families[i].family, family) == 0) {
      lt_str_printf(out, "\n## %s\n", families[i].title);
      if (families[i].text) lt_str_printf(out, "\n%s\n", families[i].text);
    }
}

/* "x W b?" as "x, W, b=none"; "xs*" as "xs…". */
static const char *put_names(lt_str *out, const char *names) {
  const char *sep = "";
  for (const char *p = names; *p; sep = ", ") {
    size_t n = strcspn(p, " "), plain = n - (p[n - 1] == '?' || p[n - 1] == '*');
    lt_str_printf(out, "%s%.*s%s", sep, (int)plain, p, p[n - 1] == '?' ? "=none" : p[n - 1] == '*' ? "…" : "");
    p += n + (p[n] == ' ');
  }
  return sep;
}

static void put_call(lt_str *out, const lt_op_info *op) {
  lt_str_printf(out, "%s(", op->name);
  const char *sep = put_names(out, op->operands);
  for (unsigned i = 0; i < op->n_attrs; i++, sep = ", ")
    lt_str_printf(out, "%s%s=%s", sep, op->attrs[i].name, op->attrs[i].def);
  lt_str_puts(out, ") -> ");
  put_names(out, op->results);
}

static const char *kind_text(lt_attr_kind kind) {
  switch (kind) {
  case LT_ATTR_int: return "whole number";
  case LT_ATTR_float: return "number";
  case LT_ATTR_bool: return "`true` or `false`";
  case LT_ATTR_pair: return "number or pair";
  case LT_ATTR_quad: return "number, pair or [top, left, bottom, right]";
  case LT_ATTR_ints: return "list of whole numbers";
  case LT_ATTR_str: return "string";
  case LT_ATTR_dtype: return "element type";
  case LT_ATTR_init: return "initial value";
  case LT_ATTR_data: return "tensor";
  }
  assert(!"a kind of attributes");
  return "";
}

static const char *gradient_text(const lt_op_info *op) {
  if (op->flags & LT_LEAF) return "";
  if (op->vjp) return " Differentiable to any order.";
  return strcmp(op->family, "meta") ? " No gradient." : "";
}

static void put_op(lt_str *out, const lt_op_info *op) {
  lt_str_printf(out, "\n### %s\n\n`", op->name);
  put_call(out, op);
  lt_str_printf(out, "`\n\n%s.%s%s\n", op->doc, gradient_text(op),
                op->flags & LT_HIDDEN ? " Made by passes only." : "");
  for (unsigned i = 0; i < op->n_attrs; i++) {
    const lt_attr_info *a = &op->attrs[i];
    lt_str_printf(out, "%s- `%s`: %s; %s%s\n", i ? "" : "\n", a->name, kind_text(a->kind), a->doc,
                  *a->def ? "" : " (must be given)");
  }
}

void lt_ops_doc(lt_str *out) {
  lt_str_puts(out, "# Ops\n\nMade from `src/ir/ops.def`; do not edit. Operands come first, attributes by name, "
                   "defaults are shown. Layers, which bring "
                   "their own weights, are in [language.md](language.md).\n");
  for (unsigned i = 1; i < LT_OPS; i++) {
    if (i == 1 || strcmp(lt_op_table[i].family, lt_op_table[i - 1].family)) put_family(out, lt_op_table[i].family);
    put_op(out, &lt_op_table[i]);
  }
}
