/* window.h: windows as ONNX's convolutions and poolings have them, seen as ours over [N, C, H, W]: an image of one axis
 * has one of height 1 before it (ops_conv.c); one of three has a depth besides, which volume.c walks. */
#ifndef LT_ONNX_WINDOW_H
#define LT_ONNX_WINDOW_H
#include "frontend/onnx/import.h"

typedef struct lt_ox_axis_window { int64_t kernel, stride, dilation, before, behind; } lt_ox_axis_window;
typedef struct lt_ox_window {
  lt_pair kernel, stride, dilation;
  lt_quad pad; /* top, left, bottom, right */
  bool ceil;
  bool line;               /* x has one axis: [N, C, W] */
  bool solid;              /* x has three: [N, C, D, H, W], and this is */
  lt_ox_axis_window depth; /* the window along the first */
  bool same;               /* auto_pad says the size, not the border: SAME_UPPER, or with upper false SAME_LOWER */
  bool upper;
} lt_ox_window;

/* The attributes of the node in progress beside x, whose rank decides how many axes there are. kernel: of W, or NULL
 * where it must be an attribute. The border that auto_pad asks for is worked out for a window that looks at x. */
lt_ox_window lt_ox_window_of(lt_onnx *c, lt_value x, const lt_type *w);
lt_value lt_ox_to_image(lt_onnx *c, const lt_ox_window *w, lt_value x);   /* [N, C, W] → [N, C, 1, W] */
lt_value lt_ox_from_image(lt_onnx *c, const lt_ox_window *w, lt_value y); /* back */
/* A list of a number for each of `axes`, or `otherwise` for all: out[3 - axes] and on, `otherwise` before. */
void lt_ox_axis_numbers(lt_onnx *c, const char *name, unsigned axes, int64_t otherwise, int64_t out[3]);

/* ---- three axes (volume.c) --------------------------------------------------------------------------------------- */

/* A pooling of planes, then of depth: any that is made of both. pool gets windows over [N, C, H, W]. */
typedef lt_value lt_ox_pooling(lt_onnx *c, const lt_ox_window *w, lt_value x, void *ctx);
lt_value lt_ox_pool_volume(lt_onnx *c, const lt_ox_window *w, lt_value x, lt_ox_pooling *pool, void *ctx);
/* Where the maximum of each window stands in its volume. */
lt_value lt_ox_index_volume(lt_onnx *c, const lt_ox_window *w, lt_value x, lt_ox_pooling *max, lt_ox_pooling *index);
/* W as the op has it; b may be 0. */
lt_value lt_ox_conv_volume(lt_onnx *c, const lt_ox_window *w, lt_value x, lt_value k, lt_value b, int64_t groups);
/* size: of the result, [D, H, W] */
lt_value lt_ox_deconv_volume(lt_onnx *c, const lt_ox_window *w, lt_value x, lt_value k, lt_value b, int64_t groups,
                             const int64_t *size);

#endif
