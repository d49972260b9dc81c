/* conformance.h: the standard's own tests: a folder with a model, and folders beside it with what goes in and what
 * comes out. A case is run in a process of its own, which writes what it found into a report that the parent reads. */
#ifndef LT_CONFORMANCE_H
#define LT_CONFORMANCE_H
#include "frontend/onnx/array.h"
#include "frontend/onnx/import.h"

typedef enum verdict { CRASHED, PASSED, REFUSED, FAILED, VERDICTS } verdict;
/* What the gradients of a case that passed came to. */
typedef enum slope {
  NOT_ASKED,
  CHECKED,   /* as the differences are, and not all zero */
  VANISHES,  /* all differences are zero, and so is every gradient */
  NO_FLOATS, /* goes in, or comes out */
  ROUGH,     /* no smooth point was found */
  LARGE,     /* too slow for differences */
  WRONG,
  SLOPES
} slope;

typedef struct report {
  verdict verdict;
  slope slope;
  bool done;
  double worst;       /* of the gradient interpreted, relative */
  double worst_f32;   /* compiled */
  unsigned numbers;   /* elements that were compared with differences */
  char ops[400];      /* the model's, each once, between blanks: " Add Relu " */
  char message[1600]; /* why it was refused or failed */
} report;

/* A case that is being run. Everything lives as long as the job. */
typedef struct running {
  lt_job *job;
  lt_arena *arena;
  const char *folder;
  report *r;
  lt_onnx_model model;
  unsigned n_in, n_out;
  const char **in, **out;           /* names of the model's inputs and outputs */
  const char **in_file, **out_file; /* of the first set; NULL: there is none */
  lt_elements *in_array;
  const char *opts; /* what the model was read with */
  double gflop;     /* of a call */
} running;

LT_NORETURN void fails(running *c, verdict v, const char *fmt, ...) LT_PRINTF(3, 4);
lathe_array load(running *c, const char *path, int want);
void set_array(running *c, lathe_instance *s, const lathe_port *p, const char *path);
bool find_port(const lathe_model *m, const char *entry, const char *kind, const char *name, lathe_port *out);

void run_case(const char *folder, bool slopes, report *r); /* cases.c */
void check_slopes(running *c, const lathe_graph *g);       /* slopes.c; of a case that has passed */

#endif
