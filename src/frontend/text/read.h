/* read.h: what the text reader does for others. */
#ifndef LT_READ_H
#define LT_READ_H
#include "frontend/source.h"

enum { LT_TEXT_MAX_BYTES = 64 << 20 };

/* o may be NULL. file is what messages call the text. The graph is freed with the job when the job fails, otherwise by
 * the caller with lt_graph_free. */
lt_graph *lt_text_read(lt_job *job, const char *text, size_t n, const char *file, const lt_read_options *o);
/* "normal(scale=0.1)", "zeros()", "[1, 2, 3]": an initial value as in the text language, for a leaf of type t. */
lt_init lt_init_read(lt_graph *g, const lt_type *t, const char *text);

#endif
