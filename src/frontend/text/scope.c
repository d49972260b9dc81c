/* scope.c: what names stand for: in the network, or in a block while it is put in place; texts with names in braces. */
#include "frontend/text/elab.h"

#include "frontend/layers.h"

#include <strings.h>

lt_entry *lt_scope_find(const lt_scope *s, const char *name) {
  uintptr_t found = 0;
  lt_map_gets(&s->names, name, &found);
  return (lt_entry *)found;
}

/* A weight of a layer that stands in this scope, or of a block's instance below it. */
static lt_value leaf_below(lt_elab *e, const char *name) {
  lt_value v = lt_find(e->g, lt_arena_printf(e->arena, "%s%s", e->scope->prefix, name));
  return v && lt_is_leaf(e->g, v) ? v : 0;
}

lt_entry *lt_elab_find(lt_elab *e, const char *name) {
  lt_entry *found = lt_scope_find(e->scope, name);
  lt_value leaf = found ? 0 : leaf_below(e, name);
  if (!leaf) return found;
  found = LT_NEW(e->arena, lt_entry);
  found->v = leaf;
  return found;
}

const char *lt_near_name(const char *word, const char *const *names) {
  if (strlen(word) > 2) return lt_nearest(word, names);
  for (; *names; names++)
    if (!strcasecmp(word, *names)) return *names;
  return NULL;
}

/* Names that could have been meant: those in scope, and weights below its prefix. */
const char **lt_elab_names(lt_elab *e) {
  const lt_map *m = &e->scope->names, *all = &e->g->names;
  size_t prefix = strlen(e->scope->prefix);
  const char **names = LT_NEW_ARRAY(e->arena, const char *, (size_t)m->n + all->n + 1);
  uint32_t n = 0;
  for (uint32_t i = 0; i < m->cap; i++)
    if (m->slots[i].key && m->slots[i].value) names[n++] = m->slots[i].key;
  for (uint32_t i = 0; i < all->cap; i++)
    if (all->slots[i].key && !strncmp(all->slots[i].key, e->scope->prefix, prefix))
      names[n++] = all->slots[i].key + prefix;
  return names;
}

lt_entry *lt_elab_lookup(lt_elab *e, const char *name, lt_pos pos) {
  lt_entry *found = lt_elab_find(e, name);
  if (found) return found;
  const char *near = lt_near_name(name, lt_elab_names(e));
  if (near) lt_elab_fail(e, pos, "unknown name `%.80s`\nhelp: did you mean `%s`?", name, near);
  if (lt_op_find(name, strlen(name)) || lt_layer_find(name, strlen(name)) || lt_map_gets(&e->tree->block, name, NULL))
    lt_elab_fail(e, pos, "`%s` is an op, not a value\nhelp: call it: `%s(…)`", name, name);
  lt_elab_fail(e, pos,
               e->blocks ? "unknown name `%.80s`\nhelp: a block sees only its own operands and attributes"
                         : "unknown name `%.80s`",
               name);
}

void lt_elab_put(lt_elab *e, const char *name, lt_entry entry) {
  lt_entry *old = lt_scope_find(e->scope, name), *own = old ? old : LT_NEW(e->arena, lt_entry);
  *own = entry;
  if (!old) lt_map_puts(e->arena, &e->scope->names, name, (uintptr_t)own);
}

void lt_elab_put_attr(lt_elab *e, const char *name, const lt_attr_value *v) {
  lt_elab_put(e, name, (lt_entry){.is_attr = true, .attr = *v});
}

void lt_elab_put_int(lt_elab *e, const char *name, lt_pos pos, int64_t i) {
  lt_attr_value v = lt_attr_value_int(pos, i);
  lt_elab_put_attr(e, name, &v);
}

const lt_attr_value *lt_scope_attr(const lt_scope *s, const char *name, bool *is_value) {
  lt_entry *found = lt_scope_find(s, name);
  *is_value = found && !found->is_attr;
  return found && found->is_attr ? &found->attr : NULL;
}

static void fill_in(lt_elab *e, lt_str *out, const char *key, lt_pos pos) {
  const lt_entry *found = lt_scope_find(e->scope, key);
  if (!found || !found->is_attr) {
    lt_elab_fail(
      e, pos,
      "`{%.40s}` in this text is not known\nhelp: loop variables, attributes and dimensions can stand in braces", key);
  }
  if (found->attr.kind == LT_V_INT) lt_str_printf(out, "%lld", (long long)found->attr.i);
  else if (found->attr.kind == LT_V_STRING) lt_str_puts(out, found->attr.text);
  else
    lt_elab_fail(e, pos, "`{%s}` is %s, only whole numbers and strings can stand in braces", key,
                 lt_attr_value_text(e->arena, &found->attr));
}

const char *lt_elab_text(lt_elab *e, const char *text, lt_pos pos) {
  if (!strchr(text, '{')) return text;
  lt_str out;
  lt_str_init(&out, e->arena);
  while (*text) {
    size_t n = strcspn(text, "{");
    lt_str_put(&out, text, n);
    text += n;
    if (!*text) break;
    const char *close = strchr(text, '}');
    if (!close) lt_elab_fail(e, pos, "`{` without `}` in this text");
    fill_in(e, &out, lt_arena_strndup(e->arena, text + 1, (size_t)(close - text - 1)), pos);
    text = close + 1;
    if (out.n > LT_MAX_NAME) lt_elab_fail(e, pos, "this name has more than %d bytes when filled in", (int)LT_MAX_NAME);
  }
  return out.at ? out.at : "";
}
