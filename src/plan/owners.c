/* owners.c: which core a kernel over several images in blocks of channels leaves them to: tasks are images first, as
 * those of products are, or channels first, as those of sums over all images. The pool gives a thread the same part of
 * each kernel's tasks.
 *
 * To write a line that another core has read since, or that both hold, takes ten times as long as any other (the other
 * core must give it up; measured on Zen 4, where asking ahead does not help). Sums over all images move half of what
 * they read to the other core. So what goes on with that and may take its place goes by channels too; a product moves
 * it back, which costs nothing. Depthwise convolutions stay by images: one thread took 1.2 of the time by channels. */
#include "plan/build.h"
#include "plan/operands.h"

typedef struct touching {
  lt_builder *b;
  bool *by_channels; /* by buffer: the last kernel that read or wrote it went so */
  int32_t at;        /* the kernel */
  bool now;          /* so does this one */
} touching;

static void touch(void *arg, const lt_operand *o) {
  const touching *t = arg;
  t->by_channels[*o->buffer] = t->now;
}

/* Could a store of k take the place of x? */
static bool ends_in_place(const touching *t, const lt_kernel *k, const lt_buffer *x) {
  for (uint32_t i = 0; i < k->n_store; i++) {
    const lt_buffer *y = &t->b->buffer.at[k->store[i].to.buffer];
    if (x->last == t->at && y->first == t->at && x->bytes == y->bytes && x->dtype == y->dtype) return true;
  }
  return false;
}

static bool follows_channels(const touching *t, const lt_kernel *k) {
  for (uint32_t i = 0; i < k->n_access; i++) {
    const lt_access *a = &k->access[i];
    const lt_buffer *x = &t->b->buffer.at[a->buffer];
    if (a->stride[0] && t->by_channels[a->buffer] && ends_in_place(t, k, x)) return true;
  }
  return false;
}

void lt_follow_owners(lt_builder *b) {
  touching t = {.b = b, .by_channels = LT_NEW_ARRAY(b->a, bool, b->buffer.n + 1u)};
  for (uint32_t i = 0; i < b->kernel.n; i++) {
    lt_kernel *k = &b->kernel.at[i];
    t.at = (int32_t)i;
    if (lt_by_images(k) && follows_channels(&t, k)) lt_channels_first(k);
    t.now = k->block_dim == 0 && k->kind != LT_K_CONTRACT;
    lt_operands(k, touch, &t);
  }
}
