/* pass.c: the table of passes and their runner: print, verify, time. */
#include "ir/pass/pass.h"

static const struct { const char *name, *doc; lt_pass_fn run; } passes[LT_PASSES] = {
#define PASS(name, doc) [LT_PASS_##name] = {#name, doc, lt_pass_##name},
#include "ir/pass/passes.def"
#undef PASS
};

static const char *const names[LT_PASSES] = {
#define PASS(name, doc) #name,
#include "ir/pass/passes.def"
#undef PASS
  NULL};

const char *lt_pass_name(lt_pass p) { return passes[p].name; }
const char *lt_pass_doc(lt_pass p) { return passes[p].doc; }
const char *const *lt_pass_names(void) { return names; }

lt_pass lt_pass_find(const char *name) {
  for (unsigned i = 1; i < LT_PASSES; i++)
    if (strcmp(passes[i].name, name) == 0) return (lt_pass)i;
  return LT_PASS_none;
}

static lt_graph *empty_like(lt_job *job, const lt_graph *from) {
  lt_graph *g = lt_graph_new(job, from->name);
  g->mode = from->mode;
  g->max_bytes = from->max_bytes, g->fast = from->fast;
  return g;
}

static void print_after(lt_graph *g, lt_pass p, lt_pass_options *o) {
  if (!o->print || !o->print_after) return;
  if (strcmp(o->print_after, "all") != 0 && strcmp(o->print_after, passes[p].name) != 0) return;
  lt_str text;
  lt_str_init(&text, &g->arena);
  lt_print(&text, g);
  o->print(o->print_ctx, passes[p].name, text.at);
}

static bool has_dead(lt_graph *g) {
  const bool *live = lt_live_nodes(&g->arena, g);
  for (uint32_t i = 0; i < g->nodes.n; i++)
    if (!live[i]) return true;
  return false;
}

/* What a pass has replaced after copying it is dead: copy the rest. */
static lt_graph *sweep(lt_job *job, lt_graph *g) {
  if (!has_dead(g)) return g;
  lt_graph *to = empty_like(job, g);
  lt_rewrite_graph(to, g, NULL, NULL);
  lt_graph_drop(job, g);
  return to;
}

static lt_graph *run_one(lt_job *job, const lt_graph *from, lt_pass p, lt_pass_options *o) {
  lt_graph *to = empty_like(job, from);
  double begin = o->time_passes ? lt_seconds() : 0;
  passes[p].run(to, from);
  to = sweep(job, to);
  if (o->time_passes) o->seconds[p] += lt_seconds() - begin;
  to->label = to->origin = NULL;
  to->loc = (lt_loc){0};
  if (o->verify_each) lt_verify(to, passes[p].name);
  print_after(to, p, o);
  return to;
}

lt_graph *lt_run_passes(lt_job *job, const lt_graph *from, const lt_pass *list, size_t n, lt_pass_options *o) {
  lt_pass_options none = {0};
  lt_graph *last = NULL;
  for (size_t i = 0; i < n; i++) {
    lt_graph *to = run_one(job, last ? last : from, list[i], o ? o : &none);
    lt_graph_drop(job, last);
    last = to;
  }
  if (last) return last;
  last = empty_like(job, from);
  lt_rewrite_graph(last, from, NULL, NULL);
  return last;
}
