/* graph_api.h: what is behind a lathe_graph handle. */
#ifndef LT_GRAPH_API_H
#define LT_GRAPH_API_H
#include "driver/options.h"
#include "frontend/frontend.h"

struct lathe_graph {
  lt_graph *g;       /* NULL only while it is being made */
  lt_arena arena;    /* of what follows */
  lathe_error error; /* the first one of building; status 0: none */
  lt_namer names;
  lt_source source;        /* where it is from, so that an entry with other dimensions can read it again */
  lt_read_options options; /* of reading it */
};

/* The network again with other values of its named dimensions ("N=1" each). */
lt_graph *lt_graph_reread(lt_job *job, const lathe_graph *g, lt_texts dims);
/* Fail with the error that stuck while the graph was built, if any. */
void lt_graph_check(lt_job *job, const lathe_graph *g);
/* The port as the API shows it. */
void lt_port_of(lathe_port *out, const char *name, const char *kind, const lt_type *t, int64_t offset);

/* The files that something is made of: the graph's own (a text, a model), those that it takes data from, and weights
 * (NULL: none), to hold what is written against (made_of.c). */
typedef LT_VEC(lathe_file) lt_file_list;
lt_file_list lt_made_of(lt_arena *a, const lathe_graph *g, const char *weights);
bool lt_is_file(const char *path); /* neither NULL nor standard input nor a text in memory */

/* A text that the caller frees with lathe_free. The last thing a job does: nothing frees it when the job fails. */
char *lt_text_out(lt_job *job, const lt_str *s);

#endif
