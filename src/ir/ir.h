/* ir.h: the graph: attributes, nodes, and what every layer does with them.
 *
 * A graph is a list of nodes in topological order (operands stand before users), append-only, in static single
 * assignment. Everything lives in the graph's arena. A pass never edits a graph: it copies what it keeps into a new one,
 * mapping values (pass.h), so nothing dangles, dead nodes vanish and order always holds.
 *
 * Reading order: lt_type (type.h) → attributes (from ops.def) → lt_node / lt_value → lt_graph → emit → print/verify/eval. */
#ifndef LT_IR_H
#define LT_IR_H

#include "ir/type.h"

/* ---- attributes: a struct per op, generated from ops.def ------------------------------------------------------ */

typedef enum lt_attr_kind {
  LT_ATTR_int, LT_ATTR_float, LT_ATTR_bool, LT_ATTR_pair, LT_ATTR_quad, LT_ATTR_ints, LT_ATTR_str, LT_ATTR_dtype,
  LT_ATTR_init, LT_ATTR_data
} lt_attr_kind;

enum { LT_MAX_INTS = 16 };
typedef struct lt_pair { int64_t v[2]; } lt_pair;
typedef struct lt_quad { int64_t v[4]; } lt_quad; /* top, left, bottom, right */
typedef struct lt_ints { int64_t n, v[LT_MAX_INTS]; } lt_ints;
/* Initial values: zeros() ones() normal(scale=a) uniform(lo=a, hi=b) or a literal. */
typedef enum lt_init_kind { LT_INIT_ZEROS, LT_INIT_ONES, LT_INIT_NORMAL, LT_INIT_UNIFORM, LT_INIT_LITERAL } lt_init_kind;
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
#define END(name) char end_; } lt_##name##_attrs;
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
typedef enum lt_reads { LT_READS__, LT_READS_ALL, LT_READS_INNER, LT_READS_LEFT } lt_reads;
typedef enum lt_mover { LT_MOVES__, LT_MOVES_VIEW, LT_MOVES_INDEX, LT_MOVES_REPEAT, LT_MOVES_PAD, LT_MOVES_COPY } lt_mover;
typedef enum lt_blocks {
  LT_BLOCKS__, LT_BLOCKS_EACH, LT_BLOCKS_POOL, LT_BLOCKS_AXES, LT_BLOCKS_FPROP, LT_BLOCKS_DGRAD, LT_BLOCKS_WGRAD,
  LT_BLOCKS_RIGHT
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
struct lt_vjp;

typedef struct lt_reduced { lt_ints axes; bool keepdims; } lt_reduced; /* axes ≥ 0, rising */

/* A node's operands are padded to max_in with 0 (none) unless their number is free, so in[2] of a conv2d always exists. */
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
  uint8_t min_in, max_in;       /* max_in 255: any number */
  uint8_t n_out;                /* 0: the infer hook says */
  uint32_t attrs_size;
  const lt_attr_info *attrs; uint8_t n_attrs;
  /* Check operands and attributes, resolve defaults in *attrs (stride 0, axes [], -1 …), set out_type[0..n_out).
   * Fails with lt_node_fail. n_out of variadic results is *n_out (in: the row's, out: the real one). */
  void (*infer)(lt_graph *g, void *attrs, const lt_value *in, unsigned n_in, lt_type *out_type, unsigned *n_out);
  void (*eval)(struct lt_eval *e, const lt_node *n, const lt_tensor *const *in, lt_tensor *const *out);
  /* Hooks that only some rows have (op_hooks.h); NULL: no. */
  void (*vjp)(struct lt_vjp *v, const lt_node *n, const lt_value *in, const lt_value *out, const lt_value *gout,
              lt_value *gin);
  void (*expand)(lt_graph *g, const lt_node *n, const lt_value *in, lt_value *out);
  lt_reduced (*axes)(const lt_node *n);
  double (*terms)(const lt_graph *g, const lt_node *n);
} lt_op_info;

extern const lt_op_info *const lt_op_table; /* LT_OPS rows; [0] is unused */
lt_op lt_op_find(const char *name, size_t n); /* LT_OP_none when unknown */
const char *const *lt_op_names(void);         /* NULL-terminated, table order, for lt_nearest */
const char *lt_operand_name(lt_arena *a, lt_op op, unsigned i); /* "W" */
/* Attributes by table: compare, hash, defaults. attrs_default leaves required ones zero. */
void lt_attrs_default(lt_op op, void *attrs);
bool lt_attrs_eq(lt_op op, const void *a, const void *b);
uint64_t lt_attrs_hash(lt_op op, const void *a, uint64_t seed);
static inline const void *lt_attr_at(lt_op op, const void *attrs, unsigned i) {
  return (const char *)attrs + lt_op_table[op].attrs[i].offset;
}
bool lt_attr_is_default(lt_op op, const void *attrs, unsigned i); /* false for required ones */
void lt_attr_default(lt_attr_kind kind, const char *text, void *attr); /* a row's default text into one attribute */
/* One attribute as the text language writes it: a pair or quad of equal numbers as one number, floats shortest. */
void lt_attr_print(lt_str *s, lt_attr_kind kind, const void *attr);
void lt_attrs_copy(lt_arena *a, lt_op op, void *to, const void *from); /* with the texts, and references to data */

/* ---- constant data (data.c) ------------------------------------------------------------------------------------ */

/* The elements of a constant or of a literal initial value, as files and code have them: in their own type, row-major,
 * little endian. They never change and are held once: whoever keeps data refers to it, no pass copies it, and the last to
 * let go frees it or unmaps the file. Any thread may read it.
 *
 * References belong to arenas. What makes data gives one to `a`; lt_data_keep gives one to another arena; freeing the
 * arena gives it back. So lt_attrs_copy copies references, and a graph's data lives at least as long as the graph. */
struct lt_data {
  lt_type type;
  const unsigned char *at;     /* at any address: to be read with memcpy. Bytes of a bool that are not 0 are all true */
  int64_t bytes;
  const char *file, *path;     /* as data("FILE", OFFSET, BYTES) names it; as it was opened. NULL: own memory */
  int64_t offset;
  struct lt_data_shared *shared;
};
const lt_data *lt_data_new(lt_arena *a, const lt_type *t, const void *elements); /* copied; from any address */
const lt_data *lt_data_of(lt_arena *a, const lt_tensor *t);
/* A range of a file beneath `folder`, mapped; it must stay as it is meanwhile. NULL: *why says what is wrong. */
const lt_data *lt_data_map(lt_arena *a, const lt_type *t, const char *folder, const char *file, int64_t offset,
                           const char **why);
const lt_data *lt_data_keep(lt_arena *a, const lt_data *d);          /* d; NULL: none */
const lt_data *lt_data_in(const lt_node *n);         /* a constant's value, a literal initial value; NULL: none */
bool lt_data_eq(const lt_data *a, const lt_data *b); /* same type, same bits; at once when they are the same */
uint64_t lt_data_hash(const lt_data *d);             /* of type and bytes; computed once */
bool lt_data_splat(const lt_data *d);                /* all elements have the same bits; found out once */
double lt_data_at(const lt_data *d, int64_t i);      /* element i as double */
void lt_data_write(const lt_data *d, void *to);      /* all elements, to any address */

/* ---- nodes and values ---------------------------------------------------------------------------------------- */

/* How a heavy node is computed, and how the right operand of a contraction is packed: rows of choices.def. */
typedef enum lt_algorithm {
  LT_ALGORITHM_none, /* not chosen yet, or there is one way only */
#define ALGORITHM(name, doc) LT_ALGORITHM_##name,
#include "ir/choices.def"
} lt_algorithm;
typedef enum lt_panel_kind {
  LT_PANEL_none,
#define PANEL(name, doc) LT_PANEL_##name,
#include "ir/choices.def"
} lt_panel_kind;
typedef struct lt_panel { lt_panel_kind kind; int64_t groups; } lt_panel; /* groups of the convolution; 1 for others */

/* Physical layout of a value, chosen by the pass `choose`; values made before it are all LT_PLAIN.
 *   LT_PLAIN   row-major, with an optional halo of zeros around the last two axes (rank 4 only)
 *   LT_BLOCKED [N, ceil(C/16), H + halo, W + halo, 16]: channel c is lane c mod 16 of block c / 16. The lanes past C in the
 *              last block belong to nobody: whoever writes the block may write them, nobody's result depends on them.
 *                C = 20: block 0 holds channels 0 to 15, block 1 channels 16 to 19 and 12 spare lanes
 *                an elementwise kernel computes block 1 as 16 lanes like any other and stores all of them
 *                a sum over channels, or a copy to plain, reads lanes 0 to 3 of block 1 only
 *   LT_PANEL   packed for the contraction that reads it */
typedef enum lt_layout_kind { LT_PLAIN, LT_BLOCKED, LT_PANEL } lt_layout_kind;
typedef struct lt_layout { lt_layout_kind kind; int64_t halo[4]; /* top, left, bottom, right */ lt_panel panel; } lt_layout;

/* Operand `operand` is read from a copy of it in this layout. Decided by `choose`; `layout` makes the copies. */
typedef struct lt_copy { uint32_t operand; lt_layout layout; } lt_copy;

typedef struct lt_value_info {
  lt_type type;
  const char *name;   /* NULL: unnamed; otherwise unique in the graph */
  uint32_t node;      /* index into graph->nodes */
  uint32_t result;    /* which of its results */
  lt_layout layout;
} lt_value_info;

struct lt_node {
  lt_op op;
  uint32_t id;        /* its index in graph->nodes */
  uint16_t n_in, n_out;
  const lt_value *in; /* 0: absent optional operand */
  lt_value out;       /* first result; results are consecutive */
  const void *attrs;  /* lt_<op>_attrs */
  const char *label;  /* the layer's name ("layer1.0.c1.conv") for messages, bench and dropout keys; NULL: none */
  const char *origin; /* the op at the root as the user wrote it, where a pass rewrote it; NULL: op itself */
  lt_loc loc;         /* where the user wrote it */
  uint32_t cluster;   /* fused cluster, 0: none; set by the pass `fuse` */
  lt_algorithm algorithm;             /* set by the pass `choose`, like the next */
  const lt_copy *copies; uint32_t n_copies; /* operands rising; none after the pass `layout` */
};

typedef struct lt_output { const char *name; lt_value value; } lt_output;
typedef struct lt_update { lt_value leaf, value; } lt_update; /* leaf: a param or state */
typedef enum lt_mode { LT_MODE_RUN, LT_MODE_TRAIN } lt_mode;

struct lt_graph {
  lt_job *job;        /* of the call in progress */
  lt_arena arena;
  const char *name;
  lt_mode mode;
  LT_VEC(lt_node *) nodes;       /* topological order */
  LT_VEC(lt_value_info) values;  /* [0] is none */
  LT_VEC(lt_output) outputs;     /* in the order of the definition */
  LT_VEC(lt_update) updates;
  lt_map names;                  /* value name → lt_value */
  lt_loc loc;                    /* given to nodes emitted next */
  const char *label, *origin;    /* likewise */
  const char *call;              /* what is being written out in several ops, for messages; NULL: nothing */
  int64_t max_bytes;             /* a single value larger than this is an error; 0: no limit */
};

/* A graph whose arena belongs to the caller's job until lt_graph_free. lt_graph_enter sets the job of the call. */
void lt_graph_init(lt_graph *g, lt_job *job, const char *name);
/* The same in its own arena, freed with the job when it fails, otherwise by lt_graph_free. What hands graphs out
 * (lt_text_read, lt_run_passes) makes them so. Inside the job that made it, use lt_graph_drop instead of lt_graph_free:
 * a later failure would free it again. */
lt_graph *lt_graph_new(lt_job *job, const char *name);
void lt_graph_drop(lt_job *job, lt_graph *g); /* g may be NULL */
void lt_graph_free(lt_graph *g);
void lt_graph_free_fn(void *g);
void lt_graph_enter(lt_graph *g, lt_job *job);

static inline const lt_type *lt_type_of(const lt_graph *g, lt_value v) { return &g->values.at[v].type; }
static inline lt_node *lt_node_of(const lt_graph *g, lt_value v) { return g->nodes.at[g->values.at[v].node]; }
static inline lt_op lt_op_of(const lt_graph *g, lt_value v) { return lt_node_of(g, v)->op; }
static inline const char *lt_name_of(const lt_graph *g, lt_value v) { return g->values.at[v].name; }
lt_value lt_find(const lt_graph *g, const char *name); /* 0: no such name */
static inline const lt_op_info *lt_facts(const lt_node *n) { return &lt_op_table[n->op]; } /* lt_facts(n)->writes */
bool lt_is_leaf(const lt_graph *g, lt_value v);

/* Append a node. attrs (copied) may be NULL for "all defaults". Infers, checks, names its result types; fails the job with
 * a message naming op, label, shapes. Returns the first result. in[i] may be 0 for optional operands. */
lt_value lt_emit(lt_graph *g, lt_op op, const void *attrs, const lt_value *in, unsigned n_in);
enum { LT_MAX_NAME = 255 };
/* Name a value. The name must be free (lt_find); an empty or NULL name does nothing. */
void lt_set_name(lt_graph *g, lt_value v, const char *name);
/* A name like base, made unique with ".1", ".2" … when taken. */
const char *lt_free_name(lt_graph *g, const char *base);
lt_value lt_leaf(lt_graph *g, lt_op op, const char *name, lt_type type, const lt_init *init); /* input, param, state */
lt_value lt_const_data(lt_graph *g, const lt_data *d);
lt_value lt_const_tensor(lt_graph *g, const lt_tensor *t); /* its elements as data */
lt_value lt_const_scalar(lt_graph *g, lt_dtype t, double v);
void lt_add_output(lt_graph *g, const char *name, lt_value v); /* the name of an output may differ from the value's */
void lt_add_update(lt_graph *g, lt_value leaf, lt_value v);
/* Fail naming the op being emitted, its label and location: "conv2d `stem`: x f32[1, 4, 8, 8] has 4 channels, …". */
LT_NORETURN void lt_node_fail(lt_graph *g, lt_op op, const char *fmt, ...) LT_PRINTF(3, 4);

/* Short forms used by VJPs and passes. */
lt_value lt_unary(lt_graph *g, lt_op op, lt_value x);
lt_value lt_binary(lt_graph *g, lt_op op, lt_value a, lt_value b);
lt_value lt_reshape(lt_graph *g, lt_value x, unsigned rank, const int64_t *dim); /* x itself when the shape is the same */
lt_value lt_transpose(lt_graph *g, lt_value x, const int64_t *perm); /* x itself when nothing moves */
lt_value lt_broadcast_to(lt_graph *g, lt_value x, const lt_type *shape);
lt_value lt_reduce(lt_graph *g, lt_op op, lt_value x, const lt_ints *axes, bool keepdims);
lt_value lt_sum_to(lt_graph *g, lt_value x, const lt_type *shape); /* adjoint of broadcasting */
lt_value lt_cast(lt_graph *g, lt_value x, lt_dtype t);
lt_value lt_fill_like(lt_graph *g, lt_value x, double v);          /* a broadcast scalar of x's type */

/* ---- what can be chosen (choices.c) ---------------------------------------------------------------------------- */

const char *lt_algorithm_name(lt_algorithm a);
const char *lt_panel_name(lt_panel_kind k);
const char *const *lt_algorithm_names(void); /* NULL-terminated, for lt_nearest */
const char *const *lt_panel_names(void);
lt_algorithm lt_algorithm_find(const char *name); /* LT_ALGORITHM_none: no such name */
lt_panel_kind lt_panel_find(const char *name);
bool lt_algorithm_fits(lt_algorithm a, const lt_graph *g, const lt_node *n);
/* Channels of a convolution of any of the three kinds, on the image's side and on that of its windows; false: n is none. */
typedef struct lt_conv_channels { int64_t image, windows, groups; } lt_conv_channels;
bool lt_conv_channels_of(lt_conv_channels *out, const lt_graph *g, const lt_node *n);
bool lt_layout_eq(const lt_layout *a, const lt_layout *b);
bool lt_has_halo(const lt_layout *l);
const char *lt_layout_misfit(lt_arena *a, const lt_type *t, const lt_layout *l); /* what is wrong with it for t; NULL: nothing */
int64_t lt_panel_count(const lt_type *t, lt_panel p); /* elements, padding included */
static inline int64_t lt_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* ---- print, verify, compare (print.c, verify.c, equal.c) ------------------------------------------------------- */

/* The network in the text language; canonical: equal graphs print the same, and reading the text gives an equal graph.
 * Named values keep their names, others are v1, v2 … (skipping taken ones); scalar f32 constants stand inline. Clusters and
 * what `choose` decided, when present, are printed as notes: @cluster(3), @layout(blocked, [1, 1, 1, 1]) … */
void lt_print(lt_str *out, const lt_graph *g);
void lt_print_node(lt_str *out, const lt_graph *g, const lt_node *n); /* one statement, for messages */
void lt_print_name(lt_str *out, const char *name);                    /* in backticks where not an identifier */
void lt_print_string(lt_str *out, const char *text);                  /* "…" with \" \\ \n \t */
void lt_print_data(lt_str *out, const lt_data *d);      /* data(…), or nested lists; a scalar without brackets */
bool lt_is_inline_const(const lt_graph *g, lt_value v);               /* an unnamed finite f32 scalar: stands as a number */
/* Check every invariant again from scratch; fails the job with LATHE_E_INTERNAL naming the pass `after`. */
void lt_verify(lt_graph *g, const char *after);
bool lt_graph_equal(const lt_graph *a, const lt_graph *b); /* up to names of unnamed values */
uint64_t lt_graph_hash(const lt_graph *g);

/* ---- tensors and the interpreter (tensor.c, eval.c, op_*.c) ---------------------------------------------------- */

/* Floats are held as double, integers and bool as int64_t, row-major, whatever the dtype. */
struct lt_tensor {
  lt_type type;
  union { double *f; int64_t *i; };
};
lt_tensor *lt_tensor_new(lt_arena *a, const lt_type *t);             /* zeros */
lt_tensor *lt_tensor_copy(lt_arena *a, const lt_tensor *t);
lt_tensor *lt_tensor_of(lt_arena *a, const lt_data *d);
bool lt_tensor_eq(const lt_tensor *a, const lt_tensor *b);           /* same type, same bits */
lt_tensor *lt_tensor_import(lt_arena *a, const lt_type *t, const void *data); /* from the dtype's own bytes (f32, i32, …) */
void lt_tensor_read(lt_tensor *t, const void *data);                 /* the same into a tensor that is there */
void lt_tensor_export(const lt_tensor *t, void *data);
double lt_tensor_at(const lt_tensor *t, int64_t i);                  /* element i as double */
void lt_tensor_set(lt_tensor *t, int64_t i, double v);               /* rounded to whole for integers */

/* LT_EVAL_DOUBLE: everything in double, the oracle. LT_EVAL_ROUND: f32 results are rounded to f32 after each node, as
 * constants must be when they are folded. */
typedef enum lt_eval_mode { LT_EVAL_DOUBLE, LT_EVAL_ROUND } lt_eval_mode;
typedef struct lt_eval {
  lt_job *job;
  lt_arena *arena;        /* where results live */
  const lt_graph *g;
  lt_eval_mode mode;
  const lt_tensor **value; /* by lt_value; NULL: not computed yet */
} lt_eval;
void lt_eval_init(lt_eval *e, lt_job *job, lt_arena *a, const lt_graph *g, lt_eval_mode mode);
void lt_eval_set(lt_eval *e, lt_value leaf, const lt_tensor *t); /* inputs, params, states must be set first */
const lt_tensor *lt_eval_get(lt_eval *e, lt_value v);             /* computes what v needs */
void lt_eval_node(lt_eval *e, const lt_node *n, const lt_tensor *const *in, lt_tensor *const *out); /* out allocated */
/* The scalar meaning of a MAP op: used by the interpreter and by constant folding. */
double lt_map_eval(lt_op op, const void *attrs, double a, double b, double c);

/* Counter-based random numbers, the same everywhere (random.c): a function of (seed, stream, counter). */
uint64_t lt_random_stream(const char *name);                                  /* hash of a name */
uint32_t lt_random_u32(uint64_t seed, uint64_t stream, uint64_t counter);
float lt_random_unit(uint64_t seed, uint64_t stream, uint64_t counter);       /* [0, 1), 24 bits */
float lt_random_normal(uint64_t seed, uint64_t stream, uint64_t counter);     /* mean 0, deviation 1 */
/* The seed that random_uniform (LT_X_RANDOM) uses in a step: element i is
 * lt_random_unit(lt_random_step(seed, step), lt_random_stream(key), i). */
static inline uint64_t lt_random_step(uint64_t seed, uint64_t step) { return seed + step * 0xD1342543DE82EF95u; }
void lt_init_fill(const lt_init *init, const lt_type *t, const char *name, uint64_t seed, void *data); /* dtype's own bytes */

/* ---- gradients (pass/autodiff.c and vjp hooks) ------------------------------------------------------------------ */

typedef struct lt_vjp { lt_graph *g; } lt_vjp; /* hooks emit into v->g; gin[i] = 0 means no gradient flows */
/* Append the gradients of sum_i(y[i] * seed[i]) (seed NULL or seed[i] 0: ones) in wrt[0..n) to g: out[i] always has
 * wrt[i]'s type, zeros where nothing flows. The result can be differentiated again. */
void lt_gradients(lt_graph *g, lt_value *out, const lt_value *y, const lt_value *seed, unsigned ny, const lt_value *wrt, unsigned n);

/* docs/ops.md from the op table (op_doc.c). */
void lt_ops_doc(lt_str *out);

#endif
