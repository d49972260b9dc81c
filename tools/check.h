/* check.h: what the files behind `lathe check` share: an entry's memory as one record, and the child that runs an
 * object on it. */
#ifndef LATHE_CHECK_H
#define LATHE_CHECK_H
#include "cli.h"

/* ---- records (call_record.c) ---- */

/* All that a call of an entry reads and writes, one block behind the other, each 64-aligned:
 *   status word · inputs and outputs in the order of the io struct · the state image (train) · the image as state_init
 *   makes it
 * The same layout serves the JIT's results in memory and the file that the child maps. */
typedef struct layout {
  const char *entry;
  ports io, items; /* the io struct's pointers; params and states */
  int64_t *at;     /* of io[i] on the record; -1: passed as null (a hyperparameter: the compiled-in value) */
  bool trains;
  int64_t image_at, init_at, image_bytes, bytes;
  int64_t scratch_bytes;
} layout;

enum { RECORD_ALIGN = 64 };
layout layout_of(const cli *c, const lathe_model *m, const char *entry);
void layout_free(layout *l);
unsigned char *record_new(const layout *l); /* 64-aligned; free() */
/* inputs, params and states; outputs: NaN */
void record_put(const cli *c, const layout *l, unsigned char *record, lathe_instance *s);
/* outputs, params and states as they are */
void record_get(const cli *c, const layout *l, unsigned char *record, lathe_instance *s);
/* params and states from it */
void record_restore(const cli *c, const layout *l, const unsigned char *record, lathe_instance *s);
/* Do outputs, and what training has changed, agree bit by bit? Otherwise lines that say where, with the two sides'
 * names; malloc. */
char *record_differences(const layout *l, const unsigned char *a, const char *a_name, const unsigned char *b,
                         const char *b_name);
/* The same for what state_init made and what the record `b` began with. */
char *init_differences(const layout *l, const unsigned char *made, const unsigned char *b);

/* ---- the child (child.c) ---- */

/* A folder of its own for the object and the record; gone when the command ends, however it ends. */
void folder_open(const cli *c);
void folder_close(void);
char *folder_path(const char *name); /* malloc */

#define CHECK_PREFIX "checked" /* of the object's symbols */
/* Calls the entry of the folder's file (model.o, or model.so as the system's linker made it) in another process, which
 * ends by itself after `seconds`. The record comes back as the child has left it. NULL, or what went wrong (malloc). */
char *child_call(const cli *c, const layout *l, const char *file, unsigned char *record, uint64_t seed,
                 unsigned seconds);
/* model.o → model.so with the C compiler. NULL, or what went wrong (malloc); *missing: there is no C compiler. */
char *link_shared(bool *missing);
int verb_check_object(cli *c); /* the child's side; not for users */

#endif
