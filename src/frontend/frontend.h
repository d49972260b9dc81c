/* frontend.h: from text to graphs, and the layers that text and C builder share.
 *
 * lt_text_read turns a `.lathe` text (a definition or a dump: one language) into a graph: blocks are inlined, loops
 * unrolled, named dimensions put in, layers made into parameters and ops. lt_apply is the same step for one op or layer,
 * with the attributes as text; the C builder is made of it. Everything that a user can get wrong ends in lt_fail with
 * file, line and column (LATHE_E_PARSE for text that is no statement, LATHE_E_INVALID for statements that mean nothing). */
#ifndef LT_FRONTEND_H
#define LT_FRONTEND_H
#include "ir/ir.h"

typedef struct lt_dim_override { const char *name; int64_t value; } lt_dim_override; /* --dim NAME=VALUE */
typedef struct lt_text_options {
  const char *network;         /* --network; NULL: the only one of the file */
  const lt_dim_override *dims;
  size_t n_dims;
  int64_t batch;               /* --batch sets the dimension N; 0: not given */
  int64_t max_bytes;           /* of one value; 0: the machine's memory */
  uint32_t max_nodes;          /* 0: LT_TEXT_MAX_NODES */
} lt_text_options;

enum { LT_TEXT_MAX_NODES = 1000000, LT_TEXT_MAX_BYTES = 64 << 20, LT_TEXT_MAX_NEST = 256, LT_MAX_NAME = 255 };

/* o may be NULL. file is what messages call the text. The graph is freed with the job when the job fails, otherwise by
 * the caller with lt_graph_free. */
lt_graph *lt_text_read(lt_job *job, const char *text, size_t n, const char *file, const lt_text_options *o);

/* ---- layers: rows of layers.def, shown by tables and typed constructors as ops are ------------------------------- */

typedef struct lt_layer_info {
  const char *name, *operands, *doc;
  const lt_attr_info *(*attrs)(void); /* n_attrs rows */
  uint8_t n_attrs;
  uint32_t attrs_size;
  bool weights;        /* a layer proper, which needs a name; else a composite of ops */
} lt_layer_info;

#define LAYER(name, operands, weights, doc) typedef struct lt_##name##_layer {
#define ATTR(kind, name, def, doc) lt_attr_##kind name;
#define END(name) char end_; } lt_##name##_layer;
#include "frontend/build/layers.def"

typedef enum lt_layer {
  LT_LAYER_none,
#define LAYER(name, operands, weights, doc) LT_LAYER_##name,
#include "frontend/build/layers.def"
  LT_LAYERS
} lt_layer;

extern const lt_layer_info lt_layer_table[LT_LAYERS]; /* [0] is unused */
lt_layer lt_layer_find(const char *name, size_t n);

/* The names that layers have taken so far, so that the next one gets a free one. Zero-initialised is empty. */
typedef struct lt_name_table {
  lt_map taken; /* full name → the line it was taken on */
  lt_map next;  /* base → the number that comes next */
} lt_name_table;
typedef struct lt_namer { lt_name_table layers, keys; } lt_namer; /* keys: of the random numbers of dropouts */

/* Emit a layer: its params (`name`.W …) and its ops. attrs is a lt_<layer>_layer. Fails naming layer, label, shapes. */
lt_value lt_layer_emit(lt_graph *g, lt_layer layer, const void *attrs, const char *name, const lt_value *in);

/* Apply an op, layer or composite by name: attrs as in the text language, "out_channels=16, kernel=3, name=\"stem\""
 * (NULL: none). in[i] 0 stands for an operand that is none. Fills out[0..n_out); n_out must be the number of results.
 * Layers without name= are called after themselves (conv2d, conv2d.1, …). */
void lt_apply(lt_graph *g, lt_namer *names, const char *op, const char *attrs, const lt_value *in, size_t n_in,
  lt_value *out, size_t n_out);
/* The same with the attributes in a struct of the program, described by form (lathe_apply); values NULL: none. */
void lt_apply_form(lt_graph *g, lt_namer *names, const lathe_form *form, const void *values, const lt_value *in, size_t n_in,
  lt_value *out, size_t n_out);
/* x through the elements layers[0..n), each "relu" or a call without its operand, "conv2d(out_channels=8, kernel=3)". Weights are
 * called NAME.0.W, NAME.2.W … by the element's index; name NULL: `sequential`, made unique. */
lt_value lt_apply_sequence(lt_graph *g, lt_namer *names, lt_value x, const char *name, const char *const *layers, size_t n);
/* "normal(scale=0.1)", "zeros()", "[1, 2, 3]": an initial value as in the text language, for a leaf of type t. */
lt_init lt_init_read(lt_graph *g, const lt_type *t, const char *text);

#endif
