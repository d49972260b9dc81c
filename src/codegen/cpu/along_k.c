/* along_k.c: loops along K and what stands in them (along_k.h). */
#include "codegen/cpu/along_k.h"
#include "codegen/cpu/blank.h"
#include "codegen/cpu/edge.h"

/* Of a loop body: twice as many where it asks ahead, since each body asks for whole lines. */
enum { BODY_FMA = 64, AHEAD_BODY_FMA = 128, SMALL_BODY_FMA = 24, LEVELS = 4 };

/* Elements in both operands, and in A for what the tile asks for, which is the next tile's. */
typedef struct move { int64_t a, b, next; } move;

static move scaled(move m, int64_t n) { return (move){n * m.a, n * m.b, n * m.next}; }
static move both(move m, move n) { return (move){m.a + n.a, m.b + n.b, m.next + n.next}; }
static bool same_move(move m, move n) { return m.a == n.a && m.b == n.b && m.next == n.next; }

/* What a dim of K leaves out, for all pixels or for some; NULL: nothing. */
typedef struct gaps { const lt_kspan *span; const lt_kedge *edge; } gaps;

static bool whole(const gaps *o) { return !o->span && !o->edge; }

/* Dims of K that are walked together: those of extent 1 left out, adjacent ones that all walk evenly made one, but for
 * those with gaps. */
typedef struct nest {
  int n;
  int64_t extent[LEVELS];
  move by[LEVELS];
  gaps out[LEVELS];
} nest;

static void nest_add(nest *o, int64_t extent, move by, gaps out) {
  int p = o->n - 1;
  if (extent == 1) return;
  if (p >= 0 && whole(&out) && whole(&o->out[p]) && same_move(o->by[p], scaled(by, extent))) {
    o->extent[p] *= extent, o->by[p] = by;
    return;
  }
  o->extent[o->n] = extent, o->by[o->n] = by, o->out[o->n] = out;
  o->n++;
}

static gaps gaps_of(const lt_ktile *t, const lt_kseg *g, unsigned dim) {
  gaps out = {0};
  for (unsigned i = 0; i < t->n_span; i++)
    if (t->span[i].back == g->n - dim) out.span = &t->span[i];
  if (t->edge && t->edge->back == g->n - dim) out.edge = t->edge;
  return out;
}

/* The channels of a pixel are one line: while a tile walks them it asks for one pixel's of the next tile at each. */
static move move_along(const lt_ktile *t, const lt_kseg *g, unsigned i) {
  if (t->next_parts && i > 0) return (move){g->a_stride[i], g->b_stride[i], g->a_stride[i] / t->next_parts};
  bool line = t->next_pixel && i + 1u == g->n && g->a_stride[i] == 1;
  return (move){g->a_stride[i], g->b_stride[i], line ? t->next_pixel : g->a_stride[i]};
}

static void nest_dims(nest *o, const lt_ktile *t, const lt_kseg *g, unsigned from, unsigned to) {
  for (unsigned i = from; i < to; i++) nest_add(o, g->extent[i], move_along(t, g, i), gaps_of(t, g, i));
}

/* The state carried along K: pointers to both operands and to what is asked for ahead, and the accumulators
 * [pixel][block]; out: the pixels to which this part of K adds nothing, a bit each. */
typedef struct chain { LLVMValueRef a, b, ahead, next, acc[LT_TILE_MAX]; uint32_t out; } chain;

typedef struct tile_code {
  lt_ll *l;
  const lt_ktile *tile;
  const lt_kernel *k;
  const nest *n;
  int loops;      /* levels that stay loops; those behind are unrolled */
  int64_t unroll; /* of the innermost loop */
  int64_t sums;
  LLVMValueRef frame; /* totals of several runs */
  LLVMValueRef times; /* of the outermost loop, where it is known when it runs; NULL: its extent says */
} tile_code;

/* From the tile's first block of B to another. */
static int64_t block_at(const lt_ktile *t, int64_t block) {
  const lt_cut *cut = t->cut;
  const int64_t *stride = t->k->contract->b.stride, per = t->side_blocks;
  const int64_t step = cut->block == LT_NONE ? LT_LANES * stride[cut->lane] : stride[cut->block];
  return block % per * step + (cut->side == LT_NONE ? 0 : block / per * stride[cut->side]);
}

static LLVMValueRef load_b(lt_ll *l, const lt_ktile *t, LLVMValueRef at, int64_t block) {
  const lt_kernel *k = t->k;
  const lt_contract *x = k->contract;
  bool part = t->lanes < LT_LANES && block % t->side_blocks == t->side_blocks - 1;
  const bool missing = x->b_masked || x->b.masked || (k->block_dim == LT_NONE && !x->side_dim);
  unsigned lanes = part && missing ? t->lanes : LT_LANES;
  int64_t step = x->b.stride[t->cut->lane];
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
  if (step == 2) return lt_emit_every_second(l, at, k->dtype, lanes);
  LLVMValueRef v = LLVMConstNull(lt_ll_vec(l, k->dtype));
  for (unsigned i = 0; i < lanes; i++) {
    LLVMValueRef e = LLVMBuildLoad2(l->b, scalar, lt_ll_at(l, at, NULL, k->dtype, (int64_t)i * step), "");
    v = LLVMBuildInsertElement(l->b, v, e, lt_ll_i64(l, i), "");
  }
  return v;
}

static LLVMValueRef widen(lt_ll *l, const lt_kernel *k, LLVMValueRef v) {
  if (k->acc == k->dtype) return v;
  return LLVMBuildFPExt(l->b, v, lt_ll_vec(l, k->acc), "");
}

static LLVMValueRef emit_b(lt_ll *l, const lt_ktile *t, LLVMValueRef b, int64_t plus, int64_t block) {
  return widen(l, t->k, load_b(l, t, lt_ll_at(l, b, NULL, t->k->dtype, plus + block_at(t, block)), block));
}

static LLVMValueRef multiply_add(lt_ll *l, const lt_kernel *k, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum) {
  if (lt_is_float(k->acc)) return lt_ll_fma(l, a, b, sum);
  return LLVMBuildAdd(l->b, LLVMBuildMul(l->b, a, b, ""), sum, "");
}

/* The pointer may leave the buffer. */
static LLVMValueRef elements_on(const tile_code *t, LLVMValueRef from, int64_t n) {
  LLVMValueRef count = lt_ll_i64(t->l, n);
  return LLVMBuildGEP2(t->l->b, lt_ll_type(t->l, t->k->dtype), from, &count, 1, "");
}

/* One product for every accumulator, operands displaced. */
static void emit_step(const tile_code *t, chain *s, move d) {
  lt_ll *l = t->l;
  LLVMValueRef b[LT_TILE_MAX];
  int64_t blocks = t->tile->blocks;
  for (int64_t i = 0; i < blocks; i++) b[i] = emit_b(l, t->tile, s->b, d.b, i);
  if (s->next) lt_ll_prefetch(l, elements_on(t, s->next, d.next));
  for (int64_t p = 0; p < t->tile->pixels; p++) {
    if (s->out >> p & 1) continue;
    LLVMValueRef at = lt_ll_at(l, s->a, NULL, t->k->dtype, d.a + t->tile->pixel_a[p]);
    LLVMValueRef a = LLVMBuildLoad2(l->b, lt_ll_type(l, t->k->dtype), at, "");
    a = widen(l, t->k, lt_ll_splat(l, a, LT_LANES));
    for (int64_t i = 0; i < blocks; i++)
      s->acc[p * blocks + i] = multiply_add(l, t->k, a, b[i], s->acc[p * blocks + i]);
  }
}

/* Levels [level, n) unrolled completely. */
static void emit_unrolled(const tile_code *t, chain *s, int level, move d) {
  const nest *n = t->n;
  if (level == n->n) {
    emit_step(t, s, d);
    return;
  }
  for (int64_t i = 0; i < n->extent[level]; i++) emit_unrolled(t, s, level + 1, both(d, scaled(n->by[level], i)));
}

/* While `steps` rows of B are read, ask for their share of those that come later. */
static void ask_ahead(const tile_code *t, chain *s, int64_t steps) {
  if (!s->ahead) return;
  const lt_ktile *tile = t->tile;
  int64_t n = lt_ceil_div(steps * LT_LANES, tile->share), line = LT_ALIGN / (int64_t)lt_dtype_size(t->k->dtype);
  for (int64_t i = 0; i < tile->blocks; i++)
    for (int64_t at = 0; at < n; at += line) lt_ll_prefetch(t->l, elements_on(t, s->ahead, i * tile->panel + at));
  s->ahead = elements_on(t, s->ahead, n);
}

/* Iterations [from, from + many) of level `level` written out. */
static void emit_body(const tile_code *t, chain *s, int level, int64_t many) {
  const nest *n = t->n;
  int64_t steps = many;
  for (int i = level + 1; i < n->n; i++) steps *= n->extent[i];
  ask_ahead(t, s, steps);
  for (int64_t u = 0; u < many; u++) emit_unrolled(t, s, level + 1, scaled(n->by[level], u));
}

static void advance(const tile_code *t, chain *s, move d) {
  s->a = lt_ll_at(t->l, s->a, NULL, t->k->dtype, d.a);
  s->b = lt_ll_at(t->l, s->b, NULL, t->k->dtype, d.b);
  if (s->next) s->next = elements_on(t, s->next, d.next);
}

/* do … while (++i < times), the pointers and `sums` accumulators carried in phis. Written here and not with lt_ll_loop
 * since it must not be tested at its head: the back edge is the only branch of the hot loop. */
typedef struct repeat {
  LLVMValueRef i, end, phi[LT_TILE_MAX + 4];
  LLVMBasicBlockRef before, body;
  int64_t n;
} repeat;

/* The accumulators behind the pointers. */
static int64_t pointers(const chain *s) { return 2 + (s->ahead != NULL) + (s->next != NULL); }

static LLVMValueRef *chain_slot(chain *s, int64_t i) {
  if (i >= pointers(s)) return &s->acc[i - pointers(s)];
  return i == 0 ? &s->a : i == 1 ? &s->b : i == 2 && s->ahead ? &s->ahead : &s->next;
}

/* end: how often, where that is known when it runs. */
static void repeat_begin(const tile_code *t, repeat *r, chain *s, int64_t times, LLVMValueRef end, int64_t sums) {
  lt_ll *l = t->l;
  *r = (repeat){.end = end ? end : times == 1 ? NULL : lt_ll_i64(l, times), .n = pointers(s) + sums};
  if (!r->end) return;
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
  lt_ll *l = t->l;
  if (!r->end) return;
  LLVMBasicBlockRef last = LLVMGetInsertBlock(l->b), after = LLVMAppendBasicBlockInContext(l->ctx, l->fn, "");
  LLVMValueRef next = LLVMBuildNUWAdd(l->b, r->i, lt_ll_i64(l, 1), "");
  LLVMBuildCondBr(l->b, LLVMBuildICmp(l->b, LLVMIntULT, next, r->end, ""), r->body, after);
  LLVMAddIncoming(r->i, &next, &last, 1);
  for (int64_t i = 0; i < r->n; i++) LLVMAddIncoming(r->phi[i], chain_slot(s, i), &last, 1);
  LLVMPositionBuilderAtEnd(l->b, after);
}

/* From the first iteration of a level to the first one of its span. */
static void enter_span(const tile_code *t, chain *s, const lt_kspan *span, move by) {
  LLVMBuilderRef b = t->l->b;
  LLVMTypeRef type = lt_ll_type(t->l, t->k->dtype);
  LLVMValueRef *at[] = {&s->a, &s->b, &s->next};
  const int64_t step[] = {by.a, by.b, by.next};
  for (int i = 0; i < 3; i++) {
    LLVMValueRef n = LLVMBuildMul(b, span->lo, lt_ll_i64(t->l, step[i]), "");
    if (*at[i]) *at[i] = LLVMBuildGEP2(b, type, *at[i], &n, 1, "");
  }
}

/* Whatever was walked of a level, the pointers stand behind all of it, which began at `from`. */
static void leave_span(const tile_code *t, chain *s, const chain *from, move whole) {
  s->a = from->a, s->b = from->b, s->next = from->next;
  advance(t, s, whole);
}

static void emit_level(const tile_code *t, chain *s, int level);

/* A level whose iterations leave out some pixels: those in a row that leave out the same are a loop. */
static void emit_edge(const tile_code *t, chain *s, int level) {
  const nest *n = t->n;
  const uint32_t *out = n->out[level].edge->out;
  const bool innermost = level == t->loops - 1;
  for (int64_t i = 0, many; i < n->extent[level]; i += many) {
    for (many = 1; i + many < n->extent[level] && out[i + many] == out[i];) many++;
    repeat r;
    s->out = out[i];
    repeat_begin(t, &r, s, many, NULL, t->sums);
    if (innermost) emit_body(t, s, level, 1);
    else emit_level(t, s, level + 1);
    advance(t, s, innermost ? n->by[level] : both(n->by[level], scaled(n->by[level + 1], -n->extent[level + 1])));
    repeat_end(t, &r, s);
  }
  s->out = 0;
}

/* Loop level `level`; afterwards the pointers stand behind the last iteration. */
static void emit_level(const tile_code *t, chain *s, int level) {
  const nest *n = t->n;
  if (level == t->loops) {
    if (n->n > level) emit_body(t, s, level, n->extent[level]);
    else emit_unrolled(t, s, level, (move){0});
    return;
  }
  if (n->out[level].edge) {
    emit_edge(t, s, level);
    return;
  }
  bool innermost = level == t->loops - 1;
  int64_t unroll = innermost ? t->unroll : 1, rest = n->extent[level] % unroll;
  const lt_kspan *span = n->out[level].span;
  const chain from = *s;
  repeat r;
  if (span) enter_span(t, s, span, n->by[level]);
  repeat_begin(t, &r, s, n->extent[level] / unroll, span ? span->n : level ? NULL : t->times, t->sums);
  if (innermost) {
    emit_body(t, s, level, unroll);
    advance(t, s, scaled(n->by[level], unroll));
  } else {
    int64_t in = n->extent[level + 1];
    emit_level(t, s, level + 1);
    advance(t, s, both(n->by[level], scaled(n->by[level + 1], -in)));
  }
  repeat_end(t, &r, s);
  if (span) leave_span(t, s, &from, scaled(n->by[level], n->extent[level]));
  if (!rest) return;
  emit_body(t, s, level, rest);
  advance(t, s, scaled(n->by[level], rest));
}

/* Which levels stay loops and how far the innermost is unrolled: about BODY_FMA instructions, evenly if that costs less
 * than half. */
static void choose_unroll(tile_code *t, const nest *n) {
  int64_t fma = t->sums * lt_tile_vectors(t->l->target, t->k->acc);
  const int64_t step = t->k->contract->b.stride[t->tile->cut->lane];
  int64_t lane_loads = step == 1 ? 0 : t->tile->blocks * (step == 2 ? 3 : LT_LANES);
  int64_t body = t->l->target->small ? SMALL_BODY_FMA : t->tile->ahead ? AHEAD_BODY_FMA : BODY_FMA;
  int64_t budget = LT_MAX(1, body / (fma + lane_loads)), unit = 1;
  t->n = n;
  t->loops = n->n;
  while (t->loops > 0 && whole(&n->out[t->loops - 1]) && unit * n->extent[t->loops - 1] <= budget)
    unit *= n->extent[--t->loops];
  t->unroll = 1;
  if (t->loops == 0 || !whole(&n->out[t->loops - 1])) return;
  int64_t extent = n->extent[t->loops - 1], most = LT_MIN(extent, budget / unit);
  t->unroll = most;
  for (int64_t u = most; 2 * u > most; u--) {
    if (extent % u) continue;
    t->unroll = u;
    return;
  }
}

static void start(const tile_code *t, chain *s) {
  for (int64_t i = 0; i < t->sums; i++) s->acc[i] = LLVMConstNull(lt_ll_vec(t->l, t->k->acc));
}

/* ---- several runs ---------------------------------------------------------------------------------------------- */

/* A segment cut along one dim: `whole` runs of `per` iterations of it and one of `rest`, for each iteration of the dims
 * around. */
typedef struct cut_seg { nest around, run, last; int64_t whole, per, rest; move by; } cut_seg;

static cut_seg cut_seg_of(const lt_ktile *t, const lt_kseg *g) {
  unsigned d = g->run.dim;
  cut_seg c = {.per = g->run.per, .by = move_along(t, g, d)};
  c.whole = g->extent[d] / c.per, c.rest = g->extent[d] % c.per;
  /* what it leaves out is followed where each run is one iteration, or all of them are one run */
  const gaps out = gaps_of(t, g, d), none = {0};
  nest_dims(&c.around, t, g, 0, d);
  nest_add(&c.run, c.per, c.by, c.whole == 1 && !c.rest ? out : none), nest_dims(&c.run, t, g, d + 1, g->n);
  nest_add(&c.last, c.rest, c.by, none), nest_dims(&c.last, t, g, d + 1, g->n);
  if (c.rest) return c;
  nest_add(&c.around, c.whole, scaled(c.by, c.per), c.per == 1 ? out : none);
  c.whole = 1;
  return c;
}

static LLVMValueRef total_at(const tile_code *t, int64_t i) {
  return lt_ll_at(t->l, t->frame, NULL, t->k->acc, i * LT_LANES);
}

static LLVMValueRef load_total(const tile_code *t, int64_t i) {
  return LLVMBuildLoad2(t->l->b, lt_ll_vec(t->l, t->k->acc), total_at(t, i), "");
}

/* One run, and the totals have it; afterwards the pointers stand `d` on. */
static void emit_run(tile_code *t, chain *s, const nest *n, move d) {
  LLVMBuilderRef b = t->l->b;
  bool add = lt_is_float(t->k->acc);
  start(t, s);
  choose_unroll(t, n);
  emit_level(t, s, 0);
  for (int64_t i = 0; i < t->sums; i++) {
    LLVMValueRef total = load_total(t, i);
    total = add ? LLVMBuildFAdd(b, total, s->acc[i], "") : LLVMBuildAdd(b, total, s->acc[i], "");
    LLVMBuildStore(b, total, total_at(t, i));
  }
  bool moved = t->loops > 0;
  advance(t, s, moved ? both(d, scaled(n->by[0], -n->extent[0])) : d);
}

/* Iterations of the outermost loop in a run of `extent` iterations of the dim that is cut. */
static int64_t times_of(const tile_code *t, const cut_seg *c, int64_t extent) {
  return c->run.extent[0] / c->per * extent / (t->loops == 1 ? t->unroll : 1);
}

/* Can the last run be what the whole ones are, but for how often its outermost loop goes round? */
static bool last_alike(tile_code *t, const cut_seg *c) {
  const nest *n = &c->run;
  choose_unroll(t, n);
  if (!c->rest || t->loops == 0) return false;
  int64_t inner = n->extent[0] / c->per, unit = t->loops == 1 ? t->unroll : 1;
  bool along = n->extent[0] == inner * c->per && same_move(scaled(n->by[0], inner), c->by);
  return along && times_of(t, c, c->rest) > 0 && inner * c->rest % unit == inner * c->per % unit;
}

/* The whole runs and the last one in one loop: i takes what is left, at most as much as a whole one. */
static void emit_runs_alike(tile_code *t, chain *s, const cut_seg *c) {
  lt_ll *l = t->l;
  repeat r;
  const int64_t per = times_of(t, c, c->per), last = times_of(t, c, c->rest);
  LLVMValueRef most = lt_ll_i64(l, per);
  repeat_begin(t, &r, s, c->whole + 1, NULL, 0);
  LLVMValueRef left = LLVMBuildSub(l->b, lt_ll_i64(l, c->whole * per + last), LLVMBuildMul(l->b, r.i, most, ""), "");
  t->times = LLVMBuildSelect(l->b, LLVMBuildICmp(l->b, LLVMIntULT, left, most, ""), left, most, "");
  emit_run(t, s, &c->run, scaled(c->by, c->per));
  t->times = NULL;
  repeat_end(t, &r, s);
}

/* The runs one after the other; afterwards the pointers stand behind the last one. */
static void emit_runs(tile_code *t, chain *s, const cut_seg *c) {
  if (last_alike(t, c)) {
    emit_runs_alike(t, s, c);
    return;
  }
  repeat r;
  repeat_begin(t, &r, s, c->whole, NULL, 0);
  emit_run(t, s, &c->run, scaled(c->by, c->per));
  repeat_end(t, &r, s);
  if (c->rest) emit_run(t, s, &c->last, scaled(c->by, c->rest));
}

/* Level `level` of the dims around the runs; afterwards the pointers stand behind the last iteration. */
static void emit_around(tile_code *t, chain *s, const cut_seg *c, int level) {
  const nest *n = &c->around;
  if (level == n->n) {
    emit_runs(t, s, c);
    return;
  }
  bool innermost = level + 1 == n->n;
  int64_t runs = c->whole * c->per + c->rest;
  const lt_kspan *span = n->out[level].span;
  const chain from = *s;
  repeat r;
  if (span) enter_span(t, s, span, n->by[level]);
  repeat_begin(t, &r, s, n->extent[level], span ? span->n : NULL, 0);
  emit_around(t, s, c, level + 1);
  move inner = innermost ? scaled(c->by, runs) : scaled(n->by[level + 1], n->extent[level + 1]);
  advance(t, s, both(n->by[level], scaled(inner, -1)));
  repeat_end(t, &r, s);
  if (span) leave_span(t, s, &from, scaled(n->by[level], n->extent[level]));
}

/* ---- all of K -------------------------------------------------------------------------------------------------- */

static void emit_segment(tile_code *t, chain *s, const lt_kseg *g) {
  if (t->k->contract->cut) {
    cut_seg c = cut_seg_of(t->tile, g);
    emit_around(t, s, &c, 0);
    return;
  }
  nest n = {0};
  nest_dims(&n, t->tile, g, 0, g->n);
  choose_unroll(t, &n);
  emit_level(t, s, 0);
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

/* The first total of each block, to which the first run is added: with borders +0, or NaN (blank.h), without what
 * gives exactly that run, its zeros too. */
static LLVMValueRef first_total(const tile_code *t, bool borders) {
  LLVMTypeRef type = lt_ll_type(t->l, t->k->acc);
  if (borders || !lt_is_float(t->k->acc)) return LLVMConstNull(lt_ll_vec(t->l, t->k->acc));
  return lt_ll_splat(t->l, LLVMConstReal(type, -0.0), LT_LANES);
}

lt_koperands lt_segment_at(lt_ll *l, const lt_ktile *t, const lt_kseg *g, LLVMValueRef const *at) {
  const lt_contract *x = t->k->contract;
  LLVMValueRef a = affine(l, NULL, x->a.stride, at, t->cut->lane), b = affine(l, NULL, x->b.stride, at, t->k->n_dims);
  b = affine(l, b, g->b_dim, at, t->k->n_dims);
  return (lt_koperands){lt_ll_at(l, t->a, a, t->k->dtype, x->a.offset + g->a_offset),
                        lt_ll_at(l, t->b, b, t->k->dtype, x->b.offset + g->b_offset)};
}

static LLVMValueRef blank_at(const tile_code *t, int64_t block) {
  return lt_ll_at(t->l, t->tile->blank, NULL, t->k->acc, block * LT_LANES);
}

/* What is left out of K is looked at, unless B is known to be finite or nothing is left out. */
static void look_at_blank(const tile_code *t, LLVMValueRef const *at) {
  lt_ll *l = t->l;
  const lt_ktile *tile = t->tile;
  const lt_contract *x = t->k->contract;
  LLVMValueRef skip = tile->finite, all = NULL;
  for (int64_t i = 0; i < tile->blocks; i++) LLVMBuildStore(l->b, first_total(t, true), blank_at(t, i));
  for (unsigned i = 0; i < tile->n_span; i++)
    all = lt_ll_both(l, all, LLVMBuildICmp(l->b, LLVMIntEQ, tile->span[i].n, lt_ll_i64(l, tile->span[i].all), ""));
  skip = LLVMBuildOr(l->b, skip, all, "");
  LLVMBasicBlockRef look = lt_ll_block(l), after = lt_ll_block(l);
  LLVMBuildCondBr(l->b, skip, after, look);
  LLVMPositionBuilderAtEnd(l->b, look);
  for (unsigned i = 0; i < x->n_seg; i++)
    lt_emit_blank(l, tile, &x->seg[i], lt_segment_at(l, tile, &x->seg[i], at).b, tile->blank);
  LLVMBuildBr(l->b, after);
  LLVMPositionBuilderAtEnd(l->b, after);
}

/* What a block's totals begin with. */
static LLVMValueRef begins_with(const tile_code *t, int64_t block) {
  LLVMValueRef first = first_total(t, t->k->contract->n_border > 0);
  return t->tile->n_span ? LLVMBuildLoad2(t->l->b, LLVMTypeOf(first), blank_at(t, block), "") : first;
}

static void begin_totals(const tile_code *t, LLVMValueRef const *at) {
  LLVMValueRef first[LT_TILE_MAX];
  if (t->tile->n_span) look_at_blank(t, at);
  for (int64_t i = 0; t->k->contract->cut && i < t->sums; i++) {
    if (i < t->tile->blocks) first[i] = begins_with(t, i);
    LLVMBuildStore(t->l->b, first[i % t->tile->blocks], total_at(t, i));
  }
}

/* A run that was all of K: with borders, what its total begins with is added. */
static void end_single_run(const tile_code *t, chain *s) {
  LLVMValueRef first[LT_TILE_MAX];
  if (!t->k->contract->n_border || !lt_is_float(t->k->acc)) return;
  for (int64_t i = 0; i < t->sums; i++) {
    if (i < t->tile->blocks) first[i] = begins_with(t, i);
    s->acc[i] = LLVMBuildFAdd(t->l->b, s->acc[i], first[i % t->tile->blocks], "");
  }
}

void lt_emit_along_k(lt_ll *l, const lt_ktile *tile, LLVMValueRef const *at, LLVMValueRef frame, LLVMValueRef *sum) {
  const lt_kernel *k = tile->k;
  const lt_contract *x = k->contract;
  tile_code t = {.l = l, .tile = tile, .k = k, .sums = tile->pixels * tile->blocks, .frame = frame};
  chain s = {0};
  start(&t, &s);
  begin_totals(&t, at);
  if (tile->ahead) {
    LLVMValueRef b = affine(l, NULL, x->b.stride, at, k->n_dims);
    s.ahead = LLVMBuildGEP2(l->b, lt_ll_type(l, k->dtype), lt_ll_at(l, tile->b, b, k->dtype, x->b.offset),
                            (LLVMValueRef[]){tile->ahead}, 1, "");
  }
  for (unsigned i = 0; i < x->n_seg; i++) {
    const lt_koperands from = lt_segment_at(l, tile, &x->seg[i], at);
    s.a = from.a, s.b = from.b;
    if (tile->next_pixel || tile->next_parts) s.next = elements_on(&t, s.a, tile->next_lines);
    if (tile->next_parts)
      s.next = LLVMBuildGEP2(l->b, lt_ll_type(l, k->dtype), s.next, (LLVMValueRef[]){tile->part}, 1, "");
    emit_segment(&t, &s, &x->seg[i]);
  }
  if (!x->cut) end_single_run(&t, &s);
  for (int64_t i = 0; sum && i < t.sums; i++) sum[i] = x->cut ? load_total(&t, i) : s.acc[i];
  for (int64_t i = 0; !sum && !x->cut && i < t.sums; i++) LLVMBuildStore(l->b, s.acc[i], total_at(&t, i));
  if (tile->edge) lt_emit_edge_blank(l, tile, at, frame, sum);
}
