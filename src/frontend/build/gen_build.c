/* gen_build.c: writes lathe/build.h, the typed constructors, from ops.def and layers.def. Runs while Lathe is built.
 *
 * For each row a struct of its attributes, a table of where they lie in it, and an inline function that hands both to
 * lathe_apply; for C++, which has no address of a temporary, the same function with a reference to the struct. C99 and
 * C++; nothing of ours but lathe.h, which includes it. */
#include "frontend/build/gen_rows.h"

#include <stdio.h>

static const struct { const char *kind, *before, *after, *public_kind; } kinds[] = {
  {"int", "int64_t ", "", "INT"},      {"float", "double ", "", "FLOAT"},      {"bool", "lathe_flag ", "", "BOOL"},
  {"pair", "int64_t ", "[2]", "PAIR"}, {"quad", "int64_t ", "[4]", "QUAD"},    {"ints", "lathe_ints ", "", "INTS"},
  {"str", "const char *", "", "STR"},  {"dtype", "const char *", "", "DTYPE"},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static unsigned kind_of(const gen_attr *a) {
  unsigned k = 0;
  while (k < KINDS && strcmp(kinds[k].kind, a->kind)) k++;
  return k;
}

/* What to write for the value that zero would be, where a zero is not its own default. */
static const char *word_for_zero(const gen_attr *a) {
  static const char *const defaults[] = {"", "0", "0.0", "false", "[]", "\"\"", "none"};
  for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
    if (!strcmp(a->def, defaults[i])) return NULL;
  return !strcmp(a->kind, "bool")    ? "false is LATHE_NO"
         : !strcmp(a->kind, "float") ? "0 is LATHE_FZERO"
                                     : "0 is LATHE_ZERO";
}

static void put_field(FILE *f, const gen_attr *a) {
  unsigned k = kind_of(a);
  const char *zero = word_for_zero(a);
  fprintf(f, "  %s%s%s LATHE_UNGIVEN; /* %s", kinds[k].before, a->name, kinds[k].after, a->doc);
  if (!a->def[0]) fprintf(f, "; must be given");
  if (zero) fprintf(f, "; left zero: %s (%s)", a->def, zero);
  fprintf(f, " */\n");
}

static void put_struct(FILE *f, const gen_row *r) {
  if (!r->attrs->name) return;
  fprintf(f, "typedef struct lathe_%s%s_attrs {\n", r->name, r->suffix);
  for (const gen_attr *a = r->attrs; a->name; a++) put_field(f, a);
  fprintf(f, "  const char *name LATHE_UNGIVEN; /* %s */\n",
          *r->suffix ? "its weights are NAME.W …; NULL: made from the layer's"
                     : "for messages and tables; may be NULL");
  fprintf(f, "} lathe_%s%s_attrs;\n", r->name, r->suffix);
}

/* as_attrs: how the struct is passed, "*" or "&". */
static void put_parameters(FILE *f, const gen_row *r, const char *as_attrs) {
  int n;
  const char *p;
  fprintf(f, "lathe_graph *graph");
  if (gen_is_variadic(r)) {
    p = gen_word(r->operands, 0, &n);
    fprintf(f, ", const lathe_value *%.*s, size_t n_%.*s", n, p, n, p);
  } else {
    for (unsigned i = 0; (p = gen_word(r->operands, i, &n)) != NULL; i++) fprintf(f, ", lathe_value %.*s", n, p);
  }
  if (r->attrs->name) fprintf(f, ", const lathe_%s%s_attrs %sattrs", r->name, r->suffix, as_attrs);
  if (gen_count(r->results) > 1) fprintf(f, ", lathe_value out[%u]", gen_count(r->results));
}

/* The table of the attributes and the form. */
static void put_form(FILE *f, const gen_row *r) {
  unsigned n = 0;
  if (r->attrs->name) {
    fprintf(f, "  static const lathe_attr fields[] = {\n");
    for (const gen_attr *a = r->attrs; a->name; a++, n++)
      fprintf(f, "    {\"%s\", LATHE_ATTR_%s, offsetof(lathe_%s%s_attrs, %s)},\n", a->name,
              kinds[kind_of(a)].public_kind, r->name, r->suffix, a->name);
    fprintf(f, "    {\"name\", LATHE_ATTR_STR, offsetof(lathe_%s%s_attrs, name)}};\n", r->name, r->suffix);
    n++;
  }
  fprintf(f, "  static const lathe_form form = {\"%s\", %d, %s, %u};\n", r->name, r->is_layer, n ? "fields" : "NULL",
          n);
}

static void put_body(FILE *f, const gen_row *r) {
  const char *attrs = r->attrs->name ? "attrs" : "NULL";
  unsigned results = gen_count(r->results);
  int n = 0;
  put_form(f, r);
  const char *p;
  for (unsigned i = 0; !gen_is_variadic(r) && (p = gen_word(r->operands, i, &n)) != NULL; i++)
    fprintf(f, "%s%.*s", i ? ", " : "  const lathe_value in[] = {", n, p);
  if (!gen_is_variadic(r)) fprintf(f, "};\n");
  if (results == 1) fprintf(f, "  lathe_value out;\n");
  fprintf(f, "  lathe_apply(graph, &form, %s, ", attrs);
  p = gen_word(r->operands, 0, &n);
  if (gen_is_variadic(r)) fprintf(f, "%.*s, n_%.*s", n, p, n, p);
  else fprintf(f, "in, %u", gen_count(r->operands));
  fprintf(f, ", %sout, %u);\n%s}\n", results == 1 ? "&" : "", results, results == 1 ? "  return out;\n" : "");
}

static void put_head(FILE *f, const gen_row *r, const char *as_attrs) {
  fprintf(f, "static inline %s lathe_%s%s(", gen_count(r->results) == 1 ? "lathe_value" : "void", r->name, r->suffix);
  put_parameters(f, r, as_attrs);
  fprintf(f, ") {\n");
}

static void put_row(FILE *f, const gen_row *r) {
  fprintf(f, "\n/* %s: %s */\n", r->name, r->doc);
  put_struct(f, r);
  put_head(f, r, "*");
  put_body(f, r);
}

static void put_overload(FILE *f, const gen_row *r) {
  const char *p;
  int n;
  if (!r->attrs->name) return;
  put_head(f, r, "&");
  fprintf(f, "  %slathe_%s%s(graph", gen_count(r->results) == 1 ? "return " : "", r->name, r->suffix);
  for (unsigned i = 0; (p = gen_word(r->operands, i, &n)) != NULL; i++)
    fprintf(f, ", %.*s%s%.*s", n, p, gen_is_variadic(r) ? ", n_" : "", gen_is_variadic(r) ? n : 0, p);
  fprintf(f, ", &attrs%s);\n}\n", gen_count(r->results) > 1 ? ", out" : "");
}

static void put_overloads(FILE *f) {
  fprintf(f, "\n#ifdef __cplusplus\nextern \"C++\" { /* the same with a struct as it is, also a temporary one */\n");
  for (unsigned i = 0; i < GEN_ROWS; i++)
    if (gen_has_constructor(&gen_rows[i])) put_overload(f, &gen_rows[i]);
  fprintf(f, "}\n#endif\n");
}

/* What this program cannot write must not be passed over. */
static int check_row(const gen_row *r) {
  if (gen_is_variadic(r) && gen_count(r->operands) != 1)
    return fprintf(stderr, "gen_build: %s(%s): xs* stands beside others\n", r->name, r->operands), 0;
  if (!gen_count(r->operands)) return fprintf(stderr, "gen_build: %s has no operands\n", r->name), 0;
  for (const gen_attr *a = r->attrs; a->name; a++)
    if (kind_of(a) == KINDS)
      return fprintf(stderr, "gen_build: %s: attribute `%s` is of kind %s, which has no C type here\n", r->name,
                     a->name, a->kind),
             0;
  return 1;
}

int main(int argc, char **argv) {
  FILE *f = argc == 2 ? fopen(argv[1], "w") : NULL;
  if (!f) return fprintf(stderr, "usage: gen_build build.h (a file that can be written)\n"), 2;
  fprintf(f,
          "/* lathe/build.h: a typed constructor for every op and layer. Made from their tables, included by "
          "lathe.h, which tells\n"
          " * what a field left zero means. */\n#ifndef LATHE_BUILD_H\n#define LATHE_BUILD_H\n\n"
          "/* Where C++ has designated initializers, it warns of fields without one, but for those with a default. */\n"
          "#if defined(__cplusplus) && __cplusplus >= 202002L\n#define LATHE_UNGIVEN = {}\n"
          "#else\n#define LATHE_UNGIVEN\n#endif\n");
  for (unsigned i = 0; i < GEN_ROWS; i++) {
    if (!gen_has_constructor(&gen_rows[i])) continue;
    if (!check_row(&gen_rows[i])) return 1;
    put_row(f, &gen_rows[i]);
  }
  put_overloads(f);
  fprintf(f, "#undef LATHE_UNGIVEN\n#endif\n");
  return fclose(f) ? perror(argv[1]), 1 : 0;
}
