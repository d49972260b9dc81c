/* report.c: one HTML page about a training run: the loss as an SVG curve, the confusion table, misread examples drawn
 * from their pixels. No scripts, nothing from elsewhere; the file appears whole or not at all. */
#include "train.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char head[] =
  "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n"
  "<title>lathe train</title>\n<style>\n"
  "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 "
  "1rem;color:#1d2330;background:#fff}\n"
  "h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}svg{display:block}.curve{width:100%;height:auto}\n"
  "table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{width:2.6rem;padding:.2rem "
  ".4rem;text-align:right}\n"
  "th{font-weight:600;color:#5b6475}.misread{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;text-align:center}\n"
  "figcaption{font-size:.85rem;color:#5b6475}.big{font-size:2rem;font-weight:600}\n"
  "</style>\n";

static void escaped(FILE *f, const char *s) {
  for (; *s; s++)
    if (*s == '<') fputs("&lt;", f);
    else if (*s == '&') fputs("&amp;", f);
    else fputc(*s, f);
}

/* ---- the loss curve, on a logarithmic scale ---- */

enum { W = 860, H = 320, LEFT = 60, RIGHT = 14, TOP = 14, BOTTOM = 34 };
typedef struct axes {
  double lo, hi;
  int64_t steps;
} axes; /* log10 of the loss */

static double x_of(const axes *a, double step) {
  return LEFT + step / (double)(a->steps > 1 ? a->steps - 1 : 1) * (W - LEFT - RIGHT);
}
static double y_of(const axes *a, double loss) {
  return TOP + (a->hi - log10(loss)) / (a->hi - a->lo) * (H - TOP - BOTTOM);
}

static bool drawable(double loss) { return isfinite(loss) && loss > 0; }

static axes make_axes(const page *p) {
  axes a = {INFINITY, -INFINITY, p->steps};
  for (int64_t i = 0; i < p->steps; i++) {
    if (!drawable(p->loss[i])) continue;
    a.lo = fmin(a.lo, log10(p->loss[i]));
    a.hi = fmax(a.hi, log10(p->loss[i]));
  }
  if (a.lo > a.hi) a.lo = -1, a.hi = 0;
  double room = fmax(0.05, (a.hi - a.lo) * 0.05);
  a.lo -= room;
  a.hi += room;
  return a;
}

static void grid(FILE *f, const axes *a, const page *p) {
  static const int mantissa[] = {1, 2, 5};
  for (int e = (int)floor(a->lo) - 1; e <= (int)ceil(a->hi); e++)
    for (int k = 0; k < 3; k++) {
      double v = mantissa[k] * pow(10, e);
      if (log10(v) < a->lo || log10(v) > a->hi || (k && a->hi - a->lo > 3)) continue;
      fprintf(f,
              "<path d=\"M%d %.1fH%d\" stroke=\"#e3e7ee\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
              LEFT, y_of(a, v), W - RIGHT, LEFT - 6, y_of(a, v) + 4, v);
    }
  int64_t epochs = (int64_t)ceil((double)p->steps / p->per_epoch), every = (epochs + 9) / 10;
  for (int64_t e = 0; (double)e * p->per_epoch < (double)p->steps; e += every)
    fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%lld</text>\n", x_of(a, (double)e * p->per_epoch),
            H - 12, (long long)e);
  fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">epoch</text>\n", W - RIGHT, H - 12);
}

static void line(FILE *f, const axes *a, const float *loss, int64_t window, const char *style) {
  double sum = 0;
  int64_t n = 0, every = a->steps / 2000 + 1;
  bool pen = false;
  fprintf(f, "<path fill=\"none\" %s d=\"", style);
  for (int64_t i = 0; i < a->steps; i++) {
    sum += loss[i];
    if (++n > window) sum -= loss[i - window], n = window;
    double mean = window == 1 ? loss[i] : sum / (double)n;
    if (i % every || !drawable(mean)) continue;
    fprintf(f, "%c%.1f %.1f", pen ? 'L' : 'M', x_of(a, (double)i), y_of(a, mean));
    pen = true;
  }
  fputs("\"/>\n", f);
}

static void curve(FILE *f, const page *p) {
  axes a = make_axes(p);
  fprintf(f, "<h2>Loss</h2>\n<svg class=\"curve\" viewBox=\"0 0 %d %d\" font-size=\"11\" fill=\"#5b6475\">\n", W, H);
  grid(f, &a, p);
  line(f, &a, p->loss, 1, "stroke=\"#a9c3ea\"");
  line(f, &a, p->loss, (int64_t)fmax(1, round(p->per_epoch)), "stroke=\"#1f5fbf\" stroke-width=\"2\"");
  fputs("</svg>\n<p>Light: each batch before its update; dark: the mean of an epoch's steps.</p>\n", f);
}

/* ---- what was read as what ---- */

static void confusion(FILE *f, const evaluation *v) {
  fputs("<h2>What was read as what</h2>\n<table><tr><th>is</th>", f);
  for (int64_t s = 0; s < v->classes; s++) fprintf(f, "<th>%lld</th>", (long long)s);
  fputs("</tr>\n", f);
  for (int64_t i = 0; i < v->classes; i++) {
    fprintf(f, "<tr><th>%lld</th>", (long long)i);
    for (int64_t s = 0; s < v->classes; s++) {
      int64_t n = v->confusion[i * v->classes + s];
      const char *colour = !n ? "" : s == i ? " style=\"background:#d8ebda\"" : " style=\"background:#f9d6d2\"";
      if (n) fprintf(f, "<td%s>%lld</td>", colour, (long long)n);
      else fputs("<td></td>", f);
    }
    fputs("</tr>\n", f);
  }
  fputs("</table>\n", f);
}

/* Channel 0 of one example, lightest to darkest, neighbours of the same shade in one rectangle. */
static void image(FILE *f, const dataset *d, int64_t row) {
  int64_t h = d->x.dim[2], w = d->x.dim[3], n = (int64_t)(d->x_row / size_of(d->x.dtype));
  const char *data = (const char *)d->x.data + (size_t)row * d->x_row;
  double lo = INFINITY, hi = -INFINITY;
  for (int64_t i = 0; i < n; i++)
    lo = fmin(lo, value_at(d->x.dtype, data, i)), hi = fmax(hi, value_at(d->x.dtype, data, i));
  fprintf(f, "<svg width=\"80\" height=\"80\" viewBox=\"0 0 %lld %lld\" shape-rendering=\"crispEdges\">", (long long)w,
          (long long)h);
  for (int64_t y = 0; y < h; y++)
    for (int64_t x = 0, end; x < w; x = end) {
      double v = value_at(d->x.dtype, data, y * w + x);
      for (end = x + 1; end < w && value_at(d->x.dtype, data, y * w + end) == v;) end++;
      int shade = 255 - (int)(hi > lo ? (v - lo) / (hi - lo) * 225 : 0);
      fprintf(f, "<path fill=\"#%02x%02x%02x\" d=\"M%lld %lldh%lldv1h-%lldz\"/>", (unsigned)shade, (unsigned)shade,
              (unsigned)shade, (long long)x, (long long)y, (long long)(end - x), (long long)(end - x));
    }
  fputs("</svg>", f);
}

static void misreads(FILE *f, const page *p) {
  enum { MOST = 40, LARGEST = 128 };
  const dataset *d = p->test_set;
  bool drawn = d->x.rank == 4 && d->x.dim[2] <= LARGEST && d->x.dim[3] <= LARGEST;
  if (!drawn || p->test->n_wrong == 0) return;
  fprintf(f, "<h2>Misread</h2>\n<div class=\"misread\">\n");
  for (int64_t i = 0; i < p->test->n_wrong && i < MOST; i++) {
    const misread *m = &p->test->wrong[i];
    fputs("<figure>", f);
    image(f, d, m->row);
    fprintf(f, "<figcaption>%d, read as %d<br>row %lld</figcaption></figure>\n", m->is, m->said, (long long)m->row);
  }
  fputs("</div>\n", f);
  if (p->test->n_wrong > MOST) fprintf(f, "<p>and %lld more</p>\n", (long long)(p->test->n_wrong - MOST));
}

static void body(FILE *f, const page *p) {
  fputs("<h1>", f);
  escaped(f, p->model);
  fputs("</h1>\n", f);
  if (p->test && p->test->classes)
    fprintf(f, "<p class=\"big\">test accuracy: %.1f %%</p>\n<p>%lld of %lld examples that were not trained on.</p>\n",
            accuracy(p->test), (long long)p->test->right, (long long)p->test->rows);
  fprintf(f, "<p>%lld steps in %.2f s.</p>\n", (long long)p->steps, p->seconds);
  if (p->peak) {
    fputs("<p>", f);
    escaped(f, p->peak);
    fputs("</p>\n", f);
  }
  curve(f, p);
  if (!p->test || !p->test->classes) return;
  confusion(f, p->test);
  misreads(f, p);
}

void write_page(const cli *c, const char *path, const page *p) {
  char *part = format("%s.part", path);
  FILE *f = fopen(part, "wb");
  if (!f) fail_work(c, "cannot write %s: %s", path, strerror(errno));
  fputs(head, f);
  body(f, p);
  bool ok = !ferror(f);
  ok &= fclose(f) == 0;
  if (!ok || rename(part, path) != 0) {
    int error = errno;
    unlink(part);
    fail_work(c, "cannot write %s: %s", path, strerror(error));
  }
  free(part);
}
