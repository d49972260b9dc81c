/* pipeline.c: the whole way from a network to machine code. Each step has a file of its own; the order is here.
 *
 *   network   frontend/source.c   a source (text, a program) as a graph; read again where an entry gives dimensions
 * other values entry     entry.c             what is asked for as a graph: outputs, gradients, a loss with its updates
 *   mode      ir/pass/mode.c      the first pass: running or batch statistics, so a step's states and updates
 *   passes    ir/pass/            the rest of the list below
 *   image     model/image.c       params and states of all entries in one image
 *   plan      plan/               affine kernels over buffers with fixed offsets; shared packing: model/pack.c
 *   inputs    plan/indices.c      labels and indices that a call looks at
 *             model/inputs.c      the learning rate that may be left out
 *   memory    model/memory.c      does it fit: weights, packed weights, arena, inputs and outputs
 *   halves    step/split.c        a training step cut at its gradients, each half through the passes again
 *   code      model/code.c        lathe_compile: for this machine, into this process
 *             object/emit.c       lathe_emit: for any machine, into files */
#include "driver/pipeline.h"

/* ---- graph to graph ---------------------------------------------------------------------------------------------- */

/* Folding and simplifying make work for each other; twice is enough for every network in the tests to come to rest. */
static const lt_pass pipeline[] = {
  LT_PASS_mode,      LT_PASS_spell, LT_PASS_raise,  LT_PASS_autodiff, LT_PASS_lower, LT_PASS_fold,
  LT_PASS_simplify,  LT_PASS_cse,   LT_PASS_fold,   LT_PASS_simplify, LT_PASS_cse,   LT_PASS_winograd,
  LT_PASS_recompute, LT_PASS_fuse,  LT_PASS_choose, LT_PASS_layout,
};

const lt_pass *lt_pipeline(size_t *n) {
  *n = LT_COUNT(pipeline);
  return pipeline;
}

lt_graph *lt_network_entry(lt_job *job, const lathe_graph *g, const lt_entry_spec *spec, const lt_options *o) {
  if (!spec->dims.n) return lt_entry_graph(job, g->g, spec, o);
  lt_graph *again = lt_graph_reread(job, g, spec->dims);
  lt_graph *entry = lt_entry_graph(job, again, spec, o);
  lt_graph_drop(job, again);
  return entry;
}

/* A grad entry changes nothing: what `mode` adds to move running statistics goes away. */
lt_graph *lt_apply_mode(lt_job *job, lt_graph *entry, const lt_entry_spec *spec, lt_pass_options *po) {
  lt_graph *fixed = lt_run_passes(job, entry, pipeline, 1, po);
  if (spec->kind == LT_ENTRY_GRAD) fixed->updates.n = 0;
  return fixed;
}

lt_graph *lt_run_later_passes(lt_job *job, lt_graph *settled, lt_pass_options *po) {
  return lt_run_passes(job, settled, pipeline + 1, LT_COUNT(pipeline) - 1, po);
}

lt_graph *lt_optimise(lt_job *job, lt_graph *entry, const lt_entry_spec *spec, lt_pass_options *po) {
  lt_graph *fixed = lt_apply_mode(job, entry, spec, po), *done = lt_run_later_passes(job, fixed, po);
  lt_graph_drop(job, fixed);
  return done;
}

/* ---- a model, up to its code ------------------------------------------------------------------------------------- */

/* The entry's graph; returns it as it is after `mode` alone. */
static lt_graph *build_entry(lathe_model *m, lt_job *job, const lathe_graph *g, lt_model_entry *e) {
  lt_pass_options po = {.verify_each = m->options.verify_each, .time_passes = m->options.time_passes};
  double begin = lt_seconds();
  lt_graph *entry = lt_network_entry(job, g, &e->spec, &m->options);
  m->entry_seconds += lt_seconds() - begin;
  if (m->options.verify_each) lt_verify(entry, "the entry's construction");
  lt_graph *settled = lt_apply_mode(job, entry, &e->spec, &po);
  lt_graph_drop(job, entry);
  e->graph = lt_run_later_passes(job, settled, &po);
  for (int i = 0; i < LT_PASSES; i++) m->seconds[i] += po.seconds[i];
  return settled;
}

static void plan_entry(lathe_model *m, lt_job *job, lt_model_entry *e, lt_packing *packing, lt_graph *settled) {
  lt_graph_enter(e->graph, job);
  lt_model_plan_entry(m, job, e, packing);
  lt_plan_indices(&e->plan, &m->arena, settled);
  lt_set_hyper(m, e, &e->plan);
  if (m->halves && e->spec.kind == LT_ENTRY_TRAIN) lt_split_step(m, job, settled, e);
  lt_graph_drop(job, settled);
}

/* Objects have halves where there can be some; who asks for them in this process gets them, or the reason. */
static void check_halves(const lathe_model *m, lt_job *job) {
  bool trains = false;
  for (uint32_t i = 0; i < m->n_entry; i++) {
    const lt_model_entry *e = &m->entry[i];
    if (e->spec.kind != LT_ENTRY_TRAIN) continue;
    trains = true;
    if (!e->halves)
      lt_fail(job, LATHE_E_UNSUPPORTED, NULL,
              "--halves: network `%s` updates its params in a way of its own, so entry `%s` is not cut in two", m->name,
              e->spec.name);
  }
  if (!trains) lt_fail(job, LATHE_E_INVALID, NULL, "--halves: no entry trains\nhelp: --entry train");
}

lathe_model *lt_model_plan(lt_job *job, const lathe_graph *g, const char *opts, int call) {
  lathe_model *m = lt_model_new(job, g, opts, call);
  lt_graph **settled = LT_NEW_ARRAY(&m->arena, lt_graph *, m->n_entry);
  m->halves = call == TO_EMIT || m->options.halves;
  for (uint32_t i = 0; i < m->n_entry; i++) settled[i] = build_entry(m, job, g, &m->entry[i]);
  double begin = lt_seconds();
  lt_model_image(m, job, g->g);
  lt_packing *packing = lt_packing_begin(m);
  for (uint32_t i = 0; i < m->n_entry; i++) plan_entry(m, job, &m->entry[i], packing, settled[i]);
  lt_packing_finish(m, job);
  for (uint32_t i = 0; i < m->n_entry; i++)
    lt_model_check_memory(m, job, m->entry[i].graph, &m->entry[i].plan, m->entry[i].split);
  if (m->options.halves) check_halves(m, job);
  lt_model_list(m, job);
  m->plan_seconds = lt_seconds() - begin;
  return m;
}

/* ---- code for this machine --------------------------------------------------------------------------------------- */

typedef struct compile_args {
  const lathe_graph *g;
  const char *opts;
  lathe_model *out;
} compile_args;

static void compile_body(lt_job *job, void *arg) {
  compile_args *p = arg;
  double begin = lt_seconds();
  lathe_model *m = lt_model_plan(job, p->g, p->opts, TO_COMPILE);
  lt_target_host(&m->target, job, &m->arena, m->options.cpu, m->options.features);
  lt_model_jit(m, job);
  m->compile_seconds = lt_seconds() - begin;
  p->out = m;
}

lathe_model *lathe_compile(const lathe_graph *g, const char *opts, lathe_error *e) {
  compile_args p = {.g = g, .opts = opts};
  return lt_protect(e, compile_body, &p) ? NULL : p.out;
}
