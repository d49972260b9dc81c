/* lower_conv.h: what the ways to lower convolutions share: as contractions with channels in the lanes (lower_conv.c) or
 * pixels of a row (lower_rows.c), as guarded reductions (lower_guarded.c). */
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
/* All channels of the image as one group, for kernels to which it does not matter which are together. */
static inline lt_conv_dims lt_conv_ungrouped(const lt_conv_dims *v) {
  lt_conv_dims w = *v;
  w.c *= v->groups, w.groups = 1;
  return w;
}
double lt_conv_flop(const lt_conv_dims *v);
/* One operand in memory; block: of 16 channels. */
typedef struct lt_conv_operand { uint32_t buffer; int64_t offset, image, block, channel, row, col; } lt_conv_operand;
lt_conv_operand lt_conv_operand_of(lt_builder *b, lt_value v);
/* Long sums of a weight gradient are cut into chunks of whole images, or of rows where there is one image only; how
 * many follows from the shape alone. Each chunk is a sum of its own; the chunks' sums are added as a balanced tree. */
typedef struct lt_conv_chunks { int64_t n, images, rows; } lt_conv_chunks; /* n chunks of so many images and rows */
lt_conv_chunks lt_conv_chunks_of(const lt_conv_dims *v);
/* The sum of chunks [first, first + n), `chunk` apart in memory. */
int32_t lt_conv_add_chunks(lt_kernel_builder *kb, const lt_access *one, int64_t chunk, int64_t first, int64_t n);
/* All pixels of an axis, in order. */
static inline lt_phase_run lt_conv_whole(int64_t size) {
  return (lt_phase_run){.pitch = 1, .pixels = size, .phases = 1};
}
/* The dims of a kernel over images in blocks of channels, and where it is in them; lanes are the last dim, and in front
 * of them stand phases where a run has several. */
enum { LT_CONV_IMAGE, LT_CONV_GROUP, LT_CONV_BLOCK, LT_CONV_ROW, LT_CONV_COL };
/* Rows and columns of pixels in runs; phase[i]: the dim of the phases, 0: there is one. */
void lt_conv_space(lt_kernel_builder *kb, const lt_conv_dims *v, int64_t channels, const lt_phase_run *const run[2],
                   int phase[2]);
/* The input gradient, run by run of phases: `reached` makes the kernel of pixels that taps reach, others become zero.
 */
typedef void lt_conv_reached(lt_builder *b, const lt_unit *u, const lt_conv_dims *v, const lt_phase_run *const run[2]);
void lt_conv_adjoint(lt_builder *b, const lt_unit *u, const lt_conv_dims *v, lt_conv_reached *reached);
void lt_conv_store(lt_kernel_builder *kb, int32_t result); /* with what is fused, and the kernel is done */
/* stores the result, plus bias (0: none), of which axis 1 is kb->at's */
void lt_conv_finish(lt_kernel_builder *kb, lt_value bias);
void lt_lower_rows(lt_builder *b, const lt_unit *u, const lt_conv_dims *v);
void lt_lower_guarded(lt_builder *b, const lt_unit *u, const lt_conv_dims *v);
#endif
