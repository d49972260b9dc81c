/* train.h: what the files behind `lathe train` share: rows of data, the steps, the bar, what testing found, the
 * page. */
#ifndef LATHE_TRAIN_H
#define LATHE_TRAIN_H
#include "cli.h"

/* ---- rows (data.c) ---- */

typedef struct dataset { lathe_array x, t; int64_t rows; size_t x_row, t_row; /* bytes of one row */ } dataset;
/* The files behind two flags, for the two ports; row counts that differ are an error. */
dataset load_dataset(const cli *c, const char *x_flag, const char *t_flag, const lathe_port *x, const lathe_port *t);
void free_dataset(dataset *d);
int64_t label_at(const dataset *d, int64_t row);
/* Rows as training takes them: epoch after epoch, each in an order of its own that (seed, epoch) alone fix, file order
 * with shuffle off. What is left over at an epoch's end opens the next batch: 5 rows, batches of 2: 0 1 | 2 3 | 4 0' |
 * 1' 2' … */
typedef struct feed { const dataset *d; int64_t *order, epoch; uint64_t seed; bool shuffle; } feed;
feed feed_start(const dataset *d, uint64_t seed, bool shuffle);
/* n rows, `first` counted from the training's begin */
void feed_take(feed *f, int64_t first, int64_t n, char *x, char *labels);
void feed_end(feed *f);

/* ---- progress (progress.c) ---- */

typedef struct progress { int64_t total, batch, rows; double start, shown; int64_t told; } progress;
progress progress_start(int64_t total, int64_t batch, int64_t rows);
void progress_step(progress *p, int64_t done, double loss);

/* ---- what testing found (evaluate.c) ---- */

typedef struct misread { int64_t row; int said, is; } misread;
typedef struct evaluation {
  int64_t rows, right, classes; /* classes 0: not a classification, `error` is the mean of squares */
  int64_t unread;               /* rows whose output is NaN: neither right nor read as something else */
  int64_t *confusion;           /* [classes][classes]: is, said */
  misread *wrong;
  int64_t n_wrong;
  double error;
  double loss; /* mean cross-entropy of the rows that count, or `error` */
} evaluation;
/* Runs all rows through the output, B at a time; the last batch is padded and the padding not counted. */
void check_test_labels(const cli *c, const lathe_port *out, const dataset *d); /* fails; integers alone */
evaluation evaluate(const cli *c, lathe_instance *run, const lathe_port *x, const lathe_port *out, const dataset *d);
void free_evaluation(evaluation *v);
double accuracy(const evaluation *v); /* percent */
void print_confusion(const evaluation *v);

/* ---- the training itself (verb_train.c), its steps (steps.c) ---- */

typedef struct training {
  cli *c;
  lathe_graph *g;
  lathe_model *m;
  lathe_instance *s;
  ports in, nets_inputs, weights, states; /* weights: the params; all of the train entry but nets_inputs */
  const lathe_port *x, *t;                /* of the train entry */
  lathe_port loss;
  dataset data, test;
  bool tested;
  lathe_port answer;   /* what testing looks at */
  lathe_model *tester; /* of the run entry; NULL: not needed so far */
  lathe_instance *test_run;
  int64_t batch, steps, first;     /* first: steps that the loaded weights have behind them */
  int64_t done;                    /* steps of this run */
  int64_t save_steps, save_epochs; /* --save-every; 0: not given */
  bool saved;
  int64_t saved_step; /* whose weights the file holds */
  uint64_t seed;
  float *losses;              /* for the page; NULL without one */
  double last, seconds, best; /* best: test loss of what --save-best has saved, */
  bool best_known;            /* if any was finite */
} training;
/* Trains t->steps steps, saves, and returns 0, or the signal that ended it early. */
int run_steps(training *t);
evaluation test_now(training *t); /* the weights as they are, on the test data */

/* ---- the page (report.c) ---- */

typedef struct page {
  const char *model;
  const float *loss; /* [steps] */
  int64_t steps;
  double per_epoch; /* steps of an epoch */
  double seconds;
  const evaluation *test; /* NULL: not tested */
  const dataset *test_set;
  const char *peak; /* the line about the FMA peak */
} page;
void write_page(const cli *c, const char *path, const page *p);
#endif
