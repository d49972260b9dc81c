/* epilogue.c: see epilogue.h. */
#include "codegen/cpu/epilogue.h"
#include "codegen/cpu/turn.h"

enum {
  WRITTEN_OUT = 300, /* instructions written out at the end of a tile */
  FROM_FRAME = 100,  /* the same where K is cut in runs: the totals are in the frame anyway, and the tile is long */
  SHORT_K = 600,     /* steps along K, beside which waiting for the lines of an epilogue counts */
};

/* ---- where things are -------------------------------------------------------------------------------------------- */

static int pixel_dim(const lt_rtile *t, int i) { return (int[]){t->cut->row, t->cut->plane, t->cut->col}[i]; }

static void pixel_at(const lt_rtile *t, int64_t p, int64_t at[LT_PIXEL_DIMS]) {
  int64_t flat = t->phase + p, in_row = flat % t->cut->cols, width = t->cut->width;
  at[LT_PIXEL_ROW] = flat / t->cut->cols;
  at[LT_PIXEL_PLANE] = in_row / width - t->phase / width;
  at[LT_PIXEL_COL] = in_row % width - t->phase % width;
}

/* Of a pixel that is known when it runs. */
static void pixel_when_run(const lt_rtile *t, LLVMValueRef p, LLVMValueRef at[LT_PIXEL_DIMS]) {
  lt_ll *l = t->l;
  const lt_cut *c = t->cut;
  at[LT_PIXEL_ROW] = at[LT_PIXEL_PLANE] = lt_ll_i64(l, 0), at[LT_PIXEL_COL] = p;
  if (t->phase == 0 && t->len <= c->width) return;
  LLVMValueRef flat = lt_ll_plus(l, p, t->phase), cols = lt_ll_i64(l, c->cols), width = lt_ll_i64(l, c->width);
  LLVMValueRef in_row = LLVMBuildURem(l->b, flat, cols, "");
  at[LT_PIXEL_ROW] = LLVMBuildUDiv(l->b, flat, cols, "");
  if (c->plane != LT_NONE) {
    at[LT_PIXEL_PLANE] = lt_ll_plus(l, LLVMBuildUDiv(l->b, in_row, width, ""), -(t->phase / c->width));
    in_row = LLVMBuildURem(l->b, in_row, width, "");
  }
  at[LT_PIXEL_COL] = lt_ll_plus(l, in_row, -(t->phase % c->width));
}

int64_t lt_rtile_displacement(const lt_rtile *t, const lt_access *a, int64_t p) {
  int64_t d[LT_PIXEL_DIMS], sum = 0;
  pixel_at(t, p, d);
  for (int i = 0; i < LT_PIXEL_DIMS; i++)
    if (pixel_dim(t, i) != LT_NONE) sum += d[i] * a->stride[pixel_dim(t, i)];
  return sum;
}

/* Block b at the tile's first pixel. */
static lt_point block_point(const lt_rtile *t, int64_t b) {
  lt_ll *l = t->l;
  const lt_cut *c = t->cut;
  const int64_t per = t->blocks / t->sides, in_side = b % per;
  lt_point point = {.lanes = in_side == per - 1 ? t->lanes : LT_LANES};
  memcpy(point.i, t->at, sizeof point.i);
  if (c->block != LT_NONE) point.i[c->block] = lt_ll_plus(l, t->at[c->block], in_side);
  else point.i[c->lane] = lt_ll_plus(l, t->at[c->lane], in_side * LT_LANES);
  if (c->side != LT_NONE) point.i[c->side] = lt_ll_plus(l, t->at[c->side], b / per);
  return point;
}

/* What is the same for all pixels is built once for each block. */
static lt_point *block_points(const lt_rtile *t) {
  lt_point *all = LT_NEW_ARRAY(t->l->arena, lt_point, (size_t)t->blocks);
  for (int64_t b = 0; b < t->blocks; b++) all[b] = block_point(t, b);
  return all;
}

static void at_pixel(const lt_rtile *t, lt_point *point, int64_t p) {
  int64_t d[LT_PIXEL_DIMS];
  pixel_at(t, p, d);
  for (int i = 0; i < LT_PIXEL_DIMS; i++)
    if (pixel_dim(t, i) != LT_NONE) point->plus[pixel_dim(t, i)] = d[i];
}

/* ---- what lies across the lanes ---------------------------------------------------------------------------------- */

/* Pixels from p on that stand one after the other in memory, 16 at most. */
static int64_t neighbours(const lt_rtile *t, const lt_access *a, int64_t p) {
  int64_t n = 1, first = lt_rtile_displacement(t, a, p);
  while (p + n < t->len && n < LT_LANES && lt_rtile_displacement(t, a, p + n) == first + n) n++;
  return n;
}

static LLVMValueRef tile_for(const lt_rtile *t, const lt_access *a, lt_dtype type) {
  int64_t parts = 0;
  if (a->n_index || type == LT_BOOL || !lt_lies_across(t->k, a)) return NULL;
  for (int64_t p = 0; p < t->len; p += neighbours(t, a, p)) parts++;
  return parts * LT_TURN_WORTH <= t->len ? lt_emit_frame_tile(t->l, type, t->len * t->blocks) : NULL;
}

typedef void at_part(const lt_rtile *t, const lt_access *a, lt_dtype type, LLVMValueRef tile, LLVMValueRef in,
                     unsigned lanes, unsigned pixels);

/* Block by block, pixels that are neighbours: `in` is where they stand in memory, `tile` where in the frame. */
static void for_parts(const lt_rtile *t, LLVMValueRef base, const lt_access *a, lt_dtype type, LLVMValueRef tile,
                      at_part *emit) {
  lt_point *point = block_points(t);
  for (int64_t b = 0; b < t->blocks; b++)
    for (int64_t p = 0, n; p < t->len; p += n) {
      n = neighbours(t, a, p);
      at_pixel(t, &point[b], p);
      emit(t, a, type, lt_emit_tile_row(t->l, tile, NULL, b * t->len + p, type),
           lt_emit_address(t->l, t->k, base, a, &point[b], type), point[b].lanes, (unsigned)n);
    }
}

static void part_in(const lt_rtile *t, const lt_access *a, lt_dtype type, LLVMValueRef tile, LLVMValueRef in,
                    unsigned lanes, unsigned pixels) {
  lt_emit_turn(t->l, type, lanes, pixels, in, a->stride[t->cut->lane], tile, LT_LANES);
}

static void part_out(const lt_rtile *t, const lt_access *a, lt_dtype type, LLVMValueRef tile, LLVMValueRef in,
                     unsigned lanes, unsigned pixels) {
  lt_emit_turn(t->l, type, pixels, lanes, tile, LT_LANES, in, a->stride[t->cut->lane]);
}

/* The line of the last pixel: the first one's is that of the tile before. */
static void part_ahead(const lt_rtile *t, const lt_access *a, lt_dtype type, LLVMValueRef tile, LLVMValueRef in,
                       unsigned lanes, unsigned pixels) {
  (void)tile;
  for (unsigned i = 0; i < lanes; i++)
    lt_ll_prefetch(t->l, lt_ll_at(t->l, in, NULL, type, i * a->stride[t->cut->lane] + pixels - 1));
}

static bool moves_with_pixels(const lt_rtile *t, const lt_access *a) {
  bool moves = false;
  for (int i = 0; i < LT_PIXEL_DIMS; i++) {
    int d = pixel_dim(t, i);
    if (d == LT_NONE) continue;
    moves |= a->stride[d] != 0;
    for (unsigned j = 0; j < a->n_index; j++) moves |= a->index[j].coef[d] != 0;
  }
  return moves;
}

/* Are the channels of each pixel a line of its own, of something large? */
static bool far_lines(const lt_rtile *t, const lt_access *a) {
  double elements = 1;
  for (int d = 0; d < t->k->n_dims; d++)
    if (a->stride[d]) elements *= (double)t->k->extent[d];
  return !a->n_index && a->stride[t->cut->lane] == 1 && moves_with_pixels(t, a) && lt_large_operand(t->k, elements);
}

static void lines_ahead(const lt_rtile *t, LLVMValueRef base, const lt_access *a, lt_dtype type) {
  if (!far_lines(t, a)) return;
  lt_point *point = block_points(t);
  for (int64_t b = 0; b < t->blocks; b++)
    for (int64_t p = 0; p < t->len; p++) {
      at_pixel(t, &point[b], p);
      lt_ll_prefetch(t->l, lt_emit_address(t->l, t->k, base, a, &point[b], type));
    }
}

static void ask_for_lines(const lt_rtile *t, const lt_bufs *bufs) {
  const lt_kernel *k = t->k;
  for (uint32_t i = 0; i < k->n_expr; i++) {
    const lt_instr *x = &k->expr[i];
    if (x->kind == LT_X_LOAD && !t->load[i]) lines_ahead(t, bufs->access[x->access], &k->access[x->access], x->dtype);
  }
  for (uint32_t i = 0; i < k->n_store; i++) {
    const lt_store *s = &k->store[i];
    if (!t->store[i]) lines_ahead(t, bufs->store[i], &s->to, k->expr[s->value].dtype);
  }
}

static void for_loads(const lt_rtile *t, const lt_bufs *bufs, at_part *emit) {
  const lt_instr *x = t->k->expr;
  for (uint32_t i = 0; i < t->k->n_expr; i++, x++)
    if (t->load[i]) for_parts(t, bufs->access[x->access], &t->k->access[x->access], x->dtype, t->load[i], emit);
}

static void for_stores(const lt_rtile *t, const lt_bufs *bufs, at_part *emit) {
  for (uint32_t i = 0; i < t->k->n_store; i++) {
    const lt_store *s = &t->k->store[i];
    if (t->store[i]) for_parts(t, bufs->store[i], &s->to, t->k->expr[s->value].dtype, t->store[i], emit);
  }
}

/* ---- before K ---------------------------------------------------------------------------------------------------- */

/* Instructions of the epilogue at one point, about. */
static int64_t access_cost(const lt_access *x, int lane) {
  bool strided = x->stride[lane] != 0 && x->stride[lane] != 1;
  for (unsigned i = 0; i < x->n_index; i++) strided |= x->index[i].coef[lane] != 0;
  return strided ? 2 * LT_LANES : 1 + x->n_index * 8;
}

int64_t lt_epilogue_cost(const lt_kernel *k, const lt_rows *rows) {
  int64_t sum = 0;
  const int lane = k->n_dims - 1;
  for (uint32_t i = 0; i < k->n_store; i++) sum += rows && rows->store[i] ? 1 : access_cost(&k->store[i].to, lane);
  for (uint32_t i = 0; i < k->n_expr; i++) {
    const lt_instr *x = &k->expr[i];
    if (x->kind == LT_X_LOAD) sum += rows && rows->load[i] ? 1 : access_cost(&k->access[x->access], lane);
    else if (x->kind == LT_X_MAP) sum += lt_op_table[x->op].rounds == LT_ROUNDS_CURVE ? 40 : 1;
  }
  return sum;
}

void lt_epilogue_begin(lt_rtile *t, const lt_bufs *bufs) {
  const lt_kernel *k = t->k;
  t->load = LT_NEW_ARRAY(t->l->arena, LLVMValueRef, k->n_expr + 1u);
  t->store = LT_NEW_ARRAY(t->l->arena, LLVMValueRef, k->n_store + 1u);
  for (uint32_t i = 0; i < k->n_expr; i++)
    if (k->expr[i].kind == LT_X_LOAD) t->load[i] = tile_for(t, &k->access[k->expr[i].access], k->expr[i].dtype);
  for (uint32_t i = 0; i < k->n_store; i++)
    t->store[i] = tile_for(t, &k->store[i].to, k->expr[k->store[i].value].dtype);
  const int64_t cost = lt_epilogue_cost(k, &(lt_rows){.load = t->load, .store = t->store});
  t->looped = t->len > 1 && t->len * t->blocks * cost > (k->contract->cut ? FROM_FRAME : WRITTEN_OUT);
  if (t->l->target->small) return;
  for_loads(t, bufs, part_ahead);
  for_stores(t, bufs, part_ahead);
  if (t->cut->depth <= SHORT_K && t->l->target->fma) ask_for_lines(t, bufs);
}

/* ---- after K ----------------------------------------------------------------------------------------------------- */

/* To tiles of whole blocks the kernel has no narrow last block, so that their epilogue need not ask at each store
 * whether it is there. 40 channels are blocks of 16, 16 and 8 lanes:
 *   a tile of blocks 0 and 1   is told of 2 blocks, and all lanes exist
 *   a tile of block 2          is told of 3, and 8 lanes exist by its own shape */
static lt_kernel without_tail(const lt_rtile *t) {
  lt_kernel k = *t->k;
  if (t->cut->tail_matters && t->lanes == LT_LANES && t->cut->block != LT_NONE) k.extent[t->cut->block]--;
  return k;
}

/* Which instructions are the same for all pixels: what scale and bias of the channels become. */
static bool *same_for_pixels(const lt_rtile *t) {
  const lt_kernel *k = t->k;
  bool *same = LT_NEW_ARRAY(t->l->arena, bool, k->n_expr + 1u);
  for (uint32_t i = 0; i < k->n_expr; i++) {
    const lt_instr *x = &k->expr[i];
    same[i] = x->kind == LT_X_CONST || x->kind == LT_X_MAP;
    if (x->kind == LT_X_LOAD) same[i] = !t->load[i] && !moves_with_pixels(t, &k->access[x->access]);
    for (int j = 0; x->kind == LT_X_MAP && j < 3; j++) same[i] &= x->arg[j] < 0 || same[x->arg[j]];
  }
  return same;
}

/* Pixel p of block b; value: see lt_rows. */
static void emit_point(const lt_rtile *t, const lt_kernel *k, const lt_bufs *bufs, const lt_point *point,
                       LLVMValueRef p, int64_t b, const LLVMValueRef *sum, LLVMValueRef *value) {
  lt_ll *l = t->l;
  lt_rows rows = {LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_expr + 1u),
                  LT_NEW_ARRAY(l->arena, LLVMValueRef, k->n_store + 1u), value};
  for (uint32_t i = 0; i < k->n_expr; i++)
    if (t->load[i]) rows.load[i] = lt_emit_tile_row(l, t->load[i], p, b * t->len, k->expr[i].dtype);
  for (uint32_t i = 0; i < k->n_store; i++)
    if (t->store[i]) rows.store[i] = lt_emit_tile_row(l, t->store[i], p, b * t->len, k->expr[k->store[i].value].dtype);
  lt_emit_epilogue(l, k, bufs, point, sum, NULL, &rows);
}

/* An epilogue of many instructions stands in a loop over the pixels, the accumulators in the frame: written out for
 * each of them it would take LLVM longer than all the rest. The counter stands in memory, where LLVM's strength
 * reduction does not follow it: it would weigh every combination of the strided addresses (90 ms for one kernel). */
static void emit_looped(const lt_rtile *t, const lt_bufs *bufs, LLVMValueRef frame) {
  lt_ll *l = t->l;
  lt_kernel seen = without_tail(t);
  LLVMTypeRef vec = lt_ll_vec(l, t->k->acc);
  LLVMValueRef counter = LLVMBuildAlloca(l->b, l->i64, ""), end = lt_ll_i64(l, t->len);
  LLVMBuildStore(l->b, lt_ll_i64(l, 0), counter);
  LLVMBasicBlockRef body = lt_ll_block(l), after = lt_ll_block(l);
  LLVMBuildBr(l->b, body);
  LLVMPositionBuilderAtEnd(l->b, body);
  LLVMValueRef p = LLVMBuildLoad2(l->b, l->i64, counter, ""), next = lt_ll_plus(l, p, 1), pixel[LT_PIXEL_DIMS];
  LLVMBuildStore(l->b, next, counter);
  pixel_when_run(t, p, pixel);
  LLVMValueRef from = LLVMBuildMul(l->b, p, lt_ll_i64(l, t->blocks * LT_LANES), "");
  for (int64_t b = 0; b < t->blocks; b++) {
    lt_point point = block_point(t, b);
    LLVMValueRef sum = LLVMBuildLoad2(l->b, vec, lt_ll_at(l, frame, from, t->k->acc, b * LT_LANES), "");
    for (int i = 0; i < LT_PIXEL_DIMS; i++) {
      int d = pixel_dim(t, i);
      if (d != LT_NONE) point.i[d] = LLVMBuildAdd(l->b, t->at[d], pixel[i], "");
    }
    emit_point(t, &seen, bufs, &point, p, b, &sum, NULL);
  }
  LLVMBuildCondBr(l->b, LLVMBuildICmp(l->b, LLVMIntULT, next, end, ""), body, after);
  LLVMPositionBuilderAtEnd(l->b, after);
}

static void emit_written_out(const lt_rtile *t, const lt_bufs *bufs, const LLVMValueRef *sum) {
  lt_kernel seen = without_tail(t);
  const bool *same = same_for_pixels(t);
  LLVMValueRef *value = LT_NEW_ARRAY(t->l->arena, LLVMValueRef, seen.n_expr + 1u);
  for (int64_t b = 0; b < t->blocks; b++) {
    lt_point point = block_point(t, b);
    for (int64_t p = 0; p < t->len; p++) {
      at_pixel(t, &point, p);
      for (uint32_t i = 0; i < seen.n_expr; i++)
        if (!p || !same[i]) value[i] = NULL;
      emit_point(t, &seen, bufs, &point, lt_ll_i64(t->l, p), b, &sum[p * t->blocks + b], value);
    }
  }
}

void lt_emit_tile_epilogue(const lt_rtile *t, const lt_bufs *bufs, const LLVMValueRef *sum, LLVMValueRef frame) {
  for_loads(t, bufs, part_in);
  if (t->looped) emit_looped(t, bufs, frame);
  else emit_written_out(t, bufs, sum);
  for_stores(t, bufs, part_out);
}
