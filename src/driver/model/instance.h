/* instance.h: what is behind a lathe_instance: one caller's weights or state, buffers and scratch for a model.
 *
 * It holds a reference to its model and owns all memory here but what the caller has bound. */
#ifndef LT_INSTANCE_H
#define LT_INSTANCE_H
#include "driver/model/model.h"
#include "runtime/pool.h"

/* A slot of an entry: entries that name an input alike share its memory. */
typedef struct lt_cell {
  const char *name;
  size_t bytes;      /* the most any entry needs */
  void *own, *bound; /* bound: the caller's, NULL: own */
  bool hyper;        /* passed as null until it has been asked for, so that the compiled-in value holds */
  bool touched;
} lt_cell;

/* What is passed to an entry or a half. */
typedef struct lt_call_args {
  const lt_callable *callee;
  const void **io; /* the struct that the entry takes; filled in each call */
  uint32_t *cell;  /* by slot */
  void *region;    /* the packed image or the portable one */
  void *grads;     /* the gradient image of a half's step */
} lt_call_args;

struct lathe_instance {
  const lathe_model *model;
  lt_arena arena;
  lt_cell *cell;
  uint32_t n_cell;
  lt_call_args *call;
  uint32_t n_call;
  unsigned char *image; /* portable: header, params, states */
  const void **item;    /* where each param and state of it stands: there, or still in the file it is from */
  bool pack_only;       /* nobody but `pack` reads them: they may */
  bool outside;         /* some do: in files that the network names, or in */
  lt_mapping *file;     /* the one that was loaded; NULL: none do */
  const char *file_path;
  void *packed;    /* the image that run entries read; NULL: none */
  lt_pack_fn pack; /* makes it of the portable one: the model's own code, or code that lives as long as this */
  void **grads;    /* gradient images, by entry of the model; NULL: no halves */
  void *scratch;
  lathe_pool *pool;
  bool drawn; /* weights have their initial values, or a file's */
  bool stale; /* params were loaded: pack before the next run */
  uint64_t seed;
  int64_t step; /* calls of train entries so far, also those of the instance whose weights were loaded */
};

static inline bool lt_instance_trains(const lathe_instance *s) { return s->model->trains; }
/* What a training needs to go on beside its states: the i64 "step" and "seed", where it has no states of those names
 * (no optimizer that counts, no dropout). NULL for other names, and for models that do not train. */
void *lt_instance_hidden(lathe_instance *s, const char *name);
/* One with images alone, without inputs, outputs and scratch: enough for weights, which `pack` packs. Freed by the job
 * when it fails. */
lathe_instance *lt_instance_images(lt_job *job, const lathe_model *m, lt_pack_fn pack, uint64_t seed);
/* The initial value of weight i; of all that have none yet. lt_weights_load into an instance that has none draws only
 * what the file lacks. */
void lt_instance_draw_item(lathe_instance *s, uint32_t i);
void lt_instance_draw(lathe_instance *s);

/* After this the image holds all weights. What was only packed until now comes from the file it is from: false, or an
 * error: the file has been written since. */
bool lt_instance_settle(lathe_instance *s);
void lt_instance_own(lt_job *job, lathe_instance *s);
LT_NORETURN void lt_fail_written(lt_job *job, const lathe_instance *s);
/* Does item i stand in the file that was loaded? */
bool lt_instance_in_file(const lathe_instance *s, uint32_t i);
/* For who only reads: where an item of the model's image stands now, once it is sure that the file was not written. */
void lt_instance_check_file(lt_job *job, const lathe_instance *s);
static inline const void *lt_instance_at(const lathe_instance *s, const lt_image_item *item) {
  return s->item[item - s->model->image.item];
}

bool lt_is_seed(const lt_image_item *x); /* the state that begins with the seed itself */

/* ---- weights.c ---- */
/* The params and states of `from` by name into `to`. */
void lt_weights_copy(lt_job *job, lathe_instance *to, const lathe_instance *from);
typedef struct lt_load_options {
  bool partial;              /* missing and extra keys are allowed */
  const char *flatten_order; /* of Keras's layers after a flatten: "hwc", "chw"; NULL: such layers are an error */
} lt_load_options;
void lt_weights_load(lt_job *job, lathe_instance *s, const char *path, lt_load_options o);
void lt_weights_write(lt_job *job, lathe_instance *s, const char *path, bool with_optimizer);

#endif
