/* data.h: constant data (data.c). */
#ifndef LT_DATA_H
#define LT_DATA_H
#include "ir/op.h"

/* The elements of a constant or of a literal initial value, as files and code have them: in their own type, row-major,
 * little endian. They never change and are held once: whoever keeps data refers to it, no pass copies it, and the last
 * to let go frees it or unmaps the file. Any thread may read it.
 *
 * References belong to arenas. What makes data gives one to `a`; lt_data_keep gives one to another arena; freeing the
 * arena gives it back. So lt_attrs_copy copies references, and a graph's data lives at least as long as the graph. */
struct lt_data {
  lt_type type;
  /* at any address: to be read with memcpy. Bytes of a bool that are not 0 are all true */
  const unsigned char *at;
  int64_t bytes;
  const char *file, *path; /* as data("FILE", OFFSET, BYTES) names it; as it was opened. NULL: own memory */
  int64_t offset;
  struct lt_data_shared *shared;
};
const lt_data *lt_data_new(lt_arena *a, const lt_type *t, const void *elements); /* copied; from any address */
const lt_data *lt_data_of(lt_arena *a, const lt_tensor *t);
/* A range of a file beneath `folder`, mapped; it must stay as it is meanwhile. NULL: *why says what is wrong. */
const lt_data *lt_data_map(lt_arena *a, const lt_type *t, const char *folder, const char *file, int64_t offset,
                           const char **why);
/* A range of a mapped file, which must hold it, without a map of its own; file and path as above. */
const lt_data *lt_data_part(lt_arena *a, const lt_type *t, lt_mapping *m, const char *file, const char *path,
                            int64_t offset);
/* What of a file is mapped for it: the whole file, where it shares that with others; at NULL: it is in none. */
lt_mapped lt_data_mapped(const lt_data *d);
const lt_data *lt_data_keep(lt_arena *a, const lt_data *d); /* d; NULL: none */
const lt_data *lt_data_in(const lt_node *n);         /* a constant's value, a literal initial value; NULL: none */
bool lt_data_eq(const lt_data *a, const lt_data *b); /* same type, same bits; at once when they are the same */
uint64_t lt_data_hash(const lt_data *d);             /* of type and bytes; computed once */
bool lt_data_splat(const lt_data *d);                /* all elements have the same bits; found out once */
double lt_data_at(const lt_data *d, int64_t i);      /* element i as double */
void lt_data_write(const lt_data *d, void *to);      /* all elements, to any address */

#endif
