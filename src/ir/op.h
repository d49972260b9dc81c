/* op.h: ops and their attributes, as ops.def lists them: a struct of attributes per op, a row of facts per op
 * (op.c). */
#ifndef LT_OP_H
#define LT_OP_H
#include "ir/type.h"

typedef enum lt_attr_kind {
  LT_ATTR_int,
  LT_ATTR_float,
  LT_ATTR_bool,
  LT_ATTR_pair,
  LT_ATTR_quad,
  LT_ATTR_ints,
  LT_ATTR_str,
  LT_ATTR_dtype,
  LT_ATTR_init,
  LT_ATTR_data
} lt_attr_kind;

enum { LT_MAX_INTS = 16 };
typedef struct lt_pair { int64_t v[2]; } lt_pair;
typedef struct lt_quad { int64_t v[4]; } lt_quad; /* top, left, bottom, right */
typedef struct lt_ints { int64_t n, v[LT_MAX_INTS]; } lt_ints;
/* Initial values: zeros() ones() normal(scale=a) uniform(lo=a, hi=b) or a literal. */
typedef enum lt_init_kind {
  LT_INIT_ZEROS,
  LT_INIT_ONES,
  LT_INIT_NORMAL,
  LT_INIT_UNIFORM,
  LT_INIT_LITERAL
} lt_init_kind;
typedef struct lt_data lt_data;
typedef struct lt_init { int64_t kind; double a, b; const lt_data *literal; } lt_init;

typedef int64_t lt_attr_int;
typedef double lt_attr_float;
typedef int64_t lt_attr_bool; /* 64 bits so that no struct has padding: compare and hash member by member anyway */
typedef lt_pair lt_attr_pair;
typedef lt_quad lt_attr_quad;
typedef lt_ints lt_attr_ints;
typedef const char *lt_attr_str;
typedef int64_t lt_attr_dtype;
typedef lt_init lt_attr_init;
typedef const lt_data *lt_attr_data;

#define OP(name, ...) typedef struct lt_##name##_attrs {
#define ATTR(kind, name, def, doc) lt_attr_##kind name;
#define END(name)                                                                                                      \
  char end_;                                                                                                           \
  }                                                                                                                    \
  lt_##name##_attrs;
#include "ir/ops.def"

typedef enum lt_op {
  LT_OP_none,
#define OP(name, ...) LT_OP_##name,
#include "ir/ops.def"
  LT_OPS
} lt_op;

/* The columns of ops.def; its legend says what each word means. `LT_…__` is none of a column's words. */
enum { LT_LEAF = 1, LT_MAP = 2, LT_HEAVY = 4, LT_MOVE = 8, LT_SUGAR = 16, LT_HIDDEN = 32 };
typedef enum lt_writes { LT_WRITES__, LT_WRITES_EPI, LT_WRITES_ADD } lt_writes;
typedef enum lt_reads {
  LT_READS__,
  LT_READS_ALL,
  LT_READS_INNER,
  LT_READS_LEFT,
  LT_READS_INDEX,
  LT_READS_PARTS
} lt_reads;
typedef enum lt_mover {
  LT_MOVES__,
  LT_MOVES_VIEW,
  LT_MOVES_INDEX,
  LT_MOVES_REPEAT,
  LT_MOVES_PAD,
  LT_MOVES_COPY,
  LT_MOVES_PICK
} lt_mover;
typedef enum lt_blocks {
  LT_BLOCKS__,
  LT_BLOCKS_EACH,
  LT_BLOCKS_POOL,
  LT_BLOCKS_AXES,
  LT_BLOCKS_FPROP,
  LT_BLOCKS_DGRAD,
  LT_BLOCKS_WGRAD,
  LT_BLOCKS_RIGHT,
  LT_BLOCKS_TILES,
  LT_BLOCKS_UNTILE,
  LT_BLOCKS_PARTS
} lt_blocks;
typedef enum lt_windowed { LT_WINDOW__, LT_WINDOW_WIN } lt_windowed;
typedef enum lt_rounds { LT_ROUNDS__, LT_ROUNDS_CURVE, LT_ROUNDS_SUM, LT_ROUNDS_STEP } lt_rounds;
typedef enum lt_same { LT_SAME__, LT_SAME_SWAP, LT_SAME_OWN, LT_SAME_CALL } lt_same;

typedef struct lt_attr_info {
  const char *name, *def, *doc;
  lt_attr_kind kind;
  uint32_t offset; /* in the op's attribute struct */
} lt_attr_info;

typedef struct lt_graph lt_graph;
typedef struct lt_node lt_node;
typedef uint32_t lt_value; /* index into graph->values; 0: none */
typedef struct lt_tensor lt_tensor;
struct lt_eval;
typedef struct lt_vjp lt_vjp;

typedef struct lt_reduced { lt_ints axes; bool keepdims; } lt_reduced; /* axes ≥ 0, rising */

/* A node's operands are padded to max_in with 0 (none) unless their number is free, so in[2] of a conv2d always
 * exists. */
typedef struct lt_op_info {
  const char *name, *family, *operands, *results, *doc;
  unsigned flags;
  lt_writes writes;
  lt_reads reads;
  lt_mover moves;
  lt_blocks blocks;
  lt_windowed window;
  lt_rounds rounds;
  lt_same same;
  uint8_t min_in, max_in; /* max_in 255: any number */
  uint8_t n_out;          /* 0: the infer hook says */
  uint32_t attrs_size;
  const lt_attr_info *attrs;
  uint8_t n_attrs;
  /* Check operands and attributes, resolve defaults in *attrs (stride 0, axes [], -1 …), set out_type[0..n_out).
   * Fails with lt_node_fail. n_out of variadic results is *n_out (in: the row's, out: the real one). */
  void (*infer)(lt_graph *g, void *attrs, const lt_value *in, unsigned n_in, lt_type *out_type, unsigned *n_out);
  void (*eval)(struct lt_eval *e, const lt_node *n, const lt_tensor *const *in, lt_tensor *const *out);
  /* Hooks that only some rows have (op_hooks.h); NULL: no. */
  void (*vjp)(lt_vjp *v, const lt_node *n, const lt_value *in, const lt_value *out, const lt_value *gout,
              lt_value *gin);
  void (*expand)(lt_graph *g, const lt_node *n, const lt_value *in, lt_value *out);
  lt_reduced (*axes)(const lt_node *n);
  double (*terms)(const lt_graph *g, const lt_node *n);
} lt_op_info;

extern const lt_op_info *const lt_op_table;                     /* LT_OPS rows; [0] is unused */
lt_op lt_op_find(const char *name, size_t n);                   /* LT_OP_none when unknown */
const char *const *lt_op_names(void);                           /* NULL-terminated, table order, for lt_nearest */
const char *lt_operand_name(lt_arena *a, lt_op op, unsigned i); /* "W" */
/* Attributes by table: compare, hash, defaults. attrs_default leaves required ones zero. */
void lt_attrs_default(lt_op op, void *attrs);
bool lt_attrs_eq(lt_op op, const void *a, const void *b);
uint64_t lt_attrs_hash(lt_op op, const void *a, uint64_t seed);
static inline const void *lt_attr_at(lt_op op, const void *attrs, unsigned i) {
  return (const char *)attrs + lt_op_table[op].attrs[i].offset;
}
bool lt_attr_is_default(lt_op op, const void *attrs, unsigned i);      /* false for required ones */
void lt_attr_default(lt_attr_kind kind, const char *text, void *attr); /* a row's default text into one attribute */
/* One attribute as the text language writes it: a pair or quad of equal numbers as one number, floats shortest. */
void lt_attr_print(lt_str *s, lt_attr_kind kind, const void *attr);
void lt_attrs_copy(lt_arena *a, lt_op op, void *to, const void *from); /* with the texts, and references to data */
/* The offsets of a struct's attributes in their order, up to a row without name. Before main. */
void lt_attrs_place(lt_attr_info *infos);

#endif
