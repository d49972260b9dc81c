/* gen_calls.c: writes a translation unit, C99 and C++ alike, that calls every typed constructor and names every
 * field. */
#include "frontend/build/gen_rows.h"

#include <stdio.h>

/* Values that no default has, as assignments to `a.$` and as text. The first row counts whose name or kind fits. */
static const struct { const char *of, *code, *text; } values[] = {
  {"shape", "a.$.n = 1; a.$.v[0] = 16;", "[16]"},
  {"ends", "a.$.n = 2; a.$.v[0] = 3; a.$.v[1] = 2;", "[3, 2]"},
  {"pads", "a.$.n = 4; a.$.v[0] = 1; a.$.v[3] = 2;", "[1, 0, 0, 2]"},
  {"input_shape", "a.$.n = 4; a.$.v[0] = a.$.v[1] = 2; a.$.v[2] = a.$.v[3] = 6;", "[2, 2, 6, 6]"},
  {"outsize", "a.$[0] = 7; a.$[1] = 6;", "[7, 6]"},
  {"bias", "a.$ = LATHE_NO;", "false"},
  {"to_matrix", "a.$ = LATHE_NO;", "false"},
  {"int", "a.$ = 2;", "2"},
  {"float", "a.$ = 0.25;", "0.25"},
  {"bool", "a.$ = LATHE_YES;", "true"},
  {"pair", "a.$[0] = 2; a.$[1] = 1;", "[2, 1]"},
  {"quad", "a.$[0] = 1; a.$[2] = 2; a.$[3] = 1;", "[1, 0, 2, 1]"},
  {"ints", "a.$.n = 2; a.$.v[0] = 1; a.$.v[1] = 0;", "[1, 0]"},
  {"str", "a.$ = \"ij,jk->ik\";", "\"ij,jk->ik\""},
  {"dtype", "a.$ = \"f32\";", "f32"},
};
enum { VALUES = sizeof values / sizeof values[0] };

static unsigned value_of(const gen_attr *a) {
  unsigned i = 0;
  while (i < VALUES - 1 && strcmp(values[i].of, a->name) && strcmp(values[i].of, a->kind)) i++;
  return i;
}

static void put_code(const gen_attr *a) {
  for (const char *p = values[value_of(a)].code; *p; p++)
    if (*p == '$') fputs(a->name, stdout);
    else putchar(*p);
}

static unsigned operand_count(const gen_row *r) { return gen_is_variadic(r) ? 2 : gen_count(r->operands); }

/* attrs: as they are passed, where there are any. */
static void put_apply(const gen_row *r, const char *attrs) {
  printf("  %slathe_%s%s(g", gen_count(r->results) > 1 ? "" : "out[0] = ", r->name, r->suffix);
  if (gen_is_variadic(r)) printf(", in, 2");
  else
    for (unsigned i = 0; i < operand_count(r); i++) printf(", in[%u]", i);
  if (r->attrs->name) printf(", %s", attrs);
  printf(gen_count(r->results) > 1 ? ", out);\n" : ");\n");
}

static void put_call(const gen_row *r) {
  printf("static void call_%s%s(lathe_graph *g, const lathe_value *in, lathe_value *out, unsigned set, int null) {\n",
         r->name, r->suffix);
  if (r->attrs->name) {
    printf("  lathe_%s%s_attrs a;\n  memset(&a, 0, sizeof a);\n", r->name, r->suffix);
    unsigned i = 0;
    for (const gen_attr *a = r->attrs; a->name; a++, i++) {
      printf("  if (set >> %u & 1) { ", i);
      put_code(a);
      printf(" }\n");
    }
    printf("  if (set >> %u & 1) a.name = \"called\";\n", i);
  } else {
    printf("  (void)set, (void)null;\n");
  }
  if (r->attrs->name) { /* the overload with a reference */
    printf("#ifdef __cplusplus\n  if (!null) {\n");
    put_apply(r, "a");
    printf("    return;\n  }\n#endif\n");
  }
  put_apply(r, "null ? NULL : &a");
  printf("}\n");
}

static void put_string(const char *s) {
  putchar('"');
  for (; *s; s++) printf(*s == '"' ? "\\%c" : "%c", *s);
  putchar('"');
}

static void put_entry(const gen_row *r) {
  unsigned n = 0, required = 0;
  for (const gen_attr *a = r->attrs; a->name; a++, n++) required |= (unsigned)!a->def[0] << n;
  printf("  {\"%s\", %d, %u, %u, %u, call_%s%s, {", r->name, *r->suffix != 0, operand_count(r), gen_count(r->results),
         n ? n + 1 : 0, r->name, r->suffix);
  for (const gen_attr *a = r->attrs; a->name; a++) {
    char text[80];
    snprintf(text, sizeof text, "%s=%s", a->name, values[value_of(a)].text);
    put_string(text);
    printf(", ");
  }
  printf("%s}, %uu},\n", n ? "\"name=\\\"called\\\"\"" : "NULL", required);
}

int main(void) {
  printf("#include \"api/build_calls.h\"\n#include <string.h>\n");
  for (unsigned i = 0; i < GEN_ROWS; i++)
    if (gen_has_constructor(&gen_rows[i])) put_call(&gen_rows[i]);
  printf("const build_call build_calls[] = {\n");
  for (unsigned i = 0; i < GEN_ROWS; i++)
    if (gen_has_constructor(&gen_rows[i])) put_entry(&gen_rows[i]);
  printf("};\nconst unsigned n_build_calls = sizeof build_calls / sizeof build_calls[0];\n");
  return 0;
}
