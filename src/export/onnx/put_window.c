/* put_window.c: ops with windows as nodes of ONNX. Sizes that are rounded up, borders as wide as a window, and windows
 * that see nothing of the image have been written otherwise (spell_window.c). */
#include "export/onnx/writer.h"
#include "ir/window.h"

static void put_window(lt_ow *w, const lt_window *x) {
  lt_ow_ints(w, "strides", lt_window_stride(x).v, 2);
  lt_ow_ints(w, "pads", lt_window_pad(x).v, 4);
  lt_ow_ints(w, "dilations", lt_window_dilation(x).v, 2);
}

static void put_kernel(lt_ow *w, const lt_window *x) { lt_ow_ints(w, "kernel_shape", lt_window_kernel(x).v, 2); }

static void put_args(lt_ow *w, const char *op) {
  lt_ow_begin(w, op);
  for (unsigned i = 0; i < w->n->n_in; i++)
    if (w->n->in[i]) lt_ow_arg(w, lt_ow_in(w, i));
}

void lt_put_conv2d(lt_ow *w, const lt_node *n) {
  const lt_window x = lt_window_of(w->g, n);
  put_args(w, "Conv");
  put_window(w, &x);
  put_kernel(w, &x);
  lt_ow_int(w, "group", ((const lt_conv2d_attrs *)n->attrs)->groups);
  lt_ow_end(w, lt_ow_out(w));
}

/* The image made begins `before` pixels inside of what all windows reach; it may end before that, or go further. */
static void transposed(lt_ow *w, const lt_window *x, int64_t groups) {
  const lt_type *windows = lt_type_of(w->g, w->n->in[0]);
  lt_quad pads;
  lt_pair more;
  for (unsigned k = 0; k < 2; k++) {
    const lt_window_axis *a = &x->axis[k];
    int64_t reach = (windows->dim[2 + k] - 1) * a->stride + (a->kernel - 1) * a->dilation + 1;
    pads.v[k] = a->before;
    pads.v[2 + k] = LT_MAX(reach - a->before - a->size, 0);
    more.v[k] = LT_MAX(a->size + a->before - reach, 0);
  }
  put_args(w, "ConvTranspose");
  lt_ow_ints(w, "strides", lt_window_stride(x).v, 2);
  lt_ow_ints(w, "pads", pads.v, 4);
  lt_ow_ints(w, "dilations", lt_window_dilation(x).v, 2);
  lt_ow_ints(w, "output_padding", more.v, 2);
  put_kernel(w, x);
  lt_ow_int(w, "group", groups);
  lt_ow_end(w, lt_ow_out(w));
}

void lt_put_conv2d_grad_input(lt_ow *w, const lt_node *n) {
  const lt_window x = lt_window_of(w->g, n);
  transposed(w, &x, ((const lt_conv2d_grad_input_attrs *)n->attrs)->groups);
}

void lt_put_deconv2d(lt_ow *w, const lt_node *n) {
  const lt_window x = lt_window_of(w->g, n);
  transposed(w, &x, ((const lt_deconv2d_attrs *)n->attrs)->groups);
}

/* col as [N, C*KH*KW, OH*OW] */
void lt_put_col2im(lt_ow *w, const lt_node *n) {
  const lt_window x = lt_window_of(w->g, n);
  const int64_t *image = lt_type_of(w->g, n->out)->dim;
  const char *size = lt_ow_list(w, image + 2, 2), *kernel = lt_ow_list(w, lt_window_kernel(&x).v, 2);
  const int64_t col[3] = {image[0], image[1] * x.axis[0].kernel * x.axis[1].kernel,
                          x.axis[0].windows * x.axis[1].windows};
  const char *shape = lt_ow_list(w, col, 3);
  lt_ow_begin(w, "Reshape");
  lt_ow_arg(w, lt_ow_in(w, 0));
  lt_ow_arg(w, shape);
  const char *flat = lt_ow_end(w, NULL);
  lt_ow_begin(w, "Col2Im");
  lt_ow_arg(w, flat);
  lt_ow_arg(w, size);
  lt_ow_arg(w, kernel);
  put_window(w, &x);
  lt_ow_end(w, lt_ow_out(w));
}

static void pool(lt_ow *w, const char *op, const lt_window *x) {
  put_args(w, op);
  put_kernel(w, x);
  put_window(w, x);
}

void lt_put_max_pool(lt_ow *w, const lt_node *n) {
  const lt_window x = lt_window_of(w->g, n);
  pool(w, "MaxPool", &x);
  lt_ow_end(w, lt_ow_out(w));
}

/* ONNX counts through all planes. */
void lt_put_max_pool_index(lt_ow *w, const lt_node *n) {
  const lt_window x = lt_window_of(w->g, n);
  const char *plane = lt_ow_number(w, LT_I64, (double)(x.axis[0].size * x.axis[1].size));
  pool(w, "MaxPool", &x);
  lt_ow_result(w, lt_ow_fresh(w, lt_arena_printf(w->arena, "%s.top", lt_ow_out(w))));
  const char *all = lt_ow_end(w, NULL);
  lt_ow_begin(w, "Mod");
  lt_ow_arg(w, all);
  lt_ow_arg(w, plane);
  const char *index = lt_ow_end(w, NULL);
  lt_ow_begin(w, "Cast");
  lt_ow_arg(w, index);
  lt_ow_int(w, "to", lt_ow_type(LT_I32));
  lt_ow_end(w, lt_ow_out(w));
}

void lt_put_avg_pool(lt_ow *w, const lt_node *n) {
  const lt_window x = lt_window_of(w->g, n);
  pool(w, "AveragePool", &x);
  lt_ow_int(w, "count_include_pad", ((const lt_avg_pool_attrs *)n->attrs)->count_include_pad);
  lt_ow_end(w, lt_ow_out(w));
}
