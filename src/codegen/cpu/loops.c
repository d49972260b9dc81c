/* loops.c: LOOPS kernels (elementwise, movement, layout, random numbers) and the loops over output dims that other
 * kernels share. The lane dim is walked 16 elements at a time; what is left over is emitted once more with fewer
 * lanes.
 *
 * Operands that lie across the lanes, as x does in y[i, j] = x[j, i], are 16 loads or stores of one element each for
 * 16 lanes. Where there is a dim along which they are contiguous (lt_turned_dim), 16 of it by 16 lanes go through a
 * tile in the frame, which is read or written in rows and turned in registers. */
#include "codegen/cpu/emit.h"

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

/* The lane dim from `first` on. */
static void walk_lanes_from(lt_ll *l, const walk *w, int64_t first) {
  unsigned lane = w->k->n_dims - 1u;
  int64_t n = w->k->extent[lane], step = w->one_lane ? 1 : LT_LANES, whole = n / step * step;
  if (whole > first) {
    lt_ll_loop loop = {0};
    lt_ll_loop_begin(l, &loop, lt_ll_i64(l, first), lt_ll_i64(l, whole), step);
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

static void walk_lanes(lt_ll *l, const walk *w) { walk_lanes_from(l, w, 0); }

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

/* load, store: by instruction and by store, 16 vectors in the frame where it lies across the lanes (lt_turned_dim) */
typedef struct loops { const lt_kernel *k; lt_bufs bufs; LLVMValueRef *load, *store; } loops;

static void at_point(lt_ll *l, void *arg, const lt_point *p) {
  const loops *s = arg;
  lt_emit_epilogue(l, s->k, &s->bufs, p, NULL, NULL);
}

/* ---- operands across the lanes (lt_turned_dim) ------------------------------------------------------------------- */

static LLVMValueRef address(lt_ll *l, LLVMValueRef base, LLVMValueRef step, int i, lt_dtype t) {
  return lt_ll_at(l, base, LLVMBuildNSWMul(l->b, step, lt_ll_i64(l, i), ""), t, 0);
}

static void turn_body(lt_ll *l, LLVMValueRef fn, lt_dtype t) {
  LLVMValueRef row[LT_LANES];
  LLVMPositionBuilderAtEnd(l->b, lt_ll_block(l));
  for (int i = 0; i < LT_LANES; i++) {
    row[i] = LLVMBuildLoad2(l->b, lt_ll_vec(l, t), address(l, LLVMGetParam(fn, 0), LLVMGetParam(fn, 1), i, t), "");
    LLVMSetAlignment(row[i], (unsigned)lt_dtype_size(t));
  }
  lt_ll_turn(l, row);
  for (int i = 0; i < LT_LANES; i++) {
    LLVMValueRef to = address(l, LLVMGetParam(fn, 2), LLVMGetParam(fn, 3), i, t);
    LLVMSetAlignment(LLVMBuildStore(l->b, row[i], to), (unsigned)lt_dtype_size(t));
  }
  LLVMBuildRetVoid(l->b);
}

/* turn(from, step, to, back), one for all kernels of a module: to[j·back + i] = from[i·step + j], for 16 by 16. */
static LLVMValueRef call_turn(lt_ll *l, lt_dtype t, LLVMValueRef from, int64_t step, LLVMValueRef to, int64_t back) {
  const char *name = lt_arena_printf(l->arena, "turn.%s", lt_dtype_name(t));
  LLVMTypeRef type = LLVMFunctionType(l->void_, (LLVMTypeRef[]){l->ptr, l->i64, l->ptr, l->i64}, 4, false);
  LLVMValueRef fn = LLVMGetNamedFunction(l->mod, name);
  if (!fn) {
    LLVMValueRef own = l->fn;
    LLVMBasicBlockRef block = LLVMGetInsertBlock(l->b);
    l->fn = fn = LLVMAddFunction(l->mod, name, type);
    LLVMSetLinkage(fn, LLVMInternalLinkage);
    lt_ll_attributes(l, fn);
    turn_body(l, fn, t);
    l->fn = own;
    LLVMPositionBuilderAtEnd(l->b, block);
  }
  return LLVMBuildCall2(l->b, type, fn, (LLVMValueRef[]){from, lt_ll_i64(l, step), to, lt_ll_i64(l, back)}, 4, "");
}

static bool loads_across(const lt_kernel *k, const lt_instr *x) {
  return x->kind == LT_X_LOAD && lt_lies_across(k, &k->access[x->access]);
}

static LLVMValueRef frame_tile(lt_ll *l, lt_dtype t) {
  return LLVMBuildAlloca(l->b, LLVMArrayType2(lt_ll_vec(l, t), LT_LANES), "");
}

/* At the function's entry. */
static void frame_tiles(lt_ll *l, loops *s) {
  const lt_kernel *k = s->k;
  s->load = LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_expr + 1u);
  s->store = LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_store + 1u);
  for (uint32_t i = 0; i < k->n_expr; i++)
    if (loads_across(k, &k->expr[i])) s->load[i] = frame_tile(l, k->expr[i].dtype);
  for (uint32_t i = 0; i < k->n_store; i++)
    if (lt_lies_across(k, &k->store[i].to)) s->store[i] = frame_tile(l, k->expr[k->store[i].value].dtype);
}

static LLVMValueRef row_of_tile(lt_ll *l, LLVMValueRef tile, int j, lt_dtype t) {
  return lt_ll_at(l, tile, NULL, t, j * LT_LANES);
}

/* Row j of the tile: 16 lanes at one place of the turned dim. */
static void tile_row(lt_ll *l, const loops *s, const lt_point *p, int j) {
  const lt_kernel *k = s->k;
  LLVMValueRef *value = LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_expr + 1u);
  for (uint32_t i = 0; i < k->n_expr; i++)
    if (s->load[i])
      value[i] =
        LLVMBuildLoad2(l->b, lt_ll_vec(l, k->expr[i].dtype), row_of_tile(l, s->load[i], j, k->expr[i].dtype), "");
  lt_emit_expr(l, k, &s->bufs, k->expr, k->n_expr, p, k->n_dims - 1u, NULL, NULL, LT_GUARDS_FILL, value);
  for (uint32_t i = 0; i < k->n_store; i++) {
    const lt_store *to = &k->store[i];
    const lt_dtype t = k->expr[to->value].dtype;
    if (s->store[i]) LLVMBuildStore(l->b, value[to->value], row_of_tile(l, s->store[i], j, t));
    else lt_emit_store(l, k, s->bufs.store[i], &to->to, p, k->n_dims - 1u, t, value[to->value]);
  }
}

/* 16 by 16 points from p on: what lies across the lanes is loaded before, and stored after, everything else. */
static void turned_tile(lt_ll *l, const loops *s, const lt_point *at) {
  const lt_kernel *k = s->k;
  const unsigned lane = k->n_dims - 1u, turned = lane - 1u;
  lt_point p = *at;
  p.lanes = LT_LANES;
  for (uint32_t i = 0; i < k->n_expr; i++) {
    const lt_instr *x = &k->expr[i];
    const lt_access *a = s->load[i] ? &k->access[x->access] : NULL;
    if (a)
      call_turn(l, x->dtype, lt_emit_address(l, k, s->bufs.access[x->access], a, &p, x->dtype), a->stride[lane],
                s->load[i], LT_LANES);
  }
  for (int j = 0; j < LT_LANES; j++) {
    p.plus[turned] = j;
    tile_row(l, s, &p, j);
  }
  for (uint32_t i = 0; i < k->n_store; i++) {
    const lt_access *a = &k->store[i].to;
    const lt_dtype t = k->expr[k->store[i].value].dtype;
    if (s->store[i])
      call_turn(l, t, s->store[i], LT_LANES, lt_emit_address(l, k, s->bufs.store[i], a, at, t), a->stride[lane]);
  }
}

/* n points of the turned dim, one by one, from lane `first` on. */
static void points_left(lt_ll *l, const walk *w, LLVMValueRef from, int64_t n, int64_t first) {
  lt_ll_loop loop = {0};
  lt_ll_loop_begin(l, &loop, from, LLVMBuildNSWAdd(l->b, from, lt_ll_i64(l, n), ""), 1);
  w->p->i[w->first_inner] = loop.i;
  walk_lanes_from(l, w, first);
  lt_ll_loop_end(l, &loop);
}

static void turned_plane(lt_ll *l, const walk *w) {
  const unsigned lane = w->k->n_dims - 1u;
  const int64_t n = w->k->extent[lane - 1u], m = w->k->extent[lane];
  lt_ll_loop rows = {0}, cols = {0};
  lt_ll_loop_begin(l, &rows, lt_ll_i64(l, 0), lt_ll_i64(l, n / LT_LANES * LT_LANES), LT_LANES);
  lt_ll_loop_begin(l, &cols, lt_ll_i64(l, 0), lt_ll_i64(l, m / LT_LANES * LT_LANES), LT_LANES);
  w->p->i[lane - 1u] = rows.i, w->p->i[lane] = cols.i;
  turned_tile(l, w->arg, w->p);
  lt_ll_loop_end(l, &cols);
  if (m % LT_LANES) points_left(l, w, rows.i, LT_LANES, m / LT_LANES * LT_LANES);
  lt_ll_loop_end(l, &rows);
  if (n % LT_LANES) points_left(l, w, lt_ll_i64(l, n / LT_LANES * LT_LANES), n % LT_LANES, 0);
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
