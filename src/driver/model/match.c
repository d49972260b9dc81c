/* match.c: a key's ending says whose names and order of axes a file has: `.weight .bias .running_mean .running_var` are
 * PyTorch's, `.kernel .gamma .beta .moving_mean .moving_variance` Keras's, the network's own names its own. What the
 * order is follows from the op that reads the weight (uses.h); where that leaves two readings, it is an error.
 *
 * Nothing is matched by order or by shape. A key that is a weight's name is that weight, as it lies. */
#include "driver/model/match.h"

#include <inttypes.h>

typedef enum dialect { OURS, TORCH, KERAS } dialect;

/* The endings, and what the network's names have instead. */
typedef struct ending { const char *theirs; dialect whose; const char *ours[2]; } ending;
static const ending endings[] = {
  {"weight", TORCH, {"W", "scale"}},
  {"bias", TORCH, {"b", "bias"}},
  {"running_mean", TORCH, {"mean"}},
  {"running_var", TORCH, {"var"}},
  {"kernel", KERAS, {"W"}},
  {"depthwise_kernel", KERAS, {"W"}},
  {"embeddings", KERAS, {"W"}},
  {"gamma", KERAS, {"scale"}},
  {"beta", KERAS, {"bias"}},
  {"moving_mean", KERAS, {"mean"}},
  {"moving_variance", KERAS, {"var"}},
};
static const char *const nobodys[] = {"num_batches_tracked"}; /* a counter that no network reads */

static void problem(lt_matching *mt) { lt_str_puts(&mt->problems, mt->n_problems++ ? "\n  " : "  "); }

/* ---- names ------------------------------------------------------------------------------------------------------- */

static const lt_image_item *item_called(const lt_matching *mt, const char *name, size_t n) {
  uintptr_t i;
  return lt_map_get(&mt->names, name, n, &i) ? &mt->m->image.item[i] : NULL;
}

/* Room for a key, with what all names begin with before it and another ending. */
typedef char name_text[LT_MAX_KEY + LT_MAX_NAME + 32];

/* The key with the network's beginning. */
static size_t begin_alike(name_text out, const lt_matching *mt, const char *key) {
  size_t n = strlen(mt->add), length = LT_MIN(strlen(key + mt->strip), (size_t)LT_MAX_KEY);
  memcpy(out, mt->add, n), memcpy(out + n, key + mt->strip, length);
  out[n += length] = 0;
  return n;
}

/* And as a network spells its parts: `dense/kernel:0` is dense.kernel. */
static void spell(name_text out, const lt_matching *mt, const char *key) {
  size_t n = begin_alike(out, mt, key);
  if (!strchr(out, '/')) return;
  if (n > 2 && !strcmp(out + n - 2, ":0")) out[n - 2] = 0;
  for (char *p = out; *p; p++)
    if (*p == '/') *p = '.';
}

static const char *last_part(const char *key) {
  const char *dot = strrchr(key, '.');
  return dot ? dot + 1 : key;
}

static bool is_nobodys(const char *key) {
  for (size_t i = 0; i < LT_COUNT(nobodys); i++)
    if (!strcmp(last_part(key), nobodys[i])) return true;
  return false;
}

static const ending *ending_of(const char *key) {
  for (size_t i = 0; i < LT_COUNT(endings); i++)
    if (!strcmp(last_part(key), endings[i].theirs)) return &endings[i];
  return NULL;
}

/* `fc.weight` as `fc.W`; the key itself where its ending is nobody's. false: there is no such spelling. */
static bool in_our_words(name_text out, const lt_matching *mt, const char *key, int which) {
  spell(out, mt, key);
  const ending *e = ending_of(out);
  if (which && !(e && e->ours[which])) return false;
  if (e) strcpy(out + (last_part(out) - out), e->ours[which]);
  return true;
}

/* The weight that a key means; *two: it could be another one as well. */
static const lt_image_item *find(const lt_matching *mt, const char *key, dialect *whose, bool *two) {
  name_text name, ours;
  *two = false, *whose = OURS;
  const lt_image_item *own = item_called(mt, name, begin_alike(name, mt, key)), *found = NULL;
  if (own) return own; /* it may have slashes, as ONNX's names have */
  spell(name, mt, key);
  own = item_called(mt, name, strlen(name));
  const ending *e = ending_of(name);
  if (own || !e) return own;
  *whose = e->whose;
  for (int i = 0; i < 2 && in_our_words(ours, mt, key, i); i++) {
    const lt_image_item *item = item_called(mt, ours, strlen(ours));
    if (item && found) *two = true;
    if (item) found = item;
  }
  return found;
}

/* ---- what all keys begin with ------------------------------------------------------------------------------------ */

/* The length of what both begin with, ended by a dot or a slash. */
static size_t common(const char *a, size_t n, const char *b) {
  size_t same = 0, end = 0;
  while (same < n && a[same] == b[same]) {
    same++;
    if (a[same - 1] == '.' || a[same - 1] == '/') end = same;
  }
  return end;
}

static size_t common_of_keys(const lt_matching *mt, const char **first) {
  size_t n = 0;
  *first = NULL;
  for (uint32_t i = 0; i < mt->w->n; i++) {
    const char *key = mt->w->at[i].key;
    if (mt->skip[i]) continue;
    n = *first ? common(*first, n, key) : common(key, strlen(key), key);
    if (!*first) *first = key;
  }
  return n;
}

static size_t common_of_names(const lt_matching *mt, const char **first) {
  size_t n = 0;
  *first = NULL;
  for (uint32_t i = 0; i < mt->m->image.n; i++) {
    const char *name = mt->m->image.item[i].name;
    if (!mt->m->network_own[i]) continue;
    n = *first ? common(*first, n, name) : common(name, strlen(name), name);
    if (!*first) *first = name;
  }
  return n;
}

static uint32_t count_found(const lt_matching *mt) {
  uint32_t n = 0;
  dialect whose;
  bool two;
  for (uint32_t i = 0; i < mt->w->n; i++) n += !mt->skip[i] && find(mt, mt->w->at[i].key, &whose, &two) != NULL;
  return n;
}

static size_t next_part(const char *text, size_t at) { return at + strcspn(text + at, "./") + 1; }

/* Do keys and weights of the network correspond one to one, as far as numbers tell? */
static bool all_found(const lt_matching *mt, uint32_t found) {
  uint32_t keys = 0, own = 0;
  for (uint32_t i = 0; i < mt->w->n; i++) keys += !mt->skip[i] && !is_nobodys(mt->w->at[i].key);
  for (uint32_t i = 0; i < mt->m->image.n; i++) own += mt->m->network_own[i];
  return found == keys && found == own;
}

/* The least that makes the most keys find their weights, of at most PARTS parts of each. The network's own beginning is
 * left out only where then everything corresponds: `W` alone is not `y.W`. */
static void choose_prefix(lt_matching *mt) {
  enum { PARTS = 8 };
  const char *key, *name, *add = "";
  size_t keys = common_of_keys(mt, &key), names = common_of_names(mt, &name), strip = 0, s = 0;
  uint32_t best = count_found(mt);
  for (int i = 0; i <= PARTS && s <= keys && keys + names; i++, s = next_part(key, s)) {
    size_t n = 0;
    for (int k = 0; k <= PARTS && n <= names; k++, n = next_part(name, n)) {
      mt->strip = s, mt->add = n ? lt_arena_strndup(mt->arena, name, n) : "";
      uint32_t found = count_found(mt);
      if (found > best && (!n || all_found(mt, found))) best = found, strip = s, add = mt->add;
      if (!names) break;
    }
    if (!keys) break;
  }
  mt->strip = strip, mt->add = add;
}

/* ---- the order of axes ------------------------------------------------------------------------------------------- */

static bool same_dims(const lt_elements *e, const lt_type *t) {
  return e->rank == t->rank && (!e->rank || !memcmp(e->dim, t->dim, e->rank * sizeof *e->dim));
}

typedef struct reading {
  lt_matching *mt;
  lt_weight *x;
  const lt_image_item *item;
  const lt_use *use;
  dialect whose;
} reading;

/* "[10, 64]": what the file should have for the axes to become those of the weight. */
static const char *wanted(const reading *r, const uint8_t *perm) {
  const lt_type *t = &r->item->type;
  int64_t dim[LATHE_MAX_RANK];
  lt_str s;
  for (unsigned i = 0; i < t->rank; i++) dim[perm ? perm[i] : i] = t->dim[i];
  lt_str_init(&s, r->mt->arena);
  lt_str_puts(&s, "[");
  for (unsigned i = 0; i < t->rank; i++) lt_str_printf(&s, "%s%" PRId64, i ? ", " : "", dim[i]);
  lt_str_puts(&s, "]");
  return s.at;
}

static void misfit(const reading *r, const uint8_t *perm) {
  const lt_elements *e = &r->x->array;
  const lt_type *t = &r->item->type;
  lt_arena *a = r->mt->arena;
  problem(r->mt);
  if (r->whose == OURS)
    lt_str_printf(&r->mt->problems, "`%s` is %s, should be %s", r->x->key, lt_weight_text(a, r->x), lt_type_text(a, t));
  else
    lt_str_printf(&r->mt->problems, "`%s` is %s, should be %s for `%s` %s", r->x->key, lt_weight_text(a, r->x),
                  wanted(r, perm), r->item->name, lt_type_text(a, t));
  const unsigned first = perm ? perm[0] : 0;
  bool turned =
    e->rank == 2 && t->rank == 2 && e->dim[0] == t->dim[!first] && e->dim[1] == t->dim[first] && t->dim[0] != t->dim[1];
  if (turned) lt_str_puts(&r->mt->problems, "; its transpose fits");
}

static bool take_turned(const reading *r, lt_match *out, const uint8_t *perm, const char *how) {
  const lt_elements *e = &r->x->array;
  const lt_type *t = &r->item->type;
  if (e->rank == t->rank) {
    out->array = perm ? lt_elements_turn(e, e->rank, perm) : *e;
    out->how = how;
    if (same_dims(&out->array, t)) return true;
  }
  misfit(r, perm);
  return false;
}

static const uint8_t TRANSPOSED[] = {1, 0}, HWIO[] = {3, 2, 0, 1}, HWCM[] = {2, 3, 0, 1};

/* Keras: [height, width, in, out] (of a transposed convolution out, in), and of a depthwise one [height, width,
 * channels, multiplier] where ours is [channels * multiplier, 1, height, width]. */
static bool take_keras_filters(const reading *r, lt_match *out) {
  const lt_elements *e = &r->x->array;
  const lt_type *t = &r->item->type;
  bool depthwise = e->rank == 4 && t->rank == 4 && t->dim[1] == 1 && e->dim[0] == t->dim[2] && e->dim[1] == t->dim[3] &&
                   e->dim[2] > 1 && e->dim[3] <= t->dim[0] && e->dim[2] * e->dim[3] == t->dim[0];
  if (!depthwise) return take_turned(r, out, HWIO, "from [H, W, I, O]");
  out->array = lt_elements_turn(e, 4, HWCM); /* the same elements as with the first two axes joined */
  out->how = "from [H, W, C, M]";
  return true;
}

/* Keras flattens [H, W, C], we [C, H, W]: axis 0 is one or the other. */
static bool unflatten(const reading *r, lt_match *out) {
  const int64_t c = r->use->image[0], h = r->use->image[1], w = r->use->image[2];
  lt_matching *mt = r->mt;
  if (r->use->rows == LT_ROWS_PLAIN) return true;
  if (r->use->rows == LT_ROWS_UNCLEAR || out->array.dim[0] != c * h * w) {
    problem(mt);
    lt_str_printf(&mt->problems, "`%s` reads what was flattened from images, and in which order is not clear",
                  r->x->key);
    return false;
  }
  if (!mt->flatten_order) {
    problem(mt);
    lt_str_printf(&mt->problems,
                  "`%s` reads an image of [%" PRId64 ", %" PRId64 ", %" PRId64 "] (c, h, w) flattened; "
                  "Keras flattens (h, w, c)",
                  r->x->key, c, h, w);
    mt->help = "--flatten-order hwc turns what Keras trained on images with channels last; chw takes it as it is";
    return false;
  }
  if (strcmp(mt->flatten_order, "hwc")) return true;
  lt_elements e = out->array;
  const int64_t s = e.stride[0];
  for (unsigned i = e.rank; i-- > 1;) e.dim[i + 2] = e.dim[i], e.stride[i + 2] = e.stride[i];
  e.rank += 2;
  e.dim[0] = c, e.dim[1] = h, e.dim[2] = w;
  e.stride[0] = s, e.stride[1] = w * c * s, e.stride[2] = c * s;
  out->array = e, out->how = "rows from (h, w, c) to (c, h, w)";
  return true;
}

static bool unclear(const reading *r) {
  problem(r->mt);
  lt_str_printf(&r->mt->problems,
                "`%s`: how %s keeps `%s` %s is not clear from what reads it; as `%s` it is taken as it lies", r->x->key,
                r->whose == TORCH ? "PyTorch" : "Keras", r->item->name, lt_type_text(r->mt->arena, &r->item->type),
                r->item->name);
  return false;
}

static bool take_torch(const reading *r, lt_match *out) {
  switch (r->use->kind) {
    case LT_USE_MATRIX: return take_turned(r, out, TRANSPOSED, "transposed");
    case LT_USE_TURNED: case LT_USE_FILTERS: case LT_USE_TABLE: case LT_USE_VECTOR: break;
    case LT_USE_NONE: case LT_USE_MIXED:
    if (r->item->type.rank > 1) return unclear(r);
  }
  return take_turned(r, out, NULL, "");
}

static bool take_keras(const reading *r, lt_match *out) {
  switch (r->use->kind) {
    case LT_USE_MATRIX: case LT_USE_VECTOR: return take_turned(r, out, NULL, "") && unflatten(r, out);
    case LT_USE_TURNED:
    if (r->use->rows != LT_ROWS_PLAIN) return unclear(r);
    return take_turned(r, out, TRANSPOSED, "transposed");
    case LT_USE_FILTERS: return take_keras_filters(r, out);
    case LT_USE_TABLE: break;
    case LT_USE_NONE: case LT_USE_MIXED:
    if (r->item->type.rank > 1) return unclear(r);
  }
  return take_turned(r, out, NULL, "");
}

static bool take(const reading *r, lt_match *out) {
  if (r->x->problem) lt_weights_fetch(r->mt->w, r->x); /* fails */
  if (!lt_elements_fit(&r->x->array, (lathe_dtype)r->item->type.dtype)) {
    problem(r->mt);
    lt_str_printf(&r->mt->problems, "`%s` is %s, which cannot be `%s` %s", r->x->key,
                  lt_weight_text(r->mt->arena, r->x), r->item->name, lt_type_text(r->mt->arena, &r->item->type));
    return false;
  }
  switch (r->whose) {
    case OURS: return take_turned(r, out, NULL, "");
    case TORCH: return take_torch(r, out);
    case KERAS: return take_keras(r, out);
  }
  return false;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

enum { MANY = 20 }; /* problems after which no more names are compared: nobody reads them */

/* The nearest of names to the key in the network's words, which may be two. */
static const char *nearest(const lt_matching *mt, const char *key, const char *const *names) {
  name_text word;
  const char *near = NULL;
  for (int i = 0; i < 2 && !near && mt->n_problems < MANY && in_our_words(word, mt, key, i); i++)
    near = lt_nearest(word, names);
  return near;
}

/* Keys that are nobody's, with the nearest of the weights that have none. */
static void list_unexpected(lt_matching *mt) {
  const char **names = LT_NEW_ARRAY(mt->arena, const char *, mt->m->image.n + 1);
  size_t n = 0;
  for (uint32_t i = 0; i < mt->m->image.n; i++)
    if (!mt->item[i].weight && mt->m->network_own[i]) names[n++] = mt->m->image.item[i].name;
  for (uint32_t i = 0; i < mt->w->n; i++) {
    if (!mt->unexpected[i]) continue;
    const char *key = mt->w->at[i].key, *near = nearest(mt, key, names);
    problem(mt);
    lt_str_printf(&mt->problems, "`%.100s` is not a weight of the network", key);
    if (near) lt_str_printf(&mt->problems, " (near: `%s`)", near);
  }
}

static void match_one(lt_matching *mt, lt_weight *x) {
  dialect whose;
  bool two;
  const lt_image_item *item = find(mt, x->key, &whose, &two);
  if (!item) {
    mt->unexpected[x - mt->w->at] = !mt->partial && !is_nobodys(x->key);
    return;
  }
  size_t i = (size_t)(item - mt->m->image.item);
  lt_match found = {.weight = x};
  const reading r = {mt, x, item, &mt->m->use[i], whose};
  if (mt->item[i].weight || two) {
    problem(mt);
    if (two) lt_str_printf(&mt->problems, "`%s` could be two weights, `%s` is one", x->key, item->name);
    else lt_str_printf(&mt->problems, "`%s` and `%s` are both `%s`", mt->item[i].weight->key, x->key, item->name);
    return;
  }
  mt->item[i].weight = x; /* found, if not as it should be: not missing, too */
  if (take(&r, &found)) mt->item[i] = found;
}

/* Where batch normalisation has gone into other weights, those of a file that still has it would be other ones under
 * the same names, whatever else may be left out. */
static void refuse_unfolded(lt_matching *mt) {
  for (uint32_t i = 0; i < mt->w->n; i++) {
    const char *key = mt->w->at[i].key, *last = last_part(key);
    dialect whose;
    bool two;
    if (mt->skip[i] || (strcmp(last, "running_mean") && strcmp(last, "running_var"))) continue;
    if (find(mt, key, &whose, &two)) continue;
    problem(mt);
    lt_str_printf(&mt->problems,
                  "`%.100s` is of a batch normalisation, which the model's exporter has folded into weights (%s)", key,
                  mt->m->folded);
    mt->help = "export for training (docs/onnx.md, From PyTorch), or take the weights that are in the model";
    return;
  }
}

void lt_match_begin(lt_matching *out, lt_job *job, lt_arena *a, const lathe_model *m, lt_weights *w) {
  *out = (lt_matching){.job = job, .arena = a, .m = m, .w = w, .add = ""};
  out->skip = LT_NEW_ARRAY(a, bool, w->n + 1);
  out->unexpected = LT_NEW_ARRAY(a, bool, w->n + 1);
  out->item = LT_NEW_ARRAY(a, lt_match, m->image.n + 1);
  lt_str_init(&out->problems, a);
  for (uint32_t i = 0; i < m->image.n; i++) lt_map_puts(a, &out->names, m->image.item[i].name, i);
}

void lt_match_all(lt_matching *mt) {
  choose_prefix(mt);
  for (uint32_t i = 0; i < mt->w->n; i++)
    if (!mt->skip[i]) match_one(mt, &mt->w->at[i]);
  if (mt->m->folded) refuse_unfolded(mt);
  list_unexpected(mt);
}

void lt_match_missing(lt_matching *mt, bool with_optimizer) {
  const lathe_model *m = mt->m;
  const char **names = LT_NEW_ARRAY(mt->arena, const char *, 2 * (size_t)mt->w->n + 1);
  uint32_t *key = LT_NEW_ARRAY(mt->arena, uint32_t, 2 * (size_t)mt->w->n + 1), n = 0;
  for (uint32_t i = 0; i < mt->w->n; i++) {
    name_text word;
    for (int k = 0; mt->unexpected[i] && k < 2 && in_our_words(word, mt, mt->w->at[i].key, k); k++)
      key[n] = i, names[n++] = lt_arena_strdup(mt->arena, word);
  }
  for (uint32_t i = 0; i < m->image.n; i++) {
    if (mt->item[i].weight || mt->partial || (!m->network_own[i] && !with_optimizer)) continue;
    const char *near = mt->n_problems < MANY ? lt_nearest(m->image.item[i].name, names) : NULL;
    uint32_t k = 0;
    while (near && names[k] != near) k++;
    problem(mt);
    lt_str_printf(&mt->problems, "`%s` %s is missing", m->image.item[i].name,
                  lt_type_text(mt->arena, &m->image.item[i].type));
    if (near) lt_str_printf(&mt->problems, " (near: `%s`)", mt->w->at[key[k]].key);
  }
}

void lt_match_check(lt_matching *mt) {
  const lt_loc loc = {mt->w->path, 0, 0};
  const char *help = mt->help ? mt->help : mt->partial ? NULL : "--weights-partial allows missing and extra keys";
  if (!mt->n_problems) return;
  lt_fail(mt->job, LATHE_E_MISMATCH, &loc, "the weights do not fit the network:\n%s%s%s", mt->problems.at,
          help ? "\nhelp: " : "", help ? help : "");
}
