/* progress.c: how far training is: a bar on a terminal, else about twenty lines in all; on standard error. */
#include "train.h"

progress progress_start(int64_t total, int64_t batch, int64_t rows) {
  return (progress){.total = total, .batch = batch, .rows = rows, .start = now()};
}

static void show_bar(const progress *p, int64_t done, double loss, double seconds) {
  enum { WIDTH = 30 };
  static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  int filled = (int)((double)done / (double)p->total * WIDTH * 8), cells = filled / 8 + (filled % 8 != 0);
  int64_t epochs = p->total * p->batch / p->rows, epoch = (done * p->batch - 1) / p->rows + 1;
  epochs = epochs > 0 ? epochs : 1; /* rows that open one epoch more are not worth a number */
  fprintf(stderr, "\r  epoch %3lld/%lld |", (long long)(epoch < epochs ? epoch : epochs), (long long)epochs);
  for (int i = 0; i < filled / 8; i++) fputs("█", stderr);
  fprintf(stderr, "%s%*s| %lld/%lld steps  loss %-10.4g %.1f s, %.1f s left \033[K", eighths[filled % 8], WIDTH - cells,
          "", (long long)done, (long long)p->total, loss, seconds, seconds / (double)done * (double)(p->total - done));
  if (done == p->total) fputc('\n', stderr);
  fflush(stderr);
}

void progress_step(progress *p, int64_t done, double loss) {
  double t = now();
  if (stderr_is_tty()) {
    if (done < p->total && t - p->shown < 0.04) return;
    show_bar(p, done, loss, t - p->start);
    p->shown = t;
    return;
  }
  int64_t part = done * 20 / p->total;
  if (part == p->told) return;
  p->told = part;
  fprintf(stderr, "step %lld of %lld: loss %.4g (%.1f s)\n", (long long)done, (long long)p->total, loss, t - p->start);
}
