/* train.h: what the files behind `lathe train` share: rows of data, the bar, what testing found, the page. */
#ifndef LATHE_TRAIN_H
#define LATHE_TRAIN_H
#include "cli.h"

/* ---- rows (data.c) ---- */

typedef struct dataset { lathe_array x, t; int64_t rows; size_t x_row, t_row; /* bytes of one row */ } dataset;
/* The files behind two flags, for the two ports; row counts that differ are an error. */
dataset load_dataset(const cli *c, const char *x_flag, const char *t_flag, const lathe_port *x, const lathe_port *t);
void free_dataset(dataset *d);
int64_t label_at(const dataset *d, int64_t row);
/* The order of one epoch's rows, by (seed, epoch) alone; file order with shuffle off. */
void order_rows(int64_t *order, int64_t rows, uint64_t seed, int64_t epoch, bool shuffle);

/* ---- progress (progress.c) ---- */

typedef struct progress { int64_t total, per_epoch; double start, shown; int64_t told; } progress;
progress progress_start(int64_t total, int64_t per_epoch);
void progress_step(progress *p, int64_t done, double loss);

/* ---- what testing found (evaluate.c) ---- */

typedef struct misread { int64_t row; int said, is; } misread;
typedef struct evaluation {
  int64_t rows, right, classes; /* classes 0: not a classification, `error` is the mean of squares */
  int64_t *confusion;           /* [classes][classes]: is, said */
  misread *wrong;
  int64_t n_wrong;
  double error;
} evaluation;
/* Runs all rows through the output, B at a time; the last batch is padded and the padding not counted. */
evaluation evaluate(const cli *c, lathe_instance *run, const lathe_port *x, const lathe_port *out, const dataset *d);
void free_evaluation(evaluation *v);
double accuracy(const evaluation *v); /* percent */
void print_confusion(const evaluation *v);

/* ---- the page (report.c) ---- */

typedef struct page {
  const char *model;
  const float *loss; /* [steps] */
  int64_t steps, per_epoch;
  double seconds;
  const evaluation *test; /* NULL: not tested */
  const dataset *test_set;
  const char *peak; /* the line about the FMA peak */
} page;
void write_page(const cli *c, const char *path, const page *p);
#endif
