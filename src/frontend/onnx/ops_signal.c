/* ops_signal.c: what sound needs: windows and mel weights as constants, Fourier transforms as products with a constant
 * matrix of cosines and sines, whose angles are reduced as whole numbers. Complex numbers are a last axis of two. */
#include <math.h>

#include "frontend/onnx/forms.h"

enum { MOST = 1 << 24, MOST_WINDOW = 1 << 20 }; /* elements of a constant that is made */
#define PI 3.14159265358979323846

static lt_dtype type_named(lt_onnx *c, const char *name) {
  int64_t type = lt_ox_int(c, name, LT_ONNX_FLOAT);
  lt_dtype t;
  if (type < 0 || type >= LT_ONNX_TYPES || !lt_onnx_dtype((lt_onnx_type)type, &t))
    lt_ox_refuse(c, "%s=%s, which is no element type here", name, lt_onnx_type_name(type));
  return t;
}

static lt_value constant_of(lt_onnx *c, lt_dtype t, unsigned rank, const int64_t *dim, const double *v) {
  lt_type type = lt_make_type(t, rank, dim);
  lt_tensor *x = lt_tensor_new(c->arena, &type);
  for (int64_t i = 0; i < lt_type_count(&type); i++) lt_tensor_set(x, i, lt_dtype_round(t, v[i]));
  return lt_const_tensor(c->g, x);
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

/* a - b cos(angle) + d cos(2 angle), by the row's op */
static const struct window { lt_op op; double a, b, d; } windows[] = { {LT_OP_sin, 0.5, 0.5, 0},             /* Hann */
            {LT_OP_add, 25.0 / 46, 21.0 / 46, 0}, /* Hamming */
            {LT_OP_cos, 0.42, 0.5, 0.08}};        /* Blackman */

void lt_onnx_window(lt_onnx *c) {
  int64_t n = lt_ox_known_int(c, 0, "size"), periodic = lt_ox_int(c, "periodic", 1), k = 0;
  lt_dtype t = type_named(c, "output_datatype");
  double over = (double)(periodic ? n : n - 1);
  if (n < 1 || n > MOST_WINDOW || over < 1)
    lt_ox_refuse(c, "its size is %lld; 1 to %d are made", (long long)n, (int)MOST_WINDOW);
  double *v = LT_NEW_ARRAY(c->arena, double, (size_t)n);
  while (windows[k].op != c->row->op) k++;
  for (int64_t i = 0; i < n; i++)
    v[i] = windows[k].a - windows[k].b * cos(2 * PI * (double)i / over) + windows[k].d * cos(4 * PI * (double)i / over);
  lt_ox_result(c, 0, constant_of(c, t, 1, &n, v));
}

/* Triangles over the bins of a spectrum, whose corners are as far from each other in mel. */
void lt_onnx_mel_weight_matrix(lt_onnx *c) {
  int64_t n = lt_ox_known_int(c, 0, "num_mel_bins"), length = lt_ox_known_int(c, 1, "dft_length");
  double rate = (double)lt_ox_known_int(c, 2, "sample_rate"), low = lt_ox_known_float(c, 3, "lower_edge_hertz"),
         high = lt_ox_known_float(c, 4, "upper_edge_hertz");
  lt_dtype t = type_named(c, "output_datatype");
  int64_t bins = length / 2 + 1, dim[2] = {bins, n};
  if (n < 1 || length < 1 || n > 1 << 16 || length > 1 << 20 || n * bins > MOST || rate < 1)
    lt_ox_refuse(c, "it has %lld bins of %lld", (long long)n, (long long)length);
  double *v = LT_NEW_ARRAY(c->arena, double, (size_t)(n * bins)), first = 2595 * log1p(low / 700) / log(10);
  double step = (2595 * log1p(high / 700) / log(10) - first) / (double)(n + 2);
  int64_t *at = LT_NEW_ARRAY(c->arena, int64_t, (size_t)n + 2);
  for (int64_t i = 0; i < n + 2; i++) {
    double hertz = 700 * expm1((first + step * (double)i) / 2595 * log(10)),
           bin = floor((double)(length + 1) * hertz / rate);
    if (!(bin >= 0 && bin < (double)bins)) lt_ox_refuse(c, "an edge is outside the spectrum");
    at[i] = (int64_t)bin;
  }
  for (int64_t i = 0; i < n; i++) {
    int64_t left = at[i], top = at[i + 1], right = at[i + 2];
    if (left == top) v[top * n + i] = 1;
    for (int64_t k = left; k <= top && left < top; k++) v[k * n + i] = (double)(k - left) / (double)(top - left);
    for (int64_t k = top; k < right; k++) v[k * n + i] = (double)(right - k) / (double)(right - top);
  }
  lt_ox_result(c, 0, constant_of(c, t, 2, dim, v));
}

/* ---- Fourier transforms ------------------------------------------------------------------------------------------ */

/* Of `in` numbers of `parts` parts, what they give to `out` numbers of `kinds` parts over `length`. */
typedef struct transform { int64_t length, in, out, parts, kinds; bool inverse, half; } transform;

/* How often a frequency of half a spectrum stands in the whole. */
static double weight_of(const transform *f, int64_t k) {
  if (!f->inverse) return 1;
  double once = 1 / (double)f->length;
  return !f->half || k == 0 || 2 * k == f->length ? once : 2 * once;
}

/* [in, parts, out, kinds]: e^(∓i angle) of a real or an imaginary number, its real or imaginary part. */
static lt_value matrix_of(lt_onnx *c, const transform *f, lt_dtype t) {
  int64_t rows = f->in * f->parts, columns = f->out * f->kinds, dim[2] = {rows, columns}, all;
  if (!lt_mul_ok(&all, rows, columns) || all > MOST)
    lt_ox_refuse(c, "its matrix has %lld rows and %lld columns, more than are made", (long long)rows,
                 (long long)columns);
  double *v = LT_NEW_ARRAY(c->arena, double, (size_t)all), *to = v;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t k = 0; k < columns; k++) {
      int64_t n = r / f->parts, m = k / f->kinds, turned = r % f->parts + k % f->kinds;
      double angle = 2 * PI * (double)(n * m % f->length) / (double)f->length, sign = f->inverse ? -1 : 1;
      double part = turned == 1 ? sin(angle) * (k % f->kinds ? -sign : sign) : cos(angle);
      *to++ = part * weight_of(f, n);
    }
  return constant_of(c, t, 2, dim, v);
}

/* Along `axis` of x [..., parts]; numbers behind f->in are left out. */
static lt_value transformed(lt_onnx *c, lt_value x, int64_t axis, const transform *f) {
  lt_type t = lt_ox_of(c, x);
  unsigned last = t.rank - 1u, n = 0;
  int64_t perm[LT_MAX_RANK], back[LT_MAX_RANK], dim[LT_MAX_RANK], rows = 1;
  x = lt_ox_slice(c, x, axis, 0, f->in);
  for (unsigned i = 0; i < last; i++)
    if ((int64_t)i != axis) dim[n] = t.dim[i], rows *= t.dim[i], perm[n++] = i;
  perm[n] = axis, perm[last] = last, dim[n] = f->out, dim[last] = f->kinds;
  for (unsigned i = 0; i < t.rank; i++) back[perm[i]] = i;
  x = lt_ox_reshape(c, lt_transpose(c->g, x, perm), 2, (int64_t[]){rows, f->in * f->parts});
  lt_value y = lt_emit(c->g, LT_OP_linear, NULL, (lt_value[]){x, matrix_of(c, f, t.dtype)}, 2);
  return lt_transpose(c->g, lt_ox_reshape(c, y, t.rank, dim), back);
}

static void check_parts(lt_onnx *c, const lt_type *t) {
  if (t->rank < 2 || t->dim[t->rank - 1] > 2 || !lt_is_float(t->dtype))
    lt_ox_refuse(c, "x is %s, its last axis should have 1 or 2 elements", lt_type_text(c->arena, t));
}

void lt_onnx_dft(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0);
  lt_type t = lt_ox_of(c, x);
  int64_t axis = lt_ox_int(c, "axis", c->opset < 20 ? 1 : -2);
  transform f = {.inverse = lt_ox_int(c, "inverse", 0), .half = lt_ox_int(c, "onesided", 0)};
  check_parts(c, &t);
  if (lt_ox_has(c, 2)) axis = lt_ox_known_int(c, 2, "axis");
  axis = lt_ox_axis(c, axis, t.rank);
  if (axis == t.rank - 1) lt_ox_refuse(c, "axis %lld has the parts of its numbers", (long long)axis);
  f.parts = t.dim[t.rank - 1], f.in = t.dim[axis];
  bool real = f.inverse && f.half; /* half a spectrum gives real numbers */
  f.length = lt_ox_has(c, 1) ? lt_ox_known_int(c, 1, "dft_length") : real ? 2 * (f.in - 1) : f.in;
  if (f.length < 1 || f.length > MOST) lt_ox_refuse(c, "its length is %lld", (long long)f.length);
  if (!f.inverse && f.half && f.parts == 2) lt_ox_refuse(c, "onesided=1 of complex numbers");
  f.in = LT_MIN(f.in, real ? f.length / 2 + 1 : f.length);
  f.out = f.half && !real ? f.length / 2 + 1 : f.length;
  f.kinds = real ? 1 : 2;
  lt_ox_result(c, 0, transformed(c, x, axis, &f));
}

/* Frames of x [B, n, parts], weighed by a window, transformed each: [B, frames, out, 2]. */
void lt_onnx_stft(lt_onnx *c) {
  lt_value x = lt_ox_in(c, 0), window = lt_ox_has(c, 2) ? lt_ox_in(c, 2) : 0;
  lt_type t = lt_ox_of(c, x), w = window ? lt_ox_of(c, window) : t;
  int64_t step = lt_ox_known_int(c, 1, "frame_step"), length = window ? w.dim[0] : t.dim[1];
  check_parts(c, &t);
  if (lt_ox_has(c, 3)) length = lt_ox_known_int(c, 3, "frame_length");
  if (t.rank != 3 || step < 1 || length < 1 || length > t.dim[1] || (window && (w.rank != 1 || w.dim[0] != length)))
    lt_ox_refuse(c, "x is %s, its frames have %lld elements, its window %s", lt_type_text(c->arena, &t),
                 (long long)length, window ? lt_type_text(c->arena, &w) : "none");
  transform f = {.length = length, .in = length, .parts = t.dim[2], .kinds = 2, .half = lt_ox_int(c, "onesided", 1)};
  int64_t frames = 1 + (t.dim[1] - length) / step, n = frames * length;
  if (n > MOST) lt_ox_refuse(c, "its frames have %lld elements", (long long)n);
  if (f.half && f.parts == 2) lt_ox_refuse(c, "onesided=1 of complex numbers");
  int64_t *at = LT_NEW_ARRAY(c->arena, int64_t, (size_t)n);
  for (int64_t i = 0; i < n; i++) at[i] = i / length * step + i % length;
  f.out = f.half ? length / 2 + 1 : length;
  x = lt_ox_reshape(c, lt_ox_take(c, x, 1, at, n), 4, (int64_t[]){t.dim[0], frames, length, f.parts});
  if (window) x = lt_ox_binary(c, LT_OP_mul, x, lt_ox_reshape(c, window, 2, (int64_t[]){length, 1}));
  lt_ox_result(c, 0, transformed(c, x, 2, &f));
}
