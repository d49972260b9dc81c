/* weights.c: params and states of an instance from and to .npz, and from one instance to another.
 *
 * A file's keys are the weights' names. Reading is strict: missing keys, extra ones and wrong shapes are one error that
 * lists them all. What an optimizer adds (moments, step, seed) may be in a file or not; a model without it passes over
 * it. What a training needs to go on has a step and a seed even where no state holds them (lt_instance_hidden). */
#include "base/npy.h"
#include "driver/model/instance.h"

#include <assert.h>

static const size_t MAX_FILE = (size_t)1 << 40;

/* ---- reading ----------------------------------------------------------------------------------------------------- */

typedef struct reading {
  lt_job *job;
  lathe_instance *s;
  const char *path;
  lt_npz npz;
  const lt_npz_member **member;   /* by item of the image */
  const lt_npz_member *hidden[2]; /* by hidden_names */
  lt_str problems;
  int n_problems;
  const char *other; /* an optimizer that the file has states of, and the training is not with */
  bool partial, goes_on;
} reading;

static const char *const hidden_names[] = {"step", "seed"};

static void problem(reading *r) { lt_str_puts(&r->problems, r->n_problems++ ? "\n  " : "  "); }

static const char *shape_text(lt_arena *a, const lt_elements *n) {
  lt_str s;
  lt_str_init(&s, a);
  lt_str_puts(&s, "[");
  for (unsigned i = 0; i < n->rank; i++) lt_str_printf(&s, "%s%lld", i ? ", " : "", (long long)n->dim[i]);
  lt_str_puts(&s, "]");
  return s.at;
}

static bool is_kind_of(char kind, lt_dtype t) {
  switch (t) {
    case LT_F32: case LT_F64: return kind == 'f';
    case LT_I32: case LT_I64: return kind == 'i' || kind == 'u';
    case LT_BOOL: return kind == 'b';
    case LT_DTYPES: break;
  }
  assert(!"a dtype");
  return false;
}

static bool fits(const lt_elements *n, const lt_type *t) {
  return is_kind_of(n->kind, t->dtype) && n->rank == t->rank &&
         (!n->rank || !memcmp(n->dim, t->dim, n->rank * sizeof *n->dim));
}

static bool match_hidden(reading *r, const lt_npz_member *member) {
  const lt_type type = lt_scalar(LT_I64);
  for (size_t i = 0; i < LT_COUNT(hidden_names); i++)
    if (!strcmp(member->name, hidden_names[i]) && lt_instance_hidden(r->s, member->name) && fits(&member->npy, &type)) {
      r->hidden[i] = member;
      return true;
    }
  return false;
}

static void match_member(reading *r, const lt_npz_member *member) {
  const lathe_model *m = r->s->model;
  const lt_image_item *item = lt_model_item(m, member->name);
  if (item) {
    r->member[item - m->image.item] = member;
    if (member->problem) lt_npz_fail_member(r->job, r->path, member);
    if (fits(&member->npy, &item->type)) return;
    problem(r);
    lt_str_printf(&r->problems, "`%s` is %s of kind %c, should be %s", item->name,
                  shape_text(r->problems.arena, &member->npy), member->npy.kind,
                  lt_type_text(r->problems.arena, &item->type));
    return;
  }
  if (match_hidden(r, member) || r->partial) return;
  if (lt_optimizer_state(m->leaves, member->name)) {
    if (lt_instance_trains(r->s) && !r->other) r->other = lt_optimizer_of(m->leaves, member->name);
    return;
  }
  const char **names = LT_NEW_ARRAY(r->problems.arena, const char *, m->image.n + 1);
  for (uint32_t i = 0; i < m->image.n; i++) names[i] = m->image.item[i].name;
  const char *near = lt_nearest(member->name, names);
  problem(r);
  lt_str_printf(&r->problems,
                near ? "`%.100s` is not a weight of the network (near: `%s`)"
                     : "`%.100s` is not a weight of the network",
                member->name, near);
}

static void find_missing(reading *r) {
  const lathe_model *m = r->s->model;
  const char **names = LT_NEW_ARRAY(r->problems.arena, const char *, r->npz.n + 1);
  for (uint32_t i = 0; i < r->npz.n; i++) names[i] = r->npz.at[i].name;
  for (uint32_t i = 0; i < m->image.n; i++) {
    if (r->member[i] || r->partial || (!m->network_own[i] && !r->goes_on)) continue;
    const char *near = lt_nearest(m->image.item[i].name, names);
    problem(r);
    lt_str_printf(&r->problems, near ? "`%s` %s is missing (near: `%s`)" : "`%s` %s is missing", m->image.item[i].name,
                  lt_type_text(r->problems.arena, &m->image.item[i].type), near);
  }
}

/* A training that goes on with the wrong moments, or without, would learn nonsense. */
LT_NORETURN static void fail_other(const reading *r, const lt_loc *loc) {
  const char *mine = r->s->model->options.optimizer;
  lt_fail(r->job, LATHE_E_MISMATCH, loc,
          "the weights go on with the optimizer `%s`, this training is with `%s`\n"
          "help: --optimizer %s goes on; weights saved without --save-optimizer begin anew with any",
          r->other, mine ? mine : "sgd", r->other);
}

static void check_all(reading *r) {
  const lt_loc loc = {r->path, 0, 0};
  for (uint32_t i = 0; i < r->npz.n; i++) r->goes_on |= lt_instance_trains(r->s) && !strcmp(r->npz.at[i].name, "step");
  for (uint32_t i = 0; i < r->npz.n; i++) match_member(r, &r->npz.at[i]);
  if (r->other) fail_other(r, &loc);
  find_missing(r);
  if (!r->n_problems) return;
  lt_fail(r->job, LATHE_E_MISMATCH, &loc, "the weights do not fit the network:\n%s%s", r->problems.at,
          r->partial ? "" : "\nhelp: --weights-partial allows missing and extra keys");
}

/* A step below 0 would take rows from before the file's begin. */
static void check_step(const reading *r, const unsigned char *image, const int64_t *hidden) {
  const lt_loc loc = {r->path, 0, 0};
  const lt_image_item *item = lt_model_item(r->s->model, "step");
  int64_t step = r->hidden[0] ? hidden[0] : 0;
  if (item && item->type.dtype == LT_I64 && !item->type.rank) memcpy(&step, image + item->offset, sizeof step);
  if (r->goes_on && step < 0)
    lt_fail(r->job, LATHE_E_INVALID, &loc, "`step` is %lld: so many steps cannot have been done", (long long)step);
}

void lt_weights_load(lt_job *job, lathe_instance *s, const char *path, bool partial) {
  lt_arena *a = lt_arena_new(job);
  reading r = {.job = job, .s = s, .path = path, .partial = partial};
  lt_npz_parse(&r.npz, job, a, path, lt_file_read(job, a, path, MAX_FILE), MAX_FILE);
  lt_str_init(&r.problems, a);
  r.member = LT_NEW_ARRAY(a, const lt_npz_member *, s->model->image.n + 1);
  check_all(&r);
  unsigned char *image = lt_arena_alloc(a, (size_t)s->model->image.bytes + 1); /* all or nothing */
  memcpy(image, s->image, (size_t)s->model->image.bytes);
  for (uint32_t i = 0; i < s->model->image.n; i++) {
    const lt_image_item *item = &s->model->image.item[i];
    if (!r.member[i]) continue;
    lt_elements_convert(&r.member[i]->npy, job, (lt_array_where){path, r.member[i]->name},
                        (lathe_dtype)item->type.dtype, image + item->offset);
  }
  int64_t hidden[LT_COUNT(hidden_names)];
  for (size_t i = 0; i < LT_COUNT(hidden_names); i++)
    if (r.hidden[i])
      lt_elements_convert(&r.hidden[i]->npy, job, (lt_array_where){path, hidden_names[i]}, LATHE_I64, &hidden[i]);
  check_step(&r, image, hidden);
  memcpy(s->image, image, (size_t)s->model->image.bytes);
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
  lt_weights_load(job, p->s, p->path, p->flag);
}

int lathe_weights_load(lathe_instance *s, const char *path, int partial, lathe_error *e) {
  return lt_protect(e, load_body, &(weights_args){.s = s, .path = path, .flag = partial != 0});
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void save_body(lt_job *job, void *arg) {
  weights_args *p = arg;
  check_instance(job, p->s);
  const lathe_model *m = p->s->model;
  lt_arena *a = lt_arena_new(job);
  lt_npz_item *list = LT_NEW_ARRAY(a, lt_npz_item, m->image.n + LT_COUNT(hidden_names));
  const lt_type scalar = lt_scalar(LT_I64);
  size_t n = 0;
  for (uint32_t i = 0; i < m->image.n; i++) {
    const lt_image_item *item = &m->image.item[i];
    if (!m->network_own[i] && !p->flag) continue;
    list[n++] = (lt_npz_item){item->name, (lathe_dtype)item->type.dtype, item->type.rank, item->type.dim,
                              p->s->image + item->offset};
  }
  for (size_t i = 0; p->flag && i < LT_COUNT(hidden_names); i++) {
    void *hidden = lt_instance_hidden(p->s, hidden_names[i]);
    if (hidden) list[n++] = (lt_npz_item){hidden_names[i], LATHE_I64, 0, scalar.dim, hidden};
  }
  lt_str text;
  lt_str_init(&text, a);
  lt_npz_write(&text, job, list, n);
  lt_file_write(job, p->path, text.at, text.n);
}

int lathe_weights_save(lathe_instance *s, const char *path, int with_optimizer, lathe_error *e) {
  return lt_protect(e, save_body, &(weights_args){.s = s, .path = path, .flag = with_optimizer != 0});
}

/* ---- copying ----------------------------------------------------------------------------------------------------- */

void lt_weights_copy(lt_job *job, lathe_instance *into, const lathe_instance *from) {
  const lathe_model *to = into->model;
  for (int pass = 0; pass < 2; pass++) /* first check, then change */
    for (uint32_t i = 0; i < to->image.n; i++) {
      const lt_image_item *item = &to->image.item[i], *other = lt_model_item(from->model, item->name);
      if (!other && !to->network_own[i]) continue;
      if (!other) lt_fail(job, LATHE_E_MISMATCH, NULL, "the other model has no weight `%s`", item->name);
      if (!lt_type_eq(&item->type, &other->type))
        lt_fail(job, LATHE_E_MISMATCH, NULL, "weight `%s` has another shape in the other model", item->name);
      if (pass) memcpy(into->image + item->offset, from->image + other->offset, (size_t)lt_type_bytes(&item->type));
    }
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
