/* writer.h: a model in the making, and what the rows of export_ops.def are made of.
 *
 * A row's function (lt_put_<op>) writes the ONNX nodes of one node of ours: lt_ow_begin, operands, attributes,
 * lt_ow_end. Operands that have to be made (shapes, axes, numbers) are made before lt_ow_begin. A row may also say how
 * a node is written in other ops of ours (lt_spell_<op>), which is asked before. */
#ifndef LT_ONNX_WRITER_H
#define LT_ONNX_WRITER_H
#include "export/onnx/export.h"
#include "export/onnx/wire_out.h"
#include "ir/pass/pass.h"

/* An initializer: elements that are there, or those of a leaf. */
typedef struct lt_ow_tensor {
  const char *name;
  lt_type type;
  const void *at; /* NULL: asked for when it is written */
  const lt_node *leaf;
} lt_ow_tensor;

typedef struct lt_ow {
  lt_job *job;
  lt_arena *arena;
  const lt_graph *g;
  const lt_onnx_out *o;
  const char **name; /* by value */
  lt_map names;      /* all that are taken, of values */
  lt_map node_names; /* those of nodes */
  lt_map constants;  /* "TYPE bytes" → name: small ones that are shared */
  const lt_node *n;  /* in progress */
  lt_str node;       /* NodeProto in progress */
  lt_str nodes, inputs, outputs, values;
  LT_VEC(lt_ow_tensor) tensors;
} lt_ow;

/* How a node of the op is written; NULL: it has no form in ONNX, and `doc` says why. */
typedef struct lt_ow_row {
  /* In other ops of ours: fills r->map and returns true, or false where it stays. NULL: always stays. */
  bool (*spell)(lt_rewrite *r, const lt_node *n, const lt_value *in);
  void (*put)(lt_ow *w, const lt_node *n);
  const char *plain; /* for lt_put_plain: the ONNX op with the same operands and no attributes */
  const char *doc;
} lt_ow_row;
const lt_ow_row *lt_ow_row_of(lt_op op);

/* ---- a node ------------------------------------------------------------------------------------------------------ */

const char *lt_ow_in(const lt_ow *w, unsigned i);    /* operand i of the node in progress; "": none */
const char *lt_ow_out(const lt_ow *w);               /* its first result */
const char *lt_ow_fresh(lt_ow *w, const char *base); /* a free name like it */
void lt_ow_begin(lt_ow *w, const char *op);
void lt_ow_arg(lt_ow *w, const char *name);
void lt_ow_int(lt_ow *w, const char *name, int64_t v);
void lt_ow_float(lt_ow *w, const char *name, double v);
void lt_ow_ints(lt_ow *w, const char *name, const int64_t *v, int64_t n);
void lt_ow_text(lt_ow *w, const char *name, const char *text);
void lt_ow_result(lt_ow *w, const char *name); /* one of several */
const char *lt_ow_end(lt_ow *w,
                      const char *out); /* `out`, the last result; NULL: a name of its own, which is returned */

/* ---- constants --------------------------------------------------------------------------------------------------- */

const char *lt_ow_list(lt_ow *w, const int64_t *v, int64_t n);                /* i64 [n] */
const char *lt_ow_number(lt_ow *w, lt_dtype t, double v);                     /* a scalar */
const char *lt_ow_constant(lt_ow *w, const lt_type *t, const void *elements); /* a small one; those alike are one */
int lt_ow_type(lt_dtype t);                                                   /* as ONNX numbers element types */

/* Gemm turns weights itself: what is turned for n, a linear; 0: nothing, or n is none. */
lt_value lt_ow_turned_weight(const lt_graph *g, const lt_node *n);

/* ---- what is known of integers (range.c) ------------------------------------------------------------------------- */

typedef struct lt_range { int64_t lo, hi; } lt_range;
lt_range lt_range_of(const lt_graph *g, lt_value v);

#define EXPORT(op, spell, put, plain, doc) LT_EXPORT_SPELL_##spell(op) LT_EXPORT_PUT_##put(op)
#define LT_EXPORT_SPELL__(op)
#define LT_EXPORT_SPELL_EXPAND(op)
#define LT_EXPORT_SPELL_OWN(op) bool lt_spell_##op(lt_rewrite *r, const lt_node *n, const lt_value *in);
#define LT_EXPORT_PUT__(op)
#define LT_EXPORT_PUT_PLAIN(op)
#define LT_EXPORT_PUT_OWN(op) void lt_put_##op(lt_ow *w, const lt_node *n);
#include "export/onnx/export_ops.def"
#undef LT_EXPORT_SPELL__
#undef LT_EXPORT_SPELL_EXPAND
#undef LT_EXPORT_SPELL_OWN
#undef LT_EXPORT_PUT__
#undef LT_EXPORT_PUT_PLAIN
#undef LT_EXPORT_PUT_OWN

#endif
