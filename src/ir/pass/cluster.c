/* cluster.c: how weights are packed and which way a convolution goes (see cluster.h). */
#include "ir/pass/cluster.h"

int64_t lt_panel_count(const lt_type *t, uint32_t panel) {
  int64_t groups = lt_panel_groups(panel), batch = 1, k, n;
  const int64_t *d = t->dim;
  unsigned r = t->rank;
  switch (lt_panel_kind_of(panel)) {
  case LT_PANEL_CONV: return groups * lt_ceil_div(d[0] / groups, 16) * d[1] * d[2] * d[3] * 16;
  case LT_PANEL_CONV_T: return groups * lt_ceil_div(d[1], 16) * (d[0] / groups) * d[2] * d[3] * 16;
  case LT_PANEL_DEPTHWISE: return lt_ceil_div(d[0], 16) * d[2] * d[3] * 16;
  case LT_PANEL_MATRIX:
  case LT_PANEL_MATRIX_T:
    for (unsigned i = 0; i + 2 < r; i++) batch *= d[i];
    k = d[r - 2], n = d[r - 1];
    if (lt_panel_kind_of(panel) == LT_PANEL_MATRIX_T) k = d[r - 1], n = d[r - 2];
    return batch * lt_ceil_div(n, 16) * k * 16;
  default: return lt_type_count(t);
  }
}

lt_conv_kind lt_conv_kind_of(int64_t channels, int64_t out_channels, int64_t groups) {
  if (groups == 1) return LT_CONV_BLOCKED;
  if (channels % (16 * groups) == 0 && out_channels % (16 * groups) == 0) return LT_CONV_BLOCKED;
  if (groups == channels && groups == out_channels) return LT_CONV_DEPTHWISE;
  return LT_CONV_PLAIN;
}
