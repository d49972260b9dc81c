/* torch.c: what torch.save writes since PyTorch 1.6: a stored ZIP with a pickle, NAME/data.pkl, that says which tensors
 * there are, and a member NAME/data/KEY for each storage. Tensors are views of storages, with strides; two may share
 * one. */
#include "base/zip.h"
#include "weights/pickle.h"

#include <inttypes.h>
#include <stdio.h>

#define FAIL(w, ...) lt_weights_fail((w), LATHE_E_IO, __VA_ARGS__)

typedef struct archive {
  lt_zip zip;
  lt_map by_name; /* of members */
  const char *folder;
  bool *checked; /* by member: its checksum holds */
} archive;

/* ---- which dictionary -------------------------------------------------------------------------------------------- */

static bool named(const lt_pickled *key, const char *name) {
  return key->kind == LT_P_TEXT && key->n == strlen(name) && !memcmp(key->as.text, name, key->n);
}

static const lt_pickled_items *dict_in(const lt_pickled_items *d, const char *name) {
  for (uint32_t i = 0; i < d->v.n; i += 2)
    if (named(&d->v.at[i], name) && d->v.at[i + 1].kind == LT_P_DICT) return d->v.at[i + 1].as.items;
  return NULL;
}

static const char **dict_names(lt_weights *w, const lt_pickled_items *d) {
  const char **names = LT_NEW_ARRAY(w->arena, const char *, d->v.n / 2 + 1);
  size_t n = 0;
  for (uint32_t i = 0; i < d->v.n; i += 2)
    if (d->v.at[i].kind == LT_P_TEXT && d->v.at[i + 1].kind == LT_P_DICT) names[n++] = d->v.at[i].as.text;
  return names;
}

static const char *list_of(lt_weights *w, const char *const *names) {
  enum { MOST = 8 };
  lt_str s;
  lt_str_init(&s, w->arena);
  for (int i = 0; names[i] && i < MOST; i++) lt_str_printf(&s, "%s`%.60s`", i ? ", " : "", names[i]);
  return names[0] ? s.at : "none";
}

static bool has_tensors(const lt_pickled_items *d) {
  for (uint32_t i = 1; i < d->v.n; i += 2)
    if (d->v.at[i].kind == LT_P_TENSOR) return true;
  return false;
}

static const lt_pickled_items *chosen(lt_weights *w, const lt_pickled_items *d) {
  const lt_pickled_items *inner = dict_in(d, w->part);
  const char **names = dict_names(w, d), *near = lt_nearest(w->part, names);
  if (inner) return inner;
  if (near) FAIL(w, "the file has no dictionary `%.60s`\nhelp: did you mean `%.60s`?", w->part, near);
  FAIL(w, "the file has no dictionary `%.60s`\nhelp: it has %s", w->part, list_of(w, names));
}

/* A checkpoint has its weights under a name that says so; where two do, nobody but the user knows which are meant. */
static const lt_pickled_items *unwrap(lt_weights *w, const lt_pickled_items *d) {
  static const char *const wrappers[] = {"state_dict", "model", "state_dict_ema"};
  const char *first = NULL;
  for (size_t i = 0; i < LT_COUNT(wrappers); i++) {
    if (!dict_in(d, wrappers[i])) continue;
    if (first)
      FAIL(w, "the file has weights as `%s` and as `%s`\nhelp: say which: %s:%s", first, wrappers[i], w->path, first);
    first = wrappers[i];
  }
  if (first) return dict_in(d, first);
  if (has_tensors(d) || !d->v.n) return NULL;
  const char **names = dict_names(w, d);
  FAIL(w, "the file has no tensors by name\nhelp: where they are in a dictionary of it: %s:NAME, with NAME one of %s",
       w->path, list_of(w, names));
}

static const lt_pickled_items *find_weights(lt_weights *w, const lt_pickled *root) {
  enum { DEEPEST = 8 };
  if (root->kind == LT_P_TENSOR) FAIL(w, "the file is one tensor without a name, not a dictionary of tensors");
  if (root->kind != LT_P_DICT) FAIL(w, "the file is no dictionary of tensors");
  const lt_pickled_items *d = w->part ? chosen(w, root->as.items) : root->as.items, *inner = d;
  for (int i = 0; inner; i++) {
    if (i == DEEPEST) FAIL(w, "the file has weights inside of weights, more than %d deep", DEEPEST);
    d = inner;
    inner = unwrap(w, d);
  }
  return d;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

/* The view, which must stay inside its storage. */
static void lay(lt_weights *w, lt_weight *x, const lt_pickled_tensor *t) {
  lt_elements *e = &x->array;
  int64_t last = t->offset, count = 1, span;
  bool inside = t->offset >= 0;
  for (uint32_t i = 0; i < t->rank; i++) {
    int64_t dim = t->dim[i].as.i, stride = t->stride[i].as.i;
    if (dim < 0 || stride < 0) FAIL(w, "tensor `%s` has a negative size or stride", x->key);
    if (!lt_mul_ok(&count, count, dim)) FAIL(w, "tensor `%s`: its size overflows", x->key);
    inside = inside && (dim == 0 || (lt_mul_ok(&span, dim - 1, stride) && lt_add_ok(&last, last, span)));
    if (i < LATHE_MAX_RANK) e->dim[i] = dim, e->stride[i] = stride;
  }
  if (!inside || (count && last >= t->storage->count))
    FAIL(w, "tensor `%s` reaches past the end of its storage, %" PRId64 " elements", x->key, t->storage->count);
  e->rank = (uint8_t)LT_MIN(t->rank, (uint32_t)LATHE_MAX_RANK), e->count = count;
  if (t->rank > LATHE_MAX_RANK)
    x->problem =
      lt_arena_printf(w->arena, "`%s` has %u dimensions; at most %d are read", x->key, t->rank, LATHE_MAX_RANK);
}

static void take_tensor(lt_weights *w, lt_weight *x, const lt_pickled_tensor *t, lt_find_storage find) {
  const lt_pickled_storage *s = t->storage;
  uint64_t bytes;
  int64_t need;
  x->array = (lt_elements){.kind = s->kind, .size = s->size};
  lay(w, x, t);
  if (!find(w, s->key, &bytes, &x->member))
    FAIL(w, "tensor `%s`: its storage `%.40s` is not in the file", x->key, s->key);
  if (!lt_mul_ok(&need, s->count, s->size) || (uint64_t)need != bytes)
    FAIL(w, "tensor `%s`: its storage is said to have %" PRId64 " elements of %d bytes, and has %" PRIu64 " bytes",
         x->key, s->count, s->size, bytes);
  x->offset = (uint64_t)t->offset * s->size;
}

static const char *key_of(lt_weights *w, const lt_pickled *key) {
  if (key->kind != LT_P_TEXT) FAIL(w, "a tensor is named by what is no text");
  if (!key->n || key->n > LT_MAX_KEY || memchr(key->as.text, 0, key->n))
    FAIL(w, "a tensor's name is empty, longer than %d bytes or has a zero byte: `%.40s`", LT_MAX_KEY, key->as.text);
  return key->as.text;
}

/* What is no tensor is no weight either: numbers of epochs, texts, the optimizer's tables. */
void lt_torch_take(lt_weights *w, lt_bytes pickle, lt_find_storage find) {
  lt_pickled root = lt_pickle_read(w, pickle);
  const lt_pickled_items *d = find_weights(w, &root);
  lt_map keys = {0};
  w->at = LT_NEW_ARRAY(w->arena, lt_weight, LT_MIN(d->v.n / 2, (uint32_t)LT_MAX_WEIGHTS) + 1);
  for (uint32_t i = 0; i < d->v.n; i += 2) {
    if (d->v.at[i + 1].kind != LT_P_TENSOR) continue;
    if (w->n == LT_MAX_WEIGHTS) FAIL(w, "more than %d tensors", LT_MAX_WEIGHTS);
    lt_weight *x = &w->at[w->n++];
    x->key = key_of(w, &d->v.at[i]);
    if (lt_map_gets(&keys, x->key, NULL)) FAIL(w, "tensor `%s` stands twice in the file", x->key);
    lt_map_puts(w->arena, &keys, x->key, 1);
    take_tensor(w, x, d->v.at[i + 1].as.tensor, find);
  }
}

/* ---- the archive ------------------------------------------------------------------------------------------------- */

/* A member of the folder; NULL: none. They are stored, or we would have to believe what they unpack to. */
static const lt_zip_member *member(lt_weights *w, const char *name) {
  archive *a = w->own;
  uintptr_t i;
  if (!lt_map_gets(&a->by_name, lt_arena_printf(w->arena, "%s/%s", a->folder, name), &i)) return NULL;
  if (a->zip.at[i].method != 0) FAIL(w, "member `%s` is packed, which torch.save never does", a->zip.at[i].name);
  return &a->zip.at[i];
}

static bool find_storage(lt_weights *w, const char *key, uint64_t *bytes, uint32_t *index) {
  const lt_zip_member *m = member(w, lt_arena_printf(w->arena, "data/%.100s", key));
  if (m) *bytes = m->size, *index = (uint32_t)(m - ((archive *)w->own)->zip.at);
  return m != NULL;
}

static void list_members(lt_weights *w, archive *a) {
  static const char pickle[] = "/data.pkl";
  for (uint32_t i = 0; i < a->zip.n; i++) {
    const char *name = a->zip.at[i].name;
    size_t n = strlen(name), end = sizeof pickle - 1;
    if (lt_map_gets(&a->by_name, name, NULL)) FAIL(w, "member `%s` stands twice in the archive", name);
    lt_map_puts(w->arena, &a->by_name, name, i);
    if (n <= end || strcmp(name + n - end, pickle)) continue;
    if (a->folder) FAIL(w, "the archive has two pickles, `%s/data.pkl` and `%s`", a->folder, name);
    a->folder = lt_arena_strndup(w->arena, name, n - end);
  }
  if (!a->folder) FAIL(w, "not a file of torch.save (the archive has no data.pkl)");
}

static void check_beginning(lt_weights *w) {
  if (w->file.n > 1 && w->file.at[0] == 0x80)
    lt_weights_fail(
      w, LATHE_E_UNSUPPORTED,
      "a bare pickle, as PyTorch wrote before 1.6; it is not read\nhelp: in Python, where the file can be "
      "trusted: torch.save(torch.load('%.100s', weights_only=False), 'weights.pth')",
      w->path);
  if (w->file.n < 4 || memcmp(w->file.at, "PK", 2)) FAIL(w, "not a PyTorch file (its first bytes are wrong)");
}

static bool is_big(lt_weights *w) {
  const lt_zip_member *m = member(w, "byteorder");
  return m && m->size == 3 && !memcmp(lt_zip_bytes(&((archive *)w->own)->zip, m, m->name).at, "big", 3);
}

static void read_torch(lt_weights *w) {
  archive *a = LT_NEW(w->arena, archive);
  w->own = a;
  check_beginning(w);
  lt_zip_read(&a->zip, w->job, w->arena, (lt_zip_words){"a", "PyTorch file", "member"}, w->path, w->file, INT64_MAX);
  a->checked = LT_NEW_ARRAY(w->arena, bool, a->zip.n + 1);
  list_members(w, a);
  if (member(w, "constants.pkl"))
    lt_weights_fail(w, LATHE_E_UNSUPPORTED,
                    "a TorchScript module, which is a program; weights alone are read\nhelp: in Python, where the file "
                    "can be trusted: torch.save(torch.jit.load('%.100s').state_dict(), 'weights.pth')",
                    w->path);
  const lt_zip_member *pickle = member(w, "data.pkl");
  if (pickle->size > LT_MAX_PICKLE_BYTES)
    FAIL(w, "the pickle has %" PRIu64 " bytes, at most %d are read", pickle->size, LT_MAX_PICKLE_BYTES);
  lt_torch_take(w, lt_zip_bytes(&a->zip, pickle, pickle->name), find_storage);
  bool big = is_big(w);
  for (uint32_t i = 0; i < w->n; i++) w->at[i].array.big = big;
}

static void fetch_torch(lt_weights *w, lt_weight *x) {
  archive *a = w->own;
  const lt_zip_member *m = &a->zip.at[x->member];
  if (!a->checked[x->member]) lt_zip_bytes(&a->zip, m, m->name), a->checked[x->member] = true;
  x->array.data = w->file.at + m->data + x->offset;
}

const lt_weights_format lt_format_torch = {
  .name = "PyTorch", .endings = ".pt .pth .bin .ckpt", .read = read_torch, .fetch = fetch_torch};
