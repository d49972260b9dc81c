/* table.c: the library's tables as text (lathe_table): ops, passes, targets, options. */
#include "driver/print_api.h"

static void print_attrs(lt_str *s, const lt_attr_info *attr, unsigned n, const char *sep) {
  for (unsigned i = 0; i < n; i++, sep = ", ")
    lt_str_printf(s, "%s%s=%s", sep, attr[i].name, attr[i].def ? attr[i].def : "");
}

/* name(operands, attr=default) -> results    doc */
static void print_row(lt_str *s, const char *name, const char *operands, const lt_attr_info *attr, unsigned n,
                      const char *results, const char *doc) {
  lt_str_printf(s, "%s(", name);
  const char *sep = "";
  for (const char *p = operands; *p;) {
    size_t length = strcspn(p, " ");
    lt_str_printf(s, "%s%.*s", sep, (int)length, p);
    p += length + (p[length] == ' ');
    sep = ", ";
  }
  print_attrs(s, attr, n, sep);
  lt_str_printf(s, ")%s%s\n    %s\n", *results ? " -> " : "", results, doc);
}

static void print_ops(lt_str *s) {
  const char *family = "";
  for (unsigned i = 1; i < LT_OPS; i++) {
    const lt_op_info *o = &lt_op_table[i];
    if (o->flags & LT_HIDDEN) continue;
    if (strcmp(family, o->family)) lt_str_printf(s, "%s# %s\n", *family ? "\n" : "", o->family);
    family = o->family;
    print_row(s, o->name, o->operands, o->attrs, o->n_attrs, o->results, o->doc);
  }
  lt_str_puts(s, "\n# layers\n");
  for (unsigned i = 1; i < LT_LAYERS; i++) {
    const lt_layer_info *l = &lt_layer_table[i];
    print_row(s, l->name, l->operands, l->attrs(), l->n_attrs, "", l->doc);
  }
}

static void print_passes(lt_str *s) {
  for (unsigned i = 1; i < LT_PASSES; i++)
    lt_str_printf(s, "%-10s %s\n", lt_pass_name((lt_pass)i), lt_pass_doc((lt_pass)i));
}

typedef struct table_args {
  const char *which;
  char *out;
} table_args;

static void table_body(lt_job *job, void *arg) {
  static const char *const names[] = {"ops", "ops.md", "targets", "passes", "options", "options.md", NULL};
  table_args *p = arg;
  const char *which = p->which ? p->which : "", *near;
  lt_str s;
  lt_str_init(&s, lt_arena_new(job));
  if (!strcmp(which, "ops")) print_ops(&s);
  else if (!strcmp(which, "ops.md")) lt_ops_doc(&s);
  else if (!strcmp(which, "targets")) lt_targets_print(&s);
  else if (!strcmp(which, "passes")) print_passes(&s);
  else if (!strcmp(which, "options") || !strcmp(which, "options.md")) lt_options_print(&s, which[7] == '.');
  else if ((near = lt_nearest(which, names)) != NULL)
    lt_fail(job, LATHE_E_INVALID, NULL, "there is no table `%.40s`\nhelp: did you mean `%s`?", which, near);
  else lt_fail(job, LATHE_E_INVALID, NULL, "there is no table `%.40s`\nhelp: ops, targets, passes or options", which);
  p->out = lt_text_out(job, &s);
}

char *lathe_table(const char *which, lathe_error *e) {
  table_args p = {.which = which};
  return lt_protect(e, table_body, &p) ? NULL : p.out;
}
