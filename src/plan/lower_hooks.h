/* lower_hooks.h: the functions that planning needs for rows of ops.def, found by name: a forgotten one is a link error.
 *   lt_lower_<op>      the kernels of a unit whose root is this op    HEAVY, HIDDEN, and MOVE rows that COPY
 *   lt_move_back_<op>  where an element of the result comes from      MOVE rows that are index maps: INDEX, REPEAT, PAD
 * Elementwise ops share one lowering, index maps that stand in memory another; a VIEW needs none. */
#ifndef LT_LOWER_HOOKS_H
#define LT_LOWER_HOOKS_H
#include "plan/build.h"

#define LT_LOWER(op) void lt_lower_##op(lt_builder *b, const lt_unit *u)
/* From coordinates `at` in the result y of a node with attributes a to those in its operand x. */
#define LT_MOVE_BACK(op) void lt_move_back_##op(lt_at *at, const void *attrs, const lt_type *x, const lt_type *y)

/* LT_LOWERED_<kind>(op, moves) is what lowers a unit with this root; NULL: no such unit is left. */
#define LT_LOWERED_LEAF(op, moves) NULL
#define LT_LOWERED_MAP(op, moves) lt_lower_map
#define LT_LOWERED_HEAVY(op, moves) lt_lower_##op
#define LT_LOWERED_SUGAR(op, moves) NULL
#define LT_LOWERED_HIDDEN(op, moves) lt_lower_##op
#define LT_LOWERED_MOVE(op, moves) LT_LOWERED_BY_##moves(op)
#define LT_LOWERED_BY_VIEW(op) NULL
#define LT_LOWERED_BY_INDEX(op) lt_lower_move
#define LT_LOWERED_BY_REPEAT(op) lt_lower_move
#define LT_LOWERED_BY_PAD(op) lt_lower_move
#define LT_LOWERED_BY_COPY(op) lt_lower_##op

#define LT_MOVED_BACK__(op) NULL
#define LT_MOVED_BACK_VIEW(op) NULL
#define LT_MOVED_BACK_INDEX(op) lt_move_back_##op
#define LT_MOVED_BACK_REPEAT(op) lt_move_back_##op
#define LT_MOVED_BACK_PAD(op) lt_move_back_##op
#define LT_MOVED_BACK_COPY(op) NULL
#define LT_MOVED_BACK_PICK(op) NULL

/* Declared for all rows; only those that the two tables name exist. */
#define OP(name, ...)                                                                                                  \
  LT_LOWER(name);                                                                                                      \
  LT_MOVE_BACK(name);
#include "ir/ops.def"
LT_LOWER(map);
LT_LOWER(move);
#endif
