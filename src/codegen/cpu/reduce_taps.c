/* reduce_taps.c: some reduced elements of all points of a tile, as straight code.
 *
 * Elements go in the order in which they lie in memory along the operand that moves with points and elements alike, as
 * far as each sum keeps its order: a pixel's uses stand together, and few are alive at once. What several points read
 * is loaded once.
 *
 * A guard holds or fails for all that the code stands for, which is known, or it is asked: then the address is that of
 * the pixel or of zeros, one choice for all loads near each other. Padding takes part in a chain, as zeros. */
#include "codegen/cpu/reduce_tile.h"
#include "codegen/cpu/tile.h"

#include <stdlib.h>

enum { NEAR = 2048 }; /* bytes of zeros on either side of where a choice of address points */

typedef struct taken { int64_t element, order; unsigned point; } taken;
/* An element in memory; `pixel`: where its guarded coordinates are, since outside an image others begin. */
typedef struct place { int64_t instr, at, pixel[LT_MAX_INDEX]; } place;
typedef struct loaded { place at; LLVMValueRef value; } loaded;
/* The address for what is `at` on from it, where some guards are asked, whose displacements are `asked`. */
typedef struct chosen { uint32_t instr; int64_t asked[LT_MAX_INDEX], at; LLVMValueRef address; } chosen;

typedef struct straight {
  const lt_points *t;
  lt_reduction r; /* of the kernel without guards, its accesses' base pointers at the place where the code begins */
  lt_point p;
  LT_VEC(loaded) loaded;
  LT_VEC(chosen) chosen;
  /* of all 16 lanes those that are loaded now: a register's, where all that is done is products (in_registers) */
  unsigned first, lanes;
} straight;

/* ---- places ------------------------------------------------------------------------------------------------------ */

void lt_points_place(const lt_points *t, lt_point *p, unsigned j) {
  for (unsigned d = t->first + t->dims; d-- > t->first; j /= (unsigned)t->size[d]) p->plus[d] = j % t->size[d];
}

bool lt_points_differ(const lt_points *t, const lt_access *a) {
  bool any = a->n_index > 0;
  for (unsigned d = t->first; d < t->first + t->dims; d++) any |= a->stride[d] != 0;
  return any;
}

/* Element e of those that are written out: of reduced dims from `dim` on. */
static void place_element(const lt_kernel *k, lt_point *p, unsigned dim, int64_t e) {
  for (unsigned d = k->n_dims + k->n_rdims; d-- > k->n_dims + dim;) {
    int64_t n = d == k->n_dims + dim ? e + 1 : k->extent[d];
    p->plus[d] = e % n, e /= n;
  }
}

static int64_t displacement(const lt_kernel *k, const int64_t *by, int64_t sum, const lt_point *p) {
  for (unsigned d = 0; d < (unsigned)k->n_dims + k->n_rdims; d++) sum += by[d] * p->plus[d];
  return sum;
}

bool lt_points_flat(lt_kernel *flat, lt_arena *arena, const lt_kernel *k) {
  *flat = *k;
  flat->access = LT_NEW_ARRAY(arena, lt_access, k->n_access + 1u);
  memcpy(flat->access, k->access, k->n_access * sizeof *flat->access);
  for (uint32_t i = 0; i < k->n_rexpr; i++) {
    if (k->rexpr[i].kind != LT_X_LOAD) continue;
    lt_access *a = &flat->access[k->rexpr[i].access];
    for (unsigned j = 0; j < a->n_index; j++) {
      const lt_index *x = &a->index[j];
      if (x->div != 1 || x->coef[k->n_dims - 1] || a->masked || a->fill != 0) return false;
      for (int d = 0; d < LT_MAX_DIMS; d++) a->stride[d] += x->coef[d] * x->stride;
      a->offset += x->add * x->stride;
    }
    a->n_index = 0;
  }
  return true;
}

/* ---- guards ------------------------------------------------------------------------------------------------------ */

typedef enum known { HOLDS, FAILS, ASKED } known;

/* x's numerator is between these where dims go as `reach` says, `plus` on. */
static known known_of(const lt_kernel *k, const lt_index *x, const lt_reach *reach, int64_t plus) {
  int64_t lo = plus, hi = plus;
  for (unsigned d = 0; d < (unsigned)k->n_dims + k->n_rdims; d++) {
    int64_t a = x->coef[d] * reach[d].lo, b = x->coef[d] * reach[d].hi;
    lo += LT_MIN(a, b), hi += LT_MAX(a, b);
  }
  return hi < 0 || lo >= x->limit ? FAILS : lo >= 0 && hi < x->limit ? HOLDS : ASKED;
}

static bool holds_along(const lt_points *t, const lt_access *a, unsigned d, const lt_reach *reach) {
  for (unsigned j = 0; j < a->n_index; j++)
    if (a->index[j].coef[d] && known_of(t->r->k, &a->index[j], reach, a->index[j].add) != HOLDS) return false;
  return true;
}

bool lt_points_inside(const lt_points *t, unsigned d, lt_reach at) {
  const lt_kernel *k = t->r->k;
  lt_reach reach[LT_MAX_DIMS];
  for (unsigned i = 0; i < LT_MAX_DIMS; i++) reach[i] = (lt_reach){0, LT_MAX(k->extent[i] - 1, 0)};
  for (unsigned i = t->first; i < t->first + t->dims; i++) reach[i].hi = t->reach[i].hi + t->size[i] - 1;
  reach[d] = at;
  for (uint32_t i = 0; i < k->n_rexpr; i++)
    if (k->rexpr[i].kind == LT_X_LOAD && !holds_along(t, &k->access[k->rexpr[i].access], d, reach)) return false;
  return true;
}

/* Zeros on both sides of the address that it gives, one for all kernels of a module. */
static LLVMValueRef zeros(lt_ll *l) {
  LLVMTypeRef type = LLVMArrayType2(l->i8, 2 * NEAR + 2 * LT_LANES * sizeof(double));
  LLVMValueRef z = LLVMGetNamedGlobal(l->mod, "zeros");
  if (!z) {
    z = LLVMAddGlobal(l->mod, type, "zeros");
    LLVMSetInitializer(z, LLVMConstNull(type));
    LLVMSetGlobalConstant(z, true);
    LLVMSetLinkage(z, LLVMInternalLinkage);
    LLVMSetAlignment(z, LT_ALIGN);
  }
  return lt_ll_bytes_on(l, z, NEAR);
}

/* The guards that are asked, at p: all hold. */
static LLVMValueRef asked_hold(const straight *c, const lt_access *a, const bool *asked) {
  lt_ll *l = c->r.l;
  LLVMValueRef ok = NULL;
  for (unsigned j = 0; j < a->n_index; j++) {
    const lt_index *x = &a->index[j];
    LLVMValueRef at = lt_ll_i64(l, displacement(c->t->r->k, x->coef, x->add, &c->p));
    for (unsigned d = 0; asked[j] && d < LT_MAX_DIMS; d++)
      if (x->coef[d] && c->p.i[d])
        at = LLVMBuildAdd(l->b, at, LLVMBuildMul(l->b, c->p.i[d], lt_ll_i64(l, x->coef[d]), ""), "");
    if (asked[j]) ok = lt_ll_both(l, ok, LLVMBuildICmp(l->b, LLVMIntULT, at, lt_ll_i64(l, x->limit), ""));
  }
  return ok;
}

/* Where to load instruction i's elements, `at` on from its base pointer, some of its guards being asked. */
static LLVMValueRef chosen_address(straight *c, uint32_t i, const lt_access *a, const bool *asked, int64_t at) {
  lt_ll *l = c->r.l;
  const lt_dtype t = c->r.k->rexpr[i].dtype;
  chosen new = {.instr = i, .at = at};
  for (unsigned j = 0; j < a->n_index; j++)
    new.asked[j] = asked[j] ? displacement(c->t->r->k, a->index[j].coef, 0, &c->p) : INT64_MIN;
  for (uint32_t j = 0; j < c->chosen.n; j++) {
    const chosen *x = &c->chosen.at[j];
    const int64_t on = at - x->at, bytes = on * (int64_t)lt_dtype_size(t);
    if (x->instr == i && !memcmp(x->asked, new.asked, sizeof new.asked) && bytes <= NEAR && bytes >= -NEAR)
      return lt_ll_at(l, x->address, NULL, t, on);
  }
  LLVMValueRef pixel = lt_ll_at(l, c->r.bufs.access[c->r.k->rexpr[i].access], NULL, t, at);
  new.address = LLVMBuildSelect(l->b, asked_hold(c, a, asked), pixel, zeros(l), "");
  lt_vec_push(l->arena, &c->chosen, new);
  return new.address;
}

/* ---- loads ------------------------------------------------------------------------------------------------------- */

static LLVMValueRef load(straight *c, uint32_t i, int64_t at) {
  lt_ll *l = c->r.l;
  const lt_kernel *k = c->t->r->k;
  const lt_instr *x = &k->rexpr[i];
  const lt_access *a = &k->access[x->access];
  bool asked[LT_MAX_INDEX], any = false;
  for (unsigned j = 0; j < a->n_index; j++) {
    known what = known_of(k, &a->index[j], c->t->reach, displacement(k, a->index[j].coef, a->index[j].add, &c->p));
    if (what == FAILS) return LLVMConstNull(LLVMVectorType(lt_ll_type(l, x->dtype), c->lanes));
    any |= asked[j] = what == ASKED;
  }
  const lt_access *flat = &c->r.k->access[x->access];
  if (!any && c->lanes == LT_LANES)
    return lt_emit_load(l, c->r.k, c->r.bufs.access[x->access], flat, &c->p, k->n_dims - 1u, x->dtype, LT_GUARDS_HOLD);
  LLVMValueRef from =
    any ? chosen_address(c, i, a, asked, at) : lt_ll_at(l, c->r.bufs.access[x->access], NULL, x->dtype, at);
  LLVMTypeRef type = LLVMVectorType(lt_ll_type(l, x->dtype), c->lanes);
  LLVMValueRef v = LLVMBuildLoad2(l->b, type, lt_ll_at(l, from, NULL, x->dtype, c->first), "");
  LLVMSetAlignment(v, (unsigned)lt_dtype_size(x->dtype));
  return v;
}

static LLVMValueRef load_once(straight *c, uint32_t i) {
  const lt_kernel *k = c->t->r->k;
  const lt_access *a = &k->access[k->rexpr[i].access], *flat = &c->r.k->access[k->rexpr[i].access];
  loaded new = {{i, displacement(k, flat->stride, flat->offset, &c->p), {0}}, NULL};
  for (unsigned j = 0; j < a->n_index; j++) new.at.pixel[j] = displacement(k, a->index[j].coef, 0, &c->p);
  for (uint32_t j = 0; j < c->loaded.n; j++)
    if (!memcmp(&c->loaded.at[j].at, &new.at, sizeof new.at)) return c->loaded.at[j].value;
  new.value = load(c, i, new.at.at);
  lt_vec_push(c->r.l->arena, &c->loaded, new);
  return new.value;
}

/* ---- in which order ---------------------------------------------------------------------------------------------- */

/* The operand that moves with points and elements; NULL: none does. */
static const lt_access *shared_operand(const straight *c) {
  const lt_kernel *k = c->r.k;
  for (uint32_t i = 0; i < k->n_rexpr; i++) {
    const lt_access *a = k->rexpr[i].kind == LT_X_LOAD ? &k->access[k->rexpr[i].access] : NULL;
    if (a && lt_points_differ(c->t, a) && a->stride[k->n_dims + k->n_rdims - 1]) return a;
  }
  return NULL;
}

static int by_order(const void *a, const void *b) {
  const taken *x = a, *y = b;
  if (x->order != y->order) return x->order < y->order ? -1 : 1;
  if (x->element != y->element) return x->element < y->element ? -1 : 1;
  return x->point < y->point ? -1 : x->point > y->point;
}

/* `n` elements in a row of the last reduced dim, from `from` on, of all points. */
static taken *order_of(const straight *c, unsigned dim, int64_t from, int64_t n) {
  const lt_kernel *k = c->r.k;
  const lt_access *a = shared_operand(c);
  const size_t all = (size_t)n * c->t->n;
  taken *s = LT_NEW_ARRAY(c->r.l->arena, taken, all);
  for (size_t i = 0; i < all; i++) {
    lt_point p = {0};
    s[i] = (taken){.element = from + (int64_t)(i / c->t->n), .point = (unsigned)(i % c->t->n)};
    place_element(k, &p, dim, s[i].element), lt_points_place(c->t, &p, s[i].point);
    if (!a) continue;
    s[i].order = displacement(k, a->stride, 0, &p);
    if (a->stride[k->n_dims + k->n_rdims - 1] < 0) s[i].order = -s[i].order;
  }
  qsort(s, all, sizeof *s, by_order);
  return s;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static void begin(straight *c, const lt_points *t, const lt_point *at) {
  lt_ll *l = t->r->l;
  *c = (straight){.t = t, .r = *t->r, .p = *at};
  c->r.k = &t->flat;
  c->r.fixed = LT_NEW_ARRAY(l->arena, LLVMValueRef, t->flat.n_rexpr);
  c->r.bufs.access = lt_emit_based(l, &t->flat, &t->r->bufs, t->flat.rexpr, t->flat.n_rexpr, at);
  c->p.based = true;
  c->lanes = LT_LANES;
}

static bool is_row(const straight *c, const lt_instr *x) {
  const lt_kernel *k = c->r.k;
  const lt_access *a = x->kind == LT_X_LOAD ? &k->access[x->access] : NULL;
  return a && !a->masked && a->stride[k->n_dims - 1] == 1 && x->dtype == k->acc;
}

/* Lanes of a register where they are fewer than 16 and all that is done is products of two operands, whose lanes stand
 * one behind the other; else 16. */
static unsigned in_registers(const straight *c) {
  const lt_kernel *k = c->r.k;
  const unsigned n = LT_LANES / (unsigned)lt_tile_vectors(c->r.l->target, k->acc);
  const bool products = c->r.fused && k->n_rexpr == 3 && is_row(c, &k->rexpr[0]) && is_row(c, &k->rexpr[1]);
  return products && n > 1 && k->extent[k->n_dims - 1] == LT_LANES ? n : LT_LANES;
}

/* Lanes [first, first + n) of v. */
static LLVMValueRef lanes_of(lt_ll *l, LLVMValueRef v, unsigned first, unsigned n) {
  int pick[LT_LANES];
  for (unsigned i = 0; i < n; i++) pick[i] = (int)(first + i);
  return lt_ll_shuffle(l, v, NULL, pick, n);
}

/* v's 16 lanes, those from `first` on being w's. */
static LLVMValueRef with_lanes(lt_ll *l, LLVMValueRef v, LLVMValueRef w, unsigned first, unsigned n) {
  int widen[LT_LANES], blend[LT_LANES];
  for (unsigned i = 0; i < LT_LANES; i++) {
    const bool in = i >= first && i < first + n;
    widen[i] = in ? (int)(i - first) : -1, blend[i] = in ? (int)(LT_LANES + i) : (int)i;
  }
  return lt_ll_shuffle(l, v, lt_ll_shuffle(l, w, NULL, widen, LT_LANES), blend, LT_LANES);
}

/* The elements x, a register's lanes of all points after the other: of a row of taps and the pixels under it then
 * few are alive beside the sums. */
static void take_in_registers(straight *c, lt_sums *s, const taken *x, int64_t n, unsigned dim) {
  lt_ll *l = c->r.l;
  const lt_kernel *k = c->t->r->k;
  const lt_instr *product = &k->rexpr[2];
  for (c->first = 0; c->first < LT_LANES; c->first += c->lanes) {
    LLVMValueRef part[LT_PARTS], value[2];
    c->loaded.n = 0;
    for (unsigned j = 0; j < s->n; j++) part[j] = lanes_of(l, s->part[j], c->first, c->lanes);
    for (int64_t i = 0; i < n; i++) {
      const unsigned j = x[i].point;
      place_element(k, &c->p, dim, x[i].element), lt_points_place(c->t, &c->p, j);
      for (uint32_t o = 0; o < 2; o++) value[o] = load_once(c, o);
      part[j] = lt_ll_fma(l, value[product->arg[0]], value[product->arg[1]], part[j]);
    }
    for (unsigned j = 0; j < s->n; j++) s->part[j] = with_lanes(l, s->part[j], part[j], c->first, c->lanes);
  }
}

void lt_points_take(const lt_points *t, lt_sums *s, const lt_point *at, unsigned dim, int64_t n) {
  const lt_kernel *k = t->r->k;
  const int64_t row = LT_MIN(n, k->extent[k->n_dims + k->n_rdims - 1]);
  straight c;
  begin(&c, t, at);
  c.lanes = in_registers(&c);
  for (int64_t from = 0; from < n; from += row) {
    const taken *x = order_of(&c, dim, from, row);
    if (c.lanes < LT_LANES) {
      take_in_registers(&c, s, x, row * t->n, dim);
      continue;
    }
    for (int64_t i = 0; i < row * t->n; i++) {
      place_element(k, &c.p, dim, x[i].element), lt_points_place(t, &c.p, x[i].point);
      for (uint32_t j = 0; j < k->n_rexpr; j++) c.r.fixed[j] = k->rexpr[j].kind == LT_X_LOAD ? load_once(&c, j) : NULL;
      lt_reduce_take(&c.r, s, &c.p, x[i].point);
    }
  }
}
