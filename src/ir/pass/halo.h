/* halo.h: how much border a convolution's kernels read around their operands: layout provides it, lowering counts on it. */
#ifndef LT_HALO_H
#define LT_HALO_H
#include "ir/ir.h"

/* conv2d_grad_input walks, for the pixels h of one phase (h + pad) mod stride == r, the taps k with k·dilation ≡ r, in
 * rising order: k = first + j·step. Row o of gy that pixel h = at + i·stride meets at tap j is  from + i - j·back. */
typedef struct lt_phase_axis { int64_t at, pixels, first, taps, step, from, back; } lt_phase_axis;

/* Phase r of an axis: `size` pixels of the image, kernel k. taps 0: nothing reaches these pixels. */
static inline lt_phase_axis lt_phase_of(int64_t r, int64_t size, int64_t k, int64_t stride, int64_t pad, int64_t dilation) {
  lt_phase_axis p = {.first = -1};
  p.at = ((r - pad) % stride + stride) % stride;
  p.pixels = size > p.at ? (size - p.at + stride - 1) / stride : 0;
  for (int64_t j = 0; j < k; j++) {
    if (j * dilation % stride != r) continue;
    if (p.first < 0) p.first = j;
    else if (!p.step) p.step = j - p.first;
    p.taps++;
  }
  if (p.taps) p.from = (p.at + pad - p.first * dilation) / stride;
  p.back = p.step * dilation / stride;
  return p;
}

/* Rows that are read before and after gy's own `out` along one axis. */
static inline void lt_grad_input_halo(int64_t size, int64_t out, int64_t k, int64_t stride, int64_t pad, int64_t dilation,
                                      int64_t *before, int64_t *after) {
  *before = *after = 0;
  for (int64_t r = 0; r < stride; r++) {
    lt_phase_axis p = lt_phase_of(r, size, k, stride, pad, dilation);
    if (!p.taps || !p.pixels) continue;
    *before = LT_MAX(*before, (p.taps - 1) * p.back - p.from);
    *after = LT_MAX(*after, p.from + p.pixels - 1 - (out - 1));
  }
}
#endif
