/* merge_dims.c: dims of kernels (of the kinds that allow it: kernels.def) made few and long: dims of extent 1 go,
 * neighbours that every access walks as one are merged, what operands across the lanes lie along goes before the lane
 * dim, and the leading ones become tasks, where need be a part of one. Contractions keep their dims (the tile solver
 * knows them by place). */
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

/* ---- tasks ------------------------------------------------------------------------------------------------------- */

/* EXPR: so many instructions and fewer at a point are no more work than reading and writing it. */
enum { LT_TASK_MIN = 4096, LT_TASKS = 64, LT_HALVED_ROWS = 14 };
#define LT_TASK_EXPR 16.0
static const double LT_EVEN = 0.25; /* what threads may wait: seven tasks are well, five or three are not */

/* Points, more where much is done at each. */
static double lt_work(const lt_kernel *k) {
  double n = LT_MAX(1.0, (k->n_expr + k->n_rexpr) / LT_TASK_EXPR);
  for (int i = 0; i < k->n_dims + k->n_rdims; i++) n *= (double)k->extent[i];
  return n;
}

enum { LT_TILE_POINTS = 25 }; /* 5x5 taps of a weight gradient */

static bool lt_in_chains(const lt_kernel *k) {
  return k->kind == LT_K_REDUCE && k->reduce == LT_SUM_CHAIN && k->block_dim != LT_NONE;
}

int lt_tile_dims(const lt_kernel *k) {
  int n = 0;
  int64_t points = 1;
  for (int d = k->n_dims - 2; lt_in_chains(k) && d >= 0 && d != k->block_dim; d--, n++) {
    if (n && (points > LT_TILE_POINTS || k->extent[d] > LT_TILE_POINTS / points)) break;
    points *= k->extent[d];
  }
  return n;
}

static int64_t lt_choose_tasks(lt_kernel *k) {
  k->n_task_dims = 0;
  const int most = k->n_dims - 1 - (lt_turned_dim(k) == LT_NONE ? lt_tile_dims(k) : 1);
  double inner = lt_work(k);
  int64_t tasks = 1;
  while (k->n_task_dims < most && tasks < LT_TASKS && inner / (double)k->extent[k->n_task_dims] >= LT_TASK_MIN / 2) {
    inner /= (double)k->extent[k->n_task_dims];
    tasks *= k->extent[k->n_task_dims];
    k->n_task_dims++;
  }
  return tasks;
}

/* In how many parts dim d goes best, 1: it does not. Lanes, and what is turned beside them, go in whole vectors; what
 * is walked together stays together. */
static int64_t lt_parts_of(const lt_kernel *k, int d) {
  const bool lane = d == k->n_dims - 1, together = !lane && d >= k->n_dims - 1 - lt_tile_dims(k);
  if (lt_dim_fixed(k, d) || lt_dim_indexed(k, d) || (lane && k->n_rdims) || together) return 1;
  const int64_t unit = lane || d == lt_turned_dim(k) ? LT_LANES : 1;
  int64_t best = 1;
  double least = lt_waiting(1, 1);
  for (int64_t n = 2; n <= LT_TASKS && lt_work(k) / (double)n >= LT_TASK_MIN; n++) {
    double wait = lt_waiting(n, 1 / (double)n);
    if (k->extent[d] % (n * unit) == 0 && wait <= least) best = n, least = wait;
  }
  return best;
}

/* Dim d becomes (parts, rest); the parts go outside. */
static void lt_split_dim(lt_kernel *k, lt_walks *w, int d, int64_t parts) {
  const size_t dims = (size_t)(k->n_dims + k->n_rdims);
  k->extent[d] /= parts;
  const int64_t part = k->extent[d];
  memmove(k->extent + 1, k->extent, dims * sizeof *k->extent);
  k->extent[0] = parts;
  for (uint32_t j = 0; j < w->n; j++) {
    const int64_t step = w->stride[j][d];
    memmove(w->stride[j] + 1, w->stride[j], dims * sizeof(int64_t));
    w->stride[j][0] = step * part;
  }
  for (uint32_t i = 0; i < k->n_expr; i++) k->expr[i].access += k->expr[i].kind == LT_X_INDEX;
  for (uint32_t i = 0; i < k->n_rexpr; i++) k->rexpr[i].access += k->rexpr[i].kind == LT_X_INDEX;
  k->block_dim += k->block_dim != LT_NONE;
  k->n_dims++;
}

/* May the rows of an image in blocks of channels be halved, outside the blocks? Products around it are cut by rows
 * (tile.c) unless planes are small, and a core should find what it wrote in its caches (see owners.c). Halves, not
 * more: each part reads rows of the next one. */
static bool lt_rows_halve(const lt_kernel *k) {
  if (k->block_dim != 0 || k->n_dims < 4 || k->extent[0] == 1 || lt_dim_indexed(k, 1)) return false;
  return k->extent[1] % 2 == 0 && k->extent[1] >= LT_HALVED_ROWS && lt_work(k) >= 4 * LT_TASK_MIN;
}

/* Where the leading dims are no tasks, or such that threads wait for each other, the first dim that can be cut is. */
static void lt_split_for_tasks(lt_kernel *k, lt_walks *w) {
  if (lt_rows_halve(k) && k->n_dims + k->n_rdims < LT_MAX_DIMS) lt_split_dim(k, w, 1, 2);
  const int64_t tasks = lt_choose_tasks(k);
  const double now = lt_waiting(tasks, 1 / (double)tasks);
  if (now <= LT_EVEN || lt_work(k) < 4 * LT_TASK_MIN || k->n_dims + k->n_rdims == LT_MAX_DIMS) return;
  int best = LT_NONE;
  double least = now;
  for (int d = 0; d < k->n_dims && least > LT_EVEN; d++) {
    const int64_t parts = lt_parts_of(k, d);
    const double wait = lt_waiting(parts, 1 / (double)parts);
    if (wait < least) best = d, least = wait;
  }
  if (best != LT_NONE) lt_split_dim(k, w, best, lt_parts_of(k, best));
}

void lt_merge_dims(lt_kernel *k) {
  if (!lt_kinds[k->kind].merge) return;
  lt_walks w;
  lt_walks_of(&w, k);
  if (w.whole) {
    lt_drop_ones(k, &w);
    lt_merge(k, &w);
    lt_choose_turn(k, &w);
    lt_split_for_tasks(k, &w);
  }
  lt_choose_tasks(k);
}

bool lt_by_images(const lt_kernel *k) {
  return k->kind == LT_K_LOOPS && k->block_dim == 1 && k->n_dims >= 4 && k->extent[0] > 1;
}

void lt_channels_first(lt_kernel *k) {
  lt_walks w;
  lt_walks_of(&w, k);
  if (!w.whole) return;
  lt_move_dim(k, &w, 0, 1);
  lt_choose_tasks(k);
}
