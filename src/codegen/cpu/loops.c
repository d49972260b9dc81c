/* loops.c: LOOPS kernels (elementwise, movement, layout, random numbers) and the loops over output dims that other
 * kernels share. The lane dim is walked 16 elements at a time; what is left over is emitted once more with fewer
 * lanes. */
#include "codegen/cpu/emit.h"

typedef struct walk { const lt_kernel *k; lt_point *p; bool one_lane; lt_at_point at; void *arg; } walk;

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
  if (d + 1u == w->k->n_dims) {
    walk_lanes(l, w);
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
  walk w = {k, p, one_lane, at, arg};
  walk_dim(l, &w, 0);
}

typedef struct loops { const lt_kernel *k; lt_bufs bufs; } loops;

static void at_point(lt_ll *l, void *arg, const lt_point *p) {
  const loops *s = arg;
  lt_emit_epilogue(l, s->k, &s->bufs, p, NULL, NULL);
}

/* ---- operands across the lanes (lt_turned_dim) ------------------------------------------------------------------- */

static bool lies_across(const lt_kernel *k, const lt_access *a) {
  const int64_t step = a->stride[k->n_dims - 1];
  return step != 0 && step != 1;
}

/* The 16 elements of `lane` along the turned dim. */
static LLVMValueRef row_at(lt_ll *l, const lt_kernel *k, LLVMValueRef base, const lt_access *a, const lt_point *p,
                           int lane, lt_dtype t) {
  lt_point q = *p;
  q.plus[k->n_dims - 1] = lane;
  return lt_emit_address(l, k, base, a, &q, t);
}

static unsigned element_align(lt_dtype t) { return (unsigned)lt_dtype_size(t); }

static void load_turned(lt_ll *l, const loops *s, const lt_instr *x, const lt_point *p, LLVMValueRef row[LT_LANES]) {
  for (int i = 0; i < LT_LANES; i++) {
    LLVMValueRef at = row_at(l, s->k, s->bufs.access[x->access], &s->k->access[x->access], p, i, x->dtype);
    row[i] = LLVMBuildLoad2(l->b, lt_ll_vec(l, x->dtype), at, "");
    LLVMSetAlignment(row[i], element_align(x->dtype));
  }
  lt_ll_turn(l, row);
}

static void store_turned(lt_ll *l, const loops *s, uint32_t which, const lt_point *p, LLVMValueRef row[LT_LANES]) {
  const lt_store *to = &s->k->store[which];
  const lt_dtype t = s->k->expr[to->value].dtype;
  lt_ll_turn(l, row);
  for (int i = 0; i < LT_LANES; i++) {
    LLVMValueRef at = row_at(l, s->k, s->bufs.store[which], &to->to, p, i, t);
    LLVMSetAlignment(LLVMBuildStore(l->b, row[i], at), element_align(t));
  }
}

/* 16 by 16 points from p on: what lies across the lanes is loaded before, and stored after, everything else. */
static void turned_tile(lt_ll *l, const loops *s, const lt_point *at) {
  const lt_kernel *k = s->k;
  const unsigned lane = k->n_dims - 1u, turned = lane - 1u;
  LLVMValueRef(*load)[LT_LANES] = lt_arena_zalloc(l->arena, (k->n_expr + 1u) * sizeof *load);
  LLVMValueRef(*store)[LT_LANES] = lt_arena_zalloc(l->arena, (k->n_store + 1u) * sizeof *store);
  lt_point p = *at;
  p.lanes = LT_LANES;
  for (uint32_t i = 0; i < k->n_expr; i++)
    if (k->expr[i].kind == LT_X_LOAD && lies_across(k, &k->access[k->expr[i].access]))
      load_turned(l, s, &k->expr[i], &p, load[i]);
  for (int j = 0; j < LT_LANES; j++) {
    LLVMValueRef *value = LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_expr + 1u);
    for (uint32_t i = 0; i < k->n_expr; i++) value[i] = load[i][j];
    p.plus[turned] = j;
    lt_emit_expr(l, k, &s->bufs, k->expr, k->n_expr, &p, lane, NULL, NULL, LT_GUARDS_FILL, value);
    for (uint32_t i = 0; i < k->n_store; i++) {
      const lt_store *to = &k->store[i];
      LLVMValueRef v = value[to->value];
      if (lies_across(k, &to->to)) store[i][j] = v;
      else lt_emit_store(l, k, s->bufs.store[i], &to->to, &p, lane, k->expr[to->value].dtype, v);
    }
  }
  p.plus[turned] = 0;
  for (uint32_t i = 0; i < k->n_store; i++)
    if (lies_across(k, &k->store[i].to)) store_turned(l, s, i, &p, store[i]);
}

/* Points [from, to) of the turned dim, one by one, from lane `first` on. */
static void points_left(lt_ll *l, const loops *s, lt_point *p, LLVMValueRef from, int64_t n, int64_t first) {
  const lt_kernel *k = s->k;
  const unsigned lane = k->n_dims - 1u;
  const int64_t lanes = k->extent[lane];
  lt_ll_loop loop = {0};
  LLVMValueRef kept = p->i[lane - 1u];
  lt_ll_loop_begin(l, &loop, from, LLVMBuildNSWAdd(l->b, from, lt_ll_i64(l, n), ""), 1);
  p->i[lane - 1u] = loop.i;
  for (int64_t i = first; i < lanes;) {
    const bool many = lanes - i >= 2 * LT_LANES;
    lt_ll_loop inner = {0};
    if (many) lt_ll_loop_begin(l, &inner, lt_ll_i64(l, i), lt_ll_i64(l, lanes / LT_LANES * LT_LANES), LT_LANES);
    p->i[lane] = many ? inner.i : lt_ll_i64(l, i);
    p->lanes = (unsigned)LT_MIN(lanes - i, LT_LANES);
    lt_emit_epilogue(l, k, &s->bufs, p, NULL, NULL);
    if (many) lt_ll_loop_end(l, &inner);
    i = many ? lanes / LT_LANES * LT_LANES : i + LT_LANES;
  }
  lt_ll_loop_end(l, &loop);
  p->i[lane - 1u] = kept;
}

static void turned_plane(lt_ll *l, const loops *s, lt_point *p) {
  const unsigned lane = s->k->n_dims - 1u;
  const int64_t n = s->k->extent[lane - 1u], m = s->k->extent[lane];
  lt_ll_loop rows = {0}, cols = {0};
  lt_ll_loop_begin(l, &rows, lt_ll_i64(l, 0), lt_ll_i64(l, n / LT_LANES * LT_LANES), LT_LANES);
  lt_ll_loop_begin(l, &cols, lt_ll_i64(l, 0), lt_ll_i64(l, m / LT_LANES * LT_LANES), LT_LANES);
  p->i[lane - 1u] = rows.i, p->i[lane] = cols.i;
  turned_tile(l, s, p);
  lt_ll_loop_end(l, &cols);
  if (m % LT_LANES) points_left(l, s, p, rows.i, LT_LANES, m / LT_LANES * LT_LANES);
  lt_ll_loop_end(l, &rows);
  if (n % LT_LANES) points_left(l, s, p, lt_ll_i64(l, n / LT_LANES * LT_LANES), n % LT_LANES, 0);
}

static void walk_turned(lt_ll *l, const loops *s, lt_point *p, unsigned d) {
  if (d + 2u == s->k->n_dims) {
    turned_plane(l, s, p);
    return;
  }
  if (p->i[d]) {
    walk_turned(l, s, p, d + 1);
    return;
  }
  lt_ll_loop loop = {0};
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, s->k->extent[d]), 1);
  p->i[d] = loop.i;
  walk_turned(l, s, p, d + 1);
  lt_ll_loop_end(l, &loop);
  p->i[d] = NULL;
}

void lt_emit_loops(lt_ll *l, const lt_kernel *k) {
  loops s = {.k = k};
  lt_point p = {0};
  lt_emit_buffers(l, &s.bufs, k, LLVMGetParam(l->fn, 0));
  lt_emit_task(l, k, &p, LLVMGetParam(l->fn, 1));
  if (lt_turned_dim(k) != LT_NONE) walk_turned(l, &s, &p, 0);
  else lt_emit_walk(l, k, &p, false, at_point, &s);
}
