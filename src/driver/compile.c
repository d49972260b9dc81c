/* compile.c: from a network to a model: entries → passes → plans → code. The whole way is lt_pipeline and compile_body. What
 * makes objects (emit.c) goes the same way up to the code. */
#include "driver/model.h"

#include <time.h>

/* ---- passes ------------------------------------------------------------------------------------------------------ */

/* Folding and simplifying make work for each other; twice is enough for every network in the tests to come to rest. */
static const lt_pass pipeline[] = {
  LT_PASS_mode, LT_PASS_spell, LT_PASS_raise, LT_PASS_autodiff, LT_PASS_lower, LT_PASS_fold, LT_PASS_simplify, LT_PASS_cse, LT_PASS_fold,
  LT_PASS_simplify, LT_PASS_cse, LT_PASS_fuse, LT_PASS_layout,
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

/* ---- the image of all params and states -------------------------------------------------------------------------- */

static void add_leaf(lathe_model *m, const lt_graph *from, const lt_node *n, const lt_entry_spec *spec) {
  lt_graph *to = m->leaves;
  const char *name = lt_name_of(from, n->out);
  const lt_type *t = lt_type_of(from, n->out);
  lt_value old = lt_find(to, name);
  if (!old) {
    lt_leaf(to, n->op, name, *t, n->op == LT_OP_param ? &((const lt_param_attrs *)n->attrs)->init
                                                      : &((const lt_state_attrs *)n->attrs)->init);
    return;
  }
  if (!lt_type_eq(lt_type_of(to, old), t))
    lt_fail(to->job, LATHE_E_INVALID, NULL, "entry `%s`: `%s` would be %s, elsewhere it is %s: entries share their weights",
            spec->text, name, lt_type_text(&to->arena, t), lt_type_text(&to->arena, lt_type_of(to, old)));
}

static void add_leaves(lathe_model *m, const lt_graph *from, const lt_entry_spec *spec) {
  for (uint32_t i = 0; i < from->nodes.n; i++)
    if (from->nodes.at[i]->op == LT_OP_param || from->nodes.at[i]->op == LT_OP_state) add_leaf(m, from, from->nodes.at[i], spec);
}

static bool is_optimizer_state(const lt_graph *network, const char *name) {
  return !lt_find(network, name) && lt_optimizer_state(network, name);
}

/* Weights of the whole network in its order, whatever an entry needs of them, then what training adds. */
static void make_image(lathe_model *m, lt_job *job, const lt_graph *network) {
  m->leaves = lt_graph_new(job, m->name);
  add_leaves(m, network, NULL);
  for (uint32_t i = 0; i < m->n_entry; i++) add_leaves(m, m->entry[i].graph, &m->entry[i].spec);
  lt_image_of(&m->image, &m->arena, m->leaves);
  m->init = LT_NEW_ARRAY(&m->arena, lt_init, m->image.n + 1);
  m->network_own = LT_NEW_ARRAY(&m->arena, bool, m->image.n + 1);
  for (uint32_t i = 0; i < m->image.n; i++) {
    const lt_image_item *item = &m->image.item[i];
    const lt_node *n = lt_node_of(m->leaves, lt_find(m->leaves, item->name));
    m->init[i] = n->op == LT_OP_param ? ((const lt_param_attrs *)n->attrs)->init : ((const lt_state_attrs *)n->attrs)->init;
    m->network_own[i] = !is_optimizer_state(network, item->name);
  }
}

/* ---- plans ------------------------------------------------------------------------------------------------------- */

/* What fixes the meaning of an image: names, types and places of its items. */
static uint64_t image_hash(lt_arena *a, const lt_image *image, int64_t bytes) {
  uint64_t h = lt_hash(&bytes, sizeof bytes, LATHE_ABI_1);
  for (uint32_t i = 0; i < image->n && image->item[i].offset < bytes; i++) {
    const char *type = lt_type_text(a, &image->item[i].type);
    h = lt_hash(image->item[i].name, strlen(image->item[i].name) + 1, h);
    h = lt_hash(type, strlen(type), h);
  }
  return h;
}

/* The network's own come before what training adds. */
static void measure_image(lathe_model *m) {
  m->own_bytes = LT_IMAGE_HEADER;
  for (uint32_t i = 0; i < m->image.n; i++)
    if (m->network_own[i]) m->own_bytes = i + 1 < m->image.n ? m->image.item[i + 1].offset : m->image.bytes;
  m->hash = image_hash(&m->arena, &m->image, m->own_bytes);
  m->state_hash = image_hash(&m->arena, &m->image, m->image.bytes);
}

uint32_t lt_model_pack_kinds(void) { return 1u << LT_IMAGE_PARAMS | 1u << LT_IMAGE_STATE; }

static void identify(const lathe_model *m, lt_plan *p, uint32_t kinds) {
  p->region_kinds = p->region_bytes ? kinds : 0;
  p->model = m->hash;
  p->state_model = m->state_hash;
}

/* What a run entry reads stands in the packed image: where another entry packs the same, there, else behind the rest. */
static void share_pack(lathe_model *m, lt_job *job, lt_model_entry *e, lt_plan *pack, lt_str *keys, int64_t *at) {
  uint32_t i = (uint32_t)(e - m->entry);
  lt_str_init(&keys[i], lt_arena_new(job));
  lt_plan_key(&keys[i], pack);
  at[i] = m->pack.out_bytes;
  for (uint32_t k = 0; k < i; k++)
    if (keys[k].n == keys[i].n && memcmp(keys[k].at, keys[i].at, keys[i].n) == 0) at[i] = at[k];
  if (at[i] == m->pack.out_bytes) lt_plan_join(&m->pack, pack, &m->arena, at[i]);
  for (uint32_t k = 0; k < e->plan.n_buffer; k++)
    if (e->plan.buffer[k].region == LT_REGION_STATE) e->plan.buffer[k].offset += at[i];
}

static void plan_entry(lathe_model *m, lt_job *job, lt_model_entry *e, lt_str *keys, int64_t *at) {
  e->split = e->spec.kind == LT_ENTRY_RUN;
  if (e->split) {
    lt_plan pack;
    lt_plan_split(&e->plan, &pack, &m->arena, e->graph, &m->image, e->spec.name);
    if (pack.out_bytes) share_pack(m, job, e, &pack, keys, at);
    return;
  }
  lt_plan_single(&e->plan, &m->arena, e->graph, &m->image, e->spec.name);
  identify(m, &e->plan, e->spec.kind == LT_ENTRY_TRAIN ? 1u << LT_IMAGE_STATE : lt_model_pack_kinds());
}

/* Once all entries are planned: scratch of packing inside the image, and who reads what. A packed image is known by the
 * weights and by all that is packed of them. */
static void finish_pack(lathe_model *m, lt_job *job) {
  lt_str key;
  if (!m->pack.out_bytes) return;
  lt_plan_memory_in_out(&m->pack, &m->arena);
  identify(m, &m->pack, lt_model_pack_kinds());
  m->pack.out_kind = LT_IMAGE_PACKED;
  lt_str_init(&key, lt_arena_new(job));
  lt_plan_key(&key, &m->pack);
  uint64_t packed = lt_hash(key.at, key.n, m->hash);
  for (uint32_t i = 0; i < m->n_entry; i++) {
    lt_plan *p = &m->entry[i].plan;
    if (!m->entry[i].split || !p->region_bytes) continue;
    p->region_bytes = m->pack.out_bytes;
    p->region_kinds = 1u << LT_IMAGE_PACKED;
    p->model = packed;
  }
  m->pack.packed_model = packed;
}

/* Integers that choose: below which value is this input useful? */
static int64_t limit_of(const lt_graph *g, lt_value v) {
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    if (n->op == LT_OP_cross_entropy && n->in[1] == v) return lt_type_of(g, n->in[0])->dim[1];
    if (n->op == LT_OP_gather && n->in[1] == v) {
      const lt_type *t = lt_type_of(g, n->in[0]);
      int64_t axis = ((const lt_gather_attrs *)n->attrs)->axis;
      return t->dim[axis < 0 ? axis + t->rank : axis];
    }
  }
  return 0;
}

static void note_limits(lathe_model *m, lt_model_entry *e, const lt_graph *entry) {
  e->limit = LT_NEW_ARRAY(&m->arena, int64_t, e->plan.n_slot + 1);
  for (uint32_t i = 0; i < e->plan.n_slot; i++) {
    lt_value v = lt_find(entry, e->plan.slot[i].name);
    if (e->plan.slot[i].role == LT_SLOT_INPUT && v) e->limit[i] = limit_of(entry, v);
  }
}

/* A default value behind the plan's constants; returns where. */
static int64_t add_default(lathe_model *m, lt_plan *p, float value) {
  int64_t at = (p->const_bytes + LT_ALIGN - 1) / LT_ALIGN * LT_ALIGN;
  unsigned char *all = lt_arena_zalloc(&m->arena, (size_t)at + sizeof value);
  if (p->const_bytes) memcpy(all, p->consts, (size_t)p->const_bytes);
  memcpy(all + at, &value, sizeof value);
  p->consts = all, p->const_bytes = at + (int64_t)sizeof value;
  return at;
}

/* The scalar input `lr` of a train entry may be left out: then the option's value, or the optimizer's own, holds. */
void lt_set_hyper(lathe_model *m, const lt_model_entry *e, lt_plan *p) {
  if (e->spec.kind != LT_ENTRY_TRAIN) return;
  for (uint32_t i = 0; i < p->n_slot; i++) {
    lt_slot *s = &p->slot[i];
    if (s->role == LT_SLOT_OUTPUT) s->nullable = true;
    bool rate = s->role == LT_SLOT_INPUT && !strcmp(s->name, lt_hyper_name) && s->type.rank == 0 && s->type.dtype == LT_F32;
    if (!rate) continue;
    s->role = LT_SLOT_HYPER;
    s->nullable = true;
    s->def = m->options.given[LT_OPT_lr] ? m->options.lr : lt_optimizer_rate(lt_optimizer_find(m->options.optimizer));
    s->def_offset = add_default(m, p, (float)s->def);
  }
}

/* ---- code -------------------------------------------------------------------------------------------------------- */

static void list_units(lathe_model *m, bool pack_alone) {
  m->unit = LT_NEW_ARRAY(&m->arena, lt_module_entry, m->n_entry + 1);
  m->n_unit = 0;
  for (uint32_t i = 0; i < m->n_entry && !pack_alone; i++)
    m->unit[m->n_unit++] = (lt_module_entry){.plan = &m->entry[i].plan, .steps = m->options.profile};
  if (m->pack.out_bytes) m->unit[m->n_unit++] = (lt_module_entry){.plan = &m->pack, .pack = true};
}

/* ISO C has no conversion from object to function pointers; POSIX promises that the bits are the same. */
static void symbol(const lathe_model *m, const char *name, void *fn) {
  void *at = lt_code_find(m->code, name);
  memcpy(fn, &at, sizeof at);
}

static void find_entry(lathe_model *m, lt_job *job, lt_model_entry *e) {
  symbol(m, e->plan.name, &e->run);
  if (m->options.profile) symbol(m, lt_arena_printf(&m->arena, "%s_step", e->plan.name), &e->step);
  if (!e->run || (m->options.profile && !e->step))
    lt_fail(job, LATHE_E_INTERNAL, NULL, "the compiled module lacks entry `%s`", e->plan.name);
}

void lt_model_jit(lathe_model *m, lt_job *job, bool pack_alone) {
  list_units(m, pack_alone);
  lt_code *code = lt_jit(job, &m->target, m->unit, m->n_unit);
  m->code = code;
  for (uint32_t i = 0; i < m->n_entry && !pack_alone; i++) find_entry(m, job, &m->entry[i]);
  if (!m->pack.out_bytes) return;
  symbol(m, m->pack.name, &m->pack_run);
  if (!m->pack_run) lt_fail(job, LATHE_E_INTERNAL, NULL, "the compiled module lacks `%s`", m->pack.name);
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static double milliseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void model_delete(void *p) {
  lathe_model *m = p;
  if (m->code) lt_code_free(m->code);
  for (uint32_t i = 0; m->entry && i < m->n_entry; i++) lt_graph_free(m->entry[i].graph);
  lt_graph_free(m->leaves);
  lt_arena_free(&m->arena);
  lt_mem_free(m);
}

void lt_model_retain(lathe_model *m) { atomic_fetch_add_explicit(&m->references, 1, memory_order_relaxed); }

void lathe_model_free(lathe_model *m) {
  if (m && atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) == 1) model_delete(m);
}

/* What others free while this job can still fail (graphs, code) is theirs until `made`; so a failure frees it once. */
static void model_failed(void *p) {
  lathe_model *m = p;
  for (uint32_t i = 0; m->entry && i < m->n_entry; i++) m->entry[i].graph = NULL;
  m->leaves = NULL, m->code = NULL;
  model_delete(m);
}

static lathe_model *model_alloc(lt_job *job) {
  lathe_model *m = lt_mem_alloc(sizeof *m);
  if (!m) lt_fail_nomem(job);
  memset(m, 0, sizeof *m);
  atomic_init(&m->references, 1);
  lt_arena_init(&m->arena, job);
  lt_defer_failed(job, model_failed, m);
  return m;
}

static void make_entry(lathe_model *m, lt_job *job, const lathe_graph *g, lt_model_entry *e, const char *spec, lt_graph **before) {
  lt_pass_options po = {.verify_each = m->options.verify_each, .time_passes = m->options.time_passes};
  e->spec = lt_entry_parse(job, &m->arena, spec);
  *before = lt_network_entry(job, g, &e->spec, &m->options);
  if (m->options.verify_each) lt_verify(*before, "the entry's construction");
  e->graph = lt_optimise(job, *before, &e->spec, &po);
  for (int i = 0; i < LT_PASSES; i++) m->seconds[i] += po.seconds[i];
}

static void check_names(lathe_model *m, lt_job *job) {
  for (uint32_t i = 0; i < m->n_entry; i++) {
    if (!strcmp(m->entry[i].spec.name, "pack"))
      lt_fail(job, LATHE_E_INVALID, NULL, "an entry cannot be called `pack`: that is where weights are packed");
    for (uint32_t k = 0; k < i; k++)
      if (!strcmp(m->entry[i].spec.name, m->entry[k].spec.name))
        lt_fail(job, LATHE_E_INVALID, NULL, "two entries are called `%s`\nhelp: write NAME=%s", m->entry[i].spec.name,
                m->entry[i].spec.text);
  }
}

static void make_entries(lathe_model *m, lt_job *job, const lathe_graph *g, int call) {
  static const char *const usual[] = {"run"};
  lt_texts specs = m->options.entry.n ? m->options.entry : (lt_texts){usual, 1};
  m->entry = LT_NEW_ARRAY(&m->arena, lt_model_entry, specs.n);
  m->n_entry = specs.n;
  lt_graph **before = LT_NEW_ARRAY(&m->arena, lt_graph *, specs.n);
  for (uint32_t i = 0; i < specs.n; i++) make_entry(m, job, g, &m->entry[i], specs.at[i], &before[i]);
  check_names(m, job);
  make_image(m, job, g->g);
  measure_image(m);
  m->pack = (lt_plan){.name = "pack"};
  lt_str *keys = LT_NEW_ARRAY(&m->arena, lt_str, specs.n);
  int64_t *at = LT_NEW_ARRAY(&m->arena, int64_t, specs.n);
  for (uint32_t i = 0; i < specs.n; i++) {
    lt_graph_enter(m->entry[i].graph, job);
    plan_entry(m, job, &m->entry[i], keys, at);
    note_limits(m, &m->entry[i], before[i]);
    lt_set_hyper(m, &m->entry[i], &m->entry[i].plan);
    if (call == TO_EMIT && m->entry[i].spec.kind == LT_ENTRY_TRAIN) lt_split_step(m, job, before[i], &m->entry[i]);
    lt_graph_drop(job, before[i]);
    if (m->entry[i].spec.kind == LT_ENTRY_TRAIN) m->image_kind = LT_IMAGE_STATE;
  }
  finish_pack(m, job);
}

lathe_model *lt_model_plan(lt_job *job, const lathe_graph *g, const char *opts, int call) {
  lt_graph_check(job, g);
  lathe_model *m = model_alloc(job);
  lt_options_read(&m->options, job, &m->arena, opts, call);
  m->timed = m->options.time_passes;
  m->name = lt_arena_strdup(&m->arena, g->g->name);
  m->image_kind = LT_IMAGE_PARAMS;
  make_entries(m, job, g, call);
  return m;
}

typedef struct compile_args {
  const lathe_graph *g;
  const char *opts;
  lathe_model *out;
} compile_args;

static void compile_body(lt_job *job, void *arg) {
  compile_args *p = arg;
  double begin = milliseconds();
  lathe_model *m = lt_model_plan(job, p->g, p->opts, TO_COMPILE);
  lt_target_host(&m->target, job, &m->arena, m->options.cpu, m->options.features);
  lt_model_jit(m, job, false);
  m->compile_ms = milliseconds() - begin;
  p->out = m;
}

lathe_model *lathe_compile(const lathe_graph *g, const char *opts, lathe_error *e) {
  compile_args p = {.g = g, .opts = opts};
  return lt_protect(e, compile_body, &p) ? NULL : p.out;
}
