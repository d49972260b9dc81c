/* contract.c: the one generator of contractions: conv2d, both its gradients, linear, matmul.
 *
 * A kernel becomes two kinds of function. Micro-kernels  f(bufs, coordinates…)  hold one register tile: accumulators
 * are values carried through the nest of K, the innermost part of it unrolled, and the epilogue runs on them before the
 * only store. The kernel function  k(bufs, task)  is cold: it decodes the task and walks groups of rows and blocks
 * (tile.h).
 *
 * What keeps LLVM from spilling: B's vectors first, then per pixel one broadcast and
 * its FMAs; one moving pointer per operand, everything else a constant displacement; bodies of at most BODY_FMA of
 * them; no pass pipeline that could reorder them. One chain per output along K: splitting it would change the bits. */
#include "codegen/cpu/emit.h"
#include "codegen/cpu/tile.h"

enum { A, B }; /* the operands among lt_bufs.own */
enum { BODY_FMA = 128, SMALL_BODY_FMA = 24, LEVELS = 4 };
enum { EPILOGUE = 300 }; /* instructions written out at the end of a tile */

/* A micro-kernel: `len` pixels from phase `phase` of a row, `blocks` blocks, the last one of `lanes` lanes. */
typedef struct micro_kernel { int64_t len, phase, blocks; unsigned lanes; LLVMValueRef fn; } micro_kernel;

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
} contraction;

/* ---- along K --------------------------------------------------------------------------------------------------- */

/* One segment without its dims of extent 1, adjacent dims that both operands walk evenly made one. */
typedef struct nest { int n; int64_t extent[LEVELS], a[LEVELS], b[LEVELS]; } nest;

static nest nest_of(const lt_kseg *s) {
  nest o = {0};
  for (unsigned i = 0; i < s->n; i++) {
    if (s->extent[i] == 1) continue;
    int p = o.n - 1;
    if (p >= 0 && o.a[p] == s->extent[i] * s->a_stride[i] && o.b[p] == s->extent[i] * s->b_stride[i]) {
      o.extent[p] *= s->extent[i], o.a[p] = s->a_stride[i], o.b[p] = s->b_stride[i];
      continue;
    }
    o.extent[o.n] = s->extent[i], o.a[o.n] = s->a_stride[i], o.b[o.n] = s->b_stride[i];
    o.n++;
  }
  return o;
}

/* The state carried along K: both pointers and the accumulators [pixel][block]. */
typedef struct chain { LLVMValueRef a, b, acc[LT_TILE_MAX]; } chain;

typedef struct tile_code {
  contraction *c;
  int64_t pixels, blocks, pixel_a[LT_TILE_MAX]; /* displacement of each pixel in A */
  unsigned lanes;                               /* of the last block */
  const nest *n;
  int loops;      /* levels that stay loops; those behind are unrolled */
  int64_t unroll; /* of the innermost loop */
} tile_code;

static LLVMValueRef load_b(const tile_code *t, LLVMValueRef at, int64_t block) {
  lt_ll *l = t->c->l;
  const lt_kernel *k = t->c->k;
  const lt_contract *x = t->c->x;
  bool part = t->lanes < LT_LANES && block == t->blocks - 1;
  unsigned lanes = part && (x->b_masked || x->b.masked || k->block_dim == LT_NONE) ? t->lanes : LT_LANES;
  int64_t step = x->b.stride[t->c->cut.lane];
  LLVMTypeRef scalar = lt_ll_type(l, k->dtype);
  if (step == 1) {
    LLVMValueRef v = LLVMBuildLoad2(l->b, LLVMVectorType(scalar, lanes), at, "");
    LLVMSetAlignment(v, (unsigned)lt_dtype_size(k->dtype));
    if (lanes == LT_LANES) return v;
    LLVMValueRef pick[LT_LANES];
    for (unsigned i = 0; i < LT_LANES; i++) pick[i] = LLVMConstInt(l->i32, LT_MIN(i, lanes), 0);
    return LLVMBuildShuffleVector(l->b, v, LLVMConstNull(LLVMVectorType(scalar, lanes)),
                                  LLVMConstVector(pick, LT_LANES), "");
  }
  LLVMValueRef v = LLVMConstNull(lt_ll_vec(l, k->dtype));
  for (unsigned i = 0; i < lanes; i++) {
    LLVMValueRef e = LLVMBuildLoad2(l->b, scalar, lt_ll_at(l, at, NULL, k->dtype, (int64_t)i * step), "");
    v = LLVMBuildInsertElement(l->b, v, e, lt_ll_i64(l, i), "");
  }
  return v;
}

static LLVMValueRef widen(contraction *c, LLVMValueRef v) {
  if (c->k->acc == c->k->dtype) return v;
  return LLVMBuildFPExt(c->l->b, v, lt_ll_vec(c->l, c->k->acc), "");
}

static LLVMValueRef multiply_add(contraction *c, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum) {
  lt_ll *l = c->l;
  if (lt_is_float(c->k->acc)) return lt_ll_fma(l, a, b, sum);
  return LLVMBuildAdd(l->b, LLVMBuildMul(l->b, a, b, ""), sum, "");
}

/* One product for every accumulator, operands displaced by (da, db) elements. */
static void emit_step(const tile_code *t, chain *s, int64_t da, int64_t db) {
  contraction *c = t->c;
  lt_ll *l = c->l;
  LLVMValueRef b[LT_TILE_MAX];
  int64_t block_step = c->cut.block == LT_NONE ? LT_LANES * c->x->b.stride[c->cut.lane] : c->x->b.stride[c->cut.block];
  for (int64_t i = 0; i < t->blocks; i++) {
    b[i] = widen(c, load_b(t, lt_ll_at(l, s->b, NULL, c->k->dtype, db + i * block_step), i));
  }
  for (int64_t p = 0; p < t->pixels; p++) {
    LLVMValueRef a =
      LLVMBuildLoad2(l->b, lt_ll_type(l, c->k->dtype), lt_ll_at(l, s->a, NULL, c->k->dtype, da + t->pixel_a[p]), "");
    a = widen(c, lt_ll_splat(l, a, LT_LANES));
    for (int64_t i = 0; i < t->blocks; i++) {
      s->acc[p * t->blocks + i] = multiply_add(c, a, b[i], s->acc[p * t->blocks + i]);
    }
  }
}

/* Levels [level, n) unrolled completely. */
static void emit_unrolled(const tile_code *t, chain *s, int level, int64_t da, int64_t db) {
  const nest *n = t->n;
  if (level == n->n) {
    emit_step(t, s, da, db);
    return;
  }
  for (int64_t i = 0; i < n->extent[level]; i++)
    emit_unrolled(t, s, level + 1, da + i * n->a[level], db + i * n->b[level]);
}

static void advance(const tile_code *t, chain *s, int64_t da, int64_t db) {
  s->a = lt_ll_at(t->c->l, s->a, NULL, t->c->k->dtype, da);
  s->b = lt_ll_at(t->c->l, s->b, NULL, t->c->k->dtype, db);
}

/* do … while (++i < times), the chain carried in phis. Written here and not with lt_ll_loop since it must not be tested
 * at its head: the back edge is the only branch of the hot loop. */
typedef struct repeat {
  LLVMValueRef i, phi[LT_TILE_MAX + 3];
  LLVMBasicBlockRef before, body;
  int64_t times, n;
} repeat;

static LLVMValueRef *chain_slot(chain *s, int64_t i) { return i == 0 ? &s->a : i == 1 ? &s->b : &s->acc[i - 2]; }

static void repeat_begin(const tile_code *t, repeat *r, chain *s, int64_t times) {
  lt_ll *l = t->c->l;
  *r = (repeat){.times = times, .n = 2 + t->pixels * t->blocks};
  if (times == 1) return;
  r->before = LLVMGetInsertBlock(l->b);
  r->body = LLVMAppendBasicBlockInContext(l->ctx, l->fn, "k");
  LLVMBuildBr(l->b, r->body);
  LLVMPositionBuilderAtEnd(l->b, r->body);
  r->i = LLVMBuildPhi(l->b, l->i64, "");
  LLVMValueRef zero = lt_ll_i64(l, 0);
  LLVMAddIncoming(r->i, &zero, &r->before, 1);
  for (int64_t i = 0; i < r->n; i++) {
    LLVMValueRef *slot = chain_slot(s, i);
    r->phi[i] = LLVMBuildPhi(l->b, LLVMTypeOf(*slot), "");
    LLVMAddIncoming(r->phi[i], slot, &r->before, 1);
    *slot = r->phi[i];
  }
  s->a = lt_ll_opaque(l, s->a), s->b = lt_ll_opaque(l, s->b); /* displacements are as they should be */
}

static void repeat_end(const tile_code *t, repeat *r, chain *s) {
  lt_ll *l = t->c->l;
  if (r->times == 1) return;
  LLVMBasicBlockRef last = LLVMGetInsertBlock(l->b), after = LLVMAppendBasicBlockInContext(l->ctx, l->fn, "");
  LLVMValueRef next = LLVMBuildNUWAdd(l->b, r->i, lt_ll_i64(l, 1), "");
  LLVMBuildCondBr(l->b, LLVMBuildICmp(l->b, LLVMIntULT, next, lt_ll_i64(l, r->times), ""), r->body, after);
  LLVMAddIncoming(r->i, &next, &last, 1);
  for (int64_t i = 0; i < r->n; i++) LLVMAddIncoming(r->phi[i], chain_slot(s, i), &last, 1);
  LLVMPositionBuilderAtEnd(l->b, after);
}

/* Loop level `level`; afterwards the pointers stand behind the last iteration. */
static void emit_level(const tile_code *t, chain *s, int level) {
  const nest *n = t->n;
  if (level == t->loops) {
    emit_unrolled(t, s, level, 0, 0);
    return;
  }
  bool innermost = level == t->loops - 1;
  int64_t unroll = innermost ? t->unroll : 1, da = n->a[level], db = n->b[level], rest = n->extent[level] % unroll;
  repeat r;
  repeat_begin(t, &r, s, n->extent[level] / unroll);
  if (innermost) {
    for (int64_t u = 0; u < unroll; u++) emit_unrolled(t, s, level + 1, u * da, u * db);
    advance(t, s, unroll * da, unroll * db);
  } else {
    int64_t in = n->extent[level + 1];
    emit_level(t, s, level + 1);
    advance(t, s, da - in * n->a[level + 1], db - in * n->b[level + 1]);
  }
  repeat_end(t, &r, s);
  for (int64_t u = 0; u < rest; u++) emit_unrolled(t, s, level + 1, u * da, u * db);
  if (rest) advance(t, s, rest * da, rest * db);
}

/* Which levels stay loops and how far the innermost is unrolled: about BODY_FMA instructions, evenly if that costs less
 * than half. */
static void choose_unroll(tile_code *t) {
  int64_t fma = t->pixels * t->blocks * lt_tile_vectors(t->c->l->target, t->c->k->acc);
  int64_t lane_loads = t->c->x->b.stride[t->c->cut.lane] == 1 ? 0 : t->blocks * LT_LANES;
  int64_t body = t->c->l->target->small ? SMALL_BODY_FMA : BODY_FMA;
  int64_t budget = LT_MAX(1, body / (fma + lane_loads)), unit = 1;
  t->loops = t->n->n;
  while (t->loops > 0 && unit * t->n->extent[t->loops - 1] <= budget) unit *= t->n->extent[--t->loops];
  t->unroll = 1;
  if (t->loops == 0) return;
  int64_t extent = t->n->extent[t->loops - 1], most = LT_MIN(extent, budget / unit);
  t->unroll = most;
  for (int64_t u = most; 2 * u > most; u--) {
    if (extent % u) continue;
    t->unroll = u;
    return;
  }
}

/* sum (NULL: 0) + Σ stride·at. */
static LLVMValueRef affine(lt_ll *l, LLVMValueRef sum, const int64_t *stride, LLVMValueRef const *at, int n) {
  for (int d = 0; d < n; d++) {
    if (!stride[d] || !at[d] || (LLVMIsAConstantInt(at[d]) && LLVMConstIntGetSExtValue(at[d]) == 0)) continue;
    LLVMValueRef part = LLVMBuildMul(l->b, at[d], lt_ll_i64(l, stride[d]), "");
    sum = sum ? LLVMBuildAdd(l->b, sum, part, "") : part;
  }
  return sum;
}

static void emit_chain(tile_code *t, chain *s, const lt_bufs *bufs, LLVMValueRef const *at) {
  contraction *c = t->c;
  lt_ll *l = c->l;
  LLVMValueRef a = affine(l, NULL, c->x->a.stride, at, c->cut.lane);
  LLVMValueRef b = affine(l, NULL, c->x->b.stride, at, c->k->n_dims);
  for (int64_t i = 0; i < t->pixels * t->blocks; i++) s->acc[i] = LLVMConstNull(lt_ll_vec(l, c->k->acc));
  for (unsigned i = 0; i < c->x->n_seg; i++) {
    const lt_kseg *g = &c->x->seg[i];
    nest n = nest_of(g);
    t->n = &n;
    choose_unroll(t);
    s->a = lt_ll_at(l, bufs->own[A], a, c->k->dtype, c->x->a.offset + g->a_offset);
    LLVMValueRef own_b = affine(l, b, g->b_dim, at, c->k->n_dims);
    s->b = lt_ll_at(l, bufs->own[B], own_b, c->k->dtype, c->x->b.offset + g->b_offset);
    emit_level(t, s, 0);
  }
}

/* ---- micro-kernels --------------------------------------------------------------------------------------------- */

static LLVMValueRef plus(lt_ll *l, LLVMValueRef v, int64_t n) {
  return n ? LLVMBuildAdd(l->b, v, lt_ll_i64(l, n), "") : v;
}

/* Row and column of pixel p, relative to the tile's first one. */
static void pixel_at(const contraction *c, const micro_kernel *u, int64_t p, int64_t *row, int64_t *col) {
  *row = (u->phase + p) / c->cut.cols;
  *col = (u->phase + p) % c->cut.cols - u->phase;
}

/* To tiles of whole blocks the kernel has no narrow last block, so that their epilogue need not ask at each store
 * whether it is there. 40 channels are blocks of 16, 16 and 8 lanes:
 *   a tile of blocks 0 and 1   is told of 2 blocks, and all lanes exist
 *   a tile of block 2          is told of 3, and 8 lanes exist by its own shape */
static lt_kernel without_tail(const contraction *c, const micro_kernel *u) {
  lt_kernel k = *c->k;
  if (c->cut.tail_matters && u->lanes == LT_LANES && c->cut.block != LT_NONE) k.extent[c->cut.block]--;
  return k;
}

/* Instructions of the epilogue at one point, about. */
static int64_t access_cost(const lt_access *x, int lane) {
  bool strided = x->stride[lane] != 0 && x->stride[lane] != 1;
  for (unsigned i = 0; i < x->n_index; i++) strided |= x->index[i].coef[lane] != 0;
  return strided ? 2 * LT_LANES : 1 + x->n_index * 8;
}

static int64_t epilogue_cost(const lt_kernel *k) {
  int64_t sum = 0;
  for (uint32_t i = 0; i < k->n_store; i++) sum += access_cost(&k->store[i].to, k->n_dims - 1);
  for (uint32_t i = 0; i < k->n_expr; i++) {
    const lt_instr *x = &k->expr[i];
    if (x->kind == LT_X_LOAD) sum += access_cost(&k->access[x->access], k->n_dims - 1);
    else if (x->kind == LT_X_MAP) sum += lt_op_table[x->op].rounds == LT_ROUNDS_CURVE ? 40 : 1;
  }
  return sum;
}

/* The epilogue of block b of the pixel at (row, col) from the tile's first one. */
static void emit_point(tile_code *t, const lt_kernel *seen, const lt_bufs *bufs, LLVMValueRef const *at,
                       LLVMValueRef row, LLVMValueRef col, int64_t b, const LLVMValueRef *sum) {
  const contraction *c = t->c;
  lt_ll *l = c->l;
  lt_point point = {.lanes = b == t->blocks - 1 ? t->lanes : LT_LANES};
  memcpy(point.i, at, sizeof point.i);
  if (c->cut.row != LT_NONE) point.i[c->cut.row] = LLVMBuildAdd(l->b, at[c->cut.row], row, "");
  if (c->cut.col != LT_NONE) point.i[c->cut.col] = LLVMBuildAdd(l->b, at[c->cut.col], col, "");
  if (c->cut.block != LT_NONE) point.i[c->cut.block] = plus(l, at[c->cut.block], b);
  else point.i[c->cut.lane] = plus(l, at[c->cut.lane], b * LT_LANES);
  lt_emit_epilogue(l, seen, bufs, &point, sum, NULL);
}

/* An epilogue of many instructions stands in a loop over the pixels, the accumulators in the frame: written out for
 * each of them it would take LLVM longer than all the rest. The counter stands in memory, where LLVM's strength
 * reduction does not follow it: it would weigh every combination of the strided addresses (90 ms for one kernel). */
static void emit_store_loop(tile_code *t, const micro_kernel *u, chain *s, const lt_bufs *bufs, LLVMValueRef const *at,
                            LLVMValueRef tile) {
  contraction *c = t->c;
  lt_ll *l = c->l;
  lt_kernel seen = without_tail(c, u);
  LLVMTypeRef vec = lt_ll_vec(l, c->k->acc);
  for (int64_t i = 0; i < t->pixels * t->blocks; i++)
    LLVMBuildStore(l->b, s->acc[i], lt_ll_at(l, tile, NULL, c->k->acc, i * LT_LANES));
  LLVMValueRef counter = LLVMBuildAlloca(l->b, l->i64, ""), end = lt_ll_i64(l, t->pixels);
  LLVMBuildStore(l->b, lt_ll_i64(l, 0), counter);
  LLVMBasicBlockRef body = lt_ll_block(l), after = lt_ll_block(l);
  LLVMBuildBr(l->b, body);
  LLVMPositionBuilderAtEnd(l->b, body);
  LLVMValueRef p = LLVMBuildLoad2(l->b, l->i64, counter, ""), next = plus(l, p, 1);
  LLVMBuildStore(l->b, next, counter);
  LLVMValueRef flat = plus(l, p, u->phase), cols = lt_ll_i64(l, c->cut.cols);
  LLVMValueRef row = LLVMBuildUDiv(l->b, flat, cols, "");
  LLVMValueRef col = plus(l, LLVMBuildURem(l->b, flat, cols, ""), -u->phase);
  if (u->phase == 0 && t->pixels <= c->cut.cols) row = lt_ll_i64(l, 0), col = p;
  LLVMValueRef from = LLVMBuildMul(l->b, p, lt_ll_i64(l, t->blocks * LT_LANES), "");
  for (int64_t b = 0; b < t->blocks; b++) {
    LLVMValueRef sum = LLVMBuildLoad2(l->b, vec, lt_ll_at(l, tile, from, c->k->acc, b * LT_LANES), "");
    emit_point(t, &seen, bufs, at, row, col, b, &sum);
  }
  LLVMBuildCondBr(l->b, LLVMBuildICmp(l->b, LLVMIntULT, next, end, ""), body, after);
  LLVMPositionBuilderAtEnd(l->b, after);
}

static void emit_store(tile_code *t, const micro_kernel *u, chain *s, const lt_bufs *bufs, LLVMValueRef const *at) {
  contraction *c = t->c;
  lt_kernel seen = without_tail(c, u);
  for (int64_t p = 0; p < t->pixels; p++) {
    int64_t row, col;
    pixel_at(c, u, p, &row, &col);
    for (int64_t b = 0; b < t->blocks; b++)
      emit_point(t, &seen, bufs, at, lt_ll_i64(c->l, row), lt_ll_i64(c->l, col), b, &s->acc[p * t->blocks + b]);
  }
}

static void emit_tile(contraction *c, const micro_kernel *u) {
  lt_ll *l = c->l;
  tile_code t = {.c = c, .pixels = u->len, .blocks = u->blocks, .lanes = u->lanes};
  LLVMValueRef at[LT_MAX_DIMS] = {0};
  for (int d = 0; d < c->k->n_dims; d++) at[d] = LLVMGetParam(l->fn, (unsigned)d + 1);
  for (int64_t p = 0; p < u->len; p++) {
    int64_t row, col;
    pixel_at(c, u, p, &row, &col);
    t.pixel_a[p] = (c->cut.row == LT_NONE ? 0 : row * c->x->a.stride[c->cut.row]) +
                   (c->cut.col == LT_NONE ? 0 : col * c->x->a.stride[c->cut.col]);
  }
  for (int d = 0; d < c->k->n_dims; d++) {
    bool fixed = d == c->cut.lane ? c->cut.block != LT_NONE || c->cut.blocks == 1 : c->k->extent[d] == 1;
    if (fixed) at[d] = lt_ll_i64(l, 0);
  }
  lt_bufs bufs;
  chain s;
  int64_t sums = t.pixels * t.blocks;
  bool looped = t.pixels > 1 && sums * epilogue_cost(c->k) > EPILOGUE;
  LLVMTypeRef frame = LLVMArrayType2(lt_ll_vec(l, c->k->acc), (uint64_t)sums);
  LLVMValueRef tile = looped ? LLVMBuildAlloca(l->b, frame, "") : NULL;
  lt_emit_buffers(l, &bufs, c->k, LLVMGetParam(l->fn, 0));
  emit_chain(&t, &s, &bufs, at);
  lt_emit_buffers(l, &bufs, c->k, LLVMGetParam(l->fn, 0)); /* again: these pointers need not live through K */
  if (looped) emit_store_loop(&t, u, &s, &bufs, at, tile);
  else emit_store(&t, u, &s, &bufs, at);
  LLVMBuildRetVoid(l->b);
}

static void copy_attributes(lt_ll *l, LLVMValueRef to, LLVMValueRef from) {
  unsigned n = LLVMGetAttributeCountAtIndex(from, (LLVMAttributeIndex)LLVMAttributeFunctionIndex);
  LLVMAttributeRef *all = lt_arena_array(l->arena, n, sizeof *all);
  LLVMGetAttributesAtIndex(from, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, all);
  for (unsigned i = 0; i < n; i++) LLVMAddAttributeAtIndex(to, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, all[i]);
  unsigned noinline_kind = LLVMGetEnumAttributeKindForName("noinline", 8);
  LLVMAddAttributeAtIndex(to, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                          LLVMCreateEnumAttribute(l->ctx, noinline_kind, 0));
}

static LLVMValueRef micro_kernel_for(contraction *c, int64_t len, int64_t phase, int64_t blocks, unsigned lanes) {
  lt_ll *l = c->l;
  for (uint32_t i = 0; i < c->micro.n; i++) {
    micro_kernel *u = &c->micro.at[i];
    if (u->len == len && u->phase == phase && u->blocks == blocks && u->lanes == lanes) return u->fn;
  }
  size_t name_len;
  const char *name = LLVMGetValueName2(c->kernel, &name_len);
  micro_kernel u = {len, phase, blocks, lanes, NULL};
  u.fn = LLVMAddFunction(l->mod, lt_arena_printf(l->arena, "%s.t%u", name, c->micro.n), c->micro_type);
  LLVMSetLinkage(u.fn, LLVMInternalLinkage);
  copy_attributes(l, u.fn, c->kernel);
  LLVMBasicBlockRef back = LLVMGetInsertBlock(l->b);
  l->fn = u.fn;
  LLVMPositionBuilderAtEnd(l->b, LLVMAppendBasicBlockInContext(l->ctx, u.fn, ""));
  emit_tile(c, &u);
  l->fn = c->kernel;
  LLVMPositionBuilderAtEnd(l->b, back);
  lt_vec_push(l->arena, &c->micro, u);
  return u.fn;
}

/* ---- the kernel function --------------------------------------------------------------------------------------- */

static void call_tile(contraction *c, LLVMValueRef fn) {
  LLVMValueRef arg[LT_MAX_DIMS + 1] = {c->bufs};
  for (int d = 0; d < c->k->n_dims; d++) arg[d + 1] = c->at[d];
  LLVMBuildCall2(c->l->b, c->micro_type, fn, arg, c->k->n_dims + 1u, "");
}

static void set_pixel(contraction *c, LLVMValueRef row, LLVMValueRef col) {
  if (c->cut.row != LT_NONE) c->at[c->cut.row] = row;
  if (c->cut.col != LT_NONE) c->at[c->cut.col] = col;
}

static bool same_shape(const contraction *c, lt_tile a, lt_tile b) {
  return a.len == b.len && lt_tile_phase(a, c->cut.cols) == lt_tile_phase(b, c->cut.cols);
}

/* The tiles of `rows` rows from row `first`. Runs of equal ones along a row (or down a single column) become a loop. */
static void emit_tiles(contraction *c, LLVMValueRef first, int64_t rows, int64_t blocks, unsigned lanes) {
  lt_ll *l = c->l;
  int64_t cols = c->cut.cols, n = lt_tile_count(&c->tiling, rows, cols);
  for (int64_t i = 0, run; i < n; i += run) {
    lt_tile t = lt_tile_at(&c->tiling, rows, cols, i);
    LLVMValueRef fn = micro_kernel_for(c, t.len, lt_tile_phase(t, cols), blocks, lanes);
    for (run = 1; i + run < n; run++) {
      lt_tile u = lt_tile_at(&c->tiling, rows, cols, i + run);
      if (!same_shape(c, t, u) || (cols > 1 && u.start / cols != t.start / cols)) break;
    }
    int64_t row = t.start / cols, col = t.start % cols;
    if (run < 3) {
      run = 1;
      set_pixel(c, plus(l, first, row), lt_ll_i64(l, col));
      call_tile(c, fn);
      continue;
    }
    lt_ll_loop q = {0};
    LLVMValueRef from = cols == 1 ? plus(l, first, row) : lt_ll_i64(l, col), to = plus(l, from, run * t.len);
    lt_ll_loop_begin(l, &q, from, to, t.len);
    set_pixel(c, cols == 1 ? q.i : plus(l, first, row), cols == 1 ? lt_ll_i64(l, 0) : q.i);
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

/* All rows of the task, `blocks` blocks from at[block]. */
static void emit_rows(contraction *c, LLVMValueRef from, LLVMValueRef to, int64_t blocks, unsigned lanes) {
  lt_ll *l = c->l;
  int64_t g = c->tiling.group, task = c->cut.task_rows, last = c->cut.rows - (c->cut.row_groups - 1) * task;
  int64_t rest[2] = {last % g, c->cut.row_groups > 1 ? task % g : 0};
  LLVMValueRef whole = LLVMBuildSub(l->b, to, from, "");
  whole = LLVMBuildAdd(l->b, from, LLVMBuildSub(l->b, whole, LLVMBuildURem(l->b, whole, lt_ll_i64(l, g), ""), ""), "");
  if (LT_MAX(task, last) >= g) {
    lt_ll_loop q = {0};
    lt_ll_loop_begin(l, &q, from, whole, g);
    emit_tiles(c, q.i, g, blocks, lanes);
    lt_ll_loop_end(l, &q);
  }
  for (int i = 0; i < 2; i++) {
    if (!rest[i] || (i == 1 && rest[1] == rest[0])) continue;
    LLVMBasicBlockRef after = if_equal(l, LLVMBuildSub(l->b, to, whole, ""), rest[i]);
    emit_tiles(c, whole, rest[i], blocks, lanes);
    end_if(l, after);
  }
}

static void set_block(contraction *c, LLVMValueRef b) {
  if (c->cut.block != LT_NONE) c->at[c->cut.block] = b;
  else c->at[c->cut.lane] = LLVMBuildMul(c->l->b, b, lt_ll_i64(c->l, LT_LANES), "");
}

static LLVMValueRef smaller(lt_ll *l, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildSelect(l->b, LLVMBuildICmp(l->b, LLVMIntULT, a, b, ""), a, b, "");
}

/* Groups of tiling.blocks blocks, then what is left of this task: the last block of all may be a narrow one. */
static void emit_blocks(contraction *c, LLVMValueRef group, LLVMValueRef row_from, LLVMValueRef row_to) {
  lt_ll *l = c->l;
  const lt_cut *t = &c->cut;
  int64_t nb = c->tiling.blocks, narrow = t->tail_matters;
  int64_t last = t->blocks - (t->block_groups - 1) * t->task_blocks - narrow;
  LLVMValueRef from = LLVMBuildMul(l->b, group, lt_ll_i64(l, t->task_blocks), "");
  LLVMValueRef to = smaller(l, plus(l, from, t->task_blocks), lt_ll_i64(l, t->blocks - narrow));
  LLVMValueRef many = LLVMBuildSub(l->b, to, from, "");
  LLVMValueRef whole =
    LLVMBuildAdd(l->b, from, LLVMBuildSub(l->b, many, LLVMBuildURem(l->b, many, lt_ll_i64(l, nb), ""), ""), "");
  if (LT_MAX(last, t->block_groups > 1 ? t->task_blocks : 0) >= nb) {
    lt_ll_loop q = {0};
    lt_ll_loop_begin(l, &q, from, whole, nb);
    set_block(c, q.i);
    emit_rows(c, row_from, row_to, nb, LT_LANES);
    lt_ll_loop_end(l, &q);
  }
  set_block(c, whole);
  if (last % nb + narrow > 0) {
    LLVMBasicBlockRef after = if_equal(l, group, t->block_groups - 1);
    emit_rows(c, row_from, row_to, last % nb + narrow, narrow ? t->tail : LT_LANES);
    end_if(l, after);
  }
  if (t->block_groups > 1 && t->task_blocks % nb) {
    LLVMValueRef inner = LLVMBuildICmp(l->b, LLVMIntULT, group, lt_ll_i64(l, t->block_groups - 1), "");
    LLVMBasicBlockRef after = if_equal(l, LLVMBuildZExt(l->b, inner, l->i64, ""), 1);
    emit_rows(c, row_from, row_to, t->task_blocks % nb, LT_LANES);
    end_if(l, after);
  }
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
  LLVMTypeRef param[LT_MAX_DIMS + 1] = {l->ptr};
  for (int d = 0; d < k->n_dims; d++) param[d + 1] = l->i64, c.at[d] = lt_ll_i64(l, 0);
  c.micro_type = LLVMFunctionType(l->void_, param, k->n_dims + 1u, 0);
  c.bufs = LLVMGetParam(l->fn, 0);
  LLVMValueRef task = LLVMGetParam(l->fn, 1), blocks = NULL, rows;
  if (!c.cut.blocks_first) blocks = take(l, &task, c.cut.block_groups);
  rows = take(l, &task, c.cut.row_groups);
  for (int i = c.cut.n_outer - 1; i >= 0; i--) c.at[c.cut.outer_dim[i]] = take(l, &task, k->extent[c.cut.outer_dim[i]]);
  if (c.cut.blocks_first) blocks = c.cut.block_groups == 1 ? lt_ll_i64(l, 0) : task;
  LLVMValueRef from = LLVMBuildMul(l->b, rows, lt_ll_i64(l, c.cut.task_rows), "");
  emit_blocks(&c, blocks, from, smaller(l, plus(l, from, c.cut.task_rows), lt_ll_i64(l, c.cut.rows)));
}
