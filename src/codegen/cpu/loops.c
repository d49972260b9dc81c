/* loops.c: LOOPS kernels (elementwise, movement, layout, random numbers) and the loops over output dims that other
 * kernels share. The lane dim is walked 16 elements at a time; what is left over is emitted once more with fewer
 * lanes.
 *
 * Operands that lie across the lanes, as x does in y[i, j] = x[j, i], are 16 loads or stores of one element each for
 * 16 lanes. Where there is a dim along which they are contiguous (lt_turned_dim), 16 of it by 16 lanes go through a
 * tile in the frame, which is read or written in rows and turned in registers. */
#include "codegen/cpu/emit.h"
#include "codegen/cpu/turn.h"

/* inner: what is done for the dims from `first_inner` on, the loops over those before it being open */
typedef struct walk {
  const lt_kernel *k;
  lt_point *p;
  bool one_lane;
  unsigned first_inner;
  void (*inner)(lt_ll *l, const struct walk *w);
  lt_at_point at;
  void *arg;
} walk;

static void walk_lanes(lt_ll *l, const walk *w) {
  unsigned lane = w->k->n_dims - 1u;
  int64_t n = w->k->extent[lane], step = w->one_lane ? 1 : LT_LANES, whole = n / step * step;
  if (whole) {
    lt_ll_loop loop = {0};
    lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, whole), step);
    w->p->i[lane] = loop.i;
    w->p->lanes = (unsigned)step;
    w->at(l, w->arg, w->p);
    lt_ll_loop_end(l, &loop);
  }
  if (whole == n) return;
  w->p->i[lane] = lt_ll_i64(l, whole);
  w->p->lanes = (unsigned)(n - whole);
  w->at(l, w->arg, w->p);
}

static void walk_dim(lt_ll *l, const walk *w, unsigned d) {
  if (d == w->first_inner) {
    w->inner(l, w);
    return;
  }
  if (w->p->i[d]) {
    walk_dim(l, w, d + 1);
    return;
  }
  lt_ll_loop loop = {0};
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, w->k->extent[d]), 1);
  w->p->i[d] = loop.i;
  walk_dim(l, w, d + 1);
  lt_ll_loop_end(l, &loop);
  w->p->i[d] = NULL;
}

void lt_emit_walk(lt_ll *l, const lt_kernel *k, lt_point *p, bool one_lane, lt_at_point at, void *arg) {
  if (k->n_dims == 0 || k->n_task_dims >= k->n_dims)
    lt_fail(l->job, LATHE_E_INTERNAL, NULL, "code generation: kernel %s has no lane dim of its own", k->name);
  walk w = {k, p, one_lane, k->n_dims - 1u, walk_lanes, at, arg};
  walk_dim(l, &w, 0);
}

static void call_at(lt_ll *l, const walk *w) { w->at(l, w->arg, w->p); }

void lt_emit_walk_before(lt_ll *l, const lt_kernel *k, lt_point *p, unsigned dim, lt_at_point at, void *arg) {
  walk w = {k, p, false, dim, call_at, at, arg};
  walk_dim(l, &w, 0);
}

/* load, store: by instruction and by store, 16 vectors in the frame where it lies across the lanes (lt_turned_dim) */
typedef struct loops { const lt_kernel *k; lt_bufs bufs; LLVMValueRef *load, *store; } loops;

static void at_point(lt_ll *l, void *arg, const lt_point *p) {
  const loops *s = arg;
  lt_emit_epilogue(l, s->k, &s->bufs, p, NULL, NULL, NULL);
}

/* ---- operands across the lanes (lt_turned_dim) ------------------------------------------------------------------- */

static bool loads_across(const lt_kernel *k, const lt_instr *x) {
  return x->kind == LT_X_LOAD && lt_lies_across(k, &k->access[x->access]);
}

/* At the function's entry. */
static void frame_tiles(lt_ll *l, loops *s) {
  const lt_kernel *k = s->k;
  s->load = LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_expr + 1u);
  s->store = LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_store + 1u);
  for (uint32_t i = 0; i < k->n_expr; i++)
    if (loads_across(k, &k->expr[i])) s->load[i] = lt_emit_frame_tile(l, k->expr[i].dtype, LT_LANES);
  for (uint32_t i = 0; i < k->n_store; i++)
    if (lt_lies_across(k, &k->store[i].to))
      s->store[i] = lt_emit_frame_tile(l, k->expr[k->store[i].value].dtype, LT_LANES);
}

/* Row j of the tile: the lanes at one place of the turned dim. */
static void tile_row(lt_ll *l, const loops *s, const lt_point *p, int j) {
  const lt_kernel *k = s->k;
  lt_rows rows = {LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_expr + 1u),
                  LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_store + 1u), NULL};
  for (uint32_t i = 0; i < k->n_expr; i++)
    if (s->load[i]) rows.load[i] = lt_emit_tile_row(l, s->load[i], NULL, j, k->expr[i].dtype);
  for (uint32_t i = 0; i < k->n_store; i++)
    if (s->store[i]) rows.store[i] = lt_emit_tile_row(l, s->store[i], NULL, j, k->expr[k->store[i].value].dtype);
  lt_emit_epilogue(l, k, &s->bufs, p, NULL, NULL, &rows);
}

/* n places of the turned dim by p->lanes lanes, both at most 16: what lies across the lanes is loaded before, and
 * stored after, everything else. */
static void turned_tile(lt_ll *l, const loops *s, const lt_point *at, unsigned n) {
  const lt_kernel *k = s->k;
  const unsigned lane = k->n_dims - 1u;
  lt_point p = *at;
  for (uint32_t i = 0; i < k->n_expr; i++) {
    const lt_instr *x = &k->expr[i];
    const lt_access *a = s->load[i] ? &k->access[x->access] : NULL;
    if (!a) continue;
    LLVMValueRef from = lt_emit_address(l, k, s->bufs.access[x->access], a, at, x->dtype);
    lt_emit_turn(l, x->dtype, p.lanes, n, from, a->stride[lane], s->load[i], LT_LANES);
  }
  for (unsigned j = 0; j < n; j++) {
    p.plus[lane - 1u] = j;
    tile_row(l, s, &p, (int)j);
  }
  for (uint32_t i = 0; i < k->n_store; i++) {
    const lt_access *a = &k->store[i].to;
    const lt_dtype t = k->expr[k->store[i].value].dtype;
    if (!s->store[i]) continue;
    LLVMValueRef to = lt_emit_address(l, k, s->bufs.store[i], a, at, t);
    lt_emit_turn(l, t, n, p.lanes, s->store[i], LT_LANES, to, a->stride[lane]);
  }
}

/* n places of the turned dim, all lanes. */
static void turned_rows(lt_ll *l, const walk *w, unsigned n) {
  const unsigned lane = w->k->n_dims - 1u;
  const int64_t m = w->k->extent[lane], whole = m / LT_LANES * LT_LANES;
  lt_ll_loop cols = {0};
  lt_ll_loop_begin(l, &cols, lt_ll_i64(l, 0), lt_ll_i64(l, whole), LT_LANES);
  w->p->i[lane] = cols.i, w->p->lanes = LT_LANES;
  turned_tile(l, w->arg, w->p, n);
  lt_ll_loop_end(l, &cols);
  if (whole == m) return;
  w->p->i[lane] = lt_ll_i64(l, whole), w->p->lanes = (unsigned)(m - whole);
  turned_tile(l, w->arg, w->p, n);
}

static void turned_plane(lt_ll *l, const walk *w) {
  const unsigned turned = w->k->n_dims - 2u;
  const int64_t n = w->k->extent[turned], whole = n / LT_LANES * LT_LANES;
  if (whole) {
    lt_ll_loop rows = {0};
    lt_ll_loop_begin(l, &rows, lt_ll_i64(l, 0), lt_ll_i64(l, whole), LT_LANES);
    w->p->i[turned] = rows.i;
    turned_rows(l, w, LT_LANES);
    lt_ll_loop_end(l, &rows);
  }
  for (int64_t i = whole; i < n && n - whole < LT_TURN_WORTH; i++) {
    w->p->i[turned] = lt_ll_i64(l, i);
    walk_lanes(l, w);
  }
  if (n - whole < LT_TURN_WORTH) return;
  w->p->i[turned] = lt_ll_i64(l, whole);
  turned_rows(l, w, (unsigned)(n - whole));
}

static void walk_turned(lt_ll *l, loops *s, lt_point *p) {
  frame_tiles(l, s);
  walk w = {s->k, p, false, s->k->n_dims - 2u, turned_plane, at_point, s};
  walk_dim(l, &w, 0);
}

void lt_emit_loops(lt_ll *l, const lt_kernel *k) {
  loops s = {.k = k};
  lt_point p = {0};
  lt_emit_buffers(l, &s.bufs, k, LLVMGetParam(l->fn, 0));
  lt_emit_task(l, k, &p, LLVMGetParam(l->fn, 1));
  if (lt_turned_dim(k) != LT_NONE) walk_turned(l, &s, &p);
  else lt_emit_walk(l, k, &p, false, at_point, &s);
}
