/* size.c: how many places a window has along one axis of an image, and how large the image is that so many places come
 * from. One place for the arithmetic that layers, the text language and the public functions share; a NULL result means
 * that *out is right, at least 1, and otherwise the text says which rule is broken. Everything is checked for
 * overflow. */
#include "ir/window.h"

static const char *least(lt_arena *a, const char *what, int64_t v, int64_t at_least) {
  return v >= at_least
           ? NULL
           : lt_arena_printf(a, "%s is %lld, it must be at least %lld", what, (long long)v, (long long)at_least);
}

static const char *check(lt_arena *a, int64_t size, int64_t kernel, int64_t stride, int64_t before, int64_t after) {
  const char *why = least(a, "size", size, 1);
  if (!why) why = least(a, "kernel", kernel, 1);
  if (!why) why = least(a, "stride", stride, 1);
  if (!why) why = least(a, "pad", LT_MIN(before, after), 0);
  return why;
}

/* The kernel is a whole window here, whatever its taps. */
static lt_window_axis axis_of(int64_t size, int64_t kernel, int64_t stride, int64_t before, int64_t after) {
  return (lt_window_axis){
    .size = size, .kernel = kernel, .stride = stride, .dilation = 1, .before = before, .after = after};
}

const char *lt_conv_size(lt_arena *a, int64_t *out, int64_t size, int64_t kernel, int64_t stride, int64_t before,
                         int64_t after) {
  const char *why = check(a, size, kernel, stride, before, after);
  lt_window_axis axis = axis_of(size, kernel, stride, before, after);
  int64_t padded, extent;
  if (why) return why;
  switch (lt_window_count(&axis, &padded, &extent)) {
  case LT_WINDOW_FITS: *out = axis.windows; return NULL;
  case LT_WINDOW_OVERFLOWS:
    return lt_arena_printf(a, "the padded size, %lld + %lld + %lld, overflows", (long long)size, (long long)before,
                           (long long)after);
  case LT_WINDOW_TOO_LARGE: break;
  }
  return lt_arena_printf(a, "kernel %lld is larger than the padded image, %lld + %lld + %lld = %lld", (long long)kernel,
                         (long long)size, (long long)before, (long long)after, (long long)padded);
}

const char *lt_deconv_size(lt_arena *a, int64_t *out, int64_t size, int64_t kernel, int64_t stride, int64_t before,
                           int64_t after) {
  const char *why = check(a, size, kernel, stride, before, after);
  const lt_window_axis axis = axis_of(size, kernel, stride, before, after);
  int64_t whole, border;
  if (why) return why;
  if (!lt_window_image(&axis, size, &whole) || !lt_add_ok(&border, before, after))
    return lt_arena_printf(a, "the size of the result, %lld*(%lld - 1) + %lld, overflows", (long long)stride,
                           (long long)size, (long long)kernel);
  if (border >= whole)
    return lt_arena_printf(a, "nothing is left of the result: %lld*(%lld - 1) + %lld = %lld, of which pad takes %lld",
                           (long long)stride, (long long)size, (long long)kernel, (long long)whole, (long long)border);
  *out = whole - border;
  return NULL;
}
