/* op.c: the op table made from ops.def, and everything about attributes that follows from it: defaults, comparison,
 * hash, copies.
 *
 * What C cannot compute in a static initialiser (offsets, since ATTR does not know its op, and the operand counts) is
 * filled in before main by a constructor; afterwards the table never changes. */
#include "ir/ir.h"
#include "ir/op_hooks.h"

#include <math.h>
#include <stdlib.h>

#define OP(name, ...) static lt_attr_info attrs_of_##name[] = {
#define ATTR(kind, name, def, doc) {#name, def, doc, LT_ATTR_##kind, 0},
#define END(name) {0}}                                                                                                 \
  ;
#include "ir/ops.def"

enum { LEAF = LT_LEAF, MAP = LT_MAP, HEAVY = LT_HEAVY, MOVE = LT_MOVE, SUGAR = LT_SUGAR, HIDDEN = LT_HIDDEN };
#define OP(name_, family_, vjp_, kind_, writes_, reads_, moves_, blocks_, window_, rounds_, same_, operands_,          \
           results_, doc_)                                                                                             \
  [LT_OP_##name_] = {.name = #name_,                                                                                   \
                     .family = #family_,                                                                               \
                     .operands = operands_,                                                                            \
                     .results = results_,                                                                              \
                     .doc = doc_,                                                                                      \
                     .flags = kind_,                                                                                   \
                     .writes = LT_WRITES_##writes_,                                                                    \
                     .reads = LT_READS_##reads_,                                                                       \
                     .moves = LT_MOVES_##moves_,                                                                       \
                     .blocks = LT_BLOCKS_##blocks_,                                                                    \
                     .window = LT_WINDOW_##window_,                                                                    \
                     .rounds = LT_ROUNDS_##rounds_,                                                                    \
                     .same = LT_SAME_##same_,                                                                          \
                     .attrs_size = sizeof(lt_##name_##_attrs),                                                         \
                     .attrs = attrs_of_##name_,                                                                        \
                     .n_attrs = LT_COUNT(attrs_of_##name_) - 1,                                                        \
                     .infer = lt_infer_##name_,                                                                        \
                     .eval = lt_eval_##name_,                                                                          \
                     .vjp = LT_VJP_IF_##vjp_(lt_vjp_##name_, NULL),                                                    \
                     .expand = LT_EXPAND_IF_##kind_(lt_expand_##name_, NULL),                                          \
                     .axes = LT_AXES_IF_##blocks_(lt_axes_##name_, NULL),                                              \
                     .terms = LT_TERMS_IF_##rounds_(lt_terms_##name_, NULL)},
static lt_op_info table[LT_OPS] = {
#include "ir/ops.def"
};
const lt_op_info *const lt_op_table = table;

static const char *const names[LT_OPS] = {
#define OP(name, ...) #name,
#include "ir/ops.def"
  NULL};

/* ---- kinds ----------------------------------------------------------------------------------------------------- */

static const struct { uint32_t size, align; } kinds[] = {
#define KIND(k) [LT_ATTR_##k] = {sizeof(lt_attr_##k), _Alignof(lt_attr_##k)}
  KIND(int),  KIND(float), KIND(bool),  KIND(pair), KIND(quad),
  KIND(ints), KIND(str),   KIND(dtype), KIND(init), KIND(data),
#undef KIND
};

/* "x W b?" → between 2 and 3; "xs*" → between 1 and 255. An optional name before others still has its place. */
static void count_operands(lt_op_info *op) {
  unsigned n = 0;
  for (const char *p = op->operands; *p;) {
    size_t length = strcspn(p, " ");
    char last = p[length - 1];
    n++;
    if (last != '?') op->min_in = (uint8_t)n;
    op->max_in = last == '*' ? 255 : (uint8_t)n;
    p += length + (p[length] == ' ');
  }
  for (const char *p = op->results; *p; p++) op->n_out += *p == ' ';
  op->n_out += 1;
  if (strchr(op->results, '*')) op->n_out = 0;
}

void lt_attrs_place(lt_attr_info *infos) {
  uint32_t end = 0;
  for (lt_attr_info *a = infos; a->name; a++) {
    uint32_t align = kinds[a->kind].align;
    a->offset = (end + align - 1) / align * align;
    end = a->offset + kinds[a->kind].size;
  }
}

__attribute__((constructor)) static void complete_table(void) {
  for (unsigned o = 1; o < LT_OPS; o++) {
    lt_attrs_place((lt_attr_info *)table[o].attrs);
    count_operands(&table[o]);
  }
}

lt_op lt_op_find(const char *name, size_t n) {
  for (unsigned i = 1; i < LT_OPS; i++)
    if (strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0) return (lt_op)i;
  return LT_OP_none;
}

const char *const *lt_op_names(void) { return names; }

const char *lt_operand_name(lt_arena *a, lt_op op, unsigned i) {
  const char *p = table[op].operands;
  for (; i && p[strcspn(p, " ")]; i--) p += strcspn(p, " ") + 1; /* the last name serves all that follow */
  return lt_arena_strndup(a, p, strcspn(p, " ?*"));
}

/* ---- defaults -------------------------------------------------------------------------------------------------- */

static void read_ints(lt_ints *out, const char *text) {
  out->n = 0;
  for (const char *p = text + 1; *p && *p != ']';) {
    char *end;
    out->v[out->n++] = strtoll(p, &end, 10);
    p = end + strspn(end, ", ");
  }
}

/* The tables' decimals are short: both numbers are exact, so one division rounds as strtod does, in every locale. */
static double short_decimal(const char *p) {
  double digits = 0, scale = 1;
  bool negative = *p == '-', point = false;
  p += negative;
  if (*p == 'i') return negative ? -(double)INFINITY : (double)INFINITY;
  for (; (*p >= '0' && *p <= '9') || *p == '.'; p++) {
    if (*p != '.') digits = digits * 10 + (*p - '0'), scale *= point ? 10 : 1;
    else point = true;
  }
  for (long e = *p == 'e' ? strtol(p + 1, NULL, 10) : 0; e; e += e < 0 ? 1 : -1) *(e < 0 ? &scale : &digits) *= 10;
  return (negative ? -digits : digits) / scale;
}

/* The defaults in ops.def are ours; a unit test reads them all. */
void lt_attr_default(lt_attr_kind kind, const char *text, void *attr) {
  int64_t number = strtoll(text, NULL, 10);
  lt_dtype dtype;
  switch (kind) {
  case LT_ATTR_int: *(int64_t *)attr = number; break;
  case LT_ATTR_float: *(double *)attr = short_decimal(text); break;
  case LT_ATTR_bool: *(int64_t *)attr = text[0] == 't'; break;
  case LT_ATTR_pair: *(lt_pair *)attr = (lt_pair){{number, number}}; break;
  case LT_ATTR_quad: *(lt_quad *)attr = (lt_quad){{number, number, number, number}}; break;
  case LT_ATTR_ints: read_ints(attr, text); break;
  case LT_ATTR_str: *(const char **)attr = ""; break;
  case LT_ATTR_dtype:
    if (lt_dtype_parse(&dtype, text, strlen(text))) *(int64_t *)attr = dtype;
    break;
  case LT_ATTR_init: *(lt_init *)attr = (lt_init){.kind = LT_INIT_ZEROS}; break;
  case LT_ATTR_data: break; /* always required */
  }
}

void lt_attrs_default(lt_op op, void *attrs) {
  memset(attrs, 0, table[op].attrs_size);
  for (const lt_attr_info *a = table[op].attrs; a->name; a++) {
    if (a->def[0]) lt_attr_default(a->kind, a->def, (char *)attrs + a->offset);
    else if (a->kind == LT_ATTR_str) *(const char **)((char *)attrs + a->offset) = "";
  }
}

/* ---- compare, hash, copy ---------------------------------------------------------------------------------------- */

static const char *text_of(const void *attr) {
  const char *s = *(const char *const *)attr;
  return s ? s : "";
}

static bool init_eq(const lt_init *a, const lt_init *b) {
  if (a->kind != b->kind) return false;
  switch ((lt_init_kind)a->kind) {
  case LT_INIT_ZEROS: case LT_INIT_ONES: return true;
  case LT_INIT_NORMAL: return memcmp(&a->a, &b->a, sizeof a->a) == 0;
  case LT_INIT_UNIFORM: return memcmp(&a->a, &b->a, 2 * sizeof a->a) == 0;
  case LT_INIT_LITERAL: return lt_data_eq(a->literal, b->literal);
  }
  assert(!"an initial value");
  return false;
}

static bool attr_eq(lt_attr_kind kind, const void *a, const void *b) {
  switch (kind) {
  case LT_ATTR_ints: {
    const lt_ints *x = a, *y = b;
    return x->n == y->n && memcmp(x->v, y->v, (size_t)x->n * sizeof x->v[0]) == 0;
  }
  case LT_ATTR_str: return strcmp(text_of(a), text_of(b)) == 0;
  case LT_ATTR_init: return init_eq(a, b);
  case LT_ATTR_data: return lt_data_eq(*(const lt_attr_data *)a, *(const lt_attr_data *)b);
  case LT_ATTR_int: case LT_ATTR_float: case LT_ATTR_bool: case LT_ATTR_pair: case LT_ATTR_quad:
  case LT_ATTR_dtype: break;
  }
  return memcmp(a, b, kinds[kind].size) == 0; /* floats by their bits: 0.0 is not -0.0, NaN is NaN */
}

bool lt_attrs_eq(lt_op op, const void *a, const void *b) {
  for (const lt_attr_info *i = table[op].attrs; i->name; i++)
    if (!attr_eq(i->kind, (const char *)a + i->offset, (const char *)b + i->offset)) return false;
  return true;
}

static uint64_t hash_data(const lt_data *d, uint64_t seed) {
  uint64_t h = d ? lt_data_hash(d) : 0;
  return d ? lt_hash(&h, sizeof h, seed) : seed;
}

static uint64_t hash_attr(lt_attr_kind kind, const void *a, uint64_t seed) {
  const lt_ints *ints = a;
  const lt_init *init = a;
  switch (kind) {
  case LT_ATTR_ints: return lt_hash(ints->v, (size_t)ints->n * sizeof ints->v[0], seed + (uint64_t)ints->n);
  case LT_ATTR_str: return lt_hash(text_of(a), strlen(text_of(a)), seed);
  case LT_ATTR_data: return hash_data(*(const lt_attr_data *)a, seed);
  case LT_ATTR_init:
    seed = lt_hash(&init->kind, sizeof init->kind, seed);
    if (init->kind == LT_INIT_LITERAL) return hash_data(init->literal, seed);
    if (init->kind == LT_INIT_NORMAL) return lt_hash(&init->a, sizeof init->a, seed);
    return init->kind == LT_INIT_UNIFORM ? lt_hash(&init->a, 2 * sizeof init->a, seed) : seed;
  case LT_ATTR_int: case LT_ATTR_float: case LT_ATTR_bool: case LT_ATTR_pair: case LT_ATTR_quad:
  case LT_ATTR_dtype: break;
  }
  return lt_hash(a, kinds[kind].size, seed);
}

uint64_t lt_attrs_hash(lt_op op, const void *a, uint64_t seed) {
  seed += (uint64_t)op;
  for (const lt_attr_info *i = table[op].attrs; i->name; i++)
    seed = hash_attr(i->kind, (const char *)a + i->offset, seed);
  return seed;
}

void lt_attrs_copy(lt_arena *arena, lt_op op, void *to, const void *from) {
  memcpy(to, from, table[op].attrs_size);
  for (const lt_attr_info *i = table[op].attrs; i->name; i++) {
    void *attr = (char *)to + i->offset;
    lt_init *init = attr;
    if (i->kind == LT_ATTR_str) *(const char **)attr = lt_arena_strdup(arena, text_of(attr));
    else if (i->kind == LT_ATTR_data) *(lt_attr_data *)attr = lt_data_keep(arena, *(lt_attr_data *)attr);
    else if (i->kind == LT_ATTR_init) init->literal = lt_data_keep(arena, init->literal);
  }
}

bool lt_attr_is_default(lt_op op, const void *attrs, unsigned i) {
  const lt_attr_info *a = &table[op].attrs[i];
  union { lt_ints ints; lt_init init; lt_quad quad; const char *str; } def;
  if (!a->def[0]) return false;
  memset(&def, 0, sizeof def);
  lt_attr_default(a->kind, a->def, &def);
  return attr_eq(a->kind, &def, (const char *)attrs + a->offset);
}
