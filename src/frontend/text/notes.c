/* notes.c: the notes of dumps, `@name(…)` behind a statement: what passes have found or decided about its node. They
 * are read back as they are printed (ir/print.c), so that a dump can be gone on with. */
#include "frontend/text/elab.h"

/* The only argument of a note with one. */
static void note_value(lt_elab *e, const lt_expr *note, lt_attr_value *v, lt_attr_value_kind kind, const char *form) {
  if (note->n == 1 && !note->args[0].key) lt_attr_eval(&e->seen, v, note->args[0].value, "a note");
  if (note->n != 1 || note->args[0].key || v->kind != kind) lt_elab_fail(e, note->pos, "this note is written %s", form);
}

static const char *note_text(lt_elab *e, const lt_expr *note, const char *form) {
  lt_attr_value v;
  note_value(e, note, &v, LT_V_STRING, form);
  return lt_arena_strdup(&e->g->arena, v.text);
}

static uint32_t note_number(lt_elab *e, const lt_expr *x, int64_t most, const char *what) {
  int64_t n = lt_attr_eval_int(&e->seen, x, what);
  if (n < 0 || n > most)
    lt_elab_fail(e, x->pos, "%s is %lld, should be in 0..%lld", what, (long long)n, (long long)most);
  return (uint32_t)n;
}

static const char layout_form[] = "@layout(plain, [top, left, bottom, right]) or @layout(blocked, …)",
                  panel_form[] = "@panel(NAME) or @panel(NAME, groups=NUMBER)",
                  copy_form[] = "@copy(OPERAND, …), then as @layout or @panel", algorithm_form[] = "@algorithm(NAME)";

/* The name that argument i of a note is. */
static const char *note_name(lt_elab *e, const lt_expr *note, uint32_t i, const char *form) {
  bool is_name = i < note->n && !note->args[i].key && note->args[i].value->kind == LT_E_NAME;
  if (!is_name) lt_elab_fail(e, note->pos, "this note is written %s", form);
  return note->args[i].value->text;
}

/* One of `names`, which a row of choices.def is called. */
LT_NORETURN static void fail_choice(lt_elab *e, lt_pos pos, const char *what, const char *name,
                                    const char *const *names) {
  const char *near = lt_nearest(name, names);
  lt_str all;
  lt_str_init(&all, e->arena);
  for (unsigned i = 0; names[i]; i++) lt_str_printf(&all, "%s%s", i ? ", " : "", names[i]);
  lt_elab_fail(e, pos, near ? "unknown %s `%.60s`\nhelp: did you mean `%s`?" : "unknown %s `%.60s`\nhelp: there are %s",
               what, name, near ? near : all.at);
}

static void read_halo(lt_elab *e, lt_layout *l, const lt_expr *note, uint32_t i, const char *form) {
  const lt_expr *x = i + 1 == note->n && !note->args[i].key ? note->args[i].value : NULL;
  if (!x || x->kind != LT_E_LIST || x->n != 4) lt_elab_fail(e, x ? x->pos : note->pos, "this note is written %s", form);
  for (int k = 0; k < 4; k++) l->halo[k] = note_number(e, x->items[k], 1 << 20, "a halo");
}

static void read_groups(lt_elab *e, lt_layout *l, const lt_expr *note, uint32_t i, const char *form) {
  l->panel.groups = 1;
  if (i == note->n) return;
  if (i + 1 != note->n || !note->args[i].key || strcmp(note->args[i].key, "groups"))
    lt_elab_fail(e, note->pos, "this note is written %s", form);
  l->panel.groups = note_number(e, note->args[i].value, UINT32_MAX, "the number of groups");
}

/* The layout that arguments first, … of a note say, for a value of type t. Panels are for @panel and @copy, others for
 * @layout and @copy. */
static lt_layout note_layout(lt_elab *e, const lt_expr *note, uint32_t first, const lt_type *t, const char *form) {
  const char *name = note_name(e, note, first, form);
  lt_layout l = {.kind = !strcmp(name, "plain") ? LT_PLAIN : !strcmp(name, "blocked") ? LT_BLOCKED : LT_PANEL};
  if (l.kind == LT_PANEL ? form == layout_form : form == panel_form)
    lt_elab_fail(e, note->pos, "this note is written %s", form);
  if (l.kind != LT_PANEL) read_halo(e, &l, note, first + 1, form);
  else {
    l.panel.kind = lt_panel_find(name);
    if (!l.panel.kind) fail_choice(e, note->args[first].value->pos, "panel", name, lt_panel_names());
    read_groups(e, &l, note, first + 1, form);
  }
  const char *why = lt_layout_misfit(e->arena, t, &l);
  if (why) lt_elab_fail(e, note->pos, "this gives the value %s", why);
  return l;
}

static void read_algorithm(lt_elab *e, const lt_expr *note, lt_node *n) {
  const char *name = note_name(e, note, 0, algorithm_form);
  if (note->n != 1) lt_elab_fail(e, note->pos, "this note is written %s", algorithm_form);
  n->algorithm = lt_algorithm_find(name);
  if (!n->algorithm) fail_choice(e, note->args[0].value->pos, "algorithm", name, lt_algorithm_names());
  if (!lt_algorithm_fits(n->algorithm, e->g, n))
    lt_elab_fail(e, note->pos, "the algorithm `%s` does not fit this %s", name, lt_facts(n)->name);
}

static void read_copy(lt_elab *e, const lt_expr *note, lt_node *n) {
  if (note->n < 2 || note->args[0].key) lt_elab_fail(e, note->pos, "this note is written %s", copy_form);
  uint32_t k = note_number(e, note->args[0].value, UINT32_MAX, "an operand's number");
  uint32_t after = n->n_copies ? n->copies[n->n_copies - 1].operand + 1 : 0;
  if (k < after || k >= n->n_in || !n->in[k])
    lt_elab_fail(e, note->args[0].value->pos,
                 k < after ? "copies of operands stand in their order, each once" : "there is no operand %u", k);
  lt_copy *all = LT_NEW_ARRAY(&e->g->arena, lt_copy, n->n_copies + 1u);
  if (n->n_copies) memcpy(all, n->copies, n->n_copies * sizeof *all);
  all[n->n_copies++] = (lt_copy){k, note_layout(e, note, 1, lt_type_of(e->g, n->in[k]), copy_form)};
  n->copies = all;
}

static void read_cluster(lt_elab *e, const lt_expr *note, lt_node *n) {
  lt_attr_value v;
  note_value(e, note, &v, LT_V_INT, "@cluster(NUMBER)");
  n->cluster = note_number(e, note->args[0].value, UINT32_MAX, "a cluster's number");
}

LT_NORETURN static void fail_note(lt_elab *e, const lt_expr *note) {
  static const char *const names[] = {"algorithm", "cluster", "copy", "label", "layout", "origin", "panel", NULL};
  const char *near = lt_nearest(note->text, names);
  lt_elab_fail(e, note->pos,
               near ? "unknown note `@%.60s`\nhelp: did you mean `@%s`?"
                    : "unknown note `@%.60s`\nhelp: there are @algorithm, @cluster, @copy, @label, @layout, @origin "
                      "and @panel, as dumps have them",
               note->text, near);
}

void lt_elab_notes(lt_elab *e, const lt_notes *notes, lt_node *n) {
  unsigned layouts = 0;
  for (uint32_t i = 0; i < notes->n; i++) {
    const lt_expr *note = notes->at[i];
    bool panel = !strcmp(note->text, "panel");
    if (!strcmp(note->text, "label")) n->label = note_text(e, note, "@label(\"…\")");
    else if (!strcmp(note->text, "origin")) n->origin = note_text(e, note, "@origin(\"…\")");
    else if (!strcmp(note->text, "cluster")) read_cluster(e, note, n);
    else if (!strcmp(note->text, "algorithm")) read_algorithm(e, note, n);
    else if (!strcmp(note->text, "copy")) read_copy(e, note, n);
    else if (panel || !strcmp(note->text, "layout")) {
      if (layouts == n->n_out) lt_elab_fail(e, note->pos, "more @layout notes than results");
      lt_value_info *v = &e->g->values.at[n->out + layouts++];
      v->layout = note_layout(e, note, 0, &v->type, panel ? panel_form : layout_form);
    } else {
      fail_note(e, note);
    }
  }
}
