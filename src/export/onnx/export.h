/* export.h: a graph as an ONNX model in a file.
 *
 * A graph is first written in ops that ONNX has (lt_onnx_spell, a pass like any other: spell.c, spell_pool.c), then
 * node by node into the file. export_ops.def has a row for each op of ours. What has no form in ONNX (random numbers)
 * is refused, all of it in one error.
 *
 *   inputs            inputs of the same names, and params and states that the graph updates, with initializers of the
 *                     same names, which are what they have when nothing is fed
 *   params, states    initializers
 *   outputs           outputs of the same names
 *   updates           outputs NAME.next
 *
 * Elements go from where they are to the file: inside the model, or beside it in PATH.data. */
#ifndef LT_ONNX_EXPORT_H
#define LT_ONNX_EXPORT_H
#include "ir/ir.h"

enum { LT_ONNX_OUT_IR = 9, LT_ONNX_OUT_OPSET = 19 }; /* why these: docs/onnx.md */

typedef enum lt_onnx_place { LT_ONNX_INSIDE_OR_BESIDE, LT_ONNX_INSIDE, LT_ONNX_BESIDE } lt_onnx_place;

typedef struct lt_onnx_out {
  const char *path;
  const char *producer; /* the version of who writes */
  lt_onnx_place place;  /* of weights: by default beside where the model would be too large for its format */
  /* The elements of a param or state, as its type has them; of an input those that it has when it is not fed, NULL:
   * none. They must stay until the next call. */
  const void *(*elements)(void *ctx, const lt_graph *g, const lt_node *leaf);
  void *ctx;
} lt_onnx_out;

/* The graph in ops that have a form in ONNX; it must have no grad node left. Freed as what passes return. */
lt_graph *lt_onnx_spell(lt_job *job, const lt_graph *from);
/* Write such a graph. The file (and the one beside it) appears whole or not at all. */
void lt_onnx_export(lt_job *job, const lt_graph *g, const lt_onnx_out *o);
const char *lt_onnx_data_path(lt_arena *a, const char *path); /* of the file beside it */
void lt_onnx_export_doc(lt_str *out);                         /* the table of docs/onnx.md */

#endif
