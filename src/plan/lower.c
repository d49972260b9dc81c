/* lower.c: which function lowers a unit (the op table says so), and the plain ones: elementwise clusters, layouts,
 * random numbers, copies. */
#include "plan/lower_hooks.h"

#include <assert.h>

LT_LOWER(map) {
  lt_kernel_builder kb;
  const lt_type *t = lt_type_of(b->g, u->root->out);
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  lt_kernel_space(&kb, t, lt_unit_blocked(b, u, t));
  lt_kernel_stores(&kb);
  lt_kernel_finish(&kb);
}

/* The row-major number of the element at kb->at, as i64. */
static int32_t flat_index(lt_kernel_builder *kb) {
  int64_t stride[LT_MAX_RANK];
  lt_coord c = lt_coord_zero();
  lt_type_strides(&kb->shape, stride);
  for (unsigned i = 0; i < kb->shape.rank; i++)
    for (int d = 0; d < LT_MAX_DIMS; d++) c.coef[d] += kb->at.c[i].coef[d] * stride[i];
  return lt_x_index(kb, &c);
}

LT_LOWER(random_uniform) {
  const lt_random_uniform_attrs *a = u->root->attrs;
  lt_at scalar = {0};
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  lt_kernel_space(&kb, lt_type_of(b->g, u->root->out), false);
  int32_t seed = lt_x_read(&kb, u->root->in[0], &scalar), step = lt_x_read(&kb, u->root->in[1], &scalar);
  int32_t counter = flat_index(&kb);
  lt_instr x = {.kind = LT_X_RANDOM, .dtype = LT_F32, .arg = {seed, step, counter}, .stream = lt_random_stream(a->key)};
  lt_kernel_result(&kb, lt_x_push(&kb, x));
  lt_kernel_stores(&kb);
  lt_kernel_finish(&kb);
}

/* Zeros around v, or around the whole that it is a part of, before anybody writes into it. */
static void lower_border(lt_builder *b, lt_value v) {
  if (b->place[v].whole) v = b->place[v].whole;
  if (b->bordered[v]) return;
  b->bordered[v] = true;
  const lt_layout *l = &b->g->values.at[v].layout;
  const lt_type *t = lt_type_of(b->g, v);
  if (!l->halo[0] && !l->halo[1] && !l->halo[2] && !l->halo[3]) return;
  bool blocked = l->kind == LT_BLOCKED;
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, NULL, LT_K_BORDER);
  lt_kernel_name(&kb, lt_node_of(b->g, v));
  lt_border *x = LT_NEW(b->a, lt_border);
  *x = (lt_border){.buffer = lt_place_of(b, v).buffer,
                   .height = t->dim[2],
                   .width = t->dim[3],
                   .outer = t->dim[0] * (blocked ? lt_ceil_div(t->dim[1], LT_LANES) : t->dim[1]),
                   .inner = blocked ? LT_LANES : 1};
  memcpy(x->halo, l->halo, sizeof x->halo);
  kb.k.border = x;
  lt_kernel_dim(&kb, x->outer);
  kb.k.n_task_dims = 1;
  kb.k.op = "layout";
  lt_kernel_finish(&kb);
}

static void lower_borders(lt_builder *b, const lt_unit *u) {
  for (uint32_t i = 0; i < u->node.n; i++) {
    const lt_node *n = b->g->nodes.at[u->node.at[i]];
    for (lt_value v = n->out; v < n->out + n->n_out; v++)
      if (b->stored[v] && lt_place_of(b, v).set) lower_border(b, v);
  }
}

LT_LOWER(layout) {
  const lt_node *n = u->root;
  lt_kernel_builder kb;
  if (b->g->values.at[n->out].layout.kind == LT_PANEL) {
    lt_lower_panel(b, u);
    return;
  }
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  lt_kernel_space(&kb, lt_type_of(b->g, n->out), lt_value_blocked(b, n->out) || lt_value_blocked(b, n->in[0]));
  int32_t x = lt_x_read(&kb, n->in[0], &kb.at);
  lt_kernel_store(&kb, n->out, &kb.at, x);
  kb.k.op = "layout";
  lt_kernel_finish(&kb);
}

void lt_lower_copy(lt_builder *b, lt_value from, lt_place to, const char *name, const char *op) {
  const lt_type *t = lt_type_of(b->g, from);
  int64_t stride[LT_MAX_RANK];
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, NULL, LT_K_LOOPS);
  lt_kernel_name(&kb, lt_node_of(b->g, from));
  kb.k.name = name, kb.k.op = op;
  kb.k.dtype = kb.k.acc = t->dtype;
  lt_kernel_space(&kb, t, lt_value_blocked(b, lt_base(b, from)));
  int32_t x = lt_x_read(&kb, from, &kb.at);
  lt_store s = {.to = lt_access_zero(to.buffer, to.offset), .value = x};
  lt_type_strides(t, stride);
  for (unsigned i = 0; i < t->rank; i++)
    for (int d = 0; d < LT_MAX_DIMS; d++) s.to.stride[d] += kb.at.c[i].coef[d] * stride[i];
  s.to.masked = kb.k.block_dim != LT_NONE && kb.k.channels % LT_LANES != 0;
  lt_vec_push(b->a, &kb.store, s);
  lt_kernel_finish(&kb);
}

static void (*const lowering[LT_OPS])(lt_builder *b, const lt_unit *u) = {
#define OP(name, family, vjp, kind, writes, reads, moves, ...) [LT_OP_##name] = LT_LOWERED_##kind(name, moves),
#include "ir/ops.def"
};

void lt_fail_algorithm(lt_builder *b, const lt_node *n) {
  lt_fail(b->job, LATHE_E_INTERNAL, &n->loc,
          "%s comes to the planner with the algorithm %s: has the pass `choose` run?", lt_facts(n)->name,
          lt_algorithm_name(n->algorithm));
}

void lt_lower_unit(lt_builder *b, const lt_unit *u) {
  lower_borders(b, u);
  assert(lowering[u->root->op]);
  lowering[u->root->op](b, u);
}
