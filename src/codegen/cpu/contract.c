/* contract.c: the one generator of contractions: conv2d, both its gradients, linear, matmul.
 *
 * A kernel becomes two kinds of function. Micro-kernels  f(bufs, coordinates…, finite)  hold one register tile: its
 * sums along K (along_k.h), and the epilogue that runs on them before the only store. The kernel function  k(bufs,
 * task)  is cold: it decodes the task and walks groups of rows and blocks (tile.h). */
#include "codegen/cpu/along_k.h"
#include "codegen/cpu/blank.h"
#include "codegen/cpu/edge.h"
#include "codegen/cpu/epilogue.h"

enum { A, B }; /* the operands among lt_bufs.own */
/* Multiply-adds of a tile: beside so many what is done around it does not count; beside fewer, finding out what a
 * border leaves out costs what it saves. */
enum { LONG_TILE = 4096, SPAN_TILE = 600 };

/* A micro-kernel: `len` pixels from phase `phase` of a row, `blocks` blocks in all of `sides` sides, the last one of
 * each of `lanes` lanes. */
typedef struct micro_kernel { int64_t len, phase, blocks, sides; unsigned lanes; LLVMValueRef fn; } micro_kernel;

typedef struct contraction {
  lt_ll *l;
  const lt_kernel *k;
  const lt_contract *x;
  lt_cut cut;
  lt_tiling tiling;
  LLVMValueRef kernel; /* k(bufs, task) */
  LLVMTypeRef micro_type;
  LT_VEC(micro_kernel) micro;
  LLVMValueRef bufs, at[LT_MAX_DIMS]; /* in the kernel function: coordinates of the loops around */
  LLVMValueRef looked;                /* there: room for a vector of each block, where B is looked at, or NULL */
  LLVMValueRef finite;                /* there: 1 where B of the blocks at hand is known to be, else 0 */
  int64_t sides;                      /* of a tile there */
  LLVMValueRef block_group, row_from, row_to; /* of the task */
} contraction;

/* ---- micro-kernels --------------------------------------------------------------------------------------------- */

/* Do panels pass one after the other while the rows of a task stay, all of them together more than a cache holds? So it
 * is where blocks go outside, and in products of many small matrices, each with the rows of one task. */
static bool panels_pass(const contraction *c) {
  const lt_cut *cut = &c->cut;
  const int64_t *stride = c->x->b.stride, panel = cut->depth * LT_LANES;
  if (cut->block == LT_NONE || stride[cut->block] != panel) return false;
  if (cut->blocks_first) return true;
  int64_t elements = panel * cut->blocks;
  for (int i = cut->n_outer - 1; i >= 0; i--) {
    const int d = cut->outer_dim[i];
    if (c->k->extent[d] == 1) continue;
    if (stride[d] != elements) return false;
    elements *= c->k->extent[d];
  }
  return cut->row_groups == 1 && cut->block_groups == 1 && lt_large_operand(c->k, (double)elements);
}

/* From a panel of so many blocks to the one that is needed next: that of the next iteration around which has one of its
 * own (the next images of a weight gradient), else what stands behind it. */
static int64_t next_panel(const contraction *c, int64_t blocks) {
  const int64_t *stride = c->x->b.stride;
  for (int i = c->cut.n_outer - 1; c->cut.blocks_first && i >= 0; i--) {
    const int d = c->cut.outer_dim[i];
    if (c->k->extent[d] > 1 && stride[d]) return stride[d];
  }
  return blocks * stride[c->cut.block];
}

/* The number of the pixel at `row` and the other coordinates. */
static LLVMValueRef flat_pixel(const contraction *c, LLVMValueRef row, LLVMValueRef const *at) {
  lt_ll *l = c->l;
  const lt_cut *cut = &c->cut;
  LLVMValueRef pixel = LLVMBuildMul(l->b, row, lt_ll_i64(l, cut->cols), "");
  if (cut->plane != LT_NONE)
    pixel = LLVMBuildAdd(l->b, pixel, LLVMBuildMul(l->b, at[cut->plane], lt_ll_i64(l, cut->width), ""), "");
  return cut->col == LT_NONE ? pixel : LLVMBuildAdd(l->b, pixel, at[cut->col], "");
}

/* Large panels come from far away: while tiles pass over one, each asks for its share of the next (behind the last one
 * stands what the next kernel may need). All tiles of the plane pass over it where blocks go outside, else those of a
 * task: if each task asked for all of it, two panels would lie in L2 all the time. */
static void look_ahead(const contraction *c, const micro_kernel *u, lt_ktile *t, LLVMValueRef const *at) {
  lt_ll *l = c->l;
  const lt_cut *cut = &c->cut;
  const int64_t *stride = c->x->b.stride;
  const int64_t rows = cut->blocks_first ? cut->rows : cut->task_rows, pixels = rows * cut->cols;
  if (!panels_pass(c) || pixels < 2 * u->len || l->target->small) return;
  LLVMValueRef row = cut->row == LT_NONE ? lt_ll_i64(l, 0) : at[cut->row];
  LLVMValueRef pixel = flat_pixel(c, LLVMBuildURem(l->b, row, lt_ll_i64(l, rows), ""), at);
  t->share = pixels / u->len, t->panel = stride[cut->block];
  LLVMValueRef from = LLVMBuildMul(l->b, pixel, lt_ll_i64(l, stride[cut->block] / pixels), "");
  t->ahead = LLVMBuildAdd(l->b, from, lt_ll_i64(l, next_panel(c, u->blocks)), "");
}

/* Is A so large that its lines come from far away, and worth asking for? Without FMA, where products need registers of
 * their own, LLVM spills more beside it. */
static bool asks_for_a(const contraction *c) {
  const lt_cut *cut = &c->cut;
  return !c->l->target->small && c->l->target->fma && lt_large_operand(c->k, (double)cut->outer * cut->of_a);
}

/* Where the channels of a pixel are a line of A that steps along K read one after the other, the lines that come later
 * are far away: how far apart those of neighbouring pixels stand. */
static int64_t next_pixel(const contraction *c) {
  const lt_kseg *g = &c->x->seg[0];
  const int along = c->cut.col != LT_NONE ? c->cut.col : c->cut.row;
  if (along == LT_NONE || !asks_for_a(c)) return 0;
  if (g->n < 2 || g->extent[g->n - 1] != LT_LANES || g->a_stride[g->n - 1] != 1) return 0;
  return c->x->a.stride[along] < LT_LANES ? 0 : c->x->a.stride[along];
}

/* From a tile's lines to those it asks for: with several taps they are those of its own next block of channels, at the
 * same taps; with one they would be needed too soon, and are the next tile's. */
static int64_t next_lines(const contraction *c, const lt_rtile *r) {
  const lt_kseg *g = &c->x->seg[0];
  int64_t taps = 1;
  for (unsigned i = 1; i + 1u < g->n; i++) taps *= g->extent[i];
  return taps > 1 && g->extent[0] > 1 ? g->a_stride[0] : lt_rtile_displacement(r, &c->x->a, r->len);
}

/* The dim of the next task's rows of A, where those are as many elements on as a plane has at least. */
static int next_planes(const contraction *c, int64_t plane) {
  for (int i = c->cut.n_outer - 1; i >= 0; i--) {
    const int d = c->cut.outer_dim[i];
    if (c->k->extent[d] > 1 && c->x->b.stride[d] == 0 && c->x->a.stride[d] >= plane) return d;
  }
  return LT_NONE;
}

/* Which of the tiles that go over the same rows of A this one is, of `tiles` for each group of blocks. */
static LLVMValueRef tile_number(const contraction *c, const micro_kernel *u, int64_t tiles, LLVMValueRef const *at) {
  lt_ll *l = c->l;
  LLVMValueRef pixel = flat_pixel(c, at[c->cut.row], at);
  LLVMValueRef group = LLVMBuildUDiv(l->b, at[c->cut.block], lt_ll_i64(l, u->blocks), "");
  group = LLVMBuildMul(l->b, group, lt_ll_i64(l, tiles), "");
  return LLVMBuildAdd(l->b, group, LLVMBuildUDiv(l->b, pixel, lt_ll_i64(l, u->len), ""), "");
}

/* Where each step along K is a line of A (a weight gradient, whose rows are the channels of a pixel) and the image is
 * large, it comes from far away. Tiles that go on from block to block of channels ask for the next block's lines. Where
 * a task has one block, its first tile would wait for all of it while the others find it near: each asks for its part
 * of what the next task will read. */
static void share_next(const contraction *c, const micro_kernel *u, lt_ktile *t, LLVMValueRef const *at) {
  lt_ll *l = c->l;
  const lt_cut *cut = &c->cut;
  const lt_kseg *g = &c->x->seg[0];
  const int64_t *stride = c->x->a.stride, plane = g->extent[1] * g->a_stride[1];
  if (c->x->n_seg != 1 || g->n != 3 || g->a_stride[2] < LT_LANES) return;
  if (cut->row == LT_NONE || cut->block == LT_NONE || !asks_for_a(c)) return;
  if (cut->plane != LT_NONE && stride[cut->plane] == 1 && stride[cut->row] >= LT_LANES) {
    t->next_parts = 1, t->next_lines = stride[cut->row], t->part = lt_ll_i64(l, 0);
    return;
  }
  const int d = next_planes(c, plane);
  const int64_t tiles = lt_ceil_div(cut->task_rows * cut->cols, u->len);
  if (stride[cut->row] != 1 || g->a_stride[2] != LT_LANES || d == LT_NONE) return;
  t->next_lines = stride[d], t->next_parts = LT_MIN(LT_LANES, tiles * lt_ceil_div(cut->task_blocks, u->blocks));
  LLVMValueRef part = LLVMBuildURem(l->b, tile_number(c, u, tiles, at), lt_ll_i64(l, t->next_parts), "");
  t->part = LLVMBuildMul(l->b, part, lt_ll_i64(l, plane / t->next_parts), "");
}

static LLVMValueRef least(lt_ll *l, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildSelect(l->b, LLVMBuildICmp(l->b, LLVMIntSLT, a, b, ""), a, b, "");
}

static LLVMValueRef most(lt_ll *l, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildSelect(l->b, LLVMBuildICmp(l->b, LLVMIntSGT, a, b, ""), a, b, "");
}

/* Iterations i of `all` with 0 <= at + i·step < size; where there are none, one. */
static lt_kspan span_in(lt_ll *l, const lt_kborder *e, LLVMValueRef at, int64_t all) {
  LLVMBuilderRef b = l->b;
  LLVMValueRef zero = lt_ll_i64(l, 0), step = lt_ll_i64(l, e->step);
  LLVMValueRef before = most(l, LLVMBuildNeg(b, at, ""), zero);
  LLVMValueRef lo = least(l, LLVMBuildUDiv(b, lt_ll_plus(l, before, e->step - 1), step, ""), lt_ll_i64(l, all - 1));
  LLVMValueRef inside = most(l, LLVMBuildSub(b, lt_ll_i64(l, e->size + e->step - 1), at, ""), zero);
  LLVMValueRef hi = least(l, LLVMBuildUDiv(b, inside, step, ""), lt_ll_i64(l, all));
  return (lt_kspan){e->back, all, lo, most(l, LLVMBuildSub(b, hi, lo, ""), lt_ll_i64(l, 1))};
}

/* Do all pixels of the tile stand alike beside a border, and other tiles' too? (Where they do not, there would be one
 * more function for some.) */
static bool alike_beside(const lt_rtile *r, const lt_kborder *e) {
  lt_access a = {0};
  const lt_cut *c = r->cut;
  if (c->row != LT_NONE && e->coef[c->row] && r->len != c->cols) return false;
  memcpy(a.stride, e->coef, sizeof a.stride);
  for (int64_t p = 1; p < r->len; p++)
    if (lt_rtile_displacement(r, &a, p)) return false;
  return true;
}

/* What of K no pixel of the tile needs. */
static void find_spans(const contraction *c, const lt_rtile *r, lt_ktile *t) {
  lt_ll *l = c->l;
  const lt_kseg *g = &c->x->seg[0];
  for (unsigned i = 0; i < c->x->n_border; i++) {
    const lt_kborder *e = &c->x->border[i];
    const int64_t all = g->extent[g->n - e->back];
    if (all == 1 || !alike_beside(r, e)) continue;
    LLVMValueRef at = lt_ll_i64(l, e->add);
    for (int d = 0; d < c->k->n_dims; d++)
      if (e->coef[d]) at = LLVMBuildAdd(l->b, at, LLVMBuildMul(l->b, r->at[d], lt_ll_i64(l, e->coef[d]), ""), "");
    t->span[t->n_span++] = span_in(l, e, at, all);
  }
}

/* What of K is left out. */
static void find_gaps(const contraction *c, const lt_rtile *r, lt_ktile *t) {
  lt_ll *l = c->l;
  if (l->target->small || !lt_blank_fits(c->k, &c->cut)) return;
  if (t->pixels * t->blocks * lt_tile_vectors(l->target, c->k->acc) * c->cut.depth < SPAN_TILE) return;
  find_spans(c, r, t);
  t->edge = lt_edge_of(r);
  if (!t->n_span && !t->edge) return;
  t->blank = LLVMBuildAlloca(l->b, LLVMArrayType2(lt_ll_vec(l, c->k->acc), (uint64_t)t->blocks), "");
  t->finite = LLVMBuildTrunc(l->b, LLVMGetParam(l->fn, c->k->n_dims + 1u), LLVMInt1TypeInContext(l->ctx), "");
}

static void emit_tile(contraction *c, const micro_kernel *u) {
  lt_ll *l = c->l;
  lt_ktile t = {c->k, &c->cut, .pixels = u->len, .blocks = u->blocks, .lanes = u->lanes};
  lt_rtile r = {
    l, c->k, &c->cut, .len = u->len, .phase = u->phase, .blocks = u->blocks, .sides = u->sides, .lanes = u->lanes};
  t.side_blocks = u->blocks / u->sides, t.next_pixel = next_pixel(c);
  for (int d = 0; d < c->k->n_dims; d++) {
    bool fixed = d == c->cut.lane ? c->cut.block != LT_NONE || c->cut.blocks == 1 : c->k->extent[d] == 1;
    r.at[d] = fixed ? lt_ll_i64(l, 0) : LLVMGetParam(l->fn, (unsigned)d + 1);
  }
  for (int64_t p = 0; p < u->len; p++) t.pixel_a[p] = lt_rtile_displacement(&r, &c->x->a, p);
  t.next_lines = next_lines(c, &r);
  lt_bufs bufs;
  lt_emit_buffers(l, &bufs, c->k, LLVMGetParam(l->fn, 0));
  t.a = bufs.own[A], t.b = bufs.own[B];
  lt_epilogue_begin(&r, &bufs);
  LLVMTypeRef totals = LLVMArrayType2(lt_ll_vec(l, c->k->acc), (uint64_t)(u->len * u->blocks));
  LLVMValueRef frame = r.looped || c->x->cut ? LLVMBuildAlloca(l->b, totals, "") : NULL, sum[LT_TILE_MAX];
  find_gaps(c, &r, &t);
  look_ahead(c, u, &t, r.at);
  share_next(c, u, &t, r.at);
  lt_emit_along_k(l, &t, r.at, frame, r.looped ? NULL : sum);
  lt_emit_buffers(l, &bufs, c->k, LLVMGetParam(l->fn, 0)); /* again: these pointers need not live through K */
  lt_emit_tile_epilogue(&r, &bufs, sum, frame);
  LLVMBuildRetVoid(l->b);
}

static LLVMValueRef micro_kernel_for(contraction *c, int64_t len, int64_t phase, int64_t blocks, unsigned lanes) {
  lt_ll *l = c->l;
  for (uint32_t i = 0; i < c->micro.n; i++) {
    micro_kernel *u = &c->micro.at[i];
    if (u->len == len && u->phase == phase && u->blocks == blocks && u->sides == c->sides && u->lanes == lanes)
      return u->fn;
  }
  size_t name_len;
  const char *name = LLVMGetValueName2(c->kernel, &name_len);
  micro_kernel u = {len, phase, blocks, c->sides, lanes, NULL};
  u.fn = LLVMAddFunction(l->mod, lt_arena_printf(l->arena, "%s.t%u", name, c->micro.n), c->micro_type);
  LLVMSetLinkage(u.fn, LLVMInternalLinkage);
  lt_ll_copy_attributes(l, u.fn, c->kernel);
  lt_ll_flag(l, u.fn, "noinline");
  LLVMBasicBlockRef back = LLVMGetInsertBlock(l->b);
  l->fn = u.fn;
  LLVMPositionBuilderAtEnd(l->b, LLVMAppendBasicBlockInContext(l->ctx, u.fn, ""));
  emit_tile(c, &u);
  l->fn = c->kernel;
  LLVMPositionBuilderAtEnd(l->b, back);
  lt_vec_push(l->arena, &c->micro, u);
  lt_vec_push(l->arena, &l->alike, u.fn);
  return u.fn;
}

/* ---- the kernel function --------------------------------------------------------------------------------------- */

static void call_tile(contraction *c, LLVMValueRef fn) {
  LLVMValueRef arg[LT_MAX_DIMS + 2] = {c->bufs};
  for (int d = 0; d < c->k->n_dims; d++) arg[d + 1] = c->at[d];
  arg[c->k->n_dims + 1] = c->finite;
  LLVMBuildCall2(c->l->b, c->micro_type, fn, arg, c->k->n_dims + 2u, "");
}

static void set_pixel(contraction *c, LLVMValueRef row, LLVMValueRef col) {
  if (c->cut.row != LT_NONE) c->at[c->cut.row] = row;
  if (c->cut.plane != LT_NONE) { /* constants: see lt_tile_phase */
    LLVMValueRef width = lt_ll_i64(c->l, c->cut.width);
    c->at[c->cut.plane] = LLVMBuildUDiv(c->l->b, col, width, "");
    col = LLVMBuildURem(c->l->b, col, width, "");
  }
  if (c->cut.col != LT_NONE) c->at[c->cut.col] = col;
}

static bool same_shape(const contraction *c, lt_tile a, lt_tile b) {
  return a.len == b.len && lt_tile_phase(a, &c->cut) == lt_tile_phase(b, &c->cut);
}

/* The tiles of `rows` rows from row `first`. Runs of equal ones along a row (or down a single column) become a loop. */
static void emit_tiles(contraction *c, LLVMValueRef first, int64_t rows, int64_t blocks, unsigned lanes) {
  lt_ll *l = c->l;
  int64_t cols = c->cut.cols, n = lt_tile_count(&c->tiling, rows, cols);
  for (int64_t i = 0, run; i < n; i += run) {
    lt_tile t = lt_tile_at(&c->tiling, rows, cols, i);
    LLVMValueRef fn = micro_kernel_for(c, t.len, lt_tile_phase(t, &c->cut), blocks, lanes);
    for (run = 1; i + run < n; run++) {
      lt_tile u = lt_tile_at(&c->tiling, rows, cols, i + run);
      if (!same_shape(c, t, u) || (cols > 1 && u.start / cols != t.start / cols)) break;
    }
    int64_t row = t.start / cols, col = t.start % cols;
    if (run < 3) {
      run = 1;
      set_pixel(c, lt_ll_plus(l, first, row), lt_ll_i64(l, col));
      call_tile(c, fn);
      continue;
    }
    lt_ll_loop q = {0};
    LLVMValueRef from = cols == 1 ? lt_ll_plus(l, first, row) : lt_ll_i64(l, col),
                 to = lt_ll_plus(l, from, run * t.len);
    lt_ll_loop_begin(l, &q, from, to, t.len);
    set_pixel(c, cols == 1 ? q.i : lt_ll_plus(l, first, row), cols == 1 ? lt_ll_i64(l, 0) : q.i);
    call_tile(c, fn);
    lt_ll_loop_end(l, &q);
  }
}

static LLVMBasicBlockRef if_equal(lt_ll *l, LLVMValueRef a, int64_t b) {
  LLVMBasicBlockRef then = LLVMAppendBasicBlockInContext(l->ctx, l->fn, ""),
                    after = LLVMAppendBasicBlockInContext(l->ctx, l->fn, "");
  LLVMBuildCondBr(l->b, LLVMBuildICmp(l->b, LLVMIntEQ, a, lt_ll_i64(l, b), ""), then, after);
  LLVMPositionBuilderAtEnd(l->b, then);
  return after;
}

static void end_if(lt_ll *l, LLVMBasicBlockRef after) {
  LLVMBuildBr(l->b, after);
  LLVMPositionBuilderAtEnd(l->b, after);
}

/* What a task has of one dim, in groups of `each` and, behind them, what is left: its last part may be another. */
typedef struct in_groups { int64_t each, task, last; bool many; } in_groups;
typedef void at_group(contraction *c, LLVMValueRef first, int64_t n, int64_t blocks, unsigned lanes);

static void emit_groups(contraction *c, const in_groups *p, LLVMValueRef from, LLVMValueRef to, int64_t blocks,
                        unsigned lanes, at_group *emit) {
  lt_ll *l = c->l;
  int64_t g = p->each, rest[2] = {p->last % g, p->many ? p->task % g : 0};
  LLVMValueRef whole = LLVMBuildSub(l->b, to, from, "");
  whole = LLVMBuildAdd(l->b, from, LLVMBuildSub(l->b, whole, LLVMBuildURem(l->b, whole, lt_ll_i64(l, g), ""), ""), "");
  if (LT_MAX(p->task, p->last) >= g) {
    lt_ll_loop q = {0};
    lt_ll_loop_begin(l, &q, from, whole, g);
    emit(c, q.i, g, blocks, lanes);
    lt_ll_loop_end(l, &q);
  }
  for (int i = 0; i < 2; i++) {
    if (!rest[i] || (i == 1 && rest[1] == rest[0])) continue;
    LLVMBasicBlockRef after = if_equal(l, LLVMBuildSub(l->b, to, whole, ""), rest[i]);
    emit(c, whole, rest[i], blocks, lanes);
    end_if(l, after);
  }
}

/* All rows of the task, `blocks` blocks from at[block]. */
static void emit_rows(contraction *c, LLVMValueRef from, LLVMValueRef to, int64_t blocks, unsigned lanes) {
  const lt_cut *t = &c->cut;
  const in_groups rows = {c->tiling.group, t->task_rows, t->rows - (t->row_groups - 1) * t->task_rows,
                          t->row_groups > 1};
  emit_groups(c, &rows, from, to, blocks * c->sides, lanes, emit_tiles);
}

/* 1 where all of B is finite in `blocks` blocks from at[block] on: what borders leave out of it need not be looked at.
 */
static LLVMValueRef look_at_b(contraction *c, int64_t blocks) {
  lt_ll *l = c->l;
  lt_ktile t = {c->k, &c->cut, .blocks = blocks, .side_blocks = blocks, .lanes = LT_LANES};
  lt_bufs bufs;
  lt_emit_buffers(l, &bufs, c->k, c->bufs);
  t.a = bufs.own[A], t.b = bufs.own[B];
  LLVMTypeRef vec = lt_ll_vec(l, c->k->acc);
  LLVMValueRef sum = LLVMConstNull(vec);
  for (int64_t i = 0; i < blocks; i++) LLVMBuildStore(l->b, sum, lt_ll_at(l, c->looked, NULL, c->k->acc, i * LT_LANES));
  for (unsigned i = 0; i < c->x->n_seg; i++)
    lt_emit_blank_all(l, &t, &c->x->seg[i], lt_segment_at(l, &t, &c->x->seg[i], c->at).b, c->looked);
  for (int64_t i = 0; i < blocks; i++) {
    LLVMValueRef more = LLVMBuildLoad2(l->b, vec, lt_ll_at(l, c->looked, NULL, c->k->acc, i * LT_LANES), "");
    sum = LLVMBuildFAdd(l->b, sum, more, "");
  }
  LLVMValueRef all = lt_ll_lane(l, sum, 0);
  for (unsigned i = 1; i < LT_LANES; i++) all = LLVMBuildFAdd(l->b, all, lt_ll_lane(l, sum, i), "");
  return LLVMBuildZExt(l->b, LLVMBuildFCmp(l->b, LLVMRealORD, all, all, ""), l->i64, "");
}

/* The rows of the task at each of the points inside it, from dim `i` of those on. */
static void emit_inside(contraction *c, int i, LLVMValueRef from, LLVMValueRef to, int64_t blocks, unsigned lanes) {
  if (i == c->cut.n_inside) {
    emit_rows(c, from, to, blocks, lanes);
    return;
  }
  const int d = c->cut.inside_dim[i];
  lt_ll_loop q = {0};
  lt_ll_loop_begin(c->l, &q, lt_ll_i64(c->l, 0), lt_ll_i64(c->l, c->k->extent[d]), 1);
  c->at[d] = q.i;
  emit_inside(c, i + 1, from, to, blocks, lanes);
  lt_ll_loop_end(c->l, &q);
}

static void emit_panels(contraction *c, LLVMValueRef from, LLVMValueRef to, int64_t blocks, unsigned lanes) {
  LLVMValueRef zero = lt_ll_i64(c->l, 0);
  for (int i = 0; i < c->cut.n_inside; i++) c->at[c->cut.inside_dim[i]] = zero;
  set_pixel(c, zero, zero); /* loops before this left theirs, which are not known here */
  c->finite = c->looked ? look_at_b(c, blocks) : lt_ll_i64(c->l, 0);
  emit_inside(c, 0, from, to, blocks, lanes);
}

static void set_block(contraction *c, LLVMValueRef b) {
  if (c->cut.block != LT_NONE) c->at[c->cut.block] = b;
  else c->at[c->cut.lane] = LLVMBuildMul(c->l->b, b, lt_ll_i64(c->l, LT_LANES), "");
}

/* Groups of tiling.blocks blocks, then what is left of this task: the last block of all may be a narrow one. */
static void emit_blocks(contraction *c) {
  lt_ll *l = c->l;
  const lt_cut *t = &c->cut;
  LLVMValueRef group = c->block_group, row_from = c->row_from, row_to = c->row_to;
  int64_t nb = c->tiling.blocks, narrow = t->tail_matters;
  int64_t last = t->blocks - (t->block_groups - 1) * t->task_blocks - narrow;
  LLVMValueRef from = LLVMBuildMul(l->b, group, lt_ll_i64(l, t->task_blocks), "");
  LLVMValueRef to = least(l, lt_ll_plus(l, from, t->task_blocks), lt_ll_i64(l, t->blocks - narrow));
  LLVMValueRef many = LLVMBuildSub(l->b, to, from, "");
  LLVMValueRef whole =
    LLVMBuildAdd(l->b, from, LLVMBuildSub(l->b, many, LLVMBuildURem(l->b, many, lt_ll_i64(l, nb), ""), ""), "");
  if (LT_MAX(last, t->block_groups > 1 ? t->task_blocks : 0) >= nb) {
    lt_ll_loop q = {0};
    lt_ll_loop_begin(l, &q, from, whole, nb);
    set_block(c, q.i);
    emit_panels(c, row_from, row_to, nb, LT_LANES);
    lt_ll_loop_end(l, &q);
  }
  set_block(c, whole);
  if (last % nb + narrow > 0) {
    LLVMBasicBlockRef after = if_equal(l, group, t->block_groups - 1);
    emit_panels(c, row_from, row_to, last % nb + narrow, narrow ? t->tail : LT_LANES);
    end_if(l, after);
  }
  if (t->block_groups > 1 && t->task_blocks % nb) {
    LLVMValueRef inner = LLVMBuildICmp(l->b, LLVMIntULT, group, lt_ll_i64(l, t->block_groups - 1), "");
    LLVMBasicBlockRef after = if_equal(l, LLVMBuildZExt(l->b, inner, l->i64, ""), 1);
    emit_panels(c, row_from, row_to, t->task_blocks % nb, LT_LANES);
    end_if(l, after);
  }
}

/* `n` sides from `first` on. */
static void emit_side(contraction *c, LLVMValueRef first, int64_t n, int64_t blocks, unsigned lanes) {
  (void)blocks, (void)lanes;
  c->at[c->cut.side] = first, c->sides = n;
  emit_blocks(c);
}

static void emit_sides(contraction *c, LLVMValueRef group) {
  lt_ll *l = c->l;
  const lt_cut *t = &c->cut;
  const in_groups sides = {c->tiling.sides, t->task_sides, t->sides - (t->side_groups - 1) * t->task_sides,
                           t->side_groups > 1};
  LLVMValueRef from = LLVMBuildMul(l->b, group, lt_ll_i64(l, t->task_sides), "");
  emit_groups(c, &sides, from, least(l, lt_ll_plus(l, from, t->task_sides), lt_ll_i64(l, t->sides)), 0, 0, emit_side);
}

/* i mod n, and i becomes i / n. */
static LLVMValueRef take(lt_ll *l, LLVMValueRef *i, int64_t n) {
  if (n == 1) return lt_ll_i64(l, 0);
  LLVMValueRef r = LLVMBuildURem(l->b, *i, lt_ll_i64(l, n), "");
  *i = LLVMBuildUDiv(l->b, *i, lt_ll_i64(l, n), "");
  return r;
}

static void check(const contraction *c) {
  const lt_contract *x = c->x;
  bool affine_only = x->a.n_index == 0 && x->b.n_index == 0;
  bool a_scalar = x->a.stride[c->cut.lane] == 0 && (c->cut.block == LT_NONE || x->a.stride[c->cut.block] == 0);
  bool b_fixed =
    (c->cut.row == LT_NONE || x->b.stride[c->cut.row] == 0) && (c->cut.col == LT_NONE || x->b.stride[c->cut.col] == 0);
  if (affine_only && a_scalar && b_fixed && x->n_seg > 0) return;
  lt_fail(c->l->job, LATHE_E_INTERNAL, NULL,
          "contraction %s: operands must be affine, A the same for all lanes, B for all pixels", c->k->name);
}

void lt_emit_contract(lt_ll *l, const lt_kernel *k) {
  contraction c = {.l = l, .k = k, .x = k->contract, .kernel = l->fn};
  lt_cut_of(&c.cut, k);
  check(&c);
  lt_tile_solve(&c.tiling, &c.cut, l->target, k->acc);
  LLVMTypeRef param[LT_MAX_DIMS + 2] = {l->ptr};
  for (int d = 0; d < k->n_dims; d++) param[d + 1] = l->i64, c.at[d] = lt_ll_i64(l, 0);
  param[k->n_dims + 1] = l->i64, c.finite = lt_ll_i64(l, 0);
  c.micro_type = LLVMFunctionType(l->void_, param, k->n_dims + 2u, 0);
  c.bufs = LLVMGetParam(l->fn, 0);
  c.sides = 1;
  LLVMTypeRef looked = LLVMArrayType2(lt_ll_vec(l, k->acc), (uint64_t)c.tiling.blocks + 1);
  if (c.cut.n_inside && !l->target->small && lt_blank_fits(k, &c.cut)) c.looked = LLVMBuildAlloca(l->b, looked, "");
  LLVMValueRef task = LLVMGetParam(l->fn, 1), blocks = NULL, rows, sides;
  if (!c.cut.blocks_first) blocks = take(l, &task, c.cut.block_groups);
  rows = take(l, &task, c.cut.row_groups);
  sides = take(l, &task, c.cut.side_groups);
  for (int i = c.cut.n_outer - 1; i >= 0; i--) c.at[c.cut.outer_dim[i]] = take(l, &task, k->extent[c.cut.outer_dim[i]]);
  if (c.cut.blocks_first) blocks = c.cut.block_groups == 1 ? lt_ll_i64(l, 0) : task;
  c.block_group = blocks;
  c.row_from = LLVMBuildMul(l->b, rows, lt_ll_i64(l, c.cut.task_rows), "");
  c.row_to = least(l, lt_ll_plus(l, c.row_from, c.cut.task_rows), lt_ll_i64(l, c.cut.rows));
  if (c.cut.side == LT_NONE) emit_blocks(&c);
  else emit_sides(&c, sides);
  if (c.tiling.pixels * c.tiling.blocks * lt_tile_vectors(l->target, k->acc) * c.cut.depth >= LONG_TILE)
    lt_ll_cold(l, c.kernel);
}
