/* op_util.c: checks, windows and walks shared by the op hooks (op_util.h). Messages name the op (lt_node_fail does),
 * the operand with its type, and the rule it breaks. */
#include "ir/op_util.h"

const char *lt_ints_text(lt_arena *a, const int64_t *v, int64_t n) {
  lt_str s;
  lt_str_init(&s, a);
  lt_str_puts(&s, "[");
  for (int64_t i = 0; i < n; i++) lt_str_printf(&s, "%s%lld", i ? ", " : "", (long long)v[i]);
  lt_str_puts(&s, "]");
  return s.at;
}

void lt_need_float(lt_graph *g, lt_op op, const char *what, lt_value v) {
  if (lt_is_float(lt_type_of(g, v)->dtype)) return;
  lt_node_fail(g, op, "%s %s must be of a float type\nhelp: cast(…, dtype=f32) converts it", what, lt_text_of(g, v));
}

void lt_need_rank(lt_graph *g, lt_op op, const char *what, lt_value v, unsigned rank, const char *axes) {
  if (lt_type_of(g, v)->rank == rank) return;
  lt_node_fail(g, op, "%s %s must have rank %u, %s", what, lt_text_of(g, v), rank, axes);
}

void lt_need_dtype(lt_graph *g, lt_op op, const char *a_name, lt_value a, const char *b_name, lt_value b) {
  if (lt_type_of(g, a)->dtype == lt_type_of(g, b)->dtype) return;
  lt_node_fail(g, op, "%s %s and %s %s differ in element type\nhelp: cast(…, dtype=%s) converts one of them", a_name,
               lt_text_of(g, a), b_name, lt_text_of(g, b), lt_dtype_name(lt_type_of(g, a)->dtype));
}

int64_t lt_need_axis(lt_graph *g, lt_op op, lt_value x, int64_t axis) {
  int64_t rank = lt_type_of(g, x)->rank;
  if (axis < -rank || axis >= rank)
    lt_node_fail(g, op, "axis %lld is outside x %s, which has rank %lld", (long long)axis, lt_text_of(g, x),
                 (long long)rank);
  return axis < 0 ? axis + rank : axis;
}

void lt_need_axes(lt_graph *g, lt_op op, lt_value x, lt_ints *axes) {
  unsigned rank = lt_type_of(g, x)->rank;
  bool named[LT_MAX_RANK] = {false};
  if (axes->n == 0) memset(named, 1, sizeof named);
  for (int64_t i = 0; i < axes->n; i++) {
    int64_t k = lt_need_axis(g, op, x, axes->v[i]);
    if (named[k])
      lt_node_fail(g, op, "axis %lld is named twice in axes=%s", (long long)k,
                   lt_ints_text(&g->arena, axes->v, axes->n));
    named[k] = true;
  }
  memset(axes, 0, sizeof *axes);
  for (unsigned k = 0; k < rank; k++)
    if (named[k]) axes->v[axes->n++] = k;
}

/* Numbers of a window stay below 2^31, so that sums and products of two of them cannot overflow. */
static void need_range(lt_graph *g, lt_op op, const char *what, const int64_t *v, int n, int64_t least,
                       const char *image, const lt_pair *kernel) {
  for (int i = 0; i < n; i++)
    if (v[i] < least || v[i] > INT32_MAX)
      lt_node_fail(g, op, "%s %s must be %s (%s, kernel %s)", what, lt_ints_text(&g->arena, v, n),
                   v[i] > INT32_MAX ? "at most 2147483647"
                   : least          ? "at least 1"
                                    : "at least 0",
                   image, lt_ints_text(&g->arena, kernel->v, 2));
}

void lt_need_window(lt_graph *g, lt_op op, lt_window *w, const char *image) {
  const lt_pair kernel = lt_window_kernel(w), stride = lt_window_stride(w), dilation = lt_window_dilation(w);
  const lt_quad pad = lt_window_pad(w);
  need_range(g, op, "kernel", kernel.v, 2, 1, image, &kernel);
  need_range(g, op, "stride", stride.v, 2, 1, image, &kernel);
  need_range(g, op, "dilation", dilation.v, 2, 1, image, &kernel);
  need_range(g, op, "pad", pad.v, 4, 0, image, &kernel);
  for (unsigned k = 0; k < w->n; k++) {
    int64_t padded, extent;
    switch (lt_window_count(&w->axis[k], &padded, &extent)) {
    case LT_WINDOW_FITS: break;
    case LT_WINDOW_OVERFLOWS: lt_node_fail(g, op, "the padded size of %s overflows", image);
    case LT_WINDOW_TOO_LARGE:
      lt_node_fail(
        g, op, "the window is larger than the padded image: %s %lld > %lld (%s, kernel %s, dilation %s, pad %s)",
        k ? "width" : "height", (long long)extent, (long long)padded, image, lt_ints_text(&g->arena, kernel.v, 2),
        lt_ints_text(&g->arena, dilation.v, 2), lt_ints_text(&g->arena, pad.v, 4));
    }
  }
}

void lt_walk_init(lt_walk *w, const lt_type *shape) {
  memset(w, 0, sizeof *w);
  w->rank = shape->rank;
  memcpy(w->dim, shape->dim, sizeof w->dim);
}

void lt_walk_add(lt_walk *w, const lt_type *t) {
  int64_t stride[LT_MAX_RANK], *to = w->stride[w->arrays++];
  lt_type_strides(t, stride);
  for (unsigned i = 0, shift = w->rank - t->rank; i < t->rank; i++) to[shift + i] = t->dim[i] == 1 ? 0 : stride[i];
}

void lt_walk_add_strides(lt_walk *w, const int64_t *stride) {
  memcpy(w->stride[w->arrays++], stride, w->rank * sizeof *stride);
}

void lt_tensor_assign(lt_tensor *to, const lt_tensor *from) {
  memcpy(to->f, from->f, (size_t)lt_type_count(&to->type) * sizeof *to->f);
}

/* ---- emission ---------------------------------------------------------------------------------------------------- */

lt_value lt_emit_axis_reduce(lt_graph *g, lt_op op, lt_value x, int64_t axis) {
  return lt_reduce(g, op, x, &(lt_ints){1, {axis}}, true);
}

lt_value lt_number(lt_graph *g, lt_value like, double c) { return lt_const_scalar(g, lt_type_of(g, like)->dtype, c); }

lt_value lt_reshape_like(lt_graph *g, lt_value x, const lt_type *shape) {
  return lt_reshape(g, x, shape->rank, shape->dim);
}

lt_value lt_is_maximum(lt_graph *g, lt_value x, lt_value y) {
  lt_value same = lt_binary(g, LT_OP_equal, x, y);
  if (!lt_is_float(lt_type_of(g, x)->dtype)) return same;
  lt_value number = lt_binary(g, LT_OP_equal, x, x), yes = lt_const_scalar(g, LT_BOOL, 1);
  return lt_emit(g, LT_OP_select, NULL, (lt_value[]){number, same, yes}, 3);
}
