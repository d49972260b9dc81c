/* weights.c: params and states of an instance from and to files, and from one instance to another.
 *
 * A file's keys are the weights' names, or PyTorch's or Keras's (match.h). Reading is strict: missing keys, extra ones
 * and wrong shapes are one error that lists them all. What an optimizer adds (moments, step, seed) may be in a file or
 * not; a model without it passes over it. What a training needs to go on has a step and a seed even where no state
 * holds them (lt_instance_hidden). */
#include "driver/model/instance.h"
#include "driver/model/match.h"

/* ---- reading ----------------------------------------------------------------------------------------------------- */

typedef struct reading {
  lt_job *job;
  lathe_instance *s;
  lt_weights w;
  lt_matching match;
  lt_weight *hidden[2]; /* by hidden_names */
  const char *other;    /* an optimizer that the file has states of, and the training is not with */
  bool goes_on;
} reading;

static const char *const hidden_names[] = {"step", "seed"};

static bool is_hidden(reading *r, lt_weight *x) {
  for (size_t i = 0; i < LT_COUNT(hidden_names); i++)
    if (!strcmp(x->key, hidden_names[i]) && lt_instance_hidden(r->s, x->key) && !x->array.rank &&
        lt_elements_fit(&x->array, LATHE_I64)) {
      r->hidden[i] = x;
      return true;
    }
  return false;
}

/* What an optimizer has left in the file, where the model has no place for it. */
static bool is_left_over(reading *r, const lt_weight *x) {
  const lathe_model *m = r->s->model;
  if (lt_model_item(m, x->key) || !lt_optimizer_state(m->leaves, x->key)) return false;
  if (!r->match.partial && lt_instance_trains(r->s) && !r->other) r->other = lt_optimizer_of(m->leaves, x->key);
  return true;
}

/* A training that goes on with the wrong moments, or without, would learn nonsense. */
LT_NORETURN static void fail_other(const reading *r) {
  const lt_loc loc = {r->w.path, 0, 0};
  const char *mine = r->s->model->options.optimizer;
  lt_fail(r->job, LATHE_E_MISMATCH, &loc,
          "the weights go on with the optimizer `%s`, this training is with `%s`\n"
          "help: --optimizer %s goes on; weights saved without --save-optimizer begin anew with any",
          r->other, mine ? mine : "sgd", r->other);
}

static void match_all(reading *r) {
  for (uint32_t i = 0; i < r->w.n; i++) {
    lt_weight *x = &r->w.at[i];
    r->goes_on |= lt_instance_trains(r->s) && !strcmp(x->key, "step");
    r->match.skip[i] = is_hidden(r, x) || is_left_over(r, x);
  }
  lt_match_all(&r->match);
  if (r->other) fail_other(r);
  lt_match_missing(&r->match, r->goes_on);
  lt_match_check(&r->match);
}

/* A step below 0 would take rows from before the file's begin. */
static void check_step(const reading *r, const unsigned char *image, const int64_t *hidden) {
  const lt_loc loc = {r->w.path, 0, 0};
  const lt_image_item *item = lt_model_item(r->s->model, "step");
  int64_t step = r->hidden[0] ? hidden[0] : 0;
  if (item && item->type.dtype == LT_I64 && !item->type.rank) memcpy(&step, image + item->offset, sizeof step);
  if (r->goes_on && step < 0)
    lt_fail(r->job, LATHE_E_INVALID, &loc, "`step` is %lld: so many steps cannot have been done", (long long)step);
}

static void convert(reading *r, lt_weight *x, lt_elements view, lathe_dtype want, void *to) {
  lt_weights_fetch(&r->w, x);
  view.data = x->array.data, view.big = x->array.big;
  lt_elements_convert(&view, r->job, (lt_array_where){r->w.path, x->key}, want, to);
}

/* May the weights of this instance stay in the file? */
static bool may_stay(const lathe_instance *s, const lt_weights *w) { return s->pack_only && w->mapping && !s->drawn; }

/* An array that has the weight's own bytes, in the file itself. */
static bool stays(reading *r, const lt_match *x, lathe_dtype want) {
  const lt_bytes *file = &r->w.file;
  lt_weights_fetch(&r->w, x->weight);
  lt_elements view = x->array;
  view.data = x->weight->array.data, view.big = x->weight->array.big;
  bool aligned = (uintptr_t)view.data % view.size == 0 || lt_target_reads_anywhere(&r->s->model->target);
  return aligned && lt_elements_are(&view, want) && view.data >= file->at && view.data < file->at + file->n;
}

/* The weight's place is its item of the image, or the file. */
static void place(reading *r, uint32_t i, unsigned char *made, bool may) {
  const lt_image_item *item = &r->s->model->image.item[i];
  const lt_match *x = &r->match.item[i];
  lathe_dtype want = (lathe_dtype)item->type.dtype;
  if (may && stays(r, x, want)) r->s->item[i] = x->weight->array.data;
  else convert(r, x->weight, x->array, want, made + item->offset);
}

/* What the new file lacks stays as it is; that may be in the file of before. */
static void take_rest(reading *r, unsigned char *made) {
  lathe_instance *s = r->s;
  const lt_image *image = &s->model->image;
  bool same = !s->file || lt_mapping_same(s->file, s->file_path);
  memcpy(made, s->image, LT_IMAGE_HEADER);
  for (uint32_t i = 0; i < image->n; i++) {
    if (r->match.item[i].weight) continue;
    if (!same && lt_instance_in_file(s, i)) lt_fail_written(r->job, s);
    memcpy(made + image->item[i].offset, s->item[i], (size_t)lt_type_bytes(&image->item[i].type));
  }
}

/* The whole image anew: nothing is in a file any more. */
static void put_all(lathe_instance *s, const unsigned char *made) {
  const lt_image *image = &s->model->image;
  memcpy(s->image, made, (size_t)image->bytes);
  for (uint32_t i = 0; i < image->n; i++) s->item[i] = s->image + image->item[i].offset;
  lt_instance_settle(s);
}

static void keep_file(reading *r) {
  lathe_instance *s = r->s;
  s->file_path = lt_arena_strdup(&s->arena, r->w.path);
  s->file = r->w.mapping, s->outside = true;
  lt_mapping_keep(s->file);
}

void lt_weights_load(lt_job *job, lathe_instance *s, const char *path, lt_load_options o) {
  lt_arena *a = lt_arena_new(job);
  reading r = {.job = job, .s = s};
  const lt_image *image = &s->model->image;
  lt_weights_open(&r.w, job, a, path);
  lt_match_begin(&r.match, job, a, s->model, &r.w);
  r.match.partial = o.partial, r.match.flatten_order = o.flatten_order;
  match_all(&r);
  bool may = may_stay(s, &r.w);
  if (may) keep_file(&r);
  bool fresh = !s->drawn; /* nobody has it yet: what fails half-way is freed */
  unsigned char *made = fresh ? s->image : lt_arena_zalloc(a, (size_t)image->bytes + 1); /* else all or nothing */
  if (!fresh) take_rest(&r, made);
  for (uint32_t i = 0; i < image->n; i++) {
    const lt_match *x = &r.match.item[i];
    if (fresh && !x->weight) lt_instance_draw_item(s, i);
    if (x->weight) place(&r, i, made, may);
  }
  int64_t hidden[LT_COUNT(hidden_names)];
  for (size_t i = 0; i < LT_COUNT(hidden_names); i++)
    if (r.hidden[i]) convert(&r, r.hidden[i], r.hidden[i]->array, LATHE_I64, &hidden[i]);
  check_step(&r, made, hidden);
  if (!fresh) put_all(s, made);
  s->drawn = true;
  for (size_t i = 0; i < LT_COUNT(hidden_names); i++)
    if (r.hidden[i]) memcpy(lt_instance_hidden(s, hidden_names[i]), &hidden[i], sizeof hidden[i]);
  s->stale = true;
}

typedef struct weights_args {
  lathe_instance *s;
  const lathe_instance *from;
  const char *path;
  bool flag;
} weights_args;

static void check_instance(lt_job *job, const lathe_instance *s) {
  if (!s) lt_fail(job, LATHE_E_INVALID, NULL, "the instance is NULL");
}

static void load_body(lt_job *job, void *arg) {
  weights_args *p = arg;
  check_instance(job, p->s);
  lt_weights_load(job, p->s, p->path, (lt_load_options){.partial = p->flag});
}

int lathe_weights_load(lathe_instance *s, const char *path, int partial, lathe_error *e) {
  return lt_protect(e, load_body, &(weights_args){.s = s, .path = path, .flag = partial != 0});
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

void lt_weights_write(lt_job *job, lathe_instance *s, const char *path, bool with_optimizer) {
  const lathe_model *m = s->model;
  lt_instance_own(job, s);
  const lt_weights_format *format = lt_weights_format_to_write(job, path);
  lt_arena *a = lt_arena_new(job);
  lt_named_array *list = LT_NEW_ARRAY(a, lt_named_array, m->image.n + LT_COUNT(hidden_names));
  const lt_type scalar = lt_scalar(LT_I64);
  size_t n = 0;
  for (uint32_t i = 0; i < m->image.n; i++) {
    const lt_image_item *item = &m->image.item[i];
    if (!m->network_own[i] && !with_optimizer) continue;
    list[n++] = (lt_named_array){item->name, (lathe_dtype)item->type.dtype, item->type.rank, item->type.dim,
                                 s->image + item->offset};
  }
  for (size_t i = 0; with_optimizer && i < LT_COUNT(hidden_names); i++) {
    void *hidden = lt_instance_hidden(s, hidden_names[i]);
    if (hidden) list[n++] = (lt_named_array){hidden_names[i], LATHE_I64, 0, scalar.dim, hidden};
  }
  lt_str text;
  lt_str_init(&text, a);
  format->write(&text, job, list, n);
  lt_file_write(job, path, text.at, text.n);
}

static void save_body(lt_job *job, void *arg) {
  weights_args *p = arg;
  check_instance(job, p->s);
  lt_weights_write(job, p->s, p->path, p->flag);
}

int lathe_weights_save(lathe_instance *s, const char *path, int with_optimizer, lathe_error *e) {
  return lt_protect(e, save_body, &(weights_args){.s = s, .path = path, .flag = with_optimizer != 0});
}

/* ---- copying ----------------------------------------------------------------------------------------------------- */

void lt_weights_copy(lt_job *job, lathe_instance *into, const lathe_instance *from) {
  const lathe_model *to = into->model;
  lt_instance_check_file(job, from);
  for (int pass = 0; pass < 2; pass++) /* first check, then change */
    for (uint32_t i = 0; i < to->image.n; i++) {
      const lt_image_item *item = &to->image.item[i], *other = lt_model_item(from->model, item->name);
      if (!other && !to->network_own[i]) continue;
      if (!other) lt_fail(job, LATHE_E_MISMATCH, NULL, "the other model has no weight `%s`", item->name);
      if (!lt_type_eq(&item->type, &other->type))
        lt_fail(job, LATHE_E_MISMATCH, NULL, "weight `%s` has another shape in the other model", item->name);
      if (pass)
        into->item[i] =
          memcpy(into->image + item->offset, lt_instance_at(from, other), (size_t)lt_type_bytes(&item->type));
    }
  lt_instance_own(job, into);
  bool both = lt_instance_trains(into) && lt_instance_trains(from);
  if (both) into->step = from->step, into->seed = from->seed;
  into->stale = true;
}

static void copy_body(lt_job *job, void *arg) {
  weights_args *p = arg;
  check_instance(job, p->s);
  check_instance(job, p->from);
  lt_weights_copy(job, p->s, p->from);
}

int lathe_weights_copy(lathe_instance *to, const lathe_instance *from, lathe_error *e) {
  return lt_protect(e, copy_body, &(weights_args){.s = to, .from = from});
}
