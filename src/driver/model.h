/* model.h: what is behind a lathe_model: plans, compiled code, the portable image of its weights. Immutable once made. */
#ifndef LT_MODEL_H
#define LT_MODEL_H
#include "codegen/codegen.h"
#include "driver/entry.h"
#include "driver/graph_api.h"
#include "ir/pass/pass.h"

#include <stdatomic.h>

typedef struct lt_model_entry {
  lt_entry_spec spec;
  lt_graph *graph;       /* after all passes: plans point into it */
  lt_plan plan, pack;    /* pack: of run entries only */
  bool split;            /* reads a packed image of its own */
  int64_t *limit;        /* by slot: integers of this input are below it (labels: the classes); 0: unknown */
  lt_entry_fn run;
  lt_step_fn step;       /* NULL without --profile */
  lt_entry2_fn pack_run; /* NULL without split */
} lt_model_entry;

struct lathe_model {
  atomic_int references; /* the handle and every instance */
  lt_arena arena;        /* of everything here but the graphs and the code */
  const char *name;
  lt_target target;
  lt_options options;
  lt_model_entry *entry;
  uint32_t n_entry;
  lt_module_entry *unit; /* what went into the code */
  uint32_t n_unit;
  lt_code *code;
  lt_graph *leaves;      /* every param and state: the image's names and types */
  lt_image image;
  lt_init *init;         /* by item of the image */
  bool *network_own;     /* by item: in weight files; else what training adds (moments, step, seed) */
  uint32_t image_kind;   /* lt_image_kind of a region made by an instance */
  double compile_ms, seconds[LT_PASSES];
  bool timed;
};

void lt_model_retain(lathe_model *m);
const lt_model_entry *lt_model_find(const lathe_model *m, const char *entry); /* NULL: none */
const lt_image_item *lt_model_item(const lathe_model *m, const char *name);   /* NULL: none */

/* The passes every entry goes through, in order (compile.c). */
const lt_pass *lt_pipeline(size_t *n);
/* An entry as a graph before any pass, and after all of them. */
lt_graph *lt_network_entry(lt_job *job, const lathe_graph *g, const lt_entry_spec *spec, const lt_options *o);
lt_graph *lt_optimise(lt_job *job, lt_graph *entry, const lt_entry_spec *spec, lt_pass_options *po);

#endif
