/* image.c: the portable image of a model: every param and state of the network and of its entries, once, with what it
 * starts from and the hashes by which a wrong image is recognised. */
#include "driver/model/model.h"

static void add_leaf(lathe_model *m, const lt_graph *from, const lt_node *n, const lt_entry_spec *spec) {
  lt_graph *to = m->leaves;
  const char *name = lt_name_of(from, n->out);
  const lt_type *t = lt_type_of(from, n->out);
  lt_value old = lt_find(to, name);
  if (!old) {
    lt_leaf(to, n->op, name, *t,
            n->op == LT_OP_param ? &((const lt_param_attrs *)n->attrs)->init
                                 : &((const lt_state_attrs *)n->attrs)->init);
    return;
  }
  if (!lt_type_eq(lt_type_of(to, old), t))
    lt_fail(to->job, LATHE_E_INVALID, NULL,
            "entry `%s`: `%s` would be %s, elsewhere it is %s: entries share their weights", spec->text, name,
            lt_type_text(&to->arena, t), lt_type_text(&to->arena, lt_type_of(to, old)));
}

static void add_leaves(lathe_model *m, const lt_graph *from, const lt_entry_spec *spec) {
  for (uint32_t i = 0; i < from->nodes.n; i++)
    if (from->nodes.at[i]->op == LT_OP_param || from->nodes.at[i]->op == LT_OP_state)
      add_leaf(m, from, from->nodes.at[i], spec);
}

static bool is_optimizer_state(const lt_graph *network, const char *name) {
  return !lt_find(network, name) && lt_optimizer_state(network, name);
}

/* What fixes the meaning of an image: names, types and places of its items. */
static uint64_t image_hash(lt_arena *a, const lt_image *image, int64_t bytes) {
  uint64_t h = lt_hash(&bytes, sizeof bytes, LATHE_ABI_1);
  for (uint32_t i = 0; i < image->n && image->item[i].offset < bytes; i++) {
    const char *type = lt_type_text(a, &image->item[i].type);
    h = lt_hash(image->item[i].name, strlen(image->item[i].name) + 1, h);
    h = lt_hash(type, strlen(type), h);
  }
  return h;
}

/* The network's own come before what training adds. */
static void measure_image(lathe_model *m) {
  m->own_bytes = LT_IMAGE_HEADER;
  for (uint32_t i = 0; i < m->image.n; i++)
    if (m->network_own[i]) m->own_bytes = i + 1 < m->image.n ? m->image.item[i + 1].offset : m->image.bytes;
  m->hash = image_hash(&m->arena, &m->image, m->own_bytes);
  m->state_hash = image_hash(&m->arena, &m->image, m->image.bytes);
}

/* Weights of the whole network in its order, whatever an entry needs of them, then what training adds. */
void lt_model_image(lathe_model *m, lt_job *job, const lt_graph *network) {
  m->leaves = lt_graph_new(job, m->name);
  m->folded = network->folded ? lt_arena_strdup(&m->arena, network->folded) : NULL;
  add_leaves(m, network, NULL);
  for (uint32_t i = 0; i < m->n_entry; i++) add_leaves(m, m->entry[i].graph, &m->entry[i].spec);
  lt_image_of(&m->image, &m->arena, m->leaves);
  m->init = LT_NEW_ARRAY(&m->arena, lt_init, m->image.n + 1);
  m->network_own = LT_NEW_ARRAY(&m->arena, bool, m->image.n + 1);
  m->use = LT_NEW_ARRAY(&m->arena, lt_use, m->image.n + 1);
  const lt_use *uses = lt_uses_of(lt_arena_new(job), network);
  for (uint32_t i = 0; i < m->image.n; i++) {
    const lt_image_item *item = &m->image.item[i];
    const lt_node *n = lt_node_of(m->leaves, lt_find(m->leaves, item->name));
    m->init[i] =
      n->op == LT_OP_param ? ((const lt_param_attrs *)n->attrs)->init : ((const lt_state_attrs *)n->attrs)->init;
    m->use[i] = uses[lt_find(network, item->name)]; /* of value 0, none: no use */
    m->network_own[i] = !is_optimizer_state(network, item->name);
  }
  measure_image(m);
}

bool lt_model_has_weights(const lathe_model *m) {
  bool any = false, random = false;
  for (uint32_t i = 0; i < m->image.n; i++) {
    lt_init_kind kind = (lt_init_kind)m->init[i].kind;
    any |= kind == LT_INIT_LITERAL;
    random |= m->image.item[i].is_param ? kind != LT_INIT_LITERAL : kind == LT_INIT_NORMAL || kind == LT_INIT_UNIFORM;
  }
  return any && !random;
}
