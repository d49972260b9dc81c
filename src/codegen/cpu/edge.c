/* edge.c: which pixels leave out what of K, and what becomes of them where B is not finite (edge.h). */
#include "codegen/cpu/edge.h"
#include "codegen/cpu/blank.h"

_Static_assert(LT_TILE_MAX <= 32, "a bit for each pixel");
/* Of the products at all columns: fewer are not worth the code. A tile of whole rows is one function for all rows;
 * parts of rows are one for each place in a row, and alike without this. */
static const double LEAST_LEFT_OUT = 0.03, LEAST_OF_PARTS = 0.06;

/* ---- finding them ---------------------------------------------------------------------------------------------- */

/* Are the columns of the tile's pixels the same wherever it is used? */
static bool columns_known(const lt_rtile *r) {
  const lt_cut *c = r->cut;
  return c->col != LT_NONE && c->cols > 1 && c->plane == LT_NONE && (r->phase != 0 || r->len >= c->cols);
}

/* Does the border depend on nothing but the column, and on a dim of K that is walked whole in each run? */
static bool only_by_column(const lt_rtile *r, const lt_kborder *e) {
  const lt_contract *x = r->k->contract;
  for (int d = 0; d < r->k->n_dims; d++)
    if (e->coef[d] && d != r->cut->col && r->k->extent[d] > 1) return false;
  for (unsigned i = 0; i < x->n_seg; i++)
    if (x->cut && x->seg[i].n - e->back <= x->seg[i].run.dim) return false;
  return e->coef[r->cut->col] != 0;
}

static bool is_outside(const lt_rtile *r, const lt_kborder *e, int64_t col, int64_t i) {
  const int64_t at = e->add + e->coef[r->cut->col] * col + i * e->step;
  return at < 0 || at >= e->size;
}

static bool worth(const lt_rtile *r, const lt_kborder *e, int64_t all) {
  const int64_t cols = r->cut->cols;
  int64_t n = 0;
  for (int64_t i = 0; i < all; i++)
    for (int64_t col = 0; col < cols; col++) n += is_outside(r, e, col, i);
  const bool rows = r->phase == 0 && r->len % cols == 0;
  return (double)n >= (rows ? LEAST_LEFT_OUT : LEAST_OF_PARTS) * (double)(all * cols);
}

static const lt_kedge *edge_at(const lt_rtile *r, const lt_kborder *e) {
  const lt_kseg *g = &r->k->contract->seg[0];
  const int64_t all = g->extent[g->n - e->back];
  uint32_t *out = LT_NEW_ARRAY(r->l->arena, uint32_t, (size_t)all), any = 0;
  int64_t whole = 0;
  if (!worth(r, e, all)) return NULL;
  for (int64_t i = 0; i < all; any |= out[i++])
    for (int64_t p = 0; p < r->len; p++)
      if (is_outside(r, e, (r->phase + p) % r->cut->cols, i)) out[i] |= UINT32_C(1) << p;
  while (whole < r->len && any >> whole & 1) whole++;
  if (!any || whole == r->len) return NULL;
  lt_kedge *edge = LT_NEW(r->l->arena, lt_kedge);
  *edge = (lt_kedge){e->back, all, whole, out};
  return edge;
}

const lt_kedge *lt_edge_of(const lt_rtile *r) {
  const lt_contract *x = r->k->contract;
  const lt_kedge *edge = NULL;
  if (!columns_known(r)) return NULL;
  for (unsigned i = 0; i < x->n_border && !edge; i++)
    if (only_by_column(r, &x->border[i])) edge = edge_at(r, &x->border[i]);
  return edge;
}

/* ---- what they left out ---------------------------------------------------------------------------------------- */

/* One look: the sums, and where those of pixel p stand. */
typedef struct look { lt_ll *l; const lt_ktile *t; LLVMValueRef const *at; LLVMValueRef frame, *sum; } look;

static LLVMValueRef in_frame(const look *o, LLVMValueRef frame, int64_t i) {
  return lt_ll_at(o->l, frame, NULL, o->t->k->acc, i * LT_LANES);
}

static LLVMValueRef vector(const look *o, LLVMValueRef frame, int64_t i) {
  return LLVMBuildLoad2(o->l->b, lt_ll_vec(o->l, o->t->k->acc), in_frame(o, frame, i), "");
}

static LLVMValueRef sum_of(const look *o, int64_t pixel, int64_t block) {
  const int64_t i = pixel * o->t->blocks + block;
  return o->sum ? o->sum[i] : vector(o, o->frame, i);
}

/* Is any sum of the pixel that has all of K not finite? */
static LLVMValueRef any_not_finite(const look *o) {
  lt_ll *l = o->l;
  LLVMValueRef all = NULL;
  for (int64_t i = 0; i < o->t->blocks; i++) {
    LLVMValueRef v = sum_of(o, o->t->edge->whole, i), zero = LLVMBuildFSub(l->b, v, v, "");
    all = all ? LLVMBuildFAdd(l->b, all, zero, "") : zero;
  }
  LLVMValueRef nan = LLVMBuildFCmp(l->b, LLVMRealUNO, all, all, "");
  LLVMTypeRef bits = LLVMIntTypeInContext(l->ctx, LT_LANES);
  nan = LLVMBuildBitCast(l->b, nan, bits, "");
  return LLVMBuildICmp(l->b, LLVMIntNE, nan, LLVMConstNull(bits), "");
}

/* The iterations that pixel p walks: [lo, lo + n). */
static void walked(const lt_kedge *e, int64_t p, int64_t *lo, int64_t *n) {
  for (*lo = 0; *lo < e->all && e->out[*lo] >> p & 1;) ++*lo;
  for (*n = 0; *lo + *n < e->all && !(e->out[*lo + *n] >> p & 1);) ++*n;
}

/* To the sums of the pixels that walk [lo, lo + n): 0·B of what they left out. */
static void add_blank(const look *o, LLVMValueRef *sum, int64_t lo, int64_t n) {
  lt_ll *l = o->l;
  const lt_ktile *t = o->t;
  const lt_contract *x = t->k->contract;
  const lt_kspan own = {t->edge->back, t->edge->all, lt_ll_i64(l, lo), lt_ll_i64(l, n)};
  for (int64_t i = 0; i < t->blocks; i++)
    LLVMBuildStore(l->b, LLVMConstNull(lt_ll_vec(l, t->k->acc)), in_frame(o, t->blank, i));
  for (unsigned i = 0; i < x->n_seg; i++)
    lt_emit_blank_beside(l, t, &x->seg[i], lt_segment_at(l, t, &x->seg[i], o->at).b, t->blank, &own);
  for (int64_t p = 0, from, many; p < t->pixels; p++) {
    walked(t->edge, p, &from, &many);
    for (int64_t i = 0; from == lo && many == n && i < t->blocks; i++) {
      LLVMValueRef v = LLVMBuildFAdd(l->b, sum_of(o, p, i), vector(o, t->blank, i), "");
      if (sum) sum[p * t->blocks + i] = v;
      else LLVMBuildStore(l->b, v, in_frame(o, o->frame, p * t->blocks + i));
    }
  }
}

static bool first_alike(const lt_kedge *e, int64_t p, int64_t lo, int64_t n) {
  for (int64_t q = 0, from, many; q < p; q++) {
    walked(e, q, &from, &many);
    if (from == lo && many == n) return false;
  }
  return true;
}

void lt_emit_edge_blank(lt_ll *l, const lt_ktile *t, LLVMValueRef const *at, LLVMValueRef frame, LLVMValueRef *sum) {
  const look o = {l, t, at, frame, sum};
  const int64_t sums = t->pixels * t->blocks;
  LLVMValueRef now[LT_TILE_MAX];
  for (int64_t i = 0; sum && i < sums; i++) now[i] = sum[i];
  LLVMValueRef rare = any_not_finite(&o);
  LLVMBasicBlockRef from = LLVMGetInsertBlock(l->b), looking = lt_ll_block(l), after = lt_ll_block(l);
  LLVMBuildCondBr(l->b, rare, looking, after);
  LLVMPositionBuilderAtEnd(l->b, looking);
  for (int64_t p = 0, lo, n; p < t->pixels; p++) {
    walked(t->edge, p, &lo, &n);
    if (n < t->edge->all && first_alike(t->edge, p, lo, n)) add_blank(&o, sum ? now : NULL, lo, n);
  }
  looking = LLVMGetInsertBlock(l->b);
  LLVMBuildBr(l->b, after);
  LLVMPositionBuilderAtEnd(l->b, after);
  for (int64_t i = 0; sum && i < sums; i++) {
    if (now[i] == sum[i]) continue;
    LLVMValueRef either = LLVMBuildPhi(l->b, LLVMTypeOf(now[i]), "");
    LLVMAddIncoming(either, (LLVMValueRef[]){sum[i], now[i]}, (LLVMBasicBlockRef[]){from, looking}, 2);
    sum[i] = either;
  }
}
