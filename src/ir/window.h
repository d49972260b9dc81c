/* window.h: the geometry of convolution and pooling, the same for everybody who asks: shape inference, the interpreter,
 * `raise`, layout, lowering.
 *
 * Axes are independent of each other, so everything is said of one axis. Along it stands an image of `size` pixels with
 * a border of `before` and `after` pixels; window o of `windows` starts at pixel o·stride - before, and its tap k of
 * `kernel` looks at o·stride - before + k·dilation. With size 4, kernel 3, stride 2, dilation 1, a border of 1 on both
 * sides:
 *
 *   pixels        . 0 1 2 3 .
 *   window 0      x x x            taps [1, 3) are inside the image
 *   window 1          x x x        taps [0, 3)
 *
 * The adjoint looks the other way: pixel i is seen by tap k of window (i + before - k·dilation) / stride, where that is
 * whole.
 *
 * All is arithmetic in 64 bits, at most a loop over the taps; what lt_need_window (op_util.h) has accepted cannot
 * overflow. */
#ifndef LT_WINDOW_H
#define LT_WINDOW_H
#include "ir/ir.h"

enum { LT_WINDOW_AXES = 3 };

typedef struct lt_window_axis {
  int64_t size, kernel, stride, dilation, before, after;
  int64_t windows; /* 0: not counted yet */
  bool ceil;       /* the last window may stand out: windows are rounded up */
} lt_window_axis;

typedef struct lt_window { unsigned n; lt_window_axis axis[LT_WINDOW_AXES]; } lt_window;

/* ---- the window of an op ---- */

/* Is the image the result, whose size an attribute says (and not the first operand)? */
bool lt_window_makes_image(lt_op op);
/* What attributes say (by name: kernel stride pad dilation ceil) of windows over image[2..]; `filter` has the taps
 * where no attribute has them. Nothing is checked, windows are not counted. */
lt_window lt_window_read(lt_op op, const void *attrs, const lt_type *image, const lt_type *filter);
/* The same of a checked node, windows counted. */
lt_window lt_window_between(lt_op op, const void *attrs, const lt_type *image, const lt_type *filter);
lt_window lt_window_of(const lt_graph *g, const lt_node *n);
/* As attributes. */
lt_pair lt_window_kernel(const lt_window *w);
lt_pair lt_window_stride(const lt_window *w);
lt_pair lt_window_dilation(const lt_window *w);
lt_quad lt_window_pad(const lt_window *w);

/* ---- sizes ---- */

typedef enum lt_window_fit { LT_WINDOW_FITS, LT_WINDOW_OVERFLOWS, LT_WINDOW_TOO_LARGE } lt_window_fit;
/* Counts the windows. `padded` is the image with its border, `extent` a window from its first to its last tap. */
lt_window_fit lt_window_count(lt_window_axis *a, int64_t *padded, int64_t *extent);
/* The smallest image with its border that has so many windows; false: it overflows. */
bool lt_window_image(const lt_window_axis *a, int64_t windows, int64_t *padded);

/* ---- taps ---- */

typedef struct lt_span { int64_t lo, hi; } lt_span; /* [lo, hi); empty where hi ≤ lo */

static inline int64_t lt_window_start(const lt_window_axis *a, int64_t o) { return o * a->stride - a->before; }
lt_span lt_window_taps(const lt_window_axis *a, int64_t o);    /* taps of window o inside the image */
lt_span lt_window_seen_by(const lt_window_axis *a, int64_t k); /* windows whose tap k is inside the image */
/* How many taps of window o are inside the image, or with `border` inside image and border (not beyond: `ceil`). */
int64_t lt_window_elements(const lt_window_axis *a, int64_t o, bool border);

/* ---- halos: how many pixels outside are looked at ---- */

typedef struct lt_window_halo { int64_t before, after; } lt_window_halo;
lt_window_halo lt_halo_of_windows(const lt_window_axis *a); /* outside the image, by all windows */
lt_window_halo lt_halo_of_adjoint(const lt_window_axis *a); /* outside the windows, by all pixels in phases (below) */

/* Are the zeros that are looked at, by the windows or with `adjoint` by the pixels, worth the memory they take? */
bool lt_halo_pays(const lt_window *w, bool adjoint);

/* ---- phases of the adjoint ---- */

/* Pixels i with equal (i + before) mod stride are reached by the same taps, those with k·dilation ≡ i + before; a run
 * is of so many such phases side by side that pixels, taps and windows are affine in the phase p too. With kernel 7,
 * stride 50 and no border they are two: phases 0 to 6, which one tap reaches, and 7 to 49, which none does. Pixel q of
 * phase p is
 *
 *   at + q·pitch + p·at_step                     q < pixels, p < phases
 *
 * and meets, at taps first + j·step + p·first_step for j < taps, windows from + q - j·back + p·from_step. */
typedef struct lt_phase_run {
  int64_t at, pitch, pixels, phases, at_step;
  int64_t taps; /* 0: nothing reaches these pixels; the rest is 0 then */
  int64_t first, step, first_step, from, back, from_step;
} lt_phase_run;
typedef LT_VEC(lt_phase_run) lt_phase_runs;
/* Every pixel is in one run. A single window has as many phases as pixels: its stride does not matter. How many runs
 * there are does not grow with the sizes, but where stride and dilation have no step in common; then it grows as the
 * stride's root. */
void lt_window_runs(lt_phase_runs *out, lt_arena *arena, const lt_window_axis *a);

#endif
