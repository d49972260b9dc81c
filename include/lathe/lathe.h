/* lathe.h: networks to native code. C99 and C++ clean; needs nothing but the standard headers below.
 *
 * Objects are opaque and reference-counted inside: free them in any order. A graph is built by one thread; a model is
 * immutable and usable by any thread; an instance is used by one thread at a time. Nothing is global. No call prints,
 * exits or aborts on bad input. */
#ifndef LATHE_LATHE_H
#define LATHE_LATHE_H
#include <stddef.h>
#include <stdint.h>
#include "lathe/abi.h"

#if defined(__GNUC__)
#define LATHE_API __attribute__((visibility("default")))
#else
#define LATHE_API
#endif
#ifdef __cplusplus
extern "C" {
#endif

#define LATHE_VERSION "0.1.0"

typedef enum lathe_status {
  LATHE_OK = 0,
  LATHE_E_INVALID = -1, /* a bad argument, attribute, shape or graph */
  LATHE_E_PARSE = -2,   /* text that is not a network */
  LATHE_E_IO = -3,      /* a file that cannot be read or written, or is not what it should be */
  LATHE_E_NOMEM = -4,
  LATHE_E_UNSUPPORTED = -5, /* understood, but not done by this version or target */
  LATHE_E_MISMATCH = -6,    /* weights of another shape, a comparison that failed */
  LATHE_E_INTERNAL = -7,    /* a bug in Lathe */
  LATHE_E_MODEL = -8,       /* an entry was given memory of another model or ABI */
  LATHE_E_POINTER = -9,     /* an entry was given a null or misaligned pointer */
  LATHE_E_DATA = -10        /* an entry was given a label or an index outside its range; nothing was changed */
} lathe_status;

/* Owned by the caller; works when memory is out. message may hold a second line "help: …". file is "" and line 0 where
 * they make no sense. A message too long for its place loses lines before the help; more counts them. What is no text
 * is \xNN. */
typedef struct lathe_error { int32_t status, line, column, more; char file[240], message[768]; } lathe_error;


typedef struct lathe_graph lathe_graph;
typedef struct lathe_model lathe_model;
typedef struct lathe_instance lathe_instance;
typedef struct lathe_value { uint64_t id; } lathe_value; /* of one graph; 0: failed, or "none" */
typedef enum lathe_dtype { LATHE_F32, LATHE_F64, LATHE_I32, LATHE_I64, LATHE_BOOL } lathe_dtype;
enum { LATHE_MAX_RANK = 8 };

/* Options are text: "--entry train:loss --optimizer adam --threads 4". One table holds them all (docs/options.md); the
 * command takes the same ones. A value with blanks stands in double quotes. A NULL opts means none. */
LATHE_API const char *lathe_version(void);           /* "0.1.0 (LLVM 22.1.8, x86_64…, znver4)" lives for ever */
LATHE_API const char *lathe_status_text(int status); /* "out of memory" */
/* what the functions below return as char * or in a lathe_array */
LATHE_API void lathe_free(void *text_or_array);

/* No file that is written may be another one of the list, however it is spelled: 0, or LATHE_E_INVALID with *e naming
 * both. Files are told apart as the system does, those to be made by their folders; pipes, devices and NULL are none.
 * Calls that read and write files hold theirs to this themselves, before they read any; this is for a program with
 * more. */
typedef struct lathe_file { const char *path, *what; int32_t written; } lathe_file; /* what it is: "--output" */
LATHE_API int lathe_files_distinct(const lathe_file *file, size_t n, lathe_error *e);

/* ---- graphs: from text ---- */
/* NULL on failure, *e filled (e may be NULL). path "-" is standard input. opts: --network --dim --batch --max-bytes. */
LATHE_API lathe_graph *lathe_load(const char *path, const char *opts, lathe_error *e);
LATHE_API lathe_graph *lathe_parse(const char *text, size_t bytes, const char *file, const char *opts, lathe_error *e);
LATHE_API void lathe_graph_free(lathe_graph *g); /* NULL is allowed, as in every free here */

/* ---- graphs: built in C. The first error sticks, failed values (id 0) pass through, lathe_check reports at the
 * end. */
LATHE_API lathe_graph *lathe_graph_new(const char *name); /* NULL only when memory is out */
LATHE_API lathe_value lathe_input(lathe_graph *g, const char *name, const char *type); /* type "f32[32, 1, 8, 8]" */
/* init "normal(scale=0.1)" */
LATHE_API lathe_value lathe_param(lathe_graph *g, const char *name, const char *type, const char *init);
LATHE_API lathe_value lathe_state(lathe_graph *g, const char *name, const char *type, const char *init);
LATHE_API lathe_value lathe_constant(lathe_graph *g, const char *type, const void *data); /* data is copied */
LATHE_API lathe_value lathe_number(lathe_graph *g, double v);                             /* an f32 scalar */
/* Any op of `lathe ops`, and any layer of the text language: attrs as there, "stride=2, pad=[1, 1], name=\"stem\"".
 * in[i].id 0 means none only where the operand is optional. */
LATHE_API lathe_value lathe_op(lathe_graph *g, const char *op, const char *attrs, const lathe_value *in, size_t n);
/* The same for ops with several results: fills out[0..n_out). */
LATHE_API void lathe_op_n(lathe_graph *g, const char *op, const char *attrs, const lathe_value *in, size_t n,
                          lathe_value *out, size_t n_out);
/* x through layers[0..n), each an op or layer without its operand: "relu", "conv2d(out_channels=8, kernel=3, pad=1)",
 * "sequential(linear(out=10), tanh)". Weights are called NAME.0.W, NAME.2.W … by the layer's index; a layer's own
 * name="…" stands for its index. name NULL: "sequential", made unique. An error in a layer's text has e.file
 * "layers[2]", line and column. The texts are copied. */
LATHE_API lathe_value lathe_sequential(lathe_graph *g, lathe_value x, const char *name, const char *const *layers,
                                       size_t n);
LATHE_API void lathe_gradients(lathe_graph *g, lathe_value *out, const lathe_value *y, const lathe_value *seed,
                               size_t ny, const lathe_value *wrt, size_t nwrt);
LATHE_API void lathe_output(lathe_graph *g, const char *name, lathe_value v);
/* leaf (a param or state) becomes v after the step */
LATHE_API void lathe_update(lathe_graph *g, lathe_value leaf, lathe_value v);
LATHE_API lathe_value lathe_get(const lathe_graph *g, const char *name); /* by name; id 0: none */
LATHE_API int lathe_check(const lathe_graph *g, lathe_error *e);
/* rank, or -1 */
LATHE_API int lathe_shape(const lathe_graph *g, lathe_value v, lathe_dtype *dtype, int64_t dim[LATHE_MAX_RANK]);

/* ---- graphs: typed constructors (lathe/build.h, generated from the tables of ops and layers; docs/c-api.md) ----
 * lathe_NAME(g, operands…, attrs) for every op and composite, lathe_NAME_layer(g, x, attrs) for every layer with
 * weights of its own, attrs being a struct with a field for each attribute and `name`: a pointer to it, in C++ also the
 * struct itself, {.axis = 1}. They do what lathe_op does with the same as text.
 *
 * The rule of zero: a field left zero is an attribute that is not given. It has its default, or is reported as missing.
 * Where zero itself is meant, say so: LATHE_ZERO (whole numbers), LATHE_FZERO (floats), LATHE_NO (flags). attrs NULL:
 * all left zero. Of `kernel[2]` and `pad[4]` zeros at the end are not given, and what is left reads as in the text
 * language: {3} is 3, so [3, 3]; {1, 2} is [1, 2]; four sides are {top, left, bottom, right}; [1, 0] is {1,
 * LATHE_ZERO}. Texts are copied. */
#define LATHE_ZERO INT64_MIN
#define LATHE_FZERO (-0.0) /* told by its sign; -0.0 itself is for lathe_op */
typedef enum lathe_flag { LATHE_UNSET, LATHE_YES, LATHE_NO } lathe_flag;
enum { LATHE_MAX_INTS = 16 };
/* A list: n numbers, zeros among them as they are. LATHE_INTS(1, 2) makes one; LATHE_EMPTY has none where a list must
 * be given. */
typedef struct lathe_ints { int64_t n, v[LATHE_MAX_INTS]; } lathe_ints;
#define LATHE_INTS(...)                                                                                                \
  {                                                                                                                    \
    LATHE_COUNT_(__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), { __VA_ARGS__ }               \
  }
#define LATHE_EMPTY {LATHE_ZERO, {0}}
#define LATHE_COUNT_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, count, ...) count

/* What the constructors are made of, for bindings: an op or layer and where its attributes lie in a struct of the
 * caller. */
/* of the field at `offset` */
typedef enum lathe_attr_kind {
  LATHE_ATTR_INT,   /* int64_t */
  LATHE_ATTR_FLOAT, /* double */
  LATHE_ATTR_BOOL,  /* lathe_flag */
  LATHE_ATTR_PAIR,  /* int64_t[2] */
  LATHE_ATTR_QUAD,  /* int64_t[4] */
  LATHE_ATTR_INTS,  /* lathe_ints */
  LATHE_ATTR_STR,   /* const char *; NULL: not given */
  LATHE_ATTR_DTYPE  /* const char *, "f32"; NULL: not given */
} lathe_attr_kind;
typedef struct lathe_attr { const char *key; lathe_attr_kind kind; size_t offset; } lathe_attr;
typedef struct lathe_form { const char *name; int32_t is_layer; const lathe_attr *attrs; size_t n_attrs; } lathe_form;
/* Apply it: fills out[0..n_out), ids 0 after an error, which sticks in g. attrs: the struct; NULL: nothing is given.
 * in[i].id 0 means none only where the operand is optional. Keeps no pointer. */
LATHE_API void lathe_apply(lathe_graph *g, const lathe_form *form, const void *attrs, const lathe_value *in, size_t n,
                           lathe_value *out, size_t n_out);
#include "lathe/build.h"

/* ---- sizes of images (pure functions; e may be NULL) ---- */
/* One number means (x, x), two mean themselves; anything else is LATHE_E_INVALID. Returns 0 or a lathe_status. */
LATHE_API int lathe_pair(const int64_t *x, size_t n, int64_t out[2], lathe_error *e);
/* Along one axis, with `pad` on both sides: the number of windows, (size + 2*pad - kernel) / stride + 1, and the size
 * of an image that has `size` windows, stride*(size - 1) + kernel - 2*pad. At least 1, or a lathe_status (negative)
 * when size, kernel or stride is below 1, pad below 0, the kernel larger than the padded image, nothing left, or the
 * result overflows. */
LATHE_API int64_t lathe_conv_outsize(int64_t size, int64_t kernel, int64_t stride, int64_t pad, lathe_error *e);
LATHE_API int64_t lathe_deconv_outsize(int64_t size, int64_t kernel, int64_t stride, int64_t pad, lathe_error *e);

/* ---- looking at graphs ---- */
typedef struct lathe_port { const char *name; const char *kind; /* "input" "param" "state" "output" "hyper" */
  /* in the portable image, or -1 */
  lathe_dtype dtype;
  int32_t rank;
  int64_t dim[LATHE_MAX_RANK];
  int64_t bytes;
  int64_t offset;
  int64_t limit; /* integers of this input are below it (labels: the number of classes); 0: unknown */
} lathe_port;
/* 1, or 0 past the last; strings live as long as g */
LATHE_API int lathe_graph_port(const lathe_graph *g, size_t i, lathe_port *out);
/* Where an ONNX model's exporter has folded batch normalisations into the weights of convolutions, so that they do not
 * train: "2 nodes, `node_Conv_23` the first"; NULL: nowhere that it says. Lives as long as g. */
LATHE_API const char *lathe_graph_folded(const lathe_graph *g);
/* The text of the network (canonical), of an entry (--entry), after a pass (--print-after=PASS|all), or through a list
 * of passes (--passes=a,b). --format=dot gives Graphviz, --format=info a summary of layers. Freed with lathe_free. */
LATHE_API char *lathe_print(const lathe_graph *g, const char *opts, lathe_error *e);
/* An entry as an ONNX model (docs/onnx.md): opts -o F.onnx (needed), --entry SPEC (default: run), what lathe_compile
 * takes for it, --weight-data embed|extern (inside the file or beside it in F.onnx.data; default: inside, unless that
 * would be past 2 GiB). The weights are those of `weights` (any model of the network, also a trained one), else
 * --weights F, else drawn from --seed S, else those that the network has. Files appear whole or not at all. 0, or a
 * lathe_status with *e filled. */
LATHE_API int lathe_export(const lathe_graph *g, const lathe_instance *weights, const char *opts, lathe_error *e);

/* ---- models: compiled entries ---- */
/* opts: --entry SPEC (several), --optimizer --lr --loss --weight-decay --clip-norm --freeze, --cpu --features, --math,
 * --verify-each, --time-passes, --profile (also compile what lathe_profile needs), --halves (also compile each train
 * entry NAME in two halves, see below). Default entry: run with all outputs. A grad entry (--entry grad) has one output
 * `grad_NAME` per float input and param: the gradient of the sum of all float outputs. With --output-grad=NAME (an
 * output; several) it has an input `output_grad_NAME`, and then only the outputs named count; with --hvp=NAME (an input
 * or param; several) an input `direction_NAME` and outputs `hvp_NAME` for each float input and param. --mode=train:
 * batch statistics, dropout on. */
LATHE_API lathe_model *lathe_compile(const lathe_graph *g, const char *opts, lathe_error *e);
LATHE_API void lathe_model_free(lathe_model *m);
/* An object file, with its C header, for this machine or another (docs/aot.md). opts: -o F.o (needed), --header F.h,
 * --depfile F.d, --prefix NAME, --emit obj|asm|llvm|ir, --target TRIPLE, --cpu, --features, --opt speed|size, --entry
 * SPEC (several), --parallel, --max-scratch BYTES, --weight-data embed|extern, --weights-out F.bin, --params-out F.bin,
 * and what lathe_compile takes. The weights are those of `weights` (any model of the network, also a trained one), else
 * --weights F.npz, else drawn from --seed S; NULL and neither: none, then --weight-data extern. Files appear whole or
 * not at all. 0, or a lathe_status with *e filled. Thread-safe as long as nobody calls `weights` or builds g
 * meanwhile. */
LATHE_API int lathe_emit(const lathe_graph *g, const lathe_instance *weights, const char *opts, lathe_error *e);
typedef int (*lathe_fn)(const void *io, void *region, void *scratch);
/* Entry point with an object's signature: io is a struct of pointers (lathe_model_port's order: inputs,
 * hyperparameters, outputs, then `const lathe_parallel *`, may be null); region the packed weights (run) or the state
 * (train), 64-aligned; scratch of lathe_stats.scratch_bytes. Names: "run", "train", "grad", or what --entry NAME=…
 * says. */
LATHE_API lathe_fn lathe_entry(const lathe_model *m, const char *entry);
/* A training step in two halves, where --halves asked for them: NAME_backward(io, state, grads, scratch) writes the
 * gradient of each param, and the running statistics of the batch, into `grads` and leaves the state alone;
 * NAME_apply(io, state, grads, scratch) reads them and takes the state one step on, with the bits of the whole step. io
 * is the step's; apply looks at hyperparameters alone. grads: lathe_stats.grads_bytes, 64-aligned: a header of
 * LATHE_IMAGE_HEADER bytes, then each gradient at its param's offset, zeros between. What takes the name of an entry,
 * but lathe_prove, takes that of a half too; lathe_entry gives its address under the other type, lathe_half is for
 * calling it. NULL: no such half. */
typedef int (*lathe_half_fn)(const void *io, void *state, void *grads, void *scratch);
LATHE_API lathe_half_fn lathe_half(const lathe_model *m, const char *half);
enum { LATHE_IMAGE_HEADER = 64 };
LATHE_API int lathe_model_port(const lathe_model *m, const char *entry, size_t i, lathe_port *out);
typedef struct lathe_stats {
  double compile_ms, gflop;
  int64_t scratch_bytes, weights_bytes /* packed */, params_bytes, state_bytes, grads_bytes /* 0: no halves */;
  int32_t kernels, functions;
} lathe_stats;
/* 1, or 0: no such entry */
LATHE_API int lathe_model_stats(const lathe_model *m, const char *entry, lathe_stats *out);
/* name: the node's or its layer's; op: as the user wrote it; fused: what else the kernel computes, "batch_norm relu" */
typedef struct lathe_kernel { const char *name, *op, *fused; double gflop, bytes; } lathe_kernel;
LATHE_API int lathe_model_kernel(const lathe_model *m, const char *entry, size_t i, lathe_kernel *out);
typedef struct lathe_block { const char *name; int64_t offset, bytes; int32_t first, last; /* kernels */ } lathe_block;
/* the arena's contents */
LATHE_API int lathe_model_block(const lathe_model *m, const char *entry, size_t i, lathe_block *out);
/* "passes" (times), "plan", "llvm", "asm" */
LATHE_API char *lathe_model_report(const lathe_model *m, const char *what, lathe_error *e);

/* ---- instances: one caller's weights or state, buffers, scratch ---- */
/* opts: --weights F (docs/weights.md) --weights-partial --flatten-order --seed S --threads T. Params not loaded are
 * drawn from the seed (default 0). */
LATHE_API lathe_instance *lathe_open(lathe_model *m, const char *opts, lathe_error *e);
LATHE_API void lathe_instance_free(lathe_instance *s);
/* The memory behind an input, output, hyperparameter ("lr") or param/state by name. Inputs and outputs: owned by the
 * instance until bound to yours. After writing a param of a run model call lathe_repack. NULL: no such name, or a param
 * that is in the file of --weights still, and that file has been written since (docs/weights.md). An
 * instance of a train model also has "step" (calls so far) and "seed", both i64; lathe_weights_save keeps them with the
 * optimizer. */
LATHE_API void *lathe_buffer(lathe_instance *s, const char *name, size_t *bytes);
/* NULL data: back to the own buffer. LATHE_E_INVALID: no input, output or hyperparameter of that name;
 * LATHE_E_MISMATCH: fewer bytes than any entry may read or write there; then nothing changes. */
LATHE_API int lathe_bind(lathe_instance *s, const char *name, void *data, size_t bytes);
LATHE_API int lathe_call(lathe_instance *s, const char *entry); /* allocates nothing; 0 or a lathe_status */
LATHE_API int lathe_repack(lathe_instance *s);
/* What lathe_call passes beside io and scratch: the region of an entry (packed weights, params or state), and the
 * gradient image that backward of a step writes and its apply reads. They live as long as the instance. NULL: no such
 * entry, nothing to pass. */
LATHE_API void *lathe_region(lathe_instance *s, const char *entry, size_t *bytes);
LATHE_API void *lathe_grads(lathe_instance *s, const char *entry, size_t *bytes);
/* By the name's ending: .npz, .safetensors, and for loading PyTorch's .pth. Loading changes everything or nothing. */
LATHE_API int lathe_weights_load(lathe_instance *s, const char *path, int partial, lathe_error *e);
LATHE_API int lathe_weights_save(lathe_instance *s, const char *path, int with_optimizer, lathe_error *e);
/* What a file of weights holds (docs/weights.md), a line each as text. With g, the network whose weights they are:
 * which of them each is, and what is done to its elements; opts then may have --output G, which writes them with the
 * network's own names and layouts, --weights-partial and --flatten-order. Freed with lathe_free. */
LATHE_API char *lathe_weights_list(const char *path, const lathe_graph *g, const char *opts, lathe_error *e);
/* params and states by name */
LATHE_API int lathe_weights_copy(lathe_instance *to, const lathe_instance *from, lathe_error *e);
/* Fill an input from the seed: floats normal, integers in [0, limit). */
LATHE_API int lathe_fill(lathe_instance *s, const char *name, uint64_t seed, int64_t limit);
/* Best time of each kernel of an entry in seconds, kernels run one by one for about `seconds`; best[] has
 * lathe_stats.kernels places. Needs --profile. */
LATHE_API int lathe_profile(lathe_instance *s, const char *entry, double seconds, double *best, lathe_error *e);
LATHE_API double lathe_peak_gflops(const lathe_model *m); /* one core's FMA peak, measured now; 0 on failure */

/* ---- proving compiled code (`lathe check`) ---- */
/* One point of a proof: whether it holds, what it says, and lines of findings (each ends in a newline), or NULL. */
typedef struct lathe_point { int32_t ok; const char *what, *notes; } lathe_point;
typedef struct lathe_proof { size_t n; const lathe_point *point; } lathe_proof; /* lathe_free frees all of it */
/* Hold an entry of the instance's model against the interpreter in double precision, on the inputs, params and states
 * that the instance has: what the passes made of the network (g, from which the model was compiled), each node from the
 * operands that the compiled code had, the whole from inputs to outputs. The first node that is too far off is named
 * with its operands' ranges. Leaves the outputs of one call in the instance; params and states are put back. opts:
 * --rtol R: how far a node may be off, relative to its value or to what it adds up (default 1e-5; end to end, a hundred
 * times that), --atol R (1e-37). NULL only when nothing could be compared; a point that does not hold is a result.
 * Slow: naive loops. */
LATHE_API lathe_proof *lathe_prove(const lathe_graph *g, lathe_instance *s, const char *entry, const char *opts,
                                   lathe_error *e);
/* An object file of lathe_emit for this machine, loaded into this process without a linker. Functions found in it are
 * those of its header, and live as long as the object; any thread may call them. NULL with *e filled, or no such
 * symbol. */
typedef struct lathe_object lathe_object;
LATHE_API lathe_object *lathe_object_load(const char *path, lathe_error *e);
LATHE_API void *lathe_object_find(lathe_object *o, const char *symbol); /* by one thread at a time */
LATHE_API void lathe_object_free(lathe_object *o);

/* ---- arrays in files ---- */
typedef struct lathe_array {
  char name[256];
  lathe_dtype dtype;
  int32_t rank;
  int64_t dim[LATHE_MAX_RANK];
  void *data; /* lathe_free */
} lathe_array;
/* .npy of any float kind, byte order and memory order is read into f32 (or f64 when want is LATHE_F64), any integer
 * kind into i32 (or i64) if all values fit, bool into bool. want -1: by kind. So is ONNX's TensorProto, where the
 * name ends in .pb. */
LATHE_API int lathe_npy_load(lathe_array *out, const char *path, int want, lathe_error *e);
/* Whole or not at all. An .npy is a result, and the disk is not waited for; it is for archives and weights. */
LATHE_API int lathe_npy_save(const lathe_array *a, const char *path, lathe_error *e);
/* All arrays of an archive; one that holds text or Python objects has its name and data NULL. Each data, then *out:
 * lathe_free. */
LATHE_API int lathe_npz_load(lathe_array **out, size_t *n, const char *path, lathe_error *e);
LATHE_API int lathe_npz_save(const lathe_array *a, size_t n, const char *path, lathe_error *e);

/* ---- tables ---- */
/* "ops" "ops.md" "targets" "passes" "options" "options.md" */
LATHE_API char *lathe_table(const char *which, lathe_error *e);

#ifdef __cplusplus
}
#endif
#endif
