/* export_api.c: an entry as an ONNX model (lathe_export): its graph up to gradients written out, weights, the file.
 *
 * Nothing is compiled. Elements go from the instance, from the file of weights as it was read, or from the network's
 * own data into the model; what is drawn is drawn a tensor at a time. */
#include "driver/pipeline.h"
#include "export/onnx/export.h"
#include "driver/model/instance.h"
#include "driver/model/match.h"

typedef struct exporting {
  lt_job *job;
  lt_arena *a;
  lathe_model *m;
  const lathe_instance *from; /* NULL: none */
  lathe_instance *loaded;     /* what --weights says; NULL: not given */
  void *scratch;              /* of what is drawn */
  float rate;                 /* of the optimizer */
} exporting;

/* ---- weights ------------------------------------------------------------------------------------------------------
 */

static const void *in_instance(const lathe_instance *s, const char *name, const lt_type *t) {
  const lt_image_item *item = lt_model_item(s->model, name);
  return item && lt_type_eq(&item->type, t) ? lt_instance_at(s, item) : NULL;
}

/* The initial value, as an instance would have it. */
static const void *drawn(exporting *x, uint32_t i) {
  const lt_image_item *item = &x->m->image.item[i];
  const lt_init *init = &x->m->init[i];
  if (init->kind == LT_INIT_LITERAL && lt_dtype_kind(item->type.dtype) != LT_TRUTHS) return init->literal->at;
  const uint64_t seed = (uint64_t)x->m->options.seed;
  lt_init_fill(init, &item->type, item->name, seed, x->scratch);
  if (lt_is_seed(item)) memcpy(x->scratch, &seed, sizeof seed);
  return x->scratch;
}

static bool is_rate(const exporting *x, const lt_graph *g, const lt_node *n) {
  const lt_type *t = lt_type_of(g, n->out);
  bool scalar = t->rank == 0 && t->dtype == LT_F32;
  return x->m->trains && scalar && !strcmp(lt_name_of(g, n->out), lt_hyper_name);
}

static const void *elements(void *ctx, const lt_graph *g, const lt_node *leaf) {
  exporting *x = ctx;
  if (leaf->op == LT_OP_input) return is_rate(x, g, leaf) ? &x->rate : NULL;
  const char *name = lt_name_of(g, leaf->out);
  const lathe_instance *s = x->from ? x->from : x->loaded;
  const void *at = s ? in_instance(s, name, lt_type_of(g, leaf->out)) : NULL;
  return at ? at : drawn(x, (uint32_t)(lt_model_item(x->m, name) - x->m->image.item));
}

/* Of another model of the network: what an optimizer adds may be missing. */
static void check_instance(const exporting *x) {
  const lt_image *image = &x->m->image;
  lt_instance_check_file(x->job, x->from);
  for (uint32_t i = 0; i < image->n; i++) {
    const lt_image_item *other = lt_model_item(x->from->model, image->item[i].name);
    if (!other && x->m->network_own[i])
      lt_fail(x->job, LATHE_E_MISMATCH, NULL, "the other model has no weight `%s`", image->item[i].name);
    if (other && !lt_type_eq(&other->type, &image->item[i].type))
      lt_fail(x->job, LATHE_E_MISMATCH, NULL, "weight `%s` has another shape in the other model", image->item[i].name);
  }
}

static void find_weights(exporting *x) {
  const lt_options *o = &x->m->options;
  const lt_image *image = &x->m->image;
  int64_t most = 0;
  for (uint32_t i = 0; i < image->n; i++) most = LT_MAX(most, lt_type_bytes(&image->item[i].type));
  if (!x->from && !o->weights && !o->given[LT_OPT_seed] && image->n && !lt_model_has_weights(x->m))
    lt_fail(x->job, LATHE_E_INVALID, NULL,
            "the network has weights, and nothing says what they are\nhelp: --weights F.npz or --seed S");
  if (x->from) check_instance(x);
  else if (o->weights) {
    x->loaded = lt_instance_images(x->job, x->m, NULL, (uint64_t)o->seed);
    lt_weights_load(x->job, x->loaded, o->weights, (lt_load_options){o->weights_partial, o->flatten_order});
  }
  x->scratch = lt_arena_alloc(x->a, (size_t)most + 1);
  x->rate = (float)(o->given[LT_OPT_lr] ? o->lr : lt_optimizer_rate(lt_optimizer_find(o->optimizer)));
}

/* ---- the graph ----------------------------------------------------------------------------------------------------
 */

static bool has_grad(const lt_graph *g) {
  for (uint32_t i = 0; i < g->nodes.n; i++)
    if (g->nodes.at[i]->op == LT_OP_grad) return true;
  return false;
}

/* Networks stay as they are written; gradients, once written out, lose what adds nothing. */
static lt_graph *settled(lt_job *job, lathe_model *m, const lathe_graph *g) {
  static const lt_pass cleaning[] = {LT_PASS_autodiff, LT_PASS_fold, LT_PASS_simplify, LT_PASS_cse};
  lt_pass_options po = {.verify_each = m->options.verify_each};
  lt_graph *entry = lt_network_entry(job, g, &m->entry[0].spec, &m->options);
  lt_graph *fixed = lt_apply_mode(job, entry, &m->entry[0].spec, &po);
  lt_graph_drop(job, entry);
  if (!has_grad(fixed)) return fixed;
  lt_graph *clean = lt_run_passes(job, fixed, cleaning, LT_COUNT(cleaning), &po);
  lt_graph_drop(job, fixed);
  return clean;
}

static void check_files(const exporting *x, const lathe_graph *g) {
  const lt_options *o = &x->m->options;
  const lathe_file made[] = {{o->output, "--output", 1},
                             {lt_onnx_data_path(x->a, o->output), "the data file of --output", 1}};
  lt_file_list all = lt_made_of(x->a, g, o->weights);
  for (size_t i = 0; i < LT_COUNT(made); i++) lt_vec_push(x->a, &all, made[i]);
  lt_files_distinct(x->job, all.at, all.n);
}

static lt_onnx_place place_of(const lt_options *o) {
  if (!o->weight_data) return LT_ONNX_INSIDE_OR_BESIDE;
  return strcmp(o->weight_data, "extern") ? LT_ONNX_INSIDE : LT_ONNX_BESIDE;
}

typedef struct export_args {
  const lathe_graph *g;
  const lathe_instance *weights;
  const char *opts;
  lathe_model *m; /* freed outside of the job, like the next */
  lathe_instance *s;
} export_args;

static void export_body(lt_job *job, void *arg) {
  export_args *p = arg;
  exporting x = {.job = job, .a = lt_arena_new(job), .from = p->weights};
  x.m = lt_model_new(job, p->g, p->opts, TO_EXPORT);
  if (x.m->n_entry > 1) lt_fail(job, LATHE_E_INVALID, NULL, "one --entry can be exported at a time");
  if (!x.m->options.output) lt_fail(job, LATHE_E_INVALID, NULL, "an ONNX model needs a file\nhelp: -o F.onnx");
  check_files(&x, p->g);
  x.m->entry[0].graph = settled(job, x.m, p->g);
  lt_model_image(x.m, job, p->g->g);
  lt_graph *spelled = lt_onnx_spell(job, x.m->entry[0].graph);
  if (x.m->options.verify_each) lt_verify(spelled, "writing it in ops that ONNX has");
  find_weights(&x);
  const lt_onnx_out out = {x.m->options.output, LATHE_VERSION, place_of(&x.m->options), elements, &x};
  lt_onnx_export(job, spelled, &out);
  lt_graph_drop(job, spelled);
  p->m = x.m, p->s = x.loaded;
}

int lathe_export(const lathe_graph *g, const lathe_instance *weights, const char *opts, lathe_error *e) {
  export_args p = {.g = g, .weights = weights, .opts = opts};
  int status = lt_protect(e, export_body, &p);
  if (status) return status; /* what the job made, it has freed */
  lathe_instance_free(p.s);
  lathe_model_free(p.m);
  return status;
}
