/* frontend.h: what the driver sees of the front ends: text → graph, and ops and layers by name for the C builder. */
#ifndef LT_FRONTEND_H
#define LT_FRONTEND_H
#include "ir/ir.h"

typedef struct lt_parse_options {
  const char *network;    /* NULL: the only one of the text */
  const char *const *dim; /* "N=8" each; a later one wins */
  uint32_t n_dim;
  int64_t max_bytes;      /* of one value; 0: no limit */
} lt_parse_options;

/* Read the text and elaborate one network of it. `out` has been initialised with lt_graph_init(out, job, ""); its name,
 * outputs and updates are set here. Messages carry file, line and column. A --dim that the network lacks is an error. */
void lt_parse(lt_graph *out, const char *text, size_t bytes, const char *file, const lt_parse_options *o);

/* An initial value as in the text, "normal(scale=0.1)", for a leaf of type t; NULL means zeros(). */
void lt_parse_init(lt_init *out, lt_graph *g, const lt_type *t, const char *text);

/* Append an op of ops.def or a layer by name; attrs as in the text ("stride=2, name=\"stem\"") or NULL. Fills
 * out[0..max_out) and returns how many results there are. A layer without a name gets the base name of its kind. */
unsigned lt_build(lt_graph *g, lt_value *out, unsigned max_out, const char *op, const char *attrs, const lt_value *in, unsigned n_in);

#endif
