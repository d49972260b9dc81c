/* model.h: what is behind a lathe_model: plans, compiled code, the portable image of its weights.
 *
 * Immutable once made: steps of the pipeline take a lathe_model *, all others a const one. The handle and every
 * instance hold a reference, and the last one frees it: the arena, each entry's graph, `leaves`, the code. While the
 * pipeline's job can still fail, graphs and code are the job's. */
#ifndef LT_MODEL_H
#define LT_MODEL_H
#include "codegen/codegen.h"
#include "driver/entry.h"
#include "driver/model/uses.h"
#include "ir/pass/pass.h"

#include <stdatomic.h>

/* A training step in two: gradients of the params (and what the batch says of states) into an image, and what follows
 * from them (step/split.c). Both take the step's io struct: their plans have its slots. */
typedef struct lt_half {
  lt_plan plan;
  lt_half_fn run;
  lt_step_fn step; /* NULL without --profile */
} lt_half;
typedef struct lt_halves { lt_half backward, apply; lt_image grads; } lt_halves;

typedef struct lt_model_entry {
  lt_entry_spec spec;
  lt_graph *graph; /* after all passes: plans point into it */
  lt_plan plan;
  bool split;        /* a run entry: reads the packed image */
  bool stateful;     /* reads more than the network's own weights: a train entry, one that draws random numbers */
  lt_halves *halves; /* of train entries, where they are asked for and the step can be cut; NULL: none */
  lt_entry_fn run;
  lt_step_fn step; /* NULL without --profile */
} lt_model_entry;

/* What a name stands for: an entry, or a half of one. */
typedef struct lt_callable {
  const lt_model_entry *entry;
  const lt_half *half; /* NULL: the entry itself */
} lt_callable;

static inline const lt_plan *lt_callable_plan(const lt_callable *c) {
  return c->half ? &c->half->plan : &c->entry->plan;
}

struct lathe_model {
  atomic_int references; /* the one thing that changes */
  lt_arena arena;        /* of everything here but the graphs and the code */
  const char *name;
  lt_target target;
  lt_options options;
  lt_model_entry *entry;
  uint32_t n_entry;
  bool halves;           /* training steps are cut in two */
  lt_callable *callable; /* each entry, followed by its halves */
  uint32_t n_callable;
  lt_module_entry *unit; /* what goes into the code: all of these in order, then `pack` */
  uint32_t n_unit;
  lt_code *code;
  lt_graph *leaves; /* every param and state: the image's names and types */
  lt_image image;
  int64_t own_bytes;         /* how far the network's own params and states reach: an image of kind PARAMS */
  uint64_t hash, state_hash; /* of what fixes the meaning of images of kind PARAMS, and of STATE and GRADS */
  lt_plan pack;        /* what all run entries read, in one image of pack.out_bytes; no kernels: nothing is packed */
  lt_pack_fn pack_run; /* NULL: nothing to pack */
  lt_init *init;       /* by item of the image */
  lt_use *use;         /* by item: what reads it in the network */
  const char *folded;  /* of the network (ir/graph.h) */
  bool *network_own;   /* by item: in weight files; else what training adds (moments, step, seed) */
  uint32_t image_kind; /* lt_image_kind of a region made by an instance */
  bool trains;         /* has a train entry */
  double seconds[LT_PASSES], entry_seconds, plan_seconds, compile_seconds; /* where compiling took them */
  bool timed;
};

/* ---- model.c: beginning, end, names ---- */

/* Options and entries' specs are read; the rest is for the pipeline. The job frees it when it fails. */
lathe_model *lt_model_new(lt_job *job, const lathe_graph *g, const char *opts, int call);
void lt_model_retain(const lathe_model *m);
void lt_model_release(const lathe_model *m);
const lt_callable *lt_model_find(const lathe_model *m, const char *entry);  /* NULL: none */
const lt_image_item *lt_model_item(const lathe_model *m, const char *name); /* NULL: none */

/* ---- steps of the pipeline (driver/pipeline.c), in their order ---- */

/* image.c: once all entries have graphs. */
void lt_model_image(lathe_model *m, lt_job *job, const lt_graph *network);
/* All params have numbers of their own, as in a model that was trained elsewhere: a seed would say nothing. */
bool lt_model_has_weights(const lathe_model *m);
/* pack.c: e->plan, and for a run entry its part of m->pack, whose plan is whole when all entries have been planned. */
typedef struct lt_packing lt_packing;
lt_packing *lt_packing_begin(lathe_model *m);
void lt_model_plan_entry(lathe_model *m, lt_job *job, lt_model_entry *e, lt_packing *all);
void lt_packing_finish(lathe_model *m, lt_job *job);
uint32_t lt_model_pack_kinds(void); /* of images that `pack` and grad entries take, as bits */
/* inputs.c: lr may be left out, and so may outputs of a step. */
void lt_set_hyper(lathe_model *m, const lt_model_entry *e, lt_plan *p);
/* memory.c: all that a call of the plan of g touches must be within the limit of bytes (--max-bytes). `packed`: the
 * plan reads an image of its own, beside that of the weights. */
void lt_model_check_memory(const lathe_model *m, lt_job *job, const lt_graph *g, const lt_plan *p, bool packed);
/* step/split.c: fills e->halves, unless the step cannot be cut there (a network with updates of its own). */
void lt_split_step(lathe_model *m, lt_job *job, const lt_graph *settled, lt_model_entry *e);
/* model.c: m->callable and m->unit, once everything is planned. */
void lt_model_list(lathe_model *m, lt_job *job);
/* code.c: m->code, for m->target, and every function of it, looked up. */
void lt_model_jit(lathe_model *m, lt_job *job);

/* ---- beside the model ---- */

/* The packing of m alone as code for `host`, this machine. The job frees it when it ends. NULL: there is nothing to
 * pack. */
lt_code *lt_compile_pack(lt_job *job, const lathe_model *m, const lt_target *host, lt_pack_fn *run);

#endif
