/* emission.h: an object under way: what emit.c knows and header.c writes down. It lives in one call of lathe_emit,
 * which frees the model and the weights at its end. */
#ifndef LT_EMISSION_H
#define LT_EMISSION_H
#include "driver/model/instance.h"

typedef struct lt_emission {
  lt_job *job;
  lt_arena *a;
  const lathe_model *m; /* planned, without code of its own */
  const lt_options *o;
  lt_target target;
  const char *prefix, *source; /* source: the model's file without its folder, or the network's name */
  lathe_instance *weights;     /* NULL: nobody says what the weights are */
  lt_object object;
  lt_module_entry *unit;
  size_t n_unit;
  lt_state_code state;
  bool stateful;       /* some entry wants a state: the object can fill one */
  int64_t grads_bytes; /* of the largest gradient image; 0: no step in two halves */
  lt_emitted out;
} lt_emission;

/* The C header of the object. Names that meet are errors that name both. */
void lt_header_print(lt_str *out, const lt_emission *e);
/* c_names.c: a name as an identifier of C and C++; in capitals, for macros; and whether somebody else has it. */
const char *lt_c_name(lt_arena *a, const char *name);
const char *lt_c_upper(lt_arena *a, const char *name);
bool lt_c_is_taken(const char *name);
#endif
