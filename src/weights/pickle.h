/* pickle.h: the part of Python's pickles that PyTorch's state dicts are written with, read without running anything.
 *
 * A pickle is a program for a machine with a stack. This one knows the 31 opcodes that torch.save emits for
 * dictionaries of tensors, and of the names that a pickle may call only those that make such dictionaries; anything
 * else is refused by name. It does not recurse, looks at each byte once, and makes at most LT_MAX_PICKLED values. */
#ifndef LT_PICKLE_H
#define LT_PICKLE_H
#include "weights/weights.h"

enum { LT_MAX_PICKLED = 1 << 19, LT_MAX_PICKLE_BYTES = 16 << 20 };

typedef enum lt_pickled_kind {
  LT_P_NONE,
  LT_P_BOOL,
  LT_P_INT,
  LT_P_FLOAT,
  LT_P_TEXT,
  LT_P_TUPLE,
  LT_P_LIST,
  LT_P_DICT,
  LT_P_GLOBAL,
  LT_P_STORAGE,
  LT_P_TENSOR
} lt_pickled_kind;

typedef struct lt_pickled lt_pickled;
typedef struct lt_pickled_items { LT_VEC(lt_pickled) v; } lt_pickled_items;

/* A storage is a member of the archive, by its key. */
typedef struct lt_pickled_storage { const char *key; char kind; uint8_t size; int64_t count; } lt_pickled_storage;
typedef struct lt_pickled_tensor {
  const lt_pickled_storage *storage;
  int64_t offset;
  uint32_t rank;
  const lt_pickled *dim, *stride; /* LT_P_INT each */
} lt_pickled_tensor;
typedef struct lt_pickled_global lt_pickled_global;

struct lt_pickled {
  lt_pickled_kind kind;
  uint32_t n;  /* of TEXT: bytes; of TUPLE: items */
  union {
    int64_t i; /* INT and BOOL */
    double f;
    const char *text; /* zero-terminated, and may have zeros inside */
    const lt_pickled *item;
    lt_pickled_items *items; /* LIST; DICT: keys and values in turn */
    const lt_pickled_global *global;
    const lt_pickled_storage *storage;
    const lt_pickled_tensor *tensor;
  } as;
};

/* What the pickle says. */
lt_pickled lt_pickle_read(lt_weights *w, lt_bytes b);

/* ---- torch.c ---- */

/* Bytes of the storage called `key` and the member that has them; false: none. */
typedef bool (*lt_find_storage)(lt_weights *w, const char *key, uint64_t *bytes, uint32_t *member);
/* The tensors of a state dict, whose storages `find` knows. */
void lt_torch_take(lt_weights *w, lt_bytes pickle, lt_find_storage find);

#endif
