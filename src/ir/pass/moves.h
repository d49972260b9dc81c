/* moves.h: how MOVE nodes are carried out: as another shape of the same bytes, as an index map that their readers look
 * through, or as a kernel that copies. Fusion and planning ask, and must get the same answer. */
#ifndef LT_MOVES_H
#define LT_MOVES_H
#include "ir/pass/pass.h"

typedef enum lt_move {
  LT_MOVE_NOT,    /* not a MOVE node, or a kernel of its own that copies */
  LT_MOVE_VIEW,   /* the same bytes under another shape (reshape of a stored plain value) */
  LT_MOVE_VIRTUAL /* never stored: whoever reads it reads its operand through an index map */
} lt_move;

/* By node id; live may be NULL (all). placed: layouts are settled, so a slice may be read where it stands in its
 * operand (parts.h); before that it counts as stored, whatever layouts a text has noted. */
lt_move *lt_moves(lt_arena *a, const lt_graph *g, const bool *live, bool placed);
#endif
