/* model.h: an ONNX model as its file has it: names, nodes, attributes and tensors, with the place of each; what
 * import.c makes a graph of.
 *
 * Names are copied, elements of tensors never are: a tensor is where its elements stand, in the file or in another.
 * Everything lives in the reader's arena: lists are counted before they are made, what is made is weighed
 * (LT_ONNX_BYTES), a node without an op or a result is refused where it stands. What is not needed
 * (documentation, most metadata, types of values in between, training information) is passed over. */
#ifndef LT_ONNX_MODEL_H
#define LT_ONNX_MODEL_H
#include "frontend/onnx/wire.h"
#include "ir/ir.h"

enum {
  LT_ONNX_IR = 14,         /* the newest version of the format that is read */
  LT_ONNX_OPSET_FIRST = 6, /* versions of the standard's ops */
  LT_ONNX_OPSET_LAST = 28,
  LT_ONNX_DOMAINS = 256,     /* sets of ops that a model imports */
  LT_ONNX_FUNCTIONS = 4096,  /* that a model defines itself */
  LT_ONNX_NAME = 4096,       /* bytes of a name */
  LT_ONNX_BYTES = 40 << 20,  /* nodes, names, attributes, tensors without their elements, as they are held here */
  LT_ONNX_WRITTEN = 1 << 18, /* nodes of branches, loops and functions, each as often as it is written out */
  LT_ONNX_NUMBERS = 1 << 16  /* of one attribute */
};

/* TensorProto.DataType, as the standard numbers them. */
typedef enum lt_onnx_type {
  LT_ONNX_NONE,
#define TYPE(name, number, dtype, bits) LT_ONNX_##name = number,
#include "frontend/onnx/onnx_types.def"
  LT_ONNX_TYPES
} lt_onnx_type;
const char *lt_onnx_type_name(int64_t type);          /* "float16"; "element type 99" for none */
bool lt_onnx_dtype(lt_onnx_type type, lt_dtype *out); /* false: there is no such type here */

typedef struct lt_onnx_tensor {
  const char *name;                                   /* "": none */
  size_t at;                                          /* of its message */
  lt_span message;
  lt_onnx_type type;
  unsigned rank;
  int64_t dim[LT_MAX_RANK]; /* may be 0 */
  int64_t count;            /* elements */
  bool has_raw;
  lt_span raw;
  uint32_t typed;         /* the field that has its elements where they are not raw; 0: none */
  bool external;          /* in another file: */
  const char *location;   /* NULL: not said */
  int64_t offset, length; /* -1: up to the end of the elements */
} lt_onnx_tensor;

/* AttributeProto.AttributeType */
typedef enum lt_onnx_attr_kind {
  LT_ONNX_A_NONE,
  LT_ONNX_A_FLOAT,
  LT_ONNX_A_INT,
  LT_ONNX_A_STRING,
  LT_ONNX_A_TENSOR,
  LT_ONNX_A_GRAPH,
  LT_ONNX_A_FLOATS,
  LT_ONNX_A_INTS,
  LT_ONNX_A_STRINGS
} lt_onnx_attr_kind;
typedef struct lt_onnx_attr {
  const char *name;
  size_t at;
  int64_t kind; /* lt_onnx_attr_kind, or one that nobody asks for */
  double f;
  int64_t i;
  const char *s;
  LT_VEC(int64_t) ints;
  LT_VEC(float) floats;
  LT_VEC(const char *) strings;
  lt_onnx_tensor *tensor;
  lt_span graph;
  const char *ref; /* in a function: the attribute of the call that it stands for; NULL: it is itself */
  bool asked;      /* by whoever imports the node: what nobody asks for is not understood */
} lt_onnx_attr;

typedef struct lt_onnx_node {
  const char *name; /* "": none */
  const char *op, *domain;
  size_t at;
  LT_VEC(const char *) in; /* "" stands for one that is left out */
  LT_VEC(const char *) out;
  LT_VEC(lt_onnx_attr) attrs;
  bool folded;          /* its exporter says that a batch normalisation has gone into it */
  uint32_t asked, made; /* operands and results up to the last that whoever imports the node knows of */
} lt_onnx_node;

typedef struct lt_onnx_dim { int64_t value; const char *name; } lt_onnx_dim; /* name: symbolic; value -1: not said */
typedef struct lt_onnx_port {
  const char *name;
  size_t at;
  lt_onnx_type type; /* LT_ONNX_NONE: no tensor, or not said */
  const char *what;  /* "sequence", "map" …: no tensor */
  bool shaped;
  unsigned rank;
  lt_onnx_dim dim[LT_MAX_RANK];
} lt_onnx_port;

typedef struct lt_onnx_graph {
  const char *name;
  LT_VEC(lt_onnx_node) nodes;
  LT_VEC(lt_onnx_tensor) tensors;
  LT_VEC(lt_onnx_port) inputs, outputs;
  size_t sparse; /* where a sparse initializer stands; 0: there is none */
} lt_onnx_graph;

typedef struct lt_onnx_opset { const char *domain; int64_t version; } lt_onnx_opset;
/* An op that the model itself defines: nodes that stand in the place of a call. */
typedef struct lt_onnx_function {
  const char *name, *domain;
  LT_VEC(const char *) in;
  LT_VEC(const char *) out;
  LT_VEC(const char *) attrs;    /* that a call may have */
  LT_VEC(lt_onnx_attr) defaults; /* likewise, and what they are where it has not */
  LT_VEC(lt_onnx_opset) opsets;
  lt_onnx_graph body; /* nodes alone */
} lt_onnx_function;
typedef struct lt_onnx_model {
  lt_wire wire;
  int64_t ir;
  LT_VEC(lt_onnx_opset) opsets;
  LT_VEC(lt_onnx_function) functions;
  lt_map by_name; /* domain and name → index of the function */
  lt_onnx_graph graph;
  uint64_t bytes; /* held so far */
} lt_onnx_model;

/* The whole structure. w->arena keeps what is read. */
void lt_onnx_read_model(lt_onnx_model *m, const lt_wire *w);
/* The graph of an attribute, where a node has one. */
void lt_onnx_read_graph(lt_onnx_model *m, lt_onnx_graph *g, lt_span where);
/* The file is one tensor; of m only the wire is set. */
void lt_onnx_read_tensor(lt_onnx_model *m, lt_onnx_tensor *x);
const lt_onnx_function *lt_onnx_function_named(const lt_onnx_model *m, const char *domain, const char *name);
int64_t lt_onnx_opset_of(const lt_onnx_model *m, const char *domain); /* 0: not imported */

/* ---- tensors (tensor.c), other files (external.c) ---------------------------------------------------------------- */

/* Files with elements, opened once each. */
typedef struct lt_onnx_files {
  const char *folder, *own; /* the model's; its own name in there, and as it was opened */
  const char *path;
  lt_mapping *mapping; /* of the model itself; NULL: it stands in memory */
  lt_map opened;       /* location → lt_mapping */
} lt_onnx_files;
/* What is beneath `folder` and regular, reached by no link: NULL, or *why in `a`. */
lt_mapping *lt_onnx_open_external(lt_arena *a, const char *folder, const char *name, const char **why);
/* The elements as constant data of type t, of the tensor's count, kept by `keep`: a range of the file where they stand
 * there as they are in memory, else decoded. */
const lt_data *lt_onnx_data(const lt_onnx_model *m, lt_onnx_files *files, lt_arena *keep, const lt_onnx_tensor *x,
                            const lt_type *t);
/* "initializer `w`", "the constant at byte 17" */
const char *lt_onnx_tensor_text(lt_arena *a, const lt_onnx_tensor *x);

#endif
