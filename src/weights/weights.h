/* weights.h: files of named arrays, whatever their format: npz, safetensors, PyTorch's.
 *
 * A file is mapped, and its arrays are views of it; what is deflated is unpacked when it is asked for. A reader is
 * strict: what the format forbids is an error that says what and where, and no size is believed before the bytes are
 * seen to be there. An array that is sound but holds nothing we read (a foreign element type) is in the way of nobody
 * but who asks for it. A format is a row in formats.c. */
#ifndef LT_WEIGHTS_H
#define LT_WEIGHTS_H
#include "base/elements.h"

typedef struct lt_weight {
  const char *key;     /* as in the file */
  lt_elements array;   /* its data: see lt_weights_fetch */
  const char *type;    /* its element type in the format's words, "F32"; NULL: see lt_elements_kind */
  const char *problem; /* why array is empty; NULL: it is an array of numbers */
  uint32_t member;     /* the reader's, like the next */
  uint64_t offset;
} lt_weight;

typedef struct lt_weights lt_weights;
typedef struct lt_weights_format {
  const char *name;
  const char *endings;                        /* of files' names, with blanks between them */
  void (*read)(lt_weights *);                 /* fills at and n */
  void (*fetch)(lt_weights *w, lt_weight *x); /* NULL: what was read has its data */
  /* NULL: such files are only read */
  void (*write)(lt_str *out, lt_job *job, const lt_named_array *list, size_t n);
} lt_weights_format;

struct lt_weights {
  lt_job *job;
  lt_arena *arena;
  const lt_weights_format *format;
  const char *path;
  const char *part; /* which of the dictionaries in a checkpoint (F.pth:NAME); NULL: not said */
  lt_bytes file;
  lt_mapping *mapping; /* of the file; NULL: it was read (a pipe) */
  lt_weight *at;       /* keys differ */
  uint32_t n;
  void *own; /* the reader's */
};

/* "F.pth:NAME" is the dictionary NAME of the checkpoint F.pth: the file, and the name (NULL: none). */
const char *lt_weights_file(lt_arena *a, const char *path, const char **part);
/* The format by the name's ending, else by the first bytes. The arrays point into the file, which is mapped as
 * long as the arena is there, or who keeps the mapping. */
void lt_weights_open(lt_weights *out, lt_job *job, lt_arena *a, const char *path);
/* The same of bytes that are there already, in a format that is known. */
void lt_weights_parse(lt_weights *out, lt_job *job, lt_arena *a, const lt_weights_format *format, const char *path,
                      lt_bytes file);
/* x->array.data, with its checksum verified where the format has one; fails with x's problem. */
void lt_weights_fetch(lt_weights *w, lt_weight *x);
/* The format that a file of this name is written in; npz where the ending says nothing. Fails where it is only read. */
const lt_weights_format *lt_weights_format_to_write(lt_job *job, const char *path);
const char *lt_weight_text(lt_arena *a, const lt_weight *x); /* "float32[2, 3]" */
LT_NORETURN void lt_weights_fail(lt_weights *w, int status, const char *fmt, ...) LT_PRINTF(3, 4);

enum { LT_MAX_WEIGHTS = 65536, LT_MAX_KEY = 1024 };
extern const lt_weights_format lt_format_npz, lt_format_safetensors, lt_format_torch;

#endif
