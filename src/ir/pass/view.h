/* view.h: chains of reshape and transpose as what they are together: a permutation of pieces of axes.
 *
 * The axes of a base value are cut into atoms (factors of a dim, row-major, those of extent 1 left out). A view is an
 * order of these atoms and a grouping of them into axes. Any chain of transposes and of reshapes that only cut and join
 * axes is such a view; a reshape that mixes two axes starts a new base. So two ways to spell one movement look the
 * same. */
#ifndef LT_VIEW_H
#define LT_VIEW_H
#include "ir/ir.h"

enum { LT_MAX_ATOMS = 16 };

typedef struct lt_view {
  lt_value base;
  unsigned steps; /* nodes between the base and the value looked at */
  unsigned n;
  int64_t extent[LT_MAX_ATOMS];    /* atoms in the base's row-major order */
  uint8_t base_axis[LT_MAX_ATOMS]; /* which axis of the base each is cut from */
  uint8_t order[LT_MAX_ATOMS];     /* the atom at each place of the view */
  unsigned rank;
  int64_t dim[LT_MAX_RANK];
  uint8_t first[LT_MAX_RANK + 1]; /* axis i of the view: places [first[i], first[i + 1]) */
} lt_view;

/* The view that v is of its base: as far up as values move. */
void lt_view_of(lt_view *out, const lt_graph *g, lt_value v);
/* The same in steps, for who keeps views or stops sooner: v as its own base; and from the view of v's operand to that
 * of v, which moves it. */
void lt_view_whole(lt_view *out, const lt_graph *g, lt_value v);
void lt_view_next(lt_view *view, const lt_graph *g, lt_value v);
bool lt_view_moves(const lt_node *n);
/* A base seen under finer axes, [dim…] joined into its own shape; and the same way from there to v, which lt_view_of
 * has found to be a view of it. false: the way tears one of the finer axes. */
void lt_view_start(lt_view *out, const lt_graph *g, lt_value base, unsigned rank, const int64_t *dim);
bool lt_view_follow(lt_view *out, const lt_graph *g, lt_value v);
/* Other axes; false (and *v untouched): the new dims mix atoms, or there are too many. */
bool lt_view_reshape(lt_view *v, unsigned rank, const int64_t *dim);
void lt_view_transpose(lt_view *v, const int64_t *perm);
/* The axis of the base at each place of the view's axis; returns how many. */
unsigned lt_view_axis(const lt_view *v, unsigned axis, unsigned base_axis[LT_MAX_ATOMS]);
/* All atoms in the base's order: nothing moves. */
bool lt_view_is_plain(const lt_view *v);
/* Emit the view: the base itself, or a reshape, a transpose, or both. Its pieces make at most LT_MAX_RANK axes
 * (lt_view_fits). */
lt_value lt_view_emit(lt_graph *g, const lt_view *v);
bool lt_view_fits(const lt_view *v);
/* How many nodes that takes. */
unsigned lt_view_cost(const lt_graph *g, const lt_view *v);

#endif
