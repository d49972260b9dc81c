/* import.h: what turning one ONNX node into nodes of ours needs: its operands as values, its attributes, what is known
 * of them while the model is read, and where its results go.
 *
 * A function of ops.def (lt_onnx_import) gets the node in progress and ends in lt_ox_result for each result. What
 * cannot be said here ends in lt_ox_refuse, which names the node; the reader goes on with the nodes that do not depend
 * on it, so that one error tells everything (import.c). Attributes that nobody asks for are refused after the call, and
 * so are operands behind the last that somebody asks for, and results behind the last that is known of.
 *
 * Operands are values (lt_ox_in), or weights (lt_ox_weight): an initializer of floats that stands where an op has
 * something to train becomes a param; otherwise a constant. What follows from constants alone is known while the model
 * is read, whatever ops it takes (slots.c evaluates it with the interpreter): so shapes may be computed. */
#ifndef LT_ONNX_IMPORT_H
#define LT_ONNX_IMPORT_H
#include "frontend/onnx/model.h"
#include "frontend/source.h"

typedef struct lt_onnx_slot {
  const char *name;
  const lt_onnx_tensor *tensor; /* whose elements it is; NULL: computed, or an input */
  bool constant;                /* of a node `Constant`: never trained */
  bool empty;                   /* of no elements, which no value can be: */
  lt_type type;                 /* of an empty one, and of a tensor */
  lt_value value, param;        /* 0: not in the graph (yet) */
  bool refused;                 /* nothing is known of it: the node that makes it was refused */
} lt_onnx_slot;

/* Names that are seen in a place: of the model, in a branch or one turn of a loop its own and those outside, in a
 * function its own alone. */
typedef struct lt_onnx_scope {
  lt_map names; /* name → lt_onnx_slot */
  const struct lt_onnx_scope *outer; /* NULL: nothing outside is seen */
} lt_onnx_scope;
/* A call of a function of the model's own: what its nodes' attributes may stand for. */
typedef struct lt_onnx_call {
  const lt_onnx_function *f;
  lt_onnx_node *n;
  const struct lt_onnx_call *outer; /* NULL: the model's own */
} lt_onnx_call;

typedef struct lt_onnx lt_onnx;
typedef struct lt_onnx_op {
  const char *name, *domain;
  int16_t since; /* the newest version that is understood */
  void (*import)(lt_onnx *c);
  lt_op op;        /* for functions that serve many rows */
  const char *how; /* for docs/onnx.md */
} lt_onnx_op;
const lt_onnx_op *lt_onnx_op_find(const char *domain, const char *name); /* NULL: not read */
void lt_onnx_ops_doc(lt_str *out);                                       /* the table of docs/onnx.md */

struct lt_onnx {
  lt_job *job;
  lt_arena *arena; /* scratch of the whole reading */
  const lt_read_options *o;
  lt_onnx_model m;
  lt_onnx_files files;
  lt_graph *g;
  lt_onnx_scope *scope;
  const lt_onnx_call *call;     /* NULL: the nodes are the model's */
  bool *live;                   /* by node of the model: an output needs it */
  struct { const lt_tensor **at; uint32_t n, cap; } known; /* by value; NULL: not known */
  uint32_t nodes_known;         /* nodes of g that were looked at */
  LT_VEC(lt_onnx_slot *) owner; /* by value: the initializer that a constant is; NULL: none */
  LT_VEC(lt_value) trained;     /* by value: the same of params, where it moves an initializer; 0: not made */
  lt_onnx_node *n;              /* in progress */
  const lt_onnx_op *row;
  int64_t opset;    /* of its domain */
  unsigned depth;   /* of what is written out: branches, loops, functions */
  uint64_t written; /* nodes of them so far */
  lt_str refusals;
  unsigned n_refused, n_folded; /* nodes; n_folded: that a batch normalisation has gone into, the first is */
  const lt_onnx_node *folded;
};

/* ---- the node in progress ---------------------------------------------------------------------------------------- */

LT_NORETURN void lt_ox_refuse(lt_onnx *c, const char *fmt, ...) LT_PRINTF(2, 3);
bool lt_ox_has(lt_onnx *c, unsigned i);            /* is operand i there? */
bool lt_ox_wants(lt_onnx *c, unsigned i);          /* is result i asked for? */
lt_value lt_ox_in(lt_onnx *c, unsigned i);         /* it must be */
lt_value lt_ox_weight(lt_onnx *c, unsigned i);     /* the same, trained where it is an initializer */
lt_value lt_ox_operand(lt_onnx *c, unsigned i);    /* trained if it is one of more than one element beside what is
                                                      computed from inputs */
lt_value lt_ox_state(lt_onnx *c, unsigned i);      /* an initializer as a state of its own; 0: it is none */
const lt_type *lt_ox_type(lt_onnx *c, unsigned i); /* of operand i, without putting it into the graph */
bool lt_ox_empty(lt_onnx *c, unsigned i);
void lt_ox_result(lt_onnx *c, unsigned i, lt_value v);
void lt_ox_result_empty(lt_onnx *c, unsigned i, const lt_type *t);
void lt_ox_alias(lt_onnx *c, unsigned i, unsigned operand); /* result i is that operand itself */

/* Known numbers. */
const lt_tensor *lt_ox_known(lt_onnx *c, unsigned i);                       /* elements of operand i; NULL: not known */
typedef struct lt_ox_ints { int64_t n; const int64_t *v; } lt_ox_ints;
lt_ox_ints lt_ox_known_ints(lt_onnx *c, unsigned i, const char *what);      /* refuses where they are not known */
const lt_tensor *lt_ox_must_know(lt_onnx *c, unsigned i, const char *what); /* refuses where it is not known */
int64_t lt_ox_known_int(lt_onnx *c, unsigned i, const char *what);
double lt_ox_known_float(lt_onnx *c, unsigned i, const char *what);

/* Attributes. */
lt_onnx_attr *lt_ox_attr(lt_onnx *c, const char *name); /* NULL: not given */
int64_t lt_ox_int(lt_onnx *c, const char *name, int64_t otherwise);
double lt_ox_float(lt_onnx *c, const char *name, double otherwise);
const char *lt_ox_text(lt_onnx *c, const char *name, const char *otherwise);
bool lt_ox_list(lt_onnx *c, const char *name, lt_ox_ints *out);                   /* false: not given */
const lt_onnx_attr *lt_ox_floats(lt_onnx *c, const char *name);                   /* its `floats`; NULL: not given */
const lt_onnx_attr *lt_ox_texts(lt_onnx *c, const char *name);                    /* its `strings`; NULL: not given */
const lt_onnx_tensor *lt_ox_tensor(lt_onnx *c, const char *name);                 /* NULL: not given */
bool lt_ox_axes(lt_onnx *c, const char *name, unsigned operand, lt_ox_ints *out); /* an attribute, later an operand */
int64_t lt_ox_axis(lt_onnx *c, int64_t axis, unsigned rank);                      /* ≥ 0, or refused */

/* ---- making values ----------------------------------------------------------------------------------------------- */

lt_value lt_ox_number(lt_onnx *c, lt_value like, double v); /* a scalar of its element type */
lt_value lt_ox_ints_const(lt_onnx *c, lt_dtype t, unsigned rank, const int64_t *dim, const int64_t *v);
static inline lt_value lt_ox_binary(lt_onnx *c, lt_op op, lt_value a, lt_value b) { return lt_binary(c->g, op, a, b); }
lt_value lt_ox_reshape(lt_onnx *c, lt_value x, unsigned rank, const int64_t *dim);
lt_value lt_ox_slice(lt_onnx *c, lt_value x, int64_t axis, int64_t from, int64_t to); /* x itself if all of it */
/* x[…, index[i], …] along axis; index in [0, size) */
lt_value lt_ox_take(lt_onnx *c, lt_value x, int64_t axis, const int64_t *index, int64_t n);
lt_value lt_ox_pick(lt_onnx *c, lt_op op, lt_value x, int64_t axis, lt_value at); /* take or gather, of any numbers */
typedef lt_value lt_ox_linear(lt_onnx *c, lt_value x, void *ctx);
lt_value lt_ox_as_floats(lt_onnx *c, lt_value x, lt_ox_linear *f,
                         void *ctx);                              /* f, which moves or adds, of any numbers */
lt_value lt_ox_from_start(lt_onnx *c, lt_value index, int64_t n); /* indices that may count from the end of n, from 0 */
lt_value lt_ox_concat(lt_onnx *c, const lt_value *v, unsigned n, int64_t axis);
lt_value lt_ox_reduce(lt_onnx *c, lt_op op, lt_value x, const lt_ints *axes, bool keepdims);
lt_value lt_ox_product_along(lt_onnx *c, lt_value x, int64_t axis); /* kept as 1 */
/* A vector [C] as [C, 1, 1, …] beside x [N, C, …]. */
lt_value lt_ox_per_channel(lt_onnx *c, lt_value v, unsigned rank);
static inline lt_type lt_ox_of(const lt_onnx *c, lt_value v) { return *lt_type_of(c->g, v); }

/* ---- slots (slots.c) --------------------------------------------------------------------------------------------- */

lt_onnx_slot *lt_onnx_slot_new(lt_onnx *c, const char *name); /* fails where the name is taken */
lt_onnx_slot *lt_onnx_slot_find(const lt_onnx *c, const char *name);
void lt_onnx_slot_tensor(lt_onnx *c, lt_onnx_slot *s, const lt_onnx_tensor *x, bool constant);
lt_value lt_onnx_slot_value(lt_onnx *c, lt_onnx_slot *s);
void lt_onnx_name_constants(lt_onnx *c);
const lt_tensor *lt_onnx_known(lt_onnx *c, lt_value v);       /* NULL: not known */
const char *lt_onnx_legal_name(lt_onnx *c, const char *name); /* as our names are, and free */

void lt_onnx_slot_bind(lt_onnx *c, const char *name, const lt_onnx_slot *s); /* another name of it, here */
const lt_tensor *lt_onnx_slot_known(lt_onnx *c, lt_onnx_slot *s);            /* NULL: not known */

/* Write out a graph in the place of the node in progress, in a scope of its own whose inputs are bound already
 * (flow.c). */
lt_onnx_scope *lt_onnx_scope_new(lt_onnx *c, const lt_onnx_scope *outer);
void lt_onnx_run_nodes(lt_onnx *c, lt_onnx_scope *s, lt_onnx_graph *g);
lt_onnx_slot *lt_onnx_scope_result(lt_onnx *c, const lt_onnx_scope *s, const char *name); /* refuses where it is not */
lt_value lt_onnx_apply_body(lt_onnx *c, const char *name, lt_value x); /* x itself where there is no such attribute */
const lt_onnx_function *lt_onnx_function_of(const lt_onnx *c, const lt_onnx_node *n); /* NULL: it is an op */
void lt_onnx_call_function(lt_onnx *c, const lt_onnx_function *f);
lt_onnx_node *lt_onnx_node_in_call(lt_onnx *c, lt_onnx_node *n); /* with what its attributes stand for */

#define IN_DOMAIN(domain, name, since, function, op, how) void lt_onnx_##function(lt_onnx *c);
#include "frontend/onnx/onnx_ops.def"

#endif
