/* image.c: the portable image: where each param and state of a graph stands in it. */
#include "plan/plan.h"

void lt_image_of(lt_image *out, lt_arena *a, const lt_graph *g) {
  *out = (lt_image){.item = LT_NEW_ARRAY(a, lt_image_item, g->nodes.n + 1u)};
  int64_t at = LT_IMAGE_HEADER;
  for (int state = 0; state < 2; state++) {
    for (uint32_t i = 0; i < g->nodes.n; i++) {
      const lt_node *n = g->nodes.at[i];
      if (n->op != (state ? LT_OP_state : LT_OP_param)) continue;
      lt_type t = *lt_type_of(g, n->out);
      out->item[out->n++] = (lt_image_item){lt_arena_strdup(a, lt_name_of(g, n->out)), t, at, n->out, !state};
      at += lt_aligned(lt_type_bytes(&t));
    }
    if (!state) out->params_bytes = at;
  }
  out->bytes = at;
}

const lt_image_item *lt_image_find(const lt_image *image, const char *name) {
  for (uint32_t i = 0; image && i < image->n; i++)
    if (!strcmp(image->item[i].name, name)) return &image->item[i];
  return NULL;
}
