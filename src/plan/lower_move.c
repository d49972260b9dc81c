/* lower_move.c: movement: where the elements of a moved value come from, and kernels for what has to stand in memory:
 * an index map that some reader cannot look through, and concat. */
#include "plan/lower_hooks.h"

#include <assert.h>

LT_MOVE_BACK(transpose) {
  const lt_transpose_attrs *t = attrs;
  lt_at r = {.fill = at->fill};
  (void)x;
  for (int i = 0; i < y->rank; i++) r.c[t->perm.v[i]] = at->c[i];
  *at = r;
}

LT_MOVE_BACK(broadcast_to) {
  lt_at r;
  (void)attrs;
  lt_at_broadcast(&r, at, y, x);
  *at = r;
}

LT_MOVE_BACK(slice) {
  const lt_slice_attrs *s = attrs;
  (void)y;
  for (int64_t i = 0; i < s->starts.n; i++) {
    int axis = (int)(s->axes.n ? s->axes.v[i] : i);
    int64_t size = x->dim[axis], start = s->starts.v[i] < 0 ? s->starts.v[i] + size : s->starts.v[i];
    start = LT_MIN(LT_MAX(start, 0), size);
    if (at->c[axis].limit) at->c[axis].shift += start;
    else at->c[axis].add += start;
  }
}

LT_MOVE_BACK(pad) {
  const lt_pad_attrs *p = attrs;
  (void)y;
  at->fill = p->value;
  for (int i = 0; i < x->rank; i++) {
    int64_t before = p->pads.v[i], after = p->pads.v[i + x->rank];
    if (!before && !after) continue;
    at->c[i].add -= before;
    at->c[i].limit = x->dim[i];
  }
}

static void (*const moving[LT_OPS])(lt_at *at, const void *attrs, const lt_type *x, const lt_type *y) = {
#define OP(name, family, vjp, kind, writes, reads, moves, ...) [LT_OP_##name] = LT_MOVED_BACK_##moves(name),
#include "ir/ops.def"
};

void lt_move_back(lt_at *at, const lt_graph *g, const lt_node *n) {
  assert(moving[n->op]);
  moving[n->op](at, n->attrs, lt_type_of(g, n->in[0]), lt_type_of(g, n->out));
}

LT_LOWER(move) {
  const lt_node *n = u->root;
  lt_kernel_builder kb;
  lt_kernel_init(&kb, b, u, LT_K_LOOPS);
  lt_kernel_space(&kb, lt_type_of(b->g, n->out), lt_value_blocked(b, n->out));
  lt_at at = kb.at;
  lt_move_back(&at, b->g, n);
  if (lt_facts(n)->moves == LT_MOVES_PAD) { /* even a constant must be loaded: what is outside is another */
    lt_value from = lt_resolve(b, n->in[0], &at);
    lt_kernel_result(&kb, lt_x_load(&kb, lt_type_of(b->g, n->out)->dtype, lt_access_at(&kb, from, &at)));
  } else {
    lt_kernel_result(&kb, lt_x_read(&kb, n->in[0], &at));
  }
  lt_kernel_store(&kb, n->out, &kb.at, lt_x_value(&kb, n->out));
  lt_kernel_finish(&kb);
}

/* One kernel for each part that does not stand there already. */
LT_LOWER(concat) {
  const lt_node *n = u->root;
  int64_t axis = ((const lt_concat_attrs *)n->attrs)->axis, before = 0;
  for (unsigned i = 0; i < n->n_in; i++) {
    const lt_type *t = lt_type_of(b->g, n->in[i]);
    const int64_t first = before;
    before += t->dim[axis];
    if (lt_part_made_in_place(b, n, n->in[i], first)) continue;
    lt_kernel_builder kb;
    lt_kernel_init(&kb, b, u, LT_K_LOOPS);
    lt_kernel_space(&kb, t, lt_value_blocked(b, n->in[i]) || lt_value_blocked(b, n->out));
    int32_t x = lt_x_read(&kb, n->in[i], &kb.at);
    lt_at to = kb.at;
    to.c[axis].add += first;
    lt_kernel_store(&kb, n->out, &to, x);
    lt_kernel_finish(&kb);
  }
}
