/* graph.h: the graph: nodes, values, and what is chosen for them.
 *
 * A graph is a list of nodes in topological order (operands stand before users), append-only, in static single
 * assignment. Everything lives in the graph's arena. A pass never edits a graph: it copies what it keeps into a new
 * one, mapping values (pass.h), so nothing dangles, dead nodes vanish and order always holds. */
#ifndef LT_GRAPH_H
#define LT_GRAPH_H
#include "ir/data.h"

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
 *   LT_BLOCKED [N, ceil(C/16), H + halo, W + halo, 16]: channel c is lane c mod 16 of block c / 16. The lanes past C in
 *   the
 *              last block belong to nobody: whoever writes the block may write them, nobody's result depends on them.
 *                C = 20: block 0 holds channels 0 to 15, block 1 channels 16 to 19 and 12 spare lanes
 *                an elementwise kernel computes block 1 as 16 lanes like any other and stores all of them
 *                a sum over channels, or a copy to plain, reads lanes 0 to 3 of block 1 only
 *   LT_PANEL   packed for the contraction that reads it */
typedef enum lt_layout_kind { LT_PLAIN, LT_BLOCKED, LT_PANEL } lt_layout_kind;
typedef struct lt_layout {
  lt_layout_kind kind;
  int64_t halo[4]; /* top, left, bottom, right */
  lt_panel panel;
} lt_layout;

/* Operand `operand` is read from a copy of it in this layout. Decided by `choose`; `layout` makes the copies. */
typedef struct lt_copy { uint32_t operand; lt_layout layout; } lt_copy;

typedef struct lt_value_info {
  lt_type type;
  const char *name; /* NULL: unnamed; otherwise unique in the graph */
  uint32_t node;    /* index into graph->nodes */
  uint32_t result;  /* which of its results */
  bool updated;     /* a leaf with an update */
  lt_layout layout;
} lt_value_info;

struct lt_node {
  lt_op op;
  uint32_t id; /* its index in graph->nodes */
  uint16_t n_in, n_out;
  const lt_value *in;     /* 0: absent optional operand */
  lt_value out;           /* first result; results are consecutive */
  const void *attrs;      /* lt_<op>_attrs */
  const char *label;      /* the layer's name ("layer1.0.c1.conv") for messages, bench and dropout keys; NULL: none */
  const char *origin;     /* the op at the root as the user wrote it, where a pass rewrote it; NULL: op itself */
  lt_loc loc;             /* where the user wrote it */
  uint32_t cluster;       /* fused cluster, 0: none; set by the pass `fuse` */
  lt_algorithm algorithm; /* set by the pass `choose`, like the next */
  const lt_copy *copies;
  uint32_t n_copies; /* operands rising; none after the pass `layout` */
};

typedef struct lt_output { const char *name; lt_value value; } lt_output;
typedef struct lt_update { lt_value leaf, value; } lt_update; /* leaf: a param or state */
typedef enum lt_mode { LT_MODE_RUN, LT_MODE_TRAIN } lt_mode;

struct lt_graph {
  lt_job *job; /* of the call in progress */
  lt_arena arena;
  const char *name;
  lt_mode mode;
  LT_VEC(lt_node *) nodes;      /* topological order */
  LT_VEC(lt_value_info) values; /* [0] is none */
  LT_VEC(lt_output) outputs;    /* in the order of the definition */
  LT_VEC(lt_update) updates;
  lt_map names;               /* value name → lt_value */
  lt_map output_names;        /* those of outputs */
  lt_loc loc;                 /* given to nodes emitted next */
  const char *label, *origin; /* likewise */
  const char *call;           /* what is being written out in several ops, for messages; NULL: nothing */
  int64_t max_bytes;          /* a single value larger than this is an error; 0: no limit */
  const char *folded;         /* where the source has batch normalisation in other weights, for people; NULL: nowhere */
  bool fast;                  /* --math=fast: passes may change the last digits */
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
lt_value lt_find(const lt_graph *g, const char *name);                                     /* 0: no such name */
static inline const lt_op_info *lt_facts(const lt_node *n) { return &lt_op_table[n->op]; } /* lt_facts(n)->writes */
bool lt_is_leaf(const lt_graph *g, lt_value v);

/* Append a node. attrs (copied) may be NULL for "all defaults". Infers, checks, names its result types; fails the job
 * with a message naming op, label, shapes. Returns the first result. in[i] may be 0 for optional operands. */
lt_value lt_emit(lt_graph *g, lt_op op, const void *attrs, const lt_value *in, unsigned n_in);
enum { LT_MAX_NAME = 255 };
#define LT_NAME_RULE "no backtick, no control character and nothing that is not UTF-8"
const char *lt_name_misfit(const char *name, size_t n); /* the first byte against that rule; NULL: none */
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
/* x itself when the shape is the same */
lt_value lt_reshape(lt_graph *g, lt_value x, unsigned rank, const int64_t *dim);
lt_value lt_transpose(lt_graph *g, lt_value x, const int64_t *perm); /* x itself when nothing moves */
lt_value lt_broadcast_to(lt_graph *g, lt_value x, const lt_type *shape);
lt_value lt_reduce(lt_graph *g, lt_op op, lt_value x, const lt_ints *axes, bool keepdims);
lt_value lt_sum_to(lt_graph *g, lt_value x, const lt_type *shape); /* adjoint of broadcasting */
lt_value lt_cast(lt_graph *g, lt_value x, lt_dtype t);
lt_value lt_fill_like(lt_graph *g, lt_value x, double v); /* a broadcast scalar of x's type */

/* ---- what can be chosen (choices.c) ---------------------------------------------------------------------------- */

const char *lt_algorithm_name(lt_algorithm a);
const char *lt_panel_name(lt_panel_kind k);
const char *const *lt_algorithm_names(void); /* NULL-terminated, for lt_nearest */
const char *const *lt_panel_names(void);
lt_algorithm lt_algorithm_find(const char *name); /* LT_ALGORITHM_none: no such name */
lt_panel_kind lt_panel_find(const char *name);
bool lt_algorithm_fits(lt_algorithm a, const lt_graph *g, const lt_node *n);
/* Channels of a convolution of any of the three kinds, on the image's side and on that of its windows; false: n is
 * none. */
typedef struct lt_conv_channels { int64_t image, windows, groups; } lt_conv_channels;
bool lt_conv_channels_of(lt_conv_channels *out, const lt_graph *g, const lt_node *n);
bool lt_layout_eq(const lt_layout *a, const lt_layout *b);
bool lt_has_halo(const lt_layout *l);
/* what is wrong with it for t; NULL: nothing */
const char *lt_layout_misfit(lt_arena *a, const lt_type *t, const lt_layout *l);
int64_t lt_panel_count(const lt_type *t, lt_panel p); /* elements, padding included */
static inline int64_t lt_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

#endif
