/* instance.c: memory for a model's entries, and calling them. Everything is allocated in lathe_open; a call fills
 * pointers in and jumps. */
#include "driver/model/instance.h"

#include <math.h>
#include <stdlib.h>

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static void instance_delete(void *p) {
  lathe_instance *s = p;
  if (s->file) lt_mapping_drop(s->file);
  for (uint32_t i = 0; i < s->n_cell; i++) lt_mem_zeroed_free(s->cell[i].own);
  lt_mem_zeroed_free(s->image);
  lt_mem_zeroed_free(s->packed);
  for (uint32_t i = 0; s->grads && i < s->model->n_entry; i++) lt_mem_zeroed_free(s->grads[i]);
  lt_mem_zeroed_free(s->scratch);
  lathe_pool_free(s->pool);
  lt_model_release(s->model);
  lt_arena_free(&s->arena);
  lt_mem_free(s);
}

void lathe_instance_free(lathe_instance *s) {
  if (s) instance_delete(s);
}

static lathe_instance *instance_alloc(lt_job *job, const lathe_model *m) {
  lathe_instance *s = lt_mem_alloc(sizeof *s);
  if (!s) lt_fail_nomem(job);
  memset(s, 0, sizeof *s);
  lt_arena_init(&s->arena, job);
  s->model = m;
  lt_model_retain(m);
  lt_defer_failed(job, instance_delete, s);
  return s;
}

static void *zeroed(lt_job *job, int64_t bytes) {
  void *p = lt_mem_zeroed((size_t)bytes);
  if (!p) lt_fail_nomem(job);
  return p;
}

static lt_cell *find_cell(lathe_instance *s, const char *name) {
  for (uint32_t i = 0; i < s->n_cell; i++)
    if (!strcmp(s->cell[i].name, name)) return &s->cell[i];
  return NULL;
}

static uint32_t slot_cell(lathe_instance *s, const lt_slot *slot) {
  lt_cell *c = find_cell(s, slot->name);
  if (!c) {
    c = &s->cell[s->n_cell++];
    *c = (lt_cell){.name = slot->name, .hyper = slot->role == LT_SLOT_HYPER};
  }
  c->bytes = LT_MAX(c->bytes, (size_t)lt_type_bytes(&slot->type));
  return (uint32_t)(c - s->cell);
}

static void make_cells(lathe_instance *s, lt_job *job) {
  const lathe_model *m = s->model;
  uint32_t most = 0;
  for (uint32_t i = 0; i < m->n_entry; i++) most += m->entry[i].plan.n_slot;
  s->cell = LT_NEW_ARRAY(&s->arena, lt_cell, most + 1);
  s->call = LT_NEW_ARRAY(&s->arena, lt_call_args, m->n_callable + 1);
  for (uint32_t i = 0; i < m->n_callable; i++) {
    const lt_plan *p = lt_callable_plan(&m->callable[i]);
    lt_call_args *c = &s->call[s->n_call++];
    c->callee = &m->callable[i];
    c->io = LT_NEW_ARRAY(&s->arena, const void *, p->n_slot + 1);
    c->cell = LT_NEW_ARRAY(&s->arena, uint32_t, p->n_slot + 1);
    for (uint32_t k = 0; k < p->n_slot; k++) c->cell[k] = slot_cell(s, &p->slot[k]);
  }
  for (uint32_t i = 0; i < s->n_cell; i++) s->cell[i].own = zeroed(job, (int64_t)s->cell[i].bytes);
}

static void make_images(lathe_instance *s, lt_job *job) {
  const lathe_model *m = s->model;
  int64_t image = LT_MAX(m->image.bytes, (int64_t)LT_IMAGE_HEADER);
  s->image = zeroed(job, image);
  lt_image_header h = {.abi = LATHE_ABI_1, .kind = m->image_kind, .bytes = (uint64_t)image};
  h.model = m->image_kind == LT_IMAGE_STATE ? m->state_hash : m->hash;
  memcpy(h.magic, LT_IMAGE_MAGIC, sizeof h.magic);
  memcpy(s->image, &h, sizeof h);
  s->item = LT_NEW_ARRAY(&s->arena, const void *, m->image.n + 1);
  for (uint32_t i = 0; i < m->image.n; i++) s->item[i] = s->image + m->image.item[i].offset;
  if (m->pack.out_bytes) s->packed = zeroed(job, m->pack.out_bytes);
}

static bool packs_alone(const lathe_instance *s) {
  bool alone = s->packed != NULL;
  for (uint32_t i = 0; i < s->model->n_entry; i++) alone = alone && s->model->entry[i].split;
  return alone;
}

static void make_grads(lathe_instance *s, lt_job *job) {
  const lathe_model *m = s->model;
  s->grads = LT_NEW_ARRAY(&s->arena, void *, m->n_entry + 1);
  for (uint32_t i = 0; i < m->n_entry; i++)
    if (m->entry[i].halves) s->grads[i] = zeroed(job, m->entry[i].halves->grads.bytes);
}

static void make_regions(lathe_instance *s, lt_job *job) {
  int64_t scratch = 0;
  make_images(s, job);
  make_grads(s, job);
  for (uint32_t i = 0; i < s->n_call; i++) {
    lt_call_args *c = &s->call[i];
    const lt_model_entry *e = c->callee->entry;
    scratch = LT_MAX(scratch, lt_callable_plan(c->callee)->scratch_bytes);
    c->region = e->split ? s->packed : s->image;
    c->grads = s->grads[e - s->model->entry];
  }
  if (scratch) s->scratch = zeroed(job, scratch);
}

/* ---- initial values ---------------------------------------------------------------------------------------------- */

bool lt_is_seed(const lt_image_item *x) {
  return !strcmp(x->name, "seed") && !x->is_param && x->type.dtype == LT_I64 && !x->type.rank;
}

/* The network's own value of weight i, where that may stay in its file; NULL: it is made in the image. */
static const void *own_in_file(const lathe_instance *s, uint32_t i) {
  const lt_init *init = &s->model->init[i];
  const lt_data *d = init->kind == LT_INIT_LITERAL && s->pack_only ? init->literal : NULL;
  if (!d || !d->file) return NULL;
  bool aligned = (uintptr_t)d->at % lt_dtype_size(d->type.dtype) == 0;
  return aligned || lt_target_reads_anywhere(&s->model->target) ? d->at : NULL;
}

void lt_instance_draw_item(lathe_instance *s, uint32_t i) {
  const lathe_model *m = s->model;
  const lt_image_item *item = &m->image.item[i];
  const void *there = own_in_file(s, i);
  if (there) {
    s->item[i] = there, s->outside = true;
    return;
  }
  lt_init_fill(&m->init[i], &item->type, item->name, s->seed, s->image + item->offset);
  if (lt_is_seed(item)) memcpy(s->image + item->offset, &s->seed, sizeof s->seed);
}

void lt_instance_draw(lathe_instance *s) {
  if (s->drawn) return;
  for (uint32_t i = 0; i < s->model->image.n; i++) lt_instance_draw_item(s, i);
  s->drawn = s->stale = true;
}

bool lt_instance_in_file(const lathe_instance *s, uint32_t i) {
  const unsigned char *at = s->item[i];
  return s->file && at >= s->file->bytes.at && at < s->file->bytes.at + s->file->bytes.n;
}

bool lt_instance_settle(lathe_instance *s) {
  const lt_image *image = &s->model->image;
  if (!s->outside) return true;
  bool same = !s->file || lt_mapping_same(s->file, s->file_path);
  for (uint32_t i = 0; i < image->n; i++) {
    unsigned char *own = s->image + image->item[i].offset;
    if (s->item[i] == own) continue;
    if (!same && lt_instance_in_file(s, i)) return false;
    memcpy(own, s->item[i], (size_t)lt_type_bytes(&image->item[i].type));
    s->item[i] = own;
  }
  if (s->file) lt_mapping_drop(s->file);
  s->file = NULL, s->outside = false;
  return true;
}

void lt_fail_written(lt_job *job, const lathe_instance *s) {
  lt_fail(job, LATHE_E_IO, NULL,
          "%s has been written since its weights were opened\nhelp: replace such files by renaming", s->file_path);
}

void lt_instance_check_file(lt_job *job, const lathe_instance *s) {
  if (s->file && !lt_mapping_same(s->file, s->file_path)) lt_fail_written(job, s);
}

void lt_instance_own(lt_job *job, lathe_instance *s) {
  if (!lt_instance_settle(s)) lt_fail_written(job, s);
}

lathe_instance *lt_instance_images(lt_job *job, const lathe_model *m, lt_pack_fn pack, uint64_t seed) {
  lathe_instance *s = instance_alloc(job, m);
  s->pack = pack;
  s->seed = seed;
  make_images(s, job);
  return s;
}

typedef struct open_args {
  lathe_model *m;
  const char *opts;
  lathe_instance *out;
} open_args;

static void open_body(lt_job *job, void *arg) {
  open_args *p = arg;
  if (!p->m) lt_fail(job, LATHE_E_INVALID, NULL, "the model is NULL");
  lt_options o;
  lt_options_read(&o, job, lt_arena_new(job), p->opts, TO_OPEN);
  lathe_instance *s = instance_alloc(job, p->m);
  s->pack = p->m->pack_run;
  s->seed = (uint64_t)o.seed;
  make_cells(s, job);
  make_regions(s, job);
  s->pack_only = packs_alone(s);
  if (o.threads > 1 && !(s->pool = lathe_pool_new((int)o.threads))) lt_fail_nomem(job);
  if (o.weights) lt_weights_load(job, s, o.weights, (lt_load_options){o.weights_partial, o.flatten_order});
  lt_instance_draw(s);
  int status = lathe_repack(s);
  if (status) lt_fail(job, LATHE_E_INTERNAL, NULL, "packing the weights failed: %s", lathe_status_text(status));
  p->out = s;
}

lathe_instance *lathe_open(lathe_model *m, const char *opts, lathe_error *e) {
  open_args p = {.m = m, .opts = opts};
  return lt_protect(e, open_body, &p) ? NULL : p.out;
}

/* ---- buffers ----------------------------------------------------------------------------------------------------- */

void *lt_instance_hidden(lathe_instance *s, const char *name) {
  if (!lt_instance_trains(s) || lt_model_item(s->model, name)) return NULL;
  return !strcmp(name, "step") ? (void *)&s->step : !strcmp(name, "seed") ? (void *)&s->seed : NULL;
}

void *lathe_buffer(lathe_instance *s, const char *name, size_t *bytes) {
  if (bytes) *bytes = 0;
  if (!s || !name) return NULL;
  lt_cell *c = find_cell(s, name);
  if (c) {
    if (bytes) *bytes = c->bytes;
    c->touched = true;
    return c->bound ? c->bound : c->own;
  }
  const lt_image_item *item = lt_model_item(s->model, name);
  void *hidden = lt_instance_hidden(s, name);
  if (bytes && (item || hidden)) *bytes = item ? (size_t)lt_type_bytes(&item->type) : sizeof s->step;
  if (item && !lt_instance_settle(s)) return NULL;
  return item ? s->image + item->offset : hidden;
}

int lathe_bind(lathe_instance *s, const char *name, void *data, size_t bytes) {
  lt_cell *c = s && name ? find_cell(s, name) : NULL;
  if (!c) return LATHE_E_INVALID;
  if (data && bytes < c->bytes) return LATHE_E_MISMATCH;
  c->bound = data;
  c->touched = data || !c->hyper;
  return LATHE_OK;
}

/* ---- calling ----------------------------------------------------------------------------------------------------- */

static lt_call_args *find_call(const lathe_instance *s, const char *entry) {
  for (uint32_t i = 0; s && entry && i < s->n_call; i++)
    if (!strcmp(lt_callable_plan(s->call[i].callee)->name, entry)) return &s->call[i];
  return NULL;
}

void *lathe_region(lathe_instance *s, const char *entry, size_t *bytes) {
  const lt_call_args *c = find_call(s, entry);
  if (bytes) *bytes = !c ? 0 : (size_t)(c->callee->entry->split ? s->model->pack.out_bytes : s->model->image.bytes);
  return c ? c->region : NULL;
}

void *lathe_grads(lathe_instance *s, const char *entry, size_t *bytes) {
  const lt_call_args *c = find_call(s, entry);
  if (bytes) *bytes = c && c->grads ? (size_t)c->callee->entry->halves->grads.bytes : 0;
  return c ? c->grads : NULL;
}

static void fill_io(const lathe_instance *s, const lt_call_args *c) {
  uint32_t n = lt_callable_plan(c->callee)->n_slot;
  for (uint32_t i = 0; i < n; i++) {
    const lt_cell *cell = &s->cell[c->cell[i]];
    c->io[i] = cell->bound ? cell->bound : cell->hyper && !cell->touched ? NULL : cell->own;
  }
  c->io[n] = s->pool ? lathe_pool_parallel(s->pool) : NULL;
}

/* Does the call take the state one step on? */
static bool steps_on(const lt_callable *c) {
  return c->entry->spec.kind == LT_ENTRY_TRAIN && (!c->half || c->half == &c->entry->halves->apply);
}

int lathe_call(lathe_instance *s, const char *entry) {
  const lt_call_args *c = find_call(s, entry);
  if (!c) return LATHE_E_INVALID;
  const lt_callable *callee = c->callee;
  if (s->stale && callee->entry->split) {
    int status = lathe_repack(s);
    if (status) return status;
  }
  fill_io(s, c);
  int status = callee->half ? callee->half->run(c->io, c->region, c->grads, s->scratch)
                            : callee->entry->run(c->io, c->region, s->scratch);
  s->step += status == LATHE_OK && steps_on(callee);
  return status;
}

/* ---- filling inputs ---------------------------------------------------------------------------------------------- */

typedef struct slot_info {
  const lt_slot *slot;
  int64_t limit;
} slot_info;

static slot_info find_slot(const lathe_instance *s, const char *name) {
  slot_info found = {0};
  for (uint32_t i = 0; i < s->n_call; i++) {
    const lt_model_entry *e = s->call[i].callee->entry;
    for (uint32_t k = 0; k < e->plan.n_slot; k++) {
      if (strcmp(e->plan.slot[k].name, name)) continue;
      bool larger = !found.slot || lt_type_bytes(&e->plan.slot[k].type) > lt_type_bytes(&found.slot->type);
      if (larger) found.slot = &e->plan.slot[k];
      int64_t limit = lt_plan_index_limit(&e->plan, k, false);
      if (limit) found.limit = found.limit ? LT_MIN(found.limit, limit) : limit;
    }
  }
  return found;
}

static void fill(const lt_type *t, void *data, uint64_t seed, uint64_t stream, int64_t limit) {
  for (int64_t i = 0, n = lt_type_count(t); i < n; i++) {
    uint64_t at = (uint64_t)i;
    int64_t whole = (int64_t)(lt_random_u32(seed, stream, at) % (uint64_t)limit);
    switch (t->dtype) {
      case LT_F32: ((float *)data)[i] = lt_random_normal(seed, stream, at); break;
      case LT_F64: ((double *)data)[i] = (double)lt_random_normal(seed, stream, at); break;
      case LT_I32: ((int32_t *)data)[i] = (int32_t)whole; break;
      case LT_I64: ((int64_t *)data)[i] = whole; break;
      case LT_BOOL: ((uint8_t *)data)[i] = (uint8_t)(whole & 1); break;
      case LT_DTYPES: break;
    }
  }
}

int lathe_fill(lathe_instance *s, const char *name, uint64_t seed, int64_t limit) {
  lt_cell *c = s && name ? find_cell(s, name) : NULL;
  if (!c) return LATHE_E_INVALID;
  enum { UNKNOWN = 2 }; /* an integer input whose meaning no op tells */
  slot_info info = find_slot(s, name);
  if (limit <= 0) limit = info.limit ? info.limit : UNKNOWN;
  if (limit > UINT32_MAX) limit = UINT32_MAX;
  c->touched = true;
  fill(&info.slot->type, c->bound ? c->bound : c->own, seed, lt_random_stream(name), limit);
  return LATHE_OK;
}

/* ---- timing kernels ---------------------------------------------------------------------------------------------- */

typedef struct profile_args {
  lathe_instance *s;
  const char *entry;
  double seconds, *best;
} profile_args;

/* Kernels in order, so that each finds the operands the one before left; the best of as many rounds as there is time
 * for. A training step's kernels change the state; it is put back. */
static int profile_rounds(lathe_instance *s, const lt_call_args *c, double seconds, double *best) {
  uint32_t n = lt_callable_plan(c->callee)->n_kernel;
  lt_step_fn step = c->callee->half ? c->callee->half->step : c->callee->entry->step;
  for (uint32_t k = 0; k < n; k++) best[k] = INFINITY;
  double begin = lt_seconds();
  for (int round = 0; round < 3 || lt_seconds() - begin < seconds; round++)
    for (uint32_t k = 0; k < n; k++) {
      double before = lt_seconds();
      int status = step(c->io, c->region, c->callee->half ? c->grads : NULL, s->scratch, k);
      if (status) return status;
      best[k] = LT_MIN(best[k], lt_seconds() - before);
    }
  return LATHE_OK;
}

static void profile_body(lt_job *job, void *arg) {
  profile_args *p = arg;
  lathe_instance *s = p->s;
  const lt_call_args *c = find_call(s, p->entry);
  if (!c) lt_fail(job, LATHE_E_INVALID, NULL, "the model has no entry `%.40s`", p->entry ? p->entry : "");
  if (!s->model->options.profile)
    lt_fail(job, LATHE_E_INVALID, NULL, "kernels cannot be timed one by one\nhelp: compile with --profile");
  int64_t bytes = c->callee->entry->split ? 0 : s->model->image.bytes;
  unsigned char *saved = lt_arena_alloc(lt_arena_new(job), (size_t)LT_MAX(bytes, 1));
  memcpy(saved, s->image, (size_t)bytes);
  fill_io(s, c);
  int status = profile_rounds(s, c, p->seconds, p->best);
  memcpy(s->image, saved, (size_t)bytes);
  if (status) lt_fail(job, status, NULL, "a kernel of `%s` returned: %s", p->entry, lathe_status_text(status));
}

int lathe_profile(lathe_instance *s, const char *entry, double seconds, double *best, lathe_error *e) {
  return lt_protect(e, profile_body, &(profile_args){s, entry, seconds, best});
}
