/* layers.h: layers and composites (rows of layers.def), shown by tables and typed constructors as ops are. Shared by
 * all sources of networks. */
#ifndef LT_LAYERS_H
#define LT_LAYERS_H
#include "ir/ir.h"

typedef struct lt_layer_info {
  const char *name, *operands, *doc;
  const lt_attr_info *(*attrs)(void); /* n_attrs rows */
  uint8_t n_attrs;
  uint32_t attrs_size;
  bool weights; /* a layer proper, which needs a name; else a composite of ops */
} lt_layer_info;

#define LAYER(name, operands, weights, doc) typedef struct lt_##name##_layer {
#define ATTR(kind, name, def, doc) lt_attr_##kind name;
#define END(name)                                                                                                      \
  char end_;                                                                                                           \
  }                                                                                                                    \
  lt_##name##_layer;
#include "frontend/layers.def"

typedef enum lt_layer {
  LT_LAYER_none,
#define LAYER(name, operands, weights, doc) LT_LAYER_##name,
#include "frontend/layers.def"
  LT_LAYERS
} lt_layer;

extern const lt_layer_info lt_layer_table[LT_LAYERS]; /* [0] is unused */
lt_layer lt_layer_find(const char *name, size_t n);
/* Into a lt_<layer>_layer: the defaults of its row; what is required stays zero. */
void lt_layer_defaults(lt_layer layer, void *attrs);

/* Emit a layer: its params (`name`.W …) and its ops. attrs is a lt_<layer>_layer. Fails naming layer, label, shapes. */
lt_value lt_layer_emit(lt_graph *g, lt_layer layer, const void *attrs, const char *name, const lt_value *in);

#endif
