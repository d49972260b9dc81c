/* networks.h: the names of the networks in a text, one after the other: each begins a line. */
#ifndef LT_NETWORKS_H
#define LT_NETWORKS_H
#include <stdbool.h>
#include <string.h>

/* From *at on (changed): the next one's name; false: there is none. */
static inline bool lt_next_network(const char **at, const char *end, char name[64]) {
  while (*at && end - *at >= 9) {
    const char *line = *at, *word = line + 8;
    size_t k = 0;
    *at = memchr(line, '\n', (size_t)(end - line));
    if (*at) ++*at;
    if (memcmp(line, "network ", 8)) continue;
    for (; word + k < end && !strchr("[( ", word[k]) && k + 1 < 64; k++) name[k] = word[k];
    name[k] = 0;
    return true;
  }
  return false;
}

#endif
