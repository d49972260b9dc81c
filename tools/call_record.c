/* call_record.c: an entry's memory in one piece, filled from an instance, compared with another one. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

static int64_t aligned(int64_t n) { return (n + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN; }

static void add_port(ports *to, const lathe_port *p) {
  to->at = need(realloc(to->at, (to->n + 1) * sizeof *to->at));
  to->at[to->n++] = *p;
}

layout layout_of(const cli *c, const lathe_model *m, const char *entry) {
  layout l = {.entry = entry, .bytes = RECORD_ALIGN};
  lathe_port p;
  lathe_stats stats;
  if (!lathe_model_stats(m, entry, &stats)) fail_work(c, "the model has no entry '%s'", entry);
  for (size_t i = 0; lathe_model_port(m, entry, i, &p); i++) add_port(p.offset < 0 ? &l.io : &l.items, &p);
  l.at = need(calloc(l.io.n + 1, sizeof *l.at));
  for (size_t i = 0; i < l.io.n; i++) {
    bool hyper = strcmp(l.io.at[i].kind, "hyper") == 0;
    l.at[i] = hyper ? -1 : l.bytes;
    if (!hyper) l.bytes += aligned(l.io.at[i].bytes);
  }
  l.trains = stats.state_bytes > 0;
  l.image_bytes = stats.state_bytes;
  l.image_at = l.bytes;
  l.init_at = l.image_at + aligned(l.image_bytes);
  l.bytes = l.init_at + aligned(l.image_bytes);
  l.scratch_bytes = stats.scratch_bytes;
  return l;
}

void layout_free(layout *l) {
  free(l->io.at);
  free(l->items.at);
  free(l->at);
}

unsigned char *record_new(const layout *l) {
  unsigned char *record = need(aligned_alloc(RECORD_ALIGN, (size_t)l->bytes));
  memset(record, 0, (size_t)l->bytes);
  return record;
}

/* ---- from and to an instance ---- */

static bool is_output(const lathe_port *p) { return strcmp(p->kind, "output") == 0; }

static void put_items(const cli *c, const layout *l, unsigned char *record, lathe_instance *s) {
  for (size_t i = 0; l->trains && i < l->items.n; i++) {
    const lathe_port *p = &l->items.at[i];
    memcpy(record + l->image_at + p->offset, buffer_of(c, s, p->name), (size_t)p->bytes);
  }
}

void record_put(const cli *c, const layout *l, unsigned char *record, lathe_instance *s) {
  for (size_t i = 0; i < l->io.n; i++) {
    const lathe_port *p = &l->io.at[i];
    if (is_output(p)) memset(record + l->at[i], 0xFF, (size_t)p->bytes);
    else if (l->at[i] >= 0) memcpy(record + l->at[i], buffer_of(c, s, p->name), (size_t)p->bytes);
  }
  put_items(c, l, record, s);
}

void record_get(const cli *c, const layout *l, unsigned char *record, lathe_instance *s) {
  for (size_t i = 0; i < l->io.n; i++)
    if (is_output(&l->io.at[i]))
      memcpy(record + l->at[i], buffer_of(c, s, l->io.at[i].name), (size_t)l->io.at[i].bytes);
  put_items(c, l, record, s);
}

void record_restore(const cli *c, const layout *l, const unsigned char *record, lathe_instance *s) {
  for (size_t i = 0; l->trains && i < l->items.n; i++) {
    const lathe_port *p = &l->items.at[i];
    memcpy(buffer_of(c, s, p->name), record + l->image_at + p->offset, (size_t)p->bytes);
  }
}

/* ---- comparing ---- */

typedef struct sides { const char *a, *b; } sides;

/* `text` and a line about one tensor, if it differs. */
static char *compare(char *text, const lathe_port *p, const unsigned char *a, const unsigned char *b, sides names) {
  if (memcmp(a, b, (size_t)p->bytes) == 0) return text;
  size_t size = size_of(p->dtype);
  int64_t n = count_of(p->rank, p->dim), bad = 0, first = -1;
  for (int64_t i = 0; i < n; i++) {
    if (memcmp(a + (size_t)i * size, b + (size_t)i * size, size) == 0) continue;
    if (first < 0) first = i;
    bad++;
  }
  char *at = index_text(p->rank, p->dim, first), *shape = shape_text(p->dtype, p->rank, p->dim);
  char *longer = format("%s%s `%s` %s: %lld of %lld elements differ, first at %s: %s %.9g, %s %.9g\n", text, p->kind,
                        p->name, shape, (long long)bad, (long long)n, at, names.a, value_at(p->dtype, a, first),
                        names.b, value_at(p->dtype, b, first));
  free(at);
  free(shape);
  free(text);
  return longer;
}

static char *compare_items(char *text, const layout *l, const unsigned char *a, const unsigned char *b, sides names) {
  for (size_t i = 0; l->trains && i < l->items.n; i++)
    text = compare(text, &l->items.at[i], a + l->items.at[i].offset, b + l->items.at[i].offset, names);
  return text;
}

static char *none_if_empty(char *text) {
  if (*text) return text;
  free(text);
  return NULL;
}

char *record_differences(const layout *l, const unsigned char *a, const char *a_name, const unsigned char *b,
                         const char *b_name) {
  char *text = format("%s", "");
  sides names = {a_name, b_name};
  for (size_t i = 0; i < l->io.n; i++)
    if (is_output(&l->io.at[i])) text = compare(text, &l->io.at[i], a + l->at[i], b + l->at[i], names);
  return none_if_empty(compare_items(text, l, a + l->image_at, b + l->image_at, names));
}

char *init_differences(const layout *l, const unsigned char *made, const unsigned char *b) {
  sides names = {"state_init", "--seed"};
  return none_if_empty(compare_items(format("%s", ""), l, made + l->init_at, b + l->image_at, names));
}
