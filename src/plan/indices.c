/* indices.c: labels and indices (operands of ops that PICK, ops.def) that a call looks at before it does anything. They
 * are followed back to inputs through what only moves or widens integers; what is computed, or stands in a state, is
 * not looked at, and has the meaning that the op gives it. Constants are looked at here. */
#include "plan/build.h"

#include <stdlib.h>

/* ---- from an operand to the elements of a leaf ------------------------------------------------------------------- */

/* Elements `at` (affine in the operand's axes) of a leaf that is seen under `shape`. */
typedef struct source { lt_value leaf; lt_at at; lt_type shape; } source;

static bool widens(const lt_graph *g, const lt_node *n) {
  return (lt_facts(n)->flags & LT_MAP) && n->n_in == 1 && lt_type_of(g, n->in[0])->dtype == LT_I32 &&
         lt_type_of(g, n->out)->dtype == LT_I64;
}

/* Coordinates under another shape that differs in axes of one element only. false: it differs in others, too. */
static bool recast(lt_at *at, const lt_type *from, const lt_type *to) {
  lt_at r = {.fill = at->fill};
  int k = 0;
  for (int i = 0; i < to->rank; i++) {
    r.c[i] = lt_coord_zero();
    if (to->dim[i] == 1) continue;
    while (k < from->rank && from->dim[k] == 1) k++;
    if (k == from->rank || from->dim[k] != to->dim[i]) return false;
    r.c[i] = at->c[k++];
  }
  *at = r;
  return true;
}

static bool is_view(const lt_graph *g, lt_value v) { return lt_facts(lt_node_of(g, v))->moves == LT_MOVES_VIEW; }

static bool step_back(source *s, const lt_graph *g) {
  const lt_node *n = lt_node_of(g, s->leaf);
  lt_mover how = lt_facts(n)->moves;
  if (how == LT_MOVES_INDEX || how == LT_MOVES_REPEAT) lt_move_back(&s->at, g, n);
  else if (how == LT_MOVES_VIEW) {
    lt_value base = n->in[0];
    if (!recast(&s->at, &s->shape, lt_type_of(g, base))) {
      while (is_view(g, base)) base = lt_node_of(g, base)->in[0];
      s->leaf = base;
      return lt_is_leaf(g, base);
    }
  } else if (!widens(g, n)) return false;
  s->leaf = n->in[0];
  s->shape = *lt_type_of(g, s->leaf);
  return true;
}

static bool find_source(source *s, const lt_graph *g, lt_value index) {
  *s = (source){.leaf = index, .shape = *lt_type_of(g, index)};
  for (int i = 0; i < s->shape.rank; i++) s->at.c[i] = lt_coord_dim(i);
  while (!lt_is_leaf(g, s->leaf))
    if (!step_back(s, g)) return false;
  return true;
}

/* ---- as few dims as possible ------------------------------------------------------------------------------------- */

static void drop_dim(lt_index_check *c, uint8_t i) {
  c->n_dims--;
  for (; i < c->n_dims; i++) c->extent[i] = c->extent[i + 1], c->stride[i] = c->stride[i + 1];
}

static void swap_dims(lt_index_check *c, uint8_t i, uint8_t k) {
  int64_t extent = c->extent[i], stride = c->stride[i];
  c->extent[i] = c->extent[k], c->stride[i] = c->stride[k];
  c->extent[k] = extent, c->stride[k] = stride;
}

/* Which elements, not in which order: the largest stride first, repetitions once, dims that continue each other as
 * one. */
static void tidy(lt_index_check *c) {
  for (uint8_t i = c->n_dims; i-- > 0;)
    if (c->extent[i] == 1 || !c->stride[i]) drop_dim(c, i);
  for (uint8_t i = 0; i < c->n_dims; i++)
    for (uint8_t k = (uint8_t)(i + 1); k < c->n_dims; k++)
      if (c->stride[k] > c->stride[i]) swap_dims(c, i, k);
  for (uint8_t i = c->n_dims; i-- > 1;)
    if (c->stride[i - 1] == c->stride[i] * c->extent[i]) {
      c->stride[i - 1] = c->stride[i], c->extent[i - 1] *= c->extent[i];
      drop_dim(c, i);
    }
}

static lt_index_check check_of(const source *s, const lt_type *index, int64_t limit) {
  lt_index_check c = {.limit = limit, .n_dims = (uint8_t)index->rank};
  int64_t stride[LT_MAX_RANK];
  lt_type_strides(&s->shape, stride);
  for (int k = 0; k < index->rank; k++) c.extent[k] = index->dim[k];
  for (int i = 0; i < s->shape.rank; i++) {
    c.offset += (s->at.c[i].add + s->at.c[i].shift) * stride[i];
    for (int k = 0; k < index->rank; k++) c.stride[k] += s->at.c[i].coef[k] * stride[i];
  }
  tidy(&c);
  return c;
}

/* ---- what is done with them -------------------------------------------------------------------------------------- */

static int64_t element(const lt_index_check *c, int64_t i) {
  int64_t at = c->offset;
  for (uint8_t k = c->n_dims; k-- > 0; i /= c->extent[k]) at += i % c->extent[k] * c->stride[k];
  return at;
}

static void check_constant(const lt_graph *g, const lt_node *n, lt_value leaf, const lt_index_check *c) {
  const lt_data *d = lt_data_in(lt_node_of(g, leaf));
  const char *name = lt_name_of(g, leaf), *label = n->label ? n->label : lt_name_of(g, n->out);
  lt_arena *a = lt_arena_new(g->job);
  int64_t count = 1;
  for (uint8_t k = 0; k < c->n_dims; k++) count *= c->extent[k];
  for (int64_t i = 0; i < count; i++) {
    double v = lt_data_at(d, element(c, i));
    if (v < (double)c->limit) continue;
    lt_fail(g->job, LATHE_E_INVALID, &n->loc,
            "%s%s%s%s: %.0f, element %lld of the constant %s%s%s, is out of range: %s takes 0 to %lld\nhelp: a "
            "negative one does not count",
            lt_facts(n)->name, label ? " `" : "", label ? label : "", label ? "`" : "", v, (long long)element(c, i),
            name ? name : "", name ? " " : "", lt_type_text(a, lt_type_of(g, leaf)), lt_operand_name(a, n->op, 1),
            (long long)c->limit - 1);
  }
}

static bool same_check(const lt_index_check *a, const lt_index_check *b) {
  bool same = a->slot == b->slot && a->offset == b->offset && a->n_dims == b->n_dims;
  for (uint8_t k = 0; same && k < a->n_dims; k++) same = a->extent[k] == b->extent[k] && a->stride[k] == b->stride[k];
  return same;
}

/* The same elements are looked at once, with the tightest limit. */
static void add_check(lt_plan *p, lt_arena *a, const char *input, lt_index_check c) {
  while (c.slot < p->n_slot && (p->slot[c.slot].role != LT_SLOT_INPUT || strcmp(p->slot[c.slot].name, input) != 0))
    c.slot++;
  if (c.slot == p->n_slot || (p->slot[c.slot].type.dtype == LT_I32 && c.limit > INT32_MAX)) return;
  for (uint32_t i = 0; i < p->check.n; i++)
    if (same_check(&p->check.at[i], &c)) {
      p->check.at[i].limit = LT_MIN(p->check.at[i].limit, c.limit);
      return;
    }
  lt_vec_push(a, &p->check, c);
}

static int64_t picks_among(const lt_graph *g, const lt_node *n) {
  const lt_op_info *o = lt_facts(n);
  const lt_type *t = lt_type_of(g, n->in[0]);
  for (uint8_t i = 0; i < o->n_attrs; i++)
    if (!strcmp(o->attrs[i].name, "axis")) return t->dim[*(const int64_t *)lt_attr_at(n->op, n->attrs, i)];
  return t->dim[1];
}

void lt_plan_indices(lt_plan *p, lt_arena *a, const lt_graph *g) {
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *n = g->nodes.at[i];
    source s;
    if (lt_facts(n)->moves != LT_MOVES_PICK || !find_source(&s, g, n->in[1])) continue;
    lt_index_check c = check_of(&s, lt_type_of(g, n->in[1]), picks_among(g, n));
    lt_op leaf = lt_op_of(g, s.leaf);
    if (leaf == LT_OP_const) check_constant(g, n, s.leaf, &c);
    if (leaf == LT_OP_input) add_check(p, a, lt_name_of(g, s.leaf), c);
  }
}

static bool covers(const lt_index_check *c, const lt_type *t) {
  int64_t count = lt_type_count(t);
  return c->n_dims ? c->n_dims == 1 && c->stride[0] == 1 && c->extent[0] == count : count == 1;
}

int64_t lt_plan_index_limit(const lt_plan *p, uint32_t slot, bool whole) {
  int64_t limit = 0;
  for (uint32_t i = 0; i < p->check.n; i++) {
    const lt_index_check *c = &p->check.at[i];
    if (c->slot != slot || (whole && !covers(c, &p->slot[slot].type))) continue;
    limit = limit ? LT_MIN(limit, c->limit) : c->limit;
  }
  return limit;
}
