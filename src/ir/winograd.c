/* winograd.c: the tables and sizes of winograd.h. */
#include "ir/winograd.h"

static const double in2[] = {
  1, 0,  -1, 0,  //
  0, 1,  1,  0,  //
  0, -1, 1,  0,  //
  0, 1,  0,  -1, //
};
static const double filter2[] = {
  1,   0,    0,   //
  0.5, 0.5,  0.5, //
  0.5, -0.5, 0.5, //
  0,   0,    1,   //
};
static const double out2[] = {
  1, 1, 1,  0,  //
  0, 1, -1, -1, //
};

static const double in4[] = {
  4, 0,  -5, 0,  1, 0, //
  0, -4, -4, 1,  1, 0, //
  0, 4,  -4, -1, 1, 0, //
  0, -2, -1, 2,  1, 0, //
  0, 2,  -1, -2, 1, 0, //
  0, 4,  0,  -5, 0, 1, //
};
static const double filter4[] = {
  1.0 / 4,  0,         0,        //
  -1.0 / 6, -1.0 / 6,  -1.0 / 6, //
  -1.0 / 6, 1.0 / 6,   -1.0 / 6, //
  1.0 / 24, 1.0 / 12,  1.0 / 6,  //
  1.0 / 24, -1.0 / 12, 1.0 / 6,  //
  0,        0,         1,        //
};
static const double out4[] = {
  1, 1, 1,  1, 1,  0, //
  0, 1, -1, 2, -2, 0, //
  0, 1, 1,  4, 4,  0, //
  0, 1, -1, 8, -8, 1, //
};

const lt_winograd *lt_winograd_of(int64_t tile) {
  static const lt_winograd all[] = {{2, 4, in2, filter2, out2}, {4, 6, in4, filter4, out4}};
  for (unsigned i = 0; i < LT_COUNT(all); i++)
    if (all[i].tile == tile) return &all[i];
  return NULL;
}

lt_tiles lt_tiles_of(const lt_winograd *w, const lt_type *x, const lt_quad *pad) {
  int64_t n[2];
  lt_tiles t = {.images = x->dim[0]};
  for (int i = 0; i < 2; i++) {
    const int64_t size = x->dim[2 + i], before = pad->v[i], after = pad->v[2 + i];
    n[i] = lt_ceil_div(size + before + after - (LT_WINOGRAD_TAPS - 1), w->tile);
    t.after[i] = n[i] * w->tile + (LT_WINOGRAD_TAPS - 1) - before - size;
  }
  t.rows = n[0], t.cols = n[1], t.all = t.images * n[0] * n[1];
  return t;
}
