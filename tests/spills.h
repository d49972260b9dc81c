/* spills.h: vector registers that x86-64's assembly moves to or from the stack in its innermost loops. */
#ifndef LT_SPILLS_H
#define LT_SPILLS_H
#include <stdbool.h>
#include <string.h>

static inline bool spills_line(const char *line, size_t n) {
  bool stack = memmem(line, n, "(%rsp", 5) || memmem(line, n, "(%rbp", 5);
  return stack && memmem(line, n, "mm", 2) != NULL;
}

/* In functions whose name has `name` in it, in blocks that jump back to themselves and have `what` in them: between
 * runs totals are on the stack, in the hot loop nothing is. *loops counts those blocks. */
static inline int spills_in(const char *text, const char *name, const char *what, int *loops) {
  const char *label = "";
  size_t label_n = 0;
  int n = 0, here = 0;
  bool inside = true;
  for (const char *line = text, *end; *line; line = end + (*end == '\n')) {
    end = line + strcspn(line, "\n");
    size_t m = (size_t)(end - line);
    here += inside && spills_line(line, m);
    if (*line != '\t' && *line != ' ' && *line != '#') {
      label = line, label_n = strcspn(line, ":\n"), here = 0;
      if (*line != '.') inside = memmem(line, label_n, name, strlen(name)) != NULL;
    } else if (line[1] == 'j' && label_n && memmem(line, m, label, label_n)) {
      if (memmem(label, (size_t)(end - label), what, strlen(what))) n += here, *loops += inside;
      here = 0;
    }
  }
  return n;
}
#endif
