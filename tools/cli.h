/* cli.h: what the verbs of the `lathe` command share. Everything goes through lathe/lathe.h.
 *
 * Data goes to standard output, messages to standard error. Exit codes: 0 done, 1 the work failed, 2 wrong command
 * line, 70 a bug in Lathe. A verb that cannot go on calls one of the fail_* functions, which print and exit. */
#ifndef LATHE_CLI_H
#define LATHE_CLI_H
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include "lathe/lathe.h"

enum { EXIT_WORK = 1, EXIT_USAGE = 2, EXIT_BUG = 70 };

/* ---- command line (args.c) ---- */

#include "lathe/options.def" /* V_RUN … V_COMPILE: verbs as bits; TO_LOAD … TO_EMIT: calls that get an option */

typedef enum option_kind { O_FLAG, O_INT, O_REAL, O_CHOICE, O_TEXT, O_FILE, O_OUT, O_DIM, O_NAME_FILE } option_kind;
typedef struct option {
  const char *name, *arg; /* without "--"; what stands for the value in help */
  option_kind kind;
  double lo, hi;       /* O_INT, O_REAL */
  const char *choices; /* O_CHOICE: "a|b|c" */
  unsigned verbs, to;
  bool many;             /* may be given more than once */
  const char *def, *doc; /* the default in words, "" where there is none */
} option;

struct cli;
typedef struct verb {
  const char *name;
  unsigned bit;
  const char *model; /* "MODEL", "F.lathe", or NULL: takes none */
  const char *doc;   /* NULL: not for users, help passes over it */
  const char *notes; /* further lines of help, or NULL */
  int (*run)(struct cli *c);
} verb;

typedef struct given { const option *o; const char *text; } given;
typedef struct cli {
  const verb *verb;
  const char *model;
  given *given; /* in order */
  size_t n;
  char *source; /* the model's text when it came from standard input */
  size_t source_bytes;
} cli;

void parse_args(cli *c, int argc, char **argv); /* argv after the verb */
const option *options_table(size_t *n);
bool has(const cli *c, const char *name);
const char *text_of(const cli *c, const char *name, const char *otherwise);
int64_t int_of(const cli *c, const char *name, int64_t otherwise);
double real_of(const cli *c, const char *name, double otherwise);
const char *nth_of(const cli *c, const char *name, size_t i); /* NULL past the last */
/* The options that go to one library call, as text, with `extra` (may be NULL) before them. */
char *opts_for(const cli *c, unsigned to, const char *extra);
char *add_option(char *text, const option *o, const char *value); /* text, which is freed, and `--name "value"` */

/* ---- files that are read and written (files.c) ---- */

void check_files(const cli *c); /* a usage error when two of the command line are one, and one of them is written */
void check_output(const cli *c, const char *path); /* the same for a file below --output-dir */

extern const verb verbs[];                                                 /* main.c; ends with a row without a name */
const char *nearest(const char *word, const char *const *names, size_t n); /* NULL: none is near */

/* ---- messages (message.c) ---- */

#if defined(__GNUC__)
#define CLI_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define CLI_PRINTF(f, a)
#endif
_Noreturn void fail_usage(const cli *c, const char *fmt, ...) CLI_PRINTF(2, 3); /* text may hold "\nhelp: …" */
_Noreturn void fail_work(const cli *c, const char *fmt, ...) CLI_PRINTF(2, 3);
_Noreturn void fail_api(const cli *c, const lathe_error *e);
void print_message(const cli *c, const char *kind, const lathe_error *where, const char *text);
bool stderr_is_tty(void);
extern void (*before_leaving)(void); /* called before a fail_* function ends the process; NULL: nothing to do */

/* ---- memory and text (message.c) ---- */

void *need(void *p);                                           /* p, unless it is NULL: out of memory */
char *format(const char *fmt, ...) CLI_PRINTF(1, 2);           /* malloc */
char *name_list(const char *const *names, size_t n);           /* "a, b, c", at most a dozen; malloc */
char *shape_text(lathe_dtype t, int rank, const int64_t *dim); /* "f32[2, 3]", malloc */
int64_t count_of(int rank, const int64_t *dim);
size_t size_of(lathe_dtype t);
void json_string(FILE *f, const char *s);
double now(void); /* seconds */

/* ---- arrays in files (arrays.c) ---- */

/* PATH.npy, or PATH.npz:KEY. want is a dtype or -1. */
lathe_array load_array(const cli *c, const char *path, int want);
size_t file_length(const char *path); /* of "F.npz" in F.npz:KEY, else all of it */
/* An array for a port; wrong types and shapes are errors that name both. rows: the first dim may be any. */
lathe_array load_for_port(const cli *c, const char *path, const lathe_port *port, bool rows);
void split_name_file(const char *text, char **name, const char **file); /* "x=F.npy" */
void make_dirs(const cli *c, const char *path);

/* ---- models (model.c) ---- */

lathe_graph *load_graph(cli *c);
void note_folded(const lathe_graph *g);                  /* where it is to train */
lathe_graph *load_graph_from(cli *c, const char *model); /* another than the command's own */
lathe_model *compile(const cli *c, const lathe_graph *g, const char *extra);
lathe_instance *open_instance(const cli *c, lathe_model *m);               /* weights loaded where given */
typedef struct ports { lathe_port *at; size_t n; } ports;
ports ports_of(const lathe_model *m, const char *entry, const char *kind); /* at: malloc */
const lathe_port *find_port(const ports *p, const char *name);
/* Error: no KIND called NAME, with the nearest one. */
_Noreturn void fail_no_port(const cli *c, const char *flag, const char *kind, const char *name, const ports *p);
void *buffer_of(const cli *c, lathe_instance *s, const char *name);
void call_entry(const cli *c, lathe_instance *s, const char *entry);
/* Inputs from --input; what is not given is filled from the seed, or, with `strict`, an error. What the network g
 * declares and `inputs` lack is passed over with a note. */
void set_inputs(const cli *c, const lathe_graph *g, lathe_instance *s, const ports *inputs, bool strict);
/* DIR/NAME.npy for each output; in file names every character outside A-Za-z0-9._- is _. */
void write_results(const cli *c, lathe_instance *s, const ports *out, const char *dir);
void put_input(const cli *c, lathe_instance *s, const lathe_port *port, const char *file);

/* ---- comparing (compare.c) ---- */

typedef struct difference { int64_t count, bad, worst; double got, want, largest; } difference;
difference compare_values(lathe_dtype t, const void *got, const void *want, int64_t n, double rtol, double atol);
char *index_text(int rank, const int64_t *dim, int64_t flat); /* "[4, 7]", malloc */
double value_at(lathe_dtype t, const void *data, int64_t i);
int64_t integer_at(lathe_dtype t, const void *data, int64_t i); /* of an array that does not hold floats */
bool is_float(lathe_dtype t);

/* How much of the FMA peak an entry's kernels reach, as a sentence (malloc). The model was compiled with --profile. */
char *peak_line(const cli *c, lathe_model *m, const char *entry, double seconds); /* verb_bench.c */

/* ---- verbs ---- */

int verb_run(cli *c);
int verb_grad(cli *c);
int verb_train(cli *c);
int verb_bench(cli *c);
int verb_check(cli *c);
int verb_compile(cli *c);
int verb_print(cli *c);
int verb_opt(cli *c);
int verb_viz(cli *c);
int verb_info(cli *c);
int verb_ops(cli *c);
int verb_targets(cli *c);
int verb_weights(cli *c);
#endif
