/* pass.h: passes over graphs: the table, the runner, and the copying rewriter they are written with.
 *
 * A pass is a row in passes.def and a function that fills a new graph from an old one. Order matters and stands in the
 * driver as one list. Each row says what the pass requires of its input (checked) and what it establishes. */
#ifndef LT_PASS_H
#define LT_PASS_H
#include "ir/ir.h"

/* PASS(name, doc): see passes.def */
typedef enum lt_pass {
  LT_PASS_none,
#define PASS(name, doc) LT_PASS_##name,
#include "ir/pass/passes.def"
#undef PASS
  LT_PASSES
} lt_pass;

typedef struct lt_pass_options {
  const char *print_after; /* a pass's name, "all", or NULL */
  bool verify_each;        /* verify after every pass */
  bool time_passes;
  void (*print)(void *ctx, const char *pass, const char *text); /* receives dumps */
  void *print_ctx;
  double seconds[LT_PASSES]; /* filled when time_passes */
} lt_pass_options;

/* Fill `to` (initialised, empty, same name and mode) from `from`. */
typedef void (*lt_pass_fn)(lt_graph *to, const lt_graph *from);
#define PASS(name, doc) void lt_pass_##name(lt_graph *to, const lt_graph *from);
#include "ir/pass/passes.def"
#undef PASS
const char *lt_pass_name(lt_pass p);
const char *lt_pass_doc(lt_pass p);
const char *const *lt_pass_names(void); /* NULL-terminated */
lt_pass lt_pass_find(const char *name);
/* Run passes[0..n) in order; returns the last graph (a new one, in its own arena; the intermediate ones are freed).
 * `from` is untouched. The result is freed when the job fails; otherwise the caller frees it: with
 * lt_graph_drop in this job, with lt_graph_free later. o may be NULL. */
lt_graph *lt_run_passes(lt_job *job, const lt_graph *from, const lt_pass *passes, size_t n, lt_pass_options *o);

/* ---- the copying rewriter (rewrite.c) ---- */

/* map[v] is the value in `to` that stands for v of `from`; 0: not copied (yet). Only live nodes (those that outputs and
 * updates need; inputs, params and states always stay) are visited, in order. */
typedef struct lt_rewrite {
  lt_graph *to;
  const lt_graph *from;
  lt_value *map;
  const bool *live; /* by node id */
  void *ctx;
} lt_rewrite;
/* Called for each live node with its operands already mapped (in[], in `to`). Either emit something else, set
 * r->map[n->out + i] for each result and return true, or return false to have the node copied as it is. */
typedef bool (*lt_rewrite_fn)(lt_rewrite *r, const lt_node *n, const lt_value *in);
void lt_rewrite_graph(lt_graph *to, const lt_graph *from, lt_rewrite_fn fn, void *ctx);
/* Keeps names, labels, locations, layouts. */
lt_value lt_copy_node(lt_rewrite *r, const lt_node *n, const lt_value *in);
bool *lt_live_nodes(lt_arena *a, const lt_graph *g);
/* Number of uses of each value (operands of live nodes, outputs, updates). */
uint32_t *lt_use_counts(lt_arena *a, const lt_graph *g, const bool *live);
/* By node id: depends on params, states and constants only (leaves of these kinds included). */
bool *lt_static_nodes(lt_arena *a, const lt_graph *g);

#endif
