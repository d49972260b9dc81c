/* libcalls.c: what a code generator calls by name where a machine has no instruction for it, as local functions of the
 * object. A row is a name and its text in LLVM's language; the text of a function may need others. */
#include "codegen/module.h"

#include <llvm-c/IRReader.h>
#include <llvm-c/Linker.h>

typedef struct row { const char *name, *text; } row;

static const row rows[] = {{NULL, NULL}};

bool lt_libcalls_want(lt_libcalls *all, const char *name) {
  for (unsigned i = 0; rows[i].name; i++) {
    if (strcmp(rows[i].name, name) != 0) continue;
    if (all->wanted >> i & 1) return false; /* defined, and undefined all the same */
    all->wanted |= (uint64_t)1 << i;
    return true;
  }
  return false;
}

void lt_libcalls_add(lt_module *m, const lt_libcalls *all) {
  (void)m, (void)all;
}
