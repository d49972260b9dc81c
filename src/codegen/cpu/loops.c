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

void lt_emit_loops(lt_ll *l, const lt_kernel *k) {
  loops s = {.k = k};
  lt_point p = {0};
  lt_emit_buffers(l, &s.bufs, k, LLVMGetParam(l->fn, 0));
  lt_emit_task(l, k, &p, LLVMGetParam(l->fn, 1));
  lt_emit_walk(l, k, &p, false, at_point, &s);
}
