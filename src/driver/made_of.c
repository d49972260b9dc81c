/* made_of.c: the files that a graph and its weights come from. */
#include "driver/graph_api.h"
#include "weights/weights.h"

bool lt_is_file(const char *path) { return path && *path != '<' && strcmp(path, "-"); }

static void add(lt_arena *a, lt_file_list *all, const char *path, const char *what) {
  if (!lt_is_file(path)) return;
  for (uint32_t i = 0; i < all->n; i++)
    if (!strcmp(all->at[i].path, path)) return;
  lt_vec_push(a, all, ((lathe_file){path, what, 0}));
}

lt_file_list lt_made_of(lt_arena *a, const lathe_graph *g, const char *weights) {
  lt_file_list all = {0};
  add(a, &all, g->source.file, "the model");
  if (weights) add(a, &all, lt_weights_file(a, weights, NULL), "--weights");
  for (uint32_t i = 0; i < g->g->nodes.n; i++) {
    const lt_data *d = lt_data_in(g->g->nodes.at[i]);
    if (d) add(a, &all, d->path, "data of the model");
  }
  return all;
}
