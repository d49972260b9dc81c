/* c_names.c: names of the network's as names in C and C++, so that a generated header compiles with every standard from
 * C99 and C++11 on, whatever the network calls its values and whatever standard header stands before it.
 *
 *   conv1.W    conv1_W      what no identifier may hold becomes _
 *   class      class_       a word of C or C++, a macro of the standard headers, a name that the header uses itself
 *   __asm      x__asm       what C reserves by its underscores: compilers define more of those than any list has */
#include "driver/object/emission.h"

#include <ctype.h>

/* Words of C99 to C23 and of C++11 to C++26, alternative spellings, and object-like macros of the standard headers. */
static const char *const words[] = {
  "_Alignas",
  "_Alignof",
  "_Atomic",
  "_BitInt",
  "_Bool",
  "_Complex",
  "_Decimal128",
  "_Decimal32",
  "_Decimal64",
  "_Generic",
  "_Imaginary",
  "_Noreturn",
  "_Static_assert",
  "_Thread_local",
  "alignas",
  "alignof",
  "and",
  "and_eq",
  "asm",
  "auto",
  "bitand",
  "bitor",
  "bool",
  "break",
  "case",
  "catch",
  "char",
  "char16_t",
  "char32_t",
  "char8_t",
  "class",
  "co_await",
  "co_return",
  "co_yield",
  "compl",
  "complex",
  "concept",
  "const",
  "const_cast",
  "consteval",
  "constexpr",
  "constinit",
  "continue",
  "contract_assert",
  "decltype",
  "default",
  "delete",
  "do",
  "double",
  "dynamic_cast",
  "else",
  "enum",
  "explicit",
  "export",
  "extern",
  "false",
  "final",
  "float",
  "for",
  "friend",
  "goto",
  "if",
  "imaginary",
  "import",
  "inline",
  "int",
  "long",
  "module",
  "mutable",
  "namespace",
  "new",
  "noexcept",
  "noreturn",
  "not",
  "not_eq",
  "nullptr",
  "operator",
  "or",
  "or_eq",
  "override",
  "private",
  "protected",
  "public",
  "register",
  "reinterpret_cast",
  "requires",
  "restrict",
  "return",
  "short",
  "signed",
  "sizeof",
  "static",
  "static_assert",
  "static_cast",
  "struct",
  "switch",
  "template",
  "this",
  "thread_local",
  "throw",
  "true",
  "try",
  "typedef",
  "typeid",
  "typename",
  "typeof",
  "typeof_unqual",
  "union",
  "unsigned",
  "using",
  "virtual",
  "void",
  "volatile",
  "wchar_t",
  "while",
  "xor",
  "xor_eq",
  /* macros without a pattern; what compilers and systems define without being asked */
  "BUFSIZ",
  "CLOCKS_PER_SEC",
  "EXIT_FAILURE",
  "EXIT_SUCCESS",
  "FILENAME_MAX",
  "FOPEN_MAX",
  "HUGE_VAL",
  "HUGE_VALF",
  "HUGE_VALL",
  "I",
  "INFINITY",
  "L_tmpnam",
  "NAN",
  "NULL",
  "ONCE_FLAG_INIT",
  "RAND_MAX",
  "TMP_MAX",
  "TSS_DTOR_ITERATIONS",
  "WEOF",
  "errno",
  "math_errhandling",
  "stderr",
  "stdin",
  "stdout",
  "linux",
  "unix",
  "i386",
  "near",
  "far",
  "min",
  "max",
  /* what the header itself uses */
  "int32_t",
  "int64_t",
  "lathe_parallel",
  "size_t",
  "uint64_t",
};

/* Families of macros: what begins so (? is any character) and goes on in capitals, digits and underscores. */
static const char *const families[] = {
  "ATOMIC_", "BOOL_",      "CHAR_",   "DBL_",   "DEC",    "E",      "FE_",   "FLT",   "FP_",
  "INT",     "LATHE_ABI_", "LC_",     "LDBL_",  "LLONG_", "LONG_",  "MATH_", "MB_",   "M_",
  "PRI?",    "PTRDIFF_",   "SCHAR_",  "SCN?",   "SEEK_",  "SHRT_",  "SIG",   "SIZE_", "TIME_",
  "UCHAR_",  "UINT",       "ULLONG_", "ULONG_", "USHRT_", "WCHAR_", "WINT_",
};

static bool begins(const char *name, const char *family) {
  for (; *family; family++, name++)
    if (*family == '?' ? !*name : *family != *name) return false;
  return true;
}

static bool in_capitals(const char *s) {
  for (; *s; s++)
    if (!isupper((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '_') return false;
  return true;
}

bool lt_c_is_taken(const char *name) {
  for (size_t i = 0; i < LT_COUNT(words); i++)
    if (!strcmp(words[i], name)) return true;
  for (size_t i = 0; i < LT_COUNT(families); i++)
    if (begins(name, families[i]) && in_capitals(name + strlen(families[i]))) return true;
  return false;
}

static bool plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

const char *lt_c_name(lt_arena *a, const char *name) {
  bool digit = *name >= '0' && *name <= '9';
  char *s = lt_arena_printf(a, "%s%s", digit ? "_" : "", name);
  for (char *p = s; *p; p++)
    if (!plain(*p)) *p = '_';
  if (lt_c_is_taken(s)) return lt_arena_printf(a, "%s_", s);
  bool reserved = s[0] == '_' && (s[1] == '_' || isupper((unsigned char)s[1]));
  return reserved ? lt_arena_printf(a, "x%s", s) : s;
}

const char *lt_c_upper(lt_arena *a, const char *name) {
  char *s = lt_arena_strdup(a, name);
  for (char *p = s; *p; p++) *p = plain(*p) ? (char)toupper((unsigned char)*p) : '_';
  return s;
}
