/* cluster.h: what layout and planning must agree on: how weights are packed, and which way a convolution goes. */
#ifndef LT_CLUSTER_H
#define LT_CLUSTER_H
#include "ir/pass/pass.h"

/* lt_layout.panel of a LT_PANEL value: the packing and the number of groups of its convolution (1 for others).
 *   CONV       W [OC, C, KH, KW] per group → [OC/16][rows][16 oc], rows in K order: (c/16, kh, kw, 16), then (kh, kw, c%16)
 *   CONV_T     the same with OC and C exchanged: [C/16][rows][16 c], rows (oc/16, kh, kw, 16), then (kh, kw, oc%16)
 *   DEPTHWISE  W [C, 1, KH, KW] → [C/16][KH][KW][16]
 *   MATRIX     W [.., K, N] → [..][N/16][K][16];  MATRIX_T  the same from W [.., N, K]
 * The last block's lanes past the end are zero. */
typedef enum lt_panel_kind {
  LT_PANEL_NONE, LT_PANEL_CONV, LT_PANEL_CONV_T, LT_PANEL_DEPTHWISE, LT_PANEL_MATRIX, LT_PANEL_MATRIX_T
} lt_panel_kind;
static inline uint32_t lt_panel_make(lt_panel_kind kind, int64_t groups) { return (uint32_t)kind | (uint32_t)groups << 4; }
static inline lt_panel_kind lt_panel_kind_of(uint32_t panel) { return (lt_panel_kind)(panel & 15); }
static inline int64_t lt_panel_groups(uint32_t panel) { return panel >> 4; }
int64_t lt_panel_count(const lt_type *t, uint32_t panel); /* elements, padding included */

/* A convolution's way: channels in blocks of 16, one filter per channel, or groups that fit neither. */
typedef enum lt_conv_kind { LT_CONV_BLOCKED, LT_CONV_DEPTHWISE, LT_CONV_PLAIN } lt_conv_kind;
lt_conv_kind lt_conv_kind_of(int64_t channels, int64_t out_channels, int64_t groups);

static inline int64_t lt_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
#endif
