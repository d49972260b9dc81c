/* names.c: names of layers and of streams of random numbers, each given once. */
#include "frontend/names.h"

static void take(lt_graph *g, lt_name_table *t, const char *name) {
  lt_map_puts(&g->arena, &t->taken, name, (uintptr_t)g->loc.line);
}

/* In the place of a line: kept free for who asks for just this name. */
static const uintptr_t RESERVED = UINTPTR_MAX;

static bool is_free(const lt_name_table *t, const char *name, bool asked) {
  uintptr_t line;
  return !lt_map_gets(&t->taken, name, &line) || (asked && line == RESERVED);
}

static const char *take_numbered(lt_graph *g, lt_name_table *t, const char *base) {
  uintptr_t next = 1;
  const char *name = base;
  lt_map_gets(&t->next, base, &next);
  while (!is_free(t, name, name == base))
    name = lt_arena_printf(&g->arena, "%s.%llu", base, (unsigned long long)next++);
  lt_map_puts(&g->arena, &t->next, lt_arena_strdup(&g->arena, base), next);
  return name;
}

const char *lt_namer_take(lt_graph *g, lt_name_table *t, const char *name, bool exact) {
  uintptr_t line;
  size_t n = strlen(name);
  if (n > LT_MAX_NAME)
    lt_fail(g->job, LATHE_E_INVALID, &g->loc, "the name `%.40s…` has %zu bytes, at most %d are allowed", name, n,
            (int)LT_MAX_NAME);
  if (exact && lt_map_gets(&t->taken, name, &line)) {
    const char *where = line && line != RESERVED ? lt_arena_printf(&g->arena, ", on line %d", (int)line) : "";
    lt_fail(g->job, LATHE_E_INVALID, &g->loc,
            "the name `%s` is taken already%s\nhelp: every layer needs a name of its own%s", name, where,
            line && line == (uintptr_t)g->loc.line ? "; in a loop, put its variable in: name=\"…{i}\"" : "");
  }
  name = exact ? lt_arena_strdup(&g->arena, name) : take_numbered(g, t, lt_arena_strdup(&g->arena, name));
  take(g, t, name);
  return name;
}

void lt_namer_reserve(lt_graph *g, lt_name_table *t, const char *prefix, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const char *name = lt_arena_printf(&g->arena, "%s%zu", prefix, i);
    if (is_free(t, name, false)) lt_map_puts(&g->arena, &t->taken, name, RESERVED);
  }
}
