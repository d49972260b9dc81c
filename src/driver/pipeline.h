/* pipeline.h: the way from a network to a planned model, whole and in steps (pipeline.c lists them). */
#ifndef LT_PIPELINE_H
#define LT_PIPELINE_H
#include "driver/graph_api.h"
#include "driver/model/model.h"

/* The passes every entry goes through, in order. */
const lt_pass *lt_pipeline(size_t *n);
/* An entry as a graph before any pass, and after all of them. */
lt_graph *lt_network_entry(lt_job *job, const lathe_graph *g, const lt_entry_spec *spec, const lt_options *o);
lt_graph *lt_optimise(lt_job *job, lt_graph *entry, const lt_entry_spec *spec, lt_pass_options *po);
/* The two parts of it: settling the mode, which adds states and updates, and the rest. */
lt_graph *lt_apply_mode(lt_job *job, lt_graph *entry, const lt_entry_spec *spec, lt_pass_options *po);
lt_graph *lt_run_later_passes(lt_job *job, lt_graph *settled, lt_pass_options *po);

/* Everything but the target and the code: entries, passes, plans, the image. `call` is TO_COMPILE or TO_EMIT. The job
 * frees it when it fails. */
lathe_model *lt_model_plan(lt_job *job, const lathe_graph *g, const char *opts, int call);

#endif
