/* source.h: where a network comes from. A source can be read with these dimensions, and read again with others.
 *
 * A source is a reader and what it reads: a file, bytes in memory, or a network that a program has built. What it is
 * read with is the same for all (lt_read_options), and so is what comes of it: a graph of its own, owned by the caller,
 * or lt_fail with a message that names the source's file. A file's reader is chosen by its name, else by its first
 * bytes; the table is in source.c. */
#ifndef LT_SOURCE_H
#define LT_SOURCE_H
#include "ir/ir.h"

typedef struct lt_dim_override { const char *name; int64_t value; } lt_dim_override; /* --dim NAME=VALUE */
typedef struct lt_input_pin { const char *name, *file; } lt_input_pin;         /* --pin NAME=F.npy */
typedef struct lt_read_options {
  const char *network;         /* --network; NULL: the only one of the source */
  const lt_dim_override *dims; /* of several with one name the last holds */
  size_t n_dims;
  int64_t batch;           /* --batch sets the dimension N where dims do not; 0: not given */
  int64_t max_bytes;       /* of one value; 0: the machine's memory */
  uint32_t max_nodes;      /* 0: LT_READ_MAX_NODES */
  const char *const *keep; /* --keep: of an ONNX model, read what these values need; none: its outputs */
  size_t n_keep;
  const lt_input_pin *pins; /* inputs of an ONNX model that are constants */
  size_t n_pins;
} lt_read_options;

enum { LT_READ_MAX_NODES = 1000000 };

typedef struct lt_source lt_source;

/* A kind of sources: one row of the table. */
typedef struct lt_reader {
  const char *what;   /* in the plural, for messages: "texts" */
  const char *suffix; /* files whose name ends so are its own; NULL: no files */
  const char *first;  /* other files are when they begin with these bytes; NULL: none do */
  size_t max_bytes;   /* of a file */
  bool mapped;        /* files are mapped, not read */
  /* The graph is freed with the job when the job fails, otherwise by the caller with lt_graph_free. o may be NULL.
   * NULL: a known kind that cannot be read yet. */
  lt_graph *(*read)(lt_job *job, const lt_source *s, const lt_read_options *o);
} lt_reader;

struct lt_source {
  const lt_reader *reader;
  const char *file;    /* what messages call it; NULL: built in C */
  lt_bytes bytes;      /* of the file; none of what a program has built */
  const char *folder;  /* where files that it names stand: that of the file; NULL: the current one */
  lt_mapping *mapping; /* of the file, which bytes are then; NULL: they are in memory. Kept by `keep` */
};

extern const lt_reader lt_text_reader;  /* text/elab.c */
extern const lt_reader lt_onnx_reader;  /* onnx/import.c */
extern const lt_reader lt_built_reader; /* build/apply.c: read only with the dimensions it was built with */

/* The file, "-" for standard input, or a copy of the bytes; kept in `keep`. */
void lt_source_open(lt_source *out, lt_job *job, lt_arena *keep, const char *path);
void lt_source_of_bytes(lt_source *out, lt_job *job, lt_arena *keep, lt_bytes bytes, const char *file);
lt_graph *lt_source_read(lt_job *job, const lt_source *s, const lt_read_options *o);

#endif
