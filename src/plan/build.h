/* build.h: inside the planner: one plan under construction, one kernel under construction.
 *
 * Everything is written in coordinates: a kernel has an iteration space, each axis of a value is an affine form of its
 * dims (lt_coord), and lt_access_at() turns coordinates of a value into an address by the value's physical layout.
 * Movement (transpose, slice, pad, broadcast) is a change of coordinates (lt_resolve), so most of it costs no kernel.
 *
 * Who owns what, each knowing only those before it:
 *   image.c    where weights and states stand in the portable image
 *   place.c    buffers, slots, and the place of every value
 *   parts.c    which operands of a concat stand in its result from the start
 *   unit.c     what is lowered together, in which order, and what of it has memory
 *   access.c   coordinates, addresses, expressions
 *   kernel.c   one kernel's dims, stores and end; merge_dims.c its dims made few
 *   owners.c   of finished kernels, which go by images and which by channels
 *   lower*.c   kernels, one file per family of ops
 *   indices.c  integers of inputs that pick, to be looked at by the entry
 *   outputs.c, updates.c, pack.c   results, new weights, the packed image
 *   plan.c     the steps in order; check.c what must hold of the result
 * Of finished kernels, whatever their kind: operands.c the walk over operands, key.c, plan_print.c; kernel_*.c what one
 * kind has. */
#ifndef LT_BUILD_H
#define LT_BUILD_H
#include "plan/plan.h"
#include "ir/pass/moves.h"
#include "ir/window.h"

/* q = (Σ coef·i + add) / div, valid iff limit is 0 or div divides and 0 ≤ q < limit; the coordinate is q + shift. */
typedef struct lt_coord { int64_t coef[LT_MAX_DIMS], add, div, limit, shift; } lt_coord;
typedef struct lt_at { lt_coord c[LT_MAX_RANK]; double fill; } lt_at;

/* Where a stored value stands. whole: it is a part of that value's memory and has its strides (parts.c); 0: it is not.
 */
typedef struct lt_place { uint32_t buffer; int64_t offset; bool set; lt_value whole; } lt_place;

/* What is scheduled: a cluster or a single node. */
typedef LT_VEC(uint32_t) lt_ids;
typedef struct lt_unit {
  const lt_node *root; /* the heavy node, else the last one */
  lt_ids node;         /* ids, in order */
  bool is_static;      /* depends on weights only */
  bool begun, done;    /* being scheduled; scheduled */
} lt_unit;

/* Who reads a stored value, directly or through moves: item[first[v]] to item[first[v + 1] - 1], in the order of nodes.
 * wanted[v]: by how many outputs and updates. */
typedef struct lt_reader { uint32_t node; lt_value operand; } lt_reader;
typedef struct lt_readers { uint32_t *first, *wanted; lt_reader *item; } lt_readers;

/* Where a value stands in a kernel's code, if `stamp` is that code's. */
typedef struct lt_memo { uint32_t stamp; int32_t x; } lt_memo;

typedef enum lt_phase { LT_PHASE_ALL, LT_PHASE_PACK, LT_PHASE_RUN } lt_phase;

typedef struct lt_builder {
  lt_arena *a;
  lt_job *job;
  const lt_graph *g;
  const lt_image *image, *grads; /* grads: NULL but in a half of a training step */
  const bool *live;              /* by node */
  const bool *fixed;             /* by node: depends on weights only */
  const lt_move *move;           /* by node */
  uint32_t *unit_of;             /* by node: unit + 1, 0: a leaf, a view, or never stored */
  bool *stored;                  /* by value: has memory of its own */
  LT_VEC(lt_unit) unit;
  lt_ids order; /* schedule */
  lt_phase phase;
  lt_plan *plan;
  LT_VEC(lt_buffer) buffer;
  LT_VEC(lt_kernel) kernel;
  LT_VEC(lt_slot) slot;
  lt_place *place; /* by value */
  bool *bordered;  /* by value: the zeros around it are written */
  lt_value *base;  /* by value: the stored value behind views and virtual moves */
  lt_readers readers;
  lt_memo *memo;        /* by value: of the kernel under construction */
  uint32_t codes_begun; /* each has its stamp */
} lt_builder;

typedef LT_VEC(lt_instr) lt_code_vec;

/* A kernel under construction. */
typedef struct lt_kernel_builder {
  lt_builder *b;
  const lt_unit *unit;
  lt_kernel k;
  LT_VEC(lt_access) access;
  lt_code_vec rexpr, expr, *x; /* x: the one being written */
  LT_VEC(lt_store) store;
  lt_str fused;   /* k.fused, as it grows */
  lt_ids named;   /* nodes that it names */
  uint32_t stamp; /* of *x, in b->memo */
  lt_type shape;  /* of the element at `at`: the shape members of the cluster have or broadcast into */
  lt_at at;
} lt_kernel_builder;

/* ---- place.c ---- */
/* block: stride of 16 channels; 0: plain */
typedef struct lt_phys { int64_t stride[LT_MAX_RANK], block, offset, count; } lt_phys;
void lt_phys_of(lt_phys *out, const lt_type *t, const lt_layout *l);
bool lt_value_blocked(const lt_builder *b, lt_value v);
bool lt_value_plain(const lt_builder *b, lt_value v);       /* row-major without a halo */
const char *lt_value_name(const lt_builder *b, lt_value v); /* for dumps */
uint32_t lt_add_buffer(lt_builder *b, lt_buffer x);
uint32_t lt_add_slot(lt_builder *b, const char *name, const lt_type *t, lt_slot_role role);
uint32_t lt_scratch(lt_builder *b, const char *name, lt_value v, int64_t count); /* elements as v has, for v */
lt_place lt_place_of(lt_builder *b, lt_value v); /* makes one for constants when first asked */
void lt_place_in(lt_builder *b, lt_value v, lt_region region, uint32_t slot, int64_t offset);
void lt_place_leaves(lt_builder *b);            /* inputs, params, states */
void lt_place_value(lt_builder *b, lt_value v); /* in the arena */
/* what it makes and has no place yet goes into the arena */
void lt_place_unit(lt_builder *b, const lt_unit *u);

/* ---- parts.c ---- */
void lt_place_parts(lt_builder *b);                             /* after outputs and updates have their places */
void lt_phys_at(lt_phys *out, const lt_builder *b, lt_value v); /* of what is stored; `count` is the whole's */
/* Does the operand of the concat n that begins there stand there already? */
bool lt_part_made_in_place(const lt_builder *b, const lt_node *n, lt_value part, int64_t before);

/* ---- readers.c ---- */
void lt_find_readers(lt_builder *b); /* base, readers */
static inline lt_value lt_base(const lt_builder *b, lt_value v) { return b->base[v]; }

/* ---- unit.c ---- */
void lt_units_collect(lt_builder *b);     /* unit, unit_of */
void lt_units_mark_stored(lt_builder *b); /* stored */
void lt_units_schedule(lt_builder *b);    /* order */
bool lt_unit_has(const lt_unit *u, uint32_t node);
/* some operand of this shape is blocked */
bool lt_unit_blocked(lt_builder *b, const lt_unit *u, const lt_type *shape);

/* ---- outputs.c, updates.c, pack.c ---- */
void lt_place_outputs(lt_builder *b, uint32_t *slot);      /* before kernels are made; slot: by output */
void lt_copy_outputs(lt_builder *b, const uint32_t *slot); /* after */
void lt_place_updates(lt_builder *b);
void lt_copy_updates(lt_builder *b);
/* What a run reads of the values that depend on weights only: by value, the offset in the packed image; 0: not. */
int64_t *lt_packed_offsets(const lt_builder *b, int64_t *bytes);
void lt_place_packed(lt_builder *b, const int64_t *at, lt_region region);
void lt_copy_packed_leaves(lt_builder *b, const int64_t *at);

/* ---- access.c ---- */
lt_coord lt_coord_zero(void);
lt_coord lt_coord_dim(int dim);                               /* i_dim */
lt_coord lt_coord_affine(int dim, int64_t coef, int64_t add); /* coef·i_dim + add */
/* From window c to the pixel that its tap (a dim) looks at, inside the image; from pixel c to the window that looks at
 * it with that tap. */
void lt_coord_window(lt_coord *c, const lt_window_axis *a, int tap);
void lt_coord_adjoint(lt_coord *c, const lt_window_axis *a, int tap);
void lt_at_broadcast(lt_at *out, const lt_at *at, const lt_type *shape, const lt_type *of);
/* from coordinates of a moved value to its operand's */
void lt_move_back(lt_at *at, const lt_graph *g, const lt_node *n);
/* Follow values that are never stored back to one that is (or a constant), changing coordinates on the way. */
lt_value lt_resolve(const lt_builder *b, lt_value v, lt_at *at);
bool lt_splat(const lt_builder *b, lt_value v, double *out);                /* every element of v is this constant */
lt_access lt_access_at(lt_kernel_builder *kb, lt_value v, const lt_at *at); /* of a stored value */
lt_access lt_access_zero(uint32_t buffer, int64_t offset);
/* adds stride * coordinate */
void lt_access_axis(lt_kernel_builder *kb, lt_access *a, const lt_coord *c, int64_t stride);

/* ---- expressions (expr part of access.c) ---- */
int32_t lt_x_push(lt_kernel_builder *kb, lt_instr x);
int32_t lt_x_const(lt_kernel_builder *kb, lt_dtype t, double v);
int32_t lt_x_load(lt_kernel_builder *kb, lt_dtype t, lt_access a);
int32_t lt_x_map(lt_kernel_builder *kb, lt_op op, lt_dtype t, int32_t a, int32_t b);
int32_t lt_x_cast(lt_kernel_builder *kb, lt_dtype t, int32_t x);
/* Like lt_x_read, but from memory even where the value is the same everywhere: for guarded coordinates. */
int32_t lt_x_read_loaded(lt_kernel_builder *kb, lt_value v, const lt_at *at);
int32_t lt_x_result(lt_kernel_builder *kb, lt_dtype t);
int32_t lt_x_index(lt_kernel_builder *kb, const lt_coord *c);          /* the coordinate as i64 */
int32_t lt_x_read(lt_kernel_builder *kb, lt_value v, const lt_at *at); /* v, not a member, at coordinates */
/* v at kb->at, broadcast; members are computed */
int32_t lt_x_value(lt_kernel_builder *kb, lt_value v);

/* ---- kernel.c: making and finishing kernels ---- */
void lt_kernel_init(lt_kernel_builder *kb, lt_builder *b, const lt_unit *u, lt_kernel_kind kind);
void lt_kernel_name(lt_kernel_builder *kb, const lt_node *n);
void lt_kernel_fuse(lt_kernel_builder *kb, const lt_node *n); /* it also computes n */
int lt_kernel_dim(lt_kernel_builder *kb, int64_t extent);     /* adds an output dim, returns it */
/* adds a reduced dim; output dims are complete */
int lt_kernel_rdim(lt_kernel_builder *kb, int64_t extent);
/* x is made the expression's last instruction */
void lt_kernel_last(lt_kernel_builder *kb, int32_t x);
/* Iteration space over a value of type t: plain axes, or (n, c/16, h, w, lane); sets kb->shape and kb->at. */
void lt_kernel_space(lt_kernel_builder *kb, const lt_type *t, bool blocked);
void lt_kernel_store(lt_kernel_builder *kb, lt_value v, const lt_at *at, int32_t value);
/* evaluates and stores every stored member value of the unit at kb->at */
void lt_kernel_stores(lt_kernel_builder *kb);
void lt_kernel_finish(lt_kernel_builder *kb);              /* tidies dims and appends the kernel to the plan */
void lt_merge_dims(lt_kernel *k);                          /* merge_dims.c: drops and merges dims, chooses task dims */
bool lt_by_images(const lt_kernel *k);                     /* over several, in blocks of channels, and free not to */
void lt_channels_first(lt_kernel *k);                      /* of such a kernel: blocks of channels outside images */
void lt_follow_owners(lt_builder *b);                      /* owners.c */
void lt_kernel_use(lt_kernel_builder *kb, lt_code_vec *x); /* go on in the other expression */

/* ---- kernel_contract.c ---- */
void lt_contract_cut(lt_contract *c);                                /* segments are complete: K is cut into runs */
double lt_contract_bytes(const lt_builder *b, const lt_contract *c); /* of both operands' buffers */

/* ---- lowering: lower_hooks.h has a function for each op that is a root ---- */
/* none was chosen for n, or one that is not for it */
LT_NORETURN void lt_fail_algorithm(lt_builder *b, const lt_node *n);
void lt_lower_unit(lt_builder *b, const lt_unit *u);                                             /* plan.c calls this */
void lt_lower_copy(lt_builder *b, lt_value from, lt_place to, const char *name, const char *op); /* plain, no halo */
void lt_lower_panel(lt_builder *b, const lt_unit *u); /* a layout node that packs weights */
/* The root's result is x from here on, in the expression being written. */
void lt_kernel_result(lt_kernel_builder *kb, int32_t x);
#endif
