/* gather.c: reading and adding by index (rows over all dims but the lane dim), and zeroing the halo of a buffer.
 *
 * An index that points outside is never followed: its address is clamped for a gather, its addition skipped in a
 * scatter. A scatter adds in the order of the lane dim, one element after the other, since two may meet in one
 * place. */
#include "codegen/cpu/emit.h"

#include <math.h>

enum { DATA, INDEX, OTHER }; /* the operands among lt_bufs.own */
typedef struct gather { const lt_kernel *k; lt_bufs bufs; } gather;

/* 0 <= index < n, given as i64: one unsigned comparison. */
static LLVMValueRef in_range(lt_ll *l, LLVMValueRef index, int64_t n) {
  return LLVMBuildICmp(l->b, LLVMIntULT, index, lt_ll_i64(l, n), "");
}

static LLVMValueRef element(lt_ll *l, LLVMValueRef row, LLVMValueRef index, int64_t stride, lt_dtype t) {
  return lt_ll_at(l, row, stride == 1 ? index : LLVMBuildMul(l->b, index, lt_ll_i64(l, stride), ""), t, 0);
}

static LLVMValueRef load(lt_ll *l, LLVMValueRef at, lt_dtype t) {
  LLVMValueRef v = LLVMBuildLoad2(l->b, lt_ll_type(l, t), at, "");
  LLVMSetAlignment(v, (unsigned)lt_dtype_size(t));
  return v;
}

static void begin(lt_ll *l, const lt_kernel *k, lt_bufs *bufs, lt_point *p) {
  lt_emit_buffers(l, bufs, k, LLVMGetParam(l->fn, 0));
  lt_emit_task(l, k, p, LLVMGetParam(l->fn, 1));
}

/* ---- gather ---- */

static void gather_point(lt_ll *l, void *arg, const lt_point *p) {
  const gather *s = arg;
  const lt_kernel *k = s->k;
  const lt_gather *g = k->gather;
  unsigned lane = k->n_dims - 1u;
  lt_dtype t = k->dtype;
  lt_point row_start = *p;
  row_start.i[lane] = lt_ll_i64(l, 0);
  LLVMValueRef row = lt_emit_address(l, k, s->bufs.own[DATA], &g->data, &row_start, t);
  LLVMValueRef index = lt_emit_load(l, k, s->bufs.own[INDEX], &g->index, p, lane, g->index_dtype, LT_GUARDS_HOLD);
  if (g->index_dtype != LT_I64) index = LLVMBuildSExt(l->b, index, LLVMVectorType(l->i64, LT_LANES), "");
  LLVMTypeRef vec = LLVMVectorType(lt_ll_type(l, t), LT_LANES), i64s = LLVMVectorType(l->i64, LT_LANES);
  LLVMValueRef ok = LLVMBuildICmp(l->b, LLVMIntULT, index, lt_ll_const(l, i64s, (double)g->axis_size), "");
  LLVMValueRef low = LLVMBuildICmp(l->b, LLVMIntSLT, index, LLVMConstNull(i64s), "");
  LLVMValueRef safe = LLVMBuildSelect(l->b, ok, index, LLVMConstNull(i64s), ""), v = LLVMConstNull(vec);
  for (unsigned i = 0; i < p->lanes; i++) {
    LLVMValueRef x = load(l, element(l, row, lt_ll_lane(l, safe, i), g->axis_stride, t), t);
    v = LLVMBuildInsertElement(l->b, v, x, LLVMConstInt(l->i32, i, false), "");
  }
  LLVMValueRef zero = LLVMConstNull(vec), past = lt_is_float(t) ? lt_ll_const(l, vec, NAN) : zero;
  v = LLVMBuildSelect(l->b, ok, v, LLVMBuildSelect(l->b, low, zero, past, ""), "");
  if (t == LT_BOOL) v = LLVMBuildICmp(l->b, LLVMIntNE, v, zero, "");
  lt_emit_epilogue(l, k, &s->bufs, p, &v, NULL, NULL);
}

void lt_emit_gather(lt_ll *l, const lt_kernel *k) {
  gather s = {.k = k};
  lt_point p = {0};
  begin(l, k, &s.bufs, &p);
  lt_emit_walk(l, k, &p, false, gather_point, &s);
}

/* ---- scatter ---- */

/* n elements of a row to zero. */
static void zero_run(lt_ll *l, LLVMValueRef at, lt_dtype t, int64_t n, int64_t stride) {
  int64_t step = stride == 1 ? LT_LANES : 1, whole = n / step * step;
  LLVMTypeRef e = lt_ll_type(l, t), type = stride == 1 ? LLVMVectorType(e, LT_LANES) : e;
  if (whole) {
    lt_ll_loop loop = {0};
    lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, whole), step);
    LLVMSetAlignment(LLVMBuildStore(l->b, LLVMConstNull(type), element(l, at, loop.i, stride, t)),
                     (unsigned)lt_dtype_size(t));
    lt_ll_loop_end(l, &loop);
  }
  for (int64_t left = n - whole, part; left > 0; left -= part) { /* only with stride 1 */
    for (part = LT_LANES; part > left; part /= 2) continue;
    LLVMValueRef to = lt_ll_at(l, at, NULL, t, n - left);
    LLVMSetAlignment(LLVMBuildStore(l->b, LLVMConstNull(part == 1 ? e : LLVMVectorType(e, (unsigned)part)), to),
                     (unsigned)lt_dtype_size(t));
  }
}

static void add_at(lt_ll *l, LLVMValueRef to, LLVMValueRef v, lt_dtype t) {
  LLVMValueRef old = load(l, to, t),
               sum = lt_is_float(t) ? LLVMBuildFAdd(l->b, old, v, "") : LLVMBuildAdd(l->b, old, v, "");
  LLVMSetAlignment(LLVMBuildStore(l->b, sum, to), (unsigned)lt_dtype_size(t));
}

/* The row that starts at p: zeros, then one addition after the other. */
static void scatter_row(lt_ll *l, const gather *s, lt_point *p) {
  const lt_kernel *k = s->k;
  const lt_gather *g = k->gather;
  unsigned lane = k->n_dims - 1u;
  p->i[lane] = lt_ll_i64(l, 0);
  LLVMValueRef row = lt_emit_address(l, k, s->bufs.own[DATA], &g->data, p, k->dtype);
  zero_run(l, row, k->dtype, g->axis_size, g->axis_stride);
  lt_ll_loop loop = {0};
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, k->extent[lane]), 1);
  p->i[lane] = loop.i;
  LLVMValueRef index = load(l, lt_emit_address(l, k, s->bufs.own[INDEX], &g->index, p, g->index_dtype), g->index_dtype);
  if (g->index_dtype != LT_I64) index = LLVMBuildSExt(l->b, index, l->i64, "");
  LLVMBasicBlockRef add = lt_ll_block(l), after = lt_ll_block(l);
  LLVMBuildCondBr(l->b, in_range(l, index, g->axis_size), add, after);
  LLVMPositionBuilderAtEnd(l->b, add);
  LLVMValueRef v = load(l, lt_emit_address(l, k, s->bufs.own[OTHER], &g->other, p, k->dtype), k->dtype);
  add_at(l, element(l, row, index, g->axis_stride, k->dtype), v, k->dtype);
  LLVMBuildBr(l->b, after);
  LLVMPositionBuilderAtEnd(l->b, after);
  lt_ll_loop_end(l, &loop);
}

static void scatter_dim(lt_ll *l, const gather *s, lt_point *p, unsigned d) {
  if (d + 1u == s->k->n_dims) {
    scatter_row(l, s, p);
    return;
  }
  if (p->i[d]) {
    scatter_dim(l, s, p, d + 1);
    return;
  }
  lt_ll_loop loop = {0};
  lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, s->k->extent[d]), 1);
  p->i[d] = loop.i;
  scatter_dim(l, s, p, d + 1);
  lt_ll_loop_end(l, &loop);
  p->i[d] = NULL;
}

void lt_emit_scatter(lt_ll *l, const lt_kernel *k) {
  gather s = {.k = k};
  lt_point p = {0};
  if (k->n_task_dims >= k->n_dims)
    lt_fail(l->job, LATHE_E_INTERNAL, NULL, "scatter kernel %s: the lane dim cannot be a task", k->name);
  begin(l, k, &s.bufs, &p);
  scatter_dim(l, &s, &p, 0);
}

/* ---- border ---- */

/* One image of the buffer: rows above, the two ends of each row, rows below. */
static void emit_image(lt_ll *l, const lt_border *x, LLVMValueRef at, lt_dtype t) {
  int64_t row = (x->halo[1] + x->width + x->halo[3]) * x->inner, left = x->halo[1] * x->inner,
          right = x->halo[3] * x->inner;
  if (x->halo[0]) zero_run(l, at, t, x->halo[0] * row, 1);
  if (left || right) {
    lt_ll_loop loop = {0};
    lt_ll_loop_begin(l, &loop, lt_ll_i64(l, x->halo[0]), lt_ll_i64(l, x->halo[0] + x->height), 1);
    LLVMValueRef start = element(l, at, loop.i, row, t);
    if (left) zero_run(l, start, t, left, 1);
    if (right) zero_run(l, lt_ll_at(l, start, NULL, t, row - right), t, right, 1);
    lt_ll_loop_end(l, &loop);
  }
  if (x->halo[2]) zero_run(l, lt_ll_at(l, at, NULL, t, (x->halo[0] + x->height) * row), t, x->halo[2] * row, 1);
}

void lt_emit_border(lt_ll *l, const lt_kernel *k) {
  const lt_border *x = k->border;
  int64_t image = (x->halo[0] + x->height + x->halo[2]) * (x->halo[1] + x->width + x->halo[3]) * x->inner;
  lt_bufs bufs;
  lt_point p = {0};
  lt_ll_loop loop = {0};
  if (k->n_task_dims > 1 || (k->n_task_dims == 1 && k->extent[0] != x->outer))
    lt_fail(l->job, LATHE_E_INTERNAL, NULL, "border kernel %s: its tasks must be its images", k->name);
  begin(l, k, &bufs, &p);
  if (k->n_task_dims == 0) lt_ll_loop_begin(l, &loop, lt_ll_i64(l, 0), lt_ll_i64(l, x->outer), 1);
  LLVMValueRef i = k->n_task_dims ? p.i[0] : loop.i;
  emit_image(l, x, element(l, bufs.own[0], i, image, k->dtype), k->dtype);
  if (k->n_task_dims == 0) lt_ll_loop_end(l, &loop);
}
