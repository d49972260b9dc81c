/* plan.h: the plan: what an entry computes, as ordered affine kernels over buffers with fixed offsets.
 *
 * The plan stands between the graph and emission. It is complete (emission asks the graph nothing) and names no LLVM
 * type, no vector width, no register: the same plan is emitted for every target. Everything is an affine loop nest:
 *
 *   - a kernel has output dims  d[0..n_dims)  and, behind them, reduced dims  d[n_dims..n_dims+n_rdims)
 *   - an access is buffer + offset + Σ stride[k]·i_k (elements), plus guarded terms (lt_index) for windows and borders
 *   - d[n_dims-1] is the lane dim: emission handles it 16 elements at a time on every ISA (LT_LANES), the last part
 *     being shorter. All targets run the same 16-lane program; a narrower machine runs each step in pieces, so the bits
 *     agree.
 *   - expressions are short SSA lists over elementwise ops (LT_MAP rows of ops.def), evaluated for 16 lanes at once
 *
 * Channels in blocks: a value of layout LT_BLOCKED with C channels is walked with dims (n, c/16, h, w, lane) where the
 * lane dim has extent 16; kernel.block_dim names the c/16 dim and kernel.channels is C, so lane l of block b exists iff
 * 16·b + l < C. Accesses to blocked buffers may touch lanes that do not exist; others (`masked`) must not.
 *
 * Order of sums (design.md, "One answer"): elements come in row-major order of the reduced dims, cut into runs
 * (runs.h). LT_SUM_TREE16: element i of all goes to partial sum i mod 16. A run's elements of a partial sum are added
 * in order, starting from 0; the runs of each are added pairwise, as a binary counter carries: when run r is complete
 * it is added to the one that waits as often as r ends in ones, and what waits at the end is added from the latest to
 * the earliest. Then partial sums are added 8, 4, 2, 1 apart. LT_SUM_CHAIN: a run is one chain from 0, and when the
 * last instruction of rexpr is a `mul` it is fused into the addition (one fma per element); the runs are added in
 * order.
 *
 * Exactly what a kernel means (tests/kcheck/plan_eval.c executes it literally):
 *   - lane l of the lane dim exists iff block_dim is LT_NONE or 16·i_block + l < channels. Values of lanes that do not
 *     exist are never stored through a `masked` access; a masked load gives `fill` there and touches no memory.
 *   - a load whose guards are not all valid gives `fill`; in the rexpr of a REDUCE the iteration is skipped instead (it
 *     adds nothing, but keeps its place i in the order), but for LT_SUM_CHAIN, where `fill` takes part: padding times a
 *     weight that is not finite is NaN. X_COUNT counts the iterations not skipped.
 *   - MAX with no valid iteration is -inf; NaN wins. ARGMAX: X_RESULT is i64, the row-major index over the reduced dims
 *     of the first maximum, or of the first NaN.
 *   - all loads of an iteration come before its stores: a store may go where the same iteration has loaded.
 *   - one kernel's iterations over output dims are independent of each other, so any order and any thread will do
 *     (SCATTER: independent over the rows). */
#ifndef LT_PLAN_H
#define LT_PLAN_H
#include "ir/ir.h"
#include "plan/runs.h"

enum { LT_LANES = 16, LT_MAX_DIMS = 12, LT_MAX_INDEX = 8, LT_NONE = -1, LT_ALIGN = 64 };

static inline int64_t lt_aligned(int64_t bytes) { return (bytes + LT_ALIGN - 1) / LT_ALIGN * LT_ALIGN; }

/* ---- buffers ---- */
typedef enum lt_region {
  LT_REGION_IO,      /* the pointer in io slot `slot` */
  LT_REGION_STATE,   /* weights (portable image, packed image) or state: the entry's region pointer */
  LT_REGION_OUT,     /* second region of pack, backward and apply entries: where the result image goes */
  LT_REGION_SCRATCH, /* the arena */
  LT_REGION_CONST    /* read-only data of the module: plan->constant */
} lt_region;

typedef struct lt_buffer {
  lt_region region;
  uint32_t slot;         /* IO: index of the pointer in the io struct */
  int64_t offset, bytes; /* offset set by memplan for SCRATCH; a multiple of 64 */
  lt_dtype dtype;
  const char *name;    /* for dumps */
  lt_value value;      /* of the graph that was planned, for which these bytes are; 0: of none */
  int32_t first, last; /* kernels that define and last use it (SCRATCH) */
} lt_buffer;

/* ---- accesses ---- */
/* q = (Σ coef[k]·i_k + add) / div; valid iff div divides it and 0 ≤ q < limit; address += q·stride */
typedef struct lt_index {
  int64_t coef[LT_MAX_DIMS], add, div, limit, stride;
} lt_index;

typedef struct lt_access {
  uint32_t buffer;
  int64_t offset, stride[LT_MAX_DIMS]; /* elements */
  uint8_t n_index;
  lt_index *index;
  bool masked; /* never touch a lane that does not exist */
  /* what a load gives where a guard is not valid (a pad's value); reductions but chains skip those
   * iterations */
  double fill;
} lt_access;

/* ---- expressions ---- */
typedef enum lt_instr_kind {
  LT_X_LOAD,   /* access `access` at the current iteration */
  LT_X_CONST,  /* value */
  LT_X_MAP,    /* op(arg[0..2]) with attrs */
  LT_X_RESULT, /* the contraction's or reduction's result (index `access` when there are several) */
  LT_X_COUNT,  /* how many iterations of the reduced dims were valid, as float (windows) */
  LT_X_INDEX,  /* the current coordinate of dim `access` as i64 (random numbers, argmax) */
  LT_X_RANDOM  /* uniform [0,1) from seed arg[0], step arg[1] (i64 loads), stream `stream`, counter arg[2] (i64) */
} lt_instr_kind;
typedef struct lt_instr {
  lt_instr_kind kind;
  lt_dtype dtype; /* of the result */
  lt_op op;
  const void *attrs;
  int32_t access, arg[3];
  double value;
  uint64_t stream;
} lt_instr;
typedef struct lt_store { lt_access to; int32_t value; } lt_store; /* value: index into the expression */

/* ---- kernels ---- */
typedef enum lt_kernel_kind {
#define LT_KERNEL(NAME, name, own, dims, place, tasks) LT_K_##NAME,
#include "plan/kernels.def"
#undef LT_KERNEL
} lt_kernel_kind;

typedef enum lt_reduce_kind { LT_SUM_TREE16, LT_SUM_CHAIN, LT_REDUCE_MAX, LT_REDUCE_ARGMAX } lt_reduce_kind;

/* A contraction C[m.., n] = Σ_k A[m.., k]·B[k, n]. Output dims as ever; the lane dim is n mod 16 and the dim before it
 * the block of n (block_dim), so B is read 16 contiguous lanes at a time (stride[lane] == 1) and A is one scalar per
 * (m, k), broadcast. K runs over segments in order, each a nest of up to 4 dims, outermost first.
 * Conv forward: one segment (C/16, KH, KW, 16) and, when C mod 16 ≠ 0, a second (KH, KW, C mod 16).
 *
 * The sum of an output: each run is a chain from zero along K, and the runs' sums are added in their order: (r0 + r1) +
 * r2 …. Where K is not cut, all of it is one run. Otherwise every segment begins one, and is cut as its `run` says.
 * With borders +0 is added at last.
 *
 * Border: iteration t of the dim of K that is `back` dims before the end of each segment reads A inside the image iff
 * 0 ≤ add + Σ coef[d]·i_d + step·t < size. Outside stand zeros, which take part in the sum; but zero times what is
 * finite changes nothing in it (its last +0 takes the sign from a zero), so who emits may leave these out, if the sum
 * is NaN where the B that they meet is not finite. */
typedef struct lt_kborder { uint8_t back; int64_t coef[LT_MAX_DIMS], add, step, size; } lt_kborder;
typedef struct lt_kseg {
  uint8_t n;
  int64_t extent[4], a_stride[4], b_stride[4], a_offset, b_offset;
  int64_t b_dim[LT_MAX_DIMS]; /* what this segment adds to b.stride: its rows may stand at other distances */
  lt_runs run;
} lt_kseg;
typedef struct lt_contract {
  lt_access a, b; /* strides over the output dims; a.stride[lane] == a.stride[block] == 0 */
  uint8_t n_seg;
  lt_kseg seg[4];
  bool cut;
  uint8_t n_border;
  lt_kborder border[2];
  uint8_t row_dim, col_dim; /* the two output dims that the register tile spans (rows × cols); others are outer loops.
                               Both always exist, different, neither block nor lane dim; the extent may be 1 (row_dim of
                               a matrix product) */
  /* 0: none. Else an output dim, beside none of those, along which B moves and A does not, as along the lanes; there
     are no blocks of channels then, and B has 16 lanes in memory past the end too. A task walks it, and a tile may have
     several of it side by side. */
  uint8_t side_dim;
  bool b_masked; /* B's last block has only channels%16 lanes in memory */
} lt_contract;

/* y[r, j] = x[r, idx[r, j]] and its adjoint: rows over dims 0..n_dims-2, j over the lane dim. `data` is x (gather) or
 * the result (scatter), its lane stride 0; its stride along the indexed axis is axis_stride, axis_size its extent.
 * `index` has strides over all dims; `other` is scatter's g, strides over all dims (gather: unused). An index below 0
 * gives 0, one at or past axis_size NaN (0 for integers); scatter drops both. block_dim is LT_NONE, all accesses
 * unguarded. */
typedef struct lt_gather {
  lt_access data, index, other;
  int64_t axis_size, axis_stride;
  lt_dtype index_dtype;
} lt_gather;

typedef struct lt_border { uint32_t buffer; int64_t outer, height, width, inner, halo[4]; } lt_border;
/* the buffer is [outer, halo0 + height + halo2, halo1 + width + halo3, inner] */

typedef struct lt_kernel {
  lt_kernel_kind kind;
  const char *name;  /* "conv1" or "v12": for bench and symbols' comments */
  const char *op;    /* the op at the root as the user wrote it; "layout", "pack" for what the compiler added */
  const char *fused; /* what else it computes, as users wrote it: "batch_norm relu"; "": nothing */
  double flop, bytes;
  lt_dtype dtype, acc; /* element and accumulator type */
  uint8_t n_dims, n_rdims;
  int64_t extent[LT_MAX_DIMS];
  int32_t block_dim; /* LT_NONE, or the dim that counts blocks of 16 of `channels` */
  int64_t channels;
  uint8_t n_task_dims; /* the leading output dims whose iterations are tasks for threads (kernels.def: DIMS) */
  lt_access *access;
  uint32_t n_access;
  lt_instr *rexpr;
  uint32_t n_rexpr; /* REDUCE: its last instr is what is reduced */
  lt_reduce_kind reduce;
  lt_runs runs; /* REDUCE, sums of floats: runs.dim counts from n_dims; per 0: one run */
  lt_instr *expr;
  uint32_t n_expr;
  lt_store *store;
  uint32_t n_store;
  union { /* by kind; the others have none */
    lt_contract *contract; /* CONTRACT */
    lt_gather *gather;     /* GATHER, SCATTER */
    lt_border *border;     /* BORDER */
  };
} lt_kernel;

/* ---- the plan of one entry ---- */
typedef enum lt_slot_role { LT_SLOT_INPUT, LT_SLOT_HYPER, LT_SLOT_OUTPUT } lt_slot_role;
/* nullable: a null pointer is allowed. HYPER: `def`, in the slot's dtype, stands among the constants at offset
 * def_offset. OUTPUT: kernels that store to it are skipped (they store nowhere else). */
typedef struct lt_slot {
  const char *name;
  lt_type type;
  lt_slot_role role;
  bool nullable;
  double def;
  int64_t def_offset;
  bool unused; /* stands in the io struct, but this entry does not look at it (a half of a training step) */
} lt_slot;
/* Integers of an input that pick something: those at offset + Σ stride[k]·i_k are below `limit`, or the entry returns
 * LATHE_E_DATA before it changes anything. No dims: the one at offset. */
typedef struct lt_index_check {
  uint32_t slot;
  int64_t limit, offset;
  uint8_t n_dims;
  int64_t extent[LT_MAX_RANK], stride[LT_MAX_RANK];
} lt_index_check;
/* The first 64 bytes of every image (little endian): what a wrong file or pointer is recognised by. */
typedef enum lt_image_kind { LT_IMAGE_PARAMS = 1, LT_IMAGE_STATE, LT_IMAGE_GRADS, LT_IMAGE_PACKED } lt_image_kind;
typedef struct lt_image_header { char magic[8]; uint32_t abi, kind; uint64_t model, bytes, zero[4]; } lt_image_header;
#define LT_IMAGE_MAGIC "LATHEIMG"

typedef struct lt_constant { int64_t offset; const lt_data *data; } lt_constant;

typedef struct lt_plan {
  const char *name; /* "run" */
  lt_slot *slot;
  uint32_t n_slot; /* the io struct: these pointers in order, then `parallel` */
  lt_buffer *buffer;
  uint32_t n_buffer;
  lt_kernel *kernel;
  uint32_t n_kernel;
  LT_VEC(lt_index_check) check; /* filled by the driver: lt_plan_indices */
  LT_VEC(lt_constant) constant; /* LT_REGION_CONST: what stands where, in order, each 64-aligned, zeros between */
  int64_t const_bytes;
  int64_t region_bytes, out_bytes, scratch_bytes;
  /* Filled by the driver. What the entry demands of the region's header: magic, ABI, this model, one of these kinds
   * (bits 1 << lt_image_kind; 0: the header is not looked at). Otherwise it returns LATHE_E_MODEL. */
  uint32_t region_kinds;
  uint64_t model;        /* hash of what fixes the images' meaning */
  uint64_t state_model;  /* of images of kind STATE and GRADS, which hold more than PARAMS; 0: model */
  uint64_t packed_model; /* of an image of kind PACKED that the entry writes */
  /* the entry writes the header of `out`: of this kind, this model and out_bytes; 0: no */
  uint32_t out_kind;
  uint32_t out_kinds; /* what it demands of the header of `out`, which it then reads; 0: nothing */
} lt_plan;

/* The entry's region: where each param and state (and moment) stands in the portable image. One image serves all
 * entries of a model, so it may hold more than a graph needs: plans find items by name; `leaf` is of the graph the
 * image was made of. */
typedef struct lt_image_item {
  const char *name;
  lt_type type;
  int64_t offset;
  lt_value leaf;
  bool is_param;
} lt_image_item;
typedef struct lt_image { lt_image_item *item; uint32_t n; int64_t bytes, params_bytes; } lt_image;
enum { LT_IMAGE_HEADER = 64 };

/* Portable image of a graph: header, then params, then states, in the order of the graph, each 64-aligned. */
void lt_image_of(lt_image *out, lt_arena *a, const lt_graph *g);

/* Split g (after `simplify`) into what depends on weights only and the rest: the pack plan writes the packed image, the
 * run plan reads it. `single` plans everything as one entry over the portable image (train, grad). Graphs come after
 * `layout`. All memory in `a`. */
void lt_plan_single(lt_plan *out, lt_arena *a, const lt_graph *g, const lt_image *image, const char *name);
void lt_plan_split(lt_plan *run, lt_plan *pack, lt_arena *a, const lt_graph *g, const lt_image *image,
                   const char *name);
/* One half of a training step (driver/step/split.c): inputs and outputs that `grads` names stand in LT_REGION_OUT
 * there. */
void lt_plan_half(lt_plan *out, lt_arena *a, const lt_graph *g, const lt_image *image, const lt_image *grads,
                  const char *name);
/* indices.c: p->check, of the graph g before it was differentiated and lowered, which has p's inputs by name. Constants
 * are looked at here: a bad one fails. */
void lt_plan_indices(lt_plan *p, lt_arena *a, const lt_graph *g);
/* All integers that the entry picks by from this slot are below it; 0: none are looked at. `whole`: only if all
 * elements are. */
int64_t lt_plan_index_limit(const lt_plan *p, uint32_t slot, bool whole);
void lt_plan_memory(lt_plan *p, lt_arena *a); /* memplan.c: scratch offsets, in-place reuse */
/* The same with scratch inside `out`, over what is written later and behind the end: for a pack entry, whose caller
 * gives no scratch. out_bytes grows where that is not enough. */
void lt_plan_memory_in_out(lt_plan *p, lt_arena *a);
/* plan_const.c: data behind the plan's other constants, with a reference for `a`; returns where. */
int64_t lt_plan_const(lt_plan *p, lt_arena *a, const lt_data *d);
const void *lt_plan_const_at(const lt_plan *p, int64_t offset); /* the constant that begins there; NULL: none does */
void lt_plan_consts_write(const lt_plan *p, void *to);          /* all of them: const_bytes */
void lt_plan_consts_key(lt_str *out, const lt_plan *p);         /* for lt_plan_key */
/* plan_join.c: pack plans of several entries as one, each writing its part of the image: from's buffers in OUT are
 * moved by `shift` bytes. `from` is used up. */
void lt_plan_join(lt_plan *to, lt_plan *from, lt_arena *a, int64_t shift);
/* What a plan computes and where, without names: plans with equal texts fill their regions with the same bytes. */
void lt_plan_key(lt_str *out, const lt_plan *p);
const lt_image_item *lt_image_find(const lt_image *image, const char *name); /* NULL: none */
/* check.c: a rule that some kernel breaks; NULL: none. */
const char *lt_plan_fault(const lt_plan *p, const lt_kernel **where);
void lt_plan_print(lt_str *out, const lt_plan *p); /* a readable dump */
/* merge_dims.c: of a LOOPS kernel some of whose operands are strided in the lanes, the dim along which these are
 * contiguous: 16 of it by 16 lanes are read or written as rows and turned in registers. LT_NONE: there is none. It
 * stands before the lane dim and is no task dim. */
int lt_turned_dim(const lt_kernel *k);
/* tasks.c: the share of their time that two, four or eight threads wait for the last task, weighed; largest: the share
 * of all work that the largest task has. */
double lt_waiting(int64_t tasks, double largest);
bool lt_lies_across(const lt_kernel *k, const lt_access *a); /* strided in the lanes */
/* Of chains over blocks of channels: how many dims before the lanes are walked together, and are no task dims. 0:
 * another kernel. */
int lt_tile_dims(const lt_kernel *k);
/* Two kernels with the same key are the same code up to buffer addresses (used to share functions). The text excludes
 * names, buffers' offsets and flop counts. */
void lt_kernel_key(lt_str *out, const lt_kernel *k);
#endif
