/* weights_list.c: what a file of weights holds, which weights of a network that is, and the file written anew with the
 * network's own names and layouts. Nothing is compiled for it: a model without entries has an image all the same. */
#include "driver/graph_api.h"
#include "driver/model/instance.h"
#include "driver/model/match.h"

#include <inttypes.h>

typedef struct list_args {
  const char *path, *opts;
  const lathe_graph *g;
  char *out;
  lathe_instance *s; /* freed outside of the job, like the next */
  lathe_model *m;
} list_args;

/* Text from a file: what is none, or steers a terminal, is \xNN. */
static const char *shown(lt_arena *a, const char *key) {
  lt_str s;
  lt_str_init(&s, a);
  lt_str_puts(&s, "");
  for (size_t take, left = strlen(key); left; key += take, left -= take) {
    take = *key == '\n' || *key == '\t' ? 0 : lt_character(key, left);
    if (take) lt_str_put(&s, key, take);
    else lt_str_printf(&s, "\\x%02x", (unsigned char)*key), take = 1;
  }
  return s.at;
}

static void put_row(lt_str *out, const lt_weight *x) {
  int64_t bytes = 0;
  bool sized = !x->problem && lt_mul_ok(&bytes, x->array.count, x->array.size);
  lt_str_printf(out, "%-32s %-24s", shown(out->arena, x->key),
                x->problem ? "(not read)" : lt_weight_text(out->arena, x));
  if (sized) lt_str_printf(out, " %12" PRId64 " %12" PRId64, x->array.count, bytes);
  lt_str_puts(out, "\n");
}

static void list_file(lt_str *out, const lt_weights *w) {
  int64_t elements = 0;
  lt_str_printf(out, "%-32s %-24s %12s %12s\n", "key", "type", "elements", "bytes");
  for (uint32_t i = 0; i < w->n; i++) {
    put_row(out, &w->at[i]);
    if (!w->at[i].problem && !lt_add_ok(&elements, elements, w->at[i].array.count)) elements = INT64_MAX;
  }
  lt_str_printf(out, "%-32s %-24s %12" PRId64 "\n", w->format->name, "in all", elements);
}

/* The item that a weight of the file has become; NULL: none. */
static const lt_image_item *item_of(const lt_matching *mt, const lt_weight *x, const char **how) {
  for (uint32_t i = 0; i < mt->m->image.n; i++)
    if (mt->item[i].weight == x) return *how = mt->item[i].how, &mt->m->image.item[i];
  return NULL;
}

static void list_matches(lt_str *out, const lt_matching *mt) {
  lt_str_printf(out, "%-32s %-24s %-32s %s\n", "key", "type", "weight", "elements");
  for (uint32_t i = 0; i < mt->w->n; i++) {
    const lt_weight *x = &mt->w->at[i];
    const char *how = "passed over";
    const lt_image_item *item = item_of(mt, x, &how);
    lt_str_printf(out, "%-32s %-24s %-32s %s\n", shown(out->arena, x->key),
                  x->problem ? "(not read)" : lt_weight_text(out->arena, x), item ? item->name : "-",
                  *how ? how : "as they lie");
  }
}

/* The network's params and states alone. */
static lathe_model *images_of(lt_job *job, const lathe_graph *g) {
  lathe_model *m = lt_model_new(job, g, NULL, TO_COMPILE);
  m->n_entry = 0;
  lt_model_image(m, job, g->g);
  return m;
}

static void match_file(lt_job *job, lt_str *out, list_args *p, const lt_options *o) {
  lt_arena *a = out->arena;
  lt_weights w;
  lt_matching mt;
  lathe_model *m = images_of(job, p->g);
  lt_weights_open(&w, job, a, p->path);
  lt_match_begin(&mt, job, a, m, &w);
  mt.partial = o->weights_partial, mt.flatten_order = o->flatten_order;
  for (uint32_t i = 0; i < w.n; i++)
    mt.skip[i] = !lt_model_item(m, w.at[i].key) && lt_optimizer_state(m->leaves, w.at[i].key);
  lt_match_all(&mt);
  lt_match_missing(&mt, false);
  lt_match_check(&mt);
  list_matches(out, &mt);
  p->m = m;
  p->s = lt_instance_images(job, m, NULL, 0);
  if (!o->output) return;
  lt_weights_load(job, p->s, p->path, (lt_load_options){o->weights_partial, o->flatten_order});
  lt_weights_write(job, p->s, o->output, false);
}

static void list_body(lt_job *job, void *arg) {
  list_args *p = arg;
  lt_options o;
  lt_str out;
  lt_weights w;
  lt_arena *a = lt_arena_new(job);
  lt_str_init(&out, a);
  lt_options_read(&o, job, a, p->opts, TO_WEIGHTS);
  if (o.output && !p->g)
    lt_fail(job, LATHE_E_INVALID, NULL, "--output: weights are written as a network has them, and none is given");
  if (o.output) {
    const lathe_file file[] = {{lt_weights_file(a, p->path, NULL), "the file of weights", 0},
                               {o.output, "--output", 1}};
    lt_files_distinct(job, file, LT_COUNT(file));
  }
  if (p->g) match_file(job, &out, p, &o);
  else lt_weights_open(&w, job, a, p->path), list_file(&out, &w);
  p->out = lt_text_out(job, &out);
}

char *lathe_weights_list(const char *path, const lathe_graph *g, const char *opts, lathe_error *e) {
  list_args p = {.path = path, .g = g, .opts = opts};
  if (lt_protect(e, list_body, &p)) return NULL; /* what the job made, it has freed */
  lathe_instance_free(p.s);
  lathe_model_free(p.m);
  return p.out;
}
