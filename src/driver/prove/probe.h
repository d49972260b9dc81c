/* probe.h: an entry compiled once more with every value of its graph as an output, and what stands in them after a
 * call.
 *
 *   network ─ entry ─ mode ─┬─ autodiff ── meant: what the network says, as ordinary ops
 *                           └─ spell … cse ── g: what the compiler goes on with ─ fuse, choose, layout ─ plan ─ JIT ─
 *                           value[]
 *
 * Each node of g can so be held against the interpreter on its own, from the very operands that the compiled code had
 * (nodes.c): errors do not pile up, and the first node that is wrong is the one that is named. */
#ifndef LT_PROBE_H
#define LT_PROBE_H
#include "driver/model/instance.h"

typedef struct lt_probe {
  lt_job *job;
  lt_arena *a; /* of the call */
  lathe_instance *s;
  const lt_model_entry *entry;
  lt_graph *shown;     /* g with every value as an output, after the last passes */
  lt_graph *meant, *g; /* g without outputs and updates of its own: they are the next two */
  const lt_output *output;
  uint32_t n_output;
  const lt_update *update;
  uint32_t n_update;
  const void **value;    /* by value of g, the dtype's own bytes; NULL for constants */
  unsigned char *before; /* the portable image: what params and states held */
  unsigned char *after;  /* and after a call of the model's own code; NULL: not called yet */
} lt_probe;

/* The graphs and what the leaves hold; nothing is compiled, and only leaves have values. */
void lt_probe_plan(lt_probe *p, lt_job *job, const lathe_graph *network, lathe_instance *s, const char *entry);
/* Compile and call the probe on what the instance holds. Fails when the model was not compiled from this network. */
void lt_probe_open(lt_probe *p, lt_job *job, const lathe_graph *network, lathe_instance *s, const char *entry);
/* Call the entry itself: its outputs are in the instance's buffers; params and states are put back. */
void lt_probe_call_entry(lt_probe *p);
/* Its results, outputs and then updates: the value in g, the name, and the bytes after that call. */
static inline uint32_t lt_probe_results(const lt_probe *p) { return p->n_output + p->n_update; }
lt_value lt_probe_result(const lt_probe *p, uint32_t i);
const char *lt_probe_result_name(const lt_probe *p, uint32_t i);
const void *lt_probe_result_bytes(const lt_probe *p, uint32_t i);

/* ---- prove.c ---- */

typedef LT_VEC(lathe_point) lt_points;
/* Call the entry and compare: all points of lathe_prove. */
lt_points lt_prove(lt_probe *p, const lt_options *o);
/* lathe_prove without the probe, whose code takes as long to make as the entry's: the points `passes` and `results`
 * alone. Decisions that rounding has turned over count as errors here; lathe_prove then knows better. */
lathe_proof *lt_prove_ends(const lathe_graph *g, lathe_instance *s, const char *entry, const char *opts,
                           lathe_error *e);

/* ---- noise.c ---- */

/* Another call with every float input, param and state moved in its last bits. Outputs of the call before stay in the
 * instance's buffers; leaf and result hold what was passed and what came: outputs, then updates. */
typedef struct lt_stirred { const lt_tensor **leaf /* by value of g */, **result; } lt_stirred;
lt_stirred lt_probe_stir(lt_probe *p);
lt_cell *lt_probe_cell(const lt_probe *p, const char *name);

/* ---- nodes.c ---- */

typedef struct lt_tolerance { double rtol, atol; } lt_tolerance;
/* Elements of got that are too far from want: |got - want| > atol + rtol·size, size being |want| or what `size`
 * holds. */
typedef struct lt_gap { int64_t bad, worst; double got, want, allowed; } lt_gap;
lt_gap lt_compare(const lt_tensor *got, const lt_tensor *want, const lt_tensor *size, lt_tolerance t);
/* Nodes whose values are not what the interpreter makes of their operands; notes say where the first one is wrong, and
 * what its operands hold. *checked: how many nodes there are. */
uint32_t lt_compare_nodes(lt_probe *p, lt_tolerance t, lt_str *notes, uint32_t *checked);
const lt_tensor *lt_probe_tensor(const lt_probe *p, lt_arena *a, lt_value v);
/* "[3, 0, 7]", or "" for a scalar. */
const char *lt_index_text(lt_arena *a, const lt_type *t, int64_t flat);
double lt_largest(const lt_tensor *t); /* finite magnitude */
#endif
