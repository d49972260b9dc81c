/* apply.h: networks built by a program: one call at a time appends to a graph what the same call in a text would. */
#ifndef LT_APPLY_H
#define LT_APPLY_H
#include "frontend/attrs.h"
#include "frontend/names.h"

/* Apply an op, layer or composite by name: attrs as in the text language, "out_channels=16, kernel=3, name=\"stem\""
 * (NULL: none). in[i] 0 stands for an operand that is none. Fills out[0..n_out); n_out must be the number of results.
 * Layers without name= are called after themselves (conv2d, conv2d.1, …). */
void lt_apply(lt_graph *g, lt_namer *names, const char *op, const char *attrs, const lt_value *in, size_t n_in,
              lt_value *out, size_t n_out);
/* The same with the attributes in a struct of the program, described by form (lathe_apply); values NULL: none. */
void lt_apply_form(lt_graph *g, lt_namer *names, const lathe_form *form, const void *values, const lt_value *in,
                   size_t n_in, lt_value *out, size_t n_out);
/* x through the elements layers[0..n), each "relu" or a call without its operand, "conv2d(out_channels=8, kernel=3)".
 * Weights are called NAME.0.W, NAME.2.W … by the element's index; name NULL: `sequential`, made unique. */
lt_value lt_apply_sequence(lt_graph *g, lt_namer *names, lt_value x, const char *name, const char *const *layers,
                           size_t n);

/* Inside: the fields of a program's struct that are not left zero (struct_attrs.c). */
lt_attr_arg *lt_form_args(const lt_caller *by, const lathe_form *form, const void *values, unsigned *n);

#endif
