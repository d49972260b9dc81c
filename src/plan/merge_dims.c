/* merge_dims.c: dims of kernels (of the kinds that allow it: kernels.def) made few and long: dims of extent 1 go,
 * neighbours that every access walks as one are merged, what operands across the lanes lie along goes before the lane
 * dim, and the leading ones become tasks. Contractions keep their dims (the tile solver knows them by place). */
#include "plan/build.h"
#include "plan/kinds.h"

/* every stride vector of a kernel */
typedef struct lt_walks { int64_t *stride[256]; uint32_t n; bool whole; } lt_walks;

static void lt_walks_add(lt_walks *w, int64_t *stride) {
  if (w->n == LT_COUNT(w->stride)) {
    w->whole = false;
    return;
  }
  w->stride[w->n++] = stride;
}

static void lt_walks_access(lt_walks *w, lt_access *a) {
  lt_walks_add(w, a->stride);
  for (int i = 0; i < a->n_index; i++) lt_walks_add(w, a->index[i].coef);
}

static void lt_walks_operand(void *arg, const lt_operand *o) {
  if (o->access) lt_walks_access(arg, o->access);
}

static void lt_walks_of(lt_walks *w, lt_kernel *k) {
  w->n = 0, w->whole = true;
  lt_operands(k, lt_walks_operand, w);
}

static bool lt_uses_index(const lt_instr *x, uint32_t n, int dim) {
  for (uint32_t i = 0; i < n; i++)
    if (x[i].kind == LT_X_INDEX && x[i].access == dim) return true;
  return false;
}

static void lt_shift_index(lt_instr *x, uint32_t n, int dim) {
  for (uint32_t i = 0; i < n; i++)
    if (x[i].kind == LT_X_INDEX && x[i].access > dim) x[i].access--;
}

/* The reduced dim that is cut into runs; a dim that no kernel has where none is. */
static int lt_cut_dim(const lt_kernel *k) { return k->runs.per ? k->n_dims + k->runs.dim : LT_MAX_DIMS; }

/* Remove dim d, whose index is always 0 or has been merged into the next one. */
static void lt_drop_dim(lt_kernel *k, lt_walks *w, int d) {
  int last = k->n_dims + k->n_rdims - 1;
  for (int i = d; i < last; i++) k->extent[i] = k->extent[i + 1];
  k->extent[last] = 0;
  for (uint32_t j = 0; j < w->n; j++) {
    memmove(&w->stride[j][d], &w->stride[j][d + 1], (size_t)(last - d) * sizeof(int64_t));
    w->stride[j][last] = 0;
  }
  lt_shift_index(k->expr, k->n_expr, d);
  lt_shift_index(k->rexpr, k->n_rexpr, d);
  if (k->block_dim > d) k->block_dim--;
  if (k->runs.per && d >= k->n_dims && d < lt_cut_dim(k)) k->runs.dim--;
  if (d < k->n_dims) k->n_dims--;
  else k->n_rdims--;
}

static bool lt_dim_fixed(const lt_kernel *k, int d) { /* block and lane dims of a blocked kernel stay as they are */
  return k->block_dim != LT_NONE && (d == k->block_dim || d == k->n_dims - 1);
}

static bool lt_dim_indexed(const lt_kernel *k, int d) {
  return lt_uses_index(k->expr, k->n_expr, d) || lt_uses_index(k->rexpr, k->n_rexpr, d);
}

static void lt_drop_ones(lt_kernel *k, lt_walks *w) {
  for (int d = k->n_dims + k->n_rdims - 1; d >= 0; d--) {
    bool out = d < k->n_dims;
    if (k->extent[d] != 1 || lt_dim_fixed(k, d) || lt_dim_indexed(k, d) || (out ? k->n_dims : k->n_rdims) == 1)
      continue;
    lt_drop_dim(k, w, d);
  }
}

/* May dims d and d+1 be walked as one? Runs must stay what they are: the dim that is cut takes the next one into its
 * runs, and joins the one around it only where no run is shorter than the others. */
static bool lt_mergeable(const lt_kernel *k, const lt_walks *w, int d) {
  if (d + 1 == k->n_dims || d + 1 >= k->n_dims + k->n_rdims) return false;
  if (d + 1 == lt_cut_dim(k) && k->extent[d + 1] % k->runs.per) return false;
  if (lt_dim_fixed(k, d) || lt_dim_fixed(k, d + 1) || lt_dim_indexed(k, d) || lt_dim_indexed(k, d + 1)) return false;
  for (uint32_t j = 0; j < w->n; j++)
    if (w->stride[j][d] != w->stride[j][d + 1] * k->extent[d + 1]) return false;
  return true;
}

static void lt_merge(lt_kernel *k, lt_walks *w) {
  for (int d = k->n_dims + k->n_rdims - 2; d >= 0; d--) {
    if (!lt_mergeable(k, w, d)) continue;
    if (d == lt_cut_dim(k)) k->runs.dim++, k->runs.per *= k->extent[d + 1];
    k->extent[d + 1] *= k->extent[d];
    lt_drop_dim(k, w, d);
  }
}

/* EXPR: so many instructions and fewer at a point are no more work than reading and writing it. */
enum { LT_TASK_MIN = 4096, LT_TASKS = 64 };
#define LT_TASK_EXPR 16.0

/* One long dim becomes (tasks, rest), when it divides. */
static void lt_split_flat(lt_kernel *k, lt_walks *w) {
  int64_t n = k->extent[0];
  if (k->n_dims != 1 || k->n_rdims || k->block_dim != LT_NONE || n < 4 * LT_TASK_MIN || lt_dim_indexed(k, 0)) return;
  int64_t part = 0;
  for (int64_t tasks = 2; tasks <= LT_TASKS; tasks++)
    if (n % (tasks * LT_LANES) == 0 && n / tasks >= LT_TASK_MIN) part = n / tasks;
  if (!part) return;
  k->n_dims = 2;
  k->extent[0] = n / part, k->extent[1] = part;
  for (uint32_t j = 0; j < w->n; j++) {
    w->stride[j][1] = w->stride[j][0];
    w->stride[j][0] *= part;
  }
}

/* ---- operands that lie across the lanes -------------------------------------------------------------------------- */

typedef struct lt_turning { const lt_kernel *k; int dim; bool fits, any; } lt_turning;

bool lt_lies_across(const lt_kernel *k, const lt_access *a) {
  const int64_t step = a->stride[k->n_dims - 1];
  return step != 0 && step != 1;
}

/* In rows of 16 along the lanes or along the dim, or the same in all lanes. */
static void lt_look_across(void *arg, const lt_operand *o) {
  lt_turning *t = arg;
  const lt_access *a = o->access;
  t->fits &= a && !a->n_index;
  if (!t->fits || !lt_lies_across(t->k, a)) return;
  t->any = true;
  t->fits = a->stride[t->dim] == 1;
}

static bool lt_turns_along(const lt_kernel *k, int dim) {
  lt_turning t = {k, dim, true, false};
  if (k->extent[dim] < LT_LANES) return false;
  lt_operands(k, lt_look_across, &t);
  return t.fits && t.any;
}

/* No lanes that do not exist, and no bool across them, which is a byte in memory. */
static bool lt_may_turn(const lt_kernel *k) {
  bool may = k->kind == LT_K_LOOPS && k->n_dims >= 2 && k->extent[k->n_dims - 1] >= LT_LANES;
  may &= k->block_dim == LT_NONE || k->channels % LT_LANES == 0;
  for (uint32_t i = 0; i < k->n_expr; i++) {
    const lt_instr *x = &k->expr[i];
    may &= x->kind != LT_X_LOAD || x->dtype != LT_BOOL || !lt_lies_across(k, &k->access[x->access]);
  }
  for (uint32_t i = 0; i < k->n_store; i++)
    may &= k->expr[k->store[i].value].dtype != LT_BOOL || !lt_lies_across(k, &k->store[i].to);
  return may;
}

int lt_turned_dim(const lt_kernel *k) {
  int d = k->n_dims - 2;
  return lt_may_turn(k) && d >= k->n_task_dims && lt_turns_along(k, d) ? d : LT_NONE;
}

static int64_t lt_taken_out(int64_t *v, int from, int to) {
  int64_t x = v[from];
  memmove(v + from, v + from + 1, (size_t)(to - from) * sizeof *v);
  return v[to] = x;
}

/* Dim `from` goes to place `to`, behind it; those between move up. */
static void lt_move_dim(lt_kernel *k, lt_walks *w, int from, int to) {
  lt_taken_out(k->extent, from, to);
  for (uint32_t j = 0; j < w->n; j++) lt_taken_out(w->stride[j], from, to);
  for (uint32_t i = 0; i < k->n_expr; i++) {
    lt_instr *x = &k->expr[i];
    if (x->kind != LT_X_INDEX || x->access < from || x->access > to) continue;
    x->access = x->access == from ? to : x->access - 1;
  }
  if (k->block_dim == from) k->block_dim = to;
  else if (k->block_dim > from && k->block_dim <= to) k->block_dim--;
}

/* The dim that operands across the lanes are contiguous along goes before the lane dim. */
static void lt_choose_turn(lt_kernel *k, lt_walks *w) {
  if (!lt_may_turn(k)) return;
  for (int d = k->n_dims - 2; d >= 0; d--)
    if (d != k->block_dim && lt_turns_along(k, d)) {
      lt_move_dim(k, w, d, k->n_dims - 2);
      return;
    }
}

static void lt_choose_tasks(lt_kernel *k) {
  k->n_task_dims = 0;
  const int most = lt_turned_dim(k) == LT_NONE ? k->n_dims - 1 : k->n_dims - 2;
  double inner = LT_MAX(1.0, (k->n_expr + k->n_rexpr) / LT_TASK_EXPR), tasks = 1;
  for (int i = 0; i < k->n_dims + k->n_rdims; i++) inner *= (double)k->extent[i];
  while (k->n_task_dims < most && tasks < LT_TASKS && inner / (double)k->extent[k->n_task_dims] >= LT_TASK_MIN / 2) {
    inner /= (double)k->extent[k->n_task_dims];
    tasks *= (double)k->extent[k->n_task_dims];
    k->n_task_dims++;
  }
}

void lt_merge_dims(lt_kernel *k) {
  if (!lt_kinds[k->kind].merge) return;
  lt_walks w;
  lt_walks_of(&w, k);
  if (w.whole) {
    lt_drop_ones(k, &w);
    lt_merge(k, &w);
    lt_split_flat(k, &w);
    lt_choose_turn(k, &w);
  }
  lt_choose_tasks(k);
}
