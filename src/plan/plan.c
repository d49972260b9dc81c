/* plan.c: the steps from a graph (after `layout`) to a plan. Each has its file: what is lowered together and when
 * (unit.c), where values stand (place.c), results (outputs.c), updates (updates.c), what is computed once when weights
 * are packed (pack.c), kernels (lower*.c), scratch (memplan.c). */
#include "plan/build.h"
#include "plan/operands.h"

#include <assert.h>

typedef struct living { lt_builder *b; int32_t kernel; } living;

static void live_in(void *arg, const lt_operand *o) {
  const living *l = arg;
  lt_buffer *x = &l->b->buffer.at[*o->buffer];
  if (x->first < 0) x->first = l->kernel;
  x->last = l->kernel;
}

static void set_lifetimes(lt_builder *b) {
  for (uint32_t i = 0; i < b->kernel.n; i++) lt_operands(&b->kernel.at[i], live_in, &(living){b, (int32_t)i});
}

static void finish(lt_builder *b) {
  lt_plan *p = b->plan;
  set_lifetimes(b);
  lt_follow_owners(b);
  p->slot = b->slot.at, p->n_slot = b->slot.n;
  p->buffer = b->buffer.at, p->n_buffer = b->buffer.n;
  p->kernel = b->kernel.at, p->n_kernel = b->kernel.n;
  assert(!lt_plan_fault(p, NULL));
  lt_plan_memory(p, b->a);
}

static void begin(lt_builder *b, lt_plan *out, lt_arena *a, const lt_graph *g, const lt_image *image, const char *name,
                  lt_phase phase, const lt_image *grads) {
  *out = (lt_plan){.name = lt_arena_strdup(a, name)};
  *b = (lt_builder){.a = a, .job = a->job, .g = g, .image = image, .grads = grads, .phase = phase, .plan = out};
  b->live = lt_live_nodes(a, g);
  b->fixed = lt_static_nodes(a, g);
  b->move = lt_moves(a, g, b->live, true);
  b->place = LT_NEW_ARRAY(a, lt_place, g->values.n);
  b->bordered = LT_NEW_ARRAY(a, bool, g->values.n);
  b->memo = LT_NEW_ARRAY(a, lt_memo, g->values.n);
  lt_find_readers(b);
  lt_units_collect(b);
  lt_units_mark_stored(b);
  lt_units_schedule(b);
  lt_place_leaves(b);
}

static void lower_units(lt_builder *b) {
  for (uint32_t i = 0; i < b->order.n; i++) {
    const lt_unit *u = &b->unit.at[b->order.at[i]];
    if (b->phase != LT_PHASE_ALL && u->is_static != (b->phase == LT_PHASE_PACK)) continue;
    lt_place_unit(b, u);
    lt_lower_unit(b, u);
  }
}

/* Everything as one entry over the portable image. */
static void plan_whole(lt_plan *out, lt_arena *a, const lt_graph *g, const lt_image *image, const lt_image *grads,
                       const char *name) {
  lt_builder b;
  begin(&b, out, a, g, image, name, LT_PHASE_ALL, grads);
  uint32_t *slot = LT_NEW_ARRAY(a, uint32_t, g->outputs.n + 1u);
  lt_place_updates(&b);
  lt_place_outputs(&b, slot);
  lt_place_parts(&b);
  lower_units(&b);
  lt_copy_outputs(&b, slot);
  lt_copy_updates(&b);
  out->region_bytes = image->n ? image->bytes : 0;
  out->out_bytes = grads ? grads->bytes : 0;
  finish(&b);
}

void lt_plan_single(lt_plan *out, lt_arena *a, const lt_graph *g, const lt_image *image, const char *name) {
  plan_whole(out, a, g, image, NULL, name);
}

void lt_plan_half(lt_plan *out, lt_arena *a, const lt_graph *g, const lt_image *image, const lt_image *grads,
                  const char *name) {
  plan_whole(out, a, g, image, grads, name);
}

void lt_plan_split(lt_plan *run, lt_plan *pack, lt_arena *a, const lt_graph *g, const lt_image *image,
                   const char *name) {
  lt_builder b;
  int64_t bytes, *at;
  begin(&b, pack, a, g, image, "pack", LT_PHASE_PACK, NULL);
  at = lt_packed_offsets(&b, &bytes);
  lt_place_packed(&b, at, LT_REGION_OUT);
  lower_units(&b);
  lt_copy_packed_leaves(&b, at);
  pack->region_bytes = image->n ? image->bytes : 0, pack->out_bytes = bytes;
  finish(&b);
  begin(&b, run, a, g, image, name, LT_PHASE_RUN, NULL);
  uint32_t *slot = LT_NEW_ARRAY(a, uint32_t, g->outputs.n + 1u);
  lt_place_packed(&b, at, LT_REGION_STATE);
  lt_place_outputs(&b, slot);
  lt_place_parts(&b);
  lower_units(&b);
  lt_copy_outputs(&b, slot);
  run->region_bytes = bytes;
  finish(&b);
}
