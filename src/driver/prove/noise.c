/* noise.c: how far an entry's results move when what it is given moves in its last bits. What they are known to no
 * better than that: a gradient that is zero but for rounding is noise, in f32 as in double, and no measure of an
 * error. */
#include "driver/prove/probe.h"

static const double STIR = 0x1p-22; /* a few units in the last place of an f32 */

/* The leaf's value with each element a little larger or smaller. */
static const lt_tensor *stirred(lt_probe *p, lt_value v) {
  const lt_tensor *t = lt_probe_tensor(p, p->a, v);
  if (!lt_is_float(t->type.dtype)) return t;
  lt_tensor *y = lt_tensor_copy(p->a, t);
  uint64_t stream = lt_random_stream(lt_name_of(p->g, v));
  for (int64_t i = 0, n = lt_type_count(&t->type); i < n; i++) {
    double x = y->f[i] * (lt_random_u32(1, stream, (uint64_t)i) & 1 ? 1 + STIR : 1 - STIR);
    y->f[i] = lt_dtype_round(t->type.dtype, x);
  }
  return y;
}

/* What a cell is to point at during the call; the image's items are written where they stand. */
typedef struct swap { lt_cell *cell; void *fresh, *bound; struct swap *next; } swap;
typedef struct stirring { lt_probe *p; lt_stirred r; swap *all; void **result; } stirring;

static void *plan_swap(stirring *s, const char *name, lt_value v) {
  swap *x = LT_NEW(s->p->a, swap);
  x->cell = lt_probe_cell(s->p, name);
  x->fresh = lt_arena_alloc(s->p->a, (size_t)lt_type_bytes(lt_type_of(s->p->g, v)) + 1);
  x->next = s->all;
  s->all = x;
  return x->fresh;
}

static void plan_leaf(stirring *s, lt_value v) {
  const char *name = lt_name_of(s->p->g, v);
  const lt_cell *c = lt_probe_cell(s->p, name);
  bool hyper = c && c->hyper;
  s->r.leaf[v] = hyper ? lt_probe_tensor(s->p, s->p->a, v) : stirred(s->p, v);
  if (c && !hyper) lt_tensor_export(s->r.leaf[v], plan_swap(s, name, v));
}

static void write_items(stirring *s) {
  const lathe_instance *to = s->p->s;
  for (lt_value v = 1; v < s->p->g->values.n; v++) {
    const char *name = s->r.leaf[v] ? lt_name_of(s->p->g, v) : NULL;
    const lt_image_item *item = name && !lt_probe_cell(s->p, name) ? lt_model_item(to->model, name) : NULL;
    if (item) lt_tensor_export(s->r.leaf[v], to->image + item->offset);
  }
}

static size_t result_bytes(const lt_probe *p, uint32_t i) {
  return (size_t)lt_type_bytes(lt_type_of(p->g, lt_probe_result(p, i)));
}

/* Nothing may fail in between: the caller's buffers are bound elsewhere. */
static int call_stirred(stirring *s) {
  lathe_instance *to = s->p->s;
  write_items(s);
  for (swap *x = s->all; x; x = x->next) x->bound = x->cell->bound, x->cell->bound = x->fresh;
  to->stale = true;
  int status = lathe_call(to, s->p->entry->spec.name);
  for (swap *x = s->all; x; x = x->next) x->cell->bound = x->bound;
  for (uint32_t i = s->p->n_output; i < lt_probe_results(s->p); i++)
    memcpy(s->result[i], to->image + lt_model_item(to->model, lt_probe_result_name(s->p, i))->offset,
           result_bytes(s->p, i));
  memcpy(to->image, s->p->before, (size_t)to->model->image.bytes);
  to->stale = true;
  return status;
}

lt_stirred lt_probe_stir(lt_probe *p) {
  lt_arena *a = p->a;
  stirring s = {.p = p,
                .r = {LT_NEW_ARRAY(a, const lt_tensor *, p->g->values.n),
                      LT_NEW_ARRAY(a, const lt_tensor *, lt_probe_results(p) + 1)}};
  s.result = LT_NEW_ARRAY(a, void *, lt_probe_results(p) + 1);
  for (uint32_t i = 0; i < lt_probe_results(p); i++)
    s.result[i] =
      i < p->n_output ? plan_swap(&s, p->output[i].name, p->output[i].value) : lt_arena_alloc(a, result_bytes(p, i));
  for (lt_value v = 1; v < p->g->values.n; v++)
    if (lt_is_leaf(p->g, v) && lt_op_of(p->g, v) != LT_OP_const) plan_leaf(&s, v);
  int status = call_stirred(&s);
  if (status)
    lt_fail(p->job, LATHE_E_INTERNAL, NULL, "entry `%s` returned: %s", p->entry->spec.name, lathe_status_text(status));
  for (uint32_t i = 0; i < lt_probe_results(p); i++)
    s.r.result[i] = lt_tensor_import(a, lt_type_of(p->g, lt_probe_result(p, i)), s.result[i]);
  return s.r;
}
