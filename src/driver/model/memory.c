/* memory.c: is there memory for what a plan needs? Asked when its sizes are known and nothing of them has been
 * allocated. */
#include "driver/model/model.h"

static int64_t plus(int64_t a, int64_t b) {
  int64_t sum;
  return lt_add_ok(&sum, a, b) ? sum : INT64_MAX;
}

/* A pointer for inputs and outputs is one value's. */
static int64_t slot_bytes(const lt_plan *p) {
  int64_t sum = 0;
  for (uint32_t i = 0; i < p->n_slot; i++) sum = plus(sum, p->slot[i].unused ? 0 : lt_type_bytes(&p->slot[i].type));
  return sum;
}

/* What takes the most, whose node is to be named. */
static const lt_buffer *largest(const lt_plan *p) {
  const lt_buffer *most = NULL;
  for (uint32_t i = 0; i < p->n_buffer; i++)
    if (p->buffer[i].value && (!most || p->buffer[i].bytes > most->bytes)) most = &p->buffer[i];
  return most;
}

/* The node's name as a user knows it. */
static const char *name_of(const lt_graph *g, lt_value v) {
  const lt_node *n = lt_node_of(g, v);
  return n->label ? n->label : lt_name_of(g, v) ? lt_name_of(g, v) : lt_op_table[n->op].name;
}

void lt_model_check_memory(const lathe_model *m, lt_job *job, const lt_graph *g, const lt_plan *p, bool packed) {
  const int64_t limit = g->max_bytes, weights = m->image.n ? m->image.bytes : 0, io = slot_bytes(p);
  const int64_t image = packed ? p->region_bytes : p->out_bytes;
  const int64_t all = plus(plus(weights, image), plus(p->scratch_bytes, io));
  const lt_buffer *most = largest(p);
  if (!limit || all <= limit || !most) return;
  const lt_node *n = lt_node_of(g, most->value);
  lt_fail(job, LATHE_E_INVALID, &n->loc,
          "entry `%s` takes %lld bytes, more than the limit of %lld: weights %lld, %s %lld, arena %lld, inputs and "
          "outputs %lld\n"
          "help: the largest part, %lld bytes, is for `%s` (%s); make it smaller, or raise the limit with --max-bytes",
          p->name, (long long)all, (long long)limit, (long long)weights, packed ? "packed weights" : "gradients",
          (long long)image, (long long)p->scratch_bytes, (long long)io, (long long)most->bytes, name_of(g, most->value),
          n->origin ? n->origin : lt_op_table[n->op].name);
}
