/* window.h: windows as ONNX's convolutions and poolings have them, seen as ours over [N, C, H, W]: an image of one axis
 * has one of height 1 before it (window.c). */
#ifndef LT_ONNX_WINDOW_H
#define LT_ONNX_WINDOW_H
#include "frontend/onnx/import.h"

typedef struct lt_ox_window {
  lt_pair kernel, stride, dilation;
  lt_quad pad; /* top, left, bottom, right */
  bool ceil;
  bool line; /* x has one axis: [N, C, W] */
  bool same; /* auto_pad says the size, not the border: SAME_UPPER, or with upper false SAME_LOWER */
  bool upper;
} lt_ox_window;

/* The attributes of the node in progress beside x, whose rank decides how many axes there are. kernel: of W, or NULL
 * where it must be an attribute. The border that auto_pad asks for is worked out for a window that looks at x. */
lt_ox_window lt_ox_window_of(lt_onnx *c, lt_value x, const lt_type *w);
lt_value lt_ox_to_image(lt_onnx *c, const lt_ox_window *w, lt_value x);   /* [N, C, W] → [N, C, 1, W] */
lt_value lt_ox_from_image(lt_onnx *c, const lt_ox_window *w, lt_value y); /* back */

#endif
