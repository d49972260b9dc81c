/* lower_conv.h: what the two ways to lower convolutions share: as contractions (lower_conv.c), as guarded reductions
 * (lower_guarded.c). */
#ifndef LT_LOWER_CONV_H
#define LT_LOWER_CONV_H
#include "plan/build.h"

/* One of conv2d, conv2d_grad_input, conv2d_grad_weight: rows and columns of the windows (window.h); channels per group
 * of the image (c) and of the windows' side (oc). */
typedef struct lt_conv_dims {
  lt_window_axis row, col;
  int64_t n, c, oc, groups;
} lt_conv_dims;

static inline int64_t lt_conv_taps(const lt_conv_dims *v) { return v->row.kernel * v->col.kernel; }
/* stores the result, plus bias (0: none), of which axis 1 is kb->at's */
void lt_conv_finish(lt_kernel_builder *kb, lt_value bias);
void lt_lower_guarded(lt_builder *b, const lt_unit *u, const lt_conv_dims *v);
#endif
